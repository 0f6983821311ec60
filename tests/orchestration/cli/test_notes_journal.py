"""`headwater notes journal`: what became of links between commits, index files and now."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.orchestration.cli.notes_work import A, B, Run, checkout, store, vault, write_files

__all__ = ["checkout", "store", "vault"]


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def commit(root: Path, message: str) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-m", message, "--allow-empty")
    return git(root, "rev-parse", "HEAD")


def changes(run: Run, *arguments: str) -> dict[tuple[str, str], str]:
    ran = run("notes", "journal", *arguments, "--json")
    assert ran.code == 0, ran.err
    assert "summary" in ran.records[-1]
    return {(record["path"], record["link"]): record["change"] for record in ran.records[:-1]}


def test_between_commits_and_now(store: Path, run: Run) -> None:
    (store / ".gitignore").write_text(".headwater/\n", "utf-8")
    first = commit(store, "first")
    assert changes(run) == {}
    (store / B).unlink()
    broken = {(A, "[[qp-bbbb]]"): "broke", (A, "qp-bbbb-beta.md#end"): "broke"}
    seen = changes(run)
    assert broken.items() <= seen.items()
    assert set(seen.values()) == {"broke"}
    second = commit(store, "second")
    assert changes(run) == {}
    assert changes(run, first, second) == seen
    assert set(changes(run, second, first).values()) == {"healed"}
    assert changes(run, first, second, "--only", "healed") == {}
    assert run("notes", "journal", first, second, "--exit-code").code == 1
    human = run("notes", "journal", first, second)
    assert "broke" in human.out
    assert "led to" in human.out
    before = git(store, "status", "--porcelain")
    assert run("notes", "journal", first, second).code == 0
    assert git(store, "status", "--porcelain") == before


def test_a_link_that_leads_elsewhere_has_moved_and_one_that_follows_its_note_has_not(store: Path, run: Run) -> None:
    write_files(
        store,
        {
            ".qipu/notes/one/Same.md": "# Same\n",
            ".qipu/notes/from.md": "---\nid: qp-from\ntitle: From\n---\n[[Same]] and [[nowhere]]\n",
        },
    )
    first = commit(store, "first")
    (store / ".qipu/notes/one/Same.md").unlink()
    write_files(store, {".qipu/notes/two/Same.md": "# Same\n"})
    (store / B).rename(store / ".qipu/notes/other-name.md")
    text = (store / A).read_text("utf-8").replace("qp-bbbb-beta.md", "other-name.md")
    (store / A).write_text(text, "utf-8")
    seen = changes(run, first)
    assert seen[".qipu/notes/from.md", "[[Same]]"] == "moved"
    assert (A, "[[qp-bbbb]]") not in seen
    write_files(store, {".qipu/notes/from.md": "---\nid: qp-from\ntitle: From\n---\n[[Same]]\n"})
    assert changes(run, first)[".qipu/notes/from.md", "[[nowhere]]"] == "healed"


def test_between_two_builds(store: Path, run: Run, tmp_path: Path) -> None:
    assert run("notes", "list").code == 0
    kept = tmp_path / "kept.db"
    shutil.copyfile(store / ".qipu/qipu.db", kept)
    (store / B).unlink()
    assert (A, "[[qp-bbbb]]") in changes(run, str(kept), "now")
    assert set(changes(run, "now", str(kept)).values()) == {"healed"}


def test_what_is_no_state(store: Path, run: Run, tmp_path: Path) -> None:
    commit(store, "first")
    for bad in ("no-such-branch", "--upload-pack=x", "HEAD:A"):
        assert run("notes", "journal", "--", bad).code != 0, bad
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    assert run("notes", "journal", str(tmp_path / "other.db")).code == 2

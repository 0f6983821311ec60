"""`headwater dvs diff`, `why`, `report`, `doctor`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    return root


def put(root: Path, path: str, data: bytes | str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode() if isinstance(data, str) else data)
    return target


def changes(ran: Ran) -> dict[str, Any]:
    assert ran.code in (0, 1), ran.err
    return {record["path"]: record for record in ran.records if "path" in record}


class TestDiff:
    def test_states_of_the_log_and_the_working_tree(self, root: Path, run: Run) -> None:
        put(root, "a.txt", "one")
        put(root, "b.txt", "two")
        assert run("dvs", "add", ".", "-m", "first").code == 0
        assert run("dvs", "diff").out.endswith("-> working tree: nothing differs\n")
        put(root, "a.txt", "other")
        put(root, "c.txt", "three")
        assert run("dvs", "add", "c.txt").code == 0
        assert run("dvs", "mv", "b.txt", "d/b.txt").code == 0
        found = changes(run("dvs", "diff", "@{2}", "--json"))
        assert {path: record["change"] for path, record in found.items()} == {
            "a.txt": "changed",
            "c.txt": "added",
            "d/b.txt": "moved",
        }
        assert found["d/b.txt"]["from"] == "b.txt"
        assert (found["a.txt"]["before"]["size"], found["a.txt"]["after"]["size"]) == (3, 5)
        assert changes(run("dvs", "diff", "2", "HEAD", "--json")).keys() == {"c.txt", "d/b.txt"}
        assert changes(run("dvs", "diff", "HEAD", "2", "--json"))["c.txt"]["change"] == "removed"
        text = run("dvs", "diff", "2").out
        assert "~ a.txt  3 B -> 5 B" in text
        assert "> b.txt -> d/b.txt" in text
        assert run("dvs", "diff", "--exit-code").code == 1
        assert run("dvs", "diff", "0", "0", "--exit-code").code == 0

    def test_a_git_revision_in_a_clone_without_a_log(self, root: Path, run: Run, tmp_path: Path, monkeypatch: Any) -> None:
        put(root, "a.txt", "one")
        put(root, "b.txt", "two")
        assert run("dvs", "add", ".").code == 0
        git(root, "add", "-A")
        git(root, "commit", "-qm", "one")
        git(root, "tag", "v1")
        put(root, "a.txt", "other")
        assert run("dvs", "add", ".").code == 0
        git(root, "commit", "-qam", "two")
        git(tmp_path, "clone", "-q", "work", "clone")
        monkeypatch.chdir(tmp_path / "clone")
        ran = run("dvs", "diff", "v1", "--json")
        assert {path: record["change"] for path, record in changes(ran).items()} == {"a.txt": "changed"}
        assert ran.records[-1]["summary"]["before"]["kind"] == "git"
        assert "2 files are not in the working tree" in ran.err
        assert changes(run("dvs", "diff", "--json")) == {}

    def test_rows_of_tables(self, root: Path, run: Run) -> None:
        put(root, "t [1]*.csv", "id,v\n1,a\n2,b\n")
        put(root, "plain.txt", "x")
        assert run("dvs", "add", ".").code == 0
        put(root, "t [1]*.csv", "id,v\n1,a\n2,\n3,c\n")
        put(root, "plain.txt", "y")
        found = changes(run("dvs", "diff", "--rows", "--json"))
        rows = found["t [1]*.csv"]["rows"]
        assert (rows["added"], rows["changed"], rows["removed"], rows["key"]) == (1, 1, 0, ["id"])
        assert "rows" not in found["plain.txt"]
        text = run("dvs", "diff", "--rows", "--samples", "1").out
        assert "2 -> 3 rows, by id: +1 ~1" in text
        assert "missing in v: 0.0% -> 33.3%" in text
        assert "~ id=2  v: b -> (missing)" in text
        assert "+ id=3  v=c" in text
        assert run("dvs", "diff", "--key", "id").code == 2

    def test_a_key_that_is_no_key_and_a_version_that_is_gone_are_said_for_their_file(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "id,v\n1,a\n1,b\n")
        put(root, "b.csv", "id,v\n1,a\n")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "id,v\n1,a\n1,c\n")
        put(root, "b.csv", "id,v\n1,b\n")
        ran = run("dvs", "diff", "--rows", "--key", "id", "--json")
        assert ran.code == 1
        found = changes(ran)
        assert found["a.csv"]["error"]["rule"] == "dvs-table-key"
        assert found["b.csv"]["rows"]["changed"] == 1
        for pack in (root.parent / "store/packs").iterdir():
            pack.chmod(0o644)
            pack.unlink()
        ran = run("dvs", "diff", "--rows", "--json")
        assert (ran.code, changes(ran)["b.csv"]["error"]["rule"]) == (1, "dvs-storage-missing")

    def test_a_file_that_was_named_by_another_hash_says_so(self, root: Path, run: Run) -> None:
        put(root, "a.txt", "one")
        assert run("dvs", "add", ".").code == 0
        assert run("dvs", "rehash", "--to", "sha256").code == 0
        text = run("dvs", "diff", "1", "0").out
        assert "blake3 -> sha256: other bytes or only another hash" in text

    def test_only_some_files(self, root: Path, run: Run) -> None:
        for path in ("a/x", "a/y", "b/z"):
            put(root, path, path)
        assert run("dvs", "add", ".").code == 0
        for path in ("a/x", "a/y", "b/z"):
            put(root, path, "other")
        assert changes(run("dvs", "diff", "--path", "a", "--json")).keys() == {"a/x", "a/y"}
        assert run("dvs", "diff", "--path", "nowhere").code == 1
        assert run("dvs", "diff", "0", "0", "0").code == 2

    def test_nothing_is_left_behind_and_nothing_changed(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "id\n1\n")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "id\n2\n")
        before = git(root, "status", "--short", "-uall")
        assert run("dvs", "diff", "--rows").code == 0
        assert git(root, "status", "--short", "-uall") == before
        assert not list((root.parent / "cache").rglob("diff-*"))


class TestWhy:
    def test_a_file_and_an_oid(self, root: Path, run: Run) -> None:
        put(root, "d/a.txt", "one")
        assert run("dvs", "add", ".", "-m", "first").code == 0
        ran = run("dvs", "why", "d/a.txt", "--json")
        assert ran.code == 0
        oid = ran.records[-1]["summary"]["oid"]
        assert {record["kind"] for record in ran.records[:-1]} >= {
            "sidecar",
            "manifest",
            "state",
            "log",
            "audit",
            "storage",
            "file",
        }
        text = run("dvs", "why", oid[:16])
        assert text.code == 0
        assert "add: brought it in - first" in text.out
        assert text.out.endswith("kept: it is named, and a place holds it\n")
        put(root, "free.txt", "free")
        assert run("dvs", "why", "free.txt").code == 1
        assert run("dvs", "why", "nowhere").code == 1

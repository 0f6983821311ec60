"""Faults of notes that no other test shows: marks before frontmatter, hostile markup in pictures, one id on two branches."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    (folder / ".qipu" / "notes").mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n", "utf-8")
    return folder


def git(root: Path, *words: str) -> None:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True)


def test_row_35_a_mark_before_frontmatter_hides_nothing_and_a_list_is_said(root: Path, run: Run) -> None:
    notes = root / ".qipu" / "notes"
    (notes / "marked.md").write_bytes(b"\xef\xbb\xbf---\nid: qp-mark\ntitle: Marked\ntags: [river]\n---\nText\n")
    (notes / "listed.md").write_bytes(b"---\n- one\n- two\n---\n# Listed\n")
    (found,) = run("-C", root, "notes", "list", "--tag", "river", "--json").records
    assert (found["id"], found["title"]) == ("qp-mark", "Marked")
    checked = run("-C", root, "notes", "doctor", "--json")
    places = {(record["rule"], record["path"], record["line"]) for record in checked.records if "rule" in record}
    assert ("note-frontmatter-mapping", ".qipu/notes/listed.md", 2) in places


def test_row_39_markup_in_a_title_is_text_in_the_picture(root: Path, run: Run) -> None:
    title = '<script>alert(1)</script> <img src=x onerror="alert(2)"> & [x](javascript:alert(3))'
    (root / ".qipu" / "notes" / "bad.md").write_text(
        f"---\ntitle: '{title}'\ntype: '<b onclick=1>'\n---\n[[bad]] [go](javascript:alert(4))\n", "utf-8"
    )
    assert run("-C", root, "build", "notes/*").code == 0
    (picture,) = (root / ".headwater" / "artifacts").rglob("graph.svg")
    tree = ET.fromstring(picture.read_bytes())
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert not names & {"script", "img", "image", "foreignObject", "a"}
    assert any("<script>" in (element.text or "") for element in tree.iter())
    assert not [name for element in tree.iter() for name in element.attrib if name.startswith("on")]


def test_row_41_one_id_made_on_two_branches_is_named_with_both_files(root: Path, run: Run) -> None:
    notes = root / ".qipu" / "notes"
    git(root, "init", "--initial-branch=main")
    (root / ".gitignore").write_text(".headwater/\nqipu.db\n.cache/\n", "utf-8")
    git(root, "add", ".")
    git(root, "commit", "-m", "start")
    git(root, "checkout", "-b", "other")
    (notes / "there.md").write_text("---\nid: qp-a1b2\ntitle: There\n---\nRiver\n", "utf-8")
    git(root, "add", ".")
    git(root, "commit", "-m", "there")
    git(root, "checkout", "main")
    notes.mkdir(parents=True, exist_ok=True)
    (notes / "here.md").write_text("---\nid: qp-a1b2\ntitle: Here\n---\nRiver\n", "utf-8")
    git(root, "add", ".")
    git(root, "commit", "-m", "here")
    git(root, "merge", "other", "-m", "both")
    checked = run("-C", root, "check", "--json")
    assert checked.code == 3
    twice = [record for record in checked.records if record.get("rule") == "notes-duplicate-id"]
    assert {record["path"] for record in twice} == {".qipu/notes/here.md", ".qipu/notes/there.md"}
    assert all("here.md" in record["message"] or "there.md" in record["message"] for record in twice)
    assert {record["path"] for record in run("-C", root, "notes", "search", "river", "--json").records} == {
        ".qipu/notes/here.md",
        ".qipu/notes/there.md",
    }

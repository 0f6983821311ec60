"""`notes merge-driver`, by hand and as git calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import ALPHA, A, Run, checkout, git, store

__all__ = ["checkout", "store"]


@pytest.fixture
def clone(store: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout where git knows the driver."""
    assert run("notes", "init").code == 0
    git(store, "add", "-A")
    git(store, "commit", "-q", "-m", "attributes")
    assert run("git", "setup").code == 0
    script = tmp_path / "bin/headwater"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestration.cli.main "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))
    return store


def merged(root: Path, ours: str, theirs: str) -> tuple[int, str]:
    """(exit code, the note) after merging a branch that has `theirs` into one that has `ours`."""
    import subprocess

    git(root, "checkout", "-q", "-b", "other")
    (root / A).write_text(theirs)
    git(root, "commit", "-q", "-am", "theirs")
    git(root, "checkout", "-q", "main")
    (root / A).write_text(ours)
    git(root, "commit", "-q", "-am", "ours")
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "merge", "-q", "-m", "merged", "other"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, (root / A).read_text()


def test_git_merges_tags_and_links_as_sets(clone: Path) -> None:
    ours = ALPHA.replace("tags: [x, 'y']", "tags: [x, 'y', ours]").replace("# Alpha\n", "# Alpha, ours\n")
    theirs = ALPHA.replace("tags: [x, 'y']", "tags: [x, 'y', theirs]\nvalue: 5") + "\nTheirs.\n"
    code, text = merged(clone, ours, theirs)
    assert code == 0, text
    assert "ours" in text.split("---\n")[1]
    assert "theirs" in text.split("---\n")[1]
    assert "value: 5\n" in text
    assert "# Alpha, ours\n" in text
    assert text.endswith("Theirs.\n")


def test_git_shows_what_both_sides_changed(clone: Path) -> None:
    code, text = merged(clone, ALPHA.replace("See", "Look at"), ALPHA.replace("See", "Watch"))
    assert code == 1
    assert "<<<<<<<" in text
    assert "Look at" in text
    assert "Watch" in text


def test_the_driver_says_whether_there_is_a_conflict(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("base", ALPHA), ("ours", ALPHA + "a\n"), ("theirs", ALPHA.replace("extra:", "more:"))):
        Path(name).write_text(text)
    ran = run("notes", "merge-driver", "base", "ours", "theirs", "notes/a.md", "--json")
    assert (ran.code, ran.records) == (0, [{"path": "notes/a.md", "conflict": False}])
    assert Path("ours").read_text() == ALPHA.replace("extra:", "more:") + "a\n"
    Path("theirs").write_text(ALPHA + "b\n")
    assert run("notes", "merge-driver", "base", "ours", "theirs", "notes/a.md", "--marker-size", "9").code == 1
    assert "<<<<<<<<< " in Path("ours").read_text()
    assert run("notes", "merge-driver", "base", "ours", "none", "notes/a.md").code == 2
    assert run("notes", "merge-driver").code == 2


def test_text_that_is_no_note_is_merged_by_lines(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("base", b"---\n[\n---\n1\n2\n3\n4\n5\n"),
        ("ours", b"---\n[\n---\n0\n2\n3\n4\n5\n"),
        ("theirs", b"---\n[\n---\n1\n2\n3\n4\n6\n"),
    ):
        Path(name).write_bytes(data)
    assert run("notes", "merge-driver", "base", "ours", "theirs", "a.md").code == 0
    assert Path("ours").read_bytes() == b"---\n[\n---\n0\n2\n3\n4\n6\n"

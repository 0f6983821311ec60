"""A rename that rewrites five files, killed before every system call: all of it happened or none, and nothing to repair."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resources.notes.moving import move
from resources.notes.store import NotesStore
from resources.storage.local import LocalStorage
from tests.faults.harness import fail, kill, needs_strace, points
from tests.resources.notes.stores import FilesLinker, contents, links_of, store_of

pytestmark = [pytest.mark.slow, needs_strace]

FILES = {
    "notes/old.md": "---\nid: qp-1 # kept\n---\n[up](../mocs/map.md)\n",
    "notes/a.md": "[[old]] and [x](old.md)\n",
    "notes/b.md": '---\nup: "[[old]]"\n---\n',
    "mocs/map.md": "[[notes/old|o]]\n",
    "mocs/two.md": "[r][1]\n\n[1]: ../notes/old.md\n",
}
PROGRAM = """
from pathlib import Path
from tests.resources.notes.stores import FilesLinker
from resources.notes.moving import move
from resources.notes.store import NotesStore
from resources.storage.local import LocalStorage
store = NotesStore(LocalStorage(Path.cwd()), ".qipu")
plan = move(store, FilesLinker(store), "notes/old.md", "archive/new.md")
assert len(plan.changes) == 6
os.access(BEGIN, 0)
store.commit(plan.changes, plan.label)
"""


def _store(folder: Path) -> NotesStore:
    return NotesStore(LocalStorage(folder), ".qipu")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    store_of(folder, FILES)
    return folder


@pytest.mark.timeout(900)
def test_case_78_rename_killed_before_any_system_call(tmp_path: Path, prepared: Path) -> None:
    old = contents(_store(prepared))
    shutil.copytree(prepared, tmp_path / "trace")
    found = points(PROGRAM, tmp_path / "trace", [])
    new = contents(_store(tmp_path / "trace"))
    assert sorted(new) == ["archive/new.md", "mocs/map.md", "mocs/two.md", "notes/a.md", "notes/b.md"]
    assert len(found) > 20
    seen = set()
    for point in found:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        kill(PROGRAM, folder, [], point)
        _check_whole(folder, old, new, str(point))
        store = _store(folder)
        store.storage.recover()
        store.storage.sweep()
        after = contents(store)
        assert after in (old, new), str(point)
        seen.add(after == new)
        # The next command works as if nothing had been.
        if after == old:
            store.retry(lambda store=store: move(store, FilesLinker(store), "notes/old.md", "archive/new.md"))  # type: ignore[misc]  # a plan
        assert contents(store) == new, str(point)
        assert links_of(store)["notes/a.md"] == [("wiki", "archive/new.md", None), ("markdown", "archive/new.md", None)]
    assert seen == {True, False}


@pytest.mark.timeout(900)
def test_rename_with_a_failing_disk_is_undone_or_done(tmp_path: Path, prepared: Path) -> None:
    old = contents(_store(prepared))
    shutil.copytree(prepared, tmp_path / "trace")
    found = [
        point
        for point in points(PROGRAM, tmp_path / "trace", [])
        if point.kind in ("write", "fsync", "fdatasync", "rename", "renameat")
    ]
    new = contents(_store(tmp_path / "trace"))
    assert found
    for point in found:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        done = fail(PROGRAM, folder, [], point)
        store = _store(folder)
        store.storage.recover()
        store.storage.sweep()
        after = contents(store)
        assert after in (old, new), f"{point}: {done.stderr[-500:]}"
        assert done.returncode != 0 or after == new, str(point)


def _check_whole(folder: Path, old: dict[str, bytes], new: dict[str, bytes], when: str) -> None:
    """Before anything is repaired, every file that is there is old or new as a whole."""
    for path, data in contents(_store(folder)).items():
        if not path.endswith(".hwtmp"):
            assert data in (old.get(path), new.get(path)), f"{when}: {path}"

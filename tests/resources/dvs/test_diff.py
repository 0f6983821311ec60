"""Two states of a repository, file by file; states of the log, of git and the working tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.dvs.diff import FileChange, Held, counts, differences, lay_out, side_of
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
from schemas.dvs.sidecar import Sidecar, SidecarFormat, sidecar_path, write_sidecar
from schemas.errors import HeadwaterError

A, B = Held("blake3:" + "a" * 64, 10), Held("blake3:" + "b" * 64, 20)
EMPTY = Held("blake3:" + "e" * 64, 0)
TIME = "2026-01-20T10:00:00Z"


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def found(before: dict[str, Held], after: dict[str, Held]) -> list[tuple[str, str, str | None]]:
    return [(change.path, change.change, change.was) for change in differences(before, after)]


def test_each_kind_of_change() -> None:
    changes = differences({"a": A, "b": A, "c": B}, {"a": A, "b": B, "d": Held("blake3:" + "d" * 64, 5)})
    assert [(change.path, change.change) for change in changes] == [("b", "changed"), ("c", "removed"), ("d", "added")]
    assert counts(changes) == {"added": 1, "removed": 1, "changed": 1, "moved": 0, "bytes": 10 - 20 + 5}


def test_moved_files_are_paired_by_name_first() -> None:
    assert found({"x/one": A, "x/two": A}, {"y/two": A, "y/three": A}) == [
        ("y/three", "moved", "x/one"),
        ("y/two", "moved", "x/two"),
    ]
    assert found({"one": A}, {"two": A, "three": A}) == [("three", "moved", "one"), ("two", "added", None)]


def test_a_copy_and_an_empty_file_are_not_moved() -> None:
    assert found({"a": A}, {"a": A, "b": A}) == [("b", "added", None)]
    assert found({"a": EMPTY}, {"b": EMPTY}) == [("a", "removed", None), ("b", "added", None)]


def test_many_equal_files_are_paired_at_once() -> None:
    before = {f"old/{number:05}": A for number in range(20_000)}
    after = {f"new/{number:05}": A for number in range(20_000)}
    changes = differences(before, after)
    assert changes[7] == FileChange("new/00007", "moved", A, A, "old/00007")
    assert len(changes) == 20_000


names = st.sampled_from(["a", "b", "c/a", "c/b", "d/e/a", "d/e/f"])
held = st.builds(lambda letter, size: Held(f"blake3:{letter * 64}", size), st.sampled_from("abc"), st.sampled_from([0, 1]))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, held), st.dictionaries(names, held))
def test_what_differs_makes_the_one_of_the_other(before: dict[str, Held], after: dict[str, Held]) -> None:
    made = dict(before)
    changes = differences(before, after)
    for change in changes:
        assert change.before == (before.get(change.was or change.path) if change.change != "added" else None)
        if change.change in ("removed", "moved"):
            del made[change.was or change.path]
    made.update({change.path: change.after for change in changes if change.after is not None})
    assert {path: one.oid for path, one in made.items()} == {path: one.oid for path, one in after.items()}
    assert [change.path for change in changes] == sorted({change.path for change in changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "inner").mkdir(parents=True)
    git(root, "init", "--initial-branch=main")
    (root / "inner/dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    return root


def open_repo(root: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(root, state=root.parent / "state"), "inner", root.parent / "local", actor="ann")


def track(root: Path, path: str, data: bytes, spelling: SidecarFormat = SidecarFormat.JSON) -> str:
    from schemas.dvs.oids import oid_of

    target = root / "inner" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    oid = oid_of(data, "blake3")
    (root / "inner" / sidecar_path(path, spelling)).write_bytes(write_sidecar(Sidecar(oid, len(data), TIME), spelling))
    return oid


def test_a_git_revision_is_read_without_a_checkout(root: Path) -> None:
    track(root, "a.csv", b"1")
    toml = track(root, "größe d.csv", b"22")
    track(root, "größe d.csv", b"22", SidecarFormat.TOML)
    (root / "inner/größe d.csv.dvs").write_text("{}")
    (root / "inner/bad.dvs").write_text("{}")
    (root / "other.dvs").write_text("{}")
    git(root, "add", "*.dvs", "*.toml")
    git(root, "commit", "-qm", "one")
    track(root, "a.csv", b"333")
    repo = open_repo(root)
    for text in ("git:HEAD", "main", git(root, "rev-parse", "HEAD").strip()[:10]):
        side = side_of(repo, text)
        assert {path: held.size for path, held in side.files.items()} == {"a.csv": 1, "größe d.csv": 2}
        assert (side.kind, side.id, side.unread) == ("git", git(root, "rev-parse", "HEAD").strip(), ("bad.dvs",))
    assert side.files["größe d.csv"].oid == toml
    changes = differences(side_of(repo, "git:HEAD").files, side_of(repo, None).files)
    assert [(change.path, change.change) for change in changes] == [("a.csv", "changed")]
    repo.close()


def test_the_mirror_tree_of_the_third_generation(root: Path, tmp_path: Path) -> None:
    (root / "inner/dvs.toml").write_text(f'[backend]\npath = "{tmp_path}/store"\n')
    side = root / "inner/.dvs/d/a.csv.dvs"
    side.parent.mkdir(parents=True)
    side.write_text(f'{{"hashes":{{"blake3":"{"a" * 64}"}},"size":10,"created_by":"ann","add_time":"{TIME}"}}')
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    repo = open_repo(root)
    assert side_of(repo, "main").files == {"d/a.csv": A}
    assert side_of(repo, None).files == {"d/a.csv": A}
    repo.close()


def test_a_revision_with_nothing_but_a_manifest(root: Path) -> None:
    (root / "inner/dvs.lock").write_text(f'{{"version":1,"entries":[{{"path":"x","oid":"{A.oid}","bytes":10}}]}}')
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    assert side_of(open_repo(root), "main").files == {"x": A}


@pytest.mark.parametrize("text", ["nope", "7", "--all", "git:nope", "state:" + "0" * 64, "HEAD~99"])
def test_a_state_that_is_nowhere(root: Path, text: str) -> None:
    with pytest.raises(HeadwaterError) as caught:
        side_of(open_repo(root), text)
    assert caught.value.rule in ("dvs-not-found", "git-revision")
    assert caught.value.fix


def test_the_working_tree_takes_what_is_absent_as_recorded(root: Path) -> None:
    oid = track(root, "a", b"1")
    track(root, "b", b"2")
    (root / "inner/a").unlink()
    (root / "inner/b").write_bytes(b"edited")
    (root / "inner/c.dvs").write_text("{")
    side = side_of(open_repo(root), None)
    assert side.files["a"] == Held(oid, 1)
    assert side.files["b"].size == 6
    assert (side.absent, side.unread) == (("a",), ("c.dvs",))


def test_versions_are_laid_out_from_the_tree_and_the_stores(root: Path, tmp_path: Path) -> None:
    track(root, "a", b"1")
    track(root, "b", b"2")
    (root / "inner/a").unlink()
    repo = open_repo(root)
    side = side_of(repo, None)
    lay_out(repo, side, "b", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"2"
    with pytest.raises(HeadwaterError) as caught:
        lay_out(repo, side, "a", tmp_path / "a")
    assert caught.value.rule == "dvs-storage-missing"
    repo.cache.put(b"1")
    lay_out(repo, side, "a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"1"
    repo.close()

"""The working tree and the status of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resources.dvs.repo import DvsRepo
from resources.dvs.status import FileStatus, StatusRow, is_dirty, status
from resources.dvs.working import scan
from resources.storage.local import LocalStorage
from schemas.dvs.sidecar import Sidecar, SidecarFormat, sidecar_path, write_sidecar

TIME = "2026-01-20T10:00:00Z"
LONG_AGO = 1_600_000_000_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    return root


def open_repo(root: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(root, state=root.parent / "state"), "", root.parent / "local", actor="ann")


def track(
    root: Path,
    path: str,
    data: bytes,
    *,
    store: bool = True,
    algorithm: str = "blake3",
    spelling: SidecarFormat = SidecarFormat.JSON,
) -> str:
    """Write a file with its sidecar, and its object into the storage."""
    from schemas.dvs.oids import oid_of

    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    oid = oid_of(data, algorithm)
    if store:
        repo = open_repo(root)
        repo.objects.put(data, algorithm=algorithm)
        repo.close()
    (root / sidecar_path(path, spelling)).write_bytes(write_sidecar(Sidecar(oid, len(data), TIME), spelling))
    return oid


def ask(root: Path, *paths: str, untracked: bool = False) -> dict[str, StatusRow]:
    repo = open_repo(root)
    rows = status(repo, paths, untracked=untracked)
    repo.close()
    assert [row.path for row in rows] == sorted(row.path for row in rows)
    return {row.path: row for row in rows}


def test_case_35_each_status(root: Path) -> None:
    for name in ("current", "absent", "unsynced", "lost", "gone"):
        track(root, f"d/{name}", name.encode(), store=name not in ("lost", "gone"))
    (root / "d/absent").unlink()
    (root / "d/gone").unlink()
    (root / "d/unsynced").write_text("edited")
    (root / "d/other").write_text("no sidecar")
    (root / "d/bad").write_text("x")
    (root / "d/bad.dvs").write_text("{}")
    rows = ask(root)
    assert {path.removeprefix("d/"): str(row.status) for path, row in rows.items()} == {
        "absent": "absent",
        "bad": "error",
        "current": "current",
        "gone": "error",
        "lost": "error",
        "unsynced": "unsynced",
    }
    rules = {path.removeprefix("d/"): row.error.rule for path, row in rows.items() if row.error is not None}
    assert rules == {"bad": "dvs-metadata-not-found", "gone": "dvs-storage-missing", "lost": "dvs-storage-missing"}
    assert is_dirty(list(rows.values())) == ["d/unsynced"]
    assert all(row.error is None or row.error.fix for row in rows.values())


def test_case_35_an_empty_repository_has_no_rows(root: Path) -> None:
    assert ask(root) == {}


def test_case_34_what_is_asked_for_and_not_tracked(root: Path) -> None:
    track(root, "d/a", b"a")
    (root / "d/b").write_text("b")
    (root / "e").mkdir()
    (root / "e/c").write_text("c")
    assert {path: str(row.status) for path, row in ask(root, "d", "d/b", "e", "nowhere").items()} == {
        "d/a": "current",
        "d/b": "untracked",
        "e/c": "untracked",
        "nowhere": "error",
    }
    assert list(ask(root, "d/a")) == ["d/a"]
    assert [path for path, row in ask(root, untracked=True).items() if row.status is FileStatus.UNTRACKED] == [
        "d/b",
        "dvs.toml",
        "e/c",
    ]


def test_case_36_both_spellings_of_sidecars(root: Path) -> None:
    for number, spelling in enumerate([SidecarFormat.JSON, SidecarFormat.TOML, SidecarFormat.JSON]):
        track(root, f"f{number}", b"%d" % number, spelling=spelling)
    assert [str(row.status) for row in ask(root).values()] == ["current"] * 3


@pytest.mark.parametrize("algorithm", ["sha256", "xxh3"])
def test_case_32_other_algorithms(root: Path, algorithm: str) -> None:
    track(root, "f", b"data", algorithm=algorithm)
    assert ask(root)["f"].status is FileStatus.CURRENT
    (root / "f").write_bytes(b"else")
    assert ask(root)["f"].status is FileStatus.UNSYNCED


def test_case_38_status_writes_nothing_of_the_repository(root: Path) -> None:
    track(root, "d/a", b"a")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    ask(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_case_54_a_touched_file_is_still_current(root: Path) -> None:
    track(root, "f", b"data")
    ask(root)
    os.utime(root / "f")
    assert ask(root)["f"].status is FileStatus.CURRENT


def test_a_file_that_did_not_change_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.dvs import index

    monkeypatch.setattr(index, "RACY_NS", -60_000_000_000)  # as if a minute had gone by
    for number in range(5):
        track(root, f"d/f{number}", b"%d" % number)
    repo = open_repo(root)
    assert scan(repo).hashed == 5
    assert scan(repo).hashed == 0
    (root / "d/f1").write_bytes(b"longer than it was")
    (root / "d/new").write_text("not tracked")
    assert scan(repo).hashed == 1
    track(root, "d/f9", b"9")
    assert scan(repo).hashed == 1
    assert [file.actual is not None for file in scan(repo).files] == [True] * 6
    repo.close()


def test_an_edit_of_the_same_length_and_time_is_noticed(root: Path) -> None:
    track(root, "f", b"data")
    for text in (b"aaaa", b"bbbb", b"cccc", b"data"):
        (root / "f").write_bytes(text)
        os.utime(root / "f", ns=(LONG_AGO, LONG_AGO))
        expected = FileStatus.CURRENT if text == b"data" else FileStatus.UNSYNCED
        assert ask(root)["f"].status is expected


def test_a_sidecar_that_changed_counts_at_once(root: Path) -> None:
    track(root, "f", b"one")
    assert ask(root)["f"].status is FileStatus.CURRENT
    track(root, "f", b"two")
    (root / "f").write_bytes(b"one")
    assert ask(root)["f"].status is FileStatus.UNSYNCED


@pytest.mark.parametrize("damage", [b"", b"not a database", b"SQLite format 3\0" + bytes(200)])
def test_case_41_a_damaged_index_is_made_anew(root: Path, damage: bytes) -> None:
    track(root, "f", b"data")
    ask(root)
    (root.parent / "local/working.db").write_bytes(damage)
    for _ in range(2):
        assert ask(root)["f"].status is FileStatus.CURRENT


def test_links_and_special_files_are_not_followed(root: Path, tmp_path: Path) -> None:
    track(root, "f", b"data")
    (tmp_path / "outside").write_bytes(b"data")
    (root / "f").unlink()
    (root / "f").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    track(root, "pipe", b"x")
    (root / "pipe").unlink()
    os.mkfifo(root / "pipe")
    assert {path: str(row.status) for path, row in ask(root).items()} == {"f": "absent", "pipe": "absent"}


def test_a_repository_below_a_folder_with_a_dot(tmp_path: Path) -> None:
    root = tmp_path / ".hidden/repo"
    root.mkdir(parents=True)
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    track(root, ".also/hidden", b"x")
    assert list(ask(root)) == [".also/hidden"]


def test_sidecars_of_the_third_generation(root: Path) -> None:
    (root / "dvs.toml").write_text(f'[backend]\npath = "{root.parent}/store"\n')
    oid = track(root, "d/a", b"data")
    (root / "d/a.dvs").unlink()
    (root / ".dvs/d").mkdir(parents=True)
    digits = oid.partition(":")[2]
    (root / ".dvs/d/a.dvs").write_text(f'{{"hashes": {{"blake3": "{digits}"}}, "size": 4, "add_time": "{TIME}"}}')
    assert {path: str(row.status) for path, row in ask(root).items()} == {"d/a": "current"}


def test_files_of_the_mirror_tree_are_absent_where_their_folder_is_missing(root: Path, tmp_path: Path) -> None:
    (root / "dvs.toml").write_text(f'[backend]\npath = "{tmp_path}/store"\n')
    for path in ("top.csv", "d/e/a.csv"):
        side = root / ".dvs" / f"{path}.dvs"
        side.parent.mkdir(parents=True, exist_ok=True)
        text = f'{{"hashes":{{"blake3":"{"a" * 64}"}},"size":1,"created_by":"ann","add_time":"{TIME}"}}'
        side.write_text(text)
    for _time in range(2):
        assert sorted(ask(root)) == ["d/e/a.csv", "top.csv"]
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/a.csv").write_text("x")
    assert ask(root)["d/e/a.csv"].status is FileStatus.UNSYNCED


def test_a_first_look_keeps_what_it_saw_part_by_part(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.dvs import working
    from resources.dvs.index import WorkingIndex

    monkeypatch.setattr(working, "_SAVE_FROM", 10)
    for number in range(6):
        track(root, f"d{number}/f.csv", b"%d" % number)
    repo = open_repo(root)
    first = working.scan(repo)
    assert first.hashed == 6
    with WorkingIndex(repo.local / "working.db").opened() as known:
        assert known.paths == {f"d{number}" for number in range(6)}
        held = known.get("d3")
        assert held is not None
        assert held.values()[0][0] == "f.csv"
        assert known.get("nowhere") is None
    assert working.scan(repo).files == first.files
    repo.close()

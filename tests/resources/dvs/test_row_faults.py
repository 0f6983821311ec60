"""Faults of the list that concern versioned data and have no test beside their subject; `tests/test_faults_rows.py` maps them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources import encoding
from resources.dvs.add import add
from resources.dvs.audit import new_record
from resources.dvs.gc import Options, make_plan
from resources.dvs.history import rollback
from resources.dvs.init import init
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import get
from resources.dvs.results import Outcome
from resources.dvs.status import FileStatus, status
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.dvs.oids import oid_of
from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar
from schemas.dvs.state import SNAPSHOTS
from schemas.errors import HeadwaterError

TIME = "2026-01-20T10:00:00Z"
LARGE = os.urandom(100_000)


def opened(folder: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(folder / "repo", state=folder / "state"), "", folder / "local", actor="ann")


def started(folder: Path, **settings: str) -> DvsRepo:
    (folder / "repo").mkdir()
    storage = LocalStorage(folder / "repo", state=folder / "state")
    init(storage, "", RepoConfig("../storage", **settings), folder / "local", in_git=False)  # type: ignore[arg-type]
    return opened(folder)


def stored(folder: Path, data: bytes) -> Path:
    digits = oid_of(data, "blake3").partition(":")[2]
    return folder / "storage/blake3" / digits[:2] / digits[2:]


@pytest.mark.parametrize("recorded", [10, 2 << 20])
def test_row_62_what_unfolds_to_more_than_is_recorded_is_stopped_there(tmp_path: Path, recorded: int) -> None:
    repo = started(tmp_path)
    bomb = bytes(64 << 20)
    oid = oid_of(bomb, "blake3")
    place = Path(f"{stored(tmp_path, bomb)}.zst")
    place.parent.mkdir(parents=True)
    packed = encoding.compressed(bomb)
    assert packed is not None
    assert len(packed) < 10_000
    place.write_bytes(packed)
    (tmp_path / "repo/a.bin.dvs").write_bytes(write_sidecar(Sidecar(oid, recorded, TIME), SidecarFormat.JSON))
    written = 0
    real = os.write

    def counting(fd: int, data: bytes) -> int:
        nonlocal written
        done = real(fd, data)
        written += done
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", counting)
        report = get(repo, [])
    rule = "object-rotten" if recorded > 100_000 else "file-too-large"
    assert [row.error.rule for row in report.rows if row.error is not None] == [rule]
    assert written < recorded + (2 << 20)
    assert not (tmp_path / "repo/a.bin").exists()
    repo.close()


@pytest.mark.parametrize("layout", ["packed", "loose"])
@pytest.mark.parametrize("length", [0, 2], ids=["empty", "cut"])
@pytest.mark.parametrize("data", [LARGE, b"small"], ids=["large", "small"])
def test_row_99_a_torn_object_is_not_taken_for_whole_and_healed_by_adding_again(
    tmp_path: Path, layout: str, length: int, data: bytes
) -> None:
    """As a tool leaves it that writes to the final name and is killed."""
    repo = started(tmp_path, layout=layout)
    path = tmp_path / "repo/a.bin"
    path.write_bytes(data)
    torn = stored(tmp_path, data)
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_bytes(data[:length])
    sidecar = Sidecar(oid_of(data, "blake3"), len(data), TIME)
    (tmp_path / "repo/a.bin.dvs").write_bytes(write_sidecar(sidecar, SidecarFormat.JSON))
    assert [row.status for row in status(repo)] == [FileStatus.ERROR]
    assert [row.outcome for row in add(repo, ["a.bin"]).rows] == [Outcome.COPIED]
    assert [row.status for row in status(repo)] == [FileStatus.CURRENT]
    path.unlink()
    assert [row.outcome for row in get(repo, []).rows] == [Outcome.COPIED]
    assert path.read_bytes() == data
    repo.close()


def test_row_99_a_torn_object_among_many_is_seen_when_folders_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources import packed

    monkeypatch.setattr(packed, "_LIST_FROM", 2)
    repo = started(tmp_path, layout="loose")
    for number in range(5):
        (tmp_path / f"repo/f{number}").write_bytes(b"%d" % number * 10)
    add(repo, [""])
    torn = stored(tmp_path, b"3" * 10)
    torn.chmod(0o644)
    torn.write_bytes(b"")
    found = {row.path: row.status for row in status(repo)}
    assert found == {f"f{number}": FileStatus.CURRENT for number in range(5)} | {"f3": FileStatus.ERROR}
    repo.close()


_PUT = """
import sys
from pathlib import Path
from resources.packed import PackedObjects
from resources.storage.local import LocalStorage
root, name = Path(sys.argv[1]), sys.argv[2]
store = PackedObjects(LocalStorage(root / "storage", state=root / "state"), root / "scratch", packed=name != "w0")
while not (root / "go").exists():
    pass
for number in range(30):
    store.put(bytes([number]) * 90_000)
    store.put(b"%d" % number * 50)
    store.put(root / "file")
"""


def test_row_100_many_who_put_the_same_objects_all_succeed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE)
    running = [subprocess.Popen([sys.executable, "-c", _PUT, str(tmp_path), f"w{number}"]) for number in range(6)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in running] == [0] * 6
    from resources.packed import PackedObjects

    store = PackedObjects(LocalStorage(tmp_path / "storage", state=tmp_path / "state"), tmp_path / "scratch")
    oids = {oid for oid, _ in store.list()}
    assert len(oids) == 61
    for oid in oids:
        store.verify(oid)
    names = [path for path in (tmp_path / "storage/blake3").rglob("*") if path.is_file()]
    assert len(names) == 31 + 30  # one of the six keeps small ones as files
    assert not [path for path in (tmp_path / "storage").rglob("*") if "hwtmp" in path.name]
    store.close()


def test_row_107_nothing_is_collected_while_clocks_differ(tmp_path: Path) -> None:
    repo = started(tmp_path)
    (tmp_path / "repo/a.bin").write_bytes(LARGE)
    add(repo, [""])
    assert make_plan(repo, Options(grace=0.0), write=False).items == []
    repo.audit_log.append(
        new_record("add", {"b.bin": oid_of(b"b", "blake3")}, user="bob", when="2199-01-01T00:00:00Z", reason=None, clone="x")
    )
    with pytest.raises(HeadwaterError) as caught:
        make_plan(repo, Options(grace=0.0), write=False)
    assert caught.value.rule == "dvs-clock"
    assert caught.value.fix
    repo.close()


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_row_118_going_to_a_state_that_is_gone_names_the_nearest_ones(tmp_path: Path, damage: str) -> None:
    repo = started(tmp_path)
    path = tmp_path / "repo/a.csv"
    for number in range(4):
        path.write_bytes(b"%d" % number)
        add(repo, [""])
    ids = [record.new for record in repo.log()[0]]
    snapshot = tmp_path / "repo" / SNAPSHOTS / f"{ids[1]}.json"
    if damage == "missing":
        snapshot.unlink()
    else:
        snapshot.write_bytes(snapshot.read_bytes().replace(b"a.csv", b"b.csv"))
    before = (tmp_path / "repo/a.csv.dvs").read_bytes()
    with pytest.raises(HeadwaterError) as caught:
        rollback(repo, ids[1])
    assert caught.value.rule in ("dvs-not-found", "dvs-state-damaged")
    assert caught.value.fix is not None
    assert ids[0][:12] in caught.value.fix
    assert ids[2][:12] in caught.value.fix
    assert (path.read_bytes(), (tmp_path / "repo/a.csv.dvs").read_bytes()) == (b"3", before)
    repo.close()

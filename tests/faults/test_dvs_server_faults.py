"""Uploads of the object server killed before every system call, and with every call failing: acknowledged or not there at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resources.dvs.leases import leases
from resources.packed import PackedObjects
from resources.server.objects import ServedObjects
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of
from tests.faults.harness import FAILING, fail, kill, needs_strace, points

pytestmark = [pytest.mark.slow, needs_strace]

_OPEN = """
from pathlib import Path
from resources.packed import PackedObjects
from resources.server import objects
from resources.server.incoming import IncomingMany
from resources.server.objects import ServedObjects
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of
objects._TICK = 0  # whether packs are listed again must not hang on the time
here = Path.cwd()
served = ServedObjects(PackedObjects(LocalStorage(here / "store", state=here / "state"), here / "scratch"), cap=1 << 30)
served.identity
def group(name, number):
    return [(oid_of(data, "blake3"), data) for data in (f"{name} {at}".encode() * 30 for at in range(number))]
def said(oid):
    with open("said", "ab", buffering=0) as file:
        file.write(oid.encode() + b"\\n")
for oid, data in group("warm", 2):
    served.keep(oid, data)
served.keep_many(group("warm up", 5))
many = IncomingMany(served)
for oid, data in group("packed", 3):
    many.keep(oid, data)
many.finish()
served.delete(group("warm", 1)[0][0], "warm")
os.access(BEGIN, 0)
"""
PROGRAMS = {
    "one": """
oid, data = group("one", 1)[0]
coming = served.receive(oid)
coming.write(data[:10])
coming.write(data[10:])
if coming.finish():
    said(oid)
coming.abandon()
""",
    "a group": """
wanted = group("a group", 5)
for (oid, _), result in zip(wanted, served.keep_many(wanted)):
    if result is True:
        said(oid)
""",
    "a stream": """
many = IncomingMany(served)
wanted = group("a stream", 3)
for oid, data in wanted:
    many.keep(oid, data)
many.finish()
for oid, _ in wanted:
    said(oid)
""",
    "a delete": """
oid = group("packed", 1)[0][0]
served.delete(oid, "somebody")
said(oid)
""",
}
BEFORE = {
    oid_of(data, "blake3")
    for name, number in (("warm", 2), ("warm up", 5), ("packed", 3))
    for data in (f"{name} {at}".encode() * 30 for at in range(number))
} - {oid_of(b"warm 0" * 30, "blake3")}


def _prepare(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "store").mkdir(parents=True)
    return folder


def _check(folder: Path, name: str, where: str) -> None:
    """What was said to be done is done; every object that is seen is whole; nothing half written stays."""
    said = set((folder / "said").read_text().split()) if (folder / "said").exists() else set()
    storage = LocalStorage(folder / "store", state=folder / "later")
    served = ServedObjects(PackedObjects(storage, folder / "scratch"), cap=1 << 30)
    try:
        served.count()
        leases(storage)  # as whoever deletes or collects next does
        seen = {oid for oid, _size in served.list(None, 1000)}
        for oid in seen:
            held = served.find(oid)
            assert held is not None, where
            assert oid_of(b"".join(served.read(held)), "blake3") == oid, where
        if name == "a delete":
            (gone,) = {oid_of(b"packed 0" * 30, "blake3")}
            assert BEFORE - {gone} <= seen, where
            assert not (said & seen), where
        else:
            assert seen >= BEFORE | said, where
        left = [path.name for path in storage.root.rglob("*.hwtmp")]
        assert left == [], where
    finally:
        served.close()


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_killed_before_every_call(tmp_path: Path, name: str) -> None:
    program = _OPEN + PROGRAMS[name]
    found = points(program, _prepare(tmp_path / "work"), [])
    _check(tmp_path / "work", name, "not killed")
    assert (tmp_path / "work" / "said").exists()
    assert len(found) >= 5
    for point in found:
        folder = _prepare(tmp_path / "work")
        kill(program, folder, [], point)
        _check(folder, name, str(point))


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_failing_at_every_call(tmp_path: Path, name: str) -> None:
    program = _OPEN + PROGRAMS[name]
    for point in points(program, _prepare(tmp_path / "work"), []):
        if point.kind in FAILING and "said" not in point.text:
            folder = _prepare(tmp_path / "work")
            fail(program, folder, [], point)
            _check(folder, name, str(point))

"""The store behind the object server, call by call: groups of uploads, failures of the disk, folders that stay open."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.packed import PackedObjects
from resources.server import incoming, objects
from resources.server.incoming import Mismatch, TooMuch
from resources.server.objects import ServedObjects
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedObjects]:
    (tmp_path / "store").mkdir()
    storage = LocalStorage(tmp_path / "store", state=tmp_path / "state")
    made = ServedObjects(PackedObjects(storage, tmp_path / "scratch"), cap=1 << 20)
    yield made
    made.close()


def _group(number: int) -> list[tuple[str, bytes]]:
    return [(oid_of(data, "blake3"), data) for data in (f"object {at}".encode() * 20 for at in range(number))]


def _files(served: ServedObjects) -> set[str]:
    return {path.name for path in served.storage.root.rglob("*") if path.is_file()} - {"headwater-remote"}


@pytest.mark.parametrize("number", [1, 3, 4, 40])
def test_a_group_is_kept_and_each_of_it_answered(served: ServedObjects, number: int) -> None:
    group = _group(number)
    assert served.keep_many(group) == [True] * number
    assert served.keep_many(group) == [False] * number
    for oid, data in group:
        held = served.find(oid)
        assert held is not None
        assert b"".join(served.read(held)) == data
    assert len(_files(served)) == number


def test_what_is_wrong_in_a_group_fails_alone(served: ServedObjects) -> None:
    group = _group(6)
    group[2] = (group[2][0], b"other bytes")
    group[4] = (oid_of(b"x" * (1 << 21), "blake3"), b"x" * (1 << 21))
    group.append(group[0])
    results = served.keep_many(group)
    assert [type(result) for result in results] == [bool, bool, Mismatch, bool, TooMuch, bool, bool]
    assert [results[at] for at in (0, 1, 3, 5, 6)] == [True, True, True, True, False]
    assert len(_files(served)) == 4


@pytest.mark.parametrize("number", [2, 8])
@pytest.mark.parametrize("fails", [1, 2])
def test_a_flush_that_fails_acknowledges_nothing(
    served: ServedObjects, monkeypatch: pytest.MonkeyPatch, number: int, fails: int
) -> None:
    """The first flush is of the bytes, the second of their names: without both nobody was promised anything."""
    calls = 0

    def failing(*_arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls >= fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(objects, "sync_file_system", failing)
    monkeypatch.setattr(incoming, "sync_file", failing)
    group = _group(number)
    results = served.keep_many(group)
    if number >= 4 or fails == 1:
        assert all(isinstance(result, OSError) for result in results)
    if fails == 1:
        assert _files(served) == set()
    assert not [name for name in _files(served) if name.endswith(".hwtmp")]
    monkeypatch.undo()
    assert set(served.keep_many(group)) <= {True, False}
    for oid, data in group:
        held = served.find(oid)
        assert held is not None
        assert b"".join(served.read(held)) == data


def test_a_flush_that_fails_within_a_large_object_abandons_it(served: ServedObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    served.cap = 1 << 30
    oid = oid_of(b"x" * (20 << 20), "blake3")
    coming = served.receive(oid)

    def failing(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(incoming.os, "fdatasync", failing)
    coming.write(b"x" * (1 << 20))
    with pytest.raises(OSError, match="Input/output"):
        coming.write(b"x" * (19 << 20))
    coming.abandon()
    assert _files(served) == set()
    assert served.find(oid) is None


def test_uploads_of_one_object_at_once_leave_one(served: ServedObjects) -> None:
    data = os.urandom(300_000)
    oid = oid_of(data, "blake3")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(served.keep(oid, data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert True in results
    assert _files(served) == {oid[9:]}


def test_abandoning_while_a_thread_writes_waits_for_it(served: ServedObjects) -> None:
    """A descriptor that is closed under a writer is somebody else's file a moment later."""
    served.cap = 1 << 30
    coming = served.receive(oid_of(b"never whole", "blake3"))
    begun, stop = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                coming.write(b"x" * (1 << 20))
                begun.set()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(10)
    coming.abandon()
    thread.join(10)
    stop.set()
    assert [str(error) for error in errors] == ["the upload was abandoned"]
    assert _files(served) == set()


def test_folders_that_stay_open_are_few(served: ServedObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.server import places

    monkeypatch.setattr(places, "_OPEN", 5)
    group = _group(60)
    served.keep_many(group)
    for oid, data in _group(90)[60:]:
        assert served.keep(oid, data)
    assert len(served.places._held) <= 5
    served.places.forget()
    assert served.places._held == {}
    assert served.keep(oid_of(b"after", "blake3"), b"after")

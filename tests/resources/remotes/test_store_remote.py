"""Remotes that are folders: what is told to have come is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import packed
from resources.packed import PackedObjects
from resources.remotes.store import StoreRemote
from resources.storage.base import Storage
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid

CONTENTS = [b"%d" % number * 100 for number in range(30)]
LARGE = os.urandom(200_000)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[PackedObjects]:
    made = PackedObjects(LocalStorage(tmp_path / "source", state=tmp_path / "state"), tmp_path / "scratch")
    with made.batch() as batch:
        for data in (*CONTENTS, LARGE):
            batch.put(data)
    yield made
    made.close()


def full_once(monkeypatch: pytest.MonkeyPatch, storage: Storage, number: int) -> None:
    """Let the storage fail to take its pack of that number, counted from 0."""
    real = storage.add
    seen: list[str] = []

    def add(path: str, what: bytes | Path, **more: object) -> bool:
        if path.endswith(".pack"):
            seen.append(path)
            if len(seen) == number + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, what, **more)  # type: ignore[arg-type]  # as the storage takes them

    monkeypatch.setattr(storage, "add", add)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("way", ["put", "fetch"])
def test_what_lay_in_a_pack_that_could_not_be_kept_is_not_told_to_have_come(
    source: PackedObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, number: int
) -> None:
    monkeypatch.setattr(packed, "PACK_BYTES", 2_000)
    sizes = {bytes_oid(data): len(data) for data in (*CONTENTS, LARGE)}
    told: dict[str, HeadwaterError | None] = {}

    def done(oid: str, error: HeadwaterError | None) -> None:
        assert oid not in told
        told[oid] = error

    other = tmp_path / "other"
    if way == "put":
        remote = StoreRemote(other, tmp_path / "way")
        target = remote.objects
        full_once(monkeypatch, remote.storage, number)
        remote.put(dict.fromkeys(sizes, source), sizes, done)
    else:
        remote = StoreRemote(tmp_path / "source", tmp_path / "way")
        target = PackedObjects(LocalStorage(other, state=tmp_path / "more"), tmp_path / "again")
        full_once(monkeypatch, target.storage, number)
        remote.fetch(sizes, sizes, target, done)
    assert told.keys() == sizes.keys()
    came = {oid for oid, error in told.items() if error is None}
    assert came <= target.present(sizes)
    assert bytes_oid(LARGE) in came
    assert {error.rule for error in told.values() if error is not None} == {"dvs-io-error"}
    remote.close()
    target.close()

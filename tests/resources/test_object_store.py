"""Objects: put once, verified when read, found when damaged."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from resources.objects import ObjectStore, RottenObject
from resources.storage import open_storage
from resources.storage.base import Storage
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(tmp_path / "root", state=tmp_path / "state")
    if request.param == "memory":
        return open_storage(f"memory://objects-{tmp_path.name}-{os.getpid()}", state=tmp_path / "state")
    return open_storage(request.getfixturevalue("s3_url"), state=tmp_path / "state")


@pytest.fixture(params=["objects", ""])
def store(request: pytest.FixtureRequest, storage: Storage) -> ObjectStore:
    return ObjectStore(storage, request.param)


def test_put_and_get(store: ObjectStore, tmp_path: Path) -> None:
    oid = store.put(b"some bytes")
    assert oid == bytes_oid(b"some bytes")
    assert store.put(b"some bytes") == oid
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    other = store.put(source)
    assert source.read_bytes() == b"from a file"
    assert store.get(oid) == b"some bytes"
    assert store.get(other) == b"from a file"
    assert sorted(store.list()) == sorted([(oid, 10), (other, 11)])
    assert (store.size(oid), store.size(bytes_oid(b"none"))) == (10, None)
    assert store.has(oid)
    assert store.has(oid, size=10)
    assert not store.has(oid, size=9)
    with store.open(oid) as file:
        assert file.read() == b"some bytes"
    store.fetch(other, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"from a file"
    store.verify(oid)
    store.delete(oid)
    store.delete(oid)
    assert not store.has(oid)
    with pytest.raises(FileNotFoundError):
        store.get(oid)


def test_the_layout_is_loose(storage: Storage) -> None:
    store = ObjectStore(storage, "objects")
    oid = store.put(b"x")
    digits = oid.partition(":")[2]
    assert [found.path for found in storage.scan()] == [f"objects/blake3/{digits[:2]}/{digits[2:]}"]
    assert store.path(oid) == f"objects/blake3/{digits[:2]}/{digits[2:]}"


def test_sha256_objects(store: ObjectStore, tmp_path: Path) -> None:
    oid = "sha256:" + hashlib.sha256(b"foreign").hexdigest()
    assert store.put(b"foreign", oid=oid) == oid
    assert store.get(oid) == b"foreign"
    store.fetch(oid, tmp_path / "copy")
    store.verify(oid)
    with pytest.raises(HeadwaterError) as caught:
        store.put(b"other", oid="sha256:" + hashlib.sha256(b"x").hexdigest())
    assert caught.value.rule == "oid-mismatch"


def test_rotten_and_torn_objects_are_never_served(store: ObjectStore, tmp_path: Path) -> None:
    oid = store.put(b"some bytes")
    for damage in (b"sOme bytes", b"some byte", b""):
        store.storage.delete(store.path(oid))
        store.storage.write(store.path(oid), damage)
        for read in (store.get, store.verify, lambda oid: store.fetch(oid, tmp_path / "copy")):
            with pytest.raises(RottenObject):
                read(oid)
        assert not (tmp_path / "copy").exists()
    assert store.put(b"some bytes") == oid
    assert store.get(oid) == b"some bytes", "a torn object is replaced by the next put"


@pytest.mark.parametrize(
    "oid",
    [
        "",
        "blake3",
        "blake3:",
        "blake3:" + "a" * 63,
        "blake3:" + "A" * 64,
        "md5:" + "a" * 32,
        "../../etc/passwd",
        "blake3:" + "g" * 64,
    ],
)
def test_malformed_oids_are_refused(store: ObjectStore, oid: str) -> None:
    for call in (store.get, store.has, store.delete, store.path, store.open):
        with pytest.raises(HeadwaterError) as caught:
            call(oid)
        assert caught.value.rule == "oid-malformed"


def test_other_files_in_the_store_are_passed_over(storage: Storage) -> None:
    store = ObjectStore(storage, "objects")
    oid = store.put(b"x")
    for path in ("objects/README", "objects/blake3/zz/short", "objects/md5/aa/bb", "objects/blake3/ab/cd/ef", "elsewhere"):
        storage.write(path, b"?")
    assert list(store.list()) == [(oid, 1)]


def test_local_objects_are_read_only(tmp_path: Path) -> None:
    store = ObjectStore(open_storage(tmp_path / "root", state=tmp_path / "state"))
    oid = store.put(b"x")
    assert stat.S_IMODE((tmp_path / "root" / store.path(oid)).stat().st_mode) == 0o444


def test_a_source_edited_after_hashing_is_refused(tmp_path: Path) -> None:
    store = ObjectStore(open_storage(tmp_path / "root", state=tmp_path / "state"))
    source = tmp_path / "source"
    source.write_bytes(b"edited since")
    with pytest.raises(HeadwaterError) as caught:
        store.put(source, oid=bytes_oid(b"as it was..."))
    assert caught.value.rule == "oid-mismatch"
    assert list(store.list()) == []

"""Pack files: what is put in comes out, and no damaged byte goes unnoticed."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.packs import RAW, ZSTD, DamagedPack, Pack, PackWriter, key_of
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid


def _write(path: Path, objects: list[bytes]) -> tuple[str, str]:
    writer = PackWriter(path)
    for data in objects:
        writer.add(bytes_oid(data), data)
    return writer.finish()


class _Bytes:
    """`Ranges` over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        pass


def _read_all(pack: Pack) -> list[bytes]:
    return [pack.stored(member) for member in pack]


@pytest.fixture
def pack_path(tmp_path: Path) -> Path:
    return tmp_path / "one.pack"


@settings(max_examples=30, deadline=None)
@given(objects=st.lists(st.binary(max_size=200), max_size=30))
def test_what_is_put_in_comes_out(tmp_path_factory: pytest.TempPathFactory, objects: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("pack") / "some.pack"
    name, oid = _write(path, objects)
    assert oid == bytes_oid(path.read_bytes())
    pack = Pack(_Bytes(path.read_bytes()), "some.pack")
    assert pack.name == name
    assert len(pack) == len(set(objects))
    assert pack.key_set() == {key_of(bytes_oid(data)) for data in objects}
    assert [member.oid for member in pack] == sorted(bytes_oid(data) for data in set(objects))
    for data in objects:
        member = pack.find(bytes_oid(data))
        assert member is not None
        assert (pack.stored(member), member.size, member.encoding) == (data, len(data), RAW)


def test_equal_contents_have_equal_names_and_others_do_not(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", [b"one", b"two"])
    assert _write(tmp_path / "b", [b"one", b"two"]) == first
    assert _write(tmp_path / "c", [b"one", b"three"]) != first


def test_an_object_is_stored_once(pack_path: Path) -> None:
    writer = PackWriter(pack_path)
    assert writer.add(bytes_oid(b"x"), b"x")
    assert not writer.add(bytes_oid(b"x"), b"x")
    assert bytes_oid(b"x") in writer
    assert len(writer) == 1
    writer.abandon()


def test_objects_of_every_algorithm_and_encoding_lie_side_by_side(pack_path: Path) -> None:
    oids = [bytes_oid(b"a"), "sha256:" + "ab" * 32, "sha256:" + "ab" * 31 + "ac"]
    writer = PackWriter(pack_path)
    for number, oid in enumerate(oids):
        writer.add(oid, b"encoded" * number, size=1000 + number, encoding=ZSTD)
    writer.finish()
    pack = Pack(_Bytes(pack_path.read_bytes()), "one.pack")
    for number, oid in enumerate(oids):
        member = pack.find(oid)
        assert member is not None
        assert (member.size, member.encoding, pack.stored(member)) == (1000 + number, ZSTD, b"encoded" * number)
    assert pack.find("sha256:" + "00" * 32) is None
    assert "sha256:" + "ff" * 32 not in pack


def test_any_flipped_byte_is_found(pack_path: Path) -> None:
    objects = [b"first object", b"second", b""]
    _write(pack_path, objects)
    good = pack_path.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        with pytest.raises(DamagedPack) as caught:
            _read_all(Pack(_Bytes(bytes(bad)), "one.pack"))
        assert caught.value.rule == "pack-damaged"
        assert caught.value.fix


def test_any_cut_is_found(pack_path: Path) -> None:
    _write(pack_path, [b"first object", b"second"])
    good = pack_path.read_bytes()
    for length in range(len(good)):
        with pytest.raises(DamagedPack):
            Pack(_Bytes(good[:length]), "one.pack")


def test_an_index_that_names_bytes_outside_the_pack_is_refused(pack_path: Path) -> None:
    from resources import packs

    row = packs._ENTRY.pack(1, RAW, 0, 10, 10, 1 << 40, bytes(32), zlib.crc32(b""))
    counts = packs._COUNTS.pack(8, 1)
    digest = blake3(packs.MAGIC + row + counts).digest()
    data = packs.MAGIC + row + packs._TRAILER.pack(8, 1, digest, b"HWPACKIX")
    pack = Pack(_Bytes(data), "one.pack")
    with pytest.raises(DamagedPack, match="cannot be in it"):
        list(pack)


def test_nothing_remains_of_an_abandoned_pack(pack_path: Path) -> None:
    writer = PackWriter(pack_path)
    writer.add(bytes_oid(b"x"), b"x")
    writer.abandon()
    assert not pack_path.exists()


def test_a_malformed_oid_is_refused(pack_path: Path) -> None:
    writer = PackWriter(pack_path)
    with pytest.raises(HeadwaterError, match="content id"):
        writer.add("md5:abc", b"x")
    writer.abandon()

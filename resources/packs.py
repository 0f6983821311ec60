"""Pack files: many small objects in one immutable file with a self-checking index, so that storing them costs one fsync.

Why: creating a file costs many times what hashing its bytes does (20,000 objects of 4 KiB as files: 6.1 s of CPU and, made
durable one by one, over a minute; as one pack 0.5 s), so objects below a threshold are gathered. Which objects go into a pack
and when packs are rewritten is decided by `resources.objects`; here is only the format. Light: standard library and blake3.

The format, all numbers little-endian::

    header   "HWPACK01"
    members  the stored bytes of every object, one after the other
    index    per object, sorted by algorithm and digest (60 bytes):
             u8 algorithm (1 blake3, 2 sha256, 3 xxh3), u8 encoding (0 raw, 1 zstd), u16 zero,
             u32 stored bytes, u64 raw bytes, u64 offset from the start of the file,
             32 bytes digest (shorter ones padded with zeros), u32 CRC-32 of the stored bytes
    trailer  u64 offset of the index, u64 number of objects, 32 bytes blake3 of header, index and these two numbers,
             "HWPACKIX"

A pack is named by the blake3 digest of its index; equal contents have equal names, and two writers never want one name for
different bytes. It is written under a temporary name and appears complete or not at all.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from blake3 import blake3

from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS, parse_oid

MAGIC: Final = b"HWPACK01"
_END: Final = b"HWPACKIX"
_ENTRY: Final = struct.Struct("<BBHIQQ32sI")
_TRAILER: Final = struct.Struct("<QQ32s8s")
_COUNTS: Final = struct.Struct("<QQ")
_BUFFER: Final = 1 << 20
SUFFIX: Final = ".pack"
RAW: Final = 0
ZSTD: Final = 1
_ALGORITHMS: Final = {"blake3": 1, "sha256": 2, "xxh3": 3}
_BLAKE3: Final = bytes([_ALGORITHMS["blake3"]])
_BLAKE3_LENGTH: Final = len("blake3:") + HEX_LENGTHS["blake3"]
_DIGEST: Final = 32
_NAMES: Final = {code: name for name, code in _ALGORITHMS.items()}
MEMBERS: Final = 4_000_000
"""The most objects of one pack: an index is read as a whole."""


class DamagedPack(HeadwaterError):
    """A pack file is not what was written."""


@dataclass(frozen=True, slots=True)
class Member:
    """One object of a pack: its oid, how it is stored (RAW or ZSTD), its raw and stored length in bytes, and where."""

    oid: str
    encoding: int
    size: int
    stored: int
    offset: int
    crc: int


def _key(oid: str) -> bytes:
    """What the index is sorted by: the algorithm's code and the digest, padded to 32 bytes."""
    algorithm, digits = parse_oid(oid)
    return bytes([_ALGORITHMS[algorithm]]) + bytes.fromhex(digits).ljust(32, b"\0")


def _damaged(path: str, what: str) -> DamagedPack:
    return DamagedPack(
        f"the pack {what}",
        path=path,
        rule="pack-damaged",
        fix="move it away and store its objects again: pull them from a remote, or add the files",
    )


class PackWriter:
    """Writes one pack to the local file `path`, which must not exist; nothing is a pack before `finish`.

    An object that was given already is not stored twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("xb", buffering=_BUFFER)
        self._hasher = blake3()
        self._members: dict[bytes, tuple[int, int, int, int, int]] = {}
        self._at = 0
        self._write(MAGIC)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hasher.update(data)
        self._at += len(data)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, oid: str) -> bool:
        return _key(oid) in self._members

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._at

    def add(self, oid: str, stored: bytes, *, size: int | None = None, encoding: int = RAW) -> bool:
        """Store an object under its oid; `size` is its raw length where `stored` is encoded. False when it is in already.

        The caller has computed the oid from these bytes; readers verify it.
        """
        key = _key(oid)
        if key in self._members:
            return False
        self._members[key] = (encoding, len(stored), len(stored) if size is None else size, self._at, zlib.crc32(stored))
        self._write(stored)
        return True

    def finish(self) -> tuple[str, str]:
        """Close the pack; returns its name (64 hexadecimal digits) and the oid of the whole file."""
        start = self._at
        rows = []
        for key in sorted(self._members):
            encoding, stored, size, offset, crc = self._members[key]
            rows.append(_ENTRY.pack(key[0], encoding, 0, stored, size, offset, key[1:], crc))
        index = b"".join(rows)
        counts = _COUNTS.pack(start, len(rows))
        digest = blake3(MAGIC + index + counts)
        self._write(index)
        self._write(_TRAILER.pack(start, len(rows), digest.digest(), _END))
        self._file.close()
        return digest.hexdigest(), "blake3:" + self._hasher.hexdigest()

    def abandon(self) -> None:
        """Close and remove what was written."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Ranges(Protocol):
    """Bytes that can be read from any place, by several threads at once."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Pack:
    """A finished pack; `path` is for messages. The index is read and checked when the pack is opened.

    Raises DamagedPack (rule `pack-damaged`).
    """

    def __init__(self, ranges: Ranges, path: str) -> None:
        self.path = path
        self._ranges = ranges
        end = ranges.size
        if end < len(MAGIC) + _TRAILER.size:
            raise _damaged(path, "is cut off")
        start, count, digest, magic = _TRAILER.unpack(self._exactly(end - _TRAILER.size, _TRAILER.size))
        length = end - _TRAILER.size - start
        if magic != _END or start < len(MAGIC) or count > MEMBERS or length != count * _ENTRY.size:
            raise _damaged(path, "has no valid end")
        if self._exactly(0, len(MAGIC)) != MAGIC:
            raise _damaged(path, "has no valid beginning")
        self._index = self._exactly(start, length)
        if blake3(MAGIC + self._index + _COUNTS.pack(start, count)).digest() != digest:
            raise _damaged(path, "has a damaged index")
        self.name: str = digest.hex()
        self._start: int = start
        self._count: int = count

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self._ranges.read(offset, length)
        if len(data) != length:
            raise _damaged(self.path, "is cut off")
        return data

    @property
    def stored_bytes(self) -> int:
        """The bytes that its members take."""
        return self._start - len(MAGIC)

    def close(self) -> None:
        """Let go of the file."""
        self._ranges.close()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, oid: str) -> bool:
        return self.find(oid) is not None

    def __iter__(self) -> Iterator[Member]:
        """Every member, sorted by oid's algorithm and digest."""
        for position in range(self._count):
            yield self._member(position)

    def key_set(self) -> set[bytes]:
        """The keys (see `key_of`) of all members, for testing many at once."""
        index, width = self._index, _ENTRY.size
        return {index[at : at + 1] + index[at + 24 : at + 56] for at in range(0, len(index), width)}

    def members(self, keys: Container[bytes]) -> Iterator[Member]:
        """The members whose keys (see `key_of`) are among `keys`."""
        index, width = self._index, _ENTRY.size
        for position in range(self._count):
            at = position * width
            if index[at : at + 1] + index[at + 24 : at + 56] in keys:
                yield self._member(position)

    def find(self, oid: str) -> Member | None:
        """The member of that oid, None when the pack does not hold it."""
        wanted = _key(oid)
        position = bisect_left(range(self._count), wanted, key=self._key_at)
        if position == self._count or self._key_at(position) != wanted:
            return None
        return self._member(position)

    def behind(self, oid: str | None) -> Iterator[Member]:
        """The members behind that oid in the order of `__iter__`, whether or not it is one; None gives all."""
        start = 0 if oid is None else bisect_right(range(self._count), _key(oid), key=self._key_at)
        for position in range(start, self._count):
            yield self._member(position)

    def _key_at(self, position: int) -> bytes:
        at = position * _ENTRY.size
        return self._index[at : at + 1] + self._index[at + 24 : at + 56]

    def _member(self, position: int) -> Member:
        code, encoding, _, stored, size, offset, digest, crc = _ENTRY.unpack_from(self._index, position * _ENTRY.size)
        if code not in _NAMES or encoding not in (RAW, ZSTD) or offset + stored > self._start:
            raise _damaged(self.path, "names an object that cannot be in it")
        algorithm = _NAMES[code]
        digits = digest.hex()[: HEX_LENGTHS[algorithm]]
        return Member(f"{algorithm}:{digits}", encoding, size, stored, offset, crc)

    def stored(self, member: Member) -> bytes:
        """The stored (possibly encoded) bytes of a member, checked against their CRC; not yet against the oid."""
        data = self._exactly(member.offset, member.stored)
        if zlib.crc32(data) != member.crc:
            raise _damaged(self.path, f"holds damaged bytes for {member.oid}")
        return data


def key_of(oid: str) -> bytes:
    """What `Pack.key_set` holds for an oid."""
    if len(oid) == _BLAKE3_LENGTH and oid.startswith("blake3:") and oid.islower():
        # The quick way for nearly all of them; what is not just 64 digits takes the careful one.
        try:
            digest = bytes.fromhex(oid[7:])
        except ValueError:
            return _key(oid)
        if len(digest) == _DIGEST:
            return _BLAKE3 + digest
    return _key(oid)

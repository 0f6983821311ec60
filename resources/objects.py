"""The object store: immutable blobs named by the digest of their bytes, each a loose file `<algorithm>/<2 hex>/<rest>`.

The build cache and rescues keep their bytes here. Reads are verified; what refers to an object, and when one may be deleted,
is decided by the caller. Light: standard library and blake3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resources.storage.base import Storage
from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS, bytes_oid, file_oid, parse_oid


class RottenObject(HeadwaterError):
    """The bytes under an oid are not the ones it names."""


class ObjectStore:
    """Objects below `prefix` of a storage ('' for its root)."""

    def __init__(self, storage: Storage, prefix: str = "objects") -> None:
        self.storage = storage
        self.prefix = prefix

    def path(self, oid: str) -> str:
        """Where the object lies in the storage; raises HeadwaterError (rule `oid-malformed`)."""
        algorithm, digits = parse_oid(oid)
        below = f"{algorithm}/{digits[:2]}/{digits[2:]}"
        return f"{self.prefix}/{below}" if self.prefix else below

    def put(self, source: bytes | Path, *, oid: str | None = None) -> str:
        """Keep the bytes, or a copy of the local file; returns their oid. Putting what is there already writes nothing.

        `oid` spares computing it; the bytes are verified against it while they are copied. Raises HeadwaterError (rule
        `oid-mismatch`) when they differ, which for a file computed here means that it was edited meanwhile.
        """
        if oid is None:
            oid = bytes_oid(source) if isinstance(source, bytes) else file_oid(source)
        self.storage.add(self.path(oid), source, oid=oid)
        return oid

    def has(self, oid: str, *, size: int | None = None) -> bool:
        """Whether the object is there, of that size where one is given. Its bytes are not read."""
        found = self.storage.stat(self.path(oid))
        return found is not None and (size is None or found.size == size)

    def size(self, oid: str) -> int | None:
        """The object's length in bytes, None when it is not there."""
        found = self.storage.stat(self.path(oid))
        return None if found is None else found.size

    def modified(self, oid: str) -> int | None:
        """When the object was put, in nanoseconds since 1970; None when it is not there."""
        return self.storage.modified(self.path(oid))

    def get(self, oid: str, *, limit: int | None = None) -> bytes:
        """The verified bytes. Raises FileNotFoundError, or RottenObject (rule `object-rotten`)."""
        data = self.storage.read(self.path(oid), limit=limit)
        if _digest(data, oid) != oid:
            raise _rotten(oid)
        return data

    def fetch(self, oid: str, target: Path) -> None:
        """Copy the object to the local path `target` and verify the copy; a bad copy is removed again.

        Raises as `get`.
        """
        algorithm, _digits = parse_oid(oid)
        self.storage.fetch(self.path(oid), target)
        if file_oid(target, algorithm) != oid:
            target.unlink()
            raise _rotten(oid)

    def open(self, oid: str) -> BinaryIO:
        """The object as a stream, not verified: for readers that check what they decode."""
        return self.storage.open(self.path(oid))

    def delete(self, oid: str) -> None:
        """Remove the object; no error when it is gone already."""
        self.storage.delete(self.path(oid))

    def list(self) -> Iterator[tuple[str, int]]:
        """Every object's oid and size; files that are not named like objects are passed over."""
        start = f"{self.prefix}/" if self.prefix else ""
        for found in self.storage.scan(self.prefix):
            parts = found.path[len(start) :].split("/")
            if len(parts) == 3 and parts[0] in HEX_LENGTHS:
                oid = f"{parts[0]}:{parts[1]}{parts[2]}"
                try:
                    parse_oid(oid)
                except HeadwaterError:
                    continue
                yield oid, found.size

    def verify(self, oid: str) -> None:
        """Re-hash one object where it lies. Raises as `get`."""
        if parse_oid(oid)[0] == "blake3":
            if self.storage.digest(self.path(oid)) != oid:
                raise _rotten(oid)
        else:
            self.get(oid)


def _digest(data: bytes, oid: str) -> str:
    if oid.startswith("blake3:"):
        return bytes_oid(data)
    from schemas.dvs.oids import oid_of

    return oid_of(data, parse_oid(oid)[0])


def _rotten(oid: str) -> RottenObject:
    return RottenObject(
        f"the stored bytes of {oid} are damaged",
        rule="object-rotten",
        fix="delete the object with `headwater cache verify` and build or pull it again",
    )

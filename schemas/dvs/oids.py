"""Content ids as versioned-data repositories write them: three algorithms, read in any case, kept in lower case.

Light: standard library only; the hash functions load when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final

from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS, parse_oid

ALGORITHMS: Final = tuple(HEX_LENGTHS)
"""blake3 and sha256 (256 bits), xxh3 (XXH3 with 64 bits, which can be made to collide: for local use only)."""

COLLISION_RESISTANT: Final = frozenset({"blake3", "sha256"})

_BLOCK = 1 << 20


def read_oid(text: str) -> str:
    """An oid from a file or a person, in lower case. Raises HeadwaterError (rule `oid-malformed`).

    The original tool accepts the algorithm in any case and keeps the digits as they were written, so that one object could
    have two paths; there is one spelling here.
    """
    oid = text.strip().lower()
    parse_oid(oid)
    return oid


def make_oid(algorithm: str, digits: str) -> str:
    """The oid of a checksum stored beside the name of its algorithm. Raises HeadwaterError (rule `oid-malformed`)."""
    return read_oid(f"{algorithm}:{digits}")


def hasher(algorithm: str) -> Any:
    """A new hash object with `update` and `hexdigest`. Raises HeadwaterError (rule `oid-malformed`) for another algorithm."""
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    if algorithm == "sha256":
        import hashlib

        return hashlib.sha256()
    if algorithm == "xxh3":
        import xxhash

        return xxhash.xxh3_64()
    raise HeadwaterError(
        f"{algorithm!r} is not a hash algorithm that is known here",
        rule="oid-malformed",
        fix=f"use one of {', '.join(ALGORITHMS)}",
    )


def oid_of(data: bytes, algorithm: str) -> str:
    """The oid of `data`."""
    made = hasher(algorithm)
    made.update(data)
    return f"{algorithm}:{made.hexdigest()}"


def oid_of_stream(stream: IO[bytes], algorithm: str) -> tuple[str, int]:
    """The oid and the length in bytes of what is left in `stream`, read once in blocks of 1 MiB."""
    made, size = hasher(algorithm), 0
    for block in blocks(stream):
        made.update(block)
        size += len(block)
    return f"{algorithm}:{made.hexdigest()}", size


def blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """What is left in `stream`, in blocks of at most 1 MiB."""
    while block := stream.read(_BLOCK):
        yield block

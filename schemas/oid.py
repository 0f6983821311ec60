"""Content ids: `algo:hex`, lower case, the length fixed by the algorithm.

Computing and checking ids belongs here; where objects are stored does not. Light: standard library and blake3.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from blake3 import blake3

from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError

HEX_LENGTHS = {"blake3": 64, "sha256": 64, "xxh3": 16}
"""Hexadecimal digits per algorithm (xxh3 is the 64-bit form)."""

_LOWER_HEX = re.compile(r"[0-9a-f]+\Z")
_READ_SIZE = 1 << 20
_MMAP_FROM, _MMAP_TO = 1 << 20, 64 << 20
"""Bytes of files that are mapped: twice as fast as reading them block by block, but what is mapped counts as memory in use."""


def parse_oid(text: str) -> tuple[str, str]:
    """Split and check an oid; returns (algorithm, hex).

    Raises HeadwaterError (rule `oid-malformed`) for an unknown algorithm, upper case, or a wrong length.
    """
    algorithm, colon, digits = text.partition(":")
    if not colon or algorithm not in HEX_LENGTHS:
        raise HeadwaterError(
            f"{text!r} is not a content id",
            rule="oid-malformed",
            fix=f"write it as one of {', '.join(HEX_LENGTHS)} followed by ':' and lower-case hexadecimal digits",
        )
    if len(digits) != HEX_LENGTHS[algorithm] or not _LOWER_HEX.match(digits):
        raise HeadwaterError(
            f"{text!r} is not a {algorithm} id: it needs {HEX_LENGTHS[algorithm]} lower-case hexadecimal digits",
            rule="oid-malformed",
            fix="copy the whole id again, in lower case",
        )
    return algorithm, digits


def bytes_oid(data: bytes | memoryview) -> str:
    """The blake3 oid of `data`."""
    return "blake3:" + blake3(data).hexdigest()


def json_oid(value: object) -> str:
    """The blake3 oid of the canonical JSON of `value`."""
    return bytes_oid(canonical_json(value))


def file_oid(path: Path | str, algorithm: str = "blake3") -> str:
    """The oid of a local file's bytes, read once in memory that does not grow with them; blake3 uses every core.

    Raises OSError as `open` does. The caller sees to it that `path` is a regular file.
    """
    if algorithm == "blake3":
        hasher = blake3(max_threads=blake3.AUTO)
        size = Path(path).stat().st_size
        if _MMAP_FROM <= size < _MMAP_TO:
            hasher.update_mmap(path)
        else:
            with open(path, "rb", buffering=0) as file:
                while block := file.read(_READ_SIZE if size >= _MMAP_TO else size + 1):
                    hasher.update(block)
        return "blake3:" + hasher.hexdigest()
    digest = _plain_hasher(algorithm)
    with open(path, "rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return f"{algorithm}:{digest.hexdigest()}"


def fd_oid(fd: int, algorithm: str = "blake3") -> str:
    """The oid of an open file's bytes, from its start; moves its position. blake3 uses every core on large files.

    Raises OSError, and HeadwaterError (rule `oid-malformed`) for an algorithm we cannot compute.
    """
    size = os.fstat(fd).st_size
    if algorithm == "blake3" and size < _MMAP_FROM:
        os.lseek(fd, 0, os.SEEK_SET)
        data = os.read(fd, size + 1)  # not a fixed large buffer: allocating it costs more than reading a small file
        if len(data) == size:  # else it is growing under us: read on until its end
            return "blake3:" + blake3(data).hexdigest()
    hasher: Any = blake3(max_threads=blake3.AUTO) if algorithm == "blake3" else _plain_hasher(algorithm)
    with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
        file.seek(0)
        while block := file.read(_READ_SIZE):
            hasher.update(block)
    return f"{algorithm}:{hasher.hexdigest()}"


def _plain_hasher(algorithm: str) -> Any:
    """A new hash of an algorithm that uses one core. Raises HeadwaterError (rule `oid-malformed`) for another one."""
    if algorithm == "sha256":
        import hashlib

        return hashlib.sha256()
    if algorithm == "xxh3":
        import xxhash

        return xxhash.xxh3_64()
    raise HeadwaterError(f"cannot compute {algorithm} ids", rule="oid-malformed", fix=f"use one of {', '.join(HEX_LENGTHS)}")

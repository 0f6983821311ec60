"""Records of the build cache on an object server: small JSON files by fingerprint, the last writer wins.

They lie where the build cache of a path remote keeps its entries, `builds/<2 hex>/<rest>.json`. What a record says is not looked
at: whoever may write here is trusted by those who read. All of it blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

FOLDER: Final = "builds"
RECORD_LIMIT: Final = 1 << 20


def read_fingerprint(text: str) -> str:
    """A fingerprint `blake3:<64 hex>`, which may come without the algorithm. Raises HeadwaterError (rule `oid-malformed`)."""
    fingerprint = text if ":" in text else f"blake3:{text}"
    algorithm, _digits = parse_oid(fingerprint)
    if algorithm != "blake3":
        raise HeadwaterError("fingerprints are blake3 ids", rule="oid-malformed", fix="send blake3: and 64 hexadecimal digits")
    return fingerprint


class Actions:
    """The records in a storage. `check` raises when the storage is not at its path."""

    def __init__(self, storage: LocalStorage, check: Callable[[], None]) -> None:
        self.storage = storage
        self.check = check

    def _path(self, fingerprint: str) -> str:
        digits = parse_oid(fingerprint)[1]
        return f"{FOLDER}/{digits[:2]}/{digits[2:]}.json"

    def get(self, fingerprint: str) -> bytes | None:
        """The record, None when there is none."""
        self.check()
        try:
            return self.storage.read(self._path(fingerprint), limit=RECORD_LIMIT)
        except FileNotFoundError:
            return None

    def put(self, fingerprint: str, data: bytes) -> bool:
        """Keep a record durably; False when it replaces one. Raises HeadwaterError (rule `dvs-action`) for no JSON object."""
        try:
            record = json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise HeadwaterError("the record is no JSON object", rule="dvs-action", fix="send one JSON object in UTF-8")
        self.check()
        path = self._path(fingerprint)
        new = self.storage.stat(path) is None
        self.storage.write(path, data)
        return new

    def delete(self, fingerprint: str) -> bool:
        """Forget a record; False when there is none."""
        self.check()
        path = self._path(fingerprint)
        if self.storage.stat(path) is None:
            return False
        self.storage.delete(path)
        return True

    def list(self, after: str | None, limit: int) -> list[tuple[str, int]]:
        """(fingerprint, length in bytes) of at most `limit` records behind `after`, sorted."""
        self.check()
        return list(islice(self._behind(after), limit))

    def _behind(self, after: str | None) -> Iterator[tuple[str, int]]:
        start = "" if after is None else parse_oid(after)[1]
        prefixes: list[str] = []
        with suppress(FileNotFoundError, NotADirectoryError), self.storage.folder((FOLDER,)) as folder:
            prefixes = sorted(entry.name for entry in folder.entries() if len(entry.name) == 2)
        for two in prefixes:
            if two < start[:2]:
                continue
            for stat in self.storage.scan(f"{FOLDER}/{two}"):
                digits = two + stat.path.rpartition("/")[2].removesuffix(".json")
                if digits > start:
                    with suppress(HeadwaterError):
                        parse_oid(f"blake3:{digits}")
                        yield f"blake3:{digits}", stat.size


def _no_constant(word: str) -> None:
    raise ValueError(word)

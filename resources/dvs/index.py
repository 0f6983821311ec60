"""What this machine remembers of a working tree, folder by folder, so that an unchanged one is not read again.

A row per folder holds the packed signatures (size, mtime, ctime, inode) of its sidecars and tracked files, and what was found in
them. It is believed only when every signature is the same and older than two seconds before it was taken (the racy rule of git's
index). A hint that can be lost: a damaged file is made anew. The file lies on a local disk, never in shared storage.
Light: standard library only.
"""

from __future__ import annotations

import json
import sqlite3
import time
from array import array
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FORMAT: Final = 1
RACY_NS: Final = 2_000_000_000
"""Nanoseconds by which a file's times must lie before the moment its signature was taken."""
_INODE_MASK: Final = (1 << 63) - 1

Signature = tuple[int, int, int, int]
"""(size in bytes, mtime_ns, ctime_ns, inode)."""
NOTHING: Final[Signature] = (-1, 0, 0, 0)
"""The signature of a file that is not there."""

_SCHEMA = f"""
create table folders(path text primary key, names blob not null, signatures blob not null, taken integer not null,
    rows text not null) without rowid;
pragma user_version = {_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder as it was seen: the names looked at, their packed signatures, when, and the rows found (JSON values)."""

    path: str
    names: bytes
    signatures: bytes
    taken: int
    rows: str

    def still(self, names: bytes, signatures: array[int]) -> bool:
        """Whether the folder is as it was, for certain."""
        return (
            self.names == names
            and self.signatures == signatures.tobytes()
            and max(max(signatures[1::4], default=0), max(signatures[2::4], default=0)) < self.taken - RACY_NS
        )

    def vouches(self) -> dict[tuple[str, Signature], int]:
        """(name, signature) -> position of every file whose signature can be believed."""
        numbers = array("q", self.signatures)
        names = unpack(self.names)
        found = {}
        for position, name in enumerate(names):
            one = numbers[4 * position : 4 * position + 4]
            if max(one[1], one[2]) < self.taken - RACY_NS:
                found[name, (one[0], one[1], one[2], one[3])] = position
        return found

    def values(self) -> list[Any]:
        """The rows."""
        values: list[Any] = json.loads(self.rows)
        return values


def pack(names: Iterable[str]) -> bytes:
    """Names joined by NUL, which no name holds."""
    return "\0".join(names).encode("utf-8", "surrogateescape")


def unpack(packed: bytes) -> list[str]:
    """The names again."""
    return packed.decode("utf-8", "surrogateescape").split("\0") if packed else []


class Known:
    """The folders that an index holds, while it is open; none where the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        self.paths: set[str] = set()
        made = _connect(path)
        try:
            self._connection = made.__enter__()
            self.paths = {row[0] for row in self._connection.execute("select path from folders")}
        except (sqlite3.DatabaseError, OSError):
            self.close()

    def __enter__(self) -> Known:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; no folder is known any more."""
        self.paths = set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __contains__(self, path: str) -> bool:
        return path in self.paths

    def get(self, path: str) -> Folder | None:
        """The folder as it was seen, None where it was not."""
        if path not in self.paths or self._connection is None:
            return None
        query = "select path, names, signatures, taken, rows from folders where path = ?"
        try:
            row = self._connection.execute(query, (path,)).fetchone()
        except sqlite3.DatabaseError:
            return None
        return None if row is None else Folder(*row)


class WorkingIndex:
    """The folders of one working tree in the SQLite file at `path`. Without write access nothing is remembered."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Folder]:
        """Every folder by its path; none where the file cannot be read."""
        try:
            with _connect(self.path) as connection:
                rows = connection.execute("select path, names, signatures, taken, rows from folders").fetchall()
        except (sqlite3.DatabaseError, OSError):
            return {}
        return {row[0]: Folder(*row) for row in rows}

    def opened(self) -> Known:
        """The folders, read one by one as they are asked for: those of a million files would take a gigabyte together."""
        return Known(self.path)

    def save(self, fresh: Iterable[Folder], gone: Iterable[str]) -> None:
        """Keep the new rows and forget the folders that are gone."""
        new = [(folder.path, folder.names, folder.signatures, folder.taken, folder.rows) for folder in fresh]
        old = [(path,) for path in gone]
        if not new and not old:
            return
        try:
            with _connect(self.path, make=True) as connection:
                connection.execute("begin immediate")
                connection.executemany("insert or replace into folders values (?, ?, ?, ?, ?)", new)
                connection.executemany("delete from folders where path = ?", old)
                connection.execute("commit")
        except sqlite3.OperationalError:
            return  # busy, full or read-only: looked at again next time
        except (sqlite3.DatabaseError, OSError):
            with suppress(OSError):
                self.path.unlink()

    def learn(self, files: Iterable[tuple[str, Signature, str, int, str]]) -> None:
        """Take in files that were just read: (path, signature, oid, length in bytes, path of the sidecar) of each.

        Their sidecars are looked at again by the next scan; the files themselves need not be.
        """
        folders: dict[str, list[tuple[str, Signature, str, int, str]]] = {}
        for path, signature, oid, size, sidecar in files:
            above, _, name = path.rpartition("/")
            folders.setdefault(above, []).append((name, signature, oid, size, sidecar))
        if not folders:
            return
        with self.opened() as index:
            known = {above: index.get(above) for above in folders}
        taken = time.time_ns()
        fresh = []
        for above, found in folders.items():
            rows: dict[str, tuple[Any, Signature, str]] = {}
            old = known[above]
            if old is not None:
                values = old.values()
                for (name, signature), position in old.vouches().items():
                    if position % 2 == 0:
                        rows[name] = (values[position // 2], signature, values[position // 2][1])
            for name, signature, oid, size, sidecar in found:
                rows[name] = ([name, sidecar, oid, size, oid, size, None], signature, sidecar)
            names: list[str] = []
            signatures: list[Signature] = []
            for name in sorted(rows):
                names += [name, rows[name][2]]
                signatures += [rows[name][1], NOTHING]
            values = [rows[name][0] for name in sorted(rows)]
            fresh.append(Folder(above, pack(names), packed(signatures).tobytes(), taken, json.dumps(values)))
        self.save(fresh, [])

    def forget(self) -> None:
        """Forget everything."""
        for suffix in ("", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


class _connect:  # noqa: N801 - used as a function
    """A connection that is closed in the end, to a file of our format; made when it is missing and `make` is set."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self.path = path
        self.make = make

    def __enter__(self) -> sqlite3.Connection:
        if not self.path.exists():
            if not self.make:
                raise FileNotFoundError(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
        try:
            version = self.connection.execute("pragma user_version").fetchone()[0]
            if version == 0 and self.make:
                self.connection.executescript(f"begin immediate;{_SCHEMA}commit;")
            elif version != _FORMAT:
                raise sqlite3.DatabaseError("another format")
        except BaseException:
            self.connection.close()
            raise
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def signature_of(status: Any) -> Signature:
    """The signature of an `os.stat_result`."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODE_MASK


def packed(signatures: Iterable[Signature]) -> array[int]:
    """Signatures one after the other."""
    numbers = array("q")
    for signature in signatures:
        numbers.extend(signature)
    return numbers

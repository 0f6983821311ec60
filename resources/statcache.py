"""The stat cache: which files need not be hashed again, because nothing about them changed since they last were.

One row per folder holds its files' names, packed signatures (size, mtime, ctime, inode) and digests, so that an unchanged
folder costs one listing and one comparison of bytes. The cache is a hint: a damaged file is made anew, and an entry whose
mtime or ctime lies within two seconds of when it was taken is not believed (the racy rule of git's index): an edit in the
same tick of the clock would leave the same signature. Remote files are believed by size and version (ETag).
Which folders are walked, and what the digests mean, is the caller's business. Light: standard library and blake3.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from blake3 import blake3

from resources.storage.base import FileStat, Storage
from resources.storage.folders import Folder
from resources.storage.local import LocalStorage
from resources.storage.staging import read_regular
from resources.trees import DIGEST_BYTES, SIGNATURE_FIELDS, FolderState, Tree, content_key, folder_state, pack_names, unpack_names
from schemas.errors import HeadwaterError
from schemas.oid import fd_oid

__all__ = ["FolderState", "StatCache", "Tree"]

RACY_NS = 2_000_000_000
"""Nanoseconds by which a file's times must lie before the moment its signature was taken."""

_FORMAT = 1
_MEMOS = 2000
_INODE_MASK = (1 << 63) - 1
_SCHEMA = f"""
create table folders(
    path text primary key, names blob not null, signatures blob not null, digests blob not null,
    taken integer not null, key blob not null
) without rowid;
create table files(path text primary key, signature blob not null, digest blob not null, taken integer not null) without rowid;
create table memo(key text primary key, value blob not null, taken integer not null) without rowid;
pragma user_version = {_FORMAT};
"""


class StatCache:
    """Digests remembered in the SQLite file at `path`; a context manager. Made when missing; without write access to its
    folder nothing is remembered and everything still works. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> StatCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the cache may be used again afterwards."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # whole folders

    def tree(
        self,
        storage: Storage,
        folder: str = "",
        *,
        enter: Callable[[str], bool] | None = None,
        skip: Callable[[str], Callable[[str], bool] | None] | None = None,
        view: str = "",
    ) -> Tree:
        """The files below `folder` with their digests, hashing only what the cache cannot vouch for.

        `enter` decides which folders are entered; `skip` names, for a folder, the test for its files to leave out, if any.
        What is remembered of a folder are the files that were not left out: callers that leave out others than everybody else
        say so by a `view` of their own, so that they do not undo one another's memory.

        A file that vanishes on the way is left out; one that keeps changing while it is read is entered with the bytes
        read last and not remembered. Raises OSError for what cannot be read.
        """
        lead = f"//{view}/" if view else ""  # no path begins so
        known = self._rows(folder, lead)
        singles = {path for (path,) in self._fetch_all("select path from files", ())}
        made = Tree()
        fresh: list[FolderState] = []
        if isinstance(storage, LocalStorage):
            for where, entries, opened in storage.walk(folder, enter=enter):
                unwanted = skip(where) if skip is not None else None
                if unwanted is not None:
                    entries = [entry for entry in entries if not unwanted(entry.name)]
                state = self._local_folder(where, entries, opened, known.get(where), singles, made)
                made.folders.append(state)
                if state is not known.get(where) and (entries or where in known):
                    fresh.append(state)
        else:
            for where, stats in _by_folder(storage.scan(folder, enter=enter)):
                unwanted = skip(where) if skip is not None else None
                if unwanted is not None:
                    stats = [stat for stat in stats if not unwanted(stat.path.rpartition("/")[2])]
                state = self._remote_folder(storage, where, stats, known.get(where), made)
                made.folders.append(state)
                if state is not known.get(where):
                    fresh.append(state)
        unseen = known.keys() - {state.path for state in made.folders}
        gone = {path for path in unseen if enter is None or _is_gone(storage, path)}
        if fresh or gone:
            self._store(fresh, gone, lead)
        return made

    def _local_folder(
        self,
        where: str,
        entries: list[os.DirEntry[str]],
        opened: Folder,
        known: FolderState | None,
        singles: set[str],
        made: Tree,
    ) -> FolderState:
        now = time.time_ns()
        names: list[str] = []
        numbers = array("q")
        extend = numbers.extend
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            names.append(entry.name)
            extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODE_MASK))
        signatures = numbers.tobytes()
        packed = pack_names(names)
        if (
            known is not None
            and known.signatures == signatures
            and known.names == packed
            and _newest(numbers) < known.taken - RACY_NS
        ):
            return known
        remembered = _believable(known)
        digests: list[bytes] = []
        kept: list[str] = []
        final = array("q")
        for index, name in enumerate(names):
            one = numbers[index * SIGNATURE_FIELDS : (index + 1) * SIGNATURE_FIELDS]
            digest = remembered.get((name, one.tobytes()))
            if digest is None and singles:
                digest = self._remembered(where, name, one.tobytes())
            if digest is None:
                made.hashed += 1
                hashed = _hash_entry(opened, name, where)
                if hashed is None:
                    continue
                digest, one = hashed
            kept.append(name)
            final.extend(one)
            digests.append(digest)
        return folder_state(where, pack_names(kept), final.tobytes(), b"".join(digests), now)

    def _remote_folder(
        self, storage: Storage, where: str, stats: list[FileStat], known: FolderState | None, made: Tree
    ) -> FolderState:
        names = pack_names([stat.path.rsplit("/", 1)[-1] for stat in stats])
        signatures = b"".join(_remote_signature(stat) for stat in stats)
        if known is not None and known.names == names and known.signatures == signatures:
            return known
        remembered = _believable(known, always=True)
        digests: list[bytes] = []
        for stat in stats:
            digest = remembered.get((stat.path.rsplit("/", 1)[-1], _remote_signature(stat)))
            if digest is None:
                made.hashed += 1
                digest = _raw(storage.digest(stat.path))
            digests.append(digest)
        return folder_state(where, names, signatures, b"".join(digests), time.time_ns())

    # single files

    def digest(self, storage: Storage, path: str) -> str:
        """The oid of one file, hashed only when the cache cannot vouch for it. Raises FileNotFoundError."""
        now = time.time_ns()
        stat = storage.stat(path)
        if stat is None:
            raise FileNotFoundError(path)
        signature = _signature(stat)
        where, _, name = path.rpartition("/")
        found = self._remembered(where, name, signature)
        if found is None:
            oid = storage.digest(path)
            again = storage.stat(path)
            if again is not None and again.signature == stat.signature:
                self._remember(path, signature, _raw(oid), now)
            return oid
        return "blake3:" + found.hex()

    def remember(self, stat: FileStat, oid: str) -> None:
        """Keep the digest of bytes just written or read, under the stat taken then. Only blake3 ids are kept."""
        if oid.startswith("blake3:"):
            self._remember(stat.path, _signature(stat), _raw(oid), time.time_ns())

    # derived facts

    def memo(self, key: str) -> bytes | None:
        """A value kept under `key` (which must contain the digests it follows from), None when there is none (any more)."""
        row = self._fetch("select value from memo where key = ?", (key,))
        return bytes(row[0]) if row else None

    def set_memo(self, key: str, value: bytes) -> None:
        """Keep a small value; the oldest go when there are more than a few thousand."""
        self._execute("insert or replace into memo values (?, ?, ?)", [(key, value, time.time_ns())])
        self._execute("delete from memo where key in (select key from memo order by taken desc limit -1 offset ?)", [(_MEMOS,)])

    # the file

    def _rows(self, folder: str, lead: str) -> dict[str, FolderState]:
        query = "select substr(path, ?), names, signatures, digests, key, taken from folders"
        parameters: tuple[str | int, ...] = (len(lead) + 1,)
        if folder or lead:
            where = lead + _text(folder) if folder else lead.rstrip("/")
            query += " where path = ? or (path >= ? and path < ?)"
            parameters = (*parameters, where, where + "/", where + "0")
        else:
            query += " where substr(path, 1, 2) <> '//'"
        found: dict[str, FolderState] = {}
        for row in self._fetch_all(query, parameters):
            try:
                state = FolderState(*row)
                count = len(state.digests) // DIGEST_BYTES
                if state.key == content_key(state.names, state.digests) and len(state.signatures) == count * SIGNATURE_FIELDS * 8:
                    found[state.path] = state
            except (TypeError, ValueError):
                continue
        return found

    def _store(self, fresh: list[FolderState], gone: set[str], lead: str) -> None:
        rows = [(lead + state.path, state.names, state.signatures, state.digests, state.taken, state.key) for state in fresh]
        self._execute("insert or replace into folders values (?, ?, ?, ?, ?, ?)", rows)
        if gone:
            self._execute("delete from folders where path = ?", [(lead + path,) for path in gone])

    def _remembered(self, where: str, name: str, signature: bytes) -> bytes | None:
        path = f"{where}/{name}" if where else name
        row = self._fetch("select signature, digest, taken from files where path = ?", (_text(path),))
        if row is None or row[0] != signature or len(row[1]) != DIGEST_BYTES or not _settled(signature, row[2]):
            return None
        return bytes(row[1])

    def _remember(self, path: str, signature: bytes, digest: bytes, taken: int) -> None:
        self._execute("insert or replace into files values (?, ?, ?, ?)", [(_text(path), signature, digest, taken)])

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        """Open the file, or make it anew when it is damaged or of another format; in memory where that is not allowed."""
        for _attempt in range(2):
            connection = None
            try:
                if self.path.exists() or self._made_folder():
                    connection = sqlite3.connect(self.path, timeout=2.0, isolation_level=None, check_same_thread=False)
                    version = connection.execute("pragma user_version").fetchone()[0]
                    if version == _FORMAT:
                        connection.execute("select count(*) from sqlite_master").fetchone()
                        return connection
                    if version == 0:
                        connection.executescript(f"begin immediate;{_SCHEMA}commit;")
                        return connection
            except sqlite3.OperationalError as error:
                if connection is not None:
                    connection.close()
                if "already exists" in str(error):
                    continue  # another process made it meanwhile
                break
            except sqlite3.DatabaseError:
                pass
            if connection is not None:
                connection.close()
            with suppress(OSError):
                self.path.unlink()
                Path(f"{self.path}-journal").unlink(missing_ok=True)
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        memory.executescript(_SCHEMA)
        return memory

    def _made_folder(self) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(str(error)) from error
        return True

    def _fetch(self, query: str, parameters: tuple[str | int, ...]) -> tuple[Any, ...] | None:
        rows = self._fetch_all(query, parameters)
        return rows[0] if rows else None

    def _fetch_all(self, query: str, parameters: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._open().execute(query, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                self._give_up(error)  # the files are hashed instead
                return []

    def _execute(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        with self._lock:
            try:
                connection = self._open()
                connection.execute("begin immediate")
                try:
                    connection.executemany(statement, rows)
                    connection.execute("commit")
                finally:
                    if connection.in_transaction:
                        connection.execute("rollback")
            except sqlite3.DatabaseError as error:
                self._give_up(error)  # not remembered

    def _give_up(self, error: sqlite3.DatabaseError) -> None:
        """Live with a file that is busy, read-only or full; make one anew that is damaged or lacks what it should hold."""
        lacking = isinstance(error, sqlite3.OperationalError) and ("no such" in str(error) or "has no column" in str(error))
        if type(error) is not sqlite3.DatabaseError and not lacking:
            return
        self.close()
        with suppress(OSError):
            self.path.unlink()


def _is_gone(storage: Storage, folder: str) -> bool:
    """Whether a folder that was not entered this time is no longer there at all."""
    return storage.local_root is not None and not (storage.local_root / folder).is_dir()


def _believable(known: FolderState | None, *, always: bool = False) -> dict[tuple[str, bytes], bytes]:
    """The digests of a row that may be believed, by name and signature."""
    if known is None:
        return {}
    names = unpack_names(known.names)
    width = SIGNATURE_FIELDS * 8
    found: dict[tuple[str, bytes], bytes] = {}
    for index, name in enumerate(names):
        signature = known.signatures[index * width : (index + 1) * width]
        if always or _settled(signature, known.taken):
            found[name, signature] = known.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
    return found


def _newest(numbers: array[int]) -> int:
    """The latest mtime or ctime among packed signatures."""
    return max(max(numbers[1::SIGNATURE_FIELDS], default=0), max(numbers[2::SIGNATURE_FIELDS], default=0))


def _settled(signature: bytes, taken: int) -> bool:
    _size, mtime, ctime, _inode = array("q", signature)
    return max(mtime, ctime) < taken - RACY_NS


def _hash_entry(opened: Folder, name: str, where: str) -> tuple[bytes, array[int]] | None:
    """The digest of a file and the signature it had before and after reading; None when it is gone.

    A file that changes under the reader gets a signature that is never believed.
    """
    path = f"{where}/{name}" if where else name
    try:
        fd = read_regular(opened, name, path)
    except FileNotFoundError:
        return None
    except HeadwaterError as error:
        if error.rule in ("path-symlink", "path-not-a-file"):
            return None  # replaced since it was listed
        raise
    try:
        for _attempt in range(3):
            before = os.fstat(fd)
            oid = fd_oid(fd)
            after = os.fstat(fd)
            if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (after.st_size, after.st_mtime_ns, after.st_ctime_ns):
                return _raw(oid), array("q", (after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino & _INODE_MASK))
    finally:
        os.close(fd)
    return _raw(oid), array("q", (after.st_size, _INODE_MASK, _INODE_MASK, after.st_ino & _INODE_MASK))


def _by_folder(found: Iterator[FileStat]) -> Iterator[tuple[str, list[FileStat]]]:
    folders: dict[str, list[FileStat]] = {}
    for stat in found:
        folders.setdefault(stat.path.rpartition("/")[0], []).append(stat)
    yield from sorted(folders.items())


def _remote_signature(stat: FileStat) -> bytes:
    """A remote file's size and a digest of its version, in the shape of a local signature with times long past."""
    version = blake3((stat.version or "").encode()).digest(8)
    return array("q", (stat.size, 0, 0)).tobytes() + version


def _signature(stat: FileStat) -> bytes:
    if stat.version is not None:
        return _remote_signature(stat)
    return array("q", (stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode & _INODE_MASK)).tobytes()


def _raw(oid: str) -> bytes:
    return bytes.fromhex(oid.partition(":")[2])


def _text(path: str) -> str:
    """A path as SQLite can keep it: names that are no UTF-8 are escaped."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

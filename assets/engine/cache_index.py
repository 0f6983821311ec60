"""The index of the build cache: sizes, the order of use, and which published files stand for objects.

A SQLite file in machine state that can be lost at any time: it is made again from the entries, and after every start of the
machine, because it is never flushed.

An entry is noted here before it is written, so that no entry ever names an object that another one's trimming takes for free.
Light until it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.problems import database_problem
from resources.process import boot_id
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    import sqlite3

FORMAT: Final = 2

Parts = Sequence[tuple[str, int]]
"""(oid, bytes) of an entry's outputs."""

_SCHEMA: Final = """
DROP TABLE IF EXISTS entry;
DROP TABLE IF EXISTS part;
DROP TABLE IF EXISTS boot;
CREATE TABLE entry (fingerprint TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE part (fingerprint TEXT NOT NULL, oid TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (fingerprint, oid)) STRICT, WITHOUT ROWID;
CREATE INDEX part_oid ON part (oid, size);
CREATE TABLE boot (id TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reference (oid TEXT PRIMARY KEY, path TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


class CacheIndex:
    """The index at `path`; `entries` lists what is there, (fingerprint, parts), when it must be made again."""

    def __init__(self, path: Path, entries: Callable[[], Iterable[tuple[str, Parts]]]) -> None:
        self.path = path
        self._entries = entries

    @contextmanager
    def open(self) -> Iterator[OpenIndex]:
        """The index in a transaction. Raises HeadwaterError when the disk does not take it; it is made again next time."""
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                connection = self._opened()
            except sqlite3.DatabaseError:
                self.path.unlink(missing_ok=True)
                connection = self._opened()
            with closing(connection):
                try:
                    yield OpenIndex(connection)
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self.path.unlink(missing_ok=True)
            unusable = HeadwaterError(
                f"the index of the build cache cannot be used: {error}", rule="cache-index", fix="run the command again"
            )
            raise database_problem(error) or unusable from error

    def _opened(self) -> sqlite3.Connection:
        import sqlite3

        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            if not self._is_current(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO boot VALUES (?)", (boot_id(),))
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                made = OpenIndex(connection)
                for fingerprint, parts in self._entries():
                    made.note(fingerprint, parts)
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _is_current(connection: sqlite3.Connection) -> bool:
        if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            return False
        row = connection.execute("SELECT id FROM boot").fetchone()
        return row is not None and row[0] == boot_id()


class OpenIndex:
    """The index within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note(self, fingerprint: str, parts: Parts) -> None:
        """Record an entry as the one used last."""
        self._connection.execute(
            "INSERT INTO entry VALUES (?, (SELECT coalesce(max(used), 0) + 1 FROM entry)) "
            "ON CONFLICT (fingerprint) DO UPDATE SET used = excluded.used",
            (fingerprint,),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO part VALUES (?, ?, ?)", [(fingerprint, oid, size) for oid, size in parts]
        )

    def drop(self, fingerprint: str) -> list[str]:
        """Forget an entry; returns the oids that no other entry has."""
        oids = [row[0] for row in self._connection.execute("SELECT DISTINCT oid FROM part WHERE fingerprint = ?", (fingerprint,))]
        self._connection.execute("DELETE FROM part WHERE fingerprint = ?", (fingerprint,))
        self._connection.execute("DELETE FROM entry WHERE fingerprint = ?", (fingerprint,))
        return [
            oid for oid in oids if self._connection.execute("SELECT 1 FROM part WHERE oid = ? LIMIT 1", (oid,)).fetchone() is None
        ]

    def fingerprints(self) -> set[str]:
        """Every entry that was noted."""
        return {row[0] for row in self._connection.execute("SELECT fingerprint FROM entry")}

    def size(self) -> int:
        """Bytes of all objects, each once."""
        row = self._connection.execute("SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT oid, size FROM part)").fetchone()
        return int(row[0])

    def excess(self, cap: int, spared: Callable[[str], bool]) -> list[str]:
        """The entries past the cap, those unused for longest first, but those that are `spared`."""
        held = self.size()
        if held <= cap:
            return []
        sharing = dict(self._connection.execute("SELECT oid, count(*) FROM part GROUP BY oid").fetchall())
        excess = []
        for (fingerprint,) in self._connection.execute("SELECT fingerprint FROM entry ORDER BY used, fingerprint").fetchall():
            if held <= cap:
                break
            if spared(fingerprint):
                continue
            excess.append(fingerprint)
            for oid, size in self._connection.execute("SELECT oid, size FROM part WHERE fingerprint = ?", (fingerprint,)):
                sharing[oid] -= 1
                held -= 0 if sharing[oid] else size
        return excess

    # published files that stand for objects

    def refer(self, paths: Iterable[tuple[str, str]]) -> None:
        """Remember (oid, path) of published files."""
        self._connection.executemany("INSERT OR REPLACE INTO reference VALUES (?, ?)", list(paths))

    def referred(self, oid: str) -> str | None:
        """The published file that held the bytes of an oid when it was remembered."""
        row = self._connection.execute("SELECT path FROM reference WHERE oid = ?", (oid,)).fetchone()
        return None if row is None else str(row[0])

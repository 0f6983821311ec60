"""What was read back on this machine, when, and with what result: so that a scrub with little time begins with what was not
looked at for the longest.

The file lies on this machine and can be lost; then everything counts as never read. Light: standard library only.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OK: Final = "ok"
_FORMAT: Final = 1
_SCHEMA: Final = f"""
create table reading(oid text not null, place text not null, at integer not null, result text not null,
  primary key (oid, place)) without rowid;
pragma user_version = {_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One object as it was read last: the place (a storage's URL or path, `cache`, '' for nowhere), when, in seconds since 1970,
    and `ok`, `damaged` or `missing`."""

    place: str
    at: int
    result: str


class Proofs:
    """The readings in the SQLite file at `path`. Without write access nothing is remembered."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def readings(self) -> dict[str, list[Reading]]:
        """oid -> how it was found in each place when it was read last."""
        found: dict[str, list[Reading]] = {}
        if not self.path.exists():
            return found
        with self._mending(), closing(self._connect()) as connection:
            for oid, place, at, result in connection.execute("select oid, place, at, result from reading order by oid, place"):
                found.setdefault(oid, []).append(Reading(place, at, result))
        return found

    def keep(self, read: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> None:
        """Remember (oid, [(place, result), …]) of objects that were read now; what was known of them before is forgotten."""
        now = int(time.time())
        with self._mending(), closing(self._connect()) as connection:
            connection.execute("begin immediate")
            for oid, results in read:
                connection.execute("delete from reading where oid = ?", (oid,))
                rows = [(oid, place, now, result) for place, result in results]
                connection.executemany("insert or replace into reading values (?, ?, ?, ?)", rows)
            connection.execute("commit")

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
        try:
            version = connection.execute("pragma user_version").fetchone()[0]
            if version == 0:
                connection.executescript(f"begin immediate;{_SCHEMA}commit;")
            elif version != _FORMAT:
                raise sqlite3.DatabaseError("another format")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """A file that is damaged or of another format is begun anew; one that is busy or read-only is left alone."""
        try:
            yield
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            with suppress(OSError):
                self.path.unlink()
        except OSError:
            return

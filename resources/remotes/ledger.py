"""What remotes were proved to hold, and when: so that a push with nothing to do asks for nothing.

A proof belongs to one remote as it was made: a remote that was wiped and made again has another identity, and nothing is believed
of it. The file lies on this machine and can be lost. Light: standard library only.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

_FORMAT: Final = 1
_SCHEMA: Final = f"""
create table proof(remote text not null, oid text not null, at integer not null, primary key (remote, oid)) without rowid;
create table named(remote text primary key, url text not null) without rowid;
pragma user_version = {_FORMAT};
"""


class Ledger:
    """The proofs in the SQLite file at `path`. Without write access nothing is remembered."""

    def __init__(self, path: Path) -> None:
        self.path = path

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

    def proved(self, remote: str, oids: Iterable[str]) -> dict[str, int]:
        """Those of `oids` that the remote of that identity was proved to hold, with when (seconds since 1970)."""
        wanted = set(oids)
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute("select oid, at from proof where remote = ?", (remote,))
                return {oid: at for oid, at in rows if oid in wanted}
        except (sqlite3.DatabaseError, OSError):
            self._mend()
            return {}

    def anywhere(self, oids: Iterable[str]) -> dict[str, tuple[str, int]]:
        """oid -> (URL of the remote it was last proved at, when) for those of `oids` that any remote holds."""
        wanted = set(oids)
        found: dict[str, tuple[str, int]] = {}
        if not self.path.exists():
            return found
        try:
            with closing(self._connect()) as connection:
                query = "select oid, url, at from proof join named using (remote) order by at"
                for oid, url, at in connection.execute(query):
                    if oid in wanted:
                        found[oid] = (url, at)
        except (sqlite3.DatabaseError, OSError):
            self._mend()
        return found

    def known(self, oids: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
        """oid -> (URL, when) of every remote that was proved to hold it, for those of `oids` that any does."""
        wanted = set(oids)
        found: dict[str, list[tuple[str, int]]] = {}
        if not self.path.exists():
            return found
        try:
            with closing(self._connect()) as connection:
                for oid, url, at in connection.execute(
                    "select oid, url, at from proof join named using (remote) order by at, url"
                ):
                    if oid in wanted:
                        found.setdefault(oid, []).append((url, at))
        except (sqlite3.DatabaseError, OSError):
            self._mend()
            return {}
        return found

    def held(self) -> dict[str, dict[str, int]]:
        """URL -> what the remote that was last proved there holds: oid -> when. A remote that was made anew at the same URL
        stands for it alone."""
        found: dict[str, dict[str, int]] = {}
        if not self.path.exists():
            return found
        try:
            with closing(self._connect()) as connection:
                newest = {
                    url: remote
                    for url, remote, _at in connection.execute(
                        "select url, remote, max(at) from proof join named using (remote) group by url, remote order by 3, 2"
                    )
                }
                for url, remote in newest.items():
                    found[url] = dict(connection.execute("select oid, at from proof where remote = ?", (remote,)))
        except (sqlite3.DatabaseError, OSError):
            self._mend()
            return {}
        return found

    def only(self, remote: str | None, url: str) -> None:
        """Believe nothing more of other remotes that were at this URL; of any, where there is none now."""
        with suppress(sqlite3.DatabaseError, OSError), closing(self._connect()) as connection:
            query = "delete from proof where remote in (select remote from named where url = ? and remote is not ?)"
            connection.execute(query, (url, remote))

    def prove(self, remote: str, url: str, oids: Iterable[str]) -> None:
        """Remember that the remote holds these now."""
        now = int(time.time())
        try:
            with closing(self._connect()) as connection:
                connection.execute("begin immediate")
                connection.execute("insert or replace into named values (?, ?)", (remote, url))
                connection.executemany("insert or replace into proof values (?, ?, ?)", [(remote, oid, now) for oid in oids])
                connection.execute("commit")
        except sqlite3.OperationalError:
            return
        except (sqlite3.DatabaseError, OSError):
            self._mend()

    # whole manifests

    def whole(self, manifest: str) -> tuple[str, int] | None:
        """(identity of the remote, number of files) where everything that the manifest of this digest names was proved to be in
        one remote, the last one; None where that is not known."""
        try:
            with closing(self._connect()) as connection:
                row = connection.execute("select remote, files from whole where manifest = ?", (manifest,)).fetchone()
                return None if row is None else (str(row[0]), int(row[1]))
        except (sqlite3.DatabaseError, OSError):
            return None  # no such table either: nothing was proved yet

    def prove_whole(self, remote: str, manifest: str, files: int) -> None:
        """Remember that the remote holds everything that a manifest names, instead of what was remembered of another."""
        with suppress(sqlite3.DatabaseError, OSError), closing(self._connect()) as connection:
            connection.execute("begin immediate")
            connection.execute(
                "create table if not exists whole(remote text primary key, manifest text not null, files integer not null) "
                "without rowid"
            )
            connection.execute("insert or replace into whole values (?, ?, ?)", (remote, manifest, files))
            connection.execute("commit")

    def forget(self, remote: str, oids: Iterable[str] | None = None) -> None:
        """Believe nothing more of a remote, or of these objects in it."""
        gone = None if oids is None else [(remote, oid) for oid in oids]
        if gone is not None and not gone:
            return
        with suppress(sqlite3.DatabaseError, OSError), closing(self._connect()) as connection:
            with suppress(sqlite3.OperationalError):  # no such table: no manifest was proved yet
                connection.execute("delete from whole where remote = ?", (remote,))
            if gone is None:
                connection.execute("delete from proof where remote = ?", (remote,))
            else:
                connection.execute("begin immediate")
                connection.executemany("delete from proof where remote = ? and oid = ?", gone)
                connection.execute("commit")

    def _mend(self) -> None:
        with suppress(OSError):
            self.path.unlink()

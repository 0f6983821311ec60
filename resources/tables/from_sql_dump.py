"""Reading an SQL dump in SQLite's dialect for `tables import`: it is run in a closed database in memory, then described."""

from __future__ import annotations

import time
from pathlib import Path

import apsw

from resources.tables.from_sqlite import describe
from resources.tables.introspect import Imported
from schemas.errors import HeadwaterError
from schemas.text import decode

SIZE_LIMIT = 1 << 30
SECONDS = 600.0
"""A dump is data; one that runs longer is a program."""

_ALLOWED = frozenset(
    {
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_UPDATE,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_READ,
        apsw.SQLITE_SELECT,
        apsw.SQLITE_TRANSACTION,
        apsw.SQLITE_SAVEPOINT,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_ALTER_TABLE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_ANALYZE,
        apsw.SQLITE_RECURSIVE,
    }
)
_PRAGMAS = frozenset({"foreign_keys", "encoding", "page_size", "user_version", "journal_mode", "synchronous"})


def import_dump(path: Path) -> Imported:
    """The project that a dump makes. Raises InvalidText for what is no text, HeadwaterError for what SQLite does not run."""
    file = decode(path.read_bytes(), str(path), limit=SIZE_LIMIT, conflicts=False)
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, SIZE_LIMIT)
    connection.authorizer = _authorize
    end = time.monotonic() + SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
    try:
        connection.execute(file.text)
    except apsw.Error as problem:
        raise HeadwaterError(
            f"SQLite cannot run the dump: {problem}",
            path=str(path),
            rule="tables-import",
            fix="write the dump in SQLite's dialect, such as `sqlite3 file.db .dump` does",
        ) from None
    if not connection.getautocommit():
        connection.execute("COMMIT")
    connection.authorizer = None
    return describe(connection, path)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == apsw.SQLITE_PRAGMA:
        # A dump begins with settings; the harmless ones may run.
        return apsw.SQLITE_OK if (first or "").lower() in _PRAGMAS else apsw.SQLITE_DENY
    if action == apsw.SQLITE_FUNCTION and (second or "").lower() == "load_extension":
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK if action in _ALLOWED else apsw.SQLITE_DENY

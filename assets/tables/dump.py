"""The content of a SQLite file as one digest, whatever wrote it: equal for equal schema and equal rows.

Independent of page layout, free pages, journal mode, the SQLite build, the order rows were inserted and tables were made in,
and the white space of the stored SQL. Rows are hashed with their storage classes (1, 1.0 and '1' differ), in primary-key order
or, without a key, in the order of all columns.

The row encoding is the one of SQLite's own `sha3_query` (ext/misc/shathree.c: `R`, then `N`, `I` and `F` with eight bytes big
endian, `T` and `B` with length, colon and bytes), SHA3-256. The extension in the apsw wheel computes it in C; where a platform's
wheel has none, the same bytes are hashed in Python, several times slower.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw
import apsw.sqlite_extra

from schemas.oid import json_oid
from schemas.sql_quoting import quote

_SQL_PARTS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?:--[^\n]*|/\*.*?\*/|\s)+""", re.DOTALL)


def open_read_only(path: Path, *, immutable: bool = False) -> apsw.Connection:
    """A hardened connection to a file that may be hostile: no writes, no functions from the schema, cells checked.

    `immutable` leaves journals and locks alone, for a file that nothing else can open. Raises apsw.Error.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    name = path.absolute().as_uri() + ("?immutable=1" if immutable else "")
    connection = apsw.Connection(name, flags=flags)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.pragma("cell_size_check", True)
    return connection


def content_digest(path: Path, *, immutable: bool = False) -> str:
    """The digest of what the SQLite file at `path` says, its write-ahead log included unless `immutable`.

    Raises apsw.Error when it cannot be read as a database.
    """
    connection = open_read_only(path, immutable=immutable)
    try:
        return connection_digest(connection)
    finally:
        connection.close()


def connection_digest(connection: apsw.Connection) -> str:
    """As `content_digest`, of the main database of an open connection."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    schema = sorted([kind, name, table, normal_sql(sql or "")] for kind, name, table, sql in rows)
    native = _load_sha3(connection)
    tables = {name: table_digest(connection, name, native) for kind, name, *_ in schema if kind == "table"}
    return json_oid({"schema": schema, "rows": tables})


def normal_sql(sql: str) -> str:
    """`sql` with every run of white space and comments outside quotes as one space, and none at the ends."""
    return _SQL_PARTS.sub(lambda part: part[1] or " ", sql).strip()


def table_digest(connection: apsw.Connection, table: str, native: bool | None = None) -> str:
    """SHA3-256 of a table's rows as hexadecimal digits, and how many there are: `digits:count`.

    `native` says whether the sha3_query function is loaded; None loads it.
    """
    if native is None:
        native = _load_sha3(connection)
    information = list(connection.execute("SELECT name, pk, hidden FROM pragma_table_xinfo(?)", (table,)))
    names = [quote(name) for name, _, hidden in information if hidden != 1]
    key = [quote(name) for name, place, _ in sorted(information, key=lambda column: column[1]) if place]
    query = f"SELECT {', '.join(names)} FROM {quote(table)} ORDER BY {', '.join(key or names)}"
    count = connection.execute(f"SELECT count(*) FROM {quote(table)}").get
    if native:
        digest: str = connection.execute("SELECT lower(hex(sha3_query(?, 256)))", (query,)).get
    else:
        digest = _sha3_in_python(query, connection.execute(query))
    return f"{digest}:{count}"


def _load_sha3(connection: apsw.Connection) -> bool:
    try:
        apsw.sqlite_extra.load(connection, "shathree")
    except (apsw.sqlite_extra.NotAvailable, apsw.ExtensionLoadingError):
        return False
    return True


def _sha3_in_python(query: str, rows: Iterable[tuple[Any, ...]]) -> str:
    encoded = query.encode("utf-8")
    digest = hashlib.sha3_256(b"S%d:" % len(encoded) + encoded)
    for row in rows:
        parts = [b"R"]
        for value in row:
            if value is None:
                parts.append(b"N")
            elif isinstance(value, int):
                parts.append(b"I" + struct.pack(">q", value))
            elif isinstance(value, float):
                parts.append(b"F" + struct.pack(">d", value))
            elif isinstance(value, str):
                text = value.encode("utf-8")
                parts.append(b"T%d:" % len(text) + text)
            else:
                parts.append(b"B%d:" % len(value) + value)
        digest.update(b"".join(parts))
    return digest.hexdigest()

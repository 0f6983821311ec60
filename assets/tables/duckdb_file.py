"""`playground.duckdb`: a tables project as one DuckDB file, equal in content for the same text.

DuckDB enforces the constraints it can hold while the rows go in; what it cannot hold is checked by queries before the file is
handed over, and expressions that it cannot read are proven in SQLite first. DuckDB's files never have equal bytes (ids, hashes
of blocks), so the artifact is known by the digest of its canonical dump.

External access is off in every connection: neither a view nor a hostile file may read or write other files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import Scratch, View
from assets.tables import columns, sqlite
from assets.tables.load import TableText
from assets.tables.text import open_project, refuse
from resources.duckdb_writing import saying_what_failed
from schemas.errors import HeadwaterError, InvalidText, Refused
from schemas.oid import json_oid
from schemas.sql_quoting import quote, quote_all
from schemas.tables.duckdb_sql import Dropped, creation_order, duckdb_ddl
from schemas.tables.model import Project

_CONFIG: Mapping[str, Any] = {
    "enable_external_access": "false",
    "threads": "2",
    "memory_limit": "400MiB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}

_PROVEN_BY_SQLITE = frozenset({"check", "unique", "generated"})
"""Kinds of rules that a throw-away SQLite database verifies where DuckDB cannot read their expressions."""

_SMALL = 16 << 20
"""Bytes of text up to which a file is made of small blocks."""


def connect(path: Path | None, *, read_only: bool = False, small: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the file at `path`, or to a database in memory, that can reach nothing else, its settings locked.

    A new file is made of small blocks when `small`: DuckDB's usual 256 KiB blocks make a file of 4 MiB of a few rows.
    Raises duckdb.Error.
    """
    config = {**_CONFIG, **({"default_block_size": "16384"} if small else {})}
    connection = duckdb.connect(":memory:" if path is None else str(path), read_only=read_only, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `playground_duckdb`.

    Raises InvalidText with every finding and its position when the text breaks a rule.
    """
    project, texts = open_project(view)
    target = scratch.path("playground.duckdb")
    statements, dropped = duckdb_ddl(project)
    if any(rule.query is None and rule.kind in _PROVEN_BY_SQLITE for rule in dropped):
        sqlite.prove(view, scratch, project, texts)
    try:
        counts = load(target, project, texts, statements)
    except (InvalidText, duckdb.ConstraintException) as problem:
        refuse(view, problem)
    connection = connect(target, read_only=True)
    try:
        _check_dropped(view, connection, dropped)
        digest = connection_digest(connection)
    finally:
        connection.close()
    rows = [[name, counts[name], len(table.columns)] for name, table in project.tables.items()]
    return Summary(
        counts={
            "tables": len(counts),
            "rows": sum(counts.values()),
            "not held by DuckDB": len(dropped),
            "bytes": target.stat().st_size,
        },
        tables={
            "tables": SummaryTable(["table", "rows", "columns"], rows),
            "not held by DuckDB": SummaryTable(
                ["kind", "table", "name", "reason", "verified by"],
                [[rule.kind, rule.table, rule.name, rule.reason, _verified_by(rule)] for rule in dropped[:200]],
            ),
        },
        digest=digest,
    )


def _verified_by(rule: Dropped) -> str:
    if rule.query is not None:
        return "a query in DuckDB"
    return "SQLite" if rule.kind in _PROVEN_BY_SQLITE else ""


@saying_what_failed()
def load(path: Path, project: Project, texts: Mapping[str, TableText], statements: list[str]) -> dict[str, int]:
    """Make the database at `path` and insert all rows, parents first; returns the rows per table.

    Raises InvalidText, duckdb.ConstraintException, HeadwaterError (rule `duckdb-cannot-write`).
    """
    connection = connect(path, small=sum(text.size for text in texts.values()) < _SMALL)
    try:
        for statement in (statement for statement in statements if statement.startswith("CREATE TABLE")):
            connection.execute(statement)
        counts = {}
        for name in creation_order(project):
            connection.execute("BEGIN")
            counts[name] = _insert_table(connection, texts[name])
            connection.execute("COMMIT")
        for statement in (statement for statement in statements if not statement.startswith("CREATE TABLE")):
            connection.execute(statement)
        connection.execute("CHECKPOINT")
        return counts
    finally:
        connection.close()


class _Source:
    """A table's rows for DuckDB, in native form; the error of a reader on the other side of the C stream is kept."""

    def __init__(self, text: TableText) -> None:
        self.text = text
        self.count = 0
        self.problem: BaseException | None = None
        self._batches = columns.ahead(columns.native(batch, text.fields) for batch in text.batches())

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(columns.native_schema(self.text.fields), self._rows())

    def _rows(self) -> Any:
        try:
            for batch in self._batches:
                self.count += batch.num_rows
                yield batch
        except BaseException as problem:
            self.problem = problem
            raise

    def close(self) -> None:
        """Stop the thread that reads ahead, when DuckDB has refused a row before the last one."""
        self._batches.close()


def _insert_table(connection: duckdb.DuckDBPyConnection, text: TableText) -> int:
    source = _Source(text)
    names = quote_all([field.name for field in text.fields])
    connection.register("headwater incoming", source.reader())
    try:
        connection.execute(f'INSERT INTO {quote(text.table.name)} ({names}) SELECT {names} FROM "headwater incoming"')
    except (duckdb.Error, pa.ArrowException):
        if source.problem is not None:
            raise source.problem from None
        raise
    finally:
        source.close()
    connection.unregister("headwater incoming")  # not after a failure: the transaction is aborted, the connection is closed
    return source.count


def _check_dropped(view: View, connection: duckdb.DuckDBPyConnection, dropped: list[Dropped]) -> None:
    for rule in dropped:
        if rule.query is not None and connection.execute(f"SELECT 1 FROM ({rule.query}) LIMIT 1").fetchone():
            refuse(view, HeadwaterError(f"rows of {rule.table} break the {rule.kind} {rule.name}"))


def content_digest(path: Path) -> str:
    """The digest of what the DuckDB file at `path` says: tables with their columns and rows, in whatever order, and views.

    Raises duckdb.Error when it cannot be read or another process has it open for writing.
    """
    connection = connect(path, read_only=True)
    try:
        return connection_digest(connection)
    finally:
        connection.close()


def connection_digest(connection: duckdb.DuckDBPyConnection) -> str:
    """As `content_digest`, of an open connection's database."""
    schema: dict[str, list[list[str]]] = {}
    columns_of = (
        "SELECT table_name, column_name, data_type, is_nullable, coalesce(column_default, '') FROM duckdb_columns() "
        "WHERE NOT internal AND database_name = current_database() AND schema_name = 'main' ORDER BY table_name, column_index"
    )
    for table, *column in connection.execute(columns_of).fetchall():
        schema.setdefault(table, []).append([str(part) for part in column])
    constraints = connection.execute(
        "SELECT table_name, constraint_text FROM duckdb_constraints() WHERE database_name = current_database() ORDER BY ALL"
    ).fetchall()
    indexes = connection.execute("SELECT table_name, index_name, sql FROM duckdb_indexes() ORDER BY ALL").fetchall()
    views = connection.execute(
        "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
    ).fetchall()
    names = {name for name, _ in views}
    return json_oid(
        {
            "columns": schema,
            "constraints": constraints,
            "indexes": indexes,
            "views": views,
            "rows": {name: _table_digest(connection, name, described) for name, described in schema.items() if name not in names},
        }
    )


def _table_digest(connection: duckdb.DuckDBPyConnection, table: str, described: list[list[str]]) -> str:
    """A digest of a table's rows as a multiset: their number, and the sums of both halves of the MD5 of every row's text."""
    parts = ", ".join(f"'{position}': {quote(name)}::VARCHAR" for position, (name, *_) in enumerate(described))
    found = connection.execute(
        "SELECT count(*), coalesce(sum(md5_number_lower(row)::HUGEINT), 0), coalesce(sum(md5_number_upper(row)::HUGEINT), 0) "
        f"FROM (SELECT to_json({{{parts}}})::VARCHAR AS row FROM {quote(table)})"
    ).fetchone()
    return ":".join(str(number) for number in found or ())


def free_the_way(path: Path) -> None:
    """Make `path` a file that can be renamed over: nobody has it open, and no write-ahead log lies beside it.

    A log of a killed process is first worked into the old file; DuckDB 1 merged a stale one into whatever file came next.

    Raises Refused when another process has the database open, or when `path` is no regular file.
    """
    log = path.with_name(path.name + ".wal")
    if not os.path.lexists(path):
        _set_aside(log)
        return
    if path.is_symlink() or not path.is_file():
        raise Refused(
            f"{path.name} is no regular file", path=path.name, rule="duckdb-not-a-file", fix="move it away, then build again"
        )
    if path.stat().st_size:
        try:
            connect(path).close()
        except duckdb.IOException as problem:
            if "lock" in str(problem).lower():
                raise Refused(
                    f"another program has {path.name} open",
                    path=path.name,
                    rule="duckdb-busy",
                    fix=f"close the program that uses {path.name} (a notebook, a shell), then build again",
                ) from None
        except (duckdb.Error, HeadwaterError):
            pass  # it cannot be read as a database, so its log cannot be worked in
    _set_aside(log)


def _set_aside(log: Path) -> None:
    """Delete an empty log; keep another one under a name that DuckDB does not replay."""
    if log.is_symlink() or (log.is_file() and log.stat().st_size == 0):
        log.unlink()
    elif log.is_file():
        log.replace(sqlite.aside(log.with_name(log.name.removesuffix(".wal")), ".wal"))

"""Looking into a DuckDB file for `tables import`: read-only, without access to anything outside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from resources.tables.introspect import FoundColumn, FoundDatabase, FoundReference, FoundTable, Imported, refuse
from schemas.sql_quoting import quote, quote_all
from schemas.tables import ddl
from schemas.tables.expressions import BadExpression, tokens
from schemas.tables.types import ColumnType, TypeProblem, parse_type

_TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "datetime",
    "TIMESTAMP_S": "datetime",
    "TIMESTAMP_MS": "datetime",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "UUID": "uuid",
    "JSON": "json",
    "BLOB": "blob",
    "FLOAT": "float",
    "DOUBLE": "float",
    **dict.fromkeys(["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"], "integer"),
}
_TEXT = ColumnType("text")


def import_duckdb(path: Path) -> Imported:
    """The file as a project. Raises HeadwaterError when it is no DuckDB database or holds what text cannot."""
    try:
        connection = duckdb.connect(str(path), read_only=True)
        connection.execute("SET enable_external_access=false; SET TimeZone='UTC'; SET lock_configuration=true")
        return Imported(_Reader(connection, path).database())
    except (duckdb.Error, UnicodeDecodeError) as problem:
        raise refuse(path, f"the database cannot be read: {str(problem).splitlines()[0]}") from None


class _Reader:
    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.notes: list[str] = []
        self.references: list[FoundReference] = []
        self._nested: set[tuple[str, str]] = set()

    def database(self) -> FoundDatabase:
        here = "database_name = current_database()"
        rows = self._all(
            f"SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE {here} AND NOT internal ORDER BY table_oid"
        )
        self.notes += [
            f"table {schema}.{name} is left out: only the schema main is read" for schema, name, _ in rows if schema != "main"
        ]
        tables = [self._table(name, statement) for schema, name, statement in rows if schema == "main"]
        views = {
            name: ddl.view_query(statement)
            for name, statement in self._all(
                f"SELECT view_name, sql FROM duckdb_views() WHERE {here} AND NOT internal AND schema_name = 'main'"
            )
        }
        return FoundDatabase(self.path, tables, self.references, views, self.notes, self._rows)

    def _all(self, query: str, *values: Any) -> list[Any]:
        return self.connection.execute(query, list(values)).fetchall()

    def _table(self, name: str, statement: str) -> FoundTable:
        generated = ddl.table_parts(statement).generated
        columns = []
        for column, declared, default, nullable in self._all(
            "SELECT column_name, data_type, column_default, is_nullable FROM duckdb_columns()"
            " WHERE database_name = current_database() AND schema_name = 'main' AND table_name = ? ORDER BY column_index",
            name,
        ):
            candidates = self._candidates(name, column, declared)
            expression = generated.get(column)
            columns.append(FoundColumn(column, candidates, not nullable, expression, None if expression else default))
        table = FoundTable(name, columns)
        for kind, expression, listed, parent, parent_columns in self._all(
            "SELECT constraint_type, expression, constraint_column_names, referenced_table, referenced_column_names"
            " FROM duckdb_constraints() WHERE database_name = current_database() AND schema_name = 'main' AND table_name = ?"
            " ORDER BY constraint_index",
            name,
        ):
            if kind == "PRIMARY KEY":
                table.key = list(listed)
            elif kind == "UNIQUE":
                table.unique["_".join(listed)] = list(listed)
            elif kind == "CHECK":
                table.checks.append((None, expression))
            elif kind == "FOREIGN KEY":
                self.references.append(FoundReference(None, name, list(listed), parent, list(parent_columns)))
        for index, unique, text in self._all(
            "SELECT index_name, is_unique, sql FROM duckdb_indexes()"
            " WHERE database_name = current_database() AND schema_name = 'main' AND table_name = ?",
            name,
        ):
            indexed = ddl.index_columns(text or "")
            if indexed is None:
                self.notes.append(f"index {index!r} is left out: it is over expressions")
            else:
                table.indexes[index.removeprefix(f"{name}.")] = {"columns": indexed, **({"unique": True} if unique else {})}
        return table

    def _candidates(self, table: str, column: str, declared: str) -> list[ColumnType]:
        if declared.startswith("DECIMAL"):
            return [parse_type(declared.lower().replace(" ", "")), _TEXT]
        if declared in {"HUGEINT", "UHUGEINT"}:
            return [ColumnType("integer"), ColumnType("decimal", 38, 0), _TEXT]
        if declared.startswith("ENUM("):
            return [_enum(declared), _TEXT]
        base = _TYPES.get(declared)
        if base is not None:
            return [ColumnType(base), _TEXT] if base != "text" else [_TEXT]
        if re.search(r"\[\d*\]$|^(STRUCT|MAP|UNION)", declared):
            self._nested.add((table, column))
            self.notes.append(f"{table}.{column} ({declared}) becomes json")
            return [ColumnType("json"), _TEXT]
        self.notes.append(f"{table}.{column} ({declared}) becomes text")
        return [_TEXT]

    def _rows(self, table: str, columns: list[str], order_by: list[str]) -> Iterator[tuple[Any, ...]]:
        order = f" ORDER BY {quote_all(order_by)}" if order_by else " ORDER BY rowid"
        listed = ", ".join(self._selected(table, column) for column in columns)
        cursor = self.connection.cursor().execute(f"SELECT {listed} FROM {quote(table)}{order}")
        plain = [(table, column) not in self._nested for column in columns]
        while batch := cursor.fetchmany(10_000):
            for row in batch:
                yield (
                    row
                    if all(plain)
                    else tuple(
                        value
                        if simple or value is None
                        else json.dumps(json.loads(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
                        for simple, value in zip(plain, row, strict=True)
                    )
                )

    def _selected(self, table: str, column: str) -> str:
        return f"CAST(to_json({quote(column)}) AS VARCHAR)" if (table, column) in self._nested else quote(column)


def _enum(declared: str) -> ColumnType:
    try:
        values = tuple(token.text[1:-1].replace("''", "'") for token in tokens(declared) if token.kind == "text")
        return parse_type("enum", values)
    except (BadExpression, TypeProblem):
        return _TEXT

"""Looking into a SQLite file that may be anybody's: read-only, hardened, checked, then described for `tables import`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from resources.tables.introspect import FoundColumn, FoundDatabase, FoundReference, FoundTable, Imported, own_type, refuse
from schemas.sql_quoting import quote, quote_all
from schemas.tables import ddl
from schemas.tables.types import ColumnType, TypeProblem, parse_type

_INTEGER, _FLOAT, _TEXT, _BLOB = (ColumnType(base) for base in ("integer", "float", "text", "blob"))
_ACTIONS = {
    "NO ACTION": "no_action",
    "RESTRICT": "restrict",
    "CASCADE": "cascade",
    "SET NULL": "set_null",
    "SET DEFAULT": "set_default",
}


def import_sqlite(path: Path) -> Imported:
    """The file as a project. Raises HeadwaterError when it is no sound SQLite database or holds what text cannot."""
    return describe(open_foreign(path), path)


def describe(connection: apsw.Connection, path: Path) -> Imported:
    """An open database as a project; `path` is shown in errors. Raises HeadwaterError."""
    try:
        return Imported(_Reader(connection, path).database())
    except (apsw.Error, UnicodeDecodeError) as problem:
        raise refuse(path, f"the database cannot be read: {problem}") from None


def open_foreign(path: Path) -> apsw.Connection:
    """A hardened read-only connection to a file nobody vouches for. Raises HeadwaterError."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.execute("PRAGMA cell_size_check=ON; PRAGMA query_only=ON; PRAGMA mmap_size=0")
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except apsw.Error as problem:
        raise refuse(path, f"this is not a SQLite database: {problem}") from None
    if problems != ["ok"]:
        raise refuse(path, f"the database is damaged: {problems[0]}")
    return connection


class _Reader:
    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.notes: list[str] = []
        self.references: list[FoundReference] = []

    def database(self) -> FoundDatabase:
        tables, views = [], {}
        kinds = {row[1]: row[2] for row in self.connection.execute("PRAGMA main.table_list")}
        schema: list[Any] = self.connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY rowid").fetchall()
        for kind, name, statement in schema:
            if name.startswith("sqlite_"):
                continue
            if kind == "table" and kinds.get(name) == "table":
                tables.append(self._table(str(name), str(statement)))
            elif kind == "view":
                views[str(name)] = ddl.view_query(str(statement))
            elif kind == "trigger":
                self.notes.append(f"trigger {name!r} is left out: a project has no triggers")
            elif kind == "table" and kinds.get(name) == "virtual":
                self.notes.append(f"virtual table {name!r} is left out")
        self._resolve(tables)
        return FoundDatabase(self.path, tables, self.references, views, self.notes, self._rows)

    def _table(self, name: str, statement: str) -> FoundTable:
        parts = ddl.table_parts(statement)
        typed = {}
        checks = []
        for label, text in parts.checks:
            column, _, option = (label or "").rpartition(": ")
            kind = own_type(option) if column else None
            if kind is not None and kind.base != "enum":
                typed[column] = kind
            else:
                checks.append((label, text))
        columns, key = [], []
        for _, column, declared, not_null, default, in_key, hidden in self._pragma("table_xinfo", name):
            generated = parts.generated.get(column) if hidden in {2, 3} else None
            if hidden == 1:
                continue
            candidates = [typed[column], _TEXT] if column in typed else candidates_for(declared or "")
            columns.append(FoundColumn(column, candidates, bool(not_null), generated, default))
            if in_key:
                key.append((in_key, column))
            if column in parts.collated:
                self.notes.append(f"the collation of {name}.{column} is left out; text is compared by its bytes")
        table = FoundTable(name, columns, [column for _, column in sorted(key)], checks=checks)
        self._indexes(table, parts)
        self._references(table, parts)
        return table

    def _indexes(self, table: FoundTable, parts: ddl.TableParts) -> None:
        for _, index, unique, origin, partial in self._pragma("index_list", table.name):
            rows = [row for row in self._pragma("index_xinfo", index) if row[5]]
            columns = [row[2] for row in rows]
            if origin == "pk":
                continue
            if any(column is None for column in columns):
                self.notes.append(f"index {index!r} is left out: it is over expressions")
                continue
            if origin == "u":
                table.unique[parts.uniques.get(tuple(columns)) or "_".join(columns)] = columns
                continue
            if any(row[3] or str(row[4]).upper() != "BINARY" for row in rows):
                self.notes.append(f"index {index!r} becomes an ascending one that compares bytes")
            made: dict[str, Any] = {"columns": columns}
            if unique:
                made["unique"] = True
            if partial:
                statement = self.connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).get
                made["where"] = ddl.index_condition(str(statement))
            table.indexes[index.removeprefix(f"{table.name}.")] = made

    def _references(self, table: FoundTable, parts: ddl.TableParts) -> None:
        grouped: dict[int, list[Any]] = {}
        for row in self._pragma("foreign_key_list", table.name):
            grouped.setdefault(row[0], []).append(row)
        for _, rows in sorted(grouped.items(), reverse=True):
            columns = [row[3] for row in sorted(rows, key=lambda row: row[1])]
            parent_columns = [row[4] for row in sorted(rows, key=lambda row: row[1])]
            written = next((part for part in parts.references if _folded(part.columns) == _folded(columns)), None)
            self.references.append(
                FoundReference(
                    written.name if written else None,
                    table.name,
                    columns,
                    rows[0][2],
                    [] if None in parent_columns else parent_columns,
                    _ACTIONS[rows[0][6]],
                    _ACTIONS[rows[0][5]],
                    bool(written and written.deferred),
                )
            )

    def _resolve(self, tables: list[FoundTable]) -> None:
        """Names of foreign keys as the tables and columns are spelled; SQLite matches them without regard to case."""
        by_name = {table.name.lower(): table for table in tables}
        for reference in self.references:
            parent = by_name.get(reference.parent.lower())
            if parent is None:
                continue
            reference.parent = parent.name
            spelled = {column.name.lower(): column.name for column in parent.columns}
            reference.parent_columns = [spelled.get(column.lower(), column) for column in reference.parent_columns or parent.key]
            child = {column.name.lower(): column.name for column in by_name[reference.child.lower()].columns}
            reference.columns = [child.get(column.lower(), column) for column in reference.columns]

    def _pragma(self, pragma: str, name: str) -> list[Any]:
        return self.connection.execute(f"PRAGMA {pragma}({quote(name)})").fetchall()

    def _rows(self, table: str, columns: list[str], order_by: list[str]) -> Iterator[tuple[Any, ...]]:
        order = f" ORDER BY {quote_all(order_by)}" if order_by else ""
        return iter(self.connection.execute(f"SELECT {quote_all(columns)} FROM {quote(table)}{order}"))


def _folded(names: list[str]) -> list[str]:
    return [name.lower() for name in names]


def candidates_for(declared: str) -> list[ColumnType]:
    """The types a column of a declared SQLite type may get, most likely first; values decide."""
    word = declared.strip().lower()
    digits = re.search(r"\((\d+)\s*,\s*(\d+)\)", word)
    if word.startswith(("decimal", "numeric")) and digits:
        try:
            return [parse_type(f"decimal({digits[1]},{digits[2]})"), _INTEGER, _FLOAT, _TEXT]
        except TypeProblem:
            return [_INTEGER, _FLOAT, _TEXT]
    for start, bases in (
        ("bool", ("boolean", "integer", "float", "text")),
        ("datetime", ("datetime", "timestamp", "date", "integer", "float", "text")),
        ("timestamp", ("datetime", "timestamp", "date", "integer", "float", "text")),
        ("date", ("date", "datetime", "timestamp", "integer", "float", "text")),
        ("time", ("time", "integer", "float", "text")),
        ("uuid", ("uuid", "text", "blob")),
        ("guid", ("uuid", "text", "blob")),
        ("json", ("json", "text", "blob")),
    ):
        if word.startswith(start):
            return [ColumnType(base) for base in bases]
    if "int" in word:
        return [_INTEGER, _FLOAT, _TEXT]
    if any(part in word for part in ("char", "clob", "text")):
        return [_TEXT, _BLOB]
    if any(part in word for part in ("real", "floa", "doub")):
        return [_FLOAT, _TEXT]
    if "blob" in word:
        return [_BLOB, _TEXT]
    return [_INTEGER, _FLOAT, _TEXT, _BLOB]

"""The SQL a project turns into: quoting, the tables of SQLite, and the rules of columns as expressions.

Statements only, in a fixed order, so that the same project gives the same bytes. DuckDB's dialect and what it cannot enforce
are `schemas.tables.duckdb_sql`; loading rows belongs to `assets.tables`.

Choices, each measured on SQLite 3.54:
- Tables are STRICT. A single integer key is spelled exactly `INTEGER PRIMARY KEY`, which makes it the rowid; every other key
  makes the table WITHOUT ROWID, so that the file's bytes do not depend on the order rows were inserted in.
- Names of indexes are `table.index`: indexes share one name space in a database, and no name may hold a dot.
- `pattern` is not in the schema: SQLite has no regular expressions. The text is checked against it before it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.sql_quoting import quote, quote_all, text_literal
from schemas.tables.model import Column, Computed, Index, Project, Relationship, Table
from schemas.tables.spelling import decimal_cell
from schemas.tables.types import ColumnType

if TYPE_CHECKING:
    from schemas.tables.duckdb_sql import Dropped

_ACTIONS = {
    "no_action": "NO ACTION",
    "restrict": "RESTRICT",
    "cascade": "CASCADE",
    "set_null": "SET NULL",
    "set_default": "SET DEFAULT",
}
_MOMENTS = {
    "date": "date('now')",
    "time": "time('now')",
    "datetime": "strftime('%Y-%m-%dT%H:%M:%S', 'now')",
    "timestamp": "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
}
MOMENT_TYPES = {"current_date": ("date",), "current_time": ("time",), "current_timestamp": ("datetime", "timestamp")}
"""The column types each computed default fits."""


def sql_literal(kind: ColumnType, cell: str) -> str:
    """A canonical cell as an SQL literal that SQLite stores as this type."""
    value = kind.to_sqlite(cell)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return text_literal(value) if isinstance(value, str) else kind.format(value) if kind.base == "float" else str(value)


def sqlite_ddl(project: Project) -> list[str]:
    """Every statement that makes the empty database: tables, then indexes, then views, in the order of the file."""
    return sqlite_tables(project) + sqlite_indexes(project) + sqlite_views(project)


def sqlite_tables(project: Project) -> list[str]:
    """One CREATE TABLE per table. The order does not matter to SQLite: it looks a foreign key's parent up at its first use."""
    return [sqlite_table(project, name) for name in project.tables]


def sqlite_table(project: Project, name: str) -> str:
    """The CREATE TABLE statement of one table."""
    table = project.tables[name]
    lines = [_sqlite_column(table, column_name, column) for column_name, column in table.columns.items()]
    if table.primary_key and table.integer_key is None:
        lines.append(f"PRIMARY KEY ({quote_all(table.primary_key)})")
    lines += [f"CONSTRAINT {quote(key)} UNIQUE ({quote_all(columns)})" for key, columns in table.unique.items()]
    for column_name, column in table.columns.items():
        lines += [f"CONSTRAINT {quote(label)} CHECK ({rule})" for label, rule in column_rules(column_name, column)]
    lines += [f"CONSTRAINT {quote(label)} CHECK ({rule})" for label, rule in table.checks.items()]
    lines += [_sqlite_foreign_key(key, found) for key, found in project.relationships_from(name).items()]
    options = "STRICT" if table.integer_key or not table.primary_key else "STRICT, WITHOUT ROWID"
    return f"CREATE TABLE {quote(name)} (\n  " + ",\n  ".join(lines) + f"\n) {options}"


def sqlite_indexes(project: Project) -> list[str]:
    """One CREATE INDEX per declared index; made after loading, which is faster and packs the pages."""
    return [
        sqlite_index(table_name, index_name, index)
        for table_name, table in project.tables.items()
        for index_name, index in table.indexes.items()
    ]


def sqlite_index(table: str, name: str, index: Index) -> str:
    """The CREATE INDEX statement of one index."""
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {index.where}" if index.where else ""
    return f"CREATE {unique}INDEX {quote(index_name(table, name))} ON {quote(table)} ({quote_all(index.columns)}){where}"


def index_name(table: str, name: str) -> str:
    """The name of an index in the database; it cannot collide, because names hold no dot."""
    return f"{table}.{name}"


def sqlite_views(project: Project) -> list[str]:
    """One CREATE VIEW per view."""
    return [f"CREATE VIEW {quote(name)} AS {view.sql.strip()}" for name, view in project.views.items()]


def column_rules(name: str, column: Column) -> list[tuple[str, str]]:
    """(constraint name, expression) of every rule of one column that SQLite can state; the names say what was broken."""
    kind = column.column_type
    quoted = quote(name)
    rules: list[tuple[str, str]] = []
    typed = kind.sqlite_check(quoted)
    if typed is not None:
        rules.append((f"{name}: {kind.name}", typed))
    if column.enum is not None and kind.base != "enum":
        values = ", ".join(sql_literal(kind, column.cell(value)) for value in column.enum)
        rules.append((f"{name}: enum", f"{quoted} IN ({values})"))
    for label, bound, operator in (("min", column.min, ">="), ("max", column.max, "<=")):
        compared = None if bound is None else _compared(kind, quoted, column.cell(bound))
        if compared is not None:
            rules.append((f"{name}: {label}", f"{compared[0]} {operator} {compared[1]}"))
    if column.min_length is not None:
        rules.append((f"{name}: min_length", f"length({quoted}) >= {column.min_length}"))
    if column.max_length is not None:
        rules.append((f"{name}: max_length", f"length({quoted}) <= {column.max_length}"))
    if column.check is not None:
        rules.append((f"{name}: check", column.check))
    return rules


def _compared(kind: ColumnType, quoted: str, cell: str) -> tuple[str, str] | None:
    """A column and a bound as SQLite expressions whose order is that of the values; None when SQLite has none."""
    if kind.base == "decimal":
        # Scaled to whole numbers, which SQLite compares exactly up to 18 digits.
        if kind.precision > 18:
            return None
        scaled = decimal_cell(kind.parse(cell).scaleb(kind.scale), 0)
        return f"CAST(replace({quoted}, '.', '') AS INTEGER)", str(scaled)
    if kind.base == "timestamp":
        # Without the Z: `00Z` would sort after `00.5Z`.
        return f"substr({quoted}, 1, length({quoted}) - 1)", text_literal(cell[:-1])
    return quoted, sql_literal(kind, cell)


def default_literal(column: Column) -> str | None:
    """The DEFAULT of a column in SQLite's words, or None."""
    default = column.default
    if default is None:
        return None
    if isinstance(default, Computed):
        return f"({_MOMENTS[column.column_type.base]})"
    return sql_literal(column.column_type, column.cell(default))


def _sqlite_column(table: Table, name: str, column: Column) -> str:
    words = [quote(name), column.column_type.sqlite]
    if column.generated is not None:
        words.append(f"GENERATED ALWAYS AS ({column.generated}) VIRTUAL")
    if table.integer_key == name:
        words.append("PRIMARY KEY")
    elif not column.is_nullable:
        words.append("NOT NULL")
    if column.unique:
        words.append("UNIQUE")
    default = default_literal(column)
    if default is not None:
        words.append(f"DEFAULT {default}")
    return " ".join(words)


def _sqlite_foreign_key(name: str, found: Relationship) -> str:
    child, parent = found.child, found.parent
    words = [
        f"CONSTRAINT {quote(name)} FOREIGN KEY ({quote_all(child.columns)})",
        f"REFERENCES {quote(parent.table)} ({quote_all(parent.columns)})",
    ]
    if found.on_delete != "no_action":
        words.append(f"ON DELETE {_ACTIONS[found.on_delete]}")
    if found.on_update != "no_action":
        words.append(f"ON UPDATE {_ACTIONS[found.on_update]}")
    if found.deferrable:
        words.append("DEFERRABLE INITIALLY DEFERRED")
    return " ".join(words)


def orphan_query(found: Relationship) -> str:
    """A query (SQLite and DuckDB) of the child rows without a parent, MATCH SIMPLE."""
    child, parent = found.child, found.parent
    pairs = list(zip(child.columns, parent.columns, strict=True))
    matches = " AND ".join(f"p.{quote(up)} = c.{quote(down)}" for down, up in pairs)
    given = " AND ".join(f"c.{quote(down)} IS NOT NULL" for down, _ in pairs)
    return (
        f"SELECT c.* FROM {quote(child.table)} AS c WHERE {given}"
        f" AND NOT EXISTS (SELECT 1 FROM {quote(parent.table)} AS p WHERE {matches})"
    )


def duckdb_ddl(project: Project) -> tuple[list[str], list[Dropped]]:
    """The DuckDB statements and what they do not enforce; see `schemas.tables.duckdb_sql`."""
    from schemas.tables import duckdb_sql

    return duckdb_sql.duckdb_ddl(project)

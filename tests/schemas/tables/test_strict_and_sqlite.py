"""Differential: what the strict check accepts loads into SQLite with every rule on, and what SQLite refuses it has found."""

from __future__ import annotations

import io
from collections.abc import Callable

import apsw
from hypothesis import event, given, settings
from hypothesis import strategies as st

from schemas.csv_text import write
from schemas.sql_quoting import quote, quote_all
from schemas.tables import sql
from schemas.tables.project import read_project
from schemas.tables.rows import check_rows
from schemas.tables.strict import read_rows

PROJECT = read_project(
    b"""\
version: 1
tables:
  parent:
    columns: {id: {type: integer}, code: {type: text, nullable: false, unique: true}}
    primary_key: [id]
  child:
    columns:
      code: {type: text, max_length: 3}
      day: {type: date}
      parent_id: {type: integer, min: 0}
      parent_code: {type: text, enum: [a, b, c]}
      price: {type: "decimal(4,1)", max: "50.5"}
      at: {type: timestamp, min: "2024-01-01T00:00:00Z"}
      ok: {type: boolean, check: ok IS NOT 0 OR price IS NULL}
      up: {type: text}
      up_day: {type: date}
      size: {type: float}
      double: {type: integer, generated: parent_id * 2, max: 6}
    primary_key: [code, day]
    unique: {where: [parent_id, parent_code]}
    checks: {later: day > '2024-01-01' OR parent_id IS NULL, fine: size < 10}
    indexes: {few: {columns: [price], unique: true, where: parent_id > 1}}
relationships:
  by id: {from: {table: child, columns: [parent_id]}, to: {table: parent, columns: [id]}}
  by code: {from: {table: child, columns: [parent_code]}, to: {table: parent, columns: [code]}, deferrable: true}
  up: {from: {table: child, columns: [up, up_day]}, to: {table: child, columns: [code, day]}}
""",
    "project.yaml",
)


def cells(*values: str) -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), st.sampled_from(values))


def some(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from(values)


PARENTS = st.lists(st.tuples(some("0", "1", "2", "3", "4"), some("a", "b", "c", "d", "")), max_size=5)
CHILDREN = st.lists(
    st.tuples(
        some("x", "y", "z", "w"),
        some("2024-01-01", "2024-01-02", "2024-01-03"),
        cells("1", "2", "3", "4"),
        cells("a", "b", "c"),
        cells("1.0", "2.0"),
        cells("2024-01-01T00:00:00.5Z"),
        cells("true", "false"),
        cells("x", "y"),
        cells("2024-01-01", "2024-01-02"),
        cells("1.5", "9", "10.0"),
    ),
    max_size=4,
)


def load(files: dict[str, bytes]) -> str | None:
    """What SQLite says against the rows, None when it takes them all."""
    database = apsw.Connection(":memory:")
    database.execute("PRAGMA foreign_keys=ON; BEGIN; PRAGMA defer_foreign_keys=ON")
    for statement in sql.sqlite_ddl(PROJECT):
        database.execute(statement)
    try:
        for name, data in files.items():
            table = PROJECT.tables[name]
            kinds = [column.column_type for column in table.stored.values()]
            marks = ", ".join("?" * len(kinds))
            for row in read_rows(data, name, PROJECT, name):
                values = [None if cell is None else kind.to_sqlite(cell) for kind, cell in zip(kinds, row, strict=True)]
                database.execute(f"INSERT INTO {quote(name)} ({quote_all(list(table.stored))}) VALUES ({marks})", values)
        database.execute("COMMIT")
    except apsw.ConstraintError as refused:
        return str(refused)
    return None


def opener(data: bytes) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(data)


@settings(max_examples=50, deadline=None)
@given(PARENTS, CHILDREN)
def test_the_strict_check_and_sqlite_agree(parents: list[tuple[str | None, ...]], children: list[tuple[str | None, ...]]) -> None:
    files = {
        name: "".join(write(list(PROJECT.tables[name].stored), rows)).encode()
        for name, rows in (("parent", parents), ("child", children))
    }
    findings = check_rows(PROJECT, {name: opener(data) for name, data in files.items()}, lambda path: path)
    event("refused" if findings else "clean")
    refused = load(files)
    assert (refused is None) == (not any(finding.blocking for finding in findings)), (refused, findings)

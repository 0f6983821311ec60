"""The SQL of a project: what SQLite and DuckDB enforce, what DuckDB cannot, and names that want to be SQL."""

from __future__ import annotations

import apsw
import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sql_quoting import quote
from schemas.tables import duckdb_sql, sql
from schemas.tables.model import Project
from schemas.tables.project import read_project

CYCLE = b"""\
version: 1
tables:
  staff:
    columns: {id: {type: integer}, store_id: {type: integer, nullable: false}, boss: {type: integer}}
    primary_key: [id]
  store:
    columns: {id: {type: integer}, manager: {type: integer, nullable: false}, city: {type: text}}
    primary_key: [id]
    unique: {place: [city, manager]}
  visit:
    columns: {store_id: {type: integer}, day: {type: date}, who: {type: integer}, note: {type: json}}
    primary_key: [store_id, day]
    indexes: {once: {columns: [who], unique: true, where: who > 3}, by_note: {columns: [note]}}
    checks: {after: day > '2000-01-01', glob: "note GLOB '{*'"}
relationships:
  works in: {from: {table: staff, columns: [store_id]}, to: {table: store, columns: [id]}}
  managed: {from: {table: store, columns: [manager]}, to: {table: staff, columns: [id]}}
  boss: {from: {table: staff, columns: [boss]}, to: {table: staff, columns: [id]}, on_delete: set_null}
  visited: {from: {table: visit, columns: [store_id]}, to: {table: store, columns: [id]}}
  visitor: {from: {table: visit, columns: [who]}, to: {table: staff, columns: [id]}, on_delete: cascade, deferrable: true}
"""


def sqlite(project: Project) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA foreign_keys=ON")
    for statement in sql.sqlite_ddl(project):
        connection.execute(statement)
    return connection


def refused(connection: apsw.Connection, statement: str) -> str:
    with pytest.raises(apsw.ConstraintError) as caught:
        connection.execute(statement)
    return str(caught.value)


def test_keys_decide_between_rowid_and_without_rowid() -> None:
    connection = sqlite(read_project(CYCLE, "p"))
    listed = {row[1]: row[4] for row in connection.execute("PRAGMA table_list") if not row[1].startswith("sqlite_")}
    assert listed == {"staff": 0, "store": 0, "visit": 1}
    assert all(row[5] for row in connection.execute("PRAGMA table_list") if not row[1].startswith("sqlite_"))
    connection.execute("INSERT INTO store (id, manager) SELECT 7, 1 WHERE 0")
    assert '"id" INTEGER PRIMARY KEY' in sql.sqlite_table(read_project(CYCLE, "p"), "staff")


def test_rules_of_columns_are_named_constraints() -> None:
    project = read_project(
        b"""version: 1
tables:
  t:
    columns:
      id: {type: integer}
      n: {type: integer, min: 1, max: 5, enum: [0, 1, 2, 3, 9]}
      d: {type: "decimal(6,2)", min: "-1.50", max: 100}
      s: {type: text, min_length: 2, max_length: 3, check: "s <> 'abc'"}
      w: {type: timestamp, min: "2024-01-01T00:00:00.5Z"}
      b: {type: blob, max_length: 2}
      f: {type: float, default: 1.5}
      o: {type: boolean, default: true}
      g: {type: integer, generated: n * 2}
    primary_key: [id]
    checks: {sum: n + length(s) < 6}
""",
        "p",
    )
    connection = sqlite(project)
    for column, value, name in (
        ("n", "0", "n: min"),
        ("n", "6", "n: enum"),
        ("n", "9", "n: max"),
        ("d", "'-1.51'", "d: min"),
        ("d", "'100.01'", "d: max"),
        ("d", "'1.5'", "d: decimal(6,2)"),
        ("s", "'a'", "s: min_length"),
        ("s", "'abcd'", "s: max_length"),
        ("s", "'abc'", "s: check"),
        ("w", "'2024-01-01T00:00:00Z'", "w: min"),
        ("w", "'2024-01-01 00:00:00'", "w: timestamp"),
        ("b", "x'000000'", "b: max_length"),
        ("o", "2", "o: boolean"),
    ):
        assert refused(connection, f"INSERT INTO t (id, {column}) VALUES (1, {value})").endswith(name), (column, value)
    assert refused(connection, "INSERT INTO t (id, n, s) VALUES (1, 3, 'xyz')").endswith("sum")
    connection.execute("INSERT INTO t (id, n, d, w) VALUES (1, 3, '-1.50', '2024-01-01T00:00:00.5Z')")
    assert connection.execute("SELECT f, o, g FROM t").get == (1.5, 1, 6)


def test_case_31_composite_keys_with_a_null_part_are_accepted() -> None:
    project = read_project(
        b"""version: 1
tables:
  a: {columns: {x: {type: integer}, y: {type: integer}}, primary_key: [x, y]}
  b: {columns: {id: {type: integer}, x: {type: integer}, y: {type: integer}}, primary_key: [id], unique: {u: [x, y]}}
relationships:
  r: {from: {table: b, columns: [x, y]}, to: {table: a, columns: [x, y]}}
""",
        "p",
    )
    connection = sqlite(project)
    connection.execute("INSERT INTO b VALUES (1, 1, NULL), (2, 1, NULL)")
    assert "FOREIGN KEY" in refused(connection, "INSERT INTO b VALUES (3, 1, 1)")


def test_case_32_a_null_key_is_refused_by_every_table_that_is_not_a_rowid() -> None:
    connection = sqlite(read_project(CYCLE, "p"))
    assert "NOT NULL" in refused(connection, "INSERT INTO visit (store_id, day) VALUES (NULL, '2024-01-01')")


def test_deferrable_relationships_are_checked_at_commit() -> None:
    connection = sqlite(read_project(CYCLE, "p"))
    connection.execute("PRAGMA foreign_keys=OFF; INSERT INTO staff VALUES (1, 1, NULL); INSERT INTO store VALUES (1, 1, NULL)")
    connection.execute("PRAGMA foreign_keys=ON; BEGIN; INSERT INTO visit (store_id, day, who) VALUES (1, '2024-01-01', 2)")
    connection.execute("INSERT INTO staff VALUES (2, 1, NULL); COMMIT")
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_duckdb_is_honest_about_what_it_drops() -> None:
    statements, dropped = sql.duckdb_ddl(read_project(CYCLE, "p"))
    reasons = {(drop.kind, drop.name): drop for drop in dropped}
    assert set(reasons) == {
        ("foreign key", "works in"),
        ("foreign key", "managed"),
        ("foreign key", "boss"),
        ("foreign key", "visitor"),
        ("unique", "once"),
    }
    connection = duckdb.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.execute("INSERT INTO store VALUES (1, 9, 'x')")
    connection.execute("INSERT INTO staff VALUES (1, 1, 2), (2, 8, NULL)")
    connection.execute(
        "INSERT INTO visit VALUES (1, '2024-01-01', 5, '{}'), (1, '2024-01-02', 5, '{}'), (1, '2024-01-03', 2, '{}')"
    )
    broken = {name: len(connection.execute(str(drop.query)).fetchall()) for (_, name), drop in reasons.items()}
    assert broken == {"works in": 1, "managed": 1, "boss": 0, "visitor": 2, "once": 1}
    with pytest.raises(duckdb.ConstraintException):
        connection.execute("INSERT INTO visit VALUES (3, '2024-01-01', NULL, NULL)")
    with pytest.raises(duckdb.ConstraintException):
        connection.execute("INSERT INTO visit VALUES (1, '1999-01-01', NULL, NULL)")


def test_duckdb_takes_every_type_and_rule() -> None:
    project = read_project(
        b"""version: 1
tables:
  t:
    columns:
      a: {type: integer, min: 1, unique: true}
      b: {type: "decimal(6,2)", min: "-1.50", default: 2}
      c: {type: float, max: 1e6, default: 0.5}
      d: {type: text, pattern: "[a-z]+", min_length: 2, enum: [ab, "c'd"], default: ab}
      e: {type: boolean, default: false}
      f: {type: date, min: "2000-01-01", default: {sql: current_date}}
      g: {type: time, default: {sql: current_time}}
      h: {type: datetime, default: {sql: current_timestamp}}
      i: {type: timestamp, max: "2100-01-01T00:00:00Z", default: {sql: current_timestamp}}
      j: {type: uuid, default: 00000000-0000-0000-0000-000000000000}
      k: {type: json, default: "{}"}
      l: {type: enum, enum: [x, "y'z"], default: "y'z"}
      m: {type: blob, max_length: 3, default: AP8=}
      n: {type: integer, generated: a * 2}
      o: {type: text, generated: "substr(d, 1, 1)", unique: true}
    primary_key: [a]
    checks: {only in SQLite: "unixepoch(f) > 0"}
""",
        "p",
    )
    statements, dropped = sql.duckdb_ddl(project)
    assert [(drop.kind, drop.name) for drop in dropped] == [("unique", "o"), ("check", "only in SQLite")]
    connection = duckdb.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.execute("INSERT INTO t (a) VALUES (1)")
    row = connection.execute("SELECT b, d, l, m, n, o FROM t").fetchone()
    assert row is not None
    assert (str(row[0]), *row[1:]) == ("2.00", "ab", "y'z", b"\x00\xff", 2, "a")
    for column, value in (("d", "'AB'"), ("b", "-2"), ("m", "from_base64('AAAAAA==')"), ("f", "'1999-01-01'")):
        with pytest.raises(duckdb.Error):
            connection.execute(f"INSERT INTO t (a, {column}) VALUES (2, {value})")
    sqlite(project).execute("INSERT INTO t (a) VALUES (1)")


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="./\\"), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(
    NAMES, NAMES, st.sampled_from(["\"'; DROP TABLE keep; --", "select", 'a"b', "a b", "x;drop table y--", "]", "`", "%s", "{}"])
)
def test_fault_126_names_never_become_sql(table: str, column: str, hostile: str) -> None:
    names = [hostile, column]
    if column.casefold() == hostile.casefold():
        names = [hostile]
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE keep (x)")
    listed = ", ".join(f"{quote(name)} TEXT" for name in names)
    if table.casefold().startswith("sqlite_") or table.casefold() == "keep":
        return
    connection.execute(f"CREATE TABLE {quote(table)} ({listed})")
    assert [row[1] for row in connection.execute(f"PRAGMA table_info({quote(table)})")] == names
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").get == 2
    duck = duckdb.connect(":memory:")
    duck.execute(f"CREATE TABLE {quote(table)} ({listed})")
    assert [row[0] for row in duck.execute(f"DESCRIBE {quote(table)}").fetchall()] == names


def test_names_that_cannot_be_quoted() -> None:
    for name in ("", "a\0b"):
        with pytest.raises(ValueError, match="cannot be a name"):
            quote(name)


def test_creation_order_puts_parents_first() -> None:
    project = read_project(
        b"""version: 1
tables:
  child: {columns: {id: {type: integer}, p: {type: integer}}, primary_key: [id]}
  parent: {columns: {id: {type: integer}, g: {type: integer}}, primary_key: [id]}
  grand: {columns: {id: {type: integer}, n: {type: text}}, primary_key: [id]}
relationships:
  a: {from: {table: child, columns: [p]}, to: {table: parent, columns: [id]}}
  b: {from: {table: parent, columns: [g]}, to: {table: grand, columns: [id]}}
""",
        "p",
    )
    assert duckdb_sql.creation_order(project) == ["grand", "parent", "child"]

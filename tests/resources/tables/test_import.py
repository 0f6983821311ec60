"""Somebody's SQLite or DuckDB file becomes a project that says what it said, with notes on what it cannot say."""

from __future__ import annotations

import io
from pathlib import Path

import apsw
import duckdb
import pytest

from resources.tables.from_duckdb import import_duckdb
from resources.tables.from_sqlite import import_sqlite
from resources.tables.introspect import Imported
from schemas.errors import HeadwaterError
from schemas.tables import sql
from schemas.tables.model import Project
from schemas.tables.project import read_project, write_project
from schemas.tables.rows import check_rows

OWN = b"""\
version: 1
project: {name: own}
tables:
  select:
    file: data/select.csv
    columns:
      id: {type: integer}
      n: {type: integer, nullable: false, min: 1, max: 9, default: 3}
      d: {type: "decimal(6,2)", min: "-1.50"}
      s: {type: text, max_length: 5, unique: true, default: "it's"}
      k: {type: enum, enum: [a, "b'c"]}
      t: {type: timestamp, min: "2024-01-01T00:00:00Z", default: {sql: current_timestamp}}
      day: {type: date, check: day > '2000-01-01'}
      ok: {type: boolean, default: true}
      j: {type: json}
      b: {type: blob}
      f: {type: float}
      g: {type: integer, generated: n * 2}
    primary_key: [id]
    unique: {pair: [n, k]}
    checks: {"odd; name": "n <> 7"}
    indexes: {by f: {columns: [f, n]}, some: {columns: [j], unique: true, where: n > 2}}
  x;drop table y--:
    file: data/x.csv
    columns: {a"b: {type: text}, c: {type: date}, up: {type: integer}}
    primary_key: [a"b, c]
relationships:
  the parent:
    from: {table: x;drop table y--, columns: [up]}
    to: {table: select, columns: [id]}
    on_delete: cascade
    deferrable: true
views:
  v: {sql: 'SELECT id FROM "select"'}
"""
ROWS = (
    "INSERT INTO \"select\" (id, n, d, s, k, t, day, ok, j, b, f) VALUES (10, 3, '-1.50', 'a,b', 'a', '2024-01-01T00:00:00Z',"
    " '2024-02-29', 1, '{\"a\":1}', x'00ff', 0.1), (9, 4, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, 1e300)"
)


def sqlite_file(path: Path, *statements: str) -> Path:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


def sound(imported: Imported) -> None:
    """The project and its CSV files pass the strict check."""
    project = read_project(write_project(imported.project).encode(), "project.yaml")
    files = {name: b"".join(imported.csv(name)) for name in project.tables}
    openers = {name: (lambda data=data: io.BytesIO(data)) for name, data in files.items()}
    assert [finding for finding in check_rows(project, openers, lambda path: path) if finding.blocking] == []


def test_a_file_that_headwater_built_comes_back_as_it_was(tmp_path: Path) -> None:
    project = read_project(OWN, "p")
    path = sqlite_file(tmp_path / "own.db", *sql.sqlite_ddl(project), ROWS)
    imported = import_sqlite(path)
    assert imported.notes == []
    expected = project.model_dump(exclude_unset=True)
    made = imported.project.model_dump(exclude_unset=True)
    # Names of files are not in a database.
    expected["tables"]["select"].pop("file")
    expected["tables"]["x;drop table y--"].pop("file")
    made.pop("project")
    expected.pop("project")
    assert made == expected
    assert list(imported.rows("select")) == [
        ["9", "4", None, "", None, None, None, None, None, None, "1e300"],
        ["10", "3", "-1.50", "a,b", "a", "2024-01-01T00:00:00Z", "2024-02-29", "true", '{"a":1}', "AP8=", "0.1"],
    ]
    sound(imported)


def test_a_foreign_file_keeps_what_a_project_can_say(tmp_path: Path) -> None:
    path = sqlite_file(
        tmp_path / "film.db",
        "CREATE TABLE [Film Actor] (film INT NOT NULL /* one */, actor INT REFERENCES ACTOR ON DELETE CASCADE,"
        " PRIMARY KEY (film, actor))",
        "CREATE TABLE actor (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(40) COLLATE NOCASE, born DATETIME,"
        " rate NUMERIC(5,2) DEFAULT 1.5, active BOOLEAN DEFAULT 1, raw, note TEXT CHECK (length(note) < 5 -- short\n))",
        "CREATE INDEX by_name ON actor (name DESC)",
        "CREATE INDEX by_expression ON actor (lower(name))",
        "CREATE UNIQUE INDEX one ON actor (rate) WHERE active = 1",
        "CREATE TRIGGER t AFTER INSERT ON actor BEGIN SELECT 1; END",
        "CREATE VIEW names AS SELECT name FROM actor",
        "CREATE VIEW broken AS SELECT a FROM nowhere",
        "INSERT INTO actor VALUES (2, 'B', '2024-01-31 10:00:00', 2.5, 1, 'x', 'abc'), (1, 'A', NULL, 3, 0, 7, NULL)",
        'INSERT INTO "Film Actor" VALUES (1, 2)',
    )
    imported = import_sqlite(path)
    actor = imported.project.tables["actor"]
    assert {name: column.type for name, column in actor.columns.items()} == {
        "id": "integer",
        "name": "text",
        "born": "datetime",
        "rate": "decimal(5,2)",
        "active": "boolean",
        "raw": "text",
        "note": "text",
    }
    assert actor.columns["rate"].default == "1.50"
    assert actor.checks == {"check 1": "length(note) < 5"}
    assert actor.indexes["one"].where == "active = 1"
    assert list(imported.rows("actor"))[1] == ["2", "B", "2024-01-31T10:00:00", "2.50", "true", "x", "abc"]
    (relationship,) = imported.project.relationships.values()
    assert (relationship.parent.table, relationship.parent.columns, relationship.on_delete) == ("actor", ["id"], "cascade")
    assert imported.project.tables["Film Actor"].primary_key == ["film", "actor"]
    assert list(imported.project.views) == ["names"]
    notes = "\n".join(imported.notes)
    for said in ("collation of actor.name", "by_expression", "trigger 't'", "broken", "'by_name'"):
        assert said in notes
    sound(imported)


def test_names_a_project_cannot_hold_are_changed_and_said(tmp_path: Path) -> None:
    path = sqlite_file(
        tmp_path / "n.db", 'CREATE TABLE "a.b/c" ("x.y" TEXT, "É" TEXT, "é" TEXT)', 'INSERT INTO "a.b/c" VALUES (1, 2, 3)'
    )
    imported = import_sqlite(path)
    assert list(imported.project.tables) == ["a_b_c"]
    assert list(imported.project.tables["a_b_c"].columns) == ["x_y", "É", "é_2"]
    assert len(imported.notes) == 3
    assert list(imported.rows("a_b_c")) == [["1", "2", "3"]]


def test_what_text_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "n.db", "CREATE TABLE t (a TEXT, b TEXT)", "INSERT INTO t VALUES ('a' || char(0) || 'b', 1)")
    with pytest.raises(HeadwaterError, match="control character"):
        import_sqlite(path)
    path = sqlite_file(tmp_path / "m.db", "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (x'00', 1), ('text', 2)")
    with pytest.raises(HeadwaterError, match=r"t\.a"):
        import_sqlite(path)


def test_fault_124_files_that_are_no_sound_database(tmp_path: Path) -> None:
    (tmp_path / "noise.db").write_bytes(b"not a database" * 100)
    with pytest.raises(HeadwaterError, match="not a SQLite database"):
        import_sqlite(tmp_path / "noise.db")
    with pytest.raises(HeadwaterError):
        import_duckdb(tmp_path / "noise.db")
    with pytest.raises(HeadwaterError):
        import_sqlite(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    path = sqlite_file(
        tmp_path / "torn.db", "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "INSERT INTO t VALUES (1, zeroblob(90000))"
    )
    data = bytearray(path.read_bytes())
    data[5000:9000] = b"\xff" * 4000
    path.write_bytes(data)
    with pytest.raises(HeadwaterError):
        import_sqlite(path)


def test_broken_foreign_keys_are_left_out_and_said(tmp_path: Path) -> None:
    path = sqlite_file(
        tmp_path / "f.db",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, n TEXT)",
        "CREATE TABLE b (x TEXT REFERENCES a, y INT REFERENCES gone, z INT REFERENCES a (n))",
        "INSERT INTO b VALUES ('q', 1, 1)",
    )
    imported = import_sqlite(path)
    assert imported.project.relationships == {}
    assert len(imported.notes) == 3


def test_a_duckdb_file(tmp_path: Path) -> None:
    path = tmp_path / "d.duckdb"
    connection = duckdb.connect(str(path))
    connection.execute(
        "CREATE TABLE p (id BIGINT PRIMARY KEY, n VARCHAR NOT NULL DEFAULT 'x', e ENUM('a', 'b''c'), d DECIMAL(5,2), l INTEGER[],"
        " ts TIMESTAMPTZ, h HUGEINT, u UUID, b BLOB, day DATE, clock TIME, f DOUBLE, i INTERVAL, j JSON,"
        " g INTEGER GENERATED ALWAYS AS (id + 1), CHECK (length(n) <= 80), UNIQUE (n, e))"
    )
    connection.execute("CREATE TABLE c (id BIGINT, p_id BIGINT REFERENCES p (id))")
    connection.execute("CREATE INDEX by_p ON c (p_id)")
    connection.execute("CREATE VIEW v AS SELECT n FROM p")
    connection.execute(
        "INSERT INTO p VALUES (1, 'n', 'b''c', 1.5, [1, 2], '2024-01-01 01:00:00+01', 5, '00000000-0000-0000-0000-00000000000A',"
        " '\\x00\\xFF'::BLOB, '2024-02-29', '10:00:00.5', 0.1, INTERVAL 2 DAY, '{\"b\": 1, \"a\": 2}'),"
        " (2, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    connection.execute("INSERT INTO c VALUES (1, 1)")
    connection.close()
    imported = import_duckdb(path)
    table = imported.project.tables["p"]
    assert [column.type for column in table.stored.values()] == [
        *["integer", "text", "enum", "decimal(5,2)", "json", "timestamp", "integer", "uuid", "blob", "date", "time", "float"],
        *["text", "json"],
    ]
    first = [
        *["1", "n", "b'c", "1.50", "[1,2]", "2024-01-01T00:00:00Z", "5", "00000000-0000-0000-0000-00000000000a", "AP8="],
        *["2024-02-29", "10:00:00.5", "0.1", "2 days, 0:00:00", '{"a":2,"b":1}'],
    ]
    assert list(imported.rows("p")) == [first, ["2", "", *[None] * 12]]
    assert table.unique == {"n_e": ["n", "e"]}
    assert imported.project.tables["c"].indexes["by_p"].columns == ["p_id"]
    (relationship,) = imported.project.relationships.values()
    assert relationship.parent.columns == ["id"]
    assert imported.project.views["v"].sql == "SELECT n FROM p"
    sound(imported)


def test_a_duckdb_file_that_headwater_built(tmp_path: Path) -> None:
    project: Project = read_project(OWN, "p")
    path = tmp_path / "own.duckdb"
    connection = duckdb.connect(str(path))
    for statement in sql.duckdb_ddl(project)[0]:
        connection.execute(statement)
    connection.close()
    imported = import_duckdb(path)
    made = imported.project.tables["select"]
    assert {name: column.type for name, column in made.columns.items()} == {
        name: column.type for name, column in project.tables["select"].columns.items()
    }
    assert made.primary_key == ["id"]

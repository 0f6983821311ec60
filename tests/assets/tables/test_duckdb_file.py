"""`playground.duckdb`: equal content for equal text, and every rule verified, also those DuckDB cannot hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.tables import duckdb_file
from assets.tables.recipes import PLAYGROUND_DUCKDB
from schemas.errors import InvalidText, Refused
from tests.assets.tables.projects import build, link, table, write_project

TYPES = {
    "id": "integer", "f": "float", "t": "text", "d": "decimal(6,2)", "b": "boolean", "day": "date", "at": "time",
    "when": "timestamp", "naive": "datetime", "u": "uuid", "j": "json",
    "e": {"type": "enum", "enum": ["a b", "c,d"]}, "x": "blob",
}  # fmt: skip
ROW = '1,0.1,"a\r\n""b""",12.30,true,2024-02-29,23:59:59.5,2024-01-01T00:00:00Z,2024-01-01T00:00:00.25,'
ROW += '123e4567-e89b-12d3-a456-426614174000,"{""a"":1}","c,d",AP8='
TYPED = "{}\n{}\n2{}\n".format(",".join(TYPES), ROW, "," * 12)


def made(tmp_path: Path, *project: Any, name: str = "one", **top: Any) -> tuple[Path, Any]:
    return build(PLAYGROUND_DUCKDB, write_project(tmp_path / name, *project, **top), tmp_path / f"{name}-work")


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = duckdb_file.connect(path, read_only=True)
    try:
        return connection.sql(sql).fetchall()
    finally:
        connection.close()


def test_every_type_arrives_as_itself(tmp_path: Path) -> None:
    path, _ = made(tmp_path, {"t": table(TYPES)}, {"t": TYPED})
    types = [row[1] for row in query(path, "DESCRIBE t")]
    assert types == [
        *("BIGINT", "DOUBLE", "VARCHAR", "DECIMAL(6,2)", "BOOLEAN", "DATE", "TIME", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
        *("UUID", "JSON", "ENUM('a b', 'c,d')", "BLOB"),
    ]
    values = query(path, "SELECT columns(*)::VARCHAR FROM t ORDER BY id")
    assert values[0] == (
        *("1", "0.1", 'a\r\n"b"', "12.30", "true", "2024-02-29", "23:59:59.5", "2024-01-01 00:00:00+00"),
        *("2024-01-01 00:00:00.25", "123e4567-e89b-12d3-a456-426614174000", '{"a":1}', "c,d", "\\x00\\xFF"),
    )
    assert values[1][1:] == (None,) * 12


def test_two_builds_hold_equal_content_and_the_summary_says_which(tmp_path: Path) -> None:
    one, first = made(tmp_path, {"t": table(TYPES)}, {"t": TYPED})
    two, second = made(
        tmp_path, {"t": table(TYPES)}, {"t": TYPED.replace("\n2" + "," * 12, "") + "2" + "," * 12 + "\n"}, name="two"
    )
    assert first.digest == second.digest == duckdb_file.content_digest(one) == duckdb_file.content_digest(two)


@pytest.mark.parametrize(
    "change", ["UPDATE t SET f = 0.2", "UPDATE t SET t = NULL", "DELETE FROM t WHERE id = 2",
               "ALTER TABLE t ADD COLUMN more TEXT",
               "CREATE VIEW v AS SELECT 1", "UPDATE t SET x = '\\x00\\xFE'::BLOB WHERE id = 1", "CREATE TABLE other (a INT)"]
)  # fmt: skip
def test_content_digest_sees_every_change(tmp_path: Path, change: str) -> None:
    path, summary = made(tmp_path, {"t": table(TYPES)}, {"t": TYPED})
    connection = duckdb.connect(str(path))
    connection.execute(change)
    connection.close()
    assert duckdb_file.content_digest(path) != summary.digest


@pytest.mark.parametrize("shape", ["circle", "self", "cascade", "plain"])
def test_orphans_are_refused_whether_duckdb_can_hold_the_key_or_not(tmp_path: Path, shape: str) -> None:
    tables = {name: table({"id": "integer", "other": "integer"}) for name in "ab"}
    links = {
        "circle": {"r": link("a", "other", "b"), "s": link("b", "other", "a")},
        "self": {"r": link("a", "other", "a")},
        "cascade": {"r": link("a", "other", "b", on_delete="cascade")},
        "plain": {"r": link("a", "other", "b")},
    }[shape]
    good = {"a": "id,other\n1,1\n2,\n", "b": "id,other\n1,1\n"}
    path, summary = made(tmp_path, tables, good, links)
    assert query(path, "SELECT count(*) FROM a") == [(2,)]
    assert summary.counts["not held by DuckDB"] == {"circle": 2, "self": 1, "cascade": 1, "plain": 0}[shape]
    with pytest.raises(InvalidText) as caught:
        made(tmp_path, tables, {**good, "a": "id,other\n1,1\n2,9\n"}, links, name="bad")
    assert [(found.path, found.line, found.column) for found in caught.value.findings] == [("data/a.csv", 3, 3)]


def test_checks_that_duckdb_cannot_read_are_proven_by_sqlite(tmp_path: Path) -> None:
    tables = {"t": table({"id": "integer", "a": "text"}, checks={"globbed": "a GLOB 'x*' AND ifnull(a, '') <> char(120, 120)"})}
    _, summary = made(tmp_path, tables, {"t": "id,a\n1,xy\n"})
    verified = {row[2]: row[4] for row in summary.tables["not held by DuckDB"].rows}
    assert verified.get("globbed", "SQLite") == "SQLite"
    with pytest.raises(InvalidText):
        made(tmp_path, tables, {"t": "id,a\n1,y\n"}, name="bad")


def test_a_wrong_cell_is_reported_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidText) as caught:
        made(tmp_path, {"t": table({"id": "integer", "n": "integer"})}, {"t": "id,n\n1,2\n2,0x10\n"})
    assert [(found.line, found.column) for found in caught.value.findings] == [(3, 3)]


def test_nothing_outside_can_be_reached(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    connection = duckdb_file.connect(None)
    for statement in (
        f"SELECT * FROM '{secret}'",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    connection.close()


def test_a_stale_log_is_worked_in_and_removed(tmp_path: Path) -> None:
    old = tmp_path / "playground.duckdb"
    script = f"""
import duckdb, os
c = duckdb.connect({str(old)!r}); c.execute("CREATE TABLE old (a INT)"); c.execute("CHECKPOINT")
c.execute("SET wal_autocheckpoint = '1TB'"); c.execute("INSERT INTO old VALUES (7)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    log = tmp_path / "playground.duckdb.wal"
    assert log.stat().st_size > 0
    duckdb_file.free_the_way(old)
    assert not log.exists()
    assert query(old, "SELECT a FROM old") == [(7,)]


def test_a_program_that_has_it_open_is_named(tmp_path: Path) -> None:
    old = tmp_path / "playground.duckdb"
    script = f"import duckdb, sys; c = duckdb.connect({str(old)!r}); print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    try:
        with pytest.raises(Refused) as caught:
            duckdb_file.free_the_way(old)
        assert caught.value.rule == "duckdb-busy"
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_what_is_no_file_or_no_database(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused):
        duckdb_file.free_the_way(tmp_path / "folder")
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"random " * 100)
    broken.with_name("broken.duckdb.wal").write_bytes(b"log")
    duckdb_file.free_the_way(broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.duckdb", "broken.duckdb.bak.wal", "folder"]
    broken.with_name("broken.duckdb.wal").write_bytes(b"another log")
    duckdb_file.free_the_way(broken)
    assert broken.with_name("broken.duckdb.bak.wal").read_bytes() == b"log"
    assert broken.with_name("broken.duckdb.bak.wal-2").read_bytes() == b"another log"

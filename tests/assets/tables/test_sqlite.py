"""`playground.db`: every shape of keys loads, the same text gives the same bytes, and nothing that breaks a rule gets in."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pyarrow as pa
import pytest

from assets.tables import columns, dump, sqlite
from assets.tables.recipes import PLAYGROUND_DB
from schemas.errors import HeadwaterError, InvalidText, Refused
from tests.assets.tables.projects import build, link, table, write_project

CUSTOMER = table({"id": "integer", "name": "text"})
ORDER = table({"id": "integer", "note": "text", "customer_id": "integer"})
SHOP = {"order": ORDER, "customer": CUSTOMER}
SHOP_ROWS = {"customer": 'id,name\n1,Ada\n2,\n3,""\n', "order": "id,note,customer_id\n10,a,1\n11,b,\n12,c,3\n"}
SHOP_LINKS = {"order_customer": link("order", "customer_id", "customer")}


def made(tmp_path: Path, *project: Any, name: str = "one", **top: Any) -> Path:
    """The database of a project with these tables, rows and relationships."""
    return build(PLAYGROUND_DB, write_project(tmp_path / name, *project, **top), tmp_path / f"{name}-work")[0]


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(tmp_path: Path, *project: Any) -> list[str]:
    """The blocking findings of a project that must not build, as `path:line:column message`."""
    with pytest.raises(InvalidText) as caught:
        made(tmp_path, *project)
    assert not list((tmp_path / "one-work").rglob("staging.db*"))
    return [f"{found.path}:{found.line}:{found.column} {found.message}" for found in caught.value.findings if found.blocking]


def test_null_and_the_empty_string_stay_different(tmp_path: Path) -> None:
    path = made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)
    assert query(path, "SELECT id, name FROM customer") == [(1, "Ada"), (2, None), (3, "")]


def test_every_type_arrives_as_its_storage_class(tmp_path: Path) -> None:
    types = {
        "id": "integer", "f": "float", "t": "text", "d": "decimal(6,2)", "b": "boolean", "day": "date", "at": "time",
        "when": "timestamp", "u": "uuid", "j": "json", "e": {"type": "enum", "enum": ["a b", "c,d"]}, "x": "blob",
    }  # fmt: skip
    header = ",".join(types)
    row = '1,0.1,"a\r\n""b""",12.30,true,2024-02-29,23:59:59.5,2024-01-01T00:00:00Z,'
    row += '123e4567-e89b-12d3-a456-426614174000,"{""a"":1}","c,d",AP8='
    path = made(tmp_path, {"t": table(types)}, {"t": f"{header}\n{row}\n2{',' * 11}\n"})
    first, second = query(path, "SELECT * FROM t")
    assert first == (
        *(1, 0.1, 'a\r\n"b"', "12.30", 1, "2024-02-29", "23:59:59.5", "2024-01-01T00:00:00Z"),
        *("123e4567-e89b-12d3-a456-426614174000", '{"a":1}', "c,d", b"\x00\xff"),
    )
    assert second[1:] == (None,) * 11


def test_case_18_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    assert sha(made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)) == sha(made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS, name="two"))


@pytest.mark.parametrize("key", ["integer", "text", "decimal(4,1)", "boolean", "date"])
def test_case_19_and_22_shuffled_rows_give_the_same_bytes(tmp_path: Path, key: str) -> None:
    keys = {
        "integer": ["-3", "2", "10"], "text": ["A", "a", "é"], "decimal(4,1)": ["-1.5", "0.0", "10.0"],
        "boolean": ["false", "true"], "date": ["2020-01-01", "2020-01-02"],
    }[key]  # fmt: skip
    tables = {"t": table({"id": key, "v": {"type": "text", "unique": True}}, indexes={"by_v": {"columns": ["v"]}})}
    digests = set()
    for number, order in enumerate(itertools.permutations(keys)):
        rows = "".join(f"{value},v{value}\n" for value in order)
        digests.add(sha(made(tmp_path, tables, {"t": "id,v\n" + rows}, name=f"p{number}")))
    assert len(digests) == 1


def test_a_table_whose_order_breaks_late_is_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block is in order, so rows have been inserted before the order turns out to be another."""
    from assets.tables import grammar

    monkeypatch.setattr(grammar, "BLOCK_SIZE", 64)
    rows = "".join(f"{number},x\n" for number in [*range(1, 60), 0])
    path = made(tmp_path, {"t": table({"id": "integer", "v": "text"})}, {"t": "id,v\n" + rows})
    assert [row[0] for row in query(path, "SELECT id FROM t")] == list(range(60))


def test_case_20_line_ends_do_not_matter(tmp_path: Path) -> None:
    crlf = {name: text.replace("\n", "\r\n") for name, text in SHOP_ROWS.items()}
    assert sha(made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)) == sha(made(tmp_path, SHOP, crlf, SHOP_LINKS, name="two"))


def test_case_21_the_order_of_tables_does_not_matter(tmp_path: Path) -> None:
    other = dict(reversed(SHOP.items()))
    one, two = made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS), made(tmp_path, other, SHOP_ROWS, SHOP_LINKS, name="two")
    assert dump.content_digest(one) == dump.content_digest(two)


def test_content_digest_sees_storage_classes_and_schema_but_not_layout(tmp_path: Path) -> None:
    def written(*statements: str) -> str:
        path = tmp_path / "x.db"
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return dump.content_digest(path)

    create = "CREATE TABLE t (a, b)"
    plain = written(create, "INSERT INTO t VALUES (1, 2), (3, 4)")
    assert plain == written(
        "PRAGMA page_size=8192",
        "CREATE TABLE t (a,  -- note\n  b)".replace("(a,  ", "(a, "),
        "INSERT INTO t VALUES (3, 4), (1, 2)",
    )
    assert plain == written(create, "INSERT INTO t VALUES (9, 9)", "DELETE FROM t", "INSERT INTO t VALUES (1, 2), (3, 4)")
    assert plain != written(create, "INSERT INTO t VALUES (1, 2.0), (3, 4)")
    assert plain != written(create, "INSERT INTO t VALUES ('1', 2), (3, 4)")
    assert plain != written(create, "INSERT INTO t VALUES (1, 2), (3, 4), (3, 4)")
    assert plain != written("CREATE TABLE t (a, b DEFAULT 'x  y')", "INSERT INTO t VALUES (1, 2), (3, 4)")
    assert written("CREATE TABLE t (a DEFAULT 'x  y')") != written("CREATE TABLE t (a DEFAULT 'x y')")


def test_both_ways_of_hashing_rows_agree(tmp_path: Path) -> None:
    path = made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)
    connection = dump.open_read_only(path)
    in_python = dump.table_digest(connection, "customer", False)
    assert in_python == dump.table_digest(connection, "customer")
    assert in_python != dump.table_digest(connection, "order")
    assert in_python.endswith(":3")
    connection.close()


def test_case_23_child_before_parent(tmp_path: Path) -> None:
    path = made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)
    assert list(SHOP) == ["order", "customer"]
    assert query(path, "PRAGMA foreign_key_check") == []
    assert query(path, 'SELECT count(*) FROM "order"') == [(3,)]


def test_case_24_two_tables_that_need_each_other(tmp_path: Path) -> None:
    needed = {"type": "integer", "nullable": False}
    tables = {"staff": table({"id": "integer", "store": needed}), "store": table({"id": "integer", "boss": needed})}
    links = {"a": link("staff", "store", "store"), "b": link("store", "boss", "staff")}
    path = made(tmp_path, tables, {"staff": "id,store\n1,1\n2,1\n", "store": "id,boss\n1,2\n"}, links)
    assert query(path, "PRAGMA foreign_key_check") == []


def test_case_25_self_reference_before_its_parent(tmp_path: Path) -> None:
    tables = {"node": table({"id": "integer", "up": "integer"})}
    path = made(tmp_path, tables, {"node": "id,up\n1,3\n2,1\n3,\n"}, {"up": link("node", "up", "node")})
    assert query(path, "SELECT count(*) FROM node a JOIN node b ON a.up = b.id") == [(2,)]


def test_case_26_a_circle_of_three(tmp_path: Path) -> None:
    tables = {name: table({"id": "integer", "next": {"type": "integer", "nullable": False}}) for name in "abc"}
    links = {f"{one}{two}": link(one, "next", two) for one, two in [("a", "b"), ("b", "c"), ("c", "a")]}
    path = made(tmp_path, tables, dict.fromkeys("abc", "id,next\n1,1\n"), links)
    assert query(path, "PRAGMA foreign_key_check") == []


def test_case_27_every_orphan_is_named(tmp_path: Path) -> None:
    rows = {**SHOP_ROWS, "order": 'id,note,customer_id\n10,"two\nlines",1\n11,b,99\n12,c,98\n'}
    found = refused(tmp_path, SHOP, rows, SHOP_LINKS)
    assert found == ["data/order.csv:4:6 customer_id=99: no customer.id", "data/order.csv:5:6 customer_id=98: no customer.id"]


def test_case_31_a_composite_foreign_key_with_a_null_part(tmp_path: Path) -> None:
    tables = {
        "p": table({"a": "integer", "b": "integer"}, key=("a", "b")),
        "c": table({"id": "integer", "a": "integer", "b": "integer"}),
    }
    path = made(
        tmp_path, tables, {"p": "a,b\n1,1\n", "c": "id,a,b\n1,1,1\n2,1,\n3,,9\n"}, {"r": link("c", ["a", "b"], "p", ["a", "b"])}
    )
    assert query(path, "SELECT * FROM c") == [(1, 1, 1), (2, 1, None), (3, None, 9)]


@pytest.mark.parametrize("key", ["integer", "text"])
def test_case_32_null_in_a_primary_key(tmp_path: Path, key: str) -> None:
    found = refused(tmp_path, {"t": table({"id": key, "v": "text"})}, {"t": "id,v\n1,a\n,b\n"})
    assert found == ["data/t.csv:3:1 id is in the primary key and cannot be empty"]


def test_case_33_a_duplicate_key_names_both_lines(tmp_path: Path) -> None:
    found = refused(tmp_path, {"t": table({"id": "integer", "v": "text"})}, {"t": "id,v\n1,a\n2,b\n1,c\n"})
    assert len(found) == 1
    assert found[0].startswith("data/t.csv:4:1 ")
    assert "line 2" in found[0]


def test_case_34_a_duplicate_unique_set_with_a_null_part(tmp_path: Path) -> None:
    tables = {"t": table({"id": "integer", "a": "integer", "b": "integer"}, unique={"ab": ["a", "b"]})}
    path = made(tmp_path, tables, {"t": "id,a,b\n1,1,\n2,1,\n"})
    assert query(path, "SELECT count(*) FROM t") == [(2,)]
    assert refused(tmp_path, tables, {"t": "id,a,b\n1,1,2\n2,1,2\n"})


def test_case_35_the_rules_are_really_on_in_the_finished_file(tmp_path: Path) -> None:
    """The pragma issued inside a transaction would have been ignored: a writer with foreign keys on is refused."""
    tables = {**SHOP, "customer": table({"id": "integer", "name": "text"}, checks={"named": "name <> 'Bob'"})}
    path = made(tmp_path, tables, SHOP_ROWS, SHOP_LINKS)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA foreign_keys=ON")
    for statement in (
        'INSERT INTO "order" VALUES (99, NULL, 99)',
        "INSERT INTO customer VALUES (9, 'Bob')",
        "INSERT INTO customer VALUES (1, 'again')",
        "INSERT INTO customer VALUES ('x', 'text as a key')",
    ):
        with pytest.raises((apsw.ConstraintError, apsw.MismatchError)):
            connection.execute(statement)
    connection.close()


def test_case_37_a_false_check_names_the_row(tmp_path: Path) -> None:
    tables = {"t": table({"id": "integer", "a": "integer", "b": "integer"}, checks={"ordered": "a <= b"})}
    found = refused(tmp_path, tables, {"t": "id,a,b\n1,1,2\n2,5,4\n"})
    assert len(found) == 1
    assert found[0].startswith("data/t.csv:3:")
    assert "ordered" in found[0]
    assert "a=5, b=4" in found[0]


def test_case_41_an_orphan_in_a_table_without_rowid(tmp_path: Path) -> None:
    tables = {"p": CUSTOMER, "c": table({"code": "text", "p": "integer"}, key=("code",))}
    found = refused(tmp_path, tables, {"p": "id,name\n1,x\n", "c": "code,p\nb,1\na,7\n"}, {"r": link("c", "p", "p")})
    assert found == ["data/c.csv:3:3 p=7: no p.id"]


def test_case_16_a_table_without_a_file_is_empty(tmp_path: Path) -> None:
    assert query(made(tmp_path, SHOP, {}, SHOP_LINKS), "SELECT count(*) FROM customer") == [(0,)]


def test_case_76_hostile_names(tmp_path: Path) -> None:
    names = ["select", 'a"b', "x;drop table y--", "a b", "é"]
    tables = {
        name: table(
            {"from": "integer", 'gr"oup': "text", "x y": "integer"},
            key=("from",),
            file=f"data/f{number}.csv",
            indexes={"i x": {"columns": ['gr"oup']}},
        )
        for number, name in enumerate(names)
    }
    links = {f"r {number}": link(name, "x y", names[number - 1], "from") for number, name in enumerate(names)}
    rows = {f"f{number}": 'from,"gr""oup",x y\n1,v,1\n' for number in range(len(names))}
    path = made(tmp_path, tables, rows, links)
    for name in names:
        quoted = name.replace('"', '""')
        assert query(path, f'SELECT "from", "gr""oup", "x y" FROM "{quoted}"') == [(1, "v", 1)]
    assert query(path, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'") == [(len(names),)]


def test_generated_columns_views_and_partial_indexes(tmp_path: Path) -> None:
    tables = {
        "t": table(
            {"id": "integer", "a": "integer", "twice": {"type": "integer", "generated": "a * 2"}},
            indexes={"some": {"columns": ["a"], "unique": True, "where": "a > 1"}},
        )
    }
    path = made(tmp_path, tables, {"t": "id,a\n1,1\n2,1\n3,2\n"}, views={"v": {"sql": "SELECT sum(twice) AS s FROM t"}})
    assert query(path, "SELECT s FROM v") == [(8,)]
    assert refused(tmp_path, tables, {"t": "id,a\n1,2\n2,2\n"})


def test_case_95_a_thousand_columns(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(1000)]
    tables = {
        "wide": table({"id": "integer", **{name: "text" if number % 2 else "integer" for number, name in enumerate(names)}})
    }
    row = ",".join("x" if number % 2 else "1" for number in range(1000))
    path = made(tmp_path, tables, {"wide": "id," + ",".join(names) + "\n" + "".join(f"{number},{row}\n" for number in range(20))})
    assert query(path, "SELECT count(*), max(c999), max(c998) FROM wide") == [(20, "x", 1)]


def test_case_94_two_hundred_tables(tmp_path: Path) -> None:
    tables = {f"t{number}": table({"id": "integer", "v": "text"}) for number in range(200)}
    rows = dict.fromkeys(tables, "id,v\n" + "".join(f"{row},v\n" for row in range(10)))
    links = {f"r{number}": link(f"t{number}", "id", f"t{number - 1}") for number in range(1, 200)}
    project = write_project(tmp_path / "one", tables, rows, links)
    import time

    started = time.perf_counter()
    build(PLAYGROUND_DB, project, tmp_path / "work")
    assert time.perf_counter() - started < 10  # 2 s on a quiet machine


# what lies where the file goes


def wal_database(path: Path, *, survive: bool) -> None:
    """A database in WAL mode whose last rows are only in the log, its writer killed."""
    script = f"""
import os, sqlite3
c = sqlite3.connect({str(path)!r}, isolation_level=None)
c.execute("PRAGMA journal_mode=WAL"); c.execute("PRAGMA wal_autocheckpoint=0")
c.execute("CREATE TABLE old (a)")
c.execute("INSERT INTO old VALUES (1)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert path.with_name(path.name + "-wal").stat().st_size > 0 or not survive


def test_case_8_a_stale_write_ahead_log_is_worked_in_and_never_replayed_into_the_new_file(tmp_path: Path) -> None:
    old = tmp_path / "playground.db"
    wal_database(old, survive=True)
    sqlite.free_the_way(old)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["playground.db"]
    assert query(old, "SELECT a FROM old") == [(1,)]  # what is kept or rescued is complete
    made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS).replace(old)
    assert query(old, "SELECT count(*) FROM customer") == [(3,)]


def test_case_9_a_stale_hot_journal(tmp_path: Path) -> None:
    old = tmp_path / "playground.db"
    script = f"""
import os, sqlite3
c = sqlite3.connect({str(old)!r}, isolation_level=None)
c.execute("CREATE TABLE old (a)")
c.execute("INSERT INTO old SELECT value FROM json_each('[' || replace(hex(zeroblob(9999)), '00', '7,') || '7]')")
c.execute("PRAGMA cache_size=2"); c.execute("PRAGMA cache_spill=1"); c.execute("BEGIN"); c.execute("UPDATE old SET a = 8")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "playground.db-journal").exists()
    sqlite.free_the_way(old)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["playground.db"]
    assert query(old, "SELECT DISTINCT a FROM old") == [(7,)]


@contextmanager
def another_program(path: Path, *statements: str) -> Iterator[None]:
    """A process that has run these statements and keeps the database open; SQLite's locks are between processes."""
    script = f"""
import sqlite3, sys
c = sqlite3.connect({str(path)!r}, isolation_level=None)
for statement in {statements!r}:
    c.execute(statement).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("transaction", ["SELECT 1", "BEGIN"])
def test_case_10_a_reader_in_wal_mode_is_named(tmp_path: Path, transaction: str) -> None:
    old = tmp_path / "playground.db"
    statements = ("PRAGMA journal_mode=WAL", "CREATE TABLE old (a)", transaction, "SELECT * FROM old")
    with another_program(old, *statements):
        before = old.read_bytes()
        with pytest.raises(Refused) as caught:
            sqlite.free_the_way(old)
        assert caught.value.rule == "sqlite-busy"
        assert old.read_bytes() == before
    sqlite.free_the_way(old)
    assert query(old, "SELECT count(*) FROM old") == [(0,)]


def test_a_writer_in_a_transaction_is_named(tmp_path: Path) -> None:
    old = tmp_path / "playground.db"
    with another_program(old, "CREATE TABLE old (a)", "BEGIN IMMEDIATE"), pytest.raises(Refused, match="another program"):
        sqlite.free_the_way(old)


def test_case_13_what_lies_beside_a_corrupt_file_is_kept_but_never_replayed(tmp_path: Path) -> None:
    old = tmp_path / "playground.db"
    old.write_bytes(b"random bytes " * 1000)
    (tmp_path / "playground.db-wal").write_bytes(b"somebody's rows")
    sqlite.free_the_way(old)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["playground.db", "playground.db.bak-wal"]
    with pytest.raises(apsw.Error):
        dump.content_digest(old)


def test_case_14_a_folder_a_link_and_an_empty_file(tmp_path: Path) -> None:
    folder, link_path, empty = tmp_path / "folder.db", tmp_path / "link.db", tmp_path / "empty.db"
    folder.mkdir()
    link_path.symlink_to(tmp_path / "elsewhere.db")
    empty.touch()
    for path in (folder, link_path):
        with pytest.raises(Refused):
            sqlite.free_the_way(path)
    sqlite.free_the_way(empty)
    assert dump.content_digest(empty) == dump.content_digest(empty, immutable=True)


def test_journals_without_a_database_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "playground.db-wal").write_bytes(b"rows")
    (tmp_path / "playground.db-shm").write_bytes(b"index")
    sqlite.free_the_way(tmp_path / "playground.db")
    assert [file.name for file in tmp_path.iterdir()] == ["playground.db.bak-wal"]
    (tmp_path / "playground.db-wal").write_bytes(b"other rows")
    sqlite.free_the_way(tmp_path / "playground.db")
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert kept == {"playground.db.bak-wal": b"rows", "playground.db.bak-wal-2": b"other rows"}


def test_case_11_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Files cannot grow past 200 kB in a process of its own; the error is about the disk, not about the text."""
    rows = "id,note,customer_id\n" + "".join(f"{number},some words to fill the page {number},\n" for number in range(30_000))
    write_project(tmp_path / "p", SHOP, {"order": rows}, SHOP_LINKS)
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from tests.assets.tables.projects import build
from assets.tables.recipes import PLAYGROUND_DB
from schemas.errors import HeadwaterError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    build(PLAYGROUND_DB, Path({str(tmp_path)!r}) / "p", Path({str(tmp_path)!r}) / "w")
except HeadwaterError as problem:
    print(problem.rule)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "sqlite-cannot-write\n"
    assert not list((tmp_path / "w").rglob("staging.db*"))


# scale


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak memory of one program")
def test_case_93_a_million_rows_in_bounded_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak memory is what is measured: by the kernel's mark for this program, because the one of
    `getrusage` begins with what the process that started it had."""
    script = f"""
import re, sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[3] / "benchmarks")]!r}
from pathlib import Path
from tests.assets.tables.projects import build
from tables_load import write_project
from assets.tables.recipes import PLAYGROUND_DB
project = write_project(Path({str(tmp_path)!r}) / "p", rows=1_000_000)
start = time.perf_counter()
path, summary = build(PLAYGROUND_DB, project, Path({str(tmp_path)!r}) / "w")
peak = int(re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace(chr(9), " "))[1])
print(time.perf_counter() - start, peak // 1024, summary.counts["rows"])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    seconds, peak, rows = (float(word) for word in done.stdout.split())
    assert rows == 1_010_000
    assert peak < 500
    assert seconds < 30  # under 10 s on a quiet machine


@pytest.mark.slow
def test_case_96_a_million_orphans(tmp_path: Path) -> None:
    rows = "id,note,customer_id\n" + "".join(f"{number},,{number + 5}\n" for number in range(1_000_000))
    found = refused(tmp_path, SHOP, {"customer": "id,name\n1,x\n", "order": rows}, SHOP_LINKS)
    assert len(found) == 101
    assert any("1,000,000" in line for line in found)


def test_text_keys_compare_by_bytes() -> None:
    """What Arrow calls ascending must be what SQLite calls ascending."""
    words = sorted(["a", "A", "é", "z", "", "aa", "\U0001f600", "\uffff"], key=lambda word: word.encode())
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (w TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.executemany("INSERT INTO t VALUES (?)", [(word,) for word in reversed(words)])
    assert [row[0] for row in connection.execute("SELECT w FROM t")] == words
    batch = pa.record_batch({"w": words})
    assert list(columns.in_key_order([batch], ["w"])) == [batch]


def test_rows_that_got_lost_are_noticed(tmp_path: Path) -> None:
    path = made(tmp_path, SHOP, SHOP_ROWS, SHOP_LINKS)
    sqlite.verify(path, {"customer": 3, "order": 3})
    with pytest.raises(HeadwaterError) as caught:
        sqlite.verify(path, {"customer": 3, "order": 4})
    assert caught.value.rule == "sqlite-row-count"


def test_how_the_rows_came_into_the_staging_file_leaves_no_trace(tmp_path: Path) -> None:
    """Rows inserted backwards, in many transactions, among others that were deleted: written out, the bytes are the same."""
    written = []
    for name, order in (("one", range(500)), ("two", range(499, -1, -1))):
        staging, target = tmp_path / f"{name}-staging.db", tmp_path / f"{name}.db"
        connection = apsw.Connection(str(staging))
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT) STRICT")
        for number in order:
            connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 40))
            if name == "two":
                connection.execute("INSERT INTO t VALUES (?, 'gone')", (number + 1000,))
        connection.execute("DELETE FROM t WHERE id >= 1000")
        connection.close()
        sqlite._write_out(staging, target)
        written.append(sha(target))
    assert written[0] == written[1]


def test_rows_out_of_order_are_told_from_rows_in_order() -> None:
    def batches(*numbers: list[int]) -> list[pa.RecordBatch]:
        return [pa.record_batch({"id": pa.array(listed, pa.int64())}) for listed in numbers]

    for good in ([[1, 2], [3]], [[], [1]], [[1], [], [2]]):
        assert list(columns.in_key_order(batches(*good), ["id"])) == batches(*good)
    for bad in ([[2, 1]], [[1, 2], [2]], [[5], [], [4]], [[1, 1]]):
        with pytest.raises(columns.OutOfOrder):
            list(columns.in_key_order(batches(*bad), ["id"]))

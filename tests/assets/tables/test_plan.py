"""What two versions of a project differ in, and what a rebuild of the database would change."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.engine.model import Difference
from assets.tables.compare import Comparison, compare_texts
from assets.tables.live import Unreadable, compare_databases, opened, scratch_database
from assets.tables.plan import plan
from assets.tables.versions import Version, from_files
from resources.tables.records import write_record
from schemas.errors import InvalidText
from schemas.oid import file_oid

PROJECT = """\
version: 1
tables:
  customer:
    columns:
      id: {type: integer}
      name: {type: text}
      score: {type: float}
    primary_key: [id]
  order:
    columns:
      id: {type: integer}
      customer: {type: integer}
      paid: {type: boolean}
      "on": {type: date}
    primary_key: [id]
  note:
    columns:
      word: {type: text}
      weight: {type: 'decimal(6,2)'}
relationships:
  order_customer:
    from: {table: order, columns: [customer]}
    to: {table: customer, columns: [id]}
    on_delete: cascade
"""
FILES = {
    "project.yaml": PROJECT.encode(),
    "data/customer.csv": b'id,name,score\n1,Ann,1.5\n2,"Bo, Bo",\n3,"",0.1\n10,Cy,-2e-05\n',
    "data/order.csv": b"id,customer,paid,on\n1,1,true,2026-01-02\n2,1,false,\n3,2,,2026-01-04\n",
    "data/note.csv": b"word,weight\na,1.00\na,1.00\nb,\n",
}


def text(**changed: bytes | None) -> Version:
    """The project with some files replaced (`customer=b"…"`) or left out (None)."""
    files: dict[str, bytes | None] = dict(FILES)
    for name, data in changed.items():
        files["project.yaml" if name == "project" else f"data/{name}.csv"] = data
    return from_files({path: data for path, data in files.items() if data is not None}, "text")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "playground.db"
    with scratch_database(text()) as made:
        shutil.copy(made, path)
    return path


def run(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA foreign_keys=ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def both_ways(old: Version, new: Version) -> Comparison:
    """The comparison of two texts, which must be the one of the databases made from them."""
    made = compare_texts(old, new)
    with scratch_database(old) as left, scratch_database(new) as right:
        other = compare_databases(left, right, new.project, labels=("old", "new"))

    def rows(compared: Comparison) -> dict[str, set[tuple[object, ...]]]:
        return {
            table.name: {
                (change.sign, change.key, *(sorted((change.after or change.before or {}).items(), key=lambda pair: pair[0])))
                for change in table.changes
            }
            for table in compared.tables
            if table.rows
        }

    assert rows(made) == rows(other)
    return made


def test_equal_texts_do_not_differ() -> None:
    assert both_ways(text(), text()).equal
    quoted = FILES["data/customer.csv"].replace(b"Ann", b'"Ann"').replace(b"\n", b"\r\n").replace(b"-2e-05", b"-0.00002")
    assert both_ways(text(), text(customer=quoted)).equal


def test_rows_are_matched_by_key() -> None:
    new = b'name,id,score\n"",3,\nAnn,1,1.5\nCy,10,-2e-05\nDi,4,7.0\n'
    made = both_ways(text(), text(customer=new))
    assert made.lines() == [
        "~ customer: +1 ~1 -1 rows",
        "  ~ id=3: score 0.1 -> NULL",
        "  - id=2, name='Bo, Bo', score=NULL",
        "  + name=Di, id=4, score=7.0",
    ]


def test_null_and_empty_text_differ() -> None:
    made = both_ways(text(), text(customer=FILES["data/customer.csv"].replace(b'3,""', b"3,")))
    assert made.tables[0].lines(5) == ["  ~ id=3: name '' -> NULL"]


def test_equal_rows_without_a_key_are_counted() -> None:
    made = both_ways(text(), text(note=b"word,weight\na,1.00\nb,\nb,\n"))
    assert (made.tables[0].added, made.tables[0].removed, made.tables[0].changed) == (1, 1, 0)


def test_a_renamed_table_and_column_keep_their_rows() -> None:
    new = (
        PROJECT.replace("  customer:\n    columns:", "  client:\n    was: customer\n    columns:")
        .replace("      name: {type: text}", "      full_name: {type: text, was: name}")
        .replace("table: customer", "table: client")
    )
    files = {**FILES, "project.yaml": new.encode()}
    files["data/client.csv"] = files.pop("data/customer.csv").replace(b"name", b"full_name").replace(b"Ann", b"Anne")
    made = both_ways(text(), from_files(files, "new"))
    client = next(table for table in made.tables if table.name == "client")
    assert (client.was, client.added, client.removed, client.changed) == ("customer", 0, 0, 1)
    assert "~ column name is now full_name" in client.schema
    assert "~ relationship order_customer" in made.schema


def test_case_17_columns_differ_though_rows_are_equal(database: Path) -> None:
    new = PROJECT.replace("      score: {type: float}", "      score: {type: float}\n      email: {type: text}")
    version = text(project=new.encode(), customer=b'id,name,score,email\n1,Ann,1.5,\n2,"Bo, Bo",,\n3,"",0.1,\n10,Cy,-2e-05,\n')
    made = plan(version, database)
    assert "  + column email (TEXT)" in made.lines
    assert made.headline == "3 tables, 10 rows will be recreated; only the schema differs"
    assert compare_texts(text(), version).tables[0].schema == ["+ column email (text)"]


def test_case_3_the_plan_names_tables_and_rows_by_sign(database: Path) -> None:
    version = text(
        customer=FILES["data/customer.csv"].replace(b"Ann", b"Anne"),
        order=FILES["data/order.csv"].replace(b"3,2,,2026-01-04\n", b"4,3,true,\n"),
    )
    made = plan(version, database)
    assert made.headline == "3 tables, 10 rows will be recreated; 1 row exists only in playground.db"
    assert made.lines[:2] == ["~ customer: ~1 row", "  ~ id=1: name Ann -> Anne"]
    assert "~ order: +1 -1 rows" in made.lines
    assert "  + id=4, customer=3, paid=true, on=NULL" in made.lines


def test_case_4_rows_only_in_the_database_are_counted_and_export_is_offered(database: Path) -> None:
    run(database, "INSERT INTO customer VALUES (20,'X',1),(21,'Y',2)", "INSERT INTO \"order\" VALUES (9,20,1,'2026-05-05')")
    made = plan(text(), database)
    assert made.headline == "3 tables, 10 rows will be recreated; 3 rows exist only in playground.db"
    assert made.only_in_output == 3
    assert any("headwater tables export" in line for line in made.lines)


def test_case_36_deleting_a_parent_takes_its_children_along(database: Path) -> None:
    run(database, "DELETE FROM customer WHERE id = 1")
    with scratch_database(text()) as made:
        compared = compare_databases(made, database, text().project, labels=("text", "db"))
    assert [table.summary() for table in compared.tables] == ["~ customer: -1 row", "~ order: -2 rows"]


@pytest.mark.parametrize("data", [b"\x93" * 5000, b"SQLite format 3\0" + b"\x07" * 4096])
def test_case_13_a_database_of_random_bytes_is_called_unreadable(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "playground.db"
    path.write_bytes(data)
    made = plan(text(), path)
    assert made.headline.startswith("3 tables, 10 rows will be recreated; playground.db cannot be read as a database")
    assert made.data["unreadable"] is True
    assert path.read_bytes() == data


def test_an_empty_file_is_a_database_without_tables(tmp_path: Path) -> None:
    (tmp_path / "playground.db").touch()
    assert plan(text(), tmp_path / "playground.db").headline.endswith("playground.db holds no tables")


def test_a_folder_or_link_is_not_opened(tmp_path: Path, database: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(database)
    for name in ("folder", "link"):
        with pytest.raises(Unreadable), opened(tmp_path / name):
            pass


def test_changes_in_a_write_ahead_log_count(database: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("PRAGMA journal_mode=WAL; INSERT INTO customer VALUES (77,'W',0)").fetchall()
    last = (text(), file_oid(database))
    made = plan(text(), database, last)
    connection.close()
    assert made.only_in_output == 1


def test_the_text_of_the_last_build_gives_the_same_plan_as_the_rows(database: Path) -> None:
    version = text(
        customer=FILES["data/customer.csv"].replace(b"Ann", b"Anne").replace(b"10,Cy,-2e-05\n", b"11,Cy,1\n"),
        note=b"word,weight\na,1.00\n",
    )

    def shown(made: Difference) -> tuple[str, set[str], int]:
        return made.headline, set(made.lines), made.only_in_output

    assert shown(plan(version, database, (text(), file_oid(database)))) == shown(plan(version, database))


def test_text_that_breaks_a_rule_stops_the_plan(database: Path) -> None:
    with pytest.raises(InvalidText) as caught:
        plan(text(order=b"id,customer,paid,on\n1,1,yes,\n"), database)
    assert (caught.value.path, caught.value.line) == ("data/order.csv", 2)


def test_a_table_that_nobody_declared_is_listed(database: Path) -> None:
    run(database, "CREATE TABLE extra (a INTEGER PRIMARY KEY, b BLOB)", "INSERT INTO extra VALUES (1, x'00ff')")
    made = plan(text(), database)
    assert "- extra: -1 row" in made.lines
    assert "  - a=1, b='X''00ff'''" in made.lines or any(line.startswith("  - a=1, b=") for line in made.lines)


def test_many_changes_are_counted_and_some_of_each_kind_shown(tmp_path: Path) -> None:
    old = b"id,name,score\n" + b"".join(b"%d,a,\n" % number for number in range(1000))
    new = b"id,name,score\n" + b"".join(b"%d,b,\n" % number for number in range(300, 1300))
    left = text(customer=old, order=b"id,customer,paid,on\n")
    right = text(customer=new, order=b"id,customer,paid,on\n")
    with scratch_database(left) as one, scratch_database(right) as other:
        for made in (compare_databases(one, other, right.project, labels=("a", "b")), compare_texts(left, right)):
            [table] = made.tables
            assert (table.added, table.removed, table.changed) == (300, 300, 700)
            signs = [line.strip()[0] for line in table.lines(9)]
            assert sorted(signs) == sorted("~~~---+++…")


cells = st.tuples(st.sampled_from(["Ann", 'B"o', "C,d", "", None, "é\n"]), st.sampled_from([None, "1.5", "1.50", "0.0", "2e-07"]))
people = st.dictionaries(st.integers(-3, 6), cells, max_size=7)
notes = st.lists(st.tuples(st.sampled_from(["a", None]), st.sampled_from(["1.00", None])), max_size=4)


@given(people, people, notes, notes, st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_texts_and_databases_differ_in_the_same_rows(
    old: dict[int, tuple[str | None, str | None]],
    new: dict[int, tuple[str | None, str | None]],
    old_notes: list[tuple[str | None, ...]],
    new_notes: list[tuple[str | None, ...]],
    chance: random.Random,
) -> None:
    def version(rows: dict[int, tuple[str | None, str | None]], body: list[tuple[str | None, ...]]) -> Version:
        keys = list(rows)
        chance.shuffle(keys)
        customer = [("id", "name", "score"), *((str(key), *rows[key]) for key in keys)]
        note = [("word", "weight"), *body]
        return text(
            customer=b"".join(write_record(row) + b"\n" for row in customer),
            note=b"".join(write_record(row) + b"\n" for row in note),
            order=b"id,customer,paid,on\n",
        )

    left, right = version(old, old_notes), version(new, new_notes)
    made = {table.name: table for table in both_ways(left, right).tables}

    def values(side: dict[int, tuple[str | None, str | None]]) -> dict[int, tuple[str | None, float | None]]:
        return {key: (name, None if score is None else float(score)) for key, (name, score) in side.items()}

    before, after = values(old), values(new)
    customer = made.get("customer")
    counted = (customer.added, customer.removed, customer.changed) if customer else (0, 0, 0)
    common = before.keys() & after.keys()
    changed = sum(before[key] != after[key] for key in common)
    assert counted == (len(after.keys() - common), len(before.keys() - common), changed)

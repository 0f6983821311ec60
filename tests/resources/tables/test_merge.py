"""The three-way merge of CSV text by primary key."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.tables.merge import NotMergeable, as_text, merge
from resources.tables.records import parse_record, split_records, write_record

BASE = b"id,name,price\n1,apple,10\n2,pear,20\n3,plum,30\n10,fig,\n"


def by_number(key: tuple[str | None, ...]) -> int:
    return int(key[0] or 0)


def run(ours: bytes, theirs: bytes, base: bytes = BASE) -> tuple[bytes, int]:
    made = merge(base, ours, theirs, ["id"], sort_key=by_number)
    return made.data, len(made.conflicts)


def test_changes_of_neighbouring_rows_merge_where_git_conflicts(tmp_path: Path) -> None:
    ours, theirs = BASE.replace(b"pear,20", b"pear,21"), BASE.replace(b"plum,30", b"plum,31")
    for name, data in (("a", ours), ("o", BASE), ("b", theirs)):
        (tmp_path / name).write_bytes(data)
    assert subprocess.run(["git", "merge-file", "-p", "a", "o", "b"], cwd=tmp_path, capture_output=True).returncode == 1
    assert run(ours, theirs) == (BASE.replace(b"pear,20", b"pear,21").replace(b"plum,30", b"plum,31"), 0)


def test_rows_added_on_both_sides_land_in_typed_order() -> None:
    made, conflicts = run(BASE + b"11,kiwi,5\n", BASE.replace(b"10,fig", b"4,date,7\n10,fig") + b"12,lime,6\n")
    assert (made, conflicts) == (BASE.replace(b"10,fig,\n", b"4,date,7\n10,fig,\n11,kiwi,5\n12,lime,6\n"), 0)


def test_different_cells_of_one_row_merge() -> None:
    assert run(BASE.replace(b"2,pear", b"2,Pear"), BASE.replace(b"pear,20", b"pear,25")) == (
        BASE.replace(b"2,pear,20", b"2,Pear,25"),
        0,
    )


def test_one_cell_changed_twice_is_a_conflict_of_that_row() -> None:
    made, conflicts = run(BASE.replace(b"pear,20", b"pear,21"), BASE.replace(b"pear,20", b"pear,22"))
    assert conflicts == 1
    expected = b"1,apple,10\n<<<<<<< ours\n2,pear,21\n=======\n2,pear,22\n>>>>>>> theirs\n3,plum,30\n"
    assert expected in made


def test_the_same_row_added_differently_is_a_conflict() -> None:
    made, conflicts = run(BASE + b"11,kiwi,5\n", BASE + b"11,kiwi,6\n")
    assert (conflicts, made.count(b"11,kiwi")) == (1, 2)


def test_deleted_here_and_changed_there_is_a_conflict_with_one_empty_side() -> None:
    made, conflicts = run(BASE.replace(b"2,pear,20\n", b""), BASE.replace(b"pear,20", b"pear,22"))
    assert conflicts == 1
    assert b"<<<<<<< ours\n=======\n2,pear,22\n>>>>>>> theirs\n" in made


def test_deleted_on_either_or_both_sides_is_gone() -> None:
    less = BASE.replace(b"2,pear,20\n", b"")
    assert run(less, BASE) == run(BASE, less) == run(less, less) == (less, 0)


def test_null_and_empty_text_are_different_changes() -> None:
    made, conflicts = run(BASE.replace(b"fig,\n", b'fig,""\n'), BASE.replace(b"10,fig", b"10,Fig"))
    assert (made, conflicts) == (BASE.replace(b"10,fig,\n", b'10,Fig,""\n'), 0)


def test_untouched_lines_keep_their_bytes() -> None:
    base = BASE.replace(b"1,apple", b'1,"apple"').replace(b"\n", b"\r\n")
    made, conflicts = run(base, base.replace(b"plum,30", b"plum,31"), base)
    assert (made, conflicts) == (base.replace(b"plum,30", b"plum,31"), 0)


def test_a_column_added_on_one_side_meets_rows_of_the_other() -> None:
    ours = b"id,name,unit,price\n1,apple,kg,10\n2,pear,kg,20\n3,plum,kg,30\n10,fig,,\n"
    theirs = BASE.replace(b"pear,20", b"pear,22") + b"11,kiwi,5\n"
    made, conflicts = run(ours, theirs)
    assert (made, conflicts) == (ours.replace(b"kg,20", b"kg,22") + b"11,kiwi,,5\n", 0)
    made, conflicts = run(theirs, ours)
    assert (made, conflicts) == (ours.replace(b"kg,20", b"kg,22") + b"11,kiwi,,5\n", 0)


@pytest.mark.parametrize("bad", [b"id,name,price\n1,a,1\n1,b,2\n", b"name\nx\n", b'id,name,price\n1,"x\n', b"id,name,price\n1\n"])
def test_what_cannot_be_read_by_rows_is_left_to_git(bad: bytes) -> None:
    with pytest.raises(NotMergeable):
        run(BASE, bad)


table = st.dictionaries(st.integers(0, 6), st.tuples(st.sampled_from(["a", "b", ""]), st.none() | st.just("x")), max_size=6)


def text(rows: dict[int, tuple[str | None, ...]]) -> bytes:
    return b"".join(write_record(row) + b"\n" for row in [("id", "p", "q"), *((str(key), *rows[key]) for key in sorted(rows))])


@given(table, table)
@settings(max_examples=50, deadline=None)
def test_a_side_without_changes_gives_the_other_side(
    one: dict[int, tuple[str | None, ...]], other: dict[int, tuple[str | None, ...]]
) -> None:
    assert run(text(other), text(one), text(one)) == (text(other), 0)
    assert run(text(one), text(other), text(one)) == (text(other), 0)
    assert run(text(other), text(other), text(one)) == (text(other), 0)


@given(table, table, table)
@settings(max_examples=50, deadline=None)
def test_merging_the_other_way_round_gives_the_same_rows(
    base: dict[int, tuple[str | None, ...]], left: dict[int, tuple[str | None, ...]], right: dict[int, tuple[str | None, ...]]
) -> None:
    (one, conflicts), (other, others) = run(text(left), text(right), text(base)), run(text(right), text(left), text(base))
    assert conflicts == others
    if not conflicts:
        assert one == other
        assert all(len(parse_record(record)) == 3 for record in split_records(one))


def test_what_git_diff_shows_names_row_and_column() -> None:
    assert as_text(b'id,name\n1,"a\nb"\n2,\n3,""\n') == (
        'id, name\n[id = 1]\n  id = 1\n  name = "a\\nb"\n[id = 2]\n  id = 2\n  name = NULL\n[id = 3]\n  id = 3\n  name = ""\n'
    )
    assert as_text(b"id,name\n1\n") == "id,name\n1\n"

"""Records of CSV text: taken apart, compared and edited by bytes."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.tables.records import Change, apply_changes, changed_records, parse_record, split_records, write_record
from schemas.errors import HeadwaterError

cells = st.one_of(st.none(), st.text(st.sampled_from('ab ,"\n\ré'), max_size=5))
rows = st.lists(st.tuples(cells, cells), max_size=12)


def build(body: list[tuple[str | None, ...]], end: bytes = b"\n") -> bytes:
    return b"".join(write_record(row) + end for row in [("id", "name"), *body])


@given(rows)
@settings(max_examples=50, deadline=None)
def test_records_round_trip(body: list[tuple[str | None, ...]]) -> None:
    assert [parse_record(one) for one in split_records(build(body))[1:]] == body


@given(st.lists(st.tuples(st.integers(0, 9).map(str), st.text(st.sampled_from('ab,"\n'), max_size=4)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_the_python_reader_reads_what_is_written(body: list[tuple[str, str]]) -> None:
    text = build(body).decode()
    assert [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)][1:] == body


@given(rows, rows, rows, rows)
@settings(max_examples=200, deadline=None)
def test_changed_records_are_the_multiset_difference(
    head: list[tuple[str | None, ...]],
    left: list[tuple[str | None, ...]],
    right: list[tuple[str | None, ...]],
    tail: list[tuple[str | None, ...]],
) -> None:
    old, new = build(head + left + tail), build(head + right + tail)
    only_old, only_new = changed_records(old, new)
    assert Counter(map(parse_record, only_old)) == Counter(head + left + tail) - Counter(head + right + tail)
    assert Counter(map(parse_record, only_new)) == Counter(head + right + tail) - Counter(head + left + tail)


@given(rows)
@settings(max_examples=30, deadline=None)
def test_no_record_differs_from_itself(body: list[tuple[str | None, ...]]) -> None:
    assert changed_records(build(body), build(body)) == ([], [])


def test_changed_records_at_block_edges() -> None:
    body = [(str(number), "x" * 40) for number in range(8000)]
    for place in (0, 1, 1500, 1501, 7999):
        other = [*body[:place], (str(place), "y"), *body[place + 1 :]]
        only_old, only_new = changed_records(build(body), build(other))
        assert only_old == [write_record(body[place])]
        assert only_new == [f"{place},y".encode()]


def test_changed_records_when_the_header_differs() -> None:
    assert changed_records(b"a,b\n1,2\n3,4\n", b"a,c\n1,2\n3,5\n") == ([b"3,4"], [b"3,5"])


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(HeadwaterError) as caught:
        split_records(b'a,b\n1,"x\n2,y\n', "data/t.csv")
    assert caught.value.rule == "csv-quote"
    assert caught.value.line == 2


def number(key: tuple[str | None, ...]) -> object:
    return int(key[0] or 0)


def test_case_97_one_changed_row_is_one_changed_line() -> None:
    data = b'id,name\r\n1,"quoted anyway"\r\n2,b\r\n10,c\r\n'
    change = Change(("2",), {"id": "2", "name": "b"}, {"id": "2", "name": "b,2"})
    made = apply_changes(data, ["id"], [change], sort_key=number)
    assert made == b'id,name\r\n1,"quoted anyway"\r\n2,"b,2"\r\n10,c\r\n'


def test_new_rows_go_to_their_place_in_typed_order() -> None:
    data = b"id,name\n1,a\n9,i\n10,j\n"
    new = [Change((key,), None, {"id": key, "name": "new"}) for key in ("11", "2", "0")]
    assert apply_changes(data, ["id"], new, sort_key=number) == b"id,name\n0,new\n1,a\n2,new\n9,i\n10,j\n11,new\n"


def test_new_rows_go_to_the_end_of_an_unsorted_file() -> None:
    data = b"name,id\nz,9\na,1"
    made = apply_changes(data, ["id"], [Change(("5",), None, {"id": "5", "name": None})], sort_key=number)
    assert made == b"name,id\nz,9\na,1\n,5\n"


def test_removed_rows_take_their_line_with_them() -> None:
    data = b'id,name\n1,"a\nb"\n2,b\n'
    assert apply_changes(data, ["id"], [Change(("1",), {"id": "1"}, None)], sort_key=number) == b"id,name\n2,b\n"


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(HeadwaterError) as caught:
        apply_changes(b"id\n1\n", ["id"], [Change(("2",), {"id": "2"}, None)], sort_key=number, path="data/t.csv")
    assert caught.value.rule == "csv-row-missing"


def test_one_of_equal_rows_without_a_key_is_removed() -> None:
    data = b"a,b\n1,2\n1,2\n"
    made = apply_changes(data, ["a", "b"], [Change(("1", "2"), {"a": "1", "b": "2"}, None)], sort_key=lambda key: key)
    assert made == b"a,b\n1,2\n"

"""CSV: what the corpus cannot say: positions, findings that go on, writing, and edits that touch only their rows."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import csv_text
from schemas.csv_edit import rewrite
from schemas.csv_text import Reader
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding
from tests.schemas.text_strategies import CELLS

TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))


def _header(width: int) -> list[str]:
    return [f"c{number}" for number in range(width)]


def _written(rows: list[list[str | None]]) -> bytes:
    return "".join(csv_text.write(_header(len(rows[0]) if rows else 2), rows)).encode()


@settings(max_examples=50, deadline=None)
@given(TABLES)
def test_what_is_written_is_read_back(rows: list[list[str | None]]) -> None:
    data = _written(rows)
    reader = Reader(data, "p")
    records = list(reader)
    assert [record.cells for record in records] == rows
    assert b"".join(rewrite(data, "p")) == data
    # Python's reader agrees, but for NULL.
    peer = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))[1:]
    assert peer == [[cell or "" for cell in row] for row in rows]


@settings(max_examples=50, deadline=None)
@given(TABLES, st.sampled_from(["\n", "\r\n"]))
def test_positions_are_those_of_the_text(rows: list[list[str | None]], ending: str) -> None:
    text = "".join(line[:-1] + ending for line in csv_text.write(_header(len(rows[0]) if rows else 2), rows))
    lines = text.split("\n")
    for record in Reader(text.encode(), "p"):
        for index, cell in enumerate(record.cells):
            line, column = record.position(index)
            behind = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
            spelled = "" if cell is None else csv_text.write_cell(cell)
            assert behind.startswith(spelled)
            assert record.quoted(index) == spelled.startswith('"')


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60) | st.text('a",\n\r \0é', max_size=40).map(str.encode), st.integers(1, 7))
def test_any_bytes_are_read_or_refused_the_same_in_any_pieces(data: bytes, size: int) -> None:
    class Dribble(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(size)

    def outcome(source: bytes | io.BytesIO) -> object:
        findings: list[Finding] = []
        reader = Reader(source, "p", report=findings.append)
        return [record.cells for record in reader], [finding.rule for finding in findings]

    whole = outcome(data)
    # A byte-order mark is looked for in the first piece, which is never this small in earnest.
    if not data.startswith((b"\xef", b"\xff", b"\xfe")) and b"\0" not in data[:4]:
        pieces = outcome(Dribble(data))
        if "text-encoding" not in whole[1] and "text-lone-surrogate" not in whole[1]:  # type: ignore[index]
            assert pieces == whole


def test_reading_goes_on_behind_an_error() -> None:
    findings: list[Finding] = []
    data = b'a,b\n1,2\n3\n4,"x"y\n5,6,7\n\n"8\n9",10\n11\n'
    cells = [record.cells for record in Reader(data, "data/t.csv", report=findings.append)]
    assert cells == [["1", "2"], ["8\n9", "10"]]
    assert [(finding.rule, finding.line, finding.column) for finding in findings] == [
        ("csv-ragged-row", 3, 2),
        ("csv-quote", 4, 6),
        ("csv-ragged-row", 5, 5),
        ("csv-blank-line", 6, 1),
        ("csv-ragged-row", 9, 3),
    ]


def test_read_raises_all_findings_at_once() -> None:
    with pytest.raises(InvalidText) as caught:
        csv_text.read(b"a,b\n1\n2\n3\n", "p")
    assert [finding.line for finding in caught.value.findings] == [2, 3, 4]


def test_mixed_line_ends_are_a_warning() -> None:
    reader = Reader(b"a,b\n1,2\n3,4\r\n5,6\n", "p")
    assert [record.cells for record in reader] == [["1", "2"], ["3", "4"], ["5", "6"]]
    assert [(warning.rule, warning.line) for warning in reader.warnings] == [("text-mixed-newlines", 3)]


def test_a_record_past_the_limit_names_the_quote_that_opens_it() -> None:
    with pytest.raises(InvalidText) as caught:
        list(Reader(b'a,b\n1,2\n3,"' + b"x\n" * 1000, "p", record_limit=500))
    assert (caught.value.rule, caught.value.line, caught.value.column) == ("csv-record-too-large", 3, 3)


def test_writing_quotes_only_what_needs_it() -> None:
    row = ["a", None, "", "a b", "a,b", 'a"b', "a\nb", "a\rb", " a", "é", "\ufeffa", "NULL"]
    assert csv_text.write_row(row) == 'a,,"",a b,"a,b","a""b","a\nb","a\rb", a,é,"\ufeffa",NULL\n'


@pytest.mark.parametrize("cells", [[None], ["a\0"], ["\x85"], ["\ud800", "b"]])
def test_rows_no_reader_takes_are_not_written(cells: list[str | None]) -> None:
    with pytest.raises(HeadwaterError):
        csv_text.write_row(cells)


CRLF = b'\xef\xbb\xbfid,"name",note\r\n1,"a",x\r\n2,b,"y\nz"\r\n3,c,'


def test_replacing_a_cell_keeps_the_spelling_of_the_others() -> None:
    after = b"".join(rewrite(CRLF, "p", replace={0: ["1", "a", "new"], 2: ["3", "", None]}))
    assert after == b'\xef\xbb\xbfid,"name",note\r\n1,"a",new\r\n2,b,"y\nz"\r\n3,"",'


def test_inserting_and_deleting_rows_touch_no_other_line() -> None:
    after = b"".join(rewrite(CRLF, "p", replace={1: None}, insert={0: [["0", None, "q,r"]], 99: [["4", "d", ""]]}))
    assert after == b'\xef\xbb\xbfid,"name",note\r\n0,,"q,r"\r\n1,"a",x\r\n3,c,\r\n4,d,""\r\n'


def test_a_column_can_be_added() -> None:
    after = b"".join(rewrite(b"a,b\n1,2\n", "p", replace={-1: ["a", "b", "c"], 0: ["1", "2", None]}))
    assert after == b"a,b,c\n1,2,\n"


@settings(max_examples=50, deadline=None)
@given(TABLES.filter(bool), st.data())
def test_rewriting_gives_the_rows_asked_for(rows: list[list[str | None]], data: st.DataObject) -> None:
    cells = st.lists(CELLS, min_size=len(rows[0]), max_size=len(rows[0]))
    replace = data.draw(st.dictionaries(st.integers(0, len(rows) - 1), st.none() | cells))
    insert = data.draw(st.dictionaries(st.integers(0, len(rows) + 1), st.lists(cells, max_size=2)))
    expected: list[list[str | None]] = []
    for number in range(len(rows) + 2):
        expected += insert.get(number, [])
        if number < len(rows):
            kept = replace.get(number, rows[number])
            expected += [kept] if kept is not None else []
    after = b"".join(rewrite(_written(rows), "p", replace=replace, insert=insert))
    assert [record.cells for record in Reader(after, "p")] == expected


def test_new_rows_of_another_width_are_refused() -> None:
    for change in ({"replace": {0: ["1"]}}, {"insert": {0: [["1", "2", "3"]]}}):
        with pytest.raises(HeadwaterError) as caught:
            b"".join(rewrite(b"a,b\n1,2\n", "p", **change))  # type: ignore[arg-type]
        assert caught.value.rule == "csv-ragged-row"

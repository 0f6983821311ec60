"""Changing rows of a CSV file so that every other byte stays as it is. Light: standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from schemas.csv_text import RAGGED, Reader, Record, count_cells
from schemas.csv_write import Row, write_cell, write_row
from schemas.errors import HeadwaterError


def rewrite(
    source: bytes | BinaryIO,
    path: str,
    *,
    replace: Mapping[int, Row | None] | None = None,
    insert: Mapping[int, Sequence[Row]] | None = None,
) -> Iterator[bytes]:
    """`source` with some rows changed; every other byte stays: quoting, line ends, byte-order mark.

    `replace` maps row numbers (0 is the first after the header, -1 the header) to new cells, or None to delete the row;
    cells that keep their value keep their spelling. `insert` maps a row number to rows that go before it; rows for any number
    past the end go to the end, in order. Joining the parts gives the new file.

    Raises InvalidText when `source` breaks a rule, HeadwaterError (rule `csv-ragged-row`) when a new row has another number
    of cells than the header it goes below.
    """
    replace = replace or {}
    waiting = dict(sorted((insert or {}).items()))
    reader = Reader(source, path)
    assert reader.header is not None
    new_header = replace.get(-1)
    width = len(reader.header.cells) if new_header is None else len(new_header)
    if reader.bom:
        yield b"\xef\xbb\xbf"
    line_end = reader.header.ending or "\n"
    last = reader.header
    yield _changed(last, new_header).encode("utf-8")
    parts: list[str] = []
    index = -1
    for index, record in enumerate(reader):
        for row in waiting.pop(index, ()):
            parts.append(_new_row(row, width, line_end, path))
        if index not in replace:
            parts.append(record.raw + record.ending)
        elif (new := replace[index]) is not None:
            _check_width(new, width, path)
            parts.append(_changed(record, new))
        last = record
        if len(parts) >= 10_000:
            yield "".join(parts).encode("utf-8")
            parts.clear()
    added = [row for number, rows in waiting.items() if number > index for row in rows]
    if added and not last.ending:
        parts.append(line_end)
    parts.extend(_new_row(row, width, line_end, path) for row in added)
    yield "".join(parts).encode("utf-8")


def _changed(record: Record, cells: Row | None) -> str:
    """The record's line with the cells that differ written anew."""
    if cells is None:
        return record.raw + record.ending
    if len(cells) != len(record.cells):
        return write_row(cells)[:-1] + record.ending
    spans = record.spans()
    spelled = [
        record.raw[start:end] if new == old else "" if new is None else write_cell(new)
        for new, old, (start, end) in zip(cells, record.cells, spans, strict=True)
    ]
    line = ",".join(spelled)
    return (line or write_row(cells)[:-1]) + record.ending


def _new_row(row: Row, width: int, line_end: str, path: str) -> str:
    _check_width(row, width, path)
    return write_row(row)[:-1] + line_end


def _check_width(row: Row, width: int, path: str) -> None:
    if len(row) != width:
        raise HeadwaterError(
            f"a row of {count_cells(len(row))} does not fit below a header of {width}",
            rule=RAGGED.id,
            path=path,
            fix="give one cell per column",
        )

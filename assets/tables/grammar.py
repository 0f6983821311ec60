"""The fast proof that a CSV file is canonical: one regular language per table, matched over whole blocks of bytes.

The cells of a table's file, their separators, quotes and line ends form a regular language: for every column the canonical
spellings of its type, between commas, one record per line. RE2 decides membership in one pass with a deterministic automaton
(about 0.6 GB/s, where checking each column by itself costs ten times that), so quoting, record widths, NULLs in columns
that have none, ranges and spellings are all proven before anything is converted. Whatever the language leaves out is not an
error yet: it is a `Doubt`, and the strict tier (`schemas.tables.strict`) gives the verdict and the positions. The language may
therefore be smaller than the rules allow, never larger.

Splitting a file into blocks of whole records belongs here too. Converting cells does not: that is `assets.tables.load`.

Tried and measured on 98 MB: pyarrow's text columns with `match_substring_regex` each (1.1 s), Python's `re` over the bytes
(4 s), this (0.15 s).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables.types import ColumnType

BLOCK_SIZE = 4 << 20
"""Bytes read at a time; memory is a small multiple of it."""
RECORD_LIMIT = 16 << 20
"""A record longer than this is left to the strict tier, whose own limit is four times as large."""

_BOM = b"\xef\xbb\xbf"
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{80}-\x{9f}\x{FEFF}"
_BARE = rf'[^",\r\n{_CONTROLS}]'
_QUOTED = rf'"(?:[^"{_CONTROLS}]|"")*"'

_EXPONENT = "(?:[eE][+-]?[0-9]{1,2})?"
_PLAIN_FLOAT = (
    rf"(?:(?:0|[1-9][0-9]{{0,24}})(?:\.[0-9]{{1,30}})?"
    rf"|-(?:0\.0{{0,28}}[1-9][0-9]{{0,30}}|[1-9][0-9]{{0,24}}(?:\.[0-9]{{1,30}})?)){_EXPONENT}"
)
"""Floats that can neither overflow nor round to zero: between 1e-129 and 1e124."""

_HEADER_CELL = re.compile(rb'(?:"((?:[^"\x00-\x1f]|"")*)"|([^",\x00-\x1f]+))(,|\Z)')


class Doubt(Exception):  # a question to the strict tier, not an error
    """The fast tier cannot vouch for a file; the strict tier must look at it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column as its cells are spelled: name, type, and whether a cell may be NULL."""

    name: str
    type: ColumnType
    nullable: bool


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a file: its cells, how many bytes it takes with its line end, and that line end."""

    names: tuple[str, ...]
    size: int
    line_end: bytes


def read_header(head: bytes) -> Header:
    """The header record at the start of `head` (a byte-order mark is skipped). Raises Doubt."""
    start = len(_BOM) if head.startswith(_BOM) else 0
    end = head.find(b"\n", start)
    if end < 0:
        raise Doubt("no line end after the header")
    line_end = b"\r\n" if head[end - 1 : end] == b"\r" else b"\n"
    record = head[start : end + 1 - len(line_end)]
    names: list[str] = []
    at = 0
    while True:
        cell = _HEADER_CELL.match(record, at)
        if cell is None:
            raise Doubt("the header is not a plain record")
        raw = cell[1].replace(b'""', b'"') if cell[1] is not None else cell[2]
        try:
            names.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise Doubt("the header is not UTF-8") from None
        at = cell.end()
        if cell[3] == b"":
            break
        if at == len(record):
            raise Doubt("the header ends in a comma")
    return Header(tuple(names), end + 1, line_end)


def blocks(file: BinaryIO, line_end: bytes, size: int) -> Iterator[memoryview]:
    """The rest of `file` in blocks that end after a record; a missing last line end is added.

    A block is a view of a buffer that is used again: it is good until the next one is asked for. Where a record ends is found
    by counting quotes, which is right for every file in the language; in any other file some block will fail
    `Grammar.matches`, however it was cut. Raises Doubt for a record beyond RECORD_LIMIT and for what may be an unresolved
    merge, which only the strict tier can tell from text.
    """
    buffer = bytearray(size + 2)
    filled = 0
    while count := file.readinto(memoryview(buffer)[filled:-2]):  # type: ignore[attr-defined]  # typeshed forgets it
        filled += count
        end = _last_record_end(buffer, filled)
        if end:
            yield _checked(buffer, end)
            buffer[: filled - end] = buffer[end:filled]
            filled -= end
        elif filled > RECORD_LIMIT:
            raise Doubt("a record is very long")
        elif filled == len(buffer) - 2:
            buffer = buffer + bytes(len(buffer))
    if filled:
        if buffer[filled - 1] == 13:
            raise Doubt("the file ends in a lone CR")
        if buffer[filled - 1] != 10:
            buffer[filled : filled + len(line_end)] = line_end
            filled += len(line_end)
        yield _checked(buffer, filled)


def _checked(buffer: bytearray, end: int) -> memoryview:
    # Looking for one character first is ten times quicker, and most text has none.
    if buffer.find(b"<", 0, end) >= 0 and buffer.find(b"<<<<<<<", 0, end) >= 0:
        raise Doubt("possibly an unresolved merge")
    return memoryview(buffer)[:end]


def _last_record_end(data: bytearray, filled: int) -> int:
    """The offset after the last line feed outside quotes, 0 when there is none; `data` begins outside quotes."""
    end = data.rfind(b"\n", 0, filled)
    quotes = data.count(b'"', 0, end) if end >= 0 else 0
    while end >= 0 and quotes % 2:
        opening = data.rfind(b'"', 0, end)
        before = data.rfind(b"\n", 0, opening)
        quotes -= 1 + data.count(b'"', max(before, 0), opening)
        end = before
    return end + 1


class Grammar:
    """The language of one table's records in the column order of one file.

    `null` is the unquoted spelling of NULL, empty unless the project says otherwise.
    """

    def __init__(self, fields: Sequence[Field], null: str, line_end: bytes) -> None:
        end = r"\r\n" if line_end == b"\r\n" else r"\n"
        alone = len(fields) == 1
        self._pattern = _records([_cell(field, null, alone, plain=True) for field in fields], end)
        self.has_floats = any(field.type.base == "float" for field in fields)
        self._wide_pattern = _records([_cell(field, null, alone, plain=False) for field in fields], end)

    def matches(self, block: memoryview) -> bool:
        """Whether every record of the block is canonical and no float can overflow or round to zero."""
        return _matches(block, self._pattern)

    def matches_wide(self, block: memoryview) -> bool:
        """As `matches`, but floats may be of any size: the caller must see to it that none is infinite or zero."""
        return self.has_floats and _matches(block, self._wide_pattern)


def _records(cells: Sequence[str], end: str) -> str:
    return rf"\A(?:{','.join(cells)}{end})*\z"


def _matches(block: memoryview, pattern: str) -> bool:
    offsets = pa.array([0, len(block)], pa.int64()).buffers()[1]
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(block)])
    try:
        return bool(pc.match_substring_regex(text, pattern)[0].as_py())
    except pa.ArrowInvalid:  # a table so wide that the automaton would be too large
        return False


def _cell(field: Field, null: str, alone: bool, *, plain: bool) -> str:
    """The pattern of one column's cells as they stand in the file.

    In the only column of a table an empty cell is a blank line, which is left to the strict tier.
    """
    base = field.type.base
    if base in {"text", "json"}:
        bare = rf"{_BARE}+" if null == "" or base == "json" or alone else rf"{_BARE}*"
        spelled = f"{bare}|{_QUOTED}"
    elif base == "enum":
        spelled = "|".join(_enum_value(value) for value in field.type.values)
    else:
        pattern = _PLAIN_FLOAT if base == "float" and plain else field.type.pattern
        spelled = f'(?:{pattern})|"(?:{pattern})"'
        if base == "blob" and alone:
            spelled = f'"(?:{pattern})"'
    if not field.nullable or (alone and null == ""):
        return f"(?:{spelled})"
    return f"(?:{spelled})?" if null == "" else f"(?:{spelled}|{re.escape(null)})"


def _enum_value(value: str) -> str:
    quoted = '"' + re.escape(value.replace('"', '""')) + '"'
    bare = "" if value == "" or re.search('[",\r\n]', value) else re.escape(value) + "|"
    return bare + quoted

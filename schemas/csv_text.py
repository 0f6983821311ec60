"""CSV as Headwater reads and writes it: RFC 4180 with commas, nothing guessed, NULL and the empty string kept apart.

An unquoted empty cell is NULL (None), `""` is the empty string. Quotes are doubled inside quoted cells, nothing is trimmed,
nothing is a comment. Records end in LF or CRLF; line ends inside quotes are data. Writing is in `schemas.csv_write`, changing
rows of a file in `schemas.csv_edit`; what the cells mean belongs to the tables schema. Light: standard library only.

Why our own reader: Python's `csv` cannot tell NULL from `""` before 3.13, stops at 131,072 characters, forgives text after
a closing quote and knows no columns; pyarrow and DuckDB name records, not lines. Measured on 1,000,000 rows of 8 cells (92 MB,
one in eight rows quoted) on one core: 1.9 s in 10 MB; `csv.reader` alone takes 0.8 s.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from schemas.csv_write import BLANK_LINE, CONTROL, Row, write, write_cell, write_row
from schemas.errors import InvalidText
from schemas.findings import Finding, Rule, Severity, found, rule
from schemas.text import (
    CONFLICT,
    EMPTY,
    LONE_CR,
    MIB,
    MIXED_NEWLINES,
    NUL,
    check_encoding_mark,
    invalid_bytes,
)

QUOTE = rule("csv-quote", Severity.ERROR, "A quote opens a cell at its very beginning and closes it at its very end.")
UNTERMINATED = rule("csv-unterminated-quote", Severity.ERROR, "Every quoted cell is closed.")
RAGGED = rule("csv-ragged-row", Severity.ERROR, "Every row has as many cells as the header.")
DUPLICATE_COLUMN = rule("csv-duplicate-column", Severity.ERROR, "Column names differ, also in case and Unicode spelling.")
BLANK_COLUMN = rule("csv-blank-column", Severity.ERROR, "Every column has a name.")
RECORD_SIZE = rule("csv-record-too-large", Severity.ERROR, "One record stays below the size cap.")

__all__ = ["Reader", "Record", "Row", "read", "write", "write_cell", "write_row"]

_BLOCK = MIB
_RECORD_LIMIT = 64 * MIB
_CLOSE = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
_PLAIN = re.compile(r'[^",\r]*+')
_CELL = re.compile(r'("[^"]*+(?:""[^"]*+)*+"|[^",]*+)(,|\Z)')
_CONTROLS = re.compile("[\0\x80-\x9f]")
_C1_LEAD = b"\xc2"
_CONFLICT_LINE = re.compile(r"(?:<{7}|={7}|>{7})(?: |\Z)")


class Record:
    """One record: `cells`, the physical `line` it begins on, and its `raw` text without the line end, which is `ending`.

    Which cells were quoted, and where each begins, is computed from `raw` only when asked for.
    """

    __slots__ = ("cells", "ending", "line", "raw")

    def __init__(self, cells: list[str | None], line: int, raw: str, ending: str) -> None:
        self.cells = cells
        self.line = line
        self.raw = raw
        self.ending = ending

    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each cell in `raw`, quotes included."""
        return list(_cell_spans(self.raw))

    def quoted(self, index: int) -> bool:
        """Whether the cell at `index` is written in quotes."""
        return self.raw[slice(*self.spans()[index])].startswith('"')

    def position(self, index: int) -> tuple[int, int]:
        """(line, column), from 1, where the cell at `index` begins; past the last cell, where the record ends."""
        start = next((start for start, _ in islice(_cell_spans(self.raw), index, None)), len(self.raw))
        return _position(self.raw, start, self.line)

    def __repr__(self) -> str:
        return f"Record({self.cells!r}, line={self.line})"


class Reader:
    """Reads one CSV file, once, in memory bounded by the longest record.

    `source` is bytes or a binary stream; `path` is used in findings. With `report` each problem is handed to it and reading
    goes on with the next record where that is possible; without it the first error is raised as InvalidText. Warnings are
    collected in `warnings` as well.

        reader = Reader(data, "data/city.csv")
        for record in reader: ...   # the records after `reader.header`
    """

    def __init__(
        self,
        source: bytes | BinaryIO,
        path: str,
        *,
        report: Callable[[Finding], None] | None = None,
        record_limit: int = _RECORD_LIMIT,
    ) -> None:
        self.path = path
        self.warnings: list[Finding] = []
        self.bom = False
        self._stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
        self._report = report
        self._limit = record_limit
        self._line = 1
        self._offset = 0
        self._width = 0
        self._ending = ""
        self._mixed = False
        self._pending: list[str] = []
        self._pending_size = 0
        self._opened = (0, 0)
        self._records = self._read()
        self.header = next(self._records, None)
        if self.header is not None:
            self._check_header(self.header)

    @property
    def columns(self) -> list[str]:
        """The names in the header, in file order; empty when there is no readable header."""
        return [cell or "" for cell in self.header.cells] if self.header is not None else []

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def _read(self) -> Iterator[Record]:
        try:
            for block, suspicious in self._blocks():
                yield from self._block(block, suspicious)
            self._finish()
        except InvalidText as error:
            if self._report is None:
                raise
            for finding in error.findings:
                self._report(finding)

    def _finish(self) -> None:
        if self._pending:
            line, column = self._opened
            fix = 'close the cell with a quote, or double the quote inside the cell: ""'
            self._problem(UNTERMINATED, line, column, "the quote that opens here is never closed", fix=fix)
        elif not self._width:
            self._problem(EMPTY, 1, 1, "the file is empty", fix="write the header line")

    def _blocks(self) -> Iterator[tuple[str, bool]]:
        """Decoded blocks of whole lines, each with whether it may hold control characters."""
        head = self._stream.read(_BLOCK)
        self.bom = check_encoding_mark(head[:4], self.path)
        if self.bom:
            self._offset = 3
            head = head[3:]
        rest = b""
        block = head
        while block:
            following = self._stream.read(_BLOCK)
            cut = block.rfind(b"\n") + 1 if following else len(block)
            if cut:
                yield self._decode(rest + block[:cut])
                rest = block[cut:]
            else:
                rest += block
                if len(rest) > self._limit:
                    self._fail_size(self._line, 1)
            block = following
        if rest:
            yield self._decode(rest)

    def _decode(self, data: bytes) -> tuple[str, bool]:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise invalid_bytes(data, error, self.path, shift=self._offset, first_line=self._line) from None
        self._offset += len(data)
        return text, b"\0" in data or _C1_LEAD in data

    def _block(self, text: str, suspicious: bool) -> Iterator[Record]:
        lines = text.split("\n")
        last = lines.pop()
        suspicious = suspicious and _CONTROLS.search(text) is not None
        plain = not self._pending and not suspicious and self._width and '"' not in text
        ending = "\n"
        if plain and "\r" in text:
            if text.count("\r\n") == text.count("\r") == len(lines):
                lines = text.replace("\r\n", "\n").split("\n")
                last = lines.pop()
                ending = "\r\n"
            else:
                plain = False
        if plain and lines:
            yield from self._plain_lines(lines, ending)
        else:
            for line in lines:
                yield from self._any_line(line, "\n", suspicious)
        if last:
            yield from self._any_line(last, "", suspicious)

    def _plain_lines(self, lines: list[str], ending: str) -> Iterator[Record]:
        """Lines without quotes and control characters, each of them one record."""
        width = self._width
        number = self._line
        self._note_ending(ending, number)
        for line in lines:
            cells: list[str | None] = line.split(",")  # type: ignore[assignment]  # list is invariant; None is put in below
            if "" in cells:
                cells = [cell or None for cell in cells]
            if len(cells) == width and line:
                yield Record(cells, number, line, ending)
            else:
                self._line = number
                self._refuse_shape(cells, line)
            number += 1
        self._line = number

    def _any_line(self, line: str, ending: str, suspicious: bool) -> Iterator[Record]:
        """One physical line in any state: it may begin, continue or end a quoted cell."""
        number = self._line
        self._line += 1
        if suspicious and self._refuse_controls(line, number):
            self._pending = []
            return
        body = line
        if ending and line.endswith("\r"):
            body, ending = line[:-1], "\r\n"
        if not self._pending and '"' not in body:
            if "\r" in body:
                self._refuse_return(body, number)
                return
            raw, cells = body, [cell or None for cell in body.split(",")]
        else:
            inside, error_at, opened_at = _scan(body, bool(self._pending))
            if opened_at >= 0:
                self._opened = (number, opened_at + 1)
            if error_at >= 0:
                self._refuse_quote(body, error_at, number)
                return
            if inside:
                self._hold(line)
                return
            raw = "\n".join([*self._pending, body]) if self._pending else body
            number -= len(self._pending)
            self._pending = []
            cells = _split(raw)
        self._note_ending(ending, self._line - 1)
        if not self._width:
            self._width = len(cells) if raw else 0
        if len(cells) == self._width and raw:
            yield Record(cells, number, raw, ending)
        else:
            self._refuse_shape(cells, raw, number)

    def _hold(self, line: str) -> None:
        if not self._pending:
            self._pending_size = 0
        self._pending.append(line)
        self._pending_size += len(line)
        if self._pending_size > self._limit:
            self._fail_size(*self._opened)

    def _note_ending(self, ending: str, line: int) -> None:
        if not ending or self._mixed:
            return
        if not self._ending:
            self._ending = ending
        elif ending != self._ending:
            self._mixed = True
            self._problem(
                MIXED_NEWLINES, line, None, "some lines end in LF, others in CRLF", fix="save the file with LF line ends"
            )

    def _check_header(self, header: Record) -> None:
        seen: dict[str, int] = {}
        for index, cell in enumerate(header.cells):
            if not cell:
                line, column = header.position(index)
                self._problem(BLANK_COLUMN, line, column, f"column {index + 1} has no name", fix="name it or remove the column")
                continue
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", cell).casefold())
            if folded in seen:
                line, column = header.position(index)
                message = (
                    f"column {index + 1}, {cell!r}, has the name of column {seen[folded] + 1}, {header.cells[seen[folded]]!r}"
                )
                self._problem(DUPLICATE_COLUMN, line, column, message, fix="rename one of them", value=cell)
            else:
                seen[folded] = index

    def _refuse_shape(self, cells: list[str | None], raw: str, number: int | None = None) -> None:
        line = self._line if number is None else number
        if not raw:
            self._problem(BLANK_LINE, line, 1, "the line is blank", fix="remove it")
            return
        if _CONFLICT_LINE.match(raw):
            fix = "resolve the conflict and remove the <<<<<<<, ======= and >>>>>>> lines"
            self._problem(CONFLICT, line, 1, "unresolved merge", fix=fix, value=raw)
            return
        extra = len(cells) > self._width
        at = self._width if extra else len(cells)
        record = Record(cells, line, raw, "")
        place = record.position(at)
        fix = "remove the extra cells, or quote the cell that holds a comma" if extra else "add the missing cells"
        self._problem(RAGGED, *place, f"the row has {count_cells(len(cells))}, the header {self._width}", fix=fix, value=raw)

    def _refuse_quote(self, body: str, at: int, number: int) -> None:
        self._pending = []
        if body[at] == "\r":
            self._refuse_return(body, number, at)
        elif _opens_cell(body, at, self._opened, number):
            line, column = self._opened
            message = f"text follows the closing quote of the cell that opens at line {line}, column {column}"
            self._problem(QUOTE, number, at + 1, message, fix='double a quote that belongs to the text: ""', value=body)
        else:
            message = "a quote stands inside a cell that does not begin with one"
            fix = "put the whole cell in quotes and double the quotes in it"
            self._problem(QUOTE, number, at + 1, message, fix=fix, value=body)

    def _refuse_return(self, body: str, number: int, at: int | None = None) -> None:
        column = body.index("\r") + 1 if at is None else at + 1
        fix = "save the file with LF line ends, or quote the cell"
        self._problem(LONE_CR, number, column, "a CR stands without LF outside quotes", fix=fix)

    def _refuse_controls(self, line: str, number: int) -> bool:
        bad = _CONTROLS.search(line)
        if bad is None:
            return False
        if bad[0] == "\0":
            self._problem(NUL, number, bad.start() + 1, "the cell holds a NUL character", fix="remove it")
        else:
            message = f"the cell holds the control character U+{ord(bad[0]):04X}"
            fix = "remove it; text from Windows programs was probably converted wrongly"
            self._problem(CONTROL, number, bad.start() + 1, message, fix=fix)
        return True

    def _fail_size(self, line: int, column: int) -> None:
        message = f"the record has more than {self._limit:,} characters; a quote may be missing"
        fix = "close the quoted cell that opens here"
        raise InvalidText([found(RECORD_SIZE, self.path, message, line=line, column=column, fix=fix)])

    def _problem(self, broken: Rule, line: int, column: int | None, message: str, *, fix: str, value: str | None = None) -> None:
        finding = found(broken, self.path, message, line=line, column=column, fix=fix, value=value)
        if not finding.blocking:
            self.warnings.append(finding)
        if finding.blocking and (self._report is None or not self._width):
            # Without a header nothing below can be judged: one finding ends the reading.
            raise InvalidText([finding])
        if self._report is not None:
            self._report(finding)


def read(data: bytes, path: str) -> tuple[Record, list[Record]]:
    """The header and all records of a small file; raises InvalidText with every problem found (at most 1,000)."""
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        findings.append(finding)
        if len(findings) >= 1000:
            raise InvalidText(findings)

    reader = Reader(data, path, report=report)
    records = list(reader)
    blocking = [finding for finding in findings if finding.blocking]
    if blocking or reader.header is None:
        raise InvalidText(blocking)
    return reader.header, records


def count_cells(count: int) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} cell" if count == 1 else f"{count} cells"


def _position(raw: str, offset: int, line: int) -> tuple[int, int]:
    before = raw.rfind("\n", 0, offset)
    return line + raw.count("\n", 0, offset), offset - before


def _cell_spans(raw: str) -> Iterator[tuple[int, int]]:
    at = 0
    while True:
        match = _CELL.match(raw, at)
        if match is None:
            yield at, len(raw)
            return
        yield match.span(1)
        if not match[2]:
            return
        at = match.end()


def _scan(body: str, inside: bool) -> tuple[bool, int, int]:
    """Walk one line: (quoted cell open at its end, offset of the first error, offset of the last opening quote); -1 is none."""
    at, opened, length = 0, -1, len(body)
    while True:
        if inside:
            match = _CLOSE.match(body, at)
            if match is None:
                return True, -1, opened
            at = match.end()
            inside = False
        elif body.startswith('"', at):
            opened = at
            at += 1
            inside = True
            continue
        else:
            at = _PLAIN.match(body, at).end()  # type: ignore[union-attr]  # the pattern matches the empty text
        if at == length:
            return False, -1, opened
        if body[at] != ",":
            return False, at, opened
        at += 1


def _opens_cell(body: str, at: int, opened: tuple[int, int], number: int) -> bool:
    """Whether the error at `at` follows a closing quote (else it is a quote inside an unquoted cell)."""
    return at > 0 and body[at - 1] == '"' and (opened[0] < number or opened[1] <= at)


def _split(raw: str) -> list[str | None]:
    """The cells of a record that `_scan` has found well-formed."""
    if '""' in raw:
        spans = _cell_spans(raw)
        return [_unquoted(raw[start:end]) if raw.startswith('"', start) else raw[start:end] or None for start, end in spans]
    # Without doubled quotes, every second part lies outside of quotes: cutting there is twice as fast.
    parts = raw.split('"')
    last = len(parts) - 1
    if not last:
        return [cell or None for cell in raw.split(",")]
    cells: list[str | None] = [cell or None for cell in parts[0][:-1].split(",")] if parts[0] else []
    for at in range(1, last, 2):
        cells.append(parts[at])
        between = parts[at + 1]
        outside = between[1:] if at + 1 == last else between[1:-1]
        if between and (at + 1 == last or len(between) > 1):
            cells.extend([cell or None for cell in outside.split(",")])
    return cells


def _unquoted(spelled: str) -> str:
    return spelled[1:-1].replace('""', '"')

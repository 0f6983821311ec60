"""The strict tier: one CSV file against its table, cell by cell, every problem at its line and column.

Slow and complete where the columnar tier is quick and only says whether all is well; whatever that one accepts is accepted here,
with equal values. What is judged across rows (keys, relationships, checks) is `schemas.tables.rows`. The dialect of CSV is
`schemas.csv_text`, the spelling of cells `schemas.tables.types`.

An empty cell is NULL, never the column's default. Of each rule the first 100 findings per file are kept, and a last one says
how many there are in all.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import BinaryIO

from schemas.csv_text import Reader, Record
from schemas.errors import InvalidText
from schemas.findings import Finding, Rule, Severity, found, rule
from schemas.tables.model import Column, Project, Table
from schemas.tables.names import same_name
from schemas.tables.spelling import described
from schemas.tables.types import BadCell, shown

MISSING_COLUMN = rule("tables-missing-column", Severity.ERROR, "The header has every stored column of the table.")
SEPARATOR = rule("tables-separator", Severity.ERROR, "Commas separate the cells of a row.")
EXTRA_COLUMN = rule("tables-extra-column", Severity.ERROR, "The header has no column that the table does not have.")
CELL = rule("tables-cell", Severity.ERROR, "A cell is in the canonical spelling of its column's type.")
NULL = rule("tables-null", Severity.ERROR, "Cells of columns that cannot be NULL are filled.")
CHOICE = rule("tables-choice", Severity.ERROR, "A cell is one of its column's choices.")
RANGE = rule("tables-range", Severity.ERROR, "A value lies between its column's min and max.")
LENGTH = rule("tables-length", Severity.ERROR, "A value is as long as its column allows.")
PATTERN = rule("tables-pattern", Severity.ERROR, "A cell matches its column's pattern.")
NOT_NFC = rule("tables-not-nfc", Severity.WARNING, "Text is in Unicode form NFC; it is kept as given.")
FORMULA = rule("tables-formula", Severity.INFO, "Text that a spreadsheet would run as a formula is known.")
BOM = rule("csv-bom", Severity.WARNING, "A CSV file begins without a byte-order mark.")
FINAL_NEWLINE = rule("csv-final-newline", Severity.INFO, "A CSV file ends in a line feed.")
SPREADSHEET = rule("tables-empty-strings-lost", Severity.WARNING, "Empty strings survive a spreadsheet as empty strings.")

CAP = 100
"""Findings kept per rule and file."""

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other programs put between cells. Nothing is read with them; they are only pointed out."""

Source = bytes | BinaryIO


class Report:
    """Collects findings, at most `cap` of each rule and path, and counts the rest."""

    def __init__(self, cap: int = CAP) -> None:
        self.cap = cap
        self.kept: list[Finding] = []
        self.totals: Counter[tuple[str, str]] = Counter()
        self._listed: Counter[tuple[str, str]] = Counter()

    def __call__(self, finding: Finding) -> None:
        kind = (finding.rule, finding.path)
        self.totals[kind] += 1
        if self._listed[kind] < self.cap:
            self._listed[kind] += 1
            self.kept.append(finding)

    def count(self, rule_id: str, path: str, more: int) -> None:
        """Counts `more` findings that were not handed in."""
        self.totals[rule_id, path] += more

    def findings(self) -> list[Finding]:
        """What was kept, in order of place, and for each rule that was cut one finding with the total."""
        made = list(self.kept)
        for (rule_id, path), total in self.totals.items():
            if total > self.cap:
                like = next(finding for finding in self.kept if (finding.rule, finding.path) == (rule_id, path))
                message = f"{total:,} problems of this kind in all; the first {self.cap} are listed"
                made.append(replace(like, message=message, line=None, column=None, fix=None, value=None, replacement=None))
        return sorted(made)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one cell: the rule, a message, and the spelling to write instead, `safe` when nothing is lost by it."""

    rule: Rule
    message: str
    suggestion: str | None = None
    safe: bool = False


def judge_cell(column: Column, cell: str) -> Problem | None:
    """What is wrong with a cell that is not NULL, its type and its column's limits considered; None when it is fine."""
    try:
        column.column_type.parse(cell)
    except BadCell as bad:
        return Problem(CELL, bad.message, bad.suggestion, bad.safe)
    return judge_limits(column, cell)


def judge_limits(column: Column, cell: str) -> Problem | None:
    """What is wrong with a cell in the canonical form of its type: choices, range, length, pattern."""
    kind = column.column_type
    if column.allowed is not None and cell not in column.allowed:
        close = difflib.get_close_matches(cell, sorted(column.allowed), n=1, cutoff=0.6)
        return Problem(CHOICE, f"{shown(cell)} is not one of {_listed(sorted(column.allowed))}", close[0] if close else None)
    low, high = column.bounds
    if low is not None or high is not None:
        value = kind.parse(cell)
        if low is not None and value < low:
            return Problem(RANGE, f"{shown(cell)} is below the least value, {column.min}")
        if high is not None and value > high:
            return Problem(RANGE, f"{shown(cell)} is above the greatest value, {column.max}")
    if column.min_length is not None or column.max_length is not None:
        length = len(kind.parse(cell)) if kind.base == "blob" else len(cell)
        unit = "bytes" if kind.base == "blob" else "characters"
        if column.min_length is not None and length < column.min_length:
            return Problem(LENGTH, f"{shown(cell)} has {length} {unit}, at least {column.min_length} are needed")
        if column.max_length is not None and length > column.max_length:
            return Problem(LENGTH, f"{shown(cell)} has {length} {unit}, {column.max_length} are allowed")
    if column.pattern is not None and not matches_pattern(column.pattern, cell):
        return Problem(PATTERN, f"{shown(cell)} does not match {column.pattern}")
    return None


def within_limits(column: Column, cell: str) -> bool:
    """Whether a canonical cell is within its column's choices, range, length and pattern."""
    return judge_limits(column, cell) is None


@lru_cache(maxsize=65_536)
def matches_pattern(pattern: str, cell: str) -> bool:
    """Whether RE2 matches `pattern` with the whole cell; linear in its length, whatever the pattern."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.scalar(cell), pattern=rf"\A(?:{pattern})\z").as_py())


def check_table(source: Source, path: str, project: Project, table_name: str) -> Iterator[Finding]:
    """Every problem of one table's file that can be seen row by row; `path` is shown in the findings."""
    report = Report()
    for _ in TableReader(source, path, project, table_name, report):
        pass
    yield from report.findings()


def read_rows(source: Source, path: str, project: Project, table_name: str) -> Iterator[list[str | None]]:
    """The cells of every row in the order of the table's stored columns.

    Raises InvalidText at the first problem that blocks.
    """

    def refuse(finding: Finding) -> None:
        if finding.blocking:
            raise InvalidText([finding])

    for row in TableReader(source, path, project, table_name, refuse):
        yield row.cells


@dataclass(slots=True)
class TableRow:
    """One well-shaped record: its number from 0, its first line, and its cells in the order of the stored columns.

    `bad` names the columns whose cells are wrong; their cells are None here.
    """

    number: int
    line: int
    cells: list[str | None]
    bad: tuple[str, ...] = ()


@dataclass(slots=True)
class _Place:
    """One stored column and where its cells stand in the file's records (-1 when the header lacks it)."""

    column: Column
    index: int
    accepts: Callable[[str], object] | None
    """A quick test that is truthy for good cells; None when any cell is good."""
    prose: bool


class TableReader:
    """Iterates over the well-shaped records of one file as TableRow, handing every finding to `report`.

    `complete` is False after reading when records had to be left out or columns are missing, so that nothing may be concluded
    from the absence of a row.
    """

    def __init__(self, source: Source, path: str, project: Project, table_name: str, report: Callable[[Finding], None]) -> None:
        self.path = path
        self.table: Table = project.tables[table_name]
        self.null = project.format.null_text
        self.report = report
        self.complete = True
        self.places: list[_Place] = []
        self._source = source
        self._nulls: set[str] = set()
        self._empty_strings = False

    def __iter__(self) -> Iterator[TableRow]:
        reader = open_reader(self._source, self.path, self._structural)
        if reader is None or reader.header is None:
            self.complete = False
            return
        if reader.bom:
            self.report(
                found(BOM, self.path, "the file begins with a byte-order mark", line=1, column=1, fix="save it without one")
            )
        if self._other_separator(reader):
            return
        self._header(reader)
        last = reader.header
        for number, record in enumerate(reader):
            last = record
            yield self._row(number, record)
        if not last.ending and last.raw:
            line = last.line + last.raw.count("\n")
            self.report(found(FINAL_NEWLINE, self.path, "the last line does not end in LF", line=line, fix="end it with LF"))
        self._spreadsheet(reader)

    def _structural(self, finding: Finding) -> None:
        if finding.blocking:
            self.complete = False
        self.report(finding)

    def _other_separator(self, reader: Reader) -> bool:
        """Whether something else than commas separates the cells: said once, instead of everything that follows from it."""
        only = reader.columns[0] if len(reader.columns) == 1 else ""
        if only in self.table.stored:
            return False
        for sign, named in OTHER_SEPARATORS.items():
            names = {name.strip().strip('"') for name in only.split(sign)}
            if sign in only and names & set(self.table.stored):
                message = f"the file is separated by {named}; here commas separate the cells"
                fix = "save it with commas, or take over what a spreadsheet program saved: `headwater tables sheet import FILE`"
                self._structural(found(SEPARATOR, self.path, message, line=1, column=1, fix=fix, value=only))
                return True
        return False

    def _header(self, reader: Reader) -> None:
        header = reader.header
        assert header is not None
        names = reader.columns
        stored = self.table.stored
        missing = [name for name in stored if name not in names]
        for index, name in enumerate(names):
            if name and name not in stored:
                line, column = header.position(index)
                self._structural(self._extra(name, missing, line, column))
        for name in missing:
            message = f"the column {name!r} of table {self.table.name!r} is missing"
            self._structural(
                found(MISSING_COLUMN, self.path, message, line=1, column=1, fix="add it to the header and to every row")
            )
        for name, declared in stored.items():
            prose = declared.column_type.base in {"text", "enum"}
            self.places.append(_Place(declared, names.index(name) if name in names else -1, _quick_test(declared), prose))

    def _extra(self, name: str, missing: list[str], line: int, column: int) -> Finding:
        replacement = None
        if name in self.table.columns:
            message, fix = f"{name!r} is a generated column; it has no cells in the file", "remove the column"
        else:
            message = f"table {self.table.name!r} has no column {name!r}"
            same = [known for known in missing if same_name(known.strip()) == same_name(name.strip())]
            close = same or difflib.get_close_matches(name, missing, n=1, cutoff=0.6)
            fix = f"write {close[0]!r}" if close else "remove it, or add it to project.yaml"
            replacement = same[0] if len(same) == 1 else None
        return found(EXTRA_COLUMN, self.path, message, line=line, column=column, fix=fix, value=name, replacement=replacement)

    def _row(self, number: int, record: Record) -> TableRow:
        cells: list[str | None] = []
        bad: list[str] = []
        raw = record.cells
        null = self.null
        for place in self.places:
            index = place.index
            if index < 0:
                cells.append(None)
                continue
            cell = raw[index]
            if null:
                cell = None if cell == null and not record.quoted(index) else cell or ""
            if cell is None:
                if place.column.is_nullable:
                    if place.prose:
                        self._nulls.add(place.column.name)
                else:
                    bad.append(place.column.name)
                    self._null(place, record)
            elif place.accepts is not None and not place.accepts(cell):
                self._cell(place, record, cell)
                bad.append(place.column.name)
                cell = None
            elif place.prose:
                if not cell:
                    self._empty_strings = True
                elif cell[0] in "=+-@\t\r" or not cell.isascii():
                    self._prose(place, record, cell)
            cells.append(cell)
        return TableRow(number, record.line, cells, tuple(bad))

    def _null(self, place: _Place, record: Record) -> None:
        line, column = record.position(place.index)
        name = place.column.name
        in_key = name in self.table.primary_key
        message = f"{name} is in the primary key and cannot be empty" if in_key else f"{name} cannot be NULL"
        fix = 'write the value; "" is the empty string' if place.prose else "write the value"
        self.report(found(NULL, self.path, message, line=line, column=column, fix=fix, value=""))

    def _cell(self, place: _Place, record: Record, cell: str) -> None:
        problem = judge_cell(place.column, cell)
        assert problem is not None
        line, column = record.position(place.index)
        message = f"{place.column.name}: {problem.message}"
        if problem.suggestion is not None:
            fix = f"write {problem.suggestion}"
        else:
            allowed = described(place.column.column_type) if problem.rule is CELL else "an allowed value"
            fix = f"write {allowed}" + (", or leave the cell empty for NULL" if place.column.is_nullable else "")
        replacement = problem.suggestion if problem.safe else None
        self.report(
            found(problem.rule, self.path, message, line=line, column=column, fix=fix, value=cell, replacement=replacement)
        )

    def _prose(self, place: _Place, record: Record, cell: str) -> None:
        name = place.column.name
        if not unicodedata.is_normalized("NFC", cell):
            line, column = record.position(place.index)
            message = f"{name}: {shown(cell)} is not in Unicode form NFC, so it differs from text that looks the same"
            self.report(found(NOT_NFC, self.path, message, line=line, column=column, fix="type it again", value=cell))
        if cell[0] in "=+-@\t\r":
            line, column = record.position(place.index)
            message = f"{name}: a spreadsheet would read {shown(cell)} as a formula"
            self.report(found(FORMULA, self.path, message, line=line, column=column, value=cell))

    def _spreadsheet(self, reader: Reader) -> None:
        crlf = reader.header is not None and reader.header.ending == "\r\n"
        if reader.bom and crlf and self._nulls and not self._empty_strings:
            names = ", ".join(sorted(self._nulls))
            message = f"the file looks saved by a spreadsheet, which turns empty strings into NULL; look at {names}"
            fix = 'write "" where an empty string is meant, or use `headwater tables sheet import`'
            self.report(found(SPREADSHEET, self.path, message, fix=fix))


def open_reader(source: Source, path: str, report: Callable[[Finding], None]) -> Reader | None:
    """A Reader that reports to `report`; None when the file has no header that could be read, which is reported too."""
    try:
        return Reader(source, path, report=report)
    except InvalidText as invalid:
        for finding in invalid.findings:
            report(finding)
        return None


def _quick_test(column: Column) -> Callable[[str], object] | None:
    kind = column.column_type
    limits = (column.min_length, column.max_length, column.pattern)
    if any(limit is not None for limit in limits) or (column.enum is not None and kind.base != "enum"):
        return lambda cell: judge_cell(column, cell) is None
    low, high = column.bounds
    if low is not None or high is not None:
        accepts, parse = kind.accepts, kind.parse
        return lambda cell: accepts(cell) and (low is None or low <= parse(cell)) and (high is None or parse(cell) <= high)
    if kind.base == "text":
        return None
    return kind.accepts


def _listed(values: list[str]) -> str:
    return ", ".join(values[:8]) + (", …" if len(values) > 8 else "")

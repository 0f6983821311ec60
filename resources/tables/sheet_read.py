"""Reading what a spreadsheet saved (a workbook, or CSV in one of the ways Excel writes it) as row changes of a table.

The columns are those that project.yaml declares: the delimiter is the one under which the header is exactly them, types are the
declared ones (`resources.tables.sheet_cells`), nothing is sniffed. Rows are matched by primary key, keys that lost their zeros
included. Nothing is written here.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.tables.records import Cells, Change, parse_record, split_records
from resources.tables.sheet_cells import Ambiguous, DateOrder, Locale, Loss, convert
from resources.tables.sheet_write import CHOICES, DIGEST, sheet_titles
from schemas.errors import HeadwaterError
from schemas.findings import Finding, found
from schemas.tables.incoming import SHEET_CELL, SHEET_KEY
from schemas.tables.model import Project, Table
from schemas.tables.types import BadCell

DELIMITERS = (";", ",", "\t")
SIZE_LIMIT = 1 << 30
"""Bytes of a workbook's members, unpacked."""
FINDINGS = 100


@dataclass(slots=True)
class Sheet:
    """One table as the spreadsheet has it: rows with where they stand, their values under the declared names."""

    table: str
    where: str
    rows: list[tuple[str, dict[str, Any]]]
    decimal_comma: bool = False


@dataclass(slots=True)
class SheetChanges:
    """What an import of one sheet would do: changed rows, losses undone per column, problems, and dates that need an answer."""

    table: str
    changes: list[Change] = field(default_factory=list)
    losses: Counter[tuple[str, Loss]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0


def _refuse(message: str, path: str, fix: str) -> HeadwaterError:
    return HeadwaterError(message, rule="sheet-file", path=path, fix=fix)


def read_sheets(path: Path, project: Project, table: str | None = None) -> tuple[list[Sheet], str | None]:
    """The sheets of a workbook, or the one table of a CSV file, and the digest of the text that a workbook of ours was made from.

    `table` names the table where file name, sheet title and columns do not. Raises HeadwaterError (rule `sheet-…`).
    """
    if table is not None and table not in project.tables:
        raise _refuse(f"there is no table {table}", path.name, f"name one of: {', '.join(project.tables)}")
    data = path.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        return _workbook(data, path.name, project, table)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise _refuse("this is a workbook of Excel 97 or an encrypted one", path.name, "save it as .xlsx without a password")
    return [_csv(data, path, project, table)], None


# -- CSV


def _csv(data: bytes, path: Path, project: Project, table: str | None) -> Sheet:
    text = _decoded(data, path.name)
    names = [table] if table is not None else _likely(path.stem, project)
    for name in names:
        wanted = sorted(project.tables[name].stored)
        for delimiter in DELIMITERS:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            try:
                header = [cell.strip() for cell in next(reader, [])]
                if sorted(header) == wanted:
                    return Sheet(name, path.name, _csv_rows(reader, header, path.name), decimal_comma=delimiter != ",")
            except csv.Error as error:
                raise _refuse(f"line {reader.line_num}: {error}", path.name, "save it again from the spreadsheet") from None
    whose = f"table {names[0]}" if len(names) == 1 else "any table"
    listed = "; ".join(f"{name}: {', '.join(project.tables[name].stored)}" for name in names[:3])
    raise _refuse(f"its columns are not those of {whose}", path.name, f"give it these, in any order: {listed}")


def _csv_rows(reader: Any, header: list[str], name: str) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    start = reader.line_num + 1
    for cells in reader:
        if any(cells):
            if len(cells) != len(header):
                raise _refuse(f"line {start} has {len(cells)} cells where {len(header)} belong", name, "mend the line")
            rows.append((f"{start}", dict(zip(header, cells, strict=True))))
        start = reader.line_num + 1
    return rows


def _likely(stem: str, project: Project) -> list[str]:
    exact = [name for name in project.tables if name.casefold() == stem.casefold()]
    return exact or list(project.tables)


def _decoded(data: bytes, name: str) -> str:
    """The text of a CSV file as Excel writes it: UTF-8 or UTF-16 with their marks, else UTF-8, else Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _refuse(f"byte {error.start} is neither UTF-8 nor Windows-1252", name, "save it as CSV UTF-8") from None


# -- workbooks


def _workbook(data: bytes, name: str, project: Project, table: str | None) -> tuple[list[Sheet], str | None]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > SIZE_LIMIT:
                raise _refuse("it unpacks to more than 1 GiB", name, "import the tables one by one as CSV")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        raise _refuse(f"not a readable workbook: {error}", name, "save it again as .xlsx") from None
    titles = {title: known for known, title in sheet_titles(project, project.tables).items()}
    sheets = []
    for sheet in book.worksheets:
        if sheet.title == CHOICES or sheet.sheet_state != "visible":
            continue
        rows = sheet.iter_rows(values_only=True)
        header = _header(next(rows, ()))
        known = table if table is not None and len(book.worksheets) == 1 else titles.get(sheet.title)
        known = known or _by_columns(header, project)
        if known is None or (table is not None and known != table):
            continue
        wanted = project.tables[known].stored
        if sorted(header) != sorted(wanted):
            raise _refuse(
                f"sheet {sheet.title!r} has the columns {', '.join(header)}",
                name,
                f"give it those of {known}: {', '.join(wanted)}",
            )
        found_rows = [
            (f"{sheet.title}!{number}", dict(zip(header, values, strict=False)))
            for number, values in enumerate(rows, 2)
            if any(value is not None and value != "" for value in values)
        ]
        sheets.append(Sheet(known, f"{name}, sheet {sheet.title}", found_rows))
    digest = next((prop.value for prop in book.custom_doc_props if prop.name == DIGEST), None)
    book.close()
    if not sheets:
        raise _refuse("none of its sheets is a table of this project", name, f"call the sheets: {', '.join(titles)}")
    return sheets, digest


def _header(values: Iterable[Any]) -> list[str]:
    header = ["" if value is None else str(value).strip() for value in values]
    while header and not header[-1]:
        header.pop()
    return header


def _by_columns(header: Sequence[str], project: Project) -> str | None:
    fitting = [name for name, table in project.tables.items() if sorted(table.stored) == sorted(header)]
    return fitting[0] if len(fitting) == 1 else None


# -- changes


def sheet_changes(project: Project, sheet: Sheet, data: bytes, dates: DateOrder | None = None) -> SheetChanges:
    """How the sheet differs from `data`, the table's CSV text. `dates` says how dates such as 03/04/2026 are to be read.

    Raises HeadwaterError (rule `sheet-no-key`) for a table without a primary key, whose rows cannot be matched.
    """
    table = project.tables[sheet.table]
    if not table.primary_key:
        raise HeadwaterError(
            f"table {table.name} has no primary key: its rows cannot be told apart", rule="sheet-no-key", fix="declare one first"
        )
    old = _old_rows(project, table, data)
    made = SheetChanges(sheet.table, rows=len(sheet.rows))
    locale = Locale(sheet.decimal_comma, dates)
    keys = _Keys(table, old, locale)
    seen: dict[Cells, str] = {}
    for where, values in sheet.rows:
        before = keys.find(values)
        row = _row(made, table, sheet, where, values, before, locale)
        if row is None:
            continue
        key = tuple(row[name] for name in table.primary_key)
        if key in seen or None in key:
            message = "the row has no primary key" if None in key else f"the row has the same key as the one at {seen[key]}"
            made.findings.append(found(SHEET_KEY, sheet.where, f"{where}: {message}", fix="mend the spreadsheet"))
            continue
        seen[key] = where
        present = old.get(key)
        if present is None:
            made.changes.append(Change(key, None, row))
        elif any(present[name] != row[name] for name in row):
            made.changes.append(Change(key, present, row))
    if not made.findings and not made.ambiguous:
        made.changes += [Change(key, row, None) for key, row in old.items() if key not in seen]
    return made


def _row(
    made: SheetChanges,
    table: Table,
    sheet: Sheet,
    where: str,
    values: dict[str, Any],
    before: dict[str, str | None] | None,
    locale: Locale,
) -> dict[str, str | None] | None:
    row: dict[str, str | None] = {}
    whole = True
    for name, column in table.stored.items():
        raw = values.get(name)
        try:
            cell = convert(column, raw, locale, before.get(name) if before is not None else None)
        except Ambiguous as both:
            made.ambiguous.setdefault(name, []).append(both.raw)
            whole = False
            continue
        except BadCell as bad:
            whole = False
            if len(made.findings) < FINDINGS:
                fix = f"write {bad.suggestion}" if bad.suggestion else "mend the spreadsheet"
                made.findings.append(found(SHEET_CELL, sheet.where, f"{where}, {name}: {bad.message}", value=str(raw), fix=fix))
            continue
        if cell.loss is not None:
            made.losses[name, cell.loss] += 1
        row[name] = cell.cell
    return row if whole else None


def _old_rows(project: Project, table: Table, data: bytes) -> dict[Cells, dict[str, str | None]]:
    header, *records = split_records(data, table.data_file)
    names = [name or "" for name in parse_record(header, null="\0")]
    rows: dict[Cells, dict[str, str | None]] = {}
    for record in records:
        row = dict(zip(names, parse_record(record, project.format.null_text), strict=True))
        rows[tuple(row[name] for name in table.primary_key)] = row
    return rows


class _Keys:
    """Finds the row of the text that a row of the sheet is, also when the spreadsheet took zeros off its key."""

    def __init__(self, table: Table, old: dict[Cells, dict[str, str | None]], locale: Locale) -> None:
        self.table = table
        self.old = old
        self.locale = locale
        self.loose: dict[Cells, list[Cells]] = {}
        for key in old:
            self.loose.setdefault(tuple(_loose(cell) for cell in key), []).append(key)

    def find(self, values: dict[str, Any]) -> dict[str, str | None] | None:
        try:
            key = tuple(convert(self.table.columns[name], values.get(name), self.locale).cell for name in self.table.primary_key)
        except (BadCell, Ambiguous):
            key = tuple(None if values.get(name) is None else str(values[name]) for name in self.table.primary_key)
        if key in self.old:
            return self.old[key]
        near = self.loose.get(tuple(_loose(cell) for cell in key), [])
        return self.old[near[0]] if len(near) == 1 else None


def _loose(cell: str | None) -> str | None:
    return cell if cell is None or not cell.isdigit() else cell.lstrip("0") or "0"

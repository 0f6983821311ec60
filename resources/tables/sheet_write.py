"""A tables project as an Excel workbook: a sheet per table, types locked, choices from enumerations and keys.

What a spreadsheet would change (leading zeros, long numbers, moments, text that looks like a formula) is written as text cells.
An empty text is written as two quotes, because a spreadsheet knows only one kind of nothing. Reading back is
`resources.tables.sheet_read`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import IO, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.packaging.custom import StringProperty
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from resources.tables.records import Cells, parse_record, split_records
from schemas.errors import HeadwaterError
from schemas.tables.model import Column, Project, Table

CELL_LIMIT = 32_767
"""Characters that a spreadsheet keeps of one cell."""
ROW_LIMIT = 1_048_576
CHOICES = "_choices"
"""The hidden sheet that long lists of choices lie in."""
DIGEST = "headwater text"
"""The workbook property with the digest of the text it was made from."""
_SAFE_DIGITS = 15
_FIRST_DATE = dt.date(1900, 3, 1)
"""Spreadsheets disagree about earlier days: Excel has a 29 February 1900."""
_TITLE = re.compile(r"[\[\]:*?/\\]")
_INLINE_CHOICES = 255


def sheet_titles(project: Project, tables: Iterable[str]) -> dict[str, str]:
    """Table -> title of its sheet: at most 31 characters, none that Excel refuses, all different without regard to case."""
    made: dict[str, str] = {}
    taken = {CHOICES}
    for name in tables:
        base = (_TITLE.sub("_", name).strip("'") or "table")[:31]
        title, number = base, 2
        while title.casefold() in taken:
            title, number = f"{base[:27]}~{number}", number + 1
        taken.add(title.casefold())
        made[name] = title
    return made


def shown_text(cell: str) -> str:
    """A text cell as the sheet has it: empty text as two quotes, text of nothing but quotes with two more."""
    return cell + '""' if set(cell) <= {'"'} else cell


def read_text(shown: str) -> str:
    """The text behind `shown_text`."""
    return shown[:-2] if len(shown) >= 2 and set(shown) == {'"'} else shown


def write_workbook(
    project: Project, read: Callable[[str], bytes], target: IO[bytes], *, tables: Iterable[str], digest: str
) -> int:
    """Write the tables (`read(table)` gives their CSV text) to `target` and return how many rows there are.

    `digest` is kept in the workbook to tell later which text it was made from. Raises HeadwaterError (rule `sheet-…`) for what
    no spreadsheet can hold.
    """
    tables = list(tables)
    titles = sheet_titles(project, tables)
    book = Workbook(write_only=True)
    book.custom_doc_props.append(StringProperty(name=DIGEST, value=digest))
    choices: list[list[str]] = []
    counts: dict[str, int] = {}
    bodies = {name: split_records(read(name), project.tables[name].data_file) for name in tables}
    for name in tables:
        counts[name] = len(bodies[name]) - 1
        if counts[name] >= ROW_LIMIT:
            raise HeadwaterError(
                f"table {name} has {counts[name]:,} rows; a sheet holds {ROW_LIMIT - 1:,}",
                rule="sheet-rows",
                fix="choose smaller tables with --table",
            )
    for name in tables:
        table = project.tables[name]
        sheet = book.create_sheet(titles[name])
        sheet.freeze_panes = "A2"
        columns = list(table.stored.items())
        for place, (column_name, column) in enumerate(columns, 1):
            letter = get_column_letter(place)
            sheet.column_dimensions[letter].width = max(10, min(40, len(column_name) + 4))
            sheet.column_dimensions[letter].number_format = number_format(column)
            validation = _validation(project, name, column_name, column, titles, counts, choices)
            if validation is not None:
                validation.add(f"{letter}2:{letter}{ROW_LIMIT}")
                sheet.data_validations.append(validation)
        sheet.append([_bold(sheet, column_name) for column_name, _ in columns])
        header, *records = bodies[name]
        places = _places(table, header)
        for record in records:
            cells = parse_record(record, project.format.null_text)
            row = [cells[place] for place in places]
            sheet.append([_cell(sheet, name, column, cell) for (_, column), cell in zip(columns, row, strict=True)])
    if choices:
        sheet = book.create_sheet(CHOICES)
        sheet.sheet_state = "hidden"
        for row_place in range(max(map(len, choices))):
            sheet.append([listed[row_place] if row_place < len(listed) else None for listed in choices])
    book.save(target)
    return sum(counts.values())


def _places(table: Table, header: bytes) -> list[int]:
    names: Cells = parse_record(header, null="\0")
    return [names.index(name) for name in table.stored]


def number_format(column: Column) -> str:
    """The cell format that keeps a spreadsheet from reading a value as another type."""
    kind = column.column_type
    if kind.base == "integer":
        return "0"
    if kind.base == "decimal" and kind.precision <= _SAFE_DIGITS:
        return "0." + "0" * kind.scale if kind.scale else "0"
    if kind.base == "date":
        return "yyyy-mm-dd"
    return "General" if kind.base in {"float", "boolean"} else "@"


def _bold(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    cell.font = Font(bold=True)
    return cell


def _cell(sheet: Any, table: str, column: Column, cell: str | None) -> Any:
    if cell is None:
        return None
    value = _value(column, cell)
    if isinstance(value, str) and len(value) > CELL_LIMIT:
        raise HeadwaterError(
            f"a cell of {table}.{column.name} has {len(value):,} characters; a spreadsheet keeps {CELL_LIMIT:,}",
            rule="sheet-cell",
            fix="leave the table out with --table",
        )
    made = WriteOnlyCell(sheet, None)
    if isinstance(value, str):
        made.value = value
        # Never a formula, whatever the text begins with.
        made.data_type = "s"
        made.number_format = "@"
        made.quotePrefix = value[:1] in {"=", "+", "-", "@", "\t", "'"}
    else:
        made.value = value
        made.number_format = number_format(column)
    return made


def _value(column: Column, cell: str) -> Any:
    """What goes into the sheet for a canonical cell: a number, date or truth value that the sheet keeps exactly, else text."""
    kind = column.column_type
    digits = sum(character.isdigit() for character in cell)
    if kind.base == "integer" and digits <= _SAFE_DIGITS:
        return int(cell)
    if kind.base == "decimal" and kind.precision <= _SAFE_DIGITS:
        return float(cell)
    if kind.base == "float":
        return float(cell)
    if kind.base == "boolean":
        return cell == "true"
    if kind.base == "date":
        day = dt.date.fromisoformat(cell)
        return day if day >= _FIRST_DATE else cell
    return shown_text(cell) if kind.base in {"text", "enum"} else cell


def _validation(
    project: Project,
    table: str,
    name: str,
    column: Column,
    titles: dict[str, str],
    counts: dict[str, int],
    choices: list[list[str]],
) -> DataValidation | None:
    """What the sheet lets people enter in a column, where it can say that."""
    blank = column.is_nullable
    source = _choices(project, table, name, column, titles, counts, choices)
    if source is not None:
        made = DataValidation(type="list", formula1=source, allow_blank=blank)
    elif column.column_type.base == "integer":
        low = column.min if column.min is not None else -(10**_SAFE_DIGITS)
        high = column.max if column.max is not None else 10**_SAFE_DIGITS
        made = DataValidation(type="whole", operator="between", formula1=str(low), formula2=str(high), allow_blank=blank)
    elif column.column_type.base == "text" and column.max_length is not None:
        made = DataValidation(type="textLength", operator="lessThanOrEqual", formula1=str(column.max_length), allow_blank=blank)
    else:
        return None
    made.errorTitle = f"{table}.{name}"[:32]
    made.error = f"{column.type}, as project.yaml says"[:255]
    made.showErrorMessage = True
    return made


def _choices(
    project: Project,
    table: str,
    name: str,
    column: Column,
    titles: dict[str, str],
    counts: dict[str, int],
    choices: list[list[str]],
) -> str | None:
    """The formula of a list of choices: of an enumeration, or of the keys that a foreign key may point at."""
    if column.column_type.base == "boolean":
        return '"TRUE,FALSE"'
    if column.allowed is not None and column.column_type.base in {"text", "enum"}:
        listed = [column.cell(value) for value in column.enum or ()]
        joined = ",".join(listed)
        if len(joined) <= _INLINE_CHOICES - 2 and not any("," in one or '"' in one for one in listed):
            return f'"{joined}"'
        choices.append(listed)
        letter = get_column_letter(len(choices))
        return f"'{CHOICES}'!${letter}$1:${letter}${len(listed)}"
    for found in project.relationships_from(table).values():
        if list(found.child.columns) == [name] and found.parent.table in titles and counts.get(found.parent.table):
            parent = project.tables[found.parent.table]
            letter = get_column_letter(list(parent.stored).index(found.parent.columns[0]) + 1)
            title = titles[found.parent.table].replace("'", "''")
            return f"'{title}'!${letter}$2:${letter}${counts[found.parent.table] + 1}"
    return None

"""Writing CSV: one spelling per value, minimal quoting, LF. The reading side and the dialect are in `schemas.csv_text`.

Light: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from schemas.errors import HeadwaterError
from schemas.findings import Severity, rule

BLANK_LINE = rule("csv-blank-line", Severity.ERROR, "There are no blank lines.")
CONTROL = rule("csv-control-character", Severity.ERROR, "Cells hold no control characters of the C1 block (U+0080 to U+009F).")

Row = Sequence[str | None]
"""Cells of one record: None is NULL, `""` the empty string."""

_SPECIAL = re.compile('[",\r\n]')
_UNWRITABLE = re.compile("[\0\x80-\x9f\ud800-\udfff]")


def write_row(cells: Row) -> str:
    """One record with its LF: minimal quoting, None as nothing, `""` as two quotes.

    Raises HeadwaterError for what no reader could read back: NUL, C1 controls, halves of surrogate pairs
    (`csv-control-character`), and a single NULL, which would be a blank line (`csv-blank-line`).
    """
    filled = ["" if cell is None else cell or '""' for cell in cells]
    line = ",".join(filled)
    if (line.count(",") != len(filled) - 1 or _SPECIAL.search(line)) or not line.isascii() or "\0" in line:
        line = ",".join("" if cell is None else write_cell(cell) for cell in cells)
    if not line:
        raise HeadwaterError(
            "a row of one NULL cell cannot be written as CSV",
            rule=BLANK_LINE.id,
            fix="give the table a second column, or make the column not nullable",
        )
    return line + "\n"


def write_cell(cell: str) -> str:
    """One cell that is not NULL, quoted only where it must be. Raises HeadwaterError as `write_row` does."""
    if bad := _UNWRITABLE.search(cell):
        raise HeadwaterError(
            f"the character U+{ord(bad[0]):04X} cannot be written to CSV",
            rule=CONTROL.id,
            fix="remove it from the text",
        )
    if not cell or _SPECIAL.search(cell) or cell[0] == "\ufeff":
        return '"' + cell.replace('"', '""') + '"'
    return cell


def write(header: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a whole file. Raises HeadwaterError as `write_row` does."""
    yield write_row(header)
    for row in rows:
        yield write_row(row)

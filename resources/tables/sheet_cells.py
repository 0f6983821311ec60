"""One cell that a spreadsheet has saved, read as the type its column declares, with what the spreadsheet did to it on the way.

Spreadsheets take zeros off, shorten long numbers to `1.2E+12`, turn dates into the local way of writing, write TRUE in the
language of the machine, and know no empty text. Where the row is there already, a cell that shows only such a loss counts as
unchanged. A date that can be read in two ways is never guessed.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from resources.tables.sheet_write import read_text
from schemas.tables.model import Column
from schemas.tables.types import BadCell, ColumnType

TRUE = frozenset({"true", "wahr", "vrai", "vero", "verdadero", "verdadeiro", "waar", "sand", "sann", "sant", "prawda", "1"})
FALSE = frozenset({"false", "falsch", "faux", "falso", "onwaar", "falsk", "usann", "usant", "fałsz", "0"})
_DAY = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?\s*([AaPp][Mm])?")
_SCIENTIFIC = re.compile(r"-?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)


class DateOrder(StrEnum):
    """What comes first in a date such as 03/04/2026."""

    DAY = "day"
    MONTH = "month"


class Loss(StrEnum):
    """What a spreadsheet did to a cell that the text still has."""

    ZEROS = "leading zeros were lost"
    DIGITS = "digits were lost (1.2E+12)"
    EMPTY = "an empty text became nothing"
    MOMENT = "seconds or fractions were lost"
    SPELLING = "the spelling was changed"


class Ambiguous(Exception):
    """A date that can be read with the day or the month first."""

    def __init__(self, raw: str) -> None:
        super().__init__(raw)
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Locale:
    """How the file writes numbers and dates; `dates` None means that nobody has said."""

    decimal_comma: bool = False
    dates: DateOrder | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The canonical cell, and the loss that was undone to get it."""

    cell: str | None
    loss: Loss | None = None


def convert(column: Column, raw: Any, locale: Locale, old: str | None = None) -> Converted:
    """The cell that `raw` (text of a CSV file, or a typed value of a workbook) means in `column`.

    `old` is the cell of the row as the text has it. Raises BadCell for what the type cannot read, Ambiguous for a date.
    """
    kind = column.column_type
    if raw is None or raw == "":
        # Nothing where the text has an empty text: the spreadsheet could not say anything else.
        return Converted("", Loss.EMPTY) if old == "" and kind.base in {"text", "enum"} else Converted(None)
    if old is not None:
        kept = _undone(kind, raw, old, locale)
        if kept is not None:
            return kept
    cell = _read(kind, raw, locale)
    if old is not None and kind.base == "float" and _same_double(float(cell), old):
        return Converted(old)
    return Converted(cell)


def _undone(kind: ColumnType, raw: Any, old: str, locale: Locale) -> Converted | None:
    """The old cell when `raw` is it, as a spreadsheet would have left it."""
    shown = _plain(raw)
    if isinstance(raw, str) and (raw == old or (kind.base in {"text", "enum"} and read_text(raw) == old)):
        return Converted(old)
    if kind.base in {"text", "enum", "uuid"}:
        if shown.isdigit() and old.lstrip("0") == shown.lstrip("0") and old.isdigit():
            return Converted(old, Loss.ZEROS)
        if shown.casefold() in TRUE | FALSE and old.casefold() == shown.casefold():
            return Converted(old, Loss.SPELLING)
    if isinstance(raw, str) and _SCIENTIFIC.fullmatch(shown) and _same_rounded(shown, old):
        return Converted(old, Loss.DIGITS)
    if isinstance(raw, float) and kind.base in {"text", "integer", "decimal"} and _same_double(raw, old):
        return Converted(old, Loss.SPELLING if kind.base == "text" and shown != old else None)
    if kind.base in {"date", "datetime", "timestamp", "time"}:
        for candidate in _moments(kind, raw, locale):
            if candidate == old:
                return Converted(old)
            if kind.base != "date" and old.startswith(candidate.rstrip("Z")[:16] if kind.base != "time" else candidate[:5]):
                return Converted(old, Loss.MOMENT)
    return None


def _same_rounded(shown: str, old: str) -> bool:
    """Whether `old` rounds to the scientific spelling, in as many digits as it shows."""
    try:
        short, exact = Decimal(shown.replace(",", ".")), Decimal(old)
    except InvalidOperation:
        return False
    digits = len(short.as_tuple().digits)
    return exact.is_finite() and f"{exact:.{max(digits - 1, 0)}E}" == f"{short:.{max(digits - 1, 0)}E}"


def _same_double(value: float, old: str) -> bool:
    try:
        return float(old) == value
    except ValueError:
        return False


def _plain(raw: Any) -> str:
    if isinstance(raw, bool):
        return "TRUE" if raw else "FALSE"
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < 1e15:
        return str(int(raw))
    return str(raw)


def _read(kind: ColumnType, raw: Any, locale: Locale) -> str:
    if kind.base in {"text", "enum"}:
        return _checked(kind, read_text(_plain(raw)))
    if kind.base == "boolean":
        return _truth(raw)
    if kind.base in {"integer", "decimal", "float"}:
        return _number(kind, raw, locale)
    if kind.base in {"date", "datetime", "timestamp", "time"}:
        found = list(dict.fromkeys(_moments(kind, raw, locale)))
        if len(found) > 1:
            raise Ambiguous(str(raw))
        if not found:
            raise BadCell(f"`{raw}` is not a {kind.base}")
        return found[0]
    text = _plain(raw).strip()
    return _checked(kind, text.lower() if kind.base == "uuid" else text)


def _checked(kind: ColumnType, text: str) -> str:
    try:
        kind.parse(text)
    except BadCell as bad:
        if bad.suggestion is not None and bad.safe:
            return bad.suggestion
        raise
    return text


def _truth(raw: Any) -> str:
    word = _plain(raw).strip().casefold()
    if word in TRUE:
        return "true"
    if word in FALSE:
        return "false"
    raise BadCell(f"`{raw}` is neither true nor false")


def _number(kind: ColumnType, raw: Any, locale: Locale) -> str:
    if isinstance(raw, bool):
        raise BadCell(f"`{_plain(raw)}` is not a number")
    if isinstance(raw, int | float):
        if kind.base == "float":
            return kind.format(float(raw))
        exact = Decimal(repr(raw)) if isinstance(raw, float) else Decimal(raw)
        return _exact(kind, exact, raw)
    text = str(raw).strip().replace("\u00a0", "").replace("\u202f", "")
    if _SCIENTIFIC.fullmatch(text) and kind.base != "float":
        raise BadCell(f"`{text}` has lost its digits: a spreadsheet shortened the number")
    if locale.decimal_comma:
        text = text.replace(".", "") if "," in text or re.fullmatch(r"-?\d{1,3}(\.\d{3})+", text) else text
        text = text.replace(",", ".")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise BadCell(f"`{raw}` is not a number", kind.suggest(text)) from None
    return kind.format(float(text)) if kind.base == "float" else _exact(kind, number, raw)


def _exact(kind: ColumnType, number: Decimal, raw: Any) -> str:
    if not number.is_finite():
        raise BadCell(f"`{raw}` is not a number")
    step = Decimal(1).scaleb(-kind.scale) if kind.base == "decimal" else Decimal(1)
    rounded = number.quantize(step)
    if rounded != number:
        raise BadCell(f"`{raw}` has more digits after the point than {kind.name} holds")
    return _checked(kind, f"{rounded:f}")


def _moments(kind: ColumnType, raw: Any, locale: Locale) -> list[str]:
    """Every canonical cell that a date or time of a spreadsheet can mean."""
    if isinstance(raw, dt.datetime):
        if kind.base == "date":
            return [raw.date().isoformat()] if raw.time() == dt.time() else []
        return _spelled(kind, raw)
    if isinstance(raw, dt.date):
        return [raw.isoformat()] if kind.base == "date" else _spelled(kind, dt.datetime.combine(raw, dt.time()))
    if isinstance(raw, dt.time):
        return _spelled(kind, dt.datetime.combine(dt.date(2000, 1, 1), raw)) if kind.base == "time" else []
    if not isinstance(raw, str):
        return []
    text = raw.strip()
    if kind.accepts(text):
        return [text]
    day_text, _, clock_text = text.replace("T", " ").removesuffix("Z").partition(" ")
    if kind.base == "time":
        clock = _clock(text)
        return _spelled(kind, dt.datetime.combine(dt.date(2000, 1, 1), clock)) if clock is not None else []
    clock = _clock(clock_text) if clock_text else dt.time()
    if clock is None or (kind.base == "date" and clock != dt.time()):
        return []
    days = _days(day_text, locale)
    if kind.base == "date":
        return [day.isoformat() for day in days]
    return [cell for day in days for cell in _spelled(kind, dt.datetime.combine(day, clock))]


def _spelled(kind: ColumnType, moment: dt.datetime) -> list[str]:
    try:
        value = moment.time() if kind.base == "time" else moment.replace(tzinfo=dt.UTC if kind.base == "timestamp" else None)
        return [kind.format(value)]
    except BadCell:
        return []


def _clock(text: str) -> dt.time | None:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[5]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[5].lower() == "pm" else 0)
    try:
        return dt.time(hour, minute, second, int(float(match[4] or 0) * 1_000_000))
    except ValueError:
        return None


def _days(text: str, locale: Locale) -> list[dt.date]:
    match = _DAY.fullmatch(text)
    if match is None:
        return []
    first, separator, middle, last = match[1], match[2], int(match[3]), match[4]
    if len(first) == 4:
        return _valid([(int(first), middle, int(last))])
    if len(last) != 4 or len(first) > 2:
        return []
    year = int(last)
    day_first, month_first = (year, middle, int(first)), (year, int(first), middle)
    if separator == "." or locale.dates is DateOrder.DAY:
        return _valid([day_first])
    return _valid([month_first] if locale.dates is DateOrder.MONTH else [day_first, month_first])


def _valid(candidates: list[tuple[int, int, int]]) -> list[dt.date]:
    found = []
    for candidate in candidates:
        try:
            day = dt.date(*candidate)
        except ValueError:
            continue
        if day not in found:
            found.append(day)
    return found

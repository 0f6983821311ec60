"""The type map of tables: one canonical spelling per type, and what each type becomes in SQLite, DuckDB, Arrow and Table Schema.

Cells only: which column has which type, NULL, and constraints belong to `schemas.tables.project` and
`schemas.tables.strict`. Light: standard library only.

Rules that surprise, decided here once:
- A pattern is written in the subset of regular expressions that RE2 and Python share, so that the columnar tier and the strict
  tier read the same language. Where `exact` is set the pattern alone decides, elsewhere `parse` has the last word.
- float: any decimal spelling without a leading `+`, leading zeros or a bare point is read; it must be finite, must not
  round to zero, and `-0.0` is refused because SQLite keeps no negative zero. What we write is the shortest spelling that
  reads back to the same bits, its exponent as `e-5` or `e16`.
- decimal(p,s): always exactly s digits after the point, so that equal numbers are equal text. SQLite keeps it as text.
- time, datetime, timestamp: seconds are written, a fraction of up to six digits only when it is not zero, without trailing zeros.
- json: the canonical JSON of `schemas.canonical`; blob: standard base64 with padding.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from schemas.canonical import canonical_json
from schemas.sql_quoting import text_literal
from schemas.tables import spelling

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
DECIMAL_DIGITS: Final = 38
"""The widest decimal that DuckDB and Arrow hold in 128 bits."""

TYPE_NAMES: Final = (
    "integer",
    "decimal",
    "float",
    "text",
    "boolean",
    "date",
    "time",
    "datetime",
    "timestamp",
    "uuid",
    "json",
    "enum",
    "blob",
)


class BadCell(ValueError):
    """A cell is not in its type's canonical form.

    `suggestion` is the canonical spelling the author most likely meant; `safe` says that nothing can be lost by taking it.
    """

    def __init__(self, message: str, suggestion: str | None = None, *, safe: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion
        self.safe = safe and suggestion is not None


_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{0,5}[1-9])?"
_FLOAT_MAGNITUDE = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
_EXPONENT = "(?:[eE][+-]?[0-9]{1,4})?"
_FLOAT = rf"(?:{_FLOAT_MAGNITUDE}|-(?:0\.[0-9]*[1-9][0-9]*|[1-9][0-9]*(?:\.[0-9]+)?)){_EXPONENT}"
FLOAT_ZERO: Final = rf"0(?:\.0+)?{_EXPONENT}"
"""The spellings that mean zero; any other float cell that reads as zero has rounded to it and is refused."""
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"


def _whole_number_up_to(limit: str) -> str:
    """A pattern for the positive whole numbers up to `limit`, without leading zeros."""
    options = [f"[1-9][0-9]{{0,{len(limit) - 2}}}"]
    for place, digit in enumerate(limit):
        low = 1 if place == 0 else 0
        if int(digit) > low:
            options.append(f"{limit[:place]}[{low}-{int(digit) - 1}][0-9]{{{len(limit) - place - 1}}}")
    options.append(limit)
    return "(?:" + "|".join(options) + ")"


_INTEGER = f"0|{_whole_number_up_to(str(INTEGER_MAX))}|-{_whole_number_up_to(str(-INTEGER_MIN))}"


def _decimal_pattern(precision: int, scale: int) -> str:
    whole = precision - scale
    digits = f"[1-9][0-9]{{0,{whole - 1}}}" if whole else ""
    unsigned = f"(?:0|{digits})" if digits else "0"
    if scale == 0:
        return f"0|-?{digits}"
    fraction = f"\\.[0-9]{{{scale}}}"
    tiny = "|".join(f"0{{{zeros}}}[1-9][0-9]{{{scale - zeros - 1}}}" for zeros in range(scale))
    negative = f"-0\\.(?:{tiny})" + (f"|-{digits}{fraction}" if digits else "")
    return f"{unsigned}{fraction}|{negative}"


_DECLARATION = re.compile(r"(?P<base>[a-z]+)(?:\((?P<arguments>[^()]*)\))?\Z")


@dataclass(frozen=True)
class ColumnType:
    """One declared type: `base` is one of TYPE_NAMES, `precision` and `scale` belong to decimal, `values` to enum.

    Python values: integer int, decimal Decimal, float float, boolean bool, date/time/datetime (naive)/timestamp (UTC) of
    `datetime`, blob bytes, and str for text, uuid, json (canonical text) and enum.
    """

    base: str
    precision: int = 0
    scale: int = 0
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The type as written in `project.yaml`."""
        return f"decimal({self.precision},{self.scale})" if self.base == "decimal" else self.base

    @cached_property
    def pattern(self) -> str:
        """A regular expression (RE2 and Python) that every canonical cell matches as a whole."""
        if self.base == "decimal":
            return _decimal_pattern(self.precision, self.scale)
        if self.base == "enum":
            return "|".join(re.escape(value) for value in self.values)
        return _PATTERNS[self.base]

    @property
    def exact(self) -> bool:
        """Whether matching `pattern` is enough. Otherwise: a float must also be finite and not round to zero, and a json
        cell must be parsed."""
        return self.base not in {"float", "json"}

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{self.pattern})\Z", re.DOTALL)

    @property
    def sqlite(self) -> str:
        """The type name in a STRICT table."""
        return _SQLITE.get(self.base, "TEXT")

    @property
    def duckdb(self) -> str:
        """The DuckDB type; the values of an enum are written in place."""
        if self.base == "decimal":
            return f"DECIMAL({self.precision},{self.scale})"
        if self.base == "enum":
            return "ENUM(" + ", ".join(text_literal(value) for value in self.values) + ")"
        return _DUCKDB[self.base]

    @property
    def arrow(self) -> str:
        """The Arrow type as `str(pyarrow_type)` prints it."""
        return f"decimal128({self.precision}, {self.scale})" if self.base == "decimal" else _ARROW[self.base]

    @property
    def table_schema(self) -> dict[str, Any]:
        """The Frictionless Table Schema v2 field properties: type, and format or constraints where they say more."""
        found: dict[str, Any] = dict(_TABLE_SCHEMA[self.base])
        if self.base == "enum":
            found["constraints"] = {"enum": list(self.values)}
        return found

    def sqlite_check(self, column: str) -> str | None:
        """An expression over `column` (already quoted) that holds for NULL and for the values of this type, or None when the
        STRICT type says everything. It guards later edits of the database; text is checked before it is loaded."""
        if self.base == "decimal":
            point = f" AND substr({column}, -{self.scale + 1}, 1) = '.'" if self.scale else ""
            dots = 1 if self.scale else 0
            most = max(self.precision, self.scale + 1)
            return (
                f"{column} NOT GLOB '*[^-0-9.]*' AND length({column}) - length(replace({column}, '.', '')) = {dots}{point}"
                f" AND length(replace(replace({column}, '.', ''), '-', '')) BETWEEN {self.scale + 1} AND {most}"
                f" AND {column} NOT GLOB '?*-*'"
            )
        if self.base == "enum":
            return f"{column} IN (" + ", ".join(text_literal(value) for value in self.values) + ")"
        check = _SQLITE_CHECKS.get(self.base)
        return None if check is None else check.replace("?", column)

    def parse(self, cell: str) -> Any:
        """The Python value of a canonical cell. Raises BadCell, with a suggestion where one can be made."""
        if not self._matcher.match(cell):
            raise self._refusal(cell)
        base = self.base
        if base in {"text", "enum", "uuid"}:
            return cell
        if base == "integer":
            return int(cell)
        if base == "float":
            return self._parse_float(cell)
        if base == "decimal":
            return Decimal(cell)
        if base == "boolean":
            return cell == "true"
        if base == "blob":
            return base64.b64decode(cell, validate=True)
        if base == "json":
            return _canonical_json_cell(cell)
        return _parse_moment(base, cell)

    def _parse_float(self, cell: str) -> float:
        number = float(cell)
        if math.isinf(number):
            raise BadCell(f"{shown(cell)} is beyond the largest float (about 1.8e308)")
        if number == 0 and not re.fullmatch(FLOAT_ZERO, cell):
            raise BadCell(f"{shown(cell)} is too small for a float and would become 0.0", "0.0")
        return number

    def _refusal(self, cell: str) -> BadCell:
        suggestion = spelling.suggest(self, cell)
        reason = spelling.reason(self, cell)
        text = f"{shown(cell)} is not {spelling.described(self)}" + (f": {reason}" if reason else "")
        if suggestion is not None and suggestion.text != cell and self.accepts(suggestion.text):
            return BadCell(text, suggestion.text, safe=suggestion.safe)
        return BadCell(text)

    def accepts(self, cell: str) -> bool:
        """Whether `cell` is canonical."""
        if not self._matcher.match(cell):
            return False
        if self.exact:
            return True
        try:
            self.parse(cell)
        except BadCell:
            return False
        return True

    def suggest(self, cell: str) -> str | None:
        """The canonical spelling that the author of a refused cell most likely meant, or None."""
        try:
            self.parse(cell)
        except BadCell as bad:
            return bad.suggestion
        return None

    def format(self, value: Any) -> str:
        """The canonical cell of a Python value (as `parse` returns it, or as SQLite or DuckDB hand it out).

        Raises BadCell for a value that the type cannot hold.
        """
        cell = spelling.spell(self, value)
        if cell is None or not self.accepts(cell):
            raise BadCell(f"{shown(str(value))} cannot be written as {self.name}", self.suggest(cell) if cell else None)
        return cell

    def to_sqlite(self, cell: str) -> int | float | str | bytes:
        """What is bound in SQLite for a canonical cell: numbers, bytes, or the cell's own text."""
        if self.base == "boolean":
            return 1 if cell == "true" else 0
        if self.base in {"integer", "float", "blob"}:
            value: int | float | bytes = self.parse(cell)
            return value
        return cell


class TypeProblem(ValueError):
    """A type declaration that says nothing: the message, and the declaration probably meant."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def parse_type(declaration: str, values: tuple[str, ...] = ()) -> ColumnType:
    """The type written as `integer`, `decimal(10,2)`, … ; `values` are those of an enum. Raises TypeProblem."""
    match = _DECLARATION.match(declaration.strip())
    base = match["base"] if match else declaration
    if match is None or base not in TYPE_NAMES:
        guess = spelling.nearest_type(declaration)
        raise TypeProblem(f"there is no type {declaration!r}", guess)
    arguments = match["arguments"]
    if base == "decimal":
        numbers = re.fullmatch(r"\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*", arguments or "")
        if numbers is None:
            raise TypeProblem("decimal needs its digits in all and after the point", "decimal(10,2)")
        precision, scale = int(numbers[1]), int(numbers[2])
        if not 1 <= precision <= DECIMAL_DIGITS or scale > precision:
            raise TypeProblem(
                f"decimal({precision},{scale}) cannot be: 1 to {DECIMAL_DIGITS} digits in all, at most that many after the point",
                "decimal(10,2)",
            )
        return ColumnType("decimal", precision, scale)
    if arguments is not None:
        raise TypeProblem(f"{base} takes no arguments in parentheses", base)
    return ColumnType(base, values=values if base == "enum" else ())


def shown(text: str) -> str:
    """`text` between backquotes for a message, controls escaped, cut to 60 characters."""
    cut = text if len(text) <= 60 else text[:59] + "…"
    return "`" + "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in cut) + "`"


def _canonical_json_cell(cell: str) -> str:
    try:
        canonical = canonical_json(spelling.strict_json(cell)).decode("utf-8")
    except (ValueError, RecursionError) as problem:
        detail = problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)
        raise BadCell(f"{shown(cell)} is not JSON: {detail}") from None
    if canonical != cell:
        raise BadCell(f"{shown(cell)} is not canonical JSON (sorted keys, no spaces)", canonical, safe=True)
    return cell


def _parse_moment(base: str, cell: str) -> dt.date | dt.time | dt.datetime:
    if base == "date":
        return dt.date.fromisoformat(cell)
    if base == "time":
        return dt.time.fromisoformat(cell)
    return dt.datetime.fromisoformat(cell)


def blob_error_column(cell: str) -> int:
    """The 1-based character of a refused base64 cell at which it stops being base64."""
    match = re.match("[A-Za-z0-9+/]*", cell)
    return min(match.end() + 1 if match else 1, max(len(cell), 1))


_PATTERNS: Mapping[str, str] = {
    "integer": _INTEGER,
    "float": _FLOAT,
    "text": r"(?s:.*)",
    "boolean": "true|false",
    "date": _DATE,
    "time": _TIME,
    "datetime": f"{_DATE}T{_TIME}",
    "timestamp": f"{_DATE}T{_TIME}Z",
    "uuid": _UUID,
    "json": r"(?s:.+)",
    "blob": _BASE64,
}
_SQLITE: Mapping[str, str] = {"integer": "INTEGER", "boolean": "INTEGER", "float": "REAL", "blob": "BLOB"}
_DUCKDB: Mapping[str, str] = {
    "integer": "BIGINT",
    "float": "DOUBLE",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "datetime": "TIMESTAMP",
    "timestamp": "TIMESTAMPTZ",
    "uuid": "UUID",
    "json": "JSON",
    "blob": "BLOB",
}
_ARROW: Mapping[str, str] = {
    "integer": "int64",
    "float": "double",
    "text": "string",
    "boolean": "bool",
    "date": "date32[day]",
    "time": "time64[us]",
    "datetime": "timestamp[us]",
    "timestamp": "timestamp[us, tz=UTC]",
    "uuid": "string",
    "json": "string",
    "enum": "string",
    "blob": "binary",
}
_TABLE_SCHEMA: Mapping[str, Mapping[str, str]] = {
    "integer": {"type": "integer"},
    "decimal": {"type": "number"},
    "float": {"type": "number"},
    "text": {"type": "string"},
    "boolean": {"type": "boolean"},
    "date": {"type": "date"},
    "time": {"type": "time"},
    "datetime": {"type": "datetime"},
    "timestamp": {"type": "datetime"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {"type": "object"},
    "enum": {"type": "string"},
    "blob": {"type": "string", "format": "binary"},
}
_FRACTION = (
    "(length({0}) = {1} OR (substr({0}, {2}, 1) = '.' AND length({0}) BETWEEN {3} AND {4}"
    " AND substr({0}, {5}) NOT GLOB '*[^0-9]*' AND {0} NOT GLOB '*0'))"
)
_SQLITE_CHECKS: Mapping[str, str] = {
    "boolean": "? IN (0, 1)",
    # SQLite has a year 0 and years before it, which neither the text nor DuckDB's and Arrow's dates have in one spelling.
    "date": "? IS date(?) AND ? >= '0001'",
    "time": "substr(?, 1, 8) IS time(substr(?, 1, 8)) AND " + _FRACTION.format("?", 8, 9, 10, 15, 10),
    "datetime": "? >= '0001' AND substr(?, 1, 19) IS strftime('%Y-%m-%dT%H:%M:%S', substr(?, 1, 19)) AND "
    + _FRACTION.format("?", 19, 20, 21, 26, 21),
    "timestamp": "? >= '0001' AND substr(?, 1, 19) || 'Z' IS strftime('%Y-%m-%dT%H:%M:%SZ', substr(?, 1, 19))"
    " AND substr(?, -1) = 'Z' AND " + _FRACTION.format("substr(?, 1, length(?) - 1)", 19, 20, 21, 26, 21),
    "uuid": "length(?) = 36 AND ? NOT GLOB '*[^-0-9a-f]*' AND length(replace(?, '-', '')) = 32"
    " AND substr(?, 9, 1) || substr(?, 14, 1) || substr(?, 19, 1) || substr(?, 24, 1) = '----'",
    "json": "json_valid(?)",
}

"""How people and other programs spell values, and how we do: suggestions for refused cells, and the canonical writing.

The rules themselves are in `schemas.tables.types`; nothing here decides whether a cell is valid. Light: standard library only.
"""

from __future__ import annotations

import base64
import datetime as dt
import difflib
import json
import math
import re
import uuid
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from schemas.tables.types import ColumnType


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A canonical spelling; `safe` when no other reading of the cell is likely and nothing is lost."""

    text: str
    safe: bool


_TRUE = {"true", "yes", "y", "t", "1", "on", "wahr", "vrai"}
_FALSE = {"false", "no", "n", "f", "0", "off", "falsch", "faux"}
_ALIASES = {
    "int": "integer",
    "bigint": "integer",
    "number": "decimal(10,2)",
    "numeric": "decimal(10,2)",
    "money": "decimal(10,2)",
    "real": "float",
    "double": "float",
    "string": "text",
    "varchar": "text",
    "char": "text",
    "str": "text",
    "bool": "boolean",
    "timestamptz": "timestamp",
    "guid": "uuid",
    "jsonb": "json",
    "object": "json",
    "binary": "blob",
    "bytes": "blob",
}
_DESCRIBED = {
    "integer": "an integer",
    "float": "a float",
    "text": "text",
    "boolean": "a boolean",
    "date": "a date (YYYY-MM-DD)",
    "time": "a time (HH:MM:SS)",
    "datetime": "a datetime (YYYY-MM-DDTHH:MM:SS)",
    "timestamp": "a timestamp (YYYY-MM-DDTHH:MM:SSZ)",
    "uuid": "a lower-case uuid",
    "json": "JSON",
    "blob": "base64",
}

EXAMPLES = {
    "integer": "-12",
    "decimal": "12.30",
    "float": "0.1",
    "text": "any text",
    "boolean": "true",
    "date": "2024-02-29",
    "time": "09:05:00.5",
    "datetime": "2024-02-29T09:05:00",
    "timestamp": "2024-02-29T09:05:00Z",
    "uuid": "6f1c1c0e-9f0a-4c57-8f3e-2f6d0c1b7a55",
    "json": '{"a":[1,2]}',
    "enum": "draft",
    "blob": "AP8=",
}
"""One canonical cell of each type, for the reference; the enum is one of `draft` and `sent`, the decimal has two digits."""


def nearest_type(declaration: str) -> str | None:
    """The type probably meant by an unknown declaration such as `varchar(20)`."""
    from schemas.tables.types import TYPE_NAMES

    word = declaration.strip().lower().split("(")[0]
    if word in _ALIASES:
        return _ALIASES[word]
    close = difflib.get_close_matches(word, TYPE_NAMES, n=1, cutoff=0.6)
    return ("decimal(10,2)" if close[0] == "decimal" else close[0]) if close else None


def described(kind: ColumnType) -> str:
    """The type in words, for `… is not a date (YYYY-MM-DD)`."""
    if kind.base == "decimal":
        return f"a {kind.name}"
    if kind.base == "enum":
        return "one of " + ", ".join(kind.values[:8]) + (", …" if len(kind.values) > 8 else "")
    return _DESCRIBED[kind.base]


def reason(kind: ColumnType, cell: str) -> str | None:
    """What exactly is wrong with a refused cell, where it can be said in a few words."""
    if cell == "":
        return "an empty string; leave the cell empty without quotes for NULL"
    if cell != cell.strip():
        return "spaces around the value"
    judge = _REASONS.get(kind.base)
    return judge(kind, cell) if judge else None


def _number_reason(kind: ColumnType, cell: str) -> str | None:
    lowered = cell.lower().lstrip("+-")
    if lowered in {"nan", "inf", "infinity"}:
        return "only finite numbers can be stored; leave the cell empty for NULL"
    if re.fullmatch(r"-?0[0-9]+(\.[0-9]+)?", cell):
        return "leading zero; if it belongs to the value (a phone number, a code), make the column text"
    if cell.startswith("+"):
        return "leading +"
    if re.fullmatch(r"-0(\.0*)?", cell):
        return "negative zero"
    if not cell.isascii():
        return "only the digits 0 to 9"
    return None


def _integer_reason(kind: ColumnType, cell: str) -> str | None:
    if re.fullmatch(r"-?[1-9][0-9]*", cell):
        return "beyond 64 bits (-9223372036854775808 to 9223372036854775807)"
    return _number_reason(kind, cell)


def _decimal_reason(kind: ColumnType, cell: str) -> str | None:
    found = re.fullmatch(r"-?([0-9]+)(?:\.([0-9]*))?", cell)
    if found and not re.fullmatch("0[0-9]+", found[1]):
        digits = len(found[2] or "")
        if digits != kind.scale:
            return f"{digits or 'no'} digit{'s' * (digits != 1)} after the point, the type says {kind.scale}"
        if len(found[1]) > kind.precision - kind.scale:
            return f"more than {kind.precision - kind.scale} digits before the point"
    return _number_reason(kind, cell)


def _date_reason(kind: ColumnType, cell: str) -> str | None:
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", cell)
    if found:
        return "there is no such day" if 1 <= int(found[2]) <= 12 else "months go from 01 to 12"
    if re.fullmatch(r"[0-9]{1,2}[./-][0-9]{1,2}[./-]([0-9]{2}|[0-9]{4})", cell):
        return "day and month cannot be told apart"
    return None


def _time_reason(kind: ColumnType, cell: str) -> str | None:
    if re.search(r"(?:^|T)24:", cell):
        return "hours go from 00 to 23"
    if re.search(r":60(\.|Z|$)", cell):
        return "leap seconds cannot be stored"
    return None


def _blob_reason(kind: ColumnType, cell: str) -> str | None:
    from schemas.tables.types import blob_error_column

    column = blob_error_column(cell)
    body = cell.rstrip("=")
    if column <= len(body):
        return f"character {column} is not in the base64 alphabet"
    return "wrong padding or trailing bits"


_REASONS = {
    "integer": _integer_reason,
    "float": _number_reason,
    "decimal": _decimal_reason,
    "date": _date_reason,
    "time": _time_reason,
    "datetime": _time_reason,
    "timestamp": _time_reason,
    "blob": _blob_reason,
}


def suggest(kind: ColumnType, cell: str) -> Suggestion | None:
    """A guess at what a refused cell means. The caller checks that the guess is canonical."""
    guess = _GUESSES.get(kind.base)
    trimmed = cell.strip()
    return guess(kind, trimmed) if guess and trimmed else None


def _ascii_number(text: str) -> str | None:
    """A number in ASCII without `+`, `_`, or foreign digits; None when it is not one."""
    digits = "".join(str(int(char)) if char.isdecimal() else char for char in text)
    plain = digits.replace("_", "").removeprefix("+")
    return plain if re.fullmatch(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", plain) else None


def _guess_integer(kind: ColumnType, text: str) -> Suggestion | None:
    if re.fullmatch(r"-?0[xX][0-9a-fA-F]+", text):
        return Suggestion(str(int(text, 16)), True)
    if re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", text):
        return Suggestion(str(int(text.replace(",", ""))), False)
    plain = _ascii_number(text)
    if plain is None:
        return None
    try:
        number = Decimal(plain)
        # A huge exponent must not be expanded into digits.
        if number.adjusted() > 20 or number != number.to_integral_value():
            return None
    except InvalidOperation:
        return None
    return Suggestion(str(int(number)), not re.match("-?0[0-9]", plain))


def _guess_float(kind: ColumnType, text: str) -> Suggestion | None:
    plain = _ascii_number(text)
    if plain is None or math.isinf(float(plain)):
        return None
    return Suggestion(float_cell(float(plain) + 0.0), not re.match("-?0[0-9]", plain))


def _guess_decimal(kind: ColumnType, text: str) -> Suggestion | None:
    plain = _ascii_number(text)
    if plain is None:
        return None
    number = Decimal(plain)
    if number.adjusted() > kind.precision or number.adjusted() < -kind.precision - 40:
        return None
    written = decimal_cell(number, kind.scale)
    return Suggestion(written, not re.match("-?0[0-9]", plain)) if written is not None else None


def _guess_boolean(kind: ColumnType, text: str) -> Suggestion | None:
    word = text.casefold()
    return Suggestion("true", True) if word in _TRUE else Suggestion("false", True) if word in _FALSE else None


def _guess_date(kind: ColumnType, text: str) -> Suggestion | None:
    found = re.fullmatch(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})(?:[T ]00:00(?::00)?(?:\.0*)?)?", text)
    if found:
        return Suggestion(f"{found[1]}-{int(found[3]):02}-{int(found[4]):02}", True)
    compact = re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})", text)
    return Suggestion(f"{compact[1]}-{compact[2]}-{compact[3]}", False) if compact else None


def _guess_time(kind: ColumnType, text: str) -> Suggestion | None:
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{0,6})0*)?)?", text)
    if not found:
        return None
    fraction = (found[4] or "").rstrip("0")
    return Suggestion(f"{int(found[1]):02}:{found[2]}:{found[3] or '00'}" + (f".{fraction}" if fraction else ""), True)


def _guess_datetime(kind: ColumnType, text: str) -> Suggestion | None:
    found = re.fullmatch(r"([0-9/.-]+?)(?:[T ]([0-9:.]+))?\s*([Zz]|[+-][0-9]{2}:?[0-9]{2})?", text)
    day = _guess_date(kind, found[1]) if found else None
    clock = _guess_time(kind, found[2] or "00:00") if found else None
    if found is None or day is None or clock is None:
        return None
    moment = f"{day.text}T{clock.text}"
    zone = found[3]
    if kind.base == "datetime":
        return None if zone else Suggestion(moment, True)
    if zone is None:
        return Suggestion(f"{moment}Z", False)
    try:
        instant = dt.datetime.fromisoformat(moment + ("+00:00" if zone in "Zz" else zone)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
    return Suggestion(_moment_cell(instant.replace(tzinfo=None)) + "Z", True)


def _guess_uuid(kind: ColumnType, text: str) -> Suggestion | None:
    try:
        return Suggestion(str(uuid.UUID(text)), True)
    except ValueError:
        return None


def _guess_json(kind: ColumnType, text: str) -> Suggestion | None:
    try:
        return Suggestion(canonical_json(strict_json(text)).decode("utf-8"), True)
    except (ValueError, RecursionError):
        return None


def _guess_blob(kind: ColumnType, text: str) -> Suggestion | None:
    body = re.sub(r"\s", "", text).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        decoded = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        return None
    return Suggestion(base64.b64encode(decoded).decode("ascii"), False)


def _guess_enum(kind: ColumnType, text: str) -> Suggestion | None:
    same = [value for value in kind.values if value.strip().casefold() == text.casefold()]
    if len(same) == 1:
        return Suggestion(same[0], True)
    close = difflib.get_close_matches(text, kind.values, n=1, cutoff=0.6)
    return Suggestion(close[0], False) if close else None


_GUESSES = {
    "integer": _guess_integer,
    "float": _guess_float,
    "decimal": _guess_decimal,
    "boolean": _guess_boolean,
    "date": _guess_date,
    "time": _guess_time,
    "datetime": _guess_datetime,
    "timestamp": _guess_datetime,
    "uuid": _guess_uuid,
    "json": _guess_json,
    "blob": _guess_blob,
    "enum": _guess_enum,
}


def float_cell(number: float) -> str:
    """The shortest spelling that reads back to the same bits; exponents as `e-5`, `e16`."""
    mantissa, mark, exponent = repr(number + 0.0).partition("e")  # adding 0.0 turns -0.0 into 0.0
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def decimal_cell(number: Decimal, scale: int) -> str | None:
    """`number` with exactly `scale` digits after the point, or None when that would round it."""
    if not number.is_finite():
        return None
    # format() works on the exact digits, where quantize would be bound by the context's precision.
    written = format(number, f".{scale}f")
    if Decimal(written) != number:
        return None
    return written.removeprefix("-") if not number else written


def _clock_cell(moment: dt.time) -> str:
    text = moment.replace(tzinfo=None).isoformat()
    return text.rstrip("0") if "." in text else text


def _moment_cell(moment: dt.datetime) -> str:
    return f"{moment.date().isoformat()}T{_clock_cell(moment.time())}"


def strict_json(text: str) -> Any:
    """`json.loads` without NaN, infinities, duplicate keys, and unpaired surrogates. Raises ValueError, RecursionError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    def no_constant(word: str) -> Any:
        raise ValueError(f"{word} is not a JSON number")

    value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    canonical_json(value)
    return value


def spell(kind: ColumnType, value: Any) -> str | None:
    """The spelling of a value handed out by Python, SQLite or DuckDB; None when its Python type does not fit at all."""
    base = kind.base
    if isinstance(value, str):
        return value
    if base == "boolean":
        return ("true" if value else "false") if isinstance(value, int) and value in (0, 1) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii") if base == "blob" else None
    if base in {"integer", "float", "decimal"}:
        return _spell_number(kind, value)
    if base == "uuid" and isinstance(value, uuid.UUID):
        return str(value)
    if base == "json":
        try:
            return canonical_json(value).decode("utf-8")
        except (TypeError, ValueError):
            return None
    return _spell_moment(base, value)


def _spell_number(kind: ColumnType, value: Any) -> str | None:
    if kind.base == "integer":
        return str(value) if isinstance(value, int) else None
    if kind.base == "float":
        return float_cell(float(value)) if isinstance(value, (int, float)) else None
    return decimal_cell(Decimal(value), kind.scale) if isinstance(value, (int, Decimal)) else None


def _spell_moment(base: str, value: Any) -> str | None:
    if base == "date" and isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    if base == "time" and isinstance(value, dt.time):
        return _clock_cell(value)
    if not isinstance(value, dt.datetime):
        return None
    if base == "datetime" and value.tzinfo is None:
        return _moment_cell(value)
    if base == "timestamp" and value.tzinfo is not None:
        return _moment_cell(value.astimezone(dt.UTC).replace(tzinfo=None)) + "Z"
    return None

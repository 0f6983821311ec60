"""Guessing a table's schema from its rows, once, for `tables import`; afterwards the types are written down and never guessed.

A type is guessed only when every value fits it without loss: one leading zero, one `+`, one word keeps a column text. Works on
cells of CSV files and on values of foreign databases alike. Streaming: memory grows only with the distinct key values seen, up
to a cap.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from schemas.tables import names
from schemas.tables.spelling import decimal_cell
from schemas.tables.types import DECIMAL_DIGITS, BadCell, ColumnType, shown

KEY_VALUES = 2_000_000
"""Distinct values kept to find out whether a column could be the key."""
_FIXED_POINT = re.compile(r"-?(0|[1-9][0-9]*)\.([0-9]{1,6})\Z")
_UNWRITABLE = re.compile("[\0\x80-\x9f\ud800-\udfff]")
_LOSSLESS = frozenset({"boolean", "date", "time", "datetime", "timestamp", "uuid", "json"})
_TEXT = ColumnType("text")

CSV_CANDIDATES = tuple(
    ColumnType(base)
    for base in ("boolean", "integer", "decimal", "float", "date", "time", "datetime", "timestamp", "uuid", "text")
)
"""Tried in this order; the first type that all values fit wins. `decimal` stands for whatever digits the values have."""


def fit(kind: ColumnType, value: Any) -> str:
    """The canonical cell of a value as `kind`, when it can be read as that without loss or doubt. Raises BadCell."""
    if kind.base in {"text", "enum"}:
        text = value if isinstance(value, str) else _as_text(value)
        if _UNWRITABLE.search(text):
            raise BadCell(f"{shown(text)} holds a control character that CSV cannot hold")
        if kind.base == "enum":
            kind.parse(text)
        return text
    if kind.base == "blob" and isinstance(value, str):
        raise BadCell(f"{shown(value)} is text, not bytes")
    if isinstance(value, str) and kind.base not in {"float", "datetime", "timestamp"} and kind.accepts(value):
        return value
    if not isinstance(value, str):
        if kind.base == "decimal" and isinstance(value, float):
            value = decimal_cell(Decimal(repr(value)), kind.scale) or repr(value)
        else:
            return kind.format(value)
    text = str(value)
    if kind.base in {"datetime", "timestamp"} and len(text) <= 10:
        raise BadCell(f"{shown(text)} is a day without a time")
    try:
        number = kind.parse(text)
        if kind.base == "float" and Decimal(repr(number)) != Decimal(text):
            raise BadCell("a float would lose digits")
    except BadCell as bad:
        if bad.suggestion is None or not bad.safe or kind.base not in _LOSSLESS:
            raise
        # `1` and `yes` can mean many things; TRUE only one.
        if kind.base == "boolean" and text.casefold() not in {"true", "false"}:
            raise
        return bad.suggestion
    return text


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        raise BadCell("bytes are not text")
    if isinstance(value, float):
        return ColumnType("float").format(value) if value == value and abs(value) != float("inf") else str(value)
    return str(value)


class ColumnGuess:
    """What one column can be, narrowed by every value seen."""

    def __init__(self, candidates: Sequence[ColumnType] = CSV_CANDIDATES, *, key: bool = False) -> None:
        """`key` says that the column may turn out to be the key, for which its values are remembered."""
        self.candidates = list(candidates)
        self.nulls = 0
        self.filled = 0
        self._whole = 0
        self._scale: int | None = None
        self._seen: set[Any] | None = set() if key else None

    def see(self, value: Any) -> None:
        """Takes one value into account; None is NULL."""
        if value is None:
            self.nulls += 1
            return
        self.filled += 1
        if self._seen is not None:
            if value in self._seen or len(self._seen) >= KEY_VALUES:
                self._seen = None
            else:
                self._seen.add(value)
        # Every candidate sees every value: what was seen before the first one drops out counts for the next.
        fitting = [kind for kind in self.candidates if self._fits(kind, value)]
        if not fitting:
            raise BadCell(f"{_refusal(self.candidates, value)}; no type holds all values of the column")
        self.candidates = fitting

    def _fits(self, kind: ColumnType, value: Any) -> bool:
        base = kind.base
        if base == "decimal" and not kind.precision:
            return self._fits_decimal(value)
        if isinstance(value, str):
            # The usual cases without an exception, which is what makes this slow.
            if base == "text":
                return (value.isascii() and "\0" not in value) or not _UNWRITABLE.search(value)
            accepted = base != "blob" and kind.accepts(value)
            if base == "float":
                # Up to 15 digits survive any float.
                return accepted and (len(value) <= 15 or Decimal(repr(float(value))) == Decimal(value))
            if accepted or base not in _LOSSLESS:
                return accepted
        try:
            fit(kind, value)
        except BadCell:
            return False
        return True

    def _fits_decimal(self, value: Any) -> bool:
        found = _FIXED_POINT.match(value) if isinstance(value, str) else None
        if found is None or self._scale not in (None, len(found[2])):
            return False
        self._scale = len(found[2])
        self._whole = max(self._whole, len(found[1]))
        return self._whole + self._scale <= DECIMAL_DIGITS

    @property
    def type(self) -> ColumnType:
        """The type guessed so far; text for a column that was always NULL."""
        if not self.filled:
            return _TEXT
        kind = self.candidates[0]
        if kind.base == "decimal" and not kind.precision:
            scale = self._scale or 0
            wanted = self._whole + scale
            return ColumnType("decimal", next(digits for digits in (10, 18, DECIMAL_DIGITS) if digits >= wanted), scale)
        return kind

    @property
    def is_key(self) -> bool:
        """Whether the column could identify rows: never NULL, every value once, and not a measurement."""
        return bool(self.filled) and not self.nulls and self._seen is not None and self.type.base in {"integer", "uuid", "text"}


def _refusal(candidates: Iterable[ColumnType], value: Any) -> str:
    """Why the last of the candidates, which is the most lenient one, cannot hold a value."""
    try:
        fit(next((kind for kind in candidates if kind.base == "text"), list(candidates)[-1]), value)
    except BadCell as bad:
        return bad.message
    return shown(str(value))


class TableGuess:
    """The schema of one table, guessed from its header and rows."""

    def __init__(self, name: str, header: Sequence[str]) -> None:
        self.name = name
        self.columns = clean_names(header)
        likely = {"id", f"{name}_id".casefold(), f"{name}id".casefold()}
        named = [column.casefold() in likely for column in self.columns]
        self._first_is_named = bool(named) and named[0]
        self.guesses = [ColumnGuess(key=place == 0 or maybe) for place, maybe in enumerate(named)]

    def see(self, row: Iterable[Any]) -> None:
        """Takes one row into account. Raises BadCell when a column's values have no type in common."""
        for guess, value in zip(self.guesses, row, strict=True):
            guess.see(value)

    def key(self) -> list[str]:
        """The column that looks like the primary key: `id`, `<table>_id`, or the first one."""
        keys = [name for name, guess in zip(self.columns, self.guesses, strict=True) if guess.is_key]
        named = [name for name in keys if name != self.columns[0] or self._first_is_named]
        if named:
            return named[:1]
        return keys[:1] if keys and self.guesses[0].type.base != "text" else []

    def tree(self) -> dict[str, Any]:
        """The table as it is written in `project.yaml`."""
        key = self.key()
        columns: dict[str, Any] = {}
        for name, guess in zip(self.columns, self.guesses, strict=True):
            columns[name] = {"type": guess.type.name}
        if len(columns) == 1 and not key:
            columns[self.columns[0]]["nullable"] = False
        return {"columns": columns, **({"primary_key": key} if key else {})}

    def converter(self) -> Callable[[Iterable[Any]], list[str | None]]:
        """What turns a row that was seen into canonical cells."""
        kinds = [guess.type for guess in self.guesses]
        return lambda row: [None if value is None else _cell(kind, value) for kind, value in zip(kinds, row, strict=True)]


def _cell(kind: ColumnType, value: Any) -> str:
    return value if isinstance(value, str) and kind.accepts(value) else fit(kind, value)


def clean_names(header: Iterable[str]) -> list[str]:
    """Names a project can hold for the columns or tables of somebody else, in order and all different."""
    made: list[str] = []
    taken: set[str] = set()
    for place, name in enumerate(header, 1):
        clean = unicodedata.normalize("NFC", name)
        clean = "".join(
            "_" if char in "./\\" or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in clean
        )
        clean = clean.strip()[: names.MOST_CHARACTERS - 4] or f"column_{place}"
        if names.problem(clean):
            clean = f"x_{clean}"
        unique, number = clean, 2
        while names.same_name(unique) in taken:
            unique = f"{clean}_{number}"
            number += 1
        taken.add(names.same_name(unique))
        made.append(unique)
    return made

"""Conditions on any key of the frontmatter: `status=done`, `priority>2`, `due<2026-02`, `author~ada`, `reviewed`, `!reviewed`.

Reading such a condition, and whether a value meets it, belong here; `assets.notes.filters` puts it beside the other filters. What
the index has read and checked itself (`created`, `value`, `words`, …) is compared as the index holds it, everything else as
the file says it. A key is looked for in the frontmatter as it is spelled, then without regard to case, then under `custom`, then
among the inline `key:: value` fields; dots lead into mappings. Light: standard library only.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from assets.notes.dates import When, iso_span, read_when
from assets.notes.resolve import fold
from schemas.errors import UsageError

RULE: Final = "notes-bad-filter"
COLUMNS: Final = {
    "id": "id",
    "title": "title",
    "type": "type",
    "path": "path",
    "created": "created",
    "updated": "updated",
    "modified": "updated",
    "value": "value",
    "words": "words",
    "lines": "lines",
    "size": "size",
    "outcome": "outcome",
}
"""Keys that the index holds checked, and the column each is."""

_CONDITION = re.compile(
    r"\s*(?:(?P<missing>!)\s*(?P<absent>[^=<>!~]+?)|(?P<key>[^=<>!~]+?)\s*(?:(?P<operator>==|!=|<=|>=|=|<|>|~)\s*(?P<value>.*?))?)\s*",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_FIX: Final = "write it like status=done, status!=done, priority>=2, due<2026-02-01, author~ada, reviewed or !reviewed"
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Where:
    """One condition. `operator` is one of `= != < <= > >= ~`, '' where the key need only be there, `!` where it must not."""

    key: str
    operator: str
    text: str = ""
    number: float | None = None
    span: When | None = None

    def meets(self, value: Any) -> bool:
        """Whether a JSON value, or `_ABSENT`, meets the condition. Of a list one item must; for `!=` none may be equal."""
        there = value is not _ABSENT
        if self.operator == "!":
            return not there
        if self.operator == "":
            return there
        if self.operator == "!=":
            return not (there and self._any(value, self._equals))
        test = {"=": self._equals, "~": self._contains}.get(self.operator, self._compares)
        return there and self._any(value, test)

    @staticmethod
    def _any(value: Any, test: Any) -> bool:
        if isinstance(value, list):
            return any(map(test, value)) or (not value and bool(test(None)))
        return bool(test(value))

    def _equals(self, value: Any) -> bool:
        if value is None or value == "":
            return self.text == "" or (value is None and self.text.casefold() in ("null", "~"))
        if isinstance(value, bool):
            return self.text.casefold() == ("true" if value else "false")
        number = _number(value)
        if number is not None and self.number is not None:
            return number == self.number
        text = _text(value)
        if text is None:
            return False
        if fold(text) == fold(self.text):
            return True
        span = iso_span(text) if self.span is not None and "-" in text else None
        return span is not None and self.span is not None and span.start is not None and _within(span.start, self.span)

    def _contains(self, value: Any) -> bool:
        text = _text(value)
        return text is not None and fold(self.text) in fold(text)

    def _compares(self, value: Any) -> bool:
        number = _number(value)
        if number is not None and self.number is not None:
            return {
                "<": number < self.number,
                "<=": number <= self.number,
                ">": number > self.number,
                ">=": number >= self.number,
            }[self.operator]
        text = _text(value)
        span = iso_span(text) if text is not None and self.span is not None else None
        if span is None or span.start is None or self.span is None or self.span.start is None or self.span.stop is None:
            return False
        if self.operator in ("<", ">="):
            return (span.start < self.span.start) == (self.operator == "<")
        return (span.start < self.span.stop) == (self.operator == "<=")


def _within(moment: dt.datetime, span: When) -> bool:
    return (span.start is None or moment >= span.start) and (span.stop is None or moment < span.stop)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and len(value) < 40 and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return None if value is None or isinstance(value, dict | list) else json.dumps(value)


def read_where(text: str, now: dt.datetime) -> Where:
    """Read one condition; dates may be words, seen from `now`. Raises UsageError (rule `notes-bad-filter`)."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a condition on a key", rule=RULE, fix=_FIX)
    if found["missing"]:
        return Where(found["absent"], "!")
    key, operator, value = found["key"], found["operator"] or "", found["value"] or ""
    operator = "=" if operator == "==" else operator
    if operator in ("", "~"):
        if operator and not value:
            raise UsageError(f"{text!r} does not say what {key!r} must contain", rule=RULE, fix=_FIX)
        return Where(key, operator, value)
    number = float(value) if len(value) < 40 and _NUMBER.fullmatch(value) else None
    span = iso_span(value)
    if operator in ("=", "!="):
        return Where(key, operator, value, number, span)
    if number is None and span is None:
        try:
            span = read_when(value, now) if value else None
        except UsageError:
            span = None
        if span is None:
            raise UsageError(f"{value!r} is neither a number nor a date, so that nothing is {operator} it", rule=RULE, fix=_FIX)
    return Where(key, operator, value, number, span)


def matching(connection: sqlite3.Connection, condition: Where) -> list[int]:
    """The numbers of the notes whose value meets `condition`."""
    cursor = connection.cursor()
    cursor.row_factory = None
    column = COLUMNS.get(condition.key.casefold())
    if column is not None:
        return [
            number
            for number, value in cursor.execute(f"SELECT number, {column} FROM notes")
            if condition.meets(_ABSENT if value is None else value)
        ]
    met: list[int] = []
    first = condition.key.partition(".")[0]
    # Most notes do not have the key; their JSON need not be read to know that.
    quick = first.isascii() and '"' not in first and "\\" not in first
    query = (
        "SELECT number, meta, fields, " + ("meta LIKE ? ESCAPE '!' OR fields LIKE ? ESCAPE '!'" if quick else "1") + " FROM notes"
    )
    like = '%"' + re.sub(r"[%_!]", r"!\g<0>", first) + '"%'
    if quick and "." in condition.key:  # `a.b` may be one key, too
        like = '%"' + re.sub(r"[%_!]", r"!\g<0>", first) + "%"
    absent = condition.meets(_ABSENT)
    for number, meta, fields, likely in cursor.execute(query, (like, like) if quick else ()):
        if not likely:
            if absent:
                met.append(number)
        elif condition.meets(_value(json.loads(meta), json.loads(fields), condition.key)):
            met.append(number)
    return met


def _value(meta: dict[str, Any], fields: dict[str, Any], key: str) -> Any:
    custom = meta.get("custom")
    for mapping in (meta, custom if isinstance(custom, dict) else {}, fields):
        value = _at(mapping, key)
        if value is not _ABSENT:
            return value
    return _ABSENT


def _at(mapping: dict[str, Any], key: str) -> Any:
    if key in mapping:
        return mapping[key]
    folded = fold(key)
    for name, value in mapping.items():
        if fold(name) == folded:
            return value
    first, dot, rest = key.partition(".")
    if dot and rest:
        inner = _at(mapping, first)
        if isinstance(inner, dict):
            return _at(inner, rest)
    return _ABSENT


def keys_in_use(connection: sqlite3.Connection) -> Iterable[tuple[str, int]]:
    """Every top-level key of the frontmatter with the number of notes that have it, most used first."""
    found: list[tuple[str, int]] = [
        (key, count)
        for key, count in connection.execute(
            "SELECT key, count(*) FROM notes, json_each(notes.meta) GROUP BY key ORDER BY count(*) DESC, key"
        )
    ]
    return found

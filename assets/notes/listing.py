"""Lists of notes in an order that is the same on every machine: what `list` and `inbox` print.

Light: standard library only.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from assets.notes.filters import Condition
from assets.notes.resolve import fold
from assets.notes.shown import COLUMNS, DEFAULT_TYPE, DEFAULT_VALUE, NoteRow, add_tags, made, rows_of
from schemas.errors import UsageError

RULE: Final = "notes-bad-sort"

_LINKS: Final = "(SELECT count(DISTINCT target) FROM edges WHERE source = n.number AND target <> source)"
_BACKLINKS: Final = "(SELECT count(DISTINCT source) FROM edges WHERE target = n.number AND target <> source)"
_KEYS: Final = {
    "created": ("n.created", True),
    "updated": ("coalesce(n.updated, n.created)", True),
    "path": ("n.path", False),
    "type": ("lower(coalesce(n.type, ''))", False),
    "value": (f"coalesce(n.value, {DEFAULT_VALUE})", True),
    "words": ("n.words", False),
    "links": (_LINKS, True),
    "backlinks": (_BACKLINKS, True),
}
"""Order -> what it compares, and whether the largest comes first unless a sign says otherwise."""
ORDERS: Final = ("title", *_KEYS, "random")
_OTHER_NAMES: Final = {"modified": "updated", "word-count": "words"}
_SORT = re.compile(r"(?P<before>[+-]?)(?P<name>[a-z-]+?)(?P<after>[+-]?)")


@dataclass(frozen=True, slots=True)
class Sort:
    """An order: one of ORDERS, and its direction, None for the one that is usual for it."""

    name: str
    ascending: bool | None = None

    @property
    def descending(self) -> bool:
        return _KEYS.get(self.name, ("", False))[1] if self.ascending is None else not self.ascending


NEWEST: Final = Sort("created")
OLDEST: Final = Sort("created", ascending=True)


def read_sort(text: str) -> Sort:
    """`title`, `created-`, `-created`, `words+`. Raises UsageError (rule `notes-bad-sort`)."""
    found = _SORT.fullmatch(text.strip().lower())
    name = _OTHER_NAMES.get(found["name"], found["name"]) if found else None
    sign = found["before"] + found["after"] if found else ""
    if name not in ORDERS or len(sign) > 1:
        raise UsageError(
            f"notes cannot be sorted by {text!r}",
            rule=RULE,
            fix=f"use one of: {', '.join(ORDERS)}; with + behind it the smallest first, with - the largest",
        )
    return Sort(str(name), {"+": True, "-": False}.get(sign))


def list_notes(
    connection: sqlite3.Connection,
    condition: Condition,
    *,
    sort: Sort = NEWEST,
    limit: int | None = None,
    seed: int = 0,
    default_type: str = DEFAULT_TYPE,
) -> list[NoteRow]:
    """The notes that meet `condition`, sorted; what has no date comes last, ties go by path. `random` is by `seed` alone."""
    if sort.name in ("title", "random"):
        return _sorted_here(connection, condition, sort, limit, seed, default_type)
    key, _ = _KEYS[sort.name]
    direction = "DESC" if sort.descending else "ASC"
    order = "n.path " + direction if sort.name == "path" else f"{key} {direction} NULLS LAST, n.path"
    columns = ", ".join(f"n.{name}" for name in COLUMNS)
    cursor = connection.cursor()
    cursor.row_factory = None
    found = cursor.execute(
        f"SELECT {columns} FROM notes AS n WHERE {condition.sql} ORDER BY {order} LIMIT ?",
        (*condition.values, -1 if limit is None else limit),
    )
    rows = [made(row, default_type) for row in found]
    add_tags(connection, rows)
    return rows


def count_notes(connection: sqlite3.Connection, condition: Condition) -> int:
    """How many notes meet `condition`."""
    query = f"SELECT count(*) FROM notes AS n WHERE {condition.sql}"
    (count,) = tuple(connection.execute(query, condition.values).fetchone())
    return int(count)


def _sorted_here(
    connection: sqlite3.Connection, condition: Condition, sort: Sort, limit: int | None, seed: int, default_type: str
) -> list[NoteRow]:
    """Orders that SQLite cannot make: titles as people sort them, and chance that can be repeated."""
    cursor = connection.cursor()
    cursor.row_factory = None
    found: Iterable[tuple[int, str, str]] = cursor.execute(
        f"SELECT n.number, n.title, n.path FROM notes AS n WHERE {condition.sql}", condition.values
    )
    if sort.name == "title":
        keyed = [(title_key(title), path, number) for number, title, path in found]
    else:
        start = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        keyed = [
            (hashlib.blake2b(path.encode(), key=start, digest_size=16).hexdigest(), path, number) for number, _, path in found
        ]
    keyed.sort()
    if sort.descending:
        keyed.sort(key=lambda entry: entry[0], reverse=True)
    return rows_of(connection, [number for _, _, number in keyed[:limit]], default_type)


def title_key(title: str) -> str:
    """What a title is sorted by: without case, accents and leading punctuation."""
    folded = fold(title)
    if not folded.isascii():
        folded = "".join(sign for sign in unicodedata.normalize("NFD", folded) if not unicodedata.combining(sign))
    return folded.lstrip("\"'([{#*_`-–—„“«‘ ") or folded

"""Notes as they are shown: what lists, hits and graphs say about a note, read from the index in a few queries for any number.

What is said of a note and how it is spelled for programs (JSON, records) belongs here; which notes, and how people see them, does
not. Light: standard library only.

Records are lines for scripts and language models: a letter for what the line is, then fields separated by tabs. In a field `\\`,
tab, line feed and carriage return are written `\\\\`, `\\t`, `\\n`, `\\r`; other control characters and unpaired surrogates as
`\\uXXXX`. An absent value is an empty field.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_TYPE: Final = "fleeting"
DEFAULT_VALUE: Final = 50
"""The value of a note that has none."""

COLUMNS: Final = (
    "number", "path", "id", "own_id", "title", "title_from", "type", "created", "updated", "value", "words", "outcome", "moc",
)  # fmt: skip
_MANY: Final = 500
"""From here on reading a whole table is quicker than picking its rows."""

_ESCAPED = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


@dataclass(slots=True)
class NoteRow:
    """What there is to say about a note on one line. `path` is store-relative; `type` the store's default where it has none."""

    number: int
    path: str
    id: str
    own_id: bool
    title: str
    title_from: str
    type: str
    created: str | None
    updated: str | None
    value: int | None
    words: int
    outcome: str
    moc: bool
    tags: list[str] = field(default_factory=list)

    @property
    def handle(self) -> str:
        """What people call it by: its id, or its path where the id is only derived from that."""
        return self.id if self.own_id else self.path

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As `--json` prints it; `prefix` is the store's folder in the workspace, with a slash."""
        return {
            "id": self.id,
            "title": self.title,
            "type": self.type,
            "path": prefix + self.path,
            "tags": self.tags,
            "created": self.created,
            "updated": self.updated,
            "value": self.value,
            "words": self.words,
            "moc": self.moc,
            "outcome": self.outcome,
        }

    def to_record(self, prefix: str = "") -> str:
        """As a line of `--format records`: N, id, type, title, path, tags, created, updated, value."""
        return record(
            "N", self.id, self.type, self.title, prefix + self.path, ",".join(self.tags), self.created, self.updated, self.value
        )


def record(kind: str, *fields: object) -> str:
    """One line of records, without its end."""
    return "\t".join([kind, *("" if value is None else escaped(str(value)) for value in fields)])


def escaped(text: str) -> str:
    """A field of a record: one line without tabs."""
    return _ESCAPED.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    """What `escaped` made a field of."""
    back = {short[1]: plain for plain, short in _SHORT.items()}
    return re.sub(r"\\(?:u([0-9a-f]{4})|(.))", lambda found: chr(int(found[1], 16)) if found[1] else back[found[2]], text)


def number_list(numbers: Iterable[int]) -> str:
    """Note numbers as one parameter, for `IN (SELECT value FROM json_each(?))`: SQLite bounds the number of parameters."""
    return json.dumps(list(numbers), separators=(",", ":"))


def rows_of(connection: sqlite3.Connection, numbers: Sequence[int], default_type: str = DEFAULT_TYPE) -> list[NoteRow]:
    """The rows of these notes, in this order; numbers that no note has are left out."""
    if not numbers:
        return []
    few = len(numbers) < _MANY
    where = "WHERE number IN (SELECT value FROM json_each(?))" if few else ""
    found = {row.number: row for row in _read(connection, where, (number_list(numbers),) if few else (), default_type)}
    chosen = [found[number] for number in numbers if number in found]
    add_tags(connection, chosen)
    return chosen


def _read(connection: sqlite3.Connection, where: str, values: Sequence[Any], default_type: str) -> Iterator[NoteRow]:
    cursor = connection.cursor()
    cursor.row_factory = None
    for row in cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM notes {where}", values):
        yield made(row, default_type)


def made(row: Sequence[Any], default_type: str = DEFAULT_TYPE) -> NoteRow:
    """A NoteRow from a row of COLUMNS."""
    number, path, name, own, title, title_from, kind, created, updated, value, words, outcome, moc = row
    return NoteRow(
        number, path, name, bool(own), title, title_from, kind or default_type, created, updated, value, words, outcome, bool(moc)
    )


def add_tags(connection: sqlite3.Connection, rows: Sequence[NoteRow]) -> None:
    """Fill in the tags of `rows`: each once, in the order and spelling of its first use."""
    for row, tags in zip(rows, tags_of(connection, [row.number for row in rows]), strict=True):
        row.tags = tags


def tags_of(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[list[str]]:
    """The tags of each note, each once, in the order and spelling of its first use."""
    if not numbers:
        return []
    cursor = connection.cursor()
    cursor.row_factory = None
    query = "SELECT note, tag, folded FROM tags"
    if len(numbers) < _MANY:
        found = cursor.execute(f"{query} WHERE note IN (SELECT value FROM json_each(?))", (number_list(numbers),))
    else:
        found = cursor.execute(query)
    tags: dict[int, list[str]] = {}
    last, names, seen = -1, [""], {""}
    for note, tag, folded in found:
        if note != last:  # the rows of a note stand together, in the order of their uses
            last, names, seen = note, [tag], {folded}
            tags[note] = names
        elif folded not in seen:
            seen.add(folded)
            names.append(tag)
    return [list(tags.get(number, ())) for number in numbers]


def aliases_of(connection: sqlite3.Connection, number: int) -> list[str]:
    """The aliases of one note, in their order."""
    return [row[0] for row in connection.execute("SELECT alias FROM aliases WHERE note = ? ORDER BY position", (number,))]


def meta_of(connection: sqlite3.Connection, number: int) -> Mapping[str, Any]:
    """The frontmatter of one note as JSON values."""
    row = connection.execute("SELECT meta FROM notes WHERE number = ?", (number,)).fetchone()
    meta: Mapping[str, Any] = json.loads(row[0]) if row is not None else {}
    return meta

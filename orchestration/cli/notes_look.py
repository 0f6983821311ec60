"""How notes look: aligned rows for people, with found places and states in colour; JSON lines and records for programs.

Only printing; what is printed comes from `assets.notes`. Light: standard library and click only.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from assets.notes.shown import NoteRow, record
from orchestration.cli.app import App
from orchestration.cli.notes_stores import chosen_format

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes

RECORDS_FORMAT: Final = 1
STATE_COLOURS: Final = {
    "resolved": "green",
    "self": "yellow",
    "broken": "red",
    "broken-anchor": "yellow",
    "ambiguous": "yellow",
    "attachment": "blue",
    "external": "blue",
}
_TITLE: Final = 72
"""Columns of a title where the output is no terminal."""
_NARROWEST: Final = 20
_CHUNK: Final = 1000
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode

Span = tuple[int, int]


class Look:
    """How one command prints: in which format, and with which folder before the store's paths."""

    def __init__(self, app: App, notes: OpenedNotes, given: str | None = None) -> None:
        self.app = app
        self.format = chosen_format(app, given)
        root = notes.place.root
        self.prefix = f"{root}/" if root else ""
        self.store = f"{notes.place.kind}/{notes.place.name}"
        self._default_type = notes.config.default_note_type

    @property
    def is_human(self) -> bool:
        return self.format == "human"

    def path(self, path: str) -> str:
        """A path of the store as people and programs are told it."""
        return self.prefix + path

    def json(self, records: Iterable[dict[str, Any]]) -> None:
        """Records as JSON lines, many at a time."""
        self._chunks(map(_encode, records))

    def records(self, command: str, lines: Iterable[str]) -> None:
        """A header line (H, format, command, store), then the lines."""
        self.app.write_text(record("H", RECORDS_FORMAT, f"notes {command}", self.store) + "\n")
        self._chunks(lines)

    def _chunks(self, lines: Iterable[str]) -> None:
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == _CHUNK:
                self.app.write_text("\n".join(waiting) + "\n")
                waiting = []
        if waiting:
            self.app.write_text("\n".join(waiting) + "\n")

    def notes(self, rows: Sequence[NoteRow]) -> None:
        """Notes for people, one a line: what they are called by, type, title, tags, date."""
        if not rows:
            return
        types = len({row.type for row in rows}) > 1
        names = [one_line(row.handle) for row in rows]
        handles = fit(names, 48)
        kinds = fit((one_line(row.type) for row in rows), 16) if types else 0
        room = self._room(handles + kinds + 16)
        said = [one_line(row.title) for row in rows]
        titles = fit(said, room)
        style = self.app.style
        dated = any(row.created or row.updated for row in rows)
        # Column by column: a list may have a hundred thousand lines.
        columns = [[style(padded(name, handles), "cyan") for name in names]]
        if types:
            columns.append([style(padded(one_line(row.type), kinds), "dim") for row in rows])
        columns.append([padded(cut(title, room), titles) for title in said])
        if dated:
            columns.append([style((row.updated or row.created or "")[:10].ljust(10), "dim") for row in rows])
        columns.append([self.tags(row.tags) for row in rows])
        lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
        for at in range(0, len(lines), _CHUNK):
            self.app.say("\n".join(lines[at : at + _CHUNK]))

    def heading(self, row: NoteRow, spans: Sequence[Span] = (), *, with_path: bool = True) -> str:
        """One note as the line above what is said of it; `with_path` tells whether one that has no id is called by its path."""
        style = self.app.style
        cells = [
            style(one_line(row.handle), "cyan") if row.own_id or with_path else "",
            self.marked(one_line(row.title), spans, "bold"),
            style(one_line(row.type), "dim") if row.type != self._default_type else "",
            self.tags(row.tags),
        ]
        return "  ".join(filter(None, cells))

    def tags(self, tags: Sequence[str]) -> str:
        """Tags with their signs."""
        return self.app.style("#" + " #".join(map(one_line, tags)), "magenta") if tags else ""

    def marked(self, text: str, spans: Sequence[Span], *plain: str) -> str:
        """Text with the found places in colour and the rest in `plain`."""
        style = self.app.style
        made: list[str] = []
        at = 0
        for start, stop in spans:
            if start < at:
                continue
            if start > at:
                made.append(style(text[at:start], *plain) if plain else text[at:start])
            made.append(style(text[start:stop], "red", "bold"))
            at = stop
        rest = text[at:]
        made.append(style(rest, *plain) if plain and rest else rest)
        return "".join(made)

    def place(self, path: str, line: int | None = None, column: int | None = None) -> str:
        """`path:line:column`, as editors take it."""
        return ":".join([one_line(self.path(path)), *(str(part) for part in (line, column) if part is not None)])

    def summary(self, text: str) -> None:
        """The line below a list."""
        self.app.say(self.app.style(text, "dim"))

    def hint(self, text: str) -> None:
        """What might help, for people only."""
        if self.is_human:
            self.app.note(self.app.style(text, "dim"))

    def _room(self, taken: int) -> int:
        """Columns that titles may have beside what else is on the line."""
        if not sys.stdout.isatty():
            return _TITLE
        return max(_NARROWEST, shutil.get_terminal_size().columns - taken - 16)


def one_line(text: str) -> str:
    """Text without line ends and tabs."""
    return " ".join(text.split()) if "\n" in text or "\t" in text or "\r" in text else text


def width(text: str) -> int:
    """Columns of a terminal that text takes: two for the wide characters of East Asia and emoji, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) or sign in "\u200d\ufe0f" else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def fit(cells: Iterable[str], most: int) -> int:
    """The width of a column that holds these cells, at most `most`."""
    return min(max(map(width, cells), default=0), most)


def padded(text: str, columns: int) -> str:
    """Text filled up with spaces to a width."""
    if text.isascii():
        return text.ljust(columns)
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Text cut to a width, with a sign that it was."""
    if len(text) * 2 <= columns or width(text) <= columns:
        return text
    taken = 0
    for at, sign in enumerate(text):
        taken += width(sign)
        if taken > columns - 1:
            return text[:at] + "…"
    return text

"""`qipu.db` brought up to date: the index as it was, and what changed since.

Only changed notes are read. A name that appeared, vanished or changed touches the mentions that share its key, a heading or block
the mentions that lead to its note, a file the mentions that share its name's key; no others can have come to lead elsewhere
(`assets.notes.resolve`). What comes out says exactly what a build from nothing says; property tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from assets.engine.folded import Delta
from assets.engine.recipe import Summary
from assets.engine.view import InputFile, Scratch, View
from assets.notes import relink, schema
from assets.notes.index import FILE, build, finish, open_writing, write_attachments
from assets.notes.reading import NOTE_ROLES, Reading, parse_all, reading
from assets.notes.resolve import key
from assets.notes.rows import Row, names_of
from assets.notes.writing import CHILDREN, Writer, write_settings_findings

_LARGEST = 0.5
"""Past this share of the notes a build from nothing costs less."""


def fold(view: View, scratch: Scratch, parameters: Mapping[str, Any], previous: Path, changed: Mapping[str, Delta]) -> Summary:
    """`Recipe.fold` of `qipu_db`: `previous` is a folder with a copy of the index as it was, which becomes the new one."""
    read = reading(view, parameters)
    target = scratch.path(FILE)
    (previous / FILE).rename(target)
    connection = open_writing(str(target))
    try:
        changes = _Changes(read, changed)
        if _can_fold(connection, read, changes):
            with connection:
                _apply(connection, view, read, changes)
                return finish(connection, read)
    finally:
        connection.close()
    target.unlink()
    return build(view, scratch, parameters)


class _Changes:
    """What changed, as notes and attachments."""

    def __init__(self, read: Reading, changed: Mapping[str, Delta]) -> None:
        self.read: list[tuple[str, InputFile]] = []
        """(role, file) of the notes that are new or have other bytes, by path."""
        self.gone: list[str] = []
        """Notes that are no more."""
        self.files: list[InputFile] = []
        """Attachments that are new or have other bytes."""
        self.lost: list[str] = []
        """Attachments that are no more, or have other bytes."""
        for role in NOTE_ROLES:
            delta = changed[role]
            edited = [file for _, file in delta.edited]
            for file in (*delta.added, *edited):
                if read.is_note(file.path):
                    self.read.append((role, file))
                elif read.is_attachment(file.path):
                    self.files.append(file)
            self.gone += [file.path for file in delta.removed if read.is_note(file.path)]
            self.lost += [file.path for file in (*delta.removed, *edited) if read.is_attachment(file.path)]
        self.read.sort(key=lambda one: one[1].path)


def _can_fold(connection: Any, read: Reading, changes: _Changes) -> bool:
    """Whether the index is one of this format, read the same way, and most of it is still true."""
    if not schema.is_ours(connection):
        return False
    facts = dict(connection.execute("SELECT key, value FROM info").fetchall())
    if facts.get("reading") != read.digest:
        return False
    count: int = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
    return len(changes.read) + len(changes.gone) <= _LARGEST * count


def _apply(connection: Any, view: View, read: Reading, changes: _Changes) -> None:
    highest: int = connection.execute("SELECT max(number) FROM notes").fetchone()[0] or 0
    keys: set[str] = set()
    notes: set[int] = set()
    moved: set[int] = set()
    for path in changes.gone:
        gone = _take_out(connection, path)
        if gone is not None:
            keys.update(name[0] for name in gone.names)
    writer = Writer(connection)
    for rows in parse_all(view, read, changes.read):
        before = _take_out(connection, rows.path)
        if before is None:
            highest += 1
            before = _Before(highest, [], None)
        elif before.anchors != rows.anchors:
            moved.add(before.number)
        keys.update(name[0] for name in {*before.names}.symmetric_difference(rows.names))
        writer.add(before.number, rows)
        notes.add(before.number)
    writer.flush()
    _search(connection, notes)
    keys.update(_apply_attachments(connection, changes))
    touched = notes | relink.resolve_keys(connection, keys, notes)
    for column, numbers in (("note", sorted(touched)), ("target_note", sorted(moved))):
        for number in numbers:
            touched |= relink.check_anchors(connection, f"{column} = ?", (number,))
    relink.link_notes(connection, touched)
    connection.execute("DELETE FROM findings WHERE path NOT IN (SELECT path FROM notes)")
    write_settings_findings(connection, read.findings)


class _Before(NamedTuple):
    """What a note was to others before it was taken out."""

    number: int
    names: list[Row]
    anchors: tuple[list[Row], list[Row]] | None


def _take_out(connection: Any, path: str) -> _Before | None:
    """Take a note out of every table, None when there is no such note. Mentions of it stay as they are."""
    note = connection.execute("SELECT number, id, title FROM notes WHERE path = ?", (path,)).fetchone()
    if note is None:
        return None
    number, own_id, title = note
    this = (number,)
    aliases = [row[0] for row in connection.execute("SELECT alias FROM aliases WHERE note = ?", this)]
    names = names_of(path, own_id, title, aliases)
    anchors = (
        connection.execute("SELECT text, slug FROM headings WHERE note = ? ORDER BY position", this).fetchall(),
        connection.execute("SELECT block FROM blocks WHERE note = ? ORDER BY position", this).fetchall(),
    )
    # The full-text index forgets a text only when it is told all of it.
    connection.execute(
        "INSERT INTO notes_fts(notes_fts, rowid, title, headings, tags, body) "
        "SELECT 'delete', number, title, headings, tags, body FROM notes_text WHERE number = ?",
        this,
    )
    for table in CHILDREN:
        connection.execute(f"DELETE FROM {table} WHERE note = ?", this)
    connection.execute("DELETE FROM edges WHERE source = ?", this)
    connection.executemany("DELETE FROM names WHERE key = ? AND note = ?", [(key, number) for key in {name[0] for name in names}])
    connection.execute("DELETE FROM findings WHERE path = ?", (path,))
    connection.execute("DELETE FROM notes_text WHERE number = ?", this)
    connection.execute("DELETE FROM notes WHERE number = ?", this)
    return _Before(number, names, anchors)


def _search(connection: Any, notes: Iterable[int]) -> None:
    connection.executemany(
        "INSERT INTO notes_fts(rowid, title, headings, tags, body) "
        "SELECT number, title, headings, tags, body FROM notes_text WHERE number = ?",
        [(number,) for number in sorted(notes)],
    )


def _apply_attachments(connection: Any, changes: _Changes) -> set[str]:
    """Write attachments anew; returns the keys of those that came or went."""
    connection.executemany("DELETE FROM attachments WHERE path = ?", [(path,) for path in changes.lost])
    write_attachments(connection, changes.files)
    return {key(path) for path in {file.path for file in changes.files}.symmetric_difference(changes.lost)}

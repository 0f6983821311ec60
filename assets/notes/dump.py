"""What an index says, canonically: everything by path, so that an index kept up to date and one built from nothing compare equal.

`content_digest` is the proof behind the digest that a build notes down: it recomputes every note's digest from the rows, and lets
SQLite check that the full-text index holds exactly the texts it is made of.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from assets.notes import schema
from assets.notes.digest import links_digest, tree_digest
from assets.notes.groups import Groups
from assets.notes.rows import local_digest
from schemas.errors import HeadwaterError

_NOTE = (
    "path, id, own_id, title, title_from, type, created, updated, value, summary, words, paragraphs, lines, size, oid, outcome, "
    "moc, body_start, meta, fields"
)
_CHILDREN = {
    "tags": "position, tag, folded, inline, line, col",
    "aliases": "position, alias",
    "sources": "position, url, t.title, accessed, line",
    "headings": "position, level, text, slug, line, start, stop",
    "blocks": "position, block, line",
    "mentions": (
        "position, kind, t.type, target, anchor, label, property, line, col, start, stop, target_start, target_stop, key, "
        "state, rule, spelling, target_path, candidates"
    ),
}
_READ_OF_MENTION = 14
_FINDING = "rule, severity, message, line, col, fix, value, replacement"


def content_digest(path: Path) -> str:
    """The digest of the index at `path`, from what lies in its tables. `Recipe.content` of `qipu_db`.

    Raises HeadwaterError for what is no index of ours, or whose full-text index does not hold its texts.
    """
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        _refuse_foreign(connection, path)
        found = ((rows["path"], rows["digest"]) for rows in _notes(connection))
        digest = tree_digest(connection, found)
    check_search(path)
    return digest


def dump(path: Path) -> Iterator[str]:
    """The index at `path` as lines of JSON, one per fact, the same for the same content: what the index says about itself, its
    attachments, what is wrong with the settings, then each note by path with all its rows."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        _refuse_foreign(connection, path)
        for row in connection.execute("SELECT key, value FROM info ORDER BY key"):
            yield _line("info", row)
        for row in connection.execute("SELECT path, key, size, oid FROM attachments ORDER BY path"):
            yield _line("attachments", row)
        settings = f"SELECT path, {_FINDING} FROM findings WHERE path NOT IN (SELECT path FROM notes) ORDER BY 1, 5, 6, 2, 4"
        for row in connection.execute(settings):
            yield _line("findings", row)
        for rows in _notes(connection):
            yield _line("notes", (*rows["notes"], rows["digest"].hex()))
            for table in (*_CHILDREN, "names", "edges", "findings", "notes_text"):
                yield from (_line(table, (rows["path"], *row)) for row in rows[table])


def check_search(path: Path) -> None:
    """Let SQLite prove that the full-text index at `path` holds exactly the texts it is made of; works on a copy, because the
    proof is asked for by a write. Raises HeadwaterError (rule `notes-index-damaged`)."""
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        copy = Path(folder) / "index.db"
        shutil.copyfile(path, copy)
        with closing(apsw.Connection(str(copy))) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            try:
                connection.execute("INSERT INTO notes_fts(notes_fts, rank) VALUES('integrity-check', 1)")
            except apsw.CorruptError as error:
                raise _damaged(path, f"its full-text index does not hold its texts ({error})") from None


def _refuse_foreign(connection: Any, path: Path) -> None:
    try:
        ours = schema.is_ours(connection)
    except apsw.Error as error:
        raise _damaged(path, str(error)) from None
    if not ours:
        raise _damaged(path, "it was made by another program or version")


def _damaged(path: Path, why: str) -> HeadwaterError:
    return HeadwaterError(
        f"{path.name} is no index of ours: {why}",
        rule="notes-index-damaged",
        fix="build it again: `headwater notes index --rebuild`",
    )


def _line(table: str, row: Iterable[Any]) -> str:
    return json.dumps([table, *row], ensure_ascii=False)


def _notes(connection: Any) -> Iterator[dict[str, Any]]:
    """Every note by path with its rows in all tables by name, all said by path, and its digest computed from them."""

    def by_path(table: str, columns: str, order: str, note: str = "note") -> Groups:
        query = f"SELECT n.path, {columns} FROM {table} AS t JOIN notes AS n ON n.number = t.{note} ORDER BY n.path, {order}"
        return Groups(connection.execute(query))

    children = {table: by_path(table, columns, "position") for table, columns in _CHILDREN.items()}
    names = by_path("names", "key, form, name", "key, form, name")
    texts = by_path("notes_text", "t.title, headings, tags, body", "1", "number")
    edges = Groups(
        connection.execute(
            "SELECT n.path, target.path, e.type, inline, mentions FROM edges AS e JOIN notes AS n ON n.number = source "
            "JOIN notes AS target ON target.number = e.target ORDER BY 1, 2, 3"
        )
    )
    findings = Groups(connection.execute(f"SELECT path, link, {_FINDING} FROM findings ORDER BY path, rowid"))
    for this, *note in connection.execute(f"SELECT path, {_NOTE} FROM notes ORDER BY path"):
        rows = {table: groups.of(this) for table, groups in children.items()}
        mentions = rows["mentions"]
        wrong = findings.of(this)
        own, links = (sorted((row[1:] for row in wrong if not row[0]), key=repr), [row[1:] for row in wrong if row[0]])
        text = texts.of(this)
        read = [row[:_READ_OF_MENTION] for row in mentions]
        resolved = [(state, rule, spelling, path, many) for *_, state, rule, spelling, path, many in mentions]
        before = [rows[table] for table in _CHILDREN if table != "mentions"]
        named, linked = names.of(this), edges.of(this)
        local = local_digest(tuple(note), *before, read, named, own, text[0] if text else None)
        yield {
            "path": note[0],
            "notes": note,
            **rows,
            "names": named,
            "edges": linked,
            "findings": own + links,
            "notes_text": text,
            "digest": links_digest(local, resolved, linked, links),
        }

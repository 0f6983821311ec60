"""`qipu.db` from nothing: every note parsed, every link resolved, everything searchable.

The body of the recipe; keeping an index up to date is `assets.notes.fold`, what it holds `assets.notes.schema`. Memory does not
grow with the number of notes: files are read one by one, rows written in batches, and links resolved by walking mentions and
names side by side in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import apsw

from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import InputFile, Scratch, View
from assets.notes import relink, schema
from assets.notes.digest import index_digest
from assets.notes.reading import Reading, files, parse_all, reading
from assets.notes.resolve import key
from assets.notes.writing import Writer, write_settings_findings
from schemas.notes.parse import PARSER_VERSION

FILE = "qipu.db"
_CACHE_KIB = 65_536
_SHOWN = 50


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `qipu_db`. No content of a note makes it fail."""
    read = reading(view, parameters)
    connection = open_writing(str(scratch.path(FILE)))
    try:
        with connection:
            schema.create(connection)
            notes, attachments = sorted_out(view, read)
            _write_notes(connection, view, read, notes)
            write_attachments(connection, attachments)
            relink.resolve_all(connection)
            schema.finish(connection)
            relink.check_anchors(connection)
            relink.link_all(connection)
            connection.execute(schema.LEAVES)
            write_settings_findings(connection, read.findings)
            write_search(connection)
            return finish(connection, read)
    finally:
        connection.close()


def write_attachments(connection: apsw.Connection, files: Iterable[InputFile]) -> None:
    """Add attachments that are not there yet."""
    rows = [(file.path, key(file.path), file.size, file.oid) for file in files]
    connection.executemany("INSERT INTO attachments VALUES (?, ?, ?, ?)", rows)


def open_writing(path: str) -> Any:
    """A connection to an index in a scratch folder, without journal."""
    connection = apsw.Connection(path)
    for setting in (*schema.WRITING, f"cache_size=-{_CACHE_KIB}"):
        connection.execute(f"PRAGMA {setting}")
    return connection


def sorted_out(view: View, read: Reading) -> tuple[list[tuple[str, InputFile]], list[InputFile]]:
    """(role, file) of the notes and the attachments of the store, each sorted by path."""
    notes, attachments = [], []
    for role, file in files(view):
        if read.is_note(file.path):
            notes.append((role, file))
        elif read.is_attachment(file.path):
            attachments.append(file)
    return sorted(notes, key=lambda note: note[1].path), sorted(attachments, key=lambda file: file.path)


def _write_notes(connection: apsw.Connection, view: View, read: Reading, notes: list[tuple[str, InputFile]]) -> None:
    connection.execute("CREATE TEMP TABLE staged_names (key, note, form, name)")
    writer = Writer(connection, "staged_names")
    for number, rows in enumerate(parse_all(view, read, notes), 1):
        writer.add(number, rows)
    writer.flush()
    # Names come by note and lie by key: sorted once instead of finding each its place.
    connection.execute("INSERT INTO names SELECT * FROM staged_names ORDER BY key, note, form, name")
    connection.execute("DROP TABLE staged_names")


def write_search(connection: apsw.Connection) -> None:
    """Fill the full-text index from the texts of all notes."""
    connection.execute("INSERT INTO notes_fts(notes_fts) VALUES('rebuild')")
    connection.execute("INSERT INTO notes_fts(notes_fts) VALUES('optimize')")


def finish(connection: apsw.Connection, read: Reading) -> Summary:
    """Write what the index says about itself, its digest last, and the summary for people."""
    connection.execute("DELETE FROM info")
    facts = {
        "format": str(schema.FORMAT),
        "parser": str(PARSER_VERSION),
        "reading": read.digest,
        "layout": str(read.layout),
        "default-type": read.config.default_note_type,
    }
    connection.executemany("INSERT INTO info VALUES (?, ?)", list(facts.items()))
    digest = index_digest(connection)
    connection.execute("INSERT INTO info VALUES ('digest', ?)", (digest,))
    return _summary(connection, digest)


def _summary(connection: Any, digest: str) -> Summary:
    def count(query: str) -> int:
        found: int = connection.execute(query).fetchone()[0]
        return found

    counts = {name: count(f"SELECT count(*) FROM {name}") for name in ("notes", "mentions", "edges", "attachments", "findings")}
    counts["tags"] = count("SELECT count(DISTINCT folded) FROM tags")
    states = dict(connection.execute("SELECT state, count(*) FROM mentions GROUP BY state"))
    for state in ("broken", "broken-anchor", "ambiguous", "external", "attachment"):
        counts[state] = states.get(state, 0)
    outcomes = dict(connection.execute("SELECT outcome, count(*) FROM notes WHERE outcome <> 'indexed' GROUP BY outcome"))
    for outcome in ("degraded", "quarantined"):
        counts[outcome] = outcomes.get(outcome, 0)
    linked = connection.execute(
        "WITH linked AS MATERIALIZED (SELECT target, count(*) AS many FROM edges GROUP BY target) "
        "SELECT path, title, many FROM linked JOIN notes ON number = target "
        "WHERE many >= (SELECT min(many) FROM (SELECT many FROM linked ORDER BY many DESC LIMIT 20)) "
        "ORDER BY many DESC, path LIMIT 20"
    ).fetchall()
    rules = connection.execute(
        f"SELECT rule, severity, count(*) AS many FROM findings GROUP BY rule, severity ORDER BY many DESC, rule LIMIT {_SHOWN}"
    ).fetchall()
    tables = {
        "most linked": SummaryTable(["note", "title", "notes that link it"], [list(row) for row in linked]),
        "findings": SummaryTable(["rule", "severity", "findings"], [list(row) for row in rules]),
    }
    return Summary(counts=counts, tables=tables, digest=digest)

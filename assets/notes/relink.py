"""From mentions to links, in the index: resolve mentions, check their anchors, then edges, findings and digests per note.

The order of resolution is `assets.notes.resolve`, what is said about a bad link `assets.notes.link_rules`. A build from nothing
runs all of it over everything, a fold over the keys and notes that changed, through the same functions.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from assets.notes import resolve
from assets.notes.anchors import Anchors
from assets.notes.digest import links_digest
from assets.notes.groups import Groups
from assets.notes.link_rules import COLUMNS, link_findings
from assets.notes.resolve import Name, Namesakes, Resolution
from assets.notes.rows import Row
from schemas.notes.model import MentionKind

_BATCH = 10_000
Connection = Any
"""An apsw connection, whose types leave open what a column holds."""
Resolved = tuple[str, str | None, str | None, int | None, str | None, str | None, int, int]
"""state, rule, spelling, target_note, target_path, candidates, then the note and position of the mention."""

_SET = (
    "UPDATE mentions SET state = ?, rule = ?, spelling = ?, target_note = ?, target_path = ?, candidates = ? "
    "WHERE note = ? AND position = ?"
)


# mentions


def resolve_all(connection: Connection) -> None:
    """Resolve every mention. Streams mentions and names side by side in the order of their keys."""
    names = Groups(
        connection.execute(
            "SELECT key, note, path, form, name FROM names JOIN notes ON notes.number = note ORDER BY key, note, form, name"
        )
    )
    files = Groups(connection.execute("SELECT key, path FROM attachments ORDER BY key, path"))
    mentions = connection.execute(
        "SELECT key, note, position, kind, target, path FROM mentions JOIN notes ON notes.number = note "
        "WHERE key IS NOT NULL ORDER BY key, note, position"
    )
    batch: list[Resolved] = []
    for key, rows in groupby(mentions, key=itemgetter(0)):
        namesakes = Namesakes([Name(*row) for row in names.of(key)], [row[0] for row in files.of(key)])
        batch += _resolved(namesakes, rows)
        if len(batch) >= _BATCH:
            connection.executemany(_SET, batch)
            batch.clear()
    connection.executemany(_SET, batch)
    _resolve_keyless(connection, "")


def resolve_keys(connection: Connection, keys: Collection[str], notes: Collection[int]) -> set[int]:
    """Resolve again the mentions with one of `keys`, and all mentions of `notes`; returns the other notes whose mentions now say
    something else."""
    own: dict[str, list[int]] = {}
    for note in notes:
        for (key,) in connection.execute("SELECT DISTINCT key FROM mentions WHERE note = ? AND key IS NOT NULL", (note,)):
            own.setdefault(key, []).append(note)
        _resolve_keyless(connection, "AND note = ?", (note,))
    changed: set[int] = set()
    for key in sorted(own.keys() | keys):
        if key in keys:
            rows = connection.execute(f"{_WITH_KEY} WHERE key = ?", (key,)).fetchall()
        else:
            query = f"{_WITH_KEY} WHERE note = ? AND key = ?"
            rows = [row for note in own[key] for row in connection.execute(query, (note, key))]
        if rows:
            found = _resolved(namesakes_of(connection, key), rows)
            news = [row for row, before in zip(found, rows, strict=True) if not _same(row, before[6:12], before[12])]
            connection.executemany(_SET, news)
            changed.update(row[6] for row in news)
    return changed.difference(notes)


_WITH_KEY = (
    "SELECT key, note, position, kind, target, path, state, rule, spelling, target_note, target_path, candidates, anchor "
    "FROM mentions JOIN notes ON notes.number = note"
)


def _same(row: Resolved, before: tuple[Any, ...], anchor: str | None) -> bool:
    """Whether a mention leads where it led. Its anchor is checked afterwards, which says so where that leads nowhere."""
    if anchor is not None and before[0] == resolve.BROKEN_ANCHOR and row[0] in (resolve.RESOLVED, resolve.SELF):
        return row[1:6] == before[1:]
    return row[:6] == before


def namesakes_of(connection: Connection, key: str) -> Namesakes:
    """Everything in the index that has `key`."""
    names = connection.execute(
        "SELECT note, path, form, name FROM names JOIN notes ON number = note WHERE key = ? ORDER BY note, form, name",
        (key,),
    ).fetchall()
    files = connection.execute("SELECT path FROM attachments WHERE key = ? ORDER BY path", (key,)).fetchall()
    return Namesakes([Name(*row) for row in names], [row[0] for row in files])


def _resolved(namesakes: Namesakes, rows: Iterable[Row]) -> Iterator[Resolved]:
    for row in rows:
        _, note, position, kind, target, path = row[:6]
        yield _columns(namesakes.resolve(kind, target, path), note, position)


def _columns(found: Resolution, note: int, position: int) -> Resolved:
    candidates = None if found.candidates is None else json.dumps(found.candidates, ensure_ascii=False, separators=(",", ":"))
    return (found.state, found.rule, found.spelling, found.note, found.path, candidates, note, position)


def _resolve_keyless(connection: Connection, where: str, values: tuple[Any, ...] = ()) -> None:
    """Addresses lead outside, links without a target into the note they stand in."""
    connection.execute(
        "UPDATE mentions SET state = iif(kind = 'url', 'external', 'self'), rule = iif(kind = 'url', 'url', 'relative'), "
        "spelling = 'exact', target_note = iif(kind = 'url', NULL, note), "
        f"target_path = iif(kind = 'url', NULL, (SELECT path FROM notes WHERE number = note)) WHERE key IS NULL {where}",
        values,
    )


# anchors


def check_anchors(connection: Connection, where: str = "1", values: tuple[Any, ...] = ()) -> set[int]:
    """Tell anchors that lead nowhere, among the mentions that `where` selects; returns the notes whose mentions now say
    something else."""
    rows = connection.execute(
        "SELECT target_note, anchor, state, note, position FROM mentions "
        f"WHERE anchor IS NOT NULL AND target_note IS NOT NULL AND ({where}) ORDER BY target_note, note, position",
        values,
    )
    news: list[tuple[str, int, int]] = []
    for target, mentions in groupby(rows, key=itemgetter(0)):
        anchors = anchors_of(connection, target)
        for _, anchor, state, note, position in mentions:
            good = resolve.SELF if note == target else resolve.RESOLVED
            now = good if anchors.has(anchor) else resolve.BROKEN_ANCHOR
            if now != state:
                news.append((now, note, position))
    connection.executemany("UPDATE mentions SET state = ? WHERE note = ? AND position = ?", news)
    return {row[1] for row in news}


def anchors_of(connection: Connection, note: int) -> Anchors:
    """What anchors can lead to in a note."""
    return Anchors(
        connection.execute("SELECT text, slug FROM headings WHERE note = ?", (note,)).fetchall(),
        [row[0] for row in connection.execute("SELECT block FROM blocks WHERE note = ?", (note,))],
    )


# edges, findings and digests per note

_LINKS = f"target_note, {COLUMNS} FROM mentions"
_KIND, _TYPE, _RULE, _SPELLING, _STATE, _PATH, _CANDIDATES = 2, 3, 8, 9, 10, 11, 12
"""Where these columns stand in a row of _LINKS."""


@dataclass(slots=True)
class _Links:
    """What follows from the resolved mentions of notes, on its way into the tables."""

    edges: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    digests: list[Row] = field(default_factory=list)

    def add(self, note: int, path: str, local: bytes, mentions: list[Row]) -> None:
        edges: dict[tuple[str, str], list[int]] = {}
        for row in mentions:
            if row[_STATE] in resolve.LINKED and row[0] != note:
                edge = edges.setdefault((row[_PATH], row[_TYPE]), [row[0], 1, 0])
                edge[1] &= row[_KIND] != MentionKind.TYPED
                edge[2] += 1
        findings = list(link_findings([row[1:] for row in mentions]))
        by_path = sorted((path, kind, inline, many) for (path, kind), (_, inline, many) in edges.items())
        self.edges += [(note, target, kind, inline, many) for (_, kind), (target, inline, many) in edges.items()]
        self.findings += [(path, *row, 1) for row in findings]
        self.digests.append((links_digest(local, [_resolution(row) for row in mentions], by_path, findings), note))

    def write(self, connection: Connection) -> None:
        connection.executemany("INSERT INTO edges VALUES (?, ?, ?, ?, ?)", sorted(self.edges))
        connection.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self.findings)
        connection.executemany("UPDATE notes SET digest = ? WHERE number = ?", self.digests)
        self.edges.clear()
        self.findings.clear()
        self.digests.clear()


def _resolution(row: Row) -> Row:
    return (row[_STATE], row[_RULE], row[_SPELLING], row[_PATH], row[_CANDIDATES])


def link_all(connection: Connection) -> None:
    """Write edges, findings of links and digests of all notes, none of which are there yet."""
    mentions = Groups(connection.execute(f"SELECT note, {_LINKS} ORDER BY note, position"))
    links = _Links()
    for note, path, local in connection.execute("SELECT number, path, local FROM notes ORDER BY number").fetchall():
        links.add(note, path, local, mentions.of(note))
        if len(links.digests) >= _BATCH:
            links.write(connection)
    links.write(connection)


def link_notes(connection: Connection, notes: Collection[int]) -> None:
    """Write edges, findings of links and digests of `notes` again."""
    links = _Links()
    for note in sorted(notes):
        path, local = connection.execute("SELECT path, local FROM notes WHERE number = ?", (note,)).fetchone()
        connection.execute("DELETE FROM edges WHERE source = ?", (note,))
        connection.execute("DELETE FROM findings WHERE path = ? AND link", (path,))
        links.add(
            note,
            path,
            local,
            connection.execute(f"SELECT {_LINKS} WHERE note = ? ORDER BY position", (note,)).fetchall(),
        )
    links.write(connection)

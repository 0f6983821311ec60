"""Which notes have to do with a note, linked or not, each with the reasons: links they share, tags, words.

    score = 3 x links shared + 2 x tags shared + 2 x words shared + 1 when they are linked

Each part is between 0 and 1. A shared link or tag counts the more the fewer notes have it, and so does a word: what everything
shares says nothing. Nothing is hidden because it is linked already; whoever wants only that which is not asks for it. Light:
standard library only; some dozen queries, whatever the size of the store.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from assets.notes.filters import EVERYTHING, Condition
from assets.notes.query import Term
from assets.notes.schema import RANK
from assets.notes.shown import DEFAULT_TYPE, NoteRow, number_list, rows_of
from assets.notes.text_for_search import has_cjk

LINKS, TAGS, WORDS, LINKED = 3.0, 2.0, 2.0, 1.0
"""What the parts weigh."""

_BM25: Final = RANK.replace("bm25(", "bm25(notes_fts, ")
_CANDIDATES: Final = 200
_COMMON: Final = 2000
"""Notes that may share a word or a neighbour before it says nothing; also bounds what a query costs."""
_TRIED_WORDS: Final = 40
_USED_WORDS: Final = 12
_WORD = re.compile(r"[^\W\d_][\w'’]{2,}")
_STOP_WORDS: Final = """
    about above after again all also and any are because been before being below between both but can could did does doing down
    during each few for from further had has have having her here hers him his how into its itself just like may more most much
    must not now off once one only other our out over own same she should some such than that the their them then there these they
    this those through too under until use used using very was way well were what when where which while who whom why will with
    within without would you your
    aber alle als auch auf aus bei bin bis das dass dem den der des die dies doch eine einem einen einer für hat ich ihr ist kann
    mit nach nicht noch nur oder sich sie sind und uns vom von vor war was wenn wie wir wird zum zur
    avec dans des elle est les mais nous par pas plus pour que qui sur une vous como con del los las para por una
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""Words that say nothing about what a note is about, three letters and more, in the languages most notes are written in."""


@dataclass(slots=True)
class Related:
    """A note with how much it has to do with the one asked about, and why. `linked` when an edge joins them either way."""

    note: NoteRow
    score: float
    linked: bool
    shared_links: list[NoteRow] = field(default_factory=list)
    shared_tags: list[str] = field(default_factory=list)
    shared_words: list[str] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As `--json` prints it; `prefix` is the store's folder in the workspace, with a slash."""
        return {
            **self.note.to_json(prefix),
            "score": round(self.score, 6),
            "parts": {name: round(value, 6) for name, value in self.parts.items()},
            "linked": self.linked,
            "shared_links": [{"id": note.id, "title": note.title, "path": prefix + note.path} for note in self.shared_links],
            "shared_tags": self.shared_tags,
            "shared_words": self.shared_words,
        }


def related(
    connection: sqlite3.Connection,
    number: int,
    *,
    limit: int = 10,
    unlinked: bool = False,
    kept: Condition = EVERYTHING,
    min_score: float = 0.0,
    default_type: str = DEFAULT_TYPE,
) -> list[Related]:
    """The `limit` notes that have most to do with a note, the best first; ties by id, then path. `unlinked` leaves out those that
    an edge joins with it already; `kept` filters (see `assets.notes.filters`)."""
    cursor = connection.cursor()
    cursor.row_factory = None
    neighbours = _neighbours(cursor, [number]).get(number, set())
    shared = _shared_links(cursor, number, neighbours)
    tags = _shared_tags(cursor, number)
    words = _words(cursor, number)
    texts = _similar(cursor, number, words)
    numbers = (shared.keys() | tags.keys() | texts.keys() | (set() if unlinked else neighbours)) - {number}
    if unlinked:
        numbers -= neighbours
    if not kept.always:
        query = f"SELECT n.number FROM notes AS n WHERE n.number IN (SELECT value FROM json_each(?)) AND ({kept.sql})"
        numbers &= {row[0] for row in cursor.execute(query, (number_list(sorted(numbers)), *kept.values))}
    rated = []
    for other in numbers:
        parts = {
            "links": shared.get(other, (0.0, []))[0],
            "tags": tags.get(other, (0.0, []))[0],
            "words": texts.get(other, 0.0),
            "linked": float(other in neighbours),
        }
        score = LINKS * parts["links"] + TAGS * parts["tags"] + WORDS * parts["words"] + LINKED * parts["linked"]
        if score > min_score:
            rated.append((score, other, parts))
    order = _order(cursor, [other for _, other, _ in rated])
    rated.sort(key=lambda entry: (-round(entry[0], 9), order[entry[1]]))
    best = rated[:limit]
    through = sorted({between for _, other, _ in best for between in shared.get(other, (0.0, []))[1]})
    rows = {row.number: row for row in rows_of(connection, [*(other for _, other, _ in best), *through], default_type)}
    return [
        Related(
            rows[other],
            score,
            other in neighbours,
            [rows[between] for between in shared.get(other, (0.0, []))[1]],
            tags.get(other, (0.0, []))[1],
            _words_in(cursor, other, words) if parts["words"] else [],
            parts,
        )
        for score, other, parts in best
    ]


def _order(cursor: sqlite3.Cursor, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
    query = "SELECT number, id, path FROM notes WHERE number IN (SELECT value FROM json_each(?))"
    return {number: (name, path) for number, name, path in cursor.execute(query, (number_list(numbers),))}


def _neighbours(cursor: sqlite3.Cursor, numbers: Iterable[int]) -> dict[int, set[int]]:
    """The notes that edges join with each of these, in either direction."""
    found: dict[int, set[int]] = {}
    inside = number_list(numbers)
    for here, there in (("source", "target"), ("target", "source")):
        query = f"SELECT {here}, {there} FROM edges WHERE {here} IN (SELECT value FROM json_each(?)) AND source <> target"
        for one, other in cursor.execute(query, (inside,)):
            found.setdefault(one, set()).add(other)
    return found


def _shared_links(cursor: sqlite3.Cursor, number: int, neighbours: set[int]) -> dict[int, tuple[float, list[int]]]:
    """For each note that shares neighbours: how much (0 to 1), and which, the rarest first."""
    theirs = _neighbours(cursor, sorted(neighbours))
    weights = {
        between: 1 / math.log2(1 + len(others)) if len(others) > 1 else 1.0
        for between, others in theirs.items()
        if len(others) <= _COMMON
    }
    total = sum(weights.values())
    shared: dict[int, list[int]] = {}
    for between in weights:
        for other in theirs[between]:
            if other != number:
                shared.setdefault(other, []).append(between)
    order = _order(cursor, weights)
    return {
        other: (
            sum(weights[between] for between in throughs) / total,
            sorted(throughs, key=lambda between: (-weights[between], order[between])),
        )
        for other, throughs in shared.items()
    }


def _shared_tags(cursor: sqlite3.Cursor, number: int) -> dict[int, tuple[float, list[str]]]:
    """For each note that shares tags: how much (0 to 1), and which, the rarest first."""
    # The first spelling of a tag is the last to be put in.
    mine: dict[str, str] = dict(
        cursor.execute("SELECT folded, tag FROM tags WHERE note = ? ORDER BY position DESC", (number,)).fetchall()
    )
    (notes,) = cursor.execute("SELECT count(*) FROM notes").fetchone()
    weights: dict[str, float] = {}
    holders: dict[str, list[int]] = {}
    for folded in sorted(mine):
        found = [
            row[0] for row in cursor.execute("SELECT DISTINCT note FROM tags WHERE folded = ? LIMIT ?", (folded, _COMMON + 1))
        ]
        if len(found) > _COMMON:
            continue
        weights[folded] = math.log(1 + notes / max(len(found), 1))
        holders[folded] = found
    total = sum(weights.values())
    shared: dict[int, list[str]] = {}
    for folded, found in holders.items():
        for other in found:
            if other != number:
                shared.setdefault(other, []).append(folded)
    return {
        other: (
            sum(weights[folded] for folded in folds) / total,
            [mine[folded] for folded in sorted(folds, key=lambda folded: (-weights[folded], folded))],
        )
        for other, folds in shared.items()
    }


def _words(cursor: sqlite3.Cursor, number: int) -> list[str]:
    """The words that say what a note is about: frequent in it, most of all in its title, and rare elsewhere."""
    row = cursor.execute("SELECT title, headings, body FROM notes_text WHERE number = ?", (number,)).fetchone()
    if row is None:
        return []
    title, headings, body = row
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for text, weight in ((title, 5), (headings, 2), (body[:100_000], 1)):
        for word in _WORD.findall(text):
            lowered = word.casefold()
            if lowered not in STOP_WORDS and len(lowered) < 40 and not has_cjk(word):
                counts[lowered] += weight
                spelled.setdefault(lowered, lowered)
    tried = sorted(counts, key=lambda word: (-counts[word], word))[:_TRIED_WORDS]
    (notes,) = cursor.execute("SELECT count(*) FROM notes").fetchone()
    rated = []
    for word in tried:
        query = "SELECT count(*) FROM (SELECT 1 FROM notes_fts WHERE notes_fts MATCH ? LIMIT ?)"
        (others,) = cursor.execute(query, (Term(word, phrase=True).fts(), _COMMON + 1)).fetchone()
        if 1 < others <= _COMMON:
            rated.append((-(1 + math.log(counts[word])) * math.log(1 + notes / others), word))
    return [word for _, word in sorted(rated)[:_USED_WORDS]]


def _similar(cursor: sqlite3.Cursor, number: int, words: list[str]) -> dict[int, float]:
    """For the notes that hold most of these words: how like the note itself they are (0 to 1)."""
    if not words:
        return {}
    match = " OR ".join(Term(word, phrase=True).fts() for word in words)
    rows = cursor.execute(
        f"SELECT rowid, {_BM25} AS score FROM notes_fts WHERE notes_fts MATCH ? ORDER BY score LIMIT ?", (match, _CANDIDATES)
    ).fetchall()
    own = dict(rows).get(number)
    if own is None:
        found = cursor.execute(f"SELECT {_BM25} FROM notes_fts WHERE notes_fts MATCH ? AND rowid = ?", (match, number)).fetchone()
        own = found[0] if found else 0.0
    most = min([own, *(score for _, score in rows)])
    if most >= 0:
        return {}
    # What is hardly like it at all would only be noise among the reasons.
    return {other: score / most for other, score in rows if other != number and score / most >= 0.05}


def _words_in(cursor: sqlite3.Cursor, number: int, words: list[str]) -> list[str]:
    query = "SELECT 1 FROM notes_fts WHERE notes_fts MATCH ? AND rowid = ?"
    return [word for word in words if cursor.execute(query, (Term(word, phrase=True).fts(), number)).fetchone() is not None]

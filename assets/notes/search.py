"""Full-text search over the index: which notes a query finds, in which order, and the lines that show why.

The order is the same on every machine and every day:

1. notes whose id, title or alias is the query;
2. notes whose title meets the query (not for a choice of words, `a OR b`);
3. all others.

Within each the better bm25 score comes first (title 10, headings 5, tags 3, body 1), to which a recently dated note adds up to
`search.recency_boost`. Recency counts from `now` where it is given, else from the newest date in the store: never from the clock.
Ties go by id, then by path.

Reading a query is `assets.notes.query`. Light: standard library only.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from assets.notes.filters import EVERYTHING, Condition, Filters, both, condition, path_condition, tag_condition, type_condition
from assets.notes.query import And, Node, Not, Or, Query, Term, fts, parse_query
from assets.notes.resolve import fold, key
from assets.notes.schema import RANK, TOKENIZER
from assets.notes.shown import NoteRow, number_list, rows_of
from assets.notes.snippets import CLOSE, OPEN, Snippet, from_index, lines_with, marked_words, spans_of
from assets.notes.text_for_search import spaced
from schemas.errors import UsageError
from schemas.notes.config import NotesConfig

Read = Callable[[str], bytes]
"""The bytes of the note at a store-relative path."""

_BM25: Final = RANK.replace("bm25(", "bm25(notes_fts, ")
_SECONDS_OF_DAY: Final = 86400
_PIECE: Final = f"snippet(notes_fts, 3, '{OPEN}', '{CLOSE}', '…', 24)"
_MEMORY: Final = f"CREATE VIRTUAL TABLE notes_fts USING fts5(title, headings, tags, body, tokenize='{TOKENIZER}')"
_LONG: Final = 40_000
"""Characters from which on a body is looked through in parts of _PART characters, _PARTS at a time."""
_PART, _PARTS = 4_000, 64


@dataclass(slots=True)
class Hit:
    """A found note. `score` is larger for the better; `title_spans` are the found places in its title."""

    note: NoteRow
    score: float
    title_spans: tuple[tuple[int, int], ...] = ()
    snippets: list[Snippet] = field(default_factory=list)

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As `--json` prints it; `prefix` is the store's folder in the workspace, with a slash."""
        return {
            **self.note.to_json(prefix),
            "score": round(self.score, 6),
            "snippets": [snippet.to_json() for snippet in self.snippets],
        }


@dataclass(frozen=True, slots=True)
class _Plan:
    """A query as SQL: an expression of FTS5 (None where there is none to begin with), a condition beside it, and the expression
    that titles are held to."""

    match: str | None
    beside: Condition
    title: str | None


def search(
    connection: sqlite3.Connection,
    query: Query | str,
    *,
    limit: int = 20,
    filters: Filters | None = None,
    now: dt.datetime | None = None,
    config: NotesConfig | None = None,
    prefix: str = "",
    read: Read | None = None,
    lines: int = 1,
) -> list[Hit]:
    """The best `limit` notes for `query`, at most `lines` snippets each (without `read`, none with line numbers).

    `now` is what recency counts from (aware). `prefix` is the store's folder in the workspace with a slash. Raises UsageError
    for a blank query (rule `notes-empty-query`) and for filters that say nothing.
    """
    asked = parse_query(query) if isinstance(query, str) else query
    known = config or NotesConfig()
    if asked.root is None:
        raise UsageError("the query is empty", rule="notes-empty-query", fix="give at least one word")
    plan = _plan(asked.root, known, prefix)
    filtered = EVERYTHING if filters is None else condition(connection, filters, known, prefix=prefix)
    ranking = _Ranking(connection, known, now)
    found: dict[int, float] = {}
    for number in _named(connection, asked.text, filtered):
        found[number] = 0.0
    if plan.match is None:
        _add(found, ranking.without_match(both(plan.beside, filtered), asked, limit + len(found)), limit)
    else:
        kept = both(plan.beside, filtered)
        if plan.title is not None and len(found) < limit:
            _add(found, ranking.best(plan.title, kept, limit + len(found)), limit)
        if len(found) < limit:
            _add(found, ranking.best(plan.match, kept, limit + len(found)), limit)
    numbers = list(found)[:limit]
    hits = [Hit(row, found[row.number]) for row in rows_of(connection, numbers, known.default_note_type)]
    show_lines(connection, hits, asked, read, lines)
    return hits


def count_hits(
    connection: sqlite3.Connection,
    query: Query,
    *,
    filters: Filters | None = None,
    config: NotesConfig | None = None,
    prefix: str = "",
) -> int:
    """How many notes meet `query`, ranked or not."""
    known = config or NotesConfig()
    if query.root is None:
        return 0
    plan = _plan(query.root, known, prefix)
    kept = both(plan.beside, EVERYTHING if filters is None else condition(connection, filters, known, prefix=prefix))
    if plan.match is None:
        sql, values = f"SELECT count(*) FROM notes AS n WHERE {kept.sql}", kept.values
    else:
        sql, values = f"SELECT count(*) FROM {_source(kept)}", (plan.match, *kept.values)
    (count,) = tuple(connection.execute(sql, values).fetchone())
    return int(count)


def newest(connection: sqlite3.Connection) -> dt.datetime | None:
    """The newest date of the store, which recency counts from by default."""
    moments = [
        _moment(value)
        for column in ("updated", "created")
        for (value,) in (tuple(row) for row in connection.execute(f"SELECT max({column}) FROM notes"))
        if value is not None
    ]
    return max((moment for moment in moments if moment is not None), default=None)


def _add(found: dict[int, float], more: Sequence[tuple[int, float]], limit: int) -> None:
    for number, score in more:
        if len(found) >= limit:
            return
        found.setdefault(number, score)


# -- from a query to SQL


def _plan(root: Node, config: NotesConfig, prefix: str) -> _Plan:
    whole = fts(root)
    if whole is not None:
        return _Plan(whole, EVERYTHING, _title(root, whole))
    if not isinstance(root, And | Term):
        return _Plan(None, _condition(root, config, prefix), None)
    matched: list[Node] = []
    beside: list[Condition] = []
    for part in root.parts if isinstance(root, And) else (root,):
        inner = part.part if isinstance(part, Not) else part
        if fts(inner) is not None:
            matched.append(part)
            continue
        if isinstance(part, Term) and part.literal and part.has_words:
            # The full-text index finds the word, the text tells whether it stands there sign by sign.
            matched.append(replace(part, phrase=True))
            beside.append(_literal(part))
        else:
            beside.append(_condition(part, config, prefix))
    # A NOT needs something to take from.
    made = And(tuple(matched)) if any(not isinstance(part, Not) for part in matched) else None
    if made is None:
        beside += [_condition(part, config, prefix) for part in matched]
        return _Plan(None, both(*beside), None)
    match = fts(made)
    return _Plan(match, both(*beside), None if match is None else _title(made, match))


def _title(root: Node, match: str) -> str | None:
    """The expression for notes whose title meets the query; what must not be there must be nowhere."""
    wanted = fts(_wanted(root))
    terms = Query("", root).terms
    if isinstance(root, Or) or wanted is None or all(term.field == "title" for term in terms):
        return None
    return f"{{title}} : ({wanted})" if wanted == match else f"({match}) AND {{title}} : ({wanted})"


def _wanted(node: Node) -> Node:
    if isinstance(node, And):
        return And(tuple(_wanted(part) for part in node.parts if not isinstance(part, Not)))
    if isinstance(node, Or):
        return Or(tuple(map(_wanted, node.parts)))
    return node


def _condition(node: Node, config: NotesConfig, prefix: str) -> Condition:
    expression = fts(node)
    if expression is not None:
        return Condition("n.number IN (SELECT rowid FROM notes_fts WHERE notes_fts MATCH ?)", (expression,))
    if isinstance(node, Not):
        inner = _condition(node.part, config, prefix)
        return Condition(f"NOT ({inner.sql})", inner.values)
    if isinstance(node, And | Or):
        parts = [_condition(part, config, prefix) for part in node.parts]
        word = " AND " if isinstance(node, And) else " OR "
        return Condition(word.join(f"({part.sql})" for part in parts), tuple(value for part in parts for value in part.values))
    return _field(node, config, prefix)


def _field(term: Term, config: NotesConfig, prefix: str) -> Condition:
    text = term.text
    if term.field == "type":
        return type_condition([text.replace(",", "?") + ("*" if term.prefix else "")], config.default_note_type)
    if term.field == "id":
        return Condition("n.id = ? OR (? AND substr(n.id, 1, length(?)) = ?)", (text, term.prefix, text, text))
    if term.field == "tag":
        try:
            return tag_condition(text.replace(",", "?"), config.tag_aliases)
        except UsageError:  # what is no expression of tags is no tag
            return Condition("0")
    if term.field == "path":
        path = text.replace(",", "?").removeprefix("!")
        near = path_condition([path], prefix)
        return Condition(f"({near.sql}) OR instr(lower(n.path), ?)", (*near.values, text.lower()))
    found = _literal(term)
    if term.has_words:
        word = replace(term, phrase=True).fts()
        return both(found, Condition("n.number IN (SELECT rowid FROM notes_fts WHERE notes_fts MATCH ?)", (word,)))
    return found


def _literal(term: Term) -> Condition:
    """Notes that hold the text sign by sign, whatever its case."""
    text = spaced(term.text).lower()
    columns = [term.field] if term.field else ["title", "headings", "tags", "body"]
    tests = " OR ".join(f"instr(lower(t.{column}), ?)" for column in columns)
    return Condition(f"EXISTS (SELECT 1 FROM notes_text AS t WHERE t.number = n.number AND ({tests}))", (text,) * len(columns))


def _source(kept: Condition) -> str:
    """FROM and WHERE of a full-text query; the notes themselves are only looked at when something is asked of them."""
    if kept.always:
        return "notes_fts WHERE notes_fts MATCH ?"
    # CROSS JOIN keeps SQLite from asking the full-text index once for every note.
    return f"notes_fts CROSS JOIN notes AS n ON n.number = notes_fts.rowid WHERE notes_fts MATCH ? AND ({kept.sql})"


def _named(connection: sqlite3.Connection, text: str, kept: Condition) -> list[int]:
    """The notes that are called what was asked, by id before title before alias."""
    wanted = fold(text.strip().strip('"').strip().encode("utf-8", "replace").decode("utf-8"))
    if not wanted:
        return []
    forms = {"id": 0, "title": 1, "alias": 2}
    found = [
        (forms[form], name_id, path, number)
        for number, form, name, name_id, path in (
            tuple(row)
            for row in connection.execute(
                "SELECT names.note, form, name, n.id, n.path FROM names CROSS JOIN notes AS n ON n.number = names.note "
                f"WHERE key = ? AND form IN ('id', 'title', 'alias') AND ({kept.sql})",
                (key(wanted), *kept.values),
            )
        )
        if fold(name) == wanted
    ]
    return list(dict.fromkeys(number for *_, number in sorted(found)))


# -- ranking


class _Ranking:
    """Puts matches in order. Recency can move a note by at most its boost, so that only what lies that close to the last place
    needs its date looked up."""

    def __init__(self, connection: sqlite3.Connection, config: NotesConfig, now: dt.datetime | None) -> None:
        self._connection = connection
        self._boost = max(config.search.recency_boost, 0.0)
        self._decay = max(config.search.recency_decay_days, 1e-6)
        self._now = now
        self._from: dt.datetime | None = now

    def best(self, match: str, kept: Condition, count: int) -> list[tuple[int, float]]:
        """The best `count` of the notes that match, with their scores."""
        # Some hundred rows cost no more than twenty: every note that matches is rated anyway.
        take = max(4 * count, 512)
        while True:
            rows = self._rows(match, kept, take)
            edge = rows[count - 1][1] + self._boost if len(rows) >= count else None
            if edge is None or len(rows) < take or rows[-1][1] > edge:
                break
            take *= 32
        return self._ordered([row for row in rows if edge is None or row[1] <= edge], count)

    def without_match(self, kept: Condition, query: Query, count: int) -> list[tuple[int, float]]:
        """The same for a query that full-text search alone cannot answer: what its words say of the notes decides."""
        connection = self._connection
        numbers = [row[0] for row in connection.execute(f"SELECT n.number FROM notes AS n WHERE {kept.sql}", kept.values)]
        words = " OR ".join(expression for expression in map(fts, query.terms) if expression is not None)
        scores: dict[int, float] = {}
        if words and numbers:
            rows = connection.execute(f"SELECT rowid, {_BM25} FROM notes_fts WHERE notes_fts MATCH ?", (words,))
            scores = {row[0]: row[1] for row in rows}
        rated = sorted(((number, scores.get(number, 0.0)) for number in numbers), key=lambda row: row[1])
        if len(rated) > count:
            edge = rated[count - 1][1] + self._boost
            rated = [row for row in rated if row[1] <= edge]
        return self._ordered(rated, count)

    def _rows(self, match: str, kept: Condition, take: int) -> list[tuple[int, float]]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(
            f"SELECT notes_fts.rowid, {_BM25} AS score FROM {_source(kept)} ORDER BY score LIMIT ?", (match, *kept.values, take)
        ).fetchall()

    def _ordered(self, rows: Sequence[tuple[int, float]], count: int) -> list[tuple[int, float]]:
        if not rows:
            return []
        cursor = self._connection.cursor()
        cursor.row_factory = None
        facts = {
            number: (name, path, date)
            for number, name, path, date in cursor.execute(
                "SELECT number, id, path, coalesce(updated, created) FROM notes WHERE number IN (SELECT value FROM json_each(?))",
                (number_list(number for number, _ in rows),),
            )
        }
        rated = [
            (-self._score(score, facts[number][2]), facts[number][0], facts[number][1], number)
            for number, score in rows
            if number in facts
        ]
        return [(number, -score) for score, _, _, number in sorted(rated)[:count]]

    def _score(self, bm25: float, date: str | None) -> float:
        if date is None or not self._boost:
            return -bm25
        moment = _moment(date)
        if self._from is None:
            self._from = newest(self._connection)
        if moment is None or self._from is None:
            return -bm25
        age = max((self._from - moment).total_seconds() / _SECONDS_OF_DAY, 0.0)
        return -bm25 + self._boost / (1 + age / self._decay)


def _moment(date: str) -> dt.datetime | None:
    try:
        made = dt.datetime.fromisoformat(date)
    except ValueError:
        return None
    return made if made.tzinfo is not None else made.replace(tzinfo=dt.UTC)


# -- showing why


def show_lines(connection: sqlite3.Connection, hits: Sequence[Hit], query: Query, read: Read | None, lines: int) -> None:
    """Fill in the found places of the hits' titles, and at most `lines` snippets each."""
    if not hits:
        return
    literals = [term.text for term in query.terms if term.literal and not term.prefix]
    marked = _marked(connection, hits, query)
    for hit in hits:
        title, body = marked.get(hit.note.number, ("", ""))
        words = [*marked_words(body), *literals]
        hit.title_spans = spans_of(hit.note.title, [*marked_words(title), *literals])
        if lines <= 0 or not words:
            continue
        if read is not None:
            hit.snippets = lines_with(read(hit.note.path), words, lines, hit.note.title)
        if not hit.snippets and body:
            hit.snippets = [from_index(body)]


def _marked(connection: sqlite3.Connection, hits: Sequence[Hit], query: Query) -> dict[int, tuple[str, str]]:
    """Title and a piece of the body of each hit as the index holds them, found words between marks."""
    words = " OR ".join(
        expression
        for expression in (fts(replace(term, phrase=term.phrase or term.prefix)) for term in query.terms)
        if expression is not None
    )
    if not words:
        return {}
    cursor = connection.cursor()
    cursor.row_factory = None
    texts = cursor.execute(
        "SELECT number, title, body FROM notes_text WHERE number IN (SELECT value FROM json_each(?))",
        (number_list(hit.note.number for hit in hits),),
    ).fetchall()
    # Not the index itself: it would look through every note that meets the words, however few are asked for.
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(_MEMORY)
        short = [(number, title, body if len(body) <= _LONG else "") for number, title, body in texts]
        memory.executemany("INSERT INTO notes_fts(rowid, title, body) VALUES (?, ?, ?)", short)
        title = f"highlight(notes_fts, 0, '{OPEN}', '{CLOSE}')"
        rows = memory.execute(f"SELECT rowid, {title}, {_PIECE} FROM notes_fts WHERE notes_fts MATCH ?", (words,))
        found = {number: (marked, piece) for number, marked, piece in rows}
    for number, _, body in texts:
        if len(body) > _LONG:
            found[number] = (found.get(number, ("", ""))[0], _piece_of(body, words))
    return found


def _piece_of(body: str, words: str) -> str:
    """A piece of a long body with its found words between marks: FTS5's own `snippet` weighs every found word against every
    other, which takes minutes where there are 200,000. So the body is looked through in parts; the first with one counts."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(_MEMORY)
        at = 0
        while at < len(body):
            parts: list[tuple[str]] = []
            while at < len(body) and len(parts) < _PARTS:
                stop = at + _PART
                if stop < len(body):
                    stop = max(body.rfind(" ", at + 1, stop), body.rfind("\n", at + 1, stop)) + 1 or stop
                parts.append((body[at:stop],))
                at = stop
            memory.executemany("INSERT INTO notes_fts VALUES ('', '', '', ?)", parts)
            row = memory.execute(
                f"SELECT {_PIECE} FROM notes_fts WHERE notes_fts MATCH ? ORDER BY rowid LIMIT 1", (words,)
            ).fetchone()
            if row is not None:
                return str(row[0])
            memory.execute("DELETE FROM notes_fts")
    return ""

"""Which notes a list or a search is about: types, tags, dates, paths, any frontmatter key, and how a note is linked.

Filters become one SQL condition on the table `notes` under the name `n`, so that lists, searches and services filter alike. How
notes are ordered is `assets.notes.listing`. Light: standard library only.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assets.notes.dates import When
from assets.notes.resolve import fold
from assets.notes.shown import DEFAULT_VALUE, number_list
from assets.notes.text_for_search import spaced
from assets.notes.where import RULE, Where, matching
from schemas.errors import UsageError
from schemas.notes.config import NotesConfig

_GLOB = re.compile(r"[*?\[]")
_EITHER = re.compile(r"\s+OR\s+|\s*\|\s*")
_DANGLING = re.compile(r"(?:OR|NOT|[-!])(?:\s.*)?|.*\s(?:OR|NOT)", re.DOTALL)
"""What has an operator with nothing to stand beside."""
_WORDS = re.compile(r"\w+")
_NOT = re.compile(r"(?:NOT\s+|[-!]\s*)(?=\S)")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a note must be; everything given must hold. Notes are given by number.

    `types`: any of these, globs allowed, none of those after `!`. `tags`: each an expression, `a, b` both, `a OR b` either,
    `NOT a` or `-a` none of it, globs allowed, a tag standing for those below it too. `paths`: any of these files, folders or
    globs, none of those after `!`. `recursive` follows the links of `linked_by` and `link_to` over any number of notes, at most
    `max_distance`. `modified` looks at `updated`, or at `created` where a note has no other date.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    created: tuple[When, ...] = ()
    modified: tuple[When, ...] = ()
    where: tuple[Where, ...] = ()
    moc: bool | None = None
    orphan: bool = False
    tagless: bool = False
    untitled: bool = False
    missing_backlink: bool = False
    broken: bool = False
    min_value: int | None = None
    max_value: int | None = None
    linked_by: tuple[int, ...] = ()
    no_linked_by: tuple[int, ...] = ()
    link_to: tuple[int, ...] = ()
    no_link_to: tuple[int, ...] = ()
    related_to: tuple[int, ...] = ()
    mention: tuple[int, ...] = ()
    mentioned_by: tuple[int, ...] = ()
    recursive: bool = False
    max_distance: int | None = None
    unlinked: bool = False
    """Linked with no other note, in neither direction."""
    outcomes: tuple[str, ...] = ()
    numbers: tuple[int, ...] | None = None
    """Only these notes, whatever else holds."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on `notes AS n`, and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()

    @property
    def always(self) -> bool:
        """Whether every note meets it."""
        return self.sql == "1"


EVERYTHING: Final = Condition("1")


def both(*conditions: Condition) -> Condition:
    """Notes that meet all of them."""
    parts = [condition for condition in conditions if not condition.always]
    if not parts:
        return EVERYTHING
    return Condition(" AND ".join(f"({part.sql})" for part in parts), tuple(value for part in parts for value in part.values))


def condition(
    connection: sqlite3.Connection, filters: Filters, config: NotesConfig | None = None, *, prefix: str = ""
) -> Condition:
    """The condition that `filters` are. `prefix` is the store's folder in the workspace with a slash, which paths may begin with.

    Raises UsageError (rule `notes-bad-filter`) for an expression that says nothing.
    """
    known = config or NotesConfig()
    parts = [
        type_condition(filters.types, known.default_note_type),
        path_condition(filters.paths, prefix),
        *(tag_condition(text, known.tag_aliases) for text in filters.tags),
        *(Condition(sql, tuple(values)) for sql, values in (span.sql("n.created") for span in filters.created)),
        *(
            Condition(sql, tuple(values))
            for sql, values in (span.sql("coalesce(n.updated, n.created)") for span in filters.modified)
        ),
        *(among(matching(connection, one)) for one in filters.where),
        *_own(filters),
        *_linked(connection, filters),
    ]
    return both(*parts)


def among(numbers: Iterable[int], *, negated: bool = False) -> Condition:
    """The notes with these numbers, or all but them."""
    word = "NOT IN" if negated else "IN"
    return Condition(f"n.number {word} (SELECT value FROM json_each(?))", (number_list(numbers),))


def waiting(default_type: str) -> Condition:
    """The notes of an inbox: fleeting ones, and those that no link joins with another; maps of content wait for nothing. A note
    without a type counts as `default_type`."""
    return Condition(
        "lower(coalesce(n.type, ?)) = 'fleeting' OR (NOT n.moc AND NOT EXISTS (SELECT 1 FROM edges "
        "WHERE (source = n.number OR target = n.number) AND source <> target))",
        (default_type,),
    )


def type_condition(types: Iterable[str], default: str) -> Condition:
    """Notes of any of these types, and of none after `!`."""
    wanted, unwanted = _split(types)
    column = "lower(coalesce(n.type, ?))"

    def one(text: str) -> Condition:
        operator = "GLOB" if _GLOB.search(text) else "="
        return Condition(f"{column} {operator} ?", (default.lower(), text.lower()))

    return both(_any(map(one, wanted)), *(_none(one(text)) for text in unwanted))


def path_condition(paths: Iterable[str], prefix: str) -> Condition:
    """Notes at any of these paths: a file with or without its extension, all of a folder, or a glob; none of those after `!`."""
    wanted, unwanted = _split(paths)

    def one(text: str) -> Condition:
        path = text.removeprefix("./")
        path = path.removeprefix(prefix) if prefix else path
        if path.rstrip("/") in ("", ".", prefix.rstrip("/")):
            return EVERYTHING
        if _GLOB.search(path):
            return Condition("n.path GLOB ? OR n.path GLOB ?", (path, path.rstrip("/") + "/*"))
        bare = path.rstrip("/")
        return Condition(
            "n.path IN (?, ? || '.md', ? || '.markdown') OR (n.path > ? || '/' AND n.path < ? || '0')",
            (bare, bare, bare, bare, bare),
        )

    return both(_any(map(one, wanted)), *(_none(one(text)) for text in unwanted))


def tag_condition(text: str, aliases: Mapping[str, str]) -> Condition:
    """Notes whose tags meet the expression `text`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise _bad(text)
    made = []
    for part in parts:
        arms = [arm.strip() for arm in _EITHER.split(part)]
        if not all(arms):
            raise _bad(text)
        made.append(_any([_tag(arm, text, aliases) for arm in arms]))
    return both(*made)


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not an expression of tags", rule=RULE, fix="write it like draft, 'a, b', 'a OR b', 'NOT done' or 'book-*'"
    )


def _tag(arm: str, whole: str, aliases: Mapping[str, str]) -> Condition:
    negation = _NOT.match(arm)
    bare = arm[negation.end() :] if negation else arm
    name = fold(bare).removeprefix("#").rstrip("/")
    if not name or _DANGLING.fullmatch(bare):
        raise _bad(whole)
    tests: list[str] = []
    values: list[str] = []
    for one in same_tags(name, aliases):
        if _GLOB.search(one):
            tests.append("folded GLOB ?")
            values.append(one)
        else:
            # Tags below it: everything between `a/` and the character after the slash.
            tests.append("folded = ? OR (folded > ? AND folded < ?)")
            values += [one, one + "/", one + "0"]
    made = Condition(f"n.number IN (SELECT note FROM tags WHERE {' OR '.join(tests)})", tuple(values))
    return _none(made) if negation else made


def same_tags(name: str, aliases: Mapping[str, str]) -> list[str]:
    """A folded tag with the others that mean the same by the store's `tag_aliases`, in either direction."""
    folded = {fold(alias): fold(canonical) for alias, canonical in aliases.items()}
    canonical = folded.get(name, name)
    return list(dict.fromkeys([name, canonical, *sorted(alias for alias, of in folded.items() if of == canonical)]))


def _split(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    wanted: list[str] = []
    unwanted: list[str] = []
    for text in texts:
        for part in text.split(","):
            name = part.strip()
            if name not in ("", "!"):
                (unwanted if name[0] == "!" else wanted).append(name.removeprefix("!").strip())
    return wanted, unwanted


def _any(conditions: Iterable[Condition]) -> Condition:
    parts = list(conditions)
    if not parts or any(part.always for part in parts):
        return EVERYTHING
    return Condition(" OR ".join(f"({part.sql})" for part in parts), tuple(value for part in parts for value in part.values))


def _none(condition_: Condition) -> Condition:
    return Condition(f"NOT ({condition_.sql})", condition_.values)


def _own(filters: Filters) -> Iterable[Condition]:
    if filters.moc is not None:
        yield Condition("n.moc" if filters.moc else "NOT n.moc")
    if filters.tagless:
        yield Condition("n.number NOT IN (SELECT note FROM tags)")
    if filters.untitled:
        yield Condition("n.title_from = 'file'")
    if filters.min_value is not None:
        yield Condition("coalesce(n.value, ?) >= ?", (DEFAULT_VALUE, filters.min_value))
    if filters.max_value is not None:
        yield Condition("coalesce(n.value, ?) <= ?", (DEFAULT_VALUE, filters.max_value))
    if filters.outcomes:
        yield Condition(f"n.outcome IN ({', '.join('?' * len(filters.outcomes))})", filters.outcomes)
    if filters.broken:
        yield Condition("n.number IN (SELECT note FROM mentions WHERE state IN ('broken', 'broken-anchor', 'ambiguous'))")
    if filters.numbers is not None:
        yield among(filters.numbers)


def _linked(connection: sqlite3.Connection, filters: Filters) -> Iterable[Condition]:
    if filters.orphan or filters.unlinked:
        yield Condition("n.number NOT IN (SELECT target FROM edges WHERE source <> target)")
    if filters.unlinked:
        yield Condition("n.number NOT IN (SELECT source FROM edges WHERE source <> target)")
    if filters.missing_backlink:
        yield Condition(
            "n.number IN (SELECT e.target FROM edges AS e WHERE e.source <> e.target"
            " AND NOT EXISTS (SELECT 1 FROM edges AS b WHERE b.source = e.target AND b.target = e.source))"
        )
    far = filters.max_distance if filters.recursive or filters.max_distance is not None else 1
    if filters.linked_by:
        yield among(reached(connection, filters.linked_by, far, outward=True))
    if filters.no_linked_by:
        yield among(reached(connection, filters.no_linked_by, far, outward=True), negated=True)
    if filters.link_to:
        yield among(reached(connection, filters.link_to, far, outward=False))
    if filters.no_link_to:
        yield among(reached(connection, filters.no_link_to, far, outward=False), negated=True)
    if filters.related_to:
        yield among(_two_away(connection, filters.related_to))
    if filters.mention:
        yield among(mentioning(connection, filters.mention))
    if filters.mentioned_by:
        yield among(mentioned(connection, filters.mentioned_by))


def reached(connection: sqlite3.Connection, starts: Iterable[int], far: int | None, *, outward: bool) -> set[int]:
    """The notes that links lead to from `starts` (or, not `outward`, from which links lead to them) over at most `far` links, any
    number when None; a start only when a link leads back to it."""
    here, there = ("source", "target") if outward else ("target", "source")
    query = f"SELECT DISTINCT {there} FROM edges WHERE {here} IN (SELECT value FROM json_each(?)) AND source <> target"
    seen: set[int] = set()
    frontier = set(starts)
    steps = 0
    while frontier and (far is None or steps < far):
        found = {row[0] for row in connection.execute(query, (number_list(sorted(frontier)),))}
        frontier = found - seen
        seen |= found
        steps += 1
    return seen


def _two_away(connection: sqlite3.Connection, starts: Iterable[int]) -> set[int]:
    """The notes that are linked, in any direction, with a note linked with one of `starts`, and not with that one itself."""
    found: set[int] = set()
    for start in starts:
        near = reached(connection, [start], 1, outward=True) | reached(connection, [start], 1, outward=False)
        next_ = reached(connection, near, 1, outward=True) | reached(connection, near, 1, outward=False)
        found |= next_ - near - {start}
    return found


def mentioning(connection: sqlite3.Connection, numbers: Iterable[int]) -> set[int]:
    """The notes whose text says the title or an alias of one of these notes, linked or not."""
    from assets.notes.query import Term

    found: set[int] = set()
    for number in numbers:
        names = connection.execute("SELECT name FROM names WHERE note = ? AND form IN ('title', 'alias')", (number,))
        terms = [Term(name, phrase=True) for (name,) in (tuple(row) for row in names)]
        match = " OR ".join(term.fts() for term in terms if term.has_words)
        if match:
            rows = connection.execute("SELECT rowid FROM notes_fts WHERE notes_fts MATCH ?", (f"{{body headings}} : ({match})",))
            found |= {row[0] for row in rows} - {number}
    return found


def mentioned(connection: sqlite3.Connection, numbers: Iterable[int]) -> set[int]:
    """The notes whose title or an alias the text of one of these notes says, linked or not."""
    found: set[int] = set()
    for number in numbers:
        row = connection.execute("SELECT headings, body FROM notes_text WHERE number = ?", (number,)).fetchone()
        text = fold(" ".join(row))
        words = set(_WORDS.findall(text))
        for name, other in connection.execute("SELECT name, note FROM names WHERE form IN ('title', 'alias')"):
            # The first word rules most out; a name is only looked for where it can be.
            said = fold(spaced(name)).strip()
            first = _WORDS.search(said)
            if first is None or first[0] not in words or other == number or other in found:
                continue
            if re.search(rf"(?<!\w){re.escape(said)}(?!\w)", text):
                found.add(other)
    return found

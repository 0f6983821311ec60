"""Walking the links of notes: what a note links to and what links to it, the tree around it, the way from one to another.

A link seen from its other end is shown under the inverse of its type and called virtual: it is written in the other note. A step
costs what the link's type costs times `1 + (100 - value) / 100` of the note it leads to, so that valuable notes lie nearer;
limits on hops are limits on that cost. Light: standard library only; a few queries a step, whatever the size of the store.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from assets.notes.resolve import EXTERNAL
from assets.notes.shown import DEFAULT_TYPE, DEFAULT_VALUE, NoteRow, number_list, rows_of
from schemas.notes.linktypes import Ontology
from schemas.notes.model import MentionKind

Direction = Literal["out", "in", "both"]
Read = Callable[[str], bytes]

LINE_WIDTH: Final = 240
"""Characters of a line that is shown with a mention."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which links count. `types` and `without` are types as they are shown; `invert` shows inbound links by their inverse."""

    direction: Direction = "both"
    types: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    typed_only: bool = False
    inline_only: bool = False
    invert: bool = True

    def takes(self, shown: str, inline: bool) -> bool:
        """Whether a link of this shown type, written in the text or not, counts."""
        if (self.types and shown not in self.types) or shown in self.without:
            return False
        return not (self.typed_only and inline) and not (self.inline_only and not inline)


@dataclass(slots=True)
class LinkRow:
    """One mention, seen from a note. `other` is the note at its other end, None where it leads to none; `path`, `line`, `column`
    and `text` are where it stands and the line it stands in."""

    direction: Literal["out", "in"]
    type: str
    stored_type: str
    virtual: bool
    kind: str
    state: str
    rule: str | None
    spelling: str | None
    target: str
    anchor: str | None
    label: str | None
    key: str | None
    """The frontmatter key it stands under, when it does."""
    source: NoteRow
    other: NoteRow | None
    target_path: str | None
    candidates: list[str]
    line: int
    column: int
    text: str = ""

    @property
    def path(self) -> str:
        return self.source.path

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As `--json` prints it; `prefix` is the store's folder in the workspace, with a slash."""
        note = self.other
        return {
            "direction": self.direction,
            "type": self.type,
            "stored_type": self.stored_type,
            "virtual": self.virtual,
            "id": note.id if note else None,
            "title": note.title if note else None,
            "note": prefix + note.path if note else None,
            "path": prefix + self.path,
            "line": self.line,
            "column": self.column,
            "text": self.text,
            "kind": self.kind,
            "inline": self.kind != MentionKind.TYPED,
            "state": self.state,
            "rule": self.rule,
            "spelling": self.spelling,
            "target": self.target,
            "anchor": self.anchor,
            "label": self.label,
            "property": self.key,
            "attachment": prefix + self.target_path if self.target_path and self.state == "attachment" else None,
            "candidates": [prefix + path for path in self.candidates],
        }


_MENTION: Final = (
    "kind, type, target, anchor, label, property, line, col, rule, spelling, state, target_note, target_path, candidates, note"
)


def links(
    connection: sqlite3.Connection,
    number: int,
    choice: Choice,
    ontology: Ontology,
    *,
    states: frozenset[str] = frozenset(),
    limit: int | None = None,
    read: Read | None = None,
    default_type: str = DEFAULT_TYPE,
) -> list[LinkRow]:
    """Every mention in a note, and every mention of it, in the order they stand; inbound ones by the path of their note.

    Without `states` all but addresses (`external`). `read` gives the line each stands in.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    found: list[tuple[Literal["out", "in"], tuple[Any, ...]]] = []
    if choice.direction != "in":
        query = f"SELECT {_MENTION} FROM mentions WHERE note = ? ORDER BY position"
        found += [("out", row) for row in cursor.execute(query, (number,))]
    if choice.direction != "out":
        columns = ", ".join(f"m.{name.strip()}" for name in _MENTION.split(","))
        query = (
            f"SELECT {columns} FROM mentions AS m JOIN notes AS n ON n.number = m.note "
            "WHERE m.target_note = ? AND m.note <> m.target_note ORDER BY n.path, m.position"
        )
        found += [("in", row) for row in cursor.execute(query, (number,))]
    chosen = []
    for direction, row in found:
        kind, stored, state = row[0], row[1], row[10]
        shown = ontology.inverse(stored) if direction == "in" and choice.invert else stored
        wanted = state in states if states else state != EXTERNAL
        if wanted and choice.takes(shown, kind != MentionKind.TYPED):
            chosen.append((direction, shown, row))
            if limit is not None and len(chosen) == limit:
                break
    numbers = {number} | {row[14] for _, _, row in chosen} | {row[11] for _, _, row in chosen if row[11] is not None}
    notes = {row.number: row for row in rows_of(connection, sorted(numbers), default_type)}
    lines = _Lines(read)
    return [_link(direction, shown, row, notes, lines, choice.invert) for direction, shown, row in chosen]


def _link(
    direction: Literal["out", "in"],
    shown: str,
    row: tuple[Any, ...],
    notes: dict[int, NoteRow],
    lines: _Lines,
    invert: bool,
) -> LinkRow:
    kind, stored, target, anchor, label, key, line, column, rule, spelling, state, to, to_path, candidates, note = row
    source = notes[note]
    return LinkRow(
        direction, shown, stored, direction == "in" and invert, kind, state, rule, spelling, target, anchor, label, key,
        source, source if direction == "in" else notes.get(to) if to is not None else None, to_path,
        json.loads(candidates) if candidates else [], line, column, lines.at(source.path, line),
    )  # fmt: skip


class _Lines:
    """The lines of files, each file read once."""

    def __init__(self, read: Read | None) -> None:
        self._read = read
        self._path: str | None = None
        self._lines: list[str] = []

    def at(self, path: str, number: int) -> str:
        """Line `number` (from 1) without surrounding space, cut to LINE_WIDTH characters; '' where it cannot be had."""
        if self._read is None:
            return ""
        if path != self._path:
            text = self._read(path).decode("utf-8", "replace").removeprefix("\ufeff")
            self._path, self._lines = path, text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        line = self._lines[number - 1].strip() if 0 < number <= len(self._lines) else ""
        return line if len(line) <= LINE_WIDTH else line[: LINE_WIDTH - 1] + "…"


# -- steps from note to note


class Step(NamedTuple):
    """One step along an edge, seen from the note it starts at: `type` as shown there, `stored_type` as written. `backward` when
    the edge is written at the other end, `virtual` when it is shown inverted for that."""

    start: int
    end: int
    type: str
    stored_type: str
    virtual: bool
    inline: bool
    cost: float
    backward: bool

    @property
    def edge(self) -> tuple[int, int, str]:
        """The edge as it is stored: source, target, type."""
        return (self.end, self.start, self.stored_type) if self.backward else (self.start, self.end, self.stored_type)


class Steps:
    """The steps that lead away from notes, asked for note by note: a store's edges are never all in memory."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        choice: Choice,
        ontology: Ontology,
        *,
        weighted: bool = True,
        min_value: int | None = None,
    ) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None
        self._choice = choice
        self._ontology = ontology
        self._weighted = weighted
        self._least = -1 if min_value is None else min_value
        self._order: dict[int, tuple[str, str]] = {}
        self._kinds: dict[tuple[str, bool], tuple[str, float]] = {}
        self._queries = [
            (
                (
                    f"SELECT e.{there}, e.type, e.inline, coalesce(n.value, {DEFAULT_VALUE}), n.id, n.path FROM edges AS e "
                    f"JOIN notes AS n ON n.number = e.{there} WHERE e.{here} = ? AND e.source <> e.target"
                ),
                backward,
            )
            for here, there, backward in (("source", "target", False), ("target", "source", True))
            if choice.direction != ("out" if backward else "in")
        ]

    def order(self, number: int) -> tuple[str, str]:
        """What a note is sorted by: id, then path."""
        if number not in self._order:
            row = self._cursor.execute("SELECT id, path FROM notes WHERE number = ?", (number,)).fetchone()
            self._order[number] = row
        return self._order[number]

    def allowed(self, number: int) -> bool:
        """Whether a note's value is large enough."""
        (value,) = self._cursor.execute("SELECT value FROM notes WHERE number = ?", (number,)).fetchone()
        return (DEFAULT_VALUE if value is None else value) >= self._least

    def sorted_of(self, number: int) -> list[Step]:
        """The steps away from a note that count, the cheapest first; ties by type, then by id and path of where they lead."""
        return sorted(self.of(number), key=lambda step: (step.cost, step.type, self.order(step.end), step.backward))

    def of(self, number: int) -> list[Step]:
        """The steps away from a note that count."""
        made = []
        for query, backward in self._queries:
            virtual = backward and self._choice.invert
            for end, stored, inline, value, name, path_ in self._cursor.execute(query, (number,)).fetchall():
                shown, cost = self._kind(stored, virtual)
                if value < self._least or not self._choice.takes(shown, bool(inline)):
                    continue
                self._order[end] = (name, path_)
                cost = cost * (1 + (100 - value) / 100) if self._weighted else 1.0
                made.append(Step(number, end, shown, stored, virtual, bool(inline), cost, backward))
        return made

    def _kind(self, stored: str, virtual: bool) -> tuple[str, float]:
        """A link type as it is shown, and what it costs."""
        known = self._kinds.get((stored, virtual))
        if known is None:
            shown = self._ontology.inverse(stored) if virtual else stored
            known = self._kinds[stored, virtual] = (shown, self._ontology.cost(stored))
        return known


# -- the tree around a note


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a walk goes; None is no limit. `hops` bounds the cost from the start, `chars` what the notes take on paper."""

    hops: float | None = 3
    nodes: int | None = None
    edges: int | None = None
    fanout: int | None = None
    chars: int | None = None


@dataclass(slots=True)
class Node:
    """A note of a tree. `step` is how it was reached, None for the root; `again` are steps to notes it holds already."""

    note: NoteRow
    depth: int
    cost: float
    step: Step | None
    children: list[int] = field(default_factory=list)
    again: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Tree:
    """A spanning tree by number, in the order the notes were reached, and every link between its notes as (source, target, type,
    inline). `reasons` name the limits that cut it short."""

    nodes: dict[int, Node]
    links: list[tuple[int, int, str, bool]]
    reasons: list[str]


def tree(
    connection: sqlite3.Connection,
    root: int,
    choice: Choice,
    ontology: Ontology,
    limits: Limits,
    *,
    ignore_value: bool = False,
    min_value: int | None = None,
    default_type: str = DEFAULT_TYPE,
) -> Tree:
    """The notes that lie nearest to `root`, each reached on its cheapest way. Empty when the root's own value is too small."""
    steps = Steps(connection, choice, ontology, weighted=not ignore_value, min_value=min_value)
    if not steps.allowed(root):
        return Tree({}, [], [])
    reached, again, reasons = _reach(steps, root, limits)
    notes = {row.number: row for row in rows_of(connection, list(reached), default_type)}
    nodes: dict[int, Node] = {}
    room = limits.chars
    for number, (cost, step) in reached.items():
        if step is not None and step.start not in nodes:
            continue
        note = notes[number]
        if room is not None:
            room -= len(note.handle) + len(note.title) + len(note.type)
            if room < 0:
                reasons.setdefault("max-chars")
                break
        nodes[number] = Node(note, 0 if step is None else nodes[step.start].depth + 1, cost, step)
        if step is not None:
            nodes[step.start].children.append(number)
    for step in again:
        if step.start in nodes and step.end in nodes:
            nodes[step.start].again.append(step)
    between = _between(connection, list(nodes), choice, ontology)
    if limits.edges is not None and len(between) > limits.edges:
        reasons.setdefault("max-edges")
        del between[limits.edges :]
    return Tree(nodes, between, list(reasons))


_Reached = dict[int, tuple[float, Step | None]]


def _reach(steps: Steps, root: int, limits: Limits) -> tuple[_Reached, list[Step], dict[str, None]]:
    """Dijkstra's search: what was reached in order, the steps to what had been reached before, and the limits that were met."""
    reached: _Reached = {}
    again: list[Step] = []
    reasons: dict[str, None] = {}
    taken: set[tuple[int, int, str]] = set()
    queue: list[tuple[float, int, tuple[str, str], int, int, Step | None]] = [(0.0, 0, steps.order(root), root, 0, None)]
    count = 0
    while queue:
        cost, depth, _, number, _, step = heapq.heappop(queue)
        if number in reached:
            if step is not None and step.edge not in taken:
                taken.add(step.edge)
                again.append(step)
            continue
        if limits.nodes is not None and len(reached) >= limits.nodes:
            reasons.setdefault("max-nodes")
            break
        if step is not None:
            if limits.edges is not None and len(reached) > limits.edges:
                reasons.setdefault("max-edges")
                break
            taken.add(step.edge)
        reached[number] = (cost, step)
        onward = steps.sorted_of(number)
        if limits.fanout is not None and len(onward) > limits.fanout:
            reasons.setdefault("max-fanout")
            del onward[limits.fanout :]
        for following in onward:
            total = cost + following.cost
            if limits.hops is not None and total > limits.hops + 1e-9:
                if following.end not in reached:
                    reasons.setdefault("max-hops")
                elif following.edge not in taken:
                    taken.add(following.edge)
                    again.append(following)
                continue
            count += 1
            heapq.heappush(queue, (total, depth + 1, steps.order(following.end), following.end, count, following))
    return reached, again, reasons


def _between(
    connection: sqlite3.Connection, numbers: Sequence[int], choice: Choice, ontology: Ontology
) -> list[tuple[int, int, str, bool]]:
    """The edges between these notes that count in a direction that is walked."""
    cursor = connection.cursor()
    cursor.row_factory = None
    inside = number_list(numbers)
    rows = cursor.execute(
        "SELECT source, target, type, inline FROM edges WHERE source IN (SELECT value FROM json_each(?)) "
        "AND target IN (SELECT value FROM json_each(?)) AND source <> target",
        (inside, inside),
    )
    place = {number: at for at, number in enumerate(numbers)}
    found = []
    for source, target, stored, inline in rows:
        shown = set()
        if choice.direction != "in":
            shown.add(stored)
        if choice.direction != "out":
            shown.add(ontology.inverse(stored) if choice.invert else stored)
        if any(choice.takes(one, bool(inline)) for one in shown):
            found.append((source, target, stored, bool(inline)))
    return sorted(found, key=lambda edge: (place[edge[0]], place[edge[1]], edge[2]))


# -- the way between two notes


@dataclass(slots=True)
class Way:
    """The cheapest way: the notes on it and the steps between them."""

    notes: list[NoteRow]
    steps: list[Step]
    cost: float


def path(
    connection: sqlite3.Connection,
    start: int,
    end: int,
    choice: Choice,
    ontology: Ontology,
    *,
    max_hops: float | None = 10,
    ignore_value: bool = False,
    min_value: int | None = None,
    default_type: str = DEFAULT_TYPE,
) -> Way | None:
    """The cheapest way from one note to another within `max_hops`, the same among several always; None when there is none."""
    steps = Steps(connection, choice, ontology, weighted=not ignore_value, min_value=min_value)
    if not steps.allowed(start) or not steps.allowed(end):
        return None
    came: dict[int, Step | None] = {}
    queue: list[tuple[float, int, tuple[str, str], int, int, Step | None]] = [(0.0, 0, steps.order(start), 0, start, None)]
    count = 0
    while queue:
        cost, hops, _, _, number, step = heapq.heappop(queue)
        if number in came:
            continue
        came[number] = step
        if number == end:
            return _way(connection, came, end, cost, default_type)
        for following in steps.of(number):
            total = cost + following.cost
            if following.end not in came and (max_hops is None or total <= max_hops + 1e-9):
                count += 1
                heapq.heappush(queue, (total, hops + 1, steps.order(following.end), count, following.end, following))
    return None


def _way(connection: sqlite3.Connection, came: dict[int, Step | None], end: int, cost: float, default_type: str) -> Way:
    steps: list[Step] = []
    number = end
    while (step := came[number]) is not None:
        steps.append(step)
        number = step.start
    steps.reverse()
    numbers = [number, *(step.end for step in steps)]
    return Way(rows_of(connection, numbers, default_type), steps, cost)

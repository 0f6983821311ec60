"""The frontmatter of a note: where it lies, and what it says, read so that nothing in it can keep a note from being indexed.

Three readers, tried in this order:

1. a reader for the plain shapes nearly all frontmatter has (keys with texts, numbers, lists, flat mappings), about 40 µs;
2. `schemas.yaml_text`, which reads all of YAML 1.2 except anchors, aliases and tags; where it takes the text, the first reader
   says the same (a property test holds them to it);
3. where that refuses: entry by entry, each through the first two; of an entry on one line that neither takes, the text behind
   the colon as it stands (`title: Foo: bar`). What is lost on the way is one problem.

The first reader also takes what people write and YAML does not mean so: `[[x]]` without quotes is a wiki link, not a list in a
list; keys such as `yes` or `2022` are text. A key that stands twice counts once, the first time: that is what people see first.

What the keys mean belongs to `schemas.notes.keys`. Offsets are characters of the whole text. Light: YAML is loaded when the
first reader gives up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import InvalidText
from schemas.notes.front_quick import KEY, MOST_TWICE, Entry, Node, Problem, Scalar, quick_read, twice
from schemas.notes.rules import FRONTMATTER, MAPPING, TABS, TEMPLATE, UNCLOSED
from schemas.text import Limits, TextFile

SIZE = 1 << 20
"""Larger frontmatter is not read."""

DEPTH = 64
LIMITS = Limits(size=SIZE, depth=DEPTH, values=20_000)


@dataclass(slots=True)
class Front:
    """What stands above the body. `start` and `stop` enclose the YAML, without its fences; the body begins at `body_start`.

    `whole`: everything in it is understood. `present` is False where there is no frontmatter at all.
    """

    present: bool = False
    start: int = 0
    stop: int = 0
    body_start: int = 0
    whole: bool = True
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


_BEGINNINGS = ("---", "\n", "\r", " ", "\t")
_OPENING = re.compile(r"(?P<blank>(?:[ \t]*\r?\n)*)---[ \t]*(?:\r?\n|\Z)")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_KEY_LINE = re.compile(r"[^\W\d][\w .\-/]{0,60}:(?:[ \t]|\r?$)", re.MULTILINE)
_STOP = re.compile(r"^(?:[ \t]*\r?$|#{1,6}[ \t])", re.MULTILINE)


def read_front(text: str, path: str) -> Front:
    """Find and read the frontmatter of `text`, a whole note without its byte order mark. `path` is used by YAML alone.

    Never raises for what the text holds; `problems` says what is wrong.
    """
    if not text.startswith(_BEGINNINGS):
        return Front()
    opening = _OPENING.match(text)
    if opening is None:
        return Front()
    fence = opening.end("blank")
    start = opening.end()
    closing = _CLOSING.search(text, start)
    if closing is None:
        return _unclosed(text, fence, start, path)
    front = Front(True, start, closing.start(), closing.end())
    _read(text, front, path)
    if not front.entries and front.whole is False and (opening["blank"] or front.problems[0].rule is MAPPING):
        # A rule between two paragraphs looks the same: nothing may be lost that is prose.
        problems = [] if opening["blank"] else front.problems
        return Front(False, 0, 0, 0, not problems, {}, problems)
    return front


def _unclosed(text: str, fence: int, start: int, path: str) -> Front:
    """Frontmatter that never ends: the keys up to the first blank line or heading count, the whole text is the body."""
    if not _KEY_LINE.match(text, start):
        return Front()
    end = _STOP.search(text, start)
    front = Front(False, start, end.start() if end else len(text), 0)
    _read(text, front, path)
    message = "the frontmatter that opens here is never closed"
    front.problems[:] = [Problem(UNCLOSED, fence, message, "end it with a line of three dashes")]
    front.whole = False
    return front


def _read(text: str, front: Front, path: str) -> None:
    """Fill `front` from the YAML between its fences."""
    start, stop = front.start, front.stop
    if stop - start > SIZE:
        front.whole = False
        message = f"the frontmatter has {stop - start:,} characters; {SIZE:,} are read"
        front.problems.append(Problem(FRONTMATTER, start, message, "move text into the body"))
        return
    quick = quick_read(text, start, stop)
    if quick is not None:
        front.entries, front.problems = quick
        front.whole = not front.problems
        return
    try:
        node = _full(text[start:stop], start, path)
    except _Refused as refused:
        _salvage(text, front, path, refused)
        return
    if isinstance(node, dict):
        front.entries = node
    else:
        front.whole = False
        message = "the frontmatter is not a mapping"
        front.problems.append(Problem(MAPPING, start, message, "write it as `key: value` lines"))


class _Refused(Exception):
    """YAML could not be read: what is wrong, at which offset."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


# -- the full reader

_BRACKET = re.compile(r"[\[\]{}]")
_WIKI_SOURCE = re.compile(r"\[\[[^\[\]\n]+\]\]\Z")


def _full(yaml: str, shift: int, path: str) -> Node:
    """All of YAML; `shift` is where `yaml` begins in the note. Raises _Refused."""
    deepest = depth = 0
    for bracket in _BRACKET.finditer(yaml):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > deepest:
            deepest = depth
            if deepest > DEPTH:
                message = f"the frontmatter is nested more than {DEPTH} levels deep"
                raise _Refused(Problem(FRONTMATTER, shift + bracket.start(), message, "flatten it"))
    from schemas.yaml_text import read_file

    file = TextFile(path, yaml, b"", False, "\n")
    try:
        document = read_file(file, limits=LIMITS)
    except InvalidText as error:
        first = error.findings[0]
        offset = _offset(yaml, first.line or 1, first.column or 1)
        raise _Refused(Problem(FRONTMATTER, shift + offset, first.message, first.fix or "correct it", first.value)) from None
    return _nodes(document.value, (), document.spans, yaml, shift)


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a place that counts from 1."""
    at = 0
    for _ in range(line - 1):
        at = text.find("\n", at) + 1
    return at + column - 1


def _nodes(value: Any, pointer: tuple[str | int, ...], spans: Any, yaml: str, shift: int) -> Node:
    """What `schemas.yaml_text` read, as nodes; it is never more than 64 levels deep."""
    span = spans[pointer]
    start, stop = span.start + shift, span.end + shift
    if isinstance(value, (dict, list)):
        if span.style == "flow" and yaml.startswith("[[", span.start) and _WIKI_SOURCE.match(yaml, span.start, span.end):
            return Scalar(start, stop, False, yaml[span.start : span.end])
        if isinstance(value, dict):
            return {
                key: Entry(spans[*pointer, key].key_start + shift, _nodes(inner, (*pointer, key), spans, yaml, shift))
                for key, inner in value.items()
            }
        return [_nodes(inner, (*pointer, index), spans, yaml, shift) for index, inner in enumerate(value)]
    plain = span.style == "plain"
    return Scalar(start, stop, plain, value if isinstance(value, str) else yaml[span.start : span.end])


# -- what is left where YAML refuses

_TAB_INDENT = re.compile(r"^[ ]*\t[ \t]*(?=[^\s])", re.MULTILINE)
_RAW_FORBIDDEN = frozenset("&*!|>")
_MOST_YAML = 50
"""So many entries are given to the full reader one by one, at most."""


def _salvage(text: str, front: Front, path: str, refused: _Refused) -> None:
    """Read entry by entry what cannot be read as a whole."""
    start, stop = front.start, front.stop
    tab = _TAB_INDENT.search(text, start, stop)
    if tab is not None:
        spaced = text[:start] + _TAB_INDENT.sub(lambda found: " " * len(found[0]), text[start:stop])
        quick = quick_read(spaced, start, stop)
        node: Node = None
        if quick is None:
            try:
                node = _full(spaced[start:stop], start, path)
            except _Refused as other:
                node = None
                refused = other if other.problem.offset > refused.problem.offset else refused
        if quick is not None or isinstance(node, dict):
            front.entries = quick[0] if quick is not None else node
            front.problems += quick[1] if quick is not None else []
            message = "a tab stands where YAML takes only spaces; it is read as a space"
            front.problems.append(Problem(TABS, tab.start(), message, "indent with spaces"))
            return
    lost = _entries_one_by_one(text, front, path)
    if lost:
        front.whole = False
        offset = refused.problem.offset
        end = text.find("\n", offset, stop)
        line = text[text.rfind("\n", 0, offset) + 1 : stop if end < 0 else end]
        if "{{" in line or "<%" in line:
            message = "a placeholder of a template stands here without quotes"
            front.problems.append(Problem(TEMPLATE, offset, message, "fill it in, or quote it", line.strip()))
        else:
            front.problems.append(refused.problem)


def _entries_one_by_one(text: str, front: Front, path: str) -> bool:
    """Add every entry that can be read by itself to `front`; returns whether something was not."""
    start, stop = front.start, front.stop
    starts = [match.start() for match in _EDGE_KEY.finditer(text, start, stop)]
    lost = bool(_without_comments(text[start : starts[0] if starts else stop]))
    attempts = 0
    for index, at in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else stop
        own = _CONTINUES.match(text, text.find("\n", at, end) + 1 or end, end)
        if own is not None and own.end() < end:
            lost = True
            end = own.end()
        found: dict[str, Entry] | None = None
        quick = quick_read(text, at, end)
        if quick is not None:
            found = quick[0]
        elif attempts < _MOST_YAML:
            attempts += 1
            try:
                node = _full(text[at:end], at, path)
                found = node if isinstance(node, dict) else None
            except _Refused:
                found = None
        if found is None:
            lost = True
            found = _raw(text, at, end)
        for name, entry in found.items():
            if name in front.entries:
                front.whole = False
                if len(front.problems) < MOST_TWICE:
                    front.problems.append(twice(text, name, front.entries[name].key_start, entry.key_start))
            else:
                front.entries[name] = entry
    return lost


_EDGE_KEY = re.compile("^" + KEY.pattern, re.MULTILINE)
_CONTINUES = re.compile(r"(?:(?:[ \t#-][^\n]*|\r?)(?:\n|\Z))*+")


def _raw(text: str, at: int, end: int) -> dict[str, Entry]:
    """One entry on one line: the text behind the colon as it stands."""
    key = KEY.match(text, at, end)
    assert key is not None
    line = text.find("\n", at, end)
    line = end if line < 0 else line
    raw = text[key.end() : line].strip()
    if not raw or raw[0] in _RAW_FORBIDDEN or _without_comments(text[line:end]):
        return {}
    start = key.end()
    return {key[key.lastindex or 1]: Entry(at, Scalar(start, start + len(raw), False, raw))}


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))

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
from typing import Any, NamedTuple

from schemas.errors import InvalidText
from schemas.findings import Rule
from schemas.notes.rules import DUPLICATE_KEY, FRONTMATTER, MAPPING, TABS, TEMPLATE, UNCLOSED
from schemas.text import Limits, TextFile
from schemas.yaml_scalars import BASED, FALSES, FLOAT, INTEGER, NULLS, TRUES

SIZE = 1 << 20
"""Larger frontmatter is not read."""

DEPTH = 64
LIMITS = Limits(size=SIZE, depth=DEPTH, values=20_000)


class Scalar(NamedTuple):
    """One value: where it stands with its quotes, and its text. `plain`: without quotes, so that it may be a number."""

    start: int
    stop: int
    plain: bool
    text: str


class Entry(NamedTuple):
    """The value of a key, and where the key stands."""

    key_start: int
    node: Any
    """A Scalar, a list of nodes, or a mapping of keys to entries."""


Node = Any


class Problem(NamedTuple):
    """What is wrong at `offset` of the text."""

    rule: Rule
    offset: int
    message: str
    fix: str
    value: str | None = None


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
    quick = _quick(text, start, stop)
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


# -- the quick reader

_KEY = re.compile(
    r"""(?:(\w(?:[^\s:#"'\[\]{}\\,&*!|>%@`?]|[ ](?=[^\s:#])|:(?=\S))*+)|"([^"\\\n]*)"|'([^'\n]*)')"""
    r"[ \t]*:(?:[ \t]+|(?=\r?(?:\n|\Z)))"
)
_QUOTED = re.compile(r"""(?:"([^"\\]*)"|'((?:[^']|'')*)')(?:[ \t]+\#.*|[ \t]*)\Z""")
_WIKI_VALUE = re.compile(r"\[\[[^\[\]]+\]\](?=(?:[ \t]+\#.*|[ \t]*)\Z)")
_FLOW = re.compile(r"\[([^\n]*)\](?:[ \t]+\#[^\]]*|[ \t]*)\Z")
_FLOW_ITEM = re.compile(
    r"""[ \t]*(?:"([^"\\]*)"|'((?:[^']|'')*)'|(\[\[[^\[\]]+\]\])"""
    r"""|((?:[^\s,\[\]{}#&*!|>'"%@`:?-]|-(?=[^\s,\[\]{}]))"""
    r"""(?:[^\s,\[\]{}#:]|[ ](?=[^\s,#\[\]{}])|:(?=[^\s,\[\]{}]))*+))[ \t]*(?:,|\Z)"""
)
_SPECIAL = frozenset(",[]{}#&*!|>'\"%@`")
_COMMENT = re.compile(r"[ \t]#")
_COLON = re.compile(r":(?:[ \t]|\Z)")
_LEADING = re.compile(r"[ ]*")
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|\r(?!\n)")
_DEEPEST = 8


class _GiveUp(Exception):
    """The text has a shape the quick reader does not know."""


def _quick(text: str, start: int, stop: int) -> tuple[dict[str, Entry], list[Problem]] | None:
    """The entries between two offsets and what stands twice in them; None where the text is not of the plain shapes."""
    if _ODD.search(text, start, stop):
        return None
    reader = _Quick(text, stop)
    try:
        at, indent = reader.next_line(start)
        if at < 0:
            return {}, []
        entries, at = reader.mapping(at, indent, 0)
        if at >= 0:
            return None
    except _GiveUp:
        return None
    return entries, reader.problems


def _twice(text: str, name: str, first: int, second: int) -> Problem:
    line = text.count("\n", 0, first) + 1
    message = f"the key {name!r} stands on line {line} already; the first counts"
    return Problem(DUPLICATE_KEY, second, message, "remove or rename one of the two", name)


class _Quick:
    """Reads by indentation. Each method takes the offset of the first character of a line behind its indentation, and returns
    a value with the offset of the next line that has content (-1 at the end)."""

    def __init__(self, text: str, stop: int) -> None:
        self.text = text
        self.stop = stop
        self.problems: list[Problem] = []
        self.indent = 0
        """The indentation of the line returned last."""

    def next_line(self, at: int) -> tuple[int, int]:
        """The first line from offset `at` on (a line's beginning) that has content: where it begins, its indentation."""
        text, stop = self.text, self.stop
        while at < stop:
            first = _LEADING.match(text, at, stop).end()  # type: ignore[union-attr]  # it matches the empty string
            sign = text[first] if first < stop else "\n"
            if sign not in "\n\r#\t":
                self.indent = first - at
                return first, first - at
            end = text.find("\n", first, stop)
            if sign == "\t" and text[first : stop if end < 0 else end].strip(" \t\r"):
                raise _GiveUp
            if end < 0:
                break
            at = end + 1
        self.indent = -1
        return -1, -1

    def end_of_line(self, at: int) -> tuple[int, int]:
        """Where the line at `at` ends, without and with its line end."""
        end = self.text.find("\n", at, self.stop)
        if end < 0:
            end = self.stop
            return (end - 1 if end > at and self.text[end - 1] == "\r" else end), end
        return (end - 1 if end > at and self.text[end - 1] == "\r" else end), end + 1

    def mapping(self, at: int, indent: int, depth: int) -> tuple[dict[str, Entry], int]:
        """A block mapping whose keys stand at `indent`; the first one at `at`."""
        if depth > _DEEPEST:
            raise _GiveUp
        entries: dict[str, Entry] = {}
        text, stop = self.text, self.stop
        while True:
            key = _KEY.match(text, at, stop)
            if key is None:
                raise _GiveUp
            name = key[key.lastindex or 1]
            first = entries.get(name)
            node, after = self.value(key.end(), indent, depth)
            if first is None:
                entries[name] = Entry(at, node)
            else:
                self.problems.append(_twice(text, name, first.key_start, at))
            if after < 0 or self.indent < indent:
                return entries, after
            if self.indent > indent:
                raise _GiveUp
            at = after

    def value(self, at: int, indent: int, depth: int) -> tuple[Node, int]:
        """What stands behind the colon of a key at `indent`."""
        text = self.text
        end, after = self.end_of_line(at)
        if at >= end or text[at] == "#":
            below, deeper = self.next_line(after)
            if below >= 0 and deeper >= indent and self.is_item(below):
                return self.items(below, deeper, indent, depth + 1)
            if below >= 0 and deeper > indent:
                return self.mapping(below, deeper, depth + 1)
            return Scalar(at, at, True, ""), below
        node = self.inline(at, end)
        below, deeper = self.next_line(after)
        if below >= 0 and deeper > indent:
            raise _GiveUp
        return node, below

    def is_item(self, at: int) -> bool:
        return self.text[at] == "-" and (at + 1 >= self.stop or self.text[at + 1] in " \t\r\n")

    def items(self, at: int, indent: int, parent: int, depth: int) -> tuple[list[Node], int]:
        """A block list whose dashes stand at `indent`, below a key at `parent`."""
        if depth > _DEEPEST:
            raise _GiveUp
        text, stop = self.text, self.stop
        nodes: list[Node] = []
        while True:
            end, after = self.end_of_line(at)
            content = at + 1
            while content < end and text[content] == " ":
                content += 1
            if content < end and text[content] == "\t":
                raise _GiveUp
            if content >= end or text[content] == "#":
                below, deeper = self.next_line(after)
                if below >= 0 and deeper > indent:
                    raise _GiveUp
                node: Node = Scalar(content, content, True, "")
            elif _KEY.match(text, content, stop):
                node, below = self.mapping(content, indent + content - at, depth + 1)
                deeper = self.indent
            else:
                node = self.inline(content, end)
                below, deeper = self.next_line(after)
                if below >= 0 and deeper > indent:
                    raise _GiveUp
            nodes.append(node)
            if below < 0 or deeper < indent:
                return nodes, below
            if deeper > indent:
                raise _GiveUp
            if not self.is_item(below):
                if indent != parent:
                    raise _GiveUp
                return nodes, below
            at = below

    def inline(self, at: int, end: int) -> Node:
        """A value on one line: a text with or without quotes, a flat list, a wiki link."""
        text = self.text
        sign = text[at]
        if sign not in _SPECIAL:
            if sign in "-?:" and (at + 1 >= end or text[at + 1] in " \t"):
                raise _GiveUp
            comment = _COMMENT.search(text, at, end)
            body = text[at : comment.start() if comment else end].rstrip(" \t")
            if ":" in body and _COLON.search(body):
                raise _GiveUp
            return Scalar(at, at + len(body), True, body)
        if sign == '"' or sign == "'":
            quoted = _QUOTED.match(text, at, end)
            if quoted is None:
                raise _GiveUp
            if quoted[1] is not None:
                return Scalar(at, quoted.end(1) + 1, False, quoted[1])
            return Scalar(at, quoted.end(2) + 1, False, quoted[2].replace("''", "'"))
        if sign == "[":
            if wiki := _WIKI_VALUE.match(text, at, end):
                return Scalar(at, wiki.end(), False, wiki[0])
            if flow := _FLOW.match(text, at, end):
                return self.flow(flow.start(1), flow.end(1))
        raise _GiveUp

    def flow(self, at: int, end: int) -> list[Scalar]:
        """The items of a list between brackets."""
        nodes: list[Scalar] = []
        text = self.text
        if not text[at:end].strip(" \t"):
            return nodes
        while at < end:
            item = _FLOW_ITEM.match(text, at, end)
            if item is None:
                if nodes and not text[at:end].strip(" \t"):
                    return nodes
                raise _GiveUp
            kind = item.lastindex
            assert kind is not None
            start, stop = item.span(kind)
            value = item[kind]
            if kind == 1:
                nodes.append(Scalar(start - 1, stop + 1, False, value))
            elif kind == 2:
                nodes.append(Scalar(start - 1, stop + 1, False, value.replace("''", "'")))
            else:
                nodes.append(Scalar(start, stop, kind == 4, value))
            at = item.end()
        return nodes


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
        quick = _quick(spaced, start, stop)
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
        quick = _quick(text, at, end)
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
                front.problems.append(_twice(text, name, front.entries[name].key_start, entry.key_start))
                front.whole = False
            else:
                front.entries[name] = entry
    return lost


_EDGE_KEY = re.compile("^" + _KEY.pattern, re.MULTILINE)
_CONTINUES = re.compile(r"(?:(?:[ \t#-][^\n]*|\r?)(?:\n|\Z))*+")


def _raw(text: str, at: int, end: int) -> dict[str, Entry]:
    """One entry on one line: the text behind the colon as it stands."""
    key = _KEY.match(text, at, end)
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


# -- values


def plain_value(text: str) -> Any:
    """What text without quotes means (YAML 1.2 core schema); numbers that JSON or 64 bits cannot hold stay text."""
    if text in NULLS:
        return None
    if text in TRUES:
        return True
    if text in FALSES:
        return False
    first = text[0]
    if not first.isascii() or not (first.isdigit() or first in "+-."):
        return text
    if INTEGER.match(text) or BASED.match(text):
        digits = text.lstrip("+-0xo")
        number = int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(digits) <= 64 else 1 << 64
        return number if -(1 << 63) <= number < 1 << 63 else text
    if FLOAT.match(text) and len(text) <= 400:
        value = float(text)
        return value if abs(value) != float("inf") else text
    return text


def json_value(node: Node) -> Any:
    """A node as a JSON value."""
    if type(node) is Scalar:
        return plain_value(node.text) if node.plain else node.text
    if type(node) is list:
        return [json_value(item) for item in node]
    return {name: json_value(entry.node) for name, entry in node.items()}

"""The values of a frontmatter with the places they stand at, and the reader for the plain shapes nearly all of it has.

Read are block mappings, block lists, flat lists between brackets, and texts on one line with or without quotes, by indentation;
for any other shape the reader gives up and `schemas.notes.front` turns to YAML. Light: standard library only.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from schemas.findings import Rule
from schemas.notes.rules import DUPLICATE_KEY
from schemas.yaml_scalars import BASED, FALSES, FLOAT, INTEGER, NULLS, TRUES


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


KEY = re.compile(
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


def quick_read(text: str, start: int, stop: int) -> tuple[dict[str, Entry], list[Problem]] | None:
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


MOST_TWICE = 100
"""So many keys that stand twice are named."""


def twice(text: str, name: str, first: int, second: int) -> Problem:
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
            key = KEY.match(text, at, stop)
            if key is None:
                raise _GiveUp
            name = key[key.lastindex or 1]
            first = entries.get(name)
            node, after = self.value(key.end(), indent, depth)
            if first is None:
                entries[name] = Entry(at, node)
            else:
                if len(self.problems) < MOST_TWICE:
                    self.problems.append(twice(text, name, first.key_start, at))
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
            elif KEY.match(text, content, stop):
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

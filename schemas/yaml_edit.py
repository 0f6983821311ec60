"""Where an edit of a YAML text goes: block entries by their lines, bracketed ones between their commas.

Works on the spans of `schemas.yaml_text`; what it cannot place safely it refuses, and the document verifies every result by
reading it again. Light: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from schemas.document import Document, Pointer, Value
from schemas.edit import Edit, cannot_edit, delete_in_brackets, indent_at, insert_in_brackets, line_end, line_start
from schemas.yaml_write import block, entry, flow, quoted, scalar

_COLON = re.compile(r"[ \t]*:")


def replace(document: Document, at: Pointer, value: Value) -> list[Edit]:
    """Edits that put `value` where the value at `at` is."""
    text, span = document.text, document.spans[at]
    scalar_value = not (isinstance(value, dict | list) and value)
    if _in_flow(document, at):
        return [Edit(span.start, span.end, _like(span.style, value, in_flow=True))]
    was_container = span.style in ("block", "flow")
    many_lines = isinstance(value, str) and "\n" in value and len(entry("", value, 0)) > 1
    if scalar_value and not was_container and not many_lines and span.style not in ("|", ">"):
        space = " " if span.start == span.end and at else ""
        return [Edit(span.start, span.end, space + _like(span.style, value))]
    if not at:
        end = _end(document, at)
        whole = document.file.line_end.join(block(value, 0))
        behind = text[end : line_end(text, end)].strip()
        last = document.file.line_end if behind or "\n" not in text[end:] else ""
        return [Edit(line_start(text, span.start), end, whole + last)]
    if span.style == "flow" and document.get(at) and isinstance(value, dict | list):
        return [Edit(span.start, span.end, flow(value))]
    lead = _lead_end(document, at)
    lines = entry("", value, _child_indent(document, at))
    end = _end(document, at)
    after = text[end : line_end(text, end)]
    if len(lines) > 1 and span.end == end and after.strip() and span.style not in ("|", ">", "block"):
        # A comment behind the old value stays on the line of the key.
        lines[0] += after.rstrip("\r\n")
        end += len(after.rstrip("\r\n"))
    if text[end - 1 : end] == "\n" or (len(lines) > 1 and "\n" not in text[end:]):
        lines.append("")
    return [Edit(lead, end, document.file.line_end.join(lines))]


def add(document: Document, at: Pointer, value: Value) -> list[Edit]:
    """Edits that add the key `at` ends in to its mapping."""
    parent, key = at[:-1], at[-1]
    span = document.spans[parent]
    children = document.children(parent)
    if _in_flow(document, parent) or (span.style == "flow" and children):
        item = f"{scalar(key, in_flow=True)}: {flow(value)}"
        return insert_in_brackets(
            document.text, (span.start, span.end), _items(document, children), len(children), item, newline=document.file.line_end
        )
    if not children:
        return replace(document, parent, {str(key): value})
    indent = _column(document.text, document.spans[children[0]].item_start)
    lines = entry(f"{scalar(key)}:", value, indent + 2)
    return [_after(document, children[-1], [" " * indent + lines[0], *lines[1:]])]


def insert(document: Document, at: Pointer, value: Value) -> list[Edit]:
    """Edits that put `value` into a list before the position `at` ends in."""
    parent, index = at[:-1], at[-1]
    assert isinstance(index, int)
    span = document.spans[parent]
    children = document.children(parent)
    if _in_flow(document, parent) or (span.style == "flow" and children):
        return insert_in_brackets(
            document.text, (span.start, span.end), _items(document, children), index, flow(value), newline=document.file.line_end
        )
    if not children:
        return replace(document, parent, [value])
    dash = _dash(document, children[0])
    indent = _column(document.text, dash)
    lines = _item_lines(value, indent)
    if index == len(children):
        return [_after(document, children[-1], lines)]
    before = _dash(document, children[index])
    if indent_at(document.text, before) is None:
        # The first item shares its line with what holds it: `- - a`.
        rest = [*lines[1:], " " * indent] if len(lines) > 1 else [" " * indent]
        return [Edit(before, before, document.file.line_end.join([lines[0].lstrip(" "), *rest]))]
    start = line_start(document.text, before)
    return [Edit(start, start, "".join(line + document.file.line_end for line in lines))]


def delete(document: Document, at: Pointer) -> list[Edit]:
    """Edits that take the entry at `at` out."""
    text, parent = document.text, at[:-1]
    span = document.spans[parent]
    siblings = document.children(parent)
    index = siblings.index(at)
    if span.style == "flow":
        return delete_in_brackets((span.start, span.end), _items(document, siblings), index)
    if len(siblings) == 1:
        empty: Value = {} if isinstance(at[-1], str) else []
        return replace(document, parent, empty)
    start = _entry_start(document, at)
    if indent_at(text, start) is None:
        return [Edit(start, _entry_start(document, siblings[index + 1]), "")]
    end = _end(document, at)
    if document.spans[_last(document, at)].style not in ("|", ">") or text[end - 1 : end] != "\n":
        end = line_end(text, end)
    return [Edit(line_start(text, start), end, "")]


def _last(document: Document, at: Pointer) -> Pointer:
    """The innermost entry that a block value ends with: `at` itself where it holds none."""
    while document.spans[at].style == "block" and (children := document.children(at)):
        at = children[-1]
    return at


def _like(style: str, value: Value, *, in_flow: bool = False) -> str:
    """`value` on one line, in the quotes that stood there where it is text."""
    if isinstance(value, str) and style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str) and style == '"':
        return quoted(value)
    return flow(value) if in_flow or isinstance(value, dict | list) else scalar(value)


def _in_flow(document: Document, at: Pointer) -> bool:
    """Whether the entry at `at` stands inside brackets."""
    return any(document.spans[at[:length]].style == "flow" for length in range(len(at)))


def _items(document: Document, pointers: Sequence[Pointer]) -> list[tuple[int, int]]:
    return [(document.spans[at].item_start, document.spans[at].end) for at in pointers]


def _column(text: str, offset: int) -> int:
    return offset - line_start(text, offset)


def _dash(document: Document, at: Pointer) -> int:
    """The offset of the `-` before a list item."""
    start = document.spans[at].start
    before = document.text[:start].rstrip(" \t\r\n")
    if not before.endswith("-"):
        raise cannot_edit(document.path, "a list item with a comment before its value")
    return len(before) - 1


def _entry_start(document: Document, at: Pointer) -> int:
    span = document.spans[at]
    if span.key_start >= 0:
        return span.key_start
    return _dash(document, at)


def _lead_end(document: Document, at: Pointer) -> int:
    """The offset behind the colon of the key, or the dash of the item, that leads to the value."""
    span = document.spans[at]
    if span.key_start < 0:
        return _dash(document, at) + 1
    colon = _COLON.match(document.text, span.key_end)
    if colon is None:
        raise cannot_edit(document.path, "a key written with '?'")
    return colon.end()


def _end(document: Document, at: Pointer) -> int:
    """Where the value ends, without line ends behind it that are not its own."""
    at = _last(document, at)
    span = document.spans[at]
    if span.style in ("|", ">"):
        value = document.get(at)
        kept = document.text[span.start : line_end(document.text, span.start)].split("#")[0]
        if "+" in kept and isinstance(value, str):
            return span.end
        stripped = document.text[: span.end].rstrip(" \t\r\n")
        return max(len(stripped), span.start + 1)
    return span.end


def _child_indent(document: Document, at: Pointer) -> int:
    """How far the lines of a block value at `at` are indented."""
    text, span = document.text, document.spans[at]
    children = document.children(at)
    if span.style == "block" and children and indent_at(text, _entry_start(document, children[0])) is not None:
        column = _column(text, _entry_start(document, children[0]))
        if column > _column(text, _entry_start(document, at)):
            return column
    return _column(text, _entry_start(document, at)) + 2


def _item_lines(value: Value, indent: int) -> list[str]:
    """A list item as block lines."""
    pad = " " * indent
    inner = block([value], indent)
    if isinstance(value, dict | list) or not inner[0].startswith(f"{pad}["):
        return inner
    return entry(f"{pad}-", value, indent + 2)


def _after(document: Document, last: Pointer, lines: list[str]) -> Edit:
    """New lines below the last entry of a block."""
    text, end = document.text, _end(document, last)
    newline = document.file.line_end
    if text[end - 1 : end] != "\n" or end == 0:
        end = line_end(text, end)
    lead = "" if end == 0 or text[end - 1] == "\n" else newline
    return Edit(end, end, lead + newline.join(lines) + newline)

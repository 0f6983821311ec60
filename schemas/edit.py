"""Span edits: changing a text by replacing stretches of it, so that every other character stays.

Knows bracketed lists (JSON, YAML flow style, TOML arrays and inline tables) because three formats share them; everything else
about a format is in its own module. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the characters from `start` up to `end` by `text`; `start == end` inserts."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Sequence[Edit]) -> str:
    """`text` with all edits made; offsets mean the text before any of them. Raises ValueError when two overlap."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits):
        if edit.start < at or edit.end < edit.start or edit.end > len(text):
            raise ValueError(f"the edit {edit} overlaps another or lies outside of the text")
        parts.append(text[at : edit.start])
        parts.append(edit.text)
        at = edit.end
    parts.append(text[at:])
    return "".join(parts)


def cannot_edit(path: str, what: str) -> HeadwaterError:
    """The error for a spelling that cannot be edited in place (rule `text-edit`)."""
    return HeadwaterError(f"{what} cannot be changed in place", rule="text-edit", path=path, fix="edit the file by hand")


def line_start(text: str, offset: int) -> int:
    """The offset of the first character of the line `offset` lies on."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """The offset just behind the line feed of the line `offset` lies on, or the end of the text."""
    at = text.find("\n", offset)
    return len(text) if at < 0 else at + 1


def indent_at(text: str, offset: int) -> str | None:
    """The white space before `offset` when nothing else precedes it on its line, else None."""
    before = text[line_start(text, offset) : offset]
    return before if not before.strip(" \t") else None


def insert_in_brackets(
    text: str,
    bracket: tuple[int, int],
    items: Sequence[tuple[int, int]],
    index: int,
    item: str,
    *,
    newline: str,
    comma: str = ", ",
) -> list[Edit]:
    """Put `item` before the item at `index` (or last) between the brackets whose outer span is `bracket`.

    `items` are the spans of the present items in order. An item gets a line of its own, ended by the file's `newline`, where the
    present ones have theirs.
    """
    if not items:
        return [Edit(bracket[0] + 1, bracket[1] - 1, item)]
    if index < len(items):
        start = items[index][0]
        indent = indent_at(text, start)
        return [Edit(start, start, f"{item},{newline}{indent}" if indent is not None else f"{item}{comma}")]
    end = items[-1][1]
    indent = indent_at(text, items[-1][0])
    return [Edit(end, end, f",{newline}{indent}{item}" if indent is not None else f"{comma}{item}")]


def delete_in_brackets(bracket: tuple[int, int], items: Sequence[tuple[int, int]], index: int) -> list[Edit]:
    """Take the item at `index` out, with the comma and white space that belonged to it."""
    if len(items) == 1:
        return [Edit(bracket[0] + 1, bracket[1] - 1, "")]
    if index == 0:
        return [Edit(items[0][0], items[1][0], "")]
    return [Edit(items[index - 1][1], items[index][1], "")]

"""Writing TOML: one spelling per value, plain keys before tables. Light: standard library only."""

from __future__ import annotations

import re

from schemas.document import Value, number_text, quoted_text, unwritable

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_NO_NULL = "toml-null"


def write(value: dict[str, Value]) -> str:
    """The canonical text of a table: its plain values first, then its tables, in their order; LF at the end.

    Raises HeadwaterError for what TOML or the reader refuses: null (`toml-null`), NaN and infinities, whole numbers past 64
    bits, halves of surrogate pairs.
    """
    return "\n\n".join("\n".join(lines) for lines in _sections(value, [], "")) + "\n" if value else ""


def table(value: dict[str, Value], path: list[str]) -> list[str]:
    """The lines of `[path]` and of the tables below it."""
    lines: list[str] = []
    for section in _sections(value, path, "["):
        lines.extend([*([""] if lines else []), *section])
    return lines


def key(text: str) -> str:
    """A key, quoted where it must be."""
    return text if _BARE.match(text) else inline(text)


def inline(value: Value) -> str:
    """A value on one line. Raises HeadwaterError as `write` does."""
    if value is None:
        raise unwritable("TOML has no null", _NO_NULL, "leave the key out")
    if isinstance(value, bool | int | float):
        return number_text(value)
    if isinstance(value, str):
        return quoted_text(value).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if not value:
        return "{}"
    return "{ " + ", ".join(f"{key(name)} = {inline(item)}" for name, item in value.items()) + " }"


def _sections(value: dict[str, Value], path: list[str], bracket: str) -> list[list[str]]:
    """The sections of a table: its own lines, then one section per table below it."""
    own: list[str] = []
    below: list[list[str]] = []
    for name, item in value.items():
        inner = [*path, key(name)]
        if isinstance(item, dict):
            below.extend(_sections(item, inner, "["))
        elif isinstance(item, list) and item and all(isinstance(row, dict) for row in item):
            for row in item:
                assert isinstance(row, dict)
                below.extend(_sections(row, inner, "[["))
        else:
            own.append(f"{key(name)} = {inline(item)}")
    if bracket and (own or not below or bracket == "[["):
        own.insert(0, f"{bracket}{'.'.join(path)}{']' * len(bracket)}")
    return [own, *below] if own else below

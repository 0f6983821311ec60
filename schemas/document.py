"""A parsed text file that knows where every key and value lies: the common half of the JSON, YAML and TOML readers.

Values are plain Python. Spelling of values and how to find room for a new key belong to the format modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.findings import Finding
from schemas.text import TextFile

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
"""What a document holds: dictionaries keep the order of the file."""

Pointer = tuple[str | int, ...]
"""The way to a value from the root: keys and list positions; `()` is the root."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value lies in the text, as character offsets; `key_start` and `key_end` are -1 for list items and the root.

    `style` is the format's own word for the spelling (YAML: `plain`, `'`, `"`, `|`, `>`, `block`, `flow`).
    """

    start: int
    end: int
    key_start: int = -1
    key_end: int = -1
    style: str = ""


@dataclass(frozen=True)
class Document:
    """One file read: `value`, the text it came from, and spans of every key and value. `warnings` block nothing."""

    file: TextFile
    value: Value
    spans: Mapping[Pointer, Span]
    warnings: list[Finding] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text, without a byte-order mark."""
        return self.file.text

    @property
    def data(self) -> bytes:
        """The bytes of the file, with the byte-order mark it came with."""
        return self.file.data

    @property
    def path(self) -> str:
        """The path the file was read under."""
        return self.file.path

    def span(self, pointer: Pointer) -> Span:
        """Where the value at `pointer` lies; for a pointer that is not there, its nearest ancestor that is."""
        at = tuple(pointer)
        while at and at not in self.spans:
            at = at[:-1]
        return self.spans[at]

    def position(self, pointer: Pointer) -> tuple[int, int]:
        """(line, column) where the value at `pointer` begins; of its nearest ancestor's key when it is not there."""
        at = tuple(pointer)
        if at in self.spans:
            return self.file.position(self.spans[at].start)
        return self.key_position(at[:-1]) if at else self.file.position(0)

    def key_position(self, pointer: Pointer) -> tuple[int, int]:
        """(line, column) of the key at `pointer`, or of the value for list items and the root."""
        span = self.span(pointer)
        return self.file.position(span.key_start if span.key_start >= 0 else span.start)

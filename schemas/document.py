"""A parsed text file that knows where every key and value lies, and can be changed without touching anything else.

The common half of the JSON, YAML and TOML documents: looking up positions, and turning a wished-for value into the smallest
edits. How a value is spelled and where a new key goes belong to the format modules. Light: standard library only.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from schemas.canonical import canonical_json
from schemas.edit import Edit, apply, cannot_edit
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding
from schemas.text import NUMBER_FINITE, NUMBER_RANGE, SURROGATE, TextFile, has_lone_surrogate

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

    @property
    def item_start(self) -> int:
        """Where the entry begins: its key, or the value of a list item."""
        return self.key_start if self.key_start >= 0 else self.start


@dataclass(frozen=True)
class Document(ABC):
    """One file read: `value`, the text it came from, and spans of every key and value. `warnings` block nothing.

    Documents do not change: `set`, `delete`, `insert` and `update` return a new one, in which every character outside of the
    edited stretch is as it was. The result is read again and compared with the value asked for before it is returned.
    """

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

    def span(self, pointer: Sequence[str | int]) -> Span:
        """Where the value at `pointer` lies; for a pointer that is not there, its nearest ancestor that is."""
        at = tuple(pointer)
        while at and at not in self.spans:
            at = at[:-1]
        return self.spans[at]

    def position(self, pointer: Sequence[str | int]) -> tuple[int, int]:
        """(line, column) where the value at `pointer` begins; of its nearest ancestor's key when it is not there."""
        at = tuple(pointer)
        if at in self.spans:
            return self.file.position(self.spans[at].start)
        return self.key_position(at[:-1]) if at else self.file.position(0)

    def key_position(self, pointer: Sequence[str | int]) -> tuple[int, int]:
        """(line, column) of the key at `pointer`, or of the value for list items and the root."""
        return self.file.position(self.span(pointer).item_start)

    def get(self, pointer: Sequence[str | int]) -> Value:
        """The value at `pointer`; raises KeyError when there is none."""
        value = self.value
        try:
            for part in pointer:
                if isinstance(value, str) or (isinstance(part, int) and part < 0):
                    raise KeyError
                value = value[part]  # type: ignore[index]  # a wrong kind of key is a TypeError
        except (LookupError, TypeError):
            raise KeyError(tuple(pointer)) from None
        return value

    def set(self, pointer: Sequence[str | int], value: Value) -> Self:
        """Replace the value at `pointer`, or add the last key of `pointer` to its mapping (at the end).

        Raises KeyError when the container is not there, HeadwaterError (rule `text-edit`) when the spelling at hand cannot
        be changed in place.
        """
        at = tuple(pointer)
        if at in self.spans:
            return self._change(at, self.get(at), value)
        container = self.get(at[:-1])
        if not isinstance(container, dict) or not isinstance(at[-1], str):
            raise KeyError(at)
        return self._made(self._add_edits(at, value), _with(self.value, at, value))

    def delete(self, pointer: Sequence[str | int]) -> Self:
        """Take the entry at `pointer` out. Raises KeyError when it is not there, HeadwaterError as `set` does."""
        at = tuple(pointer)
        self.get(at)
        if not at:
            raise KeyError(at)
        return self._made(self._delete_edits(at), _without(self.value, at))

    def insert(self, pointer: Sequence[str | int], value: Value) -> Self:
        """Put `value` into a list before the position `pointer` ends in (its length appends).

        Raises KeyError when there is no such list, HeadwaterError as `set` does.
        """
        at = tuple(pointer)
        container = self.get(at[:-1])
        index = at[-1]
        if not isinstance(container, list) or not isinstance(index, int) or not 0 <= index <= len(container):
            raise KeyError(at)
        changed = [*container[:index], value, *container[index:]]
        return self._made(self._insert_edits(at, value), _with(self.value, at[:-1], changed))

    def update(self, value: Value) -> Self:
        """Make the whole document say `value`, touching only what differs. Raises HeadwaterError as `set` does."""
        return self._change((), self.value, value)

    def _change(self, at: Pointer, old: Value, new: Value) -> Self:
        if same(old, new):
            return self
        if isinstance(old, dict) and isinstance(new, dict) and new:
            document = self
            for key in [key for key in old if key not in new]:
                document = document.delete((*at, key))
            for key, item in new.items():
                document = document.set((*at, key), item)
            return document
        if isinstance(old, list) and isinstance(new, list) and new:
            return self._change_list(at, old, new)
        return self._made(self._replace_edits(at, new), _with(self.value, at, new))

    def _change_list(self, at: Pointer, old: list[Value], new: list[Value]) -> Self:
        shared = min(len(old), len(new))
        head = next((index for index in range(shared) if not same(old[index], new[index])), shared)
        tail = next((index for index in range(shared - head) if not same(old[-1 - index], new[-1 - index])), shared - head)
        kept = max(min(len(old), len(new)) - head - tail, 0)
        document = self
        for index in range(head, head + kept):
            document = document._change((*at, index), old[index], new[index])
        for index in range(len(old) - tail - 1, head + kept - 1, -1):
            document = document.delete((*at, index))
        for index in range(head + kept, len(new) - tail):
            document = document.insert((*at, index), new[index])
        return document

    def _made(self, edits: list[Edit], expected: Value) -> Self:
        try:
            made = self._reread(self.file.encode(apply(self.text, edits)))
        except (InvalidText, ValueError) as error:
            raise cannot_edit(self.path, "this spelling") from error
        if not same(made.value, expected):
            raise cannot_edit(self.path, "this spelling")
        return made

    def children(self, pointer: Pointer) -> list[Pointer]:
        """Pointers of the entries of a mapping or list, in file order."""
        value = self.get(pointer)
        if isinstance(value, dict):
            return [(*pointer, key) for key in value]
        if isinstance(value, list):
            return [(*pointer, index) for index in range(len(value))]
        return []

    @abstractmethod
    def _reread(self, data: bytes) -> Self:
        """The document of the edited bytes, read by the same rules."""

    @abstractmethod
    def _replace_edits(self, at: Pointer, value: Value) -> list[Edit]:
        """Edits that put `value` where the present one stands."""

    @abstractmethod
    def _add_edits(self, at: Pointer, value: Value) -> list[Edit]:
        """Edits that put a new key at the end of its mapping."""

    @abstractmethod
    def _insert_edits(self, at: Pointer, value: Value) -> list[Edit]:
        """Edits that put a new item before the one at `at`, or at the end of its list."""

    @abstractmethod
    def _delete_edits(self, at: Pointer) -> list[Edit]:
        """Edits that take the entry at `at` out."""


def same(one: Value, other: Value) -> bool:
    """Whether two values are the same, also in type: 1, 1.0 and true differ, and so do the orders of lists."""
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return type(one) is type(other) and canonical_json(one) == canonical_json(other)
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def unwritable(what: str, broken: str, fix: str) -> HeadwaterError:
    """The error for a value a format cannot hold."""
    return HeadwaterError(what, rule=broken, fix=fix)


def number_text(value: bool | int | float) -> str:
    """A truth value or a number as JSON, TOML and YAML all spell it. Raises HeadwaterError for what their readers refuse: whole
    numbers past 64 bits, NaN and infinities."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise unwritable(f"{value} does not fit into 64 bits", NUMBER_RANGE.id, "write it as text")
    elif value - value != 0.0:
        raise unwritable(f"{value} is not a finite number", NUMBER_FINITE.id, "write it as text")
    return str(value)


def quoted_text(value: str) -> str:
    """Text in double quotes with the escapes of JSON. Raises HeadwaterError (rule `text-lone-surrogate`)."""
    if has_lone_surrogate(value):
        raise unwritable("half of a character cannot be written", SURROGATE.id, "write the whole character")
    return json.dumps(value, ensure_ascii=False)


def _with(root: Value, at: Pointer, value: Value) -> Value:
    if not at:
        return value
    first, rest = at[0], at[1:]
    if isinstance(root, dict):
        assert isinstance(first, str)
        return {**root, first: _with(root.get(first), rest, value)}
    assert isinstance(root, list)
    assert isinstance(first, int)
    return [_with(item, rest, value) if index == first else item for index, item in enumerate(root)]


def _without(root: Value, at: Pointer) -> Value:
    first, rest = at[0], at[1:]
    if isinstance(root, dict):
        assert isinstance(first, str)
        if not rest:
            return {key: item for key, item in root.items() if key != first}
        return {**root, first: _without(root[first], rest)}
    assert isinstance(root, list)
    if not rest:
        return [item for index, item in enumerate(root) if index != first]
    return [_without(item, rest) if index == first else item for index, item in enumerate(root)]

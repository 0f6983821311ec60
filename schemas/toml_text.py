"""TOML as Headwater reads it: version 1.0 with positions; dates and times become text in their canonical spelling.

Refused beyond the grammar: NaN and infinities, whole numbers past 64 bits, more than 64 levels. The values come from the
standard library's tomllib; it gives no positions, recurses with the nesting and places some errors at the end of the file,
so a scanner of our own walks the text first: it finds every key and value, the depth, and both lines of a duplicate.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import NoReturn

from schemas.document import Document, Pointer, Span, Value
from schemas.edit import Edit
from schemas.errors import InvalidText
from schemas.findings import Severity, found, rule
from schemas.text import DUPLICATE_KEY, MIB, NUMBER_FINITE, NUMBER_RANGE, TOO_DEEP, TOO_MANY, Limits, TextFile, decode, shown
from schemas.toml_write import write

__all__ = ["Scanner", "TomlDocument", "read", "write"]

SYNTAX = rule("toml-syntax", Severity.ERROR, "TOML follows the grammar of TOML 1.0.")

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_INDENT = re.compile(r"[ \t]*+")
_LINE_END = re.compile(r"[ \t]*+(?:#[^\n]*+)?(?:\r?\n|\Z)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]++")
_BASIC = re.compile(r'"(?:[^"\\\n]++|\\[^\n])*+"')
_LITERAL = re.compile(r"'[^'\n]*+'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]++|\\[\s\S]|"{1,2}(?!"))*+"{3,5}')
_LONG_LITERAL = re.compile(r"'''(?:[^']++|'{1,2}(?!'))*+'{3,5}")
_WORD = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9][0-9:.]*(?:[Zz]|[+-][0-9:]+)?)?|[A-Za-z0-9_+.:-]++")
_DIGITS = re.compile(r"[-+]?(?:0[xob])?[0-9A-Fa-f_]++\Z")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read(data: bytes, path: str, *, limits: Limits = Limits()) -> TomlDocument:  # noqa: B008 - frozen
    """Read one TOML document; `path` is used in findings. An empty file is an empty table.

    Raises InvalidText with one finding, at line and column, of a `text-…`, `number-…` or `toml-…` rule.
    """
    import tomllib

    file = decode(data, path, limit=limits.size, empty=True)
    scanner = Scanner(file, limits)
    scanner.scan()
    try:
        raw = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(file, str(error), scanner.at) from None
    except (RecursionError, ValueError, OverflowError) as error:
        file.fail(SYNTAX, scanner.at, f"not TOML: {error}", fix="correct the value here")
    scanner.spans.setdefault((), Span(0, len(file.text)))
    value = _plain(raw, TomlDocument(file, None, scanner.spans, scanner=scanner))
    return TomlDocument(file, value, scanner.spans, scanner=scanner)


@dataclass(frozen=True)
class TomlDocument(Document):
    """A TOML file. Edits keep comments, the order of tables, and dotted or inline spellings."""

    scanner: Scanner = field(kw_only=True, repr=False)

    def _reread(self, data: bytes) -> TomlDocument:
        return read(data, self.path, limits=Limits(size=max(MIB, 2 * len(data))))

    def _replace_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import toml_edit

        return toml_edit.replace(self, at, value)

    def _add_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import toml_edit

        return toml_edit.add(self, at, value)

    def _insert_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import toml_edit

        return toml_edit.insert(self, at, value)

    def _delete_edits(self, at: Pointer) -> list[Edit]:
        from schemas import toml_edit

        return toml_edit.delete(self, at)


class Scanner:
    """Finds the keys and values of a TOML text without understanding scalars; stops where the text is not TOML.

    `spans` holds every key and value, `bodies` per table the offset behind its last line (where a key can be added), `at`
    where the scan stopped. Raises InvalidText for duplicates, depth and the number of values.
    """

    def __init__(self, file: TextFile, limits: Limits) -> None:
        self.file = file
        self.text = file.text
        self.limits = limits
        self.spans: dict[Pointer, Span] = {}
        self.bodies: dict[Pointer, int] = {(): 0}
        self.headers: dict[Pointer, tuple[int, int]] = {}
        self.at = 0
        self._arrays: dict[Pointer, int] = {}
        self._kinds: dict[Pointer, str] = {}

    def scan(self) -> None:
        """Walk the whole text, or up to the first thing that is not TOML."""
        table: Pointer = ()
        while True:
            self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches the empty text
            if self.at >= len(self.text):
                return
            opened = self._header() if self.text[self.at] == "[" else self._pair(table)
            if opened is None:
                return
            end = _LINE_END.match(self.text, self.at)
            if end is None:
                return
            table = opened
            self.at = end.end()
            self.bodies[table] = self.at

    def _header(self) -> Pointer | None:
        start = self.at
        double = self.text.startswith("[[", start)
        self.at += 2 if double else 1
        keys = self._dotted()
        close = "]]" if double else "]"
        if keys is None or not self.text.startswith(close, self.at):
            return None
        pointer = self._resolve(keys[:-1])
        name, key_start, key_end = keys[-1]
        pointer = (*pointer, name)
        kind = self._kinds.get(pointer)
        self.at += len(close)
        if double:
            if kind not in (None, "array"):
                self._duplicate(pointer, name, key_start)
            index = self._arrays.get(pointer, -1) + 1
            self._arrays[pointer] = index
            self._kinds[pointer] = "array"
            self.spans.setdefault(pointer, Span(start, self.at, key_start, key_end, "tables"))
            pointer = (*pointer, index)
            self.spans[pointer] = Span(start, self.at, key_start, key_end, "header")
        else:
            if kind not in (None, "implied"):
                self._duplicate(pointer, name, key_start)
            self.spans[pointer] = Span(start, self.at, key_start, key_end, "header")
        self._kinds[pointer] = "table"
        self.headers[pointer] = (start, self.at)
        self._check_count()
        return pointer

    def _resolve(self, keys: list[tuple[str, int, int]]) -> Pointer:
        """The pointer of the table the keys of a header lead to, through the last item of arrays of tables."""
        pointer: Pointer = ()
        for name, start, end in keys:
            pointer = (*pointer, name)
            self._kinds.setdefault(pointer, "implied")
            self.spans.setdefault(pointer, Span(start, end, start, end, "implied"))
            if pointer in self._arrays:
                pointer = (*pointer, self._arrays[pointer])
        return pointer

    def _pair(self, base: Pointer) -> Pointer | None:
        if (found_key := self._key(base)) is None:
            return None
        return base if self._value(found_key) else None

    def _key(self, base: Pointer) -> tuple[Pointer, int, int] | None:
        """Read `a.b =`; returns the pointer and the offsets of the last part of the key."""
        keys = self._dotted()
        if keys is None or not self.text.startswith("=", self.at):
            return None
        self.at = _INDENT.match(self.text, self.at + 1).end()  # type: ignore[union-attr]  # matches the empty text
        pointer = base
        for name, start, end in keys[:-1]:
            pointer = (*pointer, name)
            self._kinds.setdefault(pointer, "dotted")
            self.spans.setdefault(pointer, Span(start, end, start, end, "dotted"))
        name, start, end = keys[-1]
        pointer = (*pointer, name)
        if pointer in self._kinds:
            self._duplicate(pointer, name, start)
        self._kinds[pointer] = "value"
        return pointer, keys[0][1], end

    def _dotted(self) -> list[tuple[str, int, int]] | None:
        keys: list[tuple[str, int, int]] = []
        while True:
            self.at = _INDENT.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches the empty text
            match = _BARE_KEY.match(self.text, self.at) or _BASIC.match(self.text, self.at) or _LITERAL.match(self.text, self.at)
            if match is None:
                return None
            keys.append((self._key_text(match[0]), match.start(), match.end()))
            if len(keys) > self.limits.depth:
                self._fail_depth(match.start())
            self.at = _INDENT.match(self.text, match.end()).end()  # type: ignore[union-attr]  # matches the empty text
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _key_text(self, raw: str) -> str:
        if raw[0] == "'":
            return raw[1:-1]
        if raw[0] != '"':
            return raw
        if "\\" not in raw:
            return raw[1:-1]
        import tomllib

        try:
            return str(tomllib.loads(f"key = {raw}")["key"])
        except tomllib.TOMLDecodeError:
            return raw

    def _value(self, target: tuple[Pointer, int, int]) -> bool:
        """Read the value at `at`, nested arrays and inline tables with an explicit stack; False where it is not TOML."""
        stack: list[_Open] = []
        pointer, key_start, key_end = target
        while True:
            start = self.at
            mark = self.text[start : start + 1]
            if mark in ("[", "{") and mark:
                if len(pointer) >= self.limits.depth:
                    self._fail_depth(start)
                top = _Open(pointer, key_start, key_end, start, mark == "{")
                stack.append(top)
                self.at += 1
                if not self._closes(top):
                    following = self._item(top)
                    if following is None:
                        return self._stop(stack)
                    pointer, key_start, key_end = following
                    continue
            else:
                end = self._scalar_end()
                if end is None:
                    return self._stop(stack)
                self.at = end
                self._note(pointer, Span(start, end, key_start, key_end, mark))
            following = self._after(stack)
            if following is None:
                return not stack or self._stop(stack)
            pointer, key_start, key_end = following

    def _stop(self, stack: list[_Open]) -> bool:
        """The text is not TOML from here on; at its end, what matters is where the open bracket stands."""
        if stack and self.at >= len(self.text):
            self.at = stack[-1].start
        return False

    def _after(self, stack: list[_Open]) -> tuple[Pointer, int, int] | None:
        """What follows a finished value: the next item's place, or None at the end of the outermost value or an error."""
        while stack:
            top = stack[-1]
            if top.closed:
                stack.pop()
                style = "inline" if top.inline else "["
                self._note(top.pointer, Span(top.start, self.at, top.key_start, top.key_end, style))
                continue
            top.count += 1
            self._space(top)
            if self.text.startswith(",", self.at):
                self.at += 1
                if not top.inline and self._closes(top):
                    continue
                return self._item(top)
            if not self._closes(top):
                return None
        return None

    def _closes(self, top: _Open) -> bool:
        self._space(top)
        if self.text.startswith("}" if top.inline else "]", self.at):
            self.at += 1
            top.closed = True
        return top.closed

    def _item(self, top: _Open) -> tuple[Pointer, int, int] | None:
        self._space(top)
        if top.inline:
            return self._key(top.pointer)
        return (*top.pointer, top.count), -1, -1

    def _space(self, top: _Open) -> None:
        pattern = _INDENT if top.inline else _BLANK
        self.at = pattern.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches the empty text

    def _scalar_end(self) -> int | None:
        patterns = [_LONG_BASIC, _LONG_LITERAL, _BASIC, _LITERAL, _WORD]
        if self.text.startswith('"""', self.at):
            patterns = [_LONG_BASIC]
        elif self.text.startswith("'''", self.at):
            patterns = [_LONG_LITERAL]
        for pattern in patterns:
            if match := pattern.match(self.text, self.at):
                if pattern is _WORD and len(match[0]) > 200 and _DIGITS.match(match[0]):
                    self.file.fail(NUMBER_RANGE, self.at, "the number does not fit into 64 bits", fix="write it as text")
                return match.end()
        return None

    def _note(self, pointer: Pointer, span: Span) -> None:
        self.spans[pointer] = span
        self._check_count()

    def _check_count(self) -> None:
        if len(self.spans) > self.limits.values:
            message = f"more than {self.limits.values:,} keys and values in one file"
            self.file.fail(TOO_MANY, self.at, message, fix="move bulk data into CSV files or split the file")

    def _fail_depth(self, at: int) -> NoReturn:
        self.file.fail(TOO_DEEP, at, f"more than {self.limits.depth} levels of nesting", fix="flatten the structure")

    def _duplicate(self, pointer: Pointer, name: str, at: int) -> NoReturn:
        line, column = self.file.position(at)
        earlier = self.spans.get(pointer)
        if earlier is None:
            below = [span for known, span in self.spans.items() if known[: len(pointer)] == pointer]
            earlier = below[0] if below else Span(at, at)
        first = self.file.position(earlier.key_start if earlier.key_start >= 0 else earlier.start)[0]
        message = f"{shown(name)} is on line {first} and again on line {line}"
        fix = "remove or rename one of the two"
        raise InvalidText([found(DUPLICATE_KEY, self.file.path, message, line=line, column=column, fix=fix, value=name)])


class _Open:
    """An array or inline table that is not closed yet."""

    __slots__ = ("closed", "count", "inline", "key_end", "key_start", "pointer", "start")

    def __init__(self, pointer: Pointer, key_start: int, key_end: int, start: int, inline: bool) -> None:
        self.pointer = pointer
        self.key_start = key_start
        self.key_end = key_end
        self.start = start
        self.inline = inline
        self.count = 0
        self.closed = False


def _plain(raw: object, document: Document) -> Value:
    """tomllib's value with dates as text; raises InvalidText at numbers we do not take."""

    def convert(value: object, pointer: Pointer) -> Value:
        if isinstance(value, dict):
            return {key: convert(item, (*pointer, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [convert(item, (*pointer, index)) for index, item in enumerate(value)]
        if isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                _fail_number(document, pointer, NUMBER_RANGE.id)
            return value
        if isinstance(value, float):
            if value - value != 0.0:
                _fail_number(document, pointer, NUMBER_FINITE.id)
            return value
        assert isinstance(value, datetime.datetime | datetime.date | datetime.time)
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text

    return convert(raw, ())


def _fail_number(document: Document, pointer: Pointer, broken: str) -> NoReturn:
    span = document.span(pointer)
    text = document.text[span.start : span.end]
    if broken == NUMBER_RANGE.id:
        document.file.fail(NUMBER_RANGE, span.start, "the number does not fit into 64 bits", fix="write it as text", value=text)
    document.file.fail(NUMBER_FINITE, span.start, f"{text[:40]} is not a finite number", fix="write it as text", value=text)


def _syntax(file: TextFile, message: str, stopped: int) -> InvalidText:
    """tomllib's error in our shape; where it says `end of document`, the place our scanner stopped at."""
    place = _PLACE.search(message)
    text = message[: place.start()] if place else message
    if place and place[1] and not text.startswith("Unclosed"):
        line, column = int(place[1]), int(place[2])
    else:
        line, column = file.position(min(stopped, len(file.text)))
    finding = found(SYNTAX, file.path, f"not TOML: {text[:1].lower()}{text[1:]}", line=line, column=column, fix="correct it here")
    return InvalidText([finding])

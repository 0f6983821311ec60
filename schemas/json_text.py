"""JSON as Headwater reads it: RFC 8259, strictly, with positions for every key and value when they are asked for.

Refused beyond the grammar: duplicate keys, NaN and infinities (also by overflow), whole numbers past 64 bits, halves of
surrogate pairs, more than 64 levels. Comments and trailing commas are not JSON.

A file is read by the standard library's C scanner with hooks; only when that objects, or when positions are needed, does the
scanner below walk the text (the standard library takes NaN, forgets duplicates, and recurses). Light: standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from schemas.document import Document, Pointer, Span, Value, unwritable
from schemas.edit import Edit, delete_in_brackets, indent_at, insert_in_brackets
from schemas.errors import InvalidText
from schemas.findings import Severity, found, rule
from schemas.text import (
    DUPLICATE_KEY,
    EMPTY,
    MIB,
    NUMBER_FINITE,
    NUMBER_RANGE,
    SURROGATE,
    TOO_DEEP,
    TOO_MANY,
    Limits,
    TextFile,
    decode,
    has_lone_surrogate,
    shown,
)

SYNTAX = rule("json-syntax", Severity.ERROR, "JSON follows the grammar of RFC 8259.")

LIMITS = Limits(size=16 * MIB, depth=64, values=500_000)
"""Half a million values take 0.3 s to read, and 2 s to find an error in or to give positions of."""

_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]')
_SPACE = re.compile(r"[ \t\n\r]*+")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_STRING_PART = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][-+]?[0-9]++)?(?![\w.+-])")
_WORD = re.compile(r"[-+.\w]++")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LONG_NUMBER = re.compile(r"[0-9]{19}")
_INDENT = re.compile(r"[ \t]*+")
_FIRST_INDENT = re.compile(r"[\[{][ \t]*\r?\n([ \t]+)")
_FIRST_COLON = re.compile(r'"[ \t]*:([ \t\r\n]?)')
_LITERALS: dict[str, Value] = {"true": True, "false": False, "null": None}
_NOT_FINITE = frozenset(["NaN", "Infinity", "-Infinity", "+Infinity", "nan", "inf", "-inf", "-NaN"])


class _Odd(Exception):
    """The C scanner met something the strict one must judge."""


def read(data: bytes, path: str, *, limits: Limits = LIMITS) -> JsonDocument:
    """Read one JSON text; `path` is used in findings.

    Raises InvalidText with one finding, at line and column, of a `text-…`, `number-…` or `json-…` rule.
    """
    file = decode(data, path, limit=limits.size, lone_cr=True)
    try:
        value = _fast(file.text, limits)
    except (_Odd, ValueError, RecursionError):
        value, spans = _scan(file, limits)
        return JsonDocument(file, value, spans)
    return JsonDocument(file, value, _LazySpans(lambda: _scan(file, limits)[1]))


def write(value: Value) -> str:
    """The canonical text of `value`: two spaces, keys in their order, text unescaped, LF at the end.

    Raises HeadwaterError for what the reader would refuse: NaN and infinities, whole numbers past 64 bits, halves of
    surrogate pairs.
    """
    return spell(value, "  ") + "\n"


def spell(value: Value, indent: str | None) -> str:
    """`value` as JSON, indented by `indent` per level or on one line. Raises HeadwaterError as `write` does."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise unwritable("a number is not finite", NUMBER_FINITE.id, "write it as text") from None
    if has_lone_surrogate(text):
        raise unwritable("half of a character cannot be written", SURROGATE.id, "write the whole character")
    if _LONG_NUMBER.search(text) and any(not -(1 << 63) <= number < 1 << 63 for number in _integers(value)):
        raise unwritable("a number does not fit into 64 bits", NUMBER_RANGE.id, "write it as text")
    return text


def _integers(value: Value) -> Iterator[int]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _integers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _integers(item)
    elif isinstance(value, int):
        yield value


class JsonDocument(Document):
    """A JSON file. Edits keep its indentation, or its being on one line."""

    def _reread(self, data: bytes) -> JsonDocument:
        return read(data, self.path, limits=Limits(max(LIMITS.size, len(data)), LIMITS.depth, LIMITS.values))

    def _replace_edits(self, at: Pointer, value: Value) -> list[Edit]:
        span = self.spans[at]
        return [Edit(span.start, span.end, self._spell(value, span.item_start, self._spreads(at)))]

    def _add_edits(self, at: Pointer, value: Value) -> list[Edit]:
        return self._insert(at[:-1], len(self.children(at[:-1])), f"{spell(at[-1], None)}{self._colon()}", value)

    def _insert_edits(self, at: Pointer, value: Value) -> list[Edit]:
        assert isinstance(at[-1], int)
        return self._insert(at[:-1], at[-1], "", value)

    def _delete_edits(self, at: Pointer) -> list[Edit]:
        siblings = self.children(at[:-1])
        span = self.spans[at[:-1]]
        return delete_in_brackets((span.start, span.end), self._items(siblings), siblings.index(at))

    def _insert(self, parent: Pointer, index: int, lead: str, value: Value) -> list[Edit]:
        span, children = self.spans[parent], self.children(parent)
        if not children:
            newline, spread = self.file.line_end, self._spreads(parent)
            outer = self._indent_of_line(span.start)
            inner = outer + self._unit()
            item = lead + self._spell(value, -1, spread, inner)
            whole = f"{newline}{inner}{item}{newline}{outer}" if spread else item
            return [Edit(span.start + 1, span.end - 1, whole)]
        start = self.spans[children[0]].item_start
        spread = indent_at(self.text, start) is not None
        item = lead + self._spell(value, start, spread)
        comma = ", " if self._colon() == ": " else ","
        bracket = (span.start, span.end)
        return insert_in_brackets(self.text, bracket, self._items(children), index, item, comma=comma, newline=self.file.line_end)

    def _items(self, pointers: list[Pointer]) -> list[tuple[int, int]]:
        return [(self.spans[at].item_start, self.spans[at].end) for at in pointers]

    def _spell(self, value: Value, near: int, spread: bool, indent: str | None = None) -> str:
        """`value` over several lines, indented as the line `near` lies on, or on one."""
        if not spread:
            text = spell(value, None)
            return text if self._colon() == ": " else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        base = self._indent_of_line(near) if indent is None else indent
        return spell(value, self._unit()).replace("\n", self.file.line_end + base)

    def _spreads(self, at: Pointer) -> bool:
        """Whether parts of the value at `at` get lines of their own: as its siblings do, else as the root does."""
        span = self.spans[at]
        if at and indent_at(self.text, span.item_start) is not None:
            return True
        return "\n" in self.text[self.spans[()].start : self.spans[()].end] and (
            not at or "\n" in self.text[span.start : span.end]
        )

    def _indent_of_line(self, offset: int) -> str:
        start = self.text.rfind("\n", 0, max(offset, 0)) + 1
        return self.text[start : _INDENT.match(self.text, start).end()]  # type: ignore[union-attr]  # matches the empty text

    def _unit(self) -> str:
        match = _FIRST_INDENT.search(self.text)
        return match[1] if match else "  "

    def _colon(self) -> str:
        match = _FIRST_COLON.search(self.text)
        return ":" if match and not match[1] else ": "


def _fast(text: str, limits: Limits) -> Value:
    if text.count("[") + text.count("{") > limits.depth:
        depth = 0
        for match in _BRACKET.finditer(text):
            token = match[0]
            if token in "[{":
                depth += 1
                if depth > limits.depth:
                    raise _Odd
            elif token in "]}":
                depth -= 1
    if text.count(",") > limits.values or _HALF.search(text):
        raise _Odd
    return json.loads(  # type: ignore[no-any-return]  # whatever it is, it is a Value
        text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
    )


def _pairs(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Odd
    return made


def _integer(text: str) -> int:
    if len(text) > 18 and not (len(text) < 21 and -(1 << 63) <= int(text) < 1 << 63):
        raise _Odd
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise _Odd
    return value


def _constant(_text: str) -> NoReturn:
    raise _Odd


class _LazySpans(Mapping[Pointer, Span]):
    """Spans computed by the first look at one of them."""

    def __init__(self, make: Callable[[], dict[Pointer, Span]]) -> None:
        self._make = make
        self._made: dict[Pointer, Span] | None = None

    def _spans(self) -> dict[Pointer, Span]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, pointer: Pointer) -> Span:
        return self._spans()[pointer]

    def __iter__(self) -> Iterator[Pointer]:
        return iter(self._spans())

    def __len__(self) -> int:
        return len(self._spans())


class _Open:
    """An object or array that is not closed yet."""

    __slots__ = ("items", "key", "key_end", "key_start", "list", "pointer", "start")

    def __init__(self, start: int, pointer: Pointer, mapping: bool) -> None:
        self.start = start
        self.pointer = pointer
        self.items: dict[str, Value] | None = {} if mapping else None
        self.list: list[Value] = []
        self.key = ""
        self.key_start = self.key_end = -1

    def child(self) -> Pointer:
        return (*self.pointer, self.key if self.items is not None else len(self.list))


def _scan(file: TextFile, limits: Limits) -> tuple[Value, dict[Pointer, Span]]:
    """Value and spans, token by token with an explicit stack; the one place that words JSON errors."""
    text = file.text
    spans: dict[Pointer, Span] = {}
    stack: list[_Open] = []
    at = _skip(text, 0)
    if at == len(text):
        file.fail(EMPTY, 0, "the file holds no value", fix="write its content, or delete the file")
    while True:
        # A value begins at `at`.
        if len(spans) >= limits.values:
            file.fail(TOO_MANY, at, f"more than {limits.values:,} values in one file", fix="split the file")
        if text[at : at + 1] in ("{", "["):
            if len(stack) >= limits.depth:
                file.fail(TOO_DEEP, at, f"more than {limits.depth} levels of nesting", fix="flatten the structure")
            top = _Open(at, stack[-1].child() if stack else (), text[at] == "{")
            closed = text.startswith("}" if top.items is not None else "]", after := _skip(text, at + 1))
            if not closed:
                stack.append(top)
                at = _key(file, top, after, spans) if top.items is not None else after
                continue
            value: Value = top.items if top.items is not None else top.list
            start, at = at, after + 1
        else:
            start = at
            value, at = _scalar(file, at)
        # A value ends at `at`: put it where it belongs and close what closes.
        while True:
            if not stack:
                spans[()] = Span(start, at)
                rest = _skip(text, at)
                if rest < len(text):
                    file.fail(SYNTAX, rest, "text follows the end of the JSON value", fix="remove it; one file holds one value")
                return value, spans
            top = stack[-1]
            _place(top, value, Span(start, at, top.key_start, top.key_end), spans)
            after = _skip(text, at)
            mark = text[after : after + 1]
            close = "}" if top.items is not None else "]"
            if mark == ",":
                following = _skip(text, after + 1)
                if text.startswith(close, following):
                    file.fail(SYNTAX, after, f"a comma stands before '{close}'", fix="remove the comma")
                at = _key(file, top, following, spans) if top.items is not None else following
                break
            if mark != close:
                what = repr(mark) if mark else "the end of the file"
                file.fail(SYNTAX, after, f"expected ',' or '{close}', found {what}", fix=f"add the missing ',' or '{close}'")
            stack.pop()
            value = top.items if top.items is not None else top.list
            start, at = top.start, after + 1


def _place(top: _Open, value: Value, span: Span, spans: dict[Pointer, Span]) -> None:
    spans[top.child()] = span
    if top.items is not None:
        top.items[top.key] = value
    else:
        top.list.append(value)


def _key(file: TextFile, top: _Open, at: int, spans: dict[Pointer, Span]) -> int:
    """Read `"key" :` at `at`; returns where the value begins."""
    text = file.text
    if not text.startswith('"', at):
        what = "the end of the file" if at == len(text) else repr(text[at])
        file.fail(SYNTAX, at, f"expected a key in double quotes, found {what}", fix="put the key in double quotes")
    key, end = _string(file, at)
    assert top.items is not None
    if key in top.items:
        first = file.position(spans[(*top.pointer, key)].key_start)[0]
        line, column = file.position(at)
        message = f"the key {shown(key)} is on line {first} and again on line {line}"
        fix = "remove or rename one of the two"
        raise InvalidText([found(DUPLICATE_KEY, file.path, message, line=line, column=column, fix=fix, value=key)])
    top.key, top.key_start, top.key_end = key, at, end
    colon = _skip(text, end)
    if not text.startswith(":", colon):
        file.fail(SYNTAX, colon, f"expected ':' after the key {shown(key)}", fix="write ':' and a value")
    return _skip(text, colon + 1)


def _scalar(file: TextFile, at: int) -> tuple[Value, int]:
    text = file.text
    if text.startswith('"', at):
        return _string(file, at)
    if number := _NUMBER.match(text, at):
        return _number(file, number), number.end()
    word = _WORD.match(text, at)
    if word is None:
        what = "the end of the file" if at >= len(text) else repr(text[at])
        fix = "use double quotes" if text.startswith("'", at) else "JSON has no comments" if text.startswith("/", at) else None
        file.fail(SYNTAX, at, f"expected a value, found {what}", fix=fix or "write a value")
    if word[0] not in _LITERALS:
        _fail_word(file, at, word[0])
    return _LITERALS[word[0]], word.end()


def _fail_word(file: TextFile, at: int, word: str) -> NoReturn:
    if word in _NOT_FINITE:
        file.fail(NUMBER_FINITE, at, f"{word} is not a finite number", fix="write null or a number", value=word)
    if word[0] in "+-." or word[0].isdigit():
        fix = "write the number as JSON does: no leading zero, '+' or '.', digits on both sides of the '.'"
        file.fail(SYNTAX, at, f"{word[:60]} is not a number in JSON", fix=fix, value=word)
    fix = "put text in double quotes; the words are true, false and null"
    file.fail(SYNTAX, at, f"{word[:60]} is not a value in JSON", fix=fix, value=word)


def _number(file: TextFile, match: re.Match[str]) -> int | float:
    text = match[0]
    if match[1] is None and match[2] is None:
        number = int(text) if len(text) <= 20 else 1 << 64
        if not -(1 << 63) <= number < 1 << 63:
            file.fail(NUMBER_RANGE, match.start(), "the number does not fit into 64 bits", fix="write it as text", value=text)
        return number
    value = float(text)
    if value - value != 0.0:
        file.fail(NUMBER_FINITE, match.start(), "the number is too large", fix="write it as text", value=text)
    return value


def _string(file: TextFile, at: int) -> tuple[str, int]:
    match = _STRING.match(file.text, at)
    if match is None:
        _fail_string(file, at)
    raw = match[0]
    if "\\" not in raw:
        return raw[1:-1], match.end()
    value: str = json.loads(raw)
    if has_lone_surrogate(value):
        half = _HALF.search(raw)
        file.fail(
            SURROGATE,
            at + (half.start() if half else 0),
            "an escape stands for half of a character",
            fix="write both halves or the character itself",
        )
    return value, match.end()


def _fail_string(file: TextFile, at: int) -> NoReturn:
    text = file.text
    part = _STRING_PART.match(text, at)
    stop = part.end() if part else at + 1
    if stop >= len(text):
        file.fail(SYNTAX, at, "the text that opens here is never closed", fix='close it with "')
    if text[stop] == "\\":
        file.fail(SYNTAX, stop, f"{text[stop : stop + 2]} is not an escape in JSON", fix="double the backslash")
    if text[stop] == "\n" or text[stop] == "\r":
        file.fail(SYNTAX, at, "the text that opens here is not closed on its line", fix='close it with ", or write \\n')
    message = f"the character U+{ord(text[stop]):04X} stands unescaped in text"
    file.fail(SYNTAX, stop, message, fix=f"write \\u{ord(text[stop]):04x}")


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches the empty text

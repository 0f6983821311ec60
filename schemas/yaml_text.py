"""YAML as Headwater reads it: the 1.2 core schema, block or flow, without what makes YAML dangerous or surprising.

Refused: anchors, aliases, tags, merge keys, directives, several documents, keys that are not text (or that YAML 1.1 would not
read as text), duplicate keys, more than 64 levels. Dates stay text. ruamel.yaml's pure scanner and parser give the events
(libyaml crashes on 25 KB of nesting); scalars are resolved here, because the constructors of every YAML library lose the
positions or apply YAML 1.1. Measured: 23 µs per value and at worst 1.2 µs per character, both linear, so `LIMITS` (which no
caller can widen) is what two seconds of a slow core hold; 1,000 columns of five keys take 0.3 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

from schemas.document import Document, Pointer, Span, Value
from schemas.edit import Edit
from schemas.errors import InvalidText
from schemas.findings import Finding, Severity, found, rule
from schemas.text import (
    DUPLICATE_KEY,
    EMPTY,
    MIB,
    NUMBER_FINITE,
    NUMBER_RANGE,
    SURROGATE,
    TOO_DEEP,
    TOO_LARGE,
    TOO_MANY,
    Limits,
    TextFile,
    decode,
    has_lone_surrogate,
    shown,
)
from schemas.yaml_scalars import BASED, FALSES, FLOAT, INTEGER, NULLS, OLD_BOOLEANS, OLD_NUMBER, SPECIAL, TRUES, reads_as_other
from schemas.yaml_write import write

if TYPE_CHECKING:
    from ruamel.yaml.events import Event

__all__ = ["LIMITS", "YamlDocument", "read", "read_file", "write"]

LIMITS: Final = Limits(size=MIB, values=30_000)
"""What is parsed at all: 30,000 keys and values are some 7,000 columns. More is data, and belongs into CSV files."""

SYNTAX = rule("yaml-syntax", Severity.ERROR, "YAML follows the grammar of YAML 1.2.")
ANCHOR = rule("yaml-anchor", Severity.ERROR, "YAML has no anchors, aliases or merge keys.")
TAG = rule("yaml-tag", Severity.ERROR, "YAML has no tags and no directives.")
DOCUMENTS = rule("yaml-documents", Severity.ERROR, "A YAML file holds one document.")
KEY = rule("yaml-key", Severity.ERROR, "YAML keys are text; what YAML 1.1 reads as something else is quoted.")
AMBIGUOUS = rule("yaml-ambiguous", Severity.WARNING, "Values that YAML 1.1 and 1.2 read differently are quoted.")

_COLON = re.compile(r"[ \t]*:")
_NEXT_DASH = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*-")
_LONG_TAG = re.compile(r"(?:^|(?<=[\s\[{,:-]))!\S{1000}", re.MULTILINE)
_DIRECTIVE = re.compile("^%", re.MULTILINE)
_WORDINGS = (
    (
        "mapping values are not allowed here",
        "not YAML: ': ' stands where no key can be (indentation? quotes?)",
    ),
    (
        "expected <block end>",
        "not YAML: this does not belong to what stands above it (indentation? quotes?)",
    ),
    ("expected '<document start>'", "not YAML: text follows the end of the value"),
    ("'\\t' that cannot start any token", "not YAML: a tab stands where only spaces may"),
    ("could not find expected ':'", "not YAML: the key has no ':'"),
)
_BAD_CHARACTER = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")


def read(data: bytes, path: str, *, limits: Limits = LIMITS) -> YamlDocument:
    """Read one YAML document; `path` is used in findings.

    Returns a document whose strings, keys and numbers have positions; `warnings` lists `yaml-ambiguous` values.

    Raises InvalidText with one finding, at line and column, of a `text-…`, `number-…` or `yaml-…` rule.
    """
    file = decode(data, path, limit=limits.size)
    return read_file(file, limits=limits)


def read_file(file: TextFile, *, limits: Limits = LIMITS) -> YamlDocument:
    """`read` for a file that is decoded already (frontmatter). Raises InvalidText as `read` does."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(file.text) > LIMITS.size:
        message = f"the YAML has {len(file.text):,} characters; at most {LIMITS.size:,} are read"
        file.fail(TOO_LARGE, 0, message, fix="move bulk data into CSV files or split the file")
    if bad := _BAD_CHARACTER.search(file.text):
        file.fail(SYNTAX, bad.start(), f"the character U+{ord(bad[0]):04X} is not allowed in YAML", fix="remove it")
    if tag := _LONG_TAG.search(file.text):
        # ruamel takes quadratic time for these, also where they would turn out to be part of a quoted text.
        file.fail(TAG, tag.start(), "more than 1,000 characters without a space follow a '!'", fix="remove the tag")
    builder = _Builder(file, limits)
    try:
        return builder.document()
    except MarkedYAMLError as error:
        raise _syntax(file, error) from None
    except YAMLError as error:
        file.fail(SYNTAX, 0, f"not YAML: {str(error).splitlines()[0]}", fix="correct the syntax")
    except (ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, TypeError):
        # ruamel trips over some malformed input with errors of its own making (chr() of a huge escape, for example).
        file.fail(
            SYNTAX, builder.offset, "not YAML: the text behind this place cannot be read", fix="correct the escapes and numbers"
        )


class YamlDocument(Document):
    """A YAML file. Edits keep the style of what they replace: quotes, blocks, brackets, indentation."""

    def _reread(self, data: bytes) -> YamlDocument:
        return read(data, self.path, limits=Limits(size=max(MIB, 2 * len(data))))

    def _replace_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import yaml_edit

        return yaml_edit.replace(self, at, value)

    def _add_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import yaml_edit

        return yaml_edit.add(self, at, value)

    def _insert_edits(self, at: Pointer, value: Value) -> list[Edit]:
        from schemas import yaml_edit

        return yaml_edit.insert(self, at, value)

    def _delete_edits(self, at: Pointer) -> list[Edit]:
        from schemas import yaml_edit

        return yaml_edit.delete(self, at)


class _Builder:
    """Values and spans from ruamel's events, with an explicit stack so that nesting never meets the recursion limit."""

    def __init__(self, file: TextFile, limits: Limits) -> None:
        self.file = file
        self.limits = limits
        self.most = min(limits.values, LIMITS.values)
        self.spans: dict[Pointer, Span] = {}
        self.warnings: list[Finding] = []
        self.offset = 0
        self._count = 0
        self._documents = 0

    def document(self) -> YamlDocument:
        from ruamel.yaml import events as kinds

        stack: list[_Open] = []
        root: Value = None
        for event in self._events():
            kind = type(event)
            self.offset = event.start_mark.index
            if kind is kinds.ScalarEvent:
                self._count_value(event)
                self._refuse_extras(event)
                top = stack[-1] if stack else None
                if top is not None and top.mapping and top.key is None:
                    self._key(top, event)
                    continue
                value = self._scalar(event)
                start, end = event.start_mark.index, event.end_mark.index
                if start == end and top is not None:
                    start = end = self._empty_at(top, start)
                span = (start, end, event.style or "plain")
            elif kind is kinds.MappingStartEvent or kind is kinds.SequenceStartEvent:
                self._open(stack, event, mapping=kind is kinds.MappingStartEvent)
                continue
            elif kind is kinds.MappingEndEvent or kind is kinds.SequenceEndEvent:
                closed = stack.pop()
                value = closed.items if closed.mapping else closed.list
                end = event.end_mark.index if closed.flow else closed.last_end
                span = (closed.start, end, "flow" if closed.flow else "block")
            elif kind is kinds.AliasEvent:
                self._fail_anchor(event, f"the alias *{str(event.anchor)[:60]} is used")
            elif kind is kinds.DocumentStartEvent:
                self._begin(event)
                continue
            else:
                continue
            if stack:
                self._place(stack[-1], value, *span)
            else:
                root = value
                self.spans[()] = Span(span[0], span[1], style=span[2])
        if () not in self.spans or (root is None and not self.file.text[slice(*self._root())].strip()):
            self.file.fail(EMPTY, 0, "the file holds no value", fix="write its content, or delete the file")
        return YamlDocument(self.file, root, self.spans, self.warnings)

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if event.version is not None or event.tags:
            line = _DIRECTIVE.search(self.file.text)
            at = line.start() if line else self.offset
            self.file.fail(TAG, at, "directives are not allowed", fix="remove the line that begins with %")
        if self._documents > 1:
            self.file.fail(DOCUMENTS, self.offset, "a second document begins here", fix="keep one document per file")

    def _open(self, stack: list[_Open], event: Any, *, mapping: bool) -> None:
        self._count_value(event)
        self._refuse_extras(event)
        if stack and stack[-1].mapping and stack[-1].key is None:
            self._fail_key(event, "a list or mapping is used as a key")
        if len(stack) >= self.limits.depth:
            self.file.fail(TOO_DEEP, self.offset, f"more than {self.limits.depth} levels of nesting", fix="flatten the structure")
        opened = _Open(mapping, self.offset, bool(event.flow_style))
        if stack:
            opened.pointer = stack[-1].child()
        stack.append(opened)

    def _root(self) -> tuple[int, int]:
        return self.spans[()].start, self.spans[()].end

    def _events(self) -> Iterator[Any]:
        from ruamel.yaml import YAML

        return iter(YAML(typ="safe", pure=True).parse(self.file.text))

    def _count_value(self, event: Event) -> None:
        self._count += 1
        if self._count > self.most:
            self.file.fail(
                TOO_MANY,
                event.start_mark.index,
                f"more than {self.most:,} keys and values in one file",
                fix="move bulk data into CSV files or split the file",
            )

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            self._fail_anchor(event, f"the anchor &{str(event.anchor)[:60]} is set")
        if event.ctag is not None:
            self.file.fail(
                TAG,
                event.start_mark.index,
                f"the tag {str(event.tag).replace('tag:yaml.org,2002:', '!!')[:60]} is used",
                fix="remove the tag",
            )

    def _fail_anchor(self, event: Event, what: str) -> NoReturn:
        self.file.fail(ANCHOR, event.start_mark.index, what, fix="write the value out in each place")

    def _key(self, top: _Open, event: Any) -> None:
        key: str = event.value
        start, end = event.start_mark.index, event.end_mark.index
        if event.style is None:
            if key == "<<":
                self.file.fail(ANCHOR, start, "the merge key << is used", fix="write the merged keys out")
            if reads_as_other(key):
                self._fail_key(event, f"the key {shown(key)} is not read as text by every YAML version")
        if has_lone_surrogate(key):
            key = self._join_surrogates(key, start)
        if key in top.items:
            first = self.file.position(self.spans[(*top.pointer, key)].key_start)[0]
            line, column = self.file.position(start)
            raise InvalidText(
                [
                    found(
                        DUPLICATE_KEY,
                        self.file.path,
                        f"the key {shown(key)} is on line {first} and again on line {line}",
                        line=line,
                        column=column,
                        fix="remove or rename one of the two",
                        value=key,
                    )
                ]
            )
        top.key, top.key_start, top.key_end = key, start, end

    def _empty_at(self, top: _Open, mark: int) -> int:
        """Where a missing value would stand: ruamel marks it at the next token, which may be lines and comments away."""
        if top.mapping:
            match = _COLON.match(self.file.text, top.key_end)
        else:
            match = _NEXT_DASH.match(self.file.text, top.last_end)
        return match.end() if match is not None and match.end() <= mark else mark

    def _fail_key(self, event: Any, message: str) -> NoReturn:
        start = event.start_mark.index
        text = self.file.text[start : event.end_mark.index]
        line, column = self.file.position(start)
        scalar = isinstance(getattr(event, "value", None), str)
        quoted = f'"{text}"' if scalar else None
        fix = f"quote it: {quoted}" if scalar else "use text as the key"
        raise InvalidText(
            [found(KEY, self.file.path, message, line=line, column=column, fix=fix, value=text, replacement=quoted)]
        )

    def _place(self, top: _Open, value: Value, start: int, end: int, style: str) -> None:
        pointer = top.child()
        if top.mapping:
            assert top.key is not None
            top.items[top.key] = value
            self.spans[pointer] = Span(start, end, top.key_start, top.key_end, style)
            top.last_end = max(end, min(top.key_end + 1, len(self.file.text)))
            top.key = None
        else:
            top.list.append(value)
            self.spans[pointer] = Span(start, end, style=style)
            top.last_end = max(end, top.last_end)

    def _scalar(self, event: Any) -> Value:
        text: str = event.value
        if event.style is not None:
            return self._join_surrogates(text, event.start_mark.index) if has_lone_surrogate(text) else text
        return self._plain(text, event.start_mark.index)

    def _plain(self, text: str, start: int) -> Value:
        """The YAML 1.2 core schema, section 10.3.2 of the specification."""
        if text in NULLS:
            return None
        if text in TRUES:
            return True
        if text in FALSES:
            return False
        first = text[0]
        if first.isascii() and (first.isdigit() or first in "+-."):
            return self._number(text, start)
        if text in OLD_BOOLEANS:
            self._warn(text, start, "a truth value in YAML 1.1")
        return text

    def _number(self, text: str, start: int) -> Value:
        if INTEGER.match(text) or BASED.match(text):
            digits = text.lstrip("+-0xo")
            number = int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(digits) <= 64 else 1 << 64
            if not -(1 << 63) <= number < 1 << 63:
                self.file.fail(
                    NUMBER_RANGE, start, "the number does not fit into 64 bits", fix="quote it, if it is text", value=text
                )
            if text.lstrip("+-").startswith("0") and len(digits) and text.lstrip("+-")[1:2].isdigit():
                self._warn(text, start, "an octal number in YAML 1.1")
            return number
        if FLOAT.match(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                self.file.fail(NUMBER_FINITE, start, "the number is too large", fix="quote it, if it is text", value=text)
            return value
        if SPECIAL.match(text):
            self.file.fail(NUMBER_FINITE, start, f"{text} is not a finite number", fix="quote it, if it is text", value=text)
        if OLD_NUMBER.match(text):
            self._warn(text, start, "a number in YAML 1.1")
        return text

    def _warn(self, text: str, start: int, other: str) -> None:
        if len(self.warnings) < 100:
            line, column = self.file.position(start)
            self.warnings.append(
                found(
                    AMBIGUOUS,
                    self.file.path,
                    f"{text} is read as YAML 1.2 reads it; it is {other}",
                    line=line,
                    column=column,
                    fix=f'quote it, if it is text: "{text}"',
                    value=text,
                )
            )

    def _join_surrogates(self, text: str, start: int) -> str:
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self.file.fail(SURROGATE, start, "an escape stands for half of a character", fix="write the whole character")


class _Open:
    """A mapping or list that is not closed yet."""

    __slots__ = ("flow", "items", "key", "key_end", "key_start", "last_end", "list", "mapping", "pointer", "start")

    def __init__(self, mapping: bool, start: int, flow: bool) -> None:
        self.mapping = mapping
        self.start = start
        self.flow = flow
        self.items: dict[str, Value] = {}
        self.list: list[Value] = []
        self.key: str | None = None
        self.key_start = self.key_end = -1
        self.last_end = start
        self.pointer: Pointer = ()

    def child(self) -> Pointer:
        return (*self.pointer, self.key if self.mapping and self.key is not None else len(self.list))


def _syntax(file: TextFile, error: Any) -> InvalidText:
    """ruamel's error in our words where we have some, at the place a person looks for it."""
    mark, opened = error.problem_mark or error.context_mark, error.context_mark
    problem = " ".join(str(error.problem or "the text cannot be parsed").split())
    context = " ".join(str(error.context or "").split())
    offset = min(mark.index, len(file.text)) if mark is not None else 0
    fix = "correct the syntax at or just before this place"
    if opened is not None and mark is not None and not file.text[offset:].strip() and opened.index < offset:
        offset = opened.index
        message = "what opens here is never closed"
        fix = "close the quotes or brackets"
    else:
        message = next((ours for theirs, ours in _WORDINGS if theirs in problem), None) or f"not YAML: {problem}" + (
            f" ({context})" if context else ""
        )
    if "\\t" in problem:
        fix = "write spaces instead of the tab"
    line, column = file.position(offset)
    return InvalidText([found(SYNTAX, file.path, message, line=line, column=column, fix=fix)])

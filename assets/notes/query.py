"""What a person types to search: words, phrases, AND, OR, NOT, fields; read so that no text is ever an error.

    climate model        both words
    climate OR weather   either (also |)
    climate -model       the first without the second (also NOT model)
    "climate model"      the words side by side
    climat*              words that begin so
    ^climate             the title, heading or text begins with it
    title:climate        in the title; also heading:, body:, tags:, tag: (that tag or one below it), path:, type:, id:
    (a OR b) c           groups

Operators are upper-case and stand between terms; anywhere else they are words. AND binds closer than OR. A quotation mark that is
not closed is closed at the end, a parenthesis without its partner is text, and everything else is looked for as it is written
(`c++`, `what's`, `a/b`, `note:x`, `100%`).

Reading, and putting a query before SQLite's FTS5, belong here; running it is `assets.notes.search`. Pure; standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from assets.notes.text_for_search import spaced

TEXT_FIELDS: Final = {
    "title": "title",
    "heading": "headings",
    "headings": "headings",
    "tags": "tags",
    "body": "body",
    "text": "body",
}
"""Fields of the full-text index, by what people may call them."""
OTHER_FIELDS: Final = frozenset({"tag", "path", "type", "id"})
"""Fields that are looked up in the tables."""
MAX_TERMS: Final = 200
"""Terms of a query that count; what is pasted beyond them is left out."""
MAX_DEPTH: Final = 30
"""Groups within groups; parentheses beyond them are text."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<negation>-)(?=[^\s-])
    | (?P<field>[A-Za-z]{2,10}):(?=[^\s:])
    | (?P<start>\^)(?=[^\s^])
    | "(?P<phrase>(?:[^"]|"")*)(?:"(?P<more>\*)?|\Z)
    | (?P<sign>[()|])
    | (?P<word>[^\s"()|]+(?:\([^\s"()|]*\)[^\s"()|]*)*)
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"""[^\s"()|]+(?:\([^\s"()|]*\)[^\s"()|]*)*""")
"""A call such as `f(x)` is one word."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENDINGS: Final = (
    "ing", "ization", "isation", "ation", "ational", "ement", "ness", "able", "ible", "ence", "ance", "ity", "ively", "fully",
    "ously", "edly", "ally",
)  # fmt: skip
"""What English stemming takes off words."""
_SHORTEST_STEM: Final = 3
_MOST_COMPLETIONS: Final = 6
_SYMBOLS: Final = frozenset("#%&@*\\")
"""Punctuation that makes another word of a word (`c#`, `100%`), as symbols (`c++`) do; full-text tokens drop both."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase. `field` is a column of the full-text index, one of OTHER_FIELDS, or None for all columns."""

    text: str
    field: str | None = None
    prefix: bool = False
    first: bool = False
    phrase: bool = False

    @property
    def has_words(self) -> bool:
        """Whether the full-text tokenizer finds anything in it."""
        return any(is_word_sign(sign) for sign in self.text)

    @property
    def literal(self) -> bool:
        """Whether the text must stand there sign by sign, because its tokens alone would say something else."""
        if self.phrase or self.field in OTHER_FIELDS:
            return False
        return not self.has_words or _is_symbolic(self.text) or bool(self._completions)

    @property
    def _completions(self) -> list[str]:
        return _completions(self.text) if self.prefix and not self.first else []

    def fts(self) -> str:
        """As an expression of FTS5."""
        expression = ("^ " if self.first else "") + _quoted(self.text) + (" *" if self.prefix else "")
        if completions := self._completions:
            expression = "(" + " OR ".join([expression, *map(_quoted, completions)]) + ")"
        return f"{{{self.field}}} : {expression}" if self.field else expression


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Node = Term | Not | And | Or


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was read. `root` is None only for blank text."""

    text: str
    root: Node | None

    @property
    def terms(self) -> list[Term]:
        """The terms that a hit has, not those it must not have, in their order."""
        return list(_positive(self.root)) if self.root is not None else []


def _quoted(text: str) -> str:
    return '"' + spaced(text).replace('"', '""') + '"'


def _completions(beginning: str) -> list[str]:
    """Words that begin so, and whose stem is shorter than that: the index holds `test` for `testing`, and nothing in it begins
    with `testin`. They find what the text then confirms."""
    if not beginning.isascii() or not beginning.isalpha():
        return []
    lowered = beginning.lower()
    found: dict[str, None] = {}
    for ending in _ENDINGS:
        for taken in range(1 if ending[0] == "i" else 2, len(ending)):
            if len(lowered) - taken >= _SHORTEST_STEM and lowered.endswith(ending[:taken]):
                found[lowered[:-taken] + ending] = None
    return list(found)[:_MOST_COMPLETIONS]


def is_word_sign(sign: str) -> bool:
    """Whether FTS5's `unicode61` takes a character as part of a word."""
    return sign.isalnum() or unicodedata.category(sign)[0] in "LN" or unicodedata.category(sign) == "Co"


def _is_symbolic(text: str) -> bool:
    return any(_makes_another(sign) for sign in (text[0], text[-1]))


def _makes_another(sign: str) -> bool:
    return sign in _SYMBOLS or unicodedata.category(sign)[0] == "S"


def fts(node: Node) -> str | None:
    """`node` as an expression of FTS5; None when it cannot be said there (a field of the tables, text sign by sign, a NOT with
    nothing to take from)."""
    if isinstance(node, Term):
        return None if node.field in OTHER_FIELDS or node.literal else node.fts()
    if isinstance(node, Not):
        return None
    if isinstance(node, Or):
        arms = [fts(part) for part in node.parts]
        return None if None in arms else "(" + " OR ".join(map(str, arms)) + ")"
    wanted = [fts(part) for part in node.parts if not isinstance(part, Not)]
    unwanted = [fts(part.part) for part in node.parts if isinstance(part, Not)]
    if not wanted or None in wanted or None in unwanted:
        return None
    both = "(" + " AND ".join(map(str, wanted)) + ")"
    return f"({both} NOT ({' OR '.join(map(str, unwanted))}))" if unwanted else both


def _positive(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from _positive(part)


def parse_query(text: str) -> Query:
    """Read what a person typed. Never raises; `root` is None only for text that is blank."""
    clean = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    clean = unicodedata.normalize("NFC", clean)
    if not clean.strip():
        return Query(text, None)
    root = _Reader(clean).read()
    # Nothing but signs that mean something between terms: then they are what is looked for.
    return Query(text, root if root is not None else Term(clean.strip()))


@dataclass(slots=True)
class _Mark:
    """Something between terms: `(`, `)`, `|`, `-`, or an operator in words, with its text as it was written."""

    kind: str
    text: str


class _Reader:
    """A recursive descent over the tokens; operators that have nothing to stand between become words beforehand."""

    def __init__(self, text: str) -> None:
        self._tokens = _settled(list(_tokens(text)))
        self._at = 0

    def read(self) -> Node | None:
        parts = []
        while self._at < len(self._tokens):
            made = self._either(None, 0)
            if made is not None:
                parts.append(made)
            else:
                self._at += 1
        return _and(parts)

    def _peek(self) -> str | None:
        if self._at == len(self._tokens):
            return None
        token = self._tokens[self._at]
        return token.kind if isinstance(token, _Mark) else "term"

    def _either(self, field: str | None, depth: int) -> Node | None:
        arms = [self._all(field, depth)]
        while self._peek() == "or":
            self._at += 1
            arms.append(self._all(field, depth))
        kept = [arm for arm in arms if arm is not None]
        return kept[0] if len(kept) == 1 else Or(tuple(kept)) if kept else None

    def _all(self, field: str | None, depth: int) -> Node | None:
        parts: list[Node] = []
        while True:
            kind = self._peek()
            if kind == "and":
                self._at += 1
                continue
            if kind is None or kind in ("or", ")"):
                return _and(parts)
            made = self._one(field, depth)
            if made is not None:
                parts.append(made)

    def _one(self, field: str | None, depth: int) -> Node | None:
        token = self._tokens[self._at]
        self._at += 1
        if isinstance(token, Term):
            return token if token.field or field is None else _in_field(token, field)
        if token.kind == "not":
            if self._peek() in (None, ")", "or", "and"):
                return None
            part = self._one(field, depth)
            if part is None:
                return None
            return part.part if isinstance(part, Not) else Not(part)
        inner = token.text if token.kind == "field(" else field
        made = self._either(inner, depth + 1)
        if self._peek() == ")":
            self._at += 1
        return made


def _in_field(term: Term, field: str) -> Term:
    return Term(term.text, field, term.prefix, term.first, term.phrase)


def _and(parts: list[Node]) -> Node | None:
    """All of them; punctuation on its own (`a - b`, `a & b`) is dropped beside words."""
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, And) else [part])
    worthy = [part for part in flat if not _is_filler(part)]
    if not any(not isinstance(part, Not) for part in worthy):
        worthy = flat
    return worthy[0] if len(worthy) == 1 else And(tuple(worthy)) if worthy else None


def _is_filler(node: Node) -> bool:
    inner = node.part if isinstance(node, Not) else node
    return isinstance(inner, Term) and not inner.field and not inner.has_words and inner.text.isascii()


def _tokens(text: str) -> Iterator[Term | _Mark]:
    """Terms and marks, in order. A field or `^` applies to what follows it at once."""
    field: str | None = None
    first = False
    at = count = 0
    fresh = True  # whether a term may begin here: `foo-bar` and `foo:bar` hold no operators
    while at < len(text) and count < MAX_TERMS:
        found = _TOKEN.match(text, at)
        assert found is not None
        kind = found.lastgroup
        if kind in ("negation", "field", "start") and not fresh:
            found, kind = _WORD.match(text, at), "word"
            assert found is not None
        if kind == "field" and (name := _field(found["field"])) is not None and field is None:
            field, at = name, found.end()
            continue
        if kind == "start" and not first and field not in OTHER_FIELDS:
            first, at = True, found.end()
            continue
        if kind in ("field", "start"):
            found, kind = _WORD.match(text, at), "word"
            assert found is not None
        at = found.end()
        if kind == "space":
            fresh = True
            continue
        if kind == "negation" and not first and field is None:
            yield _Mark("not", "-")
            continue
        if kind == "sign":
            sign = found.group()
            if sign == "(" and field is not None and not first:
                yield _Mark("field(", field)
            else:
                yield _Mark("or" if sign == "|" else sign, sign)
            field, first, fresh = None, False, True
            continue
        count += 1
        fresh = False
        if kind in ("phrase", "more"):
            phrase = found["phrase"].replace('""', '"').strip()
            if phrase:
                yield Term(phrase, field, bool(found["more"]), first, phrase=True)
        else:
            yield _word(found.group(), field, first)
        field, first = None, False
    if field is not None or first:
        yield Term((field + ":" if field else "") + ("^" if first else ""))


def _field(name: str) -> str | None:
    lowered = name.lower()
    return TEXT_FIELDS.get(lowered) or (lowered if lowered in OTHER_FIELDS else None)


def _word(text: str, field: str | None, first: bool) -> Term | _Mark:
    if field is None and not first:
        if text in ("AND", "OR", "NOT"):
            return _Mark(text.lower(), text)
        if len(text) > 1 and text[0] == "#" and text[1] not in "#0123456789" and _is_tag(text[1:]):
            return Term(text[1:], "tag")
    bare = text.rstrip("*")
    if field in ("path", "tag"):  # their stars are globs
        return Term(text, field)
    if text.endswith("*") and bare:
        return Term(bare, field, True, first)
    return Term(text, field, False, first)


def _is_tag(text: str) -> bool:
    return all(is_word_sign(sign) or sign in "_-/*" for sign in text) and any(map(is_word_sign, text))


def _settled(tokens: list[Term | _Mark]) -> list[Term | _Mark]:
    """The tokens with every operator and parenthesis that has nothing to stand between made a word."""
    return _operators(_parentheses(tokens))


def _parentheses(tokens: list[Term | _Mark]) -> list[Term | _Mark]:
    opened: list[int] = []
    paired: set[int] = set()
    for number, token in enumerate(tokens):
        if not isinstance(token, _Mark):
            continue
        if token.kind in ("(", "field("):
            opened.append(number)
        elif token.kind == ")" and opened:
            start = opened.pop()
            if len(opened) < MAX_DEPTH and number > start + 1:
                paired |= {start, number}
    made: list[Term | _Mark] = []
    for number, token in enumerate(tokens):
        if isinstance(token, _Mark) and token.kind in ("(", ")", "field(") and number not in paired:
            made.append(Term("(" if token.kind != ")" else ")"))
        else:
            made.append(token)
    return made


def _operators(tokens: list[Term | _Mark]) -> list[Term | _Mark]:
    made: list[Term | _Mark] = []
    for number, token in enumerate(tokens):
        if isinstance(token, _Mark) and token.kind in ("and", "or", "not"):
            after = tokens[number + 1] if number + 1 < len(tokens) else None
            ahead = isinstance(after, Term) or (isinstance(after, _Mark) and after.kind in ("(", "field(", "not"))
            before = made[-1] if made else None
            behind = isinstance(before, Term) or (isinstance(before, _Mark) and before.kind == ")")
            if not ahead or (token.kind != "not" and not behind):
                made.append(Term(token.text))
                continue
        made.append(token)
    return made

"""Reading CREATE TABLE statements of other people's SQLite files: what no pragma tells (checks, generated columns, names).

Lenient: the statement has been accepted by SQLite already, so this only finds its parts. Pure and light.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<gap>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<text>'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<word>[^\W\d]\w*)
    |(?P<number>[0-9][\w.]*|\.[0-9]\w*)
    |(?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TABLE_WORDS = frozenset(["constraint", "primary", "unique", "check", "foreign"])


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    spaced: bool

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else ""

    @property
    def identifier(self) -> str:
        if self.kind == "name":
            closing = {"[": "]"}.get(self.text[0], self.text[0])
            return self.text[1:-1] if closing == "]" else self.text[1:-1].replace(closing * 2, closing)
        return self.text[1:-1].replace("''", "'") if self.kind == "text" else self.text

    @property
    def written(self) -> str:
        """The token with names in double quotes."""
        return '"' + self.identifier.replace('"', '""') + '"' if self.kind == "name" else self.text


@dataclass(slots=True)
class Reference:
    """One FOREIGN KEY clause: its name, the child's columns, and whether it is checked at commit."""

    name: str | None
    columns: list[str]
    deferred: bool


@dataclass(slots=True)
class TableParts:
    """What a CREATE TABLE says beyond the pragmas; column names as written."""

    checks: list[tuple[str | None, str]] = field(default_factory=list)
    generated: dict[str, str] = field(default_factory=dict)
    collated: set[str] = field(default_factory=set)
    uniques: dict[tuple[str, ...], str] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)


def table_parts(statement: str) -> TableParts:
    """The parts of one CREATE TABLE statement."""
    parts = TableParts()
    found = list(_tokens(statement))
    opening = next((place for place, token in enumerate(found) if token.text == "("), None)
    if opening is None:
        return parts
    for definition in _split(_inside(found, opening)):
        if not definition:
            continue
        if definition[0].word in _TABLE_WORDS:
            _table_constraint(definition, parts)
        else:
            _column(definition, parts)
    return parts


def index_condition(statement: str) -> str | None:
    """The WHERE of a CREATE INDEX statement."""
    depth = 0
    found = list(_tokens(statement))
    for place, token in enumerate(found):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.word == "where":
            return _text(found[place + 1 :])
    return None


def view_query(statement: str) -> str:
    """The SELECT of a CREATE VIEW statement without a column list."""
    found = list(_tokens(statement))
    start = next((place for place, token in enumerate(found) if token.word == "as"), len(found) - 1)
    return _text(found[start + 1 :])


def _tokens(statement: str) -> Iterator[_Token]:
    spaced = False
    for match in _TOKEN.finditer(statement):
        kind = str(match.lastgroup)
        if kind == "gap":
            spaced = True
            continue
        yield _Token(kind, match[0], spaced)
        spaced = False


def _inside(found: list[_Token], opening: int) -> list[_Token]:
    """The tokens between a parenthesis and the one that closes it."""
    depth = 0
    for place in range(opening, len(found)):
        depth += (found[place].text == "(") - (found[place].text == ")")
        if depth == 0:
            return found[opening + 1 : place]
    return found[opening + 1 :]


def _split(found: list[_Token]) -> Iterator[list[_Token]]:
    depth = 0
    part: list[_Token] = []
    for token in found:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _text(found: list[_Token]) -> str:
    return (
        "".join((" " if token.spaced and place else "") + token.written for place, token in enumerate(found)).rstrip(";").strip()
    )


def _names(found: list[_Token]) -> list[str]:
    return [part[0].identifier for part in _split(found) if part]


def _table_constraint(found: list[_Token], parts: TableParts) -> None:
    name = None
    if found[0].word == "constraint" and len(found) > 2:
        name = found[1].identifier
        found = found[2:]
    opening = next((place for place, token in enumerate(found) if token.text == "("), None)
    if opening is None:
        return
    inner = _inside(found, opening)
    if found[0].word == "check":
        parts.checks.append((name, _text(inner)))
    elif found[0].word == "unique" and name is not None:
        parts.uniques[tuple(_names(inner))] = name
    elif found[0].word == "foreign":
        parts.references.append(Reference(name, _names(inner), _deferred(found)))


def _column(found: list[_Token], parts: TableParts) -> None:
    column = found[0].identifier
    name: str | None = None
    place = 1
    while place < len(found):
        token = found[place]
        following = found[place + 1] if place + 1 < len(found) else None
        if token.word == "constraint" and following is not None:
            name = following.identifier
            place += 1
        elif token.word in {"check", "as"} and following is not None and following.text == "(":
            inner = _inside(found, place + 1)
            if token.word == "check":
                parts.checks.append((name, _text(inner)))
            else:
                parts.generated[column] = _text(inner)
            name = None
            place += len(inner) + 2
        elif token.word == "collate" and following is not None and following.identifier.lower() != "binary":
            parts.collated.add(column)
        elif token.word == "references":
            parts.references.append(Reference(name, [column], _deferred(found[place:])))
            name = None
        elif token.word == "unique" and name is not None:
            parts.uniques[column,] = name
            name = None
        place += 1


def _deferred(found: list[_Token]) -> bool:
    words = [token.word for token in found]
    return any(words[place : place + 2] == ["initially", "deferred"] for place in range(len(words)))


def index_columns(statement: str) -> list[str] | None:
    """The columns of a CREATE INDEX statement; None when it indexes expressions."""
    found = list(_tokens(statement))
    opening = next((place for place, token in enumerate(found) if token.text == "("), None)
    if opening is None:
        return None
    parts = list(_split(_inside(found, opening)))
    if any(not part or part[0].kind not in {"word", "name"} or any(token.text == "(" for token in part) for part in parts):
        return None
    return [part[0].identifier for part in parts]

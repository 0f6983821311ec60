"""The SQL expressions people write in `project.yaml`: what they may not contain, and whether SQLite can read them.

Checks, generated columns, index conditions and views. An expression must say the same for the same row on every day and
machine, because it decides whether text is valid and what is built from it. Which columns exist comes from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--[^\n]*|/\*)
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<blob>[xX]'[0-9a-fA-F]*')
    |(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<word>[^\W\d]\w*)
    |(?P<mark><>|<=|>=|!=|==|\|\||<<|>>|->>|->|[-+*/%&|~<>=(),.])
    """,
    re.VERBOSE,
)
_NOT_DETERMINISTIC = frozenset(
    [
        "random",
        "randomblob",
        "changes",
        "total_changes",
        "last_insert_rowid",
        "sqlite_version",
        "sqlite_source_id",
        "sqlite_compileoption_used",
        "sqlite_compileoption_get",
        "current_date",
        "current_time",
        "current_timestamp",
        "now",
        "today",
        "uuid",
        "gen_random_uuid",
        "setseed",
        "nextval",
        "current_user",
        "version",
        "localtime",
        "localtimestamp",
    ]
)
_MOMENT_FUNCTIONS = frozenset(["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"])

_MOMENT_WORDS = frozenset({"now", "localtime", "utc"})
_NOT_IN_EXPRESSIONS = frozenset(
    ["select", "raise", "attach", "pragma", "insert", "update", "delete", "drop", "create", "load_extension"]
)
_STATEMENTS = frozenset(
    ["attach", "pragma", "insert", "update", "delete", "drop", "create", "alter", "replace", "vacuum", "detach", "load_extension"]
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its kind (`word`, `quoted`, `text`, `number`, `blob`, `mark`), its text as written, and its offset."""

    kind: str
    text: str
    offset: int

    @property
    def identifier(self) -> str | None:
        """The name a word or quoted identifier stands for."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        return self.text if self.kind == "word" else None


class BadExpression(ValueError):
    """An expression that cannot be used; `message` and `fix` are for people."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def tokens(expression: str) -> Iterator[Token]:
    """The tokens of an expression without white space.

    Raises BadExpression for comments, `;`, parameters, `[a]` and `` `a` `` quoting and unbalanced parentheses.
    """
    offset = 0
    depth = 0
    while offset < len(expression):
        match = _TOKEN.match(expression, offset)
        if match is None:
            raise _bad_character(expression[offset])
        kind = str(match.lastgroup)
        if kind == "comment":
            raise BadExpression("the expression holds an SQL comment", "say it in `description`")
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
        if depth < 0:
            raise BadExpression("a ')' has no '('", "balance the parentheses")
        if kind != "space":
            yield Token(kind, match[0], offset)
        offset = match.end()
    if depth:
        raise BadExpression("a '(' has no ')'", "balance the parentheses")


def _bad_character(char: str) -> BadExpression:
    if char == ";":
        return BadExpression("the expression holds ';'", "write one expression")
    if char in "[`":
        return BadExpression(f"names are quoted with double quotes, not with {char}", 'write "name"')
    if char in "'\"":
        return BadExpression(f"a {char} is never closed", "close it")
    if char in "?:@$":
        return BadExpression(f"parameters such as {char}1 have no value here", "write the value")
    return BadExpression(f"the character {char!r} is not part of SQL", "remove it")


def examine(expression: str) -> list[Token]:
    """The tokens of an expression that says the same every time. Raises BadExpression otherwise."""
    found = list(tokens(expression))
    if not found:
        raise BadExpression("the expression is empty", "write an expression or remove the key")
    _refuse_words(found, _NOT_IN_EXPRESSIONS)
    _refuse_chance(found)
    return found


def examine_view(sql: str) -> list[Token]:
    """The tokens of one SELECT statement; views may use the clock, nothing is built from them. Raises BadExpression."""
    found = list(tokens(sql))
    if not found or found[0].text.lower() not in {"select", "with", "values"}:
        raise BadExpression("a view is one SELECT statement", "begin it with SELECT or WITH")
    _refuse_words(found, _STATEMENTS - {"replace"})
    return found


def _refuse_words(found: list[Token], words: frozenset[str]) -> None:
    for token in found:
        if token.kind == "word" and token.text.lower() in words:
            raise BadExpression(f"{token.text.upper()} has no place in an expression", "compare columns of the same row")


def _refuse_chance(found: list[Token]) -> None:
    fix = "compare with a fixed value or another column; what changes by itself cannot be checked"
    for at, token in enumerate(found):
        if token.kind != "word":
            continue
        word = token.text.lower()
        called = at + 1 < len(found) and found[at + 1].text == "("
        if word in _NOT_DETERMINISTIC and (called or word.startswith("current_")):
            raise BadExpression(f"{token.text} gives another answer every time", fix)
        if word in _MOMENT_FUNCTIONS and called:
            arguments = list(_arguments(found, at + 1))
            if len(arguments) < (2 if word == "strftime" else 1):
                raise BadExpression(f"{token.text}() without a moment means now, which gives another answer every time", fix)
            for part in (inner for argument in arguments for inner in argument):
                if part.kind == "text" and part.text[1:-1].strip().lower() in _MOMENT_WORDS:
                    raise BadExpression(f"{token.text}({part.text}) gives another answer every time or place", fix)


def _arguments(found: list[Token], opening: int) -> Iterable[list[Token]]:
    depth = 0
    argument: list[Token] = []
    for token in found[opening:]:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            break
        if token.text == "," and depth == 1:
            yield argument
            argument = []
        elif not (token.text == "(" and depth == 1):
            argument.append(token)
    if argument:
        yield argument


def names_in(found: list[Token]) -> set[str]:
    """The names in an expression, folded as SQLite folds them, without function names."""
    return {
        str(token.identifier).lower()
        for at, token in enumerate(found)
        if token.identifier is not None and not (at + 1 < len(found) and found[at + 1].text == "(")
    }


def uncast(found: list[Token], column: str) -> bool:
    """Whether `column` is used other than as `CAST(column AS …)` or `column IS [NOT] NULL`."""
    for at, token in enumerate(found):
        if token.identifier is None or token.identifier.lower() != column.lower():
            continue
        before = [earlier.text.lower() for earlier in found[max(at - 2, 0) : at]]
        after = [later.text.lower() for later in found[at + 1 : at + 4]]
        cast = before == ["cast", "("] and after[:1] == ["as"]
        null = after[:2] == ["is", "null"] or after[:3] == ["is", "not", "null"]
        if not (cast or null):
            return True
    return False

"""Which note a person means by a word: an id, a path, a file's name, a title, an alias, or the beginning of an id.

The same steps for every command, tried in this order, so that an id is never taken for a title; each first as it is spelled, then
without regard to case. Links between notes are resolved by `assets.notes.resolve`, which knows where a link stands. Light:
standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from assets.notes.resolve import fold, key, without_extension
from schemas.errors import UsageError

SHORTEST_PREFIX: Final = 2
"""Characters of an id's beginning that are enough when no other id shares it."""
_SHOWN: Final = 10


def find_note(connection: sqlite3.Connection, word: str, *, prefix: str = "") -> sqlite3.Row:
    """The row of `notes` that `word` means; paths may begin with `prefix`, the store's folder in the workspace with a slash.

    Raises UsageError: `note-unknown` with what comes near, `note-ambiguous` with everything it may mean.
    """
    asked = _bare(word)
    if not asked:
        raise UsageError("no note is named", rule="note-unknown", fix="give an id, a path, a title or an alias")
    for numbers in _steps(connection, asked, prefix):
        if len(numbers) == 1:
            row: sqlite3.Row = _row(connection, numbers[0])
            return row
        if numbers:
            raise _ambiguous(connection, word, numbers)
    raise _unknown(connection, word, asked)


def _bare(word: str) -> str:
    """Without the brackets, label and anchor of a wiki link, and the `./` of a shell's completion."""
    # An argument that is no UTF-8 names nothing, and SQLite takes none.
    asked = word.encode("utf-8", "replace").decode("utf-8").strip()
    if asked.startswith("[[") and asked.endswith("]]"):
        asked = asked[2:-2].partition("|")[0].strip()
        asked = asked.partition("#")[0].strip() or asked
    return asked.removeprefix("./")


def _row(connection: sqlite3.Connection, number: int) -> sqlite3.Row:
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    row: sqlite3.Row = cursor.execute("SELECT * FROM notes WHERE number = ?", (number,)).fetchone()
    return row


def _steps(connection: sqlite3.Connection, asked: str, prefix: str) -> Iterator[list[int]]:
    yield _numbers(connection, "SELECT number FROM notes WHERE id = ?", asked)
    inside = asked.removeprefix(prefix) if prefix else asked
    yield _numbers(connection, "SELECT number FROM notes WHERE path = ?", inside)
    if inside != asked:
        yield _numbers(connection, "SELECT number FROM notes WHERE path = ?", asked)
    names = [
        (note, form, name)
        for note, form, name in connection.execute("SELECT note, form, name FROM names WHERE key = ?", (key(asked),))
    ]
    spelled, bare = fold(inside), fold(without_extension(inside))
    for exactly in (True, False):
        for form in ("id", "path", "stem", "title", "alias"):
            wanted = (asked, without_extension(inside)) if exactly else (fold(asked), bare)
            yield sorted({note for note, of, name in names if of == form and _called(form, name, wanted, exactly)})
    # A path whose first folders are left out.
    end = "/" + without_extension(spelled)
    yield sorted({note for note, of, name in names if of == "path" and ("/" + fold(without_extension(name))).endswith(end)})
    if len(asked) >= SHORTEST_PREFIX and not any(sign.isspace() for sign in asked):
        yield _beginning(connection, asked)


def _called(form: str, name: str, wanted: tuple[str, str], exactly: bool) -> bool:
    if form == "path":
        return (without_extension(name) if exactly else fold(without_extension(name))) == wanted[1]
    return (name if exactly else fold(name)) == (wanted[1] if form == "stem" else wanted[0])


def _numbers(connection: sqlite3.Connection, query: str, value: str) -> list[int]:
    return [row[0] for row in connection.execute(query, (value,))]


def _beginning(connection: sqlite3.Connection, asked: str) -> list[int]:
    """The notes whose own id begins with it; with or without the `qp-` that all ids share."""
    for start in (asked, asked.lower(), f"qp-{asked.lower()}"):
        numbers = [
            row[0]
            for row in connection.execute(
                "SELECT number FROM notes WHERE id >= ? AND id < ? AND own_id ORDER BY id LIMIT ?",
                (start, start + "\U0010ffff", _SHOWN + 1),
            )
        ]
        if numbers:
            return numbers
    return []


def _ambiguous(connection: sqlite3.Connection, word: str, numbers: Sequence[int]) -> UsageError:
    named = [_named(connection, number) for number in numbers[:_SHOWN]]
    more = ", …" if len(numbers) > _SHOWN else ""
    count = f"more than {_SHOWN}" if len(numbers) > _SHOWN else str(len(numbers))
    return UsageError(
        f"{word!r} may mean {count} notes: {', '.join(named)}{more}",
        rule="note-ambiguous",
        fix="name it by its path, or by more of its id",
    )


def _named(connection: sqlite3.Connection, number: int) -> str:
    row = _row(connection, number)
    return f"{row['path']} ({row['title']})"


def _unknown(connection: sqlite3.Connection, word: str, asked: str) -> UsageError:
    near = nearest(connection, asked)
    return UsageError(
        f"no note is called {word!r}",
        rule="note-unknown",
        fix=f"did you mean {' or '.join(near)}?" if near else "look for it with `headwater notes search`",
    )


def nearest(connection: sqlite3.Connection, asked: str, count: int = 3) -> list[str]:
    """Up to `count` names of notes that come near `asked`, best first: id with title, or path with title."""
    from difflib import SequenceMatcher

    folded = fold(asked)
    if not folded or len(folded) > 200:
        return []
    rated: list[tuple[float, str, int]] = []
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(folded)
    seen: set[str] = set()
    for name, note in connection.execute(
        # The length alone rules most out; a large store is not compared name by name.
        "SELECT name, note FROM names WHERE form <> 'path' AND length(name) BETWEEN ? AND ? LIMIT 50000",
        (int(len(folded) * 0.6), int(len(folded) * 1.6) + 1),
    ):
        spelled = fold(name)
        if spelled in seen:
            continue
        seen.add(spelled)
        matcher.set_seq1(spelled)
        if matcher.real_quick_ratio() < 0.7 or matcher.quick_ratio() < 0.7:
            continue
        ratio = matcher.ratio()
        if ratio >= 0.7:
            rated.append((-ratio, name, note))
    notes: dict[int, str] = {}
    for _, name, note in sorted(rated):
        notes.setdefault(note, name)
    shown = []
    for note in list(notes)[:count]:
        row = _row(connection, note)
        shown.append(f"{row['id'] if row['own_id'] else row['path']} ({row['title']})")
    return shown

"""Which names tables, columns, keys and views may have, and when two names are the same name.

Names people wrote are quoted everywhere and need not be identifiers: `select`, `a b` and `x;drop table y--` are fine. What is
refused is what SQLite, a file system or a reader of the file would confuse. Light: standard library only.
"""

from __future__ import annotations

import unicodedata

from schemas import paths

MOST_CHARACTERS = 63
_DIRECTION_MARKS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def same_name(name: str) -> str:
    """The form under which two names count as one: NFC, case folded, NFC again."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def problem(name: str) -> tuple[str, str] | None:
    """(what is wrong with a name, what to do about it), or None when it is fine."""
    if not name:
        return "a name cannot be empty", "give it a name"
    if len(name) > MOST_CHARACTERS:
        return f"the name has {len(name)} characters; {MOST_CHARACTERS} are allowed", "shorten it and put the rest into `title`"
    if unicodedata.normalize("NFC", name) != name:
        return "the name is not in Unicode form NFC", f"write it as {unicodedata.normalize('NFC', name)!r}"
    for char in name:
        if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(char) in _DIRECTION_MARKS:
            return f"the name holds the control character U+{ord(char):04X}", "remove it"
        if char in "./\\":
            return f"the name holds {char!r}, which separates names from each other", f"replace {char!r} by '_'"
    if name != name.strip() or name.endswith("."):
        return "the name begins or ends with a space", "remove it"
    if name.casefold().startswith("sqlite_"):
        return "names that begin with sqlite_ belong to SQLite", "choose another name"
    return None


def device_problem(name: str) -> tuple[str, str] | None:
    """Like `problem`, for a name that Windows keeps for a device (`con`, `aux`, `com1`)."""
    if name.casefold() in paths.DEVICE_NAMES:
        return f"{name!r} is the name of a device on Windows", f"choose another name, such as {name + '_'!r}"
    return None

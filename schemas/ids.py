"""Ids: ULIDs, slugs, and the reversible escape of store names into the alphabet Dagster and file names allow.

Content ids are in `schemas.oid`. Light: standard library only; python-ulid is imported when an id is made.
"""

from __future__ import annotations

import re
import unicodedata

from schemas.errors import HeadwaterError
from schemas.paths import DEVICE_NAMES

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
_ESCAPED = re.compile(r"__|_u([0-9a-f]+)_|_([0-9a-f]{2})|([A-Za-z0-9]+)")
_TO_ESCAPE = re.compile(r"[^A-Za-z0-9]")


def new_ulid() -> str:
    """A fresh ULID (https://github.com/ulid/spec): 26 characters, sorted by the millisecond it was made in."""
    from ulid import ULID

    return str(ULID())


def check_ulid(text: str) -> str:
    """Returns `text` when it is a ULID in canonical upper case; raises HeadwaterError (rule `id-malformed`)."""
    if not _ULID.match(text):
        raise HeadwaterError(
            f"{text!r} is not a ULID",
            rule="id-malformed",
            fix="use 26 characters of 0-9 and A-Z without I, L, O and U, the first at most 7",
        )
    return text


def slug(text: str, *, fallback: str = "untitled", length: int = 80) -> str:
    """A readable file name part of `text`: lower-case ASCII letters, digits and single dashes, at most `length` long.

    Accents are dropped, everything else becomes a dash; `fallback` is returned when nothing is left. Not reversible.
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode("ascii")
    made = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:length].strip("-")
    return made if made and made not in DEVICE_NAMES else (f"{made}-" + fallback if made else fallback)


def escape_name(text: str) -> str:
    """`text` in [A-Za-z0-9_]+, such that different texts have different escapes; `unescape_name` gives the text back.

    Letters and digits stay. `_` becomes `__`, other ASCII `_` and two hexadecimal digits, everything else `_u`, the code
    point in hexadecimal, `_`. The empty text is `_`. A name Windows reserves for a device has its first letter escaped,
    because escapes are file names too.
    """
    if not text:
        return "_"
    if text.lower() in DEVICE_NAMES and text.isascii():
        return f"_{ord(text[0]):02x}" + _TO_ESCAPE.sub(_escape, text[1:])
    return _TO_ESCAPE.sub(_escape, text)


def unescape_name(escaped: str) -> str:
    """The text whose escape is `escaped`; raises HeadwaterError (rule `id-malformed`) for what `escape_name` never makes."""
    if escaped == "_":
        return ""
    parts: list[str] = []
    at = 0
    while at < len(escaped):
        match = _ESCAPED.match(escaped, at)
        if match is None:
            break
        wide, narrow, plain = match.groups()
        if plain is not None:
            parts.append(plain)
        elif wide is not None and len(wide) <= 6 and int(wide, 16) <= 0x10FFFF:
            parts.append(chr(int(wide, 16)))
        elif narrow is not None:
            parts.append(chr(int(narrow, 16)))
        else:
            parts.append("_" if match[0] == "__" else "\0")
        at = match.end()
    text = "".join(parts)
    if at < len(escaped) or not escaped or escape_name(text) != escaped:
        raise HeadwaterError(f"{escaped!r} is not an escaped name", rule="id-malformed", fix="take the name from `headwater ls`")
    return text


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character == "_":
        return "__"
    point = ord(character)
    return f"_{point:02x}" if point < 0x80 else f"_u{point:x}_"

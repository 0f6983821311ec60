"""Names made from titles: the anchor of a heading, and the file of a note. Pure, light: standard library only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import MutableMapping

from schemas.paths import DEVICE_NAMES

SLUG_BYTES = 80
"""The longest slug in a file name: with an id and `.md` it stays below the 200 bytes a name may have."""

_NOT_ASCII_ANCHOR = re.compile(r"[^a-z0-9_\- ]")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_FOLDED = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ł": "l",
        "ı": "i",
        "ħ": "h",
        "ŋ": "n",
        "’": "",
        "'": "",
    }
)


def heading_slug(text: str) -> str:
    """The anchor GitHub gives a heading: lower case, letters, digits, `_`, `-`; a space becomes `-`.

    Source: html-pipeline's table of contents filter, which GitHub runs.
    """
    text = text.lower()
    if text.isascii():
        return _NOT_ASCII_ANCHOR.sub("", text).replace(" ", "-")
    kept = [
        sign for sign in text if sign in "-_ " or unicodedata.category(sign)[0] in "LMN" or unicodedata.category(sign) == "Pc"
    ]
    return "".join(kept).replace(" ", "-")


def unique_slug(slug: str, seen: MutableMapping[str, int]) -> str:
    """`slug`, or with `-1`, `-2`, … behind it where it is taken; `seen` remembers between calls."""
    if slug not in seen:
        seen[slug] = 0
        return slug
    while True:
        seen[slug] += 1
        made = f"{slug}-{seen[slug]}"
        if made not in seen:
            seen[made] = 0
            return made


def file_slug(title: str) -> str:
    """A title as part of a file name: ASCII, lower case, hyphens between words, at most `SLUG_BYTES` long.

    Accents are dropped; what has no ASCII form (Chinese, emoji) is left out, so the slug can be empty.
    """
    folded = unicodedata.normalize("NFKD", title.casefold().translate(_FOLDED)).encode("ascii", "ignore").decode()
    slug = _NOT_SLUG.sub("-", folded).strip("-")
    if len(slug) <= SLUG_BYTES:
        return slug
    cut = slug[: SLUG_BYTES + 1]
    at = cut.rfind("-")
    return (cut[:at] if at > SLUG_BYTES // 2 else cut[:SLUG_BYTES]).strip("-")


def note_file_name(note_id: str, title: str) -> str:
    """`<id>-<slug>.md`, or `<id>.md` where the title leaves nothing. The id is one of `[A-Za-z0-9_-]+`."""
    slug = file_slug(title)
    name = f"{note_id}-{slug}" if slug else note_id
    if name.lower() in DEVICE_NAMES:
        name += "-note"
    return name + ".md"

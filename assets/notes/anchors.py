"""Whether a note has the heading or block that an anchor names. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Iterable

from assets.notes.resolve import fold
from schemas.notes.slugs import heading_slug


class Anchors:
    """What anchors can lead to in one note: (text, slug) of its headings, the names of its blocks.

    A heading is found by its text, as in Obsidian (`[[note#Heading]]`, `[[note#Part#Heading]]`, where the parts must stand in
    that order), or by its slug, as on GitHub (`note.md#heading`); case, spaces and punctuation do not count. An HTML element is
    found by its id or name.
    """

    def __init__(self, headings: Iterable[tuple[str, str]], blocks: Iterable[str]) -> None:
        self._headings = [(_plain(text), heading_slug(text), slug) for text, slug in headings]
        self._known = {word for words in self._headings for word in words}
        names = {fold(block) for block in blocks}
        self._blocks = {name for name in names if not name.startswith("#")}
        self._elements = {name[1:] for name in names if name.startswith("#")}

    def has(self, anchor: str) -> bool:
        """Whether `anchor`, as it stands behind `#`, names one of them."""
        if anchor.startswith("^"):
            return fold(anchor[1:]) in self._blocks
        if self._names(anchor) or fold(anchor) in self._elements:
            return True
        parts = [part for part in anchor.split("#") if part]
        if not parts:
            return True
        if parts[-1].startswith("^"):
            return fold(parts[-1][1:]) in self._blocks
        if len(parts) == 1:
            return self._names(parts[0])
        return self._in_order(parts)

    def _names(self, anchor: str) -> bool:
        return bool(self._known.intersection(_words(anchor)))

    def _in_order(self, parts: list[str]) -> bool:
        headings = iter(self._headings)
        return all(any(_words(part).intersection(words) for words in headings) for part in parts)


def _plain(text: str) -> str:
    return " ".join(fold(text).split())


def _words(anchor: str) -> set[str]:
    return {word for word in (_plain(anchor), heading_slug(anchor), fold(anchor)) if word}

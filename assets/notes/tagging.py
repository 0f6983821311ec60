"""The tags of a store as a tree with counts. Light: standard library only."""

from __future__ import annotations

import fnmatch
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assets.notes.resolve import fold


@dataclass(slots=True)
class TagCount:
    """One tag. `name` is its most used spelling; `notes` counts those that have it, `total` also those with a tag below it;
    `alias_of` is the tag that the store's `tag_aliases` prefer; `depth` counts the listed tags above it."""

    folded: str
    name: str
    notes: int
    total: int = 0
    inline: int = 0
    spellings: list[str] = field(default_factory=list)
    alias_of: str | None = None
    depth: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "tag": self.name,
            "notes": self.notes,
            "total": self.total,
            "inline": self.inline,
            "spellings": self.spellings,
            "alias_of": self.alias_of,
        }


def list_tags(
    connection: sqlite3.Connection, aliases: Mapping[str, str] | None = None, pattern: str | None = None
) -> list[TagCount]:
    """Every tag in use (matching the glob `pattern`) by name, those below a tag after it."""
    found: dict[str, TagCount] = {}
    holders: dict[str, set[int]] = {}
    query = (
        "SELECT folded, tag, count(DISTINCT note) AS notes, sum(inline) AS inline FROM tags GROUP BY folded, tag "
        "ORDER BY folded, notes DESC, tag"
    )
    for folded, tag, _, inline in (tuple(row) for row in connection.execute(query)):
        known = found.setdefault(folded, TagCount(folded, tag, 0))
        known.spellings.append(tag)
        known.inline += inline
    for folded, note in (tuple(row) for row in connection.execute("SELECT DISTINCT folded, note FROM tags")):
        holders.setdefault(folded, set()).add(note)
    below: dict[str, set[int]] = {}
    for folded, notes in holders.items():
        found[folded].notes = len(notes)
        name = folded
        while name:
            if name in found:
                below.setdefault(name, set()).update(notes)
            name = name.rpartition("/")[0]
    preferred = {fold(alias): canonical for alias, canonical in (aliases or {}).items()}
    wanted = fold(pattern).removeprefix("#") if pattern is not None else None
    # A slash sorts before everything else, so that what lies below a tag follows it at once.
    listed = [
        tag
        for folded, tag in sorted(found.items(), key=lambda entry: entry[0].replace("/", "\0"))
        if wanted is None or fnmatch.fnmatchcase(folded, wanted)
    ]
    names = {tag.folded for tag in listed}
    for tag in listed:
        tag.total = len(below[tag.folded])
        tag.alias_of = preferred.get(tag.folded)
        parts = tag.folded.split("/")
        tag.depth = sum("/".join(parts[:count]) in names for count in range(1, len(parts)))
    return listed

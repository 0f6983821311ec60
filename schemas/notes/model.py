"""A note as it was read: plain values with the places they stand at, so that everything derived can say where it came from.

Reading is `schemas.notes.parse`. Light: standard library only.

Places: `line` and `column` count from 1 in characters of the file, frontmatter included; `start` and `stop` are byte offsets
into the file's bytes as they lie on disk (a byte order mark counts), `stop` exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from schemas.findings import Finding


class Outcome(StrEnum):
    """What became of a file: read in full; read with something left out that a finding names; text kept, nothing understood."""

    INDEXED = "indexed"
    DEGRADED = "degraded"
    QUARANTINED = "quarantined"


class MentionKind(StrEnum):
    """How a note points at something."""

    WIKI = "wiki"
    """`[[target]]`"""
    EMBED = "embed"
    """`![[target]]`"""
    MARKDOWN = "markdown"
    """`[label](target)`, inline or by reference"""
    IMAGE = "image"
    """`![alt](target)`, inline or by reference"""
    URL = "url"
    """Anything with a scheme (`https:`, `mailto:`) or beginning with `//`: in a link, between angle brackets, or (http) bare.
    Its target is the address as it is written, fragment included; it has no anchor."""
    TYPED = "typed"
    """An entry of the frontmatter's `links:`"""
    PROPERTY = "property"
    """A wiki link inside another frontmatter value"""


@dataclass(frozen=True, slots=True)
class Mention:
    """One link where it stands.

    `target` is what is pointed at, unescaped and percent-decoded, without the anchor ('' for a link within the note);
    `anchor` what follows `#` (`^id` for a block); `label` the text shown, None where there is none. `type` is the link type:
    `related` unless the frontmatter says otherwise (an entry of `links:`, or a key that is a known link type). The span covers
    the whole link; `target_start`, `target_stop` cover the raw target with its anchor, which a rename rewrites (for a reference
    link: in its definition).
    """

    kind: MentionKind
    target: str
    anchor: str | None
    label: str | None
    type: str
    line: int
    column: int
    start: int
    stop: int
    target_start: int
    target_stop: int
    property: str | None = None
    """The frontmatter key of a PROPERTY mention."""


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading, ATX or setext. `slug` is the anchor GitHub gives it, made unique within the note."""

    level: int
    text: str
    slug: str
    line: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or list item that ends in `^id`; or an HTML element with an id or a name, which has `#` before it here."""

    id: str
    line: int


@dataclass(frozen=True, slots=True)
class Tag:
    """One use of a tag, without `#`, as it is spelled. `inline` tells `#tag` in the body from the frontmatter."""

    name: str
    inline: bool
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class SourceRef:
    """One entry of `sources:` (or `source:`): where the note's content comes from."""

    url: str
    title: str | None
    accessed: str | None
    line: int


@dataclass(slots=True)
class ParsedNote:
    """One file, read tolerantly. `path` is store-relative; findings carry workspace-relative paths."""

    path: str
    outcome: Outcome
    id: str
    """The frontmatter's id, else one derived from the path (`own_id` tells)."""
    own_id: bool
    title: str
    title_from: str
    """`frontmatter`, `heading` or `file`."""
    type: str | None
    """Lower-case; None where the note has none (readers apply the store's default)."""
    created: str | None
    """ISO 8601 in UTC (`2026-01-12` or `2026-01-12T13:07:00Z`), or None; what cannot be read is a finding."""
    updated: str | None
    value: int | None
    """0 to 100."""
    summary: str | None
    """The frontmatter's, else the first paragraph under a heading "Summary", else the first paragraph; plain text."""
    tags: list[Tag] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    sources: list[SourceRef] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    """The whole frontmatter as JSON values, keys as written; empty where it cannot be read."""
    fields: dict[str, list[str]] = field(default_factory=dict)
    """Inline `key:: value` fields."""
    headings: list[Heading] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    """Every mention in the order it stands, frontmatter first."""
    words: int = 0
    paragraphs: int = 0
    lines: int = 0
    body_start: int = 0
    """Byte offset of the body."""
    search_text: str = ""
    """The body for full-text search: comments left out, link targets replaced by their labels, NFC."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with this file alone; links are resolved elsewhere."""

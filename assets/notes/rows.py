"""One parsed note as rows of the index, and the digest over them.

Pure: what a note's rows are follows from its bytes, its path and the configuration alone. Where its links lead is
`assets.notes.relink`. The rows are plain tuples, so that they travel between processes cheaply.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from blake3 import blake3

from assets.notes.resolve import fold, key, without_extension
from assets.notes.text_for_search import spaced
from schemas.findings import Finding
from schemas.notes.model import MentionKind, ParsedNote

Row = tuple[Any, ...]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class NoteRows(NamedTuple):
    """The rows of one note, without its number: each table's columns after `note` in the order of `assets.notes.schema`
    (of mentions those before `rule`; of notes those between `number` and `local`)."""

    note: Row
    tags: list[Row]
    aliases: list[Row]
    sources: list[Row]
    headings: list[Row]
    blocks: list[Row]
    mentions: list[Row]
    names: list[Row]
    """(key, form, name), sorted."""
    findings: list[Row]
    """rule, severity, message, line, col, fix, value, replacement; sorted."""
    text: Row
    """title, headings, tags, body, as they go into the full-text index."""
    local: bytes
    """The digest over all of the above."""

    @property
    def path(self) -> str:
        path: str = self.note[0]
        return path

    @property
    def size(self) -> int:
        """The note's bytes."""
        size: int = self.note[13]
        return size

    @property
    def anchors(self) -> tuple[list[Row], list[Row]]:
        """What anchors can lead to."""
        return [row[2:4] for row in self.headings], [row[1:2] for row in self.blocks]


def note_rows(note: ParsedNote, oid: str, size: int, *, moc: bool) -> NoteRows:
    """The rows of a parsed note of `size` bytes whose content is `oid`. `moc`: it is a map of content."""
    body: tuple[Any, ...] = (
        (
            note.path,
            note.id,
            int(note.own_id),
            note.title,
            note.title_from,
            note.type,
            note.created,
            note.updated,
            note.value,
            note.summary,
            note.words,
            note.paragraphs,
            note.lines,
            size,
            oid,
            str(note.outcome),
            int(moc),
            note.body_start,
            _json(note.meta),
            _json(note.fields),
        ),
        [(at, tag.name, fold(tag.name), int(tag.inline), tag.line, tag.column) for at, tag in enumerate(note.tags)],
        list(enumerate(note.aliases)),
        [(at, source.url, source.title, source.accessed, source.line) for at, source in enumerate(note.sources)],
        [(at, one.level, one.text, one.slug, one.line, one.start, one.stop) for at, one in enumerate(note.headings)],
        [(at, block.id, block.line) for at, block in enumerate(note.blocks)],
        [
            (
                at,
                str(one.kind),
                one.type,
                one.target,
                one.anchor,
                one.label,
                one.property,
                one.line,
                one.column,
                one.start,
                one.stop,
                one.target_start,
                one.target_stop,
                key(one.target) if one.kind is not MentionKind.URL and one.target else None,
            )
            for at, one in enumerate(note.mentions)
        ],
        names_of(note.path, note.id, note.title, note.aliases),
        sorted(map(finding_row, note.findings), key=repr),
        (
            spaced("\n".join([note.title, *note.aliases])),
            spaced("\n".join([heading.text for heading in note.headings])),
            spaced(" ".join([tag.name for tag in note.tags])),
            spaced(note.search_text),
        ),
    )
    try:
        return NoteRows._make((*body, local_digest(*body)))
    except UnicodeEncodeError:
        # Half a surrogate pair, which a YAML escape can spell and no text can hold.
        body = tuple(map(_mended, body))
        return NoteRows._make((*body, local_digest(*body)))


def names_of(path: str, own_id: str, title: str, aliases: Iterable[str]) -> list[Row]:
    """Everything the note can be called by, as (key, form, name), sorted."""
    stem = without_extension(path.rpartition("/")[2])
    named = {(key(path), "path", path), (key(stem), "stem", stem), (key(own_id), "id", own_id), (key(title), "title", title)}
    named.update((key(alias), "alias", alias) for alias in aliases)
    return sorted(row for row in named if row[0])


def finding_row(finding: Finding) -> Row:
    """A finding without its path."""
    return (
        finding.rule,
        str(finding.severity),
        finding.message,
        finding.line,
        finding.column,
        finding.fix,
        finding.value,
        finding.replacement,
    )


def local_digest(*tables: Any) -> bytes:
    """The digest over a note's rows, given in the order of `NoteRows`. Raises UnicodeEncodeError for lone surrogates."""
    return digest_of(tables)


def digest_of(value: object) -> bytes:
    """blake3 over the JSON of rows (strings, integers and None in lists and tuples)."""
    return blake3(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).digest()


def _json(value: object) -> str:
    """JSON of frontmatter or fields, keys as written. Infinities and NaN, which YAML has and JSON has not, become text."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def _mended(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_mended(one) for one in value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, str):
        return "".join(REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in value)
    return value

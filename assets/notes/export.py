"""Notes as one document: in full one after the other, as the outline of a map of content, or the bibliography of their sources.

Links can stay as they are, lead to the notes' files, lead to the sections of the document, or become plain words. A link is
followed as the index resolved it. Nothing of the store changes. Light: standard library only.
"""

from __future__ import annotations

import posixpath
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from assets.notes.shown import DEFAULT_TYPE, NoteRow, rows_of
from schemas.notes.model import Mention, MentionKind, ParsedNote
from schemas.notes.slugs import heading_slug, unique_slug

if TYPE_CHECKING:
    from resources.notes.store import NotesStore

LinkMode = Literal["preserve", "markdown", "anchors", "plain"]
LINK_MODES: Final = ("preserve", "markdown", "anchors", "plain")
ATTACHMENTS: Final = "attachments"
"""The folder beside the document that attachments are copied to."""
_SETEXT: Final = re.compile(r"\n[ \t]{0,3}(=+|-+)[ \t]*\r?\n?\Z")
_MAX_OUTLINE: Final = 10_000


@dataclass(slots=True)
class Document:
    """A made document: its text, and the attachments that go with it as path in the store -> path beside the document."""

    text: str
    attachments: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Section:
    """One note of the document: its anchor, and that of each of its headings by what a link may call it."""

    note: NoteRow
    parsed: ParsedNote
    data: bytes
    anchor: str
    headings: dict[str, str]
    drops_title: bool


def note_document(
    connection: sqlite3.Connection,
    store: NotesStore,
    numbers: Sequence[int],
    *,
    links: LinkMode = "preserve",
    attachments: bool = False,
    place: Callable[[str], str] = lambda path: path,
    title: str | None = None,
    default_type: str = DEFAULT_TYPE,
) -> Document:
    """The notes in full, in this order, each a section under its title, its headings one level lower.

    `place(path)` is the address of a file of the store as seen from the document (for `markdown`). With `attachments` those that
    are linked go with it, and links lead to the copies. `title` heads the document.
    """
    sections = _sections(connection, store, numbers, title, default_type)
    by_path = {section.note.path: section for section in sections}
    made = Document("")
    names: dict[str, str] = {}
    parts = [f"# {_one_line(title)}\n"] if title else []
    for section in sections:
        body = _Body(connection, section, by_path, links, place, names if attachments else None).text()
        parts.append(f"## {_one_line(section.note.title)}\n\n{body}\n" if body else f"## {_one_line(section.note.title)}\n")
    made.text = "\n".join(parts)
    made.attachments = names
    return made


def _sections(
    connection: sqlite3.Connection, store: NotesStore, numbers: Sequence[int], title: str | None, default_type: str
) -> list[_Section]:
    seen: dict[str, int] = {}
    if title:
        unique_slug(heading_slug(title), seen)
    sections = []
    for row in rows_of(connection, numbers, default_type):
        try:
            data = store.read(row.path)
        except FileNotFoundError:
            continue
        parsed = store.parse_bytes(data, row.path)
        anchor = unique_slug(heading_slug(_one_line(row.title)), seen)
        drops = bool(parsed.headings) and parsed.headings[0].level == 1 and _opens(data, parsed)
        headings: dict[str, str] = {}
        for at, heading in enumerate(parsed.headings):
            if at == 0 and drops:
                slug = anchor
            else:
                slug = unique_slug(heading_slug(heading.text), seen)
            headings.setdefault(heading.slug, slug)
            headings.setdefault(heading.text.casefold(), slug)
        sections.append(_Section(row, parsed, data, anchor, headings, drops))
    return sections


def _opens(data: bytes, parsed: ParsedNote) -> bool:
    """Whether the first heading is the note's title, said at the beginning of its text."""
    first = parsed.headings[0]
    between = data[parsed.body_start : first.start].decode("utf-8", "replace").strip("\ufeff \t\r\n")
    return not between and _one_line(first.text) == _one_line(parsed.title)


@dataclass(slots=True)
class _Body:
    """The text of one section: links as they shall be, headings one level lower."""

    connection: sqlite3.Connection
    section: _Section
    sections: dict[str, _Section]
    mode: LinkMode
    place: Callable[[str], str]
    names: dict[str, str] | None

    def text(self) -> str:
        section = self.section
        edits: list[tuple[int, int, bytes]] = []
        for at, heading in enumerate(section.parsed.headings):
            raw = section.data[heading.start : heading.stop]
            edits.append((heading.start, heading.stop, b"" if at == 0 and section.drops_title else _lower(raw, heading.level)))
        covered = [(start, stop) for start, stop, _new in edits]
        inside: dict[tuple[int, int], list[tuple[int, int, bytes]]] = {}
        for mention, state, target, title in self._mentions():
            new = self._link(mention, state, target, title)
            if new is None or mention.start < section.parsed.body_start:
                continue
            around = next((span for span in covered if span[0] <= mention.start < span[1]), None)
            if around is None:
                edits.append((mention.start, mention.stop, new.encode()))
            else:
                inside.setdefault(around, []).append((mention.start, mention.stop, new.encode()))
        for position, (start, stop, new_bytes) in enumerate(edits):
            if (start, stop) in inside and new_bytes:
                raw = _replaced(section.data[start:stop], inside[start, stop], start)
                level = next(one.level for one in section.parsed.headings if one.start == start)
                edits[position] = (start, stop, _lower(raw, level))
        body = _replaced(section.data[section.parsed.body_start :], edits, section.parsed.body_start)
        text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        return text.strip("\n").rstrip()

    def _mentions(self) -> list[tuple[Mention, str, str | None, str | None]]:
        """(mention, its state, the path it leads to, the title of that note) of every link, as the index knows them."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        found = {
            (start, stop): (state, path, title)
            for start, stop, state, path, title in cursor.execute(
                "SELECT m.start, m.stop, m.state, coalesce(t.path, m.target_path), t.title FROM mentions AS m "
                "LEFT JOIN notes AS t ON t.number = m.target_note WHERE m.note = ?",
                (self.section.note.number,),
            )
        }
        return [
            (mention, *found.get((mention.start, mention.stop), ("broken", None, None)))
            for mention in self.section.parsed.mentions
        ]

    def _link(self, mention: Mention, state: str, target: str | None, title: str | None) -> str | None:
        """What stands in the place of a link; None leaves it."""
        if mention.kind in (MentionKind.TYPED, MentionKind.PROPERTY, MentionKind.URL):
            return None
        embedded = mention.kind in (MentionKind.EMBED, MentionKind.IMAGE)
        if state == "attachment" and target is not None:
            if self.names is not None:
                return _pointing(_label(mention, None), quote(self._copy(target), safe="/"), embedded)
            if self.mode == "preserve":
                return None
            return _pointing(_label(mention, None), quote(self.place(target), safe="/:"), embedded)
        if self.mode == "preserve":
            return None
        if self.mode == "plain" or target is None:
            return _label(mention, title)
        if self.mode == "markdown":
            slug = None
            if mention.anchor and not mention.anchor.startswith("^"):
                slug = heading_slug(mention.anchor.rpartition("#")[2])
            return _pointing(_label(mention, title), quote(self.place(target), safe="/:") + (f"#{slug}" if slug else ""), False)
        section = self.section if state == "self" else self.sections.get(target)
        if section is None:
            return _label(mention, title)
        anchor = section.anchor
        if mention.anchor:
            asked = mention.anchor.rpartition("#")[2]
            anchor = section.headings.get(asked.casefold(), section.headings.get(heading_slug(asked), anchor))
        return _pointing(_label(mention, title), f"#{anchor}", False)

    def _copy(self, target: str) -> str:
        """The path beside the document that an attachment is copied to: its own name, made unique."""
        assert self.names is not None
        if target not in self.names:
            name = posixpath.basename(target)
            stem, dot, suffix = name.rpartition(".")
            number, taken = 1, set(self.names.values())
            path = f"{ATTACHMENTS}/{name}"
            while path in taken:
                number += 1
                path = f"{ATTACHMENTS}/{stem}-{number}.{suffix}" if dot else f"{ATTACHMENTS}/{name}-{number}"
            self.names[target] = path
        return self.names[target]


def _pointing(label: str, address: str, embedded: bool) -> str:
    text = label.replace("[", "\\[").replace("]", "\\]")
    if embedded and re.fullmatch(r"\d+(?:x\d+)?", text):
        text = ""  # the width of a picture is no description
    return f"{'!' if embedded else ''}[{text}]({address})"


def _label(mention: Mention, title: str | None) -> str:
    """The words a reader sees for a link: its label, else the title of the note it leads to, else what it names."""
    if mention.label is not None and mention.label.strip():
        return mention.label
    if title is not None:
        return title
    name = posixpath.basename(mention.target)
    for suffix in (".md", ".markdown"):
        name = name.removesuffix(suffix)
    return name or (mention.anchor or "").lstrip("#^")


def _lower(raw: bytes, level: int) -> bytes:
    """A heading one level lower (level 6 stays), as `#` marks whatever it was."""
    text = raw.decode("utf-8", "replace")
    if text.lstrip().startswith("#"):
        return (text.replace("#", "##", 1) if level < 6 else text).encode()
    end = "\n" if text.endswith("\n") else ""
    words = " ".join(line.strip() for line in _SETEXT.sub("", text).splitlines())
    return f"{'#' * min(level + 1, 6)} {words}{end}".encode()


def _replaced(data: bytes, edits: Sequence[tuple[int, int, bytes]], offset: int) -> bytes:
    made, at = bytearray(), 0
    for start, stop, new in sorted(edits):
        if start - offset < at:
            continue  # inside of what was replaced already
        made += data[at : start - offset]
        made += new
        at = stop - offset
    return bytes(made + data[at:])


def _one_line(text: str) -> str:
    return " ".join(text.split())


# outline


def outline(
    connection: sqlite3.Connection,
    root: int,
    *,
    hops: int = 1,
    links: LinkMode = "preserve",
    place: Callable[[str], str] = lambda path: path,
    default_type: str = DEFAULT_TYPE,
) -> str:
    """A map of content as a nested list in its order: what it links to with their summaries, and so on for `hops` links.

    A note that came before is listed again without what lies below it.
    """
    (top,) = rows_of(connection, [root], default_type)
    lines = [f"# {_one_line(top.title)}", ""]
    seen = {root}
    cursor = connection.cursor()
    cursor.row_factory = None

    def listed(number: int, depth: int) -> None:
        query = (
            "SELECT target_note FROM mentions WHERE note = ? AND target_note IS NOT NULL AND target_note <> ? "
            "GROUP BY target_note ORDER BY min(position)"
        )
        numbers = [found for (found,) in cursor.execute(query, (number, number))]
        for row in rows_of(connection, numbers, default_type):
            if len(lines) > _MAX_OUTLINE:
                return
            (summary,) = cursor.execute("SELECT summary FROM notes WHERE number = ?", (row.number,)).fetchone()
            said = f": {_one_line(summary)}" if summary else ""
            lines.append(f"{'  ' * depth}- {_named(row, links, place)}{said}")
            if row.number not in seen and depth + 1 < hops:
                seen.add(row.number)
                listed(row.number, depth + 1)
            seen.add(row.number)

    listed(root, 0)
    return "\n".join(lines) + "\n"


def _named(row: NoteRow, links: LinkMode, place: Callable[[str], str]) -> str:
    title = _one_line(row.title)
    if links == "markdown":
        shown = title.replace("[", "\\[").replace("]", "\\]")
        return f"[{shown}]({quote(place(row.path), safe='/:')})"
    if links == "preserve":
        return f"[[{row.handle}|{title}]]" if row.own_id else f"[[{row.path.removesuffix('.md')}|{title}]]"
    return title


def sources_of(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[tuple[str, str | None, str | None, str]]:
    """(url, title, accessed, title of the note) of every source of these notes, in their order."""
    cursor = connection.cursor()
    cursor.row_factory = None
    found = []
    for number in numbers:
        query = (
            "SELECT s.url, s.title, s.accessed, n.title FROM sources AS s JOIN notes AS n ON n.number = s.note "
            "WHERE s.note = ? ORDER BY s.position"
        )
        found += list(cursor.execute(query, (number,)))
    return found

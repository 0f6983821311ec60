"""What the keys of the frontmatter mean: id, title, dates, tags, aliases, sources, links, and wiki links in any value.

Keys are compared without regard to case. What cannot be understood is a problem, and the note goes without it; nothing here
raises. Reading the frontmatter belongs to `schemas.notes.front`. Light: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.findings import Rule
from schemas.notes.config import NotesConfig
from schemas.notes.dates import read_date
from schemas.notes.front import Front
from schemas.notes.front_quick import Entry, Node, Problem, Scalar, plain_value
from schemas.notes.inlines import WIKI_LINK
from schemas.notes.linktypes import DEFAULT_TYPE
from schemas.notes.model import MentionKind
from schemas.notes.rules import DATE, ID, LINK_ENTRY, LINK_TYPE, NOTE_TYPE, SOURCE_ENTRY, TAG_COMMENT, TYPE, VALUE

TAG_KEYS = ("tags", "tag", "keywords", "keyword")
ALIAS_KEYS = ("aliases", "alias")
CREATED_KEYS = ("created", "date", "created_at", "date created", "creation date", "created-at")
UPDATED_KEYS = ("updated", "modified", "updated_at", "date modified", "last modified", "lastmod", "last_modified", "updated-at")

_ID = re.compile(r"[A-Za-z0-9_-]+\Z")
_PIPE = re.compile(r"\\?\|")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_TAG_GAP = re.compile(r"[^\s,]+")
_COMMA_GAP = re.compile(r"[^,]+")


class KeyMention(NamedTuple):
    """A link in the frontmatter, in characters of the note."""

    kind: MentionKind
    target: str
    anchor: str | None
    label: str | None
    type: str
    start: int
    stop: int
    target_start: int
    target_stop: int
    property: str | None


class KeySource(NamedTuple):
    """One source, and where it stands."""

    url: str
    title: str | None
    accessed: str | None
    offset: int


@dataclass(slots=True)
class Keys:
    """What the frontmatter says, where it says something that can be understood."""

    id: str | None = None
    title: str | None = None
    type: str | None = None
    created: str | None = None
    updated: str | None = None
    value: int | None = None
    summary: str | None = None
    tags: list[tuple[str, int]] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    sources: list[KeySource] = field(default_factory=list)
    mentions: list[KeyMention] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_keys(text: str, front: Front, config: NotesConfig) -> Keys:
    """What the keys of `front`, which was read from `text`, mean. Never raises."""
    if not front.entries:
        return Keys()
    return _Reader(text, front, config).read()


def split_target(raw: str) -> tuple[str, str | None]:
    """The target of a wiki link and its anchor, escapes undone: `a#b` is (`a`, `b`)."""
    target, mark, anchor = raw.partition("#")
    if "\\" in raw:
        target, anchor = _ESCAPED.sub(r"\1", target), _ESCAPED.sub(r"\1", anchor)
    return target.strip(), (anchor.strip() or None) if mark else None


class _Reader:
    def __init__(self, text: str, front: Front, config: NotesConfig) -> None:
        self.text = text
        self.front = front
        self.config = config
        self.keys = Keys()
        self.lowered: dict[str, tuple[str, Entry]] = {}
        for name, entry in front.entries.items():
            lower = name.lower()
            if lower not in self.lowered or lower == name:
                self.lowered[lower] = (name, entry)

    def read(self) -> Keys:
        keys, known = self.keys, self.lowered
        keys.id = self.id()
        keys.title = self.word("title")
        keys.type = self.type()
        keys.created = self.date(CREATED_KEYS)
        keys.updated = self.date(UPDATED_KEYS)
        if "value" in known:
            keys.value = self.value(known["value"][1])
        keys.summary = self.word("summary")
        for name in TAG_KEYS:
            if name in known:
                self.tags(*known[name])
        for name in ALIAS_KEYS:
            if name in known:
                self.aliases(*known[name])
        for name in ("sources", "source"):
            if name in known:
                self.sources(*known[name])
        if "links" in known:
            self.links(known["links"][1])
        if self.text.find("[[", self.front.start, self.front.stop) >= 0:
            self.properties()
        return keys

    def add(self, rule: Rule, offset: int, message: str, fix: str, value: str | None = None) -> None:
        self.keys.problems.append(Problem(rule, offset, message, fix, value))

    def wrong(self, name: str, entry: Entry, wanted: str) -> None:
        message = f"{name} is {_kind(entry.node)}, not {wanted}; it is left out"
        self.add(TYPE, entry.key_start, message, f"write {wanted}")

    # -- single values

    def word(self, name: str) -> str | None:
        """A key that holds text; numbers and dates are text as they are written."""
        found = self.lowered.get(name)
        if found is None:
            return None
        written, entry = found
        if type(entry.node) is not Scalar:
            self.wrong(written, entry, "text")
            return None
        return _text(entry.node)

    def id(self) -> str | None:
        note_id = self.word("id")
        if note_id is not None and not _ID.match(note_id):
            entry = self.lowered["id"][1]
            message = f"the id {_shown(note_id)} has characters other than letters, digits, - and _"
            self.add(ID, entry.key_start, message, "use letters, digits, - and _ only", note_id)
        return note_id

    def type(self) -> str | None:
        name = self.word("type")
        if name is None:
            return None
        name = name.removeprefix("[[").removesuffix("]]").strip().lower()
        if not self.config.ontology.known_note_type(name):
            allowed = ", ".join(self.config.ontology.note_type_names())
            message = f"the note type {_shown(name)} is not in the ontology"
            self.add(NOTE_TYPE, self.lowered["type"][1].key_start, message, f"use one of {allowed}, or declare it", name)
        return name or None

    def date(self, names: tuple[str, ...]) -> str | None:
        for name in names:
            found = self.lowered.get(name)
            if found is None:
                continue
            written, entry = found
            if type(entry.node) is not Scalar:
                self.wrong(written, entry, "a date")
                continue
            text = _text(entry.node)
            if text is None:
                continue
            date = read_date(text)
            if date is not None:
                return date
            message = f"{written} is {_shown(text)}, which is no date or can be understood in several ways"
            self.add(DATE, entry.node.start, message, "write it as 2026-01-31 or 2026-01-31T13:00:00Z", text)
        return None

    def value(self, entry: Entry) -> int | None:
        if type(entry.node) is not Scalar:
            self.wrong("value", entry, "a whole number from 0 to 100")
            return None
        text = _text(entry.node)
        if text is None:
            return None
        number = plain_value(text)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 100:
            return number
        message = f"value is {_shown(text)}, which is no whole number from 0 to 100; the note has no value"
        self.add(VALUE, entry.node.start, message, "write a whole number from 0 to 100", text)
        return None

    # -- lists

    def tags(self, name: str, entry: Entry) -> None:
        node = entry.node
        if type(node) is Scalar:
            if node.text or not node.plain:
                self.split_tags(node)
            else:
                self.commented_tags(node)
            return
        if type(node) is not list:
            self.wrong(name, entry, "a list of tags")
            return
        odd = None
        for item in node:
            if type(item) is not Scalar:
                odd = odd or item
                continue
            if item.plain and not isinstance(plain_value(item.text), (str, int, float)):
                odd = odd or item
                continue
            if item.plain and item.text in ("true", "True", "TRUE", "false", "False", "FALSE"):
                odd = odd or item
            self.tag(item.text, item.start if item.plain else item.start + 1)
        if odd is not None:
            offset = odd.start if type(odd) is Scalar else entry.key_start
            message = f"{name} holds {_kind(odd)}"
            self.add(TYPE, offset, message, "write tags as words")

    def split_tags(self, node: Scalar) -> None:
        """Tags in one text: between commas, else between spaces."""
        at = node.start if node.plain or self.text[node.start] not in "\"'" else node.start + 1
        text = node.text
        if text.startswith("[") and text.endswith("]") and not text.startswith("[["):
            text, at = text[1:-1], at + 1
        for piece in (_COMMA_GAP if "," in text else _TAG_GAP).finditer(text):
            self.tag(piece[0].strip(" \t\"'"), at + piece.start() + len(piece[0]) - len(piece[0].lstrip(" \t\"'")))

    def commented_tags(self, node: Scalar) -> None:
        """`tags: #a #b`: for YAML there is nothing behind the colon."""
        end = self.text.find("\n", node.start)
        line = self.text[node.start : end if end >= 0 else len(self.text)]
        stripped = line.lstrip(" \t")
        if not stripped.startswith("#") or stripped[1:2] in ("", " ", "#"):
            return
        at = node.start + len(line) - len(stripped)
        for piece in _TAG_GAP.finditer(stripped):
            if not piece[0].startswith("#"):
                break
            self.tag(piece[0], at + piece.start())
        self.add(
            TAG_COMMENT, at, "the tags begin with #, which makes them a comment for YAML", "leave out the #", stripped.strip()
        )

    def tag(self, written: str, offset: int) -> None:
        name = written.strip()
        bare = name.lstrip("#")
        if bare := bare.strip("/ "):
            self.keys.tags.append((bare, offset))

    def aliases(self, name: str, entry: Entry) -> None:
        node = entry.node
        aliases = self.keys.aliases
        if type(node) is Scalar:
            text = _text(node)
            found = [] if text is None else [piece.strip() for piece in text.strip("[]").split(",")]
        elif type(node) is list:
            found = []
            for item in node:
                if type(item) is Scalar:
                    found.append(_text(item) or "")
                else:
                    self.wrong(name, entry, "a list of names")
        else:
            self.wrong(name, entry, "a list of names")
            return
        aliases += [alias for alias in dict.fromkeys(found) if alias and alias not in aliases]

    def sources(self, name: str, entry: Entry) -> None:
        for node in entry.node if type(entry.node) is list else [entry.node]:
            if type(node) is Scalar:
                if url := _text(node):
                    self.keys.sources.append(KeySource(url, None, None, node.start))
            elif type(node) is dict and (found := _first(node, ("url", "link", "href", "doi"))):
                title, accessed = _first(node, ("title", "name")), _first(node, ("accessed",))
                when = accessed.text.strip() if accessed else None
                self.keys.sources.append(
                    KeySource(
                        found.text.strip(),
                        title.text.strip() if title else None,
                        (read_date(when) or when) if when else None,
                        found.start,
                    )
                )
            else:
                offset = next(iter(node.values())).key_start if type(node) is dict and node else entry.key_start
                self.add(SOURCE_ENTRY, offset, f"an entry of {name} has no url", "write `url: …`")

    # -- links

    def links(self, entry: Entry) -> None:
        node = entry.node
        if type(node) is list:
            for item in node:
                self.link(item, entry.key_start)
        elif type(node) is dict:
            self.links_by_type(node)
        elif _text(node) is not None:
            self.target(node, DEFAULT_TYPE)

    def link(self, node: Node, offset: int) -> None:
        """One entry: a target, `type` and `id`, or types with targets."""
        if type(node) is Scalar:
            if _text(node) is None:
                self.add(LINK_ENTRY, node.start, "an entry of links is empty", "remove it")
            else:
                self.target(node, DEFAULT_TYPE)
            return
        if type(node) is not dict or not node:
            self.add(
                LINK_ENTRY, offset, "an entry of links is neither a target nor a type and an id", "write `type: …` and `id: …`"
            )
            return
        first = next(iter(node.values())).key_start
        found = _first(node, ("id", "target", "to"))
        kind = _first(node, ("type", "rel", "relation"))
        if found is None and kind is None:
            self.links_by_type(node)
            return
        if found is None:
            self.add(LINK_ENTRY, first, "an entry of links has no id", "write `id: …`")
            return
        stop = max(found.stop, kind.stop if kind else 0)
        name = kind.text.strip().lower() if kind else DEFAULT_TYPE
        if kind is None:
            self.add(LINK_ENTRY, first, f"an entry of links has no type; {DEFAULT_TYPE} is taken", "write `type: …`")
        self.target(found, name, first, stop)

    def links_by_type(self, node: dict[str, Entry]) -> None:
        for name, entry in node.items():
            for item in entry.node if type(entry.node) is list else [entry.node]:
                if type(item) is Scalar and _text(item) is not None:
                    self.target(item, name.strip().lower())
                elif type(item) is not Scalar:
                    self.add(LINK_ENTRY, entry.key_start, f"{_shown(name)} in links names no target", "write the id of a note")

    def target(self, node: Scalar, name: str, start: int | None = None, stop: int | None = None) -> None:
        """A typed link to what `node` says: an id, a path, or wiki links."""
        name = name or DEFAULT_TYPE
        ontology = self.config.ontology
        if not ontology.known(name):
            allowed = ", ".join(ontology.link_type_names())
            self.add(LINK_TYPE, node.start, f"the link type {_shown(name)} is not in the ontology", f"use one of {allowed}", name)
        source = self.text[node.start : node.stop]
        if "[[" in source:
            for mention in self.wiki(node, name, None, MentionKind.TYPED):
                self.keys.mentions.append(
                    mention if start is None or stop is None else mention._replace(start=start, stop=max(stop, mention.stop))
                )
            return
        inner_start, inner_stop = node.start, node.stop
        if source[:1] in ("'", '"') and source[-1:] == source[:1] and len(source) > 1:
            inner_start, inner_stop = inner_start + 1, inner_stop - 1
        raw = node.text.strip()
        target, anchor = (raw, None) if "://" in raw else split_target(raw)
        self.keys.mentions.append(
            KeyMention(
                MentionKind.TYPED,
                target,
                anchor,
                None,
                name,
                node.start if start is None else start,
                node.stop if stop is None else stop,
                inner_start,
                inner_stop,
                None,
            )
        )

    def properties(self) -> None:
        """Wiki links in every other value. A key that is a known link type gives them that type."""
        for name, entry in self.front.entries.items():
            if name.lower() == "links":
                continue
            known = self.config.ontology.link_type(name.strip().lower())
            kind = known.name if known is not None else DEFAULT_TYPE
            for node in _scalars(entry.node):
                if self.text.find("[[", node.start, node.stop) >= 0:
                    self.keys.mentions += self.wiki(node, kind, name, MentionKind.PROPERTY)
        self.keys.mentions.sort(key=_start)

    def wiki(self, node: Scalar, name: str, key: str | None, kind: MentionKind) -> Iterator[KeyMention]:
        """The wiki links in a value, where it stands in the text."""
        for link in WIKI_LINK.finditer(self.text, node.start, node.stop):
            inner = link[1]
            pipe = _PIPE.search(inner)
            raw = inner[: pipe.start()] if pipe else inner
            stripped = raw.strip()
            if not stripped:
                continue
            start = link.start(1) + len(raw) - len(raw.lstrip())
            target, anchor = split_target(stripped)
            label = inner[pipe.end() :].strip() or None if pipe else None
            yield KeyMention(kind, target, anchor, label, name, link.start(), link.end(), start, start + len(stripped), key)


def _start(mention: KeyMention) -> int:
    return mention.start


def _scalars(node: Node) -> Iterator[Scalar]:
    if type(node) is Scalar:
        yield node
    elif type(node) is list:
        for item in node:
            yield from _scalars(item)
    else:
        for entry in node.values():
            yield from _scalars(entry.node)


def _first(node: dict[str, Entry], names: tuple[str, ...]) -> Scalar | None:
    """The value of the first of these keys that holds text."""
    for name in names:
        for written, entry in node.items():
            if written.lower() == name and type(entry.node) is Scalar and _text(entry.node) is not None:
                found: Scalar = entry.node
                return found
    return None


def _text(node: Scalar) -> str | None:
    """The text of a value; None for null and for white space."""
    if node.plain and plain_value(node.text) is None:
        return None
    text = node.text.strip()
    return text or None


def _kind(node: Any) -> str:
    if type(node) is list:
        return "a list"
    if type(node) is dict:
        return "a mapping"
    value = plain_value(node.text) if node.plain else node.text
    return "empty" if value is None else "true or false" if isinstance(value, bool) else f"{_shown(node.text)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")

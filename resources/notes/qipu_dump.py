"""Reading the packs that qipu's `dump` writes: a text of one record per line, contents in base64.

The records, as qipu 0.3 writes them: `H` header, `CFG` configuration, `N` note, `C` its body, `S` a source of it, `L` link, `A`
attachment, `D` its bytes, `END`. What the format itself loses (quotes in titles, the names of files, the order of keys) stays
lost; links that stood in the text (`inline=true`) stay there and do not become typed ones.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.document import Value
from schemas.errors import HeadwaterError, NewerFormat, Refused
from schemas.notes.pack import FILE_LIMIT, FILES_LIMIT, TOTAL_LIMIT, Lines
from schemas.paths import check_name

STORE_VERSION = 1
"""The newest `store_version` that is understood."""

_NOTE = re.compile(
    r'(?P<id>\S+) (?P<type>\S+) "(?P<title>.*)" tags=(?P<tags>\S+) created=(?P<created>\S+) updated=(?P<updated>\S+)'
)
_MORE = re.compile(
    r' (?:(?P<text>summary|source|author|generated_by|prompt_hash)="(?P<quoted>.*?)"'
    r"|(?P<word>compacts|verified|value|custom)=(?P<plain>\S+))"
    r"(?= (?:summary|compacts|source|author|generated_by|prompt_hash|verified|value|custom)=|\Z)"
)
_SOURCE = re.compile(r'(?P<id>\S+) url=(?P<url>.*?) title="(?P<title>.*)" accessed=(?P<accessed>\S+)')
_LINK = re.compile(r"(?P<source>\S+) (?P<target>\S+) type=(?P<type>\S+) inline=(?P<inline>true|false)")
_FIELD = re.compile(r"(\w+)=(\S*)")
_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(slots=True)
class DumpedNote:
    """One note of a dump: its frontmatter in qipu's order, its body."""

    id: str
    type: str
    title: str
    meta: dict[str, Value]
    body: str = ""


@dataclass(slots=True)
class Dump:
    """What a dump holds. `links` are the typed ones, (source id, type, target id)."""

    notes: list[DumpedNote] = field(default_factory=list)
    links: list[tuple[str, str, str]] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    config: bytes | None = None


def is_dump(head: bytes) -> bool:
    """Whether a file that begins with `head` is a dump of qipu's."""
    return head.startswith(b"H pack=")


def read_dump(stream: Lines, name: str) -> Dump:
    """The dump in `stream`; `name` is what messages call it.

    Raises NewerFormat for another version of the format or a newer one of the store, Refused (rule `path-…`) for attachments
    whose names are no names, HeadwaterError (rule `notes-pack`) with the line for anything else that does not fit.
    """
    lines = _Lines(stream, name)
    dump = Dump()
    by_id: dict[str, DumpedNote] = {}
    _check_head(next(lines, ""), name)
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "END":
            break
        if kind == "CFG":
            dump.config = lines.content(rest, "CFG-END")
        elif kind == "N":
            note = _note(rest, lines)
            if note.id in by_id or len(by_id) >= FILES_LIMIT:
                raise lines.damaged(f"the note {note.id} comes twice")
            by_id[note.id] = note
            dump.notes.append(note)
        elif kind == "C" and dump.notes:
            try:
                dump.notes[-1].body = lines.content(rest, "C-END").decode("utf-8")
            except UnicodeDecodeError:
                raise lines.damaged("the text of the note is not UTF-8") from None
        elif kind == "S":
            _add_source(rest, by_id, lines)
        elif kind == "L":
            link = lines.matched(_LINK, rest)
            if link["inline"] == "false":
                dump.links.append((link["source"], "related" if link["type"] == "-" else link["type"], link["target"]))
        elif kind == "A":
            attachment = _attachment_name(rest, name)
            data, _, encoded = next(lines, "").partition(" ")
            if data != "D":
                raise lines.damaged("an attachment has no content")
            dump.attachments[attachment] = lines.content(encoded, "D-END")
        elif line.strip():
            raise lines.damaged(f"no record begins with {kind[:20]!r}")
    else:
        raise lines.damaged("the last line is missing: the dump was cut short")
    return dump


class _Lines(Iterator[str]):
    """The lines of a dump without their ends, counted and capped."""

    def __init__(self, stream: Lines, name: str) -> None:
        self._stream = stream
        self._name = name
        self._number = 0
        self._total = 0

    def __next__(self) -> str:
        line = self._stream.readline(FILE_LIMIT * 2)
        if not line:
            raise StopIteration
        self._number += 1
        self._total += len(line)
        if self._total > TOTAL_LIMIT or not line.endswith(b"\n"):
            if self._total > TOTAL_LIMIT or len(line) >= FILE_LIMIT * 2:
                raise Refused("the dump is too large", rule="notes-pack-size", path=self._name, fix="dump fewer notes")
            raise self.damaged("the last line is cut short")
        try:
            return line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise self.damaged("the line is not UTF-8") from None

    def damaged(self, message: str) -> HeadwaterError:
        return HeadwaterError(
            message, rule="notes-pack", path=self._name, line=self._number, fix="dump the store again with `qipu dump`"
        )

    def content(self, encoded: str, closing: str) -> bytes:
        """Decoded content, whose closing line is taken too."""
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise self.damaged("the content cannot be decoded") from None
        if next(self, None) != closing:
            raise self.damaged(f"{closing} is missing")
        return data

    def matched(self, pattern: re.Pattern[str], text: str) -> re.Match[str]:
        match = pattern.fullmatch(text)
        if match is None:
            raise self.damaged("the record is incomplete")
        return match


def _check_head(line: str, name: str) -> None:
    fields = dict(_FIELD.findall(line))
    if not line.startswith("H ") or fields.get("version") != "1.0":
        raise NewerFormat(
            f"the dump has version {fields.get('version', '?')}; 1.0 is understood",
            rule="notes-pack-version",
            path=name,
            line=1,
            fix="dump the store with qipu 0.3",
        )
    version = fields.get("store_version", "1")
    if not version.isdecimal() or int(version) > STORE_VERSION:
        raise NewerFormat(
            f"the dump is of a store of version {version}; {STORE_VERSION} is understood",
            rule="notes-pack-version",
            path=name,
            line=1,
            fix="dump the store with qipu 0.3",
        )


def _note(text: str, lines: _Lines) -> DumpedNote:
    match = _NOTE.match(text)
    if match is None or not _ID.match(match["id"]):
        raise lines.damaged("the record of a note is incomplete")
    title = match["title"].replace('\\"', '"')
    meta: dict[str, Value] = {"id": match["id"], "title": title, "type": match["type"].lower()}
    for key in ("created", "updated"):
        if match[key] != "-":
            meta[key] = match[key].replace("+00:00", "Z")
    if match["tags"] != "-":
        meta["tags"] = [*match["tags"].split(",")]
    at = match.end()
    while at < len(text):
        more = _MORE.match(text, at)
        if more is None:
            raise lines.damaged("the record of a note has a part that is not understood")
        at = more.end()
        key = more["text"] or more["word"]
        meta[key] = more["quoted"] if more["text"] else _plain(key, more["plain"], lines)
    return DumpedNote(match["id"], str(meta["type"]), title, meta)


def _plain(key: str, word: str, lines: _Lines) -> Value:
    if key == "compacts":
        return [*word.split(",")]
    if key == "verified":
        return word == "true"
    try:
        if key == "value":
            return int(word)
        custom: Value = json.loads(base64.b64decode(word, validate=True))
    except (ValueError, RecursionError):
        raise lines.damaged(f"{key} cannot be read") from None
    return custom


def _add_source(text: str, by_id: dict[str, DumpedNote], lines: _Lines) -> None:
    match = lines.matched(_SOURCE, text)
    if match["id"] not in by_id:
        raise lines.damaged("a source comes before its note")
    entry: dict[str, Value] = {"url": match["url"]}
    if match["title"]:
        entry["title"] = match["title"]
    if match["accessed"] != "-":
        entry["accessed"] = match["accessed"]
    sources = by_id[match["id"]].meta.setdefault("sources", [])
    assert isinstance(sources, list)
    sources.append(entry)


def _attachment_name(text: str, dump: str) -> str:
    """The file name of an attachment: its path is one of the machine it was dumped on."""
    match = re.search(r" name=(?P<name>.*?) content_type=\S*\Z", text)
    name = match["name"] if match is not None else text.rpartition("/")[2]
    try:
        return check_name(name)
    except HeadwaterError as error:
        raise Refused(f"the attachment {name[:80]!a} is refused: {error.message}", rule=error.rule, path=dump) from None

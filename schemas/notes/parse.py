"""Reading one note: bytes in, everything that can be known of it out, whatever the bytes are.

Outcomes. *Indexed*: read in full; findings may still name values that mean nothing. *Degraded*: read, but the frontmatter could
not be read as a whole, a key stands twice, a merge is unresolved, or there are more links than are kept; the body counts, and
frontmatter that could not be read is searchable as text. *Quarantined*: not UTF-8, too large, or a Git-LFS pointer; the text is
searchable as far as it can be decoded, and means nothing. Where links lead belongs to `assets.notes`. Light.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import Any
from urllib.parse import unquote

from schemas.errors import InvalidText
from schemas.findings import Finding, found
from schemas.notes.config import MIB, NotesConfig
from schemas.notes.front import Front, read_front
from schemas.notes.front_quick import Problem, json_value
from schemas.notes.inlines import EMBED, IMAGE, MARKDOWN, URL, WIKI
from schemas.notes.keys import Keys, read_keys, split_target
from schemas.notes.layout import derived_id
from schemas.notes.linktypes import DEFAULT_TYPE
from schemas.notes.model import Block, Heading, Mention, MentionKind, Outcome, ParsedNote, SourceRef, Tag
from schemas.notes.rules import (
    BARE_LINKS,
    CONFLICT,
    ENCODING,
    FRONTMATTER,
    FRONTMATTER_SIZE,
    LFS_POINTER,
    NUL,
    TOO_LARGE,
    TOO_MANY,
)
from schemas.notes.scan import Body, scan_body
from schemas.text import check_encoding_mark, invalid_bytes

PARSER_VERSION = 2
"""Raised with every change to what `parse_note` returns for the same bytes: every note is read again then."""

MAX_MENTIONS = 250_000
MAX_FRONTMATTER = 10 << 10
MOST_FINDINGS = 20
"""Of each rule, in the frontmatter of one note; when these are mended, the next ones are shown."""
_BOM = b"\xef\xbb\xbf"
_LFS = b"version https://git-lfs.github.com/spec/"
_LONE_CR = re.compile(r"\r(?!\n)")
_CONFLICT_OPEN = re.compile(r"^<{7}(?: |\r?$)", re.MULTILINE)
_CONFLICT_CLOSE = re.compile(r"^>{7}(?: |\r?$)", re.MULTILINE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?!\s)")
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+://|mailto:)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_LINE_ENDS = re.compile(r"[ \t]*\r?\n[ \t>]*")
_LIST_LINK = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_BARE = 20
"""A link in a list with fewer other characters on its line says nothing about why it is there (qipu's measure)."""

_KINDS = {
    WIKI: MentionKind.WIKI,
    EMBED: MentionKind.EMBED,
    MARKDOWN: MentionKind.MARKDOWN,
    IMAGE: MentionKind.IMAGE,
    URL: MentionKind.URL,
}


def parse_note(data: bytes, path: str, *, prefix: str = "", config: NotesConfig = NotesConfig()) -> ParsedNote:  # noqa: B008 - frozen
    """Read a note. `path` is relative to the store, `prefix` is the store's root in the workspace ('' or `notes/.qipu`).

    Never raises for what the bytes hold: what is wrong is in `findings`, and `outcome` says how far the note was understood.
    """
    where = f"{prefix.rstrip('/')}/{path}" if prefix else path
    refused = _refused(data, where, config)
    if refused is not None:
        finding, shown = refused
        return _quarantined(path, data, finding, shown)
    mark = len(_BOM) if data.startswith(_BOM) else 0
    try:
        text = str(data[mark:] if mark else data, "utf-8")
    except UnicodeDecodeError as error:
        first = invalid_bytes(data[mark:] if mark else data, error, where, shift=mark).findings[0]
        finding = found(ENCODING, where, first.message, line=first.line, column=first.column, fix=first.fix, value=first.value)
        return _quarantined(path, data, finding, _decoded(data[mark:]))
    return _Parser(text, mark, path, where, config).note(len(data))


def _refused(data: bytes, where: str, config: NotesConfig) -> tuple[Finding, str] | None:
    """Why a file is not read as a note at all, and what of it can be searched."""
    if len(data) > config.max_note_bytes:
        message = f"the note has {len(data):,} bytes; up to {config.max_note_bytes:,} are understood"
        return found(TOO_LARGE, where, message, fix="split it, or keep it outside of the store"), _decoded(data[:MIB])
    if data.startswith(_LFS):
        message = "this is a Git-LFS pointer, not the note"
        return found(LFS_POINTER, where, message, line=1, fix="run git lfs pull"), _decoded(data)
    try:
        check_encoding_mark(data[:4], where)
    except InvalidText as error:
        first = error.findings[0]
        return found(ENCODING, where, first.message, line=1, column=1, fix=first.fix), _decoded(data)
    return None


def _decoded(data: bytes) -> str:
    """Bytes in an encoding that is not the right one, as text that can be searched."""
    for mark, name in (
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(name, "replace")
    zeros = "".join("x" if byte else "0" for byte in data[:4])
    encoding = {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le", "000x": "utf-32-be"}.get(zeros)
    if encoding:
        return data.decode(encoding, "replace")
    text = data.decode("utf-8", "replace")
    if any(sign > "\x7f" and sign != "\ufffd" for sign in text[: 1 << 16]):
        return text
    return data.decode("cp1252", "replace")


def _quarantined(path: str, data: bytes, finding: Finding, text: str) -> ParsedNote:
    shown = _searchable(text)
    return ParsedNote(
        path=path,
        outcome=Outcome.QUARANTINED,
        id=derived_id(path),
        own_id=False,
        title=_file_title(path),
        title_from="file",
        type=None,
        created=None,
        updated=None,
        value=None,
        summary=None,
        words=_words(shown),
        lines=text.count("\n") + (not text.endswith("\n") and bool(text)),
        search_text=shown,
        findings=[finding],
    )


def _file_title(path: str) -> str:
    name = path.rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    return (stem if dot and stem else name) or path


def _searchable(text: str) -> str:
    """Text for an index: without NUL, in NFC."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() or unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _words(text: str) -> int:
    """Words between spaces; a Chinese, Japanese or Korean character is a word of its own."""
    count = len(text.split())
    if text.isascii():
        return count
    signs = len(_CJK.findall(text))
    return count + signs - len(re.findall(rf"{_CJK.pattern}+", text)) if signs else count


class _Parser:
    """Puts together what frontmatter and body say, offsets in bytes of the file."""

    def __init__(self, text: str, mark: int, path: str, where: str, config: NotesConfig) -> None:
        self.mark = mark
        self.path = path
        self.where = where
        self.config = config
        self.written = text
        self.findings: list[Finding] = []
        self.degraded = False
        self.starts: list[int] = []
        if "\r" in text and _LONE_CR.search(text):
            text = _LONE_CR.sub("\n", text)
        self.text = text.replace("\0", "\ufffd") if "\0" in text else text
        """As long as `written`, in characters."""
        if self.text is not text:
            self.problem(Problem(NUL, text.index("\0"), "the note holds a NUL character", "remove it"))

    def problem(self, problem: Problem) -> None:
        line, column = self.place(problem.offset)
        self.findings.append(
            found(problem.rule, self.where, problem.message, line=line, column=column, fix=problem.fix, value=problem.value)
        )

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset of the text."""
        if not self.starts:
            self.starts = [0, *accumulate(len(line) + 1 for line in self.text.split("\n"))]
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def note(self, size: int) -> ParsedNote:
        text = self.text
        front = read_front(text, self.where)
        keys = read_keys(text, front, self.config)
        body_start = front.body_start
        body = scan_body(text[body_start:] if body_start else text)
        self.conflicts(front, body, body_start)
        if not front.present and front.entries:
            # Frontmatter that never ends is body, too: what it says is not said twice.
            said = {mention.start for mention in keys.mentions}
            body.links = [link for link in body.links if link.start not in said]
            tagged = {offset for _, offset in keys.tags}
            body.tags = [tag for tag in body.tags if tag[0] not in tagged]
        if not front.whole:
            self.degraded = True
        counts: Counter[str] = Counter()
        for problem in (*front.problems, *keys.problems):
            counts[problem.rule.id] += 1
            if counts[problem.rule.id] <= MOST_FINDINGS:
                self.problem(problem)
        if front.present and front.stop - front.start > MAX_FRONTMATTER:
            message = f"the frontmatter has {front.stop - front.start:,} characters"
            self.problem(Problem(FRONTMATTER_SIZE, 0, message, "move text into the body"))
        if len(body.links) > MAX_MENTIONS:
            message = f"the note holds {len(body.links):,} links; the first {MAX_MENTIONS:,} are kept"
            self.problem(Problem(TOO_MANY, body_start + body.links[MAX_MENTIONS].start, message, "split the note"))
            del body.links[MAX_MENTIONS:]
            self.degraded = True
        search_text = body.search_text
        if front.present and not front.whole:
            search_text = text[front.start : front.stop] + search_text
        search_text = _searchable(search_text)
        title, title_from = self.title(keys, body)
        note = ParsedNote(
            path=self.path,
            outcome=Outcome.DEGRADED if self.degraded else Outcome.INDEXED,
            id=keys.id or derived_id(self.path),
            own_id=keys.id is not None,
            title=title,
            title_from=title_from,
            type=keys.type,
            created=keys.created,
            updated=keys.updated,
            value=keys.value,
            summary=keys.summary or body.summary,
            aliases=keys.aliases,
            meta=json_value(front.entries) if front.entries else {},
            fields=body.fields,
            words=_words(search_text),
            paragraphs=body.paragraphs,
            lines=text.count("\n") + (not text.endswith("\n") and bool(text)),
            search_text=search_text,
        )
        self.placed(note, keys, body, body_start)
        note.findings = sorted(self.findings)
        return note

    def title(self, keys: Keys, body: Body) -> tuple[str, str]:
        """The frontmatter's, else the first heading of the highest level there is, else the file's name."""
        if keys.title:
            return keys.title, "frontmatter"
        best = None
        for heading in body.headings:
            if heading.text and not heading.nested and (best is None or heading.level < best.level):
                best = heading
        return (best.text, "heading") if best else (_file_title(self.path), "file")

    def conflicts(self, front: Front, body: Body, body_start: int) -> None:
        """An unresolved merge, unless it stands in a block of code, where it is shown."""
        text = self.text
        if "<<<<<<<" not in text or ">>>>>>>" not in text:
            return
        for opened in _CONFLICT_OPEN.finditer(text):
            at = opened.start() - body_start
            before = bisect_right(body.code, (at, len(text)))
            if at >= 0 and before and at < body.code[before - 1][1]:
                continue
            closed = _CONFLICT_CLOSE.search(text, opened.end())
            if closed is None:
                return
            first, last = self.place(opened.start())[0], self.place(closed.start())[0]
            fix = "resolve it and remove the <<<<<<<, ======= and >>>>>>> lines"
            self.problem(Problem(CONFLICT, opened.start(), f"unresolved merge between lines {first} and {last}", fix))
            self.degraded = True
            # What the markers do to the YAML is the same fault.
            front.problems[:] = [problem for problem in front.problems if problem.rule is not FRONTMATTER]
            return

    # -- places

    def placed(self, note: ParsedNote, keys: Keys, body: Body, body_start: int) -> None:
        """Add everything that has a place: mentions, headings, tags, blocks, sources."""
        offsets = self.offsets(keys, body, body_start)
        lines = body.line_starts
        above = self.text.count("\n", 0, body_start) + 1 if body_start else 1
        note.body_start = offsets(body_start)
        for name, offset in keys.tags:
            line, column = self.place(offset)
            note.tags.append(Tag(name, False, line, column))
        for offset, name in body.tags:
            index = bisect_right(lines, offset) - 1
            note.tags.append(Tag(name, True, above + index, offset - lines[index] + 1))
        for source in keys.sources:
            note.sources.append(SourceRef(source.url, source.title, source.accessed, self.place(source.offset)[0]))
        for heading in body.headings:
            note.headings.append(
                Heading(
                    heading.level,
                    heading.text,
                    heading.slug,
                    above + bisect_right(lines, heading.start) - 1,
                    offsets(body_start + heading.start),
                    offsets(body_start + heading.stop),
                )
            )
        for block, offset in body.blocks:
            note.blocks.append(Block(block, above + bisect_right(lines, offset) - 1))
        for key in keys.mentions:
            line, column = self.place(key.start)
            note.mentions.append(
                Mention(
                    key.kind,
                    key.target,
                    key.anchor,
                    key.label,
                    key.type,
                    line,
                    column,
                    offsets(key.start),
                    offsets(key.stop),
                    offsets(key.target_start),
                    offsets(key.target_stop),
                    key.property,
                )
            )
        self.links(note, body, body_start, above, offsets)

    def links(self, note: ParsedNote, body: Body, body_start: int, above: int, offsets: Any) -> None:
        text, lines, mentions = self.text, body.line_starts, note.mentions
        bare = 0
        bare_at = -1
        for link in body.links:
            kind, start, stop, target_start, target_stop, raw, label_start, label_stop, _ = link
            index = bisect_right(lines, start) - 1
            line_start = lines[index]
            if kind in (WIKI, EMBED):
                target, anchor = split_target(raw) if "#" in raw or "\\" in raw else (raw, None)
                if _ADDRESS.match(target):
                    kind, target, anchor = URL, raw, None
                label = None
                if label_start != target_start:
                    label = text[body_start + label_start : body_start + label_stop].strip() or None
            elif kind == URL:
                target, anchor, label = raw, None, None
            else:
                kind, target, anchor = _target(kind, raw)
                label = text[body_start + label_start : body_start + label_stop]
                if "\n" in label or "\r" in label:
                    label = _LINE_ENDS.sub(" ", label)
            mentions.append(
                Mention(
                    _KINDS[kind],
                    target,
                    anchor,
                    label,
                    DEFAULT_TYPE,
                    above + index,
                    start - line_start + 1,
                    offsets(body_start + start),
                    offsets(body_start + stop),
                    offsets(body_start + target_start),
                    offsets(body_start + target_stop),
                )
            )
            if kind in (WIKI, MARKDOWN) and _LIST_LINK.match(text, body_start + line_start, body_start + start):
                line_end = lines[index + 1] - 1 if index + 1 < len(lines) else len(text) - body_start
                if line_end - line_start - (stop - start) < _BARE:
                    bare += 1
                    bare_at = start if bare_at < 0 else bare_at
        if bare:
            message = "a link in a list stands alone" if bare == 1 else f"{bare:,} links in lists stand alone"
            self.problem(Problem(BARE_LINKS, body_start + bare_at, message, "say in a few words why it is there"))

    def offsets(self, keys: Keys, body: Body, body_start: int) -> Any:
        """A function from offsets of the text to offsets of the file's bytes."""
        mark = self.mark
        if self.written.isascii():
            return (lambda offset: offset + mark) if mark else _same
        needed = {body_start}
        for mention in keys.mentions:
            needed.update(mention[5:9])
        for link in body.links:
            needed.update((body_start + link[1], body_start + link[2], body_start + link[3], body_start + link[4]))
        for heading in body.headings:
            needed.update((body_start + heading.start, body_start + heading.stop))
        places: dict[int, int] = {}
        at, before = mark, 0
        text = self.written
        for offset in sorted(needed):
            at += len(text[before:offset].encode())
            before = offset
            places[offset] = at
        return places.__getitem__


def _same(offset: int) -> int:
    return offset


def _target(kind: int, raw: str) -> tuple[int, str, str | None]:
    """What the destination of a Markdown link means: kind, target and anchor (CommonMark 6.3: escapes, entities, percents)."""
    if "\\" in raw:
        raw = _ESCAPED.sub(r"\1", raw)
    if "&" in raw and _ENTITY.search(raw):
        import html

        raw = _ENTITY.sub(lambda entity: html.unescape(entity[0]), raw)
    if raw.startswith("//") or (":" in raw and _SCHEME.match(raw)):
        return URL, raw, None
    target, mark, anchor = raw.partition("#")
    if "%" in raw:
        target, anchor = unquote(target), unquote(anchor)
    return kind, target, (anchor or None) if mark else None

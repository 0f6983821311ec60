"""The body of a note, read in one pass: links, headings, tags, blocks, fields, and the text that is searched.

Two layers do the work: `schemas.notes.blocks` tells prose from code, `schemas.notes.inlines` reads the prose. Tried and measured
instead: one regular expression for links and code is as fast and takes links in indented code, HTML and escapes for links;
markdown-it-py takes 570 µs per note of 1 KiB where this takes about 100, and has no offsets. Light: standard library only.

Offsets are characters of the text given. Lines may end in LF, CRLF or CR.
"""

from __future__ import annotations

import bisect
import html
import re
from bisect import bisect_right
from dataclasses import dataclass, field

from schemas.notes.blocks import CELL, PARAGRAPH, Blocks, Definition, Leaf, scan_blocks
from schemas.notes.inlines import EMBED, INTERESTING, Inlines, Link, scan_inlines
from schemas.notes.slugs import heading_slug, unique_slug

SUMMARY_LENGTH = 1000
"""A summary is cut to so many characters."""


@dataclass(slots=True)
class BodyHeading:
    """One heading; `nested` is True inside a list or quote."""

    level: int
    text: str
    slug: str
    start: int
    stop: int
    nested: bool


@dataclass(slots=True)
class Body:
    """What a body says. Links and tags are in the order they stand."""

    links: list[Link] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    headings: list[BodyHeading] = field(default_factory=list)
    blocks: list[tuple[str, int]] = field(default_factory=list)
    """Ids of blocks, and where they stand; those of HTML elements have a `#` before them."""
    fields: dict[str, list[str]] = field(default_factory=dict)
    code: list[tuple[int, int]] = field(default_factory=list)
    """Fenced and indented code."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Code within prose."""
    comments: list[tuple[int, int]] = field(default_factory=list)
    summary: str | None = None
    paragraphs: int = 0
    line_starts: list[int] = field(default_factory=list)
    search_text: str = ""


_BLOCK_ID = re.compile(r"(?:^|[ \t\n])\^([A-Za-z0-9-]+)[ \t\n]*\Z")
_FIELD_LINE = re.compile(
    r"^[ \t]*(?:\[[ xX]\][ \t]+)?[*_~]{0,3}([^\W_][^\n:*~\[\]()`]{0,63}?)[*_~]{0,3}::[*_~]{0,3}"
    r"(?:[ \t]+(\S[^\n]*)|(\[\[[^\n]*)|[ \t]*$)",
    re.MULTILINE,
)
_FIELD_INLINE = re.compile(
    r"\[([^\W_][^\n:\[\]()`]{0,63})::[ \t]+((?:[^\[\]\n]|\[\[[^\[\]\n]*\]\])*+)\]"
    r"|\(([^\W_][^\n:\[\]()`]{0,63})::[ \t]+((?:[^()\n\[]|\[\[[^\[\]\n]*\]\])*+)\)"
)

_ELEMENT = re.compile(r"<[A-Za-z][A-Za-z0-9-]*+[ \t\n][^<>]{1,1000}>")
_ELEMENT_ID = re.compile(r"""[ \t\n](?:id|name)[ \t\n]*=[ \t\n]*(?:"([^"]+)"|'([^']+)'|([^ \t\n"'=<>`]+))""", re.IGNORECASE)


def scan_body(text: str) -> Body:
    """Read a body, a note without its frontmatter. Linear in its length; never raises."""
    if "\r" in text:
        # Of the same length, so that offsets hold; white space at the end of a line means nothing.
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    blocks = scan_blocks(text)
    found = Inlines()
    body = Body(code=blocks.code, paragraphs=blocks.paragraphs, line_starts=blocks.line_starts)
    definitions = blocks.definitions
    slugs: dict[str, int] = {}
    for leaf in blocks.leaves:
        kind, start, prose, _, nested, span_start, span_stop = leaf
        if PARAGRAPH < kind < CELL:
            said = _heading_text(leaf, definitions, found)
            body.headings.append(BodyHeading(kind, said, unique_slug(heading_slug(said), slugs), span_start, span_stop, nested))
        elif INTERESTING.search(prose):
            scan_inlines(prose, start, definitions, found)
        if "^" in prose and kind != CELL and (block := _BLOCK_ID.search(prose, max(0, prose.rfind("^") - 1))):
            body.blocks.append((block[1], start + block.start(1) - 1))
        if "::" in prose:
            _fields(prose, body.fields)
    found.links.sort(key=_start)
    found.tags.sort()
    body.links, body.tags, body.spans = found.links, found.tags, found.code
    body.comments = sorted(blocks.comments + found.comments)
    if "=" in text and "<" in text:
        body.blocks += _element_ids(text, [*body.code, *body.spans, *body.comments])
    body.summary = _summary(blocks, body.headings, definitions)
    body.search_text = _search_text(text, body, blocks)
    return body


def _element_ids(text: str, passed_over: list[tuple[int, int]]) -> list[tuple[str, int]]:
    """What links can name of HTML elements: `<a id="x">`, `<span name=x>`; not in code or comments."""
    spans = sorted(passed_over)
    starts = [start for start, _ in spans]
    made = []
    for element in _ELEMENT.finditer(text):
        before = bisect_right(starts, element.start()) - 1
        if before >= 0 and element.start() < spans[before][1]:
            continue
        for found in _ELEMENT_ID.finditer(element[0]):
            made.append(("#" + (found[1] or found[2] or found[3]), element.start()))
    return made


def _start(link: Link) -> int:
    return link.start


def line_and_column(line_starts: list[int], offset: int) -> tuple[int, int]:
    """The line, from 0, and the column, from 1, of an offset."""
    line = bisect.bisect_right(line_starts, offset) - 1
    return line, offset - line_starts[line] + 1


# -- text without marks

_MARKS = re.compile(r"[*~=]{1,3}(?=\S)|(?<=\S)[*~=]{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>")
_SPACES = re.compile(r"\s+")


def _heading_text(leaf: Leaf, definitions: dict[str, Definition], found: Inlines) -> str:
    """A heading as it is shown; what stands in it is added to `found`."""
    prose = leaf.text
    if not INTERESTING.search(prose):
        return _plain(prose) if _SIGNS.search(prose) else prose
    own = Inlines()
    scan_inlines(prose, leaf.start, definitions, own)
    found.links += own.links
    found.tags += own.tags
    found.comments += own.comments
    found.code += own.code
    return _without_marks(prose, leaf.start, own)


_SIGNS = re.compile(r"[\\*_~=&\n\t]|  |\^")


def _without_marks(prose: str, start: int, own: Inlines) -> str:
    """Prose as it is shown: labels instead of links, no comments, no marks; code as it is."""
    cuts = _cuts(own.links, own.comments, embeds=False)
    for first, last in own.code:
        ticks = 1
        while prose[first - start + ticks] == "`":
            ticks += 1
        cuts += [(first, first + ticks), (last - ticks, last)]
    cuts.sort()
    code = sorted(own.code)
    made: list[str] = []
    at = start
    index = 0
    for first, last in [*cuts, (start + len(prose), start + len(prose))]:
        if first > at:
            while index < len(code) and code[index][1] <= at:
                index += 1
            piece = prose[at - start : first - start]
            made.append(piece if index < len(code) and code[index][0] <= at else _unmarked(piece))
        at = max(at, last)
    return _SPACES.sub(" ", _block_id_off("".join(made))).strip()


def _plain(prose: str) -> str:
    return _SPACES.sub(" ", _block_id_off(_unmarked(prose))).strip()


def _block_id_off(text: str) -> str:
    return _BLOCK_ID.sub("", text) if "^" in text else text


def _unmarked(piece: str) -> str:
    """A piece of prose without marks of emphasis, HTML tags, escapes and entities."""
    if "<" in piece:
        piece = _TAGS.sub("", piece)
    piece = _MARKS.sub(_unless_escaped, piece)
    if "\\" in piece:
        piece = _ESCAPE.sub(r"\1", piece)
    return html.unescape(piece) if "&" in piece else piece


def _unless_escaped(mark: re.Match[str]) -> str:
    return mark[0] if mark.string[mark.start() - 1 : mark.start()] == "\\" else ""


def _cuts(links: list[Link], comments: list[tuple[int, int]], *, embeds: bool) -> list[tuple[int, int]]:
    """What is left out of the text that is shown: the targets of links that have a label, brackets, comments.

    `embeds=False` leaves the words of embeds out, too.
    """
    cuts = list(comments)
    for kind, start, stop, _, _, _, label_start, label_stop, _ in links:
        if kind == EMBED and not embeds:
            cuts.append((start, stop))
            continue
        if label_start > start:
            cuts.append((start, label_start))
        if stop > label_stop:
            cuts.append((label_stop, stop))
    return cuts


# -- summary, fields, search

_TRIES = 100


def _summary(blocks: Blocks, headings: list[BodyHeading], definitions: dict[str, Definition]) -> str | None:
    """The first paragraph under a heading "Summary", else the first paragraph; those in lists and quotes come last."""
    paragraphs = [leaf for leaf in blocks.leaves if leaf.kind == PARAGRAPH]
    for index, heading in enumerate(headings):
        if heading.text[:7].casefold() == "summary" and heading.text.casefold().rstrip(":") == "summary":
            stop = headings[index + 1].start if index + 1 < len(headings) else None
            under = [leaf for leaf in paragraphs if leaf.start >= heading.stop and (stop is None or leaf.start < stop)]
            if text := _first_text(under, definitions):
                return text
            break
    return _first_text(paragraphs, definitions)


def _first_text(leaves: list[Leaf], definitions: dict[str, Definition]) -> str | None:
    for nested in (False, True):
        tries = 0
        for leaf in leaves:
            if leaf.nested is nested:
                if text := _summary_of(leaf, definitions):
                    return text
                tries += 1
                if tries == _TRIES:
                    break
    return None


def _summary_of(leaf: Leaf, definitions: dict[str, Definition]) -> str:
    """A paragraph as plain text; empty where it is nothing but tags, fields, comments or embeds."""
    prose = leaf.text
    if len(prose) > 4 * SUMMARY_LENGTH:
        prose = prose[: 4 * SUMMARY_LENGTH]
    if "::" in prose and all(_FIELD_LINE.match(line) for line in prose.split("\n") if line.strip()):
        return ""
    if not INTERESTING.search(prose):
        text = _plain(prose)
    else:
        own = Inlines()
        scan_inlines(prose, leaf.start, definitions, own)
        text = _without_marks(prose, leaf.start, own)
        if own.tags and all(word.startswith("#") for word in text.split()):
            return ""
    if len(text) <= SUMMARY_LENGTH:
        return text
    cut = text.rfind(" ", 0, SUMMARY_LENGTH)
    return text[: cut if cut > 0 else SUMMARY_LENGTH - 1].rstrip() + "…"


def _fields(prose: str, fields: dict[str, list[str]]) -> None:
    """Add the `key:: value` fields of a leaf: on lines of their own, in brackets, in parentheses."""
    for found in _FIELD_LINE.finditer(prose):
        value = (found[2] or found[3] or "").strip()
        fields.setdefault(found[1].strip(), []).append(value)
    for found in _FIELD_INLINE.finditer(prose):
        fields.setdefault((found[1] or found[3]).strip(), []).append((found[2] or found[4] or "").strip())


def _search_text(text: str, body: Body, blocks: Blocks) -> str:
    """The text without comments and without the targets of links that have a label."""
    cuts = _cuts(body.links, body.comments, embeds=True)
    if blocks.cuts:
        cuts += blocks.cuts
    if not cuts:
        return text
    cuts.sort()
    made: list[str] = []
    at = 0
    for first, last in cuts:
        if first > at:
            made.append(text[at:first])
        if last > at:
            at = last
    made.append(text[at:])
    return "".join(made)

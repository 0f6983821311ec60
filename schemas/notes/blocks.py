"""The blocks of a Markdown body: which text is prose, and which is code, HTML, a comment, a table, or a reference definition.

CommonMark 0.31 with the tables of GFM, footnote definitions, and Obsidian's `%%` comments; markdown-it-py, which is twenty
times as slow and gives no offsets within a line, is the oracle in the tests. One pass over the lines, no recursion. What stands
inside the prose belongs to `schemas.notes.inlines`. Light: standard library only.

Every offset is one into the text that was given. Prose inside block quotes is handed on with the `>` of its lines blanked out, so
that an offset into it is an offset into the text, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.notes.commonmark import (
    ANY_TAG,
    COMMENT,
    HTML_BLOCKS,
    advance,
    cells,
    columns_of,
    definition,
    html_kind,
    list_item,
    list_marker,
)

PARAGRAPH, CELL = 0, 7
"""Kinds of a leaf; 1 to 6 are headings of that level."""

MAX_DEPTH = 100
"""Deeper quotes and lists are taken for prose."""


class Leaf(NamedTuple):
    """A stretch of prose. `text` begins at `start` and is as long as what it stands for; `line` counts from 0.

    `span_start` and `span_stop` are those of the whole block (a heading with its marks). `nested`: inside a list or quote.
    """

    kind: int
    start: int
    text: str
    line: int
    nested: bool
    span_start: int
    span_stop: int


class Definition(NamedTuple):
    """The target of a reference definition, as it is written (without the angle brackets), and where it stands."""

    start: int
    stop: int
    raw: str


@dataclass(slots=True)
class Blocks:
    """What a body is made of, in order."""

    leaves: list[Leaf] = field(default_factory=list)
    definitions: dict[str, Definition] = field(default_factory=dict)
    code: list[tuple[int, int]] = field(default_factory=list)
    """Fenced and indented code, fences included."""
    html: list[tuple[int, int]] = field(default_factory=list)
    comments: list[tuple[int, int]] = field(default_factory=list)
    """Comments that are blocks of their own, `<!-- -->` and `%% %%`."""
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Reference definitions as a whole: no prose."""
    line_starts: list[int] = field(default_factory=list)
    paragraphs: int = 0


_PLAIN = re.compile(r"[^ \t#>\-*+_=`~<|:%\[0-9]")
_SPACE = re.compile(r"[ \t]*")
_ATX = re.compile(r"(#{1,6})(?:[ \t]+|\Z)")
_ATX_CLOSE = re.compile(r"(?:^|[ \t])#+[ \t]*\Z")
_FENCE = re.compile(r"`{3,}(?=[^`]*\Z)|~{3,}")
_RULE = re.compile(r"(?:\*[ \t]*){3,}\Z|(?:_[ \t]*){3,}\Z|(?:-[ \t]*){3,}\Z")
_SETEXT = re.compile(r"(=+|-+)[ \t]*\Z")
_DELIMITERS = re.compile(r"(?:[|:]|-(?![ \t]))[-:|][-:| \t]*\Z|[|:][ \t][-:| \t]*\Z")
_DELIMITER = re.compile(r":?-+:?\Z")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]:[ \t]*")
_NONE, _PARA, _TABLE, _FENCED, _INDENTED, _HTML_BLOCK = range(6)
_QUOTE = -1


def scan_blocks(text: str) -> Blocks:
    """The blocks of `text`, whose lines end in LF alone (see `schemas.notes.scan`). Linear in its length."""
    return _Scanner(text).run()


class _Scanner:
    """One pass over the lines. `containers` holds, outermost first, -1 for a quote and for a list item its width in columns."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.out = Blocks()
        self.containers: list[int] = []
        self.fresh = False
        """The innermost container is an item that holds nothing yet."""
        self.quotes = 0
        self.leaf = _NONE
        self.first = 0
        """Where the open leaf begins."""
        self.first_line = 0
        self.last = 0
        """Where the open leaf ends, as far as it is known."""
        self.pieces: list[tuple[int, int]] = []
        """The lines of a paragraph inside quotes."""
        self.para_nested = False
        self.fence = ""
        self.end: re.Pattern[str] | None = None
        self.comment = False
        self.columns = 0
        self.lazy_tail = False
        """The last line of the open paragraph was a lazy one, which cannot head a table."""

    def run(self) -> Blocks:
        text, starts = self.text, self.out.line_starts
        plain, step = _PLAIN.match, self.step
        start = 0
        skip_to = -1
        for number, line in enumerate(text.split("\n")):
            starts.append(start)
            stop = start + len(line)
            if start < skip_to:
                if stop >= skip_to:
                    self.after_comment(line, start, skip_to, number)
            elif not self.containers and self.leaf <= _PARA and plain(line):
                if self.leaf == _NONE:
                    self.leaf, self.first, self.first_line = _PARA, start, number
                    self.para_nested = False
                self.last = stop
                self.lazy_tail = False
            elif not line and not self.containers:
                if self.leaf != _NONE:
                    self.blank()
            else:
                skip_to = step(line, start, number)
            start = stop + 1
        self.close()
        return self.out

    # -- one line

    def step(self, line: str, start: int, number: int) -> int:
        """Take one line in. Returns the offset of where a `%%` comment ends, -1 where none begins."""
        position = column = 0
        tabs = "\t" in line
        containers = self.containers
        size = len(line)
        if containers and not self.quotes and not self.fresh and not line.strip(" \t") and self.leaf <= _TABLE:
            # Nothing but lists is open, which a blank line leaves open, however deep they are.
            if self.leaf != _NONE:
                self.close()
            return -1
        matched = 0
        for width in containers:
            at = _SPACE.match(line, position).end()  # type: ignore[union-attr]  # it matches the empty string
            indent = columns_of(line, position, at, column) if tabs else at - position
            if width == _QUOTE:
                if indent > 3 or at == size or line[at] != ">":
                    break
                column += indent + 1
                position = at + 1
                position, column = advance(line, position, column, 1, tabs)
            elif at == size:
                if self.fresh and matched == len(containers) - 1:
                    break
                position = at
            elif indent >= width:
                position, column = advance(line, position, column, width, tabs)
            else:
                break
            matched += 1
        whole = matched == len(containers)
        leaf = self.leaf
        if whole and leaf > _PARA and self.continues(line, start, position, column, tabs):
            return -1
        return self.open(line, start, number, position, column, tabs, matched)

    def continues(self, line: str, start: int, position: int, column: int, tabs: bool) -> bool:
        """Whether the line, all of whose containers are there, belongs to the open leaf that is no paragraph."""
        leaf = self.leaf
        at = _SPACE.match(line, position).end()  # type: ignore[union-attr]  # it matches the empty string
        blank = at == len(line)
        indent = columns_of(line, position, at, column) if tabs else at - position
        stop = start + len(line)
        if leaf == _FENCED:
            self.last = stop
            fence = self.fence
            if indent <= 3 and line.startswith(fence, at):
                rest = line[at:].rstrip(" \t")
                if not rest.strip(fence[0]):
                    self.close()
            return True
        if leaf == _HTML_BLOCK:
            if self.end is None:
                if blank:
                    self.close()
                    return True
                self.last = stop
                return True
            self.last = stop
            if ended := self.end.search(line, position):
                self.end_html(start + ended.end())
            return True
        if leaf == _INDENTED:
            if blank:
                return True
            if indent >= 4:
                self.last = stop
                return True
            self.close()
            return False
        if blank:
            self.close()
            return True
        if indent < 4 and not self.starts_block(line, at):
            self.row(line, start, at, self.columns)
            return True
        self.close()
        return False

    def open(self, line: str, start: int, number: int, position: int, column: int, tabs: bool, matched: int) -> int:  # noqa: C901 - one step per kind of block
        """Find the blocks that begin on this line, behind `matched` containers; what is left is prose, or nothing."""
        containers = self.containers
        size = len(line)
        in_paragraph = self.leaf == _PARA
        while True:
            at = _SPACE.match(line, position).end()  # type: ignore[union-attr]  # it matches the empty string
            if at == size:
                break
            indent = columns_of(line, position, at, column) if tabs else at - position
            whole = matched == len(containers)
            if indent >= 4:
                if not in_paragraph:
                    self.shed(matched)
                    self.begin(_INDENTED, start + position, number, start + size)
                    return -1
                break
            sign = line[at]
            if sign == ">":
                if len(containers) >= MAX_DEPTH:
                    break
                self.shed(matched)
                in_paragraph = False
                column += indent + 1
                position, column = advance(line, at + 1, column, 1, tabs)
                containers.append(_QUOTE)
                self.quotes += 1
                self.fresh = False
                matched += 1
                continue
            if sign == "#":
                if heading := _ATX.match(line, at):
                    self.shed(matched)
                    self.atx(line, start, number, at, heading)
                    return -1
            elif sign in "`~":
                if fence := _FENCE.match(line, at):
                    self.shed(matched)
                    self.begin(_FENCED, start + at, number, start + size)
                    self.fence = fence[0]
                    return -1
            elif sign == "<":
                kind = html_kind(line, at)
                if kind is not None and not (kind == ANY_TAG and in_paragraph):
                    self.shed(matched)
                    self.begin_html(line, start, number, at, kind)
                    return -1
            elif sign == "%":
                if line.startswith("%%", at) and line.find("%%", at + 2) < 0:
                    closing = self.text.find("%%", start + size)
                    if closing >= 0:
                        self.shed(matched)
                        self.out.comments.append((start + at, closing + 2))
                        return closing + 2
            elif sign == "[":
                if note := _FOOTNOTE.match(line, at):
                    self.shed(matched)
                    in_paragraph = False
                    if len(containers) < MAX_DEPTH:
                        containers.append(4)
                        self.fresh = False
                        matched += 1
                    if note.end() == size:
                        return -1
                    self.leaf, self.first, self.first_line, self.last = _PARA, start + note.end(), number, start + size
                    self.pieces = [(self.first, self.last)]
                    self.para_nested, self.lazy_tail = True, False
                    return -1
            elif sign in "|-:" and in_paragraph and whole and self.table(line, at, number):
                return -1
            if sign in "-=" and in_paragraph and whole and (under := _SETEXT.match(line, at)):
                if self.setext(1 if under[1][0] == "=" else 2, start + size):
                    return -1
                if self.leaf == _NONE:
                    in_paragraph = False
                if sign == "=":
                    break
            if sign in "*-_" and _RULE.match(line, at):
                self.shed(matched)
                return -1
            item = list_item(line, at, indent, in_paragraph and whole, tabs, column) if sign in "*+-0123456789" else None
            if item is not None and len(containers) < MAX_DEPTH:
                self.shed(matched)
                in_paragraph = False
                position, column, width = item
                containers.append(width)
                self.fresh = True
                matched += 1
                if position >= size:
                    return -1
                continue
            break
        if at == size:
            if matched < len(containers) or self.leaf != _NONE:
                self.shed_blank(matched)
            return -1
        if matched < len(containers) and in_paragraph:
            self.prose(start + at, start + size, number, lazy=True)
            return -1
        if matched < len(containers):
            self.shed(matched)
        self.prose(start + at, start + size, number, lazy=False)
        return -1

    # -- beginning

    def shed(self, matched: int) -> None:
        """Close the open leaf, and the containers that are not there any more: a block begins."""
        if self.leaf != _NONE:
            self.close()
        if matched < len(self.containers):
            self.drop(matched)
        self.fresh = False

    def shed_blank(self, matched: int) -> None:
        """A blank line: it ends a paragraph or table, and quotes."""
        if self.leaf != _NONE and not (self.leaf in (_FENCED, _HTML_BLOCK, _INDENTED) and matched == len(self.containers)):
            self.close()
        if matched < len(self.containers):
            self.drop(matched)
            self.fresh = False

    def drop(self, matched: int) -> None:
        dropped = self.containers[matched:]
        self.quotes -= dropped.count(_QUOTE)
        del self.containers[matched:]

    def blank(self) -> None:
        """A blank line outside of all containers."""
        if self.leaf == _FENCED or self.leaf == _INDENTED:
            return
        if self.leaf == _HTML_BLOCK and self.end is not None:
            return
        self.close()

    def begin(self, leaf: int, first: int, number: int, last: int) -> None:
        self.leaf, self.first, self.first_line, self.last = leaf, first, number, last

    def prose(self, first: int, last: int, number: int, *, lazy: bool) -> None:
        """One line of a paragraph, a new one where none is open."""
        if self.leaf != _PARA:
            self.leaf, self.first, self.first_line = _PARA, first, number
            self.pieces = []
            self.para_nested = bool(self.containers)
            self.fresh = False
        if self.quotes:
            if not self.pieces and self.first != first:
                self.pieces.append((self.first, self.last))
            self.pieces.append((first, last))
        self.last = last
        self.lazy_tail = lazy

    def begin_html(self, line: str, start: int, number: int, at: int, kind: int) -> None:
        self.begin(_HTML_BLOCK, start + at, number, start + len(line))
        self.comment = kind == COMMENT
        self.end = HTML_BLOCKS[kind][1]
        if self.end is not None and (ended := self.end.search(line, at + (2 if self.comment else 0))):
            self.end_html(start + ended.end())

    def end_html(self, ended: int) -> None:
        """The block ends with this line; of a comment, what follows its end on the line is HTML."""
        if self.comment:
            self.out.comments.append((self.first, ended))
            self.comment = False
        self.close()

    def after_comment(self, line: str, start: int, ended: int, number: int) -> None:
        """The line a `%%` comment ends on: what follows is prose."""
        if ended - start < len(line) and line[ended - start :].strip(" \t"):
            self.pieces = []
            self.prose(ended, start + len(line), number, lazy=False)

    def starts_block(self, line: str, at: int) -> bool:
        """Whether a block begins here that ends a table."""
        sign = line[at]
        if sign == ">":
            return True
        if sign == "#":
            return _ATX.match(line, at) is not None
        if sign in "`~":
            return _FENCE.match(line, at) is not None
        if sign == "<":
            kind = html_kind(line, at)
            return kind is not None and kind != ANY_TAG
        if sign in "*-_" and _RULE.match(line, at):
            return True
        if sign == "%":
            return line.startswith("%%", at) and line.find("%%", at + 2) < 0
        return sign in "*+-0123456789" and list_marker(line, at) is not None

    # -- headings and tables

    def atx(self, line: str, start: int, number: int, at: int, heading: re.Match[str]) -> None:
        content = line[heading.end() :].rstrip(" \t")
        content = _ATX_CLOSE.sub("", content, count=1).rstrip(" \t") if content.endswith("#") else content
        self.out.leaves.append(
            Leaf(
                len(heading[1]),
                start + heading.end(),
                content,
                number,
                bool(self.containers),
                start + at,
                start + len(line.rstrip(" \t")),
            )
        )

    def setext(self, level: int, stop: int) -> bool:
        """Make the open paragraph a heading; False when it holds nothing but reference definitions."""
        first, text = self.taken()
        first, text = self.definitions(first, text)
        if not text.strip():
            self.leaf = _NONE
            self.pieces = []
            return False
        self.out.leaves.append(Leaf(level, first, text.rstrip(), self.first_line, self.para_nested, first, stop))
        self.leaf = _NONE
        self.pieces = []
        return True

    def table(self, line: str, at: int, number: int) -> bool:
        """Make the last line of the open paragraph the head of a table, when this line is its delimiter row."""
        if self.lazy_tail or not _DELIMITERS.match(line, at):
            return False
        if self.pieces:
            first, last = self.pieces[-1]
        else:
            first, last = self.first, self.last
            if number - self.first_line > 1:
                first = self.text.rindex("\n", first, last) + 1
                first = _SPACE.match(self.text, first).end()  # type: ignore[union-attr]  # it matches the empty string
        head = self.text[first:last].strip(" \t")
        if "|" not in head:
            return False
        columns = line[at:].split("|")
        count = 0
        for index, column in enumerate(columns):
            column = column.strip(" \t")
            if not column and index in (0, len(columns) - 1):
                continue
            if not _DELIMITER.match(column):
                return False
            count += 1
        if count == 0 or len(cells(head)) != count:
            return False
        if number - self.first_line > 1:
            if self.pieces:
                self.pieces.pop()
                self.last = self.pieces[-1][1]
            else:
                self.last = self.text.rindex("\n", self.first, first)
            self.close()
        self.leaf = _TABLE
        self.pieces = []
        self.first_line = number - 1
        self.columns = count
        self.row(self.text[first:last], first, 0, count)
        self.first_line = number
        return True

    def row(self, line: str, start: int, at: int, count: int) -> None:
        """The cells of one row; those beyond the columns of the head are not shown, and not read."""
        number = len(self.out.line_starts) - 1 if start >= self.out.line_starts[-1] else len(self.out.line_starts) - 2
        nested = bool(self.containers)
        for first, last in cells(line[at:].rstrip(" \t"))[:count]:
            if last > first:
                cell = line[at + first : at + last]
                self.out.leaves.append(
                    Leaf(CELL, start + at + first, cell, number, nested, start + at + first, start + at + last)
                )

    # -- ending

    def close(self) -> None:
        """Close the open leaf."""
        leaf = self.leaf
        self.leaf = _NONE
        if leaf == _PARA:
            first, text = self.taken()
            if text.startswith("["):
                first, text = self.definitions(first, text)
            self.pieces = []
            if text and not text.isspace():
                self.out.paragraphs += 1
                self.out.leaves.append(Leaf(PARAGRAPH, first, text, self.first_line, self.para_nested, first, first + len(text)))
        elif leaf in (_FENCED, _INDENTED):
            self.out.code.append((self.first, self.last))
        elif leaf == _HTML_BLOCK:
            self.out.html.append((self.first, self.last))
            if self.comment:
                self.out.comments.append((self.first, self.last))
                self.comment = False

    def taken(self) -> tuple[int, str]:
        """The open paragraph: where it begins, and its text with whatever stands before its lines blanked out."""
        if len(self.pieces) > 1:
            made: list[str] = []
            before = -1
            for first, last in self.pieces:
                if before >= 0:
                    made.append("\n" + " " * (first - before - 1))
                made.append(self.text[first:last])
                before = last
            return self.first, "".join(made)
        return self.first, self.text[self.first : self.last]

    def definitions(self, first: int, text: str) -> tuple[int, str]:
        """Take the reference definitions off the front of a paragraph."""
        at = 0
        while text.startswith("[", at):
            found = definition(text, at)
            if found is None:
                break
            label, start, stop, end = found
            self.out.definitions.setdefault(label, Definition(first + start, first + stop, text[start:stop]))
            self.out.cuts.append((first + at, first + end))
            self.first_line += text.count("\n", at, end)
            at = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
        return first + at, text[at:]

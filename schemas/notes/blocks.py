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


LABEL = re.compile(r"\[((?:[^\\\[\]]|\\.){1,999})\]", re.DOTALL)
"""A link label (CommonMark 4.7): at most 999 characters, brackets escaped."""
TITLE = re.compile(r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|\((?:[^()\\]|\\.)*+\)', re.DOTALL)
ANGLED = re.compile(r"<((?:[^<>\n\\]|\\.)*+)>")

_PLAIN = re.compile(r"[^ \t#>\-*+_=`~<|:%\[0-9]")
_SPACE = re.compile(r"[ \t]*")
_ATX = re.compile(r"(#{1,6})(?:[ \t]+|\Z)")
_ATX_CLOSE = re.compile(r"(?:^|[ \t])#+[ \t]*\Z")
_FENCE = re.compile(r"`{3,}(?=[^`]*\Z)|~{3,}")
_RULE = re.compile(r"(?:\*[ \t]*){3,}\Z|(?:_[ \t]*){3,}\Z|(?:-[ \t]*){3,}\Z")
_SETEXT = re.compile(r"(=+|-+)[ \t]*\Z")
_BULLET = re.compile(r"[*+-](?=[ \t]|\Z)")
_ORDERED = re.compile(r"(\d{1,9})[.)](?=[ \t]|\Z)")
_DELIMITERS = re.compile(r"(?:[|:]|-(?![ \t]))[-:|][-:| \t]*\Z|[|:][ \t][-:| \t]*\Z")
_DELIMITER = re.compile(r":?-+:?\Z")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]:[ \t]*")
_WIKI_PIPE = re.compile(r"\[\[[^\[\]\n]*\]\]")
_NAMES = (
    "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|"
    "nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul"
)
_ATTRIBUTE = r"""(?:\s+[a-zA-Z_:][a-zA-Z0-9:._-]*(?:\s*=\s*(?:[^"'=<>`\x00-\x20]+|'[^']*'|"[^"]*"))?)"""
OPEN_TAG = rf"<[A-Za-z][A-Za-z0-9-]*{_ATTRIBUTE}*\s*/?>"
CLOSE_TAG = r"</[A-Za-z][A-Za-z0-9-]*\s*>"
_HTML: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (re.compile(r"<(?:script|pre|style|textarea)(?=\s|>|\Z)", re.I), re.compile(r"</(?:script|pre|style|textarea)>", re.I)),
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile("<![A-Za-z]"), re.compile(">")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(rf"</?(?:{_NAMES})(?=\s|/?>|\Z)", re.I), None),
    (re.compile(rf"(?:{OPEN_TAG}|{CLOSE_TAG})\s*\Z"), None),
)
"""How the seven kinds of HTML blocks begin and end (CommonMark 4.6); None: at a blank line."""

_COMMENT_HTML, _ANY_TAG_HTML = 1, 6

_NONE, _PARA, _TABLE, _FENCED, _INDENTED, _HTML_BLOCK = range(6)
_QUOTE = -1


def normal_label(label: str) -> str:
    """The form in which two labels of references are the same (CommonMark 4.7)."""
    return " ".join(label.split()).casefold().upper()


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
            indent = self.columns_of(line, position, at, column) if tabs else at - position
            if width == _QUOTE:
                if indent > 3 or at == size or line[at] != ">":
                    break
                column += indent + 1
                position = at + 1
                position, column = self.advance(line, position, column, 1, tabs)
            elif at == size:
                if self.fresh and matched == len(containers) - 1:
                    break
                position = at
            elif indent >= width:
                position, column = self.advance(line, position, column, width, tabs)
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
        indent = self.columns_of(line, position, at, column) if tabs else at - position
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
            indent = self.columns_of(line, position, at, column) if tabs else at - position
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
                position, column = self.advance(line, at + 1, column, 1, tabs)
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
                kind = self.html_kind(line, at)
                if kind is not None and not (kind == _ANY_TAG_HTML and in_paragraph):
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
            item = self.item(line, at, indent, in_paragraph and whole, tabs, column) if sign in "*+-0123456789" else None
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

    # -- indentation

    @staticmethod
    def columns_of(line: str, position: int, at: int, column: int) -> int:
        """How many columns the white space from `position` (at `column`) to `at` covers."""
        first = column
        for sign in line[position:at]:
            column += 4 - column % 4 if sign == "\t" else 1
        return column - first

    @staticmethod
    def advance(line: str, position: int, column: int, count: int, tabs: bool) -> tuple[int, int]:
        """Step over at most `count` columns of white space; a tab may be stepped over in part."""
        size = len(line)
        if not tabs:
            stop = position
            while stop < size and stop - position < count and line[stop] == " ":
                stop += 1
            return stop, column + stop - position
        while count > 0 and position < size and line[position] in " \t":
            width = 4 - column % 4 if line[position] == "\t" else 1
            if width > count:
                return position, column + count
            column += width
            count -= width
            position += 1
        return position, column

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

    def html_kind(self, line: str, at: int) -> int | None:
        for kind, (opening, _) in enumerate(_HTML):
            if opening.match(line, at):
                return kind
        return None

    def begin_html(self, line: str, start: int, number: int, at: int, kind: int) -> None:
        self.begin(_HTML_BLOCK, start + at, number, start + len(line))
        self.comment = kind == _COMMENT_HTML
        self.end = _HTML[kind][1]
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

    def item(self, line: str, at: int, indent: int, interrupts: bool, tabs: bool, column: int) -> tuple[int, int, int] | None:
        """A list item's content: its position, its column, and the width by which later lines of it are indented."""
        marker = _BULLET.match(line, at) or _ORDERED.match(line, at)
        if marker is None:
            return None
        end = marker.end()
        content = _SPACE.match(line, end).end()  # type: ignore[union-attr]  # it matches the empty string
        blank = content == len(line)
        if interrupts and (blank or (marker.re is _ORDERED and int(marker[1]) != 1)):
            return None
        length = end - at
        after = column + indent + length
        spaces = self.columns_of(line, end, content, after) if tabs else content - end
        if blank:
            return len(line), after, indent + length + 1
        if spaces > 4:
            position, after = self.advance(line, end, after, 1, tabs)
            return position, after, indent + length + 1
        return content, after + spaces, indent + length + spaces

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
            kind = self.html_kind(line, at)
            return kind is not None and kind != _ANY_TAG_HTML
        if sign in "*-_" and _RULE.match(line, at):
            return True
        if sign == "%":
            return line.startswith("%%", at) and line.find("%%", at + 2) < 0
        return sign in "*+-0123456789" and (_BULLET.match(line, at) or _ORDERED.match(line, at)) is not None

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
        if count == 0 or len(_cells(head)) != count:
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
        for first, last in _cells(line[at:].rstrip(" \t"))[:count]:
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
            end = self.definition(first, text, at)
            if end < 0:
                break
            self.out.cuts.append((first + at, first + end))
            self.first_line += text.count("\n", at, end)
            at = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
        return first + at, text[at:]

    def definition(self, first: int, text: str, at: int) -> int:
        """One definition at `at`; returns where the next line begins, -1 when there is none."""
        label = LABEL.match(text, at)
        if label is None or not text.startswith(":", label.end()) or not label[1].strip() or label[1][0] == "^":
            return -1
        start = _gap(text, label.end() + 1)
        if start < 0 or start >= len(text):
            return -1
        found = destination(text, start)
        if found is None:
            return -1
        raw_start, raw_stop, after = found
        space = _SPACE.match(text, after).end()  # type: ignore[union-attr]  # it matches the empty string
        plain_end = space if space == len(text) else space + 1 if text[space] == "\n" else -1
        end = -1
        titled = _gap(text, after)
        if titled > after and (title := TITLE.match(text, titled)):
            rest = _SPACE.match(text, title.end()).end()  # type: ignore[union-attr]  # it matches the empty string
            if rest == len(text):
                end = rest
            elif text[rest] == "\n":
                end = rest + 1
        if end < 0:
            end = plain_end
        if end >= 0:
            made = Definition(first + raw_start, first + raw_stop, text[raw_start:raw_stop])
            self.out.definitions.setdefault(normal_label(label[1]), made)
        return end


_GAP = re.compile(r"[ \t]*(?:\n[ \t]*)?")


def _gap(text: str, at: int) -> int:
    """Behind white space with at most one line end."""
    return _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty string


def _balanced(depth: int) -> str:
    """A pattern of text without spaces in which parentheses are balanced, `depth` levels deep. It never goes back."""
    signs = r"[^\x00-\x20\x7f()\\]++|\\[^\x00-\x20\x7f]|\\(?=[\x00-\x20\x7f]|\Z)"
    pattern = f"(?:{signs})*+"
    for _ in range(depth):
        pattern = rf"(?:{signs}|\({pattern}\))*+"
    return pattern


_BARE = re.compile(_balanced(8))
"""CommonMark asks for any depth, cmark allows 32; eight levels of parentheses in an address is more than anyone has."""


def destination(text: str, at: int) -> tuple[int, int, int] | None:
    """A link destination at `at` (CommonMark 6.3): its start and stop without angle brackets, and where it ends."""
    if text.startswith("<", at):
        angled = ANGLED.match(text, at)
        return (at + 1, angled.end() - 1, angled.end()) if angled else None
    stop = _BARE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty string
    return (at, stop, stop) if stop > at else None


def _cells(row: str) -> list[tuple[int, int]]:
    """The cells of a row (GFM, tables): where each begins and ends, without the white space around it.

    A `|` in a wiki link does not end a cell: it would break the link, which nobody means.
    """
    edges = [-1]
    links = [match.span() for match in _WIKI_PIPE.finditer(row)] if "[[" in row else []
    at = row.find("|")
    link = 0
    while at >= 0:
        while link < len(links) and links[link][1] <= at:
            link += 1
        inside = link < len(links) and links[link][0] < at
        if not inside and (at == 0 or row[at - 1] != "\\"):
            edges.append(at)
        at = row.find("|", at + 1)
    edges.append(len(row))
    cells = []
    for index in range(len(edges) - 1):
        start, stop = edges[index] + 1, edges[index + 1]
        if stop == start and index in (0, len(edges) - 2):
            continue
        piece = row[start:stop]
        start += len(piece) - len(piece.lstrip(" \t"))
        cells.append((start, max(start, start + len(piece.strip(" \t")))))
    return cells

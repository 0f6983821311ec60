"""Pieces of Markdown's syntax that blocks and prose are made of: labels, targets, HTML, list markers, rows of tables.

Section numbers are those of CommonMark 0.31; tables are those of GitHub Flavored Markdown. Nothing here goes back over text
it has read, whatever the text. Light: standard library only.
"""

from __future__ import annotations

import re

LABEL = re.compile(r"\[((?:[^\\\[\]]|\\.){1,999})\]", re.DOTALL)
"""A link label (CommonMark 4.7): at most 999 characters, brackets escaped."""
TITLE = re.compile(r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|\((?:[^()\\]|\\.)*+\)', re.DOTALL)
ANGLED = re.compile(r"<((?:[^<>\n\\]|\\.)*+)>")

_NAMES = (
    "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|"
    "nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul"
)
_ATTRIBUTE = r"""(?:\s+[a-zA-Z_:][a-zA-Z0-9:._-]*(?:\s*=\s*(?:[^"'=<>`\x00-\x20]+|'[^']*'|"[^"]*"))?)"""
OPEN_TAG = rf"<[A-Za-z][A-Za-z0-9-]*{_ATTRIBUTE}*\s*/?>"
CLOSE_TAG = r"</[A-Za-z][A-Za-z0-9-]*\s*>"
HTML_BLOCKS: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (re.compile(r"<(?:script|pre|style|textarea)(?=\s|>|\Z)", re.I), re.compile(r"</(?:script|pre|style|textarea)>", re.I)),
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile("<![A-Za-z]"), re.compile(">")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(rf"</?(?:{_NAMES})(?=\s|/?>|\Z)", re.I), None),
    (re.compile(rf"(?:{OPEN_TAG}|{CLOSE_TAG})\s*\Z"), None),
)
"""How the seven kinds of HTML blocks begin and end (CommonMark 4.6); None: at a blank line."""


COMMENT, ANY_TAG = 1, 6
"""Of those, comments, and tags of any name, which do not end a paragraph."""

_SPACE = re.compile(r"[ \t]*")
_BULLET = re.compile(r"[*+-](?=[ \t]|\Z)")
_ORDERED = re.compile(r"(\d{1,9})[.)](?=[ \t]|\Z)")
_WIKI_PIPE = re.compile(r"\[\[[^\[\]\n]*\]\]")


def normal_label(label: str) -> str:
    """The form in which two labels of references are the same (CommonMark 4.7)."""
    return " ".join(label.split()).casefold().upper()


def html_kind(line: str, at: int) -> int | None:
    """Which kind of HTML block begins at `at`, as an index of `HTML_BLOCKS`; None for none."""
    for kind, (opening, _) in enumerate(HTML_BLOCKS):
        if opening.match(line, at):
            return kind
    return None


def columns_of(line: str, position: int, at: int, column: int) -> int:
    """How many columns the white space from `position` (at `column`) to `at` covers."""
    first = column
    for sign in line[position:at]:
        column += 4 - column % 4 if sign == "\t" else 1
    return column - first


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


def list_marker(line: str, at: int) -> re.Match[str] | None:
    """A bullet, or a number in its first group, at `at`."""
    return _BULLET.match(line, at) or _ORDERED.match(line, at)


def list_item(line: str, at: int, indent: int, interrupts: bool, tabs: bool, column: int) -> tuple[int, int, int] | None:
    """A list item's content: its position, its column, and the width by which later lines of it are indented."""
    marker = list_marker(line, at)
    if marker is None:
        return None
    end = marker.end()
    content = _SPACE.match(line, end).end()  # type: ignore[union-attr]  # it matches the empty string
    blank = content == len(line)
    if interrupts and (blank or (marker.re is _ORDERED and int(marker[1]) != 1)):
        return None
    length = end - at
    after = column + indent + length
    spaces = columns_of(line, end, content, after) if tabs else content - end
    if blank:
        return len(line), after, indent + length + 1
    if spaces > 4:
        position, after = advance(line, end, after, 1, tabs)
        return position, after, indent + length + 1
    return content, after + spaces, indent + length + spaces


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


def definition(text: str, at: int) -> tuple[str, int, int, int] | None:
    """A reference definition at `at` (CommonMark 4.7): its label in normal form, where its target begins and ends, and where the
    next line begins; None when there is none."""
    label = LABEL.match(text, at)
    if label is None or not text.startswith(":", label.end()) or not label[1].strip() or label[1][0] == "^":
        return None
    start = _gap(text, label.end() + 1)
    if start < 0 or start >= len(text):
        return None
    found = destination(text, start)
    if found is None:
        return None
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
    return (normal_label(label[1]), raw_start, raw_stop, end) if end >= 0 else None


def cells(row: str) -> list[tuple[int, int]]:
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

"""The picture of a store's graph: small ones note by note, large ones as groups of notes around what most of them link.

Drawing only; where things go is `assets.notes.graph_layout`. The picture needs no script, font or style from elsewhere, follows a
dark colour scheme, and titles reach it only as escaped text. Equal graphs give equal bytes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import sqrt
from typing import NamedTuple

from assets.notes.graph_layout import Point, groups, spread_out, sunflower

MOST_SINGLE = 80
"""Graphs of so many notes are drawn note by note."""
_MOST_GROUPS = 30
_SMALLEST_GROUP = 3
_MOST_DOTS = 2_400
_MARGIN = 36.0
_WIDEST_LABEL = 26
_CHARACTER = 6.6
"""Width of a character of the 12 px type in px, on the generous side; wide characters count twice."""
_COLOURS = ("#2f6fa7", "#d1862b", "#3f8f5f", "#b8527f", "#7a63b8", "#5a9fb0", "#9c7a45")
_OTHER = "#8594a3"

_STYLE = """
svg{--paper:#fff;--text:#1c2733;--faint:#6b7a8a;--line:#9fb0c1;--strong:#4d6178;--disc:#f1f5f9;--rim:#c9d4df}
@media (prefers-color-scheme:dark){svg{--paper:#12171d;--text:#e3e9ef;--faint:#93a1b0;--line:#51647a;--strong:#9db2c7;
--disc:#1a222b;--rim:#334150}}
text{font:12px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif;fill:var(--text);
paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.paper{fill:var(--paper)}.line{stroke:var(--line);stroke-width:1.1;fill:none}.typed{stroke:var(--strong);stroke-width:1.6}
.tie{stroke:var(--line);stroke-linecap:round;opacity:.55}.disc{fill:var(--disc);stroke:var(--rim)}
.dot{stroke:var(--paper);stroke-width:1}.name{font-weight:600}.mid{text-anchor:middle}.end{text-anchor:end}
.faint{fill:var(--faint);font-size:11px}.arrow{fill:var(--line)}.strong{fill:var(--strong)}
"""


class Dot(NamedTuple):
    """A note: its title, its type ('' for none), how many edges lead to it."""

    title: str
    type: str
    backlinks: int


class Line(NamedTuple):
    """An edge, by the places of its notes among the dots."""

    source: int
    target: int
    type: str


class _Label(NamedTuple):
    x: float
    y: float
    text: str
    style: str

    def box(self) -> tuple[float, float, float, float]:
        width = _width(self.text)
        left = self.x - width if "end" in self.style else self.x - width / 2 if "mid" in self.style else self.x
        return left, self.y - 11, left + width, self.y + 4


def draw(dots: Sequence[Dot], lines: Sequence[Line]) -> bytes:
    """The picture as SVG."""
    colours = _colours(dots)
    if not dots:
        body, box = [_text(_Label(0, 0, "no notes yet", "mid faint"))], (-80.0, -30.0, 80.0, 30.0)
    elif len(dots) <= MOST_SINGLE:
        body, box = _single(dots, lines, colours)
    else:
        body, box = _grouped(dots, lines, colours)
    left, top, right, bottom = box[0] - _MARGIN, box[1] - _MARGIN, box[2] + _MARGIN, box[3] + _MARGIN
    legend = list(_legend(colours, dots, left + 16, top + 24))
    right = max(right, left + 32 + max([_width(name) + 60 for name in colours], default=0))
    bottom = max(bottom, top + 24 + 20 * len(colours))
    size = f'viewBox="{_n(left)} {_n(top)} {_n(right - left)} {_n(bottom - top)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} width="{_n(right - left)}" height="{_n(bottom - top)}" role="img">',
        f"<title>{len(dots):,} notes, {len(lines):,} edges</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" x="{_n(left)}" y="{_n(top)}" width="100%" height="100%"/>',
        *body,
        *legend,
        "</svg>\n",
    ]
    return "\n".join(parts).encode()


# note by note


def _single(
    dots: Sequence[Dot], lines: Sequence[Line], colours: dict[str, str]
) -> tuple[list[str], tuple[float, float, float, float]]:
    radii = [4.0 + 1.6 * sqrt(dot.backlinks) for dot in dots]
    ties: dict[tuple[int, int], float] = {}
    for line in lines:
        pair = (min(line.source, line.target), max(line.source, line.target))
        ties[pair] = min(ties.get(pair, 0.0) + 1.0, 2.0)
    at = _places(radii, ties, length=80.0 if len(dots) <= 40 else 62.0, apart=110.0)
    body = [
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
    ]
    body += ['<path class="arrow" d="M0 1 8 4 0 7z"/></marker>']
    body += ['<marker id="b" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto-start-reverse">']
    body += ['<path class="strong" d="M0 1 8 4 0 7z"/></marker></defs>']
    for line in lines:
        body.append(_arrow(at[line.source], at[line.target], radii[line.source], radii[line.target], line.type))
    for dot, (x, y), radius in zip(dots, at, radii, strict=True):
        body.append(_dot(dot, x, y, radius, colours))
    labels = _labels(dots, at, radii)
    body += map(_text, labels)
    boxes = [label.box() for label in labels]
    boxes += [(x - radius, y - radius, x + radius, y + radius) for (x, y), radius in zip(at, radii, strict=True)]
    return body, _around(boxes)


def _arrow(start: Point, end: Point, from_radius: float, to_radius: float, kind: str) -> str:
    dx, dy = end[0] - start[0], end[1] - start[1]
    distance = sqrt(dx * dx + dy * dy) + 0.01
    x1, y1 = start[0] + dx * from_radius / distance, start[1] + dy * from_radius / distance
    x2, y2 = end[0] - dx * (to_radius + 1) / distance, end[1] - dy * (to_radius + 1) / distance
    style, marker = ("line", "a") if kind == "related" else ("line typed", "b")
    place = f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"'
    return f'<line class="{style}" {place} marker-end="url(#{marker})"><title>{escape(_clean(kind))}</title></line>'


def _labels(dots: Sequence[Dot], at: Sequence[Point], radii: Sequence[float]) -> list[_Label]:
    """A label for every dot that has room for one, those most linked first; in small graphs for every dot."""
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(at, radii, strict=True)]
    placed: list[_Label] = []
    for node in sorted(range(len(dots)), key=lambda node: (-dots[node].backlinks, node)):
        (x, y), radius, text = at[node], radii[node], _cut(dots[node].title)
        style = "name" if dots[node].backlinks >= 3 else ""
        choices = [
            _Label(x + radius + 4, y + 4, text, style),
            _Label(x - radius - 4, y + 4, text, f"{style} end"),
            _Label(x, y - radius - 6, text, f"{style} mid"),
            _Label(x, y + radius + 14, text, f"{style} mid"),
        ]
        laps = [sum(_lap(label.box(), box) for at_box, box in enumerate(taken) if at_box != node) for label in choices]
        best = min(range(len(choices)), key=lambda one: (laps[one], one))
        if laps[best] == 0 or len(dots) <= 24:
            placed.append(choices[best])
            taken.append(choices[best].box())
    return placed


def _lap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


# in groups


class _Disc(NamedTuple):
    """A group as it is drawn: its notes, those most linked first; what is written below it."""

    nodes: list[int]
    label: str
    second: str
    radius: float
    tied: bool


def _grouped(
    dots: Sequence[Dot], lines: Sequence[Line], colours: dict[str, str]
) -> tuple[list[str], tuple[float, float, float, float]]:
    each = -(-len(dots) // _MOST_DOTS)
    discs, of = _discs(dots, lines, each)
    ties = _ties(lines, of, {number for number, disc in enumerate(discs) if disc.tied})
    strongest = max(ties.values(), default=1.0)
    sizes = [disc.radius + 24.0 for disc in discs]
    at = _places(sizes, {pair: 0.2 + weight / strongest for pair, weight in ties.items()}, length=60.0, apart=24.0)
    body = []
    for (one, other), weight in sorted(_main_ties(ties).items()):
        (x1, y1), (x2, y2) = at[one], at[other]
        wide = 0.8 + 5.0 * weight / strongest
        body.append(
            f'<line class="tie" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" stroke-width="{_n(wide)}">'
            f"<title>{int(weight):,} edges</title></line>"
        )
    boxes = []
    for disc, (x, y) in zip(discs, at, strict=True):
        body.append(f'<circle class="disc" cx="{_n(x)}" cy="{_n(y)}" r="{_n(disc.radius)}"/>')
        shown = disc.nodes[::each]
        for place, (node, (dx, dy)) in enumerate(zip(shown, sunflower(len(shown), 7.0), strict=True)):
            radius = 4.6 if place == 0 and disc.tied else 2.6
            body.append(_dot(dots[node], x + dx, y + dy, radius, colours))
        boxes.append((x - disc.radius, y - disc.radius, x + disc.radius, y + disc.radius))
    for disc, (x, y) in zip(discs, at, strict=True):
        labels = [
            _Label(x, y + disc.radius + 15, disc.label, "mid name"),
            _Label(x, y + disc.radius + 29, disc.second, "mid faint"),
        ]
        body += map(_text, labels)
        boxes += [label.box() for label in labels]
    if each > 1:
        left, _, _, bottom = _around(boxes)
        note = _Label(left, bottom + 24, f"one dot stands for {each} notes", "faint")
        body.append(_text(note))
        boxes.append(note.box())
    return body, _around(boxes)


def _discs(dots: Sequence[Dot], lines: Sequence[Line], each: int) -> tuple[list[_Disc], dict[int, int]]:
    """The groups to draw, and which of them each note is in."""
    found = groups(len(dots), [(line.source, line.target) for line in lines])
    named = [group for group in found[:_MOST_GROUPS] if len(group) >= _SMALLEST_GROUP]
    rest = [node for group in found[len(named) :] for node in group]
    linked = {node for group in found for node in group}
    alone = [node for node in range(len(dots)) if node not in linked]
    discs = []
    for group in named:
        nodes = sorted(group, key=lambda node: (-dots[node].backlinks, node))
        discs.append(_Disc(nodes, _cut(dots[nodes[0]].title), f"{len(nodes):,} notes", _radius(len(nodes), each), True))
    if rest:
        many = len(found) - len(named)
        discs.append(_Disc(rest, f"{many:,} smaller groups", f"{len(rest):,} notes", _radius(len(rest), each), False))
    if alone:
        discs.append(_Disc(alone, "without links", f"{len(alone):,} notes", _radius(len(alone), each), False))
    return discs, {node: number for number, disc in enumerate(discs) for node in disc.nodes}


def _radius(notes: int, each: int) -> float:
    return 9.0 + 6.7 * sqrt(-(-notes // each))


def _ties(lines: Iterable[Line], of: dict[int, int], tied: set[int]) -> dict[tuple[int, int], float]:
    ties: Counter[tuple[int, int]] = Counter()
    for line in lines:
        one, other = of[line.source], of[line.target]
        if one != other and one in tied and other in tied:
            ties[min(one, other), max(one, other)] += 1
    return {pair: float(weight) for pair, weight in ties.items()}


def _main_ties(ties: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """The ties that are among the two strongest of one of their ends: all of them would be a tangle."""
    kept: dict[tuple[int, int], float] = {}
    count: Counter[int] = Counter()
    for pair, weight in sorted(ties.items(), key=lambda tie: (-tie[1], tie[0])):
        if min(count[pair[0]], count[pair[1]]) < 2:
            kept[pair] = weight
            count.update(pair)
    return kept


# parts


def _places(sizes: Sequence[float], ties: dict[tuple[int, int], float], *, length: float, apart: float) -> list[Point]:
    """Places by forces for what is tied, in rows below for what is not."""
    tied = sorted({node for pair in ties for node in pair})
    numbers = {node: number for number, node in enumerate(tied)}
    inner = {(numbers[one], numbers[other]): strength for (one, other), strength in ties.items()}
    at = dict(zip(tied, spread_out([sizes[node] for node in tied], inner, length=length, steps=260), strict=True))
    left = min((at[node][0] - sizes[node] for node in tied), default=0.0)
    right = max(max((at[node][0] + sizes[node] for node in tied), default=0.0), left + 600.0)
    top = max((at[node][1] + sizes[node] for node in tied), default=0.0) + apart / 2
    x, low = left, top
    for node in range(len(sizes)):
        if node in at:
            continue
        if x > left and x + 2 * sizes[node] > right:
            x, top = left, low + apart / 4
        at[node] = (x + sizes[node], top + sizes[node])
        x += 2 * sizes[node] + apart
        low = max(low, top + 2 * sizes[node])
    return [at[node] for node in range(len(sizes))]


def _colours(dots: Sequence[Dot]) -> dict[str, str]:
    """A colour for each type, the most frequent first; what is left over shares one."""
    kinds = Counter(dot.type for dot in dots if dot.type)
    ordered = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    return dict(zip(ordered, _COLOURS, strict=False))


def _legend(colours: dict[str, str], dots: Sequence[Dot], x: float, y: float) -> Iterator[str]:
    kinds = Counter(dot.type for dot in dots)
    rows = [(_cut(kind), colour, kinds[kind]) for kind, colour in colours.items()]
    other = len(dots) - sum(count for _, _, count in rows)
    if other and rows:
        rows.append(("other" if len(colours) == len(_COLOURS) else "no type", _OTHER, other))
    for at, (name, colour, count) in enumerate(rows):
        yield f'<circle class="dot" cx="{_n(x)}" cy="{_n(y + 18 * at - 4)}" r="5" fill="{colour}"/>'
        yield _text(_Label(x + 11, y + 18 * at, f"{name} ({count:,})", "faint"))


def _dot(dot: Dot, x: float, y: float, radius: float, colours: dict[str, str]) -> str:
    place = f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
    colour = colours.get(dot.type, _OTHER)
    if radius < 3:
        return f'<circle {place} fill="{colour}"/>'
    return f'<circle class="dot" {place} fill="{colour}"><title>{escape(_clean(dot.title))}</title></circle>'


def _text(label: _Label) -> str:
    style = f' class="{label.style.strip()}"' if label.style.strip() else ""
    return f'<text{style} x="{_n(label.x)}" y="{_n(label.y)}">{escape(label.text)}</text>'


def _around(boxes: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _clean(text: str) -> str:
    """Text that XML can hold."""
    return "".join(sign if sign >= " " and sign not in "\ufffe\uffff" else " " for sign in text)


def _cut(text: str) -> str:
    text = " ".join(_clean(text).split())
    if _columns(text) <= _WIDEST_LABEL:
        return text
    while text and _columns(text) >= _WIDEST_LABEL:
        text = text[:-1]
    return text.rstrip() + "…"


def _columns(text: str) -> int:
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _width(text: str) -> float:
    return _columns(text) * _CHARACTER + 2


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")

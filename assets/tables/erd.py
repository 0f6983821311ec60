"""The `erd` artifact: a project's entity-relationship diagram as a picture (SVG) and as Mermaid text.

Drawing and wording only; where things go is `assets.tables.erd_layout`. The picture needs no script, font or style from
elsewhere, follows a dark colour scheme, and names of tables reach it only as escaped text. Line ends are crow's feet: a bar is
one, a circle zero, the three-toed foot many.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from assets.engine.recipe import Summary
from assets.engine.view import Scratch, View
from assets.tables.erd_layout import Edge, Node, arrange
from assets.tables.text import PROJECT_FILE
from schemas.tables.model import Project, Relationship, Table
from schemas.tables.project import read_project

_ROW = 22.0
_HEADER = 32.0
_MARGIN = 28.0
_MOST_ROWS = 24
"""Columns shown of one table; keys always are."""
_NAME_WIDTH = 26
_TYPE_WIDTH = 16
"""Widths in characters at which names and types are cut."""
_CHARACTER = 7.1
"""Width of a character of the 12 px type in px, on the generous side; wide characters count twice."""

_STYLE = """
svg{--paper:#fff;--card:#fff;--line:#c9d2dc;--text:#1c2733;--faint:#6b7a8a;--head:#24527a;--headtext:#fff;
--stripe:#f5f7fa;--edge:#5c7189;--pk:#b06b00;--fk:#24718a}
@media (prefers-color-scheme:dark){svg{--paper:#12171d;--card:#1a212a;--line:#36424f;--text:#e3e9ef;--faint:#93a1b0;
--head:#2f6594;--headtext:#fff;--stripe:#202933;--edge:#8499b0;--pk:#e0a34a;--fk:#6cc0d9}}
text{font:12px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif;fill:var(--text)}
.paper{fill:var(--paper)}.card{fill:var(--card);stroke:var(--line)}.head{fill:var(--head)}.stripe{fill:var(--stripe)}
.title{font-weight:600;font-size:13px;fill:var(--headtext)}.type{fill:var(--faint);text-anchor:end}.key{font-weight:600}
.badge{font-size:9px;font-weight:700;text-anchor:middle}.both{font-size:8px}.pk{fill:var(--pk)}.fk{fill:var(--fk)}
.more{fill:var(--faint);font-style:italic}.edge{fill:none;stroke:var(--edge);stroke-width:1.4;stroke-linejoin:round}
.zero{fill:var(--card);stroke:var(--edge);stroke-width:1.4}
g.link:hover .edge,g.link:hover .zero{stroke:var(--pk);stroke-width:2.2}
"""


@dataclass
class _Row:
    """One line of a box: the column's name, or a note when `column` is None."""

    column: str | None
    text: str
    type: str = ""
    badge: str = ""
    required: bool = False
    title: str = ""


@dataclass
class _Box:
    """One table as it is drawn."""

    name: str
    shown: str
    title: str
    rows: list[_Row]
    node: Node

    def port(self, columns: Sequence[str]) -> float:
        """The height below the box's upper edge at which a line about these columns ends."""
        places = [at for at, row in enumerate(self.rows) if row.column in columns]
        return _HEADER + _ROW * (sum(places) / len(places) + 0.5) if places else _HEADER / 2


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `erd`. Raises InvalidText when `project.yaml` breaks a rule."""
    project = read_project(view.read("project", PROJECT_FILE), view.workspace_path(PROJECT_FILE))
    picture, words = svg(project).encode("utf-8"), mermaid(project)
    scratch.path("erd.svg").write_bytes(picture)
    scratch.path("erd.mmd").write_bytes(words.encode("utf-8"))
    return Summary(
        counts={
            "tables": len(project.tables),
            "columns": sum(len(table.columns) for table in project.tables.values()),
            "relationships": len(project.relationships),
        },
        markdown={"mermaid": f"```mermaid\n{words}```\n"},
        pictures={"erd.svg": picture},
    )


# the picture


def svg(project: Project) -> str:
    """The diagram as a complete SVG document."""
    boxes = {name: _box(project, name, table) for name, table in project.tables.items()}
    places = {name: at for at, name in enumerate(boxes)}
    edges = [
        Edge(
            places[found.parent.table],
            places[found.child.table],
            boxes[found.parent.table].port(found.parent.columns),
            boxes[found.child.table].port(found.child.columns),
            round(boxes[found.parent.table].port(found.parent.columns)),
            round(boxes[found.child.table].port(found.child.columns)),
        )
        for found in project.relationships.values()
    ]
    nodes = [box.node for box in boxes.values()]
    _spread_ports(edges, nodes)
    width, height = arrange(nodes, edges)
    total_width, total_height = round(width + 2 * _MARGIN), round(height + 2 * _MARGIN)
    about = project.project.title or project.project.name or "Entity-relationship diagram"
    frame = f'x="{-_MARGIN:g}" y="{-_MARGIN:g}" width="{total_width}" height="{total_height}"'
    seen = f"{-_MARGIN:g} {-_MARGIN:g} {total_width} {total_height}"
    size = f'width="{total_width}" height="{total_height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{seen}" role="img">',
        f"<title>{_text(about)}</title>",
        f"<style>{_STYLE.strip()}</style>",
        f'<rect class="paper" {frame}/>',
    ]
    for edge, (name, found) in zip(edges, project.relationships.items(), strict=True):
        parts += _draw_edge(edge, name, found, project.tables[found.child.table])
    for box in boxes.values():
        parts += _draw_box(box)
    return "\n".join([*parts, "</svg>", ""])


def _box(project: Project, name: str, table: Table) -> _Box:
    foreign = {column for found in project.relationships_from(name).values() for column in found.child.columns}
    referred = {column for found in project.relationships_to(name).values() for column in found.parent.columns}
    needed = [column for column in table.columns if column in foreign | referred or column in table.primary_key]
    shown = list(table.columns)
    if len(shown) > _MOST_ROWS:
        kept = set(needed)
        for key in shown:
            if len(kept) >= max(_MOST_ROWS - 1, len(needed)):
                break
            kept.add(key)
        shown = [key for key in shown if key in kept]
    rows = []
    for key in shown:
        column = table.columns[key]
        badge = "PK" if key in table.primary_key else "FK" if key in foreign else ""
        badge = "PF" if key in table.primary_key and key in foreign else badge
        words = [key, column.type + ("" if column.is_nullable else ", required"), column.title or "", column.description or ""]
        title = "\n".join(word for word in words if word)
        rows.append(_Row(key, cut(key, _NAME_WIDTH), cut(column.type, _TYPE_WIDTH), badge, not column.is_nullable, title))
    if len(shown) < len(table.columns):
        rows.append(_Row(None, f"… {len(table.columns) - len(shown)} more columns"))
    header = cut(name, _NAME_WIDTH + _TYPE_WIDTH - 6)
    widest = max((width_of(row.text) + width_of(row.type) + 3 for row in rows), default=0)
    width = max(widest * _CHARACTER + 48, width_of(header) * (_CHARACTER + 1) + 28, 150.0)
    title = "\n".join(word for word in (name, table.title or "", table.description or "") if word)
    return _Box(name, header, title, rows, Node(round(width), _HEADER + _ROW * len(rows) + 4))


def _spread_ports(edges: Sequence[Edge], nodes: Sequence[Node]) -> None:
    """Move line ends that would share a point of a box apart, within the height of a row."""
    ends: dict[tuple[int, float], list[tuple[Edge, bool]]] = {}
    for edge in edges:
        ends.setdefault((edge.parent, edge.parent_port), []).append((edge, True))
        ends.setdefault((edge.child, edge.child_port), []).append((edge, False))
    for (node, port), meeting in ends.items():
        # A row has room for three; more of them use the rows around it.
        step = min(9.0, max(_ROW, nodes[node].height - _HEADER - 12) / len(meeting))
        spread = step * (len(meeting) - 1)
        start = min(max(port - spread / 2, 8.0), nodes[node].height - 8.0 - spread)
        for number, (edge, is_parent) in enumerate(meeting):
            if is_parent:
                edge.parent_port = start + step * number
            else:
                edge.child_port = start + step * number


def _draw_box(box: _Box) -> Iterator[str]:
    x, y, width, height = box.node.x, box.node.y, box.node.width, box.node.height
    yield f'<g transform="translate({x:.1f} {y:.1f})"><title>{_text(box.title)}</title>'
    yield f'<rect class="card" width="{width:g}" height="{height:g}" rx="7"/>'
    top = f"M0 {_HEADER:g}V7a7 7 0 0 1 7-7H{width - 7:g}a7 7 0 0 1 7 7V{_HEADER:g}Z"
    yield f'<path class="head" d="{top}"/>'
    yield f'<text class="title" x="12" y="21">{_text(box.shown)}</text>'
    for at, row in enumerate(box.rows):
        upper = _HEADER + _ROW * at + 1
        if at % 2:
            yield f'<rect class="stripe" x="1" y="{upper:g}" width="{width - 2:g}" height="{_ROW:g}"/>'
        if row.column is None:
            yield f'<text class="more" x="38" y="{upper + 15:g}">{_text(row.text)}</text>'
            continue
        yield f"<g><title>{_text(row.title)}</title>"
        if row.badge:
            style, word = {"PK": ("pk", "PK"), "FK": ("fk", "FK"), "PF": ("pk both", "PK FK")}[row.badge]
            yield f'<text class="badge {style}" x="20" y="{upper + 14:g}">{word}</text>'
        weight = ' class="key"' if row.badge in {"PK", "PF"} else ""
        star = '<tspan class="pk"> *</tspan>' if row.required and row.badge not in {"PK", "PF"} else ""
        yield f'<text{weight} x="38" y="{upper + 15:g}">{_text(row.text)}{star}</text>'
        yield f'<text class="type" x="{width - 10:g}" y="{upper + 15:g}">{_text(row.type)}</text></g>'
    yield "</g>"


def _draw_edge(edge: Edge, name: str, found: Relationship, child: Table) -> Iterator[str]:
    points = edge.points
    pairs = ", ".join(f"{down} → {up}" for down, up in zip(found.child.columns, found.parent.columns, strict=True))
    title = f"{name}\n{found.child.table} → {found.parent.table}: {pairs}"
    if found.on_delete != "no_action":
        title += f"\non delete {found.on_delete.replace('_', ' ')}"
    yield f'<g class="link"><title>{_text(title)}</title>'
    yield f'<path class="edge" d="{_rounded(points)}"/>'
    yield from _mark(points[0], points[1], many=False, zero=_is_optional(found, child))
    yield from _mark(points[-1], points[-2], many=found.cardinality != "one-to-one", zero=True)
    yield "</g>"


def _is_optional(found: Relationship, child: Table) -> bool:
    return any(child.columns[column].is_nullable for column in found.child.columns)


def _mark(end: tuple[float, float], towards: tuple[float, float], *, many: bool, zero: bool) -> Iterator[str]:
    """The crow's foot at the end of a line: at `end` on the box's border, the line leaving towards `towards`."""
    x, y = end
    way = 1.0 if towards[0] > x else -1.0
    foot = x + way * 11
    if many:
        yield f'<path class="edge" d="M{foot:.1f} {y:.1f}L{x:.1f} {y - 6:.1f}M{foot:.1f} {y:.1f}L{x:.1f} {y + 6:.1f}"/>'
    else:
        yield f'<path class="edge" d="M{x + way * 7:.1f} {y - 5:.1f}v10"/>'
    if zero:
        yield f'<circle class="zero" cx="{foot + way * 4.5:.1f}" cy="{y:.1f}" r="3.5"/>'
    else:
        yield f'<path class="edge" d="M{x + way * 12:.1f} {y - 5:.1f}v10"/>'


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A path through the points with rounded corners."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(7.0, _distance(before, corner) / 2, _distance(corner, after) / 2)
        start, end = _on_the_way(corner, before, radius), _on_the_way(corner, after, radius)
        parts.append(f"L{start[0]:.1f} {start[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {end[0]:.1f} {end[1]:.1f}")
    parts.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(parts)


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])  # every piece is level or upright


def _on_the_way(start: tuple[float, float], goal: tuple[float, float], far: float) -> tuple[float, float]:
    length = _distance(start, goal) or 1.0
    return start[0] + (goal[0] - start[0]) * far / length, start[1] + (goal[1] - start[1]) * far / length


def width_of(text: str) -> int:
    """The width of `text` in characters, wide ones counted twice and combining ones not at all."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """`text` on one line, cut to a width in characters."""
    line = "".join(char if char.isprintable() else " " for char in text)
    if width_of(line) <= width:
        return line
    kept = ""
    for char in line:
        if width_of(kept + char) > width - 1:
            break
        kept += char
    return kept + "…"


def _text(text: str) -> str:
    """`text` as XML character data; characters that XML cannot hold become spaces."""
    return escape(re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text))


# Mermaid


def mermaid(project: Project) -> str:
    """The diagram as Mermaid `erDiagram` text (https://mermaid.js.org/syntax/entityRelationshipDiagram.html).

    Names that Mermaid cannot read as they are stand in a label, or in the comment of their column.
    """
    ids = {name: _entity(name, number) for number, name in enumerate(project.tables, 1)}
    lines = ["erDiagram"]
    for name, table in project.tables.items():
        label = "" if ids[name] == name else f'["{_quoted(name)}"]'
        lines.append(f"    {ids[name]}{label} {{")
        foreign = {column for found in project.relationships_from(name).values() for column in found.child.columns}
        unique = {columns[0] for columns in table.unique_sets.values() if len(columns) == 1}
        for number, (key, column) in enumerate(table.columns.items(), 1):
            keys = [word for word, of in (("PK", table.primary_key), ("FK", foreign), ("UK", unique)) if key in of]
            plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key)
            comment = "" if plain else f' "{_quoted(key)}"'
            kind = re.sub(r"[^A-Za-z0-9]+", "_", column.type).strip("_")
            parts = [kind, key if plain else f"column_{number}", *([", ".join(keys)] if keys else [])]
            lines.append(f"        {' '.join(parts)}{comment}")
        lines.append("    }")
    for name, found in project.relationships.items():
        left = "|o" if _is_optional(found, project.tables[found.child.table]) else "||"
        right = "o|" if found.cardinality == "one-to-one" else "o{"
        lines.append(f'    {ids[found.parent.table]} {left}--{right} {ids[found.child.table]} : "{_quoted(name)}"')
    return "\n".join(lines) + "\n"


_RESERVED = frozenset(
    {
        *("erdiagram", "title", "direction", "style", "class", "classdef", "acctitle", "accdescr", "default", "end"),
        *("one", "many", "to", "u", "only", "zero", "optionally"),
    }
)
"""Words of Mermaid's grammar that cannot name an entity."""


def _entity(name: str, number: int) -> str:
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and name.lower() not in _RESERVED else f"table_{number}"


def _quoted(text: str) -> str:
    """`text` inside Mermaid's double quotes."""
    line = "".join(char if char.isprintable() else " " for char in text)
    for char, code in (("#", "#35;"), ('"', "#quot;"), ("\\", "#92;"), ("&", "#amp;"), ("<", "#lt;"), (">", "#gt;")):
        line = line.replace(char, code)
    return line

"""The diagram: complete, escaped, without boxes or lines on top of each other, the same every time."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from assets.tables import erd
from assets.tables.erd_layout import Edge, Node, arrange
from assets.tables.recipes import ERD
from schemas.tables.model import Project
from tests.assets.tables.projects import build, link, table, write_project

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["x;drop table y--", "a&b <b>", "</title><script>alert(1)</script>".replace("/", "∕"), "数据表格的名字" * 5, 'say "hi"']


def project(tables: dict[str, Any], links: dict[str, Any] | None = None) -> Project:
    return Project.model_validate({"version": 1, "tables": tables, "relationships": links or {}})


def web(count: int) -> Project:
    """That many tables, each with up to three parents among the others, cycles and self references included."""
    names = [f"t{number}" for number in range(count)]
    parents = {
        name: sorted({names[(number * 7 + step * 13 + 1) % count] for step in range(number % 4)})
        for number, name in enumerate(names)
    }
    tables = {name: table({"id": "integer", **{f"{up}_id": "integer" for up in parents[name]}, "note": "text"}) for name in names}
    links = {f"{name} {up}": link(name, f"{up}_id", up) for name in names for up in parents[name]}
    return project(tables, links)


@pytest.mark.parametrize("count", [1, 2, 5, 20, 60])
def test_boxes_never_overlap_and_lines_are_level_or_upright(count: int) -> None:
    made = web(count)
    places = {name: at for at, name in enumerate(made.tables)}
    nodes = [Node(150, 60 + 22 * len(entry.columns)) for entry in made.tables.values()]
    edges = [Edge(places[found.parent.table], places[found.child.table], 40, 62) for found in made.relationships.values()]
    width, height = arrange(nodes, edges)
    for one, other in itertools.combinations(nodes, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y
    for node in nodes:
        assert node.x >= 0
        assert node.x + node.width <= width + 0.1
        assert node.y >= 0
        assert node.y + node.height <= height + 0.1
    for edge in edges:
        assert all(start[0] == end[0] or start[1] == end[1] for start, end in itertools.pairwise(edge.points))
        for end, index in ((edge.points[0], edge.parent), (edge.points[-1], edge.child)):
            node = nodes[index]
            assert end[0] in (node.x, node.x + node.width)
            assert node.y <= end[1] <= node.y + node.height


@pytest.mark.parametrize("count", [5, 20])
def test_lines_do_not_run_through_boxes(count: int) -> None:
    made = web(count)
    places = {name: at for at, name in enumerate(made.tables)}
    nodes = [Node(150, 120) for _ in made.tables]
    edges = [Edge(places[found.parent.table], places[found.child.table], 40, 62) for found in made.relationships.values()]
    arrange(nodes, edges)
    for edge in edges:
        for (x1, y1), (x2, y2) in itertools.pairwise(edge.points):
            low_x, high_x, low_y, high_y = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
            for node in nodes:
                inside_x = low_x < node.x + node.width - 1 and high_x > node.x + 1
                inside_y = low_y < node.y + node.height - 1 and high_y > node.y + 1
                assert not (inside_x and inside_y)


def test_the_picture_says_everything_once(tmp_path: Path) -> None:
    tables = {
        "customer": table({"id": "integer", "name": {"type": "text", "nullable": False}}),
        "order": table({"id": "integer", "customer_id": "integer"}),
    }
    folder = write_project(tmp_path / "p", tables, {}, {"who": link("order", "customer_id", "customer", on_delete="cascade")})
    path, summary = build(ERD, folder, tmp_path / "w")
    text = path.read_text(encoding="utf-8")
    assert summary.counts == {"tables": 2, "columns": 4, "relationships": 1}
    assert summary.pictures["erd.svg"] == path.read_bytes()
    root = ElementTree.fromstring(text)
    words = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert words == [
        "customer",
        "PK",
        "id",
        "integer",
        "name *",
        "text",
        "order",
        "PK",
        "id",
        "integer",
        "FK",
        "customer_id",
        "integer",
    ]
    titles = ["".join(node.itertext()) for node in root.iter(f"{SVG}title")]
    assert any("order → customer: customer_id → id" in title and "on delete cascade" in title for title in titles)
    assert build(ERD, folder, tmp_path / "again")[0].read_bytes() == path.read_bytes()


def test_hostile_names_stay_text() -> None:
    tables = {name: table({"id": "integer", "<script>": "integer", "up": "integer"}) for name in HOSTILE}
    links = {f'<{number}> & "x"': link(name, "up", HOSTILE[number - 1]) for number, name in enumerate(HOSTILE)}
    made = project(tables, links)
    root = ElementTree.fromstring(erd.svg(made))
    tags = {node.tag.removeprefix(SVG) for node in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "path", "g", "text", "tspan", "circle"}
    words = erd.mermaid(made)
    assert "<" not in words  # Mermaid is shown inside Markdown, where a tag would be one
    assert "#lt;script#gt;" in words
    for line in words.splitlines()[1:]:
        assert re.fullmatch(
            r'    \w+(\["[^"]*"\])? \{|    \}|        \w+ \w+( (PK|FK|UK)(, (PK|FK|UK))*)?( "[^"]*")?'
            r'|    \w+ (\|o|\|\|)--(o\{|o\|) \w+ : "[^"]*"',
            line,
        ), line


def test_long_names_are_cut_and_many_columns_counted() -> None:
    assert erd.cut("a" * 40, 10) == "a" * 9 + "…"
    assert erd.cut("数" * 10, 10) == "数" * 4 + "…"
    assert erd.cut("two\nlines", 20) == "two lines"
    columns = {"id": "integer", **{f"c{number}": "text" for number in range(100)}, "parent": "integer"}
    text = erd.svg(project({"t": table(columns)}, {"up": link("t", "parent", "t")}))
    assert "more columns" in text
    assert ">parent<" in text.replace("</text>", "<")  # keys are shown wherever they stand


def test_cardinalities() -> None:
    needed = {"type": "integer", "nullable": False, "unique": True}
    made = project(
        {"a": table({"id": "integer"}), "b": table({"id": "integer", "one": needed, "some": "integer"})},
        {"r1": link("b", "one", "a", cardinality="one-to-one"), "r2": link("b", "some", "a")},
    )
    assert '    a ||--o| b : "r1"' in erd.mermaid(made)
    assert '    a |o--o{ b : "r2"' in erd.mermaid(made)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    picture, shot = tmp_path / "erd.svg", tmp_path / "erd.png"
    picture.write_text(erd.svg(web(20)), encoding="utf-8")
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={shot}",
    ]
    subprocess.run([*command, picture.as_uri()], check=True, capture_output=True, timeout=120)
    assert shot.stat().st_size > 5_000

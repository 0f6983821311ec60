"""What is made of the index: the JSON files for other programs, the Parquet files of the graph, and its picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.engine.view import Scratch, View
from assets.notes import cache, graph
from assets.notes.graph_layout import groups, spread_out, sunflower
from assets.notes.graph_picture import MOST_SINGLE, Dot, Line, draw
from tests.assets.notes.corpora import Corpus

FILES: dict[str, str | bytes] = {
    "notes/a.md": (
        "---\nid: qp-a\ntitle: Alpha <&>\ntype: permanent\ntags: [one, two]\ncreated: 2026-01-12\nvalue: 70\n"
        "links:\n  - {type: supports, id: qp-b}\n---\n[[qp-b]] [[nothing]] [[map]]\n"
    ),
    "notes/b.md": "---\nid: qp-b\ntitle: 漢字\ntags: [two]\n---\n[[qp-a]] [[missing]]\n",
    "mocs/map.md": "---\nid: qp-m\ntype: moc\n---\n# Map\n[[qp-a]] [[qp-b]] [[qp-b]]\n",
    "notes/alone.md": "nothing is linked here #three\n",
}
FIRST_ID = "p-"


def made(corpus: Corpus, name: str) -> tuple[Any, Path]:
    """The summary of the recipe's body, and the folder of its outputs."""
    folder = corpus.folder / name
    folder.mkdir()
    view = View(corpus.view().storage, corpus.view().store, {}, folder / "fetched", {"index": [corpus.index]})
    scratch = Scratch(folder)
    body = {"cache": cache.build, "graph": graph.build}[name.partition("-")[0]]
    return body(view, scratch, {}), folder / "outputs"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus(tmp_path, FILES)
    corpus.build()
    return corpus


class TestCache:
    def read(self, folder: Path) -> dict[str, Any]:
        return {path.stem: json.loads(path.read_bytes()) for path in sorted((folder / ".cache").iterdir())}

    def test_the_seven_files_have_the_shapes_that_qipu_gave_them(self, corpus: Corpus) -> None:
        summary, folder = made(corpus, "cache")
        files = self.read(folder)
        derived = next(note for note in files["id_to_path"] if note.startswith(FIRST_ID))

        assert sorted(files) == ["edges", "files", "id_to_path", "index_meta", "metadata", "tags", "unresolved"]
        assert files["index_meta"] == {"version": 2}
        assert files["metadata"]["qp-a"] == {
            "id": "qp-a",
            "title": "Alpha <&>",
            "type": "permanent",
            "tags": ["one", "two"],
            "path": "notes/a.md",
            "created": "2026-01-12",
        }
        assert files["metadata"]["qp-b"]["type"] == "fleeting"
        assert files["tags"] == {"one": ["qp-a"], "two": ["qp-a", "qp-b"], "three": [derived]}
        assert files["edges"] == [
            {"from": "qp-a", "source": "inline", "to": "qp-b", "type": "related"},
            {"from": "qp-a", "source": "inline", "to": "qp-m", "type": "related"},
            {"from": "qp-a", "source": "typed", "to": "qp-b", "type": "supports"},
            {"from": "qp-b", "source": "inline", "to": "qp-a", "type": "related"},
            {"from": "qp-m", "source": "inline", "to": "qp-a", "type": "related"},
            {"from": "qp-m", "source": "inline", "to": "qp-b", "type": "related"},
        ]
        assert files["unresolved"] == ["missing", "nothing"]
        assert files["files"]["notes/b.md"]["note_id"] == "qp-b"
        assert files["id_to_path"]["qp-m"] == "mocs/map.md"
        assert summary.counts == {"metadata": 4, "tags": 3, "edges": 6, "unresolved": 2, "files": 4, "id_to_path": 4}

    def test_a_folded_index_gives_the_same_bytes(self, corpus: Corpus) -> None:
        corpus.write({"notes/b.md": "gone\n", "notes/c.md": "new\n"})
        corpus.fold()
        corpus.write({"notes/b.md": FILES["notes/b.md"]})
        corpus.delete("notes/c.md")
        corpus.fold()
        _, folded = made(corpus, "cache")
        corpus.build()
        _, built = made(corpus, "cache-again")

        assert {path.name: path.read_bytes() for path in (folded / ".cache").iterdir()} == {
            path.name: path.read_bytes() for path in (built / ".cache").iterdir()
        }

    def test_an_empty_store_has_empty_files(self, tmp_path: Path) -> None:
        corpus = Corpus(tmp_path, {})
        corpus.build()
        _, folder = made(corpus, "cache")

        assert {name: bool(content) for name, content in self.read(folder).items() if name != "index_meta"} == dict.fromkeys(
            ("edges", "files", "id_to_path", "metadata", "tags", "unresolved"), False
        )


class TestGraph:
    def test_notes_and_edges_can_be_asked_with_sql(self, corpus: Corpus) -> None:
        summary, folder = made(corpus, "graph")
        with duckdb.connect() as connection:
            nodes = connection.execute(
                "SELECT path, type, moc, value, tags, links, backlinks, broken "
                f"FROM '{folder / graph.NODES}' WHERE id LIKE 'qp-%'"
            ).fetchall()
            edges = connection.execute(f"SELECT source, target, type, inline, mentions FROM '{folder / graph.EDGES}'").fetchall()

        assert nodes == [
            ("mocs/map.md", "moc", True, None, [], 2, 1, 0),
            ("notes/a.md", "permanent", False, 70, ["one", "two"], 3, 2, 1),
            ("notes/b.md", None, False, None, ["two"], 1, 3, 1),
        ]
        assert edges[0] == ("mocs/map.md", "notes/a.md", "related", True, 1)
        assert ("mocs/map.md", "notes/b.md", "related", True, 2) in edges
        assert ("notes/a.md", "notes/b.md", "supports", False, 1) in edges
        assert summary.counts == {"nodes": 4, "edges": 6, "orphans": 1}
        assert summary.pictures["graph.svg"] == (folder / graph.PICTURE).read_bytes()

    def test_a_folded_index_gives_the_same_bytes(self, corpus: Corpus) -> None:
        corpus.write({"notes/a.md": "gone\n", "notes/0.md": "new\n"})
        corpus.fold()
        corpus.write({"notes/a.md": FILES["notes/a.md"]})
        corpus.delete("notes/0.md")
        corpus.fold()
        _, folded = made(corpus, "graph")
        corpus.build()
        _, built = made(corpus, "graph-again")

        for name in (graph.NODES, graph.EDGES, graph.PICTURE):
            assert (folded / name).read_bytes() == (built / name).read_bytes()

    def test_an_empty_store_has_an_empty_graph(self, tmp_path: Path) -> None:
        corpus = Corpus(tmp_path, {})
        corpus.build()
        summary, folder = made(corpus, "graph")

        assert summary.counts == {"nodes": 0, "edges": 0, "orphans": 0}
        assert b"no notes yet" in (folder / graph.PICTURE).read_bytes()


def ring(count: int, *, kind: str = "related") -> tuple[list[Dot], list[Line]]:
    dots = [Dot(f"Note {at}", ("permanent", "fleeting", "")[at % 3], 1) for at in range(count)]
    return dots, [Line(at, (at + 1) % count, kind) for at in range(count)]


class TestPicture:
    def texts(self, picture: bytes) -> list[str]:
        return [element.text or "" for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]

    def test_a_small_graph_names_every_note(self) -> None:
        dots, lines = ring(20)
        picture = draw(dots, lines)

        assert {dot.title for dot in dots} <= set(self.texts(picture))
        assert picture.count(b"marker-end") == 20
        assert draw(dots, lines) == picture

    def test_a_large_graph_shows_groups_by_what_is_most_linked(self) -> None:
        dots, lines = [], []
        for group in range(5):
            first = len(dots)
            dots += [Dot(f"Hub {group}", "moc", 60), *(Dot(f"Leaf {group}.{at}", "fleeting", 0) for at in range(60))]
            lines += [Line(first + 1 + at, first, "related") for at in range(60)]
            lines.append(Line(first, (first + 61) % 305, "related"))
        dots += [Dot("Alone", "", 0)] * 7
        texts = self.texts(draw(dots, lines))

        assert {f"Hub {group}" for group in range(5)} <= set(texts)
        assert "without links" in texts
        assert "7 notes" in texts
        assert not [text for text in texts if text.startswith("Leaf")]

    def test_ten_thousand_notes_make_a_picture_of_bounded_size(self) -> None:
        dots, lines = ring(10_000)
        picture = draw(dots, lines + [Line(at, at % 100, "related") for at in range(10_000)])

        assert len(picture) < 256 * 1024
        assert b"one dot stands for" in picture

    def test_titles_are_text_and_nothing_else(self) -> None:
        hostile = ["<script>alert(1)</script>", "a\x00b\x1b", "&amp;", "\u202e", "漢" * 80, "", "\"quoted\" 'too'"]
        for count in (len(hostile), MOST_SINGLE * 2):
            dots = [Dot(hostile[at % len(hostile)], hostile[at % len(hostile)], 2) for at in range(count)]
            picture = draw(dots, [Line(at, (at * 7) % count, hostile[0]) for at in range(count)])
            assert b"<script" not in picture
            ET.fromstring(picture)


class TestLayout:
    def test_discs_do_not_lie_on_one_another(self) -> None:
        sizes = [5.0 + at % 7 * 6 for at in range(40)]
        at = spread_out(sizes, {(one, one + 1): 1.0 for one in range(39)}, length=40, steps=80)

        for one in range(40):
            for other in range(one):
                distance = ((at[one][0] - at[other][0]) ** 2 + (at[one][1] - at[other][1]) ** 2) ** 0.5
                assert distance > sizes[one] + sizes[other] - 1

    def test_tied_discs_lie_nearer_than_others(self) -> None:
        ties = {(at, at + 1): 1.0 for at in range(0, 20, 2)}
        at = spread_out([4.0] * 20, ties, length=40, steps=200)

        def distance(one: int, other: int) -> float:
            return float(((at[one][0] - at[other][0]) ** 2 + (at[one][1] - at[other][1]) ** 2) ** 0.5)

        nearer = sum(
            distance(one, one + 1) < min(distance(one, other) for other in range(20) if other not in (one, one + 1))
            for one in range(0, 20, 2)
        )
        assert nearer >= 8

    def test_a_sunflower_is_even(self) -> None:
        points = sunflower(200, 10)

        assert points[0] == (0.0, 0.0)
        assert min(abs(x1 - x2) + abs(y1 - y2) for (x1, y1), (x2, y2) in pairwise(points)) > 5

    def test_cliques_are_groups(self) -> None:
        links = [(base + one, base + other) for base in (0, 10, 20) for one in range(10) for other in range(one)]

        assert groups(35, [*links, (0, 10), (10, 20), (31, 31)]) == [list(range(10)), list(range(10, 20)), list(range(20, 30))]

    def test_nothing_linked_is_no_group(self) -> None:
        assert groups(5, []) == []

"""Following links: every mention, the tree around a note, the way between two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes.walk import Choice, Limits, LinkRow, Tree, links, path, tree
from schemas.notes.linktypes import LinkType, Ontology
from tests.assets.notes.asked import Asked, asking, note

PLAIN = Ontology()
FILES = {
    "config.toml": "version = 1\n",
    "notes/a.md": note(
        "A", "To [[b]], [[c|see]] and [[b#End]] again.\n\n![[pic.png]] [[gone]] <https://x.org> [[same]]", id="qp-a",
    ),
    "notes/b.md": note("B", "Back to [[a]].\n\n## End", id="qp-b", links="[{type: supports, id: qp-c}]"),
    "notes/c.md": note("C", "nothing", id="qp-c", links="[{type: invented, id: qp-a}, {type: part-of, id: qp-d}]"),
    "notes/d.md": note("D", "[itself](d.md)", id="qp-d", value="100"),
    "x/same.md": note("X", id="qp-x"),
    "y/same.md": note("Y", id="qp-y"),
    "attachments/pic.png": "png",
}  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("walk"), FILES) as opened:
        yield opened


def of(asked: Asked, path_: str, choice: Choice | None = None, states: tuple[str, ...] = ()) -> list[LinkRow]:
    return links(asked.connection, asked.number(path_), choice or Choice(), PLAIN, states=frozenset(states), read=asked.read)


def short(rows: list[LinkRow]) -> list[tuple[str, str, str | None]]:
    return [(row.direction, row.type, row.other.id if row.other else None) for row in rows]


def test_case_62_every_mention_with_its_place_and_line(asked: Asked) -> None:
    rows = [row for row in of(asked, "notes/a.md", Choice("out")) if row.state == "resolved"]
    assert [(row.target, row.anchor, row.label, row.line, row.column) for row in rows] == [
        ("b", None, None, 6, 4),
        ("c", None, "see", 6, 11),
        ("b", "End", None, 6, 25),
    ]
    assert {row.text for row in rows} == {"To [[b]], [[c|see]] and [[b#End]] again."}
    assert rows[0].path == "notes/a.md"


def test_case_31_inbound_links_are_shown_inverted(asked: Asked) -> None:
    assert short(of(asked, "notes/c.md", Choice("in"))) == [("in", "related", "qp-a"), ("in", "supported-by", "qp-b")]
    row = of(asked, "notes/c.md", Choice("in"))[1]
    assert (row.stored_type, row.virtual, row.path, row.text) == (
        "supports", True, "notes/b.md", "links: [{type: supports, id: qp-c}]",
    )  # fmt: skip
    plain = of(asked, "notes/c.md", Choice("in", invert=False))[1]
    assert (plain.type, plain.virtual) == ("supports", False)


def test_case_31_the_filter_is_on_the_type_as_shown(asked: Asked) -> None:
    assert short(of(asked, "notes/c.md", Choice(types=frozenset({"supported-by"})))) == [("in", "supported-by", "qp-b")]
    assert short(of(asked, "notes/c.md", Choice(types=frozenset({"supports"})))) == []
    assert short(of(asked, "notes/c.md", Choice(types=frozenset({"supports"}), invert=False))) == [("in", "supports", "qp-b")]


def test_case_32_an_unknown_type_has_an_inverse_of_its_own(asked: Asked) -> None:
    assert ("in", "inverse-invented", "qp-c") in short(of(asked, "notes/a.md"))
    ontology = Ontology(link_types={"invented": LinkType("invented", "found")})
    rows = links(asked.connection, asked.number("notes/a.md"), Choice("in"), ontology)
    assert [row.type for row in rows] == ["related", "found"]


def test_states(asked: Asked) -> None:
    assert {row.state for row in of(asked, "notes/a.md")} == {"resolved", "attachment", "broken", "ambiguous"}
    (outside,) = of(asked, "notes/a.md", states=("external",))
    assert outside.target == "https://x.org"
    (unclear,) = of(asked, "notes/a.md", states=("ambiguous",))
    assert unclear.candidates == ["x/same.md", "y/same.md"]
    assert unclear.other is None
    (picture,) = of(asked, "notes/a.md", states=("attachment",))
    assert picture.to_json(".qipu/")["attachment"] == ".qipu/attachments/pic.png"
    assert [row.state for row in of(asked, "notes/d.md", Choice("out"))] == ["self"]


def test_typed_and_inline(asked: Asked) -> None:
    assert short(of(asked, "notes/b.md", Choice("out", typed_only=True))) == [("out", "supports", "qp-c")]
    assert short(of(asked, "notes/b.md", Choice("out", inline_only=True))) == [("out", "related", "qp-a")]
    assert short(of(asked, "notes/b.md", Choice("out", without=frozenset({"related"})))) == [("out", "supports", "qp-c")]


def test_a_limit_and_the_order_of_inbound_links(asked: Asked) -> None:
    number = asked.number("notes/b.md")
    assert len(links(asked.connection, number, Choice("in"), PLAIN, limit=1)) == 1
    assert [row.column for row in links(asked.connection, number, Choice("in"), PLAIN)] == [4, 25]


# -- trees


def grown(asked: Asked, start: str, choice: Choice | None = None, limits: Limits | None = None, **more: object) -> Tree:
    ontology = more.pop("ontology", PLAIN)
    return tree(asked.connection, asked.number(start), choice or Choice(), ontology, limits or Limits(), **more)  # type: ignore[arg-type]


def ids(found: Tree) -> list[str]:
    return [node.note.id for node in found.nodes.values()]


def test_case_33_a_circle_ends_and_each_note_is_listed_once(asked: Asked) -> None:
    found = grown(asked, "notes/a.md", limits=Limits(hops=9))
    assert sorted(ids(found)) == ["qp-a", "qp-b", "qp-c", "qp-d"]
    assert found.reasons == []
    between = [(asked.path(a)[6], asked.path(b)[6], kind) for a, b, kind, _ in found.links]
    assert sorted(between) == [
        ("a", "b", "related"), ("a", "c", "related"), ("b", "a", "related"), ("b", "c", "supports"), ("c", "a", "invented"),
        ("c", "d", "part-of"),
    ]  # fmt: skip
    again = [(step.start, step.end) for node in found.nodes.values() for step in node.again]
    assert len(again) == len(set(again)) == 3  # three edges are in the tree, three lead to what is there already


def test_a_tree_is_reached_on_the_cheapest_way(asked: Asked) -> None:
    found = grown(asked, "notes/a.md", Choice("out"), Limits(hops=9))
    assert ids(found) == ["qp-a", "qp-b", "qp-c", "qp-d"]
    assert [(node.depth, node.cost) for node in found.nodes.values()] == [(0, 0.0), (1, 1.5), (1, 1.5), (2, 2.0)]


@pytest.mark.parametrize(
    ("limits", "reason", "count"),
    [
        (Limits(nodes=3), "max-nodes", 3),
        (Limits(hops=1.5), "max-hops", 3),
        (Limits(edges=1), "max-edges", 2),
        (Limits(fanout=1), "max-fanout", 3),
        (Limits(chars=10), "max-chars", 0),
        (Limits(chars=28), "max-chars", 2),
    ],
)
def test_case_34_limits_cut_and_say_so(asked: Asked, limits: Limits, reason: str, count: int) -> None:
    found = grown(asked, "notes/a.md", limits=limits)
    assert len(found.nodes) == count
    assert reason in found.reasons
    if limits.edges is not None:
        assert len(found.links) <= limits.edges


def test_case_35_notes_of_little_value_are_passed_over(asked: Asked) -> None:
    assert ids(grown(asked, "notes/a.md", min_value=51)) == []
    assert ids(grown(asked, "notes/d.md", min_value=51)) == ["qp-d"]
    assert len(grown(asked, "notes/a.md", min_value=50).nodes) == 4  # without a value: 50


def test_case_36_costs(asked: Asked) -> None:
    assert ids(grown(asked, "notes/b.md", Choice("out"), Limits(hops=2))) == ["qp-b", "qp-a", "qp-c", "qp-d"]
    dear = Ontology(link_types={"supports": LinkType("supports", "supported-by", cost=2.0)})
    assert ids(grown(asked, "notes/b.md", Choice("out"), Limits(hops=2), ontology=dear)) == ["qp-b", "qp-a"]
    cheap = Ontology(link_types={"related": LinkType("related", "related", cost=0.25)})
    assert "qp-c" in ids(grown(asked, "notes/b.md", Choice("out", types=frozenset({"related"})), Limits(hops=1), ontology=cheap))
    counted = grown(asked, "notes/b.md", Choice("out"), Limits(hops=1), ignore_value=True)
    assert [(node.note.id, node.cost) for node in counted.nodes.values()] == [("qp-b", 0.0), ("qp-a", 1.0), ("qp-c", 1.0)]


def test_a_tree_of_some_types(asked: Asked) -> None:
    assert ids(grown(asked, "notes/d.md", Choice(types=frozenset({"has-part"})))) == ["qp-d", "qp-c"]
    found = grown(asked, "notes/d.md", Choice(types=frozenset({"has-part"})))
    assert [kind for *_, kind, _ in found.links] == ["part-of"]


# -- ways


def way(asked: Asked, start: str, end: str, choice: Choice | None = None, **more: object) -> tuple[list[str], float] | None:
    found = path(asked.connection, asked.number(start), asked.number(end), choice or Choice(), PLAIN, **more)  # type: ignore[arg-type]
    return ([row.id for row in found.notes], found.cost) if found else None


def test_the_cheapest_way(asked: Asked) -> None:
    assert way(asked, "notes/a.md", "notes/d.md") == (["qp-a", "qp-c", "qp-d"], 2.0)
    assert way(asked, "notes/a.md", "notes/a.md") == (["qp-a"], 0.0)
    assert way(asked, "notes/d.md", "notes/b.md", Choice("out")) is None
    assert way(asked, "notes/d.md", "notes/a.md", Choice("in")) == (["qp-d", "qp-c", "qp-a"], 2.25)
    assert way(asked, "notes/a.md", "notes/d.md", max_hops=1.9) is None
    assert way(asked, "notes/a.md", "notes/d.md", ignore_value=True, max_hops=2) == (["qp-a", "qp-c", "qp-d"], 2.0)
    assert way(asked, "notes/a.md", "notes/d.md", min_value=60) is None
    assert way(asked, "notes/a.md", "x/same.md") is None


def test_the_steps_of_a_way_say_how_they_go(asked: Asked) -> None:
    found = path(asked.connection, asked.number("notes/d.md"), asked.number("notes/c.md"), Choice(), PLAIN)
    assert found is not None
    (step,) = found.steps
    assert (step.type, step.stored_type, step.virtual, step.backward, step.inline) == ("has-part", "part-of", True, True, False)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14), st.sampled_from(["out", "both"]))
def test_ways_and_trees_agree_with_a_search_of_everything(
    tmp_path_factory: pytest.TempPathFactory, edges: set[tuple[int, int]], direction: str
) -> None:
    files = {
        f"n{here}.md": note(str(here), " ".join(f"[[n{there}]]" for one, there in sorted(edges) if one == here), id=f"q-{here}")
        for here in range(7)
    }
    steps = {(a, b) for a, b in edges if a != b} | ({(b, a) for a, b in edges if a != b} if direction == "both" else set())
    far = {0: 0}
    frontier = [0]
    while frontier:
        frontier = [b for a in frontier for one, b in steps if one == a and b not in far and far.setdefault(b, far[a] + 1)]
    choice = Choice(direction)  # type: ignore[arg-type]
    with asking(tmp_path_factory.mktemp("graph"), files) as asked:
        found = grown(asked, "n0.md", choice, Limits(hops=None), ignore_value=True)
        assert {node.note.path: node.cost for node in found.nodes.values()} == {f"n{n}.md": hops for n, hops in far.items()}
        for number in range(7):
            reached = way(asked, "n0.md", f"n{number}.md", choice, ignore_value=True, max_hops=None)
            assert (reached[1] if reached else None) == far.get(number)


def test_a_long_chain_is_no_recursion(tmp_path: Path) -> None:
    files = {f"n{here}.md": f"[[n{here + 1}]]" for here in range(1500)}
    with asking(tmp_path, files) as asked:
        found = grown(asked, "n0.md", Choice("out"), Limits(hops=None))
        assert len(found.nodes) == 1500
        assert max(node.depth for node in found.nodes.values()) == 1499

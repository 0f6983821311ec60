"""Link types: inverses, costs, and what an ontology adds or replaces."""

from __future__ import annotations

import pytest

from schemas.notes.linktypes import BUILT_IN, INVERSE, LinkType, NoteType, Ontology

PLAIN = Ontology()
CITES = {"cites": LinkType("cites", "cited-by", cost=0.7), "notes-on": LinkType("notes-on")}


@pytest.mark.parametrize(
    ("name", "inverse"),
    [
        ("related", "related"),
        ("derived-from", "derived-to"),
        ("supports", "supported-by"),
        ("contradicts", "contradicted-by"),
        ("part-of", "has-part"),
        ("same-as", "same-as"),
        ("alias-of", "has-alias"),
        ("follows", "precedes"),
    ],
)
def test_built_in_inverses_lead_back(name: str, inverse: str) -> None:
    assert PLAIN.inverse(name) == inverse
    assert PLAIN.inverse(inverse) == name


def test_every_built_in_type_has_an_inverse_that_is_built_in() -> None:
    for name, link in BUILT_IN.items():
        assert link.inverse is not None
        assert BUILT_IN[link.inverse].inverse == name
        assert BUILT_IN[link.inverse].cost == link.cost


def test_case_32_an_unknown_type_gets_an_inverse_and_a_configured_one_wins() -> None:
    assert PLAIN.inverse("disputes") == "inverse-disputes"
    assert PLAIN.inverse("inverse-disputes") == "disputes"
    assert PLAIN.inverse(INVERSE) == INVERSE + INVERSE
    configured = Ontology("extended", {}, {"supports": LinkType("supports", "backed-by")})
    assert configured.inverse("supports") == "backed-by"
    assert configured.inverse("backed-by") == "supports"


def test_costs_are_lower_for_structure_and_for_what_the_ontology_says() -> None:
    assert PLAIN.cost("part-of") == PLAIN.cost("has-part") == 0.5
    assert PLAIN.cost("supports") == PLAIN.cost("anything") == 1.0
    ontology = Ontology("extended", {}, CITES)
    assert ontology.cost("cites") == ontology.cost("cited-by") == 0.7
    assert Ontology("extended", {}, {"x": LinkType("x", cost=0.2)}).cost("inverse-x") == 0.2


@pytest.mark.parametrize(
    ("mode", "known", "unknown"),
    [
        ("default", ["supports", "cites", "anything"], []),
        ("extended", ["supports", "cites", "cited-by", "notes-on", "inverse-notes-on"], ["anything", "inverse-anything"]),
        ("replacement", ["cites", "cited-by"], ["supports", "related"]),
    ],
)
def test_what_is_known_depends_on_the_mode(mode: str, known: list[str], unknown: list[str]) -> None:
    ontology = Ontology(mode, {}, CITES)  # type: ignore[arg-type]  # the parameter is one of the modes
    assert [name for name in [*known, *unknown] if ontology.known(name)] == known


def test_note_types_to_offer() -> None:
    declared = {"question": NoteType("question")}
    assert Ontology("extended", declared).note_type_names() == ["fleeting", "literature", "permanent", "moc", "question"]
    assert Ontology("replacement", declared).note_type_names() == ["question"]
    assert not Ontology("replacement", declared).known_note_type("moc")
    assert Ontology().known_note_type("anything")
    assert Ontology("replacement", {}, CITES).link_type_names() == ["cites", "notes-on"]

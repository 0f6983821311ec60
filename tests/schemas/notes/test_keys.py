"""What the keys of the frontmatter mean, in all the ways people write them."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.notes.config import NotesConfig, read_config
from schemas.notes.model import Mention, MentionKind, ParsedNote
from schemas.notes.parse import parse_note

STRICT, _ = read_config(
    b"[ontology]\nmode = 'extended'\n[ontology.note_types.question]\nusage = 'x'\n"
    b"[ontology.link_types.cites]\nusage = 'x'\ninverse = 'cited-by'\n",
    "config.toml",
)


def note(yaml: str, config: NotesConfig = NotesConfig()) -> ParsedNote:  # noqa: B008 - frozen
    return parse_note(f"---\n{yaml}\n---\nBody text.\n".encode(), "notes/a.md", config=config)


def rules(parsed: ParsedNote) -> list[str]:
    return [finding.rule for finding in parsed.findings]


@pytest.mark.parametrize(
    ("yaml", "tags"),
    [
        ("tags: [a, b]", ["a", "b"]),
        ("tags:\n- a\n- b/c", ["a", "b/c"]),
        ("tags: a", ["a"]),
        ("tags: a b  c", ["a", "b", "c"]),
        ("tags: a, b c,d", ["a", "b c", "d"]),
        ("tags: '#a #b'", ["a", "b"]),
        ("tags: ['#a', \"#b/\"]", ["a", "b"]),
        ("tags: [2024, 1.10, 007]", ["2024", "1.10", "007"]),
        ("tags:", []),
        ("tags: []", []),
        ("tags: ''", []),
        ("Tags: [A]\nkeywords: b\nTAG: c\nkeyword: [d]", ["A", "c", "b", "d"]),
        ("tags: [data science, ml]", ["data science", "ml"]),
    ],
)
def test_tags_in_every_spelling(yaml: str, tags: list[str]) -> None:
    parsed = note(yaml)
    assert [tag.name for tag in parsed.tags] == tags
    assert not any(tag.inline for tag in parsed.tags)
    assert rules(parsed) == []


@pytest.mark.parametrize(
    ("yaml", "tags", "rule"),
    [
        ("tags: [1, true, null]", ["1", "true"], "note-bad-type"),
        ("tags:\n- a\n-\n- b", ["a", "b"], "note-bad-type"),
        ("tags: {a: b}", [], "note-bad-type"),
        ("tags: [[a, b], c]", ["c"], "note-bad-type"),
        ("tags: #a #b/c", ["a", "b/c"], "note-tag-comment"),
        ("tags: [#a, #b]", ["a", "b"], "note-frontmatter"),
    ],
)
def test_tags_that_are_understood_with_a_finding(yaml: str, tags: list[str], rule: str) -> None:
    parsed = note(yaml)
    assert [tag.name for tag in parsed.tags] == tags
    assert rules(parsed) == [rule]


def test_a_comment_behind_tags_is_a_comment() -> None:
    parsed = note("tags: # none yet")
    assert (parsed.tags, rules(parsed)) == ([], [])


def test_tags_have_places() -> None:
    parsed = note("title: é\ntags: [x, '#yy']\nkeywords: a b")
    assert [(tag.name, tag.line, tag.column) for tag in parsed.tags] == [("x", 3, 8), ("yy", 3, 12), ("a", 4, 11), ("b", 4, 13)]


@pytest.mark.parametrize(
    ("yaml", "aliases"),
    [
        ("aliases: [A, 'B c']", ["A", "B c"]),
        ("aliases:\n- A\n- 12\n-\n- A", ["A", "12"]),
        ("alias: One name", ["One name"]),
        ("aliases: A, B", ["A", "B"]),
        ("aliases:", []),
        ("Alias: x\naliases: [y]", ["y", "x"]),
    ],
)
def test_aliases_in_every_spelling(yaml: str, aliases: list[str]) -> None:
    parsed = note(yaml)
    assert parsed.aliases == aliases
    assert rules(parsed) == []


def test_case_66_odd_values_are_reported_and_the_note_is_indexed() -> None:
    parsed = note("created: 2026-01-12\nupdated: 1669150683170\ntags: [1, true, null]\nvalue: 300")
    assert parsed.outcome == "indexed"
    assert (parsed.created, parsed.updated, parsed.value) == ("2026-01-12", "2022-11-22T20:58:03Z", None)
    assert rules(parsed) == ["note-bad-type", "note-bad-value"]
    tags, value = parsed.findings
    assert (value.line, value.column, value.value) == (5, 8, "300")
    assert (tags.line, tags.column) == (4, 11)
    assert parsed.meta == {"created": "2026-01-12", "updated": 1669150683170, "tags": [1, True, None], "value": 300}
    assert [tag.name for tag in note("tags: foo").tags] == ["foo"]


@pytest.mark.parametrize(("yaml", "value"), [("0", 0), ("100", 100), ("'7'", None), ("50.0", 50), ("", None), ("007", 7)])
def test_values_from_0_to_100(yaml: str, value: int | None) -> None:
    parsed = note(f"value: {yaml}")
    if yaml == "'7'":
        assert (parsed.value, rules(parsed)) == (7, [])
    else:
        assert (parsed.value, rules(parsed)) == (value, [])


@pytest.mark.parametrize("yaml", ["101", "-1", "high", "50.5", "true", "300"])
def test_case_47_other_values_are_an_error(yaml: str) -> None:
    parsed = note(f"value: {yaml}")
    assert (parsed.value, rules(parsed)) == (None, ["note-bad-value"])


def test_ids_and_titles_are_text_as_it_is_written() -> None:
    parsed = note("id: 20240101\ntitle: 007")
    assert (parsed.id, parsed.own_id, parsed.title, parsed.title_from) == ("20240101", True, "007", "frontmatter")
    assert parsed.meta == {"id": 20240101, "title": 7}
    odd = note("id: my note\ntitle: true")
    assert (odd.id, odd.title, rules(odd)) == ("my note", "true", ["note-bad-id"])
    empty = note("id:\ntitle: ''")
    assert (empty.own_id, empty.title, empty.title_from) == (False, "a", "file")
    assert empty.id.startswith("p-")


@pytest.mark.parametrize("key", ["id", "title", "type", "summary", "created"])
def test_a_key_of_the_wrong_kind_is_left_out_with_a_finding(key: str) -> None:
    parsed = note(f"{key}: [a, b]")
    assert rules(parsed) == ["note-bad-type"]
    assert parsed.findings[0].line == 2
    assert (parsed.own_id, parsed.title, parsed.type, parsed.summary, parsed.created) == (False, "a", None, "Body text.", None)


@pytest.mark.parametrize(
    ("yaml", "created", "updated"),
    [
        ("date: July 5, 2023\nmodified: 2023-07-06", "2023-07-05", "2023-07-06"),
        ("created:\ndate: 2023-07-05", "2023-07-05", None),
        ("Created: '[[2023-07-05]]'\nlastmod: 1669150683", "2023-07-05", "2022-11-22T20:58:03Z"),
    ],
)
def test_dates_under_the_keys_people_use(yaml: str, created: str | None, updated: str | None) -> None:
    parsed = note(yaml)
    assert (parsed.created, parsed.updated, rules(parsed)) == (created, updated, [])


def test_a_date_that_can_mean_two_things_is_a_finding() -> None:
    parsed = note("created: 05/07/2023\ndate: 2023-07-05")
    assert (parsed.created, rules(parsed)) == ("2023-07-05", ["note-bad-date"])
    assert parsed.findings[0].value == "05/07/2023"


def test_types_are_lower_case_and_held_to_a_declared_ontology() -> None:
    assert note("type: MOC").type == "moc"
    assert note("type: '[[Person]]'").type == "person"
    assert rules(note("type: whatever")) == []
    assert rules(note("type: question", STRICT)) == []
    strict = note("type: whatever", STRICT)
    assert (strict.type, rules(strict)) == ("whatever", ["note-unknown-type"])


def test_sources_in_every_spelling() -> None:
    parsed = note(
        "sources:\n- url: https://a.b\n  title: A\n  accessed: 5 July 2023\n- https://c.d\n- title: no url\nsource: A book, p. 3"
    )
    assert [(source.url, source.title, source.accessed, source.line) for source in parsed.sources] == [
        ("https://a.b", "A", "2023-07-05", 3),
        ("https://c.d", None, None, 6),
        ("A book, p. 3", None, None, 8),
    ]
    assert rules(parsed) == ["note-bad-source"]
    assert parsed.findings[0].line == 7


# -- links


_THREE = (("A", None), ("B", "b"), ("C", None))


def spans(yaml: str, parsed: ParsedNote) -> list[tuple[str, str]]:
    data = f"---\n{yaml}\n---\nBody text.\n".encode()
    return [
        (data[mention.start : mention.stop].decode(), data[mention.target_start : mention.target_stop].decode())
        for mention in parsed.mentions
    ]


def shape(mention: Mention) -> tuple[Any, ...]:
    return (mention.kind.value, mention.type, mention.target, mention.anchor, mention.label, mention.property)


@pytest.mark.parametrize(
    ("yaml", "links"),
    [
        ("links:\n- type: supports\n  id: qp-1\n- {id: qp-2, type: Refines}", [("supports", "qp-1"), ("refines", "qp-2")]),
        ("links:\n- qp-1\n- 'qp-2'\n- '[[qp-3]]'", [("related", "qp-1"), ("related", "qp-2"), ("related", "qp-3")]),
        ("links:\n  supports: [a, b]\n  follows: c", [("supports", "a"), ("supports", "b"), ("follows", "c")]),
        ("links:\n- supports: qp-1\n- follows:\n  - qp-2", [("supports", "qp-1"), ("follows", "qp-2")]),
        ("links: qp-1", [("related", "qp-1")]),
        ("links:\n- type: supports\n  target: notes/My note.md", [("supports", "notes/My note.md")]),
        ("links:", []),
        ("links: []", []),
        ("links:\n- type: cites\n  id: 0123", [("cites", "0123")]),
    ],
)
def test_typed_links_in_every_spelling(yaml: str, links: list[tuple[str, str]]) -> None:
    parsed = note(yaml)
    assert [(mention.type, mention.target) for mention in parsed.mentions] == links
    assert {mention.kind for mention in parsed.mentions} <= {MentionKind.TYPED}
    assert rules(parsed) == []


def test_typed_links_have_the_places_of_entry_and_target() -> None:
    yaml = "links:\n- type: supports\n  id: 'qp-1#part'\n- qp-2"
    parsed = note(yaml)
    assert spans(yaml, parsed) == [("type: supports\n  id: 'qp-1#part'", "qp-1#part"), ("qp-2", "qp-2")]
    assert [(mention.anchor, mention.line, mention.column) for mention in parsed.mentions] == [("part", 3, 3), (None, 5, 3)]


@pytest.mark.parametrize(
    ("yaml", "rule"),
    [
        ("links:\n- type: supports", "note-bad-link"),
        ("links:\n- id: qp-1", "note-bad-link"),
        ("links:\n- [a]", "note-bad-link"),
        ("links:\n-\n", "note-bad-link"),
        ("links:\n- supports: {a: b}", "note-bad-link"),
    ],
)
def test_entries_that_name_no_type_or_target_are_findings(yaml: str, rule: str) -> None:
    parsed = note(yaml)
    assert rules(parsed) == [rule]
    assert parsed.findings[0].line in (2, 3)


def test_link_types_are_held_to_a_declared_ontology() -> None:
    parsed = note("links:\n- {type: cites, id: a}\n- {type: cited-by, id: a}\n- {type: hates, id: b}", STRICT)
    assert [mention.type for mention in parsed.mentions] == ["cites", "cited-by", "hates"]
    assert rules(parsed) == ["link-unknown-type"]
    assert parsed.findings[0].line == 5


@pytest.mark.parametrize(
    ("yaml", "mentions"),
    [
        ('up: "[[A#b|c]]"', [("property", "related", "A", "b", "c", "up")]),
        ("up: [[A]]", [("property", "related", "A", None, None, "up")]),
        (
            "up:\n- [[A]]\n- see [[B|b]] and [[C]]",
            [("property", "related", name, None, label, "up") for name, label in _THREE],
        ),
        ("supports: '[[A]]'", [("property", "supports", "A", None, None, "supports")]),
        ("deep:\n  er: ['[[A]]']", [("property", "related", "A", None, None, "deep")]),
        ("summary: |\n  text [[A]]\n  more", [("property", "related", "A", None, None, "summary")]),
        ("title: on [[A]]: a note", [("property", "related", "A", None, None, "title")]),
        (
            "links: ['[[A|a]]']\nx: [[B]]",
            [("typed", "related", "A", None, "a", None), ("property", "related", "B", None, None, "x")],
        ),
        ("a: '[[]]'\nb: '[[ |x]]'", []),
    ],
)
def test_wiki_links_in_any_value(yaml: str, mentions: list[tuple[Any, ...]]) -> None:
    parsed = note(yaml)
    assert [shape(mention) for mention in parsed.mentions] == mentions
    for (whole, target), mention in zip(spans(yaml, parsed), parsed.mentions, strict=True):
        assert whole.startswith("[[")
        assert whole.endswith("]]")
        assert target.partition("#")[0] == mention.target


def test_wiki_links_in_frontmatter_come_before_those_of_the_body() -> None:
    parsed = parse_note(b"---\nz: [[A]]\nlinks: [B]\n---\n[[C]]\n", "a.md")
    assert [mention.target for mention in parsed.mentions] == ["A", "B", "C"]
    assert [mention.start for mention in parsed.mentions] == sorted(mention.start for mention in parsed.mentions)

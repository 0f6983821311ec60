"""Finding and reading frontmatter: nothing in it keeps a note from being read, and both readers say the same."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidText
from schemas.notes.front import Front, read_front
from schemas.notes.front_quick import Scalar, json_value, quick_read
from schemas.yaml_text import read as read_yaml


def read(yaml: str) -> tuple[dict[str, Any], list[str]]:
    """The value of a frontmatter and the rules it breaks."""
    found = read_front(f"---\n{yaml}---\nbody\n", "a.md")
    return json_value(found.entries), [problem.rule.id for problem in found.problems]


# -- where it is


@pytest.mark.parametrize(
    "text",
    [
        "---\na: 1\n---\nbody",
        "---\na: 1\n...\nbody",
        "---\r\na: 1\r\n---\r\nbody",
        "--- \t\na: 1\n---  \nbody",
        "\n\n---\na: 1\n---\nbody",
        " \t\n\r\n---\na: 1\n---\nbody",
        "---\na: 1\n---\nbody\n---\nmore",
    ],
)
def test_case_67_every_way_to_fence_frontmatter(text: str) -> None:
    found = read_front(text, "a.md")
    assert found.present
    assert found.whole
    assert json_value(found.entries) == {"a": 1}
    assert text[found.body_start :].startswith("body")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "body",
        "----\na: 1\n----\n",
        "---x\na: 1\n---\n",
        "a\n---\nb: 1\n---\n",
        "--\na: 1\n--\n",
        "---\nprose without a key\n",
        "  ---\na: 1\n---\n",
        "\n---\nprose between rules\n---\n",
        "\n---\n- a\n---\n",
        "\n\n",
        "---\n# a heading\n",
    ],
)
def test_case_67_no_frontmatter_no_problem(text: str) -> None:
    assert read_front(text, "a.md") == Front()


def test_case_67_dashes_inside_a_block_of_text_do_not_close() -> None:
    found = read_front("---\ntext: |\n  one\n  ---\n  two\nb: 1\n---\nbody", "a.md")
    assert json_value(found.entries) == {"text": "one\n---\ntwo\n", "b": 1}


@pytest.mark.parametrize("yaml", ["", "\n", "# a comment\n", "\r\n", "  \n# c\n\n"])
def test_case_67_empty_frontmatter_is_fine(yaml: str) -> None:
    found = read_front(f"---\n{yaml}---\nbody", "a.md")
    assert (found.present, found.whole, found.entries, found.problems) == (True, True, {}, [])


@pytest.mark.parametrize("yaml", ["- a\n- b\n", "just words\n", "42\n", '"quoted"\n', "[a, b]\n"])
def test_frontmatter_that_is_no_mapping_is_body(yaml: str) -> None:
    found = read_front(f"---\n{yaml}---\nbody", "a.md")
    assert (found.present, found.body_start, found.entries) == (False, 0, {})
    assert [problem.rule.id for problem in found.problems] == ["note-frontmatter-mapping"]


def test_unclosed_frontmatter_names_its_first_line_and_gives_its_keys() -> None:
    text = "\n---\nid: qp-1\ntitle: Left open\n\n# Heading\nkey: no\n"
    found = read_front(text, "a.md")
    assert (found.present, found.whole, found.body_start) == (False, False, 0)
    assert json_value(found.entries) == {"id": "qp-1", "title": "Left open"}
    assert [(problem.rule.id, problem.offset) for problem in found.problems] == [("note-frontmatter-unclosed", 1)]


def test_unclosed_frontmatter_followed_by_prose_still_gives_its_keys() -> None:
    found = read_front("---\nid: qp-1\nprose that goes on\n", "a.md")
    assert json_value(found.entries) == {"id": "qp-1"}
    assert [problem.rule.id for problem in found.problems] == ["note-frontmatter-unclosed"]


# -- what it says


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("a: Hello World # comment\n", {"a": "Hello World"}),
        ("a: it's fine\nb: 'it''s'\nc: \"say \"\n", {"a": "it's fine", "b": "it's", "c": "say "}),
        ("a: http://x.y/#z\nb: 12:30\n", {"a": "http://x.y/#z", "b": "12:30"}),
        ("a:\nb: ~\nc: null\nd: ''\n", {"a": None, "b": None, "c": None, "d": ""}),
        ("a: 1\nb: -2.5\nc: 1e3\nd: 0x1F\ne: 007\nf: true\n", {"a": 1, "b": -2.5, "c": 1000.0, "d": 31, "e": 7, "f": True}),
        ("a: yes\nb: 2026-01-12\nc: 1_000\n", {"a": "yes", "b": "2026-01-12", "c": "1_000"}),
        ("a: [b, 'c, d', \"e\", 3, http://x]\nf: []\n", {"a": ["b", "c, d", "e", 3, "http://x"], "f": []}),
        ("a:\n- b\n- c # x\n\n-\n- 'd'\n", {"a": ["b", "c", None, "d"]}),
        ("a:\n    - b\n    - c\nd: e\n", {"a": ["b", "c"], "d": "e"}),
        ("a:\n- type: t\n  id: i\n-   x: 1\n    y: [2]\n", {"a": [{"type": "t", "id": "i"}, {"x": 1, "y": [2]}]}),
        ("a:\n  b: 1\n  c:\n    d: 2\n  e:\n  - 3\nf: 4\n", {"a": {"b": 1, "c": {"d": 2}, "e": [3]}, "f": 4}),
        (
            "key with spaces: 1\nms.date: 2\n\"quoted key\": 3\n'single': 4\n",
            {"key with spaces": 1, "ms.date": 2, "quoted key": 3, "single": 4},
        ),
        ("ключ: значение\n標題: 標\n", {"ключ": "значение", "標題": "標"}),
        ("a: |\n  one\n  two\nb: >-\n  three\n  four\n", {"a": "one\ntwo\n", "b": "three four"}),
        ("a: one\n  two\nb: {c: 1, d: [2]}\n", {"a": "one two", "b": {"c": 1, "d": [2]}}),
        ('a: "tab\\tq\\""\nb: [c,\n  d]\n', {"a": 'tab\tq"', "b": ["c", "d"]}),
        (
            "2022: x\nyes: z\nbig: 99999999999999999999\nn: .nan\ni: 1e999\n",
            {"2022": "x", "yes": "z", "big": "99999999999999999999", "n": ".nan", "i": "1e999"},
        ),
    ],
)
def test_values_are_those_of_yaml(yaml: str, value: dict[str, Any]) -> None:
    assert read(yaml) == (value, [])
    assert read(yaml.replace("\n", "\r\n"))[0] == value or "|" in yaml


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("a: [[x]]\n", {"a": "[[x]]"}),
        ("a: [[x|y, z]] # c\n", {"a": "[[x|y, z]]"}),
        ('a: "[[x#h]]"\n', {"a": "[[x#h]]"}),
        ("a:\n  - [[x]]\n  - y\n", {"a": ["[[x]]", "y"]}),
        ("a: [[[x]], [[y|z]]]\n", {"a": ["[[x]]", "[[y|z]]"]}),
        ("a: [[x: y]]\nb: |\n  t\n", {"a": "[[x: y]]", "b": "t\n"}),
        ("a: [[1, 2], [3, 4]]\n", {"a": [[1, 2], [3, 4]]}),
    ],
)
def test_wiki_links_without_quotes_are_not_lists(yaml: str, value: dict[str, Any]) -> None:
    assert read(yaml) == (value, [])


# -- what is wrong with it


def test_case_69_a_key_that_stands_twice_is_reported_with_both_lines_and_the_first_counts() -> None:
    text = "---\nid: one\ntags: [a]\nid: two\n---\n"
    found = read_front(text, "a.md")
    assert json_value(found.entries) == {"id": "one", "tags": ["a"]}
    (problem,) = found.problems
    assert problem.rule.id == "note-duplicate-key"
    assert problem.offset == text.index("id: two")
    assert "line 2" in problem.message
    assert not found.whole


def test_case_69_also_where_the_rest_needs_all_of_yaml() -> None:
    value, rules = read("a: |\n  x\nid: 1\nb: {c: d}\nid: 2\n")
    assert value == {"a": "x\n", "id": 1, "b": {"c": "d"}}
    assert rules == ["note-duplicate-key"]


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("title: Foo: bar\nid: 1\n", {"title": "Foo: bar", "id": 1}),
        ("title: @home\nid: 1\n", {"title": "@home", "id": 1}),
        ("title: [draft] text\nid: 1\n", {"title": "[draft] text", "id": 1}),
        ('title: "left open\nid: 1\n', {"title": '"left open', "id": 1}),
        ("tags: [#a, #b]\nid: 1\n", {"tags": "[#a, #b]", "id": 1}),
        ("up: [[a]], [[b]]\nid: 1\n", {"up": "[[a]], [[b]]", "id": 1}),
        ("no colon here\nid: 1\n", {"id": 1}),
        ("a: &x [1]\nb: *x\nid: 1\n", {"id": 1}),
        ("a: !!python/object:os.system x\nid: 1\n", {"id": 1}),
        ("a: 'x' y\n  z\nid: 1\n", {"id": 1}),
        ("id: 1\n%YAML 1.1\n", {"id": 1}),
        ("id: 1\n\x01: 2\n", {"id": 1}),
    ],
)
def test_what_yaml_refuses_costs_one_entry_and_gives_one_problem(yaml: str, value: dict[str, Any]) -> None:
    assert read(yaml) == (value, ["note-frontmatter"])


def test_the_problem_stands_where_yaml_stopped() -> None:
    text = "---\nid: 1\ntitle: Foo: bar\n---\n"
    (problem,) = read_front(text, "a.md").problems
    assert problem.offset == text.index(": bar")
    assert problem.fix


def test_placeholders_of_templates_are_no_error() -> None:
    assert read("title: {{title}}\nid: 1\n") == ({"title": "{{title}}", "id": 1}, ["note-template-left"])


@pytest.mark.parametrize("yaml", ["a:\n\t- x\n\t- y\n", "a:\n \t- x\n \t- y\n"])
def test_tabs_are_read_as_spaces_and_reported(yaml: str) -> None:
    assert read(yaml) == ({"a": ["x", "y"]}, ["note-frontmatter-tabs"])


def test_a_tab_behind_the_colon_is_fine() -> None:
    assert read("a:\tb\nc: \t d\n") == ({"a": "b", "c": "d"}, [])


# -- hostile text


@pytest.mark.parametrize(
    "yaml",
    [
        "a: " + "[" * 25_000 + "\n",
        "a: " + "{a: " * 25_000 + "\n",
        "a:\n  " + "- " * 25_000 + "x\n",
        "? " * 25_000 + "x\n",
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c, *c]\n",
        "a: " + "!" * 60_000 + "\n",
        "".join(" " * depth + "a:\n" for depth in range(300)),
        "a: " + "x: " * 20_000 + "\n",
    ],
    ids=["flow lists", "flow mappings", "dashes", "question marks", "alias bomb", "tags", "indentation", "colons"],
)
def test_bombs_are_refused_quickly_and_the_rest_is_read(yaml: str) -> None:
    started = time.process_time()
    found = read_front(f"---\nid: qp-1\n{yaml}---\nbody", "a.md")
    assert time.process_time() - started < 1
    assert not found.whole
    assert json_value(found.entries["id"].node) == "qp-1"
    assert [problem.rule.id for problem in found.problems] == ["note-frontmatter"]


def test_frontmatter_above_the_cap_is_not_read() -> None:
    found = read_front("---\n" + "a: b\n" * 250_000 + "---\nbody", "a.md")
    assert (found.entries, found.whole) == ({}, False)
    assert [problem.rule.id for problem in found.problems] == ["note-frontmatter"]


# -- the two readers agree

_WORDS = st.text(alphabet="abzé1 -:#'\"[]{},.&*!|>%@`~=_/\\", max_size=8)
_PLAIN = st.sampled_from(
    [
        "a",
        "a b",
        "1",
        "-1.5",
        "true",
        "null",
        "~",
        "2026-01-12",
        "12:30",
        "'q'",
        "'it''s'",
        '"d q"',
        "[a, b]",
        "[]",
        "[1, 'x, y']",
        "x # c",
        "http://x.y",
        "a: b",
        "- a",
        "é",
        "[a,]",
        "{a: 1}",
        "{}",
        "|\n  text",
        "0o17",
        "1e5",
        "yes",
        "a#b",
        "a:b",
        "[[x]]",
    ]
)
_VALUE = _PLAIN | _WORDS


@st.composite
def _mappings(draw: st.DrawFn, indent: int = 0) -> str:
    lines = []
    for number in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(["a", "key", "k2", "a b", "x.y", "é", '"q"', "'s'", "A-b"])) + (
            "" if number == 0 else str(number)
        )
        shape = draw(st.integers(0, 4)) if indent < 4 else 0
        pad = " " * indent
        if shape == 1:
            step = draw(st.sampled_from([0, 2]))
            items = draw(st.lists(_VALUE, min_size=1, max_size=3))
            lines.append(f"{pad}{key}:\n" + "".join(f"{pad}{' ' * step}- {item}\n" for item in items))
        elif shape == 2:
            lines.append(f"{pad}{key}:\n{draw(_mappings(indent + 2))}")
        elif shape == 3:
            inner = draw(st.lists(_VALUE, min_size=1, max_size=2))
            lines.append(f"{pad}{key}:\n" + "".join(f"{pad}- t: {item}\n{pad}  i: {item}\n" for item in inner))
        else:
            lines.append(f"{pad}{key}: {draw(_VALUE)}\n")
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(["\n", "# comment\n", f"{pad}  # deep\n", "   \n"])))
    return "".join(lines)


@settings(max_examples=50, deadline=None)
@given(_mappings())
def test_the_quick_reader_says_what_yaml_says(yaml: str) -> None:
    quick = quick_read(yaml, 0, len(yaml))
    assume(quick is not None and not quick[1])
    assert quick is not None
    if "[[" in yaml:
        return
    if "[[" in yaml:
        return
    refused = ""
    try:
        expected = read_yaml(yaml.encode(), "a.yaml").value
    except InvalidText as error:
        refused = error.findings[0].rule
    else:
        assert json_value(quick[0]) == expected
    # What only the quick reader takes is never a matter of structure.
    assert refused in ("", "yaml-key", "number-out-of-range", "number-not-finite"), yaml


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab:- \n\t'\"[]{}#&*!|>%@`,?é1.~\r<=", max_size=60))
def test_any_text_gives_places_inside_the_text(yaml: str) -> None:
    text = f"---\n{yaml}\n---\nbody"
    found = read_front(text, "a.md")
    json_value(found.entries)
    for entry in found.entries.values():
        assert 0 <= entry.key_start < len(text)
        if type(entry.node) is Scalar:
            assert entry.key_start < entry.node.start <= entry.node.stop <= len(text)
    for problem in found.problems:
        assert 0 <= problem.offset <= len(text)
        assert problem.message
        assert problem.fix


def test_places_of_values_are_those_of_the_text() -> None:
    text = "\n---\na: \"q\"\nb:\n- 'x'\n- y # c\nc: {d: e}\n---\n"
    entries = read_front(text, "a.md").entries
    items = entries["b"].node
    places = [entries["a"].node, *items, entries["c"].node["d"].node]
    assert [text[node.start : node.stop] for node in places] == ['"q"', "'x'", "y", "e"]
    assert [text[entries[key].key_start] for key in "abc"] == ["a", "b", "c"]

"""Edits of a note: exactly the wished-for span changes, everything else stays to the byte."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import HeadwaterError, InvalidText, UsageError
from schemas.notes import edit
from schemas.notes.parse import parse_note
from schemas.notes.rules import UNCLOSED

NOTE = b"""\
---
# who wrote this
title: 'Quoted: title'   # why
zebra: {b: 1, a: [x, y]}
id: qp-a1b2
tags: [beta, "alpha", Gamma]   # sorted by weight
unknown-key: |
  kept
    as it is
value: 0050
---

# Body

Text with  two spaces\x20\x20
[[qp-zzzz]] \xe9 not UTF-8, no newline at the end"""
NOW = datetime(2026, 1, 12, 13, 7, tzinfo=UTC)


def changed(before: bytes, after: bytes) -> list[str]:
    """The lines that differ, as `-old` and `+new`."""
    old, new = (data.decode("latin-1").splitlines(keepends=True) for data in (before, after))
    diff = difflib.unified_diff(old, new, n=0)
    return [line.rstrip("\n") for line in diff if line[:1] in "-+" and line[:3] not in ("---", "+++")]


def test_case_68_everything_outside_the_edited_span_survives() -> None:
    made = edit.set_keys(NOTE, "a.md", {"title": "New: title"})
    assert changed(NOTE, made) == ["-title: 'Quoted: title'   # why", "+title: 'New: title'   # why"]
    made = edit.add_tags(NOTE, "a.md", ["delta", "ALPHA"])
    assert changed(NOTE, made) == [
        '-tags: [beta, "alpha", Gamma]   # sorted by weight',
        '+tags: [beta, "alpha", Gamma, delta]   # sorted by weight',
    ]
    assert edit.remove_tags(made, "a.md", ["#Delta"]) == NOTE


def test_case_15_metadata_edit_keeps_the_body() -> None:
    made = edit.set_keys(edit.add_link(NOTE, "a.md", "supports", "qp-x"), "a.md", {"value": 7, "status": "done"})
    assert edit.body_of(made) == edit.body_of(NOTE)
    assert made.endswith(b"\xe9 not UTF-8, no newline at the end")


def test_edit_without_effect_is_the_same_bytes() -> None:
    assert edit.set_keys(NOTE, "a.md", {"id": "qp-a1b2", "zebra": {"b": 1, "a": ["x", "y"]}, "absent": None}) == NOTE
    assert edit.add_tags(NOTE, "a.md", ["Alpha"]) == NOTE
    assert edit.remove_tags(NOTE, "a.md", ["none"]) == NOTE
    assert edit.remove_link(NOTE, "a.md", None, "qp-none") == NOTE
    assert edit.set_body(NOTE, "a.md", edit.body_of(NOTE)) == NOTE
    assert edit.append_body(NOTE, "a.md", " \n") == NOTE
    assert edit.rewrite_targets(NOTE, []) == NOTE


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("lead", ["", "\n", "  \n\n"])
@pytest.mark.parametrize("closer", ["---", "...", "---  "])
def test_spellings_of_the_fences_survive(newline: str, mark: bytes, lead: str, closer: str) -> None:
    text = f"{lead}--- \nid: a\ntags:\n- x\n{closer}\nbody\n".replace("\n", newline)
    data = mark + text.encode()
    made = edit.add_link(edit.add_tags(data, "a.md", ["y"]), "a.md", "part-of", "b")
    expected = text.replace(
        f"- x{newline}", f"- x{newline}- y{newline}links:{newline}  - type: part-of{newline}    id: b{newline}"
    )
    assert made == mark + expected.encode()
    assert edit.links(made, "a.md") == [("part-of", "b")]
    assert edit.remove_tags(edit.remove_link(made, "a.md", "part-of", "b"), "a.md", ["y"]) == data


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"---\nid: a\n---\n"),
        (b"# Title\n", b"---\nid: a\n---\n# Title\n"),
        (b"\xef\xbb\xbfTitle\r\n", b"\xef\xbb\xbf---\r\nid: a\r\n---\r\nTitle\r\n"),
        (b"---\n---\nbody", b"---\nid: a\n---\nbody"),
        (b"---\n# only this\n\n---\n", b"---\n# only this\n\nid: a\n---\n"),
        (b"---\n{}\n---\n", b"---\nid: a\n---\n"),
        (b"---\nid:\n---\n", b"---\nid: a\n---\n"),
        (b"---\n\nProse below a rule\n", b"---\nid: a\n---\n---\n\nProse below a rule\n"),
        (b"---\nother: 1\n---", b"---\nother: 1\nid: a\n---"),
        (b"---\n{other: 1}\n---\n", b"---\n{other: 1, id: a}\n---\n"),
    ],
)
def test_note_without_frontmatter_gets_one(before: bytes, after: bytes) -> None:
    assert edit.set_keys(before, "a.md", {"id": "a"}) == after


def test_last_key_leaves_empty_frontmatter_and_its_comment() -> None:
    assert edit.set_keys(b"---\n# kept\nid: a\n---\nbody\n", "a.md", {"id": None}) == b"---\n# kept\n---\nbody\n"


def test_keys_inside_mappings() -> None:
    data = b"---\nid: a\ncustom: {b: 1}\n---\n"
    made = edit.set_keys(data, "a.md", {("custom", "priority"): 3, ("more", "deep", "er"): True})
    assert made == b"---\nid: a\ncustom: {b: 1, priority: 3}\nmore:\n  deep:\n    er: true\n---\n"
    assert edit.set_keys(made, "a.md", {("custom", "priority"): None, ("more", "deep", "er"): None}) == data
    with pytest.raises(HeadwaterError) as refused:
        edit.set_keys(data, "a.md", {("id", "x"): 1})
    assert refused.value.rule == "text-edit"


@pytest.mark.parametrize(
    ("tags", "after"),
    [
        (b"tags: foo", b"tags: [foo, new]"),
        (b"tags: foo, #bar", b"tags: [foo, new]"),
        (b"Tags:\n  - foo", b"Tags:\n  - foo\n  - new"),
        (b"tag: [1, true, null]", b"tag: [1, true, null, new]"),
        (b"tags:", b"tags: [new]"),
        (b"keywords: []", b"keywords: [new]"),
    ],
)
def test_tags_are_added_where_and_as_they_stand(tags: bytes, after: bytes) -> None:
    data = b"---\nid: a\n" + tags + b"\nlast: 1\n---\n"
    assert edit.add_tags(data, "a.md", ["#new", "New"]).replace(b" #bar", b"") == b"---\nid: a\n" + after + b"\nlast: 1\n---\n"


@pytest.mark.parametrize("tag", ["", "#", "two words", "a,b", "a\nb", "[x]", '"'])
def test_bad_tags_are_refused(tag: str) -> None:
    with pytest.raises(UsageError):
        edit.add_tags(b"", "a.md", [tag])


def test_typed_links_are_added_once_and_removed_by_type() -> None:
    data = b"---\nlinks:\n- type: supports\n  id: qp-1\n- qp-2\n---\n"
    assert edit.add_link(data, "a.md", "supports", "qp-1") == data
    assert edit.add_link(data, "a.md", "related", "qp-2") == data
    made = edit.add_link(data, "a.md", "refines", "qp-1")
    assert made == b"---\nlinks:\n- type: supports\n  id: qp-1\n- qp-2\n- type: refines\n  id: qp-1\n---\n"
    assert edit.remove_link(made, "a.md", "refines", "qp-1") == data
    assert edit.remove_link(made, "a.md", None, "qp-1") == b"---\nlinks:\n- qp-2\n---\n"


@pytest.mark.parametrize(
    "data",
    [
        b"---\nid: a\nnever closed\n",
        b"---\n- a list\n---\n",
        b"---\ntitle: a: b\n---\n",
        b"---\na: &x 1\nb: *x\n---\n",
        b"---\nid: a\nid: b\n---\n",
        b"---\n<<<<<<< ours\nid: a\n=======\nid: b\n>>>>>>> theirs\n---\n",
        b"---\nid: \xe9\n---\n",
    ],
)
def test_broken_frontmatter_is_refused_with_its_place(data: bytes) -> None:
    with pytest.raises(InvalidText) as refused:
        edit.add_tags(data, "notes/a.md", ["x"])
    assert refused.value.path == "notes/a.md"
    assert refused.value.line
    assert edit.rewrite_targets(data, [(0, 3, "---")]) == data


def test_body_edits_bring_the_line_ends_of_the_note() -> None:
    data = b"---\r\nid: a\r\n---\r\n\r\nold\r\n"
    assert edit.set_body(data, "a.md", "one\ntwo") == b"---\r\nid: a\r\n---\r\n\r\none\r\ntwo\r\n"
    assert edit.append_body(data, "a.md", "\nmore\n\n") == b"---\r\nid: a\r\n---\r\n\r\nold\r\n\r\nmore\r\n"
    assert edit.set_body(data, "a.md", "") == b"---\r\nid: a\r\n---\r\n"
    assert edit.set_body(b"---\nid: a\n---", "a.md", "x") == b"---\nid: a\n---\n\nx\n"
    assert edit.append_body(b"---\nid: a\n---\n", "a.md", "x") == b"---\nid: a\n---\n\nx\n"
    assert edit.set_body(b"old", "a.md", "new") == b"new\n"


@pytest.mark.parametrize(
    ("present", "after"),
    [
        (b"2026-01-01T00:00:00.5Z", b"2026-01-12T13:07:00Z"),
        (b"2026-01-01", b"2026-01-12"),
        (b"1669150683170", b"1768223220000"),
        (b"1669150683", b"1768223220"),
        (b"", b"2026-01-12T13:07:00Z"),
    ],
)
def test_updated_moves_only_with_a_change_and_as_it_is_spelled(present: bytes, after: bytes) -> None:
    data = b"---\nupdated:" + (b" " + present if present else b"") + b"\nid: a\n---\n"
    assert edit.touched(data, data, "a.md", NOW) == data
    made = edit.set_keys(data, "a.md", {"id": "b"})
    assert edit.touched(data, made, "a.md", NOW) == b"---\nupdated: " + after + b"\nid: b\n---\n"
    without = edit.set_keys(b"---\nid: a\n---\n", "a.md", {"id": "b"})
    assert edit.touched(b"", without, "a.md", NOW) == without


def test_targets_are_replaced_by_their_bytes() -> None:
    data = "é [[old]] [x](old.md)".encode()
    first, second = data.index(b"old]]"), data.index(b"old.md")
    made = edit.rewrite_targets(data, [(second, second + 6, "néw.md"), (first, first + 3, "néw"), (first, first + 3, "néw")])
    assert made.decode() == "é [[néw]] [x](néw.md)"
    with pytest.raises(ValueError, match="overlaps"):
        edit.rewrite_targets(data, [(0, 3, "a"), (2, 4, "b")])


def test_new_note_reads_back() -> None:
    data = edit.new_note({"id": "qp-1", "title": "no", "tags": ["a"]}, "\n\nText\r\n")
    assert data == b'---\nid: qp-1\ntitle: "no"\ntags: [a]\n---\n\nText\n'
    assert edit.frontmatter(data, "a.md") == {"id": "qp-1", "title": "no", "tags": ["a"]}
    assert edit.new_note({}, " \n") == b"---\n---\n"


PIECES = [
    "---\n",
    "--- \n",
    "---\r\n",
    "...\n",
    "----\n",
    "\n",
    "  \n",
    "id: a\n",
    "text: |\n  ---\n",
    "a\n",
    "\ufeff",
    "# c\n",
    "- a\n",
]


@settings(max_examples=50, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_frontmatter_is_cut_where_the_reader_cuts_it(text: str) -> None:
    data = text.encode()
    note = parse_note(data, "a.md")
    rules = {finding.rule for finding in note.findings}
    try:
        parts = edit.split(data, "a.md")
    except InvalidText:
        assert UNCLOSED.id in rules
        return
    if parts.has_frontmatter and note.meta:
        assert note.body_start == len(data) - len(parts.body)
    if not parts.has_frontmatter:
        assert not note.meta
        assert UNCLOSED.id not in rules


KEYS = st.sampled_from(["id", "title", "status", "rating", "über", "a key"])
SCALARS = st.one_of(
    st.booleans(), st.integers(-(10**9), 10**9), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
LINES = st.sampled_from(
    [
        "# a comment",
        "first: 1 # one",
        "title: 'it''s'",
        "list:\n- a\n-   b",
        "map:\n    x: {y: [1,  2]}",
        "text: |\n  ---\n  x",
        "",
        "id: old",
    ]
)


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(LINES, unique=True),
    body=st.binary(max_size=60),
    newline=st.sampled_from(["\n", "\r\n"]),
    wanted=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3),
)
def test_setting_keys_changes_nothing_else(lines: list[str], body: bytes, newline: str, wanted: dict[str, object]) -> None:
    head = "".join(line + "\n" for line in ["---", *lines, "---"]).replace("\n", newline).encode()
    data = head + body
    before = edit.frontmatter(data, "a.md")
    made = edit.set_keys(data, "a.md", wanted)  # type: ignore[arg-type]  # values are made of the types that are allowed
    assert edit.frontmatter(made, "a.md") == {**before, **wanted}
    assert edit.body_of(made) == body
    untouched = [line for line in lines if line.partition(":")[0] not in wanted]
    kept = made[: len(made) - len(body)].decode()
    assert [line for line in untouched if line.replace("\n", newline) not in kept] == []
    fresh = {key: None for key in wanted if key not in before}
    back = edit.set_keys(edit.set_keys(made, "a.md", {k: v for k, v in before.items() if k in wanted}), "a.md", fresh)  # type: ignore[arg-type]  # as above
    assert edit.frontmatter(back, "a.md") == before
    assert edit.set_keys(made, "a.md", wanted) == made  # type: ignore[arg-type]  # as above

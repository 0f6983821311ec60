"""Merging two versions of a note: sets are united, keys merged one by one, lines as git merges them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.notes.merge_driver import merge_note
from schemas.notes import edit

BASE = b"""\
---
id: qp-1
title: A note   # its title
tags: [a, b]
value: 50
links:
  - type: related
    id: qp-2
---

First paragraph.

Second paragraph.

Third paragraph.
"""


def test_sides_that_did_not_change_are_taken_byte_for_byte() -> None:
    other = BASE.replace(b"50", b"60")
    assert merge_note(BASE, BASE, other, "a.md") == (other, True)
    assert merge_note(BASE, other, BASE, "a.md") == (other, True)
    assert merge_note(BASE, other, other, "a.md") == (other, True)


def test_tags_and_links_are_united_and_removals_count() -> None:
    ours = edit.add_link(edit.add_tags(BASE, "a.md", ["mine"]), "a.md", "supports", "qp-3")
    theirs = edit.remove_tags(edit.add_tags(BASE, "a.md", ["yours"]), "a.md", ["a"])
    theirs = edit.remove_link(edit.add_link(theirs, "a.md", "refines", "qp-4"), "a.md", "related", "qp-2")
    merged, clean = merge_note(BASE, ours, theirs, "a.md")
    assert clean
    meta = edit.frontmatter(merged, "a.md")
    assert meta["tags"] == ["b", "mine", "yours"]
    assert edit.links(merged, "a.md") == [("supports", "qp-3"), ("refines", "qp-4")]
    assert b"title: A note   # its title\n" in merged
    assert edit.body_of(merged) == edit.body_of(BASE)
    swapped, clean = merge_note(BASE, theirs, ours, "a.md")
    assert clean
    assert {str(tag) for tag in edit.frontmatter(swapped, "a.md")["tags"]} == {"b", "mine", "yours"}  # type: ignore[union-attr]  # a list


def test_different_keys_and_paragraphs_merge_with_their_comments() -> None:
    ours = BASE.replace(b"value: 50", b"value: 70 # better").replace(b"First", b"Our first")
    theirs = BASE.replace(b"title: A note ", b"title: 'The note' ").replace(b"Third", b"Their third")
    merged, clean = merge_note(BASE, ours, theirs, "a.md")
    assert clean
    assert merged == ours.replace(b"title: A note ", b"title: 'The note' ").replace(b"Third", b"Their third")


def test_newer_of_two_updates_wins_and_mappings_merge_inside() -> None:
    base = b"---\nid: a\nupdated: 2026-01-01T00:00:00Z\ncustom: {x: 1, y: 1}\n---\n"
    ours = base.replace(b"01-01T", b"01-03T").replace(b"x: 1", b"x: 2")
    theirs = base.replace(b"01-01T", b"01-02T").replace(b"y: 1", b"y: 3")
    for first, second in ((ours, theirs), (theirs, ours)):
        merged, clean = merge_note(base, first, second, "a.md")
        assert clean
        assert merged == ours.replace(b"y: 1", b"y: 3")


def test_conflicts_in_keys_and_lines_keep_every_version_between_markers() -> None:
    ours = BASE.replace(b"A note", b"Ours").replace(b"50", b"10").replace(b"Second", b"Our second")
    theirs = BASE.replace(b"A note", b"Theirs").replace(b"value: 50\n", b"").replace(b"Second", b"Their second")
    merged, clean = merge_note(BASE, ours, theirs, "a.md", marker_size=9)
    assert not clean
    text = merged.decode()
    mark = {sign: sign * 9 for sign in "<|=>"}
    assert (
        f"{mark['<']} ours\ntitle: Ours\n{mark['|']} base\ntitle: A note\n{mark['=']}\ntitle: Theirs\n{mark['>']} theirs\n"
        in text
    )
    assert f"{mark['<']} ours\nvalue: 10\n{mark['|']} base\nvalue: 50\n{mark['=']}\n{mark['>']} theirs\n" in text
    assert f"{mark['<']} ours\nOur second paragraph.\n{mark['|']} base\nSecond paragraph.\n{mark['=']}\nTheir second" in text
    assert text.count(mark["<"]) == 3
    assert "tags: [a, b]\n" in text


def test_notes_that_cannot_be_read_are_merged_by_lines() -> None:
    base = b"---\ntitle: a: b\n---\none\n\n\n\ntwo\n"
    merged, clean = merge_note(base, base.replace(b"one", b"1"), base.replace(b"two", b"2"), "a.md")
    assert (merged, clean) == (base.replace(b"one", b"1").replace(b"two", b"2"), True)
    _, clean = merge_note(b"\0a", b"\0b", b"\0c", "a.md")
    assert not clean


def test_both_sides_added_the_note() -> None:
    ours, theirs = b"---\nid: a\ntags: [x]\n---\nsame\n", b"---\nid: a\ntags: [y]\n---\nsame\n"
    merged, clean = merge_note(b"", ours, theirs, "a.md")
    assert (merged, clean) == (b"---\nid: a\ntags: [x, y]\n---\nsame\n", True)


def test_line_ends_of_ours_stay() -> None:
    ours = BASE.replace(b"First", b"1st").replace(b"\n", b"\r\n")
    merged, clean = merge_note(BASE, ours, BASE.replace(b"Third", b"3rd"), "a.md")
    assert clean
    assert merged == ours.replace(b"Third", b"3rd")


@pytest.mark.parametrize("seed", range(6))
def test_bodies_merge_as_git_merges_them(tmp_path: Path, seed: int) -> None:
    """Without frontmatter, the outcome is that of `git merge-file`, conflict or not."""
    lines = [f"line {number}\n" for number in range(8)]
    ours, theirs = lines.copy(), lines.copy()
    ours[seed] = "ours\n"
    theirs[3] = "theirs\n"
    theirs.insert(6, "more\n")
    texts = {"ours": ours, "base": lines, "theirs": theirs}
    for name, text in texts.items():
        (tmp_path / name).write_text("".join(text))
    labels = [part for name in texts for part in ("-L", name)]
    done = subprocess.run(["git", "merge-file", "-p", "--diff3", *labels, *texts], cwd=tmp_path, capture_output=True, check=False)
    base_bytes, our_bytes, their_bytes = ("".join(texts[name]).encode() for name in ("base", "ours", "theirs"))
    assert merge_note(base_bytes, our_bytes, their_bytes, "a.md") == (done.stdout, done.returncode == 0)


TAGS = st.lists(st.sampled_from("abcdef"), unique=True)
LINES = st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=4)


@settings(max_examples=50, deadline=None)
@given(tags=st.tuples(TAGS, TAGS, TAGS), titles=st.tuples(*[st.sampled_from("XYZ")] * 3), bodies=st.tuples(LINES, LINES, LINES))
def test_nothing_either_side_wrote_is_lost(
    tags: tuple[list[str], ...], titles: tuple[str, ...], bodies: tuple[list[str], ...]
) -> None:
    """Tags are what set arithmetic says; every line a side added is in the outcome, conflict or not; sides can be swapped."""
    base, ours, theirs = (
        "".join(
            f"{line}\n" for line in ["---", "id: a # kept", f"title: {title}", f"tags: [{', '.join(names)}]", "---", *body]
        ).encode()
        for names, title, body in zip(tags, titles, bodies, strict=True)
    )
    merged, clean = merge_note(base, ours, theirs, "a.md")
    swapped, clean_swapped = merge_note(base, theirs, ours, "a.md")
    assert clean == clean_swapped
    assert b"id: a # kept\n" in merged
    for side in (ours, theirs):
        for line in set(edit.body_of(side).splitlines()) - set(edit.body_of(base).splitlines()):
            assert line in merged.splitlines()
    old, mine, other = (set(names) for names in tags)
    expected = (mine & other) | (mine - old) | (other - old)
    if clean:
        for data in (merged, swapped):
            found = edit.frontmatter(data, "a.md")["tags"]
            assert isinstance(found, list)
            assert sorted(map(str, found)) == sorted(expected)
    if clean is False and titles[1] != titles[2] and titles[0] not in titles[1:]:
        assert f"title: {titles[1]}\n".encode() in merged
        assert f"title: {titles[2]}\n".encode() in merged

"""Anchors of headings and names of files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.notes.slugs import SLUG_BYTES, file_slug, heading_slug, note_file_name, unique_slug
from schemas.paths import check_name


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Hello World", "hello-world"),
        ("What's new in 3.11?", "whats-new-in-311"),
        ("a - b", "a---b"),
        ("snake_case & C++", "snake_case--c"),
        ("Ärger über Öl", "ärger-über-öl"),
        ("日本語 の 見出し", "日本語-の-見出し"),
        ("हिन्दी", "हिन्दी"),
        ("🚀 launch", "-launch"),
    ],
)
def test_heading_anchors_are_those_of_github(text: str, slug: str) -> None:
    assert heading_slug(text) == slug


def test_anchors_are_numbered_and_never_taken_twice() -> None:
    seen: dict[str, int] = {}
    assert [unique_slug(slug, seen) for slug in ("a", "a", "a-1", "a", "b", "a-1")] == ["a", "a-1", "a-1-1", "a-2", "b", "a-1-2"]


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Hello World", "hello-world"),
        ("Größe & Maß: Ærø", "grosse-mass-aero"),
        ("it's  a --- test!", "its-a-test"),
        ("日本語", ""),
        ("🚀", ""),
        ("Ⅷ ﬁle", "viii-file"),
        ("", ""),
    ],
)
def test_slugs_of_files(title: str, slug: str) -> None:
    assert file_slug(title) == slug


def test_case_10_the_name_of_a_note_is_its_id_and_slug() -> None:
    assert note_file_name("qp-a1b2", "Hello World") == "qp-a1b2-hello-world.md"
    assert note_file_name("qp-a1b2", "") == "qp-a1b2.md"


def test_case_80_any_title_gives_a_valid_file_name() -> None:
    for title in ("漢字" * 200, "🚀" * 80, "very long title " * 25, "x" * 400, "…/../..", "CON", "a\nb\0c", "-" * 400):
        name = note_file_name("qp-a1b2", title)
        assert check_name(name) == name
        assert len(file_slug(title)) <= SLUG_BYTES
    # Cut between words, where there are any.
    assert set(file_slug("very long title " * 25).split("-")) == {"very", "long", "title"}
    assert check_name(note_file_name("con", "")) == "con-note.md"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_a_slug_is_plain_and_its_own_slug(title: str) -> None:
    slug = file_slug(title)
    assert re.fullmatch(r"(?:[a-z0-9]+(?:-[a-z0-9]+)*)?", slug)
    assert file_slug(slug) == slug

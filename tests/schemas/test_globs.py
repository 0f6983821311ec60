"""Globs: what is asked once per folder says the same as what is asked of each path."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.globs import by_folder, matcher

SEGMENTS = st.sampled_from(["a", "b.md", ".x", "*", "*.md", ".*", "?.md", "**", "a**", "**b"])
GLOBS = st.lists(st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join), max_size=3)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ".x", "b.md", "x.md", ".h.md"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=50, deadline=None)
@given(GLOBS, GLOBS, st.lists(PATHS, min_size=1, max_size=20))
def test_folder_by_folder_says_what_path_by_path_says(include: list[str], exclude: list[str], paths: list[str]) -> None:
    whole, of = matcher(include, exclude), by_folder(include, exclude)
    for path in paths:
        folder, _, name = path.rpartition("/")
        test = of(folder)
        assert (test is not None and test(name)) == whole(path), path


def test_a_folder_in_which_nothing_can_match_is_known_at_once() -> None:
    of = by_folder(["**/*.md", "top.txt"], ["**/.*/**"])
    assert of(".hidden") is None
    assert of("a/.hidden/b") is None
    assert of("a") is not None
    assert by_folder(["config.toml"])("notes") is None
    assert by_folder(["**/*"])("any/where") is not None

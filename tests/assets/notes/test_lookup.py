"""Which note a word means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assets.notes.lookup import find_note, nearest
from schemas.errors import UsageError
from tests.assets.notes.asked import Asked, asking, note

FILES = {
    "config.toml": "version = 1\n",
    "notes/qp-a1b2-sea-level.md": note("Sea level", id="qp-a1b2", aliases="[Meeresspiegel, SLR]"),
    "notes/qp-a1c3-tides.md": note("Tides", id="qp-a1c3"),
    "notes/deep/tides.md": note("Other tides", id="qp-ffff"),
    "notes/x.md": note("qp-a1b2", id="qp-x"),
    "notes/one.md": note("Same", id="qp-1111"),
    "notes/two.md": note("Same", id="qp-2222"),
    "notes/case.md": note("Case", id="qp-case"),
    "notes/other.md": note("CASE", id="qp-othr"),
    "notes/a:b c.md": note("a/b testing", id="qp-slsh"),
    "notes/plain.md": "just text",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("lookup"), FILES) as opened:
        yield opened


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("qp-a1b2", "notes/qp-a1b2-sea-level.md"),  # an id before a title
        ("QP-A1B2", "notes/qp-a1b2-sea-level.md"),
        ("notes/qp-a1b2-sea-level.md", "notes/qp-a1b2-sea-level.md"),
        ("./notes/qp-a1b2-sea-level", "notes/qp-a1b2-sea-level.md"),
        (".qipu/notes/qp-a1b2-sea-level.md", "notes/qp-a1b2-sea-level.md"),
        ("qp-a1b2-sea-level", "notes/qp-a1b2-sea-level.md"),
        ("Sea level", "notes/qp-a1b2-sea-level.md"),
        ("sea LEVEL", "notes/qp-a1b2-sea-level.md"),
        ("slr", "notes/qp-a1b2-sea-level.md"),
        ("[[Sea level#Rise|label]]", "notes/qp-a1b2-sea-level.md"),
        ("Tides", "notes/qp-a1c3-tides.md"),  # a title as spelled before a file's name in another case
        ("deep/tides", "notes/deep/tides.md"),
        ("tides", "notes/deep/tides.md"),
        ("Case", "notes/case.md"),  # exactly before in another case
        ("CASE", "notes/other.md"),
        ("a/b testing", "notes/a:b c.md"),
        ("qp-a1b", "notes/qp-a1b2-sea-level.md"),
        ("a1c", "notes/qp-a1c3-tides.md"),
        ("ff", "notes/deep/tides.md"),
        ("plain", "notes/plain.md"),
        ("PLAIN.md", "notes/plain.md"),
    ],
)
def test_what_a_word_means(asked: Asked, word: str, path: str) -> None:
    assert find_note(asked.connection, word, prefix=".qipu/")["path"] == path


@pytest.mark.parametrize("word", ["Same", "qp-a1", "a1"])
def test_what_may_mean_several_is_refused_with_all_of_them(asked: Asked, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_note(asked.connection, word)
    assert (caught.value.exit_code, caught.value.rule) == (2, "note-ambiguous")
    both = ("notes/one.md", "notes/two.md") if word == "Same" else ("notes/qp-a1b2-sea-level.md", "notes/qp-a1c3-tides.md")
    assert all(path in caught.value.message for path in both)


@pytest.mark.parametrize("word", ["", "  ", "nothing", "[[]]", "..", "/", "q", "\ud800", "x" * 5000, "%", "'; DROP TABLE notes"])
def test_what_means_nothing_is_refused(asked: Asked, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_note(asked.connection, word)
    assert (caught.value.exit_code, caught.value.rule) == (2, "note-unknown")
    assert caught.value.fix


def test_what_comes_near_is_offered(asked: Asked) -> None:
    assert nearest(asked.connection, "See levels") == ["qp-a1b2 (Sea level)"]
    with pytest.raises(UsageError) as caught:
        find_note(asked.connection, "plian")
    assert caught.value.fix == "did you mean notes/plain.md (plain)?"

"""The resolution order: which note or file a link leads to, step by step."""

from __future__ import annotations

import time

import pytest

from assets.notes.anchors import Anchors
from assets.notes.resolve import MOST_CANDIDATES, Name, Namesakes, Resolution, fold, join, key, without_extension
from assets.notes.rows import names_of
from schemas.notes.model import MentionKind

WIKI, MARKDOWN, TYPED, IMAGE, EMBED = (
    MentionKind.WIKI,
    MentionKind.MARKDOWN,
    MentionKind.TYPED,
    MentionKind.IMAGE,
    MentionKind.EMBED,
)


def lead(
    kind: MentionKind, target: str, notes: dict[str, tuple[str, str, tuple[str, ...]]], *files: str, at: str = "notes/here.md"
) -> Resolution:
    """Where a mention in the note `at` leads; `notes` are path -> (id, title, aliases)."""
    shared = key(target)
    names = [
        Name(number, path, form, name)
        for number, (path, (note_id, title, aliases)) in enumerate(notes.items())
        for named, form, name in names_of(path, note_id, title, aliases)
        if named == shared
    ]
    return Namesakes(names, [path for path in files if key(path) == shared]).resolve(kind, target, at)


STORE = {
    "notes/qp-1-alpha.md": ("qp-1", "Alpha", ("First",)),
    "notes/beta.md": ("qp-2", "Beta", ()),
    "deep/er/beta.md": ("qp-3", "Other", ("first",)),
    "mocs/qp-2.markdown": ("qp-4", "A map", ()),
    "top.md": ("qp-5", "beta", ()),
}


@pytest.mark.parametrize(
    ("target", "path", "rule", "spelling"),
    [
        ("qp-1", "notes/qp-1-alpha.md", "id", "exact"),
        ("qp-2", "notes/beta.md", "id", "exact"),  # the id before the file of that name
        ("mocs/qp-2", "mocs/qp-2.markdown", "path", "exact"),
        ("mocs/qp-2.markdown", "mocs/qp-2.markdown", "path", "exact"),
        ("/notes/beta", "notes/beta.md", "path", "exact"),
        ("../top", "top.md", "relative", "exact"),
        ("./beta.md", "notes/beta.md", "relative", "exact"),
        ("beta", "notes/beta.md", "relative", "exact"),  # beside the note, before the same name elsewhere
        ("er/beta", "deep/er/beta.md", "name", "exact"),
        ("Alpha", "notes/qp-1-alpha.md", "title", "exact"),
        ("First", "notes/qp-1-alpha.md", "alias", "exact"),
        ("first", "deep/er/beta.md", "alias", "exact"),
        ("Beta", "notes/beta.md", "title", "exact"),  # an exact title before a file's name in other case
        ("QP-1", "notes/qp-1-alpha.md", "id", "case"),
        ("ALPHA", "notes/qp-1-alpha.md", "title", "case"),
    ],
)
def test_a_link_between_brackets_takes_the_first_step_that_finds(target: str, path: str, rule: str, spelling: str) -> None:
    found = lead(WIKI, target, STORE)

    assert (found.state, found.path, found.rule, found.spelling) == ("resolved", path, rule, spelling)


@pytest.mark.parametrize(
    ("target", "path", "rule"),
    [
        ("beta.md", "notes/beta.md", "relative"),
        ("../mocs/qp-2.markdown", "mocs/qp-2.markdown", "relative"),
        ("../mocs/qp-2", "mocs/qp-2.markdown", "relative"),
        ("/top.md", "top.md", "path"),
        ("deep/er/beta.md", "deep/er/beta.md", "path"),
        ("qp-1.md", "notes/qp-1-alpha.md", "id"),
        ("qp-1", "notes/qp-1-alpha.md", "id"),
    ],
)
def test_case_19_a_markdown_link_is_a_path_from_the_note_it_stands_in(target: str, path: str, rule: str) -> None:
    found = lead(MARKDOWN, target, STORE)

    assert (found.state, found.path, found.rule) == ("resolved", path, rule)


@pytest.mark.parametrize("target", ["Alpha", "First", "er/beta.md", "notes/nothing.md"])
def test_a_markdown_link_knows_no_titles_and_no_loose_names(target: str) -> None:
    assert lead(MARKDOWN, target, STORE).state == "broken"


@pytest.mark.parametrize(
    ("kind", "target", "state", "rule"),
    [
        (MARKDOWN, "../../src/main.rs", "external", "outside"),
        (WIKI, "../../../etc/passwd", "external", "outside"),
        (MARKDOWN, "../mocs/", "external", "folder"),
        (MARKDOWN, "..", "external", "folder"),
        (WIKI, "nothing", "broken", None),
        (TYPED, "qp-9", "broken", None),
    ],
)
def test_a_link_never_leaves_the_store(kind: MentionKind, target: str, state: str, rule: str | None) -> None:
    found = lead(kind, target, STORE)

    assert (found.state, found.rule, found.path) == (state, rule, None)


def test_several_notes_at_one_step_are_all_recorded() -> None:
    notes = {"a/x.md": ("1", "One", ()), "b/x.md": ("2", "Two", ()), "c/y.md": ("3", "x", ())}

    found = lead(WIKI, "x", notes)

    assert found == Resolution("ambiguous", "name", "exact", None, None, ("a/x.md", "b/x.md"))
    assert lead(WIKI, "b/x", notes).path == "b/x.md"


def test_case_65_an_id_of_two_notes_is_ambiguous() -> None:
    notes = {"a.md": ("qp-1", "One", ()), "b.md": ("qp-1", "Two", ())}

    assert lead(TYPED, "qp-1", notes).candidates == ("a.md", "b.md")


def test_one_note_by_several_names_is_not_ambiguous() -> None:
    assert lead(WIKI, "x", {"x.md": ("x", "x", ("x",))}).state == "resolved"


def test_composed_and_decomposed_letters_find_each_other_without_a_finding() -> None:
    notes = {"cafe\u0301.md": ("1", "One", ())}

    found = lead(WIKI, "café", notes, at="a.md")

    assert (found.state, found.spelling) == ("resolved", "nfc")
    assert lead(WIKI, "CAFÉ", notes, at="a.md").spelling == "case"


def test_an_exact_spelling_wins_over_a_case_folded_one() -> None:
    notes = {"Note.md": ("1", "One", ()), "note.md": ("2", "Two", ())}

    assert lead(WIKI, "note", notes, at="a.md").path == "note.md"
    assert lead(WIKI, "NOTE", notes, at="a.md").candidates == ("Note.md", "note.md")


def test_attachments_come_after_notes() -> None:
    assert lead(EMBED, "img.png", {}, "attachments/img.png").path == "attachments/img.png"
    assert lead(IMAGE, "../attachments/img.png", {}, "attachments/img.png").state == "attachment"
    assert lead(EMBED, "img.png", {"a/img.png.md": ("1", "x", ())}, "attachments/img.png").path == "a/img.png.md"
    assert lead(EMBED, "img.png", {}, "a/img.png", "b/img.png").candidates == ("a/img.png", "b/img.png")
    assert lead(IMAGE, "img.png", {}, "attachments/img.png").state == "broken"


def test_a_link_to_its_own_note_says_so() -> None:
    assert lead(WIKI, "here", {"notes/here.md": ("1", "Here", ())}).state == "self"


def test_a_hundred_thousand_namesakes_are_looked_up_in_bounded_time() -> None:
    names = [Name(at, f"d{at}/index.md", "path", f"d{at}/index.md") for at in range(100_000)]
    namesakes = Namesakes(names)
    started = time.perf_counter()

    for at in range(0, 100_000, 10):
        assert namesakes.resolve(MARKDOWN, "index.md", f"d{at}/here.md").path == f"d{at}/index.md"
        assert namesakes.resolve(WIKI, f"d{at}/index", "here.md").path == f"d{at}/index.md"
    many = namesakes.resolve(WIKI, "index", "here.md")

    assert len(many.candidates or ()) == MOST_CANDIDATES
    assert time.perf_counter() - started < 10


def test_every_note_a_text_could_mean() -> None:
    names = [Name(1, "a/Beta.md", "path", "a/Beta.md"), Name(2, "c.md", "title", "beta"), Name(3, "d.md", "alias", "BETA")]

    assert Namesakes(names).meant("beta") == ["a/Beta.md", "c.md", "d.md"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Notes/Über Alles.md", "über alles"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("a.markdown", "a"),
        ("a.MD", "a"),
        ("img.PNG", "img.png"),
        ("folder/", "folder"),
        ("..", ""),
        ("", ""),
        ("qp-1", "qp-1"),
    ],
)
def test_a_name_and_its_mentions_share_a_key(text: str, expected: str) -> None:
    assert key(text) == expected


def test_paths_are_joined_inside_the_store() -> None:
    assert join("a/b", "../c") == "a/c"
    assert join("a", "/c") == "c"
    assert join("", "..") is None
    assert join("a", "./b/./c//d") == "a/b/c/d"
    assert without_extension("a.mdx") == "a.mdx"
    assert fold("Café") == fold("CAFE\u0301")


class TestAnchors:
    anchors = Anchors(
        [("Part One", "part-one"), ("A: B & C", "a-b--c"), ("Details", "details"), ("Details", "details-1")], ["B1", "#msi"]
    )

    @pytest.mark.parametrize(
        "anchor",
        [
            "Part One",
            "part one",
            "part-one",
            "A: B & C",
            "A B & C",
            "details-1",
            "^b1",
            "Part One#Details",
            "Part One#^B1",
            "msi",
        ],
    )
    def test_a_heading_or_block_is_found(self, anchor: str) -> None:
        assert self.anchors.has(anchor)

    @pytest.mark.parametrize("anchor", ["Part Two", "^b2", "Details#Part One", "details-2", "b1", "^msi"])
    def test_others_are_not(self, anchor: str) -> None:
        assert not self.anchors.has(anchor)

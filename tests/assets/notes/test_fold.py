"""Folding: after any sequence of changes the index says exactly what one built from nothing says."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.notes import dump, fold, index, reading
from tests.assets.notes.corpora import Corpus, assert_same

PATHS = (
    "notes/a.md",
    "notes/A.md",
    "notes/deep/a.md",
    "notes/b.md",
    "mocs/b.md",
    "notes/café.md",
    "notes/cafe\u0301.md",
    "notes/two words.md",
    "notes/x/y.markdown",
    "top.md",
    "notes/漢字.md",
    "templates/a.md",
)
IDS = (None, "qp-1", "qp-2", "QP-1", "a")
TITLES = (None, "Alpha", "alpha", "b", "Two Words", "漢字", "Quiet river", "x/y")
ALIASES = ((), ("Alpha",), ("a", "Other"), ("the b",))
HEADINGS = ((), ("One",), ("One", "Two"), ("two",))
TARGETS = (
    "[[qp-1]]",
    "[[qp-2|label]]",
    "[[a]]",
    "[[Alpha]]",
    "[[alpha#One]]",
    "[[b#Two]]",
    "[[deep/a]]",
    "[[the b]]",
    "[[café]]",
    "[[#One]]",
    "[[nothing]]",
    "[[x/y]]",
    "![[img.png]]",
    "[r](a.md)",
    "[r](../mocs/b.md#two)",
    "[r](deep/a.md)",
    "[r](two%20words.md)",
    "[r](/notes/b.md)",
    "![p](../attachments/img.png)",
    "[r](../../outside.md)",
    "[q](qp-1.md)",
    "<https://example.org/>",
)
FILES = ("attachments/img.png", "notes/img.png", "attachments/IMG.png", "attachments/a.pdf")
CONFIGS = (
    None,
    "version = 1\n",
    'version = 1\neditor = "x"\n',
    "version = 1\nunknown = 2\n",
    "[limits]\nmax_note_bytes = 200\n",
    "=",
)
KINDS = ("note", "note", "note", "heading", "delete", "rename", "file", "unfile", "config", "switch", "touch", "fold", "fold")
WORDS = ("river", "quiet river", "stone amber", "harbor", "lantern stones", "漢字仮名", "#topic/one")


def note(draw: st.DrawFn) -> str:
    own_id, title = draw(st.sampled_from(IDS)), draw(st.sampled_from(TITLES))
    aliases, tags = draw(st.sampled_from(ALIASES)), draw(st.sampled_from(((), ("topic",), ("Topic", "other"))))
    typed = draw(st.lists(st.tuples(st.sampled_from(("supports", "odd")), st.sampled_from(("qp-1", "qp-2", "a"))), max_size=2))
    head = [f"id: {own_id}"] * (own_id is not None) + [f"title: {title}"] * (title is not None)
    head += [f"aliases: [{', '.join(aliases)}]"] * bool(aliases) + [f"tags: [{', '.join(tags)}]"] * bool(tags)
    head += ["links:", *(f"  - {{type: {kind}, id: {target}}}" for kind, target in typed)] if typed else []
    body = [f"## {heading}\n" for heading in draw(st.sampled_from(HEADINGS))]
    body += draw(st.lists(st.sampled_from((*WORDS, *TARGETS, *TARGETS)), max_size=7))
    front = ["---", *head, "---"] if head else []
    return "\n".join([*front, *body]) + "\n"


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """A sequence of changes to a store, several of which may come between two folds."""
    made: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(KINDS))
        if kind == "note":
            made.append((kind, draw(st.sampled_from(PATHS)), note(draw)))
        elif kind == "rename":
            made.append((kind, draw(st.integers(0, 20)), draw(st.sampled_from(PATHS))))
        elif kind in ("file", "unfile"):
            made.append((kind, draw(st.sampled_from(FILES)), draw(st.sampled_from(("one", "two")))))
        elif kind == "config":
            made.append((kind, draw(st.sampled_from(CONFIGS))))
        else:
            made.append((kind, draw(st.integers(0, 20))))
    return made


def carry_out(corpus: Corpus, step: tuple[Any, ...], branches: list[dict[str, bytes]]) -> None:
    kind = step[0]
    present = sorted(path for path in PATHS if (corpus.path / path).exists())
    if kind == "note":
        corpus.write({step[1]: step[2]})
    elif kind == "delete" and present:
        corpus.delete(present[step[1] % len(present)])
    elif kind == "rename" and present:
        corpus.rename(present[step[1] % len(present)], step[2])
    elif kind == "heading" and "notes/b.md" in present:
        text = (corpus.path / "notes/b.md").read_text(encoding="utf-8")
        corpus.write({"notes/b.md": text.replace("## Two\n", "") if "## Two\n" in text else f"{text}## Two\n"})
    elif kind == "file":
        corpus.write({step[1]: step[2]})
    elif kind == "unfile" and (corpus.path / step[1]).exists():
        corpus.delete(step[1])
    elif kind == "config":
        (corpus.path / "config.toml").unlink(missing_ok=True)
        if step[1] is not None:
            corpus.write({"config.toml": step[1]})
    elif kind == "touch" and present:
        os.utime(corpus.path / present[step[1] % len(present)], (0, 0))
    elif kind == "switch":
        # As git does it: the files of one branch are put away, those of the other come.
        branches.append(contents(corpus))
        other = branches[step[1] % len(branches)]
        shutil.rmtree(corpus.path)
        corpus.path.mkdir()
        corpus.write(other)


def contents(corpus: Corpus) -> dict[str, bytes]:
    return {str(path.relative_to(corpus.path)): path.read_bytes() for path in corpus.path.rglob("*") if path.is_file()}


def after_any_sequence(folder: Path, sequence: list[tuple[Any, ...]]) -> None:
    corpus = Corpus(folder, {"notes/a.md": "# Alpha\n[[b#Two]] river\n", "notes/b.md": "---\nid: qp-2\n---\n[[a]] stone\n"})
    # Enough notes that change nothing, so that a few changes are few among them.
    corpus.write(still(12))
    corpus.build()
    branches = [contents(corpus)]
    for step in sequence:
        carry_out(corpus, step, branches)
        if step[0] == "fold":
            corpus.fold()
    corpus.fold()
    rebuilt = corpus.rebuilt()
    assert_same(corpus.index, rebuilt)
    assert corpus.summary.digest == dump.content_digest(rebuilt)


def still(count: int = 20) -> dict[str, str]:
    """Notes that nothing happens to, so that what changes is little among them."""
    return {f"notes/still-{number}.md": f"[[still-{number + 1}]] harbor\n" for number in range(count)}


def folded(corpus: Corpus) -> Corpus:
    """The corpus with its index folded, proven to equal one built from nothing."""
    before = index.build
    fold.build = never  # type: ignore[assignment]  # a fold that gives up would prove nothing
    try:
        corpus.fold()
    finally:
        fold.build = before
    assert_same(corpus.index, corpus.rebuilt())
    return corpus


def never(*_: Any) -> Any:
    raise AssertionError("built from nothing")


def test_case_20_an_edit_is_picked_up_and_a_second_fold_changes_nothing(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "# Old\nriver\n"})
    corpus.build()
    corpus.write({"notes/a.md": "# New\nstone\n"})
    first = folded(corpus).summary.digest

    assert corpus.query("SELECT title FROM notes WHERE path = 'notes/a.md'") == [("New",)]
    assert folded(corpus).summary.digest == first


def test_case_21_a_deleted_note_is_gone_with_all_its_rows(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "---\naliases: [x]\ntags: [t]\n---\n# Old\n[[still-1]] river ^b\n"})
    corpus.build()
    corpus.delete("notes/a.md")
    folded(corpus)

    tables = ("notes", "tags", "aliases", "headings", "blocks", "mentions", "names", "notes_text")
    counts = {table: corpus.query(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    assert counts == {**dict.fromkeys(tables, 0), "notes": 20, "mentions": 20, "names": 80, "notes_text": 20}


def test_case_72_a_deleted_target_breaks_links_to_it_and_one_that_comes_heals_them(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "[[Target]] [m](t.md)\n", "notes/t.md": "# Target\n"})
    corpus.build()
    source = corpus.query("SELECT local FROM notes WHERE path = 'notes/a.md'")
    assert corpus.edges()[0] == ("notes/a.md", "notes/t.md", "related", 1, 2)

    corpus.delete("notes/t.md")
    folded(corpus)
    assert [link[2] for link in corpus.links() if link[0] == "notes/a.md"] == ["broken", "broken"]
    assert ("notes/a.md", "link-broken") in corpus.rules()

    corpus.write({"notes/other.md": "---\naliases: [target, Target]\n---\n"})
    folded(corpus)
    assert [link[2:] for link in corpus.links() if link[0] == "notes/a.md"] == [("resolved", "notes/other.md"), ("broken", None)]
    assert corpus.query("SELECT local FROM notes WHERE path = 'notes/a.md'") == source


def test_case_72_links_by_id_follow_a_renamed_file(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "[[qp-1]] [m](t.md)\n", "notes/t.md": "---\nid: qp-1\n---\n# T\n"})
    corpus.build()
    corpus.rename("notes/t.md", "mocs/renamed.md")
    folded(corpus)

    assert [link[2:] for link in corpus.links() if link[0] == "notes/a.md"] == [("resolved", "mocs/renamed.md"), ("broken", None)]


def test_a_renamed_heading_breaks_the_links_to_it_in_notes_that_did_not_change(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "[[t#Part]] [[t#^block]]\n", "notes/t.md": "# T\n## Part\ntext ^block\n"})
    corpus.build()
    assert {link[2] for link in corpus.links() if link[0] == "notes/a.md"} == {"resolved"}
    corpus.write({"notes/t.md": "# T\n## Other\ntext\n"})
    folded(corpus)
    assert {link[2] for link in corpus.links() if link[0] == "notes/a.md"} == {"broken-anchor"}
    assert len(corpus.edges()) == 20
    corpus.write({"notes/t.md": "# T\n## Part\ntext ^block\n"})
    folded(corpus)
    assert {link[2] for link in corpus.links() if link[0] == "notes/a.md"} == {"resolved"}


def test_titles_that_collide_make_links_ambiguous_and_part_again(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "[[Same]]\n", "notes/one.md": "# Same\n", "notes/two.md": "# Other\n"})
    corpus.build()
    corpus.write({"notes/two.md": "# Same\n"})
    folded(corpus)
    assert corpus.query("SELECT state, candidates FROM mentions WHERE target = 'Same'") == [
        ("ambiguous", '["notes/one.md","notes/two.md"]')
    ]
    corpus.write({"notes/two.md": "# Other\n"})
    folded(corpus)
    assert corpus.query("SELECT state, target_path FROM mentions WHERE target = 'Same'") == [("resolved", "notes/one.md")]


def test_attachments_that_come_and_go_touch_the_links_to_them(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "![[img.png]]\n"})
    corpus.build()
    corpus.write({"attachments/img.png": b"one"})
    folded(corpus)
    assert corpus.query("SELECT state, target_path FROM mentions WHERE target = 'img.png'") == [
        ("attachment", "attachments/img.png")
    ]
    corpus.write({"attachments/img.png": b"two", "attachments/deep/img.png": b"three"})
    folded(corpus)
    assert corpus.query("SELECT state FROM mentions WHERE target = 'img.png'") == [("ambiguous",)]
    corpus.delete("attachments/img.png", "attachments/deep/img.png")
    folded(corpus)
    assert ("notes/a.md", "link-broken-attachment") in corpus.rules()


def test_a_fold_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(tmp_path, still())
    corpus.build()
    corpus.write({"notes/still-3.md": "changed\n", "notes/new.md": "new\n"})
    read: list[str] = []
    whole = reading.parse_note

    def counted(data: bytes, path: str, **options: Any) -> Any:
        read.append(path)
        return whole(data, path, **options)

    monkeypatch.setattr(reading, "parse_note", counted)
    corpus.fold()

    assert read == ["notes/new.md", "notes/still-3.md"]


@pytest.mark.parametrize("config", ["[limits]\nmax_note_bytes = 100\n", '[ontology]\nmode = "replacement"\n'])
def test_case_82_settings_that_change_what_is_read_make_a_new_index(tmp_path: Path, config: str) -> None:
    corpus = Corpus(tmp_path, {**still(), "notes/a.md": "word " * 100})
    corpus.build()
    before = corpus.summary.digest
    corpus.write({"config.toml": config})
    corpus.fold()

    assert corpus.summary.digest != before
    assert_same(corpus.index, corpus.rebuilt())


def test_case_82_another_parser_makes_a_new_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(tmp_path, still())
    corpus.build()
    monkeypatch.setattr(reading, "PARSER_VERSION", 10**6)
    monkeypatch.setattr(fold, "build", never)

    with pytest.raises(AssertionError, match="from nothing"):
        corpus.fold()


def test_settings_that_change_nothing_are_folded(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {**still(), "config.toml": "version = 1\n"})
    corpus.build()
    corpus.write({"config.toml": "version = 1\nodd = 2\n"})
    folded(corpus)

    assert corpus.rules()[0] == ("config.toml", "notes-config-key")


_folders = itertools.count()


@given(steps())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_case_73_an_index_kept_up_to_date_equals_one_built_from_nothing(tmp_path: Path, sequence: list[tuple[Any, ...]]) -> None:
    after_any_sequence(tmp_path / str(next(_folders)), sequence)


@pytest.mark.slow
@given(st.lists(steps(), min_size=1, max_size=5).map(lambda parts: [step for part in parts for step in part]))
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_long_sequences_of_changes(tmp_path: Path, sequence: list[tuple[Any, ...]]) -> None:
    folder = tmp_path / str(next(_folders))
    after_any_sequence(folder, sequence)
    shutil.rmtree(folder)

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

from assets.notes import dump
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
        kind = draw(
            st.sampled_from(("note", "note", "note", "delete", "rename", "file", "unfile", "config", "switch", "touch", "fold"))
        )
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
    corpus = Corpus(folder, {"notes/a.md": "# Alpha\n[[b]] river\n", "notes/b.md": "---\nid: qp-2\n---\n[[a]] stone\n"})
    # Enough notes that change nothing, so that a few changes are few among them.
    corpus.write({f"notes/still-{number}.md": f"[[still-{number - 1}]] harbor\n" for number in range(12)})
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

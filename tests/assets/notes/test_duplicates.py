"""Near-duplicates: the same pairs as comparing all with all, in far fewer steps."""

from __future__ import annotations

import random
import time
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes import duplicates
from assets.notes.duplicates import duplicate_findings, near_duplicates
from assets.notes.opened import connect
from schemas.errors import UsageError
from tests.assets.notes.corpora import Corpus

WORDS = ["river", "stone", "amber", "harbor", "lantern", "meadow", "copper", "willow"]


def test_case_50_stop_words_do_not_count() -> None:
    texts = {
        "a.md": "The river with the amber stone, and with the copper lantern.",
        "b.md": "River: amber stone; copper lantern; but this is not what they were.",
        "c.md": "The meadow with the willow harbor, and with the tall tower.",
    }
    assert [(pair.first, pair.second) for pair in near_duplicates(texts)] == [("a.md", "b.md")]
    assert near_duplicates(texts)[0].similarity == 1.0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_case_50_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(UsageError):
        near_duplicates({}, threshold)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), max_size=14), st.sampled_from([0.0, 0.3, 0.6, 0.85, 1.0])
)
def test_no_pair_is_missed(notes: list[list[str]], threshold: float) -> None:
    texts = {f"{number:02}.md": " ".join(words) for number, words in enumerate(notes)}
    vectors = duplicates._vectors(texts)
    near = {
        (one, other)
        for one, other in combinations(sorted(vectors), 2)
        if duplicates._cosine(vectors[one], vectors[other]) >= threshold - 1e-9 and vectors[one].keys() & vectors[other].keys()
    }
    assert {(pair.first, pair.second) for pair in near_duplicates(texts, threshold)} == near


def test_the_order_of_texts_does_not_matter() -> None:
    chosen = random.Random(5)
    texts = {f"{number}.md": " ".join(chosen.choices(WORDS, k=9)) for number in range(40)}
    turned = dict(reversed(list(texts.items())))
    assert near_duplicates(texts) == near_duplicates(turned)


def test_many_notes_take_seconds() -> None:
    chosen = random.Random(7)
    vocabulary = [f"word{number}" for number in range(5_000)]
    texts = {f"{number}.md": " ".join(chosen.choices(vocabulary, k=60)) for number in range(2_000)}
    texts["copy.md"] = f"{texts['7.md']} and more"
    started = time.process_time()
    assert [(pair.first, pair.second) for pair in near_duplicates(texts)] == [("7.md", "copy.md")]
    assert time.process_time() - started < 10


def test_a_store_of_one_template_is_bounded() -> None:
    texts = {f"{number:04}.md": "daily log weather mood plan" for number in range(600)}
    assert len(near_duplicates(texts)) <= 600 * 256


def test_findings_name_the_others(tmp_path: Path) -> None:
    same = "The river with the amber stone, and the copper lantern.\n"
    corpus = Corpus(tmp_path, {"notes/a.md": same, "notes/b.md": same, "notes/c.md": "Meadow, willow, harbor, tower.\n"})
    with closing(connect(corpus.build())) as connection:
        found = duplicate_findings(connection, ".qipu/", 0.8)
    assert [one.path for one in found] == [".qipu/notes/b.md"]
    assert ".qipu/notes/a.md (9" in found[0].message or ".qipu/notes/a.md (100%)" in found[0].message

"""Parsing on every core gives what parsing in one process gives, in the same order, whatever becomes of the helpers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assets.notes import dump, reading, workers
from assets.notes.index import sorted_out
from tests.assets.notes.corpora import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    files: dict[str, str | bytes] = {
        f"notes/qp-{at:03}-note.md": f"---\nid: qp-{at:03}\ntags: [a, 漢字]\n---\n# Note {at}\n[[qp-{at // 2:03}]] text\n"
        for at in range(300)
    }
    files |= {"mocs/map.md": "- [[qp-001]]\n", "notes/broken.md": b"\xff\xfe\x00bad", "notes/huge.md": "words " * 200_000}
    return Corpus(tmp_path, files)


def parsed(corpus: Corpus) -> list[Any]:
    view = corpus.view()
    read = reading.reading(view, {})
    return list(reading.parse_all(view, read, sorted_out(view, read)[0]))


def test_helpers_give_the_same_rows_in_the_same_order(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = parsed(corpus)
    monkeypatch.setattr(reading, "WORTH_HELPERS", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    started: list[int] = []
    popen = subprocess.Popen

    def counted(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        started.append(process.pid)
        return process

    monkeypatch.setattr(workers.subprocess, "Popen", counted)
    monkeypatch.setattr(workers, "read_note", None)

    assert parsed(corpus) == alone
    assert 1 <= len(started) <= 3
    assert {row.path: row.note[16] for row in alone}["mocs/map.md"] == 1


def test_helpers_that_die_or_do_not_start_cost_nothing_but_time(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = parsed(corpus)
    monkeypatch.setattr(reading, "WORTH_HELPERS", 1)
    monkeypatch.setattr(workers, "_program", lambda: "raise SystemExit(1)")
    assert parsed(corpus) == alone
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert parsed(corpus) == alone


def test_a_helper_imports_nothing_from_the_folder_it_is_started_in(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = parsed(corpus)
    trap = tmp_path / "trap"
    (trap / "assets").mkdir(parents=True)
    (trap / "assets" / "__init__.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')", encoding="utf-8")
    monkeypatch.chdir(trap)
    monkeypatch.setattr(reading, "WORTH_HELPERS", 1)

    assert parsed(corpus) == alone
    assert not (tmp_path / "sprung").exists()


def test_an_index_built_with_helpers_equals_one_built_without(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.build()
    monkeypatch.setattr(reading, "WORTH_HELPERS", 1)

    assert dump.content_digest(corpus.rebuilt()) == corpus.summary.digest

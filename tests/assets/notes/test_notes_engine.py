"""The index through the engine: kept up to date from one command to the next, proven, replaced when it is not ours."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from assets.engine.engine import Engine
from assets.engine.model import Policy, Ref, Result
from assets.notes import dump, fold, index
from assets.notes.recipes import KIND
from resources.workspace import open_workspace
from tests.assets.notes.corpora import Corpus, assert_same
from tests.assets.notes.test_fold import carry_out, contents, steps, still

FILES = {**still(30), "notes/a.md": "---\nid: qp-1\n---\n# Alpha\n[[still-1]] river\n", "attachments/x.png": b"x"}


def workspace(root: Path, files: dict[str, Any] | None = None) -> Corpus:
    """A workspace with one store, whose files a corpus writes."""
    corpus = Corpus(root, FILES if files is None else files)
    (root / "store" / "headwater.toml").write_text("version = 1\n", encoding="utf-8")
    return corpus


def command(corpus: Corpus) -> Engine:
    """An engine as the next command would have it."""
    return Engine(open_workspace(corpus.folder / "store"), {"notes": KIND})


def built(corpus: Corpus, policy: Policy | None = None) -> tuple[Result, Path]:
    engine = command(corpus)
    ref = engine.refs(["notes/*/qipu_db"])[0]
    outcome = engine.build_one(ref, policy) if policy is not None else engine.build_one(ref)
    assert outcome.error is None, outcome.error
    assert outcome.output_digest == dump.content_digest(engine.output_paths(ref)[0])
    return outcome.result, engine.output_paths(ref)[0]


def fresh_copy(corpus: Corpus) -> Path:
    """An index of the same store built from nothing."""
    return corpus.rebuilt()


def test_case_20_an_edit_is_folded_in_and_a_third_command_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = workspace(tmp_path)
    assert built(corpus)[0] is Result.BUILT

    def never(*_: Any) -> Any:
        raise AssertionError("built from nothing")

    monkeypatch.setattr(index, "build", never)
    monkeypatch.setattr(fold, "build", never)
    corpus.write({"notes/a.md": "# Beta\n[[still-2]] stone\n", "notes/new.md": "[[Beta]]\n"})
    corpus.delete("attachments/x.png")

    assert built(corpus)[0] is Result.BUILT
    result, path = built(corpus)
    assert result is Result.FRESH
    monkeypatch.undo()
    assert_same(path, fresh_copy(corpus))


def test_case_22_a_deleted_index_comes_back(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    _, path = built(corpus)
    before = dump.content_digest(path)
    path.unlink()

    assert built(corpus)[0] is Result.RESTORED
    assert dump.content_digest(path) == before


@pytest.mark.parametrize("version", [0, 999])
def test_case_23_an_index_of_another_version_is_built_again(tmp_path: Path, version: int) -> None:
    corpus = workspace(tmp_path)
    with closing(sqlite3.connect(corpus.path / "qipu.db")) as connection:
        connection.execute("CREATE TABLE notes (id TEXT)")
        connection.execute(f"PRAGMA user_version={version}")

    theirs = (corpus.path / "qipu.db").read_bytes()

    result, path = built(corpus)
    assert result is Result.BUILT
    assert_same(path, fresh_copy(corpus))
    assert [kept.read_bytes() for kept in (tmp_path / "store").rglob("*-qipu.db")] == [theirs]


@pytest.mark.parametrize("data", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\7" * 8192])
def test_case_24_garbage_in_the_place_of_the_index_is_replaced(tmp_path: Path, data: bytes) -> None:
    corpus = workspace(tmp_path)
    assert built(corpus)[0] is Result.BUILT
    (corpus.path / "qipu.db").write_bytes(data)
    corpus.write({"notes/a.md": "# Gamma\n"})

    _, path = built(corpus)
    assert_same(path, fresh_copy(corpus))


def test_case_25_an_index_that_someone_changed_is_not_folded_but_replaced(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    _, path = built(corpus)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM notes WHERE path = 'notes/a.md'")
        connection.commit()
    corpus.write({"notes/new.md": "text\n"})

    built(corpus)
    assert_same(path, fresh_copy(corpus))


def test_case_74_content_of_the_same_size_and_time_is_detected(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    built(corpus)
    target = corpus.path / "notes/a.md"
    before = target.stat()
    target.write_bytes(target.read_bytes().replace(b"river", b"stone"))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))

    result, path = built(corpus)
    assert result is Result.BUILT
    assert_same(path, fresh_copy(corpus))


def test_case_73_the_index_can_be_proven(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    built(corpus)
    corpus.write({"notes/a.md": "# Beta\n[[nothing]]\n"})
    built(corpus)
    engine = command(corpus)

    (verification,) = engine.verify(["notes/*/qipu_db"])
    assert verification.ok, verification.differences


def test_the_cache_is_published_into_the_store_and_written_only_where_it_changes(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    engine = command(corpus)
    assert {str(outcome.result) for outcome in engine.build()} == {"built"}
    files = sorted((corpus.path / ".cache").iterdir())
    assert len(files) == 7
    times = {path.name: path.stat().st_ino for path in files}
    corpus.write({"notes/still-3.md": "[[still-4]] other words\n"})
    command(corpus).build()

    changed = {path.name for path in files if path.stat().st_ino != times[path.name]}
    assert changed == {"files.json"}
    assert b"nodes" not in (corpus.path / ".cache" / "edges.json").read_bytes()


def test_what_a_build_says(tmp_path: Path) -> None:
    corpus = workspace(tmp_path, {**FILES, "notes/b.md": "[[nothing]] [[a]]\n"})
    engine = command(corpus)
    outcome = engine.build_one(Ref("notes", engine.refs()[0].store, "qipu_db"))

    counts = outcome.summary["counts"]
    assert (counts["notes"], counts["broken"], counts["attachments"], counts["quarantined"]) == (32, 2, 1, 0)
    assert outcome.summary["tables"]["findings"]["rows"][0] == ["link-broken", "error", 2]


_KILLED = """
import os, sys
from assets.engine.engine import Engine
from assets.notes import fold, index
from assets.notes.recipes import KIND
from resources.workspace import open_workspace

steps = int(sys.argv[2])

def dying(function):
    def run(*arguments):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), 9)
        return function(*arguments)
    return run

for module, names in ((index.relink, ("link_all", "link_notes", "resolve_keys", "resolve_all")), (fold, ("_take_out", "finish"))):
    for name in names:
        setattr(module, name, dying(getattr(module, name)))
engine = Engine(open_workspace(sys.argv[1]), {"notes": KIND})
print(engine.build_one(engine.refs(["notes/*/qipu_db"])[0]).result)
"""


@pytest.mark.slow
def test_case_78_a_killed_build_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    corpus = workspace(tmp_path)
    _, path = built(corpus)
    before = path.read_bytes()
    corpus.write({"notes/a.md": "# Beta\n", "notes/b.md": "# New\n"})
    for after in itertools.count():
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(tmp_path / "store"), str(after)], capture_output=True, text=True, cwd=Path.cwd()
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        assert path.read_bytes() == before
    assert after >= 4
    assert_same(path, fresh_copy(corpus))


_folders = itertools.count()


@given(steps())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_case_73_any_sequence_of_changes_and_commands_gives_the_index_of_a_clean_build(
    tmp_path: Path, sequence: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path / str(next(_folders))
    corpus = workspace(folder, {**still(12), "notes/a.md": "[[b#Two]] river\n", "notes/b.md": "# B\n[[a]]\n"})
    built(corpus)
    branches = [contents(corpus)]
    for step in sequence:
        # The index lies among the files: a branch has none, so it is gone and is restored or built again.
        carry_out(corpus, step, branches)
        if step[0] == "fold":
            built(corpus)
    _, path = built(corpus)
    assert_same(path, fresh_copy(corpus))
    shutil.rmtree(folder)

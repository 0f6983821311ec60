"""Copies of what lies under a URL: whole or not there, used again, and never more than a bounded heap of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from assets.engine import scratch
from assets.engine.engine import Engine
from assets.engine.scratch import COPIES_AGE, scratch_path, trim_copies, used_copy
from resources.workspace import open_workspace
from tests.assets.engine import kinds
from tests.assets.engine.test_engine_url import UPPER, letters

DAY = 24 * 3600.0


def copy(folder: Path, name: str, data: bytes, *, unused: float) -> Path:
    """A copy nobody has used for so many seconds; a folder for a name that ends in a slash."""
    target = folder / name.rstrip("/")
    file = target / "file" if name.endswith("/") else target
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    then = time.time() - unused
    os.utime(target, (then, then))
    return target


def test_copies_nobody_uses_go_and_those_in_use_stay(tmp_path: Path) -> None:
    recent = copy(tmp_path, "recent.parquet", b"x", unused=DAY)
    copy(tmp_path, "old.parquet", b"x", unused=COPIES_AGE + 60)
    copy(tmp_path, "old-folder/", b"x", unused=COPIES_AGE + 60)
    copy(tmp_path, scratch_path(tmp_path, "half").name, b"x", unused=COPIES_AGE + 60)
    used = copy(tmp_path, "used-again/", b"x", unused=COPIES_AGE + 60)
    used_copy(used)
    trim_copies(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([recent, used])
    trim_copies(tmp_path / "not made yet")


def test_past_the_cap_those_unused_for_longest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "COPIES_SIZE", 25)
    for days in (1, 2, 3, 4):
        copy(tmp_path, f"{days}", b"0123456789", unused=days * DAY)
    being_read = copy(tmp_path, "being read", b"0123456789" * 3, unused=60)
    trim_copies(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [being_read.name]
    for days in (1, 2, 3):
        copy(tmp_path, f"{days}", b"0123456789", unused=days * DAY)
    being_read.unlink()
    trim_copies(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_what_a_newer_text_leaves_behind_is_swept_by_the_next_copy() -> None:
    url = "memory://copies"
    storage = letters(url)
    engine = Engine(open_workspace(url), kinds.KINDS)
    engine.build(["*/upper"])
    fetched = engine.workspace.local / "fetched"
    first = engine.output_paths(UPPER)[0]
    (held,) = fetched.iterdir()
    long_ago = time.time() - COPIES_AGE - 60
    os.utime(held, (long_ago, long_ago))
    assert engine.output_paths(UPPER)[0] == first  # used: it stays for another week
    os.utime(held, (long_ago, long_ago))
    storage.write("a/words/one.txt", b"uno")
    engine = Engine(open_workspace(url), kinds.KINDS)
    engine.build(["*/upper"])
    assert engine.output_paths(UPPER)[0].read_text() == "UNO|TWO"
    assert not held.exists()
    assert len(list(fetched.iterdir())) == 1


def test_a_copy_that_was_cut_short_is_not_taken_for_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://cut-short"
    letters(url)
    engine = Engine(open_workspace(url), kinds.KINDS)
    engine.build(["*/upper"])

    class Killed(BaseException):
        pass

    def half(_store: object, _oid: str, target: Path) -> None:
        target.write_bytes(b"ONE|")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(engine.workspace.objects), "fetch", half)
        with pytest.raises(Killed):
            engine.output_paths(UPPER)
    assert engine.output_paths(UPPER)[0].read_text() == "ONE|TWO"

"""Reading objects back with little time: what comes first, what is remembered, and that losing the memory costs nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import resources.dvs.scrub
from resources.dvs.proofs import Proofs, Reading
from resources.dvs.repo import DvsRepo
from resources.dvs.scrub import named_objects, proofs_of, scrub, standing
from tests.resources.dvs.test_status import open_repo, track
from tests.resources.dvs.test_status import root as root


@pytest.fixture
def repo(root: Path) -> Iterator[DvsRepo]:
    for number in range(5):
        track(root, f"f{number}", b"%d" % number * 100)
    opened = open_repo(root)
    yield opened
    opened.close()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the time at which proofs are made."""

    def set_time(seconds: int) -> None:
        monkeypatch.setattr(time, "time", lambda: float(seconds))

    return set_time


def read(repo: DvsRepo, seconds: float | None = None) -> list[tuple[str, str]]:
    return [(proof.paths[0], proof.result) for proof in scrub(repo, seconds=seconds)]


def test_a_scrub_with_no_time_reads_one_object_and_the_next_goes_on(repo: DvsRepo, at: Callable[[int], None]) -> None:
    seen = []
    for number in range(5):
        at(1_000 + number)
        ((path, result),) = read(repo, 0)
        assert result == "ok"
        seen.append(path)
        known = standing(repo, named_objects(repo))
        assert (known.proved, known.never, known.oldest) == (number + 1, 4 - number, 1_000)
    assert sorted(seen) == [f"f{number}" for number in range(5)]
    at(2_000)
    # Then it begins again with the oldest proof.
    assert [read(repo, 0)[0][0] for _ in range(5)] == seen


def test_what_was_bad_comes_first_and_stays_bad_until_it_is_whole(repo: DvsRepo, root: Path) -> None:
    assert {result for _, result in read(repo)} == {"ok"}
    pack = next((root.parent / "store" / "packs").rglob("*.pack"))
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.rename(pack.with_suffix(".away"))
    repo.objects.packs.packs(again=True)
    bad = [row for row in read(repo) if row[1] != "ok"]
    assert bad
    known = standing(repo, named_objects(repo))
    assert len(known.bad) == len(bad)
    assert {one.place for one in known.bad.values()} == {""}
    pack.write_bytes(whole)
    repo.objects.packs.packs(again=True)
    first = read(repo, 0)
    assert first[0][0] in {path for path, _ in bad}
    assert len(standing(repo, named_objects(repo)).bad) == len(bad) - 1


def test_an_object_in_another_storage_was_not_proved_in_this_one(repo: DvsRepo, root: Path) -> None:
    assert len(read(repo)) == 5
    (root / "dvs.toml").write_text(f'storage_dir = "{root.parent}/another"\n')
    moved = open_repo(root)
    assert standing(moved, named_objects(moved)).proved == 0
    moved.close()


def test_a_scrub_that_is_stopped_remembers_what_it_has_read(repo: DvsRepo) -> None:
    running = scrub(repo)
    for _ in range(3):
        next(running)
    running.close()
    # The third was on its way.
    assert standing(repo, named_objects(repo)).proved == 2


def test_what_is_read_is_remembered_meanwhile(repo: DvsRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.dvs.scrub, "_KEEP_EVERY", 0.0)
    running = scrub(repo)
    for _ in range(3):
        next(running)
    assert len(proofs_of(repo).readings()) == 2
    running.close()


class TestProofs:
    def test_the_newest_reading_replaces_all_older_ones(self, tmp_path: Path, at: Callable[[int], None]) -> None:
        proofs = Proofs(tmp_path / "deep" / "proofs.db")
        assert proofs.readings() == {}
        at(10)
        proofs.keep([("blake3:aa", [("here", "ok"), ("cache", "damaged")])])
        at(20)
        proofs.keep([("blake3:aa", [("here", "ok")]), ("blake3:bb", [("", "missing")])])
        assert proofs.readings() == {"blake3:aa": [Reading("here", 20, "ok")], "blake3:bb": [Reading("", 20, "missing")]}

    @pytest.mark.parametrize("damage", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
    def test_a_damaged_file_is_begun_anew(self, tmp_path: Path, damage: bytes) -> None:
        path = tmp_path / "proofs.db"
        path.write_bytes(damage)
        proofs = Proofs(path)
        assert proofs.readings() == {}
        proofs.keep([("blake3:aa", [("here", "ok")])])
        assert set(proofs.readings()) == {"blake3:aa"}

    def test_a_file_of_another_format_is_begun_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "proofs.db"
        connection = sqlite3.connect(path)
        connection.execute("pragma user_version = 99")
        connection.close()
        proofs = Proofs(path)
        assert proofs.readings() == {}
        proofs.keep([("blake3:aa", [("here", "ok")])])
        assert set(proofs.readings()) == {"blake3:aa"}

    def test_a_busy_file_is_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "proofs.db"
        proofs = Proofs(path)
        proofs.keep([("blake3:aa", [("here", "ok")])])
        really = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda name, **_given: really(name, timeout=0.0, isolation_level=None))
        holder = really(path, isolation_level=None)
        holder.execute("begin exclusive")
        proofs.keep([("blake3:bb", [("here", "ok")])])
        assert proofs.readings() == {}
        holder.execute("rollback")
        holder.close()
        assert set(proofs.readings()) == {"blake3:aa"}

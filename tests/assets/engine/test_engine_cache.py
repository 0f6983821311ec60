"""The build cache: shared by content, capped, verified, pushed and pulled, and never trusted."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.engine import cache_index
from assets.engine.cache import GRACE, CacheEntry, entries_in, entry_path, fits, parse_entry
from assets.engine.engine import Engine
from assets.engine.model import Outcome, Policy, Ref, Result
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Input, Lazy, Output, Place, Recipe
from resources.storage import leftovers
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

UPPER = Ref("letters", "a", "upper")


def results(outcomes: list[Outcome]) -> set[Result]:
    return {outcome.result for outcome in outcomes}


def test_going_back_to_an_earlier_text_builds_nothing(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/one.txt": "other"})
    engine_on(root).build()
    write(root, {"a/words/one.txt": "one"})
    kinds.RUNS.clear()
    outcomes = engine_on(root).build()
    assert results(outcomes) == {Result.RESTORED}
    assert set(kinds.RUNS) <= {"check"}
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"


def test_two_stores_of_equal_content_share_their_builds(root: Path) -> None:
    engine_on(root).build()
    shutil.copytree(root / "a", root / "b", ignore=shutil.ignore_patterns("upper.txt", "words.db"))
    kinds.RUNS.clear()
    assert results(engine_on(root).build(["letters/b"])) == {Result.RESTORED}
    assert set(kinds.RUNS) <= {"check"}


def test_a_restored_database_is_no_link_into_the_cache(root: Path) -> None:
    engine_on(root).build()
    (root / "a/upper.txt").unlink()
    engine_on(root).build()
    assert (root / "a/upper.txt").stat().st_nlink == 1
    (root / "a/upper.txt").write_text("scribble")
    assert engine_on(root).cache.verify() == []


def test_a_damaged_object_is_noticed_on_restore_and_built_again(root: Path) -> None:
    engine_on(root).build(["*/upper"])
    oid = engine_on(root).provenance(UPPER).output_digest  # type: ignore[union-attr]
    stored = root / ".headwater" / engine_on(root).workspace.objects.path(oid)
    stored.chmod(0o644)
    stored.write_bytes(b"ONE|TWx")
    (root / "a/upper.txt").unlink()
    kinds.RUNS.clear()
    assert results(engine_on(root).build(["*/upper"])) == {Result.BUILT}
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"
    (root / "a/upper.txt").unlink()
    assert results(engine_on(root).build(["*/upper"])) == {Result.RESTORED}


def test_verify_drops_damaged_objects_and_the_builds_that_name_them(root: Path) -> None:
    engine_on(root).build(["*/upper"])
    engine = engine_on(root)
    oid = engine.provenance(UPPER).output_digest  # type: ignore[union-attr]
    stored = root / ".headwater" / engine.workspace.objects.path(oid)
    stored.chmod(0o644)
    stored.write_bytes(b"ONE|TWx")
    assert engine.cache.verify() == [oid]
    assert engine.cache.verify() == []
    assert not engine.build_cache.holds(engine.provenance(UPPER).fingerprint)  # type: ignore[union-attr]


def cap(root: Path, size: int) -> Engine:
    write(root, {"headwater.toml": f'version = 1\n[cache]\nmax_size = "{size} B"\n'})
    return engine_on(root)


def test_the_cap_drops_the_builds_unused_for_longest(root: Path) -> None:
    cap(root, 25)
    fingerprints = []
    for number in range(6):
        write(root, {"a/words/one.txt": f"text{number}"})
        engine_on(root).build(["*/upper"])
        fingerprints.append(engine_on(root).provenance(UPPER).fingerprint)  # type: ignore[union-attr]
    engine = engine_on(root)
    held = [engine.build_cache.holds(fingerprint) for fingerprint in fingerprints]
    assert held == [False, False, False, False, True, True]
    assert engine.cache.stats().size <= 25
    write(root, {"a/words/one.txt": "text4"})  # using one makes it the last to go
    assert results(engine_on(root).build(["*/upper"])) == {Result.RESTORED}
    write(root, {"a/words/one.txt": "text6"})
    engine_on(root).build(["*/upper"])
    assert engine.build_cache.holds(fingerprints[4])
    assert not engine.build_cache.holds(fingerprints[5])


def test_an_output_larger_than_the_cache_is_built_and_not_kept(root: Path) -> None:
    cap(root, 3)
    assert results(engine_on(root).build(["*/upper"])) == {Result.BUILT}
    assert engine_on(root).cache.stats().entries == 0


def test_a_lost_index_of_use_is_made_again(root: Path) -> None:
    engine_on(root).build()
    index = root / ".headwater/local/cache.sqlite"
    before = engine_on(root).cache.stats()
    index.write_bytes(b"not a database " * 100)
    assert engine_on(root).cache.gc() == (0, 0)
    index.unlink()
    assert engine_on(root).cache.gc() == (0, 0)
    assert engine_on(root).cache.stats() == before


def test_an_index_of_use_that_the_disk_does_not_take_costs_no_build(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a hint: what is in the cache is known again from the entries."""

    def full(*_arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(cache_index.OpenIndex, "note", full)
        assert results(engine_on(root).build()) == {Result.BUILT}
        with pytest.raises(HeadwaterError) as caught:
            engine_on(root).cache.gc()
        assert caught.value.rule == "disk-full"
    assert engine_on(root).cache.stats().entries == 5
    assert len(engine_on(root).build_cache.trim(0)) == 5


def test_gc_sweeps_what_killed_commands_left(root: Path) -> None:
    engine_on(root).build()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead_process = ended.pid
    names = {pid: f".x.{leftovers.machine()}-{pid}-1.hwtmp" for pid in (dead_process, os.getppid())}
    folders = ["provenance/letters/a", "manifests/00", "artifacts/letters/a/pair", "objects", ""]
    for folder in folders:
        write(root, {f".headwater/{folder}/{name}": "half" for name in names.values()})
    write(root, {f".headwater/local/dagster/{names[dead_process]}": "not ours to look at"})
    write(root, {f".headwater/local/publish/{names[dead_process]}": "half"})
    left = {path.relative_to(root / ".headwater").as_posix() for path in (root / ".headwater").rglob("*.hwtmp")}
    assert len(left) == 2 * len(folders) + 2
    assert engine_on(root).cache.gc() == (0, 0)
    left = {path.relative_to(root / ".headwater").as_posix() for path in (root / ".headwater").rglob("*.hwtmp")}
    alive = {f"{folder}/{names[os.getppid()]}".lstrip("/") for folder in folders}
    assert left == alive | {f"local/dagster/{names[dead_process]}"}


def test_gc_drops_manifests_that_no_record_names(root: Path) -> None:
    def manifests() -> set[Path]:
        return set((root / ".headwater/manifests").rglob("*.json"))

    def age() -> None:
        for path in manifests():
            os.utime(path, (1_600_000_000, 1_600_000_000))

    engine_on(root).build()
    first = manifests()
    write(root, {"a/words/one.txt": "changed"})
    engine_on(root).build()
    both = manifests()
    assert both > first
    engine_on(root).cache.gc()
    assert manifests() == both  # too young: a build in another process may be about to name them
    age()
    engine_on(root).cache.gc(dry_run=True)
    assert manifests() == both
    record = root / ".headwater/provenance/letters/a/upper.json"
    whole = record.read_bytes()
    record.write_bytes(b'{"format": 99}')
    engine_on(root).cache.gc()
    assert manifests() == both  # a record of another version may name any of them
    record.write_bytes(whole)
    engine_on(root).cache.gc()
    left = manifests()
    assert left < both
    assert not first <= left
    write(root, {"a/words/one.txt": "again"})
    assert engine_on(root).explain(UPPER).state.changed == ("words/one.txt",)


def test_gc_trims_and_deletes_what_nothing_names(root: Path) -> None:
    engine_on(root).build()
    engine = engine_on(root)
    loose = engine.workspace.objects.put(b"named by nothing")
    assert engine.cache.gc(dry_run=True, grace=0) == (1, 16)
    assert engine.workspace.objects.has(loose)
    assert engine.cache.gc(grace=0) == (1, 16)
    assert not engine.workspace.objects.has(loose)
    dry = engine.cache.gc(max_size=10, dry_run=True, grace=0)
    assert engine.cache.stats().entries == 5
    assert engine.cache.gc(max_size=10, grace=0) == dry
    assert engine.cache.stats().size <= 10
    engine.cache.gc(max_size=0, grace=0)
    assert (engine.cache.stats().entries, engine.cache.stats().size) == (0, 0)


def test_gc_leaves_what_is_younger_than_its_grace(root: Path) -> None:
    """What a builder has kept a moment ago stays, entry and objects, also where the cap asks for it; what is older goes."""
    engine_on(root).build()
    engine = engine_on(root)
    loose = engine.workspace.objects.put(b"named in a moment")
    held = engine.cache.stats()
    assert engine.cache.gc(max_size=0, dry_run=True) == (0, 0)
    assert engine.cache.gc(max_size=0) == (0, 0)
    assert engine.cache.stats() == held
    upper = engine.provenance(UPPER)
    assert upper is not None
    hours_ago = time.time() - GRACE - 60
    for path in (engine.workspace.objects.path(loose), entry_path(upper.fingerprint)):
        os.utime(root / ".headwater" / path, (hours_ago, hours_ago))
    assert engine.cache.gc(max_size=0) == (1, 17)
    assert not engine.build_cache.holds(upper.fingerprint)
    assert engine.cache.stats().entries == held.entries - 1


def test_a_build_without_the_cache_neither_reads_nor_writes_it(root: Path) -> None:
    assert results(engine_on(root).build(policy=Policy(use_cache=False))) == {Result.BUILT}
    assert engine_on(root).cache.stats().entries == 0


# sharing


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "remote"
    folder.mkdir()
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", folder.as_uri())
    return folder


def test_what_one_machine_pushes_another_restores(root: Path, remote: Path, tmp_path: Path) -> None:
    engine_on(root).build()
    seen: list[tuple[int, int]] = []
    assert engine_on(root).cache.push(progress=lambda done, total: seen.append((done, total))) == 5
    assert seen[-1] == (5, 5)
    assert engine_on(root).cache.push() == 0
    colleague = tmp_path / "colleague"
    shutil.copytree(root, colleague, ignore=shutil.ignore_patterns(".headwater", "upper.txt", "words.db"))
    kinds.RUNS.clear()
    assert results(engine_on(colleague).build()) == {Result.RESTORED}
    assert set(kinds.RUNS) <= {"check"}
    assert (colleague / "a/words.db").read_bytes() == (root / "a/words.db").read_bytes()
    assert engine_on(colleague).provenance(UPPER).how == "restored"  # type: ignore[union-attr]
    assert engine_on(colleague).explain(UPPER).cached == ("local", "remote")


def test_pull_fetches_the_builds_of_the_present_text_without_restoring(root: Path, remote: Path, tmp_path: Path) -> None:
    engine_on(root).build()
    engine_on(root).cache.push(["*/upper", "*/length"])
    colleague = tmp_path / "colleague"
    shutil.copytree(root, colleague, ignore=shutil.ignore_patterns(".headwater", "upper.txt", "words.db"))
    assert engine_on(colleague).cache.pull() == 2
    assert not (colleague / "a/upper.txt").exists()
    shutil.rmtree(remote)
    assert results(engine_on(colleague).build(["*/upper"])) == {Result.RESTORED}


def test_a_remote_that_is_away_costs_a_build_and_no_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", (root / "headwater.toml/not-a-folder").as_uri())
    assert results(engine_on(root).build(["*/upper"])) == {Result.BUILT}


def test_sharing_without_a_remote_says_how_to_configure_one(root: Path) -> None:
    with pytest.raises(UsageError, match="no remote build cache") as caught:
        engine_on(root).cache.push()
    assert caught.value.rule == "cache-remote-missing"


def lie(remote: Path, fingerprint: str, change: dict[str, object]) -> None:
    path = remote / entry_path(fingerprint)
    record = json.loads(path.read_bytes())
    path.write_bytes(canonical_json({**record, **change}))


@pytest.mark.parametrize(
    "paths", [["../../evil.txt"], ["/etc/evil"], ["evil.txt"], ["upper.txt", "evil.txt"], ["upper.txt-wal"], []]
)
def test_an_entry_from_a_lying_remote_cannot_choose_its_paths(root: Path, remote: Path, tmp_path: Path, paths: list[str]) -> None:
    engine_on(root).build(["*/upper"])
    engine_on(root).cache.push()
    fingerprint = engine_on(root).provenance(UPPER).fingerprint  # type: ignore[union-attr]
    evil = bytes_oid(b"ONE|TWO")
    lie(remote, fingerprint, {"outputs": [{"place": "store", "path": path, "oid": evil, "size": 7} for path in paths]})
    colleague = tmp_path / "colleague"
    shutil.copytree(root, colleague, ignore=shutil.ignore_patterns(".headwater", "upper.txt"))
    assert results(engine_on(colleague).build(["*/upper"])) == {Result.BUILT}
    assert not list(tmp_path.rglob("evil*"))


def test_objects_from_a_lying_remote_are_verified(root: Path, remote: Path, tmp_path: Path) -> None:
    engine_on(root).build(["*/upper"])
    engine_on(root).cache.push()
    for path in (remote / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"EVIL..!")
    colleague = tmp_path / "colleague"
    shutil.copytree(root, colleague, ignore=shutil.ignore_patterns(".headwater", "upper.txt"))
    assert results(engine_on(colleague).build(["*/upper"])) == {Result.BUILT}
    assert (colleague / "a/upper.txt").read_text() == "ONE|TWO"


def test_an_entry_counts_only_for_its_own_fingerprint_and_format(root: Path) -> None:
    entry = CacheEntry("blake3:" + "1" * 64, (), "blake3:" + "2" * 64)
    stored = canonical_json(entry.to_json())
    assert parse_entry(stored, entry.fingerprint) == entry
    assert parse_entry(stored, "blake3:" + "3" * 64) is None
    assert parse_entry(stored.replace(b'"format":1', b'"format":2'), entry.fingerprint) is None
    assert parse_entry(b"{", entry.fingerprint) is None
    assert list(entries_in(engine_on(root).workspace.state)) == []


def test_an_entry_fits_only_the_outputs_the_recipe_declares() -> None:
    body = Lazy("x:y")
    recipe = Recipe("r", 1, "", (Input("i", source="s"),), (Output("one"), Output("many", folder=True)), body)

    def entry(*outputs: tuple[Place, str]) -> CacheEntry:
        return CacheEntry("f", tuple(OutputFile(place, path, "blake3:" + "0" * 64, 1) for place, path in outputs), "d")

    here = Place.ARTIFACTS
    assert fits(entry((here, "one")), recipe)
    assert fits(entry((here, "one"), (here, "many/a"), (here, "many/b/c")), recipe)
    assert not fits(entry((here, "many/a")), recipe)
    assert not fits(entry((here, "one"), (here, "manya")), recipe)
    assert not fits(entry((Place.STORE, "one")), recipe)
    assert not fits(entry((here, "one"), (here, "one")), recipe)

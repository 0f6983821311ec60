"""A workspace under a URL: outputs are objects, the record is the pointer, and two builders agree."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from assets.engine.cache import GRACE, CacheEntry, entry_path
from assets.engine.engine import Engine
from assets.engine.model import Freshness, Outcome, Policy, Ref, Result
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Kind, Place
from resources.storage import open_storage
from resources.storage.base import Storage
from resources.workspace import open_workspace
from schemas.canonical import canonical_json
from tests.assets.engine import item_kinds, kinds

UPPER = Ref("letters", "a", "upper")
_number = itertools.count()


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.s3)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty root in memory, and one on an S3 server."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    return f"memory://engine-{next(_number)}"


def put(url: str, files: dict[str, str]) -> Storage:
    storage = open_storage(url)
    for path, text in files.items():
        storage.write(path, text.encode())
    return storage


def letters(url: str) -> Storage:
    return put(
        url,
        {"headwater.toml": "version = 1\n", "a/letters.txt": "letters\n", "a/words/one.txt": "one", "a/words/two.txt": "two"},
    )


def engine(
    url: str,
    monkeypatch: pytest.MonkeyPatch | None = None,
    machine: Path | None = None,
    with_kinds: dict[str, Kind] | None = None,
) -> Engine:
    """A new engine; `machine` is another user's cache folder, so another machine as far as we know."""
    if machine is not None and monkeypatch is not None:
        monkeypatch.setenv("HEADWATER_CACHE_DIR", str(machine))
    return Engine(open_workspace(url), kinds.KINDS if with_kinds is None else with_kinds)


def test_sources_are_read_from_and_artifacts_written_to_the_url(url: str) -> None:
    storage = letters(url)
    assert {outcome.result for outcome in engine(url).build()} == {Result.BUILT}
    assert {state.freshness for state in engine(url).status()} == {Freshness.FRESH}
    record = engine(url).provenance(UPPER)
    assert record is not None
    digits = record.output_digest.partition(":")[2]
    assert storage.read(f".headwater/objects/blake3/{digits[:2]}/{digits[2:]}") == b"ONE|TWO"
    kinds.RUNS.clear()
    assert {outcome.result for outcome in engine(url).build()} == {Result.FRESH}
    assert kinds.RUNS == []


def test_an_edit_moves_the_pointer_and_keeps_the_old_object(url: str) -> None:
    storage = letters(url)
    engine(url).build()
    old = engine(url).provenance(UPPER)
    storage.write("a/words/one.txt", b"uno")
    assert engine(url).status(["*/upper"])[0].reasons == ("the source words changed: words/one.txt",)
    assert engine(url).build(["*/upper"])[0].result is Result.BUILT
    new = engine(url)
    assert new.output_paths(UPPER)[0].read_text() == "UNO|TWO"
    assert old is not None
    assert new.workspace.objects.get(old.output_digest) == b"ONE|TWO"


def test_another_machine_finds_it_fresh(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    letters(url)
    engine(url).build()
    kinds.RUNS.clear()
    other = engine(url, monkeypatch, tmp_path / "other-machine")
    assert {outcome.result for outcome in other.build()} == {Result.FRESH}
    assert kinds.RUNS == []
    assert (other.output_paths(Ref("letters", "a", "pair"))[0] / "rest.txt").read_text() == "|TWO"


def test_two_builders_agree_on_one_record(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    letters(url)
    both = threading.Barrier(2, timeout=30)
    kinds.HOOKS["upper"] = lambda _view: both.wait() if kinds.RUNS.count("upper") <= 2 else None
    engines = [engine(url, monkeypatch, tmp_path / name) for name in ("first", "second")]
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda one=one: outcomes.append(one.build_one(UPPER))) for one in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert kinds.RUNS.count("upper") == 2
    assert sorted(str(outcome.result) for outcome in outcomes) in (["built", "fresh"], ["adopted", "built"])
    record = engine(url).provenance(UPPER)
    assert record is not None
    assert record.sequence == 1
    assert {outcome.output_digest for outcome in outcomes} == {record.output_digest}


def test_a_pointer_moved_to_other_text_starts_the_build_again(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage = letters(url)
    first, second = (engine(url, monkeypatch, tmp_path / name) for name in ("first", "second"))

    def meanwhile(_view: object) -> None:
        kinds.HOOKS.clear()
        storage.write("a/words/two.txt", b"due")
        assert second.build_one(UPPER).result is Result.BUILT

    kinds.HOOKS["upper"] = meanwhile
    outcome = first.build_one(UPPER)
    assert outcome.error is None
    assert engine(url).output_paths(UPPER)[0].read_text() == "ONE|DUE"
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.FRESH


def test_losing_an_object_is_noticed_and_mended(url: str) -> None:
    letters(url)
    engine(url).build()
    record = engine(url).provenance(UPPER)
    assert record is not None
    engine(url).workspace.objects.delete(record.output_digest)
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.MISSING
    assert engine(url).build(["*/upper"])[0].result is Result.BUILT
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.FRESH


def test_the_cache_never_deletes_what_a_pointer_names(url: str) -> None:
    storage = letters(url)
    engine(url).build(["*/upper"])
    old = engine(url).provenance(UPPER)
    storage.write("a/words/one.txt", b"uno")
    engine(url).build(["*/upper"])
    engine(url).cache.gc(max_size=0, grace=0)
    assert old is not None
    assert not engine(url).workspace.objects.has(old.output_digest)
    assert engine(url).output_paths(UPPER)[0].read_text() == "UNO|TWO"
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.FRESH


def test_what_another_builder_has_just_put_is_not_collected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its objects and its pointer, a builder on another machine has only their age to protect them."""
    letters(url)
    engine(url).build(["*/upper"])
    put_by_another = engine(url).workspace.objects.put(b"the pointer to this comes in a moment")
    assert engine(url).cache.gc() == (0, 0)
    cache = engine(url).build_cache
    entry = CacheEntry("blake3:" + "1" * 64, (OutputFile(Place.STORE, "upper.txt", put_by_another, 37),), put_by_another)
    cache.storage.write(entry_path(entry.fingerprint), canonical_json(entry.to_json()))
    (cache.workspace.local / "cache.sqlite").unlink()
    assert entry.fingerprint in cache.trim(0)
    assert engine(url).workspace.objects.has(put_by_another)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + GRACE + 60)
    assert engine(url).cache.gc() == (1, 37)
    assert not engine(url).workspace.objects.has(put_by_another)
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.FRESH


def test_verify_and_clean(url: str) -> None:
    letters(url)
    engine(url).build()
    assert [one.ok for one in engine(url).verify()] == [True] * 5
    assert all(one.reason is None for one in engine(url).clean(["*/upper"]))
    assert engine(url).status(["*/upper"])[0].freshness is Freshness.MISSING
    assert engine(url).build(["*/upper"])[0].result is Result.RESTORED


def test_nothing_can_be_in_the_way(url: str) -> None:
    storage = letters(url)
    storage.write("a/upper.txt", b"theirs")
    assert engine(url).build_one(UPPER, Policy()).result is Result.BUILT
    assert storage.read("a/upper.txt") == b"theirs"


def test_sets_of_items_and_folds(url: str) -> None:
    storage = put(url, {"headwater.toml": "version = 1\n", "shelf.txt": "", "words/a.txt": "anna", "words/b.txt": "bob"})
    item_kinds.RUNS.clear()
    assert {outcome.result for outcome in engine(url, with_kinds=item_kinds.KINDS).build()} == {Result.BUILT}
    storage.write("words/b.txt", b"bobby")
    item_kinds.RUNS.clear()
    outcomes = engine(url, with_kinds=item_kinds.KINDS).build()
    assert [outcome.error for outcome in outcomes if outcome.error is not None] == []
    assert sorted(item_kinds.RUNS) == ["card b", "index folded", "page b", "sizes folded"]
    made = engine(url, with_kinds=item_kinds.KINDS)
    assert (made.output_paths(Ref("shelf", "root", "pages"))[0] / "b").read_bytes() == b"<p>bobby</p>"
    assert {state.freshness for state in made.status()} == {Freshness.FRESH}

"""The build cache between machines: how results are kept, where they come from, remotes that hang, and entries that lie."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import assets.engine.cache_remote as cache_remote
from assets.engine.cache import Keeping
from assets.engine.cache_remote import entry_path
from assets.engine.engine import Engine
from assets.engine.model import Policy, Ref, Result
from resources.config import load_config
from resources.remotes.credentials import keep_token, token_for, tokens_file
from resources.storage import open_storage
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write
from tests.dvs_server import Server, running_server
from tests.fault_proxy import busy, dripping, fault_proxy, flipped, reset, truncated

UPPER = Ref("letters", "a", "upper")
DERIVED = shutil.ignore_patterns(".headwater", "upper.txt", "words.db")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(params=["path", "server"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a remote of each sort that is empty."""
    if request.param == "path":
        (tmp_path / "remote").mkdir()
        url = (tmp_path / "remote").as_uri()
        monkeypatch.setenv("HEADWATER_REMOTE_CACHE", url)
        yield url
        return
    with running_server(tmp_path / "server") as running:
        monkeypatch.setenv("HEADWATER_REMOTE_CACHE", running.url)
        monkeypatch.setenv("HEADWATER_TOKEN", running.token)
        yield running.url


def colleague(root: Path, tmp_path: Path) -> Path:
    """The same text on another machine."""
    other = tmp_path / "colleague"
    shutil.copytree(root, other, ignore=DERIVED)
    return other


def results(engine: Engine, select: tuple[str, ...] = ()) -> dict[str, str]:
    return {outcome.ref.name: str(outcome.result) for outcome in engine.build(list(select))}


def test_a_build_shares_its_results_where_it_may_write_and_says_where_they_came_from(
    root: Path, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "write")
    assert set(results(engine_on(root)).values()) == {"built"}
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "read")
    other = colleague(root, tmp_path)
    kinds.RUNS.clear()
    assert set(results(engine_on(other)).values()) == {"restored"}
    assert set(kinds.RUNS) <= {"check"}
    engine = engine_on(other)
    record = engine.provenance(UPPER)
    assert record is not None
    assert record.origin == ("a folder" if remote.startswith("file:") else remote)
    (other / "a/upper.txt").unlink()
    outcome = engine_on(other).build_one(UPPER)
    assert (outcome.result, outcome.origin) == (Result.RESTORED, record.origin)
    # What was built here is restored from here.
    (root / "a/upper.txt").unlink()
    assert engine_on(root).build_one(UPPER).origin == "local"


def test_reading_puts_nothing_there(root: Path, remote: str, tmp_path: Path) -> None:
    results(engine_on(root))
    assert set(results(engine_on(colleague(root, tmp_path))).values()) == {"built"}


def test_one_changed_input_rebuilds_only_what_depends_on_it(
    root: Path, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "write")
    results(engine_on(root))
    other = colleague(root, tmp_path)
    write(other, {"a/notes.md": "another note"})
    before = results(engine_on(root))
    assert set(before.values()) == {"fresh"}
    made = results(engine_on(other))
    assert set(made.values()) == {"restored"}
    write(other, {"a/words/one.txt": "eleven"})
    made = results(engine_on(other))
    assert made["upper"] == "built"


@pytest.mark.parametrize("fault", [reset(), truncated(), busy(503), flipped(), dripping(0.02, 10_000)], ids=lambda _: "")
def test_a_server_that_fails_costs_builds_and_one_sentence(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch, fault: object
) -> None:
    import tenacity

    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: lambda _state: 0.01)
    monkeypatch.setattr(cache_remote, "PATIENCE", 1.0)
    monkeypatch.setattr("assets.engine.cache.PATIENCE", 1.0)
    with fault_proxy(server.port) as proxy:
        monkeypatch.setenv("HEADWATER_REMOTE_CACHE", proxy.url)
        monkeypatch.setenv("HEADWATER_TOKEN", server.token)
        proxy.faults = [fault] * 100  # type: ignore[list-item]
        said: list[str] = []
        engine = engine_on(root)
        engine.build_cache.notice = said.append
        began = time.monotonic()
        assert set(results(engine).values()) == {"built"}
        assert time.monotonic() - began < 15
    assert len(said) <= 1
    assert all("remote build cache" in text for text in said)
    assert "hwt_" not in "".join(said)


def test_a_remote_that_does_not_answer_is_asked_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Silent(cache_remote.StorageRemote):
        def entry(self, fingerprint: str) -> bytes | None:
            asked.append(fingerprint)
            time.sleep(3)
            return None

    (root.parent / "remote").mkdir()
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", (root.parent / "remote").as_uri())
    monkeypatch.setattr(cache_remote, "StorageRemote", Silent)
    monkeypatch.setattr("assets.engine.cache.PATIENCE", 0.3)
    said: list[str] = []
    engine = engine_on(root)
    engine.build_cache.notice = said.append
    began = time.monotonic()
    assert set(results(engine).values()) == {"built"}
    assert time.monotonic() - began < 3
    assert len(asked) == len(said) == 1
    assert "no answer within" in said[0]


# entries that lie


def test_an_entry_that_lies_is_found_by_building_again(root: Path, remote: str, tmp_path: Path) -> None:
    engine = engine_on(root)
    results(engine, ("*/upper",))
    record = engine.provenance(UPPER)
    assert record is not None
    lie = b"something else"
    engine.build_cache.objects.put(lie)
    entry = json.loads(engine.workspace.state.read(entry_path(record.fingerprint)))
    entry["outputs"][0] |= {"oid": bytes_oid(lie), "size": len(lie)}
    entry["output_digest"] = bytes_oid(lie)
    engine.workspace.state.write(entry_path(record.fingerprint), canonical_json(entry))
    engine_on(root).cache.push()
    other = colleague(root, tmp_path)
    assert results(engine_on(other), ("*/upper",)) == {"upper": "restored"}
    assert (other / "a/upper.txt").read_bytes() == lie
    assert engine_on(other).cache.verify() == []
    (proof,) = engine_on(other).prove_cache(5, ["*/upper"])
    assert proof.differences == ("upper.txt has other bytes in the cache than a build makes",)
    assert proof.origin == ("a folder" if remote.startswith("file:") else remote)
    assert engine_on(other).prove_cache(5, ["*/upper"]) == []
    outcome = engine_on(other).build_one(UPPER, Policy(force=True))
    assert outcome.result is Result.BUILT
    assert (other / "a/upper.txt").read_text() == "ONE|TWO"


def test_whole_entries_pass_the_proof(root: Path) -> None:
    results(engine_on(root))
    proofs = engine_on(root).prove_cache(100)
    assert len(proofs) >= 4
    assert [proof.differences for proof in proofs] == [()] * len(proofs)
    assert len(engine_on(root).prove_cache(2, seed=1)) == 2


# how results are kept


def keeping(root: Path, how: str, glob: str = "letters/*/upper") -> None:
    write(root, {"headwater.toml": f'version = 1\n[artifacts."{glob}"]\ncache = "{how}"\n'})


def objects(root: Path) -> set[str]:
    return {oid for oid, _ in engine_on(root).workspace.objects.list()}


def test_a_result_kept_by_reference_is_stored_once_and_still_shared(root: Path, remote: str, tmp_path: Path) -> None:
    keeping(root, "reference")
    oid = bytes_oid(b"ONE|TWO")
    results(engine_on(root), ("*/upper",))
    assert oid not in objects(root)
    assert engine_on(root).cache.push() == 1
    other = colleague(root, tmp_path)
    assert results(engine_on(other), ("*/upper",)) == {"upper": "restored"}
    # Another place with the same text is restored from the published file.
    shutil.copytree(root / "a", root / "b", ignore=DERIVED)
    os.environ.pop("HEADWATER_REMOTE_CACHE")
    kinds.RUNS.clear()
    assert engine_on(root).build_one(Ref("letters", "b", "upper")).result is Result.RESTORED
    assert "upper" not in kinds.RUNS


def test_a_reference_to_a_file_that_was_changed_is_not_used(root: Path) -> None:
    keeping(root, "reference")
    results(engine_on(root), ("*/upper",))
    (root / "a/upper.txt").write_text("ONE|TWX")
    shutil.copytree(root / "a", root / "b", ignore=DERIVED)
    assert engine_on(root).build_one(Ref("letters", "b", "upper")).result is Result.BUILT
    assert (root / "b/upper.txt").read_text() == "ONE|TWO"


def test_none_keeps_nothing_and_the_longest_pattern_counts(root: Path) -> None:
    write(
        root,
        {"headwater.toml": 'version = 1\n[artifacts."*"]\ncache = "none"\n[artifacts."letters/*/upper"]\ncache = "copy"\n'},
    )
    results(engine_on(root))
    cache = engine_on(root).build_cache
    assert cache.keeping(UPPER) is Keeping.COPY
    assert cache.keeping(Ref("letters", "a", "length")) is Keeping.NONE
    assert engine_on(root).cache.stats().entries == 1


def test_reflink_is_a_reference_where_blocks_cannot_be_shared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping(root, "reflink")
    monkeypatch.setattr("assets.engine.cache._can_share_blocks", lambda _folder: False)
    assert engine_on(root).build_cache.keeping(UPPER) is Keeping.REFERENCE
    monkeypatch.setattr("assets.engine.cache._can_share_blocks", lambda _folder: True)
    assert engine_on(root).build_cache.keeping(UPPER) is Keeping.REFLINK


def test_a_value_that_is_none_is_a_finding(root: Path) -> None:
    keeping(root, "hope")
    with pytest.raises(HeadwaterError, match="cache"):
        engine_on(root)


def test_a_mode_that_is_none_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "append")
    with pytest.raises(UsageError) as caught:
        load_config(open_storage(root), None)
    assert caught.value.rule == "cache-mode"


# an index that lags behind


def test_what_another_entry_names_is_never_trimmed_away(root: Path) -> None:
    results(engine_on(root), ("*/upper",))
    engine = engine_on(root)
    first = engine.provenance(UPPER)
    assert first is not None
    # An index of before the last start of the machine, which lacks an entry of the same object.
    other = "blake3:" + "7" * 64
    record = json.loads(engine.workspace.state.read(entry_path(first.fingerprint))) | {"fingerprint": other}
    engine.workspace.state.write(entry_path(other), canonical_json(record))
    import sqlite3

    with sqlite3.connect(root / ".headwater/local/cache.sqlite") as index:
        index.execute("UPDATE boot SET id = 'an earlier one'")
    index.close()
    cache = engine_on(root).build_cache
    with cache._index.open() as opened:
        assert opened.fingerprints() == {first.fingerprint, other}
        opened.note(other, [(bytes_oid(b"ONE|TWO"), 7)])
        assert opened.drop(first.fingerprint) == []


# tokens


def test_a_token_belongs_to_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_TOKENS", str(tmp_path / "tokens.json"))
    monkeypatch.delenv("HEADWATER_TOKEN", raising=False)
    assert token_for("https://one.example", trusted=True) is None
    path = keep_token("https://One.example/objects", "secret-1")
    assert path == tokens_file()
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_for("https://one.example/elsewhere", trusted=False) == "secret-1"
    assert token_for("https://two.example", trusted=True) is None
    assert token_for("http://one.example", trusted=True) is None
    monkeypatch.setenv("HEADWATER_TOKEN", "of-the-environment")
    assert token_for("https://two.example", trusted=True) == "of-the-environment"
    assert token_for("https://two.example", trusted=False) is None
    keep_token("https://one.example", None)
    assert token_for("https://one.example", trusted=False) is None
    path.chmod(0o644)
    with pytest.raises(HeadwaterError) as caught:
        token_for("https://one.example", trusted=False)
    assert caught.value.rule == "tokens-mode"
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(HeadwaterError) as caught:
        token_for("https://one.example", trusted=False)
    assert caught.value.rule == "tokens-unreadable"


@pytest.mark.parametrize("spoil", ["longer", "shorter", "nested"])
def test_an_entry_that_lies_about_lengths_or_cannot_be_read_costs_a_build(
    root: Path, remote: str, tmp_path: Path, spoil: str
) -> None:
    engine = engine_on(root)
    results(engine, ("*/upper",))
    record = engine.provenance(UPPER)
    assert record is not None
    engine.cache.push()
    place = entry_path(record.fingerprint)
    entry = json.loads(engine.workspace.state.read(place))
    right = entry["outputs"][0]["size"]
    entry["outputs"][0]["size"] = right + 5 if spoil == "longer" else right - 1
    data = canonical_json(entry) if spoil != "nested" else b"[" * 200_000
    if remote.startswith("file:"):
        open_storage(remote).write(place, data)
    elif spoil != "nested":
        there = cache_remote.open_remote(engine.workspace)
        assert there is not None
        there.put_entry(record.fingerprint, data)
    else:
        pytest.skip("an object server takes no such record")
    other = engine_on(colleague(root, tmp_path))
    assert results(other, ("*/upper",)) == {"upper": "built"}
    assert json.loads(other.workspace.state.read(place))["outputs"][0]["size"] == right


def test_an_entry_that_lies_about_its_digest_alone_is_found_too(root: Path) -> None:
    engine = engine_on(root)
    results(engine, ("*/upper",))
    record = engine.provenance(UPPER)
    assert record is not None
    place = entry_path(record.fingerprint)
    entry = json.loads(engine.workspace.state.read(place))
    entry["output_digest"] = bytes_oid(b"another")
    engine.workspace.state.write(place, canonical_json(entry))
    (proof,) = engine_on(root).prove_cache(5, ["*/upper"])
    assert proof.differences == ("the cache says another output digest than a build has",)
    assert engine_on(root).prove_cache(5, ["*/upper"]) == []


def test_a_damaged_object_of_the_remote_keeps_no_other_build_from_being_pulled(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote").mkdir()
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", (tmp_path / "remote").as_uri())
    engine = engine_on(root)
    results(engine)
    assert engine_on(root).cache.push() > 1
    record = engine.provenance(UPPER)
    assert record is not None
    digits = record.outputs[0].oid.partition(":")[2]
    path = tmp_path / "remote/objects/blake3" / digits[:2] / digits[2:]
    path.chmod(0o644)
    path.write_bytes(b"?" * path.stat().st_size)
    other = engine_on(colleague(root, tmp_path))
    said: list[str] = []
    other.build_cache.notice = said.append
    assert other.cache.pull() >= 1
    (line,) = said
    assert "damaged" in line
    assert not other.build_cache.holds(record.fingerprint)

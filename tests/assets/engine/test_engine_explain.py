"""Explain and verify: where an artifact came from, what changed since, and whether a rebuild gives the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.engine import fingerprint
from assets.engine.model import Freshness, Policy, Ref
from assets.engine.verify import Verified
from schemas.errors import HeadwaterError
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

UPPER, PAIR, DATABASE = (Ref("letters", "a", name) for name in ("upper", "pair", "database"))


def test_explain_names_every_input_file_with_its_oid(root: Path) -> None:
    engine_on(root).build()
    explained = engine_on(root).explain(UPPER)
    assert explained.state.freshness is Freshness.FRESH
    words = explained.inputs[0]
    assert [path for path, _, _ in words.files] == ["words/one.txt", "words/two.txt"]
    assert all(oid.startswith("blake3:") for _, oid, _ in words.files)
    assert words.changes == ()
    assert explained.downstream == (PAIR,)
    assert explained.cached == ("local",)
    assert explained.outputs[0]["path"] == "a/upper.txt"
    assert explained.built is not None
    assert explained.built["how"] == "built"
    assert explained.built["counts"] == {"characters": 7}


def test_explain_says_which_files_changed_since_the_last_build_and_how(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/one.txt": "1", "a/words/three.txt": "3"})
    (root / "a/words/two.txt").unlink()
    changes = engine_on(root).explain(UPPER).inputs[0].changes
    assert changes == (("words/one.txt", "edited"), ("words/three.txt", "added"), ("words/two.txt", "removed"))


def test_explain_is_json(root: Path) -> None:
    engine_on(root).build(["*/upper"])
    write(root, {"a/words/one.txt": "1"})
    for ref in (UPPER, PAIR):
        record = json.loads(json.dumps(engine_on(root).explain(ref).to_json()))
        assert record["artifact"] == str(ref)
    record = engine_on(root).explain(UPPER).to_json()
    assert record["freshness"] == "stale"
    assert record["inputs"][0]["changed"] is True  # type: ignore[index]
    assert record["inputs"][0]["changes"] == [{"path": "words/one.txt", "change": "edited"}]  # type: ignore[index]


def test_a_lost_manifest_leaves_the_rest_of_the_explanation(root: Path) -> None:
    engine_on(root).build()
    for path in (root / ".headwater/manifests").rglob("*.json"):
        path.unlink()
    write(root, {"a/words/one.txt": "1"})
    explained = engine_on(root).explain(UPPER)
    assert explained.inputs[0].changed
    assert explained.inputs[0].changes is None
    assert explained.state.reasons == ("the source words changed",)


def test_a_new_library_version_is_a_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_on(root).build()
    before = fingerprint.library_version("blake3")
    monkeypatch.setattr(fingerprint, "library_version", lambda _name: "99.0")
    state = engine_on(root).status(["*/upper"])[0]
    assert state.reasons == (f"blake3 is now 99.0, it was built with {before}",)
    assert engine_on(root).status(["*/length"])[0].freshness is Freshness.FRESH


def test_library_versions_are_those_the_import_system_reports() -> None:
    from importlib import metadata

    for name in ("blake3", "duckdb", "pyarrow", "adbc-driver-sqlite", "ruamel.yaml", "Ruamel_YAML"):
        assert fingerprint.library_version(name) == metadata.version(name)


def test_verify_builds_again_and_finds_everything_equal(root: Path) -> None:
    engine_on(root).build()
    kinds.RUNS.clear()
    verifications = engine_on(root).verify()
    assert [one.ok for one in verifications] == [True] * 5
    assert sorted(kinds.RUNS) == ["database", "double", "length", "pair", "upper"]
    assert verifications[0].to_json()["reproducibility"] == "byte-equal"


def test_verify_tells_a_recipe_that_does_not_repeat_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_on(root).build()
    monkeypatch.setattr(kinds.View, "read", lambda _self, _role, _path: b"drift")
    verification = engine_on(root).verify(["*/upper"])[0]
    assert not verification.ok
    assert verification.differences == ("a/upper.txt differs from what is built now",)
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"


def test_verify_reads_the_bytes_and_not_the_stat_cache(root: Path) -> None:
    import os

    engine_on(root).build()
    path = root / "a/upper.txt"
    past = path.stat().st_mtime - 100
    os.utime(path, (past, past))
    engine_on(root).status()
    before = path.stat()
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"0NE", 0)
    os.close(descriptor)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    verification = engine_on(root).verify(["*/upper"])[0]
    assert verification.differences == ("a/upper.txt does not hold what was built",)


def test_verify_says_what_is_not_up_to_date_or_missing(root: Path) -> None:
    (never,) = engine_on(root).verify(["*/upper"])
    assert (never.result, never.ok, never.differences) == (Verified.MISSING, False, ("it was not built yet",))
    assert never.to_json()["result"] == "missing"
    engine_on(root).build()
    write(root, {"a/words/one.txt": "1"})
    (stale,) = engine_on(root).verify(["*/upper"])
    assert stale.result is Verified.STALE
    assert stale.differences == ("it is not up to date: the source words changed: words/one.txt",)
    write(root, {"a/words/one.txt": "one"})
    (root / "a/upper.txt").unlink()
    assert engine_on(root).verify(["*/upper"])[0].result is Verified.MISSING
    engine_on(root).build()
    (root / "a/upper.txt").write_text("edited")
    assert engine_on(root).verify(["*/upper"])[0].result is Verified.DIFFERS


def test_verify_says_that_an_artifact_cannot_be_built_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object, _role: str, _path: str) -> bytes:
        raise HeadwaterError("the library is gone")

    engine_on(root).build()
    monkeypatch.setattr(kinds.View, "read", broken)
    (failed,) = engine_on(root).verify(["*/upper"])
    assert (failed.result, failed.differences) == (Verified.FAILED, ("it cannot be built: the library is gone",))


def test_a_database_adopted_with_other_bytes_verifies_by_its_content(root: Path) -> None:
    import sqlite3
    from contextlib import closing

    engine_on(root).build(["*/database"])
    with closing(sqlite3.connect(root / "a/words.db")) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("VACUUM")
    engine_on(root).build(["*/database"])
    assert engine_on(root).verify(["*/database"])[0].ok


def test_the_sequence_rises_with_every_record(root: Path) -> None:
    engine_on(root).build()
    assert engine_on(root).provenance(UPPER).sequence == 1  # type: ignore[union-attr]
    write(root, {"a/words/one.txt": "1"})
    engine_on(root).build()
    engine_on(root).build()
    assert engine_on(root).provenance(UPPER).sequence == 2  # type: ignore[union-attr]
    engine_on(root).build(["*/upper"], Policy(force=True))
    assert engine_on(root).provenance(UPPER).sequence == 3  # type: ignore[union-attr]

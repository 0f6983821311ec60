"""A tables project under a URL: built once for all machines and rebuilt by any of them, chains of artifacts too."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Freshness, Ref, Result
from resources.storage import open_storage
from resources.storage.base import Storage
from resources.workspace import open_workspace

PROJECT = b"""version: 1
tables:
  pet:
    columns:
      id: {type: integer}
      name: {type: text}
    primary_key: [id]
"""


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    url = f"memory://url-root-{tmp_path.name}/w" if request.param == "memory" else request.getfixturevalue("s3_url")
    made = open_storage(url)
    made.write("headwater.toml", b"version = 1\n")
    made.write("zoo/project.yaml", PROJECT)
    made.write("zoo/data/pet.csv", b"id,name\n1,Ada\n2,Bob\n")
    return made


def machine(storage: Storage, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Engine:
    """An engine with machine state of its own."""
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(folder))
    return Engine(open_workspace(storage.url))


def test_a_url_workspace_is_built_once_for_all_machines(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine(storage, monkeypatch, tmp_path / "first")
    outcomes = first.build(["tables/*/*"])
    assert {str(outcome.error) for outcome in outcomes} == {"None"}
    assert {outcome.result for outcome in outcomes} == {Result.BUILT}
    database = first.output_paths(Ref("tables", "zoo", "playground_db"))[0]
    assert database.read_bytes().startswith(b"SQLite format 3\0")
    assert storage.stat("zoo/playground.db") is None
    second = machine(storage, monkeypatch, tmp_path / "second")
    assert {state.freshness for state in second.status(["tables/*/*"])} == {Freshness.FRESH}
    storage.write("zoo/data/pet.csv", b"id,name\n1,Ada\n2,Bob\n3,Cleo\n")
    second = machine(storage, monkeypatch, tmp_path / "second")
    stale = {state.ref.name for state in second.status(["tables/*/*"]) if state.freshness is not Freshness.FRESH}
    assert stale >= {"playground_db", "playground_duckdb", "parquet", "profile"}
    results = {outcome.ref.name: outcome.result for outcome in second.build(["tables/*/*"])}
    assert results["parquet"] is Result.BUILT
    assert results["profile"] is Result.BUILT
    third = machine(storage, monkeypatch, tmp_path / "third")
    assert {state.freshness for state in third.status(["tables/*/parquet", "tables/*/profile"])} == {Freshness.FRESH}

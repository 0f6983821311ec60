"""A workspace whose root is on S3: listed, built and queried from the command line without a file in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assets.engine.engine import Engine
from resources.storage import open_storage
from resources.workspace import open_workspace
from tests.orchestration.cli.conftest import Ran, write_project


@pytest.mark.s3
def test_status_and_query_work_on_a_bucket(run: Callable[..., Ran], tmp_path: Path, s3_url: str) -> None:
    write_project(tmp_path / "pets")
    root = open_storage(s3_url, state=tmp_path / "state")
    for path in (tmp_path / "pets").rglob("*.*"):
        root.write(str(path.relative_to(tmp_path)), path.read_bytes())
    assert {record["state"] for record in run("-C", s3_url, "status", "--json").records} == {"missing"}
    engine = Engine(open_workspace(s3_url))
    assert [outcome.error for outcome in engine.build(["tables/pets/parquet"])] == [None]
    engine.close()
    rows = run("-C", s3_url, "query", "SELECT name, owner_id FROM pets.pet ORDER BY id", "--json")
    assert rows.records == [{"name": "Rex", "owner_id": 1}, {"name": "Mia", "owner_id": 2}, {"name": "Tom", "owner_id": None}], (
        rows
    )
    assert run("-C", s3_url, "query", "SELECT count(*) AS n FROM files", "--json").records == [{"n": 3}]
    confined = run("-C", s3_url, "query", "SELECT * FROM read_text('/etc/hostname')", "--json").records[0]
    assert confined["error"]["rule"] == "query-confined"

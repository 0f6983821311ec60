"""One storage of each kind, for the tests that all of them must pass."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from resources.storage import open_storage
from resources.storage.base import Storage

_count = itertools.count(1)


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage: a local folder, fsspec's memory, or S3 through a moto server."""
    state = tmp_path / "state"
    if request.param == "local":
        (tmp_path / "root").mkdir()
        return open_storage(tmp_path / "root", state=state)
    if request.param == "memory":
        return open_storage(f"memory://test-{next(_count)}/root", state=state)
    return open_storage(request.getfixturevalue("s3_url"), state=state)

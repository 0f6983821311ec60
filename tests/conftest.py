"""Fixtures every test may use, and a user's cache folder of their own for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.dvs_server import dvs_server, start_server
from tests.s3_server import s3_endpoint, s3_url

# The check of a change must not turn red by a bug it did not make: there the examples are always the same. Everyone else's runs
# look at new ones each time, which is how such bugs are found.
settings.register_profile("check", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("check")

__all__ = ["dvs_server", "s3_endpoint", "s3_url", "start_server"]


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the cache folder of whoever runs them."""
    kept = os.environ.get("HEADWATER_CACHE_DIR")
    os.environ["HEADWATER_CACHE_DIR"] = str(tmp_path_factory.mktemp("user-cache"))
    yield
    if kept is None:
        del os.environ["HEADWATER_CACHE_DIR"]
    else:
        os.environ["HEADWATER_CACHE_DIR"] = kept

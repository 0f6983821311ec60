"""Workspaces of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.engine import kinds
from tests.assets.engine.workspaces import write


@pytest.fixture(autouse=True)
def _clean_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    kinds.RUNS.clear()
    kinds.HOOKS.clear()
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))
    monkeypatch.delenv("HEADWATER_REMOTE_CACHE", raising=False)
    monkeypatch.delenv("HEADWATER_ROOT", raising=False)
    yield
    kinds.HOOKS.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with one store `a` of two words."""
    root = tmp_path / "workspace"
    write(
        root,
        {
            "headwater.toml": "version = 1\n",
            "a/letters.txt": "letters\n",
            "a/words/one.txt": "one",
            "a/words/two.txt": "two",
            "a/notes.md": "note",
        },
    )
    return root

"""How the engine's tests make workspaces and open engines on them."""

from __future__ import annotations

import os
from pathlib import Path

from assets.engine.engine import Engine
from assets.engine.recipe import Kind
from resources.workspace import open_workspace
from tests.assets.engine import kinds


def write(root: Path, files: dict[str, str | bytes]) -> None:
    """Write files, with times far enough in the past that the stat cache believes them."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        past = path.stat().st_mtime - 10
        os.utime(path, (past, past))


def engine_on(root: Path | str, with_kinds: dict[str, Kind] | None = None) -> Engine:
    """A new engine, as a new command would have it."""
    return Engine(open_workspace(root), kinds.KINDS if with_kinds is None else with_kinds)

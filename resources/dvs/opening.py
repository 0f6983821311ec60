"""Opening the repository of versioned data in a folder of a workspace. Light: standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

    from resources.dvs.repo import DvsRepo
    from resources.workspace import Workspace


def local_folder(workspace: Workspace, root: str) -> Path:
    """The folder of machine state for the repository in the folder `root` of a workspace: indexes that may be lost."""
    return workspace.local / "dvs" / (quote(root, safe=" ") or "%")


def open_repo(workspace: Workspace, root: str, *, actor: str | None = None) -> DvsRepo:
    """The repository in the folder `root` ('' for the whole workspace). Raises NotInitialized, InvalidText."""
    from resources.dvs.repo import DvsRepo

    return DvsRepo(workspace.root, root, local_folder(workspace, root), actor=actor)

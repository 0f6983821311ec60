"""Files of a clone that nobody else may read, because they may hold a token. Light: standard library only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo


def write_private(repo: DvsRepo, inside: str, data: bytes) -> None:
    """Write a file of the clone that only its owner may read, from the moment it has its name; empty bytes remove it."""
    from resources.storage.local import LocalStorage
    from resources.storage.sharing import Sharing

    folder = repo.folder
    assert folder is not None
    above, _, name = inside.rpartition("/")
    storage = LocalStorage(folder / above, state=repo.local / "private", sharing=Sharing(0o600))
    if data:
        storage.write(name, data)
    else:
        storage.delete(name)


def check_private(path: Path) -> None:
    """Raise HeadwaterError (rule `dvs-token-exposed`) when others may read the file."""
    if os.name != "posix":
        return
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & 0o077:
        raise HeadwaterError(
            "the file holds a token, and others on this machine may read it",
            rule="dvs-token-exposed",
            path=str(path),
            fix=f"run `chmod 600 {path}`, and replace the token if somebody may have seen it",
        )

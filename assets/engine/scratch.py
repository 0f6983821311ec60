"""Scratch: working files and folders of one process, and what sweeps those of processes that are gone.

A name ends in `.<machine>.<process>.<number>`, so that the folders of living processes and of other machines on a shared file
system are left alone. Light.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

_PATTERN = re.compile(r".*\.([0-9a-f]{8})\.(\d+)\.(\d+)\Z", re.DOTALL)
_count = itertools.count(1)


def scratch_path(base: Path, lead: str) -> Path:
    """A path in `base` (made when missing) that nobody else uses; nothing is made at it."""
    from resources.storage.leftovers import machine

    base.mkdir(parents=True, exist_ok=True)
    return base / f"{lead}.{machine()}.{os.getpid()}.{next(_count)}"


def sweep(base: Path, needed: Callable[[str], bool]) -> None:
    """Remove what processes of this machine that are gone have left in `base`, but for names that are still `needed`."""
    try:
        names = os.listdir(base)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not names:
        return
    import shutil

    from resources.storage.leftovers import is_alive, machine

    for name in names:
        matched = _PATTERN.match(name)
        if matched is None or matched[1] != machine() or is_alive(int(matched[2])) or needed(name):
            continue
        path = base / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

"""Scratch: working files and folders of one process, what sweeps those of processes that are gone, and how many copies of what
lies under a URL are kept on this machine.

A name ends in `.<machine>.<process>.<number>`, so that the folders of living processes and of other machines on a shared file
system are left alone. Light.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_PATTERN = re.compile(r".*\.([0-9a-f]{8})\.(\d+)\.(\d+)\Z", re.DOTALL)
_count = itertools.count(1)

COPIES_SIZE: Final = 4 << 30
"""Bytes of copies in one folder; past them, those unused for longest go."""
COPIES_AGE: Final = 7 * 24 * 3600.0
"""Seconds after which an unused copy goes."""
_IN_USE: Final = 3600.0
"""Seconds for which a copy counts as open in another process."""


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


def used_copy(copy: Path) -> None:
    """Note that a copy (a file or folder of verified objects) is used now."""
    with suppress(OSError):
        os.utime(copy)


def trim_copies(base: Path) -> None:
    """Remove from `base` the copies, and halves that killed commands left, that nobody has used for a week, and those unused for
    longest past the cap. Everything here can be fetched again; what was used within the last hour stays."""
    import shutil

    now = time.time()
    held: list[tuple[float, Path, int]] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(base):
            with suppress(FileNotFoundError):
                held.append((entry.stat(follow_symlinks=False).st_mtime, Path(entry.path), _size(Path(entry.path))))
    total = sum(size for _, _, size in held)
    for used, path, size in sorted(held):
        if now - used < _IN_USE or (now - used < COPIES_AGE and total <= COPIES_SIZE):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        total -= size


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())

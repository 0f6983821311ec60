"""Writing thousands of small files: each one atomically and durably, but not as a set, with two flushes for all of them.

`Storage.commit` makes a set of files change together; it stages, records and moves each. Where every file means something on
its own (the sidecars of an `add`), the set is not needed, and what remains is the floor of a durable write: create, write,
rename, and one flush of the file system before and after the renames. Light: standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from resources.storage.base import ABSENT, Change
from resources.storage.durable import sync_file_system
from resources.storage.folders import Folder, split_path
from resources.storage.leftovers import temporary_name
from resources.storage.staging import discard
from schemas.errors import Conflict
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.storage.local import LocalStorage

_BATCH = 10_000
"""Files that are staged before they get their names: bounds what a kill leaves to sweep."""


def write_many(storage: LocalStorage, changes: Sequence[Change]) -> list[str]:
    """Write new bytes to many paths (deletions are not taken); returns the paths whose `expect` did not hold, sorted.

    Those are left alone; all others are durable when it returns. Killed in between, each file is old or new. Raises
    HeadwaterError (rules `path-…`) before anything is written.
    """
    ordered = []
    for change in changes:
        if change.data is None:
            raise ValueError("write_many deletes nothing")
        check_path(change.path, portable=False)
        above, _, name = change.path.rpartition("/")
        ordered.append((above, name, change))
    ordered.sort(key=lambda entry: entry[:2])
    conflicts: list[str] = []
    for start in range(0, len(ordered), _BATCH):
        conflicts += _batch(storage, ordered[start : start + _BATCH])
    return sorted(conflicts)


_Named = tuple[str, str, Change]
"""(folder, name, change)."""
_Staged = tuple[str, list[tuple[str, str, Change]]]
"""A folder, and (temporary name, name, change) of what is staged in it."""


def _parts(above: str) -> tuple[str, ...]:
    return split_path(above, root_allowed=True)


def _batch(storage: LocalStorage, entries: Sequence[_Named]) -> list[str]:
    staged: list[_Staged] = []
    try:
        for above, group in groupby(entries, itemgetter(0)):
            names: list[tuple[str, str, Change]] = []
            staged.append((above, names))
            with storage.folder(_parts(above), create=True) as folder:
                for _, name, change in group:
                    names.append((_stage(storage, folder, name, change), name, change))
        sync_file_system(storage.root, (storage.root / above / temporary for above, names in staged for temporary, _, _ in names))
        with storage.guard():
            conflicts = [path for above, names in staged for path in _name(storage, above, names)]
    except BaseException:
        for above, names in staged:
            with suppress(OSError), storage.folder(_parts(above)) as folder:
                for temporary, _, _ in names:
                    discard(folder, temporary)
        raise
    sync_file_system(storage.root, (storage.root / above for above, _ in staged))
    return conflicts


def _stage(storage: LocalStorage, folder: Folder, name: str, change: Change) -> str:
    assert change.data is not None
    temporary = temporary_name(name)
    fd = folder.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if os.write(fd, change.data) != len(change.data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), change.path)
        if storage.sharing is not None:
            storage.sharing.give(fd, storage.sharing.mode)
    except BaseException:
        discard(folder, temporary)
        raise
    finally:
        os.close(fd)
    return temporary


def _name(storage: LocalStorage, above: str, names: list[tuple[str, str, Change]]) -> list[str]:
    """Give the staged files of one folder their names; returns the paths whose expectation does not hold."""
    conflicts = []
    with storage.folder(_parts(above)) as folder:
        present = {entry.name for entry in folder.entries()}
        for temporary, name, change in names:
            try:
                if change.expect is ABSENT and name in present:
                    raise Conflict("it exists already", path=change.path)
                if isinstance(change.expect, str):
                    storage.check(change.path, change.expect)
            except Conflict:
                conflicts.append(change.path)
                discard(folder, temporary)
                continue
            folder.settle(temporary, name)
    return conflicts

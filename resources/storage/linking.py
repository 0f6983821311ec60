"""Objects that become files without being copied: by sharing blocks, or as a second name of the object.

What a file system can do is found out by asking it. The bytes are verified, in the one read that this costs, before the file has
its name. A second name is only ever made of a file that nobody may write to: what is written through it would change the object.
Light: standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from resources.storage.base import Expect
from resources.storage.durable import sync_file, try_clone
from resources.storage.folders import Folder, split_path
from resources.storage.incoming import keep_mode
from resources.storage.leftovers import temporary_name
from resources.storage.staging import discard, read_regular

if TYPE_CHECKING:
    from resources.storage.local import LocalStorage

_WRITABLE: Final = 0o222


class Link(StrEnum):
    """How a file comes out of a store."""

    COPY = "copy"
    REFLINK = "reflink"
    HARDLINK = "hardlink"


def place_linked(
    storage: LocalStorage,
    path: str,
    source: LocalStorage,
    source_path: str,
    kind: Link,
    verify: Callable[[int], None],
    *,
    expect: Expect = None,
) -> bool:
    """Make the file at `path` a clone of another storage's file, or a second name of it; False where that cannot be.

    `verify` looks at the bytes behind a descriptor and raises when they are wrong; nothing appears then, and neither when
    `expect` (as in `Storage.write`) does not hold in the end. Raises Conflict, OSError, and what `verify` raises.
    """
    if expect is not None:
        storage.check(path, expect)
    parts = split_path(path)
    *above, source_name = split_path(source_path)
    with source.folder(tuple(above)) as there:
        fd = read_regular(there, source_name, source_path)
    try:
        with storage.folder(parts[:-1], create=True) as folder:
            temporary = temporary_name(parts[-1])
            made = _hard(folder, temporary, source.root / source_path, fd) if kind is Link.HARDLINK else None
            second_name = made is not None
            if made is None:
                made = _cloned(folder, temporary, parts[-1], fd)
            if made is None:
                return False
            try:
                try:
                    verify(made)
                    if not second_name:
                        sync_file(made)
                finally:
                    os.close(made)
                with storage.guard(expect):
                    if expect is not None:
                        storage.check(path, expect)
                    folder.rename(temporary, folder, parts[-1])
            except BaseException:
                discard(folder, temporary)
                raise
            folder.sync()
    finally:
        os.close(fd)
    return True


def _hard(folder: Folder, temporary: str, source: os.PathLike[str], fd: int) -> int | None:
    """Link the file that `fd` holds and open it; None where it may not be linked, or somebody may write to it."""
    status = os.fstat(fd)
    if stat.S_IMODE(status.st_mode) & _WRITABLE:
        return None
    try:
        folder.link_from(os.fspath(source), temporary)
    except OSError:  # another file system, one without links, no right to, or too many links
        return None
    made = folder.open(temporary, os.O_RDONLY)
    if not os.path.samestat(os.fstat(made), status):
        os.close(made)
        discard(folder, temporary)
        return None
    return made


def _cloned(folder: Folder, temporary: str, name: str, fd: int) -> int | None:
    made = folder.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    if not try_clone(fd, made):
        os.close(made)
        discard(folder, temporary)
        return None
    keep_mode(folder, name, made)
    return made

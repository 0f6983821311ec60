"""Large files on their way in or out of a local storage: read once, hashed while they are copied, visible only when whole.

`Storage.add` and `Storage.write` want to know the oid, or have the bytes, beforehand; here neither is needed. The hash is
computed beside the copy, in a second thread, so that a gigabyte costs what copying it costs. Light: standard library only.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resources.storage.base import Expect
from resources.storage.durable import sync_file
from resources.storage.folders import Folder, split_path
from resources.storage.leftovers import temporary_name
from resources.storage.staging import discard
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.storage.local import LocalStorage

BLOCK: Final = 1 << 20
_AHEAD: Final = 8
"""Blocks the hash may lag behind: what bounds the memory."""
_OBJECT_MODE: Final = 0o444


class ChangedMeanwhile(HeadwaterError):
    """The source was written to while it was read."""


def add_hashed(
    storage: LocalStorage, source: Path, folder: str, path_of: Callable[[str], str], made: Any, algorithm: str
) -> tuple[str, int]:
    """Keep a copy of the local file under the path that `path_of` gives to its oid; returns the oid and the length in bytes.

    `made` is a new hash object of `algorithm`, `folder` one on the same file system as the final path. What lies there already
    with that length is left alone. Raises ChangedMeanwhile, OSError.
    """
    parts = split_path(folder, root_allowed=True)
    with storage.folder(parts, create=True) as above:
        temporary = temporary_name("incoming")
        fd = above.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                size = copy_hashed(source, fd, made)
                oid = f"{algorithm}:{made.hexdigest()}"
                path = path_of(oid)
                present = storage.stat(path)
                if present is not None and present.size == size:
                    discard(above, temporary)
                    return oid, size
                if storage.sharing is not None:
                    storage.sharing.give(fd, storage.sharing.object_mode or _OBJECT_MODE)
                elif hasattr(os, "fchmod"):
                    os.fchmod(fd, _OBJECT_MODE)
                sync_file(fd)
            finally:
                os.close(fd)
            with storage.folder(split_path(path)[:-1], create=True) as target:
                above.rename(temporary, target, split_path(path)[-1])
                target.sync()
        except BaseException:
            discard(above, temporary)
            raise
    return oid, size


def copy_hashed(source: Path, target: int, made: Any) -> int:
    """Copy a file into the empty open file `target` while `made` hashes the same bytes; returns their number.

    Raises ChangedMeanwhile when the source was written to on the way.
    """
    fd = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        before = os.fstat(fd)
        size = write_hashed(_blocks(fd), target, made)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if size != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise ChangedMeanwhile(
            "the file was written to while it was read",
            rule="dvs-file-changing",
            path=str(source),
            fix="wait until nothing writes to it, then try again",
        )
    return size


def _blocks(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, BLOCK):
        yield block


def write_hashed(blocks: Iterable[bytes], target: int, made: Any) -> int:
    """Write blocks to an open file while a second thread hashes them; returns the number of bytes."""
    waiting: queue.Queue[bytes | None] = queue.Queue(_AHEAD)

    def work() -> None:
        while (block := waiting.get()) is not None:
            made.update(block)

    hashing: threading.Thread | None = None
    first: bytes | None = None
    size = 0
    try:
        for block in blocks:
            if first is None:
                first = block
                made.update(block)  # a small file is not worth a thread
            else:
                if hashing is None:
                    hashing = threading.Thread(target=work, daemon=True)
                    hashing.start()
                waiting.put(block)
            size += len(block)
            view = memoryview(block)
            while view:
                view = view[os.write(target, view) :]
    finally:
        if hashing is not None:
            waiting.put(None)
            hashing.join()
    return size


def place(storage: LocalStorage, path: str, blocks: Iterable[bytes], *, expect: Expect = None) -> int:
    """Write a file from blocks that verify themselves (the last raises when they were wrong), atomically and durably.

    Nothing appears at `path` when the blocks raise, or when `expect` (as in `Storage.write`) does not hold in the end. Returns
    the number of bytes. Raises Conflict, OSError, and what the blocks raise.
    """
    parts = split_path(path)
    if expect is not None:
        storage.check(path, expect)
    with storage.folder(parts[:-1], create=True) as folder:
        temporary = temporary_name(parts[-1])
        fd = folder.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                size = 0
                for block in blocks:
                    size += len(block)
                    view = memoryview(block)
                    while view:
                        view = view[os.write(fd, view) :]
                keep_mode(folder, parts[-1], fd)
                sync_file(fd)
            finally:
                os.close(fd)
            with storage.guard(expect):
                if expect is not None:
                    storage.check(path, expect)
                folder.rename(temporary, folder, parts[-1])
        except BaseException:
            discard(folder, temporary)
            raise
        folder.sync()
    return size


def keep_mode(folder: Folder, name: str, fd: int) -> None:
    """What replaces a file has its mode, such as its execute bits; what replaces a second name of an object does not: that was
    read-only for the object's sake."""
    try:
        status = folder.stat(name)
    except FileNotFoundError:
        return
    if status.st_nlink > 1 and not status.st_mode & 0o222:
        return
    if hasattr(os, "fchmod"):
        os.fchmod(fd, status.st_mode & 0o7777)

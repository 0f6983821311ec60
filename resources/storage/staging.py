"""Bytes on their way to a name: temporary files that are complete, flushed and have the right owner before anyone sees them.

When and under which lock they get their name is `resources.storage.local`'s business. Light: standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from resources.storage.durable import copy_contents, sync_file, write_all
from resources.storage.folders import Folder
from resources.storage.leftovers import temporary_name
from resources.storage.problems import not_regular, oid_mismatch, symlink_error
from resources.storage.sharing import Sharing
from schemas.oid import fd_oid, parse_oid


def read_regular(folder: Folder, name: str, path: str, flags: int = os.O_RDONLY) -> int:
    """Open without blocking and look at what was opened, so that a pipe or device cannot hang us."""
    try:
        fd = folder.open(name, flags)
    except IsADirectoryError as error:
        raise not_regular(path) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe without a reader, a socket
            raise not_regular(path) from error
        error.filename = path
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise not_regular(path)
    return fd


def exists(folder: Folder, name: str) -> bool:
    try:
        folder.stat(name)
    except FileNotFoundError:
        return False
    return True


def stage(
    folder: Folder,
    name: str,
    path: str,
    source: bytes | Path,
    *,
    mode: int | None = None,
    oid: str | None = None,
    sync: bool = True,
    take: bool = False,
    sharing: Sharing | None = None,
) -> str:
    """Put `source` under a temporary name in `folder`, complete and flushed; returns that name.

    The mode is `mode`, else that of the file it will replace, else that of the source file, else what the umask gives.
    `sharing` decides about mode and group instead. `take` moves a scratch file in instead of copying it where both lie on one
    file system. With `oid`, other bytes raise HeadwaterError (`oid-mismatch`).
    """
    old = _replaceable(folder, name, path) or (source.stat() if isinstance(source, Path) else None)
    temporary = temporary_name(name)
    try:
        taken = take and isinstance(source, Path) and _take(folder, source, temporary)
        if taken:
            fd = folder.open(temporary, os.O_RDONLY)
        else:
            fd = folder.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if isinstance(source, bytes):
                write_all(fd, source, path)
            elif not taken:
                _copy_in(source, fd, path)
            if oid is not None and fd_oid(fd, parse_oid(oid)[0]) != oid:
                raise oid_mismatch(path, oid)
            if sharing is not None and mode is None:
                sharing.give(fd, sharing.mode)
            elif sharing is not None:
                sharing.give(fd, sharing.object_mode or mode)
            else:
                _set_owner(fd, mode, old)
            if sync:
                sync_file(fd)
        finally:
            os.close(fd)
    except BaseException:
        discard(folder, temporary)
        raise
    return temporary


def _set_owner(fd: int, mode: int | None, old: os.stat_result | None) -> None:
    """Group and mode, while nobody else can see the file; a group we may not give stays what the folder gives."""
    if not hasattr(os, "fchmod"):
        return
    if old is not None and old.st_gid != os.fstat(fd).st_gid:
        with suppress(OSError):
            os.fchown(fd, -1, old.st_gid)
    if mode is not None:
        os.fchmod(fd, mode)
    elif old is not None:
        os.fchmod(fd, stat.S_IMODE(old.st_mode))


def link_into_place(folder: Folder, temporary: str, name: str) -> None:
    """Give the file its name unless one is there already; where there are no hard links, rename it there."""
    try:
        folder.link(temporary, name)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        folder.rename(temporary, folder, name)
        return
    folder.unlink(temporary)


def discard(folder: Folder, temporary: str) -> None:
    with suppress(OSError):
        folder.unlink(temporary)


def _replaceable(folder: Folder, name: str, path: str) -> os.stat_result | None:
    try:
        status = folder.stat(name)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise symlink_error(path)
    if not stat.S_ISREG(status.st_mode):
        raise not_regular(path)
    return status


def _take(folder: Folder, source: Path, temporary: str) -> bool:
    try:
        folder.take(str(source), temporary)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy_in(source: Path, target: int, path: str) -> None:
    fd = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        copy_contents(fd, target, path)
    finally:
        os.close(fd)

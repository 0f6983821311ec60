"""System calls that move bytes and make them durable: complete writes, flushes, copies that share blocks where they can.

No names and no paths are decided here. Light: standard library only; ctypes is loaded for the first batch flush.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_FICLONE = 0x40049409
"""Linux's ioctl that makes one file share another's blocks (linux/fs.h)."""
_BLOCK = 1 << 20


def write_all(fd: int, data: bytes, path: str) -> None:
    """Write every byte and check the length; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    _check_length(fd, len(data), path)


def sync_file(fd: int) -> None:
    """Flush a file to the medium; raises OSError, after which the file must be abandoned."""
    with suppress(ImportError):
        import fcntl

        full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync stops at the drive's own cache
        if full is not None:
            with suppress(OSError):
                fcntl.fcntl(fd, full)
                return
    os.fsync(fd)


def sync_file_system(root: Path, files: Iterable[Path]) -> None:
    """Flush many files at once: one `syncfs` where there is one, else a flush for each."""
    try:
        import ctypes

        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, AttributeError, OSError):
        for path in files:
            fd = os.open(path, os.O_RDONLY)
            try:
                sync_file(fd)
            finally:
                os.close(fd)
        return
    fd = os.open(root, os.O_RDONLY)
    try:
        if syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(root))
    finally:
        os.close(fd)


def copy_contents(source: int, target: int, path: str) -> None:
    """Copy an open file into an empty one, sharing blocks where the file system can; checks the length.

    Raises OSError, also when the source's length changed on the way.
    """
    size = os.fstat(source).st_size
    if not try_clone(source, target) and not _copy_range(source, target, size):
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        while block := os.read(source, _BLOCK):
            view = memoryview(block)
            while view:
                view = view[os.write(target, view) :]
    _check_length(target, size, path)


def can_clone(probe: Path) -> bool:
    """Whether files beside `probe` (a path where nothing lies) can share their blocks."""
    other = probe.with_name(probe.name + "-2")
    try:
        with probe.open("w+b") as source, other.open("w+b") as target:
            source.write(b"x" * 4096)
            source.flush()
            return try_clone(source.fileno(), target.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


def try_clone(source: int, target: int) -> bool:
    """Let an open empty file share the blocks of another; False where the file system cannot."""
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True


def _copy_range(source: int, target: int, size: int) -> bool:
    """Let the kernel copy; False when it would not even start, so that the caller copies by hand."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < size:
        try:
            copied = os.copy_file_range(source, target, size - done)
        except OSError as error:
            if done == 0 and error.errno in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM):
                return False
            raise
        if copied == 0:
            return done > 0
        done += copied
    return True


def _check_length(fd: int, wanted: int, path: str) -> None:
    size = os.fstat(fd).st_size
    if size != wanted:
        raise OSError(errno.EIO, f"wrote {size} of {wanted} bytes", path)

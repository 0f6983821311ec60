"""Folders opened one component at a time: the calls through which local files are reached without following a symbolic link.

`FdFolder` walks by directory descriptor (`openat` and its relatives with O_NOFOLLOW), so a link that is swapped in between a
check and its use leads nowhere. `PathFolder` is the fallback for systems without them: it checks each component with
`lstat` first, which leaves that race open. What is stored where, and in which order it is made durable, is not decided here.
Light: standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Protocol

from resources.storage.problems import symlink_error
from resources.storage.sharing import Sharing
from schemas.paths import check_path

_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)

USES_DESCRIPTORS = bool(_NOFOLLOW) and {os.open, os.stat, os.mkdir, os.unlink, os.rename} <= os.supports_dir_fd


@lru_cache(maxsize=4096)
def split_path(path: str, *, root_allowed: bool = False) -> tuple[str, ...]:
    """The components of a storage path; '' (the root) gives none where `root_allowed`.

    Raises HeadwaterError (rules `path-…`) for what could leave the root. Whether a name is portable is not asked here: what
    lies on the disk must be readable, and what we create is checked where it gets its name.
    """
    if not path and root_allowed:
        return ()
    return tuple(check_path(path, portable=False).split("/"))


class Folder(Protocol):
    """One open folder; names are single components. `where` is the storage path, for messages."""

    where: str

    def child(self, name: str, *, create: bool = False, sharing: Sharing | None = None) -> Folder: ...
    def open(self, name: str, flags: int, mode: int = 0o666) -> int: ...
    def stat(self, name: str) -> os.stat_result: ...
    def entries(self) -> list[os.DirEntry[str]]: ...
    def rename(self, name: str, target: Folder, target_name: str) -> None: ...
    def settle(self, name: str, final: str) -> None: ...
    def take(self, source: str, name: str) -> None: ...
    def link(self, name: str, target_name: str) -> None: ...
    def link_from(self, source: str, name: str) -> None: ...
    def unlink(self, name: str) -> None: ...
    def rmdir(self, name: str) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Folder: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class _Base(ABC):
    where: str

    @abstractmethod
    def close(self) -> None:
        """Give the descriptor back, where there is one."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _below(self, name: str) -> str:
        return f"{self.where}/{name}" if self.where else name


class FdFolder(_Base):
    """A folder held by its descriptor."""

    __slots__ = ("fd", "where")

    def __init__(self, fd: int, where: str) -> None:
        self.fd = fd
        self.where = where

    def __enter__(self) -> FdFolder:
        return self

    def close(self) -> None:
        os.close(self.fd)

    def child(self, name: str, *, create: bool = False, sharing: Sharing | None = None) -> FdFolder:
        """Open a sub-folder; with `create` a missing one is made, as `sharing` says, and its entry made durable."""
        flags = os.O_RDONLY | _DIRECTORY | _NOFOLLOW | _CLOEXEC
        try:
            return FdFolder(os.open(name, flags, dir_fd=self.fd), self._below(name))
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and stat.S_ISLNK(self.stat(name).st_mode):
                raise symlink_error(self._below(name)) from error
            raise
        with suppress(FileExistsError):
            if sharing is None:
                os.mkdir(name, dir_fd=self.fd)
            else:
                self._make_shared(name, sharing)
            self.sync()
        return self.child(name)

    def _make_shared(self, name: str, sharing: Sharing) -> None:
        """A new folder that has its mode and group when it gets its name."""
        from resources.storage.leftovers import temporary_name

        temporary = temporary_name(name)
        os.mkdir(temporary, 0o700, dir_fd=self.fd)
        try:
            made = os.open(temporary, os.O_RDONLY | _DIRECTORY | _NOFOLLOW | _CLOEXEC, dir_fd=self.fd)
            try:
                sharing.give(made, sharing.folder_mode)
            finally:
                os.close(made)
            os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException as error:
            with suppress(OSError):
                os.rmdir(temporary, dir_fd=self.fd)
            # Somebody else made it meanwhile: renaming onto a folder that is not empty fails so.
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            raise

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        try:
            return os.open(name, flags | _NOFOLLOW | _CLOEXEC | _NONBLOCK, mode, dir_fd=self.fd)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise symlink_error(self._below(name)) from error
            raise

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.fd) as found:
            return list(found)

    def rename(self, name: str, target: Folder, target_name: str) -> None:
        assert isinstance(target, FdFolder)
        os.rename(name, target_name, src_dir_fd=self.fd, dst_dir_fd=target.fd)
        # Renaming one hard link of a file onto another succeeds and does nothing (POSIX): the first name would stay behind.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def settle(self, name: str, final: str) -> None:
        """Rename a file that was made here and has no other name, so that none can stay behind."""
        os.rename(name, final, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def take(self, source: str, name: str) -> None:
        """Rename the file at the absolute path `source` to `name` here."""
        os.rename(source, name, dst_dir_fd=self.fd)

    def link(self, name: str, target_name: str) -> None:
        os.link(name, target_name, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)

    def link_from(self, source: str, name: str) -> None:
        """Give the file at the absolute path `source` a second name here."""
        os.link(source, name, dst_dir_fd=self.fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self.fd)

    def rmdir(self, name: str) -> None:
        os.rmdir(name, dir_fd=self.fd)

    def sync(self) -> None:
        sync_folder(self.fd)


class PathFolder(_Base):
    """A folder held by its path, for systems whose calls take no directory descriptor."""

    __slots__ = ("path", "where")

    def __init__(self, path: str, where: str) -> None:
        self.path = path
        self.where = where

    def __enter__(self) -> PathFolder:
        return self

    def close(self) -> None:
        """Nothing is held."""

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def child(self, name: str, *, create: bool = False, sharing: Sharing | None = None) -> PathFolder:
        """As `FdFolder.child`; systems without descriptors have no modes to share by."""
        try:
            mode = self.stat(name).st_mode
        except FileNotFoundError:
            if not create:
                raise
            Path(self._at(name)).mkdir(exist_ok=True)
            self.sync()
            mode = self.stat(name).st_mode
        if stat.S_ISLNK(mode):
            raise symlink_error(self._below(name))
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._below(name))
        return PathFolder(self._at(name), self._below(name))

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(self.stat(name).st_mode):
                raise symlink_error(self._below(name))
        return os.open(self._at(name), flags | _BINARY | _CLOEXEC | _NONBLOCK, mode)

    def stat(self, name: str) -> os.stat_result:
        return os.lstat(self._at(name))

    def entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.path) as found:
            return list(found)

    def rename(self, name: str, target: Folder, target_name: str) -> None:
        assert isinstance(target, PathFolder)
        Path(self._at(name)).replace(target._at(target_name))
        Path(self._at(name)).unlink(missing_ok=True)  # as in FdFolder

    def settle(self, name: str, final: str) -> None:
        Path(self._at(name)).replace(self._at(final))

    def take(self, source: str, name: str) -> None:
        Path(source).replace(self._at(name))

    def link(self, name: str, target_name: str) -> None:
        os.link(self._at(name), self._at(target_name))

    def link_from(self, source: str, name: str) -> None:
        """As `FdFolder.link_from`."""
        os.link(source, self._at(name), follow_symlinks=False)

    def unlink(self, name: str) -> None:
        Path(self._at(name)).unlink()

    def rmdir(self, name: str) -> None:
        Path(self._at(name)).rmdir()

    def sync(self) -> None:
        if os.name == "posix":
            fd = os.open(self.path, os.O_RDONLY)
            try:
                sync_folder(fd)
            finally:
                os.close(fd)


def open_root(path: Path) -> Folder:
    """The root folder itself; a link on the way to it is the user's own choice and is followed."""
    if USES_DESCRIPTORS:
        return FdFolder(os.open(path, os.O_RDONLY | _DIRECTORY | _CLOEXEC), "")
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return PathFolder(str(path), "")


@contextmanager
def open_folder(root: Path, parts: tuple[str, ...], *, create: bool = False, sharing: Sharing | None = None) -> Iterator[Folder]:
    """The folder at `parts` below `root`, closed on leaving.

    Raises FileNotFoundError, NotADirectoryError, or HeadwaterError (rule `path-symlink`).
    """
    folder = open_root(root)
    try:
        for part in parts:
            below = folder.child(part, create=create, sharing=sharing)
            folder.close()
            folder = below
        yield folder
    finally:
        folder.close()


def sync_folder(fd: int) -> None:
    """Flush a folder's entries. File systems that know no such thing say EINVAL or ENOTSUP, which is not a failure."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise

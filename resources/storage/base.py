"""What every storage can do, whatever is behind it: the interface the engine and the store classes are written against.

Paths are relative to the storage's root, NFC as given, `/` separated, never empty, absolute, or with `.`/`..` parts; each
call checks them. No implementation lives here. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol


@dataclass(frozen=True, slots=True)
class FileStat:
    """One regular file: size in bytes; local files carry mtime_ns, ctime_ns and inode, object stores an ETag in `version`.

    `signature` is what must stay the same for a cached digest to be believed.
    """

    path: str
    size: int
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    version: str | None = None

    @property
    def signature(self) -> tuple[int, int, int, int, str | None]:
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode, self.version)


NEVER_ENTERED: Final = frozenset({".git", ".headwater"})
"""Folders no scan descends into; a scan that starts inside one reads it."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""`expect=ABSENT`: the write succeeds only where no file lies yet."""

Expect = str | _Absent | None
"""What must be at the path for a write to happen: an oid of the present bytes, ABSENT, or None for no condition."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file of a batch: its new bytes (None deletes it), and what must be there now."""

    path: str
    data: bytes | None
    expect: Expect = None


class Storage(Protocol):
    """Bytes under one root, local or on an object store. Every write is atomic per file: readers see old or new.

    Errors: `Conflict` when `expect` does not hold; `HeadwaterError` with rule `path-…` for a path that is not safe or that
    leaves the root through a symbolic link; FileNotFoundError for a missing file; OSError for the rest.
    """

    url: str
    """The root as a URL without credentials (`file:///…`, `s3://bucket/prefix`)."""
    local_root: Path | None
    """The root folder when the files are local, else None."""

    def scan(self, folder: str = "", *, enter: Callable[[str], bool] | None = None) -> Iterator[FileStat]:
        """Every regular file below `folder` ('' for the root), sorted by path, symbolic links and special files left out.

        `enter(folder_path)` decides whether a folder is descended into.
        """
        ...

    def stat(self, path: str) -> FileStat | None:
        """The file's stat, or None when no regular file lies there."""
        ...

    def modified(self, path: str) -> int | None:
        """When the file was last written, in nanoseconds since 1970 by the store's own clock; None when it is gone."""
        ...

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """The whole file; raises HeadwaterError (rule `file-too-large`) past `limit` bytes."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file for streaming reads."""
        ...

    def write(self, path: str, data: bytes, *, expect: Expect = None) -> FileStat:
        """Replace or create the file atomically and durably; missing folders are made."""
        ...

    def write_many(self, changes: list[Change]) -> list[str]:
        """Write many files, each atomically but not as a set; all are durable when it returns. Deletes nothing.

        Returns the paths whose `expect` did not hold, sorted: those are left alone.
        """
        ...

    def commit(self, changes: list[Change], *, label: str) -> None:
        """All the changes or none: completed by the next `recover` when the process dies in between."""
        ...

    def recover(self) -> list[str]:
        """Complete or undo every commit that was cut short; returns one line per commit for the user."""
        ...

    def sweep(self, *, enter: Callable[[str], bool] | None = None) -> None:
        """Remove what killed processes left half-written in the folders `enter` allows; one look at the names there.

        A scan does so for the local folders it comes by; this is for what nothing scans.
        """
        ...

    def publish(self, scratch: Path, path: str) -> FileStat:
        """Move a finished local scratch file (or folder, file by file) to `path` atomically and durably."""
        ...

    def add(self, path: str, source: bytes | Path, *, oid: str) -> bool:
        """Put immutable bytes (mode 0444 where there are modes) where none lie yet; `source` itself is left alone.

        Returns False when a file of the same length lies there already. Raises HeadwaterError (rule `oid-mismatch`) when
        the bytes are not those of `oid`; nothing is written then.
        """
        ...

    def digest(self, path: str) -> str:
        """The blake3 oid of the file's bytes, always read in full."""
        ...

    def append(self, path: str, line: bytes) -> None:
        """Append one complete line (ending in LF) in a single write, durably; local storages only."""
        ...

    def delete(self, path: str, *, expect: Expect = None) -> None:
        """Remove a file; no error when it is already gone and nothing was expected."""
        ...

    def move(self, path: str, target: str) -> bool:
        """Give a file another name, durably, its bytes and times as they are where there are renames; what lies at `target` is
        replaced. Returns False when there is no file at `path` any more."""
        ...

    def lock(self, name: str, *, timeout: float = 30.0) -> AbstractContextManager[None]:
        """A polite exclusive lock named `name`; freed by the operating system when its holder dies."""
        ...

    def fetch(self, path: str, target: Path) -> None:
        """Copy the file's bytes to a local path (reflink where the file system can)."""
        ...

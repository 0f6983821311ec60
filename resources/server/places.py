"""Folders of a storage that stay open between requests: an upload costs a third of the system calls so.

The root is looked at before each use, so that nothing is written into a tree that is not at its path any more. A caller who meets
FileNotFoundError calls `forget` and tries again: somebody removed a folder below it. Light: standard library only.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from resources.storage.folders import USES_DESCRIPTORS, FdFolder, Folder
from resources.storage.local import LocalStorage

_OPEN: Final = 300
"""Folders that stay open; a process commonly may open 1,024 files."""


class Places:
    """Opened folders of a storage. Threads may share it."""

    def __init__(self, storage: LocalStorage) -> None:
        self.storage = storage
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, ...], tuple[Folder, list[int]]] = OrderedDict()
        """Path -> the folder, and how many use it now (in a list, so that it can change)."""
        self._root: tuple[int, int] | None = None

    @contextmanager
    def folder(self, parts: tuple[str, ...]) -> Iterator[Folder]:
        """The folder at `parts` below the root, made where it is missing. Raises as `LocalStorage.folder`."""
        if not USES_DESCRIPTORS:
            with self.storage.folder(parts, create=True) as folder:
                yield folder
            return
        held = self._take(parts)
        try:
            yield held[0]
        finally:
            with self._lock:
                held[1][0] -= 1
                if held[1][0] < 0:
                    held[0].close()

    def _take(self, parts: tuple[str, ...]) -> tuple[Folder, list[int]]:
        root = self._identity()
        with self._lock:  # no system call happens under it: threads would queue up behind one that sleeps
            if root != self._root:
                self._let_go()
                self._root = root
            held = self._held.get(parts)
            if held is not None:
                held[1][0] += 1
                return held
        with self.storage.folder(parts, create=True) as folder:
            assert isinstance(folder, FdFolder)
            made = FdFolder(os.dup(folder.fd), folder.where)
        with self._lock:
            self._drop(parts)
            held = (made, [1])
            self._held[parts] = held
            while len(self._held) > _OPEN:
                self._drop(next(iter(self._held)))
            return held

    def forget(self) -> None:
        """Open every folder again when it is next used: one of them is not there any more."""
        with self._lock:
            self._let_go()

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.storage.root.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _drop(self, parts: tuple[str, ...]) -> None:
        """Forget a folder; it is closed when nobody uses it any more."""
        held = self._held.pop(parts, None)
        if held is not None:
            held[1][0] -= 1
            if held[1][0] < 0:
                held[0].close()

    def _let_go(self) -> None:
        for parts in list(self._held):
            self._drop(parts)

    def close(self) -> None:
        """Close every folder."""
        with self._lock:
            self._let_go()

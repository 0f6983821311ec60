"""Acknowledged is durable: what a power cut would take is tracked call by call, as if the file system never flushed by itself.

Killing a process loses nothing the kernel has, so a missing flush survives every kill test. Here each change of a file's bytes
or of a folder's entries counts as lost until the file or folder itself is flushed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.storage import durable
from resources.storage.base import ABSENT, Change
from resources.storage.local import LocalStorage
from schemas.oid import bytes_oid

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of descriptors are read from /proc")


def _opened(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


class Medium:
    """What would be lost now: files whose bytes, folders whose entries are not flushed; and what went wrong on the way."""

    def __init__(self, root: Path, records: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.records = root, records
        self.files: set[int] = set()
        self.folders: set[Path] = set()
        self.wrong: list[str] = []
        for name in ("open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "copy_file_range"):
            patch.setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))
        flush_all = durable.sync_file_system

        def sync_file_system(where: Path, files: Any) -> None:
            flush_all(where, files)
            self.files.clear()
            self.folders.clear()

        patch.setattr("resources.storage.local.sync_file_system", sync_file_system)

    def lost(self) -> list[str]:
        """What is not durable below the root and among the records."""
        kept = [folder for folder in self.folders if folder.is_relative_to(self.root) or folder == self.records]
        return sorted(map(str, kept)) + [f"inode {inode}" for inode in self.files]

    def unflushed(self, files: list[Path]) -> None:
        """Take files as just written by somebody who flushes nothing."""
        self.files.update(path.stat().st_ino for path in files)

    @staticmethod
    def _path(name: Any, dir_fd: int | None) -> Path:
        return Path(name) if dir_fd is None else _opened(dir_fd) / Path(name)

    def _open(self, real: Any) -> Any:
        def call(name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            path = self._path(name, dir_fd)
            made = flags & os.O_CREAT and not os.path.lexists(path)
            fd: int = real(name, flags, mode, dir_fd=dir_fd)
            if made:
                self.folders.add(path.parent)
            return fd

        return call

    def _write(self, real: Any) -> Any:
        def call(fd: int, data: bytes) -> int:
            self.files.add(os.fstat(fd).st_ino)
            done: int = real(fd, data)
            return done

        return call

    def _copy_file_range(self, real: Any) -> Any:
        def call(source: int, target: int, *rest: Any) -> int:
            self.files.add(os.fstat(target).st_ino)
            done: int = real(source, target, *rest)
            return done

        return call

    def _fsync(self, real: Any) -> Any:
        def call(fd: int) -> None:
            real(fd)
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                self.folders.discard(_opened(fd))
            else:
                self.files.discard(status.st_ino)

        return call

    def _moved(self, real: Any) -> Any:
        def call(source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, **more: Any) -> None:
            old, new = self._path(source, src_dir_fd), self._path(target, dst_dir_fd)
            if new.suffix != ".hwtmp":
                if old.lstat().st_ino in self.files:
                    self.wrong.append(f"{new} got its name before its bytes were flushed")
                if self.records in self.folders and new.parent != self.records:
                    self.wrong.append(f"{new} was replaced before the record of the set was durable")
            real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)
            self.folders.add(new.parent)

        return call

    _rename = _replace = _link = _moved

    def _unlink(self, real: Any) -> Any:
        def call(name: Any, *, dir_fd: int | None = None) -> None:
            path = self._path(name, dir_fd)
            real(name, dir_fd=dir_fd)
            if path.suffix != ".hwtmp":
                self.folders.add(path.parent)

        return call

    def _mkdir(self, real: Any) -> Any:
        def call(name: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            real(name, mode, dir_fd=dir_fd)
            self.folders.add(self._path(name, dir_fd).parent)

        return call


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with some files."""
    storage = LocalStorage(tmp_path / "root", state=tmp_path / "state")
    for path, data in {"a/f": b"old", "a/g": b"old", "h": b"old\n"}.items():
        storage.write(path, data)
    storage.commit([Change("r1", b"1"), Change("r2", b"1")], label="makes the folder of the records")
    return tmp_path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Files that nobody has flushed."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    for number in range(40):
        (folder / f"n{number}").write_bytes(b"new")
    return folder


OPERATIONS: dict[str, Callable[[LocalStorage, Path], object]] = {
    "write a new file": lambda storage, _: storage.write("new", b"new", expect=ABSENT),
    "write over a file": lambda storage, _: storage.write("a/f", b"new", expect=bytes_oid(b"old")),
    "write in new folders": lambda storage, _: storage.write("x/y/z", b"new"),
    "delete": lambda storage, _: storage.delete("a/f"),
    "append to a file": lambda storage, _: storage.append("h", b"line\n"),
    "append to a new file": lambda storage, _: storage.append("log/h", b"line\n"),
    "add": lambda storage, _: storage.add("objects/x", b"new", oid=bytes_oid(b"new")),
    "add a file": lambda storage, scratch: storage.add("objects/x", scratch / "n0", oid=bytes_oid(b"new")),
    "commit": lambda storage, _: storage.commit(
        [Change("a/f", b"new", bytes_oid(b"old")), Change("b/n", b"new", ABSENT), Change("h", None)], label="edit"
    ),
    "commit many": lambda storage, _: storage.commit([Change(f"many/{n}", b"new") for n in range(40)], label="edit"),
    "publish a file": lambda storage, scratch: storage.publish(scratch / "n0", "a/f"),
    "publish a folder": lambda storage, scratch: storage.publish(scratch, "a"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_acknowledged_is_lost_in_a_power_cut(operation: str, place: Path, scratch: Path) -> None:
    storage = LocalStorage(place / "root", state=place / "state")
    with pytest.MonkeyPatch.context() as patch:
        medium = Medium(place / "root", storage.intents, patch)
        medium.unflushed(list(scratch.iterdir()) if operation == "publish a folder" else [scratch / "n0"])
        if "publish" not in operation:
            medium.files.clear()
        OPERATIONS[operation](storage, scratch)
        assert medium.wrong == []
        assert medium.lost() == []


def test_the_medium_loses_what_nobody_flushes(place: Path) -> None:
    """The model itself: an ordinary write-and-rename loses its bytes and its name."""
    root = place / "root"
    with pytest.MonkeyPatch.context() as patch:
        medium = Medium(root, place / "state", patch)
        fd = os.open(root / "tmp", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"new")
        os.close(fd)
        (root / "tmp").rename(root / "h")
        assert medium.wrong == [f"{root / 'h'} got its name before its bytes were flushed"]
        assert medium.lost()[0] == str(root)

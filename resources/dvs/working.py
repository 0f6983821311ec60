"""The working tree: which files are tracked, what their sidecars say, and what their bytes are now.

Every folder is listed and every sidecar and tracked file looked at; only what the index cannot vouch for is read. Files that are
not tracked are named, never read. Nothing is written but the index. Links are not followed. Light: standard library and blake3.
"""

from __future__ import annotations

import gc
import json
import os
import stat as modes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from resources.dvs.index import NOTHING, Folder, Signature, WorkingIndex, pack, packed, signature_of
from schemas.dvs import sidecar as sidecars
from schemas.dvs.oids import oid_of_stream
from schemas.dvs.sidecar import JSON_SUFFIX, TOML_SUFFIX
from schemas.errors import HeadwaterError, InvalidText
from schemas.oid import fd_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

_KIND: Final = 0o170000
_SAVE_FROM: Final = 16 << 20
"""Characters of new rows that are held before they are kept in the index."""
NEVER_ENTERED: Final = frozenset(
    {".git", ".hg", ".svn", ".dvc", ".headwater", "headwater-rescue", "node_modules", "__pycache__", ".venv"}
)


class WorkFile(NamedTuple):
    """One tracked file as it lies there.

    `recorded` and `size` are what its sidecar says (`problem` says why it cannot be read, then both are None); `actual` is the
    oid of the bytes that lie there, None where there is no regular file. `sidecar` is the sidecar's path in the repository.
    """

    path: str
    sidecar: str
    recorded: str | None
    size: int | None
    actual: str | None
    actual_size: int | None
    problem: str | None = None

    @property
    def same(self) -> bool:
        """Whether the bytes that lie there are those the sidecar records."""
        return self.recorded is not None and self.actual == self.recorded


@dataclass(slots=True)
class WorkingTree:
    """What was found: tracked files sorted by path, the other files, and how many had to be read."""

    files: list[WorkFile] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    hashed: int = 0


def scan(
    repo: DvsRepo, *, below: str = "", enter: Callable[[str], bool] | None = None, progress: Callable[[str], None] | None = None
) -> WorkingTree:
    """Look at the working tree of a local repository, or at one folder of it.

    `enter(folder)` decides which folders are looked into, besides those that never are; `progress` is told each file that is
    read. Raises HeadwaterError (rule `dvs-needs-local`) where the repository is not a local folder.
    """
    root = repo.folder
    if root is None:
        raise HeadwaterError(
            "the working tree is not on this machine", rule="dvs-needs-local", fix="clone the repository and run it there"
        )
    with uncollected():
        return _Scan(repo, root, enter, progress).run(below)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of circular garbage: rows make none, and looking at a million of them costs seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Scan:
    def __init__(
        self, repo: DvsRepo, root: Path, enter: Callable[[str], bool] | None, progress: Callable[[str], None] | None
    ) -> None:
        self.repo = repo
        self.root = root
        self.enter = enter
        self.progress = progress
        self.mirror = repo.config.metadata_folder
        self.index = WorkingIndex(repo.local / "working.db")
        self.known = self.index.opened()
        self.made = WorkingTree()

    def run(self, below: str) -> WorkingTree:
        fresh: list[Folder] = []
        unsaved = 0
        seen: set[str] = set()
        for where, entries in self._walk(below):
            seen.add(where)
            folder = self._folder(where, entries)
            if folder is not None:
                fresh.append(folder)
                unsaved += len(folder.rows)
                if unsaved > _SAVE_FROM:
                    # A first look at a million files would hold all their rows twice.
                    self.index.save(fresh, [])
                    fresh, unsaved = [], 0
        for where in self._mirrored(below):
            if where not in seen:
                seen.add(where)
                folder = self._folder(where, [])
                if folder is not None:
                    fresh.append(folder)
        inside = f"{below}/" if below else ""
        gone = [path for path in self.known.paths if path not in seen and (path == below or path.startswith(inside))]
        self.known.close()
        self.index.save(fresh, [] if self.enter is not None else gone)
        self.made.files.sort(key=lambda file: file.path)
        self.made.untracked.sort()
        return self.made

    def _walk(self, below: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
        """(folder, its entries but for folders, in any order), each folder before those in it."""
        stack = [below]
        while stack:
            where = stack.pop()
            files = []
            try:
                with os.scandir(self.root / where if where else self.root) as found:
                    for entry in found:
                        if not entry.is_dir(follow_symlinks=False):
                            files.append(entry)
                            continue
                        folder = f"{where}/{entry.name}" if where else entry.name
                        if self._entered(folder, entry.name):
                            stack.append(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            yield where, files

    def _mirrored(self, below: str) -> Iterator[str]:
        """The folders whose sidecars the mirror tree holds: in a fresh clone the folders themselves are not there yet."""
        stack = [below] if self.mirror is not None else []
        while stack:
            where = stack.pop()
            held = False
            try:
                with os.scandir(self.root / str(self.mirror) / where) as found:
                    for entry in found:
                        if entry.is_dir(follow_symlinks=False):
                            folder = f"{where}/{entry.name}" if where else entry.name
                            if self._entered(folder, entry.name):
                                stack.append(folder)
                        else:
                            held = held or sidecars.data_path(entry.name) is not None
            except (FileNotFoundError, NotADirectoryError):
                continue
            if held:
                yield where

    def _entered(self, folder: str, name: str) -> bool:
        if name in NEVER_ENTERED or folder == ".dvs":
            return False
        return self.enter is None or self.enter(folder)

    def _folder(self, where: str, entries: list[os.DirEntry[str]]) -> Folder | None:
        """Take one folder in; returns its new row, None when the old one still holds."""
        named = {entry.name: entry for entry in entries}
        tracked = self._tracked(where, named)
        for name in named:
            if name not in tracked and sidecars.data_path(name) not in tracked:
                self.made.untracked.append(f"{where}/{name}" if where else name)
        if not tracked:
            return None if where not in self.known else Folder(where, b"", b"", 0, "[]")
        names: list[str] = []
        signatures: list[Signature] = []
        now = time.time_ns()
        for name in sorted(tracked):
            names += [name, tracked[name]]
            signatures += [_signature(named.get(name)), self._sidecar_signature(tracked[name], named)]
        numbers, joined = packed(signatures), pack(names)
        old = self.known.get(where)
        if old is not None and old.still(joined, numbers):
            rows = old.values()
            self._take(where, rows)
            return None
        rows = self._look(where, sorted(tracked), tracked, signatures, old)
        self._take(where, rows)
        return Folder(where, joined, numbers.tobytes(), now, json.dumps(rows))

    def _tracked(self, where: str, named: dict[str, os.DirEntry[str]]) -> dict[str, str]:
        """Data name -> path of its sidecar, for the folder; the TOML one where both are there."""
        found: dict[str, str] = {}
        if self.mirror is None:
            prefix = f"{where}/" if where else ""
            for name in named:
                if name.endswith((JSON_SUFFIX, TOML_SUFFIX)):
                    data = sidecars.data_path(name)
                    if data is not None and not (name.endswith(JSON_SUFFIX) and data + TOML_SUFFIX in named):
                        found[data] = prefix + name
            return found
        mirrored = f"{self.mirror}/{where}" if where else self.mirror
        try:
            with os.scandir(self.root / mirrored) as entries:
                for entry in entries:
                    data = sidecars.data_path(entry.name)
                    if data is not None and entry.is_file(follow_symlinks=False):
                        found[data] = f"{mirrored}/{entry.name}"
        except (FileNotFoundError, NotADirectoryError):
            pass
        return found

    def _sidecar_signature(self, path: str, named: dict[str, os.DirEntry[str]]) -> Signature:
        entry = named.get(path.rpartition("/")[2]) if self.mirror is None else None
        if entry is not None:
            return _signature(entry)
        try:
            return signature_of(os.lstat(self.root / path))
        except OSError:
            return NOTHING

    def _take(self, where: str, rows: list[Any]) -> None:
        prefix = f"{where}/" if where else ""
        self.made.files += [
            # One text for both oids of an unchanged file: there may be a million.
            WorkFile(prefix + name, side, recorded, size, recorded if actual == recorded else actual, actual_size, problem)
            for name, side, recorded, size, actual, actual_size, problem in rows
        ]

    def _look(
        self, where: str, names: list[str], tracked: dict[str, str], signatures: list[Signature], old: Folder | None
    ) -> list[Any]:
        """The rows of a folder that changed: what the old row vouches for is taken from it, the rest is read."""
        vouched = old.vouches() if old is not None else {}
        before = old.values() if old is not None else []
        prefix = f"{where}/" if where else ""
        rows = []
        for position, name in enumerate(names):
            path, data, side = tracked[name], signatures[2 * position], signatures[2 * position + 1]
            kept = vouched.get((path, side))
            if kept is not None:
                recorded, size, problem = before[kept // 2][2], before[kept // 2][3], before[kept // 2][6]
            else:
                recorded, size, problem = self._read_sidecar(path)
            algorithm = recorded.partition(":")[0] if recorded is not None else self.repo.config.hash_algo
            actual, actual_size = None, None
            if data != NOTHING:
                kept = vouched.get((name, data))
                if kept is not None and str(before[kept // 2][4]).startswith(f"{algorithm}:"):
                    actual, actual_size = before[kept // 2][4], before[kept // 2][5]
                else:
                    self.made.hashed += 1
                    if self.progress is not None:
                        self.progress(prefix + name)
                    actual, actual_size = self._hash(prefix + name, algorithm)
            rows.append([name, path, recorded, size, actual, actual_size, problem])
        return rows

    def _read_sidecar(self, path: str) -> tuple[str | None, int | None, str | None]:
        try:
            data = self.repo.storage.read(self.repo.path(path), limit=sidecars.LIMITS.size)
            held = sidecars.read_sidecar(data, self.repo.path(path))
        except FileNotFoundError:
            return None, None, "the sidecar vanished while it was read"
        except (InvalidText, HeadwaterError) as error:
            return None, None, error.message
        except OSError as error:
            return None, None, f"the sidecar cannot be read: {error.strerror}"
        return held.oid, held.size, None

    def _hash(self, path: str, algorithm: str) -> tuple[str | None, int | None]:
        """The oid and length of a working file; (None, None) when it is gone or cannot be read."""
        try:
            with self.repo.storage.open(self.repo.path(path)) as file:
                if algorithm == "blake3":
                    return fd_oid(file.fileno()), os.fstat(file.fileno()).st_size
                return oid_of_stream(file, algorithm)
        except (OSError, HeadwaterError):
            return None, None


def _signature(entry: os.DirEntry[str] | None) -> Signature:
    """The signature of a regular file; NOTHING for anything else."""
    if entry is None:
        return NOTHING
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return NOTHING
    return signature_of(status) if status.st_mode & _KIND == modes.S_IFREG else NOTHING

"""Files under a URL: every write is one object, conditional on the version that was read.

An object store has no set of files that changes at once. Outputs therefore go under immutable names with one pointer written
last (the engine's business); `commit` of several authoritative files stages the new bytes, writes an intent object, then
swaps each file on its version, and rolls back when one of them was changed meanwhile: a reader may see some of the files
new and others old, but no update is lost and no set stays half done. Locks are polite and of this machine only.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from resources.config import cache_folder
from resources.locks import DEFAULT_TIMEOUT, file_lock
from resources.storage.backends import Backend, Lost, MemoryBackend, S3Backend
from resources.storage.base import ABSENT, NEVER_ENTERED, Change, Expect, FileStat
from resources.storage.folders import split_path
from resources.storage.leftovers import is_alive, machine
from resources.storage.problems import conflict, not_regular, oid_mismatch, too_large
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid, file_oid, parse_oid

_INTENTS = ".headwater/intents"
_FORMAT = 1
_STRANGER_AGE = 600.0
"""Seconds after which the intent of another machine counts as abandoned."""
_STAGED_AGE = 24 * 3600.0
"""Seconds after which another machine has certainly stopped to stage the bytes of a commit."""


class FsspecStorage:
    """Storage at `s3://bucket/prefix` or `memory://name`; `state` is a local folder for its locks."""

    def __init__(self, url: str, *, state: Path | None = None) -> None:
        parts = urlsplit(url)
        prefix = unquote(parts.path).strip("/")
        self.url = f"{parts.scheme}://{parts.netloc}" + (f"/{prefix}" if prefix else "")
        self.local_root: Path | None = None
        if prefix:
            split_path(prefix)
        self.backend: Backend
        if parts.scheme == "s3":
            self.backend = S3Backend(parts.netloc, prefix, kept=cache_folder() / "remotes")
        else:
            self.backend = MemoryBackend(f"{parts.netloc}/{prefix}")
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:24]
        self.locks = (state or cache_folder() / "remotes" / digest) / "locks"

    def __repr__(self) -> str:
        return f"FsspecStorage({self.url!r})"

    # reading

    def scan(self, folder: str = "", *, enter: Callable[[str], bool] | None = None) -> Iterator[FileStat]:
        split_path(folder, root_allowed=True)
        prefix = f"{folder}/" if folder else ""
        files, folders = self.backend.children(prefix)
        found = [FileStat(key, size, version=version) for key, size, version in files]
        verdicts: dict[str, bool] = {folder: True}

        def entered(where: str) -> bool:
            if where not in verdicts:
                above, _, name = where.rpartition("/")
                verdicts[where] = entered(above) and name not in NEVER_ENTERED and (enter is None or enter(where))
            return verdicts[where]

        for name in folders:
            if entered(prefix + name):
                for key, size, version in self.backend.below(f"{prefix}{name}/"):
                    if entered(key.rpartition("/")[0]):
                        found.append(FileStat(key, size, version=version))
        found.sort(key=lambda stat: stat.path)
        yield from found

    def stat(self, path: str) -> FileStat | None:
        found = self.backend.head(_key(path))
        return None if found is None else FileStat(path, found[0], version=found[1])

    def modified(self, path: str) -> int | None:
        return self.backend.modified(_key(path))

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        data, _size, _version = self.backend.get(_key(path), limit)
        if data is None:
            assert limit is not None
            raise too_large(path, limit)
        return data

    def open(self, path: str) -> BinaryIO:
        return self.backend.open(_key(path))

    def digest(self, path: str) -> str:
        hasher = blake3()
        self.backend.fetch(_key(path), hasher.update)
        return "blake3:" + hasher.hexdigest()

    def fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as file:
                self.backend.fetch(_key(path), file.write)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    # writing

    def write(self, path: str, data: bytes, *, expect: Expect = None) -> FileStat:
        match = self._version(path, expect) if isinstance(expect, str) else None
        try:
            version = self.backend.put(_key(path), data, match=match, absent=expect is ABSENT)
        except Lost:
            raise conflict(path) from None
        return FileStat(path, len(data), version=version)

    def delete(self, path: str, *, expect: Expect = None) -> None:
        if expect is ABSENT:
            if self.stat(path) is not None:
                raise conflict(path)
            return
        try:
            self.backend.delete(_key(path), match=self._version(path, expect) if isinstance(expect, str) else None)
        except Lost:
            raise conflict(path) from None

    def add(self, path: str, source: bytes | Path, *, oid: str) -> bool:
        """As the protocol says. A local file is hashed before and after the upload: an edit in between deletes the object."""
        algorithm, _digits = parse_oid(oid)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        present = self.stat(path)
        if present is not None and present.size == size:
            return False
        if _source_oid(source, algorithm) != oid:
            raise oid_mismatch(path, oid)
        absent = present is None
        try:
            if isinstance(source, bytes):
                self.backend.put(_key(path), source, absent=absent)
            else:
                self.backend.put_file(_key(path), source, absent=absent)
        except Lost:
            return False  # somebody else put the same object
        if isinstance(source, Path) and _source_oid(source, algorithm) != oid:
            self.backend.delete(_key(path))
            raise oid_mismatch(path, oid)
        return True

    def move(self, path: str, target: str) -> bool:
        """As the protocol says, in two steps: killed in between, the object is there under both names."""
        try:
            self.backend.copy(_key(path), _key(target))
        except FileNotFoundError:
            return False
        self.backend.delete(_key(path))
        return True

    def publish(self, scratch: Path, path: str) -> FileStat:
        """As the protocol says, file by file; a folder is not one step (see the module)."""
        split_path(path)
        if not scratch.is_dir():
            self.backend.put_file(_key(path), scratch)
            scratch.unlink()
            found = self.stat(path)
            if found is None:
                raise OSError(f"{path}: the upload is not there")
            return found
        wanted: set[str] = set()
        size = 0
        for member in sorted(scratch.rglob("*")):
            if member.is_symlink() or not (member.is_file() or member.is_dir()):
                raise not_regular(f"{path}/{member.relative_to(scratch).as_posix()}")
            if member.is_file():
                below = f"{path}/{member.relative_to(scratch).as_posix()}"
                wanted.add(below)
                size += member.stat().st_size
                self.backend.put_file(_key(below), member)
                member.unlink()
        for found in list(self.scan(path)):
            if found.path not in wanted:
                self.backend.delete(found.path)
        return FileStat(path, size)

    def append(self, path: str, line: bytes) -> None:
        raise HeadwaterError(
            "an object store cannot append to a file",
            rule="storage-append",
            path=path,
            fix="work on a local checkout of the workspace",
        )

    def write_many(self, changes: list[Change]) -> list[str]:
        conflicts = []
        for change in changes:
            if change.data is None:
                raise ValueError("write_many deletes nothing")
            _key(change.path)
        for change in sorted(changes, key=lambda change: change.path):
            assert change.data is not None
            try:
                self.write(change.path, change.data, expect=change.expect)
            except Conflict:
                conflicts.append(change.path)
        return conflicts

    def commit(self, changes: list[Change], *, label: str) -> None:
        """As the protocol says, with the limits the module names. Raises Conflict with nothing changed."""
        if len({change.path for change in changes}) != len(changes):
            raise ValueError("one path twice in a commit")
        if len(changes) == 1:
            change = changes[0]
            if change.data is None:
                self.delete(change.path, expect=change.expect)
            else:
                self.write(change.path, change.data, expect=change.expect)
        if len(changes) < 2:
            return
        steps = [self._prepare(change) for change in changes]
        name = self._stage(steps, label)
        done: list[_Step] = []
        try:
            for step in steps:
                step.apply(self.backend)
                done.append(step)
        except Lost:
            for step in reversed(done):
                step.undo(self.backend)
            self._forget(name)
            raise conflict(steps[len(done)].path) from None
        self._forget(name)

    def recover(self) -> list[str]:
        lines: list[str] = []
        for key, _size, _version in sorted(self.backend.below(f"{_INTENTS}/")):
            if not key.endswith("/intent.json"):
                continue
            record = _record(self.backend, key)
            if record is None or not _abandoned(record):
                continue
            lines.append(f"completed: {record['label']}")
            for index, (path, before, deletes) in enumerate(record["steps"]):
                step = self._prepare(Change(path, None if deletes else self.read(f"{key.rpartition('/')[0]}/{index}")))
                if step.before_oid == before:
                    with suppress(Lost):
                        step.apply(self.backend)
                elif step.before_oid != step.after_oid:
                    lines.append(f"{path}: was changed since, and is left as it is")
            self._forget(key.rpartition("/")[0])
        return lines

    def sweep(self, *, enter: Callable[[str], bool] | None = None) -> None:
        """As the protocol says, whatever `enter` is: an object appears whole or not at all, but a commit killed while its
        bytes were being staged leaves them without an intent."""
        staged: dict[str, list[str]] = {}
        for key, _size, _version in self.backend.below(f"{_INTENTS}/"):
            staged.setdefault(key.rpartition("/")[0], []).append(key)
        for name, keys in staged.items():
            if f"{name}/intent.json" not in keys and _never_finished(name):
                for key in keys:
                    self.backend.delete(key)

    def lock(self, name: str, *, timeout: float = DEFAULT_TIMEOUT) -> AbstractContextManager[None]:
        return file_lock(self.locks, name, timeout=timeout)

    def _version(self, path: str, expect: str) -> str:
        """The version of the present bytes when they are those of `expect`, else Conflict."""
        try:
            data, _size, version = self.backend.get(_key(path))
        except FileNotFoundError:
            raise conflict(path) from None
        assert data is not None
        if _source_oid(data, parse_oid(expect)[0]) != expect:
            raise conflict(path)
        return version

    def _prepare(self, change: Change) -> _Step:
        try:
            before, _size, version = self.backend.get(_key(change.path))
        except FileNotFoundError:
            before, version = None, ""
        step = _Step(change.path, before, version, change.data)
        wanted = change.expect
        if (wanted is ABSENT and before is not None) or (isinstance(wanted, str) and wanted != step.before_oid):
            raise conflict(change.path)
        return step

    def _stage(self, steps: list[_Step], label: str) -> str:
        name = f"{_INTENTS}/{time.time_ns():020d}-{machine()}-{os.getpid()}"
        for index, step in enumerate(steps):
            if step.after is not None:
                self.backend.put(f"{name}/{index}", step.after)
        record = {
            "format": _FORMAT,
            "label": label,
            "machine": machine(),
            "pid": os.getpid(),
            "created": time.time(),
            "steps": [[step.path, step.before_oid, step.after is None] for step in steps],
        }
        self.backend.put(f"{name}/intent.json", json.dumps(record).encode())
        return name

    def _forget(self, name: str) -> None:
        self.backend.delete(f"{name}/intent.json")  # first: staged bytes without it mean nothing
        for key, _size, _version in list(self.backend.below(f"{name}/")):
            self.backend.delete(key)


class _Step:
    """One file of a commit: what was there, what will be."""

    def __init__(self, path: str, before: bytes | None, version: str, after: bytes | None) -> None:
        self.path = path
        self.before = before
        self.version = version
        self.after = after
        self.before_oid = None if before is None else bytes_oid(before)
        self.after_oid = None if after is None else bytes_oid(after)

    def apply(self, backend: Backend) -> None:
        if self.after is None:
            if self.before is not None:
                backend.delete(self.path, match=self.version)
        else:
            self.version = backend.put(
                self.path, self.after, match=self.version if self.before is not None else None, absent=self.before is None
            )

    def undo(self, backend: Backend) -> None:
        """Put back what was there, unless somebody has written since."""
        with suppress(Lost):
            if self.before is None:
                if self.after is not None:
                    backend.delete(self.path, match=self.version)
            elif self.after is None:
                backend.put(self.path, self.before, absent=True)
            else:
                backend.put(self.path, self.before, match=self.version)


def _key(path: str) -> str:
    split_path(path)
    return path


def _record(backend: Backend, key: str) -> dict[str, Any] | None:
    try:
        record = json.loads(backend.get(key)[0] or b"")
        return record if record["format"] == _FORMAT else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _abandoned(record: dict[str, Any]) -> bool:
    if record["machine"] == machine():
        return record["pid"] != os.getpid() and not is_alive(int(record["pid"]))
    return bool(time.time() - float(record["created"]) > _STRANGER_AGE)


def _never_finished(name: str) -> bool:
    """Whether the commit that staged its bytes under `name` (`<nanoseconds>-<machine>-<process>`) can no longer go on."""
    created, _, owner = name.rpartition("/")[2].partition("-")
    host, _, pid = owner.partition("-")
    if not (created.isdecimal() and pid.isdecimal()):
        return False
    if host == machine():
        return int(pid) != os.getpid() and not is_alive(int(pid))
    return time.time() - int(created) / 1e9 > _STAGED_AGE


def _source_oid(source: bytes | Path, algorithm: str) -> str:
    if isinstance(source, Path):
        return file_oid(source, algorithm)
    from schemas.dvs.oids import oid_of

    return bytes_oid(source) if algorithm == "blake3" else oid_of(source, algorithm)

"""Where builds are shared: a folder, a bucket or an object server, behind the few calls the build cache needs.

A remote is a convenience, never an authority: what it hands out is verified against its oid, and one that is away, slow or broken
costs a build and one sentence, never a failure. Light until it is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from resources.objects import ObjectStore
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

if TYPE_CHECKING:
    from resources.remotes.http import HttpRemote
    from resources.storage.base import Storage
    from resources.workspace import Workspace

PATIENCE: Final = 20.0
"""Seconds within which a remote must say whether it has a build."""
TRANSFER: Final = 60.0
SLOWEST: Final = 128 << 10
"""A transfer may take so many seconds, and one more for each so many bytes."""
_RECORD_LIMIT: Final = 16 << 20

T = TypeVar("T")


def entry_path(fingerprint: str) -> str:
    """Where the entry of a fingerprint lies in a storage."""
    digits = parse_oid(fingerprint)[1]
    return f"builds/{digits[:2]}/{digits[2:]}.json"


class CacheRemote(Protocol):
    """Entries by fingerprint and objects by oid, somewhere else. Raises OSError and HeadwaterError for what goes wrong there."""

    name: str
    """What provenance calls it: its URL without credentials, `a folder` for a path, which means nothing elsewhere."""

    def entry(self, fingerprint: str) -> bytes | None:
        """The entry as it was put, None where there is none."""
        ...

    def put_entry(self, fingerprint: str, data: bytes) -> None:
        """Keep an entry; its objects are there already."""
        ...

    def lacking(self, sizes: dict[str, int]) -> set[str]:
        """Those of the objects (oid -> bytes) that are not there."""
        ...

    def fetch(self, oid: str, target: Path, size: int) -> None:
        """Copy an object of `size` bytes to a new local file, verified. Raises FileNotFoundError where there is none such."""
        ...

    def put(self, oid: str, source: Path) -> None:
        """Keep a copy of a local file, verified."""
        ...


class StorageRemote:
    """A folder, mounted share or bucket."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.name = "a folder" if storage.local_root is not None else storage.url
        self._objects = ObjectStore(storage, "objects")

    def entry(self, fingerprint: str) -> bytes | None:
        try:
            return self.storage.read(entry_path(fingerprint), limit=_RECORD_LIMIT)
        except FileNotFoundError:
            return None

    def put_entry(self, fingerprint: str, data: bytes) -> None:
        self.storage.write(entry_path(fingerprint), data)

    def lacking(self, sizes: dict[str, int]) -> set[str]:
        return {oid for oid, size in sizes.items() if not self._objects.has(oid, size=size)}

    def fetch(self, oid: str, target: Path, size: int) -> None:
        if not self._objects.has(oid, size=size):
            raise FileNotFoundError(oid)
        self._objects.fetch(oid, target)

    def put(self, oid: str, source: Path) -> None:
        self._objects.put(source, oid=oid)


class ServerRemote:
    """An object server."""

    def __init__(self, server: HttpRemote) -> None:
        self.server = server
        self.name = server.url

    def entry(self, fingerprint: str) -> bytes | None:
        return self.server.action(fingerprint)

    def put_entry(self, fingerprint: str, data: bytes) -> None:
        self.server.put_action(fingerprint, data)

    def lacking(self, sizes: dict[str, int]) -> set[str]:
        return sizes.keys() - self.server.present(sizes)

    def fetch(self, oid: str, target: Path, size: int) -> None:
        self.server.download(oid, target, size)

    def put(self, oid: str, source: Path) -> None:
        self.server.upload(oid, source)


def open_remote(workspace: Workspace) -> CacheRemote | None:
    """The remote that `[cache] remote` or HEADWATER_REMOTE_CACHE names, None without one. Raises UsageError."""
    url = workspace.config.cache_remote
    if not url:
        return None
    if url.startswith(("http://", "https://")):
        from resources.remotes.credentials import token_for
        from resources.remotes.http import HttpRemote

        token = token_for(url, trusted=workspace.config.cache_remote_given)
        return ServerRemote(HttpRemote(url, workspace.local / "remote", token=token))
    from resources.storage import open_storage

    return StorageRemote(open_storage(url, state=workspace.local / "remote"))


class Away(OSError):
    """The remote did not answer in time."""


class Watched:
    """A remote that is asked as long as it answers: after the first failure it is left alone for the rest of the command, and one
    notice says so."""

    def __init__(self, open_: Callable[[], CacheRemote | None], notice: Callable[[str], None]) -> None:
        self._open = open_
        self.notice = notice
        self._remote: CacheRemote | None = None
        self._opened = False
        self.away = False

    def attempt(self, what: str, work: Callable[[CacheRemote], T], seconds: float) -> T | None:
        """The result of `work`, None where there is no remote, it is away, or it failed now."""
        if self.away:
            return None
        try:
            if not self._opened:
                self._remote, self._opened = self._open(), True
            remote = self._remote
            if remote is None:
                return None
            return within(seconds, lambda: work(remote))
        except (OSError, HeadwaterError) as error:
            self.away = True
            said = error.message if isinstance(error, HeadwaterError) else error.strerror or str(error)
            self.notice(f"the remote build cache is left out of this command: {what} failed: {said}")
            return None


def time_for(sizes: Iterable[int]) -> float:
    """Seconds that the transfer of objects of these sizes may take."""
    return TRANSFER + sum(sizes) / SLOWEST


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, or what it raised; raises Away when it takes longer. It goes on then, and nobody listens."""
    done: dict[str, Any] = {}

    def run() -> None:
        try:
            done["result"] = work()
        except BaseException as error:
            done["error"] = error

    thread = threading.Thread(target=run, name="remote build cache", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Away(f"no answer within {seconds:.0f} seconds")
    if "error" in done:
        raise done["error"]
    result: T = done["result"]
    return result

"""Polite exclusive locks between processes on one machine: kernel locks on small files, freed when their holder dies.

A lock only spares a second command its work; what keeps updates from being lost is the compare-and-swap of the storage.
Light: filelock is imported when the first lock is taken, which an unchanged `status` or `build` never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import HeadwaterError

DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for another command before giving up."""

_POLL = 0.005


class LockTimeout(HeadwaterError):
    """Another command held the lock for longer than we wait."""


def lock_file_name(name: str) -> str:
    """A portable file name for any lock name: readable start, then a digest that keeps different names apart."""
    import hashlib

    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.lock"


@contextmanager
def file_lock(folder: Path, name: str, *, timeout: float = DEFAULT_TIMEOUT) -> Iterator[None]:
    """Hold the lock `name` kept in `folder` (made with mode 0700 when missing).

    Raises LockTimeout (rule `lock-timeout`) after `timeout` seconds, OSError where no lock file can be made.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(folder / lock_file_name(name), timeout=timeout, poll_interval=_POLL)
    try:
        lock.acquire()
    except Timeout as error:
        raise LockTimeout(
            f"another command has been holding the lock {name!r} for {timeout:g} seconds",
            rule="lock-timeout",
            fix="wait for the other command to end and run this one again",
        ) from error
    try:
        yield
    finally:
        lock.release()

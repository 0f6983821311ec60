"""Leases: small files in a storage that say who is putting objects there, so that nobody collects them meanwhile.

A writer makes its lease before it puts the first object and ends it after the text that names them is durable. The collector
makes its own, exclusive one first and looks at the others then: whichever order the two come in, one of them sees the other.
A lease is no lock and needs none: it is a file with a unique name, good until it expires or its process has certainly ended;
long work renews it. Light: standard library only.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from resources.process import is_gone, process_mark
from resources.storage.base import Storage
from schemas.errors import HeadwaterError, Refused

FOLDER: Final = "leases"
LASTS: Final = 3600.0
"""Seconds a lease is good for after it was made or renewed."""
_RENEW_EVERY: Final = 600.0
_LIMIT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease: what it is for, whose, until when (seconds since 1970), and whether it keeps everybody else out."""

    path: str
    operation: str
    user: str
    process: str
    expires: float
    exclusive: bool = False

    def over(self, now: float) -> bool:
        """Whether it counts no more."""
        return now > self.expires or is_gone(self.process)


class StorageBusy(Refused):
    """Somebody holds a lease that does not go with the operation."""


def leases(storage: Storage) -> list[Lease]:
    """Every lease that can be read, sorted by path; one that cannot counts as held until an hour after it was written."""
    found = []
    for stat in storage.scan(FOLDER):
        if not stat.path.endswith(".json"):
            continue
        try:
            record = json.loads(storage.read(stat.path, limit=_LIMIT))
            found.append(
                Lease(
                    stat.path,
                    str(record["operation"]),
                    str(record["user"]),
                    str(record["process"]),
                    float(record["expires"]),
                    bool(record.get("exclusive", False)),
                )
            )
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, HeadwaterError):
            written = (storage.modified(stat.path) or 0) / 1e9
            found.append(Lease(stat.path, "unknown", "unknown", "", written + LASTS))
    return found


@contextmanager
def hold(storage: Storage, operation: str, user: str, *, exclusive: bool = False) -> Iterator[None]:
    """Hold a lease while the block runs. Raises StorageBusy (rule `dvs-storage-busy`) where another forbids it."""
    path = f"{FOLDER}/{uuid.uuid4().hex}.json"

    def write() -> None:
        record = {
            "operation": operation,
            "user": user,
            "process": process_mark(),
            "expires": time.time() + LASTS,
            "exclusive": exclusive,
        }
        storage.write(path, json.dumps(record).encode())

    write()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEW_EVERY):
            with suppress(OSError, HeadwaterError):
                write()

    renewing = threading.Thread(target=renew, daemon=True)
    try:
        _look(storage, path, exclusive)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.is_alive():
            renewing.join()
        with suppress(OSError, HeadwaterError):
            storage.delete(path)


def _look(storage: Storage, own: str, exclusive: bool) -> None:
    now = time.time()
    for other in leases(storage):
        if other.path == own:
            continue
        if other.over(now):
            with suppress(OSError, HeadwaterError):
                storage.delete(other.path)
        elif exclusive or other.exclusive:
            raise StorageBusy(
                f"{other.user} is running `{other.operation}` on the storage",
                rule="dvs-storage-busy",
                path=other.path,
                fix="wait until it has ended, then try again; a lease that was left behind ends an hour after its last renewal",
            )

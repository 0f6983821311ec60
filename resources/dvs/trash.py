"""The trash of a storage: what was collected, as it lay, until somebody takes it back or it is emptied.

Each collection is one folder `trash/<time>-<random>/` that has the layout of the storage itself, with a `plan.json` that says who
collected what and why. Nothing reads objects from there.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from resources.packed import PackedObjects
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.storage.base import Storage

FOLDER: Final = "trash"
PLAN: Final = "plan.json"
_NAME = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]{8}\Z")
_LIMIT: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Collected:
    """One collection in the trash: its name, how many objects and stored bytes it holds, by whom and why."""

    name: str
    objects: int
    bytes: int
    user: str = ""
    reason: str = ""

    @property
    def time(self) -> datetime:
        """When it was collected."""
        match = _NAME.match(self.name)
        assert match is not None
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "time": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "objects": self.objects,
            "bytes": self.bytes,
            "user": self.user,
            "reason": self.reason or None,
        }


def new_name() -> str:
    """The name of a collection made now."""
    return f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{uuid.uuid4().hex[:8]}"


def names(storage: Storage) -> list[str]:
    """The collections that are there, oldest first."""
    found = {stat.path.split("/")[1] for stat in storage.scan(FOLDER) if stat.path.count("/") > 1}
    return sorted(name for name in found if _NAME.match(name))


def objects_of(repo: DvsRepo, name: str) -> PackedObjects:
    """A collection as a store of objects; close it."""
    _check(repo, name)
    return PackedObjects(repo.objects.storage, repo.local / "scratch", f"{FOLDER}/{name}")


def _check(repo: DvsRepo, name: str) -> None:
    if not _NAME.match(name) or name not in names(repo.objects.storage):
        raise HeadwaterError(
            f"the trash holds no collection {name!r}", rule="dvs-not-found", fix="`headwater dvs trash list` names them"
        )


def collections(repo: DvsRepo) -> list[Collected]:
    """What the trash holds, oldest first."""
    made = []
    for name in names(repo.objects.storage):
        held = objects_of(repo, name)
        try:
            sizes = dict(held.list())
        finally:
            held.close()
        user, reason = "", ""
        with suppress(OSError, ValueError, KeyError, TypeError, HeadwaterError):
            record = json.loads(repo.objects.storage.read(f"{FOLDER}/{name}/{PLAN}", limit=_LIMIT))
            user, reason = str(record["user"]), str(record["reason"] or "")
        made.append(Collected(name, len(sizes), sum(sizes.values()), user, reason))
    return made


def restore(
    repo: DvsRepo,
    name: str | None = None,
    *,
    oids: Collection[str] | None = None,
    reason: str = "",
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """Bring objects back from the trash into the storage, each verified first: of one collection or of all, all of them or those
    of `oids` alone. Returns the oids that were brought back, sorted; what the storage holds already stays in the trash.

    Raises StorageBusy, HeadwaterError (rule `dvs-not-found`), RottenObject for an object that is damaged.
    """
    chosen = [name] if name is not None else names(repo.objects.storage)
    for one in chosen:
        _check(repo, one)
    with repo.lease("trash restore", exclusive=True):
        return restore_held(repo, chosen, oids, reason, progress)


def restore_held(
    repo: DvsRepo,
    chosen: Collection[str],
    oids: Collection[str] | None,
    reason: str,
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """`restore` for a caller who holds the exclusive lease."""
    store = repo.objects
    done: list[str] = []
    for name in chosen:
        held = objects_of(repo, name)
        try:
            wanted = {oid for oid, _ in held.list()} if oids is None else held.present(oids)
            wanted -= store.present(wanted)
            done += _bring_back(held, store, wanted, progress)
            if not any(True for _ in held.list()):
                store.storage.delete(f"{FOLDER}/{name}/{PLAN}")
        finally:
            held.close()
    if done:
        repo.audit("trash-restore", {f"trash/{oid}": oid for oid in done}, reason)
    return sorted(done)


def _bring_back(
    held: PackedObjects, store: PackedObjects, wanted: Collection[str], progress: Callable[[str], None] | None
) -> Iterator[str]:
    """Members of packs are written into a pack of the storage, files renamed; the packs in the trash stay until it is emptied."""
    small = []
    for oid in sorted(wanted):
        located = held.locate(oid)
        if located is None:
            continue
        if progress is not None:
            progress(oid)
        held.verify(oid)
        if located.member is not None:
            small.append(oid)
        elif store.storage.move(located.path, located.path[len(held.prefix) + 1 :]):
            yield oid
    if small:
        with store.batch() as batch:
            for oid in small:
                batch.put(held.get(oid), oid=oid)
        yield from small


def empty(repo: DvsRepo, *, older_than: float, keep: Collection[str] = (), reason: str = "") -> tuple[list[Collected], list[str]]:
    """Delete for good what was collected more than `older_than` seconds ago; returns the collections and the oids that are gone.

    Objects of `keep` (what is needed now) are brought back first. Raises StorageBusy, and what `restore` raises: then nothing is
    deleted.
    """
    with repo.lease("trash empty", exclusive=True):
        return empty_held(repo, older_than, keep, reason)


def empty_held(repo: DvsRepo, older_than: float, keep: Collection[str], reason: str) -> tuple[list[Collected], list[str]]:
    """`empty` for a caller who holds the exclusive lease."""
    storage = repo.objects.storage
    now = datetime.now(UTC)
    old = [one for one in collections(repo) if (now - one.time).total_seconds() >= older_than]
    restore_held(repo, [one.name for one in old], keep, reason or "needed again")
    gone: list[str] = []
    there = names(storage)
    for one in old:
        if one.name not in there:
            continue  # all of it was brought back
        held = objects_of(repo, one.name)
        try:
            oids = sorted({oid for oid, _ in held.list()})
        finally:
            held.close()
        # Said before it is done: a line about something that then is still there harms nobody.
        repo.audit("trash-empty", {f"trash/{one.name}/{oid}": oid for oid in oids}, reason)
        paths = [stat.path for stat in storage.scan(f"{FOLDER}/{one.name}")]
        # The plan last: while anything is left, it says what it was.
        for path in sorted(paths, key=lambda path: (path.endswith(f"/{PLAN}"), path)):
            storage.delete(path)
        gone += oids
    return old, gone


def path_in(name: str, path: str) -> str:
    """Where a file of the storage lies after it was collected."""
    return f"{FOLDER}/{name}/{path}"

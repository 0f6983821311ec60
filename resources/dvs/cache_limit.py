"""The size of a clone's cache: what was used least recently goes, and never what might be the only copy.

An object may go when the storage holds it, or a remote was proved to (`resources.remotes.ledger`). Objects that are files go one
by one; a pack goes as a whole, or is written anew without the members that may go: the new pack is durable before the old one is
deleted. Killed in between, the cache holds too much, never too little. When an object was used is the access time of its file,
which is set here: file systems that are mounted without access times keep it all the same.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resources.dvs.proofs import OK
from resources.dvs.scrub import proofs_of
from resources.remotes.ledger import Ledger
from resources.storage.local import LocalStorage

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects
    from resources.packs import Pack

Confirm = Callable[[str, set[str]], set[str]]
"""(URL of a remote, oids) -> those of them that it holds now."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """What went: number of objects and bytes; `left` are the bytes the cache takes now."""

    objects: int
    bytes: int
    left: int


@dataclass(slots=True)
class _Held:
    """A file of the cache: a pack, or one object (then `oid` names it)."""

    path: str
    size: int
    used: int
    oid: str | None = None
    pack: Pack | None = None
    oids: tuple[str, ...] = ()


def used(repo: DvsRepo, oids: Iterable[str]) -> None:
    """Note that these objects of the cache were used now."""
    folder = _folder(repo)
    if folder is None:
        return
    now = time.time_ns()
    paths = set()
    for oid in oids:
        located = repo.cache.locate(oid)
        if located is not None:
            paths.add(located.path)
    for path in paths:
        with suppress(OSError):
            # The modification time stays: it says when the object came.
            os.utime(folder / path, ns=(now, (folder / path).stat().st_mtime_ns))


def enforce(
    repo: DvsRepo,
    limit: int,
    *,
    keep: Iterable[str] = (),
    confirm: Confirm | None = None,
) -> Evicted:
    """Bring the cache down to `limit` bytes, as far as what it holds is safe elsewhere; objects of `keep` stay.

    What the storage does not hold is asked for once more, by `confirm`, where remotes were proved to hold it, before it goes.
    """
    folder = _folder(repo)
    held = [] if folder is None else _held(repo.cache, folder)
    size = sum(one.size for one in held)
    if size <= limit:
        return Evicted(0, 0, size)
    stay = set(keep)
    safe = _safe(repo, {oid for one in held for oid in one.oids} - stay, confirm)
    before = size
    gone = 0
    rewritten: list[_Held] = []
    for one in sorted(held, key=lambda one: (one.used, one.path)):
        if size <= limit:
            break
        going = safe.intersection(one.oids)
        if not going:
            continue
        if one.oid is not None or len(going) == len(one.oids):
            repo.cache.storage.delete(one.path)
            size -= one.size
            gone += len(one.oids)
        else:
            rewritten.append(one)
            size -= sum(member.stored for member in one.pack or () if member.oid in going)
    repo.cache.packs.packs(again=True)
    packs = [one.pack for one in rewritten if one.pack is not None]
    if packs:
        gone += repo.cache.rewrite(lambda oid: oid not in safe, packs)
    left = sum(one.size for one in _held(repo.cache, folder)) if folder is not None else 0
    return Evicted(gone, before - left, left)


def _folder(repo: DvsRepo) -> Path | None:
    """Where the cache lies on this machine; None where the clone is somewhere else."""
    return repo.cache.storage.root if isinstance(repo.cache.storage, LocalStorage) else None


def _held(cache: PackedObjects, folder: Path) -> list[_Held]:
    """What the cache holds. A file that is also a working file takes no space of its own, and is left out."""
    found = []
    packs = {pack.path: pack for pack in cache.packs.packs(again=True)}
    for path, pack in packs.items():
        with suppress(FileNotFoundError):
            status = (folder / path).stat()
            oids = tuple(member.oid for member in pack)
            found.append(_Held(path, status.st_size, status.st_atime_ns, None, pack, oids))
    for oid, _size in cache.files_only():
        located = cache.file_of(oid)
        if located is None:
            continue
        with suppress(FileNotFoundError):
            status = (folder / located.path).stat()
            if status.st_nlink == 1 and stat.S_ISREG(status.st_mode):
                found.append(_Held(located.path, status.st_size, status.st_atime_ns, oid, None, (oid,)))
    return found


def _safe(repo: DvsRepo, oids: set[str], confirm: Confirm | None) -> set[str]:
    """Those of the objects that are also somewhere else: in the storage, or where a remote was proved to hold them. A copy in the
    storage that was found damaged when it was last read is none."""
    readings, place = proofs_of(repo).readings(), str(repo.storage_url)
    damaged = {oid for oid in oids if any(one.place == place and one.result != OK for one in readings.get(oid, ()))}
    safe = repo.objects.present(oids) - damaged
    for url, proofs in Ledger(repo.local / "ledger.db").held().items():
        asked = (oids - safe) & proofs.keys()
        if asked:
            safe |= asked if confirm is None else confirm(url, asked)
    return safe

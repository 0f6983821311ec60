"""Repacking: small objects that lie as files are gathered into packs, small packs into larger ones, or packs taken apart again.

Every object is verified and durable in its new place before it leaves the old one; killed in between it lies in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from resources.packed import PACK_BYTES, SMALL
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import Located, PackedObjects

_AT_ONCE: Final = 20_000
"""Objects that change their place before the old places are freed."""
_FULL: Final = PACK_BYTES // 2
"""Packs of so many bytes are left as they are."""


@dataclass(slots=True)
class Repacked:
    """How many objects went into packs, how many became files, and how many packs are gone; `damaged` stay where they are."""

    packed: int = 0
    unpacked: int = 0
    packs_before: int = 0
    packs_after: int = 0
    damaged: tuple[HeadwaterError, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "packed": self.packed,
            "unpacked": self.unpacked,
            "packs_before": self.packs_before,
            "packs_after": self.packs_after,
            "damaged": [error.to_json() for error in self.damaged],
        }


def repack(repo: DvsRepo, layout: str | None = None, *, progress: Callable[[str], None] | None = None) -> Repacked:
    """Bring the storage into the layout `packed` or `loose`, that of the configuration when none is named.

    Raises StorageBusy while somebody else puts or collects objects.
    """
    with repo.lease("repack", exclusive=True):
        store = repo.objects
        made = Repacked(packs_before=len(store.packs.packs(again=True)))
        work = _unpack if (layout or repo.config.layout) == "loose" else _pack
        work(store, made, progress)
        made.packs_after = len(store.packs.packs(again=True))
        if made.packed or made.unpacked or made.packs_before != made.packs_after:
            moved = f"{made.packed} packed, {made.unpacked} unpacked, {made.packs_before} packs before, {made.packs_after} now"
            repo.audit("repack", {}, moved)
    return made


def _pack(store: PackedObjects, made: Repacked, progress: Callable[[str], None] | None) -> None:
    waiting = [oid for oid, size in store.files_only() if size < SMALL]
    for start in range(0, len(waiting), _AT_ONCE):
        part = [oid for oid in waiting[start : start + _AT_ONCE] if _whole_in_pack(store, oid, made)]
        moved = []
        with store.batch(packed=True) as batch:
            for oid in part:
                if progress is not None:
                    progress(oid)
                located = store.file_of(oid)
                if located is None:
                    continue
                try:
                    data = _if_small(store, located, oid)
                except HeadwaterError as error:
                    made.damaged += (error,)
                    continue
                if data is not None:
                    batch.put(data, oid=oid)
                    moved.append(oid)
        for oid in moved:
            store.delete(oid)
        made.packed += len(moved)
    small = [pack for pack in store.packs.packs(again=True) if pack.stored_bytes < _FULL]
    if len(small) > 1:
        try:
            store.rewrite(lambda _oid: True, small)
        except HeadwaterError as error:
            made.damaged += (error,)


def _if_small(store: PackedObjects, located: Located, oid: str) -> bytes | None:
    """The verified bytes of a small object, None for one that only its compression makes small."""
    data = bytearray()
    for block in store.blocks_at(located, oid):
        data += block
        if len(data) >= SMALL:
            return None
    return bytes(data)


def _whole_in_pack(store: PackedObjects, oid: str, made: Repacked) -> bool:
    """Whether an object's file may go once a pack holds it: one that a pack holds already must be whole there."""
    located = store.packs.find(oid)
    if located is None:
        return True
    try:
        for _ in store.blocks_at(located, oid):
            pass
    except HeadwaterError as error:
        made.damaged += (error,)
        return False
    return True


def _unpack(store: PackedObjects, made: Repacked, progress: Callable[[str], None] | None) -> None:
    for pack in store.packs.packs(again=True):
        whole = True
        with store.batch(packed=False) as batch:
            for member in pack:
                if progress is not None:
                    progress(member.oid)
                try:
                    _free_way(store, member.oid)
                    batch.put(store.get(member.oid), oid=member.oid)
                    made.unpacked += 1
                except HeadwaterError as error:
                    made.damaged += (error,)
                    whole = False
        if whole:
            store.storage.delete(pack.path)


def _free_way(store: PackedObjects, oid: str) -> None:
    """Remove a damaged file of an object that a pack holds, so that it does not pass for the object."""
    located = store.file_of(oid)
    if located is None:
        return
    try:
        for _ in store.blocks_at(located, oid):
            pass
    except HeadwaterError:
        store.storage.delete(located.path)

"""What `headwater cache` does: share, trim and check the build cache of one engine, addressed by selections of artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assets.engine.cache import GRACE, BuildCache, entries_in
from assets.engine.model import Ref
from assets.engine.standing import Observer
from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Entries, objects and bytes of the local build cache, its cap in bytes, and the remote it is shared through."""

    entries: int
    objects: int
    size: int
    max_size: int
    remote: str | None


class SharedCache:
    """The build cache as people use it."""

    def __init__(self, cache: BuildCache, observer: Observer, refs: Callable[[Sequence[str]], list[Ref]]) -> None:
        self._cache = cache
        self._observer = observer
        self._refs = refs

    def push(self, select: Sequence[str] = (), progress: Callable[[int, int], None] | None = None) -> int:
        """Copy builds to the remote that it lacks: all there are, or those of the selected artifacts as they were last built.

        Returns how many were copied. Raises UsageError (rule `cache-remote-missing`) when no remote is configured.
        """
        if not select:
            return self._cache.push(None, progress)
        records = [self._observer.records.read(ref) for ref in self._refs(select)]
        return self._cache.push([record.fingerprint for record in records if record is not None], progress)

    def pull(self, select: Sequence[str] = (), progress: Callable[[int, int], None] | None = None) -> int:
        """Copy the builds of the selected artifacts' present inputs from the remote; returns how many came.

        An artifact whose inputs are not up to date has no fingerprint yet: pull again after building those.
        """
        standings = [self._observer.standing(ref) for ref in self._refs(select)]
        wanted = [(one.fingerprint, one.node.recipe) for one in standings if one.fingerprint is not None]
        return self._cache.pull(wanted, progress)

    def gc(self, *, max_size: int | None = None, dry_run: bool = False, grace: float = GRACE) -> tuple[int, int]:
        """Trim to the cap and delete objects no entry names; returns (objects, bytes) deleted or, dry, to be deleted.

        Entries and objects younger than `grace` seconds stay: a builder in another process may be about to name them. 0 is
        for when there is none.

        Manifests of builds that are not the last any more, and what killed commands left half-written among our state, go as
        well and are not counted.
        """
        cache = self._cache
        cap = cache.workspace.config.cache_max_size if max_size is None else max_size
        before = dict(cache.objects.list())
        kept = cache.kept_within(cap, grace=grace)
        named = {output.oid for entry in entries_in(cache.storage) if entry.fingerprint in kept for output in entry.outputs}
        named |= cache.pinned()
        gone = [oid for oid in before if oid not in named and not (grace and cache.is_young(cache.objects.modified(oid), grace))]
        if not dry_run:
            cache.trim(cap, grace=grace)
            for oid in gone:
                cache.objects.delete(oid)
            self._observer.records.trim_manifests()
            cache.workspace.sweep()
        return len(gone), sum(before[oid] for oid in gone)

    def stats(self) -> CacheStats:
        """Counts and bytes of the local cache."""
        sizes = [size for _, size in self._cache.objects.list()]
        config = self._cache.workspace.config
        return CacheStats(
            sum(1 for _ in entries_in(self._cache.storage)), len(sizes), sum(sizes), config.cache_max_size, config.cache_remote
        )

    def verify(self) -> list[str]:
        """Re-hash every object; damaged ones are deleted with the entries that name them. Returns the damaged oids."""
        damaged = []
        for oid, _ in list(self._cache.objects.list()):
            try:
                self._cache.objects.verify(oid)
            except FileNotFoundError:
                continue
            except HeadwaterError:
                damaged.append(oid)
        if damaged:
            bad = set(damaged)
            for entry in list(entries_in(self._cache.storage)):
                if any(output.oid in bad for output in entry.outputs):
                    self._cache.forget(entry)
            for oid in damaged:
                self._cache.objects.delete(oid)
        return damaged

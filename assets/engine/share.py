"""What `headwater cache` does: the build cache of one engine, addressed by selections of artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assets.engine.cache import BuildCache, CacheStats
from assets.engine.model import Ref
from assets.engine.standing import Observer


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

    def gc(self, *, max_size: int | None = None, dry_run: bool = False) -> tuple[int, int]:
        """Trim to the cap and delete what no build names; (objects, bytes) deleted, or to be deleted."""
        return self._cache.gc(max_size=max_size, dry_run=dry_run)

    def stats(self) -> CacheStats:
        """How much the cache holds."""
        return self._cache.stats()

    def verify(self) -> list[str]:
        """Re-hash every object and drop the damaged ones; returns their oids."""
        return self._cache.verify()

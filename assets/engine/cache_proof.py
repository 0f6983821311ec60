"""Proving cached builds: rebuild some in scratch and compare, by the artifact's reproducibility class, with what the cache holds.

Oids find damage; only this finds an entry that holds something else than its fingerprint would build. Light until it is used.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.engine.build import Builder
from assets.engine.cache import CacheEntry
from assets.engine.make import Made
from assets.engine.model import Progress, Ref
from assets.engine.recipe import Recipe, Reproducibility
from resources.problems import problem_of
from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True)
class Proof:
    """What a rebuild of one cached build came to; `differences` are short sentences, none for one that is as it says. `origin` is
    where the cache had it from."""

    ref: Ref
    fingerprint: str
    differences: tuple[str, ...]
    origin: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": str(self.ref),
            "fingerprint": self.fingerprint,
            "ok": not self.differences,
            "differences": list(self.differences),
            "origin": self.origin,
        }


def prove(builder: Builder, refs: Sequence[Ref], number: int, progress: Progress, *, seed: int | None = None) -> list[Proof]:
    """Rebuild `number` of the cached builds of the artifacts' present inputs, chosen by chance; those that differ are dropped
    from the local cache."""
    cache = builder.cache
    held: list[tuple[Ref, CacheEntry]] = []
    for ref in refs:
        standing = builder.observer.standing(ref)
        recipe = standing.node.recipe
        if standing.fingerprint is None or recipe.items is not None or standing.stale_upstream:
            continue
        if any(role.absent for role in standing.roles.values()):
            continue  # what it is made of is not here, so that nothing can be said against it
        entry = cache.find(standing.fingerprint, recipe, remote=False)
        if entry is not None:
            held.append((ref, entry))
    chosen = random.Random(seed).sample(held, min(number, len(held)))
    proofs = []
    for ref, entry in sorted(chosen, key=lambda pair: pair[0]):
        differences = _differences(builder, ref, entry, progress)
        if differences:
            cache.forget(entry)
        proofs.append(Proof(ref, entry.fingerprint, tuple(differences), entry.origin))
    return proofs


def _differences(builder: Builder, ref: Ref, entry: CacheEntry, progress: Progress) -> list[str]:
    standing = builder.observer.full_standing(ref)
    recipe = standing.node.recipe
    with builder.maker.scratch(ref) as folder:
        kept = folder / "cached"
        kept.mkdir()
        if not builder.cache.restore(entry, kept):
            return ["the build cache's copy was damaged and has been dropped"]
        try:
            made = builder.maker.run(standing, progress, folder)
        except (HeadwaterError, OSError) as error:
            said = error.message if isinstance(error, HeadwaterError) else str(problem_of(error))
            return [f"it cannot be built again: {said}"]
        return _compare(recipe, entry, kept, made)


def _compare(recipe: Recipe, entry: CacheEntry, kept: Path, made: Made) -> list[str]:
    cached = {output.key: output.oid for output in entry.outputs}
    fresh = made.oids()
    if cached.keys() != fresh.keys():
        names = sorted(path for _, path in cached.keys() ^ fresh.keys())
        return [f"the cache has other files: {', '.join(names[:5])}"]
    changed = sorted(path for (place, path) in fresh if cached[place, path] != fresh[place, path])
    if not changed or recipe.reproducibility is Reproducibility.BYTE_EQUAL:
        if not changed and entry.output_digest != made.output_digest:
            return ["the cache says another output digest than a build has"]  # what is made of it would be taken for fresh
        return [f"{path} has other bytes in the cache than a build makes" for path in changed[:5]]
    if recipe.reproducibility is Reproducibility.CLOSE and recipe.compare is not None:
        found: list[str] = recipe.compare.load()(kept, made.folder / "outputs")
        return found
    if recipe.content is None:
        return [f"{path} cannot be compared: its recipe does not say how" for path in changed[:5]]
    content = recipe.content.load()
    different = []
    for path in changed:
        try:
            same = content(kept / path) == content(made.folder / "outputs" / path)
        except Exception:
            same = False  # it is not even of the format
        if not same:
            different.append(f"{path} says something else in the cache than a build makes")
    return different[:5]

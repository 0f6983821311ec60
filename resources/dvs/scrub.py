"""Reading back what is kept: every object that the text names, in every place of this machine that holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from resources.dvs.proofs import OK, Proofs, Reading
from resources.dvs.snapshots import tracked_now
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects

DAMAGED: Final = "damaged"
MISSING: Final = "missing"
CACHE: Final = "cache"
NOWHERE: Final = ""
_KEEP_EVERY: Final = 2.0
"""Seconds after which what was read is remembered, should the scrub be killed."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One object in one place (`storage` or `cache`, None where neither holds it): `result` is ok, damaged or missing."""

    oid: str
    place: str | None
    result: str
    paths: tuple[str, ...]
    error: HeadwaterError | None = None

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"oid": self.oid, "place": self.place, "result": self.result, "paths": list(self.paths)}
        if self.error is not None:
            record["error"] = self.error.to_json()
        return record


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known, without reading anything, of the objects that are named: how many were read back whole, how many never were,
    the last readings that found damage or nothing, and when the oldest proof was made (None where there is none)."""

    named: int
    proved: int
    never: int
    bad: Mapping[str, Reading] = field(default_factory=dict)
    oldest: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The numbers as `--json` prints them; `oldest` in seconds since 1970."""
        return {"named": self.named, "proved": self.proved, "never": self.never, "bad": len(self.bad), "oldest": self.oldest}


def read_subset(text: str) -> tuple[int, int]:
    """`2/7` as (2, 7): the second of seven parts. Raises UsageError."""
    part, slash, whole = text.partition("/")
    if slash and part.isdigit() and whole.isdigit() and 1 <= int(part) <= int(whole) <= 100_000:
        return int(part), int(whole)
    raise UsageError(f"{text!r} is no subset", rule="usage", fix="write it as 1/7: the first of seven parts")


def named_objects(repo: DvsRepo) -> dict[str, tuple[str, ...]]:
    """Every oid that sidecars or the manifest name, with the paths of its files."""
    found: dict[str, set[str]] = {}
    for entry in repo.manifest().entries.values():
        found.setdefault(entry.oid, set()).add(entry.path)
    for file in tracked_now(repo):
        found.setdefault(file.sidecar.oid, set()).add(file.path)
    return {oid: tuple(sorted(paths)) for oid, paths in sorted(found.items())}


def proofs_of(repo: DvsRepo) -> Proofs:
    """What this machine remembers of reading the repository's objects back."""
    return Proofs(repo.local / "proofs.db")


def standing(repo: DvsRepo, named: Collection[str]) -> Standing:
    """How the objects in `named` were found when they were last read on this machine. Reads no object."""
    readings = proofs_of(repo).readings()
    places = {str(repo.storage_url), CACHE, NOWHERE}
    proved, bad, oldest = 0, {}, None
    for oid in named:
        counted = [one for one in readings.get(oid, ()) if one.place in places]
        wrong = next((one for one in counted if one.result != OK), None)
        if wrong is not None:
            bad[oid] = wrong
        elif counted:
            proved += 1
            oldest = min(one.at for one in counted) if oldest is None else min(oldest, *(one.at for one in counted))
    return Standing(len(named), proved, len(named) - proved - len(bad), bad, oldest)


def scrub(
    repo: DvsRepo,
    *,
    subset: tuple[int, int] = (1, 1),
    seconds: float | None = None,
    named: Mapping[str, tuple[str, ...]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Generator[Proof, None, None]:
    """Re-hash the named objects of a subset, wherever they lie; nothing is changed, and this machine remembers what was read.

    A subset holds the objects whose digits fall into it, so that `1/7` to `7/7` on seven days read everything once. With
    `seconds` the scrub ends once so many have passed, at least one object later, and the order is by need: what was bad, what was
    never read, then the oldest proof first. Without, it is by oid. `named` spares asking for `named_objects` again.
    """
    part, whole = subset
    every = named_objects(repo) if named is None else named
    named = {oid: paths for oid, paths in every.items() if int(oid.partition(":")[2][:8], 16) % whole == part - 1}
    proofs = proofs_of(repo)
    order = list(named) if seconds is None else _by_need(named, proofs.readings())
    places = [
        ("storage", str(repo.storage_url), repo.objects, repo.objects.present(named)),
        (CACHE, CACHE, repo.cache, repo.cache.present(named)),
    ]
    until = None if seconds is None else time.monotonic() + seconds
    read: list[tuple[str, Sequence[tuple[str, str]]]] = []
    kept = time.monotonic()
    try:
        for oid in order:
            if progress is not None:
                progress(oid)
            results: list[tuple[str, str]] = []
            for name, place, store, present in places:
                if oid in present:
                    proof = _read(store, oid, name, named[oid])
                    results.append((place, proof.result))
                    yield proof
            if not results:
                results.append((NOWHERE, MISSING))
                yield Proof(oid, None, MISSING, named[oid])
            read.append((oid, results))
            now = time.monotonic()
            if now - kept > _KEEP_EVERY:
                proofs.keep(read)
                read, kept = [], now
            if until is not None and now >= until:
                break
    finally:
        proofs.keep(read)


def _read(store: PackedObjects, oid: str, place: str, paths: tuple[str, ...]) -> Proof:
    try:
        store.verify(oid)
    except HeadwaterError as error:
        return Proof(oid, place, DAMAGED, paths, error)
    except FileNotFoundError:
        return Proof(oid, place, MISSING, paths)
    return Proof(oid, place, OK, paths)


def _by_need(named: Collection[str], readings: Mapping[str, Sequence[Reading]]) -> list[str]:
    """Bad ones first, then those that were never read, then by the age of the proof."""

    def need(oid: str) -> tuple[int, int, str]:
        known = readings.get(oid)
        if not known:
            return 1, 0, oid
        return int(all(one.result == OK for one in known)) * 2, min(one.at for one in known), oid

    return sorted(named, key=need)

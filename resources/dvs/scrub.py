"""Reading back what is kept: every object that the text names, in every place of this machine that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.dvs.snapshots import tracked_now
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo


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


def scrub(repo: DvsRepo, *, subset: tuple[int, int] = (1, 1), progress: Callable[[str], None] | None = None) -> Iterator[Proof]:
    """Re-hash the named objects of a subset, sorted by oid, wherever they lie; nothing is changed.

    A subset holds the objects whose digits fall into it, so that `1/7` to `7/7` on seven days read everything once.
    """
    part, whole = subset
    named = {oid: paths for oid, paths in named_objects(repo).items() if int(oid.partition(":")[2][:8], 16) % whole == part - 1}
    places = [(name, store, store.present(named)) for name, store in (("storage", repo.objects), ("cache", repo.cache))]
    for oid, paths in named.items():
        if progress is not None:
            progress(oid)
        held = False
        for name, store, present in places:
            if oid not in present:
                continue
            held = True
            try:
                store.verify(oid)
            except HeadwaterError as error:
                yield Proof(oid, name, "damaged", paths, error)
            except FileNotFoundError:
                yield Proof(oid, name, "missing", paths)
            else:
                yield Proof(oid, name, "ok", paths)
        if not held:
            yield Proof(oid, None, "missing", paths)

"""Repair: objects that are damaged or missing are put in order again from any whole copy that can be had.

Whole copies are looked for in the other place of this machine, among the working files, then at the remotes; each is verified
before the damaged one makes way for it. What is damaged and cannot be replaced stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.dvs.proofs import OK
from resources.dvs.scrub import CACHE, Proof
from schemas.dvs.oids import oid_of_stream
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects
    from resources.packs import Member, Pack
    from resources.remotes.base import Remote


@dataclass(frozen=True, slots=True)
class Repaired:
    """One object in one place: `source` says where the whole copy came from, None where none was found."""

    oid: str
    place: str
    source: str | None

    def to_json(self) -> dict[str, Any]:
        outcome = "unrepaired" if self.source is None else "repaired"
        return {"oid": self.oid, "place": self.place, "outcome": outcome, "source": self.source}


def repair(repo: DvsRepo, found: Iterable[Proof], *, progress: Callable[[str], None] | None = None) -> list[Repaired]:
    """Put in order what `scrub` found damaged or missing; returns what came of each. Holds the storage against collectors.

    Raises StorageBusy, AuditFailed.
    """
    bad = [proof for proof in found if proof.result != OK]
    if not bad:
        return []
    made: list[Repaired] = []
    with repo.lease("repair", exclusive=True), _remotes(repo) as remotes:
        for proof in bad:
            if progress is not None:
                progress(proof.oid)
            store = repo.cache if proof.place == CACHE else repo.objects
            with _scratch(repo, proof.oid) as target:
                source = _whole(repo, proof, store, remotes, target)
                if source is not None:
                    left = _set_aside(store, proof.oid)
                    with store.batch(packed=False if left else None) as batch:
                        batch.put(target, oid=proof.oid)
                made.append(Repaired(proof.oid, proof.place or "storage", source))
        mended = {f"{one.place}/{one.oid}": one.oid for one in made if one.source is not None}
        if mended:
            repo.audit("repair", mended, "damaged or missing")
    return made


@contextmanager
def _scratch(repo: DvsRepo, oid: str) -> Iterator[Path]:
    folder = repo.local / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"repair-{oid.replace(':', '-')}"
    target.unlink(missing_ok=True)
    try:
        yield target
    finally:
        target.unlink(missing_ok=True)


@contextmanager
def _remotes(repo: DvsRepo) -> Iterator[Callable[[], list[Remote]]]:
    """The remotes, opened when they are first asked for; those that cannot be are left out."""
    from resources.dvs.sync import open_remote, resolved_remotes

    opened: list[Remote] = []
    asked = False

    def ask() -> list[Remote]:
        nonlocal asked
        if not asked:
            asked = True
            for setting in resolved_remotes(repo):
                with suppress(HeadwaterError, OSError):
                    opened.append(open_remote(repo, setting))
        return opened

    try:
        yield ask
    finally:
        for remote in opened:
            remote.close()


def _whole(repo: DvsRepo, proof: Proof, store: PackedObjects, remotes: Callable[[], list[Remote]], target: Path) -> str | None:
    """A verified copy of the object at `target`, and where it came from; None where there is none."""
    other, name = (repo.objects, "the storage") if store is repo.cache else (repo.cache, "the cache")
    with suppress(HeadwaterError, FileNotFoundError):
        other.fetch(proof.oid, target)
        return name
    folder = repo.folder
    for path in proof.paths if folder is not None else ():
        if folder is not None and _copied(folder / path, proof.oid, target):
            return path
    for remote in remotes():
        if _fetched(repo, remote, proof.oid, target):
            return remote.url
    return None


def _copied(path: Path, oid: str, target: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            if oid_of_stream(file, parse_oid(oid)[0])[0] != oid:
                return False
            file.seek(0)
            with target.open("xb") as copy:
                while block := file.read(1 << 20):
                    copy.write(block)
        with target.open("rb") as file:
            if oid_of_stream(file, parse_oid(oid)[0])[0] == oid:
                return True
    except OSError:
        pass
    target.unlink(missing_ok=True)
    return False


def _fetched(repo: DvsRepo, remote: Remote, oid: str, target: Path) -> bool:
    """Whether the remote has it: fetched into a store of its own, so that nothing half-whole is seen anywhere else."""
    import shutil

    from resources.packed import PackedObjects
    from resources.storage.local import LocalStorage

    folder = repo.local / "scratch" / "repairing"
    shutil.rmtree(folder, ignore_errors=True)
    apart = PackedObjects(LocalStorage(folder / "objects", state=folder / "state"), folder / "way", packed=False)
    arrived: list[HeadwaterError | None] = []
    try:
        if oid not in remote.present([oid]):
            return False
        remote.fetch([oid], {}, apart, lambda _oid, error: arrived.append(error))
        if arrived != [None]:
            return False
        apart.fetch(oid, target)
        return True
    except (HeadwaterError, OSError):
        target.unlink(missing_ok=True)
        return False
    finally:
        apart.close()
        shutil.rmtree(folder, ignore_errors=True)


def _set_aside(store: PackedObjects, oid: str) -> bool:
    """Take the damaged copies of an object away: its files, and its place in packs, which are written anew without it.

    A pack that holds more that is damaged is left as it is, and True is returned: a file beside it stands in for its member.
    """
    left = False
    for pack in store.packs.packs(again=True):
        if pack.find(oid) is None:
            continue
        if any(member.oid != oid and not _is_readable(pack, member) for member in pack):
            left = True
        else:
            store.rewrite(lambda one: one != oid, [pack])
    located = store.file_of(oid)
    while located is not None:
        store.storage.delete(located.path)
        located = store.file_of(oid)
    return left


def _is_readable(pack: Pack, member: Member) -> bool:
    try:
        pack.stored(member)
    except HeadwaterError:
        return False
    return True

"""Copying objects into a repository's storage from other stores, each verified on the way, as it lies there."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from resources.packed import SMALL
from resources.process import is_gone, process_mark
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import Batch, PackedObjects

_WORKERS: Final = 8
_OF: Final = "~"
"""Between the mark of a process and the rest of a name."""


def lacking(repo: DvsRepo, oids: Iterable[str]) -> set[str]:
    """Those of `oids` that the storage does not hold."""
    wanted = set(oids)
    return wanted - repo.objects.present(wanted)


def holders(stores: Sequence[PackedObjects], oids: set[str]) -> dict[str, PackedObjects]:
    """Which of the stores holds each object, the first that does; what none holds is left out."""
    found: dict[str, PackedObjects] = {}
    for store in stores:
        rest = oids - found.keys()
        if rest:
            found.update(dict.fromkeys(store.present(rest), store))
    return found


def copy_objects(
    repo: DvsRepo, sources: Mapping[str, PackedObjects], *, progress: Callable[[str], None] | None = None
) -> dict[str, HeadwaterError]:
    """Put objects into the storage, each verified on the way; returns what is wrong with those that could not be.

    Call it under a lease. Small ones lying in packs are read in the order they lie.
    """
    errors: dict[str, HeadwaterError] = {}
    done: set[str] = set()
    stores = {id(store): store for store in sources.values()}
    with repo.objects.batch() as batch:
        for store in stores.values():
            for oid, data in store.get_small([oid for oid in sources if sources[oid] is store]):
                if progress is not None:
                    progress(oid)
                batch.put(data, oid=oid)
                done.add(oid)
        near = {oid for oid in sources.keys() - done if sources[oid].storage.local_root is not None}
        for oid in sorted(near):
            if progress is not None:
                progress(oid)
            with _telling(oid, errors):
                _copy(repo, sources[oid], oid, batch)
        for oid, path, fetched in _fetched(repo, sources, sorted(sources.keys() - done - near)):
            if progress is not None:
                progress(oid)
            with _telling(oid, errors):
                size = fetched.result()
                batch.put(path.read_bytes() if size < SMALL else path, oid=oid)
    return errors


@contextmanager
def _telling(oid: str, errors: dict[str, HeadwaterError]) -> Iterator[None]:
    """Keep what is wrong with one object, so that all of it can be told; what concerns everything is raised."""
    try:
        yield
    except FileNotFoundError:
        errors[oid] = missing(oid)
    except HeadwaterError as error:
        if error.rule not in ("object-rotten", "oid-mismatch"):
            raise
        errors[oid] = HeadwaterError(
            f"the object {oid} of the source is damaged",
            rule="object-rotten",
            fix="repair it there: `headwater dvs verify` names the damage",
        )


def _fetched(repo: DvsRepo, sources: Mapping[str, PackedObjects], oids: Sequence[str]) -> Iterator[tuple[str, Path, Future[int]]]:
    """(oid, where it was fetched to, its length or what went wrong) of objects that are not on this machine, some at a time."""
    if not oids:
        return
    from resources.remotes.retries import again

    waiting: deque[tuple[str, Path, Future[int], ExitStack]] = deque()
    with ExitStack() as all_of_them, ThreadPoolExecutor(_WORKERS) as pool:
        for oid in oids:
            held = all_of_them.enter_context(ExitStack())
            path = held.enter_context(scratch_file(repo))
            fetching = pool.submit(again, partial(_fetch, sources[oid], path), oid)
            waiting.append((oid, path, fetching, held))
            if len(waiting) > _WORKERS:
                yield from _next(waiting)
        while waiting:
            yield from _next(waiting)


def _next(waiting: deque[tuple[str, Path, Future[int], ExitStack]]) -> Iterator[tuple[str, Path, Future[int]]]:
    oid, path, fetching, held = waiting.popleft()
    with held:
        yield oid, path, fetching


def _fetch(source: PackedObjects, target: Path, oid: str) -> int:
    return source.fetch(oid, target)


def _copy(repo: DvsRepo, source: PackedObjects, oid: str, batch: Batch) -> None:
    located = source.locate(oid)
    if located is None:
        raise FileNotFoundError(oid)
    whole = source.storage.local_root
    if whole is not None and located.member is None and not located.zst and located.path == source.files.path(oid):
        if located.stored < SMALL:
            batch.put(source.get(oid, limit=SMALL), oid=oid)
        else:
            batch.put(whole / located.path, oid=oid)
        return
    with scratch_file(repo) as target:
        size = source.fetch(oid, target)
        batch.put(target.read_bytes() if size < SMALL else target, oid=oid)


@contextmanager
def scratch_file(repo: DvsRepo) -> Iterator[Path]:
    """A path on this machine at which nothing lies yet; what is put there goes at the end, or when somebody comes by after a
    process that was killed."""
    folder = repo.objects.scratch
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    path = folder / f"{quote(process_mark(), safe='')}{_OF}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left there; once per process."""
    for path in folder.iterdir():
        mark, separator, _rest = path.name.partition(_OF)
        if separator and is_gone(unquote(mark)):
            path.unlink(missing_ok=True)


def missing(oid: str) -> HeadwaterError:
    """No store of the source holds an object."""
    return HeadwaterError(
        f"the source does not hold {oid}",
        rule="dvs-storage-missing",
        fix="bring it into the source first, with `headwater dvs pull` there",
    )

"""A remote that is a storage: a folder, a mounted share, or an S3 bucket; small objects lie in packs there too.

Every object is verified before it becomes visible at either end: sources are re-hashed while they are read, and an object that
arrives is kept only under the name its bytes have. Transfers of large objects run beside each other and are tried again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from resources.packed import SMALL, PackedObjects
from resources.storage.base import ABSENT
from schemas.errors import Conflict, HeadwaterError

if TYPE_CHECKING:
    from resources.storage.sharing import Sharing

MARK: Final = "headwater-remote"
"""The file that says which remote this is: made once, with a random id."""
_WORKERS: Final = 8
_ATTEMPTS: Final = 4
_BUDGET: Final = 300.0
"""Seconds after which an object is not tried again."""
_MARK_LIMIT: Final = 1 << 10

T = TypeVar("T")
Done = Callable[[str, HeadwaterError | None], None]
"""Called for each object when it is there, or with what kept it from getting there. From one thread."""


class StoreRemote:
    """Objects at a path or URL. `scratch` is a local folder for what is on its way."""

    def __init__(self, url: str | Path, scratch: Path, *, sharing: Sharing | None = None) -> None:
        from resources.storage import open_storage

        self.url = str(url)
        self.scratch = scratch
        self.storage = open_storage(url, state=scratch / "state", sharing=sharing)
        self.objects = PackedObjects(self.storage, scratch / "packs")

    def close(self) -> None:
        """Let go of open packs."""
        self.objects.close()

    def identity(self, *, make: bool) -> str | None:
        """The id of this remote; with `make` it gets one. None where none was made yet. Costs one request."""
        for _attempt in range(3):
            try:
                held = self.storage.read(MARK, limit=_MARK_LIMIT).decode("ascii", "replace").strip()
            except FileNotFoundError:
                if not make:
                    return None
                with suppress(Conflict):
                    self.storage.write(MARK, f"{uuid.uuid4()}\n".encode(), expect=ABSENT)
                continue
            return held
        raise HeadwaterError("the remote's mark cannot be made", rule="dvs-storage-error", path=self.url, fix="try again")

    def present(self, oids: Iterable[str]) -> set[str]:
        """Those of `oids` that are there. Their bytes are not read."""
        return self.objects.present(oids)

    def put(self, sources: Mapping[str, PackedObjects], sizes: Mapping[str, int], done: Done) -> None:
        """Copy objects here, each from the store that holds it, verified; small ones count when the last of them has come.

        What goes wrong with one object is told to `done`, and the others go on.
        """
        small = sorted(oid for oid in sources if sizes.get(oid, SMALL) < SMALL)
        large = sorted(oid for oid in sources if sizes.get(oid, SMALL) >= SMALL)
        copy_small(sources, small, self.objects, done)
        self._beside(large, lambda oid: self._send(oid, sources[oid]), done)

    def fetch(self, oids: Iterable[str], sizes: Mapping[str, int], target: PackedObjects, done: Done) -> None:
        """Copy objects from here into a store on this machine, verified before they are visible there."""
        wanted = sorted(set(oids))
        small = [oid for oid in wanted if sizes.get(oid, SMALL) < SMALL]
        copy_small(dict.fromkeys(small, self.objects), small, target, done)
        large = [oid for oid in wanted if sizes.get(oid, SMALL) >= SMALL]
        self._beside(large, lambda oid: self._receive(oid, target), done)

    def _beside(self, oids: list[str], move: Callable[[str], None], done: Done) -> None:
        if not oids:
            return
        with ThreadPoolExecutor(min(_WORKERS, len(oids))) as pool:
            waiting: dict[Future[None], str] = {pool.submit(again, move, oid): oid for oid in oids}
            for future in as_completed(waiting):
                oid = waiting[future]
                error = future.exception()
                if error is not None and not isinstance(error, (HeadwaterError, OSError)):
                    raise error
                done(oid, None if error is None else as_error(error, oid))

    def _send(self, oid: str, source: PackedObjects) -> None:
        with self._fetched(source, oid) as path:
            self.storage.add(self.objects.files.path(oid), path, oid=oid)

    def _receive(self, oid: str, target: PackedObjects) -> None:
        with self._fetched(self.objects, oid) as path:
            target.storage.add(target.files.path(oid), path, oid=oid)

    @contextmanager
    def _fetched(self, source: PackedObjects, oid: str) -> Iterator[Path]:
        """A verified local copy of an object while the block runs."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        path = self.scratch / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            source.fetch(oid, path)
            yield path
        finally:
            path.unlink(missing_ok=True)


def copy_small(sources: Mapping[str, PackedObjects], oids: list[str], target: PackedObjects, done: Done) -> None:
    """Copy small objects into packs of another store; they count when the pack is durable."""
    if not oids:
        return
    arrived = []
    with target.batch() as batch:
        for oid in oids:
            try:
                data = again(lambda one: sources[one].get(one, limit=SMALL), oid)
                batch.put(data, oid=oid)
            except (HeadwaterError, OSError) as error:
                done(oid, as_error(error, oid))
            else:
                arrived.append(oid)
    for oid in arrived:
        done(oid, None)


def again(move: Callable[[str], T], oid: str) -> T:
    """Do it, and again after failures that may pass: what the network or a busy server says, not what is missing or damaged."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_BUDGET),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        reraise=True,
    )
    return retrying(move, oid)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(
        error, (FileNotFoundError, PermissionError, IsADirectoryError, FileExistsError)
    )


def as_error(error: BaseException, oid: str) -> HeadwaterError:
    """What went wrong with one object, as a row tells it."""
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, FileNotFoundError):
        return HeadwaterError(
            f"the remote does not hold {oid}",
            rule="dvs-storage-missing",
            fix="push it from a clone that has it; `headwater dvs status` there shows which",
        )
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    rule = "dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-io-error"
    return HeadwaterError(f"{oid} could not be copied: {said}", rule=rule, fix="look at the remote, then run the command again")

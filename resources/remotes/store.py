"""A remote that is a storage: a folder, a mounted share, or an S3 bucket; small objects lie in packs there too.

Every object is verified before it becomes visible at either end: sources are re-hashed while they are read, and an object that
arrives is kept only under the name its bytes have. Transfers of large objects run beside each other and are tried again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.packed import SMALL, PackedObjects
from resources.remotes.base import Claim, unmeasured
from resources.remotes.mark import make_mark, read_mark
from resources.remotes.retries import again, as_error
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.remotes.base import Done
    from resources.storage.sharing import Sharing

_WORKERS: Final = 8


class StoreRemote:
    """Objects at a path or URL. `scratch` is a local folder for what is on its way."""

    def __init__(self, url: str | Path, scratch: Path, *, sharing: Sharing | None = None) -> None:
        from resources.storage import open_storage

        self.url = str(url)
        self.scratch = scratch
        self.storage = open_storage(url, state=scratch / "state", sharing=sharing)
        self.objects = PackedObjects(self.storage, scratch / "packs")
        self.moved: Callable[[int], None] = unmeasured

    def close(self) -> None:
        """Let go of open packs."""
        self.objects.close()

    def identity(self, *, make: bool) -> str | None:
        """The id of this remote; with `make` it gets one. None where none was made yet. Costs one request."""
        return make_mark(self.storage) if make else read_mark(self.storage)

    @contextmanager
    def claimed(self, operation: str, files: Mapping[str, str], claim: Claim) -> Iterator[None]:
        """A lease and a line in the audit log: the place may be the storage of another repository, whose `gc` goes by both."""
        from resources.dvs.audit import AuditLog, new_record
        from resources.dvs.leases import hold

        with hold(self.storage, operation, claim.user):
            record = new_record(operation, files, user=claim.user, when=claim.when, reason=claim.reason, clone=claim.clone)
            AuditLog(self.storage).append(record)
            yield

    def present(self, oids: Iterable[str]) -> set[str]:
        """Those of `oids` that are there. Their bytes are not read."""
        return self.objects.present(oids)

    def put(self, sources: Mapping[str, PackedObjects], sizes: Mapping[str, int], done: Done) -> None:
        """Copy objects here, each from the store that holds it, verified; small ones count when the last of them has come.

        What goes wrong with one object is told to `done`, and the others go on.
        """
        small = sorted(oid for oid in sources if sizes.get(oid, SMALL) < SMALL)
        large = sorted(oid for oid in sources if sizes.get(oid, SMALL) >= SMALL)
        copy_small(sources, small, self.objects, done, self.moved)
        self._beside(large, lambda oid: self._send(oid, sources[oid]), done)

    def fetch(self, oids: Iterable[str], sizes: Mapping[str, int], target: PackedObjects, done: Done) -> None:
        """Copy objects from here into a store on this machine, verified before they are visible there."""
        wanted = sorted(set(oids))
        small = [oid for oid in wanted if sizes.get(oid, SMALL) < SMALL]
        copy_small(dict.fromkeys(small, self.objects), small, target, done, self.moved)
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
            self.moved(path.stat().st_size)

    def _receive(self, oid: str, target: PackedObjects) -> None:
        with self._fetched(self.objects, oid) as path:
            target.storage.add(target.files.path(oid), path, oid=oid)
            self.moved(path.stat().st_size)

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


def copy_small(
    sources: Mapping[str, PackedObjects], oids: list[str], target: PackedObjects, done: Done, moved: Callable[[int], None]
) -> None:
    """Copy small objects into packs of another store; they count when the pack is durable."""
    if not oids:
        return
    arrived = []
    try:
        with target.batch() as batch:
            for oid in oids:
                try:
                    data = again(lambda one: sources[one].get(one, limit=SMALL), oid)
                    batch.put(data, oid=oid)
                    moved(len(data))
                except (HeadwaterError, OSError) as error:
                    done(oid, as_error(error, oid))
                else:
                    arrived.append(oid)
    except (HeadwaterError, OSError) as error:
        # A pack could not be kept, and which objects lay in it only the batch knows.
        for oid in arrived:
            done(oid, as_error(error, oid))
        return
    for oid in arrived:
        done(oid, None)

"""Bringing recorded bytes back into the working tree, and never over bytes that are recorded nowhere.

Files share their blocks with objects where the file system can; `[cache] link` of the clone decides
(`resources.storage.linking`).
A file is replaced only when its present bytes are in the storage or the cache already, or, with `rescue`, have been put there
first. Every file is written beside its place, verified, and moved there: readers see the old or the new one.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.choose import choose_tracked
from resources.dvs.results import Outcome, Report, Row, not_tracked
from resources.dvs.working import scan
from resources.packed import SMALL, rotten
from resources.storage.base import ABSENT, Change, Expect
from resources.storage.linking import Link
from schemas.dvs import state as states
from schemas.dvs.oids import oid_of_stream
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid, fd_oid, file_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects
    from resources.storage.local import LocalStorage

_BATCH_BYTES: Final = 64 << 20
"""Bytes of small files that are held before they are written together."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as it shall be: the oid of its bytes and their number."""

    path: str
    oid: str
    size: int


def get(
    repo: DvsRepo,
    paths: Sequence[str],
    *,
    globs: Sequence[str] = (),
    rescue: bool = False,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Make tracked files what their sidecars say; no paths mean all of them. One row per file.

    A file with other bytes that no store holds is refused (rule `dvs-unsaved`), or put into the storage first with `rescue`.
    """
    tree = scan(repo)
    known = {file.path: file for file in tree.files}
    chosen, nothing = choose_tracked(known, paths, globs=globs)
    rows = [Row(path, Outcome.ERROR, error=not_tracked(path)) for path in nothing]
    wanted = []
    for path in sorted(chosen):
        file = known[path]
        if file.recorded is None:
            error = HeadwaterError(
                file.problem or "the sidecar cannot be read",
                rule="dvs-metadata-not-found",
                path=file.sidecar,
                fix="restore it from git",
            )
            rows.append(Row(path, Outcome.ERROR, error=error))
        else:
            wanted.append(Wanted(path, file.recorded, file.size or 0))
    actual = {path: known[path].actual for path in chosen}
    return restore(repo, wanted, actual, "get", rescue=rescue, dry_run=dry_run, progress=progress, rows=rows)


def materialize(
    repo: DvsRepo,
    paths: Sequence[str],
    *,
    globs: Sequence[str] = (),
    rescue: bool = False,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Make files what the manifest says, from objects that are on this machine or in the storage; no paths mean all of them."""
    entries = repo.manifest().entries
    chosen, nothing = choose_tracked(entries, paths, globs=globs)
    rows = [Row(path, Outcome.ERROR, error=not_tracked(path)) for path in nothing]
    actual = {file.path: file.actual for file in scan(repo).files if file.path in chosen}
    wanted = [Wanted(path, entries[path].oid, entries[path].bytes) for path in sorted(chosen)]
    return restore(repo, wanted, actual, "materialize", rescue=rescue, dry_run=dry_run, progress=progress, rows=rows)


def restore(
    repo: DvsRepo,
    wanted: Iterable[Wanted],
    actual: Mapping[str, str | None],
    operation: str,
    *,
    rescue: bool = False,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    rows: Iterable[Row] = (),
) -> Report:
    """Write each wanted file; `actual` is the oid of the bytes at a path now, as far as it is known."""
    from resources.dvs.add import local_root

    made = _Restore(repo, local_root(repo), rescue, dry_run, progress, list(rows))
    made.link = Link(repo.local_config.link or Link.REFLINK)
    made.run(list(wanted), actual)
    report = Report(operation, rescued=made.rescued)
    report.add(made.rows)
    return report


@dataclass(slots=True)
class _Restore:
    repo: DvsRepo
    root: Path
    rescue: bool
    dry_run: bool
    progress: Callable[[str], None] | None
    rows: list[Row]
    small: list[tuple[Wanted, bytes]] = field(default_factory=list)
    small_bytes: int = 0
    put: list[tuple[str, str]] = field(default_factory=list)
    link: Link = Link.REFLINK
    unlinked: set[int] = field(default_factory=set)
    """Stores whose objects cannot become files without a copy."""
    from_cache: set[str] = field(default_factory=set)
    rescued: dict[str, str] = field(default_factory=dict)

    def run(self, wanted: Sequence[Wanted], actual: Mapping[str, str | None]) -> None:
        missing, differing = [], []
        for one in wanted:
            now = actual.get(one.path)
            if now is None:
                try:
                    now = self._look(one)
                except HeadwaterError as error:
                    self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, error))
                    continue
            if now == one.oid:
                self.rows.append(Row(one.path, Outcome.PRESENT, one.oid, one.size))
            elif now is None:
                missing.append(one)
            else:
                differing.append((one, now))
        saved = self._saved(differing)
        stores = self._stores({one.oid: one.size for one in (*missing, *(one for one, _now in differing))})
        for one in self._restored_at_once(missing, stores):
            self._attempt(one, None, stores)
        self._flush()
        for one, now in differing:
            if now not in saved:
                self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _unsaved(one.path)))
            else:
                self._attempt(one, now, stores)
        if self.put and not self.dry_run:
            self._remember()
            if self.from_cache:
                from resources.dvs.cache_limit import used

                used(self.repo, self.from_cache)

    def _look(self, one: Wanted) -> str | None:
        """The oid of the bytes at the path now; None where nothing lies. Raises HeadwaterError for what is no file."""
        full = f"{self.root}/{one.path}"
        try:
            status = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not modes.S_ISREG(status.st_mode):
            raise HeadwaterError(
                "something that is no file lies in its place",
                rule="dvs-file-in-the-way",
                path=one.path,
                fix="move it away, then try again",
            )
        with Path(full).open("rb") as file:
            return oid_of_stream(file, one.oid.partition(":")[0])[0]

    def _saved(self, differing: Sequence[tuple[Wanted, str]]) -> set[str]:
        """The oids of present bytes that a store holds; with `rescue` those that were put there now."""
        oids = {now for _one, now in differing}
        if not oids:
            return set()
        saved = self.repo.objects.present(oids) | self.repo.cache.present(oids)
        if not self.rescue:
            return saved
        lost = [(one.path, now) for one, now in differing if now not in saved]
        if self.dry_run or not lost:
            return saved | {now for _path, now in lost}
        with self.repo.lease("rescue"):
            with self.repo.objects.batch() as batch:
                for path, now in lost:
                    batch.put(self.root / path, oid=now)
            self.repo.audit("rescue", dict(lost), "unsaved bytes, before other bytes were put in their place")
        self.rescued.update(lost)
        return saved | {now for _path, now in lost}

    def _stores(self, sizes: Mapping[str, int]) -> dict[str, PackedObjects]:
        """Which store holds each oid: the storage first, then the cache."""
        if not sizes:
            return {}
        known = {oid: size for oid, size in sizes.items() if size}
        found: dict[str, PackedObjects] = {}
        for store in (self.repo.objects, self.repo.cache):
            for oid in store.present(sizes.keys() - found.keys(), known):
                found[oid] = store
        return found

    def _restored_at_once(self, missing: Sequence[Wanted], stores: Mapping[str, PackedObjects]) -> list[Wanted]:
        """Gather the small files that lie in packs, pack by pack; returns those that are left."""
        if self.dry_run:
            return list(missing)
        waiting: dict[str, list[Wanted]] = {}
        for one in missing:
            if one.size < SMALL and one.oid in stores:
                waiting.setdefault(one.oid, []).append(one)
        gathered: set[str] = set()
        for store in {id(store): store for store in stores.values()}.values():
            for oid, data in store.get_small([oid for oid in waiting if stores[oid] is store]):
                for one in waiting[oid]:
                    if self.progress is not None:
                        self.progress(one.path)
                    gathered.add(one.path)
                    self._gather(one, data)
                if store is self.repo.cache:
                    self.from_cache.add(oid)
        return [one for one in missing if one.path not in gathered]

    def _attempt(self, one: Wanted, now: str | None, stores: Mapping[str, PackedObjects]) -> None:
        store = stores.get(one.oid)
        if store is None:
            self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _missing(one)))
            return
        if self.dry_run:
            self.rows.append(Row(one.path, Outcome.COPIED, one.oid, one.size))
            return
        if self.progress is not None:
            self.progress(one.path)
        if store is self.repo.cache:
            self.from_cache.add(one.oid)
        try:
            if now is None and one.size < SMALL and not (self.link is Link.HARDLINK and store.file_of(one.oid) is not None):
                self._gather(one, store.get(one.oid, limit=SMALL))
            else:
                self._place(one, now, store)
                self._done(one)
        except FileNotFoundError:
            self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _missing(one)))
        except HeadwaterError as error:
            self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, error))
        except OSError as error:
            self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _unwritable(one.path, error)))

    def _place(self, one: Wanted, now: str | None, store: PackedObjects) -> None:
        from resources.storage.incoming import place
        from resources.storage.local import LocalStorage

        storage = self.repo.storage
        assert isinstance(storage, LocalStorage)  # the working tree is local
        expect = ABSENT if now is None else now
        if isinstance(expect, str) and expect.startswith("xxh3:"):
            # What the storage compares with is collision-resistant.
            expect = file_oid(self.root / one.path)
        if not self._linked(one, storage, store, expect):
            place(storage, self.repo.path(one.path), _at_most(store.blocks(one.oid), one), expect=expect)

    def _linked(self, one: Wanted, storage: LocalStorage, store: PackedObjects, expect: Expect) -> bool:
        """Whether the file came to be without a copy: its object must be a file that holds just its bytes, on the same disk."""
        from resources.storage.linking import place_linked
        from resources.storage.local import LocalStorage

        located = store.file_of(one.oid)
        if (
            self.link is Link.COPY
            or id(store) in self.unlinked
            or not isinstance(store.storage, LocalStorage)
            or located is None
            or located.path != store.files.path(one.oid)
        ):
            return False

        def verify(fd: int) -> None:
            if fd_oid(fd, one.oid.partition(":")[0]) != one.oid:
                raise rotten(one.oid, located, "its bytes are not those its name says")

        done = place_linked(storage, self.repo.path(one.path), store.storage, located.path, self.link, verify, expect=expect)
        if not done and self.link is Link.REFLINK:
            self.unlinked.add(id(store))
        return done

    def _gather(self, one: Wanted, data: bytes) -> None:
        self.small.append((one, data))
        self.small_bytes += len(data)
        if self.small_bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Write the small files that were gathered, all with one flush of the file system."""
        gathered, self.small, self.small_bytes = self.small, [], 0
        if not gathered:
            return
        by_path = {self.repo.path(one.path): one for one, _data in gathered}
        changes = [Change(self.repo.path(one.path), data, ABSENT) for one, data in gathered]
        try:
            lost = set(self.repo.storage.write_many(changes))
        except OSError:
            self._one_by_one(gathered)
            return
        for path, one in by_path.items():
            if path in lost:
                self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _unsaved(one.path)))
            else:
                self._done(one)

    def _one_by_one(self, gathered: Sequence[tuple[Wanted, bytes]]) -> None:
        """The same after a failure, so that it is one file's and not everybody's."""
        for one, data in gathered:
            path = self.repo.path(one.path)
            present = self.repo.storage.stat(path)
            if present is not None and self.repo.storage.digest(path) == bytes_oid(data):
                self._done(one)
                continue
            try:
                self.repo.storage.write(path, data, expect=ABSENT)
            except Conflict:
                self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _unsaved(one.path)))
            except HeadwaterError as error:
                self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, error))
            except OSError as error:
                self.rows.append(Row(one.path, Outcome.ERROR, one.oid, one.size, _unwritable(one.path, error)))
            else:
                self._done(one)

    def _done(self, one: Wanted) -> None:
        self.rows.append(Row(one.path, Outcome.COPIED, one.oid, one.size))
        self.put.append((one.path, one.oid))

    def _remember(self) -> None:
        """Note what was put where; a hint, so a clone that cannot be written to is no error."""
        from resources.dvs.repo import now

        inside = states.MATERIALIZED
        try:
            held = states.read_materialized(self.repo.read(inside))
            self.repo.storage.write(self.repo.path(inside), held.put(self.put, now()).to_bytes())
        except OSError:
            return


def _at_most(blocks: Iterable[bytes], one: Wanted) -> Iterator[bytes]:
    """The blocks, until there are more bytes than were recorded: what unfolds without end must not fill the disk."""
    left = one.size
    for block in blocks:
        left -= len(block)
        if left < 0 and one.size:
            raise HeadwaterError(
                f"the object has more than the {one.size} bytes that are recorded",
                rule="object-rotten",
                path=one.path,
                fix="restore the sidecar from git, or fetch the object again with `headwater dvs pull`",
            )
        yield block


def _unsaved(path: str) -> HeadwaterError:
    return HeadwaterError(
        "the file holds bytes that no store has; they would be lost",
        rule="dvs-unsaved",
        path=path,
        fix=f"keep them with `headwater dvs add {path}`, or with --rescue, or delete the file",
    )


def _missing(one: Wanted) -> HeadwaterError:
    return HeadwaterError(
        f"neither the storage nor the cache holds {one.oid}",
        rule="dvs-storage-missing",
        path=one.path,
        fix="fetch it with `headwater dvs pull`; `headwater dvs why` says where it was seen",
    )


def _unwritable(path: str, error: OSError) -> HeadwaterError:
    rule = "dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-io-error"
    said = error.strerror or os.strerror(error.errno or 0)
    return HeadwaterError(f"it cannot be written: {said}", rule=rule, path=path, fix="make room for it, or make it writable")

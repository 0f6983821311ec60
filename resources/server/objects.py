"""What an object server does with its storage: find, read, keep, list, delete. Every call blocks; threads may share it all.

Bytes become visible only after they were verified and made durable. Of what is read, the last block comes only after all were
verified; a stretch only of a copy that was verified since it last changed. HTTP is spoken elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from resources.dvs.audit import AuditLog, new_record
from resources.dvs.leases import hold
from resources.dvs.roots import DROPS, retained_until
from resources.objects import RottenObject
from resources.packed import Located, PackedObjects
from resources.packs import Pack, key_of
from resources.remotes.mark import make_mark, read_mark
from resources.server.frames import END, Head
from resources.server.incoming import Incoming
from resources.server.listing import oids_behind
from resources.server.places import Places
from resources.storage.durable import sync_file_system
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError

_PROOFS: Final = 20_000
_PROOF_LASTS: Final = 3600.0
"""Seconds for which a copy that was verified need not be verified again before stretches of it are sent."""
_COUNT_LASTS: Final = 600.0
_COUNT_WAIT: Final = 1.0
"""Seconds somebody waits for the first count."""
_TICK: Final = 50_000_000
"""Nanoseconds by which a clock of a file system may be behind."""
_TOGETHER_FROM: Final = 4
"""From so many small objects on, flushing the file system is cheaper than flushing each (59 against 510 us each, for 16)."""
_GATHER: Final = 1 << 20
_BISECT_COST: Final = 20
"""Looking up one oid in a pack costs about as much as passing this many members of it."""


class StorageGone(HeadwaterError):
    """The storage is not at its path."""


class Retained(HeadwaterError):
    """The object may not be dropped yet."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object that is here: its length in bytes, and the copy that was found."""

    oid: str
    size: int
    located: Located


@dataclass(slots=True)
class Totals:
    """How much is here; None until it was counted."""

    objects: int | None = None
    stored: int | None = None
    counted: float = 0.0

    @property
    def are_old(self) -> bool:
        """Whether it is time to count again."""
        return self.objects is None or time.monotonic() - self.counted > _COUNT_LASTS


class ServedObjects:
    """A local store of objects as an object server uses it.

    `cap` is the length in bytes of the largest object that is taken, `retain` how many seconds nothing that the audit log
    names is deleted.
    """

    def __init__(self, objects: PackedObjects, *, cap: int, retain: int = 0) -> None:
        storage = objects.storage
        assert isinstance(storage, LocalStorage)
        self.objects = objects
        self.storage = storage
        self.cap = cap
        self.retain = retain
        self.rotten: dict[str, tuple[Any, ...]] = {}
        """oid -> the signature of its file that turned out to be damaged: not here, until somebody sends or mends it."""
        self.bad_members: dict[str, str] = {}
        """oid -> the pack whose copy turned out to be damaged: only what lies elsewhere counts."""
        self.totals = Totals()
        self._proofs: OrderedDict[str, tuple[tuple[Any, ...], float]] = OrderedDict()
        self._sizes: OrderedDict[str, tuple[tuple[Any, ...], int]] = OrderedDict()
        self.places = Places(storage)
        self._pack_folder = storage.root / objects.packs.prefix
        self._root = _identity_of(storage.root)
        self._listed: tuple[int, int, int] | None = None
        """What the folder of the packs looked like when they were listed."""
        self._lock = threading.Lock()
        self._counting = threading.Lock()

    @cached_property
    def identity(self) -> str | None:
        """The id of the storage, made when it is first asked for: clients remember under it what they have proved to be here.
        None where none can be made."""
        try:
            return make_mark(self.storage)
        except OSError:
            return None

    def check_root(self) -> None:
        """Raise StorageGone when the storage is not at its path any more, such as a share that is not mounted: its folder would
        look empty, and uploads would land below it."""
        root = _identity_of(self.storage.root)
        if root == self._root:
            return
        mark = read_mark(self.storage) if root is not None else None
        if mark is None or mark != self.identity:
            raise StorageGone(
                f"the storage {self.storage.root} is not what it was when the server began",
                rule="dvs-storage-error",
                fix="mount it again; for a storage that was made anew, start the server again",
            )
        self._root = root

    def close(self) -> None:
        """Let go of open packs and folders."""
        self.objects.close()
        self.places.close()

    # finding

    def find(self, oid: str) -> Held | None:
        """The object, None when it is not here or known to be damaged. Raises HeadwaterError (rule `oid-malformed`)."""
        located = self._locate(oid)
        if located is None:
            return None
        try:
            return Held(oid, self._size(located, oid), located)
        except FileNotFoundError:
            return None
        except HeadwaterError:
            self._damaged(Held(oid, 0, located))
            return None

    def _locate(self, oid: str) -> Located | None:
        self._look_at_packs()
        return self._member(oid) or self._file(oid)

    def _member(self, oid: str) -> Located | None:
        located = self.objects.packs.find(oid)
        return None if located is None or self.bad_members.get(oid) == located.path else located

    def _file(self, oid: str) -> Located | None:
        located = self.objects.file_of(oid)
        if located is None or oid not in self.rotten:
            return located
        with suppress(FileNotFoundError):
            return None if self._signature(located) == self.rotten[oid] else located
        return None

    def _look_at_packs(self) -> None:
        """List the packs again when their folder has changed: others add and collect objects too. Raises StorageGone."""
        self.check_root()
        try:
            status = self._pack_folder.stat()
        except FileNotFoundError:
            status = None
        seen = None if status is None else (status.st_mtime_ns, status.st_ino, status.st_nlink)
        if seen == self._listed:
            return
        now = time.time_ns()
        self.objects.packs.packs(again=True)
        # A change within the same tick of the clock would leave the time as it is.
        self._listed = None if seen is not None and now - seen[0] < _TICK else seen

    def _damaged(self, held: Held) -> None:
        if held.located.member is not None:
            self.bad_members[held.oid] = held.located.path
        else:
            with suppress(FileNotFoundError):
                self.rotten[held.oid] = self._signature(held.located)

    def _known_size(self, located: Located, oid: str) -> int | None:
        size = self.objects.raw_size(located, oid)
        if size is not None:
            return size
        known = self._sizes.get(oid)
        return known[1] if known is not None and known[0] == self._signature(located) else None

    def _size(self, located: Located, oid: str) -> int:
        size = self._known_size(located, oid)
        if size is None:
            signature = self._signature(located)
            size = sum(len(block) for block in self.objects.blocks_at(located, oid))
            with self._lock:
                self._sizes[oid] = (signature, size)
                while len(self._sizes) > _PROOFS:
                    self._sizes.popitem(last=False)
        return size

    def _signature(self, located: Located) -> tuple[Any, ...]:
        found = self.storage.stat(located.path)
        if found is None:
            raise FileNotFoundError(located.path)
        return (located.path, *found.signature)

    def find_many(self, oids: Iterable[str]) -> dict[str, int | None]:
        """oid -> length in bytes of those that are here, in the order asked for, with as few questions as possible. The length is
        None where it takes unfolding the object to know it."""
        self.check_root()
        wanted = list(dict.fromkeys(oids))
        sizes: dict[str, int | None] = {}
        left = {key_of(oid): oid for oid in wanted if oid not in self.bad_members}
        for pack in self.objects.packs.packs(again=True):
            if not left:
                break
            for oid, size in _in_pack(pack, left):
                sizes[oid] = size
                left.pop(key_of(oid), None)
        for oid in wanted:
            located = None if oid in sizes else self._file(oid)
            if located is not None:
                sizes[oid] = self._known_size(located, oid)
        return {oid: sizes[oid] for oid in wanted if oid in sizes}

    # reading

    def read(self, held: Held) -> Iterator[bytes]:
        """The object in blocks of at most 1 MiB. Only what comes before the last block may be sent before the next has come.

        Raises RottenObject, after which the object counts as missing, and FileNotFoundError when it has been deleted.
        """
        try:
            yield from self.objects.blocks_at(held.located, held.oid)
        except RottenObject:
            self._damaged(held)
            raise
        if held.located.member is None:
            self._prove(held)

    def stretch(self, held: Held, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`, of a copy that was verified. Raises as `read`."""
        if held.located.member is not None:
            data = b"".join(self.read(held))
            yield data[start:stop]
            return
        if not self._proved(held):
            for _ in self.read(held):
                pass
        yield from self.objects.stretch(held.located, held.oid, start, stop)

    def frames(self, oids: Iterable[str]) -> Iterator[bytes]:
        """Many objects as a stream of frames (`resources.server.frames`), in no order, in blocks of about 1 MiB.

        Raises RottenObject, FileNotFoundError, when a large object turns out to be damaged before its last block.
        """
        left = dict.fromkeys(oids)
        gathered: list[bytes] = []
        size = 0
        for oid, data in self.objects.get_small(left):
            del left[oid]
            gathered += (Head(oid, len(data)).to_line(), data)
            size += len(data)
            if size >= _GATHER:
                yield b"".join(gathered)
                gathered, size = [], 0
        for oid in left:
            held, whole, error = self._small(oid)
            if held is None:
                gathered.append(Head(oid, missing=True, error=error).to_line())
            elif whole is not None:
                gathered += (Head(oid, held.size).to_line(), whole)
                size += len(whole)
            else:
                gathered.append(Head(oid, held.size).to_line())
                yield b"".join(gathered)
                gathered, size = [], 0
                yield from self.read(held)
            if size >= _GATHER:
                yield b"".join(gathered)
                gathered, size = [], 0
        gathered.append(END)
        yield b"".join(gathered)

    def _small(self, oid: str) -> tuple[Held | None, bytes | None, str | None]:
        """The object and, unless it is large, its bytes; or why there are none."""
        error = None
        for _attempt in range(2):
            held = self.find(oid)
            if held is None:
                break
            if held.size > _GATHER:
                return held, None, None
            try:
                return held, b"".join(self.read(held)), None
            except FileNotFoundError:
                break
            except RottenObject as rotten:
                error = rotten.message
        return None, None, error

    def _prove(self, held: Held) -> None:
        signature = self._signature(held.located)
        with self._lock:
            self._proofs[held.oid] = (signature, time.monotonic())
            self._proofs.move_to_end(held.oid)
            while len(self._proofs) > _PROOFS:
                self._proofs.popitem(last=False)

    def _proved(self, held: Held) -> bool:
        proof = self._proofs.get(held.oid)
        return proof is not None and proof[0] == self._signature(held.located) and time.monotonic() - proof[1] < _PROOF_LASTS

    # keeping

    def receive(self, oid: str, encoding: str | None = None) -> Incoming:
        """Begin to take an object; `encoding` is `zstd` where its bytes come compressed."""
        return Incoming(self, oid, encoding)

    def keep(self, oid: str, data: bytes, encoding: str | None = None) -> bool:
        """Take an object at once. Returns and raises as `Incoming.finish`."""
        incoming = self.receive(oid, encoding)
        try:
            incoming.write(data)
            return incoming.finish()
        finally:
            incoming.abandon()

    def keep_many(self, objects: Sequence[tuple[str, bytes]]) -> list[bool | Exception]:
        """Take small objects at once, with two flushes for all of them instead of two for each; what `keep` returns or raises."""
        results: list[bool | Exception] = []
        staged: dict[str, Incoming] = {}
        try:
            for oid, data in objects:
                incoming = self.receive(oid)
                try:
                    incoming.write(data)
                    new = incoming.stage() if oid not in staged else False
                except (HeadwaterError, OSError) as error:
                    incoming.abandon()
                    results.append(error)
                    continue
                if new:
                    staged[oid] = incoming
                results.append(new)
            try:
                self._settle(list(staged.values()))
            except OSError as error:
                return [error if result is True else result for result in results]
        finally:
            for incoming in staged.values():
                incoming.abandon()
        return results

    def _settle(self, staged: list[Incoming]) -> None:
        together = len(staged) >= _TOGETHER_FROM
        root = self.storage.root
        if together:
            sync_file_system(root, [root / incoming.path for incoming in staged])
            for incoming in staged:
                incoming.forget_pages()
        else:
            for incoming in staged:
                incoming.sync()
        folders = {incoming.settle() for incoming in staged}
        if together:
            sync_file_system(root, [root / folder for folder in folders])
        else:
            for folder in folders:
                with self.places.folder(tuple(folder.split("/"))) as opened:
                    opened.sync()

    def present(self, oid: str, size: int) -> bool:
        """Whether a good copy of that length lies here, as far as can be told without reading it. Only the places where we
        write are looked at: to keep what lies in an older layout once more does no harm."""
        self._look_at_packs()
        if self._member(oid) is not None:
            return True
        if oid in self.rotten:
            return self._file(oid) is not None
        try:
            status = (self.storage.root / self.objects.files.path(oid)).lstat()
        except FileNotFoundError:
            return False
        return S_ISREG(status.st_mode) and status.st_size == size

    def added(self, objects: int, stored: int) -> None:
        """Keep the totals right without counting again."""
        with self._lock:
            if self.totals.objects is not None and self.totals.stored is not None:
                self.totals.objects += objects
                self.totals.stored += stored

    # listing

    def list(self, after: str | None, limit: int) -> list[tuple[str, int | None]]:
        """(oid, length in bytes as in `find_many`) of at most `limit` objects behind `after`, sorted by oid, each once."""
        self.check_root()
        found: list[tuple[str, int | None]] = []
        for oid in oids_behind(self.objects, self.storage, after):
            located = self._locate(oid)
            if located is not None:
                with suppress(FileNotFoundError):
                    found.append((oid, self._known_size(located, oid)))
                if len(found) == limit:
                    break
        return found

    # deleting

    def delete(self, oid: str, holder: str) -> bool:
        """Remove every copy of an object; False when there is none. A pack that holds it is written again without it.

        It is a line of the storage's audit log before it happens, and does not happen while commands put objects there, which may
        be about to name this one. Raises Retained, StorageBusy, AuditFailed.
        """
        self.check_root()
        located = self.objects.locate(oid)
        if located is None:
            return False
        self._check_retained(oid)
        with hold(self.storage, "serve", holder, exclusive=True):
            when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            record = new_record(
                "remove", {oid: oid}, user=holder, when=when, reason="DELETE over HTTP", clone=self.identity or ""
            )
            AuditLog(self.storage).append(record)
            self.objects.delete(oid)
            packs = [pack for pack in self.objects.packs.packs(again=True) if oid in pack]
            if packs:
                self.objects.rewrite(lambda name: name != oid, packs)
        self.added(-1, -located.stored)
        self.rotten.pop(oid, None)
        self.bad_members.pop(oid, None)
        return True

    def _check_retained(self, oid: str) -> None:
        if not self.retain:
            return
        added = [
            record.time
            for record in AuditLog(self.storage).records()
            if record.operation not in DROPS and oid in record.files.values()
        ]
        until = retained_until({oid: min(added)}, oid, self.retain) if added else None
        if until is not None:
            raise Retained(
                f"{oid} is retained until {until}", rule="dvs-retained", fix="wait until then; `retain` is in dvs.toml"
            )

    # counting

    def count(self) -> Totals:
        """The totals, counted at most every ten minutes; one thread counts, the others get what was known before."""
        if self.totals.are_old:
            if not self._counting.acquire(timeout=_COUNT_WAIT if self.totals.objects is None else 0):
                return self.totals
            try:
                objects = stored = 0
                for _oid, length in self.objects.list():
                    objects += 1
                    stored += length
                self.totals = Totals(objects, stored, time.monotonic())
            finally:
                self._counting.release()
        return self.totals


def _identity_of(folder: Path) -> tuple[int, int] | None:
    """What tells one folder from another that comes to its path."""
    try:
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _in_pack(pack: Pack, left: dict[bytes, str]) -> Iterator[tuple[str, int]]:
    if len(left) * _BISECT_COST < len(pack):
        for oid in list(left.values()):
            member = pack.find(oid)
            if member is not None:
                yield oid, member.size
    else:
        for member in list(pack.members(left)):
            yield member.oid, member.size

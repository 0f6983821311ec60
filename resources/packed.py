"""Objects in packs and as files: one store over both, and over the layouts of older generations.

Objects below SMALL bytes are gathered into packs (`resources.packs`), larger ones are files `<algorithm>/<2 hex>/<rest>`, with
`.zst` behind it where they are kept compressed. Reading also finds what the third generation of the original tool left at
`<2 hex>/<rest>`. Nothing is handed out before it has been verified. When objects may be deleted is decided by the caller.
Light: standard library and blake3.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from resources import encoding
from resources.objects import ObjectStore, RottenObject
from resources.packs import RAW, SUFFIX, ZSTD, Member, Pack, PackWriter, key_of
from resources.storage.base import Storage
from resources.storage.local import LocalStorage
from schemas.dvs.oids import hasher, oid_of
from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS, parse_oid

SMALL: Final = 64 << 10
"""Objects of fewer bytes go into packs."""
PACK_BYTES: Final = 64 << 20
PACK_MEMBERS: Final = 100_000
FOLDER: Final = "packs"
ZST: Final = ".zst"
_OTHER_FOLDERS: Final = (FOLDER, "trash", "leases")
"""What lies beside loose objects in a storage."""
_BLOCK: Final = 1 << 20
_OPEN_PACKS: Final = 64
_LIST_FROM: Final = 2_000
"""From so many questions on, the folders are listed once instead of asking for each object."""


class _Ranges:
    """`packs.Ranges` over a file of a storage: positioned reads where there is a descriptor, else one reader at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.size = stream.seek(0, os.SEEK_END)
        try:
            self._fd: int | None = stream.fileno() if hasattr(os, "pread") else None
        except (OSError, AttributeError):
            self._fd = None

    def read(self, offset: int, length: int) -> bytes:
        if self._fd is not None:
            return os.pread(self._fd, length, offset)
        with self._lock:
            self._stream.seek(offset)
            return self._stream.read(length)

    def close(self) -> None:
        self._stream.close()


@dataclass(frozen=True, slots=True)
class Located:
    """Where an object lies: a file (`zst` tells how it is stored), or a member of a pack."""

    path: str
    zst: bool = False
    member: Member | None = None
    stored: int = 0


class PackFolder:
    """The packs of one object store. Indexes stay in memory once read: 60 bytes per object. Threads may share it."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self.storage = storage
        self.prefix = prefix
        self._packs: dict[str, Pack] | None = None
        self._lock = threading.RLock()
        self.damaged: dict[str, HeadwaterError] = {}
        """Packs that cannot be read, by path, with what is wrong."""

    def packs(self, *, again: bool = False) -> list[Pack]:
        """Every readable pack, those of other processes too when `again` looks anew."""
        with self._lock:
            if self._packs is None or again:
                known = self._packs or {}
                found = {stat.path for stat in self.storage.scan(self.prefix) if stat.path.endswith(SUFFIX)}
                for path in known.keys() - found:
                    known.pop(path).close()
                self.damaged = {path: error for path, error in self.damaged.items() if path in found}
                for path in sorted(found - known.keys() - self.damaged.keys()):
                    try:
                        ranges = _Ranges(self.storage.open(path))
                    except FileNotFoundError:
                        continue
                    try:
                        known[path] = Pack(ranges, path)
                    except HeadwaterError as error:
                        ranges.close()
                        self.damaged[path] = error
                self._packs = known
            return list(self._packs.values())

    def find(self, oid: str) -> Located | None:
        """The pack member of that oid; packs that appeared since they were listed are not looked into."""
        for pack in self.packs():
            member = pack.find(oid)
            if member is not None:
                return Located(pack.path, member.encoding == ZSTD, member, member.stored)
        return None

    def read(self, located: Located) -> bytes:
        """The stored bytes of a member. Raises DamagedPack, FileNotFoundError when the pack is gone: also when another thread let
        go of it meanwhile, and what was read is nothing or another file's."""
        assert located.member is not None
        with self._lock:
            pack = (self._packs or {}).get(located.path)
        if pack is None:
            raise FileNotFoundError(located.path)
        try:
            return pack.stored(located.member)
        except (OSError, ValueError, HeadwaterError):
            with self._lock:
                if (self._packs or {}).get(located.path) is pack:
                    raise
            raise FileNotFoundError(located.path) from None

    def close(self) -> None:
        """Let go of every pack."""
        with self._lock:
            for pack in (self._packs or {}).values():
                pack.close()
            self._packs = None


class PackedObjects:
    """The objects below `prefix` of a storage ('' for its root).

    `packed` says how small objects are written; `compress` whether large and small ones are compressed where it pays. `scratch`
    is a local folder for what is on its way into a pack.
    """

    def __init__(self, storage: Storage, scratch: Path, prefix: str = "", *, packed: bool = True, compress: bool = False) -> None:
        self.storage = storage
        self.scratch = scratch
        self.prefix = prefix
        self.packed = packed
        self.compress = compress
        self.files = ObjectStore(storage, prefix)
        self.packs = PackFolder(storage, f"{prefix}/{FOLDER}" if prefix else FOLDER)

    def close(self) -> None:
        """Let go of open packs; the store may be used again."""
        self.packs.close()

    # where things are

    def _candidates(self, oid: str) -> Iterator[tuple[str, bool]]:
        path = self.files.path(oid)
        yield path, False
        yield path + ZST, True
        algorithm, digits = parse_oid(oid)
        if algorithm == "blake3":
            below = f"{digits[:2]}/{digits[2:]}"
            yield (f"{self.prefix}/{below}" if self.prefix else below), False

    def locate(self, oid: str) -> Located | None:
        """Where the object lies, packs of other processes included; None when it is not here. Nothing is verified.

        Raises HeadwaterError (rule `oid-malformed`).
        """
        found = self.packs.find(oid)
        if found is not None:
            return found
        file = self.file_of(oid)
        if file is not None:
            return file
        self.packs.packs(again=True)
        return self.packs.find(oid)

    def has(self, oid: str) -> bool:
        """Whether the object is here. Its bytes are not read."""
        return self.locate(oid) is not None

    def present(self, oids: Iterable[str], sizes: Mapping[str, int] | None = None) -> set[str]:
        """Those of `oids` that are here, found with as few questions as possible. Their bytes are not read.

        With `sizes`, their lengths in bytes as far as they are known, a file of another length does not count: other tools leave
        such behind when they are killed.
        """
        wanted = oids if isinstance(oids, Collection) else list(oids)
        keys: set[bytes] = set()
        for pack in self.packs.packs(again=True):
            keys |= pack.key_set()
        here = {oid for oid in wanted if key_of(oid) in keys}
        del keys
        rest = {oid for oid in wanted if oid not in here}
        known = sizes or {}
        if len(rest) >= _LIST_FROM:
            return here | {oid for oid, path, size in self._files() if oid in rest and self._is_whole(oid, path, size, known)}
        for oid in rest:
            for path, _ in self._candidates(oid):
                stat = self.storage.stat(path)
                if stat is not None and self._is_whole(oid, path, stat.size, known):
                    here.add(oid)
        return here

    def _is_whole(self, oid: str, path: str, stored: int, sizes: Mapping[str, int]) -> bool:
        """Whether a file may be the object as far as lengths tell: its own where it is not encoded, at least some where it is."""
        size = sizes.get(oid)
        if size is None:
            return True
        return stored == size if path == self.files.path(oid) else bool(stored) or not size

    def file_of(self, oid: str) -> Located | None:
        """Where the object lies as a file, whether or not a pack holds it too."""
        for path, zst in self._candidates(oid):
            stat = self.storage.stat(path)
            if stat is not None:
                return Located(path, zst, None, stat.size)
        return None

    def files_only(self) -> Iterator[tuple[str, int]]:
        """(oid, stored bytes) of every object that is a file."""
        for oid, _path, size in self._files():
            yield oid, size

    def _files(self) -> Iterator[tuple[str, str, int]]:
        start = f"{self.prefix}/" if self.prefix else ""
        others = {start + name for name in _OTHER_FOLDERS}
        for found in self.storage.scan(self.prefix, enter=lambda folder: folder not in others):
            parts = found.path[len(start) :].removesuffix(ZST).split("/")
            if len(parts) == 2:
                parts.insert(0, "blake3")
            if len(parts) != 3 or parts[0] not in HEX_LENGTHS or len(parts[1]) != 2:
                continue
            oid = f"{parts[0]}:{parts[1]}{parts[2]}"
            with suppress(HeadwaterError):
                parse_oid(oid)
                yield oid, found.path, found.size

    def list(self) -> Iterator[tuple[str, int]]:
        """Every object's oid and stored length in bytes; one that lies in two places comes twice."""
        for pack in self.packs.packs(again=True):
            for member in pack:
                yield member.oid, member.stored
        yield from self.files_only()

    # reading

    def get(self, oid: str, *, limit: int | None = None) -> bytes:
        """The verified bytes. Raises FileNotFoundError, RottenObject (rule `object-rotten`), HeadwaterError (rule
        `file-too-large`) past `limit` bytes."""
        parts = []
        size = 0
        for block in self.blocks(oid):
            size += len(block)
            if limit is not None and size > limit:
                raise HeadwaterError(
                    f"the object {oid} has more than {limit} bytes", rule="file-too-large", fix="get it into a file"
                )
            parts.append(block)
        return b"".join(parts)

    def get_small(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(oid, verified bytes) of those of `oids` that are members of packs, in the order they lie: the quick way to many.

        What is damaged, or no member of a pack, is left out; `get` says what is wrong with it.
        """
        wanted = {key_of(oid): oid for oid in oids}
        for pack in self.packs.packs(again=True):
            members = sorted((member for member in pack.members(wanted)), key=lambda member: member.offset)
            for member in members:
                oid = wanted.pop(key_of(member.oid), None)
                if oid is None:
                    continue
                try:
                    stored = self.packs.read(Located(pack.path, member=member))
                    data = encoding.decompressed(stored, member.size) if member.encoding == ZSTD else stored
                except (HeadwaterError, FileNotFoundError):
                    continue
                if oid_of(data, parse_oid(oid)[0]) == oid:
                    yield oid, data

    def fetch(self, oid: str, target: Path) -> int:
        """Write the object to the new local file `target`, verified while it is written; returns its length in bytes.

        A bad copy is removed again. Raises as `get`, FileExistsError.
        """
        size = 0
        with target.open("xb") as file:
            try:
                for block in self.blocks(oid):
                    file.write(block)
                    size += len(block)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        return size

    def blocks(self, oid: str) -> Iterator[bytes]:
        """The raw bytes in blocks of at most 1 MiB (a small object is one block). What has been handed out is verified only
        when the last block has come: whoever stops before, or meets an error, must throw away what came.

        Raises FileNotFoundError, RottenObject (rule `object-rotten`).
        """
        for last in (False, True):
            located = self.locate(oid)
            if located is None:
                raise FileNotFoundError(oid)
            blocks = self.blocks_at(located, oid) if located.member is None else self._member_or_file(located, oid)
            try:
                first = next(blocks, b"")
            except FileNotFoundError:
                # It was moved to another pack since it was located: once more, with what lies there now.
                self.packs.packs(again=True)
                if last:
                    raise
                continue
            yield first
            yield from blocks
            return

    def _member_or_file(self, located: Located, oid: str) -> Iterator[bytes]:
        """`blocks_at` of a member of a pack; where it is damaged, of the file that holds the object too, if there is one."""
        try:
            yield b"".join(self.blocks_at(located, oid))
        except RottenObject:
            file = self.file_of(oid)
            if file is None:
                raise
            yield from self.blocks_at(file, oid)

    def blocks_at(self, located: Located, oid: str) -> Iterator[bytes]:
        """`blocks` of the copy of an object that `locate` has found."""
        made = hasher(parse_oid(oid)[0])
        try:
            for block in self._raw_blocks(located, oid):
                made.update(block)
                yield block
        except HeadwaterError as error:
            if isinstance(error, RottenObject):
                raise
            raise rotten(oid, located, error.message) from error
        if made.hexdigest() != parse_oid(oid)[1]:
            raise rotten(oid, located, "its bytes are not those its name says")

    def stretch(self, located: Located, oid: str, start: int, stop: int) -> Iterator[bytes]:
        """The raw bytes from `start` to before `stop` of a copy, in blocks of at most 1 MiB, not verified: for a caller who
        has verified this very copy before. Fewer bytes come when the object is shorter. Raises as `blocks`."""
        if located.member is None and not located.zst and not self._is_flat(located, oid):
            with self.storage.open(located.path) as file:
                file.seek(start)
                while start < stop and (block := file.read(min(_BLOCK, stop - start))):
                    start += len(block)
                    yield block
            return
        at = 0
        for block in self._raw_blocks(located, oid):
            part = block[max(0, start - at) : max(0, stop - at)]
            at += len(block)
            if part:
                yield part
            if at >= stop:
                return

    def _raw_blocks(self, located: Located, oid: str) -> Iterator[bytes]:
        member = located.member
        if member is not None:
            stored = self.packs.read(located)
            yield encoding.decompressed(stored, member.size) if located.zst else stored
            return
        with self.storage.open(located.path) as file:
            stored_blocks = iter(lambda: file.read(_BLOCK), b"")
            if located.zst or (self._is_flat(located, oid) and _starts_zstd(file) and self._differs(located, oid)):
                yield from encoding.decompress_blocks(stored_blocks, None)
            else:
                yield from stored_blocks

    def raw_size(self, located: Located, oid: str) -> int | None:
        """The length in bytes of the object itself, None where it must be unfolded to know it."""
        if located.member is not None:
            return located.member.size
        return None if located.zst or self._is_flat(located, oid) else located.stored

    def _is_flat(self, located: Located, oid: str) -> bool:
        """Whether the object lies where the third generation puts it, which keeps how it is stored in the sidecar."""
        return located.path not in (self.files.path(oid), self.files.path(oid) + ZST)

    def _differs(self, located: Located, oid: str) -> bool:
        """Whether the file's own bytes are others than the oid names, so that they must be an encoding of them."""
        return self.storage.digest(located.path) != oid

    def verify(self, oid: str) -> None:
        """Re-hash one object where it lies. Raises as `blocks`."""
        for _ in self.blocks(oid):
            pass

    # writing

    def put(self, source: bytes | Path, *, oid: str | None = None, algorithm: str = "blake3") -> str:
        """Keep the bytes, or a copy of the local file, durably; returns their oid. What is here already is not written again.

        Raises HeadwaterError (rule `oid-mismatch`) when `oid` is not that of the bytes.
        """
        with self.batch() as batch:
            return batch.put(source, oid=oid, algorithm=algorithm)

    def batch(self, *, packed: bool | None = None) -> Batch:
        """A context manager for putting many objects: they are here, durably, once it has ended without an error. `packed` says
        whether small ones go into packs, when that is not what the store does."""
        return Batch(self, self.packed if packed is None else packed)

    def delete(self, oid: str) -> None:
        """Remove the files of an object. Members of packs go when their pack is rewritten (`rewrite`)."""
        for path, _ in self._candidates(oid):
            self.storage.delete(path)

    def rewrite(self, keep: Callable[[str], bool], packs: Iterable[Pack]) -> int:
        """Write the members that `keep` names of these packs into new ones, then delete the old packs; returns how many
        members are gone. Killed in between, every object that is kept lies in at least one pack."""
        gone = 0
        old = list(packs)
        kept: dict[str, tuple[Pack, Member]] = {}
        for pack in old:
            for member in pack:
                if keep(member.oid):
                    kept.setdefault(member.oid, (pack, member))
                else:
                    gone += 1
        with self.batch() as batch:
            for oid in sorted(kept):
                pack, member = kept[oid]
                batch.put_stored(oid, pack.stored(member), member.size, member.encoding)
            new = batch.flush()
        for pack in old:
            # A pack of the same members is the same file.
            if pack.path not in new:
                self.storage.delete(pack.path)
        self.packs.packs(again=True)
        return gone


class Batch:
    """Objects on their way into a store: small ones gather in packs, large ones are put at once.

    Nothing of it counts before the block ends; an error inside leaves large objects that were put, which nobody names. A pack
    that cannot be kept takes objects with it that were put long before: from then on every call raises that error again, and so
    does the end of the block, for a caller who goes on after errors of single files.
    """

    def __init__(self, store: PackedObjects, packed: bool) -> None:
        self.store = store
        self.packed = packed
        self._writer: PackWriter | None = None
        self._new: list[str] = []
        self._failed: Exception | None = None
        # Looked at anew: what a pack held that somebody collected or wrote again is not here any more.
        self._known = {key for pack in store.packs.packs(again=True) for key in pack.key_set()} if packed else set()

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._failed is None:
            self.flush()
            return
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        if kind is None:
            self._refuse_failed()

    def _refuse_failed(self) -> None:
        if self._failed is not None:
            raise self._failed.with_traceback(None)

    def put(self, source: bytes | Path, *, oid: str | None = None, algorithm: str = "blake3") -> str:
        """Keep the bytes, or a copy of the local file; returns their oid. Raises as `PackedObjects.put`."""
        if isinstance(source, Path):
            if source.stat().st_size >= SMALL or not self.packed:
                return self._put_file(source, oid, algorithm)
            source = source.read_bytes()
        made = oid_of(source, parse_oid(oid)[0] if oid is not None else algorithm)
        if oid is not None and made != oid:
            raise _mismatch(oid)
        if len(source) >= SMALL or not self.packed:
            self._put_bytes(made, source)
        elif key_of(made) not in self._known:
            stored = encoding.compressed(source) if self.store.compress else None
            self.put_stored(made, stored or source, len(source), ZSTD if stored else RAW)
        return made

    def put_stored(self, oid: str, stored: bytes, size: int, stored_as: int) -> None:
        """Put a small object as it is stored; the caller vouches for its oid."""
        self._refuse_failed()
        try:
            if self._writer is None:
                self.store.scratch.mkdir(parents=True, exist_ok=True)
                self._writer = PackWriter(self.store.scratch / f"{os.getpid()}-{id(self)}-{len(self._new)}{SUFFIX}")
            self._writer.add(oid, stored, size=size, encoding=stored_as)
        except Exception as error:
            self._failed = error
            raise
        if self._writer.size >= PACK_BYTES or len(self._writer) >= PACK_MEMBERS:
            self.flush()

    def flush(self) -> list[str]:
        """Make what has been put so far durable and visible; returns the paths of the packs written by this batch."""
        self._refuse_failed()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                name, oid = writer.finish()
                path = f"{self.store.packs.prefix}/{name}{SUFFIX}"
                if self.store.packs.damaged.pop(path, None) is not None:
                    # What lies there under this name is of no use, and might be taken for the new pack.
                    self.store.storage.delete(path)
                storage = self.store.storage
                if isinstance(storage, LocalStorage):
                    storage.add(path, writer.path, oid=oid, take=True)
                else:
                    storage.add(path, writer.path, oid=oid)
                self._new.append(path)
            except Exception as error:
                self._failed = error
                raise
            finally:
                writer.path.unlink(missing_ok=True)
            self.store.packs.packs(again=True)
        return list(self._new)

    def _put_bytes(self, oid: str, data: bytes) -> None:
        if self._present(oid, len(data)):
            return
        stored = encoding.compressed(data) if self.store.compress else None
        path = self.store.files.path(oid)
        if stored is None:
            self.store.storage.add(path, data, oid=oid)
        else:
            self.store.storage.add(path + ZST, stored, oid=oid_of(stored, "blake3"))

    def _present(self, oid: str, size: int) -> bool:
        """Whether the object is there as a file; what was left torn under its name goes."""
        store = self.store
        for path, _ in store._candidates(oid):
            stat = store.storage.stat(path)
            if stat is None:
                continue
            if store._is_whole(oid, path, stat.size, {oid: size}):
                return True
            store.storage.delete(path)
        return False

    def _put_file(self, source: Path, oid: str | None, algorithm: str) -> str:
        from schemas.dvs.oids import oid_of_stream

        if oid is None and not self.store.compress and isinstance(self.store.storage, LocalStorage):
            from resources.storage.incoming import add_hashed

            store = self.store
            return add_hashed(self.store.storage, source, store.prefix, store.files.path, hasher(algorithm), algorithm)[0]
        if oid is None:
            with source.open("rb") as file:
                oid, _ = oid_of_stream(file, algorithm)
        if self._present(oid, source.stat().st_size):
            return oid
        with source.open("rb") as file:
            pays = self.store.compress and encoding.worth_compressing(file.read(_BLOCK))
        if not pays:
            self.store.storage.add(self.store.files.path(oid), source, oid=oid)
            return oid
        self.store.scratch.mkdir(parents=True, exist_ok=True)
        made = self.store.scratch / f"{os.getpid()}-{id(self)}{ZST}"
        try:
            hashed = hasher(parse_oid(oid)[0])
            with source.open("rb") as file, made.open("wb") as target:
                encoding.compress_stream(_Hashing(file, hashed.update), target)
            if hashed.hexdigest() != parse_oid(oid)[1]:
                raise _mismatch(oid)
            with made.open("rb") as file:
                stored_oid, _ = oid_of_stream(file, "blake3")
            self.store.storage.add(self.store.files.path(oid) + ZST, made, oid=stored_oid)
        finally:
            made.unlink(missing_ok=True)
        return oid


class _Hashing:
    """A stream that shows every block it hands out to a hash."""

    def __init__(self, stream: BinaryIO, see: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._see = see

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._see(block)
        return block


def _starts_zstd(file: BinaryIO) -> bool:
    start = file.read(len(encoding.MAGIC))
    file.seek(0)
    return start == encoding.MAGIC


def _mismatch(oid: str) -> HeadwaterError:
    return HeadwaterError(
        f"the bytes are not those of {oid}", rule="oid-mismatch", fix="wait until nothing writes to the file, then try again"
    )


def rotten(oid: str, located: Located, what: str) -> RottenObject:
    """The error for an object whose stored bytes are not what its name says."""
    return RottenObject(
        f"the stored object {oid} is damaged: {what}",
        path=located.path,
        rule="object-rotten",
        fix="`headwater dvs verify --repair` looks for a whole copy in the cache, the working tree and the remotes",
    )

"""Objects on their way into an object server: hashed as they come, shown only when they are whole, right and durable.

Where they lie and what is here already is the store's business (`resources.server.objects`). All of it blocks.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from resources.encoding import Decoder
from resources.storage.durable import sync_file
from resources.storage.folders import Folder
from resources.storage.leftovers import temporary_name
from resources.storage.staging import discard
from schemas.dvs.oids import hasher
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

if TYPE_CHECKING:
    from resources.server.objects import ServedObjects

_OBJECT_MODE: Final = 0o444
_FORGET_FROM: Final = 64 << 10
"""Objects of so many bytes are not kept in memory after they were written."""
_SYNC_EVERY: Final = 4 << 20
"""Bytes of a large object after which it is flushed while more of it comes."""


class Mismatch(HeadwaterError):
    """The bytes that came are not those the oid names."""


class TooMuch(HeadwaterError):
    """More bytes came than are taken."""


class Incoming:
    """One object on its way in: hashed as it comes, written beside its final place under a temporary name.

    What comes in one part is written only after it was found to be right and not to be here.
    """

    def __init__(self, store: ServedObjects, oid: str, encoding: str | None = None) -> None:
        self.store = store
        self.oid = oid
        self.size = 0
        self._hash = hasher(parse_oid(oid)[0])
        self._decoder = Decoder() if encoding == "zstd" else None
        *self._above, self._name = store.objects.files.path(oid).split("/")
        self._first: bytes | None = None
        """The first part, until it is written."""
        self._stack = ExitStack()
        self._folder: Folder | None = None
        self._temporary = ""
        self._fd: int | None = None
        self._unsynced = 0
        self._over = False
        self._lock = threading.Lock()
        """Held while the file is used: a server that ends abandons what a thread may still be writing."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooMuch, HeadwaterError (rule `object-encoding`), OSError."""
        with self._lock:
            if self._over:
                raise ValueError("the upload was abandoned")
            if self._decoder is None:
                self._take(data)
            else:
                for block in self._decoder.feed(data):
                    self._take(block)

    def _take(self, data: bytes) -> None:
        first = self.size == 0
        self.size += len(data)
        if self.size > self.store.cap:
            raise TooMuch(
                f"the object has more than {self.store.cap} bytes",
                rule="file-too-large",
                fix="raise max_upload in the server's settings, or keep the object elsewhere",
            )
        self._hash.update(data)
        if first:
            self._first = data
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        fd = self._open() if self._fd is None else self._fd
        if self._first is not None:
            data, self._first = self._first + data, None
        write_whole(fd, data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY:
            # What is dirty must not pile up: whoever flushes the file system next would wait for all of it.
            os.fdatasync(fd) if hasattr(os, "fdatasync") else sync_file(fd)
            _forget_pages(fd)
            self._unsynced = 0

    def _open(self) -> int:
        for attempt in range(2):
            try:
                self._folder = self._stack.enter_context(self.store.places.folder(tuple(self._above)))
                self._temporary = temporary_name(self._name)
                self._fd = self._folder.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:
                if attempt:
                    raise
                self.store.places.forget()
            else:
                break
        assert self._fd is not None
        return self._fd

    def finish(self) -> bool:
        """Verify, make durable and show the object; False when it was here already. Raises Mismatch, OSError."""
        with self._lock:
            if not self.stage():
                return False
            self.sync()
            self.settle()
            assert self._folder is not None
            self._folder.sync()
            return True

    def stage(self) -> bool:
        """Verify, and write what is not written; False when the object is here already. Raises as `finish`."""
        if self._decoder is not None:
            self._decoder.finish()
        if self._hash.hexdigest() != parse_oid(self.oid)[1]:
            raise Mismatch(
                f"the {self.size} bytes that came are not those of {self.oid}",
                rule="oid-mismatch",
                fix="send the bytes again; when that does not help, the file was changed after its oid was computed",
            )
        if self.store.present(self.oid, self.size):
            return False
        self._write(b"")
        assert self._fd is not None
        sharing = self.store.storage.sharing
        if sharing is not None:
            sharing.give(self._fd, sharing.object_mode or _OBJECT_MODE)
        elif hasattr(os, "fchmod"):
            os.fchmod(self._fd, _OBJECT_MODE)
        return True

    def sync(self) -> None:
        """Make the staged bytes durable."""
        assert self._fd is not None
        sync_file(self._fd)
        self.forget_pages()

    def forget_pages(self) -> None:
        """Take a flushed object out of memory when it is large enough to matter."""
        if self._fd is not None and self.size >= _FORGET_FROM:
            _forget_pages(self._fd)

    def settle(self) -> str:
        """Show the object under its name; returns its folder, whose flush makes that durable."""
        assert self._folder is not None
        self._folder.settle(self._temporary, self._name)
        self._temporary = ""
        self.store.rotten.pop(self.oid, None)
        self.store.added(1, self.size)
        return "/".join(self._above)

    @property
    def path(self) -> str:
        """Where the staged bytes lie."""
        return "/".join((*self._above, self._temporary))

    def abandon(self) -> None:
        """Let go, and remove what was not finished. Harmless after `finish`."""
        with self._lock:
            self._over = True
            self._first = None
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
                if self._temporary and self._folder is not None:
                    discard(self._folder, self._temporary)
            self._stack.close()


class IncomingMany:
    """Many objects on their way in: small ones gather in packs, larger ones are taken one by one; they count at the end."""

    def __init__(self, store: ServedObjects) -> None:
        self.store = store
        self._batch = store.objects.batch()
        self._new: dict[str, int] = {}

    def keep(self, oid: str, data: bytes) -> bool:
        """Take a small object; False when it is here already. Raises Mismatch."""
        if self.store.present(oid, len(data)):
            self._verify(oid, data)
            return False
        if oid in self.store.bad_members or not self.store.objects.packed:
            return self.store.keep(oid, data)
        try:
            self._batch.put(data, oid=oid)
        except HeadwaterError as error:
            raise Mismatch(error.message, rule=error.rule, fix="send the bytes again") from None
        self._new[oid] = len(data)
        return True

    def _verify(self, oid: str, data: bytes) -> None:
        algorithm, digits = parse_oid(oid)
        made = hasher(algorithm)
        made.update(data)
        if made.hexdigest() != digits:
            raise Mismatch(f"the bytes that came are not those of {oid}", rule="oid-mismatch", fix="send the bytes again")

    def finish(self) -> None:
        """Make all of them durable and visible."""
        self._batch.__exit__(None, None, None)
        self.store.added(len(self._new), sum(self._new.values()))
        self._new = {}

    def abandon(self) -> None:
        """Forget the small ones. Harmless after `finish`."""
        self._batch.__exit__(GeneratorExit, None, None)


def _forget_pages(fd: int) -> None:
    """Take a flushed file out of memory: what goes up is seldom asked for soon, and fresh memory for its pages costs more than
    all else of an upload (428 against 2,047 MiB/s measured on a virtual machine)."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def write_whole(fd: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

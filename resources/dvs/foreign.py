"""Objects of other tools: files that are named by another hash, verified by it, and kept under the name we give them.

Each is read once; both hashes see the same bytes, and a large one becomes visible only when the other tool's hash is right.
Which of our oids stands for which foreign digest is remembered on this machine (`aliases.db`, a hint that can be lost), so that
what was taken once is not read again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat as modes
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from resources.dvs.incoming import OnConflict, needs_writing, new_arrivals, plan, told, write
from resources.dvs.results import Report, Row
from resources.packed import SMALL
from resources.storage.local import LocalStorage
from schemas.dvs.oids import hasher
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import Batch

_BLOCK: Final = 1 << 20
_FORMAT: Final = 1
_TEXT_BYTES: Final = bytes(range(32, 127)) + b"\n\r\t\f\b"
_ASKED: Final = 500


class Hash(Protocol):
    """What hash objects have in common."""

    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


class UnixText:
    """MD5 as DVC before 3.0 made it: in blocks of 1 MiB that look like text, CRLF counts as LF.

    `update` must be given whole blocks of 1 MiB, the last one apart (dvc-data, `hashfile/hash.py`).
    """

    def __init__(self) -> None:
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes, /) -> None:
        start = data[:512]
        text = b"\0" not in start and len(start.translate(None, _TEXT_BYTES)) <= 0.3 * len(start)
        self._hash.update(data.replace(b"\r\n", b"\n") if text else data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def foreign_hasher(algorithm: str) -> Hash:
    """A new hash object for `md5`, `md5-dos2unix` or `sha256`."""
    if algorithm == "md5-dos2unix":
        return UnixText()
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "sha256":
        return hashlib.sha256()
    raise ValueError(algorithm)


@dataclass(frozen=True, slots=True)
class Item:
    """One file of another tool: where it is tracked here, its digest as `algorithm:hex`, its length where that is known, and the
    places on this machine where its bytes may lie, the best first."""

    path: str
    digest: str
    size: int | None
    places: tuple[Path, ...]


@dataclass(slots=True)
class Taken:
    """What became of the digests: (oid, length in bytes) of those that are in the storage, and what is wrong with the others."""

    oids: dict[str, tuple[str, int]] = field(default_factory=dict)
    errors: dict[str, HeadwaterError] = field(default_factory=dict)


def import_items(
    repo: DvsRepo,
    items: Sequence[Item],
    rows: Sequence[Row],
    *,
    said: str,
    fix: str,
    show: Sequence[str] = (),
    conflict: OnConflict = OnConflict.ABORT,
    from_git: Collection[str] = (),
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    after: Callable[[set[str], Mapping[str, tuple[str, int]]], None] = lambda _paths, _oids: None,
) -> Report:
    """Put the bytes of the items into the storage and track the files. One row per item, besides the `rows` that are given.

    `said` is the message of the sidecars, the log and the audit log; `show`, `conflict` and `from_git` are as in `incoming`.
    `after(tracked paths, oids by digest)` is called once the text is written. Items whose bytes are missing or damaged become
    rows while the others go on; a clash means, with ABORT, that no text is written.
    """
    report = Report("import")
    with repo.lease("import"):
        taken = take_all(repo, items, fix=fix, dry_run=dry_run, progress=progress)
        pairs = [(item.path, item.digest) for item in items]
        arrivals, lost = new_arrivals(repo, pairs, taken.oids, taken.errors, said)
        made = plan(repo, arrivals, conflict=conflict, from_git=from_git)
        report.add([*rows, *lost])
        if not made.clashes and not dry_run:
            if needs_writing(repo, made):
                hide = [row.path for row in lost]
                report.state = write(repo, made, operation="import", message=said, show=show, hide=hide)
            after({one.path for one in (*made.fresh, *made.present)}, taken.oids)
    return told(report, made)


def take_all(
    repo: DvsRepo,
    items: Iterable[Item],
    *,
    fix: str,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Taken:
    """Put the bytes of every item into the storage, each digest once; call it under a lease. With `dry_run` they are only read.

    `fix` says how missing bytes are brought. Raises HeadwaterError for what concerns everything, such as a storage that cannot be
    written.
    """
    wanted: dict[str, Item] = {}
    for item in items:
        wanted.setdefault(item.digest, item)
    aliases = Aliases(repo.local / "aliases.db")
    made = Taken(_known(repo, aliases, wanted))
    new: dict[str, tuple[str, int]] = {}
    with repo.objects.batch() as batch:
        for digest, item in wanted.items():
            if digest in made.oids:
                continue
            if progress is not None:
                progress(item.path)
            try:
                new[digest] = _take(repo, item, None if dry_run else batch, fix)
            except HeadwaterError as error:
                if error.rule not in _OF_ONE:
                    raise
                made.errors[digest] = error
    made.oids |= new
    if not dry_run:
        aliases.learn(new)
    return made


_OF_ONE: Final = frozenset(
    {"dvs-storage-missing", "dvs-hash-mismatch", "dvs-permission-denied", "dvs-io-error", "dvs-file-changing"}
)
"""What is wrong with one file, while the others go on."""


def _known(repo: DvsRepo, aliases: Aliases, wanted: Mapping[str, Item]) -> dict[str, tuple[str, int]]:
    """Digests whose oid is known, and held by the storage."""
    algorithm = repo.config.hash_algo
    found = {digest: held for digest, held in aliases.find(wanted).items() if held[0].startswith(f"{algorithm}:")}
    present = repo.objects.present({oid for oid, _size in found.values()})
    return {digest: held for digest, held in found.items() if held[0] in present}


def _take(repo: DvsRepo, item: Item, batch: Batch | None, fix: str) -> tuple[str, int]:
    damaged: HeadwaterError | None = None
    for place in item.places:
        try:
            return _take_from(repo, place, item, batch)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            rule = "dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-io-error"
            said = f"{place} cannot be read: {error.strerror or error}"
            damaged = HeadwaterError(said, rule=rule, path=item.path, fix="make it readable, then try again")
        except HeadwaterError as error:
            if error.rule not in _OF_ONE:
                raise
            # A working file that was edited is no damage while its bytes may lie elsewhere.
            damaged = damaged or error
    raise damaged or HeadwaterError(
        f"the bytes of {item.digest} are not on this machine", rule="dvs-storage-missing", path=item.path, fix=fix
    )


def _take_from(repo: DvsRepo, place: Path, item: Item, batch: Batch | None) -> tuple[str, int]:
    """Put one file; returns oid and length. Raises FileNotFoundError for what is no regular file, HeadwaterError, OSError."""
    algorithm, _, digits = item.digest.partition(":")
    fd = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(fd)
        if not modes.S_ISREG(status.st_mode):
            raise FileNotFoundError(place)
        if item.size is not None and status.st_size != item.size:
            raise _differs(item, place)
        made: Any = Both(repo.config.hash_algo, algorithm)
        if status.st_size < SMALL:
            data = os.read(fd, SMALL + 1)
            made.update(data)
            _check(made, digits, item, place)
            oid = made.oid
            if batch is not None:
                batch.put(data, oid=oid)
            return oid, len(data)
        storage = repo.objects.storage
        if batch is None or repo.objects.compress or not isinstance(storage, LocalStorage):
            size = 0
            while block := os.read(fd, _BLOCK):
                made.update(block)
                size += len(block)
            _check(made, digits, item, place)
            if batch is not None:
                batch.put(place, oid=made.oid)
            return made.oid, size
    finally:
        os.close(fd)
    from resources.storage.incoming import add_hashed

    def path_of(oid: str) -> str:
        # Asked when all bytes have been copied and before they get a name: the moment to look at the other hash.
        _check(made, digits, item, place)
        return repo.objects.files.path(oid)

    return add_hashed(storage, place, repo.objects.prefix, path_of, made, repo.config.hash_algo)


class Both:
    """A hash of ours and a foreign one over the same bytes."""

    def __init__(self, ours: str, foreign: str) -> None:
        self._algorithm = ours
        self._ours: Hash = hasher(ours)
        self._foreign = self._ours if ours == foreign else foreign_hasher(foreign)

    def update(self, data: bytes) -> None:
        self._ours.update(data)
        if self._foreign is not self._ours:
            self._foreign.update(data)

    def hexdigest(self) -> str:
        """The digits of ours."""
        return self._ours.hexdigest()

    @property
    def oid(self) -> str:
        return f"{self._algorithm}:{self._ours.hexdigest()}"

    @property
    def foreign(self) -> str:
        """The digits of the other."""
        return self._foreign.hexdigest()


def _check(made: Both, digits: str, item: Item, place: Path) -> None:
    if made.foreign != digits:
        raise _differs(item, place)


def _differs(item: Item, place: Path) -> HeadwaterError:
    return HeadwaterError(
        f"the bytes of {place} are not those of {item.digest}",
        rule="dvs-hash-mismatch",
        path=item.path,
        fix="fetch it anew with the tool it comes from: the file is damaged, or it was edited",
    )


class Aliases:
    """Which oid stands for which foreign digest, as this machine has learned. A hint: a damaged file is made anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, digests: Iterable[str]) -> dict[str, tuple[str, int]]:
        """(oid, length in bytes) of those that are known."""
        wanted = list(digests)
        found: dict[str, tuple[str, int]] = {}
        if not wanted or not self.path.exists():
            return found
        with suppress(sqlite3.Error), closing(self._open()) as connection:
            for start in range(0, len(wanted), _ASKED):
                part = wanted[start : start + _ASKED]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"select digest, oid, size from aliases where digest in ({marks})", part)
                found |= {digest: (oid, size) for digest, oid, size in rows}
        return found

    def learn(self, known: Mapping[str, tuple[str, int]]) -> None:
        """Remember these."""
        if not known:
            return
        for _attempt in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._open()) as connection, connection:
                    rows = [(digest, oid, size) for digest, (oid, size) in known.items()]
                    connection.executemany("insert or replace into aliases values (?, ?, ?)", rows)
                return
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    return
                self.path.unlink(missing_ok=True)
            except OSError:
                return

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            if connection.execute("pragma user_version").fetchone()[0] != _FORMAT:
                with connection:
                    connection.execute("drop table if exists aliases")
                    connection.execute(
                        "create table aliases(digest text primary key, oid text not null, size integer not null) without rowid"
                    )
                    connection.execute(f"pragma user_version = {_FORMAT}")
        except BaseException:
            connection.close()
            raise
        return connection

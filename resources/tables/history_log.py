"""`history.log` on a storage: reading, repairing a torn tail, appending one record durably, and the texts beside it.

What a line may say is `schemas.tables.history`. Nothing here applies a record to a database or to text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from resources.storage.base import ABSENT, Expect, Storage
from schemas.errors import HeadwaterError
from schemas.ids import new_ulid
from schemas.oid import bytes_oid
from schemas.tables.history import FORK, Fork, Log, Record, RecordKind, Splice, header_line, read_log, verify_kept

LIMIT = 1 << 30
"""Bytes of a log that is read."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it has its place in the log: everything but id, seq, prev and ts."""

    actor: str
    kind: RecordKind
    cmd: str
    before: str
    after: str
    args: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True
    rows: int = 0
    format: int = 1
    changes: tuple[Splice, ...] = ()
    error: str | None = None
    id: str | None = None
    """Fixed when the same change may be recorded twice: an id that already stands in the log is not appended again."""


def _now() -> datetime:
    return datetime.now(UTC)


class HistoryLog:
    """The log of one project at `path` of `storage`.

    Appends are one write under the project's lock; the caller holds `lock()` around reading the text, changing it and
    appending, so that `before` and `after` are true.
    """

    def __init__(self, storage: Storage, path: str, *, clock: Clock = _now) -> None:
        self.storage = storage
        self.path = path
        self._clock = clock

    def exists(self) -> bool:
        """Whether the log has been started."""
        return self.storage.stat(self.path) is not None

    def read(self) -> Log | None:
        """The log as it lies on disk (a torn tail kept apart, nothing repaired), or None when there is none.

        Raises InvalidText for a line that cannot be believed, NewerFormat for a later version.
        """
        data = self._bytes()
        return None if data is None else read_log(data, self.path)

    def _bytes(self) -> bytes | None:
        try:
            return self.storage.read(self.path, limit=LIMIT)
        except FileNotFoundError:
            return None

    def repair(self) -> str | None:
        """Mend the end of the log: a whole last record gets its line feed, a torn one moves to `history.log.torn`.

        Returns one line for the user, or None when nothing was wrong. Errors as `read`.
        """
        data = self._bytes()
        if data is None:
            return None
        log = read_log(data, self.path)
        if log.torn:
            torn_path = f"{self.path}.torn"
            try:
                earlier, expect = self.storage.read(torn_path, limit=LIMIT), None
            except FileNotFoundError:
                earlier, expect = b"", ABSENT
            kept: Expect = bytes_oid(earlier) if expect is None else ABSENT
            if not earlier.endswith(log.torn + b"\n"):
                self.storage.write(torn_path, earlier + log.torn + b"\n", expect=kept)
            self.storage.write(self.path, data[: log.good], expect=bytes_oid(data))
            return f"{self.path}: the last record was torn; its {len(log.torn)} bytes were moved to {torn_path}"
        if log.unended:
            self.storage.write(self.path, data + b"\n", expect=bytes_oid(data))
            return f"{self.path}: the last record lacked its line feed, which was added"
        return None

    def start(self, project: str | None = None) -> None:
        """Write the header of a new log for project id `project` (a new one when None); nothing happens when there is a log."""
        if not self.exists():
            self.storage.write(self.path, header_line(project or new_ulid()), expect=ABSENT)

    def append(self, draft: Draft) -> Record:
        """Append `draft` as the next record, after repairing a torn tail, and return the record.

        Raises HeadwaterError (rule `history-fork`) while the log has two heads, else as `read`.
        """
        self.start()
        self.repair()
        data = self._bytes() or b""
        log = read_log(data, self.path)
        if log.fork is not None:
            raise fork_error(log, log.fork, self.path)
        for present in log.records:
            if draft.id is not None and present.id == draft.id:
                return present
        record = Record(
            id=draft.id or new_ulid(),
            seq=log.next_seq,
            prev=log.head,
            ts=self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            actor=draft.actor,
            kind=draft.kind,
            cmd=draft.cmd,
            args=dict(draft.args),
            ok=draft.ok,
            rows=draft.rows,
            format=draft.format,
            before=draft.before,
            after=draft.after,
            changes=list(draft.changes),
            error=draft.error,
        )
        line = record.line()
        if self.storage.local_root is None:
            self.storage.write(self.path, data + line, expect=bytes_oid(data))
        else:
            self.storage.append(self.path, line)
        return record

    def replace(self, old: bytes, records: list[Record], header: bytes) -> None:
        """Put a rebased log in the place of `old` (compare-and-swap); the old bytes go to `history.log.forked`."""
        self.storage.write(f"{self.path}.forked", old)
        self.storage.write(self.path, header + b"".join(record.line() for record in records), expect=bytes_oid(old))


class HistoryTexts:
    """The texts that records of a log only name: immutable files below the log's folder `prefix` ('' or ending in `/`).

    They are as authoritative as the log. A text is durable here before the record that names it is appended; each is called
    by its digest, so two branches that add texts merge without a conflict, and a text that is there is not written again. They
    are not packed: git keeps the same bytes as the CSV file's own, once.
    """

    def __init__(self, storage: Storage, prefix: str) -> None:
        self.storage = storage
        self.prefix = prefix

    def path(self, change: Splice) -> str:
        """Where the text that `change` names lies. Raises ValueError for a change that carries its text."""
        if change.kept is None:
            raise ValueError("the record carries this text itself")
        return self.prefix + change.kept

    def has(self, change: Splice) -> bool:
        """Whether there is a file for the text; its bytes are not read."""
        return self.storage.stat(self.path(change)) is not None

    def put(self, change: Splice, data: bytes) -> None:
        """Keep the text that `change` names, durably. A file that was damaged is replaced."""
        path, oid = self.path(change), change.oid or ""
        if not self.storage.add(path, data, oid=oid) and self.storage.digest(path) != oid:
            self.storage.write(path, data)

    def get(self, change: Splice) -> bytes | None:
        """The text, verified; None when it is not there. Raises HeadwaterError (rule `history-text`) naming a damaged file."""
        path = self.path(change)
        try:
            data = self.storage.read(path, limit=LIMIT)
        except FileNotFoundError:
            return None
        verify_kept(change.kept or "", data, path)
        return data

    def drop(self, changes: Iterable[Splice], log: Log | None) -> None:
        """Remove the texts of a record that was never appended, except those that a record of `log` names."""
        named = {change.oid for record in log.records for change in record.changes} if log is not None else set()
        for change in changes:
            if change.oid is not None and change.oid not in named:
                self.storage.delete(self.path(change))


def fork_error(log: Log, fork: Fork, path: str) -> HeadwaterError:
    """The error that names both heads of a forked log."""

    def head(lines: tuple[int, ...]) -> str:
        record = log.records[lines[-1] - 2]
        return f"line {lines[-1]} ({record.ts} {record.actor}: {' '.join(record.cmd.split())[:60]})"

    return HeadwaterError(
        f"the log has two heads after line {fork.parent}: {head(fork.first)} and {head(fork.second)}",
        rule=FORK.id,
        path=path,
        line=fork.second[0],
        fix="run `headwater tables replay --rebase` to put the second branch after the first",
    )


def relink(records: list[Record], header: bytes) -> list[Record]:
    """`records` in the given order with new seq and prev, the content of each unchanged."""
    previous = header.rstrip(b"\n")
    linked: list[Record] = []
    for number, record in enumerate(records, start=1):
        made = record.model_copy(update={"seq": number, "prev": bytes_oid(previous)})
        previous = made.line().rstrip(b"\n")
        linked.append(made)
    return linked

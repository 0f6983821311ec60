"""The audit log of a shared storage: who put, dropped or restored what, when and why, as a chain of hashes.

`audit.log.jsonl` lies in the storage and only grows. Each line names the BLAKE3 of the line before in `prev`, so that a line that
is changed, removed or put in breaks the chain. Two machines that append at the same moment may name the same line: a fork, which
is reported and breaks nothing. What cuts the end off is seen by whoever remembers the last line: each clone does. Lines of the
third generation of the original tool (`timestamp`, `user`, `action`, without a chain) are read. Light: standard library, blake3.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from resources.storage.base import ABSENT, Expect, Storage
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "audit.log.jsonl"
_ATTEMPTS: Final = 50
_TAIL: Final = 1 << 16
MAX_LOG: Final = 4 << 30


class AuditFailed(HeadwaterError):
    """The operation's line could not be written, so the operation does not count."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line: `files` are oids by path; `chained` is False for lines of other tools, which have no `prev`."""

    operation_id: str
    time: str
    user: str
    uid: int | None
    operation: str
    files: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    clone: str | None = None
    prev: str | None = None
    chained: bool = True

    def to_line(self, prev: str | None) -> bytes:
        """The line, which names the oid `prev` of the line before it."""
        record: dict[str, Any] = {
            "operation_id": self.operation_id,
            "time": self.time,
            "user": self.user,
            "uid": self.uid,
            "operation": self.operation,
            "files": dict(self.files),
        }
        if self.reason:
            record["reason"] = self.reason
        if self.clone:
            record["clone"] = self.clone
        return json.dumps({**record, "prev": prev}, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """What is wrong with one line (counted from 1): `kind` is damaged, broken, forked or cut."""

    line: int
    kind: str
    message: str


class AuditLog:
    """The audit log in a storage. `remembered` is a local file that keeps the oid of the last line this clone has written."""

    def __init__(self, storage: Storage, remembered: Path | None = None) -> None:
        self.storage = storage
        self.remembered = remembered

    # writing

    def append(self, record: AuditRecord) -> str:
        """Add one line, durably; returns its oid. Raises AuditFailed."""
        try:
            line = self._append_local(record) if self.storage.local_root is not None else self._append_remote(record)
        except (OSError, Conflict) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise AuditFailed(
                f"the audit log cannot be written: {said}",
                rule="dvs-audit-failed",
                path=FILE,
                fix="make the storage writable; nothing counts that is not in its audit log",
            ) from error
        oid = bytes_oid(line)
        if self.remembered is not None:
            from resources.storage.local import LocalStorage

            LocalStorage(self.remembered.parent, state=self.remembered.parent).write(self.remembered.name, oid.encode())
        return oid

    def _append_local(self, record: AuditRecord) -> bytes:
        with self.storage.lock("audit"):
            last, torn = self._last_line()
            if torn is not None:
                # A killed writer's half line was never acknowledged; it is ended, so that the next one stands alone.
                self.storage.append(FILE, b"\n")
            line = record.to_line(None if last is None else bytes_oid(last))
            self.storage.append(FILE, line)
            return line

    def _last_line(self) -> tuple[bytes | None, bytes | None]:
        """(the last whole line with its line feed, what a killed writer left behind it)."""
        try:
            with self.storage.open(FILE) as file:
                end = file.seek(0, os.SEEK_END)
                want = _TAIL
                while True:
                    start = max(0, end - want)
                    file.seek(start)
                    data = file.read(end - start)
                    whole = data.rfind(b"\n") + 1
                    torn = data[whole:] or None
                    lines = [line for line in data[:whole].splitlines(keepends=True) if line.strip()]
                    # The first of the lines read may begin before what was read.
                    if len(lines) > 1 or start == 0:
                        return _readable(lines), torn
                    want *= 8
        except FileNotFoundError:
            return None, None

    def _append_remote(self, record: AuditRecord) -> bytes:
        for _attempt in range(_ATTEMPTS):
            data = self._read()
            last = _readable(data.splitlines(keepends=True)) if data else None
            line = record.to_line(None if last is None else bytes_oid(last))
            expect: Expect = ABSENT if data is None else bytes_oid(data)
            try:
                self.storage.write(FILE, (data or b"") + line, expect=expect)
            except Conflict:
                continue
            return line
        raise Conflict("others keep writing to it", path=FILE)

    # reading

    def _read(self) -> bytes | None:
        try:
            return self.storage.read(FILE, limit=MAX_LOG)
        except FileNotFoundError:
            return None

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, the line with its line feed) of every line that is not empty."""
        try:
            with self.storage.open(FILE) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, line
        except FileNotFoundError:
            return

    def records(self) -> Iterator[AuditRecord]:
        """Every record that can be read, oldest first."""
        for _number, line in self.lines():
            record = read_line(line)
            if record is not None:
                yield record

    def verify(self) -> tuple[int, list[AuditProblem]]:
        """(number of lines, what is wrong with the chain), read once from the start."""
        problems: list[AuditProblem] = []
        seen: dict[str, int] = {}
        named: dict[str | None, int] = {}
        count = 0
        for number, line in self.lines():
            count += 1
            record = read_line(line)
            if record is None:
                problems.append(AuditProblem(number, "damaged", "the line cannot be read"))
                continue
            if record.chained:
                if record.prev is not None and record.prev not in seen:
                    problems.append(AuditProblem(number, "broken", "the line before it was changed or removed"))
                elif record.prev in named:
                    message = f"lines {named[record.prev]} and {number} were written at the same time by two machines"
                    problems.append(AuditProblem(number, "forked", message))
                elif record.prev is None and seen:
                    problems.append(AuditProblem(number, "broken", "a chain begins in the middle of the log"))
                named.setdefault(record.prev, number)
            seen[bytes_oid(line)] = number
        last = self._remembered()
        if last is not None and last not in seen:
            problems.append(AuditProblem(count, "cut", "the last line this clone has written is not in the log"))
        return count, problems

    def _remembered(self) -> str | None:
        if self.remembered is None:
            return None
        try:
            return self.remembered.read_text("ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


def _readable(lines: list[bytes]) -> bytes | None:
    """The last of the lines that is a record: what a killed writer left, ended by the next one, is none."""
    return next((line for line in reversed(lines) if line.endswith(b"\n") and read_line(line) is not None), None)


def new_record(operation: str, files: Mapping[str, str], *, user: str, when: str, reason: str | None, clone: str) -> AuditRecord:
    """A record of now, with an id of its own."""
    uid = os.getuid() if hasattr(os, "getuid") else None
    return AuditRecord(str(uuid.uuid4()), when, user, uid, operation, files, reason or None, clone)


def read_line(line: bytes) -> AuditRecord | None:
    """The record of a line of ours or of the third generation; None when it is neither."""
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            return None
        if "action" in record:
            return _third(record)
        return AuditRecord(
            str(record["operation_id"]),
            str(record["time"]),
            str(record["user"]),
            record.get("uid"),
            str(record["operation"]),
            {str(path): str(oid) for path, oid in record.get("files", {}).items()},
            record.get("reason"),
            record.get("clone"),
            record["prev"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _third(record: dict[str, Any]) -> AuditRecord:
    from datetime import UTC, datetime

    ((operation, action),) = record["action"].items()
    files = {}
    if operation == "add":
        file = action["file"]
        algorithm, digits = next(iter(sorted(file["hashes"].items())))
        files = {str(file["path"]): f"{algorithm}:{digits}"}
    when = datetime.fromtimestamp(int(record["timestamp"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return AuditRecord(
        str(record["operation_id"]), when, str(record["user"]), None, str(operation), files, None, None, None, chained=False
    )

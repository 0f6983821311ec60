"""Rebuilding a project's text from its history, and proving at every record that it is the text that was there.

Statements are run again in a scratch database with the answers that clock and chance gave then; changes that no statement
made are taken from the record. Nothing of the project is written here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from assets.tables.execute import apply, connect
from assets.tables.functions import Answers
from assets.tables.live import build_database
from assets.tables.versions import digest, from_files
from resources.tables.history_log import fork_error, relink
from schemas.errors import HeadwaterError, UsageError
from schemas.tables.history import NO_TEXT, STATEMENTS, Fetch, Log, Record

Step = Callable[[Record], None]


@dataclass(slots=True)
class Replayed:
    """The rebuilt text, how many records were applied, and the digest it has."""

    files: dict[str, bytes] = field(default_factory=dict)
    applied: int = 0
    digest: str = NO_TEXT


def replay(
    log: Log,
    path: str,
    *,
    until: str | None = None,
    fetch: Fetch | None = None,
    start: Mapping[str, bytes] | None = None,
    step: Step | None = None,
) -> Replayed:
    """Apply the records of `log` in order, up to and with the seq or time `until`, and check the digest after each.

    `start` is a text to begin at instead of nothing: the records up to the last one that left exactly this text are passed over.
    `fetch(change)` finds text that records only name, `step` is told of each record. Raises HeadwaterError (rule
    `history-replay`) with the line of the first record that does not come out as it says.
    """
    if log.fork is not None:
        raise fork_error(log, log.fork, path)
    made = Replayed(dict(start or {}))
    made.digest = digest(made.files) if made.files else NO_TEXT
    records = [(line, record) for line, record in zip(log.lines, log.records, strict=True) if _wanted(record, until)]
    if start is not None:
        reached = [place for place, (_, record) in enumerate(records) if record.after == made.digest]
        if not reached:
            raise HeadwaterError("no record leaves the text to begin at", rule="history-replay", fix="begin at another version")
        records = records[reached[-1] + 1 :]
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        runner = _Runner(Path(folder))
        try:
            for line, record in records:
                if not record.mutating:
                    continue
                _apply(made, runner, record, line, path, fetch)
                if step is not None:
                    step(record)
        finally:
            runner.close()
    return made


def _wanted(record: Record, until: str | None) -> bool:
    if until is None:
        return True
    if until.isascii() and until.isdigit():
        return record.seq <= int(until)
    if not re.match(r"\d{4}-\d\d-\d\d", until):
        raise UsageError(
            f"{until!r} is neither a record's number nor a time", fix="write --until 12 or --until 2026-01-31T12:00:00Z"
        )
    return record.ts <= until


def _apply(made: Replayed, runner: _Runner, record: Record, line: int, path: str, fetch: Fetch | None) -> None:
    if record.before != made.digest:
        raise _mismatch(path, line, record, "begins at", record.before, made.digest)
    if record.changes:
        for change in record.changes:
            try:
                data = change.apply(made.files.get(change.path), fetch)
            except HeadwaterError as error:
                if error.path is None:
                    error.path, error.line = path, line
                raise
            if data is None:
                made.files.pop(change.path, None)
            else:
                made.files[change.path] = data
        runner.close()
    elif record.kind in STATEMENTS:
        try:
            made.files.update(runner.run(made.files, record))
        except HeadwaterError as error:
            raise HeadwaterError(
                f"record {record.seq} cannot be run again: {error.message}",
                rule="history-replay",
                path=path,
                line=line,
                fix=error.fix,
            ) from None
    made.digest = digest(made.files)
    made.applied += 1
    if record.after != made.digest:
        raise _mismatch(path, line, record, "leaves", record.after, made.digest)


def _mismatch(path: str, line: int, record: Record, verb: str, wanted: str, got: str) -> HeadwaterError:
    return HeadwaterError(
        f"record {record.seq} ({record.kind}) {verb} the text {wanted}, but replaying comes to {got}",
        rule="history-replay",
        path=path,
        line=line,
        fix=f"rebuild what is sure with `headwater tables replay --until {max(record.seq - 1, 0)} --out FOLDER`",
    )


class _Runner:
    """A scratch database that follows the text through consecutive statements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection: apsw.Connection | None = None
        self._number = 0

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def run(self, files: Mapping[str, bytes], record: Record) -> dict[str, bytes]:
        """The files that the record's statement changes."""
        text = from_files(files, f"record {record.seq - 1}")
        if self.connection is None:
            self._number += 1
            folder = self.folder / str(self._number)
            folder.mkdir()
            build_database(text.project, text.texts(folder), folder / "replay.db")
            self.connection = connect(folder / "replay.db")
        answers = Answers(dict(record.args))
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            applied = apply(self.connection, text, record.cmd, answers)
            self.connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        finally:
            answers.close()
        if applied.schema_changed:
            self.close()
        return applied.files


def rebase(log: Log, header: bytes) -> list[Record]:
    """The records of a forked log in one order: the first branch, then the second, numbered and chained anew.

    Replaying the second branch on top of the first need not come to the merged text, so its records keep their words but change
    nothing in a replay (`merged` among their args is the digest they led to); the caller appends one external_change that
    brings the text to what it is now. Raises UsageError for a log without a fork.
    """
    fork = log.fork
    if fork is None:
        raise UsageError("the log has one head: there is nothing to rebase")
    second = set(fork.second)
    first = [record for line, record in zip(log.lines, log.records, strict=True) if line not in second]
    reached = first[-1].after if first else NO_TEXT
    moved = [
        record.model_copy(
            update={"before": reached, "after": reached, "changes": [], "args": {**record.args, "merged": record.after}}
        )
        for line, record in zip(log.lines, log.records, strict=True)
        if line in second
    ]
    return relink([*first, *moved], header)

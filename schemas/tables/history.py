"""The lines of `history.log`: the header, one record per change, and what a whole log may and may not look like.

The log is JSON Lines, UTF-8, LF. Its first line is a header, every further line a `Record` that names the line before it by its
digest, so a lost, edited or doubled line is seen. Pure: bytes in, values out. Where the log lies, how a torn tail is
repaired on disk and how a record is appended belongs to `resources.tables.history_log`.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError, InvalidText, NewerFormat
from schemas.findings import Severity, found, rule
from schemas.ids import check_ulid
from schemas.oid import bytes_oid, json_oid, parse_oid
from schemas.paths import check_path

LOG_VERSION = 1
"""The version in the header that this module reads and writes."""
LINE_LIMIT = 64 << 20
"""Bytes of one line; longer ones are refused."""
INLINE_LIMIT = 1 << 20
"""Bytes of packed text that a record may carry per file; larger text lies beside the log and is named by its digest."""
TEXTS_FOLDER = "history"
"""Beside the log: the text that records only name, one file per text, called what it holds (`Splice.kept`)."""
KEPT_NAME = re.compile(rf"{TEXTS_FOLDER}/([0-9a-f]{{64}})\.(?:csv|yaml)")
_COMPRESS_FROM = 4096
_HOPELESS = 32
"""Times the limit that text may have before packing it is not even tried."""

EMPTY = rule("history-empty", Severity.ERROR, "history.log starts with its header line.")
LINE = rule("history-line", Severity.ERROR, "Every line of history.log is one complete JSON record.")
RECORD = rule("history-record", Severity.ERROR, "Every record of history.log has the fields, kinds and types of the format.")
CHAIN = rule("history-chain", Severity.ERROR, "Every record names the line before it by its digest.")
FORK = rule("history-fork", Severity.ERROR, "history.log has one head; two branches of records must be put in one order.")
TORN = rule("history-torn", Severity.WARNING, "The last line of history.log was written to its end.")
DUPLICATE = rule("history-duplicate", Severity.ERROR, "No record id stands twice in history.log.")
TEXT = rule("history-text", Severity.WARNING, "Text that history.log only names lies beside it in history/, as it was written.")


class RecordKind(StrEnum):
    """What a record did. Kinds with a `cmd` in SQL are replayed by running it, the others by their `changes`."""

    CREATE_TABLE = "create_table"
    ALTER = "alter"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    SCRIPT = "script"
    IMPORT = "import"
    EXPORT = "export"
    EXTERNAL_CHANGE = "external_change"


STATEMENTS = frozenset(
    {
        RecordKind.CREATE_TABLE,
        RecordKind.ALTER,
        RecordKind.INSERT,
        RecordKind.UPDATE,
        RecordKind.DELETE,
        RecordKind.SCRIPT,
    }
)
"""Kinds whose `cmd` is SQL."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Header(_Strict):
    """The first line: the version of the log and the id of the project (a ULID) it belongs to."""

    log: Literal[1] = 1
    project: str = Field(min_length=1, max_length=64)

    @field_validator("log", mode="before")
    @classmethod
    def _no_boolean(cls, value: object) -> object:
        # True equals 1, which a literal of 1 would accept.
        return str(value) if isinstance(value, bool) else value


class Splice(_Strict):
    """One file's new bytes, as what replaces `cut` bytes at offset `at`; `cut` null replaces the whole file.

    The text is in `put`, or deflated in base64 in `put_zlib`; both null deletes the file. Text too large for the log is
    named by `oid` only, and lies beside the log (`kept`).
    """

    path: str
    at: int = Field(default=0, ge=0)
    cut: int | None = Field(default=None, ge=0)
    put: str | None = None
    put_zlib: str | None = None
    oid: str | None = None

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        # A log comes with a project from anywhere, and a replay writes to these paths.
        try:
            return check_path(path)
        except HeadwaterError as error:
            raise ValueError(error.message) from None

    @field_validator("oid")
    @classmethod
    def _is_oid(cls, oid: str | None) -> str | None:
        try:
            return oid if oid is None else ":".join(parse_oid(oid))
        except HeadwaterError as error:
            raise ValueError(error.message) from None

    @property
    def kept(self) -> str | None:
        """Where text that the record only names lies beside the log, relative to the log's folder.

        The suffix is that of the file it is the text of, so that what git is told of CSV files (no line ends to change, large
        ones elsewhere) holds for it too.
        """
        if self.oid is None:
            return None
        return f"{TEXTS_FOLDER}/{parse_oid(self.oid)[1]}.{'csv' if self.path.endswith('.csv') else 'yaml'}"

    def apply(self, old: bytes | None, fetch: Fetch | None = None) -> bytes | None:
        """The file after the change; None when it is deleted. `fetch(self)` finds text that the record only names.

        Raises HeadwaterError (rule `history-replay`) when the splice does not fit `old` or its text cannot be found.
        """
        if self.oid is not None:
            held = None if fetch is None else fetch(self)
            if held is None:
                raise HeadwaterError(
                    f"{self.path}: this text should lie in {self.kept} beside the log, and is not there",
                    rule="history-replay",
                    fix="restore that file from version control, or begin at a version that has the text (`--from`)",
                )
            return held
        if self.put is None and self.put_zlib is None:
            return None
        new = _inflate(self.put_zlib) if self.put_zlib is not None else (self.put or "").encode()
        if self.cut is None:
            return new
        if old is None or self.at + self.cut > len(old):
            raise HeadwaterError(f"{self.path}: the change does not fit the file it was made to", rule="history-replay")
        return old[: self.at] + new + old[self.at + self.cut :]


Fetch = Callable[[Splice], bytes | None]
"""What finds the text that a splice only names; None when it is nowhere."""


def verify_kept(path: str, data: bytes, shown: str) -> None:
    """Raise HeadwaterError (rule `history-text`) when `path` is that of a text beside the log, and `data` is another text.

    `shown` is what the error calls the file.
    """
    match = KEPT_NAME.fullmatch(path)
    if match is not None and parse_oid(bytes_oid(data))[1] != match[1]:
        raise HeadwaterError(
            "the file does not hold the text its name says: it was edited, cut short, or git changed its line ends",
            rule=TEXT.id,
            path=shown,
            fix="restore it from version control; `history/* -text` in .gitattributes keeps git from changing it",
        )


def _inflate(text: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(base64.b64decode(text, validate=True), 1 << 30)
    except (ValueError, zlib.error) as error:
        raise HeadwaterError(f"the packed text in the record is damaged: {error}", rule="history-replay") from None
    if stream.unconsumed_tail:
        raise HeadwaterError("the text in the record is larger than 1 GiB", rule="history-replay")
    return data


def splice(path: str, old: bytes | None, new: bytes | None) -> Splice:
    """The change from `old` to `new` as the one span that differs; `old` None means it is not known or did not exist."""
    if new is None:
        return Splice(path=path)
    at, cut, middle = 0, None, new
    if old is not None:
        at = _common_prefix(old, new)
        tail = _common_suffix(old, new, at)
        while at and _inside_character(new, at):
            at -= 1
        while tail and _inside_character(new, len(new) - tail):
            tail -= 1
        cut, middle = len(old) - at - tail, new[at : len(new) - tail]
    if len(middle) < _COMPRESS_FROM:
        try:
            return Splice(path=path, at=at, cut=cut, put=middle.decode())
        except UnicodeDecodeError:
            pass
    if len(middle) > _HOPELESS * INLINE_LIMIT:
        return Splice(path=path, oid=bytes_oid(new))
    packed = base64.b64encode(zlib.compress(middle, 6)).decode()
    if len(packed) > INLINE_LIMIT:
        return Splice(path=path, oid=bytes_oid(new))
    return Splice(path=path, at=at, cut=cut, put_zlib=packed)


def _inside_character(data: bytes, offset: int) -> bool:
    return offset < len(data) and data[offset] & 0xC0 == 0x80


def _common_prefix(left: bytes, right: bytes, step: int = 1 << 16) -> int:
    end = min(len(left), len(right))
    at = 0
    while at < end and left[at : at + step] == right[at : at + step]:
        at = min(at + step, end)
    low, high = at, min(at + step, end)
    while low < high:
        middle = (low + high + 1) // 2
        if left[at:middle] == right[at:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(left: bytes, right: bytes, prefix: int, step: int = 1 << 16) -> int:
    end = min(len(left), len(right)) - prefix

    def same(low: int, high: int) -> bool:
        return left[len(left) - high : len(left) - low] == right[len(right) - high : len(right) - low]

    at = 0
    while at < end and same(at, min(at + step, end)):
        at = min(at + step, end)
    low, high = at, min(at + step, end)
    while low < high:
        middle = (low + high + 1) // 2
        if same(at, middle):
            low = middle
        else:
            high = middle - 1
    return low


class Record(_Strict):
    """One change. `seq` counts from 1, `prev` is the oid of the line before without its line feed, `ts` is UTC.

    `cmd` is the command as typed, `args` the resolved values a replay needs (the values that calls such as `random()` or
    `datetime('now')` gave, as [count, value] runs per call), `rows` the rows changed, `format` the version of
    project.yaml, `before` and `after` the digests of the text (`text_digest`), `changes` the bytes of a change that no
    command reproduces, `error` why a command with `ok` false failed.
    """

    id: str
    seq: int = Field(ge=1)
    prev: str
    ts: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
    actor: str = Field(max_length=200)
    kind: RecordKind
    cmd: str
    args: dict[str, Any] = Field(default_factory=dict)
    ok: bool = True
    rows: int = Field(default=0, ge=0)
    format: int = Field(default=1, ge=0)
    before: str
    after: str
    changes: list[Splice] = Field(default_factory=list)
    error: str | None = None

    @field_validator("kind", mode="before")
    @classmethod
    def _kind(cls, value: object) -> object:
        return RecordKind(value) if isinstance(value, str) and value in set(RecordKind) else value

    @field_validator("id")
    @classmethod
    def _ulid(cls, value: str) -> str:
        try:
            return check_ulid(value)
        except HeadwaterError as error:
            raise ValueError(error.message) from None

    @field_validator("prev", "before", "after")
    @classmethod
    def _oid(cls, value: str) -> str:
        try:
            parse_oid(value)
        except HeadwaterError as error:
            raise ValueError(error.message) from None
        return value

    @property
    def mutating(self) -> bool:
        """Whether a replay has to run it."""
        return self.ok and self.before != self.after

    def line(self) -> bytes:
        """The record as one line with its line feed; absent and empty fields are left out."""
        value = self.model_dump(mode="json", exclude_defaults=True)
        for name in ("ok", "rows", "format"):
            value[name] = getattr(self, name)
        if self.changes:
            value["changes"] = [change.model_dump(mode="json", exclude_defaults=True) for change in self.changes]
        return canonical_json(value) + b"\n"


def header_line(project: str) -> bytes:
    """The header as one line with its line feed."""
    return canonical_json({"log": LOG_VERSION, "project": project}) + b"\n"


def text_digest(files: Mapping[str, str]) -> str:
    """The digest of a project's text: the oid over path and oid of project.yaml and every data file, order not mattering."""
    return json_oid({"text": dict(files)})


NO_TEXT = text_digest({})
"""The digest of a project that has no file yet: `before` of the first record of a new project."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Two branches of records that continue the same line: line numbers of the parent and of each branch's records."""

    parent: int
    first: tuple[int, ...]
    second: tuple[int, ...]


@dataclass(slots=True)
class Log:
    """A read log. `lines[i]` is the line of `records[i]` in the file (2 is the first record). `good` counts the bytes up to
    and with the last whole line; `torn` holds what follows it; `unended` says that the last record lacks only its line
    feed."""

    header: Header
    records: list[Record] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    last_line: bytes = b""
    good: int = 0
    torn: bytes = b""
    unended: bool = False
    fork: Fork | None = None

    @property
    def head(self) -> str:
        """The oid of the last line: `prev` of the next record."""
        return bytes_oid(self.last_line)

    @property
    def next_seq(self) -> int:
        return self.records[-1].seq + 1 if self.records else 1

    def named(self) -> Iterator[Splice]:
        """The changes whose text no record carries; each text once."""
        seen: set[str | None] = {None}
        for record in self.records:
            for change in record.changes:
                if change.kept not in seen:
                    seen.add(change.kept)
                    yield change

    @property
    def digest(self) -> str:
        """The digest of the text after the last record."""
        return self.records[-1].after if self.records else NO_TEXT


def read_log(data: bytes, path: str) -> Log:
    """The log in `data`. A torn last line is kept apart in `torn`, a fork is described in `fork`.

    Raises InvalidText with the line for everything else that is wrong (rules `history-…`), NewerFormat for a header of a
    later version.
    """
    if not data:
        raise InvalidText([found(EMPTY, path, "the log is empty: not even its header is there", line=1, fix=f"delete {path}")])
    pieces = data.split(b"\n")
    tail = pieces.pop()
    if not pieces:
        if not _whole(tail):
            raise InvalidText([found(EMPTY, path, "the header line is torn", line=1, fix=f"delete {path}: it holds no record")])
        pieces, tail = [tail], b""
        return Log(_header(pieces[0], path), last_line=pieces[0], good=len(data), unended=True)
    log = Log(_header(pieces[0], path), last_line=pieces[0], good=len(data) - len(tail))
    bodies = pieces[1:]
    if tail and _whole(tail):
        bodies.append(tail)
        log.good, log.unended = len(data), True
    elif tail:
        log.torn = tail
    _read_records(log, bodies, path)
    return log


def _read_records(log: Log, bodies: Sequence[bytes], path: str) -> None:
    known = {bytes_oid(log.last_line): 1}
    ids: dict[str, int] = {}
    parents: list[int] = []
    for number, body in enumerate(bodies, start=2):
        record = _record(body, path, number)
        if record.id in ids:
            message = f"record {record.id} already stands on line {ids[record.id]}"
            raise InvalidText([found(DUPLICATE, path, message, line=number, fix="delete the second of the two lines")])
        ids[record.id] = number
        parent = known.get(record.prev)
        if parent is None:
            message = f"the record does not continue any earlier line (prev {record.prev})"
            fix = "restore the log from version control: a line before this one was edited or lost"
            raise InvalidText([found(CHAIN, path, message, line=number, fix=fix)])
        parents.append(parent)
        known[bytes_oid(body)] = number
        log.records.append(record)
        log.lines.append(number)
        log.last_line = body
    log.fork = _find_fork(parents)
    if log.fork is None:
        for number, record in zip(log.lines, log.records, strict=True):
            if record.seq != number - 1:
                message = f"the record has seq {record.seq} where {number - 1} follows"
                raise InvalidText([found(CHAIN, path, message, line=number, fix="restore the log from version control")])


def _find_fork(parents: Sequence[int]) -> Fork | None:
    """The first fork: `parents[i]` is the line that record line i + 2 continues."""
    children: dict[int, list[int]] = {}
    for index, parent in enumerate(parents):
        children.setdefault(parent, []).append(index + 2)
    for parent in sorted(children):
        if len(children[parent]) > 1:
            first, second = children[parent][0], children[parent][1]
            return Fork(parent, _branch(first, children), _branch(second, children))
    return None


def _branch(start: int, children: Mapping[int, list[int]]) -> tuple[int, ...]:
    found_lines = [start]
    for line in found_lines:
        found_lines.extend(children.get(line, ()))
    return tuple(sorted(found_lines))


def _whole(tail: bytes) -> bool:
    try:
        return isinstance(json.loads(tail), dict)
    except ValueError:
        return False


def _header(line: bytes, path: str) -> Header:
    value = _json(line, path, 1)
    version = value.get("log")
    if isinstance(version, int) and not isinstance(version, bool) and version > LOG_VERSION:
        raise NewerFormat(
            f"the log has version {version}; this Headwater reads up to {LOG_VERSION}",
            path=path,
            line=1,
            rule="history-newer",
            fix="update Headwater",
        )
    try:
        return Header.model_validate(value)
    except ValidationError as error:
        raise InvalidText(
            [found(RECORD, path, f"not a header: {_reason(error)}", line=1, fix="restore the first line")]
        ) from None


def _record(line: bytes, path: str, number: int) -> Record:
    if len(line) > LINE_LIMIT:
        raise InvalidText([found(LINE, path, f"the line is longer than {LINE_LIMIT} bytes", line=number, fix="restore the log")])
    value = _json(line, path, number)
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        fix = "restore the log from version control, or update Headwater when a newer one wrote it"
        raise InvalidText([found(RECORD, path, f"not a record: {_reason(error)}", line=number, fix=fix)]) from None


def _json(line: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        column = error.colno if isinstance(error, json.JSONDecodeError) else None
        text = line[:80].decode("utf-8", "replace")
        fix = "restore the line from version control; it is never skipped"
        raise InvalidText(
            [found(LINE, path, "the line is not complete JSON", line=number, column=column, fix=fix, value=text)]
        ) from None
    if not isinstance(value, dict):
        raise InvalidText([found(LINE, path, "the line is not a JSON object", line=number, fix="restore the line")])
    return value


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])

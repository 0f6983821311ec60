"""What a clone remembers below `.dvs/`: snapshots of the tracked text, the log of operations, what was put into the working tree.

- `.dvs/state/snapshots/<id>.json`: the manifest and every sidecar at one moment; `id` is the BLAKE3 of the compact JSON.
- `.dvs/refs/HEAD`: the id of the present state, and a line feed.
- `.dvs/logs/refs/HEAD`: one JSON record per line, oldest first.
- `.dvs/state/materialized.json`: which oid was last put at which path.

Formats only. Light: standard library and blake3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat, to_record
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid
from schemas.paths import check_path

HEAD: Final = ".dvs/refs/HEAD"
LOG: Final = ".dvs/logs/refs/HEAD"
MATERIALIZED: Final = ".dvs/state/materialized.json"
SNAPSHOTS: Final = ".dvs/state/snapshots"
VERSION: Final = 1
OPERATIONS: Final = ("add", "remove", "move", "rollback", "init", "merge", "import", "undo")
"""What a record may say was done; the original tool knows add, remove, rollback, init and merge."""

_STATE_ID = re.compile(r"[0-9a-f]{64}\Z")


class DamagedState(HeadwaterError):
    """A file below `.dvs/` is not what was written. Nothing of the text depends on it."""


def _damaged(path: str, what: str, *, line: int | None = None) -> DamagedState:
    return DamagedState(what, path=path, line=line, rule="dvs-state-damaged", fix="run `headwater dvs doctor --fix`")


def check_state_id(text: str) -> str:
    """A state id, with or without `state:` before it. Raises HeadwaterError (rule `dvs-state-id`)."""
    digits = text.strip().removeprefix("state:")
    if not _STATE_ID.match(digits):
        raise HeadwaterError(f"{text!r} is not the id of a state", rule="dvs-state-id", fix="take one from `headwater dvs log`")
    return digits


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """One sidecar at one moment: the data file's path, what it said, and its spelling."""

    path: str
    sidecar: Sidecar
    spelling: SidecarFormat = SidecarFormat.JSON


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tracked text of a repository at one moment. The original tool never fills `manifest`."""

    files: tuple[TrackedFile, ...] = ()
    manifest: Manifest | None = None


def write_snapshot(snapshot: Snapshot) -> tuple[str, bytes]:
    """The snapshot's id and its compact JSON, files sorted by path."""
    record: dict[str, Any] = {"version": VERSION}
    if snapshot.manifest is not None:
        manifest = snapshot.manifest
        held: dict[str, Any] = {"version": VERSION}
        if manifest.base_url is not None:
            held["base_url"] = manifest.base_url
        held["entries"] = [manifest.entries[path].to_record() for path in sorted(manifest.entries)]
        record["manifest"] = {**held, **manifest.extra}
    record["metadata"] = [
        {"path": file.path, "meta": to_record(file.sidecar), "format": str(file.spelling)}
        for file in sorted(snapshot.files, key=lambda file: file.path)
    ]
    data = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return bytes_oid(data).partition(":")[2], data


def read_snapshot(data: bytes, state_id: str, path: str) -> Snapshot:
    """A snapshot, verified against its id. Raises DamagedState."""
    if bytes_oid(data) != f"blake3:{state_id}":
        raise _damaged(path, "the snapshot's bytes are not those its name says")
    from schemas.dvs.manifest import read_manifest
    from schemas.dvs.sidecar import read_sidecar

    try:
        record = json.loads(data)
        held = record.get("manifest")
        manifest = None if held is None else read_manifest(json.dumps(held).encode(), path)
        files = []
        for entry in record["metadata"]:
            spelling = SidecarFormat(entry["format"])
            # A sidecar in a snapshot has the keys of the JSON one, whatever its spelling beside the data.
            sidecar = read_sidecar(json.dumps(entry["meta"], ensure_ascii=False).encode(), f"{path}.dvs")
            files.append(TrackedFile(check_path(entry["path"], portable=False), sidecar, spelling))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"the snapshot cannot be read: {error}") from None
    return Snapshot(tuple(files), manifest)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One operation: when (RFC 3339), who, what, and from which state to which."""

    ts: str
    actor: str
    op: str
    new: str
    old: str | None = None
    message: str | None = None
    paths: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """The record as one line of the log."""
        record: dict[str, Any] = {"ts": self.ts, "actor": self.actor, "op": self.op}
        if self.message is not None:
            record["message"] = self.message
        if self.old is not None:
            record["old"] = f"state:{self.old}"
        record["new"] = f"state:{self.new}"
        if self.paths:
            record["paths"] = list(self.paths)
        return json.dumps({**record, **self.extra}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


_RECORD_KEYS = {"ts", "actor", "op", "message", "old", "new", "paths"}


def read_log(data: bytes, path: str = LOG) -> tuple[list[LogRecord], list[DamagedState]]:
    """All records, oldest first, and what is wrong with the lines that cannot be read; those are passed over."""
    records: list[LogRecord] = []
    problems: list[DamagedState] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            old = record.get("old")
            records.append(
                LogRecord(
                    str(record["ts"]),
                    str(record["actor"]),
                    str(record["op"]),
                    check_state_id(record["new"]),
                    None if old is None else check_state_id(old),
                    record.get("message"),
                    tuple(str(part) for part in record.get("paths") or ()),
                    {key: value for key, value in record.items() if key not in _RECORD_KEYS},
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError, HeadwaterError):
            problems.append(_damaged(path, "the record cannot be read", line=number))
    return records, problems


def read_head(data: bytes | None, path: str = HEAD) -> str | None:
    """The id of the present state; None when there is none yet. Raises DamagedState."""
    if data is None or not data.strip():
        return None
    try:
        return check_state_id(data.decode("ascii"))
    except (HeadwaterError, UnicodeDecodeError):
        raise _damaged(path, "HEAD does not hold the id of a state") from None


@dataclass(frozen=True, slots=True)
class Materialized:
    """Which oid was last put at which path, by whom it was put there: us."""

    files: Mapping[str, str] = field(default_factory=dict)
    last: str | None = None

    def needs(self, path: str, oid: str) -> bool:
        """Whether another oid, or none, was put at the path last."""
        return self.files.get(path) != oid

    def put(self, files: Iterable[tuple[str, str]], when: str) -> Materialized:
        """With these (path, oid) pairs."""
        return replace(self, files={**self.files, **dict(files)}, last=when)

    def to_bytes(self) -> bytes:
        """The file's text, sorted by path."""
        record = {"files": dict(sorted(self.files.items())), "last_materialized": self.last}
        return (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode()


def read_materialized(data: bytes | None) -> Materialized:
    """What was put where; a hint only, so a file that cannot be read counts as none."""
    try:
        record = json.loads(data or b"{}")
        files = {str(path): str(oid) for path, oid in record.get("files", {}).items()}
        return Materialized(files, record.get("last_materialized"))
    except (ValueError, AttributeError):
        return Materialized()


def diff(before: Manifest, after: Manifest) -> dict[str, tuple[Entry | None, Entry | None]]:
    """Path -> (entry before, entry after) of what two manifests name differently, sorted by path."""
    changed = {}
    for path in sorted({*before.entries, *after.entries}):
        old, new = before.entries.get(path), after.entries.get(path)
        if old is None or new is None or (old.oid, old.bytes) != (new.oid, new.bytes):
            changed[path] = (old, new)
    return changed

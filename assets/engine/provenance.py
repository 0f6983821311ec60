"""Provenance: the record of which fingerprint produced which outputs, and the manifests of what was read.

One JSON file per artifact under `provenance/` of the workspace's state, one per input root under `manifests/`. Every record
carries `format`; an unknown one counts as absent. No clock, no user, no absolute path is ever written. Light.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.engine.model import Ref
from assets.engine.recipe import Place
from resources.storage.base import ABSENT, Storage
from schemas.canonical import canonical_json
from schemas.errors import Conflict
from schemas.ids import escape_name
from schemas.oid import bytes_oid

FORMAT = 1
_MANIFEST_AGE = 24 * 3600 * 10**9
"""Nanoseconds that a manifest without a record is kept."""


@dataclass(frozen=True, slots=True, order=True)
class OutputFile:
    """One file of an artifact: `path` below its `place` (the store's folder or the artifacts folder), its oid and size."""

    place: Place
    path: str
    oid: str
    size: int

    @property
    def key(self) -> tuple[Place, str]:
        return (self.place, self.path)

    def to_json(self) -> dict[str, Any]:
        return {"place": str(self.place), "path": self.path, "oid": self.oid, "size": self.size}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> OutputFile:
        return cls(Place(record["place"]), str(record["path"]), str(record["oid"]), int(record["size"]))


@dataclass(frozen=True, slots=True)
class InputRecord:
    """What a role held: the source or artifact it came from (None for a whole-workspace input), its digest for the
    fingerprint, and the root of its file manifest where it has one."""

    ref: str | None
    digest: str
    root: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"ref": self.ref, "digest": self.digest, "root": self.root}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> InputRecord:
        return cls(record["ref"], str(record["digest"]), record["root"])


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of an artifact's present outputs. `sequence` rises by one with every record of this artifact."""

    ref: Ref
    fingerprint: str
    recipe_version: int
    code_version: str
    parameters: dict[str, Any]
    libraries: dict[str, str]
    inputs: dict[str, InputRecord]
    outputs: tuple[OutputFile, ...]
    output_digest: str
    how: str
    """`built`, `folded`, `restored` or `adopted`."""
    summary: dict[str, Any] = field(default_factory=dict)
    sequence: int = 1
    origin: str | None = None
    """Where a restored result came from: `local` for this machine's own cache, else the remote's name."""
    backups: tuple[OutputFile, ...] = ()
    """Older outputs kept beside the new ones until the next success."""

    def output_oids(self) -> dict[tuple[Place, str], str]:
        return {output.key: output.oid for output in self.outputs}

    def to_json(self) -> dict[str, Any]:
        """The record as it is stored."""
        return {
            "format": FORMAT,
            "ref": [self.ref.kind, self.ref.store, self.ref.name],
            "fingerprint": self.fingerprint,
            "recipe_version": self.recipe_version,
            "code_version": self.code_version,
            "parameters": self.parameters,
            "libraries": self.libraries,
            "inputs": {role: record.to_json() for role, record in self.inputs.items()},
            "outputs": [output.to_json() for output in self.outputs],
            "output_digest": self.output_digest,
            "how": self.how,
            "summary": self.summary,
            "sequence": self.sequence,
            "backups": [backup.to_json() for backup in self.backups],
        } | ({"origin": self.origin} if self.origin is not None else {})

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Provenance:
        """The record read back; raises KeyError, TypeError or ValueError for one that is not whole."""
        kind, store, name = record["ref"]
        return cls(
            ref=Ref(kind, store, name),
            fingerprint=str(record["fingerprint"]),
            recipe_version=int(record["recipe_version"]),
            code_version=str(record["code_version"]),
            parameters=dict(record["parameters"]),
            libraries=dict(record["libraries"]),
            inputs={role: InputRecord.from_json(entry) for role, entry in record["inputs"].items()},
            outputs=tuple(OutputFile.from_json(entry) for entry in record["outputs"]),
            output_digest=str(record["output_digest"]),
            how=str(record["how"]),
            summary=dict(record["summary"]),
            sequence=int(record["sequence"]),
            origin=str(record["origin"]) if record.get("origin") is not None else None,
            backups=tuple(OutputFile.from_json(entry) for entry in record["backups"]),
        )


def parse(data: bytes) -> Provenance | None:
    """A stored record, or None for one that is damaged or of a format this version does not know."""
    try:
        record = json.loads(data)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            return None
        return Provenance.from_json(record)
    except (KeyError, TypeError, ValueError):
        return None


def record_path(ref: Ref) -> str:
    """Where the record of an artifact lies below the workspace's state."""
    return f"provenance/{ref.kind}/{escape_name(ref.store)}/{ref.name}.json"


def manifest_path(root: str) -> str:
    """Where the manifest with this root lies below the workspace's state."""
    digits = root.partition(":")[2]
    return f"manifests/{digits[:2]}/{digits}.json"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


class Records:
    """The provenance records and manifests of one workspace."""

    def __init__(self, state: Storage) -> None:
        self.state = state

    def read(self, ref: Ref) -> Provenance | None:
        """The artifact's record, or None."""
        return self.read_versioned(ref)[0]

    def read_versioned(self, ref: Ref) -> tuple[Provenance | None, str | None]:
        """The record and the oid of its bytes, for a compare-and-swap of the next one."""
        try:
            data = self.state.read(record_path(ref))
        except FileNotFoundError:
            return None, None
        return parse(data), bytes_oid(data)

    def write(self, record: Provenance) -> None:
        """Replace the record; the artifact's lock is held, so nobody else writes it."""
        self.state.write(record_path(record.ref), canonical_json(record.to_json()))

    def swap(self, record: Provenance, previous: str | None) -> bool:
        """Write the record if the present one still is `previous` (an oid; None for absent); whether it was written."""
        try:
            self.state.write(
                record_path(record.ref), canonical_json(record.to_json()), expect=ABSENT if previous is None else previous
            )
        except Conflict:
            return False
        return True

    def delete(self, ref: Ref) -> None:
        self.state.delete(record_path(ref))

    def stores(self) -> list[tuple[str, str]]:
        """(kind, escaped store name) of every store that has a record, from the names of files alone."""
        folder = self.state.local_root
        if folder is None:
            return sorted({tuple(stat.path.split("/")[1:3]) for stat in self.state.scan("provenance")})  # type: ignore[misc]  # scan paths have four parts
        found = []
        for kind in _names(folder / "provenance"):
            for store in _names(folder / "provenance" / kind):
                if any(name.endswith(".json") for name in _names(folder / "provenance" / kind / store)):
                    found.append((kind, store))
        return found

    def all(self) -> list[Provenance]:
        """Every readable record, of vanished stores too, sorted by artifact."""
        found = []
        for stat in self.state.scan("provenance"):
            record = parse(self.state.read(stat.path))
            if record is not None:
                found.append(record)
        return sorted(found, key=lambda record: record.ref)

    def write_manifest(self, root: str, files: Callable[[], Sequence[tuple[str, str, int]]]) -> None:
        """Keep (path, oid, size) entries under their root; equal content is enumerated and written once."""
        path = manifest_path(root)
        if self.state.stat(path) is None:
            self.state.write(path, canonical_json({"format": FORMAT, "files": [list(entry) for entry in files()]}))

    def delete_manifest(self, root: str) -> None:
        """Delete one manifest; without it nobody can say which files changed since."""
        self.state.delete(manifest_path(root))

    def trim_manifests(self) -> None:
        """Delete the manifests that no record names any more: every edit of a source leaves one.

        Young ones stay, because a build writes its manifests before the record that names them; so do all of them where a record
        cannot be read, or where the storage tells no times.
        """
        named: set[str] = set()
        for stat in self.state.scan("provenance"):
            record = parse(self.state.read(stat.path))
            if record is None:
                return
            named.add(manifest_path(record.output_digest))
            named.update(manifest_path(entry.root) for entry in record.inputs.values() if entry.root is not None)
        for stat in self.state.scan("manifests"):
            if stat.path not in named and stat.mtime_ns and time.time_ns() - stat.mtime_ns > _MANIFEST_AGE:
                self.state.delete(stat.path)

    def read_manifest(self, root: str) -> list[tuple[str, str, int]] | None:
        """The entries of a manifest, or None when it is gone or unreadable."""
        try:
            record = json.loads(self.state.read(manifest_path(root)))
            if record["format"] != FORMAT:
                return None
            return [(str(path), str(oid), int(size)) for path, oid, size in record["files"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

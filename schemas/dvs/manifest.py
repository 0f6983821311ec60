"""The manifest `dvs.lock`: every versioned file of a repository with its oid and length, what remotes are held to.

JSON with one entry per line, sorted by path, so that git shows a changed file as one changed line and merges two branches that
added files; `merge_manifests` does what git cannot. Keys we do not know are kept. Light: standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.document import Document, Value
from schemas.dvs.oids import read_oid
from schemas.errors import HeadwaterError, InvalidText, NewerFormat
from schemas.findings import Finding, Severity, found, rule
from schemas.paths import check_path
from schemas.text import Limits

MANIFEST = rule("dvs-manifest", Severity.ERROR, "dvs.lock lists every file once, with its oid and its length in bytes.")

FILE: Final = "dvs.lock"
VERSION: Final = 1
LIMITS: Final = Limits(size=1 << 30, depth=8, values=12_000_000)
"""A million files take about 150 MB and five values each."""
COMPRESSIONS: Final = ("none", "zstd", "gzip", "lz4")
ORIGIN: Final = "origin"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: `bytes` is the raw length, `compression` how the object is stored (None for raw), `remote` where it belongs
    (None for `origin`)."""

    path: str
    oid: str
    bytes: int
    compression: str | None = None
    remote: str | None = None
    extra: Mapping[str, Value] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"path": self.path, "oid": self.oid, "bytes": self.bytes}
        if self.compression is not None:
            record["compression"] = self.compression
        if self.remote is not None:
            record["remote"] = self.remote
        return {**record, **self.extra}


@dataclass(frozen=True, slots=True)
class Manifest:
    """All entries by path. Values do not change: `put` and `without` return a new manifest."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    base_url: str | None = None
    extra: Mapping[str, Value] = field(default_factory=dict)

    def put(self, entries: Iterable[Entry]) -> Manifest:
        """With these entries in the place of those of the same paths."""
        return replace(self, entries={**self.entries, **{entry.path: entry for entry in entries}})

    def without(self, paths: Iterable[str]) -> Manifest:
        """Without the entries of these paths."""
        gone = set(paths)
        return replace(self, entries={path: entry for path, entry in self.entries.items() if path not in gone})

    def merged(self, other: Manifest) -> Manifest:
        """The entries of both, those of `other` where both have one; its base URL only where this one has none."""
        return replace(self.put(other.entries.values()), base_url=self.base_url or other.base_url)

    def oids(self) -> dict[str, int]:
        """Every oid that is named, once, with its length in bytes."""
        return {entry.oid: entry.bytes for entry in self.entries.values()}


def write_manifest(manifest: Manifest) -> bytes:
    """The canonical text: entries sorted by path, one per line."""
    head: dict[str, Any] = {"version": VERSION}
    if manifest.base_url is not None:
        head["base_url"] = manifest.base_url
    lines = [f"  {_spell(name)}: {_spell(value)},\n" for name, value in {**head, **manifest.extra}.items()]
    entries = manifest.entries
    rows = ",\n".join(f"    {_spell(entries[path].to_record())}" for path in sorted(entries))
    listed = f"[\n{rows}\n  ]" if rows else "[]"
    return ("{\n" + "".join(lines) + f'  "entries": {listed}\n}}\n').encode()


def _spell(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_manifest(data: bytes, path: str = FILE) -> Manifest:
    """Read a manifest. Raises InvalidText with all findings (at most 100), NewerFormat for a version we do not know."""
    from schemas import json_text

    document = json_text.read(data, path, limits=LIMITS)
    value = document.value
    if not isinstance(value, dict):
        raise InvalidText([_finding(document, (), "dvs.lock is not a mapping", "restore it from git")])
    version = value.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise NewerFormat(f"{path} has version {version}", path=path, rule="dvs-newer", fix="use a newer Headwater")
    findings: list[Finding] = []
    if version != VERSION or isinstance(version, bool):
        findings.append(_finding(document, ("version",), f"the version is not {VERSION}", f"write `version: {VERSION}`"))
    base_url = value.get("base_url")
    if base_url is not None and not isinstance(base_url, str):
        findings.append(_finding(document, ("base_url",), "base_url is not text", "write the remote's URL, or remove it"))
    listed = value.get("entries")
    entries: dict[str, Entry] = {}
    if not isinstance(listed, list):
        findings.append(_finding(document, ("entries",), "entries is not a list", "restore dvs.lock from git"))
        listed = []
    for position, record in enumerate(listed):
        try:
            entry = _entry(record)
        except HeadwaterError as error:
            findings.append(_finding(document, ("entries", position), error.message, error.fix))
        else:
            if entry.path in entries:
                findings.append(
                    _finding(document, ("entries", position), f"{entry.path} is listed twice", "keep the entry that is right")
                )
            entries[entry.path] = entry
        if len(findings) >= 100:
            break
    if findings:
        raise InvalidText(findings)
    extra = {name: item for name, item in value.items() if name not in ("version", "base_url", "entries")}
    return Manifest(entries, base_url if isinstance(base_url, str) else None, extra)


_KNOWN = {"path", "oid", "bytes", "compression", "remote"}


def _entry(record: Value) -> Entry:
    fix = "restore dvs.lock from git, or add the file again"
    if not isinstance(record, dict):
        raise HeadwaterError("the entry is not a mapping", fix=fix)
    path, oid, size = record.get("path"), record.get("oid"), record.get("bytes")
    if not isinstance(path, str) or not isinstance(oid, str):
        raise HeadwaterError("the entry has no path or no oid", fix=fix)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HeadwaterError(f"{path}: bytes is not a length", fix=fix)
    compression, remote = record.get("compression"), record.get("remote")
    if compression is not None and compression not in COMPRESSIONS:
        raise HeadwaterError(f"{path}: compression is {compression!r}", fix=f"use one of {', '.join(COMPRESSIONS)}")
    if remote is not None and not isinstance(remote, str):
        raise HeadwaterError(f"{path}: remote is not a name", fix=fix)
    extra = {name: item for name, item in record.items() if name not in _KNOWN} if len(record) > 3 else {}
    return Entry(
        check_path(path, portable=False),
        read_oid(oid),
        size,
        None if compression in (None, "none") else str(compression),
        None if remote in (None, ORIGIN) else remote,
        extra,
    )


def _finding(document: Document, pointer: tuple[str | int, ...], message: str, fix: str | None) -> Finding:
    line, column = document.position(pointer)
    return found(MANIFEST, document.path, message, line=line, column=column, fix=fix)


@dataclass(frozen=True, slots=True)
class Merged:
    """A three-way merge: `conflicts` are paths that both sides changed differently; their entries are those of ours."""

    manifest: Manifest
    conflicts: tuple[str, ...]


def merge_manifests(base: Manifest, ours: Manifest, theirs: Manifest) -> Merged:
    """Merge two manifests that come from `base`, entry by entry."""
    entries: dict[str, Entry] = {}
    conflicts = []
    for path in sorted({*ours.entries, *theirs.entries}):
        before, mine, other = base.entries.get(path), ours.entries.get(path), theirs.entries.get(path)
        if mine == other or other == before:
            chosen = mine
        elif mine == before:
            chosen = other
        else:
            conflicts.append(path)
            chosen = mine if mine is not None else other
        if chosen is not None:
            entries[path] = chosen
    base_url = ours.base_url if theirs.base_url == base.base_url else theirs.base_url
    if ours.base_url not in (base.base_url, theirs.base_url) and theirs.base_url != base.base_url:
        conflicts.append("base_url")
        base_url = ours.base_url
    extra = {**theirs.extra, **ours.extra}
    return Merged(Manifest(entries, base_url, extra), tuple(conflicts))

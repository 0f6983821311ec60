"""What is wrong with the text of a repository of versioned data: its configuration, its sidecars, its manifest, and where they
disagree. Neither objects nor data files are looked at; that is what `verify` and `status` are for.

The sidecars are the truth about the working tree: where the manifest says otherwise, the manifest is brought in step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from resources.dvs.working import NEVER_ENTERED
from resources.storage.base import ABSENT, Change, Expect, Storage
from schemas.dvs import config as configs
from schemas.dvs import manifest as manifests
from schemas.dvs import sidecar as sidecars
from schemas.dvs.config import RepoConfig
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding, Severity, found, rule
from schemas.oid import bytes_oid
from schemas.paths import collisions, escaped, is_usable

DRIFT = rule("dvs-drift", Severity.WARNING, "The manifest and the sidecars name the same object for every file.")
COLLISION = rule(
    "dvs-path-collision", Severity.ERROR, "No two versioned files have one name where case or Unicode form do not count."
)
PATH = rule("dvs-path", Severity.ERROR, "A versioned file has a path that every file system can hold.")
UPPER_CASE = rule("dvs-upper-case", Severity.WARNING, "Checksums are written in lower case.")
WEAK_HASH = rule("dvs-weak-hash", Severity.WARNING, "Files that are shared are named by a hash that nobody can forge.")

_MOST: Final = 1_000
"""So many files of one rule are named one by one."""
_CONFIG_LIMIT: Final = 1 << 20


@dataclass(slots=True)
class Text:
    """The text of a repository as it was read: `problems` are findings of what could not be."""

    config: RepoConfig | None = None
    tracked: dict[str, tuple[str, Sidecar]] = field(default_factory=dict)
    """Data path -> (path of the sidecar that counts, what it says)."""
    unread: set[str] = field(default_factory=set)
    """Data paths with a sidecar that cannot be read."""
    manifest: Manifest | None = None
    manifest_oid: Expect = ABSENT
    problems: list[Finding] = field(default_factory=list)


def text_findings(storage: Storage, root: str) -> list[Finding]:
    """Every finding of the repository in the folder `root` of a storage, sorted by place."""
    return sorted(findings_of(root, read_text(storage, root)))


def findings_of(root: str, text: Text) -> list[Finding]:
    """Every finding of a text that was read."""
    made = [*text.problems, *_weak(root, text), *_paths(root, text), *_drift(root, text)]
    return [_sayable(finding) for finding in made]


def _sayable(finding: Finding) -> Finding:
    """The finding with a path that any report can hold: names on disk need not be Unicode."""
    path, message = finding.path.encode("utf-8", "replace"), finding.message.encode("utf-8", "replace")
    if path.decode() == finding.path and message.decode() == finding.message:
        return finding
    return replace(finding, path=escaped(finding.path), message=escaped(finding.message))


def repairs(storage: Storage, root: str, findings: Sequence[Finding]) -> list[Change]:
    """The manifest with an entry for every sidecar that it lacks or contradicts. Entries without a sidecar stay: their file may
    be on another branch, and dropping one makes its object garbage."""
    if not any(finding.rule == DRIFT.id for finding in findings):
        return []
    text = read_text(storage, root)
    if text.manifest is None:
        return []
    mended = text.manifest.put(
        replace(old, oid=sidecar.oid, bytes=sidecar.size) if (old := text.manifest.entries.get(path)) else _entry(path, sidecar)
        for path, (_, sidecar) in text.tracked.items()
        if _differs(text.manifest.entries.get(path), sidecar)
    )
    if mended == text.manifest:
        return []
    return [Change(_below(root, manifests.FILE), manifests.write_manifest(mended), text.manifest_oid)]


def read_text(storage: Storage, root: str) -> Text:
    """Read configuration, sidecars and manifest; what cannot be read becomes a problem and the rest is read all the same."""
    text = Text()
    _read_config(storage, root, text)
    for data_path, found_at in sorted(_sidecar_paths(storage, root, text.config).items()):
        _read_sidecars(storage, root, data_path, found_at, text)
    path = _below(root, manifests.FILE)
    try:
        data = storage.read(path, limit=manifests.LIMITS.size)
        text.manifest_oid = bytes_oid(data)
        text.manifest = manifests.read_manifest(data, path)
    except FileNotFoundError:
        text.manifest = Manifest()
    except InvalidText as error:
        text.problems += error.findings
    except HeadwaterError as error:
        text.problems.append(found(manifests.MANIFEST, path, error.message, fix=error.fix))
    return text


def _read_config(storage: Storage, root: str, text: Text) -> None:
    present = [name for name in configs.FILES if storage.stat(_below(root, name)) is not None]
    for name in present[1:]:
        message, fix = f"there is {present[0]} too", f"keep the one that is right, say {present[0]}"
        text.problems.append(found(configs.CONFIG_TWICE, _below(root, name), message, fix=fix))
    for name in present[:1]:
        path = _below(root, name)
        try:
            text.config, warnings = configs.read_config(storage.read(path, limit=_CONFIG_LIMIT), path)
            text.problems += warnings
        except InvalidText as error:
            text.problems += error.findings


def _sidecar_paths(storage: Storage, root: str, config: RepoConfig | None) -> dict[str, list[str]]:
    """Data path -> the paths of its sidecars (relative to the repository)."""
    mirror = config.metadata_folder if config is not None else None
    top = _below(root, mirror) if mirror is not None else root
    found_at: dict[str, list[str]] = {}

    def enter(folder: str) -> bool:
        inside = folder[len(root) + 1 :] if root else folder
        return inside.rpartition("/")[2] not in NEVER_ENTERED and (mirror is not None or inside != ".dvs")

    for stat in storage.scan(top, enter=enter):
        inside = stat.path[len(root) + 1 :] if root else stat.path
        data_path = sidecars.data_path(inside[len(mirror) + 1 :] if mirror is not None else inside)
        if data_path is not None:
            found_at.setdefault(data_path, []).append(inside)
    return found_at


def _read_sidecars(storage: Storage, root: str, data_path: str, paths: Sequence[str], text: Text) -> None:
    read: dict[SidecarFormat, tuple[str, Sidecar]] = {}
    for inside in paths:
        path = _below(root, inside)
        try:
            data = storage.read(path, limit=sidecars.LIMITS.size)
            held = sidecars.read_sidecar(data, path)
        except FileNotFoundError:
            continue
        except HeadwaterError as error:
            what = error.findings if isinstance(error, InvalidText) else None
            text.problems += what or [found(sidecars.SIDECAR, path, error.message, fix=error.fix)]
            text.unread.add(data_path)
            continue
        read[sidecars.format_of(inside)] = (inside, held)
        if held.oid.partition(":")[2].encode() not in data:
            text.problems.append(_capital(path, data, held.oid.partition(":")[2]))
    if len(read) == 2 and not read[SidecarFormat.TOML][1].says_the_same(read[SidecarFormat.JSON][1]):
        inside = read[SidecarFormat.JSON][0]
        text.problems.append(
            found(
                sidecars.DISAGREE,
                _below(root, inside),
                f"it names other bytes than {read[SidecarFormat.TOML][0]}, which is the one that counts",
                fix="remove the one that is wrong",
            )
        )
    chosen = read.get(SidecarFormat.TOML) or read.get(SidecarFormat.JSON)
    if chosen is not None:
        text.tracked[data_path] = chosen


def _capital(path: str, data: bytes, digits: str) -> Finding:
    """The finding about a checksum that holds capital letters, with where it stands and how it should."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    match = re.search(digits, text, re.IGNORECASE)
    message, fix = "the checksum holds capital letters", "write it in lower case: `headwater check --fix` does"
    if match is None:
        return found(UPPER_CASE, path, message, fix="add the file again, which writes it anew")
    at = match.start()
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return found(UPPER_CASE, path, message, line=line, column=column, fix=fix, value=match[0], replacement=digits)


def _weak(root: str, text: Text) -> Iterator[Finding]:
    weak = [path for path, (_, sidecar) in text.tracked.items() if sidecar.oid.startswith("xxh3:")]
    if weak:
        path = _below(root, text.tracked[weak[0]][0])
        message = f"{len(weak):,} file{'s are' if len(weak) > 1 else ' is'} named by xxh3, for which others can make equal names"
        yield found(WEAK_HASH, path, message, fix="`headwater dvs rehash --to blake3`")


def _paths(root: str, text: Text) -> Iterator[Finding]:
    for path in sorted(text.tracked):
        if not is_usable(path):
            message = f"{escaped(path)} cannot be the path of a file everywhere"
            yield found(PATH, _below(root, escaped(text.tracked[path][0])), message, fix="move it with `headwater dvs mv`")
    for group in collisions(text.tracked):
        message = f"{' and '.join(group)} are one file where case or Unicode form do not count"
        held = text.tracked.get(group[0])  # None: it is folders that collide
        yield found(COLLISION, _below(root, held[0] if held else group[0]), message, fix="move one with `headwater dvs mv`")


def _drift(root: str, text: Text) -> Iterator[Finding]:
    """Where manifest and sidecars disagree. The third generation has no manifest, and is not asked for one."""
    if text.manifest is None or (text.manifest_oid is ABSENT and (text.config is None or text.config.generation != 1)):
        return
    where = _below(root, manifests.FILE)
    fix = "`headwater check --fix` brings the manifest in step"
    if text.manifest_oid is ABSENT:
        if text.tracked:
            message = f"there is no manifest, and {len(text.tracked):,} files are tracked: nothing of them is pushed"
            yield found(DRIFT, where, message, fix=fix)
        return
    entries = text.manifest.entries
    lacking = [path for path in sorted(text.tracked) if path not in entries]
    other = [path for path in sorted(text.tracked) if path in entries and _differs(entries[path], text.tracked[path][1])]
    yield from _named(where, lacking, "{} is tracked and not in the manifest", fix)
    yield from _named(where, other, "{} has another object in the manifest than its sidecar says", fix)
    orphans = [path for path in sorted(entries) if path not in text.tracked and path not in text.unread]
    add = "add the file again, or take it out with `headwater dvs rm`"
    yield from _named(where, orphans, "{} is in the manifest and has no sidecar", add)


def _named(where: str, paths: Sequence[str], message: str, fix: str) -> Iterator[Finding]:
    for path in paths[:_MOST]:
        yield found(DRIFT, where, message.format(path), fix=fix)
    if len(paths) > _MOST:
        yield found(DRIFT, where, message.format(f"each of {len(paths) - _MOST:,} more files"), fix=fix)


def _differs(entry: Entry | None, sidecar: Sidecar) -> bool:
    return entry is None or (entry.oid, entry.bytes) != (sidecar.oid, sidecar.size)


def _entry(path: str, sidecar: Sidecar) -> Entry:
    return Entry(path, sidecar.oid, sidecar.size)


def _below(root: str, name: str) -> str:
    return f"{root}/{name}" if root and name else name or root

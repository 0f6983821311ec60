"""Which objects a repository still needs: what its text, its states and its git history name, and who else added them.

Reading only. What is done with the rest is `resources.dvs.gc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from resources.dvs.audit import read_line
from resources.dvs.snapshots import sidecar_paths
from schemas.dvs import manifest, sidecar
from schemas.dvs.oids import read_oid
from schemas.dvs.state import SNAPSHOTS
from schemas.errors import HeadwaterError, NewerFormat

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

_OIDS = re.compile(rb"(?:blake3|sha256|xxh3):[0-9a-f]{16,64}")
_PATHSPECS = (":(glob)**/*.dvs", ":(glob)**/*.dvs.toml", ":(glob)**/dvs.lock")


def needed(repo: DvsRepo, *, expire: float | None = None, history: bool = True) -> dict[str, str]:
    """oid -> the first reason it is needed: `working tree`, `manifest`, `state <id>`, `git history`, `rescued`.

    States of the log that ended more than `expire` seconds ago do not count (None: all count), the present one always does. Nor
    do bytes that were rescued longer ago; the others stay, though no text names them: they may be nowhere but in the storage.
    `history` reads every version of every sidecar that git can reach: branches, tags, stashes and reflogs of this clone. Raises
    HeadwaterError where a sidecar, a state or the history of git cannot be read: what it names is not known, so nothing may be
    collected.
    """
    found: dict[str, str] = {}
    for path, entry in repo.manifest().entries.items():
        found.setdefault(entry.oid, f"manifest: {path}")
    for path, oid in _in_working_tree(repo):
        found[oid] = f"working tree: {path}"
    for state_id in live_states(repo, expire):
        snapshot = repo.snapshot(state_id)
        for entry in snapshot.manifest.entries.values() if snapshot.manifest is not None else ():
            found.setdefault(entry.oid, f"state {state_id[:12]}: {entry.path}")
        for file in snapshot.files:
            found.setdefault(file.sidecar.oid, f"state {state_id[:12]}: {file.path}")
    if history:
        for oid, path in in_git(repo).items():
            found.setdefault(oid, f"git history: {path}")
    limit = _moment(expire)
    for record in repo.audit_log.records():
        if record.operation == "rescue" and (limit is None or record.time > limit):
            for path, oid in record.files.items():
                found.setdefault(oid, f"rescued: {path}")
    return found


def _moment(expire: float | None) -> str | None:
    """So many seconds ago, as logs write it."""
    return None if expire is None else (datetime.now(UTC) - timedelta(seconds=expire)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _in_working_tree(repo: DvsRepo) -> Iterator[tuple[str, str]]:
    """(path, oid) of what every sidecar says, both of them where a file has two. Raises InvalidText for one that says nothing."""
    for inside in _sidecars(repo):
        path = repo.data_path(inside)
        if path is None:
            continue
        try:
            text = repo.storage.read(repo.path(inside), limit=sidecar.LIMITS.size)
        except FileNotFoundError:
            continue
        yield path, sidecar.read_sidecar(text, repo.path(inside)).oid


def _sidecars(repo: DvsRepo) -> Iterator[str]:
    root = repo.folder
    if root is not None:
        yield from sidecar_paths(root, repo.config.metadata_folder)
        return
    start = len(repo.root) + 1 if repo.root else 0
    for stat in repo.storage.scan(repo.root):
        if stat.path.endswith((sidecar.JSON_SUFFIX, sidecar.TOML_SUFFIX)):
            yield stat.path[start:]


def live_states(repo: DvsRepo, expire: float | None) -> list[str]:
    """The states that count, newest first: the present one, and each that was the present one within the last `expire` seconds.

    Raises HeadwaterError (rule `dvs-state-damaged`) for a log with lines that cannot be read.
    """
    records, damaged = repo.log()
    if damaged:
        raise damaged[0]
    head = repo.head()
    states = [head] if head is not None else []
    limit = _moment(expire)
    for record in reversed(records):
        states.append(record.new)
        if limit is not None and record.ts <= limit:
            break  # what led to this state ended earlier still
        if record.old is not None:
            states.append(record.old)
    # What the clone was started from may have no snapshot; every state that an operation led to has one.
    led_to = {record.new for record in records} | ({head} if head is not None else set())
    found = list(dict.fromkeys(states))
    kept = [state for state in found if _is_kept(repo, state)]
    lost = sorted(led_to.intersection(found) - set(kept))
    if lost:
        raise HeadwaterError(
            f"the snapshot of state {lost[0][:12]} is gone, and with it what it names",
            rule="dvs-state-damaged",
            path=repo.path(f"{SNAPSHOTS}/{lost[0]}.json"),
            fix="`headwater dvs doctor --fix` takes lost states out of the log",
        )
    return kept


def _is_kept(repo: DvsRepo, state_id: str) -> bool:
    """Whether the snapshot is there: the state before the first operation has none."""
    return repo.storage.stat(repo.path(f"{SNAPSHOTS}/{state_id}.json")) is not None


def in_git(repo: DvsRepo) -> dict[str, str]:
    """oid -> path of everything that any reachable version of a sidecar or manifest names; {} outside of git.

    Other repositories of the same checkout count too. Versions that cannot be read name nothing: no command could have used them.
    """
    from resources.git import Git, top_level

    top = top_level(repo.folder) if repo.folder is not None else None
    found: dict[str, str] = {}
    for path, data in Git(top).every_version(_PATHSPECS) if top is not None else ():
        try:
            if path.rpartition("/")[2] == manifest.FILE:
                for entry in manifest.read_manifest(data, path).entries.values():
                    found.setdefault(entry.oid, entry.path)
            else:
                found.setdefault(sidecar.read_sidecar(data, path).oid, sidecar.data_path(path) or path)
        except NewerFormat:
            raise  # a newer version put it there, and what it names is needed
        except HeadwaterError:
            continue
    return found


@dataclass(slots=True)
class Claims:
    """Who the audit log says added an object, and when it was first added (RFC 3339)."""

    clones: dict[str, set[str]] = field(default_factory=dict)
    """oid -> the clones that added it; `` for lines that name none: of other tools, or damaged."""
    first: dict[str, str] = field(default_factory=dict)


DROPS = frozenset({"remove", "gc", "trash-empty", "trash-restore", "repair"})
"""Operations whose lines name objects without adding them."""


def claims(repo: DvsRepo) -> Claims:
    """The claims of the storage's audit log.

    A line that cannot be read was torn by a kill, or by two machines that append at once on a network share: whose objects it
    names is not known, so that nobody may take them for theirs alone.
    """
    made = Claims()
    for _number, line in repo.audit_log.lines():
        record = read_line(line)
        if record is None:
            for oid in _OIDS.findall(line):
                made.clones.setdefault(oid.decode(), set()).add("")
            continue
        if record.operation in DROPS:
            continue
        for oid in record.files.values():
            try:
                known = read_oid(oid)
            except HeadwaterError:
                continue
            made.clones.setdefault(known, set()).add(record.clone or "")
            first = made.first.get(known)
            if first is None or record.time < first:
                made.first[known] = record.time
    return made


def retained_until(claimed: Mapping[str, str], oid: str, retain: int) -> str | None:
    """When an object may first be dropped (RFC 3339) under a retention of `retain` seconds; None when it may be now, or is not
    known to have been added."""
    first = claimed.get(oid)
    if not retain or first is None:
        return None
    try:
        until = datetime.fromisoformat(first.replace("Z", "+00:00")) + timedelta(seconds=retain)
    except (ValueError, OverflowError):
        return "9999-12-31T23:59:59Z"
    return until.strftime("%Y-%m-%dT%H:%M:%SZ") if until > datetime.now(UTC) else None

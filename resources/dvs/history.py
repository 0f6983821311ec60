"""The states a repository has been in: the log, what a file was, going back, and undoing.

A state is a snapshot of all sidecars and the manifest. Going back restores text and files; it is one more operation in the log,
so that it can be undone. Bytes that no store holds are never replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from resources.dvs import operation
from resources.dvs.edit import removals
from resources.dvs.gitignore import GitSide
from resources.dvs.results import Outcome, Report
from resources.dvs.snapshots import tracked_now
from resources.storage.base import ABSENT, Change, Expect
from schemas.dvs import state as states
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.oids import read_oid
from schemas.dvs.sidecar import write_sidecar
from schemas.dvs.state import LogRecord, Snapshot, TrackedFile
from schemas.errors import HeadwaterError, Refused
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

_INDEX: Final = re.compile(r"(?:@\{)?(\d{1,9})\}?\Z")
_BEFORE: Final = re.compile(r"HEAD(?:~(\d{1,9}))?\Z")
_TIME: Final = re.compile(r"@?\{?(\d{4}-\d{2}-\d{2}(?:[T ][\d:]+(?:\.\d+)?Z?)?)\}?\Z")
_PREFIX: Final = re.compile(r"(?:state:)?([0-9a-f]{4,64})\Z")


def log(repo: DvsRepo, *, limit: int | None = None) -> list[LogRecord]:
    """The operations of this clone, newest first."""
    records, _problems = repo.log()
    newest = records[::-1]
    return newest if limit is None else newest[:limit]


def resolve(repo: DvsRepo, text: str) -> str:
    """The id of the state that a person means: a position in the log (0 or `@{0}` is the newest), `HEAD`, `HEAD~2`, a day or
    time (the last state until then), or an id or its beginning.

    Raises HeadwaterError (rule `dvs-not-found`).
    """
    given = text.strip()
    records = log(repo)
    if match := _INDEX.match(given):
        position = int(match[1])
        if position < len(records):
            return records[position].new
        raise _no_state(text, f"the log has {len(records)} entries, the newest is 0")
    if match := _BEFORE.match(given):
        back = int(match[1] or 0)
        head = repo.head()
        if head is not None and back == 0:
            return head
        if back < len(records):
            return records[back].new
        if back == len(records) and records and records[-1].old is not None:
            return records[-1].old
        raise _no_state(text, f"the log has {len(records)} entries")
    if match := _TIME.match(given):
        moment = match[1].replace(" ", "T")
        for record in records:
            if record.ts[: len(moment)] <= moment.removesuffix("Z") or record.ts <= moment:
                return record.new
        raise _no_state(text, "the log begins later")
    if match := _PREFIX.match(given):
        ids = {record.new for record in records} | {record.old for record in records if record.old is not None}
        found = sorted(one for one in ids if one.startswith(match[1]))
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise _no_state(text, f"{len(found)} states begin so: {', '.join(one[:12] for one in found[:5])}")
        if len(match[1]) == 64:
            repo.snapshot(match[1])
            return match[1]
    raise _no_state(text, "no state has this id")


def _no_state(text: str, why: str) -> HeadwaterError:
    return HeadwaterError(f"there is no state {text!r}: {why}", rule="dvs-not-found", fix="`headwater dvs log` lists the states")


def find_object(repo: DvsRepo, text: str) -> tuple[str, str | None]:
    """(oid, path) of what `OID`, `PATH` or `PATH@STATE` names; the path is relative to the repository.

    Raises HeadwaterError (rule `dvs-not-found`).
    """
    if re.match(r"(?i)(blake3|sha256|xxh3):", text):
        return read_oid(text), None
    path, at, state_text = text.rpartition("@")
    if at and repo.sidecar_file(text) is None:
        for file in repo.snapshot(resolve(repo, state_text)).files:
            if file.path == path:
                return file.sidecar.oid, path
        raise HeadwaterError(
            f"{path} was not tracked in that state", rule="dvs-not-found", path=path, fix="`headwater dvs log` names paths"
        )
    held = repo.sidecar_file(text)
    if held is None:
        raise HeadwaterError(
            "it is not tracked, and no oid", rule="dvs-metadata-not-found", path=text, fix="name a tracked file, or algo:hex"
        )
    return held.sidecar.oid, text


def blocks_of(repo: DvsRepo, oid: str) -> Iterator[bytes]:
    """The bytes of an object, from wherever it lies. Raises HeadwaterError (rule `dvs-storage-missing`), RottenObject."""
    store = repo.find(oid)
    if store is None:
        raise HeadwaterError(
            f"neither the storage nor the cache holds {oid}", rule="dvs-storage-missing", fix="fetch it with `headwater dvs pull`"
        )
    return store.blocks(oid)


# going back


@dataclass(frozen=True, slots=True)
class Plan:
    """What going to a state changes: files to restore, files that stop being tracked, and what stands in the way."""

    target: str
    restored: tuple[str, ...]
    removed: tuple[str, ...]
    unsaved: tuple[str, ...]
    missing: tuple[str, ...]


def plan_rollback(repo: DvsRepo, target: str) -> Plan:
    """Compare the present text and files with a state; nothing is written."""
    from resources.dvs.add import local_root
    from resources.dvs.working import scan

    local_root(repo)
    wanted = {file.path: file for file in _snapshot(repo, target).files}
    now = {file.path: file for file in tracked_now(repo)}
    files = {file.path: file for file in scan(repo).files}
    restored = tuple(path for path, file in sorted(wanted.items()) if now.get(path) != file or _differs(repo, files, file))
    removed = tuple(sorted(now.keys() - wanted.keys()))
    oids = {wanted[path].sidecar.oid for path in restored}
    held = repo.objects.present(oids) | repo.cache.present(oids)
    missing = tuple(path for path in restored if wanted[path].sidecar.oid not in held)
    at_risk = {}
    for path in restored:
        actual = _actual(repo, files, path, wanted[path].sidecar.oid)
        if actual is not None and actual != wanted[path].sidecar.oid:
            at_risk[path] = actual
    saved = set(at_risk.values())
    saved = repo.objects.present(saved) | repo.cache.present(saved)
    unsaved = tuple(path for path, actual in at_risk.items() if actual not in saved)
    return Plan(target, restored, removed, unsaved, missing)


def _snapshot(repo: DvsRepo, target: str) -> Snapshot:
    """A state; when it is gone or damaged, the error names the nearest ones before and after it that can be read."""
    try:
        return repo.snapshot(target)
    except HeadwaterError as error:
        ids = [record.new for record in repo.log()[0]]
        at = next((place for place, state_id in enumerate(ids) if state_id == target), len(ids))
        near = [one for one in (_readable(repo, reversed(ids[:at])), _readable(repo, ids[at + 1 :])) if one is not None]
        if not near or error.rule not in ("dvs-not-found", "dvs-state-damaged"):
            raise
        names = " and ".join(state_id[:12] for state_id in near)
        fix = (
            f"the nearest states that can be read are {names}"
            if len(near) > 1
            else f"the nearest state that can be read is {names}"
        )
        raise HeadwaterError(error.message, rule=error.rule, path=error.path, fix=fix) from error


def _readable(repo: DvsRepo, ids: Iterable[str]) -> str | None:
    """The first of some states that can be read."""
    for state_id in ids:
        try:
            repo.snapshot(state_id)
        except HeadwaterError:
            continue
        return state_id
    return None


def _differs(repo: DvsRepo, files: Mapping[str, Any], file: TrackedFile) -> bool:
    return _actual(repo, files, file.path, file.sidecar.oid) != file.sidecar.oid


def _actual(repo: DvsRepo, files: Mapping[str, Any], path: str, like: str) -> str | None:
    """The oid of the bytes at a path now, by the algorithm of `like`; None where no file lies."""
    from resources.dvs.add import local_root
    from schemas.dvs.oids import oid_of_stream

    algorithm = like.partition(":")[0]
    known = files.get(path)
    if known is not None and (known.actual is None or known.actual.startswith(f"{algorithm}:")):
        actual: str | None = known.actual
        return actual
    full = local_root(repo) / path
    if not full.is_file() or full.is_symlink():
        return None
    with full.open("rb") as file:
        return oid_of_stream(file, algorithm)[0]


def rollback(
    repo: DvsRepo,
    state: str,
    *,
    rescue: bool = False,
    files: bool = True,
    message: str = "",
    name: str = "rollback",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> tuple[Report, Plan]:
    """Make text and files what they were in a state; without `files` only the text.

    Raises Refused (rule `dvs-unsaved`) when present bytes of a file would be lost, unless `rescue` puts them into the storage
    first, and (rule `dvs-storage-missing`) when objects are nowhere near. The rows are the files that were restored.
    """
    target = resolve(repo, state)
    plan = plan_rollback(repo, target)
    if files and plan.unsaved and not rescue:
        raise Refused(
            f"{_files(len(plan.unsaved))} bytes that no store has: {_some(plan.unsaved)}",
            rule="dvs-unsaved",
            path=plan.unsaved[0],
            fix="add them, or give --rescue, which puts their bytes into the storage, or --no-materialize for the text alone",
        )
    if files and plan.missing:
        raise Refused(
            f"{len(plan.missing)} objects are neither in the storage nor in the cache: {_some(plan.missing)}",
            rule="dvs-storage-missing",
            path=plan.missing[0],
            fix="fetch them with `headwater dvs pull`, or give --no-materialize to go back in the text only",
        )
    report = Report("materialize")
    if dry_run or (target == repo.head() and not plan.restored and not plan.removed):
        return report, plan
    repo.require_storage()
    begun = {"target": target, "files": files, "rescue": rescue, "message": message, "name": name}
    with operation.begun(repo, "rollback", begun):
        return _carry_out(repo, plan, files=files, rescue=rescue, message=message, name=name, progress=progress), plan


def finish_rollback(repo: DvsRepo, record: Mapping[str, Any]) -> str:
    """Finish going back to a state, from wherever it was cut short. What is refused now is left, and said."""
    target = str(record["target"])
    plan = plan_rollback(repo, target)
    report = _carry_out(
        repo,
        plan,
        files=bool(record["files"]) and not plan.missing,
        rescue=bool(record["rescue"]),
        message=str(record.get("message", "")),
        name=str(record.get("name", "rollback")),
        progress=None,
        locked=True,
    )
    failed = report.of(Outcome.ERROR)
    return f"completed: going back to {target[:12]}" + (f"; {len(failed)} files were left as they are" if failed else "")


def _carry_out(
    repo: DvsRepo,
    plan: Plan,
    *,
    files: bool,
    rescue: bool,
    message: str,
    name: str,
    progress: Callable[[str], None] | None,
    locked: bool = False,
) -> Report:
    from contextlib import nullcontext

    from resources.dvs.restore import Wanted, restore

    snapshot = repo.snapshot(plan.target)
    wanted = {file.path: file for file in snapshot.files}
    git = GitSide(repo)

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        others = [one for file in snapshot.files for one in _spelled(repo, file)]
        now = {file.path for file in tracked_now(repo)}
        gone = sorted(now - wanted.keys())
        others += [removal for path in gone for removal in removals(repo, path)]
        return _manifest_of(snapshot, before), others + git.changes(hide=sorted(wanted), show=gone)

    report = Report("materialize")
    text = repo.update_locked if locked else repo.update
    text(change, label=f"{name} to {plan.target[:12]}")
    if files:
        actual = {path: _actual(repo, {}, path, wanted[path].sidecar.oid) for path in plan.restored}
        restoring = [Wanted(path, wanted[path].sidecar.oid, wanted[path].sidecar.size) for path in plan.restored]
        report = restore(repo, restoring, actual, "materialize", rescue=rescue, progress=progress)
    paths = sorted({*plan.restored, *plan.removed})
    repo.audit(name, {path: wanted[path].sidecar.oid for path in plan.restored}, message or f"back to {plan.target[:12]}")
    with nullcontext() if locked else repo.lock():
        # As it is now: somebody may have added a file since the text went back.
        report.state = repo.record(name, tracked_now(repo), paths, message or f"Rolled back to {plan.target[:8]}")
    return report


def _spelled(repo: DvsRepo, file: TrackedFile) -> list[Change]:
    """The changes that make the sidecar of a file say what it said, in the spelling it had, and no other lie beside it."""
    inside = repo.sidecar_path(file.path, file.spelling)
    data = write_sidecar(file.sidecar, file.spelling)
    present = repo.read(inside)
    changes = removals(repo, file.path, keep=file.spelling)
    if present != data:
        expect: Expect = ABSENT if present is None else bytes_oid(present)
        changes.append(Change(repo.path(inside), data, expect))
    return changes


def _manifest_of(snapshot: Snapshot, before: Manifest) -> Manifest:
    """The manifest of a state; the original tool kept none, so it is made from the sidecars then."""
    if snapshot.manifest is not None:
        return snapshot.manifest
    entries = {}
    for file in snapshot.files:
        old = before.entries.get(file.path)
        remote = old.remote if old is not None else None
        entries[file.path] = Entry(file.path, file.sidecar.oid, file.sidecar.size, None, remote)
    return Manifest(entries, before.base_url, before.extra)


def _files(number: int) -> str:
    return "1 file holds" if number == 1 else f"{number:,} files hold"


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:5])
    return shown if len(paths) <= 5 else f"{shown}, …"


def undo(repo: DvsRepo, **options: Any) -> tuple[Report, Plan]:
    """Go back to the state before the last operation; undoing an undo brings it back. Options as for `rollback`.

    Raises HeadwaterError (rule `dvs-not-found`) when there is nothing to undo.
    """
    records = log(repo, limit=1)
    if not records:
        raise HeadwaterError("nothing has been done yet", rule="dvs-not-found", fix="`headwater dvs log` lists the operations")
    before = records[0].old
    if before is None:
        before, data = states.write_snapshot(Snapshot((), Manifest()))
        inside = repo.path(f"{states.SNAPSHOTS}/{before}.json")
        if repo.storage.stat(inside) is None:
            repo.storage.write(inside, data)
    return rollback(repo, before, name="undo", **options)

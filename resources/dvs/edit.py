"""Untracking and moving versioned files: sidecars, manifest and `.gitignore` change as one set, working files follow.

No object is ever deleted here: the storage keeps what was added until it is collected.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.dvs import operation
from resources.dvs.add import local_root
from resources.dvs.choose import choose_tracked
from resources.dvs.gitignore import GitSide
from resources.dvs.results import Outcome, Report, Row, not_tracked
from resources.dvs.snapshots import tracked_now
from resources.dvs.working import WorkFile, scan
from resources.storage.base import ABSENT, Change
from resources.storage.folders import split_path
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Manifest
from schemas.dvs.sidecar import SidecarFormat
from schemas.errors import HeadwaterError, Refused, UsageError
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo


def remove(
    repo: DvsRepo,
    paths: Sequence[str],
    *,
    globs: Sequence[str] = (),
    delete: bool = False,
    message: str = "",
    dry_run: bool = False,
) -> Report:
    """Stop tracking files; with `delete` also remove them from the working tree, where a store holds their bytes.

    One row per file, COPIED for removed. Raises UsageError when no path is given: that never means all of them.
    """
    if not paths:
        raise UsageError("name the files to untrack", rule="usage", fix="a dot means everything below the current folder")
    root = local_root(repo)
    if not dry_run:
        repo.require_storage()
    files = {file.path: file for file in scan(repo).files}
    chosen, nothing = choose_tracked(files, paths, globs=globs)
    report = Report("remove")
    report.add(Row(path, Outcome.ERROR, error=not_tracked(path)) for path in nothing)
    held = _retained(repo, [files[path] for path in sorted(chosen)])
    report.add(held)
    gone = sorted(chosen - {row.path for row in held})
    if delete:
        kept = _unsaved(repo, [files[path] for path in gone])
        report.add(Row(path, Outcome.ERROR, files[path].actual, error=_lost(path)) for path in gone if path in kept)
        gone = [path for path in gone if path not in kept]
    rows = [Row(path, Outcome.COPIED, files[path].recorded, files[path].size) for path in gone]
    report.add(rows)
    if dry_run or not gone:
        return report
    git = GitSide(repo)

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        others = [removal for path in gone for removal in removals(repo, path)]
        return before.without(gone), others + git.changes(show=gone)

    def log() -> None:
        repo.audit("remove", {path: files[path].recorded or "" for path in gone}, message)
        report.state = repo.record("remove", tracked_now(repo), gone, message)

    repo.update(change, label=f"remove {len(gone)} files", then=log)
    if delete:
        for path in gone:
            _unlink(repo, root, files[path])
    return report


def _retained(repo: DvsRepo, files: Sequence[WorkFile]) -> list[Row]:
    """An error for each file whose retention has not ended: it is counted from when its bytes were first added."""
    from resources.dvs.roots import claims, retained_until

    retain = repo.config.retain_seconds
    if not retain:
        return []
    first = claims(repo).first
    made = []
    for file in files:
        until = retained_until(first, file.recorded, retain) if file.recorded is not None else None
        if until is not None:
            error = Refused(
                f"is retained until {until}",
                rule="dvs-retained",
                path=file.path,
                fix=f"wait until then: the configuration says `retain = {repo.config.retain!r}`",
            )
            made.append(Row(file.path, Outcome.ERROR, file.recorded, file.size, error))
    return made


def removals(repo: DvsRepo, path: str, *, keep: SidecarFormat | None = None) -> list[Change]:
    """The removal of every sidecar of a data file, as they are now, but for the one in the spelling `keep`."""
    made = []
    for spelling in (SidecarFormat.TOML, SidecarFormat.JSON):
        inside = repo.sidecar_path(path, spelling)
        data = repo.read(inside) if spelling is not keep else None
        if data is not None:
            made.append(Change(repo.path(inside), None, bytes_oid(data)))
    return made


def _unsaved(repo: DvsRepo, files: Sequence[WorkFile]) -> set[str]:
    """The files whose present bytes no store holds."""
    oids = {file.actual for file in files if file.actual is not None}
    saved = repo.objects.present(oids) | repo.cache.present(oids)
    return {file.path for file in files if file.actual is not None and file.actual not in saved}


def _unlink(repo: DvsRepo, root: Path, file: WorkFile) -> None:
    """Remove a working file, unless it was written to since it was looked at."""
    from schemas.dvs.oids import oid_of_stream

    full = root / file.path
    try:
        if full.is_symlink() or file.actual is None:
            return
        with full.open("rb") as opened:
            if oid_of_stream(opened, file.actual.partition(":")[0])[0] != file.actual:
                return
        repo.storage.delete(repo.path(file.path))
    except FileNotFoundError:
        return


# moving


def move(repo: DvsRepo, old: str, new: str, *, dry_run: bool = False) -> Report:
    """Rename a tracked file, or everything tracked below a folder; `new` is the full new path.

    Raises Refused (rule `dvs-file-in-the-way`) where something lies there or is tracked, HeadwaterError where nothing is
    tracked at `old`.
    """
    root = local_root(repo)
    if not dry_run:
        repo.require_storage()
    files = {file.path: file for file in scan(repo).files}
    chosen, _nothing = choose_tracked(files, [old])
    if not chosen or (old not in chosen and any(not path.startswith(f"{old}/") for path in chosen)):
        raise not_tracked(old)
    if new == old or new.startswith(f"{old}/"):
        raise UsageError(f"{old} cannot be moved to {new}", rule="usage", fix="name another place")
    pairs = {path: new + path[len(old) :] for path in sorted(chosen)}
    for source, target in pairs.items():
        split_path(target)
        taken = repo.sidecar_file(target) is not None or target in files
        if taken or (_lies(root, target) and not _same_file(root, source, target)):
            raise Refused(
                "something lies there already",
                rule="dvs-file-in-the-way",
                path=target,
                fix="name another place, or move it away",
            )
    report = Report("move")
    report.add(Row(target, Outcome.COPIED, files[source].recorded, files[source].size) for source, target in pairs.items())
    if dry_run:
        return report
    git = GitSide(repo)

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        others: list[Change] = []
        moved = {}
        for source, target in pairs.items():
            others += _renames(repo, source, target)
            if source in before.entries:
                entry = before.entries[source]
                moved[source] = type(entry)(target, entry.oid, entry.bytes, entry.compression, entry.remote, entry.extra)
        after = before.without(pairs).put(moved.values())
        return after, others + git.changes(hide=list(pairs.values()), show=list(pairs))

    def log() -> None:
        repo.audit("move", {target: files[source].recorded or "" for source, target in pairs.items()}, f"{old} -> {new}")
        report.state = repo.record("move", tracked_now(repo), [*pairs, *pairs.values()], None)

    with operation.begun(repo, "move", {"pairs": pairs}):
        repo.update(change, label=f"move {old} to {new}", then=log)
        for source, target in pairs.items():
            _rename(repo, root, source, target)
    return report


def finish_move(repo: DvsRepo, record: Mapping[str, Any]) -> str:
    """Rename the working files of a move whose text has changed; nothing when it has not."""
    root = local_root(repo)
    pairs: dict[str, str] = record["pairs"]
    done = 0
    for source, target in pairs.items():
        if repo.sidecar_file(target) is not None and repo.sidecar_file(source) is None:
            done += _rename(repo, root, source, target)
    if any(repo.sidecar_file(target) is not None for target in pairs.values()):
        repo.record("move", tracked_now(repo), [*pairs, *pairs.values()], None)
    return f"completed: a move of {len(pairs)} files" if done else "a begun move was looked at: nothing was left to do"


def _renames(repo: DvsRepo, source: str, target: str) -> list[Change]:
    """The sidecars of one file, each under the new name in its spelling."""
    made = []
    for spelling in (SidecarFormat.TOML, SidecarFormat.JSON):
        inside = repo.sidecar_path(source, spelling)
        data = repo.read(inside)
        if data is not None:
            made.append(Change(repo.path(inside), None, bytes_oid(data)))
            made.append(Change(repo.path(repo.sidecar_path(target, spelling)), data, ABSENT))
    return made


def _rename(repo: DvsRepo, root: Path, source: str, target: str) -> bool:
    """Give a working file its new name; nothing where it is gone or something lies at the target."""
    storage = repo.storage
    assert isinstance(storage, LocalStorage)
    if not _lies(root, source) or _lies(root, target):
        return False
    old, new = split_path(repo.path(source)), split_path(repo.path(target))
    with storage.folder(old[:-1]) as above, storage.folder(new[:-1], create=True) as below:
        above.rename(old[-1], below, new[-1])
        below.sync()
        above.sync()
    return True


def _lies(root: Path, path: str) -> bool:
    return os.path.lexists(root / path)


def _same_file(root: Path, one: str, other: str) -> bool:
    """Whether both names are one file, as on a file system that folds case."""
    try:
        return (root / one).samefile(root / other)
    except OSError:
        return False


def _lost(path: str) -> HeadwaterError:
    return HeadwaterError(
        "the file holds bytes that no store has; they would be lost",
        rule="dvs-unsaved",
        path=path,
        fix=f"keep them with `headwater dvs add {shlex.quote(path)}`, or untrack the file without --delete",
    )

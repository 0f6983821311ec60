"""Merging another repository into this one: its tracked files, their objects and their entries of the manifest.

Repositories of every generation are read. Everything that clashes is found before anything is written, and an object that the
source lacks keeps all of it from being written. Nothing of the source changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from resources.dvs.carry import copy_objects, holders, lacking, missing
from resources.dvs.incoming import (
    Arrival,
    OnConflict,
    Plan,
    check_prefix,
    check_source,
    needs_writing,
    placed,
    plan,
    same_folder,
    told,
    under,
    write,
)
from resources.dvs.results import Outcome, Report, Row
from schemas.dvs.config import FILES
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError, UsageError
from schemas.findings import Finding

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects


def open_source(repo: DvsRepo, folder: Path) -> DvsRepo:
    """The repository in another folder, to be read: not even a folder for our own state is made there.

    Raises UsageError where there is none, or where it is `repo` itself.
    """
    from resources.dvs.opening import open_repo
    from resources.dvs.repo import DvsRepo
    from resources.storage.local import LocalStorage
    from resources.workspace import STATE, find_root, is_plain, open_workspace

    full = check_source(folder)
    if repo.folder is not None and same_folder(full, repo.folder):
        raise UsageError(
            "a repository cannot be merged into itself", rule="dvs-merge-itself", fix="name the folder of another repository"
        )
    if not any((full / name).is_file() for name in FILES):
        raise UsageError(
            f"{folder} is no repository of versioned data",
            rule="dvs-not-initialized",
            fix="name the folder that holds dvs.toml, dvs.yaml or dvs.json",
        )
    root = find_root(full)
    if (root / STATE).is_dir() or is_plain(full):
        # It is in use with this program: what a killed command has left there must be known to be left alone.
        workspace = open_workspace(full)
        top = workspace.root.local_root
        assert top is not None
        inside = full.relative_to(top.resolve()).as_posix()
        return open_repo(workspace, "" if inside == "." else inside, actor=repo.actor)
    local = repo.local / "sources" / hashlib.sha256(os.fsencode(full)).hexdigest()[:24]
    return DvsRepo(LocalStorage(full, state=local / "state"), "", local, actor=repo.actor)


def merge_repo(
    repo: DvsRepo,
    source: DvsRepo,
    *,
    prefix: str = "",
    conflict: OnConflict = OnConflict.ABORT,
    verify: bool = False,
    dry_run: bool = False,
    message: str = "",
    operation: str = "merge",
    progress: Callable[[str], None] | None = None,
    before: Callable[[], None] = lambda: None,
) -> Report:
    """Track here what another repository tracks, below the folder `prefix`. One row per file of the source.

    Sidecars keep their spelling and what they say; objects that the storage lacks are copied, each verified on the way, with the
    modes and the group of this repository; `verify` also reads again those that it holds. With ABORT any clash, and always a
    sidecar that cannot be read or an object that the source lacks, means that nothing is written: the rows say all of them.
    `before` is called when nothing is in the way any more, before any text is written.
    Raises HeadwaterError for what concerns everything.
    """
    merging = _Merge(repo, source, check_prefix(prefix), progress)
    arrivals = merging.arrivals()
    made = plan(repo, arrivals, conflict=conflict)
    report = Report(operation)
    sources = merging.sources(made)
    report.also = {"objects_copied": len(sources), "objects_present": len(merging.oids(made)) - len(sources)}
    refused = bool(merging.rows) or made.clashes > 0
    if dry_run or refused or not (needs_writing(repo, made) or verify):
        return _told(report, merging, made, refused=refused)
    with repo.lease(operation):
        errors = copy_objects(repo, sources, progress=progress)
        if verify:
            errors |= merging.verified(merging.oids(made) - errors.keys(), sources)
        if errors:
            merging.rows += [one.row(Outcome.ERROR, errors[one.oid]) for one in made.fresh + made.present if one.oid in errors]
            return _told(report, merging, made, refused=True)
        if needs_writing(repo, made):
            before()
            said = message or f"merged from {source.folder.name if source.folder else 'elsewhere'}"
            base_url = source.manifest().base_url
            report.state = write(repo, made, operation=operation, message=said, base_url=base_url)
    return _told(report, merging, made, refused=False)


def _told(report: Report, merging: _Merge, made: Plan, *, refused: bool) -> Report:
    """The rows of what was done, or, when it was refused, only what is in the way."""
    report.add(merging.rows)
    if refused:
        report.also = {"objects_copied": 0}
        report.add(made.rows)
        return placed(report)
    return told(report, made)


class _Merge:
    def __init__(self, repo: DvsRepo, source: DvsRepo, prefix: str, progress: Callable[[str], None] | None) -> None:
        self.repo = repo
        self.source = source
        self.prefix = prefix
        self.progress = progress
        self.rows: list[Row] = []
        """What keeps everything from being written, besides clashes."""

    def arrivals(self) -> list[Arrival]:
        """Every tracked file of the source under its new path; sidecars that cannot be read become rows."""
        entries = self.source.manifest().entries
        made = []
        for path, held in self.source.tracked():
            target = under(self.prefix, path)
            if isinstance(held, Finding):
                error = HeadwaterError(
                    f"the sidecar of the source cannot be read: {held.message}",
                    rule="dvs-metadata-not-found",
                    path=held.path,
                    line=held.line,
                    fix="repair it there, or restore it from git",
                )
                self.rows.append(Row(target, Outcome.ERROR, error=error))
                continue
            entry = entries.get(path)
            file = TrackedFile(target, held.sidecar, held.spelling)
            made.append(Arrival(file) if entry is None else Arrival(file, entry.remote, entry.extra))
        return made

    def oids(self, made: Plan) -> set[str]:
        """The objects that the planned files name."""
        return {one.oid for one in (*made.fresh, *made.present)}

    def sources(self, made: Plan) -> dict[str, PackedObjects]:
        """Where each object that the storage lacks comes from; what nobody holds becomes rows."""
        wanted = lacking(self.repo, self.oids(made))
        found = holders([self.source.objects, self.source.cache, self.repo.cache], wanted)
        self.rows += [
            one.row(Outcome.ERROR, missing(one.oid))
            for one in (*made.fresh, *made.present)
            if one.oid in wanted and one.oid not in found
        ]
        return found

    def verified(self, oids: set[str], copied: dict[str, PackedObjects]) -> dict[str, HeadwaterError]:
        """Read objects of the storage again, but for those just copied; a damaged file is replaced by the source's object."""
        errors: dict[str, HeadwaterError] = {}
        damaged: dict[str, HeadwaterError] = {}
        for oid in sorted(oids - copied.keys()):
            if self.progress is not None:
                self.progress(oid)
            try:
                self.repo.objects.verify(oid)
            except FileNotFoundError:
                errors[oid] = missing(oid)
            except HeadwaterError as error:
                damaged[oid] = error
        whole = holders([self.source.objects, self.source.cache], set(damaged))
        errors |= {oid: error for oid, error in damaged.items() if oid not in whole}
        for oid, store in whole.items():
            try:
                store.verify(oid)
            except (HeadwaterError, FileNotFoundError):
                errors[oid] = damaged[oid]
                continue
            self.repo.objects.delete(oid)
            errors |= copy_objects(self.repo, {oid: store})
            try:
                self.repo.objects.verify(oid)
            except HeadwaterError as error:
                errors[oid] = error
        return errors

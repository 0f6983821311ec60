"""Files that come from elsewhere: what clashes with what is here, their objects, and the text that then names them.

Merging and every import go through here: first all that is in the way is found, then objects are put, then the operation is
written into the audit log, then sidecars, manifest and `.gitignore` change, the log last. Killed in between there are objects
that nobody names, or files whose entry is missing; the same command given again makes them whole. No working file is touched.
"""

from __future__ import annotations

import stat as modes
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.edit import removals
from resources.dvs.gitignore import GitSide
from resources.dvs.ignore import Ignored
from resources.dvs.results import Outcome, Report, Row
from resources.dvs.snapshots import tracked_now
from resources.dvs.working import NEVER_ENTERED
from resources.storage.base import ABSENT, Change
from schemas.document import Value
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError, UsageError
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo, SidecarFile

_AS_ONE: Final = 200
"""Up to so many sidecars change together with the manifest, as one set; more are written one by one before it."""
_ASKED_ONE_BY_ONE: Final = 500


class OnConflict(StrEnum):
    """What becomes of a file that is tracked here with other bytes: nothing is written at all, it is left, or it is replaced."""

    ABORT = "abort"
    SKIP = "skip"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file as it shall be tracked here; `remote` and `extra` are kept in its entry of the manifest."""

    file: TrackedFile
    remote: str | None = None
    extra: Mapping[str, Value] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def oid(self) -> str:
        return self.file.sidecar.oid

    @property
    def size(self) -> int:
        return self.file.sidecar.size

    def row(self, outcome: Outcome, error: HeadwaterError | None = None) -> Row:
        """What is said of the file."""
        return Row(self.path, outcome, self.oid, self.size, error)


@dataclass(slots=True)
class Plan:
    """What would be written: `fresh` files, and `present` ones, which are tracked with the same bytes.

    `old` are the sidecars that fresh ones replace, `rows` what was skipped or is in the way, `clashes` how many of them clash.
    """

    fresh: list[Arrival] = field(default_factory=list)
    present: list[Arrival] = field(default_factory=list)
    old: dict[str, SidecarFile] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    clashes: int = 0


def under(prefix: str, path: str) -> str:
    """A path of the source below the folder `prefix` ('' for the repository itself)."""
    return f"{prefix}/{path}" if prefix else path


def check_prefix(prefix: str) -> str:
    """A folder of the repository as it was typed; '' for the repository itself. Raises HeadwaterError (rules `path-…`)."""
    inside = prefix.strip("/")
    while inside.startswith("./"):
        inside = inside[2:]
    return "" if inside in ("", ".") else check_path(inside, portable=False)


def plan(
    repo: DvsRepo,
    arrivals: Iterable[Arrival],
    *,
    conflict: OnConflict = OnConflict.ABORT,
    from_git: Collection[str] = (),
    may_replace: Callable[[SidecarFile, Arrival], bool] | None = None,
) -> Plan:
    """Compare what comes with what is here; nothing is written. `from_git` are files that git may track itself.

    `may_replace(present sidecar, arrival)` says which files are no clash though their bytes differ, such as a later version
    from the same place.
    """
    made = Plan()
    paths = _Paths(repo)
    seen: dict[str, Arrival] = {}
    for arrival in arrivals:
        twin = seen.get(arrival.path)
        if twin is not None:
            if (twin.oid, twin.size) != (arrival.oid, arrival.size):
                made.rows.append(arrival.row(Outcome.ERROR, _twice(arrival.path)))
                made.clashes += 1
            continue
        seen[arrival.path] = arrival
    for path in sorted(_tracked_by_git(repo, seen) - set(from_git)):
        made.rows.append(seen.pop(path).row(Outcome.ERROR, _is_in_git(path)))
        made.clashes += 1
    for path, arrival in sorted(seen.items()):
        error = paths.problem(path, seen)
        if error is not None:
            made.rows.append(arrival.row(Outcome.ERROR, error))
            made.clashes += 1
            continue
        present = repo.sidecar_file(path)
        if present is None:
            made.fresh.append(arrival)
        elif (present.sidecar.oid, present.sidecar.size) == (arrival.oid, arrival.size):
            made.present.append(arrival)
        elif conflict is OnConflict.OVERWRITE or (may_replace is not None and may_replace(present, arrival)):
            made.old[path] = present
            made.fresh.append(arrival)
        elif conflict is OnConflict.SKIP:
            made.rows.append(Row(path, Outcome.PRESENT, present.sidecar.oid, present.sidecar.size))
        else:
            made.rows.append(arrival.row(Outcome.ERROR, _clash(path)))
            made.clashes += 1
    return made


class _Paths:
    """What keeps a path from being tracked here, apart from a sidecar of its own."""

    def __init__(self, repo: DvsRepo) -> None:
        self.repo = repo
        self.ignored = Ignored(repo)
        self._folders: dict[str, HeadwaterError | None] = {"": None}

    def problem(self, path: str, others: Mapping[str, Arrival]) -> HeadwaterError | None:
        try:
            check_path(path, portable=False)
        except HeadwaterError as refused:
            return refused
        *above, name = path.split("/")
        if any(part in NEVER_ENTERED or part == ".dvs" for part in above) or self.ignored.own(name):
            return HeadwaterError(
                "the name is kept for the repository itself or for git",
                rule="dvs-own-file",
                path=path,
                fix="leave the file out, or bring it in under another name",
            )
        folder = ""
        for part in above:
            folder = under(folder, part)
            error = self._folder(folder, others)
            if error is not None:
                return error
        if self.repo.folder is not None and (self.repo.folder / path).is_dir():
            return _in_the_way(path, "a folder lies there")
        return None

    def _folder(self, folder: str, others: Mapping[str, Arrival]) -> HeadwaterError | None:
        if folder not in self._folders:
            error = None
            if folder in others or self.repo.sidecar_file(folder) is not None:
                error = _in_the_way(folder, "it is tracked as a file, and a folder is wanted")
            elif self.repo.folder is not None:
                try:
                    mode = (self.repo.folder / folder).lstat().st_mode
                    if not modes.S_ISDIR(mode):
                        error = _in_the_way(folder, "it is no folder, and a folder is wanted")
                except (FileNotFoundError, NotADirectoryError):
                    pass
            self._folders[folder] = error
        return self._folders[folder]


def _tracked_by_git(repo: DvsRepo, paths: Mapping[str, object]) -> set[str]:
    git = GitSide(repo)
    if len(paths) <= _ASKED_ONE_BY_ONE:
        return git.tracked(paths)
    return git.tracked(paths, below={path.partition("/")[0] for path in paths})


# text


def write(
    repo: DvsRepo,
    made: Plan,
    *,
    operation: str,
    message: str,
    show: Sequence[str] = (),
    hide: Sequence[str] = (),
    base_url: str | None = None,
) -> str | None:
    """Write sidecars, manifest, `.gitignore`, audit line and log for what was planned; returns the id of the new state.

    `show` are lines that go from `.gitignore`, as for folders whose files are named there one by one from now on, `hide` further
    files to keep from git. Call it under the lease that the objects were put under. Files whose sidecar somebody else has changed
    since become rows of the plan.
    """
    repo.audit(operation, {one.path: one.oid for one in (*made.fresh, *_unlisted(repo, made))}, message)
    sidecars = made.fresh
    if len(sidecars) > _AS_ONE:
        # One that takes the place of another spelling's changes with it: alone, it would hide the other and leave it there.
        apart = [one for one in sidecars if one.path not in made.old or made.old[one.path].path == _inside(repo, one)]
        _write_apart(repo, made, apart)
        written = {one.path for one in apart}
        sidecars = [one for one in made.fresh if one.path not in written]
    git = GitSide(repo)
    arrivals = [*made.fresh, *made.present]
    paths = [*(arrival.path for arrival in arrivals), *hide]
    spellings = {arrival.path: arrival.file.spelling for arrival in made.fresh}
    above = tuple(f"{folder}/" for folder in show)
    always = [path for path in paths if above and path.startswith(above)]

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        changes = [*git.changes(hide=paths, show=show, always=always)]
        for arrival in sidecars:
            changes.append(_sidecar(repo, arrival, made.old.get(arrival.path)))
        for path in made.old:
            changes += removals(repo, path, keep=spellings[path])
        after = before.put(_entry(before, arrival) for arrival in arrivals)
        if base_url is not None and after.base_url is None:
            after = Manifest(after.entries, base_url, after.extra)
        return after, changes

    known = {arrival.path: arrival.file for arrival in made.fresh}
    states: list[str] = []

    def log() -> None:
        states.append(repo.record(operation, tracked_now(repo, known), sorted(known), message))

    repo.update(change, label=f"{operation} {len(made.fresh)} files", then=log)
    return states[0]


def _sidecar(repo: DvsRepo, arrival: Arrival, old: SidecarFile | None) -> Change:
    """The arrival's sidecar in its own spelling, in the place of the one that was there when it was planned."""
    now = repo.sidecar_file(arrival.path)
    if (now is None) != (old is None) or (now is not None and old is not None and now.oid != old.oid):
        raise _changed(arrival.path)
    inside = _inside(repo, arrival)
    data = write_sidecar(arrival.file.sidecar, arrival.file.spelling)
    return Change(repo.path(inside), data, old.oid if old is not None and old.path == inside else ABSENT)


def _inside(repo: DvsRepo, arrival: Arrival) -> str:
    return repo.sidecar_path(arrival.path, arrival.file.spelling)


def _write_apart(repo: DvsRepo, made: Plan, apart: Sequence[Arrival]) -> None:
    changes, paths = [], {}
    for arrival in apart:
        inside = _inside(repo, arrival)
        old = made.old.get(arrival.path)
        stored = repo.path(inside)
        paths[stored] = arrival
        data = write_sidecar(arrival.file.sidecar, arrival.file.spelling)
        changes.append(Change(stored, data, old.oid if old is not None and old.path == inside else ABSENT))
    lost = {paths[path].path for path in repo.storage.write_many(changes)}
    made.rows += [one.row(Outcome.ERROR, _changed(one.path)) for one in made.fresh if one.path in lost]
    made.fresh = [one for one in made.fresh if one.path not in lost]
    made.old = {path: old for path, old in made.old.items() if path not in lost}


def _entry(before: Manifest, arrival: Arrival) -> Entry:
    """The arrival's entry; one for the same bytes stays as it is."""
    old = before.entries.get(arrival.path)
    if old is not None and (old.oid, old.bytes) == (arrival.oid, arrival.size):
        return old
    return Entry(arrival.path, arrival.oid, arrival.size, None, arrival.remote, arrival.extra)


def needs_writing(repo: DvsRepo, made: Plan) -> bool:
    """Whether anything of the text would change: fresh files, or present ones that the manifest does not name as they are."""
    return bool(made.fresh or _unlisted(repo, made))


def _unlisted(repo: DvsRepo, made: Plan) -> list[Arrival]:
    """Files that are tracked already, and that the manifest does not name as they are: a killed command was here."""
    entries = repo.manifest().entries
    return [
        one for one in made.present if (held := entries.get(one.path)) is None or (held.oid, held.bytes) != (one.oid, one.size)
    ]


# what is said


def told(report: Report, made: Plan) -> Report:
    """The report with what was planned: all of it, or only what is in the way when that kept it from being written."""
    report.add(made.rows)
    if not made.clashes:
        report.add(one.row(Outcome.COPIED) for one in made.fresh)
        report.add(one.row(Outcome.PRESENT) for one in made.present)
    return placed(report)


def placed(report: Report) -> Report:
    """The report with the path of its row in every error that names none."""
    for position, row in enumerate(report.rows):
        if row.error is not None and row.error.path is None:
            error = copy(row.error)  # several rows may have the same
            error.path = row.path
            report.rows[position] = replace(row, error=error)
    return report


def new_arrivals(
    repo: DvsRepo,
    files: Sequence[tuple[str, str]],
    oids: Mapping[str, tuple[str, int]],
    errors: Mapping[str, HeadwaterError],
    message: str,
) -> tuple[list[Arrival], list[Row]]:
    """(files as they shall be tracked, rows of those that cannot be) for (path, foreign digest) pairs."""
    from resources.dvs.repo import now

    when = now()
    spelling = SidecarFormat(repo.config.metadata_format)
    made, rows = [], []
    for path, digest in files:
        held = oids.get(digest)
        if held is None:
            rows.append(Row(path, Outcome.ERROR, error=errors[digest]))
        else:
            made.append(Arrival(TrackedFile(path, Sidecar(held[0], held[1], when, message, repo.actor), spelling)))
    return made, rows


def _clash(path: str) -> HeadwaterError:
    return HeadwaterError(
        "conflict: it is tracked here with other bytes",
        rule="dvs-merge-conflict",
        path=path,
        fix="choose with --conflict skip (keep ours) or --conflict overwrite (take theirs), or bring it in below a --prefix",
    )


def _changed(path: str) -> HeadwaterError:
    return HeadwaterError(
        "its sidecar was changed by somebody else at the same time",
        rule="dvs-merge-conflict",
        path=path,
        fix="look at the sidecar, then run the command again",
    )


def _twice(path: str) -> HeadwaterError:
    return HeadwaterError(
        "two files of the source would get this path with different bytes",
        rule="dvs-merge-conflict",
        path=path,
        fix="correct the source, or bring its parts in one after the other",
    )


def _is_in_git(path: str) -> HeadwaterError:
    import shlex

    return HeadwaterError(
        "conflict: git tracks a file of that name here",
        rule="dvs-tracked-by-git",
        path=path,
        fix=f"take it out of git with `git rm --cached -- {shlex.quote(path)}`, or bring the other in below a --prefix",
    )


def _in_the_way(path: str, what: str) -> HeadwaterError:
    return HeadwaterError(
        f"conflict: {what}", rule="dvs-file-in-the-way", path=path, fix="move it away, or bring the files in below a --prefix"
    )


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths are one folder, however they are spelled."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def check_source(folder: Path) -> Path:
    """The folder of a source. Raises UsageError."""
    full = folder.expanduser()
    if not full.is_dir():
        raise UsageError(f"there is no folder {folder}", rule="dvs-file-not-found", fix="name the folder of the source")
    return full.resolve()

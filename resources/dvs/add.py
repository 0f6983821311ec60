"""Adding files: their bytes go into the storage, a sidecar stands for each, the manifest lists them, git looks away.

Every file is read once. What makes the order safe: objects are durable before any text names them, sidecars before the manifest,
the log last. Killed in between there are objects or sidecars that the next `add` of the same files takes up; nothing is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.choose import choose_files
from resources.dvs.gitignore import GitSide
from resources.dvs.index import Folder, Signature, WorkingIndex, signature_of
from resources.dvs.results import Outcome, Report, Row
from resources.dvs.snapshots import tracked_now
from resources.packed import SMALL
from resources.storage.base import ABSENT, Change, Expect
from schemas.dvs import sidecar as sidecars
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.oids import oid_of_stream
from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo, SidecarFile
    from resources.packed import Batch

_AS_ONE: Final = 200
"""Up to so many sidecars change together with the manifest, as one set; more are written one by one before it."""
_ASKED_ONE_BY_ONE: Final = 500


class NeedsLocal(HeadwaterError):
    """The working tree is not on this machine."""


def local_root(repo: DvsRepo) -> Path:
    """The folder of the working tree. Raises NeedsLocal."""
    if repo.folder is None:
        raise NeedsLocal(
            "the working tree is not on this machine", rule="dvs-needs-local", fix="clone the repository and run it there"
        )
    return repo.folder


def add(
    repo: DvsRepo,
    paths: Sequence[str],
    *,
    globs: Sequence[str] = (),
    message: str = "",
    dry_run: bool = False,
    operation: str = "add",
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Put files and everything below folders into the storage and track them.

    One row per file: COPIED when it is new, changed, or the storage had lost it; PRESENT when the storage holds what the sidecar
    says; ERROR with what is wrong, while the others go on. `globs` choose among the files of folders. Raises HeadwaterError for
    what concerns all of them, such as a storage that cannot be written; nothing is tracked then.
    """
    return _Add(repo, local_root(repo), message, dry_run, operation, progress).run(paths, globs)


@dataclass(slots=True)
class _Taken:
    """One file whose bytes are in the storage now."""

    path: str
    oid: str
    size: int
    signature: Signature
    old: SidecarFile | None
    outcome: Outcome


@dataclass(slots=True)
class _Add:
    repo: DvsRepo
    root: Path
    message: str
    dry_run: bool
    operation: str
    progress: Callable[[str], None] | None
    rows: list[Row] = field(default_factory=list)

    def run(self, paths: Sequence[str], globs: Sequence[str]) -> Report:
        chosen = choose_files(self.repo, self.root, paths, globs=globs)
        self.rows += [Row(path, Outcome.ERROR, error=error) for path, error in chosen.errors.items()]
        git = GitSide(self.repo)
        files = dict(sorted(chosen.files.items()))
        report = Report("add")
        for path in list(files):
            try:
                check_path(path, portable=False)
            except HeadwaterError as error:
                del files[path]
                self.rows.append(Row(path, Outcome.ERROR, error=error))
        named = {sidecars.data_path(path) or path for path in paths}
        for path in sorted(self._tracked_by_git(git, files)):
            del files[path]
            if path in named:
                self.rows.append(Row(path, Outcome.ERROR, error=_tracked_by_git(path)))
            else:
                # Code and text beside the data: whoever adds a folder does not mean them.
                report.left_to_git.append(path)
        if files:
            with self.repo.lease(self.operation):
                taken = self._take_all(files)
                if taken and not self.dry_run:
                    report.state = self._write(taken, git)
            self.rows += [Row(one.path, one.outcome, one.oid, one.size) for one in taken]
        report.add(self.rows)
        return report

    def _tracked_by_git(self, git: GitSide, files: dict[str, Signature]) -> set[str]:
        if len(files) <= _ASKED_ONE_BY_ONE:
            return git.tracked(files)
        return git.tracked(files, below={path.partition("/")[0] for path in files})

    # bytes

    def _take_all(self, files: dict[str, Signature]) -> list[_Taken]:
        repo = self.repo
        old = _old_sidecars(repo, self.root, files)
        held = repo.objects.present(
            {one.sidecar.oid for one in old.values()}, {one.sidecar.oid: one.sidecar.size for one in old.values()}
        )
        vouched = _Vouched(repo)
        algorithm = repo.config.hash_algo
        taken: list[_Taken] = []
        with repo.objects.batch() as batch:
            for path, signature in files.items():
                before = old.get(path)
                known = vouched.oid(path, signature) if before is not None else None
                if known is not None and before is not None and known == before.sidecar.oid and known in held:
                    taken.append(_Taken(path, known, signature[0], signature, before, Outcome.PRESENT))
                    continue
                if self.progress is not None:
                    self.progress(path)
                try:
                    oid, size, seen = self._take(path, algorithm, batch)
                except OSError as error:
                    self.rows.append(Row(path, Outcome.ERROR, error=_unreadable(path, error)))
                    continue
                except HeadwaterError as error:
                    if error.rule != "dvs-file-changing":
                        raise
                    self.rows.append(Row(path, Outcome.ERROR, error=_changing(path)))
                    continue
                if before is not None and before.sidecar.oid != oid and not self.dry_run:
                    self._let_go(path, before.sidecar.oid)
                same = before is not None and before.sidecar.oid == oid and oid in held
                taken.append(_Taken(path, oid, size, seen, before, Outcome.PRESENT if same else Outcome.COPIED))
        vouched.known.close()
        return taken

    def _take(self, path: str, algorithm: str, batch: Batch) -> tuple[str, int, Signature]:
        """Put one file's bytes; returns their oid, their number, and the signature of the file they were read from."""
        full = os.path.join(self.root, path)
        fd = os.open(full, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            before = os.fstat(fd)
            if self.dry_run:
                with os.fdopen(os.dup(fd), "rb") as file:
                    oid, size = oid_of_stream(file, algorithm)
                return oid, size, signature_of(before)
            if before.st_size < SMALL:
                data = os.read(fd, SMALL + 1)
                if len(data) != before.st_size:
                    raise _changing(path)
                # Not `batch.put` on the path: it would open the file again.
                return batch.put(data, algorithm=algorithm), len(data), signature_of(before)
        finally:
            os.close(fd)
        return batch.put(Path(full), algorithm=algorithm), before.st_size, signature_of(before)

    def _let_go(self, path: str, old: str) -> None:
        """Take an object out of its store when the file is another name of it and was written to: its bytes are others now, and
        what is written next would change them again."""
        status = os.lstat(os.path.join(self.root, path))
        if status.st_nlink < 2:
            return
        for store in (self.repo.objects, self.repo.cache):
            located = store.file_of(old)
            above = store.storage.local_root
            if located is not None and above is not None and os.path.samestat(status, os.lstat(above / located.path)):
                store.storage.delete(located.path)

    # text

    def _write(self, taken: list[_Taken], git: GitSide) -> str | None:
        repo = self.repo
        from resources.dvs.repo import now

        when = now()
        fresh = [one for one in taken if one.old is None or one.old.sidecar.oid != one.oid]
        made = {one.path: self._sidecar(one, when) for one in fresh}
        apart = len(fresh) > _AS_ONE
        if apart:
            self._write_apart(fresh, made, taken)
        entries = [Entry(one.path, one.oid, one.size) for one in taken]
        changed = [one.path for one in taken if one.outcome is Outcome.COPIED]

        def change(before: Manifest) -> tuple[Manifest, list[Change]]:
            others = git.changes(hide=[entry.path for entry in entries])
            if not apart:
                others += [self._change(file) for file in made.values()]
            return before.put(_kept(before, entry) for entry in entries), others

        states: list[str] = []

        def log() -> None:
            if changed:
                repo.audit(self.operation, {one.path: one.oid for one in taken if one.outcome is Outcome.COPIED}, self.message)
                states.append(repo.record(self.operation, tracked_now(repo, made), changed, self.message))

        repo.update(change, label=f"{self.operation} {len(taken)} files", then=log)
        _learn(repo, taken, made)
        return states[0] if states else None

    def _sidecar(self, one: _Taken, when: str) -> TrackedFile:
        extra = one.old.sidecar.extra if one.old is not None else {}
        made = Sidecar(one.oid, one.size, when, self.message, self.repo.actor, extra=extra)
        if one.old is not None:
            return TrackedFile(one.path, made, one.old.spelling)
        return TrackedFile(one.path, made, SidecarFormat(self.repo.config.metadata_format))

    def _change(self, file: TrackedFile) -> Change:
        """The sidecar in the place of whatever stands for the file now."""
        present = self.repo.sidecar_file(file.path)
        inside = self.repo.sidecar_path(file.path, file.spelling) if present is None else present.path
        expect: Expect = ABSENT if present is None else present.oid
        return Change(self.repo.path(inside), write_sidecar(file.sidecar, sidecars.format_of(inside)), expect)

    def _write_apart(self, fresh: list[_Taken], made: dict[str, TrackedFile], taken: list[_Taken]) -> None:
        changes, paths = [], {}
        for one in fresh:
            file = made[one.path]
            inside = self.repo.sidecar_path(one.path, file.spelling) if one.old is None else one.old.path
            stored = self.repo.path(inside)
            paths[stored] = one.path
            expect: Expect = ABSENT if one.old is None else one.old.oid
            changes.append(Change(stored, write_sidecar(file.sidecar, file.spelling), expect))
        lost = {paths[path] for path in self.repo.storage.write_many(changes)}
        for path in lost:
            del made[path]
            error = HeadwaterError(
                "its sidecar was changed by somebody else at the same time",
                rule="dvs-merge-conflict",
                path=path,
                fix="look at the sidecar, then add the file again",
            )
            self.rows.append(Row(path, Outcome.ERROR, error=error))
        if lost:
            taken[:] = [one for one in taken if one.path not in lost]


def _kept(before: Manifest, entry: Entry) -> Entry:
    """The entry with what the present one says beside the bytes, such as its remote."""
    old = before.entries.get(entry.path)
    if old is None:
        return entry
    if (old.oid, old.bytes) == (entry.oid, entry.bytes):
        return old
    return Entry(entry.path, entry.oid, entry.bytes, None, old.remote, old.extra)


def _old_sidecars(repo: DvsRepo, root: Path, files: dict[str, Signature]) -> dict[str, SidecarFile]:
    """The sidecars that the files have already, found by listing each folder once."""
    from resources.dvs.snapshots import read_tracked

    folders: dict[str, list[str]] = {}
    for path in files:
        above, _, name = path.rpartition("/")
        folders.setdefault(above, []).append(name)
    found: dict[str, SidecarFile] = {}
    mirror = repo.config.metadata_folder
    for above, names in folders.items():
        where = "/".join(part for part in (mirror, above) if part)
        try:
            present = set(os.listdir(root / where if where else root))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            for suffix in (sidecars.TOML_SUFFIX, sidecars.JSON_SUFFIX):
                if name + suffix in present:
                    path = f"{above}/{name}" if above else name
                    inside = f"{where}/{name}{suffix}" if where else name + suffix
                    held = read_tracked(repo, path, inside)
                    if held is None:
                        raise HeadwaterError(
                            "the sidecar cannot be read",
                            rule="dvs-metadata-not-found",
                            path=repo.path(inside),
                            fix="restore it from git, or delete it and add the file again",
                        )
                    found[path] = held
                    break
    return found


class _Vouched:
    """The oids of files that the working tree's index can vouch for, without reading them."""

    def __init__(self, repo: DvsRepo) -> None:
        self.known = WorkingIndex(repo.local / "working.db").opened()
        self.algorithm = repo.config.hash_algo
        self.folders: dict[str, dict[tuple[str, Signature], str]] = {}

    def oid(self, path: str, signature: Signature) -> str | None:
        above, _, name = path.rpartition("/")
        if above not in self.folders:
            self.folders[above] = self._oids(self.known.get(above))
        return self.folders[above].get((name, signature))

    def _oids(self, folder: Folder | None) -> dict[tuple[str, Signature], str]:
        if folder is None:
            return {}
        rows = folder.values()
        found = {}
        for (name, signature), position in folder.vouches().items():
            row = rows[position // 2]
            if position % 2 == 0 and row[4] is not None and str(row[4]).startswith(f"{self.algorithm}:"):
                found[name, signature] = row[4]
        return found


def _learn(repo: DvsRepo, taken: list[_Taken], made: dict[str, TrackedFile]) -> None:
    """Let the index know the files that were read, so that the next status does not read them again."""
    WorkingIndex(repo.local / "working.db").learn(
        [
            (one.path, one.signature, one.oid, one.size, one.old.path if one.old else _inside(repo, made, one.path))
            for one in taken
            if one.outcome is Outcome.COPIED
        ]
    )


def _inside(repo: DvsRepo, made: dict[str, TrackedFile], path: str) -> str:
    spelling = made[path].spelling if path in made else SidecarFormat(repo.config.metadata_format)
    return repo.sidecar_path(path, spelling)


def _tracked_by_git(path: str) -> HeadwaterError:
    import shlex

    return HeadwaterError(
        "git tracks the file itself",
        rule="dvs-tracked-by-git",
        path=path,
        fix=f"take it out of git with `git rm --cached -- {shlex.quote(path)}`, then add it again",
    )


def _unreadable(path: str, error: OSError) -> HeadwaterError:
    rule = {FileNotFoundError: "dvs-file-not-found", PermissionError: "dvs-permission-denied"}.get(type(error), "dvs-io-error")
    return HeadwaterError(
        f"it cannot be read: {error.strerror}", rule=rule, path=path, fix="make it readable, or leave it out in .dvsignore"
    )


def _changing(path: str) -> HeadwaterError:
    return HeadwaterError(
        "the file was written to while it was read",
        rule="dvs-file-changing",
        path=path,
        fix="wait until nothing writes to it, then try again",
    )

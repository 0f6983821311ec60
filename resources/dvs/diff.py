"""What differs between two states of a repository, file by file: added, removed, changed, moved.

A state is one of the clone's log, a git revision (whose sidecars are read from git, so that nothing is checked out), or the
working tree as its bytes are now. What the bytes of a file mean is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resources.dvs.gitignore import GitSide
from resources.git import GitError
from schemas.dvs import manifest, sidecar
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

ADDED: Final = "added"
REMOVED: Final = "removed"
CHANGED: Final = "changed"
MOVED: Final = "moved"
GIT: Final = "git:"
"""What begins a revision of git where the log could be meant too, such as `git:HEAD`."""


@dataclass(frozen=True, slots=True)
class Held:
    """The bytes of a file: their oid and length."""

    oid: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"oid": self.oid, "size": self.size}


@dataclass(frozen=True, slots=True)
class Side:
    """One state. `kind` is `state`, `git` or `working`, `id` the state's or the commit's; `files` are by path.

    `absent` are tracked files that are not in the working tree and stand as recorded; `unread` are sidecars that cannot be read.
    """

    kind: str
    id: str | None
    when: str | None
    files: Mapping[str, Held]
    absent: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called for people."""
        return "working tree" if self.id is None else f"{'commit' if self.kind == 'git' else self.kind} {self.id[:12]}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "id": self.id, "when": self.when, "files": len(self.files)}


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs. `was` is the path before, where the same bytes lie at another one now."""

    path: str
    change: str
    before: Held | None
    after: Held | None
    was: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The change as `--json` prints it."""
        record: dict[str, Any] = {
            "path": self.path,
            "change": self.change,
            "before": None if self.before is None else self.before.to_json(),
            "after": None if self.after is None else self.after.to_json(),
        }
        return record if self.was is None else {**record, "from": self.was}


def side_of(repo: DvsRepo, text: str | None) -> Side:
    """The state that a person means: as `history.resolve` takes it, else a git revision; None is the working tree.

    `git:REVISION` is never looked for in the log, `state:ID` never in git. A day before the log begins means the last commit
    until then. Raises HeadwaterError (rule `dvs-not-found`).
    """
    if text is None:
        return working_side(repo)
    if text.startswith(GIT):
        return git_side(repo, text.removeprefix(GIT))
    from resources.dvs.history import resolve

    try:
        return state_side(repo, resolve(repo, text))
    except HeadwaterError as unknown:
        if unknown.rule != "dvs-not-found" or text.startswith("state:"):
            raise
        try:
            return git_side(repo, text)
        except GitError as problem:
            if problem.rule != "git-revision":
                raise
            commit = _commit_of_day(repo, text)
            if commit is not None:
                return git_side(repo, commit)
            raise HeadwaterError(
                f"there is neither a state nor a git revision {text!r}",
                rule="dvs-not-found",
                fix="`headwater dvs log` lists the states, `git log` the revisions",
            ) from unknown


def _commit_of_day(repo: DvsRepo, text: str) -> str | None:
    """The last commit of this branch until a day or time that lies before the log begins; None for what is neither."""
    from resources.dvs.report import commit_until, moment_of

    try:
        found = commit_until(repo, moment_of(text.removeprefix("@").strip("{}")))
    except UsageError:
        return None
    return None if found is None else found[0]


def state_side(repo: DvsRepo, state_id: str) -> Side:
    """A state of the clone's log. Raises HeadwaterError (rule `dvs-not-found`), DamagedState."""
    snapshot = repo.snapshot(state_id)
    records, _problems = repo.log()
    when = next((record.ts for record in reversed(records) if record.new == state_id), None)
    return Side("state", state_id, when, {file.path: Held(file.sidecar.oid, file.sidecar.size) for file in snapshot.files})


def git_side(repo: DvsRepo, revision: str) -> Side:
    """What the sidecars of a git revision say, where it has none its manifest. Raises GitError."""
    side = GitSide(repo)
    if side.git is None:
        raise GitError("the repository lies in no git checkout", rule="git-revision", fix="name a state of `headwater dvs log`")
    commit = side.git.commit(revision)
    files, unread = tracked_at(repo, revision, side)
    held = {path: Held(found.oid, found.size) for path, found in files.items()}
    if not held:
        data = side.git.show(revision, side.prefix + manifest.FILE)
        entries = manifest.read_manifest(data, manifest.FILE).entries if data is not None else {}
        held = {path: Held(entry.oid, entry.bytes) for path, entry in entries.items()}
    return Side("git", commit[0] if commit else revision, commit[1] if commit else None, held, (), tuple(sorted(unread)))


def tracked_at(repo: DvsRepo, revision: str, side: GitSide) -> tuple[dict[str, sidecar.Sidecar], list[str]]:
    """(the sidecars by data path, the paths of those that cannot be read) of a git revision. Raises GitError."""
    assert side.git is not None
    start = len(side.prefix)
    found: dict[str, tuple[bool, sidecar.Sidecar]] = {}
    unread = []

    def wanted(path: str) -> bool:
        return repo.data_path(path[start:]) is not None

    for path, data in side.git.read_files(revision, wanted, folder=side.prefix.rstrip("/"), limit=sidecar.LIMITS.size):
        inside = path[start:]
        named = repo.data_path(inside)
        toml = inside.endswith(sidecar.TOML_SUFFIX)
        if named is None or (named in found and not toml):
            continue
        try:
            found[named] = (toml, sidecar.read_sidecar(data, inside))
        except HeadwaterError:
            unread.append(inside)
    lost = [inside for inside in unread if repo.data_path(inside) not in found]
    return {path: held for path, (_toml, held) in sorted(found.items())}, lost


def working_side(repo: DvsRepo) -> Side:
    """The tracked files with the bytes that lie there now; what does not lie there counts as recorded."""
    from resources.dvs.working import scan

    files: dict[str, Held] = {}
    absent: list[str] = []
    unread: list[str] = []
    for file in scan(repo).files:
        if file.actual is not None:
            files[file.path] = Held(file.actual, file.actual_size or 0)
        elif file.recorded is not None:
            absent.append(file.path)
            files[file.path] = Held(file.recorded, file.size or 0)
        else:
            unread.append(file.sidecar)
    return Side("working", None, None, files, tuple(absent), tuple(unread))


def differences(before: Mapping[str, Held], after: Mapping[str, Held]) -> list[FileChange]:
    """What differs, sorted by path. Bytes that went from one path to another are one moved file, paired by name where several
    have the same bytes. Files are the same when their oids are; oids of two algorithms name different bytes."""
    gone = [path for path in sorted(before) if path not in after]
    new = [path for path in sorted(after) if path not in before]
    moved = _moves(before, after, gone, new)
    sources = set(moved.values())
    made = [FileChange(path, REMOVED, before[path], None) for path in gone if path not in sources]
    for path in new:
        was = moved.get(path)
        if was is None:
            made.append(FileChange(path, ADDED, None, after[path]))
        else:
            made.append(FileChange(path, MOVED, before[was], after[path], was))
    made += [
        FileChange(path, CHANGED, held, after[path])
        for path, held in before.items()
        if path in after and after[path].oid != held.oid
    ]
    return sorted(made, key=lambda change: change.path)


def _moves(before: Mapping[str, Held], after: Mapping[str, Held], gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """New path -> old path of the same bytes; each old path once. Empty files are never taken for moved ones."""
    by_name: dict[tuple[str, str], list[str]] = {}
    for path in gone:
        if before[path].size:
            by_name.setdefault((before[path].oid, path.rpartition("/")[2]), []).append(path)
    for waiting in by_name.values():
        waiting.reverse()
    made: dict[str, str] = {}
    rest = []
    for path in new:
        waiting = by_name.get((after[path].oid, path.rpartition("/")[2]), [])
        if waiting:
            made[path] = waiting.pop()
        else:
            rest.append(path)
    by_oid: dict[str, list[str]] = {}
    for (oid, _name), waiting in by_name.items():
        by_oid.setdefault(oid, []).extend(waiting)
    for paths in by_oid.values():
        paths.sort(reverse=True)
    for path in rest:
        waiting = by_oid.get(after[path].oid, [])
        if waiting:
            made[path] = waiting.pop()
    return made


def counts(changes: Iterable[FileChange]) -> dict[str, int]:
    """How many files changed how, and by how many bytes the files grew together."""
    made = {ADDED: 0, REMOVED: 0, CHANGED: 0, MOVED: 0, "bytes": 0}
    for change in changes:
        made[change.change] += 1
        made["bytes"] += (change.after.size if change.after else 0) - (change.before.size if change.before else 0)
    return made


def lay_out(repo: DvsRepo, side: Side, path: str, target: Path) -> None:
    """Put the bytes of a file of a side at the new local path `target`: a link to the working file, else a verified copy.

    Raises HeadwaterError (rule `dvs-storage-missing`) where no store of this machine holds them, RottenObject.
    """
    oid = side.files[path].oid
    if side.kind == "working" and path not in side.absent and repo.folder is not None:
        target.symlink_to((repo.folder / path).absolute())
        return
    store = repo.find(oid)
    if store is None:
        raise HeadwaterError(
            f"neither the storage nor the cache holds {oid}",
            rule="dvs-storage-missing",
            path=path,
            fix="fetch it with `headwater dvs pull`",
        )
    store.fetch(oid, target)

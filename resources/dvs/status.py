"""Status: where every tracked file stands, by its sidecar, its bytes and the stores that may hold its object.

Reads, and writes nothing of the repository's. What remotes hold is a matter of their ledgers, not of this module.
Light: standard library and blake3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from resources.dvs.working import WorkFile, WorkingTree, scan, uncollected
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo


class FileStatus(StrEnum):
    """How a file's bytes compare with what its sidecar records, and whether they could be brought back."""

    CURRENT = "current"
    """The recorded bytes lie there, and the storage holds them."""
    ABSENT = "absent"
    """No file lies there; the storage holds its bytes."""
    UNSYNCED = "unsynced"
    """Other bytes lie there than are recorded."""
    ERROR = "error"
    UNTRACKED = "untracked"


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One path. `local` says whether storage or cache hold the recorded object."""

    path: str
    status: FileStatus
    oid: str | None = None
    size: int | None = None
    local: bool = False
    error: HeadwaterError | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as `--json` prints it."""
        record: dict[str, Any] = {
            "path": self.path,
            "status": str(self.status),
            "oid": self.oid,
            "size": self.size,
            "local": self.local,
        }
        if self.error is not None:
            record["error"] = self.error.to_json()
        return record


def status(
    repo: DvsRepo, paths: Sequence[str] = (), *, enter: Callable[[str], bool] | None = None, untracked: bool = False
) -> list[StatusRow]:
    """The status of every tracked file, or of those at or below `paths`; sorted by path.

    A path that is asked for and not tracked comes as UNTRACKED, one that is nowhere as an error. With `untracked` the files
    that have no sidecar come too.
    """
    with uncollected():
        return rows(repo, scan(repo, enter=enter), paths, untracked=untracked)


def rows(repo: DvsRepo, tree: WorkingTree, paths: Sequence[str] = (), *, untracked: bool = False) -> list[StatusRow]:
    """The status of what a scan found."""
    files = [file for file in tree.files if not paths or _asked(file.path, paths)]
    sizes = {file.recorded: file.size or 0 for file in files if file.recorded is not None}
    held = repo.objects.present(sizes, sizes)
    if len(held) < len(sizes):
        held |= repo.cache.present(sizes.keys() - held, sizes)
    del sizes
    made = [_row(file, held) for file in files]
    if paths:
        made += _unknown(files, tree, paths)
    elif untracked:
        made += [StatusRow(path, FileStatus.UNTRACKED) for path in tree.untracked]
    made.sort(key=lambda row: row.path)
    return made


def _asked(path: str, paths: Sequence[str]) -> bool:
    return any(asked in ("", path) or path.startswith(f"{asked}/") for asked in paths)


def _row(file: WorkFile, held: set[str]) -> StatusRow:
    if file.recorded is None:
        error = HeadwaterError(
            file.problem or "the sidecar cannot be read",
            rule="dvs-metadata-not-found",
            path=file.sidecar,
            fix="restore the sidecar from git, or add the file again",
        )
        return StatusRow(file.path, FileStatus.ERROR, error=error)
    local = file.recorded in held
    if file.actual is not None and not file.same:
        return StatusRow(file.path, FileStatus.UNSYNCED, file.recorded, file.size, local)
    if not local:
        there = "the file is there: add it again" if file.same else "pull it from a remote"
        error = HeadwaterError(
            f"the storage does not hold {file.recorded}", rule="dvs-storage-missing", path=file.path, fix=there
        )
        return StatusRow(file.path, FileStatus.ERROR, file.recorded, file.size, False, error)
    kind = FileStatus.ABSENT if file.actual is None else FileStatus.CURRENT
    return StatusRow(file.path, kind, file.recorded, file.size, True)


def _unknown(files: Sequence[WorkFile], tree: WorkingTree, paths: Sequence[str]) -> list[StatusRow]:
    """A row for each asked path under which nothing is tracked."""
    found = []
    others = set(tree.untracked)
    for asked in paths:
        if any(_asked(file.path, [asked]) for file in files):
            continue
        if asked in others:
            found.append(StatusRow(asked, FileStatus.UNTRACKED))
            continue
        below = [path for path in tree.untracked if path.startswith(f"{asked}/")]
        if below:
            found += [StatusRow(path, FileStatus.UNTRACKED) for path in below]
            continue
        error = HeadwaterError(
            "no file of that name is tracked or lies there",
            rule="dvs-file-not-found",
            path=asked,
            fix="`headwater dvs status` lists the tracked files",
        )
        found.append(StatusRow(asked, FileStatus.ERROR, error=error))
    return found


def is_dirty(rows: Sequence[StatusRow]) -> list[str]:
    """The paths whose bytes are recorded nowhere."""
    return [row.path for row in rows if row.status is FileStatus.UNSYNCED]

"""The tracked text of a repository as it is now, as snapshots keep it. Light: standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resources.dvs.working import NEVER_ENTERED
from schemas.dvs import sidecar
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo, SidecarFile


def tracked_now(repo: DvsRepo, known: Mapping[str, TrackedFile | None] | None = None) -> list[TrackedFile]:
    """Every tracked file with what its sidecar says, sorted by path. Sidecars that cannot be read are left out.

    `known` spares reading what the caller has just written (None: what it has just removed).
    """
    known = known or {}
    made: list[TrackedFile] = []
    for path, inside in _sidecars(repo):
        if path in known:
            held = known[path]
            if held is not None:
                made.append(held)
            continue
        found = read_tracked(repo, path, inside)
        if found is not None:
            made.append(TrackedFile(path, found.sidecar, found.spelling))
    return made


def read_tracked(repo: DvsRepo, path: str, inside: str) -> SidecarFile | None:
    """The sidecar of a data file, which lies at `inside`; None when it cannot be read."""
    from resources.dvs.repo import SidecarFile
    from schemas.oid import bytes_oid

    try:
        data = repo.storage.read(repo.path(inside), limit=sidecar.LIMITS.size)
        return SidecarFile(inside, sidecar.format_of(inside), sidecar.read_sidecar(data, repo.path(inside)), bytes_oid(data))
    except (HeadwaterError, OSError):
        return None


def _sidecars(repo: DvsRepo) -> Iterator[tuple[str, str]]:
    """(data path, path of its sidecar), sorted by data path; the TOML one where both are there."""
    root = repo.folder
    if root is None:
        for path, held in repo.tracked():
            yield path, getattr(held, "path", "")
        return
    chosen: dict[str, str] = {}
    for inside in sidecar_paths(root, repo.config.metadata_folder):
        data = repo.data_path(inside)
        if data is not None and not chosen.get(data, "").endswith(sidecar.TOML_SUFFIX):
            chosen[data] = inside
    for path in sorted(chosen):
        yield path, chosen[path]


def sidecar_paths(root: Path, mirror: str | None) -> Iterator[str]:
    """The paths of all sidecars below a local folder, by their names alone; only those in the mirror tree where there is one."""
    stack = [mirror or ""]
    while stack:
        where = stack.pop()
        prefix = f"{where}/" if where else ""
        try:
            with os.scandir(root / where if where else root) as listed:
                for entry in listed:
                    name = entry.name
                    if name.endswith((sidecar.JSON_SUFFIX, sidecar.TOML_SUFFIX)) and entry.is_file(follow_symlinks=False):
                        yield prefix + name
                    elif (
                        entry.is_dir(follow_symlinks=False)
                        and name not in NEVER_ENTERED
                        and (mirror is not None or prefix + name != ".dvs")
                    ):
                        stack.append(prefix + name)
        except (FileNotFoundError, NotADirectoryError):
            continue

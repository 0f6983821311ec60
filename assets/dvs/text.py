"""A repository of versioned data as the engine meets it: is a folder one, what is wrong with its text, whose data is a file.

What the text says is read in `schemas.dvs`, what is wrong with it found in `resources.dvs.findings`. Light: standard library
only, everything else inside functions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from schemas.dvs.config import FILES
from schemas.dvs.sidecar import SidecarFormat, sidecar_path
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.statcache import StatCache
    from resources.storage.base import Change, Storage
    from schemas.findings import Finding

_CONFIG_LIMIT = 1 << 20


def recognise(storage: Storage, marker: str) -> str | None:
    """The repository that a configuration file makes: the folder it lies in. A file of that name that says nothing about a
    storage (another program's) makes none; one that cannot be read makes one, whose check says why."""
    data = storage.read(marker, limit=_CONFIG_LIMIT)
    return marker.rpartition("/")[0] if b"storage_dir" in data or b"backend" in data else None


def check(storage: Storage, root: str) -> list[Finding]:
    """`Kind.check`: everything that is wrong with the repository's text, and with what git is told about it."""
    from resources.dvs.doctor import kept_findings

    return kept_findings(storage, root)


def fix(storage: Storage, root: str, findings: Sequence[Finding]) -> list[Change]:
    """`Kind.fix`: the manifest brought in step with the sidecars, and what git is told corrected."""
    from resources.dvs.mend import repairs

    return repairs(storage, root, findings).changes


def protects(storage: Storage, root: str, path: str) -> bool:
    """`Kind.protects`: whether a sidecar or the manifest of the repository names the file at a workspace-relative path."""
    inside = path[len(root) + 1 :] if root else path
    mirror = _mirror(storage, root)
    lead = _below(root, mirror) if mirror is not None else root
    if any(storage.stat(_below(lead, sidecar_path(inside, spelling))) is not None for spelling in SidecarFormat):
        return True
    manifest = _below(root, "dvs.lock")
    stat = storage.stat(manifest)
    return stat is not None and inside in _named(cast("Hashable", storage), manifest, stat.signature)


@lru_cache(maxsize=4)
def _named(held: Hashable, path: str, _signature: Hashable) -> frozenset[str]:
    """The paths a manifest names, read once as long as it lies there unchanged. One that cannot be read names nothing: the
    sidecars still do."""
    from schemas.dvs.manifest import read_manifest

    try:
        return frozenset(read_manifest(cast("Storage", held).read(path), path).entries)
    except (HeadwaterError, OSError):
        return frozenset()


def known(storage: Storage, root: str, below: str, stat_cache: StatCache) -> list[tuple[str, str, int]]:
    """`Kind.known`: the files of the manifest in the folder `below` that are named by blake3, with their lengths.

    Kept in the stat cache by the manifest's bytes: a manifest of a million files takes seconds to read.
    """
    import json

    path = _below(root, "dvs.lock")
    if storage.stat(path) is None:
        return []
    key = f"dvs-known:{stat_cache.digest(storage, path)}:{root}:{below}"
    kept = stat_cache.memo(key)
    if kept is not None:
        return [(name, oid, size) for name, oid, size in json.loads(kept)]
    from schemas.dvs.manifest import read_manifest

    try:
        entries = read_manifest(storage.read(path), path).entries.values()
    except HeadwaterError:
        return []  # what is wrong with it, the check says
    lead = f"{below}/" if below else ""
    found = [
        (where, entry.oid, entry.bytes)
        for entry in entries
        if (where := _below(root, entry.path)).startswith(lead) and entry.oid.startswith("blake3:")
    ]
    stat_cache.set_memo(key, json.dumps(found).encode())
    return found


def _mirror(storage: Storage, root: str) -> str | None:
    """The folder in which a repository of the third generation keeps its sidecars."""
    from schemas.dvs.config import read_config

    for name in FILES:
        path = _below(root, name)
        if storage.stat(path) is not None:
            try:
                return read_config(storage.read(path, limit=_CONFIG_LIMIT), path)[0].metadata_folder
            except HeadwaterError:
                return None
    return None


def _below(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name

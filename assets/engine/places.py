"""Where the outputs of an artifact lie, and what lies there now.

Turns an output's place and path into a spot in one of the workspace's storages, and reads the present files without
following links. Whose they are is decided in `assets.engine.ownership`; writing them is `assets.engine.publish`. Light.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.model import Ref, Store
from assets.engine.recipe import Output, Place, Recipe
from resources.statcache import StatCache
from resources.storage.base import Storage
from schemas.ids import escape_name
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from assets.engine.provenance import OutputFile, Provenance
    from resources.workspace import Workspace

WORKSPACE_KIND = "workspace"
"""The pseudo kind of artifacts over the whole workspace; they lie directly in `.headwater/`."""
WORKSPACE_STORE = "all"

Key = tuple[Place, str]
"""A place and a path below it: how outputs are named in records, whichever store they belong to."""

SIDECARS = ("-wal", "-journal", ".wal")
"""What SQLite and DuckDB keep beside a database while it holds changes that are not in it yet."""

MANIFEST = "manifest.json"
"""The name of the manifest in the folder of an item artifact."""

_JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_OBSTACLE = "obstacle:"


@dataclass(frozen=True, slots=True)
class Spot:
    """One output path: the storage it lies in, the path there, and how it is shown to people."""

    storage: Storage
    path: str
    shown: str

    @property
    def local(self) -> Path | None:
        """The file's path on this machine, or None on an object store."""
        root = self.storage.local_root
        return None if root is None else root / self.path


@dataclass(frozen=True, slots=True)
class Present:
    """A file that lies in an output's way. `oid` starts with `obstacle:` for what is no regular file."""

    oid: str
    size: int

    @property
    def obstacle(self) -> bool:
        return self.oid.startswith(_OBSTACLE)


class Places:
    """The output spots of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._state_cache = StatCache(workspace.local / "outputs.sqlite")
        # Outputs kept apart from a folder of someone else's are shown with the path they really have.
        self._state_shown = f"{workspace.state.local_root}/" if workspace.is_plain else ".headwater/"
        self._outputs_shown = f"{workspace.outputs.local_root}/" if workspace.is_plain else None

    def _base(self, store: Store, place: Place) -> tuple[Storage, str, str]:
        """(storage, prefix in it, prefix shown) of a place, each prefix ending in `/` or empty."""
        workspace = self.workspace
        if store.kind == WORKSPACE_KIND:
            return workspace.state, "", self._state_shown
        if place is Place.STORE:
            prefix = f"{store.root}/" if store.root else ""
            return workspace.outputs, prefix, prefix if self._outputs_shown is None else self._outputs_shown + prefix
        prefix = f"{workspace.artifacts_prefix}/{store.kind}/{escape_name(store.name)}/"
        return workspace.state, prefix, self._state_shown + prefix

    def spot(self, store: Store, key: Key) -> Spot:
        """Where the file named by `key` lies."""
        storage, prefix, shown = self._base(store, key[0])
        return Spot(storage, prefix + key[1], shown + key[1])

    def file_spot(self, store: Store, key: Key, _oid: str) -> Spot:
        """Where the bytes of an output with this oid lie."""
        return self.spot(store, key)

    def shown(self, store: Store, recipe: Recipe) -> tuple[str, ...]:
        """The workspace-relative paths of a recipe's outputs, folders without a final slash."""
        return tuple(self.spot(store, (output.place, output.path)).shown for output in recipe.outputs)

    def present(self, store: Store, recipe: Recipe, _record: Provenance | None = None) -> dict[Key, Present]:
        """Every file that lies where the recipe writes, with its oid; what no file lies at is left out.

        A database's uncommitted sidecars count as files of their own, so that changes which are only in them are seen.
        """
        found: dict[Key, Present] = {}
        for output in recipe.outputs:
            if output.folder:
                found.update(self._present_folder(store, output))
                continue
            names = [output.path]
            if recipe.before_replace is not None:
                names += [output.path + suffix for suffix in SIDECARS]
            for name in names:
                key = (output.place, name)
                here = self._present_file(self.spot(store, key))
                if here is not None and (name == output.path or here.size or here.obstacle):
                    found[key] = here
        return found

    def present_manifest(self, store: Store, ref: Ref, recipe: Recipe, _record: Provenance | None = None) -> dict[Key, Present]:
        """The manifest of a set of items alone, while small results, whose bytes are in the item records, still have those."""
        if not recipe.item_files and not self.item_records(ref).exists():
            return {}
        key = (recipe.outputs[0].place, f"{recipe.outputs[0].path}/{MANIFEST}")
        here = self._present_file(self.spot(store, key))
        return {} if here is None else {key: here}

    def item_records(self, ref: Ref) -> Path:
        """The file with the results of an artifact's items, in machine state."""
        return self.workspace.local / "items" / f"{scratch_name(ref)}.sqlite"

    def folder_digest(self, store: Store, recipe: Recipe) -> str:
        """What changes whenever a file in the first output folder does; one listing."""
        spot = self.spot(store, (recipe.outputs[0].place, recipe.outputs[0].path))
        return self._cache(spot.storage).tree(spot.storage, spot.path).digest

    def _cache(self, storage: Storage) -> StatCache:
        """The stat cache for a storage: paths of the workspace's text and of our state must not displace each other."""
        return self.workspace.stat_cache if storage is self.workspace.root else self._state_cache

    def _present_file(self, spot: Spot) -> Present | None:
        stat = spot.storage.stat(spot.path)
        if stat is not None:
            return Present(self.digest(spot), stat.size)
        local = spot.local
        if local is not None:
            if local.is_symlink():
                return Present(_OBSTACLE + bytes_oid(os.fsencode(local.readlink())), 0)
            if os.path.lexists(local):
                return Present(_OBSTACLE + "special", 0)
        return None

    def _present_folder(self, store: Store, output: Output) -> Iterator[tuple[Key, Present]]:
        spot = self.spot(store, (output.place, output.path))
        local = spot.local
        if local is not None and os.path.lexists(local) and (local.is_symlink() or not local.is_dir()):
            yield (output.place, output.path), Present(_OBSTACLE + "not-a-folder", 0)
            return
        for path, size, oid in self._cache(spot.storage).tree(spot.storage, spot.path).files():
            if path.rpartition("/")[2] not in _JUNK:
                yield (output.place, output.path + path[len(spot.path) :]), Present(oid, size)

    def digest(self, spot: Spot) -> str:
        """The oid of a present file, as the stat cache vouches for it; raises FileNotFoundError."""
        return self._cache(spot.storage).digest(spot.storage, spot.path)

    def remember(self, spot: Spot, oid: str) -> None:
        """Tell the stat cache the oid of a file that was just published."""
        stat = spot.storage.stat(spot.path)
        if stat is not None:
            self._cache(spot.storage).remember(stat, oid)

    def local_outputs(self, store: Store, recipe: Recipe, fetched: Path, _record: Provenance | None = None) -> list[Path]:
        """Paths on this machine that hold the recipe's outputs, in the order it declares them.

        `fetched` is a folder for verified copies of outputs that do not lie on this machine.
        """
        paths = [self.spot(store, (output.place, output.path)).local for output in recipe.outputs]
        return [path if path is not None else fetched for path in paths]

    def rehash(self, store: Store, output: OutputFile) -> str:
        """The oid of an output's bytes, read again whatever the stat cache says. Raises FileNotFoundError."""
        spot = self.spot(store, output.key)
        return spot.storage.digest(spot.path)

    def fetch(self, store: Store, output: OutputFile, target: Path) -> None:
        """Copy an output to a local path, not verified."""
        spot = self.spot(store, output.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        spot.storage.fetch(spot.path, target)

    @staticmethod
    def prune(spot: Spot) -> None:
        """Remove the folders of an output folder that are empty now, deepest first, itself included."""
        local = spot.local
        if local is None or local.is_symlink() or not local.is_dir():
            return
        folders = sorted((path for path in local.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
        for folder in [*folders, local]:
            with suppress(OSError):
                folder.rmdir()

    def close(self) -> None:
        """Close the stat cache of the outputs."""
        self._state_cache.close()


def scratch_name(ref: Ref) -> str:
    """A file-system-safe name for machine state about one artifact."""
    return f"{ref.kind}-{escape_name(ref.store)}-{ref.name}"

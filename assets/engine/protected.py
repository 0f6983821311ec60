"""Whose data must stay: files that the text of some store names as its user's, at whatever path an artifact would be written to.

Ownership (`assets.engine.ownership`) goes by what provenance lists; a file that somebody versions is theirs even when we once
wrote it. Which files those are is each kind's `protects`. Light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from assets.engine.model import Store
from assets.engine.places import Spot
from assets.engine.recipe import Kind

if TYPE_CHECKING:
    from resources.workspace import Workspace


def protected(
    workspace: Workspace, kinds: Mapping[str, Kind], stores: Iterable[Store], spots: Iterable[Spot]
) -> dict[str, Store]:
    """Path in the workspace -> the store whose text names the file, for those of the spots where one does."""
    guards = [(store, kinds[store.kind].protects) for store in stores if store.present and store.kind in kinds]
    guarding = [(store, guard.load()) for store, guard in guards if guard is not None]
    found: dict[str, Store] = {}
    for spot in spots if guarding else ():
        if spot.storage is not workspace.root:
            continue  # state and outputs kept apart hold nothing of a user's
        for store, protects in guarding:
            below = not store.root or spot.path.startswith(f"{store.root}/")
            if below and protects(workspace.root, store.root, spot.path):
                found[spot.path] = store
    return found

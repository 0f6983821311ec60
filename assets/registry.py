"""Every kind of store there is: the one place a new kind is registered. Light: declarations only."""

from __future__ import annotations

from assets.dvs.recipes import KIND as DVS
from assets.engine.recipe import Kind
from assets.notes.recipes import KIND as NOTES
from assets.tables.recipes import KIND as TABLES
from assets.workspace.recipes import KIND as WORKSPACE

KINDS: dict[str, Kind] = {kind.name: kind for kind in (DVS, NOTES, TABLES, WORKSPACE)}
"""Kind name -> kind. `workspace` is the pseudo kind of artifacts over the whole workspace."""

"""The code location `orchestration.definitions`: one function that Dagster calls to get a workspace's definitions.

Importing this module reads no file. The workspace is the one HEADWATER_ROOT names, else the one around the current folder. The
stores found when the code location starts are pinned for its runs: a run's process takes them from Dagster instead of looking
again.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import dagster as dg

# Dagster exports neither from its top level, although its guides tell integrations to use them.
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

if TYPE_CHECKING:
    from assets.engine.model import Store

PINNED_STORES = "headwater/stores"
"""The key under which Dagster hands the stores of the code location to its run processes."""
PINNED_FACTS = "headwater/facts"
"""The same for what the kinds looked up about their stores."""


@dg.definitions
def definitions() -> dg.Definitions:
    """The workspace's sources, artifacts, checks, sensors, schedules and jobs."""
    from assets.engine.engine import Engine
    from assets.registry import KINDS
    from orchestration.builder import build_definitions
    from orchestration.graph import facts_of, graph_of
    from resources.workspace import open_workspace

    workspace = open_workspace(os.environ.get("HEADWATER_ROOT") or None)
    context = DefinitionsLoadContext.get()
    pinned = pinned_facts = None
    if context.load_type is DefinitionsLoadType.RECONSTRUCTION:
        pinned = context.reconstruction_metadata.get(PINNED_STORES)
        pinned_facts = context.reconstruction_metadata.get(PINNED_FACTS)
    stores = Engine(workspace).stores() if pinned is None else unpin(pinned)
    facts = facts_of(workspace, stores) if pinned_facts is None else json.loads(pinned_facts)
    context.add_to_pending_reconstruction_metadata(PINNED_STORES, pin(stores))
    context.add_to_pending_reconstruction_metadata(PINNED_FACTS, json.dumps(facts, sort_keys=True))
    config = workspace.config
    return build_definitions(graph_of(stores, KINDS), owner=config.owner, crons=config.schedules, facts=facts)


def pin(stores: list[Store]) -> str:
    """The stores as text."""
    return json.dumps(
        [
            {"kind": one.kind, "name": one.name, "root": one.root, "settings": dict(one.settings), "present": one.present}
            for one in stores
        ],
        sort_keys=True,
    )


def unpin(text: str) -> list[Store]:
    """The stores that `pin` wrote."""
    from assets.engine.model import Store

    records: list[dict[str, Any]] = json.loads(text)
    return [Store(**record) for record in records]

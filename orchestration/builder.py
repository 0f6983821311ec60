"""Assembles the Dagster definitions of a workspace: the one builder behind the code location, the command line and the tests.

What belongs here: which assets, checks, sensors, schedules, jobs and resources there are for a set of stores. How a recipe
becomes an asset is in `assets.engine.definitions`; what a kind adds is in its own `definitions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.engine.definitions.checks import store_checks
from assets.engine.definitions.factory import artifact_asset, source_spec
from assets.engine.definitions.session import SESSION, EngineResource
from orchestration.automation import AUTOMATION_SENSOR, follows_sources
from orchestration.graph import Graph, additions_of, presentation_of
from orchestration.jobs import verify_job
from orchestration.schedules import verify_schedule
from orchestration.sensors import change_sensor
from resources.dagster import WorkspaceResource


def build_definitions(
    graph: Graph,
    *,
    owner: str | None = None,
    crons: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    resources: Mapping[str, object] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Definitions for `graph`; `resources` replaces the ones that open the workspace from the environment.

    `crons` says when what runs (`[schedule]` of headwater.toml), `facts` is what `orchestration.graph.facts_of` found.
    Pure: no file is read and no engine is opened here.
    """
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    checks: list[dg.AssetChecksDefinition] = []
    for store in graph.stores:
        kind = graph.kinds[store.kind]
        assets += [source_spec(store, kind, source, owner=owner) for source in kind.sources]
        if kind.sources:
            checks.append(store_checks(store, kind))
    for artifact in graph.artifacts:
        condition = None if artifact.recipe.expensive else follows_sources()
        assets.append(artifact_asset(artifact, owner=owner, condition=condition, present=presentation_of(artifact.kind)))
    crons = crons or {}
    job = verify_job()
    added = additions_of(graph, owner=owner, crons=crons, facts=facts or {})
    return dg.Definitions(
        assets=[*assets, *(spec for one in added for spec in one.specs)],
        asset_checks=[*checks, *(check for one in added for check in one.checks)],
        jobs=[job, *(extra for one in added for extra in one.jobs)],
        schedules=[verify_schedule(job, crons.get("verify")), *(extra for one in added for extra in one.schedules)],
        sensors=[change_sensor(), AUTOMATION_SENSOR, *(extra for one in added for extra in one.sensors)],
        resources=dict(resources) if resources is not None else default_resources(),
        # One process per run: a step costs milliseconds here and two seconds in a process of its own.
        executor=dg.in_process_executor,
        loggers=dict(loggers) if loggers is not None else None,
    )


def default_resources() -> dict[str, object]:
    """The resources of a code location: the workspace named by the environment, and a build session per run."""
    workspace = WorkspaceResource()
    return {SESSION: EngineResource(workspace=workspace)}

"""The change sensor: tells Dagster what changed in the text, and what was built without it.

One sensor scans all stores. It starts no run; the automation condition of the artifacts does, when a version it reads has
changed.
"""

import dagster as dg

from assets.engine.definitions.session import SESSION, BuildSession
from orchestration.report import current_graph, pending_checks, pending_events, present_versions
from schemas.oid import json_oid

INTERVAL_SECONDS = 30


def change_sensor() -> dg.SensorDefinition:
    """A sensor whose cursor is one digest over every version it has seen: nothing is reported twice, and the cursor stays
    small."""

    @dg.sensor(
        name="text_changes",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SESSION},
        description="Scans every store and reports the sources whose files changed, and artifacts built outside Dagster.",
    )
    def text_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        session: BuildSession = getattr(context.resources, SESSION)
        return look(session, context)

    return text_changes


def look(session: BuildSession, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One tick over the session's stores."""
    graph = current_graph(session)
    versions = present_versions(session, graph)
    seen = {key.to_user_string(): version for key, version in versions.items()}
    cursor = json_oid([seen, [[store.kind, store.name, store.present] for store in graph.stores]])
    if cursor == context.cursor:
        return dg.SkipReason(f"all {len(versions)} sources and artifacts are as reported")
    repository = context.repository_def
    defined = None if repository is None else set(repository.asset_graph.get_all_asset_keys())
    events = pending_events(session, context.instance, graph, versions, defined)
    checks = [
        event
        for event in pending_checks(session, context.instance, graph, look=True)
        if defined is None or event.asset_key in defined
    ]
    return dg.SensorResult(asset_events=[*events, *checks], cursor=cursor)

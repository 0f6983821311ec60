"""Tells Dagster what happened without it: text that changed, artifacts built by other commands, everything when its home was
lost.

Nothing is built here. Each event is runless and carries the versions that provenance or a scan knows.
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from assets.engine.definitions.checks import evaluations
from assets.engine.definitions.events import materialization, source_event, sources_of
from assets.engine.definitions.keys import artifact_key, source_key
from assets.engine.definitions.session import BuildSession
from assets.engine.model import Ref
from orchestration.graph import Graph, graph_of, presentation_of


def current_graph(session: BuildSession) -> Graph:
    """The graph of the stores that are there now."""
    return graph_of(session.engine.stores(), session.engine.kinds)


def present_versions(session: BuildSession, graph: Graph) -> dict[dg.AssetKey, str]:
    """The version of every source and of every artifact that was built, by asset key. A vanished store has none."""
    versions: dict[dg.AssetKey, str] = {}
    for store in graph.stores:
        versions |= {source_key(state.ref): state.root for state in sources_of(session, store)}
    for artifact in graph.artifacts:
        record = session.engine.provenance(artifact.ref)
        if record is not None and artifact.store.present:
            versions[artifact_key(artifact.ref)] = record.output_digest
    return versions


def pending_events(
    session: BuildSession,
    instance: dg.DagsterInstance,
    graph: Graph,
    versions: dict[dg.AssetKey, str],
    defined: Collection[dg.AssetKey] | None = None,
) -> list[dg.AssetMaterialization]:
    """The events that bring Dagster up to `versions`, sources first; nothing for what it already holds.

    `defined` leaves out what the code location does not know yet: an event for it would show as an asset without a definition.
    """
    wanted = {key: version for key, version in versions.items() if defined is None or key in defined}
    known = session.known_versions(instance, list(wanted))
    stale = {key for key, version in wanted.items() if known[key] != version}
    events: list[dg.AssetMaterialization] = []
    for store in graph.stores:
        if any(source_key(Ref(store.kind, store.name, source.name)) in stale for source in graph.kinds[store.kind].sources):
            for state in sources_of(session, store):
                key = source_key(state.ref)
                if key in stale:
                    events.append(source_event(state, known[key]))
    for artifact in graph.artifacts:
        if artifact_key(artifact.ref) in stale:
            event = materialization(session, artifact, presentation_of(artifact.kind))
            if event is not None:
                events.append(event)
    return events


def pending_checks(
    session: BuildSession, instance: dg.DagsterInstance, graph: Graph, *, look: bool
) -> list[dg.AssetCheckEvaluation]:
    """The check results that Dagster does not hold yet; `look` reads text that was not checked yet."""
    return [
        event for store in graph.stores for event in evaluations(session, instance, graph.kinds[store.kind], store, look=look)
    ]


def report_all(session: BuildSession, instance: dg.DagsterInstance) -> list[dg.AssetKey]:
    """Bring Dagster up to what is there, by runless events; returns the assets reported. This is how a lost home is restored."""
    graph = current_graph(session)
    versions = present_versions(session, graph)
    reported = []
    for event in pending_events(session, instance, graph, versions):
        instance.report_runless_asset_event(event)
        session.versions[event.asset_key] = versions[event.asset_key]
        reported.append(event.asset_key)
    report_checks(session, instance, graph)
    return reported


def report_checks(session: BuildSession, instance: dg.DagsterInstance, graph: Graph) -> None:
    """Report the check results that are known without reading any text."""
    for evaluation in pending_checks(session, instance, graph, look=False):
        instance.report_runless_asset_event(evaluation)

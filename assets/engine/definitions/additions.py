"""What a kind brings to Dagster besides its sources and artifacts: things that are looked at and never built, checks, jobs,
sensors.

Values, and saying of a thing that is looked at that it has changed. Which kinds bring what is `orchestration.graph`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.engine.definitions.session import DATA_VERSION, BuildSession

if TYPE_CHECKING:
    from assets.engine.model import Store
    from assets.engine.recipe import Kind

_USER_PROVIDED = "dagster/is_user_provided"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the additions of a kind are made from: its stores, who owns the workspace, when what runs (name of the schedule in
    `[schedule]` -> cron expression), and per store name what the kind's `facts` found when the code location was loaded."""

    kind: Kind
    stores: Sequence[Store]
    owner: str | None = None
    crons: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Additions:
    """What a kind adds to the definitions of a workspace, for all of its stores together."""

    specs: Sequence[dg.AssetSpec] = ()
    checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[dg.JobDefinition] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()
    sensors: Sequence[dg.SensorDefinition] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """A thing that is never built, as it is now. `metadata` is asked for only when the version is news."""

    key: dg.AssetKey
    version: str
    metadata: Callable[[], Mapping[str, Any]]


def news(
    session: BuildSession,
    instance: dg.DagsterInstance,
    observed: Sequence[Observed],
    defined: Collection[dg.AssetKey] | None = None,
) -> list[dg.AssetMaterialization]:
    """The events for what has another version than Dagster holds; `defined` leaves out assets the code location does not know.

    They are materializations, because a runless observation makes what depends on it stale for ever.
    """
    wanted = [one for one in observed if defined is None or one.key in defined]
    known = session.known_versions(instance, [one.key for one in wanted])
    return [
        dg.AssetMaterialization(
            asset_key=one.key, metadata=one.metadata(), tags={DATA_VERSION: one.version, _USER_PROVIDED: "true"}
        )
        for one in wanted
        if known[one.key] != one.version
    ]

"""When artifacts are built without being asked for: cheap ones follow what they read.

The condition is latched. Dagster's conditions for changed data and code are edges: they hold for one tick, and a tick at which
the artifact cannot run (its upstream is running, or it is running itself) would lose them; a failed run would lose them too. A
bare `execution_failed`, on the other hand, is a level and would ask for a run at every tick for as long as the build fails.
"""

from __future__ import annotations

from typing import Any

import dagster as dg


def follows_sources() -> dg.AutomationCondition[Any]:
    """Build when an input's version or the recipe changed, or the artifact is missing; retry a failure once; wait for the inputs.

    `failed` says that a run asked for since the last trigger has failed; it stays latched until the next trigger, so that the
    failure of the retry is nothing new. A trigger in the tick after our own request is newer than that request and survives it.
    """
    condition = dg.AutomationCondition
    trigger = (
        condition.any_deps_match(condition.data_version_changed())
        | condition.code_version_changed()
        | condition.missing().newly_true()
    ).with_label("an input or the recipe changed")
    requested = condition.newly_requested().since(trigger)
    failed = (condition.execution_failed() & requested).since(trigger).with_label("a run since then failed")
    wanted = trigger | failed.newly_true()
    return (
        wanted.since(condition.newly_requested() & ~wanted)
        & ~condition.in_progress()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.any_deps_match(condition.will_be_requested())
    ).with_label("follows its sources")


AUTOMATION_SENSOR = dg.AutomationConditionSensorDefinition(
    "follow_sources",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Builds the cheap artifacts whose sources or recipes changed. Turn it off to build by hand only.",
)

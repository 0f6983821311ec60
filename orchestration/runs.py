"""Runs of killed commands: every run says which process executes it, and the next command closes those whose process is gone."""

from __future__ import annotations

import dagster as dg

from assets.engine.definitions.session import PROCESS_TAG
from resources.process import is_gone

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def close_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs whose process is gone as failed; returns their run ids."""
    closed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        if is_gone(run.tags.get(PROCESS_TAG, "")):
            instance.report_run_failed(run, "The process that executed this run was killed before the run ended.")
            closed.append(run.run_id)
    return closed

"""When jobs run by the clock."""

from __future__ import annotations

import dagster as dg

DEFAULT_VERIFY_CRON = "0 3 * * 0"
"""Sunday night: a verification costs as much as building everything once."""


def verify_schedule(job: dg.UnresolvedAssetJobDefinition, cron: str | None) -> dg.ScheduleDefinition:
    """The schedule of the verify job, on when `[schedule] verify` in headwater.toml sets a cron expression."""
    return dg.ScheduleDefinition(
        name="verify_schedule",
        job=job,
        cron_schedule=cron or DEFAULT_VERIFY_CRON,
        description="Prove the artifacts by rebuilding them; set `[schedule] verify` in headwater.toml to turn it on or move it.",
        default_status=dg.DefaultScheduleStatus.RUNNING if cron else dg.DefaultScheduleStatus.STOPPED,
    )

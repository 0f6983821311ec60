"""Jobs that people and schedules start by name. Builds are not among them: artifacts are launched as assets."""

from __future__ import annotations

import dagster as dg

VERIFY_JOB = "verify"


def verify_job() -> dg.UnresolvedAssetJobDefinition:
    """Every check of every store: text, presence, and a rebuild in scratch that is compared. Nothing is replaced."""
    return dg.define_asset_job(
        VERIFY_JOB,
        selection=dg.AssetSelection.all_asset_checks(),
        description="Check the text of every store and prove its artifacts: rebuild in a scratch folder and compare.",
    )

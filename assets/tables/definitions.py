"""What the tables kind adds to its Dagster assets: the names under which Dagster shows row counts and tables.

The assets themselves come from the shared factory in `assets.engine.definitions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.engine.model import Outcome, Store


def present(store: Store, outcome: Outcome) -> Mapping[str, Any]:
    """Extra metadata of a materialization: the row count where Dagster plots it over time."""
    counts = outcome.summary.get("counts", {})
    return {"dagster/row_count": counts["rows"]} if "rows" in counts else {}

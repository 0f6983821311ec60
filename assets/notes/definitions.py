"""What the notes kind adds to its Dagster assets: the number of notes where Dagster plots it, and how many links are in order.

The assets themselves come from the shared factory in `assets.engine.definitions`; the picture of the graph is among its outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.engine.model import Outcome, Store

_ROWS = ("notes", "nodes")


def present(store: Store, outcome: Outcome) -> Mapping[str, Any]:
    """Extra metadata of a materialization: the row count that Dagster plots over time, the share of links that lead somewhere.

    The counts themselves (notes, mentions, broken links, findings …) are metadata of every materialization.
    """
    counts = outcome.summary.get("counts", {})
    shown: dict[str, Any] = {}
    for name in _ROWS:
        if name in counts:
            shown["dagster/row_count"] = counts[name]
    inner = counts.get("mentions", 0) - counts.get("external", 0)
    if inner > 0:
        lost = counts.get("broken", 0) + counts.get("broken-anchor", 0)
        shown["links in order (%)"] = round(100 * (inner - lost) / inner, 2)
    return shown

"""What the workspace's own artifacts add to their Dagster assets: how to ask the catalog.

The assets themselves come from the shared factory in `assets.engine.definitions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.engine.model import Outcome, Store

_QUERIES = """```sh
headwater query "SHOW TABLES"
headwater query "SELECT kind, store, count(*) AS files FROM files GROUP BY ALL"
```"""


def present(store: Store, outcome: Outcome) -> Mapping[str, Any]:
    """Extra metadata of a materialization: the commands that query the catalog."""
    return {"query": dg.MetadataValue.md(_QUERIES)} if outcome.ref.name == "catalog" else {}

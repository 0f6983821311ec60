"""The artifacts over the whole workspace: declarations only. Light: no I/O and no heavy import."""

from __future__ import annotations

from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Reproducibility

CATALOG = Recipe(
    name="catalog",
    version=1,
    description=(
        "Everything the workspace knows about itself as one DuckDB file: stores, sources, files, artifacts, provenance edges and "
        "findings as tables, the small records of each kind, and a view over every Parquet file that was built. It is what "
        "`headwater query` reads."
    ),
    inputs=(Input("sources", everything="source"), Input("artifacts", everything="artifact")),
    outputs=(Output("catalog.duckdb"),),
    body=Lazy("assets.workspace.catalog:build"),
    reproducibility=Reproducibility.DUMP_EQUAL,
    libraries=("duckdb", "pyarrow"),
    content=Lazy("assets.workspace.catalog:content_digest"),
    kinds=("duckdb", "sql"),
)

KIND = Kind(
    name="workspace",
    title="Workspace: one catalog over the stores of every kind",
    sources=(),
    recipes=(CATALOG,),
    markers=(),
    recognise=Lazy("assets.workspace.catalog:recognise"),
    check=Lazy("assets.workspace.catalog:check"),
)
"""A pseudo kind with exactly one store, `workspace/all`, which needs no marker."""

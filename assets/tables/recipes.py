"""What is authoritative in a tables project and what is built from it: declarations only.

The bodies lie in `assets.tables.{sqlite,duckdb_file,erd,profile,parquet}` and load when they run. Light: no I/O and no heavy
import, because `ls`, `status` and a build with nothing to do read this module.
"""

from __future__ import annotations

from assets.engine.recipe import Confirm, Input, Kind, Lazy, Output, Place, Recipe, Reproducibility, Source

PROJECT = Source(
    "project",
    ("project.yaml",),
    "Tables, columns, types, keys, checks, indexes and relationships of the project.",
)
DATA = Source(
    "data",
    ("data/**/*.csv",),
    "The rows: one CSV file per table, named in `project.yaml`.",
)
HISTORY = Source(
    "history",
    ("history.log", "history/*.csv", "history/*.yaml"),
    "What changed the project, one JSON record per line, and beside the log the text that is too large for a line. "
    "No artifact is built from it.",
)

_SCHEMA_INPUT = Input("project", source="project")
_ROWS_INPUT = Input("data", source="data")

PLAYGROUND_DB = Recipe(
    name="playground_db",
    version=1,
    description=(
        "The project as one SQLite file: STRICT tables with primary keys, foreign keys, unique sets, checks and indexes. "
        "Every row has been verified against all of them, `integrity_check` and `foreign_key_check` are clean, and the same "
        "text gives the same bytes."
    ),
    inputs=(_SCHEMA_INPUT, _ROWS_INPUT),
    outputs=(Output("playground.db", Place.STORE),),
    body=Lazy("assets.tables.sqlite:build"),
    reproducibility=Reproducibility.BYTE_EQUAL,
    confirm=Confirm.ALWAYS,
    libraries=("adbc-driver-sqlite", "apsw", "pyarrow"),
    content=Lazy("assets.tables.sqlite:content_digest"),
    preview=Lazy("assets.tables.plan:preview"),
    keep=("project", "data"),
    before_replace=Lazy("assets.tables.sqlite:free_the_way"),
    kinds=("sqlite", "sql"),
)

PLAYGROUND_DUCKDB = Recipe(
    name="playground_duckdb",
    version=1,
    description=(
        "The project as one DuckDB file for analysis, with real dates, decimals, booleans and enumerations. Constraints that "
        "DuckDB cannot hold (cyclic, self-referencing and cascading foreign keys, partial indexes) are verified by queries "
        "and listed in the summary. Two builds hold equal content; DuckDB does not promise equal bytes."
    ),
    inputs=(_SCHEMA_INPUT, _ROWS_INPUT),
    outputs=(Output("playground.duckdb", Place.STORE),),
    body=Lazy("assets.tables.duckdb_file:build"),
    reproducibility=Reproducibility.DUMP_EQUAL,
    libraries=("duckdb", "pyarrow"),
    content=Lazy("assets.tables.duckdb_file:content_digest"),
    before_replace=Lazy("assets.tables.duckdb_file:free_the_way"),
    kinds=("duckdb", "sql"),
)

PARQUET = Recipe(
    name="parquet",
    version=1,
    description=(
        "One Parquet file per table, typed, in primary-key order, written with pinned settings so that the same rows give "
        "the same bytes."
    ),
    inputs=(_SCHEMA_INPUT, _ROWS_INPUT),
    outputs=(Output("parquet", folder=True),),
    body=Lazy("assets.tables.parquet:build"),
    libraries=("pyarrow",),
    kinds=("parquet", "arrow"),
)

PROFILE = Recipe(
    name="profile",
    version=1,
    description=(
        "What is in every column: rows, nulls, distinct values, smallest and largest value, the most frequent values and a "
        "histogram, as a Parquet file and as a table."
    ),
    inputs=(_SCHEMA_INPUT, Input("rows", artifact="parquet")),
    outputs=(Output("profile.parquet"),),
    body=Lazy("assets.tables.profile:build"),
    libraries=("duckdb", "pyarrow"),
    kinds=("parquet", "table"),
)

ERD = Recipe(
    name="erd",
    version=1,
    description=(
        "The entity-relationship diagram of the project: a picture (SVG) and its Mermaid text, with columns, types, primary "
        "and foreign keys and crow's-foot cardinalities."
    ),
    inputs=(_SCHEMA_INPUT,),
    outputs=(Output("erd.svg"), Output("erd.mmd")),
    body=Lazy("assets.tables.erd:build"),
    kinds=("svg", "mermaid"),
)

KIND = Kind(
    name="tables",
    title="Tables: a YAML schema and CSV rows become SQLite, DuckDB and Parquet files",
    sources=(PROJECT, DATA, HISTORY),
    recipes=(PLAYGROUND_DB, PLAYGROUND_DUCKDB, PARQUET, PROFILE, ERD),
    markers=("project.yaml",),
    recognise=Lazy("assets.tables.text:recognise"),
    check=Lazy("assets.tables.text:check"),
    check_version=3,
    bodies_check=True,
    fix=Lazy("resources.tables.repair:fix"),
    migrate=Lazy("resources.tables.store:migrate"),
    catalog=Lazy("assets.tables.text:catalog"),
    git_setup=Lazy("assets.tables.git:git_setup"),
)

"""The `profile` artifact: what is in every column of a project, as rows of a Parquet file, as a table and as Markdown.

Counting is done by DuckDB over the Parquet files of the `parquet` artifact, one column at a time, so that memory does not grow
with the number of columns; ties are broken by value, so that the result depends on the rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import Scratch, View
from assets.tables.duckdb_file import connect
from assets.tables.parquet import file_name
from assets.tables.text import PROJECT_FILE
from schemas.tables.model import Column
from schemas.tables.project import read_project

TOP_VALUES = 10
BINS = 20
_SHOWN_COLUMNS = 300
"""Columns in the tables for people; the Parquet file holds all."""
_SHOWN_CHARACTERS = 60

_NUMBERS = {"integer", "float", "decimal"}
_MOMENTS = {"date": "epoch({})", "datetime": "epoch({})", "timestamp": "epoch({})", "time": "epoch({})"}
_BLOCKS = "▁▂▃▄▅▆▇█"

_COUNTED = pa.struct([("value", pa.string()), ("count", pa.int64())])
_BIN = pa.struct([("low", pa.float64()), ("high", pa.float64()), ("count", pa.int64())])
SCHEMA = pa.schema(
    [
        ("table", pa.string()),
        ("position", pa.int32()),
        ("column", pa.string()),
        ("type", pa.string()),
        ("rows", pa.int64()),
        ("nulls", pa.int64()),
        ("distinct", pa.int64()),
        ("min", pa.string()),
        ("max", pa.string()),
        ("top_values", pa.list_(_COUNTED)),
        ("histogram_of", pa.string()),
        ("histogram", pa.list_(_BIN)),
    ]
)
"""One row per column. Values are spelled as in the text. `histogram_of` says what the bins count: `value`, `seconds` (since
1970 or midnight), `length` (characters or bytes), or nothing."""


@dataclass
class ColumnProfile:
    """What is in one column; `top_values` are the most frequent values, largest count first."""

    table: str
    position: int
    column: str
    type: str
    rows: int
    nulls: int = 0
    distinct: int = 0
    min: str | None = None
    max: str | None = None
    top_values: list[tuple[str, int]] = field(default_factory=list)
    histogram_of: str | None = None
    histogram: list[tuple[float, float, int]] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """The column as a row of SCHEMA."""
        return {
            **self.__dict__,
            "top_values": [{"value": value, "count": count} for value, count in self.top_values],
            "histogram": [{"low": low, "high": high, "count": count} for low, high, count in self.histogram],
        }


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `profile`; its role `rows` is the folder of the `parquet` artifact."""
    project = read_project(view.read("project", PROJECT_FILE), view.workspace_path(PROJECT_FILE))
    folder = view.artifact("rows")
    profiles = []
    for name, table in project.tables.items():
        profiles += profile_table(folder / file_name(name), name, table.stored)
    pq.write_table(
        pa.Table.from_pylist([profile.record() for profile in profiles], SCHEMA),
        scratch.path("profile.parquet"),
        version="2.6",
        compression="zstd",
        compression_level=3,
        data_page_version="1.0",
    )
    return Summary(
        counts={"tables": len(project.tables), "columns": len(profiles), "nulls": sum(profile.nulls for profile in profiles)},
        tables={"columns": _summary_table(profiles[:_SHOWN_COLUMNS])},
        markdown={"profile": _markdown(profiles[:_SHOWN_COLUMNS])},
    )


def profile_table(path: Path, name: str, stored: Mapping[str, Column]) -> list[ColumnProfile]:
    """The profile of every column of one Parquet file."""
    connection = connect(None)
    try:
        rows = pq.read_metadata(path).num_rows
        dataset = ds.dataset(path, format="parquet")
        found = []
        for position, (key, column) in enumerate(stored.items(), 1):
            # Column by column as an Arrow table: the file is never decoded twice, nor held as a whole.
            connection.register("source", dataset.to_table(columns=[key]).rename_columns(["x"]))
            found.append(_profile_column(connection, ColumnProfile(name, position, key, column.type, rows), column))
            connection.unregister("source")
        return found
    finally:
        connection.close()


def _profile_column(connection: duckdb.DuckDBPyConnection, profile: ColumnProfile, column: Column) -> ColumnProfile:
    kind = column.column_type
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE counted AS SELECT x, count(*) AS n FROM source WHERE x IS NOT NULL GROUP BY x"
    )
    given, profile.distinct, low, high = _rows(
        connection, "SELECT coalesce(sum(n), 0)::BIGINT, count(*), min(x), max(x) FROM counted"
    )[0]
    profile.nulls = profile.rows - given
    if given:
        profile.min, profile.max = kind.format(low), kind.format(high)
        top = _rows(connection, f"SELECT x, n FROM counted ORDER BY n DESC, x LIMIT {TOP_VALUES}")
        profile.top_values = [(kind.format(value), count) for value, count in top]
        measure, profile.histogram_of = _measure(kind.base)
        if measure is not None:
            profile.histogram = _histogram(connection, measure)
    return profile


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query by way of Arrow, which needs no time-zone library for moments."""
    table: pa.Table = connection.sql(query).to_arrow_table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _measure(base: str) -> tuple[str | None, str | None]:
    """(the SQL expression that a histogram of this type counts, what it is)."""
    if base in _NUMBERS:
        return "x::DOUBLE", "value"
    if base in _MOMENTS:
        return f"{_MOMENTS[base].format('x')}::DOUBLE", "seconds"
    if base == "blob":
        return "octet_length(x)::DOUBLE", "length"
    if base in {"text", "json"}:
        return "length(x)::DOUBLE", "length"
    return None, None


def _histogram(connection: duckdb.DuckDBPyConnection, measure: str) -> list[tuple[float, float, int]]:
    """BINS bins of equal width between the smallest and the largest value, a single one when they are equal."""
    low, high = _rows(connection, f"SELECT min({measure}), max({measure}) FROM counted")[0]
    # Halved before the subtraction, which could overflow for floats of opposite sign.
    width = (high / 2 - low / 2) / BINS * 2
    if width == 0:
        return [(low, high, _rows(connection, "SELECT sum(n)::BIGINT FROM counted")[0][0])]
    found = connection.execute(
        f"SELECT least(greatest(floor(({measure} / ? - ? / ?)), 0), ?)::INTEGER AS bin, sum(n)::BIGINT FROM counted GROUP BY bin",
        [width, low, width, BINS - 1],
    ).fetchall()
    counts = dict(found)
    return [(low + width * at, high if at == BINS - 1 else low + width * (at + 1), counts.get(at, 0)) for at in range(BINS)]


def sparkline(histogram: Sequence[tuple[float, float, int]]) -> str:
    """A histogram as one character per bin; an empty bin is a space."""
    most = max((count for *_, count in histogram), default=0)
    return "".join(" " if not count else _BLOCKS[count * (len(_BLOCKS) - 1) // most] for *_, count in histogram)


def _cut(text: str | None) -> str:
    if text is None:
        return ""
    if not text:
        return '""'
    shown = "".join(char if char.isprintable() else "·" for char in text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"


def _frequent(profile: ColumnProfile) -> list[tuple[str, int]]:
    """The values worth showing: at most three, none that stands in one row only."""
    return [(_cut(value), count) for value, count in profile.top_values[:3] if count > 1]


def _summary_table(profiles: Sequence[ColumnProfile]) -> SummaryTable:
    return SummaryTable(
        ["table", "column", "type", "rows", "nulls", "distinct", "min", "max", "most frequent", "histogram"],
        [
            [
                profile.table,
                profile.column,
                profile.type,
                profile.rows,
                profile.nulls,
                profile.distinct,
                _cut(profile.min),
                _cut(profile.max),
                ", ".join(f"{value} ({count})" for value, count in _frequent(profile)),
                sparkline(profile.histogram),
            ]
            for profile in profiles
        ],
    )


def _markdown(profiles: Sequence[ColumnProfile]) -> str:
    lines = []
    table = None
    for profile in profiles:
        if profile.table != table:
            table = profile.table
            lines += ["", f"### {_escaped(table)} ({profile.rows:,} rows)", ""]
            lines += ["| column | type | nulls | distinct | min | max | most frequent | |", "|---|---|---:|---:|---|---|---|---|"]
        top = ", ".join(f"{_escaped(value)} ({count:,})" for value, count in _frequent(profile))
        cells = [
            _escaped(profile.column),
            profile.type,
            f"{profile.nulls:,}",
            f"{profile.distinct:,}",
            _escaped(_cut(profile.min)),
            _escaped(_cut(profile.max)),
            top,
            f"`{sparkline(profile.histogram)}`" if profile.histogram else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines).strip() + "\n"


def _escaped(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    return "".join("\\" + char if char in "\\`*_[]<>|#!~$&" else char for char in text)

"""The `graph` artifact: notes and edges as Parquet files for the workspace catalog, and a picture of them.

Every choice that pyarrow would make by version is pinned; the recipe names pyarrow among the libraries of its fingerprint. The
picture is `assets.notes.graph_picture`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.engine.recipe import Summary
from assets.engine.view import Scratch, View
from assets.notes.graph_picture import Dot, Line, draw
from assets.notes.opened import connect
from resources.parquet_writing import ROW_GROUP_ROWS, SETTINGS

INDEX_ROLE = "index"
NODES, EDGES, PICTURE = "nodes.parquet", "edges.parquet", "graph.svg"

_NODES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("type", pa.string()),
        pa.field("moc", pa.bool_(), nullable=False),
        pa.field("created", pa.string()),
        pa.field("updated", pa.string()),
        pa.field("value", pa.int16()),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("links", pa.int64(), nullable=False),
        pa.field("backlinks", pa.int64(), nullable=False),
        pa.field("broken", pa.int64(), nullable=False),
    ]
)
"""One row per note by path; `links` and `backlinks` count edges, `broken` mentions that lead nowhere or to several notes."""

_EDGES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("inline", pa.bool_(), nullable=False),
        pa.field("mentions", pa.int64(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("target_id", pa.string(), nullable=False),
    ]
)
"""One row per edge by paths and type."""

_NODES_QUERY = """
    SELECT path, id, title, type, moc, created, updated, value, words, number,
      (SELECT count(*) FROM edges WHERE source = number), (SELECT count(*) FROM edges WHERE target = number),
      (SELECT count(*) FROM mentions WHERE note = number AND state IN ('broken', 'ambiguous'))
    FROM notes ORDER BY path
    """
_EDGES_QUERY = """
    SELECT one.path, other.path, edges.type, inline, mentions, one.id, other.id FROM edges
    JOIN notes AS one ON one.number = source JOIN notes AS other ON other.number = target ORDER BY 1, 2, 3
    """


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `graph`."""
    with closing(connect(view.artifact(INDEX_ROLE))) as connection:
        nodes, edges = _nodes(connection), _edges(connection)
    _write(scratch.path(NODES), nodes)
    _write(scratch.path(EDGES), edges)
    dots = [
        Dot(title, kind or "", int(many))
        for title, kind, many in zip(*(nodes[name].to_pylist() for name in ("title", "type", "backlinks")), strict=True)
    ]
    places = {path: at for at, path in enumerate(nodes["path"].to_pylist())}
    lines = [
        Line(places[source], places[target], kind)
        for source, target, kind in zip(*(edges[name].to_pylist() for name in ("source", "target", "type")), strict=True)
    ]
    picture = draw(dots, lines)
    scratch.path(PICTURE).write_bytes(picture)
    linked = {at for line in lines for at in (line.source, line.target)}
    counts = {"nodes": nodes.num_rows, "edges": edges.num_rows, "orphans": nodes.num_rows - len(linked)}
    return Summary(counts=counts, pictures={PICTURE: picture})


def _nodes(connection: sqlite3.Connection) -> pa.Table:
    tags: dict[int, list[str]] = {}
    for number, tag in connection.execute("SELECT note, tag FROM tags ORDER BY note, position"):
        held = tags.setdefault(number, [])
        if tag not in held:
            held.append(tag)
    rows = [tuple(row) for row in connection.execute(_NODES_QUERY)]
    columns = list(zip(*rows, strict=True)) or [()] * 13
    columns[4] = tuple(bool(moc) for moc in columns[4])
    columns[9] = tuple(tags.get(number, []) for number in columns[9])
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, _NODES, strict=True)], schema=_NODES
    )


def _edges(connection: sqlite3.Connection) -> pa.Table:
    columns = list(zip(*(tuple(row) for row in connection.execute(_EDGES_QUERY)), strict=True)) or [()] * 7
    columns[3] = tuple(bool(inline) for inline in columns[3])
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, _EDGES, strict=True)], schema=_EDGES
    )


def _write(path: Path, table: pa.Table) -> None:
    with pq.ParquetWriter(path, table.schema, **SETTINGS) as writer:
        writer.write_table(table, ROW_GROUP_ROWS)

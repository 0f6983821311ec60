"""The `parquet` artifact: one typed Parquet file per table, in primary-key order, equal bytes for equal rows.

Every choice that pyarrow would make by version or by the shape of its input is pinned here: format version, compression and
level, pages, and row groups of a fixed number of rows whatever blocks the rows arrived in. The writer's name and version stay
in the files (`created_by`); the recipe names pyarrow among the libraries of its fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import Scratch, View
from assets.tables import columns, sqlite
from assets.tables.load import TableText
from assets.tables.text import open_project
from resources.parquet_writing import ROW_GROUP_ROWS, SETTINGS
from schemas.paths import is_portable_name
from schemas.tables.model import Table


def file_name(table: str) -> str:
    """The file of a table in the folder: its name where every platform can hold it, else percent-encoded."""
    name = f"{table}.parquet"
    return name if is_portable_name(name) and "%" not in table else f"{quote(table, safe=' ')}.parquet"


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `parquet`.

    Parquet holds no rules, so a SQLite database that is thrown away verifies them first. Raises InvalidText.
    """
    project, texts = open_project(view)
    sqlite.prove(view, scratch, project, texts)
    rows: list[list[Any]] = []
    counts = {"tables": len(texts), "rows": 0, "bytes": 0}
    for name, text in texts.items():
        target = scratch.path(f"parquet/{file_name(name)}")
        count, size = write(target, text), target.stat().st_size
        rows.append([name, file_name(name), count, size])
        counts["rows"] += count
        counts["bytes"] += size
    return Summary(counts=counts, tables={"files": SummaryTable(["table", "file", "rows", "bytes"], rows)})


def write(path: Path, text: TableText) -> int:
    """Write one table; returns its number of rows. Raises InvalidText."""
    try:
        return _write(path, text.table, text, text.in_key_order())
    except columns.OutOfOrder:
        return _write(path, text.table, text, text.sorted_by_key())


def _write(path: Path, table: Table, text: TableText, batches: Iterable[pa.RecordBatch]) -> int:
    schema = _described(columns.native_schema(text.fields), table)
    count = 0
    with pq.ParquetWriter(path, schema, **SETTINGS) as writer:
        for group in _groups(columns.ahead(batches), text.schema):
            native = [columns.native(batch, text.fields) for batch in group.to_batches()]
            writer.write_table(pa.Table.from_batches(native, columns.native_schema(text.fields)).cast(schema), ROW_GROUP_ROWS)
            count += group.num_rows
    return count


def _described(schema: pa.Schema, table: Table) -> pa.Schema:
    """The schema with what the project says about each column in its metadata."""
    fields = []
    for field in schema:
        column = table.columns[field.name]
        words = {"type": column.type, "title": column.title, "unit": column.unit, "description": column.description}
        fields.append(field.with_metadata({key: value for key, value in words.items() if value is not None}))
    return pa.schema(
        fields, {key: value for key, value in {"title": table.title, "description": table.description}.items() if value}
    )


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of exactly ROW_GROUP_ROWS rows, the last one with what is left."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while rows + batch.num_rows >= ROW_GROUP_ROWS:
            taken = ROW_GROUP_ROWS - rows
            yield pa.Table.from_batches([*held, batch.slice(0, taken)], schema).combine_chunks()
            batch, held, rows = batch.slice(taken), [], 0
        if batch.num_rows:
            held.append(batch)
            rows += batch.num_rows
    if held:
        yield pa.Table.from_batches(held, schema).combine_chunks()

"""Reading a table's CSV file as verified Arrow batches: the fast tier first, the strict tier on any doubt.

What is promised: a batch that comes out of here holds only rows that the strict tier accepts, with equal values, in file order
and in the column order of `project.yaml`. Every rule about single cells has been checked (spelling, NULL, range, enumeration,
length, pattern); keys, foreign keys and checks across columns are not, they belong to the database that takes the rows.
Memory stays at a few blocks of the file.

The language of the fast tier is in `assets.tables.grammar`, conversion in `assets.tables.columns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import columns, grammar
from assets.tables.grammar import Doubt, Field, Grammar, blocks, read_header
from schemas.errors import HeadwaterError
from schemas.tables import strict
from schemas.tables.model import Column, Project, Table

HEADER_LIMIT = 1 << 20
"""Bytes in which the header must end for the fast tier."""


@dataclass(frozen=True)
class TableText:
    """One table and the local copy of its CSV file; None where the project has no file for it, which is an empty table.

    `shown` is the file's workspace-relative path, for findings.
    """

    project: Project
    table: Table
    path: Path | None
    shown: str
    block_size: int | None = None
    """Bytes read at a time, for tests; None for what measured best."""

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The stored columns in the order of `project.yaml`."""
        return tuple(Field(name, column.column_type, column.is_nullable) for name, column in self.table.stored.items())

    @property
    def schema(self) -> pa.Schema:
        """The schema of the batches."""
        return columns.stored_schema(self.fields)

    @property
    def size(self) -> int:
        """Bytes of the file, 0 where there is none."""
        return 0 if self.path is None else self.path.stat().st_size

    @property
    def null(self) -> str:
        """The unquoted spelling of NULL."""
        return self.project.format.null_text

    def fast_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows by the fast tier. Raises Doubt, possibly after some batches."""
        if self.path is None:
            return
        names = [field.name for field in self.fields]
        with open(self.path, "rb", buffering=0) as file:
            header = read_header(file.read(HEADER_LIMIT))
            if sorted(header.names) != sorted(names):
                raise Doubt("the header differs from project.yaml")
            file.seek(header.size)
            by_name = {field.name: field for field in self.fields}
            language = Grammar([by_name[name] for name in header.names], self.null, header.line_end)
            for block in blocks(file, header.line_end, self.block_size or grammar.BLOCK_SIZE):
                wide = not language.matches(block)
                if wide and not language.matches_wide(block):
                    raise Doubt("a block is not in the table's language")
                batch = columns.convert(block, header.names, self.fields, self.null)
                if wide:
                    columns.check_wide_floats(batch, self.fields)
                columns.check_json(batch, self.fields)
                self._check_limits(batch)
                yield batch

    def strict_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows by the strict tier, cell by cell. Raises InvalidText with the first finding that blocks."""
        if self.path is None:
            return
        cells: list[list[object]] = [[] for _ in self.fields]
        with open(self.path, "rb") as file:
            for row in strict.read_rows(file, self.shown, self.project, self.table.name):
                for field, column, cell in zip(self.fields, cells, row, strict=True):
                    column.append(None if cell is None else _stored_value(field, cell))
                if len(cells[0]) == columns.BATCH_ROWS:
                    yield self._batch(cells)
                    cells = [[] for _ in self.fields]
        if cells[0]:
            yield self._batch(cells)

    def _batch(self, cells: list[list[object]]) -> pa.RecordBatch:
        schema = self.schema
        return pa.record_batch([pa.array(column, field.type) for column, field in zip(cells, schema, strict=True)], schema=schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, by the fast tier as far as nothing is in doubt: a doubt starts again with the strict tier and passes over
        what has been handed out. Raises InvalidText."""
        done = 0
        try:
            for batch in self.fast_batches():
                yield batch
                done += batch.num_rows
            return
        except Doubt as doubt:
            reason = str(doubt)
        for batch in self.strict_batches():
            if done >= batch.num_rows:
                done -= batch.num_rows
                continue
            yield batch.slice(done)
            done = 0
        if done:
            raise HeadwaterError(
                f"the two readers of CSV text disagree about how many rows there are ({reason})",
                path=self.shown,
                rule="csv-readers-disagree",
                fix="report this file as a bug in Headwater",
            )

    def read(self) -> pa.Table:
        """All rows as one table, in file order. Raises InvalidText."""
        return pa.Table.from_batches(list(columns.ahead(self.batches())), self.schema)

    def in_key_order(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the primary key (file order where there is none), streamed when the file is in that order.

        Raises columns.OutOfOrder, possibly after some batches, when it is not: then use `sorted_by_key`.
        """
        key = self.table.primary_key
        return columns.in_key_order(self.batches(), key) if key else self.batches()

    def sorted_by_key(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the primary key, sorted in memory."""
        return columns.sorted_batches(self.read().combine_chunks(), self.table.primary_key)

    def _check_limits(self, batch: pa.RecordBatch) -> None:
        for field, array in zip(self.fields, batch.columns, strict=True):
            column = self.table.columns[field.name]
            if len(array) and _has_limits(column):
                _check_column(column, field, array)


def _stored_value(field: Field, cell: str) -> object:
    if field.type.base == "boolean":
        return cell == "true"
    return field.type.to_sqlite(cell)


def _has_limits(column: Column) -> bool:
    limits = (column.min, column.max, column.min_length, column.max_length, column.pattern)
    return any(limit is not None for limit in limits) or (column.allowed is not None and column.column_type.base != "enum")


def _check_column(column: Column, field: Field, array: pa.Array) -> None:
    """Raise Doubt unless every value is surely within the column's own limits."""
    base = field.type.base
    low, high = column.bounds
    if low is not None or high is not None:
        values = columns.native_array(array, field)
        if low is not None:
            _demand(pc.greater_equal(values, pa.scalar(low, values.type)), field)
        if high is not None:
            _demand(pc.less_equal(values, pa.scalar(high, values.type)), field)
    if column.min_length is not None or column.max_length is not None:
        if base not in {"text", "blob"}:
            raise Doubt(f"{field.name} has a length limit")
        length = pc.binary_length(array) if base == "blob" else pc.utf8_length(array)
        if column.min_length is not None:
            _demand(pc.greater_equal(length, column.min_length), field)
        if column.max_length is not None:
            _demand(pc.less_equal(length, column.max_length), field)
    if column.pattern is not None or column.allowed is not None:
        _check_cells(column, field, array)


def _check_cells(column: Column, field: Field, array: pa.Array) -> None:
    """Limits on the spelling, put to the strict tier's own judgement once per distinct value."""
    if field.type.base not in {"text", "enum", "uuid", "date", "time", "datetime", "timestamp", "integer", "boolean", "decimal"}:
        raise Doubt(f"{field.name} has limits on its spelling")
    for value in pc.unique(array).to_pylist():
        if value is not None and not strict.within_limits(column, field.type.format(value)):
            raise Doubt(f"{field.name} holds a value that is not allowed")


def _demand(holds: pa.Array, field: Field) -> None:
    if pc.all(holds, min_count=0).as_py() is False:
        raise Doubt(f"{field.name} is out of its range")

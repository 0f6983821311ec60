"""From proven CSV bytes to Arrow columns: the stored form that SQLite takes, the native form of Parquet and DuckDB, key order.

The stored form of a column is int64, double, bool, binary (blob) or string (everything else, spelled as in the text); the
native form is the type's Arrow type (dates, decimals, …). Proving the bytes belongs to `assets.tables.grammar`, choosing
between the tiers to `assets.tables.load`.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from assets.tables.grammar import Doubt, Field
from schemas.tables.types import BadCell

_STORED = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
BATCH_ROWS = 65_536

_T = TypeVar("_T")


def stored_schema(fields: Sequence[Field]) -> pa.Schema:
    """The schema of the stored form."""
    return pa.schema([pa.field(field.name, _stored_type(field), field.nullable) for field in fields])


def _stored_type(field: Field) -> pa.DataType:
    return pa.binary() if field.type.base == "blob" else _STORED.get(field.type.base, pa.string())


def native_schema(fields: Sequence[Field]) -> pa.Schema:
    """The schema of the native form."""
    return pa.schema([pa.field(field.name, _native_type(field), field.nullable) for field in fields])


def _native_type(field: Field) -> pa.DataType:
    base = field.type.base
    if base == "decimal":
        return pa.decimal128(field.type.precision, field.type.scale)
    named = {
        "date": pa.date32(),
        "time": pa.time64("us"),
        "datetime": pa.timestamp("us"),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    return named.get(base) or _stored_type(field)


def convert(block: memoryview, order: Sequence[str], fields: Sequence[Field], null: str) -> pa.RecordBatch:
    """The stored form of a block that its grammar has matched; `order` is the file's header.

    Raises Doubt when Arrow reads the block otherwise than the language says, which a test would have to find first.
    """
    text = {field.name: pa.string() if field.type.base == "blob" else _stored_type(field) for field in fields}
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            read_options=pacsv.ReadOptions(column_names=list(order), use_threads=False, block_size=len(block) + 1),
            # A block is parsed as one piece, so nobody has to look for line ends outside quotes a second time.
            parse_options=pacsv.ParseOptions(newlines_in_values=False, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types=text,
                include_columns=[field.name for field in fields],
                null_values=[null],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["true"],
                false_values=["false"],
            ),
        )
    except pa.ArrowInvalid as problem:
        raise Doubt(str(problem)) from None
    columns = [
        _decode_blobs(column) if field.type.base == "blob" else column
        for field, column in zip(fields, (chunked.combine_chunks() for chunked in table.columns), strict=True)
    ]
    for field, column in zip(fields, columns, strict=True):
        if column.null_count and not field.nullable:
            raise Doubt(f"NULL in {field.name}")
    return pa.record_batch(columns, schema=stored_schema(fields))


def _decode_blobs(column: pa.Array) -> pa.Array:
    return pa.array([None if cell is None else base64.b64decode(cell) for cell in column.to_pylist()], pa.binary())


def check_wide_floats(batch: pa.RecordBatch, fields: Sequence[Field]) -> None:
    """Raise Doubt when a float is infinite or zero: its spelling may have been beyond what a double holds."""
    for field, column in zip(fields, batch.columns, strict=True):
        if field.type.base == "float" and pc.any(pc.or_(pc.is_inf(column), pc.equal(column, 0.0))).as_py():
            raise Doubt(f"{field.name} holds a float at the limit")


def check_json(batch: pa.RecordBatch, fields: Sequence[Field]) -> None:
    """Raise Doubt for a json cell that is not canonical JSON."""
    for field, column in zip(fields, batch.columns, strict=True):
        if field.type.base == "json":
            for cell in column.to_pylist():
                try:
                    if cell is not None:
                        field.type.parse(cell)
                except (BadCell, json.JSONDecodeError):
                    raise Doubt(f"{field.name} holds other than canonical JSON") from None


def native(batch: pa.RecordBatch, fields: Sequence[Field]) -> pa.RecordBatch:
    """The native form of a stored batch."""
    columns = [native_array(column, field) for field, column in zip(fields, batch.columns, strict=True)]
    return pa.record_batch(columns, schema=native_schema(fields))


def native_array(column: pa.Array, field: Field) -> pa.Array:
    """The native form of one stored column."""
    if field.type.base == "time":  # Arrow reads no times of day; the time of an epoch day is one
        return pc.cast(pc.cast(pc.binary_join_element_wise("1970-01-01T", column, ""), pa.timestamp("us")), pa.time64("us"))
    return column.cast(_native_type(field))


class OutOfOrder(Exception):
    """The rows of a file do not lie in the order of their primary key."""


def in_key_order(batches: Iterable[pa.RecordBatch], key: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Pass the batches on while every key is greater than the one before it, which also proves the key unique.

    Raises OutOfOrder at the first batch that breaks the order. Text compares by bytes, as SQLite's BINARY collation does.
    """
    last: list[pa.Array] | None = None
    for batch in batches:
        columns = [batch.column(name) for name in key]
        if batch.num_rows:
            if last is not None:
                columns = [pa.concat_arrays([before, column]) for before, column in zip(last, columns, strict=True)]
            if not _ascends(columns):
                raise OutOfOrder
            last = [column.slice(len(column) - 1) for column in columns]
        yield batch


def _ascends(columns: Sequence[pa.Array]) -> bool:
    ascends: Any = None
    for column in reversed(columns):
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        less = _less(before, after)
        ascends = less if ascends is None else pc.or_(less, pc.and_(pc.equal(before, after), ascends))
    return pc.all(ascends, min_count=0).as_py() is not False


def _less(before: pa.Array, after: pa.Array) -> pa.Array:
    if pa.types.is_boolean(before.type):
        before, after = before.cast(pa.int8()), after.cast(pa.int8())
    return pc.less(before, after)


def sorted_batches(table: pa.Table, key: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in key order, a batch at a time, so that no second copy of the table exists."""
    order = pc.sort_indices(table.select(list(key)), sort_keys=[(name, "ascending") for name in key])
    for start in range(0, len(order), BATCH_ROWS):
        yield from table.take(order.slice(start, BATCH_ROWS)).combine_chunks().to_batches()


def ahead(items: Iterable[_T], depth: int = 2) -> Generator[_T, None, None]:
    """Yield from `items`, produced in another thread at most `depth` items ahead; its exception is raised here.

    Closing the generator early stops the thread.
    """
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as problem:  # handed over to the consumer's thread, which raises it
            put((False, problem))

    thread = threading.Thread(target=produce, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stop.set()
        thread.join()

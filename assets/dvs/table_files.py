"""Tables as files: CSV, Parquet and JSON lines, compressed or not, read into DuckDB with the names and types of their columns.

Nothing of a dialect is guessed by DuckDB, which would pass over rows that do not fit its guess. No file is changed.
"""

from __future__ import annotations

import csv
import glob
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources import encoding
from schemas.sql_quoting import text_literal

if TYPE_CHECKING:
    import duckdb

_HEADER_LIMIT: Final = 1 << 20
_LINE_LIMIT: Final = 64 << 20
_TYPED_AT_ONCE: Final = 50
_LOOKED_AT_FIRST: Final = 1_000
_DELIMITERS: Final = ",\t;|"
_PLAIN: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_PACKED: Final = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How a table is written: csv, parquet or jsonl, and how the file is compressed as a whole (None for not)."""

    name: str
    compression: str | None = None


def format_of(path: str) -> TableFormat | None:
    """How the table at `path` is written, by its name; None for what is no table."""
    name = path.rpartition("/")[2].lower()
    for ending, compression in _PACKED.items():
        if name.endswith(ending):
            inner = format_of(name[: -len(ending)])
            if inner is None or inner.compression is not None or inner.name == "parquet":
                return None
            return TableFormat(inner.name, compression)
    stem, dot, ending = name.rpartition(".")
    found = _PLAIN.get(f".{ending}") if dot and stem else None
    return None if found is None else TableFormat(found)


def load(connection: duckdb.DuckDBPyConnection, table: str, path: Path, kind: TableFormat) -> list[tuple[str, str]]:
    """Read a file into a new table of columns c0, c1, …; returns (name, type) of each.

    For what is no such table raises duckdb.Error, csv.Error, UnicodeDecodeError, OSError, HeadwaterError (`object-encoding`).
    """
    if kind.name == "csv":
        return _load_csv(connection, table, path, kind.compression)
    place = text_literal(glob.escape(str(path)))
    if kind.name == "parquet":
        source = f"read_parquet({place}, hive_partitioning=false)"
    elif not _start(path, kind.compression).strip():
        connection.execute(f"CREATE TABLE {table} (c0 VARCHAR)")
        return []
    else:
        packed = kind.compression or "uncompressed"
        source = (
            f"read_json({place}, format='newline_delimited', records=true, sample_size=-1, union_by_name=false, "
            f"hive_partitioning=false, compression='{packed}', maximum_object_size={_LINE_LIMIT})"
        )
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    columns = [(str(row[0]), str(row[1])) for row in described]
    # By place, not by name: a name may hold what SQL cannot say.
    places = ", ".join(f"c{number}" for number in range(len(columns)))
    connection.execute(f"CREATE TABLE {table} AS FROM {source} AS read({places})")
    return columns


def _load_csv(connection: duckdb.DuckDBPyConnection, table: str, path: Path, compression: str | None) -> list[tuple[str, str]]:
    import duckdb

    start = _start(path, compression)
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return _load_csv_as(connection, table, path, compression, start, "utf-16" if wide else "utf-8")
    except (duckdb.Error, UnicodeDecodeError) as problem:
        if wide or ("unicode" not in str(problem) and not isinstance(problem, UnicodeDecodeError)):
            raise
    # Every byte is a letter in it: tables of old instruments are written so.
    return _load_csv_as(connection, table, path, compression, start, "latin-1")


def _load_csv_as(
    connection: duckdb.DuckDBPyConnection, table: str, path: Path, compression: str | None, start: bytes, written: str
) -> list[tuple[str, str]]:
    text = start.decode("utf-8-sig" if written == "utf-8" else written, "replace" if len(start) == _HEADER_LIMIT else "strict")
    header, delimiter = _header(text)
    if not header:
        connection.execute(f"CREATE TABLE {table} (c0 VARCHAR)")
        return []
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(header)))
    # Nothing of the dialect is left to guesses: a guess may skip rows that do not fit, and say nothing.
    connection.execute(
        f"CREATE TABLE {table} AS FROM read_csv({text_literal(glob.escape(str(path)))}, auto_detect=false, header=true, skip=0, "
        f"delim={text_literal(delimiter)}, quote='\"', escape='\"', null_padding=true, parallel=false, "
        f"columns={{{columns}}}, compression='{compression or 'none'}', hive_partitioning=false, encoding='{written}', "
        f"max_line_size={_LINE_LIMIT >> 2})"
    )
    return list(zip(header, _csv_types(connection, table, len(header)), strict=True))


def _header(text: str) -> tuple[list[str], str]:
    """(the names of the columns, each once; the delimiter) of the beginning of a CSV file; no names for an empty one."""
    first = text.splitlines()[0] if text.strip() else ""
    plain = "".join(part for number, part in enumerate(first.split('"')) if number % 2 == 0)
    delimiter = max(_DELIMITERS, key=plain.count)
    names: dict[str, None] = {}
    for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), []) if first else []:
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name} ({number})"
        names[unique] = None
    return list(names), delimiter


def _start(path: Path, compression: str | None) -> bytes:
    """The first MiB of a file, unpacked."""
    if compression == "gzip":
        import gzip

        with gzip.open(path) as unpacked:
            return unpacked.read(_HEADER_LIMIT)
    with path.open("rb") as file:
        if compression is None:
            return file.read(_HEADER_LIMIT)
        made = b""
        for block in encoding.decompress_blocks(iter(lambda: file.read(1 << 16), b""), None):
            made += block
            if len(made) >= _HEADER_LIMIT:
                break
        return made[:_HEADER_LIMIT]


_CSV_TYPES: Final = {
    "integer": "regexp_full_match({0}, '[+-]?[0-9]+')",
    "number": "try_cast({0} AS DOUBLE) IS NOT NULL",
    "date": "try_cast({0} AS DATE) IS NOT NULL AND regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')",
    "timestamp": "try_cast({0} AS TIMESTAMP) IS NOT NULL",
    "boolean": "lower({0}) IN ('true', 'false')",
}
"""What every value of a column must be for the column to have a type, the narrowest first."""


def _csv_types(connection: duckdb.DuckDBPyConnection, table: str, width: int) -> list[str]:
    """The type that the values of each column have; `text` where they have none in common, or there are none."""
    made: list[str] = []
    for start in range(0, width, _TYPED_AT_ONCE):
        tests = [(f"c{number}", name) for number in range(start, min(width, start + _TYPED_AT_ONCE)) for name in _CSV_TYPES]
        # Most tests fail within the first rows; only what they leave is asked of all.
        likely = _holding(connection, f"(FROM {table} LIMIT {_LOOKED_AT_FIRST})", tests, without_values=True)
        held = set(_holding(connection, table, likely, without_values=False))
        for number in range(start, min(width, start + _TYPED_AT_ONCE)):
            made.append(next((name for name in _CSV_TYPES if (f"c{number}", name) in held), "text"))
    return made


def _holding(
    connection: duckdb.DuckDBPyConnection, source: str, tests: Sequence[tuple[str, str]], *, without_values: bool
) -> list[tuple[str, str]]:
    """Those of the tests (column, type) that every value of the column passes; `without_values` is what counts for no values."""
    if not tests:
        return []
    asked = ", ".join(
        f"coalesce(bool_and({_CSV_TYPES[name].format(column)}) FILTER ({column} IS NOT NULL), {str(without_values).lower()})"
        for column, name in tests
    )
    row = connection.execute(f"SELECT {asked} FROM {source}").fetchone() or ()
    return [test for test, holds in zip(tests, row, strict=True) if holds]

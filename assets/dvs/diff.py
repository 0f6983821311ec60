"""What two versions of a table mean to each other: rows added, removed and changed by key, columns, types and missing values.

CSV, Parquet and JSON lines, compressed or not. Both versions are read once into a scratch database on disk, with a bounded share
of memory; only counts and a few sample rows come back. CSV cells are compared as text, the others as values of their types.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets.dvs.table_files import TableFormat, load
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "512MiB"
SAMPLES: Final = 20
_CELL: Final = 200
_CANDIDATES: Final = 12
_SIDES: Final = (("before", "the older version"), ("after", "the newer version"))


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column that was added, removed, moved, or has another type; types are None where there is no column."""

    column: str
    change: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Nulls:
    """How many values of a column are missing on both sides; None where there is no such column."""

    column: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row: `key` are its values of the key; `cells` the whole row by column, of a changed one pairs of what differs."""

    change: str
    key: dict[str, str | None]
    cells: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableDiff:
    """How two versions of a table differ.

    `key` is empty where no columns tell the rows apart: then nothing counts as changed, rows are only added and removed.
    `columns` are how many changed rows differ in which column.
    """

    format: str
    rows: tuple[int, int]
    key: tuple[str, ...]
    key_given: bool
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    schema: tuple[ColumnChange, ...]
    nulls: tuple[Nulls, ...]
    samples: tuple[RowChange, ...]

    def to_json(self) -> dict[str, Any]:
        """The difference as `--json` prints it; the rate of missing values beside their number."""
        before, after = self.rows
        return {
            "format": self.format,
            "rows": {"before": before, "after": after},
            "key": list(self.key),
            "key_given": self.key_given,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "columns": self.columns,
            "schema": [
                {"column": one.column, "change": one.change, "before": one.before, "after": one.after} for one in self.schema
            ],
            "nulls": [
                {
                    "column": one.column,
                    "before": one.before,
                    "after": one.after,
                    "rate_before": rate(one.before, before),
                    "rate_after": rate(one.after, after),
                }
                for one in self.nulls
            ],
            "samples": [{"change": one.change, "key": one.key, "cells": one.cells} for one in self.samples],
        }


def rate(missing: int | None, rows: int) -> float | None:
    """The share of rows without a value, 0 to 1; None for a column that is not there."""
    return None if missing is None else round(missing / rows, 6) if rows else 0.0


def compare(
    before: Path,
    after: Path,
    kind: TableFormat,
    scratch: Path,
    *,
    key: Sequence[str] = (),
    samples: int = SAMPLES,
) -> TableDiff:
    """Compare two versions of a table. `scratch` is an empty local folder for what does not fit into memory.

    `key` names the columns that tell rows apart; without it they are looked for. Raises HeadwaterError (rule `dvs-table`) for a
    file that cannot be read as such a table, UsageError (rule `dvs-table-key`) for a key that is not there or not unique.
    """
    with _database(scratch) as connection:
        names = []
        for (table, said), path in zip(_SIDES, (before, after), strict=True):
            with _saying(f"{said} cannot be read as {kind.name}"):
                names.append(load(connection, table, path, kind))
        connection.execute("SET enable_external_access = false")
        with _saying("the versions cannot be compared"):
            return _Comparison(connection, kind, names[0], names[1]).run(tuple(key), samples)


@contextmanager
def _database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": "2",
        "temp_directory": str(scratch / "spill"),
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    path = scratch / "diff.duckdb"
    connection = duckdb.connect(str(path), config=config)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()
        for name in (path, path.with_suffix(".duckdb.wal")):
            name.unlink(missing_ok=True)


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Raise HeadwaterError (rule `dvs-table`) in place of what DuckDB, the CSV reader or a decoder says."""
    import duckdb

    try:
        yield
    except (duckdb.Error, csv.Error, UnicodeDecodeError, EOFError, OSError, HeadwaterError) as problem:
        if isinstance(problem, HeadwaterError) and problem.rule != "object-encoding":
            raise
        said = problem.message if isinstance(problem, HeadwaterError) else _first(str(problem)) or type(problem).__name__
        raise HeadwaterError(
            f"{what}: {said}",
            rule="dvs-table",
            fix="look at that version with `headwater dvs show`, or leave --rows away",
        ) from problem


def _first(said: str) -> str:
    """The first thing that DuckDB says, without its kind of error and without the place of our copy of the file."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = re.sub(r"^[A-Z][A-Za-z/]*(?: [A-Z][A-Za-z/]*)* Error: ", "", lines[0] if lines else "")
    first = re.sub(r"""(?:in )?file ["'][^"']*["'],? ?""", "", first, flags=re.IGNORECASE)
    more = next((line for line in lines[1:] if line.startswith("Expected Number of Columns")), "")
    return f"{first}: {more}" if more else first


# comparing


@dataclass(frozen=True, slots=True)
class _Column:
    """A column both versions have: its name, and what compares it on each side."""

    name: str
    before: str
    after: str


class _Comparison:
    """Two loaded tables, `before` and `after`, whose columns are called c0, c1, … in each."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        kind: TableFormat,
        before: list[tuple[str, str]],
        after: list[tuple[str, str]],
    ) -> None:
        self.connection = connection
        self.kind = kind
        self.types = (dict(before), dict(after))
        self.places = tuple({name: f"c{number}" for number, (name, _) in enumerate(columns)} for columns in (before, after))
        self.common = [self._common(name) for name, _type in after if name in self.types[0]]

    def _common(self, name: str) -> _Column:
        old, new = self.types[0][name], self.types[1][name]
        places = [f"{table}.{place[name]}" for (table, _), place in zip(_SIDES, self.places, strict=True)]
        if self.kind.name != "csv" and old != new:
            shared = "DOUBLE" if _is_number(old) and _is_number(new) else "VARCHAR"
            places = [f"CAST({place} AS {shared})" for place in places]
        return _Column(name, *places)

    def run(self, key: tuple[str, ...], samples: int) -> TableDiff:
        rows, nulls = self._nulls()
        chosen = self._given(key) if key else self._found(rows)
        if chosen:
            added, removed, changed, columns = self._count_by_key(chosen)
            shown = self._rows_by_key(chosen, samples) if added or removed or changed else []
        else:
            added, removed = self._count_rows(rows)
            changed, columns = 0, {}
            shown = self._rows(samples) if added or removed else []
        return TableDiff(
            self.kind.name,
            rows,
            tuple(column.name for column in chosen),
            bool(key),
            added,
            removed,
            changed,
            columns,
            tuple(self._schema()),
            nulls,
            tuple(shown),
        )

    def _one(self, query: str) -> tuple[Any, ...]:
        return self.connection.execute(query).fetchone() or ()

    def _schema(self) -> Iterator[ColumnChange]:
        before, after = self.types
        for name, old in before.items():
            if name not in after:
                yield ColumnChange(name, "removed", old, None)
        for name, new in after.items():
            if name not in before:
                yield ColumnChange(name, "added", None, new)
            elif before[name] != new:
                yield ColumnChange(name, "type", before[name], new)
        order = [name for name in before if name in after]
        now = [column.name for column in self.common]
        for name in _displaced(order, now):
            yield ColumnChange(name, "moved", before[name], after[name])

    def _nulls(self) -> tuple[tuple[int, int], tuple[Nulls, ...]]:
        """(the rows of both sides, the columns whose missing values are not equally many)."""
        rows: list[int] = []
        counts: list[dict[str, int]] = []
        for (table, _), places in zip(_SIDES, self.places, strict=True):
            asked = "".join(f", count(*) - count({place})" for place in places.values())
            row = self._one(f"SELECT count(*){asked} FROM {table}")
            rows.append(row[0])
            counts.append(dict(zip(places, row[1:], strict=True)))
        before, after = counts
        names = dict.fromkeys([*after, *before])
        made = (Nulls(name, before.get(name), after.get(name)) for name in names)
        changed = tuple(
            one
            for one in made
            if one.before is not None and one.after is not None and rate(one.before, rows[0]) != rate(one.after, rows[1])
        )
        return (rows[0], rows[1]), changed

    # which columns tell rows apart

    def _given(self, key: tuple[str, ...]) -> list[_Column]:
        known = {column.name: column for column in self.common}
        for name in key:
            if name not in known:
                raise UsageError(
                    f"there is no column {name!r} in both versions",
                    rule="dvs-table-key",
                    fix=f"name some of {', '.join(list(known)[:10]) or 'the columns, of which they share none'}",
                )
        chosen = [known[name] for name in key]
        for side, (_table, said) in enumerate(_SIDES):
            if not self._unique(chosen, side):
                raise UsageError(
                    f"{' and '.join(key)} {'is' if len(key) == 1 else 'are'} missing or the same in several rows of {said}",
                    rule="dvs-table-key",
                    fix="name columns that tell every row apart, or leave --key away",
                )
        return chosen

    def _unique(self, columns: Sequence[_Column], side: int) -> bool:
        """Whether the values of the columns are there and different in every row of a side."""
        table = _SIDES[side][0]
        places = [column.after if side else column.before for column in columns]
        value = places[0] if len(places) == 1 else f"({', '.join(places)})"
        present = " AND ".join(f"{place} IS NOT NULL" for place in places)
        (all_there,) = self._one(f"SELECT coalesce(bool_and({present}), true) FROM {table}")
        if not all_there:
            return False
        (same,) = self._one(f"SELECT count(*) = count(DISTINCT {value}) FROM {table}")
        return bool(same)

    def _found(self, rows: tuple[int, int]) -> list[_Column]:
        """The column, or the two columns, that tell rows apart on both sides, and most rows of both sides share; [] for none."""
        if not all(rows) or not self.common:
            return []
        table = _SIDES[1][0]
        guesses = [column for column in sorted(self.common, key=self._likely) if self._may_be_key(column)][:_CANDIDATES]
        if not guesses:
            return []
        asked = ", ".join(f"approx_count_distinct({column.after}), count({column.after})" for column in guesses)
        row = self._one(f"SELECT {asked} FROM {table}")
        single = [column for at, column in enumerate(guesses) if row[2 * at + 1] == rows[1] and row[2 * at] >= rows[1] * 0.8]
        best: tuple[int, list[_Column]] = (-1, [])
        for column in single[:4]:
            if self._unique([column], 1) and self._unique([column], 0):
                shared = self._shared([column])
                if shared > best[0]:
                    best = (shared, [column])
                if shared * 2 >= min(rows):
                    break
        if best[1]:
            return best[1]
        whole = [column for at, column in enumerate(guesses) if row[2 * at + 1] == rows[1]][:4]
        for first in range(len(whole)):
            for second in range(first + 1, len(whole)):
                pair = [whole[first], whole[second]]
                if self._unique(pair, 1) and self._unique(pair, 0):
                    return pair
        return []

    def _likely(self, column: _Column) -> tuple[int, int]:
        """How soon a column is tried as a key: by its name, then by its place."""
        name = column.name.lower()
        words = name.replace("-", "_").split("_")
        if name in ("id", "key", "uuid", "oid"):
            rank = 0
        elif words[-1] in ("id", "key", "uuid", "code", "no", "nr", "number") or column.name.endswith("Id"):
            rank = 1
        elif name in ("name", "path", "file", "date", "time", "timestamp"):
            rank = 2
        else:
            rank = 3
        return rank, list(self.types[1]).index(column.name)

    def _may_be_key(self, column: _Column) -> bool:
        """Numbers with fractions and nested values tell rows apart by chance only."""
        kinds = {types[column.name].upper() for types in self.types}
        nested = any(kind.endswith(("]", ")")) and not kind.startswith("DECIMAL") for kind in kinds)
        return not nested and not kinds & {"NUMBER", "DOUBLE", "FLOAT", "BOOLEAN"}

    def _shared(self, columns: Sequence[_Column]) -> int:
        (count,) = self._one(f"SELECT count(*) FROM before JOIN after ON {_equal(columns)}")
        return int(count)

    # rows

    def _joined(self, key: Sequence[_Column]) -> tuple[str, str]:
        """(the joined rows, the condition under which one differs)."""
        others = [column for column in self.common if column not in key]
        differs = " OR ".join(f"{column.before} IS DISTINCT FROM {column.after}" for column in others) or "false"
        return f"before FULL JOIN after ON {_equal(key)}", differs

    def _count_by_key(self, key: Sequence[_Column]) -> tuple[int, int, int, dict[str, int]]:
        joined, differs = self._joined(key)
        old, new = key[0].before, key[0].after
        both = f"{old} IS NOT NULL AND {new} IS NOT NULL"
        others = [column for column in self.common if column not in key]
        wanted = [f"{old} IS NULL", f"{new} IS NULL", f"{both} AND ({differs})"]
        wanted += [f"{both} AND {one.before} IS DISTINCT FROM {one.after}" for one in others]
        asked = ", ".join(f"count(*) FILTER ({condition})" for condition in wanted)
        row = self._one(f"SELECT {asked} FROM {joined}")
        columns = {column.name: count for column, count in zip(others, row[3:], strict=True) if count}
        return row[0], row[1], row[2], columns

    def _rows_by_key(self, key: Sequence[_Column], limit: int) -> Iterator[RowChange]:
        """At most `limit` rows of each kind, sorted by key."""
        joined, differs = self._joined(key)
        old, new = key[0].before, key[0].after
        order = ", ".join(f"coalesce({column.before}, {column.after})" for column in key)
        keys = [(column.name, f"CAST(coalesce({column.before}, {column.after}) AS VARCHAR)") for column in key]

        def rows(condition: str, wanted: Sequence[str]) -> Iterator[tuple[dict[str, str | None], tuple[Any, ...]]]:
            asked = ", ".join([*(place for _name, place in keys), *wanted])
            found = self.connection.execute(
                f"SELECT {asked} FROM {joined} WHERE {condition} ORDER BY {order} LIMIT {limit}"
            ).fetchall()
            for row in found:
                yield {name: _cut(cell) for (name, _), cell in zip(keys, row, strict=False)}, row[len(keys) :]

        others = [column for column in self.common if column not in key]
        wanted = [
            part
            for column in others
            for part in (
                f"{column.before} IS DISTINCT FROM {column.after}",
                f"CAST(before.{self.places[0][column.name]} AS VARCHAR)",
                f"CAST(after.{self.places[1][column.name]} AS VARCHAR)",
            )
        ]
        for keyed, row in rows(f"{old} IS NOT NULL AND {new} IS NOT NULL AND ({differs})", wanted):
            flags = zip(others, row[::3], row[1::3], row[2::3], strict=True)
            yield RowChange("changed", keyed, {column.name: [_cut(a), _cut(b)] for column, flag, a, b in flags if flag})
        for change, side, condition in (("removed", 0, f"{new} IS NULL"), ("added", 1, f"{old} IS NULL")):
            places = self.places[side]
            cells = [f"CAST({_SIDES[side][0]}.{place} AS VARCHAR)" for place in places.values()]
            for keyed, row in rows(condition, cells):
                yield RowChange(change, keyed, {name: _cut(cell) for name, cell in zip(places, row, strict=True)})

    def _bag(self) -> str:
        """Every row that one side has more often than the other, with how often: by the columns that both have."""
        if not self.common:
            return "(SELECT NULL AS k0, -(SELECT count(*) FROM before) AS n UNION ALL SELECT NULL, (SELECT count(*) FROM after))"
        names = ", ".join(f"k{number}" for number in range(len(self.common)))
        old = ", ".join(f"{column.before} AS k{number}" for number, column in enumerate(self.common))
        new = ", ".join(f"{column.after} AS k{number}" for number, column in enumerate(self.common))
        both = f"SELECT {old}, -1 AS side FROM before UNION ALL SELECT {new}, 1 FROM after"
        return f"(SELECT {names}, sum(side) AS n FROM ({both}) GROUP BY {names} HAVING sum(side) <> 0)"

    def _count_rows(self, rows: tuple[int, int]) -> tuple[int, int]:
        if not self.common:
            return rows[1], rows[0]
        row = self._one(f"SELECT coalesce(sum(n) FILTER (n > 0), 0), coalesce(-sum(n) FILTER (n < 0), 0) FROM {self._bag()}")
        return int(row[0]), int(row[1])

    def _rows(self, limit: int) -> Iterator[RowChange]:
        if not self.common:
            return
        asked = ", ".join(f"CAST(k{number} AS VARCHAR)" for number in range(len(self.common)))
        for change, condition in (("removed", "n < 0"), ("added", "n > 0")):
            found = self.connection.execute(f"SELECT {asked} FROM {self._bag()} WHERE {condition} ORDER BY ALL LIMIT {limit}")
            for row in found.fetchall():
                yield RowChange(change, {}, {one.name: _cut(cell) for one, cell in zip(self.common, row, strict=True)})


def _equal(columns: Sequence[_Column]) -> str:
    return " AND ".join(f"{column.before} = {column.after}" for column in columns)


def _is_number(kind: str) -> bool:
    return kind.endswith(("INT", "INTEGER", "DOUBLE", "FLOAT")) or kind.startswith("DECIMAL")


def _displaced(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The names that stand in another order, as few as explain it."""
    from difflib import SequenceMatcher

    kept = {
        name
        for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        for name in after[block.b : block.b + block.size]
    }
    return [name for name in after if name not in kept]


def _cut(cell: object) -> str | None:
    if cell is None:
        return None
    text = str(cell)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"

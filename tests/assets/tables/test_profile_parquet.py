"""The Parquet folder and the profile made from it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.tables import parquet, profile
from assets.tables.recipes import PARQUET, PROFILE
from schemas.errors import InvalidText
from tests.assets.tables.projects import build, link, table, write_project
from tests.assets.tables.test_duckdb_file import TYPED, TYPES


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_types_arrive_and_the_schema_says_what_columns_mean(tmp_path: Path) -> None:
    described = {**TYPES, "f": {"type": "float", "unit": "kg", "description": "how heavy"}}
    folder, _ = build(PARQUET, write_project(tmp_path / "p", {"t": table(described)}, {"t": TYPED}), tmp_path / "w")
    found = pq.read_table(folder / "t.parquet")
    first, second = found.to_pylist()
    assert first["d"] == Decimal("12.30")
    assert first["day"] == dt.date(2024, 2, 29)
    assert first["at"] == dt.time(23, 59, 59, 500_000)
    assert first["when"] == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert first["x"] == b"\x00\xff"
    assert all(value is None for name, value in second.items() if name != "id")
    assert found.schema.field("f").metadata[b"unit"] == b"kg"
    assert not found.schema.field("id").nullable


def test_equal_rows_give_equal_bytes_whatever_their_order_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 7)
    lines = [f"{number},v{number % 5}\n" for number in range(40)]
    tables = {"t": table({"id": "integer", "v": "text"})}
    sorted_rows = files(
        build(PARQUET, write_project(tmp_path / "a", tables, {"t": "id,v\n" + "".join(lines)}), tmp_path / "aw")[0]
    )
    shuffled = files(
        build(PARQUET, write_project(tmp_path / "b", tables, {"t": "id,v\n" + "".join(lines[::-1])}), tmp_path / "bw")[0]
    )
    from assets.tables import grammar

    monkeypatch.setattr(grammar, "BLOCK_SIZE", 64)
    blocks = files(build(PARQUET, write_project(tmp_path / "c", tables, {"t": "id,v\n" + "".join(lines)}), tmp_path / "cw")[0])
    assert sorted_rows == shuffled == blocks
    path = tmp_path / "aw" / "parquet" / "outputs" / "parquet" / "t.parquet"
    assert [pq.read_metadata(path).row_group(at).num_rows for at in range(6)] == [7, 7, 7, 7, 7, 5]


def test_rules_that_parquet_cannot_hold_are_verified(tmp_path: Path) -> None:
    tables = {"a": table({"id": "integer", "b": "integer"}, checks={"small": "b < 10"}), "b": table({"id": "integer"})}
    for name, rows in {"key": "1,1\n1,1\n", "orphan": "1,2\n", "check": "1,11\n"}.items():
        folder = write_project(tmp_path / name, tables, {"a": "id,b\n" + rows, "b": "id\n1\n11\n"}, {"r": link("a", "b", "b")})
        with pytest.raises(InvalidText):
            build(PARQUET, folder, tmp_path / f"{name}-work")


@pytest.mark.parametrize("name", ["plain", "a b", 'quo"te', "x*y", "q?", "per%cent", "é", "aux1", "a:b", "<t>"])
def test_file_names_are_portable_and_different(tmp_path: Path, name: str) -> None:
    from schemas.paths import is_portable_name

    assert is_portable_name(parquet.file_name(name))
    others = [other for other in ("plain", "a b", "quo%22te", "x%2Ay") if other != name]
    assert parquet.file_name(name) not in {parquet.file_name(other) for other in others}


ROWS: dict[str, list[Any]] = {
    "n": [3, -1, None, 7, 7, 2, None, 7],
    "f": [0.5, None, -1.5, 2.25, 0.5, 1e300, -1e300, 0.5],
    "t": ["a", "", None, "bb", "a", "a", "", "ccc"],
    "d": ["1.50", "0.00", "-2.25", None, "1.50", "9.99", "0.01", "0.00"],
    "b": [True, None, False, True, True, True, False, None],
    "day": ["2024-01-01", None, "2023-05-05", "2024-01-01", "2020-02-29", "2024-12-31", "2024-01-01", "2021-01-01"],
}


def cell(value: Any) -> str:
    return (
        ""
        if value is None
        else '""'
        if value == ""
        else str(value).lower()
        if isinstance(value, bool)
        else repr(value)
        if isinstance(value, float)
        else str(value)
    )


def test_the_profile_agrees_with_counting_by_hand(tmp_path: Path) -> None:
    types = {"n": "integer", "f": "float", "t": "text", "d": "decimal(4,2)", "b": "boolean", "day": "date"}
    lines = [",".join([str(number), *(cell(ROWS[name][number]) for name in types)]) for number in range(8)]
    text = "id," + ",".join(types) + "\n" + "\n".join(lines).replace("1e+300", "1e300") + "\n"
    folder = write_project(tmp_path / "p", {"t": table({"id": "integer", **types})}, {"t": text})
    path, summary = build(PROFILE, folder, tmp_path / "w")
    found = {row["column"]: row for row in pq.read_table(path).to_pylist()}
    assert list(found) == ["id", *types]
    for name in types:
        given = [value for value in ROWS[name] if value is not None]
        row = found[name]
        assert (row["rows"], row["nulls"], row["distinct"]) == (8, 8 - len(given), len(set(given)))
        counts = sorted(Counter(given).values(), reverse=True)
        assert [entry["count"] for entry in row["top_values"]] == counts
        assert sum(entry["count"] for entry in row["histogram"]) in (0, len(given))
    assert (found["d"]["min"], found["d"]["max"]) == ("-2.25", "9.99")
    assert (found["day"]["min"], found["day"]["max"]) == ("2020-02-29", "2024-12-31")
    assert found["t"]["top_values"][0] == {"value": "a", "count": 3}
    assert found["f"]["histogram"][0]["low"] == -1e300
    assert found["f"]["histogram"][-1] == {"low": pytest.approx(9e299), "high": 1e300, "count": 1}
    assert found["n"]["histogram_of"] == "value"
    assert found["b"]["histogram"] == []
    assert summary.counts == {"tables": 1, "columns": 7, "nulls": 2 + 1 + 1 + 1 + 2 + 1}
    assert build(PROFILE, folder, tmp_path / "again")[0].read_bytes() == path.read_bytes()


def test_every_type_has_a_profile_and_empty_tables_too(tmp_path: Path) -> None:
    tables = {"t": table(TYPES), "none": table(TYPES)}
    path, summary = build(PROFILE, write_project(tmp_path / "p", tables, {"t": TYPED}), tmp_path / "w")
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 2 * len(TYPES)
    values = {row["column"]: row["max"] for row in rows if row["table"] == "t"}
    cells = [
        *("2", "0.1", 'a\r\n"b"', "12.30", "true", "2024-02-29", "23:59:59.5", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.25"),
        *("123e4567-e89b-12d3-a456-426614174000", '{"a":1}', "c,d", "AP8="),
    ]
    assert values == dict(zip(TYPES, cells, strict=True))
    assert all(row["min"] is None and row["histogram"] == [] for row in rows if row["table"] == "none")
    assert len(summary.tables["columns"].rows) == len(rows)


def test_markdown_shows_hostile_values_as_text(tmp_path: Path) -> None:
    folder = write_project(
        tmp_path / "p", {"a|b": table({"id": "integer", "t": "text"}, file="data/t.csv")}, {"t": 'id,t\n1,"<b>|`x"\n2,"<b>|`x"\n'}
    )
    _, summary = build(PROFILE, folder, tmp_path / "w")
    assert "\\<b\\>\\|\\`x (2)" in summary.markdown["profile"]
    assert "### a\\|b (2 rows)" in summary.markdown["profile"]


def test_sparkline() -> None:
    assert profile.sparkline([(0, 1, 0), (1, 2, 1), (2, 3, 8)]) == " ▁█"
    assert profile.sparkline([]) == ""

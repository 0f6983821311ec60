"""The two tiers of reading: whatever the fast one accepts the strict one accepts, with equal values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets.tables import columns, grammar
from assets.tables.grammar import Doubt
from assets.tables.load import TableText
from schemas.errors import InvalidText
from schemas.tables import strict
from schemas.tables.model import Project

COLUMNS: dict[str, dict[str, Any]] = {
    "i": {"type": "integer"},
    "f": {"type": "float"},
    "t": {"type": "text"},
    "n": {"type": "text", "nullable": False},
    "d": {"type": "decimal(6,2)"},
    "b": {"type": "boolean"},
    "day": {"type": "date"},
    "at": {"type": "time"},
    "when": {"type": "timestamp"},
    "u": {"type": "uuid"},
    "j": {"type": "json"},
    "e": {"type": "enum", "enum": ["red", "a,b", 'say "x"', "é"]},
    "x": {"type": "blob"},
    "r": {"type": "integer", "min": -5, "max": 1000},
    "s": {"type": "text", "min_length": 1, "max_length": 5, "pattern": "[a-zé]*"},
    "c": {"type": "integer", "enum": [1, 2, 3]},
    "m": {"type": "decimal(4,1)", "min": -1.5},
}

CELLS = [
    *["", '""', "\\N", "0", "-0", "1", "12", "007", " 12", "+5", "0x10", "1_000", "9223372036854775807", "9223372036854775808"],
    *["-9223372036854775808", "1.0", "1e3", "1e400", "5e-324", "1e-400", "0e5", "-0.0", "nan", "inf", "1.7976931348623157e308"],
    *["0.1", "3.8e-05", "1E5", ".5", "5.", "12.30", "12.3", "-0.01", "-0.00", "9999.99", "10000.00", "true", "TRUE", "yes"],
    *["2024-02-29", "2023-02-29", "2024-2-9", "1900-02-29", "0000-01-01", "24:00:00", "12:30:00", "12:30:00.50", "12:30:00.5"],
    *["2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:60Z", "red", '"red"', '"a,b"', "a", '"say ""x"""', "é"],
    *[
        "e\u0301",
        "NULL",
        "null",
        '"1"2',
        '1"2',
        '"a',
        'a"',
        '"a""b"',
        '"a\nb"',
        '"a\r\nb"',
        "a\rb",
        '"a\rb"',
        "a\x00b",
        "\x85",
        "\t",
        "=1",
    ],
    *["AP8=", "AP9=", "AP8", "AAAA", "123e4567-e89b-12d3-a456-426614174000", "123E4567-e89b-12d3-a456-426614174000"],
    *['"{""a"":1}"', '"{""a"": 1}"', "1.5", "[]", '"[1,2]"', "-5", "-6", "1000", "1001", "abcdef", "abcdé", "ABC", "<<<<<<< x"],
    *['"12"', '"true"', '"2024-02-29"', "-1.5", "-1.6", "0.0", "\ufeff", "٣", "\u2028", "x" * 50, "2", "4", "😀"],
]


def project(names: list[str], null: str = "") -> Project:
    return Project.model_validate(
        {"version": 1, "format": {"null_text": null}, "tables": {"t": {"columns": {name: COLUMNS[name] for name in names}}}}
    )


def text_of(made: Project, path: Path, block_size: int | None = None) -> TableText:
    return TableText(made, made.tables["t"], path, "data/t.csv", block_size)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.copysign(1, left) == math.copysign(1, right) and left == right
    return type(left) is type(right) and bool(left == right)


def rows(batches: Any) -> list[list[Any]]:
    return [list(row.values()) for batch in batches for row in batch.to_pylist()]


def agree(made: Project, data: bytes, folder: Path, block_size: int | None = None) -> bool:
    """Whether the fast tier took the file; asserts that the strict tier then takes it too, with equal values."""
    path = folder / "t.csv"
    path.write_bytes(data)
    text = text_of(made, path, block_size)
    try:
        fast = rows(text.fast_batches())
    except Doubt:
        return False
    findings = [finding for finding in strict.check_table(data, "data/t.csv", made, "t") if finding.blocking]
    assert not findings, (data, findings)
    slow = rows(text.strict_batches())
    assert len(fast) == len(slow)
    assert all(same(a, b) for one, other in zip(fast, slow, strict=True) for a, b in zip(one, other, strict=True)), (fast, slow)
    return True


@st.composite
def files(draw: st.DrawFn) -> tuple[Project, bytes]:
    """A table of some columns and a file of mostly fitting, sometimes nasty cells, line ends and widths."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5, unique=True))
    null = draw(st.sampled_from(["", "\\N"]))
    header = draw(st.permutations(names))
    fitting = {name: [cell for cell in CELLS if _fits(name, cell)] or CELLS for name in names}
    nasty = draw(st.integers(0, 3)) == 0
    lines = [",".join(header)]
    for _ in range(draw(st.integers(0, 6))):
        cells = [draw(st.sampled_from(fitting[name] if not nasty or draw(st.booleans()) else CELLS)) for name in header]
        if nasty and draw(st.integers(0, 5)) == 0:
            cells = draw(st.sampled_from([cells[:-1], [*cells, "1"], [*cells, ""], []]))
        lines.append(",".join(cells))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"] if nasty else ["\n", "\r\n"]))
    body = end.join(lines) + draw(st.sampled_from([end, "", end + end] if nasty else [end, ""]))
    data = body.encode("utf-8")
    if nasty and draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(data)))
        data = (
            data[:at]
            + draw(st.sampled_from([b"\xff", b"\x00", b"\r", b"\n", b'"', b"\xed\xa0\x80", b",", b"\xef\xbb\xbf"]))
            + data[at:]
        )
    return project(names, null), (b"\xef\xbb\xbf" if draw(st.integers(0, 9)) == 0 else b"") + data


def _fits(name: str, cell: str) -> bool:
    column = project([name]).tables["t"].columns[name]
    plain = cell[1:-1].replace('""', '"') if cell.startswith('"') and cell.endswith('"') and len(cell) > 1 else cell
    if cell == "":
        return column.is_nullable
    return strict.judge_cell(column, plain) is None and not any(char in plain for char in "\x00\r")


@given(files(), st.sampled_from([None, 3, 17, 50]))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example((project(["t"]), b't\n"1"2\n'), None)
@example((project(["t", "n"]), b't,n\n,""\n'), None)
@example((project(["f"]), b"f\n1e-400\n"), None)
@example((project(["f"]), b"f\n5e-324\n"), None)
@example((project(["f"]), b"f\n0e5\n-0.0\n"), None)
@example((project(["n"], "\\N"), b"n\n\\N\n"), None)
@example((project(["t"]), b"t\na\r\n"), None)
@example((project(["t"]), b"t\na\r"), None)
def test_whatever_the_fast_tier_accepts_the_strict_tier_accepts_with_equal_values(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Project, bytes], block_size: int | None
) -> None:
    agree(*made, tmp_path_factory.mktemp("text"), block_size)


@pytest.mark.parametrize("name", sorted(COLUMNS))
@pytest.mark.parametrize("null", ["", "\\N"])
def test_every_cell_in_every_type(tmp_path: Path, name: str, null: str) -> None:
    """One file per cell: the tiers may only differ in what the fast one leaves to the strict one."""
    made = project([name, "i"], null)
    taken = sum(
        agree(made, f"{name},i\n{cell},{null}\n".encode() if name != "i" else f"i\n{cell}\n".encode(), tmp_path) for cell in CELLS
    )
    assert taken, "the fast tier accepts nothing of this type"


def test_canonical_files_take_the_fast_tier(tmp_path: Path) -> None:
    cells = {
        "i": "-12", "f": "3.8e-05", "t": '"two\nlines, and ""quotes"""', "n": '""', "d": "-0.01", "b": "true",
        "day": "2024-02-29",
        "at": "12:30:00.5", "when": "2024-01-01T00:00:00Z", "u": "123e4567-e89b-12d3-a456-426614174000", "j": '"{""a"":1}"',
        "e": '"a,b"', "x": "AP8=", "r": "1000", "s": "abcdé", "c": "3", "m": "-1.5",
    }  # fmt: skip
    data = (",".join(cells) + "\n" + ",".join(cells.values()) + "\n" + "," * 3 + "x" + "," * (len(cells) - 4) + "\n").encode()
    assert agree(project(list(cells)), data, tmp_path)


def test_floats_of_extreme_size_are_still_read_fast_and_exactly(tmp_path: Path) -> None:
    assert agree(project(["f", "t"]), b"f,t\n5e-324,\n1.7976931348623157e308,\n0.1,\n", tmp_path)


@pytest.mark.parametrize("size", [1, 7, 16, 33, 64])
def test_blocks_cut_anywhere_give_the_same_rows(tmp_path: Path, size: int) -> None:
    data = b'i,t\n1,"a\n""b"\n2,\n3,"x,\r\n\n"\n4,plain'
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with open(path, "rb") as file:
        file.seek(4)
        joined = b"".join(bytes(block) for block in grammar.blocks(file, b"\n", size))
    assert joined == data[4:] + b"\n"
    made = project(["i", "t"])
    assert rows(text_of(made, path).fast_batches()) == [[1, 'a\n"b'], [2, None], [3, "x,\r\n\n"], [4, "plain"]]


def test_doubt_in_a_later_block_goes_on_with_the_strict_tier(tmp_path: Path) -> None:
    """A record the fast tier leaves out, in the middle of a file whose first rows have already been handed on."""
    path = tmp_path / "t.csv"
    lines = [f"{number},word {number}" for number in range(100)]
    lines[70] = "70,\ufeffmark"  # valid, but not in the language
    path.write_text("i,t\n" + "\n".join(lines) + "\n", encoding="utf-8")
    text = text_of(project(["i", "t"]), path, 64)
    with pytest.raises(Doubt):
        list(text.fast_batches())
    found = rows(text.batches())
    assert [row[0] for row in found] == list(range(100))
    assert found[70][1] == "\ufeffmark"


def test_a_wrong_cell_is_reported_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'i,t\n1,"two\nlines"\n0x10,x\n')
    with pytest.raises(InvalidText) as caught:
        text_of(project(["i", "t"]), path).read()
    first = caught.value.findings[0]
    assert (first.path, first.line, first.column, first.fix) == ("data/t.csv", 4, 1, "write 16")


def test_native_form_has_the_declared_arrow_types(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"d,day,at,when\n-0.01,2024-02-29,23:59:59.000001,2024-01-01T00:00:00.5Z\n,,,\n")
    made = project(["d", "day", "at", "when"])
    text = text_of(made, path)
    native = columns.native(next(iter(text.batches())), text.fields)
    assert [str(field.type) for field in native.schema] == [
        column.column_type.arrow for column in made.tables["t"].columns.values()
    ]
    for name, column in made.tables["t"].columns.items():
        given = native.column(name).to_pylist()
        assert given[1] is None
        assert column.column_type.format(given[0]) in path.read_text()


def test_key_order_is_proven_across_batches() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])

    def batch(*rows: tuple[str, int]) -> pa.RecordBatch:
        return pa.record_batch([pa.array([row[0] for row in rows]), pa.array([row[1] for row in rows])], schema=schema)

    good = [batch(("A", 2), ("a", 1)), batch(), batch(("a", 2), ("é", 0))]
    assert list(columns.in_key_order(good, ["a", "b"])) == good
    for bad in ([batch(("a", 1), ("a", 1))], [batch(("a", 1)), batch(("a", 1))], [batch(("é", 1), ("z", 1))]):
        with pytest.raises(columns.OutOfOrder):
            list(columns.in_key_order(bad, ["a", "b"]))


def test_reading_ahead_hands_on_errors_and_stops_when_left() -> None:
    def numbers() -> Any:
        yield 1
        raise InvalidText([])

    found = []
    with pytest.raises(InvalidText):
        found.extend(columns.ahead(numbers()))
    generator = columns.ahead(iter(range(10**9)))
    assert next(generator) == 0
    generator.close()

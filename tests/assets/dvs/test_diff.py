"""Two versions of a table: rows by key, columns, types, missing values, in every format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.dvs.diff import ColumnChange, TableDiff, compare, rate
from assets.dvs.table_files import TableFormat, format_of
from schemas.errors import HeadwaterError, UsageError

CSV = TableFormat("csv")


@pytest.fixture
def diff(tmp_path: Path) -> Any:
    def run(before: bytes | str, after: bytes | str, name: str = "t.csv", key: Sequence[str] = ()) -> TableDiff:
        return of(tmp_path, before, after, name, key)

    return run


def of(folder: Path, before: bytes | str, after: bytes | str, name: str = "t.csv", key: Sequence[str] = ()) -> TableDiff:
    kind = format_of(name)
    assert kind is not None
    for file, data in (("old", before), ("new", after)):
        (folder / file).write_bytes(data.encode() if isinstance(data, str) else data)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    made = compare(folder / "old", folder / "new", kind, scratch, key=key)
    assert not [path for path in scratch.iterdir() if path.is_file()]
    return made


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.csv", TableFormat("csv")),
        ("B.TSV", TableFormat("csv")),
        ("x.csv.gz", TableFormat("csv", "gzip")),
        ("x.jsonl.zst", TableFormat("jsonl", "zstd")),
        ("x.ndjson", TableFormat("jsonl")),
        ("x.parquet", TableFormat("parquet")),
        ("x.parquet.gz", None),
        ("x.csv.gz.gz", None),
        (".csv", None),
        ("x.txt", None),
        ("csv", None),
    ],
)
def test_a_table_is_known_by_its_name(path: str, expected: TableFormat | None) -> None:
    assert format_of(path) == expected


def test_rows_are_told_apart_by_a_key_that_is_found(diff: Any) -> None:
    made = diff("id,name,v\n1,a,1\n2,b,2\n3,c,3\n", "id,name,v\n4,d,3\n2,,2\n1,a,1.5\n")
    assert (made.key, made.key_given) == (("id",), False)
    assert (made.added, made.removed, made.changed, made.rows) == (1, 1, 2, (3, 3))
    assert made.columns == {"name": 1, "v": 1}
    assert made.schema == (ColumnChange("v", "type", "integer", "number"),)
    assert [(one.column, one.before, one.after) for one in made.nulls] == [("name", 0, 1)]
    assert [(row.change, row.key, row.cells) for row in made.samples] == [
        ("changed", {"id": "1"}, {"v": ["1", "1.5"]}),
        ("changed", {"id": "2"}, {"name": ["b", None]}),
        ("removed", {"id": "3"}, {"id": "3", "name": "c", "v": "3"}),
        ("added", {"id": "4"}, {"id": "4", "name": "d", "v": "3"}),
    ]
    assert json.loads(json.dumps(made.to_json()))["nulls"][0]["rate_after"] == 0.333333


def test_the_order_of_rows_and_columns_means_nothing_to_rows(diff: Any) -> None:
    made = diff("id,a,b\n1,x,y\n2,z,w\n", "id,b,a\n2,w,z\n1,y,x\n")
    assert (made.added, made.removed, made.changed) == (0, 0, 0)
    assert [one.change for one in made.schema] == ["moved"]


def test_columns_come_and_go_without_changing_rows(diff: Any) -> None:
    made = diff("id,old\n1,x\n2,y\n", "id,new\n1,1\n2,2\n")
    assert (made.added, made.removed, made.changed) == (0, 0, 0)
    assert {(one.column, one.change, one.before, one.after) for one in made.schema} == {
        ("old", "removed", "text", None),
        ("new", "added", None, "integer"),
    }


def test_two_columns_together_tell_rows_apart(diff: Any) -> None:
    made = diff("site,day,v\na,1,1\na,2,1\nb,1,1\nb,2,1\n", "site,day,v\na,1,1\na,2,2\nb,1,1\nb,2,1\n")
    assert (made.key, made.changed, made.added, made.removed) == (("site", "day"), 1, 0, 0)


def test_without_a_key_rows_are_counted_as_often_as_they_are_there(diff: Any) -> None:
    made = diff("a,b\n1,2\n1,2\n1,2\n5,6\n", "a,b\n1,2\n7,8\n7,8\n5,6\n")
    assert (made.key, made.added, made.removed, made.changed) == ((), 2, 2, 0)
    assert [(row.change, row.cells) for row in made.samples] == [
        ("removed", {"a": "1", "b": "2"}),
        ("added", {"a": "7", "b": "8"}),
    ]


def test_a_column_that_is_unique_by_chance_is_no_key(diff: Any) -> None:
    made = diff("n,temp\na,1.5\na,2.5\n", "n,temp\na,1.75\na,2.5\n")
    assert made.key == ()


def test_the_key_that_most_rows_share_is_taken(diff: Any) -> None:
    before = "row,sample\n" + "".join(f"{n},s{n}\n" for n in range(10))
    after = "row,sample\n" + "".join(f"{n + 100},s{n}\n" for n in range(10))
    made = diff(before, after)
    assert (made.key, made.changed) == (("sample",), 10)


def test_a_key_that_is_given(diff: Any) -> None:
    made = diff("a,b\n1,x\n2,y\n", "a,b\n1,x\n2,z\n", key=["a"])
    assert (made.key, made.key_given, made.changed) == (("a",), True, 1)
    with pytest.raises(UsageError, match="no column 'c'") as unknown:
        diff("a,b\n1,x\n", "a,b\n1,y\n", key=["c"])
    assert unknown.value.rule == "dvs-table-key"
    for before in ("a,b\n1,x\n1,y\n", "a,b\n1,x\n,y\n"):
        with pytest.raises(UsageError, match="older version"):
            diff(before, "a,b\n1,x\n2,y\n", key=["a"])


def test_the_delimiter_and_the_writing_mean_nothing(diff: Any) -> None:
    made = diff("größe;b\n1;ä\n".encode("latin-1"), "größe,b\n1,ä\n")
    assert (made.schema, made.added, made.removed, made.changed) == ((), 0, 0, 0)
    made = diff("a\tb\n1\tx\n".encode("utf-16"), "\ufeffa,b\r\n1,y\r\n")
    assert made.changed + made.added == 1


def test_types_are_those_of_every_value(diff: Any) -> None:
    late = "id,a,b\n" + "".join(f"{number},,{number}\n" for number in range(1_500))
    made = diff("id,a,b\n1,x,y\n", late + "1500,7,2026-01-02\n")
    assert {one.column: one.after for one in made.schema} == {"a": "integer"}
    made = diff("id,a,b\n1,x,y\n", late + "1500,1.5,\n")
    assert {one.column: one.after for one in made.schema} == {"a": "number", "b": "integer"}


def test_quotes_line_feeds_and_equal_names(diff: Any) -> None:
    made = diff('id,"a, b",x,x\n1,"p\nq",1,2\n', 'id,"a, b",x,x\n1,"p\nr",1,3\n')
    assert made.columns == {"a, b": 1, "x (2)": 1}


def test_empty_files_and_headers_alone(diff: Any) -> None:
    assert diff("", "a,b\n1,2\n").rows == (0, 1)
    made = diff("a,b\n", "a,b\n1,2\n")
    assert (made.rows, made.added) == ((0, 1), 1)
    assert diff("", "").rows == (0, 0)


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        ("a,b\n1,2,3\n", "t.csv", "Expected Number of Columns: 2 Found: 3"),
        ("{not json", "t.jsonl", "cannot be read as jsonl"),
        ("[1]\n", "t.jsonl", "cannot be read as jsonl"),
        ("PAR1", "t.parquet", "cannot be read as parquet"),
        ("no gzip", "t.csv.gz", "cannot be read as csv"),
    ],
)
def test_what_cannot_be_read_is_said(diff: Any, tmp_path: Path, data: str, name: str, said: str) -> None:
    good = {"t.csv": b"a,b\n1,2\n", "t.jsonl": b'{"a":1}\n', "t.csv.gz": gzip.compress(b"a\n1\n")}.get(name, b"")
    if name == "t.parquet":
        good = parquet(tmp_path, {"a": [1]})
    with pytest.raises(HeadwaterError, match=said) as caught:
        diff(good, data, name)
    assert caught.value.rule == "dvs-table"
    assert "newer version" in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_a_short_row_is_filled_up(diff: Any) -> None:
    made = diff("id,a,b\n1,x,y\n2,z\n", "id,a,b\n1,x,y\n2,z,\n")
    assert (made.added, made.removed, made.changed) == (0, 0, 0)


def parquet(folder: Path, columns: dict[str, list[Any]], **types: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def test_parquet_by_the_types_of_its_values(diff: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    before = parquet(tmp_path, {"id": [1, 2, 3], "v": [1.0, float("nan"), None], "l": [[1], [2], None]}, id=pa.int32())
    after = parquet(tmp_path, {"id": [1, 2, 3], "v": [1.0, float("nan"), 4.0], "l": [[1], [2, 3], None]}, id=pa.int64())
    made = diff(before, after, "t.parquet")
    assert (made.key, made.changed, made.columns) == (("id",), 2, {"v": 1, "l": 1})
    assert [(one.column, one.change, one.before, one.after) for one in made.schema] == [("id", "type", "INTEGER", "BIGINT")]
    assert [(one.column, one.before, one.after) for one in made.nulls] == [("v", 1, 0)]


def test_json_lines_with_nested_and_missing_keys(diff: Any) -> None:
    made = diff(
        '{"id":1,"a":{"x":1},"n":1}\n{"id":2,"n":2}\n',
        '{"id":1,"a":{"x":2},"n":1.0}\n\n{"id":3,"n":2.5,"new":true}\n',
        "t.jsonl",
    )
    assert (made.key, made.added, made.removed, made.changed, made.columns) == (("id",), 1, 1, 1, {"a": 1})
    assert ("new", "added") in [(one.column, one.change) for one in made.schema]


def test_names_that_sql_cannot_say(diff: Any) -> None:
    made = diff('{"id":1,"a\\u0000b":1,"x\\"y":2}\n', '{"id":1,"a\\u0000b":2,"x\\"y":2}\n', "t.jsonl")
    assert made.columns == {"a\0b": 1}
    assert diff('id,"a""b;--"\n1,x\n', 'id,"a""b;--"\n1,y\n').columns == {'a"b;--': 1}


def test_packed_text(diff: Any) -> None:
    from resources.encoding import compressed

    old, new = b"id,a\n" + b"1,x\n2,y\n3,z\n" * 1, b"id,a\n1,x\n2,y\n3,w\n"
    assert diff(gzip.compress(old), gzip.compress(new), "t.csv.gz").changed == 1
    many = b"".join(b'{"id":%d}\n' % number for number in range(100))
    packed = compressed(many)
    assert packed is not None
    assert diff(packed, packed, "t.jsonl.zst").rows == (100, 100)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(0, 30), st.text("ab\"',\n ;x", max_size=4), max_size=12),
    st.dictionaries(st.integers(0, 30), st.text("ab\"',\n ;x", max_size=4), max_size=12),
)
def test_counts_are_those_of_dictionaries(
    tmp_path_factory: pytest.TempPathFactory, before: dict[int, str], after: dict[int, str]
) -> None:
    import csv
    import io

    def text(rows: dict[int, str]) -> str:
        target = io.StringIO(newline="")
        writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "v"), *((str(key), value) for key, value in rows.items())])
        return target.getvalue()

    made = of(tmp_path_factory.mktemp("diff"), text(before), text(after), key=["id"])
    assert made.added == len(after.keys() - before.keys())
    assert made.removed == len(before.keys() - after.keys())
    assert made.changed == sum(before[key] != after[key] for key in before.keys() & after.keys())


def test_a_rate_of_nothing() -> None:
    assert (rate(None, 5), rate(0, 0), rate(1, 4)) == (None, 0.0, 0.25)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["t.csv", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.zst"]))
def test_any_bytes_are_compared_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    folder = tmp_path_factory.mktemp("diff")
    said = None
    try:
        made = of(folder, data, data, name)
        assert (made.added, made.removed, made.changed, made.schema) == (0, 0, 0, ())
    except HeadwaterError as error:
        said = error
    assert said is None or (said.rule == "dvs-table" and str(folder) not in said.message)

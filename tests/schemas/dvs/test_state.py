"""Snapshots, the log of operations, and what was put into the working tree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat
from schemas.dvs.state import (
    DamagedState,
    LogRecord,
    Materialized,
    Snapshot,
    TrackedFile,
    check_state_id,
    diff,
    read_head,
    read_log,
    read_materialized,
    read_snapshot,
    write_snapshot,
)
from schemas.errors import HeadwaterError

A, B = "blake3:" + "a" * 64, "blake3:" + "b" * 64
TIME = "2026-01-20T10:00:00Z"


def _file(path: str, oid: str = A, spelling: SidecarFormat = SidecarFormat.JSON) -> TrackedFile:
    return TrackedFile(path, Sidecar(oid, 3, TIME, "m", "ann"), spelling)


def test_case_15_the_id_of_a_state_follows_its_content() -> None:
    empty = write_snapshot(Snapshot())[0]
    assert len(empty) == 64
    assert write_snapshot(Snapshot())[0] == empty
    state_id, data = write_snapshot(Snapshot((_file("b"), _file("a"))))
    assert [entry["path"] for entry in json.loads(data)["metadata"]] == ["a", "b"]
    assert write_snapshot(Snapshot((_file("a"), _file("b")))) == (state_id, data)
    assert state_id not in (empty, write_snapshot(Snapshot((_file("a", B), _file("b"))))[0])


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.sampled_from(["a", "b/c", "d é.csv"]), st.tuples(st.sampled_from([A, B]), st.sampled_from(list(SidecarFormat)))
    ),
    manifest=st.none() | st.just(Manifest({"a": Entry("a", A, 3)}, "https://example.org")),
)
def test_a_snapshot_is_read_as_it_was_written(files: dict[str, tuple[str, SidecarFormat]], manifest: Manifest | None) -> None:
    snapshot = Snapshot(tuple(_file(path, *files[path]) for path in sorted(files)), manifest)
    state_id, data = write_snapshot(snapshot)
    assert read_snapshot(data, state_id, "s.json") == snapshot


def test_any_flipped_byte_of_a_snapshot_is_found() -> None:
    state_id, data = write_snapshot(Snapshot((_file("a"),)))
    for position in range(len(data)):
        bad = bytearray(data)
        bad[position] ^= 1
        with pytest.raises(DamagedState):
            read_snapshot(bytes(bad), state_id, "s.json")


def test_case_17_head() -> None:
    assert read_head(None) is None
    assert read_head(b"") is None
    assert read_head(b"a" * 64 + b"\n") == "a" * 64
    for bad in (b"a" * 63, b"x" * 64, b"\xff" * 64):
        with pytest.raises(DamagedState):
            read_head(bad)


def test_case_17_the_log_is_read_oldest_first() -> None:
    first = LogRecord(TIME, "ann", "add", "a" * 64, None, "one", ("x", "y"))
    second = LogRecord(TIME, "bo", "rollback", "b" * 64, "a" * 64)
    assert read_log(first.to_line() + second.to_line()) == ([first, second], [])
    assert json.loads(second.to_line())["old"] == "state:" + "a" * 64
    assert "message" not in json.loads(second.to_line())


def test_one_bad_line_hides_no_other() -> None:
    record = LogRecord(TIME, "ann", "add", "a" * 64, extra={"later": 1})
    records, problems = read_log(record.to_line() + b"not json\n" + b'{"ts": 1}\n[]\n' + record.to_line() + b'{"ts": "torn')
    assert records == [record, record]
    assert [problem.line for problem in problems] == [2, 3, 4, 6]


def test_case_43_what_is_the_id_of_a_state() -> None:
    assert check_state_id("state:" + "a" * 64) == check_state_id("a" * 64)
    for bad in ("abc123", "@{0}", "", "state:", "A" * 64, "../" + "a" * 61):
        with pytest.raises(HeadwaterError):
            check_state_id(bad)


def test_case_14_what_was_put_where() -> None:
    state = Materialized()
    assert state.needs("a", A)
    state = state.put([("a", A)], TIME)
    assert not state.needs("a", A)
    assert state.needs("a", B)
    assert read_materialized(state.to_bytes()) == state
    assert read_materialized(None) == read_materialized(b"damaged") == read_materialized(b"[]") == Materialized()


def test_the_difference_of_two_manifests() -> None:
    before = Manifest({"a": Entry("a", A, 1), "b": Entry("b", A, 1), "c": Entry("c", A, 1)})
    after = Manifest({"b": Entry("b", B, 1), "c": Entry("c", A, 1, "zstd"), "d": Entry("d", A, 1)})
    assert {path: (old and old.oid, new and new.oid) for path, (old, new) in diff(before, after).items()} == {
        "a": (A, None),
        "b": (A, B),
        "d": (None, A),
    }

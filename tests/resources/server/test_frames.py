"""Streams of objects: what is written is read back, however it is cut up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.server.frames import END, FrameReader, Head
from schemas.dvs.oids import oid_of
from schemas.errors import HeadwaterError

objects = st.lists(st.binary(max_size=300), max_size=8)


def _events(data: bytes, cuts: list[int]) -> list[tuple[str, bytes | None]]:
    """(oid, bytes) of every object, None for missing ones."""
    reader = FrameReader()
    found: list[tuple[str, bytes | None]] = []
    head, pieces = None, b""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in pairwise(edges):
        for event in reader.feed(data[start:stop]):
            if isinstance(event, Head):
                head, pieces = event, b""
            elif event is None:
                assert head is not None
                found.append((head.oid, None if head.missing else pieces))
            else:
                pieces += event
    reader.finish()
    return found


@given(objects, st.lists(st.integers(0, 10_000), max_size=20), st.sets(st.integers(0, 7)))
@settings(max_examples=50, deadline=None)
def test_frames_come_back_however_they_are_cut(held: list[bytes], cuts: list[int], missing: set[int]) -> None:
    stream, expected = b"", []
    for number, data in enumerate(held):
        oid = oid_of(data, "blake3")
        gone = number in missing
        head = Head(oid, missing=True, error="it is ünreadable") if gone else Head(oid, len(data))
        stream += head.to_line() + (b"" if gone else data)
        expected.append((oid, None if gone else data))
    assert _events(stream + END, cuts) == expected


@given(objects, st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_a_stream_that_is_cut_off_is_not_taken_for_whole(held: list[bytes], cut: int) -> None:
    stream = b"".join(Head(oid_of(data, "sha256"), len(data)).to_line() + data for data in held) + END
    with pytest.raises(HeadwaterError) as caught:
        _events(stream[: cut % len(stream)], [])
    assert caught.value.rule == "frames"


@given(st.binary(max_size=200).filter(lambda data: not data.endswith(END)))
@settings(max_examples=50, deadline=None)
def test_anything_else_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(HeadwaterError) as caught:
        _events(data, [len(data) // 2])
    assert caught.value.rule in ("frames", "oid-malformed")


def test_a_line_without_end_is_given_up_early() -> None:
    reader = FrameReader()
    for _ in range(4):
        assert list(reader.feed(b"x" * 1000)) == []
    with pytest.raises(HeadwaterError, match="longer than"):
        list(reader.feed(b"x" * 1000))

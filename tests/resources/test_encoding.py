"""Compressed objects: what goes in comes out, and nothing unfolds further than it should."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.encoding import (
    MAGIC,
    compress_stream,
    compressed,
    decompress_blocks,
    decompressed,
    worth_compressing,
)
from schemas.errors import HeadwaterError

TEXT = b"a line that is said again and again\n" * 1000


def _blocks(data: bytes, length: int) -> list[bytes]:
    return [data[at : at + length] for at in range(0, len(data), length)]


def test_only_what_shrinks_is_compressed() -> None:
    small = compressed(TEXT)
    assert small is not None
    assert small.startswith(MAGIC)
    assert decompressed(small, len(TEXT)) == TEXT
    assert compressed(os.urandom(5000)) is None
    assert compressed(b"a" * 100) is None
    assert worth_compressing(TEXT)
    assert not worth_compressing(os.urandom(1 << 20))


@settings(max_examples=40, deadline=None)
@given(unit=st.binary(min_size=1, max_size=50), times=st.integers(0, 60_000), length=st.integers(1, 5000))
def test_streams_come_out_as_they_went_in(unit: bytes, times: int, length: int) -> None:
    data = unit * times
    made = io.BytesIO()
    compress_stream(io.BytesIO(data), made)
    stored = made.getvalue()
    assert b"".join(decompress_blocks(iter(_blocks(stored, length)), len(data))) == data
    assert b"".join(decompress_blocks(iter(_blocks(stored, length)), None)) == data


def test_a_bomb_is_stopped_at_the_length_it_should_have() -> None:
    made = io.BytesIO()
    compress_stream(io.BytesIO(bytes(64 << 20)), made)
    blocks = decompress_blocks(iter([made.getvalue()]), 1000)
    with pytest.raises(HeadwaterError, match="more than 1000 bytes"):
        next(blocks)
    largest = max(len(block) for block in decompress_blocks(iter([made.getvalue()]), None))
    assert largest <= 1 << 20


@pytest.mark.parametrize("length", [1, 7, 1 << 20])
def test_cut_doubled_and_foreign_frames_are_refused(length: int) -> None:
    stored = compressed(TEXT)
    assert stored is not None
    for bad in (stored[:-1], stored[:10], b"", stored + stored, stored + b"x", b"not a frame" * 20):
        with pytest.raises(HeadwaterError) as caught:
            b"".join(decompress_blocks(iter(_blocks(bad, length)), len(TEXT)))
        assert caught.value.rule == "object-encoding"
    with pytest.raises(HeadwaterError, match="cut off"):
        decompressed(stored, len(TEXT) + 1)

"""Content ids of three algorithms."""

from __future__ import annotations

import io

import pytest

from schemas.dvs.oids import ALGORITHMS, hasher, make_oid, oid_of, oid_of_stream, read_oid
from schemas.errors import HeadwaterError


def test_case_01_parsing() -> None:
    oid = "blake3:" + "0123456789abcdef" * 4
    assert read_oid(oid) == oid
    assert len(oid) == 71
    assert read_oid("BLAKE3:" + "0123456789ABCDEF" * 4) == oid
    for bad in ("nocolon", "unknown:abc", "blake3:short", "blake3:" + "g" * 64, "../../etc/passwd", ""):
        with pytest.raises(HeadwaterError):
            read_oid(bad)


@pytest.mark.parametrize(("algorithm", "length"), [("blake3", 64), ("sha256", 64), ("xxh3", 16)])
def test_case_04_lengths_and_streaming(algorithm: str, length: int) -> None:
    made = hasher(algorithm)
    made.update(b"hello ")
    made.update(b"world")
    assert len(made.hexdigest()) == length
    assert make_oid(algorithm, made.hexdigest()) == oid_of(b"hello world", algorithm)
    assert oid_of_stream(io.BytesIO(b"hello world" * 200_000), algorithm) == (
        oid_of(b"hello world" * 200_000, algorithm),
        2_200_000,
    )


def test_known_values() -> None:
    # The empty input's published digests: BLAKE3 and XXH3 test vectors, FIPS 180-4.
    assert [oid_of(b"", algorithm).partition(":")[2][:16] for algorithm in ALGORITHMS] == [
        "af1349b9f5f9a1a6",
        "e3b0c44298fc1c14",
        "2d06800538d394c2",
    ]


def test_another_algorithm_is_refused() -> None:
    with pytest.raises(HeadwaterError, match="md5"):
        oid_of(b"", "md5")

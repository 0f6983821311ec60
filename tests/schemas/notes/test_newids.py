"""New ids: long enough, never one that is taken, readable by qipu."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from ulid import ULID

from schemas.errors import HeadwaterError, UsageError
from schemas.ids import check_ulid
from schemas.notes.newids import HASH_LENGTH, SCHEMES, check_id, new_id

NOW = datetime(2026, 1, 12, 13, 7, 0, 123_456, tzinfo=UTC)


def free(_: str) -> bool:
    return False


def test_two_branches_of_ten_thousand_notes_clash_less_than_once_in_a_million() -> None:
    pairs = 10_000 * 10_000
    assert Fraction(pairs, 32**HASH_LENGTH) < Fraction(1, 10**6) < Fraction(pairs, 32 ** (HASH_LENGTH - 1))
    # The ids really use that many: 20,000 of them have no repeat, and every place takes every character.
    made = {new_id("hash", free, now=NOW, entropy=os.urandom) for _ in range(20_000)}
    assert len(made) == 20_000
    assert all(len({one[3 + place] for one in made}) == 32 for place in range(HASH_LENGTH))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ids_are_lower_case_and_valid(scheme: str) -> None:
    made = new_id(scheme, free, now=NOW, entropy=os.urandom)
    assert re.fullmatch(r"qp-[0-9a-z]+", made)
    assert check_id(made) == made


def test_ulids_are_ulids_and_sort_by_age() -> None:
    older = new_id("ulid", free, now=NOW, entropy=lambda n: b"\xff" * n)
    newer = new_id("ulid", free, now=NOW + timedelta(milliseconds=1), entropy=lambda n: b"\0" * n)
    assert check_ulid(older[3:].upper())
    assert older < newer
    assert older.endswith("z" * 16)
    assert ULID.from_str(older[3:].upper()).milliseconds == int(NOW.timestamp() * 1000)


def test_timestamps_are_unique_within_a_second() -> None:
    seen: set[str] = set()
    for _ in range(1500):
        seen.add(new_id("timestamp", seen.__contains__, now=NOW, entropy=os.urandom))
    assert len(seen) == 1500
    assert min(seen) == "qp-20260112130700123"


def test_taken_ids_are_not_given() -> None:
    draws = iter([b"\0" * 7, b"\0" * 7, b"\0" * 6 + b"\x01"])
    assert new_id("hash", lambda one: one == "qp-0000000000", now=NOW, entropy=lambda _n: next(draws)) == "qp-0000000001"
    with pytest.raises(HeadwaterError) as refused:
        new_id("hash", lambda _: True, now=NOW, entropy=lambda n: b"\0" * n)
    assert refused.value.rule == "note-id"
    with pytest.raises(ValueError, match="no scheme"):
        new_id("uuid", free, now=NOW, entropy=os.urandom)


@pytest.mark.parametrize("text", ["../x", "qp-a/b", "", "a b", "é", "a\n", "a" * 101, "qp.1"])
def test_case_11_ids_that_are_no_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        check_id(text)

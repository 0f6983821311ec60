"""Ids for new notes: three schemes, and what an id somebody chooses may look like.

Ids are lower-case and begin with `qp-`, so that every reader of qipu's format takes them, and so that names of files differ on
disks that do not tell cases apart. Which ids are taken is the caller's to know. Light: standard library only.

How long is long enough (`hash`): two branches that each add m notes meet in m² pairs, and a pair clashes with probability
1 / 32^k where ids have k random base-32 characters; within a branch an id that is taken is never given again. For m = 10,000 that
is 10^8 / 32^k, which must stay below 10^-6: 32^k > 10^14, so k ≥ 9.31. With HASH_LENGTH = 10 (50 bits, 1.13 · 10^15 ids) it is
8.9 · 10^-8; even all 20,000 notes drawn blindly (2 · 10^8 pairs) would clash with 1.8 · 10^-7 only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from schemas.errors import HeadwaterError, UsageError

PREFIX = "qp-"
SCHEMES = ("hash", "ulid", "timestamp")
HASH_LENGTH = 10
"""Random characters of a `hash` id."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: no i, l, o and u, which are misread (https://www.crockford.com/base32.html)."""
_OWN = re.compile(r"[A-Za-z0-9_-]+\Z")
_LONGEST = 100
_TRIES = 10_000


def new_id(scheme: str, taken: Callable[[str], bool], *, now: datetime, entropy: Callable[[int], bytes]) -> str:
    """An id that is not taken. `entropy(n)` gives n random bytes (`os.urandom`).

    `hash`: HASH_LENGTH random characters. `ulid`: the milliseconds of `now` and 80 random bits in 26 characters, so that ids
    sort by age (https://github.com/ulid/spec). `timestamp`: `now` in UTC to the millisecond, `qp-20260112130700123`, moved on by
    as many milliseconds as are taken. Raises ValueError for another scheme, HeadwaterError when all that is drawn is taken.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no scheme of ids is called {scheme!r}")
    for attempt in range(_TRIES):
        if scheme == "hash":
            made = _drawn(HASH_LENGTH, entropy)
        elif scheme == "ulid":
            made = _encoded(int(now.timestamp() * 1000), 10) + _drawn(16, entropy)
        else:
            moment = now.astimezone(UTC) + timedelta(milliseconds=attempt)
            made = moment.strftime("%Y%m%d%H%M%S") + f"{moment.microsecond // 1000:03d}"
        if not taken(PREFIX + made):
            return PREFIX + made
    raise HeadwaterError(
        f"{_TRIES:,} ids in a row are taken", rule="note-id", fix="give one with --id, or another id_scheme in config.toml"
    )


def check_id(text: str) -> str:
    """`text` when it can be an id: letters of ASCII, digits, `-` and `_`. Raises UsageError."""
    if not _OWN.match(text) or len(text) > _LONGEST:
        raise UsageError(
            f"{text[:_LONGEST]!r} is no id", rule="note-id", fix=f"use up to {_LONGEST} letters a-z, digits, '-' and '_'"
        )
    return text


def _drawn(length: int, entropy: Callable[[int], bytes]) -> str:
    """`length` characters of five random bits each."""
    return _encoded(int.from_bytes(entropy((length * 5 + 7) // 8), "big"), length)


def _encoded(number: int, length: int) -> str:
    """The lowest `length` base-32 digits of `number`."""
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))

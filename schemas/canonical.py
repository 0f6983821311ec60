"""Canonical JSON: the one spelling that digests, manifests and records are computed over.

Sorted keys, no insignificant white space, UTF-8 unescaped, no NaN or infinity: RFC 8785 for the values we use (strings,
integers, booleans, null, arrays, objects; floats in Python's shortest round-trip spelling). Light: standard library only.
"""

from __future__ import annotations

import json


def canonical_json(value: object) -> bytes:
    """`value` as canonical JSON bytes without a final line feed.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")

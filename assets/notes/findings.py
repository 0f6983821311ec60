"""What the index says is wrong, as findings for people: with the store's place before every path, and beside each link that leads
nowhere the names nearest to it.

Those names depend on everything in the store, so they are looked up when somebody reads, not noted down in the index. Light:
standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from assets.notes.resolve import key
from schemas.findings import Finding, Severity
from schemas.notes import rules

_CLOSE = 0.75
_MISTYPED = 0.9
_DIGITS = re.compile("[0-9]")
_NEAREST = 3
_LOOKED_AT = 200
_LOOKUPS = 2_000


def read_findings(connection: Any, root: str, *, nearest: bool = True) -> list[Finding]:
    """All findings of the index behind `connection`, sorted, with workspace-relative paths; `root` is the store's folder."""
    prefix = f"{root}/" if root else ""
    known: dict[str, list[str]] = {}
    found = []
    for path, rule, severity, message, line, col, fix, value, replacement in connection.execute(
        "SELECT path, rule, severity, message, line, col, fix, value, replacement FROM findings"
    ):
        finding = Finding(rule, Severity(severity), prefix + path, message, line, col, fix, value, replacement)
        if nearest and value and rule in (rules.BROKEN.id, rules.ATTACHMENT.id) and len(known) < _LOOKUPS:
            wanted = key(value.partition("#")[0])
            if wanted not in known:
                known[wanted] = nearest_names(connection, wanted)
            if known[wanted]:
                finding = replace(finding, fix=f"did you mean {' or '.join(known[wanted])}? Otherwise {fix}")
        found.append(finding)
    return sorted(found)


def nearest_names(connection: Any, wanted: str) -> list[str]:
    """Names of notes and paths of attachments whose key comes near the key `wanted`, nearest first, at most three.

    Only keys are looked at that begin as it does, the longer the common beginning the better.
    """
    return [_shown(connection, one) for one in _near_keys(connection, wanted)]


def near_targets(connection: Any, wanted: str) -> list[str]:
    """The paths of all notes and attachments that are called nearly as the key `wanted`, so nearly that one was probably mistyped
    for the other: few letters differ and no digit; sorted."""
    found: set[str] = set()
    for one in _near_keys(connection, wanted, _MISTYPED):
        if _DIGITS.findall(one) != _DIGITS.findall(wanted):
            continue
        query = (
            "SELECT path FROM names JOIN notes ON number = note WHERE key = ?1 UNION SELECT path FROM attachments WHERE key = ?1"
        )
        found.update(row[0] for row in connection.execute(query, (one,)))
    return sorted(found)


def _near_keys(connection: Any, wanted: str, cutoff: float = _CLOSE) -> list[str]:
    for keys in _beginning_alike(connection, wanted):
        close = get_close_matches(wanted, keys, _NEAREST, cutoff)
        if close:
            return close
    return []


def _beginning_alike(connection: Any, wanted: str) -> Iterator[list[str]]:
    before = 0
    for length in range(len(wanted), 1, -1):
        start = wanted[:length]
        keys = [
            row[0]
            for table in ("names", "attachments")
            for row in connection.execute(
                f"SELECT DISTINCT key FROM {table} WHERE key >= ? AND key < ? LIMIT {_LOOKED_AT}", (start, start + "\U0010ffff")
            )
        ]
        if len(keys) > before:
            yield keys
        before = len(keys)
        if before >= _LOOKED_AT:
            return


def _shown(connection: Any, one: str) -> str:
    row = connection.execute(
        "SELECT name FROM names WHERE key = ? ORDER BY instr('id stem title alias path', form), name", (one,)
    ).fetchone()
    row = row or connection.execute("SELECT path FROM attachments WHERE key = ? ORDER BY path", (one,)).fetchone()
    return repr(str(row[0]))

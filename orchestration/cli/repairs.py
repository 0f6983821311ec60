"""Safe repairs of text: findings that name exactly one right spelling, turned into edits of exactly those characters.

A finding is repaired only when its `value` still stands at its line and column; everything else in the file stays as it is.
Light.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resources.storage.base import Change, Storage
from schemas.edit import Edit, apply
from schemas.errors import InvalidText
from schemas.findings import Finding
from schemas.oid import bytes_oid
from schemas.text import decode

_SIZE_LIMIT = 1 << 30
_SHOWN_HUNK_LINES = 400


@dataclass(frozen=True, slots=True)
class Repair:
    """One file's repairs: its text before and after, how many there are, and the guarded write that applies them."""

    path: str
    before: str
    after: str
    count: int
    change: Change


def repairs(storage: Storage, findings: Iterable[Finding]) -> list[Repair]:
    """The repairs for every finding that has a replacement, one entry per file, sorted by path.

    Files that cannot be read as text are left to their findings.
    """
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.replacement is not None and finding.value and finding.line is not None and finding.column is not None:
            by_path.setdefault(finding.path, []).append(finding)
    made = []
    for path, mine in sorted(by_path.items()):
        repair = _repair(storage, path, mine)
        if repair is not None:
            made.append(repair)
    return made


def _repair(storage: Storage, path: str, findings: list[Finding]) -> Repair | None:
    data = storage.read(path)
    try:
        file = decode(data, path, limit=_SIZE_LIMIT)
    except InvalidText:
        return None
    starts = [0]
    for position, character in enumerate(file.text):
        if character == "\n":
            starts.append(position + 1)
    edits: dict[int, Edit] = {}
    for finding in findings:
        assert finding.line is not None
        assert finding.column is not None
        assert finding.value is not None
        assert finding.replacement is not None
        if finding.line > len(starts):
            continue
        start = starts[finding.line - 1] + finding.column - 1
        end = start + len(finding.value)
        if file.text[start:end] == finding.value and not any(start < edit.end and edit.start < end for edit in edits.values()):
            edits[start] = Edit(start, end, finding.replacement)
    if not edits:
        return None
    after = apply(file.text, [edits[start] for start in sorted(edits)])
    return Repair(path, file.text, after, len(edits), Change(path, file.encode(after), expect=bytes_oid(data)))


def unified(repair: Repair) -> Iterator[str]:
    """A unified diff of a repair without context, cut after some hundred lines."""
    lines = difflib.unified_diff(
        repair.before.splitlines(), repair.after.splitlines(), f"a/{repair.path}", f"b/{repair.path}", n=0, lineterm=""
    )
    for number, line in enumerate(lines):
        if number == _SHOWN_HUNK_LINES:
            yield "…"
            return
        yield line

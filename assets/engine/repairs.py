"""Safe repairs of text: what each kind knows to repair in its own formats, and findings that name exactly one right spelling,
turned into edits of exactly those characters.

A finding is repaired only when its `value` still stands at its line and column; everything else in the file stays as it is.
Light.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.storage.base import Change, Storage
from schemas.edit import Edit, apply
from schemas.errors import InvalidText
from schemas.findings import Finding
from schemas.oid import bytes_oid
from schemas.text import decode

if TYPE_CHECKING:
    from assets.engine.engine import Engine
    from assets.engine.model import Ref

_SIZE_LIMIT = 1 << 30
_SHOWN_HUNK_LINES = 400


@dataclass(frozen=True, slots=True)
class Repair:
    """One file's repairs: its text before and after, and the guarded write that applies them."""

    path: str
    before: str
    after: str
    change: Change

    @property
    def lines(self) -> int:
        """How many lines are changed or added."""
        before, after = Counter(self.before.splitlines(keepends=True)), Counter(self.after.splitlines(keepends=True))
        return max((after - before).total(), (before - after).total())


def all_repairs(engine: Engine, found: Mapping[Ref, list[Finding]]) -> list[Repair]:
    """The repairs of all findings (`Engine.check`), one entry per file, sorted by path: those of each kind (`Kind.fix`), and for
    files it leaves alone those of single findings."""
    storage = engine.workspace.root
    made: dict[str, Repair] = {}
    for ref, findings in found.items():
        kind = engine.kinds.get(ref.kind)
        if kind is None or kind.fix is None:
            continue
        for change in kind.fix.load()(storage, engine.store(ref).root, findings):
            if change.data is not None:
                present = storage.read(change.path) if storage.stat(change.path) is not None else b""
                before, after = _shown(present), _shown(change.data)
                made[change.path] = Repair(change.path, before, after, change)
    rest = (finding for findings in found.values() for finding in findings if finding.path not in made)
    made.update((repair.path, repair) for repair in repairs(storage, rest))
    return [repair for _, repair in sorted(made.items())]


def _shown(data: bytes) -> str:
    """A file's text with its byte-order mark, which a repair may remove."""
    return data.decode("utf-8", "replace")


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
    return Repair(path, file.text, after, Change(path, file.encode(after), expect=bytes_oid(data)))


def unified(repair: Repair) -> Iterator[str]:
    """A unified diff of a repair without context, cut after some hundred lines."""
    before, after = repair.before.splitlines(keepends=True), repair.after.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, f"a/{repair.path}", f"b/{repair.path}", n=0, lineterm="")
    for number, line in enumerate(lines):
        if number == _SHOWN_HUNK_LINES:
            yield "…"
            return
        yield line.rstrip("\r\n")
        if number > 1 and line[0] in "+-" and not line.endswith(("\r", "\n")):
            yield "\\ No line feed at the end of the file"

"""Three-way merge of one note: tags, links, aliases and sources as sets, the rest of the frontmatter key by key, the body line by
line.

Bytes in, bytes out; git gives the three versions and a path (`assets/notes/git.py` says how). What nobody changed, and what only
one side changed, is taken byte for byte. A key that both sides set differently, and lines of the body that both changed, stay
between git's markers with the common version in the middle (`diff3`), and the note counts as in conflict. Lines are merged by
`git merge-file`, so that the outcome is the one git users know.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from resources.notes.gitcalls import attempt
from schemas.document import Value, same
from schemas.errors import HeadwaterError, InvalidText
from schemas.notes import edit

_SETS = frozenset({"tags", "tag", "keywords", "keyword", "aliases", "alias", "links", "sources", "compacts"})
_LATEST = frozenset({"updated", "modified"})
_LABELS = ("ours", "base", "theirs")


class _Absent:
    """The value of a key that is not there."""


_ABSENT = _Absent()
_Maybe = Value | _Absent


def merge_note(base: bytes, ours: bytes, theirs: bytes, path: str, marker_size: int = 7) -> tuple[bytes, bool]:
    """(the merged note, whether nothing is in conflict). `base` is empty where both sides added the note.

    Raises GitError when git is missing.
    """
    if ours == theirs or theirs == base:
        return ours, True
    if ours == base:
        return theirs, True
    try:
        parts = [edit.split(data, path) for data in (base, ours, theirs)]
        values = [edit.frontmatter(data, path) for data in (base, ours, theirs)]
    except (InvalidText, UnicodeDecodeError):
        return _merge_lines(base, ours, theirs, marker_size)
    heads = [one.joined()[: len(one.joined()) - len(one.body)] for one in parts]
    head, clean_head = _merge_heads(heads, parts, values, path, marker_size)
    bodies = [one.body for one in parts]
    if bodies[1] == bodies[2] or bodies[2] == bodies[0]:
        body, clean_body = bodies[1], True
    elif bodies[1] == bodies[0]:
        body, clean_body = bodies[2], True
    else:
        body, clean_body = _merge_lines(bodies[0], bodies[1], bodies[2], marker_size)
    return head + body, clean_head and clean_body


def _merge_heads(
    heads: list[bytes], parts: list[edit.Parts], values: list[dict[str, Value]], path: str, marker_size: int
) -> tuple[bytes, bool]:
    base, ours, theirs = heads
    if ours == theirs or theirs == base:
        return ours, True
    if ours == base:
        return theirs, True
    wanted, conflicts = _merge_values(*values)
    if not conflicts:
        by_lines, clean = _merge_lines(base, ours, theirs, marker_size)
        if clean and _reads_as(by_lines, wanted, path):
            return by_lines, True
    changes: dict[edit.Key, Value] = {key: value for key, value in wanted.items() if not same(values[1].get(key), value)}
    changes |= {key: None for key in values[1] if key not in wanted}
    try:
        merged = edit.set_keys(replace(parts[1], body=b"").joined(), path, changes)
        if conflicts:
            newline = edit.line_end(merged)
            texts = {key: _with_markers(key, values, newline, marker_size) for key in conflicts}
            merged = edit.replace_keys_by_lines(merged, path, texts)
    except HeadwaterError:
        return _merge_lines(base, ours, theirs, marker_size)
    return merged, not conflicts


def _merge_values(
    base: Mapping[str, Value], ours: Mapping[str, Value], theirs: Mapping[str, Value]
) -> tuple[dict[str, Value], list[str]]:
    """The merged keys, ours where the two disagree, and the keys they disagree about."""
    made: dict[str, Value] = {}
    conflicts: list[str] = []
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        value, agree = _merge_value(key, base.get(key, _ABSENT), ours.get(key, _ABSENT), theirs.get(key, _ABSENT))
        if not isinstance(value, _Absent):
            made[key] = value
        if not agree:
            conflicts.append(key)
    return made, conflicts


def _merge_value(key: str, base: _Maybe, ours: _Maybe, theirs: _Maybe) -> tuple[_Maybe, bool]:
    if _equal(ours, theirs) or _equal(theirs, base):
        return ours, True
    if _equal(ours, base):
        return theirs, True
    if key.lower() in _SETS:
        merged = _union(_items(base), _items(ours), _items(theirs))
        return merged, True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        inner, conflicts = _merge_values(base if isinstance(base, dict) else {}, ours, theirs)
        return inner, not conflicts
    if key.lower() in _LATEST and not isinstance(ours, _Absent) and not isinstance(theirs, _Absent):
        mine, other = _moment(ours), _moment(theirs)
        if mine is not None and other is not None:
            return (theirs if other > mine else ours), True
    return ours, False


def _union(base: list[Value], ours: list[Value], theirs: list[Value]) -> list[Value]:
    """What either side has and neither took out, ours first."""
    kept = [item for item in ours if _holds(theirs, item) or not _holds(base, item)]
    return kept + [item for item in theirs if not _holds(ours, item) and not _holds(base, item)]


def _holds(items: list[Value], wanted: Value) -> bool:
    return any(same(item, wanted) for item in items)


def _items(value: _Maybe) -> list[Value]:
    if isinstance(value, list):
        return value
    return [] if value is None or isinstance(value, _Absent) else [value]


def _equal(one: _Maybe, other: _Maybe) -> bool:
    if isinstance(one, _Absent) or isinstance(other, _Absent):
        return one is other
    return same(one, other)


def _moment(value: _Maybe) -> float | None:
    """A date or time as seconds, for comparing."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if abs(value) >= 10**11 else float(value)
    try:
        made = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return made.timestamp() if made is not None else None


def _reads_as(head: bytes, wanted: Mapping[str, Value], path: str) -> bool:
    try:
        return same(edit.frontmatter(head, path), dict(wanted))
    except HeadwaterError:
        return False


def _with_markers(key: str, values: list[dict[str, Value]], newline: str, size: int) -> str:
    """Three versions of one key between markers."""
    base, ours, theirs = ("".join(line + newline for line in edit.key_lines(one, key)) for one in values)
    marks = [f"{'<' * size} {_LABELS[0]}", f"{'|' * size} {_LABELS[1]}", "=" * size, f"{'>' * size} {_LABELS[2]}"]
    return f"{marks[0]}{newline}{ours}{marks[1]}{newline}{base}{marks[2]}{newline}{theirs}{marks[3]}{newline}"


def _merge_lines(base: bytes, ours: bytes, theirs: bytes, marker_size: int) -> tuple[bytes, bool]:
    """`git merge-file` with the three texts, line ends as ours has them."""
    if edit.line_end(ours) != edit.line_end(theirs) or edit.line_end(ours) != edit.line_end(base):
        newline = edit.line_end(ours).encode()
        base, theirs = (data.replace(b"\r\n", b"\n").replace(b"\n", newline) for data in (base, theirs))
    with tempfile.TemporaryDirectory(prefix="headwater-merge-") as made:
        folder = Path(made)
        for name, data in zip(_LABELS, (ours, base, theirs), strict=True):
            (folder / name).write_bytes(data)
        labels = [part for name in _LABELS for part in ("-L", name)]
        code, out, _ = attempt(folder, ["merge-file", "-p", "-q", "--diff3", f"--marker-size={marker_size}", *labels, *_LABELS])
    if code > 127:  # not text
        return ours, False
    return out, code == 0


def main(arguments: Sequence[str]) -> int:
    """What git calls: `[--marker-size N] BASE OURS THEIRS PATH`, the first three files; the outcome replaces OURS.

    Returns 0 when nothing is in conflict, else 1.
    """
    words = list(arguments)
    size = 7
    if words[:1] == ["--marker-size"]:
        size = int(words[1])
        del words[:2]
    base, ours, theirs, path = words
    merged, clean = merge_note(Path(base).read_bytes(), Path(ours).read_bytes(), Path(theirs).read_bytes(), path, size)
    Path(ours).write_bytes(merged)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

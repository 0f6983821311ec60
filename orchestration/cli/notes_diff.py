"""A plan as a unified diff that shows what was moved as moved, as git does; `git apply` takes it.

Pure: what a plan holds goes in, text comes out.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.notes.changes import Plan

NULL = "/dev/null"


def difference(plan: Plan) -> str:
    """The changes of a plan as `git diff` shows them."""
    moved = renames(plan)
    sources = set(moved.values())
    parts = []
    for change in plan.changes:
        if change.data is None:
            if change.path not in sources:
                parts.append(_unified(change.path, None, plan.before.get(change.path), None))
        else:
            old = moved.get(change.path, change.path if change.path in plan.before else None)
            parts.append(_unified(old, change.path, plan.before.get(old or ""), change.data))
    return "".join(parts)


def records(plan: Plan) -> list[dict[str, str]]:
    """One record per file that the plan changes: its `path`, and its `change`: created, edited, removed, or moved with `from`."""
    moved = renames(plan)
    sources = set(moved.values())
    made = []
    for change in plan.changes:
        if change.path in moved:
            made.append({"path": change.path, "change": "moved", "from": moved[change.path]})
        elif change.data is not None:
            made.append({"path": change.path, "change": "edited" if change.path in plan.before else "created"})
        elif change.path not in sources:
            made.append({"path": change.path, "change": "removed"})
    return made


def renames(plan: Plan) -> dict[str, str]:
    """New path -> old path of what the plan moves, found by equal text, then by equal name, then as the only pair of a kind."""
    gone = {change.path: plan.before.get(change.path, b"") for change in plan.changes if change.data is None}
    fresh = {change.path: change.data for change in plan.changes if change.data is not None and change.path not in plan.before}
    found: dict[str, str] = {}
    by_data: dict[bytes, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for path, data in gone.items():
        by_data.setdefault(data, []).append(path)
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    for new, data in fresh.items():
        for candidates in (by_data.get(data, []), by_name.get(new.rpartition("/")[2], [])):
            old = next((path for path in candidates if path in gone), None)
            if old is not None:
                found[new] = old
                del gone[old]
                break
    rest = [new for new in fresh if new not in found]
    if len(rest) == len(gone) == 1 and rest[0].rpartition(".")[2] == next(iter(gone)).rpartition(".")[2]:
        found[rest[0]] = next(iter(gone))
    return found


def _unified(old: str | None, new: str | None, before: bytes | None, after: bytes | None) -> str:
    """The difference of one file, with both names; bytes that are no text are said to differ."""
    names = (NULL if old is None else f"a/{old}", NULL if new is None else f"b/{new}")
    moved = ""
    if old is not None and new is not None and old != new:
        moved = f"diff --git a/{old} b/{new}\nrename from {old}\nrename to {new}\n"
    if before == after:
        return moved
    try:
        texts = [(data or b"").decode("utf-8") for data in (before, after)]
    except UnicodeDecodeError:
        texts = ["\0"]
    if any("\0" in text for text in texts):
        return f"{moved}Binary files {names[0]} and {names[1]} differ\n"
    # Lines as editors count them: not at every sign that Unicode calls a line separator.
    sides = [text.removesuffix("\n").split("\n") if text else [] for text in texts]
    sides = [[f"{line}\n" for line in side] for side in sides]
    for text, side in zip(texts, sides, strict=True):
        if side and not text.endswith("\n"):
            side[-1] = side[-1].removesuffix("\n")
    lines = list(difflib.unified_diff(sides[0], sides[1], *names)) or [f"--- {names[0]}\n", f"+++ {names[1]}\n"]
    return moved + "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

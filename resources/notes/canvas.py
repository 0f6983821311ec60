"""Obsidian's canvases (`*.canvas`, JSON Canvas 1.0): the files that their nodes show follow when those move.

Only the one value of each such node is replaced; a canvas that cannot be read is left alone. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from resources.notes.changes import Draft
from schemas import json_text
from schemas.errors import InvalidText
from schemas.text import Limits

SUFFIX: Final = ".canvas"
_LIMITS: Final = Limits(size=16 << 20, depth=32, values=1_000_000)


def follow(draft: Draft, moved: Mapping[str, str]) -> int:
    """Let every canvas of the store show moved files (old path -> new one) at their new place; returns how many nodes did."""
    count = 0
    for path in draft.store.attachment_paths():
        if not path.endswith(SUFFIX):
            continue
        place = moved.get(path, path)
        data, changed = rewritten(draft.read(place), place, moved)
        if changed:
            draft.write(place, data)
            cards = f"{changed} card{'s' if changed != 1 else ''}"
            draft.lines.append(f"{draft.store.workspace_path(place)}: {cards} lead to the new place")
            count += changed
    return count


def rewritten(data: bytes, path: str, moved: Mapping[str, str]) -> tuple[bytes, int]:
    """The canvas with the `file` of its nodes changed, and how many were."""
    try:
        document = json_text.read(data, path, limits=_LIMITS)
    except InvalidText:
        return data, 0
    value = document.value
    nodes = value.get("nodes") if isinstance(value, dict) else None
    changed = 0
    for position, node in enumerate(nodes if isinstance(nodes, list) else ()):
        named = node.get("file") if isinstance(node, dict) else None
        if isinstance(named, str) and named in moved and moved[named] != named:
            document = document.set(("nodes", position, "file"), moved[named])
            changed += 1
    return document.data, changed

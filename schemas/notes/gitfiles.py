"""What git should know about a notes store: what is derived, how notes are merged. Light: standard library only.

The texts, and what is missing from files people already have.
"""

from __future__ import annotations

import re

MERGE_DRIVER = "headwater-notes"
"""The name of the merge driver, in `.gitattributes` and in git's settings."""

GITIGNORE = """\
# Derived from the notes by Headwater; delete it whenever you like.
/qipu.db
/qipu.db-*
/.cache/
*.hwtmp
"""

GITATTRIBUTES = f"""\
# Notes merge with tags and links as sets, once `headwater git setup` was run in a clone.
*.md -text merge={MERGE_DRIVER}
*.markdown -text merge={MERGE_DRIVER}
"""
"""git leaves the line ends of notes alone: they are kept byte for byte."""

_MARKERS = re.compile(rb"^<{7,}(?: [^\n]*)?\r?\n(?s:.*?)^={7,}\r?\n(?s:.*?)^>{7,}(?: |\r?$)", re.MULTILINE)


def has_markers(data: bytes) -> int | None:
    """The line of the first unresolved conflict in a file that git merged, None where there is none."""
    match = _MARKERS.search(data)
    return None if match is None else data.count(b"\n", 0, match.start()) + 1


def with_line(present: str, line: str, *, same: frozenset[str] = frozenset()) -> str:
    """`present` (a `.gitignore` or the like) with `line` at its end, as it is where it says that, or one of `same`, already."""
    said = {row.strip() for row in present.splitlines()}
    if line in said or said & same:
        return present
    newline = "\r\n" if "\r\n" in present else "\n"
    lead = newline if present and not present.endswith("\n") else ""
    return f"{present}{lead}{line}{newline}"


def spellings(folder: str) -> frozenset[str]:
    """The lines that have git ignore a folder of the root."""
    return frozenset({f"/{folder}/", f"/{folder}", f"{folder}/", folder})

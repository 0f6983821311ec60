"""What is wrong with a link, said of each mention from its own row: where it stands, what it names and where that leads.

Nothing here depends on what else the store holds, so that a note that appears changes the findings of the links it answers and no
others; the names nearest to a broken link are looked up when findings are read (`assets.notes.findings`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from assets.notes import resolve
from assets.notes.rows import Row, finding_row
from schemas.findings import Finding, Rule, Severity, found
from schemas.notes import rules
from schemas.notes.model import MentionKind

COLUMNS = "position, kind, type, target, anchor, line, col, rule, spelling, state, target_path, candidates"
"""The columns of a mention that decide."""

_FILE = re.compile(r"\.[a-z0-9]{1,5}$", re.IGNORECASE)
_FILE_KINDS = (MentionKind.EMBED, MentionKind.MARKDOWN, MentionKind.IMAGE)
_SHOWN = 5


def link_findings(mentions: Iterable[Row]) -> Iterator[Row]:
    """The findings (see `finding_row`) of a note's mentions, each given as COLUMNS, in their order."""
    for mention in mentions:
        _, _, _, target, anchor, *_, rule, spelling, state, _, _ = mention
        if state == resolve.BROKEN:
            yield _broken(mention)
        elif state == resolve.BROKEN_ANCHOR:
            yield _broken_anchor(mention)
        elif state == resolve.AMBIGUOUS:
            yield _ambiguous(mention)
        elif state == resolve.SELF and target and anchor is None:
            yield _say(rules.SELF, mention, "the note links to itself", "name a heading or a block of it, or drop the link")
        elif state == resolve.EXTERNAL and rule == "outside":
            yield _say(rules.OUTSIDE, mention, "leads out of the store", "move what it names into the store, or link its address")
        if spelling == "case":
            yield _case(mention)


def _say(rule: Rule, mention: Row, message: str, fix: str, replacement: str | None = None) -> Row:
    _, _, _, target, anchor, line, column, *_ = mention
    value = target if anchor is None else f"{target}#{anchor}"
    return finding_row(found(rule, "", message, line=line, column=column, fix=fix, value=value, replacement=replacement))


def _broken(mention: Row) -> Row:
    _, kind, _, target, *_ = mention
    if kind in _FILE_KINDS and _FILE.search(target) and resolve.without_extension(target) == target:
        return _say(rules.ATTACHMENT, mention, f"there is no file {target!r}", "put the file there, or correct the path")
    if kind in resolve.WIKI_KINDS:
        message = f"there is no note {target!r}"
    else:
        message = f"there is no note or file at {target!r}"
    return _say(rules.BROKEN, mention, message, "write that note, or link one that exists")


def _broken_anchor(mention: Row) -> Row:
    _, _, _, _, anchor, *_, path, _ = mention
    what = f"block {anchor}" if anchor.startswith("^") else f"heading {anchor!r}"
    return _say(rules.BROKEN_ANCHOR, mention, f"{path} has no {what}", "name one that the note has")


def _ambiguous(mention: Row) -> Row:
    paths = json.loads(mention[-1])
    many = f"{len(paths)} or more" if len(paths) == resolve.MOST_CANDIDATES else str(len(paths))
    shown = ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
    return _say(rules.AMBIGUOUS, mention, f"{mention[3]!r} fits {many}: {shown}", "link the one that is meant by its path or id")


def _case(mention: Row) -> Row:
    path = mention[-2]
    leads = f"leads to {path}" if path is not None else "leads to several"
    return _say(
        rules.CASE, mention, f"{mention[3]!r} {leads} only if case is ignored", "spell it as the note or the file it leads to"
    )


def with_path(path: str, row: Row) -> Finding:
    """The finding that a row without its path is of."""
    rule, severity, message, line, column, fix, value, replacement = row
    return Finding(rule, Severity(severity), path, message, line, column, fix, value, replacement)

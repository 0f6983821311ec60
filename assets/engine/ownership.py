"""Whose file is it? What lies at an output path, and what may therefore happen to it (design section 3).

Pure decisions over oids; reading what lies there is `assets.engine.places`, acting on the decision `assets.engine.publish`.
Light.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from assets.engine.model import Ownership, Policy
from assets.engine.places import Key, Present
from assets.engine.provenance import Provenance
from assets.engine.recipe import Confirm
from schemas.oid import json_oid

_SEVERITY = (Ownership.NOTHING, Ownership.EQUAL, Ownership.OURS, Ownership.EDITED, Ownership.UNKNOWN)


def classify(
    present: Mapping[Key, Present], record: Provenance | None, expected: Mapping[Key, str] | None
) -> dict[Key, Ownership]:
    """Whose each path is: the present ones, and those that `record` lists or `expected` would write.

    `expected` holds the oids of what would be built, None while that is not known. A file that neither lists (an extra one
    in an output folder, a database's journal) is edited where the artifact is ours, else unknown.
    """
    ours = record.output_oids() if record is not None else {}
    whose: dict[Key, Ownership] = {}
    for key in present.keys() | ours.keys() | (expected or {}).keys():
        here = present.get(key)
        if here is None:
            whose[key] = Ownership.NOTHING
        elif expected is not None and expected.get(key) == here.oid:
            whose[key] = Ownership.EQUAL
        elif ours.get(key) == here.oid:
            whose[key] = Ownership.OURS
        elif ours:
            whose[key] = Ownership.EDITED
        else:
            whose[key] = Ownership.UNKNOWN
    return whose


def worst(whose: Mapping[Key, Ownership]) -> Ownership:
    """The one that decides for the artifact as a whole."""
    return max(whose.values(), key=_SEVERITY.index, default=Ownership.NOTHING)


def all_equal(whose: Mapping[Key, Ownership]) -> bool:
    """Whether what would be built lies there already, complete and with nothing beside it."""
    return bool(whose) and all(ownership is Ownership.EQUAL for ownership in whose.values())


def plan_digest(fingerprint: str, present: Mapping[Key, Present]) -> str:
    """What a yes is bound to: the fingerprint that would be built and the files that would be replaced."""
    files = {f"{place}:{path}": here.oid for (place, path), here in present.items()}
    return json_oid({"fingerprint": fingerprint, "present": files})


class Verdict(StrEnum):
    """What may happen to the files in the way."""

    REPLACE = "replace"
    RESCUE = "rescue first, then replace"
    ASK = "ask"
    REFUSE = "refuse"


def decide(ownership: Ownership, policy: Policy, confirm: Confirm, plan: str, *, derived: bool = False) -> Verdict:
    """The whose-file table for replacing: one cell per ownership and way of running.

    A yes (`--yes`, the plan's digest, or the answer at a terminal) turns ASK into REPLACE or RESCUE. What the text's format
    itself says is `derived` needs none (docs/adr/0011).
    """
    agreed = policy.yes or plan in policy.confirm
    if ownership in (Ownership.NOTHING, Ownership.EQUAL):
        return Verdict.REPLACE
    if ownership is Ownership.OURS:
        if agreed or policy.ask is None or confirm is Confirm.NEVER:
            return Verdict.REPLACE
        return Verdict.ASK
    if agreed or derived:
        return Verdict.RESCUE
    return Verdict.REFUSE if policy.ask is None else Verdict.ASK


def may_clean(ownership: Ownership) -> bool:
    """The `clean` column of the table: only what lies there unchanged since we wrote it is deleted."""
    return ownership is Ownership.OURS

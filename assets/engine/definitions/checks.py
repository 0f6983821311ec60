"""The checks of a store: they look at it as a whole and only show; the recipes themselves refuse invalid text."""

# No `from __future__ import annotations` here: Dagster reads the type of the context parameter and does not resolve a string.

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets.engine.definitions.events import findings_table
from assets.engine.definitions.keys import source_key
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Ref, Store
from assets.engine.recipe import Kind
from schemas.errors import HeadwaterError
from schemas.ids import escape_name

TEXT_CHECK = "text"
PRESENT_CHECK = "present"
REPRODUCIBLE_CHECK = "reproducible"
CHECKS = {
    TEXT_CHECK: "The store's text breaks no rule: what `headwater check` prints, counted by rule.",
    PRESENT_CHECK: "The store is where it was found before; a store that vanished keeps its last versions and fails here.",
    REPRODUCIBLE_CHECK: "Each artifact, built again in a scratch folder, equals what is there: what `headwater verify` does.",
}
"""The checks of every store and what each proves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    warning: bool = False


def store_checks(store: Store, kind: Kind) -> dg.AssetChecksDefinition:
    """The checks of a store, on its first source: they look at the store as a whole, and there they run when asked for (by hand
    or by the scheduled job), not with every build. A check only shows; the recipes themselves refuse invalid text."""
    anchor = source_key(Ref(store.kind, store.name, kind.sources[0].name))

    @dg.multi_asset_check(
        name="__".join([store.kind, escape_name(store.name), "checks"]),
        specs=[dg.AssetCheckSpec(name, asset=anchor, description=description) for name, description in CHECKS.items()],
        required_resource_keys={SESSION},
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        session: BuildSession = getattr(context.resources, SESSION)
        verdicts = {TEXT_CHECK: check_text, PRESENT_CHECK: check_present, REPRODUCIBLE_CHECK: check_reproducible}
        selected = {key.name for key in context.selected_asset_check_keys}
        for name, verdict in verdicts.items():
            if name in selected:
                yield _guarded(name, anchor, lambda verdict=verdict: verdict(session, store))  # type: ignore[misc]  # bound per turn

    return check


def _guarded(name: str, anchor: dg.AssetKey, look: Callable[[], Verdict]) -> dg.AssetCheckResult:
    """The verdict as Dagster's result; a store that cannot be read fails its check instead of ending the others."""
    try:
        verdict = look()
    except (HeadwaterError, OSError) as error:
        verdict = Verdict(False, str(error))
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=anchor,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if verdict.warning else dg.AssetCheckSeverity.ERROR,
        description=verdict.description,
        metadata=verdict.metadata,
    )


def check_text(session: BuildSession, store: Store) -> Verdict:
    """Every finding over the store's text, counted by rule. Warnings alone pass with a remark."""
    findings = [
        found
        for owner, found_there in session.engine.check([f"{store.kind}/{store.name}/*"]).items()
        if (owner.kind, owner.store) == (store.kind, store.name)
        for found in found_there
    ]
    rules = Counter(found.rule for found in findings)
    blocking = sum(found.blocking for found in findings)
    metadata: dict[str, Any] = {"findings": len(findings), "blocking": blocking}
    metadata |= {f"rule/{rule}": count for rule, count in sorted(rules.items())}
    if findings:
        metadata["list"] = findings_table(findings)
    text = f"{len(findings)} findings, {blocking} of them blocking" if findings else "no findings"
    return Verdict(blocking == 0, text, metadata)


def check_present(session: BuildSession, store: Store) -> Verdict:
    """Whether discovery still finds the store."""
    there = any((one.kind, one.name) == (store.kind, store.name) and one.present for one in session.engine.stores())
    place = store.root or "the workspace root"
    return Verdict(there, f"found at {place}" if there else f"{place} no longer holds this store")


def check_reproducible(session: BuildSession, store: Store) -> Verdict:
    """Every artifact built again in scratch and compared by its class."""
    verified = session.engine.verify([f"{store.kind}/{store.name}/*"])
    records = [
        dg.TableRecord(
            {
                "artifact": one.ref.name,
                "class": str(one.reproducibility),
                "equal": one.ok,
                "differences": "; ".join(one.differences),
            }
        )
        for one in verified
    ]
    columns = [dg.TableColumn(name) for name in ("artifact", "class", "equal", "differences")]
    different = [one.ref.name for one in verified if not one.ok]
    text = f"not reproduced: {', '.join(different)}" if different else f"{len(verified)} artifacts reproduced"
    return Verdict(not different, text, {"artifacts": dg.MetadataValue.table(records, schema=dg.TableSchema(columns))})

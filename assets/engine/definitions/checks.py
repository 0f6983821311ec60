"""The checks of a store: they look at it as a whole and only show; the recipes themselves refuse invalid text."""

# No `from __future__ import annotations` here: Dagster reads the type of the context parameter and does not resolve a string.

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.engine.definitions.events import findings_table
from assets.engine.definitions.keys import source_key
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Ref, Store
from assets.engine.recipe import Kind
from schemas.errors import HeadwaterError
from schemas.findings import Finding
from schemas.ids import escape_name

if TYPE_CHECKING:
    from assets.engine.verify import Verification

TEXT_CHECK = "text"
PRESENT_CHECK = "present"
REPRODUCIBLE_CHECK = "reproducible"
CHECKS = {
    TEXT_CHECK: "The store's text breaks no rule: what `headwater check` prints, counted by rule.",
    PRESENT_CHECK: "The store is where it was found before; a store that vanished keeps its last versions and fails here.",
    REPRODUCIBLE_CHECK: "Each artifact, built again in a scratch folder, equals what is there: what `headwater verify` does.",
}
"""The checks of every store and what each proves."""
FOLD_CHECK = "incremental_equals_rebuild"
"""The check of a store with artifacts that are kept up to date by folding."""
_FOLD_MEANS = "What is kept up to date piece by piece ({names}) says what a build from nothing says: it is built so and compared."


def anchor_of(store: Store, kind: Kind) -> dg.AssetKey:
    """The asset that the checks of a store hang on: its first source."""
    return source_key(Ref(store.kind, store.name, kind.sources[0].name))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


def store_checks(store: Store, kind: Kind) -> dg.AssetChecksDefinition:
    """The checks of a store, on its first source: they look at the store as a whole, and there they run when asked for (by hand
    or by the scheduled job), not with every build. A check only shows; the recipes themselves refuse invalid text.

    A store with artifacts that are kept up to date by folding has one more, which proves the folding; it hangs there too, because
    on the artifact itself it would run whenever that is built, and cost more than the build."""
    anchor = anchor_of(store, kind)
    folded = [Ref(store.kind, store.name, recipe.name) for recipe in kind.recipes if recipe.fold is not None]
    meanings = dict(CHECKS)
    if folded:
        meanings[FOLD_CHECK] = _FOLD_MEANS.format(names=", ".join(ref.name for ref in folded))

    @dg.multi_asset_check(
        name="__".join([store.kind, escape_name(store.name), "checks"]),
        specs=[dg.AssetCheckSpec(name, asset=anchor, description=description) for name, description in meanings.items()],
        required_resource_keys={SESSION},
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        session: BuildSession = getattr(context.resources, SESSION)
        looks: dict[str, Callable[[], Verdict]] = {
            TEXT_CHECK: partial(check_text, session, store),
            PRESENT_CHECK: partial(check_present, session, store),
            REPRODUCIBLE_CHECK: partial(check_reproducible, session, store),
            FOLD_CHECK: partial(check_folds, session, folded),
        }
        selected = {key.name for key in context.selected_asset_check_keys}
        for name, look in looks.items():
            if name in selected:
                yield guarded(name, anchor, look)

    return check


def guarded(name: str, anchor: dg.AssetKey, look: Callable[[], Verdict]) -> dg.AssetCheckResult:
    """The verdict as Dagster's result; a store that cannot be read fails its check instead of ending the others."""
    try:
        verdict = look()
    except (HeadwaterError, OSError) as error:
        verdict = Verdict(False, str(error))
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=anchor,
        passed=verdict.passed,
        severity=verdict.severity,
        description=verdict.description,
        metadata=verdict.metadata,
    )


def check_text(session: BuildSession, store: Store) -> Verdict:
    """Every finding over the store's text, counted by rule; warnings alone pass with a remark."""
    if not store.present:
        return Verdict(False, "the store is gone; see the check `present`")
    return text_verdict(session.engine.checks.findings(store), session.engine.kinds[store.kind])


def text_verdict(findings: Sequence[Finding], kind: Kind) -> Verdict:
    """The findings as a verdict: any error fails it, also of a kind that builds in spite of errors."""
    rules = Counter(found.rule for found in findings)
    blocking = sum(found.blocking for found in findings)
    metadata: dict[str, Any] = {"findings": len(findings), "errors" if kind.quarantines else "blocking": blocking}
    metadata |= {f"rule: {rule}": count for rule, count in sorted(rules.items())}
    if findings:
        metadata["list"] = findings_table(findings)
    noun = "finding" if len(findings) == 1 else "findings"
    many = f"errors: {blocking}" if kind.quarantines else f"{blocking} of them blocking"
    text = f"{len(findings)} {noun}, {many}" if findings else "no findings"
    return Verdict(blocking == 0, text, metadata)


def evaluations(
    session: BuildSession, instance: dg.DagsterInstance, kind: Kind, store: Store, *, look: bool
) -> list[dg.AssetCheckEvaluation]:
    """The cheap checks of a store (`text` and `present`) as events, as far as they say something else than Dagster's last record.

    `look` reads text that was not checked yet; without it such text goes unmentioned. Findings that an artifact holds are waited
    for until that is built: nobody expects a build inside a sensor.
    """
    if not kind.sources:
        return []
    if look and store.present and kind.findings_of is not None:
        look = session.engine.observer.standing(Ref(store.kind, store.name, kind.findings_of)).fresh
    anchor = anchor_of(store, kind)
    verdicts = {PRESENT_CHECK: check_present(session, store)}
    if store.present:
        try:
            found = session.engine.checks.findings(store) if look else session.engine.checks.known(store)
        except (HeadwaterError, OSError) as error:
            verdicts[TEXT_CHECK] = Verdict(False, str(error))
        else:
            if found is not None:
                verdicts[TEXT_CHECK] = text_verdict(found, kind)
    return changed(instance, anchor, verdicts)


def changed(instance: dg.DagsterInstance, anchor: dg.AssetKey, verdicts: Mapping[str, Verdict]) -> list[dg.AssetCheckEvaluation]:
    """The verdicts (by the name of their check) that say something else than Dagster's last record, as events."""
    keys = {name: dg.AssetCheckKey(anchor, name) for name in verdicts}
    last = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys.values()))
    made = []
    for name, verdict in verdicts.items():
        record = last.get(keys[name])
        event = record.event if record is not None else None
        known = event.dagster_event.event_specific_data if event is not None and event.dagster_event is not None else None
        if not isinstance(known, dg.AssetCheckEvaluation) or (known.passed, known.description) != (
            verdict.passed,
            verdict.description,
        ):
            made.append(
                dg.AssetCheckEvaluation(
                    asset_key=anchor,
                    check_name=name,
                    passed=verdict.passed,
                    metadata=verdict.metadata,
                    severity=verdict.severity,
                    description=verdict.description,
                )
            )
    return made


def check_present(session: BuildSession, store: Store) -> Verdict:
    """Whether discovery still finds the store."""
    there = any((one.kind, one.name) == (store.kind, store.name) and one.present for one in session.engine.stores())
    place = store.root or "the workspace root"
    return Verdict(there, f"found at {place}" if there else f"{place} no longer holds this store")


def check_folds(session: BuildSession, folded: Sequence[Ref]) -> Verdict:
    """The artifacts that are kept up to date by folding, built in scratch without their previous outputs and compared."""
    verified = [one for ref in folded for one in session.engine.verify([str(ref)]) if one.ref == ref]
    return _verified(verified, "equals a build from nothing: {names}", "differs from a build from nothing: {names}")


def check_reproducible(session: BuildSession, store: Store) -> Verdict:
    """Every artifact built again in scratch and compared by its class."""
    selected = session.engine.verify([f"{store.kind}/{store.name}/*"])
    # A store's name may hold a wildcard itself.
    verified = [one for one in selected if (one.ref.kind, one.ref.store) == (store.kind, store.name)]
    return _verified(verified, f"{len(verified)} artifacts reproduced", "not reproduced: {names}")


def _verified(verified: "Sequence[Verification]", passed: str, failed: str) -> Verdict:
    """The outcome of verifications, one row each; `{names}` in the texts are the artifacts meant."""
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
    text = (failed if different else passed).format(names=", ".join(different or [one.ref.name for one in verified]))
    return Verdict(not different, text, {"artifacts": dg.MetadataValue.table(records, schema=dg.TableSchema(columns))})

"""The checks of versioned data: whether the objects are whole, whether manifest and sidecars agree, whether anything is in one
place only.

They hang on the first source of a store, beside the checks that every store has. What they judge is found elsewhere: objects in
`resources.dvs.scrub`, text in `resources.dvs.findings`, the rest in `assets.dvs.states`.
"""

# No `from __future__ import annotations` here: Dagster reads the types of the parameters and does not resolve strings.

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.dvs.definitions.external import opened
from assets.dvs.states import SHOWN, look
from assets.engine.definitions.checks import Verdict, anchor_of, guarded
from assets.engine.definitions.events import findings_table
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Store
from assets.engine.recipe import Kind
from resources.dvs.findings import DRIFT
from resources.dvs.scrub import MISSING, scrub
from schemas.dvs.manifest import FILE as MANIFEST
from schemas.ids import escape_name
from schemas.paths import escaped

if TYPE_CHECKING:
    from assets.dvs.states import States

INTACT_CHECK = "objects_intact"
MANIFEST_CHECK = "manifest_matches_sidecars"
SYNCED_CHECK = "nothing_unsynced"
CHECKS = {
    INTACT_CHECK: (
        "Every object that the text names is whole where this machine keeps it: as many as the time allows are read back, those "
        "whose proof is the oldest first, and what was found bad stays bad until it is read back whole."
    ),
    MANIFEST_CHECK: "The manifest names the same object as the sidecar for every file; else something would not be pushed.",
    SYNCED_CHECK: (
        "Nothing is in one place only: no file has bytes that no sidecar records, and a remote is proved to hold every object "
        "(where a remote is set)."
    ),
}
"""The checks of every store of versioned data and what each proves."""


class CheckConfig(dg.Config):
    """The run config of the checks."""

    minutes: float = Field(default=10.0, ge=0, description="How long `objects_intact` may read objects back.")


def data_checks(store: Store, kind: Kind) -> dg.AssetChecksDefinition:
    """The checks of one store."""
    anchor = anchor_of(store, kind)

    @dg.multi_asset_check(
        name="__".join([store.kind, escape_name(store.name), "data_checks"]),
        specs=[dg.AssetCheckSpec(name, asset=anchor, description=description) for name, description in CHECKS.items()],
        required_resource_keys={SESSION},
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext, config: CheckConfig) -> Iterator[dg.AssetCheckResult]:
        session: BuildSession = getattr(context.resources, SESSION)
        looks: dict[str, Callable[[], Verdict]] = {
            INTACT_CHECK: lambda: check_intact(session, store, config.minutes),
            MANIFEST_CHECK: lambda: check_manifest(session, store),
            SYNCED_CHECK: lambda: check_synced(session, store),
        }
        selected = {key.name for key in context.selected_asset_check_keys}
        for name, look_at in looks.items():
            if name in selected:
                yield guarded(name, anchor, look_at)

    return check


def check_intact(session: BuildSession, store: Store, minutes: float) -> Verdict:
    """Read back what the time allows, then judge everything by how it was last read."""
    if not _there(session, store):
        return _gone()
    with opened(session, store) as repo:
        for _proof in scrub(repo, seconds=60 * minutes):
            pass
        return intact_verdict(look(repo))


def check_manifest(session: BuildSession, store: Store) -> Verdict:
    """Whether manifest and sidecars say the same, from what is known of the store's text."""
    if not _there(session, store):
        return _gone()
    found = session.engine.checks.findings(store)
    manifest = f"{store.root}/{MANIFEST}" if store.root else MANIFEST
    unread = [one for one in found if one.path == manifest and one.blocking]
    if unread:
        return Verdict(False, "the manifest cannot be read", {"list": findings_table(unread)})
    drift = [one for one in found if one.rule == DRIFT.id]
    if not drift:
        return Verdict(True, "they name the same objects", {"differences": 0})
    metadata = {"differences": len(drift), "list": findings_table(drift)}
    text = f"they differ in {_counted(len(drift), 'place')}: `headwater check --fix` brings the manifest in step"
    return Verdict(False, text, metadata, dg.AssetCheckSeverity.WARN)


def check_synced(session: BuildSession, store: Store) -> Verdict:
    """Whether anything exists in one place only, now."""
    if not _there(session, store):
        return _gone()
    with opened(session, store) as repo:
        return synced_verdict(look(repo))


def intact_verdict(states: "States") -> Verdict:
    """How the objects were found when they were last read back. An object that is not here is no damage as long as a remote is
    proved to hold it."""
    standing = states.standing
    bad = {oid: one for oid, one in standing.bad.items() if one.result != MISSING or oid not in states.elsewhere}
    metadata: dict[str, Any] = {
        "objects": standing.named,
        "read back whole": standing.proved,
        "never read": standing.never,
        "bad": len(bad),
        "at a remote only": len(standing.bad) - len(bad),
    }
    if standing.oldest is not None:
        metadata["oldest proof"] = dg.MetadataValue.timestamp(float(standing.oldest))
    if not bad:
        later = f", {standing.never:,} not yet" if standing.never else ""
        return Verdict(True, f"{_counted(standing.proved, 'object')} read back whole{later}", metadata)
    records = [
        dg.TableRecord({"oid": oid, "result": one.result, "file": escaped(states.named.get(oid, ""))})
        for oid, one in sorted(bad.items())[:SHOWN]
    ]
    columns = [dg.TableColumn(name) for name in ("oid", "result", "file")]
    metadata["list"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
    missing = sum(one.result == MISSING for one in bad.values())
    parts = [_counted(len(bad) - missing, "object") + " damaged"] if len(bad) > missing else []
    parts += [_counted(missing, "object") + " missing"] if missing else []
    return Verdict(False, f"{' and '.join(parts)}: `headwater dvs verify` shows where", metadata)


def synced_verdict(states: "States") -> Verdict:
    """What is in one place only."""
    unsynced = states.tree.unsynced if states.tree is not None else []
    rows = [(path, "its bytes are recorded nowhere") for path in unsynced]
    rows += [(path, "no remote is proved to hold its object") for path in states.unproved.values()]
    metadata: dict[str, Any] = {"unsynced files": len(unsynced), "objects at no remote": len(states.unproved)}
    if not states.remotes:
        metadata["remotes"] = 0
    if not rows:
        alone = "every file is recorded; no remote is set, so the storage alone holds the objects"
        return Verdict(True, "nothing is in one place only" if states.remotes else alone, metadata)
    records = [dg.TableRecord({"file": escaped(path), "problem": problem}) for path, problem in rows[:SHOWN]]
    columns = [dg.TableColumn(name) for name in ("file", "problem")]
    metadata["list"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
    parts = [f"{_counted(len(unsynced), 'file')} changed since added"] if unsynced else []
    parts += [f"{_counted(len(states.unproved), 'object')} proved at no remote"] if states.unproved else []
    return Verdict(False, ", ".join(parts), metadata, dg.AssetCheckSeverity.WARN)


def known_verdicts(session: BuildSession, store: Store, states: "States | None") -> Mapping[str, Verdict]:
    """The verdicts that need no object to be read: `objects_intact` is among them once anything was read back, and only the one
    about the text where the repository could not be looked at (None)."""
    made = {MANIFEST_CHECK: check_manifest(session, store)}
    if states is not None:
        made[SYNCED_CHECK] = synced_verdict(states)
        if states.standing.proved or states.standing.bad:
            made[INTACT_CHECK] = intact_verdict(states)
    return made


def _there(session: BuildSession, store: Store) -> bool:
    """Whether discovery still finds the store; the definitions may be older."""
    return any((one.kind, one.name) == (store.kind, store.name) and one.present for one in session.engine.stores())


def _gone() -> Verdict:
    return Verdict(False, "the store is gone; see the check `present`")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""The sensors of versioned data: one tells Dagster how working trees and remotes stand, one asks the remotes.

Neither starts a run, and nothing is reported that Dagster already holds.
"""

# No `from __future__ import annotations` here: Dagster reads the types of the parameters and does not resolve strings.

import json
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.dvs.definitions.checks import known_verdicts
from assets.dvs.definitions.external import observed, opened
from assets.dvs.definitions.jobs import KIND
from assets.dvs.states import States, look
from assets.engine.definitions.additions import news
from assets.engine.definitions.checks import anchor_of, changed
from assets.engine.definitions.events import sources_of
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Store
from resources.dvs.sync import open_remote, resolved_remotes
from resources.remotes.ledger import Ledger
from schemas.errors import HeadwaterError
from schemas.oid import json_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.dvs.sync import RemoteSetting

STATES_SENSOR = "dvs_states"
REMOTES_SENSOR = "dvs_remotes"
STATES_SECONDS = 60
REMOTES_SECONDS = 3600
LOOK_AGAIN = 300.0
"""Seconds after which working trees are looked at although no text has changed: files are edited without telling anybody."""
SHARE = 20
"""A look that took long is not repeated before so many times as long has passed."""
LOOK_SECONDS = 30.0
"""How long data may be read in one tick to know its status; an index that was lost makes all of it unknown."""
ASK_SECONDS = 40.0
"""How long remotes are asked in one tick; Dagster gives a tick a minute. The next one begins with the oldest proofs."""
_BATCH = 10_000


def sensors() -> list[dg.SensorDefinition]:
    """Both sensors. The one that goes to the network is off until somebody turns it on."""

    @dg.sensor(
        name=STATES_SENSOR,
        minimum_interval_seconds=STATES_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SESSION},
        description=(
            "Reports the working trees of versioned data and what remotes are proved to hold when sidecars, manifests or the "
            "ledger of proofs change, and looks at the working trees every few minutes."
        ),
    )
    def states(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return look_around(getattr(context.resources, SESSION), context)

    @dg.sensor(
        name=REMOTES_SENSOR,
        minimum_interval_seconds=REMOTES_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={SESSION},
        description=(
            "Asks the remotes of versioned data which objects they hold, the oldest proof first, and reports what has changed: "
            "what others pushed, what was lost. Off until turned on, because it uses the network."
        ),
    )
    def remotes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return ask_remotes(getattr(context.resources, SESSION), context)

    return [states, remotes]


def look_around(session: BuildSession, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One tick of the sensor of states. The cursor is a digest of the text and of what this machine remembers of proofs, and when
    working trees are looked at again."""
    stores = _stores(session)
    digest = json_oid([[store.name, store.root, *_told(session, store)] for store in stores])
    seen, again = _read_cursor(context.cursor)
    now = time.time()
    if digest == seen and now < again:
        return dg.SkipReason("nothing has changed since the last look")
    began = time.monotonic()
    events, problems = _news(session, context, stores)
    took = time.monotonic() - began
    cursor = json.dumps({"seen": digest, "again": int(now + max(LOOK_AGAIN, SHARE * took))})
    return _result(context, events, problems, cursor)


def ask_remotes(session: BuildSession, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One tick of the sensor of remotes: what they say goes into the ledger, and what follows from it to Dagster."""
    stores = _stores(session)
    until = time.monotonic() + ASK_SECONDS
    problems: list[str] = []
    for store in stores:
        try:
            with opened(session, store) as repo:
                for setting in resolved_remotes(repo):
                    try:
                        ask(repo, setting, until)
                    except (HeadwaterError, OSError) as error:
                        problems.append(f"{store.name}, remote {setting.name}: {_plain(error)}")
        except (HeadwaterError, OSError) as error:
            problems.append(f"{store.name}: {_plain(error)}")
    events, more = _news(session, context, stores)
    return _result(context, events, [*problems, *more], context.cursor)


def ask(repo: "DvsRepo", setting: "RemoteSetting", until: float) -> int:
    """Ask a remote for the objects that the manifest names, those never proved and the oldest proofs first, until the time
    (monotonic) is over; the answers go into the ledger. Returns how many were asked for."""
    ledger = Ledger(repo.local / "ledger.db")
    remote = open_remote(repo, setting)
    asked = 0
    try:
        identity = remote.identity(make=False)
        ledger.only(identity, remote.url)
        if identity is None:
            return 0
        wanted = repo.manifest().oids()
        proved = ledger.proved(identity, wanted)
        order = sorted(wanted, key=lambda oid: (proved.get(oid, 0), oid))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            here = remote.present(batch)
            ledger.prove(identity, remote.url, here)
            lost = [oid for oid in batch if oid in proved and oid not in here]
            if lost:
                ledger.forget(identity, lost)
            asked += len(batch)
            if time.monotonic() >= until:
                break
    finally:
        remote.close()
    return asked


def _stores(session: BuildSession) -> list[Store]:
    return [store for store in session.engine.stores() if store.kind == KIND and store.present]


def _told(session: BuildSession, store: Store) -> list[Any]:
    """What tells of changes without looking at the working tree: the roots of the text, the clone's settings, the ledgers."""
    roots = [[state.ref.name, state.root] for state in sources_of(session, store)]
    try:
        with opened(session, store) as repo:
            settings = repo.read(".dvs/config.toml") or b""
            ledgers = []
            for name in ("ledger.db", "proofs.db"):
                path = repo.local / name
                ledgers.append([path.stat().st_mtime_ns, path.stat().st_size] if path.exists() else None)
    except (HeadwaterError, OSError) as error:
        return [roots, _plain(error)]
    return [roots, json_oid(settings.decode("utf-8", "replace")), ledgers]


def _news(
    session: BuildSession, context: dg.SensorEvaluationContext, stores: Collection[Store]
) -> tuple[list[dg.AssetMaterialization | dg.AssetCheckEvaluation], list[str]]:
    """What Dagster does not hold yet of every store, and what could not be seen."""
    repository = context.repository_def
    defined = None if repository is None else set(repository.asset_graph.get_all_asset_keys())
    events: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
    problems = []
    for store in stores:
        anchor = anchor_of(store, session.engine.kinds[store.kind])
        if defined is not None and anchor not in defined:
            continue
        states: States | None = None
        try:
            with opened(session, store) as repo:
                states = look(repo, seconds=LOOK_SECONDS)
            events += news(session, context.instance, observed(store, states), defined)
        except (HeadwaterError, OSError) as error:
            problems.append(f"{store.name}: {_plain(error)}")
        try:
            events += changed(context.instance, anchor, known_verdicts(session, store, states))
        except (HeadwaterError, OSError) as error:
            problems.append(f"{store.name}: {_plain(error)}")
    return events, problems


def _result(
    context: dg.SensorEvaluationContext,
    events: list[dg.AssetMaterialization | dg.AssetCheckEvaluation],
    problems: list[str],
    cursor: str | None,
) -> dg.SensorResult:
    for problem in problems:
        context.log.warning(problem)
    if events:
        return dg.SensorResult(asset_events=events, cursor=cursor)
    return dg.SensorResult(skip_reason="; ".join(problems) or "everything is as reported", cursor=cursor)


def _read_cursor(cursor: str | None) -> tuple[str | None, float]:
    try:
        held = json.loads(cursor or "")
        return str(held["seen"]), float(held["again"])
    except (ValueError, KeyError, TypeError):
        return None, 0.0


def _plain(error: Exception) -> str:
    if not isinstance(error, HeadwaterError):
        return str(error)
    return f"{error.message}; {error.fix}" if error.fix else error.message

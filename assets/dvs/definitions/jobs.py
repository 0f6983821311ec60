"""Jobs on versioned data that people and schedules start by name: push, pull, gc, scrub. Each works on one store or on all.

What they do is `resources.dvs.{sync,gc,scrub}`'s; here it is given the stores, logged, and told to Dagster afterwards.
"""

# No `from __future__ import annotations` here: Dagster reads the types of the parameters and does not resolve strings.

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import dagster as dg
from pydantic import Field

from assets.dvs.definitions.checks import INTACT_CHECK, intact_verdict, known_verdicts
from assets.dvs.definitions.external import opened, report
from assets.dvs.states import SHOWN, look
from assets.engine.definitions.checks import anchor_of, changed
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Store
from resources.dvs.gc import Options, carry_out, make_plan
from resources.dvs.results import Outcome
from resources.dvs.scrub import scrub
from resources.dvs.sync import pull, push, resolved_remotes
from schemas.errors import HeadwaterError
from schemas.paths import escaped

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.dvs.results import Report

KIND = "dvs"
SCRUB_CRON = "0 2 * * *"
"""Every night: what one night has no time for, the next begins with."""
GC_CRON = "0 4 * * 0"
"""Sunday morning: the plan is there to be looked at when the week begins."""


class StoreConfig(dg.Config):
    """Which store a job works on."""

    # Dagster does not take `str | None` here.
    store: Optional[str] = Field(  # noqa: UP045
        default=None, description="The name of the store, such as `data`; every store of versioned data when not given."
    )


class TransferConfig(StoreConfig):
    """The run config of `dvs_push` and `dvs_pull`."""

    remote: Optional[str] = Field(  # noqa: UP045
        default=None, description="The name or URL of the remote; the one that each file goes to when not given."
    )


class GcConfig(StoreConfig):
    """The run config of `dvs_gc`."""

    collect: bool = Field(default=False, description="Carry the plan out; else it is only made and logged.")
    reason: str = Field(default="", description="Why, for the audit log; some repositories want one.")


class ScrubConfig(StoreConfig):
    """The run config of `dvs_scrub`."""

    minutes: float = Field(default=60.0, ge=0, description="How long objects may be read back, in each store.")


class Nothing(Exception):
    """There is nothing to do in a store, and why; no failure unless the store was asked for by name."""


def push_objects(context: dg.OpExecutionContext, config: TransferConfig, defined: Collection[dg.AssetKey]) -> None:
    """Bring the objects that the manifest names to their remotes."""

    def work(repo: "DvsRepo", _store: Store) -> Mapping[str, Any]:
        _expect_remote(repo, config.remote)
        return _transferred(context, push(repo, remote=config.remote))

    _each(context, config.store, work, defined)


def pull_objects(context: dg.OpExecutionContext, config: TransferConfig, defined: Collection[dg.AssetKey]) -> None:
    """Bring the objects that the manifest names to this machine."""

    def work(repo: "DvsRepo", _store: Store) -> Mapping[str, Any]:
        _expect_remote(repo, config.remote)
        return _transferred(context, pull(repo, remote=config.remote))

    _each(context, config.store, work, defined)


def collect_garbage(context: dg.OpExecutionContext, config: GcConfig, defined: Collection[dg.AssetKey]) -> None:
    """Plan which objects may go; with `collect` put them into the trash."""

    def work(repo: "DvsRepo", _store: Store) -> Mapping[str, Any]:
        if config.collect:
            result = carry_out(repo, Options(), reason=config.reason)
            return {
                "collected": len(result.collected),
                "bytes": sum(item.bytes for item in result.collected),
                "deleted from the trash": len(result.emptied),
                "brought back": len(result.brought_back),
            }
        plan = make_plan(repo, Options())
        for item in plan.items[:SHOWN]:
            context.log.info(f"would go: {item.oid}, {item.bytes:,} bytes")
        stays = ", ".join(f"{count:,} {reason}" for reason, count in sorted(plan.stays.items()))
        return {"would go": len(plan.items), "bytes": plan.bytes, "stay": stays or "none", "plan": plan.path}

    _each(context, config.store, work, defined)


def read_back(context: dg.OpExecutionContext, config: ScrubConfig, defined: Collection[dg.AssetKey]) -> None:
    """Read objects back, the oldest proof first, and report what was found as the check `objects_intact`."""
    session: BuildSession = getattr(context.resources, SESSION)

    def work(repo: "DvsRepo", store: Store) -> Mapping[str, Any]:
        results: Counter[str] = Counter()
        for proof in scrub(repo, seconds=60 * config.minutes):
            results[proof.result] += 1
            if proof.result != "ok":
                context.log.error(f"{proof.result}: {proof.oid}, of {', '.join(map(escaped, proof.paths[:3]))}")
        verdict = intact_verdict(look(repo))
        anchor = anchor_of(store, session.engine.kinds[store.kind])
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=anchor,
                check_name=INTACT_CHECK,
                passed=verdict.passed,
                metadata=verdict.metadata,
                severity=verdict.severity,
                description=verdict.description,
            )
        )
        if not verdict.passed:
            raise HeadwaterError(verdict.description, rule="dvs-storage-damaged", fix="see the check `objects_intact`")
        return {**results, "found": verdict.description}

    _each(context, config.store, work, defined)


def jobs(defined: Collection[dg.AssetKey]) -> dict[str, dg.JobDefinition]:
    """The jobs by name, in the order in which people read them. `defined` are the external assets of the code location, of
    which Dagster is told afterwards."""
    return {
        "dvs_push": _job(
            "dvs_push",
            push_objects,
            TransferConfig,
            "Bring the objects of versioned data to their remotes; what is there already is not sent again.",
            defined,
        ),
        "dvs_pull": _job(
            "dvs_pull",
            pull_objects,
            TransferConfig,
            "Bring the objects of versioned data to this machine; the working tree is left as it is.",
            defined,
        ),
        "dvs_gc": _job(
            "dvs_gc",
            collect_garbage,
            GcConfig,
            "Plan which objects of versioned data nobody needs. Nothing goes unless the run config says `collect: true`, and "
            "then into the trash first.",
            defined,
        ),
        "dvs_scrub": _job(
            "dvs_scrub",
            read_back,
            ScrubConfig,
            "Read objects of versioned data back and compare them with their names, the oldest proof first.",
            defined,
        ),
    }


def _job(
    name: str, work: Callable[..., None], config: type[dg.Config], description: str, defined: Collection[dg.AssetKey]
) -> dg.JobDefinition:
    """A job of one step, which hands nothing on."""

    @dg.op(
        name=work.__name__,
        description=work.__doc__,
        config_schema=config.to_fields_dict(),
        required_resource_keys={SESSION},
        out=dg.Out(dg.Nothing),
    )
    def step(context: dg.OpExecutionContext) -> None:
        work(context, config(**context.op_config), defined)

    return dg.GraphDefinition(name, node_defs=[step]).to_job(name=name, description=description)


def schedules(made: Mapping[str, dg.JobDefinition], crons: Mapping[str, str]) -> list[dg.ScheduleDefinition]:
    """When objects are read back and when garbage is looked for: on as far as `[schedule]` in headwater.toml says when."""
    listed = (
        ("scrub", "dvs_scrub", SCRUB_CRON, "Read objects back at night, the oldest proof first"),
        ("gc", "dvs_gc", GC_CRON, "Plan each week which objects could go; nothing is collected"),
    )
    return [
        dg.ScheduleDefinition(
            name=f"{job}_schedule",
            job=made[job],
            cron_schedule=crons.get(word, cron),
            description=f"{what}; set `[schedule] {word}` in headwater.toml to turn it on or move it.",
            default_status=dg.DefaultScheduleStatus.RUNNING if word in crons else dg.DefaultScheduleStatus.STOPPED,
        )
        for word, job, cron, what in listed
    ]


def _each(
    context: dg.OpExecutionContext,
    name: str | None,
    work: Callable[["DvsRepo", Store], Mapping[str, Any]],
    defined: Collection[dg.AssetKey],
) -> None:
    """Do `work` in the named store, or in all: one that fails does not keep the others waiting. Then Dagster is told what the
    stores are like, and the run fails where any did."""
    session: BuildSession = getattr(context.resources, SESSION)
    failed: list[str] = []
    rows: list[dg.TableRecord] = []
    for store in _chosen(session, name):
        try:
            with opened(session, store, complete=True) as repo:
                said = _said(work(repo, store))
            context.log.info(f"{store.name}: {said}")
        except Nothing as reason:
            said = f"nothing to do: {reason}"
            context.log.info(f"{store.name}: {said}")
            if name is not None:
                failed.append(f"{store.name}: {reason}")
        except (HeadwaterError, OSError) as error:
            said = f"failed: {error}"
            context.log.error(f"{store.name}: {said}")
            failed.append(f"{store.name}: {error}")
        rows.append(dg.TableRecord({"store": store.name, "outcome": said}))
        _tell(context, session, store, defined)
    columns = [dg.TableColumn("store"), dg.TableColumn("outcome")]
    context.add_output_metadata({"stores": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns))})
    if failed:
        raise dg.Failure(description="; ".join(failed), allow_retries=False)


def _chosen(session: BuildSession, name: str | None) -> Sequence[Store]:
    stores = [store for store in session.engine.stores() if store.kind == KIND and store.present]
    if name is None:
        return stores
    wanted = name.removeprefix(f"{KIND}/")
    found = [store for store in stores if store.name == wanted]
    if not found:
        known = ", ".join(store.name for store in stores) or "none"
        raise dg.Failure(description=f"there is no store {wanted!r} of versioned data; there are: {known}", allow_retries=False)
    return found


def _expect_remote(repo: "DvsRepo", remote: str | None) -> None:
    """Raise Nothing where no file is versioned or no remote is known."""
    if not repo.manifest().entries:
        raise Nothing("the manifest names no file")
    if not resolved_remotes(repo, remote):
        raise Nothing("no remote is set")


def _transferred(context: dg.OpExecutionContext, report: "Report") -> Mapping[str, Any]:
    for row in report.rows:
        if row.error is not None:
            context.log.error(f"{escaped(row.path)}: {row.error}")
    if report.failed:
        bad = report.of(Outcome.ERROR)
        first = bad[0].error
        assert first is not None
        said = f"{len(bad):,} of {len(report.rows):,} files could not be copied, the first: {first.message}"
        raise HeadwaterError(said, rule=first.rule, path=bad[0].path, fix=first.fix)
    return report.counts


def _said(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{word}: {value:,}" if isinstance(value, int) else f"{word}: {value}" for word, value in counts.items())


def _tell(context: dg.OpExecutionContext, session: BuildSession, store: Store, defined: Collection[dg.AssetKey]) -> None:
    """Report what the store is like now; where that cannot be seen, the sensor says so."""
    try:
        with opened(session, store) as repo:
            states = look(repo)
        report(session, context.instance, store, states, defined)
        anchor = anchor_of(store, session.engine.kinds[store.kind])
        for evaluation in changed(context.instance, anchor, known_verdicts(session, store, states)):
            context.instance.report_runless_asset_event(evaluation)
    except (HeadwaterError, OSError) as error:
        context.log.warning(f"{store.name}: its state could not be reported: {error}")

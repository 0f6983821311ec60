"""What the assets of one run share, and the run config and resource they get it through."""

# No `from __future__ import annotations` here: Dagster reads the type of a resource's dependency and does not resolve a string.

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from assets.engine.model import Outcome, Policy, Progress, Ref, Result
from resources.process import process_mark
from resources.workspace import Workspace

if TYPE_CHECKING:
    from assets.engine.engine import Engine

SESSION = "headwater"
"""The resource key under which every asset and check finds its `BuildSession`."""
PROCESS_TAG = "headwater/process"
"""The tag by which a run names the process that executes it."""
DATA_VERSION = "dagster/data_version"
"""The tag by which an event names its data version."""


class BuildConfig(dg.Config):
    """The run config of every artifact."""

    force: bool = Field(default=False, description="Build even when the artifact is fresh or the build cache holds it.")
    confirm: list[str] = Field(
        default_factory=list,
        description="Plan digests agreed to: each allows replacing the edited or unknown files that a refused run has named.",
    )


@dataclass(slots=True)
class BuildSession:
    """What the assets of one run share: the engine, the policy and progress of the command that started the run (neither in a run
    launched from the UI), the outcomes so far, and the data versions Dagster is known to hold."""

    engine: "Engine"
    policy: Policy = field(default_factory=Policy)
    progress: Progress | None = None
    done: Callable[[Outcome], None] | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    interrupted: BaseException | None = None
    versions: dict[dg.AssetKey, str | None] = field(default_factory=dict)

    def policy_for(self, config: BuildConfig) -> Policy:
        """The policy for one artifact: always headless, because a run has no terminal, with the tokens of both sides."""
        return Policy(
            force=self.policy.force or config.force,
            yes=self.policy.yes,
            confirm=self.policy.confirm | frozenset(config.confirm),
            use_cache=self.policy.use_cache,
        )

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome and tell the command that started the run."""
        self.outcomes.append(outcome)
        if self.done is not None:
            self.done(outcome)

    def build(self, ref: Ref, config: BuildConfig) -> Outcome:
        """Build one artifact and record what came of it, an unexpected exception included.

        Dagster takes an interrupt for a failed step and goes on with the steps that do not depend on it; here they end at once,
        and whoever started the run finds the interrupt in `interrupted`.
        """
        if self.interrupted is not None:
            raise dg.Failure(f"{ref} was not tried: the run was interrupted", allow_retries=False)
        try:
            outcome: Outcome = self.engine.build_one(ref, self.policy_for(config), self.progress)
        except Exception as error:
            self.record(Outcome(ref, Result.FAILED, error=error))
            raise
        except BaseException as stop:
            self.interrupted = stop
            raise
        self.record(outcome)
        return outcome

    def known_versions(self, instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, str | None]:
        """The data version of the latest event Dagster holds for each key, None where it holds none; one query for those
        unknown."""
        wanted = list(keys)
        unknown = [key for key in wanted if key not in self.versions]
        if unknown:
            self.versions.update(recorded_versions(instance, unknown))
        return {key: self.versions[key] for key in wanted}


class EngineResource(dg.ConfigurableResource[BuildSession]):
    """A build session over the workspace; each run gets its own."""

    workspace: dg.ResourceDependency[Workspace]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[BuildSession]:
        """The session, whose engine is closed when the run or tick is over: a code location lives for many ticks."""
        from assets.engine.engine import Engine

        # A run's worker may be killed together with the daemon that watches it; the next command then needs to know whose it was.
        if context.instance is not None and context.run is not None and context.instance.has_run(context.run.run_id):
            context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_mark()})
        engine = Engine(self.workspace)
        try:
            yield BuildSession(engine)
        finally:
            engine.close()


def recorded_versions(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str | None]:
    """The data version of the latest materialization Dagster holds per key, None where there is none; batched queries."""
    found: dict[dg.AssetKey, str | None] = dict.fromkeys(keys)
    for start in range(0, len(keys), 100):
        for record in instance.get_asset_records(keys[start : start + 100]):
            entry = record.asset_entry.last_materialization
            event = entry.asset_materialization if entry else None
            if event is not None:
                found[record.asset_entry.asset_key] = (event.tags or {}).get(DATA_VERSION)
    return found

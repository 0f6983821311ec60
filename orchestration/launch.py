"""Builds artifacts as one Dagster run in this process: what `headwater build` does with what is not fresh.

The run is recorded in the workspace's instance and shows in the UI afterwards. Which artifacts need building, and asking people
about them, is decided before, by the engine and the command line.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from assets.engine.definitions.factory import artifact_asset
from assets.engine.definitions.keys import artifact_key, op_name
from assets.engine.definitions.session import PROCESS_TAG, SESSION, BuildSession
from assets.engine.model import Outcome, Policy, Progress, Ref, Result
from orchestration.graph import presentation_of
from orchestration.instance import open_instance
from orchestration.report import current_graph, report_all, report_checks
from orchestration.runs import close_killed_runs
from resources.process import process_mark

if TYPE_CHECKING:
    from assets.engine.engine import Engine

COMMAND = "headwater/command"


@dg.logger
def quiet_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger whose records go nowhere; the event log keeps them all the same."""
    made = logging.Logger("headwater.run", level=logging.CRITICAL + 1)
    made.addHandler(logging.NullHandler())
    return made


def run_build(
    engine: Engine,
    refs: Sequence[Ref],
    policy: Policy | None = None,
    progress: Progress | None = None,
    *,
    done: Callable[[Outcome], None] | None = None,
    instance: dg.DagsterInstance | None = None,
    command: str = "build",
) -> list[Outcome]:
    """Build `refs` in one run and return an outcome for each, in that order; `done` is called with each as soon as it is known.

    Nobody is asked anything: `policy` carries what was agreed to. An artifact whose upstream failed comes back blocked. Failures
    are outcomes, not exceptions; KeyboardInterrupt and the like close the run and go on.
    """
    if instance is None:
        with open_instance(engine.workspace) as opened:
            return run_build(engine, refs, policy, progress, done=done, instance=opened, command=command)
    session = BuildSession(engine, policy or Policy(), progress, done)
    close_killed_runs(instance)
    report_all(session, instance)
    if not refs:
        return []
    with _signals_delivered_afterwards():
        _execute(session, refs, instance, command)
        # Dagster skips what reads a failed artifact. The catalog reads all of them and says what failed, so it goes after the
        # others.
        made = {outcome.ref for outcome in session.outcomes}
        last = [ref for ref in refs if ref not in made and any(read.everything for read in engine.recipe(ref).inputs)]
        if last and session.interrupted is None:
            _execute(session, last, instance, command)
    if session.interrupted is not None:
        raise session.interrupted
    report_checks(session, instance, current_graph(session))
    outcomes = {outcome.ref: outcome for outcome in session.outcomes}
    for ref in refs:
        if ref not in outcomes:
            outcomes[ref] = Outcome(ref, Result.BLOCKED, reasons=(_why_blocked(engine, ref, outcomes),))
            session.record(outcomes[ref])
    return [outcomes[ref] for ref in refs]


def report_present(engine: Engine) -> int:
    """Tell Dagster what there is without building anything, for a home that was lost; returns the number of events."""
    with open_instance(engine.workspace) as instance:
        close_killed_runs(instance)
        return len(report_all(BuildSession(engine), instance))


def _execute(session: BuildSession, refs: Sequence[Ref], instance: dg.DagsterInstance, command: str) -> None:
    graph = current_graph(session)
    wanted = set(refs)
    artifacts = [artifact for artifact in graph.artifacts if artifact.ref in wanted]
    policy = session.policy
    definitions = dg.Definitions(
        assets=[artifact_asset(one, owner=None, condition=None, present=presentation_of(one.kind)) for one in artifacts],
        resources={SESSION: dg.ResourceDefinition.hardcoded_resource(session)},
        executor=dg.in_process_executor,
        loggers={"quiet": quiet_logger},
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    run_config: dict[str, object] = {"loggers": {"quiet": {}}}
    if policy.force or policy.confirm:
        config = {"config": {"force": policy.force, "confirm": sorted(policy.confirm)}}
        run_config["ops"] = {op_name(one.ref): config for one in artifacts}
    job.execute_in_process(
        instance=instance,
        run_config=run_config,
        tags={COMMAND: command, PROCESS_TAG: process_mark()},
        asset_selection=[artifact_key(one.ref) for one in artifacts],
        raise_on_error=False,
    )


@contextmanager
def _signals_delivered_afterwards() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back and call them for the signals that came meanwhile.

    Dagster replaces both handlers by one of its own, which turns either signal into the failure of a step, and leaves SIGTERM
    with the handler of SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in kept.items():
            signal.signal(number, handler)
        writer.close()
        received = _drain(reader)
        reader.close()
    for number, handler in kept.items():
        if number in received and callable(handler):
            handler(number, None)


def _drain(reader: socket.socket) -> bytes:
    try:
        return reader.recv(4096)
    except BlockingIOError:
        return b""


def _why_blocked(engine: Engine, ref: Ref, made: dict[Ref, Outcome]) -> str:
    """Which upstream artifact kept this one from being tried."""
    bad = {Result.FAILED: "failed", Result.BLOCKED: "is blocked", Result.REFUSED: "was refused"}
    tried = [(upstream, made[upstream].result) for upstream in engine.upstream(ref) if upstream in made]
    named = [f"{upstream} {bad[result]}" for upstream, result in tried if result in bad]
    return f"not tried because {' and '.join(named) or 'something it reads failed'}"

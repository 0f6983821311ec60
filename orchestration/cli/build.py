"""`headwater build`: bring artifacts up to date, asking first where something would be replaced.

What is fresh and what a build does is the engine's business, recording runs Dagster's (`orchestration.launch`); the questions,
the progress display and the exit code belong here. Light until something has to be built.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, dry_run_option, pass_app, select_argument, yes_option
from orchestration.cli.words import OUTCOME_COLOURS, duration, nothing_here, places
from schemas.errors import HeadwaterError, InvalidText, UsageError
from schemas.oid import parse_oid

if TYPE_CHECKING:
    from assets.engine.model import Outcome, Policy, Question, Ref, State

FAILED = 1
INVALID = 3
_BAD = ("failed", "blocked", "refused")
_SHOWN_COUNTS = 4
_SMALL_TEXT = 4 << 20
"""Bytes of a store's text that is checked after a build, for warnings, without being asked."""


@command("build")
@select_argument
@click.option("--force", is_flag=True, help="Build even what is fresh, without the build cache.")
@yes_option
@click.option(
    "--confirm", multiple=True, metavar="DIGEST", help="Agree to the replacement whose plan has this digest; repeatable."
)
@dry_run_option
@pass_app
def build(app: App, select: tuple[str, ...], force: bool, yes: bool, confirm: tuple[str, ...], dry_run: bool) -> int:
    """Bring artifacts up to date: build them, or restore them from the build cache.

    At a terminal, what a replacement would change is shown and asked about. In a script, what Headwater made is replaced, and a
    file that was edited or is unknown is refused with its difference and the digest to pass to --confirm.
    """
    for digest in confirm:
        _check_plan(digest)
    engine = app.engine()
    if nothing_here(app, select):
        return 0
    states = engine.status(select)
    stale = {state.ref for state in states if force or str(state.freshness) != "fresh"}
    if dry_run:
        return _show_plan(app, states, stale, engine.questions(select))
    if not stale:
        _report_if_lost(app)
        return _show_fresh(app, states)
    started = time.monotonic()
    policy = app.policy(yes=yes, force=force, confirm=confirm, use_cache=not force)
    agreed, declined = _ask(app, engine.questions(select) if policy.ask else (), policy)
    outcomes = _without(app, states, stale, declined)
    for outcome in outcomes:
        show_outcome(app, outcome)
    settled = {outcome.ref for outcome in outcomes}
    wanted = [state.ref for state in states if state.ref not in settled]
    outcomes += run(app, wanted, replace(policy, ask=None, confirm=policy.confirm | agreed))
    code = show_summary(app, outcomes, time.monotonic() - started)
    _note_warnings(app, outcomes)
    if app.workspace().is_plain:
        app.note("This folder has no headwater.toml and is no checkout of a project, so what is built lies in your cache folder.")
        app.note("`headwater init` here makes it a workspace, whose databases lie beside their text.")
    return code


def _check_plan(word: str) -> None:
    """Raise UsageError for a word that no plan can have as its digest: it would agree to nothing without saying so."""
    try:
        algorithm, _ = parse_oid(word)
    except HeadwaterError:
        algorithm = ""
    if algorithm != "blake3":
        raise UsageError(
            f"--confirm {word[:80]} is no plan digest",
            rule="confirm-digest",
            fix="pass the blake3:… that the refusal, `headwater build --dry-run` or `headwater tables plan` prints",
        )


def run(app: App, refs: Sequence[Ref], policy: Policy) -> list[Outcome]:
    """Build `refs` through Dagster in this process, showing each outcome as it comes; also what other commands build with."""
    if not refs:
        return []
    require_writable(app.workspace().local)
    with app.progress("build", len(refs)) as bar:
        bar.show("loading Dagster", at_once=True)
        from orchestration.launch import run_build

        def progress(ref: Ref, phase: str, fraction: float | None) -> None:
            app.raise_if_stopped()
            bar.show(f"{ref} {phase}", fraction)

        def done(outcome: Outcome) -> None:
            show_outcome(app, outcome)
            bar.advance()

        return run_build(app.engine(), refs, policy, progress=progress, done=done)


def require_writable(folder: Path) -> None:
    """Raise HeadwaterError (rule `workspace-read-only`) before any work when nothing can be kept in `folder`, the machine state
    of the workspace; it need not exist yet."""
    present = _present(folder)
    if not os.access(present, os.W_OK | os.X_OK):
        raise HeadwaterError(
            f"{present} cannot be written to, so nothing can be built",
            rule="workspace-read-only",
            fix="make it writable or build in a copy of the workspace; `headwater status`, `check` and `explain` need no writing",
        )


def _present(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def show_outcome(app: App, outcome: Outcome) -> None:
    """One artifact's outcome: a JSON line, or a line for people with what went wrong below it.

    What stayed fresh is only counted in the last line, and findings follow once for all artifacts they keep from being built.
    """
    word = str(outcome.result)
    if app.json or word == "fresh":
        app.emit(outcome.to_json())
        return
    cells = [f"{app.style(f'{word:<8}', OUTCOME_COLOURS[word])} {outcome.ref}"]
    if outcome.seconds >= 0.001 and word not in _BAD:
        cells.append(app.style(duration(outcome.seconds), "dim"))
    if word == "built":
        cells.append(_counts(outcome.summary.get("counts", {})))
    if outcome.origin is not None and outcome.origin != "local":
        cells.append(f"from {outcome.origin}")
    if word not in _BAD and outcome.outputs:
        cells.append(app.style("→ " + places(outcome.outputs), "dim"))
    app.say("  ".join(filter(None, cells)))
    for path in outcome.rescued:
        app.note(f"  the file that was there is now {path}")
    if isinstance(outcome.error, InvalidText):
        return
    if isinstance(outcome.error, HeadwaterError):
        app.show_error(outcome.error)
    elif outcome.error is not None:
        app.note(f"  {type(outcome.error).__name__}: {outcome.error}")
        if app.debug:
            import traceback

            app.note("".join(traceback.format_exception(outcome.error)))
    elif word in _BAD:
        for reason in outcome.reasons:
            app.note(f"  {reason}")


def show_summary(app: App, outcomes: Sequence[Outcome], seconds: float) -> int:
    """Findings, the last line for people, and the exit code: 0, 3 when invalid text is the only reason for failure, else 1."""
    invalid = [outcome.error for outcome in outcomes if isinstance(outcome.error, InvalidText)]
    if not app.json:
        app.show_findings(sorted({finding for error in invalid for finding in error.findings}), to=app.note)
    counts = Counter(str(outcome.result) for outcome in outcomes)
    parts = [f"{counts[word]} {app.style(word, colour)}" for word, colour in OUTCOME_COLOURS.items() if counts[word]]
    app.say(f"{counted(len(outcomes), 'artifact')} in {duration(seconds)}: {', '.join(parts)}")
    bad = [outcome for outcome in outcomes if str(outcome.result) in _BAD]
    causes = [outcome.error for outcome in bad if outcome.error is not None]
    if not bad:
        return 0
    return INVALID if causes and len(causes) == len(invalid) else FAILED


def _note_warnings(app: App, outcomes: Iterable[Outcome]) -> None:
    """Say what is wrong with text that was built from all the same, and so would never be seen: warnings, and the errors of kinds
    that leave out what they cannot read.

    Large text is not looked at only for that; building the catalog does it anyway, and what was found is remembered.
    """
    engine = app.engine()
    errors = warnings = 0
    built = {(one.ref.kind, one.ref.store): engine.store(one.ref) for one in outcomes if str(one.result) in ("built", "restored")}
    for store in built.values():
        found = engine.checks.known(store)
        if found is None and sum(size for source in engine.sources(store) for _, _, size in source.files) <= _SMALL_TEXT:
            found = engine.checks.findings(store)
        severities = [str(finding.severity) for finding in found or ()]
        errors += severities.count("error")
        warnings += severities.count("warning")
    said = [counted(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number]
    if said:
        app.note(f"{' and '.join(said)} in the text; see `headwater check`")


def _show_fresh(app: App, states: Sequence[State]) -> int:
    from assets.engine.model import Outcome, Result

    for state in states:
        outcome = Outcome(state.ref, Result.FRESH, output_digest=state.output_digest, outputs=state.outputs)
        app.emit(outcome.to_json())
    app.say(f"{app.style('fresh', 'green')}: {counted(len(states), 'artifact')}, nothing to build")
    return 0


def _show_plan(app: App, states: Sequence[State], todo: set[Ref], questions: Iterable[Question]) -> int:
    """`--dry-run`: what would be done to each artifact, and what would be asked."""
    asked = {question.ref: question for question in questions}
    for state in states:
        action = "nothing"
        if state.ref in todo:
            action = "blocked" if str(state.freshness) == "blocked" else "restore" if state.cached else "build"
        question = asked.get(state.ref)
        record: dict[str, Any] = {"artifact": str(state.ref), "action": action, "reasons": list(state.reasons)}
        if question is not None:
            record["question"] = question_record(question)
        reason = f"  {app.style(state.reasons[0], 'dim')}" if state.reasons else ""
        app.emit(record, f"{action:<8} {state.ref}{reason}" if action != "nothing" else None)
        if question is not None and not app.json:
            app.show_difference(question.difference)
            app.note(f"  agree with --confirm {question.plan}")
    app.say(f"{counted(len(todo), 'artifact')} of {len(states)} would be built; nothing was changed")
    return 0


def question_record(question: Question) -> dict[str, Any]:
    """A question for `--json`: what lies there, the difference, and the digest that agrees to it."""
    return {
        "ownership": str(question.ownership),
        "paths": list(question.paths),
        "confirm": question.plan,
        "headline": question.difference.headline,
        "lines": list(question.difference.lines),
        "only_in_output": question.difference.only_in_output,
        **({"data": question.difference.data} if question.difference.data else {}),
    }


def _ask(app: App, questions: Iterable[Question], policy: Policy) -> tuple[set[str], set[Ref]]:
    """Ask before the run starts, while nothing else writes to the terminal: (plans agreed to, artifacts declined)."""
    agreed: set[str] = set()
    declined: set[Ref] = set()
    if policy.ask is None:
        return agreed, declined
    for question in questions:
        word = str(question.ref)
        app.engine().check([word])
        if str(app.engine().status([word])[0].freshness) == "blocked":
            # Its text has errors: whatever was answered, the present file would stay.
            continue
        if question.plan in policy.confirm or policy.ask(question):
            agreed.add(question.plan)
        else:
            declined.add(question.ref)
    return agreed, declined


def _without(app: App, states: Sequence[State], stale: set[Ref], declined: set[Ref]) -> list[Outcome]:
    """The outcomes that need no run: what is fresh and stays so, what was declined, and what is built from that."""
    from assets.engine.model import Outcome, Result
    from assets.engine.places import WORKSPACE_KIND

    engine = app.engine()
    graph = engine.observer.graph
    touched = graph.all_downstream(stale)
    # The catalog describes whatever there is; it waits for nobody.
    waiting = {ref for ref in graph.all_downstream(declined) if ref.kind != WORKSPACE_KIND}
    outcomes = []
    for state in states:
        reasons: tuple[str, ...] = ()
        if state.ref in declined:
            result, reasons = Result.REFUSED, ("you said no; nothing was touched",)
        elif state.ref in waiting:
            result, reasons = Result.BLOCKED, ("it is built from what you declined",)
        elif state.ref not in touched:
            result = Result.FRESH
        else:
            continue
        outcomes.append(Outcome(state.ref, result, 0.0, state.output_digest, state.outputs, reasons=reasons))
    return outcomes


def _counts(counts: dict[str, Any]) -> str:
    """The first few things that were counted and are not zero."""
    kept = [(value, name) for name, value in counts.items() if isinstance(value, int) and value]
    # Every name is a plural, such as `rows`.
    shown = [f"{value:,} {name.removesuffix('s') if value == 1 else name}" for value, name in kept]
    return ", ".join(shown[:_SHOWN_COUNTS])


def _report_if_lost(app: App) -> None:
    """Tell a new or lost Dagster home what there is; the one case in which a build with nothing to do loads Dagster. Where
    nothing can be written there can be no such home."""
    from orchestration.instance import is_lost

    if is_lost(app.workspace()) and os.access(_present(app.workspace().local), os.W_OK | os.X_OK):
        from orchestration.launch import report_present

        report_present(app.engine())

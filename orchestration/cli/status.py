"""`headwater status`: how every artifact stands and why, without building and without Dagster.

Light: a test asserts what it loads.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app, select_argument
from orchestration.cli.words import STATE_COLOURS, nothing_here, state_record, state_word

if TYPE_CHECKING:
    from assets.engine.model import State

UPSTREAM = " is not up to date"
"""How the reason of an artifact ends that waits for another one."""

STALE = 4
"""Exit code of `status --exit-code` when something is not fresh."""


@command("status")
@select_argument
@click.option("--exit-code", is_flag=True, help="Exit with 4 when an artifact is stale, missing or blocked.")
@pass_app
def status(app: App, select: tuple[str, ...], exit_code: bool) -> int:
    """Say for each artifact whether it is fresh, stale, missing or blocked, and why."""
    if nothing_here(app, select):
        return 0
    states = app.engine().status(select)
    for state in states:
        app.emit(state_record(state))
    width = max((len(str(state.ref)) for state in states), default=0)
    for state in states:
        reason = state.reasons[0] if state.reasons else ""
        note = f"{reason} (in the build cache)" if _restorable(state) else reason
        padding = " " * (8 - len(str(state.freshness)))
        said = f"{state.ref!s:<{width}}  {app.style(note, 'dim')}" if note else str(state.ref)
        app.say(f"{state_word(app, state)}{padding}{said}")
        for more in state.reasons[1:]:
            app.say(f"{'':8}{'':<{width}}  {app.style(more, 'dim')}")
    counts = Counter(str(state.freshness) for state in states)
    parts = [f"{counts[name]} {app.style(name, STATE_COLOURS[name])}" for name in STATE_COLOURS if counts[name]]
    app.say(f"{counted(len(states), 'artifact')}: {', '.join(parts)}")
    _git_hint(app)
    return STALE if exit_code and counts["fresh"] != len(states) else 0


def _restorable(state: State) -> bool:
    """Whether the build cache holds what a build would make. While an input is stale, that is not known yet."""
    waits = str(state.freshness) == "stale" and any(reason.endswith(UPSTREAM) for reason in state.reasons)
    return state.cached and str(state.freshness) != "fresh" and not waits


def _git_hint(app: App) -> None:
    """Name the settings of this clone that `headwater git setup` would add, in one line on stderr."""
    from orchestration.cli.git import missing_settings

    missing = missing_settings(app)
    if missing:
        app.note(
            app.style(
                "git in this clone has not been told how to merge and compare these files: `headwater git setup` tells it", "dim"
            )
        )

"""`headwater adopt`: take outputs that are already there as ours, after proving that they are what would be built."""

from __future__ import annotations

import click

from orchestration.cli import completing
from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.build import show_outcome


@command("adopt")
@click.argument("select", nargs=-1, required=True, shell_complete=completing.artifacts)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="For sets of items, verify N of them instead of all.")
@pass_app
def adopt(app: App, select: tuple[str, ...], sample: int | None) -> int:
    """Accept existing outputs after verification, so that nothing has to be built again.

    What differs from what would be built is refused and left as it is.
    """
    refs = app.engine().refs(select)
    bad = 0
    with app.progress("adopt", len(refs)) as bar:
        for ref in refs:
            bar.show(str(ref))
            for outcome in app.engine().adopt([str(ref)], sample):
                bad += str(outcome.result) in ("failed", "blocked", "refused")
                show_outcome(app, outcome)
            bar.advance()
    app.say(f"{counted(len(refs) - bad, 'artifact')} adopted or fresh" + (f", {bad} not" if bad else ""))
    return 1 if bad else 0

"""`headwater verify`: prove that artifacts are what their text says, by building them again elsewhere and comparing."""

from __future__ import annotations

from orchestration.cli.app import App, command, counted, pass_app, select_argument
from orchestration.cli.words import duration, nothing_here


@command("verify")
@select_argument
@pass_app
def verify(app: App, select: tuple[str, ...]) -> int:
    """Rebuild artifacts in a scratch folder and compare, by bytes or by content as each declares.

    Nothing in the workspace is changed. Exits with 1 when an artifact differs or cannot be rebuilt.
    """
    if nothing_here(app, select):
        return 0
    engine = app.engine()
    refs = engine.refs(select)
    bad = 0
    with app.progress("verify", len(refs)) as bar:
        for ref in refs:
            bar.show(str(ref))
            for verification in engine.verify([str(ref)]):
                bad += not verification.ok
                word = app.style("equal   ", "green") if verification.ok else app.style("differs ", "red")
                app.emit(
                    verification.to_json(),
                    f"{word} {verification.ref}  {app.style(duration(verification.seconds), 'dim')}",
                )
                for difference in verification.differences[:20]:
                    app.say(f"  {difference}")
            bar.advance()
    app.say(f"{counted(len(refs), 'artifact')}: {'all equal' if not bad else f'{bad} not equal'}")
    return 1 if bad else 0

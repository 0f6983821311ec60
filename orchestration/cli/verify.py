"""`headwater verify`: prove that artifacts are what their text says, by building them again elsewhere and comparing."""

from __future__ import annotations

from collections import Counter

from orchestration.cli.app import App, command, counted, pass_app, select_argument
from orchestration.cli.words import duration, nothing_here

_COLOURS = {"equal": "green", "differs": "red", "missing": "yellow", "stale": "yellow", "failed": "red"}


@command("verify")
@select_argument
@pass_app
def verify(app: App, select: tuple[str, ...]) -> int:
    """Rebuild artifacts in a scratch folder and compare, by bytes or by content as each declares.

    Each artifact is equal, differs, missing (never built, or gone), stale (its text has changed since) or failed (it cannot be
    built again). Nothing in the workspace is changed. Exits with 1 when one is not equal.

    With --json, an object per artifact: artifact, ok, result (the word), differences, reproducibility, seconds.
    """
    if nothing_here(app, select):
        return 0
    engine = app.engine()
    refs = engine.refs(select)
    counts: Counter[str] = Counter()
    with app.progress("verify", len(refs)) as bar:
        for ref in refs:
            bar.show(str(ref))
            for verification in engine.verify([str(ref)]):
                result = str(verification.result)
                counts[result] += 1
                word = app.style(f"{result:<8}", _COLOURS[result])
                app.emit(
                    verification.to_json(),
                    f"{word} {verification.ref}  {app.style(duration(verification.seconds), 'dim')}",
                )
                for difference in verification.differences[:20]:
                    app.say(f"  {difference}")
            bar.advance()
    whole = counts["equal"] == len(refs)
    words = "all equal" if whole else ", ".join(f"{counts[word]} {word}" for word in _COLOURS if counts[word])
    app.say(f"{counted(len(refs), 'artifact')}: {words}")
    return 0 if whole else 1

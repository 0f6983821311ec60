"""`headwater explain`: for a derived file, the text it came from, and why it is or is not up to date.

What is known is the engine's (`assets.engine.explain`); only saying it belongs here. Light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli import completing
from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.words import size, state_word

if TYPE_CHECKING:
    from assets.engine.explain import Explanation, InputExplanation

_SHOWN_FILES = 20
_OID = 19
"""Characters of an oid that are shown: the algorithm and twelve digits."""


@command("explain")
@click.argument("artifact", nargs=-1, required=True, shell_complete=completing.artifacts)
@pass_app
def explain(app: App, artifact: tuple[str, ...]) -> None:
    """Say what ARTIFACT is made of and why it is or is not up to date.

    Lists its inputs with paths and content ids, what changed since it was built, the recipe and libraries behind it, what is
    built from it, and whether the build cache holds it. ARTIFACT is a selection such as tables/shop/playground_db.
    """
    engine = app.engine()
    for position, ref in enumerate(engine.refs(artifact)):
        explanation = engine.explain(ref)
        if app.json:
            app.emit(explanation.to_json())
            continue
        if position:
            app.say()
        _show(app, explanation)


def _show(app: App, found: Explanation) -> None:
    app.say(f"{app.style(str(found.ref), 'bold')}  {state_word(app, found.state)}")
    app.say(f"  {found.description}")
    for reason in found.state.reasons:
        app.say(f"  {app.style('because', 'yellow')} {reason}")
    app.say()
    app.say(app.style("made of", "bold"))
    for entry in found.inputs:
        _show_input(app, entry)
    app.say()
    app.say(app.style("made by", "bold"))
    app.say(f"  recipe version {found.recipe_version}; two builds are {found.reproducibility}")
    for title, values in (("libraries", found.libraries), ("settings", found.parameters)):
        if values:
            app.say(f"  {title} " + ", ".join(f"{name} {value}" for name, value in values.items()))
    app.say()
    app.say(app.style("output", "bold"))
    for output in found.outputs:
        app.say(f"  {_short(app, output['oid'])}  {output['path']}  {size(output['size'])}  {app.style(output['whose'], 'dim')}")
    if not found.outputs:
        app.say("  nothing lies there")
    if found.built is not None:
        same = found.built["fingerprint"] == found.fingerprint
        origin = found.built.get("origin")
        came = f" by way of {origin}" if origin not in (None, "local") else ""
        inputs = "these inputs" if same else "other inputs"
        app.say(f"  {found.built['how']} from {inputs}{came}, version {found.built['sequence']} of it")
    for backup in found.backups:
        app.say(f"  the version before it is {backup}")
    app.say()
    cached = f"in the {' and '.join(found.cached)} build cache" if found.cached else "in no build cache"
    app.say(f"{app.style('fingerprint', 'bold')} {_short(app, found.fingerprint)}, {cached}")
    if found.downstream:
        app.say(f"{app.style('built from it', 'bold')} {', '.join(str(ref) for ref in found.downstream)}")


def _show_input(app: App, entry: InputExplanation) -> None:
    whole = entry.ref is None
    name = f"every {entry.role.removesuffix('s')} of the workspace" if whole else str(entry.ref)
    held = f"{len(entry.files):,}" if whole else counted(len(entry.files), "file")
    changed = app.style("changed since", "yellow") if entry.changed and entry.built_from is not None else ""
    app.say(f"  {_short(app, entry.digest)}  {name}, {held}  {changed}".rstrip())
    changes = dict(entry.changes or ())
    # What changed is what people look for, so it comes before the rest of the files.
    present = {path for path, _, _ in entry.files}
    files = sorted(entry.files, key=lambda file: (file[0] not in changes, file[0]))
    for path in sorted(changes.keys() - present):
        app.say(f"    {'':{_OID}}  {path}  {app.style(changes[path], 'red')}")
    for path, oid, _ in files[:_SHOWN_FILES]:
        mark = app.style(changes[path], "yellow") if path in changes else ""
        app.say(f"    {_short(app, oid)}  {path}  {mark}".rstrip())
    if len(files) > _SHOWN_FILES:
        app.say(f"    … and {counted(len(files) - _SHOWN_FILES, 'more file')}")


def _short(app: App, oid: str | None) -> str:
    return app.style(f"{(oid or 'unknown')[:_OID]:<{_OID}}", "dim")

"""`headwater ls`: the stores of the workspace with their sources and artifacts, and how each stands.

Light: it loads nothing that `status` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.cli.app import App, command, counted, pass_app, select_argument
from orchestration.cli.words import nothing_here, places, size, state_record, state_word

if TYPE_CHECKING:
    from assets.engine.model import State, Store


@command("ls")
@select_argument
@pass_app
def ls(app: App, select: tuple[str, ...]) -> None:
    """List stores, their sources and their artifacts with state.

    SELECT narrows the list to matching artifacts (globs on kind/store/artifact) and the stores they belong to.
    """
    if nothing_here(app, select):
        return
    engine = app.engine()
    stores = engine.stores()
    states = engine.status(select)
    by_store: dict[tuple[str, str], list[State]] = {}
    for state in states:
        by_store.setdefault((state.ref.kind, state.ref.store), []).append(state)
    for store in stores:
        mine = by_store.pop((store.kind, store.name), [])
        if mine or not select:
            _show_store(app, store, mine)


def _show_store(app: App, store: Store, states: list[State]) -> None:
    app.emit(
        {"type": "store", "store": f"{store.kind}/{store.name}", "root": store.root, "present": store.present},
        app.style(f"{store.kind}/{store.name}", "bold")
        + app.style(f"  {store.root or '.'}/", "dim")
        + ("" if store.present else "  " + app.style("vanished", "red")),
    )
    rows = []
    for source in app.engine().sources(store) if store.present else ():
        total = sum(length for _, _, length in source.files)
        app.emit(
            {"type": "source", "source": str(source.ref), "root": source.root, "files": len(source.files), "bytes": total},
        )
        rows.append(["source", source.ref.name, f"{counted(len(source.files), 'file')}, {size(total)}"])
    app.table([[app.style(kind, "dim"), name, detail] for kind, name, detail in rows], indent="  ")
    _show_artifacts(app, states)


def _show_artifacts(app: App, states: list[State]) -> None:
    for state in states:
        app.emit({"type": "artifact", **state_record(state)})
    app.table(
        ([app.style("artifact", "dim"), state.ref.name, state_word(app, state), places(state.outputs)] for state in states),
        indent="  ",
    )

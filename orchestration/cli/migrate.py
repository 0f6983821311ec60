"""`headwater migrate`: rewrite text of an older format version in the current one, all files of a store or none.

Older versions are read as they are; rewriting them is a choice. The steps belong to each kind (`Kind.migrate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.cli.app import App, command, counted, dry_run_option, pass_app, select_argument, yes_option
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from assets.engine.model import Store
    from resources.storage.base import Change


@command("migrate")
@select_argument
@dry_run_option
@yes_option
@pass_app
def migrate(app: App, select: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Bring the text of stores in an older format version to the current one.

    Every step is validated before a file is replaced, all files are replaced or none, and the kind keeps a copy of the old ones.
    """
    total = 0
    for store in _selected(app, select):
        total += _migrate(app, store, dry_run=dry_run, yes=yes)
    verb = "would be rewritten" if dry_run else "rewritten"
    app.say(f"{counted(total, 'file')} {verb}" if total else "every store is in the current format")


def _selected(app: App, select: tuple[str, ...]) -> list[Store]:
    """The stores that own a selected artifact; all of them without a selection."""
    engine = app.engine()
    stores = [store for store in engine.stores() if store.present]
    if not select:
        return stores
    wanted = {(ref.kind, ref.store) for ref in engine.refs(select)}
    return [store for store in stores if (store.kind, store.name) in wanted]


def _migrate(app: App, store: Store, *, dry_run: bool, yes: bool) -> int:
    from assets.registry import KINDS

    hook = KINDS[store.kind].migrate
    root = app.workspace().root
    changes: list[Change] = [] if hook is None else hook.load()(root, store.root)
    for change in changes:
        verb = "delete" if change.data is None else "write"
        app.emit({"store": f"{store.kind}/{store.name}", "path": change.path, "action": verb}, f"{verb:<7} {change.path}")
    if not changes or dry_run:
        return len(changes)
    if not yes:
        if not app.interactive:
            raise HeadwaterError("nobody can be asked here", fix="look with --dry-run, then pass --yes", rule="not-asked")
        if not app.confirm(f"Rewrite {counted(len(changes), 'file')} of {store.kind}/{store.name}?"):
            return 0
    root.commit(changes, label="migrate")
    return len(changes)

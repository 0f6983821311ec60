"""Which store a kind's command means: by name, by folder, by where one stands, or the only one there is.

Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.engine.model import Store
    from resources.workspace import Workspace


_START = {
    "notes": "start one with `headwater notes new TITLE` or `headwater notes init`, name a folder of Markdown with --store",
}
"""How a store begins, where that is not `headwater init KIND FOLDER`."""


def choose(workspace: Workspace, stores: Sequence[Store], kind: str, selector: str | None) -> Store:
    """The one store of `kind` that `selector` (a name or a folder) or the current folder means. Raises UsageError otherwise."""
    candidates = [store for store in stores if store.kind == kind]
    if not candidates:
        from orchestration.cli.words import not_recognised

        raise UsageError(
            " ".join([f"there is no {kind} store in {_place(workspace)}", *(f"({hint})" for hint in not_recognised(kind))]),
            fix=_START.get(kind, f"start one with `headwater init {kind} FOLDER`") + ", or say where with -C",
            rule="store-none",
        )
    root = workspace.root.local_root
    if selector is not None:
        named = [store for store in candidates if selector in (store.name, f"{kind}/{store.name}")]
        if not named and root is not None and Path(selector).exists():
            named = _around(candidates, root, Path(selector))
        if not named:
            named = [store for store in candidates if store.root == selector.strip("/")]
        if len(named) != 1:
            raise UsageError(
                f"no {kind} store is called {selector!r} or lies there",
                fix=f"name one of: {_names(candidates)}",
                rule="store-unknown",
            )
        return named[0]
    here = _around(candidates, root, Path()) if root is not None else []
    if len(here) == 1:
        return here[0]
    if len(candidates) == 1:
        return candidates[0]
    raise UsageError(
        f"the workspace has {len(candidates)} {kind} stores",
        fix=f"name one of: {_names(candidates)} (as the argument STORE, or with -s where SQL or a file is the argument)",
        rule="store-ambiguous",
    )


def home(store: Store) -> str:
    """The folder from anywhere in which a store is meant: its own, or the project around a folder that is nothing but a store."""
    from assets.registry import KINDS

    above, _, name = store.root.rpartition("/")
    return above if name in KINDS[store.kind].folders else store.root


def _around(stores: Sequence[Store], root: Path, place: Path) -> list[Store]:
    """The innermost store whose folder is or contains `place` (relative to the current folder).

    Where two are equally near, such as a folder of notes and a `.qipu` in it, the one that `place` lies in itself is meant.
    """
    try:
        relative = place.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return []
    relative = "" if relative == "." else relative
    inside = [store for store in stores if _holds(home(store), relative)]
    deepest = max((len(home(store)) for store in inside), default=0)
    nearest = [store for store in inside if len(home(store)) == deepest]
    return [store for store in nearest if home(store) != store.root and _holds(store.root, relative)] or nearest


def _holds(folder: str, place: str) -> bool:
    return not folder or place == folder or place.startswith(f"{folder}/")


def _names(stores: Sequence[Store]) -> str:
    shown = ", ".join(sorted(store.name for store in stores)[:10])
    return shown if len(stores) <= 10 else f"{shown}, … ({len(stores)} in all)"


def _place(workspace: Workspace) -> str:
    return str(workspace.root.local_root or workspace.root.url)

"""What the commands of the notes kind share: the store they mean, opened with its index up to date, and how notes are shown.

Light: standard library and click only, everything else inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App
from orchestration.cli.stores import home
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.engine.model import Store
    from assets.notes.opened import OpenedNotes

KIND = "notes"

store_option = click.option(
    "--store",
    "-s",
    metavar="NAME|FOLDER",
    envvar="QIPU_STORE",
    show_envvar=True,
    help="The notes store by name or folder, relative to --root, when it is not the one around here. A folder that is no store "
    "yet is read as one.",
)
note_argument = click.argument("note")
"""One note: its id, path, title, alias, or the beginning of its id that no other shares."""
format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["human", "json", "records"]),
    default=None,
    help="How results are printed: for people, as JSON lines, or as tab-separated records for scripts. --json means json.",
)


def chosen_format(app: App, given: str | None) -> str:
    """The format a command prints in: what was asked for, else JSON with --json, else for people."""
    if given == "json":
        app.json = True
    return given or ("json" if app.json else "human")


def chosen_store(app: App, selector: str | None) -> Store:
    """The store that is meant; `app` works in its workspace afterwards.

    A folder is the store that lies in it or whose project it is, else it is taken as a store of its own for this command. Without
    a selector it is the store around the current folder, else the only one. Raises UsageError naming the choices.
    """
    if selector is None:
        return app.store(KIND)
    folder = _folder(app, selector)
    if folder is not None:
        return _store_at(app, folder)
    stores = [store for store in app.engine().stores() if store.kind == KIND]
    named = [store for store in stores if selector in (store.name, f"{KIND}/{store.name}") or store.root == selector.strip("/")]
    if len(named) != 1:
        names = ", ".join(sorted(store.name for store in stores)[:10])
        raise UsageError(
            f"no {KIND} store is called {selector!r}, and there is no such folder",
            fix=f"name one of: {names}" if names else "name a folder of Markdown, or start a store with `headwater notes init`",
            rule="store-unknown",
        )
    return named[0]


def _folder(app: App, selector: str) -> Path | None:
    """The local folder that `selector` names, relative to the root the command was given; None when there is none."""
    from resources.storage import is_url

    base = app.root or os.environ.get("HEADWATER_ROOT") or "."
    if is_url(base) and not base.startswith("file:"):
        return None
    if base.startswith("file:"):
        local = app.workspace().root.local_root
        assert local is not None
        base = str(local)
    folder = (Path(base).expanduser() / Path(selector).expanduser()).resolve()
    return folder if folder.is_dir() else None


def _store_at(app: App, folder: Path) -> Store:
    from resources.workspace import open_workspace

    workspace = open_workspace(folder)
    if workspace.root.local_root != app.workspace().root.local_root:
        app.work_in(workspace)
    root = app.workspace().root.local_root
    assert root is not None
    relative = "" if folder == root.resolve() else folder.relative_to(root.resolve()).as_posix()
    stores = [store for store in app.engine().stores() if store.kind == KIND and store.present]
    found = next((store for store in stores if store.root == relative), None)
    found = found or next((store for store in stores if home(store) == relative), None)
    # A folder inside one that is nothing but a store, such as `.qipu/notes`.
    inside = [store for store in stores if home(store) != store.root and f"{relative}/".startswith(f"{store.root}/")]
    found = found or next(iter(inside), None)
    if found is not None:
        return found
    from assets.engine.adhoc import with_store

    workspace, name = with_store(app.workspace(), KIND, relative)
    app.work_in(workspace)
    return next(store for store in app.engine().stores() if (store.kind, store.name) == (KIND, name))


def opened(app: App, selector: str | None = None) -> OpenedNotes:
    """The store that is meant, with its index up to date. Raises UsageError naming the choices, or what keeps it from being
    read."""
    from assets.notes.opened import open_notes

    store = chosen_store(app, selector)
    notes = open_notes(app.engine(), store)
    if notes.notice is not None:
        app.note(notes.notice)
    return notes


def note_record(row: Mapping[str, Any], tags: list[str] | None = None) -> dict[str, Any]:
    """A row of the index's `notes` as `--json` prints it."""
    names = ("id", "title", "type", "path", "created", "updated", "value")
    record = {name: row[name] for name in names}
    if tags is not None:
        record["tags"] = tags
    return record


def say_note_row(app: App, row: Mapping[str, Any], more: str = "") -> None:
    """One note on one line for people: id, type, title, and `more`."""
    cells = [
        app.style(str(row["id"]), "cyan"),
        app.style(f"[{row['type']}]", "dim") if row["type"] else "",
        str(row["title"]),
        more,
    ]
    app.say("  ".join(filter(None, cells)))

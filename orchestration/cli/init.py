"""`headwater init`: start a workspace, or a store of a kind. Never overwrites; says what it wrote and what was there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from orchestration.cli.groups import Group

KIND_COMMANDS = ("notes", "tables")
"""Kinds whose own `init` command starts a store."""

CONFIG = """\
# This folder is a Headwater workspace. Stores are found by themselves; what can be set is in docs/reference/settings.md.
version = 1
"""


@command("init")
@click.argument("kind", required=False)
@click.argument("path", required=False)
@click.pass_context
def init(context: click.Context, kind: str | None, path: str | None) -> None:
    """Start a workspace in PATH, or with KIND (notes, tables) a store of that kind.

    Without arguments the current folder becomes a workspace: it gets a headwater.toml. Nothing that exists is overwritten.
    """
    app = context.ensure_object(App)
    if kind is not None and kind not in KIND_COMMANDS:
        looks_like_path = "/" in kind or kind.startswith(".") or Path(kind).is_dir()
        if path is not None or not looks_like_path:
            raise UsageError(
                f"there is no kind {kind!r}",
                fix=f"use one of {', '.join(KIND_COMMANDS)}, or write ./{kind} for a folder",
                rule="kind-unknown",
            )
        kind, path = None, kind
    if kind is None:
        _workspace(app, Path(path or "."))
        return
    group = _kind_group(context, kind)
    start = group.get_command(context, "init")
    assert start is not None
    arguments = [] if path is None else [path]
    with start.make_context(f"headwater {kind} init", arguments, parent=context) as inner:
        start.invoke(inner)


def _kind_group(context: click.Context, kind: str) -> Group:
    from orchestration.cli.app import cli
    from orchestration.cli.groups import Group

    found = cli.get_command(context, kind)
    assert isinstance(found, Group)
    return found


def _workspace(app: App, folder: Path) -> None:
    """Make `folder` a workspace."""
    if folder.exists() and not folder.is_dir():
        raise HeadwaterError("is a file, not a folder", path=str(folder), fix="name another folder", rule="not-a-folder")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "headwater.toml"
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(CONFIG)
    except FileExistsError:
        app.emit({"path": str(target), "written": False}, f"{target} is there already")
        return
    app.emit({"path": str(target), "written": True}, f"wrote {target}")
    app.say("Next: `headwater init tables FOLDER` or `headwater init notes` starts a store.")

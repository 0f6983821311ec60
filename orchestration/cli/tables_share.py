"""`headwater tables zip|unzip`: a project as one file to hand around."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.new_file import new_file
from orchestration.cli.tables_stores import Opened, store_argument


@command("zip")
@store_argument
@click.option("--output", "-o", metavar="FILE", help="The zip file; by default NAME.zip in the current folder.")
@click.option("--no-history", is_flag=True, help="Leave history.log out: it may hold values and names that are private.")
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
@pass_app
def zip_(app: App, store: str | None, output: str | None, no_history: bool, force: bool) -> None:
    """Pack the project's text, with its history, into a zip file; the same project gives the same bytes.

    \b
    Example:
      headwater tables zip shop -o shop.zip
    """
    from resources.tables.archive import write_zip

    opened = Opened.choose(app, store)
    name = opened.store.root.rpartition("/")[2] or app.workspace().name
    target = Path(output or f"{name}.zip")
    with new_file(target, force=force) as file:
        members = write_zip(app.workspace().root, opened.store.root, file, history=not no_history)
    size = target.stat().st_size
    app.emit(
        {"path": str(target), "members": members, "bytes": size},
        f"wrote {target}: {counted(len(members), 'file')}, {size:,} bytes",
    )


@command("unzip")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("folder", required=False)
@pass_app
def unzip(app: App, file: str, folder: str | None) -> None:
    """Unpack a project that `headwater tables zip` (or anybody) packed into FOLDER; by default a new one named like FILE.

    Nothing outside FOLDER is written, nothing there is overwritten, and databases in the archive are left out: they are built
    from the text.

    \b
    Example:
      headwater tables unzip shop.zip lesson-1
    """
    from resources.tables.archive import unzip as unpack

    source = Path(file)
    target = Path(folder or source.stem)
    made = unpack(source, target, name=source.name)
    for path, reason in made.left_out:
        app.note(f"left out {path}: {reason}")
    from orchestration.cli.tables_store import make_workspace

    make_workspace(app, target)
    record = {"path": str(target), "files": sorted(made.files), "left_out": [list(pair) for pair in made.left_out]}
    app.emit(record, f"unpacked {counted(len(made.files), 'file')} to {target}")

"""`headwater tables init|import`: start a project, empty or from data that is there."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app
from schemas.errors import Refused, UsageError

WORKSPACE = """\
# This folder is a Headwater workspace with one store, itself. What can be set is in docs/reference/settings.md.
version = 1

[stores.@name@]
kind = "tables"
path = "."
"""


@command("init")
@click.argument("folder", default=".")
@pass_app
def init(app: App, folder: str) -> None:
    """Start a tables project in FOLDER: project.yaml with one table, its rows, history.log, and what git should know.

    Nothing that is there is overwritten. Outside a workspace and a git checkout the folder also gets a headwater.toml, so that
    what is built lies beside the text.

    \b
    Example:
      headwater tables init shop
    """
    from schemas.tables import gitfiles

    target = Path(folder)
    _refuse_present(target)
    name = target.resolve().name or "project"
    files = {
        "project.yaml": gitfiles.FIRST_PROJECT.replace("@name@", _yaml_text(name)).encode(),
        "data/item.csv": gitfiles.FIRST_ROWS.encode(),
    }
    _write(app, target, files)


def _refuse_present(folder: Path) -> None:
    present = folder / "project.yaml"
    if present.exists():
        raise Refused("there is a project already", rule="project-exists", path=str(present), fix="name another folder")


def _yaml_text(text: str) -> str:
    import json

    return text if text.isascii() and text.replace("-", "").replace("_", "").isalpha() else json.dumps(text, ensure_ascii=False)


def _write(app: App, target: Path, files: dict[str, bytes]) -> None:
    """Write the files of a new project, with the git files and an empty history, and leave alone what is there."""
    from schemas.ids import new_ulid
    from schemas.tables import gitfiles
    from schemas.tables.history import header_line

    everything = {
        **files,
        ".gitignore": gitfiles.GITIGNORE.encode(),
        ".gitattributes": gitfiles.GITATTRIBUTES.encode(),
        "history.log": header_line(new_ulid()),
    }
    for path, data in everything.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with place.open("xb") as file:
                file.write(data)
            app.emit({"path": str(place), "written": True}, f"wrote {place}")
        except FileExistsError:
            app.emit({"path": str(place), "written": False}, f"{place} is there already")
    make_workspace(app, target)
    where = "here" if target.resolve() == Path.cwd() else f"in {target}"
    app.say(f'Next: headwater build, or headwater tables exec "SELECT …" {where}')


def make_workspace(app: App, folder: Path) -> None:
    """Give a project outside every workspace and checkout a headwater.toml: a plain folder keeps nothing beside the text."""
    import json

    from resources.config import FILE
    from resources.workspace import is_plain

    if not is_plain(folder):
        return
    place = folder / FILE
    name = json.dumps(folder.resolve().name or "project", ensure_ascii=False)
    with place.open("x", encoding="utf-8") as file:
        file.write(WORKSPACE.replace("@name@", name))
    app.emit({"path": str(place), "written": True}, f"wrote {place}")


@command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--into", metavar="FOLDER", default=".", show_default=True, help="The folder of the new project.")
@pass_app
def import_(app: App, files: tuple[str, ...], into: str) -> None:
    """Start a project from CSV files, a SQLite or DuckDB file, or a Frictionless datapackage.json.

    Types of CSV files are inferred once and written to project.yaml, where you can correct them; nothing is guessed afterwards.

    \b
    Examples:
      headwater tables import customers.csv orders.csv --into shop
      headwater tables import legacy.sqlite --into legacy
    """
    from resources.tables.importing import import_files

    target = Path(into)
    _refuse_present(target)
    if not files:
        raise UsageError("name at least one file", rule="usage")
    made, notes = import_files([Path(file) for file in files])
    for note in notes:
        app.note(note)
    _write(app, target, made)

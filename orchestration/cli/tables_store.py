"""`headwater tables init|import`: start a project, empty or from data that is there."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app
from schemas.errors import Refused, UsageError


@command("init")
@click.argument("folder", default=".")
@pass_app
def init(app: App, folder: str) -> None:
    """Start a tables project in FOLDER: project.yaml with one table, its rows, history.log, and what git should know.

    Nothing that is there is overwritten.

    \b
    Example:
      headwater tables init shop
    """
    from schemas.tables import gitfiles

    target = Path(folder)
    if (target / "project.yaml").exists():
        raise Refused(
            "there is a project already", rule="project-exists", path=str(target / "project.yaml"), fix="name another folder"
        )
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
    from resources.storage import open_storage
    from resources.storage.base import ABSENT
    from schemas.errors import Conflict
    from schemas.ids import new_ulid
    from schemas.tables import gitfiles
    from schemas.tables.history import header_line

    target.mkdir(parents=True, exist_ok=True)
    storage = open_storage(target)
    everything = {
        **files,
        ".gitignore": gitfiles.GITIGNORE.encode(),
        ".gitattributes": gitfiles.GITATTRIBUTES.encode(),
        "history.log": header_line(new_ulid()),
    }
    for path, data in everything.items():
        try:
            storage.write(path, data, expect=ABSENT)
            app.emit({"path": str(target / path), "written": True}, f"wrote {target / path}")
        except Conflict:
            app.emit({"path": str(target / path), "written": False}, f"{target / path} is there already")
    app.say(f'Next: headwater build, or headwater tables exec "SELECT …" in {target}')


@command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True))
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
    from assets.tables.importing import import_files

    target = Path(into)
    if (target / "project.yaml").exists():
        raise Refused(
            "there is a project already", rule="project-exists", path=str(target / "project.yaml"), fix="name another folder"
        )
    if not files:
        raise UsageError("name at least one file", rule="usage")
    made, notes = import_files([Path(file) for file in files])
    for note in notes:
        app.note(note)
    _write(app, target, made)

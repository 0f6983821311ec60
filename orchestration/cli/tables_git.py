"""`headwater tables merge-driver|textconv`: what git calls (see `headwater git setup`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app

if TYPE_CHECKING:
    from schemas.tables.model import Project, Table

PROJECT_FILE = "project.yaml"


@command("merge-driver")
@click.argument("base", type=click.Path(exists=True, dir_okay=False))
@click.argument("ours", type=click.Path(exists=True, dir_okay=False))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False))
@click.argument("path")
@click.option("--marker-size", default=7, show_default=True, metavar="N", help="Length of the conflict markers (git's %L).")
@pass_app
def merge_driver(app: App, base: str, ours: str, theirs: str, path: str, marker_size: int) -> int:
    """Merge two versions of a CSV file by primary key into OURS; git calls this with %O %A %B %P.

    Rows and cells that only one side changed merge without asking. A row that both sides changed differently is written with
    conflict markers around its two versions, and the exit code is 1. A file that cannot be read by rows is merged by lines.

    \b
    Example (.git/config, written by `headwater git setup`):
      driver = headwater tables merge-driver --marker-size %L %O %A %B %P
    """
    from resources.tables.merge import NotMergeable, merge
    from resources.tables.store import sort_key

    found = _declared(Path(path))
    if found is None:
        app.note(f"{path}: no project.yaml describes this file; merged by lines")
        return _by_lines(base, ours, theirs, marker_size)
    project, table = found
    key = table.primary_key
    if not key:
        app.note(f"{path}: table {table.name} has no primary key; merged by lines")
        return _by_lines(base, ours, theirs, marker_size)
    try:
        made = merge(
            Path(base).read_bytes(),
            Path(ours).read_bytes(),
            Path(theirs).read_bytes(),
            key,
            sort_key=sort_key(table, key),
            null=project.format.null_text,
            marker_size=marker_size,
        )
    except (NotMergeable, ValueError) as error:
        app.note(f"{path}: {error}; merged by lines")
        return _by_lines(base, ours, theirs, marker_size)
    Path(ours).write_bytes(made.data)
    if made.conflicts:
        rows = ", ".join("/".join(str(cell) for cell in row) for row in made.conflicts[:10])
        app.note(f"{path}: {counted(len(made.conflicts), 'row')} changed on both sides ({', '.join(key)} = {rows})")
    return 1 if made.conflicts else 0


def _declared(path: Path) -> tuple[Project, Table] | None:
    """The project and table whose file `path` is (relative to the checkout, git's current folder), as any side describes it."""
    from schemas.errors import HeadwaterError
    from schemas.tables.project import read_project

    for folder in path.parents:
        project_path = folder / PROJECT_FILE
        inside = path.relative_to(folder).as_posix()
        for data in _project_texts(project_path):
            try:
                project = read_project(data, project_path.as_posix())
            except HeadwaterError:
                continue
            for table in project.tables.values():
                if table.data_file == inside:
                    return project, table
    return None


def _project_texts(path: Path) -> list[bytes]:
    """project.yaml as it lies there (perhaps with conflict markers), as we have it, and as they have it."""
    texts = [path.read_bytes()] if path.is_file() else []
    for revision in ("HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REBASE_HEAD"):
        shown = subprocess.run(["git", "show", f"{revision}:{path.as_posix()}"], capture_output=True, check=False)
        if shown.returncode == 0:
            texts.append(shown.stdout)
    return texts


def _by_lines(base: str, ours: str, theirs: str, marker_size: int) -> int:
    """git's own merge into OURS; its exit code counts the conflicts."""
    command_line = ["git", "merge-file", "--marker-size", str(marker_size), "-L", "ours", "-L", "base", "-L", "theirs"]
    return 1 if subprocess.run([*command_line, ours, base, theirs], check=False).returncode else 0


@command("textconv")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@pass_app
def textconv(app: App, file: str) -> None:
    """Print a CSV file one cell per line, so that `git diff` shows which cell of which row changed; git calls this.

    \b
    Example (.git/config, written by `headwater git setup`):
      textconv = headwater tables textconv
    """
    from resources.tables.merge import as_text

    del app
    # git wants the bytes of the text, whatever the terminal's encoding is.
    sys.stdout.buffer.write(as_text(Path(file).read_bytes()).encode())

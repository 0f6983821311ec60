"""`headwater notes journal`: what became of links between two states. Light: all but click is imported inside the command."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.notes_stores import opened, store_option

if TYPE_CHECKING:
    from assets.notes.journal import Change
    from assets.notes.opened import OpenedNotes

NOW: Final = "now"
_COLOURS: Final = {"broke": "red", "healed": "green", "moved": "yellow"}


@command("journal")
@click.argument("start", metavar="[FROM]", default="HEAD")
@click.argument("end", metavar="[TO]", default=NOW)
@click.option(
    "--only", type=click.Choice(["broke", "healed", "moved"]), multiple=True, help="Only links that broke, healed or moved."
)
@click.option("--exit-code", is_flag=True, help="End with 1 when a link broke.")
@store_option
@pass_app
def journal(app: App, start: str, end: str, only: tuple[str, ...], exit_code: bool, store: str | None) -> int:
    """Say which links broke, healed or lead elsewhere between FROM and TO.

    Each is a commit, branch or tag of git, an index file that was built (a kept copy of qipu.db), or `now`: the files as they
    are. FROM is HEAD and TO is now, when not given. A link that was written since and leads nowhere broke; one that led nowhere
    and is gone has healed.

    \b
    Examples:
      headwater notes journal
      headwater notes journal main~20 main --only broke
      headwater notes journal /backup/last-week/qipu.db now --json
    """
    from assets.notes.journal import compare_files, counts

    with opened(app, store) as notes:
        before, after = (_index(notes, text) for text in (start, end))
        changes = [change for change in compare_files(before, after) if not only or change.kind in only]
        prefix = f"{notes.place.root}/" if notes.place.root else ""
        for change in changes:
            app.emit(change.to_json(prefix), _line(app, change, prefix))
        found = counts(changes)
        app.emit({"summary": dict(found)}, ", ".join(f"{number:,} {kind}" for kind, number in found.items()))
        return int(exit_code and bool(found["broke"]))


def _index(notes: OpenedNotes, text: str) -> Path:
    """The index file that FROM or TO means."""
    from assets.notes.journal import index_of_commit

    if text == NOW:
        return notes.path
    given = Path(text).expanduser()
    if given.is_file():
        with closing(given.open("rb")) as file:
            if file.read(6) == b"SQLite":
                return given
    return index_of_commit(notes.engine.workspace, notes.place, text)


def _line(app: App, change: Change, prefix: str) -> str:
    at = change.at
    where = app.style(f"{prefix}{at.path}:{at.line}", "dim")
    parts = [app.style(change.kind, _COLOURS[change.kind]), where, at.spelled]
    was, now = change.before, change.after
    if change.kind == "moved" and was is not None and now is not None:
        parts.append(f"led to {was.lead}, now to {now.lead}")
    elif change.kind == "broke":
        parts.append(f"led to {was.lead}" if was is not None and was.lead else "was written since")
    elif now is None:
        parts.append("is gone")
    else:
        parts.append(f"leads to {now.lead}")
    return "  ".join(parts)

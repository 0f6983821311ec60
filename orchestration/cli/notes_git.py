"""`headwater notes merge-driver`: what git calls to merge two versions of a note (see `headwater git setup`)."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app


@command("merge-driver")
@click.argument("base", type=click.Path(exists=True, dir_okay=False))
@click.argument("ours", type=click.Path(exists=True, dir_okay=False))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False))
@click.argument("path")
@click.option("--marker-size", default=7, show_default=True, metavar="N", help="Length of the conflict markers (git's %L).")
@pass_app
def merge_driver(app: App, base: str, ours: str, theirs: str, path: str, marker_size: int) -> int:
    """Merge two versions of a note into OURS; git calls this with %O %A %B %P.

    Tags, aliases, sources and typed links are merged as sets, other keys of the frontmatter one by one, the text line by line as
    git does. What both sides changed differently is written with conflict markers, and the exit code is 1.

    \b
    Example (.git/config, written by `headwater git setup`):
      driver = headwater notes merge-driver --marker-size %L %O %A %B %P
    """
    from resources.notes.merge_driver import merge_note

    before, mine, yours = (Path(name).read_bytes() for name in (base, ours, theirs))
    merged, clean = merge_note(before, mine, yours, path, marker_size)
    if merged != mine:
        Path(ours).write_bytes(merged)
    if not clean:
        app.note(f"{path}: changed differently on both sides; look for the conflict markers")
    app.emit({"path": path, "conflict": not clean})
    return 0 if clean else 1

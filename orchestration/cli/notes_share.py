"""`headwater notes pack|unpack`: a store, or some of its notes, as one file to hand around.

The file's format is `schemas.notes.pack`, what goes where is `resources.notes.packing`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.new_file import new_file
from orchestration.cli.notes_plans import carry_out, dry_run_option, found_note, linker
from orchestration.cli.notes_stores import opened, store_option
from orchestration.cli.notes_text import checked_tags
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan
    from resources.notes.packing import Strategy

STRATEGIES = ("skip", "overwrite", "merge-links")


@command("pack")
@click.argument("notes", nargs=-1, metavar="[NOTE]...")
@store_option
@click.option(
    "--output", "-o", metavar="FILE", help="The file to write, or - for standard output; NAME.notes.jsonl when not given."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Notes with this tag; repeatable.")
@click.option("--hops", type=click.IntRange(0, 100), default=0, show_default=True, help="Follow links of chosen notes this far.")
@click.option("--type", "-t", "types", multiple=True, metavar="TYPE", help="Follow only links of this type; repeatable.")
@click.option("--typed-only", is_flag=True, help="Follow only links of the frontmatter.")
@click.option("--inline-only", is_flag=True, help="Follow only links of the text.")
@click.option("--no-attachments", is_flag=True, help="Leave attachments out.")
@click.option("--no-settings", is_flag=True, help="Leave config.toml and templates out.")
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
@pass_app
def pack(
    app: App,
    notes: tuple[str, ...],
    store: str | None,
    output: str | None,
    tags: tuple[str, ...],
    hops: int,
    types: tuple[str, ...],
    typed_only: bool,
    inline_only: bool,
    no_attachments: bool,
    no_settings: bool,
    force: bool,
) -> None:
    """Pack the store, or the notes that are named, into one text file; the same notes give the same bytes.

    Chosen notes bring the attachments they link to. Unpacked, every file is byte for byte what it was.

    \b
    Examples:
      headwater notes pack -o notes.jsonl
      headwater notes pack --tag public --hops 1 -o - | ssh elsewhere headwater notes unpack -
    """
    if typed_only and inline_only:
        raise UsageError("--typed-only and --inline-only exclude each other", rule="usage", fix="give one of them")
    with opened(app, store) as found:
        from resources.notes.packing import pack_store

        chosen = None
        if notes or tags:
            inline = False if typed_only else True if inline_only else None
            chosen = _selected(found, [found_note(found, note) for note in notes], checked_tags(tags), hops, types, inline)
        name = found.place.root.rpartition("/")[2].lstrip(".") or app.workspace().name
        lines = pack_store(found.store, chosen, linker=linker(found), attachments=not no_attachments, settings=not no_settings)
        if output == "-":
            _to_stdout(lines)
            return
        target = Path(output or f"{name}.notes.jsonl")
        files, size = _to_file(target, lines, force=force)
    app.emit({"path": str(target), "files": files, "bytes": size}, f"wrote {target}: {counted(files, 'file')}, {size:,} bytes")


def _selected(
    notes: OpenedNotes, paths: Iterable[str], tags: Iterable[str], hops: int, types: tuple[str, ...], inline: bool | None
) -> list[str]:
    """The paths of the notes named and tagged, and of those that `hops` links of the kinds given lead to."""
    from assets.notes.resolve import fold

    connection = notes.connection
    rows = [connection.execute("SELECT number FROM notes WHERE path = ?", (path,)).fetchone() for path in paths]
    found = {row[0] for row in rows}
    for tag in tags:
        folded = fold(tag)
        query = "SELECT DISTINCT note FROM tags WHERE folded = ?1 OR substr(folded, 1, length(?1) + 1) = ?1 || '/'"
        found.update(row[0] for row in connection.execute(query, (folded,)))
    frontier = set(found)
    for _ in range(hops):
        reached: set[int] = set()
        for number in frontier:
            for target, link_type, stands_inline in connection.execute(
                "SELECT target, type, inline FROM edges WHERE source = ?", (number,)
            ):
                if (not types or link_type in types) and inline in (None, bool(stands_inline)):
                    reached.add(target)
        frontier = reached - found
        found |= reached
    listed = connection.execute("SELECT number, path FROM notes").fetchall()
    return sorted(row["path"] for row in listed if row["number"] in found)


def _to_stdout(lines: Iterator[bytes]) -> None:
    stream = sys.stdout.buffer
    for line in lines:
        stream.write(line)
    stream.flush()


def _to_file(target: Path, lines: Iterator[bytes], *, force: bool) -> tuple[int, int]:
    """(files packed, bytes written). Raises as `new_file`."""
    count = 0
    with new_file(target, force=force) as file:
        for line in lines:
            file.write(line)
            count += 1
        size = file.tell()
    return count - 2, size  # the first line and the last are about the pack


@command("unpack")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@store_option
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="skip",
    show_default=True,
    help="For a note whose id is here: leave it, put the pack's over it, or add the pack's typed links to it.",
)
@click.option("--settings", is_flag=True, help="Take config.toml and templates of the pack too, over those that are here.")
@dry_run_option
@pass_app
def unpack(app: App, file: str, store: str | None, strategy: str, settings: bool, dry_run: bool) -> None:
    """Put the notes and attachments of a pack into the store; a dump made by qipu is read too.

    All of it or nothing: a pack that is damaged, or whose files would lie outside of the store, writes nothing.

    \b
    Examples:
      headwater notes unpack notes.jsonl --dry-run
      headwater notes unpack notes.jsonl --strategy merge-links
    """
    from io import BytesIO

    from orchestration.cli.notes_init import start_if_none
    from orchestration.cli.notes_move import rescue
    from schemas.notes.pack import TOTAL_LIMIT

    piped = sys.stdin.buffer.read(2 * TOTAL_LIMIT) if file == "-" else None
    if not dry_run:
        start_if_none(app, store)

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.packing import unpack as plan_unpack

        rows = notes.connection.execute("SELECT id, path FROM notes WHERE own_id ORDER BY path DESC")
        ids = {row["id"]: row["path"] for row in rows}
        with BytesIO(piped) if piped is not None else Path(file).open("rb") as stream:
            return plan_unpack(
                notes.store,
                stream,
                "standard input" if piped is not None else file,
                strategy=cast("Strategy", strategy),
                settings=settings,
                ids=ids,
            )

    carry_out(
        app,
        store,
        make,
        label="notes unpack",
        dry_run=dry_run,
        before=lambda notes, plan: rescue(app, notes, plan, replaced=strategy == "overwrite"),
    )

"""`headwater notes export`: notes as one document. Light: everything but click is imported inside the command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_context import select
from orchestration.cli.notes_filters import filter_options, read_filters
from orchestration.cli.notes_stores import opened, store_option
from schemas.errors import Refused, UsageError

if TYPE_CHECKING:
    from assets.notes.export import Document
    from assets.notes.opened import OpenedNotes


@command("export")
@click.argument("notes", nargs=-1, metavar="[NOTES]...")
@click.option("--query", "-q", metavar="TEXT", help="The notes that a search for TEXT finds, best first.")
@click.option("--moc", "mocs", multiple=True, metavar="NOTE", help="The notes that this map of content lists, in its order.")
@click.option("--max-hops", type=click.IntRange(0, 10), default=0, metavar="N", help="Also what links lead to, over N of them.")
@click.option(
    "--mode",
    type=click.Choice(["bundle", "outline", "bibliography"]),
    default="bundle",
    show_default=True,
    help="The notes in full, a map of content as a nested list, or the sources of the notes.",
)
@click.option(
    "--link-mode",
    type=click.Choice(["preserve", "markdown", "anchors", "plain"]),
    default="preserve",
    show_default=True,
    help="Leave links as they are; lead to the notes' files, or to sections of the document; or make words of them.",
)
@click.option(
    "--bib-format",
    type=click.Choice(["markdown", "bibtex", "csl-json"]),
    default="markdown",
    show_default=True,
    help="How a bibliography is written.",
)
@click.option("--title", metavar="TEXT", help="A heading for the whole document.")
@click.option("--output", "-o", metavar="FILE", type=click.Path(), help="Write to this file instead of standard output.")
@click.option("--with-attachments", is_flag=True, help="Copy linked attachments into `attachments/` beside the file.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@filter_options
@store_option
@pass_app
def export(
    app: App,
    /,
    notes: tuple[str, ...],
    query: str | None,
    mocs: tuple[str, ...],
    max_hops: int,
    mode: str,
    link_mode: str,
    bib_format: str,
    title: str | None,
    output: str | None,
    with_attachments: bool,
    force: bool,
    store: str | None,
    **chosen: Any,
) -> None:
    """Write notes as one document. Named notes and those of a map of content keep that order; others go by date and id.

    \b
    Examples:
      headwater notes export --moc 'Field notes' --link-mode anchors -o field-notes.md
      headwater notes export --mode outline 'Field notes'
      headwater notes export --tag paper --mode bibliography --bib-format bibtex -o sources.bib
    """
    from assets.notes.bibliography import references, to_bibtex, to_csl, to_markdown
    from assets.notes.context import add_linked
    from assets.notes.export import Document, note_document, outline, sources_of
    from assets.notes.lookup import find_note
    from orchestration.cli.notes_look import Look

    if with_attachments and (output is None or mode != "bundle"):
        raise UsageError("attachments go beside a file", rule="usage", fix="give --output FILE, with --mode bundle")
    with opened(app, store) as kept:
        look = Look(app, kept)
        connection = kept.connection
        place = _place(kept, look.prefix, output)
        if mode == "outline":
            roots = [*notes, *mocs]
            if len(roots) != 1:
                raise UsageError("an outline has one root", rule="usage", fix="name one note, such as a map of content")
            root = find_note(connection, roots[0], prefix=look.prefix)["number"]
            text = outline(connection, root, hops=max(max_hops, 1), links=link_mode, place=place)  # type: ignore[arg-type]
            _hand_out(app, kept, Document(text), output, 1, force=force)
            return
        filters = read_filters(kept, look, chosen)
        selection = select(kept, look.prefix, notes, query, mocs, 0, None, filters, with_mocs=False)
        if max_hops:
            add_linked(connection, selection, max_hops)
        numbers = list(selection.picked)
        if mode == "bibliography":
            found = references(sources_of(connection, numbers))
            write = {"markdown": to_markdown, "bibtex": to_bibtex, "csl-json": to_csl}[bib_format]
            _hand_out(app, kept, Document(write(found)), output, len(found), force=force, what="source")
            return
        made = note_document(
            connection,
            kept.store,
            numbers,
            links=link_mode,  # type: ignore[arg-type]  # checked by click
            attachments=with_attachments,
            place=place,
            title=title,
            default_type=kept.config.default_note_type,
        )
        _hand_out(app, kept, made, output, len(numbers), force=force)


def _place(kept: OpenedNotes, prefix: str, output: str | None) -> Callable[[str], str]:
    """The address of a file of the store as seen from the document."""
    root = kept.engine.workspace.root.local_root
    base = Path(output).resolve().parent if output is not None else Path.cwd()

    def place(path: str) -> str:
        if root is None:
            return prefix + path
        return Path(os.path.relpath(root / (prefix + path), base)).as_posix()

    return place


def _hand_out(
    app: App, kept: OpenedNotes, made: Document, output: str | None, count: int, *, force: bool, what: str = "note"
) -> None:
    if output is None:
        if app.json:
            app.emit({"text": made.text, f"{what}s": count})
        else:
            app.write_text(made.text)
        return
    from resources.storage.base import ABSENT
    from resources.storage.local import LocalStorage
    from schemas.errors import Conflict

    target = Path(output).resolve()
    if target.is_dir():
        raise UsageError(f"{output} is a folder", rule="usage", fix="name a file in it")
    files = {target.name: made.text.encode()}
    files.update({copy: kept.store.read(path) for path, copy in made.attachments.items()})
    taken = sorted(name for name in files if (target.parent / name).exists())
    if taken and not force:
        raise Refused(
            f"{counted(len(taken), 'file')} would be replaced: {', '.join(taken[:3])}",
            rule="export-in-the-way",
            path=str(target.parent / taken[0]),
            fix="name another file, or give --force",
        )
    storage = LocalStorage(target.parent, state=kept.engine.workspace.local / "exports")
    for name, data in files.items():
        try:
            storage.write(name, data, expect=None if force else ABSENT)
        except Conflict as error:
            raise Refused(
                "a file appeared while the document was written", rule="export-in-the-way", path=name, fix="try again"
            ) from error
    record = {"output": str(target), f"{what}s": count, "attachments": sorted(made.attachments.values())}
    more = f" and {counted(len(made.attachments), 'attachment')}" if made.attachments else ""
    app.emit(record, f"wrote {output}: {counted(count, what)}{more}")

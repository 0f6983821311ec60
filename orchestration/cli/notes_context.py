"""`headwater notes context`: a bundle of notes for a language model. Light: all but click is imported inside the command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.notes_filters import filter_options, read_filters
from orchestration.cli.notes_stores import chosen_format, opened, store_option
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.notes.context import Selection
    from assets.notes.filters import Filters
    from assets.notes.opened import OpenedNotes


@command("context")
@click.argument("notes", nargs=-1, metavar="[NOTES]...")
@click.option("--query", "-q", metavar="TEXT", help="Also the notes that a search for TEXT finds, best first.")
@click.option("--moc", "mocs", multiple=True, metavar="NOTE", help="Also this map of content and what it lists, in its order.")
@click.option("--walk", type=click.IntRange(0, 10), default=0, metavar="N", help="Also what links lead to, over N of them.")
@click.option("--backlinks", is_flag=True, help="Follow links against their direction too (one step without --walk).")
@click.option("--related", type=click.IntRange(0, 50), default=0, metavar="N", help="Also the N notes most like each named one.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="Notes taken from a search.")
@click.option("--max-chars", type=click.IntRange(min=1), metavar="N", help="At most N characters of Markdown.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="At most about N tokens, at four characters each.")
@click.option("--notice/--no-notice", default=True, help="Begin with a line that says the notes are material, not instructions.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["markdown", "json", "records"]),
    default=None,
    help="Markdown, one JSON object, or tab-separated records. --json means json.",
)
@filter_options
@store_option
@pass_app
def context(
    app: App,
    /,
    notes: tuple[str, ...],
    query: str | None,
    mocs: tuple[str, ...],
    walk: int,
    backlinks: bool,
    related: int,
    limit: int,
    max_chars: int | None,
    max_tokens: int | None,
    notice: bool,
    format_: str | None,
    store: str | None,
    **chosen: Any,
) -> None:
    """Bundle notes for a language model, within a budget, each passage with its path and lines.

    NOTES are named by id, path, title or alias. When not all fits, every chosen note gives its summary first, then whole texts
    replace summaries in the order the notes were chosen. The same request gives the same bundle.

    \b
    Examples:
      headwater notes context qp-a1b2 --walk 1 --max-tokens 4000
      headwater notes context --query 'tide OR surge' --max-chars 12000
      headwater notes context --moc 'Field notes' --json
    """
    from assets.notes.context import CHARS_PER_TOKEN, add_linked, bundle, render, to_records
    from orchestration.cli.notes_look import Look

    budgets = [number for number in (max_chars, None if max_tokens is None else max_tokens * CHARS_PER_TOKEN) if number]
    printed = chosen_format(app, "json" if format_ == "json" else None)
    with opened(app, store) as kept:
        look = Look(app, kept)
        filters = read_filters(kept, look, chosen)
        selection = select(kept, look.prefix, notes, query, mocs, related, limit, filters)
        if walk or backlinks:
            add_linked(kept.connection, selection, max(walk, 1), backlinks=backlinks)
        made = bundle(
            kept.connection,
            selection,
            kept.store.read,
            max_chars=min(budgets) if budgets else None,
            prefix=look.prefix,
            default_type=kept.config.default_note_type,
            notice=notice,
        )
        if printed == "json":
            app.emit(made.to_json(look.prefix))
        elif format_ == "records":
            app.write_text("".join(f"{line}\n" for line in to_records(made, look.prefix)))
        else:
            app.write_text(render(made, look.prefix))
        if selection.cut:
            app.note(f"{selection.cut:,} more notes were chosen than a bundle takes; narrow the request")


def select(
    kept: OpenedNotes,
    prefix: str,
    names: Sequence[str],
    query: str | None,
    mocs: Sequence[str],
    related: int,
    limit: int | None,
    filters: Filters,
    *,
    with_mocs: bool = True,
) -> Selection:
    """The notes that are asked for, `limit` of a search or filter, maps of content themselves `with_mocs`.

    Raises UsageError when nothing is asked for.
    """
    from assets.notes.context import MAX_NOTES, Selection, listed_by
    from assets.notes.filters import Filters, condition
    from assets.notes.listing import OLDEST, list_notes
    from assets.notes.lookup import find_note
    from assets.notes.search import search

    made = Selection()
    connection = kept.connection
    for name in names:
        made.add(find_note(connection, name, prefix=prefix)["number"], "asked for")
    named = list(made.picked)
    for name in mocs:
        moc = find_note(connection, name, prefix=prefix)
        if with_mocs:
            made.add(moc["number"], "asked for")
        for number in listed_by(connection, moc["number"]):
            made.add(number, f"listed in {moc['title']}")
    if query is not None:
        for hit in search(connection, query, limit=limit or MAX_NOTES, filters=filters, config=kept.config, prefix=prefix):
            made.add(hit.note.number, f"found by {query!r}")
    elif filters != Filters():
        met = condition(connection, filters, kept.config, prefix=prefix)
        for row in list_notes(connection, met, sort=OLDEST, limit=limit):
            made.add(row.number, "meets the filters")
    elif not names and not mocs:
        raise UsageError("nothing is asked for", rule="usage", fix="name notes, or give --query, --moc, --tag or another filter")
    if related:
        from assets.notes.related import related as like

        for number in named:
            for one in like(connection, number, limit=related):
                made.add(one.note.number, f"like {_title(connection, number)}")
    return made


def _title(connection: Any, number: int) -> str:
    """The title of a note."""
    (title,) = tuple(connection.execute("SELECT title FROM notes WHERE number = ?", (number,)).fetchone())
    return str(title)

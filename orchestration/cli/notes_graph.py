"""`headwater notes links|backlinks|related`: commands that list what a note is linked with.

What links mean is the business of `assets.notes.walk`. Light: everything but click is imported inside the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_filters import filter_options, read_filters
from orchestration.cli.notes_stores import format_option, note_argument, opened, store_option

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from assets.notes.walk import Choice, LinkRow
    from orchestration.cli.notes_look import Look

_STATES: Final = ("resolved", "self", "broken", "broken-anchor", "ambiguous", "attachment", "external")
_Function = TypeVar("_Function", bound=Callable[..., Any])

CHOICE = (
    click.option("--type", "-t", "types", multiple=True, metavar="TYPE", help="Only links of this type, as it is shown."),
    click.option("--exclude-type", "without", multiple=True, metavar="TYPE", help="No links of this type, as it is shown."),
    click.option("--typed-only", is_flag=True, help="Only links of the frontmatter's `links:`."),
    click.option("--inline-only", is_flag=True, help="Only links in the text."),
    click.option("--no-semantic-inversion", "plain", is_flag=True, help="Show inbound links by the type they are written with."),
)
"""The options that say which links count."""


def options(*given: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Several options as one decorator, in this order."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(given):
            function = option(function)
        return function

    return decorate


def direction_option(default: str) -> Callable[[Any], Any]:
    """`--direction`."""
    return click.option(
        "--direction",
        type=click.Choice(["out", "in", "both"]),
        default=default,
        show_default=True,
        help="Links the note has, links to it, or both.",
    )


_state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only mentions in this state; any but external if not given.",
)
_limit_option = click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N", help="At most N mentions.")


def read_choice(
    direction: str, types: Sequence[str], without: Sequence[str], typed_only: bool, inline_only: bool, plain: bool
) -> Choice:
    """The links that the options choose. Raises UsageError when they leave none."""
    from assets.notes.walk import Choice
    from schemas.errors import UsageError

    if typed_only and inline_only:
        raise UsageError("--typed-only and --inline-only leave nothing", rule="usage", fix="give one of them")
    return Choice(direction, frozenset(types), frozenset(without), typed_only, inline_only, not plain)  # type: ignore[arg-type]  # checked by click


@command("links")
@note_argument
@direction_option("both")
@options(*CHOICE)
@_state_option
@_limit_option
@format_option
@store_option
@pass_app
def links(
    app: App,
    note: str,
    direction: str,
    types: tuple[str, ...],
    without: tuple[str, ...],
    typed_only: bool,
    inline_only: bool,
    plain: bool,
    states: tuple[str, ...],
    limit: int | None,
    format_: str | None,
    store: str | None,
) -> None:
    """List every link in a note and every link to it, each where it stands, with its line.

    A link that is written in another note is shown under the inverse of its type: what B supports is supported-by B.

    \b
    Examples:
      headwater notes links qp-a1b2
      headwater notes links 'Sea level' --state broken --state ambiguous
      headwater notes links qp-a1b2 --type supported-by --json
    """
    chosen = read_choice(direction, types, without, typed_only, inline_only, plain)
    _list_links(app, "links", note, chosen, states, limit, format_, store)


@command("backlinks")
@note_argument
@options(*CHOICE)
@_state_option
@_limit_option
@format_option
@store_option
@pass_app
def backlinks(
    app: App,
    note: str,
    types: tuple[str, ...],
    without: tuple[str, ...],
    typed_only: bool,
    inline_only: bool,
    plain: bool,
    states: tuple[str, ...],
    limit: int | None,
    format_: str | None,
    store: str | None,
) -> None:
    """List every mention of a note in others: path, line and what the line says.

    \b
    Examples:
      headwater notes backlinks qp-a1b2
      headwater notes backlinks notes/tides.md --inline-only
    """
    chosen = read_choice("in", types, without, typed_only, inline_only, plain)
    _list_links(app, "backlinks", note, chosen, states, limit, format_, store)


def _list_links(
    app: App,
    name: str,
    note: str,
    chosen: Choice,
    states: tuple[str, ...],
    limit: int | None,
    format_: str | None,
    store: str | None,
) -> None:
    from assets.notes.lookup import find_note
    from assets.notes.walk import links as find
    from orchestration.cli.notes_look import Look

    with opened(app, store) as notes:
        look = Look(app, notes, format_)
        row = find_note(notes.connection, note, prefix=look.prefix)
        found = find(
            notes.connection,
            row["number"],
            chosen,
            notes.config.ontology,
            states=frozenset(states),
            limit=limit,
            read=notes.store.read,
            default_type=notes.config.default_note_type,
        )
        if look.format == "json":
            look.json(link.to_json(look.prefix) for link in found)
        elif look.format == "records":
            look.records(name, (_link_record(look, link) for link in found))
        else:
            say_links(look, found)
            if not found:
                look.summary("no links" if name == "links" else "no note links to it")
            else:
                look.summary(_counted_links(found))
                if limit is not None and len(found) == limit:
                    look.hint(f"--limit {limit} was reached; there may be more")


def _link_record(look: Look, link: LinkRow) -> str:
    """L, direction, type, id, path, line, column, state, target, text."""
    from assets.notes.shown import record

    other = link.other.id if link.other else None
    target = link.target + (f"#{link.anchor}" if link.anchor is not None else "")
    return record(
        "L", link.direction, link.type, other, look.path(link.path), link.line, link.column, link.state, target, link.text
    )


def _counted_links(found: Sequence[LinkRow]) -> str:
    notes = {(link.direction, link.other.number) for link in found if link.other}
    inbound = sum(link.direction == "in" for link in found)
    parts = [counted(len(found) - inbound, "mention") if len(found) > inbound else "", f"{inbound:,} of it" if inbound else ""]
    return f"{', '.join(filter(None, parts))}; {counted(len({number for _, number in notes}), 'note')}"


def say_links(look: Look, found: Sequence[LinkRow]) -> None:
    """Mentions for people: to where or from where, and below the line they stand in."""
    from orchestration.cli.notes_look import STATE_COLOURS, fit, one_line, padded

    app = look.app
    kinds = fit((one_line(link.type) for link in found), 24)
    for link in found:
        arrow = app.style("→" if link.direction == "out" else "←", "green" if link.direction == "out" else "blue")
        kind = app.style(padded(one_line(link.type), kinds), "dim")
        if link.other is not None and link.state != "self":
            end = f"{app.style(one_line(link.other.handle), 'cyan')}  {one_line(link.other.title)}"
        else:
            end = one_line(link.target_path or link.target) if link.state != "self" else "itself"
        if link.anchor is not None and link.direction == "out":
            end += app.style(f"  #{one_line(link.anchor)}", "dim")
        state = "" if link.state == "resolved" else "  " + app.style(link.state, STATE_COLOURS[link.state])
        app.say(f"{arrow} {kind}  {end}{state}")
        if link.candidates:
            shown = ", ".join(one_line(look.path(path)) for path in link.candidates[:5])
            app.say(app.style(f"    may be {shown}{', …' if len(link.candidates) > 5 else ''}", "yellow"))
        app.say(f"    {app.style(look.place(link.path, link.line, link.column), 'dim')}  {one_line(link.text)}".rstrip())


@command("related")
@note_argument
@filter_options
@click.option("--exclude-linked", is_flag=True, help="Only notes that no link joins with it yet.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="At most N notes.")
@format_option
@store_option
@pass_app
def related(
    app: App, /, note: str, exclude_linked: bool, limit: int, format_: str | None, store: str | None, **chosen: Any
) -> None:
    """List notes that have to do with a note, linked or not, and why: links, tags and words they share.

    \b
    Examples:
      headwater notes related qp-a1b2
      headwater notes related 'Sea level' --exclude-linked --type permanent
    """
    from assets.notes.filters import condition
    from assets.notes.lookup import find_note
    from assets.notes.related import related as find
    from orchestration.cli.notes_look import Look

    with opened(app, store) as notes:
        look = Look(app, notes, format_)
        row = find_note(notes.connection, note, prefix=look.prefix)
        found = find(
            notes.connection,
            row["number"],
            limit=limit,
            unlinked=exclude_linked,
            kept=condition(notes.connection, read_filters(notes, look, chosen), notes.config, prefix=look.prefix),
            default_type=notes.config.default_note_type,
        )
        if look.format == "json":
            look.json(one.to_json(look.prefix) for one in found)
        elif look.format == "records":
            look.records("related", (line for one in found for line in _related_records(look, one)))
        else:
            _say_related(look, notes, found)


def _related_records(look: Look, one: Any) -> list[str]:
    """The note (N), then R, id, score, linked, links shared, tags shared, words shared."""
    from assets.notes.shown import record

    through = ",".join(note.id for note in one.shared_links)
    linked = "linked" if one.linked else None
    return [
        one.note.to_record(look.prefix),
        record("R", one.note.id, f"{one.score:.4f}", linked, through, ",".join(one.shared_tags), ",".join(one.shared_words)),
    ]


def _say_related(look: Look, notes: OpenedNotes, found: Sequence[Any]) -> None:
    from orchestration.cli.notes_look import one_line

    style = look.app.style
    for one in found:
        look.app.say(f"{style(f'{one.score:5.2f}', 'green')}  {look.heading(one.note)}")
        through = ", ".join(one_line(note.title) for note in one.shared_links[:3])
        more = f" and {len(one.shared_links) - 3} more" if len(one.shared_links) > 3 else ""
        reasons = [
            "linked" if one.linked else "",
            f"both linked with {through}{more}" if through else "",
            f"both tagged {' '.join('#' + one_line(tag) for tag in one.shared_tags[:5])}" if one.shared_tags else "",
            f"both say {', '.join(one.shared_words[:6])}" if one.shared_words else "",
        ]
        look.app.say("       " + style("; ".join(filter(None, reasons)), "dim"))
    look.summary(counted(len(found), "note") if found else "nothing has to do with it")

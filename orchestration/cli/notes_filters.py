"""The options by which notes are chosen, the same in `list`, `search`, `inbox` and `related`, and what they come to.

What a filter means is `assets.notes.filters`; here it is spelled. Light: standard library and click only.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from assets.notes.filters import Filters
    from assets.notes.opened import OpenedNotes
    from orchestration.cli.notes_look import Look

_Function = TypeVar("_Function", bound=Callable[..., Any])

as_of_option = click.option(
    "--as-of", metavar="DATE", help="The date that ages and words like `yesterday` count from, in ISO 8601; now by default."
)

_OPTIONS = (
    click.option(
        "--type", "-t", "types", multiple=True, metavar="TYPE", help="Of this type; !TYPE for any other; globs allowed."
    ),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="TAGS",
        help="With these tags: `a, b`, `a OR b`, `NOT a`, `book-*`; a/b is below a.",
    ),
    click.option("--path", "paths", multiple=True, metavar="PATH", help="This file, folder or glob; !PATH for all others."),
    click.option("--since", metavar="WHEN", help="Created at or after: 2026-01-12, 2026-01, yesterday, `3 weeks ago`."),
    click.option("--until", metavar="WHEN", help="Created at or before the end of it."),
    click.option("--created", metavar="WHEN", help="Created within it: 2026-01, `last week`, 2026-01..2026-03."),
    click.option("--modified", metavar="WHEN", help="Last changed within it, by the note's own dates."),
    click.option(
        "--where",
        "--custom",
        "where",
        multiple=True,
        metavar="CONDITION",
        help="On any key of the frontmatter: k=v, k!=v, k>v, k<=v, k~part, k, !k; numbers and dates compare as such.",
    ),
    click.option(
        "--min-value", type=click.IntRange(0, 100), metavar="N", help="Worth at least N; notes without a value count 50."
    ),
    click.option("--max-value", type=click.IntRange(0, 100), metavar="N", help="Worth at most N."),
    click.option("--mocs/--exclude-mocs", "moc", default=None, help="Only maps of content, or none of them."),
    click.option("--orphan", is_flag=True, help="That no other note links to."),
    click.option("--unlinked", is_flag=True, help="That no link joins with another note, in either direction."),
    click.option("--tagless", is_flag=True, help="Without tags."),
    click.option("--untitled", is_flag=True, help="Without a title: neither in the frontmatter nor a heading."),
    click.option("--missing-backlink", is_flag=True, help="Linked by a note that it does not link back to."),
    click.option("--broken", is_flag=True, help="With a link that is broken or ambiguous."),
    click.option("--linked-by", multiple=True, metavar="NOTE", help="That NOTE links to."),
    click.option("--no-linked-by", multiple=True, metavar="NOTE", help="That NOTE does not link to."),
    click.option("--link-to", multiple=True, metavar="NOTE", help="That link to NOTE."),
    click.option("--no-link-to", multiple=True, metavar="NOTE", help="That do not link to NOTE."),
    click.option("--recursive", "-r", is_flag=True, help="Follow --linked-by and --link-to over any number of links."),
    click.option("--max-distance", type=click.IntRange(min=1), metavar="N", help="Follow them over at most N links."),
    click.option("--related-to", multiple=True, metavar="NOTE", help="Two links away from NOTE, and not linked with it."),
    click.option("--mention", "mention", multiple=True, metavar="NOTE", help="Whose text says the title or an alias of NOTE."),
    click.option("--mentioned-by", multiple=True, metavar="NOTE", help="Whose title or alias the text of NOTE says."),
    as_of_option,
)


def filter_options(function: _Function) -> _Function:
    """Add the options; the command takes them as `**chosen` and hands them to `read_filters`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def read_now(notes: OpenedNotes, as_of: str | None) -> dt.datetime:
    """What ages count from: `--as-of`, else now, in this machine's time zone. Raises UsageError."""
    if as_of is None:
        return notes.now.astimezone()
    from assets.notes.dates import read_moment

    return read_moment(as_of)


def _languages() -> list[str]:
    """English, and the language of this terminal: in which dates may be said."""
    named = os.environ.get("LC_ALL") or os.environ.get("LC_TIME") or os.environ.get("LANG") or ""
    language = named[:2].lower()
    return ["en", language] if language.isalpha() and language not in ("en", "c", "po") and len(language) == 2 else ["en"]


def read_filters(notes: OpenedNotes, look: Look, chosen: dict[str, Any]) -> Filters:
    """The filters that the options are. Raises UsageError for a date, a condition or a note that cannot be understood."""
    from assets.notes.dates import When, read_when
    from assets.notes.filters import Filters
    from assets.notes.lookup import find_note
    from assets.notes.where import read_where

    now = read_now(notes, chosen["as_of"])
    languages = _languages()

    def when(name: str) -> list[When]:
        return [read_when(chosen[name], now, languages)] if chosen[name] is not None else []

    created = [
        *when("created"),
        *(When(span.start, None) for span in when("since")),
        *(When(None, span.stop) for span in when("until")),
    ]

    def numbers(words: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(int(find_note(notes.connection, word, prefix=look.prefix)["number"]) for word in words)

    return Filters(
        types=chosen["types"],
        tags=chosen["tags"],
        paths=chosen["paths"],
        created=tuple(created),
        modified=tuple(when("modified")),
        where=tuple(read_where(text, now) for text in chosen["where"]),
        moc=chosen["moc"],
        orphan=chosen["orphan"],
        unlinked=chosen["unlinked"],
        tagless=chosen["tagless"],
        untitled=chosen["untitled"],
        missing_backlink=chosen["missing_backlink"],
        broken=chosen["broken"],
        min_value=chosen["min_value"],
        max_value=chosen["max_value"],
        linked_by=numbers(chosen["linked_by"]),
        no_linked_by=numbers(chosen["no_linked_by"]),
        link_to=numbers(chosen["link_to"]),
        no_link_to=numbers(chosen["no_link_to"]),
        recursive=chosen["recursive"],
        max_distance=chosen["max_distance"],
        related_to=numbers(chosen["related_to"]),
        mention=numbers(chosen["mention"]),
        mentioned_by=numbers(chosen["mentioned_by"]),
    )

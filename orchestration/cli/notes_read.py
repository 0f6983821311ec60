"""`headwater notes list|search|show|inbox|tags|stats`: commands that look notes up.

What is found is the business of `assets.notes`. Light: everything but click is imported inside the commands.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_filters import as_of_option, filter_options, read_filters
from orchestration.cli.notes_stores import format_option, note_argument, opened, store_option

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from assets.notes.search import Hit
    from assets.notes.shown import NoteRow
    from orchestration.cli.notes_look import Look

_TAGS_ON_A_LINE: Final = 3
_ENDLESS: Final = 1 << 30

limit_option = click.option(
    "--limit", "-n", type=click.IntRange(min=0), metavar="N", help="At most N notes; 0 for all.", default=None
)
sort_option = click.option(
    "--sort",
    metavar="ORDER",
    help="title, created, updated, path, type, value, words, links, backlinks or random; with + behind it the smallest first, "
    "with - the largest.",
)
seed_option = click.option(
    "--seed", type=int, default=0, metavar="N", help="What `--sort random` shuffles by: the same, the same."
)


@command("list")
@filter_options
@sort_option
@seed_option
@limit_option
@format_option
@store_option
@pass_app
def list_(
    app: App, /, sort: str | None, seed: int, limit: int | None, format_: str | None, store: str | None, **chosen: Any
) -> None:
    """List notes, the newest first, chosen by type, tags, dates, any key of the frontmatter, or how they are linked.

    \b
    Examples:
      headwater notes list --tag 'climate OR weather' --since 'last month'
      headwater notes list --where 'status!=done' --where 'priority>=2' --sort updated
      headwater notes list --orphan --type '!moc' --format records
      headwater notes list --sort random --seed 7 --limit 1
    """
    _list(app, "list", sort, seed, limit, format_, store, chosen)


@command("inbox")
@click.option("--exclude-linked", is_flag=True, help="Leave out those that are linked with another note.")
@filter_options
@sort_option
@seed_option
@limit_option
@format_option
@store_option
@pass_app
def inbox(
    app: App,
    /,
    exclude_linked: bool,
    sort: str | None,
    seed: int,
    limit: int | None,
    format_: str | None,
    store: str | None,
    **chosen: Any,
) -> None:
    """List what waits to be worked on: fleeting notes, and notes that no link joins with another.

    \b
    Examples:
      headwater notes inbox
      headwater notes inbox --exclude-linked --sort created+
    """
    chosen["unlinked"] = chosen["unlinked"] or exclude_linked
    _list(app, "inbox", sort, seed, limit, format_, store, chosen)


def _list(
    app: App,
    name: str,
    sort: str | None,
    seed: int,
    limit: int | None,
    format_: str | None,
    store: str | None,
    chosen: dict[str, Any],
) -> None:
    from assets.notes.filters import both, condition, waiting
    from assets.notes.listing import NEWEST, count_notes, list_notes, read_sort
    from orchestration.cli.notes_look import Look
    from schemas.notes.layout import Layout

    order = read_sort(sort) if sort is not None else NEWEST
    with _uncollected(), opened(app, store) as notes:
        look = Look(app, notes, format_)
        filters = read_filters(notes, look, chosen)
        default = notes.config.default_note_type
        kept = condition(notes.connection, filters, notes.config, prefix=look.prefix)
        if name == "inbox":
            # Only a store of the tool's own has a default that somebody chose; elsewhere a note without a type is just a note.
            kept = both(waiting(default if notes.store.layout is Layout.QIPU else ""), kept)
        rows = list_notes(notes.connection, kept, sort=order, limit=limit or None, seed=seed, default_type=default)
        if not look.is_human:
            _print(look, name, rows)
            return
        look.notes(rows)
        if not rows:
            look.summary("nothing waits" if name == "inbox" else "no notes")
            _dateless(look, notes, chosen)
        elif limit and len(rows) == limit and (total := count_notes(notes.connection, kept)) > limit:
            look.summary(f"{limit:,} of {counted(total, 'note')}; --limit 0 lists all")
        else:
            look.summary(counted(len(rows), "note"))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of circular garbage: a long list makes none, and looking for it costs as much as making the list."""
    import gc

    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _print(look: Look, name: str, rows: list[NoteRow]) -> None:
    if look.format == "json":
        look.json(row.to_json(look.prefix) for row in rows)
    else:
        look.records(name, (row.to_record(look.prefix) for row in rows))


def _dateless(look: Look, notes: OpenedNotes, chosen: dict[str, Any]) -> None:
    """Say why a date found nothing: most notes of a vault have none."""
    if not any(chosen[name] for name in ("since", "until", "created", "modified")):
        return
    (without,) = tuple(notes.connection.execute("SELECT count(*) FROM notes WHERE coalesce(created, updated) IS NULL").fetchone())
    if without:
        look.hint(f"{counted(without, 'note')} say no date, and are found by none")


@command("search")
@click.argument("query", nargs=-1, required=True)
@filter_options
@click.option("--sort", metavar="ORDER", help="An order of `list` instead of the best first.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="0 for all.")
@click.option("--lines", type=click.IntRange(0, 20), default=1, show_default=True, metavar="N", help="Lines shown of each note.")
@format_option
@store_option
@pass_app
def search(
    app: App,
    /,
    query: tuple[str, ...],
    sort: str | None,
    limit: int,
    lines: int,
    format_: str | None,
    store: str | None,
    **chosen: Any,
) -> None:
    """Find notes by what they say, the best first, with the lines that say it.

    All words must be there, in any form; "a phrase", pre*, a OR b, -without, (groups), and title: heading: tag: body: path: type:
    before a word narrow it. Anything else is looked for as it stands. Notes whose title says it come first; of equal ones the
    newer, counted from --as-of or the newest note.

    \b
    Examples:
      headwater notes search climate model
      headwater notes search '"sea level" -title:draft' --tag science --since 2026
      headwater notes search 'tag:book (author OR writer)' --format records
      headwater notes search --as-of 2026-01-12 -- -x
    """
    from assets.notes.query import parse_query
    from assets.notes.search import count_hits
    from assets.notes.search import search as find
    from orchestration.cli.notes_look import Look

    asked = parse_query(_joined(query))
    with opened(app, store) as notes:
        look = Look(app, notes, format_)
        filters = read_filters(notes, look, chosen)
        most = limit or _ENDLESS
        hits = find(
            notes.connection,
            asked,
            limit=_ENDLESS if sort is not None else most,
            filters=filters,
            now=_given(chosen["as_of"]),
            config=notes.config,
            prefix=look.prefix,
            read=notes.store.read,
            lines=0 if sort is not None else lines,
        )
        if sort is not None:
            hits = _resorted(notes, look, hits, sort, most, asked, lines)
        if look.format == "json":
            look.json(hit.to_json(look.prefix) for hit in hits)
            return
        if look.format == "records":
            look.records("search", (line for hit in hits for line in _hit_records(look, hit)))
            return
        _show_hits(look, hits)
        total = len(hits)
        if limit and len(hits) == limit:
            total = max(total, count_hits(notes.connection, asked, filters=filters, config=notes.config, prefix=look.prefix))
        if not hits:
            look.summary("no note says that")
            look.hint("join words with OR, or end one with * to find more")
        elif total > len(hits):
            look.summary(f"{len(hits):,} of {counted(total, 'note')}; --limit 0 shows all")
        else:
            look.summary(counted(len(hits), "note"))


def _joined(words: tuple[str, ...]) -> str:
    """The query of several arguments. One that the shell had quoted around spaces is a query of its own, not a phrase."""
    return " ".join(words)


def _given(as_of: str | None) -> Any:
    from assets.notes.dates import read_moment

    return read_moment(as_of) if as_of is not None else None


def _resorted(notes: OpenedNotes, look: Look, hits: list[Hit], sort: str, most: int, asked: Any, lines: int) -> list[Hit]:
    """The hits in an order of `list`, with their lines."""
    from assets.notes.filters import among
    from assets.notes.listing import list_notes, read_sort
    from assets.notes.search import show_lines

    order = read_sort(sort)
    rows = list_notes(notes.connection, among(hit.note.number for hit in hits), sort=order, limit=most)
    by_number = {hit.note.number: hit for hit in hits}
    kept = [by_number[row.number] for row in rows]
    show_lines(notes.connection, kept, asked, notes.store.read, lines)
    return kept


def _hit_records(look: Look, hit: Hit) -> list[str]:
    from assets.notes.shown import record

    return [
        hit.note.to_record(look.prefix),
        *(record("S", hit.note.id, snippet.line, snippet.text) for snippet in hit.snippets),
    ]


def _show_hits(look: Look, hits: list[Hit]) -> None:
    for hit in hits:
        look.app.say(look.heading(hit.note, hit.title_spans, with_path=False))
        for snippet in hit.snippets:
            place = look.app.style(look.place(hit.note.path, snippet.line), "dim")
            look.app.say(f"    {place}  {look.marked(snippet.text, snippet.spans)}")
        if not hit.snippets:
            look.app.say("    " + look.app.style(look.place(hit.note.path), "dim"))


@command("show")
@note_argument
@click.option("--links", "with_links", is_flag=True, help="Add every link in the note and to it.")
@click.option("--raw", is_flag=True, help="Print the file as it is, and nothing else.")
@click.option("--custom", "with_custom", is_flag=True, help="Print the keys of the frontmatter that are the user's own, only.")
@store_option
@pass_app
def show(app: App, note: str, with_links: bool, raw: bool, with_custom: bool, store: str | None) -> None:
    """Show one note: what is known of it, then its text. NOTE is its id, path, title, alias, or the beginning of its id.

    \b
    Examples:
      headwater notes show qp-a1b2
      headwater notes show 'Sea level' --links
      headwater notes show notes/tides.md --raw
    """
    from assets.notes.lookup import find_note
    from orchestration.cli.notes_look import Look

    with opened(app, store) as notes:
        look = Look(app, notes)
        row = find_note(notes.connection, note, prefix=look.prefix)
        data = notes.store.read(row["path"])
        text = data.decode("utf-8", "replace")
        if raw:
            if app.json:
                app.emit({"id": row["id"], "path": look.path(row["path"]), "text": text})
            else:
                _write_bytes(app, data, text)
            return
        facts = _facts(notes, look, row)
        if with_custom:
            _show_custom(app, facts)
            return
        found = _links_of(notes, row["number"]) if with_links else []
        body = data[row["body_start"] :].decode("utf-8", "replace").replace("\r\n", "\n").strip("\n")
        if app.json:
            record: dict[str, Any] = {**facts, "body": body}
            if with_links:
                record["links"] = [link.to_json(look.prefix) for link in found]
            app.emit(record)
            return
        _show_head(look, facts)
        app.say()
        app.say(body)
        if with_links:
            from orchestration.cli.notes_graph import say_links

            app.say()
            say_links(look, found)


def _write_bytes(app: App, data: bytes, text: str) -> None:
    """A file's bytes on stdout, unchanged; control characters are only escaped where they would reach a terminal."""
    import sys

    stream = getattr(sys.stdout, "buffer", None)
    if stream is None or sys.stdout.isatty():
        app.say(text.removesuffix("\n"))
        return
    sys.stdout.flush()
    stream.write(data)
    stream.flush()


def _facts(notes: OpenedNotes, look: Look, row: Any) -> dict[str, Any]:
    """What is known of one note."""
    from assets.notes.shown import COLUMNS, add_tags, aliases_of, made

    connection = notes.connection
    note = made([row[name] for name in COLUMNS], notes.config.default_note_type)
    add_tags(connection, [note])
    sources = connection.execute("SELECT url, title, accessed FROM sources WHERE note = ? ORDER BY position", (note.number,))
    found = connection.execute(
        "SELECT rule, severity, message, line, fix FROM findings WHERE path = ? ORDER BY line, col, rule", (note.path,)
    )
    counts = connection.execute(
        "SELECT (SELECT count(DISTINCT target) FROM edges WHERE source = ? AND target <> source), "
        "(SELECT count(DISTINCT source) FROM edges WHERE target = ? AND target <> source)",
        (note.number, note.number),
    ).fetchone()
    return {
        **note.to_json(look.prefix),
        "own_id": note.own_id,
        "title_from": note.title_from,
        "aliases": aliases_of(connection, note.number),
        "summary": row["summary"],
        "sources": [{"url": one["url"], "title": one["title"], "accessed": one["accessed"]} for one in found_rows(sources)],
        "lines": row["lines"],
        "size": row["size"],
        "oid": row["oid"],
        "link_count": counts[0],
        "backlink_count": counts[1],
        "meta": json.loads(row["meta"]),
        "fields": json.loads(row["fields"]),
        "findings": [{name: one[name] for name in ("rule", "severity", "message", "line", "fix")} for one in found_rows(found)],
    }


def found_rows(cursor: Any) -> list[Any]:
    """All rows of a query."""
    rows: list[Any] = cursor.fetchall()
    return rows


_KNOWN_KEYS: Final = frozenset(
    {
        "id", "title", "type", "created", "updated", "modified", "tags", "tag", "keywords", "keyword", "aliases", "alias",
        "sources", "source", "links", "summary", "value",
    }
)  # fmt: skip
"""Keys of the frontmatter that are shown in words of their own, or that the tool gives a meaning."""


def _own_keys(meta: dict[str, Any]) -> dict[str, Any]:
    """The keys that are the user's own: those under `custom`, and those no tool gives a meaning."""
    own = {key: value for key, value in meta.items() if key.casefold() not in _KNOWN_KEYS and key != "custom"}
    custom = meta.get("custom")
    return {**own, **(custom if isinstance(custom, dict) else {})}


def _show_custom(app: App, facts: dict[str, Any]) -> None:
    own = _own_keys(facts["meta"])
    if app.json:
        app.emit({"id": facts["id"], "path": facts["path"], "custom": own})
        return
    app.table(((app.style(key, "cyan"), _value_text(value)) for key, value in own.items()))
    if not own:
        app.say(app.style("no keys of its own", "dim"))


def _value_text(value: Any) -> str:
    from orchestration.cli.notes_look import one_line

    return one_line(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _show_head(look: Look, facts: dict[str, Any]) -> None:
    from orchestration.cli.notes_look import one_line

    app = look.app
    app.say(app.style(one_line(facts["title"]), "bold"))
    dates = [f"{name} {facts[name]}" for name in ("created", "updated") if facts[name]]
    links = f"{counted(facts['link_count'], 'link')}, {counted(facts['backlink_count'], 'backlink')}"
    rows = [
        ("id", facts["id"] + ("" if facts["own_id"] else app.style("  (from its path)", "dim"))),
        ("path", one_line(facts["path"])),
        ("type", facts["type"] + (f", value {facts['value']}" if facts["value"] is not None else "")),
        ("tags", look.tags(facts["tags"])),
        ("also", ", ".join(map(one_line, facts["aliases"]))),
        ("dates", ", ".join(dates)),
        ("size", f"{counted(facts['words'], 'word')}, {counted(facts['lines'], 'line')}; {links}"),
        *(("source", one_line(" ".join(filter(None, (one["title"], one["url"]))))) for one in facts["sources"]),
        *((one_line(key), _value_text(value)) for key, value in _own_keys(facts["meta"]).items()),
    ]
    app.table([(app.style(name, "dim"), text) for name, text in rows if text])
    for one in facts["findings"]:
        colour = {"error": "red", "warning": "yellow"}.get(one["severity"], "cyan")
        place = f"line {one['line']}: " if one["line"] else ""
        app.say(
            app.style(f"{one['severity']}: ", colour) + place + one_line(one["message"]) + app.style(f" [{one['rule']}]", "dim")
        )


def _links_of(notes: OpenedNotes, number: int) -> list[Any]:
    from assets.notes.walk import Choice, links

    return links(
        notes.connection,
        number,
        Choice(),
        notes.config.ontology,
        read=notes.store.read,
        default_type=notes.config.default_note_type,
    )


@command("tags")
@click.argument("pattern", required=False)
@click.option("--sort", type=click.Choice(["name", "count"]), default="name", show_default=True, help="The order of the tags.")
@click.option("--flat", is_flag=True, help="Do not set tags below the ones they begin with.")
@store_option
@pass_app
def tags(app: App, pattern: str | None, sort: str, flat: bool, store: str | None) -> None:
    """List the tags with the notes that have them; a/b lies below a. PATTERN is a glob.

    \b
    Examples:
      headwater notes tags
      headwater notes tags 'book*' --sort count
    """
    from assets.notes.tagging import list_tags
    from orchestration.cli.notes_look import Look, one_line

    with opened(app, store) as notes:
        look = Look(app, notes)
        found = list_tags(notes.connection, notes.config.tag_aliases, pattern)
        if sort == "count":
            found.sort(key=lambda tag: (-tag.total, tag.folded))
        if app.json:
            look.json(tag.to_json() for tag in found)
            return
        indented = not flat and sort == "name"
        rows = []
        for tag in found:
            shown = "  " * tag.depth + (tag.name.rpartition("/")[2] if tag.depth else tag.name) if indented else tag.name
            other = f"= {tag.alias_of}" if tag.alias_of else ""
            spelled = f"also {', '.join(tag.spellings[1:])}" if len(tag.spellings) > 1 else ""
            below = f"{tag.total:,} with those below" if tag.total != tag.notes else ""
            rows.append(
                (
                    app.style(one_line(shown), "magenta"),
                    f"{tag.notes:>5,}",
                    app.style(one_line("  ".join(filter(None, (below, other, spelled)))), "dim"),
                )
            )
        app.table(rows)
        (tagless,) = tuple(
            notes.connection.execute("SELECT count(*) FROM notes WHERE number NOT IN (SELECT note FROM tags)").fetchone()
        )
        look.summary(f"{counted(len(found), 'tag')}; {counted(tagless, 'note')} without one" if found else "no tags")


@command("stats")
@as_of_option
@store_option
@pass_app
def stats(app: App, as_of: str | None, store: str | None) -> None:
    """Sum up the store: notes by type, words, tags, links by state, orphans, what is wrong.

    \b
    Example:
      headwater notes stats
    """
    from assets.notes.summary import summarise
    from orchestration.cli.notes_filters import read_now
    from orchestration.cli.notes_look import STATE_COLOURS, Look, one_line
    from orchestration.cli.words import size

    with opened(app, store) as notes:
        look = Look(app, notes)
        facts = summarise(notes.connection, read_now(notes, as_of), notes.config.default_note_type)
        if app.json:
            app.emit({"store": look.store, **facts})
            return
        style = app.style

        def listed(counts: dict[str, int], colours: dict[str, str] | None = None) -> str:
            return ", ".join(
                f"{count:,} " + (style(one_line(name), colours[name]) if colours and name in colours else one_line(name))
                for name, count in counts.items()
            )

        rows = [
            ("notes", f"{facts['notes']:,}" + (f": {listed(facts['types'])}" if facts["types"] else "")),
            ("read", listed(facts["outcomes"], {"degraded": "yellow", "quarantined": "red"})),
            ("text", f"{counted(facts['words'], 'word')}, {size(facts['bytes'])}"),
            ("tags", f"{facts['tags']:,}, {counted(facts['tagless'], 'note')} without one"),
            ("mentions", f"{facts['mentions']:,}: {listed(facts['states'], STATE_COLOURS)}" if facts["mentions"] else "0"),
            ("edges", f"{facts['edges']:,}: {listed(facts['link_types'])}" if facts["edges"] else "0"),
            ("orphans", f"{facts['orphans']:,}, {facts['unlinked']:,} linked with nothing"),
            ("attachments", f"{facts['attachments']:,}"),
            (
                "dated",
                f"{facts['oldest']} to {facts['newest']}; {facts['changed_lately']:,} in the last 7 days"
                if facts["oldest"]
                else "no note has a date",
            ),
            ("findings", listed(facts["findings"], {"error": "red", "warning": "yellow"}) or style("none", "green")),
        ]
        app.table([(style(name, "dim"), text) for name, text in rows if text])

"""`headwater notes links|backlinks|tree|path|related`: commands that follow links.

What links mean is the business of `assets.notes.walk`. Light: everything but click is imported inside the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_filters import filter_options, read_filters
from orchestration.cli.notes_stores import format_option, note_argument, opened, store_option

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from assets.notes.walk import Choice, LinkRow, Node, Step, Tree, Way
    from orchestration.cli.notes_look import Look

_STATES: Final = ("resolved", "self", "broken", "broken-anchor", "ambiguous", "attachment", "external")
_Function = TypeVar("_Function", bound=Callable[..., Any])

_CHOICE = (
    click.option("--type", "-t", "types", multiple=True, metavar="TYPE", help="Only links of this type, as it is shown."),
    click.option("--exclude-type", "without", multiple=True, metavar="TYPE", help="No links of this type, as it is shown."),
    click.option("--typed-only", is_flag=True, help="Only links of the frontmatter's `links:`."),
    click.option("--inline-only", is_flag=True, help="Only links in the text."),
    click.option("--no-semantic-inversion", "plain", is_flag=True, help="Show inbound links by the type they are written with."),
)
_WALK = (
    click.option("--ignore-value", is_flag=True, help="Count links: each costs 1, whatever its type and the notes' values."),
    click.option("--min-value", type=click.IntRange(0, 100), metavar="N", help="Pass no note worth less; without a value: 50."),
)


def _options(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _direction(default: str) -> Callable[[Any], Any]:
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


def _choice(
    direction: str, types: Sequence[str], without: Sequence[str], typed_only: bool, inline_only: bool, plain: bool
) -> Choice:
    from assets.notes.walk import Choice
    from schemas.errors import UsageError

    if typed_only and inline_only:
        raise UsageError("--typed-only and --inline-only leave nothing", rule="usage", fix="give one of them")
    return Choice(direction, frozenset(types), frozenset(without), typed_only, inline_only, not plain)  # type: ignore[arg-type]  # checked by click


@command("links")
@note_argument
@_direction("both")
@_options(*_CHOICE)
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
    chosen = _choice(direction, types, without, typed_only, inline_only, plain)
    _list_links(app, "links", note, chosen, states, limit, format_, store)


@command("backlinks")
@note_argument
@_options(*_CHOICE)
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
    chosen = _choice("in", types, without, typed_only, inline_only, plain)
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


@command("tree")
@note_argument
@_direction("both")
@click.option(
    "--max-hops", type=click.FloatRange(min=0), default=3, show_default=True, metavar="N", help="How far to go, in cost of links."
)
@click.option("--max-nodes", type=click.IntRange(min=1), metavar="N", help="At most N notes.")
@click.option("--max-edges", type=click.IntRange(min=0), metavar="N", help="At most N links.")
@click.option("--max-fanout", type=click.IntRange(min=1), metavar="N", help="At most N links on from each note, the cheapest.")
@click.option("--max-chars", type=click.IntRange(min=1), metavar="N", help="At most N characters of ids, titles and types.")
@_options(*_CHOICE, *_WALK)
@format_option
@store_option
@pass_app
def tree(
    app: App,
    note: str,
    direction: str,
    max_hops: float,
    max_nodes: int | None,
    max_edges: int | None,
    max_fanout: int | None,
    max_chars: int | None,
    types: tuple[str, ...],
    without: tuple[str, ...],
    typed_only: bool,
    inline_only: bool,
    plain: bool,
    ignore_value: bool,
    min_value: int | None,
    format_: str | None,
    store: str | None,
) -> None:
    """Show the notes around a note as a tree, each once, on the cheapest way to it.

    A link costs what its type costs (1; for structure such as part-of 0.5) times 1 + (100 - value) / 100 of the note it leads to.
    What a limit cut off is said at the end. --json prints one object: nodes, the tree, all links between the nodes.

    \b
    Examples:
      headwater notes tree qp-a1b2
      headwater notes tree qp-a1b2 --direction out --max-nodes 20 --ignore-value
    """
    from assets.notes.lookup import find_note
    from assets.notes.walk import Limits
    from assets.notes.walk import tree as grow
    from orchestration.cli.notes_look import Look

    chosen = _choice(direction, types, without, typed_only, inline_only, plain)
    with opened(app, store) as notes:
        look = Look(app, notes, format_)
        row = find_note(notes.connection, note, prefix=look.prefix)
        grown = grow(
            notes.connection,
            row["number"],
            chosen,
            notes.config.ontology,
            Limits(max_hops, max_nodes, max_edges, max_fanout, max_chars),
            ignore_value=ignore_value,
            min_value=min_value,
            default_type=notes.config.default_note_type,
        )
        if look.format == "json":
            look.json([_tree_json(look, row["id"], grown, direction)])
        elif look.format == "records":
            look.records("tree", _tree_records(look, grown))
        else:
            _say_tree(look, grown)


def _tree_json(look: Look, root: str, grown: Tree, direction: str) -> dict[str, Any]:
    nodes = grown.nodes
    return {
        "root": root,
        "direction": direction,
        "nodes": [
            {**node.note.to_json(look.prefix), "depth": node.depth, "cost": round(node.cost, 6)} for node in nodes.values()
        ],
        "tree": [
            {
                "from": nodes[node.step.start].note.id,
                "to": node.note.id,
                "depth": node.depth,
                "cost": round(node.cost, 6),
                **_step_json(node.step),
            }
            for node in nodes.values()
            if node.step is not None
        ],
        "links": [
            {"from": nodes[source].note.id, "to": nodes[target].note.id, "type": stored, "inline": inline}
            for source, target, stored, inline in grown.links
        ],
        "truncated": bool(grown.reasons),
        "reasons": grown.reasons,
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "type": step.type,
        "stored_type": step.stored_type,
        "virtual": step.virtual,
        "direction": "in" if step.backward else "out",
        "inline": step.inline,
    }


def _tree_records(look: Look, grown: Tree) -> Iterator[str]:
    """The notes (N); T, depth, cost, from, to, type, direction; E, from, to, type, inline; W, the limits that were met."""
    from assets.notes.shown import record

    nodes = grown.nodes
    for node in nodes.values():
        yield node.note.to_record(look.prefix)
    for node in nodes.values():
        if node.step is not None:
            way = "in" if node.step.backward else "out"
            start = nodes[node.step.start].note.id
            yield record("T", node.depth, f"{node.cost:g}", start, node.note.id, node.step.type, way)
    for source, target, stored, inline in grown.links:
        yield record("E", nodes[source].note.id, nodes[target].note.id, stored, "inline" if inline else "typed")
    if grown.reasons:
        yield record("W", "truncated", ",".join(grown.reasons))


def _say_tree(look: Look, grown: Tree) -> None:
    app = look.app
    if not grown.nodes:
        look.summary("nothing: the note's own value is below --min-value")
        return
    root = next(iter(grown.nodes))
    app.say(look.heading(grown.nodes[root].note))
    # Not by recursion: a chain of links may be longer than Python's stack.
    waiting: list[tuple[str, bool, Node | Step]] = _below(grown, root, "")
    while waiting:
        indent, last, item = waiting.pop()
        app.say(app.style(indent + ("└─ " if last else "├─ "), "dim") + _branch(look, grown, item))
        if not isinstance(item, tuple):
            waiting += _below(grown, item.note.number, indent + ("   " if last else "│  "))
    many = f"{counted(len(grown.nodes), 'note')}, {counted(len(grown.links), 'link')} between them"
    look.summary(many + (f"; cut short by {', '.join(f'--{reason}' for reason in grown.reasons)}" if grown.reasons else ""))


def _below(grown: Tree, number: int, indent: str) -> list[tuple[str, bool, Node | Step]]:
    """What hangs below a note, the last first."""
    node = grown.nodes[number]
    items: list[Node | Step] = [*(grown.nodes[child] for child in node.children), *node.again]
    return [(indent, at == len(items) - 1, item) for at, item in enumerate(items)][::-1]


def _branch(look: Look, grown: Tree, item: Node | Step) -> str:
    from orchestration.cli.notes_look import one_line

    style = look.app.style
    step = item if isinstance(item, tuple) else item.step
    assert step is not None
    kind = style(("← " if step.backward else "→ ") + one_line(step.type), "dim")
    note = grown.nodes[step.end].note
    if isinstance(item, tuple):
        return f"{kind}  {style(one_line(note.handle), 'cyan')}  {style('see above', 'dim')}"
    return f"{kind}  {style(one_line(note.handle), 'cyan')}  {one_line(note.title)}"


@command("path")
@click.argument("start", metavar="FROM")
@click.argument("end", metavar="TO")
@_direction("both")
@click.option(
    "--max-hops",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How far to go, in cost of links.",
)
@_options(*_CHOICE, *_WALK)
@format_option
@store_option
@pass_app
def path(
    app: App,
    start: str,
    end: str,
    direction: str,
    max_hops: float,
    types: tuple[str, ...],
    without: tuple[str, ...],
    typed_only: bool,
    inline_only: bool,
    plain: bool,
    ignore_value: bool,
    min_value: int | None,
    format_: str | None,
    store: str | None,
) -> None:
    """Show the cheapest way of links from one note to another; costs are those of `tree`.

    \b
    Examples:
      headwater notes path 'Sea level' 'Milankovitch cycles'
      headwater notes path qp-a1b2 qp-c3d4 --direction out --typed-only
    """
    from assets.notes.lookup import find_note
    from assets.notes.walk import path as find
    from orchestration.cli.notes_look import Look

    chosen = _choice(direction, types, without, typed_only, inline_only, plain)
    with opened(app, store) as notes:
        look = Look(app, notes, format_)
        first = find_note(notes.connection, start, prefix=look.prefix)
        last = find_note(notes.connection, end, prefix=look.prefix)
        way = find(
            notes.connection,
            first["number"],
            last["number"],
            chosen,
            notes.config.ontology,
            max_hops=max_hops,
            ignore_value=ignore_value,
            min_value=min_value,
            default_type=notes.config.default_note_type,
        )
        if look.format == "json":
            look.json([_way_json(look, first["id"], last["id"], way)])
        elif look.format == "records":
            look.records("path", _way_records(look, way))
        elif way is None:
            look.summary(f"no way within {max_hops:g} hops")
        else:
            _say_way(look, way)


def _way_json(look: Look, first: str, last: str, way: Way | None) -> dict[str, Any]:
    ids = {note.number: note.id for note in way.notes} if way else {}
    return {
        "from": first,
        "to": last,
        "found": way is not None,
        "cost": round(way.cost, 6) if way else None,
        "hops": len(way.steps) if way else None,
        "notes": [note.to_json(look.prefix) for note in way.notes] if way else [],
        "steps": [
            {"from": ids[step.start], "to": ids[step.end], "cost": round(step.cost, 6), **_step_json(step)} for step in way.steps
        ]
        if way
        else [],
    }


def _way_records(look: Look, way: Way | None) -> Iterator[str]:
    from assets.notes.shown import record

    if way is None:
        return
    ids = {note.number: note.id for note in way.notes}
    for note in way.notes:
        yield note.to_record(look.prefix)
    for step in way.steps:
        yield record("E", ids[step.start], ids[step.end], step.type, "in" if step.backward else "out", f"{step.cost:g}")


def _say_way(look: Look, way: Way) -> None:
    from orchestration.cli.notes_look import one_line

    style = look.app.style
    for at, note in enumerate(way.notes):
        if at:
            step = way.steps[at - 1]
            look.app.say(style(f"  {'↑' if step.backward else '↓'} {one_line(step.type)}", "dim"))
        look.app.say(look.heading(note))
    look.summary(f"{counted(len(way.steps), 'link')}, cost {way.cost:g}")


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

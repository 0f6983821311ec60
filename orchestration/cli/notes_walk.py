"""`headwater notes tree|path`: commands that go from note to note.

What a walk is and costs is the business of `assets.notes.walk`. Light: everything but click is imported inside the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_graph import CHOICE, direction_option, options, read_choice
from orchestration.cli.notes_stores import format_option, note_argument, opened, store_option

if TYPE_CHECKING:
    from assets.notes.walk import Node, Step, Tree, Way
    from orchestration.cli.notes_look import Look

_WALK = (
    click.option("--ignore-value", is_flag=True, help="Count links: each costs 1, whatever its type and the notes' values."),
    click.option("--min-value", type=click.IntRange(0, 100), metavar="N", help="Pass no note worth less; without a value: 50."),
)


@command("tree")
@note_argument
@direction_option("both")
@click.option(
    "--max-hops", type=click.FloatRange(min=0), default=3, show_default=True, metavar="N", help="How far to go, in cost of links."
)
@click.option("--max-nodes", type=click.IntRange(min=1), metavar="N", help="At most N notes.")
@click.option("--max-edges", type=click.IntRange(min=0), metavar="N", help="At most N links.")
@click.option("--max-fanout", type=click.IntRange(min=1), metavar="N", help="At most N links on from each note, the cheapest.")
@click.option("--max-chars", type=click.IntRange(min=1), metavar="N", help="At most N characters of ids, titles and types.")
@options(*CHOICE, *_WALK)
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

    chosen = read_choice(direction, types, without, typed_only, inline_only, plain)
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
@direction_option("both")
@click.option(
    "--max-hops",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How far to go, in cost of links.",
)
@options(*CHOICE, *_WALK)
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

    chosen = read_choice(direction, types, without, typed_only, inline_only, plain)
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

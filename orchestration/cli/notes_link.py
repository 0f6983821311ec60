"""`headwater notes link add|rm|materialize`: commands that change typed links. Following links is `notes_graph`'s business."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, group, pass_app
from orchestration.cli.notes_plans import carry_out, dry_run_option, found_note, joined, linker, yes_option
from orchestration.cli.notes_stores import store_option
from schemas.errors import InvalidText, UsageError

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan


@group("link")
def link() -> None:
    """Add and remove typed links, which stand in the frontmatter; `links` and `backlinks` list them.

    \b
    Examples:
      headwater notes link add qp-a1b2 supports qp-c3d4
      headwater notes link materialize qp-a1b2 --dry-run
    """


@command("add")
@click.argument("source", metavar="A")
@click.argument("middle", metavar="TYPE")
@click.argument("last", metavar="B", required=False)
@click.option("--type", "-t", "link_type", metavar="TYPE", help="The type, where it does not stand between A and B.")
@store_option
@dry_run_option
@pass_app
def add(app: App, source: str, middle: str, last: str | None, link_type: str | None, store: str | None, dry_run: bool) -> None:
    """Say that note A is related to note B by TYPE; a link that is there already changes nothing.

    Types with a meaning of their own are related, derived-from, supports, contradicts, part-of, answers, refines, same-as,
    alias-of, follows, their inverses, and those of the store's ontology; any other word is taken too.

    \b
    Examples:
      headwater notes link add qp-a1b2 supports qp-c3d4
      headwater notes link add "Raft" refines "Paxos"
    """
    kind, target = _typed(middle, last, link_type)

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import link_add

        return link_add(notes.store, found_note(notes, source), kind, found_note(notes, target), now=notes.now)

    carry_out(app, store, make, label="notes link add", dry_run=dry_run)


@command("rm")
@click.argument("source", metavar="A")
@click.argument("middle", metavar="TYPE")
@click.argument("last", metavar="B", required=False)
@click.option("--type", "-t", "link_type", metavar="TYPE", help="The type, where it does not stand between A and B.")
@store_option
@dry_run_option
@pass_app
def rm(app: App, source: str, middle: str, last: str | None, link_type: str | None, store: str | None, dry_run: bool) -> None:
    """Take a typed link out of note A; links in its text stay.

    B may be a note that is gone: name it as the link does.

    \b
    Example:
      headwater notes link rm qp-a1b2 supports qp-c3d4
    """
    kind, target = _typed(middle, last, link_type)

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import link_rm

        try:
            there = found_note(notes, target)
        except UsageError as error:
            if error.rule != "note-unknown":
                raise
            there = target  # a link that leads nowhere can still be taken out as it is spelled
        return link_rm(notes.store, found_note(notes, source), kind, there, now=notes.now)

    carry_out(app, store, make, label="notes link rm", dry_run=dry_run)


@command("materialize")
@click.argument("notes", nargs=-1, metavar="[NOTE]...")
@store_option
@click.option("--all", "everything", is_flag=True, help="Every note of the store.")
@click.option("--type", "-t", "link_type", default="related", show_default=True, metavar="TYPE", help="The type the links get.")
@click.option("--remove-inline", is_flag=True, help="Replace the links in the text by their labels.")
@dry_run_option
@yes_option
@pass_app
def materialize(
    app: App,
    notes: tuple[str, ...],
    store: str | None,
    everything: bool,
    link_type: str,
    remove_inline: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Write the links that stand in a note's text into its frontmatter as typed links.

    A link that is there already is not added twice.

    \b
    Examples:
      headwater notes link materialize qp-a1b2 --dry-run
      headwater notes link materialize --all --type related
    """
    if everything == bool(notes):
        raise UsageError("name notes, or pass --all", rule="usage", fix="give one of the two")

    def make(opened: OpenedNotes) -> Plan:
        from resources.notes.inline import materialize as plan_materialize

        paths = opened.store.note_paths() if everything else list(dict.fromkeys(found_note(opened, note) for note in notes))
        links = linker(opened)
        plans = []
        with app.progress("materialize", len(paths)) as bar:
            for path in paths:
                bar.advance(path)
                try:
                    made = plan_materialize(
                        opened.store, links, path, link_type=link_type, remove_inline=remove_inline, now=opened.now
                    )
                except InvalidText as error:
                    if not everything:
                        raise
                    app.note(f"passed over {opened.store.workspace_path(path)}: {error.message}")
                    continue
                plans.append(made)
        return joined(plans, "materialize")

    carry_out(app, store, make, label="notes link materialize", dry_run=dry_run, yes=yes)


def _typed(middle: str, last: str | None, given: str | None) -> tuple[str, str]:
    """(type, B) of `A TYPE B` or `A B --type TYPE`. Raises UsageError for a link without a type."""
    if last is None and given is not None:
        return given, middle
    if last is None:
        from schemas.notes.linktypes import BUILT_IN

        raise UsageError(
            "the type of the link is missing",
            rule="link-type",
            fix=f"write A TYPE B, with a type such as {', '.join(BUILT_IN)}",
        )
    if given is not None:
        raise UsageError("the type of the link is named twice", rule="usage", fix="write A TYPE B, or A B --type TYPE")
    return middle, last


link.add_command(add)
link.add_command(rm)
link.add_command(materialize)

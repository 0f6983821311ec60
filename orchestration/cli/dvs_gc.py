"""`headwater dvs gc`, `trash`, `repack`: room in the storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, group, pass_app, yes_option
from orchestration.cli.dvs_stores import dry_run_option, message_option, opened_repo, size_text, store_option
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.gc import Plan
    from resources.dvs.repo import DvsRepo

_SHOWN = 10


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from schemas.dvs.config import duration

        if isinstance(value, float):
            return value
        try:
            return 0.0 if str(value).strip() == "0" else float(duration(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@command("gc")
@dry_run_option
@click.option(
    "--plan", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Collect only what this reviewed plan names."
)
@click.option("--expire", type=_Duration(), help="States of the log that ended longer ago count no more, such as 90d.")
@click.option("--no-history", is_flag=True, help="What only older commits, other branches or stashes of git name may go.")
@click.option("--all-clones", is_flag=True, help="This clone speaks for everybody: what only other clones added may go.")
@click.option("--unclaimed", is_flag=True, help="Objects that no line of the audit log names may go.")
@click.option("--grace", type=_Duration(), default="24h", show_default=True, help="What was put so recently stays.")
@click.option("--keep-trash", type=_Duration(), default="7d", show_default=True, help="How long the trash is kept.")
@message_option
@yes_option
@store_option
@pass_app
def gc(
    app: App,
    dry_run: bool,
    plan: str | None,
    expire: float | None,
    no_history: bool,
    all_clones: bool,
    unclaimed: bool,
    grace: float,
    keep_trash: float,
    message: str | None,
    yes: bool,
    store: str | None,
) -> int:
    """Put objects of the storage that nobody needs into its trash, and delete what has lain there long enough.

    An object is needed when the working tree, the manifest, a state of the log, or any commit, branch, tag or stash of git names
    it. What other clones added stays, and what nobody claims, unless the options say otherwise. A plan is made first and kept as
    a file in `.dvs/state/gc`; --dry-run stops there, --plan carries out one that was reviewed.

    \b
    Examples:
      headwater dvs gc --dry-run
      headwater dvs gc --expire 90d
      headwater dvs gc --plan .dvs/state/gc/20260102T030405Z.json --yes
    """
    from resources.dvs.gc import Options, carry_out, make_plan, read_plan

    options = Options(expire, not no_history, all_clones, unclaimed, grace)
    only: set[str] | None = None
    with opened_repo(app, store) as repo:
        if plan is not None:
            options, only = read_plan(repo, Path(plan).read_bytes(), plan)
        repo.require_reason(message if not dry_run else "dry run")
        made = make_plan(repo, options, write=plan is None)
        if only is not None:
            made.items = [item for item in made.items if item.oid in only]
        _show_plan(app, made)
        if dry_run:
            return 0
        if made.items and not yes:
            _ask(app, f"Put {counted(len(made.items), 'object')} ({size_text(made.bytes)}) into the trash?")
        with app.progress("collecting", total=len(made.items)) as bar:
            result = carry_out(
                repo,
                options,
                only={item.oid for item in made.items},
                keep_trash=keep_trash,
                reason=message or "",
                progress=bar.advance,
            )
        size = sum(item.bytes for item in result.collected)
        summary = {
            "collected": len(result.collected),
            "bytes": size,
            "trash": result.collection,
            "spared": len(result.spared),
            "deleted": len(result.emptied),
            "brought_back": len(result.brought_back),
        }
        parts = [
            f"{len(result.collected):,} collected" + (f" ({size_text(size)}) into trash/{result.collection}" if size else "")
        ]
        parts += [f"{number:,} {word}" for number, word in (
            (len(result.spared), "spared, needed by now"),
            (len(result.brought_back), "brought back from the trash, needed again"),
            (len(result.emptied), "deleted for good"),
        ) if number]  # fmt: skip
        app.emit({"summary": summary}, "; ".join(parts))
    return 0


def _ask(app: App, question: str) -> None:
    if not app.interactive:
        raise HeadwaterError(
            "nothing was done: nobody can be asked here", fix="pass --yes, or --dry-run to look first", rule="not-asked"
        )
    if not app.confirm(question):
        raise HeadwaterError("nothing was done", fix="`headwater dvs gc --dry-run` shows the plan", rule="declined")


def _show_plan(app: App, plan: Plan) -> None:
    for item in plan.items if app.json else plan.items[:_SHOWN]:
        app.emit(
            {"oid": item.oid, "bytes": item.bytes, "path": item.path, "action": "collect"},
            f"{app.style('collect', 'yellow')}  {item.oid}  {size_text(item.bytes)}",
        )
    if len(plan.items) > _SHOWN and not app.json:
        app.say(app.style(f"… and {counted(len(plan.items) - _SHOWN, 'more object')}", "dim"))
    stays = ", ".join(f"{number:,} {reason}" for reason, number in sorted(plan.stays.items()))
    text = f"{counted(len(plan.items), 'object')} to collect ({size_text(plan.bytes)})" if plan.items else "nothing to collect"
    app.emit({"plan": plan.summary()}, f"{text}; stay: {stays or 'none'}")
    if plan.items and plan.path:
        app.say(app.style(f"the plan is in {plan.path}", "dim"))


@group("trash")
def trash() -> None:
    """What `gc` collected, until it is emptied."""


@trash.command("list")
@store_option
@pass_app
def trash_list(app: App, store: str | None) -> None:
    """The collections in the trash, oldest first."""
    from resources.dvs.trash import collections

    with opened_repo(app, store) as repo:
        found = collections(repo)
        for one in found:
            more = f"  {one.user}" + (f": {one.reason}" if one.reason else "")
            app.emit(one.to_json(), f"{one.name}  {counted(one.objects, 'object')}, {size_text(one.bytes)}{more}")
        if not found:
            app.say("the trash is empty")


@trash.command("restore")
@click.argument("name", required=False)
@click.option("--oid", "oids", multiple=True, metavar="OID", help="Only this object; may be given several times.")
@message_option
@store_option
@pass_app
def trash_restore(app: App, name: str | None, oids: tuple[str, ...], message: str | None, store: str | None) -> int:
    """Bring objects back into the storage, verified: those of the collection NAME, of all of them without one."""
    from resources.dvs.trash import restore
    from schemas.dvs.oids import read_oid

    wanted = {read_oid(oid) for oid in oids} or None

    def work(repo: DvsRepo, advance: Callable[[str], None]) -> list[str]:
        return restore(repo, name, oids=wanted, reason=message or "", progress=advance)

    with opened_repo(app, store) as repo:
        repo.require_reason(message)
        with app.progress("restoring") as bar:
            back = work(repo, bar.advance)
        for oid in back if app.json else ():
            app.emit({"oid": oid, "outcome": "restored"})
        missing = sorted((wanted or set()) - set(back) - repo.objects.present(wanted or ()))
        app.emit({"summary": {"restored": len(back), "missing": missing}}, f"{counted(len(back), 'object')} brought back")
        for oid in missing:
            app.note(f"{oid} is not in the trash")
    return int(bool(missing))


@trash.command("empty")
@click.option(
    "--older-than", type=_Duration(), default="7d", show_default=True, help="Only what was collected longer ago; 0 for all."
)
@message_option
@yes_option
@store_option
@pass_app
def trash_empty(app: App, older_than: float, message: str | None, yes: bool, store: str | None) -> None:
    """Delete for good what lies in the trash; what the present state names again is brought back first."""
    from resources.dvs.roots import needed
    from resources.dvs.trash import empty

    with opened_repo(app, store) as repo:
        repo.require_reason(message)
        if not yes:
            _ask(app, "Delete what lies in the trash for good?")
        old, gone = empty(repo, older_than=older_than, keep=needed(repo, expire=0.0, history=False), reason=message or "")
        size = sum(one.bytes for one in old)
        app.emit(
            {"summary": {"collections": len(old), "objects": len(gone), "bytes": size}},
            f"{counted(len(old), 'collection')} with {counted(len(gone), 'object')} ({size_text(size)}) deleted",
        )


@command("repack")
@click.option("--layout", type=click.Choice(["packed", "loose"]), help="Another layout than the repository's own, this once.")
@store_option
@pass_app
def repack(app: App, layout: str | None, store: str | None) -> int:
    """Gather small objects that lie as files into packs, small packs into larger ones; with `--layout loose` take packs apart.

    Both layouts can always be read. Ends with 1 when an object is damaged: it stays where it is.
    """
    from resources.dvs.repack import repack as work

    with opened_repo(app, store) as repo:
        with app.progress("repacking") as bar:
            made = work(repo, layout, progress=bar.advance)
        for error in made.damaged:
            app.show_error(error)
        text = f"{made.packed:,} packed, {made.unpacked:,} unpacked, {made.packs_before:,} packs before, {made.packs_after:,} now"
        app.emit({"summary": made.to_json()}, text)
    return int(bool(made.damaged))

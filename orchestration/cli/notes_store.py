"""`headwater notes init|index|relayout|sync`: commands on a store as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_plans import INVALID, carry_out, dry_run_option, linker, yes_option
from orchestration.cli.notes_stores import opened, store_option
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.engine.model import Outcome
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan


@command("init")
@click.argument("path", required=False)
@click.option("--visible", is_flag=True, help="Start it in qipu/ instead of .qipu/.")
@click.option("--stealth", is_flag=True, help="Have git ignore it, by one line in the project's .gitignore.")
@click.option(
    "--branch",
    metavar="[NAME]",
    is_flag=False,
    flag_value="qipu-metadata",
    help="Keep it on a branch of its own (qipu-metadata without a NAME), checked out in the store's folder.",
)
@pass_app
def init(app: App, path: str | None, visible: bool, stealth: bool, branch: str | None) -> None:
    """Start a notes store in the project folder PATH (relative to --root): settings, templates, folders, what git should know.

    Nothing that is there is overwritten; run it again to add what is missing. A folder of Markdown or an Obsidian vault needs no
    init: it is a store as it is.

    \b
    Examples:
      headwater notes init
      headwater notes init --stealth           git ignores it
      headwater notes init . --branch          `headwater notes sync` shares it, your branches stay free of it
    """
    from orchestration.cli.notes_init import start

    if stealth and branch is not None:
        raise UsageError(
            "--stealth and --branch exclude each other", rule="usage", fix="a store that git ignores lies on no branch: give one"
        )
    project = app.root or "."
    if path is not None:
        project = path if app.root is None else f"{app.root.rstrip('/')}/{path}" if not path.startswith("/") else path
    root = start(app, project, visible=visible, stealth=stealth, branch=branch)
    app.say(f'Next: headwater notes new "A title"{"" if root in (".qipu", "qipu") else f" -s {root}"}')


@command("index")
@store_option
@click.option("--rebuild", is_flag=True, help="Build it from nothing instead of bringing it up to date.")
@click.option("--rewrite-wiki-links", "rewrite", is_flag=True, help="Turn [[links]] in the text into Markdown links first.")
@dry_run_option
@yes_option
@pass_app
def index(app: App, store: str | None, rebuild: bool, rewrite: bool, dry_run: bool, yes: bool) -> None:
    """Bring the index up to date, and say what it holds.

    Every command does so by itself; this is for looking, and for building it anew. With `rewrite_wiki_links = true` in
    config.toml, [[links]] in the text are rewritten here as with --rewrite-wiki-links.

    \b
    Examples:
      headwater notes index
      headwater notes index --rebuild
      headwater notes index --rewrite-wiki-links --dry-run
    """
    with opened(app, store) as notes:
        rewrite = rewrite or notes.config.rewrite_wiki_links
        first = notes.outcome
    if rewrite:
        carry_out(app, store, _rewritten, label="notes index --rewrite-wiki-links", dry_run=dry_run, yes=yes)
    if dry_run:
        return
    with opened(app, store) as notes:
        # What was built to read the settings, or after the rewriting, was built by this command too.
        later = notes.outcome if rewrite else first
        outcome = _rebuilt(app, notes) if rebuild else later
        counts = dict(notes.connection.execute(_COUNTS).fetchone())
        record = {"outcome": str(outcome.result), "seconds": round(outcome.seconds, 3), "path": str(notes.path), **counts}
        words = ", ".join(counted(counts[name], singular) for name, singular in _WORDS.items())
        app.emit(record, f"{outcome.result}: {words}")


_COUNTS = """
    SELECT (SELECT count(*) FROM notes) AS notes, (SELECT count(*) FROM mentions) AS mentions,
      (SELECT count(*) FROM edges) AS edges, (SELECT count(*) FROM unresolved) AS unresolved,
      (SELECT count(*) FROM attachments) AS attachments, (SELECT count(*) FROM findings) AS findings
"""

_WORDS = {
    "notes": "note",
    "mentions": "link",
    "edges": "edge",
    "unresolved": "unresolved link",
    "attachments": "attachment",
    "findings": "finding",
}


def _rewritten(notes: OpenedNotes) -> Plan:
    from resources.notes.inline import rewrite_wiki_links

    return rewrite_wiki_links(notes.store, linker(notes))


def _rebuilt(app: App, notes: OpenedNotes) -> Outcome:
    """The index built from nothing, without the build cache."""
    from assets.engine.model import Policy

    outcome = app.engine().build_one(notes.ref, Policy(force=True, use_cache=False))
    if outcome.error is not None:
        raise outcome.error
    notes.refresh()
    return outcome


@command("relayout")
@store_option
@click.option("--mocs", type=click.Choice(["folder", "type"]), help="Maps lie in mocs/, or among the other notes.")
@click.option("--note-path", type=click.Choice(["flat", "date"]), help="Notes lie in notes/, or in notes/YYYY/MM/.")
@click.option("--attachments", type=click.Choice(["flat", "per-note"]), help="Attachments lie in one folder, or in one per note.")
@dry_run_option
@yes_option
@pass_app
def relayout(
    app: App, store: str | None, mocs: str | None, note_path: str | None, attachments: str | None, dry_run: bool, yes: bool
) -> None:
    """Move every file to where the layout puts it, rewrite the links, and write the layout into config.toml.

    Without options, files that lie elsewhere than [layout] says are put right. Notes in folders of your own stay.

    \b
    Examples:
      headwater notes relayout --note-path date --dry-run
      headwater notes relayout --mocs type --attachments per-note
    """

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.relayout import relayout as plan_relayout

        return plan_relayout(notes.store, linker(notes), mocs=mocs, note_path=note_path, attachments=attachments)

    carry_out(app, store, make, label="notes relayout", dry_run=dry_run, yes=yes)


@command("sync")
@store_option
@click.option(
    "--branch",
    metavar="[NAME]",
    is_flag=False,
    flag_value="qipu-metadata",
    help="Put the store on this branch first, as `init --branch` does.",
)
@click.option("--remote", metavar="NAME", help="The remote to share it with, instead of the branch's or origin.")
@click.option("--message", "-m", default="Update the notes", show_default=True, metavar="TEXT", help="The commit's message.")
@click.option("--no-push", is_flag=True, help="Commit and take in what others did, but push nothing.")
@pass_app
def sync(app: App, store: str | None, branch: str | None, remote: str | None, message: str, no_push: bool) -> int:
    """Commit a store that is on a branch of its own, merge what others pushed, and push it.

    Your checked-out branch, its index and its files are not touched, whatever state they are in. What both sides changed
    differently stays in the notes between conflict markers, is listed, and the exit code is 3: decide, and sync again.

    \b
    Examples:
      headwater notes sync
      headwater notes sync --branch notes --remote origin
      headwater notes sync --no-push -m "Notes of Monday"
    """
    from orchestration.cli.notes_stores import chosen_store
    from resources.notes.branch import attach_branch
    from resources.notes.store import NotesStore
    from resources.notes.sync import sync as sync_store

    if not message.strip():
        raise UsageError("the message is empty", rule="usage", fix="say what changed")
    place = chosen_store(app, store)
    root = app.workspace().root.local_root
    if root is None:
        raise UsageError("a workspace at a URL has no branches", rule="needs-local", fix="run it in a clone")
    with NotesStore(app.workspace().root, place.root).lock():
        if branch is not None:
            for line in attach_branch(root / place.root, branch, remote=remote):
                app.note(line)
        done = sync_store(
            root / place.root, prefix=place.root, storage=app.workspace().root, remote=remote, message=message, push=not no_push
        )
    record = {name: getattr(done, name) for name in ("branch", "remote", "committed", "pulled", "pushed")}
    app.emit({**record, "conflicts": len(done.findings)})
    for line in done.lines or ["nothing to commit, take in or push"]:
        app.say(line)
    app.show_findings(done.findings)
    if done.pulled:
        opened(app, store).close()
    return INVALID if done.findings else 0

"""`headwater dvs log`, `show`, `rollback`, `undo`: the states a repository has been in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.dvs_get import rescue_option
from orchestration.cli.dvs_stores import (
    SHOWN_ROWS,
    dry_run_option,
    message_option,
    opened_repo,
    repo_path,
    show_report,
    store_option,
)

if TYPE_CHECKING:
    from resources.dvs.history import Plan
    from resources.dvs.results import Report

_SHOWN_PATHS = 5

files_option = click.option(
    "--materialize/--no-materialize", "files", default=True, help="Restore the files too, or only sidecars and manifest."
)
force_option = click.option(
    "--force",
    "-f",
    is_flag=True,
    help="Go on where files hold unsaved bytes. They are put into the storage first: the same as --rescue.",
)


@command("log")
@click.option("--limit", "-n", type=click.IntRange(1), help="Only the newest so many.")
@store_option
@pass_app
def log(app: App, limit: int | None, store: str | None) -> None:
    """The operations of this clone, newest first; `@{0}` is the present state."""
    from resources.dvs.history import log as run

    with opened_repo(app, store) as repo:
        _records, problems = repo.log()
        records = run(repo, limit=limit)
        for index, record in enumerate(records):
            shown = ", ".join(record.paths[:_SHOWN_PATHS])
            more = f", … {counted(len(record.paths), 'file')}" if len(record.paths) > _SHOWN_PATHS else ""
            place = app.style(f"@{{{index}}}", "cyan")
            text = f"{place} {app.style(record.op, 'bold')} {record.new[:8]} {record.ts} {record.actor}"
            app.emit(
                {
                    "index": index,
                    "op": record.op,
                    "state": record.new,
                    "old": record.old,
                    "ts": record.ts,
                    "actor": record.actor,
                    "message": record.message,
                    "paths": list(record.paths),
                },
                text + (f" - {record.message}" if record.message else "") + (f"\n      {shown}{more}" if shown else ""),
            )
        if not records:
            app.say("nothing has been done yet")
        for problem in problems:
            app.note(f"{problem.place}: {problem.message}; {problem.fix}")


@command("show")
@click.argument("what", metavar="OID|PATH[@STATE]")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write the bytes to this new file.")
@click.option("--info", is_flag=True, help="Say what it is instead of printing its bytes.")
@store_option
@pass_app
def show(app: App, what: str, output: str | None, info: bool, store: str | None) -> None:
    """The bytes of an object, or of a file as it was in a state, verified.

    STATE is a position in the log (`data.csv@0`), an id or its beginning, HEAD~1, or a day (`data.csv@2026-01-31`).
    """
    from pathlib import Path

    from resources.dvs.history import blocks_of, find_object

    with opened_repo(app, store) as repo:
        given = what
        if not what.lower().startswith(("blake3:", "sha256:", "xxh3:")):
            path, at, state = what.rpartition("@")
            whole = repo_path(app, repo, what)
            given = whole if not at or repo.sidecar_file(whole) is not None else f"{repo_path(app, repo, path)}@{state}"
        oid, found = find_object(repo, given)
        held = repo.find(oid)
        if info or app.json:
            where = None if held is None else ("cache" if held is repo.cache else "storage")
            record = {"oid": oid, "path": found, "held": where}
            app.emit(record, f"{oid}{'  ' + found if found else ''}  {'in the ' + where if where else 'held by no place here'}")
            if info or output is None:
                return
        blocks = blocks_of(repo, oid)
        if output is not None:
            if held is not None:
                held.fetch(oid, Path(output))
            return
        for block in blocks:
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


@command("rollback")
@click.argument("state")
@message_option
@files_option
@rescue_option
@force_option
@dry_run_option
@store_option
@pass_app
def rollback(
    app: App, state: str, message: str | None, files: bool, rescue: bool, force: bool, dry_run: bool, store: str | None
) -> int:
    """Go back to a state: sidecars, manifest and files become what they were.

    STATE is a position in the log (0 is the newest), an id or its beginning, HEAD~1, or a day. Files that were not tracked then
    stay where they are. Going back is an operation itself: `undo` takes it back.
    """
    from resources.dvs.history import rollback as run

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        with app.progress("going back") as bar:
            report, plan = run(
                repo,
                state,
                rescue=rescue or force,
                files=files,
                message=message or "",
                dry_run=dry_run,
                progress=bar.advance,
            )
        return _show(app, report, plan, dry_run=dry_run)


@command("undo")
@message_option
@files_option
@rescue_option
@force_option
@dry_run_option
@store_option
@pass_app
def undo(app: App, message: str | None, files: bool, rescue: bool, force: bool, dry_run: bool, store: str | None) -> int:
    """Go back to the state before the last operation. Undoing an undo brings it back."""
    from resources.dvs.history import undo as run

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        with app.progress("going back") as bar:
            report, plan = run(
                repo, rescue=rescue or force, files=files, message=message or "", dry_run=dry_run, progress=bar.advance
            )
        return _show(app, report, plan, dry_run=dry_run)


def _list(app: App, word: str, paths: Sequence[str]) -> None:
    for path in paths[:SHOWN_ROWS]:
        app.say(f"{word}  {path}")
    if len(paths) > SHOWN_ROWS:
        app.say(app.style(f"… and {counted(len(paths) - SHOWN_ROWS, 'more file')}; --json lists them all", "dim"))


def _show(app: App, report: Report, plan: Plan, *, dry_run: bool) -> int:
    record = {
        "target": plan.target,
        "restored": list(plan.restored),
        "removed": list(plan.removed),
        "unsaved": list(plan.unsaved),
        "missing": list(plan.missing),
        "dry_run": dry_run,
    }
    app.emit(record)
    if dry_run:
        _list(app, "would restore", plan.restored)
        _list(app, "would untrack", plan.removed)
    if not plan.restored and not plan.removed:
        app.say(f"nothing differs from {plan.target[:12]}")
        return 0
    if dry_run:
        return 0
    code = show_report(app, report)
    _list(app, "untracked", plan.removed)
    app.say(f"now at {plan.target[:12]}")
    return code

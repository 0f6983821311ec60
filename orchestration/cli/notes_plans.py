"""How every command that changes notes does it: lock, plan from the files, compare-and-swap, refresh the index, say what changed.

What is planned is `resources.notes`' business; here a plan is shown, asked about and carried out, the same way in every command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, counted
from orchestration.cli.notes_diff import difference, records
from schemas.errors import Conflict, HeadwaterError, InvalidText, UsageError
from schemas.paths import check_path

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan
    from resources.notes.linking import Linker
    from schemas.findings import Finding

ASKED_FROM: Final = 10
"""Files that a command may change at a terminal without asking."""
SHOWN_LINES: Final = 40
"""Lines of a difference shown before a question."""
INVALID: Final = 3
"""Exit code when the text that was written breaks a rule."""

Make = Callable[["OpenedNotes"], "Plan"]
Report = Callable[["OpenedNotes", "Plan"], tuple[Mapping[str, Any], str | None]]
"""The one record that `--json` prints instead of one per file, and the line people see instead of the plan's (None: those)."""

dry_run_option = click.option("--dry-run", is_flag=True, help="Print the change as a unified diff and write nothing.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask, however many files are changed.")


@contextlib.contextmanager
def writing(app: App, selector: str | None) -> Iterator[OpenedNotes]:
    """The store that is meant, opened for a change: no other command changes it meanwhile. Raises as `opened` does."""
    from assets.notes.opened import open_notes
    from orchestration.cli.notes_stores import chosen_store
    from resources.notes.store import NotesStore

    store = chosen_store(app, selector)
    # Opened under the lock, so that the index has seen what the command before us wrote.
    with NotesStore(app.workspace().root, store.root).lock(), open_notes(app.engine(), store) as notes:
        if notes.notice is not None:
            app.note(notes.notice)
        yield notes


def carry_out(
    app: App,
    selector: str | None,
    make: Make,
    *,
    label: str,
    dry_run: bool = False,
    yes: bool = True,
    report: Report | None = None,
    before: Callable[[OpenedNotes, Plan], None] | None = None,
) -> Plan | None:
    """Plan a change of the store and make it; the plan that was carried out or shown, None when the answer was no.

    `make` plans from the files as they are; it is called again after a question and after a lost race. Without `yes`, a change
    of more than ASKED_FROM files is shown and asked about at a terminal. `before` is called with a plan that is about to be
    carried out. Raises Conflict when the files changed twice while they were being rewritten.
    """
    from orchestration.cli.notes_stores import opened

    if dry_run:
        with opened(app, selector) as notes:
            plan = _planned(notes, make)
            show_difference(app, notes, plan, report)
            return plan
    agreed = yes or not app.interactive
    while True:
        with writing(app, selector) as notes:
            plan = _planned(notes, make)
            if agreed or len(plan.changes) <= ASKED_FROM:
                if before is not None:
                    before(notes, plan)
                return _written(app, notes, plan, make, label, report)
        lines = difference(plan).splitlines()
        for line in lines[:SHOWN_LINES]:
            app.note(_coloured(app, line))
        if len(lines) > SHOWN_LINES:
            app.note(f"… and {counted(len(lines) - SHOWN_LINES, 'line')} more")
        if not app.confirm(f"Change {counted(len(plan.changes), 'file')}?"):
            return None
        agreed = True


def _planned(notes: OpenedNotes, make: Make) -> Plan:
    """`make`'s plan; what it raises names files as people know them, from the workspace's root."""
    try:
        return make(notes)
    except InvalidText as error:
        findings = [replace(one, path=_shown(notes, one.path)) for one in error.findings]
        raise InvalidText(findings, error.message) from error
    except HeadwaterError as error:
        if error.path is not None:
            error.path = _shown(notes, error.path)
        raise


def _shown(notes: OpenedNotes, path: str) -> str:
    """The workspace's path of a file of the store; other paths as they are."""
    prefix = notes.store.workspace_path("")
    try:
        check_path(path, portable=False)
        return notes.store.workspace_path(path) if prefix and notes.store.exists(path) else path
    except HeadwaterError:
        return path


def _written(app: App, notes: OpenedNotes, plan: Plan, make: Make, label: str, report: Report | None) -> Plan:
    """Commit the plan, once more from the files as they are now when one of them was edited meanwhile."""
    if plan.changes:
        try:
            notes.store.commit(plan.changes, label)
        except Conflict:
            notes.refresh()
            plan = _planned(notes, make)
            _commit_again(notes, plan, label)
        refresh(app, notes)
    say_changes(app, notes, plan, report)
    return plan


def _commit_again(notes: OpenedNotes, plan: Plan, label: str) -> None:
    try:
        notes.store.commit(plan.changes, label)
    except Conflict as error:
        raise Conflict(
            "not written: it was changed twice while the command ran",
            rule=error.rule,
            path=error.path,
            fix="let the other program finish, and run the command again",
        ) from error


def refresh(app: App, notes: OpenedNotes) -> None:
    """Bring the index up to date after a change. What keeps it from that is said; the change itself has been made."""
    try:
        notes.refresh()
    except HeadwaterError as error:
        app.note(f"the files are written; the index was not brought up to date: {error}")


def inside(notes: OpenedNotes, word: str) -> str:
    """A path as people write it, as the store's: without `./` before it, a slash behind it and the store's own folder.

    Raises UsageError for an absolute path outside of the store.
    """
    root = notes.store.storage.local_root
    if word.startswith("/"):
        base = f"{root / notes.store.root}/" if root is not None else "/"
        if not f"{word}/".startswith(base):
            raise UsageError(f"{word!r} lies outside of the store", rule="path-outside", fix="give a path in the store")
        return word[len(base) :].rstrip("/")
    plain = "" if word == "." else word.removeprefix("./").rstrip("/")
    prefix = notes.store.workspace_path("")
    return plain[len(prefix) :] if prefix and f"{plain}/".startswith(prefix) else plain


def joined(plans: Iterable[Plan], label: str) -> Plan:
    """One plan of several that change different files."""
    from resources.notes.changes import Plan

    made = Plan(label)
    for plan in plans:
        made.changes += plan.changes
        made.lines += plan.lines
        made.before |= plan.before
    return made


def linker(notes: OpenedNotes) -> Linker:
    """The links of the store as its index knows them."""
    from assets.notes.linker import IndexLinker

    return IndexLinker(notes.connection)


def found_note(notes: OpenedNotes, word: str) -> str:
    """The store's path of the note that a person means. Raises UsageError: `note-unknown`, `note-ambiguous`."""
    from assets.notes.lookup import find_note

    path: str = find_note(notes.connection, word, prefix=notes.store.workspace_path(""))["path"]
    return path


def say_changes(app: App, notes: OpenedNotes, plan: Plan, report: Report | None) -> None:
    """What was written: the report's line or the plan's for people; one record, or one per file, for programs."""
    record, line = report(notes, plan) if report is not None else (None, None)
    if not app.json:
        for said in [line] if line is not None else plan.lines if plan.changes else ["nothing to change"]:
            app.say(said)
        return
    if record is not None:
        app.emit({**record, "written": bool(plan.changes)})
        return
    for one in records(plan):
        app.emit({**one, "written": True})
    if not plan.changes:
        app.emit({"path": None, "change": None, "written": False})


def show_difference(app: App, notes: OpenedNotes, plan: Plan, report: Report | None) -> None:
    """What a plan would change, as a unified diff; for programs in the record."""
    if app.json:
        record = report(notes, plan)[0] if report is not None else {}
        app.emit({**record, "files": records(plan), "written": False, "diff": difference(plan)})
        return
    for line in difference(plan).splitlines():
        app.say(_coloured(app, line))
    if not plan.changes:
        app.say("nothing to change")


def file_findings(notes: OpenedNotes, path: str) -> list[Finding]:
    """What the index says is wrong with the file at the store's `path` and with its links."""
    from schemas.findings import Finding, Severity

    rows = notes.connection.execute(
        "SELECT rule, severity, message, line, col, fix, value FROM findings WHERE path = ? ORDER BY line, col, rule", (path,)
    )
    shown = notes.store.workspace_path(path)
    return [Finding(rule, Severity(severity), shown, *rest) for rule, severity, *rest in rows]


def _coloured(app: App, line: str) -> str:
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return app.style(line, colour) if colour else line

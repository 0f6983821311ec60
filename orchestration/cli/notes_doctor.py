"""`headwater notes doctor`: what is wrong with one notes store, by rule, and the repairs, each step shown and agreed to."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.notes_diff import difference
from orchestration.cli.notes_plans import dry_run_option, writing, yes_option
from orchestration.cli.notes_stores import chosen_store, opened, store_option
from schemas.errors import Conflict, HeadwaterError, UsageError

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan
    from schemas.findings import Finding

INVALID: Final = 3
"""Exit code when there is an error among the findings."""
_MOST_RENUMBERED: Final = 1_000


@command("doctor")
@store_option
@click.option("--rule", "-r", "chosen", multiple=True, metavar="RULE", help="Only findings of this rule; repeatable.")
@click.option("--duplicates", is_flag=True, help="Also look for notes that say nearly the same.")
@click.option(
    "--threshold", type=float, default=None, metavar="0..1", help="How near counts as nearly the same.  [default: 0.85]"
)
@click.option("--fix", is_flag=True, help="Show the repairs as a diff, step by step, ask, and make them.")
@click.option("--sarif", is_flag=True, help="Print one SARIF 2.1.0 document, for code-review tools.")
@dry_run_option
@yes_option
@pass_app
def doctor(
    app: App,
    store: str | None,
    chosen: tuple[str, ...],
    duplicates: bool,
    threshold: float | None,
    fix: bool,
    sarif: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """List what is wrong with a store: its notes, links, names, attachments and settings.

    The findings are those of `headwater check`. Exits with 3 when there is an error, after whatever --fix repaired. Safe repairs
    come first; then, each asked about by itself: broken links with one near name, dead typed links, and ids that two notes share.

    \b
    Examples:
      headwater notes doctor
      headwater notes doctor --rule link-broken
      headwater notes doctor --duplicates --threshold 0.7
      headwater notes doctor --fix --dry-run
    """
    from assets.notes.duplicates import THRESHOLD, check_threshold

    wanted = check_threshold(THRESHOLD if threshold is None else threshold)
    if fix and sarif:
        raise UsageError("--fix and --sarif exclude each other", fix="run them one after the other", rule="usage")
    if dry_run and not fix:
        raise UsageError("--dry-run says what --fix would do", fix="pass --fix too", rule="usage")
    _check_rules(chosen)
    started = time.monotonic()
    near = wanted if duplicates or threshold is not None else None
    found, notes = _look(app, store, chosen, near)
    if fix and _repair(app, store, found, chosen, dry_run=dry_run, yes=yes):
        app.engine().refresh()
        found, notes = _look(app, store, chosen, near)
    if sarif:
        from orchestration.cli.sarif import document

        app.write_text(json.dumps(document(found), ensure_ascii=False, indent=2) + "\n")
    elif not dry_run:
        app.show_findings(found)
        _say_counts(app, found, notes, time.monotonic() - started)
    return INVALID if any(str(one.severity) == "error" for one in found) else 0


def _check_rules(chosen: tuple[str, ...]) -> None:
    from schemas.findings import RULES
    from schemas.notes import rules  # noqa: F401 - registers the rules

    for rule in chosen:
        if rule not in RULES:
            from difflib import get_close_matches

            near = get_close_matches(rule, RULES, 3) or ["link-broken", "notes-duplicate-id"]
            raise UsageError(f"there is no rule {rule!r}", fix=f"did you mean {' or '.join(near)}?", rule="usage")


def _look(app: App, selector: str | None, chosen: tuple[str, ...], near: float | None) -> tuple[list[Finding], int]:
    """(the findings of the store, how many notes it has)."""
    place = chosen_store(app, selector)
    found = list(app.engine().checks.findings(place))
    with opened(app, selector) as notes:
        if near is not None:
            from assets.notes.duplicates import duplicate_findings

            found += duplicate_findings(notes.connection, notes.store.workspace_path(""), near)
        (count,) = notes.connection.execute("SELECT count(*) FROM notes").fetchone()
    return sorted(one for one in found if not chosen or one.rule in chosen), count


def _say_counts(app: App, found: list[Finding], notes: int, seconds: float) -> None:
    """How many findings of each rule there are, the most serious first."""
    if app.json:
        return
    order = {"error": 0, "warning": 1, "info": 2}
    counts = Counter((str(one.severity), one.rule) for one in found)
    rows = sorted(counts.items(), key=lambda row: (order[row[0][0]], -row[1], row[0][1]))
    if rows:
        app.say()
        app.table([[f"{many:,}", severity, rule] for (severity, rule), many in rows])
    total = Counter(str(one.severity) for one in found)
    words = ", ".join(counted(total[name], name) for name in ("error", "warning") if total[name])
    words = ", ".join(filter(None, [words, f"{total['info']:,} for information" if total["info"] else ""]))
    app.say(f"{words or app.style('no findings', 'green')} in {counted(notes, 'note')} ({seconds:.1f} s)")


def _repair(app: App, selector: str | None, found: list[Finding], chosen: tuple[str, ...], *, dry_run: bool, yes: bool) -> bool:
    """Every step shown, agreed to and made; whether anything was written."""
    wrote = offered = False
    for title, question, make in _steps(found, chosen):
        for _ in range(_MOST_RENUMBERED):
            with opened(app, selector) as notes:
                plan = make(notes)
            if plan is None or not plan.changes:
                break
            offered = True
            app.note(app.style(title, "bold"))
            _show(app, plan)
            if dry_run:
                break
            if not yes and not app.interactive:
                raise HeadwaterError(
                    f"{counted(len(plan.changes), 'file')} not repaired: nobody can be asked here",
                    fix="pass --yes to apply the repairs, --rule to choose among them",
                    rule="not-asked",
                )
            if not yes and not app.confirm(question.format(counted(len(plan.changes), "file"))):
                break
            _write(app, selector, plan)
            wrote = True
            if make is not _renumbered:
                break
    if not offered:
        app.note("nothing that can be repaired")
    return wrote


_Make = Callable[["OpenedNotes"], "Plan | None"]


def _steps(found: list[Finding], chosen: tuple[str, ...]) -> Iterator[tuple[str, str, _Make]]:
    """(title, question, plan) of each step that has to do with the rules that were chosen, in order."""
    from assets.notes import fixes
    from schemas.notes import rules

    def about(*wanted: str) -> bool:
        return any(one.rule in wanted for one in found) and (not chosen or bool(set(wanted) & set(chosen)))

    yield "Safe repairs", "Repair {}?", lambda notes: fixes.safe(notes.store, notes.connection, found)
    if about(rules.DUPLICATE_ID.id):
        yield "Another id for the later of two notes that share one", "Change {}?", _renumbered
    if about(rules.BROKEN.id, rules.ATTACHMENT.id):
        yield (
            "Broken links with one near name",
            "Turn the links in {}?",
            lambda notes: fixes.near_links(notes.store, notes.connection),
        )
    if about(rules.BROKEN.id):
        yield (
            "Typed links to notes that are gone",
            "Take them out of {}?",
            lambda notes: fixes.dead_links(notes.store, notes.connection),
        )


def _renumbered(notes: OpenedNotes) -> Plan | None:
    from assets.notes import fixes
    from resources.notes.taken import ids_on_branches, names_on_disk
    from schemas.notes.newids import new_id

    def made() -> str:
        on_disk, elsewhere = names_on_disk(notes.store), ids_on_branches(notes.store)

        def taken(wanted: str) -> bool:
            known = notes.connection.execute("SELECT 1 FROM notes WHERE id = ?", (wanted,)).fetchone()
            return known is not None or on_disk(wanted) or wanted in elsewhere

        return new_id(notes.config.id_scheme, taken, now=notes.now, entropy=os.urandom)

    return fixes.one_renumbering(notes.store, notes.connection, made, notes.now)


def _show(app: App, plan: Plan) -> None:
    for line in plan.lines:
        app.note(f"  {line}")
    for line in difference(plan).splitlines():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        app.note(app.style(line, colour) if colour else line)


def _write(app: App, selector: str | None, plan: Plan) -> None:
    """Commit exactly what was shown. Raises Conflict when a file was changed since."""
    with writing(app, selector) as notes:
        try:
            notes.store.commit(plan.changes, plan.label)
        except Conflict as error:
            raise Conflict(
                "not repaired: it was changed while the repair was looked at", rule=error.rule, path=error.path,
                fix="run the command again",
            ) from error  # fmt: skip
        notes.refresh()
    app.note(f"changed {counted(len(plan.changes), 'file')}")

"""`headwater dvs doctor`: what is wrong with a repository and its clone, and the safe repairs, shown before they are made."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, command, counted, pass_app, yes_option
from orchestration.cli.dvs_stores import chosen_root, dry_run_option, opened_repo, store_option
from schemas.errors import HeadwaterError, InvalidText, UsageError

if TYPE_CHECKING:
    from resources.dvs.mend import Repairs
    from resources.dvs.repo import DvsRepo
    from resources.storage.base import Storage
    from schemas.findings import Finding

INVALID: Final = 3
"""Exit code when there is an error among the findings."""
_SHOWN_LINES: Final = 40
"""Lines of one file's difference that are shown."""


@command("doctor")
@store_option
@click.option("--rule", "-r", "chosen", multiple=True, metavar="RULE", help="Only findings of this rule; repeatable.")
@click.option("--objects/--no-objects", default=True, help="Also look up the object of every versioned file.")
@click.option("--fix", is_flag=True, help="Show the safe repairs as a diff, ask, and make them.")
@dry_run_option
@yes_option
@pass_app
def doctor(app: App, store: str | None, chosen: tuple[str, ...], objects: bool, fix: bool, dry_run: bool, yes: bool) -> int:
    """List what is wrong with a repository: its text, what git hides and tracks of it, its storage, its objects, its clone.

    The findings in the text are those of `headwater check`. Exits with 3 when there is an error, after whatever --fix repaired.
    --fix touches no data, no object and nothing that git tracks but text: it brings dvs.lock in step with the sidecars, corrects
    .gitignore and .gitattributes, removes a second sidecar that says the same, and mends the log of the clone.

    \b
    Examples:
      headwater dvs doctor
      headwater dvs doctor --fix --dry-run
      headwater dvs doctor --rule dvs-data-in-git
    """
    if dry_run and not fix:
        raise UsageError("--dry-run says what --fix would do", fix="pass --fix too", rule="usage")
    _check_rules(chosen)
    workspace, root = chosen_root(app, store)
    for line in workspace.recover():
        app.note(line)
    found = _look(app, workspace.root, root, store, chosen, objects=objects)
    if fix and _repair(app, workspace.root, root, store, found, dry_run=dry_run, yes=yes):
        found = _look(app, workspace.root, root, store, chosen, objects=objects)
    if not (fix and dry_run):
        app.show_findings(found)
        _say_counts(app, found)
    return INVALID if any(one.blocking for one in found) else 0


def _check_rules(chosen: Sequence[str]) -> None:
    import resources.dvs.doctor  # noqa: F401 - registers the rules
    from schemas.findings import RULES

    for rule in chosen:
        if rule not in RULES:
            from difflib import get_close_matches

            near = get_close_matches(rule, RULES, 3) or ["dvs-drift", "dvs-data-in-git"]
            raise UsageError(f"there is no rule {rule!r}", fix=f"did you mean {' or '.join(near)}?", rule="usage")


def _look(app: App, storage: Storage, root: str, selector: str | None, chosen: Sequence[str], *, objects: bool) -> list[Finding]:
    """All findings, sorted; those of the clone and the objects where the repository can be opened at all."""
    from resources.dvs.doctor import clone_findings, findings

    found = findings(storage, root)
    try:
        with opened_repo(app, selector) as repo:
            found += clone_findings(repo, objects=objects)
    except InvalidText as error:
        app.note(f"the clone and the objects were not looked at: {error.message}")
    return sorted(one for one in found if not chosen or one.rule in chosen)


def _say_counts(app: App, found: Sequence[Finding]) -> None:
    total = Counter(str(one.severity) for one in found)
    words = ", ".join(counted(total[name], name) for name in ("error", "warning") if total[name])
    words = ", ".join(filter(None, [words, f"{total['info']:,} for information" if total["info"] else ""]))
    app.say(words or app.style("no findings", "green"))


# repairs


def _repair(
    app: App, storage: Storage, root: str, selector: str | None, found: Sequence[Finding], *, dry_run: bool, yes: bool
) -> bool:
    """Show, ask, make; whether anything was changed."""
    try:
        with opened_repo(app, selector) as repo:
            return _repair_with(app, storage, root, repo, found, dry_run=dry_run, yes=yes)
    except InvalidText:
        return _repair_with(app, storage, root, None, found, dry_run=dry_run, yes=yes)


def _repair_with(
    app: App, storage: Storage, root: str, repo: DvsRepo | None, found: Sequence[Finding], *, dry_run: bool, yes: bool
) -> bool:
    from assets.engine.repairs import repairs as replacements
    from resources.dvs.mend import repairs

    made = repairs(storage, root, found, repo)
    taken = {change.path for change in made.changes}
    for repair in replacements(storage, (one for one in found if one.path not in taken)):
        made.before[repair.path] = storage.read(repair.path)
        made.changes.append(repair.change)
        made.lines.append(f"correct {counted(repair.lines, 'line')} of {repair.path}")
    if not made:
        app.note("nothing that can be repaired safely")
        return False
    for line in _shown(app, made):
        app.note(line)
    if dry_run:
        return False
    if not yes and not app.interactive:
        raise HeadwaterError(
            f"{counted(len(made.lines), 'repair')} not made: nobody can be asked here",
            fix="pass --yes to make them, --rule to choose among them",
            rule="not-asked",
        )
    if not yes and not app.confirm(f"Make {counted(len(made.lines), 'repair')}?"):
        return False
    _make(app, storage, root, repo, made)
    return True


def _shown(app: App, made: Repairs) -> Iterator[str]:
    for line in made.lines:
        yield f"  {line}"
    for change in made.changes:
        before = made.before.get(change.path, b"").decode("utf-8", "replace").splitlines()
        after = (change.data or b"").decode("utf-8", "replace").splitlines()
        old = "/dev/null" if change.path not in made.before else f"a/{change.path}"
        new = "/dev/null" if change.data is None else f"b/{change.path}"
        for number, line in enumerate(difflib.unified_diff(before, after, old, new, n=0, lineterm="")):
            if number == _SHOWN_LINES:
                yield "…"
                break
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            yield app.style(line, colour) if colour else line
    for name, value in made.settings:
        yield f"git config {name} '{value}'"


def _make(app: App, storage: Storage, root: str, repo: DvsRepo | None, made: Repairs) -> None:
    """Commit exactly what was shown; the state of the clone follows the text. Raises Conflict when a file was changed since."""
    from resources.dvs.mend import set_in_git

    if made.changes:
        storage.commit(made.changes, label="dvs doctor --fix")
    set_in_git(storage, root, made.settings)
    if repo is not None and made.changes:
        from resources.dvs.snapshots import tracked_now

        with repo.lock():
            repo.record("add", tracked_now(repo), [], "doctor --fix")
    app.note(f"made {counted(len(made.lines), 'repair')}")

"""`headwater check`: every finding in the text, as lines, JSON or SARIF, and the safe repairs that `--fix` applies.

What is wrong is each kind's business; turning findings into repairs lies in `assets.engine.repairs`, into SARIF in
`orchestration.cli.sarif`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app, select_argument, yes_option
from orchestration.cli.words import nothing_here
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from schemas.findings import Finding

INVALID = 3
"""Exit code when a finding blocks builds."""


@command("check")
@select_argument
@click.option("--fix", is_flag=True, help="Show the safe repairs as a diff, ask, and apply them.")
@click.option("--sarif", is_flag=True, help="Print one SARIF 2.1.0 document, for code-review tools.")
@yes_option
@pass_app
def check(app: App, select: tuple[str, ...], fix: bool, sarif: bool, yes: bool) -> int:
    """List every problem in the text with file, line, column, rule and fix.

    SELECT picks stores by their artifacts (globs on kind/store/artifact). Exits with 3 when a finding blocks builds; warnings
    alone exit with 0.
    """
    if fix and sarif:
        raise UsageError("--fix and --sarif exclude each other", fix="run them one after the other", rule="usage")
    found = _findings(app, select)
    if not sarif and not found and nothing_here(app, select):
        return 0
    if fix and _repair(app, select, yes):
        app.engine().refresh()
        found = _findings(app, select)
    if sarif:
        from orchestration.cli.sarif import document

        app.write_text(json.dumps(document(found), ensure_ascii=False, indent=2) + "\n")
        return INVALID if any(finding.blocking for finding in found) else 0
    app.show_findings(found)
    counts = Counter(str(finding.severity) for finding in found)
    words = ", ".join(counted(counts[name], name) for name in ("error", "warning") if counts[name])
    if counts["info"]:
        words = ", ".join(filter(None, [words, f"{counts['info']:,} for information"]))
    app.say(words or app.style("no findings", "green"))
    return INVALID if counts["error"] else 0


def _findings(app: App, select: tuple[str, ...]) -> list[Finding]:
    """All findings of the selected stores, sorted by place."""
    return sorted(finding for findings in app.engine().check(select).values() for finding in findings)


def _repair(app: App, select: tuple[str, ...], yes: bool) -> bool:
    """Show, ask, apply; whether anything was written."""
    from assets.engine.repairs import all_repairs, unified

    fixable = all_repairs(app.engine(), app.engine().check(select))
    if not fixable:
        app.note("nothing that can be repaired safely")
        return False
    for repair in fixable:
        for line in unified(repair):
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            app.note(app.style(line, colour) if colour else line)
    total = f"{counted(sum(repair.lines for repair in fixable), 'line')} of {counted(len(fixable), 'file')}"
    if not yes:
        if not app.interactive:
            raise HeadwaterError(
                f"{total} not repaired: nobody can be asked here",
                fix="pass --yes to apply them",
                rule="not-asked",
            )
        if not app.confirm(f"Repair {total}?"):
            return False
    app.workspace().root.commit([repair.change for repair in fixable], label="check --fix")
    app.note(f"repaired {total}")
    return True

"""What the commands of versioned data share: the repository they mean, its paths as people type them, and how rows are shown.

Light: standard library and click only, everything else inside functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, counted
from schemas.errors import UsageError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.dvs.results import Report, Row
    from resources.workspace import Workspace

CONFIG_FILES: Final = ("dvs.toml", "dvs.yaml", "dvs.json")
SHOWN_ROWS: Final = 40
"""Rows of one outcome shown to people before the rest is counted; `--json` prints every row."""
_BATCH_LINES: Final = 10_000_000

store_option = click.option(
    "--store",
    "-s",
    metavar="FOLDER",
    type=click.Path(),
    help="The folder of the repository, relative to --root, when it is not the one around here.",
)
paths_argument = click.argument("paths", nargs=-1, metavar="[PATHS]...", type=click.Path())
"""Files, folders or globs, relative to the current folder or to --root."""
batch_option = click.option(
    "--batch",
    is_flag=True,
    help="Read paths from standard input, one per line; empty lines and those that begin with # are skipped.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
message_option = click.option("--message", "-m", metavar="TEXT", help="Why: kept in the sidecar, the log and the audit log.")


@contextmanager
def opened_repo(app: App, selector: str | None = None) -> Iterator[DvsRepo]:
    """The repository that is meant, after completing what a killed command left; closed at the end.

    Raises UsageError naming the choices, NotInitialized, InvalidText.
    """
    from resources.dvs.opening import open_repo
    from resources.dvs.operation import complete

    workspace, root = chosen_root(app, selector)
    for line in workspace.recover():
        app.note(line)
    repo = open_repo(workspace, root, actor=os.environ.get("HEADWATER_ACTOR") or None)
    try:
        for line in complete(repo):
            app.note(line)
        for finding in repo.config_warnings:
            app.note(finding.render())
        trouble = repo.storage_trouble()
        if trouble is not None:
            app.note(f"{trouble}: is it mounted? What it holds cannot be had now; nothing is put there")
        yield repo
    finally:
        repo.close()


def chosen_root(app: App, selector: str | None) -> tuple[Workspace, str]:
    """(workspace, folder of the repository in it) that a command means; `app` works in that workspace afterwards.

    Without a selector it is the repository around the current folder (or --root). Raises UsageError where there is none.
    """
    from resources.storage import is_url

    base = app.root or os.environ.get("HEADWATER_ROOT") or "."
    if is_url(base) and not base.startswith("file:"):
        return app.workspace(), (selector or "").strip("/")
    place = here(app) / Path(selector or "").expanduser()
    around = _around(place, only=selector is not None)
    if around is None:
        raise UsageError(
            f"there is no repository of versioned data {'in' if selector else 'around'} {place}",
            rule="dvs-not-initialized",
            fix="start one with `headwater dvs init STORAGE`, or say where with --store or -C",
        )
    return _within(app, around)


def here(app: App) -> Path:
    """The local folder that paths on the command line are relative to."""
    base = app.root or os.environ.get("HEADWATER_ROOT") or "."
    if base.startswith("file:"):
        local = app.workspace().root.local_root
        assert local is not None
        return local
    folder = Path(base).expanduser()
    return folder.resolve() if folder.is_dir() else app.workspace().root.local_root or folder


def _around(folder: Path, *, only: bool) -> Path | None:
    """The folder with a repository's configuration at or above `folder`; with `only` just there."""
    if not folder.is_dir():
        return None
    folder = folder.resolve()
    for candidate in (folder,) if only else (folder, *folder.parents):
        if any((candidate / name).is_file() for name in CONFIG_FILES):
            return candidate
        if (candidate / ".git").exists():
            return None  # what lies above a checkout is somebody else's
    return None


def _within(app: App, folder: Path) -> tuple[Workspace, str]:
    from resources.workspace import open_workspace

    workspace = app.workspace()
    root = workspace.root.local_root
    if root is None or not folder.is_relative_to(root.resolve()):
        app.work_in(open_workspace(folder))
        workspace = app.workspace()
        root = workspace.root.local_root
        assert root is not None
    relative = folder.relative_to(root.resolve()).as_posix()
    return workspace, "" if relative == "." else relative


def repo_path(app: App, repo: DvsRepo, typed: str) -> str:
    """A path as it was typed, relative to the repository; '' is the repository itself. Links on the way are not followed.

    Raises UsageError (rule `dvs-file-outside-repo`).
    """
    root = repo.folder
    if root is None:
        return typed.strip("/")
    given = Path(typed).expanduser()
    full = os.path.normpath(given if given.is_absolute() else here(app) / given)
    for top in (str(root), os.path.realpath(root)):
        if full == top:
            return ""
        if full.startswith(f"{top.rstrip('/')}/"):
            return full[len(top.rstrip("/")) + 1 :]
    raise UsageError(
        f"{typed} lies outside the repository {root}",
        rule="dvs-file-outside-repo",
        path=typed,
        fix="name files below the repository's folder, or another repository with --store",
    )


def given_paths(app: App, repo: DvsRepo, typed: Sequence[str], *, batch: bool = False) -> list[str]:
    """The paths of the command line, with `batch` also those of standard input, relative to the repository; once each."""
    lines = list(typed)
    if batch:
        for number, line in enumerate(sys.stdin):
            if number >= _BATCH_LINES:
                raise UsageError(f"more than {_BATCH_LINES:,} paths at once", fix="give them in parts", rule="usage")
            text = line.rstrip("\r\n")
            if text.strip() and not text.lstrip().startswith("#"):
                lines.append(text)
    return list(dict.fromkeys(repo_path(app, repo, line) for line in lines))


def show_report(app: App, report: Report, *, each: Callable[[Row], str] | None = None, dry_run: bool = False) -> int:
    """The rows and the counts of one operation: JSON lines and a last `{"summary": …}`, or text; returns the exit code.

    `each(row)` says more about a row to people. Of a dry run people are told what would be done.
    """
    from resources.dvs.results import WORDS, Outcome

    if app.json:
        for row in report.rows:
            app.emit(row.to_json(report.operation))
        summary: dict[str, object] = {"operation": report.operation, **report.counts, "state": report.state}
        if report.left_to_git:
            summary["left_to_git"] = report.left_to_git
        if report.rescued:
            summary["rescued"] = report.rescued
        if dry_run:
            summary["dry_run"] = True
        app.emit({"summary": summary})
        return int(report.failed)
    words = WORDS[report.operation]
    rows = report.of(Outcome.COPIED)
    would = "would be " if dry_run else ""
    word = app.style(would + words[Outcome.COPIED].replace("_", " "), "green")
    for row in rows[:SHOWN_ROWS]:
        more = each(row) if each is not None else size_text(row.size)
        app.say("  ".join(filter(None, [word, row.path, app.style(more, "dim")])))
    if len(rows) > SHOWN_ROWS:
        app.say(app.style(f"… and {counted(len(rows) - SHOWN_ROWS, 'more file')}; --json lists them all", "dim"))
    errors = [row.error for row in report.of(Outcome.ERROR) if row.error is not None]
    for error in errors[:SHOWN_ROWS]:
        app.show_error(error)
    if len(errors) > SHOWN_ROWS:
        app.note(f"… and {counted(len(errors) - SHOWN_ROWS, 'more error')}; --json lists them all")
    for path, oid in sorted(report.rescued.items())[:SHOWN_ROWS]:
        app.say(f"rescued  {path}: `headwater dvs show {oid} -o FILE` brings the bytes back")
    if report.left_to_git:
        some = ", ".join(report.left_to_git[:3]) + (", …" if len(report.left_to_git) > 3 else "")
        number = counted(len(report.left_to_git), "file")
        app.note(f"{number} left to git, which tracks them: {some} (`git rm --cached` what is data)")
    app.say(("dry run: " if dry_run else "") + summary_text(report))
    return int(report.failed)


def summary_text(report: Report) -> str:
    """`3 added (12 KiB), 1 already tracked`."""
    counts = dict(report.counts)
    moved = counts.pop("bytes", 0)
    parts = []
    for position, (word, number) in enumerate(counts.items()):
        if number or position == 0:
            size = f" ({size_text(moved)})" if position == 0 and moved else ""
            parts.append(f"{number:,} {word.replace('_', ' ')}{size}")
    return ", ".join(parts)


def size_text(size: int | None) -> str:
    """A number of bytes as people read it, in binary units; '' when it is not known."""
    if size is None:
        return ""
    value: float = size
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")

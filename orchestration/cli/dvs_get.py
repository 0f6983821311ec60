"""`headwater dvs get`, `materialize`, `status`: the working tree against what is recorded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.dvs_add import glob_option
from orchestration.cli.dvs_stores import (
    SHOWN_ROWS,
    batch_option,
    dry_run_option,
    given_paths,
    opened_repo,
    paths_argument,
    show_report,
    size_text,
    store_option,
)

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.dvs.status import StatusRow

rescue_option = click.option(
    "--rescue", is_flag=True, help="Put bytes that no store has into the storage first, instead of refusing to replace them."
)


@command("get")
@paths_argument
@glob_option
@batch_option
@rescue_option
@dry_run_option
@store_option
@pass_app
def get(
    app: App, paths: tuple[str, ...], globs: tuple[str, ...], batch: bool, rescue: bool, dry_run: bool, store: str | None
) -> int:
    """Make tracked files what their sidecars say, from the storage or this clone's cache; without PATHS all of them.

    Every byte is verified before the file appears. A file with changes that no store holds is left alone and reported.
    """
    from resources.dvs.restore import get as run

    with opened_repo(app, store) as repo, app.progress("getting") as bar:
        asked = given_paths(app, repo, paths, batch=batch)
        report = run(repo, asked, globs=globs, rescue=rescue, dry_run=dry_run, progress=bar.advance)
        bar.close()
        return show_report(app, report, dry_run=dry_run)


@command("materialize")
@paths_argument
@glob_option
@batch_option
@rescue_option
@dry_run_option
@store_option
@pass_app
def materialize(
    app: App, paths: tuple[str, ...], globs: tuple[str, ...], batch: bool, rescue: bool, dry_run: bool, store: str | None
) -> int:
    """Make files what the manifest dvs.lock says, from the cache that `pull` fills or the storage; without PATHS all of them."""
    from resources.dvs.restore import materialize as run

    with opened_repo(app, store) as repo, app.progress("materializing") as bar:
        asked = given_paths(app, repo, paths, batch=batch)
        report = run(repo, asked, globs=globs, rescue=rescue, dry_run=dry_run, progress=bar.advance)
        bar.close()
        return show_report(app, report, dry_run=dry_run)


_LETTERS: Final = {"current": " ", "absent": "D", "unsynced": "M", "error": "!", "untracked": "?"}
_COLOURS: Final = {"current": "green", "absent": "yellow", "unsynced": "yellow", "error": "red", "untracked": "dim"}


@command("status")
@paths_argument
@batch_option
@click.option("--porcelain", is_flag=True, help="For scripts: a letter, a space and the path of each file that is not current.")
@click.option("--untracked", "-u", is_flag=True, help="Also list files that are not tracked and that git does not track either.")
@click.option("--all", "-a", "all_", is_flag=True, help="Also list files that are current.")
@store_option
@pass_app
def status(
    app: App, paths: tuple[str, ...], batch: bool, porcelain: bool, untracked: bool, all_: bool, store: str | None
) -> None:
    """Where every tracked file stands: its bytes against its sidecar, and which places hold the recorded bytes.

    current: as recorded. absent: not here, but it can be brought back. unsynced: other bytes than recorded. error: recorded bytes
    that neither the storage nor the cache holds, or a sidecar that cannot be read. Reads only what has changed.
    """
    from resources.dvs.status import status as run

    with opened_repo(app, store) as repo:
        asked = given_paths(app, repo, paths, batch=batch)
        rows = run(repo, asked, untracked=untracked)
        if untracked:
            rows = _without_git(repo, rows)
        if porcelain:
            for row in rows:
                if str(row.status) != "current" or all_:
                    app.write_text(f"{_LETTERS[str(row.status)]} {row.path}\n")
            return
        proofs = _proofs(repo, rows)
        if app.json:
            for row in rows:
                app.emit({**row.to_json(), "remote": proofs.get(row.path)})
            app.emit({"summary": dict(Counter(str(row.status) for row in rows))})
            return
        _show(app, rows, proofs, all_=all_ or bool(asked))


def _without_git(repo: DvsRepo, rows: list[StatusRow]) -> list[StatusRow]:
    """Without the untracked files that git tracks or that are never data."""
    from resources.dvs.gitignore import GitSide
    from resources.dvs.ignore import Ignored

    ignored = Ignored(repo)
    names = [row.path for row in rows if str(row.status) == "untracked"]
    names = [path for path in names if not ignored.own(path.rpartition("/")[2]) and not ignored.file(path)]
    kept = set(names) - GitSide(repo).tracked(names, below={path.partition("/")[0] for path in names} if len(names) > 500 else ())
    return [row for row in rows if str(row.status) != "untracked" or row.path in kept]


def _proofs(repo: DvsRepo, rows: list[StatusRow]) -> dict[str, Any]:
    """What remotes were last proved to hold, by path."""
    if not (repo.local / "ledger.db").exists():
        return {}
    from resources.dvs.sync import proofs

    held = proofs(repo, {row.oid for row in rows if row.oid is not None})
    return {row.path: held[row.oid] for row in rows if row.oid in held}


def _show(app: App, rows: list[StatusRow], proofs: dict[str, Any], *, all_: bool) -> None:
    counts = Counter(str(row.status) for row in rows)
    shown = [row for row in rows if all_ or str(row.status) != "current"]
    lines = []
    for row in shown[: SHOWN_ROWS * 5]:
        word = str(row.status)
        place = "storage" if row.local else ""
        proof = proofs.get(row.path)
        remote = f"{proof['remote']}, {proof['age']}" if proof else ""
        lines.append((app.style(word, _COLOURS[word]), row.path, size_text(row.size), place, remote))
    app.table(lines, header=("status", "file", "size", "held in", "remote, proved") if lines else None)
    if len(shown) > len(lines):
        app.say(app.style(f"… and {counted(len(shown) - len(lines), 'more file')}; --json lists them all", "dim"))
    for row in shown:
        if row.error is not None and str(row.status) == "error":
            app.note(f"{row.error.place or row.path}: {row.error.message}; {row.error.fix}")
    total = ", ".join(f"{number:,} {word}" for word, number in sorted(counts.items()))
    app.say(total or "nothing is tracked yet: start with `headwater dvs add`")

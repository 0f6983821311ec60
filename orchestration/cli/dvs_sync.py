"""`headwater dvs push`, `pull`, `sync`: objects against remotes."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.dvs_stores import (
    batch_option,
    dry_run_option,
    given_paths,
    here,
    opened_repo,
    paths_argument,
    show_report,
    store_option,
)
from resources.storage import is_url

remote_option = click.option(
    "--remote", "-r", metavar="NAME|URL", help="A remote by name, path or s3:// URL, when it is not the one that is set."
)


def named_remote(app: App, given: str | None) -> str | None:
    """The remote as it was typed; a path is relative to the current folder or to --root, like every path on the command line."""
    if given is None or is_url(given) or "/" not in given.replace("\\", "/"):
        return given
    return str(here(app) / Path(given).expanduser())


@command("push")
@paths_argument
@remote_option
@click.option("--recheck", is_flag=True, help="Ask the remote for every object, whatever it was proved to hold before.")
@batch_option
@dry_run_option
@store_option
@pass_app
def push(
    app: App, paths: tuple[str, ...], remote: str | None, recheck: bool, batch: bool, dry_run: bool, store: str | None
) -> int:
    """Bring the objects of tracked files to a remote; without PATHS all that the manifest names.

    What the remote was proved to hold is not asked for again: a push with nothing to do costs one request.
    """
    from resources.dvs.sync import push as run

    with opened_repo(app, store) as repo, app.progress("pushing") as bar:
        asked = given_paths(app, repo, paths, batch=batch)
        report = run(
            repo,
            asked,
            remote=named_remote(app, remote),
            recheck=recheck,
            dry_run=dry_run,
            every_row=app.json,
            progress=bar.advance,
            meter=bar,
        )
        bar.close()
        return show_report(app, report, dry_run=dry_run)


@command("pull")
@paths_argument
@remote_option
@batch_option
@dry_run_option
@store_option
@pass_app
def pull(app: App, paths: tuple[str, ...], remote: str | None, batch: bool, dry_run: bool, store: str | None) -> int:
    """Bring objects from a remote into this clone's cache, verified; `materialize` or `get` makes files of them."""
    from resources.dvs.sync import pull as run

    with opened_repo(app, store) as repo, app.progress("pulling") as bar:
        asked = given_paths(app, repo, paths, batch=batch)
        report = run(repo, asked, remote=named_remote(app, remote), dry_run=dry_run, progress=bar.advance, meter=bar)
        bar.close()
        return show_report(app, report, dry_run=dry_run)


@command("sync")
@remote_option
@dry_run_option
@store_option
@pass_app
def sync(app: App, remote: str | None, dry_run: bool, store: str | None) -> int:
    """Pull, put into the working tree what is missing there, and push. Files with changes are left alone."""
    from resources.dvs.sync import sync as run

    with opened_repo(app, store) as repo, app.progress("syncing") as bar:
        reports = run(repo, remote=named_remote(app, remote), dry_run=dry_run, progress=bar.advance, meter=bar)
        bar.close()
        return max(show_report(app, report, dry_run=dry_run) for report in reports)

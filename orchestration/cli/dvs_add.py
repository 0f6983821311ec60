"""`headwater dvs add`, `rm`, `mv`, `rehash`: what is tracked."""

from __future__ import annotations

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.dvs_stores import (
    batch_option,
    dry_run_option,
    given_paths,
    message_option,
    opened_repo,
    paths_argument,
    repo_path,
    show_report,
    store_option,
)
from schemas.errors import UsageError

glob_option = click.option(
    "--glob",
    "-g",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Of folders, take only matching files; `**/` crosses folders.",
)


@command("add")
@paths_argument
@message_option
@glob_option
@batch_option
@dry_run_option
@store_option
@pass_app
def add(
    app: App, paths: tuple[str, ...], message: str | None, globs: tuple[str, ...], batch: bool, dry_run: bool, store: str | None
) -> int:
    """Put files, and all below folders, into the storage and track them.

    Each file gets a small sidecar (FILE.dvs), which git keeps, and a line in .gitignore, so that git leaves the file alone.
    Files that have not changed are not read again. .dvsignore names files that are never added.
    """
    from resources.dvs.add import add as run

    with opened_repo(app, store) as repo:
        asked = given_paths(app, repo, paths, batch=batch)
        if not asked:
            raise UsageError("name files or folders", rule="usage", fix="a dot means everything below the current folder")
        if not dry_run:
            repo.require_reason(message)
        with app.progress("adding") as bar:
            report = run(repo, asked, globs=globs, message=message or "", dry_run=dry_run, progress=bar.advance)
        return show_report(app, report, dry_run=dry_run)


@command("rm")
@paths_argument
@message_option
@click.option("--delete", is_flag=True, help="Also remove the files themselves, where the storage holds their bytes.")
@glob_option
@batch_option
@dry_run_option
@store_option
@pass_app
def rm(
    app: App,
    paths: tuple[str, ...],
    message: str | None,
    delete: bool,
    globs: tuple[str, ...],
    batch: bool,
    dry_run: bool,
    store: str | None,
) -> int:
    """Stop tracking files. Their objects stay in the storage, so that `undo` and older states keep working.

    The files themselves stay too, and git sees them again; --delete removes them.
    """
    from resources.dvs.edit import remove

    with opened_repo(app, store) as repo:
        asked = given_paths(app, repo, paths, batch=batch)
        if not dry_run:
            repo.require_reason(message)
        report = remove(repo, asked, globs=globs, delete=delete, message=message or "", dry_run=dry_run)
        return show_report(app, report, dry_run=dry_run)


@command("mv")
@click.argument("old", metavar="FROM")
@click.argument("new", metavar="TO")
@dry_run_option
@store_option
@pass_app
def mv(app: App, old: str, new: str, dry_run: bool, store: str | None) -> int:
    """Rename a tracked file or folder, with its sidecars, its lines in the manifest and in .gitignore.

    Where TO is a folder, or ends with a slash, it is moved into it.
    """
    from resources.dvs.edit import move

    with opened_repo(app, store) as repo:
        source, target = repo_path(app, repo, old), repo_path(app, repo, new)
        folder = repo.folder
        if new.endswith("/") or (folder is not None and (folder / target).is_dir()):
            target = "/".join(part for part in (target, source.rpartition("/")[2]) if part)
        return show_report(app, move(repo, source, target, dry_run=dry_run), dry_run=dry_run)


@command("rehash")
@click.option(
    "--to", "algorithm", type=click.Choice(["blake3", "sha256"]), default="blake3", show_default=True, help="The new algorithm."
)
@message_option
@dry_run_option
@store_option
@pass_app
def rehash(app: App, algorithm: str, message: str | None, dry_run: bool, store: str | None) -> int:
    """Name every tracked file by another hash: sidecars, manifest and objects; old states keep their objects."""
    from resources.dvs.rehash import rehash as run

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        with app.progress("hashing") as bar:
            report = run(repo, algorithm, message=message or "", dry_run=dry_run, progress=bar.advance)
        return show_report(app, report, dry_run=dry_run)

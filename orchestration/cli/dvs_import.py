"""`headwater dvs merge-repo` and `import-…`: tracking what another repository or another tool tracks."""

from __future__ import annotations

import time
from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.dvs_stores import (
    dry_run_option,
    here,
    message_option,
    opened_repo,
    repo_path,
    show_report,
    size_text,
    store_option,
)
from schemas.errors import UsageError

prefix_option = click.option("--prefix", "-p", metavar="FOLDER", default="", help="Bring the files in below this folder.")
conflict_option = click.option(
    "--conflict",
    type=click.Choice(["abort", "skip", "overwrite"]),
    default="abort",
    show_default=True,
    help="For files that are tracked here with other bytes: write nothing at all, keep ours, or take theirs.",
)


@command("merge-repo")
@click.argument("source", metavar="SRC", type=click.Path())
@prefix_option
@conflict_option
@click.option("--verify", is_flag=True, help="Also read again the objects that the storage holds already.")
@message_option
@dry_run_option
@store_option
@pass_app
def merge_repo(
    app: App, source: str, prefix: str, conflict: str, verify: bool, message: str | None, dry_run: bool, store: str | None
) -> int:
    """Track here what the repository in the folder SRC tracks: its sidecars, its entries of the manifest, its objects.

    All clashes are found before anything is written; an object that SRC lacks keeps everything from being written. SRC itself,
    of whatever generation, stays as it is, and no working file is touched: `headwater dvs get` brings them.
    """
    from resources.dvs.incoming import OnConflict
    from resources.dvs.merge_repo import merge_repo as run
    from resources.dvs.merge_repo import open_source

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        other = open_source(repo, here(app) / Path(source).expanduser())
        try:
            with app.progress("merging") as bar:
                report = run(
                    repo,
                    other,
                    prefix=prefix,
                    conflict=OnConflict(conflict),
                    verify=verify,
                    dry_run=dry_run,
                    message=message or "",
                    progress=bar.advance,
                )
        finally:
            other.close()
        return show_report(app, report, dry_run=dry_run)


@command("import-dvs")
@click.argument("source", metavar="[SRC]", type=click.Path(), default=".")
@prefix_option
@conflict_option
@click.option(
    "--remove-old", is_flag=True, help="In place: remove the objects under their old names, once they lie under the new ones."
)
@message_option
@dry_run_option
@store_option
@pass_app
def import_dvs(
    app: App,
    source: str,
    prefix: str,
    conflict: str,
    remove_old: bool,
    message: str | None,
    dry_run: bool,
    store: str | None,
) -> int:
    """Turn a repository of another generation of DVS into what is written here, or bring one in from the folder SRC.

    In place (SRC is this repository): sidecars move out of .dvs/ to their files, the configuration loses [backend], dvs.lock and
    .gitignore name every file, objects are copied to their new names. From elsewhere: as merge-repo, and the audit log comes too.
    """
    from resources.dvs.import_dvs import convert
    from resources.dvs.import_dvs import import_dvs as run
    from resources.dvs.incoming import OnConflict, check_source, same_folder
    from resources.dvs.merge_repo import open_source

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        folder = here(app) / Path(source).expanduser()
        if repo.folder is not None and same_folder(check_source(folder), repo.folder):
            if prefix:
                raise UsageError("a repository is converted where it is", rule="usage", fix="leave --prefix away")
            with app.progress("converting") as bar:
                report = convert(repo, remove_old=remove_old, message=message or "", dry_run=dry_run, progress=bar.advance)
            return show_report(app, report, dry_run=dry_run)
        other = open_source(repo, folder)
        try:
            with app.progress("importing") as bar:
                report = run(
                    repo,
                    other,
                    prefix=prefix,
                    conflict=OnConflict(conflict),
                    message=message or "",
                    dry_run=dry_run,
                    progress=bar.advance,
                )
        finally:
            other.close()
        return show_report(app, report, dry_run=dry_run)


@command("import-dvc")
@click.argument("path", metavar="[PATH]", type=click.Path(), default=".")
@click.option(
    "--cache",
    "caches",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(),
    help="A cache of DVC, or a folder it pushes to, besides those that .dvc/config names.",
)
@prefix_option
@conflict_option
@message_option
@dry_run_option
@store_option
@pass_app
def import_dvc(
    app: App,
    path: str,
    caches: tuple[str, ...],
    prefix: str,
    conflict: str,
    message: str | None,
    dry_run: bool,
    store: str | None,
) -> int:
    """Track here what DVC tracks at and below PATH: .dvc files, folders, and the outputs in dvc.lock.

    Bytes come from DVC's cache, from its remotes that are folders, or from the working file, each verified by its MD5. A folder
    of this repository is taken over in place; any other comes in below --prefix. DVC's own files stay: remove them when you are
    content.
    """
    from resources.dvs.import_dvc import import_dvc as run
    from resources.dvs.incoming import OnConflict

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        with app.progress("importing") as bar:
            report = run(
                repo,
                here(app) / Path(path).expanduser(),
                prefix=prefix,
                caches=[here(app) / Path(cache).expanduser() for cache in caches],
                conflict=OnConflict(conflict),
                message=message or "",
                dry_run=dry_run,
                progress=bar.advance,
                note=app.note,
            )
        return show_report(app, report, dry_run=dry_run)


@command("import-lfs")
@click.argument("path", metavar="[PATH]", type=click.Path(), default=".")
@click.option("--at", "revision", metavar="REVISION", help="Take the pointers of this commit, branch or tag, not of the index.")
@click.option(
    "--objects",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(),
    help="A folder of objects of git-lfs, besides the one of the checkout.",
)
@click.option("--untrack", is_flag=True, help="Also take the files out of git's index; commits stay as they are.")
@prefix_option
@conflict_option
@message_option
@dry_run_option
@store_option
@pass_app
def import_lfs(
    app: App,
    path: str,
    revision: str | None,
    objects: tuple[str, ...],
    untrack: bool,
    prefix: str,
    conflict: str,
    message: str | None,
    dry_run: bool,
    store: str | None,
) -> int:
    """Track here what git-lfs tracks at and below PATH: pointers in git, their bytes from .git/lfs/objects.

    Each file is verified by the SHA-256 of its pointer. A folder of this repository is taken over in place: working files that
    are still pointers become the files themselves, others stay as they are. Any other folder comes in below --prefix.
    """
    from resources.dvs.import_lfs import import_lfs as run
    from resources.dvs.incoming import OnConflict

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        with app.progress("importing") as bar:
            report = run(
                repo,
                here(app) / Path(path).expanduser(),
                revision=revision,
                prefix=prefix,
                objects=[here(app) / Path(place).expanduser() for place in objects],
                conflict=OnConflict(conflict),
                take_out=untrack,
                message=message or "",
                dry_run=dry_run,
                progress=bar.advance,
                note=app.note,
            )
        return show_report(app, report, dry_run=dry_run)


def _coming(path: str, got: int, size: int | None, seconds: float) -> str:
    """How far a file has come: `data.csv: 3.0 MiB of 12 MiB, 1.5 MiB/s, 6 s left`."""
    rate = got / seconds if seconds > 0 else 0.0
    said = f"{path}: {size_text(got)}"
    if size is not None:
        said += f" of {size_text(size)}"
    if rate > 0:
        said += f", {size_text(int(rate))}/s"
        if size is not None and size > got:
            said += f", {(size - got) / rate:,.0f} s left"
    return said


class _Size(click.ParamType[int]):
    """A number of bytes, or a text such as 10 GiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from schemas.dvs.local_config import size_in_bytes

        text = str(value)
        try:
            return size_in_bytes(int(text) if text.isdigit() else text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@command("import-url")
@click.argument("url", metavar="URL")
@click.argument("path", metavar="[PATH]", type=click.Path(), default="")
@click.option("--expect", metavar="ALGORITHM:HEX", help="The digest the file must have: blake3, sha256, xxh3 or md5.")
@click.option("--no-file", is_flag=True, help="Track the bytes and write no working file.")
@click.option("--rescue", is_flag=True, help="Put unsaved bytes that lie at PATH into the storage first.")
@click.option(
    "--keep-query", is_flag=True, help="Record the URL with its query; it may hold a key, so that is left out otherwise."
)
@click.option("--max-size", type=_Size(), default="1 TiB", show_default=True, help="Refuse more bytes than this.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=21600.0,
    show_default=True,
    help="Give up after so long.",
)
@click.option("--allow-loopback", is_flag=True, help="Allow http, and servers on this machine.")
@click.option("--allow-private", is_flag=True, help="Allow https to servers in private networks.")
@conflict_option
@message_option
@dry_run_option
@store_option
@pass_app
def import_url(
    app: App,
    url: str,
    path: str,
    expect: str | None,
    no_file: bool,
    rescue: bool,
    keep_query: bool,
    max_size: int,
    timeout: float,
    allow_loopback: bool,
    allow_private: bool,
    conflict: str,
    message: str | None,
    dry_run: bool,
    store: str | None,
) -> int:
    """Track what lies at URL as PATH: https://…, s3://bucket/key, or a path outside of the repository.

    From a bucket or a path, folders come as a whole. The sidecar says where the file came from and the server's ETag: given
    again, only what has changed is fetched. Servers in private networks, and http, are refused unless allowed; redirects too.
    """
    from resources.dvs.fetching import Limits
    from resources.dvs.import_url import import_url as run
    from resources.dvs.incoming import OnConflict
    from resources.dvs.url_files import name_of

    with opened_repo(app, store) as repo:
        if not dry_run:
            repo.require_reason(message)
        source = url if "://" in url else str(here(app) / Path(url).expanduser())
        target = repo_path(app, repo, path or ".")
        folder = repo.folder
        if not path or path.endswith("/") or (folder is not None and (folder / target).is_dir()):
            target = "/".join(part for part in (target, name_of(source)) if part)
        began = time.monotonic()
        with app.progress("fetching") as bar:

            def watch(path: str, got: int, size: int | None) -> None:
                bar.show(_coming(path, got, size, time.monotonic() - began))

            report = run(
                repo,
                source,
                target,
                expect=expect,
                limits=Limits(max_size, timeout, allow_loopback, allow_private),
                keep_query=keep_query,
                conflict=OnConflict(conflict),
                give_files=not no_file,
                rescue=rescue,
                message=message or "",
                dry_run=dry_run,
                watch=watch,
            )
        return show_report(app, report, dry_run=dry_run)

"""`headwater cache`: share the build cache with a remote, trim it, and prove that its objects are whole."""

from __future__ import annotations

from collections.abc import Callable

import click

from orchestration.cli.app import App, counted, dry_run_option, group, pass_app, select_argument
from orchestration.cli.words import size
from schemas.errors import UsageError


@group("cache")
def cache() -> None:
    """Share, trim and check the build cache.

    The cache keeps what was built by the fingerprint of what it was built from. A remote (`[cache] remote` in headwater.toml, or
    HEADWATER_REMOTE_CACHE) shares it between machines; builds read from it by themselves.
    """


@cache.command("push")
@select_argument
@pass_app
def push(app: App, select: tuple[str, ...]) -> None:
    """Copy to the remote what it lacks."""
    with app.progress("push") as bar:
        copied = app.engine().cache.push(select, progress=_shown(bar))
    app.emit({"pushed": copied}, f"{counted(copied, 'build')} copied to the remote")


@cache.command("pull")
@select_argument
@pass_app
def pull(app: App, select: tuple[str, ...]) -> None:
    """Copy the builds of the present text from the remote, without restoring them yet."""
    with app.progress("pull") as bar:
        copied = app.engine().cache.pull(select, progress=_shown(bar))
    app.emit({"pulled": copied}, f"{counted(copied, 'build')} copied from the remote")


@cache.command("gc")
@click.option("--max-size", metavar="SIZE", help="Trim to this size instead of the configured one, such as '2 GiB'.")
@click.option(
    "--young",
    is_flag=True,
    help="Drop also what is younger than an hour; only while no other command builds in this workspace.",
)
@dry_run_option
@pass_app
def gc(app: App, max_size: str | None, young: bool, dry_run: bool) -> None:
    """Drop the builds unused for longest until the cache fits its cap, stray objects, and leftovers of killed commands.

    What is younger than an hour stays: another command may be about to use it.
    """
    from assets.engine.cache import GRACE

    cap = None if max_size is None else _bytes(max_size)
    objects, freed = app.engine().cache.gc(max_size=cap, dry_run=dry_run, grace=0.0 if young else GRACE)
    verb = "would be deleted" if dry_run else "deleted"
    app.emit({"objects": objects, "bytes": freed, "dry_run": dry_run}, f"{counted(objects, 'object')}, {size(freed)} {verb}")


@cache.command("stats")
@pass_app
def stats(app: App) -> None:
    """Say how much the cache holds, its cap, and where its remote is."""
    held = app.engine().cache.stats()
    remote = held.remote
    app.emit(
        {"builds": held.entries, "objects": held.objects, "bytes": held.size, "max_bytes": held.max_size, "remote": remote},
        f"{counted(held.entries, 'build')}, {counted(held.objects, 'object')}, {size(held.size)} of {size(held.max_size)}\n"
        f"remote: {remote or 'none'}",
    )


@cache.command("verify")
@pass_app
def verify(app: App) -> int:
    """Hash every object again; drop damaged ones, which the next build makes anew. Exits with 1 when there were any."""
    damaged = app.engine().cache.verify()
    for oid in damaged:
        app.emit({"damaged": oid}, f"{app.style('damaged', 'red')} {oid} dropped")
    app.say(f"{counted(len(damaged), 'damaged object')} dropped" if damaged else "every object is whole")
    return 1 if damaged else 0


def _shown(bar: object) -> Callable[[int, int], None]:
    from orchestration.cli.progress import Bar

    assert isinstance(bar, Bar)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.done = done
        bar.show("")

    return show


def _bytes(text: str) -> int:
    from resources.config import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(str(error), fix="write a number and a unit, such as '500 MiB'", rule="usage") from None

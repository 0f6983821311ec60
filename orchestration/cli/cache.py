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
@select_argument
@click.option(
    "--rebuild",
    type=click.IntRange(1),
    metavar="N",
    help="Also build N of the selected artifacts' cached builds again, chosen by chance, and compare.",
)
@pass_app
def verify(app: App, select: tuple[str, ...], rebuild: int | None) -> int:
    """Hash every object again; drop damaged ones, which the next build makes anew. Exits with 1 when there were any.

    Damage is found by the hashes. A build that somebody put under the fingerprint of another one is whole and still wrong: only
    building it again finds it, which is what --rebuild does. Whoever may write to a remote cache is trusted with that.
    """
    damaged = app.engine().cache.verify()
    for oid in damaged:
        app.emit({"damaged": oid}, f"{app.style('damaged', 'red')} {oid} dropped")
    app.say(f"{counted(len(damaged), 'damaged object')} dropped" if damaged else "every object is whole")
    return int(_lying(app, select, rebuild) or bool(damaged)) if rebuild else int(bool(damaged))


def _lying(app: App, select: tuple[str, ...], number: int) -> bool:
    """Build some cached builds again and show what came of it; whether any was another one."""
    with app.progress("rebuild") as bar:
        proofs = app.engine().prove_cache(number, select, lambda ref, _phase, _part: bar.show(str(ref)))
    for proof in proofs:
        word = app.style("differs", "red") if proof.differences else app.style("equal", "green")
        came = f", from {proof.origin}" if proof.origin else ""
        app.emit(proof.to_json(), f"{word}  {proof.ref}{came}" + "".join(f"\n  {line}" for line in proof.differences))
    wrong = sum(bool(proof.differences) for proof in proofs)
    app.say(f"{counted(len(proofs), 'cached build')} built again, {wrong:,} dropped")
    return wrong > 0


@cache.command("login")
@click.argument("url")
@click.option("--forget", is_flag=True, help="Forget the token of this server instead.")
@pass_app
def login(app: App, url: str, forget: bool) -> None:
    """Keep the token of the object server at URL for builds and for `headwater dvs`, readable only by you.

    The token is asked for, or read from standard input in a script; it never stands on a command line.
    """
    import sys

    from resources.remotes.credentials import keep_token, origin_of

    origin = origin_of(url)
    token = None
    if not forget:
        token = (click.prompt("Token", hide_input=True) if app.interactive else sys.stdin.readline()).strip()
        if not token:
            raise UsageError("there is no token on standard input", rule="usage", fix="pipe it in: the token and a line feed")
    path = keep_token(url, token)
    app.emit({"server": origin, "file": str(path)}, f"{'forgot' if forget else 'kept'} the token of {origin} ({path})")


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

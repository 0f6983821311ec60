"""`headwater dvs serve`, `token`: the object server of a storage, and who may use it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, group, pass_app
from orchestration.cli.dvs_stores import opened_repo, store_option
from schemas.errors import UsageError

if TYPE_CHECKING:
    from resources.server.settings import Settings

tokens_option = click.option(
    "--tokens", metavar="FILE", type=click.Path(path_type=Path), help="The token file, when it is not the one of this user."
)


@command("serve")
@click.argument("folder", required=False, metavar="[FOLDER]", type=click.Path(path_type=Path))
@click.option("--host", metavar="ADDRESS", help="The address to listen on, 127.0.0.1 unless given.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 8080 unless given; 0 takes a free one.")
@tokens_option
@click.option(
    "--anonymous", type=click.Choice(["none", "read", "write"]), help="What requests without a token may do; none unless given."
)
@click.option("--max-upload", metavar="SIZE", help="The largest object that is taken, such as 100MiB; 16GiB unless given.")
@click.option("--allow-xxh3", is_flag=True, default=None, help="Take objects named by xxh3, which can be made to collide.")
@click.option("--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="The certificate chain (PEM), for TLS.")
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="The key of the certificate (PEM).")
@click.option("--plain-http", is_flag=True, default=None, help="Listen beyond this machine without TLS: behind a proxy.")
@click.option(
    "--config", metavar="FILE", type=click.Path(path_type=Path), help="A TOML file of settings; options win over what it says."
)
@store_option
@pass_app
def serve(app: App, /, folder: Path | None, config: Path | None, store: str | None, **given: Any) -> None:
    """Serve a storage over HTTP until interrupted: FOLDER, or the storage of the repository around here.

    Everything that comes in is verified before it is kept, everything that goes out before it is complete. Requests need a token
    (`headwater dvs token add`). Without TLS it listens on this machine only.
    """
    from resources.config import cache_folder
    from resources.server.serving import serve as run
    from resources.server.settings import absolute, check
    from schemas.oid import bytes_oid

    settings = _settings(config, given)
    packed, compress, sharing, retain = True, False, None, 0
    if folder is not None:
        settings = replace(settings, storage=str(folder))
    elif settings.storage is None:
        with opened_repo(app, store) as repo:
            place = repo.storage_url
            sharing = getattr(repo.objects.storage, "sharing", None)
            packed, compress = repo.config.layout == "packed", repo.config.compression != "none"
            retain = repo.config.retain_seconds
        if not isinstance(place, Path):
            raise UsageError(
                f"the storage {place} is not a folder of this machine",
                rule="usage",
                fix="clients reach it by its own URL; no server is needed",
            )
        settings = replace(settings, storage=str(place))
    settings = check(absolute(settings, Path.cwd()))
    assert settings.storage is not None
    if not Path(settings.storage).is_dir():
        raise UsageError(f"there is no folder {settings.storage}", rule="usage", fix="name the folder of a storage")
    state = cache_folder() / "dvs-serve" / bytes_oid(str(Path(settings.storage).resolve()).encode()).partition(":")[2][:16]

    def started(url: str) -> None:
        app.emit({"url": url, "storage": settings.storage})
        sys.stdout.flush()
        app.note(f"serving {settings.storage} at {url}; Ctrl-C ends it")

    run(settings, state, started=started, packed=packed, compress=compress, sharing=sharing, retain=retain)


def _settings(config: Path | None, given: dict[str, Any]) -> Settings:
    """The settings of the file, and the options over them."""
    from resources.server.settings import Settings, absolute, read_settings
    from schemas.dvs.local_config import size_in_bytes

    settings = Settings()
    if config is not None:
        try:
            data = config.read_bytes()
        except OSError as error:
            raise UsageError(f"{config} cannot be read: {error.strerror}", rule="usage", fix="name a file of settings") from error
        settings = absolute(read_settings(data, str(config)), config.absolute().parent)
    options: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in given.items() if value is not None
    }
    if "max_upload" in options:
        try:
            options["max_upload"] = size_in_bytes(options["max_upload"])
        except ValueError as error:
            raise UsageError(str(error), rule="usage", fix="write a size such as 100MiB") from error
    return replace(settings, **options)


@group("token")
def token() -> None:
    """Who may use the object server: tokens with rights, of which only hashes are kept."""


@token.command("add")
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    type=click.Choice(["read", "write", "delete", "admin"]),
    default=("read",),
    show_default=True,
    help="What the token allows; give it once for each right. admin implies the others.",
)
@click.option("--expires", metavar="DURATION", help="How long the token is good, such as 30d; for ever unless given.")
@tokens_option
@pass_app
def token_add(app: App, name: str, rights: tuple[str, ...], expires: str | None, tokens: Path | None) -> None:
    """Make a token and show it, this once: only its hash is kept. Servers that run know it within a second."""
    import time

    from resources.server.tokens import Right, add_token, default_path
    from schemas.dvs.config import duration

    until = None
    if expires is not None:
        try:
            until = time.time() + duration(expires)
        except ValueError as error:
            raise UsageError(str(error), rule="usage", fix="write a number and a unit: s, min, h, d, w or y") from error
    path = (tokens or default_path()).absolute()
    secret = add_token(path, name, [Right(right) for right in rights], expires=until)
    app.emit({"name": name, "token": secret, "rights": sorted(rights), "file": str(path)}, secret)
    app.note(
        f"only its hash is kept, in {path}; clients keep it with `headwater dvs local-config set auth.token`, which asks for it"
    )


@token.command("list")
@tokens_option
@pass_app
def token_list(app: App, tokens: Path | None) -> None:
    """The tokens: names and rights, never the tokens themselves."""
    import time

    from resources.server.tokens import default_path, read_tokens

    found = read_tokens((tokens or default_path()).absolute())
    for one in found:
        over = one.expires is not None and time.time() > one.expires
        record = {"name": one.name, "rights": sorted(one.rights), "created": one.created, "expires": one.expires, "expired": over}
        app.emit(record, f"{one.name}  {', '.join(sorted(one.rights))}  made {one.created}{'  expired' if over else ''}")
    if not found:
        app.say("there is no token")
    app.emit({"summary": {"tokens": len(found)}})


@token.command("rm")
@click.argument("name")
@tokens_option
@pass_app
def token_rm(app: App, name: str, tokens: Path | None) -> None:
    """Forget a token: servers that run refuse it within a second."""
    from resources.server.tokens import default_path, remove_token

    remove_token((tokens or default_path()).absolute(), name)
    app.emit({"name": name, "outcome": "removed"}, f"removed {name}")

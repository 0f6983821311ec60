"""`headwater dvs init`, `config`, `local-config`: starting a repository, and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestration.cli.app import App, command, group, pass_app
from orchestration.cli.dvs_stores import here, opened_repo, store_option
from schemas.errors import UsageError


@command("init")
@click.argument("storage", metavar="STORAGE")
@click.option("--permissions", metavar="MODE", help="Mode of objects as octal text, such as 664, whatever the umask says.")
@click.option("--group", metavar="NAME", help="The group that owns objects and folders; you must be a member.")
@click.option(
    "--hash",
    "hash_algo",
    type=click.Choice(["blake3", "sha256", "xxh3"]),
    default="blake3",
    show_default=True,
    help="What names the bytes. xxh3 is quick and can be made to collide: for data you trust, on your own disks.",
)
@click.option(
    "--metadata-format",
    type=click.Choice(["json", "toml"]),
    default="json",
    show_default=True,
    help="Spelling of new sidecars.",
)
@click.option(
    "--layout",
    type=click.Choice(["packed", "loose"]),
    default="packed",
    show_default=True,
    help="Gather small objects in pack files, or keep each a file as the original tool does.",
)
@click.option(
    "--compression",
    type=click.Choice(["none", "zstd"]),
    default="none",
    show_default=True,
    help="Compress where it pays.",
)
@click.option("--retain", metavar="DURATION", help="Keep what was added for at least so long, such as 7y, whatever is collected.")
@click.option("--require-reason", is_flag=True, help="Refuse changes of the storage that give no --message.")
@pass_app
def init(
    app: App,
    storage: str,
    permissions: str | None,
    group: str | None,
    hash_algo: str,
    metadata_format: str,
    layout: str,
    compression: str,
    retain: str | None,
    require_reason: bool,
) -> None:
    """Start a repository of versioned data here, with its objects in STORAGE (a folder outside of it, or a URL).

    Writes dvs.toml and one line of .gitignore; the storage is made and tried first. Run again with the same settings it changes
    nothing and makes the storage where it is missing, as in a fresh clone.
    """
    from resources.dvs.init import init as start
    from resources.dvs.opening import local_folder
    from resources.git import top_level
    from resources.workspace import open_workspace
    from schemas.dvs.config import RepoConfig, duration, octal_mode

    try:
        mode = None if permissions is None else octal_mode(permissions)
        if retain is not None:
            duration(retain)
    except ValueError as error:
        raise UsageError(str(error), rule="dvs-config-error", fix="see `headwater dvs init --help`") from None
    folder = here(app)
    workspace = app.workspace()
    root = workspace.root.local_root
    if root is None:
        inside = ""
    else:
        if not folder.is_relative_to(root.resolve()):
            app.work_in(open_workspace(folder))
            workspace = app.workspace()
            root = workspace.root.local_root
            assert root is not None
        relative = folder.relative_to(root.resolve()).as_posix()
        inside = "" if relative == "." else relative
    config = RepoConfig(
        storage,
        mode,
        group,
        hash_algo,
        metadata_format,
        compression,
        layout,
        retain,
        require_reason,
        generated_by={"tool": "headwater"},
    )
    in_git = root is not None and top_level(folder) is not None
    started = start(workspace.root, inside, config, local_folder(workspace, inside), in_git=in_git)
    if hash_algo == "xxh3" and not started.existed:
        app.note("warning: xxh3 can be made to collide; servers refuse it (`headwater dvs rehash --to blake3` converts)")
    what = "was there already with these settings" if started.existed else f"wrote {started.path}"
    app.emit(
        {"path": started.path, "storage_dir": started.config.storage_dir, "existed": started.existed},
        f"{what}; objects go to {started.config.storage_dir}. Track files with `headwater dvs add`",
    )


@group("config")
def config() -> None:
    """Settings of the repository, in dvs.toml, which everybody shares: show, get, set."""


@config.command("show")
@click.option("--resolved", is_flag=True, help="Also show where objects lie, and each remote with who named it.")
@store_option
@pass_app
def config_show(app: App, resolved: bool, store: str | None) -> None:
    """Every setting of the repository."""
    from schemas.dvs.config import to_record

    with opened_repo(app, store) as repo:
        record: dict[str, Any] = {**to_record(repo.config), "path": repo.path(repo.config_path)}
        if resolved:
            from resources.dvs.sync import resolved_remotes

            record["storage"] = str(repo.storage_url)
            record["remotes"] = [remote.to_json() for remote in resolved_remotes(repo)]
        _show(app, record)


@config.command("get")
@click.argument("key")
@store_option
@pass_app
def config_get(app: App, key: str, store: str | None) -> None:
    """One setting."""
    from resources.dvs.init import changed

    with opened_repo(app, store) as repo:
        if not hasattr(repo.config, key):
            changed(repo.config, key, "")
        value = getattr(repo.config, key)
        if key == "permissions" and value is not None:
            value = f"{value:03o}"
        app.emit({key: value}, "" if value is None else str(value))


@config.command("set")
@click.argument("key")
@click.argument("value")
@store_option
@pass_app
def config_set(app: App, key: str, value: str, store: str | None) -> None:
    """Change one setting. Objects stay where and as they are; `repack` and `rehash` convert them."""
    from resources.dvs.init import changed
    from resources.storage.sharing import sharing_for
    from schemas.dvs.config import to_record, write_config
    from schemas.oid import bytes_oid

    with opened_repo(app, store) as repo:
        made = changed(repo.config, key, value)
        sharing_for(made.permissions, made.group)
        path = repo.path(repo.config_path)
        before = repo.storage.read(path)
        if repo.config.generation == 3:
            raise UsageError(
                "this repository is of the third generation, whose configuration is only read",
                rule="dvs-config-error",
                path=path,
                fix="edit it by hand, or convert the repository with `headwater dvs import-dvs`",
            )
        repo.storage.write(path, write_config(made, repo.config_path), expect=bytes_oid(before))
        app.emit({"path": path, key: to_record(made).get(key)}, f"{path}: {key} = {value}")


@group("local-config")
def local_config() -> None:
    """Settings of this clone, in .dvs/config.toml, which git never sees.

    They are base_url, auth.token, cache.max_size, cache.link and remotes.NAME.
    `cache.max_size` bounds what `pull` keeps in the clone. `cache.link` is `reflink` (the default: files share their blocks with
    the objects where the file system can, and are copies elsewhere), `copy`, or `hardlink`: large files are then other names of
    the objects and read-only, which takes no space; whoever makes one writable and edits it damages the object.
    """


@local_config.command("show")
@store_option
@pass_app
def local_show(app: App, store: str | None) -> None:
    """Every setting of this clone; a token is only said to be set."""
    with opened_repo(app, store) as repo:
        held = repo.local_config
        record: dict[str, Any] = {
            "base_url": held.base_url,
            "auth.token": "set" if held.token else None,
            "cache.max_size": held.max_size,
            "cache.link": held.link,
            **{f"remotes.{name}": url for name, url in sorted(held.remotes.items())},
        }
        _show(app, record)


@local_config.command("get")
@click.argument("key")
@store_option
@pass_app
def local_get(app: App, key: str, store: str | None) -> None:
    """One setting of this clone; a token is only said to be set."""
    from schemas.dvs.local_config import unset_local

    unset_local(None, key)  # refuses a key that does not exist
    with opened_repo(app, store) as repo:
        held = repo.local_config
        values: dict[str, Any] = {
            "base_url": held.base_url,
            "auth.token": "set" if held.token else None,
            "auth_token": "set" if held.token else None,
            "cache.max_size": held.max_size,
            "cache.link": held.link,
            **{f"remotes.{name}": url for name, url in held.remotes.items()},
        }
        value = values.get(key)
        app.emit({key: value}, "" if value is None else str(value))


@local_config.command("set")
@click.argument("key")
@click.argument("value", required=False)
@store_option
@pass_app
def local_set(app: App, key: str, value: str | None, store: str | None) -> None:
    """Change one setting of this clone. Without VALUE it is read from standard input: a token stays out of the history so."""
    import sys

    from schemas.dvs.local_config import set_local

    secret = key in ("auth.token", "auth_token")
    if value is None:
        if app.interactive:
            value = click.prompt(key, hide_input=secret, err=True)
        else:
            value = sys.stdin.readline().rstrip("\r\n")
    assert value is not None
    _edit_local(app, store, lambda data, path: set_local(data, key, value, path))
    app.emit({key: "set" if secret else value}, f"{key} {'is set' if secret else '= ' + value}")


@local_config.command("unset")
@click.argument("key")
@store_option
@pass_app
def local_unset(app: App, key: str, store: str | None) -> None:
    """Take one setting of this clone away."""
    from schemas.dvs.local_config import unset_local

    _edit_local(app, store, lambda data, path: unset_local(data, key, path))
    app.emit({key: None}, f"{key} is not set any more")


def _edit_local(app: App, store: str | None, change: Any) -> None:
    from schemas.dvs.local_config import FILE

    with opened_repo(app, store) as repo:
        path = repo.path(FILE)
        data = change(repo.read(FILE), path)
        folder = repo.folder
        if folder is None:
            raise UsageError("this clone is not on this machine", rule="dvs-needs-local", fix="run it in a local clone")
        from resources.dvs.private import write_private

        write_private(repo, FILE, data)
        _warn_if_tracked(app, folder)


def _warn_if_tracked(app: App, folder: Path) -> None:
    from resources.git import Git, top_level

    top = top_level(folder)
    if top is not None and Git(top).tracked([(folder / ".dvs/config.toml").resolve().relative_to(top.resolve()).as_posix()]):
        app.note("warning: git tracks .dvs/config.toml, which may hold a token: `git rm --cached .dvs/config.toml`")


def _show(app: App, record: dict[str, Any]) -> None:
    if app.json:
        app.emit(record)
        return
    app.table([(key, "" if value is None else str(value)) for key, value in record.items() if not isinstance(value, list)])
    for value in record.values():
        for row in value if isinstance(value, list) else ():
            app.say("  ".join(f"{key}: {part}" for key, part in row.items() if part is not None))

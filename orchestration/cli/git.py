"""`headwater git setup`: teach git in this clone how each kind's files are merged and compared.

Which settings a kind needs is the kind's business (`Kind.git_setup`); reading and writing them belongs here. Light.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.cli.app import App, command, counted, dry_run_option, group, pass_app
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.engine.recipe import GitConfig

_SECTION = re.compile(r'^\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]', re.MULTILINE)


@group("git")
def git() -> None:
    """Teach git about this workspace's files."""


@command("setup")
@dry_run_option
@pass_app
def setup(app: App, dry_run: bool) -> None:
    """Install every kind's merge drivers and text conversions in this clone.

    Writes git's configuration of this clone only (`.git/config`); nothing that is committed is touched. Which files they apply to
    is said in the `.gitattributes` that `headwater init` writes into a store. `status` says when they are missing.
    """
    checkout = app.workspace().git
    if checkout is None:
        raise UsageError("this workspace is not in a git checkout", fix="run `git init` first", rule="git-none")
    wanted = wanted_settings(app)
    missing = {setting.key for setting in wanted if checkout.config_get(setting.key) != setting.value}
    for setting in wanted:
        new = setting.key in missing
        if new and not dry_run:
            checkout.config_set(setting.key, setting.value)
        state = "present" if not new else "missing" if dry_run else "set"
        app.emit({"key": setting.key, "value": setting.value, "state": state}, f"{state:8}{setting.key} = {setting.value}")
    verb = "would be set" if dry_run else "set"
    app.say(f"{counted(len(missing), 'setting')} {verb} in {checkout.root}" if missing else "git knows everything it needs")


git.add_command(setup)


def wanted_settings(app: App) -> list[GitConfig]:
    """What the kinds with a store in this workspace want git to know."""
    from assets.registry import KINDS

    present = {store.kind for store in app.engine().stores()}
    wanted: list[GitConfig] = []
    for kind in KINDS.values():
        if kind.name in present and kind.git_setup is not None:
            wanted.extend(kind.git_setup.load()())
    return wanted


def missing_settings(app: App) -> list[GitConfig]:
    """The wanted settings whose section this clone's configuration lacks; [] outside a git checkout.

    Reads the file instead of asking git, because `status` has no time for a process per setting.
    """
    checkout = app.workspace().git
    return [] if checkout is None else _missing(checkout.root, wanted_settings(app))


def _missing(top: Path, wanted: list[GitConfig]) -> list[GitConfig]:
    if not wanted:
        return []
    try:
        text = _config_file(top).read_text("utf-8", "replace")
    except OSError:
        return wanted
    sections = {(match.group(1).lower(), match.group(2)) for match in _SECTION.finditer(text)}
    missing = []
    for setting in wanted:
        section, _, rest = setting.key.partition(".")
        subsection = rest.rpartition(".")[0] or None
        if (section.lower(), subsection) not in sections:
            missing.append(setting)
    return missing


def _config_file(top: Path) -> Path:
    """The `config` of the clone, which linked worktrees and submodules keep elsewhere."""
    place = top / ".git"
    if place.is_file():
        place = top / place.read_text("utf-8").removeprefix("gitdir:").strip()
    common = place / "commondir"
    if common.is_file():
        place = place / common.read_text("utf-8").strip()
    return place / "config"

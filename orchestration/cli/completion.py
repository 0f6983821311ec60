"""`headwater completion`: the script that completes commands and options in bash, zsh and fish.

click writes the scripts; only choosing the shell and saying where the script goes belongs here.
"""

from __future__ import annotations

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

from orchestration.cli.app import App, cli, command, pass_app
from orchestration.cli.main import COMPLETE
from schemas.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
_INSTALL = {
    "bash": 'eval "$(headwater completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(headwater completion zsh)"   # in ~/.zshrc',
    "fish": "headwater completion fish | source   # in ~/.config/fish/config.fish",
}


@command("completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@pass_app
def completion(app: App, shell: str | None) -> None:
    """Print the completion script for SHELL (bash, zsh or fish; the one in use by default).

    To switch it on, put the line that the script's last comment shows into the shell's start-up file.
    """
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError("which shell? SHELL names none that can be completed", fix="say bash, zsh or fish", rule="usage")
    writer = get_completion_class(name)
    if writer is None:
        raise UsageError(f"{name} cannot be completed", fix=f"use one of {', '.join(SHELLS)}", rule="usage")
    script = writer(cli, {}, "headwater", COMPLETE).source()
    app.emit({"shell": name, "script": script, "install": _INSTALL[name]}, f"{script}\n# {_INSTALL[name]}")

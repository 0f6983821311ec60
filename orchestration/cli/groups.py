"""The click classes of the command line: commands that take the global options, and groups whose commands load when named.

What the options set is `orchestration.cli.app.App`, which a command line carries as click's context object. Light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import click


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        # Given before or after the command's name, an option counts once it was given at all.
        if value is not None and value is not False:
            from orchestration.cli.app import App

            setattr(context.ensure_object(App), name, False if name == "color" else value)

    return callback


def _global_options() -> list[click.Parameter]:
    """Options that every command accepts, before or after its name. They reach the `App`, never the command's function."""
    return [
        click.Option(
            ["-C", "--root"],
            metavar="PATH|URL",
            expose_value=False,
            callback=_set("root"),
            help="Work on the workspace that contains PATH, or on the one at URL, instead of the current folder's.",
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_set("json"), help="Print JSON lines for programs."),
        click.Option(["--no-color"], is_flag=True, expose_value=False, callback=_set("color"), help="Print without colours."),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_set("debug"), help="Show a traceback when it fails."
        ),
    ]


class Command(click.Command):
    """A command that also takes the global options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.extend(_global_options())


_FEW = 8
"""Commands of a group that are all named when another was meant."""


class Group(click.Group):
    """A group whose commands load when they are named; also takes the global options.

    `lazy` maps a command's name to `package.module:object`; `sections` maps headings of `--help` to names (by default all under
    "Commands").
    """

    command_class = Command

    def __init__(
        self,
        *arguments: Any,
        lazy: Mapping[str, str] | None = None,
        sections: Mapping[str, Iterable[str]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.lazy = dict(lazy or {})
        self.sections = {heading: tuple(names) for heading, names in (sections or {}).items()}
        self.params.extend(_global_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        eager = [name for name in super().list_commands(ctx) if name not in self.lazy]
        return [*self.lazy, *eager]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            module, _, name = self.lazy[cmd_name].partition(":")
            loaded: click.Command = getattr(import_module(module), name)
            return loaded
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            names = self.list_commands(ctx)
            close = difflib.get_close_matches(args[0], names, n=1)
            if not close and args[0] not in names and len(names) <= _FEW:
                said = f"{error.format_message().rstrip('.')}; it takes one of: {', '.join(names)}"
                raise click.UsageError(said, ctx=ctx) from None
            if not close or args[0] in names:
                raise
            raise click.UsageError(f"{error.format_message().rstrip('.')}; did you mean {close[0]!r}?", ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = self.sections or {"Commands": tuple(self.list_commands(ctx))}
        for heading, names in sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, found.get_short_help_str(200)) for name, found in commands if found is not None and not found.hidden]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

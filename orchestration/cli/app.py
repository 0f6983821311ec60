"""What every command is built from: the `App` it is handed, the decorators that make it, and the table of commands.

Speaking to people and to programs (text, JSON lines, colours, questions, progress) belongs here; no command does. Light: click
and the standard library, everything else inside functions.

A command module looks like this::

    from orchestration.cli.app import App, command, pass_app

    @command("hello")
    @pass_app
    def hello(app: App) -> None:
        \"\"\"Say hello.\"\"\"
        app.emit({"greeting": "hello"}, "hello")

With `--json`, stdout holds JSON lines and nothing else: one object per record, and `{"error": {...}}` as the last line when the
command failed. Everything said to people goes through `say` (stdout, silent with `--json`) or `note` (stderr).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli import Terminated, completing
from orchestration.cli.groups import Command, Group

if TYPE_CHECKING:
    from assets.engine.engine import Engine
    from assets.engine.model import Difference, Policy, Question, Store
    from orchestration.cli.progress import Bar
    from resources.workspace import Workspace
    from schemas.errors import HeadwaterError
    from schemas.findings import Finding

SHOWN_FINDINGS: Final = 200
"""Findings printed to people before the rest is counted; `--json` prints them all."""
SHOWN_LINES: Final = 40
"""Lines of a difference shown before a question."""

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "Start": ("init", "demo", "git", "completion"),
    "See": ("ls", "status", "explain", "check", "query", "ui", "mcp"),
    "Build": ("build", "verify", "adopt", "clean", "cache", "migrate"),
    "Kinds": ("notes", "tables", "dvs"),
}
"""Every command by the heading it has in `--help`; the module is `orchestration.cli.<name>`, the object in it `<name>`."""

_MARK: Final = f"\0{os.urandom(8).hex()}:"
_STYLED = re.compile(rf"{_MARK}([0-9;]*)\0")
"""Where a colour begins or ends. Not the terminal's own code, which a name or a cell may hold too, but a mark nobody can guess:
it becomes the code only when a line is written."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36"}


def printable(text: str) -> str:
    """`text` with everything that could drive a terminal or turn the direction of writing escaped."""
    return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


class App:
    """One run of one command: where it works, and how it speaks. `workspace()` and `engine()` are opened on first use."""

    def __init__(self, *, root: str | None = None, json: bool = False, debug: bool = False, color: bool | None = None) -> None:
        self.root = root
        self.json = json
        self.debug = debug
        self.color = color
        """None decides by NO_COLOR and whether the stream is a terminal."""
        self._workspace: Workspace | None = None
        self._engine: Engine | None = None
        self._bar: Bar | None = None
        self._stopped: int | None = None
        self._plain: bool | None = None
        """Whether neither stream takes colours, so that none need be marked; None before it was asked for."""

    # -- what stops it

    def stop(self, number: int, frame: object = None) -> None:
        """The handler of SIGINT and SIGTERM."""
        self._stopped = number
        self.raise_if_stopped()

    @property
    def stopped(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._stopped is not None

    def raise_if_stopped(self) -> None:
        """Raise KeyboardInterrupt or Terminated when a signal has asked for the end. Long work that runs libraries in C calls
        it between steps: they may have turned the handler's exception into one of theirs."""
        if self._stopped is not None:
            raise KeyboardInterrupt if self._stopped == signal.SIGINT else Terminated

    # -- what it works on

    def workspace(self) -> Workspace:
        """The workspace of `--root`, HEADWATER_ROOT or the current folder. Raises UsageError when there is no such folder."""
        if self._workspace is None:
            from resources.workspace import open_workspace

            self._workspace = open_workspace(self.root or os.environ.get("HEADWATER_ROOT") or None)
        return self._workspace

    def work_in(self, workspace: Workspace) -> None:
        """Work in another workspace from here on, instead of the one the options name."""
        self.close()
        self._workspace = workspace

    def engine(self) -> Engine:
        """The engine on `workspace()`."""
        if self._engine is None:
            from assets.engine.engine import Engine

            self._engine = Engine(self.workspace())
            self._engine.build_cache.notice = self.note
            for line in self._engine.recovered:
                self.note(line)
        return self._engine

    def store(self, kind: str, selector: str | None = None) -> Store:
        """The store of `kind` that a command means: by name or folder, else the one around the current folder, else the only one.

        Raises UsageError naming the choices when that is not exactly one.
        """
        from orchestration.cli.stores import choose

        return choose(self.workspace(), self.engine().stores(), kind, selector)

    def close(self) -> None:
        """Take the progress bar off the terminal and let go of what is open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        for opened in (self._engine, self._workspace):
            close = getattr(opened, "close", None)
            if close is not None:
                close()
        self._engine = self._workspace = None

    # -- how it speaks

    def emit(self, record: Mapping[str, Any], text: str | None = None) -> None:
        """One record of the result: a JSON line with `--json`, else `text` (nothing when it is None)."""
        if self.json:
            self.emit_row(record)
        elif text is not None:
            self.say(text)

    def emit_row(self, record: Mapping[str, Any]) -> None:
        """One JSON line on stdout, with or without `--json`: for commands with a format option of their own."""
        self._write(sys.stdout, json.dumps(record, ensure_ascii=False, allow_nan=False, default=str) + "\n", raw=True)

    def write_text(self, text: str) -> None:
        """`text` as it is on stdout, with or without `--json`: documents and data in a format the user asked for."""
        self._write(sys.stdout, text, raw=True)

    def say(self, text: str = "") -> None:
        """A line for people on stdout; nothing with `--json`."""
        if not self.json:
            self._write(sys.stdout, text + "\n")

    def note(self, text: str) -> None:
        """A line for people on stderr, with or without `--json`: progress, hints, warnings."""
        self._write(sys.stderr, text + "\n")

    def style(self, text: str, *styles: str) -> str:
        """`text` in colours (the keys of _STYLES); the streams drop them where they do not belong."""
        if self._plain is None:
            self._plain = not self._colored(sys.stdout) and not self._colored(sys.stderr)
        if self._plain:
            return text
        codes = ";".join(_STYLES[style] for style in styles)
        return f"{_MARK}{codes}\0{text}{_MARK}0\0"

    def table(self, rows: Iterable[Iterable[str]], *, header: Iterable[str] | None = None, indent: str = "") -> None:
        """Rows of cells in aligned columns for people; the width of a cell counts without its colours."""
        body = [[str(cell) for cell in row] for row in rows]
        if header is not None:
            body.insert(0, [self.style(cell, "dim") for cell in header])
        if not body:
            return
        widths = [max(_width(row[column]) for row in body if column < len(row)) for column in range(max(map(len, body)))]
        for row in body:
            cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)]
            self.say(indent + "  ".join(cells).rstrip())

    def show_error(self, error: HeadwaterError) -> None:
        """An error, with all its findings where it has some: `{"error": {...}}` on stdout with `--json`, else on stderr."""
        findings: list[Finding] = getattr(error, "findings", [])
        if self.json:
            record = {**error.to_json(), "exit_code": error.exit_code}
            if findings:
                record["findings"] = [finding.to_json() for finding in findings]
            self.emit({"error": record})
            return
        if not findings:
            # Where it is stands in front, as in a finding, so that editors and people find the place the same way.
            place = f"{error.place}: " if error.place else ""
            self.note(place + self.style("error:", "red", "bold") + " " + str(error).removeprefix(place))
            config = getattr(error, "run_config", None)
            if self.debug and config is not None:
                self.note(f"  run config that allows it in the Dagster launchpad:\n{config}")
            return
        self.show_findings(findings, to=self.note)
        self.note(self.style("error:", "red", "bold") + f" {counted(len(findings), 'finding')} in the text; nothing was written")

    def show_findings(self, findings: Iterable[Finding], *, to: Callable[[str], None] | None = None) -> None:
        """Findings as a compiler prints them, at most SHOWN_FINDINGS to people; one JSON line each with `--json`."""
        colours = {"error": "red", "warning": "yellow", "info": "cyan"}
        say = to or self.say
        shown = 0
        rest = 0
        for finding in findings:
            if self.json and to is None:
                self.emit(finding.to_json())
            elif shown == SHOWN_FINDINGS:
                rest += 1
            else:
                shown += 1
                severity = str(finding.severity)
                say(finding.render().replace(f": {severity}:", f": {self.style(severity + ':', colours[severity])}", 1))
        if rest:
            say(f"… and {rest:,} more; `headwater check --json` lists them all")

    def show_difference(self, difference: Difference) -> None:
        """What a replacement would change, on stderr, before a question is asked about it."""
        self.note(self.style(difference.headline, "bold"))
        for line in difference.lines[:SHOWN_LINES]:
            colour = {"+": "green", "-": "red", "~": "yellow"}.get(line.lstrip()[:1])
            self.note("  " + (self.style(line, colour) if colour else line))
        if len(difference.lines) > SHOWN_LINES:
            self.note(f"  … and {counted(len(difference.lines) - SHOWN_LINES, 'line')} more")

    # -- questions and progress

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: stdin and stderr are terminals and the output is not for a program."""
        return not self.json and _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def confirm(self, question: str) -> bool:
        """Ask yes or no at the terminal, no by default. Only when `interactive`. Raises click.Abort at end of input."""
        if self._bar is not None:
            self._bar.clear()
        while True:
            self._write(sys.stderr, f"{question} [y/N] ", flush=True)
            answer = sys.stdin.readline()
            if not answer:
                raise click.Abort
            word = answer.strip().casefold()
            if word in ("y", "yes"):
                return True
            if word in ("", "n", "no"):
                return False
            self.note("please answer y or n")

    def ask(self, question: Question) -> bool:
        """A `Policy.ask`: show what replacing the present file would change and ask for a yes."""
        self.note("")
        self.show_difference(question.difference)
        return self.confirm(f"Replace {', '.join(question.paths) or question.ref}?")

    def policy(self, *, yes: bool = False, force: bool = False, confirm: Iterable[str] = (), use_cache: bool = True) -> Policy:
        """How a build of this command answers questions: from the options, else at the terminal, else not at all."""
        from assets.engine.model import Policy

        ask = self.ask if self.interactive and not yes else None
        return Policy(force=force, yes=yes, confirm=frozenset(confirm), ask=ask, use_cache=use_cache)

    @contextlib.contextmanager
    def progress(self, label: str, total: int | None = None) -> Any:
        """A progress bar on stderr, shown on a terminal once the work takes longer than a second; yields a `Bar`.

        `bar.advance(text)` finishes one of `total`, `bar.show(text, fraction)` says what the present one is doing.
        """
        from orchestration.cli.progress import Bar

        bar = Bar(label, total, sys.stderr, shown=not self.json and _is_terminal(sys.stderr), color=self._colored(sys.stderr))
        self._bar = bar
        try:
            yield bar
        finally:
            bar.close()
            self._bar = None

    # -- streams

    def _colored(self, stream: Any) -> bool:
        if self.color is not None:
            return self.color
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and _is_terminal(stream)

    def _write(self, stream: Any, text: str, *, raw: bool = False, flush: bool = False) -> None:
        if self._bar is not None:
            self._bar.clear()
        if not raw:
            first, *rest = _STYLED.split(text)
            colored = self._colored(stream)
            text = printable(first)
            for code, part in zip(rest[::2], rest[1::2], strict=True):
                text += (f"\x1b[{code}m" if colored else "") + printable(part)
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush or self._bar is not None or stream is sys.stderr:
            stream.flush()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _width(cell: str) -> int:
    return len(_STYLED.sub("", cell))


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` with the global options."""
    return click.command(name, cls=Command, **settings)


def group(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Group]:
    """`click.group` whose commands load lazily (`lazy={"exec": "orchestration.cli.tables_exec:execute"}`)."""
    return click.group(name, cls=Group, **settings)


pass_app = click.make_pass_decorator(App, ensure=True)
"""Hands the command its `App` as the first argument."""

select_argument = click.argument("select", nargs=-1, metavar="[SELECT]...", shell_complete=completing.artifacts)
"""Any number of selections (globs on `kind/store/artifact`, `+x`, `x+`); none means everything."""
yes_option = click.option(
    "--yes", "-y", is_flag=True, help="Answer yes to every question; files edited by hand are rescued first."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")


@click.group(
    "headwater",
    cls=Group,
    lazy={name: f"orchestration.cli.{name}:{name}" for names in COMMANDS.values() for name in names},
    sections=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="headwater", message="headwater %(version)s")
def cli() -> None:
    """Plain text upstream, everything else flows from it.

    Headwater builds SQLite and DuckDB files, diagrams, profiles and exports from a folder of plain text, knows which of them
    are up to date and why, and brings back whatever was deleted.

    Selections are globs on kind/store/artifact; +x adds what x is built from, x+ what is built from it.
    """

"""`headwater tables shell`: SQL at a prompt, every command one transaction that text and history follow."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.tables_stores import GOOD, Opened, store_option
from orchestration.cli.tables_write import run_sql, show_result
from schemas.errors import HeadwaterError

HELP = """\
SQL ends with a semicolon; each command is one transaction, written to the text and to history.log.
.tables   the tables and their rows
.schema   how the database describes them
.help     this
.quit     leave (or Ctrl-D)"""


@command("shell")
@store_option
@click.option(
    "--rows", type=click.IntRange(min=0), default=100, show_default=True, metavar="N", help="Show at most N rows of each result."
)
@pass_app
def shell(app: App, store: str | None, rows: int) -> int:
    """Type SQL at a prompt; what you change is written to the text and to history.log, as with `exec`.

    Reads commands from standard input when it is not a terminal; then the first error ends it.

    \b
    Examples:
      headwater tables shell
      headwater tables shell -s shop < changes.sql
    """
    opened = Opened.choose(app, store)
    path = opened.require_settled()
    asked = app.interactive
    if asked:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives `input` its history and editing

        app.note(f"{opened.prefix}playground.db; .help for help, .quit to leave")
    changed = False
    try:
        for text in _commands(asked):
            if text.startswith("."):
                if text.split()[0] in {".quit", ".exit"}:
                    break
                _dot(opened, text)
                continue
            try:
                applied = run_sql(opened, path, text)
            except HeadwaterError as error:
                if not asked:
                    raise
                app.show_error(error)
                continue
            for result in applied.results:
                show_result(app, result, rows)
            if applied.writes or applied.schema_changed:
                changed = changed or bool(applied.files)
                files = ", ".join(opened.prefix + name for name in sorted(applied.files))
                record = {"rows": applied.rows, "kind": str(applied.kind), "files": sorted(applied.files)}
                app.emit(record, f"{counted(applied.rows, 'row')} changed" + (f" in {files}" if files else ""))
    finally:
        if changed:
            outcome = opened.settle()
            if outcome.result not in GOOD:
                app.note("text and database do not say the same; look with: headwater tables diff")
    return 0


def _commands(asked: bool) -> Iterator[str]:
    """Dot commands, and SQL up to a semicolon that ends a statement; the rest at the end of input counts too."""
    import apsw

    gathered = ""
    while True:
        line = _line(asked, "   ...> " if gathered else "tables> ")
        if line is None:
            break
        if not gathered and line.lstrip().startswith("."):
            yield line.strip()
            continue
        gathered += line + "\n"
        if not gathered.strip():
            gathered = ""
        elif apsw.complete(gathered):
            yield gathered.strip()
            gathered = ""
    if gathered.strip():
        yield gathered.strip()


def _line(asked: bool, prompt: str) -> str | None:
    """One line of input without its end, None at the end of it; Ctrl-C drops the line."""
    if not asked:
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    while True:
        try:
            return input(prompt)
        except EOFError:
            sys.stderr.write("\n")
            return None
        except KeyboardInterrupt:
            sys.stderr.write("\n")


def _dot(opened: Opened, text: str) -> None:
    from assets.tables.live import live_tables
    from assets.tables.live import opened as open_database
    from schemas.sql_quoting import quote

    app = opened.app
    word = text.split()[0]
    if word == ".help":
        app.say(HELP)
        return
    if word not in {".tables", ".schema"}:
        app.note(f"there is no command {word}; .help lists them")
        return
    with open_database(opened.database) as connection:
        for name, table in live_tables(connection).items():
            if word == ".schema":
                app.emit({"table": name, "sql": table.sql}, table.sql + ";")
            else:
                number = connection.execute(f"SELECT count(*) FROM {quote(name)}").get
                app.emit({"table": name, "rows": number}, f"{name}  {counted(number, 'row')}")

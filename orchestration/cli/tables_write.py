"""`headwater tables build|export|exec`: commands that change the database or the text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, dry_run_option, pass_app, yes_option
from orchestration.cli.tables_stores import GOOD, Opened, show_comparison, store_argument, store_option
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from assets.tables.execute import Applied, Result
    from assets.tables.export import Export

SQL_LIMIT = 64 << 20
"""Bytes of an SQL file."""


@command("build")
@store_argument
@click.option("--all", "everything", is_flag=True, help="Build every artifact of the store, not only playground.db.")
@click.option("--force", is_flag=True, help="Build even what is fresh, without the build cache.")
@yes_option
@click.option("--confirm", multiple=True, metavar="DIGEST", help="Agree to the plan with this digest; repeatable.")
@dry_run_option
@click.pass_context
def build(
    context: click.Context, store: str | None, everything: bool, force: bool, yes: bool, confirm: tuple[str, ...], dry_run: bool
) -> int:
    """Build playground.db (or everything) from the text, asking before a database is replaced.

    \b
    Examples:
      headwater tables build
      headwater tables build shop --all
      headwater tables build --confirm DIGEST    the digest that `headwater tables plan` printed
    """
    from orchestration.cli.build import build as build_command

    opened = Opened.choose(context.ensure_object(App), store)
    select = str(opened.ref("*") if everything else opened.ref())
    result: int = context.invoke(build_command, select=(select,), force=force, yes=yes, confirm=confirm, dry_run=dry_run)
    return result


@command("export")
@store_argument
@click.option("--add-tables", is_flag=True, help="Add tables and columns that project.yaml does not have.")
@click.option("--datapackage", is_flag=True, help="Write datapackage.json (Frictionless) beside project.yaml instead.")
@dry_run_option
@yes_option
@pass_app
def export(app: App, store: str | None, add_tables: bool, datapackage: bool, dry_run: bool, yes: bool) -> int:
    """Write what the live database says to the text: one line per changed row, all files or none.

    For a database that another tool has edited: what changed in it since it was built is taken over, also when the text has moved
    on; a row changed differently on both sides is a conflict. Where it is not known what the database was built from, the text
    becomes what the database says, after asking. Tables and columns that project.yaml does not have are listed; --add-tables
    adds them. The change is recorded in history.log.

    \b
    Examples:
      headwater tables export --dry-run
      headwater tables export --add-tables
    """
    opened = Opened.choose(app, store)
    if datapackage:
        return _datapackage(opened, dry_run)
    from assets.tables.export import export as export_database
    from resources.tables.history_log import Draft
    from schemas.tables.history import RecordKind

    path = opened.ensure()
    journal = opened.journal
    with journal.open() as text:
        _say(app, journal.said)
        last = opened.last_text()
        base = last[0] if last is not None else None
        made = export_database(text, path, base=base, add_tables=add_tables, scratch=app.workspace().scratch)
        wanted = bool(made.files) and not dry_run
        _show_export(app, made, dry_run)
        if not wanted or (base is None and not _agreed(app, made, yes)):
            return 0
        before = text.digest()
        words = "headwater tables export" + (" --add-tables" if add_tables else "")
        draft = Draft(journal.actor, RecordKind.EXPORT, words, "", "", rows=made.compared.rows)
        journal.commit(text.files(), dict(made.files), draft, with_text=True)
    app.say(f"wrote {counted(len(made.files), 'file')}: {', '.join(opened.prefix + name for name in sorted(made.files))}")
    if base is not None and base.digest() != before:
        app.note("the text had changed too since the database was built; build it again: headwater tables build")
    elif not made.offers and not made.missing:
        _settle(opened)
    return 0


def _agreed(app: App, made: Export, yes: bool) -> bool:
    """Whether the text may become what a database of unknown origin says."""
    if yes or not any(table.removed or table.changed for table in made.compared.tables):
        return True
    if not app.interactive:
        raise HeadwaterError(
            "it is not known which text this database was built from, and rows of the text would change or go",
            rule="not-asked",
            fix="look with --dry-run, then pass --yes",
        )
    return app.confirm("It is not known which text this database was built from. Make the text say what it says?")


def _show_export(app: App, made: Export, dry_run: bool) -> None:
    record: dict[str, Any] = {
        "files": sorted(made.files),
        "written": bool(made.files) and not dry_run,
        "differences": made.compared.to_json(),
        "unknown": [{"table": one.table, "columns": one.columns, "whole": one.whole, "rows": one.rows} for one in made.offers],
        "missing": made.missing,
    }
    if app.json:
        app.emit(record)
        return
    show_comparison(app, made.compared, 20)
    for offer in made.offers:
        app.note(f"not in project.yaml: {offer.line()}")
    if made.offers:
        app.note("add them with: headwater tables export --add-tables")
    for name in made.missing:
        app.note(f"table {name} is not in the database any more; its text stays (take it out of project.yaml to drop it)")
    if not made.files:
        app.say("the text says what the database says" if not made.offers else "no known row differs")


def _datapackage(opened: Opened, dry_run: bool) -> int:
    import json

    from resources.storage.base import ABSENT
    from resources.tables.store import TablesStore
    from schemas.oid import bytes_oid
    from schemas.tables.datapackage import export_datapackage

    app = opened.app
    root = app.workspace().root
    described, lost = export_datapackage(TablesStore(root, opened.store.root).project())
    data = (json.dumps(described, ensure_ascii=False, indent=2) + "\n").encode()
    path = opened.prefix + "datapackage.json"
    present = root.read(path) if root.stat(path) is not None else None
    if present != data and not dry_run:
        root.write(path, data, expect=ABSENT if present is None else bytes_oid(present))
    for line in lost:
        app.note(f"a data package cannot say: {line}")
    app.emit(
        {"path": path, "written": present != data and not dry_run, "lost": lost},
        f"{'would write' if dry_run else 'wrote'} {path}" if present != data else f"{path} is up to date",
    )
    return 0


@command("exec")
@click.argument("sql", metavar="SQL|FILE|-")
@store_option
@click.option(
    "--rows", type=click.IntRange(min=0), default=100, show_default=True, metavar="N", help="Show at most N rows of each result."
)
@pass_app
def execute(app: App, sql: str, store: str | None, rows: int) -> int:
    """Run SQL on the database, write the changed rows to the text and one record to history.log.

    SQL is the statements themselves, a file that holds them, or - for standard input. All of it is one transaction: when anything
    fails, nothing has changed. Clock and chance (now, random()) are written down, so that the history can be replayed.

    \b
    Examples:
      headwater tables exec "UPDATE product SET price = '9.90' WHERE code = '00042'"
      headwater tables exec migration.sql
    """
    opened = Opened.choose(app, store)
    path = opened.require_settled()
    applied = run_sql(opened, path, read_sql(sql))
    for result in applied.results:
        show_result(app, result, rows)
    if not applied.writes and not applied.schema_changed:
        return 0
    files = sorted(opened.prefix + name for name in applied.files)
    changed = f"{counted(applied.rows, 'row')} changed" + (f" in {', '.join(files)}" if files else "")
    app.emit({"rows": applied.rows, "kind": str(applied.kind), "files": files, "args": applied.args}, changed)
    if files:
        _settle(opened)
    return 0


def read_sql(sql: str) -> str:
    """The statements that the argument means. Raises HeadwaterError for a file that cannot be read as UTF-8 or is not there."""
    if sql == "-":
        return sys.stdin.read()
    if sql.lower().endswith(".sql") and not any(char.isspace() for char in sql) and not Path(sql).is_file():
        raise UsageError(f"there is no file {sql}", rule="sql-file", fix="name a file, or write the statements themselves")
    if "\n" in sql or len(sql) > 255 or not Path(sql).is_file():
        return sql
    from schemas.text import decode

    data = Path(sql).read_bytes()
    return decode(data, sql, limit=SQL_LIMIT).text


def run_sql(opened: Opened, path: Path, sql: str) -> Applied:
    """One command, with what was repaired on the way said."""
    from assets.tables.execute import run

    journal = opened.journal
    try:
        return run(journal, path, sql)
    finally:
        _say(opened.app, journal.said)


def show_result(app: App, result: Result, limit: int) -> None:
    """The rows of a SELECT: a JSON object per row, or an aligned table."""
    shown = result.rows[:limit]
    if app.json:
        for row in shown:
            app.emit(
                dict(zip(result.columns, (value.hex() if isinstance(value, bytes) else value for value in row), strict=True))
            )
        return
    from assets.tables.compare import show_cell

    cells = [[show_cell(_text(value)) for value in row] for row in shown]
    app.table(cells, header=result.columns)
    if len(result.rows) > limit or result.more:
        app.note(f"… more than {limit} rows; show more with --rows")


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)


def _say(app: App, lines: list[str]) -> None:
    for line in lines:
        app.note(line)


def _settle(opened: Opened) -> None:
    outcome = opened.settle()
    if outcome.result not in GOOD:
        raise outcome.error or HeadwaterError(
            f"text and database do not say the same afterwards: {'; '.join(outcome.reasons)}",
            fix="look with: headwater tables diff",
        )

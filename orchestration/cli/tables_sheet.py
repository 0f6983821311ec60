"""`headwater tables sheet export|import`: a round trip through a spreadsheet that says what the spreadsheet did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, dry_run_option, group, pass_app, yes_option
from orchestration.cli.new_file import new_file
from orchestration.cli.tables_stores import Opened, show_comparison, store_option
from schemas.errors import HeadwaterError, InvalidText, UsageError

if TYPE_CHECKING:
    from assets.tables.compare import Comparison
    from assets.tables.versions import Version
    from resources.tables.sheet_cells import DateOrder
    from resources.tables.sheet_read import Sheet, SheetChanges


@group("sheet")
def sheet() -> None:
    """Edit tables in a spreadsheet, without what spreadsheets do to data.

    \b
    Example:
      headwater tables sheet export -o shop.xlsx
      headwater tables sheet import shop.xlsx
    """


@command("export")
@click.option("--output", "-o", metavar="FILE.xlsx", help="The workbook; by default NAME.xlsx in the current folder.")
@click.option("--table", "-t", "tables", multiple=True, metavar="TABLE", help="Only this table; repeatable.")
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
@store_option
@pass_app
def export(app: App, output: str | None, tables: tuple[str, ...], force: bool, store: str | None) -> None:
    """Write the tables to a workbook: types locked, choices from enumerations and keys, nothing that runs.

    \b
    Example:
      headwater tables sheet export -o shop.xlsx --table product
    """
    from resources.tables.sheet_write import write_workbook

    opened = Opened.choose(app, store)
    text = opened.journal.text()
    unknown = [name for name in tables if name not in text.project.tables]
    if unknown:
        raise UsageError(
            f"there is no table {unknown[0]}", fix=f"name one of: {', '.join(text.project.tables)}", rule="table-unknown"
        )
    name = opened.store.root.rpartition("/")[2] or app.workspace().name
    target = Path(output or f"{name}.xlsx")
    with new_file(target, force=force) as file:
        rows = write_workbook(text.project, text.table, file, tables=tables or text.project.tables, digest=text.digest())
    app.emit({"path": str(target), "rows": rows}, f"wrote {target}: {counted(rows, 'row')}")


@command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--table", "-t", metavar="TABLE", help="The table, when the file's name, sheets and columns do not tell.")
@click.option("--dates", type=click.Choice(["day", "month"]), help="What comes first in dates such as 03/04/2026.")
@dry_run_option
@yes_option
@store_option
@pass_app
def import_(app: App, file: str, table: str | None, dates: str | None, dry_run: bool, yes: bool, store: str | None) -> int:
    """Take over what was changed in a workbook or in the CSV that a spreadsheet saved, after showing every changed row.

    Reads Windows-1252, semicolons, local dates, TRUE, decimal commas by the declared types. Zeros, digits and empty texts that
    the spreadsheet lost are put back where the text still has them, and said. A date that can be read in two ways is asked about.
    Rows that are not in the file are removed.

    \b
    Examples:
      headwater tables sheet import shop.xlsx --dry-run
      headwater tables sheet import product.csv --dates day
    """
    from resources.tables.sheet_cells import DateOrder
    from resources.tables.sheet_read import read_sheets

    opened = Opened.choose(app, store)
    journal = opened.journal
    path = Path(file)
    with journal.open() as text:
        sheets, digest = read_sheets(path, text.project, table)
        if digest is not None and digest != text.digest():
            app.note("the text has changed since this workbook was written; what is not in the workbook shows as removed")
        order = DateOrder(dates) if dates else None
        read = {one.table: _changes(app, text, one, order) for one in sheets}
        findings = [finding for made in read.values() for finding in made.findings]
        if findings:
            raise InvalidText(findings)
        compared = _compared(text, read, path.name)
        losses = [
            {"table": name, "column": column, "loss": str(loss), "cells": number}
            for name, made in read.items()
            for (column, loss), number in sorted(made.losses.items())
        ]
        files = _files(text, read)
        if not app.json:
            _show(app, compared, losses)
        written = bool(files) and not dry_run and _agreed(app, compared, yes)
        if app.json:
            app.emit({"written": written, "losses": losses, "differences": compared.to_json()})
        if written:
            _commit(opened, text, files, path.name, compared.rows)
    if not files:
        app.say("nothing has changed")
    elif written:
        app.say(f"wrote {', '.join(opened.prefix + name for name in sorted(files))}; next: headwater tables build")
    return 0


def _changes(app: App, text: Version, sheet_: Sheet, order: DateOrder | None) -> SheetChanges:
    """The changes of one sheet, asking once how its ambiguous dates are to be read."""
    from resources.tables.sheet_cells import DateOrder
    from resources.tables.sheet_read import sheet_changes

    made = sheet_changes(text.project, sheet_, text.table(sheet_.table), order)
    if not made.ambiguous:
        return made
    column, examples = next(iter(made.ambiguous.items()))
    shown = ", ".join(dict.fromkeys(examples[:3]))
    if not app.interactive:
        raise HeadwaterError(
            f"{sheet_.where}: {column} holds dates that can be read in two ways: {shown}",
            rule="sheet-date",
            fix="say what comes first: --dates day, or --dates month",
        )
    answer = click.prompt(f"{column}: is {examples[0]} day first or month first?", type=click.Choice(["day", "month"]), err=True)
    return sheet_changes(text.project, sheet_, text.table(sheet_.table), DateOrder(answer))


def _compared(text: Version, read: Mapping[str, SheetChanges], name: str) -> Comparison:
    from assets.tables.compare import Comparison, TableComparison, row_key

    compared = Comparison(text.label, name)
    for table, made in read.items():
        one = TableComparison(table, key=row_key(text.project.tables[table]))
        one.count(made.changes)
        if one.rows:
            compared.tables.append(one)
    return compared


def _files(text: Version, read: Mapping[str, SheetChanges]) -> dict[str, bytes]:
    from assets.tables.export import changed_text, refuse_unwritable
    from assets.tables.live import Reader

    changed = {name: made.changes for name, made in read.items() if made.changes}
    refuse_unwritable(text, changed, Reader(text.project, text.shown))
    return {
        text.project.tables[name].data_file: changed_text(text, text.project.tables[name], rows) for name, rows in changed.items()
    }


def _show(app: App, compared: Comparison, losses: list[dict[str, Any]]) -> None:
    """The changed rows, and what the spreadsheet had lost."""
    show_comparison(app, compared, 20)
    for one in losses:
        app.note(f"put back: {one['table']}.{one['column']}: {one['loss']} in {counted(one['cells'], 'cell')}")


def _agreed(app: App, compared: Comparison, yes: bool) -> bool:
    """Whether the changes may be written: --yes, or a yes at the terminal."""
    if yes:
        return True
    if not app.interactive:
        raise HeadwaterError(
            f"{counted(compared.rows, 'row')} not taken over: nobody can be asked here",
            rule="not-asked",
            fix="look with --dry-run, then pass --yes",
        )
    return app.confirm(f"Write {counted(compared.rows, 'changed row')} to the text?")


def _commit(opened: Opened, text: Version, files: dict[str, bytes], name: str, rows: int) -> None:
    from resources.tables.history_log import Draft
    from schemas.tables.history import RecordKind

    journal = opened.journal
    draft = Draft(journal.actor, RecordKind.IMPORT, f"headwater tables sheet import {name}", "", "", rows=rows)
    journal.commit(text.files(), dict(files), draft, with_text=True)


sheet.add_command(export)
sheet.add_command(import_)

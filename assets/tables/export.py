"""From what changed in a database back to its text: new bytes for the CSV files of changed tables, and additions to project.yaml.

Pure with respect to the workspace: text and changes in, bytes out. Reading databases is `assets.tables.live`, committing files is
`assets.tables.journal`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from assets.tables.compare import Comparison, TableComparison, row_key, text_changes
from assets.tables.live import Databases, LiveTable, Reader, databases, live_tables, scratch_database
from assets.tables.versions import PROJECT_FILE, Version
from resources.tables.records import Change, apply_changes, write_record
from resources.tables.store import canonical_key, sort_key
from schemas import yaml_text
from schemas.errors import Conflict, HeadwaterError, InvalidText
from schemas.findings import found
from schemas.sql_quoting import quote, quote_all
from schemas.tables import strict
from schemas.tables.incoming import LIVE_LIMIT
from schemas.tables.model import Project, Table
from schemas.tables.project import read_project

_SHOWN = 100


@dataclass(slots=True)
class Offer:
    """A table or column of the database that project.yaml does not know, with the type its text would have."""

    table: str
    columns: dict[str, str]
    whole: bool
    """The table is unknown, not only some of its columns."""
    rows: int = 0

    def line(self) -> str:
        """One line for people."""
        listed = ", ".join(f"{name} ({kind})" for name, kind in self.columns.items())
        if self.whole:
            return f"table {self.table} with {self.rows:,} {'row' if self.rows == 1 else 'rows'}: {listed}"
        return f"{'columns' if len(self.columns) > 1 else 'column'} of {self.table}: {listed}"


@dataclass(slots=True)
class Export:
    """The files to write, what they change, and what project.yaml does not know."""

    files: dict[str, bytes] = field(default_factory=dict)
    compared: Comparison = field(default_factory=lambda: Comparison("text", "database"))
    offers: list[Offer] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Tables of the project that the database no longer has; their text stays."""


def changed_text(text: Version, table: Table, changes: Iterable[Change]) -> bytes:
    """The CSV text of `table` with the changes made; see `apply_changes`."""
    project = text.project
    key = row_key(table)
    order = sort_key(table, key)
    by_key = bool(table.primary_key) and table.order_by is None and project.format.row_order == "key"
    # Where rows keep the order of the file, new ones go to its end, in an order that does not depend on how they were found.
    rows = list(changes) if by_key else sorted(changes, key=lambda change: order(change.key))
    return apply_changes(
        text.table(table.name),
        key,
        rows,
        sort_key=order if by_key else None,
        canonical=canonical_key(table),
        null=project.format.null_text,
        path=text.shown + table.data_file,
    )


def refuse_unwritable(text: Version, changes: Mapping[str, list[Change]], reader: Reader) -> None:
    """Raise InvalidText when a changed row cannot be text of its table: wrong types, or limits that SQLite does not enforce."""
    findings = list(reader.findings)
    for name, rows in changes.items():
        table = text.project.tables[name]
        for change in rows:
            for column, cell in (change.after or {}).items():
                declared = table.stored.get(column)
                if declared is None or cell is None or len(findings) >= _SHOWN:
                    continue
                if declared.column_type.accepts(cell) and not strict.within_limits(declared, cell):
                    where = ", ".join(f"{one}={value}" for one, value in zip(row_key(table), change.key, strict=True))
                    message = f"table {name}, row {where}: {column} is outside the limits of project.yaml"
                    findings.append(found(LIVE_LIMIT, text.shown + table.data_file, message, value=cell, fix="correct the value"))
    if findings:
        raise InvalidText(findings[:_SHOWN])


def export(
    text: Version, database: Path, *, base: Version | None = None, add_tables: bool = False, scratch: Path | None = None
) -> Export:
    """What has to be written so that the text says what the database at `database` says.

    `base` is the text that the database was built from: with it, only what was changed in the database since then is taken over,
    onto a text that may have moved on. Without it the text becomes what the database says, row by row.

    Unknown tables and columns are offered; with `add_tables` they are added to project.yaml with their rows. Raises InvalidText
    for rows that cannot be text, Conflict for rows that text and database changed differently, Unreadable for a file that is no
    database.
    """
    made = Export(compared=Comparison(text.label, database.name))
    origin = text if base is None or base.digest() == text.digest() else base
    with scratch_database(origin, scratch) as present, databases(present, database, text.project) as both:
        both.connection.execute("BEGIN")
        refuse_broken(both.connection, "other")
        offer_additions(made, text.project, both.new_tables, both)
        changes: dict[str, list[Change]] = {}
        for name, table in text.project.tables.items():
            live = both.new_tables.get(name)
            if live is None:
                made.missing.append(name)
                continue
            refuse_lost_columns(table, live, database.name)
            rows = list(both.changes(name))
            if origin is not text:
                rows = _onto(text, origin, table, rows)
            if rows:
                changes[name] = rows
        refuse_unwritable(text, changes, both.reader)
        for name, rows in changes.items():
            table = text.project.tables[name]
            made.files[table.data_file] = changed_text(text, table, rows)
            compared = TableComparison(name, key=row_key(table))
            compared.count(rows)
            made.compared.tables.append(compared)
        if add_tables and made.offers:
            add_offers(made, text, both.connection, "other")
    return made


def _onto(text: Version, origin: Version, table: Table, changes: list[Change]) -> list[Change]:
    """The database's changes since `origin` as changes of the text, which may have changed other rows and cells since."""
    old = origin.project.tables.get(table.name)
    if old is None or list(old.stored) != list(table.stored) or old.primary_key != table.primary_key:
        if not changes:
            return []
        raise HeadwaterError(
            f"table {table.name} has other columns or another key in project.yaml than when the database was built",
            rule="export-schema-moved",
            path=text.shown + PROJECT_FILE,
            fix="go back to the project.yaml it was built from, export, and then change the schema",
        )
    moved = text_changes(origin.table(table.name), text.table(table.name), old, table, origin.project, text.project)
    edits = {change.key: change for change in moved} if changes and table.primary_key else {}
    merged: list[Change] = []
    for change in changes:
        edit = edits.get(change.key)
        made = change if edit is None else _merged(change, edit)
        if made is None:
            where = ", ".join(f"{name}={cell}" for name, cell in zip(table.primary_key, change.key, strict=True))
            raise Conflict(
                f"table {table.name}, row {where}: changed in the database and, differently, in the text",
                rule="export-conflict",
                path=text.shown + table.data_file,
                fix="make the two agree by hand; `headwater tables diff` shows both",
            )
        if made.before != made.after:
            merged.append(made)
    return merged


def _merged(change: Change, edit: Change) -> Change | None:
    """A change of the database onto a row that the text changed too: None where both changed one cell differently."""
    now = edit.after
    if now == change.after:
        return Change(change.key, now, now)
    if now is None or change.after is None or change.before is None:
        return None
    row = dict(now)
    for name in change.columns():
        if now.get(name) not in (change.before.get(name), change.after.get(name)):
            return None
        row[name] = change.after.get(name)
    return Change(change.key, now, row)


def refuse_lost_columns(table: Table, live: LiveTable, shown: str) -> None:
    """Raise HeadwaterError when the database lacks a column whose text would be lost."""
    lost = [name for name in table.stored if name not in live.columns]
    if lost:
        raise HeadwaterError(
            f"table {table.name} in {shown} has no column {', '.join(lost)}",
            rule="export-column-missing",
            fix="take the column out of project.yaml and of the CSV file, or build the database again",
        )


def refuse_broken(connection: apsw.Connection, schema: str = "main") -> None:
    """Raise HeadwaterError for rows that break a foreign key, CHECK, UNIQUE or NOT NULL of the database itself."""
    for table, _, parent, key in connection.execute(f"PRAGMA {schema}.foreign_key_check"):
        raise HeadwaterError(
            f"a row of {table} points at a row of {parent} that does not exist",
            rule="export-orphan",
            fix=f"correct the database, or look with: {_orphans(connection, schema, table, parent, key)}",
        )
    answer = connection.execute(f"PRAGMA {schema}.quick_check(1)").get
    if answer != "ok":
        raise HeadwaterError(f"the database is not sound: {answer}", rule="export-unsound", fix="correct or rebuild the database")


def _orphans(connection: apsw.Connection, schema: str, table: str, parent: str, key: int) -> str:
    """The query that shows the rows of `table` whose foreign key number `key` finds no row of `parent`."""
    listed = connection.execute('SELECT id, "from", "to" FROM pragma_foreign_key_list(?, ?) ORDER BY seq', (table, schema))
    pairs = [(ours, theirs) for number, ours, theirs in listed if number == key]
    if any(theirs is None for _, theirs in pairs):
        # Without names the primary key is meant.
        keys = connection.execute("SELECT name FROM pragma_table_info(?, ?) WHERE pk ORDER BY pk", (parent, schema))
        pairs = [(ours, name) for (ours, _), (name,) in zip(pairs, keys, strict=False)]
    child = quote(table)
    set_ = " AND ".join(f"{child}.{quote(ours)} IS NOT NULL" for ours, _ in pairs)
    same = " AND ".join(f"parent.{quote(theirs)} = {child}.{quote(ours)}" for ours, theirs in pairs)
    return f"SELECT * FROM {child} WHERE {set_} AND NOT EXISTS (SELECT 1 FROM {quote(parent)} AS parent WHERE {same})"


# -- additions to the schema


def offer_additions(made: Export, project: Project, live: Mapping[str, LiveTable], both: Databases | None) -> None:
    """List the tables and columns of `live` that the project does not have."""
    for name, table in live.items():
        known = project.tables.get(name)
        if known is None:
            columns = {column: guess_type(declared) for column, declared in table.columns.items()}
            made.offers.append(Offer(name, columns, True, both.count(name, "other") if both is not None else 0))
            continue
        extra = {column: guess_type(declared) for column, declared in table.columns.items() if column not in known.columns}
        if extra:
            made.offers.append(Offer(name, extra, False))
    if both is not None:
        for offer in made.offers:
            _look_at_values(offer, live[offer.table], both.connection, "other")


_HOLDS_TEXT = re.compile("CHAR|CLOB|TEXT", re.IGNORECASE)
"""A declaration that makes SQLite keep text: numbers that are written into such a column become text."""


def guess_type(declared: str) -> str:
    """The type of ours that holds what a column declared as `declared` in SQLite does (its affinity and common names)."""
    word = declared.strip().upper()
    match = re.fullmatch(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)", word)
    if match and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return f"decimal({match[1]},{match[2]})"
    if word in {"DATE", "TIME", "BOOLEAN", "UUID", "JSON"}:
        return word.lower()
    if "INT" in word:
        return "integer"
    if any(part in word for part in ("REAL", "FLOA", "DOUB")):
        return "float"
    return "blob" if "BLOB" in word else "text"


def add_offers(made: Export, text: Version, connection: apsw.Connection, schema: str) -> None:
    """Add the offered tables and columns to project.yaml and write their rows."""
    document = yaml_text.read(made.files.get(PROJECT_FILE, text.project_data), text.shown + PROJECT_FILE)
    live = live_tables(connection, schema)
    for offer in made.offers:
        _look_at_values(offer, live[offer.table], connection, schema)
        if offer.whole:
            document = document.set(("tables", offer.table), _described(connection, schema, live[offer.table], offer))
        else:
            for column, kind in offer.columns.items():
                document = document.set(("tables", offer.table, "columns", column), {"type": kind})
    project = read_project(document.data, text.shown + PROJECT_FILE)
    made.files[PROJECT_FILE] = document.data
    reader = Reader(project, text.shown + PROJECT_FILE)
    for offer in made.offers:
        table = project.tables[offer.table]
        made.files[table.data_file] = _rows(connection, schema, table, reader, project.format.null_text)
        compared = TableComparison(offer.table, "added" if offer.whole else "changed", key=row_key(table))
        compared.schema = [f"+ column {name} ({kind})" for name, kind in offer.columns.items()]
        compared.added = offer.rows
        made.compared.tables = [one for one in made.compared.tables if one.name != offer.table] + [compared]
    if reader.findings:
        raise InvalidText(reader.findings[:_SHOWN])
    made.offers = []


def _look_at_values(offer: Offer, table: LiveTable, connection: apsw.Connection, schema: str) -> None:
    """Give the columns whose declared type says nothing the type of their values."""
    for column, kind in offer.columns.items():
        if kind == "text" and not _HOLDS_TEXT.search(table.columns[column]):
            offer.columns[column] = _type_of_values(connection, schema, offer.table, column)


def _type_of_values(connection: apsw.Connection, schema: str, table: str, column: str) -> str:
    """The type that holds every value of a column which SQLite lets hold anything; text where there are several or none."""
    seen = connection.execute(f"SELECT DISTINCT typeof({quote(column)}) FROM {schema}.{quote(table)}")
    kinds = {kind for (kind,) in seen} - {"null"}
    if kinds == {"integer"}:
        return "integer"
    if kinds and kinds <= {"integer", "real"}:
        return "float"
    return "blob" if kinds == {"blob"} else "text"


def _described(connection: apsw.Connection, schema: str, table: LiveTable, offer: Offer) -> dict[str, Any]:
    """A table of the database as project.yaml describes it: columns, key and NOT NULL."""
    required = {
        name
        for name, strict_null in connection.execute('SELECT name, "notnull" FROM pragma_table_xinfo(?, ?)', (table.name, schema))
        if strict_null
    }
    columns: dict[str, Any] = {}
    for name, kind in offer.columns.items():
        columns[name] = {"type": kind}
        if name in required and name not in table.key:
            columns[name]["nullable"] = False
    made: dict[str, Any] = {"columns": columns}
    if table.key:
        made["primary_key"] = list(table.key)
    return made


def _rows(connection: apsw.Connection, schema: str, table: Table, reader: Reader, null: str) -> bytes:
    names = list(table.stored)
    kinds = [column.column_type for column in table.stored.values()]
    order = f" ORDER BY {quote_all(table.primary_key)}" if table.primary_key else ""
    lines = [write_record(names)]
    for row in connection.execute(f"SELECT {quote_all(names)} FROM {schema}.{quote(table.name)}{order}"):
        cells = (reader.cell(kind, value, table.name, name) for kind, value, name in zip(kinds, row, names, strict=True))
        lines.append(write_record(cells, null))
    return b"\n".join(lines) + b"\n"

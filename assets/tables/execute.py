"""Running SQL against the live database so that text and history follow, and replaying it from the history.

One command is one transaction. Its rows are captured by SQLite's session extension (https://www.sqlite.org/sessionintro.html),
cascades and triggers included; the order is: transaction ready to commit, text committed, record appended, transaction
committed. Dying anywhere in between leaves the text whole, with its record, and at worst an older database that the next
build replaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from assets.tables.compare import row_key
from assets.tables.export import Export, add_offers, changed_text, offer_additions, refuse_lost_columns, refuse_unwritable
from assets.tables.functions import Answers
from assets.tables.journal import Journal
from assets.tables.live import LiveTable, Reader, live_tables, unreadable
from assets.tables.versions import PROJECT_FILE, Version
from resources.tables.history_log import Draft
from resources.tables.records import Change
from schemas.errors import HeadwaterError
from schemas.sql_quoting import quote, quote_all
from schemas.tables.history import RecordKind
from schemas.tables.model import Table

BUSY_MILLISECONDS = 5000
"""How long a command waits for another program that writes to the database."""
SHOWN_ROWS = 10_000
"""Rows of a SELECT that are kept for showing."""

_KINDS = {
    "INSERT": RecordKind.INSERT,
    "REPLACE": RecordKind.INSERT,
    "UPDATE": RecordKind.UPDATE,
    "DELETE": RecordKind.DELETE,
    "CREATE": RecordKind.CREATE_TABLE,
    "ALTER": RecordKind.ALTER,
    "DROP": RecordKind.ALTER,
}
_REFUSED = {
    apsw.SQLITE_ATTACH: "ATTACH",
    apsw.SQLITE_DETACH: "DETACH",
    apsw.SQLITE_TRANSACTION: "BEGIN, COMMIT and ROLLBACK (one command is one transaction)",
    apsw.SQLITE_SAVEPOINT: "SAVEPOINT",
    apsw.SQLITE_CREATE_VTABLE: "virtual tables",
    apsw.SQLITE_DROP_VTABLE: "virtual tables",
}
_TYPE_CHECK = re.compile(r"CHECK constraint failed: .+: (?:decimal|date|time|datetime|timestamp|uuid|boolean|json)\b")
"""The name of the check that goes with a column's type."""
_SPELLING = (
    "write the value as the text does: a decimal(8,2) as '9.90' with its quotes and both decimals, a date as '2024-01-31', "
    "a boolean as 0 or 1"
)
_PRAGMAS = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "foreign_key_list",
        "foreign_key_check",
        "quick_check",
    }
)
_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})


@dataclass(slots=True)
class Result:
    """The rows one statement gave, at most SHOWN_ROWS; `more` says that there were more."""

    columns: list[str]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    more: bool = False


@dataclass(slots=True)
class Applied:
    """What a command did, while its transaction is still open: new files, changed rows, the answers of clock and chance."""

    results: list[Result]
    files: dict[str, bytes]
    rows: int
    kind: RecordKind
    args: dict[str, Any]
    schema_changed: bool
    writes: bool


class _Guard:
    """The authorizer: nothing that leaves the database or the transaction. Remembers whether anything was written."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.writes = False
        self.enabled = True

    def __call__(self, action: int, one: str | None, two: str | None, schema: str | None, inner: str | None) -> int:
        if not self.enabled:
            return apsw.SQLITE_OK
        if action in _REFUSED:
            self.reason = f"{_REFUSED[action]} cannot be used here"
        elif action == apsw.SQLITE_PRAGMA and (one or "").lower() not in _PRAGMAS:
            self.reason = f"PRAGMA {one} cannot be used here"
        elif action == apsw.SQLITE_FUNCTION and (two or "").lower() in _FUNCTIONS:
            self.reason = f"the function {two} cannot be used here"
        elif action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE) and schema != "temp":
            self.writes = True
        else:
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY if self.reason else apsw.SQLITE_OK


def connect(path: Path) -> apsw.Connection:
    """The live database for writing, hardened, foreign keys on. Raises Unreadable, HeadwaterError when it is busy."""
    if path.is_symlink() or not path.is_file():
        raise unreadable(path, OSError("it is no regular file"))
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        if connection.execute("PRAGMA foreign_keys").get != 1:
            raise HeadwaterError("this SQLite does not enforce foreign keys", rule="sqlite-foreign-keys")
        connection.execute("PRAGMA synchronous=FULL")
        # Back in Python now and then, an endless query can be interrupted.
        connection.set_progress_handler(lambda: False, 100_000)
    except apsw.Error as error:
        connection.close()
        raise unreadable(path, error) from None
    return connection


def run(journal: Journal, path: Path, sql: str) -> Applied:
    """One command on the database at `path`: transaction, text, record, commit. A command that only reads leaves no trace.

    Raises what `apply` and `connect` raise; then nothing has changed. Such a command leaves no record either: the log is
    versioned text that says what made the project, and a mistyped statement made nothing.
    """
    answers = Answers()
    with journal.open() as text:
        connection = connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                applied = apply(connection, text, sql, answers)
            except HeadwaterError:
                connection.execute("ROLLBACK")
                raise
            if applied.writes or applied.schema_changed:
                draft = Draft(journal.actor, applied.kind, sql, "", "", args=applied.args, rows=applied.rows)
                journal.commit(text.files(), dict(applied.files), draft, with_text=applied.schema_changed)
                connection.execute("COMMIT")
            else:
                connection.execute("ROLLBACK")
        except apsw.BusyError:
            raise HeadwaterError(
                f"another program is writing to {path.name}",
                rule="sqlite-busy",
                path=path.name,
                fix="close it or wait until it is done, then run the command again",
            ) from None
        finally:
            connection.close()
            answers.close()
    return applied


def apply(connection: apsw.Connection, text: Version, sql: str, answers: Answers) -> Applied:
    """Run `sql` in the transaction that is open on `connection` and work out the text that says the same afterwards.

    Nothing is committed. Raises HeadwaterError (rule `sql-…`) for SQL that fails or is not allowed, InvalidText for rows that
    cannot be text.
    """
    before = live_tables(connection)
    guard = _Guard()
    answers.register(connection)
    session = apsw.Session(connection, "main")
    try:
        session.config(apsw.SQLITE_SESSION_OBJCONFIG_ROWID, True)
        session.attach()
        connection.authorizer = guard
        results, words = _statements(connection, sql, guard)
        guard.enabled = False
        connection.authorizer = None
        answers.finish()
        if connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise HeadwaterError("a foreign key would point at a row that does not exist", rule="sql-constraint")
        after = live_tables(connection)
        schema_changed = {name: table.sql for name, table in before.items()} != {name: table.sql for name, table in after.items()}
        reader = Reader(text.project, text.shown + PROJECT_FILE)
        if schema_changed:
            files, rows = _changed_schema(connection, text, before, after)
        else:
            changes = _changes(connection, session.changeset(), text, after, reader)
            refuse_unwritable(text, changes, reader)
            files = {
                text.project.tables[name].data_file: changed_text(text, text.project.tables[name], changed)
                for name, changed in changes.items()
            }
            rows = sum(len(changed) for changed in changes.values())
    finally:
        guard.enabled = False
        connection.authorizer = None
        session.close()
    return Applied(results, files, rows, _kind(words), answers.args, schema_changed, guard.writes)


def _kind(words: list[str]) -> RecordKind:
    kinds = {_KINDS[word] for word in words if word in _KINDS}
    return kinds.pop() if len(kinds) == 1 and len(words) == 1 else RecordKind.SCRIPT


def _statements(connection: apsw.Connection, sql: str, guard: _Guard) -> tuple[list[Result], list[str]]:
    results: list[Result] = []
    words: list[str] = []

    def started(cursor: apsw.Cursor, statement: str, bindings: Any) -> bool:
        words.append(_first_word(statement))
        described = cursor.get_description()
        if described:
            results.append(Result([column[0] for column in described]))
        return True

    cursor = connection.cursor()
    cursor.exec_trace = started
    try:
        for row in cursor.execute(sql):
            if results and len(results[-1].rows) < SHOWN_ROWS:
                results[-1].rows.append(tuple(row))
            elif results:
                results[-1].more = True
    except apsw.Error as error:
        if guard.reason is not None:
            raise HeadwaterError(guard.reason, rule="sql-not-allowed", fix="leave it out of the command") from None
        constraint = isinstance(error, apsw.ConstraintError)
        raise HeadwaterError(
            f"SQLite refuses it: {error}",
            rule="sql-constraint" if constraint else "sql-error",
            fix=_SPELLING if _TYPE_CHECK.search(str(error)) else None,
        ) from None
    finally:
        cursor.close()
    return results, words


def _first_word(statement: str) -> str:
    """The first keyword of a statement, comments passed over; what follows a WITH is looked for."""
    plain = re.sub(r"--[^\n]*|/\*.*?\*/", " ", statement, flags=re.DOTALL).strip()
    word = re.match(r"[A-Za-z]+", plain)
    first = word[0].upper() if word else ""
    if first == "WITH":
        found = re.search(r"\)\s*(INSERT|REPLACE|UPDATE|DELETE|SELECT)\b", plain, re.IGNORECASE)
        first = found[1].upper() if found else first
    return first


def _changes(
    connection: apsw.Connection, changeset: bytes, text: Version, live: Mapping[str, LiveTable], reader: Reader
) -> dict[str, list[Change]]:
    """The rows of a session's changeset by table, in the cells of the text."""
    made: dict[str, list[Change]] = {}
    for item in apsw.Changeset.iter(changeset):
        table = text.project.tables.get(item.name)
        if table is None:
            raise HeadwaterError(
                f"table {item.name} is not in project.yaml",
                rule="sql-unknown-table",
                fix="take it over first: headwater tables export --add-tables",
            )
        names = list(live[item.name].columns)
        refuse_lost_columns(table, live[item.name], "the database")
        # Tables without a declared key are recorded with their rowid in front.
        rowid = not live[item.name].key
        made.setdefault(item.name, []).extend(_rows(connection, item, names, table, reader, rowid=rowid))
    return made


def _rows(
    connection: apsw.Connection, item: apsw.TableChange, names: list[str], table: Table, reader: Reader, *, rowid: bool
) -> list[Change]:
    kinds = reader.types(table.name, names)
    shift = 1 if rowid else 0

    def row(values: Sequence[Any] | None) -> dict[str, str | None] | None:
        if values is None:
            return None
        return {name: reader.cell(kind, value, table.name, name) for name, kind, value in zip(names, kinds, values, strict=True)}

    def change(old: Sequence[Any] | None, new: Sequence[Any] | None) -> Change:
        before, after = row(old), row(new)
        found = before if before is not None else after or {}
        return Change(tuple(found[name] for name in row_key(table)), before, after)

    old, new = item.old, item.new
    if old is None or new is None:
        return [change(None if old is None else old[shift:], None if new is None else new[shift:])]
    # An update carries only the key and what changed: the rest is read from the row as it is now.
    places = [0] if rowid else sorted(item.pk_columns)
    key = ["rowid"] if rowid else [quote(names[place]) for place in places]
    where = " AND ".join(f"{column} IS ?" for column in key)
    query = f"SELECT {quote_all(names)} FROM {quote(table.name)} WHERE {where}"
    now = next(iter(connection.execute(query, tuple(old[place] for place in places))))
    was = tuple(value if before is apsw.no_change else before for value, before in zip(now, old[shift:], strict=True))
    return [change(was, now)] if not rowid else [change(was, None), change(None, now)]


def _changed_schema(
    connection: apsw.Connection, text: Version, before: Mapping[str, LiveTable], after: Mapping[str, LiveTable]
) -> tuple[dict[str, bytes], int]:
    """The files after CREATE TABLE or ALTER TABLE … ADD COLUMN; everything else about the schema is edited in project.yaml."""
    gone = [name for name in before if name not in after]
    altered = [
        name
        for name, table in after.items()
        if name in before and list(before[name].columns) != list(table.columns)[: len(before[name].columns)]
    ]
    if gone or altered:
        raise HeadwaterError(
            f"{', '.join(gone + altered)}: tables and columns are dropped and renamed in project.yaml, not by SQL",
            rule="sql-schema",
            fix="edit project.yaml (a rename is declared by `was:`), then run headwater tables build",
        )
    made = Export()
    offer_additions(
        made,
        text.project,
        {name: after[name] for name in after if name not in before or after[name].sql != before[name].sql},
        None,
    )
    if not made.offers:
        raise HeadwaterError(
            "this change of the schema cannot be written to project.yaml by SQL",
            rule="sql-schema",
            fix="edit project.yaml, then run headwater tables build",
        )
    for offer in made.offers:
        if offer.whole:
            offer.rows = connection.execute(f"SELECT count(*) FROM {quote(offer.table)}").get
    rows = sum(offer.rows for offer in made.offers)
    add_offers(made, text, connection, "main")
    return made.files, rows

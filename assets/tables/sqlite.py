"""`playground.db`: a tables project as one verified SQLite file, the same bytes for the same text.

The rows go into a staging file in one transaction without journal and are written out once more by `VACUUM INTO` with the pinned
library of the apsw wheel, so that neither the order of pages nor the library that inserted the rows leaves a trace. All rules are
verified on the file that is handed over, with `foreign_key_check` and `integrity_check`, which covers NOT NULL, UNIQUE and CHECK;
while rows are inserted only keys and NOT NULL are watched, so that each CHECK is evaluated once. How cells become columns is
`assets.tables.load`; comparing databases is `assets.tables.dump`.

Insertion goes through ADBC, which binds Arrow columns in C while the next block is being read in another thread: measured on
1,000,000 x 8 rows it takes a third of the time of `executemany` (docs/benchmarks/tables.md).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import apsw
import pyarrow as pa

from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import Scratch, View
from assets.tables import columns
from assets.tables.dump import content_digest
from assets.tables.load import TableText
from assets.tables.text import open_project, refuse
from schemas.errors import HeadwaterError, InvalidText, Refused
from schemas.sql_quoting import quote
from schemas.tables.model import Project
from schemas.tables.sql import sqlite_indexes, sqlite_tables, sqlite_views

__all__ = ["build", "content_digest", "free_the_way"]

_STAGING = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536", "temp_store=MEMORY")
_SIDECARS = ("-wal", "-shm", "-journal")


BROKEN_RULES = (InvalidText, apsw.ConstraintError)
"""What loading raises when the text breaks a rule; the text check then says where."""
_RULE_WORDS = ("constraint failed", "cannot store", "datatype mismatch")
"""What SQLite says of a row that breaks a rule; ADBC hands on its words, not its codes."""


class _NotInKeyOrder(Exception):
    """A large table turned out not to lie in key order after some of its rows had been inserted."""


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `playground_db`.

    Raises InvalidText with every finding and its position when the text breaks a rule.
    """
    project, texts = open_project(view)
    target = scratch.path("playground.db")
    staging = scratch.temporary("staging.db")
    try:
        counts = load(staging, project, texts)
        with _saying_what_failed():
            _write_out(staging, target)
        verify(target, counts)
    except BROKEN_RULES as problem:
        refuse(view, problem)
    finally:
        remove_database(staging)
    table = SummaryTable(
        ["table", "rows", "columns", "primary key"],
        [
            [name, counts[name], len(project.tables[name].columns), ", ".join(project.tables[name].primary_key)]
            for name in project.tables
        ],
    )
    return Summary(
        counts={
            "tables": len(counts),
            "rows": sum(counts.values()),
            "relationships": len(project.relationships),
            "bytes": target.stat().st_size,
        },
        tables={"tables": table},
    )


def prove(view: View, scratch: Scratch, project: Project, texts: Mapping[str, TableText]) -> None:
    """Verify every rule of the project with a SQLite database that is thrown away. Raises InvalidText."""
    staging = scratch.temporary("proof.db")
    try:
        counts = load(staging, project, texts)
        verify(staging, counts)
    except BROKEN_RULES as problem:
        refuse(view, problem)
    finally:
        remove_database(staging)


@contextmanager
def _saying_what_failed() -> Iterator[None]:
    """Turn a failure to write (a full disk, a read-only folder) into an error for people."""
    try:
        yield
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, adbc_driver_manager.Error) as problem:
        raise HeadwaterError(
            f"SQLite could not write the database: {problem}",
            rule="sqlite-cannot-write",
            fix="see whether the disk is full or the folder read-only, then build again",
        ) from problem


@_saying_what_failed()
def load(staging: Path, project: Project, texts: Mapping[str, TableText]) -> dict[str, int]:
    """Make the tables in a new file at `staging`, insert all rows, then make indexes and views; returns the rows per table.

    Indexes made afterwards are sorted once instead of kept in order row by row. Raises as `insert`.
    """
    unordered: set[str] = set()
    while True:
        remove_database(staging)
        _execute(staging, sqlite_tables(project))
        try:
            counts = insert(staging, texts, unordered)
            break
        except _NotInKeyOrder as again:
            unordered.add(str(again))
    later = sqlite_indexes(project) + sqlite_views(project)
    if later:
        _execute(staging, later)
    return counts


def _execute(path: Path, statements: list[str]) -> None:
    connection = apsw.Connection(str(path))
    try:
        for setting in _STAGING:
            connection.execute(f"PRAGMA {setting}")
        connection.execute("PRAGMA foreign_keys=OFF")
        with connection:
            for statement in statements:
                connection.execute(statement)
    finally:
        connection.close()


@_saying_what_failed()
def insert(path: Path, texts: Mapping[str, TableText], unordered: Collection[str] = ()) -> dict[str, int]:
    """Insert the rows of every table into the empty tables of the database at `path`.

    Foreign keys and CHECKs are left to `verify`.
    Rows are inserted in primary-key order; `unordered` names the tables known not to lie in it. Returns the rows per table.

    Raises InvalidText, apsw.ConstraintError when a row breaks a rule, HeadwaterError (rule `sqlite-cannot-write`); after each of
    them the file is of no more use.
    """
    connection = adbc_driver_sqlite.dbapi.connect(str(path), autocommit=True)
    try:
        with connection.cursor() as cursor:
            for setting in (*_STAGING, "foreign_keys=OFF", "ignore_check_constraints=ON"):
                cursor.execute(f"PRAGMA {setting}")
                cursor.fetchall()
            cursor.execute("BEGIN")
            counts = {name: _insert_table(cursor, text, name in unordered) for name, text in texts.items()}
            cursor.execute("COMMIT")
            return counts
    finally:
        connection.close()


def _insert_table(cursor: Any, text: TableText, unordered: bool) -> int:
    source = _Source(text, unordered)
    reader = pa.RecordBatchReader.from_batches(text.schema, source.rows())
    try:
        cursor.adbc_ingest(text.table.name, reader, mode="append")
    except (adbc_driver_manager.Error, pa.ArrowException) as problem:
        if source.problem is not None:
            raise source.problem from None
        if any(words in str(problem) for words in _RULE_WORDS):
            raise apsw.ConstraintError(str(problem)) from None
        raise
    finally:
        source.close()
    return source.count


class _Source:
    """The rows of one table on their way through a C stream, which would swallow the kind of an error: it is kept here."""

    def __init__(self, text: TableText, unordered: bool) -> None:
        self.text = text
        self.count = 0
        self.problem: BaseException | None = None
        self._batches = columns.ahead(text.sorted_by_key() if unordered else _in_order(text))

    def rows(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.count += batch.num_rows
                yield batch
        except columns.OutOfOrder:
            self.problem = _NotInKeyOrder(self.text.table.name)
            raise
        except BaseException as problem:
            self.problem = problem
            raise

    def close(self) -> None:
        """Stop the thread that reads ahead, when SQLite has refused a row before the last one."""
        self._batches.close()


def _in_order(text: TableText) -> Iterator[pa.RecordBatch]:
    """The rows in key order; a table whose first block shows that it has another order is sorted in memory."""
    batches = text.in_key_order()
    try:
        head = next(batches, None)
    except columns.OutOfOrder:
        return text.sorted_by_key()
    return iter(()) if head is None else chain([head], batches)


def _write_out(staging: Path, target: Path) -> None:
    connection = apsw.Connection(str(staging))
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def verify(path: Path, counts: Mapping[str, int]) -> None:
    """Prove the finished file: its own integrity and every foreign key, in two threads, and the row counts.

    Raises apsw.ConstraintError when a row breaks a rule, HeadwaterError (rule `sqlite-row-count`) when rows are missing.
    """
    with ThreadPoolExecutor(2) as pool:
        integrity = pool.submit(_rows, path, "PRAGMA integrity_check(10)")
        orphans = pool.submit(_rows, path, "SELECT * FROM pragma_foreign_key_check LIMIT 10")
        stored = pool.submit(_count, path, list(counts))
    if orphans.result():
        raise apsw.ConstraintError(
            f"rows of {orphans.result()[0][0]} refer to rows of {orphans.result()[0][2]} that do not exist"
        )
    if integrity.result() != [("ok",)]:
        raise apsw.ConstraintError(f"the finished database is not sound: {integrity.result()[0][0]}")
    if stored.result() != dict(counts):
        raise HeadwaterError(
            f"the finished database holds {stored.result()} rows where {dict(counts)} were inserted", rule="sqlite-row-count"
        )


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    # Not opened read-only: SQLite does not even read CHECKs then, and integrity_check passes over them.
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def _count(path: Path, tables: list[str]) -> dict[str, int]:
    return {name: _rows(path, f"SELECT count(*) FROM {quote(name)}")[0][0] for name in tables}


def remove_database(path: Path) -> None:
    """Delete a scratch database and its journals; none of them need exist."""
    for suffix in ("", *_SIDECARS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def free_the_way(path: Path) -> None:
    """Make `path` a file that can be renamed over: no live connection, nothing left in a journal beside it.

    A write-ahead log or hot journal of a killed process is first worked into the old database, so that what is kept or
    rescued is complete and nothing of it is replayed into the new file (SQLite does that to any file with the right name).

    Raises Refused when something else has the database open, or when `path` is no regular file.
    """
    if not os.path.lexists(path):
        _set_aside(path)
        return
    if path.is_symlink() or not path.is_file():
        what = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "no regular file"
        raise Refused(
            f"{path.name} is {what}, not a database file",
            path=path.name,
            rule="sqlite-not-a-file",
            fix="move it away, then build again",
        )
    if _has_header(path):
        try:
            _settle(path)
        except apsw.BusyError:
            _refuse_busy(path)
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.IOError, apsw.ReadOnlyError, apsw.FullError):
            pass  # it cannot be read as a database, so what lies beside it cannot be worked in
    _set_aside(path)


def _has_header(path: Path) -> bool:
    """Whether a file claims to be a database. SQLite, given another file, deletes the log beside it."""
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _settle(path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(0)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE; COMMIT")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy and busy[0][0]:
            _refuse_busy(path)
        if (
            connection.execute("PRAGMA journal_mode").get == "wal"
            and connection.execute("PRAGMA journal_mode=DELETE").get != "delete"
        ):
            _refuse_busy(path)
    finally:
        connection.close()


def _refuse_busy(path: Path) -> NoReturn:
    raise Refused(
        f"another program has {path.name} open",
        path=path.name,
        rule="sqlite-busy",
        fix=f"close the program that uses {path.name} (a database browser, a shell, a notebook), then build again",
    )


def _set_aside(path: Path) -> None:
    """Remove shared-memory and empty journal files; keep a journal that could not be worked in under a name that no database
    replays."""
    for suffix in _SIDECARS:
        beside = path.with_name(path.name + suffix)
        if not beside.is_file() or beside.is_symlink():
            if beside.is_symlink():
                beside.unlink()
            continue
        if suffix == "-shm" or beside.stat().st_size == 0:
            beside.unlink()
        else:
            beside.replace(aside(path, suffix))


def aside(path: Path, suffix: str) -> Path:
    """A name beside the database at `path` for a journal of it that is kept: `<name>.bak<suffix>`, or one with a number."""
    number, made = 1, path.with_name(f"{path.name}.bak{suffix}")
    while os.path.lexists(made):
        number += 1
        made = path.with_name(f"{path.name}.bak{suffix}-{number}")
    return made

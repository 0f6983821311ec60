"""A database somebody works in: opening it with suspicion, what its tables are, and how it differs from another one.

SQLite files only. Nothing here writes to a database of the user, except that SQLite may roll back what a killed program left
half written; scratch databases are built here from text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from assets.engine.scratch import scratch_path
from assets.tables.compare import KEPT, Comparison, TableComparison, row_key
from assets.tables.dump import open_read_only
from assets.tables.load import TableText
from assets.tables.versions import Version
from resources.tables.records import Cells, Change
from schemas.errors import HeadwaterError
from schemas.findings import Finding, found
from schemas.sql_quoting import quote, quote_all
from schemas.tables.incoming import LIVE_CELL
from schemas.tables.model import Project, Table
from schemas.tables.types import BadCell, ColumnType


class Unreadable(HeadwaterError):
    """The file cannot be read as a SQLite database."""


@dataclass(slots=True)
class LiveTable:
    """A table as the database has it: its stored columns with their declared types, and its key."""

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    sql: str = ""


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    """A hardened read-only connection. Raises Unreadable for what is no database: a folder, a link, random bytes."""
    if path.is_symlink() or not path.is_file():
        raise Unreadable("is not a regular file", rule="sqlite-not-a-file", path=path.name, fix="move it away, then build again")
    try:
        _roll_back(path)
        connection = open_read_only(path)
    except apsw.Error as error:
        raise unreadable(path, error) from None
    try:
        connection.set_busy_timeout(2000)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018  # reads the header, which is what fails
        except apsw.Error as error:
            raise unreadable(path, error) from None
        yield connection
    finally:
        connection.close()


def _roll_back(path: Path) -> None:
    """Let SQLite undo what a killed program had half written: a reader that may not write cannot look past a hot journal."""
    journal = path.with_name(path.name + "-journal")
    if not journal.is_file() or not journal.stat().st_size:
        return
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.set_busy_timeout(2000)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    finally:
        connection.close()


def unreadable(path: Path, error: Exception) -> Unreadable:
    """The error for a file that SQLite cannot read."""
    return Unreadable(
        f"cannot be read as a database: {error}",
        rule="sqlite-unreadable",
        path=path.name,
        fix="build it again from the text (`headwater tables build`); the file is kept as a rescue",
    )


def live_tables(connection: apsw.Connection, schema: str = "main") -> dict[str, LiveTable]:
    """The ordinary tables of a database, in the order they were made; SQLite's own and virtual tables are left out."""
    made: dict[str, LiveTable] = {}
    query = f"SELECT name, sql FROM {schema}.sqlite_schema WHERE type = 'table' ORDER BY rowid"
    for name, sql in connection.execute(query):
        if name.startswith("sqlite_") or sql.lstrip()[:14].upper().startswith("CREATE VIRTUAL"):
            continue
        table = LiveTable(name, sql=sql)
        key: list[tuple[int, str]] = []
        information = connection.execute("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?, ?)", (name, schema))
        for column, declared, place, hidden in information:
            if not hidden:
                table.columns[column] = declared
                if place:
                    key.append((place, column))
        table.key = tuple(column for _, column in sorted(key))
        made[name] = table
    return made


def build_database(project: Project, texts: dict[str, TableText], path: Path) -> None:
    """A scratch database at `path` with the rows of the text; nothing is verified but what SQLite's own constraints say.

    Raises InvalidText when a cell breaks a rule.
    """
    from assets.tables.sqlite import load

    load(path, project, texts)


@contextmanager
def scratch_database(version: Version, folder: Path | None = None) -> Iterator[Path]:
    """The text of `version` as a scratch database that vanishes afterwards; `folder` is where scratch folders are made."""
    # Named like all scratch, so that the next command sweeps what a killed one left.
    suffix = scratch_path(folder, "").name if folder is not None else None
    with tempfile.TemporaryDirectory(prefix="tables-", suffix=suffix, dir=folder) as made:
        path = Path(made) / "text.db"
        build_database(version.project, version.texts(Path(made)), path)
        yield path


@dataclass(slots=True)
class Reader:
    """Turns values of one database column into cells, collecting what cannot be one."""

    project: Project | None
    shown: str
    findings: list[Finding] = field(default_factory=list)

    def types(self, table: str, columns: Sequence[str]) -> list[ColumnType | None]:
        known = self.project.tables.get(table) if self.project is not None else None
        return [known.columns[name].column_type if known is not None and name in known.columns else None for name in columns]

    def cell(self, kind: ColumnType | None, value: Any, table: str, column: str) -> str | None:
        if value is None:
            return None
        if kind is None:
            return "X'" + value.hex() + "'" if isinstance(value, bytes) else str(value)
        if kind.base == "float" and isinstance(value, int):
            value = float(value)
        try:
            return kind.format(value)
        except BadCell as bad:
            message = f"table {table}, column {column}: {bad.message}"
            self.findings.append(found(LIVE_CELL, self.shown, message, value=str(value), fix="correct the value in the database"))
            return str(value)


@dataclass(slots=True)
class Databases:
    """Two SQLite files behind one connection, to be compared: `old` is main, `new` is attached."""

    connection: apsw.Connection
    project: Project
    """Whose types and keys the rows are read with."""
    reader: Reader
    old_tables: dict[str, LiveTable]
    new_tables: dict[str, LiveTable]

    kept: int | None = None
    """Rows per sign whose cells are read; the rest is yielded without cells, to be counted."""

    def changes(self, table: str, before: str | None = None) -> Iterator[Change]:
        """The rows of `table` that differ; `before` is its name in the old database when that is another."""
        left, right = self.old_tables.get(before or table), self.new_tables.get(table)
        known = self.project.tables.get(table)
        if left is None or right is None:
            present = right or left
            if present is not None:
                yield from self._all(present, "main" if right is None else "other", known, removed=right is None)
            return
        renamed = {column.was: name for name, column in known.columns.items() if column.was} if known else {}
        old_names = {renamed.get(name, name) if renamed.get(name) in right.columns else name: name for name in left.columns}
        common = [name for name in right.columns if name in old_names]
        key = [name for name in (row_key(known) if known else right.key) if name in common]
        wanted = tuple(known.primary_key) if known is not None else right.key
        if wanted and len(key) == len(wanted):
            yield from self._keyed(left, right, old_names, common, key)
        else:
            yield from self._unkeyed(left, right, old_names, common)

    def _keyed(
        self, left: LiveTable, right: LiveTable, old_names: dict[str, str], common: list[str], key: list[str]
    ) -> Iterator[Change]:
        old = {name: f"a.{quote(old_names[name])}" for name in common}
        new = {name: f"b.{quote(name)}" for name in common}
        same = " AND ".join(f"{old[name]} IS {new[name]}" for name in key)
        a, b = f"main.{quote(left.name)} AS a", f"other.{quote(right.name)} AS b"
        rest = [name for name in common if name not in key]
        if rest:
            differs = " OR ".join(f"{old[name]} COLLATE BINARY IS NOT {new[name]}" for name in rest)
            query = f"SELECT {', '.join([*old.values(), *new.values()])} FROM {b} CROSS JOIN {a} ON {same} WHERE {differs}"
            for number, row in enumerate(self.connection.execute(query)):
                yield self._change(right.name, common, key, row[: len(common)], row[len(common) :], number)
        gone = f"SELECT {', '.join(old.values())} FROM {a} WHERE NOT EXISTS (SELECT 1 FROM {b} WHERE {same})"
        for number, row in enumerate(self.connection.execute(gone)):
            yield self._change(right.name, common, key, row, None, number)
        fresh = f"SELECT {', '.join(new.values())} FROM {b} WHERE NOT EXISTS (SELECT 1 FROM {a} WHERE {same})"
        for number, row in enumerate(self.connection.execute(fresh)):
            yield self._change(right.name, common, key, None, row, number)

    def _unkeyed(self, left: LiveTable, right: LiveTable, old_names: dict[str, str], common: list[str]) -> Iterator[Change]:
        if not common:
            return
        old, new = quote_all([old_names[name] for name in common]), quote_all(common)
        numbers = ", ".join(str(place + 1) for place in range(len(common)))
        query = (
            f"SELECT *, sum(n) FROM (SELECT {old}, -1 AS n FROM main.{quote(left.name)} UNION ALL"
            f" SELECT {new}, 1 FROM other.{quote(right.name)}) GROUP BY {numbers} HAVING sum(n) <> 0"
        )
        for row in self.connection.execute(query):
            values, number = row[: len(common)], row[-1]
            for _ in range(abs(number)):
                yield self._change(right.name, common, common, values if number < 0 else None, values if number > 0 else None)

    def _all(self, table: LiveTable, schema: str, known: Table | None, *, removed: bool) -> Iterator[Change]:
        names = list(table.columns)
        key = [name for name in (row_key(known) if known else table.key or tuple(names)) if name in names]
        for number, row in enumerate(self.connection.execute(f"SELECT {quote_all(names)} FROM {schema}.{quote(table.name)}")):
            yield self._change(table.name, names, key, row if removed else None, None if removed else row, number)

    def _change(
        self,
        table: str,
        names: Sequence[str],
        key: Sequence[str],
        old: Sequence[Any] | None,
        new: Sequence[Any] | None,
        number: int = 0,
    ) -> Change:
        if self.kept is not None and number >= self.kept:
            return Change((), None if old is None else {}, None if new is None else {})
        kinds = self.reader.types(table, names)

        def cells(values: Sequence[Any] | None) -> dict[str, str | None] | None:
            if values is None:
                return None
            return {
                name: self.reader.cell(kind, value, table, name) for name, kind, value in zip(names, kinds, values, strict=True)
            }

        before, after = cells(old), cells(new)
        row = after if after is not None else before or {}
        found_key: Cells = tuple(row[name] for name in key)
        return Change(found_key, before, after)

    def count(self, table: str, schema: str) -> int:
        """The rows of a table on one side (`main` or `other`)."""
        number: int = self.connection.execute(f"SELECT count(*) FROM {schema}.{quote(table)}").get
        return number


@contextmanager
def databases(old: Path, new: Path, project: Project) -> Iterator[Databases]:
    """Open both files for comparing. Raises Unreadable when one is no database."""
    with opened(old) as connection:
        with opened(new):
            pass
        try:
            connection.execute("ATTACH ? AS other", (new.absolute().as_uri() + "?mode=ro",))
            made = Databases(
                connection,
                project,
                Reader(project, new.name),
                live_tables(connection),
                live_tables(connection, "other"),
            )
            yield made
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise unreadable(old, error) from None


def compare_databases(old: Path, new: Path, project: Project, *, labels: tuple[str, str], kept: int = KEPT) -> Comparison:
    """How the rows and columns of `new` differ from those of `old`; `project` says the types and keys of new."""
    compared = Comparison(*labels)
    with databases(old, new, project) as both:
        both.kept = kept
        left, right = both.old_tables, both.new_tables
        for name, table in right.items():
            known = project.tables.get(name)
            was = known.was if known is not None and known.was in left and known.was not in right else None
            before = name if name in left else was
            made = TableComparison(name, key=row_key(known) if known else table.key or tuple(table.columns))
            if before is None:
                made.state = "added"
                made.schema = [f"+ column {one} ({declared})" for one, declared in table.columns.items()]
            else:
                made.was = was
                made.schema = _column_lines(left[before], table, known)
            made.count(both.changes(name, before), kept)
            if made.rows or made.schema or made.was or before is None:
                compared.tables.append(made)
        used = {table.was or table.name for table in compared.tables} | set(right)
        for name in left:
            if name not in used:
                made = TableComparison(name, "removed", key=left[name].key or tuple(left[name].columns))
                made.count(both.changes(name), kept)
                compared.tables.append(made)
    return compared


def _column_lines(old: LiveTable, new: LiveTable, known: Table | None) -> list[str]:
    renamed = {column.was: name for name, column in known.columns.items() if column.was} if known else {}
    names = {
        renamed[name] if renamed.get(name) in new.columns and name not in new.columns else name: name for name in old.columns
    }
    lines = []
    for name, declared in new.columns.items():
        if name not in names:
            lines.append(f"+ column {name} ({declared})")
        elif names[name] != name:
            lines.append(f"~ column {names[name]} is now {name}")
        elif old.columns[name] != declared:
            lines.append(f"~ column {name}: {old.columns[name]} -> {declared}")
    lines += [f"- column {before} ({old.columns[before]})" for name, before in names.items() if name not in new.columns]
    if old.key != new.key and tuple(names.get(name, name) for name in new.key) != old.key:
        lines.append(f"~ primary key: ({', '.join(old.key)}) -> ({', '.join(new.key)})")
    return lines

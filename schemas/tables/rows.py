"""What is judged across rows and tables: keys, unique sets, relationships, checks and generated columns, all positions of each.

Takes files that are read cell by cell (`schemas.tables.strict`) into a private temporary SQLite database, which spills to disk,
so memory stays bounded whatever the number of rows; its queries find the offending rows, a second pass over the file their
columns. Where a parent's file could not be read completely nothing is said about its children.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import apsw

from schemas.csv_text import Reader
from schemas.findings import Finding, Rule, Severity, found, rule
from schemas.sql_quoting import quote, quote_all
from schemas.tables import expressions
from schemas.tables.model import Column, Project, Relationship, Table
from schemas.tables.sql import column_rules
from schemas.tables.strict import CAP, Report, TableReader
from schemas.tables.types import shown

DUPLICATE = rule("tables-duplicate-key", Severity.ERROR, "No two rows agree in a primary key or unique set.")
ORPHAN = rule("tables-orphan", Severity.ERROR, "Every row that refers to another finds it.")
CHECK = rule("tables-check", Severity.ERROR, "No check is false for a row.")
GENERATED = rule("tables-generated", Severity.ERROR, "A generated column's values fit its type and rules.")

Opener = Callable[[], BinaryIO]
_ROW = quote("\trow")
"""Our own columns begin with a tab, which no name in a project can hold."""
_FIRST = quote("\tfirst")


@dataclass(frozen=True, slots=True)
class _Found:
    """One problem whose column on the line is not known yet: the row's number from 0, and the column it is about."""

    broken: Rule
    row: int
    column: str | None
    message: str
    fix: str | None
    value: str | None = None


def check_rows(project: Project, files: Mapping[str, Opener], shown_path: Callable[[str], str]) -> list[Finding]:
    """Every problem of a project's rows, within cells and across rows.

    `files` opens the CSV file of each table that has one; `shown_path` turns a path of the project into the one shown.
    """
    return _Checker(project, files, shown_path).findings()


class _Checker:
    def __init__(self, project: Project, files: Mapping[str, Opener], shown_path: Callable[[str], str]) -> None:
        self.project = project
        self.files = files
        self.shown_path = shown_path
        self.report = Report()
        self.complete: set[str] = set()
        self.loaded: dict[str, list[str]] = {}
        self.lines: dict[str, str] = {}
        # An empty name is a temporary database on disk that only this connection sees.
        self.database = apsw.Connection("")
        self.database.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536")
        self.database.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)

    def findings(self) -> list[Finding]:
        try:
            for name, table in self.project.tables.items():
                self._load(name, table)
            located: dict[str, list[_Found]] = {}
            for name, table in self.project.tables.items():
                if name in self.loaded:
                    located[name] = [*self._duplicates(name, table), *self._checks(name, table)]
            for relationship in self.project.relationships.values():
                child = relationship.child.table
                if child in self.loaded and relationship.parent.table in self.complete:
                    located[child] += self._orphans(relationship)
            for name, problems in located.items():
                self._place(name, problems)
        finally:
            self.database.close()
        return self.report.findings()

    def _load(self, name: str, table: Table) -> None:
        """The columns that keys, relationships and expressions need, one row per record; cells that are wrong become NULL."""
        columns = [key for key in table.stored if key in self._needed(name, table)]
        generated = {key: column for key, column in table.columns.items() if column.generated is not None}
        if generated:
            columns = list(table.stored)
        declared = [f"{_ROW} INTEGER PRIMARY KEY", '"\tphysical" INTEGER', '"\tbad" INTEGER']
        declared += [f"{quote(key)} {table.columns[key].column_type.sqlite}" for key in columns]
        declared += [
            f"{quote(key)} {column.column_type.sqlite} GENERATED ALWAYS AS ({column.generated}) VIRTUAL"
            for key, column in generated.items()
        ]
        self.database.execute(f"CREATE TABLE {quote(name)} ({', '.join(declared)})")
        if name not in self.files:
            self.complete.add(name)
            return
        path = self.shown_path(table.data_file)
        places = [(list(table.stored).index(key), _binder(table.columns[key])) for key in columns]
        with self.files[name]() as stream:
            reader = TableReader(stream, path, self.project, name, self.report)
            marks = ", ".join("?" * (3 + len(columns)))
            listed = ", ".join([_ROW, '"\tphysical"', '"\tbad"', *(quote(key) for key in columns)])
            statement = f"INSERT INTO {quote(name)} ({listed}) VALUES ({marks})"
            self.database.execute("BEGIN")
            self.database.executemany(statement, _bindings(reader, places))
            self.database.execute("COMMIT")
        # A cell that is wrong may hide the key a child refers to; so may a record that could not be read.
        keyed = {column for key in table.keys for column in key}
        wrong = self.database.execute(f'SELECT 1 FROM {quote(name)} WHERE "\tbad" LIMIT 1').fetchall() if keyed else []
        if reader.complete and not wrong:
            self.complete.add(name)
        if not any(place.index < 0 for place in reader.places) and reader.places:
            self.loaded[name] = columns

    def _needed(self, name: str, table: Table) -> set[str]:
        needed = {column for key in table.keys for column in key}
        for relationship in self.project.relationships_from(name).values():
            needed.update(relationship.child.columns)
        texts = [*table.checks.values(), *(column.check for column in table.columns.values() if column.check)]
        texts += [index.where for index in table.indexes.values() if index.where]
        needed.update(column for index in table.indexes.values() if index.unique for column in index.columns)
        for text in texts:
            named = expressions.names_in(expressions.examine(text))
            needed.update(key for key in table.stored if key.lower() in named)
        return needed

    def _duplicates(self, name: str, table: Table) -> Iterator[_Found]:
        path = self.shown_path(table.data_file)
        sets: list[tuple[str, tuple[str, ...], str | None]] = []
        if table.primary_key:
            sets.append(("primary key", tuple(table.primary_key), None))
        sets += [(f"unique {label}", columns, None) for label, columns in table.unique_sets.items()]
        for label, index in table.indexes.items():
            if index.unique and index.where is not None:
                sets.append((f"unique {label}", tuple(index.columns), index.where))
        for place, (label, columns, where) in enumerate(sets):
            listed = quote_all(columns)
            given = " AND ".join([f"{quote(column)} IS NOT NULL" for column in columns] + ([f"({where})"] if where else []))
            self.database.execute(f"CREATE INDEX {quote(f'{name}.{place}')} ON {quote(name)} ({listed})")
            later = (
                f"SELECT {_ROW}, min({_ROW}) OVER (PARTITION BY {listed}) AS {_FIRST}, {listed} FROM {quote(name)} WHERE {given}"
            )
            query = f"SELECT * FROM ({later}) WHERE {_ROW} > {_FIRST} ORDER BY 1"
            count = 0
            for row, first, *values in self.database.execute(query):
                if count < CAP:
                    said = _values(columns, values, table)
                    message = f"{said}: the same {label} is already in line {self._line(name, first)}"
                    yield _Found(DUPLICATE, row, columns[0], message, "change or remove one of the two rows", str(values[0]))
                count += 1
            self._count_rest(DUPLICATE, path, count)

    def _orphans(self, relationship: Relationship) -> Iterator[_Found]:
        child, parent = relationship.child, relationship.parent
        table = self.project.tables[child.table]
        pairs = list(zip(child.columns, parent.columns, strict=True))
        given = " AND ".join(f"c.{quote(down)} IS NOT NULL" for down, _ in pairs)
        same = " AND ".join(f"p.{quote(up)} = c.{quote(down)}" for down, up in pairs)
        listed = ", ".join(f"c.{quote(down)}" for down in child.columns)
        query = (
            f"SELECT c.{_ROW}, {listed} FROM {quote(child.table)} AS c WHERE {given}"
            f" AND NOT EXISTS (SELECT 1 FROM {quote(parent.table)} AS p WHERE {same}) ORDER BY 1"
        )
        target = f"{parent.table}.{parent.columns[0]}" if len(pairs) == 1 else f"{parent.table} ({', '.join(parent.columns)})"
        fix = f"add the row to {self.project.tables[parent.table].data_file}, or change the value"
        count = 0
        for row, *values in self.database.execute(query):
            if count < CAP:
                message = f"{_values(child.columns, values, table)}: no {target}"
                yield _Found(ORPHAN, row, child.columns[0], message, fix, str(values[0]))
            count += 1
        self._count_rest(ORPHAN, self.shown_path(table.data_file), count)

    def _checks(self, name: str, table: Table) -> Iterator[_Found]:
        rules = [(f"{key}: check", column.check, CHECK) for key, column in table.columns.items() if column.check is not None]
        rules += [(key, text, CHECK) for key, text in table.checks.items()]
        for key, column in table.columns.items():
            if column.generated is not None:
                rules += [(label, text, GENERATED) for label, text in _generated_rules(key, column)]
        for label, text, broken in rules:
            yield from self._check(name, table, label, str(text), broken)

    def _check(self, name: str, table: Table, label: str, text: str, broken: Rule) -> Iterator[_Found]:
        path = self.shown_path(table.data_file)
        named = expressions.names_in(list(expressions.tokens(text)))
        columns = [key for key in table.columns if key.lower() in named]
        listed = "".join(f", {quote(key)}" for key in columns)
        # A row with a wrong cell has its own finding; its check would speak of a NULL that is not in the text.
        query = f'SELECT {_ROW}{listed} FROM {quote(name)} WHERE NOT ({text}) AND NOT "\tbad" ORDER BY 1'
        count = 0
        try:
            for row, *values in self.database.execute(query):
                if count < CAP:
                    said = _values(columns, values, table)
                    message = f"check {label} is false: {text}" + (f" with {said}" if said else "")
                    where = next((key for key in columns if key in table.stored), None)
                    yield _Found(broken, row, where, message, "change the row or the check", said or None)
                count += 1
        except apsw.Error as problem:
            self.report(found(broken, path, f"check {label} cannot be evaluated: {problem}", fix="mend the check", value=text))
        self._count_rest(broken, path, count)

    def _count_rest(self, broken: Rule, path: str, count: int) -> None:
        if count > CAP:
            self.report.count(broken.id, path, count - CAP)

    def _line(self, name: str, row: int) -> int:
        found_line: Any = self.database.execute(f'SELECT "\tphysical" FROM {quote(name)} WHERE {_ROW} = ?', (row,)).get
        return int(found_line)

    def _place(self, name: str, problems: list[_Found]) -> None:
        """Reports problems at their line and column, which a second pass over the file finds."""
        if not problems:
            return
        table = self.project.tables[name]
        path = self.shown_path(table.data_file)
        wanted: dict[int, list[_Found]] = {}
        for problem in problems:
            wanted.setdefault(problem.row, []).append(problem)
        with self.files[name]() as stream:
            reader = Reader(stream, path, report=lambda finding: None)
            for number, record in enumerate(reader):
                for problem in wanted.pop(number, ()):
                    index = reader.columns.index(problem.column) if problem.column in reader.columns else 0
                    line, column = record.position(index)
                    self.report(
                        found(
                            problem.broken, path, problem.message, line=line, column=column, fix=problem.fix, value=problem.value
                        )
                    )
                if not wanted:
                    break
        # Only when the file was changed between the two passes: the line is that of the first.
        for problem in (problem for problems in wanted.values() for problem in problems):
            line = self._line(name, problem.row)
            self.report(found(problem.broken, path, problem.message, line=line, fix=problem.fix, value=problem.value))


def _bindings(reader: TableReader, places: Sequence[tuple[int, Callable[[str], Any]]]) -> Iterator[list[Any]]:
    for row in reader:
        cells = row.cells
        values: list[Any] = [row.number, row.line, 1 if row.bad else 0]
        for index, bind in places:
            cell = cells[index]
            values.append(None if cell is None else bind(cell))
        yield values


def _binder(column: Column) -> Callable[[str], Any]:
    base = column.column_type.base
    if base == "integer":
        return int
    if base == "float":
        return float
    return column.column_type.to_sqlite if base in {"boolean", "blob"} else str


def _generated_rules(name: str, column: Column) -> list[tuple[str, str]]:
    quoted = quote(name)
    stored = {"INTEGER": "integer", "REAL": "real", "BLOB": "blob"}.get(column.column_type.sqlite, "text")
    rules = [(f"{name}: {column.column_type.name}", f"typeof({quoted}) IN ('{stored}', 'null')")]
    if not column.is_nullable:
        rules.append((f"{name}: not null", f"{quoted} IS NOT NULL"))
    return rules + [(label, text) for label, text in column_rules(name, column) if not label.endswith(": check")]


def _values(columns: Sequence[str], values: Sequence[Any], table: Table) -> str:
    """`id=3, name=x` as the cells are spelled in the file."""
    said = []
    for name, value in zip(columns, values, strict=True):
        kind = table.columns[name].column_type
        cell = (
            "NULL" if value is None else value if isinstance(value, str) else kind.format(value) if kind.base != "blob" else "…"
        )
        said.append(f"{name}={shown(cell)[1:-1]}")
    return ", ".join(said)

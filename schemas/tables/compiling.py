"""Whether SQLite can read the SQL people write: checks, generated columns, index conditions, views, and the schema as a whole.

Asked of an empty database in memory. What an expression may not contain whatever SQLite thinks is `schemas.tables.expressions`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Set
from typing import Protocol

from schemas.findings import Rule, Severity, rule
from schemas.sql_quoting import quote
from schemas.tables import expressions, names, sql
from schemas.tables.model import Project, Table

EXPRESSION = rule("tables-expression", Severity.ERROR, "Expressions are SQL that says the same for the same row every time.")
DECIMAL_COMPARED = rule("tables-decimal-compared", Severity.WARNING, "Expressions compare decimals as numbers, not as text.")

Pointer = tuple[str | int, ...]


class Say(Protocol):
    """Takes one finding: the rule, where in the project, the message, and what to do."""

    def __call__(
        self, broken: Rule, pointer: Pointer, message: str, fix: str | None = None, *, value: str | None = None
    ) -> None: ...


class Compiler:
    """Asks SQLite, in memory, whether it can read every expression of a project whose names and types are right."""

    def __init__(self, project: Project, say: Say, untyped: Set[str]) -> None:
        """`untyped` are tables with a column of an unknown type, which cannot be asked about."""
        import apsw

        self.project = project
        self.say = say
        self.untyped = untyped
        self.error: type[Exception] = apsw.Error
        self.connection = apsw.Connection(":memory:")
        # Otherwise an unknown name between double quotes is read as text, and a misspelt check always holds.
        self.connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        self.connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)

    def expressions(self) -> None:
        """Says a finding for each check, generated column and index condition that cannot be used."""
        for name, table in self.project.tables.items():
            if name in self.untyped or any(names.problem(key) for key in table.columns):
                continue  # said already, and not every wrong name can be quoted
            for pointer, expression, template in self._expressions(name, table):
                self._one(table, pointer, expression, template)

    def schema(self) -> None:
        """Makes the whole schema, of a project in which nothing is wrong so far, and says a finding for each view that fails."""
        for statement in sql.sqlite_tables(self.project) + sql.sqlite_indexes(self.project):
            try:
                self.connection.execute(statement)
            except self.error as refused:
                # Not reachable through a rule above; said rather than found by the first build.
                self.say(EXPRESSION, ("tables",), f"SQLite refuses the schema: {refused}", "simplify the table")
                return
        self._views()

    def _expressions(self, name: str, table: Table) -> Iterator[tuple[Pointer, str, str]]:
        at: Pointer = ("tables", name)
        for key, column in table.columns.items():
            if column.check is not None:
                yield (*at, "columns", key, "check"), column.check, "CREATE TABLE t ({columns}, CHECK ({expression})) STRICT"
            if column.generated is not None:
                yield (
                    (*at, "columns", key, "generated"),
                    column.generated,
                    'CREATE TABLE t ({columns}, "\t" ANY AS ({expression}))',
                )
        for key, expression in table.checks.items():
            yield (*at, "checks", key), expression, "CREATE TABLE t ({columns}, CHECK ({expression})) STRICT"
        for key, index in table.indexes.items():
            if index.where is not None:
                template = "CREATE TABLE t ({columns}) STRICT; CREATE INDEX i ON t (1) WHERE {expression}"
                yield (*at, "indexes", key, "where"), index.where, template

    def _one(self, table: Table, pointer: Pointer, expression: str, template: str) -> None:
        say = self.say
        try:
            tokens = expressions.examine(expression)
        except expressions.BadExpression as refused:
            say(EXPRESSION, pointer, f"{pointer[-1]}: {refused.message}", refused.fix, value=expression)
            return
        columns = ", ".join(f"{quote(key)} {column.column_type.sqlite}" for key, column in table.columns.items())
        try:
            self.connection.execute("SAVEPOINT s")
            # Not str.format: names and expressions may hold braces.
            self.connection.execute(template.replace("{columns}", columns, 1).replace("{expression}", expression, 1))
        except self.error as refused:
            unknown = str(refused).removeprefix("SQLError: ")
            named = unknown.partition("no such column: ")[2]
            guess = nearest(named, table.columns) if named else "write it as SQLite reads it"
            say(EXPRESSION, pointer, f"{pointer[-1]}: SQLite cannot read it: {unknown}", guess, value=expression)
        finally:
            self.connection.execute("ROLLBACK TO s; RELEASE s")
        for key, column in table.columns.items():
            if column.column_type.base == "decimal" and expressions.uncast(tokens, key):
                message = f"{pointer[-1]}: SQLite keeps the decimal {key!r} as text, so this compares text"
                say(DECIMAL_COMPARED, pointer, message, f"write CAST({key} AS DOUBLE)", value=expression)

    def _views(self) -> None:
        waiting = dict(self.project.views)
        refused: dict[str, str] = {}
        # A view may read another one that stands below it: repeat until nothing more can be made.
        while waiting:
            made = [name for name in waiting if self._view(name, waiting[name].sql, refused)]
            if not made:
                break
            for name in made:
                del waiting[name]
        for name in waiting:
            pointer: Pointer = ("views", name, "sql")
            self.say(EXPRESSION, pointer, f"view {name!r}: {refused[name]}", "write one SELECT that SQLite can read")

    def _view(self, name: str, text: str, refused: dict[str, str]) -> bool:
        try:
            expressions.examine_view(text)
            self.connection.execute(f"CREATE VIEW {quote(name)} AS {text}")
            self.connection.execute(f"EXPLAIN SELECT * FROM {quote(name)}")
        except expressions.BadExpression as problem:
            refused[name] = problem.message
            return False
        except self.error as problem:
            refused[name] = f"SQLite cannot read it: {problem}"
            self.connection.execute(f"DROP VIEW IF EXISTS {quote(name)}")
            return False
        return True


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name."""
    options = list(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"write {close[0]!r}" if close else "use one of " + ", ".join(repr(option) for option in options[:12])

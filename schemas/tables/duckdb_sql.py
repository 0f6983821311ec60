"""The DuckDB dialect of a project, and an honest list of what DuckDB cannot enforce, each with the query that checks it.

DuckDB 2.0 refuses, measured: ON DELETE/UPDATE CASCADE and SET NULL, DEFERRABLE, partial indexes, a foreign key whose parent
table comes later (so every cycle), constraints on generated columns, stored generated columns; and a row that refers to one
of the same INSERT. Expressions are written for SQLite; DuckDB, in memory, is asked whether it reads them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.sql_quoting import quote, quote_all, text_literal
from schemas.tables import sql
from schemas.tables.model import Column, Computed, Project, Relationship, Table
from schemas.tables.types import ColumnType


@dataclass(frozen=True, slots=True)
class Dropped:
    """One rule of the project that the DuckDB file does not enforce.

    `kind` is `foreign key`, `unique`, `check`, `generated`, `index`, `view` or `default`. `query` selects the rows that break
    it, None where the rule cannot be said in DuckDB at all; the text was checked against it before.
    """

    kind: str
    table: str
    name: str
    reason: str
    query: str | None = None


def duckdb_ddl(project: Project) -> tuple[list[str], list[Dropped]]:
    """(the statements that make the empty database, parents first; what they do not enforce)."""
    writer = _Writer(project)
    return writer.statements(), writer.dropped


def kept_foreign_keys(project: Project) -> tuple[dict[str, Relationship], list[Dropped]]:
    """The relationships DuckDB can enforce, and the others with the reason and the query for orphans."""
    kept: dict[str, Relationship] = {}
    dropped = []
    cyclic = _cyclic(project)
    for name, found in project.relationships.items():
        reason = None
        if found.is_self_reference:
            reason = "DuckDB refuses rows that refer to rows of the same INSERT"
        elif name in cyclic:
            reason = "the tables refer to each other in a circle, and DuckDB needs the parent first"
        elif {found.on_delete, found.on_update} - {"no_action", "restrict"}:
            reason = "DuckDB has no ON DELETE or ON UPDATE actions"
        elif found.deferrable:
            reason = "DuckDB has no deferred foreign keys"
        if reason is None:
            kept[name] = found
        else:
            dropped.append(Dropped("foreign key", found.child.table, name, reason, sql.orphan_query(found)))
    return kept, dropped


def creation_order(project: Project) -> list[str]:
    """The tables with parents before children as far as DuckDB's foreign keys need it, else in the order of the file."""
    kept, _ = kept_foreign_keys(project)
    order: list[str] = []

    def visit(table: str) -> None:
        if table in order:
            return
        for found in kept.values():
            if found.child.table == table:
                visit(found.parent.table)
        order.append(table)

    for name in project.tables:
        visit(name)
    return order


def _cyclic(project: Project) -> set[str]:
    """The relationships between tables from which the way leads back."""
    parents: dict[str, set[str]] = {name: set() for name in project.tables}
    for found in project.relationships.values():
        parents[found.child.table].add(found.parent.table)

    def reaches(start: str, goal: str) -> bool:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            table = waiting.pop()
            if table == goal:
                return True
            if table not in seen:
                seen.add(table)
                waiting.extend(parents[table])
        return False

    return {name for name, found in project.relationships.items() if reaches(found.parent.table, found.child.table)}


def column_rules(name: str, column: Column) -> list[tuple[str, str]]:
    """(name, expression) of every rule of one column in DuckDB's words; the type says the rest."""
    kind, quoted = column.column_type, quote(name)
    rules: list[tuple[str, str]] = []
    if column.enum is not None and kind.base != "enum":
        rules.append(("enum", f"{quoted} IN (" + ", ".join(literal(kind, column.cell(value)) for value in column.enum) + ")"))
    for label, bound, operator in (("min", column.min, ">="), ("max", column.max, "<=")):
        if bound is not None:
            text = f"CAST({quoted} AS VARCHAR)" if kind.base in {"enum", "uuid"} else quoted
            rules.append((label, f"{text} {operator} {literal(kind, column.cell(bound))}"))
    length = "octet_length" if kind.base == "blob" else "length"
    measured = quoted if kind.base in {"text", "blob"} else f"CAST({quoted} AS VARCHAR)"
    if column.min_length is not None:
        rules.append(("min_length", f"{length}({measured}) >= {column.min_length}"))
    if column.max_length is not None:
        rules.append(("max_length", f"{length}({measured}) <= {column.max_length}"))
    if column.pattern is not None:
        rules.append(("pattern", f"regexp_full_match(CAST({quoted} AS VARCHAR), {text_literal(column.pattern)})"))
    if column.check is not None:
        rules.append(("check", column.check))
    return [(f"{name}: {label}", rule) for label, rule in rules]


def literal(kind: ColumnType, cell: str) -> str:
    """A canonical cell as a literal that DuckDB reads as this type where it is compared with such a column."""
    if kind.base in {"integer", "decimal", "boolean"}:
        return cell
    if kind.base == "float":
        return f"CAST({text_literal(cell)} AS DOUBLE)"
    if kind.base == "blob":
        return f"from_base64({text_literal(cell)})"
    return text_literal(cell)


class _Writer:
    """Writes one project's statements, trying what may be refused in a database in memory."""

    def __init__(self, project: Project) -> None:
        import duckdb

        self.project = project
        self.kept, self.dropped = kept_foreign_keys(project)
        self.refused: type[Exception] = duckdb.Error
        self.trial = duckdb.connect(":memory:", config={"threads": 1})

    def statements(self) -> list[str]:
        made = []
        try:
            for name in creation_order(self.project):
                statement = self._table(name, self.project.tables[name])
                self.trial.execute(statement)
                made.append(statement)
            for name, table in self.project.tables.items():
                made += self._indexes(name, table)
            made += self._views()
        finally:
            self.trial.close()
        return made

    def _table(self, name: str, table: Table) -> str:
        lines = []
        for key, column in table.columns.items():
            if column.generated is None:
                lines.append(_column(key, column))
        for key, column in table.columns.items():
            if column.generated is not None:
                line = f"{quote(key)} {column.column_type.duckdb} GENERATED ALWAYS AS ({column.generated}) VIRTUAL"
                if self._accepts(lines, line, name, "generated", key):
                    lines.append(line)
        if table.primary_key:
            lines.append(f"PRIMARY KEY ({quote_all(table.primary_key)})")
        for key, columns in table.unique_sets.items():
            if any(table.columns[column].generated is not None for column in columns):
                reason = "DuckDB has no constraints on generated columns"
                self.dropped.append(Dropped("unique", name, key, reason, duplicates_query(name, columns)))
            else:
                lines.append(f"UNIQUE ({quote_all(columns)})")
        rules = [rule for key, column in table.columns.items() for rule in column_rules(key, column)]
        for label, rule in [*rules, *table.checks.items()]:
            line = f"CHECK ({rule})"
            if self._accepts(lines, line, name, "check", label):
                lines.append(line)
        for found in self.kept.values():
            if found.child.table == name:
                child, parent = quote_all(found.child.columns), quote_all(found.parent.columns)
                lines.append(f"FOREIGN KEY ({child}) REFERENCES {quote(found.parent.table)} ({parent})")
        return f"CREATE TABLE {quote(name)} (\n  " + ",\n  ".join(lines) + "\n)"

    def _accepts(self, lines: list[str], line: str, table: str, kind: str, name: str) -> bool:
        """Whether DuckDB takes a further line of a table; records it as dropped when not."""
        columns = [existing for existing in lines if existing.startswith('"')]
        try:
            self.trial.execute(f"CREATE TEMP TABLE trial ({', '.join([*columns, line])})")
        except self.refused as problem:
            reason = "DuckDB cannot read it: " + str(problem).splitlines()[0]
            self.dropped.append(Dropped(kind, table, name, reason))
            return False
        self.trial.execute("DROP TABLE temp.trial")
        return True

    def _indexes(self, table_name: str, table: Table) -> list[str]:
        made = []
        for name, index in table.indexes.items():
            if index.where is not None:
                reason = "DuckDB has no partial indexes"
                query = duplicates_query(table_name, tuple(index.columns), index.where) if index.unique else None
                self.dropped.append(Dropped("unique" if index.unique else "index", table_name, name, reason, query))
            elif any(table.columns[column].generated is not None for column in index.columns):
                self.dropped.append(Dropped("index", table_name, name, "DuckDB has no indexes on generated columns"))
            elif not index.unique:
                label = quote(sql.index_name(table_name, name))
                made.append(f"CREATE INDEX {label} ON {quote(table_name)} ({quote_all(index.columns)})")
        return made

    def _views(self) -> list[str]:
        made: list[str] = []
        waiting = dict(self.project.views)
        problems: dict[str, str] = {}
        while waiting:
            ready = []
            for name, view in waiting.items():
                statement = f"CREATE VIEW {quote(name)} AS {view.sql.strip()}"
                try:
                    self.trial.execute(statement)
                except self.refused as problem:
                    problems[name] = str(problem).splitlines()[0]
                    continue
                made.append(statement)
                ready.append(name)
            if not ready:
                break
            for name in ready:
                del waiting[name]
        self.dropped += [Dropped("view", "", name, f"DuckDB cannot read it: {problems[name]}") for name in waiting]
        return made


def duplicates_query(table: str, columns: tuple[str, ...], where: str | None = None) -> str:
    """A query of the values of a unique set that stand in several rows; rows with a NULL part are never equal."""
    given = [f"{quote(column)} IS NOT NULL" for column in columns] + ([f"({where})"] if where else [])
    listed = quote_all(columns)
    return (
        f"SELECT {listed}, count(*) AS rows FROM {quote(table)} WHERE {' AND '.join(given)} GROUP BY {listed} HAVING count(*) > 1"
    )


def _column(name: str, column: Column) -> str:
    words = [quote(name), column.column_type.duckdb]
    if not column.is_nullable:
        words.append("NOT NULL")
    if isinstance(column.default, Computed):
        words.append(f"DEFAULT {_moment(column)}")
    elif column.default is not None:
        words.append(f"DEFAULT {literal(column.column_type, column.cell(column.default))}")
    return " ".join(words)


def _moment(column: Column) -> str:
    kind = column.column_type.base
    if kind == "timestamp":
        return "current_timestamp"
    if kind == "date":
        return "CAST(current_timestamp AT TIME ZONE 'UTC' AS DATE)"
    return f"CAST(current_timestamp AT TIME ZONE 'UTC' AS {'TIME' if kind == 'time' else 'TIMESTAMP'})"

"""Somebody's database as a tables project: what both SQLite and DuckDB files have in common when they are imported.

Types are chosen once, from what is declared and from every value that is there, so that nothing is lost; what a project cannot
say is left out and named in `notes`. Looking into the files is `resources.tables.from_sqlite` and `resources.tables.from_duckdb`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.tables.records import write_record
from schemas.errors import HeadwaterError
from schemas.findings import Finding, Rule
from schemas.tables.compiling import Pointer
from schemas.tables.infer import ColumnGuess, clean_names, fit
from schemas.tables.meaning import Examiner
from schemas.tables.model import Project
from schemas.tables.types import BadCell, ColumnType, TypeProblem, parse_type, shown

Rows = Callable[[str, list[str], list[str]], Iterator[tuple[Any, ...]]]
"""`rows(table, columns, order_by)`: the rows of a table of the database, by its own names."""

SECONDS = {"current_date": "date", "current_time": "time", "current_timestamp": "timestamp"}


@dataclass(slots=True)
class FoundColumn:
    """One column of the database. `candidates` are the types it may get, most likely first."""

    name: str
    candidates: list[ColumnType]
    not_null: bool = False
    generated: str | None = None
    default: str | None = None
    """The DEFAULT as SQL."""


@dataclass(slots=True)
class FoundTable:
    """One table of the database, by its own names."""

    name: str
    columns: list[FoundColumn]
    key: list[str] = field(default_factory=list)
    unique: dict[str, list[str]] = field(default_factory=dict)
    checks: list[tuple[str | None, str]] = field(default_factory=list)
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class FoundReference:
    """One foreign key of the database, by its own names."""

    name: str | None
    child: str
    columns: list[str]
    parent: str
    parent_columns: list[str]
    on_delete: str = "no_action"
    on_update: str = "no_action"
    deferrable: bool = False


@dataclass(slots=True)
class FoundDatabase:
    """Everything a reader found, and how to get at the rows."""

    path: Path
    tables: list[FoundTable]
    references: list[FoundReference]
    views: dict[str, str]
    notes: list[str]
    rows: Rows


class Imported:
    """A database read as a project: `project`, `tree` (as project.yaml is written), and `notes` on what was left out."""

    def __init__(self, database: FoundDatabase) -> None:
        self.notes = list(database.notes)
        self._database = database
        self._guesses: dict[str, list[ColumnGuess]] = {}
        self._original: dict[str, FoundTable] = {}
        self._columns: dict[str, dict[str, str]] = {}
        if not database.tables:
            message = "the database has no table"
            raise HeadwaterError(message, path=str(database.path), rule="tables-import", fix="choose another file")
        self.tree = self._settle(self._tree())
        self.project = Project.model_validate(self.tree)

    def rows(self, table: str) -> Iterator[list[str | None]]:
        """The canonical cells of every row of a table, in the order of the project's stored columns, sorted by the key."""
        model = self.project.tables[table]
        original = self._original[table]
        names = self._columns[table]
        back = {new: old for old, new in names.items()}
        columns = list(model.stored)
        kinds = [model.columns[name].column_type for name in columns]
        key = [back[name] for name in model.primary_key]
        for values in self._database.rows(original.name, [back[name] for name in columns], key):
            yield [None if value is None else fit(kind, value) for kind, value in zip(kinds, values, strict=True)]

    def csv(self, table: str) -> Iterator[bytes]:
        """The lines of a table's CSV file."""
        null = self.project.format.null_text
        yield write_record(self.project.tables[table].stored, "\0") + b"\n"
        for row in self.rows(table):
            yield write_record(row, null) + b"\n"

    def _tree(self) -> dict[str, Any]:
        database = self._database
        tables: dict[str, Any] = {}
        table_names = dict(
            zip([table.name for table in database.tables], clean_names(table.name for table in database.tables), strict=True)
        )
        for table in database.tables:
            name = table_names[table.name]
            if name != table.name:
                self.notes.append(f"table {table.name!r} is called {name!r} now")
            tables[name] = self._table(name, table)
        relationships: dict[str, Any] = {}
        for reference in database.references:
            self._reference(reference, table_names, relationships)
        tree: dict[str, Any] = {"version": 1, "project": {"name": database.path.stem}}
        tree["tables"] = tables
        if relationships:
            tree["relationships"] = relationships
        if database.views:
            tree["views"] = {name: {"sql": text} for name, text in database.views.items()}
        return tree

    def _table(self, name: str, table: FoundTable) -> dict[str, Any]:
        names = dict(zip([column.name for column in table.columns], clean_names(c.name for c in table.columns), strict=True))
        for old, new in names.items():
            if old != new:
                self.notes.append(f"column {table.name}.{old!r} is called {new!r} now")
        self._original[name] = table
        self._columns[name] = names
        guesses = self._guess(table)
        columns: dict[str, Any] = {}
        for column, guess in zip(table.columns, guesses, strict=True):
            columns[names[column.name]] = self._column(table, column, guess)
        made: dict[str, Any] = {"columns": columns}
        by_name = dict(zip([column.name for column in table.columns], guesses, strict=True))
        if table.key and any(by_name[column].nulls for column in table.key):
            self.notes.append(f"the primary key of {table.name!r} is left out: it has NULLs")
        elif table.key:
            made["primary_key"] = [names[column] for column in table.key]
        _unique(made, columns, {label: [names[column] for column in listed] for label, listed in table.unique.items()})
        self._checks(table, made, names)
        indexes = {
            label: {**index, "columns": [names[column] for column in index["columns"]]} for label, index in table.indexes.items()
        }
        if indexes:
            made["indexes"] = dict(zip(clean_names(indexes), indexes.values(), strict=True))
        if name != clean_file_name(name):
            made = {"file": f"data/{clean_file_name(name)}.csv", **made}
        return made

    def _guess(self, table: FoundTable) -> list[ColumnGuess]:
        guesses = [ColumnGuess(column.candidates) for column in table.columns]
        names = [column.name for column in table.columns]
        for values in self._database.rows(table.name, names, []):
            for name, guess, value in zip(names, guesses, values, strict=True):
                try:
                    guess.see(value)
                except BadCell as bad:
                    raise HeadwaterError(
                        f"{table.name}.{name}: {bad.message}",
                        path=str(self._database.path),
                        rule="tables-import",
                        fix="give the column's values one type in the database, or remove what text cannot hold",
                    ) from None
        return guesses

    def _column(self, table: FoundTable, column: FoundColumn, guess: ColumnGuess) -> dict[str, Any]:
        kind = guess.type if guess.filled else column.candidates[0]
        if kind.base == "decimal" and not kind.precision:
            kind = ColumnType("text")
        made: dict[str, Any] = {"type": kind.name}
        if kind.base == "enum":
            made["enum"] = list(kind.values)
        if (column.not_null or (len(table.columns) == 1 and not guess.nulls)) and column.name not in table.key:
            made["nullable"] = False
        if column.generated is not None:
            made["generated"] = column.generated
        elif column.default is not None:
            default = default_tree(kind, column.default)
            if default is None:
                self.notes.append(f"the default of {table.name}.{column.name} is left out: {column.default}")
            else:
                made["default"] = default
        return made

    def _checks(self, table: FoundTable, made: dict[str, Any], names: dict[str, str]) -> None:
        checks: dict[str, str] = {}
        for label, text in table.checks:
            column, _, option = (label or "").rpartition(": ")
            target = made["columns"].get(names.get(column, ""))
            if target is not None and own_rule(target, option, text):
                continue
            wanted = label or f"check {len(checks) + 1}"
            checks[clean_names([*checks, wanted])[-1]] = text
        if checks:
            made["checks"] = checks

    def _reference(self, reference: FoundReference, tables: dict[str, str], made: dict[str, Any]) -> None:
        child, parent = tables.get(reference.child), tables.get(reference.parent)
        listed = ", ".join(reference.columns)
        if child is None or parent is None:
            self.notes.append(f"the foreign key of {reference.child} ({listed}) is left out: {reference.parent} is no table")
            return
        known = self._columns[parent]
        if not all(column in known for column in reference.parent_columns):
            self.notes.append(f"the foreign key of {reference.child} ({listed}) is left out: its parent's columns are not there")
            return
        name = clean_names([*made, reference.name or f"{child}_{'_'.join(reference.columns)}"])[-1]
        entry: dict[str, Any] = {
            "from": {"table": child, "columns": [self._columns[child][column] for column in reference.columns]},
            "to": {"table": parent, "columns": [known[column] for column in reference.parent_columns]},
        }
        for key, action in (("on_delete", reference.on_delete), ("on_update", reference.on_update)):
            if action != "no_action":
                entry[key] = action
        if reference.deferrable:
            entry["deferrable"] = True
        made[name] = entry

    def _settle(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The tree without the parts that a project refuses, each of them noted."""
        while True:
            problems = _problems(tree)
            if not problems:
                return tree
            changed = False
            for pointer, finding in problems:
                part = _removable(pointer)
                if finding.rule == "tables-one-column":
                    tree["format"] = {"null_text": "\\N"}
                    changed = True
                elif part is None:
                    raise HeadwaterError(finding.message, path=str(self._database.path), rule=finding.rule, fix=finding.fix)
                elif _remove(tree, part):
                    changed = True
                    self.notes.append(f"{' / '.join(str(step) for step in part)} is left out: {finding.message}")
            if not changed:
                finding = problems[0][1]
                raise HeadwaterError(finding.message, path=str(self._database.path), rule=finding.rule, fix=finding.fix)


class _Collector(Examiner):
    """An Examiner that keeps the pointer of every blocking finding."""

    def __init__(self, project: Project) -> None:
        super().__init__(project, "project.yaml", lambda pointer, key: (None, None))
        self.pointers: list[tuple[Pointer, Finding]] = []

    def say(
        self,
        broken: Rule,
        pointer: Pointer,
        message: str,
        fix: str | None = None,
        *,
        key: bool = False,
        value: str | None = None,
        replacement: str | None = None,
    ) -> None:
        super().say(broken, pointer, message, fix, key=key, value=value, replacement=replacement)
        if self.findings[-1].blocking:
            self.pointers.append((pointer, self.findings[-1]))


def _problems(tree: dict[str, Any]) -> list[tuple[Pointer, Finding]]:
    collector = _Collector(Project.model_validate(tree))
    collector.examine()
    return collector.pointers


def _removable(pointer: Pointer) -> Pointer | None:
    """The optional part of a project that a finding is about."""
    if pointer[0] in {"relationships", "views"} and len(pointer) > 1:
        return pointer[:2]
    if len(pointer) > 3 and pointer[2] in {"checks", "indexes", "unique"}:
        return pointer[:4]
    if len(pointer) > 4 and pointer[2] == "columns" and pointer[4] not in {"type", "enum"}:
        return pointer[:5]
    if len(pointer) > 2 and pointer[2] == "primary_key":
        return pointer[:3]
    return None


def _remove(tree: dict[str, Any], pointer: Pointer) -> bool:
    inside: Any = tree
    for step in pointer[:-1]:
        inside = inside.get(step, {})
    return inside.pop(pointer[-1], None) is not None


def _unique(made: dict[str, Any], columns: dict[str, Any], sets: dict[str, list[str]]) -> None:
    named = {}
    for label, listed in sets.items():
        if listed == made.get("primary_key"):
            continue
        if len(listed) == 1:
            columns[listed[0]]["unique"] = True
        else:
            named[label] = listed
    if named:
        made["unique"] = dict(zip(clean_names(named), named.values(), strict=True))


def own_rule(column: dict[str, Any], option: str, text: str) -> bool:
    """Whether a check named `<column>: <option>` is one that Headwater writes; puts it into the column's tree."""
    literal = text.rpartition("= ")[2].strip()
    if option in {"min_length", "max_length"} and literal.isdigit():
        column[option] = int(literal)
    elif option == "check":
        column["check"] = text
    elif option in {"min", "max"}:
        kind = parse_type(column["type"], tuple(column.get("enum", ())))
        bound = _bound(kind, literal)
        if bound is None:
            return False
        column[option] = bound
    elif option == "enum":
        values = _listed(text)
        if values is None:
            return False
        column["enum"] = values
        if column["type"] == "text":
            column["type"] = "enum"
    else:
        return own_type(option) is not None
    return True


def own_type(option: str) -> ColumnType | None:
    """The type that a check named `<column>: <type>` stands for."""
    try:
        return parse_type(option)
    except TypeProblem:
        return None


def _bound(kind: ColumnType, literal: str) -> str | int | float | None:
    cell = literal[1:-1].replace("''", "'") if literal[:1] == "'" else literal
    if kind.base == "timestamp":
        cell += "Z"
    if kind.base == "decimal" and cell.lstrip("-").isdigit():
        from decimal import Decimal

        cell = kind.format(Decimal(int(cell)).scaleb(-kind.scale))
    if not kind.accepts(cell):
        return None
    return int(cell) if kind.base == "integer" else float(cell) if kind.base == "float" else cell


def _listed(text: str) -> list[Any] | None:
    """The literals of `… IN (1, 'a')`."""
    from schemas.tables.expressions import BadExpression, tokens

    try:
        found_tokens = [token for token in tokens(text) if token.kind in {"text", "number"}]
    except BadExpression:
        return None
    values: list[Any] = []
    for token in found_tokens:
        if token.kind == "text":
            values.append(token.text[1:-1].replace("''", "'"))
        else:
            values.append(float(token.text) if "." in token.text or "e" in token.text.lower() else int(token.text))
    return values or None


def default_tree(kind: ColumnType, text: str) -> Any:
    """A DEFAULT in SQL as it is written in project.yaml; None when a project cannot say it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    lowered = text.lower()
    if "'now'" in lowered or lowered in SECONDS or lowered.startswith(("cast(current_timestamp", "cast((current_timestamp")):
        moment = {"date": "current_date", "time": "current_time"}.get(kind.base, "current_timestamp")
        return {"sql": moment} if kind.base in {"date", "time", "datetime", "timestamp"} else None
    if lowered == "null":
        return None
    value: Any = text
    if text[:1] == "'" and text[-1:] == "'":
        value = text[1:-1].replace("''", "'")
    elif lowered[:2] == "x'":
        value = bytes.fromhex(text[2:-1])
    elif kind.base == "boolean":
        value = {"0": "false", "1": "true"}.get(lowered, lowered)
    elif kind.base == "decimal":
        value = kind.suggest(text) or text
    try:
        cell = fit(kind, value)
    except BadCell:
        return None
    if kind.base == "boolean":
        return cell == "true"
    return int(cell) if kind.base == "integer" else float(cell) if kind.base == "float" else cell


def clean_file_name(name: str) -> str:
    """`name` with what no file system holds replaced by `_`."""
    from schemas.paths import is_portable_name

    clean = name if is_portable_name(name + ".csv") else "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return clean if is_portable_name(clean + ".csv") else f"table_{clean}"


def refuse(path: Path, problem: str) -> HeadwaterError:
    """The error for a file that cannot be imported."""
    return HeadwaterError(problem, path=str(path), rule="tables-import", fix=f"check that {shown(path.name)} is a sound database")

"""What a project must say to make sense: names, types, keys, relationships and expressions across the whole file.

Takes a Project whose shape is right and the means to find positions; returns findings, all of them. No I/O. Whether SQLite can
read the expressions is asked in `schemas.tables.compiling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from schemas import paths
from schemas.errors import HeadwaterError
from schemas.findings import Finding, Rule, Severity, found, rule
from schemas.tables import names, sql
from schemas.tables.compiling import Compiler, Pointer, nearest
from schemas.tables.model import Column, Computed, Endpoint, Project, Relationship, Table
from schemas.tables.types import BadCell, TypeProblem, shown

NAME = rule("tables-name", Severity.ERROR, "Names are short, NFC, without separators, and belong to nobody else.")
SAME_NAME = rule("tables-name-collision", Severity.ERROR, "No two names differ only by case or Unicode form.")
FILE = rule("tables-file", Severity.ERROR, "A table's CSV file is a portable path below data/, its own.")
TYPE = rule("tables-type", Severity.ERROR, "Every column has a type that exists.")
LITERAL = rule("tables-literal", Severity.ERROR, "Defaults, bounds and choices are values of the column's type.")
OPTION = rule("tables-option", Severity.ERROR, "A column's rules fit its type and each other.")
KEY = rule("tables-key", Severity.ERROR, "Keys, unique sets and indexes name stored columns of their table, once each.")
RELATIONSHIP = rule("tables-relationship", Severity.ERROR, "A relationship joins equal types and points at a key.")
ONE_COLUMN = rule("tables-one-column", Severity.ERROR, "The only column of a CSV file cannot be NULL: a blank line is no row.")
RENAME = rule("tables-rename", Severity.ERROR, "A renamed table or column has one old name that is no longer in use.")
SIZE = rule("tables-size", Severity.ERROR, "A table stays within the limits of SQLite.")

MOST_COLUMNS = 1990
"""SQLite holds 2,000; the check of the rows needs a few for itself."""
Place = Callable[[Pointer, bool], tuple[int, int] | tuple[None, None]]
"""`place(pointer, key)`: (line, column) of a value, or of its key."""

_ORDERED = {"integer", "decimal", "float", "text", "date", "time", "datetime", "timestamp", "enum", "uuid"}
_MEASURED = {"text", "json", "blob", "enum"}
_MATCHED = {"text", "json", "uuid", "enum"}


class Examiner:
    """Collects the findings of one project. `path` is shown in them, `place` finds positions."""

    def __init__(self, project: Project, path: str, place: Place) -> None:
        self.project = project
        self.path = path
        self.place = place
        self.findings: list[Finding] = []
        self.untyped: set[str] = set()
        """Tables with a column whose type is unknown: nothing that needs types is asked about them."""

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
        line, column = self.place(pointer, key)
        self.findings.append(
            found(broken, self.path, message, line=line, column=column, fix=fix, value=value, replacement=replacement)
        )

    def examine(self) -> list[Finding]:
        """Every finding of the project, in order of position. Later stages need what earlier ones vouch for."""
        self._names()
        self._files()
        for name, table in self.project.tables.items():
            self._table(name, table)
        self._renames()
        for name, relationship in self.project.relationships.items():
            self._relationship(name, relationship)
        compiler = Compiler(self.project, self.say, self.untyped)
        compiler.expressions()
        if not any(finding.blocking for finding in self.findings):
            compiler.schema()
        return sorted(self.findings)

    def _names(self) -> None:
        project = self.project
        relations = [("tables", name) for name in project.tables] + [("views", name) for name in project.views]
        self._distinct(relations)
        self._distinct([("relationships", name) for name in project.relationships])
        for name, table in project.tables.items():
            at = ("tables", name)
            for part, keys in (
                ("columns", table.columns),
                ("unique", table.unique),
                ("checks", table.checks),
                ("indexes", table.indexes),
            ):
                self._distinct([(*at, part, key) for key in keys])

    def _distinct(self, pointers: Iterable[Pointer]) -> None:
        seen: dict[str, Pointer] = {}
        for pointer in pointers:
            name = str(pointer[-1])
            wrong = names.problem(name) or (names.device_problem(name) if pointer[0] == "tables" and len(pointer) == 2 else None)
            if wrong:
                self.say(NAME, pointer, f"{pointer[-2]}: {shown(name)}: {wrong[0]}", wrong[1], key=True, value=name)
            first = seen.setdefault(names.same_name(name), pointer)
            if first != pointer:
                line = self.place(first, True)[0]
                other = f"{first[-1]!r}" + (f" in line {line}" if line else "")
                message = f"{name!r} and {other} differ only by case or Unicode form; file systems and people take them for one"
                self.say(SAME_NAME, pointer, message, "rename one of them", key=True, value=name)

    def _files(self) -> None:
        seen: dict[str, str] = {}
        for name, table in self.project.tables.items():
            at: Pointer = ("tables", name, "file") if table.file else ("tables", name)
            path = table.data_file
            problem = None
            if not table.file and names.device_problem(name):
                continue
            try:
                paths.check_path(path)
            except HeadwaterError as refused:
                problem = refused.message
            if problem is None and not (path.startswith("data/") and path.endswith(".csv")):
                problem = f"{shown(path)} does not lie below data/ or does not end in .csv"
            if problem is not None:
                fix = "set `file: data/<portable name>.csv`"
                self.say(FILE, at, f"table {name!r}: {problem}", fix, key=not table.file, value=path)
            first = seen.setdefault(paths.fold(path), name)
            if first != name:
                message = f"tables {first!r} and {name!r} have the same file {path!r} on some systems"
                self.say(FILE, at, message, "give one of them another `file`", key=not table.file, value=path)

    def _table(self, name: str, table: Table) -> None:
        at: Pointer = ("tables", name)
        if len(table.columns) > MOST_COLUMNS:
            self.say(SIZE, (*at, "columns"), f"{len(table.columns)} columns; {MOST_COLUMNS} are allowed", "split the table")
        for key, column in table.columns.items():
            self._column((*at, "columns", key), key, column)
        if not table.stored:
            self.say(SIZE, (*at, "columns"), "every column is generated, so no row can be written", "add a stored column")
        elif len(table.stored) == 1 and self.project.format.null_text == "":
            only = next(iter(table.stored.values()))
            if only.is_nullable:
                fix = "set `nullable: false`, add a key column, or set `format: {null_text: \\N}`"
                message = f"{only.name!r} is the only column of {table.data_file} and may be NULL: a blank line is no row"
                self.say(ONE_COLUMN, (*at, "columns", only.name), message, fix, key=True)
        self._columns_named(table, (*at, "primary_key"), table.primary_key, "the primary key", stored=True)
        for key in table.primary_key:
            part = table.columns.get(key)
            if part is not None and part.nullable:
                message = f"{key!r} is in the primary key and cannot be NULL"
                self.say(KEY, (*at, "columns", key, "nullable"), message, "remove `nullable: true`")
        for key, columns in table.unique.items():
            self._columns_named(table, (*at, "unique", key), columns, f"the unique set {key!r}")
            if key in table.columns and table.columns[key].unique and columns != [key]:
                message = f"{key!r} is both a unique column and the name of another unique set"
                self.say(KEY, (*at, "unique", key), message, "rename the set", key=True)
        for key, index in table.indexes.items():
            self._columns_named(table, (*at, "indexes", key, "columns"), index.columns, f"the index {key!r}")
        self._columns_named(table, (*at, "order_by"), table.order_by or [], "the order", stored=True)

    def _columns_named(self, table: Table, at: Pointer, columns: list[str], what: str, *, stored: bool = False) -> None:
        for place, name in enumerate(columns):
            if name not in table.columns:
                guess = nearest(name, table.columns)
                self.say(KEY, (*at, place), f"{what} names {name!r}, which is no column", guess, value=name)
            elif name in columns[:place]:
                self.say(KEY, (*at, place), f"{what} names {name!r} twice", "name it once", value=name)
            elif stored and table.columns[name].generated is not None:
                self.say(KEY, (*at, place), f"{what} names the generated column {name!r}", "use a stored column", value=name)

    def _column(self, at: Pointer, name: str, column: Column) -> None:
        try:
            kind = column.column_type
        except TypeProblem as problem:
            self.untyped.add(str(at[1]))
            fix = f"write {problem.suggestion}" if problem.suggestion else "use one of the types in the guide"
            self.say(TYPE, (*at, "type"), problem.message, fix, value=column.type)
            return
        if kind.base == "enum" and not column.enum:
            self.say(OPTION, at, f"{name!r} is an enum without choices", "list them in `enum`", key=True)
        if column.generated is not None and (column.default is not None or column.enum or column.pattern):
            self.say(OPTION, (*at, "generated"), f"{name!r} is computed and takes no default, enum or pattern", "remove them")
        self._literals(at, column)
        for option, types in (
            ("min", _ORDERED),
            ("max", _ORDERED),
            ("min_length", _MEASURED),
            ("max_length", _MEASURED),
            ("pattern", _MATCHED),
        ):
            if getattr(column, option) is not None and kind.base not in types:
                self.say(OPTION, (*at, option), f"a column of type {kind.name} takes no `{option}`", "remove it", key=True)
        lengths = (column.min_length, column.max_length)
        if None not in lengths and lengths[0] > lengths[1]:  # type: ignore[operator]  # both are numbers here
            self.say(OPTION, (*at, "max_length"), "max_length is below min_length", "exchange them")
        if column.pattern is not None:
            self._pattern(at, column.pattern)

    def _literals(self, at: Pointer, column: Column) -> None:
        kind = column.column_type
        bad = False
        seen: set[str] = set()
        literals: list[tuple[Pointer, str | int | float | bool]] = [
            ((*at, "enum", place), value) for place, value in enumerate(column.enum or [])
        ]
        literals += [((*at, option), value) for option in ("min", "max") if (value := getattr(column, option)) is not None]
        if isinstance(column.default, Computed):
            if kind.base not in sql.MOMENT_TYPES[column.default.sql]:
                fit = " or ".join(sql.MOMENT_TYPES[column.default.sql])
                message = f"{column.default.sql} is a {fit}, the column is {kind.name}"
                self.say(LITERAL, (*at, "default", "sql"), message, "change the type or the default")
        elif column.default is not None:
            literals.append(((*at, "default"), column.default))
        for pointer, literal in literals:
            if kind.base in {"text", "enum"} and not isinstance(literal, str):
                self.say(LITERAL, pointer, f"{literal!r} is not text to YAML", "write it between double quotes")
                bad = True
                continue
            try:
                cell = column.cell(literal)
            except BadCell as refused:
                bad = True
                fix = f'write "{refused.suggestion}"' if refused.suggestion is not None else "write a value of the column's type"
                self.say(LITERAL, pointer, refused.message, fix, value=str(literal))
                continue
            if "enum" in pointer[-2:] and isinstance(pointer[-1], int):
                if cell in seen:
                    self.say(LITERAL, pointer, f"{shown(cell)} is listed twice", "list it once")
                seen.add(cell)
        if bad or kind.base not in _ORDERED:
            return
        low, high = column.bounds
        if low is not None and high is not None and low > high:
            self.say(OPTION, (*at, "max"), "max is below min", "exchange them")
        if not isinstance(column.default, Computed) and column.default is not None and column.allowed is not None:
            cell = column.cell(column.default)
            if cell not in column.allowed:
                self.say(LITERAL, (*at, "default"), f"{shown(cell)} is not one of the column's choices", "use one of them")

    def _pattern(self, at: Pointer, pattern: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            pc.match_substring_regex(pa.array([""]), pattern=f"(?:{pattern})")
        except pa.ArrowInvalid as refused:
            message = f"the pattern is not a regular expression that RE2 reads: {refused}"
            self.say(OPTION, (*at, "pattern"), message, "use RE2 syntax: no look-around, no back-references", value=pattern)

    def _renames(self) -> None:
        project = self.project
        groups: list[tuple[Pointer, dict[str, str | None]]] = [
            (("tables",), {name: table.was for name, table in project.tables.items()})
        ]
        for name, table in project.tables.items():
            groups.append((("tables", name, "columns"), {key: column.was for key, column in table.columns.items()}))
        for at, group in groups:
            taken: dict[str, str] = {}
            for name, was in group.items():
                if was is None:
                    continue
                if was in group:
                    self.say(RENAME, (*at, name, "was"), f"{name!r} was {was!r}, which is still in use", "remove `was`")
                elif taken.setdefault(was, name) != name:
                    self.say(RENAME, (*at, name, "was"), f"{taken[was]!r} and {name!r} were both {was!r}", "remove one `was`")

    def _relationship(self, name: str, relationship: Relationship) -> None:
        at: Pointer = ("relationships", name)
        flipped = relationship.cardinality == "one-to-many"
        child_at, parent_at = ((*at, "to"), (*at, "from")) if flipped else ((*at, "from"), (*at, "to"))
        child, parent = relationship.child, relationship.parent
        known = [self._endpoint(place, end) for place, end in ((child_at, child), (parent_at, parent))]
        if not all(known):
            return
        if len(child.columns) != len(parent.columns):
            message = f"{len(child.columns)} columns cannot refer to {len(parent.columns)}"
            self.say(RELATIONSHIP, (*child_at, "columns"), message, "name the columns of both sides in the same order")
            return
        if self.untyped & {child.table, parent.table}:
            return
        child_table, parent_table = self.project.tables[child.table], self.project.tables[parent.table]
        if tuple(parent.columns) not in parent_table.keys:
            listed = ", ".join(parent.columns)
            message = f"{parent.table} ({listed}) is neither the primary key nor a unique set, in this order"
            fix = f"add `unique: {{{'_'.join(parent.columns)}: [{listed}]}}` to table {parent.table!r}, or refer to its key"
            self.say(RELATIONSHIP, (*parent_at, "columns"), message, fix)
        for place, (down, up) in enumerate(zip(child.columns, parent.columns, strict=True)):
            mine, theirs = child_table.columns[down], parent_table.columns[up]
            if mine.column_type != theirs.column_type:
                message = f"{child.table}.{down} is {mine.type}, {parent.table}.{up} is {theirs.type}"
                self.say(RELATIONSHIP, (*child_at, "columns", place), message, "give both the same type")
        self._relationship_actions(at, child_at, relationship, child_table)

    def _relationship_actions(self, at: Pointer, child_at: Pointer, relationship: Relationship, table: Table) -> None:
        columns = [table.columns[name] for name in relationship.child.columns]
        fixed = [column.name for column in columns if not column.is_nullable]
        for action in ("on_delete", "on_update"):
            word = getattr(relationship, action)
            if word == "set_null" and fixed:
                message = f"set_null needs columns that may be NULL; {', '.join(fixed)} may not"
                self.say(RELATIONSHIP, (*at, action), message, "make them nullable or choose another action")
            without = [column.name for column in columns if column.default is None and not column.is_nullable]
            if word == "set_default" and without:
                message = f"set_default needs a default; {', '.join(without)} has none"
                self.say(RELATIONSHIP, (*at, action), message, "add `default` or choose another action")
        if relationship.cardinality == "one-to-one" and tuple(relationship.child.columns) not in table.keys:
            listed = ", ".join(relationship.child.columns)
            message = f"one-to-one needs {relationship.child.table} ({listed}) to be unique"
            self.say(RELATIONSHIP, (*child_at, "columns"), message, "declare it unique or make the relationship many-to-one")
        optional = len(fixed) < len(columns)
        if relationship.optional is not None and relationship.optional != optional:
            words = "may be NULL" if optional else "may not be NULL"
            message = f"optional is {str(relationship.optional).lower()}, but the child's columns {words}"
            self.say(RELATIONSHIP, (*at, "optional"), message, "change `optional` or the columns' `nullable`")

    def _endpoint(self, at: Pointer, end: Endpoint) -> bool:
        table = self.project.tables.get(end.table)
        if table is None:
            guess = nearest(end.table, self.project.tables)
            self.say(RELATIONSHIP, (*at, "table"), f"there is no table {end.table!r}", guess, value=end.table)
            return False
        good = True
        for place, name in enumerate(end.columns):
            column = table.columns.get(name)
            if column is None:
                message = f"table {end.table!r} has no column {name!r}"
                self.say(RELATIONSHIP, (*at, "columns", place), message, nearest(name, table.columns), value=name)
                good = False
            elif column.generated is not None or name in end.columns[:place]:
                what = "is generated" if column.generated is not None else "stands twice"
                self.say(RELATIONSHIP, (*at, "columns", place), f"{name!r} {what}", "use stored columns, once each", value=name)
                good = False
        return good

"""The models of `project.yaml`, version 1: what the keys are called, which values they take, and what they mean together.

Shape only: reading with positions is `schemas.tables.project`, rules across tables are `schemas.tables.meaning`, SQL is
`schemas.tables.sql`. Every part keeps unknown `x-…` keys and refuses other unknown ones.

Rules that surprise:
- An empty cell is NULL, never the column's default. Defaults are for rows that SQL inserts into the live database.
- A primary key column is never NULL. Other columns may be NULL unless `nullable: false`.
- `file` lies below `data/`, because that folder is the project's source.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from schemas.tables.types import ColumnType, parse_type

VERSION = 1
Action = Literal["no_action", "restrict", "cascade", "set_null", "set_default"]
Literals = str | int | float | bool
Names = Annotated[list[str], Field(min_length=1)]


class Extensible(BaseModel):
    """One mapping of `project.yaml`. `extensions` are its `x-…` keys."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        frozen=True,
        populate_by_name=True,
        json_schema_extra={"additionalProperties": False, "patternProperties": {"^x-": {}}},
    )

    @model_validator(mode="after")
    def _only_extensions(self) -> Self:
        unknown = [key for key in self.model_extra or {} if not key.startswith("x-")]
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}")
        return self

    @property
    def extensions(self) -> dict[str, Any]:
        """The `x-…` keys and their values."""
        return dict(self.model_extra or {})


class Part(Extensible):
    """A mapping that stands under a name people chose."""

    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The key this part stands under in its mapping; empty for a part outside a project."""
        return self._name


class Computed(Extensible):
    """A default that the database computes when a row is inserted by SQL."""

    sql: Literal["current_date", "current_time", "current_timestamp"] = Field(
        description="The moment of the insert, in the spelling of the column's type."
    )


class Column(Part):
    """One column of a table."""

    type: str = Field(
        description="integer, decimal(p,s), float, text, boolean, date, time, datetime, timestamp, uuid, json, enum or blob."
    )
    title: str | None = Field(None, description="A short title for people.")
    description: str | None = Field(None, description="What the column means.")
    unit: str | None = Field(None, description="The unit of the values, such as kg.")
    nullable: bool | None = Field(None, description="Whether a cell may be empty (NULL). Default true, false in the primary key.")
    unique: bool = Field(False, description="Whether no value may stand in two rows; any number of rows may be NULL.")
    default: Computed | Literals | None = Field(
        None, description="The value of rows inserted by SQL without this column. Never applied to an empty cell."
    )
    check: str | None = Field(None, description="An SQL expression that must not be false.")
    enum: Annotated[list[Literals], Field(min_length=1)] | None = Field(None, description="The only values allowed.")
    min: str | int | float | None = Field(None, description="The least value allowed.")
    max: str | int | float | None = Field(None, description="The greatest value allowed.")
    min_length: Annotated[int, Field(ge=0)] | None = Field(None, description="The fewest characters (bytes of a blob).")
    max_length: Annotated[int, Field(ge=0)] | None = Field(None, description="The most characters (bytes of a blob).")
    pattern: str | None = Field(None, description="A regular expression (RE2) that the whole cell matches.")
    generated: str | None = Field(None, description="An SQL expression the database computes; never present in the CSV file.")
    was: str | None = Field(None, description="The name this column had before it was renamed.")
    _in_key: bool = PrivateAttr(default=False)

    @cached_property
    def column_type(self) -> ColumnType:
        """The parsed `type`. Raises TypeProblem; a Project from `read_project` has none."""
        return parse_type(self.type, tuple(str(value) for value in self.enum or ()))

    @property
    def is_nullable(self) -> bool:
        """Whether a cell may be NULL, the primary key and the default taken into account."""
        return not self._in_key and self.nullable is not False

    def cell(self, literal: Literals) -> str:
        """The canonical cell of a literal written in YAML (`default`, `enum`, `min`, `max`). Raises BadCell."""
        kind = self.column_type
        # YAML has no decimal: 1.10 arrives as the float 1.1, which its shortest spelling names exactly.
        text = literal if isinstance(literal, str) else _literal_text(literal)
        if kind.base == "decimal" and not isinstance(literal, str):
            return kind.suggest(text) or kind.format(text)
        if kind.base == "float" and isinstance(literal, int) and not isinstance(literal, bool):
            return kind.format(float(literal))
        kind.parse(text)
        return text

    @cached_property
    def allowed(self) -> frozenset[str] | None:
        """The canonical cells of `enum`, or None when every value is allowed."""
        return None if self.enum is None else frozenset(self.cell(value) for value in self.enum)

    @cached_property
    def bounds(self) -> tuple[Any, Any]:
        """`min` and `max` as Python values of the column's type, None where there is none."""
        low, high = (None if bound is None else self.column_type.parse(self.cell(bound)) for bound in (self.min, self.max))
        return low, high


class Index(Part):
    """An index of the database; it has no meaning for the text, except that a unique one is a rule."""

    columns: Names = Field(description="The indexed columns, in order.")
    unique: bool = Field(False, description="Whether no two rows may agree in all these columns.")
    where: str | None = Field(None, description="An SQL expression: only the rows it holds for are indexed.")


class Table(Part):
    """One table: its columns in order, its keys and rules, and the CSV file its rows are in."""

    title: str | None = Field(None, description="A short title for people.")
    description: str | None = Field(None, description="What one row stands for.")
    file: str | None = Field(None, description="The CSV file, below data/. Default data/<table>.csv.")
    columns: Annotated[dict[str, Column], Field(min_length=1)] = Field(description="The columns, in order.")
    primary_key: list[str] = Field(default_factory=list, description="The columns that identify a row.")
    unique: dict[str, Names] = Field(default_factory=dict, description="Named sets of columns in which no two rows agree.")
    checks: dict[str, str] = Field(default_factory=dict, description="Named SQL expressions that must not be false for a row.")
    indexes: dict[str, Index] = Field(default_factory=dict, description="Named indexes of the database.")
    order_by: Names | None = Field(None, description="The order rows are written in. Default the primary key, else as they are.")
    rows: Literal["optional", "required"] = Field("optional", description="Whether the CSV file must be there.")
    was: str | None = Field(None, description="The name this table had before it was renamed.")

    @property
    def data_file(self) -> str:
        """The path of the CSV file in the project's folder."""
        return self.file or f"data/{self.name}.csv"

    @cached_property
    def stored(self) -> dict[str, Column]:
        """The columns of the CSV file, in order: all but the generated ones."""
        return {name: column for name, column in self.columns.items() if column.generated is None}

    @cached_property
    def unique_sets(self) -> dict[str, tuple[str, ...]]:
        """Every declared set of columns that is unique over all rows, by name; the primary key is not among them."""
        sets: dict[str, tuple[str, ...]] = {name: (name,) for name, column in self.columns.items() if column.unique}
        sets.update({name: tuple(columns) for name, columns in self.unique.items()})
        for name, index in self.indexes.items():
            if index.unique and index.where is None:
                sets[f"index {name}" if name in sets else name] = tuple(index.columns)
        return sets

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """The column lists that a relationship may point at: the primary key and the unique sets."""
        return [tuple(self.primary_key)] * bool(self.primary_key) + list(self.unique_sets.values())

    @property
    def integer_key(self) -> str | None:
        """The column that is SQLite's rowid: the only primary key column when it is an integer."""
        if len(self.primary_key) == 1 and self.columns[self.primary_key[0]].column_type.base == "integer":
            return self.primary_key[0]
        return None


class Endpoint(Extensible):
    """One side of a relationship."""

    table: str = Field(description="The table.")
    columns: Names = Field(description="Its columns, in the order of the other side.")


class Relationship(Part):
    """A foreign key: every row of the child has its row in the parent, unless one of its columns is NULL (MATCH SIMPLE)."""

    from_: Endpoint = Field(alias="from", description="The table that refers (the child).")
    to: Endpoint = Field(description="The table that is referred to (the parent).")
    cardinality: Literal["many-to-one", "one-to-one", "one-to-many"] = Field(
        "many-to-one", description="How many rows of `from` belong to one of `to`. one-to-many swaps the sides."
    )
    optional: bool | None = Field(None, description="Whether a child may have no parent. Default: as its columns are nullable.")
    on_delete: Action = Field("no_action", description="What happens to the children when a parent row is deleted.")
    on_update: Action = Field("no_action", description="What happens to the children when a parent's key changes.")
    deferrable: bool = Field(False, description="Whether the database checks it only when a transaction commits.")
    title: str | None = Field(None, description="A short title for people.")
    description: str | None = Field(None, description="What the relationship means.")

    @property
    def child(self) -> Endpoint:
        """The side whose columns hold the foreign key."""
        return self.to if self.cardinality == "one-to-many" else self.from_

    @property
    def parent(self) -> Endpoint:
        """The side whose key is referred to."""
        return self.from_ if self.cardinality == "one-to-many" else self.to

    @property
    def is_self_reference(self) -> bool:
        """Whether child and parent are the same table."""
        return self.child.table == self.parent.table


class View(Part):
    """A view of the database."""

    sql: str = Field(description="One SELECT statement.")
    title: str | None = Field(None, description="A short title for people.")
    description: str | None = Field(None, description="What one row stands for.")


class About(Extensible):
    """Who made the project and what it is about."""

    name: str | None = Field(None, description="A short name.")
    title: str | None = Field(None, description="A title for people.")
    description: str | None = Field(None, description="What the project holds.")
    authors: list[str] = Field(default_factory=list, description="Who made it.")
    license: str | None = Field(None, description="The licence, as an SPDX identifier where there is one.")
    created: str | None = Field(None, description="When it was made (YYYY-MM-DD).")


class Format(Extensible):
    """How the CSV files are written."""

    null_text: Literal["", "\\N"] = Field("", description="The unquoted cell that means NULL: empty, or \\N for spreadsheets.")
    row_order: Literal["key", "file"] = Field(
        "key", description="Rows are written in the order of the key, or stay where they are."
    )


class Project(Extensible):
    """A whole `project.yaml`."""

    version: Literal[1] = Field(description="The version of the format.")
    project: About = Field(default_factory=lambda: About(), description="What the project is about.")
    format: Format = Field(default_factory=lambda: Format(), description="How the CSV files are written.")
    tables: Annotated[dict[str, Table], Field(min_length=1)] = Field(description="The tables, in order.")
    relationships: dict[str, Relationship] = Field(default_factory=dict, description="The foreign keys, by name.")
    views: dict[str, View] = Field(default_factory=dict, description="The views, by name.")

    @model_validator(mode="after")
    def _name_parts(self) -> Self:
        named: list[Mapping[str, Part]] = [self.tables, self.relationships, self.views]
        for table in self.tables.values():
            named += [table.columns, table.indexes]
            for key in table.primary_key:
                if key in table.columns:
                    table.columns[key]._in_key = True
        for parts in named:
            for name, part in parts.items():
                part._name = name
        return self

    def relationships_from(self, table: str) -> dict[str, Relationship]:
        """The relationships whose child is `table`, by name."""
        return {name: found for name, found in self.relationships.items() if found.child.table == table}

    def relationships_to(self, table: str) -> dict[str, Relationship]:
        """The relationships whose parent is `table`, by name."""
        return {name: found for name, found in self.relationships.items() if found.parent.table == table}


def _literal_text(literal: Literals) -> str:
    if isinstance(literal, bool):
        return "true" if literal else "false"
    return repr(literal) if isinstance(literal, float) else str(literal)

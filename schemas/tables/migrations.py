"""The older versions of a tables project, and the steps that bring each to the next.

A step takes and returns the files of a whole project (path in the project to bytes). The shapes of older versions live here
as long as anybody may have such a file; the current shape is `schemas.tables.model`. One frozen project per version lies in
the tests.

Version 0 had a list of columns with flags in place (`pk: true`, `unique: true`, `required: true`), types under the names of
databases (`int`, `string`), and foreign keys inline (`references: customer.id`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas import yaml_text, yaml_write
from schemas.document import Document
from schemas.errors import InvalidText
from schemas.findings import Severity, found, rule
from schemas.migrate import Migrations, Tree
from schemas.tables.model import VERSION

OLD_SHAPE = rule("tables-old-shape", Severity.ERROR, "A project of an older version has the shape of that version.")

PROJECT_FILE = "project.yaml"

_TYPES = {"int": "integer", "string": "text", "bool": "boolean", "number": "float", "bytes": "blob"}
_ACTIONS = {"cascade": "cascade", "nullify": "set_null", "restrict": "restrict"}


class _Old(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ColumnV0(_Old):
    """One column of version 0."""

    name: str
    type: str = "string"
    pk: bool = False
    unique: bool = False
    required: bool = False
    values: list[str] | None = None
    references: str | None = None
    on_delete: Literal["cascade", "nullify", "restrict"] | None = None
    description: str | None = None


class TableV0(_Old):
    """One table of version 0."""

    name: str
    file: str | None = None
    description: str | None = None
    columns: Annotated[list[ColumnV0], Field(min_length=1)]


class ProjectV0(_Old):
    """A whole project.yaml of version 0."""

    version: Literal[0]
    name: str | None = None
    description: str | None = None
    tables: Annotated[list[TableV0], Field(min_length=1)]


def validate_version_0(tree: Tree) -> None:
    """Raises InvalidText, with every finding, unless the project has the shape of version 0."""
    _read_version_0(tree)


def _read_version_0(tree: Tree) -> ProjectV0:
    document = _read(tree)
    try:
        return ProjectV0.model_validate(document.value)
    except ValidationError as invalid:
        findings = []
        for error in invalid.errors(include_url=False):
            pointer = tuple(error["loc"])
            line, column = document.position(pointer)
            name = ".".join(str(step) for step in pointer)
            message = f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]} (format version 0)"
            fix = "mend it by hand, then run `headwater migrate` again"
            findings.append(found(OLD_SHAPE, PROJECT_FILE, message, line=line, column=column, fix=fix))
        raise InvalidText(findings) from None


def from_version_0(tree: Tree) -> dict[str, bytes]:
    """Version 1 of a project of version 0: columns and tables by name, keys and relationships of their own.

    The CSV files stay as they are: their format is the same. Raises InvalidText.
    """
    old = _read_version_0(tree)
    new: dict[str, Any] = {"version": 1}
    about = {"name": old.name, "description": old.description}
    if any(about.values()):
        new["project"] = {key: value for key, value in about.items() if value is not None}
    new["tables"] = {}
    relationships: dict[str, Any] = {}
    for table in old.tables:
        made: dict[str, Any] = {}
        if table.description is not None:
            made["description"] = table.description
        if table.file is not None:
            made["file"] = table.file
        made["columns"] = {column.name: _column(column) for column in table.columns}
        key = [column.name for column in table.columns if column.pk]
        if key:
            made["primary_key"] = key
        new["tables"][table.name] = made
        for column in table.columns:
            if column.references is not None:
                relationships[f"{table.name}_{column.name}"] = _relationship(table.name, column)
    if relationships:
        new["relationships"] = relationships
    return {**tree, PROJECT_FILE: yaml_write.write(new).encode("utf-8")}


def _column(old: ColumnV0) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "enum" if old.values is not None else _TYPES.get(old.type, old.type)}
    if old.description is not None:
        made["description"] = old.description
    if old.required and not old.pk:
        made["nullable"] = False
    if old.unique:
        made["unique"] = True
    if old.values is not None:
        made["enum"] = list(old.values)
    return made


def _relationship(table: str, old: ColumnV0) -> dict[str, Any]:
    parent, _, column = str(old.references).partition(".")
    made: dict[str, Any] = {
        "from": {"table": table, "columns": [old.name]},
        "to": {"table": parent, "columns": [column or "id"]},
    }
    if old.on_delete is not None:
        made["on_delete"] = _ACTIONS[old.on_delete]
    return made


def version_of(tree: Tree) -> int:
    """The version a project says. Raises InvalidText when it says none, NewerFormat for one we do not know."""
    from schemas.tables.project import version_finding

    document = _read(tree)
    wrong = version_finding(document)
    if wrong is not None:
        raise InvalidText([wrong])
    assert isinstance(document.value, dict)
    version = document.value["version"]
    assert isinstance(version, int)
    return version


def _read(tree: Tree) -> Document:
    if PROJECT_FILE not in tree:
        raise InvalidText([found(OLD_SHAPE, PROJECT_FILE, "there is no project.yaml", fix="run `headwater tables init`")])
    return yaml_text.read(tree[PROJECT_FILE], PROJECT_FILE)


MIGRATIONS = Migrations("tables", current=VERSION, version_of=version_of)
MIGRATIONS.register(0, check=validate_version_0)(from_version_0)
MIGRATIONS.seal()


def migrate_tree(tree: Tree, path: str = PROJECT_FILE) -> dict[str, bytes]:
    """The files of a project in the current version; `path` is what findings call its project.yaml.

    Raises InvalidText when the text before or after a step breaks a rule, NewerFormat for a version we do not know.
    """
    from schemas.tables.project import read_project

    try:
        after = MIGRATIONS.load(tree)
    except InvalidText as invalid:
        raise InvalidText([replace(finding, path=path) for finding in invalid.findings]) from None
    if after != dict(tree):
        read_project(after[PROJECT_FILE], path)
    return after

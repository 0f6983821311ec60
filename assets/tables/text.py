"""A tables project as its recipes meet it: is a folder one, what is wrong with its text, which file holds which table.

The rules of the text are in `schemas.tables`, reading and editing it in `resources.tables`; here they are put behind the
functions that the kind's declaration names, and behind the view of a build.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import TYPE_CHECKING, Any, NoReturn

from resources.storage.base import Storage
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.engine.view import View
    from assets.tables.load import TableText
    from schemas.tables.model import Project

PROJECT_FILE = "project.yaml"
KEPT_FOLDER = ".playground"
"""The folder in which a project's own backups lie."""
_RECOGNISE_LIMIT = 16 << 20
_HEAD = 1 << 16
"""Bytes of a larger file that are looked at."""
_TOP_KEY = re.compile(rb"""^(?:\xef\xbb\xbf)?["']?(version|tables)["']?[ \t]*:""", re.MULTILINE)

_TOO_MUCH = ("text-too-large", "text-too-many-values")
_NO_TOP_LINES = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*|---[ \t]*)?\r?\n)*[ \t]*(?:\{|[ \t]\S)")
"""The beginning of a document in braces, or of one that is indented as a whole."""


def recognise(storage: Storage, marker: str) -> str | None:
    """The project folder when `marker` is a `project.yaml` of ours, else None.

    Ours is one with `version` and `tables` at the top level. Only the lines are looked at: a file that does not parse must
    still be a project, with a finding, and other tools have files of this name too. One that is written in braces (JSON is
    YAML) or indented as a whole has no such lines and must parse. A project's backups in `.playground/` are not projects.
    """
    folder, _, name = marker.rpartition("/")
    stat = storage.stat(marker)
    if name != PROJECT_FILE or KEPT_FOLDER in folder.split("/") or stat is None:
        return None
    if stat.size > _RECOGNISE_LIMIT:
        with storage.open(marker) as stream:
            keys = {match[1] for match in _TOP_KEY.finditer(stream.read(_HEAD))}
        if keys != {b"version", b"tables"}:
            return None
        # Ours, or it would vanish from the workspace without a word; too large to be read by anything.
        raise HeadwaterError(
            f"it is larger than {_RECOGNISE_LIMIT >> 20} MiB", rule="text-too-large", fix="keep rows in CSV files"
        )
    data = _as_utf8(storage.read(marker))
    keys = {match[1] for match in _TOP_KEY.finditer(data)}
    return folder if keys == {b"version", b"tables"} or (not keys and _parses_as_ours(data, marker)) else None


def _as_utf8(data: bytes) -> bytes:
    """`data` as it should have been saved: a project that an editor wrote as UTF-16 is one, with a finding."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode()
    return data


def _parses_as_ours(data: bytes, path: str) -> bool:
    if not _NO_TOP_LINES.match(data):
        return False
    from schemas import yaml_text

    try:
        value = yaml_text.read(data, path).value
    except InvalidText as error:
        # Too large to be parsed, it is a finding of a project that has both keys, or it would vanish without a word.
        return error.rule in _TOO_MUCH and all(key in data for key in (b"version", b"tables"))
    return isinstance(value, dict) and {"version", "tables"} <= value.keys()


def check(storage: Storage, root: str) -> list[Finding]:
    """Everything wrong with the project's text, cells, keys and relationships included.

    Rows that the fast tier proves to be without any finding are not read a second time by the strict one.
    """
    from assets.tables.proof import nothing_to_find
    from resources.tables.store import TablesStore

    return TablesStore(storage, root).check(proven=lambda project, files: nothing_to_find(storage, project, files))


def open_project(view: View) -> tuple[Project, dict[str, TableText]]:
    """The project of a build and, by name, each table with its file.

    Raises InvalidText when `project.yaml` breaks a rule or a file that must exist does not.
    """
    from assets.tables.load import TableText
    from resources.tables.store import obstructed
    from schemas.tables.project import read_project

    project = read_project(view.read("project", PROJECT_FILE), view.workspace_path(PROJECT_FILE))
    present = {unicodedata.normalize("NFC", file.path): file.path for file in view.files("data")}
    present.update({file.path: file.path for file in view.files("data")})
    texts = {}
    for name, table in project.tables.items():
        # A file may have come from a system that writes names in another Unicode form.
        actual = present.get(table.data_file) or present.get(unicodedata.normalize("NFC", table.data_file))
        if actual is None and (table.rows == "required" or obstructed(view.storage, view.workspace_path(table.data_file))):
            refuse(view, HeadwaterError(f"{table.data_file} is missing or no regular file"))
        path = None if actual is None else view.local("data", actual)
        texts[name] = TableText(project, table, path, view.workspace_path(actual or table.data_file))
    return project, texts


def refuse(view: View, problem: Exception) -> NoReturn:
    """Raise InvalidText with all that is wrong with the text of a build in which `problem` turned up.

    Raises `problem` itself, as a HeadwaterError, in the case that the text check finds nothing.
    """
    from resources.tables.store import TablesStore

    findings = [finding for finding in TablesStore(view.storage, view.root).check() if finding.blocking]
    if findings:
        raise InvalidText(findings) from None
    view.verify()
    if isinstance(problem, HeadwaterError):
        raise problem
    raise HeadwaterError(
        f"a database refuses what the text check accepts: {problem}",
        path=view.workspace_path(PROJECT_FILE),
        rule="tables-refused-by-database",
        fix="report this project as a bug in Headwater",
    ) from problem


def catalog(storage: Storage, root: str) -> dict[str, pa.Table]:
    """The project's schema as small tables for the workspace catalog: `tables`, `columns`, `relationships`.

    Raises InvalidText when `project.yaml` cannot be read.
    """
    import pyarrow as pa

    from schemas.tables.project import read_project

    path = f"{root}/{PROJECT_FILE}" if root else PROJECT_FILE
    project = read_project(storage.read(path), path)
    text, flag = pa.string(), pa.bool_()
    tables = [
        {"table": name, "title": table.title, "description": table.description, "file": table.data_file, "key": table.primary_key}
        for name, table in project.tables.items()
    ]
    columns = [
        {
            "table": name,
            "position": position,
            "column": key,
            "type": column.type,
            "nullable": column.is_nullable,
            "in_key": key in table.primary_key,
            "title": column.title,
            "unit": column.unit,
            "description": column.description,
        }
        for name, table in project.tables.items()
        for position, (key, column) in enumerate(table.columns.items(), 1)
    ]
    relationships = [
        {
            "relationship": name,
            "child": found.child.table,
            "child_columns": found.child.columns,
            "parent": found.parent.table,
            "parent_columns": found.parent.columns,
            "cardinality": found.cardinality,
            "on_delete": found.on_delete,
            "on_update": found.on_update,
        }
        for name, found in project.relationships.items()
    ]
    names = pa.list_(text)
    return {
        "tables": _records(tables, table=text, title=text, description=text, file=text, key=names),
        "columns": _records(
            columns,
            table=text,
            position=pa.int32(),
            column=text,
            type=text,
            nullable=flag,
            in_key=flag,
            title=text,
            unit=text,
            description=text,
        ),
        "relationships": _records(
            relationships,
            relationship=text,
            child=text,
            child_columns=names,
            parent=text,
            parent_columns=names,
            cardinality=text,
            on_delete=text,
            on_update=text,
        ),
    }


def _records(rows: list[dict[str, Any]], **types: pa.DataType) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, pa.schema(list(types.items())))

"""Reading and writing `project.yaml`: every finding at once, each at its line and column.

The models are `schemas.tables.model`, the rules across them `schemas.tables.meaning`; this module joins them with the text.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas import yaml_text, yaml_write
from schemas.document import Document
from schemas.errors import InvalidText, NewerFormat
from schemas.findings import Finding, Severity, found, rule
from schemas.tables.compiling import Pointer
from schemas.tables.meaning import Examiner
from schemas.tables.model import VERSION, Project

__all__ = ["Project", "examine_project", "read_project", "write_project"]

UNKNOWN_KEY = rule("tables-unknown-key", Severity.ERROR, "project.yaml has only known keys; free keys begin with x-.")
MISSING_KEY = rule("tables-missing-key", Severity.ERROR, "project.yaml has every key its parts need.")
VERSION_RULE = rule("tables-version", Severity.ERROR, "project.yaml says its format version as a whole number.")
VALUE = rule("tables-value", Severity.ERROR, "Values of project.yaml have the shape their key asks for.")


def read_project(data: bytes, path: str) -> Project:
    """The project in `data`; older versions are migrated in memory. `path` is shown in findings.

    Raises InvalidText with every finding of the text, NewerFormat for a version we do not know.
    """
    project, findings = examine_project(data, path)
    if project is None or any(finding.blocking for finding in findings):
        raise InvalidText(findings)
    return project


def examine_project(data: bytes, path: str) -> tuple[Project | None, list[Finding]]:
    """(the project, or None when its text cannot be understood, all findings). Raises NewerFormat."""
    try:
        document = yaml_text.read(data, path)
    except InvalidText as invalid:
        return None, list(invalid.findings)
    findings = list(document.warnings)
    wrong = version_finding(document)
    if wrong is not None:
        return None, [wrong, *findings]
    assert isinstance(document.value, dict)
    migrated = document.value["version"] != VERSION
    if migrated:
        from schemas.tables.migrations import MIGRATIONS

        try:
            tree = MIGRATIONS.load({"project.yaml": data})
        except InvalidText as invalid:
            return None, [replace(finding, path=path) for finding in invalid.findings]
        document = yaml_text.read(tree["project.yaml"], path)
    value = _plain(document.value)
    assert isinstance(value, dict)

    def place(pointer: Pointer, key: bool) -> tuple[int, int] | tuple[None, None]:
        # The lines of a migrated text are not those of the file.
        if migrated:
            return None, None
        return document.key_position(pointer) if key else document.position(pointer)

    for pointer, message, fix in _strip_unknown(Project, value, ()):
        line, column = place(pointer, True)
        findings.append(found(UNKNOWN_KEY, path, message, line=line, column=column, fix=fix, value=str(pointer[-1])))
    try:
        project = Project.model_validate(value)
    except ValidationError as invalid:
        findings += _shape_findings(invalid, document, path, place)
        return None, sorted(findings)
    findings += Examiner(project, path, place).examine()
    return project, sorted(findings)


def version_finding(document: Document) -> Finding | None:
    """What is wrong with the version of a project, None when it can be read (now or after migrating).

    Raises NewerFormat for a version we do not know, before anything else of the file is looked at.
    """
    path, value = document.path, document.value
    fix = f"write `version: {VERSION}` as the first line"
    if not isinstance(value, dict):
        return found(VALUE, path, "project.yaml is not a mapping", line=1, column=1, fix=fix)
    if "version" not in value:
        return found(VERSION_RULE, path, "the file says no `version`", line=1, column=1, fix=fix)
    version = value["version"]
    line, column = document.position(("version",))
    message = None
    if isinstance(version, bool):
        message = f"version is the boolean {str(version).lower()}, not a whole number"
    elif isinstance(version, str):
        message = f"version is the text {version!r}, not a whole number"
    elif isinstance(version, float):
        message = f"version is {version!r}, with a decimal point; versions are whole numbers"
    elif not isinstance(version, int):
        message = "version is empty" if version is None else "version is not a whole number"
    elif version < 0:
        message = f"version is {version}; the first version was 0"
    elif version > VERSION:
        raise NewerFormat(
            f"the project has format version {version}; this Headwater reads up to {VERSION}",
            fix="update Headwater; the file was not touched",
            rule=VERSION_RULE.id,
            path=path,
            line=line,
            column=column,
        )
    if message is None:
        return None
    return found(VERSION_RULE, path, message, line=line, column=column, fix=fix, value=str(version))


def write_project(project: Project) -> str:
    """The canonical text of a project: only what was set, in the order of the format."""
    return yaml_write.write(project_tree(project))


def project_tree(project: Project) -> dict[str, Any]:
    """The project as plain values, in the order it is written."""
    tree: dict[str, Any] = project.model_dump(by_alias=True, exclude_unset=True, mode="json")
    order = [*Project.model_fields, *sorted(project.extensions)]
    return {"version": VERSION, **{key: tree[key] for key in order if key in tree and key != "version"}}


def _plain(value: Any) -> Any:
    """A copy that may be changed."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _strip_unknown(model: type[BaseModel], value: Any, at: Pointer) -> Iterator[tuple[Pointer, str, str]]:
    """Removes unknown keys, yielding (pointer, message, fix) of each, so that the rest is still examined."""
    if not isinstance(value, dict):
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key in list(value):
        if key in fields:
            yield from _strip_below(fields[key].annotation, value[key], (*at, key))
        elif not key.startswith("x-"):
            close = difflib.get_close_matches(key, fields, n=1, cutoff=0.6)
            fix = f"write `{close[0]}`" if close else f"use one of {', '.join(fields)}, or begin the key with x-"
            yield (*at, key), f"unknown key {key!r}", fix
            del value[key]


def _strip_below(annotation: Any, value: Any, at: Pointer) -> Iterator[tuple[Pointer, str, str]]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _strip_below(arguments[0], value, at)
    elif origin in (typing.Union, types.UnionType):
        for option in arguments:
            yield from _strip_below(option, value, at)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _strip_below(arguments[1], item, (*at, key))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _strip_unknown(annotation, value, at)


_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _shape_findings(invalid: ValidationError, document: Document, path: str, place: Any) -> list[Finding]:
    grouped: dict[Pointer, list[Any]] = {}
    for error in invalid.errors(include_url=False, include_input=True):
        pointer = _known_part(document.value, error["loc"], error["type"] == "missing")
        grouped.setdefault(pointer, []).append(error)
    findings = []
    for pointer, errors in grouped.items():
        first = errors[0]
        if first["type"] == "missing":
            line, column = place(pointer[:-1], True)
            message, broken = f"the key `{pointer[-1]}` is missing", MISSING_KEY
            fix = f"add `{pointer[-1]}`"
        else:
            line, column = place(pointer, False)
            wanted = list(dict.fromkeys(_WORDS[error["type"]] for error in errors if error["type"] in _WORDS))
            name = f"`{pointer[-1]}`" if pointer else "the file"
            broken = VALUE
            if wanted:
                message = f"{name} is not {' or '.join(wanted)}"
            else:
                message = f"{name}: {_lower(first['msg'])}"
            fix = _shape_fix(pointer, first)
        value = first.get("input")
        shown_value = value if isinstance(value, str) else None
        findings.append(found(broken, path, message, line=line, column=column, fix=fix, value=shown_value))
    return findings


def _shape_fix(pointer: Pointer, error: Any) -> str:
    if error["type"] == "literal_error":
        given = error["input"]
        if pointer[-1] == "cardinality" and given == "many-to-many":
            return "make a junction table and two many-to-one relationships"
        options = [option.strip("'") for option in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
        close = difflib.get_close_matches(str(given), options, n=1, cutoff=0.6)
        return f"write {close[0]}" if close else f"write one of {', '.join(options)}"
    if error["type"] == "string_type" and error["input"] is not None and not isinstance(error["input"], (dict, list)):
        return "write it between double quotes"
    return "see the guide of the tables kind for the shape of this key"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _known_part(value: Any, location: tuple[int | str, ...], missing: bool) -> Pointer:
    """The longest start of a pydantic location that exists in the document (union members add names of their own)."""
    at: list[str | int] = []
    for step in location:
        inside = step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        if not inside:
            return (*at, location[-1]) if missing else tuple(at)
        value = value[step]
        at.append(step)
    return tuple(at)

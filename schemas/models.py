"""From a document to a pydantic model: every error of the model as a finding at the line and column it comes from."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.document import Document, Pointer, Value
from schemas.errors import InvalidText
from schemas.findings import Finding, Severity, found, rule

UNKNOWN_KEY = rule("model-unknown-key", Severity.ERROR, "Only keys that mean something are written.")
MISSING_KEY = rule("model-missing-key", Severity.ERROR, "Keys that are required are there.")
WRONG_VALUE = rule("model-value", Severity.ERROR, "Every value has its declared type and range.")

Model = TypeVar("Model", bound=BaseModel)

_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def validate(model: type[Model], document: Document) -> Model:
    """`document` as a `model`; raises InvalidText with all findings: unknown keys (with the nearest known one), missing
    keys, wrong values."""
    try:
        return model.model_validate(document.value)
    except ValidationError as invalid:
        raise InvalidText(_findings(model, document, invalid)) from None


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word `word` was probably meant to be."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None


def _findings(model: type[BaseModel], document: Document, invalid: ValidationError) -> list[Finding]:
    grouped: dict[Pointer, list[Any]] = {}
    for error in invalid.errors(include_url=False):
        grouped.setdefault(_pointer(document.value, error["loc"]), []).append(error)
    findings = []
    for pointer, errors in grouped.items():
        first = errors[0]
        name = ".".join(str(part) for part in pointer)
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, pointer[:-1])
            close = nearest(str(pointer[-1]), known)
            line, column = document.key_position(pointer)
            fix = f"write {close}" if close else f"use one of {', '.join(known)}" if known else "remove it"
            message = f"{name} is not a known key"
            findings.append(
                found(
                    UNKNOWN_KEY,
                    document.path,
                    message,
                    line=line,
                    column=column,
                    fix=fix,
                    value=str(pointer[-1]),
                    replacement=close,
                )
            )
        elif first["type"] == "missing":
            name = ".".join(str(part) for part in first["loc"])
            line, column = document.key_position(pointer)
            fix = f"add {first['loc'][-1]}"
            findings.append(found(MISSING_KEY, document.path, f"{name} is missing", line=line, column=column, fix=fix))
        else:
            wanted = list(dict.fromkeys(_WORDS[error["type"]] for error in errors if error["type"] in _WORDS))
            text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ")
            message = f"{name} is not {' or '.join(wanted)}" if wanted else f"{name}: {text[:1].lower()}{text[1:]}"
            line, column = document.position(pointer)
            span = document.span(pointer)
            shown = None if "password" in text else document.text[span.start : span.end]
            findings.append(
                found(WRONG_VALUE, document.path, message, line=line, column=column, fix="correct the value", value=shown)
            )
    return findings


def _pointer(value: Value, location: Sequence[int | str]) -> Pointer:
    """The part of a pydantic location that exists in the document; members of unions add names of their own to it."""
    at: list[int | str] = []
    for part in location:
        try:
            value = value[part]  # type: ignore[index]  # a wrong kind of key is a TypeError
        except (LookupError, TypeError):
            break
        at.append(part)
    return tuple(at)


def _known_keys(model: type[BaseModel], pointer: Pointer) -> list[str]:
    """The keys of the model that `pointer` leads to, through fields and through mappings of models."""
    schema = model.model_json_schema()
    node: dict[str, Any] = schema
    for part in pointer:
        node = _resolved(schema, node)
        properties = node.get("properties", {})
        node = properties[part] if part in properties else node.get("additionalProperties") or node.get("items") or {}
        if not isinstance(node, dict):
            return []
    return list(_resolved(schema, node).get("properties", {}))


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif choices := [choice for choice in node.get("anyOf", []) if choice.get("type") != "null"]:
            node = choices[0]
        else:
            return node

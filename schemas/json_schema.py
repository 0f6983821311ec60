"""JSON Schemas for editors, generated from the models, so that typing in a project file completes and checks itself.

Which files have a schema is listed here; the models are elsewhere and imported when a schema is asked for.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

FILES = {
    "headwater.toml": ("headwater-workspace", "schemas.workspace:WorkspaceConfig"),
    "project.yaml": ("headwater-tables-project", "schemas.tables.model:Project"),
}
"""File name to (schema name, model) for every format people edit by hand."""


def json_schema(file: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file format by the name of its file; raises KeyError for others."""
    name, model = FILES[file]
    module, _, attribute = model.partition(":")
    schema = getattr(importlib.import_module(module), attribute).model_json_schema(by_alias=True, mode="validation")
    title = schema.pop("title", name)
    return {"$schema": DIALECT, "$id": f"urn:{name}", "title": title, **schema}


def schema_text(file: str) -> str:
    """The schema as the text of a JSON file."""
    return json.dumps(json_schema(file), indent=2, ensure_ascii=False) + "\n"

"""Frictionless Data Packages (datapackage.json, version 2): the part that both they and a project can say, the rest under
`x-headwater`.

Exporting and importing again gives the same project. What other tools will not understand of an export, and what a project
cannot say of a foreign package, is listed for people. Format: https://datapackage.org/standard/data-package/ and
https://datapackage.org/standard/table-schema/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.errors import HeadwaterError
from schemas.tables.infer import clean_names
from schemas.tables.model import Project, Relationship, Table
from schemas.tables.project import project_tree

PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
OURS = "x-headwater"

_FIELD_TYPES: Mapping[tuple[str, str], str] = {
    ("integer", "default"): "integer",
    ("year", "default"): "integer",
    ("number", "default"): "float",
    ("string", "default"): "text",
    ("string", "uuid"): "uuid",
    ("string", "binary"): "blob",
    ("boolean", "default"): "boolean",
    ("date", "default"): "date",
    ("time", "default"): "time",
    ("datetime", "default"): "datetime",
    ("object", "default"): "json",
    ("array", "default"): "json",
}
_TEXT_TYPES = {"string", "any", "yearmonth", "duration", "geopoint", "geojson", "list"}
_CONSTRAINTS = {"minimum": "min", "maximum": "max", "minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_FIELD_KEYS = {"name", "type", "format", "title", "description", "constraints", "example", "rdfType", OURS}


def export_datapackage(project: Project) -> tuple[dict[str, Any], list[str]]:
    """(the descriptor, what tools that only know the standard will not see)."""
    tree = project_tree(project)
    lost: list[str] = []
    about = project.project
    described: dict[str, Any] = {"$schema": PROFILE}
    for key, value in (
        ("name", about.name),
        ("title", about.title),
        ("description", about.description),
        ("created", about.created),
    ):
        if value is not None:
            described[key] = value
    if about.license is not None:
        described["licenses"] = [{"name": about.license}]
    if about.authors:
        described["contributors"] = [{"title": author} for author in about.authors]
    described["resources"] = [_resource(project, name, tree["tables"][name], lost) for name in project.tables]
    ours = {key: tree[key] for key in tree if key not in {"version", "project", "tables", "relationships"}}
    extensions = about.extensions
    described[OURS] = {"version": 1, **({"project": extensions} if extensions else {}), **ours}
    lost += [f"view {name!r}" for name in project.views]
    return described, lost


def _resource(project: Project, name: str, tree: dict[str, Any], lost: list[str]) -> dict[str, Any]:
    table = project.tables[name]
    made: dict[str, Any] = {"name": name, "type": "table", "path": table.data_file}
    made.update({key: tree[key] for key in ("title", "description") if key in tree})
    made.update({"scheme": "file", "format": "csv", "mediatype": "text/csv", "encoding": "utf-8"})
    schema: dict[str, Any] = {
        "fields": [_field(table, key, tree["columns"][key], lost) for key in table.stored],
        "missingValues": [project.format.null_text],
    }
    if table.primary_key:
        schema["primaryKey"] = list(table.primary_key)
    if table.unique:
        schema["uniqueKeys"] = [list(columns) for columns in table.unique.values()]
    keys = [_foreign_key(name, label, found, lost) for label, found in project.relationships_from(name).items()]
    if keys:
        schema["foreignKeys"] = keys
    made["schema"] = schema
    ours = {key: tree[key] for key in tree if key not in {"title", "description", "file", "columns", "primary_key", "unique"}}
    if table.unique:
        ours["unique"] = list(table.unique)
    generated = {key: tree["columns"][key] for key, column in table.columns.items() if column.generated is not None}
    if generated:
        ours["generated"] = generated
        ours["order"] = list(table.columns)
    if ours:
        made[OURS] = ours
    lost += [f"check {label!r} of {name}" for label in table.checks]
    lost += [f"index {label!r} of {name}" for label in table.indexes]
    lost += [f"generated column {name}.{key}" for key in generated]
    return made


def _field(table: Table, name: str, tree: dict[str, Any], lost: list[str]) -> dict[str, Any]:
    column = table.columns[name]
    kind = column.column_type
    made: dict[str, Any] = {"name": name, **{key: value for key, value in kind.table_schema.items() if key != "constraints"}}
    made.update({key: tree[key] for key in ("title", "description") if key in tree})
    constraints: dict[str, Any] = {}
    if not column.is_nullable:
        constraints["required"] = True
    if column.unique:
        constraints["unique"] = True
    if "enum" in tree:
        constraints["enum"] = list(tree["enum"])
    constraints.update({theirs: tree[mine] for theirs, mine in _CONSTRAINTS.items() if mine in tree})
    if constraints:
        made["constraints"] = constraints
    ours: dict[str, Any] = {key: tree[key] for key in ("unit", "default", "check", "was") if key in tree}
    plain = _plain_type(made.get("type", ""), made.get("format", "default"))
    if (_with_choices(plain, constraints) if plain else plain) != kind.name:
        ours["type"] = kind.name
    if column.nullable is not None and (column.nullable or name in table.primary_key):
        ours["nullable"] = column.nullable
    if ours:
        made[OURS] = ours
    made.update(column.extensions)
    for key in ("default", "check"):
        if key in ours:
            lost.append(f"{key} of {table.name}.{name}")
    return made


def _with_choices(kind: str, constraints: Mapping[str, Any]) -> str:
    """The type of a text column once its choices are known."""
    values = constraints.get("enum") or []
    return "enum" if kind == "text" and values and all(isinstance(value, str) for value in values) else kind


def _plain_type(kind: str, form: str) -> str | None:
    return _FIELD_TYPES.get((kind, form))


def _foreign_key(table: str, name: str, found: Relationship, lost: list[str]) -> dict[str, Any]:
    reference: dict[str, Any] = {"fields": list(found.parent.columns)}
    if found.parent.table != table:
        reference["resource"] = found.parent.table
    ours = found.model_dump(by_alias=True, exclude_unset=True, exclude={"from_", "to"})
    for action in ("on_delete", "on_update"):
        if action in ours:
            lost.append(f"{action} of relationship {name!r}")
    return {"fields": list(found.child.columns), "reference": reference, OURS: {"name": name, **ours}}


def import_datapackage(described: Mapping[str, Any], path: str = "datapackage.json") -> tuple[dict[str, Any], list[str]]:
    """(a tree for project.yaml, what of the package a project cannot say).

    Raises HeadwaterError (rule `tables-datapackage`) when there is no table in it.
    """
    notes: list[str] = []
    ours = _mapping(described.get(OURS))
    about: dict[str, Any] = {key: described[key] for key in ("name", "title", "description", "created") if key in described}
    licenses = [entry.get("name") or entry.get("path") for entry in _mappings(described.get("licenses"))]
    if licenses:
        about["license"] = licenses[0]
        notes += [f"licence {name}" for name in licenses[1:]]
    authors = [entry.get("title") or entry.get("name") for entry in _mappings(described.get("contributors"))]
    if any(authors):
        about["authors"] = [author for author in authors if author]
    about.update(_mapping(ours.get("project")))
    tree: dict[str, Any] = {"version": 1}
    if about:
        tree["project"] = about
    tree.update(
        {key: value for key, value in ours.items() if key not in {"version", "project", "views"} and not key.startswith("x-")}
    )
    resources = [entry for entry in _mappings(described.get("resources")) if _usable(entry, notes)]
    if not resources:
        raise HeadwaterError(
            "the package has no table with a schema", path=path, rule="tables-datapackage", fix="name another file"
        )
    names = dict(
        zip([str(entry["name"]) for entry in resources], clean_names(str(entry["name"]) for entry in resources), strict=True)
    )
    tree["tables"] = {names[str(entry["name"])]: _table(names[str(entry["name"])], entry, notes) for entry in resources}
    relationships: dict[str, Any] = {}
    for entry in resources:
        for foreign in _mappings(_mapping(entry["schema"]).get("foreignKeys")):
            _relationship(names, str(entry["name"]), foreign, relationships, notes)
    if relationships:
        tree["relationships"] = relationships
    for key in ("views", *sorted(key for key in ours if key.startswith("x-"))):
        if key in ours:
            tree[key] = ours[key]
    return tree, notes


def table_paths(described: Mapping[str, Any]) -> list[str]:
    """The path of each resource that `import_datapackage` makes a table of, in the order of the tables."""
    return [str(entry["path"]) for entry in _mappings(described.get("resources")) if _usable(entry, [])]


def _usable(entry: Mapping[str, Any], notes: list[str]) -> bool:
    name = str(entry.get("name", entry.get("path", "?")))
    schema = entry.get("schema")
    if not isinstance(schema, Mapping) or not _mappings(schema.get("fields")):
        notes.append(f"resource {name!r}: it has no table schema of its own")
        return False
    if not isinstance(entry.get("path"), str) or "name" not in entry:
        notes.append(f"resource {name!r}: it is not one file")
        return False
    if entry.get("dialect") or str(entry.get("encoding", "utf-8")).lower() not in {"utf-8", "utf8"}:
        notes.append(f"resource {name!r}: dialect or encoding; save it as comma-separated UTF-8")
    if schema.get("missingValues", [""]) not in ([""], ["\\N"]):
        notes.append(f"resource {name!r}: missing values {schema['missingValues']}; only empty cells are NULL")
    return True


def _table(name: str, entry: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    schema = _mapping(entry["schema"])
    ours = _mapping(entry.get(OURS))
    made: dict[str, Any] = {key: entry[key] for key in ("title", "description") if key in entry}
    path = str(entry["path"])
    if path != f"data/{name}.csv":
        made["file"] = path if path.startswith("data/") else f"data/{path.rpartition('/')[2]}"
    key = schema.get("primaryKey", [])
    key = [key] if isinstance(key, str) else list(key)
    columns = {str(field["name"]): _column(name, field, key, notes) for field in _mappings(schema["fields"])}
    generated = _mapping(ours.get("generated"))
    order = ours.get("order") or [*columns, *generated]
    everything = {**columns, **generated}
    made["columns"] = {column: everything[column] for column in order if column in everything}
    if key:
        made["primary_key"] = key
    sets = [[item] if isinstance(item, str) else list(item) for item in schema.get("uniqueKeys", [])]
    labels = list(ours.get("unique") or ["_".join(columns) for columns in sets])
    if sets:
        made["unique"] = dict(zip(labels, sets, strict=False))
    made.update({key: value for key, value in ours.items() if key not in {"unique", "generated", "order"}})
    made.update({key: value for key, value in entry.items() if key.startswith("x-") and key != OURS})
    return made


def _column(table: str, field: Mapping[str, Any], key: list[str], notes: list[str]) -> dict[str, Any]:
    name = str(field["name"])
    ours = _mapping(field.get(OURS))
    constraints = _mapping(field.get("constraints"))
    kind = ours.get("type") or _import_type(table, field, notes)
    made: dict[str, Any] = {"type": kind}
    made.update({label: field[label] for label in ("title", "description") if label in field})
    if "nullable" in ours:
        made["nullable"] = ours["nullable"]
    elif constraints.get("required") and name not in key:
        made["nullable"] = False
    if constraints.get("unique"):
        made["unique"] = True
    if constraints.get("enum"):
        made["enum"] = list(constraints["enum"])
        made["type"] = kind if "type" in ours else _with_choices(kind, constraints)
    made.update({mine: constraints[theirs] for theirs, mine in _CONSTRAINTS.items() if theirs in constraints})
    made.update({label: value for label, value in ours.items() if label not in {"type", "nullable"}})
    for label, value in field.items():
        if label.startswith("x-") and label != OURS:
            made[label] = value
        elif label not in _FIELD_KEYS:
            notes.append(f"{table}.{name}: {label} {value!r}")
    return made


def _import_type(table: str, field: Mapping[str, Any], notes: list[str]) -> str:
    kind, form = str(field.get("type", "string")), str(field.get("format", "default"))
    known = _plain_type(kind, form)
    if known is not None:
        return known
    if kind == "datetime" and form == "any":
        return "datetime"
    if kind not in _TEXT_TYPES or form not in {"default", "email", "uri"}:
        notes.append(f"{table}.{field['name']}: type {kind} with format {form} becomes text")
    return "text"


def _relationship(names: Mapping[str, str], table: str, key: Mapping[str, Any], made: dict[str, Any], notes: list[str]) -> None:
    ours = dict(_mapping(key.get(OURS)))
    reference = _mapping(key.get("reference"))
    parent = reference.get("resource") or table
    fields, parents = (
        [value] if isinstance(value, str) else list(value or []) for value in (key.get("fields"), reference.get("fields"))
    )
    if parent not in names or not fields or not parents:
        notes.append(f"{table}: a foreign key to {parent!r}, which is no table here")
        return
    wanted = str(ours.pop("name", f"{names[table]}_{'_'.join(fields)}"))
    child, upper = {"table": names[table], "columns": fields}, {"table": names[parent], "columns": parents}
    if ours.get("cardinality") == "one-to-many":
        child, upper = upper, child
    made[clean_names([*made, wanted])[-1]] = {"from": child, "to": upper, **ours}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

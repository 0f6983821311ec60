"""CSV on the Web metadata (CSVW) as a project: tables, columns with types and constraints, primary and foreign keys.

Import only, of the part a project can say; the rest is listed for people. Columns are called as the header of the file calls
them (their titles), because the header is what a project reads by. Format: https://www.w3.org/TR/tabular-metadata/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.errors import HeadwaterError
from schemas.tables.infer import clean_names

CONTEXT = "http://www.w3.org/ns/csvw"

_TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ["integer", "long", "int", "short", "byte", "unsignedInt", "unsignedShort", "unsignedByte", "unsignedLong"], "integer"
    ),
    **dict.fromkeys(["nonNegativeInteger", "positiveInteger", "nonPositiveInteger", "negativeInteger"], "integer"),
    **dict.fromkeys(["number", "double", "float", "decimal"], "float"),
    **dict.fromkeys(
        ["string", "normalizedString", "token", "anyURI", "language", "Name", "NMTOKEN", "any", "anyAtomicType"], "text"
    ),
    **dict.fromkeys(["xml", "html", "gYear", "gYearMonth", "gMonth", "gMonthDay", "gDay", "duration", "QName"], "text"),
    "boolean": "boolean",
    "date": "date",
    "time": "time",
    "dateTime": "datetime",
    "datetime": "datetime",
    "dateTimeStamp": "timestamp",
    "json": "json",
    "base64Binary": "blob",
    "binary": "blob",
}
_LEAST = {
    "nonNegativeInteger": 0,
    "positiveInteger": 1,
    "unsignedInt": 0,
    "unsignedShort": 0,
    "unsignedByte": 0,
    "unsignedLong": 0,
}
_LIMITS = {
    "minimum": "min",
    "minInclusive": "min",
    "maximum": "max",
    "maxInclusive": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
}


def is_csvw(described: Mapping[str, Any]) -> bool:
    """Whether a JSON object is CSVW metadata."""
    context = described.get("@context")
    return context == CONTEXT or (isinstance(context, list) and CONTEXT in context)


def import_csvw(described: Mapping[str, Any], path: str = "csvw.json") -> tuple[dict[str, Any], list[str], list[str]]:
    """(a tree for project.yaml, the path of each table's file in their order, what a project cannot say).

    Raises HeadwaterError (rule `tables-csvw`) when there is no table with columns in it.
    """
    notes: list[str] = []
    entries = _mappings(described.get("tables")) or [described]
    entries = [entry for entry in entries if _usable(entry, notes)]
    if not entries:
        raise HeadwaterError("the metadata has no table with columns", path=path, rule="tables-csvw", fix="name another file")
    urls = [str(entry["url"]) for entry in entries]
    names = clean_names(url.rpartition("/")[2].removesuffix(".csv") for url in urls)
    tables: dict[str, Any] = {}
    columns: dict[str, dict[str, str]] = {}
    for name, entry in zip(names, entries, strict=True):
        tables[name], columns[str(entry["url"])] = _table(name, entry, notes)
    tree: dict[str, Any] = {"version": 1}
    about = {key: _text(described.get(f"dc:{key}")) for key in ("title", "description", "license")}
    if any(about.values()):
        tree["project"] = {key: value for key, value in about.items() if value}
    tree["tables"] = tables
    relationships: dict[str, Any] = {}
    by_url = dict(zip(urls, names, strict=True))
    for url, entry in zip(urls, entries, strict=True):
        for key in _mappings(_mapping(entry["tableSchema"]).get("foreignKeys")):
            _relationship(url, key, by_url, columns, relationships, notes)
    if relationships:
        tree["relationships"] = relationships
    return tree, urls, notes


def _usable(entry: Mapping[str, Any], notes: list[str]) -> bool:
    url = entry.get("url")
    schema = entry.get("tableSchema")
    if not isinstance(url, str) or not isinstance(schema, Mapping) or not _mappings(schema.get("columns")):
        notes.append(f"table {url!r}: its columns are not described in this file")
        return False
    if entry.get("dialect"):
        notes.append(f"table {url!r}: dialect; save it as comma-separated UTF-8 with a header")
    return True


def _table(name: str, entry: Mapping[str, Any], notes: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """(the table's tree, CSVW column name -> our column name)."""
    schema = _mapping(entry["tableSchema"])
    described = [column for column in _mappings(schema["columns"]) if not column.get("virtual")]
    headers = clean_names(_text(column.get("titles")) or str(column.get("name", "")) for column in described)
    known = {str(column.get("name", header)): header for column, header in zip(described, headers, strict=True)}
    key = [known[part] for part in _list(schema.get("primaryKey")) if part in known]
    made: dict[str, Any] = {}
    for label in ("title", "description"):
        text = _text(entry.get(f"dc:{label}"))
        if text:
            made[label] = text
    made["columns"] = {
        header: _column(f"{name}.{header}", column, header in key, notes)
        for header, column in zip(headers, described, strict=True)
    }
    if key:
        made["primary_key"] = key
    return made, known


def _column(shown: str, column: Mapping[str, Any], in_key: bool, notes: list[str]) -> dict[str, Any]:
    datatype = column.get("datatype", "string")
    details = _mapping(datatype)
    base = str(details.get("base", "string")) if details else str(datatype)
    kind = _TYPES.get(base)
    if kind is None:
        notes.append(f"{shown}: datatype {base} becomes text")
    made: dict[str, Any] = {"type": kind or "text"}
    pattern = details.get("format")
    if pattern is not None and made["type"] == "text":
        made["pattern"] = str(pattern)
    elif pattern is not None:
        notes.append(f"{shown}: format {pattern!r}; cells are read in their canonical spelling only")
    if column.get("required") and not in_key:
        made["nullable"] = False
    text = _text(column.get("dc:description"))
    if text:
        made["description"] = text
    if base in _LEAST:
        made["min"] = _LEAST[base]
    made.update({mine: details[theirs] for theirs, mine in _LIMITS.items() if theirs in details})
    if "length" in details:
        made["min_length"] = made["max_length"] = details["length"]
    if _list(column.get("null", "")) != [""]:
        notes.append(f"{shown}: null {column['null']!r}; only empty cells are NULL")
    for label in ("default", "separator", "lang"):
        if column.get(label):
            notes.append(f"{shown}: {label} {column[label]!r}")
    return made


def _relationship(
    url: str,
    key: Mapping[str, Any],
    tables: Mapping[str, str],
    columns: Mapping[str, Mapping[str, str]],
    made: dict[str, Any],
    notes: list[str],
) -> None:
    reference = _mapping(key.get("reference"))
    parent = str(reference.get("resource", ""))
    mine, theirs = _list(key.get("columnReference")), _list(reference.get("columnReference"))
    if (
        parent not in tables
        or not all(name in columns[url] for name in mine)
        or not all(name in columns[parent] for name in theirs)
    ):
        notes.append(f"{tables[url]}: a foreign key to {parent!r}, which is not described here")
        return
    child = [columns[url][name] for name in mine]
    name = clean_names([*made, f"{tables[url]}_{'_'.join(child)}"])[-1]
    made[name] = {
        "from": {"table": tables[url], "columns": child},
        "to": {"table": tables[parent], "columns": [columns[parent][column] for column in theirs]},
    }


def _text(value: Any) -> str | None:
    """A natural-language property: text, a list of texts, or texts by language."""
    if isinstance(value, Mapping):
        value = value.get("@value") or next(iter(value.values()), None)
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) else _text(value) if isinstance(value, list | Mapping) else None


def _list(value: Any) -> list[str]:
    return (
        [value]
        if isinstance(value, str)
        else [item for item in value if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

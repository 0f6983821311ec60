"""Whatever stands in project.yaml, it is a project or a list of findings with places: never another error, never a hang."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import NewerFormat
from schemas.json_schema import json_schema
from schemas.tables import sql
from schemas.tables.project import examine_project, read_project, write_project
from schemas.yaml_text import read
from schemas.yaml_write import write

PROJECT = b"""\
version: 1
project: {name: shop}
format: {row_order: key}
tables:
  customer:
    columns:
      id: {type: integer}
      name: {type: text, nullable: false, max_length: 80, default: x}
      state: {type: enum, enum: [new, active], default: new}
      born: {type: date, min: "1900-01-01", check: born > '1900-01-02'}
      seen: {type: timestamp, default: {sql: current_timestamp}}
    primary_key: [id]
    unique: {both: [name, born]}
  order:
    file: data/order.csv
    columns:
      id: {type: integer}
      customer_id: {type: integer, was: client}
      total: {type: "decimal(10,2)", min: 0, max: 100}
      double: {type: integer, generated: id * 2}
    primary_key: [id]
    checks: {some: id >= 1}
    indexes: {by customer: {columns: [customer_id], where: customer_id IS NOT NULL}}
    order_by: [id]
relationships:
  placed: {from: {table: order, columns: [customer_id]}, to: {table: customer, columns: [id]}, on_delete: set_null}
views:
  v: {sql: SELECT id FROM customer}
"""
TREE: dict[str, Any] = read(PROJECT, "p").value  # type: ignore[assignment]  # a mapping, as can be seen


def pointers(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += pointers(item, (*at, key))
    return found


POINTERS = pointers(TREE)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [2**63 - 1, 0.5, "", "id", "name", "order", "nowhere", "text", "decimal(3,1)", "enum", "blob", "json", "x'", '"']
    ),
    st.sampled_from(["SELECT 1", "id > 1", "random()", "1;", "--", "a" * 70, "é", "E\u0301", "con", "../x", "data/customer.csv"]),
    st.sampled_from([[], {}, [[]], ["id", "id"], {"x-a": 1}, {"sql": "current_date"}, {"table": "order"}, ["id", 3]]),
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(POINTERS), st.sampled_from(["set", "delete", "rename"]), VALUES), min_size=1, max_size=3)
)
def test_any_project_is_read_or_explained(edits: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    tree = copy.deepcopy(TREE)
    for pointer, action, value in edits:
        inside: Any = tree
        for step in pointer[:-1]:
            try:
                inside = inside[step]
            except (KeyError, IndexError, TypeError):
                break
        else:
            step = pointer[-1]
            if isinstance(inside, dict) and step in inside:
                old = inside.pop(step)
                if action == "set":
                    inside[step] = value
                elif action == "rename":
                    inside[str(value)] = old
            elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
                inside[step] = value
    data = write(tree).encode()
    try:
        project, findings = examine_project(data, "project.yaml")
    except NewerFormat:
        return
    blocking = [finding for finding in findings if finding.blocking]
    assert all(finding.line and finding.column and finding.message for finding in findings)
    assert all(finding.fix for finding in blocking)
    if not blocking:
        assert project is not None
        sql.sqlite_ddl(project)
        assert read_project(write_project(project).encode(), "again") == project


def test_editors_are_told_what_the_reader_says() -> None:
    schema = json_schema("project.yaml")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(TREE)) == []
    for pointer, value in (
        (("tables", "order", "colums"), {}),
        (("version",), 2),
        (("tables", "order", "columns", "id", "nullable"), "no"),
        (("relationships", "placed", "on_delete"), "explode"),
    ):
        tree = json.loads(json.dumps(TREE))
        inside = tree
        for step in pointer[:-1]:
            inside = inside[step]
        inside[pointer[-1]] = value
        assert list(validator.iter_errors(tree)), pointer
    tree = {**TREE, "x-mine": {"a": 1}}
    assert list(validator.iter_errors(tree)) == []

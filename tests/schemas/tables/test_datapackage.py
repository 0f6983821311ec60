"""Frictionless data packages: out and in again is the same project; foreign packages keep what a project can say."""

from __future__ import annotations

import json

import pytest

from schemas.errors import HeadwaterError
from schemas.tables.datapackage import export_datapackage, import_datapackage
from schemas.tables.project import read_project, write_project
from schemas.yaml_write import write

PROJECT = b"""\
version: 1
project: {name: shop, title: A shop, authors: [Ann, Bo], license: CC0-1.0, x-course: sql}
format: {row_order: file}
tables:
  customer:
    title: People
    columns:
      id: {type: integer}
      mail: {type: text, nullable: false, unique: true, pattern: ".+@.+", max_length: 80, unit: address}
      level: {type: enum, enum: [a, b], default: a, was: grade}
      word: {type: text, enum: [x, y], x-note: kept}
      rate: {type: "decimal(5,2)", min: "0.50"}
      seen: {type: timestamp, default: {sql: current_timestamp}}
      twice: {type: integer, generated: id * 2}
      photo: {type: blob}
      extra: {type: json, nullable: true}
    primary_key: [id]
    unique: {pair: [level, rate]}
    checks: {some: id > 0}
    indexes: {by level: {columns: [level]}}
    rows: required
    x-owner: me
  note:
    file: data/notes/all.csv
    columns: {id: {type: uuid, nullable: false}, up: {type: uuid}, customer_id: {type: integer}}
    primary_key: [id]
relationships:
  answers: {from: {table: note, columns: [up]}, to: {table: note, columns: [id]}, on_delete: set_null}
  about: {from: {table: customer, columns: [id]}, to: {table: note, columns: [customer_id]}, cardinality: one-to-many, title: T}
views:
  v: {sql: SELECT id FROM customer}
x-top: [1, 2]
"""


def test_out_and_in_again_is_the_same_project() -> None:
    project = read_project(PROJECT, "p")
    described, lost = export_datapackage(project)
    tree, notes = import_datapackage(json.loads(json.dumps(described)))
    assert notes == []
    again = read_project(write(tree).encode(), "p")
    assert again == project
    assert "check 'some' of customer" in lost
    assert "view 'v'" in lost


def test_the_standard_part_stands_alone() -> None:
    described, _ = export_datapackage(read_project(PROJECT, "p"))
    customer, note = described["resources"]
    fields = {field["name"]: field for field in customer["schema"]["fields"]}
    assert "twice" not in fields
    assert fields["mail"]["type"] == "string"
    assert fields["mail"]["constraints"] == {"required": True, "unique": True, "pattern": ".+@.+", "maxLength": 80}
    assert fields["photo"] == {"name": "photo", "type": "string", "format": "binary", "x-headwater": {"type": "blob"}} or (
        fields["photo"] == {"name": "photo", "type": "string", "format": "binary"}
    )
    assert customer["schema"]["primaryKey"] == ["id"]
    assert customer["schema"]["uniqueKeys"] == [["level", "rate"]]
    own, other = note["schema"]["foreignKeys"]
    assert (own["fields"], own["reference"]) == (["up"], {"fields": ["id"]})
    assert other["reference"] == {"fields": ["id"], "resource": "customer"}


def test_a_foreign_package() -> None:
    tree, notes = import_datapackage(
        {
            "name": "gdp",
            "licenses": [{"name": "ODC-PDDL-1.0"}],
            "resources": [
                {
                    "name": "gdp.csv",
                    "path": "files/gdp.csv",
                    "schema": {
                        "fields": [
                            {"name": "country", "type": "string", "constraints": {"required": True}},
                            {"name": "year", "type": "year"},
                            {"name": "value", "type": "number", "decimalChar": ","},
                            {"name": "when", "type": "date", "format": "%d/%m/%Y"},
                            {"name": "size", "type": "string", "constraints": {"enum": ["s", "m"]}},
                        ],
                        "primaryKey": ["country", "year"],
                        "foreignKeys": [
                            {"fields": "country", "reference": {"resource": "elsewhere", "fields": "id"}},
                            {"fields": ["country", "year"], "reference": {"resource": "", "fields": ["country", "year"]}},
                        ],
                        "missingValues": ["", "NA"],
                    },
                },
                {"name": "picture", "path": "a.png"},
            ],
        }
    )
    project = read_project(write(tree).encode(), "p")
    table = project.tables["gdp_csv"]
    assert {name: column.type for name, column in table.columns.items()} == {
        "country": "text",
        "year": "integer",
        "value": "float",
        "when": "text",
        "size": "enum",
    }
    assert table.data_file == "data/gdp.csv"
    assert len(project.relationships) == 1
    for said in ("picture", "NA", "decimalChar", "%d/%m/%Y", "elsewhere"):
        assert said in "\n".join(notes)


def test_a_package_without_tables() -> None:
    for described in (
        {},
        {"resources": "x"},
        {"resources": [{"name": "a"}]},
        {"resources": [{"name": "a", "schema": {"fields": []}}]},
    ):
        with pytest.raises(HeadwaterError, match="no table"):
            import_datapackage(described)


def test_exports_are_written_the_same_every_time() -> None:
    project = read_project(PROJECT, "p")
    again = read_project(write_project(project).encode(), "p")
    assert export_datapackage(project) == export_datapackage(again)

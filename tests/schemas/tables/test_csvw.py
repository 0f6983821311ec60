"""CSVW metadata becomes a project; what a project cannot say is listed."""

from __future__ import annotations

import pytest

from schemas.errors import HeadwaterError
from schemas.tables.csvw import CONTEXT, import_csvw, is_csvw
from schemas.tables.project import read_project
from schemas.yaml_write import write

COUNTRIES = {
    "@context": [CONTEXT, {"@language": "en"}],
    "dc:title": {"@value": "Countries"},
    "tables": [
        {
            "url": "http://example.org/countries.csv",
            "tableSchema": {
                "columns": [
                    {"name": "code", "titles": "Code", "datatype": {"base": "string", "length": 2}, "required": True},
                    {"name": "name", "titles": {"en": ["Name", "Label"]}},
                    {"name": "area", "datatype": {"base": "decimal", "minimum": 0, "format": "#,##0.0"}},
                    {"name": "count", "datatype": "nonNegativeInteger", "null": ["", "-"]},
                    {"name": "id", "virtual": True},
                ],
                "primaryKey": "code",
            },
        },
        {
            "url": "visits.csv",
            "tableSchema": {
                "columns": [
                    {"name": "country", "datatype": "string"},
                    {"name": "at", "datatype": "dateTimeStamp", "required": True},
                    {"name": "shape", "datatype": "geometry", "separator": ";"},
                ],
                "foreignKeys": [
                    {
                        "columnReference": "country",
                        "reference": {"resource": "http://example.org/countries.csv", "columnReference": "code"},
                    },
                    {"columnReference": "country", "reference": {"resource": "nowhere.csv", "columnReference": "code"}},
                ],
            },
        },
        {"url": "undescribed.csv"},
    ],
}


def test_a_table_group() -> None:
    assert is_csvw(COUNTRIES)
    tree, urls, notes = import_csvw(COUNTRIES)
    project = read_project(write(tree).encode(), "p")
    assert urls == ["http://example.org/countries.csv", "visits.csv"]
    countries, visits = project.tables["countries"], project.tables["visits"]
    assert {name: column.type for name, column in countries.columns.items()} == {
        "Code": "text",
        "Name": "text",
        "area": "float",
        "count": "integer",
    }
    assert (countries.columns["Code"].min_length, countries.columns["count"].min, countries.primary_key) == (2, 0, ["Code"])
    assert (visits.columns["at"].type, visits.columns["at"].nullable) == ("timestamp", False)
    (relationship,) = project.relationships.values()
    assert (relationship.parent.table, relationship.parent.columns) == ("countries", ["Code"])
    assert project.project.title == "Countries"
    said = "\n".join(notes)
    for part in ("undescribed.csv", "#,##0.0", "'-'", "geometry", "separator", "nowhere.csv"):
        assert part in said


def test_one_table() -> None:
    described = {"@context": CONTEXT, "url": "a.csv", "tableSchema": {"columns": [{"titles": "x"}, {"name": "y"}]}}
    tree, urls, notes = import_csvw(described)
    assert (list(tree["tables"]["a"]["columns"]), urls, notes) == (["x", "y"], ["a.csv"], [])


def test_other_json_is_not_csvw() -> None:
    assert not is_csvw({"resources": []})
    for described in ({"@context": CONTEXT}, {"@context": CONTEXT, "tables": [{"url": 3}]}):
        with pytest.raises(HeadwaterError, match="no table"):
            import_csvw(described)

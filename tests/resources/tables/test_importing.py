"""A new project from CSV files, databases and data packages: complete, checked, nothing outside read."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from resources.storage.local import LocalStorage
from resources.tables.importing import import_files
from resources.tables.store import TablesStore
from schemas.errors import HeadwaterError, InvalidText
from schemas.tables.datapackage import export_datapackage


def lay(root: Path, made: dict[str, bytes]) -> TablesStore:
    for name, data in made.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return TablesStore(LocalStorage(root))


def test_csv_files_become_tables_with_types_written_down(tmp_path: Path) -> None:
    (tmp_path / "city.csv").write_bytes('\ufeffid,name,zip,big\r\n1,Bonn,053113,TRUE\r\n2,"a, b",,false'.encode())
    (tmp_path / "a.b.csv").write_text("x.y,y\n1.50,2024/01/31\n")
    made, notes = import_files([tmp_path / "city.csv", tmp_path / "a.b.csv"])
    assert made["data/city.csv"] == b'id,name,zip,big\n1,Bonn,053113,true\n2,"a, b",,false\n'
    assert made["data/a_b.csv"] == b"x_y,y\n1.50,2024-01-31\n"
    store = lay(tmp_path / "new", made)
    assert store.check() == []
    city = store.project().tables["city"]
    assert [column.type for column in city.columns.values()] == ["integer", "text", "text", "boolean"]
    assert city.primary_key == ["id"]
    assert notes == ["column 'x.y' of a.b.csv is called 'x_y' now", "a.b.csv becomes table 'a_b'"]


def test_csv_that_breaks_a_rule_is_refused_with_every_place(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1\n1,2,3\n"x"y,1\n')
    with pytest.raises(InvalidText) as caught:
        import_files([tmp_path / "t.csv"])
    assert [finding.line for finding in caught.value.findings] == [2, 3, 4]


def test_a_database_becomes_a_project(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "x.sqlite"))
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT); INSERT INTO t VALUES (10, NULL), (9, '')")
    connection.close()
    made, _ = import_files([tmp_path / "x.sqlite"])
    assert made["data/t.csv"] == b'id,n\n9,""\n10,\n'
    assert lay(tmp_path / "new", made).check() == []


def test_a_data_package_goes_out_and_comes_back(tmp_path: Path) -> None:
    files = {"project.yaml": b"version: 1\ntables:\n  t: {columns: {id: {type: integer}, n: {type: text}}, primary_key: [id]}\n"}
    store = lay(tmp_path / "one", {**files, "data/t.csv": b"id,n\n1,a\n"})
    described, _ = export_datapackage(store.project())
    (tmp_path / "one/datapackage.json").write_text(json.dumps(described))
    made, notes = import_files([tmp_path / "one/datapackage.json"])
    assert notes == []
    assert made["data/t.csv"] == b"id,n\n1,a\n"
    assert lay(tmp_path / "two", made).project() == store.project()


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "link.csv"])
def test_a_data_package_reads_nothing_outside_itself(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/link.csv").symlink_to(tmp_path / "secret.csv")
    fields = [{"name": "a", "type": "integer"}, {"name": "b", "type": "integer"}]
    described = {"resources": [{"name": "t", "path": path, "schema": {"fields": fields}}]}
    (tmp_path / "package/datapackage.json").write_text(json.dumps(described))
    with pytest.raises(HeadwaterError):
        import_files([tmp_path / "package/datapackage.json"])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(HeadwaterError, match="neither"):
        import_files([tmp_path / "x.xlsx"])


def test_an_sql_dump_becomes_a_project(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text(
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE p (id INTEGER PRIMARY KEY, n TEXT);\n"
        "CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p);\nINSERT INTO p VALUES (1, 'it''s; -- fine');\n"
        "INSERT INTO c VALUES (1, 1);\nCREATE INDEX i ON c (p);\nCOMMIT;\n"
    )
    made, notes = import_files([tmp_path / "x.sql"])
    assert notes == []
    store = lay(tmp_path / "new", made)
    assert store.check() == []
    assert list(store.project().relationships) == ["c_p"]
    assert made["data/p.csv"] == b"id,n\n1,it's; -- fine\n"


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{path}' AS other",
        "VACUUM INTO '{path}'",
        "SELECT load_extension('x')",
        "PRAGMA writable_schema=ON",
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE TABLE broken (",
        "LOAD DATA INFILE 'x'",
    ],
)
def test_fault_125_a_dump_that_reaches_out_is_refused(tmp_path: Path, statement: str) -> None:
    outside = tmp_path / "outside.db"
    dump = tmp_path / "x.sql"
    dump.write_text("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);\n" + statement.replace("{path}", str(outside)) + ";\n")
    with pytest.raises(HeadwaterError, match="cannot run the dump"):
        import_files([dump])
    assert not outside.exists()


def test_csvw_metadata_beside_its_files(tmp_path: Path) -> None:
    columns = [{"titles": "id", "datatype": "integer"}, {"titles": "when", "datatype": "date"}]
    described = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": "https://example.org/x/t.csv",
        "tableSchema": {"columns": columns},
    }
    (tmp_path / "t.csv-metadata.json").write_text(json.dumps(described))
    (tmp_path / "t.csv").write_text("id,when\n1,2024-01-31\n")
    made, notes = import_files([tmp_path / "t.csv-metadata.json"])
    assert notes == []
    assert lay(tmp_path / "new", made).check() == []
    assert made["data/t.csv"] == b"id,when\n1,2024-01-31\n"

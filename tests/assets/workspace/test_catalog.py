"""The catalog says what the text and provenance say, twice the same, and survives stores and names that are awkward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.engine.engine import Engine
from assets.engine.model import Outcome, Ref, Result
from assets.workspace.catalog import TABLES, content_digest
from resources.workspace import open_workspace

CATALOG = Ref("workspace", "all", "catalog")
PROJECT = """\
version: 1
tables:
  thing:
    title: Things
    columns:
      id: {type: integer}
      label: {type: text}
    primary_key: [id]
"""


def _store(root: Path, folder: str, rows: str = "id,label\n1,one\n") -> None:
    (root / folder / "data").mkdir(parents=True)
    (root / folder / "project.yaml").write_text(PROJECT)
    (root / folder / "data/thing.csv").write_text(rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    (made / "headwater.toml").write_text("version = 1\n")
    _store(made, "shop")
    return made


def _build(root: Path, *select: str) -> list[Outcome]:
    engine = Engine(open_workspace(root))
    try:
        return engine.build(select)
    finally:
        engine.close()


def _ask(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(root / ".headwater/catalog.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_every_table_is_there_with_what_is_known(root: Path) -> None:
    _build(root, "tables/shop/parquet", "workspace")
    assert {name for (name,) in _ask(root, "SELECT table_name FROM duckdb_tables()")} == {
        *TABLES,
        "tables_tables",
        "tables_columns",
        "tables_relationships",
    }
    assert _ask(root, "SELECT kind, store, root FROM stores") == [("tables", "shop", "shop")]
    assert _ask(root, "SELECT source, path FROM files ORDER BY ALL") == [
        ("data", "shop/data/thing.csv"),
        ("project", "shop/project.yaml"),
    ]
    assert _ask(root, "SELECT artifact, files FROM artifacts") == [("parquet", 1)]
    assert _ask(root, 'SELECT "schema", "view", path FROM views') == [
        ("shop", "thing", "artifacts/tables/shop/parquet/thing.parquet")
    ]
    assert _ask(root, 'SELECT store, "table", "column", type FROM tables_columns ORDER BY position') == [
        ("shop", "thing", "id", "integer"),
        ("shop", "thing", "label", "text"),
    ]
    assert _ask(root, "SELECT role, input FROM provenance ORDER BY ALL") == [
        ("data", "tables/shop/data"),
        ("project", "tables/shop/project"),
    ]
    record = json.loads((root / ".headwater/provenance/tables/shop/parquet.json").read_text())
    assert _ask(root, "SELECT fingerprint, output_digest FROM artifacts") == [(record["fingerprint"], record["output_digest"])]


def test_two_builds_hold_equal_content_and_its_digest_can_be_told_from_the_file(root: Path, tmp_path: Path) -> None:
    first = _build(root, "tables/shop/parquet", "workspace")[-1]
    assert first.ref == CATALOG
    catalog = root / ".headwater/catalog.duckdb"
    assert content_digest(catalog) == first.output_digest
    moved = tmp_path / "moved"
    root.rename(moved)
    engine = Engine(open_workspace(moved))
    [verification] = engine.verify(["workspace"])
    engine.close()
    assert verification.ok, verification.differences
    with duckdb.connect(str(moved / ".headwater/catalog.duckdb")) as connection:
        connection.execute("UPDATE stores SET root = 'elsewhere'")
    assert content_digest(moved / ".headwater/catalog.duckdb") != first.output_digest


def test_it_follows_text_and_artifacts_and_nothing_else(root: Path) -> None:
    assert _build(root, "workspace")[-1].result is Result.BUILT
    assert _build(root, "workspace")[-1].result is Result.FRESH
    _build(root, "tables/shop/erd")
    assert _build(root, "workspace")[-1].result is Result.BUILT
    (root / "notes.txt").write_text("no store's file")
    assert _build(root, "workspace")[-1].result is Result.FRESH
    _store(root, "second")
    assert _build(root, "workspace")[-1].result is Result.BUILT
    assert _ask(root, "SELECT store FROM stores ORDER BY ALL") == [("second",), ("shop",)]


def test_a_store_with_bad_text_has_findings_and_the_others_their_records(root: Path) -> None:
    _store(root, "bad")
    (root / "bad/project.yaml").write_text("version: 1\ntables: [\n")
    outcomes = _build(root, "workspace")
    assert [outcome.error for outcome in outcomes] == [None]
    assert _ask(root, "SELECT DISTINCT store FROM tables_tables") == [("shop",)]
    [(store, path, line)] = _ask(root, "SELECT DISTINCT store, path, line FROM findings WHERE severity = 'error'")
    assert (store, path) == ("bad", "bad/project.yaml")
    assert line >= 2


def test_names_that_collide_for_duckdb_get_a_number(root: Path) -> None:
    for folder in ("main", "deep/Shop", "DEEP"):
        _store(root, folder)
    (root / "headwater.toml").write_text('version = 1\n[stores.SHOP]\nkind = "tables"\npath = "deep/Shop"\n')
    _build(root, "tables/*/parquet", "workspace")
    assert _ask(root, 'SELECT store, "schema" FROM views ORDER BY store COLLATE C') == [
        ("DEEP", "DEEP"),
        ("SHOP", "SHOP"),
        ("main", "main_2"),
        ("shop", "shop_2"),
    ]


def test_text_edited_while_the_catalog_is_built_is_not_recorded_under_the_old_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import assets.workspace.catalog as catalog

    kept, edits = catalog._rows, []

    def edit_once(sources: Any, artifacts: Any) -> Any:
        if not edits:
            edits.append(1)
            (root / "shop/project.yaml").write_text(PROJECT.replace("title: Things", "title: Changed"))
        return kept(sources, artifacts)

    monkeypatch.setattr(catalog, "_rows", edit_once)
    [outcome] = _build(root, "workspace")
    assert outcome.error is None
    assert _ask(root, "SELECT title FROM tables_tables") == [("Changed",)]
    [(oid,)] = _ask(root, "SELECT oid FROM files WHERE path = 'shop/project.yaml'")
    from schemas.oid import file_oid

    assert oid == file_oid(root / "shop/project.yaml")

"""The frozen project of version 0: read as it is, migrated in order, and left alone when anything fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage
from resources.tables.store import TablesStore, migrate
from schemas.errors import InvalidText, NewerFormat
from schemas.tables import migrations
from schemas.tables.project import read_project

FROZEN = Path(__file__).parent / "version_0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(FROZEN, tmp_path / "old")
    return tmp_path


def test_version_0_is_read_in_memory(root: Path) -> None:
    store = TablesStore(LocalStorage(root), "old")
    before = (root / "old/project.yaml").read_bytes()
    project = store.project()
    assert store.check() == []
    assert project.tables["book"].primary_key == ["isbn", "copy"]
    assert project.tables["member"].columns["level"].allowed == {"basic", "gold"}
    assert project.relationships["book_lent_to"].on_delete == "set_null"
    assert (root / "old/project.yaml").read_bytes() == before


def test_case_88_version_0_becomes_version_1_with_a_backup(root: Path) -> None:
    storage = LocalStorage(root)
    before = (root / "old/project.yaml").read_bytes()
    read_in_memory = TablesStore(storage, "old").project()
    storage.commit(migrate(storage, "old"), label="migrate")
    assert read_project((root / "old/project.yaml").read_bytes(), "p") == read_in_memory
    (backup,) = (root / "old/.playground").rglob("project.yaml")
    assert backup.read_bytes() == before
    assert (root / "old/data/member.csv").read_bytes() == (FROZEN / "data/member.csv").read_bytes()
    assert migrate(storage, "old") == []


def test_case_89_a_step_that_fails_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    monkeypatch.setitem(migrations._TYPES, "int", "no such type")
    with pytest.raises(InvalidText):
        migrate(storage, "old")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_text_that_is_not_of_its_version_has_places(root: Path) -> None:
    path = root / "old/project.yaml"
    path.write_text(path.read_text().replace("pk: true}", "pk: 1}", 1).replace("on_delete: nullify", "on_delete: explode"))
    found = TablesStore(LocalStorage(root), "old").check()
    assert [(finding.rule, finding.path, finding.line) for finding in found] == [
        ("tables-old-shape", "old/project.yaml", 8),
        ("tables-old-shape", "old/project.yaml", 18),
    ]


def test_newer_versions_are_not_migrated(root: Path) -> None:
    (root / "old/project.yaml").write_text("version: 3\n")
    with pytest.raises(NewerFormat):
        migrate(LocalStorage(root), "old")

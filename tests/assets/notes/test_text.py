"""Which folders are notes stores, and where their outputs lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.engine.recipe import Place
from assets.notes import text
from assets.notes.recipes import CACHE, KIND, QIPU_DB
from resources.storage import open_storage
from resources.storage.base import Storage
from schemas.errors import HeadwaterError
from schemas.notes.layout import STORE_NAMES


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def make(root: Path, *paths: str) -> None:
    """Folders (with a final slash) and empty files."""
    for path in paths:
        target = root / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_text("")


def test_the_hidden_folder_is_a_store_by_its_name_alone(storage: Storage, tmp_path: Path) -> None:
    make(tmp_path, ".qipu/", "a/.qipu/")
    assert text.recognise(storage, ".qipu") == ".qipu"
    assert text.recognise(storage, "a/.qipu") == "a/.qipu"


@pytest.mark.parametrize("evidence", ["config.toml", "notes/", "mocs/"])
def test_the_visible_folder_needs_evidence(storage: Storage, tmp_path: Path, evidence: str) -> None:
    make(tmp_path, "qipu/src/main.rs")
    assert text.recognise(storage, "qipu") is None
    make(tmp_path, f"qipu/{evidence}")
    assert text.recognise(storage, "qipu") == "qipu"


def test_case_2_of_a_hidden_and_a_visible_store_the_hidden_one_wins(storage: Storage, tmp_path: Path) -> None:
    make(tmp_path, "p/.qipu/", "p/qipu/config.toml")
    assert text.recognise(storage, "p/qipu") is None
    assert text.recognise(storage, "p/.qipu") == "p/.qipu"


def test_case_6_a_store_needs_no_configuration(storage: Storage, tmp_path: Path) -> None:
    make(tmp_path, ".qipu/")
    assert text.recognise(storage, ".qipu") == ".qipu"
    assert text.place(storage, ".qipu", {}) is Place.STORE


def test_a_vault_is_the_folder_around_its_settings(storage: Storage, tmp_path: Path) -> None:
    make(tmp_path, "vault/.obsidian/app.json", ".obsidian/")
    assert text.recognise(storage, "vault/.obsidian") == "vault"
    assert text.recognise(storage, ".obsidian") == ""


def test_what_is_no_folder_makes_no_store(storage: Storage, tmp_path: Path) -> None:
    make(tmp_path, "a/.qipu", "b/.obsidian", "real/")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/.qipu").symlink_to(tmp_path / "real")
    assert [text.recognise(storage, path) for path in ("a/.qipu", "b/.obsidian", "c/.qipu", "d/.qipu")] == [None] * 4


@pytest.mark.parametrize(
    ("configured", "root"),
    [
        ('store_path = "docs/notes"', "p/docs/notes"),
        ('store_path = "./docs/notes/"', "p/docs/notes"),
        ('store_path = "not/there"', "p/.qipu"),
        ("store_path = 3", "p/.qipu"),
        ('store_path = "."', "p/.qipu"),
        ('store_path = "broken', "p/.qipu"),
        ('# store_path = "docs/notes"', "p/.qipu"),
        ("version = 1", "p/.qipu"),
    ],
)
def test_a_configuration_may_lead_elsewhere_in_the_project(storage: Storage, tmp_path: Path, configured: str, root: str) -> None:
    make(tmp_path, "p/.qipu/", "p/docs/notes/")
    (tmp_path / "p/.qipu/config.toml").write_text(f"{configured}\n")
    assert text.recognise(storage, "p/.qipu") == root


@pytest.mark.parametrize("outside", ["../elsewhere", "/etc", "a/../../b"])
def test_a_configuration_never_leads_out_of_the_project(storage: Storage, tmp_path: Path, outside: str) -> None:
    make(tmp_path, "p/.qipu/", "elsewhere/")
    (tmp_path / "p/.qipu/config.toml").write_text(f'store_path = "{outside}"\n')
    with pytest.raises(HeadwaterError) as raised:
        text.recognise(storage, "p/.qipu")
    assert raised.value.rule == "notes-store-path"
    assert raised.value.path == "p/.qipu/config.toml"


@pytest.mark.parametrize(
    ("paths", "root", "settings", "place"),
    [
        (["qipu/notes/"], "qipu", {}, Place.STORE),
        (["own/config.toml", "own/notes/"], "own", {}, Place.STORE),
        (["own/config.toml"], "own", {}, Place.ARTIFACTS),
        (["vault/.obsidian/"], "vault", {}, Place.ARTIFACTS),
        (["vault/.obsidian/", "vault/config.toml", "vault/notes/"], "vault", {}, Place.ARTIFACTS),
        (["loose/a.md"], "loose", {}, Place.ARTIFACTS),
        (["loose/a.md"], "loose", {"layout": "qipu"}, Place.STORE),
        ([".qipu/"], ".qipu", {"layout": "folder"}, Place.ARTIFACTS),
        (["a.md"], "", {}, Place.ARTIFACTS),
    ],
)
def test_outputs_lie_in_a_store_whose_layout_has_a_place_for_them(
    storage: Storage, tmp_path: Path, paths: list[str], root: str, settings: dict[str, str], place: Place
) -> None:
    make(tmp_path, *paths)
    assert text.place(storage, root, settings) is place


def test_the_names_that_make_a_store_are_the_same_everywhere() -> None:
    assert text.STORE_FOLDERS == STORE_NAMES
    assert set(KIND.folders) == set(KIND.markers)


def test_the_memory_of_an_old_journal_is_cleared_away(tmp_path: Path) -> None:
    make(tmp_path, "qipu.db", "qipu.db-shm", "qipu.db-wal")
    text.free_the_way(tmp_path / "qipu.db")
    text.free_the_way(tmp_path / "qipu.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["qipu.db", "qipu.db-wal"]


def test_what_the_format_calls_derived_is_declared_so() -> None:
    assert QIPU_DB.derived_by_format
    assert CACHE.derived_by_format

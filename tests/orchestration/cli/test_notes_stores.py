"""Which notes store a command means: by name, by folder, by where one stands, or one that is named for this command alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.cli.app import App
from orchestration.cli.notes_stores import chosen_format, chosen_store
from orchestration.cli.stores import home
from schemas.errors import UsageError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HEADWATER_ROOT", "QIPU_STORE", "HEADWATER_REMOTE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a project that has notes, a vault, and a folder of Markdown."""
    root = tmp_path / "workspace"
    for folder in ("project/.qipu/notes", "project/src/deep", "vault/.obsidian", "vault/areas", "loose/deep"):
        (root / folder).mkdir(parents=True)
    (root / "headwater.toml").write_text("version = 1\n")
    (root / "loose/a.md").write_text("# A\n")
    monkeypatch.chdir(root)
    return root


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("start", ["project", "project/src/deep", "project/.qipu", "project/.qipu/notes"])
def test_from_anywhere_in_a_project_its_notes_are_meant(
    app: App, root: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.chdir(root / start)
    assert chosen_store(app, None).root == "project/.qipu"


def test_from_anywhere_in_a_vault_it_is_meant(app: App, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "vault/areas")
    assert chosen_store(app, None).root == "vault"


def test_where_none_is_around_and_there_are_several_the_choices_are_named(app: App, root: Path) -> None:
    with pytest.raises(UsageError, match="2 notes stores") as raised:
        chosen_store(app, None)
    assert "project/.qipu, vault" in str(raised.value.fix)


@pytest.mark.parametrize(
    ("selector", "store"),
    [
        ("project/.qipu", "project/.qipu"),
        ("notes/project/.qipu", "project/.qipu"),
        ("project", "project/.qipu"),
        ("./project/.qipu/notes", "project/.qipu"),
        ("vault", "vault"),
        ("./vault/", "vault"),
    ],
)
def test_a_store_is_named_by_name_folder_or_project(app: App, root: Path, selector: str, store: str) -> None:
    assert chosen_store(app, selector).root == store


def test_case_4_a_relative_folder_counts_from_the_root_that_was_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "loose")
    for given in (root / "project", Path("../project")):
        app = App(root=str(given))
        assert chosen_store(app, ".qipu").root == "project/.qipu"
        app.close()
    monkeypatch.setenv("HEADWATER_ROOT", str(root / "project"))
    app = App()
    assert chosen_store(app, ".qipu").root == "project/.qipu"
    app.close()


def test_case_5_a_plain_folder_that_is_named_is_a_store_of_its_own(app: App, root: Path) -> None:
    """Departs from qipu, which refuses it: any folder of Markdown can be asked, and not one byte of it changes."""
    before = listing(root / "loose")
    store = chosen_store(app, "loose")
    assert (store.kind, store.name, store.root) == ("notes", "loose", "loose")
    assert listing(root / "loose") == before
    other = App()
    assert {store.name for store in other.engine().stores() if store.kind == "notes"} == {"project/.qipu", "vault"}
    other.close()


def test_a_folder_below_a_vault_can_be_named_as_a_store_of_its_own(app: App, root: Path) -> None:
    assert chosen_store(app, "vault/areas").root == "vault/areas"


def test_a_folder_elsewhere_is_worked_on_in_its_own_workspace(app: App, root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "a.md").write_text("# A\n")
    store = chosen_store(app, str(elsewhere))
    assert (store.root, store.name) == ("", "root")
    assert app.workspace().root.local_root == elsewhere
    assert app.workspace().is_plain
    assert listing(elsewhere) == ["a.md", "deep"]


def test_case_75_a_store_reached_through_a_link_is_the_store(app: App, root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root / "project/.qipu")
    assert chosen_store(app, str(link)).root == "project/.qipu"
    assert app.workspace().root.local_root == root


def test_a_name_that_is_no_store_and_no_folder_is_refused_with_the_choices(app: App, root: Path) -> None:
    with pytest.raises(UsageError, match="'nowhere'") as raised:
        chosen_store(app, "nowhere")
    assert raised.value.rule == "store-unknown"
    assert "vault" in str(raised.value.fix)


def test_without_any_store_the_way_to_start_one_is_told(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UsageError, match="no notes store") as raised:
        chosen_store(app, None)
    assert "headwater notes init" in str(raised.value.fix)
    assert os.listdir(tmp_path / "empty") == []


def test_notes_beside_a_vault_are_meant_inside_their_folder_only(app: App, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "vault/.qipu").mkdir()
    monkeypatch.chdir(root / "vault/.qipu")
    assert chosen_store(app, None).root == "vault/.qipu"
    monkeypatch.chdir(root / "vault/areas")
    with pytest.raises(UsageError, match="stores"):
        chosen_store(app, None)


def test_a_store_in_the_root_folder_has_it_as_home(root: Path, app: App) -> None:
    homes = {store.root: home(store) for store in app.engine().stores() if store.kind == "notes"}
    assert homes == {"project/.qipu": "project", "vault": "vault"}


@pytest.mark.parametrize(
    ("json", "given", "format_"),
    [(False, None, "human"), (True, None, "json"), (False, "json", "json"), (True, "records", "records")],
)
def test_the_format_is_what_was_asked_for(json: bool, given: str | None, format_: str) -> None:
    app = App(json=json)
    assert chosen_format(app, given) == format_
    assert app.json is (json or given == "json")

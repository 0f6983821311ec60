"""What the kind's declaration names: which folders are projects, what is wrong with them, what the catalog says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.tables import proof, text
from assets.tables.recipes import KIND
from resources.storage.local import LocalStorage
from resources.tables.store import TablesStore
from schemas.errors import HeadwaterError, InvalidText
from tests.assets.tables.projects import link, table, view_of, write_project

TABLES = {
    "customer": table({"id": "integer", "name": "text"}),
    "order": table({"id": "integer", "customer_id": "integer", "note": "text"}, checks={"positive": "id > 0"}),
}
LINKS = {"who": link("order", "customer_id", "customer")}
ROWS = {"customer": "id,name\n1,Ada\n2,\n", "order": 'id,customer_id,note\n1,1,\n2,,""\n'}


def storage(folder: Path, tmp_path: Path) -> LocalStorage:
    return LocalStorage(folder, state=tmp_path / "state")


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("version: 1\ntables:\n  t: {}\n", True),
        ('"version": 1\n"tables": {}\n', True),
        ("\ufeffversion: 1\r\ntables:\r\n", True),
        ("version: 0\ntables:\n- name: t\n", True),
        ("version: 1\ntables:\n  t: [unclosed\n", True),  # a project that cannot be read is still a project
        ("name: another tool\nversion: 1\n", False),
        ("x:\n  version: 1\n  tables: {}\n", False),
        ("tables: {}\n", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("root", ["", "a b/ç"])
def test_projects_are_recognised_by_their_top_level_keys(tmp_path: Path, content: str, ours: bool, root: str) -> None:
    folder = tmp_path / "w" / root
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_bytes(content.encode())
    marker = f"{root}/project.yaml" if root else "project.yaml"
    assert text.recognise(storage(tmp_path / "w", tmp_path), marker) == (root if ours else None)


def test_a_project_file_of_some_other_tool_in_megabytes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_bytes(b"version: 1\nname: other\n" + b"# x\n" * 5_000_000 + b"tables: {}\n")
    assert text.recognise(storage(tmp_path, tmp_path), "project.yaml") is None


def test_a_project_of_ours_that_is_too_large_does_not_vanish_silently(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_bytes(b"version: 1\ntables: {}\n" + b"# x\n" * 5_000_000)
    with pytest.raises(HeadwaterError, match="larger than 16 MiB"):
        text.recognise(storage(tmp_path, tmp_path), "project.yaml")


@pytest.mark.parametrize(
    "bulk", ['"x-rows": [' + "1," * 40_000 + "1]", '"x-long": "' + "y" * (1 << 20) + '"'], ids=["values", "size"]
)
def test_a_project_in_braces_that_is_too_large_to_be_parsed_is_still_ours(tmp_path: Path, bulk: str) -> None:
    """Which keys stand at its top only the parser could say; `check` then says why it is not asked."""
    (tmp_path / "project.yaml").write_text(f'{{"version": 1, "tables": {{}}, {bulk}}}\n')
    assert text.recognise(storage(tmp_path, tmp_path), "project.yaml") == ""
    (tmp_path / "project.yaml").write_text(f'{{"version": 1, "of another tool": {{}}, {bulk}}}\n')
    assert text.recognise(storage(tmp_path, tmp_path), "project.yaml") is None


BROKEN = {
    "cell": {"customer": "id,name\n1,Ada\nx,\n"},
    "orphan": {"order": "id,customer_id,note\n1,9,\n"},
    "duplicate": {"customer": "id,name\n1,Ada\n1,Bo\n"},
    "check": {"order": "id,customer_id,note\n-1,1,\n"},
    "formula": {"customer": "id,name\n1,=1+1\n"},
    "decomposed": {"customer": "id,name\n1,e\u0301\n"},
    "mark": {"customer": "\ufeffid,name\n1,x\n"},
    "no last line end": {"customer": "id,name\n1,x"},
    "quote": {"customer": 'id,name\n1,"a"b\n'},
    "empty file": {"customer": ""},
}


@pytest.mark.parametrize("broken", [None, *BROKEN])
def test_a_proof_never_hides_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None) -> None:
    """The check with the proof finds what the check without it finds, whatever is wrong; a clean project is proven."""
    monkeypatch.setattr(proof, "WORTH_PROVING", 0)
    folder = write_project(tmp_path / "p", TABLES, {**ROWS, **(BROKEN[broken] if broken else {})}, LINKS)
    (folder / "data" / "stray.csv").write_text("a\n")
    disk = storage(folder, tmp_path)
    expected = TablesStore(disk, "").check()
    assert text.check(disk, "") == expected
    proven = []
    TablesStore(disk, "").check(proven=lambda project, files: proven.append(proof.nothing_to_find(disk, project, files)) or False)
    assert proven == [broken is None]
    assert (len(expected) > 1) is (broken is not None)  # the stray file is always found


def test_small_projects_are_not_worth_proving(tmp_path: Path) -> None:
    disk = storage(write_project(tmp_path / "p", TABLES, ROWS, LINKS), tmp_path)
    project = TablesStore(disk, "").project()
    assert not proof.nothing_to_find(disk, project, {"customer": "data/customer.csv", "order": "data/order.csv"})


def test_a_file_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "p", {"é": table({"id": "integer"})}, {"e\u0301": "id\n1\n"})
    _, texts = text.open_project(view_of(folder, tmp_path / "w"))
    assert [batch.num_rows for batch in texts["é"].batches()] == [1]


def test_a_missing_required_file_is_a_finding(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "p", {"t": table({"id": "integer", "v": "text"}, rows="required")}, {})
    with pytest.raises(InvalidText) as caught:
        text.open_project(view_of(folder, tmp_path / "w"))
    assert caught.value.findings[0].rule == "tables-missing-file"


def test_a_database_that_refuses_valid_text_is_not_silenced(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "p", TABLES, ROWS, LINKS)
    with pytest.raises(HeadwaterError) as caught:
        text.refuse(view_of(folder, tmp_path / "w"), ValueError("no such thing"))
    assert caught.value.rule == "tables-refused-by-database"
    assert "no such thing" in caught.value.message


def test_catalog(tmp_path: Path) -> None:
    found = text.catalog(storage(write_project(tmp_path / "p", TABLES, ROWS, LINKS), tmp_path), "")
    assert found["tables"].column("table").to_pylist() == ["customer", "order"]
    assert found["columns"].num_rows == 5
    assert found["columns"].to_pylist()[0] | {"description": None} == {
        "table": "customer", "position": 1, "column": "id", "type": "integer", "nullable": False, "in_key": True, "title": None,
        "unit": None, "description": None,
    }  # fmt: skip
    assert found["relationships"].to_pylist()[0]["parent_columns"] == ["id"]


def test_every_function_the_kind_names_exists() -> None:
    lazies = [KIND.recognise, KIND.check, KIND.catalog, KIND.fix, KIND.migrate, KIND.git_setup]
    for recipe in KIND.recipes:
        lazies += [recipe.body, recipe.content, recipe.preview, recipe.before_replace]
    for lazy in lazies:
        if lazy is not None:
            assert callable(lazy.load()), lazy.target


def test_declarations_are_light() -> None:
    import subprocess
    import sys

    heavy = "{'pydantic', 'pyarrow', 'duckdb', 'apsw', 'fsspec', 'ruamel', 'dagster', 'asyncio', 'adbc_driver_sqlite'}"
    script = f"import sys; import assets.tables.recipes; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"

"""The store of a project on a real folder: checking all of it, reading its rows, typed order, safe repairs."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage
from resources.tables.repair import fix
from resources.tables.store import TablesStore, sort_key
from schemas.errors import InvalidText, NewerFormat
from schemas.tables.project import read_project

PROJECT = """\
version: 1
tables:
  customer:
    columns: {id: {type: integer}, name: {type: text}, joined: {type: date}}
    primary_key: [id]
  order:
    columns: {id: {type: integer}, customer_id: {type: integer}, total: {type: "decimal(8,2)"}}
    primary_key: [id]
relationships:
  placed: {from: {table: order, columns: [customer_id]}, to: {table: customer, columns: [id]}}
"""


def make(root: Path, files: dict[str, str | bytes]) -> TablesStore:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return TablesStore(LocalStorage(root), "shop")


@pytest.fixture
def store(tmp_path: Path) -> TablesStore:
    return make(
        tmp_path,
        {
            "shop/project.yaml": PROJECT,
            "shop/data/customer.csv": "id,name,joined\n1,Ann,2024-01-31\n2,,\n10,Zoë,\n",
            "shop/data/order.csv": "id,customer_id,total\n1,1,9.90\n2,,\n",
        },
    )


def test_a_good_project_has_no_findings(store: TablesStore) -> None:
    assert store.check() == []
    project = store.project()
    assert list(store.rows(project, "customer"))[1] == ["2", None, None]


@pytest.mark.parametrize("obstacle", ["link", "folder"])
def test_what_is_no_file_is_not_taken_for_an_empty_table(store: TablesStore, tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "shop/data/order.csv"
    path.rename(tmp_path / "elsewhere.csv")
    path.symlink_to(tmp_path / "elsewhere.csv") if obstacle == "link" else path.mkdir()
    (refused,) = store.check()
    assert (refused.rule, refused.path, refused.blocking) == ("tables-not-a-file", "shop/data/order.csv", True)


def test_findings_have_workspace_paths(store: TablesStore, tmp_path: Path) -> None:
    (tmp_path / "shop/data/order.csv").write_text("id,customer_id,total\n1,77,9.90\n2,,1\n")
    found = store.check()
    assert [finding.render().splitlines()[0] for finding in found] == [
        "shop/data/order.csv:2:3: error: customer_id=77: no customer.id [tables-orphan]",
        (
            "shop/data/order.csv:3:4: error: total: `1` is not a decimal(8,2):"
            " no digits after the point, the type says 2 [tables-cell]"
        ),
    ]


def test_rows_are_not_judged_under_a_broken_project(store: TablesStore, tmp_path: Path) -> None:
    (tmp_path / "shop/project.yaml").write_text(PROJECT.replace("decimal(8,2)", "money"))
    (tmp_path / "shop/data/order.csv").write_text("nonsense\n")
    assert [finding.rule for finding in store.check()] == ["tables-type"]
    with pytest.raises(InvalidText):
        store.project()


def test_case_16_missing_required_and_undeclared_files(store: TablesStore, tmp_path: Path) -> None:
    (tmp_path / "shop/data/order.csv").unlink()
    (warned,) = store.check()
    assert (warned.rule, warned.path, warned.blocking) == ("tables-no-rows", "shop/data/order.csv", False)
    assert list(store.rows(store.project(), "order")) == []
    (tmp_path / "shop/project.yaml").write_text(PROJECT.replace("  order:\n", "  order:\n    rows: required\n"))
    (tmp_path / "shop/data/Order.csv").write_text("id\n")
    assert [(finding.rule, finding.path, finding.blocking) for finding in store.check()] == [
        ("tables-undeclared-file", "shop/data/Order.csv", False),
        ("tables-missing-file", "shop/data/order.csv", True),
    ]


def test_case_79_a_file_name_in_the_other_unicode_form_is_matched(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    project = "version: 1\ntables:\n  café: {columns: {id: {type: integer}, n: {type: text}}, primary_key: [id]}\n"
    store = make(tmp_path, {"shop/project.yaml": project, f"shop/data/{decomposed}.csv": "id,n\n1,a\n"})
    assert [(finding.rule, finding.blocking) for finding in store.check()] == [("tables-file-name-form", False)]
    assert list(store.rows(store.project(), "café")) == [["1", "a"]]


def test_a_folder_without_project_yaml(tmp_path: Path) -> None:
    store = TablesStore(LocalStorage(tmp_path), "")
    assert [finding.rule for finding in store.check()] == ["tables-no-project"]


def test_case_87_a_newer_project_is_refused_and_untouched(tmp_path: Path) -> None:
    store = make(tmp_path, {"shop/project.yaml": "version: 2\n"})
    for call in (store.check, store.project):
        with pytest.raises(NewerFormat):
            call()
    assert (tmp_path / "shop/project.yaml").read_text() == "version: 2\n"


def test_safe_repairs_touch_only_their_cells(store: TablesStore, tmp_path: Path) -> None:
    before = '\ufeffid,name,joined\r\n+1,"Ann",2024/01/31\r\n002,"a, b",\r\n10,x,2024-2-3'
    (tmp_path / "shop/data/customer.csv").write_bytes(before.encode())
    changes = fix(store.storage, "shop", store.check())
    store.storage.commit(changes, label="fix")
    after = (tmp_path / "shop/data/customer.csv").read_bytes().decode()
    assert after == 'id,name,joined\r\n1,"Ann",2024-01-31\r\n002,"a, b",\r\n10,x,2024-02-03\n'
    assert [finding.rule for finding in store.check() if finding.blocking and "customer" in finding.path] == ["tables-cell"]


def test_a_cell_that_says_something_else_by_now_is_left_alone(store: TablesStore, tmp_path: Path) -> None:
    path = tmp_path / "shop/data/customer.csv"
    path.write_text('id,name,joined\n+1,"Ann",2024/01/31\n')
    findings = store.check()
    path.write_text('id,name,joined\n71,"Ann",2024/01/31\n')
    [change] = fix(store.storage, "shop", findings)
    assert change.data == b'id,name,joined\n71,"Ann",2024-01-31\n'


def test_repairs_leave_files_that_cannot_be_taken_apart(store: TablesStore, tmp_path: Path) -> None:
    before = 'id,name,joined\n+1,"Ann"x,\n'
    (tmp_path / "shop/data/customer.csv").write_text(before)
    assert fix(store.storage, "shop", store.check()) == []


def test_the_order_of_keys_is_typed() -> None:
    table = read_project(PROJECT.encode(), "p").tables["customer"]
    order = sort_key(table, ["id", "name"])
    rows: list[tuple[str | None, ...]] = [("10", "a"), ("9", None), ("-3", "b"), ("9", "Z"), ("9", "a"), ("9", "")]
    expected = [("-3", "b"), ("9", None), ("9", ""), ("9", "Z"), ("9", "a"), ("10", "a")]
    assert sorted(rows, key=order) == expected

"""The store of a project on a real folder: checking all of it, writing rows back, templates, safe repairs."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.storage.local import LocalStorage
from resources.tables.records import Change as RowChange
from resources.tables.repair import fix
from resources.tables.store import TablesStore, init_changes, table_bytes
from schemas.errors import Conflict, HeadwaterError, InvalidText, NewerFormat
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


def test_findings_have_workspace_paths(store: TablesStore, tmp_path: Path) -> None:
    (tmp_path / "shop/data/order.csv").write_text("id,customer_id,total\n1,77,9.90\n2,,1\n")
    found = store.check()
    assert [finding.render().splitlines()[0] for finding in found] == [
        "shop/data/order.csv:2:3: error: customer_id=77: no customer.id [tables-orphan]",
        (
            "shop/data/order.csv:3:4: error: total: `1` is not a decimal(8,2):"
            " 0 digits after the point, the type says 2 [tables-cell]"
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
    assert store.check() == []
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


def row(key: str, before: dict[str, str | None] | None, after: dict[str, str | None] | None) -> RowChange:
    return RowChange((key,), before, after)


def test_case_97_one_changed_row_changes_one_line(store: TablesStore, tmp_path: Path) -> None:
    project = store.project()
    old = {"id": "2", "name": None, "joined": None}
    written = store.write_rows(project, {"customer": [row("2", old, {**old, "name": ""})]}, label="export")
    assert written == ["shop/data/customer.csv"]
    text = (tmp_path / "shop/data/customer.csv").read_text()
    assert text == 'id,name,joined\n1,Ann,2024-01-31\n2,"",\n10,Zoë,\n'


def test_new_rows_go_to_their_place_in_typed_order(store: TablesStore, tmp_path: Path) -> None:
    project = store.project()
    new = [row(key, None, {"id": key, "name": "n", "joined": None}) for key in ("9", "11", "-3")]
    store.write_rows(project, {"customer": new}, label="export")
    lines = (tmp_path / "shop/data/customer.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == ["-3", "1", "2", "9", "10", "11"]


def test_case_36_changes_of_several_tables_are_one_commit(store: TablesStore, tmp_path: Path) -> None:
    project = store.project()
    gone = {"id": "1", "name": "Ann", "joined": "2024-01-31"}
    order = {"id": "1", "customer_id": "1", "total": "9.90"}
    store.write_rows(project, {"customer": [row("1", gone, None)], "order": [row("1", order, None)]}, label="export")
    assert (tmp_path / "shop/data/customer.csv").read_text() == "id,name,joined\n2,,\n10,Zoë,\n"
    assert (tmp_path / "shop/data/order.csv").read_text() == "id,customer_id,total\n2,,\n"


def test_a_file_edited_in_between_is_not_overwritten(store: TablesStore, tmp_path: Path) -> None:
    project = store.project()
    change = store.plan_rows(project, "customer", [row("3", None, {"id": "3", "name": "n", "joined": None})])
    assert change is not None
    (tmp_path / "shop/data/customer.csv").write_text("id,name,joined\n1,Eve,\n")
    with pytest.raises(Conflict):
        store.storage.commit([change], label="export")
    assert (tmp_path / "shop/data/customer.csv").read_text() == "id,name,joined\n1,Eve,\n"


def test_rows_of_a_table_without_a_file_make_the_file(store: TablesStore, tmp_path: Path) -> None:
    (tmp_path / "shop/data/order.csv").unlink()
    new = row("1", None, {"id": "1", "customer_id": None, "total": "1.00"})
    store.write_rows(store.project(), {"order": [new]}, label="export")
    assert (tmp_path / "shop/data/order.csv").read_text() == "id,customer_id,total\n1,,1.00\n"


def test_a_row_that_is_not_there_is_an_error(store: TablesStore) -> None:
    with pytest.raises(HeadwaterError):
        store.plan_rows(store.project(), "order", [row("99", {"id": "99"}, None)])


def test_rows_without_a_key_stay_in_file_order(tmp_path: Path) -> None:
    project = "version: 1\ntables:\n  log: {columns: {at: {type: integer}, what: {type: text}}}\n"
    store = make(tmp_path, {"shop/project.yaml": project, "shop/data/log.csv": "at,what\n5,a\n3,b\n"})
    new = RowChange(("1", "c"), None, {"at": "1", "what": "c"})
    store.write_rows(store.project(), {"log": [new]}, label="export")
    assert (tmp_path / "shop/data/log.csv").read_text() == "at,what\n5,a\n3,b\n1,c\n"


def test_templates_are_written_only_where_nothing_is(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/.gitignore").write_text("mine\n")
    changes = init_changes(storage, "shop", 'a "shop": of 1')
    assert [change.path for change in changes] == ["shop/project.yaml", "shop/data/item.csv", "shop/.gitattributes"]
    storage.commit(changes, label="init")
    store = TablesStore(storage, "shop")
    assert store.project().project.name == 'a "shop": of 1'
    assert [(finding.rule, finding.blocking) for finding in store.check()] == [("tables-git-file", False)]
    assert (tmp_path / "shop/.gitignore").read_text() == "mine\n"
    with pytest.raises(HeadwaterError, match="already"):
        init_changes(storage, "shop", "again")


def test_safe_repairs_touch_only_their_cells(store: TablesStore, tmp_path: Path) -> None:
    before = '\ufeffid,name,joined\r\n+1,"Ann",2024/01/31\r\n002,"a, b",\r\n10,x,2024-2-3'
    (tmp_path / "shop/data/customer.csv").write_bytes(before.encode())
    changes = fix(store.storage, "shop", store.check())
    store.storage.commit(changes, label="fix")
    after = (tmp_path / "shop/data/customer.csv").read_bytes().decode()
    assert after == 'id,name,joined\r\n1,"Ann",2024-01-31\r\n002,"a, b",\r\n10,x,2024-02-03\n'
    assert [finding.rule for finding in store.check() if finding.blocking and "customer" in finding.path] == ["tables-cell"]


def test_repairs_leave_files_that_cannot_be_taken_apart(store: TablesStore, tmp_path: Path) -> None:
    before = 'id,name,joined\n+1,"Ann"x,\n'
    (tmp_path / "shop/data/customer.csv").write_text(before)
    assert fix(store.storage, "shop", store.check()) == []


CELLS = st.tuples(
    st.integers(-(10**6), 10**6).map(str),
    st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)),
    st.one_of(st.none(), st.dates().map(str)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(CELLS, max_size=8, unique_by=lambda cells: cells[0]))
def test_writing_a_table_and_reading_it_gives_the_same_rows_in_order(rows: list[tuple[str | None, ...]]) -> None:
    from schemas.tables.strict import read_rows

    project = read_project(PROJECT.encode(), "p")
    data = table_bytes(project, "customer", rows)
    again = [tuple(cells) for cells in read_rows(data, "c", project, "customer")]
    assert again == sorted(rows, key=lambda cells: int(str(cells[0])))
    assert table_bytes(project, "customer", again) == data

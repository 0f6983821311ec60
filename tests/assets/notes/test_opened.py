"""Opened notes: always current, in place or privately, and never a byte in a folder that is not ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Ref, Result, Store
from assets.notes.opened import OpenedNotes, open_notes
from resources.workspace import open_workspace
from schemas.errors import HeadwaterError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HEADWATER_ROOT", "HEADWATER_REMOTE_CACHE", "QIPU_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))


def write(root: Path, files: dict[str, str]) -> None:
    """Write notes, with times long enough ago that the stat cache believes them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        past = path.stat().st_mtime - 10
        os.utime(path, (past, past))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(
        root,
        {
            "headwater.toml": "version = 1\n",
            ".qipu/notes/qp-a1-river.md": "---\nid: qp-a1\ntitle: River\n---\nTo the [[Sea]], past [[Nowhere]].\n",
            ".qipu/notes/qp-b2-sea.md": "---\nid: qp-b2\ntitle: Sea\n---\nBack to [[River]].\n",
        },
    )
    return root


@contextmanager
def opened(root: Path) -> Iterator[OpenedNotes]:
    engine = Engine(open_workspace(root))
    try:
        (store,) = [store for store in engine.stores() if store.kind == "notes"]
        with open_notes(engine, store) as notes:
            yield notes
    finally:
        engine.close()


def titles(notes: OpenedNotes) -> list[str]:
    return [row["title"] for row in notes.connection.execute("SELECT title FROM notes ORDER BY title")]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_opening_brings_the_index_up_to_date(project: Path) -> None:
    with opened(project) as notes:
        assert (notes.outcome.result, notes.notice, notes.is_private) == (Result.BUILT, None, False)
        assert titles(notes) == ["River", "Sea"]
        assert notes.path == project / ".qipu/qipu.db"
        assert notes.store.note_paths() == ["notes/qp-a1-river.md", "notes/qp-b2-sea.md"]
        assert notes.config.id_scheme == "hash"
    with opened(project) as notes:
        assert notes.outcome.result is Result.FRESH
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            notes.connection.execute("DELETE FROM notes")


def test_an_edit_is_seen_after_refresh(project: Path) -> None:
    with opened(project) as notes:
        write(project, {".qipu/notes/qp-c3-nowhere.md": "---\nid: qp-c3\ntitle: Nowhere\n---\n"})
        assert titles(notes) == ["River", "Sea"]
        assert notes.refresh().result is Result.BUILT
        assert titles(notes) == ["Nowhere", "River", "Sea"]
        assert notes.connection.execute("SELECT count(*) FROM unresolved").fetchone()[0] == 0
        assert notes.refresh().result is Result.FRESH


def test_case_74_new_content_of_the_same_size_and_time_is_noticed(project: Path) -> None:
    with opened(project):
        pass
    path = project / ".qipu/notes/qp-b2-sea.md"
    before = path.stat()
    path.write_text(path.read_text().replace("Sea", "Bay"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with opened(project) as notes:
        assert titles(notes) == ["Bay", "River"]


@pytest.mark.parametrize("garbage", [b"", b"not a database", b"SQLite format 3\0" + bytes(4096)])
def test_what_lies_at_the_index_breaks_no_command(project: Path, garbage: bytes) -> None:
    (project / ".qipu/qipu.db").write_bytes(garbage)
    with opened(project) as notes:
        assert titles(notes) == ["River", "Sea"]
        assert notes.notice is None
        rescued = [project / path for path in notes.outcome.rescued]
    assert [path.read_bytes() for path in rescued] == [garbage]


def test_an_index_of_another_program_with_a_journal_is_replaced_whole(project: Path) -> None:
    with closing(sqlite3.connect(project / ".qipu/qipu.db")) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE notes (id TEXT, title TEXT)")
        other.execute("INSERT INTO notes VALUES ('x', 'theirs')")
        other.commit()
        shutil.copytree(project / ".qipu", project / "kept")
    for name in ("qipu.db", "qipu.db-wal", "qipu.db-shm"):
        shutil.copy(project / "kept" / name, project / ".qipu" / name)
    with opened(project) as notes:
        assert titles(notes) == ["River", "Sea"]
    assert sorted(path.name for path in (project / ".qipu").iterdir()) == ["notes", "qipu.db"]
    assert len(list((project / "headwater-rescue/derived").iterdir())) == 2


def test_a_folder_in_the_way_is_read_around(project: Path) -> None:
    (project / ".qipu/qipu.db").mkdir()
    with opened(project) as notes:
        assert titles(notes) == ["River", "Sea"]
        assert notes.is_private
        assert "private copy" in str(notes.notice)


def test_an_index_that_cannot_be_written_is_private(project: Path) -> None:
    (project / ".headwater").mkdir()
    (project / ".headwater/local").write_text("in the way")
    before = contents(project / ".qipu")
    with opened(project) as notes:
        assert titles(notes) == ["River", "Sea"]
        assert notes.is_private
        write(project, {".qipu/notes/qp-c3-delta.md": "# Delta\n"})
        notes.refresh()
        assert titles(notes) == ["Delta", "River", "Sea"]
    assert contents(project / ".qipu").keys() - before.keys() == {"notes/qp-c3-delta.md"}


def test_a_store_that_is_gone_says_so(project: Path) -> None:
    with opened(project):
        pass
    shutil.rmtree(project / ".qipu")
    engine = Engine(open_workspace(project))
    (store,) = [store for store in engine.stores() if store.kind == "notes"]
    with pytest.raises(HeadwaterError) as raised:
        open_notes(engine, store)
    assert raised.value.rule == "store-vanished"


VAULT = {
    "Home.md": "# Home\n\nSee [[Garden]] and ![[tree.png]].\n",
    "areas/Garden.md": "#garden back to [[Home]]\n",
    ".obsidian/app.json": '{"attachmentFolderPath": "files"}\n',
    ".obsidian/plugins/x/main.js": "let x\n",
    ".trash/Old.md": "[[Gone]]\n",
    "files/tree.png": "\x89PNG",
}


@pytest.mark.parametrize("checkout", [False, True])
def test_not_one_byte_of_a_vault_changes(tmp_path: Path, checkout: bool) -> None:
    vault = tmp_path / "vault"
    write(vault, VAULT)
    if checkout:
        subprocess.run(["git", "init", "-q", str(vault)], check=True)
        (vault / ".git/info/exclude").write_text(".obsidian/\n")  # as most people have it
    before = contents(vault)
    with opened(vault / "areas") as notes:
        assert titles(notes) == ["Garden", "Home"]
        states = {row["target"]: row["state"] for row in notes.connection.execute("SELECT target, state FROM mentions")}
        assert states == {"Garden": "resolved", "tree.png": "attachment", "Home": "resolved"}
        assert not notes.is_private
        assert (tmp_path / "user-cache") in notes.path.parents
        assert notes.engine.check()[Ref("notes", "root", "")] == []
        outcomes = notes.engine.build(["notes"])
        assert {str(outcome.result) for outcome in outcomes} <= {"built", "fresh"}
    assert contents(vault) == before


def test_outputs_of_a_vault_in_a_workspace_lie_apart_from_it(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    write(root, {"headwater.toml": "version = 1\n", **{f"vault/{name}": text for name, text in VAULT.items()}})
    before = contents(root / "vault")
    with opened(root) as notes:
        assert notes.path == root / ".headwater/artifacts/notes/vault/qipu.db"
        notes.engine.build(["notes"])
    assert (root / ".headwater/artifacts/notes/vault/.cache/tags.json").is_file()
    assert contents(root / "vault") == before


def test_a_vault_that_becomes_a_store_of_qipus_takes_its_index_along(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    write(root, {"n/notes/a.md": "# A\n"})
    (root / "headwater.toml").write_text('version = 1\n[stores.n]\nkind = "notes"\npath = "n"\n')
    with opened(root) as notes:
        apart = notes.path
    write(root, {"n/config.toml": "version = 1\n"})
    with opened(root) as notes:
        assert notes.path == root / "n/qipu.db"
        assert titles(notes) == ["A"]
    assert not apart.exists()


def test_settings_of_the_store_choose_its_notes(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    write(root, {f"docs/{name}.md": f"# {name}\n" for name in ("a", "b", "drafts/c")})
    (root / "headwater.toml").write_text('version = 1\n[stores.docs]\nkind = "notes"\npath = "docs"\n')
    with opened(root) as notes:
        assert titles(notes) == ["a", "b", "drafts/c"]
    (root / "headwater.toml").write_text(
        'version = 1\n[stores.docs]\nkind = "notes"\npath = "docs"\n[stores.docs.settings]\nexclude = ["drafts/**"]\n'
    )
    with opened(root) as notes:
        assert titles(notes) == ["a", "b"]
        assert any("exclude" in reason for reason in notes.outcome.reasons)


@pytest.mark.parametrize("changed", [False, True])
def test_opening_a_current_index_is_light(project: Path, changed: bool) -> None:
    with opened(project):
        pass
    heavy = {"pydantic", "fsspec", "duckdb", "pyarrow", "ruamel", "dagster"}
    if changed:
        write(project, {".qipu/notes/qp-c3-x.md": "---\nid: qp-c3\ntitle: X\ntags: [a, b]\n---\n[[River]]\n"})
    else:
        heavy |= {"apsw", "asyncio"}
    code = (
        "import sys\nfrom assets.engine.engine import Engine\nfrom assets.notes.opened import open_notes\n"
        "from resources.workspace import open_workspace\n"
        f"engine = Engine(open_workspace({str(project)!r}))\n"
        "store = next(store for store in engine.stores() if store.kind == 'notes')\n"
        f"open_notes(engine, store)\nprint(sorted({heavy!r} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


def test_the_findings_of_a_check_are_those_of_the_index(project: Path) -> None:
    with opened(project) as notes:
        findings = notes.engine.check()[Ref("notes", ".qipu", "")]
        assert [(found.rule, found.path, found.line, found.column) for found in findings] == [
            ("link-broken", ".qipu/notes/qp-a1-river.md", 5, 22)
        ]
        assert notes.place == Store("notes", ".qipu", ".qipu")


def test_notes_under_a_url_are_indexed_and_checked(tmp_path: Path) -> None:
    workspace = open_workspace("memory://notes-under-a-url")
    workspace.root.write("a/.qipu/notes/qp-a1-river.md", b"---\nid: qp-a1\ntitle: River\n---\nTo the [[Sea]].\n")
    workspace.root.write("a/qipu/config.toml", b"version = 1\n")
    workspace.root.write("vault/.obsidian/app.json", b"{}")
    workspace.root.write("vault/Home.md", b"# Home\n")

    def engine() -> Engine:
        return Engine(open_workspace("memory://notes-under-a-url"))

    first = engine()
    assert {store.root for store in first.stores() if store.kind == "notes"} == {"a/.qipu", "vault"}
    store = next(store for store in first.stores() if store.root == "a/.qipu")
    with open_notes(first, store) as notes:
        assert titles(notes) == ["River"]
        assert not notes.is_private
    findings = first.check()[Ref("notes", "a/.qipu", "")]
    assert [(found.rule, found.path) for found in findings] == [("link-broken", "a/.qipu/notes/qp-a1-river.md")]
    workspace.root.write("a/.qipu/notes/qp-b2-sea.md", b"---\nid: qp-b2\ntitle: Sea\n---\n")
    second = engine()
    with open_notes(second, store) as notes:
        assert titles(notes) == ["River", "Sea"]
        record = second.provenance(notes.ref)
        assert record is not None
        assert record.how == "folded"
    assert second.check()[Ref("notes", "a/.qipu", "")] == []


def test_a_store_within_a_store_is_left_to_itself(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    write(root, {"a.md": "# A\n", "inner/b.md": "# B\n", "inner/.obsidian/app.json": "{}", "project/.qipu/notes/c.md": "# C\n"})
    (root / "headwater.toml").write_text('version = 1\n[stores.all]\nkind = "notes"\n')
    engine = Engine(open_workspace(root))
    found = {}
    for store in engine.stores():
        if store.kind == "notes":
            with open_notes(engine, store) as notes:
                found[store.name] = titles(notes)
    assert found == {"all": ["A"], "inner": ["B"], "project/.qipu": ["C"]}


def test_what_is_built_beside_tables_in_a_vault_changes_no_note(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    write(
        root,
        {
            "headwater.toml": "version = 1\n",
            "vault/.obsidian/app.json": "{}",
            "vault/Home.md": "The [rows](db/data/t.csv).\n",
            "vault/db/project.yaml": "version: 1\ntables:\n  t:\n    columns: {id: {type: integer}}\n    primary_key: [id]\n",
            "vault/db/data/t.csv": "id\n1\n",
        },
    )
    engine = Engine(open_workspace(root))
    assert {str(outcome.result) for outcome in engine.build()} == {"built"}
    assert (root / "vault/db/playground.db").is_file()
    again = Engine(open_workspace(root))
    assert {str(state.freshness) for state in again.status()} == {"fresh"}
    store = next(store for store in again.stores() if store.kind == "notes")
    with open_notes(again, store) as notes:
        paths = {row["path"] for row in notes.connection.execute("SELECT path FROM attachments")}
    assert paths == {"db/project.yaml", "db/data/t.csv"}

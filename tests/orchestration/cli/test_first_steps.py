"""The first commands of a newcomer, outside every workspace and checkout, as the README and the guides tell them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran, build, write_project

Run = Callable[..., Ran]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder outside every workspace and checkout, as the current folder."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_new_project_is_a_workspace_whose_outputs_lie_beside_the_text(
    nowhere: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init tables my-project`, `cd my-project`, `build`, `explain tables/my-project/playground_db`."""
    made = run("init", "tables", "my-project")
    assert made.code == 0
    assert "wrote my-project/headwater.toml" in made.out
    assert made.out.rstrip().endswith("in my-project")
    monkeypatch.chdir(nowhere / "my-project")
    assert run("check").out == "no findings\n"
    build(run, "tables/my-project/playground_db")
    assert (nowhere / "my-project/playground.db").is_file()
    assert run("explain", "tables/my-project/playground_db").code == 0


@pytest.mark.parametrize("command", ["import", "unzip"])
def test_every_way_to_a_new_project_makes_a_workspace(nowhere: Path, run: Run, command: str) -> None:
    """A project from data or from an archive is as usable as one from `init`, under whatever name its folder has."""
    (nowhere / "a.csv").write_text("id,name\n1,x\n", "utf-8")
    folder = 'the "new" one'
    assert run("tables", "import", "a.csv", "--into", folder).code == 0
    if command == "unzip":
        assert run("-C", folder, "tables", "zip", "-o", "a.zip").code == 0
        folder = "again"
        assert run("tables", "unzip", "a.zip", folder).code == 0
    assert list(tomllib.loads((nowhere / folder / "headwater.toml").read_text("utf-8"))["stores"]) == [folder]
    assert f"tables/{folder}  ./" in run("-C", folder, "ls").out


def test_a_project_inside_a_workspace_gets_no_second_one(workspace: Path, run: Run) -> None:
    """The workspace finds the new store; a headwater.toml in it would hide it."""
    assert run("init", "tables", "new").code == 0
    assert not (workspace / "new/headwater.toml").exists()
    assert "tables/new" in run("ls").out


def test_init_in_the_current_folder_says_so(nowhere: Path, run: Run) -> None:
    """No sentence that ends with a lone dot."""
    assert run("tables", "init").out.splitlines()[-1].endswith(" here")


def test_the_profile_of_a_plain_folder_is_shown(nowhere: Path, run: Run) -> None:
    """Its artifacts lie in the user's cache, outside the workspace's root."""
    write_project(nowhere)
    shown = run("tables", "profile")
    assert shown.code == 0
    assert "owner_id" in shown.out
    assert run("tables", "erd", "--mermaid").code == 0


def test_a_name_that_is_no_store_is_refused_also_where_the_root_is_one(nowhere: Path, run: Run) -> None:
    """A folder that does not exist lies nowhere, not in the store around it."""
    assert run("init", "tables", ".").code == 0
    refused = run("tables", "check", "nostore")
    assert refused.code == 2
    assert "[store-unknown]" in refused.err
    assert run("tables", "check", "data").code == 0


def test_status_says_each_reason_once_and_promises_nothing_unknown(workspace: Path, run: Run) -> None:
    """The catalog is made of texts and of artifacts: one reason. What a stale input will give is in no build cache yet."""
    build(run)
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n", "utf-8")
    assert run("tables", "build", "pets").code == 0
    lines = run("status").out.splitlines()
    assert sum("the workspace changed" in line for line in lines) == 1
    assert [line for line in lines if line.endswith(" ")] == []
    waiting = [line for line in lines if "its input tables/pets/parquet is not up to date" in line]
    assert len(waiting) == 1
    assert "in the build cache" not in waiting[0]


def test_one_of_a_thing_is_counted_in_the_singular() -> None:
    """`1 table, 2 rows`; what is no plural stays as it is."""
    from orchestration.cli.build import _counts

    assert _counts({"tables": 1, "rows": 2, "not held by DuckDB": 1, "nulls": 0}) == "1 table, 2 rows, 1 not held by DuckDB"


def test_a_project_saved_as_utf16_is_reported_not_forgotten(workspace: Path, run: Run) -> None:
    """Some editors save so; a store that silently vanishes would look like a workspace without mistakes."""
    project = workspace / "pets/project.yaml"
    project.write_bytes(project.read_text("utf-8").encode("utf-16"))
    found = run("check")
    assert found.code == 3
    assert found.out.startswith("pets/project.yaml:1:1: error: the file is encoded as UTF-16")


def test_the_history_of_a_new_project_says_that_there_is_none(nowhere: Path, run: Run) -> None:
    """No table of nothing, and no claim that the text has changed since a record that does not exist."""
    assert run("tables", "init").code == 0
    assert run("tables", "history").out == "nothing has been recorded yet\n"
    replayed = run("tables", "replay")
    assert replayed.code == 1
    assert replayed.out == "nothing has been recorded yet: the text that lies here is no record's\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exec", "nofile.sql"], "there is no file nofile.sql [sql-file]"),
        (["zip", "-o", "nofolder/x.zip"], "there is no folder nofolder [output-folder]"),
        (["sheet", "export", "-o", "nofolder/x.xlsx"], "there is no folder nofolder [output-folder]"),
        (["import", ".", "--into", "new"], "File '.' is a directory. [usage]"),
    ],
)
def test_a_file_or_folder_that_is_not_there_is_named(workspace: Path, run: Run, arguments: list[str], message: str) -> None:
    """Before anything is done, as a mistake in the command line."""
    refused = run("tables", *arguments)
    assert refused.code == 2
    assert refused.err.splitlines()[0] == f"error: {message}" or message in refused.err


def test_a_dry_run_of_the_data_package_claims_nothing(workspace: Path, run: Run) -> None:
    """It says what it would do."""
    assert run("tables", "export", "--datapackage", "--dry-run").out == "would write pets/datapackage.json\n"
    assert not (workspace / "pets/datapackage.json").exists()


def test_a_difference_says_which_way_it_is_read(workspace: Path, run: Run) -> None:
    """From the database to the text, the other way round than an export."""
    assert run("tables", "build").code == 0
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n", "utf-8")
    lines = run("tables", "diff").out.splitlines()
    assert lines[0] == "from playground.db to the text:"
    assert lines[2] == "  ~ id=2: name Bo -> Bea"


def test_a_project_that_is_not_recognised_is_named(nowhere: Path, run: Run) -> None:
    """Somebody who forgot `version` learns that the file was seen."""
    (nowhere / "project.yaml").write_text("tables: {}\n", "utf-8")
    hint = "The project.yaml here is not read as a tables project"
    listed = run("status")
    assert listed.code == 0
    assert hint in listed.out
    refused = run("tables", "check")
    assert refused.code == 2
    assert hint in refused.err


def test_sources_are_listed_in_one_order(workspace: Path, run: Run) -> None:
    """The same the first time and when they are remembered."""
    first = run("ls").out
    assert first.index("project") < first.index("data") < first.index("history")
    assert run("ls").out == first


def test_a_query_of_what_was_never_built_says_what_to_do(workspace: Path, run: Run) -> None:
    """The rows of a store come from its Parquet files."""
    asked = run("query", "SELECT * FROM pets.owner")
    assert asked.code == 1
    assert "`headwater build`" in asked.err


def test_exec_beside_newer_text_says_to_build(workspace: Path, run: Run) -> None:
    """Nothing was edited in the database, so there is nothing to take over from it."""
    assert run("tables", "build").code == 0
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n", "utf-8")
    refused = run("tables", "exec", "DELETE FROM pet")
    assert refused.code == 1
    assert "build it from the text with `headwater tables build`" in refused.err
    assert "export" not in refused.err


def test_nothing_is_asked_about_what_cannot_be_built(workspace: Path, run: Run) -> None:
    """With errors in the text the present database stays, so the answer would mean nothing."""
    from assets.engine.model import Policy, Question
    from orchestration.cli.app import App
    from orchestration.cli.build import _ask

    build(run)
    asked: list[Question] = []

    def ask(question: Question) -> bool:
        asked.append(question)
        return False

    def questions(rows: str) -> tuple[set[str], set[str]]:
        (workspace / "pets/data/owner.csv").write_text(rows, "utf-8")
        app = App()
        try:
            pending = list(app.engine().questions(()))
            assert [str(question.ref) for question in pending] == ["tables/pets/playground_db"]
            agreed, declined = _ask(app, pending, Policy(ask=ask))
            return agreed, {str(ref) for ref in declined}
        finally:
            app.close()

    assert questions("id,name\n1,Ada\n02,Bo\n") == (set(), set())
    assert asked == []
    assert questions("id,name\n1,Ada\n2,Bea\n") == (set(), {"tables/pets/playground_db"})
    assert len(asked) == 1


def test_an_import_points_at_cells_that_commas_do_not_separate(nowhere: Path, run: Run) -> None:
    """Nothing is sniffed, but one column called `a;b` is said aloud."""
    (nowhere / "s.csv").write_text("a;b\n1;2\n", "utf-8")
    made = run("tables", "import", "s.csv", "--into", "new")
    assert made.code == 0
    assert made.err == "s.csv has one column, 'a;b': if semicolons separate its cells, use commas\n"
    (nowhere / "one.csv").write_text("a\n1\n", "utf-8")
    assert run("tables", "import", "one.csv", "--into", "other").err == ""


def test_a_build_in_a_plain_folder_says_where_its_outputs_went(nowhere: Path, run: Run) -> None:
    """Nobody looks for a database in the cache folder; in a workspace there is nothing to say."""
    write_project(nowhere)
    plain = run("build", "tables/root/erd")
    assert plain.code == 0
    assert "`headwater init` here makes it a workspace" in plain.err
    assert run("init").code == 0
    assert "makes it a workspace" not in run("build", "tables/root/erd").err


def test_projects_that_are_workspaces_are_named_from_above(nowhere: Path, run: Run) -> None:
    """Two projects started side by side are two workspaces; the folder above holds none of them, and says so."""
    for name in ("b", "a"):
        assert run("init", "tables", name).code == 0
    assert "Workspaces of their own lie in a, b:" in run("ls").out
    assert "Workspaces of their own" not in run("-C", "a", "ls").out

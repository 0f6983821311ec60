"""The commands of the tables kind, run as a user runs them, on a copy of a small project."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestration.cli.main import main
from resources.objects import ObjectStore
from resources.storage import open_storage
from resources.storage.local import LocalStorage
from schemas.tables.gitfiles import GITATTRIBUTES, GITIGNORE

PROJECT = """\
version: 1
tables:
  city:
    columns:
      id: {type: integer}
      name: {type: text, nullable: false}
    primary_key: [id]
  person:
    columns:
      id: {type: integer}
      city: {type: integer}
      name: {type: text}
    primary_key: [id]
relationships:
  lives_in:
    from: {table: person, columns: [city]}
    to: {table: city, columns: [id]}
    on_delete: cascade
"""
CITY = "id,name\n1,Aarhus\n2,Bergen\n"
PERSON = 'id,city,name\n1,1,Ann\n2,1,Bo\n3,2,""\n4,,\n'

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one tables store, as the current folder."""
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    (tmp_path / "shop/data").mkdir(parents=True)
    (tmp_path / "shop/project.yaml").write_text(PROJECT)
    (tmp_path / "shop/data/city.csv").write_text(CITY)
    (tmp_path / "shop/data/person.csv").write_text(PERSON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_ACTOR", "ada")
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["tables", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def records(run: Run) -> Callable[..., list[dict[str, Any]]]:
    def call(*arguments: str) -> list[dict[str, Any]]:
        code, out, err = run(*arguments, "--json")
        assert code == 0, (out, err)
        return [json.loads(line) for line in out.splitlines()]

    return call


def sql(database: Path, *statements: str) -> None:
    connection = apsw.Connection(str(database))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(database))
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def quick_build(run: Run) -> None:
    """The database, as every command that reads it makes it; without Dagster, which `build` starts."""
    assert run("diff")[0] == 0


def test_exec_builds_a_missing_database_and_keeps_text_and_history_in_step(work: Path, run: Run) -> None:
    code, out, err = run("exec", "UPDATE person SET name = 'Bob' WHERE id = 2")
    assert (code, err) == (0, "")
    assert "1 row changed in shop/data/person.csv" in out
    assert (work / "shop/data/person.csv").read_text() == PERSON.replace("2,1,Bo", "2,1,Bob")
    assert rows(work / "shop/playground.db", "SELECT name FROM person WHERE id = 2") == [("Bob",)]
    code, out, _ = run("history")
    assert "ada" in out
    assert "UPDATE person SET name = 'Bob' WHERE id = 2" in out
    code, out, _ = run("replay")
    assert (code, "the text is exactly that" in out) == (0, True)
    assert run("plan")[1].startswith("up to date")


def test_case_36_a_cascade_is_exported_from_both_tables(work: Path, run: Run) -> None:
    assert run("exec", "DELETE FROM city WHERE id = 1")[0] == 0
    assert (work / "shop/data/city.csv").read_text() == "id,name\n2,Bergen\n"
    assert (work / "shop/data/person.csv").read_text() == 'id,city,name\n3,2,""\n4,,\n'


def test_exec_of_a_select_prints_rows(work: Path, run: Run, records: Callable[..., list[dict[str, Any]]]) -> None:
    assert records("exec", "SELECT id, name FROM person ORDER BY id LIMIT 2") == [
        {"id": 1, "name": "Ann"},
        {"id": 2, "name": "Bo"},
    ]
    out = run("exec", "SELECT name FROM person WHERE id > 2 ORDER BY id")[1]
    assert out.splitlines() == ["name", "''", "NULL"]


def test_exec_reads_a_file_and_fails_as_a_whole(work: Path, run: Run) -> None:
    (work / "change.sql").write_text("INSERT INTO city VALUES (3, 'Cork');\n-- cannot be:\nINSERT INTO city VALUES (3, 'Again');")
    code, _, err = run("exec", "change.sql")
    assert (code, "UNIQUE constraint failed" in err) == (1, True)
    assert (work / "shop/data/city.csv").read_text() == CITY
    assert not (work / "shop/history.log").exists()
    assert run("exec", "INSERT INTO city VALUES (3, 'Cork')")[0] == 0
    log = (work / "shop/history.log").read_bytes()
    assert run("exec", "change.sql")[0] == 1
    assert (work / "shop/history.log").read_bytes() == log
    assert run("replay")[0] == 0


def test_exec_refuses_while_database_and_text_differ(work: Path, run: Run) -> None:
    quick_build(run)
    sql(work / "shop/playground.db", "INSERT INTO city VALUES (9, 'Nowhere')")
    code, _, err = run("exec", "DELETE FROM person")
    assert code == 1
    assert "headwater tables export" in err
    assert (work / "shop/data/person.csv").read_text() == PERSON


def test_case_4_the_plan_lists_rows_only_in_the_database_and_export_takes_them_over(
    work: Path, run: Run, records: Callable[..., list[dict[str, Any]]]
) -> None:
    quick_build(run)
    sql(work / "shop/playground.db", "INSERT INTO city VALUES (7, 'Graz'), (8, 'Hull'), (9, 'Ivry')")
    [plan] = records("plan")
    assert plan["question"]["headline"] == "2 tables, 6 rows will be recreated; 3 rows exist only in playground.db"
    assert plan["question"]["only_in_output"] == 3
    assert "headwater tables export" in run("plan")[1]
    [dry] = records("export", "--dry-run")
    assert dry["files"] == ["data/city.csv"]
    assert (work / "shop/data/city.csv").read_text() == CITY
    assert run("export")[0] == 0
    assert (work / "shop/data/city.csv").read_text() == CITY + "7,Graz\n8,Hull\n9,Ivry\n"
    assert run("plan")[1].startswith("up to date")
    assert run("replay")[0] == 0


def test_case_3_a_build_without_a_terminal_refuses_an_edited_database_until_its_plan_is_confirmed(
    work: Path, run: Run, records: Callable[..., list[dict[str, Any]]]
) -> None:
    quick_build(run)
    database = work / "shop/playground.db"
    sql(database, "DELETE FROM person WHERE id = 1")
    edited = database.read_bytes()
    code, _, err = run("build")
    assert (code, database.read_bytes()) == (1, edited)
    assert "--confirm" in err
    [plan] = records("plan")
    older = plan["question"]["confirm"]
    (work / "shop/data/city.csv").write_text(CITY + "3,Cork\n")
    # Case 6: an answer to an older plan does not count.
    assert run("build", "--confirm", older)[0] == 1
    assert database.read_bytes() == edited
    [plan] = records("plan")
    assert run("build", "--confirm", plan["question"]["confirm"])[0] == 0
    assert rows(database, "SELECT count(*) FROM person") == [(4,)]


def test_case_13_a_database_of_random_bytes_is_said_to_be_unreadable(
    work: Path, records: Callable[..., list[dict[str, Any]]]
) -> None:
    (work / "shop/playground.db").write_bytes(os.urandom(9000))
    [plan] = records("plan")
    assert "cannot be read as a database" in plan["question"]["headline"]


def test_unknown_tables_are_offered_and_added(work: Path, run: Run) -> None:
    quick_build(run)
    sql(work / "shop/playground.db", "CREATE TABLE tag (id INTEGER PRIMARY KEY, word TEXT)", "INSERT INTO tag VALUES (1, 'x')")
    code, _, err = run("export")
    assert code == 0
    assert "table tag with 1 row: id (integer), word (text)" in err
    assert not (work / "shop/data/tag.csv").exists()
    assert run("export", "--add-tables")[0] == 0
    assert (work / "shop/data/tag.csv").read_text() == "id,word\n1,x\n"


def test_diff_between_every_kind_of_version(work: Path, run: Run) -> None:
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    for arguments in (["init", "-q"], ["add", "shop"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True, cwd=work)
    quick_build(run)
    assert run("zip", "-o", "one.zip")[0] == 0
    shutil.copy(work / "shop/playground.db", work / "one.sqlite")
    (work / "shop/data/city.csv").write_text(CITY.replace("Bergen", "Bodø"))
    expected = ["~ city: ~1 row", "  ~ id=2: name Bergen -> Bodø"]
    for old in ("HEAD", "one.zip", "one.sqlite", "db"):
        code, out, _ = run("diff", old, "text", "--exit-code")
        assert (code, out.splitlines()[1:3]) == (1, expected), old
        code, out, _ = run("diff", old, "HEAD", "--exit-code")
        assert (code, "say the same" in out) == (0, True), old
    assert run("diff", "no-such-revision")[0] == 1


def test_case_90_zip_and_unzip(work: Path, run: Run, records: Callable[..., list[dict[str, Any]]]) -> None:
    assert run("exec", "INSERT INTO city VALUES (3, 'Cork')")[0] == 0
    assert run("zip", "shop", "-o", "a.zip")[0] == 0
    assert run("zip", "shop", "-o", "a.zip")[0] == 1
    assert run("zip", "shop", "-o", "b.zip")[0] == 0
    assert (work / "a.zip").read_bytes() == (work / "b.zip").read_bytes()
    with zipfile.ZipFile(work / "a.zip") as archive:
        assert archive.namelist() == ["data/city.csv", "data/person.csv", "history.log", "project.yaml"]
    [made] = records("unzip", "a.zip", "copy")
    assert made["files"] == ["data/city.csv", "data/person.csv", "history.log", "project.yaml"]
    assert "say the same" in run("diff", "copy", "-s", "shop")[1]
    assert run("replay", "copy")[0] == 0


@pytest.fixture
def large(work: Path, run: Run) -> Path:
    """A log in a git checkout, over text that no record of it can carry; the file beside it that does."""
    draw = random.Random(7)
    lines = "".join(f"{number},{draw.randbytes(40).hex()}\n" for number in range(3, 33_000))
    (work / "shop/data/city.csv").write_text(CITY + lines)
    for name, template in ((".gitignore", GITIGNORE), (".gitattributes", GITATTRIBUTES)):
        (work / "shop" / name).write_text(template)
    assert run("exec", "UPDATE city SET name = 'Oslo' WHERE id = 2")[0] == 0
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *command], cwd=work, check=True)
    [kept] = (work / "shop/history").iterdir()
    return kept


def test_a_log_over_large_text_replays_wherever_it_is_copied(
    work: Path, run: Run, large: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = "2 records replayed, each leaving the text it says; the text is exactly that"
    assert (work / "shop/history.log").stat().st_size < 10_000
    shutil.rmtree(work / ".headwater")
    assert said in run("replay")[1]
    assert run("zip", "shop", "-o", "shop.zip")[0] == 0
    assert run("zip", "shop", "-o", "private.zip", "--no-history")[0] == 0
    with zipfile.ZipFile(work / "private.zip") as archive:
        assert not [name for name in archive.namelist() if "history" in name]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert run("unzip", "shop.zip", str(elsewhere / "unzipped"))[0] == 0
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", str(work), str(elsewhere / "clone")], check=True)
    for folder in (elsewhere / "unzipped", elsewhere / "clone/shop"):
        assert (folder / "history" / large.name).read_bytes() == large.read_bytes()
        monkeypatch.chdir(folder)
        assert said in run("replay")[1], folder


def test_damaged_text_beside_the_log_is_one_error_that_names_the_file_and_the_way_out(work: Path, run: Run, large: Path) -> None:
    shutil.rmtree(work / ".headwater")
    whole = large.read_bytes()
    large.chmod(0o644)
    large.write_bytes(whole[:-2] + b"x\n")
    for command in (["replay"], ["zip", "shop", "-o", "shop.zip"]):
        code, _, err = run(*command)
        assert (code, err.count("error")) == (1, 1)
        assert f"shop/history/{large.name}" in err
        assert "[history-text]" in err
        assert "restore it from version control" in err
    assert not (work / "shop.zip").exists()
    large.unlink()
    code, _, err = run("replay")
    assert (code, f"history/{large.name}" in err, "restore that file" in err) == (1, True, True)
    code, out, _ = run("check")
    assert f"shop/history/{large.name}: warning" in out


def test_text_that_an_earlier_version_kept_in_headwater_is_laid_beside_the_log(work: Path, run: Run, large: Path) -> None:
    whole, oid = large.read_bytes(), f"blake3:{large.stem}"
    large.unlink()
    large.parent.rmdir()
    shutil.rmtree(work / ".headwater/history")
    ObjectStore(LocalStorage(work / ".headwater"), "history/named").put(whole, oid=oid)
    assert run("replay")[0] == 0
    assert not large.exists()
    assert f"shop/history/{large.name}" in run("history")[2]
    assert large.read_bytes() == whole
    assert run("history")[2] == ""


def test_case_91_a_hostile_zip_writes_nothing(work: Path, run: Run) -> None:
    with zipfile.ZipFile(work / "bad.zip", "w") as archive:
        archive.writestr("project.yaml", PROJECT)
        archive.writestr("../outside.csv", "id\n")
    before = sorted(path.name for path in work.iterdir())
    code, _, err = run("unzip", "bad.zip", "bad")
    assert (code, "zip-path" in err) == (1, True)
    assert sorted(path.name for path in work.iterdir()) == before


@pytest.mark.parametrize("command", [["exec", "DELETE FROM city"], ["shell"], ["export"], ["diff"]])
def test_commands_on_a_live_database_say_at_a_url_how_to_get_one(
    work: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    url = f"memory://live-{command[0]}"
    storage = open_storage(url)
    for name in ("project.yaml", "data/city.csv", "data/person.csv"):
        storage.write(f"shop/{name}", (work / "shop" / name).read_bytes())
    monkeypatch.setenv("HEADWATER_ROOT", url)
    code, _, err = run(*command)
    assert (code, "[needs-local]" in err, url in err) == (2, True, True)
    fix = re.search(r"`headwater -C (\S+) (tables zip .*?)`, then `headwater (tables unzip .*?)`", err)
    assert fix is not None
    assert main(["-C", fix[1], *fix[2].split()]) == 0
    monkeypatch.delenv("HEADWATER_ROOT")
    assert main(fix[3].split()) == 0
    monkeypatch.chdir(work / "copy")
    assert run("exec", "DELETE FROM city WHERE id = 1")[0] == 0


def test_case_83_a_torn_line_in_the_middle_stops_everything_that_writes(work: Path, run: Run) -> None:
    assert run("exec", "DELETE FROM person WHERE id = 4")[0] == 0
    log = work / "shop/history.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][:40] + b"\n" + lines[2])
    for command in (["history"], ["replay"], ["exec", "DELETE FROM person"]):
        code, _, err = run(*command)
        assert code == 3, command
        assert "shop/history.log:2" in err
    assert "4,," not in (work / "shop/data/person.csv").read_text()


def test_replay_until_a_record_into_a_folder(work: Path, run: Run) -> None:
    run("exec", "DELETE FROM person WHERE id = 4")
    run("exec", "DELETE FROM person")
    assert run("replay", "--until", "2", "--out", "then")[0] == 0
    assert (work / "then/data/person.csv").read_text() == PERSON.replace("4,,\n", "")
    assert run("replay", "shop", "--until", "2", "--out", "then")[0] == 1


def test_replay_says_when_the_text_has_moved_on(work: Path, run: Run) -> None:
    run("exec", "DELETE FROM person WHERE id = 4")
    (work / "shop/data/city.csv").write_text(CITY + "5,Ems\n")
    code, out, _ = run("replay")
    assert (code, "changed since the last record" in out) == (1, True)


def test_init_makes_a_project_that_builds_and_overwrites_nothing(work: Path, run: Run) -> None:
    assert run("init", "new")[0] == 0
    made = [".gitattributes", ".gitignore", "data", "history.log", "project.yaml"]
    assert sorted(path.name for path in (work / "new").iterdir()) == made
    assert run("check", "new")[0] == 0
    assert run("exec", "-s", "new", "SELECT count(*) FROM item")[0] == 0
    assert run("init", "new")[0] == 1


def test_check_ends_with_3_on_invalid_text(work: Path, run: Run) -> None:
    (work / "shop/data/person.csv").write_text(PERSON.replace("2,1,Bo", "2,7,Bo"))
    code, out, _ = run("check")
    assert code == 3
    assert "shop/data/person.csv:3" in out


def test_the_merge_driver_works_inside_git(work: Path, run: Run) -> None:
    program = Path(sys.executable).with_name("headwater")
    driver = f"{program} tables merge-driver --marker-size %L %O %A %B %P"
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    git += ["-c", f"merge.headwater-tables.driver={driver}"]

    def call(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*git, *arguments], cwd=work, check=check, capture_output=True, text=True)

    person = work / "shop/data/person.csv"
    (work / ".gitattributes").write_text("*.csv -text merge=headwater-tables\n")
    call("init", "-q")
    call("add", "shop", ".gitattributes")
    call("commit", "-q", "-m", "first")
    call("checkout", "-q", "-b", "other")
    person.write_text(PERSON.replace("Ann", "Anne") + "5,2,Eve\n")
    call("commit", "-q", "-a", "-m", "theirs")
    call("checkout", "-q", "main")
    person.write_text(PERSON.replace("2,1,Bo", "2,2,Bo") + "6,2,Fay\n")
    call("commit", "-q", "-a", "-m", "ours")
    call("merge", "-q", "other")
    assert person.read_text() == 'id,city,name\n1,1,Anne\n2,2,Bo\n3,2,""\n4,,\n5,2,Eve\n6,2,Fay\n'
    person.write_text(person.read_text().replace("Fay", "Faye"))
    call("commit", "-q", "-a", "-m", "ours again")
    call("checkout", "-q", "other")
    person.write_text(PERSON.replace("Ann", "Anne") + "5,2,Eve\n6,1,Gil\n")
    call("commit", "-q", "-a", "-m", "theirs again")
    call("checkout", "-q", "main")
    assert call("merge", "-q", "other", check=False).returncode == 1
    assert "<<<<<<< ours\n6,2,Faye\n=======\n6,1,Gil\n>>>>>>> theirs\n" in person.read_text()


def test_textconv_shows_cells(work: Path, run: Run) -> None:
    assert '[id = 3]\n  id = 3\n  city = 2\n  name = ""\n' in run("textconv", "shop/data/person.csv")[1]


def test_every_command_has_help_with_an_example() -> None:
    import click

    from orchestration.cli.tables import LAZY, SECTIONS, tables

    assert sorted(LAZY) == sorted(name for names in SECTIONS.values() for name in names)
    context = click.Context(tables)
    for name in LAZY:
        command = tables.get_command(context, name)
        assert command is not None
        assert "Example" in (command.help or ""), name
        assert all(getattr(option, "help", "") for option in command.params if isinstance(option, click.Option)), name


def test_import_csv_files_and_databases_makes_projects_that_say_the_same(work: Path, run: Run) -> None:
    code, _, err = run("import", "shop/data/city.csv", "shop/data/person.csv", "--into", "two")
    assert (code, err) == (0, "")
    assert (work / "two/data/person.csv").read_text() == PERSON
    assert run("check", "two")[0] == 0
    quick_build(lambda *arguments: run(*arguments, "-s", "shop"))
    assert run("import", "shop/playground.db", "--into", "three")[0] == 0
    assert "say the same" in run("diff", "three", "-s", "shop")[1]
    assert run("import", "shop/data/city.csv", "--into", "two")[0] == 1


def test_a_datapackage_goes_out_and_comes_back(work: Path, run: Run) -> None:
    assert run("export", "--datapackage")[0] == 0
    assert "up to date" in run("export", "--datapackage")[1]
    assert run("import", "shop/datapackage.json", "--into", "back")[0] == 0
    assert "say the same" in run("diff", "back", "-s", "shop")[1]


def test_the_shell_reads_commands_from_a_pipe(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ".tables\nINSERT INTO city\n  VALUES (3, 'Cork');\nSELECT count(*) AS n FROM city\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code, out, err = run("shell")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["city  2 rows", "person  4 rows", "1 row changed in shop/data/city.csv", "n", "3"]
    assert (work / "shop/data/city.csv").read_text() == CITY + "3,Cork\n"
    assert run("plan")[1].startswith("up to date")
    assert run("replay")[0] == 0


def test_an_error_in_a_pipe_ends_the_shell(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELEKT 1;\nDELETE FROM city;\n"))
    code, _, err = run("shell")
    assert (code, "SELEKT" in err) == (1, True)
    assert (work / "shop/data/city.csv").read_text() == CITY


def test_export_keeps_what_the_text_changed_meanwhile(work: Path, run: Run) -> None:
    quick_build(run)
    sql(work / "shop/playground.db", "UPDATE city SET name = 'Bodø' WHERE id = 2")
    (work / "shop/data/city.csv").write_text(CITY.replace("Aarhus", "Århus") + "3,Cork\n")
    code, _, err = run("export")
    assert (code, "headwater tables build" in err) == (0, True)
    assert (work / "shop/data/city.csv").read_text() == "id,name\n1,Århus\n2,Bodø\n3,Cork\n"
    assert run("replay")[0] == 0


def test_export_from_a_database_of_unknown_origin_asks(work: Path, run: Run) -> None:
    quick_build(run)
    shutil.rmtree(work / ".headwater")
    sql(work / "shop/playground.db", "DELETE FROM person WHERE id = 4")
    code, _, err = run("export")
    assert (code, "--yes" in err) == (1, True)
    assert (work / "shop/data/person.csv").read_text() == PERSON
    assert run("export", "--yes")[0] == 0
    assert (work / "shop/data/person.csv").read_text() == PERSON.replace("4,,\n", "")


def test_the_text_of_the_last_build_is_kept_and_only_that(work: Path, run: Run) -> None:
    quick_build(run)
    for number in (3, 4):
        assert run("exec", f"INSERT INTO city VALUES ({number}, 'X')")[0] == 0
    kept = [path for path in (work / ".headwater/kept").rglob("*") if path.is_file()]
    texts = [work / "shop" / name for name in ("project.yaml", "data/city.csv", "data/person.csv")]
    assert sorted(path.read_bytes() for path in kept) == sorted(path.read_bytes() for path in texts)


def test_a_history_with_two_heads_is_rebased(work: Path, run: Run) -> None:
    names = ("history.log", "data/city.csv", "data/person.csv", "playground.db")
    quick_build(run)
    assert run("exec", "INSERT INTO city VALUES (3, 'Cork')")[0] == 0
    parent = {name: (work / "shop" / name).read_bytes() for name in names}
    assert run("exec", "INSERT INTO city VALUES (4, 'Dax')")[0] == 0
    ours = (work / "shop/history.log").read_bytes()
    for name, data in parent.items():
        (work / "shop" / name).write_bytes(data)
    shutil.rmtree(work / ".headwater/history/last")
    assert run("exec", "DELETE FROM person WHERE id = 4")[0] == 0
    theirs = (work / "shop/history.log").read_bytes()[len(parent["history.log"]) :]
    (work / "shop/history.log").write_bytes(ours + theirs)
    (work / "shop/data/city.csv").write_text(CITY + "3,Cork\n4,Dax\n")
    for command in (["replay"], ["exec", "DELETE FROM person WHERE id = 3"]):
        code, _, err = run(*command)
        assert code == 1
        assert "two heads" in err or "differ" in err
    assert "two heads" in run("history")[2]
    code, out, _ = run("replay", "--rebase")
    assert (code, "the text is exactly that" in out) == (0, True)
    assert (work / "shop/history.log.forked").read_bytes() == ours + theirs

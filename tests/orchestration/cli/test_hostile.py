"""Hostile input carried all the way through the real commands: names, cells, files in odd places, disks, secrets, two at once."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Ref, Result
from assets.tables import sqlite as recipe
from orchestration.cli.app import App
from orchestration.cli.query import opened
from resources.workspace import open_workspace
from schemas.oid import file_oid
from tests.assets.tables.projects import link, table, write_project
from tests.orchestration.cli.conftest import Ran, build, program, start

DROP = 'x"; DROP TABLE "y"; --'
ATTACH = "x'); ATTACH 'evil' AS e; --"
COLUMNS = [
    "from",
    "group",
    'a"b',
    "a b",
    "x;drop table y--",
    "it's",
    "[br]`",
    "$$",
    "%s{0}",
    "<script>alert(1)<&>",
    "ü",
]
Run = Callable[..., Ran]


@pytest.fixture
def hostile(workspace: Path) -> Path:
    """A store whose folder, tables, columns, relationships, indexes, checks and cells all try to be SQL, shell or markup."""
    folder = workspace / "a; touch pwned $(touch pwned) [x]*"
    key = table(dict.fromkeys(COLUMNS, "text"), key=["from"], indexes={'i"; --': {"columns": ["a b"]}})
    key |= {"unique": {"u'n\"i": ["group", "a b"]}, "checks": {"c'h\"k": "\"it's\" <> 'x'"}}
    tables = {
        "select": key,
        DROP: table({"id": "integer", "p'\"": "text", "<b>": "text"}, file="data/drop.csv"),
        ATTACH: table({"id": "integer"}),
        "y": table({"id": "integer"}),
    }
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in COLUMNS)
    cell = '"\'; DROP TABLE y; --"'
    rows = {
        "select": f"{quoted}\n{','.join(['k1', *[cell] * (len(COLUMNS) - 1)])}\n",
        "drop": 'id,"p\'""",<b>\n1,k1,</text><script>x</script>\n',
        ATTACH: "id\n1\n",
        "y": "id\n1\n2\n",
    }
    write_project(folder, tables, rows, {"r'\" ; --": link(DROP, "p'\"", "select", "from")})
    text = json.loads((folder / "project.yaml").read_text("utf-8"))
    lines = [f"{name}: {json.dumps(value)}" for name, value in text.items()]
    (folder / "project.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    shutil.rmtree(workspace / "pets")
    return folder


def test_case_76_names_stay_names_from_the_text_to_every_artifact_and_back(run: Run, hostile: Path) -> None:
    assert run("check").code == 0
    build(run)
    with closing(sqlite3.connect(hostile / "playground.db")) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert names == {"select", DROP, ATTACH, "y"}
        assert [row[1] for row in connection.execute('PRAGMA table_info("select")')] == COLUMNS
        assert connection.execute("SELECT count(*) FROM y").fetchone() == (2,)
    assert run("query", "SELECT table_name FROM duckdb_views() WHERE NOT internal AND schema_name LIKE 'a;%'", "--json").records
    tables = {record["table"] for record in run("query", 'SELECT "table" FROM tables_tables', "--json").records}
    assert tables == names
    picture = next((hostile.parent / ".headwater/artifacts").rglob("erd.svg")).read_text("utf-8")
    diagram = next((hostile.parent / ".headwater/artifacts").rglob("erd.mmd")).read_text("utf-8")
    assert "<script" not in picture + diagram
    profiled = {(one["table"], one["column"]) for one in run("tables", "profile", "--json").records}
    assert {("select", name) for name in COLUMNS} <= profiled

    insert = f"""INSERT INTO "{DROP.replace('"', '""')}" VALUES (2, 'k1', '"); DELETE FROM y; --')"""
    assert run("tables", "exec", insert).code == 0
    assert (hostile / "data/drop.csv").read_text("utf-8").splitlines()[2] == '2,k1,"""); DELETE FROM y; --"'
    # What the records say leaves the text as it is now.
    assert run("tables", "replay").code == 0
    with closing(sqlite3.connect(hostile / "playground.db")) as connection, connection:
        connection.execute(f"""UPDATE "{DROP.replace('"', '""')}" SET "<b>" = '=1+1' WHERE id = 1""")
    assert run("tables", "diff").code == 0
    assert run("tables", "export").code == 0
    assert (hostile / "data/drop.csv").read_text("utf-8").splitlines()[1] == "1,k1,=1+1"
    assert (hostile / "data/y.csv").read_text("utf-8") == "id\n1\n2\n"
    assert run("tables", "zip", "-o", "packed.zip").code == 0
    assert run("tables", "unzip", "packed.zip", "again").code == 0
    for path in sorted(hostile.glob("data/*.csv")):
        assert (hostile.parent / "again/data" / path.name).read_bytes() == path.read_bytes()
    assert not list(hostile.parent.rglob("pwned"))
    assert not list(hostile.parent.rglob("evil"))


def test_a_command_in_a_message_can_be_pasted(run: Run, hostile: Path) -> None:
    """The fix of a refusal, run by a real shell, builds the store and runs nothing else."""
    (hostile / "playground.db").write_bytes(b"mine")
    engine = Engine(open_workspace())
    (outcome,) = engine.build(["*/playground_db"])
    engine.close()
    assert outcome.result is Result.REFUSED
    assert outcome.error is not None
    command = str(getattr(outcome.error, "fix", "")).partition("`headwater ")[2].partition("`")[0]
    shell = f"{sys.executable} -m orchestration.cli.main {command}"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not list(hostile.parent.rglob("pwned"))
    assert (hostile / "playground.db").read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize("color", [True, False])
def test_fault_149_nothing_that_is_shown_can_drive_the_terminal(capsys: pytest.CaptureFixture[str], color: bool) -> None:
    """Codes of the terminal in a name or a cell are shown as text, the harmless-looking ones of colours too."""
    app = App(color=color)
    evil = "\x1b[8mhidden\x1b[0m\r\x1b]0;title\x07\x9b2J\u202e"
    app.say(evil)
    app.say(app.style(evil, "red"))
    app.table([[evil, app.style("x", "bold")]])
    shown = capsys.readouterr().out
    for code in ("\x1b[31m", "\x1b[1m", "\x1b[0m"):
        shown = shown.replace(code, "") if color else shown
    assert not any(sign in shown for sign in "\x1b\r\x07\x9b\u202e\0")
    assert shown.count("\\x1b[8mhidden\\x1b[0m\\r") == 3


def test_a_cell_that_colours_is_shown_as_text_by_query_and_diff(run: Run, workspace: Path) -> None:
    build(run)
    pets = workspace / "pets/data/pet.csv"
    pets.write_text(pets.read_text().replace("Rex", "\x1b[31mRex\x1b[8m"), "utf-8")
    build(run, "*/parquet")
    for arguments in (["query", "SELECT name FROM pets.pet"], ["tables", "diff"], ["tables", "plan"], ["check"]):
        ran = run(*arguments)
        assert "\x1b" not in ran.out + ran.err, arguments
    assert "\\x1b[31mRex\\x1b[8m" in run("query", "SELECT name FROM pets.pet").out


def test_odd_things_among_the_files_are_findings_and_nobody_hangs(run: Run, workspace: Path) -> None:
    data = workspace / "pets/data"
    os.mkfifo(data / "pipe.csv")
    (data / "loop.csv").symlink_to("loop.csv")
    (data / "up").symlink_to("..")
    (data / "passwd.csv").symlink_to("/etc/passwd")
    for name in (b"evil\x1b[2J.csv", b"two\nlines.csv", b"latin-\xe9.csv"):
        with open(bytes(data) + b"/" + name, "wb") as file:
            file.write(b"a\n1\n")
    ran = run("check")
    assert ran.code == 0
    for shown in ("evil\\x1b[2J.csv", "two\\nlines.csv", "latin-\\udce9.csv"):
        assert f"pets/data/{shown}: warning: no table can have a file of this name" in ran.out
    assert "root:" not in ran.out
    build(run)
    assert [record["path"] for record in run("query", "SELECT path FROM files WHERE source = 'data'", "--json").records] == [
        "pets/data/owner.csv",
        "pets/data/pet.csv",
    ]


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "pipe"])
def test_case_14_nothing_is_read_or_written_through_what_is_no_file(run: Run, workspace: Path, kind: str) -> None:
    database, outside = workspace / "pets/playground.db", workspace.parent / "outside.db"
    if kind == "folder":
        database.mkdir()
        (database / "kept").write_text("kept")
    elif kind == "pipe":
        os.mkfifo(database)
    else:
        database.symlink_to(outside)
        if kind == "link":
            outside.write_bytes(b"theirs")
    text = {path.name: path.read_bytes() for path in (workspace / "pets/data").iterdir()}
    engine = Engine(open_workspace())
    outcome = engine.build_one(Ref("tables", "pets", "playground_db"))
    engine.close()
    assert outcome.result is Result.REFUSED
    for arguments in (["exec", "DELETE FROM pet"], ["export"], ["diff"]):
        assert run("tables", *arguments).code == 1, arguments
    assert {path.name: path.read_bytes() for path in (workspace / "pets/data").iterdir()} == text
    assert outside.exists() == (kind == "link")
    assert kind != "link" or outside.read_bytes() == b"theirs"


def test_case_2_an_equal_database_is_not_touched(run: Run, workspace: Path) -> None:
    database = workspace / "pets/playground.db"
    build(run, "*/playground_db")  # case 1: there is none, nobody is asked
    before = database.stat()
    ran = run("tables", "build")
    assert (ran.code, ran.err) == (0, "")
    after = database.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_case_6_a_yes_to_an_older_plan_is_no_yes(run: Run, workspace: Path) -> None:
    database = workspace / "pets/playground.db"
    build(run, "*/playground_db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE pet SET name = 'edited'")
    digest = run("tables", "plan").out.partition("--confirm ")[2].split()[0]
    owners = workspace / "pets/data/owner.csv"
    owners.write_text(owners.read_text().replace("Ada", "Ida"))
    edited = file_oid(database)
    ran = run("tables", "build", "--confirm", digest)
    assert ran.code == 1
    assert file_oid(database) == edited
    newer = run("tables", "plan").out.partition("--confirm ")[2].split()[0]
    assert newer != digest
    assert run("tables", "build", "--confirm", newer).code == 0
    assert file_oid(database) != edited


def test_case_12_two_builds_at_once_of_the_real_program(workspace: Path) -> None:
    running = [start("--json", "build", "tables/pets/playground_db", cwd=workspace) for _ in range(2)]
    printed = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    outcomes = [json.loads(line)["outcome"] for out, _ in printed for line in out.splitlines()]
    assert sorted(outcomes) in (["built", "fresh"], ["fresh", "built"], ["built", "restored"]), printed
    with closing(sqlite3.connect(workspace / "pets/playground.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM pet").fetchone() == (3,)
    assert sorted(path.name for path in (workspace / "pets").iterdir()) == ["data", "playground.db", "project.yaml"]


def test_fault_131_rows_edited_while_they_are_loaded_are_never_recorded_as_the_old_text(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The editor saves after the rows were read and before the build ends: what is published comes from one text."""
    load, rounds = recipe.load, []

    def load_then_edit(*arguments: object) -> object:
        counts = load(*arguments)  # type: ignore[arg-type]
        rounds.append(counts)
        if len(rounds) == 1:
            with open(workspace / "pets/data/owner.csv", "a") as file:
                file.write("3,Cy\n")
        return counts

    monkeypatch.setattr(recipe, "load", load_then_edit)
    build(run, "*/playground_db")
    assert len(rounds) == 2
    with closing(sqlite3.connect(workspace / "pets/playground.db")) as connection:
        assert connection.execute("SELECT count(*) FROM owner").fetchone() == (3,)
    assert [record["state"] for record in run("status", "*/playground_db", "--json").records] == ["fresh"]


def test_case_15_a_read_only_workspace_says_so_before_any_work(workspace: Path) -> None:
    """A real read-only file system, in a mount namespace of its own."""
    shell = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" || exit 77;'
        'for words in "--json build" "--json status" "--json check" "--json explain tables/pets/erd"; do'
        ' "$2" -m orchestration.cli.main $words; echo "code $?"; done'
    )
    probe = ["unshare", "-rm", "sh", "-c", shell, "sh", str(workspace), sys.executable]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not here")
    done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=120, cwd=workspace.parent)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    assert json.loads(lines[0])["error"]["rule"] == "workspace-read-only"
    assert [line for line in lines if line.startswith("code ")] == ["code 1", "code 0", "code 0", "code 0"]
    assert not (workspace / ".headwater").exists()


CANARY = "c4n4ry"


@pytest.mark.parametrize("given", ["environment", "configuration", "root"])
def test_fault_138_a_secret_is_in_nothing_that_is_printed_or_kept(workspace: Path, given: str) -> None:
    """A password where it does not belong, and the keys of the environment, in a real build that fails because of them."""
    url = f"s3://{CANARY}id:{CANARY}key@bucket/prefix"
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": f"{CANARY}env", "AWS_ACCESS_KEY_ID": f"{CANARY}env"}
    arguments = ["--debug", "build"]
    if given == "environment":
        environment["HEADWATER_REMOTE_CACHE"] = url
    elif given == "configuration":
        (workspace / "headwater.toml").write_text(f'version = 1\n[cache]\nremote = "{url}"\n')
    else:
        arguments = ["--debug", "-C", url, "status"]
    for form in ([], ["--json"]):
        done = program(*form, *arguments, cwd=workspace, env=environment)
        assert done.returncode != 0
        assert CANARY not in done.stdout + done.stderr
    holding = [
        path.relative_to(workspace)
        for folder in (workspace, Path(environment["HEADWATER_CACHE_DIR"]))
        for path in folder.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes() and path.name != "headwater.toml"
    ]
    assert holding == []


def test_keys_of_the_environment_are_not_kept_by_a_build(workspace: Path) -> None:
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": CANARY, "GITHUB_TOKEN": CANARY, "DAGSTER_PG_PASSWORD": CANARY}
    done = program("--debug", "build", "tables/pets/playground_db", cwd=workspace, env=environment)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    kept = [path for path in workspace.rglob("*") if path.is_file()]
    assert any("dagster" in path.parts for path in kept)
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "tables": {"t": {"columns": {"id": {"type": "integer"}}, "primary_key": ["id"]}}}\n',
        "# ours\n---\n  version: 1\n  tables:\n    t: {columns: {id: {type: integer}}, primary_key: [id]}\n",
        "\ufeffversion: 1\ntables: {t: {columns: {id: {type: integer}}, primary_key: [id]}}\n",
    ],
    ids=["JSON", "indented", "BOM"],
)
def test_a_project_is_found_however_its_yaml_is_laid_out(run: Run, workspace: Path, text: str) -> None:
    shutil.rmtree(workspace / "pets")
    (workspace / "one/data").mkdir(parents=True)
    (workspace / "one/project.yaml").write_text(text, "utf-8")
    assert "tables/one" in run("ls").out
    build(run, "*/playground_db")
    (workspace / "two").mkdir()
    for foreign in ('{"name": "of another tool", "version": 1}', "{version: 1, tables: [", " - version\n - tables\n"):
        (workspace / "two/project.yaml").write_text(f"{foreign}\n")
        assert "tables/two" not in run("ls").out


def test_what_a_query_may_reach_cannot_be_widened_by_the_query(workspace: Path, run: Run) -> None:
    import duckdb

    build(run)
    with opened(open_workspace(), workspace / ".headwater/catalog.duckdb", None) as connection:
        for statement in ("SET enable_external_access = true", "SET memory_limit = '1TB'", "SET allowed_directories = ['/']"):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
        with pytest.raises(duckdb.Error):
            connection.execute("ATTACH '/tmp/elsewhere.duckdb' AS elsewhere")

"""What each command says and does on a small workspace: text and JSON, exit codes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran, build, program, write_project

EXAMPLES = Path(__file__).parents[3] / "examples"
BAD_PETS = "id,name,born,owner_id\n1,Rex,2020-02-30,1\n2,Mia,,2\n"


def _tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


# -- empty and plain folders


@pytest.mark.parametrize("arguments", [["ls"], ["status"], ["build"], ["check"], ["verify"], ["clean"], ["migrate"]])
def test_an_empty_folder_is_no_error_and_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert ran.code == 0
    if arguments[0] not in ("clean", "migrate"):
        assert "No store in" in ran.out
        assert "headwater init tables" in ran.out
    assert list(tmp_path.iterdir()) == []
    assert run(*arguments, "--json").out == ""


def test_not_one_byte_is_written_into_a_plain_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    folder = tmp_path / "plain"
    write_project(folder)
    monkeypatch.chdir(folder)
    before = _tree(folder)
    for arguments in (["ls"], ["status"], ["check"], ["query", "SELECT count(*) AS n FROM files"]):
        assert run(*arguments).code == 0
    build(run)
    assert "6 fresh" in run("status").out
    assert run("query", "SELECT name FROM root.pet ORDER BY id", "--json").records == [
        {"name": "Rex"},
        {"name": "Mia"},
        {"name": "Tom"},
    ]
    assert run("explain", "tables/root/erd").code == 0
    assert run("verify", "tables/root/erd").code == 0
    assert _tree(folder) == before


# -- ls, status, explain


def test_ls_and_status_name_stores_sources_artifacts_and_reasons(run: Callable[..., Ran], workspace: Path) -> None:
    listed = run("ls", "--json").records
    assert {record["type"] for record in listed} == {"store", "source", "artifact"}
    data = next(record for record in listed if record.get("source") == "tables/pets/data")
    assert (data["files"], data["bytes"]) == (
        2,
        sum((workspace / "pets/data" / name).stat().st_size for name in ("owner.csv", "pet.csv")),
    )
    assert re.search(r"artifact +erd +missing", run("ls").out)
    states = run("status", "--json").records
    assert {record["state"] for record in states} == {"missing"}
    build(run, "tables/pets/parquet", "tables/pets/erd")
    text = run("status", "tables").out
    assert re.search(r"^fresh +tables/pets/erd", text, re.MULTILINE)
    assert re.search(r"^missing +tables/pets/playground_db +it was never built", text, re.MULTILINE)
    assert "2 fresh, 3 missing" in text
    assert run("ls", "tables/pets/erd").out.count("\n  artifact  ") == 1


def test_status_exit_code_tells_whether_everything_is_fresh(run: Callable[..., Ran], workspace: Path) -> None:
    assert run("status").code == 0
    assert run("status", "--exit-code").code == 4
    build(run, "tables/pets/erd")
    assert run("status", "--exit-code", "tables/pets/erd").code == 0
    project = workspace / "pets/project.yaml"
    project.write_text(project.read_text() + "# a remark\n")
    assert run("status", "--exit-code", "tables/pets/erd").code == 4


def test_explain_names_the_text_file_that_changed(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/parquet")
    fresh = run("explain", "tables/pets/parquet", "--json").records[0]
    assert fresh["freshness"] == "fresh"
    assert [file["path"] for entry in fresh["inputs"] if entry["role"] == "data" for file in entry["files"]] == [
        "data/owner.csv",
        "data/pet.csv",
    ]
    (workspace / "pets/data/pet.csv").write_text("id,name,born,owner_id\n1,Rex,2020-02-29,1\n")
    [record] = run("explain", "tables/pets/parquet", "--json").records
    data = next(entry for entry in record["inputs"] if entry["role"] == "data")
    assert data["changes"] == [{"path": "data/pet.csv", "change": "edited"}]
    text = run("explain", "tables/pets/parquet").out
    assert re.search(r"blake3:[0-9a-f]{12} +data/pet.csv +edited", text)
    assert not re.search(r"data/owner.csv +edited", text)
    assert "because the source data changed: data/pet.csv" in text
    assert "built from it tables/pets/profile" in text


# -- check


def test_check_prints_findings_like_a_compiler_and_exits_with_3(run: Callable[..., Ran], workspace: Path) -> None:
    assert run("check").code == 0
    (workspace / "pets/data/pet.csv").write_text(BAD_PETS)
    ran = run("check")
    assert ran.code == 3
    assert "pets/data/pet.csv:2:7: error:" in ran.out
    [record] = run("check", "--json").records
    assert (record["path"], record["line"], record["column"], record["severity"]) == ("pets/data/pet.csv", 2, 7, "error")
    assert record["value"] == "2020-02-30"


def test_check_as_sarif_is_one_document_with_the_rule_and_the_place(run: Callable[..., Ran], workspace: Path) -> None:
    (workspace / "pets/data/pet.csv").write_text(BAD_PETS)
    ran = run("check", "--sarif")
    assert ran.code == 3
    document = json.loads(ran.out)
    assert document["version"] == "2.1.0"
    [found] = document["runs"][0]["results"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "pets/data/pet.csv"
    assert place["region"] == {"startLine": 2, "startColumn": 7}
    assert found["level"] == "error"
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert rules[found["ruleIndex"]]["id"] == found["ruleId"]
    assert run("check", "--sarif", "--fix").code == 2


def test_check_fix_shows_the_diff_and_changes_only_the_bad_cells(run: Callable[..., Ran], workspace: Path) -> None:
    path = workspace / "pets/data/pet.csv"
    text = 'id,name,born,owner_id\r\n1,Rex,2020-02-29, 1\r\n2,"Mia, the cat",,2\r\n'
    path.write_bytes(text.encode())
    refused = run("check", "--fix")
    assert refused.code == 1
    assert "+1,Rex,2020-02-29,1" in refused.err
    assert "--yes" in refused.err
    assert path.read_bytes() == text.encode()
    fixed = run("check", "--fix", "--yes")
    assert fixed.code == 0, fixed
    assert path.read_bytes() == text.replace(", 1\r", ",1\r").encode()
    assert "nothing that can be repaired" in run("check", "--fix").err


def test_check_fix_repairs_what_only_the_kind_knows_to(run: Callable[..., Ran], workspace: Path) -> None:
    path = workspace / "pets/data/pet.csv"
    path.write_bytes('\ufeffid,name,born,owner_id\n"+1",Rex,2020-02-29,1\n2,"Mia, the cat",,2'.encode())
    fixed = run("check", "--fix", "--yes")
    assert fixed.code == 0, fixed
    assert path.read_bytes() == b'id,name,born,owner_id\n1,Rex,2020-02-29,1\n2,"Mia, the cat",,2\n'
    assert "No line feed at the end of the file" in fixed.err
    assert "repaired 3 lines of 1 file" in fixed.err
    assert run("check", "--json").records == []


def test_a_repair_of_text_that_moved_on_is_not_written(workspace: Path) -> None:
    from assets.engine.repairs import repairs
    from resources.storage import open_storage
    from schemas.errors import Conflict
    from schemas.findings import Finding, Severity

    path = workspace / "pets/data/pet.csv"
    path.write_text("id,name\n1,a\n")
    storage = open_storage(workspace)
    finding = Finding("r", Severity.ERROR, "pets/data/pet.csv", "m", 2, 3, value="a", replacement="b")
    elsewhere = Finding("r", Severity.ERROR, "pets/data/pet.csv", "m", 2, 1, value="a", replacement="b")
    beyond = Finding("r", Severity.ERROR, "pets/data/pet.csv", "m", 99, 1, value="a", replacement="b")
    assert repairs(storage, [elsewhere, beyond]) == []
    [repair] = repairs(storage, [finding, elsewhere, beyond])
    assert (repair.lines, repair.after) == (1, "id,name\n1,b\n")
    path.write_text("id,name\n1,c\n")
    with pytest.raises(Conflict):
        storage.commit([repair.change], label="test")
    assert path.read_text() == "id,name\n1,c\n"


# -- build


def test_build_of_everything_then_of_nothing_then_of_what_changed(workspace: Path) -> None:
    first = program("build", "--json")
    assert first.returncode == 0, first.stderr
    records = [json.loads(line) for line in first.stdout.splitlines()]
    assert {record["outcome"] for record in records} == {"built"}
    assert len({record["artifact"] for record in records}) == len(records) == 6
    again = program("build")
    assert (again.returncode, again.stdout, again.stderr) == (0, "fresh: 6 artifacts, nothing to build\n", "")
    (workspace / "pets/data/stray.csv").write_text("id\n")
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n")
    changed = program("build", "--json")
    outcomes = {record["artifact"]: record["outcome"] for record in map(json.loads, changed.stdout.splitlines())}
    assert outcomes.pop("tables/pets/erd") == "fresh"
    assert set(outcomes.values()) == {"built"}
    assert changed.stderr == "1 warning in the text; see `headwater check`\n"
    (workspace / "pets/data/pet.csv").write_text(BAD_PETS)
    bad = program("build", "tables/pets/playground_db", "tables/pets/erd")
    assert bad.returncode == 3
    assert bad.stderr.count("pets/data/pet.csv:2:7: error:") == 1
    assert "1 fresh, 1 blocked" in bad.stdout
    assert "Traceback" not in bad.stderr


def test_dry_run_says_what_would_happen_and_changes_nothing(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/playground_db", "tables/pets/erd")
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n")
    before = (workspace / "pets/playground.db").read_bytes()
    plan = {record["artifact"]: record for record in run("build", "--dry-run", "--json").records}
    assert plan["tables/pets/erd"]["action"] == "nothing"
    assert plan["tables/pets/parquet"]["action"] == "build"
    question = plan["tables/pets/playground_db"]["question"]
    assert question["ownership"] == "ours"
    assert question["confirm"]
    assert "owner" in " ".join([question["headline"], *question["lines"]])
    ran = run("build", "--dry-run")
    assert ran.code == 0
    assert f"--confirm {question['confirm']}" in ran.err
    assert (workspace / "pets/playground.db").read_bytes() == before


def _at_terminal(arguments: list[str], answer: str, until: bytes = b"[y/N]") -> tuple[int, str]:
    """Run the program at a pseudo terminal, give `answer` to its first question, and return exit code and all it printed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli.main", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    printed, answered, deadline = b"", False, time.monotonic() + 90
    try:
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    block = os.read(leader, 65536)
                except OSError:
                    break
                printed += block
                if not answered and until in printed:
                    os.write(leader, answer.encode())
                    answered = True
            elif process.poll() is not None:
                break
        return process.wait(timeout=30), printed.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_at_a_terminal_a_no_leaves_the_database_as_it_was_and_a_yes_replaces_it(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/playground_db")
    (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bea\n")
    before = (workspace / "pets/playground.db").read_bytes()
    code, printed = _at_terminal(["build", "tables/pets/playground_db"], "n\n")
    assert code == 1
    assert "Replace pets/playground.db? [y/N]" in printed
    assert "you said no; nothing was touched" in printed
    assert (workspace / "pets/playground.db").read_bytes() == before
    code, printed = _at_terminal(["build", "tables/pets/playground_db"], "y\n")
    assert code == 0, printed
    assert "\x1b[32mbuilt" in printed
    assert (workspace / "pets/playground.db").read_bytes() != before
    assert (workspace / "pets/playground.db.bak-1").read_bytes() == before


# -- query


def test_query_answers_in_three_formats_and_counts_what_it_leaves_out(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/parquet")
    sql = "SELECT id, name, born, '' AS empty FROM pets.pet ORDER BY id"
    assert run("query", sql, "--format", "csv").out == (
        'id,name,born,empty\n1,Rex,2020-02-29,""\n2,Mia,,""\n3,Tom,2021-01-01,""\n'
    )
    assert run("query", sql, "--format", "json", "--limit", "1").records == [
        {"id": 1, "name": "Rex", "born": "2020-02-29", "empty": ""}
    ]
    table = run("query", sql, "--limit", "2")
    assert table.out.splitlines()[2:4] == [" 1  Rex   2020-02-29", " 2  Mia   NULL"]
    assert "only the first 2 rows" in table.err
    assert "only the first" not in run("query", sql, "--limit", "3").err


def test_query_lists_what_there_is_and_follows_the_text(run: Callable[..., Ran], workspace: Path) -> None:
    listed = {(record["schema"], record["name"]) for record in run("query", "--json").records}
    assert {("main", "files"), ("main", "provenance"), ("main", "tables_columns")} <= listed
    assert ("pets", "pet") not in listed
    build(run, "tables/pets/parquet")
    assert ("pets", "pet") in {(record["schema"], record["name"]) for record in run("query", "--json").records}
    (workspace / "pets/data/pet.csv").write_text(BAD_PETS)
    found = run("query", 'SELECT path, line, "column" FROM findings', "--json").records
    assert found == [{"path": "pets/data/pet.csv", "line": 2, "column": 7}]
    edges = run("query", "SELECT input FROM provenance WHERE artifact = 'parquet' ORDER BY input", "--json").records
    assert [edge["input"] for edge in edges] == ["tables/pets/data", "tables/pets/project"]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT * FROM read_text('/etc/hostname')", "query-confined"),
        ("SELECT * FROM read_csv('../outside.csv')", "query-confined"),
        ("SELECT * FROM read_text('link/hostname')", "query-confined"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "query-select-only"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'stolen.csv'", "query-select-only"),
        ("CREATE TABLE x AS SELECT 1", "query-select-only"),
        ("ATTACH 'other.db'", "query-select-only"),
        ("SET enable_external_access = true", "query-select-only"),
        ("SELECT 1; SELECT 2", "query-select-only"),
        ("INSTALL httpfs", "query-select-only"),
        ("SELECT * FROM 'https://example.invalid/x.parquet'", "query-confined"),
        ("SELECT nothing FROM files", "query-sql"),
        ("SELEC 1", "query-sql"),
    ],
)
def test_query_reads_nothing_else_and_writes_nothing(run: Callable[..., Ran], workspace: Path, sql: str, rule: str) -> None:
    (workspace.parent / "outside.csv").write_text("a\n1\n")
    (workspace / "link").symlink_to("/etc")
    [record] = run("query", sql, "--json").records
    assert record["error"]["rule"] == rule, record
    assert not (workspace / "stolen.csv").exists()
    assert not (workspace / "other.db").exists()


def test_query_may_read_the_text_of_the_workspace_and_explain(run: Callable[..., Ran], workspace: Path) -> None:
    sql = "SELECT count(*) AS n FROM read_csv('pets/data/pet.csv')"
    assert run("query", sql, "--json").records == [{"n": 3}]
    assert run("query", "EXPLAIN ANALYZE SELECT 1").code == 0


def test_query_gives_up_after_its_timeout(run: Callable[..., Ran], workspace: Path) -> None:
    started = time.monotonic()
    [record] = run(
        "query", "--json", "--timeout", "0.5", "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 1"
    ).records
    assert record["error"]["rule"] == "query-timeout"
    assert time.monotonic() - started < 20


def test_values_json_cannot_hold_are_written_as_text() -> None:
    import datetime as dt
    from decimal import Decimal

    from orchestration.cli.rows import plain

    assert plain([float("nan"), float("-inf"), b"\x00\xff", Decimal("1.10")]) == ["nan", "-inf", "AP8=", "1.10"]
    assert plain({"at": dt.datetime(2026, 1, 2, 3, 4, 5), "n": 1, "yes": True}) == {
        "at": "2026-01-02T03:04:05",
        "n": 1,
        "yes": True,
    }
    eastern = dt.timezone(dt.timedelta(hours=-5))
    assert plain(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=eastern)) == "2026-01-02T08:04:05Z"


def test_catalogs_that_a_query_fetched_are_swept() -> None:
    from assets.engine.scratch import COPIES_AGE
    from orchestration.cli.app import App
    from orchestration.cli.query import refreshed_catalog
    from resources.storage import open_storage

    url = "memory://queries"
    storage = open_storage(url)
    storage.write("p/project.yaml", b"version: 1\ntables:\n  t: {columns: {id: {type: integer}}, primary_key: [id]}\n")
    storage.write("p/data/t.csv", b"id\n1\n")

    def fetched() -> Path:
        app = App(root=url)
        try:
            return refreshed_catalog(app)
        finally:
            app.close()

    first = fetched()
    assert fetched() == first
    long_ago = time.time() - COPIES_AGE - 60
    os.utime(first, (long_ago, long_ago))
    storage.write("p/data/t.csv", b"id\n1\n2\n")
    second = fetched()
    assert second != first
    assert list(first.parent.iterdir()) == [second]


# -- verify, adopt, clean, cache


def test_verify_tells_a_tampered_file_from_an_equal_one(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/erd", "tables/pets/parquet")
    ok = run("verify", "tables/pets/erd", "--json")
    assert (ok.code, [record["ok"] for record in ok.records]) == (0, [True])
    with (workspace / ".headwater/artifacts/tables/pets/erd.mmd").open("a") as file:
        file.write("tampered\n")
    bad = run("verify", "tables/pets/erd", "tables/pets/parquet")
    assert bad.code == 1
    assert "differs  tables/pets/erd" in bad.out
    assert "equal    tables/pets/parquet" in bad.out
    never = run("verify", "tables/pets/profile", "tables/pets/parquet")
    assert never.code == 1
    assert "missing  tables/pets/profile" in never.out
    assert "2 artifacts: 1 equal, 1 missing" in never.out
    assert [one["result"] for one in run("verify", "tables/pets/profile", "--json").records] == ["missing"]


@pytest.mark.parametrize("word", ["abc", "yes", "blake3:abc", f"sha256:{'0' * 64}", f"blake3:{'0' * 64} "])
def test_a_word_that_is_no_plan_digest_agrees_to_nothing_and_is_refused(
    run: Callable[..., Ran], workspace: Path, word: str
) -> None:
    for group in ([], ["tables"]):
        ran = run(*group, "build", "--confirm", word, "--json")
        assert ran.code == 2
        assert ran.records[-1]["error"]["rule"] == "confirm-digest"
        assert "plan" in ran.records[-1]["error"]["fix"]
    assert not (workspace / "pets/playground.db").exists()


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("s3://id:hidden@bucket/prefix", "url-credentials"),
        ("s3://hidden@bucket/prefix", "url-credentials"),
        ("ftp://hidden/prefix", "url-scheme"),
        ("https://me:hidden@example.org/prefix", "url-malformed"),
        ("s3://bucket/prefix?token=hidden", "url-malformed"),
    ],
)
def test_a_remote_cache_that_cannot_be_meant_is_said_once_and_at_once(
    run: Callable[..., Ran], workspace: Path, monkeypatch: pytest.MonkeyPatch, url: str, rule: str
) -> None:
    """Not by every artifact of a build, and by name: nobody remembers what the environment holds."""
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", url)
    for command in ("status", "build"):
        ran = run(command, "--json")
        assert ran.code == 2
        (record,) = ran.records
        assert record["error"]["rule"] == rule
        assert record["error"]["message"].startswith("HEADWATER_REMOTE_CACHE: ")
        assert record["error"]["fix"]
        assert "hidden" not in ran.out + ran.err
    assert not (workspace / "pets/playground.db").exists()


def test_clean_deletes_what_is_ours_and_keeps_what_was_edited(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/erd", "tables/pets/playground_db")
    with (workspace / "pets/playground.db").open("ab") as file:
        file.write(b"edited")
    dry = run("clean", "--dry-run", "--json")
    assert dry.code == 1
    assert not any(record["deleted"] for record in dry.records)
    assert (workspace / ".headwater/artifacts/tables/pets/erd.svg").exists()
    ran = run("clean")
    assert ran.code == 1
    assert re.search(r"^kept +pets/playground.db +it was edited", ran.out, re.MULTILINE)
    assert not (workspace / ".headwater/artifacts/tables/pets/erd.svg").exists()
    assert (workspace / "pets/playground.db").exists()
    assert (workspace / "pets/project.yaml").exists()


def test_adopt_takes_equal_files_and_refuses_others(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/erd")
    shutil.rmtree(workspace / ".headwater/provenance")
    ran = run("adopt", "tables/pets/erd", "--json")
    assert (ran.code, [record["outcome"] for record in ran.records]) == (0, ["adopted"])
    shutil.rmtree(workspace / ".headwater/provenance")
    (workspace / ".headwater/artifacts/tables/pets/erd.mmd").write_text("mine\n")
    refused = run("adopt", "tables/pets/erd")
    assert refused.code == 1
    assert (workspace / ".headwater/artifacts/tables/pets/erd.mmd").read_text() == "mine\n"
    assert run("adopt").code == 2


def test_the_cache_is_shared_through_a_remote(
    run: Callable[..., Ran], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("cache", "push").code == 2
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", str(tmp_path / "remote"))
    build(run, "tables/pets/erd")
    assert run("cache", "push", "--json").records == [{"pushed": 1}]
    assert run("cache", "push", "--json").records == [{"pushed": 0}]
    other = tmp_path / "other"
    write_project(other / "pets")
    (other / "headwater.toml").write_text("version = 1\n")
    assert run("-C", other, "cache", "pull", "tables/pets/erd", "--json").records == [{"pulled": 1}]
    assert run("-C", other, "cache", "stats", "--json").records[0]["builds"] == 1
    plan = run("-C", other, "build", "--dry-run", "--json", "tables/pets/erd").records
    assert plan[0]["action"] == "restore"
    assert run("-C", other, "cache", "gc", "--max-size", "0", "--young", "--json").records[0]["objects"] == 2
    assert run("cache", "gc", "--max-size", "a lot").code == 2


def test_cache_verify_finds_a_damaged_object(run: Callable[..., Ran], workspace: Path) -> None:
    build(run, "tables/pets/erd")
    assert run("cache", "verify").code == 0
    victim = max(
        (path for path in (workspace / ".headwater/objects").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    victim.chmod(0o644)
    victim.write_bytes(b"rotten")
    ran = run("cache", "verify", "--json")
    assert (ran.code, len(ran.records)) == (1, 1)
    assert run("cache", "verify").code == 0


# -- migrate


def test_migrate_rewrites_an_older_project_after_a_yes_and_keeps_what_was(run: Callable[..., Ran], workspace: Path) -> None:
    old = Path(__file__).parents[2] / "resources/tables/version_0"
    shutil.copytree(old, workspace / "old")
    before = _tree(workspace / "old")
    assert "tables/old" in run("ls").out
    dry = run("migrate", "--dry-run", "--json")
    assert dry.code == 0
    assert "old/project.yaml" in {record["path"] for record in dry.records}
    refused = run("migrate")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert _tree(workspace / "old") == before
    assert run("migrate", "--yes").code == 0
    assert (workspace / "old/project.yaml").read_text().startswith("version: 1")
    kept = list((workspace / "old/.playground").rglob("project.yaml"))
    assert [path.read_bytes() for path in kept] == [(old / "project.yaml").read_bytes()]
    assert "every store is in the current format" in run("migrate").out
    assert run("check", "tables/old").code == 0


def test_a_project_of_a_newer_format_is_refused_and_left_alone(run: Callable[..., Ran], workspace: Path) -> None:
    path = workspace / "pets/project.yaml"
    path.write_text(path.read_text().replace("version: 1", "version: 99"))
    before = path.read_bytes()
    for arguments in (["migrate", "--yes"], ["check"], ["build", "tables/pets/erd", "--dry-run"]):
        ran = run(*arguments)
        assert (ran.code, path.read_bytes()) == (0 if "--dry-run" in arguments else 3, before), arguments


# -- init, git, completion, demo


def test_init_starts_a_workspace_and_a_store_and_overwrites_neither(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init").code == 0
    config = tmp_path / "headwater.toml"
    config.write_text("version = 1\n# mine\n")
    assert "is there already" in run("init").out
    assert config.read_text() == "version = 1\n# mine\n"
    assert run("init", "tables", "shop").code == 0
    assert "tables/shop" in run("ls").out
    assert run("check").code == 0
    text = (tmp_path / "shop/project.yaml").read_bytes()
    assert run("init", "tables", "shop").code != 0
    assert (tmp_path / "shop/project.yaml").read_bytes() == text
    assert run("init", "notes").code == 0
    assert "notes/.qipu" in run("ls").out
    settings = (tmp_path / ".qipu/config.toml").read_bytes()
    assert run("init", "notes").code == 0  # case 1: what is there stays
    assert (tmp_path / ".qipu/config.toml").read_bytes() == settings
    assert run("init", "pictures").code == 2
    assert run("init", "./another").code == 0
    assert (tmp_path / "another/headwater.toml").exists()


def test_git_setup_writes_the_clone_once_and_status_asks_for_it(run: Callable[..., Ran], workspace: Path) -> None:
    assert run("git", "setup").code == 2
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert "headwater git setup" in run("status").err
    assert {record["state"] for record in run("git", "setup", "--dry-run", "--json").records} == {"missing"}
    assert {record["state"] for record in run("git", "setup", "--json").records} == {"set"}
    driver = subprocess.run(["git", "config", "merge.headwater-tables.driver"], capture_output=True, text=True, check=True).stdout
    assert driver.startswith("headwater tables merge-driver")
    assert run("status").err == ""
    assert {record["state"] for record in run("git", "setup", "--json").records} == {"present"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program_and_complete_commands(run: Callable[..., Ran], shell: str) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert "_HEADWATER_COMPLETE" in ran.out
    environment = {**os.environ, "_HEADWATER_COMPLETE": f"{shell}_complete", "COMP_WORDS": "headwater sta", "COMP_CWORD": "1"}
    if shell == "fish":
        environment["COMP_CWORD"] = "sta"
    assert "status" in program(env=environment).stdout


def _completed(*words: str) -> list[str]:
    """What bash would offer for the last of `words`, from the real program; nothing may be said on stderr."""
    asked = {"_HEADWATER_COMPLETE": "bash_complete", "COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words))}
    if words[-1]:
        asked["COMP_CWORD"] = str(len(words) - 1)
    done = program(env={**os.environ, **asked})
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_selections_and_stores_are_completed(run: Callable[..., Ran], workspace: Path, tmp_path: Path) -> None:
    write_project(workspace / "zoo")
    (workspace / "wild").mkdir()
    (workspace / "wild/project.yaml").write_text("version: 1\ntables: [")
    assert _completed("headwater", "build", "tables/zoo/playground_") == []  # no command has worked here yet
    assert not (workspace / ".headwater").exists()
    assert run("ls").code == 0
    assert _completed("headwater", "build", "tables/zoo/playground_") == [
        "tables/zoo/playground_db",
        "tables/zoo/playground_duckdb",
    ]
    assert _completed("headwater", "explain", "+work") == ["+workspace/all/catalog"]
    assert _completed("headwater", "tables", "plan", "p") == ["pets"]
    assert _completed("headwater", "tables", "exec", "-s", "z") == ["zoo"]
    assert _completed("headwater", "-C", str(tmp_path / "nowhere"), "tables", "plan", "p") == []
    (workspace / "headwater.toml").write_text("version = [")
    assert _completed("headwater", "tables", "plan", "p") == []


def test_completion_without_a_shell_takes_the_one_in_use(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert "#compdef headwater" in run("completion").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run("completion").code == 2


def test_the_examples_have_no_findings(run: Callable[..., Ran], tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".headwater", "playground.*", "qipu.db"))
    ran = run("-C", tmp_path / "examples", "check", "--json")
    assert (ran.code, ran.out) == (0, ""), ran


def test_the_demo_refuses_a_folder_it_did_not_make(run: Callable[..., Ran], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    ran = run("demo", EXAMPLES, folder)
    assert ran.code == 1
    assert (folder / "letter.txt").read_text() == "dear"
    assert run("demo", tmp_path, folder).code == 2


def test_the_demo_builds_everything_then_only_what_depends_on_the_change(tmp_path: Path) -> None:
    before = _tree(EXAMPLES)
    done = program("demo", EXAMPLES, tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 artifacts" in done.stdout
    assert "9 fresh, 5 built" in done.stdout
    assert "because the source data changed: data/product.csv" in done.stdout
    assert "10 fresh, 4 built" in done.stdout
    assert "Vultures over Crag Lookout" in done.stdout.partition("notes backlinks")[2]
    assert "12,096 rows, by time and station: ~1" in done.stdout
    assert "1 uploaded" in done.stdout
    assert "15 restored" in done.stdout
    assert done.stdout.rstrip().endswith("ui")
    assert _tree(EXAMPLES) == before
    assert "19.00" in (tmp_path / "demo/shop/data/product.csv").read_text()

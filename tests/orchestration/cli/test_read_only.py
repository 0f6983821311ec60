"""Commands on a workspace that cannot be written to: those that only read work, the others end in one clear error.

Two ways not to be allowed to write: a file system that is mounted read-only, and folders whose mode forbids it, for a user whom
modes bind (root, without the capabilities that make it ignore them).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from resources.problems import database_problem, problem_of
from tests.orchestration.cli.conftest import Ran, build

HEADWATER = [sys.executable, "-m", "orchestration.cli.main", "--json"]
COUNT = "SELECT count(*) AS files FROM files"
READING = [
    ["ls"],
    ["status"],
    ["check"],
    ["explain", "tables/pets/playground_db"],
    ["build", "--dry-run"],
    ["cache", "stats"],
    ["tables", "check"],
    ["tables", "plan"],
    ["migrate"],
    ["query", COUNT],
]
"""What needs no writing, whatever there is."""
WRITING = [
    ["adopt", "*/playground_db"],
    ["clean"],
    ["tables", "exec", "DELETE FROM pet"],
    ["tables", "export"],
    ["tables", "zip", "-o", "pets.zip"],
]
"""What cannot do without."""


def modes(root: Path, command: Sequence[str]) -> list[str]:
    """`command` as somebody whom the modes of files bind."""
    if os.geteuid() != 0:
        return list(command)
    if shutil.which("setpriv") is None:
        pytest.skip("root is bound by no mode, and setpriv is not here to make it so")
    return ["setpriv", "--bounding-set=-all", *command]


def mount(root: Path, command: Sequence[str]) -> list[str]:
    """`command` with a read-only file system at the workspace, in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not here")
    shell = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" || exit 77; exec "$@"'
    return ["unshare", "-rm", "sh", "-c", shell, str(root), *command]


@pytest.fixture(params=[modes, pytest.param(mount, marks=pytest.mark.slow)], ids=["modes", "mount"])
def headwater(request: pytest.FixtureRequest, workspace: Path) -> Iterator[Callable[..., tuple[int, list[dict[str, Any]]]]]:
    """Runs a command on the read-only workspace: exit code and JSON lines."""
    folders = [path for path in [workspace, *workspace.rglob("*")] if path.is_dir()]
    before: dict[Path, int] = {}

    def ran(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        if request.param is modes and not before:
            folders[:] = [path for path in [workspace, *workspace.rglob("*")] if path.is_dir()]
            for path in folders:
                before[path] = path.stat().st_mode
                path.chmod(0o555)
        done = subprocess.run(
            request.param(workspace, [*HEADWATER, *arguments]),
            cwd=workspace, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode == 77 or "unshare failed" in done.stderr:
            pytest.skip(f"no mount namespace: {done.stderr.strip()}")
        assert "Traceback" not in done.stderr
        assert "Errno" not in done.stdout + done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    yield ran
    for path, mode in before.items():
        path.chmod(mode)


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "local" not in path.parts}


def refused(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The one error in what a command printed: its own, or that of its artifact."""
    errors = [one["error"] for one in records if one.get("error")]
    assert len(errors) == 1, records
    return dict(errors[0])


@pytest.mark.parametrize("state", ["unbuilt", "built", "stale"])
def test_reading_works_and_writing_says_why_not(
    headwater: Callable[..., tuple[int, list[dict[str, Any]]]], workspace: Path, run: Callable[..., Ran], state: str
) -> None:
    if state != "unbuilt":
        build(run)
    if state == "stale":
        (workspace / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bo\n3,Cy\n")
    before = content(workspace)
    for arguments in READING:
        code, records = headwater(*arguments)
        assert code == 0, (arguments, records)
        assert not any("error" in one for one in records)
    # The answer is that of the text as it is now, whether or not a catalog lies there.
    assert records == [{"files": 3}]
    for arguments in WRITING:
        if state == "built" and arguments[0] == "adopt":
            continue  # what is fresh is adopted already
        code, records = headwater(*arguments)
        assert code == 1, (arguments, records)
        if arguments == ["clean"] and state != "unbuilt":
            assert not any(one.get("deleted") for one in records)
            assert all("cannot be written" in one.get("reason", "") or "error" in one for one in records)
            continue
        error = refused(records)
        assert error["rule"] in ("workspace-read-only", *(["tables-out-of-step"] if state == "stale" else []))
        assert error["fix"]
        assert "cannot be written" in error["message"] or error["rule"] == "tables-out-of-step"
    code, records = headwater("build")
    if state == "built":
        assert {one["outcome"] for one in records} == {"fresh"}
    else:
        assert (code, refused(records)["rule"]) == (1, "workspace-read-only")
    code, records = headwater("verify")
    results = {one["artifact"]: one["result"] for one in records}
    assert set(results.values()) == {"unbuilt": {"missing"}, "built": {"equal"}, "stale": {"stale", "equal"}}[state]
    assert code == (0 if state == "built" else 1)
    assert content(workspace) == before


def test_a_file_that_may_not_be_read_is_not_taken_for_one_that_may_not_be_written(
    headwater: Callable[..., tuple[int, list[dict[str, Any]]]], workspace: Path, request: pytest.FixtureRequest
) -> None:
    if "mount" in request.node.name:
        pytest.skip("root may read everything there")
    (workspace / "pets/project.yaml").chmod(0)
    code, records = headwater("check")
    (workspace / "pets/project.yaml").chmod(0o644)
    assert code != 0
    found = records[-1].get("error", records[-1])
    assert "read" in found["message"]
    assert found["rule"] in ("store-unreadable", "file-unreadable")
    assert found["fix"]


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (OSError(28, "No space left on device", "x"), "disk-full"),
        (OSError(122, "Disk quota exceeded", "x"), "disk-full"),
        (OSError(5, "Input/output error", "x"), "disk-error"),
        (OSError(24, "Too many open files"), "too-many-open-files"),
        (OSError(30, "Read-only file system", b"x\xff"), "workspace-read-only"),
        (PermissionError(13, "Permission denied", "no/such/file"), "workspace-read-only"),
        (FileNotFoundError(2, "No such file or directory", "x"), "file-missing"),
        (OSError(95, "Operation not supported", 7), "system-error"),
        (OSError("no number at all"), "system-error"),
    ],
)
def test_whatever_the_system_refuses_has_a_rule_and_a_fix(error: OSError, rule: str) -> None:
    problem = problem_of(error)
    assert (problem.rule, problem.exit_code) == (rule, 1)
    assert problem.fix
    assert problem.message
    named = isinstance(error.filename, str | bytes)
    assert problem.path == (os.fsencode(error.filename).decode("utf-8", "backslashreplace") if named else None)
    assert problem.__cause__ is error


def test_what_sqlite_says_of_the_disk_is_said_as_the_system_would() -> None:
    full = database_problem(sqlite3.OperationalError("database or disk is full"))
    assert full is not None
    assert (full.rule, bool(full.fix)) == ("disk-full", True)
    assert database_problem(apsw.ReadOnlyError("attempt to write a readonly database")).rule == "workspace-read-only"  # type: ignore[union-attr]  # None fails
    assert database_problem(apsw.IOError("disk I/O error")).rule == "disk-error"  # type: ignore[union-attr]  # None fails
    assert database_problem(sqlite3.OperationalError("no such table: x")) is None
    assert database_problem(RuntimeError("database or disk is full")) is None

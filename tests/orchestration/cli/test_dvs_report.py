"""`headwater dvs report`."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "work"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store", "--hash", "sha256").code == 0
    (root / "a b.csv").write_text("one")
    (root / "c.csv").write_text("two")
    assert run("dvs", "add", ".", "-m", "first, of all").code == 0
    return root


def test_rows_for_people_and_programs(root: Path, run: Run) -> None:
    ran = run("dvs", "report", "--json")
    assert ran.code == 0
    assert [(record["path"], record["why"], record["told_by"]) for record in ran.records[:-1]] == [
        ("a b.csv", "first, of all", "audit"),
        ("c.csv", "first, of all", "audit"),
    ]
    assert ran.records[-1]["summary"]["files"] == 2
    text = run("dvs", "report", "--as-of", "2999-01-01").out
    assert "2 files, 6 B, as of 2999-01-01T23:59:59Z, by the log of this clone" in text
    assert "the audit log has 1 line and is whole" in text
    rows = list(csv.DictReader(io.StringIO(run("dvs", "report", "--csv", "--path", "c.csv").out)))
    assert [(row["path"], row["why"], row["proof_place"]) for row in rows] == [("c.csv", "first, of all", "storage")]


def test_checksums_are_checked_by_sha256sum(root: Path, run: Run, tmp_path: Path) -> None:
    lines = run("dvs", "report", "--checksums").out
    checked = subprocess.run(["sha256sum", "--strict", "-c"], input=lines, cwd=root, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "a b.csv: OK\nc.csv: OK\n")
    assert run("dvs", "report", "--checksums", "--algorithm", "blake3").out == ""
    assert run("dvs", "report", "--checksums", "--output", str(tmp_path / "sums")).code == 0
    assert (tmp_path / "sums/SHA256SUMS").read_text() == lines
    again = run("dvs", "report", "--checksums", "--output", str(tmp_path / "sums"), "--json")
    assert again.code == 2 or again.records[-1]["error"]["rule"] in ("file-exists", "usage")
    assert run("dvs", "report", "--checksums", "--output", str(tmp_path / "sums")).code == 1


def test_lists_of_several_algorithms_are_kept_apart(root: Path, run: Run) -> None:
    assert run("dvs", "config", "set", "hash_algo", "blake3").code == 0
    (root / "new").write_text("three")
    assert run("dvs", "add", "new").code == 0
    ran = run("dvs", "report", "--checksums")
    heads = [line for line in ran.out.splitlines() if line.startswith("#")]
    assert heads == ["# b3sum -c", "# sha256sum -c"]
    assert "choose with --algorithm" in ran.err
    assert len(run("dvs", "report", "--checksums", "--algorithm", "blake3").out.splitlines()) == 1


def test_what_does_not_go_together(root: Path, run: Run) -> None:
    for options in (["--algorithm", "blake3"], ["--csv", "--checksums"], ["--csv", "--json"], ["--as-of", "someday"]):
        assert run("dvs", "report", *options).code == 2, options
    assert run("dvs", "report", "--as-of", "1999-01-01").code == 1
    assert run("dvs", "report", "--path", "nowhere").code == 1


def test_an_audit_log_that_was_changed_fails_the_report(root: Path, run: Run) -> None:
    (root / "new").write_text("three")
    assert run("dvs", "add", "new").code == 0
    log = root.parent / "store/audit.log.jsonl"
    log.chmod(0o644)
    log.write_bytes(log.read_bytes().replace(b"first", b"FIRST"))
    ran = run("dvs", "report")
    assert ran.code == 1
    assert "not whole" in ran.out

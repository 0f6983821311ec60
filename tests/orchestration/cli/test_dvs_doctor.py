"""`headwater dvs doctor`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    (root / "a.csv").write_text("one")
    assert run("dvs", "add", ".").code == 0
    return root


def rules(ran: Ran) -> list[str]:
    return [record["rule"] for record in ran.records if "rule" in record]


def test_a_new_repository_needs_the_driver_alone_and_fix_installs_it(root: Path, run: Run) -> None:
    ran = run("dvs", "doctor", "--json")
    assert (ran.code, rules(ran)) == (0, ["dvs-merge-driver"])
    assert run("dvs", "doctor", "--fix", "--yes").out == "no findings\n"
    assert "merge-driver %O %A %B %P" in git(root, "config", "merge.dvs-lock.driver")
    assert run("dvs", "doctor").out == "no findings\n"


def test_repairs_are_shown_and_agreed_to_and_the_state_follows(root: Path, run: Run) -> None:
    git(root, "config", "merge.dvs-lock.driver", "x")
    (root / ".gitignore").write_text("*.dvs\n" + (root / ".gitignore").read_text())
    (root / "dvs.lock").write_text('{"version": 1, "entries": []}')
    (root / "a.csv.dvs").write_text((root / "a.csv.dvs").read_text().replace('"message": ""', '"message": "by hand"'))
    ran = run("dvs", "doctor", "--json")
    assert (ran.code, sorted(rules(ran))) == (3, ["dvs-drift", "dvs-sidecar-ignored"])
    assert run("dvs", "doctor", "--fix").code != 0
    assert "*.dvs" in (root / ".gitignore").read_text()
    dry = run("dvs", "doctor", "--fix", "--dry-run")
    assert "-*.dvs" in dry.err
    assert '+    {"path": "a.csv"' in dry.err
    assert "*.dvs" in (root / ".gitignore").read_text()
    mended = run("dvs", "doctor", "--fix", "--yes")
    assert (mended.code, mended.out) == (0, "no findings\n")
    assert '"path": "a.csv"' in (root / "dvs.lock").read_text()
    assert run("dvs", "log", "--json").records[0]["message"] == "doctor --fix"
    assert run("dvs", "doctor", "--fix", "--yes").err.startswith("nothing that can be repaired")


def test_a_checksum_in_capital_letters_is_written_in_lower_case(root: Path, run: Run) -> None:
    text = (root / "a.csv.dvs").read_text()
    digits = text.split('"')[3]
    (root / "a.csv.dvs").write_text(text.replace(digits, digits.upper()))
    assert "dvs-upper-case" in rules(run("dvs", "doctor", "--json"))
    assert run("dvs", "doctor", "--fix", "--yes").code == 0
    assert (root / "a.csv.dvs").read_text() == text


def test_two_configurations_do_not_keep_it_from_looking(root: Path, run: Run) -> None:
    (root / "dvs.json").write_text('{"storage_dir": "/elsewhere"}')
    ran = run("dvs", "doctor", "--json")
    assert ran.code == 3
    assert "dvs-config-twice" in rules(ran)
    assert "were not looked at" in ran.err
    assert run("dvs", "doctor", "--fix", "--yes").code == 3


def test_missing_objects_and_rules_that_are_chosen(root: Path, run: Run) -> None:
    for pack in (root.parent / "store/packs").iterdir():
        pack.unlink()
    ran = run("dvs", "doctor", "--json", "--rule", "dvs-object-missing")
    assert (ran.code, rules(ran)) == (3, ["dvs-object-missing"])
    assert rules(run("dvs", "doctor", "--json", "--no-objects")) == ["dvs-merge-driver"]
    assert run("dvs", "doctor", "--rule", "dvs-objekt-missing").code == 2
    assert run("dvs", "doctor", "--dry-run").code == 2
    assert run("dvs", "add", "a.csv").code == 0
    assert run("dvs", "doctor", "--rule", "dvs-object-missing").code == 0


def test_a_damaged_log_is_mended(root: Path, run: Run) -> None:
    git(root, "config", "merge.dvs-lock.driver", "x")
    log = root / ".dvs/logs/refs/HEAD"
    log.write_bytes(b"{damaged\n" + log.read_bytes())
    (root / ".dvs/refs/HEAD").write_bytes(b"nonsense")
    assert rules(run("dvs", "doctor", "--json")) == ["dvs-state-damaged", "dvs-state-damaged"]
    assert run("dvs", "doctor", "--fix", "--yes").out == "no findings\n"
    assert run("dvs", "rollback", "HEAD").code == 0


def test_check_finds_and_mends_what_hides_sidecars_too(root: Path, run: Run) -> None:
    assert rules(run("check", "--json")) == []
    (root / ".gitignore").write_text("*.dvs\n" + (root / ".gitignore").read_text())
    ran = run("check", "--json")
    assert (ran.code, rules(ran)) == (3, ["dvs-sidecar-ignored"])
    assert run("check", "--fix", "--yes").code == 0
    assert rules(run("check", "--json")) == []

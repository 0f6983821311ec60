"""Carrying out a plan: nobody's text is lost, whoever writes at the same time, and what was done is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assets.notes.opened import OpenedNotes
from orchestration.cli.app import App
from orchestration.cli.notes_plans import carry_out, file_findings, found_note, inside, joined, linker
from resources.notes.changes import Plan
from resources.notes.writing import update
from schemas.errors import Conflict, InvalidText, UsageError
from tests.orchestration.cli.notes_work import ALPHA, A, B, Run, checkout, store, tree

__all__ = ["checkout", "store"]


@pytest.fixture
def app() -> App:
    return App()


def test_case_79_an_edit_that_comes_between_reading_and_writing_is_kept(store: Path, app: App) -> None:
    saved = []

    def make(notes: OpenedNotes) -> Plan:
        plan = update(notes.store, linker(notes), found_note(notes, "qp-aaaa"), keys={"value": 1}, now=notes.now)
        if not saved:
            (store / A).write_text(ALPHA + "saved by an editor at the same moment\n")
            saved.append(1)
        return plan

    assert carry_out(app, None, make, label="test") is not None
    text = (store / A).read_text()
    assert "value: 1\n" in text
    assert text.endswith("saved by an editor at the same moment\n")


def test_case_79_a_file_that_never_stands_still_is_left_alone(store: Path, app: App) -> None:
    rounds = []

    def make(notes: OpenedNotes) -> Plan:
        plan = update(notes.store, linker(notes), found_note(notes, "qp-aaaa"), keys={"value": 1}, now=notes.now)
        rounds.append(1)
        (store / A).write_text(ALPHA + f"round {len(rounds)}\n")
        return plan

    with pytest.raises(Conflict) as caught:
        carry_out(app, None, make, label="test")
    assert (caught.value.path, bool(caught.value.fix), len(rounds)) == (A, True, 2)
    assert (store / A).read_text() == ALPHA + "round 2\n"


def test_case_79_eight_writers_of_one_note_lose_nothing(store: Path) -> None:
    command = [sys.executable, "-m", "orchestration.cli.main", "notes", "update", "qp-aaaa", "--tag"]
    started = [
        subprocess.Popen([*command, f"t{number}"], cwd=store, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 8, said
    head = (store / A).read_text().split("---\n")[1]
    assert all(f"t{number}" in head for number in range(8))
    assert (store / A).read_text().split("---\n")[2] == ALPHA.split("---\n")[2]


def test_errors_name_the_file_from_the_root_of_the_workspace(store: Path, app: App) -> None:
    (store / A).write_text("---\nid: [unclosed\n---\n")

    def make(notes: OpenedNotes) -> Plan:
        return update(notes.store, linker(notes), "notes/qp-aaaa-alpha.md", keys={"value": 1}, now=notes.now)

    with pytest.raises(InvalidText) as caught:
        carry_out(app, None, make, label="test")
    assert caught.value.path == A
    assert {finding.path for finding in caught.value.findings} == {A}


def test_a_dry_run_is_one_record(store: Path, run: Run) -> None:
    before = tree(store)
    (record,) = run("notes", "mv", "notes", "essays", "--dry-run", "--json").records
    assert record["written"] is False
    assert {file["change"] for file in record["files"]} == {"moved", "edited"}
    assert "rename from .qipu/notes/qp-aaaa-alpha.md\nrename to .qipu/essays/qp-aaaa-alpha.md\n" in record["diff"]
    assert tree(store) == before


def test_paths_are_the_stores_however_they_are_written(store: Path, app: App) -> None:
    from orchestration.cli.notes_stores import opened

    with opened(app) as notes:
        for word in (".qipu/notes/a.md", "notes/a.md", "./notes/a.md", f"{store}/.qipu/notes/a.md"):
            assert inside(notes, word) == "notes/a.md"
        assert (inside(notes, "."), inside(notes, ".qipu/"), inside(notes, "notes/")) == ("", "", "notes")
        with pytest.raises(UsageError):
            inside(notes, "/etc/passwd")


def test_findings_are_those_of_one_file(store: Path, app: App) -> None:
    from orchestration.cli.notes_stores import opened

    (store / A).write_text(ALPHA + "[[nowhere]]\n")
    (store / B).write_text("---\nid: [unclosed\n---\n")
    with opened(app) as notes:
        found = file_findings(notes, "notes/qp-aaaa-alpha.md")
    assert [(finding.path, finding.line) for finding in found if finding.value == "nowhere"] == [(A, 11)]
    assert {finding.path for finding in found} == {A}


def test_plans_are_joined() -> None:
    one, two = Plan("one", lines=["a"]), Plan("two", lines=["b"], before={"p": b"x"})
    made = joined([one, two], "both")
    assert (made.label, made.lines, made.before) == ("both", ["a", "b"], {"p": b"x"})


def test_a_change_of_nothing_is_said_in_json_too(store: Path, run: Run) -> None:
    assert run("notes", "link", "rm", "qp-aaaa", "supports", "qp-bbbb", "--json").records == [
        {"path": None, "change": None, "written": False}
    ]

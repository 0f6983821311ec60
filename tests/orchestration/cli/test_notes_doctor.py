"""`headwater notes doctor`: what it lists, what it repairs and what it leaves to people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.notes_work import (
    Pipe,
    Run,
    checkout,
    git,
    link_states,
    pipe_terminal,
    store,
    tree,
    vault,
    write_files,
)

__all__ = ["checkout", "pipe_terminal", "store", "vault"]

ODD = """\
---
id: qp-dddd
value: 130  # too much
links:
  - {type: supports, id: qp-gone}
  - {type: related, id: QP-AAAA}
---

# Odd

[[QP-BBBB]] and [b](QP-bbbb-Beta.md) and [[qp-bbbb-betta|near]] and [[alpha]] and [[nowhere at all]] and [[qp-bbbb-bets-9]].
"""
D = ".qipu/notes/qp-dddd-odd.md"


def rules(ran: Ran) -> list[str]:
    """The rules of the findings; the map of the store lists bare links, which is only for information."""
    return sorted(rule for line in ran.out.splitlines() if (rule := json.loads(line)["rule"]) != "note-bare-links")


def test_case_44_a_clean_store(run: Run, store: Path) -> None:
    assert run("notes", "doctor").code == 0
    assert rules(run("notes", "doctor", "--json")) == []
    assert re.search(r"\n1 for information in 3 notes \(\d+\.\d s\)", run("notes", "doctor").out)
    assert re.search("no findings in 3 notes", run("notes", "doctor", "--rule", "link-broken").out)


def test_case_44_a_dead_typed_link_is_an_error_until_it_is_taken_out(run: Run, store: Path) -> None:
    write_files(
        store, {".qipu/notes/qp-eeee-e.md": "---\nid: qp-eeee\ntitle: E\nlinks: [{type: supports, id: zz-9}]\n---\n\nE.\n"}
    )
    ran = run("notes", "doctor")
    assert ran.code == 3
    assert "link-broken" in ran.out
    assert run("notes", "doctor", "--fix", "--yes").code == 0
    assert "zz-9" not in (store / ".qipu/notes/qp-eeee-e.md").read_text()


def test_findings_are_those_of_check_and_can_be_chosen(run: Run, store: Path) -> None:
    write_files(store, {D: ODD})
    ran = run("notes", "doctor", "--json")
    assert ran.code == 3
    assert rules(ran) == rules(run("check", "--json"))
    assert set(rules(ran)) == {"link-broken", "link-case", "note-bad-value", "note-missing-title"}
    assert rules(run("notes", "doctor", "--json", "--rule", "link-case")) == ["link-case"] * 4
    assert run("notes", "doctor", "--rule", "link-case").code == 0
    assert run("notes", "doctor", "--rule", "link-cas").code == 2
    assert json.loads(run("notes", "doctor", "--sarif").out)["version"] == "2.1.0"
    assert re.search(r"4 +error +link-broken", run("notes", "doctor").out)


def test_nothing_is_repaired_unasked(run: Run, store: Path) -> None:
    write_files(store, {D: ODD})
    before = tree(store)
    ran = run("notes", "doctor", "--fix")
    assert ran.code == 1
    assert "not-asked" in ran.err or "nobody can be asked" in ran.err
    dry = run("notes", "doctor", "--fix", "--dry-run")
    assert "+value: 100" in dry.err
    assert "Typed links to notes that are gone" in dry.err
    assert tree(store) == before


def test_repairs_change_what_they_are_about(run: Run, store: Path) -> None:
    write_files(store, {D: ODD})
    others = {path: data for path, data in tree(store).items() if path != D}
    ran = run("notes", "doctor", "--fix", "--yes", "--json")
    assert ran.code == 3
    assert rules(ran) == ["link-broken"] * 2
    assert (store / D).read_text() == (
        "---\nid: qp-dddd\nvalue: 100  # too much\nlinks:\n  - {type: related, id: qp-aaaa}\ntitle: Odd\n---\n\n# Odd\n\n"
        "[[qp-bbbb]] and [b](qp-bbbb-beta.md) and [[qp-bbbb-beta|near]] and [[Alpha]] and "
        "[[nowhere at all]] and [[qp-bbbb-bets-9]].\n"
    )
    assert {path: data for path, data in tree(store).items() if path != D} == others
    assert link_states()["broken"] == 2
    assert "nothing that can be repaired" in run("notes", "doctor", "--fix", "--yes").err


def test_each_step_is_asked_about(run: Run, store: Path, pipe_terminal: Pipe) -> None:
    write_files(store, {D: ODD})
    pipe_terminal("y\nn\nn\n")
    assert run("notes", "doctor", "--fix").code == 3
    text = (store / D).read_text()
    assert "value: 100" in text
    assert "qp-gone" in text
    assert "[[qp-bbbb-betta|near]]" in text


def test_case_65_the_later_of_two_notes_gets_another_id(run: Run, store: Path) -> None:
    twin = "---\nid: qp-aaaa\ntitle: Twin\ncreated: 2026-01-02\n---\n\nMe [[qp-aaaa-twin]].\n"
    write_files(
        store,
        {
            ".qipu/notes/qp-aaaa-twin.md": twin,
            ".qipu/notes/qp-ffff-f.md": "---\nid: qp-ffff\ntitle: F\n---\n\n[[qp-aaaa]] [[qp-aaaa-twin]]\n",
        },
    )
    first = store / ".qipu/notes/qp-aaaa-alpha.md"
    first.write_text(first.read_text().replace("title: Alpha", "created: 2026-01-01\ntitle: Alpha"))
    ran = run("notes", "doctor", "--json")
    assert ran.code == 3
    assert rules(ran).count("notes-duplicate-id") == 2
    assert run("notes", "doctor", "--fix", "--yes").code == 0
    assert first.exists()
    (moved,) = (path for path in (store / ".qipu/notes").iterdir() if path.name.endswith("-twin.md"))
    assert moved.name != "qp-aaaa-twin.md"
    assert f"[[qp-aaaa]] [[{moved.stem}]]" in (store / ".qipu/notes/qp-ffff-f.md").read_text()
    assert "broken" not in link_states()
    assert "ambiguous" not in link_states()


def test_derived_files_in_git(run: Run, store: Path) -> None:
    run("notes", "index")
    (store / ".qipu/.gitignore").unlink()
    git(store, "add", "-A", "-f", ".qipu")
    ran = run("notes", "doctor", "--json")
    assert rules(ran) == ["notes-derived-committed"]
    assert run("notes", "doctor", "--fix", "--yes").code == 0
    assert "/qipu.db*" in (store / ".qipu/.gitignore").read_text().splitlines()
    git(store, "rm", "-q", "--cached", ".qipu/qipu.db")
    assert rules(run("notes", "doctor", "--json")) == []


def test_check_repairs_what_needs_only_the_file(run: Run, store: Path) -> None:
    write_files(store, {D: ODD})
    assert run("check", "--fix", "--yes").code == 3
    text = (store / D).read_text()
    assert "value: 100  # too much" in text
    assert "title: Odd" in text
    assert "[[QP-BBBB]]" in text


@pytest.mark.parametrize("threshold", ["-1", "1.5", "x"])
def test_case_50_a_threshold_that_is_none(run: Run, store: Path, threshold: str) -> None:
    assert run("notes", "doctor", "--duplicates", f"--threshold={threshold}").code == 2


def test_case_50_duplicates_are_looked_for_when_asked(run: Run, store: Path) -> None:
    same = "---\nid: {0}\ntitle: River stones\n---\n\nAmber and copper lanterns in the harbor.\n"
    write_files(store, {f".qipu/notes/{name}-river-stones.md": same.format(name) for name in ("qp-r1", "qp-r2")})
    assert rules(run("notes", "doctor", "--json")) == []
    assert rules(run("notes", "doctor", "--json", "--duplicates")) == ["notes-near-duplicate"]
    assert rules(run("notes", "doctor", "--json", "--threshold", "1")) == ["notes-near-duplicate"]


def test_a_vault_is_only_looked_at(run: Run, vault: Path) -> None:
    write_files(vault, {"odd.md": "---\nvalue: 7\n---\n[[ALPHA]] [[Gone]]\n", "lost.png": ""})
    before = tree(vault)
    ran = run("notes", "doctor", "--json")
    assert ran.code == 3
    assert rules(ran) == ["link-broken", "link-case", "notes-orphaned-attachment"]
    assert tree(vault) == before
    assert run("notes", "doctor", "--fix", "--yes").code == 3
    assert (vault / "odd.md").read_text() == "---\nvalue: 7\n---\n[[Alpha]] [[Gone]]\n"

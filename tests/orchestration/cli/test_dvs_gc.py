"""`headwater dvs gc`, `trash`, `repack` as they are typed; what may go is tested in `tests/resources/dvs/test_gc.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import bare as bare
from tests.orchestration.cli.test_dvs import put
from tests.orchestration.cli.test_dvs import root as root

Run = Callable[..., Ran]
NOW = ("--expire", "0", "--no-history", "--grace", "0")


@pytest.fixture
def dropped(root: Path, run: Run) -> Path:
    """A repository whose storage holds one object that nothing names."""
    put(root, "kept.bin", b"k" * 70_000)
    put(root, "old.bin", b"o" * 70_000)
    assert run("dvs", "add", ".").code == 0
    assert run("dvs", "rm", "old.bin", "--delete").code == 0
    return root


def test_a_dry_run_writes_a_plan_and_moves_nothing(dropped: Path, run: Run) -> None:
    ran = run("dvs", "gc", *NOW, "--dry-run", "--json")
    assert ran.code == 0
    (item, summary) = ran.records
    assert item["action"] == "collect"
    assert summary["plan"]["collect"] == 1
    assert summary["plan"]["stay"] == {"needed": 1}
    plan = dropped / summary["plan"]["plan"]
    assert json.loads(plan.read_text())["collect"] == [{"oid": item["oid"], "bytes": 70_000, "path": item["path"]}]
    assert (dropped.parent / "store" / item["path"]).exists()
    carried = run("dvs", "gc", "--plan", str(plan), "--yes", "--json")
    assert carried.records[-1]["summary"]["collected"] == 1
    assert not (dropped.parent / "store" / item["path"]).exists()


def test_it_asks_first_and_the_trash_gives_back_what_it_took(dropped: Path, run: Run) -> None:
    refused = run("dvs", "gc", *NOW, "--json")
    assert refused.code == 1
    assert refused.records[-1]["error"]["rule"] == "not-asked"
    taken = run("dvs", "gc", *NOW, "--yes", "-m", "room")
    assert "1 collected (68.4 KiB) into trash/" in taken.out
    (listed,) = run("dvs", "trash", "list", "--json").records
    assert (listed["objects"], listed["bytes"], listed["reason"]) == (1, 70_000, "room")
    assert run("dvs", "rollback", "1").code == 1
    assert run("dvs", "trash", "restore", "--json").records[-1]["summary"] == {"restored": 1, "missing": []}
    assert run("dvs", "rollback", "1").code == 0
    assert (dropped / "old.bin").read_bytes() == b"o" * 70_000
    assert run("dvs", "trash", "list").out == "the trash is empty\n"
    operations = [record["operation"] for record in run("dvs", "audit", "show", "--json").records]
    assert operations[-4:] == ["remove", "gc", "trash-restore", "rollback"]
    assert run("dvs", "audit", "verify").code == 0


def test_emptying_deletes_for_good_and_only_after_a_yes(dropped: Path, run: Run) -> None:
    run("dvs", "gc", *NOW, "--yes")
    assert run("dvs", "trash", "empty", "--older-than", "0").code == 1
    assert run("dvs", "trash", "empty", "--yes").out == "0 collections with 0 objects (0 B) deleted\n"
    assert "1 object (68.4 KiB) deleted" in run("dvs", "trash", "empty", "--older-than", "0", "--yes").out
    missing = "blake3:" + "0" * 64
    assert run("dvs", "trash", "restore", "--oid", missing).code == 1
    assert run("dvs", "trash", "restore", "nothing").code == 1
    assert run("dvs", "verify").code == 0


@pytest.mark.parametrize("words", [("--grace", "soon"), ("--expire", "-1"), ("--keep-trash", "1 fortnight")])
def test_durations_that_are_none_are_refused(dropped: Path, run: Run, words: tuple[str, str]) -> None:
    assert run("dvs", "gc", *words, "--dry-run").code == 2


def test_repack_converts_between_the_layouts(root: Path, run: Run) -> None:
    put(root, "a", b"one")
    put(root, "b", b"two")
    run("dvs", "add", ".")
    assert run("dvs", "repack", "--layout", "loose", "--json").records[-1]["summary"]["unpacked"] == 2
    assert list((root.parent / "store").rglob("*.pack")) == []
    assert "2 packed" in run("dvs", "repack").out
    assert len(list((root.parent / "store").rglob("*.pack"))) == 1
    assert run("dvs", "verify").code == 0

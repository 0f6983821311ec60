"""Publishing: killed at any step it is completed or undone by the next command; two builders at once do the work once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.engine.model import Freshness, Outcome, Policy, Ref, Result
from resources.storage.leftovers import machine
from resources.storage.local import LocalStorage
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

_STEPS = ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir")


def die_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child that is gone without a trace before its `step`th change of the disk; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def counted(original: Callable[..., object]) -> Callable[..., object]:
                def call(*arguments: object, **keywords: object) -> object:
                    nonlocal count
                    if count == step:
                        os._exit(9)
                    count += 1
                    return original(*arguments, **keywords)

                return call

            for name in _STEPS:
                setattr(os, name, counted(getattr(os, name)))
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), f"the child failed at step {step}"
    return status == 9


def outputs(root: Path) -> dict[str, bytes]:
    found = {}
    for path in [*(root / "a").glob("upper.txt"), *(root / ".headwater/artifacts").rglob("*")]:
        if path.is_file() and path.suffix != ".hwtmp":
            found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize("artifact", ["upper", "pair"])
def test_killed_before_any_step_the_next_command_mends_it(root: Path, tmp_path: Path, artifact: str) -> None:
    engine_on(root).build(["*/upper", "*/pair"])
    old = outputs(root)
    write(root, {"a/words/one.txt": "uno"})
    if artifact == "pair":
        engine_on(root).build(["*/upper"])
        old = outputs(root)
    new_root = tmp_path / "new"
    shutil.copytree(root, new_root)
    engine_on(new_root).build([f"*/{artifact}"])
    new = outputs(new_root)
    assert old != new
    start = tmp_path / "start"
    shutil.copytree(root, start, copy_function=shutil.copy2)
    step = kills = 0
    while True:
        shutil.rmtree(root)
        shutil.copytree(start, root, copy_function=shutil.copy2)
        killed = die_at(step, lambda: engine_on(root).build([f"*/{artifact}"]))
        engine = engine_on(root)  # the next command
        present = outputs(root)
        assert present in (old, new), f"half a set after step {step}: {engine.recovered}"
        state = engine.status([f"*/{artifact}"])[0]
        assert state.freshness is (Freshness.FRESH if present == new else Freshness.STALE), step
        assert {outcome.result for outcome in engine.build([f"*/{artifact}"])} <= {Result.BUILT, Result.RESTORED, Result.FRESH}
        assert outputs(root) == new
        engine_on(root)
        assert list((root / ".headwater/local/scratch").iterdir()) == []
        assert engine.publisher.pending() == []
        kills += killed
        if not killed:
            break
        step += 1
    assert kills > 15


def test_a_full_disk_in_the_middle_of_a_set_is_completed_later(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_on(root).build(["*/upper", "*/length", "*/double"])
    write(root, {"a/words/one.txt": "longer"})
    ref = Ref("letters", "a", "length")
    original = LocalStorage.publish

    def full(_self: LocalStorage, _scratch: Path, _path: str) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalStorage, "publish", full)
    assert engine_on(root).build_one(ref).result is Result.FAILED
    monkeypatch.setattr(LocalStorage, "publish", original)
    engine = engine_on(root)
    assert engine.recovered == ["letters/a/length: an interrupted build was completed"]
    assert engine.status(["*/length"])[0].freshness is Freshness.FRESH


def test_a_file_put_in_the_way_of_an_unfinished_publication_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_on(root).build(["*/upper"])
    write(root, {"a/words/one.txt": "longer"})

    def full(_self: LocalStorage, _scratch: Path, _path: str) -> object:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "publish", full)
        engine_on(root).build(["*/upper"])
    write(root, {"a/upper.txt": "precious"})
    engine = engine_on(root)
    assert engine.recovered == ["letters/a/upper: an interrupted build was given up; build again"]
    assert (root / "a/upper.txt").read_text() == "precious"
    assert engine.build(["*/upper"])[0].result is Result.REFUSED


def test_a_file_that_appears_while_we_build_is_not_overwritten(root: Path) -> None:
    kinds.HOOKS["upper"] = lambda _view: (root / "a/upper.txt").write_text("precious")
    outcome = engine_on(root).build_one(Ref("letters", "a", "upper"), Policy(yes=True))
    assert outcome.result is Result.FAILED
    assert getattr(outcome.error, "rule", None) == "output-changed"
    assert (root / "a/upper.txt").read_text() == "precious"


def test_two_builders_in_one_process_do_the_work_once(root: Path) -> None:
    ref = Ref("letters", "a", "upper")
    started = threading.Barrier(2)
    found: list[Outcome] = []
    kinds.HOOKS["upper"] = lambda _view: time.sleep(0.2)

    def build() -> None:
        engine = engine_on(root)
        started.wait()
        found.append(engine.build_one(ref))
        engine.close()

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(outcome.result) for outcome in found) == ["built", "fresh"]
    assert kinds.RUNS.count("upper") == 1


def test_two_processes_building_everything_agree(root: Path) -> None:
    program = (
        "import sys; from tests.assets.engine.workspaces import engine_on;"
        "print([str(one.result) for one in engine_on(sys.argv[1]).build()])"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in running]
    assert all(set(eval(text)) <= {"built", "fresh"} for text in printed), printed
    assert {state.freshness for state in engine_on(root).status()} == {Freshness.FRESH}


def test_scratch_of_living_processes_and_other_machines_is_left_alone(root: Path) -> None:
    engine_on(root).build(["*/upper"])
    scratch = root / ".headwater/local/scratch"
    mine = scratch / f"letters-a-upper.{machine()}.{os.getpid()}.7"
    strange = scratch / "letters-a-upper.0123abcd.4194304.1"
    dead = scratch / f"letters-a-upper.{machine()}.4194304.1"
    dead_file = scratch / f"rescue.{machine()}.4194304.2"
    for folder in (mine, strange, dead):
        folder.mkdir(parents=True)
    dead_file.write_text("half a copy")
    engine_on(root)
    assert sorted(scratch.iterdir()) == sorted([mine, strange])


def test_an_interrupted_publication_waits_while_the_old_file_is_in_use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = Ref("letters", "a", "database")
    engine_on(root).build_one(ref)
    write(root, {"a/words/one.txt": "longer"})

    def full(_self: LocalStorage, _scratch: Path, _path: str) -> object:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "publish", full)
        assert engine_on(root).build_one(ref).result is Result.FAILED
    write(root, {"a/in-use": ""})
    engine = engine_on(root)
    assert engine.recovered == [
        "letters/a/database: an interrupted build waits to be completed: words.db: is in use [output-in-use]"
    ]
    assert engine.build_one(ref).result is Result.REFUSED
    (root / "a/in-use").unlink()
    assert engine_on(root).recovered == ["letters/a/database: an interrupted build was completed"]
    assert engine_on(root).status(["*/database"])[0].freshness is Freshness.FRESH

"""`headwater tables export` and `exec` as commands: killed before, or failing at, the system calls that change anything.

Whatever happens, the next command finds the text all old or all new, the database with every row it had, a history that says
what the text says, and nothing half-written; and the same command can be given again. Of the many calls of one kind a few are
taken, spread over the command. That exec survives a kill before every single call is proven in `test_tables_faults`.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Ref, Result, Store
from assets.tables.journal import Journal
from assets.tables.replay import replay
from orchestration.cli.main import main
from resources.workspace import open_workspace
from tests.faults.harness import CALLS, FAILING, Point, fail, kill, needs_strace, points
from tests.faults.test_tables_faults import PROJECT

pytestmark = [pytest.mark.slow, needs_strace]

CITIES, PEOPLE = "id,name\n1,Aarhus\n2,Bergen\n", "id,city\n1,1\n2,1\n3,2\n"
OLD = {"data/city.csv": CITIES, "data/person.csv": PEOPLE}
FEW = 2
"""Points of one kind of call: the first and the last."""
MOST = {"renameat": 8, "write": 5, "fsync": 4, "openat": 3}
"""Of what makes a change visible or durable, more."""

PROGRAM = """
from orchestration.cli.main import main
assert main(["--json", "tables", *{warm}]) == 0
os.access(BEGIN, 0)
sys.exit(main(["--json", "tables", *{arguments}]))
"""


@dataclass(frozen=True)
class Scenario:
    """One command: what loads its code before, what was done to the live database, and what the text says afterwards."""

    name: str
    warm: tuple[str, ...]
    arguments: tuple[str, ...]
    live: str
    new: dict[str, str]
    rows: tuple[int, int]
    """Rows of the database before and after."""
    kind: str

    @property
    def program(self) -> str:
        return PROGRAM.format(warm=list(self.warm), arguments=list(self.arguments))


SCENARIOS = [
    Scenario(
        "export",
        ("export", "--dry-run"),
        ("export",),
        "UPDATE city SET name = 'Oslo' WHERE id = 2; DELETE FROM person WHERE id = 2",
        {"data/city.csv": "id,name\n1,Aarhus\n2,Oslo\n", "data/person.csv": "id,city\n1,1\n3,2\n"},
        (4, 4),
        "export",
    ),
    Scenario(
        "exec",
        ("exec", "SELECT 1"),
        ("exec", "DELETE FROM city WHERE id = 1"),
        "",
        {"data/city.csv": "id,name\n2,Bergen\n", "data/person.csv": "id,city\n3,2\n"},
        (5, 2),
        "delete",
    ),
]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))
    monkeypatch.setenv("HEADWATER_ACTOR", "ada")
    monkeypatch.delenv("HEADWATER_ROOT", raising=False)
    here = Path.cwd()
    yield
    os.chdir(here)


def _prepare(folder: Path, scenario: Scenario) -> Path:
    """A workspace whose database was built from its text, whose history has begun, and whose live database was then edited."""
    (folder / "shop/data").mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n")
    (folder / "shop/project.yaml").write_text(PROJECT)
    for path, text in OLD.items():
        (folder / "shop" / path).write_text(text)
    engine = Engine(open_workspace(folder))
    assert engine.build_one(Ref("tables", "shop", "playground_db")).result is Result.BUILT
    engine.close()
    journal = _journal(folder)
    with journal.open() as text:
        journal.catch_up(text.files())
    with closing(sqlite3.connect(folder / "shop/playground.db")) as connection, connection:
        connection.executescript(f"PRAGMA foreign_keys = ON; {scenario.live}")
    return folder


def _journal(folder: Path) -> Journal:
    return Journal(open_workspace(folder), Store("tables", "shop", "shop"), "ada")


def _chosen(found: list[Point]) -> list[Point]:
    """At most so many points of each kind of call, spread over the command, in the order they come."""
    chosen = set()
    for kind in {point.kind for point in found}:
        held = [point for point in found if point.kind == kind]
        steps = min(MOST.get(kind, FEW), len(held))
        chosen.update(held[round(step * (len(held) - 1) / max(steps - 1, 1))] for step in range(steps))
    return [point for point in found if point in chosen]


def _text(folder: Path) -> dict[str, str]:
    return {f"data/{path.name}": path.read_text() for path in sorted((folder / "shop/data").iterdir())}


def _rows(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{folder}/shop/playground.db?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return connection.execute("SELECT 'city', id, name FROM city UNION ALL SELECT 'person', id, city FROM person").fetchall()


def _settled(folder: Path, scenario: Scenario, when: str) -> bool:
    """What the next command finds; whether the change was made."""
    journal = _journal(folder)
    with journal.open():
        pass
    found = _text(folder)
    assert found in (OLD, scenario.new), f"{when}: the text is a mixture: {found}"
    log = journal.log.read()
    assert log is not None, when
    assert log.digest == journal.text().digest(), f"{when}: the history does not say what the text says"
    assert [str(record.kind) for record in log.records].count("external_change") == 0, when
    assert replay(log, "history.log", fetch=journal.fetch).files == journal.text().files(), when
    if (folder / "shop/playground.db").exists():
        assert len(_rows(folder)) in scenario.rows, when
    return found == scenario.new


def _again(folder: Path, scenario: Scenario, done: bool, when: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The command given again (unless it was done) ends well, and nothing is left of the first one."""
    os.chdir(folder)
    capfd.readouterr()
    if not done or scenario.name == "export":
        code = main(["--json", "tables", *scenario.arguments])
        assert code == 0, f"{when}: {capfd.readouterr()}"
    assert main(["--json", "tables", "build"]) == 0, f"{when}: {capfd.readouterr()}"
    assert _text(folder) == scenario.new, when
    assert len(_rows(folder)) == scenario.rows[1], when
    log = _journal(folder).log.read()
    assert log is not None
    assert [str(record.kind) for record in log.records].count(scenario.kind) == 1, f"{when}: recorded not exactly once"
    assert main(["--json", "cache", "gc"]) == 0
    capfd.readouterr()
    names = {path.name for path in (folder / "shop").rglob("*") if path.is_file()}
    # A database that fell behind its text is kept beside the one that is built again.
    names.discard("playground.db.bak-1")
    assert names == {"project.yaml", "history.log", "playground.db", "city.csv", "person.csv"}, f"{when}: {names}"
    state = folder / ".headwater"
    left = [path for path in state.rglob("*") if path.is_file() and (".hwtmp" in path.name or path.parent.name == "pending")]
    left += [*(state / "local/scratch").iterdir()] if (state / "local/scratch").is_dir() else []
    left += [path for path in (folder / "headwater-rescue").glob("*") if path.name != ".gitignore"]
    assert left == [], f"{when}: left over: {left}"


def _each(
    tmp_path: Path,
    scenario: Scenario,
    wanted: Callable[[str], bool],
    interrupt: Callable[[Path, Point], None],
    capfd: pytest.CaptureFixture[str],
) -> set[bool]:
    prepared = _prepare(tmp_path / "prepared", scenario)
    shutil.copytree(prepared, tmp_path / "trace")
    found = [point for point in points(scenario.program, tmp_path / "trace", []) if wanted(point.kind)]
    chosen = _chosen(found)
    # Every kind of call that changes something is among them.
    assert {point.kind for point in chosen} == {point.kind for point in found}
    assert len(chosen) >= 10
    seen = set()
    for point in chosen:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        interrupt(folder, point)
        done = _settled(folder, scenario, str(point))
        seen.add(done)
        _again(folder, scenario, done, str(point), capfd)
        os.chdir(tmp_path)
    return seen


def _kill(scenario: Scenario, folder: Path, point: Point) -> None:
    """Kill before the point; where a run makes a call less than the traced one did, the command has come to its end."""
    try:
        kill(scenario.program, folder, [], point)
    except AssertionError as error:
        if "got 0:" not in str(error):
            raise
        assert _text(folder) == scenario.new


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS[:1], ids=lambda scenario: scenario.name)
def test_the_command_killed_before_a_call_that_changes_something(
    tmp_path: Path, scenario: Scenario, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = _each(
        tmp_path,
        scenario,
        lambda kind: kind in CALLS,
        lambda folder, point: _kill(scenario, folder, point),
        capfd,
    )
    assert seen == {True, False}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_call_of_the_command_failing(tmp_path: Path, scenario: Scenario, capfd: pytest.CaptureFixture[str]) -> None:
    """ENOSPC and EIO: either the command did its work all the same, or it says what went wrong and nothing is half-done."""
    failed = []

    def interrupt(folder: Path, point: Point) -> None:
        done = fail(scenario.program, folder, [], point)
        assert "Traceback" not in done.stderr, f"{point}: {done.stderr}"
        assert done.returncode in (0, 1), f"{point}: {done.returncode} {done.stderr}"
        if done.returncode == 0:
            assert _text(folder) == scenario.new, f"{point}: it said that all is well"
            return
        failed.append(point)
        if "cannot write the output" in done.stderr:
            return
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["message"], str(point)
        assert error["rule"] != "internal", f"{point}: {error}"
        assert error["fix"], f"{point}: {error}"
        assert "Errno" not in error["message"], f"{point}: {error}"

    _each(tmp_path, scenario, lambda kind: kind in FAILING, interrupt, capfd)
    assert len(failed) >= 5

"""Local storage killed before every system call, and with every system call failing: old or new, never mixed, nothing left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage
from tests.faults.harness import FAILING, fail, kill, needs_strace, points

pytestmark = [pytest.mark.slow, needs_strace]

_OPEN = """
from pathlib import Path
from resources.storage.base import Change
from resources.storage.local import LocalStorage
from schemas.oid import bytes_oid
storage = LocalStorage(Path.cwd())
storage.write("warm/up.txt", b"loads what is imported lazily")
storage.commit([Change("warm/a.txt", b"1"), Change("warm/b.txt", b"2")], label="warm up")
os.access(BEGIN, 0)
"""

Files = dict[str, bytes]


@dataclass(frozen=True)
class Scenario:
    """One operation: the files before, the program, and the states that are allowed after `recover`."""

    name: str
    before: Files
    program: str
    after: Files
    as_set: bool = True
    """Whether the files change together; else each is old or new by itself."""


NEW = b"new bytes\n" * 500
SCENARIOS = [
    Scenario(
        "write",
        {"a.txt": b"old"},
        _OPEN + "storage.write('a.txt', b'new bytes\\n' * 500, expect=bytes_oid(b'old'))",
        {"a.txt": NEW},
    ),
    Scenario("write into a new folder", {}, _OPEN + "storage.write('x/y/a.txt', b'new bytes\\n' * 500)", {"x/y/a.txt": NEW}),
    Scenario(
        "commit",
        {"a.txt": b"old a", "b/b.txt": b"old b", "c.txt": b"old c"},
        _OPEN
        + "storage.commit([Change('a.txt', b'new bytes\\n' * 500, bytes_oid(b'old a')), Change('b/b.txt', b'new b'),"
        + " Change('c.txt', None), Change('d/new.txt', b'new d')], label='export')",
        {"a.txt": NEW, "b/b.txt": b"new b", "d/new.txt": b"new d"},
    ),
    Scenario(
        "publish a file",
        {"out.db": b"old", "scratch/out.db": NEW},
        _OPEN + "storage.publish(Path('scratch/out.db').absolute(), 'out.db')",
        {"out.db": NEW},
    ),
    Scenario(
        "publish a folder",
        {"out/a": b"old a", "out/gone": b"old", "scratch/out/a": NEW, "scratch/out/b": b"new b"},
        _OPEN + "storage.publish(Path('scratch/out').absolute(), 'out')",
        {"out/a": NEW, "out/b": b"new b"},
    ),
    Scenario(
        "write many",
        {"a.txt": b"old a", "b/b.txt": b"old b"},
        _OPEN
        + "storage.write_many([Change('a.txt', b'new bytes\\n' * 500), Change('b/b.txt', b'new b', bytes_oid(b'old b')),"
        + " Change('b/c.txt', b'new c'), Change('d/e/new.txt', b'new d')])",
        {"a.txt": NEW, "b/b.txt": b"new b", "b/c.txt": b"new c", "d/e/new.txt": b"new d"},
        as_set=False,
    ),
    Scenario("append", {"h.log": b"one\n"}, _OPEN + "storage.append('h.log', b'two\\n')", {"h.log": b"one\ntwo\n"}),
    Scenario("delete", {"a.txt": b"old"}, _OPEN + "storage.delete('a.txt')", {}),
]


def _prepare(folder: Path, scenario: Scenario) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for path, data in scenario.before.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def _files(folder: Path) -> Files:
    """What a user sees: everything but the state folder, the scratch folder and what the warm-up wrote."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in (".headwater", "scratch", "warm")
    }


def _old(scenario: Scenario) -> Files:
    return {path: data for path, data in scenario.before.items() if not path.startswith("scratch/")}


def _check(folder: Path, scenario: Scenario, when: str) -> None:
    before, after = _old(scenario), scenario.after
    found = _files(folder)
    for path in before.keys() | after.keys():
        assert found.get(path) in (before.get(path), after.get(path)), f"{when}: {path} is neither old nor new"
    storage = LocalStorage(folder)
    storage.recover()
    list(storage.scan())  # sweeps what the dead process left
    found = _files(folder)
    assert found.keys() <= before.keys() | after.keys(), f"{when}: something is left: {sorted(found)}"
    assert not scenario.as_set or found in (before, after), f"{when}: after recovery a mixture is left: {sorted(found)}"
    assert storage.recover() == []


def _each_point(tmp_path: Path, scenario: Scenario, run: Callable[..., object], wanted: Callable[[str], bool]) -> int:
    found = [p for p in points(scenario.program, _prepare(tmp_path / "trace", scenario), []) if wanted(p.kind)]
    for point in found:
        folder = _prepare(tmp_path / "run", scenario)
        run(scenario.program, folder, [], point)
        _check(folder, scenario, str(point))
    return len(found)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_before_any_system_call(tmp_path: Path, scenario: Scenario) -> None:
    assert _each_point(tmp_path, scenario, kill, lambda _kind: True) >= 2


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_any_system_call_failing(tmp_path: Path, scenario: Scenario) -> None:
    def run(program: str, folder: Path, arguments: list[str], point: object) -> None:
        done = fail(program, folder, arguments, point)  # type: ignore[arg-type]  # the harness's Point
        assert "Segmentation" not in done.stderr

    _each_point(tmp_path, scenario, run, lambda kind: kind in FAILING)

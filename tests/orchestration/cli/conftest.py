"""A small workspace to run commands in, and two ways to run them: in this process, and as the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = """\
version: 1
tables:
  owner:
    columns:
      id: {type: integer}
      name: {type: text, nullable: false}
    primary_key: [id]
  pet:
    columns:
      id: {type: integer}
      name: {type: text, nullable: false}
      born: {type: date}
      owner_id: {type: integer}
    primary_key: [id]
relationships:
  pet_owner:
    from: {table: pet, columns: [owner_id]}
    to: {table: owner, columns: [id]}
"""
OWNERS = "id,name\n1,Ada\n2,Bo\n"
PETS = "id,name,born,owner_id\n1,Rex,2020-02-29,1\n2,Mia,,2\n3,Tom,2021-01-01,\n"


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


def write_project(folder: Path) -> None:
    """Two tables, one foreign key, in `folder`."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "project.yaml").write_text(PROJECT, "utf-8")
    (folder / "data" / "owner.csv").write_text(OWNERS, "utf-8")
    (folder / "data" / "pet.csv").write_text(PETS, "utf-8")


@pytest.fixture(autouse=True)
def quiet_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, nothing set that commands read, and the environment and signal handlers as they were afterwards."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HEADWATER_ROOT", "HEADWATER_REMOTE_CACHE", "DAGSTER_HOME", "NO_COLOR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    handler = signal.getsignal(signal.SIGTERM)
    yield home
    signal.signal(signal.SIGTERM, handler)
    # A build names its Dagster home in the environment.
    os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one tables store, `pets`; the current folder is its root."""
    root = tmp_path / "workspace"
    write_project(root / "pets")
    (root / "headwater.toml").write_text("version = 1\n", "utf-8")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process."""
    from orchestration.cli.main import main

    def ran(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        taken = capfd.readouterr()
        return Ran(code, taken.out, taken.err)

    return ran


def program(*arguments: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the real program; `settings` go to subprocess.run."""
    settings.setdefault("capture_output", True)
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *map(str, arguments)],
        text=True,
        timeout=120,
        check=False,
        **settings,
    )


def start(*arguments: str | Path, **settings: Any) -> subprocess.Popen[str]:
    """Start the real program and return at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def build(run: Callable[..., Ran], *select: str) -> None:
    """Build through the engine alone: Dagster takes seconds to load, and is not what the test is about."""
    from assets.engine.engine import Engine
    from resources.workspace import open_workspace

    engine = Engine(open_workspace())
    try:
        for outcome in engine.build(select):
            assert outcome.error is None, outcome.error
    finally:
        engine.close()

"""An object server as a process of its own on loopback, with tokens of every right, over a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.server.tokens import Right, add_token


@dataclass
class Server:
    """A server that runs: `token` may read, write and delete, `read_token` only read."""

    url: str
    storage: Path
    token: str
    read_token: str
    tokens: Path
    log: Path
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        """End it as Ctrl-C does; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self._reap()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self._reap()

    def _reap(self) -> int:
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextmanager
def running_server(folder: Path, *options: str, wrapper: Sequence[str] = (), settings: str = "") -> Iterator[Server]:
    """`headwater dvs serve` on a free port until the block ends; `folder` gets its storage, its tokens and its log.

    `wrapper` is a command that runs it, `settings` the text of a file of settings.
    """
    storage = folder / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    tokens = folder / "tokens.json"
    keys = folder / "keys.json"
    if not keys.exists():
        made = {
            "token": add_token(tokens, "writer", [Right.READ, Right.WRITE, Right.DELETE]),
            "read_token": add_token(tokens, "reader", [Right.READ]),
        }
        keys.write_text(json.dumps(made))
    held = json.loads(keys.read_text())
    command = [sys.executable, "-m", "orchestration.cli.main", "dvs", "serve", str(storage), "--port", "0", "--json"]
    if settings:
        (folder / "settings.toml").write_text(settings)
        options = (*options, "--config", str(folder / "settings.toml"))
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            [*wrapper, *command, "--tokens", str(tokens), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "HEADWATER_CACHE_DIR": str(folder / "cache")},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "server.log").read_text()
    server = Server(json.loads(line)["url"], storage, held["token"], held["read_token"], tokens, folder / "server.log", process)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def dvs_server(tmp_path: Path) -> Iterator[Server]:
    """A server with its defaults."""
    with running_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with options of one's own; all end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*options: str, name: str = "server", settings: str = "", wrapper: Sequence[str] = ()) -> Server:
            (tmp_path / name).mkdir(exist_ok=True)
            return stack.enter_context(running_server(tmp_path / name, *options, settings=settings, wrapper=wrapper))

        yield start

"""A real `headwater ui` process on a small workspace, for the tests that attack it and for the browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = """\
version: 1
project:
  name: shop
tables:
  item:
    description: What is for sale.
    columns:
      id: {type: integer}
      name: {type: text, nullable: false}
    primary_key: [id]
"""


NOTES = {
    "qp-a1-pens.md": "---\nid: qp-a1\ntitle: Pens\n---\nSold with [[qp-b2]] and [[Paper]].\n",
    "qp-b2-ink.md": "---\nid: qp-b2\ntitle: Ink\ntags: [stock]\n---\nFor [[Pens]].\n",
}
"""Two notes that link each other, and one link that leads nowhere."""


def write_workspace(root: Path) -> Path:
    """A workspace with a tables project in a folder whose name needs escaping, and the notes that go with it."""
    store = root / "corner shop"
    (store / "data").mkdir(parents=True)
    (root / "headwater.toml").write_text('version = 1\n[workspace]\nname = "demo"\nowner = "shop team"\n')
    (store / "project.yaml").write_text(PROJECT)
    (store / "data" / "item.csv").write_text("id,name\n1,pen\n2,ink\n")
    for name, text in NOTES.items():
        (root / ".qipu" / "notes").mkdir(parents=True, exist_ok=True)
        (root / ".qipu" / "notes" / name).write_text(text)
    return root


def headwater(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command on the workspace, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *arguments], cwd=root, env=_environment(), capture_output=True, text=True
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "HEADWATER_ROOT"))}
    return {**kept, "PYTHONUNBUFFERED": "1"}


@dataclass
class Server:
    """A running UI: its address, the link it printed, and requests to it with or without the session cookie."""

    root: Path
    process: subprocess.Popen[str]
    link: str
    output: list[str]
    cookie: str = ""

    @property
    def address(self) -> str:
        return self.link.split("/")[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def record(self) -> dict[str, Any]:
        """The private file the server keeps while it runs."""
        found: dict[str, Any] = json.loads((self.root / ".headwater" / "local" / "ui.json").read_text())
        return found

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Exactly the request that is asked for: nothing is added but what HTTP/1.1 needs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given = {"Host": self.address, **(headers or {})}
            if body is not None:
                given.setdefault("Content-Length", str(len(body)))
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def log_in(self) -> None:
        """Follow the link, once."""
        status, headers, _ = self.request("GET", self.link.split(self.address, 1)[1])
        assert status == 200
        self.cookie = headers["set-cookie"].partition(";")[0]

    def graphql(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A document sent the way the UI's own page does."""
        headers = {"Cookie": self.cookie, "Origin": f"http://{self.address}", "Content-Type": "application/json"}
        body = json.dumps({"query": document, "variables": dict(variables or {})}).encode()
        status, _, answer = self.request("POST", "/graphql", body, headers)
        assert status == 200, answer
        found: dict[str, Any] = json.loads(answer)
        assert "errors" not in found, found
        data: dict[str, Any] = found["data"]
        return data

    def processes(self) -> list[int]:
        """The pids of the server and of everything it started."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(child) for child in children.read_text().split()] if children.exists() else []
        return found


@contextmanager
def running_ui(root: Path, *arguments: str) -> Iterator[Server]:
    """`headwater ui` on `root`, ended by Ctrl-C afterwards."""
    command = [sys.executable, "-m", "orchestration.cli.main", "ui", "--port", "0", "--no-open", *arguments]
    process = subprocess.Popen(
        command, cwd=root, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    output: list[str] = []
    try:
        assert process.stdout is not None
        link = ""
        while not link:
            line = process.stdout.readline()
            assert line, "".join(output)
            output.append(line)
            found = re.search(r"http://\S+token=\S+", line)
            link = found.group() if found else ""
        server = Server(root, process, link, output)
        wait_until(lambda: _answers(server))
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/")[0] == 401
    except OSError:
        return False


def wait_until(holds: Any, seconds: float = 60.0) -> Any:
    """What `holds()` returns once it is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not so within {seconds} seconds")

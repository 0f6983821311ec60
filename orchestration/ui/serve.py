"""`headwater ui`: the code location, the daemon and the guarded web server of one workspace, from start to end.

The web server runs in this process behind `orchestration.ui.guard`, so there is no port without the guard. The code location and
the daemon are children that end with it; they talk over Unix sockets or loopback ports of Dagster's own. The location is loaded
again when stores come or go, or their settings change.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.instance import open_instance
from orchestration.ui.guard import OPEN_PATH, TOKEN_PATH, Guard, Secrets
from resources.locks import LockTimeout, file_lock
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import GrpcServerTarget

    from resources.workspace import Workspace

MODULE = "orchestration.definitions"
LOCATION = "headwater"
STATE_FILE = "ui.json"
LOOK_SECONDS = 15.0
"""How often the set of stores is looked at; each look lists the workspace's folders."""
SHUTDOWN_SECONDS = 5


def serve(workspace: Workspace, *, port: int, open_browser: bool, say: Callable[[str], None]) -> int:
    """Serve until interrupted. `say` is told the link. A second call on the same workspace prints a new link to the first server.

    Raises UsageError when the port is taken.
    """
    try:
        with file_lock(workspace.local / "locks", "ui", timeout=0.1):
            return _serve(workspace, port, open_browser, say)
    except LockTimeout:
        link = _link_of_running(workspace)
        say(f"the UI of this workspace is running already: {link}")
        if open_browser:
            _open(workspace, link)
        return 0


def _serve(workspace: Workspace, port: int, open_browser: bool, say: Callable[[str], None]) -> int:
    import uvicorn

    listener = _listen(port)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    known = Secrets()
    os.environ["HEADWATER_ROOT"] = str(workspace.root_folder or workspace.root.url)
    with open_instance(workspace) as instance, _processes(workspace, instance) as context:
        from dagster_webserver.app import create_app_from_workspace_process_context

        application = create_app_from_workspace_process_context(context)
        hosts = [address, address.replace("127.0.0.1", "localhost")]
        guard = Guard(application, hosts, known, cookie=f"headwater-{listener.getsockname()[1]}")
        config = uvicorn.Config(
            guard,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws_max_size=4 << 20,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="off",
        )
        _write_private(workspace.local / STATE_FILE, {"url": f"http://{address}", "key": known.key, "pid": os.getpid()})
        link = f"http://{address}{OPEN_PATH}?token={known.new_token()}"
        say(f"the UI of {workspace.name} is at {link}")
        say("the link opens once; run `headwater ui` again for another one. Ctrl-C ends the UI and its daemon.")
        if open_browser:
            _open(workspace, link)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            (workspace.local / STATE_FILE).unlink(missing_ok=True)
            listener.close()
    return 0


@contextmanager
def _processes(workspace: Workspace, instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    """The code location and the daemon; what Dagster should know is reported before either asks."""
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import GrpcServerTarget, ModuleTarget

    from assets.engine.definitions.session import BuildSession
    from assets.engine.engine import Engine
    from orchestration.report import report_all
    from orchestration.runs import close_killed_runs

    close_killed_runs(instance)
    engine = Engine(workspace)
    try:
        report_all(BuildSession(engine), instance)
    finally:
        engine.close()
    target = ModuleTarget(module_name=MODULE, attribute=None, working_directory=str(Path.cwd()), location_name=LOCATION)
    with ProxyServerManager(instance, target, code_server_log_level="WARNING") as servers:
        spec = servers.get_code_server_specs()[0]["grpc_server"]
        found = GrpcServerTarget(spec.get("host", "localhost"), spec.get("port"), spec.get("socket"), LOCATION)
        with _daemon(found), WorkspaceProcessContext(instance, found) as context, _reloading(workspace, context):
            yield context


@contextmanager
def _daemon(location: GrpcServerTarget) -> Iterator[None]:
    """The daemon's process."""
    where = ["--grpc-socket", location.socket] if location.socket else ["--grpc-port", str(location.port)]
    command = [sys.executable, "-m", "orchestration.ui.daemon", "run", "--log-level", "warning", *where]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _reloading(workspace: Workspace, context: WorkspaceProcessContext) -> Iterator[None]:
    """Load the code location again whenever what it is made from has changed."""
    ended = threading.Event()

    def watch() -> None:
        last = _shape(workspace)
        while not ended.wait(LOOK_SECONDS):
            with suppress(HeadwaterError, OSError):
                shape = _shape(workspace)
                if shape != last:
                    context.reload_code_location(LOCATION)
                    last = shape

    thread = threading.Thread(target=watch, daemon=True, name="stores")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _shape(workspace: Workspace) -> str:
    """What the definitions depend on: the stores, their settings, what their kinds look up about them, and the configuration."""
    from assets.engine.engine import Engine
    from orchestration.definitions import pin
    from orchestration.graph import facts_of
    from resources.workspace import open_workspace

    opened = open_workspace(workspace.root_folder or workspace.root.url)
    engine = Engine(opened)
    try:
        stores = engine.stores()
        return json.dumps([opened.config.oid, pin(stores), facts_of(opened, stores)])
    finally:
        engine.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} cannot be used: {(error.strerror or str(error)).lower()}",
            rule="port-taken",
            fix="choose another with --port, or --port 0 for any free one",
        ) from error
    return listener


def _write_private(path: Path, record: dict[str, Any]) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(record, file)
    fresh.replace(path)


def _link_of_running(workspace: Workspace) -> str:
    """A new link to the server that holds the lock."""
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    try:
        record = json.loads((workspace.local / STATE_FILE).read_text("utf-8"))
        headers = {"Authorization": f"Bearer {record['key']}", "Content-Type": "application/json"}
        request = Request(record["url"] + TOKEN_PATH, data=b"{}", headers=headers, method="POST")
        with urlopen(request, timeout=5) as answer:
            return f"{record['url']}{OPEN_PATH}?token={json.load(answer)['token']}"
    except (OSError, URLError, ValueError, KeyError) as error:
        raise HeadwaterError(
            "another `headwater ui` holds this workspace but does not answer yet",
            rule="ui-not-ready",
            fix="wait until it has started, or end it and run `headwater ui` again",
        ) from error


def _open(workspace: Workspace, link: str) -> None:
    """Open the link in a browser by way of a private page: a browser's arguments can be read by every user of the machine."""
    import webbrowser

    page = workspace.local / "ui.html"
    fresh = page.with_name(f"ui.html.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={link}">')
    fresh.replace(page)
    webbrowser.open(page.as_uri())

"""The files in `deploy/`, tried as far as the machine can: PostgreSQL and nginx for real where installed, units by systemd."""

from __future__ import annotations

import http.client
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.orchestration.server import headwater, wait_until, write_workspace

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").exists() else []


def _yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((DEPLOY / name).read_text())


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# compose and systemd


def test_the_compose_file_publishes_to_loopback_only_and_waits_for_what_it_needs() -> None:
    services = _yaml("compose.yaml")["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:3000:3000"]
    assert set(services["code"]["depends_on"]) == {"migrate"}
    assert services["web"]["depends_on"] == services["daemon"]["depends_on"] == {"code": {"condition": "service_healthy"}}
    assert "privileged" not in str(services)
    assert "docker.sock" not in str(services)


def test_no_secret_is_written_down() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            for line in path.read_text().splitlines():
                name, _, value = line.partition("=")
                if "PASSWORD" in name and not name.lstrip().startswith("#"):
                    assert value.strip() in ("", "change-me"), f"{path}: {line}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("name", ["headwater-code", "headwater-web", "headwater-daemon"])
def test_the_units_are_sound(name: str, tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/headwater/bin/", "/bin/true ").replace("User=headwater\nGroup=headwater\n", "")
        (tmp_path / unit.name).write_text(text)
    made = subprocess.run(["systemd-analyze", "verify", str(tmp_path / f"{name}.service")], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert f"{name}.service" not in made.stderr, made.stderr


def test_the_units_serve_loopback_only() -> None:
    commands = [
        line
        for unit in (DEPLOY / "systemd").glob("*.service")
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart")
    ]
    assert len(commands) == 3
    assert all("--host 127.0.0.1" in line for line in commands if "daemon" not in line)


# PostgreSQL


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A private cluster; the server refuses to run as root, so root runs it as the user Debian made for it."""
    if not POSTGRES:
        pytest.skip("there is no PostgreSQL server")
    pytest.importorskip("dagster_postgres")
    folder = Path(f"/tmp/headwater-postgres-{os.getpid()}")
    folder.mkdir(mode=0o700)
    prefix: list[str] = []
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root needs a user postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        prefix = ["runuser", "-u", "postgres", "--"]
    tools, port = POSTGRES[-1], str(_free_port())

    def run(*command: str) -> None:
        made = subprocess.run([*prefix, *command], cwd="/", capture_output=True, text=True)
        assert made.returncode == 0, made.stderr

    try:
        run(str(tools / "initdb"), "-D", f"{folder}/data", "-U", "headwater", "--auth=trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(str(tools / "pg_ctl"), "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")
        run(str(tools / "createdb"), "-h", "127.0.0.1", "-p", port, "-U", "headwater", "headwater")
        yield {
            "HEADWATER_PG_HOST": "127.0.0.1",
            "HEADWATER_PG_PORT": port,
            "HEADWATER_PG_USER": "headwater",
            "HEADWATER_PG_PASSWORD": "unused",
            "HEADWATER_PG_DB": "headwater",
        }
    finally:
        subprocess.run(
            [*prefix, str(tools / "pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "stop"], cwd="/", capture_output=True
        )
        shutil.rmtree(folder)


@pytest.mark.postgres
@pytest.mark.slow
def test_a_build_is_recorded_in_postgres(postgres: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", home)
    for name, value in {**postgres, "DAGSTER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    migrated = subprocess.run([sys.executable, "-m", "dagster", "instance", "migrate"], capture_output=True, text=True)
    assert migrated.returncode == 0, migrated.stderr
    root = write_workspace(tmp_path / "workspace")
    built = subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "build", "tables/*/playground_db"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    import dagster as dg

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS"]
        assert instance.get_latest_materialization_event(dg.AssetKey(["tables", "corner_20shop", "playground_db"])) is not None
    assert (home / "dagster.yaml").read_text() == (DEPLOY / "dagster.yaml").read_text()
    assert headwater(root, "status", "tables/*/playground_db", "--exit-code").returncode == 0


# nginx


class _Behind(BaseHTTPRequestHandler):
    """What the proxy talks to: the web server (any path) and oauth2-proxy (`/oauth2/auth`, which knows one cookie)."""

    reached: list[tuple[str, str, dict[str, str]]] = []  # noqa: RUF012  # shared on purpose: the test reads it

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path.startswith("/oauth2/auth"):
            status = 202 if "known=1" in (self.headers.get("Cookie") or "") else 401
        else:
            self.reached.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            status = 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815  # the names are http.server's

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The shipped nginx.conf on free ports, with a certificate of its own; returns the TLS port."""
    nginx = shutil.which("nginx")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("there is no nginx or no openssl")
    folder = tmp_path_factory.mktemp("nginx")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=headwater.example",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"], check=True, capture_output=True,
    )  # fmt: skip
    behind = ThreadingHTTPServer(("127.0.0.1", 0), _Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    plain, secure, inner = _free_port(), _free_port(), behind.server_port
    text = (DEPLOY / "nginx.conf").read_text().replace("/etc/headwater/tls", str(folder))
    text = text.replace("listen 80;", f"listen 127.0.0.1:{plain};").replace("listen 443", f"listen 127.0.0.1:{secure}")
    text = text.replace("127.0.0.1:3000", f"127.0.0.1:{inner}").replace("127.0.0.1:4180", f"127.0.0.1:{inner}")
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off;\nevents {{}}\nhttp {{ access_log off; {paths}\n{text}\n}}\n"
    )
    process = subprocess.Popen(
        [nginx, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "start.log"], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _port_answers(secure), seconds=20)
        yield secure
    finally:
        process.terminate()
        process.wait()
        behind.shutdown()
        behind.server_close()


def _port_answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _Behind.reached.clear()
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    given = {
        "Host": "headwater.example",
        "Cookie": "known=1",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    try:
        connection.request(method, path, body, {name: value for name, value in given.items() if value})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


OURS = "https://headwater.example"


def test_the_proxy_lets_our_own_page_through_and_keeps_its_cookies_to_itself(proxy: int) -> None:
    status, headers = _ask(proxy, "GET", "/assets")
    assert status == 200
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert _Behind.reached[0][:2] == ("GET", "/assets")
    assert "cookie" not in _Behind.reached[0][2]
    assert _ask(proxy, "POST", "/graphql", b"{}", Content_Type="application/json", Origin=OURS)[0] == 200
    assert _ask(proxy, "POST", "/graphql", b"{}", Content_Type="application/json; charset=utf-8", Origin=OURS)[0] == 200
    assert _ask(proxy, "GET", "/graphql", Origin=OURS, Upgrade="websocket", Connection="Upgrade")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/graphql?query=mutation", {}, 405),
        ("GET", "/graphql/?query=mutation", {}, 405),
        ("GET", "//graphql?query=mutation", {}, 405),
        ("GET", "/%67raphql?query=mutation", {}, 405),
        ("GET", "/x/../graphql?query=mutation", {}, 405),
        ("HEAD", "/graphql?query=mutation", {}, 405),
        ("POST", "/graphql", {"Content_Type": "text/plain", "Origin": OURS}, 415),
        ("POST", "/graphql", {"Content_Type": "application/x-www-form-urlencoded", "Origin": OURS}, 415),
        ("POST", "/graphql", {"Content_Type": "application/json", "Origin": "https://evil.example"}, 403),
        ("POST", "/graphql", {"Content_Type": "application/json", "Origin": "null"}, 403),
        ("POST", "/graphql", {"Content_Type": "application/json", "Origin": "https://headwater.example.evil.example"}, 403),
        ("GET", "/graphql", {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "https://evil.example"}, 403),
        ("GET", "/graphql", {"Upgrade": "websocket", "Connection": "Upgrade"}, 403),
        ("PUT", "/graphql", {"Origin": OURS}, 405),
        ("DELETE", "/", {}, 405),
        ("POST", "/report_asset_materialization/a", {"Content_Type": "application/json", "Origin": OURS}, 403),
        ("POST", "//report_asset_check/a", {"Content_Type": "application/json", "Origin": OURS}, 403),
        ("GET", "/", {"Host": "evil.example"}, 421),
        ("GET", "/", {"Cookie": ""}, 302),
        ("POST", "/graphql", {"Content_Type": "application/json", "Origin": OURS, "Cookie": "known=0"}, 302),
    ],
)
def test_the_proxy_refuses_the_attacks(proxy: int, method: str, path: str, headers: dict[str, str], status: int) -> None:
    body = b"{}" if method in ("POST", "PUT") else None
    assert _ask(proxy, method, path, body, **headers)[0] == status
    assert _Behind.reached == []


def test_the_proxy_caps_bodies(proxy: int) -> None:
    try:
        status = _ask(proxy, "POST", "/graphql", b"x" * (5 << 20), Content_Type="application/json", Origin=OURS)[0]
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        status = 413
    assert status == 413
    assert _Behind.reached == []

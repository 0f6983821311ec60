"""Attacks on a real `headwater ui`, replayed: each is one that a plain Dagster web server executes.

Every refusal is paired with the same request made the right way, so that the tests notice when nothing works at all.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.server import Server, headwater, running_ui, wait_until, write_workspace

WIPE = "mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: PATH}}]) { __typename } }"
SOURCE = ["tables", "corner_20shop", "source", "data"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = write_workspace(tmp_path_factory.mktemp("workspace"))
    built = headwater(root, "build", "tables/*/playground_db")
    assert built.returncode == 0, built.stderr
    with running_ui(root) as started:
        started.log_in()
        yield started


def _events(server: Server, path: list[str]) -> int:
    document = "query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset { assetMaterializations { runId } } } }"
    asset = server.graphql(document, {"key": {"path": path}})["assetOrError"]
    return len(asset.get("assetMaterializations", []))


def _wipe(path: list[str]) -> str:
    return WIPE.replace("PATH", json.dumps(path))


def _refused(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
    """The status of an attack that carries the victim's cookie, after which nothing may have been wiped."""
    before = _events(server, SOURCE)
    assert before > 0
    given = {"Cookie": server.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
    status, _, _ = server.request(method, path, body, given)
    assert _events(server, SOURCE) == before
    return status


def test_the_graph_of_the_workspace_is_served(server: Server) -> None:
    nodes = server.graphql("{ assetNodes { assetKey { path } isExecutable groupName description } }")["assetNodes"]
    keys = {tuple(node["assetKey"]["path"]): node for node in nodes}
    assert keys[tuple(SOURCE)]["isExecutable"] is False
    assert keys["tables", "corner_20shop", "playground_db"]["isExecutable"] is True
    assert all(node["description"] for node in nodes)


def test_a_mutation_sent_by_get_is_not_executed(server: Server) -> None:
    from urllib.parse import quote

    document = quote(_wipe(SOURCE))
    assert _refused(server, "GET", f"/graphql?query={document}") == 405
    assert _refused(server, "GET", f"/graphql/?query={document}") == 405
    assert _refused(server, "GET", f"/%67raphql?query={document}") == 405
    assert _refused(server, "HEAD", f"/graphql?query={document}") == 405


def test_a_mutation_from_another_origin_is_not_executed(server: Server) -> None:
    body = json.dumps({"query": _wipe(SOURCE)}).encode()
    for origin in ("http://evil.example", "null", f"http://localhost:{server.port}", "http://127.0.0.1:1"):
        assert _refused(server, "POST", "/graphql", body, Content_Type="application/json", Origin=origin) == 403


def test_a_mutation_under_another_host_name_is_not_executed(server: Server) -> None:
    body = json.dumps({"query": _wipe(SOURCE)}).encode()
    for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1.nip.io:{server.port}", "127.0.0.1"):
        assert _refused(server, "POST", "/graphql", body, Content_Type="application/json", Host=host) == 421


def test_a_mutation_sent_as_a_form_can_send_it_is_not_executed(server: Server) -> None:
    body = json.dumps({"query": _wipe(SOURCE)}).encode()
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/graphql", ""):
        assert _refused(server, "POST", "/graphql", body, Content_Type=media) == 415


def test_without_the_token_nothing_is_answered(server: Server) -> None:
    body = json.dumps({"query": _wipe(SOURCE)}).encode()
    headers = {"Content-Type": "application/json", "Origin": f"http://{server.address}"}
    assert server.request("POST", "/graphql", body, headers)[0] == 401
    for path in ("/", "/graphql", "/server_info", "/download_debug/x", "/graphiql", "/assets", "/logs/x", "/notebook"):
        status, _, answer = server.request("GET", path)
        assert status == 401
        assert b"dagster" not in answer.lower()


def test_the_link_works_once(server: Server) -> None:
    assert server.request("GET", server.link.split(server.address, 1)[1])[0] == 403


def test_events_can_be_reported_with_the_key_only(server: Server) -> None:
    path = "/report_asset_materialization/" + "/".join(SOURCE)
    headers = {"Cookie": server.cookie, "Origin": f"http://{server.address}", "Content-Type": "application/json"}
    before = _events(server, SOURCE)
    assert server.request("POST", path, b"{}", headers)[0] == 401
    assert _events(server, SOURCE) == before
    keyed = {"Authorization": f"Bearer {server.record['key']}", "Content-Type": "application/json"}
    assert server.request("POST", path, b"{}", keyed)[0] == 200
    assert _events(server, SOURCE) == before + 1


def test_web_sockets_need_our_origin_and_the_cookie(server: Server) -> None:
    assert _upgrade(server, f"http://{server.address}", server.cookie) == 101
    assert _upgrade(server, "http://evil.example", server.cookie) == 403
    assert _upgrade(server, "null", server.cookie) == 403
    assert _upgrade(server, None, server.cookie) == 403
    assert _upgrade(server, f"http://{server.address}", None) == 403


def _upgrade(server: Server, origin: str | None, cookie: str | None) -> int:
    lines = [
        "GET /graphql HTTP/1.1",
        f"Host: {server.address}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-ws",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    lines += [f"Origin: {origin}"] if origin is not None else []
    lines += [f"Cookie: {cookie}"] if cookie is not None else []
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.recv(4096).split()[1])


def test_a_body_without_end_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: {server.address}\r\nCookie: {server.cookie}\r\nContent-Type: application/json\r\n"
        )
        connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        try:
            for _ in range(6):
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.recv(4096).split()[1] == b"413"


def test_pages_cannot_be_framed(server: Server) -> None:
    status, headers, _ = server.request("GET", "/", headers={"Cookie": server.cookie})
    assert status == 200
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


def test_the_server_listens_on_loopback_only(server: Server) -> None:
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("needs /proc")
    ours = [line.split()[1] for line in listening.read_text().splitlines()[1:] if line.split()[1].endswith(f":{server.port:04X}")]
    assert ours
    assert all(address.startswith("0100007F:") for address in ours)


def test_the_private_file_is_private_and_the_token_is_in_no_log(server: Server) -> None:
    private = server.root / ".headwater" / "local" / "ui.json"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    token = server.link.partition("token=")[2]
    assert token not in private.read_text()
    for path in (server.root / ".headwater").rglob("*"):
        if path.is_file() and path != private:
            content = path.read_bytes()
            assert token.encode() not in content
            assert server.record["key"].encode() not in content


def test_the_proper_page_may_do_what_the_attacks_may_not(server: Server) -> None:
    """The control: the same mutation from our own page is executed."""
    history = ["tables", "corner_20shop", "source", "history"]
    assert _events(server, history) == 1
    server.graphql(_wipe(history))
    assert _events(server, history) == 0


def test_a_second_ui_prints_a_new_link_to_the_first(server: Server) -> None:
    second = headwater(server.root, "ui", "--no-open", "--port", "0")
    assert second.returncode == 0, second.stderr
    link = next(word for word in (second.stdout + second.stderr).split() if "token=" in word)
    assert link.split("/")[2] == server.address
    assert server.request("GET", link.split(server.address, 1)[1])[0] == 200


def test_a_port_that_is_taken_is_a_usage_error(server: Server, tmp_path: Path) -> None:
    other = headwater(write_workspace(tmp_path), "ui", "--no-open", "--port", str(server.port))
    assert other.returncode == 2
    assert f"port {server.port} cannot be used" in other.stderr
    assert "--port 0" in other.stderr


@pytest.mark.slow
def test_a_store_that_comes_while_the_ui_runs_is_found(tmp_path: Path) -> None:
    import shutil

    root = write_workspace(tmp_path)
    with running_ui(root) as started:
        started.log_in()
        assert not _keys_of(started, "new_20shop")
        shutil.copytree(root / "corner shop", root / "new shop")
        wait_until(lambda: _keys_of(started, "new_20shop"), seconds=90)
        assert _keys_of(started, "corner_20shop")


def _keys_of(server: Server, store: str) -> list[str]:
    nodes = server.graphql("{ assetNodes { assetKey { path } } }")["assetNodes"]
    return ["/".join(node["assetKey"]["path"]) for node in nodes if node["assetKey"]["path"][1] == store]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_daemon_and_the_code_location_end_with_the_ui(tmp_path: Path, number: signal.Signals) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    with running_ui(write_workspace(tmp_path)) as started:
        wait_until(lambda: len(started.processes()) >= 4)
        pids = started.processes()
        started.process.send_signal(number)
        started.process.wait(30)
        wait_until(lambda: not [pid for pid in pids if _alive(pid)], seconds=90)
    if number is signal.SIGINT:
        assert not (tmp_path / ".headwater" / "local" / "ui.json").exists()
    assert headwater(tmp_path, "build", "tables/*/playground_db").returncode == 0


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False

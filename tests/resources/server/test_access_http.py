"""Who may do what, against real server processes: tokens, rights, anonymous requests, TLS, guessing."""

from __future__ import annotations

import datetime
import http.client
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from resources.server.tokens import Right, add_token, remove_token
from schemas.dvs.oids import oid_of
from tests.dvs_server import Server, running_server
from tests.resources.server.client import ask, path_of, put

OID = oid_of(b"x", "blake3")


_OF_RIGHT: dict[Right, str] = {}
"""A token for each right, and no other."""
_sources = (f"127.1.{number // 250}.{number % 250 + 1}" for number in count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    _OF_RIGHT.update({right: add_token(folder / "tokens.json", f"only-{right}", [right]) for right in Right})
    with running_server(folder) as running:
        yield running


def _requests() -> list[tuple[str, str, Right]]:
    fingerprint = "/actions/" + "a" * 64
    return [
        ("HEAD", path_of(OID), Right.READ),
        ("GET", path_of(OID), Right.READ),
        ("GET", "/objects", Right.READ),
        ("POST", "/objects/exists", Right.READ),
        ("POST", "/objects/fetch", Right.READ),
        ("GET", fingerprint, Right.READ),
        ("GET", "/actions", Right.READ),
        ("PUT", path_of(OID), Right.WRITE),
        ("POST", "/objects/put", Right.WRITE),
        ("PUT", fingerprint, Right.WRITE),
        ("DELETE", path_of(OID), Right.DELETE),
        ("DELETE", fingerprint, Right.DELETE),
    ]


@pytest.mark.parametrize(("method", "path", "right"), _requests())
def test_case_48_every_request_needs_its_right(server: Server, method: str, path: str, right: Right) -> None:
    body = None if method in ("GET", "HEAD") else b"{}"
    source = next(_sources)
    answers = [
        ask(server, method, path, body, token=None),
        ask(server, method, path, body, token="hwt_wrong", source=source),
        ask(server, method, path, body, token=None, headers={"Authorization": "Basic " + server.token}, source=source),
        ask(server, method, path, body, token=None, headers={"Authorization": server.token}, source=source),
        ask(server, method, path, body, token=None, headers={"Authorization": "Bearer"}, source=source),
    ]
    # None, unknown, another scheme: one answer, from which nothing can be learned.
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith("Bearer")
    for held, secret in _OF_RIGHT.items():
        status = ask(server, method, path, body, token=secret).status
        assert (status == 403) == (held not in (right, Right.ADMIN)), (held, status)
        assert status != 401


def test_a_removed_token_is_refused_within_a_second(server: Server) -> None:
    secret = add_token(server.tokens, "leaver", [Right.READ])
    time.sleep(1.1)
    assert ask(server, "GET", "/objects", token=secret).status == 200
    remove_token(server.tokens, "leaver")
    time.sleep(1.1)
    assert ask(server, "GET", "/objects", token=secret, source=next(_sources)).status == 401


def test_health_status_and_description_need_no_token(server: Server) -> None:
    for path in ("/health", "/status", "/openapi.json"):
        assert ask(server, "GET", path, token=None).status == 200


def test_whether_an_object_is_here_is_not_told_without_a_token(server: Server) -> None:
    here = ask(server, "GET", path_of(put(server, b"secret")), token=None)
    gone = ask(server, "GET", path_of(OID), token=None)
    bad = ask(server, "GET", "/objects/blake3/no-oid", token=None)
    assert here.status == gone.status == bad.status == 401
    assert here.body == gone.body == bad.body


def test_whoever_sends_many_wrong_tokens_has_to_wait(server: Server) -> None:
    source = next(_sources)
    answers = [ask(server, "GET", "/objects", token=f"hwt_{number}", source=source) for number in range(25)]
    assert [answer.status for answer in answers] == [401] * 20 + [429] * 5
    assert answers[-1].headers["retry-after"] == "60"
    # Others behind the same address, and everybody elsewhere, go on.
    assert ask(server, "GET", "/objects", source=source).status == 200
    assert ask(server, "GET", "/objects", token="hwt_x", source=next(_sources)).status == 401


def test_case_48_anonymous_requests_read_write_and_never_delete(tmp_path: Path) -> None:
    with running_server(tmp_path, "--anonymous", "write") as server:
        path = path_of(oid_of(b"open", "blake3"))
        assert ask(server, "PUT", path, b"open", token=None).status == 201
        assert ask(server, "GET", path, token=None).body == b"open"
        assert ask(server, "DELETE", path, token=None).status == 401
        assert ask(server, "DELETE", path).status == 204
        assert ask(server, "GET", path, token="hwt_wrong").status == 401
    with running_server(tmp_path, "--anonymous", "read") as server:
        assert ask(server, "GET", "/objects", token=None).status == 200
        assert ask(server, "PUT", path, b"open", token=None).status == 403


def test_anonymous_requests_do_not_come_from_web_pages(tmp_path: Path) -> None:
    """A page that a browser on this machine shows can send requests here, under any name that it lets point here."""
    with running_server(tmp_path, "--anonymous", "write") as server:
        path = path_of(OID)
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": f"http://127.0.0.1:{server.port}"},
            {"Origin": "null"},
            {"Host": f"evil.example:{server.port}"},
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example"},
            {"Host": ""},
        ):
            assert ask(server, "PUT", path, b"x", token=None, headers=headers).status == 403, headers
            assert ask(server, "GET", "/objects", token=None, headers=headers).status == 403, headers
        for host in (f"localhost:{server.port}", f"127.0.0.1:{server.port}", "127.0.0.1", f"[::1]:{server.port}"):
            assert ask(server, "GET", "/objects", token=None, headers={"Host": host}).status == 200, host
        # With a token a page cannot do more than its holder, who gave it to the page.
        assert ask(server, "PUT", path, b"x", headers={"Origin": "https://tool.example"}).status == 201
        assert "access-control-allow-origin" not in ask(server, "OPTIONS", path, token=None, headers={"Origin": "x"}).headers


def _refused(tmp_path: Path, *options: str) -> str:
    (tmp_path / "storage").mkdir(exist_ok=True)
    environment = {**os.environ, "HEADWATER_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "orchestration.cli.main", "dvs", "serve", str(tmp_path / "storage"), "--port", "0"]
    command += ["--tokens", str(tmp_path / "tokens.json"), *options]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, cwd=Path(__file__).parents[3], check=False
    )
    assert ran.returncode in (1, 2)
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_a_server_that_would_be_unsafe_or_useless_does_not_start(tmp_path: Path) -> None:
    assert "there is no token" in _refused(tmp_path)
    add_token(tmp_path / "tokens.json", "one", [Right.READ])
    assert "in the clear" in _refused(tmp_path, "--host", "0.0.0.0")
    assert "certificate" in _refused(tmp_path, "--tls-cert", "x.pem")
    (tmp_path / "tokens.json").chmod(0o644)
    assert "can be read by others" in _refused(tmp_path)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "objects")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def test_tls(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    with running_server(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        data = os.urandom(2_000_000)
        path = path_of(oid_of(data, "blake3"))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {server.token}"}
        connection.request("PUT", path, data, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().read() == data
        connection.close()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(server, "GET", "/health", token=None)


def test_no_log_holds_a_token(start_server: Callable[..., Server]) -> None:
    server = start_server()
    put(server, b"x")
    ask(server, "GET", path_of(OID) + f"?token={server.token}")
    ask(server, "GET", f"/{server.token}")
    ask(server, "GET", "/objects", token="hwt_canary")
    server.stop()
    text = server.log.read_text()
    assert server.token not in text
    assert "canary" not in text

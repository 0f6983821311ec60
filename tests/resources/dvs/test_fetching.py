"""Fetching from web servers: what is refused, what is capped, and how a broken transfer goes on; real servers on this machine."""

from __future__ import annotations

import io
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from resources.dvs.fetching import Answer, FetchFailed, Limits, check_url, fetch, shown_url
from schemas.errors import UsageError

HERE = Limits(allow_loopback=True, timeout=20)
DATA = bytes(range(256)) * 2000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[[Handler], None]
    asked: list[dict[str, str]]

    def do_GET(self) -> None:
        type(self).asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
        type(self).answer(self)

    def log_message(self, *_words: Any) -> None:
        pass

    def say(self, status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@contextmanager
def serving(
    answer: Callable[[Handler], None], context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """(URL, what was asked) of a server that answers every request so."""
    kind = type("Answering", (Handler,), {"answer": answer, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}", kind.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def got(url: str, limits: Limits = HERE, **settings: Any) -> tuple[bytes, Answer]:
    target = io.BytesIO()
    answer = fetch(url, target, limits, **settings)
    return target.getvalue(), answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


def test_bytes_and_what_the_server_says_of_them() -> None:
    def answer(handler: Handler) -> None:
        handler.say(200, DATA, ETag='"one"', Last_Modified="Mon, 01 Jan 2026 00:00:00 GMT")

    seen: list[bytes] = []
    with serving(answer) as (url, asked):
        data, said = got(f"{url}/größe a.csv?x=1 2", see=seen.append)
    assert (data, b"".join(seen)) == (DATA, DATA)
    assert said == Answer('"one"', "Mon, 01 Jan 2026 00:00:00 GMT", len(DATA))
    assert asked[0]["path"] == "/gr%C3%B6%C3%9Fe%20a.csv?x=1%202"
    assert asked[0]["accept-encoding"] == "identity"
    assert "authorization" not in asked[0]


@pytest.mark.parametrize("status", [304, 200])
def test_an_unchanged_file_is_not_fetched(status: int) -> None:
    with serving(lambda handler: handler.say(status, b"" if status == 304 else DATA, ETag='"one"')) as (url, asked):
        data, said = got(url, known='"one"')
    assert (data, said.unchanged, asked[0]["if-none-match"]) == (b"", True, '"one"')


def test_a_weak_tag_does_not_say_that_nothing_changed() -> None:
    with serving(lambda handler: handler.say(200, DATA, ETag='W/"one"')) as (url, _asked):
        data, said = got(url, known='W/"one"')
    assert (data, said.unchanged) == (DATA, False)


def test_only_the_head_is_looked_at() -> None:
    with serving(lambda handler: handler.say(200, DATA, ETag='"one"')) as (url, _asked):
        data, said = got(url, head_only=True)
    assert (data, said.size, said.etag) == (b"", len(DATA), '"one"')


def test_a_broken_transfer_goes_on_where_it_stopped() -> None:
    def answer(handler: Handler) -> None:
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        if start and handler.headers["If-Range"] != '"one"':
            handler.say(500)
        elif start < 300_000:
            part = DATA[start : start + 150_000]
            extra = {"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
            handler.say(206 if start else 200, part, length=len(DATA) - start, ETag='"one"', **extra)
        else:
            handler.say(206, DATA[start:], ETag='"one"', Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")

    with serving(answer) as (url, asked):
        data, said = got(url)
    assert (data == DATA, said.size, len(asked)) == (True, len(DATA), 3)


@pytest.mark.parametrize("kind", ["no-range", "changed", "wrong-range", "416"])
def test_a_file_that_cannot_be_continued_is_fetched_anew(kind: str) -> None:
    calls: list[int] = []
    other = DATA[::-1]

    def answer(handler: Handler) -> None:
        calls.append(1)
        if len(calls) == 1:
            handler.say(200, DATA[:1000], length=len(DATA), ETag='"one"')
        elif kind == "wrong-range" and len(calls) == 2:
            handler.say(206, other[5:], ETag='"one"', Content_Range=f"bytes 5-{len(DATA) - 1}/{len(DATA)}")
        elif kind == "changed" and len(calls) == 2:
            handler.say(206, other[1000:], ETag='"two"', Content_Range=f"bytes 1000-{len(DATA) - 1}/{len(DATA)}")
        elif kind == "416" and len(calls) == 2:
            handler.say(416)
        else:
            handler.say(200, other, ETag='"two"')

    began: list[int] = []
    with serving(answer) as (url, _asked):
        data, said = got(url, again=lambda: began.append(1))
    assert (data == other, said.etag, began) == (True, '"two"', [1])


def test_a_body_that_stays_short_is_an_error() -> None:
    with (
        serving(lambda handler: handler.say(200, DATA[:1000], length=len(DATA))) as (url, asked),
        pytest.raises(FetchFailed) as caught,
    ):
        got(url)
    assert (caught.value.rule, len(asked)) == ("fetch-broken", 5)
    assert "1,000 of 512,000" in caught.value.message


def test_chunks_that_break_off_are_noticed() -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n")
        if len(handler.asked) > 1:
            handler.wfile.write(b"6\r\n world\r\n0\r\n\r\n")
        handler.close_connection = True

    with serving(answer) as (url, asked):
        data, _said = got(url)
    assert (data, len(asked)) == (b"hello world", 2)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with serving(lambda handler: handler.say(status, Retry_After="1") if len(handler.asked) < 3 else handler.say(200, b"x")) as (
        url,
        asked,
    ):
        assert got(url)[0] == b"x"
    assert len(asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 300])
def test_what_a_server_refuses_is_not_asked_again(status: int) -> None:
    with serving(lambda handler: handler.say(status)) as (url, asked), pytest.raises(FetchFailed) as caught:
        got(f"{url}/x?token=secret")
    assert (caught.value.rule, len(asked)) == ("fetch-refused", 1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("told", [True, False])
def test_more_bytes_than_allowed(told: bool) -> None:
    def answer(handler: Handler) -> None:
        if told:
            handler.say(200, DATA)
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(DATA)
            handler.close_connection = True

    with serving(answer) as (url, _asked), pytest.raises(FetchFailed) as caught:
        got(url, Limits(1000, 20, allow_loopback=True))
    assert caught.value.rule == "file-too-large"


@pytest.mark.parametrize("place", ["head", "body"])
def test_a_server_that_drips_is_given_up_in_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if place == "head" else b"Content-Length: 100000\r\n\r\n"))
        for number in range(1000):
            if stop.wait(0.02):
                return
            try:
                handler.wfile.write(f"X-{number}: y\r\n".encode() if place == "head" and number < 90 else b"x")
                handler.wfile.flush()
            except OSError:
                return

    began = time.monotonic()
    with serving(answer) as (url, _asked), pytest.raises(FetchFailed) as caught:
        got(url, Limits(timeout=0.5, allow_loopback=True))
    stop.set()
    assert caught.value.rule == "fetch-slow"
    assert time.monotonic() - began < 5


def test_redirects_are_followed_and_each_is_checked() -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/a":
            handler.say(302, Location="/b?x=1")
        elif handler.path.startswith("/b"):
            handler.say(200, DATA)
        elif handler.path == "/loop":
            handler.say(301, Location="/loop")
        else:
            handler.say(
                307, Location={"/file": "file:///etc/passwd", "/ftp": "ftp://x/y", "/user": "http://u:p@127.0.0.1/"}[handler.path]
            )

    with serving(answer) as (url, _asked):
        assert got(f"{url}/a")[0] == DATA
        for path in ("loop", "file", "ftp", "user"):
            with pytest.raises(FetchFailed) as caught:
                got(f"{url}/{path}")
            assert caught.value.rule == "fetch-redirects"


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """Every name is of these addresses; returns the connections that were made."""
    made: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: [(0, 0, 0, "", (address, 0)) for address in addresses])
    monkeypatch.setattr(
        socket, "create_connection", lambda address, **_k: made.append(address) or (_ for _ in ()).throw(OSError("no"))
    )
    return made


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::",
        "100.64.0.1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
        "224.0.0.1", "ff02::1", "255.255.255.255", "198.18.0.1", "240.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    made = resolving(monkeypatch, "93.184.216.34", address)
    with pytest.raises(FetchFailed) as caught:
        got("https://example.org/x", Limits())
    assert (caught.value.rule, made) == ("fetch-address", [])


def test_a_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = resolving(monkeypatch, "93.184.216.34")
    with pytest.raises(FetchFailed, match="no"):
        got("https://example.org/x", Limits())
    assert set(made) == {("93.184.216.34", 443)}


@pytest.mark.parametrize(
    ("address", "url", "limits", "allowed"),
    [
        ("10.0.0.1", "https://x/", Limits(allow_private=True), True),
        ("10.0.0.1", "http://x/", Limits(allow_private=True, allow_loopback=True), False),
        ("127.0.0.1", "https://x/", Limits(allow_private=True), False),
        ("127.0.0.1", "http://x/", Limits(allow_loopback=True), True),
        ("93.184.216.34", "http://x/", Limits(allow_loopback=True), False),
        ("169.254.169.254", "https://x/", Limits(allow_private=True, allow_loopback=True), False),
        ("224.0.0.1", "https://x/", Limits(allow_private=True), False),
    ],
)
def test_what_the_options_allow(monkeypatch: pytest.MonkeyPatch, address: str, url: str, limits: Limits, allowed: bool) -> None:
    made = resolving(monkeypatch, address)
    with pytest.raises(FetchFailed) as caught:
        got(url, limits)
    assert (caught.value.rule != "fetch-address", bool(made)) == (allowed, allowed)


@pytest.mark.parametrize(
    "url",
    ["http://x/", "ftp://x/", "https://u:p@x/", "https://u@x/", "https:///x", "https://x:0/", "https://x:99999/", "https://x/a\nb",
     "https://[::1", "gopher://x", "https://x y/", "https://x/ ", "https://" + "ä" * 70 + "/"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url, Limits())
    assert "u:p" not in str(caught.value)


def test_what_is_shown_of_a_url() -> None:
    assert shown_url("https://x/a?token=secret#b") == "https://x/a"


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_words: Any, **_settings: Any) -> None:
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    with pytest.raises(FetchFailed) as caught:
        got("https://nowhere.example/", Limits())
    assert caught.value.rule == "fetch-unknown-host"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no certificate can be made")
def test_certificates_are_checked_and_nothing_goes_on_from_https_to_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(handler: Handler) -> None:
        if handler.path == "/down":
            handler.say(302, Location="http://127.0.0.1:1/")
        else:
            handler.say(200, DATA)

    with serving(answer, context) as (url, _asked):
        with pytest.raises(FetchFailed) as caught:
            got(url)
        assert caught.value.rule == "fetch-certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert got(url)[0] == DATA
        with pytest.raises(FetchFailed) as caught:
            got(f"{url}/down")
        assert caught.value.rule == "fetch-redirects"

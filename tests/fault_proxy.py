"""A proxy in front of a real HTTP server that spoils answers: cuts them off, resets, drips, says it is busy, changes bytes.

It speaks plain HTTP/1.1, one request per connection, and is a thread of the test's own process; the server behind it is real.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Fault = Callable[["Answer"], None]


@dataclass
class Answer:
    """One answer on its way: the request's first line, the head of the answer, its body, and where it goes."""

    request: str
    head: bytes
    body: bytes
    client: socket.socket

    def send(self, body: bytes | None = None) -> None:
        self.client.sendall(self.head + b"\r\n\r\n" + (self.body if body is None else body))

    def reset(self) -> None:
        """Close without a word, as a machine that went down."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()


@dataclass
class Proxy:
    """Where it listens, what was asked, and what happens to the answers: each fault to the next request that `wanted` names."""

    port: int
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    wanted: Callable[[str], bool] = lambda _request: True
    watch: Callable[[bytes], object] = lambda _request: None
    """Called with every whole request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def fault_proxy(server_port: int) -> Iterator[Proxy]:
    """A proxy in front of the server on that port, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_handle, args=(proxy, server_port, client), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()


def _handle(proxy: Proxy, server_port: int, client: socket.socket) -> None:
    with client, suppress(OSError):
        request = _read_request(client)
        proxy.watch(request)
        first = request.split(b"\r\n", 1)[0].decode()
        lines = request.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
        ranges = [f" [{line.decode()}]" for line in lines if line.lower().startswith(b"range:")]
        proxy.requests.append(first + "".join(ranges))
        with socket.create_connection(("127.0.0.1", server_port)) as server:
            server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            whole = b""
            while block := server.recv(1 << 20):
                whole += block
        head, _, body = whole.partition(b"\r\n\r\n")
        answer = Answer(first, head, body, client)
        if proxy.faults and proxy.wanted(first):
            proxy.faults.pop(0)(answer)
        else:
            answer.send()


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        block = client.recv(1 << 16)
        if not block:
            raise OSError("the client went away")
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while not data.endswith(b"0\r\n\r\n"):
            data += client.recv(1 << 16)
    elif b"content-length:" in lowered:
        length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += client.recv(1 << 20)
        data = head + b"\r\n\r\n" + body
    return data


# faults


def truncated(part: float = 0.5) -> Fault:
    """The answer ends early, the connection is closed as if it were whole."""
    return lambda answer: answer.send(answer.body[: int(len(answer.body) * part)])


def reset(part: float = 0.0) -> Fault:
    """The connection breaks after a part of the answer."""

    def act(answer: Answer) -> None:
        if part:
            answer.send(answer.body[: int(len(answer.body) * part)])
            time.sleep(0.05)
        answer.reset()

    return act


def busy(status: int, after: str | None = None) -> Fault:
    """The server says that it cannot answer now."""

    def act(answer: Answer) -> None:
        more = f"Retry-After: {after}\r\n" if after is not None else ""
        body = b'{"error":"busy"}'
        answer.client.sendall(f"HTTP/1.1 {status} Busy\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return act


def flipped(at: float = 0.5) -> Fault:
    """One byte of the body is another."""

    def act(answer: Answer) -> None:
        body = bytearray(answer.body)
        body[int(len(body) * at)] ^= 0x20
        answer.send(bytes(body))

    return act


def dripping(pause: float, pieces: int) -> Fault:
    """The answer comes a few bytes at a time, then no more."""

    def act(answer: Answer) -> None:
        answer.client.sendall(answer.head + b"\r\n\r\n")
        for position in range(pieces):
            answer.client.sendall(answer.body[position : position + 1])
            time.sleep(pause)

    return act


def redirected(to: str) -> Fault:
    """The server sends elsewhere."""
    return lambda answer: answer.client.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())


def replaced(body: bytes) -> Fault:
    """Another body of its own length, with status 200."""
    return lambda answer: answer.client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

"""A plain HTTP client for tests of the object server: nothing is followed, retried or hidden."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.dvs.oids import oid_of
from tests.dvs_server import Server


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def path_of(oid: str) -> str:
    return "/objects/" + oid.replace(":", "/")


def ask(
    server: Server,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    *,
    token: str | None = "",
    headers: Mapping[str, str] | None = None,
    source: str = "",
) -> Answer:
    """One request on a connection of its own, from the address `source`; `token` '' is the one with all rights, None none."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0) if source else None)
    try:
        given = dict(headers or {})
        if token is not None:
            given["Authorization"] = f"Bearer {token or server.token}"
        connection.request(method, path, body, given, encode_chunked=not isinstance(body, (bytes, type(None))))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def put(server: Server, data: bytes, algorithm: str = "blake3") -> str:
    """Put an object and return its oid."""
    oid = oid_of(data, algorithm)
    answer = ask(server, "PUT", path_of(oid), data)
    assert answer.status in (200, 201), answer
    return oid


def raw(server: Server, sent: bytes, *, timeout: float = 20.0, half_close: bool = False) -> bytes:
    """Everything the server answers to these bytes until it closes the connection or nothing comes for `timeout` seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        came = b""
        try:
            while data := connection.recv(1 << 16):
                came += data
        except (TimeoutError, ConnectionResetError):
            pass
        return came

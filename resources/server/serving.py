"""The object server as a process: its socket, uvicorn around the application, deadlines for heads, an end without loss."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from resources.packed import PackedObjects
from resources.server.access import Access
from resources.server.app import ObjectServer
from resources.server.objects import ServedObjects
from resources.server.settings import Settings, check
from resources.server.tokens import Tokens, default_path, refuse_tracked
from resources.storage.leftovers import is_alive
from resources.storage.local import LocalStorage
from resources.storage.sharing import Sharing
from schemas.errors import UsageError

_HEAD_LIMIT: Final = 32 << 10
"""Bytes of the head of a request."""
_WAKE: Final = 128 << 10
_HIGH_WATER: Final = 512 << 10
"""Bytes of a body that wait for the application before no more are read."""
_SHUTDOWN_SECONDS: Final = 10
_BACKLOG: Final = 512
LOG: Final = logging.getLogger("headwater.server")


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a deadline and a limit for the head of a request, and a way to break a connection off."""

    header_time = 10.0
    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        cycle: Any = self.cycle  # None before the first request
        if self._deadline is None and (cycle is None or cycle.response_complete):
            self._expect_head()
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self.scope["extensions"] = {"headwater.abort": self.transport.abort}  # type: ignore[dict-item]

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As uvicorn's, but the application is not woken for every packet: 128 KiB, or the end, are worth it."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) >= _WAKE:
            cycle.message_event.set()
            if len(cycle.body) > _HIGH_WATER:
                self.flow.pause_reading()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > _HEAD_LIMIT:
            raise ValueError("the head of the request is too large")  # which the parser turns into an answer of 400

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.header_time, self._too_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


def serve(
    settings: Settings,
    state: Path,
    *,
    started: Callable[[str], None],
    compress: bool = False,
    packed: bool = True,
    sharing: Sharing | None = None,
    retain: int = 0,
) -> None:
    """Serve the folder `settings.storage` until SIGINT or SIGTERM; `started` is told the server's URL.

    `state` is a local folder for what is on its way into packs, and for locks; the rest is how objects are kept there, and for
    how many seconds at least. What is going on is finished before the end, for
    at most ten seconds. Raises UsageError for settings that do not go together or an address that cannot be used, HeadwaterError.
    """
    check(settings)
    assert settings.storage is not None
    path = Path(settings.tokens) if settings.tokens else default_path()
    refuse_tracked(path)
    tokens = Tokens(path)
    if not len(tokens) and settings.anonymous == "none":
        raise UsageError(
            f"nobody could use the server: there is no token in {path}",
            rule="dvs-server-settings",
            fix="make one with `headwater dvs token add NAME --right read --right write`, or allow --anonymous read",
        )
    storage = LocalStorage(settings.storage, state=state / "storage", sharing=sharing)
    scratch = _scratch(state)
    listener = _listen(settings)
    objects = PackedObjects(storage, scratch, packed=packed, compress=compress)
    served = ServedObjects(objects, cap=settings.max_upload, retain=retain)
    if served.identity is None:
        LOG.warning("%s cannot be written: nothing can be put there", settings.storage)
    server = ObjectServer(served, settings, Access(tokens, settings))
    server.pool.submit(server.objects.count)  # which also removes what a killed server had half written
    protocol = type("TimedProtocol", (Protocol,), {"header_time": settings.header_time})
    config = uvicorn.Config(
        server.application(),
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        limit_concurrency=settings.connections,
        backlog=_BACKLOG,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    try:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        started(f"{'https' if settings.tls_cert else 'http'}://{shown}:{port}")
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        server.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(state: Path) -> Path:
    """A folder of this process for packs that are being written; those of processes that are gone are removed."""
    above = state / "scratch"
    above.mkdir(parents=True, exist_ok=True)
    for entry in above.iterdir():
        if entry.name.isdigit() and not is_alive(int(entry.name)):
            shutil.rmtree(entry, ignore_errors=True)
    return above / str(os.getpid())


def _listen(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(
            f"{settings.host} is no address of this machine", rule="dvs-server-settings", fix="listen on 127.0.0.1, or 0.0.0.0"
        ) from error
    family, kind, number, _, address = found[0]
    listener = socket.socket(family, kind, number)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)  # clients that come before the loop runs wait
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {settings.port} of {settings.host} cannot be used: {(error.strerror or str(error)).lower()}",
            rule="port-taken",
            fix="choose another with --port, or --port 0 for any free one",
        ) from error
    return listener

"""One request and its answer: bodies in and out at a pace, deadlines, and the errors that become answers.

Nothing here knows objects. Blocking work runs in the threads of a pool that all exchanges share; what waits for the network waits
in the event loop and holds no thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope, Send

from resources.server.settings import Settings

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]

_GATHER: Final = 1 << 20
"""Bytes of a body that are gathered before a thread takes them."""
_DRAIN: Final = 1 << 20
_DRAIN_SECONDS: Final = 2.0
_END: Final = object()


class Problem(Exception):
    """The request is answered with an error: a status, what is wrong, and what to do."""

    def __init__(self, status: int, message: str, fix: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fix = fix
        self.headers = headers


class Gone(Exception):
    """The client has hung up, or is too slow: nobody is left to answer."""


class Exchange:
    """A request and what is needed to answer it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings, pool: Executor) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.settings = settings
        self.holder = "anonymous"
        """The name of the token that the request came with."""
        self.started = False
        """Whether a part of the answer has gone out."""
        self._receive = receive
        self._send = send
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._waited = 0.0
        """Seconds spent waiting for the network."""
        self._moved = 0
        self._read_all = not (b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0")

    async def work(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking call in a thread."""
        return await self._loop.run_in_executor(self._pool, call, *arguments)

    # pace

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """Wait for the network, as long as a transfer at this pace may. Raises TimeoutError."""
        settings = self.settings
        began = self._loop.time()
        left = settings.grace + self._moved / max(1, settings.slowest) - self._waited
        try:
            async with asyncio.timeout(max(0.001, min(settings.stall, left, settings.longest - (began - self._begun)))):
                yield
        finally:
            self._waited += self._loop.time() - began

    # the body of the request

    @property
    def length(self) -> int | None:
        """What the client says how long the body is, None when it does not."""
        text = self.headers.get(b"content-length")
        return int(text) if text is not None and text.isdigit() else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises Gone, Problem (408) when it comes too slowly."""
        more = not self._read_all
        while more:
            try:
                async with self._patience():
                    message = await self._receive()
            except TimeoutError:
                self._read_all = True
                raise Problem(408, "the body came too slowly", "send it again over a better connection", _CLOSE) from None
            if message["type"] != "http.request":
                raise Gone
            body: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            self._moved += len(body)
            self._read_all = not more
            if body:
                yield body

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body in parts of about 1 MiB, so that a thread has something to do."""
        gathered: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            gathered.append(chunk)
            size += len(chunk)
            if size >= _GATHER:
                yield b"".join(gathered)
                gathered, size = [], 0
        if gathered:
            yield b"".join(gathered)

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises Problem (413) past `limit` bytes."""
        declared = self.length
        if declared is not None and declared > limit:
            raise too_large(limit)
        gathered = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            gathered.append(chunk)
        return b"".join(gathered)

    async def _drain(self) -> bool:
        """Read what is left of a small body, so that the client sees the answer and not a broken connection; whether all came."""
        if self._read_all or self.headers.get(b"expect", b"").lower() == b"100-continue":
            return self._read_all
        left = _DRAIN
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0 and not self._read_all:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        raise Gone
                    self._read_all = not message.get("more_body", False)
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return False
        return self._read_all

    # the answer

    async def answer(self, status: int, body: bytes = b"", headers: Headers = (), *, length: int | None = None) -> None:
        """Answer at once. `length` is what `HEAD` says instead of the body's own."""
        close: Headers = () if await self._drain() else _CLOSE
        size = len(body) if length is None else length
        counted = () if status in (204, 304) else ((b"content-length", b"%d" % size),)
        self.started = True
        await self._put({"type": "http.response.start", "status": status, "headers": [*headers, *counted, *close]})
        await self._put({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def json(self, status: int, value: object, headers: Headers = ()) -> None:
        """Answer with JSON."""
        body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        await self.answer(status, body, [*headers, (b"content-type", b"application/json"), (b"cache-control", b"no-store")])

    async def problem(self, problem: Problem) -> None:
        """Answer with an error."""
        await self.json(problem.status, {"error": problem.message, "fix": problem.fix}, problem.headers)

    async def stream(self, blocks: Iterator[bytes], status: int, headers: Headers, length: int | None = None) -> None:
        """Answer with blocks that a thread makes: a block goes out when the next one has come, the last when there is no more.

        `length` is that of all of them, None when nobody knows. What the blocks raise is raised; where `started`, a part of the
        answer has gone out then. Raises Gone.
        """
        held, upcoming = await self.work(_two, blocks)
        if upcoming is _END:
            await self.answer(status, held, headers)
            return
        watch = self._loop.create_task(self._watch())
        pending: asyncio.Future[Any] | None = None
        try:
            self.started = True
            counted = () if length is None else ((b"content-length", b"%d" % length),)
            await self._put({"type": "http.response.start", "status": status, "headers": [*headers, *counted]})
            while upcoming is not _END:
                pending = self._loop.run_in_executor(self._pool, next, blocks, _END)
                await self._put({"type": "http.response.body", "body": held, "more_body": True})
                self._moved += len(held)
                held = upcoming
                upcoming, pending = await pending, None
                if watch.done():
                    raise Gone
            await self._put({"type": "http.response.body", "body": held, "more_body": False})
        finally:
            watch.cancel()
            if pending is not None:
                await asyncio.wait([pending])
            await self.work(_close, blocks)

    async def _watch(self) -> None:
        """Ends when the client has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            async with self._patience():
                await self._send(message)
        except TimeoutError:
            raise Gone from None

    async def cut(self) -> None:
        """Break the connection off, so that the client cannot take what it has for the whole."""
        abort = self.scope.get("extensions", {}).get("headwater.abort")
        if abort is None:
            raise ConnectionAbortedError("the answer could not be completed")
        abort()
        for _ in range(3):
            await asyncio.sleep(0)  # until the server has noticed


_CLOSE: Headers = ((b"connection", b"close"),)


def too_large(limit: int) -> Problem:
    """413."""
    return Problem(413, f"the body has more than {limit} bytes", "send less at once; the server's max_upload limits objects")


def _two(blocks: Iterator[bytes]) -> tuple[Any, Any]:
    """The first block (empty for nothing) and the second."""
    first = next(blocks, _END)
    if first is _END:
        return b"", _END
    return first, next(blocks, _END)


def _close(blocks: Iterator[bytes]) -> None:
    close = getattr(blocks, "close", None)
    if close is not None:
        with suppress(ValueError):  # a thread is in it: the server is ending
            close()

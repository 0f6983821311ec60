"""The object server's ASGI application: its routes, who may use them, and how many at once.

Only oids that match their closed alphabet reach the storage; no other part of a request becomes a path. What the routes mean is
written down in `resources.server.openapi`; what they do with the storage is in `resources.server.objects`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from resources.objects import RottenObject
from resources.server import frames
from resources.server.access import Access
from resources.server.actions import RECORD_LIMIT, Actions
from resources.server.asking import (
    as_problem,
    checked_oid,
    content_encoding,
    etag_matches,
    fingerprint_of,
    missing,
    object_oid,
    page_of,
    question,
    read_range,
    refuse_weak,
)
from resources.server.exchange import Exchange, Gone, Problem, too_large
from resources.server.objects import Held, ServedObjects, Totals
from resources.server.openapi import description
from resources.server.settings import Settings
from resources.server.tokens import Right
from resources.server.uploads import BATCH_LIMIT, StreamIn, Together
from schemas.errors import HeadwaterError

LOG: Final = logging.getLogger("headwater.server")
_INLINE: Final = 1 << 20
_TOGETHER: Final = 128 << 10
"""Bytes of objects that are made durable together with those that other requests bring at the same time."""
_COUNT_WAIT: Final = 1.0
"""Seconds that somebody waits for the first count of the objects."""
_WORKERS: Final = 16
_BINARY: Final = (
    (b"content-type", b"application/octet-stream"),
    (b"x-content-type-options", b"nosniff"),
    (b"accept-ranges", b"bytes"),
    (b"cache-control", b"private, max-age=31536000, immutable"),
)

Handler = Callable[["ObjectServer", Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Verb:
    """What a method of a route does, and the right it needs (None for none)."""

    handler: Handler
    right: Right | None


class ObjectServer:
    """The server's state, and the handlers of its routes."""

    def __init__(self, objects: ServedObjects, settings: Settings, access: Access) -> None:
        self.objects = objects
        self.actions = Actions(objects.storage, objects.check_root)
        self.settings = settings
        self.access = access
        self.pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="objects")
        self.together = Together(objects, self.pool)
        self.began = time.monotonic()
        self._counting: asyncio.Future[Totals] | None = None
        self._turns = asyncio.Semaphore(settings.concurrency)
        self._description = json.dumps(description(settings)).encode()

    def close(self) -> None:
        """Wait for what is going on, then let go of the storage."""
        self.pool.shutdown()
        self.objects.close()

    def application(self) -> Starlette:
        """The ASGI application."""
        routes: dict[str, dict[str, Verb]] = {
            "/objects/exists": {"POST": Verb(ObjectServer.exists, Right.READ)},
            "/objects/fetch": {"POST": Verb(ObjectServer.fetch, Right.READ)},
            "/objects/put": {"POST": Verb(ObjectServer.put_many, Right.WRITE)},
            "/objects/{algorithm}/{digits}": {
                "HEAD": Verb(ObjectServer.get, Right.READ),
                "GET": Verb(ObjectServer.get, Right.READ),
                "PUT": Verb(ObjectServer.put, Right.WRITE),
                "DELETE": Verb(ObjectServer.delete, Right.DELETE),
            },
            "/objects": {"GET": Verb(ObjectServer.list, Right.READ)},
            "/actions/{fingerprint}": {
                "HEAD": Verb(ObjectServer.get_action, Right.READ),
                "GET": Verb(ObjectServer.get_action, Right.READ),
                "PUT": Verb(ObjectServer.put_action, Right.WRITE),
                "DELETE": Verb(ObjectServer.delete_action, Right.DELETE),
            },
            "/actions": {"GET": Verb(ObjectServer.list_actions, Right.READ)},
            "/health": {"GET": Verb(ObjectServer.health, None), "HEAD": Verb(ObjectServer.health, None)},
            "/status": {"GET": Verb(ObjectServer.status, None), "HEAD": Verb(ObjectServer.status, None)},
            "/openapi.json": {"GET": Verb(ObjectServer.openapi, None)},
        }
        found = [Route(path, _Endpoint(self, verbs)) for path, verbs in routes.items()]
        found.append(Route("/{rest:path}", _Endpoint(self, None)))
        application = Starlette(routes=found)
        application.router.redirect_slashes = False
        return application

    # one object

    async def get(self, exchange: Exchange) -> None:
        oid = object_oid(exchange)
        for attempt in range(2):
            held = await exchange.work(self.objects.find, oid)
            if held is None:
                raise missing(oid, damaged=attempt > 0)
            etag = b'"%s"' % oid.encode()
            headers = [*_BINARY, (b"etag", etag)]
            if etag_matches(exchange.headers.get(b"if-none-match"), etag):
                await exchange.answer(304, headers=headers)
                return
            if exchange.method == "HEAD":
                await exchange.answer(200, headers=headers, length=held.size)
                return
            try:
                await self._send(exchange, held, etag, headers)
            except RottenObject as error:
                LOG.error("%s", error.message)
                if exchange.started:
                    await exchange.cut()
                    return
                continue  # there may be another copy
            except FileNotFoundError:
                if exchange.started:
                    await exchange.cut()
                    return
                continue
            return
        raise missing(oid, damaged=True)

    async def _send(self, exchange: Exchange, held: Held, etag: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        wanted = None
        if exchange.headers.get(b"if-range", etag) == etag:
            wanted = read_range(exchange.headers.get(b"range"), held.size)
        if wanted is None:
            await exchange.stream(self.objects.read(held), 200, headers, held.size)
            return
        start, stop = wanted
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, held.size)))
        await exchange.stream(self.objects.stretch(held, start, stop), 206, headers, stop - start)

    async def put(self, exchange: Exchange) -> None:
        oid = object_oid(exchange)
        refuse_weak(oid, self.settings)
        encoding = content_encoding(exchange)
        declared = exchange.length
        if declared is not None and declared > self.settings.max_upload:
            raise too_large(self.settings.max_upload)
        if declared is not None and declared <= _TOGETHER and encoding is None:
            new = await self.together.keep(oid, await exchange.body(_TOGETHER))
        elif declared is not None and declared <= _INLINE:
            new = await exchange.work(self.objects.keep, oid, await exchange.body(_INLINE), encoding)
        else:
            new = await self._receive(exchange, oid, encoding)
        await exchange.json(201 if new else 200, {"oid": oid, "outcome": "stored" if new else "present"})

    async def _receive(self, exchange: Exchange, oid: str, encoding: str | None) -> bool:
        incoming = await exchange.work(self.objects.receive, oid, encoding)
        try:
            async with aclosing(exchange.parts()) as parts:
                async for part in parts:
                    await exchange.work(incoming.write, part)
            return await exchange.work(incoming.finish)
        finally:
            await asyncio.shield(exchange.work(incoming.abandon))

    async def delete(self, exchange: Exchange) -> None:
        oid = object_oid(exchange)
        if not await exchange.work(self.objects.delete, oid, exchange.holder):
            raise missing(oid)
        await exchange.answer(204)

    # many objects

    async def exists(self, exchange: Exchange) -> None:
        oids = await question(exchange)
        sizes = await exchange.work(self.objects.find_many, oids)
        await exchange.json(200, {"present": [{"oid": oid, "size": size} for oid, size in sizes.items()]})

    async def fetch(self, exchange: Exchange) -> None:
        oids = await question(exchange)
        headers = [(b"content-type", frames.MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
        try:
            await exchange.stream(self.objects.frames(oids), 200, headers)
        except (RottenObject, FileNotFoundError) as error:
            # Only of a large object one finds out too late.
            LOG.error("%s", error)
            await exchange.cut()

    async def put_many(self, exchange: Exchange) -> None:
        if exchange.headers.get(b"content-type", b"").split(b";")[0].strip().lower() != frames.MEDIA_TYPE.encode():
            raise Problem(415, f"the body is no {frames.MEDIA_TYPE}", f"send it with Content-Type: {frames.MEDIA_TYPE}")
        if exchange.length is not None and exchange.length > BATCH_LIMIT:
            raise too_large(BATCH_LIMIT)
        await exchange.json(200, {"results": await StreamIn(self.objects, exchange).run()})

    async def list(self, exchange: Exchange) -> None:
        after, limit = page_of(exchange)
        if after is not None:
            checked_oid(after)
        found = await exchange.work(self.objects.list, after, limit)
        rows = [{"oid": oid, "size": size} for oid, size in found]
        await exchange.json(200, {"objects": rows, "next": found[-1][0] if len(found) == limit else None})

    # actions

    async def get_action(self, exchange: Exchange) -> None:
        fingerprint = fingerprint_of(exchange)
        data = await exchange.work(self.actions.get, fingerprint)
        if data is None:
            raise Problem(404, f"there is no record of {fingerprint}", "build it and put the record")
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await exchange.answer(200, data, headers)

    async def put_action(self, exchange: Exchange) -> None:
        fingerprint = fingerprint_of(exchange)
        data = await exchange.body(RECORD_LIMIT)
        new = await exchange.work(self.actions.put, fingerprint, data)
        await exchange.json(201 if new else 200, {"fingerprint": fingerprint, "outcome": "stored" if new else "replaced"})

    async def delete_action(self, exchange: Exchange) -> None:
        fingerprint = fingerprint_of(exchange)
        if not await exchange.work(self.actions.delete, fingerprint):
            raise Problem(404, f"there is no record of {fingerprint}", "nothing needs to be done")
        await exchange.answer(204)

    async def list_actions(self, exchange: Exchange) -> None:
        after, limit = page_of(exchange)
        if after is not None:
            after = checked_oid(after if ":" in after else f"blake3:{after}")
        found = await exchange.work(self.actions.list, after, limit)
        rows = [{"fingerprint": fingerprint, "size": size} for fingerprint, size in found]
        await exchange.json(200, {"actions": rows, "next": found[-1][0] if len(found) == limit else None})

    # the server itself

    async def health(self, exchange: Exchange) -> None:
        await exchange.json(200, {"status": "ok"})

    async def status(self, exchange: Exchange) -> None:
        if self.objects.totals.are_old:
            await self._count()
        totals = self.objects.totals
        record = {
            "version": version("headwater"),
            "storage_id": self.objects.identity,
            "object_count": totals.objects,
            "storage_used": totals.stored,
            "uptime_secs": int(time.monotonic() - self.began),
        }
        await exchange.json(200, record)

    async def _count(self) -> None:
        """Have the objects counted by one thread, whoever asks for it how often, and wait a moment for the first count."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.get_running_loop().run_in_executor(self.pool, self.objects.count)
        if self.objects.totals.objects is None:
            await asyncio.wait([self._counting], timeout=_COUNT_WAIT)
        if self._counting.done() and self._counting.exception() is not None:
            LOG.error("the objects cannot be counted: %s", self._counting.exception())

    async def openapi(self, exchange: Exchange) -> None:
        await exchange.answer(200, self._description, [(b"content-type", b"application/json")])

    # every request

    async def serve(self, verbs: Mapping[str, Verb] | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever comes of it."""
        exchange = Exchange(scope, receive, send, self.settings, self.pool)
        try:
            try:
                await self._dispatch(verbs, exchange)
            except Problem as problem:
                await self._fail(exchange, problem)
            except (HeadwaterError, OSError) as error:
                await self._fail(exchange, as_problem(error))
        except Gone:
            await exchange.cut()

    async def _dispatch(self, verbs: Mapping[str, Verb] | None, exchange: Exchange) -> None:
        if verbs is None:
            raise Problem(404, "there is nothing here", "GET /openapi.json says what is")
        verb = verbs.get(exchange.method)
        if verb is None:
            allow = ", ".join(sorted(verbs))
            raise Problem(405, f"{exchange.method} means nothing here", f"use one of {allow}", [(b"allow", allow.encode())])
        if verb.right is None:
            await verb.handler(self, exchange)
            return
        exchange.holder = self.access.check(exchange.scope, exchange.headers, verb.right)
        await self._turn()
        try:
            await verb.handler(self, exchange)
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(self.settings.queue):
                await self._turns.acquire()
        except TimeoutError:
            raise Problem(503, "too much is going on", "come again in a moment", [(b"retry-after", b"5")]) from None

    async def _fail(self, exchange: Exchange, problem: Problem) -> None:
        if problem.status >= 500:
            LOG.error("%s %s: %s", exchange.method, exchange.scope["path"].encode("unicode_escape").decode(), problem.message)
        if exchange.started:
            await exchange.cut()
        else:
            await exchange.problem(problem)


class _Endpoint:
    """A route as Starlette wants it: an ASGI application of its own, which gets every method."""

    def __init__(self, server: ObjectServer, verbs: Mapping[str, Verb] | None) -> None:
        self.server = server
        self.verbs = verbs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.server.serve(self.verbs, scope, receive, send)

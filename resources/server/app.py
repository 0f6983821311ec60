"""The object server's ASGI application: its routes, who may use them, and how many at once.

Only oids that match their closed alphabet reach the storage; no other part of a request becomes a path. What the routes mean is
written down in `resources.server.openapi`; what they do with the storage is in `resources.server.objects`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from resources.dvs.leases import StorageBusy
from resources.objects import RottenObject
from resources.packed import SMALL
from resources.server import frames
from resources.server.access import Access
from resources.server.actions import RECORD_LIMIT, Actions, read_fingerprint
from resources.server.exchange import Exchange, Gone, Problem, too_large
from resources.server.objects import Held, IncomingMany, Mismatch, Retained, ServedObjects, TooMuch
from resources.server.openapi import description
from resources.server.settings import Settings
from resources.server.tokens import Right
from schemas.dvs.oids import COLLISION_RESISTANT
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import parse_oid

LOG: Final = logging.getLogger("headwater.server")
MANY: Final = 10_000
"""The most oids of one question, and the most objects of one stream."""
_QUESTION_LIMIT: Final = 2 << 20
_BATCH_LIMIT: Final = 1 << 30
_PAGE: Final = 1000
_LARGEST_PAGE: Final = 10_000
_INLINE: Final = 1 << 20
_TOGETHER: Final = 128 << 10
"""Bytes of objects that are made durable together with those that other requests bring at the same time."""
_MOST_TOGETHER: Final = 64
_WORKERS: Final = 16
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
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
        self.actions = Actions(objects.storage)
        self.settings = settings
        self.access = access
        self.pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="objects")
        self.together = Together(objects, self.pool)
        self.began = time.monotonic()
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
                raise _missing(oid, damaged=attempt > 0)
            etag = b'"%s"' % oid.encode()
            headers = [*_BINARY, (b"etag", etag)]
            if _matches(exchange.headers.get(b"if-none-match"), etag):
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
        raise _missing(oid, damaged=True)

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
        self._refuse_weak(oid)
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
            raise _missing(oid)
        await exchange.answer(204)

    def _refuse_weak(self, oid: str) -> None:
        if parse_oid(oid)[0] not in COLLISION_RESISTANT and not self.settings.allow_xxh3:
            raise Problem(
                403,
                "objects named by xxh3 are not taken: two files of the same name can be made on purpose",
                "rename them with `headwater dvs rehash --to blake3`, or set allow_xxh3 on the server",
            )

    # many objects

    async def exists(self, exchange: Exchange) -> None:
        oids = await _question(exchange)
        sizes = await exchange.work(self.objects.find_many, oids)
        await exchange.json(200, {"present": [{"oid": oid, "size": size} for oid, size in sizes.items()]})

    async def fetch(self, exchange: Exchange) -> None:
        oids = await _question(exchange)
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
        if exchange.length is not None and exchange.length > _BATCH_LIMIT:
            raise too_large(_BATCH_LIMIT)
        taking = _Taking(self, exchange)
        await exchange.json(200, {"results": await taking.run()})

    async def list(self, exchange: Exchange) -> None:
        after, limit = _page(exchange)
        if after is not None:
            _checked(after)
        found = await exchange.work(self.objects.list, after, limit)
        rows = [{"oid": oid, "size": size} for oid, size in found]
        await exchange.json(200, {"objects": rows, "next": found[-1][0] if len(found) == limit else None})

    # actions

    async def get_action(self, exchange: Exchange) -> None:
        fingerprint = _fingerprint(exchange)
        data = await exchange.work(self.actions.get, fingerprint)
        if data is None:
            raise Problem(404, f"there is no record of {fingerprint}", "build it and put the record")
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await exchange.answer(200, data, headers)

    async def put_action(self, exchange: Exchange) -> None:
        fingerprint = _fingerprint(exchange)
        data = await exchange.body(RECORD_LIMIT)
        new = await exchange.work(self.actions.put, fingerprint, data)
        await exchange.json(201 if new else 200, {"fingerprint": fingerprint, "outcome": "stored" if new else "replaced"})

    async def delete_action(self, exchange: Exchange) -> None:
        fingerprint = _fingerprint(exchange)
        if not await exchange.work(self.actions.delete, fingerprint):
            raise Problem(404, f"there is no record of {fingerprint}", "nothing needs to be done")
        await exchange.answer(204)

    async def list_actions(self, exchange: Exchange) -> None:
        after, limit = _page(exchange)
        if after is not None:
            after = _checked(after if ":" in after else f"blake3:{after}")
        found = await exchange.work(self.actions.list, after, limit)
        rows = [{"fingerprint": fingerprint, "size": size} for fingerprint, size in found]
        await exchange.json(200, {"actions": rows, "next": found[-1][0] if len(found) == limit else None})

    # the server itself

    async def health(self, exchange: Exchange) -> None:
        await exchange.json(200, {"status": "ok"})

    async def status(self, exchange: Exchange) -> None:
        totals = await exchange.work(self.objects.count)
        record = {
            "version": version("headwater"),
            "storage_id": self.objects.identity,
            "object_count": totals.objects,
            "storage_used": totals.stored,
            "uptime_secs": int(time.monotonic() - self.began),
        }
        await exchange.json(200, record)

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


class Together:
    """Small objects that come at the same time: while some are being made durable, the next ones gather."""

    def __init__(self, objects: ServedObjects, pool: Executor) -> None:
        self.objects = objects
        self._pool = pool
        self._waiting: list[tuple[str, bytes, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def keep(self, oid: str, data: bytes) -> bool:
        """As `ServedObjects.keep`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((oid, data, future))
        if self._task is None:
            self._task = loop.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
                objects = [(oid, data) for oid, data, _ in group]
                try:
                    results: Sequence[bool | Exception] = await loop.run_in_executor(self._pool, self.objects.keep_many, objects)
                except Exception as error:
                    results = [error] * len(group)
                for (_, _, future), result in zip(group, results, strict=True):
                    if future.done():
                        continue  # its client has gone
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._task = None


class _Endpoint:
    """A route as Starlette wants it: an ASGI application of its own, which gets every method."""

    def __init__(self, server: ObjectServer, verbs: Mapping[str, Verb] | None) -> None:
        self.server = server
        self.verbs = verbs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.server.serve(self.verbs, scope, receive, send)


class _Taking:
    """A stream of objects on its way in."""

    def __init__(self, server: ObjectServer, exchange: Exchange) -> None:
        self.server = server
        self.exchange = exchange
        self.results: list[dict[str, str]] = []
        self._reader = frames.FrameReader()
        self._many: IncomingMany | None = None
        self._large: Any = None
        """The Incoming of a large object."""
        self._head: frames.Head | None = None
        self._small: list[bytes] = []
        self._wrong: str | None = None
        """Why the present object is not taken."""

    async def run(self) -> list[dict[str, str]]:
        """The result of each object, in their order. Raises Problem, HeadwaterError, OSError."""
        exchange = self.exchange
        self._many = await exchange.work(IncomingMany, self.server.objects)
        taken = 0
        try:
            async with aclosing(exchange.parts()) as parts:
                async for part in parts:
                    taken += len(part)
                    if taken > _BATCH_LIMIT:
                        raise too_large(_BATCH_LIMIT)
                    await exchange.work(self._feed, part)
            self._reader.finish()
            await exchange.work(self._many.finish)
        finally:
            await asyncio.shield(exchange.work(self._abandon))
        return self.results

    def _feed(self, part: bytes) -> None:
        for event in self._reader.feed(part):
            if isinstance(event, frames.Head):
                self._begin(event)
            elif event is None:
                self._end()
            elif self._wrong is None:
                self._take(event)

    def _begin(self, head: frames.Head) -> None:
        if len(self.results) >= MANY:
            raise Problem(413, f"more than {MANY} objects at once", "send them in several streams")
        self._head, self._wrong, self._small = head, None, []
        objects = self.server.objects
        if head.missing:
            self._wrong = "the sender does not have it"
            return
        try:
            self.server._refuse_weak(head.oid)
        except Problem as problem:
            self._wrong = problem.message
            return
        if head.size > objects.cap:
            self._wrong = f"the object has more than {objects.cap} bytes"
        elif head.size >= SMALL:
            self._large = objects.receive(head.oid)

    def _take(self, data: bytes) -> None:
        if self._large is not None:
            self._large.write(data)
        else:
            self._small.append(data)

    def _end(self) -> None:
        assert self._head is not None
        assert self._many is not None
        oid, large, self._large = self._head.oid, self._large, None
        if self._wrong is None:
            try:
                new = self._many.keep(oid, b"".join(self._small)) if large is None else large.finish()
            except Mismatch as error:
                self._wrong = error.message
            finally:
                if large is not None:
                    large.abandon()
        if self._wrong is not None:
            self.results.append({"oid": oid, "outcome": "refused", "error": self._wrong})
        else:
            self.results.append({"oid": oid, "outcome": "stored" if new else "present"})

    def _abandon(self) -> None:
        if self._large is not None:
            self._large.abandon()
        if self._many is not None:
            self._many.abandon()


# requests


def object_oid(exchange: Exchange) -> str:
    """The oid that the path names. Raises Problem (400)."""
    parameters = exchange.scope["path_params"]
    return _checked(f"{parameters['algorithm']}:{parameters['digits']}")


def _checked(oid: str) -> str:
    try:
        parse_oid(oid)
    except HeadwaterError as error:
        raise Problem(400, error.message, error.fix or "") from None
    return oid


def _fingerprint(exchange: Exchange) -> str:
    try:
        return read_fingerprint(exchange.scope["path_params"]["fingerprint"])
    except HeadwaterError as error:
        raise Problem(400, error.message, error.fix or "") from None


def content_encoding(exchange: Exchange) -> str | None:
    """`zstd`, or None. Raises Problem (415) for another."""
    given = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if given == b"identity":
        return None
    if given == b"zstd":
        return "zstd"
    raise Problem(415, "the body has an encoding that is not known here", "send it raw, or with Content-Encoding: zstd")


def read_range(header: bytes | None, size: int) -> tuple[int, int] | None:
    """The one range (start, stop) that is asked for; None for the whole, which several ranges get too (RFC 9110 section 14.2).

    Raises Problem (416).
    """
    match = _RANGE.match((header or b"").decode("latin-1").strip().lower())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < int(match[1]):
            return None
    else:
        start, stop = max(0, size - int(match[2])), size
    if start >= stop:
        raise Problem(
            416,
            f"the object has {size} bytes",
            "ask for bytes that are there",
            [(b"content-range", b"bytes */%d" % size)],
        )
    return start, stop


def _matches(header: bytes | None, etag: bytes) -> bool:
    if header is None:
        return False
    given = [one.strip().removeprefix(b"W/") for one in header.split(b",")]
    return etag in given or b"*" in given


async def _question(exchange: Exchange) -> list[str]:
    """The oids of a body `{"oids": […]}`. Raises Problem."""
    data = await exchange.body(_QUESTION_LIMIT)
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = None
    oids = record.get("oids") if isinstance(record, dict) else None
    if not isinstance(oids, list) or not all(isinstance(oid, str) for oid in oids):
        raise Problem(400, "the body is no question", 'send {"oids": ["blake3:…", …]}')
    if len(oids) > MANY:
        raise Problem(413, f"more than {MANY} oids at once", "ask in several requests")
    for oid in oids:
        _checked(oid)
    return oids


def _page(exchange: Exchange) -> tuple[str | None, int]:
    query = parse_qs(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    after = query.get("after", [None])[-1]
    text = query.get("limit", [str(_PAGE)])[-1]
    if not re.fullmatch(r"[0-9]{1,6}", text or "") or not 1 <= int(text) <= _LARGEST_PAGE:
        raise Problem(400, "limit is no number from 1 to 10000", "give a number of rows, or leave it away")
    return after, int(text)


def _missing(oid: str, *, damaged: bool = False) -> Problem:
    if damaged:
        return Problem(404, f"the stored object {oid} is damaged", "push it again from a clone that has it")
    return Problem(404, f"there is no object {oid}", "push it from a clone that has it")


def as_problem(error: Exception) -> Problem:
    """The answer to what went wrong in the storage."""
    if isinstance(error, TooMuch):
        return Problem(413, error.message, error.fix or "")
    if isinstance(error, Mismatch) or (isinstance(error, HeadwaterError) and error.rule in _CLIENT_RULES):
        return Problem(400, error.message, error.fix or "")
    if isinstance(error, Retained):
        return Problem(403, error.message, error.fix or "")
    if isinstance(error, StorageBusy):
        return Problem(503, error.message, error.fix or "", [(b"retry-after", b"10")])
    if isinstance(error, Conflict):
        return Problem(409, error.message, "try again")
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return Problem(507, "the storage is full", "make room on the server, then send it again")
        return Problem(500, f"the storage failed: {error.strerror or type(error).__name__}", "look at the server's log")
    message = error.message if isinstance(error, HeadwaterError) else str(error)
    return Problem(500, message, "look at the server's log")


_CLIENT_RULES: Final = frozenset({"frames", "object-encoding", "oid-malformed", "oid-mismatch", "dvs-action"})

"""Objects on their way in from many requests, or many from one: gathered in the event loop, kept by the threads of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Final

from resources.packed import SMALL
from resources.server import frames
from resources.server.asking import MANY, refuse_weak
from resources.server.exchange import Exchange, Problem, too_large
from resources.server.incoming import Incoming, IncomingMany, Mismatch
from resources.server.objects import ServedObjects

BATCH_LIMIT: Final = 1 << 30
"""Bytes of one stream."""
_MOST_TOGETHER: Final = 64


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


class StreamIn:
    """A stream of objects on its way in."""

    def __init__(self, objects: ServedObjects, exchange: Exchange) -> None:
        self.objects = objects
        self.exchange = exchange
        self.settings = exchange.settings
        self.results: list[dict[str, str]] = []
        self._reader = frames.FrameReader()
        self._many: IncomingMany | None = None
        self._large: Incoming | None = None
        self._head: frames.Head | None = None
        self._small: list[bytes] = []
        self._wrong: str | None = None
        """Why the present object is not taken."""

    async def run(self) -> list[dict[str, str]]:
        """The result of each object, in their order. Raises Problem, HeadwaterError, OSError."""
        exchange = self.exchange
        self._many = await exchange.work(IncomingMany, self.objects)
        taken = 0
        try:
            async with aclosing(exchange.parts()) as parts:
                async for part in parts:
                    taken += len(part)
                    if taken > BATCH_LIMIT:
                        raise too_large(BATCH_LIMIT)
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
        objects = self.objects
        if head.missing:
            self._wrong = "the sender does not have it"
            return
        try:
            refuse_weak(head.oid, self.settings)
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

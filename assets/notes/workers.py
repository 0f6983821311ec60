"""Parsing many notes on every core: helper processes that turn bytes into rows, in the order of the notes.

Parsing is most of the work of a build from nothing and runs in pure Python, so only processes help. They are started as plain
children that talk over pipes: `multiprocessing` would either fork a process that has threads (Dagster, DuckDB) or run the
parent's main module again. A helper that dies or cannot be started costs time, nothing else: its notes are parsed here. Measured
on two cores: 10,000 notes of 1 KiB in 0.6 of the time of one process, 2,000 in the same; fewer are parsed here.
"""

from __future__ import annotations

import marshal
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

from assets.engine.view import InputFile, View
from assets.notes.reading import Reading, cores, read_note
from assets.notes.rows import NoteRows

_BATCH = 64
_BATCH_BYTES = 1 << 20
_MOST = 8
_AHEAD = 3
"""Batches per helper that are read before their turn."""
_HEADER = 8

_Batch = list[tuple[str, str, bytes]]


def parse_on_every_core(view: View, read: Reading, notes: list[tuple[str, InputFile]]) -> Iterator[NoteRows]:
    """The rows of `notes` (role, file), in their order."""
    helpers = min(cores(), _MOST)
    with _Helpers(helpers, read) as pool:
        yield from pool.map(_batches(view, notes))


def _batches(view: View, notes: Iterable[tuple[str, InputFile]]) -> Iterator[_Batch]:
    batch: _Batch = []
    size = 0
    for role, file in notes:
        batch.append((file.path, file.oid, view.read(role, file.path)))
        size += file.size
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Helpers:
    """Threads, each with a helper process of its own."""

    def __init__(self, count: int, read: Reading) -> None:
        self._count = count
        self._read = read
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="notes")
        self._own = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._setup = pickle.dumps((read.config, read.layout))

    def __enter__(self) -> _Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()

    def map(self, batches: Iterator[_Batch]) -> Iterator[NoteRows]:
        waiting: deque[Future[list[NoteRows]]] = deque()
        for batch in batches:
            waiting.append(self._threads.submit(self._parse, batch))
            if len(waiting) >= self._count * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _parse(self, batch: _Batch) -> list[NoteRows]:
        try:
            process = self._process()
            _send(process.stdin, marshal.dumps(batch))
            return [NoteRows._make(rows) for rows in marshal.loads(_receive(process.stdout))]
        except (OSError, EOFError, ValueError):
            self._own.broken = True
            return [read_note(data, path, oid, self._read.config, self._read.layout) for path, oid, data in batch]

    def _process(self) -> subprocess.Popen[bytes]:
        if getattr(self._own, "broken", False):
            raise EOFError
        if not hasattr(self._own, "process"):
            self._own.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _program()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._processes.append(self._own.process)
            _send(self._own.process.stdin, self._setup)
        process: subprocess.Popen[bytes] = self._own.process
        return process


def _program() -> str:
    """What a helper runs: the same modules from the same places, and nothing from the folder it was started in."""
    places = [place for place in sys.path if place]
    return f"import sys; sys.path[:] = {places!r}; from assets.notes.workers import serve; serve()"


def serve() -> None:
    """The life of a helper: read its setup, then answer each batch, until its parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        config, layout = pickle.loads(_receive(source))
        while True:
            batch: _Batch = marshal.loads(_receive(source))
            _send(target, marshal.dumps([tuple(read_note(data, path, oid, config, layout)) for path, oid, data in batch]))


def _send(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    pipe.write(len(data).to_bytes(_HEADER, "big"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    header = pipe.read(_HEADER)
    if len(header) < _HEADER:
        raise EOFError
    data = pipe.read(int.from_bytes(header, "big"))
    if len(data) < int.from_bytes(header, "big"):
        raise EOFError
    return data

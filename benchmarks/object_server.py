"""The object server beside Starlette's StaticFiles on the same uvicorn: sixteen clients that get and put objects at once.

    python benchmarks/object_server.py [--seconds 4] [--clients 16] [--folder DIR]

Both servers are processes of their own with one event loop each, on loopback, and hold the same files. A client is a thread with
one connection that stays open; it asks for the next object as soon as one has come, and looks at no byte. What StaticFiles sends
is not verified; what the object server sends and keeps is, and an answer to PUT means that the object is on the disk. The disk's
own pace (write, fsync, rename) is printed beside it. CPU is that of the server's process. Exits with 1 when a budget is not kept:
GET at least 70 % of StaticFiles, PUT at least 40 % of GET, peak memory that does not grow with the size of an object.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blake3 import blake3

from resources.server.tokens import Right, add_token

SIZES = {"4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "16 MiB": 16 << 20, "128 MiB": 128 << 20}
GET_SHARE, PUT_SHARE = 0.7, 0.4
MEMORY_MIB = 32.0
"""How much more memory a server may have used after the largest objects than after those an eighth of their size."""
_HELD = 64 << 20
"""Bytes of objects of one size that are got again and again: they stay in memory."""
_STATIC = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
app = Starlette(routes=[Mount("/objects", StaticFiles(directory=sys.argv[1]))])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False, http="httptools", lifespan="off")
"""


@dataclass
class Pace:
    """What clients got through."""

    requests: int
    bytes: int
    seconds: float
    cpu: float

    def show(self, name: str) -> str:
        rate, mib = self.requests / self.seconds, self.bytes / self.seconds / (1 << 20)
        return f"  {name:24} {rate:9,.0f}/s {mib:9,.1f} MiB/s" + (
            f"   server CPU {1e6 * self.cpu / max(1, self.requests):8,.0f} us each" if self.cpu else ""
        )


def cpu_and_peak(pid: int) -> tuple[float, float]:
    """CPU seconds so far and peak memory in MiB of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), peak / 1024


class Connection:
    """A connection that stays open and reads answers into one buffer."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = memoryview(bytearray(1 << 20))
        self.token = token

    def ask(self, method: str, path: str, *body: bytes) -> int:
        """One request; returns its status after the whole answer has come."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Content-Length: {sum(map(len, body))}\r\n\r\n" if body else "\r\n"
        if body and len(body[-1]) < 1 << 16:
            self.socket.sendall(b"".join((head.encode(), *body)))
        else:
            self.socket.sendall(b"".join((head.encode(), *body[:-1])))
            if body:
                self.socket.sendall(body[-1])
        have = 0
        while True:
            got = self.socket.recv_into(self.buffer[have:])
            assert got, "the server closed the connection"
            have += got
            stop = bytes(self.buffer[:have]).find(b"\r\n\r\n") if have < 4096 else bytes(self.buffer[:4096]).find(b"\r\n\r\n")
            if stop >= 0:
                break
        header = bytes(self.buffer[:stop]).lower()
        left = int(header.partition(b"content-length:")[2].split(b"\r\n")[0]) - (have - stop - 4)
        while left > 0:
            left -= self.socket.recv_into(self.buffer, min(left, len(self.buffer)))
        return int(header[9:12])


def measure(port: int, pid: int, clients: int, seconds: float, token: str, request: Callable[[Connection], int]) -> Pace:
    """Let clients work for some seconds; `request` does one and returns the bytes of its object, 0 when there is no more."""
    done = [(0, 0)] * clients
    begin = threading.Barrier(clients + 1)
    end = [0.0]

    def work(number: int) -> None:
        connection = Connection(port, token)
        begin.wait()
        requests = size = 0
        while time.perf_counter() < end[0] and (came := request(connection)):
            size += came
            requests += 1
        done[number] = (requests, size)
        connection.socket.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    before = cpu_and_peak(pid)[0]
    started = time.perf_counter()
    end[0] = started + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - started
    return Pace(sum(one[0] for one in done), sum(one[1] for one in done), spent, cpu_and_peak(pid)[0] - before)


@contextmanager
def object_server(folder: Path, storage: Path) -> Iterator[tuple[int, int, str]]:
    """(port, process id, token) of an object server."""
    tokens = folder / "tokens.json"
    token = add_token(tokens, f"bench-{time.time_ns()}", [Right.READ, Right.WRITE])
    command = [sys.executable, "-m", "orchestration.cli.main", "dvs", "serve", str(storage), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--tokens", str(tokens)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HEADWATER_CACHE_DIR": str(folder / "cache")},
        cwd=Path(__file__).parent.parent,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(json.loads(process.stdout.readline())["url"].rpartition(":")[2]), process.pid, token
    finally:
        process.terminate()
        process.wait()


@contextmanager
def static_server(storage: Path) -> Iterator[tuple[int, int]]:
    """(port, process id) of StaticFiles over the folder of the objects."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _STATIC, str(storage), str(port)])
    try:
        for _attempt in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def path_of(oid: str) -> str:
    algorithm, digits = oid.split(":")
    return f"/objects/{algorithm}/{digits}"


def floor(folder: Path, size: int, clients: int, seconds: float) -> Pace:
    """What the disk does with the same objects: write, fsync, rename into one of 256 folders, fsync of the folder."""
    data = os.urandom(size)
    numbers = count()
    done = [0] * clients
    stop = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < stop:
            at = next(numbers)
            target = folder / f"{at % 256:02x}"
            target.mkdir(exist_ok=True)
            fd = os.open(folder / f"new-{at}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(fd, data)
            os.fsync(fd)
            os.close(fd)
            (folder / f"new-{at}").rename(target / f"{at}")
            opened = os.open(target, os.O_RDONLY)
            os.fsync(opened)
            os.close(opened)
            done[number] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Pace(sum(done), sum(done) * size, time.perf_counter() - started, 0.0)


def objects_of(size: int, seed: bytes, number: int) -> list[tuple[str, bytes, bytes]]:
    """(path, first bytes, other bytes) of objects that differ in the first ones only: not each takes memory of its own."""
    rest = os.urandom(size - len(seed) - 8)
    made = []
    for at in range(number):
        first = seed + at.to_bytes(8, "little")
        hashed = blake3(first)
        hashed.update(rest)
        made.append((path_of(f"blake3:{hashed.hexdigest()}"), first, rest))
    return made


def compare(name: str, size: int, folder: Path, clients: int, seconds: float) -> tuple[bool, float]:
    """Measure one size; returns whether the budgets were kept, and the object server's peak memory in MiB."""
    print(f"{name}, {clients} clients")
    storage = folder / "storage"
    storage.mkdir()
    held = objects_of(size, b"held", max(4, min(1024, _HELD // size)))
    with object_server(folder, storage) as (port, pid, token):
        connection = Connection(port, token)
        for path, *data in held:
            assert connection.ask("PUT", path, *data) == 201
        turns = count()

        def get(one: Connection) -> int:
            assert one.ask("GET", held[next(turns) % len(held)][0]) == 200
            return size

        measure(port, pid, clients, 0.5, token, get)
        got = measure(port, pid, clients, seconds, token, get)
        fresh = iter(objects_of(size, b"new-", int(min(16_000, max(24, (3 << 30) // size)))))
        lock = threading.Lock()

        def put(one: Connection) -> int:
            with lock:
                wanted = next(fresh, None)
            if wanted is None:
                return 0
            assert one.ask("PUT", *wanted) == 201
            return size

        putting = measure(port, pid, clients, min(seconds, 2.0), token, put)
        peak = cpu_and_peak(pid)[1]
    with static_server(storage) as (port, pid):

        def get_static(one: Connection) -> int:
            path = held[next(turns) % len(held)][0]
            # The folder of an object is its first two digits.
            at = path.rindex("/") + 3
            assert one.ask("GET", f"{path[:at]}/{path[at:]}") == 200
            return size

        measure(port, pid, clients, 0.5, token, get_static)
        static = measure(port, pid, clients, seconds, token, get_static)
        static_peak = cpu_and_peak(pid)[1]
    below = folder / "floor"
    below.mkdir()
    disk = floor(below, size, clients, min(seconds, 2.0))
    print(static.show("GET StaticFiles"))
    print(got.show("GET object server"))
    print(putting.show("PUT object server"))
    print(disk.show("PUT floor of the disk"))
    get_share = (got.bytes / got.seconds) / (static.bytes / static.seconds)
    put_share = (putting.bytes / putting.seconds) / (got.bytes / got.seconds)
    of_disk = (putting.bytes / putting.seconds) / (disk.bytes / disk.seconds)
    print(f"  GET {get_share:.0%} of StaticFiles, PUT {put_share:.0%} of GET and {of_disk:.0%} of what the disk does")
    print(f"  peak memory {peak:.0f} MiB (StaticFiles {static_peak:.0f} MiB)")
    return get_share >= GET_SHARE and put_share >= PUT_SHARE, peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--size", choices=list(SIZES), action="append")
    parser.add_argument("--folder", type=Path, help="where the objects lie, the temporary folder unless given")
    arguments = parser.parse_args()
    kept = True
    peaks = []
    for name in arguments.size or SIZES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            good, peak = compare(name, SIZES[name], Path(folder), arguments.clients, arguments.seconds)
        kept &= good
        peaks.append(peak)
    if len(peaks) > 1 and peaks[-1] - peaks[-2] > MEMORY_MIB:
        print(f"memory grew by {peaks[-1] - peaks[-2]:.0f} MiB with the size of the objects")
        kept = False
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

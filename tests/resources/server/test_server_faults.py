"""What goes wrong between client, server and disk: nothing is kept that is not whole, nothing is sent that is not right."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from resources.server.frames import MEDIA_TYPE
from schemas.dvs.oids import oid_of
from tests.dvs_server import Server, running_server
from tests.resources.server.client import ask, path_of, put, raw
from tests.resources.server.test_objects_http import frames_of, read_frames

LARGE = os.urandom(3_000_001)
HASTY = "stall = 1\ngrace = 1\nheader_time = 1\nslowest = 1000000\n"
"""Settings under which slowness is found out soon."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("hasty"), settings=HASTY) as running:
        yield running


def _leftovers(server: Server) -> list[str]:
    return [path.name for path in server.storage.rglob("*") if path.name.endswith(".hwtmp")]


def _eventually(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if what():
            return True
        time.sleep(0.05)
    return what()


def _head(server: Server, method: str, path: str, **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {server.token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _file_of(server: Server, oid: str) -> Path:
    """Where an object lies as a file."""
    algorithm, digits = oid.split(":")
    return server.storage / algorithm / digits[:2] / digits[2:]


# uploads


@pytest.mark.parametrize("size", [100, 900_000, len(LARGE)], ids=["small", "medium", "large"])
def test_an_upload_that_breaks_off_leaves_nothing(server: Server, size: int) -> None:
    data = LARGE[:size]
    oid = oid_of(data, "blake3")
    for sent in (data[: size // 2], data[:-1]):
        raw(server, _head(server, "PUT", path_of(oid), Content_Length=size) + sent, half_close=True, timeout=3)
    chunked = _head(server, "PUT", path_of(oid), Transfer_Encoding="chunked")
    raw(server, chunked + b"%x\r\n" % size + data[:-1], half_close=True, timeout=3)
    raw(server, chunked + b"%x\r\n" % size + data + b"\r\nzz\r\n", timeout=3)
    assert ask(server, "HEAD", path_of(oid)).status == 404
    assert _eventually(lambda: not _leftovers(server))
    assert ask(server, "PUT", path_of(oid), data).status == 201


def test_a_stream_of_objects_that_breaks_off_leaves_no_small_ones(server: Server) -> None:
    small, large = b"small in a broken stream", LARGE[::-1]
    stream = frames_of({oid_of(small, "blake3"): small, oid_of(large, "blake3"): large})
    head = _head(server, "POST", "/objects/put", Content_Length=len(stream), Content_Type=MEDIA_TYPE)
    raw(server, head + stream[:-100], half_close=True, timeout=3)
    assert ask(server, "HEAD", path_of(oid_of(small, "blake3"))).status == 404
    assert _eventually(lambda: not _leftovers(server))


@pytest.mark.parametrize("enough", [3, 30, 90])
def test_killed_during_uploads_it_comes_back_whole(tmp_path: Path, enough: int) -> None:
    """What was acknowledged is there afterwards; of the rest nothing is seen, and its remains are swept."""
    acknowledged: list[bytes] = []
    with running_server(tmp_path) as server:

        def work(number: int) -> None:
            turn = 0
            while True:
                data = f"{number} {turn}".encode() * (1 if turn % 2 else 200_000)
                turn += 1
                try:
                    if ask(server, "PUT", path_of(oid_of(data, "blake3")), data).status == 201:
                        acknowledged.append(data)
                except (OSError, HTTPException):
                    return

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        torn = _head(server, "PUT", path_of(oid_of(LARGE, "blake3")), Content_Length=len(LARGE)) + LARGE[:-5]
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(torn)
            assert _eventually(lambda: len(acknowledged) > enough and bool(_leftovers(server)), 60)
            server.kill()
        for thread in threads:
            thread.join()
    assert acknowledged
    with running_server(tmp_path) as server:
        assert _eventually(lambda: not _leftovers(server))
        assert ask(server, "HEAD", path_of(oid_of(LARGE, "blake3"))).status == 404
        for data in acknowledged:
            assert ask(server, "GET", path_of(oid_of(data, "blake3"))).body == data
        listed = ask(server, "GET", "/objects?limit=10000").json["objects"]
        assert {row["oid"] for row in listed} >= {oid_of(data, "blake3") for data in acknowledged}
        for row in listed:
            assert oid_of(ask(server, "GET", path_of(row["oid"])).body, "blake3") == row["oid"]


def test_it_ends_without_cutting_off_what_is_going_on(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = _head(server, "PUT", path_of(oid_of(LARGE, "blake3")), Content_Length=len(LARGE))
            connection.sendall(head + LARGE[:1_000_000])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(LARGE[1_000_000:])
            assert b" 201 " in connection.recv(1000).partition(b"\r\n")[0]
        assert server.process.wait(20) == 143
    with running_server(tmp_path) as server:
        assert ask(server, "GET", path_of(oid_of(LARGE, "blake3"))).body == LARGE


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files makes writes fail half way, as a full disk does."""
    with running_server(tmp_path, wrapper=["prlimit", "--fsize=2000000"]) as server:
        answer = ask(server, "PUT", path_of(oid_of(LARGE, "blake3")), LARGE)
        assert answer.status == 507
        assert "full" in answer.json["error"]
        assert not _leftovers(server)
        assert ask(server, "HEAD", path_of(oid_of(LARGE, "blake3"))).status == 404
        assert ask(server, "PUT", path_of(oid_of(b"small", "blake3")), b"small").status == 201


# slowness


def test_a_body_that_drips_is_given_up(hasty: Server) -> None:
    oid = oid_of(LARGE, "blake3")
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        connection.sendall(_head(hasty, "PUT", path_of(oid), Content_Length=len(LARGE)))
        began = time.monotonic()
        came = b""
        connection.settimeout(0.3)
        while not came and time.monotonic() - began < 15:
            connection.sendall(b"x")
            with suppress(TimeoutError):
                came += connection.recv(1000)
    assert b" 408 " in came.partition(b"\r\n")[0]
    assert time.monotonic() - began < 10
    assert _eventually(lambda: not _leftovers(hasty))


def test_a_body_that_never_comes_is_given_up(hasty: Server) -> None:
    came = raw(hasty, _head(hasty, "PUT", path_of(oid_of(LARGE, "blake3")), Content_Length=100))
    assert b" 408 " in came.partition(b"\r\n")[0]


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_head_that_does_not_end_is_cut_off(hasty: Server, sent: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        connection.sendall(sent)
        with suppress(ConnectionResetError):
            while connection.recv(1000):
                pass
    assert 0.5 < time.monotonic() - began < 8


def test_a_head_that_drips_on_an_open_connection_is_cut_off(hasty: Server) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in connection.recv(1000)
        began = time.monotonic()
        with suppress(ConnectionError):
            for letter in "GET /health HTTP/1.1\r\n" * 10:
                connection.sendall(letter.encode())
                time.sleep(0.2)
        assert time.monotonic() - began < 8


def test_a_client_that_does_not_read_is_cut_off(hasty: Server) -> None:
    data = os.urandom(60_000_000)
    oid = put(hasty, data)
    before = _descriptors(hasty)
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        connection.sendall(_head(hasty, "GET", path_of(oid)))
        assert connection.recv(1000)
        time.sleep(4)
        came = 0
        with suppress(ConnectionResetError):
            while data := connection.recv(1 << 20):
                came += len(data)
    assert came < 60_000_000
    assert _eventually(lambda: _descriptors(hasty) <= before)


# malformed requests


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n" * 10 + b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /objects HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"".join(b"H%d: %s\r\n" % (number, b"x" * 500) for number in range(100)) + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["lines", "tls", "version", "two lengths", "lengths", "negative", "name", "many headers", "long path"],
)
def test_what_is_no_request_gets_one_answer(server: Server, sent: bytes) -> None:
    came = raw(server, sent, timeout=5)
    assert came.startswith(b"HTTP/1.1 4"), came[:100]
    assert came.count(b"HTTP/1.1 ") == 1
    assert ask(server, "GET", "/health", token=None).status == 200


def test_a_refused_upload_gets_its_answer_before_the_connection_ends(server: Server) -> None:
    for size in (1000, 500_000):
        data = LARGE[:size]
        assert ask(server, "PUT", path_of(oid_of(data, "blake3")), data, token=None).status == 401
        assert ask(server, "PUT", path_of(oid_of(data, "xxh3")), data).status == 403
    # Who asks first is told at once, and sends nothing.
    head = _head(server, "PUT", path_of(oid_of(LARGE, "xxh3")), Content_Length=len(LARGE), Expect="100-continue")
    came = raw(server, head, timeout=5)
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"403"]
    head = _head(server, "PUT", path_of(oid_of(b"asked first", "blake3")), Content_Length=11, Expect="100-continue")
    came = raw(server, head + b"asked first", timeout=2)
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"100", b"201"]


def _descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_downloads_that_break_off_leave_nothing_open(server: Server) -> None:
    path = path_of(put(server, os.urandom(8_000_000)))
    ask(server, "GET", path)
    before = _descriptors(server)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(_head(server, "GET", path))
            connection.recv(1000)
    assert _eventually(lambda: _descriptors(server) <= before + 1)
    assert "Traceback" not in server.log.read_text()


# damage


def _flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("size", [1000, 1_500_000, len(LARGE)], ids=["small", "two blocks", "large"])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_flipped_byte_is_never_sent_as_the_object(server: Server, size: int, place: float) -> None:
    data = (b"%d %f " % (size, place) + LARGE)[:size]
    path = path_of(put(server, data))
    _flip(_file_of(server, oid_of(data, "blake3")), int(place * (size - 1)))
    for headers in ({}, {"Range": "bytes=0-9"}):
        try:
            answer = ask(server, "GET", path, headers=headers)
        except (OSError, HTTPException):
            continue  # cut off before the end
        assert answer.status == 404
        assert "damaged" in answer.json["error"] or "no object" in answer.json["error"]
    # It counts as missing, so that whoever has it sends it again, which mends it.
    asked = json.dumps({"oids": [oid_of(data, "blake3")]}).encode()
    assert ask(server, "POST", "/objects/exists", asked).json == {"present": []}
    assert read_frames(ask(server, "POST", "/objects/fetch", asked).body) == {oid_of(data, "blake3"): None}
    assert ask(server, "PUT", path, data).status == 201
    assert ask(server, "GET", path).body == data


def test_what_somebody_else_mends_is_here_again(server: Server) -> None:
    data = b"mended by an add on the server's machine " * 50
    oid = put(server, data)
    _flip(_file_of(server, oid), 7)
    assert ask(server, "GET", path_of(oid)).status == 404
    assert ask(server, "HEAD", path_of(oid)).status == 404
    _file_of(server, oid).write_bytes(data)
    assert ask(server, "HEAD", path_of(oid)).status == 200
    assert ask(server, "GET", path_of(oid)).body == data


def test_a_flipped_byte_in_a_pack_is_found_and_mended(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        objects = {oid_of(data, "blake3"): data for data in (b"first" * 100, b"second" * 100, b"third" * 100)}
        ask(server, "POST", "/objects/put", frames_of(objects), headers={"Content-Type": MEDIA_TYPE})
        (pack,) = (server.storage / "packs").iterdir()
        _flip(pack, pack.read_bytes().index(b"second"))
        bad = next(oid for oid, data in objects.items() if data.startswith(b"second"))
        asked = json.dumps({"oids": list(objects)}).encode()
        assert read_frames(ask(server, "POST", "/objects/fetch", asked).body) == {**objects, bad: None}
        assert ask(server, "GET", path_of(bad)).status == 404
        assert ask(server, "PUT", path_of(bad), objects[bad]).status == 201
        assert ask(server, "GET", path_of(bad)).body == objects[bad]
        assert read_frames(ask(server, "POST", "/objects/fetch", asked).body) == objects
    with running_server(tmp_path) as server:
        # The next server finds the good copy too.
        assert ask(server, "GET", path_of(bad)).body == objects[bad]


def test_a_torn_object_is_replaced_by_the_next_upload(server: Server) -> None:
    data = b"torn by a power cut " * 100
    oid = oid_of(data, "blake3")
    path = _file_of(server, oid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[:100])
    assert ask(server, "PUT", path_of(oid), data).status == 201
    assert ask(server, "GET", path_of(oid)).body == data


def test_what_others_collect_meanwhile_is_gone_here_too(tmp_path: Path) -> None:
    """The storage is a folder that commands work on as well: the server holds no truth of its own."""
    with running_server(tmp_path) as server:
        objects = {oid_of(data, "blake3"): data for data in (b"one", b"two")}
        ask(server, "POST", "/objects/put", frames_of(objects), headers={"Content-Type": MEDIA_TYPE})
        asked = json.dumps({"oids": list(objects)}).encode()
        assert len(ask(server, "POST", "/objects/exists", asked).json["present"]) == 2
        for pack in (server.storage / "packs").iterdir():
            pack.unlink()
        assert ask(server, "POST", "/objects/exists", asked).json == {"present": []}
        for oid in objects:
            assert ask(server, "HEAD", path_of(oid)).status == 404
            assert ask(server, "PUT", path_of(oid), objects[oid]).status == 201
        for folder in (server.storage / "blake3").iterdir():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        (server.storage / "blake3").rmdir()
        for oid in objects:
            assert ask(server, "HEAD", path_of(oid)).status == 404
            assert ask(server, "PUT", path_of(oid), objects[oid]).status == 201
            assert ask(server, "GET", path_of(oid)).body == objects[oid]
            assert _file_of(server, oid).exists()


def test_a_storage_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        oid = put(server, b"on the share")
        asked = json.dumps({"oids": [oid]}).encode()
        requests = [
            ("HEAD", path_of(oid), None),
            ("GET", path_of(oid), None),
            ("PUT", path_of(oid_of(b"x", "blake3")), b"x"),
            ("DELETE", path_of(oid), None),
            ("GET", "/objects", None),
            ("POST", "/objects/exists", asked),
            ("PUT", "/actions/" + "a" * 64, b"{}"),
            ("GET", "/actions/" + "a" * 64, None),
        ]
        away = server.storage.rename(tmp_path / "away")
        for made in (False, True):
            if made:
                server.storage.mkdir()
            for method, path, body in requests:
                assert ask(server, method, path, body).status == 503, (made, method, path)
        assert list(server.storage.iterdir()) == []
        server.storage.rmdir()
        away.rename(server.storage)
        assert ask(server, "GET", path_of(oid)).body == b"on the share"
        # The same storage on another file system is still the same.
        shutil.copytree(server.storage, away)
        shutil.rmtree(server.storage)
        away.rename(server.storage)
        assert ask(server, "GET", path_of(oid)).body == b"on the share"
        assert ask(server, "PUT", path_of(oid_of(b"x", "blake3")), b"x").status == 201
        assert (server.storage / "blake3" / oid_of(b"x", "blake3")[7:9]).is_dir()


def test_a_link_out_of_the_storage_is_not_followed(server: Server, tmp_path: Path) -> None:
    data = b"lies elsewhere"
    oid = oid_of(data, "blake3")
    (tmp_path / "elsewhere").write_bytes(data)
    place = _file_of(server, oid)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    assert ask(server, "GET", path_of(oid)).status in (404, 500)
    assert ask(server, "HEAD", path_of(oid)).status in (404, 500)


# memory


def _peak(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_an_object(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        put(server, os.urandom(20 << 20))
        ask(server, "GET", path_of(put(server, os.urandom(20 << 20))))
        before = _peak(server)
        data = os.urandom(400 << 20)
        oid = oid_of(data, "blake3")
        assert ask(server, "PUT", path_of(oid), data).status == 201
        assert ask(server, "GET", path_of(oid)).body == data
        asked = json.dumps({"oids": [oid]}).encode()
        assert read_frames(ask(server, "POST", "/objects/fetch", asked).body) == {oid: data}
        stream = frames_of({oid_of(data[1:], "blake3"): data[1:]})
        assert (
            ask(server, "POST", "/objects/put", stream, headers={"Content-Type": MEDIA_TYPE}).json["results"][0]["outcome"]
            == "stored"
        )
        assert _peak(server) - before < 48

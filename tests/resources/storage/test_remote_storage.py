"""What only an object store can do wrong: races between machines, sets cut short, servers that are missing or lie."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from resources.storage import open_storage, remote
from resources.storage.backends import Lost, MemoryBackend
from resources.storage.base import ABSENT, Change
from resources.storage.leftovers import machine
from resources.storage.remote import FsspecStorage
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid


@pytest.fixture
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecStorage:
    name = "".join(character for character in request.node.name if character.isalnum())
    return FsspecStorage(f"memory://{name}-{os.getpid()}-{tmp_path.name}/root", state=tmp_path / "state")


@pytest.fixture
def s3(s3_url: str, tmp_path: Path) -> FsspecStorage:
    return FsspecStorage(s3_url, state=tmp_path / "state")


def content(storage: FsspecStorage) -> dict[str, bytes]:
    return {found.path: storage.read(found.path) for found in storage.scan()}


ADDER = """
import sys
from resources.storage import open_storage
from schemas.errors import Conflict
from schemas.oid import bytes_oid
storage = open_storage(sys.argv[1])
done = 0
while done < 10:
    old = storage.read("counter")
    try:
        storage.write("counter", str(int(old) + 1).encode(), expect=bytes_oid(old))
        done += 1
    except Conflict:
        pass
"""


@pytest.mark.s3
def test_racing_writers_on_s3_lose_no_update(s3_url: str, s3: FsspecStorage) -> None:
    s3.write("counter", b"0")
    processes = [subprocess.Popen([sys.executable, "-c", ADDER, s3_url]) for _number in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    assert s3.read("counter") == b"30"


@pytest.mark.s3
def test_only_one_of_many_creates(s3: FsspecStorage) -> None:
    def create(number: int) -> bool:
        try:
            s3.write("pointer", str(number).encode(), expect=ABSENT)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert s3.read("pointer") == str(won.index(True)).encode()


@pytest.mark.s3
def test_an_answer_lost_on_the_way_is_not_a_conflict(s3: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request arrives, its answer does not; the repeated one meets our own object."""
    s3.write("probe", b"", expect=ABSENT)  # the first conditional write of a machine probes the bucket
    real = s3.backend._call  # type: ignore[attr-defined]
    calls = []

    def twice(method: str, **arguments: object) -> object:
        if method == "put_object":
            calls.append(method)
            real(method, **arguments)
        return real(method, **arguments)

    monkeypatch.setattr(s3.backend, "_call", twice)
    s3.write("f", b"one", expect=ABSENT)
    s3.write("f", b"two", expect=bytes_oid(b"one"))
    assert s3.read("f") == b"two"
    assert len(calls) == 2


@pytest.mark.s3
@pytest.mark.parametrize("ignored", ["IfMatch", "IfNoneMatch"])
def test_a_server_that_ignores_conditions_is_refused(
    s3: FsspecStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ignored: str
) -> None:
    s3.backend._kept = tmp_path / "kept"  # type: ignore[attr-defined]
    real = s3.backend._call  # type: ignore[attr-defined]

    def careless(method: str, **arguments: object) -> object:
        arguments.pop(ignored, None)
        return real(method, **arguments)

    s3.write("f", b"one")
    with monkeypatch.context() as patch:
        patch.setattr(s3.backend, "_call", careless)
        for expect in (ABSENT, bytes_oid(b"one")):
            with pytest.raises(HeadwaterError) as caught:
                s3.write("f", b"two", expect=expect)
            assert caught.value.rule == "s3-no-conditions"
    assert content(s3) == {"f": b"one"}
    assert [key for key, _size, _version in s3.backend.below("")] == ["f"], "the probe is gone"
    s3.write("f", b"two", expect=bytes_oid(b"one"))
    assert [note.name.startswith("conditions-") for note in (tmp_path / "kept").iterdir()] == [True]


@pytest.mark.s3
def test_large_files_go_up_in_parts(s3: FsspecStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs.core

    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    data = os.urandom(1 << 20) * 12
    scratch = tmp_path / "big.db"
    scratch.write_bytes(data)
    assert s3.add("objects/big", scratch, oid=bytes_oid(data)) is True
    s3.publish(scratch, "out/big.db")
    assert s3.digest("out/big.db") == s3.digest("objects/big") == bytes_oid(data)
    found = s3.stat("out/big.db")
    assert found is not None
    assert str(found.version).rstrip('"').endswith("-3"), "three parts"


@pytest.mark.s3
def test_a_listing_of_several_pages_is_complete(s3: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = s3.backend._call  # type: ignore[attr-defined]
    pages = []

    def two_at_a_time(method: str, **arguments: object) -> object:
        if method == "list_objects_v2":
            pages.append(arguments)
            arguments["MaxKeys"] = 2
        return real(method, **arguments)

    names = [f"many/{number}" for number in range(7)]
    for name in names:
        s3.write(name, b"")
    monkeypatch.setattr(s3.backend, "_call", two_at_a_time)
    assert [found.path for found in s3.scan("many")] == names
    assert len(pages) == 4


@pytest.mark.s3
def test_a_name_that_reads_like_a_version_is_refused(s3: FsspecStorage, tmp_path: Path) -> None:
    """Else s3fs would write `x` instead."""
    s3.write("x", b"precious")
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"new")
    for call in (lambda: s3.publish(scratch, "x?versionId=3"), lambda: s3.open("x?versionId=3")):
        with pytest.raises(HeadwaterError) as caught:
            call()
        assert caught.value.rule == "path-s3-version"
    assert content(s3) == {"x": b"precious"}
    assert scratch.exists()


@pytest.mark.s3
def test_folder_markers_are_no_files(s3: FsspecStorage) -> None:
    s3.backend._call("put_object", Key=s3.backend.prefix + "folder/", Body=b"")  # type: ignore[attr-defined]
    s3.write("folder/f", b"x")
    assert content(s3) == {"folder/f": b"x"}


@pytest.mark.s3
@pytest.mark.usefixtures("s3_endpoint")
def test_a_missing_bucket_is_never_an_empty_workspace(tmp_path: Path) -> None:
    storage = open_storage("s3://no-such-bucket-here/x", state=tmp_path)
    for call in (
        lambda: list(storage.scan()),
        lambda: storage.stat("f"),
        lambda: storage.read("f"),
        lambda: storage.write("f", b""),
        lambda: storage.write("f", b"", expect=bytes_oid(b"")),
        lambda: storage.digest("f"),
    ):
        with pytest.raises(HeadwaterError) as caught:
            call()
        assert caught.value.rule == "s3-bucket"


@pytest.mark.s3
def test_secrets_stay_out_of_logs_and_errors(s3: FsspecStorage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        s3.write("f", b"x")
        with pytest.raises(Conflict) as conflict:
            s3.write("f", b"y", expect=ABSENT)
        with pytest.raises(FileNotFoundError) as missing:
            s3.read("none")
    assert caplog.records
    shown = "\n".join([caplog.text, str(conflict.value), str(missing.value), repr(s3)])
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in shown


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
ASK = """
import sys
import s3fs
s3fs.S3FileSystem.retries = 1
from resources.storage import open_storage
from schemas.errors import HeadwaterError
try:
    print(getattr(open_storage("s3://bucket/x"), sys.argv[1])("f"))
except HeadwaterError as error:
    print(error.rule)
except OSError as error:
    print("OSError", error)
"""


def _ask(call: str, environment: dict[str, str], home: Path) -> str:
    """What a fresh process says; its AWS settings are these and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", ASK, call], env={**kept, **settings}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_credentials_the_error_says_so(tmp_path: Path) -> None:
    assert _ask("read", {}, tmp_path) == "s3-credentials"


def test_an_endpoint_that_is_not_there(tmp_path: Path) -> None:
    assert _ask("read", {**CREDENTIALS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, tmp_path) == "s3-unreachable"


class Liar(BaseHTTPRequestHandler):
    """Says ten bytes and sends four."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.send_header("ETag", '"x"')
        self.end_headers()
        self.wfile.write(b"four")

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def liar() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("call", ["read", "digest"])
def test_a_server_that_sends_less_than_it_said_is_an_error(liar: str, tmp_path: Path, call: str) -> None:
    said = _ask(call, {**CREDENTIALS, "AWS_ENDPOINT_URL": liar}, tmp_path)
    assert said == "s3-unreachable"


def test_an_object_store_cannot_append(memory: FsspecStorage) -> None:
    with pytest.raises(HeadwaterError) as caught:
        memory.append("history.log", b"line\n")
    assert caught.value.rule == "storage-append"


CHANGES = [Change("a", b"new a", expect=bytes_oid(b"a")), Change("b", None), Change("c", b"new c", expect=ABSENT)]
BEFORE = {"a": b"a", "b": b"b"}
AFTER = {"a": b"new a", "c": b"new c"}


class Died(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("calls", range(12))
def test_a_set_cut_short_is_completed_by_the_next_command(
    memory: FsspecStorage, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Die before the nth changing call of a commit: nothing was changed yet, or recover completes it."""
    for path, data in BEFORE.items():
        memory.write(path, data)
    left = [calls]

    def dying(real: object) -> object:
        def call(*arguments: object, **named: object) -> object:
            if left[0] == 0:
                raise Died
            left[0] -= 1
            return real(*arguments, **named)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(memory.backend, "put", dying(memory.backend.put))
        patch.setattr(memory.backend, "delete", dying(memory.backend.delete))
        try:
            memory.commit(CHANGES, label="edit of three")
            assert calls >= 9, "a commit makes fewer changing calls than this"
        except Died:
            pass
    written = memory.backend.head(_intent(memory)) is not None if _intent(memory) else False
    monkeypatch.setattr(remote, "is_alive", lambda pid: False)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    lines = memory.recover()
    assert lines == (["completed: edit of three"] if written else [])
    assert content(memory) == (BEFORE if calls < 3 else AFTER)
    assert memory.recover() == []


def _intent(storage: FsspecStorage) -> str:
    keys = [key for key, _size, _version in storage.backend.below(".headwater/intents/") if key.endswith("intent.json")]
    return keys[0] if keys else ""


def test_a_set_of_a_living_process_is_left_to_it(memory: FsspecStorage) -> None:
    memory.write("a", b"a")

    def put(storage: FsspecStorage, name: str, **facts: object) -> None:
        record = {
            "format": 1,
            "label": name,
            "machine": machine(),
            "pid": os.getppid(),
            "created": time.time(),
            "steps": [],
        } | facts
        storage.backend.put(f".headwater/intents/{name}/intent.json", json.dumps(record).encode())

    put(memory, "1-alive")
    put(memory, "2-elsewhere", machine="other")
    put(memory, "3-abandoned", machine="other", created=time.time() - 3600)
    put(memory, "4-newer", format=2)
    assert memory.recover() == ["completed: 3-abandoned"]
    names = [key.split("/")[2] for key, _size, _version in memory.backend.below(".headwater/intents/")]
    assert names == ["1-alive", "2-elsewhere", "4-newer"]


def test_bytes_staged_by_a_killed_commit_are_swept(memory: FsspecStorage) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    memory.write("a", b"a")
    now = time.time_ns()
    names = {
        "dead": f"{now:020d}-{machine()}-{ended.pid}",
        "alive": f"{now:020d}-{machine()}-{os.getppid()}",
        "elsewhere": f"{now:020d}-00000000-1",
        "long ago elsewhere": f"{now - 48 * 3600 * 10**9:020d}-00000000-1",
        "concluded": f"{now:020d}-{machine()}-{ended.pid}9",
        "somebody's": "notes",
    }
    for name in names.values():
        memory.backend.put(f".headwater/intents/{name}/0", b"staged")
        memory.backend.put(f".headwater/intents/{name}/1", b"staged")
    memory.backend.put(f".headwater/intents/{names['concluded']}/intent.json", b"{}")
    memory.sweep(enter=lambda _folder: False)
    left = {key.split("/")[2] for key, _size, _version in memory.backend.below(".headwater/intents/")}
    assert left == {names[which] for which in ("alive", "elsewhere", "concluded", "somebody's")}
    assert content(memory) == {"a": b"a"}


def test_recovery_leaves_what_others_changed_since(memory: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, data in BEFORE.items():
        memory.write(path, data)
    with monkeypatch.context() as patch:
        patch.setattr(remote._Step, "apply", lambda self, backend: (_ for _ in ()).throw(Died()))
        with pytest.raises(Died):
            memory.commit(CHANGES, label="edit of three")
    memory.write("a", b"somebody else's")
    monkeypatch.setattr(remote, "is_alive", lambda pid: False)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert memory.recover() == ["completed: edit of three", "a: was changed since, and is left as it is"]
    assert content(memory) == {"a": b"somebody else's", "c": b"new c"}


def test_a_race_in_the_middle_of_a_set_rolls_it_back(memory: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, data in BEFORE.items():
        memory.write(path, data)
    real = MemoryBackend.put

    def put(self: MemoryBackend, key: str, data: bytes, *, match: str | None = None, absent: bool = False) -> str:
        if key == "c" and absent:
            raise Lost
        return real(self, key, data, match=match, absent=absent)

    monkeypatch.setattr(MemoryBackend, "put", put)
    with pytest.raises(Conflict) as caught:
        memory.commit(CHANGES, label="edit of three")
    assert caught.value.path == "c"
    assert content(memory) == BEFORE
    assert memory.recover() == []

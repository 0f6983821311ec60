"""The HTTP remote against a real object server, and against one whose answers are spoiled on the way."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import resources.remotes.http as http
from resources import packed
from resources.packed import PackedObjects
from resources.remotes.credentials import INSECURE
from resources.remotes.http import HttpRemote
from resources.remotes.retries import ATTEMPTS
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid
from tests.dvs_server import Server, running_server
from tests.fault_proxy import Answer, Fault, Proxy, busy, dripping, fault_proxy, flipped, redirected, replaced, reset, truncated
from tests.resources.remotes.test_store_remote import full_once

LARGE = [os.urandom(300_000), os.urandom(1_500_000)]
SMALL = [b"", b"x", *(b"%d" % number * 40 for number in range(200))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with fault_proxy(server.port) as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    import tenacity

    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: lambda _state: 0.01)


class Told:
    """What became of each object."""

    def __init__(self) -> None:
        self.errors: dict[str, HeadwaterError | None] = {}
        self.thread = threading.get_ident()

    def __call__(self, oid: str, error: HeadwaterError | None) -> None:
        assert threading.get_ident() == self.thread
        assert oid not in self.errors
        self.errors[oid] = error

    def rules(self) -> dict[str, str | None]:
        return {oid: None if error is None else error.rule for oid, error in self.errors.items()}


_OPENED: list[PackedObjects] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


def store(folder: Path, *contents: bytes) -> PackedObjects:
    made = PackedObjects(LocalStorage(folder / "objects", state=folder / "state"), folder / "scratch")
    with made.batch() as batch:
        for data in contents:
            batch.put(data)
    _OPENED.append(made)
    return made


def remote(url: str, folder: Path, token: str | None) -> HttpRemote:
    return HttpRemote(url, folder / "way", token=token)


def sizes_of(contents: list[bytes]) -> dict[str, int]:
    return {bytes_oid(data): len(data) for data in contents}


def test_objects_go_there_and_come_back(server: Server, tmp_path: Path) -> None:
    contents = [*SMALL, *LARGE]
    sizes = sizes_of(contents)
    source, target = store(tmp_path / "one", *contents), store(tmp_path / "two")
    there = remote(server.url, tmp_path, server.token)
    missing = "blake3:" + "0" * 64
    assert there.present([*sizes, missing]) == set()
    told = Told()
    there.put(dict.fromkeys(sizes, source), sizes, told)
    assert told.rules() == dict.fromkeys(sizes)
    assert there.present([*sizes, missing]) == sizes.keys()
    told = Told()
    there.fetch([*sizes, missing], {**sizes, missing: 5}, target, told)
    assert told.rules() == {**dict.fromkeys(sizes), missing: "dvs-storage-missing"}
    for data in contents:
        assert target.get(bytes_oid(data)) == data
    assert list((tmp_path / "way/partial").iterdir()) == []
    first = there.identity(make=False)
    assert first
    assert remote(server.url, tmp_path, None).identity(make=True) == first
    there.close()


def test_rights_are_the_servers_and_the_message_says_what_to_do(server: Server, tmp_path: Path) -> None:
    source = store(tmp_path / "one", b"reader writes")
    oid = bytes_oid(b"reader writes")
    told = Told()
    remote(server.url, tmp_path, server.read_token).put({oid: source}, {oid: 13}, told)
    assert told.rules() == {oid: "dvs-permission-denied"}
    for token in (None, "wrong"):
        with pytest.raises(HeadwaterError) as caught:
            remote(server.url, tmp_path, token).present([oid])
        assert caught.value.rule == "dvs-permission-denied"
        assert f"headwater cache login {server.url}" in (caught.value.fix or "")


def test_a_damaged_source_is_not_sent(server: Server, tmp_path: Path) -> None:
    data = os.urandom(200_000)
    oid = bytes_oid(data)
    source = store(tmp_path / "one", data)
    path = tmp_path / "one/objects" / source.files.path(oid)
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"?")
    told = Told()
    there = remote(server.url, tmp_path, server.token)
    there.put({oid: source}, {oid: len(data)}, told)
    assert told.rules() == {oid: "object-rotten"}
    assert there.present([oid]) == set()


PASSING = {
    "reset": reset(),
    "reset in the middle": reset(0.6),
    "cut off": truncated(),
    "429 with a pause": busy(429, "0"),
    "503": busy(503),
    "502": busy(502),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
@pytest.mark.parametrize("data", [b"small %d", LARGE[0]], ids=["small", "large"])
def test_what_may_pass_is_tried_again_both_ways(server: Server, proxy: Proxy, tmp_path: Path, fault: Fault, data: bytes) -> None:
    data += os.urandom(8)
    oid, sizes = bytes_oid(data), sizes_of([data])
    there = remote(proxy.url, tmp_path, server.token)
    proxy.faults = [fault] * (ATTEMPTS - 1)
    told = Told()
    there.put({oid: store(tmp_path / "one", data)}, sizes, told)
    assert told.rules() == {oid: None}
    assert len(proxy.faults) < ATTEMPTS - 1
    proxy.faults = [fault] * (ATTEMPTS - 1)
    told, target = Told(), store(tmp_path / "two")
    there.fetch([oid], sizes, target, told)
    assert told.rules() == {oid: None}
    assert proxy.faults == []
    assert target.get(oid) == data


def test_it_gives_up_after_some_attempts_and_says_why(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    oid = bytes_oid(data)
    proxy.faults = [busy(503)] * 50
    told = Told()
    remote(proxy.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, {oid: len(data)}, told)
    assert told.rules() == {oid: "dvs-io-error"}
    assert "503" in str(told.errors[oid])
    assert len(proxy.requests) == ATTEMPTS


def test_a_download_that_broke_off_goes_on_where_it_stopped_also_in_another_command(
    server: Server, proxy: Proxy, tmp_path: Path
) -> None:
    data = os.urandom(2_000_000)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    target = store(tmp_path / "two")
    # The first answers bring something each, so they are not counted as failures; then nothing comes any more.
    proxy.faults = [truncated(0.3), truncated(0.3), *[reset()] * ATTEMPTS]
    told = Told()
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, told)
    assert told.rules() == {oid: "dvs-io-error"}
    (partial,) = (tmp_path / "way/partial").iterdir()
    have = partial.stat().st_size
    assert 0.4 * len(data) < have < 0.6 * len(data)
    proxy.requests.clear()
    told = Told()
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, told)
    assert told.rules() == {oid: None}
    assert target.get(oid) == data
    assert [request for request in proxy.requests if f"bytes={have}-" in request]
    assert list((tmp_path / "way/partial").iterdir()) == []


def test_what_changed_between_two_stretches_is_fetched_anew(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    data = os.urandom(500_000)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    partial = tmp_path / "way/partial" / oid.replace(":", "-")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"\0" * 200_000)  # of another version, or torn by a power cut
    told, target = Told(), store(tmp_path / "two")
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, told)
    assert told.rules() == {oid: None}
    assert target.get(oid) == data
    assert len([request for request in proxy.requests if "/objects/blake3" in request]) == 2
    partial.write_bytes(data + b"too long")
    target = store(tmp_path / "three")
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, Told())
    assert target.get(oid) == data


@pytest.mark.parametrize("size", [20, 400_000], ids=["small", "large"])
def test_wrong_bytes_are_never_kept(server: Server, proxy: Proxy, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    proxy.faults = [flipped(0.7)] * 50
    told, target = Told(), store(tmp_path / "two")
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, told)
    assert told.rules()[oid] in ("oid-mismatch", "dvs-io-error", "dvs-remote-refused", "frames", "oid-malformed")
    assert not target.has(oid)
    proxy.faults = []
    told = Told()
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, target, told)
    assert told.rules() == {oid: None}
    assert target.get(oid) == data


def test_a_server_that_drips_is_given_up(server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(100_000)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    monkeypatch.setattr(http, "_PATIENCE", 0.2)
    monkeypatch.setattr(http, "_SLOWEST", 1 << 30)
    monkeypatch.setattr(http, "_BLOCK", 1)
    proxy.faults = [dripping(0.05, 2_000)] * 200
    began = time.monotonic()
    told = Told()
    remote(proxy.url, tmp_path, server.token).fetch([oid], sizes, store(tmp_path / "two"), told)
    took = time.monotonic() - began
    assert told.rules() == {oid: "dvs-io-error"}
    assert "too slow" in str(told.errors[oid])
    assert took < 30


def test_a_redirect_is_not_followed(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    with fault_proxy(server.port) as elsewhere:
        proxy.faults = [redirected(elsewhere.url + "/objects/exists")]
        with pytest.raises(HeadwaterError) as caught:
            remote(proxy.url, tmp_path, server.token).present(["blake3:" + "0" * 64])
        assert caught.value.rule == "dvs-remote-redirect"
        assert elsewhere.requests == []


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"{}", b'{"present": 3}', b'{"present": [{"oid": 3}]}', b"\xff"])
def test_what_is_no_object_server_is_said_to_be_none(server: Server, proxy: Proxy, tmp_path: Path, body: bytes) -> None:
    oid = "blake3:" + "0" * 64
    proxy.faults = [replaced(body)] * ATTEMPTS
    there = remote(proxy.url, tmp_path, server.token)
    if body == b'{"present": [{"oid": 3}]}':
        assert there.present([oid]) == set()
    else:
        with pytest.raises(HeadwaterError) as caught:
            there.present([oid])
        assert caught.value.rule == "dvs-remote-refused"
    proxy.faults = [replaced(body)] * ATTEMPTS
    told = Told()
    data = b"to be sent"
    there.put({bytes_oid(data): store(tmp_path / "one", data)}, sizes_of([data]), told)
    assert told.rules() == {bytes_oid(data): "dvs-remote-refused"}


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9 cannot be reached"):
        remote("http://127.0.0.1:9", tmp_path, None).present(["blake3:" + "0" * 64])


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://example.org", "dvs-remote-insecure"),
        ("https://user:secret@example.org", "url-malformed"),
        ("https://example.org?token=1", "url-malformed"),
        ("ftp://example.org", "url-malformed"),
        ("https://", "url-malformed"),
    ],
)
def test_urls_that_would_leak_a_token_are_refused(url: str, rule: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        HttpRemote(url, tmp_path)
    assert caught.value.rule == rule
    assert "secret" not in str(caught.value)


def test_plain_http_in_a_trusted_network_is_allowed_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSECURE, "1")
    assert HttpRemote("http://example.org/", tmp_path).url == "http://example.org"


def test_records_of_actions_are_kept_and_listed(server: Server, tmp_path: Path) -> None:
    there = remote(server.url, tmp_path, server.token)
    names = [bytes_oid(b"%d" % number) for number in range(3)]
    assert there.action(names[0]) is None
    for name in names:
        there.put_action(name, b'{"format":1}')
    there.put_action(names[0], b'{"format":2}')
    assert there.action(names[0]) == b'{"format":2}'
    assert [one for one in there.actions() if one in names] == sorted(names)


def test_a_drip_is_given_up_whatever_the_length_of_a_block(
    server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(100_000)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    monkeypatch.setattr(http, "_PATIENCE", 0.2)
    monkeypatch.setattr(http, "_SLOWEST", 1 << 30)
    drips = [dripping(0.05, 100)] * 100
    proxy.faults = list(drips)
    there = remote(proxy.url, tmp_path, server.token)
    began = time.monotonic()
    told = Told()
    there.fetch([oid], sizes, store(tmp_path / "two"), told)
    assert "too slow" in str(told.errors[oid])
    proxy.faults = [refusal_that_drips] * 100
    with pytest.raises((HeadwaterError, OSError)):
        there.present([oid])
    assert time.monotonic() - began < 15


def refusal_that_drips(answer: Answer) -> None:
    """An error whose text comes a byte at a time and does not end."""
    answer.client.sendall(b"HTTP/1.1 500 Error\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(200):
        answer.client.sendall(b"x")
        time.sleep(0.05)


def test_transfers_that_were_given_up_leave_the_connections_to_the_next(
    server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3_000_000)
    oid, sizes = bytes_oid(data), sizes_of([data])
    remote(server.url, tmp_path, server.token).put({oid: store(tmp_path / "one", data)}, sizes, Told())
    monkeypatch.setattr(http, "_PATIENCE", -1.0)
    monkeypatch.setattr(http, "_SLOWEST", 1 << 40)
    there = HttpRemote(proxy.url, tmp_path / "way", token=server.token, workers=2)
    target = store(tmp_path / "two")
    done = threading.Event()

    def many() -> None:
        for _ in range(3):
            shutil.rmtree(tmp_path / "way", ignore_errors=True)
            with suppress(HeadwaterError, OSError):
                there.fetch([oid], sizes, target, lambda _oid, _error: None)
        done.set()

    threading.Thread(target=many, daemon=True).start()
    assert done.wait(60)


def test_more_bytes_than_an_object_has_are_not_taken(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    oid = bytes_oid(data)
    sent: list[int] = []

    def endless(answer: Answer) -> None:
        answer.client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n")
        with suppress(OSError):
            for number in range(2_000):
                answer.client.sendall(bytes(100_000))
                sent.append(number)

    proxy.faults = [endless] * 50
    told = Told()
    remote(proxy.url, tmp_path, server.token).fetch([oid], {oid: len(data)}, store(tmp_path / "two"), told)
    assert told.rules() == {oid: "oid-mismatch"}
    with pytest.raises(HeadwaterError):
        remote(proxy.url, tmp_path, server.token).download(oid, tmp_path / "file", len(data))
    assert sum(1 for _ in sent) < 1_000
    assert list((tmp_path / "way/partial").iterdir()) == []


@pytest.mark.parametrize("token", ["sec\nret", "sec ret", "secr\u00e9t", "\u2019secret", "sec\x00ret"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(server: Server, tmp_path: Path, token: str) -> None:
    with pytest.raises(HeadwaterError) as caught:
        remote(server.url, tmp_path, token).present(["blake3:" + "0" * 64])
    assert caught.value.rule == "token-malformed"
    assert "ret" not in caught.value.message.replace("characters", "")


def test_a_line_feed_behind_a_token_is_none_of_it(server: Server, tmp_path: Path) -> None:
    assert remote(server.url, tmp_path, f"{server.token}\n").present(["blake3:" + "0" * 64]) == set()


def test_what_lay_in_a_pack_that_could_not_be_kept_is_not_told_to_have_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [b"kept or not %d" % number * 100 for number in range(30)]
    sizes = sizes_of(contents)
    there = remote(server.url, tmp_path, server.token)
    there.put(dict.fromkeys(sizes, store(tmp_path / "one", *contents)), sizes, Told())
    target = store(tmp_path / "two")
    monkeypatch.setattr(packed, "PACK_BYTES", 4_000)
    full_once(monkeypatch, target.storage, 0)
    told = Told()
    there.fetch(sizes, sizes, target, told)
    assert told.errors.keys() == sizes.keys()
    assert {oid for oid, error in told.errors.items() if error is None} <= target.present(sizes)
    assert "dvs-io-error" in told.rules().values()

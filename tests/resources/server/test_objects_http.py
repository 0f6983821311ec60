"""Objects over HTTP, against a real server process: kept, found, read in whole and in part, listed, deleted."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import encoding
from resources.dvs.audit import AuditLog
from resources.dvs.leases import hold, leases
from resources.packed import PackedObjects
from resources.server.frames import END, MEDIA_TYPE, FrameReader, Head
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of
from tests.dvs_server import Server, running_server
from tests.resources.server.client import Answer, ask, path_of, put

SMALL = b"a line that is said again and again\n"
LARGE = os.urandom(3_000_001)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def _leftovers(server: Server) -> list[str]:
    return [path.name for path in server.storage.rglob("*") if path.name.endswith(".hwtmp")]


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE], ids=["empty", "byte", "small", "large"])
def test_case_47_put_exists_get_delete(server: Server, data: bytes, algorithm: str) -> None:
    oid = oid_of(data, algorithm)
    assert ask(server, "HEAD", path_of(oid)).status == 404
    assert ask(server, "GET", path_of(oid)).status == 404
    first = ask(server, "PUT", path_of(oid), data)
    assert (first.status, first.json) == (201, {"oid": oid, "outcome": "stored"})
    again = ask(server, "PUT", path_of(oid), data)
    assert (again.status, again.json) == (200, {"oid": oid, "outcome": "present"})
    head = ask(server, "HEAD", path_of(oid))
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
    answer = ask(server, "GET", path_of(oid))
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, data, f'"{oid}"')
    assert answer.headers["content-type"] == "application/octet-stream"
    assert ask(server, "DELETE", path_of(oid)).status == 204
    assert ask(server, "DELETE", path_of(oid)).status == 404
    assert ask(server, "GET", path_of(oid)).status == 404
    assert not _leftovers(server)


def test_case_47_stats_count_objects_and_bytes(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        assert ask(server, "GET", "/status", token=None).json["object_count"] == 0
        put(server, SMALL)
        put(server, LARGE)
        put(server, LARGE)
        status = ask(server, "GET", "/status", token=None).json
        assert (status["object_count"], status["storage_used"]) == (2, len(SMALL) + len(LARGE))
        assert ask(server, "DELETE", path_of(oid_of(SMALL, "blake3"))).status == 204
        status = ask(server, "GET", "/status", token=None).json
        assert (status["object_count"], status["storage_used"]) == (1, len(LARGE))
        assert status["uptime_secs"] >= 0
        assert status["version"]
        assert ask(server, "GET", "/health", token=None).json == {"status": "ok"}


def test_what_was_put_is_what_packed_objects_read(server: Server, tmp_path: Path) -> None:
    oids = [put(server, data) for data in (b"one", LARGE[:100_000])]
    store = PackedObjects(LocalStorage(server.storage, state=tmp_path / "state"), tmp_path / "scratch")
    try:
        assert [store.get(oid) for oid in oids] == [b"one", LARGE[:100_000]]
    finally:
        store.close()
    mode = (server.storage / "blake3" / oids[0][7:9] / oids[0][9:]).stat().st_mode
    assert mode & 0o777 == 0o444


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_other_bytes_than_the_oid_names_are_refused(server: Server, data: bytes) -> None:
    oid = oid_of(b"quite another text", "blake3")
    answer = ask(server, "PUT", path_of(oid), data)
    assert answer.status == 400
    assert "not those of" in answer.json["error"]
    assert answer.json["fix"]
    assert ask(server, "HEAD", path_of(oid)).status == 404
    good = put(server, b"good " + data)
    # What is there already is still compared with what comes.
    assert ask(server, "PUT", path_of(good), data).status == 400
    assert ask(server, "GET", path_of(good)).body == b"good " + data
    assert not _leftovers(server)


@pytest.mark.parametrize("compressible", [True, False])
def test_a_body_may_come_compressed(server: Server, compressible: bool) -> None:
    from backports import zstd

    data = SMALL * 100_000 if compressible else LARGE[::-1]
    oid = oid_of(data, "blake3")
    sent = zstd.compress(data, level=1)
    zipped = {"Content-Encoding": "zstd"}
    assert ask(server, "PUT", path_of(oid), sent[:-3], headers=zipped).status == 400
    assert ask(server, "PUT", path_of(oid), sent + b"more", headers=zipped).status == 400
    assert ask(server, "PUT", path_of(oid), sent + sent, headers=zipped).status == 400
    assert ask(server, "PUT", path_of(oid), b"no frame", headers=zipped).status == 400
    assert ask(server, "PUT", path_of(oid), sent, headers=zipped).status == 201
    assert ask(server, "GET", path_of(oid)).body == data
    assert ask(server, "PUT", path_of(oid), sent, headers={"Content-Encoding": "gzip"}).status == 415
    assert not _leftovers(server)


def test_more_than_the_cap_is_refused_declared_or_counted(tmp_path: Path) -> None:
    with running_server(tmp_path, "--max-upload", "64KiB") as server:
        data = b"x" * (64 * 1024)
        more = data + b"x"
        assert ask(server, "PUT", path_of(oid_of(data, "blake3")), data).status == 201
        path = path_of(oid_of(more, "blake3"))
        assert ask(server, "PUT", path, more).status == 413
        assert ask(server, "PUT", path, iter([more[:1000], more[1000:]])).status == 413
        bomb = encoding.compressed(b"\0" * 50_000_000)
        assert bomb is not None
        assert ask(server, "PUT", path_of(oid_of(b"", "blake3")), bomb, headers={"Content-Encoding": "zstd"}).status == 413
        assert not _leftovers(server)


def test_xxh3_is_refused_unless_it_is_allowed(server: Server, tmp_path: Path) -> None:
    path = path_of(oid_of(SMALL, "xxh3"))
    answer = ask(server, "PUT", path, SMALL)
    assert answer.status == 403
    assert "rehash --to blake3" in answer.json["fix"]
    with running_server(tmp_path, "--allow-xxh3") as other:
        assert ask(other, "PUT", path, SMALL).status == 201
        assert ask(other, "GET", path).body == SMALL


@pytest.mark.parametrize(
    "bad",
    [
        "blake3/" + "A" * 64,
        "blake3/" + "a" * 63,
        "blake3/" + "a" * 65,
        "md5/" + "a" * 32,
        "xxh3/" + "a" * 64,
        "blake3/..%2f..%2f..%2fetc%2fpasswd",
        "blake3/%2e%2e",
        "..%2f..%2fetc/passwd",
        "BLAKE3/" + "a" * 64,
        "blake3/" + "a" * 63 + "%00",
        "blake3/" + "%61" * 63 + "g",
    ],
)
def test_case_56_what_is_no_oid_is_refused(server: Server, bad: str) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = ask(server, method, f"/objects/{bad}", b"x" if method == "PUT" else None)
        assert answer.status in (400, 404)
    assert ask(server, "GET", f"/objects/{bad.replace('%2f', '/')}").status in (400, 404)


def test_a_query_string_means_nothing_on_an_object(server: Server) -> None:
    oid = put(server, b"with a query")
    assert ask(server, "GET", path_of(oid) + "?x=1&token=abc").body == b"with a query"


@pytest.mark.parametrize("data", [SMALL * 10, LARGE], ids=["small", "large"])
def test_ranges(server: Server, data: bytes) -> None:
    path = path_of(put(server, data))
    size = len(data)
    for asked, start, stop in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, size),
        (f"bytes=100-{size + 500}", 100, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=-{size * 2}", 0, size),
        (f"bytes={size - 1}-", size - 1, size),
    ]:
        answer = ask(server, "GET", path, headers={"Range": asked})
        assert (answer.status, answer.body) == (206, data[start:stop]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)
    for asked in (f"bytes={size}-", "bytes=-0", f"bytes={10**17}-"):
        answer = ask(server, "GET", path, headers={"Range": asked})
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    # What is no single range gets the whole: RFC 9110 section 14.2 lets a server pass over it.
    for asked in ("bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=0-1," * 2000 + "2-3"):
        answer = ask(server, "GET", path, headers={"Range": asked})
        assert (answer.status, answer.body) == (200, data), asked[:20]


def test_if_range_and_if_none_match(server: Server) -> None:
    oid = put(server, b"known already")
    path = path_of(oid)
    assert ask(server, "GET", path, headers={"Range": "bytes=0-1", "If-Range": f'"{oid}"'}).status == 206
    assert ask(server, "GET", path, headers={"Range": "bytes=0-1", "If-Range": '"another"'}).status == 200
    for given in (f'"{oid}"', f'"x", W/"{oid}"', "*"):
        answer = ask(server, "GET", path, headers={"If-None-Match": given})
        assert (answer.status, answer.body) == (304, b"")
    assert ask(server, "GET", path, headers={"If-None-Match": '"x"'}).status == 200


def test_exists(server: Server) -> None:
    here = [put(server, f"here {number}".encode()) for number in range(3)]
    gone = [oid_of(f"not here {number}".encode(), "sha256") for number in range(3)]
    answer = ask(server, "POST", "/objects/exists", json.dumps({"oids": [*gone, *here, here[0]]}).encode())
    assert answer.json == {"present": [{"oid": oid, "size": 6} for oid in here]}
    assert ask(server, "POST", "/objects/exists", b'{"oids": []}').json == {"present": []}
    for bad in (b"", b"[]", b'{"oids": {}}', b'{"oids": [1]}', b'{"oids": ["../x"]}', b"[" * 100_000, b"\xff"):
        assert ask(server, "POST", "/objects/exists", bad).status == 400
    many = {"oids": [f"blake3:{number:064x}" for number in range(10_001)]}
    assert ask(server, "POST", "/objects/exists", json.dumps(many).encode()).status == 413
    many["oids"].pop()
    assert ask(server, "POST", "/objects/exists", json.dumps(many).encode()).json == {"present": []}


def frames_of(objects: dict[str, bytes]) -> bytes:
    return b"".join(Head(oid, len(data)).to_line() + data for oid, data in objects.items()) + END


def read_frames(body: bytes) -> dict[str, bytes | None]:
    """oid -> bytes, None for missing ones."""
    reader, found, head, pieces = FrameReader(), {}, None, b""
    for event in reader.feed(body):
        if isinstance(event, Head):
            head, pieces = event, b""
        elif event is None:
            assert head is not None
            found[head.oid] = None if head.missing else pieces
        else:
            pieces += event
    reader.finish()
    return found


def _stream(server: Server, body: bytes, **more: str) -> Answer:
    return ask(server, "POST", "/objects/put", body, headers={"Content-Type": MEDIA_TYPE, **more})


def test_many_objects_go_up_and_come_down_in_streams(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        data = [os.urandom(number * 7) for number in range(300)] + [os.urandom(64 << 10), os.urandom(2_500_000)]
        objects = {oid_of(one, "blake3" if number % 2 else "sha256"): one for number, one in enumerate(data)}
        answer = _stream(server, frames_of(objects))
        assert answer.json == {"results": [{"oid": oid, "outcome": "stored"} for oid in objects]}
        assert len(list((server.storage / "packs").iterdir())) == 1
        again = _stream(server, frames_of(objects)).json["results"]
        assert {row["outcome"] for row in again} == {"present"}
        missing = oid_of(b"not there", "blake3")
        asked = json.dumps({"oids": [missing, *objects, missing]}).encode()
        came = ask(server, "POST", "/objects/fetch", asked)
        assert came.headers["content-type"] == MEDIA_TYPE
        assert read_frames(came.body) == {**objects, missing: None}
        assert ask(server, "POST", "/objects/exists", asked).json["present"] == [
            {"oid": oid, "size": len(one)} for oid, one in objects.items()
        ]
        assert ask(server, "GET", "/status", token=None).json["object_count"] == len(objects)
        some = next(oid for oid, one in objects.items() if len(one) == 70)
        answer = ask(server, "GET", path_of(some), headers={"Range": "bytes=10-19"})
        assert (answer.status, answer.body) == (206, objects[some][10:20])
        # One that lies in a pack can be removed too, and nothing else goes with it.
        assert ask(server, "DELETE", path_of(some)).status == 204
        left = read_frames(ask(server, "POST", "/objects/fetch", asked).body)
        assert left == {**objects, missing: None, some: None}


def test_a_wrong_object_in_a_stream_is_refused_alone(server: Server) -> None:
    good = {oid_of(data, "blake3"): data for data in (b"first of three", b"third of three")}
    first, third = good
    wrong = oid_of(b"second of three", "blake3")
    weak = oid_of(b"weak", "xxh3")
    large = oid_of(b"large and wrong", "sha256")
    body = frames_of({first: good[first], wrong: b"other", weak: b"weak", large: LARGE, third: good[third]})
    results = _stream(server, body).json["results"]
    assert [(row["oid"], row["outcome"]) for row in results] == [
        (first, "stored"),
        (wrong, "refused"),
        (weak, "refused"),
        (large, "refused"),
        (third, "stored"),
    ]
    assert "not those of" in results[1]["error"]
    assert "xxh3" in results[2]["error"]
    assert [ask(server, "GET", path_of(oid)).body for oid in good] == list(good.values())
    assert [ask(server, "HEAD", path_of(oid)).status for oid in (wrong, weak, large)] == [404] * 3
    assert not _leftovers(server)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no json\n",
        b'{"oid":"blake3:aa","size":1}\nx',
        b'{"size":1}\nx',
        b'{"end":false}\n',
        END + b"more",
        b'{"oid":"blake3:' + b"a" * 64 + b'","size":-1}\n' + END,
        b'{"oid":"blake3:' + b"a" * 64 + b'","size":1e9}\n' + END,
        b'{"oid":"blake3:' + b"a" * 64 + b'"}\n' + END,
        b'{"oid":"' + b"a" * 10_000,
        b"[" * 3000 + b"\n",
    ],
)
def test_a_stream_that_cannot_be_read_keeps_nothing(server: Server, broken: bytes) -> None:
    data = b"kept only if the stream ends well" + broken
    oid = oid_of(data, "blake3")
    answer = _stream(server, frames_of({oid: data})[: -len(END)] + broken)
    assert answer.status == 400, answer
    assert ask(server, "HEAD", path_of(oid)).status == 404
    assert not _leftovers(server)


def test_a_stream_needs_its_content_type(server: Server) -> None:
    assert ask(server, "POST", "/objects/put", END, headers={"Content-Type": "text/plain"}).status == 415
    assert _stream(server, END).json == {"results": []}


def test_the_listing_comes_in_pages_of_every_layout(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    with running_server(tmp_path, "--allow-xxh3") as server:
        data = [f"object {number}".encode() for number in range(60)]
        oids = {oid_of(one, ("blake3", "sha256", "xxh3")[number % 3]): one for number, one in enumerate(data)}
        loose = dict(list(oids.items())[:30])
        for oid, one in loose.items():
            assert ask(server, "PUT", path_of(oid), one).status == 201
        _stream(server, frames_of(dict(list(oids.items())[20:])))
        old = oid_of(b"of the third generation", "blake3")
        (storage / old[7:9]).mkdir(exist_ok=True)
        (storage / old[7:9] / old[9:]).write_bytes(b"of the third generation")
        zipped = oid_of(SMALL * 50, "blake3")
        (storage / "blake3" / zipped[7:9]).mkdir(exist_ok=True)
        (storage / "blake3" / zipped[7:9] / f"{zipped[9:]}.zst").write_bytes(encoding.compressed(SMALL * 50) or b"")
        (storage / "blake3" / "zz").mkdir()
        (storage / "blake3" / "zz" / "stranger").write_bytes(b"")
        expected = {**{oid: len(one) for oid, one in oids.items()}, old: 23, zipped: len(SMALL) * 50}
        # How long it is takes unfolding it: the listing does not, until somebody asked for the object.
        assert {row["oid"]: row["size"] for row in ask(server, "GET", "/objects").json["objects"]}[zipped] is None
        question = json.dumps({"oids": [zipped]}).encode()
        assert ask(server, "POST", "/objects/exists", question).json == {"present": [{"oid": zipped, "size": None}]}
        assert ask(server, "HEAD", path_of(zipped)).headers["content-length"] == str(len(SMALL) * 50)
        assert ask(server, "POST", "/objects/exists", question).json == {"present": [{"oid": zipped, "size": len(SMALL) * 50}]}
        assert ask(server, "GET", path_of(zipped)).body == SMALL * 50
        assert ask(server, "GET", path_of(old)).body == b"of the third generation"
        assert ask(server, "GET", path_of(zipped), headers={"Range": "bytes=36-71"}).body == SMALL
        for limit in (1, 7, 1000):
            found: list[tuple[str, int]] = []
            after, pages = "", 0
            while True:
                page = ask(server, "GET", f"/objects?limit={limit}" + (f"&after={after}" if after else "")).json
                found += [(row["oid"], row["size"]) for row in page["objects"]]
                pages += 1
                assert len(page["objects"]) <= limit
                if page["next"] is None:
                    break
                after = page["next"]
            assert found == sorted(expected.items()), limit
            assert pages <= len(expected) // limit + 1
        for bad in ("limit=0", "limit=x", "limit=10001", "after=x", "after=blake3:..", "limit=", "x=1&" * 100, "limit=%D9%A1"):
            assert ask(server, "GET", f"/objects?{bad}").status == 400


def test_what_is_deleted_is_said_in_the_audit_log_and_waits_for_commands(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        oid = put(server, b"to be deleted")
        storage = LocalStorage(server.storage, state=tmp_path / "state")
        with hold(storage, "add", "ann"):
            answer = ask(server, "DELETE", path_of(oid))
            assert (answer.status, "ann is running" in answer.json["error"]) == (503, True)
            assert answer.headers["retry-after"]
        assert list(AuditLog(storage).records()) == []
        assert ask(server, "DELETE", path_of(oid)).status == 204
        (record,) = AuditLog(storage).records()
        assert (record.operation, record.user, dict(record.files)) == ("remove", "writer", {oid: oid})
        assert AuditLog(storage).verify() == (1, [])
        assert leases(storage) == []
        # None of this counts as an object.
        assert ask(server, "GET", "/objects").json == {"objects": [], "next": None}
        assert ask(server, "GET", "/status", token=None).json["object_count"] == 0


def test_actions(server: Server) -> None:
    fingerprint = "blake3:" + "ab" * 32
    path = f"/actions/{fingerprint}"
    assert ask(server, "GET", path).status == 404
    assert ask(server, "HEAD", path).status == 404
    record = b'{"format": 1, "outputs": []}'
    assert ask(server, "PUT", path, record).status == 201
    assert ask(server, "GET", path).body == record
    assert ask(server, "HEAD", path).headers["content-length"] == str(len(record))
    assert ask(server, "PUT", path, b'{"format": 2}').status == 200
    assert ask(server, "GET", f"/actions/{'ab' * 32}").json == {"format": 2}
    for bad in (b"", b"[]", b"{", b'{"a": NaN}', b"\xff\xfe", b'{"a":' * 50_000):
        assert ask(server, "PUT", path, bad).status == 400
    assert ask(server, "PUT", path, b'{"a": "%s"}' % (b"x" * (1 << 20))).status == 413
    assert ask(server, "PUT", path, record, token=server.read_token).status == 403
    other = "blake3:" + "cd" * 32
    assert ask(server, "PUT", f"/actions/{other}", record).status == 201
    page = ask(server, "GET", "/actions?limit=1").json
    assert page == {"actions": [{"fingerprint": fingerprint, "size": 13}], "next": fingerprint}
    page = ask(server, "GET", f"/actions?after={fingerprint}").json
    assert page == {"actions": [{"fingerprint": other, "size": len(record)}], "next": None}
    for bad_path in ("/actions/..%2f..%2fx", "/actions/sha256:" + "a" * 64, "/actions/" + "A" * 64):
        assert ask(server, "GET", bad_path).status in (400, 404)
    assert ask(server, "DELETE", path).status == 204
    assert ask(server, "DELETE", path).status == 404


def test_unknown_routes_and_verbs(server: Server) -> None:
    for path in ("/", "/x", "/objects/", "/objects/a/b/c", "/health/", "/objects/exists/", "//objects", "/%2e%2e/etc/passwd"):
        assert ask(server, "GET", path).status == 404, path
    for method, path, allow in [
        ("POST", path_of("blake3:" + "a" * 64), "DELETE, GET, HEAD, PUT"),
        ("PATCH", path_of("blake3:" + "a" * 64), "DELETE, GET, HEAD, PUT"),
        ("GET", "/objects/exists", "POST"),
        ("DELETE", "/objects", "GET"),
        ("OPTIONS", "/objects", "GET"),
        ("POST", "/health", "GET, HEAD"),
    ]:
        answer = ask(server, method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)


def test_many_clients_at_once_lose_nothing(server: Server) -> None:
    """Sixteen clients put and get objects of their own and one that they share, over connections that stay open."""
    shared = os.urandom(1_500_000)
    problems: list[object] = []

    def work(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {"Authorization": f"Bearer {server.token}"}
        try:
            for turn in range(12):
                own = f"client {number} turn {turn}".encode() * (turn * 3000 + 1)
                for data in (own, shared):
                    path = path_of(oid_of(data, "blake3"))
                    connection.request("PUT", path, data, headers)
                    answer = connection.getresponse()
                    answer.read()
                    connection.request("GET", path, headers=headers)
                    came = connection.getresponse()
                    body = came.read()
                    if answer.status not in (200, 201) or came.status != 200 or body != data:
                        problems.append((number, turn, answer.status, came.status, len(body)))
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert not _leftovers(server)

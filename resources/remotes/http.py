"""A remote that is an object server: the client of `headwater dvs serve` (docs/guides/object-server.md).

Small objects travel many in one stream, large ones one by one beside each other. A download that breaks off goes on where it
stopped, in this command or the next. Nothing counts before its bytes have been compared with its name. The token goes to the
server that was named and nowhere else: redirects are not followed. urllib3 does connections, TLS and time limits.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from resources.locks import file_lock
from resources.packed import SMALL, PackedObjects
from resources.remotes.base import Claim, unmeasured
from resources.remotes.credentials import check_server_url
from resources.remotes.retries import again, as_error
from resources.server.frames import END, MEDIA_TYPE, FrameReader, Head
from resources.storage.problems import oid_mismatch
from schemas.errors import HeadwaterError
from schemas.oid import file_oid, parse_oid

if TYPE_CHECKING:
    from resources.remotes.base import Done

WORKERS: Final = 8
_MANY: Final = 10_000
_BATCH_BYTES: Final = 32 << 20
_BLOCK: Final = 1 << 20
_CONNECT, _READ = 10.0, 60.0
"""Seconds to wait for a connection, and for each piece of an answer."""
_PATIENCE: Final = 120.0
_SLOWEST: Final = 16 << 10
"""A transfer may take so many seconds, and one more for each so many bytes: a server that drips is as good as none."""
_ANSWER_LIMIT: Final = 16 << 20


class Unavailable(OSError):
    """The server cannot answer now; it may later. `after` are the seconds it asked to wait."""

    def __init__(self, said: str, after: float | None = None) -> None:
        super().__init__(said)
        self.after = after


class HttpRemote:
    """The object server at `url` (`https://host[:port][/prefix]`). `scratch` is a local folder for what is on its way.

    Raises UsageError for a URL that holds credentials, a query or a fragment, and for plain http to another machine unless the
    environment sets HEADWATER_ALLOW_HTTP=1: a token would be readable on the way. Raises HeadwaterError (rule `token-malformed`)
    for a token that no header can hold.
    """

    def __init__(self, url: str, scratch: Path, *, token: str | None = None, workers: int = WORKERS) -> None:
        check_server_url(url)
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self.scratch = scratch
        self.workers = workers
        self.moved: Callable[[int], None] = unmeasured
        self._host = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._headers = {"user-agent": "headwater"} | ({"authorization": f"Bearer {_sendable(token)}"} if token else {})
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=workers,
            block=True,
            timeout=urllib3.Timeout(connect=_CONNECT, read=_READ),
            retries=False,
            ca_certs=os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE"),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # asking

    def identity(self, *, make: bool) -> str | None:
        """The id of the server's storage; a server always has one."""
        held = self._json("GET", "/status").get("storage_id")
        return str(held) if held else None

    @contextmanager
    def claimed(self, operation: str, files: Mapping[str, str], claim: Claim) -> Iterator[None]:
        """The server keeps its own log, and what it was sent counts as claimed by nobody, which `gc` leaves alone."""
        yield

    def present(self, oids: Iterable[str]) -> set[str]:
        """Those of `oids` that the server holds; one request for each ten thousand."""
        wanted = sorted(set(oids))
        here: set[str] = set()
        for start in range(0, len(wanted), _MANY):
            answer = self._json("POST", "/objects/exists", {"oids": wanted[start : start + _MANY]})
            try:
                here |= {str(row["oid"]) for row in answer["present"]}
            except (KeyError, TypeError):
                raise _strange(self.url, "it does not say what it holds") from None
        return here & set(wanted)

    def _json(self, method: str, path: str, body: object | None = None) -> dict[str, Any]:
        def ask(_path: str) -> dict[str, Any]:
            data = None if body is None else json.dumps(body).encode()
            headers = {} if data is None else {"content-type": "application/json"}
            with self._answer(method, path, body=data, headers=headers) as answer:
                return self._record(answer)

        return again(ask, path)

    def _record(self, answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        try:
            record = json.loads(self._text(answer))
        except (ValueError, RecursionError):
            raise _strange(self.url, "its answer is no JSON") from None
        if not isinstance(record, dict):
            raise _strange(self.url, "its answer is no record")
        return record

    def _text(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """The whole of a short answer. Raises HeadwaterError for a long one, Unavailable for one that does not end in time."""
        text = bytearray()
        for block in _timely(self._blocks(answer), _deadline(0)()):
            text += block
            if len(text) > _ANSWER_LIMIT:
                raise _strange(self.url, "its answer is too long")
        return bytes(text)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        allowed: Sequence[int] = (200, 201, 206),
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to one request while the block runs, its body not read yet. Raises Unavailable, FileNotFoundError,
        HeadwaterError."""
        try:
            answer = self._pool.request(
                method,
                self._host + self._prefix + path,
                body=body,
                headers={**self._headers, **(headers or {})},
                preload_content=False,
                redirect=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise Unavailable(f"{self._host} cannot be reached: {_reason(error)}") from error
        try:
            if answer.status not in allowed:
                raise self._refusal(answer, self._said(answer))
            yield answer
        finally:
            # A connection whose answer was not read to its end is of no use, but the pool counts it until it has it back.
            answer.close()
            answer.release_conn()

    def _said(self, answer: urllib3.BaseHTTPResponse) -> tuple[str, str | None]:
        """What an error answer says: its message and its fix."""
        try:
            record = json.loads(self._text(answer))
            return str(record["error"])[:500], str(record["fix"])[:500] if record.get("fix") else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, HeadwaterError):
            return answer.reason or "no reason given", None

    def _refusal(self, answer: urllib3.BaseHTTPResponse, said: tuple[str, str | None]) -> Exception:
        message, fix = said
        status = answer.status
        if status == 404:
            return FileNotFoundError(message)
        if status in (401, 403):
            return HeadwaterError(
                f"{self._host} refuses: {message}",
                rule="dvs-permission-denied",
                fix=(
                    f"give it your token once: `headwater cache login {self._host}`"
                    if status == 401
                    else fix or "ask for a token with that right"
                ),
            )
        if status in (408, 429, 500, 502, 503, 504):
            return Unavailable(f"{self._host} answers {status}: {message}", _retry_after(answer))
        if 300 <= status < 400:
            return HeadwaterError(
                f"{self._host} sends elsewhere, where a token must not go",
                rule="dvs-remote-redirect",
                fix="name the place it sends to as the remote, if you trust it",
            )
        return HeadwaterError(f"{self._host} answers {status}: {message}", rule="dvs-remote-refused", fix=fix)

    # sending

    def put(self, sources: Mapping[str, PackedObjects], sizes: Mapping[str, int], done: Done) -> None:
        """As the protocol says: small objects in streams, large ones beside each other. The server verifies both."""
        small = sorted(oid for oid in sources if sizes.get(oid, SMALL) < SMALL)
        for batch in _batches(small, sizes):
            self._put_small(batch, sources, done)
        large = sorted(oid for oid in sources if sizes.get(oid, SMALL) >= SMALL)
        self._beside(large, lambda oid: self._send(oid, lambda: sources[oid].blocks(oid), sizes.get(oid)), done)

    def _put_small(self, oids: list[str], sources: Mapping[str, PackedObjects], done: Done) -> None:
        parts: dict[str, bytes] = {}
        for oid in oids:
            try:
                parts[oid] = sources[oid].get(oid, limit=SMALL)
            except (HeadwaterError, OSError) as error:
                done(oid, as_error(error, oid))
        body = b"".join(part for oid, data in parts.items() for part in (Head(oid, len(data)).to_line(), data)) + END

        def send(_what: str) -> dict[str, Any]:
            with self._answer("POST", "/objects/put", body=body, headers={"content-type": MEDIA_TYPE}) as answer:
                return self._record(answer)

        if not parts:
            return
        try:
            results = {str(row["oid"]): row for row in again(send, "many objects")["results"]}
        except (HeadwaterError, OSError, KeyError, TypeError) as error:
            for oid in parts:
                done(oid, as_error(_known(error, self.url), oid))
            return
        self.moved(sum(map(len, parts.values())))
        for oid in parts:
            row = results.get(oid, {})
            refused = None if row.get("outcome") in ("stored", "present") else str(row.get("error") or "it was not taken")
            done(
                oid, None if refused is None else HeadwaterError(f"{oid}: {refused}", rule="dvs-remote-refused", fix="try again")
            )

    def _send(self, oid: str, blocks: Callable[[], Iterator[bytes]], size: int | None) -> None:
        path = _path(oid)
        limit = _deadline(size or 0)

        def send(_oid: str) -> None:
            headers = {"content-type": "application/octet-stream"}
            if size is not None:
                headers["content-length"] = str(size)
            with self._answer("PUT", path, body=self._counted(_timely(blocks(), limit())), headers=headers) as answer:
                self._text(answer)

        again(send, oid)

    # receiving

    def fetch(self, oids: Iterable[str], sizes: Mapping[str, int], target: PackedObjects, done: Done) -> None:
        """As the protocol says; what breaks off goes on where it stopped."""
        wanted = sorted(set(oids))
        for batch in _batches([oid for oid in wanted if sizes.get(oid, SMALL) < SMALL], sizes):
            self._fetch_small(batch, target, done)
        large = [oid for oid in wanted if sizes.get(oid, SMALL) >= SMALL]
        self._beside(large, lambda oid: self._fetch_large(oid, target, sizes.get(oid)), done)

    def _fetch_small(self, oids: list[str], target: PackedObjects, done: Done) -> None:
        errors: dict[str, HeadwaterError] = {}
        arrived: set[str] = set()
        try:
            with target.batch() as batch:

                def receive(_what: str) -> None:
                    rest = [oid for oid in oids if oid not in arrived and oid not in errors]
                    if rest:
                        self._receive(rest, lambda oid, data: batch.put(data, oid=oid), arrived, errors)

                try:
                    again(receive, "many objects")
                except (HeadwaterError, OSError) as error:
                    for oid in oids:
                        if oid not in arrived:
                            errors.setdefault(oid, as_error(error, oid))
        except (HeadwaterError, OSError) as error:
            # A pack could not be kept, and which objects lay in it only the batch knows.
            for oid in oids:
                errors.setdefault(oid, as_error(error, oid))
        for oid in oids:
            done(oid, errors.get(oid))

    def _receive(
        self, oids: list[str], keep: Callable[[str, bytes], object], arrived: set[str], errors: dict[str, HeadwaterError]
    ) -> None:
        """Read one stream of small objects; each counts when its bytes are those of its name."""
        body = json.dumps({"oids": oids}).encode()
        wanted, limit = set(oids), _deadline(len(oids) * SMALL)()
        with self._answer("POST", "/objects/fetch", body=body, headers={"content-type": "application/json"}) as answer:
            reader = FrameReader()
            head: Head | None = None
            held = bytearray()
            for block in self._counted(_timely(self._blocks(answer), limit)):
                for event in reader.feed(block):
                    if isinstance(event, Head):
                        head, held = event, bytearray()
                        if event.oid not in wanted or event.size > SMALL:
                            raise _strange(self.url, f"it sent {event.oid}, which nobody asked for")
                    elif event is not None:
                        held += event
                    elif head is not None and head.missing:
                        errors[head.oid] = as_error(FileNotFoundError(head.oid), head.oid)
                    elif head is not None:
                        try:
                            keep(head.oid, bytes(held))
                            arrived.add(head.oid)
                        except HeadwaterError as error:
                            errors[head.oid] = error
            try:
                reader.finish()
            except HeadwaterError as error:
                raise Unavailable(error.message) from error

    def _fetch_large(self, oid: str, target: PackedObjects, size: int | None) -> None:
        self._completed(oid, lambda partial: target.storage.add(target.files.path(oid), partial, oid=oid), size)

    def _completed(self, oid: str, arrived: Callable[[Path], object], size: int | None) -> None:
        """Fetch one object into a file that is kept when it breaks off, by the object's name: the next attempt finds it.

        Where its length is known a server that sends more is not listened to any longer.
        """
        folder = self.scratch / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        algorithm, digits = parse_oid(oid)
        partial = folder / f"{algorithm}-{digits}"
        with file_lock(self.scratch / "locks", f"partial {oid}", timeout=86_400):
            for last in (False, True):
                began = partial.exists()
                again(lambda one: self._go_on(one, partial, size), oid, progress=lambda: _size(partial))
                try:
                    arrived(partial)
                except HeadwaterError:
                    # What lay there may have been torn, or the bytes were changed on the way: once more, from the start.
                    partial.unlink(missing_ok=True)
                    if last or not began:
                        raise
                    continue
                break
            partial.unlink(missing_ok=True)

    def _go_on(self, oid: str, partial: Path, size: int | None) -> None:
        have = _size(partial)
        headers = {"range": f"bytes={have}-", "if-range": f'"{oid}"'} if have else {}
        with self._answer("GET", _path(oid), headers=headers, allowed=(200, 206, 416)) as answer:
            if answer.status == 416:
                return  # all of it is there; what it is worth, its hash says
            whole = int(answer.headers.get("content-length", "-1"))
            if have and answer.status != 206:
                have = 0
            start, end = have, have + whole if whole >= 0 else None
            if answer.status == 206 and not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
                raise _strange(self.url, "it sent another range than it was asked for")
            with partial.open("r+b" if have else "wb") as file:
                file.seek(have)
                for block in self._counted(_timely(self._blocks(answer), _deadline(max(whole, 0))())):
                    file.write(block)
                    start += len(block)
                    if size is not None and start > size:
                        partial.unlink()
                        raise oid_mismatch(self.url, oid)
            if end is not None and start != end:
                raise Unavailable(f"{self._host} broke off after {start:,} of {end:,} bytes")

    def _blocks(self, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            # Not `read`, which waits until so many bytes have come: who drips them would never be found out.
            while block := answer.read1(_BLOCK):
                yield block
        except HTTPError as error:
            raise Unavailable(f"{self._host} broke off: {_reason(error)}") from error

    def _counted(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            yield block
            self.moved(len(block))

    def _beside(self, oids: list[str], move: Callable[[str], None], done: Done) -> None:
        if not oids:
            return
        with ThreadPoolExecutor(min(self.workers, len(oids))) as pool:
            waiting = {pool.submit(move, oid): oid for oid in oids}
            for future in as_completed(waiting):
                oid = waiting[future]
                error = future.exception()
                if error is not None and not isinstance(error, (HeadwaterError, OSError)):
                    raise error
                done(oid, None if error is None else as_error(error, oid))

    def download(self, oid: str, target: Path, size: int) -> None:
        """Copy one object of `size` bytes to the new local file `target`, verified; what breaks off goes on where it stopped.

        Raises FileNotFoundError, HeadwaterError (rule `oid-mismatch`), OSError.
        """

        def arrived(partial: Path) -> None:
            if file_oid(partial, parse_oid(oid)[0]) != oid:
                raise oid_mismatch(self.url, oid)
            partial.replace(target)

        self._completed(oid, arrived, size)

    def upload(self, oid: str, source: Path) -> None:
        """Keep a copy of a local file, which the server verifies."""
        self._send(oid, lambda: _file_blocks(source), source.stat().st_size)

    # the build cache's records

    def action(self, fingerprint: str) -> bytes | None:
        """The record of a fingerprint, None where the server has none."""

        def ask(_what: str) -> bytes | None:
            try:
                with self._answer("GET", f"/actions/{fingerprint}") as answer:
                    return self._text(answer)
            except FileNotFoundError:
                return None

        return again(ask, fingerprint)

    def put_action(self, fingerprint: str, data: bytes) -> None:
        """Keep a record; the last writer wins."""

        def send(_what: str) -> None:
            with self._answer(
                "PUT", f"/actions/{fingerprint}", body=data, headers={"content-type": "application/json"}
            ) as answer:
                self._text(answer)

        again(send, fingerprint)

    def actions(self) -> Iterator[str]:
        """Every fingerprint the server has a record of, sorted."""
        after = ""
        while True:
            answer = self._json("GET", f"/actions?limit={_MANY}" + (f"&after={after}" if after else ""))
            yield from (str(row["fingerprint"]) for row in answer["actions"])
            if not answer["next"]:
                return
            after = str(answer["next"])


def _file_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sendable(token: str) -> str:
    """The token without white space around it, such as the line feed at the end of a file. What a header cannot hold is refused
    here: the libraries below would show it in their messages."""
    token = token.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise HeadwaterError(
            "the token of the object server holds characters that a token cannot have",
            rule="token-malformed",
            fix="copy it again, in one piece; `headwater dvs token create` makes one",
        )
    return token


def _path(oid: str) -> str:
    algorithm, digits = parse_oid(oid)
    return f"/objects/{algorithm}/{digits}"


def _batches(oids: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Parts of the objects that go well into one request."""
    batch: list[str] = []
    total = 0
    for oid in oids:
        if batch and (len(batch) >= _MANY or total + sizes[oid] > _BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(oid)
        total += sizes[oid]
    if batch:
        yield batch


def _deadline(size: int) -> Callable[[], float]:
    return lambda: time.monotonic() + _PATIENCE + size / _SLOWEST


def _timely(blocks: Iterable[bytes], until: float) -> Iterator[bytes]:
    """The blocks, as long as there is time."""
    for block in blocks:
        yield block
        if time.monotonic() > until:
            raise Unavailable("the transfer is too slow")


def _retry_after(answer: urllib3.BaseHTTPResponse) -> float | None:
    with suppress(ValueError, TypeError):
        return min(60.0, max(0.0, float(answer.headers.get("retry-after", ""))))
    return None


def _reason(error: HTTPError) -> str:
    """What a person wants to know of an error of urllib3: the innermost reason."""
    inner: BaseException = error
    while (held := getattr(inner, "reason", None)) is not None and isinstance(held, BaseException):
        inner = held
    return str(inner).partition("): ")[2] or str(inner)


def _known(error: BaseException, url: str) -> BaseException:
    return error if isinstance(error, (HeadwaterError, OSError)) else _strange(url, "its answer is not as agreed")


def _strange(url: str, what: str) -> HeadwaterError:
    return HeadwaterError(
        f"{url} is no object server that can be understood: {what}",
        rule="dvs-remote-refused",
        fix="check the URL; `headwater dvs serve` starts such a server",
    )

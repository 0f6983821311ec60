"""Fetching one file from a web server into a local file, as something that a stranger may have named.

Only https, and http to this machine where that is allowed. Names are resolved once, every address is checked before a connection
is made to that very address, and each redirect goes through the same. Bytes and time are capped. A broken transfer goes on where
it stopped, when the server says by a strong ETag that it is the same file. Proxies and credentials are not used.

Of http clients the standard library's is used because it lets a connection go to an address that was checked before, which keeps
a name from meaning another machine the second time it is asked.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from schemas.errors import HeadwaterError, UsageError

MAX_BYTES: Final = 1 << 40
TIMEOUT: Final = 6 * 3600.0
_STALL: Final = 60.0
"""Seconds without a byte after which a connection is given up."""
_PATIENCE: Final = 60.0
"""Seconds that a server may ask us to wait."""
_REDIRECTS: Final = 10
_ATTEMPTS: Final = 5
_BLOCK: Final = 1 << 20
_AGENT: Final = "headwater"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)\Z")
_MAY_PASS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Limits:
    """What a fetch may take: bytes, seconds in all, and which addresses besides public ones."""

    max_bytes: int = MAX_BYTES
    timeout: float = TIMEOUT
    allow_loopback: bool = False
    """http, and addresses of this machine."""
    allow_private: bool = False
    """Addresses of private networks, by https."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: `unchanged` when it is the file that was known, and no bytes came."""

    etag: str | None
    modified: str | None
    size: int | None
    unchanged: bool = False


class FetchFailed(HeadwaterError):
    """The bytes could not be brought."""


def check_url(url: str, limits: Limits) -> SplitResult:
    """The parts of a URL that may be fetched. Raises UsageError; a user, a password or a query never stands in its message."""
    try:
        parts = urlsplit(url)
        port = parts.port
        _ascii(parts.hostname or "")
    except ValueError as error:
        raise UsageError("the URL is malformed", rule="url-malformed", fix="write https://host/path") from error
    shown = f"{parts.scheme}://{parts.hostname or ''}"
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise UsageError(f"{shown} holds credentials", rule="url-credentials", fix="take them out of the URL")
    odd = re.search(r"[\x00-\x1f\x7f\\]", url) or " " in parts.netloc or url != url.strip()
    if not parts.hostname or odd or (port is not None and not 0 < port < 65536):
        raise UsageError(f"{shown} is malformed", rule="url-malformed", fix="write https://host/path")
    if parts.scheme == "http" and not limits.allow_loopback:
        raise UsageError(
            f"{shown} is not encrypted", rule="url-scheme", fix="use https; --allow-loopback allows http to this machine"
        )
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{shown} cannot be fetched", rule="url-scheme", fix="use https://, s3:// or a path")
    return parts


def shown_url(url: str) -> str:
    """The URL without query and fragment, which may hold what nobody else shall see."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def fetch(
    url: str,
    target: BinaryIO,
    limits: Limits,
    *,
    see: Callable[[bytes], object] = lambda _block: None,
    watch: Callable[[int, int | None], object] = lambda _got, _size: None,
    again: Callable[[], object] = lambda: None,
    known: str | None = None,
    head_only: bool = False,
) -> Answer:
    """Write what lies at a URL to the empty file `target`; `see` is shown every block, `watch` told how many bytes have come of
    how many (None where the server does not say), `again` is called when it starts anew.

    `known` is the ETag of the file that is here: an unchanged one is not fetched. Raises UsageError for a URL that may not be
    fetched, FetchFailed (rules `fetch-…`).
    """
    return _Fetch(url, target, limits, see, watch, again, known, head_only).run()


class _Broken(Exception):
    """The transfer broke; it may be tried again, after so many seconds."""

    def __init__(self, said: str, wait: float = 0.0) -> None:
        super().__init__(said)
        self.wait = wait


class _Fetch:
    def __init__(
        self,
        url: str,
        target: BinaryIO,
        limits: Limits,
        see: Callable[[bytes], object],
        watch: Callable[[int, int | None], object],
        again: Callable[[], object],
        known: str | None,
        head_only: bool,
    ) -> None:
        self.url = url
        self.target = target
        self.limits = limits
        self.see = see
        self.watch = watch
        self.again = again
        self.known = known
        self.head_only = head_only
        self.deadline = time.monotonic() + limits.timeout
        self.got = 0
        self.etag: str | None = None

    def run(self) -> Answer:
        check_url(self.url, self.limits)
        said, wait = "", 0.0
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(max(0.0, min(max(wait, 0.1 * 2**attempt), self.deadline - time.monotonic())))
            if time.monotonic() >= self.deadline:
                raise self._late()
            try:
                return self._attempt()
            except _Broken as broken:
                said, wait = str(broken), broken.wait
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise self._failed("fetch-certificate", f"its certificate is not good: {error.verify_message}") from error
                said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        if time.monotonic() >= self.deadline:
            raise self._late()
        raise self._failed("fetch-broken", f"the transfer broke {_ATTEMPTS} times: {said}")

    def _attempt(self) -> Answer:
        url = self.url
        for _hop in range(_REDIRECTS + 1):
            parts = check_url(url, self.limits)
            with self._connected(parts) as connection:
                connection.request("GET", _resource(parts), headers=self._headers(parts))
                with connection.getresponse() as response:
                    if response.status not in (301, 302, 303, 307, 308):
                        return self._answer(response)
                    url = self._redirected(url, response.getheader("Location"))
        raise self._failed("fetch-redirects", f"it leads on more than {_REDIRECTS} times")

    def _redirected(self, url: str, location: str | None) -> str:
        if not location:
            raise self._failed("fetch-redirects", "it leads on to nowhere")
        led = urljoin(url, location.strip())
        try:
            parts = check_url(led, self.limits)
        except UsageError as error:
            raise self._failed("fetch-redirects", f"it leads on to what may not be fetched: {error.message}") from error
        if urlsplit(url).scheme == "https" and parts.scheme != "https":
            raise self._failed("fetch-redirects", "it leads on from https to http")
        return led

    def _headers(self, parts: SplitResult) -> dict[str, str]:
        headers = {
            "Host": parts.netloc,
            "User-Agent": _AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if self.got and _is_strong(self.etag):
            headers |= {"Range": f"bytes={self.got}-", "If-Range": str(self.etag)}
        elif self.known is not None:
            headers["If-None-Match"] = self.known
        return headers

    def _answer(self, response: http.client.HTTPResponse) -> Answer:
        etag, modified = response.getheader("ETag"), response.getheader("Last-Modified")
        if response.status == 304 and self.known is not None:
            return Answer(self.known, modified, None, unchanged=True)
        if response.status in _MAY_PASS:
            asked = response.getheader("Retry-After") or ""
            wait = min(float(asked), _PATIENCE) if asked.isdigit() else 0.0
            raise _Broken(f"the server says {response.status} {response.reason}", wait)
        if response.status == 416 and self.got:
            self._restart()
            raise _Broken("the server has fewer bytes than before")
        if response.status == 206 and self.got:
            match = _RANGE.match(response.getheader("Content-Range") or "")
            if match is None or int(match[1]) != self.got or etag not in (None, self.etag):
                self._restart()
                raise _Broken("the server continues another file")
        elif response.status == 200:
            self._restart()
        else:
            raise self._failed("fetch-refused", f"the server says {response.status} {response.reason}")
        if response.status == 200 and _is_strong(etag) and etag == self.known:
            return Answer(etag, modified, None, unchanged=True)
        self.etag = etag if response.status == 200 else self.etag
        size = self._promised(response)
        if self.head_only:
            return Answer(self.etag, modified, size)
        self._take(response, size)
        return Answer(self.etag, modified, self.got)

    def _promised(self, response: http.client.HTTPResponse) -> int | None:
        """The whole length as the server says."""
        if response.length is None:
            return None
        size = self.got + response.length
        if size > self.limits.max_bytes:
            raise self._large()
        return size

    def _take(self, response: http.client.HTTPResponse, size: int | None) -> None:
        while block := response.read1(_BLOCK):
            self.got += len(block)
            if self.got > self.limits.max_bytes:
                raise self._large()
            self.see(block)
            self.target.write(block)
            self.watch(self.got, size)
        if size is not None and self.got != size:
            raise _Broken(f"it ended after {self.got:,} of {size:,} bytes")
        if time.monotonic() >= self.deadline:
            raise self._late()

    def _restart(self) -> None:
        if self.got:
            self.target.seek(0)
            self.target.truncate()
            self.got = 0
            self.again()

    # connections

    @contextmanager
    def _connected(self, parts: SplitResult) -> Iterator[http.client.HTTPConnection]:
        host = _ascii(parts.hostname or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._resolve(host, port, plain=parts.scheme == "http")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        opened: list[socket.socket] = []
        ending = threading.Timer(left, lambda: _end(opened))
        ending.daemon = True
        ending.start()
        connection = http.client.HTTPConnection(host, port, timeout=min(_STALL, left))
        try:
            made = socket.create_connection((str(address), port), timeout=min(_STALL, left))
            opened.append(made)
            if parts.scheme == "https":
                made = ssl.create_default_context().wrap_socket(made, server_hostname=host)
                opened.append(made)
            connection.sock = made
            yield connection
        finally:
            ending.cancel()
            connection.close()
            for one in opened:
                one.close()

    def _resolve(self, host: str, port: int, *, plain: bool) -> Address:
        """An address of the host, after all of them have been checked."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._failed("fetch-unknown-host", f"there is no host {host!r}") from error
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        for address in addresses:
            if not self._may_reach(address, plain=plain):
                raise FetchFailed(
                    f"{host} is not a public address",
                    rule="fetch-address",
                    path=shown_url(self.url),
                    fix="use --allow-private for https in your own network, --allow-loopback for this machine",
                )
        return addresses[0]

    def _may_reach(self, address: Address, *, plain: bool) -> bool:
        real = _real(address)
        if real.is_loopback:
            return self.limits.allow_loopback
        if plain or real.is_multicast or real.is_unspecified or real.is_link_local:
            return False
        return real.is_global or (self.limits.allow_private and real.is_private)

    # what is said

    def _failed(self, rule: str, what: str) -> FetchFailed:
        return FetchFailed(what, rule=rule, path=shown_url(self.url), fix="look at the URL, then run the command again")

    def _late(self) -> FetchFailed:
        return FetchFailed(
            f"it took longer than {self.limits.timeout:,.0f} seconds",
            rule="fetch-slow",
            path=shown_url(self.url),
            fix="give it more time with --timeout",
        )

    def _large(self) -> FetchFailed:
        return FetchFailed(
            f"it has more than {self.limits.max_bytes:,} bytes",
            rule="file-too-large",
            path=shown_url(self.url),
            fix="allow more with --max-size, if it is what you want",
        )


def _end(opened: list[Any]) -> None:
    """Wake whoever waits for the connection."""
    for one in opened:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _real(address: Address) -> Address:
    """The address that is reached in the end, where an IPv6 address carries an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner
    return address


def _host(parts: SplitResult) -> str:
    """The host and a port that is not the usual one, as they are sent."""
    host = _ascii(parts.hostname or "")
    shown = f"[{host}]" if ":" in host else host
    return shown if parts.port is None else f"{shown}:{parts.port}"


def _ascii(host: str) -> str:
    """The name of a host as DNS knows it. Raises UnicodeError."""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _resource(parts: SplitResult) -> str:
    """Path and query as they are sent."""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
    return f"{path}?{query}" if query else path


def _is_strong(etag: str | None) -> bool:
    return etag is not None and etag.startswith('"')

"""The guard in front of the Dagster web UI, which has no authentication of its own and executes mutations sent by GET from any
origin.

An ASGI application around another one. It lets a request through only when all of these hold: it is addressed to a host name of
ours; an Origin, where there is one, is ours; the browser does not say that another site sent it; it carries the session cookie or
the key; and it is not of a form that a page elsewhere can make a browser send (a GraphQL document in a URL, a body that is not
JSON). What it protects from is other pages in the user's browser, other users of the machine, and names that resolve to loopback;
not the user's own processes, which can read the key file.

What it was tested with: the attacks of tests/orchestration/ui, against the real server.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_LIMIT = 4 << 20
"""Bytes of a request's body: far above any GraphQL document, far below what fills memory."""
TOKEN_SECONDS = 15 * 60
"""How long a link that nobody has followed stays good."""
OPEN_PATH = "/-/open"
TOKEN_PATH = "/-/token"
KEY_ONLY = ("/report_asset_",)
"""Paths for programs: they need the key, a browser's cookie does not open them."""

_METHODS = ("GET", "HEAD", "POST")
_HARDENING = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_FRAME_ANCESTORS = b"frame-ancestors 'none'"


@dataclass(slots=True)
class Secrets:
    """What opens the guard: one-time tokens for links, the session that a token is exchanged for, and the key for programs."""

    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[str, float] = field(default_factory=dict)

    def new_token(self) -> str:
        """A token for one link."""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = self.clock() + TOKEN_SECONDS
        return token

    def redeem(self, token: str) -> bool:
        """Whether the token is good; it is not any more afterwards."""
        expiry = self._tokens.pop(token, None)
        return expiry is not None and self.clock() < expiry


class Refusal(Exception):
    """Why a request is not let through: an HTTP status and a sentence for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Guard:
    """`application` behind the rules of this module, for requests addressed to one of `hosts` (`name:port`)."""

    def __init__(self, application: Application, hosts: Collection[str], known: Secrets, *, cookie: str = "headwater") -> None:
        self.application = application
        self.hosts = frozenset(host.lower() for host in hosts)
        self.known = known
        self.cookie = cookie

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        send = _hardened(send)
        headers = _Headers(scope["headers"])
        try:
            self._check_addressing(headers, navigation=scope["method"] == "GET")
            if scope["method"] not in _METHODS:
                raise Refusal(405, f"{scope['method']} is not a method of this server.")
            if scope["path"] == OPEN_PATH:
                await self._open(scope, send)
                return
            self._check_credentials(headers, scope["path"])
            if scope["path"] == TOKEN_PATH:
                await self._token(scope, headers, send)
                return
            self._check_form(scope, headers)
            await _capped(self.application, scope, receive, send)
        except Refusal as refusal:
            await _answer(send, refusal.status, _page(refusal.reason))

    async def _websocket(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = _Headers(scope["headers"])
        try:
            if headers.one("origin") is None and not self._has_key(headers):
                raise Refusal(403, "A web socket needs an Origin.")
            self._check_addressing(headers, navigation=False)
            self._check_credentials(headers, scope["path"])
        except Refusal:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.application(scope, receive, send)

    def _check_addressing(self, headers: _Headers, *, navigation: bool) -> None:
        """Raise Refusal unless the request is meant for us and does not come from another site's page."""
        host = (headers.one("host") or "").lower()
        if host not in self.hosts:
            raise Refusal(421, "This server does not answer to that host name.")
        origin = headers.one("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            raise Refusal(403, "Requests from other origins are not accepted.")
        site = headers.one("sec-fetch-site")
        # A link on another page may lead here (the page can do nothing with it); nothing else may come from another site. Pages
        # of other ports of this machine are `same-site`, and their requests carry our cookie.
        followed = navigation and headers.one("sec-fetch-mode") == "navigate" and headers.one("sec-fetch-dest") == "document"
        if site in ("cross-site", "same-site") and not followed:
            raise Refusal(403, "Requests from other sites are not accepted.")

    def _has_key(self, headers: _Headers) -> bool:
        scheme, _, given = (headers.one("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and _same(given.strip(), self.known.key)

    def _check_credentials(self, headers: _Headers, path: str) -> None:
        if self._has_key(headers):
            return
        if path == TOKEN_PATH or any(_segments(path)[:1] and _segments(path)[0].startswith(one.strip("/")) for one in KEY_ONLY):
            raise Refusal(401, "This path needs the key of this server, as a bearer token.")
        try:
            cookies = SimpleCookie(headers.one("cookie") or "")
        except CookieError:
            cookies = SimpleCookie()
        given = cookies[self.cookie].value if self.cookie in cookies else ""
        if not _same(given, self.known.session):
            raise Refusal(401, "This page needs a link with a fresh token. Run `headwater ui` again to get one.")

    def _check_form(self, scope: Message, headers: _Headers) -> None:
        """Raise Refusal for a GraphQL document in a URL and for a body that a plain form can send."""
        segments = _segments(scope["path"])
        if scope["method"] == "POST":
            media = (headers.one("content-type") or "").partition(";")[0].strip().lower()
            if media != "application/json":
                raise Refusal(415, "Send application/json.")
        elif segments and segments[-1].lower() == "graphql" and scope["query_string"]:
            raise Refusal(405, "GraphQL is accepted by POST only.")
        length = headers.one("content-length")
        if length is not None and (not length.isascii() or not length.isdigit() or int(length) > BODY_LIMIT):
            raise Refusal(413, f"Bodies end at {BODY_LIMIT} bytes.")

    async def _open(self, scope: Message, send: Send) -> None:
        """Exchange the token of a link for the session cookie."""
        if scope["method"] != "GET":
            raise Refusal(405, "Open the link in a browser.")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not self.known.redeem(given):
            raise Refusal(403, "This link was used already or is too old. Run `headwater ui` again to get a new one.")
        cookie = f"{self.cookie}={self.known.session}; Path=/; HttpOnly; SameSite=Strict"
        # Not a redirect: a strict cookie is left out of a redirect that follows a link from another program's page.
        body = b'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>Headwater</title>'
        await _answer(send, 200, body, [(b"set-cookie", cookie.encode("ascii"))])

    async def _token(self, scope: Message, headers: _Headers, send: Send) -> None:
        """A token for another link, for a second `headwater ui`."""
        if scope["method"] != "POST":
            raise Refusal(405, "Tokens are made by POST.")
        body = json.dumps({"token": self.known.new_token()}).encode("ascii")
        await _answer(send, 200, body, [(b"content-type", b"application/json")])


class _Headers:
    """Request headers; one that must be single and is not counts as a refusal."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def one(self, name: str) -> str | None:
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            if name == "cookie":  # HTTP/2 may split it
                return "; ".join(values)
            raise Refusal(400, f"The header {name} is there twice.")
        return values[0]


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode("ascii"))


async def _capped(application: Application, scope: Message, receive: Receive, send: Send) -> None:
    """The application, told that the client is gone when the body is longer than it may be, whatever length was announced.

    Raises Refusal in that case, unless an answer has begun; what the application would answer to a broken body is dropped.
    """
    seen = 0
    answering = False

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        return message if seen <= BODY_LIMIT else {"type": "http.disconnect"}

    async def answered(message: Message) -> None:
        nonlocal answering
        if seen <= BODY_LIMIT or answering:
            answering = True
            await send(message)

    try:
        await application(scope, counted, answered)
    except Exception:
        if seen <= BODY_LIMIT or answering:
            raise
    if seen > BODY_LIMIT and not answering:
        raise Refusal(413, f"Bodies end at {BODY_LIMIT} bytes.")


def _hardened(send: Send) -> Send:
    """`send` that adds to each response what keeps other pages from framing or reading it."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in _HARDENING}
            headers = [(name, value) for name, value in message.get("headers", []) if name.lower() not in ours]
            policies = [value for name, value in headers if name.lower() == b"content-security-policy"]
            headers = [(name, value) for name, value in headers if name.lower() != b"content-security-policy"]
            # A second policy header narrows the first; it cannot be loosened by what the page says.
            headers += [(b"content-security-policy", value) for value in [*policies, _FRAME_ANCESTORS]]
            message = {**message, "headers": [*headers, *_HARDENING]}
        await send(message)

    return hardened


async def _answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    given = list(headers)
    if not any(name == b"content-type" for name, _ in given):
        given.append((b"content-type", b"text/html; charset=utf-8"))
    given += [(b"content-length", str(len(body)).encode("ascii")), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body})


def _page(reason: str) -> bytes:
    """`reason` as a page; it holds nothing of the request."""
    return f'<!doctype html><meta charset="utf-8"><title>Headwater</title><p>{reason}</p>'.encode()

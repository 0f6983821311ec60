"""Who may do what: bearer tokens and their rights, anonymous requests, and what is done about guessing.

Every request that is refused for want of a token gets the same answer, whether it had none or a wrong one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from resources.server.exchange import Problem
from resources.server.settings import Settings
from resources.server.tokens import Right, Tokens

_WINDOW: Final = 60.0
"""Seconds for which a wrong token counts against the address that sent it."""
_ADDRESSES: Final = 10_000
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANONYMOUS: Final = {
    "none": frozenset[Right](),
    "read": frozenset({Right.READ}),
    "write": frozenset({Right.READ, Right.WRITE}),
}


class Access:
    """Checks requests before anything is done for them."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self.tokens = tokens
        self.anonymous = _ANONYMOUS[settings.anonymous]
        self.hosts = _LOOPBACK | {settings.host}
        self.loopback = settings.is_loopback
        self.tries = settings.wrong_tokens
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], right: Right) -> str:
        """The name of the token, `anonymous` without one, when the request may go on. Raises Problem: 401, 403, 429."""
        given = headers.get(b"authorization")
        if given is None:
            self._check_anonymous(headers, right)
            return "anonymous"
        scheme, _, secret = given.decode("latin-1").partition(" ")
        token = self.tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            self._count_failure(str((scope.get("client") or ("",))[0]))
            raise _unknown()
        if not token.allows(right):
            raise _forbidden(right)
        return token.name

    def _check_anonymous(self, headers: Mapping[bytes, bytes], right: Right) -> None:
        if not self.anonymous:
            raise _unknown()
        if right not in self.anonymous:
            raise _unknown() if right in (Right.DELETE, Right.ADMIN) else _forbidden(right)
        # A page in somebody's browser can reach this machine's own ports, and with a name that it points here even read answers.
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host in self.hosts else host.rpartition(":")[0]
        if b"origin" in headers or (self.loopback and name not in self.hosts):
            raise Problem(403, "requests without a token do not come from web pages", "send a token")

    def _count_failure(self, address: str) -> None:
        """Raise Problem (429) where too many came. Good tokens go on: nobody guesses 256 bits, and a neighbour must not be able
        to lock anybody out."""
        now = time.monotonic()
        failed = [when for when in self._failed.pop(address, ()) if now - when < _WINDOW]
        full = len(failed) >= self.tries
        self._failed[address] = failed if full else [*failed, now]
        while len(self._failed) > _ADDRESSES:
            self._failed.popitem(last=False)
        if full:
            raise Problem(429, "too many wrong tokens came from this address", "wait a minute", [(b"retry-after", b"60")])


def _unknown() -> Problem:
    return Problem(
        401,
        "a token is needed that this server knows",
        "send `Authorization: Bearer TOKEN`; `headwater dvs token add` on the server makes one",
        [(b"www-authenticate", b'Bearer realm="headwater"')],
    )


def _forbidden(right: Right) -> Problem:
    return Problem(403, f"the token gives no right to {right}", f"use one with the right {right}")

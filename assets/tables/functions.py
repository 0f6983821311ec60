"""SQL functions whose answer is not in the database: the clock and chance, answered once, written down, and answered again the
same way when a statement is replayed.

`random()`, `randomblob(n)` and every date function that looks at the clock (`'now'`, no argument, CURRENT_DATE, CURRENT_TIME,
CURRENT_TIMESTAMP) or at the time zone of the machine (`'localtime'`, `'utc'`) are replaced by functions of ours. One command has
one `now`. https://www.sqlite.org/lang_datefunc.html
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import apsw

from schemas.errors import HeadwaterError

LIMIT = 100_000
"""Values that one record may hold."""

BLOB_LIMIT = 1 << 20
"""Bytes of one `randomblob`."""
DATE_FUNCTIONS = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")
_KEYWORDS = {"current_date": "date", "current_time": "time", "current_timestamp": "datetime"}
_ZONES = {"localtime", "utc"}

Value = None | int | float | str | bytes


class Answers:
    """The answers of one command: written down in `args` while recording, read from a record's `args` while replaying.

    `args` maps a call, such as `random()` or `datetime('now')`, to runs [count, value]; blobs are {"base64": …}.
    """

    def __init__(self, args: dict[str, Any] | None = None, *, now: datetime | None = None) -> None:
        self.replaying = args is not None
        self.args: dict[str, Any] = {} if args is None else args
        self._now = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        self._count = 0
        self._place: dict[str, tuple[int, int]] = {}
        self._clean = apsw.Connection(":memory:")

    def close(self) -> None:
        """Let go of the connection that computes dates."""
        self._clean.close()

    def register(self, connection: apsw.Connection) -> None:
        """Replace the functions on `connection`. They may be used in the CHECKs of our own tables."""
        safe = apsw.SQLITE_INNOCUOUS
        connection.create_scalar_function("random", self._chance, 0, flags=safe)
        connection.create_scalar_function("randomblob", self._blob, 1, flags=safe)
        for name in DATE_FUNCTIONS:
            connection.create_scalar_function(name, self._dated(name), -1, deterministic=True, flags=safe)
        for keyword, name in _KEYWORDS.items():
            connection.create_scalar_function(keyword, self._keyword(keyword, name), 0, deterministic=True, flags=safe)

    def finish(self) -> None:
        """While replaying: raise HeadwaterError when the record holds answers that nobody asked for."""
        if not self.replaying:
            return
        left = [call for call, runs in self.args.items() if self._place.get(call, (0, 0))[0] < len(runs)]
        if left:
            raise _differs(f"the statement did not ask for {left[0]} as often as it did then")

    def _chance(self, *_: Any) -> Value:
        return self._answer("random()", _random)

    def _blob(self, *arguments: Any) -> Value:
        size = max(1, min(int(arguments[0] or 0), BLOB_LIMIT))
        return self._answer(f"randomblob({size})", lambda: secrets.token_bytes(size))

    def _keyword(self, keyword: str, name: str) -> Callable[..., Value]:
        return lambda *_: self._answer(keyword.upper(), lambda: self._compute(name, ("now",)))

    def _dated(self, name: str) -> Callable[..., Value]:
        def call(*arguments: Value) -> Value:
            if not _looks_outside(name, arguments):
                return self._compute(name, arguments)
            spelled = f"{name}({', '.join('NULL' if one is None else repr(one) for one in arguments)})"
            return self._answer(spelled, lambda: self._compute(name, arguments))

        return call

    def _compute(self, name: str, arguments: tuple[Value, ...]) -> Value:
        values = tuple(self._now if isinstance(one, str) and one.lower() == "now" else one for one in arguments)
        if name == "strftime" and len(values) == 1:
            values = (*values, self._now)
        elif not values and name != "timediff":
            values = (self._now,)
        answer: Value = self._clean.execute(f"SELECT {name}({', '.join('?' * len(values))})", values).get
        return answer

    def _answer(self, call: str, compute: Callable[[], Value]) -> Value:
        if self.replaying:
            return self._next(call)
        value = compute()
        stored = {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        runs = self.args.setdefault(call, [])
        if runs and runs[-1][1] == stored and type(runs[-1][1]) is type(stored):
            runs[-1][0] += 1
            return value
        self._count += 1
        if self._count > LIMIT:
            raise HeadwaterError(
                f"the command asks chance or the clock for more than {LIMIT:,} different values",
                rule="history-too-many-values",
                fix="write the values another way and bring them in with `headwater tables export`",
            )
        runs.append([1, stored])
        return value

    def _next(self, call: str) -> Value:
        run, used = self._place.get(call, (0, 0))
        runs = self.args.get(call, [])
        if run >= len(runs):
            raise _differs(f"the record has no further value of {call}")
        count, stored = runs[run]
        self._place[call] = (run + 1, 0) if used + 1 >= count else (run, used + 1)
        if isinstance(stored, dict):
            return base64.b64decode(stored["base64"])
        value: Value = stored
        return value


def _random() -> int:
    return secrets.randbits(64) - (1 << 63)


def _looks_outside(name: str, arguments: tuple[Value, ...]) -> bool:
    words = {one.lower() for one in arguments if isinstance(one, str)}
    if "now" in words or words & _ZONES:
        return True
    return (not arguments and name != "timediff") or (name == "strftime" and len(arguments) == 1)


def _differs(message: str) -> HeadwaterError:
    return HeadwaterError(message, rule="history-replay", fix="the log was recorded by another version of SQLite or edited")

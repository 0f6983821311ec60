"""Trying again: what may pass (the network, a busy server) is tried again with growing pauses, what is missing or damaged is
not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from tenacity import RetryCallState

ATTEMPTS: Final = 4
BUDGET: Final = 300.0
"""Seconds after which nothing is tried again."""
WORTH: Final = 256 << 10
"""So many bytes must come between two failures for them not to be counted."""

T = TypeVar("T")


def again(move: Callable[[str], T], oid: str, *, progress: Callable[[], int] | None = None) -> T:
    """Do it, and again after failures that may pass; a server that names a time to wait is given it, within reason.

    `progress` counts the bytes that have come so far: as long as they grow by WORTH between two failures, these are not counted.
    """
    from tenacity import Retrying, retry_if_exception, wait_random_exponential

    pause = wait_random_exponential(multiplier=0.2, max=10)
    stalled = _Stalled(progress)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = getattr(error, "after", None)
        return float(asked) if asked is not None else pause(state)

    return Retrying(retry=retry_if_exception(may_pass), stop=stalled, wait=wait, reraise=True)(move, oid)


class _Stalled:
    """Says stop after so many attempts, or so long, without anything having come."""

    def __init__(self, progress: Callable[[], int] | None) -> None:
        self.progress = progress
        self.seen = 0
        self.failures = 0
        self.since = time.monotonic()

    def __call__(self, _state: RetryCallState) -> bool:
        came = self.progress() if self.progress is not None else 0
        if came - self.seen >= WORTH:
            self.seen, self.failures, self.since = came, 0, time.monotonic()
        self.failures += 1
        return self.failures >= ATTEMPTS or time.monotonic() - self.since > BUDGET


def may_pass(error: BaseException) -> bool:
    """Whether doing the same again may go better."""
    return isinstance(error, OSError) and not isinstance(
        error, (FileNotFoundError, PermissionError, IsADirectoryError, FileExistsError)
    )


def as_error(error: BaseException, oid: str) -> HeadwaterError:
    """What went wrong with one object, as a row tells it."""
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, FileNotFoundError):
        return HeadwaterError(
            f"the remote does not hold {oid}",
            rule="dvs-storage-missing",
            fix="push it from a clone that has it; `headwater dvs status` there shows which",
        )
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    rule = "dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-io-error"
    return HeadwaterError(f"{oid} could not be copied: {said}", rule=rule, fix="look at the remote, then run the command again")

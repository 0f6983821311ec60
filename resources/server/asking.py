"""What the requests of an object server say: oids, ranges, pages, encodings; and the answers to what goes wrong.

Nothing is done here. Every text that could become a path goes through `checked_oid` or `fingerprint_of`.
"""

from __future__ import annotations

import errno
import json
import re
from typing import Final
from urllib.parse import parse_qs

from resources.dvs.leases import StorageBusy
from resources.server.actions import read_fingerprint
from resources.server.exchange import Exchange, Problem
from resources.server.incoming import Mismatch, TooMuch
from resources.server.objects import Retained, StorageGone
from resources.server.settings import Settings
from schemas.dvs.oids import COLLISION_RESISTANT
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import parse_oid

MANY: Final = 10_000
"""The most oids of one question, and the most objects of one stream."""
_QUESTION_LIMIT: Final = 2 << 20
_PAGE: Final = 1000
_LARGEST_PAGE: Final = 10_000
_FIELDS: Final = 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def refuse_weak(oid: str, settings: Settings) -> None:
    """Raise Problem (403) for an object whose name says too little about its bytes, unless the settings allow it."""
    if parse_oid(oid)[0] not in COLLISION_RESISTANT and not settings.allow_xxh3:
        raise Problem(
            403,
            "objects named by xxh3 are not taken: two files of the same name can be made on purpose",
            "rename them with `headwater dvs rehash --to blake3`, or set allow_xxh3 on the server",
        )


def object_oid(exchange: Exchange) -> str:
    """The oid that the path names. Raises Problem (400)."""
    parameters = exchange.scope["path_params"]
    return checked_oid(f"{parameters['algorithm']}:{parameters['digits']}")


def checked_oid(oid: str) -> str:
    """The oid, when it is one. Raises Problem (400)."""
    try:
        parse_oid(oid)
    except HeadwaterError as error:
        raise Problem(400, error.message, error.fix or "") from None
    return oid


def fingerprint_of(exchange: Exchange) -> str:
    """The fingerprint that the path names. Raises Problem (400)."""
    try:
        return read_fingerprint(exchange.scope["path_params"]["fingerprint"])
    except HeadwaterError as error:
        raise Problem(400, error.message, error.fix or "") from None


def content_encoding(exchange: Exchange) -> str | None:
    """`zstd`, or None. Raises Problem (415) for another."""
    given = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if given == b"identity":
        return None
    if given == b"zstd":
        return "zstd"
    raise Problem(415, "the body has an encoding that is not known here", "send it raw, or with Content-Encoding: zstd")


def read_range(header: bytes | None, size: int) -> tuple[int, int] | None:
    """The one range (start, stop) that is asked for; None for the whole, which several ranges get too (RFC 9110 section 14.2).

    Raises Problem (416).
    """
    match = _RANGE.match((header or b"").decode("latin-1").strip().lower())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < int(match[1]):
            return None
    else:
        start, stop = max(0, size - int(match[2])), size
    if start >= stop:
        raise Problem(
            416,
            f"the object has {size} bytes",
            "ask for bytes that are there",
            [(b"content-range", b"bytes */%d" % size)],
        )
    return start, stop


def etag_matches(header: bytes | None, etag: bytes) -> bool:
    """Whether `If-None-Match` says that the client has it (RFC 9110 section 13.1.2)."""
    if header is None:
        return False
    given = [one.strip().removeprefix(b"W/") for one in header.split(b",")]
    return etag in given or b"*" in given


async def question(exchange: Exchange) -> list[str]:
    """The oids of a body `{"oids": […]}`. Raises Problem."""
    data = await exchange.body(_QUESTION_LIMIT)
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = None
    oids = record.get("oids") if isinstance(record, dict) else None
    if not isinstance(oids, list) or not all(isinstance(oid, str) for oid in oids):
        raise Problem(400, "the body is no question", 'send {"oids": ["blake3:…", …]}')
    if len(oids) > MANY:
        raise Problem(413, f"more than {MANY} oids at once", "ask in several requests")
    for oid in oids:
        checked_oid(oid)
    return oids


def page_of(exchange: Exchange) -> tuple[str | None, int]:
    """`after` (None for the first page, not checked) and `limit` of the query. Raises Problem (400)."""
    text = exchange.scope["query_string"].decode("latin-1")
    try:
        query = parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Problem(400, f"the query has more than {_FIELDS} fields", "ask for after and limit only") from None
    after = query.get("after", [None])[-1]
    limit = query.get("limit", [str(_PAGE)])[-1]
    if not re.fullmatch(r"[0-9]{1,6}", limit) or not 1 <= int(limit) <= _LARGEST_PAGE:
        raise Problem(400, f"limit is no number from 1 to {_LARGEST_PAGE}", "give a number of rows, or leave it away")
    return after, int(limit)


def missing(oid: str, *, damaged: bool = False) -> Problem:
    """404."""
    if damaged:
        return Problem(404, f"the stored object {oid} is damaged", "push it again from a clone that has it")
    return Problem(404, f"there is no object {oid}", "push it from a clone that has it")


def as_problem(error: Exception) -> Problem:
    """The answer to what went wrong in the storage."""
    if isinstance(error, TooMuch):
        return Problem(413, error.message, error.fix or "")
    if isinstance(error, Mismatch) or (isinstance(error, HeadwaterError) and error.rule in _CLIENT_RULES):
        return Problem(400, error.message, error.fix or "")
    if isinstance(error, Retained):
        return Problem(403, error.message, error.fix or "")
    if isinstance(error, (StorageBusy, StorageGone)):
        return Problem(503, error.message, error.fix or "", [(b"retry-after", b"10")])
    if isinstance(error, Conflict):
        return Problem(409, error.message, "try again")
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return Problem(507, "the storage is full", "make room on the server, then send it again")
        return Problem(500, f"the storage failed: {error.strerror or type(error).__name__}", "look at the server's log")
    message = error.message if isinstance(error, HeadwaterError) else str(error)
    return Problem(500, message, "look at the server's log")


_CLIENT_RULES: Final = frozenset({"frames", "object-encoding", "oid-malformed", "oid-mismatch", "dvs-action"})

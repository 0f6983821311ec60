"""Many small objects in one stream: a line of JSON says which object follows and how long it is, then come its bytes.

    {"oid":"blake3:…","size":18}\n<18 bytes>{"oid":"blake3:…","missing":true}\n{"end":true}\n

Both directions and both ends use this module. What an oid promises about the bytes is checked by whoever stores them. Light:
standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

MEDIA_TYPE: Final = "application/x-headwater-objects"
END: Final = b'{"end":true}\n'
_LINE_LIMIT: Final = 4096
_LARGEST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Head:
    """The line before an object. `missing` says that none follows, and `error` why."""

    oid: str
    size: int = 0
    missing: bool = False
    error: str | None = None

    def to_line(self) -> bytes:
        """The line with its line feed."""
        if not self.missing:
            return b'{"oid":"%s","size":%d}\n' % (self.oid.encode(), self.size)
        record = {"oid": self.oid, "missing": True}
        return json.dumps(record if self.error is None else record | {"error": self.error}).encode() + b"\n"


class FrameReader:
    """Takes a stream apart as it comes. Keeps at most one line of it.

    `feed` gives, in their order: a Head, the bytes of its object in one or more pieces (none for an empty or missing one), None
    when the object is complete. Raises HeadwaterError (rule `frames`) for what is no such stream.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._left: int | None = None
        """Bytes of the present object that have not come; None between objects."""
        self.ended = False
        """Whether the line that ends the stream has come."""

    def feed(self, data: bytes) -> Iterator[Head | bytes | None]:
        """What these bytes say."""
        view = memoryview(data)
        at = 0
        while at < len(data):
            if self._left is not None:
                piece = bytes(view[at : at + self._left])
                at += len(piece)
                self._left -= len(piece)
                if piece:
                    yield piece
                if self._left == 0:
                    self._left = None
                    yield None
                continue
            if self.ended:
                raise _wrong("bytes follow its end")
            stop = data.find(b"\n", at)
            self._line += view[at : stop + 1 if stop >= 0 else len(data)]
            if len(self._line) > _LINE_LIMIT:
                raise _wrong(f"a line of it is longer than {_LINE_LIMIT} bytes")
            if stop < 0:
                return
            at = stop + 1
            line = bytes(self._line)
            self._line.clear()
            head = _read_line(line)
            if head is None:
                self.ended = True
                continue
            yield head
            if head.missing or head.size == 0:
                yield None
            else:
                self._left = head.size

    def finish(self) -> None:
        """Say that nothing follows. Raises as `feed` when the end has not come."""
        if not self.ended:
            raise _wrong("it was cut off")


def _read_line(line: bytes) -> Head | None:
    """The head that a line is, None for the end."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong("a line of it is no JSON") from None
    if record == {"end": True}:
        return None
    oid = record.get("oid") if isinstance(record, dict) else None
    if not isinstance(oid, str):
        raise _wrong("a line of it names no object")
    parse_oid(oid)
    if record.get("missing") is True:
        error = record.get("error")
        return Head(oid, missing=True, error=error if isinstance(error, str) else None)
    size = record.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _LARGEST:
        raise _wrong(f"it does not say how long {oid} is")
    return Head(oid, size)


def _wrong(what: str) -> HeadwaterError:
    return HeadwaterError(
        f"the stream of objects cannot be read: {what}",
        rule="frames",
        fix='send a line {"oid","size"} before the bytes of each object, and {"end":true} at the end',
    )

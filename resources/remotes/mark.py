"""Which remote this is: a file with a random id, made once. What is remembered of a remote belongs to that id. Light."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Final

from resources.storage.base import ABSENT, Storage
from schemas.errors import Conflict, HeadwaterError

MARK: Final = "headwater-remote"
_LIMIT: Final = 1 << 10


def read_mark(storage: Storage) -> str | None:
    """The id of the objects in a storage, None where none was made yet. Costs one request."""
    try:
        return storage.read(MARK, limit=_LIMIT).decode("ascii", "replace").strip() or None
    except FileNotFoundError:
        return None


def make_mark(storage: Storage) -> str:
    """The id, made now where there is none."""
    for _attempt in range(3):
        held = read_mark(storage)
        if held is not None:
            return held
        with suppress(Conflict):
            storage.write(MARK, f"{uuid.uuid4()}\n".encode(), expect=ABSENT)
    raise HeadwaterError("the remote's mark cannot be made", rule="dvs-storage-error", path=storage.url, fix="try again")

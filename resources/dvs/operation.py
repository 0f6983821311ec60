"""Operations that change the repository's text and its working tree: what was begun is finished by the next command.

Text changes as one set by itself (`Storage.commit`); the working files follow it. In between, `.dvs/state/operation.json` says
what was begun. It is written before the text changes and goes when the files are done. Whether the text has changed is seen from
the text: if it has not, nothing has happened and the record is dropped. Light: standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

FILE: Final = ".dvs/state/operation.json"
_FORMAT: Final = 1
_LIMIT: Final = 1 << 30


@contextmanager
def begun(repo: DvsRepo, operation: str, record: Mapping[str, Any]) -> Iterator[None]:
    """Keep the record of an operation while the block runs; it stays when the process dies, and when the block raises after it
    has begun to change things, so that the next command can finish it."""
    repo.storage.write(
        repo.path(FILE), json.dumps({"format": _FORMAT, "operation": operation, **record}, ensure_ascii=False).encode()
    )
    yield
    repo.storage.delete(repo.path(FILE))


def drop(repo: DvsRepo) -> None:
    """Forget what was begun: nothing of it has happened."""
    repo.storage.delete(repo.path(FILE))


def complete(repo: DvsRepo) -> list[str]:
    """Finish what a killed command has begun; returns one line for people each."""
    data = repo.read(FILE, limit=_LIMIT)
    if data is None:
        return []
    try:
        record = json.loads(data)
        operation = str(record["operation"])
        known = record["format"] == _FORMAT
    except (ValueError, KeyError, TypeError):
        drop(repo)
        return ["an unreadable record of a begun operation was dropped"]
    if not known:
        return [f"a begun operation was left alone: it is another version's ({operation})"]
    with repo.lock():
        if operation == "move":
            from resources.dvs.edit import finish_move

            said = finish_move(repo, record)
        elif operation == "rollback":
            from resources.dvs.history import finish_rollback

            said = finish_rollback(repo, record)
        else:
            said = f"a begun {operation} is not known here and was dropped"
    drop(repo)
    return [said]

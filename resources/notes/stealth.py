"""A store that the project's repository does not know of: exactly one line in the project's `.gitignore`."""

from __future__ import annotations

from resources.notes.changes import Plan
from resources.storage.base import ABSENT, Change, Storage
from schemas.errors import HeadwaterError
from schemas.notes.gitfiles import spellings, with_line
from schemas.oid import bytes_oid

_LIMIT = 4 << 20


def hide(storage: Storage, project: str, folder: str) -> Plan:
    """Have git ignore `folder` (relative to `project`, which is a folder of the storage, '' for its root).

    An empty plan when `.gitignore` says so already, in any of the usual spellings. Raises HeadwaterError for a `.gitignore` that
    is not text.
    """
    path = f"{project}/.gitignore" if project else ".gitignore"
    try:
        old: bytes | None = storage.read(path, limit=_LIMIT)
    except FileNotFoundError:
        old = None
    try:
        present = (old or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise HeadwaterError("the file is not UTF-8", rule="text-encoding", path=path, fix="save it again as UTF-8") from None
    new = with_line(present, f"/{folder}/", same=spellings(folder)).encode()
    plan = Plan(f"hide {folder}", lines=[f"{path}: ignore /{folder}/"] if new != (old or b"") else [])
    if plan.lines:
        plan.changes.append(Change(path, new, ABSENT if old is None else bytes_oid(old)))
        if old is not None:
            plan.before[path] = old
    return plan

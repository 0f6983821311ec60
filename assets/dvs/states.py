"""What is never built and only looked at: the state of a working tree, and of what each remote is proved to hold.

Values for whoever reports them. No remote is asked here: what they hold is what this machine's ledger proves. Nothing that comes
out names an absolute path or holds a credential.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from resources.dvs.scrub import standing
from resources.dvs.status import FileStatus, StatusRow
from resources.dvs.status import rows as status_rows
from resources.dvs.sync import RemoteSetting, remote_url, resolved_remotes
from resources.dvs.working import scan
from resources.remotes.ledger import Ledger
from resources.storage import is_url
from schemas.dvs.manifest import ORIGIN, Entry
from schemas.errors import HeadwaterError
from schemas.oid import json_oid
from schemas.paths import escaped

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.dvs.scrub import Standing

SHOWN: Final = 100
"""Files that are named one by one."""


@dataclass(frozen=True, slots=True)
class TreeState:
    """A working tree: a digest of every row of its status, how many files there are by status, the bytes that are recorded, and
    the first rows, those that are not current before the others."""

    version: str
    counts: Mapping[str, int]
    files: int
    bytes: int
    rows: Sequence[StatusRow]
    unsynced: Sequence[str]


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What a remote is proved to hold of what the manifest names for it: `lacking` are the first files it is not, `oldest` and
    `newest` when it was proved (seconds since 1970; None where nothing is)."""

    name: str
    place: str
    version: str
    objects: int
    bytes: int
    proved: int
    proved_bytes: int
    lacking: Sequence[Entry]
    oldest: int | None
    newest: int | None


@dataclass(frozen=True, slots=True)
class States:
    """Everything about one repository. `unproved` are the named objects that no remote is proved to hold, with the first path of
    each; empty where no remote is set. `tree` is None where the working tree is on another machine."""

    tree: TreeState | None
    remotes: Sequence[RemoteState]
    unproved: Mapping[str, str]
    elsewhere: frozenset[str]
    """The named objects that some remote is proved to hold."""
    named: Mapping[str, str]
    """Every object that the text names, with the first path of it."""
    standing: Standing


def look(repo: DvsRepo, *, seconds: float | None = None) -> States:
    """The repository as it is now. Reads the text, and of the data what the index cannot vouch for.

    Raises InvalidText; HeadwaterError (rule `dvs-look-long`) when data is still to be read after `seconds`.
    """
    rows = None if repo.folder is None else status_rows(repo, scan(repo, progress=_until(seconds)))
    manifest = repo.manifest()
    named = {entry.oid: entry.path for entry in sorted(manifest.entries.values(), key=lambda one: one.path, reverse=True)}
    for row in rows or ():
        if row.oid is not None:
            named.setdefault(row.oid, row.path)
    settings = resolved_remotes(repo)
    held = Ledger(repo.local / "ledger.db").held()
    remotes = [remote_state(repo, setting, manifest.entries.values(), held) for setting in settings]
    anywhere = frozenset(oid for proofs in held.values() for oid in proofs if oid in named)
    unproved = {oid: path for oid, path in sorted(named.items()) if oid not in anywhere} if settings else {}
    return States(None if rows is None else tree_state(rows), remotes, unproved, anywhere, named, standing(repo, named))


def _until(seconds: float | None) -> Callable[[str], None] | None:
    """What a scan calls before it reads a file: it ends the scan once the time is over."""
    if seconds is None:
        return None
    end = time.monotonic() + seconds

    def next_file(_path: str) -> None:
        if time.monotonic() > end:
            raise HeadwaterError(
                "so much data has to be read to know its status that a look is too short",
                rule="dvs-look-long",
                fix="run `headwater dvs status` once, which remembers what it reads",
            )

    return next_file


def tree_state(rows: Sequence[StatusRow]) -> TreeState:
    """The state that the rows of a status make."""
    counts = Counter(str(row.status) for row in rows)
    calm = (FileStatus.CURRENT, FileStatus.ABSENT)
    first = sorted(rows, key=lambda row: (row.status in calm, row.path))[:SHOWN]
    described = [[row.path, str(row.status), row.oid, row.size, row.local, row.error and row.error.rule] for row in rows]
    return TreeState(
        _digest(described),
        {str(kind): counts[str(kind)] for kind in FileStatus if counts[str(kind)] or kind is FileStatus.CURRENT},
        len(rows),
        sum(row.size or 0 for row in rows),
        first,
        [row.path for row in rows if row.status is FileStatus.UNSYNCED],
    )


def remote_state(repo: DvsRepo, setting: RemoteSetting, entries: Any, held: Mapping[str, Mapping[str, int]]) -> RemoteState:
    """What the ledger proves of one remote. A remote that no file names is measured by what goes to `origin`."""
    listed = [entry for entry in entries if (entry.remote or ORIGIN) == setting.name]
    if not listed:
        listed = [entry for entry in entries if (entry.remote or ORIGIN) == ORIGIN]
    sizes = {entry.oid: entry.bytes for entry in listed}
    proofs = held.get(remote_url(repo, setting), {})
    times = [proofs[oid] for oid in sizes if oid in proofs]
    lacking = sorted((entry for entry in listed if entry.oid not in proofs), key=lambda entry: entry.path)
    return RemoteState(
        setting.name,
        shown_place(setting.url),
        json_oid([shown_place(setting.url), [[oid, oid in proofs] for oid in sorted(sizes)]]),
        len(sizes),
        sum(sizes.values()),
        len(times),
        sum(size for oid, size in sizes.items() if oid in proofs),
        lacking[:SHOWN],
        min(times, default=None),
        max(times, default=None),
    )


def _digest(described: list[list[Any]]) -> str:
    try:
        return json_oid(described)
    except UnicodeEncodeError:  # names that are not Unicode
        return json_oid([[escaped(row[0]), *row[1:]] for row in described])


def shown_place(url: str) -> str:
    """Where a remote is, for everybody to read: a URL without credentials, a relative path, or that it is a folder."""
    if not is_url(url):
        return "a folder on this machine" if url.startswith(("/", "~", "\\")) or url[1:2] == ":" else url
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "a folder on this machine"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

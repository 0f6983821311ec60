"""A plan: the files that one change of a notes store writes, moves and deletes, and what is said of it to people.

Plans are made from the files as they are and carry what each file must still be when it is written, so a plan that came too late
writes nothing. Making them is the business of `writing`, `moving`, `materializing` and their neighbours; carrying one out is
`NotesStore.commit`. Light: standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from resources.storage.base import ABSENT, Change
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.notes.store import NotesStore


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A link that leads nowhere once the plan is carried out: where it stands (workspace-relative), and what it says."""

    path: str
    line: int
    column: int
    target: str


@dataclass(slots=True)
class Plan:
    """What would be changed. `path` is the store-relative path, afterwards, of the note the plan is about, if it is about one;
    `lines` say for people what happens; `before` holds the bytes, by workspace-relative path, that the changes replace."""

    label: str
    path: str | None = None
    changes: list[Change] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    broken: list[BrokenLink] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)


class Draft:
    """A plan being made: files are read once and changed in memory, `plan` compares the outcome with what was read.

    Paths are the store's. Reading a file through the draft gives what the draft has made of it.
    """

    def __init__(self, store: NotesStore, label: str) -> None:
        self.store = store
        self.label = label
        self.lines: list[str] = []
        self.broken: list[BrokenLink] = []
        self.path: str | None = None
        self._before: dict[str, bytes | None] = {}
        self._after: dict[str, bytes | None] = {}

    def exists(self, path: str) -> bool:
        """Whether a file lies there once the draft is carried out."""
        return self._after[path] is not None if path in self._after else self.store.exists(path)

    def original(self, path: str) -> bytes:
        """The file as it lies there now. Raises FileNotFoundError."""
        if self._before.get(path) is None:
            self._before[path] = self.store.read(path)
        data = self._before[path]
        assert data is not None
        return data

    def read(self, path: str) -> bytes:
        """The file as the draft leaves it. Raises FileNotFoundError."""
        if path not in self._after:
            return self.original(path)
        data = self._after[path]
        if data is None:
            raise FileNotFoundError(path)
        return data

    def write(self, path: str, data: bytes) -> None:
        """Leave `data` at `path`, whatever lies there now."""
        if path not in self._before:
            self._before[path] = self.store.read(path) if self.store.exists(path) else None
        self._after[path] = data

    def revise(self, path: str, data: bytes, now: datetime) -> None:
        """Leave `data` at `path`, with the key `updated` moved to `now` where the note has one and something changed."""
        from schemas.notes.edit import touched

        self.write(path, touched(self.original(path), data, self.store.workspace_path(path), now))

    def remove(self, path: str) -> None:
        """Leave nothing at `path`. Raises FileNotFoundError when there is nothing now."""
        self.read(path)
        self._after[path] = None

    def plan(self) -> Plan:
        """The changes that are left after those that change nothing are dropped, each with what must be there for it."""
        made = Plan(self.label, self.path, lines=self.lines, broken=self.broken)
        for path in sorted(self._after):
            old, new = self._before.get(path), self._after[path]
            if old == new:
                continue
            shown = self.store.workspace_path(path)
            if old is not None:
                made.before[shown] = old
            made.changes.append(Change(shown, new, ABSENT if old is None else bytes_oid(old)))
        return made

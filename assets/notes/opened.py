"""An opened notes store: its index, up to date, and its files, as every command and service of the kind works on them.

The index is brought up to date in this process, without Dagster; the next command or sensor that has Dagster loaded reports it.
Where it cannot be written (a read-only checkout, something in its way) a private one is built beside nobody's files, so that no
command depends on `qipu.db` being there. Light: standard library only, everything else inside functions.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from assets.engine.model import Outcome, Ref, Store
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from assets.engine.engine import Engine
    from resources.notes.store import NotesStore
    from schemas.notes.config import NotesConfig

INDEX = "qipu_db"
_MAPPED = 2 << 30


def connect(path: Path) -> sqlite3.Connection:
    """A read-only connection to an index, rows by name. The file is never changed in its place, only replaced, so it is opened as
    immutable: no lock is taken and no journal looked for."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA mmap_size = {_MAPPED}")  # pages are looked at where the system keeps them, not copied
    return connection


@dataclass
class OpenedNotes:
    """One notes store, ready to be asked. Made by `open_notes`; `close` it when done."""

    engine: Engine
    place: Store
    outcome: Outcome
    """What bringing the index up to date came to, at the last `refresh`."""
    path: Path
    """The index on this machine."""
    connection: sqlite3.Connection
    """Read-only, rows by name; another one after `refresh`."""
    notice: str | None = None
    """Why the index is a private one, when it is; to be told once."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The time that ages are counted from; `--as-of` sets it."""

    @property
    def ref(self) -> Ref:
        return Ref(self.place.kind, self.place.name, INDEX)

    @property
    def is_private(self) -> bool:
        """Whether the index is a private one, because the store's own cannot be written."""
        return self.notice is not None

    @cached_property
    def store(self) -> NotesStore:
        """The store's files, which is what every edit reads and writes."""
        from resources.notes.store import NotesStore

        return NotesStore(self.engine.workspace.root, self.place.root, settings=self.place.settings)

    @property
    def config(self) -> NotesConfig:
        return self.store.config

    def refresh(self) -> Outcome:
        """Bring the index up to date after an edit and open it again. Raises what kept it from being built."""
        self.connection.close()
        self.__dict__.pop("store", None)
        self.outcome, self.path, self.notice = _current(self.engine, self.ref)
        self.connection = connect(self.path)
        return self.outcome

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> OpenedNotes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_notes(engine: Engine, store: Store) -> OpenedNotes:
    """Open `store` (of the kind `notes`) with its index up to date. Raises HeadwaterError for a store that is gone, and what kept
    the index from being built where not even a private one could be."""
    if not store.present:
        raise HeadwaterError(
            f"the store {store.kind}/{store.name} is gone", rule="store-vanished", path=store.root, fix="bring its folder back"
        )
    outcome, path, notice = _current(engine, Ref(store.kind, store.name, INDEX))
    return OpenedNotes(engine, store, outcome, path, connect(path), notice)


def _current(engine: Engine, ref: Ref) -> tuple[Outcome, Path, str | None]:
    """(outcome, path of an index that is up to date, why it is a private one)."""
    found = engine.readable(ref)
    notice = None
    if found.private:
        reason = found.outcome.reasons[0] if found.outcome.reasons else str(found.outcome.result)
        notice = f"the index of {ref.kind}/{ref.store} cannot be written ({reason}); a private copy is used"
    return found.outcome, found.paths[0], notice

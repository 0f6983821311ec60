"""One project's text and its history moving together: every change of the text leaves one record, also when the process dies.

Order of a change: the record to come is written down as pending, text that the record only names is laid beside the log, the
text is committed (all files or none), the record is appended, the pending note removed. Whoever comes next completes or drops
what was left behind. Which change is made, and in which words, is decided by `assets.tables.execute` and the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from assets.engine.model import Store
from assets.tables.versions import PROJECT_FILE, Version, digest, from_storage
from resources.objects import ObjectStore, RottenObject
from resources.storage.base import ABSENT, Change
from resources.tables.history_log import Draft, HistoryLog, HistoryTexts
from resources.workspace import Workspace
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError
from schemas.ids import escape_name, new_ulid
from schemas.oid import bytes_oid
from schemas.tables.history import NO_TEXT, Record, RecordKind, Splice, splice

HISTORY_FILE = "history.log"
REMEMBER_LIMIT = 32 << 20
"""Bytes of one file that is kept to record an edit outside as what it changed; of larger projects the whole file is recorded."""


@dataclass(slots=True)
class Journal:
    """The text and the log of one tables store. Everything that changes them happens inside `open()`."""

    workspace: Workspace
    store: Store
    actor: str
    said: list[str] = field(default_factory=list)
    """What was repaired or found on the way, one line each, for the user."""

    @property
    def prefix(self) -> str:
        return f"{self.store.root}/" if self.store.root else ""

    @property
    def log(self) -> HistoryLog:
        return HistoryLog(self.workspace.root, self.prefix + HISTORY_FILE)

    @property
    def texts(self) -> HistoryTexts:
        """Text that records name by digest only."""
        return HistoryTexts(self.workspace.root, self.prefix)

    @property
    def _named(self) -> ObjectStore:
        """Where such text was kept before it lay beside the log. Read only; never swept, because nothing else may have it."""
        return ObjectStore(self.workspace.state, "history/named")

    @property
    def _last(self) -> ObjectStore:
        """The text of the last record, of each store."""
        return ObjectStore(self.workspace.state, f"history/last/{escape_name(self.store.name)}")

    @property
    def _pending(self) -> str:
        return f"history/pending/{escape_name(self.store.name)}.json"

    def text(self) -> Version:
        """The text as it is now."""
        return from_storage(self.workspace.root, self.store.root)

    @contextmanager
    def open(self) -> Iterator[Version]:
        """Take the project's lock, complete what a killed command left, and hand out the text.

        Raises InvalidText for a log that cannot be believed, HeadwaterError (rule `history-fork`) for one with two heads.
        """
        with self.workspace.root.lock(f"tables {self.store.name}"):
            self.said += self.workspace.root.recover()
            repaired = self.log.repair()
            if repaired:
                self.said.append(repaired)
            text = self.text()
            self._settle(text)
            yield text

    def _settle(self, text: Version) -> None:
        """Append the record of a change whose text was committed, drop the one of a change that never happened."""
        try:
            draft = _from_json(json.loads(self.workspace.state.read(self._pending)))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            draft = None
        if draft is not None:
            files = text.files()
            if digest(files) == draft.after:
                self._record(draft, files)
                said = " ".join(draft.cmd.split()) or str(draft.kind)
                self.said.append(f"recorded an earlier command that was cut short: {said[:60]}")
            else:
                self.texts.drop(draft.changes, self.log.read())
        self.workspace.state.delete(self._pending)

    def _record(self, draft: Draft, files: Mapping[str, bytes]) -> Record:
        """Append the record of a change that led to `files`, after making durable what it only names."""
        for change in draft.changes:
            if change.oid is not None:
                self.texts.put(change, files[change.path])
        return self.log.append(draft)

    def elsewhere(self) -> list[Splice]:
        """What the log only names and an earlier version kept in `.headwater/`, where no clone and no zip has it."""
        log = self.log.read()
        named = () if log is None else log.named()
        return [change for change in named if not self.texts.has(change) and self._named.has(change.oid or "")]

    def take_over(self) -> None:
        """Lay that text beside the log. Raises RottenObject when it is damaged. The caller holds the project's lock."""
        for change in self.elsewhere():
            self.texts.put(change, self._named.get(change.oid or ""))
            self.said.append(f"text that history.log names now lies beside it: {self.texts.path(change)}")

    def catch_up(self, files: Mapping[str, bytes]) -> None:
        """Record text that moved without a record: the first text of a log, or an edit, a pull, a checkout."""
        with suppress(RottenObject):
            self.take_over()
        log = self.log.read()
        now = digest(files)
        before = log.digest if log is not None else NO_TEXT
        if before == now:
            return
        first = log is None or not log.records
        known = {} if first else self.remembered(before) or {}
        changes = tuple(splice(path, known.get(path), data) for path, data in files.items() if known.get(path) != data)
        changes += tuple(Splice(path=path) for path in known if path not in files)
        kind = RecordKind.IMPORT if first else RecordKind.EXTERNAL_CHANGE
        draft = Draft(self.actor, kind, "", before, now, changes=changes, id=new_ulid())
        if any(change.oid is not None for change in changes):
            self.workspace.state.write(self._pending, canonical_json(_to_json(draft)))
            self._record(draft, files)
            self.workspace.state.delete(self._pending)
        else:
            self.log.append(draft)
        self.remember(files)
        if not first:
            self.said.append("the text was changed outside of the log; an external_change record was appended")

    def commit(
        self, old: Mapping[str, bytes], new: Mapping[str, bytes | None], draft: Draft, *, with_text: bool = False
    ) -> Record:
        """Write the files of `new` (None deletes) over those of `old` and append `draft`'s record, which gets its digests here.

        What changed outside since the last record is recorded first.

        `with_text` puts the changed bytes into the record, for changes that no statement reproduces. Raises Conflict when a
        file is no longer what `old` says; then nothing was written.
        """
        self.catch_up(old)
        after = {**old, **{path: data for path, data in new.items() if data is not None}}
        for path, data in new.items():
            if data is None:
                after.pop(path, None)
        changes: tuple[Splice, ...] = ()
        if with_text:
            changes = tuple(splice(path, old.get(path), data) for path, data in new.items() if old.get(path) != data)
        full = Draft(
            draft.actor,
            draft.kind,
            draft.cmd,
            digest(old),
            digest(after),
            args=draft.args,
            rows=draft.rows,
            format=draft.format,
            changes=changes or draft.changes,
            id=draft.id or new_ulid(),
        )
        self.workspace.state.write(self._pending, canonical_json(_to_json(full)))
        text = self.text()
        writes = [
            Change(self.prefix + text.where(path), data, bytes_oid(old[path]) if path in old else ABSENT)
            for path, data in new.items()
            if old.get(path) != data
        ]
        try:
            for change in full.changes:
                if change.oid is not None:
                    self.texts.put(change, after[change.path])
            self.workspace.root.commit(writes, label=f"tables {draft.kind}")
        except HeadwaterError:
            self.texts.drop(full.changes, self.log.read())
            self.workspace.state.delete(self._pending)
            raise
        record = self.log.append(full)
        self.workspace.state.delete(self._pending)
        self.remember(after)
        return record

    # the text of the last record, so that an edit outside can be recorded as what it changed

    @property
    def _memory(self) -> str:
        return f"history/last/{escape_name(self.store.name)}.json"

    def remember(self, files: Mapping[str, bytes]) -> None:
        """Keep the text of the last record instead of the one before. Only a help: what cannot be kept is not."""
        with suppress(HeadwaterError, OSError):
            before = self._remembered_oids()
            if all(len(data) <= REMEMBER_LIMIT for data in files.values()):
                oids = {path: self._last.put(data) for path, data in files.items()}
                self.workspace.state.write(self._memory, canonical_json({"digest": digest(files), "files": oids}))
            else:
                oids = {}
                self.workspace.state.delete(self._memory)
            for oid in before - set(oids.values()):
                self._last.delete(oid)

    def _remembered_oids(self) -> set[str]:
        try:
            return set(json.loads(self.workspace.state.read(self._memory))["files"].values())
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return set()

    def remembered(self, wanted: str) -> dict[str, bytes] | None:
        """The text with the digest `wanted` when it is the one that was kept."""
        try:
            memory = json.loads(self.workspace.state.read(self._memory))
            if memory["digest"] != wanted:
                return None
            return {path: self._last.get(oid) for path, oid in memory["files"].items()}
        except (FileNotFoundError, HeadwaterError, ValueError, KeyError, TypeError):
            return None

    def fetch(self, change: Splice) -> bytes | None:
        """Text that a record only names: from beside the log, else from where this machine happens to have it.

        Raises HeadwaterError (rule `history-text`) when the file beside the log is damaged and there is no other copy.
        """
        damaged: HeadwaterError | None = None
        try:
            held = self.texts.get(change)
        except HeadwaterError as error:
            damaged, held = error, None
        if held is not None:
            return held
        for objects in (self._named, self._last, self.workspace.objects):
            with suppress(FileNotFoundError, HeadwaterError):
                return objects.get(change.oid or "")
        if damaged is not None:
            raise damaged
        return None


def _to_json(draft: Draft) -> dict[str, Any]:
    return {
        "actor": draft.actor,
        "kind": str(draft.kind),
        "cmd": draft.cmd,
        "before": draft.before,
        "after": draft.after,
        "args": dict(draft.args),
        "ok": draft.ok,
        "rows": draft.rows,
        "format": draft.format,
        "changes": [change.model_dump(mode="json") for change in draft.changes],
        "error": draft.error,
        "id": draft.id,
    }


def _from_json(value: dict[str, Any]) -> Draft:
    changes = tuple(Splice.model_validate(change) for change in value["changes"])
    return Draft(**{**value, "kind": RecordKind(value["kind"]), "changes": changes})


__all__ = ["HISTORY_FILE", "PROJECT_FILE", "Journal"]

"""Stores for tests: made from texts, with a linker that reads every file, so that no index is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.notes.resolve import Name, Namesakes, key
from resources.notes.changes import Plan
from resources.notes.spelling import stem
from resources.notes.store import NotesStore
from resources.storage.local import LocalStorage
from schemas.notes.model import Mention, MentionKind

NOW = datetime(2026, 1, 12, 13, 7, tzinfo=UTC)


def store_of(folder: Path, files: Mapping[str, str | bytes], root: str = ".qipu", **settings: Any) -> NotesStore:
    """A store at `root` of `folder` with these files (store-relative)."""
    for path, text in files.items():
        place = folder / root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
    (folder / root).mkdir(parents=True, exist_ok=True)
    return NotesStore(LocalStorage(folder), root, settings)


def contents(store: NotesStore) -> dict[str, bytes]:
    """Every file of the store by path."""
    assert store.storage.local_root is not None
    root = store.storage.local_root / store.root
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def carry_out(store: NotesStore, plan: Plan) -> dict[str, str]:
    """Commit the plan; the texts of the store afterwards."""
    store.commit(plan.changes, plan.label)
    return {path: data.decode("utf-8", "replace") for path, data in contents(store).items()}


class FilesLinker:
    """Answers about links from the files as they are when it is made."""

    def __init__(self, store: NotesStore) -> None:
        self.notes = {path: store.parse(path) for path in store.note_paths()}
        names: dict[str, list[Name]] = defaultdict(list)
        files: dict[str, list[str]] = defaultdict(list)
        for number, note in enumerate(self.notes.values()):
            forms = [("id", note.id), ("path", note.path), ("stem", stem(note.path)), ("title", note.title)]
            for form, name in [*forms, *(("alias", alias) for alias in note.aliases)]:
                names[key(name)].append(Name(number, note.path, form, name))
        for path in store.attachment_paths():
            files[key(path)].append(path)
        self.names, self.files = names, files

    def resolve(self, source: str, mention: Mention) -> str | None:
        if mention.kind is MentionKind.URL:
            return None
        if not mention.target:
            return source
        return self._of(mention.target).resolve(mention.kind, mention.target, source).path

    def inbound(self, path: str) -> Collection[str]:
        return [
            source
            for source, note in self.notes.items()
            if any(mention.target and self.resolve(source, mention) == path for mention in note.mentions)
        ]

    def named(self, target: str) -> Collection[str]:
        return self._of(target).meant(target)

    def _of(self, target: str) -> Namesakes:
        return Namesakes(self.names[key(target)], self.files[key(target)])


def links_of(store: NotesStore) -> dict[str, list[tuple[str, str, str | None]]]:
    """Where every link of every note leads: note -> [(kind, path or '?', anchor)], for comparing before and after."""
    linker = FilesLinker(store)
    return {
        path: [
            (str(mention.kind), linker.resolve(path, mention) or "?", mention.anchor)
            for mention in note.mentions
            if mention.kind is not MentionKind.URL
        ]
        for path, note in linker.notes.items()
    }

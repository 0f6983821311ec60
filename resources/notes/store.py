"""One notes store behind a storage: where its files are, its settings, what one note says, where a new one goes.

What the text means is in `schemas.notes`; changes are planned by the other modules of this package. Every path is relative to the
store unless it is called a workspace path. Light: what reads notes is imported when one is read.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resources.storage.base import Change, Storage
from schemas.errors import Conflict, HeadwaterError, UsageError
from schemas.findings import Finding
from schemas.notes.config import CONFIG_NAME, OBSIDIAN_FILES, NotesConfig, ObsidianSettings, read_config, read_obsidian
from schemas.notes.layout import (
    ATTACHMENTS,
    DERIVED,
    MOCS,
    NOTES,
    TEMPLATES,
    Layout,
    attachment_filter,
    detect,
    note_filter,
)
from schemas.notes.model import ParsedNote
from schemas.paths import check_path, fold, is_portable_name

if TYPE_CHECKING:
    from resources.notes.changes import Plan

_CONFIG_LIMIT = 1 << 20
_ATTEMPTS = 20
_PATIENCE = 120.0
"""Seconds to wait for others who change the store."""
_NOT_IN_NAME = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*#^\[\]]+')


class NotesStore:
    """The store in the folder `root` ('' for the storage's own root). `settings` are those of the workspace's configuration:
    `include`, `exclude`, `layout`."""

    def __init__(self, storage: Storage, root: str = "", settings: Mapping[str, Any] | None = None) -> None:
        self.storage = storage
        self.root = root
        self.settings = dict(settings or {})

    # where things are

    def workspace_path(self, path: str) -> str:
        """The storage's path of a path in the store."""
        return f"{self.root}/{path}" if self.root else path

    def inside(self, path: str) -> str | None:
        """The path in the store of a storage's path, None outside of it."""
        if not self.root:
            return path
        return path[len(self.root) + 1 :] if path.startswith(f"{self.root}/") else None

    @cached_property
    def layout(self) -> Layout:
        """How the store is laid out: as the workspace says, else as its folder shows."""
        chosen = self.settings.get("layout")
        return Layout(chosen) if chosen else detect(self.root, self._names_in(""))

    @property
    def config(self) -> NotesConfig:
        """The settings of `config.toml`; the defaults outside of qipu's layout and where there is none."""
        return self._config[0]

    @property
    def config_findings(self) -> list[Finding]:
        """What is wrong with `config.toml`."""
        return self._config[1]

    @cached_property
    def _config(self) -> tuple[NotesConfig, list[Finding]]:
        if self.layout is not Layout.QIPU:
            return NotesConfig(), []
        return read_config(self._optional(CONFIG_NAME), self.workspace_path(CONFIG_NAME))

    @cached_property
    def obsidian(self) -> ObsidianSettings:
        """The settings of the vault that apply here; Obsidian's defaults outside of one."""
        if self.layout is not Layout.VAULT:
            return ObsidianSettings()
        files = {name: data for name in OBSIDIAN_FILES if (data := self._optional(name)) is not None}
        return read_obsidian(files, self.workspace_path(""))

    @cached_property
    def is_note(self) -> Callable[[str], bool]:
        """Whether the file at a path of the store is a note."""
        return note_filter(self.layout, self.config, self.obsidian, *self._globs())

    @cached_property
    def is_attachment(self) -> Callable[[str], bool]:
        """Whether the file at a path of the store is an attachment."""
        return attachment_filter(self.layout, self.config, self.obsidian, *self._globs())

    def note_paths(self) -> list[str]:
        """The paths of all notes, sorted."""
        return [path for path in self._files() if self.is_note(path)]

    def attachment_paths(self) -> list[str]:
        """The paths of all attachments, sorted."""
        return [path for path in self._files() if self.is_attachment(path)]

    def template_paths(self) -> list[str]:
        """The paths of the store's templates, sorted."""
        folder = self.template_folder
        return (
            [] if folder is None else [path for path in self._files() if path.startswith(f"{folder}/") and path.endswith(".md")]
        )

    @property
    def template_folder(self) -> str | None:
        """The folder the templates lie in, None where there is none."""
        if self.layout is Layout.QIPU:
            return TEMPLATES
        return self.obsidian.templates_folder if self.layout is Layout.VAULT else None

    # reading

    def exists(self, path: str) -> bool:
        """Whether a file lies at `path`."""
        return self.storage.stat(self.workspace_path(path)) is not None

    def read(self, path: str) -> bytes:
        """The bytes of a file of the store. Raises FileNotFoundError."""
        return self.storage.read(self.workspace_path(path))

    def parse(self, path: str) -> ParsedNote:
        """The note at `path`, read from its file. Raises FileNotFoundError; what its text holds is never an error."""
        return self.parse_bytes(self.read(path), path)

    def parse_bytes(self, data: bytes, path: str) -> ParsedNote:
        """A note that would lie at `path`."""
        from schemas.notes.parse import parse_note

        return parse_note(data, path, prefix=self.root, config=self.config)

    # writing

    def commit(self, changes: Sequence[Change], label: str) -> None:
        """Carry out all the changes or none. Raises Conflict when a file is no longer what the plan was made from."""
        if changes:
            self.storage.commit(list(changes), label=label)

    def retry(self, make: Callable[[], Plan]) -> Plan:
        """Make a plan and carry it out, again from the files as they are whenever somebody else was quicker.

        Returns the plan that was carried out. Raises Conflict when somebody else was always quicker, and what `make` raises.
        """
        import random

        for attempt in range(_ATTEMPTS):
            with self.lock():
                plan = make()
                try:
                    self.commit(plan.changes, plan.label)
                except Conflict:  # somebody who does not ask for the lock, such as an editor
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return plan
            time.sleep(random.uniform(0, 0.01 * attempt))
        raise AssertionError("unreachable")

    def lock(self) -> AbstractContextManager[None]:
        """The polite lock of everybody who changes this store: it spares them planning twice, no more."""
        return self.storage.lock(f"notes {self.root}", timeout=_PATIENCE)

    # new files

    def new_path(
        self,
        note_id: str,
        title: str,
        note_type: str | None,
        created: datetime | None = None,
        folder: str | None = None,
        *,
        own: str | None = None,
    ) -> str:
        """Where a note with this id, title and type belongs, or its place in `folder`; `created` counts where the layout sorts by
        date.

        qipu's layout: `notes/<id>-<slug>.md`, `mocs/…` for type moc. A vault: the title as the file's name, in the folder that
        the vault puts new notes in. Another folder: `<slug>.md`. A name that is taken there, unless by the file at the path
        `own`, gets the id behind it.
        """
        if self.layout is Layout.QIPU:
            where = folder if folder is not None else self.folder_for(note_type, created)
            return "/".join(filter(None, (where, self.file_name(note_id, title))))
        if self.layout is Layout.VAULT:
            name = " ".join(_NOT_IN_NAME.sub(" ", title).split()).strip(" .")[:50].strip(" .")
            where = self.obsidian.new_file_folder if self.obsidian.new_file_location == "folder" else ""
        else:
            name, where = _slug(title), ""
        name = name if name and is_portable_name(f"{name}.md") else note_id
        where = where if folder is None else folder
        if fold(f"{name}.md") in {fold(present) for present in self._names_in(where) if own != _joined(where, present)}:
            name = f"{name}-{note_id}" if self.layout is Layout.FOLDER else f"{name} {note_id}"
        return _joined(where, f"{name}.md")

    def file_name(self, note_id: str, title: str) -> str:
        """The name of a note's file in qipu's layout."""
        from schemas.notes.slugs import note_file_name

        return note_file_name(note_id, title)

    def folder_for(self, note_type: str | None, created: datetime | None = None) -> str:
        """The folder that a note of this type lies in, in qipu's layout."""
        if note_type == "moc" and self.config.layout_mocs == "folder":
            return MOCS
        if self.config.layout_note_path == "date":
            return f"{NOTES}/{(created or datetime.now(UTC)).strftime('%Y/%m')}"
        return NOTES

    def attachment_folder(self, note_id: str, note_path: str) -> str:
        """The folder that attachments of a note go to, '' for the store's own."""
        if self.layout is Layout.QIPU:
            return f"{ATTACHMENTS}/{note_id}" if self.config.layout_attachments == "per-note" else ATTACHMENTS
        if self.layout is Layout.FOLDER:
            return ATTACHMENTS
        chosen = self.obsidian.attachment_folder
        here = note_path.rpartition("/")[0]
        if chosen.startswith("./"):
            return "/".join(filter(None, (here, chosen[2:].strip("/"))))
        return chosen.strip("/")

    def check_new(self, path: str, *, is_note: bool = True, leaving: Collection[str] = ()) -> str:
        """`path` when a new note (or another file) may lie there once the files `leaving` are gone.

        Raises HeadwaterError (rule `path-…`) for a path that is not safe everywhere, UsageError for one that is no note's or that
        some platform takes for a file that is there.
        """
        check_path(path)
        if is_note and not self.is_note(path):
            raise UsageError(
                f"{path!r} is no place for a note of this store",
                rule="notes-place",
                fix="give a name that ends in .md, outside of folders for other things",
            )
        folder, _, name = path.rpartition("/")
        for present in self._names_in(folder):
            if present != name and fold(present) == fold(name) and _joined(folder, present) not in leaving:
                raise UsageError(
                    f"{name!r} and {present!r} are one file on some computers",
                    rule="notes-place",
                    path=self.workspace_path(folder) or None,
                    fix="choose another name",
                )
        return path

    def _globs(self) -> tuple[Sequence[str], Sequence[str]]:
        return self.settings.get("include") or (), self.settings.get("exclude") or ()

    def _files(self) -> Iterator[str]:
        """The paths of the files in the store that are visible: no folder with a dot before its name is entered."""
        start = len(self.workspace_path(""))

        def enter(folder: str) -> bool:
            return not folder.rpartition("/")[2].startswith(".")

        for status in self.storage.scan(self.root, enter=enter):
            path = status.path[start:]
            if path not in DERIVED:
                yield path

    def _names_in(self, folder: str) -> set[str]:
        """The files and folders directly in a folder of the store."""
        where = self.workspace_path(folder).rstrip("/")
        if self.storage.local_root is not None:
            with suppress(OSError):
                return set(os.listdir(self.storage.local_root / where))
            return set()
        start = len(where) + 1 if where else 0
        return {status.path[start:].partition("/")[0] for status in self.storage.scan(where)}

    def _optional(self, path: str) -> bytes | None:
        try:
            return self.storage.read(self.workspace_path(path), limit=_CONFIG_LIMIT)
        except (FileNotFoundError, HeadwaterError):
            return None


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _slug(title: str) -> str:
    from schemas.notes.slugs import file_slug

    return file_slug(title)

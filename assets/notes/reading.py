"""How the files of a store are read for its index: its settings, which files are notes, and one file as rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assets.engine.view import InputFile, View
from assets.notes.rows import NoteRows, note_rows
from schemas.findings import Finding
from schemas.notes.config import NotesConfig, ObsidianSettings, parse_digest, read_config, read_obsidian
from schemas.notes.layout import MOCS, NOTES, Layout, attachment_filter, detect, note_filter
from schemas.notes.parse import PARSER_VERSION, parse_note
from schemas.oid import json_oid

NOTE_ROLES = ("notes", "attachments")
"""The roles whose files are looked at; the filters of the layout decide which is which."""
WORTH_HELPERS = 2_000
"""From so many notes on, helpers that parse them are started."""
_CONFIG = "config.toml"


@dataclass(frozen=True)
class Reading:
    """Everything besides its bytes that decides how a file is read. `digest` changes when any of it does; `findings` are those
    of the settings, with store-relative paths."""

    config: NotesConfig
    layout: Layout
    is_note: Callable[[str], bool]
    is_attachment: Callable[[str], bool]
    findings: tuple[Finding, ...]
    digest: str

    def rows(self, data: bytes, file: InputFile) -> NoteRows:
        """The rows of a note."""
        return read_note(data, file.path, file.oid, self.config, self.layout)


def read_note(data: bytes, path: str, oid: str, config: NotesConfig, layout: Layout) -> NoteRows:
    """The rows of the note at `path`; never raises for its content."""
    note = parse_note(data, path, config=config)
    moc = note.type == "moc" or (layout is Layout.QIPU and path.startswith(f"{MOCS}/"))
    return note_rows(note, oid, len(data), moc=moc)


def reading(view: View, parameters: Mapping[str, Any]) -> Reading:
    """How the store that `view` shows is read; `parameters` are the settings `include`, `exclude` and `layout` of its kind."""
    settings = {file.path: view.read("settings", file.path) for file in view.files("settings")}
    config, findings = read_config(settings.get(_CONFIG), _CONFIG)
    obsidian = read_obsidian({path: data for path, data in settings.items() if path != _CONFIG})
    include, exclude = tuple(parameters.get("include") or ()), tuple(parameters.get("exclude") or ())
    chosen = parameters.get("layout")
    layout = Layout(chosen) if chosen else detect(view.root, _top_names(view, settings))
    filters = (layout, config, obsidian, include, exclude)
    return Reading(
        config,
        layout,
        note_filter(*filters),
        attachment_filter(*filters),
        (*findings, *obsidian.findings),
        json_oid([PARSER_VERSION, parse_digest(config), str(layout), _plain(obsidian), include, exclude]),
    )


def parse_all(view: View, read: Reading, notes: list[tuple[str, InputFile]]) -> Iterator[NoteRows]:
    """The rows of `notes` (role, file), in their order; of many they are made by helper processes."""
    if len(notes) >= WORTH_HELPERS and cores() > 1:
        from assets.notes.workers import parse_on_every_core

        yield from parse_on_every_core(view, read, notes)
        return
    for role, file in notes:
        yield read.rows(view.read(role, file.path), file)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def files(view: View) -> Iterator[tuple[str, InputFile]]:
    """(role, file) of everything that may be a note or an attachment."""
    for role in NOTE_ROLES:
        for file in view.files(role):
            yield role, file


def _top_names(view: View, settings: Iterable[str]) -> set[str]:
    """What is known to lie directly in the store, as far as it tells one layout from another."""
    found = {path.partition("/")[0] for path in settings}
    for name in (NOTES, MOCS):
        if any(path.startswith(f"{name}/") for path, _, _ in view.roles["notes"].files):
            found.add(name)
    return found


def _plain(obsidian: ObsidianSettings) -> list[Any]:
    patterns = [pattern.pattern for pattern in obsidian.ignore_patterns]
    return [list(obsidian.ignore_prefixes), patterns, obsidian.templates_folder]

"""Another layout for a store of qipu's: maps in a folder of their own or not, notes by month or not, attachments by note or not.

Only what lies where a layout puts it is moved; a note that somebody put into a folder of their own stays there.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from resources.notes.changes import Draft, Plan
from resources.notes.linking import Linker
from resources.notes.moving import DATED, carry
from resources.notes.spelling import folder_of
from resources.notes.store import NotesStore
from schemas.document import Value
from schemas.errors import UsageError
from schemas.notes.config import CONFIG_NAME, write_config
from schemas.notes.layout import ATTACHMENTS, MOCS, NOTES, Layout
from schemas.paths import fold

if TYPE_CHECKING:
    from schemas.notes.model import ParsedNote


def relayout(
    store: NotesStore, linker: Linker, *, mocs: str | None = None, note_path: str | None = None, attachments: str | None = None
) -> Plan:
    """Move the files of the store to where a layout puts them, with every link, and write it into `config.toml`.

    None keeps what the settings say; files that lie elsewhere than those say are put right too. Raises UsageError outside of
    qipu's layout.
    """
    if store.layout is not Layout.QIPU:
        raise UsageError(
            "only a store with config.toml, notes/ and mocs/ has a layout",
            rule="notes-layout",
            fix="move notes with `headwater notes mv`",
        )
    draft = Draft(store, "relayout")
    wanted = {
        "mocs": mocs or store.config.layout_mocs,
        "note_path": note_path or store.config.layout_note_path,
        "attachments": attachments or store.config.layout_attachments,
    }
    notes = [store.parse_bytes(draft.original(path), path) for path in store.note_paths()]
    pairs = [(note.path, _place(note, wanted["mocs"], wanted["note_path"])) for note in notes]
    pairs += _attachment_places(store, linker, {note.path: note.id for note in notes}, wanted["attachments"])
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    carry(draft, linker, pairs)
    given = {name: value for name, value in (("mocs", mocs), ("note_path", note_path), ("attachments", attachments)) if value}
    present = {
        "mocs": store.config.layout_mocs,
        "note_path": store.config.layout_note_path,
        "attachments": store.config.layout_attachments,
    }
    if fresh := {name: value for name, value in given.items() if present[name] != value}:
        draft.write(CONFIG_NAME, _configured(draft, fresh))
        draft.lines.append(f"set {', '.join(f'layout.{name} = {value}' for name, value in fresh.items())}")
    return draft.plan()


def _place(note: ParsedNote, mocs: str, note_path: str) -> str:
    folder, _, name = note.path.rpartition("/")
    if folder not in (NOTES, MOCS) and not DATED.match(folder):
        return note.path
    if note.type == "moc" and mocs == "folder":
        return f"{MOCS}/{name}"
    if note_path == "flat":
        return f"{NOTES}/{name}"
    month = _month(note.created)
    return f"{NOTES}/{month}/{name}" if month is not None else note.path


def _month(created: str | None) -> str | None:
    try:
        return datetime.fromisoformat(created).strftime("%Y/%m") if created else None
    except ValueError:
        return None


def _attachment_places(store: NotesStore, linker: Linker, ids: dict[str, str], layout: str) -> list[tuple[str, str]]:
    """(old, new) of attachments in their layout's places: per note goes what one note alone links to."""
    pairs: list[tuple[str, str]] = []
    paths = [path for path in store.attachment_paths() if path.startswith(f"{ATTACHMENTS}/")]
    taken = {fold(path) for path in paths}
    for path in paths:
        folder, name = folder_of(path), path.rpartition("/")[2]
        if layout == "per-note" and folder == ATTACHMENTS:
            owners = {ids[source] for source in linker.inbound(path) if source in ids}
            if len(owners) != 1:
                continue
            new = f"{ATTACHMENTS}/{owners.pop()}/{name}"
        elif layout == "flat" and folder_of(folder) == ATTACHMENTS and folder.rpartition("/")[2] in ids.values():
            new = f"{ATTACHMENTS}/{name}"
            if fold(new) in taken:
                new = f"{ATTACHMENTS}/{folder.rpartition('/')[2]}-{name}"
        else:
            continue
        if fold(new) in taken:
            continue
        taken.add(fold(new))
        pairs.append((path, new))
    return pairs


def _configured(draft: Draft, layout: dict[str, str]) -> bytes:
    if not draft.exists(CONFIG_NAME):
        return write_config(**{f"layout_{name}": value for name, value in layout.items()}).encode()
    from schemas.toml_text import read

    document = read(draft.original(CONFIG_NAME), draft.store.workspace_path(CONFIG_NAME))
    for name, value in layout.items():
        present = document.value.get("layout") if isinstance(document.value, dict) else None
        entry: dict[str, Value] = {name: value}
        document = document.set(("layout", name), value) if isinstance(present, dict) else document.set(("layout",), entry)
    return document.data

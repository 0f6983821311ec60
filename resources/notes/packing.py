"""Packing a store (or some of its notes) into one file, and unpacking one into a store.

The file's format is `schemas.notes.pack`; dumps of qipu's are read too. Unpacking is a plan like any other change: nothing is
written before all of it is known to be good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from resources.notes.changes import Draft, Plan
from resources.notes.linking import Linker
from resources.notes.qipu_dump import is_dump, read_dump
from resources.notes.spelling import folder_of, joined
from resources.notes.store import NotesStore
from schemas.document import Value
from schemas.errors import HeadwaterError, InvalidText, Refused
from schemas.notes import edit, pack
from schemas.notes.config import CONFIG_NAME
from schemas.notes.layout import ATTACHMENTS, MOCS, NOTES, Layout
from schemas.notes.model import MentionKind

Strategy = Literal["skip", "overwrite", "merge-links"]
STRATEGIES: tuple[Strategy, ...] = ("skip", "overwrite", "merge-links")
"""What happens to a note of the pack whose id the store has: it is left out; it is written over the store's, where that lies; its
typed links are added to the store's, and nothing else."""


def pack_store(
    store: NotesStore,
    paths: Iterable[str] | None = None,
    *,
    linker: Linker | None = None,
    attachments: bool = True,
    settings: bool = True,
) -> Iterator[bytes]:
    """The lines of a pack of the whole store, or of the notes at `paths` with the attachments they link to.

    `settings` are `config.toml` and the templates; only with the whole store. Raises as `schemas.notes.pack.write` does.
    """
    if paths is None:
        chosen = set(store.note_paths())
        if attachments:
            chosen.update(store.attachment_paths())
        if settings:
            chosen.update(store.template_paths())
            if store.layout is Layout.QIPU and store.exists(CONFIG_NAME):
                chosen.add(CONFIG_NAME)
    else:
        chosen = set(paths)
        if attachments:
            chosen.update(_linked_attachments(store, linker, sorted(chosen)))
    return pack.write((path, store.read(path)) for path in sorted(chosen))


def unpack(
    store: NotesStore,
    stream: BinaryIO,
    name: str = "the pack",
    *,
    strategy: Strategy = "skip",
    settings: bool = False,
    ids: Mapping[str, str] | None = None,
) -> Plan:
    """Put the notes and attachments of a pack (or of a dump of qipu's) into the store.

    `ids` tells which note has which id (id to path; read from the files when not given). `settings` takes the pack's
    `config.toml` and templates too. `plan.lines` say what became of each file. Raises as the readers do, and Refused for files
    that have no place in a store.
    """
    head = stream.read(16)
    rest = _Joined(head, stream)
    incoming = _from_dump(store, rest, name) if is_dump(head) else _Incoming(pack.read(rest, name))
    draft = Draft(store, f"unpack {name}")
    here = dict(ids) if ids is not None else {note.id: note.path for note in map(store.parse, store.note_paths()) if note.own_id}
    for path, data in sorted(incoming.files.items()):
        if store.is_note(path):
            _take_note(draft, here, path, data, strategy)
        elif store.is_attachment(path):
            _take_other(draft, path, data, overwrite=strategy == "overwrite")
        elif path == CONFIG_NAME or _is_template(store, path):
            if settings:
                _take_other(draft, path, data, overwrite=True)
        else:
            raise Refused(
                f"{path!r} has no place in a store of notes", rule="notes-pack-names", path=name, fix="do not unpack it"
            )
    return draft.plan()


@dataclass(slots=True)
class _Incoming:
    files: dict[str, bytes] = field(default_factory=dict)


class _Joined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: pack.Lines) -> None:
        self._head = head
        self._rest = rest

    def readline(self, size: int, /) -> bytes:
        if not self._head:
            return self._rest.readline(size)
        line, feed, self._head = self._head.partition(b"\n")
        return line + feed if feed else line + self._rest.readline(size)


def _take_note(draft: Draft, here: dict[str, str], path: str, data: bytes, strategy: Strategy) -> None:
    store = draft.store
    note = store.parse_bytes(data, path)
    present = here.get(note.id) if note.own_id else (path if draft.exists(path) else None)
    if present is not None and draft.exists(present):
        shown = store.workspace_path(present)
        old = draft.read(present)
        if old == data:
            return
        if strategy == "skip":
            draft.lines.append(f"skip {shown}")
        elif strategy == "overwrite":
            draft.write(present, data)
            draft.lines.append(f"overwrite {shown}")
        else:
            try:
                made = edit.add_links(old, shown, edit.links(data, path))
            except InvalidText as error:
                draft.lines.append(f"skip {shown}: {error.message}")
                return
            draft.write(present, made)
            draft.lines.append(f"merge links into {shown}" if made != old else f"skip {shown}")
        return
    if draft.exists(path):
        draft.lines.append(f"skip {store.workspace_path(path)}: another note lies there")
        return
    draft.write(store.check_new(path), data)
    draft.lines.append(f"add {store.workspace_path(path)}")
    if note.own_id:
        here[note.id] = path


def _take_other(draft: Draft, path: str, data: bytes, *, overwrite: bool) -> None:
    shown = draft.store.workspace_path(path)
    if draft.exists(path):
        if draft.read(path) == data:
            return
        if not overwrite:
            draft.lines.append(f"skip {shown}")
            return
        draft.lines.append(f"overwrite {shown}")
    else:
        draft.lines.append(f"add {shown}")
    draft.write(path, data)


def _is_template(store: NotesStore, path: str) -> bool:
    folder = store.template_folder
    return folder is not None and path.startswith(f"{folder}/") and path.endswith(".md")


def _from_dump(store: NotesStore, stream: pack.Lines, name: str) -> _Incoming:
    """The files that a dump of qipu's stands for, where qipu's own `load` would put them."""
    dump = read_dump(stream, name)
    typed: dict[str, list[tuple[str, str]]] = {}
    for source, kind, target in dump.links:
        typed.setdefault(source, []).append((kind, target))
    made = _Incoming()
    for note in dump.notes:
        meta = dict(note.meta)
        if note.id in typed:
            entries: list[Value] = [{"type": kind, "id": target} for kind, target in typed[note.id]]
            meta["links"] = entries
        try:
            path = f"{MOCS if note.type == 'moc' else NOTES}/{store.file_name(note.id, note.title)}"
            made.files[path] = edit.new_note(meta, note.body)
        except HeadwaterError as error:
            raise Refused(f"the note {note.id} cannot be written: {error.message}", rule=error.rule, path=name) from None
    made.files.update({f"{ATTACHMENTS}/{file}": data for file, data in dump.attachments.items()})
    if dump.config is not None:
        made.files[CONFIG_NAME] = dump.config
    return made


def _linked_attachments(store: NotesStore, linker: Linker | None, paths: Iterable[str]) -> Iterator[str]:
    """The attachments that notes link to: as the index says, else by relative path."""
    for path in paths:
        for mention in store.parse(path).mentions:
            if mention.kind is MentionKind.URL or not mention.target:
                continue
            lead = linker.resolve(path, mention) if linker is not None else joined(folder_of(path), mention.target)
            if lead and store.is_attachment(lead) and store.exists(lead):
                yield lead

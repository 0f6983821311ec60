"""Plans that write one note: a new one, another title, type, tags, keys or body, typed links, an attachment.

Every plan is made from the file, never from an index. A new title or type moves the file where its layout says, with every link
to it, by `resources.notes.relinking`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from resources.notes.changes import Draft, Plan
from resources.notes.linking import Linker
from resources.notes.relinking import Moved, relink, relocate, target_of
from resources.notes.spelling import Target, bare, folder_of, href, stem
from resources.notes.store import NotesStore
from resources.notes.taken import ids_on_branches, names_on_disk
from schemas.document import Value
from schemas.errors import UsageError
from schemas.notes import edit
from schemas.notes.edit import Key
from schemas.notes.layout import MOCS, NOTES, Layout, derived_id
from schemas.notes.model import ParsedNote
from schemas.notes.newids import check_id, new_id
from schemas.paths import check_name

_TYPE_NAME = re.compile(r"[^\s\[\]{}|#,:\"'\x00-\x1f\x7f]{1,60}\Z")
_PLACEHOLDER = re.compile(r"\{\{\s*(title|date|time|id)\s*\}\}")
_ORDER = ("id", "title", "type", "created", "updated", "tags", "aliases")
"""The first keys of a note we write, in this order; others follow as given."""


def create(
    store: NotesStore,
    *,
    title: str,
    note_type: str | None = None,
    tags: Iterable[str] = (),
    note_id: str | None = None,
    body: str | None = None,
    template: str | None = None,
    folder: str | None = None,
    keys: Mapping[str, Value] | None = None,
    now: datetime,
    known: Callable[[str], bool] | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Plan:
    """A new note. `known` tells which ids the store has (its file names do, when not given); `plan.path` is where it will lie.

    The text is `body`, else that of the template named or of the type's. Raises UsageError for an id that is taken or is none, an
    unknown type or template, a bad tag or folder.
    """
    note_type = _checked_type(store, note_type)
    note_id = _id(store, note_id, known, now, entropy)
    meta: dict[str, Value] = {}
    if body is None:
        meta, body = _from_template(store, template, note_type, {"title": title, "id": note_id}, now)
    wanted = [edit.check_tag(tag) for tag in tags]
    meta |= {"id": note_id, "title": title}
    if note_type is not None:
        meta["type"] = note_type
    meta.setdefault("created", edit.timestamp(now))
    if wanted:
        meta["tags"] = [*dict.fromkeys(wanted)]
    meta |= {key: value for key, value in (keys or {}).items() if value is not None}
    first = {key: meta[key] for key in _ORDER if key in meta}
    path = store.new_path(note_id, title, note_type, now, None if folder is None else folder.rstrip("/"))
    draft = Draft(store, f"create {note_id}")
    draft.path = store.check_new(path)
    if draft.exists(path):
        raise UsageError(
            f"{store.workspace_path(path)} is there already", rule="notes-place", fix="give another title, folder or id"
        )
    draft.write(path, edit.new_note(first | meta, body))
    draft.lines.append(f"create {store.workspace_path(path)}")
    return draft.plan()


def update(
    store: NotesStore,
    linker: Linker,
    path: str,
    *,
    title: str | None = None,
    note_type: str | None = None,
    add_tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
    keys: Mapping[Key, Value] | None = None,
    body: str | None = None,
    append: str | None = None,
    now: datetime,
) -> Plan:
    """Change a note; None in `keys` takes a key out. `plan.path` is where it lies afterwards.

    Raises UsageError for bad values, InvalidText for frontmatter that cannot be read for an edit, HeadwaterError (`text-edit`).
    """
    if keys and {"id", ("id",), "title", ("title",), "type", ("type",)} & keys.keys():
        raise UsageError("id, title and type are not set as plain keys", rule="usage", fix="use --title, --type or renumber")
    draft = Draft(store, f"update {path}")
    before = store.parse_bytes(draft.original(path), path)
    note_type = _checked_type(store, note_type) if note_type is not None else None
    after_path = path if title is None and note_type is None else _renamed(store, before, title, note_type)
    after_title = title if title is not None else before.title
    if after_path != path:
        store.check_new(after_path, leaving={path})
        if store.exists(after_path):
            raise UsageError(
                f"{store.workspace_path(after_path)} is there already",
                rule="notes-place",
                fix="choose another title, or move one",
            )
    moved = Moved(target_of(before), Target(after_path, before.id if before.own_id else derived_id(after_path), after_title))
    count = relink(draft, linker, [moved]) if moved.old != moved.new else 0
    data, where = draft.read(path), store.workspace_path(path)
    if title is not None and title != before.title:
        data = _titled(store, data, after_path, before, title)
    if note_type is not None:
        data = edit.set_keys(data, where, {"type": note_type})
    data = edit.add_tags(data, where, add_tags)
    data = edit.remove_tags(data, where, remove_tags)
    if keys:
        data = edit.set_keys(data, where, keys)
    if body is not None:
        data = edit.set_body(data, where, body)
    if append is not None:
        data = edit.append_body(data, where, append)
    draft.revise(path, data, now)
    relocate(draft, [moved])
    draft.path = after_path
    _say_update(draft, path, after_path, count)
    return draft.plan()


def link_add(store: NotesStore, path: str, link_type: str, target_path: str, *, now: datetime) -> Plan:
    """Add a typed link to the frontmatter of the note at `path`; one that is there changes nothing.

    The target is named by its id, or by its path where it has none. Raises UsageError for a link to itself and a bad type.
    """
    name = check_link_type(store, link_type)
    if path == target_path:
        raise UsageError("a note is not linked to itself", rule="link-self", fix="name another note")
    draft = Draft(store, f"link {path} {name} {target_path}")
    draft.path = path
    target = _link_target(store.parse(target_path))
    data = edit.add_link(draft.original(path), store.workspace_path(path), name, target)
    draft.revise(path, data, now)
    if data != draft.original(path):
        draft.lines.append(f"{store.workspace_path(path)}: {name} {target}")
    return draft.plan()


def link_rm(store: NotesStore, path: str, link_type: str | None, target: str, *, now: datetime) -> Plan:
    """Take typed links out of the note at `path`: to the note at the path `target`, or as `target` is spelled; of all types for
    None. Nothing to take out is an empty plan."""
    draft = Draft(store, f"unlink {path} {target}")
    draft.path = path
    names = [target]
    if store.is_note(target) and store.exists(target):
        names += [store.parse(target).id, bare(target), stem(target)]
    data = draft.original(path)
    for name in dict.fromkeys(names):
        data = edit.remove_link(data, store.workspace_path(path), link_type, name)
    draft.revise(path, data, now)
    if data != draft.original(path):
        draft.lines.append(f"{store.workspace_path(path)}: no longer linked to {target}")
    return draft.plan()


def attach(store: NotesStore, path: str, name: str, data: bytes, *, link: bool = True, now: datetime) -> Plan:
    """Put a file among the attachments of the note at `path`, with a link (for pictures: showing it) at the note's end.

    A file of the same name with other bytes gets a number before its extension; the same bytes are taken as they lie there.
    `plan.lines` end with the path. Raises HeadwaterError (rule `path-…`) for a name that is not safe everywhere.
    """
    check_name(name)
    note = store.parse(path)
    folder = store.attachment_folder(note.id, path)
    draft = Draft(store, f"attach {name} to {path}")
    draft.path = path
    prefix = f"{folder}/" if folder else ""
    base, dot, extension = name.rpartition(".")
    candidate, number = f"{prefix}{name}", 1
    while draft.exists(candidate) and draft.original(candidate) != data:
        number += 1
        candidate = f"{prefix}{base}-{number}{dot}{extension}" if base else f"{prefix}{name}-{number}"
    if store.is_note(candidate):
        raise UsageError(f"{name!r} would be a note, no attachment", rule="notes-place", fix="add it with `headwater notes new`")
    store.check_new(candidate, is_note=False)
    draft.write(candidate, data)
    if link:
        label = candidate.rpartition("/")[2].replace("[", "\\[").replace("]", "\\]")
        mark = "!" if extension.lower() in _PICTURES else ""
        text = f"{mark}[{label}]({href(candidate, path)})"
        draft.revise(path, edit.append_body(draft.original(path), store.workspace_path(path), text), now)
    draft.lines.append(store.workspace_path(candidate))
    return draft.plan()


_PICTURES = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "bmp"})


def check_link_type(store: NotesStore, name: str) -> str:
    """A link type as it is written. Raises UsageError for no word, and for an unknown one where an ontology is declared."""
    clean = name.strip().lower()
    ontology = store.config.ontology
    if not _TYPE_NAME.match(clean):
        raise UsageError(f"{name!r} is no link type", rule="link-type", fix="use one word of letters, digits and hyphens")
    if not ontology.known(clean):
        raise UsageError(
            f"the store has no link type {clean!r}", rule="link-type", fix=f"use one of {', '.join(ontology.link_type_names())}"
        )
    return clean


def _checked_type(store: NotesStore, name: str | None) -> str | None:
    """A note type as it is written; the default one where the layout gives every note one."""
    if name is None:
        return store.config.default_note_type if store.layout is Layout.QIPU else None
    clean = name.strip().lower()
    names = store.config.ontology.note_type_names()
    if not _TYPE_NAME.match(clean) or (store.layout is Layout.QIPU and clean not in names):
        raise UsageError(
            f"{name!r} is no note type of this store",
            rule="note-type",
            fix=f"use one of {', '.join(names)}, or declare it under [ontology.note_types] in config.toml",
        )
    return clean


def _id(
    store: NotesStore, given: str | None, known: Callable[[str], bool] | None, now: datetime, entropy: Callable[[int], bytes]
) -> str:
    if known is None:
        known = names_on_disk(store)
    if given is not None:
        check_id(given)
        if known(given) or given in ids_on_branches(store):
            raise UsageError(
                f"the id {given!r} is taken", rule="notes-duplicate-id", fix="choose another, or leave it to be made"
            )
        return given
    scheme = store.config.id_scheme
    # Random ids are long enough without a look at other branches; moments are not.
    elsewhere = ids_on_branches(store) if scheme == "timestamp" else frozenset[str]()
    return new_id(scheme, lambda one: known(one) or one in elsewhere, now=now, entropy=entropy)


def _from_template(
    store: NotesStore, name: str | None, note_type: str | None, values: Mapping[str, str], now: datetime
) -> tuple[dict[str, Value], str]:
    """(frontmatter, text) of a new note: from the template named, else from that of its type, else from the built-in one."""
    folder = store.template_folder
    data: bytes | None = None
    if folder is not None:
        chosen = f"{folder}/{name or note_type}.md"
        if (name or note_type) and store.exists(chosen):
            data = store.read(chosen)
    if name is not None and data is None:
        names = ", ".join(bare(path).removeprefix(f"{folder}/") for path in store.template_paths()) or "none"
        raise UsageError(f"there is no template {name!r}", rule="notes-template", fix=f"the store has: {names}")
    if data is None:
        from schemas.notes.templates import TEMPLATES

        return {}, TEMPLATES.get(note_type or "", "") if store.layout is Layout.QIPU else ""
    filled = {**values, "date": f"{now:%Y-%m-%d}", "time": f"{now:%H:%M}"}
    text = _PLACEHOLDER.sub(lambda match: filled[match[1]], edit.body_of(data).decode("utf-8", "replace"))
    meta: dict[str, Any] = (
        {} if store.layout is Layout.QIPU else edit.frontmatter(data, store.workspace_path(f"{folder}/{name}.md"))
    )
    return meta, text


def _renamed(store: NotesStore, note: ParsedNote, title: str | None, note_type: str | None) -> str:
    """Where a note lies with another title or type: the file is renamed where its name follows its title, and goes to or from
    the maps' folder with its type."""
    folder, name = folder_of(note.path), note.path.rpartition("/")[2]
    own = stem(note.path)
    new_title = note.title if title is None else title
    if store.layout is Layout.QIPU:
        if title is not None and note.own_id and (own == note.id or own.startswith(f"{note.id}-")):
            name = store.new_path(note.id, new_title, None).rpartition("/")[2]
        if note_type is not None and store.config.layout_mocs == "folder":
            top = folder.partition("/")[0]
            if note_type == "moc" and top == NOTES:
                folder = MOCS
            elif note_type != "moc" and top == MOCS:
                folder = store.folder_for(note_type, _created(note))
    elif title is not None:
        fitting = store.new_path(note.id, note.title, None, folder=folder, own=note.path).rpartition("/")[2]
        if note.title_from == "file" or own in (
            note.title,
            stem(fitting).removesuffix(f" {note.id}").removesuffix(f"-{note.id}"),
        ):
            name = store.new_path(note.id, new_title, None, folder=folder, own=note.path).rpartition("/")[2]
    return f"{folder}/{name}" if folder else name


def _created(note: ParsedNote) -> datetime | None:
    try:
        return datetime.fromisoformat(note.created) if note.created else None
    except ValueError:
        return None


def _titled(store: NotesStore, data: bytes, path: str, before: ParsedNote, title: str) -> bytes:
    """The note with another title, put where the old one stands: in its first heading, its file's name, else its frontmatter."""
    if before.title_from == "heading":
        note = store.parse_bytes(data, before.path)
        heading = next((one for one in note.headings if one.text == before.title), None)
        if heading is not None:
            line = data[heading.start : heading.stop]
            at = line.find(before.title.encode("utf-8"))
            if at >= 0:
                start = heading.start + at
                made = edit.rewrite_targets(data, [(start, start + len(before.title.encode("utf-8")), title)])
                if store.parse_bytes(made, path).title == title:
                    return made
    elif before.title_from == "file" and store.parse_bytes(data, path).title == title:
        return data
    return edit.set_keys(data, store.workspace_path(before.path), {"title": title})


def _link_target(note: ParsedNote) -> str:
    return note.id if note.own_id else bare(note.path)


def _say_update(draft: Draft, old: str, new: str, links: int) -> None:
    store = draft.store
    if old != new:
        draft.lines.append(f"move {store.workspace_path(old)} to {store.workspace_path(new)}")
    else:
        draft.lines.append(f"update {store.workspace_path(old)}")
    if links:
        draft.lines.append(f"rewrite {links} link{'s' if links != 1 else ''}")

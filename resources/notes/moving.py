"""Plans that change what notes are called or where they lie: move, delete, join, renumber, another layout; with every link.

One plan is one commit: either all of it happens or none. How a link is spelled afterwards is `resources.notes.spelling`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from resources.notes.canvas import follow
from resources.notes.changes import BrokenLink, Draft, Plan
from resources.notes.linking import Linker
from resources.notes.relinking import Moved, relink, relocate, target_of
from resources.notes.spelling import Target, bare, folder_of, stem
from resources.notes.store import NotesStore
from schemas.document import Value
from schemas.errors import InvalidText, Refused, UsageError
from schemas.notes import edit
from schemas.notes.layout import derived_id
from schemas.notes.newids import check_id

_LISTED = 10


def move(store: NotesStore, linker: Linker, old: str, new: str) -> Plan:
    """Give a note, an attachment or a folder with everything in it the path `new`.

    Raises UsageError when there is no such file or folder, when something lies at the new place, or when it is no place for it.
    """
    old, new = old.rstrip("/"), new.rstrip("/")
    draft = Draft(store, f"move {old} to {new}")
    if store.exists(old):
        pairs = [(old, new)]
    else:
        if f"{new}/".startswith(f"{old}/"):
            raise UsageError(f"{old!r} cannot go into itself", rule="notes-place", fix="choose another folder")
        inside = [path for path in (*store.note_paths(), *store.attachment_paths()) if path.startswith(f"{old}/")]
        pairs = [(path, new + path[len(old) :]) for path in inside]
    if not pairs:
        raise UsageError(
            f"there is no {store.workspace_path(old)}", rule="notes-missing", fix="name a note or folder of the store"
        )
    if old == new:
        return draft.plan()
    moves = [_moved(draft, path, target) for path, target in pairs]
    _check_places(store, moves)
    _carry(draft, linker, moves, folder=None if store.exists(old) else (old, new))
    draft.path = new if store.is_note(new) else None
    return draft.plan()


def remove(store: NotesStore, linker: Linker, paths: Sequence[str], *, force: bool = False) -> Plan:
    """Delete notes. `plan.broken` are the links of other notes that lead nowhere afterwards.

    Raises Refused, listing them, when there are any and it is not forced; FileNotFoundError for a missing note.
    """
    draft = Draft(store, f"remove {', '.join(paths)}")
    gone = set(paths)
    for path in paths:
        draft.remove(path)
        draft.lines.append(f"delete {store.workspace_path(path)}")
        for source in sorted(set(linker.inbound(path)) - gone):
            draft.broken += _links_to(store, linker, source, path)
    if draft.broken and not force:
        shown = "\n".join(f"  {link.path}:{link.line}:{link.column}: {link.target}" for link in draft.broken[:_LISTED])
        more = f"\n  and {len(draft.broken) - _LISTED} more" if len(draft.broken) > _LISTED else ""
        raise Refused(
            f"{len(draft.broken)} link{'s' if len(draft.broken) != 1 else ''} would break:\n{shown}{more}",
            rule="notes-linked",
            path=store.workspace_path(paths[0]),
            fix="change the links, join the note into another with `headwater notes merge`, or pass --force",
        )
    return draft.plan()


def merge_notes(store: NotesStore, linker: Linker, source: str, target: str, *, now: datetime) -> Plan:
    """Join the note at `source` into the one at `target`: its text goes below, its tags, aliases, sources and typed links are
    added, every link to it leads to the other, and it is deleted.

    Raises UsageError for a note and itself, InvalidText for frontmatter of either that cannot be read for an edit.
    """
    if source == target:
        raise UsageError("a note cannot be joined with itself", rule="usage", fix="name two notes")
    draft = Draft(store, f"merge {source} into {target}")
    joined, kept = store.parse_bytes(draft.original(source), source), store.parse_bytes(draft.original(target), target)
    count = relink(draft, linker, [Moved(target_of(joined), target_of(kept))])
    text, rest = draft.read(target), draft.read(source)
    here, there = store.workspace_path(target), store.workspace_path(source)
    meta = edit.frontmatter(rest, there)
    text = edit.add_tags(text, here, [tag.name for tag in joined.tags if not tag.inline and _is_tag(tag.name)])
    text = edit.set_keys(text, here, _united(edit.frontmatter(text, here), meta))
    names = {kept.id, joined.id, bare(target), bare(source)}
    text = edit.add_links(text, here, [link for link in edit.links(rest, there) if link[1] not in names])
    for name in names:
        text = edit.remove_link(text, here, None, name)
    text = edit.append_body(text, here, edit.body_of(rest, there))
    draft.revise(target, text, now)
    for path in set(linker.inbound(source)) - {source, target}:
        draft.write(path, _without_repeats(draft.read(path), store.workspace_path(path)))
    draft.remove(source)
    draft.path = target
    draft.lines.append(f"join {store.workspace_path(source)} into {store.workspace_path(target)}")
    _say_links(draft, count)
    return draft.plan()


def renumber(store: NotesStore, linker: Linker, path: str, new_id: str, *, now: datetime) -> Plan:
    """Give a note another id, with every link by the old one; a file that is named by its id is renamed.

    Raises UsageError for an id that is none or that another note has.
    """
    check_id(new_id)
    draft = Draft(store, f"renumber {path} to {new_id}")
    note = store.parse_bytes(draft.original(path), path)
    if note.id == new_id and note.own_id:
        return draft.plan()
    if any(other != path and store.parse(other).id == new_id for other in linker.named(new_id)):
        raise UsageError(f"the id {new_id!r} is taken", rule="notes-duplicate-id", fix="choose another")
    name = stem(path)
    prefix = note.id if note.own_id else None
    if prefix is not None and (name == prefix or name.startswith(f"{prefix}-")):
        name = new_id + name[len(prefix) :]
    new_path = "/".join(filter(None, (folder_of(path), name + path[len(bare(path)) :])))
    moved = Moved(target_of(note), Target(new_path, new_id, note.title if note.title_from != "file" else stem(new_path)))
    if new_path != path:
        _check_places(store, [moved])
    count = relink(draft, linker, [moved])
    draft.revise(path, edit.set_keys(draft.read(path), store.workspace_path(path), {"id": new_id}), now)
    relocate(draft, [moved])
    draft.path = new_path
    draft.lines.append(f"renumber {store.workspace_path(path)} from {note.id} to {new_id}")
    _say_links(draft, count)
    return draft.plan()


def carry(draft: Draft, linker: Linker, pairs: Iterable[tuple[str, str]]) -> None:
    """Move files of the store in `draft`, (old path, new path) each, with every link. Raises as `move` does."""
    moves = [_moved(draft, old, new) for old, new in pairs if old != new]
    _check_places(draft.store, moves)
    _carry(draft, linker, moves)


def _carry(draft: Draft, linker: Linker, moves: Collection[Moved], *, folder: tuple[str, str] | None = None) -> None:
    count = relink(draft, linker, moves, folder=folder)
    relocate(draft, moves)
    for one in moves:
        draft.lines.append(f"move {draft.store.workspace_path(one.old.path)} to {draft.store.workspace_path(one.new.path)}")
    _say_links(draft, count)
    follow(draft, {one.old.path: one.new.path for one in moves if one.old.path != one.new.path})


def _say_links(draft: Draft, count: int) -> None:
    if count:
        draft.lines.append(f"rewrite {count} link{'s' if count != 1 else ''}")


def _moved(draft: Draft, old: str, new: str) -> Moved:
    """A file that goes to another path: what links may call it before and after."""
    if not draft.store.is_note(old):
        return Moved(Target(old), Target(new))
    note = draft.store.parse_bytes(draft.original(old), old)
    before = target_of(note)
    after = replace(before, path=new, id=note.id if note.own_id else derived_id(new))
    return Moved(before, replace(after, title=stem(new)) if note.title_from == "file" else after)


def _check_places(store: NotesStore, moves: Collection[Moved]) -> None:
    """Refuse a move to a place that is taken, or where a note would be none (or something else one)."""
    leaving = {one.old.path for one in moves}
    arriving: set[str] = set()
    for one in moves:
        new = one.new.path
        if (store.exists(new) and new not in leaving) or new in arriving:
            raise UsageError(f"{store.workspace_path(new)} is there already", rule="notes-place", fix="choose another name")
        arriving.add(new)
        is_note = store.is_note(one.old.path)
        if len(moves) == 1 or is_note != store.is_note(new):
            store.check_new(new, is_note=is_note, leaving=leaving)
        if not is_note and store.is_note(new):
            raise UsageError(f"{new!r} would make a note of an attachment", rule="notes-place", fix="keep its extension")


def _links_to(store: NotesStore, linker: Linker, source: str, target: str) -> list[BrokenLink]:
    note = store.parse(source)
    shown = store.workspace_path(source)
    return [
        BrokenLink(shown, mention.line, mention.column, mention.target)
        for mention in note.mentions
        if mention.target and linker.resolve(source, mention) == target
    ]


def _united(kept: dict[str, Value], joined: dict[str, Value]) -> dict[edit.Key, Value]:
    """The keys of `kept` that get something of `joined`: lists of aliases and sources."""
    made: dict[edit.Key, Value] = {}
    aliases = _as_list(joined.get("aliases"))
    mine = _as_list(kept.get("aliases"))
    if fresh := [alias for alias in aliases if alias not in mine]:
        made["aliases"] = mine + fresh
    sources = _as_list(joined.get("sources"))
    if isinstance(joined.get("source"), str) and joined["source"] != kept.get("source"):
        sources = [{"url": joined["source"]}, *sources]
    present = _as_list(kept.get("sources"))
    known = {_url(entry) for entry in present} | {_url(kept.get("source"))}
    if added := [entry for entry in sources if _url(entry) not in known]:
        made["sources"] = present + added
    return made


def _as_list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _url(entry: Value) -> str | None:
    value = entry.get("url") if isinstance(entry, dict) else entry
    return value if isinstance(value, str) else None


def _is_tag(name: str) -> bool:
    try:
        edit.check_tag(name)
    except UsageError:
        return False
    return True


def _without_repeats(data: bytes, path: str) -> bytes:
    """A note whose typed links say nothing twice; as it is where they cannot be read."""
    try:
        links = edit.links(data, path)
        entries = edit.frontmatter(data, path).get("links")
    except InvalidText:
        return data
    if len(set(links)) == len(links) or not isinstance(entries, list) or len(entries) != len(links):
        return data
    first: list[Value] = [entry for index, entry in enumerate(entries) if links[index] not in links[:index]]
    return edit.set_keys(data, path, {"links": first})


DATED = re.compile(r"notes/\d{4}/\d{2}\Z")
"""The folders of the layout that sorts notes by the month they were made in."""

"""Plans that turn links in the text into something else: typed links of the frontmatter, or Markdown links.

Nothing in code, comments or frontmatter is touched: only what the parser calls a link in the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from resources.notes.changes import Draft, Plan
from resources.notes.linking import Linker
from resources.notes.spelling import bare, href
from resources.notes.store import NotesStore
from resources.notes.writing import check_link_type
from schemas.notes import edit
from schemas.notes.model import Mention, MentionKind, ParsedNote

_IN_TEXT = frozenset({MentionKind.WIKI, MentionKind.MARKDOWN})


def materialize(
    store: NotesStore, linker: Linker, path: str, *, link_type: str = "related", remove_inline: bool = False, now: datetime
) -> Plan:
    """Make typed links of the links in the text of the note at `path` that lead to other notes; those there already are skipped.

    With `remove_inline` the links in the text become the words that were shown for them. Raises UsageError for a bad type,
    InvalidText for frontmatter that cannot be read for an edit.
    """
    name = check_link_type(store, link_type)
    draft = Draft(store, f"materialize {path}")
    draft.path = path
    data = draft.original(path)
    note = store.parse_bytes(data, path)
    found: list[tuple[Mention, ParsedNote]] = []
    for mention in note.mentions:
        if mention.kind in _IN_TEXT and mention.target:
            lead = linker.resolve(path, mention)
            if lead is not None and lead != path and store.is_note(lead):
                found.append((mention, store.parse_bytes(draft.original(lead), lead)))
    if remove_inline:
        edits = [(mention.start, mention.stop, _shown(mention, target)) for mention, target in found]
        data = edit.rewrite_targets(data, edits)
    wanted = [(name, target.id if target.own_id else bare(target.path)) for _, target in found]
    present = set(edit.links(data, store.workspace_path(path)))
    draft.revise(path, edit.add_links(data, store.workspace_path(path), wanted), now)
    for _, target in dict.fromkeys(link for link in wanted if link not in present):
        draft.lines.append(f"{store.workspace_path(path)}: {name} {target}")
    if remove_inline and found:
        draft.lines.append(f"{store.workspace_path(path)}: {len(found)} links in the text become words")
    return draft.plan()


def rewrite_wiki_links(store: NotesStore, linker: Linker, paths: Iterable[str] | None = None) -> Plan:
    """Turn `[[…]]` in the text of notes into Markdown links with relative paths; all notes unless `paths` are given.

    Links that lead nowhere or to several notes stay, and so do embeds: Markdown has none. The label is the one that was given,
    else the target's title. A second run changes nothing.
    """
    draft = Draft(store, "rewrite wiki links")
    titles: dict[str, ParsedNote] = {}
    for path in sorted(store.note_paths() if paths is None else paths):
        data = draft.original(path)
        if b"[[" not in data:
            continue
        note = store.parse_bytes(data, path)
        edits: list[tuple[int, int, str]] = []
        for mention in note.mentions:
            if mention.kind is not MentionKind.WIKI or not mention.target:
                continue
            lead = linker.resolve(path, mention)
            if lead is None:
                continue
            if lead not in titles and store.is_note(lead):
                titles[lead] = store.parse(lead)
            edits.append((mention.start, mention.stop, _markdown(path, mention, lead, titles.get(lead))))
        if edits:
            draft.write(path, edit.rewrite_targets(data, edits))
            draft.lines.append(f"{store.workspace_path(path)}: {len(edits)} links")
    return draft.plan()


def _shown(mention: Mention, target: ParsedNote) -> str:
    """The words a reader saw for a link."""
    if mention.label is not None and mention.label.strip():
        return mention.label
    return target.title if mention.target in (target.id, target.path, bare(target.path)) else mention.target


def _markdown(source: str, mention: Mention, lead: str, target: ParsedNote | None) -> str:
    label = mention.label or (_shown(mention, target) if target is not None else mention.target)
    to = href(lead, source)
    if mention.anchor:
        to += "#" + quote(_anchor(mention.anchor, target), safe="/~!$&'*+,;=:@^")
    text = label.replace("[", "\\[").replace("]", "\\]").replace("|", "\\|")
    return f"[{text}]({to})"


def _anchor(anchor: str, target: ParsedNote | None) -> str:
    """The anchor a Markdown link has for a heading that is named by its text; a block's stays."""
    if anchor.startswith("^") or target is None:
        return anchor
    wanted = anchor.rpartition("#")[2].strip().casefold()
    return next((heading.slug for heading in target.headings if wanted in (heading.text.casefold(), heading.slug)), anchor)

"""Repairs of a notes store: edits of exactly what a finding is about, and nothing where the outcome is not certain.

Safe is what cannot change what a note means: a link in the case of its target, an id and a title that the note is known by
already, a value moved to the nearest that is allowed, a line for a derived file in `.gitignore`. What decides something (a broken
link turned to the only name near it, a dead typed link taken out, another id for one of two notes) is a step of its own, which
somebody agrees to. Every note whose links were rewritten is read again, and left alone when a link does not lead where it should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from assets.notes.findings import near_targets
from assets.notes.linker import IndexLinker
from assets.notes.resolve import key
from resources.notes.changes import Draft, Plan
from resources.notes.moving import renumber
from resources.notes.spelling import fold, href, stem
from resources.notes.store import NotesStore
from resources.storage.base import Change
from schemas.errors import HeadwaterError
from schemas.findings import Finding
from schemas.notes import edit, rules
from schemas.notes.gitfiles import with_line
from schemas.notes.layout import Layout, derived_id
from schemas.notes.model import Mention, MentionKind

if TYPE_CHECKING:
    from resources.storage.base import Storage

_IN_FILE = frozenset({rules.VALUE.id, rules.MISSING_ID.id, rules.MISSING_TITLE.id})
_NAMED = frozenset({MentionKind.WIKI, MentionKind.EMBED, MentionKind.TYPED, MentionKind.PROPERTY})
_GITIGNORE = ".gitignore"


def fix(storage: Storage, root: str, findings: Iterable[Finding]) -> list[Change]:
    """`Kind.fix`: the safe repairs that need nothing but the files: for `headwater check --fix`."""
    store = NotesStore(storage, root)
    found = [one for one in findings if one.rule != rules.DERIVED_COMMITTED.id or store.exists(_GITIGNORE)]
    draft = Draft(store, "check --fix")
    repair_files(draft, found)
    return draft.plan().changes


def safe(store: NotesStore, connection: Any, findings: Iterable[Finding]) -> Plan:
    """A plan of all safe repairs of `findings`, those of links included; `connection` is the store's index, up to date."""
    found = list(findings)
    draft = Draft(store, "notes doctor --fix")
    # First the links: the places of the others may move with every edit of the frontmatter.
    cases = {path for one in found if one.rule == rules.CASE.id and (path := store.inside(one.path)) is not None}
    for path in sorted(cases):
        rows = connection.execute(
            "SELECT position, target_path FROM mentions JOIN notes ON number = note "
            "WHERE path = ? AND spelling = 'case' AND target_path IS NOT NULL",
            (path,),
        )
        wanted = dict(map(tuple, rows))
        if _relinked(draft, connection, path, wanted, partial(_in_its_case, connection)):
            draft.lines.append(f"spell links as their targets in {store.workspace_path(path)}")
    repair_files(draft, found)
    return draft.plan()


def repair_files(draft: Draft, findings: Iterable[Finding]) -> None:
    """Repair in `draft` what needs nothing but the file a finding is about."""
    store = draft.store
    for finding in findings:
        path = store.inside(finding.path)
        if path is None:
            continue
        if finding.rule == rules.DERIVED_COMMITTED.id:
            before = draft.read(_GITIGNORE).decode("utf-8", "surrogateescape") if draft.exists(_GITIGNORE) else ""
            line = "/.cache/" if path.startswith(".cache/") else "/qipu.db*"
            after = with_line(before, line, same=frozenset({"/qipu.db", "qipu.db", "qipu.db*", f"/{path}", path, ".cache/"}))
            if after != before:
                draft.write(_GITIGNORE, after.encode("utf-8", "surrogateescape"))
                draft.lines.append(f"have {store.workspace_path(_GITIGNORE)} name {line}")
        elif finding.rule in _IN_FILE and draft.exists(path):
            try:
                data = _repaired(draft.read(path), path, finding, store)
            except HeadwaterError:
                continue  # What cannot be edited with certainty keeps its finding.
            if data != draft.read(path):
                draft.write(path, data)
                draft.lines.append(f"{_SAID[finding.rule]} in {finding.path}")


_SAID = {
    rules.VALUE.id: "move the value to the nearest that is allowed",
    rules.MISSING_ID.id: "write the id",
    rules.MISSING_TITLE.id: "write the title",
}


def _repaired(data: bytes, path: str, finding: Finding, store: NotesStore) -> bytes:
    shown = store.workspace_path(path)
    if finding.rule == rules.VALUE.id:
        value = edit.frontmatter(data, shown).get("value")
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return data
        return edit.set_keys(data, shown, {"value": 0 if value < 0 else 100}) if not 0 <= value <= 100 else data
    if store.layout is not Layout.QIPU:
        return data
    note = store.parse_bytes(data, path)
    if finding.rule == rules.MISSING_ID.id:
        # The id it has in the index already, so that nothing that names it by that breaks.
        return data if note.own_id else edit.set_keys(data, shown, {"id": derived_id(path)})
    return data if note.title_from == "frontmatter" else edit.set_keys(data, shown, {"title": note.title})


# Steps that decide something.


def near_links(store: NotesStore, connection: Any) -> Plan:
    """Broken links turned to the one note or attachment whose name is near; those with none or several near ones are left."""
    draft = Draft(store, "notes doctor --fix: near names")
    for path, wanted in _broken(connection).items():
        found: dict[int, str] = {}
        for position, target in wanted.items():
            targets = near_targets(connection, key(target))
            if len(targets) == 1:
                found[position] = targets[0]
        for position, target in _relinked(draft, connection, path, found, partial(_by_name, path)):
            draft.lines.append(f"{store.workspace_path(path)}: {wanted[position]!r} → {target}")
    return draft.plan()


def dead_links(store: NotesStore, connection: Any) -> Plan:
    """Typed links of frontmatters that lead to no note taken out."""
    draft = Draft(store, "notes doctor --fix: dead links")
    for path, kind, target in map(
        tuple,
        connection.execute(
            "SELECT path, mentions.type, target FROM mentions JOIN notes ON number = note "
            "WHERE kind = 'typed' AND state = 'broken' ORDER BY path, position"
        ),
    ):
        shown = store.workspace_path(path)
        try:
            data = edit.remove_link(draft.read(path), shown, kind, target)
        except HeadwaterError:
            continue
        if data != draft.read(path):
            draft.write(path, data)
            draft.lines.append(f"{shown}: take out {kind} {target}")
    return draft.plan()


def one_renumbering(store: NotesStore, connection: Any, made: Callable[[], str], now: datetime) -> Plan | None:
    """Another id (from `made`) for one of the notes that share one, None when all ids are different.

    The note that was created first keeps the id, without dates the first by path; links by the id lead to that one afterwards.
    """
    row = connection.execute(
        "SELECT path FROM (SELECT path, id, row_number() OVER (PARTITION BY id ORDER BY created IS NULL, created, path) AS place "
        "FROM notes WHERE own_id) WHERE place > 1 ORDER BY id, place LIMIT 1"
    ).fetchone()
    return None if row is None else renumber(store, IndexLinker(connection), row[0], made(), now=now)


def _broken(connection: Any) -> dict[str, dict[int, str]]:
    """Path -> position -> target of the links that lead nowhere."""
    found: dict[str, dict[int, str]] = {}
    for path, position, target in map(
        tuple,
        connection.execute(
            "SELECT path, position, target FROM mentions JOIN notes ON number = note "
            "WHERE state = 'broken' ORDER BY path, position"
        ),
    ):
        found.setdefault(path, {})[position] = target
    return found


_Spelled = Callable[[str, Mention, str], str | None]


def _relinked(draft: Draft, connection: Any, path: str, wanted: dict[int, str], spelled: _Spelled) -> list[tuple[int, str]]:
    """Rewrite in `draft` the links of the note at `path` by position so that they lead to the paths `wanted`.

    Returns (position, path) of those rewritten; none, and the note as it is, unless every link leads where it should.
    """
    data = draft.read(path)
    note = draft.store.parse_bytes(data, path)
    linker = IndexLinker(connection)
    targets, done = [], []
    for position, target in wanted.items():
        if position >= len(note.mentions):
            return []
        mention = note.mentions[position]
        raw = data[mention.target_start : mention.target_stop].decode("utf-8", "replace")
        name, mark, rest = raw.partition("#")
        new = spelled(name, mention, target)
        if new is not None and new != name:
            targets.append((mention.target_start, mention.target_stop, f"{new}{mark}{rest}"))
            done.append((position, target))
    if not targets:
        return []
    try:
        after = edit.rewrite_targets(data, targets)
    except ValueError:
        return []
    read = draft.store.parse_bytes(after, path)
    if len(read.mentions) != len(note.mentions):
        return []
    for position, (old, new_one) in enumerate(zip(note.mentions, read.mentions, strict=True)):
        expected = dict(done).get(position) or linker.resolve(path, old)
        if linker.resolve(path, new_one) != expected or new_one.anchor != old.anchor or new_one.kind is not old.kind:
            return []
    draft.write(path, after)
    return done


def _in_its_case(connection: Any, raw: str, mention: Mention, target: str) -> str | None:
    """`raw` with every part that differs from the path it leads to in case alone spelled as there, else as the id, title or alias
    that it is; None where it cannot be."""
    parts, names = raw.split("/"), target.split("/")
    for place in range(1, min(len(parts), len(names)) + 1):
        written, name = parts[-place], names[-place]
        for candidate in [name, stem(name)] if place == 1 else [name]:
            if unquote(written) != candidate and fold(unquote(written)) == fold(candidate):
                parts[-place] = quote(candidate) if "%" in written else candidate
    new = "/".join(parts)
    if new != raw:
        return new
    if mention.kind not in _NAMED:
        return None
    named = connection.execute(
        "SELECT name FROM names JOIN notes ON number = note WHERE key = ? AND path = ? AND form IN ('id', 'title', 'alias') "
        "ORDER BY instr('id title alias', form), name",
        (key(raw), target),
    )
    return next((name for (name,) in map(tuple, named) if fold(name) == fold(raw)), None)


def _by_name(source: str, raw: str, mention: Mention, target: str) -> str | None:
    """What leads to `target` from `source` in place of `raw`."""
    if mention.kind in _NAMED:
        if "\\" in raw or any(sign in target for sign in "[]|#^\"'"):
            return None
        name = target.rpartition("/")[2]
        return name if raw.endswith(f".{name.rpartition('.')[2]}") else stem(name)
    return href(target, source)

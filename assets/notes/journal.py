"""What became of links between two states of a store: those that broke, those that healed, those that lead elsewhere.

A link is the same one in both states when its note is (by the id it carries, else by its path) and it is written the same way,
the n-th time it is. What it led to comes from the index of either state; indexes of commits are made from git's objects, without
a look at the working tree, and kept for the next time.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from assets.notes.opened import connect
from assets.notes.recipes import QIPU_DB
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.engine.model import Store
    from resources.workspace import Workspace

Kind = Literal["broke", "healed", "moved"]
WORKING: Final = {"resolved", "self", "attachment"}
_KEPT: Final = 8
"""Indexes of commits that are kept."""
_AT_ONCE: Final = 500
_TEXT: Final = (".md", ".markdown")
_SETTINGS: Final = ("config.toml", ".obsidian/app.json", ".obsidian/templates.json")

_Key = tuple[str, str, str, str, int]
"""(note, kind of mention, target, anchor, which of them)."""


@dataclass(frozen=True, slots=True)
class Link:
    """One mention in one state: where it stands, whether it works, and the path it leads to."""

    path: str
    line: int
    kind: str
    target: str
    anchor: str | None
    state: str
    lead: str | None
    lead_id: str | None
    """The id that the note it leads to carries."""

    @property
    def works(self) -> bool:
        return self.state in WORKING

    @property
    def spelled(self) -> str:
        """The link as people know it."""
        whole = self.target + (f"#{self.anchor}" if self.anchor else "")
        return f"[[{whole}]]" if self.kind in ("wiki", "embed") else whole


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one link. `before` is None for one that was written since, `after` for one that is gone."""

    kind: Kind
    before: Link | None
    after: Link | None

    @property
    def at(self) -> Link:
        """Where it stands, or stood."""
        link = self.after or self.before
        assert link is not None
        return link

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As `--json` prints it; `prefix` is the store's folder in the workspace, with a slash."""

        def side(link: Link | None) -> dict[str, Any] | None:
            if link is None:
                return None
            lead = prefix + link.lead if link.lead else None
            return {"path": prefix + link.path, "line": link.line, "state": link.state, "leads_to": lead, "id": link.lead_id}

        at = self.at
        return {
            "change": self.kind,
            "link": at.spelled,
            "path": prefix + at.path,
            "line": at.line,
            "before": side(self.before),
            "after": side(self.after),
        }


def compare(before: sqlite3.Connection, after: sqlite3.Connection) -> list[Change]:
    """What became of links between two indexes, sorted by path and line."""
    old, new = dict(_links(before)), dict(_links(after))
    changes = []
    for key in old.keys() | new.keys():
        was, now = old.get(key), new.get(key)
        kind = _kind(was, now)
        if kind is not None:
            changes.append(Change(kind, was, now))
    changes.sort(key=lambda change: (change.at.path, change.at.line, change.at.spelled, change.kind))
    return changes


def _kind(was: Link | None, now: Link | None) -> Kind | None:
    if now is None:
        return "healed" if was is not None and not was.works else None
    if was is None:
        return None if now.works else "broke"
    if was.works and not now.works:
        return "broke"
    if not was.works and now.works:
        return "healed"
    if was.works and was.lead != now.lead and (was.lead_id is None or was.lead_id != now.lead_id):
        return "moved"
    return None


def _links(connection: sqlite3.Connection) -> Iterator[tuple[_Key, Link]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    seen: Counter[tuple[str, str, str, str]] = Counter()
    rows = cursor.execute(
        "SELECT n.path, CASE WHEN n.own_id THEN n.id END, m.line, m.kind, m.target, m.anchor, m.state, "
        "coalesce(t.path, m.target_path), CASE WHEN t.own_id THEN t.id END "
        "FROM mentions AS m JOIN notes AS n ON n.number = m.note LEFT JOIN notes AS t ON t.number = m.target_note "
        "WHERE m.state <> 'external' ORDER BY n.path, m.position"
    )
    for path, own_id, line, kind, target, anchor, state, lead, lead_id in rows:
        name = (f"id {own_id}" if own_id else f"path {path}", kind, target, anchor or "")
        seen[name] += 1
        yield (*name, seen[name]), Link(path, line, kind, target, anchor, state, lead, lead_id)


# the index of a commit


def index_of_commit(workspace: Workspace, store: Store, revision: str) -> Path:
    """The index of the store as it was in a commit, on this machine. Raises GitError for a revision that git does not know,
    UsageError where the store is in no checkout."""
    from resources.git import top_level
    from resources.notes.gitcalls import answer

    root = workspace.root.local_root
    folder = None if root is None else root / store.root
    top = None if folder is None else top_level(folder)
    if top is None or folder is None:
        raise UsageError(
            "the store lies in no git checkout", rule="usage", fix="compare index files instead, such as kept copies of qipu.db"
        )
    inside = folder.resolve().relative_to(top.resolve()).as_posix()
    inside = "" if inside == "." else inside
    tree = answer(top, ["rev-parse", "--verify", "--quiet", f"{_checked(revision)}^{{tree}}"], allowed=(0, 1, 128))
    if not tree:
        raise UsageError(f"git knows no revision {revision!r} here", rule="git-revision", fix="name a commit, branch or tag")
    kept = workspace.local / "journal" / f"{tree}-{_name(store)}-{QIPU_DB.version}.db"
    if not kept.is_file():
        _build(workspace, store, top, tree, inside, kept)
    os.utime(kept)
    return kept


def _checked(revision: str) -> str:
    if revision.startswith("-") or "\n" in revision or "\0" in revision:
        raise UsageError(f"{revision!r} is no revision", rule="git-revision", fix="name a commit, branch or tag")
    return revision


def _name(store: Store) -> str:
    from hashlib import sha256

    return sha256(repr((store.root, sorted(store.settings.items()))).encode()).hexdigest()[:12]


def _build(workspace: Workspace, store: Store, top: Path, tree: str, inside: str, kept: Path) -> None:
    from dataclasses import replace

    from assets.engine.engine import Engine
    from assets.notes.opened import open_notes
    from resources.workspace import open_workspace
    from schemas import toml_write

    scratch = workspace.scratch / f"journal-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    place = scratch / "store"
    try:
        target = place / store.root if store.root else place
        _write_tree(top, tree, inside, target)
        target.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {"kind": "notes", "path": store.root or ".", **store.settings}
        (place / "headwater.toml").write_text(toml_write.write({"version": 1, "stores": {"past": settings}}), "utf-8")
        engine = Engine(open_workspace(place))
        try:
            past = next(one for one in engine.stores() if one.name == "past")
            with open_notes(engine, replace(past)) as notes:
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(notes.path, f"{kept}.new")
        finally:
            engine.close()
        Path(f"{kept}.new").replace(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    others = sorted(kept.parent.glob("*.db"), key=lambda path: path.stat().st_mtime_ns)
    for path in others[:-_KEPT]:
        with suppress(OSError):
            path.unlink()


def _write_tree(top: Path, tree: str, inside: str, target: Path) -> None:
    """The notes and settings of a tree as files, and an empty file for every other, which is only ever looked for by name."""
    from resources.notes.gitcalls import blobs, run

    listed = run(top, ["ls-tree", "-r", "-z", "--full-tree", tree, *(["--", inside] if inside else [])])
    start = f"{inside}/" if inside else ""
    wanted: list[tuple[str, str]] = []
    for row in listed.split(b"\0"):
        if not row:
            continue
        meta, name = row.split(b"\t", 1)
        mode, _kind, blob = meta.decode("ascii").split()
        path = os.fsdecode(name)
        if mode not in ("100644", "100755") or not path.startswith(start):
            continue
        relative = path[len(start) :]
        if ".." in relative.split("/") or ".git" in relative.split("/"):
            continue
        if relative.lower().endswith(_TEXT) or relative in _SETTINGS:
            wanted.append((relative, blob))
        else:
            _put(target, relative, b"")
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at : at + _AT_ONCE]
        held = blobs(top, (blob for _path, blob in some))
        for relative, blob in some:
            _put(target, relative, held[blob])


def _put(target: Path, relative: str, data: bytes) -> None:
    path = target / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def counts(changes: list[Change]) -> Mapping[str, int]:
    """How many links broke, healed, moved."""
    found = Counter(change.kind for change in changes)
    return {kind: found.get(kind, 0) for kind in ("broke", "healed", "moved")}


def compare_files(before: Path, after: Path) -> list[Change]:
    """What became of links between two index files. Raises UsageError for a file that is no index."""
    with closing(_opened(before)) as old, closing(_opened(after)) as new:
        return compare(old, new)


def _opened(path: Path) -> sqlite3.Connection:
    from assets.notes.schema import is_ours

    connection = connect(path)
    try:
        ours = is_ours(connection)
    except sqlite3.DatabaseError:
        ours = False
    if not ours:
        connection.close()
        raise UsageError(f"{path} is no index of notes", rule="usage", fix="name a qipu.db that Headwater has built")
    return connection

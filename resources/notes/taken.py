"""Which ids are taken beside those an index knows: by the names of files on disk, and on other branches of the repository."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from resources.git import Git, GitError, top_level
from resources.notes.gitcalls import local_branches
from resources.notes.store import NotesStore

_BRANCHES = 50
"""Local branches that are looked at; more would take longer than anyone waits for a new note."""
_ID_IN_NAME = re.compile(r"(?:[^/]*/)*(?P<id>[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)?)")


def names_on_disk(store: NotesStore) -> Callable[[str], bool]:
    """Whether a file of the store is named by an id: `<id>.md` or `<id>-….md`."""
    names = [path.rpartition("/")[2] for path in store.note_paths()]

    def known(note_id: str) -> bool:
        return any(name.startswith((f"{note_id}-", f"{note_id}.")) for name in names)

    return known


def ids_on_branches(store: NotesStore) -> frozenset[str]:
    """What the names of files in the store's folder begin with on local branches: a word, or two joined by a hyphen.

    Empty outside of a checkout, and where git cannot say.
    """
    root = store.storage.local_root
    top = top_level(root) if root is not None else None
    if root is None or top is None:
        return frozenset()
    folder = (root / store.root).resolve()
    try:
        inside = folder.relative_to(Path(top).resolve()).as_posix()
        git = Git(top)
        branches = local_branches(top)[:_BRANCHES]
        names = [path for branch in branches for path in git.files(branch, "" if inside == "." else inside)]
    except (GitError, ValueError):
        return frozenset()
    found = (_ID_IN_NAME.match(name) for name in names if name.endswith(".md"))
    return frozenset(match["id"] for match in found if match is not None)

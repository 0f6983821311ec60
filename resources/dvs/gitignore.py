"""Keeping data out of git: each versioned file stands once in the `.gitignore` of its folder, its sidecar never.

A file that git tracks already is not ours to hide. Changes are returned, not made. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.git import Git, top_level
from resources.storage.base import ABSENT, Change
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

FILE: Final = ".gitignore"
_LIMIT: Final = 64 << 20
_SPECIAL: Final = str.maketrans({"\\": "\\\\", "*": "\\*", "?": "\\?", "[": "\\[", "\n": "?", "\r": "?"})


def pattern(name: str) -> str:
    """The line that names exactly the file `name` in the folder of the `.gitignore`."""
    text = name.translate(_SPECIAL)
    stripped = text.rstrip(" ")
    return "/" + stripped + "\\ " * (len(text) - len(stripped))


class GitSide:
    """The git checkout around a repository, if any: what it tracks and what it ignores, by paths of the repository."""

    def __init__(self, repo: DvsRepo) -> None:
        self.repo = repo
        folder = repo.folder
        top = None if folder is None else top_level(folder)
        self.git = None if top is None else Git(top)
        self.prefix = "" if top is None or folder is None else _relative(folder, top)

    def tracked(self, paths: Iterable[str], *, below: Collection[str] = ()) -> set[str]:
        """Those of `paths` that git tracks. `below` are folders that hold all of them, which spares git a long list."""
        if self.git is None:
            return set()
        wanted = {self.prefix + path: path for path in paths}
        found = self.git.tracked_below([self.prefix + folder for folder in below]) if below else self.git.tracked(wanted)
        return {wanted[path] for path in found if path in wanted}

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that git ignores."""
        if self.git is None:
            return set()
        wanted = {self.prefix + path: path for path in paths}
        return {wanted[path] for path in self.git.ignored(wanted)}

    def changes(self, *, hide: Iterable[str] = (), show: Iterable[str] = (), always: Iterable[str] = ()) -> list[Change]:
        """The changes of `.gitignore` files that hide data files which git does not ignore yet, and take the lines of others
        away; a `.gitignore` that held nothing else goes too. Those of `always` get a line though git ignores them now."""
        if self.git is None:
            return []
        wanted = list(hide)
        ignored = self.ignored(wanted) - set(always)
        added = _by_folder(path for path in wanted if path not in ignored)
        gone = _by_folder(show)
        edits = (self._edit(above, added.get(above, []), gone.get(above, [])) for above in sorted({*added, *gone}))
        return [change for change in edits if change is not None]

    def _edit(self, above: str, add: Iterable[str], remove: Iterable[str]) -> Change | None:
        inside = f"{above}/{FILE}" if above else FILE
        data = self.repo.read(inside, limit=_LIMIT)
        text = (data or b"").decode("utf-8", "surrogateescape")
        newline = "\r\n" if "\r\n" in text else "\n"
        # Lines as git counts them: what else Python takes for the end of one is part of a name.
        lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
        gone = {pattern(name) for name in remove}
        kept = [line for line in lines if line not in gone]
        present = set(kept)
        new = [line for line in dict.fromkeys(pattern(name) for name in add) if line not in present]
        if not new and len(kept) == len(lines):
            return None
        made = kept + new
        after = newline.join([*made, ""]) if made else ""
        expect = ABSENT if data is None else bytes_oid(data)
        encoded = after.encode("utf-8", "surrogateescape")
        return Change(self.repo.path(inside), encoded or None, expect)


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        above, _, name = path.rpartition("/")
        folders.setdefault(above, []).append(name)
    return folders


def _relative(folder: Path, top: Path) -> str:
    inside = folder.resolve().relative_to(top.resolve()).as_posix()
    return "" if inside == "." else f"{inside}/"

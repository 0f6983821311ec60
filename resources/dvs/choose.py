"""Which files a command on versioned data means: files, folders and globs as they were typed, as paths of the repository.

Folders are looked through once, links in them are not followed. Light: standard library only.
"""

from __future__ import annotations

import os
import re
import stat as modes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.ignore import Ignored
from resources.dvs.index import Signature, signature_of
from resources.dvs.repo import CLONE
from resources.dvs.working import NEVER_ENTERED
from schemas.dvs import sidecar
from schemas.dvs.config import FILES
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Chosen:
    """What was found: files by path with their signatures, and what went wrong by path; `folders` were looked through."""

    files: dict[str, Signature] = field(default_factory=dict)
    errors: dict[str, HeadwaterError] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def is_glob(path: str) -> bool:
    """Whether a path has wildcards."""
    return _GLOB.search(path) is not None


@lru_cache(maxsize=256)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob on paths: `*` and `?` stay within a name, `**` crosses folders, `[abc]` is a class."""
    at, made = 0, ""
    while at < len(glob):
        if glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            made, at = made + "(?:[^/]+/)*", at + 3
        elif glob.startswith("**", at):
            made, at = made + ".*", at + 2
        elif glob[at] == "*":
            made, at = made + "[^/]*", at + 1
        elif glob[at] == "?":
            made, at = made + "[^/]", at + 1
        elif glob[at] == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            made, at = made + "[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]", end + 1
        else:
            made, at = made + re.escape(glob[at]), at + 1
    try:
        return re.compile(made + r"\Z", re.DOTALL)
    except re.error as error:
        raise HeadwaterError(
            f"{glob!r} is not a glob: {error}", rule="dvs-invalid-glob", path=glob, fix="correct the part in brackets"
        ) from error


def choose_files(repo: DvsRepo, root: Path, paths: Sequence[str], *, globs: Sequence[str] = ()) -> Chosen:
    """The data files on the disk that `paths` (of the repository, '' for all of it) name.

    With `globs` only files whose path matches one are taken from folders. A file that is named itself is taken whatever
    `.dvsignore` says.
    """
    made = Chosen()
    ignored = Ignored(repo)
    patterns = [glob_pattern(glob) for glob in globs]
    for path in paths:
        full = root / path if path else root
        if not NEVER_ENTERED.isdisjoint(path.split("/")) or path.split("/")[0] == CLONE:
            made.errors[path] = HeadwaterError(
                "what lies there belongs to a program and is never data",
                rule="dvs-never-data",
                path=path,
                fix="copy it elsewhere if you want to keep a version of it",
            )
            continue
        try:
            status = full.lstat()
        except (FileNotFoundError, NotADirectoryError):
            if is_glob(path):
                _matching(root, path, ignored, made)
                continue
            data = sidecar.data_path(path)
            if data is not None and (root / data).is_file():
                made.files[data] = signature_of((root / data).lstat())
            else:
                made.errors[path] = HeadwaterError(
                    "there is no such file", rule="dvs-file-not-found", path=path, fix="check the spelling, or use a glob"
                )
            continue
        except OSError as error:
            made.errors[path] = _unreadable(path, error)
            continue
        if modes.S_ISDIR(status.st_mode):
            made.folders.append(path)
            for found, entry in _below(root, path, ignored, made):
                if patterns and not any(pattern.match(found) for pattern in patterns):
                    continue
                made.files[found] = signature_of(entry.stat(follow_symlinks=False))
            continue
        data = sidecar.data_path(path)
        if data is not None:
            _add_data(root, path, data, made)
        elif modes.S_ISLNK(status.st_mode):
            _add_link(root, path, full, made)
        elif not modes.S_ISREG(status.st_mode):
            made.errors[path] = HeadwaterError(
                "it is neither a file nor a folder", rule="dvs-file-not-found", path=path, fix="add regular files only"
            )
        elif ignored.own(path.rpartition("/")[2]):
            made.errors[path] = HeadwaterError(
                "it is text of the repository itself, which git keeps",
                rule="dvs-own-file",
                path=path,
                fix="leave it to git",
            )
        else:
            made.files[path] = signature_of(status)
    return made


def _add_data(root: Path, path: str, data: str, made: Chosen) -> None:
    """A sidecar means its data file."""
    try:
        made.files[data] = signature_of((root / data).lstat())
    except OSError:
        made.errors[path] = HeadwaterError(
            f"the sidecar's file {data} is not there",
            rule="dvs-file-not-found",
            path=data,
            fix=f"bring it back with `headwater dvs get {data}`",
        )


def _add_link(root: Path, path: str, full: Path, made: Chosen) -> None:
    """A link means the file it leads to, when that lies in the repository."""
    try:
        target = full.resolve(strict=True)
        inside = target.relative_to(root.resolve()).as_posix()
        status = target.lstat()
    except (OSError, ValueError, RuntimeError):
        made.errors[path] = HeadwaterError(
            "the link leads out of the repository, or nowhere",
            rule="dvs-file-outside-repo",
            path=path,
            fix="put the file itself into the repository",
        )
        return
    if modes.S_ISREG(status.st_mode):
        made.files[inside] = signature_of(status)
    else:
        made.errors[path] = HeadwaterError(
            "the link leads to a folder", rule="dvs-file-not-found", path=path, fix=f"name the folder itself: {inside}"
        )


def _matching(root: Path, glob: str, ignored: Ignored, made: Chosen) -> None:
    try:
        pattern = glob_pattern(glob)
    except HeadwaterError as error:
        made.errors[glob] = error
        return
    start = glob[: _GLOB.search(glob).start()].rpartition("/")[0] if _GLOB.search(glob) else ""  # type: ignore[union-attr]
    made.folders.append(start)
    found = False
    for path, entry in _below(root, start, ignored, made):
        if pattern.match(path):
            found = True
            made.files[path] = signature_of(entry.stat(follow_symlinks=False))
    if not found:
        made.errors[glob] = HeadwaterError(
            "no file matches", rule="dvs-no-files-matched", path=glob, fix="`**/` reaches into folders, `*` does not"
        )


def _below(root: Path, start: str, ignored: Ignored, made: Chosen) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder that may be data. Another repository in it is left alone."""
    stack = [start]
    while stack:
        where = stack.pop()
        try:
            with os.scandir(root / where if where else root) as listed:
                entries = list(listed)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            made.errors[where] = _unreadable(where, error)
            continue
        if where and any(entry.name in FILES for entry in entries):
            continue
        prefix = f"{where}/" if where else ""
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if not ignored.folder(path):
                    stack.append(path)
            elif entry.is_file(follow_symlinks=False) and not ignored.own(entry.name) and not ignored.file(path):
                yield path, entry


def _unreadable(path: str, error: OSError) -> HeadwaterError:
    return HeadwaterError(
        f"it cannot be read: {error.strerror}", rule="dvs-permission-denied", path=path, fix="ask for the right to read it"
    )


def choose_tracked(tracked: Iterable[str], paths: Sequence[str], *, globs: Sequence[str] = ()) -> tuple[set[str], list[str]]:
    """(tracked paths that `paths` mean, those of `paths` under which nothing is tracked).

    No paths mean all of them. Sidecars mean their data files.
    """
    names = set(tracked)
    patterns = [glob_pattern(glob) for glob in globs]
    nothing: list[str] = []
    if not paths:
        chosen = set(names)
    else:
        chosen = set()
        for path in paths:
            meant = sidecar.data_path(path) or path
            found = {meant} & names or ({path} & names)
            if not found:
                start = f"{path}/" if path else ""
                found = {name for name in names if name.startswith(start)}
            if not found and is_glob(path):
                pattern = glob_pattern(path)
                found = {name for name in names if pattern.match(name)}
            if not found:
                nothing.append(path)
            chosen |= found
    if patterns:
        chosen = {name for name in chosen if any(pattern.match(name) for pattern in patterns)}
    return chosen, nothing

"""Globs over store-relative paths: `*` and `?` within one folder, `**` across folders, always case-sensitive.

The standard library's `fnmatch` lets `*` cross folders and `pathlib` matches from the right; neither is what a source's
`include` means, and neither can be compiled into one expression for a hundred thousand paths. Light.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache


def _translate(pattern: str) -> str:
    """The regular expression of one glob, without anchors."""
    made: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            made.append("(?:[^/]+/)*")
            position += 3
        elif pattern.startswith("**", position):
            made.append(".*")
            position += 2
        elif pattern[position] == "*":
            made.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            made.append("[^/]")
            position += 1
        else:
            made.append(re.escape(pattern[position]))
            position += 1
    return "".join(made)


@lru_cache(maxsize=512)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_translate(pattern)})" for pattern in patterns), re.DOTALL)


def matcher(include: Sequence[str], exclude: Sequence[str] = ()) -> Callable[[str], bool]:
    """A test for paths that match one of `include` and none of `exclude`; nothing matches an empty `include`."""
    if not include:
        return lambda _path: False
    wanted = _compiled(tuple(include)).fullmatch
    if not exclude:
        return lambda path: wanted(path) is not None
    unwanted = _compiled(tuple(exclude)).fullmatch
    return lambda path: wanted(path) is not None and unwanted(path) is None


def folder_test(include: Sequence[str]) -> Callable[[str], bool]:
    """A test for folders (relative paths, never empty) in or below which a path matching one of `include` may lie."""
    patterns = [pattern.split("/")[:-1] if not pattern.endswith("**") else pattern.split("/") for pattern in include]
    compiled = [[None if part == "**" else _compiled((part,)) for part in parts] for parts in patterns]

    def possible(folder: str) -> bool:
        parts = folder.split("/")
        return any(_leads_to(parts, pattern) for pattern in compiled)

    return possible


def _leads_to(parts: Sequence[str], pattern: Sequence[re.Pattern[str] | None]) -> bool:
    for index, part in enumerate(parts):
        if index >= len(pattern):
            return False
        wanted = pattern[index]
        if wanted is None:
            return True
        if wanted.fullmatch(part) is None:
            return False
    return True


def by_folder(include: Sequence[str], exclude: Sequence[str] = ()) -> Callable[[str], Callable[[str], bool] | None]:
    """`matcher` for the files of one folder at a time: for a folder ('' for the top) the test of its files' names, or None where
    no name passes.

    What a glob says of folders is asked once per folder, which for ten thousand files in one is most of the work.
    """
    wanted, unwanted = [_split(glob) for glob in include], [_split(glob) for glob in exclude]
    if any("**" in name and name != "**" for _, name in (*wanted, *unwanted)):
        test = matcher(include, exclude)
        return lambda folder: lambda name: test(f"{folder}/{name}" if folder else name)

    def names(folder: str) -> Callable[[str], bool] | None:
        prefix = f"{folder}/" if folder else ""
        passing, refused = _names_in(wanted, prefix), _names_in(unwanted, prefix)
        if not passing or not _ANY.isdisjoint(refused):
            return None
        passes = _compiled(passing).fullmatch if _ANY.isdisjoint(passing) else None
        refuses = _compiled(refused).fullmatch if refused else None
        if passes is None:
            return _always if refuses is None else lambda name: refuses(name) is None
        if refuses is None:
            return lambda name: passes(name) is not None
        return lambda name: passes(name) is not None and refuses(name) is None

    return names


_ANY = frozenset({"*", "**"})
"""Globs about names that every name passes."""


def _always(_name: str) -> bool:
    return True


def _split(glob: str) -> tuple[str, str]:
    """A glob's part about folders, up to the last slash, and its part about names."""
    folder, slash, name = glob.rpartition("/")
    return folder + slash, name


def _names_in(globs: Sequence[tuple[str, str]], prefix: str) -> tuple[str, ...]:
    """The globs about names that hold for the files of the folder `prefix` (with its final slash)."""
    found = []
    for folder, name in globs:
        # A final `**` goes on below whatever its folders match.
        about = _compiled((folder + "**",)) if name == "**" else _compiled((folder,))
        if about.fullmatch(prefix) is not None:
            found.append(name)
    return tuple(found)

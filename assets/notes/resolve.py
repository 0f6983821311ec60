"""Where a link leads: the resolution order, in one place.

Every mention and every name has a **key**: its last path segment without `.md` or `.markdown`, in NFC and case-folded. A
mention can only lead to what has its key, so that a name that appears, vanishes or changes touches the mentions with that key
and no others.

A link within double brackets (also in a frontmatter value, an embed, or an entry of `links:`) leads to the first of these
steps that finds something:

1. `id`: the note with that id;
2. `path`: the file at that path from the store's folder;
3. `relative`: the file at that path from the folder of the note the link stands in;
4. `name`: the file whose path ends in it, whatever folder lies before (`[[name]]`, `[[folder/name]]`);
5. `title`: the note with that title;
6. `alias`: the note with that alias;
7. an attachment, by `path`, `relative` and `name` as above.

`.md` and `.markdown` may be left out. A Markdown link or picture leads to:

1. `relative`: the note or attachment at that path from the folder of the note the link stands in; with a leading `/`, from
   the store's folder (`path`);
2. `path`: the note or attachment at that path from the store's folder, as Obsidian writes them;
3. `id`: the note with that id, with or without `.md`, as qipu writes them.

All steps are tried with the target as it is spelled, then all of them in NFC, then all of them case-folded (`spelling` tells
which; a link that only the last finds is a finding). Where a step finds several notes, the link is `ambiguous`: all of them
are recorded, and it makes no edge. `..` never leaves the store. Pure; standard library only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from schemas.notes.model import MentionKind

WIKI_KINDS = frozenset({MentionKind.WIKI, MentionKind.EMBED, MentionKind.TYPED, MentionKind.PROPERTY})
"""Mentions that follow the first order; the others but URL follow the second."""

EXTENSIONS = (".md", ".markdown")

RESOLVED, SELF, BROKEN, BROKEN_ANCHOR, AMBIGUOUS, EXTERNAL, ATTACHMENT = (
    "resolved",
    "self",
    "broken",
    "broken-anchor",
    "ambiguous",
    "external",
    "attachment",
)
"""The states of a mention. `self`: it leads to the note it stands in. `external`: an address, a folder, or a path outside the
store."""

LINKED = (RESOLVED, BROKEN_ANCHOR)
"""The states that make an edge."""


class Name(NamedTuple):
    """One name of one note: `form` is id, path, stem, title or alias; `path` the note's."""

    note: int
    path: str
    form: str
    name: str


class Resolution(NamedTuple):
    """Where a mention leads. `rule` is the step that decided, `spelling` exact, nfc or case; `note` and `path` what it leads to;
    `candidates` the sorted paths of all notes (or attachments) where there are several."""

    state: str
    rule: str | None = None
    spelling: str | None = None
    note: int | None = None
    path: str | None = None
    candidates: tuple[str, ...] | None = None


ADDRESS = Resolution(EXTERNAL, "url")
_BROKEN = Resolution(BROKEN)
_FOLDER = Resolution(EXTERNAL, "folder")
_OUTSIDE = Resolution(EXTERNAL, "outside")


def _exact(text: str) -> str:
    return text


def nfc(text: str) -> str:
    """`text` in Unicode's composed form."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """`text` in NFC and case-folded: equal for what people read as the same word."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (("exact", _exact), ("nfc", nfc), ("case", fold))


def without_extension(path: str) -> str:
    """`path` without `.md` or `.markdown`, however that is spelled."""
    lowered = path[-9:].lower()
    for extension in EXTENSIONS:
        if lowered.endswith(extension):
            return path[: -len(extension)]
    return path


def key(text: str) -> str:
    """The key that a name and a mention of it share; '' for what can name nothing."""
    last = without_extension(text.rstrip("/").rpartition("/")[2])
    return "" if last in (".", "..") else fold(last)


def join(folder: str, target: str) -> str | None:
    """The store-relative path of `target` seen from `folder`, '' for the store's folder itself; None outside the store."""
    parts = [] if target.startswith("/") else folder.split("/") if folder else []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class Namesakes:
    """Everything in a store that shares one key, and where mentions with that key lead.

    `names` in any order; `attachments` are paths.
    """

    def __init__(self, names: Iterable[Name], attachments: Iterable[str] = ()) -> None:
        self.names = list(names)
        self.attachments = list(attachments)
        self._spelled: dict[str, tuple[list[tuple[str, str, Name]], list[tuple[str, str]]]] = {}
        self._known: dict[tuple[bool, str, str], Resolution] = {}

    def resolve(self, kind: str, target: str, path: str) -> Resolution:
        """Where the target of a mention in the note at `path` leads; not for URL mentions, nor for an empty target."""
        folder = path.rpartition("/")[0]
        wiki = kind in WIKI_KINDS
        known = self._known.get((wiki, target, folder))
        if known is None:
            known = self._known[wiki, target, folder] = self._resolve(wiki, target, folder)
        if known.state == RESOLVED and known.path == path:
            return known._replace(state=SELF)
        return known

    def _resolve(self, wiki: bool, target: str, folder: str) -> Resolution:
        if join(folder, target) is None and (not wiki or join("", target) is None):
            return _OUTSIDE
        if target.endswith("/") or target.rpartition("/")[2] in (".", ".."):
            return _FOLDER
        for spelling, spell in SPELLINGS:
            names, attachments = self._in(spelling, spell)
            steps = _wiki_steps if wiki else _markdown_steps
            for rule, notes, files in steps(spell(target), spell(folder), names, attachments):
                if notes or files:
                    return _decided(rule, spelling, notes, files)
        return _BROKEN

    def _in(self, spelling: str, spell: Callable[[str], str]) -> tuple[list[tuple[str, str, Name]], list[tuple[str, str]]]:
        if spelling not in self._spelled:
            self._spelled[spelling] = (
                [(spell(name.name), spell(without_extension(name.name)), name) for name in self.names],
                [(spell(path), path) for path in self.attachments],
            )
        return self._spelled[spelling]


_Names = list[tuple[str, str, Name]]
_Files = list[tuple[str, str]]
_Step = tuple[str, list[Name], list[str]]


def _called(names: _Names, form: str, target: str) -> list[Name]:
    return [name for spelled, _, name in names if name.form == form and spelled == target]


def _at(names: _Names, path: str | None) -> list[Name]:
    """The notes at a path, whose extension may be left out; an exact path before one with the extension added."""
    if not path:
        return []
    whole = [name for spelled, _, name in names if name.form == "path" and spelled == path]
    return whole or [name for _, bare, name in names if name.form == "path" and bare == path]


def _ending(names: _Names, target: str) -> list[Name]:
    end = f"/{target}"
    found = [name for spelled, _, name in names if name.form == "path" and f"/{spelled}".endswith(end)]
    return found or [name for _, bare, name in names if name.form == "path" and f"/{bare}".endswith(end)]


def _wiki_steps(target: str, folder: str, names: _Names, files: _Files) -> Iterable[_Step]:
    root, relative = join("", target), join(folder, target)
    yield "id", _called(names, "id", target), []
    yield "path", _at(names, root), []
    yield "relative", _at(names, relative), []
    yield "name", _ending(names, target.lstrip("/")), []
    yield "title", _called(names, "title", target), []
    yield "alias", _called(names, "alias", target), []
    yield "path", [], [path for spelled, path in files if spelled == root]
    yield "relative", [], [path for spelled, path in files if spelled == relative]
    end = f"/{target.lstrip('/')}"
    yield "name", [], [path for spelled, path in files if f"/{spelled}".endswith(end)]


def _markdown_steps(target: str, folder: str, names: _Names, files: _Files) -> Iterable[_Step]:
    places = [("path", join("", target))]
    if not target.startswith("/"):
        places.insert(0, ("relative", join(folder, target)))
    for rule, place in places:
        yield rule, _at(names, place), []
        yield rule, [], [path for spelled, path in files if spelled == place]
    if "/" not in target:
        yield "id", _called(names, "id", target) or _called(names, "id", without_extension(target)), []


def _decided(rule: str, spelling: str, notes: Sequence[Name], files: Sequence[str]) -> Resolution:
    if notes:
        paths = sorted({name.path for name in notes})
        if len(paths) > 1:
            return Resolution(AMBIGUOUS, rule, spelling, candidates=tuple(paths))
        return Resolution(RESOLVED, rule, spelling, notes[0].note, paths[0])
    if len(files) > 1:
        return Resolution(AMBIGUOUS, rule, spelling, candidates=tuple(sorted(files)))
    return Resolution(ATTACHMENT, rule, spelling, None, files[0])

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

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

MOST_CANDIDATES = 100
"""How many candidates of an ambiguous link are recorded, the first by path."""

_DEEPEST = 32
"""How many segments a link may give of the end of a path."""

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
    `candidates` the sorted paths of all notes (or attachments) where there are several, the first MOST_CANDIDATES of them."""

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

    `names` in any order; `attachments` are paths. Looking up costs the same however many there are.
    """

    def __init__(self, names: Iterable[Name], attachments: Iterable[str] = ()) -> None:
        self.names = list(names)
        self.attachments = list(attachments)
        self._spelled: dict[str, _Spelled] = {}
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

    def meant(self, target: str) -> list[str]:
        """The paths of all notes that `target` between double brackets could mean, by any step, case aside; sorted."""
        spelled = self._in("case", fold)
        return sorted({name.path for _, names, _ in _wiki_steps(fold(target), "", spelled) for name in names})

    def _resolve(self, wiki: bool, target: str, folder: str) -> Resolution:
        if join(folder, target) is None:
            return _OUTSIDE
        if target.endswith("/") or target.rpartition("/")[2] in (".", ".."):
            return _FOLDER
        if not self.names and not self.attachments:
            return _BROKEN
        steps = _wiki_steps if wiki else _markdown_steps
        for spelling, spell in SPELLINGS:
            for rule, notes, files in steps(spell(target), spell(folder), self._in(spelling, spell)):
                if notes or files:
                    return _decided(rule, spelling, notes, files)
        return _BROKEN

    def _in(self, spelling: str, spell: Callable[[str], str]) -> _Spelled:
        if spelling not in self._spelled:
            self._spelled[spelling] = _Spelled(self.names, self.attachments, spell)
        return self._spelled[spelling]


class _Spelled:
    """Namesakes by their names in one spelling."""

    def __init__(self, names: Sequence[Name], attachments: Sequence[str], spell: Callable[[str], str]) -> None:
        self._forms: dict[tuple[str, str], list[Name]] = {}
        self._bare: dict[str, list[Name]] = {}
        self._files: dict[str, list[str]] = {}
        for name in names:
            spelled = spell(name.name)
            self._forms.setdefault((name.form, spelled), []).append(name)
            if name.form == "path":
                self._bare.setdefault(without_extension(spelled), []).append(name)
        for path in attachments:
            self._files.setdefault(spell(path), []).append(path)

    def called(self, form: str, target: str) -> list[Name]:
        """The notes that have `target` as their id, title or alias."""
        return self._forms.get((form, target), [])

    def at(self, path: str | None) -> list[Name]:
        """The notes at a path, whose extension may be left out; an exact path before one with the extension added."""
        return (self._forms.get(("path", path)) or self._bare.get(path, [])) if path else []

    def file_at(self, path: str | None) -> list[str]:
        return self._files.get(path, []) if path else []

    def ending(self, end: str) -> list[Name]:
        return self._ends[0].get(end) or self._ends[1].get(end, [])

    def file_ending(self, end: str) -> list[str]:
        return self._ends[2].get(end, [])

    @cached_property
    def _ends(self) -> tuple[dict[str, list[Name]], dict[str, list[Name]], dict[str, list[str]]]:
        whole: dict[str, list[Name]] = {}
        bare: dict[str, list[Name]] = {}
        files: dict[str, list[str]] = {}
        for (form, path), names in self._forms.items():
            if form == "path":
                _add_ends(whole, path, names)
        for path, names in self._bare.items():
            _add_ends(bare, path, names)
        for path, paths in self._files.items():
            _add_ends(files, path, paths)
        return whole, bare, files


_T = TypeVar("_T")


def _add_ends(into: dict[str, list[_T]], path: str, found: list[_T]) -> None:
    """File `found` under every end of `path` that begins at a segment; of very deep paths under the last few."""
    end = ""
    for part in reversed(path.split("/")[-_DEEPEST:]):
        end = f"{part}/{end}" if end else part
        into.setdefault(end, []).extend(found)


_Step = tuple[str, list[Name], list[str]]


def _wiki_steps(target: str, folder: str, spelled: _Spelled) -> Iterator[_Step]:
    root, relative, end = join("", target), join(folder, target), target.lstrip("/")
    yield "id", spelled.called("id", target), []
    yield "path", spelled.at(root), []
    yield "relative", spelled.at(relative), []
    yield "name", spelled.ending(end), []
    yield "title", spelled.called("title", target), []
    yield "alias", spelled.called("alias", target), []
    yield "path", [], spelled.file_at(root)
    yield "relative", [], spelled.file_at(relative)
    yield "name", [], spelled.file_ending(end)


def _markdown_steps(target: str, folder: str, spelled: _Spelled) -> Iterator[_Step]:
    places = [("path", join("", target))]
    if not target.startswith("/"):
        places.insert(0, ("relative", join(folder, target)))
    for rule, place in places:
        yield rule, spelled.at(place), []
        yield rule, [], spelled.file_at(place)
    if "/" not in target:
        yield "id", spelled.called("id", target) or spelled.called("id", without_extension(target)), []


def _decided(rule: str, spelling: str, notes: Sequence[Name], files: Sequence[str]) -> Resolution:
    paths = sorted({name.path for name in notes}) if notes else sorted(files)
    if len(paths) > 1:
        return Resolution(AMBIGUOUS, rule, spelling, candidates=tuple(paths[:MOST_CANDIDATES]))
    if notes:
        return Resolution(RESOLVED, rule, spelling, notes[0].note, paths[0])
    return Resolution(ATTACHMENT, rule, spelling, None, paths[0])

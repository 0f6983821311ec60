"""Discovery: one walk over the workspace that finds its files, its stores and the folders that are not entered.

A store is a folder that a kind recognises by a marker, or one named in `headwater.toml`. What a walk learns that is not in
the stats (which folders git ignores, which markers are ours) is kept in machine state by content, so that nothing is parsed
and no git process started when nothing changed. Reading sources is `assets.engine.scan`. Light.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.engine.model import Ref, Store
from assets.engine.recipe import Kind
from assets.engine.scratch import scratch_path
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding, Severity, found, rule
from schemas.globs import matcher
from schemas.oid import json_oid
from schemas.paths import check_path, escaped

if TYPE_CHECKING:
    from resources.workspace import Workspace

FORMAT = 1

STORE_UNREADABLE = rule("store-unreadable", Severity.ERROR, "A store's marker file cannot be read, so the store is left out.")
STORE_VANISHED = rule("store-vanished", Severity.WARNING, "A store that is configured or was built before is no longer there.")
FOLDER_UNUSABLE = rule("folder-unusable", Severity.WARNING, "Folders have names that every command can show and open.")
STORE_NAME_TAKEN = rule("store-name-taken", Severity.ERROR, "Two stores of one kind have the same name.")
STORE_FOLDER_TAKEN = rule("store-folder-taken", Severity.ERROR, "Two stores of one kind have the same folder in headwater.toml.")
STORE_SETTING = rule("store-setting", Severity.ERROR, "A store is given only settings that its kind has, with values they take.")

_NEVER_ENTERED = frozenset(
    {
        ".git", ".hg", ".svn", ".headwater", "headwater-rescue", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox",
        ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints", ".Trash",
    }
)  # fmt: skip
_FOREIGN_MARKS = ("headwater.toml", ".git", "pyvenv.cfg")
"""A folder (other than the root) that holds one of these is a workspace of its own or a virtual environment."""

ROOT_NAME = "root"
"""The name of a store that is the workspace's root folder."""


@dataclass(slots=True)
class Discovered:
    """What a walk found: the stores sorted by kind and name, what went wrong, and the tests for folders and files that a
    later scan of one store shares."""

    stores: list[Store]
    findings: list[Finding]
    enter: Callable[[str], bool]
    excluded: Callable[[str], bool]


def store_name(root: str) -> str:
    """The name of a store by its path: the path itself, `root` for the workspace folder, `./root` for a folder named so."""
    if not root:
        return ROOT_NAME
    return f"./{root}" if root == ROOT_NAME else root


def walk(workspace: Workspace, kinds: Mapping[str, Kind], *, remembered: Iterable[Store] = ()) -> Discovered:
    """Walk the workspace once. `remembered` are stores with provenance; those not found again come back as not present."""
    memory = _Memory.load(workspace.local / "discovery.json")
    configured = sorted({_configured_root(entry) for entry in workspace.config.stores.values()})
    folders = frozenset(name for kind in kinds.values() for name in kind.folders)
    enter = _Enter(workspace, configured, memory, folders)
    files = _listing(workspace, enter)
    ignore_key = ""
    if workspace.git_root is not None:
        ignore_key = _ignore_key(workspace, files)
        if ignore_key != memory.ignore_key and memory.ignored:
            # The rules changed: folders skipped on their account may count again.
            memory.ignored = set()
            enter = _Enter(workspace, configured, memory, folders)
            files = _listing(workspace, enter)
            ignore_key = _ignore_key(workspace, files)
        _drop_ignored(workspace, files, memory, ignore_key, enter)
    stores, findings = _stores(workspace, kinds, files, memory, enter.excluded)
    findings.extend(enter.unusable.values())
    present = {(store.kind, store.name) for store in stores}
    for store in remembered:
        if (store.kind, store.name) not in present and store.kind in kinds:
            stores.append(Store(store.kind, store.name, store.root, store.settings, present=False))
            findings.append(
                found(
                    STORE_VANISHED,
                    store.root or ".",
                    f"the {store.kind} store {store.name} was built before and is gone",
                    fix=f"bring its folder back, or forget it with `headwater clean {Ref(store.kind, store.name, '*').word}`",
                )
            )
    memory.save()
    stores.sort(key=lambda store: (store.kind, store.name))
    return Discovered(stores, sorted(findings), enter, enter.excluded)


Files = dict[str, list[str]]
"""Folder -> names of the regular files directly in it, for every folder entered."""


def _listing(workspace: Workspace, enter: _Enter) -> Files:
    """The names of all files; on a local root no file is looked at."""
    from resources.storage.local import LocalStorage

    root = workspace.root
    files: Files = {}
    if isinstance(root, LocalStorage):
        for where, entries, _ in root.walk("", enter=enter.looks_into):
            files[where] = [entry.name for entry in entries]
        return files
    for stat in root.scan("", enter=enter):
        folder, _, name = stat.path.rpartition("/")
        while folder not in files:
            files[folder] = []
            if folder:
                folder = folder.rpartition("/")[0]
        files[stat.path.rpartition("/")[0]].append(name)
    # On an object store folders cannot be looked into one by one: nested workspaces are dropped from the listing.
    foreign = [
        folder
        for folder, names in files.items()
        if folder and not enter.wanted(folder) and not set(names).isdisjoint(_FOREIGN_MARKS)
    ]
    for folder in foreign:
        _drop_below(files, folder)
    enter.foreign.update(foreign)
    return files


def _drop_below(files: Files, folder: str) -> None:
    for other in [name for name in files if name == folder or name.startswith(f"{folder}/")]:
        del files[other]


def _ignore_key(workspace: Workspace, files: Files) -> str:
    """What decides which folders git ignores: the content of every ignore file in reach."""
    paths = sorted(f"{folder}/.gitignore" if folder else ".gitignore" for folder, names in files.items() if ".gitignore" in names)
    return json_oid([[path, workspace.stat_cache.digest(workspace.root, path)] for path in paths])


def _configured_root(entry: Any) -> str:
    path = str(entry.path).strip("/")
    return "" if path == "." else path


class _Memory:
    """What is remembered between walks, by content: `ignored` folders under one set of ignore rules, marker verdicts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ignore_key = ""
        self.ignored: set[str] = set()
        self.asked: set[str] = set()
        self.verdicts: dict[str, str | None] = {}
        self.used: dict[str, str | None] = {}
        self._stored = b""

    @classmethod
    def load(cls, path: Path) -> _Memory:
        made = cls(path)
        try:
            made._stored = path.read_bytes()
            record = json.loads(made._stored)
            if record["format"] == FORMAT:
                made.ignore_key = str(record["ignore_key"])
                made.ignored = set(record["ignored"])
                made.asked = set(record["asked"])
                made.verdicts = dict(record["verdicts"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return made

    def save(self) -> None:
        """Keep what this walk used, when it differs from what is stored. A hint only, so it is not made durable."""
        record = canonical_json(
            {
                "format": FORMAT,
                "ignore_key": self.ignore_key,
                "ignored": sorted(self.ignored),
                "asked": sorted(self.asked),
                "verdicts": self.used,
            }
        )
        if record == self._stored:
            return
        with suppress(OSError):  # a workspace that cannot be written to can still be looked at
            # In scratch, whose leftovers are swept.
            temporary = scratch_path(self.path.with_name("scratch"), "discovery")
            temporary.write_bytes(record)
            temporary.replace(self.path)


class _Enter:
    """The test whether a folder is entered."""

    def __init__(self, workspace: Workspace, configured: Sequence[str], memory: _Memory, folders: frozenset[str]) -> None:
        self.folders = folders
        self.root = workspace.root.local_root
        self.excluded = matcher(_folder_patterns(workspace.config.exclude))
        self.configured = configured
        self.memory = memory
        self.foreign: set[str] = set()
        self.unusable: dict[str, Finding] = {}
        """A finding for each folder that is passed over because of its name."""
        self._verdicts: dict[str, bool] = {}

    def wanted(self, folder: str) -> bool:
        """Whether a configured store lies at, below or above `folder`, or one that is a store by its name at or above it: what is
        named is entered whatever it is called, ignored by git or a worktree of its own."""
        if not self.folders.isdisjoint(folder.split("/")):
            return True
        below = f"{folder}/"
        return any(
            root == folder or root.startswith(below) or (root and below.startswith(f"{root}/")) for root in self.configured
        )

    def __call__(self, folder: str) -> bool:
        verdict = self._verdicts.get(folder)
        if verdict is None:
            verdict = self._verdicts[folder] = self._decide(folder)
        return verdict

    def looks_into(self, folder: str) -> bool:
        """Whether a folder is entered to look for stores: a hidden one that is nothing but a store holds no others, and may hold
        very many files."""
        above = folder.split("/")[:-1]
        return not any(name[:1] == "." and name in self.folders for name in above) and self(folder)

    def forget(self) -> None:
        """Decide anew: more is known about what git ignores."""
        self._verdicts.clear()

    def _decide(self, folder: str) -> bool:
        name = folder.rpartition("/")[2]
        if name in _NEVER_ENTERED and not any(root == folder or root.startswith(f"{folder}/") for root in self.configured):
            return False
        if self.excluded(folder):
            return False
        try:
            check_path(folder, portable=False)
        except HeadwaterError as error:
            # Its files cannot be opened through the storage; everything else in the workspace can.
            above = folder.rpartition("/")[0] or "."
            message = f"the folder {escaped(name)} is passed over: {error.message.partition(':')[0]}"
            self.unusable[folder] = found(FOLDER_UNUSABLE, escaped(above), message, fix=error.fix)
            return False
        if self.wanted(folder):
            return True
        if folder in self.memory.ignored or folder in self.foreign:
            return False
        if self.root is None:
            return True
        return not any(os.path.lexists(f"{self.root}/{folder}/{mark}") for mark in _FOREIGN_MARKS)


def _folder_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Exclude globs so that a pattern naming a folder covers what is in it."""
    return tuple(form for pattern in patterns for form in (pattern.rstrip("/"), f"{pattern.rstrip('/')}/**"))


def _drop_ignored(workspace: Workspace, files: Files, memory: _Memory, ignore_key: str, enter: _Enter) -> None:
    """Drop the git-ignored folders, asking git only about folders it was not asked about under the same rules."""
    if ignore_key != memory.ignore_key:
        memory.ignored, memory.asked = set(), set()
        memory.ignore_key = ignore_key
    unknown = sorted(folder for folder in files.keys() - memory.asked if folder and not enter.wanted(folder))
    if unknown:
        memory.ignored |= _ask_git(workspace, unknown)
        memory.asked |= set(unknown)
        enter.forget()
    for folder in memory.ignored & files.keys():
        if not enter.wanted(folder):
            _drop_below(files, folder)


def _ask_git(workspace: Workspace, folders: Sequence[str]) -> set[str]:
    """Those of the workspace's `folders` that git ignores; the workspace may lie below the top of its checkout."""
    git, root = workspace.git, workspace.root.local_root
    if git is None or root is None:
        return set()
    above = root.relative_to(git.root).as_posix()
    if above == ".":
        return git.ignored(folders)
    # A workspace in a folder that an outer checkout ignores is ignored as a whole: that says nothing about what is in it.
    ignored = git.ignored([above, *(f"{above}/{folder}" for folder in folders)])
    return set() if above in ignored else {path[len(above) + 1 :] for path in ignored}


def _stores(
    workspace: Workspace,
    kinds: Mapping[str, Kind],
    files: Files,
    memory: _Memory,
    excluded: Callable[[str], bool],
) -> tuple[list[Store], list[Finding]]:
    stores: dict[tuple[str, str], Store] = {}
    findings: list[Finding] = []
    roots_seen = set(_recognised(workspace, kinds, files, memory, findings, excluded))
    claimed: dict[tuple[str, str], str] = {}
    for name, entry in workspace.config.stores.items():
        root = _configured_root(entry)
        if entry.kind not in kinds:
            findings.append(
                found(
                    STORE_UNREADABLE,
                    "headwater.toml",
                    f"the store {name} is of the kind {entry.kind!r}, which is not known",
                    fix=f"use one of {', '.join(sorted(kinds))}",
                )
            )
            continue
        first = claimed.setdefault((entry.kind, root), name)
        if first != name:
            findings.append(
                found(
                    STORE_FOLDER_TAKEN,
                    "headwater.toml",
                    f"the {entry.kind} stores {first} and {name} have the same folder, {root or 'the root'}; {name} is left out",
                    fix="correct the path of one of them, or remove it",
                )
            )
            continue
        findings += _setting_findings(kinds[entry.kind], name, entry.settings)
        present = not root or root in files
        stores[entry.kind, name] = Store(entry.kind, name, root, dict(entry.settings), present)
        roots_seen.discard((entry.kind, root))
        if not present:
            findings.append(
                found(
                    STORE_VANISHED,
                    "headwater.toml",
                    f"the folder {root} of the store {name} does not exist",
                    fix="create it, or correct the path",
                )
            )
    for kind, root in sorted(roots_seen):
        name = store_name(root)
        if (kind, name) in stores:
            findings.append(
                found(
                    STORE_NAME_TAKEN,
                    root or ".",
                    f"the {kind} store in {root or 'the root folder'} has the name of one configured in headwater.toml",
                    fix="give one of them another name in headwater.toml",
                )
            )
            continue
        stores[kind, name] = Store(kind, name, root)
    return list(stores.values()), findings


def _setting_findings(kind: Kind, store: str, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with `[stores.<store>.settings]`: names the kind does not have, values that are none of the choices."""
    known = {setting.name: setting for setting in kind.settings}
    for name, value in settings.items():
        setting = known.get(name)
        if setting is None:
            message = f"the store {store} has the setting {name!r}, which stores of the kind {kind.name} do not have"
            fix = f"use one of {', '.join(sorted(known))}" if known else "remove it"
            yield found(STORE_SETTING, "headwater.toml", message, fix=fix)
        elif setting.choices and value not in setting.choices:
            message = f"the setting {name!r} of the store {store} is {value!r}"
            yield found(STORE_SETTING, "headwater.toml", message, fix=f"use one of {', '.join(map(repr, setting.choices))}")


def _recognised(
    workspace: Workspace,
    kinds: Mapping[str, Kind],
    files: Files,
    memory: _Memory,
    findings: list[Finding],
    excluded: Callable[[str], bool],
) -> Iterator[tuple[str, str]]:
    """(kind, root) of every folder with a marker that its kind recognises; verdicts over files are kept by their oid."""
    for kind in kinds.values():
        for path, is_file in _marked(kind.markers, files):
            if excluded(path):
                continue
            key = f"{kind.name}:{kind.check_version}:{path}"
            if is_file:
                key += ":" + workspace.stat_cache.digest(workspace.root, path)
            if is_file and key in memory.verdicts:
                root = memory.verdicts[key]
            else:
                try:
                    root = kind.recognise.load()(workspace.root, path)
                except InvalidText as error:
                    findings.extend(error.findings)
                    continue
                except (HeadwaterError, OSError) as error:
                    findings.append(found(STORE_UNREADABLE, path, f"cannot be read: {error}", fix="make the file readable"))
                    continue
            if is_file:  # a folder has no content whose digest would vouch for the verdict
                memory.used[key] = root
            if root is not None:
                yield kind.name, root


def _marked(markers: Sequence[str], files: Files) -> list[tuple[str, bool]]:
    """(path, whether it is a file) of the files and folders whose last parts match one of the markers, sorted."""
    literal = {marker for marker in markers if "/" not in marker and not any(sign in marker for sign in "*?[")}
    globs = [marker for marker in markers if marker not in literal]
    matched: list[tuple[str, bool]] = []
    for folder, names in files.items():
        prefix = f"{folder}/" if folder else ""
        hits = literal.intersection(names)
        if globs:
            hits |= {name for name in names if any(_ends_with(prefix + name, marker) for marker in globs)}
        matched += [(prefix + name, True) for name in hits]
        if folder and (folder.rpartition("/")[2] in literal or any(_ends_with(folder, marker) for marker in globs)):
            matched.append((folder, False))
    return sorted(matched)


def _ends_with(path: str, marker: str) -> bool:
    parts, wanted = path.split("/"), marker.strip("/").split("/")
    return len(parts) >= len(wanted) and all(
        fnmatch.fnmatchcase(part, glob) for part, glob in zip(parts[-len(wanted) :], wanted, strict=True)
    )

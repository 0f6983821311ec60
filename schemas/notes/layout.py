"""Which files of a store are notes, which are attachments, and the id of a note that has none.

Three layouts: a folder of qipu's (`config.toml`, `notes/`, `mocs/`, `attachments/`, `templates/`), a vault of Obsidian's
(`.obsidian/`), any folder of Markdown. Paths are relative to the store, with `/`. Pure, light: standard library only.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

from schemas.globs import matcher
from schemas.notes.config import NotesConfig, ObsidianSettings


class Layout(StrEnum):
    """How a store is laid out."""

    QIPU = "qipu"
    VAULT = "vault"
    FOLDER = "folder"


STORE_NAMES = (".qipu", "qipu")
EXTENSIONS = (".md", ".markdown")
"""What a note's name ends in, in any case."""

DERIVED = ("qipu.db", "qipu.db-wal", "qipu.db-shm", "qipu.db-journal")
"""Derived files in the folder of a store; `.cache/` is derived too."""

NOTES, MOCS, ATTACHMENTS, TEMPLATES, WORKSPACES = "notes", "mocs", "attachments", "templates", "workspaces"
_NOT_NOTES = (f"{ATTACHMENTS}/", f"{TEMPLATES}/", f"{WORKSPACES}/")
_NOT_ATTACHMENTS = ("config.toml", "PRIME.md", *DERIVED)
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})


def detect(root: str, names: Collection[str]) -> Layout:
    """The layout of the store at `root`; `names` are the files and folders that lie directly in it.

    The names `.qipu` and `qipu` decide by themselves; else `.obsidian` makes a vault, and `config.toml` with `notes` or `mocs`
    a folder of qipu's.
    """
    if root.rstrip("/").rpartition("/")[2] in STORE_NAMES:
        return Layout.QIPU
    if ".obsidian" in names:
        return Layout.VAULT
    if "config.toml" in names and (NOTES in names or MOCS in names):
        return Layout.QIPU
    return Layout.FOLDER


def note_filter(
    layout: Layout,
    config: NotesConfig,
    obsidian: ObsidianSettings | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Callable[[str], bool]:
    """A test for store-relative paths of notes.

    A note is a file whose name ends in `.md` or `.markdown`, outside of every folder that begins with a dot (`.trash`,
    `.obsidian`). Not notes are, in qipu's layout, what lies in `templates/`, `attachments/` and `workspaces/`, and `PRIME.md`;
    in a vault, its folder of templates and what its settings exclude. `include` and `exclude` are globs of the workspace's
    configuration; with `include`, only what it names is a note.
    """
    shown = _visible(layout, obsidian)
    skipped = _NOT_NOTES if layout is Layout.QIPU else ()
    templates = f"{obsidian.templates_folder}/" if layout is Layout.VAULT and obsidian and obsidian.templates_folder else None
    chosen = matcher(include or ("**",), exclude)
    limited = bool(include or exclude)

    def is_note(path: str) -> bool:
        if not path.endswith(EXTENSIONS) and not path.lower().endswith(EXTENSIONS):
            return False
        if skipped and (path.startswith(skipped) or path == "PRIME.md"):
            return False
        if templates is not None and path.startswith(templates):
            return False
        return shown(path) and (not limited or chosen(path))

    return is_note


def attachment_filter(
    layout: Layout,
    config: NotesConfig,
    obsidian: ObsidianSettings | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Callable[[str], bool]:
    """A test for store-relative paths of attachments: every visible file that is neither a note, nor derived, nor a setting.

    `include` and `exclude` are those of the notes; they do not narrow attachments, except that what `exclude` names is none.
    """
    is_note = note_filter(layout, config, obsidian, include, exclude)
    shown = _visible(layout, obsidian)
    excluded = matcher(exclude)
    qipu = layout is Layout.QIPU

    def is_attachment(path: str) -> bool:
        if qipu and (path in _NOT_ATTACHMENTS or path.startswith((f"{TEMPLATES}/", f"{WORKSPACES}/"))):
            return False
        return shown(path) and not is_note(path) and not excluded(path)

    return is_attachment


def _visible(layout: Layout, obsidian: ObsidianSettings | None) -> Callable[[str], bool]:
    """A test for paths in no hidden folder and not excluded by the vault's own settings."""
    prefixes = obsidian.ignore_prefixes if layout is Layout.VAULT and obsidian else ()
    patterns = obsidian.ignore_patterns if layout is Layout.VAULT and obsidian else ()

    def shown(path: str) -> bool:
        if path.startswith(".") or "/." in path:
            return False
        if prefixes and path.startswith(prefixes):
            return False
        if any(pattern.search(path) for pattern in patterns):
            return False
        return "node_modules" not in path or _SKIPPED_FOLDERS.isdisjoint(path.split("/")[:-1])

    return shown


def derived_id(path: str) -> str:
    """The id of a note that has none: `p-` and 12 characters, always the same for a path.

    Sixty bits of SHA-256 over the path in NFC, in Crockford's base 32: among a million notes two are equal with probability
    below 10⁻⁶. It changes when the file is moved, which is why notes that are linked by id should have one of their own.
    """
    number = int.from_bytes(hashlib.sha256(unicodedata.normalize("NFC", path).encode("utf-8", "surrogatepass")).digest()[:8]) >> 4
    return "p-" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(55, -1, -5))


_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"

"""A notes store as its recipes meet it: is a folder one, where its outputs lie, what its index says is wrong with it.

What a note is and how it is read is in `schemas.notes`. Light: standard library only, everything else inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.engine.recipe import Place
from schemas.errors import HeadwaterError
from schemas.findings import Finding

if TYPE_CHECKING:
    from resources.storage.base import Storage

CONFIG_FILE = "config.toml"
HIDDEN, VISIBLE, OBSIDIAN = ".qipu", "qipu", ".obsidian"
STORE_FOLDERS = (HIDDEN, VISIBLE)
"""The names of folders that hold nothing but a store; the folder around one is the project it belongs to."""
_NOTE_FOLDERS = ("notes", "mocs")
_CONFIG_LIMIT = 1 << 20


def recognise(storage: Storage, marker: str) -> str | None:
    """The store that the folder `marker` makes, else None.

    `.qipu` is a store by its name alone, `qipu` only with a `config.toml`, `notes/` or `mocs/` in it and no `.qipu` beside it
    that is one; `.obsidian` makes the folder around it one. A `store_path` in the `config.toml` leads elsewhere in the project,
    where there is such a folder. Raises HeadwaterError for one that leads out of the workspace.
    """
    above, _, name = marker.rpartition("/")
    if name == OBSIDIAN:
        # A store of qipu's layout may be looked at through Obsidian; it stays what it is.
        return above if _has_folder(storage, marker) else None
    if name not in STORE_FOLDERS or not _has_folder(storage, marker):
        return None
    if name == VISIBLE:
        beside = f"{above}/{HIDDEN}" if above else HIDDEN
        if _has_folder(storage, beside) or not _looks_like_qipu(storage, marker):
            return None
    return _redirected(storage, above, marker)


def _redirected(storage: Storage, project: str, root: str) -> str:
    """`root`, or the folder that the `store_path` of its configuration names."""
    try:
        data = storage.read(f"{root}/{CONFIG_FILE}", limit=_CONFIG_LIMIT)
    except (OSError, HeadwaterError):
        return root
    if b"store_path" not in data:
        return root
    import tomllib

    try:
        value = tomllib.loads(data.decode("utf-8-sig")).get("store_path")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return root
    if not isinstance(value, str) or value in ("", "."):
        return root
    from schemas.paths import check_path

    try:
        relative = check_path(value.removeprefix("./").rstrip("/"), portable=False)
    except HeadwaterError as error:
        raise HeadwaterError(
            f"its store_path {value!r} does not lie below the project: {error.message}",
            path=f"{root}/{CONFIG_FILE}",
            rule="notes-store-path",
            fix="name a folder of the project, or use --store or QIPU_STORE for one elsewhere",
        ) from None
    target = f"{project}/{relative}" if project else relative
    return target if _has_folder(storage, target) else root


def place(storage: Storage, root: str, settings: Mapping[str, Any]) -> Place:
    """`Kind.place`: in the store where its layout has a place for derived files, else apart from it."""
    layout = settings.get("layout")
    if layout is None and root.rpartition("/")[2] in STORE_FOLDERS:
        return Place.STORE
    if layout is None:
        from schemas.notes.layout import detect

        names = [name for name in (OBSIDIAN, *_NOTE_FOLDERS) if _has_folder(storage, _below(root, name))]
        if storage.stat(_below(root, CONFIG_FILE)) is not None:
            names.append(CONFIG_FILE)
        layout = detect(root, names)
    return Place.STORE if layout == "qipu" else Place.ARTIFACTS


def free_the_way(path: Path) -> None:
    """`Recipe.before_replace`: the shared memory of a journal that goes with the old file must not be taken for the new one's."""
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def findings(paths: Sequence[Path], storage: Storage, root: str, settings: Mapping[str, Any]) -> list[Finding]:
    """`Kind.findings`: what the index at `paths` says is wrong with single notes, with their links, and with the store."""
    from contextlib import closing

    from assets.notes.doctor import store_findings
    from assets.notes.findings import read_findings
    from assets.notes.opened import connect
    from resources.notes.store import NotesStore

    with closing(connect(paths[0])) as connection:
        return sorted([*read_findings(connection, root), *store_findings(connection, NotesStore(storage, root, settings))])


def _looks_like_qipu(storage: Storage, root: str) -> bool:
    return storage.stat(f"{root}/{CONFIG_FILE}") is not None or any(
        _has_folder(storage, f"{root}/{name}") for name in _NOTE_FOLDERS
    )


def _has_folder(storage: Storage, path: str) -> bool:
    """Whether a folder lies there, links left out; on an object store one with a file below it."""
    if storage.local_root is None:
        return next(iter(storage.scan(path)), None) is not None
    folder = storage.local_root / path
    return folder.is_dir() and not folder.is_symlink()


def _below(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name

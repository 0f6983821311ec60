"""Starting a repository of versioned data: its configuration, its storage, and what keeps git away from a clone's own state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from resources.remotes.mark import make_mark
from resources.storage import is_url, open_storage
from resources.storage.base import ABSENT, Change, Storage
from resources.storage.folders import open_folder
from resources.storage.sharing import Sharing, sharing_for
from schemas.dvs.config import FILES, RepoConfig, read_config, write_config
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid

IGNORED: Final = "/.dvs/"
"""What keeps the clone's own folder out of git."""
UNION_LINE: Final = ".gitignore merge=union"
"""What tells git to keep the lines of both branches in `.gitignore`: each that adds a file adds one at its end."""
MERGE_LINE: Final = "dvs.lock merge=dvs-lock"
"""What tells git to merge manifests with the driver that `headwater git setup` installs."""
MERGE_SETTINGS: Final = (
    ("merge.dvs-lock.name", "merge manifests of versioned data file by file"),
    ("merge.dvs-lock.driver", "headwater dvs merge-driver %O %A %B %P"),
)
"""The driver: settings of git that each clone needs."""
_PROBE: Final = ".headwater-probe"


@dataclass(frozen=True, slots=True)
class Started:
    """What `init` did: where the configuration lies, and whether it was there already."""

    path: str
    config: RepoConfig
    existed: bool


def init(storage: Storage, root: str, config: RepoConfig, state: Path, *, in_git: bool) -> Started:
    """Start a repository in the folder `root` of a storage, or confirm that it has these settings already.

    The place of the objects is made and tried before anything is written in the repository. Raises HeadwaterError (rules
    `dvs-config-mismatch` for other settings, `dvs-storage-error` for a place that cannot be used, `group-…`), UsageError.
    """
    prefix = f"{root}/" if root else ""
    present = next((name for name in FILES if storage.stat(prefix + name) is not None), None)
    if present is not None:
        held, _warnings = read_config(storage.read(prefix + present), prefix + present)
        _same(held, config, prefix + present)
        _prepare(storage, root, held, state)
        return Started(prefix + present, held, existed=True)
    _prepare(storage, root, config, state)
    changes = [Change(prefix + FILES[0], write_config(config), ABSENT)]
    if in_git:
        changes += _lines_added(storage, f"{prefix}.gitignore", [IGNORED], (".dvs/", ".dvs"))
        changes += _lines_added(storage, f"{prefix}.gitattributes", [MERGE_LINE, UNION_LINE])
    storage.commit(changes, label="start a repository of versioned data")
    return Started(prefix + FILES[0], config, existed=False)


def _same(held: RepoConfig, wanted: RepoConfig, path: str) -> None:
    names = ("storage_dir", "permissions", "group", "hash_algo", "metadata_format", "compression", "layout", "retain")
    for name in names:
        if getattr(held, name) != getattr(wanted, name):
            raise HeadwaterError(
                f"the repository exists with another {name}: {getattr(held, name)!r}",
                rule="dvs-config-mismatch",
                path=path,
                fix=f"leave the option away, or change it with `headwater dvs config set {name} VALUE`",
            )


def _lines_added(storage: Storage, path: str, lines: Sequence[str], equal: tuple[str, ...] = ()) -> list[Change]:
    """The change that adds lines to a file, none where they or an equal one are there."""
    try:
        data = storage.read(path)
    except FileNotFoundError:
        return [Change(path, "".join(f"{line}\n" for line in lines).encode(), ABSENT)]
    present = {*data.decode("utf-8", "surrogateescape").splitlines()}
    new = [line for line in lines if {line, *equal}.isdisjoint(present)]
    if not new:
        return []
    glue = b"" if data.endswith(b"\n") or not data else b"\n"
    return [Change(path, data + glue + "".join(f"{line}\n" for line in new).encode(), bytes_oid(data))]


def _prepare(storage: Storage, root: str, config: RepoConfig, state: Path) -> None:
    """Make the place of the objects, with the modes and the group that are asked for, and see that it can be written."""
    sharing = sharing_for(config.permissions, config.group)
    place = storage_place(storage, root, config.storage_dir)
    if isinstance(place, Path):
        _check_place(storage, root, place, sharing)
    opened = open_storage(place, state=state / "storage", sharing=sharing)
    try:
        opened.write(f"{_PROBE}-{os.getpid()}", b"")
        opened.delete(f"{_PROBE}-{os.getpid()}")
        make_mark(opened)  # a storage that holds nothing yet can be told from a share that is not mounted
    except OSError as error:
        raise HeadwaterError(
            f"the storage {place} cannot be written: {error.strerror or error}",
            rule="dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-storage-error",
            fix="name a folder or URL that you may write to",
        ) from error


def storage_place(storage: Storage, root: str, given: str, said_in: str | None = None) -> str | Path:
    """Where `storage_dir` is: a URL, or an absolute path; a relative one starts at the repository. `said_in` is the configuration
    that names it. Raises HeadwaterError for a relative one without a local repository."""
    if is_url(given) and not given.startswith("file:"):
        return given
    if given.startswith("file:"):
        local = open_storage(given).local_root
        assert local is not None
        return local
    path = Path(given).expanduser()
    if path.is_absolute():
        return path
    if storage.local_root is None:
        raise HeadwaterError(
            f"the storage {given!r} is relative, and the repository is not a local folder",
            rule="dvs-config-error",
            path=said_in,
            fix="give storage_dir as a URL",
        )
    return Path(os.path.normpath(storage.local_root / root / path))


def _check_place(storage: Storage, root: str, place: Path, sharing: Sharing | None) -> None:
    if storage.local_root is not None:
        folder = Path(os.path.realpath(storage.local_root / root))
        real = Path(os.path.realpath(place))
        if real == folder or folder in real.parents:
            raise HeadwaterError(
                f"the storage {place} lies inside the repository",
                rule="dvs-config-error",
                fix="name a place outside of it, such as ../storage: what lies inside would be taken for data",
            )
    if place.exists() and not place.is_dir():
        raise HeadwaterError(
            f"the storage {place} is a file", rule="dvs-storage-error", fix="name a folder, or one that is not there yet"
        )
    above = next(folder for folder in (place, *place.parents) if folder.is_dir())
    try:
        # Every new folder on the way there is the group's too: whoever cannot pass it cannot reach the storage.
        with open_folder(above, place.relative_to(above).parts, create=True, sharing=sharing):
            pass
    except OSError as error:
        raise HeadwaterError(
            f"the storage {place} cannot be made: {error.strerror}",
            rule="dvs-permission-denied" if isinstance(error, PermissionError) else "dvs-storage-error",
            fix="name a folder that you may write to",
        ) from error


def changed(config: RepoConfig, key: str, value: str) -> RepoConfig:
    """The configuration with one key set from text. Raises UsageError for an unknown key or a value that cannot be used."""
    from schemas.dvs.config import COMPRESSIONS, LAYOUTS, METADATA_FORMATS, duration, octal_mode
    from schemas.dvs.oids import ALGORITHMS

    choices = {
        "hash_algo": ALGORITHMS,
        "metadata_format": METADATA_FORMATS,
        "compression": COMPRESSIONS,
        "layout": LAYOUTS,
        "require_reason": ("true", "false"),
    }
    if key in choices:
        if value.lower() not in choices[key]:
            raise UsageError(f"{key} is {value!r}", rule="dvs-config-error", fix=f"use one of {', '.join(choices[key])}")
        held: object = value.lower() == "true" if key == "require_reason" else value.lower()
    elif key in ("permissions", "retain"):
        try:
            held = octal_mode(value) if key == "permissions" else (duration(value) and value)
        except ValueError as error:
            raise UsageError(str(error), rule="dvs-config-error", fix="see `headwater dvs config --help`") from None
    elif key in ("storage_dir", "group"):
        if not value.strip():
            raise UsageError(f"{key} cannot be empty", rule="dvs-config-error", fix="give a value")
        held = value
    else:
        names = "storage_dir, permissions, group, hash_algo, metadata_format, compression, layout, retain, require_reason"
        raise UsageError(f"{key!r} is not a setting of a repository", rule="dvs-config-error", fix=f"use one of {names}")
    return replace(config, **{key: held})  # type: ignore[arg-type]  # the key names a field of that type

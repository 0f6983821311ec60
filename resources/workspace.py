"""The workspace: where its root is, and where everything we remember about it lies.

A checkout or a folder with `headwater.toml` keeps its state in `.headwater/`, machine state in `.headwater/local/`. A plain
folder (neither, or an Obsidian vault that is a checkout and nothing of ours) and a URL root keep machine state in the user's
cache folder; for a plain folder all state and every output goes there too, so that not one byte appears in a folder somebody
only pointed us at. What the stores are is found elsewhere.
Light: standard library only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resources.config import FILE, Config, cache_folder, load_config
from resources.git import Git, top_level
from resources.objects import ObjectStore
from resources.statcache import StatCache
from resources.storage import is_url, open_storage
from resources.storage.base import Storage
from schemas.errors import UsageError

STATE = ".headwater"
LOCAL = "local"
VAULT_MARK = ".obsidian"
"""The folder by which Obsidian knows its vaults."""
HIDDEN_STORE, VISIBLE_STORE = ".qipu", "qipu"
"""The folders of notes that belong to the project around them, of which they may be a worktree of their own."""
_IGNORE = b"*\n"


@dataclass(frozen=True)
class Workspace:
    """An opened workspace.

    `root` holds the text. `state` holds what is shared: provenance, manifests, objects, artifacts below `artifacts_prefix`.
    `outputs` is where outputs that lie beside their text go: `root`, but for a plain folder a mirror of it in the user's
    cache. `local` is the folder of machine state (stat cache, scratch, locks, Dagster home).
    """

    root: Storage
    state: Storage
    outputs: Storage
    local: Path
    config: Config
    is_plain: bool
    git_root: Path | None
    artifacts_prefix: str = "artifacts"

    @cached_property
    def stat_cache(self) -> StatCache:
        return StatCache(self.local / "stat.sqlite")

    @cached_property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.state, "objects")

    @cached_property
    def git(self) -> Git | None:
        """The checkout the workspace lies in, if any."""
        return None if self.git_root is None else Git(self.git_root)

    @property
    def root_folder(self) -> Path | None:
        """The root as a local folder, None for a URL."""
        return self.root.local_root

    @property
    def scratch(self) -> Path:
        """The folder scratch folders are made in."""
        return self.local / "scratch"

    @property
    def name(self) -> str:
        """The configured name, else the root's last component."""
        return self.config.name or self.root.url.rstrip("/").rsplit("/", 1)[-1] or "workspace"

    def recover(self) -> list[str]:
        """Complete every set of files that a killed command left behind; one line each for the user."""
        lines = [*self.root.recover(), *self.state.recover()]
        return lines if self.outputs is self.root else [*lines, *self.outputs.recover()]

    def sweep(self) -> None:
        """Remove what killed commands left half-written where no scan comes by: beside records, manifests and artifacts.

        The text is scanned by every command. Machine state is left alone: its own files are swept when a command starts, the
        rest is Dagster's.
        """
        self.root.sweep(enter=lambda _folder: False)
        self.state.sweep(enter=lambda folder: folder != LOCAL)
        if self.outputs is not self.root:
            self.outputs.sweep()


def open_workspace(start: str | Path | None = None) -> Workspace:
    """Open the workspace that `start` (a path or URL; HEADWATER_ROOT, else the current folder) is or lies in.

    The root of a path is the nearest ancestor with `headwater.toml`, else the git top level, else the nearest that holds notes
    (`.qipu`, `qipu` or `.obsidian`), else the folder itself; a URL is a root as it stands. Raises UsageError for a folder that
    does not exist, InvalidText for a bad `headwater.toml`.
    """
    chosen = start if start is not None else os.environ.get("HEADWATER_ROOT") or "."
    if isinstance(chosen, str) and is_url(chosen) and not chosen.startswith("file:"):
        return _open_url(chosen)
    folder = _local_folder(chosen)
    root = find_root(folder)
    git_root = top_level(root)
    return _open_plain(root, git_root) if _is_plain(root, git_root) else _open_folder(root, git_root)


def is_plain(folder: Path) -> bool:
    """Whether the workspace of a local folder is a plain one: outside every checkout and every folder with `headwater.toml`, or
    a vault that is a checkout and nothing of ours."""
    root = find_root(folder.resolve())
    return _is_plain(root, top_level(root))


def _is_plain(root: Path, git_root: Path | None) -> bool:
    if (root / FILE).is_file():
        return False
    # Whoever keeps an Obsidian vault in git has not asked for a build tool in it; `headwater init` does.
    return git_root is None or ((root / VAULT_MARK).is_dir() and not (root / STATE).is_dir())


def find_root(folder: Path) -> Path:
    """The workspace root for a local folder (see `open_workspace`)."""
    for candidate in (folder, *folder.parents):
        if (candidate / FILE).is_file():
            return candidate
        if candidate.name == STATE:  # inside our own state: the workspace is what holds it
            return find_root(candidate.parent)
    top = top_level(folder)
    if (
        top is not None
        and top.name in (HIDDEN_STORE, VISIBLE_STORE)
        and (top / ".git").is_file()
        and top_level(top.parent) is not None
    ):
        # Notes on a branch of their own, checked out inside the project: they belong to its workspace.
        return find_root(top.parent)
    return top or _around_notes(folder) or folder


def _around_notes(folder: Path) -> Path | None:
    """The nearest folder at or above `folder` that notes make a project of; the user's home only when it is asked for itself."""
    home = Path.home()
    for candidate in (folder, *folder.parents):
        if candidate == home and candidate != folder:
            return None
        if any((candidate / name).is_dir() for name in (HIDDEN_STORE, VAULT_MARK)):
            return candidate
        if candidate.name == VISIBLE_STORE and (candidate / "config.toml").is_file():
            return candidate.parent
        if (candidate / VISIBLE_STORE / "config.toml").is_file():
            return candidate
    return None


def _local_folder(chosen: str | Path) -> Path:
    if isinstance(chosen, str) and chosen.startswith("file:"):
        local = open_storage(chosen).local_root
        assert local is not None
        chosen = local
    folder = Path(chosen).expanduser().resolve()
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(chosen)!r}", rule="root-missing", fix="name an existing folder or URL")
    return folder


def _open_folder(root: Path, git_root: Path | None) -> Workspace:
    state = root / STATE
    local = state / LOCAL
    _prepare(state)
    text = open_storage(root, state=state)
    return Workspace(
        root=text,
        state=open_storage(state, state=local),
        outputs=text,
        local=local,
        config=load_config(text, local),
        is_plain=False,
        git_root=git_root,
    )


def _open_plain(root: Path, git_root: Path | None) -> Workspace:
    kept = _kept_for(str(root))
    state, local = kept / "state", kept / LOCAL
    text = open_storage(root, state=kept / "text")
    return Workspace(
        root=text,
        state=open_storage(state, state=kept / "sets"),
        outputs=open_storage(kept / "outputs", state=kept / "output-sets"),
        local=local,
        config=load_config(text, local),
        is_plain=True,
        git_root=git_root,
    )


def _open_url(url: str) -> Workspace:
    kept = _kept_for(url.rstrip("/"))
    local = kept / LOCAL
    text = open_storage(url, state=kept / "text")
    return Workspace(
        root=text,
        state=open_storage(f"{url.rstrip('/')}/{STATE}", state=kept / "sets"),
        outputs=text,
        local=local,
        config=load_config(text, local),
        is_plain=False,
        git_root=None,
    )


def _kept_for(root: str) -> Path:
    """The folder in the user's cache for a root, named by a digest so that no path of the user's shows."""
    import hashlib

    digest = hashlib.sha256(root.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_folder() / "workspaces" / digest


def _prepare(state: Path) -> None:
    """Make `.headwater/` with the `.gitignore` that hides it. A workspace that cannot be written to can still be read."""
    ignore = state / ".gitignore"
    if not ignore.exists():
        with suppress(OSError):
            open_storage(state, state=state / LOCAL).write(".gitignore", _IGNORE)

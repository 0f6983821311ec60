"""Starting a notes store: which files it gets, where it lies, and how git is told. For `notes init`, and for `notes new` where
there is none yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestration.cli.app import App
from schemas.errors import Refused, UsageError
from schemas.paths import is_usable

if TYPE_CHECKING:
    from resources.storage.base import Storage
    from resources.workspace import Workspace

HIDDEN: Final = ".qipu"
VISIBLE: Final = "qipu"
FOLDERS: Final = ("notes", "mocs", "attachments", "templates")


def start(app: App, project: str, *, visible: bool = False, stealth: bool = False, branch: str | None = None) -> str:
    """Start a store in the folder `project`, or add what the one that is there lacks; its path in the workspace.

    Everything that is written is said, and `app` works in that workspace afterwards. Raises UsageError inside of a store and for
    a vault, Refused where a store of the other name lies already.
    """
    workspace = _workspace(app, project, plain=stealth)
    app.work_in(workspace)
    root = _place(workspace, project, visible)
    if stealth:
        _hide(app, workspace.root, root)
    if branch is not None:
        _on_branch(app, workspace, root, branch)
    for path, text in _files(branch).items():
        _write(app, workspace.root, f"{root}/{path}", text)
    folder = workspace.root.local_root
    if folder is not None:
        for name in FOLDERS:
            (folder / root / name).mkdir(exist_ok=True)
    return root


def start_if_none(app: App, selector: str | None) -> None:
    """Start `.qipu/` at the root of the workspace when it has no notes store: the root of the checkout, or the folder with a
    headwater.toml.

    Nothing is started where a store is named, nor in a plain folder: there the command itself says that there is none.
    """
    workspace = app.workspace()
    root = workspace.root.local_root
    if selector is not None or root is None or workspace.is_plain or any(one.kind == "notes" for one in app.engine().stores()):
        return
    app.note(f"started a notes store in {HIDDEN}/ of {root}")
    start(app, str(root))


def _workspace(app: App, project: str, *, plain: bool) -> Workspace:
    """The workspace that `project` (a folder or URL) lies in; a folder that lies in none becomes one, unless it stays `plain`."""
    from orchestration.cli.init import CONFIG
    from resources.config import FILE
    from resources.storage import is_url
    from resources.workspace import open_workspace

    if is_url(project):
        return open_workspace(project)
    folder = Path(project).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", path=project, fix="name a folder", rule="not-a-folder")
    if not all(is_usable(part) for part in folder.parts[folder.is_absolute() :]):
        raise UsageError(f"{project!r} has a name that no store can lie in", rule="notes-place", fix="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / ".obsidian").is_dir():
        raise UsageError(
            "an Obsidian vault is a store as it is, and nothing in it is changed by looking at it",
            rule="notes-is-vault",
            path=project,
            fix="use it at once, as with `headwater notes search`; for notes apart from it, name another folder",
        )
    workspace = open_workspace(folder)
    if not workspace.is_plain or plain:
        return workspace
    # A plain folder keeps nothing beside its text; a store that was asked for does.
    (folder / FILE).write_text(CONFIG, encoding="utf-8")
    app.emit({"path": str(folder / FILE), "written": True}, f"wrote {folder / FILE}")
    return open_workspace(folder)


def _place(workspace: Workspace, project: str, visible: bool) -> str:
    """Where the store of a project lies in the workspace. Raises as `start` does."""
    top = workspace.root.local_root
    inside = "" if top is None else Path(project).expanduser().resolve().relative_to(top.resolve()).as_posix()
    inside = "" if inside == "." else inside
    parts = inside.split("/")
    if HIDDEN in parts or (VISIBLE in parts and _is_store(workspace.root, "/".join(parts[: parts.index(VISIBLE) + 1]))):
        raise UsageError("this folder is part of a store", rule="notes-inside", path=project, fix="name the project's folder")
    prefix = f"{inside}/" if inside else ""
    name, other = (VISIBLE, HIDDEN) if visible else (HIDDEN, VISIBLE)
    if not _has_folder(workspace.root, prefix + name) and _is_store(workspace.root, prefix + other):
        if visible:
            raise Refused(
                f"there is a store already, and {other}/ counts before {name}/",
                rule="notes-exists",
                path=prefix + other,
                fix=f"rename {other}/ to {name}/, or run init without --visible",
            )
        return prefix + other
    return prefix + name


def _on_branch(app: App, workspace: Workspace, root: str, branch: str) -> None:
    """The branch checked out in the store's folder. Raises as `attach_branch` does, UsageError for a workspace at a URL."""
    from resources.notes.branch import attach_branch

    folder = workspace.root.local_root
    if folder is None:
        raise UsageError("a branch needs a checkout, not a URL", rule="needs-local", fix="run it in a clone")
    lines = attach_branch(folder / root, branch)
    app.emit({"path": root, "branch": branch, "written": bool(lines)})
    for line in lines:
        app.say(line)


def _hide(app: App, storage: Storage, root: str) -> None:
    """One line in the project's `.gitignore`, unless it says so already."""
    from resources.notes.stealth import hide

    project, _, name = root.rpartition("/")
    plan = hide(storage, project, name)
    if plan.changes:
        storage.commit(plan.changes, label="notes init --stealth")
    path = f"{project}/.gitignore" if project else ".gitignore"
    said = plan.lines[0] if plan.lines else f"{path} has the line already"
    app.emit({"path": path, "written": bool(plan.changes)}, said)


def _files(branch: str | None) -> dict[str, str]:
    """What a new store is given, by path in the store."""
    from schemas.notes.config import write_config
    from schemas.notes.gitfiles import GITATTRIBUTES, GITIGNORE
    from schemas.notes.templates import TEMPLATES

    return {
        "config.toml": write_config(branch=branch),
        ".gitignore": GITIGNORE,
        ".gitattributes": GITATTRIBUTES,
        **{f"templates/{name}.md": text for name, text in TEMPLATES.items()},
    }


def _write(app: App, storage: Storage, path: str, text: str) -> None:
    from resources.storage.base import ABSENT
    from schemas.errors import Conflict

    try:
        storage.write(path, text.encode(), expect=ABSENT)
    except Conflict:
        app.emit({"path": path, "written": False}, f"{path} is there already")
        return
    app.emit({"path": path, "written": True}, f"wrote {path}")


def _is_store(storage: Storage, root: str) -> bool:
    from assets.notes.text import recognise

    return recognise(storage, root) is not None


def _has_folder(storage: Storage, path: str) -> bool:
    if storage.local_root is not None:
        return (storage.local_root / path).is_dir()
    return next(iter(storage.scan(path)), None) is not None

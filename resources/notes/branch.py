"""A store on a branch of its own: an orphan branch checked out at the store's folder, as a worktree that the project ignores.

The folder (`.qipu/`) is a linked worktree of the project's repository, hidden by one line in `<git-common-dir>/info/exclude`; the
user's checked-out tree, index and HEAD are never read or written, so it does not matter what state they are in. Sharing the
branch is `resources.notes.sync`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from resources.git import GitError, top_level
from resources.notes.gitcalls import answer, attempt, blobs, run, tree_changes
from schemas.errors import HeadwaterError, Refused, UsageError
from schemas.notes.gitfiles import GITATTRIBUTES, GITIGNORE, spellings, with_line

DEFAULT_BRANCH = "qipu-metadata"
SETTINGS: Mapping[str, str] = {
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "commit.gpgSign": "false",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
"""How git works in the store's folder: bytes stay as they are, nothing is asked, nothing runs on in the background."""

_NOBODY = {
    "GIT_AUTHOR_NAME": "Headwater",
    "GIT_AUTHOR_EMAIL": "headwater@localhost",
    "GIT_COMMITTER_NAME": "Headwater",
    "GIT_COMMITTER_EMAIL": "headwater@localhost",
}
_LISTED = 5
_COMMON = ["rev-parse", "--path-format=absolute", "--git-common-dir"]


def branch_of(store_folder: Path) -> str | None:
    """The branch that is checked out at the store's folder; None where the folder is no worktree of its own."""
    if not (store_folder / ".git").is_file():
        return None
    code, out, _ = attempt(store_folder, ["symbolic-ref", "--quiet", "--short", "HEAD"])
    return out.decode("utf-8", "replace").strip() or None if code == 0 else None


def attach_branch(store_folder: Path, branch: str = DEFAULT_BRANCH, *, remote: str | None = None) -> list[str]:
    """Check `branch` out at the store's folder: the local one, else that of the remote, else a new orphan.

    Files that lie in the folder already stay, and come onto the branch with the next sync. Done already, it changes nothing.
    Returns what was done, for people. Raises UsageError for a name git does not take or outside of a checkout; Refused when the
    branch is checked out elsewhere, when the folder's files belong to the checked-out branch, or when one of them differs from
    the branch's; GitError.
    """
    root = top_level(store_folder.parent)
    if root is None:
        raise UsageError(
            "a branch needs a git checkout around the store",
            rule="notes-branch",
            fix="run `git init` first, or leave --branch out",
        )
    if attempt(root, ["check-ref-format", f"refs/heads/{branch}"])[0] != 0 or branch.startswith("-"):
        raise UsageError(f"{branch!r} is no name for a branch", rule="notes-branch", fix="use letters, digits and hyphens")
    present = branch_of(store_folder)
    if present is not None and present != branch:
        raise Refused(
            f"the store is on the branch {present!r} already",
            rule="notes-branch",
            fix=f"pass --branch {present}, or use git there",
        )
    lines = _hide(root, store_folder)
    if present is not None:
        # Where a command was killed between moving the `.git` file in and its last two steps.
        attempt(root, ["worktree", "repair", str(store_folder)])
        with suppress(OSError):
            _beside(store_folder).rmdir()
    else:
        _check_untracked(root, store_folder)
        lines = [*_ensure_branch(root, branch, remote), *lines]
        _add_worktree(root, store_folder, branch)
        lines.append(f"{branch} is checked out at {store_folder.name}/")
    _write_missing(store_folder)
    return lines


def remote_of(folder: Path, branch: str, given: str | None = None) -> str | None:
    """The remote that a branch is shared through: the one given, its configured one, `origin`, the only one, else None.

    Raises UsageError for a remote that is not there.
    """
    names = answer(folder, ["remote"]).splitlines()
    if given is not None:
        if given not in names:
            raise UsageError(
                f"there is no remote {given!r}", rule="notes-remote", fix=f"name one of {', '.join(names) or 'none'}"
            )
        return given
    code, out, _ = attempt(folder, ["config", "--get", f"branch.{branch}.remote"])
    configured = out.decode("utf-8", "replace").strip() if code == 0 else ""
    if configured in names:
        return configured
    if "origin" in names:
        return "origin"
    return names[0] if len(names) == 1 else None


def tracking_ref(remote: str, branch: str) -> str:
    """Where the remote's state of the branch is kept here."""
    return f"refs/remotes/{remote}/{branch}"


def fetch(folder: Path, remote: str, branch: str) -> bool:
    """Fetch the branch; False when the remote has none. Raises GitError when the remote cannot be reached."""
    listed = run(folder, ["ls-remote", "--heads", remote, f"refs/heads/{branch}"], network=True)
    if not listed.strip():
        return False
    refspec = f"+refs/heads/{branch}:{tracking_ref(remote, branch)}"
    run(folder, ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, refspec], network=True, settings=SETTINGS)
    return True


def identity(folder: Path) -> dict[str, str]:
    """More environment for commits: a name where git knows none."""
    return (
        {}
        if attempt(folder, ["var", "GIT_AUTHOR_IDENT"])[0] == 0 and attempt(folder, ["var", "GIT_COMMITTER_IDENT"])[0] == 0
        else _NOBODY
    )


def _hide(root: Path, store_folder: Path) -> list[str]:
    """The one line in the exclude file of the repository."""
    inside = store_folder.absolute().relative_to(root.absolute()).as_posix()
    common = Path(answer(root, _COMMON))
    exclude = common / "info" / "exclude"
    try:
        present = exclude.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        present = ""
    wanted = with_line(present, f"/{inside}/", same=spellings(inside))
    if wanted == present:
        return []
    from resources.storage.local import LocalStorage

    # Written like every other file: whole or not at all.
    LocalStorage(common, state=common / "headwater").write("info/exclude", wanted.encode("utf-8", "surrogateescape"))
    return [f"/{inside}/ is hidden in {exclude.relative_to(common.parent) if common.name == '.git' else exclude}"]


def _check_untracked(root: Path, store_folder: Path) -> None:
    inside = store_folder.absolute().relative_to(root.absolute()).as_posix()
    listed = run(root, ["--literal-pathspecs", "ls-files", "-z", "--", inside]).split(b"\0")[:-1]
    if listed:
        raise Refused(
            f"{len(listed)} files of {inside}/ belong to the checked-out branch",
            rule="notes-branch",
            path=inside,
            fix=f"take them out of it first: `git rm -r --cached {inside}`, and commit that",
        )


def _ensure_branch(root: Path, branch: str, remote: str | None) -> list[str]:
    """Have the local branch exist; returns what was done."""
    ref = f"refs/heads/{branch}"
    if attempt(root, ["rev-parse", "--verify", "--quiet", ref])[0] == 0:
        return []
    shared = remote_of(root, branch, remote)
    lines: list[str] = []
    if shared is not None:
        try:
            fetch(root, shared, branch)
        except GitError as error:
            lines.append(f"{shared} could not be asked for {branch}: {error.message}")
        if attempt(root, ["rev-parse", "--verify", "--quiet", tracking_ref(shared, branch)])[0] == 0:
            run(root, ["update-ref", ref, tracking_ref(shared, branch), ""])
            return [*lines, f"{branch} is taken from {shared}"]
    tree = answer(root, ["hash-object", "-w", "-t", "tree", os.devnull])
    commit = run(root, ["commit-tree", tree, "-m", "Start the notes"], settings=SETTINGS, variables=identity(root))
    run(root, ["update-ref", ref, commit.decode().strip(), ""])
    return [*lines, f"{branch} is a new branch"]


def _add_worktree(root: Path, store_folder: Path, branch: str) -> None:
    """Make the folder a worktree without touching a file that lies in it.

    git adds worktrees to empty folders only, so an empty one is added beside the store. The branch's files are written into the
    store's folder as a set, and only then the `.git` file is moved in: killed at any moment, nothing looks deleted.
    """
    store_folder.mkdir(parents=True, exist_ok=True)
    if (store_folder / ".git").exists():
        raise Refused(
            f"{store_folder.name}/ is a git repository of its own",
            rule="notes-branch",
            fix="move its .git away, or leave --branch out",
        )
    made = _beside(store_folder)
    _remove_left(made)
    _forget_gone(root, branch, made)
    code, _, said = attempt(root, ["worktree", "add", "--quiet", "--no-checkout", str(made), branch], settings=SETTINGS)
    if code != 0:
        if "already checked out" in said or "already used by worktree" in said:
            raise Refused(
                f"the branch {branch!r} is checked out elsewhere: {said.strip().splitlines()[-1]}",
                rule="notes-branch",
                fix="use that folder with --store, or remove that worktree",
            )
        raise GitError(f"git worktree failed: {said.strip()}", rule="git-failed", fix="run `git worktree list`")
    try:
        _write_files(made, store_folder)
        (made / ".git").replace(store_folder / ".git")
        made.rmdir()
    except BaseException:
        attempt(root, ["worktree", "remove", "--force", str(made)])
        raise
    run(root, ["worktree", "repair", str(store_folder)])
    run(store_folder, ["read-tree", "HEAD"], settings=SETTINGS)


def _beside(store_folder: Path) -> Path:
    """The folder in which git adds the worktree before it becomes the store's."""
    return store_folder.with_name(f"{store_folder.name}.headwater-worktree")


def _forget_gone(root: Path, branch: str, left_over: Path) -> None:
    """Have git forget worktrees of the branch that are gone, and the one a killed command left beside the store.

    Not by `git worktree prune`, which would also forget those of the user whose disk is not there at the moment.
    """
    if left_over.is_dir():
        attempt(root, ["worktree", "remove", "--force", str(left_over)])
    for records in Path(answer(root, _COMMON), "worktrees").glob("*"):
        with suppress(OSError):
            place = Path((records / "gitdir").read_text(encoding="utf-8").strip())
            if place == left_over / ".git" and not place.exists():
                shutil.rmtree(records)  # locked by git, which was killed while it added the worktree
                continue
            head = (records / "HEAD").read_text(encoding="utf-8").strip()
            if head == f"ref: refs/heads/{branch}" and not place.exists() and not (records / "locked").exists():
                shutil.rmtree(records)


def _remove_left(made: Path) -> None:
    """Take away the folder that a killed attempt left, where git had put nothing but its own file into it."""
    if not made.is_dir() or made.is_symlink() or any(entry.name != ".git" or entry.is_dir() for entry in made.iterdir()):
        return
    (made / ".git").unlink(missing_ok=True)
    made.rmdir()


def _write_files(worktree: Path, store_folder: Path) -> None:
    """The files of the branch into the store's folder, all or none. Raises Refused when one is there with other bytes."""
    from resources.storage.base import ABSENT, Change
    from resources.storage.local import LocalStorage

    empty = answer(worktree, ["hash-object", "-t", "tree", os.devnull])
    wanted = tree_changes(worktree, empty, "HEAD")
    contents = blobs(worktree, [change.new for change in wanted if change.new is not None])
    storage = LocalStorage(store_folder, state=Path(answer(worktree, _COMMON)) / "headwater" / "attaching")
    storage.recover()
    storage.sweep()  # what a killed attempt left half-written is not the store's
    differing: list[str] = []
    changes: list[Change] = []
    for change in wanted:
        data, place = contents[change.new or ""], store_folder / change.path
        if place.is_symlink() or (place.exists() and (not place.is_file() or place.read_bytes() != data)):
            differing.append(change.path)
        elif not place.exists():
            changes.append(Change(change.path, data, ABSENT))
    if differing:
        shown = ", ".join(differing[:_LISTED]) + (f" and {len(differing) - _LISTED} more" if len(differing) > _LISTED else "")
        raise Refused(
            f"files in {store_folder.name}/ differ from those of the branch: {shown}",
            rule="notes-branch",
            fix="move them away, attach the branch, and bring them back",
        )
    storage.commit(changes, label="attach the branch of the notes")


def _write_missing(store_folder: Path) -> None:
    """`.gitignore` and `.gitattributes` of the branch, where there are none."""
    for name, text in ((".gitignore", GITIGNORE), (".gitattributes", GITATTRIBUTES)):
        try:
            with (store_folder / name).open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            raise HeadwaterError(
                f"{name} cannot be written: {error.strerror}", rule="notes-branch", path=name, fix="see whether the disk is full"
            ) from error

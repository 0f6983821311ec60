"""Sharing a store that is on a branch of its own: commit what changed, take in what others did, give ours to them.

Merging never happens in the store's folder: git makes the merged tree (`git merge-tree`, 2.38 or later), notes through
`resources.notes.merge_driver` whether or not `git setup` was run, and the files that differ are then written as one set with
compare-and-swap. So an editor that saves at the same moment loses nothing, and a command killed at any moment leaves files that
are old or new, never half. Conflicts stay in the files between markers, are reported, and nothing is committed or shared before
somebody has decided; which merge waits is said by a file that is written in the same set. A note that one side changed and the
other deleted is kept.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from resources.git import GitError, top_level
from resources.locks import file_lock
from resources.notes.branch import SETTINGS, branch_of, fetch, identity, remote_of, tracking_ref
from resources.notes.gitcalls import answer, attempt, blobs, run, tree_changes
from resources.storage.base import ABSENT, Change
from schemas.errors import Conflict, UsageError
from schemas.findings import Finding, found
from schemas.notes.gitfiles import MERGE_DRIVER, has_markers
from schemas.notes.rules import CONFLICT
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.storage.base import Storage

WAITING = ".headwater-merge"
"""In the store's folder: which merge waits for decisions. JSON: `{"theirs": commit, "paths": [path, …]}`."""

_ROUNDS = 6
"""How often we begin again because somebody pushed, or saved a file, meanwhile."""
_NOT_SHARED = f"/qipu.db*\n/.cache/\n/{WAITING}\n*.hwtmp\n"
"""What git ignores whether or not the store's `.gitignore` says so. Not by pathspecs: git 2.39 refuses one that excludes what is
ignored already."""
_SHARED = (":(top,glob)**/*.md", ":(top,glob)**/*.markdown", ":(top)config.toml", ":(top)attachments", ":(top)templates")
_PATIENCE = 10.0
"""Seconds that a git which outlived a killed command gets to finish."""


@dataclass(slots=True)
class Synced:
    """What a sync did. `findings` are conflicts to decide; while there are any, nothing is committed or pushed."""

    branch: str
    remote: str | None = None
    committed: bool = False
    pulled: int = 0
    """Commits of others that were taken in."""
    pushed: bool = False
    findings: list[Finding] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def sync(
    store_folder: Path,
    *,
    prefix: str = "",
    storage: Storage | None = None,
    remote: str | None = None,
    message: str = "Update the notes",
    push: bool = True,
) -> Synced:
    """Commit, pull and push the branch at the store's folder.

    `storage` is the workspace's, `prefix` the store's root in it, which also stands before paths in findings; without a storage,
    one over the store's folder alone is used. Without a remote, only commits. Raises UsageError when the store is on no branch of
    its own, GitError when git or the remote fails; what was committed until then stays.
    """
    folder = store_folder.absolute()
    branch = branch_of(folder)
    if branch is None:
        _repair(folder)
        branch = branch_of(folder)
    if branch is None:
        raise UsageError(
            "the store is on no branch of its own", rule="notes-branch", fix="run `headwater notes init --branch NAME` first"
        )
    own = Path(answer(folder, ["rev-parse", "--path-format=absolute", "--git-dir"])) / "headwater"
    with file_lock(own, "notes sync"):
        killed = _after_a_killed_sync(folder, own, branch)
        marker = own / "syncing"
        marker.touch()
        try:
            if storage is None:
                from resources.storage.local import LocalStorage

                work = _Work(folder, own, LocalStorage(folder, state=own / "storage"), "", prefix)
            else:
                work = _Work(folder, own, storage, f"{prefix}/" if prefix else "", prefix)
            work.storage.recover()
            if killed:  # what it had half written is no note, but would lie beside them
                work.storage.sweep(enter=lambda place: f"{place}/".startswith(work.before) or work.before.startswith(f"{place}/"))
            return _sync(work, Synced(branch, remote_of(folder, branch, remote)), message, push)
        finally:
            with suppress(OSError):
                marker.unlink()


@dataclass(frozen=True, slots=True)
class _Work:
    """What a sync works on: the store's folder, where we keep our own files, the storage and what is before paths in it."""

    folder: Path
    own: Path
    storage: Storage
    before: str
    prefix: str

    @property
    def project(self) -> Path:
        """The checkout around the store: a remote with a relative path is seen from there."""
        return top_level(self.folder.parent) or self.folder

    def shown(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def commit_of(self, revision: str) -> str | None:
        code, out, _ = attempt(self.folder, ["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"])
        return out.decode().strip() if code == 0 else None

    def contains(self, commit: str, other: str) -> bool:
        """Whether `other` is in the history of `commit`."""
        return attempt(self.folder, ["merge-base", "--is-ancestor", other, commit])[0] == 0


def _sync(work: _Work, done: Synced, message: str, push: bool) -> Synced:
    for round_number in range(_ROUNDS):
        time.sleep(0.1 * round_number)
        if not _commit(work, done, message):
            return done
        if done.remote is None:
            done.lines.append("there is no remote to share the notes with")
            return done
        theirs = tracking_ref(done.remote, done.branch)
        if fetch(work.project, done.remote, done.branch):
            try:
                if not _take_in(work, done, theirs):
                    return done
            except Conflict:
                continue  # somebody saved a file since it was committed: the next round commits that first
        if not push or work.commit_of(theirs) == work.commit_of("HEAD"):
            return done
        if _pushed(work.project, done.remote, done.branch):
            done.pushed = True
            done.lines.append(f"pushed to {done.remote}/{done.branch}")
            return done
    raise GitError(
        f"others changed {done.remote}/{done.branch} or the store every time first",
        rule="git-failed",
        fix="run `headwater notes sync` again",
    )


def _commit(work: _Work, done: Synced, message: str) -> bool:
    """Commit everything in the folder, with a merge that has been decided; False while one waits for decisions."""
    waiting = _waiting(work)
    parents = ["HEAD"]
    if waiting is not None:
        theirs, paths = waiting
        done.findings = _undecided(work, paths)
        if done.findings:
            done.lines.append("a merge waits for decisions; nothing was committed or pushed")
            return False
        if not work.contains("HEAD", theirs):
            parents.append(theirs)
    _stage(work)
    tree = answer(work.folder, ["write-tree"])
    if len(parents) > 1 or tree != answer(work.folder, ["rev-parse", "HEAD^{tree}"]):
        words = f"Merge {done.remote}/{done.branch}" if len(parents) > 1 else message
        _advance(work, tree, parents, words)
        done.committed = True
        done.lines.append("committed the merge" if len(parents) > 1 else "committed the changes")
    if waiting is not None:
        work.storage.delete(work.before + WAITING)
    return True


def _stage(work: _Work) -> None:
    """Bring everything that is shared into the index of the store's worktree."""
    ignored = work.own / "exclude"
    ignored.write_bytes(_excludes_of_the_user(work.folder) + b"\n" + _NOT_SHARED.encode())
    settings = {**SETTINGS, "core.excludesFile": str(ignored)}
    run(work.folder, ["add", "--all", "--", "."], settings=settings)
    # What `info/exclude` of the project hides was meant for other folders; the store's own are in its .gitignore.
    listing = ["ls-files", "-z", "--others", "--exclude-per-directory=.gitignore", f"--exclude-from={ignored}", "--", *_SHARED]
    hidden = run(work.folder, listing)
    if hidden:
        words = ["--literal-pathspecs", "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"]
        run(work.folder, words, stdin=hidden, settings=SETTINGS)
    # Links and repositories inside the store are no part of it, and no clone would take them from the branch.
    rows = run(work.folder, ["ls-files", "-z", "--stage"]).split(b"\0")
    foreign = [row.partition(b"\t")[2] for row in rows if row[:6] in (b"120000", b"160000")]
    if foreign:
        run(
            work.folder, ["update-index", "-z", "--force-remove", "--stdin"], stdin=b"\0".join(foreign) + b"\0", settings=SETTINGS
        )


def _excludes_of_the_user(folder: Path) -> bytes:
    code, out, _ = attempt(folder, ["config", "--type=path", "--get", "core.excludesFile"])
    home = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    place = Path(os.fsdecode(out.strip())) if code == 0 and out.strip() else Path(home, "git", "ignore")
    try:
        return place.read_bytes()
    except OSError:
        return b""


def _advance(work: _Work, tree: str, parents: list[str], message: str) -> None:
    """A commit of `tree` on the branch; the index is left to the next look at the files."""
    words = [word for parent in parents for word in ("-p", str(work.commit_of(parent)))]
    made = run(work.folder, ["commit-tree", tree, *words, "-m", message], settings=SETTINGS, variables=identity(work.folder))
    run(work.folder, ["update-ref", "-m", message, "HEAD", made.decode().strip(), str(work.commit_of("HEAD"))])


def _take_in(work: _Work, done: Synced, theirs: str) -> bool:
    """Take in what the remote has; False when that left conflicts. Raises Conflict when a file was changed meanwhile."""
    head, other = str(work.commit_of("HEAD")), str(work.commit_of(theirs))
    count = int(answer(work.folder, ["rev-list", "--count", f"{head}..{other}"]))
    if not count:
        return True
    forward = work.contains(other, head)
    tree, conflicted = (other, []) if forward else _merged_tree(work, head, other)
    differing = tree_changes(work.folder, head, tree)
    contents = blobs(work.folder, [blob for change in differing for blob in (change.old, change.new) if blob is not None])
    changes = [
        Change(
            work.before + change.path,
            None if change.new is None else contents[change.new],
            ABSENT if change.old is None else bytes_oid(contents[change.old]),
        )
        for change in differing
    ]
    undecided = [
        change.path
        for change in differing
        if change.path in conflicted and has_markers(contents.get(change.new or "", b"")) is not None
    ]
    if undecided:
        record = json.dumps({"theirs": other, "paths": undecided}).encode()
        changes.append(Change(work.before + WAITING, record, ABSENT))
    work.storage.commit(changes, label="notes sync")
    done.lines += [
        f"{path} was changed on both sides, or deleted on one; the one here stays" for path in conflicted if path not in undecided
    ]
    if undecided:
        done.findings = _undecided(work, undecided)
        files = f"{len(undecided)} file{'s' if len(undecided) != 1 else ''}"
        done.lines.append(f"{done.remote}/{done.branch} was taken in with conflicts in {files}; decide there and sync again")
        return False
    if forward:
        run(work.folder, ["update-ref", "-m", "notes sync", "HEAD", other, head])
    else:
        _advance(work, tree, [head, other], f"Merge {done.remote}/{done.branch}")
    run(work.folder, ["read-tree", "HEAD"], settings=SETTINGS)
    done.pulled += count
    done.lines.append(f"took in {count} commit{'s' if count != 1 else ''} from {done.remote}/{done.branch}")
    return True


def _merged_tree(work: _Work, ours: str, theirs: str) -> tuple[str, list[str]]:
    """(the merged tree, the paths in conflict), made without a look at the store's files."""
    attributes = work.own / "attributes"
    attributes.write_text(f"*.md merge={MERGE_DRIVER}\n*.markdown merge={MERGE_DRIVER}\n", encoding="utf-8")
    # -P: nothing is imported from the folder git runs it in, which is the store's.
    driver = shlex.join([sys.executable, "-P", "-m", "resources.notes.merge_driver"]) + " --marker-size %L %O %A %B %P"
    settings = {
        **SETTINGS,
        "core.attributesFile": str(attributes),
        f"merge.{MERGE_DRIVER}.driver": driver,
        f"merge.{MERGE_DRIVER}.name": "notes",
        "merge.conflictStyle": "diff3",
        "merge.renames": "true",
        "merge.directoryRenames": "false",
    }
    words = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories", ours, theirs]
    code, out, said = attempt(work.folder, words, settings=settings)
    if code not in (0, 1):
        first = (said.strip().splitlines() or [f"exit code {code}"])[0]
        raise GitError(f"git merge-tree failed: {first}", rule="git-failed", fix="use git 2.38 or later; `git --version` tells")
    tree, *paths = out.split(b"\0")
    return tree.decode().strip(), sorted({os.fsdecode(path) for path in paths if path})


def _waiting(work: _Work) -> tuple[str, list[str]] | None:
    """The merge that waits: (their commit, the paths to decide)."""
    try:
        record = json.loads(work.storage.read(work.before + WAITING, limit=64 << 20))
        return str(record["theirs"]), [str(path) for path in record["paths"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{WAITING} cannot be read",
            rule="notes-branch",
            path=work.shown(WAITING),
            fix="delete it when no note holds conflict marks",
        ) from None


def _undecided(work: _Work, paths: list[str]) -> list[Finding]:
    """One finding per file that still holds markers."""
    made: list[Finding] = []
    for path in paths:
        try:
            line = has_markers(work.storage.read(work.before + path))
        except FileNotFoundError:
            continue
        if line is not None:
            fix = "decide between the two versions, remove the marks, and run `headwater notes sync` again"
            made.append(found(CONFLICT, work.shown(path), "two versions of this note wait for a decision", line=line, fix=fix))
    return made


def _pushed(folder: Path, remote: str, branch: str) -> bool:
    """Push; False when somebody else was quicker. Raises GitError for any other reason."""
    refspec = f"refs/heads/{branch}:refs/heads/{branch}"
    code, out, said = attempt(folder, ["push", "--porcelain", "--no-verify", remote, refspec], settings=SETTINGS, network=True)
    if code == 0:
        return True
    words = out.decode("utf-8", "replace") + said
    if any(
        sign in words for sign in ("non-fast-forward", "fetch first", "stale info", "cannot lock ref", "failed to update ref")
    ):
        return False
    lines = [line for line in said.strip().splitlines() if not line.startswith("hint:")]
    raise GitError(
        f"git push failed: {lines[0] if lines else code}", rule="git-failed", fix="see whether you may push to this branch"
    )


def _after_a_killed_sync(folder: Path, own: Path, branch: str) -> bool:
    """Whether the sync before was killed; then the locks that its git left on the index, on HEAD and on the branch are taken
    away. Nobody else syncs: we hold the lock for that."""
    if not (own / "syncing").exists():
        return False
    shared = Path(answer(folder, ["rev-parse", "--path-format=absolute", "--git-common-dir"]))
    locks = [own.parent / "index.lock", own.parent / "HEAD.lock", shared / "refs" / "heads" / f"{branch}.lock"]
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        # A git that outlived its sync may still be at work; it ends by itself.
        if not any(_is_young(lock) for lock in locks):
            break
        time.sleep(0.1)
    for lock in locks:
        lock.unlink(missing_ok=True)
    return True


def _is_young(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime <= _PATIENCE
    except FileNotFoundError:
        return False


def _repair(folder: Path) -> None:
    """Mend the links between the folder and its repository after both were moved."""
    root = top_level(folder.parent)
    if root is not None and (folder / ".git").is_file():
        attempt(root, ["worktree", "repair", str(folder)])

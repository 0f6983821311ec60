"""Sharing a store that is on a branch of its own: commit what changed, take in what others did, give ours to them.

Notes are merged by `resources.notes.merge_driver`, whether or not `git setup` was run in the clone. A merge in conflict stays in
the files, between markers, as git leaves it; it is reported, and nothing is committed or shared before somebody has decided. A
note that one side changed and the other deleted is kept.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from resources.git import GitError
from resources.locks import file_lock
from resources.notes.branch import SETTINGS, branch_of, fetch, identity, remote_of, tracking_ref
from resources.notes.gitcalls import answer, attempt, run
from schemas.errors import UsageError
from schemas.findings import Finding, found
from schemas.notes.gitfiles import MERGE_DRIVER, has_markers
from schemas.notes.rules import CONFLICT

_PUSHES = 6
_NOT_SHARED = "/qipu.db*\n/.cache/\n*.hwtmp\n"
"""What git ignores whether or not the store's `.gitignore` says so. Not by pathspecs: git 2.39 refuses one that excludes what is
ignored already."""
_PATIENCE = 10.0
"""Seconds that a git which outlived a killed command gets to finish."""
_UNMERGED = frozenset({"DD", "AU", "UD", "UA", "DU", "AA", "UU"})


@dataclass(slots=True)
class Synced:
    """What a sync did. `findings` are conflicts to decide; while there are any, nothing of the merge is committed or pushed."""

    branch: str
    remote: str | None = None
    committed: bool = False
    pulled: int = 0
    """Commits of others that were taken in."""
    pushed: bool = False
    findings: list[Finding] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def sync(
    store_folder: Path, *, prefix: str = "", remote: str | None = None, message: str = "Update the notes", push: bool = True
) -> Synced:
    """Commit, pull and push the branch at the store's folder. `prefix` stands before paths in findings (the store's root).

    Without a remote, only commits. Raises UsageError when the store is on no branch of its own, GitError when git or the remote
    fails; what was committed until then stays.
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
    own = Path(answer(folder, ["rev-parse", "--path-format=absolute", "--git-dir"]))
    with file_lock(own / "headwater", "notes sync"):
        _after_a_killed_sync(own)
        marker = own / "headwater" / "syncing"
        marker.touch()
        try:
            return _sync(folder, own, Synced(branch, remote_of(folder, branch, remote)), prefix, message, push)
        finally:
            with suppress(OSError):
                marker.unlink()


def _sync(folder: Path, own: Path, done: Synced, prefix: str, message: str, push: bool) -> Synced:
    for attempt_number in range(_PUSHES):
        if not _commit(folder, own, done, prefix, message):
            return done
        if done.remote is None:
            done.lines.append("there is no remote to share the notes with")
            return done
        theirs = tracking_ref(done.remote, done.branch)
        if fetch(folder, done.remote, done.branch) and not _merge(folder, own, done, prefix, theirs):
            return done
        if not push:
            return done
        if _up_to_date(folder, theirs):
            return done
        if _pushed(folder, done.remote, done.branch):
            done.pushed = True
            done.lines.append(f"pushed to {done.remote}/{done.branch}")
            return done
        time.sleep(0.1 * attempt_number)
    raise GitError(
        f"others pushed to {done.remote}/{done.branch} every time first",
        rule="git-failed",
        fix="run `headwater notes sync` again",
    )


def _commit(folder: Path, own: Path, done: Synced, prefix: str, message: str) -> bool:
    """Commit everything in the folder; False while a merge waits for decisions."""
    merging = (own / "MERGE_HEAD").exists()
    if merging:
        done.findings = _conflicts(folder, prefix)
        if done.findings:
            done.lines.append("a merge waits for decisions; nothing was committed or pushed")
            return False
    # A file that holds markers still unresolved was found above; the rest is as the user wants it.
    ignored = own / "headwater" / "exclude"
    ignored.write_text(_NOT_SHARED, encoding="utf-8")
    run(folder, ["add", "--all", "--", "."], settings={**SETTINGS, "core.excludesFile": str(ignored)})
    unchanged = attempt(folder, ["diff", "--cached", "--quiet", "HEAD"], settings=SETTINGS)[0] == 0
    if unchanged and not merging:
        return True
    words = ["--no-edit"] if merging else ["--message", message]
    run(folder, ["commit", "--quiet", "--no-verify", *words], settings=SETTINGS, variables=_quiet_editor(folder))
    done.committed = True
    done.lines.append("committed the merge" if merging else "committed the changes")
    return True


def _merge(folder: Path, own: Path, done: Synced, prefix: str, theirs: str) -> bool:
    """Take in what the remote has; False when that left conflicts."""
    count = int(answer(folder, ["rev-list", "--count", f"HEAD..{theirs}"]))
    if not count:
        return True
    attributes = own / "headwater" / "attributes"
    attributes.write_text(f"*.md merge={MERGE_DRIVER}\n*.markdown merge={MERGE_DRIVER}\n", encoding="utf-8")
    driver = shlex.join([sys.executable, "-P", "-m", "resources.notes.merge_driver"]) + " --marker-size %L %O %A %B %P"
    settings = {
        **SETTINGS,
        "core.attributesFile": str(attributes),
        f"merge.{MERGE_DRIVER}.driver": driver,
        f"merge.{MERGE_DRIVER}.name": "notes",
        "merge.conflictStyle": "diff3",
        "merge.renames": "true",
        "rerere.enabled": "false",
    }
    code, out, said = attempt(
        folder,
        ["merge", "--quiet", "--no-edit", "--allow-unrelated-histories", "--no-verify", theirs],
        settings=settings,
        variables=_quiet_editor(folder),
    )
    if code == 0:
        done.pulled += count
        done.lines.append(f"took in {count} commit{'s' if count != 1 else ''} from {done.remote}/{done.branch}")
        return True
    if not (own / "MERGE_HEAD").exists():
        words = (said or out.decode("utf-8", "replace")).strip().splitlines()
        if any("would be overwritten" in line for line in words):
            # Somebody saved a file since it was committed: the next round commits that first.
            return _commit(folder, own, done, prefix, "Update the notes") and _merge(folder, own, done, prefix, theirs)
        raise GitError(
            f"git merge failed: {words[0] if words else code}", rule="git-failed", fix="run `git merge` in the store's folder"
        )
    _keep_what_one_side_deleted(folder, done)
    done.findings = _conflicts(folder, prefix)
    if done.findings:
        done.lines.append(
            f"{done.remote}/{done.branch} was taken in with conflicts in {len(done.findings)} "
            f"file{'s' if len(done.findings) != 1 else ''}; decide there and sync again"
        )
        return False
    done.pulled += count
    return _commit(folder, own, done, prefix, "")


def _keep_what_one_side_deleted(folder: Path, done: Synced) -> None:
    """Where one side deleted what the other changed, the changed file stays (git has left it in the folder)."""
    for state, path in _unmerged(folder):
        if state in ("DU", "UD", "AU", "UA"):
            done.lines.append(f"{path} was changed on one side and deleted on the other; it stays")
            run(folder, ["--literal-pathspecs", "add", "--all", "--", path], settings=SETTINGS)


def _conflicts(folder: Path, prefix: str) -> list[Finding]:
    """One finding per file that git could not merge and that still holds markers (or cannot be merged at all)."""
    made: list[Finding] = []
    for _, path in _unmerged(folder):
        try:
            data = (folder / path).read_bytes()
        except OSError:
            continue
        line = has_markers(data)
        shown = f"{prefix}/{path}" if prefix else path
        if line is not None:
            fix = "decide between the two versions, remove the marks, and run `headwater notes sync` again"
            made.append(found(CONFLICT, shown, "two versions of this note wait for a decision", line=line, fix=fix))
    return made


def _unmerged(folder: Path) -> list[tuple[str, str]]:
    """(state, path) of the files in conflict, as `git status` names the states."""
    rows = run(folder, ["status", "--porcelain", "-z", "--untracked-files=no", "--no-renames"], settings=SETTINGS).split(b"\0")
    return [(row[:2].decode(), os.fsdecode(row[3:])) for row in rows if row[:2].decode("ascii", "replace") in _UNMERGED]


def _up_to_date(folder: Path, theirs: str) -> bool:
    code, out, _ = attempt(folder, ["rev-parse", "--verify", "--quiet", theirs])
    return code == 0 and out.strip() == run(folder, ["rev-parse", "HEAD"]).strip()


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


def _quiet_editor(folder: Path) -> dict[str, str]:
    return {**identity(folder), "GIT_EDITOR": "true", "GIT_MERGE_AUTOEDIT": "no"}


def _after_a_killed_sync(own: Path) -> None:
    """Take away the lock that the git of a killed sync left on the index. Nobody else syncs: we hold the lock for that."""
    lock = own / "index.lock"
    if not (own / "headwater" / "syncing").exists():
        return
    deadline = time.monotonic() + _PATIENCE
    while lock.exists() and time.monotonic() < deadline:
        if time.time() - lock.stat().st_mtime > _PATIENCE:
            break
        time.sleep(0.2)
    with suppress(FileNotFoundError):
        lock.unlink()


def _repair(folder: Path) -> None:
    """Mend the links between the folder and its repository after both were moved."""
    from resources.git import top_level

    root = top_level(folder.parent)
    if root is not None and (folder / ".git").is_file():
        attempt(root, ["worktree", "repair", str(folder)])

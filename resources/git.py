"""What we ask of git: where the checkout is, what it ignores and tracks, what a file said at a revision.

Git runs with a repository's hooks, fsmonitor, filters, pager, prompts and optional locks off, because the repository may not
be trusted; nothing here changes a working tree. Light: subprocess is loaded by the first question that needs git itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from schemas.errors import HeadwaterError

_OFF = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.untrackedCache=keep",
    "-c", "core.pager=cat",
    "-c", "core.quotePath=false",
    "-c", "protocol.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "diff.external=",
)  # fmt: skip
_BATCH = 5_000
"""Files read by one call of git: what it answers lies in memory."""
_OWN_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)


class GitError(HeadwaterError):
    """Git is missing or said no."""


def top_level(path: Path) -> Path | None:
    """The root of the checkout that holds the folder `path` (a `.git` folder or file lies in it), None outside of any.

    Found by looking, without running git, so that a hostile or foreign-owned repository has no say in it.
    """
    folder = path.absolute()
    for candidate in (folder, *folder.parents):
        marker = candidate / ".git"
        if (marker / "HEAD").is_file() or (marker.is_file() and marker.read_bytes()[:8] == b"gitdir: "):
            return candidate
    return None


class Git:
    """Questions to the git checkout whose top level is `root`; paths are relative to it with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def head(self) -> str | None:
        """The commit id of HEAD, None before the first commit."""
        answer = self._run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], allowed=(0, 1, 128))
        return answer.decode().strip() or None

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that git ignores. A folder may be given with or without a final `/`."""
        wanted = [path for path in paths if path]
        if not wanted:
            return set()
        answer = self._run(["check-ignore", "-z", "--stdin"], stdin=_nul(wanted), allowed=(0, 1))
        return set(_split(answer))

    def ignored_by(self, paths: Iterable[str]) -> dict[str, tuple[str, int, str]]:
        """Path -> (file, line, pattern) that hides it, tracked or not; a file below the top level is relative to it."""
        wanted = [path for path in paths if path]
        if not wanted:
            return {}
        answer = self._run(["check-ignore", "--no-index", "-v", "-z", "--stdin"], stdin=_nul(wanted), allowed=(0, 1))
        fields = [os.fsdecode(part) for part in answer.split(b"\0")[:-1]]
        found = zip(fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=True)
        return {path: (source, int(line), pattern) for source, line, pattern, path in found if not pattern.startswith("!")}

    def attribute(self, name: str, path: str) -> str | None:
        """The value of an attribute of a path (`gitattributes`), None where none is given."""
        answer = self._run(["check-attr", "-z", name, "--", path]).decode("utf-8", "surrogateescape").split("\0")
        return None if len(answer) < 3 or answer[2] in ("unspecified", "unset") else answer[2]

    def tracked(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` (files) that are in the index."""
        wanted = list(paths)
        if not wanted:
            return set()
        found: set[str] = set()
        for start in range(0, len(wanted), 500):  # paths go into argv: ls-files reads none from stdin
            names = wanted[start : start + 500]
            found.update(_split(self._run(["--literal-pathspecs", "ls-files", "-z", "--cached", "--", *names])))
        return found & set(wanted)

    def tracked_below(self, folders: Iterable[str]) -> set[str]:
        """Every path in the index at or below one of `folders` ('' for the whole checkout)."""
        wanted = list(folders)
        if any(not folder.strip("/") for folder in wanted):
            wanted = []
        return set(_split(self._run(["--literal-pathspecs", "ls-files", "-z", "--cached", "--", *wanted])))

    def untracked(self, folder: str = "") -> set[str]:
        """The files of the working tree below a folder that git neither tracks nor ignores: what `git add` would take."""
        below = [folder.rstrip("/")] if folder.strip("/") else []
        words = ["--literal-pathspecs", "ls-files", "-z", "--others", "--exclude-standard", "--", *below]
        return set(_split(self._run(words)))

    def files(self, revision: str, folder: str = "") -> list[str]:
        """The paths of all files below `folder` at `revision`."""
        self._check_revision(revision)
        return _split(
            self._run(
                [
                    "--literal-pathspecs",
                    "ls-tree",
                    "-r",
                    "-z",
                    "--name-only",
                    "--full-tree",
                    revision,
                    "--",
                    *([folder] if folder else []),
                ]
            )
        )

    def show(self, revision: str, path: str) -> bytes | None:
        """The file's bytes at `revision` as they are in the object database (no filters), None when it is not there.

        Raises GitError (rule `git-revision`) for a revision git does not know.
        """
        self._check_revision(revision)
        listed = self._run(["--literal-pathspecs", "ls-tree", "-z", "--full-tree", revision, "--", path])
        if not listed:
            return None
        fields = listed.split(b"\t", 1)[0].split()
        return self._run(["cat-file", "blob", fields[2].decode()]) if fields[1] == b"blob" else None

    def read_files(
        self, revision: str, wanted: Callable[[str], bool], *, folder: str = "", limit: int = 1 << 20
    ) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of the files below `folder` at `revision` whose path is `wanted`, in the order of git; those of more than
        `limit` bytes are left out. A few calls of git, however many files.

        Raises GitError (rule `git-revision`) for a revision git does not know.
        """
        self._check_revision(revision)
        below = [folder] if folder else []
        listed = self._run(["--literal-pathspecs", "ls-tree", "-r", "-l", "-z", "--full-tree", revision, "--", *below])
        chosen: list[tuple[str, bytes]] = []
        for line in listed.split(b"\0"):
            fields, tab, name = line.partition(b"\t")
            if not tab:
                continue
            _mode, kind, blob, size = fields.split()
            path = os.fsdecode(name)
            if kind == b"blob" and int(size) <= limit and wanted(path):
                chosen.append((path, blob))
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            answer = self._run(["cat-file", "--batch"], stdin=b"".join(blob + b"\n" for _path, blob in part))
            at = 0
            for path, _blob in part:
                end = answer.index(b"\n", at)
                length = int(answer[at:end].split()[2])
                yield path, answer[end + 1 : end + 1 + length]
                at = end + length + 2

    def every_version(self, pathspecs: Iterable[str], *, limit: int = 1 << 30) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of every version of the files that match, in whatever commit, branch, tag, stash or reflog entry of this
        checkout; equal versions once, under one of their paths, those of more than `limit` bytes left out.

        Raises GitError, with rule `git-incomplete` where git names versions that are not in this clone.
        """
        shown = ["log", "--all", "--reflog", "-m", "--format=", "--raw", "--no-renames", "--no-abbrev", "-z", "--", *pathspecs]
        # Without a commit git ends with 0. Where it fails its history is not known, and must not pass for an empty one.
        fields = self._run(shown).split(b"\0")
        seen: dict[bytes, str] = {}
        for head, name in zip(fields[::2], fields[1::2], strict=False):
            parts = head.strip().removeprefix(b":").split()
            if len(parts) == 5 and set(parts[3]) != {ord("0")} and parts[1][:3] == b"100":
                seen.setdefault(parts[3], os.fsdecode(name))
        blobs = sorted(seen)
        sizes = self._run(["cat-file", "--batch-check"], stdin=b"".join(blob + b"\n" for blob in blobs)) if blobs else b""
        for blob, line in zip(blobs, sizes.splitlines(), strict=True):
            if line.endswith(b" missing"):
                raise GitError(
                    "git does not hold every version of the file here",
                    rule="git-incomplete",
                    path=seen[blob],
                    fix="fetch what this partial clone left out, or mend the repository: `git fsck` says what is missing",
                )
        small = [blob for blob, line in zip(blobs, sizes.splitlines(), strict=True) if int(line.split()[2]) <= limit]
        for start in range(0, len(small), _BATCH):
            part = small[start : start + _BATCH]
            yield from zip((seen[blob] for blob in part), self._blobs(part), strict=True)

    def _blobs(self, blobs: list[bytes]) -> Iterator[bytes]:
        answer = self._run(["cat-file", "--batch"], stdin=b"".join(blob + b"\n" for blob in blobs))
        at = 0
        for _blob in blobs:
            end = answer.index(b"\n", at)
            length = int(answer[at:end].split()[2])
            yield answer[end + 1 : end + 1 + length]
            at = end + length + 2

    def commit(self, revision: str, *, until: str | None = None, below: Iterable[str] = ()) -> tuple[str, str] | None:
        """(id, committer's date as RFC 3339) of the commit that a revision names; with `until` (a date) of the last one before it
        in its history, with `below` the last that touched one of these pathspecs. None where there is none.

        Raises GitError (rule `git-revision`) for a revision git does not know.
        """
        self._check_revision(revision)
        asked = [f"--until={until}"] if until is not None else []
        answer = self._run(["log", "-1", "--format=%H %cI", *asked, revision, "--", *below], allowed=(0, 128)).decode()
        name, _space, when = answer.strip().partition(" ")
        return (name, when) if when else None

    def commits_about(self, text: str, below: Iterable[str], *, limit: int, timeout: float) -> list[tuple[str, str, str, str]]:
        """(id, date, author, subject) of the newest commits of any branch, tag or stash that brought `text` into a file
        that one of the pathspecs names, or took it out.

        Raises GitError (rule `git-slow`) when git needs longer than `timeout` seconds.
        """
        asked = ["log", "--all", f"-S{text}", f"--max-count={limit}", "-z", "--no-textconv", "--format=%H%x01%cI%x01%an%x01%s"]
        answer = self._run([*asked, "--", *below], timeout=timeout)
        found = []
        for line in answer.decode("utf-8", "replace").split("\0"):
            parts = line.strip("\n").split("\x01", 3)
            if len(parts) == 4:
                found.append((parts[0], parts[1], parts[2], parts[3]))
        return found

    def references(self, *, limit: int) -> list[str]:
        """The full names of branches, remote branches and tags, those with the newest commits first."""
        kinds = ["refs/heads", "refs/tags", "refs/remotes"]
        asked = ["for-each-ref", "--sort=-committerdate", f"--count={limit}", "--format=%(refname)", *kinds]
        return self._run(asked).decode("utf-8", "surrogateescape").split()

    def holding(self, text: str, revisions: Iterable[str], below: Iterable[str], *, timeout: float) -> dict[str, list[str]]:
        """Revision -> the files that pathspecs name and that hold `text` there; revisions without one are left out.

        Raises GitError (rule `git-slow`) when git needs longer than `timeout` seconds.
        """
        asked = list(revisions)
        if not asked:
            return {}
        words = ["grep", "-l", "-z", "-F", "--no-textconv", "--full-name", "-e", text]
        answer = self._run([*words, *asked, "--", *below], allowed=(0, 1), timeout=timeout)
        found: dict[str, list[str]] = {}
        for line in _split(answer):
            revision, _colon, path = line.partition(":")
            found.setdefault(revision, []).append(path)
        return found

    def config_get(self, name: str) -> str | None:
        """The value of a setting as it holds in this checkout, None when it is not set."""
        answer = self._run(["config", "-z", "--get", name], allowed=(0, 1))
        return answer.decode("utf-8", "surrogateescape").rstrip("\0") if answer else None

    def config_set(self, name: str, value: str) -> None:
        """Set a setting of this clone (`.git/config`)."""
        self._run(["config", "--local", name, value])

    def _check_revision(self, revision: str) -> None:
        if revision.startswith("-") or not self._run(
            ["rev-parse", "--verify", "--quiet", revision + "^{tree}"], allowed=(0, 1, 128)
        ):
            raise GitError(
                f"git knows no revision {revision!r} here",
                rule="git-revision",
                fix="name a commit, branch or tag; `git log` lists them",
            )

    def _run(
        self,
        arguments: list[str],
        *,
        stdin: bytes | None = None,
        allowed: tuple[int, ...] = (0,),
        timeout: float | None = None,
    ) -> bytes:
        import subprocess

        try:
            done = subprocess.run(
                command(self.root, arguments), input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True, env=environment(), check=False, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise GitError(
                f"git {arguments[0]} was stopped after {timeout:.0f} seconds", rule="git-slow", fix="ask git itself"
            ) from error
        except FileNotFoundError as error:
            raise _missing() from error
        if done.returncode not in allowed:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise GitError(
                f"git {arguments[0]} failed: {said[0] if said else f'exit code {done.returncode}'}",
                rule="git-failed",
                fix="run the same git command in the workspace to see what is wrong",
            )
        return done.stdout


def command(root: Path, arguments: list[str]) -> list[str]:
    """The argv of a git call in `root` with everything off that a repository could make run."""
    return ["git", "--no-pager", "-C", str(root), *_OFF, *arguments]


def environment() -> Mapping[str, str]:
    """The environment of a git call: no prompts, no optional locks, no redirection to another repository."""
    kept = {name: value for name, value in os.environ.items() if name not in _OWN_REPOSITORY}
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "LC_ALL": "C",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _nul(paths: list[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _split(answer: bytes) -> list[str]:
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]


def _missing() -> GitError:
    return GitError("git is not installed", rule="git-missing", fix="install git, or run the command outside of a git checkout")

"""Running git for a store that is kept on a branch of its own: what `resources.git` does not do, because it only asks.

The same precautions hold (no hooks, no fsmonitor, no pager, no prompts); the network is reached only where a call says so, and
never through git's `ext` transport. Light: subprocess is loaded by the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.git import GitError, command, environment

_NETWORK = tuple(
    part for name in ("https", "http", "ssh", "git", "file") for part in ("-c", f"protocol.{name}.allow=always")
)  # "file" is a remote on the same machine
_TIMEOUT = 600.0
_NETWORK_FIX = "check the address with `git remote -v`, and that you can reach it"


def run(
    root: Path,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    allowed: Sequence[int] = (0,),
    network: bool = False,
    settings: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> bytes:
    """What git prints. `settings` are git settings for this call, `variables` more of its environment.

    Raises GitError (rule `git-failed`, `git-missing`) for another exit code than `allowed`.
    """
    code, out, said = attempt(root, arguments, stdin=stdin, network=network, settings=settings, variables=variables)
    if code not in allowed:
        lines = [line for line in said.strip().splitlines() if not line.startswith("hint:")]
        raise GitError(
            f"git {arguments[0]} failed: {lines[0] if lines else f'exit code {code}'}",
            rule="git-failed",
            fix=_NETWORK_FIX if network else "run the same git command in the store's folder to see what is wrong",
        )
    return out


def attempt(
    root: Path,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    network: bool = False,
    settings: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[int, bytes, str]:
    """(exit code, what git prints, what it says of errors). Raises GitError when git is missing or does not come back."""
    import subprocess

    given = [part for name, value in (settings or {}).items() for part in ("-c", f"{name}={value}")]
    argv = command(root, [*(_NETWORK if network else ()), *given, *arguments])
    try:
        done = subprocess.run(
            argv, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True,
            env={**environment(), **(variables or {})}, check=False, timeout=_TIMEOUT,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise GitError("git is not installed", rule="git-missing", fix="install git") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(
            f"git {arguments[0]} did not come back within {_TIMEOUT:.0f} seconds", rule="git-failed", fix=_NETWORK_FIX
        ) from error
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def answer(root: Path, arguments: Sequence[str], *, allowed: Sequence[int] = (0,)) -> str:
    """What git prints, as text without the line end. Raises GitError."""
    return run(root, arguments, allowed=allowed).decode("utf-8", "surrogateescape").rstrip("\n")


def local_branches(root: Path) -> list[str]:
    """The full names of the local branches, most recently written first. Raises GitError."""
    return answer(root, ["for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/heads"]).splitlines()


@dataclass(frozen=True, slots=True)
class TreeChange:
    """One path that differs between two trees: the blobs on either side, None where there is no file."""

    path: str
    old: str | None
    new: str | None


def tree_changes(root: Path, old: str, new: str) -> list[TreeChange]:
    """What differs between two trees or commits, sorted by path.

    Raises GitError (rule `notes-branch`) for what is no plain file: links and repositories inside repositories are not taken from
    others.
    """
    rows = run(root, ["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", old, new]).split(b"\0")
    found: list[TreeChange] = []
    for meta, name in zip(rows[::2], rows[1::2], strict=False):
        before, after, old_blob, new_blob, _ = meta.decode("ascii").lstrip(":").split()
        path = os.fsdecode(name)
        if after not in _PLAIN or before not in _PLAIN:
            raise GitError(
                f"{path!r} on the branch is no plain file",
                rule="notes-branch",
                path=path,
                fix="take the link or the submodule off the branch",
            )
        found.append(TreeChange(path, None if before == _NO_FILE else old_blob, None if after == _NO_FILE else new_blob))
    return found


def blobs(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of blobs by their object names. Raises GitError for one that is not there."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    answered = run(root, ["cat-file", "--batch"], stdin="".join(f"{name}\n" for name in wanted).encode())
    found: dict[str, bytes] = {}
    at = 0
    for name in wanted:
        end = answered.index(b"\n", at)
        fields = answered[at:end].split()
        if len(fields) != 3:
            raise GitError(f"git has no object {name}", rule="git-failed", fix="run `git fsck`")
        size = int(fields[2])
        found[name] = answered[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found


_NO_FILE = "000000"
_PLAIN = frozenset({_NO_FILE, "100644", "100755", "100664"})

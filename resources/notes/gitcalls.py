"""Running git for a store that is kept on a branch of its own: what `resources.git` does not do, because it only asks.

The same precautions hold (no hooks, no fsmonitor, no pager, no prompts); the network is reached only where a call says so, and
never through git's `ext` transport. Light: subprocess is loaded by the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

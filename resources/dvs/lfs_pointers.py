"""Pointers of git-lfs: the small texts that stand for files in git, and where a checkout keeps their bytes.

Format: git-lfs `docs/spec.md`: UTF-8 lines `key value`, `version` first, fewer than 1024 bytes, the oid always SHA-256. Git runs
as in `resources.git`; nothing but its index is ever changed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resources.git import GitError, command, environment

LARGEST: Final = 1023
"""A pointer's length in bytes is below 1024."""
_VERSIONS: Final = (
    b"version https://git-lfs.github.com/spec/v1\n",
    b"version https://hawser.github.com/spec/v1\n",
    b"version http://git-media.io/v/2\n",
)
_SMALLEST: Final = 100
_OID = re.compile(r"sha256:([0-9a-f]{64})\Z")
_LINE = re.compile(r"([a-z0-9.-]+) (.*)\Z")
_PART: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says. `extended` is set when extensions changed the bytes before they were named."""

    digits: str
    size: int
    extended: bool = False


def read_pointer(data: bytes) -> Pointer | None:
    """The pointer that the bytes of a file are; None for any other file."""
    if len(data) > LARGEST or not data.startswith(_VERSIONS):
        return None
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None
    values: dict[str, str] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None or match[1] in values:
            return None
        values[match[1]] = match[2]
    oid, size = _OID.match(values.get("oid", "")), values.get("size", "")
    if oid is None or not re.fullmatch(r"[0-9]{1,18}", size):
        return None
    return Pointer(oid[1], int(size), any(key.startswith("ext-") for key in values))


def in_git(top: Path, below: str, revision: str | None = None) -> Iterator[tuple[str, Pointer]]:
    """(path in the checkout, pointer) of every pointer at or below a path of the checkout at `top`: those of the index, or of a
    revision. Sorted by path. Raises GitError (rule `git-revision`) for a revision that git does not know."""
    listed = _in_index(top, below) if revision is None else _in_tree(top, below, revision)
    for start in range(0, len(listed), _PART):
        part = listed[start : start + _PART]
        for (path, _blob), data in zip(part, _blobs(top, [blob for _path, blob in part]), strict=True):
            pointer = read_pointer(data)
            if pointer is not None:
                yield path, pointer


def in_folder(folder: Path) -> Iterator[tuple[str, Pointer]]:
    """(path in the folder, pointer) of every file below a folder outside of git that is a pointer."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".git", ".dvs", ".headwater"))
        for name in sorted(names):
            path = Path(above) / name
            held = pointer_at(path)
            if held is not None:
                yield path.relative_to(folder).as_posix(), held[0]


def pointer_at(path: Path) -> tuple[Pointer, bytes] | None:
    """The pointer that lies at a path, and the file's bytes; None for any other file, or none."""
    try:
        if path.is_symlink() or not path.is_file() or not _SMALLEST <= path.stat().st_size <= LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    pointer = read_pointer(data)
    return None if pointer is None else (pointer, data)


def objects_of(top: Path) -> Path:
    """Where the checkout keeps the objects of git-lfs (`lfs.storage`, else `lfs` in the folder that its worktrees share)."""
    shared = Path(os.fsdecode(_run(top, ["rev-parse", "--git-common-dir"]).rstrip(b"\n")))
    shared = shared if shared.is_absolute() else top / shared
    given = _run(top, ["config", "--get", "--type=path", "lfs.storage"], allowed=(0, 1)).rstrip(b"\n")
    return (shared / os.fsdecode(given) if given else shared / "lfs") / "objects"


def object_path(objects: Path, digits: str) -> Path:
    """Where an object lies."""
    return objects / digits[:2] / digits[2:4] / digits


def untrack(top: Path, paths: list[str]) -> None:
    """Take files out of git's index; they and every commit stay as they are."""
    _run(top, ["update-index", "-z", "--force-remove", "--stdin"], stdin=b"".join(os.fsencode(path) + b"\0" for path in paths))


def _in_index(top: Path, below: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for line in _run(top, ["--literal-pathspecs", "ls-files", "-s", "-z", "--", *([below] if below else [])]).split(b"\0"):
        fields, _tab, path = line.partition(b"\t")
        parts = fields.split()
        if len(parts) == 3 and parts[0].startswith(b"100"):
            found[os.fsdecode(path)] = parts[1].decode()
    blobs = sorted(set(found.values()))
    sizes = _run(
        top, ["cat-file", "--batch-check=%(objectname) %(objectsize)"], stdin="".join(f"{one}\n" for one in blobs).encode()
    )
    small = {
        fields[0].decode()
        for fields in (line.split() for line in sizes.splitlines())
        if len(fields) == 2 and fields[1].isdigit() and _SMALLEST <= int(fields[1]) <= LARGEST
    }
    return [(path, blob) for path, blob in sorted(found.items()) if blob in small]


def _in_tree(top: Path, below: str, revision: str) -> list[tuple[str, str]]:
    if revision.startswith("-") or not _run(
        top, ["rev-parse", "--verify", "--quiet", f"{revision}^{{tree}}"], allowed=(0, 1, 128)
    ):
        raise GitError(
            f"git knows no revision {revision!r} here",
            rule="git-revision",
            fix="name a commit, branch or tag; `git log` lists them",
        )
    asked = ["--literal-pathspecs", "ls-tree", "-r", "-l", "-z", "--full-tree", revision, "--", *([below] if below else [])]
    found = []
    for line in _run(top, asked).split(b"\0"):
        fields, _tab, path = line.partition(b"\t")
        parts = fields.split()
        if len(parts) == 4 and parts[0].startswith(b"100") and parts[3].isdigit() and _SMALLEST <= int(parts[3]) <= LARGEST:
            found.append((os.fsdecode(path), parts[2].decode()))
    return sorted(found)


def _blobs(top: Path, blobs: list[str]) -> Iterator[bytes]:
    answer = _run(top, ["cat-file", "--batch"], stdin="".join(f"{blob}\n" for blob in blobs).encode())
    at = 0
    for blob in blobs:
        end = answer.index(b"\n", at)
        fields = answer[at:end].split()
        if len(fields) != 3:
            raise GitError(f"git does not hold the blob {blob}", rule="git-failed", fix="run `git fsck` in the checkout")
        length = int(fields[2])
        yield answer[end + 1 : end + 1 + length]
        at = end + length + 2


def _run(top: Path, arguments: list[str], *, stdin: bytes | None = None, allowed: tuple[int, ...] = (0,)) -> bytes:
    try:
        done = subprocess.run(
            command(top, arguments),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed", rule="git-missing", fix="install git") from error
    if done.returncode not in allowed:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(
            f"git {arguments[0]} failed: {said[0] if said else f'exit code {done.returncode}'}",
            rule="git-failed",
            fix="run the same git command in the checkout to see what is wrong",
        )
    return done.stdout

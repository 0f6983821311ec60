"""Kill and fault injection by system call: what section 6 of the design promises, proven with strace.

A scenario is a small Python program that prepares nothing, touches `BEGIN`, does one operation and exits 0. The harness first
records its system calls, then runs it once per call after `BEGIN`, killing the process before that call, or letting that
call fail with an errno. Each run starts from a fresh copy of the prepared folder, and the caller checks what is left.

strace counts calls per kind, so a point is (kind, ordinal); programs must make the same calls in every run (no threads,
fixed hash seed, byte code already compiled).
"""

from __future__ import annotations

import atexit
import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

BEGIN = "/headwater-scenario-begins"
CALLS = (
    "openat", "write", "pwrite64", "pwritev", "fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "unlink",
    "unlinkat",
    "link", "linkat", "mkdir", "mkdirat", "rmdir", "fchmod", "fchmodat", "ftruncate", "copy_file_range", "sendfile", "ioctl",
)  # fmt: skip
FAILING = {
    "write": "ENOSPC",
    "pwrite64": "ENOSPC",
    "fsync": "EIO",
    "fdatasync": "EIO",
    "rename": "EIO",
    "renameat": "EIO",
    "renameat2": "EIO",
}

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: system calls cannot be interrupted"
)
_LINE = re.compile(r"^(?:\[pid\s+\d+\] |\d+\s+)?(\w+)\((.*)$")


@dataclass(frozen=True)
class Point:
    """One system call of the scenario: the `ordinal`th call of its `kind` in the whole process, counted from 1."""

    kind: str
    ordinal: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind}#{self.ordinal} {self.text[:60]}"


@cache
def _packages() -> str:
    """A compiled copy of the code that nobody edits while the calls of its imports are being counted."""
    root = Path(__file__).resolve().parents[2]
    copy = tempfile.mkdtemp(prefix="headwater-faults-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for package in ("schemas", "resources", "assets", "orchestration", "tests"):
        shutil.copytree(root / package, Path(copy, package), ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    compileall.compile_dir(copy, quiet=2)
    return copy


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HEADWATER", "COV"))}
    return keep | {"PYTHONHASHSEED": "0", "PYTHONPATH": _packages(), "PYTHONUNBUFFERED": "1"} | (extra or {})


def _command(program: str, arguments: list[str]) -> list[str]:
    return [sys.executable, "-c", f"import os, sys\nBEGIN = {BEGIN!r}\n{program}", *arguments]


def points(program: str, folder: Path, arguments: list[str], env: dict[str, str] | None = None) -> list[Point]:
    """Every system call of interest that `program` makes after touching BEGIN, in order. `folder` is used up."""
    log = folder.parent / f"{folder.name}.strace"
    subprocess.run(
        ["strace", "-f", "-qq", "-s", "200", "-o", str(log), "-e", f"trace={','.join(CALLS)},access",
         *_command(program, arguments)],
        cwd=folder, env=_environment(env), check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    seen: Counter[str] = Counter()
    begun = False
    found: list[Point] = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        kind, text = match.groups()
        seen[kind] += 1
        begun = begun or BEGIN in text
        # A read changes nothing: killing before the next change leaves the same files.
        if begun and kind in CALLS and not (kind == "openat" and "O_CREAT" not in text):
            found.append(Point(kind, seen[kind], text))
    if not begun:
        raise AssertionError("the scenario never touched BEGIN, so nothing would have been tested")
    return found


def kill(program: str, folder: Path, arguments: list[str], point: Point, env: dict[str, str] | None = None) -> None:
    """Run `program` in `folder` and kill it just before `point`; asserts that it died of SIGKILL and of nothing else."""
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={point.kind}",
         "-e", f"inject={point.kind}:signal=SIGKILL:when={point.ordinal}", *_command(program, arguments)],
        cwd=folder, env=_environment(env), timeout=120, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (
        f"{point}: expected death by SIGKILL, got {done.returncode}: {done.stderr[-2000:]}"
    )


def fail(
    program: str, folder: Path, arguments: list[str], point: Point, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `program` in `folder` with `point` failing with the errno of FAILING; returns the finished process."""
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={point.kind}",
         "-e", f"inject={point.kind}:error={FAILING[point.kind]}:when={point.ordinal}", *_command(program, arguments)],
        cwd=folder, env=_environment(env), timeout=120, capture_output=True, text=True, check=False,
    )  # fmt: skip

"""Which process this is, in words that outlive it: host, boot, pid and start time, because pids and hosts' names are used again.

Light: standard library only.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

_UNKNOWN = "unknown"


def process_mark() -> str:
    """`host boot pid start` of this process."""
    pid = os.getpid()
    return f"{_host()} {boot_id()} {pid} {start_time(pid) or _UNKNOWN}"


def is_gone(mark: str) -> bool:
    """Whether the process with this mark has certainly ended; False for one of another host and for text that is no mark."""
    parts = mark.split()
    if len(parts) != 4 or not parts[2].isdigit() or parts[0] != _host():
        return False
    if parts[1] != boot_id():
        return True
    # Where the system tells no start times, nothing is certain.
    return parts[3] != _UNKNOWN and start_time(int(parts[2])) != parts[3]


@cache
def _host() -> str:
    """The host's name, and a digest of what tells it from others of that name: clones of a virtual machine, containers."""
    import hashlib
    import socket

    name = socket.gethostname().replace(" ", "-") or _UNKNOWN
    facts = _facts()
    return f"{name}-{hashlib.sha256(chr(10).join(facts).encode()).hexdigest()[:8]}" if facts else name


def _facts() -> tuple[str, ...]:
    """The machine's id and the namespace of its process numbers, as far as the system tells them."""
    found = []
    with suppress(OSError, UnicodeDecodeError):
        found.append(Path("/etc/machine-id").read_text("ascii").strip())
    with suppress(OSError):
        found.append(str(Path("/proc/self/ns/pid").readlink()))
    return tuple(found)


@cache
def boot_id() -> str:
    """What changes with every start of the machine, without spaces."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text("ascii").strip()
    if sys.platform == "darwin":
        return _output(["/usr/sbin/sysctl", "-n", "kern.boottime"]).partition(",")[0].replace(" ", "") or _UNKNOWN
    return _UNKNOWN


def start_time(pid: int) -> str | None:
    """When the process started, in whatever unit the system has, without spaces; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            # The second field, the command's name, may hold spaces and parentheses; the others are counted from its end.
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in ("Z", "X") else fields[19]
    return _output(["/bin/ps", "-o", "lstart=", "-p", str(pid)]).replace(" ", "-") or None


def _output(command: list[str]) -> str:
    import subprocess

    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""

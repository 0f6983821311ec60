"""Runs of killed commands: every run says which process executes it, and the next command closes those whose process is gone.

A process is known by host, boot, pid and start time, because pids are used again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import dagster as dg

HOST = "headwater/host"
BOOT = "headwater/boot"
PID = "headwater/pid"
STARTED = "headwater/started"

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tags() -> dict[str, str]:
    """The tags that say that this process executes a run."""
    pid = os.getpid()
    return {HOST: socket.gethostname() or "unknown", BOOT: boot_id(), PID: str(pid), STARTED: start_time(pid) or "unknown"}


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process named by `tags` has certainly ended; False for another host's and for runs without our tags."""
    if PID not in tags or tags.get(HOST) != (socket.gethostname() or "unknown"):
        return False
    if tags.get(BOOT) != boot_id():
        return True
    return start_time(int(tags[PID])) != tags.get(STARTED)


def close_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs whose process is gone as failed; returns their run ids."""
    closed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        if is_gone(run.tags):
            instance.report_run_failed(run, "The command that executed this run was killed before the run ended.")
            closed.append(run.run_id)
    return closed


@cache
def boot_id() -> str:
    """What changes with every start of the machine."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text("ascii").strip()
    if sys.platform == "darwin":
        return _output(["/usr/sbin/sysctl", "-n", "kern.boottime"])
    return "unknown"


def start_time(pid: int) -> str | None:
    """When the process started, in whatever unit the system has; None when there is no such process."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The second field, the command's name, may hold spaces and parentheses; the fields after it are counted from its end.
            fields = status.read_text("ascii", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in ("Z", "X") else fields[19]
    return _output(["/bin/ps", "-o", "lstart=", "-p", str(pid)]) or None


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

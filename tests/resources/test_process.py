"""Marks of processes: the living are never taken for gone, the dead always are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.process import _host, boot_id, is_gone, process_mark, start_time

_PRINT = "from resources.process import process_mark; print(process_mark(), flush=True); input()"


def test_this_process_is_not_gone() -> None:
    assert not is_gone(process_mark())


def test_another_living_process_is_not_gone_and_is_gone_after_its_end() -> None:
    child = subprocess.Popen([sys.executable, "-c", _PRINT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    mark = child.stdout.readline().strip()
    assert not is_gone(mark)
    child.kill()
    child.wait()
    assert is_gone(mark)
    child.stdout.close()
    assert child.stdin is not None
    child.stdin.close()


def test_a_killed_process_nobody_has_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", _PRINT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    mark = child.stdout.readline().strip()
    child.kill()
    child.stdout.read()  # until the kernel has closed its files, a moment before the process counts as ended
    until = time.monotonic() + 30
    while not is_gone(mark) and time.monotonic() < until:
        time.sleep(0.01)
    assert is_gone(mark)
    child.communicate()


def test_the_same_pid_at_another_time_or_after_another_boot_is_gone() -> None:
    host, boot, pid, started = process_mark().split()
    assert is_gone(f"{host} {boot} {pid} {started}0")
    assert is_gone(f"{host} other-boot {pid} {started}")


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="process namespaces are Linux's")
@pytest.mark.parametrize("what", ["namespace", "machine"])
def test_nothing_is_certain_of_a_machine_or_container_of_the_same_name(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    host, boot, pid, started = process_mark().split()
    # The mark of another container on this machine, or of another machine that was given the same name.
    monkeypatch.setattr("resources.process._facts", lambda: (f"another {what}",))
    _host.cache_clear()
    try:
        theirs = process_mark().split()[0]
    finally:
        monkeypatch.undo()
        _host.cache_clear()
    assert theirs != host
    assert not is_gone(f"{theirs} {boot} {pid} {started}0")
    assert not is_gone(f"{theirs} other-boot {pid} {started}")


def test_nothing_is_certain_where_the_system_tells_no_start_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.process.start_time", lambda pid: None)
    mark = process_mark()
    assert mark.endswith(" unknown")
    assert not is_gone(mark)


@pytest.mark.parametrize("mark", ["", "x", "a b c d", "elsewhere boot 1 1", "1 2 3", "\x00"])
def test_what_cannot_be_judged_is_not_gone(mark: str) -> None:
    assert not is_gone(mark)


def test_there_is_no_start_time_of_a_process_that_does_not_exist() -> None:
    assert start_time(2**22 + 12345) is None
    assert boot_id() == boot_id()

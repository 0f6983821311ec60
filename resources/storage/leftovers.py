"""Temporary files and what killed processes left of them: their names, and whether their process is gone.

The name carries the process and a digest of the machine's boot and process namespace, because a process number says
something only there. Light: standard library only.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from resources.process import boot_id
from resources.storage.folders import Folder

SUFFIX = ".hwtmp"
_PATTERN = re.compile(r"\.(?:.*)\.([0-9a-f]{8})-(\d+)-(\d+)\.hwtmp\Z", re.DOTALL)
_STRANGER_AGE = 24 * 3600.0
"""Seconds after which a temporary file of another machine (or of a process number in use again) counts as left over."""
_NAME_BYTES = 200

_count = itertools.count(1)


@cache
def machine() -> str:
    """Eight hexadecimal digits for this boot of this machine and this process namespace."""
    import hashlib

    facts = [platform.node(), boot_id()]
    with suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def temporary_name(name: str) -> str:
    """A fresh name beside `name`: `.<name>.<machine>-<pid>-<n>.hwtmp`, the name cut where the whole would be too long."""
    short = name if name.isascii() and len(name) <= _NAME_BYTES else _shortened(name)
    return f".{short}.{machine()}-{os.getpid()}-{next(_count)}{SUFFIX}"


def _shortened(name: str) -> str:
    return name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode("utf-8", "ignore")


def is_leftover(name: str) -> bool:
    """Whether `name` is that of one of our temporary files."""
    return name.endswith(SUFFIX) and _PATTERN.match(name) is not None


def is_alive(pid: int) -> bool:
    """Whether a process of that number exists on this machine; where that cannot be asked without harm, it does."""
    if os.name != "posix":
        return True  # signal 0 is Ctrl-C on Windows
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def unlink_dead(folder: Folder, name: str) -> bool:
    """Remove the temporary file `name` when its process is gone; says whether it did."""
    matched = _PATTERN.match(name)
    if matched is None:
        return False
    ours = matched[1] == machine()
    if not (ours and not is_alive(int(matched[2]))) and time.time() - folder.stat(name).st_mtime < _STRANGER_AGE:
        return False
    if ours and int(matched[2]) == os.getpid():
        return False
    folder.unlink(name)
    return True

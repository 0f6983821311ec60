"""What the operating system refuses, in our words: which file, which rule, and what to do about it.

Every OSError that nobody on the way has understood better becomes one of these before people see it. Light: standard library.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from schemas.errors import HeadwaterError

READ_ONLY = "make it writable or work in a copy; `headwater ls`, `status`, `check` and `explain` need no writing"

_KNOWN: dict[int, tuple[str, str, str]] = {
    errno.ENOSPC: ("no space is left on the device", "disk-full", "free some space and run the command again"),
    errno.EDQUOT: ("the disk quota is used up", "disk-full", "free some space and run the command again"),
    errno.EFBIG: ("the file would be larger than is allowed here", "disk-full", "raise the limit (ulimit -f), or work elsewhere"),
    errno.EIO: (
        "the device could not read or write it",
        "disk-error",
        "look at the disk and the system's log, then run the command again",
    ),
    errno.EMFILE: ("too many files are open", "too-many-open-files", "raise the limit (ulimit -n) and run the command again"),
    errno.ENFILE: ("too many files are open", "too-many-open-files", "end other programs and run the command again"),
    errno.ENAMETOOLONG: ("the path is too long for this file system", "path-too-long", "shorten its names"),
    errno.ENOENT: (
        "no such file or folder",
        "file-missing",
        "name one that exists, or run the command again if it has just gone",
    ),
}


def problem_of(error: OSError) -> HeadwaterError:
    """The error as a HeadwaterError with path, rule and fix; the original stays its cause."""
    path = _path(error)
    known = _KNOWN.get(error.errno or 0)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if path is not None and error.errno != errno.EROFS and _only_unreadable(path):
            known = ("permission denied: it cannot be read", "file-unreadable", "give yourself the right to read it (chmod u+r)")
        else:
            known = (f"permission denied: {_refused(error)} cannot be written to", "workspace-read-only", READ_ONLY)
    message, rule, fix = known or (
        (error.strerror or str(error) or type(error).__name__).lower(),
        "system-error",
        "set right what the system says about it, then run the command again",
    )
    made = HeadwaterError(message, rule=rule, path=path, fix=fix)
    made.__cause__ = error
    return made


_OF_SQLITE = (
    (("FullError", "disk is full"), errno.ENOSPC),
    (("IOError", "disk I/O error"), errno.EIO),
    (("ReadOnlyError", "readonly database"), errno.EROFS),
    (("CantOpenError", "unable to open database file"), errno.EACCES),
)


def database_problem(error: Exception) -> HeadwaterError | None:
    """The same for what SQLite says of the disk, through either of its libraries; None for every other error."""
    if type(error).__module__.partition(".")[0] not in ("sqlite3", "apsw"):
        return None
    for (name, words), number in _OF_SQLITE:
        if type(error).__name__ == name or words in str(error):
            made = problem_of(OSError(number, os.strerror(number)))
            made.__cause__ = error
            return made
    return None


def is_read_only(error: BaseException) -> bool:
    """Whether the system does not let us write where we wanted to."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def _only_unreadable(path: str) -> bool:
    place = Path(path)
    try:
        return place.exists() and not os.access(place, os.R_OK)
    except OSError:
        # Not even that can be asked: a folder on the way is closed.
        return True


def _refused(error: OSError) -> str:
    return "the file system is read-only and" if error.errno == errno.EROFS else "it"


def _path(error: OSError) -> str | None:
    name = error.filename
    if name is None or isinstance(name, int):
        return None
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)

"""Names and paths that are safe on every platform: the check every path from a file, an archive or a feed goes through.

Purely lexical; following the file system without leaving the root is the storage's work. Light: standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from schemas.errors import HeadwaterError
from schemas.findings import Severity, rule

for _name, _title in {
    "path-empty": "A path has at least one character.",
    "path-absolute": "Paths are relative: no leading '/', no drive, no share, no '~'.",
    "path-outside": "Paths go down from the root: no '.', '..', '//' or final '/'.",
    "path-backslash": "Folders are separated by '/'.",
    "path-separator": "A name holds no folder separator.",
    "path-control": "Names hold no control characters and no marks that change the direction of writing.",
    "path-encoding": "Names are valid Unicode.",
    "path-reserved-character": "Names hold none of the characters Windows cannot store.",
    "path-trailing": "Names do not begin with a space or end in a space or a dot.",
    "path-device-name": "Names are not those of Windows devices.",
    "path-reserved-name": "Names are not those git and Headwater keep for themselves.",
    "path-not-nfc": "Names are in Unicode normal form C.",
    "path-too-long": "Names have at most 200 bytes, paths at most 1024.",
}.items():
    rule(_name, Severity.ERROR, _title)

NAME_BYTES = 200
"""The longest name of one file or folder, in UTF-8 bytes: file systems stop at 255, and temporary names add to it."""

PATH_BYTES = 1024
"""The longest path relative to the root, in UTF-8 bytes."""

DEVICE_NAMES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"]
)
"""Names Windows reserves, with any extension and in any case (Microsoft, *Naming Files, Paths, and Namespaces*)."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RESERVED = re.compile(r'[<>:"|?*]')


def check_path(path: str, *, portable: bool = True) -> str:
    """Returns `path` unchanged when it is relative, stays inside the root by its spelling, and can exist on every platform.

    `portable=False` checks only what safety needs (for reading what already lies on a disk); the default also refuses names
    that Windows or macOS cannot hold or would change.

    Raises HeadwaterError with rule `path-empty`, `path-absolute`, `path-outside`, `path-control`, `path-encoding`,
    `path-backslash`, `path-too-long`, or one of the rules of `check_name`.
    """
    if not path:
        raise _refuse("path-empty", path, "the path is empty", "give the path relative to the root")
    if _SURROGATE.search(path):
        raise _refuse("path-encoding", path, "the path is not valid Unicode", "rename the file to a name in UTF-8")
    if _CONTROL.search(path):
        raise _refuse("path-control", path, "the path holds a control character", "rename it without control characters")
    if path.startswith(("/", "\\\\", "~/")) or re.match(r"[A-Za-z]:", path) or path == "~":
        raise _refuse("path-absolute", path, "the path is absolute", "give it relative to the root")
    if "\\" in path:
        raise _refuse("path-backslash", path, "the path holds a backslash", "separate folders with '/'")
    parts = path.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise _refuse(
                "path-outside",
                path,
                f"the path has the part {part!r}",
                "write it from the root down, without '.', '..', '//' or a final '/'",
            )
        if portable:
            check_name(part, path=path)
    if portable and len(path.encode("utf-8")) > PATH_BYTES:
        raise _refuse("path-too-long", path, f"the path has more than {PATH_BYTES} bytes", "use shorter names or fewer folders")
    return path


def is_usable(path: str) -> bool:
    """Whether a path that lies on a disk can be opened and named in records (`check_path` without portability). Quick."""
    if path.isprintable() and "\\" not in path:
        return True
    try:
        check_path(path, portable=False)
    except HeadwaterError:
        return False
    return True


def escaped(path: str) -> str:
    """`path` for a message or a finding, whatever bytes it holds: what cannot be printed is written as escapes."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in path)


def check_name(name: str, *, path: str | None = None) -> str:
    """Returns `name` when every platform can hold it as one file or folder name; `path` is what the error shows.

    Raises HeadwaterError with rule `path-empty`, `path-outside`, `path-encoding`, `path-control`, `path-separator`,
    `path-reserved-character`, `path-trailing`, `path-device-name`, `path-reserved-name`, `path-not-nfc` or `path-too-long`.
    """
    shown = name if path is None else path
    refused = _name_problem(name)
    if refused is not None:
        broken, message, fix = refused
        raise _refuse(broken, shown, message, fix)
    return name


def is_portable_name(name: str) -> bool:
    """Whether every platform can hold `name` as one file or folder name."""
    return _name_problem(name) is None


def fold(path: str) -> str:
    """The form under which two paths are the same file on some platform: compatibility-composed, case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())


def collisions(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of different paths that some platform takes for one, each group sorted, the groups sorted.

    Folders count: `A/x` and `a/y` collide as (`A`, `a`). Paths deeper below a colliding folder are not listed again.
    """
    seen: dict[str, dict[str, set[str]]] = {}
    for path in paths:
        parent = ""
        for part in path.split("/"):
            folded = fold(part)
            seen.setdefault(parent + "/" + folded, {}).setdefault(parent, set()).add(part)
            parent += "/" + part
    groups = set()
    for spellings in seen.values():
        for parent, parts in spellings.items():
            if len(parts) > 1:
                groups.add(tuple(sorted(f"{parent}/{part}"[1:] for part in parts)))
    return sorted(groups)


def _name_problem(name: str) -> tuple[str, str, str] | None:
    """The rule a name breaks, the message and the fix; None when it is portable."""
    plain = "rename it"
    if not name:
        return "path-empty", "the name is empty", "give a name"
    if _SURROGATE.search(name):
        return "path-encoding", "the name is not valid Unicode", "rename the file to a name in UTF-8"
    if name in (".", ".."):
        return "path-outside", f"{name!r} is not a name", plain
    if _CONTROL.search(name) or _BIDI.search(name):
        return "path-control", "the name holds a control character", "rename it without control characters"
    if "/" in name or "\\" in name:
        return "path-separator", "the name holds a folder separator", "use a name without '/' and '\\'"
    if character := _RESERVED.search(name):
        return "path-reserved-character", f"the name holds {character[0]!r}, which Windows cannot store", plain
    if name[-1] in ". " or name[0] == " ":
        return "path-trailing", "the name begins with a space or ends in a space or a dot", plain
    if name.split(".")[0].rstrip(" ").lower() in DEVICE_NAMES:
        return "path-device-name", f"{name!r} is a device name on Windows", plain
    if fold(name) in (".git", "git~1", ".headwater"):
        return "path-reserved-name", f"{name!r} is reserved", "use another name"
    if unicodedata.normalize("NFC", name) != name:
        return "path-not-nfc", "the name is not in Unicode normal form C", f"rename it to {unicodedata.normalize('NFC', name)!r}"
    if len(name.encode("utf-8")) > NAME_BYTES:
        return "path-too-long", f"the name has more than {NAME_BYTES} bytes", "shorten it"
    return None


def _refuse(broken: str, path: str, message: str, fix: str) -> HeadwaterError:
    shown = path if len(path) <= 120 else path[:119] + "…"
    return HeadwaterError(f"{message}: {shown!a}" if not shown.isprintable() else f"{message}: {shown!r}", rule=broken, fix=fix)

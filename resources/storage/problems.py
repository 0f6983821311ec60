"""The errors every storage raises, each with one wording. Light: standard library only."""

from __future__ import annotations

from schemas.errors import Conflict, HeadwaterError


def conflict(path: str, what: str = "it was changed") -> Conflict:
    """A compare-and-swap that lost."""
    return Conflict(
        f"not written, because {what} since it was read",
        rule="write-conflict",
        path=path,
        fix="run the command again on the new text",
    )


def symlink_error(path: str) -> HeadwaterError:
    """A symbolic link lies on the way to `path`."""
    return HeadwaterError(
        f"{path!r} is, or lies behind, a symbolic link, and links are not followed",
        rule="path-symlink",
        path=path,
        fix="replace the link by the file or folder itself",
    )


def not_regular(path: str) -> HeadwaterError:
    """A folder, pipe, socket or device lies at `path`."""
    return HeadwaterError(
        f"{path!r} is not a regular file",
        rule="path-not-a-file",
        path=path,
        fix="move the folder, pipe or device out of the way",
    )


def too_large(path: str, limit: int) -> HeadwaterError:
    """The file is larger than its reader allows."""
    return HeadwaterError(
        f"the file is larger than the {limit:,} bytes this format allows",
        rule="file-too-large",
        path=path,
        fix="split the file, or move bulk data into a format made for it",
    )


def oid_mismatch(path: str, oid: str) -> HeadwaterError:
    """Bytes are not the ones their oid names."""
    return HeadwaterError(
        f"the bytes for {path} are not those of {oid}", rule="oid-mismatch", path=path, fix="fetch or build them again"
    )

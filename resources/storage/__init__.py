"""Storage: the same calls over a local folder, an S3 bucket, or memory.

`open_storage` picks the implementation and loads it only then. Light: standard library only.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from resources.storage.base import Storage
from resources.storage.sharing import Sharing
from schemas.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

SCHEMES = ("file", "s3", "memory")
"""The URL schemes a workspace, remote or build cache may have."""


def is_url(root: str) -> bool:
    """Whether `root` is a URL rather than a local path."""
    return _URL.match(root) is not None


def open_storage(root: str | Path, *, state: Path | None = None, sharing: Sharing | None = None) -> Storage:
    """The storage at a local path or URL (`file://`, `s3://bucket/prefix`, `memory://name`).

    `sharing` says the mode and group of what a local one creates; object stores have neither.

    `state` is a local folder for the storage's locks and intent records; without it a local storage uses its own
    `.headwater/`, a remote one the user's cache folder. Credentials come from the environment or the provider's own
    configuration, never from the URL. Raises UsageError for a URL with credentials in it or of another scheme.
    """
    if isinstance(root, Path) or not is_url(root):
        from resources.storage.local import LocalStorage

        return LocalStorage(root, state=state, sharing=sharing)
    parts = check_url(root)
    if parts.scheme == "file":
        from resources.storage.local import LocalStorage

        return LocalStorage(Path(unquote(parts.path)), state=state, sharing=sharing)
    from resources.storage.remote import FsspecStorage

    return FsspecStorage(root, state=state)


def check_url(root: str, given_by: str = "") -> SplitResult:
    """The parts of a URL that `open_storage` can open; nothing is opened. `given_by` says where it stands, for the message,
    in which the URL itself never appears. Raises UsageError as `open_storage` does."""
    lead = f"{given_by}: " if given_by else ""
    try:
        parts = urlsplit(root)
    except ValueError as error:
        raise UsageError(f"{lead}the URL is malformed", rule="url-malformed", fix="write s3://bucket/prefix") from error
    shown = f"{lead}{parts.scheme}://…"
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown} holds credentials",
            rule="url-credentials",
            fix="take them out and set AWS_PROFILE or AWS_ACCESS_KEY_ID instead",
        )
    if parts.query or parts.fragment:
        raise UsageError(f"{shown} has a query or fragment", rule="url-malformed", fix="write s3://bucket/prefix")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise UsageError(f"{shown} names another machine", rule="url-malformed", fix="write file:///absolute/path")
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{lead}{parts.scheme}:// is not supported", rule="url-scheme", fix=f"use one of {', '.join(SCHEMES)}")
    return parts

"""What lies at a URL: one file of a web server, an object or a prefix of a bucket, a file or a folder of this machine.

Listed only; nothing is fetched, and nothing is tidied up or left behind where the files lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from resources.dvs.fetching import Limits, check_url, shown_url
from resources.dvs.ignore import Ignored
from resources.dvs.incoming import under
from resources.dvs.repo import CLONE
from resources.dvs.working import NEVER_ENTERED
from resources.storage.leftovers import is_leftover
from schemas.errors import HeadwaterError, UsageError
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to bring: `url` is what is recorded (None for a path of this machine), `open` gives its bytes unless it is fetched
    from a web server, `version` is the ETag of a bucket, `local` where the file lies on this machine."""

    path: str
    url: str | None
    size: int | None = None
    version: str | None = None
    open: Callable[[], BinaryIO] | None = None
    local: Path | None = None


def name_of(url: str) -> str:
    """What a file is called that gets no other name: the last part of its URL or path. Raises UsageError."""
    path = urlsplit(url).path if "://" in url else url
    name = unquote(path.rstrip("/").rpartition("/")[2])
    try:
        return check_path(name)
    except HeadwaterError as error:
        raise UsageError(
            f"{name!r} cannot be the name of a file here", rule="usage", fix="say how it shall be called, behind the URL"
        ) from error


def listed(url: str, path: str, limits: Limits, repo: DvsRepo) -> Iterator[Wanted]:
    """The files at a URL: one at a web server, any number in a bucket or at a path."""
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in ("", "file"):
        found = _on_disk(Path(url if scheme == "" else unquote(urlsplit(url).path)).expanduser(), path)
    elif scheme in ("s3", "memory"):
        found = _in_bucket(url, path, repo.local / "source")
    else:
        check_url(url, limits)
        yield Wanted(path, url)
        return
    ignored = Ignored(repo)
    any_file = False
    for one in found:
        if one.path != path and ignored.own(one.path.rpartition("/")[2]):
            continue  # text of another repository
        any_file = True
        if (one.size or 0) > limits.max_bytes:
            raise too_large(one.path, limits)
        yield one
    if not any_file:
        raise HeadwaterError(
            "there is no such file or folder", rule="dvs-file-not-found", path=shown(url), fix="check the spelling"
        )


def _on_disk(full: Path, path: str) -> Iterator[Wanted]:
    """A file of this machine, or those below a folder. Links in it are not followed, and nothing is tidied up there."""
    full = Path(os.path.realpath(full))
    if full.is_file():
        yield Wanted(path, None, full.stat().st_size, None, partial(_open, full), full)
        return
    for above, folders, names in os.walk(full, onerror=_raise):
        folders[:] = sorted(name for name in folders if name not in NEVER_ENTERED and name != CLONE)
        for name in sorted(names):
            file = Path(above) / name
            if not is_leftover(name) and not file.is_symlink() and file.is_file():
                target = under(path, file.relative_to(full).as_posix())
                yield Wanted(target, None, file.stat().st_size, None, partial(_open, file), file)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _raise(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _in_bucket(url: str, path: str, state: Path) -> Iterator[Wanted]:
    """An object of a bucket, or those below a prefix. `state` is for what reading leaves."""
    from resources.storage import open_storage

    above, _, name = url.rstrip("/").rpartition("/")
    if not urlsplit(url).path.strip("/"):
        above, name = url, ""
    storage = open_storage(above, state=state)
    stat = storage.stat(name) if name and not url.endswith("/") else None
    if stat is not None:
        yield Wanted(path, url, stat.size, stat.version, partial(storage.open, name))
        return
    for one in storage.scan(name):
        inside = one.path[len(name) + 1 :] if name else one.path
        yield Wanted(under(path, inside), f"{url.rstrip('/')}/{inside}", one.size, one.version, partial(storage.open, one.path))


def shown(url: str) -> str:
    """A URL or a path as others may see it: without query, without the folders of this machine."""
    return shown_url(url) if "://" in url else Path(url).name


def too_large(path: str, limits: Limits) -> HeadwaterError:
    """A file of more bytes than allowed."""
    return HeadwaterError(
        f"it has more than {limits.max_bytes:,} bytes",
        rule="file-too-large",
        path=path,
        fix="allow more with --max-size, if it is what you want",
    )

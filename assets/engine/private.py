"""Private outputs: what a command needs to read of an artifact whose own place cannot be written to.

They lie in the user's cache folder under the fingerprint they were built for, so that a read-only checkout is indexed once and
not by every command; nothing records them and nobody else reads them.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from assets.engine.build import Builder
from assets.engine.model import Ref
from assets.engine.scratch import scratch_path
from resources.config import cache_folder
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

KEPT = 8
"""How many private builds stay, the last used ones."""


def private_outputs(builder: Builder, ref: Ref) -> list[Path]:
    """Local paths of the artifact's outputs for its inputs as they are now, in the order its recipe declares them.

    Raises HeadwaterError when an input is not known, OSError when there is no room, and what its body raises.
    """
    standing = builder.observer.standing(ref)
    if standing.fingerprint is None:
        raise HeadwaterError(standing.trouble or "its inputs are not known", rule="upstream-missing", fix="build its inputs")
    names = [output.path for output in standing.node.recipe.outputs]
    digits = parse_oid(standing.fingerprint)[1]
    base = private_folder()
    finished = base / digits
    if not all((finished / name).exists() for name in names):
        scratch = scratch_path(base, "new")
        scratch.mkdir()
        try:
            builder.maker.run(standing, lambda _ref, _phase, _fraction: None, scratch)
            shutil.rmtree(finished, ignore_errors=True)
            with suppress(OSError):  # another process was first, with the same
                (scratch / "outputs").rename(finished)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _prune(base, finished)
    with suppress(OSError):
        os.utime(finished)
    return [finished / name for name in names]


def private_folder() -> Path:
    """The folder for private builds: in the user's cache, or in one that goes with this process where that cannot be written."""
    chosen = cache_folder() / "private"
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError:
        writable = False
    else:
        writable = os.access(chosen, os.W_OK | os.X_OK)
    return chosen if writable else _own_folder()


_own: list[Path] = []


def _own_folder() -> Path:
    import atexit
    import tempfile

    if not _own:
        _own.append(Path(tempfile.mkdtemp(prefix="headwater-")))
        atexit.register(shutil.rmtree, _own[0], ignore_errors=True)
    return _own[0]


def _prune(base: Path, newest: Path) -> None:
    """Delete the builds used longest ago."""
    with suppress(OSError):
        built = sorted(
            (entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(base) if entry.is_dir() and "." not in entry.name
        )
        for _, path in built[:-KEPT]:
            if path != str(newest):
                shutil.rmtree(path, ignore_errors=True)

"""Writing the file that a user named for a command's output: whole or not at all, and never over another by accident.

Files of a workspace are written through its storage; these lie anywhere. Light.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from schemas.errors import Refused, UsageError


@contextmanager
def new_file(target: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A stream whose bytes are `target` once the block has ended well; until then, and after an error, it is as it was.

    Raises Refused (rule `output-exists`) when something is there and `force` is not given, UsageError (rule `output-folder`) when
    its folder does not exist.
    """
    if os.path.lexists(target) and not force:
        raise Refused("is there already", rule="output-exists", path=str(target), fix="name another file, or pass --force")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", rule="output-folder", fix="make it first, or name another file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

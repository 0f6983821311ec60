"""What DuckDB says when a file cannot be written, turned into an error for people.

DuckDB reports a full disk as one of several kinds of exception and with the absolute path of a scratch file, and when it closes a
file it says nothing at all and leaves its log beside it: whoever writes one checkpoints first. Light until something failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import HeadwaterError

_CAUSE = re.compile("No space left on device|Disk quota exceeded|Read-only file system|File too large|Input/output error")


@contextmanager
def saying_what_failed() -> Iterator[None]:
    """Raise HeadwaterError (rule `duckdb-cannot-write`) in place of a DuckDB error that is about the disk; others pass."""
    try:
        yield
    except Exception as problem:
        import duckdb

        cause = _CAUSE.search(str(problem))
        if not isinstance(problem, duckdb.Error) or (cause is None and not isinstance(problem, duckdb.IOException)):
            raise
        raise HeadwaterError(
            f"DuckDB could not write the database: {cause.group() if cause else 'an I/O error'}",
            rule="duckdb-cannot-write",
            fix="see whether the disk is full or the folder read-only, then build again",
        ) from problem

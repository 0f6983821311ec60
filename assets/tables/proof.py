"""Proving quickly that the rows of a project have nothing to be found in them, so that the strict tier need not read them.

A proof is for large files: the fast tier reads the cells, a SQLite database that is thrown away verifies what holds across rows,
and what a person would only be told about (a formula, text that is not NFC, a byte-order mark) ends the proof, because only the
strict tier knows the places.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw
import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import sqlite
from assets.tables.columns import OutOfOrder
from assets.tables.grammar import Doubt
from assets.tables.load import TableText
from resources.storage.base import Storage
from schemas.errors import HeadwaterError
from schemas.tables.model import Project

WORTH_PROVING = 4 << 20
"""Bytes of text in all from which on two fast passes beat a strict one that finds nothing."""

_FORMULA = r"\A[=+\-@\t\r]"


def nothing_to_find(storage: Storage, project: Project, files: Mapping[str, str]) -> bool:
    """Whether the rows surely have no finding of any severity; False says nothing. `files` are storage paths by table."""
    sizes = {name: stat.size if (stat := storage.stat(path)) is not None else 0 for name, path in files.items()}
    if sum(sizes.values()) < WORTH_PROVING:
        return False
    with tempfile.TemporaryDirectory(prefix="headwater-proof-") as folder:
        texts: dict[str, TableText] = {}
        staging = Path(folder) / "proof.db"
        try:
            for number, (name, table) in enumerate(project.tables.items()):
                local = None
                if name in files:
                    # A copy, through the storage: it follows no link out of the workspace, and stays as it is while it is read.
                    local = Path(folder) / f"{number}.csv"
                    storage.fetch(files[name], local)
                texts[name] = SilentText(project, table, local, files.get(name, table.data_file))
            if not all(_plain_ends(text.path) for text in texts.values()):
                return False
            sqlite.verify(staging, sqlite.load(staging, project, texts))
        except (Doubt, HeadwaterError, apsw.Error, OutOfOrder, OSError):
            return False
        return True


def _plain_ends(path: Path | None) -> bool:
    """Whether a file begins without a byte-order mark and ends in a line feed."""
    if path is None:
        return True
    with open(path, "rb") as file:
        head = file.read(3)
        file.seek(-1, 2)
        return head != b"\xef\xbb\xbf" and file.read(1) == b"\n"


@dataclass(frozen=True)
class SilentText(TableText):
    """A table whose rows are only handed out as long as the strict tier would say nothing about them. Raises Doubt."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self.fast_batches():
            for field, array in zip(self.fields, batch.columns, strict=True):
                if field.type.base in {"text", "enum"} and not _silent(array):
                    raise Doubt(f"something is to be said about {field.name}")
            yield batch


def _silent(array: pa.Array) -> bool:
    if pc.any(pc.match_substring_regex(array, _FORMULA)).as_py():
        return False
    if pc.all(pc.string_is_ascii(array), min_count=0).as_py() is not False:
        return True
    return pc.all(pc.equal(array, pc.utf8_normalize(array, "NFC")), min_count=0).as_py() is not False

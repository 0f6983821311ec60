"""Rows of notes into the tables of the index, many at a time, and out of them again."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from assets.notes.rows import NoteRows, Row, finding_row
from schemas.findings import Finding

CHILDREN = {"tags": 6, "aliases": 2, "sources": 5, "headings": 7, "blocks": 3, "mentions": 14}
"""The tables with rows of a note, and how many columns after `note` come from the note itself."""

_READ_COLUMNS = (
    "(note, position, kind, type, target, anchor, label, property, line, col, start, stop, target_start, target_stop, key)"
)
"""The columns of a mention that come from the note itself; the others say where it leads."""

_BATCH = 2_000
_BATCH_BYTES = 16 << 20
_NO_DIGEST = b""


class Writer:
    """Collects the rows of notes and writes them table by table; `flush` when done."""

    def __init__(self, connection: apsw.Connection, names: str = "names") -> None:
        self._connection = connection
        self._pending: dict[str, list[Row]] = {}
        self._names = names
        self._size = 0

    def add(self, number: int, rows: NoteRows) -> None:
        """Take the rows of one note, under its number."""
        pending = self._pending
        pending.setdefault("notes", []).append((number, *rows.note, rows.local, _NO_DIGEST))
        for table, children in zip(CHILDREN, rows[1:7], strict=True):
            if children:
                pending.setdefault(table, []).extend([(number, *row) for row in children])
        pending.setdefault(self._names, []).extend([(key, number, form, name) for key, form, name in rows.names])
        if rows.findings:
            pending.setdefault("findings", []).extend([(rows.path, *row, 0) for row in rows.findings])
        pending.setdefault("notes_text", []).append((number, *rows.text))
        self._size += rows.size
        if len(pending["notes"]) >= _BATCH or self._size >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        for table, rows in self._pending.items():
            columns = ""
            if table == "mentions":
                columns = _READ_COLUMNS
            marks = ", ".join("?" * len(rows[0]))
            self._connection.executemany(f"INSERT INTO {table} {columns} VALUES ({marks})", rows)
        self._pending.clear()
        self._size = 0


def write_settings_findings(connection: apsw.Connection, findings: Iterable[Finding]) -> None:
    """Write what is wrong with the store's settings."""
    connection.executemany(
        "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        [(finding.path, *finding_row(finding)) for finding in sorted(findings)],
    )

"""Three-way merge of one table's CSV text by primary key, and the text that `git diff` shows of it.

Bytes in, bytes out: which columns are the key comes from the caller. Columns are merged first (added or dropped on one side),
then rows, then the cells of a row that both sides changed. What cannot be merged is written with git's markers around the
two versions of that one row, and every other row keeps its bytes. Foreign keys are not looked at: `headwater check` does that
after the merge, on all files at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from resources.tables.records import BOM, Cells, SortKey, parse_record, split_records, write_record
from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged file and the keys of the rows that conflict."""

    data: bytes
    conflicts: tuple[Cells, ...] = ()


class NotMergeable(HeadwaterError):
    """The files cannot be merged by rows (a side is no CSV text, lacks a key column, or has a key twice)."""


@dataclass(slots=True)
class _Side:
    """One version of the file: its columns, and by key the place, the bytes and the cells of each row."""

    columns: list[str]
    keys: list[Cells]
    records: dict[Cells, bytes]
    null: str

    @classmethod
    def read(cls, data: bytes, key: Sequence[str], null: str, label: str) -> _Side:
        try:
            records = split_records(data, label)
            header = [cell or "" for cell in parse_record(records[0], null="\0")] if records else list(key)
            places = [header.index(name) for name in key]
            cells = [parse_record(record, null) for record in records[1:]]
        except (HeadwaterError, UnicodeDecodeError, ValueError) as error:
            raise NotMergeable(f"{label} cannot be read by rows: {error}", rule="merge-rows", path=label) from None
        if any(len(row) != len(header) for row in cells):
            raise NotMergeable(f"{label} has a row with too few or too many cells", rule="merge-rows", path=label)
        keys = [tuple(row[place] for place in places) for row in cells]
        side = cls(header, keys, dict(zip(keys, records[1:], strict=True)), null)
        if len(side.records) != len(keys):
            raise NotMergeable(f"{label} has two rows with one key", rule="merge-rows", path=label)
        return side

    def row(self, key: Cells) -> dict[str, str | None] | None:
        record = self.records.get(key)
        return None if record is None else dict(zip(self.columns, parse_record(record, self.null), strict=True))


def merge(
    base: bytes,
    ours: bytes,
    theirs: bytes,
    key: Sequence[str],
    *,
    sort_key: SortKey,
    null: str = "",
    labels: tuple[str, str] = ("ours", "theirs"),
    marker_size: int = 7,
) -> Merged:
    """Merge the changes from `base` to `theirs` into `ours`.

    `base` may be empty (the file is new on both sides). New rows of theirs go to their place when our file is sorted by key,
    else to the end. Raises NotMergeable when the sides cannot be read by rows.
    """
    left = _Side.read(ours, key, null, labels[0])
    right = _Side.read(theirs, key, null, labels[1])
    origin = _Side.read(base, key, null, "base") if base else _Side([], [], {}, null)
    columns = _merge_columns(origin.columns, left.columns, right.columns)
    end = b"\r\n" if ours.split(b"\n", 1)[0].endswith(b"\r") else b"\n"
    rows: list[tuple[Cells, bytes]] = []
    conflicts: list[Cells] = []
    added: list[tuple[Cells, bytes]] = []

    def conflict(row: Cells, mine: dict[str, str | None] | None, their: dict[str, str | None] | None) -> bytes:
        conflicts.append(row)
        parts = [b"<" * marker_size + b" " + labels[0].encode() + end]
        parts += [_write(mine, columns, null) + end] if mine is not None else []
        parts += [b"=" * marker_size + end]
        parts += [_write(their, columns, null) + end] if their is not None else []
        return b"".join([*parts, b">" * marker_size + b" " + labels[1].encode() + end])

    for row in [*left.keys, *(one for one in right.keys if one not in left.records)]:
        target = rows if row in left.records else added
        if columns == left.columns and (left.records.get(row) == right.records.get(row) or _same(origin, right, row)):
            if row in left.records:
                rows.append((row, left.records[row].removesuffix(b"\r") + end))
            continue
        if row not in left.records and _same(origin, right, row):
            continue
        made, clash = _merge_row(origin.row(row), left.row(row), right.row(row), columns)
        if clash:
            target.append((row, conflict(row, left.row(row), right.row(row))))
        elif made is not None:
            target.append((row, _write(made, columns, null) + end))
    body = _place(rows, added, sort_key)
    prefix = BOM if ours.startswith(BOM) else b""
    return Merged(prefix + write_record(columns) + end + b"".join(body), tuple(conflicts))


def _same(origin: _Side, side: _Side, row: Cells) -> bool:
    """Whether `side` left the row as it was (by value when the bytes or the columns differ)."""
    if origin.columns == side.columns and origin.records.get(row) == side.records.get(row):
        return True
    return origin.row(row) == side.row(row)


def _merge_columns(base: list[str], ours: list[str], theirs: list[str]) -> list[str]:
    """Our columns without those they dropped, and with those they added, after the column they stand behind."""
    columns = [name for name in ours if name in theirs or name not in base]
    for place, name in enumerate(theirs):
        if name not in columns and name not in base:
            before = [other for other in theirs[:place] if other in columns]
            columns.insert(columns.index(before[-1]) + 1 if before else 0, name)
    return columns


def _merge_row(
    base: dict[str, str | None] | None,
    ours: dict[str, str | None] | None,
    theirs: dict[str, str | None] | None,
    columns: list[str],
) -> tuple[dict[str, str | None] | None, bool]:
    """The merged row (None: deleted) and whether it conflicts."""
    if theirs is None or ours is None:
        present = ours if theirs is None else theirs
        if present is None:
            return None, False
        if base is None:
            return present, False
        touched = any(name in base and present.get(name) != base[name] for name in columns)
        return (None, False) if not touched else (present, True)
    merged: dict[str, str | None] = {}
    for name in columns:
        mine, their, was = ours.get(name), theirs.get(name), (base or {}).get(name)
        if name not in ours or name not in theirs:
            merged[name] = their if name not in ours else mine
        elif mine == their or (base is not None and their == was):
            merged[name] = mine
        elif base is not None and mine == was:
            merged[name] = their
        else:
            return None, True
    return merged, False


def _write(row: dict[str, str | None] | None, columns: list[str], null: str) -> bytes:
    return write_record(((row or {}).get(name) for name in columns), null)


def _place(rows: list[tuple[Cells, bytes]], added: list[tuple[Cells, bytes]], sort_key: SortKey) -> list[bytes]:
    order = [sort_key(key) for key, _ in rows]
    body = [record for _, record in rows]
    if any(left > right for left, right in pairwise(order)):
        return body + [record for _, record in added]
    for key, record in added:
        value = sort_key(key)
        place = bisect_left(order, value)
        order.insert(place, value)
        body.insert(place, record)
    return body


def as_text(data: bytes) -> str:
    """What `git diff` compares instead of the CSV text: a heading per row, a line per cell, so that a change shows its column.

    A row is named by its first cell. Text that cannot be read by rows is returned as it is.
    """
    try:
        records = split_records(data)
        header = [cell or "" for cell in parse_record(records[0], null="\0")] if records else []
        lines: list[str] = []
        for record in records[1:]:
            cells = parse_record(record)
            if len(cells) != len(header):
                raise NotMergeable("ragged", rule="merge-rows")
            lines.append(f"[{header[0]} = {_shown(cells[0])}]")
            lines += [f"  {name} = {_shown(cell)}" for name, cell in zip(header, cells, strict=True)]
    except (HeadwaterError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")
    return "".join(line + "\n" for line in [", ".join(header), *lines])


def _shown(cell: str | None) -> str:
    if cell is None:
        return "NULL"
    if cell == "" or cell == "NULL" or cell != cell.strip() or not cell.isprintable():
        return '"' + "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cell) + '"'
    return cell

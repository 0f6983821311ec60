"""CSV text as records of bytes: splitting, reading and writing one record, finding the records in which two files differ, and
applying row changes so that only the lines of changed rows change.

For text that has passed, or will pass, the strict check of `schemas.tables.strict`: here a file is taken apart quickly, not
judged cell by cell (splitting a million records takes 0.3 s; a reader that knows every position, 6 s). Types and keys come
from the caller.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

from schemas.errors import HeadwaterError

Cells = tuple[str | None, ...]
"""One record: the text of each cell, None for NULL."""

BOM = b"\xef\xbb\xbf"
_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|\Z)')
_NEEDS_QUOTES = re.compile(r'[",\r\n]')


def malformed(path: str, line: int | None = None) -> HeadwaterError:
    """The error for text that is not even CSV."""
    return HeadwaterError(
        "a quote is opened or closed where it cannot be",
        rule="csv-quote",
        path=path,
        line=line,
        fix="run `headwater tables check` for the exact place",
    )


def split_records(data: bytes, path: str = "") -> list[bytes]:
    """The records of CSV text, header first, each without its line feed (a CR before it stays); a BOM is taken off.

    Raises HeadwaterError for a quote that is never closed.
    """
    if data.startswith(BOM):
        data = data[len(BOM) :]
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if b'"' not in data:
        return lines
    odd = [index for index, line in enumerate(lines) if line.count(b'"') & 1]
    if not odd:
        return lines
    if len(odd) % 2:
        raise malformed(path, odd[-1] + 1)
    records: list[bytes] = []
    at = 0
    for first, last in zip(odd[::2], odd[1::2], strict=True):
        records.extend(lines[at:first])
        records.append(b"\n".join(lines[first : last + 1]))
        at = last + 1
    records.extend(lines[at:])
    return records


def parse_record(record: bytes, null: str = "") -> Cells:
    """The cells of one record; an unquoted cell that is `null` is NULL.

    Raises HeadwaterError for text around quotes, UnicodeDecodeError for bytes that are not UTF-8.
    """
    text = record.decode("utf-8")
    if text.endswith("\r"):
        text = text[:-1]
    if '"' not in text:
        return tuple(None if cell == null else cell for cell in text.split(","))
    cells: list[str | None] = []
    at = 0
    while True:
        match = _CELL.match(text, at)
        if match is None:
            raise malformed("")
        if match[1] is not None:
            cells.append(match[1].replace('""', '"'))
        else:
            cells.append(None if match[2] == null else match[2])
        at = match.end()
        if not match[3]:
            return tuple(cells)


def write_record(cells: Iterable[str | None], null: str = "") -> bytes:
    """One record without its line end: NULL as the bare `null` token, quotes only where they are needed."""
    return ",".join(_cell(cell, null) for cell in cells).encode("utf-8")


def _cell(cell: str | None, null: str) -> str:
    if cell is None:
        return null
    if cell == null or not cell or _NEEDS_QUOTES.search(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def changed_records(old: bytes, new: bytes, path: str = "") -> tuple[list[bytes], list[bytes]]:
    """The records that only `old` has and those that only `new` has, headers left out, order within each file kept.

    Equal records are found without parsing: first what the files have in common at both ends, then as multisets, so a moved
    record counts as equal. Raises HeadwaterError for a quote that is never closed.
    """
    start = _common_start(old, new)
    old_rest, new_rest = old[start:], new[start:]
    end = _common_end(old_rest, new_rest)
    old_middle = split_records(old_rest[: len(old_rest) - end], path) if start else split_records(old_rest, path)[1:]
    new_middle = split_records(new_rest[: len(new_rest) - end], path) if start else split_records(new_rest, path)[1:]
    if not start and end:
        old_middle, new_middle = split_records(old, path)[1:], split_records(new, path)[1:]
    only_old, only_new = _out_of_step(old_middle, new_middle)
    return _multiset(only_old, only_new), _multiset(only_new, only_old)


_WINDOW = 64
_RUN = 4096


def _out_of_step(left: Sequence[bytes], right: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """What remains of both after cancelling equal records that stand at the same place, allowing for some that come between.

    Only a quick first pass over files that are nearly equal: what it cannot line up it hands back.
    """
    only_left: list[bytes] = []
    only_right: list[bytes] = []
    i = j = 0
    while i < len(left) and j < len(right):
        run = _RUN
        while run:
            if left[i : i + run] == right[j : j + run]:
                step = len(left[i : i + run])
                if not step:
                    break
                i, j = i + step, j + step
            else:
                run //= 2
        if i >= len(left) or j >= len(right):
            break
        ahead = {record: place for place, record in reversed(list(enumerate(right[j : j + _WINDOW])))}
        for skip, record in enumerate(left[i : i + _WINDOW]):
            if record in ahead:
                only_left.extend(left[i : i + skip])
                only_right.extend(right[j : j + ahead[record]])
                i, j = i + skip, j + ahead[record]
                break
        else:
            break
    only_left.extend(left[i:])
    only_right.extend(right[j:])
    return only_left, only_right


def _multiset(left: Sequence[bytes], right: Sequence[bytes]) -> list[bytes]:
    spare = Counter(right)
    kept = []
    for record in left:
        if spare[record] > 0:
            spare[record] -= 1
        else:
            kept.append(record)
    return kept


_STEP = 1 << 16


def _common_start(left: bytes, right: bytes) -> int:
    """The offset of the first record that may differ: after a line feed, outside quotes; 0 when the headers differ."""
    end = min(len(left), len(right))
    at = 0
    while at < end and left[at : at + _STEP] == right[at : at + _STEP]:
        at = min(at + _STEP, end)
    stop = min(at + _STEP, end)
    while at < stop and left[at] == right[at]:
        at += 1
    return _record_start(left, at)


def _record_start(data: bytes, at: int) -> int:
    """The largest offset up to `at` where a record starts, counting from the start of the file."""
    at = data.rfind(b"\n", 0, at) + 1
    if data.count(b'"', 0, at) & 1:
        # Inside quotes: go back to before the quote that opened them, which is the last one, or one of a doubled pair.
        while at and data.count(b'"', 0, at) & 1:
            at = data.rfind(b"\n", 0, data.rfind(b'"', 0, at)) + 1
    return at


def _common_end(left: bytes, right: bytes) -> int:
    """How many bytes at the end are the same on both sides, from the start of a record on."""
    most = min(len(left), len(right))
    size = 0
    while size < most and _from_end(left, size) == _from_end(right, size):
        size = min(size + _STEP, most)
    stop = min(size + _STEP, most)
    while size < stop and left[len(left) - size - 1] == right[len(right) - size - 1]:
        size += 1
    at = left.find(b"\n", len(left) - size) + 1
    while at and left.count(b'"', at) & 1:
        at = left.find(b"\n", left.find(b'"', at)) + 1
    return len(left) - at if at else 0


def _from_end(data: bytes, size: int) -> bytes:
    """The step of bytes that ends `size` bytes before the end."""
    end = len(data) - size
    return data[max(0, end - _STEP) : end]


@dataclass(frozen=True, slots=True)
class Change:
    """One row that differs: `before` and `after` map column to cell; None where the row does not exist."""

    key: Cells
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None

    @property
    def sign(self) -> str:
        """`+` added, `-` removed, `~` changed."""
        return "+" if self.before is None else "-" if self.after is None else "~"

    def columns(self) -> list[str]:
        """The columns whose cells differ."""
        before, after = self.before or {}, self.after or {}
        return [name for name in {**before, **after} if before.get(name) != after.get(name)]


SortKey = Callable[[Cells], Any]
"""From the text of a key to a value that sorts as the typed key does."""


def apply_changes(
    data: bytes,
    key: Sequence[str],
    changes: Sequence[Change],
    *,
    sort_key: SortKey | None,
    canonical: Callable[[Cells], Cells] | None = None,
    null: str = "",
    path: str = "",
) -> bytes:
    """The file with the `changes` made: every other line keeps its bytes, the file its line end and column order.

    `key` names the key columns (all columns for a table without one). A new row goes to its place when the file is sorted by
    key, else (and without a `sort_key`) to the end. `canonical` makes key cells of different spelling comparable. Raises
    HeadwaterError (rule `csv-row-missing`) when a row to change is not in the file.
    """
    records = split_records(data, path)
    header = parse_record(records[0], null="\0")
    names = [name or "" for name in header]
    places = [names.index(name) for name in key]
    line_end = b"\r\n" if records[0].endswith(b"\r") else b"\n"
    body = records[1:]
    keys = _keys(body, places, len(names), null)
    if canonical is not None:
        keys = [canonical(cells) for cells in keys]
    wanted: dict[Cells, list[int]] = {}
    touched = {change.key for change in changes if change.before is not None}
    for index, cells in enumerate(keys):
        if cells in touched:
            wanted.setdefault(cells, []).append(index)
    tail = line_end[:-1]
    dropped: set[int] = set()
    added: list[tuple[Cells, bytes]] = []
    for change in changes:
        made = b"" if change.after is None else write_record((change.after.get(name) for name in names), null) + tail
        if change.before is None:
            added.append((change.key, made))
            continue
        found = wanted.get(change.key)
        if not found:
            raise HeadwaterError(
                f"there is no row with {', '.join(f'{name}={cell}' for name, cell in zip(key, change.key, strict=True))}",
                rule="csv-row-missing",
                path=path,
                fix="run `headwater tables diff` to see how database and text differ",
            )
        index = found.pop(0)
        if change.after is None:
            dropped.add(index)
        else:
            body[index] = made
    kept = [index for index in range(len(body)) if index not in dropped] if dropped else None
    if kept is not None:
        body = [body[index] for index in kept]
        keys = [keys[index] for index in kept]
    if added:
        body = _insert(body, keys, added, sort_key)
    prefix = BOM if data.startswith(BOM) else b""
    first = records[0] if records[0].endswith(b"\r") or line_end == b"\n" else records[0] + b"\r"
    return prefix + b"\n".join([first, *body]) + b"\n"


def _insert(body: list[bytes], keys: list[Cells], added: list[tuple[Cells, bytes]], sort_key: SortKey | None) -> list[bytes]:
    if sort_key is None:
        return body + [record for _, record in added]
    order = [sort_key(cells) for cells in keys]
    fresh = sorted(((sort_key(cells), record) for cells, record in added), key=itemgetter(0))
    if any(left > right for left, right in pairwise(order)):
        return body + [record for _, record in fresh]
    made: list[bytes] = []
    at = 0
    for value, record in fresh:
        place = bisect_left(order, value, lo=at)
        made.extend(body[at:place])
        made.append(record)
        at = place
    made.extend(body[at:])
    return made


def _keys(body: Sequence[bytes], places: Sequence[int], width: int, null: str) -> list[Cells]:
    """The key cells of every record; the usual case, one unquoted cell at the start, without parsing the rest."""
    if places == [0] and width > 1:
        heads = [record.split(b",", 1)[0] for record in body]
        return [
            parse_record(record, null)[:1] if head[:1] == b'"' else (None if (text := head.decode()) == null else text,)
            for head, record in zip(heads, body, strict=True)
        ]
    return [tuple(cells[place] for place in places) for cells in (parse_record(record, null) for record in body)]

"""What differs between two versions of a project: its schema, and its rows by primary key.

Two texts are compared as bytes first, so that one changed row among a million costs what reading the file costs; two SQLite
files by joins inside SQLite. A text and a database are compared by loading the text into a scratch database. Cells are the
canonical text of their type on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assets.tables.versions import Version
from resources.tables.records import Cells, Change, changed_records, parse_record, split_records
from schemas.tables.model import Project, Table
from schemas.tables.types import BadCell, ColumnType

KEPT = 200
"""Changed rows per table and sign that a comparison keeps for showing; all are counted."""


@dataclass(slots=True)
class TableComparison:
    """One table that differs. `was` is its old name when it was renamed; `state` is `added`, `removed` or `changed`."""

    name: str
    state: str = "changed"
    was: str | None = None
    schema: list[str] = field(default_factory=list)
    """Lines about columns and keys, each beginning with `+`, `-` or `~`."""
    added: int = 0
    removed: int = 0
    changed: int = 0
    key: tuple[str, ...] = ()
    changes: list[Change] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """How many rows differ."""
        return self.added + self.removed + self.changed

    def count(self, changes: Iterable[Change], kept: int = KEPT) -> None:
        """Take in changed rows."""
        for change in changes:
            if change.before is None:
                self.added += 1
            elif change.after is None:
                self.removed += 1
            else:
                self.changed += 1
            self._seen[change.sign] += 1
            if self._seen[change.sign] <= kept:
                self.changes.append(change)

    def summary(self) -> str:
        """One line: the name, and how many rows were added, changed and removed."""
        title = f"{self.name} (was {self.was})" if self.was else self.name
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.state]
        counts = [f"{mark}{number:,}" for mark, number in (("+", self.added), ("~", self.changed), ("-", self.removed)) if number]
        return f"{sign} {title}: " + (f"{' '.join(counts)} {'row' if self.rows == 1 else 'rows'}" if counts else "schema only")

    def lines(self, limit: int) -> list[str]:
        """The schema lines and at most `limit` rows."""
        made = [f"  {line}" for line in self.schema]
        shown = self._sample(limit)
        made += [f"  {describe(self.key, change)}" for change in shown]
        if self.rows > len(shown):
            made.append(f"  … and {self.rows - len(shown):,} more {'row' if self.rows == len(shown) + 1 else 'rows'}")
        return made

    def _sample(self, limit: int) -> list[Change]:
        """At most `limit` changes, of every sign some."""
        if len(self.changes) <= limit:
            return self.changes
        by_sign = [[change for change in self.changes if change.sign == sign] for sign in "~-+"]
        share = {id(change) for changes in by_sign for change in changes[: max(1, limit // 3)]}
        for change in self.changes:
            if len(share) >= limit:
                break
            share.add(id(change))
        return [change for change in self.changes if id(change) in share]

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.name,
            "state": self.state,
            "was": self.was,
            "schema": self.schema,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "key": list(self.key),
            "rows": [
                {"before": change.before and dict(change.before), "after": change.after and dict(change.after)}
                for change in self.changes
            ],
        }


@dataclass(slots=True)
class Comparison:
    """All that differs between two versions, table by table; no table means they are equal."""

    old: str
    new: str
    tables: list[TableComparison] = field(default_factory=list)
    schema: list[str] = field(default_factory=list)
    """Lines about relationships and views."""

    @property
    def equal(self) -> bool:
        return not self.tables and not self.schema

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def lines(self, limit: int = 20) -> list[str]:
        """Everything for people, at most `limit` rows per table."""
        made = list(self.schema)
        for table in self.tables:
            made += [table.summary(), *table.lines(limit)]
        return made

    def to_json(self) -> dict[str, Any]:
        return {
            "old": self.old,
            "new": self.new,
            "equal": self.equal,
            "schema": self.schema,
            "tables": [table.to_json() for table in self.tables],
        }


def show_cell(cell: str | None, limit: int = 60) -> str:
    """A cell for people: NULL, text in quotes where it is empty or could be mistaken, controls escaped, cut to `limit`."""
    if cell is None:
        return "NULL"
    text = cell if len(cell) <= limit else cell[: limit - 1] + "…"
    if text in {"", "NULL"} or text != text.strip() or not text.isprintable() or "," in text or "'" in text:
        return "'" + "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text) + "'"
    return text


def describe(key: Sequence[str], change: Change) -> str:
    """A changed row on one line: `~ id=3: price 10 -> 12`."""
    row = change.after if change.after is not None else change.before or {}
    if change.sign == "~":
        before, after = change.before or {}, change.after or {}
        cells = [f"{name} {show_cell(before.get(name))} -> {show_cell(after.get(name))}" for name in change.columns()[:12]]
        where = ", ".join(f"{name}={show_cell(cell)}" for name, cell in zip(key, change.key, strict=False))
        return f"~ {where}: {', '.join(cells)}"
    shown = [f"{name}={show_cell(cell)}" for name, cell in list(row.items())[:12]]
    return f"{change.sign} {', '.join(shown)}" + (", …" if len(row) > 12 else "")


# -- schema


def schema_lines(old: Table, new: Table) -> list[str]:
    """How the columns and keys of `new` differ from those of `old`; a column with `was:` is a renamed one."""
    lines = []
    for name, column in new.columns.items():
        before = column.was if column.was in old.columns and name not in old.columns else name
        if before not in old.columns:
            lines.append(f"+ column {name} ({column.type})")
            continue
        if before != name:
            lines.append(f"~ column {before} is now {name}")
        left, right = old.columns[before], column
        if left.type != right.type:
            lines.append(f"~ column {name}: {left.type} -> {right.type}")
        for word, one, other in (
            ("nullable", left.is_nullable, right.is_nullable),
            ("unique", left.unique, right.unique),
            ("default", left.default, right.default),
            ("check", left.check, right.check),
            ("enum", left.enum, right.enum),
            ("min", left.min, right.min),
            ("max", left.max, right.max),
            ("min_length", left.min_length, right.min_length),
            ("max_length", left.max_length, right.max_length),
            ("pattern", left.pattern, right.pattern),
            ("generated", left.generated, right.generated),
        ):
            if one != other:
                lines.append(f"~ column {name}: {word} {_value(one)} -> {_value(other)}")
    kept = {column.was if column.was in old.columns and name not in old.columns else name for name, column in new.columns.items()}
    lines += [f"- column {name}" for name in old.columns if name not in kept]
    wholes: list[tuple[str, Any, Any]] = [
        ("primary key", old.primary_key, new.primary_key),
        ("unique sets", old.unique, new.unique),
        ("checks", old.checks, new.checks),
        ("indexes", _plain(old.indexes), _plain(new.indexes)),
    ]
    for word, one, other in wholes:
        if one != other:
            lines.append(f"~ {word}: {_value(one)} -> {_value(other)}")
    return lines


def _plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part.model_dump(by_alias=True, exclude_none=True) for name, part in parts.items()}


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(map(str, value)) + ")"
    return "none" if value is None or value == {} else str(value).lower() if isinstance(value, bool) else str(value)


def _parts(word: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    left, right = _plain(old), _plain(new)
    return (
        [f"- {word} {name}" for name in left if name not in right]
        + [f"+ {word} {name}" for name in right if name not in left]
        + [f"~ {word} {name}" for name in right if name in left and left[name] != right[name]]
    )


def table_names(old: Project, new: Project) -> dict[str, str | None]:
    """Every table of `new` with its name in `old` (None when it is new there); `was:` names a renamed one."""
    made: dict[str, str | None] = {}
    for name, table in new.tables.items():
        made[name] = (
            name if name in old.tables else table.was if table.was in old.tables and table.was not in new.tables else None
        )
    return made


# -- texts


def compare_texts(old: Version, new: Version, *, kept: int = KEPT) -> Comparison:
    """How `new` differs from `old`. Raises InvalidText for a project that cannot be read, HeadwaterError for CSV that cannot."""
    found = Comparison(old.label, new.label)
    left, right = old.project, new.project
    if old.project_data != new.project_data:
        found.schema += _parts("relationship", left.relationships, right.relationships) + _parts("view", left.views, right.views)
    names = table_names(left, right)
    for name, before in names.items():
        table = right.tables[name]
        made = TableComparison(name, key=row_key(table))
        if before is None:
            made.state = "added"
            made.schema = [f"+ column {one} ({column.type})" for one, column in table.columns.items()]
            made.count(text_changes(None, new.table(name), None, table, right, right), kept)
            found.tables.append(made)
            continue
        made.was = before if before != name else None
        made.schema = schema_lines(left.tables[before], table)
        same = old.same_file(left.tables[before].data_file, new, table.data_file)
        if not same or left.tables[before].stored != table.stored or left.format != right.format:
            made.count(text_changes(old.table(before), new.table(name), left.tables[before], table, left, right), kept)
        if made.rows or made.schema or made.was:
            found.tables.append(made)
    for name in left.tables:
        if name not in names.values():
            made = TableComparison(name, "removed", key=row_key(left.tables[name]))
            made.count(text_changes(old.table(name), None, left.tables[name], None, left, left), kept)
            found.tables.append(made)
    return found


def row_key(table: Table) -> tuple[str, ...]:
    """What identifies a row: the primary key, else all stored columns."""
    return tuple(table.primary_key or table.stored)


def text_changes(
    old: bytes | None,
    new: bytes | None,
    old_table: Table | None,
    new_table: Table | None,
    old_project: Project,
    new_project: Project,
) -> Iterator[Change]:
    """The rows that differ between two CSV texts of one table, in the names of the new one's columns.

    Rows are matched by the new table's key; a column that only one side has counts for rows that exist on one side only.
    """
    if old == new and old_table == new_table and old_project.format == new_project.format:
        return
    table = new_table or old_table
    if table is None:
        return
    renamed = _renamed(old_table, new_table) if old_table is not None and new_table is not None else {}
    types = {name: column.column_type for name, column in table.stored.items()}
    key = row_key(table)
    only_old, only_new = _only(old, new, old_table, new_table, renamed)
    left = _Rows(only_old, _columns(old), old_project.format.null_text, renamed, types, key)
    right = _Rows(only_new, _columns(new), new_project.format.null_text, {}, types, key)
    common = [name for name in right.names if name in left.names] if old is not None and new is not None else None
    yield from pair(left.read(), right.read(), common, keyed=bool(table.primary_key))


def _renamed(old: Table, new: Table) -> dict[str, str]:
    """Old column name -> new one."""
    return {column.was: name for name, column in new.columns.items() if column.was in old.columns and name not in old.columns}


def _columns(data: bytes | None) -> list[str]:
    if not data:
        return []
    first = data.split(b"\n", 1)[0] + b"\n"
    head = split_records(first if first.count(b'"') % 2 == 0 else data)
    return [name or "" for name in parse_record(head[0], null="\0")]


def _only(
    old: bytes | None, new: bytes | None, old_table: Table | None, new_table: Table | None, renamed: Mapping[str, str]
) -> tuple[list[bytes], list[bytes]]:
    """The records to look at on each side: those that differ as bytes, or all where the columns do not line up."""
    if old is not None and new is not None and not renamed and _columns(old) == _columns(new):
        return changed_records(old, new, new_table.data_file if new_table else "")
    path = new_table.data_file if new_table else old_table.data_file if old_table else ""
    return [] if old is None else split_records(old, path)[1:], [] if new is None else split_records(new, path)[1:]


@dataclass(slots=True)
class _Rows:
    """Records to be read as rows under the new names of their columns."""

    records: list[bytes]
    columns: list[str]
    null: str
    renamed: Mapping[str, str]
    types: Mapping[str, ColumnType]
    key: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [self.renamed.get(name, name) for name in self.columns]

    def read(self) -> Iterator[tuple[Cells, dict[str, str | None]]]:
        names = self.names
        floats = {name for name, kind in self.types.items() if kind.base == "float"}
        for record in self.records:
            row: dict[str, str | None] = dict(zip(names, parse_record(record, self.null), strict=False))
            for name in floats:
                cell = row.get(name)
                if cell is not None:
                    row[name] = canonical(self.types[name], cell)
            yield tuple(row.get(name) for name in self.key), row


def canonical(kind: ColumnType, cell: str) -> str:
    """The one spelling of a cell; a cell that is not of the type stays as it is."""
    try:
        return kind.format(kind.parse(cell))
    except BadCell:
        return cell


Rows = Iterable[tuple[Cells, dict[str, str | None]]]
"""Rows with their keys."""


def pair(
    old: Rows,
    new: Rows,
    common: Sequence[str] | None,
    *,
    keyed: bool,
) -> Iterator[Change]:
    """Changes from rows of both sides: matched by key, or counted as equal ones where there is no key."""
    if not keyed:
        yield from _pair_unkeyed(old, new)
        return
    before = dict(old)
    fresh: list[Change] = []
    for key, row in new:
        was = before.pop(key, None)
        if was is None:
            fresh.append(Change(key, None, row))
        elif any(was[name] != row[name] for name in common or row):
            yield Change(key, was, row)
    yield from (Change(key, row, None) for key, row in before.items())
    yield from fresh


def _pair_unkeyed(old: Rows, new: Rows) -> Iterator[Change]:
    rows: dict[Cells, dict[str, str | None]] = {}
    counts: Counter[Cells] = Counter()
    for sign, side in ((-1, old), (1, new)):
        for key, row in side:
            rows[key] = row
            counts[key] += sign
    for key, number in counts.items():
        for _ in range(abs(number)):
            yield Change(key, rows[key] if number < 0 else None, rows[key] if number > 0 else None)

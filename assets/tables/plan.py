"""What rebuilding `playground.db` would change: the headline and the rows, before anything is written.

When the file is as the last build left it and the text of that build is still among the objects, text is compared with text,
which finds one changed row among a million in a fraction of a second. Otherwise the text is loaded into a scratch database and
SQLite compares the two. Asking, and binding the answer to this plan, is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.model import Difference
from assets.tables.compare import Comparison, compare_texts
from assets.tables.live import Unreadable, compare_databases, live_tables, opened, scratch_database
from assets.tables.versions import PROJECT_FILE, Version
from resources.tables.records import split_records
from schemas.oid import file_oid
from schemas.sql_quoting import quote

if TYPE_CHECKING:
    from assets.engine.view import Built, View

SHOWN_ROWS = 10
"""Rows per table in the lines of a plan."""
DATABASE = "playground.db"


def preview(view: View, paths: Sequence[Path]) -> Difference:
    """The `preview` of the recipe `playground_db`: what replacing the file at `paths[0]` would change.

    Raises InvalidText when the text cannot be read.
    """
    return plan(version(view), paths[0], built(view), view.fetched)


def version(view: View) -> Version:
    """The text a build would read."""
    roles = {PROJECT_FILE: "project", **{file.path: "data" for file in view.files("data")}}
    oids = {file.path: file.oid for role in ("project", "data") for file in view.files(role)}

    def read(path: str) -> bytes | None:
        return view.read(roles[path], path) if path in roles else None

    return Version("the text", read, tuple(roles), view.workspace_path(""), oids)


def built(view: View) -> tuple[Version, str] | None:
    """The text of the last build and the oid of the file it made, when every byte of that text can still be read."""
    return kept_text(view.built, view.workspace_path(""))


def kept_text(last: Built | None, shown: str) -> tuple[Version, str] | None:
    """As `built`; `shown` is the store's folder with a final `/`."""
    if last is None or DATABASE not in last.outputs:
        return None
    oids = {**last.files.get("project", {}), **last.files.get("data", {})}
    if not all(last.has(oid) for oid in oids.values()):
        return None

    def read(path: str) -> bytes | None:
        return last.read(oids[path]) if path in oids else None

    return Version("the last build", read, tuple(oids), shown, oids), last.outputs[DATABASE]


def is_as_built(path: Path, oid: str) -> bool:
    """Whether the database at `path` still is, byte by byte, the file with this oid, with nothing in a journal beside it."""
    return path.is_file() and not path.is_symlink() and not _has_sidecar(path) and file_oid(path) == oid


def plan(text: Version, path: Path, last: tuple[Version, str] | None = None, scratch: Path | None = None) -> Difference:
    """What replacing the database at `path` by one built from `text` would change.

    `last` is the text of the last build with the oid of its file, `scratch` where a scratch database may be made.
    """
    try:
        with opened(path) as connection:
            counts = {name: connection.execute("SELECT count(*) FROM " + quote(name)).get for name in live_tables(connection)}
    except Unreadable as problem:
        return _without(text, f"{path.name} {problem.message}", unreadable=True)
    if not counts:
        return _without(text, f"{path.name} holds no tables", unreadable=False)
    if last is not None and is_as_built(path, last[1]):
        compared = compare_texts(last[0], text)
        rows = sum(counts.values()) + sum(table.added - table.removed for table in compared.tables)
    else:
        with scratch_database(text, scratch) as fresh:
            compared = compare_databases(path, fresh, text.project, labels=(path.name, text.label))
            with opened(fresh) as connection:
                rows = sum(connection.execute("SELECT count(*) FROM " + quote(name)).get for name in live_tables(connection))
    return difference(text, compared, rows, path.name)


def difference(text: Version, compared: Comparison, rows: int, name: str) -> Difference:
    """The plan as it is shown: headline, lines, and the numbers for programs."""
    lost = sum(table.removed for table in compared.tables)
    tail = f"{lost:,} {'row exists' if lost == 1 else 'rows exist'} only in {name}" if lost else _net(compared, name)
    lines = compared.lines(SHOWN_ROWS)
    if lost:
        lines.append(f"to keep what exists only in {name}, write it to the text first: headwater tables export")
    return Difference(
        f"{_recreated(len(text.project.tables), rows)}; {tail}",
        lines,
        lost,
        {
            "tables": len(text.project.tables),
            "rows": rows,
            "added": sum(table.added for table in compared.tables),
            "changed": sum(table.changed for table in compared.tables),
            "removed": lost,
            "differences": compared.to_json(),
        },
        equal=compared.equal,
    )


def _recreated(tables: int, rows: int) -> str:
    return f"{tables:,} {'table' if tables == 1 else 'tables'}, {rows:,} {'row' if rows == 1 else 'rows'} will be recreated"


def _net(compared: Comparison, name: str) -> str:
    added, changed = (sum(getattr(table, word) for table in compared.tables) for word in ("added", "changed"))
    if compared.equal:
        return f"{name} holds the same rows and columns"
    if not added and not changed:
        return "only the schema differs"
    return " and ".join(f"{number:,} {word}" for number, word in ((added, "new"), (changed, "changed")) if number)


def _without(text: Version, reason: str, *, unreadable: bool) -> Difference:
    tables = list(text.project.tables)
    rows = sum(len(split_records(text.table(name))) - 1 for name in tables)
    return Difference(
        f"{_recreated(len(tables), rows)}; {reason}",
        ["the present file goes to headwater-rescue/ first"] if unreadable else [],
        data={"tables": len(tables), "rows": rows, "unreadable": unreadable},
    )


def _has_sidecar(path: Path) -> bool:
    """Whether a journal beside the file may hold changes that its bytes do not show."""
    return any(
        beside.exists() and beside.stat().st_size
        for beside in (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    )

"""`headwater dvs diff`, `why`: what differs between two states, in files and in rows, and what keeps an object."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.dvs_stores import opened_repo, repo_path, size_text, store_option
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from assets.dvs.diff import RowChange, TableDiff
    from resources.dvs.diff import FileChange, Held, Side
    from resources.dvs.repo import DvsRepo
    from resources.dvs.why import Pointer

SHOWN_FILES: Final = 200
"""Files shown to people before the rest is counted; `--json` prints them all."""
_SHOWN_CELLS: Final = 6
_SHOWN_CELL: Final = 40
_SIGNS: Final = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow"), "moved": (">", "cyan")}
_SCRATCH: Final = "diff-"
_STALE: Final = 86_400.0


@command("diff")
@click.argument("states", nargs=-1, metavar="[STATE] [STATE]")
@click.option("--path", "-p", "paths", multiple=True, metavar="PATH", help="Only this file, folder or glob; repeatable.")
@click.option("--rows", is_flag=True, help="Also compare the rows, columns and missing values of CSV, Parquet and JSON lines.")
@click.option(
    "--key", "-k", "key", multiple=True, metavar="COLUMN", help="What tells rows apart, instead of looking for it; repeatable."
)
@click.option("--samples", type=click.IntRange(0, 1_000), default=5, show_default=True, help="Rows of each kind that are shown.")
@click.option("--exit-code", is_flag=True, help="End with 1 when anything differs.")
@store_option
@pass_app
def diff(
    app: App,
    states: tuple[str, ...],
    paths: tuple[str, ...],
    rows: bool,
    key: tuple[str, ...],
    samples: int,
    exit_code: bool,
    store: str | None,
) -> int:
    """What differs between two states: files added, removed, changed and moved, with their sizes.

    STATE is a position in the log (0 or @{0} is the newest), HEAD, HEAD~1, an id or its beginning, a day, or a git revision
    (`main`, `v1.2`; `git:HEAD` for what the log would take for its own). The second is the working tree when it is left away, the
    first HEAD. Tracked files that are not in the working tree count as recorded.

    \b
    Examples:
      headwater dvs diff
      headwater dvs diff main --rows --path data/plots.csv
      headwater dvs diff @{3} @{0} --json
    """
    from resources.dvs.choose import choose_tracked
    from resources.dvs.diff import differences, side_of
    from resources.dvs.results import not_tracked

    if len(states) > 2:
        raise UsageError("two states can be compared, not more", fix="give --path before each path", rule="usage")
    if key and not rows:
        raise UsageError("--key is for --rows", fix="pass --rows too", rule="usage")
    with opened_repo(app, store) as repo:
        before = side_of(repo, states[0]) if states else _head(repo)
        after = side_of(repo, states[1] if len(states) > 1 else None)
        changes = differences(before.files, after.files)
        if paths:
            known = {*before.files, *after.files}
            chosen, nothing = choose_tracked(known, [repo_path(app, repo, path) for path in paths])
            for path in nothing:
                raise not_tracked(path)
            changes = [change for change in changes if change.path in chosen or change.was in chosen]
        for side in (before, after):
            _warn(app, side)
        failed = _show(app, repo, before, after, changes, rows=rows, key=key, samples=samples)
    return int(failed or (exit_code and bool(changes)))


def _head(repo: DvsRepo) -> Side:
    """The present state of the log; what git's HEAD says in a clone that has no log yet."""
    from resources.dvs.diff import side_of

    return side_of(repo, "HEAD")


def _warn(app: App, side: Side) -> None:
    if side.unread:
        app.note(f"{side.name}: {counted(len(side.unread), 'sidecar')} cannot be read: {', '.join(side.unread[:5])}")
    if side.absent:
        verb = "is" if len(side.absent) == 1 else "are"
        app.note(f"{counted(len(side.absent), 'file')} {verb} not in the working tree and taken as recorded")


def _show(
    app: App,
    repo: DvsRepo,
    before: Side,
    after: Side,
    changes: Sequence[FileChange],
    *,
    rows: bool,
    key: Sequence[str],
    samples: int,
) -> bool:
    """Print every change and the summary; whether the rows of a file could not be compared."""
    from resources.dvs.diff import counts

    failed = False
    with _scratch(repo, wanted=rows) as scratch, app.progress("comparing", len(changes) if rows else None) as bar:
        for number, change in enumerate(changes):
            # DuckDB may swallow what a signal raises.
            app.raise_if_stopped()
            record = change.to_json()
            lines: list[str] = []
            if scratch is not None:
                bar.advance(change.path)
                details, said, bad = _details(app, repo, before, after, change, scratch, key, samples)
                record |= details
                lines = said
                failed = failed or bad
            if app.json:
                app.emit(record)
            elif number < SHOWN_FILES or lines:
                app.say(_line(app, change))
                for line in lines:
                    app.say(f"    {line}")
    if len(changes) > SHOWN_FILES and not rows:
        app.say(app.style(f"… and {counted(len(changes) - SHOWN_FILES, 'more file')}; --json lists them all", "dim"))
    total = counts(changes)
    app.emit({"summary": {**total, "before": before.to_json(), "after": after.to_json()}}, _summary(before, after, total))
    return failed


def _line(app: App, change: FileChange) -> str:
    sign, colour = _SIGNS[change.change]
    where = change.path if change.was is None else f"{change.was} -> {change.path}"
    return f"{app.style(sign, colour)} {where}  {app.style(_sizes(change.before, change.after), 'dim')}"


def _sizes(before: Held | None, after: Held | None) -> str:
    if before is None or after is None or before.oid == after.oid:
        held = after or before
        return size_text(held.size if held else None)
    old, new = before.oid.partition(":")[0], after.oid.partition(":")[0]
    hashes = "" if old == new else f", {old} -> {new}: other bytes or only another hash"
    return f"{size_text(before.size)} -> {size_text(after.size)}{hashes}"


def _summary(before: Side, after: Side, total: dict[str, int]) -> str:
    words = ", ".join(f"{total[name]:,} {name}" for name in _SIGNS if total[name])
    grown = total["bytes"]
    size = f" ({'+' if grown > 0 else '-'}{size_text(abs(grown))})" if grown else ""
    return f"{before.name} -> {after.name}: {words or 'nothing differs'}{size}"


# rows


@contextlib.contextmanager
def _scratch(repo: DvsRepo, *, wanted: bool) -> Iterator[Path | None]:
    """A local folder for versions on their way, if one is wanted; what killed runs left is removed."""
    if not wanted:
        yield None
        return
    repo.local.mkdir(parents=True, exist_ok=True)
    for left in repo.local.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=repo.local, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _details(
    app: App,
    repo: DvsRepo,
    before: Side,
    after: Side,
    change: FileChange,
    scratch: Path,
    key: Sequence[str],
    samples: int,
) -> tuple[dict[str, Any], list[str], bool]:
    """(what a JSON record gets, lines for people, whether it failed) of the rows of one changed file; nothing for other files."""
    from assets.dvs.diff import compare
    from assets.dvs.table_files import format_of
    from resources.dvs.diff import CHANGED, lay_out

    kind = format_of(change.path)
    if change.change != CHANGED or kind is None:
        return {}, [], False
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        for side, name in ((before, "before"), (after, "after")):
            lay_out(repo, side, change.path, folder / name)
        found = compare(folder / "before", folder / "after", kind, folder, key=key, samples=samples)
    except HeadwaterError as error:
        record = {**error.to_json(), "path": change.path}
        fix = f"\n    fix: {error.fix}" if error.fix else ""
        return {"rows": None, "error": record}, [f"{app.style(error.message, 'red')}{fix}"], True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"rows": found.to_json()}, list(_table_lines(app, found)), False


def _table_lines(app: App, found: TableDiff) -> Iterator[str]:
    from assets.dvs.diff import rate

    before, after = found.rows
    counts = [f"{sign}{number:,}" for sign, number in (("+", found.added), ("~", found.changed), ("-", found.removed)) if number]
    how = f"by {' and '.join(found.key)}" if found.key else "no column tells them apart"
    rows = f"{before:,} -> {after:,} rows" if before != after else counted(after, "row")
    yield f"{rows}, {how}: {' '.join(counts) or 'the same'}"
    if found.columns:
        most = sorted(found.columns.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{name} {count:,}" for name, count in most[:_SHOWN_CELLS])
        yield f"changed in: {shown}{', …' if len(most) > _SHOWN_CELLS else ''}"
    for column in found.schema:
        if column.change == "type":
            yield f"{app.style('~', 'yellow')} column {column.column}: {column.before} -> {column.after}"
        elif column.change == "moved":
            yield f"{app.style('>', 'cyan')} column {column.column} stands in another place"
        else:
            sign, colour = _SIGNS[column.change]
            yield f"{app.style(sign, colour)} column {column.column}: {column.before or column.after}"
    for one in found.nulls:
        rates = [rate(one.before, before) or 0.0, rate(one.after, after) or 0.0]
        yield f"missing in {one.column}: {rates[0]:.1%} -> {rates[1]:.1%}"
    for row in found.samples:
        sign, colour = _SIGNS[row.change]
        yield f"{app.style(sign, colour)} {_row_text(row)}"


def _row_text(row: RowChange) -> str:
    cells = [
        f"{name}: {_cell(cell[0])} -> {_cell(cell[1])}" if isinstance(cell, list) else f"{name}={_cell(cell)}"
        for name, cell in row.cells.items()
        if name not in row.key
    ]
    keys = [f"{name}={_cell(cell)}" for name, cell in row.key.items()]
    more = ["…"] if len(cells) > _SHOWN_CELLS else []
    return "  ".join([*keys, *cells[:_SHOWN_CELLS], *more])


def _cell(cell: str | None) -> str:
    if cell is None:
        return "(missing)"
    shown = cell.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return shown if len(shown) <= _SHOWN_CELL else shown[: _SHOWN_CELL - 1] + "…"


# why


_KINDS: Final = {
    "sidecar": "sidecar",
    "manifest": "manifest",
    "state": "state",
    "log": "operation",
    "audit": "audit log",
    "commit": "commit",
    "branch": "branch",
    "tag": "tag",
    "storage": "storage",
    "cache": "cache",
    "file": "working file",
    "remote": "remote",
    "trash": "trash",
}
_SHOWN_PATHS: Final = 3
_SHOWN_POINTERS: Final = 10


@command("why")
@click.argument("what", metavar="OID|PATH[@STATE]")
@click.option("--git/--no-git", default=True, help="Also look through the commits, branches and tags of git.")
@click.option("--ask", is_flag=True, help="Ask the remotes of this clone now, instead of believing the last proof alone.")
@click.option("--commits", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Commits that are named at most.")
@store_option
@pass_app
def why(app: App, what: str, git: bool, ask: bool, commits: int, store: str | None) -> int:
    """Why an object is kept: what names it, and which places hold it.

    Sidecars, the manifest, states, operations, the audit log, commits, branches and tags name objects; the storage, the cache,
    working files and remotes hold them, those as they were last proved. An oid may be given by its first digits. Ends with 1 when
    nothing here knows it, when it is named and no place is known that holds it, and when it lies in the trash alone.
    """
    from resources.dvs.why import NAMES, PLACES, find_oid
    from resources.dvs.why import why as run

    with opened_repo(app, store) as repo:
        path = None
        with contextlib.suppress(UsageError):
            path = repo_path(app, repo, what)
        oid = find_oid(repo, what, path)
        with app.progress("looking") as bar:
            found = run(repo, oid, commits=commits, git=git, ask=ask, progress=bar.show)
        app.say(f"{app.style(oid, 'bold')}  {size_text(found.size)}".rstrip())
        for heading, kinds in (("Named by", NAMES), ("Held by", PLACES)):
            rows: list[list[str]] = []
            for kind in kinds:
                pointers = found.of(kind)
                if app.json:
                    for pointer in pointers:
                        app.emit(pointer.to_json())
                rows += [_pointer_row(pointer) for pointer in pointers[:_SHOWN_POINTERS]]
                if len(pointers) > _SHOWN_POINTERS:
                    rows.append([_KINDS[kind], f"… and {len(pointers) - _SHOWN_POINTERS:,} more; --json lists them all"])
            if rows:
                app.say(heading)
                app.table(rows, indent="  ")
        for remark in found.remarks:
            app.note(remark)
        if found.retained is not None:
            app.say(f"retained until {found.retained}, whatever names it")
        summary = {
            "oid": oid,
            "size": found.size,
            "verdict": found.verdict,
            "retained": found.retained,
            "remarks": found.remarks,
        }
        app.emit({"summary": summary}, _VERDICTS[found.verdict])
    return int(found.verdict in ("unknown", "missing", "trashed"))


_VERDICTS: Final = {
    "kept": "kept: it is named, and a place holds it",
    "missing": "missing: it is named, and no place is known that holds it; `headwater dvs pull` asks the remotes",
    "loose": "nothing keeps it: no sidecar, manifest or state of this clone names it",
    "trashed": "it lies in the trash alone: `headwater dvs trash restore` brings it back",
    "past": "only the past names it, and no place is known that holds it",
    "unknown": "nothing here knows it",
}


def _pointer_row(pointer: Pointer) -> list[str]:
    name = pointer.name[:12] if pointer.kind in ("state", "commit", "audit") else pointer.name
    paths = ", ".join(pointer.paths[:_SHOWN_PATHS]) + (", …" if len(pointer.paths) > _SHOWN_PATHS else "")
    about = paths if pointer.kind not in ("file", "log", "storage", "cache") else ""
    said = "  ".join(filter(None, [about, pointer.when, pointer.who, pointer.note]))
    return [_KINDS[pointer.kind], name, said]

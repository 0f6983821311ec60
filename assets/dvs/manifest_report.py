"""The `manifest_report` artifact: the versioned files as Parquet files for the workspace catalog, and a picture of them.

What it says comes from the text alone: sidecars, manifest and configuration, never from objects or the working tree. Every choice
that pyarrow would make by version is pinned; the recipe names pyarrow among the libraries of its fingerprint. The picture is
`assets.dvs.report_picture`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from assets.dvs.report_picture import Bar, Report, draw
from assets.engine.recipe import Summary, SummaryTable
from assets.engine.view import InputFile, Scratch, View
from resources.parquet_writing import ROW_GROUP_ROWS, SETTINGS
from schemas.dvs import config, manifest, sidecar
from schemas.dvs.manifest import Entry
from schemas.dvs.sidecar import Sidecar, SidecarFormat
from schemas.errors import HeadwaterError

FILES, FOLDERS, PICTURE = "files.parquet", "folders.parquet", "report.svg"
_SHOWN = 12

_FILES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("folder", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("oid", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("added", pa.string(), nullable=False),
        pa.field("saved_by", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("in_manifest", pa.bool_(), nullable=False),
        pa.field("remote", pa.string(), nullable=False),
        pa.field("equal_files", pa.int64(), nullable=False),
    ]
)
"""One row per file that a sidecar names, by path. `added` is RFC 3339 as the sidecar has it; `in_manifest` says whether dvs.lock
has the same object for the file; `equal_files` counts the files of the same object, this one included."""

_FOLDERS = pa.schema(
    [
        pa.field("folder", pa.string(), nullable=False),
        pa.field("files", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("files_below", pa.int64(), nullable=False),
        pa.field("bytes_below", pa.int64(), nullable=False),
    ]
)
"""One row per folder with files in or below it, '' for the repository."""


class _File(NamedTuple):
    path: str
    held: Sidecar
    entry: Entry | None


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `manifest_report`."""
    files = _files(view)
    equal = Counter(file.held.oid for file in files)
    _write(scratch.path(FILES), _files_table(files, equal))
    folders = _folders(files)
    _write(scratch.path(FOLDERS), _folders_table(folders))
    sizes = {file.held.oid: file.held.size for file in files}
    total, once = sum(file.held.size for file in files), sum(sizes.values())
    report = Report(
        files=len(files),
        bytes=total,
        bytes_once=once,
        growth=_growth(files),
        folders=_largest((file.path.split("/")[0] + "/" if "/" in file.path else "(top)", file.held.size) for file in files),
        types=_largest((_type(file.path) or "(none)", file.held.size) for file in files),
        repeated=_repeated(files, equal),
    )
    picture = draw(report)
    scratch.path(PICTURE).write_bytes(picture)
    counts = {
        "files": len(files),
        "bytes": total,
        "objects": len(sizes),
        "object bytes": once,
        "not in manifest": sum(not _agrees(file) for file in files),
    }
    largest = sorted(files, key=lambda file: (-file.held.size, file.path))[:_SHOWN]
    table = SummaryTable(
        ["file", "bytes", "added", "by", "message"],
        [[file.path, file.held.size, file.held.add_time, file.held.saved_by, file.held.message[:80]] for file in largest],
    )
    return Summary(counts=counts, tables={"largest files": table}, pictures={PICTURE: picture})


def _files(view: View) -> list[_File]:
    """Every file with a sidecar, sorted by path; the TOML sidecar counts where there are two. Raises InvalidText."""
    mirror = _mirror(view)
    chosen: dict[str, InputFile] = {}
    for file in view.files("sidecars"):
        path = file.path
        if mirror is not None:
            if not path.startswith(f"{mirror}/"):
                continue
            path = path[len(mirror) + 1 :]
        data = sidecar.data_path(path)
        if data is not None and (data not in chosen or sidecar.format_of(path) is SidecarFormat.TOML):
            chosen[data] = file
    entries: Mapping[str, Entry] = {}
    for file in view.files("manifest"):
        entries = manifest.read_manifest(view.read("manifest", file.path), view.workspace_path(file.path)).entries
    return [
        _File(
            path,
            sidecar.read_sidecar(view.read("sidecars", chosen[path].path), view.workspace_path(chosen[path].path)),
            entries.get(path),
        )
        for path in sorted(chosen)
    ]


def _mirror(view: View) -> str | None:
    """The folder of the sidecars of the third generation."""
    names = {file.path for file in view.files("settings")}
    name = next((name for name in config.FILES if name in names), None)
    if name is None:
        raise HeadwaterError("the repository has no configuration", rule="dvs-not-initialized", fix="`headwater dvs init`")
    return config.read_config(view.read("settings", name), view.workspace_path(name))[0].metadata_folder


def _agrees(file: _File) -> bool:
    return file.entry is not None and (file.entry.oid, file.entry.bytes) == (file.held.oid, file.held.size)


def _type(path: str) -> str:
    """The ending of the name in lower case, `.gz` and its like with the one before."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if len(suffixes) > 1 and suffixes[-1] in (".gz", ".zst", ".xz", ".bz2"):
        return "".join(suffixes[-2:])
    return suffixes[-1] if suffixes else ""


def _files_table(files: Sequence[_File], equal: Mapping[str, int]) -> pa.Table:
    columns: list[list[Any]] = [
        [file.path for file in files],
        [file.path.rpartition("/")[0] for file in files],
        [_type(file.path) for file in files],
        [file.held.oid for file in files],
        [file.held.size for file in files],
        [file.held.add_time for file in files],
        [file.held.saved_by for file in files],
        [file.held.message for file in files],
        [_agrees(file) for file in files],
        [(file.entry.remote if file.entry is not None else None) or manifest.ORIGIN for file in files],
        [equal[file.held.oid] for file in files],
    ]
    return _table(columns, _FILES)


def _folders(files: Sequence[_File]) -> dict[str, list[int]]:
    """Folder -> files in it, their bytes, files in and below it, their bytes."""
    folders: dict[str, list[int]] = {"": [0, 0, 0, 0]}
    for file in files:
        folder = file.path.rpartition("/")[0]
        held = folders.setdefault(folder, [0, 0, 0, 0])
        held[0] += 1
        held[1] += file.held.size
        while True:
            above = folders.setdefault(folder, [0, 0, 0, 0])
            above[2] += 1
            above[3] += file.held.size
            if not folder:
                break
            folder = folder.rpartition("/")[0]
    return folders


def _folders_table(folders: Mapping[str, Sequence[int]]) -> pa.Table:
    names = sorted(folders)
    return _table([names, *([folders[name][at] for name in names] for at in range(4))], _FOLDERS)


def _table(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _write(path: Path, table: pa.Table) -> None:
    with pq.ParquetWriter(path, table.schema, **SETTINGS) as writer:
        writer.write_table(table, ROW_GROUP_ROWS)


def _growth(files: Sequence[_File]) -> list[tuple[str, int]]:
    """(day, bytes of all files added until then), one pair per day on which files were added."""
    by_day: Counter[str] = Counter()
    for file in files:
        by_day[file.held.add_time[:10]] += file.held.size
    grown, total = [], 0
    for day in sorted(by_day):
        total += by_day[day]
        grown.append((day, total))
    return grown


def _largest(named: Any) -> list[Bar]:
    """The largest groups with their bytes and files, what is left as one."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for name, size in named:
        sizes[name] += size
        counts[name] += 1
    bars = sorted((Bar(name, sizes[name], counts[name]) for name in sizes), key=lambda bar: (-bar.bytes, bar.name))
    if len(bars) > 8:
        rest = bars[7:]
        bars = [*bars[:7], Bar(f"{len(rest):,} others", sum(map(attrgetter("bytes"), rest)), sum(map(attrgetter("files"), rest)))]
    return bars


def _repeated(files: Sequence[_File], equal: Mapping[str, int]) -> list[Bar]:
    """The objects of several files that would take the most room if each had its own."""
    first: dict[str, _File] = {}
    for file in files:
        if equal[file.held.oid] > 1:
            first.setdefault(file.held.oid, file)
    bars = [Bar(file.path, file.held.size * (equal[oid] - 1), equal[oid]) for oid, file in first.items() if file.held.size]
    return sorted(bars, key=lambda bar: (-bar.bytes, bar.name))[:5]

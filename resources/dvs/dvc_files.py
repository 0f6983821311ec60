"""What DVC writes: outputs in `.dvc` files and in `dvc.lock`, lists of folders, and where its configuration keeps objects.

Formats of DVC 1.0 to 3.x only; nothing is looked up or written. Sources: dvc 3.67 (`dvc/schema.py`, `dvc/output.py`), dvc-data
(`hashfile/tree.py`).
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from schemas import json_text, yaml_text
from schemas.errors import HeadwaterError
from schemas.text import MIB, Limits

LOCK: Final = "dvc.lock"
STAGES: Final = "dvc.yaml"
DIR: Final = ".dir"
"""How the MD5 of a folder ends: that of the list of its files."""
MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
TEXT_BYTES: Final = 64 * MIB
LISTED: Final = Limits(size=128 * MIB, depth=8, values=8_000_000)
_PART: Final = 256 << 10
_STAGE: Final = re.compile(rb"^  \S", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
_STAGE_LISTS: Final = ("outs", "metrics", "plots")


@dataclass(frozen=True, slots=True)
class Out:
    """One output as DVC wrote it: where it lies, its MD5 (ending in `.dir` for a folder) under the name of the hash, its length,
    whether DVC keeps its bytes, and, for folders in a bucket, the files in it as (path, MD5, length)."""

    path: Path
    shown: str
    digits: str | None
    algorithm: str = "md5"
    size: int | None = None
    cached: bool = True
    files: tuple[tuple[str, str, int | None], ...] = ()


def read_parts(data: bytes, path: str) -> Iterator[Any]:
    """The value of a YAML file of DVC; that of a large `dvc.lock` comes stage by stage. Raises InvalidText."""
    if len(data) < _PART or not path.endswith(LOCK):
        yield yaml_text.read(data, path).value
        return
    head, _, body = data.partition(b"\nstages:\n")
    starts = [match.start() for match in _STAGE.finditer(body)]
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        yield yaml_text.read(head + b"\nstages:\n" + body[start:end], path).value


def read_pointer(folder: Path, value: Any) -> Iterator[Out]:
    """The outputs of a `.dvc` file in `folder`. Raises HeadwaterError (rule `dvs-import-format`)."""
    if not isinstance(value, dict):
        raise odd("it is not a mapping")
    wdir = value.get("wdir")
    if isinstance(wdir, str):
        folder = folder / wdir
    for record in as_list(value.get("outs")):
        yield _out(folder, record)


def read_lock(folder: Path, value: Any) -> Iterator[Out]:
    """The outputs of all stages in a `dvc.lock`, of schema 2.0 or the one before. Raises as `read_pointer`."""
    if not isinstance(value, dict):
        raise odd("it is not a mapping")
    stages = value.get("stages") if "schema" in value else value
    if stages is not None and not isinstance(stages, dict):
        raise odd("the stages are not a mapping")
    uncached = _uncached(folder)
    for name, stage in (stages or {}).items():
        if not isinstance(stage, dict):
            raise odd(f"the stage {name!r} is not a mapping")
        # Stages made by `foreach` and `matrix` are called NAME@ITEM.
        above = str(name).partition("@")[0]
        where = folder / uncached.folders.get(above, "")
        for record in as_list(stage.get("outs")):
            out = _out(where, record)
            yield replace(out, cached=False) if uncached.names(above, out.shown) else out


def read_list(data: bytes, path: str) -> list[tuple[str, str]]:
    """(path in the folder, MD5) of a folder's files, from the bytes of its list. Raises HeadwaterError."""
    return [_entry(record) for record in as_list(json_text.read(data, path, limits=LISTED).value)]


@dataclass(slots=True)
class _Uncached:
    """What `dvc.yaml` says: by stage, the outputs that DVC keeps no bytes of, and the working folder."""

    outs: dict[str, list[str]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def names(self, stage: str, path: str) -> bool:
        """Whether the stage has this output among them."""
        return any(_matches(template, path) for template in self.outs.get(stage, ()))


def _matches(template: str, path: str) -> bool:
    """Whether a path is what a template of `dvc.yaml` says, where `${…}` stands for anything. No regular expression: a template
    with many of them would take one forever."""
    first, *rest = _VARIABLE.split(template)
    if not rest:
        return template == path
    *middle, last = rest
    if not path.startswith(first) or not path.endswith(last) or len(path) < len(first) + len(last):
        return False
    at, end = len(first), len(path) - len(last)
    for part in middle:
        found = path.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _uncached(folder: Path) -> _Uncached:
    made = _Uncached()
    path = folder / STAGES
    if not path.is_file():
        return made
    value = yaml_text.read(_beginning(path), str(path)).value
    stages = value.get("stages") if isinstance(value, dict) else None
    for name, stage in (stages if isinstance(stages, dict) else {}).items():
        body = stage.get("do", stage) if isinstance(stage, dict) else {}
        if not isinstance(body, dict):
            continue
        if isinstance(body.get("wdir"), str):
            made.folders[str(name)] = str(body["wdir"])
        for listed in _STAGE_LISTS:
            for record in as_list(body.get(listed)):
                if isinstance(record, dict):
                    made.outs.setdefault(str(name), []).extend(
                        str(out) for out, flags in record.items() if isinstance(flags, dict) and flags.get("cache") is False
                    )
    return made


def object_folders(own: Path) -> Iterator[Path]:
    """The caches that the `config` files of a DVC folder name, then its remotes that are folders."""
    cache, remotes = own / "cache", []
    for name in ("config", "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(_beginning(own / name).decode("utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in parser.sections():
            values = parser[section]
            kind = section.strip("'\"").split(" ", 1)[0]
            if kind == "cache" and values.get("dir"):
                cache = own / Path(values["dir"]).expanduser()
            elif kind == "remote" and "://" not in values.get("url", "://"):
                remotes.append(own / Path(values["url"]).expanduser())
    yield cache
    yield from remotes


def _beginning(path: Path) -> bytes:
    """A file that is small, and of a larger one as much as makes it refused."""
    with path.open("rb") as file:
        return file.read(2 * MIB)


def as_list(value: Any) -> list[Any]:
    """A list as it was written, none for nothing. Raises HeadwaterError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise odd("a list is wanted")
    return value


def _out(folder: Path, record: Any) -> Out:
    if not isinstance(record, dict) or not isinstance(record.get("path"), str) or not record["path"]:
        raise odd("an output has no path")
    shown = record["path"]
    digits = record.get("md5")
    size = record.get("size")
    # Before 3.0 there was no name of the hash, and text was hashed with the line ends of Unix.
    algorithm = "md5" if record.get("hash") == "md5" else "md5-dos2unix"
    files = tuple(
        (relpath, digest, size if isinstance(size, int) else None)
        for relpath, digest, size in (_listed_file(one) for one in as_list(record.get("files")))
    )
    return Out(
        folder / shown,
        shown,
        digits.lower() if isinstance(digits, str) else None,
        algorithm,
        size if isinstance(size, int) and not isinstance(size, bool) else None,
        record.get("cache") is not False,
        files,
    )


def _listed_file(record: Any) -> tuple[str, str, Any]:
    relpath, digits = _entry(record)
    return relpath, digits, record.get("size")


def _entry(record: Any) -> tuple[str, str]:
    if not isinstance(record, dict) or not isinstance(record.get("relpath"), str) or not isinstance(record.get("md5"), str):
        raise odd("an entry of a folder has no path or no MD5")
    return record["relpath"], record["md5"].lower()


def odd(what: str) -> HeadwaterError:
    """What DVC would not have written."""
    return HeadwaterError(
        f"it cannot be read as DVC's: {what}", rule="dvs-import-format", fix="repair it with DVC, or restore it from git"
    )

"""A tables project as one zip file, to hand around: the same project gives the same bytes, and nothing hostile comes in.

The ZIP format and which members a project has belong here (APPNOTE 6.3 of PKWARE, read and written by the standard library's
zipfile). What the files say is checked by the store after unpacking.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from resources.storage.base import Storage
from schemas.errors import HeadwaterError, Refused
from schemas.paths import check_path, collisions
from schemas.tables.history import KEPT_NAME, TEXTS_FOLDER, verify_kept

MEMBERS = ("project.yaml", "data/*", "README.md", "README.txt", ".gitignore", ".gitattributes")
"""What a project hands on (globs, `*` also across folders), beside `history.log` and the texts beside it."""
HISTORY = "history.log"
JUNK = ("__MACOSX/*", "*.DS_Store", "*Thumbs.db", "*desktop.ini", "._*", "*/._*")
DATABASES = ("*.db", "*.sqlite", "*.sqlite3", "*.duckdb", "*.db-wal", "*.db-shm", "*.db-journal", "*.wal")
"""Never unpacked: what a database says is derived from the text."""

MEMBER_LIMIT = 10_000
TOTAL_LIMIT = 4 << 30
"""Unpacked bytes of one archive."""
RATIO_LIMIT = 200
"""Unpacked bytes per packed byte of one member, past the first RATIO_FREE bytes; CSV files seldom reach 20."""
RATIO_FREE = 8 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_LEVEL = 6


@dataclass(slots=True)
class Archive:
    """What an archive holds: the project's files by path, and what was left out (with the reason)."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def members(paths: Iterable[str], *, history: bool = True) -> list[str]:
    """The store-relative `paths` that a project hands on, sorted."""

    def wanted(path: str) -> bool:
        if path == HISTORY or KEPT_NAME.fullmatch(path):
            return history
        return any(fnmatchcase(path, glob) for glob in MEMBERS) and not any(fnmatchcase(path, glob) for glob in JUNK + DATABASES)

    return sorted(path for path in paths if wanted(path))


def write_zip(storage: Storage, root: str, target: IO[bytes], *, history: bool = True) -> list[str]:
    """Write the project below `root` of `storage` as a zip to `target` and return its members.

    Sorted members, times fixed at 1980, one compression level: equal text gives equal bytes (with the same zlib). Raises
    HeadwaterError (rule `history-text`) for a text of the history that is damaged.
    """
    prefix = f"{root}/" if root else ""
    names = members(
        (stat_.path[len(prefix) :] for stat_ in storage.scan(root, enter=lambda folder: _entered(folder[len(prefix) :]))),
        history=history,
    )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name in names:
            info = zipfile.ZipInfo(unicodedata.normalize("NFC", name), date_time=_EPOCH)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            data = storage.read(prefix + name)
            verify_kept(name, data, prefix + name)
            archive.writestr(info, data, compresslevel=_LEVEL)
    return names


def _entered(folder: str) -> bool:
    return folder in {"", "data", TEXTS_FOLDER} or folder.startswith("data/")


def read_zip(source: Path | IO[bytes], name: str) -> Archive:
    """The project in the zip `source` (`name` is what messages call it).

    One folder around everything is taken off, names become NFC, system files of macOS and Windows are passed over, databases are
    left out. Raises Refused (rule `zip-…`) for anything a well-meant archive does not have: absolute paths, `..`, links,
    names that are equal on some platform, encryption, overlapping members, bombs, texts of the history under the name of
    another; HeadwaterError for a damaged file.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            return _read(archive, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise HeadwaterError(
            f"not a readable zip file: {error}", rule="zip-damaged", path=name, fix="ask for the file again"
        ) from None


def _refuse(name: str, member: str, message: str, rule: str) -> Refused:
    shown = member.encode("unicode_escape").decode("ascii")
    return Refused(
        f"member {shown!r} {message}", rule=rule, path=name, fix="do not unpack this archive; ask its sender for a new one"
    )


def _read(archive: zipfile.ZipFile, name: str) -> Archive:
    infos = archive.infolist()
    if len(infos) > MEMBER_LIMIT:
        raise Refused(f"{len(infos)} members are more than {MEMBER_LIMIT}", rule="zip-members", path=name, fix="do not unpack it")
    _check_overlap(infos, name)
    plain: list[tuple[str, zipfile.ZipInfo]] = []
    for info in infos:
        safe = _safe_name(info, name)
        if not info.is_dir() and not any(fnmatchcase(safe, glob) for glob in JUNK):
            plain.append((safe, info))
    seen: set[str] = set()
    for safe, _ in plain:
        if safe in seen:
            raise _refuse(name, safe, "is in the archive twice", "zip-duplicate")
        seen.add(safe)
    clash = collisions(seen)
    if clash:
        raise _refuse(name, clash[0][0], f"and {clash[0][1]!r} are one file on some systems", "zip-collision")
    top = _top_folder(seen)
    made = Archive()
    total = 0
    accepted = set(members((safe[len(top) :] for safe in seen), history=True))
    for safe, info in plain:
        path = safe[len(top) :]
        if path not in accepted:
            database = any(fnmatchcase(path, glob) for glob in DATABASES)
            made.left_out.append(
                (path, "a database is never taken from an archive" if database else "not part of a tables project")
            )
            continue
        data = _bytes(archive, info, name, TOTAL_LIMIT - total)
        total += len(data)
        try:
            verify_kept(path, data, name)
        except HeadwaterError:
            raise _refuse(name, info.filename, "does not hold the text its name says", "zip-history") from None
        made.files[path] = data
    if "project.yaml" not in made.files:
        raise HeadwaterError("the archive holds no project.yaml", rule="zip-no-project", path=name, fix="zip a tables project")
    return made


def _check_overlap(infos: list[zipfile.ZipInfo], name: str) -> None:
    end = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < end:
            raise _refuse(name, info.filename, "overlaps the member before it", "zip-overlap")
        end = info.header_offset + 30 + info.compress_size


def _safe_name(info: zipfile.ZipInfo, name: str) -> str:
    """The member's path in NFC, without a final `/`; refused when it could lead out of a folder or is no plain file."""
    original = info.orig_filename
    if info.flag_bits & 0x1:
        raise _refuse(name, original, "is encrypted", "zip-encrypted")
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _refuse(name, original, "is a link or a special file", "zip-link")
    if "\\" in original or "\0" in original:
        raise _refuse(name, original, "has a backslash or NUL in its name", "zip-path")
    path = unicodedata.normalize("NFC", original.rstrip("/") if info.is_dir() else original)
    try:
        return check_path(path, portable=not any(fnmatchcase(path, glob) for glob in JUNK))
    except HeadwaterError as error:
        raise _refuse(name, original, f"is refused: {error.message}", "zip-path") from None


def _top_folder(paths: set[str]) -> str:
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    if len(tops) == 1 and all("/" in path for path in paths):
        top = tops.pop() + "/"
        if top + "project.yaml" in paths:
            return top
    return ""


def _bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, room: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    allowed = max(RATIO_FREE, info.compress_size * RATIO_LIMIT)
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > allowed:
                raise _refuse(name, info.filename, f"unpacks to more than {RATIO_LIMIT} times its size", "zip-bomb")
            if size > room:
                raise _refuse(name, info.filename, f"takes the archive past {TOTAL_LIMIT >> 30} GiB", "zip-bomb")
            parts.append(chunk)
    return b"".join(parts)


def unzip(source: Path, target: Path, *, name: str) -> Archive:
    """Unpack the zip `source` into the local folder `target`: a new folder appears with all files or not at all.

    Into a folder that holds something, only files that are not there yet are written. Raises Refused (rule `zip-exists`), before
    anything is written, when one is there with other bytes, else as `read_zip`.
    """
    archive = read_zip(source, name)
    if not target.is_symlink() and target.is_dir() and any(target.iterdir()):
        _fill(archive, target)
        return archive
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Refused("is no folder", rule="zip-exists", path=str(target), fix="name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _fill(archive, made)
        made.chmod(0o777 & ~_umask())
        made.replace(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return archive


def _fill(archive: Archive, folder: Path) -> None:
    for path, data in archive.files.items():
        present = folder / path
        if present.is_symlink() or (present.exists() and (not present.is_file() or present.read_bytes() != data)):
            raise Refused(
                "is already there with other content",
                rule="zip-exists",
                path=str(present),
                fix="unpack into a new folder and compare with `headwater tables diff`",
            )
        if any(parent.is_symlink() for parent in present.parents if parent != folder and folder in parent.parents):
            raise Refused("lies behind a symbolic link", rule="zip-exists", path=str(present), fix="unpack into a new folder")
    for path, data in sorted(archive.files.items()):
        present = folder / path
        if not present.exists():
            present.parent.mkdir(parents=True, exist_ok=True)
            with present.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

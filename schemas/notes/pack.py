"""Packs: notes and their attachments as one text file, to hand around or to keep.

JSON Lines, UTF-8, LF. The first line says what it is, the last one how many files there were, so that a file cut short is known;
each line between is one file:

    {"format": "headwater-notes-pack", "version": 1}
    {"path": "notes/a.md", "oid": "blake3:…", "text": "---\\nid: …"}
    {"path": "attachments/b.png", "oid": "blake3:…", "base64": "…"}
    {"end": true, "files": 2, "digest": "blake3:…"}

Sorted by path, keys in this order, nothing of the time or the machine: the same files give the same bytes, and `git diff` shows
what changed. Bytes that are not UTF-8 are base64. Nothing is compressed, so a small file cannot become a large one; a zip was
tried and left, because its bytes depend on the zlib at hand. `digest` is over the paths and oids. Files are given back byte for
byte. Light: standard library and blake3.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from schemas.errors import HeadwaterError, NewerFormat, Refused
from schemas.oid import bytes_oid, json_oid
from schemas.paths import check_path, collisions

FORMAT = "headwater-notes-pack"
VERSION = 1
FILE_LIMIT = 256 << 20
"""Bytes of one file."""
TOTAL_LIMIT = 2 << 30
"""Bytes of all files of a pack, which are held in memory until all of them are known to be good."""
FILES_LIMIT = 1_000_000
_LINE_LIMIT = FILE_LIMIT * 4 // 3 + (1 << 20)


class Lines(Protocol):
    """Where a pack is read from: a file opened for reading bytes, or anything with its `readline`."""

    def readline(self, size: int, /) -> bytes:
        """The next line with its end, cut at `size` bytes; b"" at the end."""
        ...


def write(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The lines of a pack of files (path, bytes), sorted by path. Raises Refused for what `read` would not take."""
    yield _line({"format": FORMAT, "version": VERSION})
    oids: list[list[str]] = []
    total = 0
    previous = None
    for path, data in files:
        _check_path(path, "the pack")
        if previous is not None and path <= previous:
            raise ValueError("the files of a pack come sorted by path, each once")
        previous = path
        total += len(data)
        if len(data) > FILE_LIMIT or total > TOTAL_LIMIT:
            raise Refused(
                f"{path} is too large for a pack" if len(data) > FILE_LIMIT else "the files are too many bytes for one pack",
                rule="notes-pack-size",
                path=path,
                fix="leave attachments out, or pack fewer notes",
            )
        oid = bytes_oid(data)
        oids.append([path, oid])
        yield _line({"path": path, "oid": oid, **_content(data)})
    clashing = collisions(path for path, _ in oids)
    if clashing:
        raise Refused(
            f"{' and '.join(clashing[0])} are one file on some computers", rule="notes-pack-names", fix="rename one of them"
        )
    yield _line({"end": True, "files": len(oids), "digest": json_oid(oids)})


def read(stream: Lines, name: str) -> dict[str, bytes]:
    """The files of a pack: path to bytes. `name` is what messages call it.

    Raises NewerFormat for a newer version; Refused (rule `notes-pack-…`, `path-…`) for paths that are not safe or that some
    platform takes for one, files that are too large or too many, content that is not what its oid says; HeadwaterError (rule
    `notes-pack`) for what is no pack, or was cut short.
    """
    lines = _lines(stream, name)
    head = next(lines, None)
    if head is None or head[1].get("format") != FORMAT:
        raise _damaged(name, 1, "this is no pack of notes")
    version = head[1].get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(name, 1, "the version is no number")
    if version > VERSION:
        raise NewerFormat(
            f"the pack has version {version}; this program knows {VERSION}",
            rule="notes-pack-version",
            path=name,
            fix="install a newer Headwater",
        )
    files: dict[str, bytes] = {}
    oids: list[list[str]] = []
    total = 0
    for number, record in lines:
        if record.get("end") is True:
            if record.get("files") != len(files) or record.get("digest") != json_oid(oids):
                raise _damaged(name, number, "the last line does not fit the files: the pack was changed or cut")
            if next(lines, None) is not None:
                raise _damaged(name, number + 1, "something follows the last line")
            break
        path, data = _file(record, name, number)
        if path in files or len(files) >= FILES_LIMIT:
            raise Refused(f"line {number}: {path!r} comes twice, or there are too many files", rule="notes-pack-names", path=name)
        total += len(data)
        if total > TOTAL_LIMIT:
            raise Refused(f"more than {TOTAL_LIMIT:,} bytes of files", rule="notes-pack-size", path=name, fix="do not unpack it")
        files[path] = data
        oids.append([path, bytes_oid(data)])
    else:
        raise _damaged(name, len(files) + 1, "the last line is missing: the pack was cut short")
    clashing = collisions(files)
    if clashing:
        raise Refused(
            f"{' and '.join(clashing[0])} are one file on some computers",
            rule="notes-pack-names",
            path=name,
            fix="ask its sender for a pack with other names",
        )
    return files


def is_pack(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a pack of ours."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def _check_path(path: str, name: str) -> None:
    try:
        check_path(path, portable=False)
        if any(part.lower() in (".git", ".headwater", ".obsidian") for part in path.split("/")):
            raise HeadwaterError("a folder of programs, not of notes", rule="path-reserved-name")
    except HeadwaterError as error:
        raise Refused(
            f"the path {path[:120]!a} is refused: {error.message}",
            rule=error.rule,
            path=name,
            fix="do not unpack it; ask its sender for a new one",
        ) from None


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def _lines(stream: Lines, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while line := stream.readline(_LINE_LIMIT + 1):
        number += 1
        if len(line) > _LINE_LIMIT:
            raise Refused(f"line {number} is too long", rule="notes-pack-size", path=name, fix="do not unpack it")
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError):
            raise _damaged(name, number, "the line is no JSON") from None
        if not isinstance(record, dict):
            raise _damaged(name, number, "the line is no JSON object")
        yield number, record


def _file(record: dict[str, Any], name: str, number: int) -> tuple[str, bytes]:
    path, oid, text, encoded = (record.get(key) for key in ("path", "oid", "text", "base64"))
    if not isinstance(path, str) or (isinstance(text, str)) == (isinstance(encoded, str)):
        raise _damaged(name, number, "the line is no file: it needs `path` and either `text` or `base64`")
    _check_path(path, name)
    try:
        data = text.encode("utf-8") if isinstance(text, str) else base64.b64decode(str(encoded), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise _damaged(name, number, "the content cannot be decoded") from None
    if len(data) > FILE_LIMIT:
        raise Refused(f"{path!r} is too large", rule="notes-pack-size", path=name, fix="do not unpack it")
    if bytes_oid(data) != oid:
        raise Refused(f"{path!r} is not what its oid says", rule="notes-pack-oid", path=name, fix="ask its sender for it again")
    return path, data


def _damaged(name: str, line: int, message: str) -> HeadwaterError:
    return HeadwaterError(message, rule="notes-pack", path=name, line=line, fix="pack the notes again")

"""Sidecars: the small tracked file that stands for a versioned file, in the spellings of every generation.

`train.csv.dvs` (JSON) and `train.csv.dvs.toml` lie beside the data; the third generation keeps `train.csv.dvs` in a mirror tree
below `.dvs/` with other keys. All are read; the first is written. Keys we do not know are kept. Light: standard library only.

Keys of the first generation: `blake3_checksum` (the historical name: it holds what `hash_algo` produced), `size` (bytes),
`add_time` (RFC 3339), `message`, `saved_by`, `hash_algo` (left out for blake3). Keys of the third: `hashes` (algorithm to
digits), `size`, `created_by`, `add_time`, `compression`, `message`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from schemas.document import Document, Value
from schemas.dvs.oids import make_oid
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding, Severity, found, rule
from schemas.text import Limits

SIDECAR = rule("dvs-sidecar", Severity.ERROR, "A sidecar names the checksum and the size of its file.")
DISAGREE = rule("dvs-sidecars-disagree", Severity.ERROR, "The JSON and the TOML sidecar of one file say the same.")

LIMITS: Final = Limits(size=1 << 20, depth=16, values=10_000)

JSON_SUFFIX: Final = ".dvs"
TOML_SUFFIX: Final = ".dvs.toml"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")


class SidecarFormat(StrEnum):
    """How a sidecar is spelled."""

    JSON = "json"
    TOML = "toml"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says. `add_time` is RFC 3339 as written; `compression` is how the third generation stored the object
    (None where the object itself knows); `extra` are keys of others, kept in their order."""

    oid: str
    size: int
    add_time: str
    message: str = ""
    saved_by: str = ""
    compression: str | None = None
    extra: Mapping[str, Value] = field(default_factory=dict)

    def says_the_same(self, other: Sidecar) -> bool:
        """Whether both stand for the same bytes."""
        return (self.oid, self.size) == (other.oid, other.size)


def sidecar_path(data_path: str, spelling: SidecarFormat) -> str:
    """Where the sidecar of a data file lies."""
    return data_path + (TOML_SUFFIX if spelling is SidecarFormat.TOML else JSON_SUFFIX)


def data_path(path: str) -> str | None:
    """The data file a sidecar's path stands for; None for a path that is no sidecar's."""
    for suffix in (TOML_SUFFIX, JSON_SUFFIX):
        if path.endswith(suffix):
            below = path[: -len(suffix)]
            return below if below and not below.endswith("/") else None
    return None


def format_of(path: str) -> SidecarFormat:
    """How the sidecar at `path` is spelled, by its name."""
    return SidecarFormat.TOML if path.endswith(TOML_SUFFIX) else SidecarFormat.JSON


def read_sidecar(data: bytes, path: str) -> Sidecar:
    """Read a sidecar of any generation. Raises InvalidText: what the format's reader finds, or `dvs-sidecar` findings."""
    spelling = format_of(path)
    if data.startswith(b"<<<<<<< ") or b"\n<<<<<<< " in data:
        line = data[: data.find(b"<<<<<<< ")].count(b"\n") + 1
        fix = "keep one side, `git checkout --ours -- FILE` or `--theirs`, then add the file it stands for"
        raise InvalidText([found(SIDECAR, path, "git has left a merge conflict in it", line=line, column=1, fix=fix)])
    if spelling is SidecarFormat.JSON:
        quick = _quick(data)
        if quick is not None:
            return quick
    document = _document(data, path, spelling)
    value = document.value
    if not isinstance(value, dict):
        raise _invalid(document, (), "a sidecar is a mapping", "write it anew with `headwater dvs add`")
    return _third(document, value) if "hashes" in value else _first(document, value)


def _document(data: bytes, path: str, spelling: SidecarFormat) -> Document:
    if spelling is SidecarFormat.TOML:
        from schemas import toml_text

        return toml_text.read(data, path, limits=LIMITS)
    from schemas import json_text

    return json_text.read(data, path, limits=LIMITS)


_PLAIN = re.compile(
    rb'\s*\{\s*"blake3_checksum":\s*"([0-9a-f]{64})",\s*"size":\s*(0|[1-9][0-9]{0,17}),\s*'
    rb'"add_time":\s*"([^"\\\x00-\x1f\x80-\xff]+)",\s*"message":\s*"([^"\\\x00-\x1f\x80-\xff]*)",\s*'
    rb'"saved_by":\s*"([^"\\\x00-\x1f\x80-\xff]*)"\s*\}\s*\Z'
)


def _quick(data: bytes) -> Sidecar | None:
    """The sidecar as we and the original tool write nearly all of them; None for any other spelling. A hundred thousand are
    read in half a second this way, in five by the reader that knows positions."""
    match = _PLAIN.match(data)
    if match is None or not _TIME.match(match[3].decode("ascii")):
        return None
    checksum, size, time, message, saved_by = (part.decode("ascii") for part in match.groups())
    return Sidecar(f"blake3:{checksum}", int(size), time, message, saved_by)


def _first(document: Document, value: dict[str, Value]) -> Sidecar:
    findings: list[Finding] = []
    checksum = _text(document, value, "blake3_checksum", findings, required=True)
    algorithm = _text(document, value, "hash_algo", findings) or "blake3"
    oid = ""
    if not findings:
        try:
            oid = make_oid(algorithm, checksum)
        except HeadwaterError as error:
            findings.append(_finding(document, ("blake3_checksum",), error.message, error.fix))
    size = _size(document, value, findings)
    add_time = _text(document, value, "add_time", findings)
    message = _text(document, value, "message", findings)
    saved_by = _text(document, value, "saved_by", findings)
    if findings:
        raise InvalidText(findings)
    known = {"blake3_checksum", "hash_algo", "size", "add_time", "message", "saved_by"}
    extra = {name: item for name, item in value.items() if name not in known}
    return Sidecar(oid, size, add_time, message, saved_by, None, extra)


def _third(document: Document, value: dict[str, Value]) -> Sidecar:
    findings: list[Finding] = []
    hashes = value["hashes"]
    oid = ""
    if isinstance(hashes, dict) and isinstance(digits := hashes.get("blake3"), str):
        try:
            oid = make_oid("blake3", digits)
        except HeadwaterError as error:
            findings.append(_finding(document, ("hashes", "blake3"), error.message, error.fix))
    else:
        findings.append(_finding(document, ("hashes",), "there is no blake3 checksum", "add the file again"))
    size = _size(document, value, findings)
    add_time = _text(document, value, "add_time", findings)
    message = _text(document, value, "message", findings)
    saved_by = _text(document, value, "created_by", findings)
    compression = _text(document, value, "compression", findings) or "none"
    if findings:
        raise InvalidText(findings)
    known = {"hashes", "size", "created_by", "add_time", "compression", "message"}
    extra = {name: item for name, item in value.items() if name not in known}
    return Sidecar(oid, size, add_time, message, saved_by, compression, extra)


def _text(document: Document, value: Mapping[str, Value], key: str, findings: list[Finding], *, required: bool = False) -> str:
    held = value.get(key)
    if isinstance(held, str):
        return held
    if held is not None or required:
        what = f"{key} is missing" if held is None else f"{key} is not text"
        findings.append(_finding(document, (key,), what, "add the file again, or restore the sidecar from git"))
    return ""


def _size(document: Document, value: Mapping[str, Value], findings: list[Finding]) -> int:
    size = value.get("size")
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    what = "size is missing" if size is None else "size is not a number of bytes"
    findings.append(_finding(document, ("size",), what, "add the file again, or restore the sidecar from git"))
    return 0


def _finding(document: Document, pointer: tuple[str, ...], message: str, fix: str | None) -> Finding:
    line, column = document.position(pointer)
    return found(SIDECAR, document.path, message, line=line, column=column, fix=fix)


def _invalid(document: Document, pointer: tuple[str, ...], message: str, fix: str) -> InvalidText:
    return InvalidText([_finding(document, pointer, message, fix)])


def write_sidecar(sidecar: Sidecar, spelling: SidecarFormat) -> bytes:
    """The sidecar in the spelling of the first generation, keys in its order, LF at the end."""
    if spelling is SidecarFormat.JSON and not sidecar.extra and sidecar.oid.startswith("blake3:"):
        # The common case without the detour over a dictionary: adding 20,000 files writes as many of these.
        return (
            f'{{\n  "blake3_checksum": "{sidecar.oid[7:]}",\n  "size": {sidecar.size},\n'
            f'  "add_time": {json.dumps(sidecar.add_time, ensure_ascii=False)},\n'
            f'  "message": {json.dumps(sidecar.message, ensure_ascii=False)},\n'
            f'  "saved_by": {json.dumps(sidecar.saved_by, ensure_ascii=False)}\n}}\n'
        ).encode()
    record = to_record(sidecar)
    if spelling is SidecarFormat.JSON:
        return (json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()
    from schemas import toml_write

    return toml_write.write(record).encode()


def to_record(sidecar: Sidecar) -> dict[str, Any]:
    """The keys of the first generation in its order, as snapshots keep them."""
    algorithm, _, digits = sidecar.oid.partition(":")
    record: dict[str, Any] = {
        "blake3_checksum": digits,
        "size": sidecar.size,
        "add_time": sidecar.add_time,
        "message": sidecar.message,
        "saved_by": sidecar.saved_by,
    }
    if algorithm != "blake3":
        record["hash_algo"] = algorithm
    return {**record, **sidecar.extra}

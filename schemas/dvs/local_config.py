"""`.dvs/config.toml`: what belongs to one clone and is never tracked: remotes, the token, the size of the cache, links.

Reading and editing; where the token goes is decided by its readers, and no message of ours shows it.

Light: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas import toml_text
from schemas.document import Value
from schemas.errors import InvalidText, UsageError
from schemas.findings import Finding, Severity, found, rule

LOCAL_CONFIG = rule("dvs-local-config", Severity.ERROR, "The settings of a clone have values that can be used.")

FILE: Final = ".dvs/config.toml"
KEYS: Final = ("base_url", "auth.token", "cache.max_size", "cache.link")
"""What `local-config` sets, besides `remotes.<name>`."""
LINKS: Final = ("copy", "reflink", "hardlink")
"""How files come out of the storage or the cache, where the file system can; reflink is the default, and falls back to copy."""
_REMOTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)?\Z", re.IGNORECASE)
_UNITS: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """The settings of one clone. `remotes` maps names to URLs; `max_size` is in bytes; `link` is one of LINKS."""

    base_url: str | None = None
    token: str | None = field(default=None, repr=False)
    max_size: int | None = None
    remotes: Mapping[str, str] = field(default_factory=dict)
    link: str | None = None


def size_in_bytes(value: object) -> int:
    """Bytes of a number or of a text such as `10 GiB`. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size such as 10 GiB")
    return int(float(match[1]) * _UNITS[(match[2] or "B").lower()])


def read_local_config(data: bytes | None, path: str = FILE) -> LocalConfig:
    """The settings; those of a missing file are all unset. Raises InvalidText."""
    if data is None or not data.strip():
        return LocalConfig()
    document = toml_text.read(data, path)
    findings: list[Finding] = []

    def fail(pointer: tuple[str, ...], message: str, fix: str) -> None:
        line, column = document.position(pointer)
        findings.append(found(LOCAL_CONFIG, path, message, line=line, column=column, fix=fix))

    def held(pointer: tuple[str, ...]) -> Value:
        try:
            return document.get(pointer)
        except KeyError:
            return None

    def text(pointer: tuple[str, ...]) -> str | None:
        value = held(pointer)
        if value is not None and not isinstance(value, str):
            # The value is not shown: it may be a token that lacks its quotes.
            fail(pointer, f"{'.'.join(pointer)} is not text", "write it in quotes")
            return None
        return value or None

    max_size = None
    if (value := held(("cache", "max_size"))) is not None:
        try:
            max_size = size_in_bytes(value)
        except ValueError as error:
            fail(("cache", "max_size"), str(error), "write bytes, or a text such as 10 GiB")
    link = text(("cache", "link"))
    if link is not None and link not in LINKS:
        fail(("cache", "link"), f"cache.link is {link!r}", f"use one of {', '.join(LINKS)}")
    remotes = {}
    listed = held(("remotes",))
    for name, entry in (listed if isinstance(listed, dict) else {}).items():
        if not _REMOTE.match(name):
            fail(("remotes", name), f"{name!r} is not a name for a remote", "use letters, digits, '-' and '_'")
            continue
        url = entry.get("url") if isinstance(entry, dict) else entry
        if isinstance(url, str) and url:
            remotes[name] = url
        else:
            fail(("remotes", name), f"the remote {name} has no url", 'write url = "…" below it')
    config = LocalConfig(text(("base_url",)), text(("auth", "token")), max_size, remotes, link)
    if findings:
        raise InvalidText(findings)
    return config


def set_local(data: bytes | None, key: str, value: str, path: str = FILE) -> bytes:
    """The file with one key set. Raises UsageError for a key that does not exist or a value that cannot be used."""
    pointer = _pointer(key)
    held: Value = value
    if key == "cache.max_size":
        try:
            held = size_in_bytes(int(value) if value.isdigit() else value)
        except ValueError as error:
            raise UsageError(str(error), rule="dvs-local-config", fix="write bytes, or a text such as 10 GiB") from None
    elif key == "cache.link" and value not in LINKS:
        raise UsageError(f"cache.link is {value!r}", rule="dvs-local-config", fix=f"use one of {', '.join(LINKS)}")
    elif not value.strip():
        raise UsageError(f"{key} cannot be empty", rule="dvs-local-config", fix=f"use `headwater dvs local-config unset {key}`")
    document = toml_text.read(data, path) if data and data.strip() else None
    if document is None:
        from schemas import toml_write

        nested: dict[str, Value] = {pointer[-1]: held}
        for part in reversed(pointer[:-1]):
            nested = {part: nested}
        return toml_write.write(nested).encode()
    for depth in range(1, len(pointer)):
        try:
            document.get(pointer[:depth])
        except KeyError:
            nested = {pointer[-1]: held}
            for part in reversed(pointer[depth:-1]):
                nested = {part: nested}
            return document.set(pointer[:depth], nested).data
    return document.set(pointer, held).data


def unset_local(data: bytes | None, key: str, path: str = FILE) -> bytes:
    """The file without one key, and without the section that it leaves empty. Raises UsageError for a key that does not exist."""
    pointer = _pointer(key)
    if not data or not data.strip():
        return b""
    document = toml_text.read(data, path)
    while pointer:
        try:
            document = document.delete(pointer)
        except KeyError:
            break
        pointer = pointer[:-1]
        if not pointer or document.get(pointer):
            break
    return document.data


def _pointer(key: str) -> tuple[str, ...]:
    if key == "auth_token":  # the original tool's name for it
        key = "auth.token"
    if key in KEYS:
        return tuple(key.split("."))
    section, _, name = key.partition(".")
    if section == "remotes" and _REMOTE.match(name):
        return ("remotes", name, "url")
    raise UsageError(
        f"{key!r} is not a setting of a clone",
        rule="dvs-local-config",
        fix=f"use one of {', '.join(KEYS)}, remotes.NAME",
    )

"""The workspace's configuration: `headwater.toml` and the environment, as plain values.

The file is parsed and validated once per content and the outcome kept as JSON in machine state, so that an unchanged command
imports neither a TOML parser nor pydantic. The rules of the file are `schemas.workspace`'s. Light: standard library only.

Environment: HEADWATER_ROOT (read by `resources.workspace`), HEADWATER_CACHE_DIR (the user's cache folder),
HEADWATER_REMOTE_CACHE (overrides `[cache] remote`), HEADWATER_CACHE_MODE (overrides `[cache] mode`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.storage import check_url, is_url
from resources.storage.base import Storage
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid

FILE = "headwater.toml"
DEFAULT_CACHE_SIZE = 10 << 30
"""Bytes the local build cache may take unless `[cache] max_size` says otherwise."""
_SIZE_LIMIT = 1 << 20
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One `[stores."<name>"]`: `kind` and `path` (workspace-relative, '' for the root), the kind's settings, and `confirm`
    where it is set."""

    name: str
    kind: str
    path: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    confirm: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """What `headwater.toml` and the environment say. `oid` is that of the file, None when there is none."""

    name: str | None = None
    owner: str | None = None
    exclude: tuple[str, ...] = ()
    cache_max_size: int = DEFAULT_CACHE_SIZE
    cache_remote: str | None = None
    cache_remote_given: bool = False
    """Whether the environment names the remote, not a file that others may have written."""
    cache_mode: str = "read"
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Glob over kind/store/artifact -> settings of those artifacts, in the order of the file."""
    stores: Mapping[str, StoreConfig] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)
    """What runs by the clock -> cron expression, as far as `[schedule]` sets it."""
    oid: str | None = None


def load_config(storage: Storage, local_state: Path | None) -> Config:
    """The configuration of the workspace at `storage`; `local_state` is the folder the parsed form is kept in.

    Raises InvalidText for a file that breaks the rules, NewerFormat for one of a later version, UsageError (rule `url-…`) for
    a remote cache that cannot be meant.
    """
    try:
        data = storage.read(FILE, limit=_SIZE_LIMIT)
    except FileNotFoundError:
        return _with_environment({}, None)
    oid = bytes_oid(data)
    kept = _kept(local_state, oid)
    if kept is None:
        kept = _parse(data)
        _keep(local_state, oid, kept)
    return _with_environment(kept, oid)


def _parse(data: bytes) -> dict[str, Any]:
    """The validated file as JSON values."""
    from schemas.workspace import read_workspace

    parsed: dict[str, Any] = read_workspace(data, FILE).model_dump(mode="json", exclude_none=True)
    return parsed


def _kept(local_state: Path | None, oid: str) -> dict[str, Any] | None:
    if local_state is None:
        return None
    try:
        record = json.loads((local_state / "config.json").read_bytes())
        if record["format"] == _FORMAT and record["oid"] == oid and isinstance(record["value"], dict):
            return dict(record["value"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _keep(local_state: Path | None, oid: str, value: dict[str, Any]) -> None:
    """Best effort: where machine state cannot be written, the file is parsed again next time."""
    if local_state is None:
        return
    with suppress(OSError, HeadwaterError):
        from resources.storage.local import LocalStorage

        record = json.dumps({"format": _FORMAT, "oid": oid, "value": value}, sort_keys=True).encode()
        LocalStorage(local_state, state=local_state).write("config.json", record)


def _with_environment(value: Mapping[str, Any], oid: str | None) -> Config:
    workspace, cache = value.get("workspace", {}), value.get("cache", {})
    size = cache.get("max_size", DEFAULT_CACHE_SIZE)
    given = os.environ.get("HEADWATER_REMOTE_CACHE")
    remote = given or cache.get("remote")
    if remote and is_url(remote):
        # Said once and before any work; every build that looks into the remote would fail.
        said_in = "HEADWATER_REMOTE_CACHE" if given else f"[cache] remote in {FILE}"
        if remote.startswith(("http://", "https://")):
            from resources.remotes.credentials import check_server_url

            check_server_url(remote, said_in)
        else:
            check_url(remote, said_in)
    mode = os.environ.get("HEADWATER_CACHE_MODE") or cache.get("mode") or "read"
    if mode not in ("read", "write"):
        raise UsageError("HEADWATER_CACHE_MODE is neither read nor write", rule="cache-mode", fix="set it to read or write")
    stores = {
        name: StoreConfig(name, store["kind"], _folder(store.get("path", ".")), store.get("settings", {}), store.get("confirm"))
        for name, store in sorted(value.get("stores", {}).items())
    }
    return Config(
        name=workspace.get("name"),
        owner=workspace.get("owner"),
        exclude=tuple(workspace.get("exclude", ())),
        cache_max_size=size if isinstance(size, int) else parse_size(size),
        cache_remote=remote,
        cache_remote_given=bool(given),
        cache_mode=mode,
        artifacts=value.get("artifacts", {}),
        stores=stores,
        schedules=value.get("schedule", {}),
        oid=oid,
    )


def _folder(path: str) -> str:
    """A folder as the rest of Headwater writes it: '' for the root, no final '/'."""
    return "" if path == "." else path.removesuffix("/")


_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}


def parse_size(text: str) -> int:
    """Bytes of a size such as `10 GiB`, `500 MB` or `1024`; raises ValueError."""
    digits = text.strip()
    unit = digits.lstrip("0123456789.")
    number = digits[: len(digits) - len(unit)]
    if unit.strip() not in _UNITS or not number:
        raise ValueError(f"{text!r} is not a size; write for example '10 GiB'")
    return int(float(number) * _UNITS[unit.strip()])


def cache_folder() -> Path:
    """The user's cache folder for Headwater: HEADWATER_CACHE_DIR, else the platform's own place (XDG, `~/Library/Caches`)."""
    import sys

    if chosen := os.environ.get("HEADWATER_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headwater"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "headwater" / "cache"
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "headwater"

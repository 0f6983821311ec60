"""A repository's configuration, `dvs.toml`, `dvs.yaml` or `dvs.json`, of every generation.

The first generation says `storage_dir`, `permissions` (its decimal number for an octal mode), `group`, `hash_algo`,
`metadata_format` and `generated_by`; the third `[backend] path` and `group`, `compression` and `metadata_folder_name`. We write
the keys of the first, the mode in octal, and three of our own: `layout`, `retain` and `require_reason`.

Light: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.document import Document, Value
from schemas.dvs.oids import ALGORITHMS
from schemas.errors import InvalidText
from schemas.findings import Finding, Severity, found, rule

CONFIG = rule("dvs-config", Severity.ERROR, "A repository's configuration names its storage, with values that can be used.")
CONFIG_KEY = rule("dvs-config-key", Severity.WARNING, "A repository's configuration holds only keys that mean something.")
CONFIG_TWICE = rule("dvs-config-twice", Severity.ERROR, "A repository has one configuration file.")

FILES: Final = ("dvs.toml", "dvs.yaml", "dvs.json")
"""Where the configuration lies, the one that is written first."""

LAYOUTS: Final = ("packed", "loose")
COMPRESSIONS: Final = ("none", "zstd")
METADATA_FORMATS: Final = ("json", "toml")
MAX_MODE: Final = 0o7777
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$-]{0,63}\Z")
_DURATION = re.compile(r"(\d+)\s*(s|min|h|d|w|y)\Z")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}


@dataclass(frozen=True, slots=True)
class RepoConfig:
    """What `dvs.toml` says. `storage_dir` is a path (relative to the repository, or absolute) or a URL."""

    storage_dir: str
    permissions: int | None = None
    """The mode of objects, such as 0o664; folders get the execute bits to it and setgid. None leaves it to the umask."""
    group: str | None = None
    hash_algo: str = "blake3"
    metadata_format: str = "json"
    compression: str = "none"
    layout: str = "packed"
    """`packed` gathers small objects into pack files; `loose` keeps every object a file, as the original tool does."""
    retain: str | None = None
    """How long what was added is kept whatever happens, such as `7y`."""
    require_reason: bool = False
    """Whether operations on the storage need a message for the audit log."""
    metadata_folder: str | None = None
    """The mirror tree in which the third generation keeps sidecars; None where they lie beside the data."""
    generation: int = 1
    generated_by: Mapping[str, Value] = field(default_factory=dict)

    @property
    def retain_seconds(self) -> int:
        """`retain` in seconds, 0 without it."""
        return 0 if self.retain is None else duration(self.retain)


def duration(text: str) -> int:
    """Seconds of a duration such as `30 d`, `12h`, `7y`. Raises ValueError."""
    match = _DURATION.match(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30d, 12h or 7y")
    return int(match[1]) * _SECONDS[match[2]]


def octal_mode(value: object) -> int:
    """A mode from an octal text (`664`, `0o664`) or from the first generation's decimal number (436 for 0o664).

    Raises ValueError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        mode = value
    elif isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{3,5}", value.strip()):
        mode = int(value.strip().removeprefix("0o"), 8)
    else:
        raise ValueError(f"{value!r} is not an octal mode such as 664")
    if not 0 <= mode <= MAX_MODE:
        raise ValueError(f"{value!r} is no mode: it lies outside of 0 to 7777 (octal)")
    return mode


def document_of(data: bytes, path: str) -> Document:
    """The file read by its format. Raises InvalidText."""
    if path.endswith(".toml"):
        from schemas import toml_text

        return toml_text.read(data, path)
    if path.endswith(".json"):
        from schemas import json_text

        return json_text.read(data, path)
    from schemas import yaml_text

    return yaml_text.read(data, path)


def read_config(data: bytes, path: str) -> tuple[RepoConfig, list[Finding]]:
    """The configuration, and warnings about keys that mean nothing. Raises InvalidText with all that is wrong."""
    document = document_of(data, path)
    value = document.value
    reader = _Reader(document)
    if not isinstance(value, dict):
        reader.fail((), "the configuration is not a mapping", "write `storage_dir` and the other keys at the top")
        raise InvalidText(reader.findings)
    backend = value.get("backend")
    third = isinstance(backend, dict)
    place: tuple[str, ...] = ("backend", "path") if third else ("storage_dir",)
    storage = reader.text(place)
    if storage is None and not reader.findings:
        reader.fail(place, f"{'.'.join(place)} is missing", "say where the objects lie")
    config = RepoConfig(
        storage or "",
        reader.mode(("permissions",)),
        reader.group(("backend", "group") if third else ("group",)),
        reader.choice(("hash_algo",), ALGORITHMS, "blake3"),
        reader.choice(("metadata_format",), METADATA_FORMATS, "json"),
        reader.choice(("compression",), COMPRESSIONS, "none"),
        reader.choice(("layout",), LAYOUTS, "loose" if third else "packed"),
        reader.duration(("retain",)),
        reader.flag(("require_reason",)),
        (reader.text(("metadata_folder_name",)) or ".dvs") if third else reader.text(("metadata_folder_name",)),
        3 if third else 1,
        reader.mapping(("generated_by",)),
    )
    if reader.findings:
        raise InvalidText(reader.findings)
    return config, reader.unknown()


class _Reader:
    """Values of a document by pointer, with a finding for each that cannot be used."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []
        self.asked: set[tuple[str, ...]] = set()

    def fail(self, pointer: tuple[str, ...], message: str, fix: str) -> None:
        line, column = self.document.position(pointer)
        self.findings.append(found(CONFIG, self.document.path, message, line=line, column=column, fix=fix))

    def value(self, pointer: tuple[str, ...]) -> Value:
        self.asked.add(pointer)
        try:
            return self.document.get(pointer)
        except KeyError:
            return None

    def text(self, pointer: tuple[str, ...]) -> str | None:
        value = self.value(pointer)
        if value is None or (isinstance(value, str) and value):
            return value
        self.fail(pointer, f"{'.'.join(pointer)} is not text", "write it in quotes, or remove it")
        return None

    def choice(self, pointer: tuple[str, ...], choices: tuple[str, ...], default: str) -> str:
        value = self.value(pointer)
        if value is None:
            return default
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        self.fail(pointer, f"{'.'.join(pointer)} is {value!r}", f"use one of {', '.join(choices)}")
        return default

    def mode(self, pointer: tuple[str, ...]) -> int | None:
        value = self.value(pointer)
        if value is None:
            return None
        try:
            return octal_mode(value)
        except ValueError as error:
            self.fail(pointer, str(error), 'write the mode as octal text, such as "664"')
            return None

    def group(self, pointer: tuple[str, ...]) -> str | None:
        name = self.text(pointer)
        if name is not None and not _GROUP.match(name):
            self.fail(pointer, f"{name!r} is not the name of a group", "name a group of this system")
        return name

    def duration(self, pointer: tuple[str, ...]) -> str | None:
        text = self.text(pointer)
        if text is not None:
            try:
                duration(text)
            except ValueError as error:
                self.fail(pointer, str(error), "write a number and a unit: s, min, h, d, w or y")
        return text

    def flag(self, pointer: tuple[str, ...]) -> bool:
        value = self.value(pointer)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.fail(pointer, f"{'.'.join(pointer)} is neither true nor false", "write true or false")
        return False

    def mapping(self, pointer: tuple[str, ...]) -> Mapping[str, Value]:
        value = self.value(pointer)
        if value is None or isinstance(value, dict):
            return value or {}
        self.fail(pointer, f"{'.'.join(pointer)} is not a mapping", "remove it")
        return {}

    def unknown(self) -> list[Finding]:
        """A warning for each key nobody asked for."""
        known = {pointer[0] for pointer in self.asked}
        value = self.document.value
        warnings = []
        for key in value if isinstance(value, dict) else ():
            if key not in known:
                line, column = self.document.key_position((key,))
                message, fix = f"{key} is not a known key", "remove it, or correct its spelling"
                warnings.append(found(CONFIG_KEY, self.document.path, message, line=line, column=column, fix=fix, value=key))
        return warnings


def to_record(config: RepoConfig) -> dict[str, Any]:
    """The keys as they are written, those at their default left out."""
    record: dict[str, Any] = {"storage_dir": config.storage_dir}
    if config.permissions is not None:
        record["permissions"] = f"{config.permissions:03o}"
    if config.group is not None:
        record["group"] = config.group
    record["hash_algo"] = config.hash_algo
    record["metadata_format"] = config.metadata_format
    for name, default in (("compression", "none"), ("layout", "packed"), ("retain", None), ("require_reason", False)):
        if getattr(config, name) != default:
            record[name] = getattr(config, name)
    if config.generated_by:
        record["generated_by"] = dict(config.generated_by)
    return record


def write_config(config: RepoConfig, path: str = FILES[0]) -> bytes:
    """The configuration in the format its name says, in the keys of the first generation."""
    record = to_record(config)
    if path.endswith(".toml"):
        from schemas import toml_write

        return toml_write.write(record).encode()
    if path.endswith(".json"):
        from schemas import json_text

        return json_text.write(record).encode()
    from schemas import yaml_text

    return yaml_text.write(record).encode()

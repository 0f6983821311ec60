"""The settings of an object server: defaults, a TOML file, and what may not be combined. Light: standard library only."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from schemas import toml_text
from schemas.dvs.local_config import size_in_bytes
from schemas.errors import InvalidText, UsageError
from schemas.findings import Finding, Severity, found, rule

SETTINGS = rule("dvs-server-settings", Severity.ERROR, "The settings of an object server have values that can be used.")

RULE: Final = "dvs-server-settings"
ANONYMOUS: Final = ("none", "read", "write")
LEAST_UPLOAD: Final = 1024
_SIZES: Final = ("max_upload", "slowest")


@dataclass(frozen=True, slots=True)
class Settings:
    """How an object server runs. Sizes are in bytes, times in seconds; a file may write sizes such as `100 MiB`."""

    host: str = "127.0.0.1"
    """The address to listen on; one that is not loopback needs TLS, or `plain_http`."""
    port: int = 8080
    storage: str | None = None
    """The folder that holds the objects."""
    tokens: str | None = None
    """The token file; that of the user when it is not named."""
    anonymous: str = "none"
    """What requests without a token may do: none, read, or write (which includes reading). Nobody deletes without a token."""
    allow_xxh3: bool = False
    """Take objects that are named by xxh3, whose names can be made to collide on purpose."""
    max_upload: int = 16 << 30
    """The largest object that is taken, in bytes."""
    tls_cert: str | None = None
    """The certificate chain, a PEM file."""
    tls_key: str | None = None
    """The key of the certificate, a PEM file."""
    plain_http: bool = False
    """Listen beyond loopback without TLS: for a server behind a proxy that adds it."""
    concurrency: int = 32
    """Requests that are worked on at once; others wait."""
    queue: float = 30.0
    """Seconds a request waits for its turn before it is told to come again."""
    connections: int = 1000
    """Open connections; more are turned away."""
    wrong_tokens: int = 20
    """Wrong tokens that one address may send within a minute before it is told to wait."""
    header_time: float = 10.0
    """Seconds for the head of a request to arrive."""
    stall: float = 30.0
    """Seconds without a byte after which a transfer is given up."""
    slowest: int = 16 << 10
    """Bytes per second below which a transfer is given up, after its first minute."""
    grace: float = 60.0
    """Seconds before `slowest` counts."""
    longest: float = 24 * 3600.0
    """Seconds after which any request is given up."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def check(settings: Settings) -> Settings:
    """The settings, when they can be used together. Raises UsageError (rule `dvs-server-settings`)."""
    problems = [
        (not settings.host, "host is empty", "name an address, such as 127.0.0.1"),
        (not 0 <= settings.port <= 65535, f"port {settings.port} is none", "use a number from 1 to 65535"),
        (settings.max_upload < LEAST_UPLOAD, f"max_upload is {settings.max_upload}", f"allow at least {LEAST_UPLOAD} bytes"),
        (settings.anonymous not in ANONYMOUS, f"anonymous is {settings.anonymous!r}", f"use one of {', '.join(ANONYMOUS)}"),
        (settings.concurrency < 1, "concurrency is less than 1", "let at least one request be worked on"),
        (
            bool(settings.tls_cert) != bool(settings.tls_key),
            "TLS needs a certificate and its key",
            "give both tls_cert and tls_key",
        ),
        (
            not settings.is_loopback and not settings.tls_cert and not settings.plain_http,
            f"{settings.host} can be reached from other machines, and tokens would cross the network in the clear",
            "give --tls-cert and --tls-key, or --plain-http behind a proxy that adds TLS",
        ),
    ]
    for bad, message, fix in problems:
        if bad:
            raise UsageError(message, rule=RULE, fix=fix)
    return settings


def read_settings(data: bytes, path: str) -> Settings:
    """The settings of a TOML file, defaults where it says nothing. Raises InvalidText with all that is wrong."""
    document = toml_text.read(data, path)
    value = document.value
    held: Mapping[str, Any] = value if isinstance(value, dict) else {}
    known = {field.name: field.default for field in fields(Settings)}
    findings: list[Finding] = []
    given: dict[str, Any] = {}

    def fail(name: str, message: str, fix: str) -> None:
        line, column = document.position((name,))
        findings.append(found(SETTINGS, path, message, line=line, column=column, fix=fix))

    for name, entry in held.items():
        if name not in known:
            fail(name, f"{name} is no setting", f"remove it; the settings are {', '.join(known)}")
            continue
        try:
            given[name] = _value(name, entry, known[name])
        except ValueError as error:
            fail(name, str(error), "correct the value")
    if given.get("port") == 0:
        fail("port", "port is 0", "name the port that clients use")
    if not findings:
        try:
            return check(replace(Settings(), **given))
        except UsageError as error:
            fail(next((name for name in given if name in error.message), ""), error.message, error.fix or "")
    raise InvalidText(findings)


def _value(name: str, entry: object, default: object) -> object:
    if name in _SIZES:
        return size_in_bytes(entry)
    if isinstance(default, bool):
        if not isinstance(entry, bool):
            raise ValueError(f"{name} is neither true nor false")
        return entry
    if isinstance(default, (int, float)):
        if isinstance(entry, bool) or not isinstance(entry, (int, float)) or entry < 0 or int(entry) != entry:
            raise ValueError(f"{name} is no whole number from 0 on")
        return type(default)(entry)
    if not isinstance(entry, str) or not entry:
        raise ValueError(f"{name} is no text")
    return entry


def write_settings(settings: Settings) -> bytes:
    """The settings as a TOML file, those at their default left out."""
    from schemas import toml_write

    default = Settings()
    names = [field.name for field in fields(Settings)]
    record = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(default, name)}
    return toml_write.write({name: int(value) if isinstance(value, float) else value for name, value in record.items()}).encode()


def absolute(settings: Settings, base: Path) -> Settings:
    """The settings with every path absolute, relative ones starting at the folder `base`."""

    def at(path: str | None) -> str | None:
        return None if path is None else str(base / Path(path).expanduser())

    return replace(
        settings,
        storage=at(settings.storage),
        tokens=at(settings.tokens),
        tls_cert=at(settings.tls_cert),
        tls_key=at(settings.tls_key),
    )

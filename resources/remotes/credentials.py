"""Tokens of object servers: where they are kept, and which server is sent which.

A token belongs to one server. It lies in the user's own file (mode 0600), by the server's origin, or in the environment for a
server that the user named in the same environment: a repository that names a server must not be sent what was meant for
another.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from schemas.errors import HeadwaterError, UsageError

TOKEN: Final = "HEADWATER_TOKEN"
"""The environment variable with a token for the server that the command line or the environment names."""
FILE: Final = "HEADWATER_TOKENS"
"""The environment variable that names another file than the user's own."""
INSECURE: Final = "HEADWATER_ALLOW_HTTP"
"""The environment variable that allows plain http to other machines."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_LIMIT: Final = 1 << 20


def tokens_file() -> Path:
    """The file with the user's tokens: HEADWATER_TOKENS, else `headwater/tokens.json` in the configuration folder (XDG)."""
    given = os.environ.get(FILE)
    if given:
        return Path(given).expanduser()
    above = os.environ.get("XDG_CONFIG_HOME") or ""
    return (Path(above) if Path(above).is_absolute() else Path.home() / ".config") / "headwater" / "tokens.json"


def origin_of(url: str) -> str:
    """`scheme://host[:port]` of a URL, in lower case. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise UsageError("this is not the URL of an object server", rule="url-malformed", fix="write https://host/path")
    return f"{parts.scheme}://{parts.netloc}".lower()


def check_server_url(url: str, given_by: str = "") -> None:
    """Raise UsageError for a URL that no object server may have; `given_by` says where it stands, for the message.

    One with credentials, a query or a fragment (`url-malformed`), or plain http to another machine, unless the environment sets
    HEADWATER_ALLOW_HTTP=1 (`dvs-remote-insecure`).
    """
    lead = f"{given_by}: " if given_by else ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{lead}the URL of the object server is malformed or holds credentials",
            rule="url-malformed",
            fix="write https://host/path; `headwater cache login URL` keeps the token",
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and os.environ.get(INSECURE) != "1":
        raise UsageError(
            f"{lead}http://{parts.hostname} is not encrypted: everybody on the way could read the token and change the bytes",
            rule="dvs-remote-insecure",
            fix=f"use https://, or set {INSECURE}=1 in a network that you trust",
        )


def token_for(url: str, *, trusted: bool) -> str | None:
    """The token for the server at a URL; that of the environment only where the user named the server (`trusted`).

    Raises HeadwaterError (rules `tokens-mode`, `tokens-unreadable`).
    """
    given = os.environ.get(TOKEN)
    if given and trusted:
        return given
    held = _read(tokens_file()).get(origin_of(url))
    return held if isinstance(held, str) else None


def keep_token(url: str, token: str | None) -> Path:
    """Remember a token for a server, or forget it (None); returns the file, which only the user can read."""
    from resources.storage.local import LocalStorage

    path = tokens_file()
    tokens = dict(_read(path))
    if token is None:
        tokens.pop(origin_of(url), None)
    else:
        tokens[origin_of(url)] = token
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = os.umask(0o077)
    try:
        storage = LocalStorage(path.parent, state=path.parent / ".state")
        storage.write(path.name, json.dumps(tokens, indent=2, sort_keys=True).encode() + b"\n")
    finally:
        os.umask(before)
    path.chmod(0o600)
    return path


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise HeadwaterError(
                    "others can read this file of tokens", rule="tokens-mode", path=str(path), fix=f"chmod 600 {path}"
                )
            record = json.loads(file.read(_LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HeadwaterError(
            f"the file of tokens cannot be read: {error}", rule="tokens-unreadable", path=str(path), fix="mend or remove it"
        ) from error
    return record if isinstance(record, dict) else {}

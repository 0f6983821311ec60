"""Who may use an object server: tokens with rights, of which only hashes are kept.

A token is 256 random bits, so that a plain SHA-256 of it gives nothing away; it is shown once, when it is made. The file is JSON,
mode 0600, read again whenever it changes. Light: standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from resources.storage.base import ABSENT, Expect
from schemas.errors import Conflict, HeadwaterError, NewerFormat, UsageError
from schemas.oid import bytes_oid

FORMAT: Final = 1
PREFIX: Final = "hwt_"
"""How every token begins, so that it is recognised where it does not belong."""
_LIMIT: Final = 1 << 20
_ATTEMPTS: Final = 20
_LOOK_AGAIN: Final = 1.0
"""Seconds for which the file is not looked at again: a token that was removed is good for so long."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Right(StrEnum):
    """What a token allows. ADMIN implies the others."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `digest` is the SHA-256 of its text; `expires` is in seconds since 1970, None for never."""

    name: str
    digest: bytes
    rights: frozenset[Right]
    created: str
    expires: float | None = None

    def allows(self, right: Right) -> bool:
        """Whether the token gives that right."""
        return right in self.rights or Right.ADMIN in self.rights

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "name": self.name,
            "hash": f"sha256:{self.digest.hex()}",
            "rights": sorted(self.rights),
            "created": self.created,
        }
        return record if self.expires is None else record | {"expires": self.expires}


def default_path() -> Path:
    """The token file of this user: `dvs-tokens.json` in the user's configuration folder for Headwater."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        folder = configured if configured.is_absolute() else Path.home() / ".config"
    return folder / "headwater" / "dvs-tokens.json"


def digest_of(secret: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of the file; none when there is no file.

    Raises HeadwaterError (rule `dvs-token-file`) for a file that others can read or that cannot be understood.
    """
    try:
        with path.open("rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}", "make it readable for the server's user") from error
    return _parse(data, path)


def add_token(path: Path, name: str, rights: Iterable[Right], *, expires: float | None = None) -> str:
    """Make a token and keep its hash; returns the token, which nobody can show again. Raises UsageError, HeadwaterError."""
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} is no name for a token", rule="usage", fix="use letters, digits, dots, hyphens and underscores, at most 64"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = Token(name, digest_of(secret), frozenset(rights), created, expires)

    def change(held: tuple[Token, ...]) -> tuple[Token, ...]:
        if any(token.name == name for token in held):
            raise UsageError(f"there is a token {name!r} already", rule="usage", fix=f"remove it with `token rm {name}` first")
        return (*held, made)

    _update(path, change)
    return secret


def remove_token(path: Path, name: str) -> None:
    """Forget a token; servers refuse it within a second. Raises UsageError when there is none of that name."""

    def change(held: tuple[Token, ...]) -> tuple[Token, ...]:
        left = tuple(token for token in held if token.name != name)
        if len(left) == len(held):
            raise UsageError(f"there is no token {name!r}", rule="usage", fix="`headwater dvs token list` shows their names")
        return left

    _update(path, change)


def _update(path: Path, change: Any) -> None:
    from resources.config import cache_folder
    from resources.storage.local import LocalStorage
    from resources.storage.sharing import Sharing

    refuse_tracked(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = LocalStorage(path.parent, state=cache_folder() / "dvs-tokens", sharing=Sharing(0o600))
    for attempt in range(_ATTEMPTS):
        held = read_tokens(path)
        expect: Expect = ABSENT
        if path.exists():
            expect = bytes_oid(path.read_bytes())
            held = read_tokens(path)
        text = json.dumps({"format": FORMAT, "tokens": [token.to_json() for token in change(held)]}, indent=2) + "\n"
        try:
            folder.write(path.name, text.encode(), expect=expect)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def refuse_tracked(path: Path) -> None:
    """Raise HeadwaterError (rule `dvs-token-file`) when git tracks the file: what git has, everybody with the repository has."""
    from resources.git import Git, top_level

    if not path.parent.is_dir():
        return
    top = top_level(path.parent)
    if top is None:
        return
    inside = Path(os.path.realpath(path)).relative_to(os.path.realpath(top)).as_posix()
    if inside in Git(top).tracked([inside]):
        raise _wrong(path, "is tracked by git", f"make new tokens and untrack it: git rm --cached {inside}")


def _check_private(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return
    if not stat.S_ISREG(status.st_mode):
        raise _wrong(path, "is no regular file", "move it away")
    if status.st_mode & 0o077:
        raise _wrong(path, f"can be read by others (mode {status.st_mode & 0o777:03o})", f"chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise _wrong(path, "belongs to somebody else", f"chown it to the server's user, or name another file than {path}")


def _parse(data: bytes, path: Path) -> tuple[Token, ...]:
    if len(data) > _LIMIT:
        raise _wrong(path, f"has more than {_LIMIT} bytes", "move it away and make new tokens")
    try:
        record = json.loads(data)
        number = record["format"]
        if isinstance(number, int) and number > FORMAT:
            raise NewerFormat(
                f"the token file {path} was written by a newer Headwater", rule="format-newer", fix="update Headwater"
            )
        return tuple(_token(entry) for entry in record["tokens"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _wrong(path, "cannot be understood", "restore it from a backup, or move it away and make new tokens") from None


def _token(entry: dict[str, Any]) -> Token:
    name, text, expires = entry["name"], entry["hash"], entry.get("expires")
    if not _NAME.match(name) or not _HASH.match(text) or not isinstance(expires, (int, float, type(None))):
        raise ValueError(name)
    rights = frozenset(Right(right) for right in entry["rights"])
    return Token(name, bytes.fromhex(text.partition(":")[2]), rights, str(entry["created"]), expires)


def _wrong(path: Path, what: str, fix: str) -> HeadwaterError:
    return HeadwaterError(f"the token file {path} {what}", rule="dvs-token-file", fix=fix)


class Tokens:
    """The tokens of a running server: the file is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looked = 0.0
        self._seen: tuple[int, ...] | None = None
        self._held: tuple[Token, ...] = ()
        self._broken: HeadwaterError | None = None
        self.load()
        if self._broken is not None:
            raise self._broken

    def load(self) -> None:
        """Look at the file now. While it cannot be read, no token is good."""
        self._looked = time.monotonic()
        seen: tuple[int, ...]
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size, status.st_mode)
        except FileNotFoundError:
            seen = ()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._held, self._broken = read_tokens(self.path), None
        except HeadwaterError as error:
            self._held, self._broken = (), error

    def find(self, secret: str) -> Token | None:
        """The token with that text, None when there is none or it has expired. Every token is compared, in the same time."""
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN:
            self.load()
        given = digest_of(secret)
        found = None
        for token in self._held:
            if hmac.compare_digest(token.digest, given):
                found = token
        if found is not None and found.expires is not None and time.time() > found.expires:
            return None
        return found

    def __len__(self) -> int:
        return len(self._held)

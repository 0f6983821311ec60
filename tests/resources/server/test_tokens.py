"""Tokens of an object server: kept hashed and private, compared in constant time, looked at again."""

from __future__ import annotations

import hmac
import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from resources.server import tokens as module
from resources.server.tokens import Right, Tokens, add_token, default_path, digest_of, read_tokens, remove_token
from schemas.errors import HeadwaterError, NewerFormat, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "tokens.json"


def test_a_token_is_kept_hashed_in_a_private_file(path: Path) -> None:
    secret = add_token(path, "laptop", [Right.READ, Right.WRITE])
    assert secret.startswith("hwt_")
    assert len(secret) >= 4 + 43
    text = path.read_text()
    assert secret not in text
    assert secret[4:] not in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (token,) = read_tokens(path)
    assert (token.name, token.rights, token.digest) == ("laptop", {Right.READ, Right.WRITE}, digest_of(secret))
    assert add_token(path, "other", [Right.READ]) != secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_rights() -> None:
    def token(*rights: Right) -> module.Token:
        return module.Token("x", b"", frozenset(rights), "")

    assert [token(Right.READ).allows(right) for right in Right] == [True, False, False, False]
    assert [token(Right.DELETE).allows(right) for right in Right] == [False, False, True, False]
    assert all(token(Right.ADMIN).allows(right) for right in Right)
    assert not any(token().allows(right) for right in Right)


def test_names_are_unique_and_plain(path: Path) -> None:
    add_token(path, "one", [Right.READ])
    with pytest.raises(UsageError, match="already"):
        add_token(path, "one", [Right.READ])
    for bad in ("", "a b", "../x", "-x", "x" * 65, "a\n"):
        with pytest.raises(UsageError, match="no name"):
            add_token(path, bad, [Right.READ])
    with pytest.raises(UsageError, match="no token"):
        remove_token(path, "two")
    remove_token(path, "one")
    assert read_tokens(path) == ()


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    add_token(path, "one", [Right.READ])
    for mode in (0o640, 0o604, 0o620, 0o644):
        path.chmod(mode)
        with pytest.raises(HeadwaterError, match="can be read by others") as caught:
            read_tokens(path)
        assert caught.value.rule == "dvs-token-file"
        with pytest.raises(HeadwaterError, match="can be read by others"):
            Tokens(path)
        with pytest.raises(HeadwaterError, match="can be read by others"):
            add_token(path, "two", [Right.READ])


def test_a_file_that_git_tracks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    add_token(path, "one", [Right.READ])
    module.refuse_tracked(path)
    subprocess.run(["git", "-C", tmp_path, "add", "tokens.json"], check=True)
    with pytest.raises(HeadwaterError, match="tracked by git"):
        add_token(path, "two", [Right.READ])
    with pytest.raises(HeadwaterError, match="tracked by git"):
        module.refuse_tracked(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "tokens": {}}x',
        '{"format": 1, "tokens": [{"name": "a"}]}',
        '{"format": 1, "tokens": [{"name": "a", "hash": "sha256:00", "rights": [], "created": ""}]}',
        '{"format": 1, "tokens": [{"name": "a", "hash": "sha256:' + "0" * 64 + '", "rights": ["all"], "created": ""}]}',
        '{"format": 1, "tokens": [{"name": 1, "hash": "sha256:' + "0" * 64 + '", "rights": [], "created": ""}]}',
        "[" * 100_000,
        " " * (1 << 20) + "{}",
    ],
)
def test_a_file_that_cannot_be_understood_is_one_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(HeadwaterError) as caught:
        read_tokens(path)
    assert caught.value.rule == "dvs-token-file"
    before = path.read_bytes()
    with pytest.raises(HeadwaterError):
        add_token(path, "new", [Right.READ])
    assert path.read_bytes() == before


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.touch(0o600)
    path.write_text('{"format": 2, "tokens": []}')
    with pytest.raises(NewerFormat):
        add_token(path, "new", [Right.READ])


def test_every_token_is_compared_whichever_matches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [add_token(path, f"t{number}", [Right.READ]) for number in range(5)]
    held = Tokens(path)
    compared: list[int] = []

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return real(one, other)

    real = hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", counted)
    for secret in (secrets[0], secrets[4], "nonsense", "", "ünïcode", "\udc80"):
        compared.clear()
        found = held.find(secret)
        assert (found is not None) == (secret in secrets)
        # Fixed-length digests, all of them: how long it takes says nothing about which was right.
        assert compared == [32] * 5


def test_a_running_server_sees_changes_within_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add_token(path, "first", [Right.READ])
    held = Tokens(path)
    assert held.find(first) is not None
    second = add_token(path, "second", [Right.READ])
    remove_token(path, "first")
    now = time.monotonic() + 1.5
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    assert held.find(first) is None
    assert held.find(second) is not None
    path.chmod(0o644)
    now += 2
    # A file that anybody may have read is no reason to let anybody in.
    assert held.find(second) is None
    path.chmod(0o600)
    now += 2
    assert held.find(second) is not None


def test_a_token_expires(path: Path) -> None:
    over = add_token(path, "over", [Right.READ], expires=time.time() - 1)
    good = add_token(path, "good", [Right.READ], expires=time.time() + 60)
    held = Tokens(path)
    assert held.find(over) is None
    assert held.find(good) is not None
    assert len(held) == 2


def test_tokens_that_are_made_at_once_are_all_kept(path: Path) -> None:
    threads = [threading.Thread(target=add_token, args=(path, f"t{number}", [Right.READ])) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token.name for token in read_tokens(path)) == [f"t{number}" for number in range(8)]
    assert json.loads(path.read_text())["format"] == 1


def test_the_default_file_is_in_the_folder_of_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "headwater" / "dvs-tokens.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert default_path() == Path.home() / ".config" / "headwater" / "dvs-tokens.json"

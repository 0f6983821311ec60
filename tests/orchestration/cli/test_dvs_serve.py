"""`headwater dvs token` and `serve` as people call them: tokens shown once, the storage of the repository served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from resources.server.settings import Settings
from schemas.dvs.oids import oid_of
from tests.dvs_server import Server
from tests.orchestration.cli.conftest import Ran
from tests.resources.server.client import ask, path_of, put

Run = Callable[..., Ran]
DATA = os.urandom(100_000)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A repository with one small and one large file in its storage."""
    root = tmp_path / "repo"
    root.mkdir()
    subprocess.run(["git", "init", "-q", root], check=True)
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../storage", "--permissions", "664").code == 0
    (root / "small.csv").write_bytes(b"1,2\n")
    (root / "large.bin").write_bytes(DATA)
    assert run("dvs", "add", ".").code == 0
    return root


@contextmanager
def serving(tokens: Path, token: str, folder: Path, *options: str) -> Iterator[Server]:
    """The real command in `folder`."""
    command = [sys.executable, "-m", "orchestration.cli.main", "dvs", "serve", "--port", "0", "--tokens", str(tokens), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with (tokens.parent / "log").open("a") as log:
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment
        )
    assert process.stdout is not None
    record = json.loads(process.stdout.readline())
    server = Server(record["url"], Path(record["storage"]), token, "", tokens, tokens.parent / "log", process)
    try:
        yield server
    finally:
        assert server.stop() == 130


def test_a_token_is_shown_once_and_listed_without_its_text(run: Run, tokens: Path) -> None:
    made = run("dvs", "token", "add", "laptop", "--right", "read", "--right", "write", "--tokens", str(tokens), "--json")
    assert made.code == 0
    (record,) = made.records
    assert (record["name"], record["rights"], record["file"]) == ("laptop", ["read", "write"], str(tokens))
    secret = record["token"]
    text = run("dvs", "token", "add", "ci", "--expires", "30d", "--tokens", str(tokens))
    assert text.out.strip().startswith("hwt_")
    listed = run("dvs", "token", "list", "--tokens", str(tokens), "--json").records
    assert [(row["name"], row["rights"], row["expired"]) for row in listed[:-1]] == [
        ("laptop", ["read", "write"], False),
        ("ci", ["read"], False),
    ]
    assert listed[-1] == {"summary": {"tokens": 2}}
    shown = run("dvs", "token", "list", "--tokens", str(tokens))
    assert "laptop" in shown.out
    for text_of in (json.dumps(listed), shown.out, tokens.read_text()):
        assert secret not in text_of
    assert run("dvs", "token", "rm", "laptop", "--tokens", str(tokens)).code == 0
    assert run("dvs", "token", "rm", "laptop", "--tokens", str(tokens)).code == 2
    assert "laptop" not in run("dvs", "token", "list", "--tokens", str(tokens)).out
    assert run("dvs", "token", "add", "x", "--expires", "soon", "--tokens", str(tokens)).code == 2


def test_tokens_lie_in_the_users_settings_unless_said_otherwise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    record = run("dvs", "token", "add", "me", "--json").records[0]
    assert Path(record["file"]).is_relative_to(tmp_path) or sys.platform != "linux"
    assert Path(record["file"]).stat().st_mode & 0o777 == 0o600


def test_the_storage_of_the_repository_is_served(run: Run, repo: Path, tokens: Path) -> None:
    rights = ["--right", "read", "--right", "write"]
    token = run("dvs", "token", "add", "me", *rights, "--tokens", str(tokens), "--json").records[0]["token"]
    with serving(tokens, token, repo) as server:
        assert server.storage == repo.parent / "storage"
        for data in (b"1,2\n", DATA):
            assert ask(server, "GET", path_of(oid_of(data, "blake3"))).body == data
        assert ask(server, "GET", "/status", token=None).json["object_count"] == 2
        # What comes in gets the modes that the repository gives its storage.
        oid = put(server, b"from elsewhere")
        file = server.storage / "blake3" / oid[7:9] / oid[9:]
        assert file.stat().st_mode & 0o777 == 0o444
        assert file.parent.stat().st_mode & 0o777 == 0o775
    (repo / "elsewhere").write_bytes(b"from elsewhere")
    assert run("dvs", "add", "elsewhere").code == 0
    assert run("dvs", "verify").code == 0


def test_what_is_retained_is_not_deleted(run: Run, repo: Path, tokens: Path) -> None:
    given = ("--right", "admin", "--tokens", str(tokens), "--json")
    token = run("dvs", "token", "add", "me", *given).records[0]["token"]
    assert run("dvs", "config", "set", "retain", "7y").code == 0
    with serving(tokens, token, repo) as server:
        path = path_of(oid_of(DATA, "blake3"))
        answer = ask(server, "DELETE", path)
        assert (answer.status, "retained until" in answer.json["error"]) == (403, True)
        assert ask(server, "GET", path).body == DATA
        # What no repository has added is nobody's to retain.
        assert ask(server, "DELETE", path_of(put(server, b"not added"))).status == 204


def test_a_file_of_settings_and_options_over_it(run: Run, tokens: Path, tmp_path: Path) -> None:
    token = run("dvs", "token", "add", "me", "--right", "write", "--tokens", str(tokens), "--json").records[0]["token"]
    (tmp_path / "objects").mkdir()
    config = tmp_path / "server.toml"
    config.write_text('storage = "objects"\nmax_upload = "2 KiB"\nallow_xxh3 = true\nport = 1\n')
    with serving(tokens, token, Path("/"), "--config", str(config)) as server:
        assert server.storage == tmp_path / "objects"
        assert ask(server, "PUT", path_of(oid_of(b"x", "xxh3")), b"x").status == 201
        assert ask(server, "PUT", path_of(oid_of(DATA, "blake3")), DATA).status == 413
    with serving(tokens, token, Path("/"), "--config", str(config), "--max-upload", "1MiB") as server:
        assert ask(server, "PUT", path_of(oid_of(DATA, "blake3")), DATA).status == 201


def test_what_cannot_be_served_is_said(run: Run, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--tokens", str(tokens), "--port", "0")
    assert run("dvs", "serve", *given).code == 2  # neither a folder nor a repository
    missing = run("dvs", "serve", "nowhere", *given)
    assert (missing.code, "there is no folder" in missing.err) == (2, True)
    assert run("dvs", "serve", ".", *given, "--max-upload", "lots").code == 2
    assert run("dvs", "serve", ".", *given, "--max-upload", "1").code == 2
    assert run("dvs", "serve", ".", *given, "--config", "nowhere.toml").code == 2
    (tmp_path / "bad.toml").write_text("port = 0\n")
    bad = run("dvs", "serve", ".", *given, "--config", "bad.toml")
    assert (bad.code, "bad.toml:1" in bad.err) == (3, True)
    beyond = run("dvs", "serve", ".", *given, "--host", "0.0.0.0")
    assert (beyond.code, "in the clear" in beyond.err) == (2, True)
    assert not list(tmp_path.glob("*.hwtmp"))


def test_the_guide_names_every_setting_and_route() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "object-server.md").read_text("utf-8")
    for field in fields(Settings):
        assert f"`{field.name}`" in guide, field.name
    from resources.server.openapi import description

    for path in description(Settings())["paths"]:
        assert path.replace("{algorithm}/{digits}", "ALGORITHM/HEX").replace("{fingerprint}", "FINGERPRINT") in guide, path

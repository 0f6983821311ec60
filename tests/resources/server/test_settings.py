"""Settings of an object server: read, written, refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from resources.server.settings import Settings, absolute, check, read_settings, write_settings
from schemas.errors import InvalidText, UsageError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 0", "port is 0"),
        ("port = 65536", "port 65536"),
        ("port = -1", "whole number"),
        ("port = true", "whole number"),
        ('host = ""', "host is no text"),
        ("max_upload = 100", "max_upload is 100"),
        ('max_upload = "much"', "is not a size"),
        ("x = [", "not TOML"),
        ('hots = "127.0.0.1"', "hots is no setting"),
        ('anonymous = "delete"', "anonymous is 'delete'"),
        ('host = "0.0.0.0"', "other machines"),
        ('tls_cert = "a.pem"', "a certificate and its key"),
        ("allow_xxh3 = 1", "neither true nor false"),
        ("concurrency = 0", "concurrency"),
        ("stall = 1.5", "whole number"),
    ],
)
def test_case_49_settings_that_cannot_be_used_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidText) as caught:
        read_settings(text.encode(), "server.toml")
    assert len(caught.value.findings) == 1
    finding = caught.value.findings[0]
    assert says in finding.message
    assert finding.path == "server.toml"
    assert finding.fix


def test_every_wrong_setting_is_named_at_its_line() -> None:
    with pytest.raises(InvalidText) as caught:
        read_settings(b"port = 0\nunknown = 1\nmax_upload = true\n", "server.toml")
    assert sorted(finding.line or 0 for finding in caught.value.findings) == [1, 2, 3]


def test_case_49_settings_come_back_as_they_were_written() -> None:
    assert read_settings(write_settings(Settings()), "x") == Settings() == read_settings(b"", "x")
    full = Settings(
        host="0.0.0.0",
        port=9000,
        storage="/srv/objects",
        tokens="/etc/tokens.json",
        anonymous="read",
        allow_xxh3=True,
        max_upload=5 << 20,
        tls_cert="/etc/cert.pem",
        tls_key="/etc/key.pem",
        concurrency=4,
        stall=5.0,
        longest=60.0,
    )
    assert read_settings(write_settings(full), "x") == full
    assert {field.name for field in fields(Settings)} >= {"host", "port", "storage", "max_upload"}


def test_sizes_are_written_as_people_do() -> None:
    assert read_settings(b'max_upload = "100 MiB"\nslowest = "1 KiB"', "x") == Settings(max_upload=100 << 20, slowest=1024)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert check(Settings(host=host)).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "2130706433"])
def test_beyond_loopback_needs_tls_or_a_word(host: str) -> None:
    with pytest.raises(UsageError, match="in the clear"):
        check(Settings(host=host))
    check(Settings(host=host, plain_http=True))
    check(Settings(host=host, tls_cert="c", tls_key="k"))


def test_paths_start_at_the_file_that_names_them() -> None:
    held = absolute(Settings(storage="objects", tokens="/t.json"), Path("/etc/dvs"))
    assert (held.storage, held.tokens, held.tls_cert) == ("/etc/dvs/objects", "/t.json", None)
    assert absolute(held, Path("/elsewhere")) == replace(held)

"""The configuration of a repository and of a clone."""

from __future__ import annotations

import pytest

from schemas.dvs.config import RepoConfig, duration, octal_mode, read_config, write_config
from schemas.dvs.local_config import LocalConfig, read_local_config, set_local, size_in_bytes, unset_local
from schemas.errors import InvalidText, UsageError

FULL = RepoConfig(
    "/mnt/s", 0o664, "lab", "sha256", "toml", "zstd", "loose", "7y", True, None, 1, {"version": "1.0", "commit": "abc"}
)


def _read(text: str, path: str = "dvs.toml") -> RepoConfig:
    config, warnings = read_config(text.encode(), path)
    assert warnings == []
    return config


def test_case_06_only_the_storage_is_needed() -> None:
    config = _read('storage_dir = "/mnt/s"\n')
    assert config == RepoConfig("/mnt/s")
    assert (config.permissions, config.group, config.hash_algo, config.metadata_format) == (None, None, "blake3", "json")


@pytest.mark.parametrize("path", ["dvs.toml", "dvs.yaml", "dvs.json"])
@pytest.mark.parametrize("config", [RepoConfig("/mnt/s"), FULL])
def test_case_06_every_format_keeps_what_is_written(path: str, config: RepoConfig) -> None:
    assert read_config(write_config(config, path), path) == (config, [])


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        ("644", 0o644),
        ("755", 0o755),
        ("664", 0o664),
        ("0755", 0o755),
        ("0o640", 0o640),
        ("2770", 0o2770),
        (420, 0o644),
        (436, 0o664),
    ],
)
def test_case_07_modes(value: object, mode: int) -> None:
    assert octal_mode(value) == mode


@pytest.mark.parametrize("value", ["999", "abc", "", "17777", 4096, -1, True, 6.5, None])
def test_case_07_what_is_no_mode(value: object) -> None:
    with pytest.raises(ValueError, match="mode"):
        octal_mode(value)


def test_the_first_generation_writes_modes_as_decimal_numbers() -> None:
    assert _read('{"storage_dir": "/s", "permissions": 420, "group": null}', "dvs.json").permissions == 0o644


def test_the_third_generation_is_read() -> None:
    config = _read('compression = "zstd"\nmetadata_folder_name = ".meta"\n[backend]\npath = "/s"\ngroup = "lab"\n')
    assert (config.storage_dir, config.group, config.compression, config.metadata_folder) == ("/s", "lab", "zstd", ".meta")
    assert (config.generation, config.layout) == (3, "loose")
    assert _read('[backend]\npath = "/s"\n').metadata_folder == ".dvs"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "storage_dir is missing"),
        ('hash_algo = "blake3"\n', "storage_dir is missing"),
        ("storage_dir = 3\n", "storage_dir is not text"),
        ('storage_dir = "/s"\nhash_algo = "md5"\n', "'md5'"),
        ('storage_dir = "/s"\nmetadata_format = "xml"\n', "'xml'"),
        ('storage_dir = "/s"\npermissions = "999"\n', "octal"),
        ('storage_dir = "/s"\ngroup = "a b; rm"\n', "name of a group"),
        ('storage_dir = "/s"\nretain = "soon"\n', "duration"),
        ('storage_dir = "/s"\nrequire_reason = "yes"\n', "neither true nor false"),
        ("[backend]\n", "backend.path is missing"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidText, match=message) as caught:
        read_config(text.encode(), "dvs.toml")
    assert caught.value.path == "dvs.toml"


def test_an_unknown_key_is_a_warning() -> None:
    config, warnings = read_config(b'storage_dir = "/s"\nhash_alog = "sha256"\n', "dvs.toml")
    assert config.hash_algo == "blake3"
    assert [(warning.rule, warning.line, warning.value) for warning in warnings] == [("dvs-config-key", 2, "hash_alog")]


def test_durations() -> None:
    assert [duration(text) for text in ("90s", "2 min", "12h", "30d", "2w", "1y")] == [
        90,
        120,
        43_200,
        2_592_000,
        1_209_600,
        31_557_600,
    ]
    assert FULL.retain_seconds == 7 * 31_557_600
    assert RepoConfig("s").retain_seconds == 0
    with pytest.raises(ValueError, match="duration"):
        duration("1 month")


def test_case_12_the_settings_of_a_clone() -> None:
    assert read_local_config(None) == LocalConfig()
    data = set_local(None, "base_url", "https://example.org")
    data = set_local(data, "auth.token", "secret")
    data = set_local(data, "cache.max_size", "10 GiB")
    data = set_local(data, "cache.link", "hardlink")
    data = set_local(data, "remotes.mirror", "s3://bucket/x")
    config = read_local_config(data)
    assert config == LocalConfig("https://example.org", "secret", 10 << 30, {"mirror": "s3://bucket/x"}, "hardlink")
    assert b"[auth]\ntoken = " in data
    assert "secret" not in repr(config)
    without = unset_local(data, "auth.token")
    assert b"[auth]" not in without
    assert read_local_config(without).token is None
    assert read_local_config(without).max_size == 10 << 30
    everything = data
    for key in ("base_url", "auth.token", "cache.max_size", "cache.link", "remotes.mirror"):
        everything = unset_local(everything, key)
    assert everything.strip() == b""


def test_settings_keep_what_people_wrote_around_them() -> None:
    before = b'# mine\nbase_url = "https://old.example"  # for now\n\n[auth]\ntoken = "t"\n'
    assert set_local(before, "base_url", "https://new.example") == before.replace(b"old", b"new")
    assert unset_local(before, "remotes.none") == before
    assert set_local(before, "auth_token", "u") == before.replace(b'"t"', b'"u"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[auth]\ntoken = 12345\n", "auth.token is not text"),
        ('[cache]\nmax_size = "big"\n', "size"),
        ('[cache]\nlink = "symlink"\n', "cache.link is 'symlink'"),
        ("[remotes]\nmirror = 3\n", "has no url"),
        ('[remotes."a b"]\nurl = "x"\n', "not a name"),
    ],
)
def test_settings_that_cannot_be_used_say_where_and_never_show_the_token(text: str, message: str) -> None:
    with pytest.raises(InvalidText, match=message) as caught:
        read_local_config(text.encode())
    assert "12345" not in str(caught.value)
    assert all(finding.value is None for finding in caught.value.findings)


@pytest.mark.parametrize(
    ("key", "value"),
    [("colour", "x"), ("remotes.a b", "x"), ("cache.max_size", "big"), ("cache.link", "x"), ("base_url", " ")],
)
def test_a_setting_that_does_not_exist_is_a_usage_error(key: str, value: str) -> None:
    with pytest.raises(UsageError):
        set_local(None, key, value)


def test_sizes() -> None:
    assert [size_in_bytes(value) for value in (5, "5", "5 B", "2 KiB", "1.5 GB")] == [5, 5, 5, 2048, 1_500_000_000]
    for bad in (-1, True, "x", "5 parsecs", None):
        with pytest.raises(ValueError, match="size"):
            size_in_bytes(bad)

"""Formats of other tools: whatever lies there, a reader says what is wrong or reads it; and the names that stand for others."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.dvs.carry import scratch_file
from resources.dvs.dvc_files import Out, object_folders, read_list, read_lock, read_parts, read_pointer
from resources.dvs.foreign import Aliases, Both, UnixText, foreign_hasher
from resources.dvs.incoming import check_prefix
from resources.dvs.lfs_pointers import read_pointer as read_lfs_pointer
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError

KEYS = st.sampled_from(["outs", "stages", "schema", "path", "md5", "hash", "size", "wdir", "files", "relpath", "cache", "x"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["a/b", "../x", "0" * 32, "\0", "s3://x"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_any_value_is_read_or_refused_with_words(value: Any) -> None:
    for read in (read_pointer, read_lock):
        with suppress(HeadwaterError):
            assert all(isinstance(out, Out) and out.path.is_relative_to("/") for out in read(Path("/nowhere"), value))


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_list_a_pointer_or_refused(data: bytes) -> None:
    prefix = b"version https://git-lfs.github.com/spec/v1\n"
    for text in (data, prefix + data):
        pointer = read_lfs_pointer(text)
        assert pointer is None or len(pointer.digits) == 64
    with suppress(HeadwaterError):
        assert all(isinstance(path, str) for path, _digits in read_list(data, "x"))


def test_a_large_lock_is_read_in_parts_that_say_the_same() -> None:
    stage = "  s{0}:\n    cmd: make\n    outs:\n    - path: o{0}\n      md5: {1}\n"
    body = "".join(stage.format(number, "0" * 32) for number in range(6000))
    parts = list(read_parts(f"schema: '2.0'\nstages:\n{body}".encode(), "dvc.lock"))
    outs = [out.shown for part in parts for out in read_lock(Path("/x"), part)]
    assert (len(parts), outs) == (6000, [f"o{number}" for number in range(6000)])


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("m.json", "m.json", True),
        ("m.json", "n.json", False),
        ("s${item}.json", "s12.json", True),
        ("s${item}.json", "t.json", False),
        ("${a}/x/${b}", "1/x/2", True),
        ("${a}/x/${b}", "1/y/2", False),
        ("aba${x}aba", "abaaba", True),
        ("aba${x}aba", "ababa", False),
        ("${x}a" * 200, "a" * 199, False),
        ("${x}a" * 200, "a" * 5000, True),
    ],
)
def test_templates_of_stages(tmp_path: Path, template: str, path: str, expected: bool) -> None:
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  s:\n    metrics:\n    - '{template}':\n        cache: false\n")
    lock = {"schema": "2.0", "stages": {"s@1": {"outs": [{"path": path, "md5": "0" * 32}]}}}
    assert [out.cached for out in read_lock(tmp_path, lock)] == [not expected]


def test_where_dvc_keeps_objects(tmp_path: Path) -> None:
    assert list(object_folders(tmp_path)) == [tmp_path / "cache"]
    (tmp_path / "config").write_text(
        "[core]\n    remote = a\n['remote \"a\"']\n    url = ../there\n['remote \"b\"']\n    url = s3://b\n"
    )
    (tmp_path / "config.local").write_text("[cache]\n    dir = /big/cache\n")
    assert list(object_folders(tmp_path)) == [Path("/big/cache"), tmp_path / "../there"]
    (tmp_path / "config").write_bytes(b"\xff not an ini [")
    assert list(object_folders(tmp_path)) == [Path("/big/cache")]


@pytest.mark.parametrize("data", [b"", b"a\r\nb", b"\0\r\n", b"\x80" * 100 + b"\r\n", b"x" * 511 + b"\r\n"])
def test_line_ends_count_as_dvc_counts_them(data: bytes) -> None:
    """Checked against dvc-data 3.18: text by its first 512 bytes, at most 30 % of them outside of ASCII text."""
    made = UnixText()
    made.update(data)
    text = not data.startswith((b"\0", b"\x80"))
    expected = data.replace(b"\r\n", b"\n") if text else data
    assert made.hexdigest() == hashlib.md5(expected, usedforsecurity=False).hexdigest()


def test_two_hashes_over_the_same_bytes() -> None:
    made = Both("sha256", "sha256")
    made.update(b"x")
    assert made.oid == f"sha256:{made.foreign}"
    with pytest.raises(ValueError, match="crc"):
        foreign_hasher("crc")


def test_aliases_are_a_hint_that_can_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "aliases.db"
    aliases = Aliases(path)
    assert aliases.find(["md5:a"]) == {}
    known = {f"md5:{number}": (f"blake3:{number}", number) for number in range(1200)}
    aliases.learn(known)
    assert aliases.find([*known, "md5:x"]) == known
    path.write_bytes(b"not a database at all" * 100)
    assert aliases.find(["md5:1"]) == {}
    aliases.learn({"md5:1": ("blake3:1", 1)})
    assert Aliases(path).find(["md5:1"]) == {"md5:1": ("blake3:1", 1)}
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    assert aliases.find(["md5:1"]) == {}


@pytest.mark.parametrize(("typed", "expected"), [("", ""), ("./", ""), (".", ""), ("/a/b/", "a/b"), ("./a", "a")])
def test_a_prefix_is_a_folder_of_the_repository(typed: str, expected: str) -> None:
    assert check_prefix(typed) == expected


@pytest.mark.parametrize("typed", ["..", "../a", "a/../b", "a//b", "a/./b"])
def test_a_prefix_does_not_lead_elsewhere(typed: str) -> None:
    with pytest.raises(HeadwaterError):
        check_prefix(typed)


def test_what_killed_processes_left_half_fetched_goes(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    program = f"""
import os
from pathlib import Path
from resources.dvs.carry import scratch_file
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
repo = DvsRepo(LocalStorage("{tmp_path}/repo", state=Path("{tmp_path}/state")), "", Path("{tmp_path}/local"), actor="ann")
with scratch_file(repo) as path:
    path.write_bytes(b"half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    repo = DvsRepo(LocalStorage(tmp_path / "repo", state=tmp_path / "state"), "", tmp_path / "local", actor="ann")
    assert len(list(repo.objects.scratch.iterdir())) == 1
    with scratch_file(repo) as path:
        path.write_bytes(b"mine")
        assert list(repo.objects.scratch.iterdir()) == [path]
    assert list(repo.objects.scratch.iterdir()) == []
    repo.close()

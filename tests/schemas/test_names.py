"""Paths, names and ids: what is refused, what collides, and escapes that come back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import HeadwaterError
from schemas.findings import RULES
from schemas.ids import check_ulid, escape_name, new_ulid, slug, unescape_name
from schemas.paths import check_path, collisions, fold, is_portable_name

REFUSED = {
    "": "path-empty",
    "/etc/passwd": "path-absolute",
    "C:/x": "path-absolute",
    "c:x": "path-absolute",
    "\\\\server\\share": "path-absolute",
    "~/x": "path-absolute",
    "../x": "path-outside",
    "a/../../b": "path-outside",
    "a/..": "path-outside",
    "./a": "path-outside",
    "a//b": "path-outside",
    "a/": "path-outside",
    "a\\..\\b": "path-backslash",
    "a\nb": "path-control",
    "a\0b": "path-control",
    "a\x7f": "path-control",
    "a\x85b": "path-control",
    "a\u2028b": "path-control",
    "a/\u202egpj.exe": "path-control",
    "\ud800": "path-encoding",
    "con": "path-device-name",
    "data/aux.json": "path-device-name",
    "NUL.tar.gz": "path-device-name",
    "Com1.csv": "path-device-name",
    "lpt9": "path-device-name",
    "com¹": "path-device-name",
    "CONIN$": "path-device-name",
    "a.": "path-trailing",
    "a /b": "path-trailing",
    " a": "path-trailing",
    "ab:c": "path-reserved-character",
    "d/a:stream": "path-reserved-character",
    "a?b": "path-reserved-character",
    "a*": "path-reserved-character",
    "a|b": "path-reserved-character",
    'a"b': "path-reserved-character",
    "a<b": "path-reserved-character",
    ".git/config": "path-reserved-name",
    "x/.GIT": "path-reserved-name",
    "git~1": "path-reserved-name",
    ".headwater/x": "path-reserved-name",
    "e\u0301": "path-not-nfc",
    "x" * 201: "path-too-long",
    "é" * 101: "path-too-long",
    "/".join(["abcdefghi"] * 110): "path-too-long",
}


@pytest.mark.parametrize(("path", "rule"), REFUSED.items())
def test_refused_paths(path: str, rule: str) -> None:
    with pytest.raises(HeadwaterError) as caught:
        check_path(path)
    assert caught.value.rule == rule
    assert rule in RULES
    assert caught.value.fix
    assert str(caught.value).isprintable() or "\n  fix: " in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "path",
    ["a", "data/city.csv", "a b/ü.csv", ".gitignore", "console.txt", "com10", "a..b", "auxiliary/nulls.csv", "名/x"],
)
def test_accepted_paths(path: str) -> None:
    assert check_path(path) == path
    assert all(is_portable_name(part) for part in path.split("/"))


@pytest.mark.parametrize("path", ["con", "ab:c", "a.", "e\u0301", ".git/config", "x" * 201])
def test_what_lies_on_the_disk_already_may_be_read(path: str) -> None:
    assert check_path(path, portable=False) == path


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", "a\0", "a\\b", ""])
def test_safety_is_never_waived(path: str) -> None:
    with pytest.raises(HeadwaterError):
        check_path(path, portable=False)


def test_collisions() -> None:
    paths = ["A.json", "a.json", "x/é", "x/e\u0301", "ß/1", "ss/2", "K/1", "\u212a/2", "ﬁ", "fi", "b", "c", "D/a", "d/b", "b"]
    assert collisions(paths) == [
        ("A.json", "a.json"),
        ("D", "d"),
        ("K", "\u212a"),
        ("fi", "ﬁ"),
        ("ss", "ß"),
        ("x/e\u0301", "x/é"),
    ]
    assert collisions(["a/x", "b/x", "a/y"]) == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_folding_is_stable(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(text) == fold(text.upper()) or len(text.upper().lower()) != len(text) or not text.isascii()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20) | st.text("_aZ0 -/é", max_size=12) | st.text("_u20e9", max_size=12))
def test_escapes_come_back(text: str) -> None:
    escaped = escape_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_]+", escaped)
    assert unescape_name(escaped) == text
    assert escaped.lower() not in ("con", "nul", "aux", "prn", "com1", "lpt1")


@settings(max_examples=200, deadline=None)
@given(st.text("_u209eaAé", max_size=10))
def test_only_escapes_are_taken_back(escaped: str) -> None:
    try:
        text = unescape_name(escaped)
    except HeadwaterError:
        return
    assert escape_name(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("", "_"), ("city", "city"), ("my store", "my_20store"), ("a/b-c", "a_2fb_2dc"), ("a_b", "a__b"), ("é", "_ue9_"),
     ("2024", "2024"), ("con", "_63on"), ("😀", "_u1f600_"), ("\ud800", "_ud800_")],
)  # fmt: skip
def test_escapes(text: str, escaped: str) -> None:
    assert escape_name(text) == escaped


def test_ulids() -> None:
    made = [new_ulid() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(check_ulid(ulid) == ulid for ulid in made)
    for wrong in ("", made[0].lower(), made[0][:-1], "8" + made[0][1:], made[0][:-1] + "U", made[0] + "\n"):
        with pytest.raises(HeadwaterError):
            check_ulid(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Hello, World!", "hello-world"), ("Ünïcode", "unicode"), ("名", "untitled"), ("", "untitled"), ("con", "con-untitled"),
     ("a" * 200, "a" * 80), ("--x--", "x"), ("Straße", "strasse")],
)  # fmt: skip
def test_slugs(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_names_and_ids_are_light() -> None:
    code = "import sys, schemas.paths, schemas.ids, schemas.csv_text, schemas.text; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ulid", "pydantic", "ruamel", "fsspec", "asyncio", "dagster"} & set(loaded)


def test_a_file_has_the_oid_of_its_bytes_however_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas import oid

    monkeypatch.setattr(oid, "_MMAP_FROM", 1000)
    monkeypatch.setattr(oid, "_MMAP_TO", 2000)
    monkeypatch.setattr(oid, "_READ_SIZE", 300)
    for size in (0, 1, 999, 1000, 1999, 2000, 2001, 5000):
        path = tmp_path / str(size)
        path.write_bytes(bytes(number % 251 for number in range(size)))
        assert oid.file_oid(path) == oid.bytes_oid(path.read_bytes()), size

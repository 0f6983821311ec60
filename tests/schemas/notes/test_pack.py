"""Packs: the same files give the same bytes and come back as they were; nothing hostile is taken."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import HeadwaterError, NewerFormat, Refused
from schemas.notes import pack
from schemas.oid import bytes_oid, json_oid
from schemas.paths import collisions

FILES = {
    "attachments/a.png": b"\x89PNG\r\n\x1a\n\x00",
    "notes/a.md": b"\xef\xbb\xbf---\r\nid: a\r\n---\r\n[[b]]\r\n",
    "notes/\u00fcber.md": b"no newline, not UTF-8: \xe9",
}


def packed(files: dict[str, bytes]) -> bytes:
    return b"".join(pack.write(sorted(files.items())))


def unpacked(data: bytes) -> dict[str, bytes]:
    return pack.read(io.BytesIO(data), "a.pack")


def test_case_83_files_come_back_byte_for_byte_and_bytes_are_stable() -> None:
    data = packed(FILES)
    assert unpacked(data) == FILES
    assert packed(unpacked(data)) == data
    assert data.splitlines()[0] == b'{"format":"headwater-notes-pack","version":1}'
    assert b'"text":"\xef\xbb\xbf---\\r\\nid: a' in data


PATHS = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8).map(lambda name: f"notes/{name}.md")


@settings(max_examples=50, deadline=None)
@given(files=st.dictionaries(PATHS, st.binary(max_size=80), max_size=4))
def test_any_files_come_back_or_are_refused_when_packed(files: dict[str, bytes]) -> None:
    if collisions(files):
        with pytest.raises(Refused):
            packed(files)
    else:
        assert unpacked(packed(files)) == files


def forged(*records: dict[str, object], end: bool = True) -> bytes:
    files = [record for record in records if "path" in record]
    lines = [{"format": pack.FORMAT, "version": 1}, *records]
    if end:
        digest = json_oid([[record["path"], record.get("oid")] for record in files])
        lines.append({"end": True, "files": len(files), "digest": digest})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def entry(path: str, text: str = "x") -> dict[str, object]:
    return {"path": path, "oid": bytes_oid(text.encode()), "text": text}


@pytest.mark.parametrize(
    "path",
    ["../x.md", "/etc/passwd", "notes/../../x.md", "C:/x.md", "notes\\x.md", "notes/a\0.md", "notes//a.md", "", "~/x.md",
     ".git/hooks/pre-commit", "a/.GIT/config", ".obsidian/plugins/x/main.js", "notes/\nx.md"],
)  # fmt: skip
def test_case_53_paths_that_leave_the_store_are_refused(path: str) -> None:
    with pytest.raises(Refused):
        unpacked(forged(entry(path)))
    with pytest.raises(Refused):
        packed({path: b"x"})


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (forged(entry("notes/A.md"), entry("notes/a.md")), "notes-pack-names"),
        (forged(entry("notes/e\u0301.md"), entry("notes/\u00e9.md")), "notes-pack-names"),
        (forged(entry("notes/a.md"), entry("notes/a.md")), "notes-pack-names"),
        (forged({**entry("notes/a.md"), "text": "other"}), "notes-pack-oid"),
        (forged({"path": "notes/a.md", "oid": bytes_oid(b""), "base64": "!!"}), "notes-pack"),
        (forged({"path": "notes/a.md", "oid": bytes_oid(b"")}), "notes-pack"),
        (forged({**entry("a.md"), "base64": "eA=="}), "notes-pack"),
        (forged(entry("notes/a.md"), end=False), "notes-pack"),
        (forged(entry("notes/a.md")) + b"{}\n", "notes-pack"),
        (forged(entry("a.md")).replace(b'"files": 1', b'"files": 2'), "notes-pack"),
        (b'{"format":"headwater-notes-pack","version":"1"}\n', "notes-pack"),
        (b"[" * 100_000, "notes-pack"),
        (b"", "notes-pack"),
        (b"\xff\xfe", "notes-pack"),
        (b"PK\x03\x04", "notes-pack"),
    ],
)  # fmt: skip
def test_packs_that_are_not_what_they_say_are_refused(data: bytes, rule: str) -> None:
    with pytest.raises(HeadwaterError) as refused:
        unpacked(data)
    assert refused.value.rule == rule
    assert refused.value.path == "a.pack"


def test_case_54_newer_packs_are_refused() -> None:
    with pytest.raises(NewerFormat):
        unpacked(packed(FILES).replace(b'"version":1', b'"version":2'))


def test_files_and_packs_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(FILES)
    monkeypatch.setattr(pack, "TOTAL_LIMIT", 30)
    for act in (lambda: packed(FILES), lambda: unpacked(data)):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.rule == "notes-pack-size"
    monkeypatch.setattr(pack, "_LINE_LIMIT", 20)
    with pytest.raises(Refused):
        unpacked(data)

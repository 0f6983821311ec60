"""`dvs.lock`: read, written, merged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dvs.manifest import Entry, Manifest, merge_manifests, read_manifest, write_manifest
from schemas.errors import InvalidText, NewerFormat

A, B, C = (f"blake3:{digit * 64}" for digit in "abc")


def _manifest(**oids: str) -> Manifest:
    return Manifest({path: Entry(path, oid, 1) for path, oid in oids.items()})


ENTRIES = st.dictionaries(st.sampled_from(["a", "b/c", "d é", "e"]), st.sampled_from([A, B, C]), max_size=4)


def test_case_11_entries_by_path() -> None:
    manifest = Manifest().put([Entry("x", A, 1)]).put([Entry("x", B, 2)])
    assert [(entry.oid, entry.bytes) for entry in manifest.entries.values()] == [(B, 2)]
    manifest = manifest.put([Entry("y", B, 2)])
    assert len(manifest.entries) == 2
    assert manifest.oids() == {B: 2}
    assert manifest.without(["unknown"]) == manifest
    assert list(manifest.without(["x"]).entries) == ["y"]


def test_case_11_merging_takes_the_other_entry_and_a_missing_url() -> None:
    mine, other = _manifest(x=A), Manifest(_manifest(x=B, y=C).entries, "https://example.org")
    merged = mine.merged(other)
    assert (merged.entries["x"].oid, merged.base_url) == (B, "https://example.org")
    assert Manifest({}, "https://mine.example").merged(other).base_url == "https://mine.example"


def test_case_11_optional_keys_survive() -> None:
    entry = Entry("x", A, 1, "zstd", "mirror", {"later": [1]})
    manifest = Manifest({"x": entry}, "https://example.org", {"x-team": "blue"})
    assert read_manifest(write_manifest(manifest)) == manifest


def test_one_line_per_entry_sorted_by_path() -> None:
    text = write_manifest(_manifest(b=B, a=A)).decode()
    assert text == (
        '{\n  "version": 1,\n  "entries": [\n'
        f'    {{"path": "a", "oid": "{A}", "bytes": 1}},\n    {{"path": "b", "oid": "{B}", "bytes": 1}}\n  ]\n}}\n'
    )
    assert write_manifest(Manifest()).decode() == '{\n  "version": 1,\n  "entries": []\n}\n'


def test_what_others_leave_at_its_default_is_left_out() -> None:
    text = {
        "version": 1,
        "base_url": None,
        "entries": [{"path": "a", "oid": A, "bytes": 1, "compression": "none", "remote": "origin"}],
    }
    assert read_manifest(json.dumps(text).encode()) == _manifest(a=A)


@settings(max_examples=50, deadline=None)
@given(entries=ENTRIES)
def test_what_is_written_is_read(entries: dict[str, str]) -> None:
    data = write_manifest(_manifest(**entries))
    assert read_manifest(data) == _manifest(**entries)
    assert write_manifest(read_manifest(data)) == data


@settings(max_examples=50, deadline=None)
@given(base=ENTRIES, ours=ENTRIES, theirs=ENTRIES)
def test_a_merge_keeps_every_change_of_one_side(base: dict[str, str], ours: dict[str, str], theirs: dict[str, str]) -> None:
    merged = merge_manifests(_manifest(**base), _manifest(**ours), _manifest(**theirs))
    for path in {*base, *ours, *theirs}:
        before, mine, other = base.get(path), ours.get(path), theirs.get(path)
        entry = merged.manifest.entries.get(path)
        now = entry.oid if entry else None
        if mine == before:
            assert now == other
        elif other in (before, mine):
            assert now == mine
        else:
            assert path in merged.conflicts
            assert now == (mine or other)


def test_git_merges_two_branches_that_added_files_far_apart(tmp_path: Path) -> None:
    files = {f"f{number}": A for number in range(10)}
    sides = {"base": files, "ours": {**files, "f1a": B}, "theirs": {**files, "f8a": C}}
    for name, entries in sides.items():
        (tmp_path / name).write_bytes(write_manifest(_manifest(**entries)))
    result = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0
    assert read_manifest(result.stdout) == _manifest(**files, f1a=B, f8a=C)


TWICE = f'{{"version": 1, "entries": [{{"path": "a", "oid": "{A}", "bytes": 1}}, {{"path": "a", "oid": "{B}", "bytes": 1}}]}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a mapping"),
        ('{"entries": []}', "the version is not 1"),
        ('{"version": true, "entries": []}', "the version is not 1"),
        ('{"version": 1}', "entries is not a list"),
        ('{"version": 1, "base_url": 3, "entries": []}', "base_url is not text"),
        ('{"version": 1, "entries": [3]}', "not a mapping"),
        ('{"version": 1, "entries": [{"path": "a"}]}', "no path or no oid"),
        (f'{{"version": 1, "entries": [{{"path": "a", "oid": "{A}", "bytes": -1}}]}}', "not a length"),
        (f'{{"version": 1, "entries": [{{"path": "../a", "oid": "{A}", "bytes": 1}}]}}', "the part"),
        (f'{{"version": 1, "entries": [{{"path": "/etc/x", "oid": "{A}", "bytes": 1}}]}}', "absolute"),
        ('{"version": 1, "entries": [{"path": "a", "oid": "blake3:../x", "bytes": 1}]}', "blake3 id"),
        (f'{{"version": 1, "entries": [{{"path": "a", "oid": "{A}", "bytes": 1, "compression": "rar"}}]}}', "compression"),
        (TWICE, "listed twice"),
    ],
)
def test_a_malformed_manifest_says_what_and_where(text: str, message: str) -> None:
    with pytest.raises(InvalidText, match=message) as caught:
        read_manifest(text.encode())
    assert caught.value.line is not None
    assert caught.value.fix


def test_a_newer_manifest_is_refused() -> None:
    with pytest.raises(NewerFormat, match="version 2"):
        read_manifest(b'{"version": 2, "entries": []}')

"""Which files of a store are notes and attachments, and the id of a note without one."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.notes.config import APP, TEMPLATES_PLUGIN, NotesConfig, ObsidianSettings, read_obsidian
from schemas.notes.layout import Layout, attachment_filter, derived_id, detect, note_filter

CONFIG = NotesConfig()


@pytest.mark.parametrize(
    ("root", "names", "layout"),
    [
        ("a/.qipu", [], Layout.QIPU),
        ("qipu/", [], Layout.QIPU),
        ("", [".obsidian", "notes"], Layout.VAULT),
        ("docs", ["config.toml", "mocs"], Layout.QIPU),
        ("docs", ["config.toml"], Layout.FOLDER),
        ("docs", ["notes"], Layout.FOLDER),
        (".", [".obsidian", "config.toml", "notes"], Layout.VAULT),
    ],
)
def test_the_layout_of_a_store(root: str, names: list[str], layout: Layout) -> None:
    assert detect(root, names) is layout


QIPU = {
    "notes/a.md": "note",
    "notes/2026/01/a.md": "note",
    "mocs/m.MD": "note",
    "other.markdown": "note",
    "notes/a.txt": "attachment",
    "attachments/p.png": "attachment",
    "attachments/read-me.md": "attachment",
    "templates/moc.md": None,
    "workspaces/w/notes/a.md": None,
    "PRIME.md": None,
    "config.toml": None,
    "qipu.db": None,
    "qipu.db-wal": None,
    ".cache/tags.json": None,
    ".gitignore": None,
    "notes/.trash/a.md": None,
    ".trash/a.md": None,
}


def test_files_of_a_store_in_qipus_layout() -> None:
    is_note, is_attachment = note_filter(Layout.QIPU, CONFIG), attachment_filter(Layout.QIPU, CONFIG)
    kinds = {path: "note" if is_note(path) else "attachment" if is_attachment(path) else None for path in QIPU}
    assert kinds == QIPU


def test_files_of_a_vault_follow_its_settings() -> None:
    obsidian = read_obsidian(
        {
            APP: json.dumps({"userIgnoreFilters": ["Archive/", "/draft/"]}).encode(),
            TEMPLATES_PLUGIN: b'{"folder": "Templates"}',
        }
    )
    is_note = note_filter(Layout.VAULT, CONFIG, obsidian)
    wanted = ["a.md", "templates/a.md", "Archiver/a.md", "config/PRIME.md"]
    unwanted = [
        "Archive/a.md",
        "my Draft.md",
        "Templates/t.md",
        ".obsidian/a.md",
        ".trash/a.md",
        "a/.hidden/b.md",
        "n/node_modules/r.md",
    ]
    assert [path for path in [*wanted, *unwanted] if is_note(path)] == wanted
    is_attachment = attachment_filter(Layout.VAULT, CONFIG, obsidian)
    assert is_attachment("Templates/t.md")
    assert is_attachment("config.toml")
    assert not is_attachment("Archive/p.png")


def test_globs_narrow_a_plain_folder() -> None:
    is_note = note_filter(Layout.FOLDER, CONFIG, None, ["docs/**"], ["docs/old/**"])
    assert [path for path in ("docs/a.md", "docs/x/b.md", "docs/old/c.md", "README.md") if is_note(path)] == [
        "docs/a.md",
        "docs/x/b.md",
    ]
    is_attachment = attachment_filter(Layout.FOLDER, CONFIG, None, ["docs/**"], ["docs/old/**"])
    assert is_attachment("img/p.png")
    assert not is_attachment("docs/old/p.png")


def test_a_note_and_an_attachment_are_never_the_same_file() -> None:
    obsidian = ObsidianSettings(ignore_prefixes=("x/",), ignore_patterns=(re.compile("y"),), templates_folder="t")
    for layout in Layout:
        is_note, is_attachment = note_filter(layout, CONFIG, obsidian), attachment_filter(layout, CONFIG, obsidian)
        for path in [*QIPU, "x/a.md", "y.md", "t/a.md"]:
            assert not (is_note(path) and is_attachment(path))


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_a_derived_id_is_stable_and_says_which_path(first: str, second: str) -> None:
    assert re.fullmatch(r"p-[0-9a-hjkmnp-tv-z]{12}", derived_id(first))
    assert derived_id(first) == derived_id(first)
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    assert (derived_id(first) == derived_id(second)) is same


def test_a_derived_id_does_not_change_between_releases_or_normal_forms() -> None:
    assert derived_id("notes/a.md") == "p-pcx816dg28cn"
    assert derived_id("caf\u00e9.md") == derived_id("cafe\u0301.md")

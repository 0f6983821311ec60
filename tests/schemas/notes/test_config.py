"""`config.toml` and the settings of Obsidian: everything known is read, everything else is said."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from schemas.findings import Finding
from schemas.notes.config import (
    APP,
    TEMPLATES_PLUGIN,
    NotesConfig,
    ObsidianSettings,
    parse_digest,
    read_config,
    read_obsidian,
    write_config,
)
from schemas.notes.linktypes import LinkType


def rules(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


@pytest.mark.parametrize("data", [None, b"", b"\n"])
def test_case_06_no_config_means_defaults(data: bytes | None) -> None:
    assert read_config(data, "config.toml") == (NotesConfig(), [])


def test_a_config_as_qipu_writes_it() -> None:
    config, findings = read_config(
        b"""version = 1
default_note_type = "Permanent"
id_scheme = "ulid"
editor = "vi"
branch = "qipu-metadata"
rewrite_wiki_links = true
stemming = false

[tag_aliases]
ml = "machine-learning"

[auto_index]
enabled = true
strategy = "adaptive"
adaptive_threshold = 10000
quick_notes = 100

[search]
recency_boost_numerator = 0.25
recency_decay_days = 14

[ontology]
mode = "extended"

[ontology.note_types.question]
description = "what is not known"
usage = "for questions"

[ontology.link_types.cites]
inverse = "cited-by"
usage = "for sources"
cost = 0.5
""",
        "config.toml",
    )
    assert findings == []
    assert (config.default_note_type, config.id_scheme, config.editor, config.branch) == (
        "permanent",
        "ulid",
        "vi",
        "qipu-metadata",
    )
    assert (config.rewrite_wiki_links, config.stemming) == (True, False)
    assert config.tag_aliases == {"ml": "machine-learning"}
    assert (config.search.recency_boost, config.search.recency_decay_days) == (0.25, 14.0)
    assert config.ontology.link_types["cites"] == LinkType("cites", "cited-by", None, "for sources", 0.5)
    assert config.ontology.known_note_type("question")


def test_layout_and_limits() -> None:
    text = b'[layout]\nmocs = "type"\nnote_path = "date"\nattachments = "per-note"\n[limits]\nnote_bytes = 2048\nwords = 9\n'
    config, findings = read_config(text, "config.toml")
    assert findings == []
    assert (config.layout_mocs, config.layout_note_path, config.layout_attachments) == ("type", "date", "per-note")
    assert (config.max_note_bytes, config.max_words, config.max_paragraphs) == (2048, 9, 50)


@pytest.mark.parametrize(
    ("text", "rule", "line", "fix"),
    [
        ("id_scheme = 'hsh'", "notes-config", 1, "write one of hash, ulid, timestamp"),
        ("version = 'one'", "notes-config", 1, "write a whole number"),
        ("version = 7", "notes-config-newer", 1, "install a newer Headwater"),
        ("\nid_schem = 'hash'", "notes-config-key", 2, "did you mean id_scheme?"),
        ("[layout]\nmocs = 'both'", "notes-config", 2, "write one of folder, type"),
        ("layout = 3", "notes-config", 1, "write a table"),
        ("[search]\nrecency_boost = true", "notes-config", 2, "write a number from 0 up"),
        ("[search]\nrecency_decay_days = 0", "notes-config", 2, "write a number above 0"),
        ("[tag_aliases]\na = 'a'", "notes-tag-alias", 2, "remove it"),
        ("[tag_aliases]\na = 'b'\nb = 'c'", "notes-tag-alias", 2, "let it lead to the tag that is meant"),
        ("[tag_aliases]\na = 3", "notes-config", 2, "write the tag it stands for"),
        ("[graph.types.x]\ncost = 2.0", "notes-config-deprecated", 1, "move it to [ontology.link_types.x]"),
        ("[ontology]\nmode = 'extended'\n[ontology.note_types.x]\n", "notes-type-guidance", 3, 'add usage = "…"'),
        ("[ontology.link_types.x]\ncosts = 2.0", "notes-config-key", 2, "did you mean cost?"),
        ("[ontology.link_types]\nx = 2.0", "notes-config", 2, "write a table"),
        ("[ontology.link_types.'a[b']\ncost = 1.0", "notes-config", 1, "use letters, digits and hyphens"),
        ("version = ", "notes-config", 1, None),
    ],
)
def test_what_is_wrong_is_one_finding_with_a_fix(text: str, rule: str, line: int, fix: str | None) -> None:
    config, findings = read_config(text.encode(), ".qipu/config.toml")
    assert rules(findings) == [rule]
    assert findings[0].line == line
    assert findings[0].path == ".qipu/config.toml"
    assert findings[0].fix is not None
    assert fix is None or findings[0].fix.startswith(fix)
    assert config.id_scheme == "hash"
    assert config.layout_mocs == "folder"


def test_an_unknown_key_does_not_hide_the_known_ones() -> None:
    config, findings = read_config(b'colour = "red"\neditor = "ed"\n', "c")
    assert rules(findings) == ["notes-config-key"]
    assert config.editor == "ed"


def test_the_deprecated_table_still_counts() -> None:
    config, _ = read_config(b'[graph.types.cites]\ninverse = "cited-by"\ncost = 0.5\n', "c")
    assert config.ontology.inverse("cites") == "cited-by"
    assert config.ontology.cost("cites") == 0.5


def test_what_is_written_reads_back() -> None:
    text = write_config(default_note_type="moc", layout_mocs="type", branch="b", layout_note_path="flat", editor=None)
    config, findings = read_config(text.encode(), "c")
    assert findings == []
    assert config == NotesConfig(default_note_type="moc", layout_mocs="type", branch="b")
    assert "note_path" not in text
    with pytest.raises(TypeError):
        write_config(colour="red")


def test_case_82_the_digest_changes_with_what_parsing_reads_only() -> None:
    base = parse_digest(NotesConfig())
    assert parse_digest(NotesConfig(editor="vi", layout_mocs="type")) == base
    assert parse_digest(NotesConfig(max_note_bytes=5000)) != base
    extended, _ = read_config(b"[ontology]\nmode = 'extended'\n", "c")
    typed, _ = read_config(b"[ontology.link_types.x]\ninverse = 'y'\n", "c")
    assert len({base, parse_digest(extended), parse_digest(typed)}) == 3


def test_obsidian_settings() -> None:
    app = {
        "userIgnoreFilters": ["Archive/", "/\\.excalidraw\\.md$/", "/(a+)+$/", "/[/", 7],
        "attachmentFolderPath": "./files",
        "newFileLocation": "folder",
        "newFileFolderPath": "Inbox/",
        "useMarkdownLinks": True,
        "newLinkFormat": "relative",
    }
    files = {APP: json.dumps(app).encode(), TEMPLATES_PLUGIN: b'\xef\xbb\xbf{"folder": "Vorlagen/"}'}
    settings = read_obsidian(files, "vault/")
    assert settings.ignore_prefixes == ("Archive/",)
    assert [pattern.pattern for pattern in settings.ignore_patterns] == ["\\.excalidraw\\.md$"]
    assert (settings.attachment_folder, settings.new_file_location, settings.new_file_folder) == ("./files", "folder", "Inbox")
    assert (settings.use_markdown_links, settings.new_link_format, settings.templates_folder) == (True, "relative", "Vorlagen")
    assert [finding.value for finding in settings.findings] == ["/(a+)+$/", "/[/"]
    assert settings.findings[0].path == "vault/.obsidian/app.json"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_settings_that_cannot_be_read_leave_the_defaults(data: bytes) -> None:
    settings = read_obsidian({APP: data})
    assert settings.ignore_prefixes == ()
    assert settings.new_link_format == ObsidianSettings().new_link_format
    assert len(settings.findings) == (1 if data else 0)


def test_settings_and_layout_are_light() -> None:
    code = (
        "import sys, schemas.notes.config, schemas.notes.layout, schemas.notes.linktypes, schemas.notes.model;"
        "schemas.notes.config.read_config(b'version = 1', 'c');"
        "print([m for m in ('pydantic', 'ruamel', 'fsspec', 'asyncio', 'schemas.yaml_text') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

"""The worked example of the guide reads as the guide says."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.findings import RULES
from schemas.notes import rules as note_rules
from schemas.notes.parse import parse_note

GUIDE = Path(__file__).parents[3] / "docs/guides/notes-format.md"


def test_the_example_of_the_guide() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    example = re.search(r"```markdown\n(.*?)\n```\n", text, re.DOTALL)
    assert example is not None
    parsed = parse_note(example[1].encode(), "notes/qp-7f3a9c2e41-meanders.md")
    assert parsed.findings == []
    assert [(mention.kind.value, mention.type, mention.target, mention.anchor) for mention in parsed.mentions] == [
        ("typed", "supports", "qp-1b0d77aa02", None),
        ("property", "part-of", "Rivers", None),
        ("markdown", "related", "../attachments/bends 2025.csv", None),
        ("wiki", "related", "qp-9f3e11c0d4", "Still water"),
        ("embed", "related", "lake.png", None),
    ]
    assert [tag.name for tag in parsed.tags] == ["rivers", "geology", "open/question"]
    assert ([block.id for block in parsed.blocks], parsed.fields) == (["step"], {"status": ["draft"]})
    assert parsed.summary == "The outer bank of a bend is cut away, the inner one grows."
    assert "1998" not in parsed.search_text


def test_every_rule_the_guide_names_exists() -> None:
    assert note_rules.ENCODING.id in RULES
    named = set(re.findall(r"`((?:note|notes|link)-[a-z-]+)`", GUIDE.read_text(encoding="utf-8")))
    assert len(named) >= 9
    assert named <= set(RULES)

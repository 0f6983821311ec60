"""The bodies new notes of the built-in types begin with, where the store has no `templates/<type>.md` of its own. Light."""

from __future__ import annotations

from collections.abc import Mapping

_HINT = "<!-- {} -->"


def _sections(*sections: tuple[str, str]) -> str:
    return "\n".join(f"## {heading}\n\n{_HINT.format(hint)}\n" for heading, hint in sections)


TEMPLATES: Mapping[str, str] = {
    "fleeting": _sections(
        ("Summary", "The thought in one or two sentences"),
        ("Notes", "What belongs to it; links to what brought it up"),
    ),
    "literature": _sections(
        ("Summary", "What the source says that matters here"),
        ("Key points", "In own words, each with its page or section"),
        ("Questions", "What the source leaves open or gets wrong"),
        ("Links", "Notes this supports, contradicts or answers"),
    ),
    "permanent": _sections(
        ("Summary", "One idea, in sentences that can be understood without the rest"),
        ("Why it holds", "Arguments and evidence, each with a link"),
        ("What follows", "Consequences, uses, what would make it wrong"),
        ("Links", "Related notes, each with the reason"),
    ),
    "moc": _sections(
        ("Summary", "What this map covers, and for whom"),
        ("Where to begin", "The notes to read first, in order"),
        ("Topics", "Links by topic, each with a few words that say why it is there"),
        ("Open questions", "What is missing"),
    ),
}
"""By type; `init` writes them as files, for people to change."""

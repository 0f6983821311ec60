"""The bodies new notes begin with: a store's own `templates/<type>.md`, else the ones built in. Pure, light: standard library only.

A template is copied as it stands, without its frontmatter and without any variables.
"""

from __future__ import annotations

from collections.abc import Mapping

_HINT = "<!-- {} -->"


def _sections(*sections: tuple[str, str]) -> str:
    return "\n".join(f"## {heading}\n\n{_HINT.format(hint)}\n" for heading, hint in sections)


BUILT_IN: Mapping[str, str] = {
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
"""The bodies of the built-in types."""


def template_body(note_type: str, given: bytes | None = None) -> str:
    """The body of a new note of a type. `given` is the file `templates/<type>.md` of the store, where there is one.

    Its frontmatter and the blank lines behind it are left out. A type without any template begins empty.
    """
    if given is None:
        return BUILT_IN.get(note_type, "")
    from schemas.notes.front import read_front

    text = given.decode("utf-8-sig", "replace")
    return text[read_front(text, f"templates/{note_type}.md").body_start :].lstrip("\r\n")


def template_file(note_type: str) -> str:
    """The text of `templates/<type>.md` as `init` writes it for a built-in type. Raises KeyError for any other."""
    return BUILT_IN[note_type]

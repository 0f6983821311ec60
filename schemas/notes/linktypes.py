"""Link types and note types: those built in, their inverses and costs, and what a store's own ontology adds or replaces.

Any type may be used; an ontology only says which are known. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["default", "extended", "replacement"]
MODES: tuple[Mode, ...] = ("default", "extended", "replacement")
"""`default`: the built-in types, any other allowed. `extended`: the built-in and the declared ones, others are findings.
`replacement`: only the declared ones."""

DEFAULT_TYPE = "related"
"""The type of every link that says none."""

INVERSE = "inverse-"
"""What the inverse of a type without a declared one begins with."""


@dataclass(frozen=True, slots=True)
class LinkType:
    """One type of link. `cost` is what a step along it costs in a weighted walk."""

    name: str
    inverse: str | None = None
    description: str | None = None
    usage: str | None = None
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class NoteType:
    """One type of note."""

    name: str
    description: str | None = None
    usage: str | None = None


_STRUCTURE = 0.5
"""Types that say how notes are built from one another, or that they are the same, bind closer than an argument."""

_PAIRS: tuple[tuple[str, str, float, str], ...] = (
    ("related", "related", 1.0, "has something to do with"),
    ("derived-from", "derived-to", 1.0, "was made out of"),
    ("supports", "supported-by", 1.0, "is evidence for"),
    ("contradicts", "contradicted-by", 1.0, "is evidence against"),
    ("part-of", "has-part", _STRUCTURE, "is a part of"),
    ("answers", "answered-by", 1.0, "answers the question"),
    ("refines", "refined-by", 1.0, "says more exactly than"),
    ("same-as", "same-as", _STRUCTURE, "means the same as"),
    ("alias-of", "has-alias", _STRUCTURE, "is another name for"),
    ("follows", "precedes", _STRUCTURE, "comes after"),
)

BUILT_IN: Mapping[str, LinkType] = {
    name: LinkType(name, inverse, description, None, cost)
    for first, second, cost, description in _PAIRS
    for name, inverse in ((first, second), (second, first))
}
"""The types every store knows unless its ontology replaces them; each inverse is a type of its own."""

NOTE_TYPES: Mapping[str, NoteType] = {
    "fleeting": NoteType("fleeting", "a quick thought, to be worked out or thrown away"),
    "literature": NoteType("literature", "what a source says, in own words"),
    "permanent": NoteType("permanent", "one idea, worked out to stand alone"),
    "moc": NoteType("moc", "a map of content: links to the notes of a topic, in an order"),
}

CONTRADICTIONS: tuple[frozenset[str], ...] = (frozenset({"supports", "contradicts"}), frozenset({"same-as", "alias-of"}))
"""Types that do not go together between the same two notes."""

NOT_TO_ITSELF = frozenset({"same-as", "alias-of", "part-of", "follows", "derived-from", "refines"})
"""Types no note can have to itself."""

ORDERED = frozenset({"follows", "part-of", "derived-from", "alias-of", "refines"})
"""Types that put notes in an order, so that a circle of them means nothing."""


@dataclass(frozen=True, slots=True)
class Ontology:
    """The types a store knows. `note_types` and `link_types` are the declared ones only."""

    mode: Mode = "default"
    note_types: Mapping[str, NoteType] = field(default_factory=dict)
    link_types: Mapping[str, LinkType] = field(default_factory=dict)

    def link_type(self, name: str) -> LinkType | None:
        """The type of that name: declared, built in (unless replaced), or known as the inverse of a declared one."""
        found = self.link_types.get(name)
        if found is None and self.mode != "replacement":
            found = BUILT_IN.get(name)
        if found is None:
            for declared in self.link_types.values():
                if declared.inverse == name:
                    return LinkType(name, declared.name, None, None, declared.cost)
        return found

    def inverse(self, name: str) -> str:
        """The type seen from the other end: a declared inverse, else the built-in one, else `inverse-<name>` (and back)."""
        found = self.link_type(name)
        if found is not None and found.inverse:
            return found.inverse
        return name[len(INVERSE) :] if name.startswith(INVERSE) and len(name) > len(INVERSE) else INVERSE + name

    def cost(self, name: str) -> float:
        """What a step along a link of this type costs; 1 where nothing is said. An inverse costs what its type costs."""
        found = self.link_type(name)
        if found is None and name.startswith(INVERSE):
            found = self.link_type(name[len(INVERSE) :])
        return found.cost if found is not None else 1.0

    def known(self, name: str) -> bool:
        """Whether the type is declared or built in. Where nothing is declared (`default`), every type is."""
        if self.mode == "default" or self.link_type(name) is not None:
            return True
        return name.startswith(INVERSE) and self.link_type(name[len(INVERSE) :]) is not None

    def known_note_type(self, name: str) -> bool:
        """Whether the note type is declared or built in. Where nothing is declared (`default`), every type is."""
        return self.mode == "default" or name in self.note_type_names()

    def note_type_names(self) -> list[str]:
        """The note types to offer, built-in ones first."""
        built_in: Iterable[str] = () if self.mode == "replacement" else NOTE_TYPES
        return list(dict.fromkeys([*built_in, *self.note_types]))

    def link_type_names(self) -> list[str]:
        """The link types to offer, built-in ones first."""
        built_in: Iterable[str] = () if self.mode == "replacement" else BUILT_IN
        return list(dict.fromkeys([*built_in, *self.link_types]))

"""What plans ask about links: which notes link to a file, where a link leads, what a name could mean.

The answers come from whoever has an index (`assets.notes.linker`); what is rewritten is always read from the files. Light.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from schemas.notes.model import Mention


class Linker(Protocol):
    """Answers about a store as its index knows it. All paths are the store's."""

    def inbound(self, path: str) -> Collection[str]:
        """The paths of all notes with a mention that leads to the note or attachment at `path`, itself included."""
        ...

    def resolve(self, source: str, mention: Mention) -> str | None:
        """The path of the note or attachment that a mention in the note at `source` leads to; None where it leads nowhere, out
        of the store, or to several."""
        ...

    def named(self, target: str) -> Collection[str]:
        """The paths of all notes that a link between double brackets with this text could mean, by any step, case aside."""
        ...

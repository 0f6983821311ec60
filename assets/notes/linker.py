"""Answers about links for those who change notes (`resources.notes.linking.Linker`), given by the index. Light."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from assets.notes.relink import namesakes_of
from assets.notes.resolve import Namesakes, key
from schemas.notes.model import Mention, MentionKind


class IndexLinker:
    """The links of the store whose index is behind `connection`, which must be up to date."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._namesakes: dict[str, Namesakes] = {}

    def inbound(self, path: str) -> Collection[str]:
        """The paths of all notes with a mention that leads to the note or attachment at `path`, itself included; sorted."""
        rows = self._connection.execute(
            "SELECT DISTINCT source.path FROM notes AS target JOIN mentions ON target_note = target.number "
            "JOIN notes AS source ON source.number = mentions.note WHERE target.path = ?1 "
            "UNION SELECT source.path FROM mentions JOIN notes AS source ON source.number = mentions.note "
            "WHERE state = 'attachment' AND target_path = ?1 ORDER BY 1",
            (path,),
        )
        return [row[0] for row in rows]

    def resolve(self, source: str, mention: Mention) -> str | None:
        """The path of the note or attachment that a mention in the note at `source` leads to; None where it leads nowhere, out
        of the store, or to several."""
        if mention.kind is MentionKind.URL:
            return None
        if not mention.target:
            return source
        return self._of(mention.target).resolve(mention.kind, mention.target, source).path

    def named(self, target: str) -> Collection[str]:
        """The paths of all notes that a link between double brackets with this text could mean, by any step, case aside."""
        return self._of(target).meant(target)

    def _of(self, target: str) -> Namesakes:
        shared = key(target)
        if shared not in self._namesakes:
            self._namesakes[shared] = namesakes_of(self._connection, shared)
        return self._namesakes[shared]

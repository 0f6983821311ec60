"""What an operation on many files came to: one row per path, and the counts. Light: standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from schemas.errors import HeadwaterError


class Outcome(StrEnum):
    """What became of one file: its bytes moved, were there already, or could not."""

    COPIED = "copied"
    PRESENT = "present"
    ERROR = "error"


WORDS: Final[Mapping[str, Mapping[Outcome, str]]] = {
    "add": {Outcome.COPIED: "added", Outcome.PRESENT: "already_tracked"},
    "get": {Outcome.COPIED: "retrieved", Outcome.PRESENT: "up_to_date"},
    "push": {Outcome.COPIED: "uploaded", Outcome.PRESENT: "already_present"},
    "pull": {Outcome.COPIED: "downloaded", Outcome.PRESENT: "already_cached"},
    "materialize": {Outcome.COPIED: "materialized", Outcome.PRESENT: "up_to_date"},
    "remove": {Outcome.COPIED: "removed", Outcome.PRESENT: "already_removed"},
    "move": {Outcome.COPIED: "moved", Outcome.PRESENT: "already_moved"},
    "merge": {Outcome.COPIED: "merged", Outcome.PRESENT: "skipped"},
    "import": {Outcome.COPIED: "imported", Outcome.PRESENT: "already_tracked"},
}
"""What each operation calls its outcomes in JSON; an error is `error` everywhere."""


@dataclass(frozen=True, slots=True)
class Row:
    """One path: `size` in bytes where it is known."""

    path: str
    outcome: Outcome
    oid: str | None = None
    size: int | None = None
    error: HeadwaterError | None = None

    def to_json(self, operation: str) -> dict[str, Any]:
        """The row as `--json` prints it."""
        record: dict[str, Any] = {
            "path": self.path,
            "outcome": "error" if self.error is not None else WORDS[operation][self.outcome],
            "oid": self.oid,
            "size": self.size,
        }
        if self.error is not None:
            record["error"] = self.error.to_json()
        return record


@dataclass(slots=True)
class Report:
    """The rows of one operation, sorted by path, and what it did to the repository's state."""

    operation: str
    rows: list[Row] = field(default_factory=list)
    state: str | None = None
    """The id of the state the operation led to; None when nothing changed."""
    left_to_git: list[str] = field(default_factory=list)
    """Files below folders that git tracks itself, and that were left alone."""
    rescued: dict[str, str] = field(default_factory=dict)
    """Path -> oid of bytes that were put into the storage before others took their place."""
    unlisted: int = 0
    """Files that are PRESENT and have no row, because nobody asked for rows."""
    also: dict[str, int] = field(default_factory=dict)
    """Further numbers of the summary, such as how many objects were copied."""

    def add(self, rows: Iterable[Row]) -> None:
        """Take more rows in; the order is restored."""
        self.rows.extend(rows)
        self.rows.sort(key=lambda row: row.path)

    @property
    def failed(self) -> bool:
        """Whether any path could not be handled: the command's exit code is then not 0."""
        return any(row.outcome is Outcome.ERROR for row in self.rows)

    def of(self, outcome: Outcome) -> list[Row]:
        """The rows of one outcome."""
        return [row for row in self.rows if row.outcome is outcome]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are by the operation's own words, and their bytes."""
        words = WORDS[self.operation]
        counted = Counter(words.get(row.outcome, "error") for row in self.rows)
        counted[words[Outcome.PRESENT]] += self.unlisted
        made = {word: counted.get(word, 0) for word in (*words.values(), "error")}
        return {**made, **self.also, "bytes": sum(row.size or 0 for row in self.of(Outcome.COPIED))}


def not_tracked(path: str) -> HeadwaterError:
    """A path under which nothing is tracked."""
    return HeadwaterError(
        "nothing of that name is tracked",
        rule="dvs-metadata-not-found",
        path=path,
        fix="`headwater dvs status` lists the tracked files",
    )

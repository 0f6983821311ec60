"""The words the engine speaks to its callers: stores, artifact references, states, outcomes, questions.

Values only; no I/O. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One artifact or source of one store: `kind/store/artifact`."""

    kind: str
    store: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.store}/{self.name}"

    @property
    def word(self) -> str:
        """The reference as one word of a shell, for commands that people copy out of a message: a store's name is the name of
        a folder, which may hold spaces, quotes and semicolons."""
        import shlex

        return shlex.quote(str(self))


@dataclass(frozen=True, slots=True)
class Store:
    """A discovered store. `root` is workspace-relative, '' for the workspace itself; `name` is what people select by."""

    kind: str
    name: str
    root: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    present: bool = True
    """False for a store that was known and has vanished, or is configured and missing."""


class Freshness(StrEnum):
    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class State:
    """Where one artifact stands. `reasons` are short sentences for people, most important first; `changed` the files
    (store-relative) that were added, removed or edited since the last build, cut to 100."""

    ref: Ref
    freshness: Freshness
    reasons: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Workspace-relative output paths."""
    output_digest: str | None = None
    cached: bool = False
    """Whether the build cache holds the outputs of the current fingerprint."""


class Result(StrEnum):
    FRESH = "fresh"
    RESTORED = "restored"
    ADOPTED = "adopted"
    BUILT = "built"
    FAILED = "failed"
    BLOCKED = "blocked"
    REFUSED = "refused"


@dataclass(slots=True)
class Outcome:
    """What a build of one artifact came to. `seconds` is wall time; `summary` is `Summary.to_json()` of the recipe."""

    ref: Ref
    result: Result
    seconds: float = 0.0
    output_digest: str | None = None
    outputs: tuple[str, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    error: Exception | None = None
    input_roots: dict[str, str] = field(default_factory=dict)
    """Role -> root (sources) or output digest (artifacts) actually read."""
    rescued: tuple[str, ...] = ()
    origin: str | None = None
    """Where a restored result came from: `local` for this machine's cache, else the remote's name."""

    def to_json(self) -> dict[str, Any]:
        error = self.error
        return {
            "artifact": str(self.ref),
            "outcome": str(self.result),
            "seconds": round(self.seconds, 3),
            "output_digest": self.output_digest,
            "outputs": list(self.outputs),
            "counts": self.summary.get("counts", {}),
            "reasons": list(self.reasons),
            "rescued": list(self.rescued),
            "origin": self.origin,
            "error": None if error is None else getattr(error, "to_json", lambda: {"message": str(error)})(),
        }


@dataclass(slots=True)
class Difference:
    """What replacing a present output would change: one headline, then lines for people (at most a few hundred)."""

    headline: str
    lines: list[str] = field(default_factory=list)
    only_in_output: int = 0
    """Records that exist only in the present output and would be lost."""
    data: dict[str, Any] = field(default_factory=dict)
    equal: bool = False
    """Whether the present output says the same as what would be built, so that replacing our own needs no question."""


class Ownership(StrEnum):
    """What lies at an output path: the first column of the whose-file table (design section 3)."""

    NOTHING = "nothing"
    EQUAL = "equal"
    OURS = "ours"
    EDITED = "edited"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Question:
    """A replacement that needs a yes: bound to `plan`, a digest over the fingerprint and the present files."""

    ref: Ref
    ownership: Ownership
    plan: str
    difference: Difference
    paths: tuple[str, ...] = ()


Ask = Callable[[Question], bool]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a build answers questions. `ask` is set at a terminal only; `confirm` holds plan digests already agreed to;
    `yes` agrees to everything (edited files are rescued first). Without them a build is headless: it replaces what is
    ours, and refuses to touch what is edited or unknown."""

    force: bool = False
    yes: bool = False
    confirm: frozenset[str] = frozenset()
    ask: Ask | None = None
    use_cache: bool = True


Progress = Callable[[Ref, str, float | None], None]
"""`progress(ref, phase, fraction)`: phases are `scan`, `check`, `restore`, `build`, `publish`, `done`."""

"""What every remote can do, whatever speaks to it: the interface that push, pull and the build cache are written against.
Light."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from resources.packed import PackedObjects

Done = Callable[[str, HeadwaterError | None], None]
"""Called for each object when it is there, or with what kept it from getting there. From one thread."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who puts objects at a remote: for the leases and the audit log there."""

    user: str
    clone: str
    when: str
    reason: str | None = None


class Meter(Protocol):
    """Whoever wants to see how a transfer comes on."""

    def expect(self, objects: int, size: int) -> None:
        """So many more objects, of so many bytes together, are going to move."""
        ...

    def moved(self, size: int) -> None:
        """So many bytes more have moved. From any thread; what is sent again counts again."""
        ...


def unmeasured(_size: int) -> None:
    """For transfers that nobody watches."""


class Remote(Protocol):
    """Objects somewhere else. Every object is verified before it becomes visible at either end."""

    url: str
    """Where it is, without credentials."""
    moved: Callable[[int], None]
    """Called with the bytes of objects as they move, from any thread."""

    def close(self) -> None:
        """Let go of connections and open files."""
        ...

    def identity(self, *, make: bool) -> str | None:
        """The id of this remote; with `make` it gets one where it has none. None where none was made yet. One request."""
        ...

    def claimed(self, operation: str, files: Mapping[str, str], claim: Claim) -> AbstractContextManager[None]:
        """Keep collectors of that place away while the block runs, and say first whose objects (path -> oid) these are going to
        be: what is there already counts as theirs too. Raises StorageBusy, AuditFailed."""
        ...

    def present(self, oids: Iterable[str]) -> set[str]:
        """Those of `oids` that are there. Their bytes are not read."""
        ...

    def put(self, sources: Mapping[str, PackedObjects], sizes: Mapping[str, int], done: Done) -> None:
        """Copy objects there, each from the store that holds it; `sizes` are their lengths in bytes. What goes wrong with one
        object is told to `done`, and the others go on."""
        ...

    def fetch(self, oids: Iterable[str], sizes: Mapping[str, int], target: PackedObjects, done: Done) -> None:
        """Copy objects from there into a store on this machine."""
        ...

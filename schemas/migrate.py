"""Format migrations: pure steps from one version to the next, run in order over the files of a store in memory.

Older files are read through `Migrations.load`; only the `migrate` command writes what it returns. Which steps there are
belongs to each kind. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from schemas.errors import HeadwaterError, NewerFormat
from schemas.paths import check_path

Tree = Mapping[str, bytes]
"""The files of one store: store-relative path to bytes."""

Step = Callable[[Tree], Mapping[str, bytes]]
"""One migration: takes the files of version n, returns those of version n + 1; pure."""

Check = Callable[[Tree], None]
"""Raises InvalidText unless the files have the shape of its version."""


class Migrations:
    """The chain of steps of one kind up to `current`.

        MIGRATIONS = Migrations("tables", current=1, version_of=version_of)

        @MIGRATIONS.register(0, check=validate_version_0)
        def from_version_0(tree): ...

        MIGRATIONS.seal()

    `version_of` finds the version of a tree and raises InvalidText where it is missing or malformed. A gap in the chain is a
    ValueError when the module is imported.
    """

    def __init__(self, kind: str, *, current: int, version_of: Callable[[Tree], int], check: Check | None = None) -> None:
        self.kind = kind
        self.current = current
        self._version_of = version_of
        self._steps: dict[int, Step] = {}
        self._checks: dict[int, Check] = {} if check is None else {current: check}
        self._sealed = False

    def register(self, from_version: int, *, check: Check | None = None) -> Callable[[Step], Step]:
        """Add the step from `from_version` to the next; `check` holds files of `from_version` to its shape before they are
        touched. Steps are registered oldest first, without gaps. Raises ValueError."""
        if self._sealed or (self._steps and from_version != max(self._steps) + 1) or not from_version < self.current:
            raise ValueError(f"the step from version {from_version} of {self.kind} is out of order")

        def keep(step: Step) -> Step:
            self._steps[from_version] = step
            if check is not None:
                self._checks[from_version] = check
            return step

        return keep

    def seal(self) -> None:
        """Close the chain; raises ValueError when no step leads to the current version."""
        if self._steps and max(self._steps) + 1 != self.current:
            raise ValueError(f"no step leads from version {max(self._steps) + 1} of {self.kind} to {self.current}")
        self._sealed = True

    @property
    def oldest(self) -> int:
        """The oldest version that can be read."""
        return min(self._steps, default=self.current)

    def load(self, tree: Tree) -> dict[str, bytes]:
        """The files in the current version; a tree that is current already is returned as it is.

        Raises NewerFormat for a later version, HeadwaterError (rule `format-too-old`) for one before the first step,
        InvalidText where `version_of` or a check refuses, HeadwaterError (rule `format-migration`) when a step breaks.
        """
        loaded = dict(tree)
        for _version, loaded in self.steps(tree):  # noqa: B007 - the last one counts
            pass
        return loaded

    def steps(self, tree: Tree) -> Iterator[tuple[int, dict[str, bytes]]]:
        """(version, files) after each step, checked; nothing when the tree is current. Raises as `load` does."""
        if not self._sealed:
            raise ValueError(f"the migrations of {self.kind} are not sealed")
        version = self.version(tree)
        files = dict(tree)
        if version < self.current:
            self._check(version, files)
        while version < self.current:
            files = self._run(version, files)
            version += 1
            self._check(version, files)
            yield version, dict(files)

    def _check(self, version: int, files: dict[str, bytes]) -> None:
        if version in self._checks:
            self._checks[version](MappingProxyType(files))

    def version(self, tree: Tree) -> int:
        """The version of the files, when it can be read; raises as `load` does."""
        version = self._version_of(MappingProxyType(dict(tree)))
        if version > self.current:
            raise NewerFormat(
                f"the {self.kind} store has format version {version}; this Headwater reads up to {self.current}",
                rule="format-newer",
                fix="install a newer Headwater; the files were left as they are",
            )
        if version < self.oldest:
            raise HeadwaterError(
                f"the {self.kind} store has format version {version}; the oldest this Headwater reads is {self.oldest}",
                rule="format-too-old",
                fix="migrate it with an older Headwater first",
            )
        return version

    def _run(self, version: int, files: dict[str, bytes]) -> dict[str, bytes]:
        try:
            made = {check_path(path): bytes(data) for path, data in self._steps[version](MappingProxyType(files)).items()}
        except HeadwaterError:
            raise
        except Exception as error:
            raise HeadwaterError(
                f"the migration of {self.kind} from version {version} to {version + 1} failed: {error}",
                rule="format-migration",
                fix="nothing was written; report this with the file",
            ) from error
        reached = self._version_of(MappingProxyType(made))
        if reached != version + 1:
            raise HeadwaterError(
                f"the migration of {self.kind} from version {version} made version {reached}, not {version + 1}",
                rule="format-migration",
                fix="nothing was written; report this with the file",
            )
        return made

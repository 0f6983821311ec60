"""What a recipe's body sees: a view that hands out exactly the inputs its fingerprint names, and a scratch folder to write to.

The view verifies what it hands out and, after the body, that nothing handed out by path has changed meanwhile. Publishing what
lies in the scratch folder belongs to `assets.engine.publish`. Light.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.model import Ref, Store
from assets.engine.provenance import Provenance
from resources.storage.base import Storage
from schemas.errors import HeadwaterError, InputChanged
from schemas.findings import Finding
from schemas.oid import bytes_oid, file_oid, parse_oid
from schemas.paths import check_path

if TYPE_CHECKING:
    from assets.engine.items import ItemReader
    from assets.engine.recipe import Lazy


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a role: its store-relative path, oid and size in bytes."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """One source or artifact of the workspace, as an `everything` input hands it out.

    `digest` is the source's root or the artifact's output digest (None for an artifact that was never built); `outputs` are
    the workspace-relative paths of an artifact's files. `findings` of a source are those of its store that lie in its files;
    those that lie in no source come with the store's first.
    """

    ref: Ref
    store: Store
    digest: str | None
    provenance: Provenance | None = None
    outputs: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    enumerate_files: Callable[[], tuple[tuple[str, str, int], ...]] | None = None
    catalog: Lazy | None = None
    """How the small records of a source's store are read (`Kind.catalog`)."""

    @property
    def files(self) -> list[InputFile]:
        """The files of a source, sorted by path; none for an artifact."""
        return [InputFile(*entry) for entry in self.enumerate_files()] if self.enumerate_files is not None else []


@dataclass(slots=True)
class RoleInput:
    """What a role holds: files of a source, an upstream artifact's outputs, or members of the workspace."""

    digest: str
    ref: Ref | None = None
    root: str | None = None
    provenance: Provenance | None = None
    members: tuple[Member, ...] = ()
    enumerate_files: Callable[[], tuple[tuple[str, str, int], ...]] | None = None
    absent: frozenset[str] = frozenset()
    """Those of the files that are not here: only their oids are known."""

    @property
    def files(self) -> tuple[tuple[str, str, int], ...]:
        """(store-relative path, oid, size) of a source's files as they were scanned."""
        return self.enumerate_files() if self.enumerate_files is not None else ()


@dataclass(frozen=True, slots=True)
class Built:
    """What the last build read and wrote, for `preview`: role -> path -> oid of its files, path -> oid of its outputs, and the
    bytes of those that are still kept (`has`, `read`; `read` raises FileNotFoundError)."""

    files: Mapping[str, Mapping[str, str]]
    outputs: Mapping[str, str]
    has: Callable[[str], bool]
    read: Callable[[str], bytes]


@dataclass(slots=True)
class View:
    """The verified inputs of one build. `root` is the store's folder ('' for the workspace), the prefix for findings."""

    storage: Storage
    store: Store
    roles: Mapping[str, RoleInput]
    fetched: Path
    """A folder of this build for copies of inputs that are not local."""
    upstream: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """Role -> local paths of an upstream artifact's outputs, in the order its recipe declares them."""
    item_readers: Mapping[str, ItemReader] = field(default_factory=dict)
    built: Built | None = None
    """The last build, where its manifests are known; handed to `preview` only."""
    _handed: dict[str, str] = field(default_factory=dict)
    _oids: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def root(self) -> str:
        return self.store.root

    def _role(self, role: str) -> RoleInput:
        try:
            return self.roles[role]
        except KeyError:
            raise HeadwaterError(f"the recipe declares no input {role!r}", rule="input-undeclared") from None

    def files(self, role: str) -> list[InputFile]:
        """The files of a source role, sorted by path."""
        return [InputFile(*entry) for entry in self._role(role).files]

    def _oid(self, role: str, path: str) -> str:
        if role not in self._oids:
            self._oids[role] = {name: oid for name, oid, _ in self._role(role).files}
        if path in self._oids[role]:
            return self._oids[role][path]
        raise HeadwaterError(
            f"{path} is not among the files of the input {role!r}",
            rule="input-undeclared",
            fix="declare it in the source's include globs, or read another file",
        )

    def workspace_path(self, path: str) -> str:
        """A store-relative path as findings show it."""
        return f"{self.root}/{path}" if self.root else path

    def read(self, role: str, path: str) -> bytes:
        """The bytes the fingerprint names; raises InputChanged when the file holds others now."""
        expected = self._oid(role, path)
        where = self.workspace_path(path)
        try:
            data = self.storage.read(where)
        except FileNotFoundError:
            raise _changed(where) from None
        if bytes_oid(data) != expected:
            raise _changed(where)
        return data

    def local(self, role: str, path: str) -> Path:
        """A path on this machine that holds the bytes the fingerprint names; checked now and again after the body."""
        expected = self._oid(role, path)
        where = self.workspace_path(path)
        if self.storage.local_root is None:
            digits = parse_oid(expected)[1]
            target = self.fetched / f"{digits[:32]}-{path.rpartition('/')[2]}"
            if not target.exists():
                try:
                    self.storage.fetch(where, target)
                except FileNotFoundError:
                    raise _changed(where) from None
                if file_oid(target) != expected:
                    target.unlink()
                    raise _changed(where)
            return target
        target = self.storage.local_root / where
        if self.storage.stat(where) is None or file_oid(target) != expected:
            raise _changed(where)
        self._handed[where] = expected
        return target

    def artifact(self, role: str) -> Path:
        """The first output (a file or a folder) of an upstream artifact, on this machine."""
        return self.artifacts(role)[0]

    def artifacts(self, role: str) -> Sequence[Path]:
        """All outputs of an upstream artifact, in the order its recipe declares them."""
        if role not in self.upstream:
            raise HeadwaterError(f"the recipe declares no artifact input {role!r}", rule="input-undeclared")
        return self.upstream[role]

    def everything(self, role: str) -> Sequence[Member]:
        """The sources or artifacts of the whole workspace (workspace recipes only)."""
        return self._role(role).members

    def items(self, role: str) -> ItemReader:
        """The items of an upstream item artifact."""
        if role not in self.item_readers:
            raise HeadwaterError(f"the input {role!r} is no item artifact", rule="input-undeclared")
        return self.item_readers[role]

    def fork(self) -> View:
        """The same inputs with a book of its own about what was handed out: for one item among many."""
        return replace(self, _handed={})

    def verify(self) -> None:
        """Raise InputChanged when a file handed out by path no longer holds the bytes the fingerprint names."""
        root = self.storage.local_root
        for where, expected in self._handed.items():
            # The signature alone would not do: an edit within one clock tick of the first hash leaves it unchanged.
            if self.storage.stat(where) is None or root is None or file_oid(root / where) != expected:
                raise _changed(where)


def _changed(path: str) -> InputChanged:
    return InputChanged(
        "was changed while it was being read",
        path=path,
        rule="input-changed",
        fix="wait until nothing writes to it, then build again",
    )


class Scratch:
    """The folder a body writes its outputs to; it vanishes after the build."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "outputs").mkdir(parents=True, exist_ok=True)

    def path(self, output_path: str) -> Path:
        """Where the body writes the output `output_path` (as in `Output.path`), its parent folder made."""
        target = self.folder / "outputs" / check_path(output_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def temporary(self, name: str) -> Path:
        """A path for working files of the body that are no output."""
        folder = self.folder / "working"
        folder.mkdir(exist_ok=True)
        return folder / name

    def written(self) -> list[str]:
        """The paths of all files the body has written, relative to the outputs, sorted; links and special files included."""
        outputs = self.folder / "outputs"
        found = []
        for folder, _, names in os.walk(outputs):
            found += [os.path.relpath(os.path.join(folder, name), outputs).replace(os.sep, "/") for name in names]
        return sorted(found)

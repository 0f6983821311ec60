"""Scan: the source files of a store, their oids from the stat cache, and the Merkle root of each source.

Reads names, stats and, where the stat cache cannot vouch, bytes. An unchanged store costs one listing: its sources' roots are
remembered under the digest of its tree, and its files are only enumerated when somebody asks for them. Which folders are
stores is `assets.engine.discovery`. Light.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from assets.engine.fingerprint import input_digest
from assets.engine.model import Ref, Store
from assets.engine.places import SIDECARS
from assets.engine.recipe import Input, Kind, Source
from schemas.canonical import canonical_json
from schemas.globs import by_folder, folder_test, matcher
from schemas.oid import json_oid
from schemas.paths import is_usable

if TYPE_CHECKING:
    from resources.statcache import Tree
    from resources.workspace import Workspace

_BESIDE = frozenset({*SIDECARS, "-shm"})

FileEntry = tuple[str, str, int]
"""(store-relative path, oid, size in bytes)."""


class SourceState:
    """A source as it was scanned: `root` is the Merkle root over its files, `files` the files sorted by path."""

    __slots__ = ("_enumerate", "_files", "absent", "ref", "root")

    def __init__(
        self, ref: Ref, root: str, enumerate_files: Callable[[], tuple[FileEntry, ...]], absent: frozenset[str] = frozenset()
    ) -> None:
        self.ref = ref
        self.root = root
        self.absent = absent
        """Those of the files that are not here: another store's text says what their oids are."""
        self._enumerate = enumerate_files
        self._files: tuple[FileEntry, ...] | None = None

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """(store-relative path, oid, size) of every file, as it was when the store was scanned."""
        if self._files is None:
            self._files = self._enumerate()
        return self._files

    def __repr__(self) -> str:
        return f"SourceState({self.ref}, {self.root})"


def store_relative(store: Store, path: str) -> str:
    """A workspace-relative path as seen from the store's root."""
    return path[len(store.root) + 1 :] if store.root else path


def _folders_of(sources: Sequence[Source]) -> Callable[[str], bool]:
    """A test for the store's folders in or below which a source may have files."""
    tests = [
        (folder_test(source.include), matcher([glob for glob in source.exclude if glob.endswith("**")])) for source in sources
    ]
    return lambda folder: any(possible(folder) and not closed(f"{folder}/") for possible, closed in tests)


def _is_output(name: str, outputs: Sequence[str]) -> bool:
    """Whether a file is one of the outputs, a journal of one or a backup."""
    for output in outputs:
        if name.startswith(output):
            rest = name[len(output) :]
            if not rest or rest in _BESIDE or rest.startswith(".bak-"):
                return True
    return False


def scan_sources(
    workspace: Workspace,
    kind: Kind,
    store: Store,
    enter: Callable[[str], bool],
    excluded: Callable[[str], bool],
    nested: Sequence[str] = (),
    built: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, SourceState]:
    """Source name -> state of one store.

    `enter` and `excluded` are discovery's tests for workspace folders and files; the folders in `nested` (inner stores of
    the same kind) are left out, and so are the files that any store's artifacts are (`built`: folder -> names), with what lies
    beside them: what is built must not make text look changed. Folders in which no source can have files are not entered.
    """
    outputs = built or {}
    by_source = [by_folder(source.include, source.exclude) for source in kind.sources] if kind.selective else None
    possible = _folders_of(kind.sources)
    derived = matcher(kind.derived)
    inner = frozenset(nested)

    def descend(folder: str) -> bool:
        below = store_relative(store, folder)
        return folder not in inner and possible(below) and not derived(f"{below}/") and enter(folder)

    def skip(folder: str) -> Callable[[str], bool] | None:
        names = outputs.get(folder, ())
        tests: list[Callable[[str], bool]] = []
        if names:
            tests.append(lambda name: _is_output(name, names))
        if folder == store.root and kind.derived:
            tests.append(derived)
        if by_source is not None:
            below = store_relative(store, folder) if folder != store.root else ""
            wanted = [test for of in by_source if (test := of(below)) is not None]
            tests.append(lambda name: not any(test(name) for test in wanted))
        if not tests:
            return None
        return tests[0] if len(tests) == 1 else lambda name: any(test(name) for test in tests)

    tree = workspace.stat_cache.tree(
        workspace.root, store.root, enter=descend, skip=skip, view=kind.name if kind.selective else ""
    )
    key = json_oid(
        {
            "tree": tree.digest,
            "root": store.root,
            "exclude": list(workspace.config.exclude),
            "sources": [[source.name, list(source.include), list(source.exclude)] for source in kind.sources],
        }
    )
    roots = _remembered_roots(workspace, key, kind.sources)
    enumerated: dict[str, tuple[FileEntry, ...]] = {}
    if roots is None:
        enumerated.update(_files_by_source(tree, kind.sources, store, excluded))
        roots = {name: input_digest(entries, names=True) for name, entries in enumerated.items()}
        workspace.stat_cache.set_memo(f"sources:{key}", canonical_json(roots))

    def enumerate_source(name: str) -> Callable[[], tuple[FileEntry, ...]]:
        def enumerate_files() -> tuple[FileEntry, ...]:
            if not enumerated:
                enumerated.update(_files_by_source(tree, kind.sources, store, excluded))
            return enumerated[name]

        return enumerate_files

    # In the kind's order, whether the roots were remembered or not.
    return {
        name: SourceState(Ref(store.kind, store.name, name), roots[name], enumerate_source(name))
        for name in (source.name for source in kind.sources)
    }


def _remembered_roots(workspace: Workspace, key: str, sources: Sequence[Source]) -> dict[str, str] | None:
    kept = workspace.stat_cache.memo(f"sources:{key}")
    if kept is None:
        return None
    roots: dict[str, str] = json.loads(kept)
    return roots if roots.keys() == {source.name for source in sources} else None


def _files_by_source(
    tree: Tree, sources: Sequence[Source], store: Store, excluded: Callable[[str], bool]
) -> dict[str, tuple[FileEntry, ...]]:
    tests = [(source.name, by_folder(source.include, source.exclude)) for source in sources]
    files: dict[str, list[FileEntry]] = {source.name: [] for source in sources}
    for folder in tree.folders:
        below = store_relative(store, folder.path) if folder.path != store.root else ""
        prefix = f"{below}/" if below else ""
        possible = [(files[name].append, test) for name, of in tests if (test := of(below)) is not None]
        if not possible:
            continue
        for path, size, oid in folder.files():
            name = path.rpartition("/")[2]
            entry = (prefix + name, oid, size)
            if not is_usable(entry[0]):  # no record can name it; the kind's checks report it
                continue
            for add, test in possible:
                if test(name) and not excluded(path):
                    add(entry)
    return {name: tuple(sorted(entries)) for name, entries in files.items()}


def with_absent(
    kind: Kind, store: Store, states: dict[str, SourceState], known: Sequence[FileEntry], excluded: Callable[[str], bool]
) -> dict[str, SourceState]:
    """The sources with those of the `known` files (workspace-relative paths) that belong to one and are not here.

    A clone that has the files sees the same sources, so what was built from them can be told by its fingerprint.
    """
    made = dict(states)
    for source in kind.sources:
        test = matcher(source.include, source.exclude)
        added = tuple(
            (path, oid, size)
            for where, oid, size in known
            if is_usable(path := store_relative(store, where)) and test(path) and not excluded(where)
        )
        if added:
            state = states[source.name]
            here = {path for path, _, _ in state.files}
            absent = tuple(entry for entry in added if entry[0] not in here)
            files = tuple(sorted((*state.files, *absent)))
            paths = frozenset(path for path, _, _ in absent)
            made[source.name] = SourceState(state.ref, input_digest(files, names=True), _constant(files), paths)
    return made


def _constant(files: tuple[FileEntry, ...]) -> Callable[[], tuple[FileEntry, ...]]:
    return lambda: files


def narrowed(state: SourceState, declared: Input) -> tuple[Callable[[], tuple[FileEntry, ...]], str]:
    """The files of a source that an input reads (enumerated when called), and their digest for the fingerprint."""
    if not declared.only:
        digest = state.root if declared.names else input_digest(state.files, names=False)
        return lambda: state.files, digest
    test = matcher(declared.only)
    files = tuple(entry for entry in state.files if test(entry[0]))
    return lambda: files, input_digest(files, names=declared.names)


def source_roots(sources: Mapping[str, SourceState]) -> dict[str, str]:
    """Source name -> Merkle root."""
    return {name: state.root for name, state in sources.items()}

"""The build cache: fingerprint -> outputs, kept as objects, on this machine and optionally on a remote.

An entry is a small JSON file `builds/<2 hex>/<hex>.json` beside the objects it names. Sizes and the order of use are in
`assets.engine.cache_index`, remotes in `assets.engine.cache_remote`. Everything taken from a cache is verified against its oid
and against the outputs the recipe declares: a damaged entry is noticed and built again. A lying one, made on purpose under the
fingerprint of something else, only a rebuild finds out (`headwater cache verify --rebuild`): whoever may write to a remote is
trusted. Light until it is used.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets.engine.cache_index import CacheIndex, OpenIndex
from assets.engine.cache_remote import PATIENCE, CacheRemote, Watched, entry_path, open_remote, time_for
from assets.engine.places import SIDECARS
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Recipe
from assets.engine.scratch import scratch_path
from resources.storage.base import Storage
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError
from schemas.oid import file_oid, parse_oid
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.workspace import Workspace

FORMAT = 1
GRACE: Final = 3600.0
"""Seconds for which nothing is collected: a builder puts objects before it writes the entry or the record that names them."""
LOCAL: Final = "local"
"""Where a result was restored from that was built on this machine."""


class Keeping(StrEnum):
    """How the results of an artifact are kept: see `[artifacts]` in the configuration."""

    COPY = "copy"
    REFLINK = "reflink"
    REFERENCE = "reference"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The outputs of one fingerprint."""

    fingerprint: str
    outputs: tuple[OutputFile, ...]
    output_digest: str
    summary: dict[str, Any] = field(default_factory=dict)
    origin: str | None = None
    """The remote it came from, None for one built on this machine."""

    @property
    def parts(self) -> list[tuple[str, int]]:
        """(oid, bytes) of every output."""
        return [(output.oid, output.size) for output in self.outputs]

    @property
    def size(self) -> int:
        return sum(output.size for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        record = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "outputs": [output.to_json() for output in self.outputs],
            "output_digest": self.output_digest,
            "summary": self.summary,
        }
        return record if self.origin is None else {**record, "origin": self.origin}


def parse_entry(data: bytes, fingerprint: str) -> CacheEntry | None:
    """A stored entry, or None for one that is damaged, of another format or for another fingerprint."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT or record["fingerprint"] != fingerprint:
            return None
        outputs = tuple(OutputFile.from_json(entry) for entry in record["outputs"])
        for output in outputs:
            check_path(output.path, portable=False)
            parse_oid(output.oid)
        origin = record.get("origin")
        return CacheEntry(
            fingerprint,
            outputs,
            str(record["output_digest"]),
            dict(record["summary"]),
            str(origin) if origin is not None else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError, HeadwaterError):
        return None


def entries_in(storage: Storage) -> Iterator[CacheEntry]:
    """Every readable entry of a storage."""
    for stat in storage.scan("builds"):
        parts = stat.path.removesuffix(".json").split("/")
        if len(parts) == 3:
            entry = parse_entry(storage.read(stat.path), f"blake3:{parts[1]}{parts[2]}")
            if entry is not None:
                yield entry


def placed(entry: CacheEntry, recipe: Recipe) -> CacheEntry:
    """The entry with its outputs where the recipe has them: stores of one kind may be laid out differently and share a build."""
    places = {output.place for output in recipe.outputs} | {output.place for output in entry.outputs}
    if len(places) == 1:
        return entry
    found = []
    for output in entry.outputs:
        declared = (one for one in recipe.outputs if output.path == one.path or output.path.startswith(f"{one.path}/"))
        found.append(replace(output, place=next(declared, output).place))
    return replace(entry, outputs=tuple(found))


def fits(entry: CacheEntry, recipe: Recipe) -> bool:
    """Whether the entry holds exactly what the recipe declares: an entry from elsewhere must not choose its own paths."""
    files = {(output.place, output.path) for output in recipe.outputs if not output.folder}
    folders = [(output.place, f"{output.path}/") for output in recipe.outputs if output.folder]
    for output in entry.outputs:
        if output.key in files:
            files.discard(output.key)
        elif not any(output.place is place and output.path.startswith(prefix) for place, prefix in folders):
            return False
        if any(output.path.endswith(suffix) for suffix in SIDECARS):
            return False
    return not files


class BuildCache:
    """The build cache of one workspace. A remote is looked into when the local cache has no entry.

    `pinned` are the objects that something else than the cache names; they are never deleted. `notice` is told what people should
    know, at most one sentence about the remote per command.
    """

    def __init__(self, workspace: Workspace, pinned: Callable[[], set[str]] = set) -> None:
        self.workspace = workspace
        self.pinned = pinned
        self.notice: Callable[[str], None] = logging.getLogger("headwater.cache").warning
        self.storage = workspace.state
        self.objects = workspace.objects
        self.remote = Watched(lambda: open_remote(workspace), lambda text: self.notice(text))
        self._index = CacheIndex(
            workspace.local / "cache.sqlite", lambda: ((entry.fingerprint, entry.parts) for entry in entries_in(self.storage))
        )

    # look-up

    def holds(self, fingerprint: str) -> bool:
        """Whether the local cache has an entry; its objects are not looked at."""
        return self.storage.stat(entry_path(fingerprint)) is not None

    def held_remotely(self, fingerprint: str) -> bool:
        """Whether the remote has an entry; False where there is none or it is away."""
        return self.remote.attempt("a look", lambda remote: remote.entry(fingerprint), PATIENCE) is not None

    def find(self, fingerprint: str, recipe: Recipe, *, remote: bool = True) -> CacheEntry | None:
        """The entry of a fingerprint whose objects are all there, from the local cache or copied from the remote. A remote that
        is away, slow or damaged costs a build, never a failure."""
        entry = _read_entry(self.storage, fingerprint)
        entry = None if entry is None else placed(entry, recipe)
        if entry is not None and fits(entry, recipe) and self._complete(entry):
            return entry
        if not remote or not self.workspace.config.cache_remote:
            return None
        data = self.remote.attempt("a look", lambda one: one.entry(fingerprint), PATIENCE)
        found = self._acceptable(data, fingerprint, recipe)
        if found is None:
            return None
        sizes = [size for _, size in found.parts]
        return self.remote.attempt("a transfer", lambda one: self._take(one, found), time_for(sizes))

    def _complete(self, entry: CacheEntry) -> bool:
        lacking = [output for output in entry.outputs if not self.objects.has(output.oid, size=output.size)]
        return not lacking or all(self._published(output.oid, output.size) is not None for output in lacking)

    def _published(self, oid: str, size: int) -> Path | None:
        """The published file that stands for an object, by its length; its bytes are verified when they are used."""
        with suppress(HeadwaterError, OSError), self._index.open() as index:
            held = index.referred(oid)
            if held is not None and Path(held).is_file() and Path(held).stat().st_size == size:
                return Path(held)
        return None

    def rotten(self, fingerprint: str) -> list[str]:
        """Re-hash the objects of one entry; sentences about damaged ones, which are dropped together with the entry."""
        entry = _read_entry(self.storage, fingerprint)
        damaged = []
        for output in entry.outputs if entry is not None else ():
            try:
                self.objects.verify(output.oid)
            except FileNotFoundError:
                continue
            except HeadwaterError:
                damaged.append(f"the build cache's copy of {output.path} was damaged and has been dropped")
        if entry is not None and damaged:
            self.forget(entry)
        return damaged

    def restore(self, entry: CacheEntry, folder: Path) -> bool:
        """Copy the entry's outputs below `folder`, verified; False (and the entry is forgotten) when one is damaged or gone."""
        import shutil

        try:
            for output in entry.outputs:
                target = folder / output.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(output.oid, output.size, target)
                target.chmod(0o644)
        except (FileNotFoundError, HeadwaterError):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self.forget(entry)
            return False
        with suppress(HeadwaterError), self._index.open() as index:
            index.note(entry.fingerprint, entry.parts)
        return True

    def _fetch(self, oid: str, size: int, target: Path) -> None:
        """A verified copy of an object, from the published file that stands for it where there is no other."""
        try:
            self.objects.fetch(oid, target)
            return
        except FileNotFoundError:
            published = self._published(oid, size)
            if published is None:
                raise
        from resources.storage.local import LocalStorage

        LocalStorage(published.parent, state=self.workspace.local).fetch(published.name, target)
        if file_oid(target) != oid:
            target.unlink()
            raise FileNotFoundError(oid)

    # keep and trim

    def keeping(self, ref: object) -> Keeping:
        """How the results of an artifact (`kind/store/artifact`) are kept: as the longest pattern that fits it says."""
        from fnmatch import fnmatchcase

        fitting = [glob for glob in self.workspace.config.artifacts if fnmatchcase(str(ref), glob)]
        for glob in sorted(fitting, key=len, reverse=True):
            said = self.workspace.config.artifacts[glob].get("cache")
            if said is not None:
                return self._possible(Keeping(said))
        return Keeping.COPY

    def _possible(self, wanted: Keeping) -> Keeping:
        if self.workspace.root.local_root is None:
            return Keeping.COPY if wanted is not Keeping.NONE else wanted  # outputs are objects there
        if wanted is Keeping.REFLINK and not _can_share_blocks(self.workspace.local):
            return Keeping.REFERENCE
        return wanted

    def keep(self, entry: CacheEntry, folder: Path, keeping: Keeping = Keeping.COPY) -> bool:
        """Keep the outputs that lie below `folder`; False when they are larger than the whole cache may be, or not to be kept.

        As a reference only the entry is kept: `refer` says later where the outputs lie.
        """
        if keeping is Keeping.NONE or (entry.size > self.workspace.config.cache_max_size and keeping is not Keeping.REFERENCE):
            return False
        if keeping is not Keeping.REFERENCE:
            for output in entry.outputs:
                self.objects.put(folder / output.path, oid=output.oid)
        self._enter(entry, parts=keeping is not Keeping.REFERENCE)
        return True

    def refer(self, paths: Mapping[str, Path]) -> None:
        """Say where the published files lie that stand for objects (oid -> path)."""
        with suppress(HeadwaterError), self._index.open() as index:
            index.refer((oid, str(path)) for oid, path in paths.items())

    def _enter(self, entry: CacheEntry, *, parts: bool = True) -> None:
        """Write an entry whose objects are there, as the one used last, and keep to the cap."""
        with suppress(HeadwaterError), self._index.open() as index:
            # Before the entry: what trimming takes for free, no entry may name.
            index.note(entry.fingerprint, entry.parts if parts else [])
        self.storage.write(entry_path(entry.fingerprint), canonical_json(entry.to_json()))
        with suppress(HeadwaterError), self._index.open() as index:
            self._trim(index, self.workspace.config.cache_max_size)

    def forget(self, entry: CacheEntry) -> None:
        """Drop an entry and the damaged ones of its objects; the whole ones are dropped by the next `gc`."""
        self.storage.delete(entry_path(entry.fingerprint))
        for output in entry.outputs:
            try:
                self.objects.verify(output.oid)
            except FileNotFoundError:
                continue
            except HeadwaterError:
                self.objects.delete(output.oid)
        with self._index.open() as index:
            index.drop(entry.fingerprint)

    def trim(self, max_size: int | None = None, *, grace: float = 0.0) -> list[str]:
        """Drop the entries unused for longest until the objects fit the cap, but none younger than `grace` seconds; returns
        the dropped fingerprints."""
        with self._index.open() as index:
            return self._trim(index, self.workspace.config.cache_max_size if max_size is None else max_size, grace)

    def _trim(self, index: OpenIndex, cap: int, grace: float = 0.0) -> list[str]:
        dropped = index.excess(cap, self._spared(grace))
        for fingerprint in dropped:
            self._drop(index, fingerprint)
        return dropped

    def kept_within(self, cap: int, *, grace: float = 0.0) -> set[str]:
        """The fingerprints that a trim to `cap` bytes would leave; nothing is dropped."""
        with self._index.open() as index:
            return index.fingerprints().difference(index.excess(cap, self._spared(grace)))

    def _spared(self, grace: float) -> Callable[[str], bool]:
        return lambda name: bool(grace) and self.is_young(self.storage.modified(entry_path(name)), grace)

    @staticmethod
    def is_young(modified: int | None, grace: float) -> bool:
        """Whether what was written at `modified` (nanoseconds, None for gone) is still in its time of grace. What a clock that
        is ahead of ours has stamped is young too."""
        return modified is not None and time.time() - modified / 1e9 < grace

    def _drop(self, index: OpenIndex, fingerprint: str) -> None:
        """The entry goes before its objects, so that no entry ever names an object that was trimmed away."""
        self.storage.delete(entry_path(fingerprint))
        free = index.drop(fingerprint)
        pinned = self.pinned() if free else set()
        if free and self.workspace.root.local_root is None:
            # Others write entries there that this machine's index does not know.
            pinned |= {oid for entry in entries_in(self.storage) for oid, _ in entry.parts}
        for oid in free:
            if self.workspace.root.local_root is None and self.is_young(self.objects.modified(oid), GRACE):
                # Outputs are objects there, and another builder may have put this one and not yet moved its pointer.
                continue
            if oid not in pinned:
                self.objects.delete(oid)

    # sharing

    def share(self, entry: CacheEntry) -> None:
        """Put a new result on the remote, where builds are to do so (`[cache] mode = "write"`); what fails is said once."""
        if self.workspace.config.cache_mode == "write" and self.workspace.config.cache_remote:
            sizes = [size for _, size in entry.parts]
            self.remote.attempt("sharing a build", lambda remote: self._put(remote, entry), time_for(sizes))

    def push(self, fingerprints: Iterable[str] | None = None, progress: Callable[[int, int], None] | None = None) -> int:
        """Copy entries (all, or those of `fingerprints`) that the remote lacks to it; returns how many were copied.

        Raises UsageError when no remote is configured.
        """
        remote = self._required_remote()
        wanted = list(entries_in(self.storage)) if fingerprints is None else self._local(fingerprints)
        copied = 0
        for number, entry in enumerate(wanted):
            if remote.entry(entry.fingerprint) is None and self._complete(entry):
                self._put(remote, entry)
                copied += 1
            if progress is not None:
                progress(number + 1, len(wanted))
        return copied

    def _put(self, remote: CacheRemote, entry: CacheEntry) -> None:
        """Objects go before the entry that names them."""
        sizes = dict(entry.parts)
        for oid in sorted(remote.lacking(sizes)):
            with self._transfer(lambda target, oid=oid: self._fetch(oid, sizes[oid], target)) as local:  # type: ignore[misc]
                remote.put(oid, local)
        remote.put_entry(entry.fingerprint, canonical_json(replace(entry, origin=None).to_json()))

    def pull(self, wanted: Iterable[tuple[str, Recipe]], progress: Callable[[int, int], None] | None = None) -> int:
        """Copy the entries of the given fingerprints from the remote where the local cache lacks them; how many came. One whose
        objects are damaged there is left out, and a notice says so."""
        remote = self._required_remote()
        pairs = list(wanted)
        copied = 0
        for number, (fingerprint, recipe) in enumerate(pairs):
            if self.find(fingerprint, recipe, remote=False) is None:
                found = self._acceptable(remote.entry(fingerprint), fingerprint, recipe)
                try:
                    copied += found is not None and self._take(remote, found) is not None
                except HeadwaterError as error:
                    if error.rule not in ("object-rotten", "oid-mismatch"):
                        raise
                    self.notice(f"a build is left out, which is damaged in the remote build cache: {error.message}")
            if progress is not None:
                progress(number + 1, len(pairs))
        return copied

    def _local(self, fingerprints: Iterable[str]) -> list[CacheEntry]:
        return [entry for name in fingerprints if (entry := _read_entry(self.storage, name)) is not None]

    def _required_remote(self) -> CacheRemote:
        from schemas.errors import UsageError

        remote = open_remote(self.workspace)
        if remote is None:
            raise UsageError(
                "no remote build cache is configured",
                rule="cache-remote-missing",
                fix="set `remote` under `[cache]` in headwater.toml, or HEADWATER_REMOTE_CACHE",
            )
        return remote

    def _acceptable(self, data: bytes | None, fingerprint: str, recipe: Recipe) -> CacheEntry | None:
        """The entry that a remote has sent, where it is one of this fingerprint and holds what the recipe declares."""
        entry = None if data is None else parse_entry(data, fingerprint)
        entry = None if entry is None else placed(entry, recipe)
        if entry is None or not fits(entry, recipe) or entry.size > self.workspace.config.cache_max_size:
            return None
        return entry

    def _take(self, remote: CacheRemote, entry: CacheEntry) -> CacheEntry | None:
        """Copy what an entry of the remote names, each object verified; None when one is not there."""
        for oid, size in entry.parts:
            if not self.objects.has(oid, size=size):
                try:
                    with self._transfer(lambda target, oid=oid, size=size: remote.fetch(oid, target, size)) as local:  # type: ignore[misc]
                        if local.stat().st_size != size:
                            return None  # its entry lies about the length, and would never be complete
                        self.objects.put(local, oid=oid)
                except FileNotFoundError:
                    return None
        taken = replace(entry, origin=remote.name)
        self._enter(taken)
        return taken

    @contextmanager
    def _transfer(self, fetch: Callable[[Path], None]) -> Iterator[Path]:
        """A local file for the time of a transfer."""
        target = scratch_path(self.workspace.local / "scratch", "transfer")
        try:
            fetch(target)
            yield target
        finally:
            target.unlink(missing_ok=True)


def _read_entry(storage: Storage, fingerprint: str) -> CacheEntry | None:
    try:
        return parse_entry(storage.read(entry_path(fingerprint)), fingerprint)
    except FileNotFoundError:
        return None


def _can_share_blocks(folder: Path) -> bool:
    """Whether the file system can give two files the same blocks: tried with two small ones."""
    from resources.storage.durable import can_clone

    folder.mkdir(parents=True, exist_ok=True)
    return can_clone(scratch_path(folder / "scratch", "clone"))

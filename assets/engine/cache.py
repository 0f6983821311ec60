"""The build cache: fingerprint -> outputs, kept as objects, on this machine and optionally on a remote.

An entry is a small JSON file `builds/<2 hex>/<hex>.json` beside the objects it names. Sizes and the order of use are kept in a
SQLite index in machine state that can be lost at any time. Everything taken from a cache is verified against its oid and
against the outputs the recipe declares; a remote is a convenience, never an authority. Light until it is used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets.engine.places import SIDECARS
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Recipe
from assets.engine.scratch import scratch_path
from resources.objects import ObjectStore
from resources.problems import database_problem
from resources.storage.base import Storage
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid
from schemas.paths import check_path

if TYPE_CHECKING:
    import sqlite3

    from resources.workspace import Workspace

FORMAT = 1
GRACE: Final = 3600.0
"""Seconds for which nothing is collected: a builder puts objects before it writes the entry or the record that names them."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The outputs of one fingerprint."""

    fingerprint: str
    outputs: tuple[OutputFile, ...]
    output_digest: str
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(output.size for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "outputs": [output.to_json() for output in self.outputs],
            "output_digest": self.output_digest,
            "summary": self.summary,
        }


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
        return CacheEntry(fingerprint, outputs, str(record["output_digest"]), dict(record["summary"]))
    except (ValueError, KeyError, TypeError, HeadwaterError):
        return None


def entry_path(fingerprint: str) -> str:
    digits = parse_oid(fingerprint)[1]
    return f"builds/{digits[:2]}/{digits[2:]}.json"


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
    """The build cache of one workspace. `remote` (a URL or path) is looked into when the local cache has no entry."""

    def __init__(self, workspace: Workspace, pinned: Callable[[], set[str]] = set) -> None:
        self.workspace = workspace
        self.pinned = pinned
        """The objects that something else than the cache still names; they are never deleted."""
        self.storage = workspace.state
        self.objects = workspace.objects
        self._remote: Storage | None = None

    @property
    def remote(self) -> Storage | None:
        """The remote storage, opened when first used; None when none is configured."""
        url = self.workspace.config.cache_remote
        if self._remote is None and url:
            from resources.storage import open_storage

            self._remote = open_storage(url, state=self.workspace.local / "remote")
        return self._remote

    # look-up

    def holds(self, fingerprint: str) -> bool:
        """Whether the local cache has an entry; its objects are not looked at."""
        return self.storage.stat(entry_path(fingerprint)) is not None

    def find(self, fingerprint: str, recipe: Recipe, *, remote: bool = True) -> CacheEntry | None:
        """The entry of a fingerprint whose objects are all there, from the local cache or copied from the remote."""
        entry = _read_entry(self.storage, fingerprint)
        entry = None if entry is None else placed(entry, recipe)
        if entry is not None and fits(entry, recipe) and self._complete(self.objects, entry):
            return entry
        if remote and self.remote is not None:
            try:
                return self._pull_one(self.remote, fingerprint, recipe)
            except (OSError, HeadwaterError):
                # A remote that is away, slow or damaged costs a build, never a failure.
                return None
        return None

    @staticmethod
    def _complete(objects: ObjectStore, entry: CacheEntry) -> bool:
        return all(objects.has(output.oid, size=output.size) for output in entry.outputs)

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
        """Copy the entry's outputs below `folder`, verified; False (and the entry is forgotten) when one is damaged."""
        import shutil

        try:
            for output in entry.outputs:
                target = folder / output.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self.objects.fetch(output.oid, target)
                target.chmod(0o644)
        except (FileNotFoundError, HeadwaterError):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self.forget(entry)
            return False
        self._used([entry])
        return True

    # keep and trim

    def keep(self, entry: CacheEntry, folder: Path) -> bool:
        """Keep the outputs that lie below `folder`; False when they are larger than the whole cache may be."""
        if entry.size > self.workspace.config.cache_max_size:
            return False
        for output in entry.outputs:
            self.objects.put(folder / output.path, oid=output.oid)
        self._enter(entry)
        return True

    def _enter(self, entry: CacheEntry) -> None:
        """Write an entry whose objects are there, as the one used last, and keep to the cap."""
        self.storage.write(entry_path(entry.fingerprint), canonical_json(entry.to_json()))
        # What could not be noted is known again when the index is made anew from the entries.
        with suppress(HeadwaterError), self._index() as index:
            _note(index, [entry])
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
        with self._index() as index:
            index.execute("DELETE FROM entry WHERE fingerprint = ?", (entry.fingerprint,))
            index.execute("DELETE FROM part WHERE fingerprint = ?", (entry.fingerprint,))

    def trim(self, max_size: int | None = None, *, grace: float = 0.0) -> list[str]:
        """Drop the entries unused for longest until the objects fit the cap, but none younger than `grace` seconds; returns
        the dropped fingerprints."""
        with self._index() as index:
            return self._trim(index, self.workspace.config.cache_max_size if max_size is None else max_size, grace)

    def _trim(self, index: sqlite3.Connection, cap: int, grace: float = 0.0) -> list[str]:
        dropped = self._excess(index, cap, grace)
        for fingerprint in dropped:
            self._drop(index, fingerprint)
        return dropped

    def kept_within(self, cap: int, *, grace: float = 0.0) -> set[str]:
        """The fingerprints that a trim to `cap` bytes would leave; nothing is dropped."""
        with self._index() as index:
            everything = {row[0] for row in index.execute("SELECT fingerprint FROM entry")}
            return everything.difference(self._excess(index, cap, grace))

    def _excess(self, index: sqlite3.Connection, cap: int, grace: float) -> list[str]:
        """The entries past the cap, those unused for longest first."""
        held = self._size(index)
        if held <= cap:
            return []
        sharing = dict(index.execute("SELECT oid, count(*) FROM part GROUP BY oid").fetchall())
        excess = []
        for (fingerprint,) in index.execute("SELECT fingerprint FROM entry ORDER BY used, fingerprint").fetchall():
            if held <= cap:
                break
            if grace and self.is_young(self.storage.modified(entry_path(fingerprint)), grace):
                continue
            excess.append(fingerprint)
            for oid, size in index.execute("SELECT oid, size FROM part WHERE fingerprint = ?", (fingerprint,)):
                sharing[oid] -= 1
                held -= 0 if sharing[oid] else size
        return excess

    @staticmethod
    def is_young(modified: int | None, grace: float) -> bool:
        """Whether what was written at `modified` (nanoseconds, None for gone) is still in its time of grace. What a clock that
        is ahead of ours has stamped is young too."""
        return modified is not None and time.time() - modified / 1e9 < grace

    @staticmethod
    def _size(index: sqlite3.Connection) -> int:
        row = index.execute("SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT oid, size FROM part)").fetchone()
        return int(row[0])

    def _drop(self, index: sqlite3.Connection, fingerprint: str) -> None:
        """The entry goes before its objects, so that no entry ever names an object that was trimmed away."""
        self.storage.delete(entry_path(fingerprint))
        oids = [row[0] for row in index.execute("SELECT DISTINCT oid FROM part WHERE fingerprint = ?", (fingerprint,))]
        index.execute("DELETE FROM part WHERE fingerprint = ?", (fingerprint,))
        index.execute("DELETE FROM entry WHERE fingerprint = ?", (fingerprint,))
        pinned = self.pinned()
        for oid in oids:
            if self.workspace.root.local_root is None and self.is_young(self.objects.modified(oid), GRACE):
                # Outputs are objects there, and another builder may have put this one and not yet moved its pointer.
                continue
            if oid not in pinned and index.execute("SELECT 1 FROM part WHERE oid = ? LIMIT 1", (oid,)).fetchone() is None:
                self.objects.delete(oid)

    # the index of use

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index in a transaction. Raises HeadwaterError when the disk does not take it; it is made again next time."""
        import sqlite3

        path = self.workspace.local / "cache.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                index = self._opened(path)
            except sqlite3.DatabaseError:
                path.unlink(missing_ok=True)
                index = self._opened(path)
            with closing(index):
                try:
                    yield index
                except BaseException:
                    if index.in_transaction:
                        index.execute("ROLLBACK")
                    raise
                index.execute("COMMIT")
        except sqlite3.OperationalError as error:
            path.unlink(missing_ok=True)
            unusable = HeadwaterError(
                f"the index of the build cache cannot be used: {error}", rule="cache-index", fix="run the command again"
            )
            raise database_problem(error) or unusable from error

    def _opened(self, path: Path) -> sqlite3.Connection:
        """The index in a transaction. It is never flushed: after a power cut it is made again or a little out of date."""
        import sqlite3

        index = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            index.execute("PRAGMA synchronous = OFF")
            index.execute("BEGIN IMMEDIATE")
            if index.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                self._rebuild(index)
        except BaseException:
            index.close()
            raise
        return index

    def _rebuild(self, index: sqlite3.Connection) -> None:
        """The index is a hint: when it is new, lost or of another format it is made again from the entries."""
        index.execute("DROP TABLE IF EXISTS entry")
        index.execute("DROP TABLE IF EXISTS part")
        index.execute("CREATE TABLE entry (fingerprint TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT, WITHOUT ROWID")
        index.execute(
            "CREATE TABLE part (fingerprint TEXT NOT NULL, oid TEXT NOT NULL, size INTEGER NOT NULL, "
            "PRIMARY KEY (fingerprint, oid)) STRICT, WITHOUT ROWID"
        )
        index.execute("CREATE INDEX part_oid ON part (oid, size)")
        index.execute(f"PRAGMA user_version = {FORMAT}")
        _note(index, entries_in(self.storage))

    def _used(self, entries: Iterable[CacheEntry]) -> None:
        with suppress(HeadwaterError), self._index() as index:
            _note(index, entries)

    # sharing

    def push(self, fingerprints: Iterable[str] | None = None, progress: Callable[[int, int], None] | None = None) -> int:
        """Copy entries (all, or those of `fingerprints`) that the remote lacks to it; returns how many were copied.

        Objects go before the entry that names them. Raises UsageError when no remote is configured.
        """
        remote = self._required_remote()
        wanted = list(entries_in(self.storage)) if fingerprints is None else self._local(fingerprints)
        objects = ObjectStore(remote, "objects")
        copied = 0
        for number, entry in enumerate(wanted):
            if remote.stat(entry_path(entry.fingerprint)) is None and self._complete(self.objects, entry):
                for output in entry.outputs:
                    if not objects.has(output.oid, size=output.size):
                        with self._fetched(self.objects, output.oid) as local:
                            objects.put(local, oid=output.oid)
                remote.write(entry_path(entry.fingerprint), canonical_json(entry.to_json()))
                copied += 1
            if progress is not None:
                progress(number + 1, len(wanted))
        return copied

    def pull(self, wanted: Iterable[tuple[str, Recipe]], progress: Callable[[int, int], None] | None = None) -> int:
        """Copy the entries of the given fingerprints from the remote where the local cache lacks them; how many came."""
        remote = self._required_remote()
        pairs = list(wanted)
        copied = 0
        for number, (fingerprint, recipe) in enumerate(pairs):
            if self.find(fingerprint, recipe, remote=False) is None:
                copied += self._pull_one(remote, fingerprint, recipe) is not None
            if progress is not None:
                progress(number + 1, len(pairs))
        return copied

    def _local(self, fingerprints: Iterable[str]) -> list[CacheEntry]:
        return [entry for name in fingerprints if (entry := _read_entry(self.storage, name)) is not None]

    def _required_remote(self) -> Storage:
        from schemas.errors import UsageError

        if self.remote is None:
            raise UsageError(
                "no remote build cache is configured",
                rule="cache-remote-missing",
                fix="set `remote` under `[cache]` in headwater.toml, or HEADWATER_REMOTE_CACHE",
            )
        return self.remote

    def _pull_one(self, remote: Storage, fingerprint: str, recipe: Recipe) -> CacheEntry | None:
        entry = _read_entry(remote, fingerprint)
        entry = None if entry is None else placed(entry, recipe)
        if entry is None or not fits(entry, recipe) or entry.size > self.workspace.config.cache_max_size:
            return None
        objects = ObjectStore(remote, "objects")
        for output in entry.outputs:
            if not self.objects.has(output.oid, size=output.size):
                try:
                    with self._fetched(objects, output.oid) as local:
                        self.objects.put(local, oid=output.oid)
                except FileNotFoundError:
                    return None
        self._enter(entry)
        return entry

    @contextmanager
    def _fetched(self, objects: ObjectStore, oid: str) -> Iterator[Path]:
        """A verified local copy of an object for the time of a transfer."""
        target = scratch_path(self.workspace.local / "scratch", "transfer")
        try:
            objects.fetch(oid, target)
            yield target
        finally:
            target.unlink(missing_ok=True)


def _read_entry(storage: Storage, fingerprint: str) -> CacheEntry | None:
    try:
        return parse_entry(storage.read(entry_path(fingerprint)), fingerprint)
    except FileNotFoundError:
        return None


def _note(index: sqlite3.Connection, entries: Iterable[CacheEntry]) -> None:
    """Record the entries as the ones used last."""
    for entry in entries:
        index.execute(
            "INSERT INTO entry VALUES (?, (SELECT coalesce(max(used), 0) + 1 FROM entry)) "
            "ON CONFLICT (fingerprint) DO UPDATE SET used = excluded.used",
            (entry.fingerprint,),
        )
        index.executemany(
            "INSERT OR IGNORE INTO part VALUES (?, ?, ?)",
            [(entry.fingerprint, output.oid, output.size) for output in entry.outputs],
        )

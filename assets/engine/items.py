"""Item artifacts: sets of results of which only the stale ones are built.

Each item has a fingerprint of its own (recipe, parameters, libraries and the item's inputs; not its key, so that a renamed item
is not built again). Results are rows in one SQLite file per artifact in machine state; large ones are files in the artifact's
folder. A sorted manifest of keys and oids is published last, and its root is the output digest. Running a plain body is
`assets.engine.build`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from assets.engine.places import MANIFEST, Key, Present, Spot
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Item, Recipe
from assets.engine.view import Scratch, View
from schemas.canonical import canonical_json
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid, json_oid
from schemas.paths import check_path, collisions

FORMAT = 1
_BATCH = 64
"""Finished items that are made durable together."""
_WORKERS = 8

Entry = tuple[str, str, int]
"""(key, oid, size in bytes) of one item."""


def manifest_bytes(entries: Sequence[Entry]) -> bytes:
    """The published manifest: `{"format": 1, "items": [[key, oid, size], …]}`, sorted by key."""
    return canonical_json({"format": FORMAT, "items": [list(entry) for entry in sorted(entries)]})


def manifest_root(entries: Sequence[Entry]) -> str:
    """The output digest of an item artifact: the oid of its sorted keys and oids."""
    return json_oid([[key, oid] for key, oid, _ in sorted(entries)])


def item_fingerprint(base: Mapping[str, Any], item: Item) -> str:
    """The fingerprint of one item; `base` is what all items of the artifact share."""
    return json_oid({**base, "item": item.inputs})


class ItemRecords:
    """The results of one artifact's items, by fingerprint, in the SQLite file at `path`; a context manager.

    A hint that can be lost: what is missing or damaged is built again. Each `keep` is one transaction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)
            Path(f"{path}-journal").unlink(missing_ok=True)
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                connection.executescript(
                    "BEGIN IMMEDIATE; DROP TABLE IF EXISTS result;"
                    "CREATE TABLE result (fingerprint TEXT PRIMARY KEY, oid TEXT NOT NULL, size INTEGER NOT NULL, value BLOB)"
                    "STRICT;"
                    f"CREATE INDEX result_oid ON result (oid); PRAGMA user_version = {FORMAT}; COMMIT;"
                )
            connection.execute("SELECT count(*) FROM result").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def __enter__(self) -> ItemRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def known(self) -> dict[str, tuple[str, int]]:
        """Fingerprint -> (oid, size) of every result."""
        rows = self._connection.execute("SELECT fingerprint, oid, size FROM result")
        return {fingerprint: (oid, size) for fingerprint, oid, size in rows}

    def keep(self, results: Sequence[tuple[str, str, int, bytes | None]]) -> None:
        """Keep (fingerprint, oid, size, value); `value` is None where the bytes are a file."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)", results)
        self._connection.execute("COMMIT")

    def drop_except(self, fingerprints: set[str]) -> int:
        """Forget the results of items that are no more; returns how many."""
        orphans = [(name,) for name in self.known() if name not in fingerprints]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("DELETE FROM result WHERE fingerprint = ?", orphans)
        self._connection.execute("COMMIT")
        return len(orphans)

    def take_over(self, other: ItemRecords) -> None:
        """Keep the results that `other` holds."""
        self.keep(other._connection.execute("SELECT fingerprint, oid, size, value FROM result").fetchall())

    def value(self, oid: str) -> bytes | None:
        """The bytes of a small result, None when there are none by that oid."""
        row = self._connection.execute("SELECT value FROM result WHERE oid = ? AND value IS NOT NULL LIMIT 1", (oid,)).fetchone()
        return None if row is None else bytes(row[0])


class ItemReader:
    """The items of an upstream artifact, verified as they are read. `entries` are (key, oid, size), sorted by key."""

    def __init__(self, entries: Sequence[Entry], read: Callable[[str, str], bytes | None]) -> None:
        self.entries = sorted(entries)
        self._oids = {key: oid for key, oid, _ in entries}
        self._read = read
        """(key, oid) -> the bytes wherever they lie, not verified."""

    def keys(self) -> list[str]:
        """The keys, sorted."""
        return [key for key, _, _ in self.entries]

    def read(self, key: str) -> bytes:
        """The bytes of one item. Raises KeyError for an unknown key, HeadwaterError (rule `item-damaged`) for other bytes."""
        oid = self._oids[key]
        data = self._read(key, oid)
        if data is None or bytes_oid(data) != oid:
            raise HeadwaterError(
                f"the item {key} is not what was built", rule="item-damaged", fix="build its artifact again with --force"
            )
        return data


@dataclass(frozen=True, slots=True)
class ItemsMade:
    """A finished set: every entry, what was built, and how many earlier items are no more."""

    entries: tuple[Entry, ...]
    built: int
    removed: int


@dataclass(slots=True)
class ItemBuild:
    """One build of a set of items: what is known of it, and where its files lie and go."""

    recipe: Recipe
    base: Mapping[str, Any]
    view: View
    scratch: Scratch
    parameters: Mapping[str, Any]
    records: ItemRecords
    staging: Path
    """Machine state for files of finished items that are not published yet, by fingerprint."""
    here: Mapping[str, Spot]
    """Oid -> a file that holds it and may be taken for the item's: unedited from the set published last, or adopted."""

    def run(self, progress: Callable[[float], None]) -> ItemsMade:
        """Build the stale items and put the manifest, and each file that is not in its place yet, into the scratch folder.

        Finished items are kept when another one fails or the build is interrupted. Raises HeadwaterError (rules
        `item-key-…`) for keys that clash, InputChanged, and what a body raises.
        """
        assert self.recipe.items is not None
        items = sorted(self.recipe.items.load()(self.view, self.parameters), key=lambda item: item.key)
        self._check_keys(items)
        prints = {item.key: item_fingerprint(self.base, item) for item in items}
        known = self.records.known()
        stale: dict[str, Item] = {}
        for item in items:
            if not self._available(prints[item.key], known):
                stale.setdefault(prints[item.key], item)
        self._build(stale, progress)
        known = self.records.known()
        entries = tuple((item.key, *known[prints[item.key]]) for item in items)
        removed = self.records.drop_except(set(prints.values()))
        folder = self.recipe.outputs[0].path
        if self.recipe.item_files:
            self._gather(entries, prints, folder)
        self.scratch.path(f"{folder}/{MANIFEST}").write_bytes(manifest_bytes(entries))
        return ItemsMade(entries, len(stale), removed)

    def adopt(self, present: Mapping[str, tuple[str, int, Spot]], sample: int | None) -> list[str]:
        """Take files that lie there for their items' results, `present` being (oid, size, spot) by key; sentences about those
        that are missing or not what is built. All items are built to compare, or `sample` of them, chosen by their keys."""
        assert self.recipe.items is not None
        items = sorted(self.recipe.items.load()(self.view, self.parameters), key=lambda item: item.key)
        self._check_keys(items)
        missing = [f"the item {item.key} is missing" for item in items if item.key not in present]
        if missing:
            return missing
        chosen = sorted(items, key=lambda item: bytes_oid(item.key.encode()))[:sample]
        body = self.recipe.body.load()
        differences = []
        for item in chosen:
            view = self.view.fork()
            data: bytes = body(view, self.scratch, self.parameters, item)
            view.verify()
            if bytes_oid(data) != present[item.key][0]:
                differences.append(f"the item {item.key} differs from what is built now")
        if not differences:
            self.records.keep([(item_fingerprint(self.base, item), *present[item.key][:2], None) for item in items])
            self.here = {oid: spot for oid, _, spot in present.values()}
        return differences

    def _check_keys(self, items: Sequence[Item]) -> None:
        keys = [item.key for item in items]
        if len(set(keys)) != len(keys):
            twice = next(key for key, after in pairwise(keys) if key == after)
            raise HeadwaterError(
                f"two items have the key {twice!r}", rule="item-key-twice", fix="report it: this is an error in the recipe"
            )
        if self.recipe.item_files:
            for key in keys:
                check_path(key)
            clashes = collisions([*keys, MANIFEST]) or [(key, MANIFEST) for key in keys if key.split("/")[0] == MANIFEST]
            if clashes:
                raise HeadwaterError(
                    f"the items {' and '.join(clashes[0])} would be one file on some systems",
                    rule="item-key-clash",
                    fix="rename one of the files they are made from",
                )

    def _available(self, fingerprint: str, known: Mapping[str, tuple[str, int]]) -> bool:
        """Whether the item's bytes need not be built: they are recorded, and, for files, lie somewhere."""
        if fingerprint not in known:
            return False
        if not self.recipe.item_files:
            return True
        return known[fingerprint][0] in self.here or self._staged(fingerprint).exists()

    def _staged(self, fingerprint: str) -> Path:
        return self.staging / fingerprint.partition(":")[2]

    def _build(self, stale: Mapping[str, Item], progress: Callable[[float], None]) -> None:
        """Run the bodies on a bounded pool, keeping finished items in batches, whatever happens to the others."""
        if not stale:
            return
        body = self.recipe.body.load()
        self.staging.mkdir(parents=True, exist_ok=True)

        def one(fingerprint: str, item: Item) -> tuple[str, str, int, bytes | None]:
            view = self.view.fork()
            try:
                data: bytes = body(view, self.scratch, self.parameters, item)
            except Exception:
                view.verify()
                raise
            # Only an item whose inputs were still the same afterwards may be kept under its fingerprint.
            view.verify()
            oid = bytes_oid(data)
            if not self.recipe.item_files:
                return fingerprint, oid, len(data), data
            temporary = self._staged(fingerprint).with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(data)
            temporary.replace(self._staged(fingerprint))
            return fingerprint, oid, len(data), None

        finished: list[tuple[str, str, int, bytes | None]] = []
        done = 0
        waiting = iter(stale.items())
        workers = min(_WORKERS, os.cpu_count() or 1, len(stale))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="headwater-item")
        running: set[Future[tuple[str, str, int, bytes | None]]] = set()
        try:
            running = {pool.submit(one, *pair) for pair in islice(waiting, 2 * workers)}
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                failed = None
                for future in ready:
                    error = future.exception()
                    if error is None:
                        finished.append(future.result())
                    else:
                        failed = error
                if failed is not None:
                    raise failed
                done += len(ready)
                running |= {pool.submit(one, *pair) for pair in islice(waiting, len(ready))}
                if len(finished) >= _BATCH:
                    self.records.keep(finished)
                    finished = []
                progress(done / len(stale))
        finally:
            for future in running:
                future.cancel()
            pool.shutdown(wait=True)
            finished += [future.result() for future in running if not future.cancelled() and future.exception() is None]
            self.records.keep(finished)

    def _gather(self, entries: Sequence[Entry], prints: Mapping[str, str], folder: str) -> None:
        """Put the files that are not in their place yet into scratch, each once more proven to be what was built."""
        for key, oid, _ in entries:
            spot = self.here.get(oid)
            if spot is not None and spot.path.endswith(f"{folder}/{key}"):
                continue
            target = self.scratch.path(f"{folder}/{key}")
            staged = self._staged(prints[key])
            data = staged.read_bytes() if staged.exists() else spot.storage.read(spot.path) if spot is not None else b""
            if bytes_oid(data) != oid:
                staged.unlink(missing_ok=True)
                raise HeadwaterError(
                    f"the finished item {key} was damaged before it was published", rule="item-damaged", fix="build again"
                )
            target.write_bytes(data)

    def published(self, records: Path) -> None:
        """The set is in place: keep the results in `records` where they were made elsewhere, and forget the staged files."""
        if records != self.records.path:
            with ItemRecords(records) as kept, ItemRecords(self.records.path) as made:
                kept.take_over(made)
        for path in self.staging.iterdir() if self.staging.is_dir() else ():
            path.unlink(missing_ok=True)


def set_outputs(recipe: Recipe, entries: Sequence[Entry]) -> tuple[OutputFile, ...]:
    """Every file of the set, its manifest among them, as outputs."""
    declared = recipe.outputs[0]
    data = manifest_bytes(entries)
    manifest = OutputFile(declared.place, f"{declared.path}/{MANIFEST}", bytes_oid(data), len(data))
    if not recipe.item_files:
        return (manifest,)
    files = [OutputFile(declared.place, f"{declared.path}/{key}", oid, size) for key, oid, size in entries]
    return tuple(sorted([manifest, *files]))


def ours_by_oid(
    recipe: Recipe, present: Mapping[Key, Present], listed: Mapping[Key, str], spot: Callable[[Key, str], Spot]
) -> dict[str, Spot]:
    """Oid -> a present file of the set that still is what its record lists."""
    if not recipe.item_files:
        return {}
    return {here.oid: spot(key, here.oid) for key, here in present.items() if listed.get(key) == here.oid}


def record_reader(path: Path) -> Callable[[str, str], bytes | None]:
    """How `ItemReader` reads small results from the item records at `path`."""

    def read(_key: str, oid: str) -> bytes | None:
        with ItemRecords(path) as records:
            return records.value(oid)

    return read

"""Stores of notes for the tests of the index: files in a folder, views over them as the engine makes them, builds and folds."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from assets.engine.folded import Delta, delta_between
from assets.engine.model import Store
from assets.engine.recipe import Summary
from assets.engine.view import RoleInput, Scratch, View
from assets.notes import dump, fold, index
from assets.notes.recipes import ATTACHMENTS, NOTES, SETTINGS
from assets.notes.schema import RANK
from resources.storage.local import LocalStorage
from schemas.globs import matcher
from schemas.oid import bytes_oid

ROLES = {"notes": NOTES, "settings": SETTINGS, "attachments": ATTACHMENTS}
QUERIES = ("river", "stone OR amber", '"quiet river"', "title:harbor", "lan*", '"漢 字"', "tags:topic", "stones NOT amber")
"""What is asked of every index that is compared with another."""

Entries = tuple[tuple[str, str, int], ...]


class Corpus:
    """A store at `root` below `folder`, its index beside it."""

    def __init__(self, folder: Path, files: Mapping[str, str | bytes] | None = None, *, root: str = ".qipu") -> None:
        self.folder = folder
        self.root = root
        self.parameters: dict[str, Any] = {}
        self.index = folder / "built" / "qipu.db"
        self.summary = Summary()
        self._built: dict[str, Entries] = {}
        (folder / "store" / root).mkdir(parents=True, exist_ok=True)
        self.write(files or {})

    @property
    def path(self) -> Path:
        return self.folder / "store" / self.root

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def delete(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink()

    def rename(self, old: str, new: str) -> None:
        (self.path / new).parent.mkdir(parents=True, exist_ok=True)
        (self.path / old).rename(self.path / new)

    def entries(self) -> dict[str, Entries]:
        """(path, oid, size) of the files of each role."""
        paths = []
        for folder, _, names in os.walk(self.path):
            paths += [os.path.relpath(os.path.join(folder, name), self.path) for name in names]
        found = {}
        for role, source in ROLES.items():
            wanted = matcher(source.include, source.exclude)
            datas = [(path, (self.path / path).read_bytes()) for path in sorted(paths) if wanted(path)]
            found[role] = tuple((path, bytes_oid(data), len(data)) for path, data in datas)
        return found

    def view(self, entries: Mapping[str, Entries] | None = None) -> View:
        roles = {
            role: RoleInput(role, enumerate_files=lambda held=held: held)  # type: ignore[misc]  # bound per role
            for role, held in (entries or self.entries()).items()
        }
        return View(LocalStorage(self.folder / "store"), Store("notes", "store", self.root), roles, self.folder / "fetched")

    def build(self) -> Path:
        """Build the index from nothing."""
        entries = self.entries()
        scratch = self._scratch()
        self.summary = index.build(self.view(entries), scratch, self.parameters)
        return self._keep(scratch, entries)

    def fold(self) -> Path:
        """Bring the index up to date from the last one."""
        entries = self.entries()
        scratch = self._scratch()
        previous = scratch.folder / "previous"
        previous.mkdir()
        shutil.copyfile(self.index, previous / "qipu.db")
        self.summary = fold.fold(self.view(entries), scratch, self.parameters, previous, self.changes(entries))
        return self._keep(scratch, entries)

    def changes(self, entries: Mapping[str, Entries]) -> dict[str, Delta]:
        """What changed since the last build."""
        return {role: delta_between(list(self._built[role]), held) for role, held in entries.items()}

    def rebuilt(self) -> Path:
        """An index built from nothing beside the one there is."""
        scratch = self._scratch()
        index.build(self.view(), scratch, self.parameters)
        other = self.folder / "rebuilt.db"
        shutil.move(scratch.path("qipu.db"), other)
        return other

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Ask the index, with the SQLite every command reads it with."""
        with closing(sqlite3.connect(self.index)) as connection:
            return connection.execute(sql, values).fetchall()

    def links(self) -> list[tuple[str, str, str, str | None]]:
        """(path, target, state, path it leads to) of every mention."""
        return self.query(
            "SELECT path, target || iif(anchor IS NULL, '', '#' || anchor), state, target_path FROM mentions "
            "JOIN notes ON number = note ORDER BY path, position"
        )

    def edges(self) -> list[tuple[str, str, str, int, int]]:
        return self.query(
            "SELECT one.path, other.path, edges.type, inline, mentions FROM edges JOIN notes AS one ON one.number = source "
            "JOIN notes AS other ON other.number = target ORDER BY 1, 2, 3"
        )

    def rules(self) -> list[tuple[str, str]]:
        """(path, rule) of every finding."""
        return self.query("SELECT path, rule FROM findings ORDER BY path, line, col, rule")

    def _scratch(self) -> Scratch:
        folder = self.folder / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Scratch(folder)

    def _keep(self, scratch: Scratch, entries: dict[str, Entries]) -> Path:
        self.index.parent.mkdir(exist_ok=True)
        shutil.move(scratch.path("qipu.db"), self.index)
        self._built = entries
        return self.index


def ranked(path: Path) -> list[tuple[str, list[tuple[str, float]]]]:
    """The notes that each of QUERIES finds, best first, with their ranks."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            (
                query,
                connection.execute(
                    f"SELECT path, round({RANK.replace('bm25(', 'bm25(notes_fts, ')}, 9) AS score FROM notes_fts "
                    "JOIN notes ON number = notes_fts.rowid WHERE notes_fts MATCH ? ORDER BY score, path",
                    (query,),
                ).fetchall(),
            )
            for query in QUERIES
        ]


def assert_same(one: Path, other: Path) -> None:
    """Two indexes say the same: every table by path, their digests proven from their rows, what every query finds, in order."""
    assert list(dump.dump(one)) == list(dump.dump(other))
    assert dump.content_digest(one) == dump.content_digest(other)
    assert ranked(one) == ranked(other)

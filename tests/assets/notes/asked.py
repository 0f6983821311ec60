"""Indexes to ask: files of a store, built, and opened as commands open them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assets.notes.opened import connect
from assets.notes.search import Read
from tests.assets.notes.corpora import Corpus


class Asked:
    """A built store: `connection` to its index, `read` for its files."""

    def __init__(self, corpus: Corpus, connection: sqlite3.Connection) -> None:
        self.corpus = corpus
        self.connection = connection

    @property
    def read(self) -> Read:
        return lambda path: (self.corpus.path / path).read_bytes()

    def number(self, path: str) -> int:
        """The number of the note at a path."""
        row = self.connection.execute("SELECT number FROM notes WHERE path = ?", (path,)).fetchone()
        return int(row[0])

    def path(self, number: int) -> str:
        return str(self.connection.execute("SELECT path FROM notes WHERE number = ?", (number,)).fetchone()[0])


@contextmanager
def asking(folder: Path, files: Mapping[str, str | bytes]) -> Iterator[Asked]:
    """Build a store of these files (store-relative paths) in `folder` and open its index."""
    corpus = Corpus(folder, files)
    connection = connect(corpus.build())
    try:
        yield Asked(corpus, connection)
    finally:
        connection.close()


def note(title: str | None = None, body: str = "", **keys: object) -> str:
    """The text of a note: frontmatter of these keys (values as YAML spells them), then the body."""
    lines = [f"title: {title}"] if title is not None else []
    lines += [f"{key}: {value}" for key, value in keys.items()]
    front = "---\n" + "\n".join(lines) + "\n---\n\n" if lines else ""
    return front + body + "\n"

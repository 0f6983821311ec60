"""The tables of `qipu.db`: what the index of a notes store holds, and how a file is recognised as one of ours.

Definitions only; filling them is `assets.notes.index` and `assets.notes.fold`. Light: any SQLite connection (3.40 or later) will
do. A note's `number` is this file's own business: it may differ between an index that was kept up to date and one built from
nothing. What is promised is said by path, in `assets.notes.dump`.
"""

from __future__ import annotations

from typing import Any

FORMAT = 1
"""Rises with every change of these tables or of what their columns mean."""

APPLICATION_ID = 0x48574E31
"""`PRAGMA application_id` of an index of ours ("HWN1"); qipu's own files have none."""

TABLES = (
    """
    CREATE TABLE info (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
    """,
    # outcome: schemas.notes.model.Outcome. own_id, moc: 0 or 1. meta, fields: JSON objects. path: store-relative.
    # local: digest of everything that follows from the file alone. digest: of that and of where its links lead.
    """
    CREATE TABLE notes (
      number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, id TEXT NOT NULL, own_id INTEGER NOT NULL, title TEXT NOT NULL,
      title_from TEXT NOT NULL, type TEXT, created TEXT, updated TEXT, value INTEGER, summary TEXT, words INTEGER NOT NULL,
      paragraphs INTEGER NOT NULL, lines INTEGER NOT NULL, size INTEGER NOT NULL, oid TEXT NOT NULL, outcome TEXT NOT NULL,
      moc INTEGER NOT NULL, body_start INTEGER NOT NULL, meta TEXT NOT NULL, fields TEXT NOT NULL, local BLOB NOT NULL,
      digest BLOB NOT NULL
    )
    """,
    # One row per use of a tag; folded is its NFC and case-folded form.
    """
    CREATE TABLE tags (
      note INTEGER NOT NULL, position INTEGER NOT NULL, tag TEXT NOT NULL, folded TEXT NOT NULL, inline INTEGER NOT NULL,
      line INTEGER NOT NULL, col INTEGER NOT NULL, PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE aliases (
      note INTEGER NOT NULL, position INTEGER NOT NULL, alias TEXT NOT NULL, PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE sources (
      note INTEGER NOT NULL, position INTEGER NOT NULL, url TEXT NOT NULL, title TEXT, accessed TEXT, line INTEGER NOT NULL,
      PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    # start, stop: byte offsets in the file, here and below.
    """
    CREATE TABLE headings (
      note INTEGER NOT NULL, position INTEGER NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, slug TEXT NOT NULL,
      line INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE blocks (
      note INTEGER NOT NULL, position INTEGER NOT NULL, block TEXT NOT NULL, line INTEGER NOT NULL, PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    # Every link where it stands, in order. key: assets.notes.resolve.key of the target, NULL for addresses.
    # rule: the step that resolved it; spelling: exact, nfc or case. state, rule and candidates (JSON list of paths, NULL unless
    # ambiguous): assets.notes.resolve. target_note: the note it leads to; target_path: the path of that note or attachment.
    """
    CREATE TABLE mentions (
      note INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL, target TEXT NOT NULL, anchor TEXT,
      label TEXT, property TEXT, line INTEGER NOT NULL, col INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
      target_start INTEGER NOT NULL, target_stop INTEGER NOT NULL, key TEXT, rule TEXT, spelling TEXT, state TEXT,
      target_note INTEGER, target_path TEXT, candidates TEXT, PRIMARY KEY (note, position)
    ) WITHOUT ROWID
    """,
    # inline: 1 when no mention of it is an entry of the frontmatter's `links:`. mentions: how many there are.
    """
    CREATE TABLE edges (
      source INTEGER NOT NULL, target INTEGER NOT NULL, type TEXT NOT NULL, inline INTEGER NOT NULL, mentions INTEGER NOT NULL,
      PRIMARY KEY (source, target, type)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE attachments (path TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER NOT NULL, oid TEXT NOT NULL) WITHOUT ROWID
    """,
    # Everything a note can be called by. form: id, path, stem (the file name without extension), title, alias.
    """
    CREATE TABLE names (
      key TEXT NOT NULL, note INTEGER NOT NULL, form TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (key, note, form, name)
    ) WITHOUT ROWID
    """,
    # path: store-relative, so that the same text gives the same index wherever the store lies; readers put the root before it.
    # link: 1 for what is wrong with a link, which depends on other files too.
    """
    CREATE TABLE findings (
      path TEXT NOT NULL, rule TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL, line INTEGER, col INTEGER, fix TEXT,
      value TEXT, replacement TEXT, link INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE notes_text (
      number INTEGER PRIMARY KEY, title TEXT NOT NULL, headings TEXT NOT NULL, tags TEXT NOT NULL, body TEXT NOT NULL
    )
    """,
)

TOKENIZER = "porter unicode61 remove_diacritics 2"
SEARCH_TABLE = f"""
    CREATE VIRTUAL TABLE notes_fts USING fts5 (
      title, headings, tags, body, content='notes_text', content_rowid='number', tokenize='{TOKENIZER}'
    )
    """

RANK = "bm25(10.0, 5.0, 3.0, 1.0)"
"""The weights of title, headings, tags and body; lower is better."""

INDEXES = (
    "CREATE INDEX notes_id ON notes (id)",
    "CREATE INDEX notes_outcome ON notes (outcome) WHERE outcome <> 'indexed'",
    "CREATE INDEX notes_created ON notes (created)",
    "CREATE INDEX notes_updated ON notes (updated)",
    "CREATE INDEX tags_folded ON tags (folded)",
    "CREATE INDEX mentions_key ON mentions (key) WHERE key IS NOT NULL",
    "CREATE INDEX mentions_target ON mentions (target_note) WHERE target_note IS NOT NULL",
    "CREATE INDEX mentions_attachment ON mentions (target_path) WHERE state = 'attachment'",
    "CREATE INDEX mentions_state ON mentions (state)",
    "CREATE INDEX edges_target ON edges (target)",
    "CREATE INDEX attachments_key ON attachments (key)",
    "CREATE INDEX findings_path ON findings (path)",
)
"""Made after the bulk of the rows."""

LEAVES = "CREATE INDEX notes_digest ON notes (path, digest)"
"""What the digest of the index is made from, without a look at every note; made when the digests are there."""

VIEWS = (
    """
    CREATE VIEW unresolved (path, target, anchor, line, col, state) AS
      SELECT notes.path, target, anchor, line, col, state FROM mentions JOIN notes ON notes.number = mentions.note
      WHERE state IN ('broken', 'broken-anchor', 'ambiguous')
    """,
)

WRITING = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "temp_store=MEMORY")
"""Settings for writing in a scratch folder, where a file that was cut short is thrown away."""


def create(connection: Any) -> None:
    """Make the empty tables on a new database; the indexes come with `finish`."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    for statement in (*TABLES, SEARCH_TABLE, *VIEWS):
        connection.execute(statement)
    connection.execute(f"INSERT INTO notes_fts(notes_fts, rank) VALUES('rank', '{RANK}')")


def finish(connection: Any) -> None:
    """Make the indexes."""
    for statement in INDEXES:
        connection.execute(statement)


def is_ours(connection: Any) -> bool:
    """Whether an open database is an index of this format. Raises the library's error for what is no database at all."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return (application, version) == (APPLICATION_ID, FORMAT)

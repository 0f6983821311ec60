"""The digest of an index: a tree over its notes, so that one changed note costs one note and not the store.

A note's digest covers its rows in every table and where its links lead, all of it said by path. The digest of the index covers
those of its notes by path, the attachments, what is wrong with the settings, and what the index says about itself. That what
lies in the tables really has these digests is proven by `assets.notes.dump`.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from blake3 import blake3

from assets.notes.rows import Row, digest_of

_LEAVES = 10_000
"""How many notes are joined before they are hashed."""


def index_digest(connection: Any) -> str:
    """The digest of an open index, from the digests of its notes as they are noted down."""
    return tree_digest(connection, connection.execute("SELECT path, digest FROM notes ORDER BY path"))


def tree_digest(connection: Any, notes: Any) -> str:
    """The digest of an open index whose notes are given as (path, digest), sorted by path."""
    whole = blake3(digest_of(connection.execute("SELECT key, value FROM info WHERE key <> 'digest' ORDER BY key").fetchall()))
    settings = connection.execute(
        "SELECT path, rule, severity, message, line, col, fix, value, replacement FROM findings "
        "WHERE path NOT IN (SELECT path FROM notes) ORDER BY path, line, col, rule, message"
    ).fetchall()
    whole.update(digest_of(settings))
    whole.update(digest_of(connection.execute("SELECT path, key, size, oid FROM attachments ORDER BY path").fetchall()))
    rows = iter(notes)
    # No path holds a NUL, and all digests are of one length: what is joined here can be read in one way only.
    while leaves := [f"{path}\0{digest.hex()}" for path, digest in islice(rows, _LEAVES)]:
        whole.update("".join(leaves).encode())
    return f"blake3:{whole.hexdigest()}"


def links_digest(local: bytes, resolutions: list[Row], edges: list[Row], findings: list[Row]) -> bytes:
    """The digest of a note: over that of its own rows; state, rule, spelling, target_path and candidates of each mention in
    order; its edges as (path of the target, type, inline, mentions), sorted; and the findings of its links in order."""
    return digest_of([local.hex(), resolutions, edges, findings])

"""The `cache` artifact: the index as seven JSON files, in the shapes that qipu's `.cache/` had, for programs that read those.

    index_meta.json   {"version": 2}
    metadata.json     id -> {id, title, type, tags, path, created?, updated?}
    tags.json         tag -> ids
    edges.json        [{from, to, type, source: "typed" | "inline"}]
    unresolved.json   targets that lead to no note and no file, or to several
    files.json        path -> {mtime, note_id, oid, size}
    id_to_path.json   id -> path

Sorted throughout, one entry per line, equal bytes for equal notes. `mtime` is always 0, which a program that compares it takes
for "changed": times are no content. Where two notes have one id, the first by path has it here; that is a finding of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from assets.engine.recipe import Summary
from assets.engine.view import Scratch, View
from assets.notes.opened import connect

FOLDER = ".cache"
INDEX_ROLE = "index"
VERSION = 2


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """The body of the recipe `cache`."""
    with closing(connect(view.artifact(INDEX_ROLE))) as connection:
        files = contents(connection)
    for name, content in files.items():
        scratch.path(f"{FOLDER}/{name}.json").write_bytes(_spelled(content))
    return Summary(counts={name: len(content) for name, content in files.items() if name != "index_meta"})


def _spelled(content: dict[str, Any] | list[Any]) -> bytes:
    if isinstance(content, list):
        opened, lines, closed = "[", [_json(entry) for entry in content], "]"
    else:
        opened, lines, closed = "{", [f"{_json(name)}:{_json(content[name])}" for name in sorted(content)], "}"
    return "\n".join([opened, ",\n".join(lines), closed, ""]).encode() if lines else f"{opened}{closed}\n".encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def contents(connection: sqlite3.Connection) -> dict[str, Any]:
    """What the files hold, by name."""
    (default_type,) = connection.execute("SELECT value FROM info WHERE key = 'default-type'").fetchone()
    metadata: dict[str, Any] = {}
    ids: dict[str, str] = {}
    files: dict[str, Any] = {}
    tags: dict[str, set[str]] = {}
    tagged: dict[int, list[str]] = {}
    for number, tag in connection.execute("SELECT note, tag FROM tags ORDER BY note, position"):
        tagged.setdefault(number, []).append(tag)
    for row in connection.execute("SELECT number, id, title, type, path, created, updated, oid, size FROM notes ORDER BY path"):
        own = list(dict.fromkeys(tagged.get(row["number"], [])))
        note = {"id": row["id"], "title": row["title"], "type": row["type"] or default_type, "tags": own, "path": row["path"]}
        note.update({name: row[name] for name in ("created", "updated") if row[name] is not None})
        metadata.setdefault(row["id"], note)
        ids.setdefault(row["id"], row["path"])
        files[row["path"]] = {"mtime": 0, "note_id": row["id"], "oid": row["oid"], "size": row["size"]}
        for tag in own:
            tags.setdefault(tag, set()).add(row["id"])
    edges = connection.execute(
        "SELECT one.id, other.id, edges.type, min(inline) FROM edges JOIN notes AS one ON one.number = source "
        "JOIN notes AS other ON other.number = target GROUP BY 1, 2, 3 ORDER BY 1, 3, 2"
    )
    unresolved = connection.execute("SELECT DISTINCT target FROM unresolved WHERE state <> 'broken-anchor' ORDER BY target")
    return {
        "index_meta": {"version": VERSION},
        "metadata": metadata,
        "tags": {tag: sorted(notes) for tag, notes in tags.items()},
        "edges": [
            {"from": start, "to": end, "type": kind, "source": "inline" if inline else "typed"}
            for start, end, kind, inline in edges
        ],
        "unresolved": [row[0] for row in unresolved],
        "files": files,
        "id_to_path": ids,
    }

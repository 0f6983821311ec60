"""A store in numbers: what `notes stats` says. Light: standard library only."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Any

from assets.notes.dates import When

_LATELY = dt.timedelta(days=7)


def summarise(connection: sqlite3.Connection, now: dt.datetime, default_type: str) -> dict[str, Any]:
    """Counts over the whole store, as JSON values; `now` (aware) is what "lately" counts from."""

    def one(query: str, *values: Any) -> Any:
        return connection.execute(query, values).fetchone()[0]

    def by(query: str, *values: Any) -> dict[str, int]:
        return {str(name): int(count) for name, count in (tuple(row) for row in connection.execute(query, values))}

    lately, values = When(now - _LATELY, now).sql("coalesce(updated, created)")
    return {
        "notes": one("SELECT count(*) FROM notes"),
        "types": by(
            "SELECT lower(coalesce(type, ?)) AS kind, count(*) FROM notes GROUP BY kind ORDER BY count(*) DESC, kind",
            default_type,
        ),
        "outcomes": by("SELECT outcome, count(*) FROM notes GROUP BY outcome ORDER BY count(*) DESC, outcome"),
        "words": one("SELECT coalesce(sum(words), 0) FROM notes"),
        "bytes": one("SELECT coalesce(sum(size), 0) FROM notes"),
        "tags": one("SELECT count(DISTINCT folded) FROM tags"),
        "tagless": one("SELECT count(*) FROM notes WHERE number NOT IN (SELECT note FROM tags)"),
        "mentions": one("SELECT count(*) FROM mentions"),
        "states": by("SELECT state, count(*) FROM mentions GROUP BY state ORDER BY count(*) DESC, state"),
        "edges": one("SELECT count(*) FROM edges"),
        "link_types": by("SELECT type, count(*) FROM edges GROUP BY type ORDER BY count(*) DESC, type"),
        "orphans": one("SELECT count(*) FROM notes WHERE number NOT IN (SELECT target FROM edges WHERE source <> target)"),
        "unlinked": one(
            "SELECT count(*) FROM notes WHERE number NOT IN (SELECT target FROM edges WHERE source <> target) "
            "AND number NOT IN (SELECT source FROM edges WHERE source <> target)"
        ),
        "attachments": one("SELECT count(*) FROM attachments"),
        "oldest": one("SELECT min(created) FROM notes"),
        "newest": one("SELECT max(coalesce(updated, created)) FROM notes"),
        "changed_lately": one(f"SELECT count(*) FROM notes WHERE {lately}", *values),
        "findings": by("SELECT severity, count(*) FROM findings GROUP BY severity ORDER BY severity"),
    }

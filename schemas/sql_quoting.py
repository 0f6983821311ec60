"""Names and text inside SQL, as SQLite and DuckDB both read them. Light: standard library only."""

from __future__ import annotations

from collections.abc import Iterable


def quote(name: str) -> str:
    """`name` as an identifier, whatever it holds. Raises ValueError for NUL and for an empty name."""
    if not name or "\0" in name:
        raise ValueError(f"{name!r} cannot be a name in SQL")
    return '"' + name.replace('"', '""') + '"'


def quote_all(names: Iterable[str]) -> str:
    """Several names, quoted, separated by commas."""
    return ", ".join(quote(name) for name in names)


def text_literal(value: str) -> str:
    """`value` as a string literal."""
    return "'" + value.replace("'", "''") + "'"

"""Walking several queries side by side: rows that share their first column, asked for in its order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any


class Groups:
    """Rows in the order of their first column, by its value; values are asked for in that order. Holds one group at a time."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, key=itemgetter(0))
        self._head = next(self._groups, None)

    def of(self, value: Any) -> list[tuple[Any, ...]]:
        """The rows whose first column is `value`, without it."""
        while self._head is not None and self._head[0] < value:
            self._head = next(self._groups, None)
        if self._head is None or self._head[0] != value:
            return []
        return [row[1:] for row in self._head[1]]

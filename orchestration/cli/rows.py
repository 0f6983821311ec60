"""How rows of a query are printed: an aligned table for people, CSV, or JSON lines. Pure but for the printing; light."""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

from orchestration.cli.app import App, counted

CELL_WIDTH = 60
"""Characters of a cell in a table; longer ones are cut."""
_MEASURED = 200
"""Rows that decide the widths of a table's columns, so that a long result is not held in memory."""


class Printer(Protocol):
    """Takes rows in batches, then `end()` once."""

    def rows(self, batch: Sequence[Sequence[Any]]) -> None: ...

    def end(self) -> None: ...


def printer(app: App, style: str, columns: list[str]) -> Printer:
    """A printer for `table`, `csv` or `json` (the latter with `--json` or `--format json`)."""
    if style == "csv":
        return _Csv(app, columns)
    if style == "json":
        return _Json(app, columns)
    return _Table(app, columns)


class _Table:
    def __init__(self, app: App, columns: list[str]) -> None:
        self._app = app
        self._columns = columns
        self._waiting: list[list[str]] = []
        self._widths: list[int] = []
        self._right: list[bool] = [True] * len(columns)
        self._count = 0

    def rows(self, batch: Sequence[Sequence[Any]]) -> None:
        for row in batch:
            self._count += 1
            if self._widths:
                self._print([_cell(value) for value in row])
                continue
            self._waiting.append([_cell(value) for value in row])
            self._right = [
                right and (value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool)))
                for right, value in zip(self._right, row, strict=True)
            ]
            if len(self._waiting) == _MEASURED:
                self._flush()

    def end(self) -> None:
        if not self._widths:
            self._flush()
        self._app.say(self._app.style(counted(self._count, "row"), "dim"))

    def _flush(self) -> None:
        self._widths = [max(map(len, column)) for column in zip(self._columns, *self._waiting, strict=True)]
        self._print(self._columns, "bold")
        self._print(["─" * width for width in self._widths], "dim")
        for row in self._waiting:
            self._print(row)
        self._waiting = []

    def _print(self, cells: Sequence[str], *styles: str) -> None:
        placed = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, self._widths, self._right, strict=True)
        ]
        line = "  ".join(placed).rstrip()
        self._app.say(self._app.style(line, *styles) if styles else line)


class _Csv:
    """NULL is an empty cell, the empty text `""`: the convention of the tables kind."""

    def __init__(self, app: App, columns: list[str]) -> None:
        self._app = app
        self._app.write_text(",".join(_csv(column) for column in columns) + "\n")

    def rows(self, batch: Sequence[Sequence[Any]]) -> None:
        self._app.write_text("".join(",".join(_csv(value) for value in row) + "\n" for row in batch))

    def end(self) -> None:
        pass


class _Json:
    def __init__(self, app: App, columns: list[str]) -> None:
        self._app = app
        self._names: list[str] = []
        for column in columns:
            # Two columns of one name would become one key.
            name, number = column, 2
            while name in self._names:
                name, number = f"{column}_{number}", number + 1
            self._names.append(name)

    def rows(self, batch: Sequence[Sequence[Any]]) -> None:
        for row in batch:
            self._app.emit_row({name: plain(value) for name, value in zip(self._names, row, strict=True)})

    def end(self) -> None:
        pass


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON: bytes as base64, decimals, dates, times and intervals as text, NaN and infinities as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, dict):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(held) for held in value]
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        # DuckDB hands out the local time of this machine; the same answer everywhere is worth more.
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def _text(value: Any) -> str:
    made = plain(value)
    if isinstance(made, bool):
        return "true" if made else "false"
    if isinstance(made, dict | list):
        import json

        return json.dumps(made, ensure_ascii=False)
    return str(made)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = _text(value).replace("\r", "␍").replace("\n", "␊").replace("\t", "␉")
    return text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 1] + "…"


def _csv(value: Any) -> str:
    if value is None:
        return ""
    text = _text(value)
    if text and not any(sign in text for sign in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'

"""The picture of versioned data: how it grew, where it lies, of what type it is, and what is there more than once.

Drawing only. The picture needs no script, font or style from elsewhere, follows a dark colour scheme, and names reach it only as
escaped text. Equal reports give equal bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import NamedTuple

_WIDTH = 860
_MARGIN = 28
_HALF = (_WIDTH - 3 * _MARGIN) / 2
_CHART = 150
_ROW = 22
_LONGEST = 24

_STYLE = """
svg{--paper:#fff;--text:#1c2733;--faint:#6b7a8a;--line:#c9d4df;--bar:#2f6fa7;--area:#2f6fa733;--again:#d1862b}
@media (prefers-color-scheme:dark){svg{--paper:#12171d;--text:#e3e9ef;--faint:#93a1b0;--line:#334150;--bar:#5a9bd0;
--area:#5a9bd033;--again:#e0a052}}
text{font:12px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif;fill:var(--text)}
.paper{fill:var(--paper)}.big{font-size:20px;font-weight:600}.head{font-weight:600}.faint{fill:var(--faint);font-size:11px}
.end{text-anchor:end}.axis{stroke:var(--line)}.bar{fill:var(--bar)}.again{fill:var(--again)}.area{fill:var(--area)}
.grown{stroke:var(--bar);stroke-width:1.8;fill:none}
"""


class Bar(NamedTuple):
    """A group of files: its name, bytes and number."""

    name: str
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is drawn. `bytes_once` counts equal files once; `growth` are (day as YYYY-MM-DD, bytes until then), days rising;
    `repeated` are files of which others are copies, with the bytes that the copies would take."""

    files: int
    bytes: int
    bytes_once: int
    growth: Sequence[tuple[str, int]]
    folders: Sequence[Bar]
    types: Sequence[Bar]
    repeated: Sequence[Bar]


def draw(report: Report) -> bytes:
    """The picture as SVG."""
    body: list[str] = []
    y = float(_MARGIN + 14)
    noun = "file" if report.files == 1 else "files"
    body.append(_text(_MARGIN, y, f"{report.files:,} {noun}, {size_text(report.bytes)}", "big"))
    saved = report.bytes - report.bytes_once
    note = f"{size_text(report.bytes_once)} in objects" + (f"; equal files save {size_text(saved)}" if saved else "")
    body.append(_text(_WIDTH - _MARGIN, y, note if report.files else "nothing is versioned yet", "faint end"))
    y += 34
    if len(report.growth) > 1:
        body += _growth(report.growth, y)
        y += _CHART + 62
    elif report.growth:
        body.append(_text(_MARGIN, y, f"All of it was added on {report.growth[0][0] or 'an unknown day'}", "faint"))
        y += 34
    if report.growth:
        left, right = (
            list(_bars("By folder", report.folders, _MARGIN, y)),
            list(_bars("By type", report.types, 2 * _MARGIN + _HALF, y)),
        )
        body += left + right
        y += 22 + _ROW * max(len(report.folders), len(report.types)) + 22
    if report.repeated:
        body += _bars("More than once", report.repeated, _MARGIN, y, wide=True)
        y += 22 + _ROW * len(report.repeated) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_n(y)}" width="{_WIDTH}" height="{_n(y)}" role="img">',
        f"<title>{report.files:,} versioned {noun}, {size_text(report.bytes)}</title>",
        f"<style>{_STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts).encode()


def _growth(growth: Sequence[tuple[str, int]], top: float) -> Iterator[str]:
    """Bytes over time, in steps: a file is there from the day it was added. Two days at least."""
    yield _text(_MARGIN, top, "What is versioned now, by the day it was added", "head")
    top += 14
    bottom, left, right = top + _CHART, float(_MARGIN), float(_WIDTH - _MARGIN)
    days = [_day(day) for day, _ in growth]
    first, last = days[0], max(days[-1], days[0] + 1)
    most = growth[-1][1] or 1
    points = [(left, bottom)]
    for (_, total), day in zip(growth, days, strict=True):
        x = left + (right - left) * (day - first) / (last - first)
        points += [(x, points[-1][1]), (x, bottom - (bottom - top) * total / most)]
    points.append((right, points[-1][1]))
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    for part in (0.5, 1.0):
        y = bottom - (bottom - top) * part
        yield f'<line class="axis" x1="{_n(left)}" y1="{_n(y)}" x2="{_n(right)}" y2="{_n(y)}"/>'
        yield _text(left + 4, y + 14, size_text(round(most * part)), "faint")
    yield f'<polygon class="area" points="{path} {_n(right)},{_n(bottom)}"/>'
    yield f'<polyline class="grown" points="{path}"/>'
    yield f'<line class="axis" x1="{_n(left)}" y1="{_n(bottom)}" x2="{_n(right)}" y2="{_n(bottom)}"/>'
    yield _text(left, bottom + 16, growth[0][0] or "?", "faint")
    yield _text(right, bottom + 16, growth[-1][0], "faint end")


def _day(text: str) -> int:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return 0


def _bars(title: str, bars: Sequence[Bar], left: float, top: float, *, wide: bool = False) -> Iterator[str]:
    width = _WIDTH - 2 * _MARGIN if wide else _HALF
    label, value = (400.0, 160.0) if wide else (140.0, 110.0)
    most = max((bar.bytes for bar in bars), default=0) or 1
    yield _text(left, top, title, "head")
    for row, bar in enumerate(bars):
        y = top + 22 + row * _ROW
        room = width - label - value
        yield _text(left, y, _cut(bar.name, 62 if wide else _LONGEST), "", full=bar.name)
        style = "again" if wide else "bar"
        place = f'x="{_n(left + label)}" y="{_n(y - 10)}" width="{_n(max(1.0, room * bar.bytes / most))}"'
        yield f'<rect class="{style}" {place} height="12"/>'
        shown = f"{bar.files:,} times, {size_text(bar.bytes)} saved" if wide else f"{size_text(bar.bytes)} · {bar.files:,}"
        yield _text(left + width, y, shown, "faint end")


def size_text(size: int) -> str:
    """`12 B`, `3.4 MiB`."""
    if size < 1024:
        return f"{size} B"
    step = min((size.bit_length() - 1) // 10, 5)
    amount, unit = size / 1024**step, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")[step]
    return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"


def _text(x: float, y: float, text: str, style: str, full: str | None = None) -> str:
    title = f"<title>{escape(_clean(full))}</title>" if full is not None and full != text else ""
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}">{title}{escape(_clean(text))}</text>'


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"…{text[-(longest - 1) :]}"


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs", "Cn"))


def _n(value: float) -> str:
    """At most two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")

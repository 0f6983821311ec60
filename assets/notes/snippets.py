"""The lines that show why a note was found: which of a file's lines hold the words, and where in them.

The words come from the full-text index, as the note spells them; finding the notes is `assets.notes.search`. Pure; standard
library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from assets.notes.text_for_search import has_cjk

LINE_WIDTH: Final = 160
"""Characters of a line that a snippet shows."""
OPEN, CLOSE = "\x01", "\x02"
"""What the full-text index puts around found words."""
_MARKED = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A line that shows why a note was found. `line` counts in the file, None for text that is not one line of it; `spans` are
    the found places in `text`, in characters."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()
    line: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"line": self.line, "text": self.text, "spans": [list(span) for span in self.spans]}


def marked_words(marked: str) -> list[str]:
    """The found words as they are spelled, without the spaces that set CJK characters apart."""
    return list(dict.fromkeys(_closed(found) for found in _MARKED.findall(marked)))


def _closed(text: str) -> str:
    """Text of the index with its CJK characters together again."""
    if not has_cjk(text):
        return text
    return re.sub(
        r"(?<=(.)) +| +(?=(.))",
        lambda space: "" if any(sign and has_cjk(sign) for sign in space.groups()) else space[0],
        text,
        flags=re.DOTALL,
    ).strip()


def _pattern(words: Sequence[str]) -> re.Pattern[str] | None:
    """What finds any of the words; whole words, but for those that begin or end with another sign."""
    arms = []
    for word in sorted(dict.fromkeys(words), key=len, reverse=True):
        parts = [re.escape(part) for part in word.split()]
        if not parts:
            continue
        # The tokenizer ends a word at `_`, which regular expressions count to it.
        before = r"(?<![^\W_])" if word[0].isalnum() and not has_cjk(word[0]) else ""
        after = r"(?![^\W_])" if word[-1].isalnum() and not has_cjk(word[-1]) else ""
        arms.append(before + r"\s+".join(parts) + after)
    return re.compile("|".join(arms), re.IGNORECASE) if arms else None


def spans_of(text: str, words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    pattern = _pattern(words)
    return tuple(found.span() for found in pattern.finditer(text)) if pattern is not None else ()


def lines_with(data: bytes, words: Sequence[str], count: int, title: str = "") -> list[Snippet]:
    """The `count` lines of a file that hold the most of `words`, in their order; line numbers count from 1, frontmatter included.
    The frontmatter, and a heading that only says the title again, are shown where nothing else holds any."""
    pattern = _pattern(words)
    if pattern is None:
        return []
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    fence = _frontmatter_lines(text)
    rated = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        spans = [found.span() for found in pattern.finditer(line)]
        if spans:
            different = len({line[start:stop].casefold() for start, stop in spans})
            says_little = number <= fence or line.strip("# \t") == title
            rated.append((says_little, -different, number, line, spans))
    best = sorted(rated)[:count]
    return [_cut(number, line, spans) for _, _, number, line, spans in sorted(best, key=lambda entry: entry[2])]


def _frontmatter_lines(text: str) -> int:
    lines = text.lstrip("\r\n").splitlines()
    skipped = len(text.splitlines()) - len(lines)
    if not lines or lines[0].rstrip() != "---":
        return 0
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip() in ("---", "..."):
            return skipped + number
    return 0


def _cut(number: int, line: str, spans: Sequence[tuple[int, int]]) -> Snippet:
    """The part of a line around its first found places."""
    start = len(line) - len(line.lstrip())
    stop = len(line.rstrip())
    if stop - start > LINE_WIDTH:
        first = spans[0][0]
        begin = max(start, first - LINE_WIDTH // 3)
        if begin > start:
            space = line.find(" ", begin, first)
            begin = space + 1 if space >= 0 else begin
        end = min(stop, begin + LINE_WIDTH)
        if end < stop:
            space = line.rfind(" ", spans[0][1], end)
            end = space if space > 0 else max(end, min(spans[0][1], begin + LINE_WIDTH))
    else:
        begin, end = start, stop
    left = "…" if begin > start else ""
    shown = left + line[begin:end] + ("…" if end < stop else "")
    shift = len(left) - begin
    inside = tuple((a + shift, b + shift) for a, b in spans if a >= begin and b <= end)
    return Snippet(shown, inside, number)


def from_index(marked: str) -> Snippet:
    """A snippet of the index's text, where the file does not hold the words in one line."""
    parts = re.split(f"[{OPEN}{CLOSE}]", marked)
    text = ""
    spans: list[tuple[int, int]] = []
    for number, part in enumerate(parts):
        piece = re.sub(r"\s+", " ", part)
        if number % 2:
            spans.append((len(text), len(text) + len(piece)))
        text += piece
    return Snippet(text, tuple(spans))

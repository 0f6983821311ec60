"""Markdown with YAML frontmatter: telling the two apart, reading the first, editing it without touching the second.

The frontmatter is what stands between a first line `---` and the next line `---`; it is a YAML mapping under the rules of
`schemas.yaml_text`. What the Markdown says belongs to the kinds that hold notes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from schemas.document import Document, Span, Value
from schemas.errors import InvalidText
from schemas.findings import Severity, rule
from schemas.text import EMPTY, Limits, TextFile, decode
from schemas.yaml_text import YamlDocument, read_file
from schemas.yaml_write import block

UNCLOSED = rule("frontmatter-unclosed", Severity.ERROR, "Frontmatter that is opened is closed.")
MAPPING = rule("frontmatter-mapping", Severity.ERROR, "Frontmatter is a mapping.")

LIMITS = Limits(size=4 << 20)

_FENCE = re.compile(r"---[ \t]*(?:\r?\n|\Z)")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)


@dataclass(frozen=True)
class FrontMatter:
    """A Markdown file: `meta` is the frontmatter (None where there is none), `body` begins at offset `body_start`.

    Positions in `meta` are positions in the file.
    """

    file: TextFile
    meta: YamlDocument | None
    body_start: int

    @property
    def body(self) -> str:
        """The Markdown below the frontmatter."""
        return self.file.text[self.body_start :]

    @property
    def value(self) -> dict[str, Value]:
        """The frontmatter; empty where there is none."""
        return self.meta.value if self.meta is not None and isinstance(self.meta.value, dict) else {}

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        return self.file.data

    def set(self, key: str, value: Value) -> FrontMatter:
        """Set one key of the frontmatter; a file without frontmatter gets one. Raises HeadwaterError (rule `text-edit`)."""
        if self.meta is None or not self.value:
            return self._with_lines(block({key: value}, 0))
        return self._with_meta(self.meta.set((key,), value))

    def delete(self, key: str) -> FrontMatter:
        """Take one key out; the last one leaves empty frontmatter. Raises KeyError, HeadwaterError (rule `text-edit`)."""
        if self.meta is None or key not in self.value:
            raise KeyError(key)
        if len(self.value) == 1:
            return self._with_lines([])
        return self._with_meta(self.meta.delete((key,)))

    def with_body(self, body: str) -> FrontMatter:
        """The same frontmatter above another body."""
        return self._reread(self.file.text[: self.body_start] + body)

    def _with_meta(self, meta: Document) -> FrontMatter:
        return self._reread("---" + meta.text[3:] + self.file.text[self._yaml_end() :])

    def _with_lines(self, lines: list[str]) -> FrontMatter:
        newline = self.file.line_end
        rows = "".join(line + newline for line in lines)
        if self.meta is None:
            return self._reread(f"---{newline}{rows}---{newline}{self.file.text}")
        opening = _FENCE.match(self.file.text)
        assert opening is not None
        # An empty mapping may still hold comments; they stay above the new keys.
        kept = self.file.text[opening.end() : self._yaml_end()] if not self.value else ""
        kept = "" if kept.strip() in ("", "{}") else kept
        return self._reread(self.file.text[: opening.end()] + kept + rows + self.file.text[self._yaml_end() :])

    def _yaml_end(self) -> int:
        assert self.meta is not None
        return len(self.meta.text)

    def _reread(self, text: str) -> FrontMatter:
        return read(self.file.encode(text), self.file.path, limits=replace(LIMITS, size=max(LIMITS.size, 8 * len(text))))


def read(data: bytes, path: str, *, limits: Limits = LIMITS) -> FrontMatter:
    """Read a Markdown file; an empty file is one without frontmatter and with an empty body.

    Raises InvalidText with one finding: `frontmatter-unclosed` at the opening line, `frontmatter-mapping`, or what
    `schemas.yaml_text.read` raises.
    """
    file = decode(data, path, limit=limits.size, empty=True, lone_cr=True)
    opening = _FENCE.match(file.text)
    if opening is None:
        return FrontMatter(file, None, 0)
    closing = _CLOSING.search(file.text, opening.end())
    if closing is None:
        file.fail(UNCLOSED, 0, "the frontmatter that opens here is never closed", fix="end it with a line of three dashes")
    # The opening dashes become a comment of the same length, so that offsets in the YAML are offsets in the file.
    text = "#--" + file.text[3 : closing.start()]
    inner = replace(file, text=text, data=text.encode("utf-8"), bom=False)
    if re.search(r"\r(?!\n)", text):
        decode(inner.data, path, limit=limits.size)
    try:
        meta = read_file(inner, limits=limits)
    except InvalidText as error:
        if error.rule != EMPTY.id:
            raise
        meta = YamlDocument(inner, {}, {(): Span(0, 0)})
    if not isinstance(meta.value, dict):
        start = meta.spans[()].start
        file.fail(MAPPING, start, "the frontmatter is not a mapping", fix="write it as `key: value` lines")
    return FrontMatter(file, meta, closing.end())

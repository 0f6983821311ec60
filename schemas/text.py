"""Turning bytes into text that can be trusted: strict UTF-8, size caps, line ends, conflict markers, positions.

Every authoritative text file passes through `decode` before a format's parser sees it, so that what is wrong with the file as
text is said once, in the same words, with line and column, for every format. Parsing belongs to the format modules. Light:
standard library only.
"""

from __future__ import annotations

import bisect
import codecs
import re
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from schemas.errors import InvalidText
from schemas.findings import Rule, Severity, found, rule

MIB = 1 << 20

ENCODING = rule("text-encoding", Severity.ERROR, "Text is UTF-8 without errors.")
NUL = rule("text-nul", Severity.ERROR, "Text holds no NUL character.")
TOO_LARGE = rule("text-too-large", Severity.ERROR, "A text file stays below the size cap of its format.")
EMPTY = rule("text-empty", Severity.ERROR, "An authoritative file is not empty.")
CONFLICT = rule("text-conflict-markers", Severity.ERROR, "Text holds no unresolved merge.")
LONE_CR = rule("text-lone-cr", Severity.ERROR, "Lines end in LF or CRLF, never in a lone CR.")
MIXED_NEWLINES = rule("text-mixed-newlines", Severity.WARNING, "One file uses one kind of line end.")
TOO_DEEP = rule("text-too-deep", Severity.ERROR, "Values are nested at most 64 levels deep.")
TOO_MANY = rule("text-too-many-values", Severity.ERROR, "One file holds a bounded number of values.")
DUPLICATE_KEY = rule("text-duplicate-key", Severity.ERROR, "A key appears once in its mapping.")
SURROGATE = rule("text-lone-surrogate", Severity.ERROR, "Text holds whole characters, no halves of surrogate pairs.")
NUMBER_RANGE = rule("number-out-of-range", Severity.ERROR, "Whole numbers fit into 64 bits with a sign.")
NUMBER_FINITE = rule("number-not-finite", Severity.ERROR, "Numbers are finite: no NaN, no infinity, nothing that rounds to it.")

Newline = Literal["\n", "\r\n", "mixed"]

_BOM = codecs.BOM_UTF8
_FOREIGN_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_LONE_CR = re.compile(r"\r(?!\n)")
_CONFLICT_OPEN = re.compile(r"^<{7}(?: |\r?$)", re.MULTILINE)
_CONFLICT_CLOSE = re.compile(r"^>{7}(?: |\r?$)", re.MULTILINE)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts: bytes of one file, levels of nesting, and values (keys and items) in one file."""

    size: int = MIB
    depth: int = 64
    values: int = 60_000


@dataclass(frozen=True)
class TextFile:
    """One decoded file. `text` has no byte-order mark and keeps its line ends; `bom` says whether the file began with one."""

    path: str
    text: str
    data: bytes
    bom: bool
    newline: Newline
    _lines: list[int] = field(default_factory=list, repr=False, compare=False)

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column), both from 1, of the character at `offset` of `text`; the end of the text is a valid offset."""
        if not self._lines:
            self._lines.append(0)
            self._lines.extend(match.end() for match in re.finditer("\n", self.text))
        line = bisect.bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    @property
    def line_end(self) -> str:
        """The line end to write into this file: its own, or LF where it is mixed or has none."""
        return "\r\n" if self.newline == "\r\n" else "\n"

    def fail(self, broken: Rule, offset: int, message: str, *, fix: str | None = None, value: str | None = None) -> NoReturn:
        """Raise InvalidText with one finding at the character at `offset`."""
        line, column = self.position(offset)
        raise InvalidText([found(broken, self.path, message, line=line, column=column, fix=fix, value=value)])

    def encode(self, text: str) -> bytes:
        """`text` as bytes of this file: UTF-8, with the byte-order mark the file came with."""
        return (_BOM if self.bom else b"") + text.encode("utf-8")


def decode(
    data: bytes,
    path: str,
    *,
    limit: int = MIB,
    conflicts: bool = True,
    lone_cr: bool = False,
    empty: bool = False,
) -> TextFile:
    """Decode `data` strictly. `path` is only used in findings.

    `limit` caps the bytes, `conflicts=False` lets conflict markers pass (prose that shows them), `lone_cr=True` allows CR
    without LF, `empty=True` allows a file without any character.

    Raises InvalidText with one finding: `text-too-large`, `text-encoding` (with the likely encoding and the byte offset),
    `text-nul`, `text-empty`, `text-conflict-markers`, `text-lone-cr`.
    """
    if len(data) > limit:
        raise InvalidText(
            [
                found(
                    TOO_LARGE,
                    path,
                    f"the file has {len(data):,} bytes; the limit for this format is {limit:,}",
                    fix="move bulk data into CSV files or split the file",
                )
            ]
        )
    bom = check_encoding_mark(data, path)
    body = data[len(_BOM) :] if bom else data
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid_bytes(body, error, path, shift=len(_BOM) if bom else 0) from None
    returns = text.count("\r")
    file = TextFile(path, text, data, bom, _newline(text, returns))
    if (at := text.find("\0")) >= 0:
        file.fail(NUL, at, "the text holds a NUL character", fix="remove it; this may be a binary file")
    if not text and not empty:
        file.fail(EMPTY, 0, "the file is empty", fix="write its content, or delete the file")
    if conflicts and "<<<<<<<" in text:
        _refuse_conflicts(file)
    if returns and not lone_cr and (lone := _LONE_CR.search(text)):
        file.fail(LONE_CR, lone.start(), "a line ends in CR without LF", fix="save the file with LF line ends")
    return file


def check_encoding_mark(head: bytes, path: str) -> bool:
    """Whether the file begins with a UTF-8 byte-order mark; raises InvalidText naming UTF-16 or UTF-32.

    Files without a mark are recognised by their zero bytes. `head` is the file or its first few bytes.
    """
    if head.startswith(_BOM):
        return True
    name = next((name for mark, name in _FOREIGN_BOMS if head.startswith(mark)), None)
    if name is None and len(head) >= 4:
        zeros = "".join("0" if byte == 0 else "x" for byte in head[:4])
        name = {"x0x0": "UTF-16", "0x0x": "UTF-16", "x000": "UTF-32", "000x": "UTF-32"}.get(zeros)
    if name is not None:
        raise InvalidText(
            [found(ENCODING, path, f"the file is encoded as {name}, not UTF-8", line=1, column=1, fix="save it again as UTF-8")]
        )
    return False


def invalid_bytes(body: bytes, error: UnicodeDecodeError, path: str, *, shift: int = 0, first_line: int = 1) -> InvalidText:
    """The error for bytes that are not UTF-8: line, column, byte offset and the encoding they probably are in.

    `shift` is what to add to offsets in `body` to get offsets in the file, `first_line` the line `body` begins on.
    """
    start = error.start
    line_start = body.rfind(b"\n", 0, start) + 1
    line = first_line + body.count(b"\n", 0, start)
    column = len(body[line_start:start].decode("utf-8")) + 1
    bad = body[start]
    if bad == 0xED and len(body) > start + 1 and body[start + 1] >= 0xA0:
        message, fix = "half of a surrogate pair is stored as if it were a character", "write the whole character in UTF-8"
        broken = SURROGATE
    else:
        likely = "in Windows-1252 (a Windows or Excel file)" if 0x80 <= bad <= 0x9F else "in Windows-1252 or Latin-1"
        if bad >= 0xC0 and body[start + 1 : start + 2] and 0x80 <= body[start + 1] <= 0xBF:
            likely = "damaged"
        if start + 1 >= len(body) or error.reason == "unexpected end of data":
            likely = "cut off in the middle of a character"
        message = f"byte 0x{bad:02x} at offset {start + shift} is not UTF-8; it is probably {likely}"
        fix, broken = "save the file again as UTF-8", ENCODING
    return InvalidText([found(broken, path, message, line=line, column=column, fix=fix, value=f"0x{bad:02x}")])


def shown(text: str) -> str:
    """`text` as a message quotes it: cut to 60 characters, control characters escaped."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def has_lone_surrogate(text: str) -> bool:
    """Whether `text` holds a surrogate code point, which no UTF-8 file can store."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _newline(text: str, returns: int) -> Newline:
    if not returns:
        return "\n"
    pairs = text.count("\r\n")
    return "\r\n" if pairs == text.count("\n") and pairs == returns else "mixed"


def _refuse_conflicts(file: TextFile) -> None:
    opened = _CONFLICT_OPEN.search(file.text)
    if opened is None:
        return
    closed = _CONFLICT_CLOSE.search(file.text, opened.end())
    if closed is None:
        return
    first, last = file.position(opened.start())[0], file.position(closed.start())[0]
    file.fail(
        CONFLICT,
        opened.start(),
        f"unresolved merge between lines {first} and {last}",
        fix="resolve the conflict and remove the <<<<<<<, ======= and >>>>>>> lines",
    )

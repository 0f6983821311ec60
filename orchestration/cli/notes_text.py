"""What people type or pipe into a note: titles, values, standard input, and the editor they write in.

Turning input into clean values belongs here; what a note makes of them is `resources.notes`' business. Light.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import HeadwaterError, InvalidText, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestration.cli.app import App

STDIN_LIMIT: Final = 16 << 20
"""Bytes of standard input that become one note: what a note may hold."""
TITLE_LENGTH: Final = 80
"""Characters of a title that is taken from a text."""
EDITORS: Final = frozenset(
    {
        "code", "codium", "ed", "emacs", "emacsclient", "gedit", "helix", "hx", "jed", "joe", "kak", "kate", "mate", "mcedit",
        "micro", "nano", "ne", "notepad", "nvim", "pico", "subl", "typora", "vi", "vim", "zed",
    }
)  # fmt: skip
"""Programs that a store's config.toml may start: editors, by name."""
EDITOR_FLAGS: Final = frozenset({"--wait", "-w", "--new-window", "-n", "--reuse-window", "-r", "-nw", "-t", "--nofork", "-f"})
"""What may stand behind them: nothing that runs a command."""

_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKS = re.compile(r"^(?:>\s*|#{1,6}(?:\s+|$)|[-*+]\s+(?:\[[ xX]\]\s+)?|\d{1,9}[.)]\s+)+")
_RULE = re.compile(r"^(?:[-=*_]\s*){3,}$")
_CLOSING = re.compile(r"\s+#+\s*$")
_JOINERS = ("\u200d", "\ufe0f", "\ufe0e")


def clean_title(title: str) -> str:
    """A title as one line: white space and line ends become single spaces. Raises UsageError for what no title can hold."""
    if _SURROGATE.search(title):
        raise UsageError("the title is not valid Unicode", rule="note-title", fix="write it in UTF-8")
    line = _SPACE.sub(" ", title).strip()
    if _CONTROL.search(line):
        raise UsageError(
            f"the title holds a control character: {line[:60]!r}", rule="note-title", fix="write it without control characters"
        )
    if not line:
        raise UsageError("the title is empty", rule="note-title", fix="give the note a title")
    return line


def title_of(text: str) -> str | None:
    """The title that a text gives itself: its first heading or line with words, without Markdown's marks; None without words.

    At most TITLE_LENGTH characters, cut between words where there are some, and never inside what a reader sees as one sign.
    """
    for line in text.splitlines():
        stripped = line.strip()
        if _RULE.match(stripped):
            continue
        words = _CONTROL.sub("", _SPACE.sub(" ", _CLOSING.sub("", _MARKS.sub("", stripped)))).strip()
        if words:
            return shortened(words, TITLE_LENGTH)
    return None


def shortened(text: str, length: int) -> str:
    """`text` with at most `length` characters, cut before a whole sign, between words where one ends in the second half."""
    if len(text) <= length:
        return text
    end = length - 1
    while end > 0 and _continues(text, end):
        end -= 1
    space = text.rfind(" ", length // 2, end + 1)
    return (text[: space if space > 0 else end or length - 1]).rstrip() + "…"


def _continues(text: str, at: int) -> bool:
    """Whether the character at `at` belongs to the sign before it: an accent, a variation, a joined or toned emoji, a flag."""
    character, before = text[at], text[at - 1]
    if (
        unicodedata.combining(character)
        or character in _JOINERS
        or before == "\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    ):
        return True
    if not _regional(character):
        return False
    start = at
    while start > 0 and _regional(text[start - 1]):
        start -= 1
    return (at - start) % 2 == 1


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def read_stdin(app: App) -> str:
    """Standard input as text: UTF-8, without a byte order mark, its lines ended by LF.

    Raises InvalidText for other encodings, NUL characters and more than STDIN_LIMIT bytes.
    """
    from schemas.findings import found
    from schemas.text import TOO_LARGE, decode

    stream = sys.stdin
    if stream is None:
        return ""
    if stream.isatty():
        app.note("Write the text, then end it with Ctrl-D on a line of its own.")
    binary = getattr(stream, "buffer", None)
    data = binary.read(STDIN_LIMIT + 1) if binary is not None else stream.read(STDIN_LIMIT + 1).encode("utf-8", "surrogatepass")
    if len(data) > STDIN_LIMIT:
        message = f"there are more than {STDIN_LIMIT >> 20} MiB, which no note may hold"
        raise InvalidText(
            [found(TOO_LARGE, "standard input", message, fix="put it into a file, and `headwater notes attach` that")]
        )
    file = decode(data, "standard input", limit=STDIN_LIMIT, conflicts=False, lone_cr=True, empty=True)
    return file.text.replace("\r\n", "\n").replace("\r", "\n")


def checked_text(option: str, text: str | None) -> str | None:
    """The text of an option. Raises UsageError for bytes that are not UTF-8."""
    if text is not None and _SURROGATE.search(text):
        raise UsageError(f"the text of {option} is not valid Unicode", rule="text-encoding", fix="write it in UTF-8")
    return text


def checked_tags(tags: Iterable[str]) -> list[str]:
    """The tags of options, each once; commas separate several. Raises UsageError for what is no tag."""
    from schemas.notes.edit import check_tag

    return list(dict.fromkeys(check_tag(part) for tag in tags for part in tag.split(",")))


def cut_frontmatter(text: str) -> tuple[dict[str, Any], str]:
    """(the frontmatter that a piped text begins with, the rest); none, and the whole text, where it has none that can be read."""
    from schemas.notes.edit import frontmatter, split

    data = text.encode("utf-8")
    try:
        keys = frontmatter(data, "standard input")
        return (dict(keys), split(data, "standard input").body.decode("utf-8")) if keys else ({}, text)
    except HeadwaterError:
        return {}, text


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` as a key and a JSON value: numbers, true, false, null and JSON lists and objects count as such, all else is
    text. Raises UsageError for anything without a key."""
    key, equals, value = text.partition("=")
    return checked_key(key if equals else "", text), parse_value(value)


def checked_key(key: str, given: str | None = None) -> str:
    """A frontmatter key people may set: one line of text. Raises UsageError."""
    clean = key.strip()
    if not clean or _CONTROL.search(clean) or _SURROGATE.search(clean):
        raise UsageError(
            f"{given if given is not None else key!r} does not name a key",
            rule="note-key",
            fix="write key=value; keys are one line of text",
        )
    return clean


def parse_value(text: str) -> Any:
    """The JSON value that `text` spells, else `text` itself; an empty text stays one."""
    import json

    stripped = text.strip()
    if not stripped or len(stripped) > 1 << 20:
        return text
    if stripped[0] not in '-0123456789tfn"[{':
        return text

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        return json.loads(stripped, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


def open_editor(app: App, path: Path, configured: str | None) -> None:
    """Let a person write in the file: the store's editor, else VISUAL, else EDITOR; returns when they are done.

    The store's editor comes with the repository, so that only a known editor is started on its word; another is asked about at
    a terminal, else passed over. Raises UsageError when none is left, HeadwaterError when it cannot be started or ends with an
    error; whatever it had saved by then stays.
    """
    import subprocess

    words = _editor_words(app, configured)
    try:
        code = subprocess.run([*words, str(path)], check=False).returncode
    except OSError as error:
        raise HeadwaterError(
            f"the editor {words[0]!r} cannot be started: {(error.strerror or str(error)).lower()}",
            rule="editor-failed",
            fix="correct VISUAL or EDITOR, or `editor` in the store's config.toml",
        ) from error
    if code:
        raise HeadwaterError(
            f"the editor {words[0]!r} ended with exit code {code}",
            rule="editor-failed",
            path=str(path),
            fix="what it had saved is kept; open the note again with `headwater notes edit`",
        )


def _editor_words(app: App, configured: str | None) -> list[str]:
    import os

    if configured and configured.strip():
        words = _split(configured)
        if _is_known(words) or (app.interactive and app.confirm(f"config.toml opens notes with {configured!r}. Run it?")):
            return words
        app.note(f"passed over the editor {configured!r} of config.toml: it came with the repository and is none that is known")
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not named:
        raise UsageError("no editor is set", rule="editor-none", fix="set VISUAL or EDITOR")
    return _split(named)


def _split(named: str) -> list[str]:
    import shlex

    try:
        words = shlex.split(named)
    except ValueError:
        words = []
    if not words:
        raise UsageError(f"the editor is set to {named!r}, which is no command", rule="editor-none", fix="correct the setting")
    return words


def _is_known(words: list[str]) -> bool:
    return words[0] in EDITORS and all(word in EDITOR_FLAGS for word in words[1:])

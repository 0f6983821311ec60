"""Changing a note as bytes: keys, tags and links of its frontmatter, its body, and the targets its links name.

Pure functions from bytes to bytes. Whatever is not named keeps every byte: order of keys, comments, quotes, line ends, a byte
order mark, text that is not UTF-8 in the body. An edit that changes nothing returns the bytes it was given. Frontmatter that
cannot be read under the rules of `schemas.yaml_text` is refused with the place, and nothing is changed; links and bodies of
such a note can still be rewritten, because that needs no YAML. Which files are changed together is `resources.notes`'s work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from schemas.document import Value, same
from schemas.edit import Edit, apply, cannot_edit, line_start
from schemas.edit import line_end as text_line_end
from schemas.errors import HeadwaterError, InvalidText, UsageError
from schemas.frontmatter import MAPPING, UNCLOSED
from schemas.text import EMPTY, Limits, TextFile, decode
from schemas.yaml_text import YamlDocument, read_file
from schemas.yaml_write import block

Key = str | tuple[str, ...]
"""A key of the frontmatter, or the way down to one inside mappings (`("custom", "priority")`)."""

LIMITS = Limits(size=4 << 20)
"""How much frontmatter is read for an edit."""

TAG_KEYS = ("tags", "tag", "keywords", "keyword")
"""The keys that hold tags, compared without regard to case; new ones go to the first that is there, else to `tags`."""

_BOM = b"\xef\xbb\xbf"
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n)*(?P<fence>---)[ \t]*(?:\r?\n|\Z)")
_CLOSING = re.compile(rb"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_KEY_LINE = re.compile(r"[^\W\d][\w .\-/]{0,60}:(?:[ \t]|\r?$)", re.MULTILINE)
"""What makes an opening that is never closed frontmatter rather than a rule above prose, as `schemas.notes.front` sees it."""
_LEADING_BLANKS = re.compile(rb"(?:[ \t]*\r?\n)*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_QUOTED_DATE = re.compile(r'"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)?)?)"')
_BAD_TAG = re.compile(r"[\s,#\[\]{}\"'\x00-\x1f\x7f]")
_TAG_SEPARATOR = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Parts:
    """A note cut where its frontmatter ends; the parts in order are the file.

    `head` runs through the opening line, `closing` is the closing line; both are empty where there is no frontmatter (then
    `head` holds the byte order mark, if there is one).
    """

    head: bytes
    yaml: bytes
    closing: bytes
    body: bytes

    @property
    def has_frontmatter(self) -> bool:
        """Whether a frontmatter stands there, be it empty."""
        return bool(self.closing)

    def joined(self) -> bytes:
        """The file."""
        return b"".join((self.head, self.yaml, self.closing, self.body))


def split(data: bytes, path: str) -> Parts:
    """Cut a note. Raises InvalidText (rule `frontmatter-unclosed`) when its frontmatter does not end."""
    opening = _HEAD.match(data)
    closing = _CLOSING.search(data, opening.end()) if opening is not None else None
    if opening is None or (closing is None and not _is_key_line(data[opening.end() :])):
        mark = len(_BOM) if data.startswith(_BOM) else 0
        return Parts(data[:mark], b"", b"", data[mark:])
    if closing is None:
        file = TextFile(path, data[: opening.end()].decode("utf-8-sig"), data, False, "\n")
        file.fail(
            UNCLOSED,
            max(file.text.find("---"), 0),
            "the frontmatter that opens here is never closed",
            fix="end it with a line of three dashes",
        )
    return Parts(
        data[: opening.end()], data[opening.end() : closing.start()], data[closing.start() : closing.end()], data[closing.end() :]
    )


def _is_key_line(data: bytes) -> bool:
    return _KEY_LINE.match(data.partition(b"\n")[0].decode("utf-8", "replace")) is not None


def body_of(data: bytes, path: str = "") -> bytes:
    """What follows the frontmatter, to the last byte. Raises as `split` does."""
    return split(data, path).body


def line_end(data: bytes) -> str:
    """The line end to write into a note: CRLF where its first line has one, else LF."""
    first = data.find(b"\n")
    return "\r\n" if first > 0 and data[first - 1 : first] == b"\r" else "\n"


def frontmatter(data: bytes, path: str) -> dict[str, Value]:
    """The frontmatter as values; empty where there is none. Raises InvalidText where it cannot be read for an edit."""
    document = _document(split(data, path), path)
    return dict(document.value) if document is not None and isinstance(document.value, dict) else {}


def new_note(meta: Mapping[str, Value], body: str, *, newline: str = "\n") -> bytes:
    """A note of our own: frontmatter in the order given, an empty line, the body ending in one line end."""
    lines = ["---", *(block(dict(meta), 0) if meta else []), "---"]
    text = "\n".join(_plain_date(line) for line in lines) + "\n"
    stripped = body.replace("\r\n", "\n").strip("\n")
    if stripped.strip():
        text += f"\n{stripped}\n"
    return text.replace("\n", newline).encode("utf-8")


def set_keys(data: bytes, path: str, values: Mapping[Key, Value]) -> bytes:
    """Set keys of the frontmatter, or take out those whose value is None; a note without frontmatter gets one.

    A list or mapping that is there already is changed entry by entry. Mappings on the way to a key are made, and taken out
    with their last key. Raises InvalidText for frontmatter that cannot be read, HeadwaterError (rule `text-edit`) for a
    spelling that cannot be changed in place.
    """
    parts = split(data, path)
    for key, value in values.items():
        pointer = (key,) if isinstance(key, str) else key
        parts = _removed(parts, path, pointer) if value is None else _with(parts, path, pointer, value)
    return parts.joined()


def touched(before: bytes, after: bytes, path: str, now: datetime) -> bytes:
    """`after` with `updated` moved to `now`, where something changed and the note has the key.

    The new value is spelled as the old one: a date, seconds or milliseconds since 1970, else `2026-01-12T13:07:00Z`.
    """
    if before == after:
        return before
    try:
        meta = frontmatter(after, path)
    except InvalidText:
        return after  # what was changed needed no frontmatter, so this does not either
    return set_keys(after, path, {"updated": _stamp(meta["updated"], now)}) if "updated" in meta else after


def timestamp(now: datetime) -> str:
    """A moment as notes spell it: `2026-01-12T13:07:00Z`, in whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_tag(tag: str) -> str:
    """`tag` without a leading `#`. Raises UsageError for what no frontmatter or text can hold as one tag."""
    name = tag.strip().removeprefix("#")
    if not name or _BAD_TAG.search(name):
        raise UsageError(
            f"{tag!r} is no tag", rule="note-tag", fix="use letters, digits, '-', '_' and '/' without spaces, commas or quotes"
        )
    return name


def add_tags(data: bytes, path: str, tags: Iterable[str]) -> bytes:
    """Add those tags the frontmatter does not have yet (compared without case); text under the key becomes a list.

    Raises UsageError for a bad tag, and as `set_keys` does.
    """
    wanted = [check_tag(tag) for tag in tags]
    if not wanted:
        return data
    meta = frontmatter(data, path)
    keys = _tag_keys(meta)
    present = {_folded(item) for key in keys for item in _listed(meta[key])}
    fresh = [tag for index, tag in enumerate(wanted) if tag.casefold() not in {*present, *(w.casefold() for w in wanted[:index])}]
    if not fresh:
        return data
    if not keys:
        return set_keys(data, path, {"tags": [*fresh]})
    return set_keys(data, path, {keys[0]: [*_listed(meta[keys[0]]), *fresh]})


def remove_tags(data: bytes, path: str, tags: Iterable[str]) -> bytes:
    """Take tags out of the frontmatter (compared without case); a list that ends up empty goes with its key.

    Tags in the text stay. Raises as `add_tags` does.
    """
    unwanted = {check_tag(tag).casefold() for tag in tags}
    if not unwanted:
        return data
    meta = frontmatter(data, path)
    values: dict[Key, Value] = {}
    for key in _tag_keys(meta):
        items = _listed(meta[key])
        kept = [item for item in items if _folded(item) not in unwanted]
        if len(kept) != len(items):
            values[key] = kept or None
    return set_keys(data, path, values) if values else data


def links(data: bytes, path: str) -> list[tuple[str, str]]:
    """The typed links of the frontmatter as (type, id), in order. Raises InvalidText where it cannot be read."""
    return [link for entry in _link_entries(frontmatter(data, path), path) if (link := _link(entry)) is not None]


def add_link(data: bytes, path: str, link_type: str, target: str) -> bytes:
    """Add a typed link at the end of `links`; one that is there already changes nothing. Raises as `set_keys` does."""
    return add_links(data, path, [(link_type, target)])


def add_links(data: bytes, path: str, wanted: Iterable[tuple[str, str]]) -> bytes:
    """Add those of `wanted` (type, id) that the note does not have. Raises as `set_keys` does."""
    entries = _link_entries(frontmatter(data, path), path)
    present = {link for entry in entries if (link := _link(entry)) is not None}
    fresh = [link for link in dict.fromkeys(wanted) if link not in present]
    if not fresh:
        return data
    added: list[Value] = [{"type": kind, "id": target} for kind, target in fresh]
    return set_keys(data, path, {"links": entries + added})


def remove_link(data: bytes, path: str, link_type: str | None, target: str) -> bytes:
    """Take typed links to `target` out, of one type or (None) of all. Raises as `set_keys` does."""
    entries = _link_entries(frontmatter(data, path), path)

    def meant(entry: Value) -> bool:
        link = _link(entry)
        return link is not None and link[1] == target and link_type in (None, link[0])

    kept = [entry for entry in entries if not meant(entry)]
    return data if len(kept) == len(entries) else set_keys(data, path, {"links": kept or None})


def set_body(data: bytes, path: str, body: str | bytes) -> bytes:
    """Put another body below the frontmatter.

    The empty lines between the two stay unless `body` brings its own; line ends become those of the note, the last line gets
    one. The body that is there (`body_of`) changes nothing.
    """
    parts = split(data, path)
    given = body.encode("utf-8") if isinstance(body, str) else body
    if given == parts.body:
        return data
    blanks = _LEADING_BLANKS.match(parts.body)
    lead = blanks[0] if blanks is not None else b""
    newline = line_end(data).encode()
    if parts.has_frontmatter and not parts.body:
        lead = newline
    fresh = _with_line_ends(given, newline)
    if not fresh.startswith((b"\n", b"\r\n")):
        fresh = (lead if fresh else b"") + fresh
    if fresh and not fresh.endswith(b"\n"):
        fresh += newline
    closed = parts.closing.endswith(b"\n") or not parts.closing or not fresh
    return replace(parts, closing=parts.closing if closed else parts.closing + newline, body=fresh).joined()


def append_body(data: bytes, path: str, text: str | bytes) -> bytes:
    """Add `text` at the end of the body, one empty line below what is there; nothing for empty text."""
    parts = split(data, path)
    newline = line_end(data).encode()
    given = _with_line_ends(text.encode("utf-8") if isinstance(text, str) else text, newline)
    given = given.strip(b"\r\n")
    if not given.strip():
        return data
    start = parts.body
    if not start.strip():
        return set_body(data, path, given)
    if not start.endswith(b"\n"):
        start += newline
    if not start.endswith((b"\n\n", b"\n\r\n")):
        start += newline
    return replace(parts, body=start + given + newline).joined()


def rewrite_targets(data: bytes, targets: Sequence[tuple[int, int, str]]) -> bytes:
    """Replace stretches (start, stop, new text) by byte offsets; the same stretch may come twice with the same text.

    Raises ValueError when two overlap or one lies outside of the file.
    """
    pieces: list[bytes] = []
    at = 0
    for start, stop, text in sorted(set(targets)):
        if start < at or stop < start or stop > len(data):
            raise ValueError(f"the stretch {start}..{stop} overlaps another or lies outside of the text")
        pieces += (data[at:start], text.encode("utf-8"))
        at = stop
    return b"".join((*pieces, data[at:])) if pieces else data


def key_lines(meta: Mapping[str, Value], key: str) -> list[str]:
    """One key of a frontmatter as we would write it, in lines; none where the key is not there."""
    return [_plain_date(line) for line in block({key: meta[key]}, 0)] if key in meta else []


def replace_keys_by_lines(data: bytes, path: str, texts: Mapping[str, str]) -> bytes:
    """Put texts (whole lines) in place of the lines of top-level keys, or at the end of the frontmatter where a key is not there.

    For what is no YAML, such as the markers of a conflict. Raises as `set_keys` does, HeadwaterError (rule `text-edit`) for a
    frontmatter in braces.
    """
    parts = split(data, path)
    document = _document(parts, path)
    edits: list[Edit] = []
    behind = ""
    if document is not None and document.spans[()].style == "flow":
        raise cannot_edit(path, "a frontmatter in braces")
    for key, text in texts.items():
        span = document.spans.get((key,)) if document is not None else None
        if document is None or span is None:
            behind += text
            continue
        whole = span.end > 0 and document.text[span.end - 1] == "\n"
        edits.append(
            Edit(line_start(document.text, span.key_start), span.end if whole else text_line_end(document.text, span.end), text)
        )
    if document is not None:
        parts = _reread_text(parts, apply(document.text, edits))
    return replace(parts, yaml=parts.yaml + behind.encode("utf-8")).joined()


def _document(parts: Parts, path: str) -> YamlDocument | None:
    """The frontmatter read with the places of the file; None where there is none or it holds no value."""
    if not parts.has_frontmatter:
        return None
    file = decode(parts.head + parts.yaml, path, limit=LIMITS.size, empty=True)
    opening = file.text.index("---")
    # The opening dashes become a comment of the same length, so that lines in the YAML are lines of the file.
    text = f"{file.text[:opening]}#--{file.text[opening + 3 :]}"
    inner = replace(file, text=text, data=text.encode("utf-8"), bom=False)
    try:
        document = read_file(inner, limits=LIMITS)
    except InvalidText as error:
        if error.rule == EMPTY.id:
            return None
        raise
    if document.value is None:
        return None
    if not isinstance(document.value, dict):
        inner.fail(MAPPING, document.spans[()].start, "the frontmatter is not a mapping", fix="write it as `key: value` lines")
    return document


def _reread(parts: Parts, document: YamlDocument) -> Parts:
    """`parts` with the frontmatter an edited document has."""
    return _reread_text(parts, document.text)


def _reread_text(parts: Parts, text: str) -> Parts:
    mark = len(_BOM) if parts.head.startswith(_BOM) else 0
    return replace(parts, yaml=text.encode("utf-8")[len(parts.head) - mark :])


def _with(parts: Parts, path: str, pointer: tuple[str, ...], value: Value) -> Parts:
    document = _document(parts, path)
    if document is None or not document.value:
        return _with_first(parts, path, _nested(pointer, value))
    for depth in range(1, len(pointer)):
        try:
            holder = document.get(pointer[:depth])
        except KeyError:
            return _reread(parts, document.set(pointer[:depth], _nested(pointer[depth:], value)))
        if holder is None or holder == {}:
            return _reread(parts, document.set(pointer[:depth], _nested(pointer[depth:], value)))
        if not isinstance(holder, dict):
            raise HeadwaterError(
                f"{'.'.join(pointer[:depth])!r} holds a single value, no keys",
                rule="text-edit",
                path=path,
                fix="set the whole key, or rename one of the two",
            )
    present = document.spans.get(pointer)
    if present is not None and same(document.get(pointer), value):
        return parts
    made = document.set(pointer, value)
    if isinstance(value, str) and (present is None or present.style == "plain"):
        made = _with_plain_date(made, pointer)
    return _reread(parts, made)


def _with_plain_date(document: YamlDocument, pointer: tuple[str, ...]) -> YamlDocument:
    """A date that was just written without the quotes: that is how every other tool writes it into notes."""
    span = document.spans[pointer]
    if not _QUOTED_DATE.fullmatch(document.text, span.start, span.end):
        return document
    text = document.text[: span.start] + document.text[span.start + 1 : span.end - 1] + document.text[span.end :]
    return read_file(replace(document.file, text=text, data=text.encode("utf-8"), _lines=[]), limits=LIMITS)


def _plain_date(line: str) -> str:
    key, separator, value = line.partition(": ")
    return f"{key}: {value[1:-1]}" if separator and _QUOTED_DATE.fullmatch(value) else line


def _with_first(parts: Parts, path: str, value: dict[str, Value]) -> Parts:
    """The first keys of a note without frontmatter, or of an empty one; comments that stand there stay above."""
    if not parts.has_frontmatter:
        newline = line_end(parts.body)
        fence = f"---{newline}".encode()
        rows = "".join(_plain_date(row) + newline for row in block(value, 0))
        return Parts(parts.head + fence, rows.encode(), fence, parts.body)
    newline = line_end(parts.head)
    rows = "".join(_plain_date(row) + newline for row in block(value, 0))
    kept = b"".join(line for line in parts.yaml.splitlines(keepends=True) if not line.strip() or line.lstrip().startswith(b"#"))
    made = replace(parts, yaml=(kept if kept.strip() else b"") + rows.encode())
    document = _document(made, path)
    if document is None or not same(document.value, value):
        raise cannot_edit(path, "this spelling")
    return made


def _removed(parts: Parts, path: str, pointer: tuple[str, ...]) -> Parts:
    document = _document(parts, path)
    if document is None:
        return parts
    try:
        document.get(pointer)
        while len(pointer) > 1 and len(document.children(pointer[:-1])) == 1:
            pointer = pointer[:-1]
    except KeyError:
        return parts
    if len(pointer) == 1 and len(document.children(())) == 1:
        kept = document.text[: document.spans[pointer].key_start].encode("utf-8")
        mark = len(_BOM) if parts.head.startswith(_BOM) else 0
        above = kept[len(parts.head) - mark :]
        return replace(parts, yaml=above if document.spans[()].style == "block" else b"")
    return _reread(parts, document.delete(pointer))


def _nested(keys: Sequence[str], value: Value) -> dict[str, Value]:
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _stamp(present: Value, now: datetime) -> Value:
    if isinstance(present, int) and not isinstance(present, bool):
        return int(now.timestamp() * (1000 if abs(present) >= 10**11 else 1))
    if isinstance(present, str) and _DATE.match(present):
        return now.astimezone(UTC).strftime("%Y-%m-%d")
    return timestamp(now)


def _tag_keys(meta: Mapping[str, Value]) -> list[str]:
    return [key for wanted in TAG_KEYS for key in meta if key.lower() == wanted]


def _listed(value: Value) -> list[Value]:
    """Tags as a list: text is split at commas and spaces, nothing is none."""
    if isinstance(value, str):
        return [part for part in _TAG_SEPARATOR.split(value) if part]
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _folded(item: Value) -> str:
    return str(item).strip().removeprefix("#").casefold()


def _link_entries(meta: Mapping[str, Value], path: str) -> list[Value]:
    entries = meta.get("links")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise HeadwaterError(
            "`links` is not a list", rule="text-edit", path=path, fix="write it as a list of `type` and `id`, or rename the key"
        )
    return entries


def _link(entry: Value) -> tuple[str, str] | None:
    """(type, id) of one entry of `links`; bare text is a link of type `related`."""
    if isinstance(entry, str):
        return ("related", entry)
    if isinstance(entry, dict):
        target, kind = entry.get("id"), entry.get("type")
        if isinstance(target, str | int) and isinstance(kind, str):
            return (kind, str(target))
    return None


def _with_line_ends(text: bytes, newline: bytes) -> bytes:
    plain = text.replace(b"\r\n", b"\n")
    return plain if newline == b"\n" else plain.replace(b"\n", newline)

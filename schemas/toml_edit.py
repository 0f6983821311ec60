"""Where an edit of a TOML text goes: pairs by their lines, tables by their headers, arrays between their commas.

Why not tomlkit: it writes LF into CRLF files and moves comments of tables it takes out; with spans at hand the edits are few.
The document verifies every result by reading it again. Light: standard library only.
"""

from __future__ import annotations

from schemas.document import Pointer, Span, Value
from schemas.edit import Edit, cannot_edit, delete_in_brackets, indent_at, insert_in_brackets, line_end, line_start
from schemas.toml_text import TomlDocument
from schemas.toml_write import inline, key, table

_IN_BRACKETS = ("[", "inline")
_BY_LINES = ("header", "implied", "dotted", "tables", "")


def replace(document: TomlDocument, at: Pointer, value: Value) -> list[Edit]:
    """Edits that put `value` where the value at `at` is."""
    span = document.spans[at]
    if at and span.style not in _BY_LINES:
        return [Edit(span.start, span.end, _like(document, span, value))]
    if not at:
        raise cannot_edit(document.path, "the whole document")
    return [*delete(document, at), *_add_line(document, at, value)]


def add(document: TomlDocument, at: Pointer, value: Value) -> list[Edit]:
    """Edits that add the key `at` ends in to its table."""
    parent, name = at[:-1], str(at[-1])
    span = document.spans[parent]
    if span.style == "inline":
        items = _items(document, parent)
        item = f"{key(name)} = {inline(value)}"
        if not items:
            return [Edit(span.start, span.end, f"{{ {item} }}")]
        return insert_in_brackets(document.text, (span.start, span.end), items, len(items), item, newline=document.file.line_end)
    return _add_line(document, at, value)


def insert(document: TomlDocument, at: Pointer, value: Value) -> list[Edit]:
    """Edits that put `value` into an array before the position `at` ends in."""
    parent, index = at[:-1], at[-1]
    assert isinstance(index, int)
    span = document.spans[parent]
    if span.style == "tables":
        if not isinstance(value, dict) or index != len(document.children(parent)):
            raise cannot_edit(document.path, "an array of tables")
        path = [key(str(part)) for part in parent]
        lines = table(value, path)
        lines = [f"[[{'.'.join(path)}]]", *(lines[1:] if lines[0] == f"[{'.'.join(path)}]" else lines)]
        return [_at_end(document, lines)]
    return insert_in_brackets(
        document.text, (span.start, span.end), _items(document, parent), index, inline(value), newline=document.file.line_end
    )


def delete(document: TomlDocument, at: Pointer) -> list[Edit]:
    """Edits that take the entry at `at` out."""
    parent = at[:-1]
    if document.spans[parent].style in _IN_BRACKETS:
        siblings = document.children(parent)
        bracket = document.spans[parent]
        return delete_in_brackets((bracket.start, bracket.end), _items(document, parent), siblings.index(at))
    edits = _delete_lines(document, at)
    if parent and len(document.children(parent)) == 1 and document.spans[parent].style in ("implied", "dotted"):
        # The parent exists only through what goes away: write it down.
        edits[0] = Edit(edits[0].start, edits[0].end, _empty(document, parent) + document.file.line_end)
    return edits


def _empty(document: TomlDocument, at: Pointer) -> str:
    """The line that says that the table at `at` is there and empty."""
    if document.spans[at].style == "implied":
        return "[" + ".".join(key(part) for part in at if isinstance(part, str)) + "]"
    home = at
    while home and home not in document.scanner.bodies:
        home = home[:-1]
    return _indent(document, home) + ".".join(key(str(part)) for part in at[len(home) :]) + " = {}"


def _delete_lines(document: TomlDocument, at: Pointer) -> list[Edit]:
    text, span = document.text, document.spans[at]
    if span.style not in _BY_LINES:
        return [_line_of(text, _pair_start(text, span), span.end)]
    edits: list[Edit] = []
    headers = sorted((start, pointer) for pointer, (start, _) in document.scanner.headers.items())
    for number, (start, pointer) in enumerate(headers):
        if pointer[: len(at)] == at:
            stop = headers[number + 1][0] if number + 1 < len(headers) else len(text)
            end = document.scanner.bodies[pointer]
            if not text[end:stop].strip():
                end = stop
            edits.append(Edit(line_start(text, start), max(end, line_end(text, start)), ""))
    for pointer, found in document.spans.items():
        inside = pointer[: len(at)] == at and pointer != at and found.style not in _BY_LINES and found.key_start >= 0
        if inside and document.spans[pointer[:-1]].style not in _IN_BRACKETS:
            line = _line_of(text, _pair_start(text, found), found.end)
            if not any(edit.start <= line.start and line.end <= edit.end for edit in edits):
                edits.append(line)
    return edits


def _add_line(document: TomlDocument, at: Pointer, value: Value) -> list[Edit]:
    """A new `key = value` line at the end of its table, or a new table at the end of the document."""
    bodies = document.scanner.bodies
    home = at[:-1]
    while home and home not in bodies:
        home = home[:-1]
    between = at[len(home) : -1]
    style = document.spans[at[:-1]].style
    names = [str(part) for part in at if isinstance(part, str)]
    if isinstance(value, dict) and value and not between and _latest(document, at):
        return [_at_end(document, table(value, [key(name) for name in names]))]
    if between and style == "implied" and _latest(document, at):
        return [_at_end(document, table({names[-1]: value}, [key(name) for name in names[:-1]]))]
    line = ".".join(key(str(part)) for part in (*between, at[-1])) + " = " + inline(value)
    newline = document.file.line_end
    end = bodies[home]
    lead = "" if end == 0 or document.text[end - 1] == "\n" else newline
    indent = _indent(document, home)
    return [Edit(end, end, f"{lead}{indent}{line}{newline}")]


def _latest(document: TomlDocument, at: Pointer) -> bool:
    """Whether a header at the end of the document reaches the table: no earlier item of an array of tables is meant."""
    parts = [(length, part) for length, part in enumerate(at) if isinstance(part, int)]
    return all(part == len(document.children(at[:length])) - 1 for length, part in parts)


def _at_end(document: TomlDocument, lines: list[str]) -> Edit:
    text, newline = document.text, document.file.line_end
    lead = "" if not text else newline if text.endswith("\n") else newline * 2
    return Edit(len(text), len(text), lead + newline.join(lines) + newline)


def _indent(document: TomlDocument, home: Pointer) -> str:
    """The white space the keys of a table stand behind."""
    for child in reversed(document.children(home)):
        span = document.spans[child]
        if span.style not in _BY_LINES:
            return indent_at(document.text, _pair_start(document.text, span)) or ""
    return ""


def _pair_start(text: str, span: Span) -> int:
    """Where `a.b = …` begins, whose last key part the span knows."""
    start = line_start(text, span.key_start)
    return start + len(text[start : span.key_start]) - len(text[start : span.key_start].lstrip(" \t"))


def _line_of(text: str, start: int, end: int) -> Edit:
    return Edit(line_start(text, start), line_end(text, end), "")


def _like(document: TomlDocument, span: Span, value: Value) -> str:
    """`value` on one line, in single quotes where the old text was."""
    long = document.text.startswith("'''", span.start)
    if isinstance(value, str) and span.style == "'" and not long and value.isprintable() and "'" not in value:
        return f"'{value}'"
    return inline(value)


def _items(document: TomlDocument, parent: Pointer) -> list[tuple[int, int]]:
    spans = [document.spans[at] for at in document.children(parent)]
    if any(span.style == "dotted" for span in spans):
        raise cannot_edit(document.path, "an inline table with dotted keys")
    return [(span.item_start, span.end) for span in spans]

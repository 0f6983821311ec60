"""The sources of notes as a bibliography: BibTeX and CSL-JSON, each address once, under keys that stay the same.

Formats: BibTeX as BibTeX's own manual has it (entry type `misc` with `howpublished` and `url`, which biblatex's `online` reads
too); CSL-JSON as the schema of citation-style-language/schema (version 1.0.2). Pure; standard library only.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_KEY_WORDS: Final = 3
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """One source: where it is, what it is called, when it was read (ISO 8601), and the titles of the notes that name it."""

    key: str
    url: str
    title: str | None
    accessed: str | None
    notes: tuple[str, ...]


def references(sources: Iterable[tuple[str, str | None, str | None, str]]) -> list[Reference]:
    """References from (url, title, accessed, title of the note), one for each address, in the order they come.

    The first title counts and the latest date of reading. The key is made from the title (else the host) and a digest of the
    address, so that it depends on nothing else in the store.
    """
    found: dict[str, tuple[str | None, str | None, list[str]]] = {}
    for url, title, accessed, note in sources:
        address = url.strip()
        if not address:
            continue
        known_title, known_date, notes = found.get(address, (None, None, []))
        if note not in notes:
            notes = [*notes, note]
        dates = [date for date in (known_date, accessed) if date]
        found[address] = (known_title or title or None, max(dates, default=None), notes)
    return [
        Reference(citation_key(url, title), url, title, accessed, tuple(notes)) for url, (title, accessed, notes) in found.items()
    ]


def citation_key(url: str, title: str | None) -> str:
    """`sea-level-rise-3f2a9c`: words of the title or the host, and six digits of the address's SHA-256."""
    text = title or (urlsplit(url).hostname if is_address(url) else url) or "source"
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.findall(r"[a-z0-9]+", plain)[:_KEY_WORDS] or ["source"]
    return "-".join([*words, sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:6]])


def is_address(text: str) -> bool:
    """Whether a source is an address; else it is words, such as where a book stands."""
    return _ADDRESS.match(text) is not None


def to_bibtex(found: Sequence[Reference]) -> str:
    """The references as BibTeX entries, one blank line between two."""
    return "\n".join(_entry(one) for one in found)


def _entry(one: Reference) -> str:
    fields = [("title", f"{{{_tex(one.title or one.url)}}}")]
    match = _DATE.match(one.accessed or "")
    if match:
        fields += [("urldate", match[0]), ("note", f"Accessed {match[0]}")]
    if is_address(one.url):
        fields += [("howpublished", f"\\url{{{_url(one.url)}}}"), ("url", _url(one.url))]
    elif one.title:
        fields.append(("howpublished", _tex(one.url)))
    lines = ",\n".join(f"  {name:<12} = {{{value}}}" for name, value in fields)
    return f"@misc{{{one.key},\n{lines}\n}}\n"


def _tex(text: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


def _url(text: str) -> str:
    """An address as it may stand between braces: what would end them early is percent-encoded, which means the same."""
    return re.sub(r"[{}\\\s]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def to_csl(found: Sequence[Reference]) -> str:
    """The references as CSL-JSON: an array of items of type `webpage`, `document` for what is no address."""
    items: list[dict[str, Any]] = []
    for one in found:
        item: dict[str, Any] = {"id": one.key, "type": "webpage" if is_address(one.url) else "document"}
        item["title"] = one.title or one.url
        if is_address(one.url):
            item["URL"] = one.url
        elif one.title:
            item["source"] = one.url
        match = _DATE.match(one.accessed or "")
        if match:
            item["accessed"] = {"date-parts": [[int(part) for part in match.groups() if part is not None]]}
        items.append(item)
    return json.dumps(items, ensure_ascii=False, indent=2) + "\n"


def to_markdown(found: Sequence[Reference]) -> str:
    """The references as a Markdown list."""
    lines = []
    for one in found:
        title = " ".join((one.title or one.url).split()).replace("[", "\\[").replace("]", "\\]")
        read = f", accessed {one.accessed[:10]}" if one.accessed else ""
        if is_address(one.url):
            named = f"[{title}](<{one.url.replace('<', '%3C').replace('>', '%3E')}>)"
        else:
            named = title if one.title is None else f"{title}, {' '.join(one.url.split())}"
        lines.append(f"- {named}{read} ({'; '.join(one.notes)})\n")
    return "".join(lines)

"""How a link is spelled after what it leads to, or the note it stands in, has another path, id or title.

A link keeps its way of naming things: a path from the store's folder stays one, a relative path stays relative, a file name stays
a file name, a title a title; one by id changes only with the id. Where the wished-for spelling would be ambiguous or cannot be
written in that place, the next longer one is taken: file name, path, id. Pure; which steps find what is said in
`assets.notes.resolve`. Light: standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import relpath

from schemas.errors import HeadwaterError
from schemas.notes.model import Mention, MentionKind

WIKI_KINDS = frozenset({MentionKind.WIKI, MentionKind.EMBED, MentionKind.TYPED, MentionKind.PROPERTY})
"""Links whose target is a name; the others' is a path."""

_IN_FRONTMATTER = frozenset({MentionKind.TYPED, MentionKind.PROPERTY})
_EXTENSION = re.compile(r"\.(?:md|markdown)\Z", re.IGNORECASE)
_NOT_IN_BRACKETS = re.compile(r"[\[\]|#^\n\r]")
_NOT_IN_YAML = re.compile(r"[\"'\\\n{}\[\],&*!|>%@`]|: | #|:\Z|\A[-?:]")
_MUST_ENCODE = re.compile(r"[\x00-\x20\x7f%<>()\\\[\]#?|`\"]")
_MUST_ENCODE_BRACKETED = re.compile(r"[\x00-\x1f\x7f%<>\\#?]")
_ENCODED_HIGH = re.compile("%[89A-Fa-f][0-9A-Fa-f]")


@dataclass(frozen=True, slots=True)
class Target:
    """One note or attachment as links may name it: `path` store-relative; no id and no title for an attachment."""

    path: str
    id: str | None = None
    title: str | None = None


def fold(text: str) -> str:
    """`text` composed and case-folded: equal for what people read as the same word."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def bare(path: str) -> str:
    """`path` without the extension of a note."""
    return _EXTENSION.sub("", path)


def folder_of(path: str) -> str:
    """The folder a path lies in, '' for the store's own."""
    return path.rpartition("/")[0]


def stem(path: str) -> str:
    """The file name of a note without its extension."""
    return bare(path.rpartition("/")[2])


def joined(folder: str, target: str) -> str | None:
    """The store's path of `target` seen from `folder`; None outside of the store."""
    parts = [] if target.startswith("/") or not folder else folder.split("/")
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Situation:
    """One link and what changes around it: the note it stands in and the one it leads to, before and after.

    `raw` is the link's target as it is spelled, anchor included; `bracketed` tells a Markdown target between `<` and `>`.
    `others` gives the paths of all notes but the one that is meant which a name could mean afterwards.
    """

    mention: Mention
    raw: str
    bracketed: bool
    source: str
    source_after: str
    old: Target
    new: Target
    others: Callable[[str], bool]


def respelled(situation: Situation) -> str | None:
    """The link's new target as it is to be written, None where it stays as it is.

    Raises HeadwaterError (rule `link-spelling`) when no spelling can be written in the link's place.
    """
    name, anchor = _cut(situation.raw)
    wanted = _wiki(situation) if situation.mention.kind in WIKI_KINDS else _markdown(situation, name)
    if wanted is None or wanted == name:
        return None
    return wanted + anchor


def relative_after(
    raw: str, target: str, source: str, source_after: str, *, bracketed: bool, gone: Callable[[str], str]
) -> str | None:
    """A Markdown target that leads nowhere, so spelled that it still names the same missing file after the note has moved;
    `gone` tells where a path has moved to."""
    place = joined(folder_of(source), target)
    if target.startswith("/") or place is None or place == "":
        return None
    name, anchor = _cut(raw)
    wanted = _relative(gone(place), source_after, target)
    wanted = name if wanted == target else _encoded(wanted, raw, bracketed=bracketed)
    return None if wanted == name else wanted + anchor


def href(target: str, source: str) -> str:
    """A Markdown link's target for the file at `target`, seen from the note at `source`."""
    return _encoded(relpath("/" + target, "/" + folder_of(source)), "", bracketed=False)


def _cut(raw: str) -> tuple[str, str]:
    """A raw target as (name, anchor with its sign and whatever follows the name)."""
    at = raw.find("#")
    name = raw if at < 0 else raw[:at]
    if name.endswith("\\"):  # the escape of a `|` in a table
        return name[:-1], raw[len(name) - 1 :]
    return name, raw[len(name) :]


def _wiki(situation: Situation) -> str | None:
    for wanted, certain in _wiki_spellings(situation):
        if wanted is None:
            return None
        if _writable(wanted, situation.mention.kind) and (certain or not situation.others(wanted)):
            return wanted
    raise HeadwaterError(
        f"the link to {situation.old.path!r} on line {situation.mention.line} cannot be spelled for {situation.new.path!r}",
        rule="link-spelling",
        path=situation.source,
        line=situation.mention.line,
        column=situation.mention.column,
        fix="use a file name without [ ] | # ^ and quotes",
    )


def _wiki_spellings(situation: Situation) -> Iterator[tuple[str | None, bool]]:
    """(spelling, whether it is certain to lead to the new target), best first; None for the one that is there."""
    old, new, target = situation.old, situation.new, situation.mention.target
    suffix = target[len(bare(target)) :]
    form = _form(situation)
    if form == "id":
        yield (None if new.id == old.id else new.id), True
    elif form == "path":
        if new.path == old.path:
            yield None, True
        yield ("/" if target.startswith("/") else "") + _as_written(new.path, suffix), True
    elif form == "relative":
        yield _as_written(_relative(new.path, situation.source_after, target), suffix), target.startswith(("./", "../"))
    elif form == "name":
        depth = target.strip("/").count("/") + 1
        wanted = _as_written("/".join(new.path.split("/")[-depth:]), suffix)
        yield (target if fold(wanted) == fold(target) else wanted), False
    elif form == "title":
        if new.title is not None:
            yield (target if fold(new.title) == fold(target) else new.title), False
        yield stem(new.path), False
    else:
        yield None, True  # by an alias, which the note keeps
    yield _as_written(new.path, suffix if suffix or bare(new.path) == new.path else ""), True
    if new.id is not None:
        yield new.id, True


def _form(situation: Situation) -> str:
    """The way a link between brackets names its target, by the first step that finds it (`assets.notes.resolve`)."""
    old, target = situation.old, situation.mention.target
    dotted = target.startswith(("./", "../"))
    seen_from = joined(folder_of(situation.source), target)
    for spell in (_exact, _composed, fold):
        name, path = spell(target), spell(old.path)
        inside = name.lstrip("/")
        paths = (path, bare(path))
        if old.id is not None and name == spell(old.id):
            return "id"
        if not dotted and "/" in target and inside in paths:
            return "path"
        if "/" in target and seen_from is not None and spell(seen_from) in paths:
            return "relative"
        if any(f"/{one}".endswith(f"/{inside}") for one in paths):
            return "name"
        if old.title is not None and name == spell(old.title):
            return "title"
    return "alias"


def _exact(text: str) -> str:
    return text


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _as_written(path: str, suffix: str) -> str:
    """A note's path with its extension only where the link had one; other files keep theirs."""
    return path if suffix or bare(path) == path else bare(path)


def _writable(name: str, kind: MentionKind) -> bool:
    if not name or name != name.strip() or (kind is not MentionKind.TYPED and _NOT_IN_BRACKETS.search(name)):
        return False
    return kind not in _IN_FRONTMATTER or not _NOT_IN_YAML.search(name)


def _markdown(situation: Situation, raw_name: str) -> str | None:
    old, new, target = situation.old, situation.new, situation.mention.target
    whole = fold(old.path)
    place = joined(folder_of(situation.source), target)
    suffix = target[len(bare(target)) :]

    def leads(path: str | None) -> bool:
        return path is not None and (fold(path) == whole or fold(path) == fold(bare(old.path)))

    if target.startswith("/") and leads(joined("", target)):
        wanted = "/" + _as_written(new.path, suffix)
    elif leads(place):
        wanted = _as_written(_relative(new.path, situation.source_after, target), suffix)
    elif leads(joined("", target)):
        wanted = _as_written(new.path, suffix)
    elif old.id is not None and new.id is not None and "/" not in target:
        if fold(old.id) == fold(new.id):
            return None
        wanted = new.id + suffix
    else:
        return None
    same_name = old.path.rpartition("/")[2] == new.path.rpartition("/")[2]
    if wanted == target or (same_name and fold(wanted) == fold(target)):
        return None  # also where it finds its target by case alone: that is a finding, not ours to mend here
    return _encoded(wanted, raw_name, bracketed=situation.bracketed)


def _relative(path: str, source: str, written: str) -> str:
    """`path` seen from the note at `source`, with a leading `./` where the link had one."""
    made = relpath("/" + path, "/" + folder_of(source))
    return f"./{made}" if written.startswith("./") and not made.startswith("../") else made


def _encoded(path: str, raw: str, *, bracketed: bool) -> str:
    """`path` as the target of a Markdown link: characters that would end it are percent-encoded, others only if they were."""
    pattern = _MUST_ENCODE_BRACKETED if bracketed else _MUST_ENCODE
    text = pattern.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), path)
    if not text.isascii() and _ENCODED_HIGH.search(raw):
        text = "".join(sign if sign.isascii() else "".join(f"%{byte:02X}" for byte in sign.encode()) for sign in text)
    return text

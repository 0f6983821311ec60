"""What stands inside prose: links of every kind, tags, comments, code, each with its place.

One pass from left to right with a stack of open brackets, as CommonMark 0.31 describes it (appendix, *An algorithm for parsing
nested emphasis and links*); wiki links, `%%` comments, tags and bare addresses are taken up in the same pass, so that none of
them is found inside code, HTML or an escape. Linear: every search that fails is remembered or bounded. Light.

Where wiki links and Markdown meet: `[[a]](b.md)` is the Markdown link people write to cite (`[[1]](https://…)`); any other
`[[…]]` is a wiki link, also inside the label of a Markdown link. A `|` or `\\|` divides target from label; `\\[`, `\\]` and
`\\\\` stand for the character.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.notes.blocks import Definition
from schemas.notes.commonmark import CLOSE_TAG, LABEL, OPEN_TAG, TITLE, destination, normal_label

WIKI, EMBED, MARKDOWN, IMAGE, URL = range(5)


class Link(NamedTuple):
    """One link as it is written. `raw` is the target with its anchor; the label lies from `label_start` to `label_stop`
    (equal where there is none). `defined`: by reference, so that the target's place is that of its definition."""

    kind: int
    start: int
    stop: int
    target_start: int
    target_stop: int
    raw: str
    label_start: int
    label_stop: int
    defined: bool


@dataclass(slots=True)
class Inlines:
    """What a body's prose holds, in no particular order."""

    links: list[Link] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    """Where the `#` stands, and the tag without it."""
    comments: list[tuple[int, int]] = field(default_factory=list)
    code: list[tuple[int, int]] = field(default_factory=list)


# Both begin with plain characters in every branch, which lets the search run over prose without trying branches.
INTERESTING = re.compile(r"\[|<|`|#|%%|://")
_TOKEN = re.compile(r"\\[!-/:-@\[-`{-~]|``*|!\[|\[|\]|<|%%|://|#")
WIKI_LINK = re.compile(r"\[\[((?:[^\[\]\n\\]|\\.|\[[^\[\]\n]*\](?=[^\[\]\n]*\]\])|\](?!\])|\[(?!\[))++)\]\]")
"""The text between double brackets: one line, single brackets allowed, `\\` before any character."""
_TAG = re.compile(
    r"#([^\s\x00-\x2c\x2e\x3a-\x40\x5b-\x5e\x60\x7b-\x7f\xa0-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7"
    r"\u2000-\u200c\u200e-\u206f\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+)"
)
_BEFORE_TAG = frozenset(" \t\n\xa0\u3000([{\"'*_~,;:!?|>“„‘«「『（【、。，！？")
_NOT_ONLY = re.compile(r"[^0-9/_-]")
_AUTOLINK = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,31}:[^<>\x00-\x20]*)>")
_EMAIL = re.compile(
    r"<([a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,254}@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*)>"
)
_TAG_HTML = re.compile(f"{OPEN_TAG}|{CLOSE_TAG}")
_TICKS = re.compile("`+")
_ADDRESS = re.compile(r"[^\s<>\"`\\|\[\]{}\x00-\x1f\u3000-\u303f\uff00-\uffef]+")
_SPACES = re.compile(r"[ \t\n]*")
_PIPE = re.compile(r"\\?\|")
_SCHEME_BEFORE = re.compile(r"(?:^|[^A-Za-z0-9_])([hH][tT][tT][pP][sS]?)\Z")
_TRAILING = frozenset("?!.,:;*_~'")


def scan_inlines(text: str, base: int, definitions: dict[str, Definition], out: Inlines) -> None:
    """Find what stands in `text`, one leaf of `schemas.notes.blocks`, which begins at offset `base`; add it to `out`."""
    if INTERESTING.search(text):
        _Scanner(text, base, definitions, out).run()


class _Scanner:
    def __init__(self, text: str, base: int, definitions: dict[str, Definition], out: Inlines) -> None:
        self.text = text
        self.base = base
        self.defined = definitions
        self.out = out
        self.ticks: dict[int, list[int]] | None = None
        self.openers: list[tuple[int, int, int, int]] = []
        """Open brackets: where, where the label begins, and how many links and tags there were."""
        self.inside: list[bool] = []
        """Of each open bracket: whether another bracket stands behind it."""
        self.inactive = 0
        """Brackets below this one cannot open a link: there is one in them already."""
        self.absent: set[str] = set()

    def run(self) -> None:
        text, search = self.text, _TOKEN.search
        position = 0
        while token := search(text, position):
            at = token.start()
            sign = text[at]
            if sign == "\\":
                position = at + 2
            elif sign in "[!":
                end = token.end()
                position = self.wiki(at, end) if text.startswith("[", end) else self.opened(at, end)
            elif sign == "]":
                position = self.closed(at) if self.openers else at + 1
            elif sign == "#":
                position = self.tag(at)
            elif sign == "`":
                position = self.code(at, token.end())
            elif sign == "<":
                position = self.angle(at)
            elif sign == ":":
                position = self.address(at)
            else:
                position = self.comment(at)

    # -- code, HTML, comments

    def code(self, at: int, end: int) -> int:
        close = self.code_close(at, end)
        if close < 0:
            return end
        self.out.code.append((self.base + at, self.base + close))
        return close

    def code_close(self, at: int, end: int) -> int:
        """Where the code span ends whose opening run lies from `at` to `end`; -1 when it is none."""
        if self.ticks is None:
            self.ticks = {}
            for run in _TICKS.finditer(self.text):
                self.ticks.setdefault(run.end() - run.start(), []).append(run.start())
        places = self.ticks.get(end - at, ())
        index = bisect.bisect_left(places, end)
        return places[index] + end - at if index < len(places) else -1

    def angle(self, at: int) -> int:
        text, base = self.text, self.base
        if link := _AUTOLINK.match(text, at):
            raw = link[1]
            self.out.links.append(
                Link(
                    URL,
                    base + at,
                    base + link.end(),
                    base + at + 1,
                    base + link.end() - 1,
                    raw,
                    base + at + 1,
                    base + link.end() - 1,
                    False,
                )
            )
            return link.end()
        if mail := _EMAIL.match(text, at):
            start, stop = base + at + 1, base + mail.end() - 1
            self.out.links.append(Link(URL, start - 1, stop + 1, start, stop, "mailto:" + mail[1], start, stop, False))
            return mail.end()
        if html := _TAG_HTML.match(text, at):
            return html.end()
        if text.startswith("<!--", at):
            if text.startswith(("<!-->", "<!--->"), at):
                end = text.index(">", at) + 1
            else:
                end = self.find("-->", at + 4)
            if end > 0:
                self.out.comments.append((base + at, base + end))
                return end
        elif text.startswith("<?", at):
            end = self.find("?>", at + 2)
        elif text.startswith("<![CDATA[", at):
            end = self.find("]]>", at + 9)
        elif text.startswith("<!", at) and text[at + 2 : at + 3].isascii() and text[at + 2 : at + 3].isalpha():
            end = self.find(">", at + 2)
        else:
            end = -1
        return end if end > 0 else at + 1

    def find(self, what: str, start: int) -> int:
        """Where `what` ends behind `start`, -1 when there is none; a search that failed is not made again."""
        if what in self.absent:
            return -1
        at = self.text.find(what, start)
        if at < 0:
            self.absent.add(what)
            return -1
        return at + len(what)

    def comment(self, at: int) -> int:
        end = self.find("%%", at + 2)
        if end < 0:
            return at + 2
        self.out.comments.append((self.base + at, self.base + end))
        return end

    # -- tags and addresses

    def tag(self, at: int) -> int:
        if at and self.text[at - 1] not in _BEFORE_TAG:
            return at + 1
        found = _TAG.match(self.text, at)
        if found is None:
            return at + 1
        name = found[1].rstrip("/")
        if _NOT_ONLY.search(name):
            self.out.tags.append((self.base + at, name))
        return found.end()

    def address(self, colon: int) -> int:
        """`://`: an address that stands bare, when `http` or `https` stands before it."""
        text, base = self.text, self.base
        end = colon + 3
        scheme = _SCHEME_BEFORE.search(text, max(0, colon - 6), colon)
        found = _ADDRESS.match(text, end) if scheme is not None else None
        if found is None or scheme is None:
            return end
        at = scheme.start(1)
        stop = found.end()
        excess = found[0].count(")") - found[0].count("(")
        while stop > end:
            if text[stop - 1] in _TRAILING:
                stop -= 1
            elif text[stop - 1] == ")" and excess > 0:
                excess -= 1
                stop -= 1
            else:
                break
        if stop > end:
            start = base + at
            self.out.links.append(Link(URL, start, base + stop, start, base + stop, text[at:stop], start, base + stop, False))
        return max(stop, end)

    # -- brackets

    def wiki(self, at: int, end: int) -> int:
        """`[[` or `![[`: a wiki link, when it is closed on its line. `end` is behind the first bracket."""
        text, base = self.text, self.base
        first = end - 1
        embed = first > at
        link = WIKI_LINK.match(text, first)
        # `[[[x]]]` is a wiki link between brackets.
        if (
            link is None
            or text.startswith("[", first + 2)
            or self.code_crosses(first, link.end())
            or self.is_citation(link.end())
        ):
            return self.opened(at, first + 1)
        inner, start = link[1], first + 2
        pipe = _PIPE.search(inner)
        target = inner[: pipe.start()] if pipe else inner
        stripped = target.strip()
        if not stripped:
            return self.opened(at, first + 1)
        if self.inside:
            self.inside[-1] = True
        target_start = base + start + len(target) - len(target.lstrip())
        target_stop = target_start + len(stripped)
        if pipe:
            label_start, label_stop = base + start + pipe.end(), base + link.end() - 2
        else:
            label_start, label_stop = target_start, target_stop
        kind = EMBED if embed else WIKI
        self.out.links.append(
            Link(kind, base + at, base + link.end(), target_start, target_stop, stripped, label_start, label_stop, False)
        )
        return link.end()

    def code_crosses(self, start: int, end: int) -> bool:
        """Whether a code span begins inside the stretch and ends behind it: then the end is code, not a bracket."""
        text = self.text
        tick = text.find("`", start, end)
        while tick >= 0:
            run = _TICKS.match(text, tick)
            assert run is not None
            if text[tick - 1] == "\\":
                tick = text.find("`", run.end(), end)
                continue
            close = self.code_close(tick, run.end())
            if close > end:
                return True
            tick = text.find("`", close if close > 0 else run.end(), end)
        return False

    def is_citation(self, end: int) -> bool:
        """Whether what stands behind `]]` makes a Markdown link of what would be a wiki link."""
        return self.text.startswith("(", end) and self.inline_target(end) is not None

    def opened(self, at: int, end: int) -> int:
        if self.inside:
            self.inside[-1] = True
        self.openers.append((at, end, len(self.out.links), len(self.out.tags)))
        self.inside.append(False)
        return end

    def closed(self, at: int) -> int:
        """`]`: the end of a link or picture, when its bracket is open and a target follows or is defined."""
        text, base = self.text, self.base
        start, label_start, links, tags = self.openers.pop()
        holds_bracket = self.inside.pop()
        active = len(self.openers) >= self.inactive
        self.inactive = min(self.inactive, len(self.openers))
        image = text[start] == "!"
        if not active and not image:
            return at + 1
        after = at + 1
        defined = False
        found = self.inline_target(after) if text.startswith("(", after) else None
        if found is not None:
            target_start, target_stop, end = found
            raw = text[target_start:target_stop]
            target_start += base
            target_stop += base
        else:
            reference = self.reference(label_start, at, holds_bracket) if self.defined else None
            if reference is None:
                return after
            (target_start, target_stop, raw), end = reference
            defined = True
        kind = IMAGE if image else MARKDOWN
        del self.out.tags[tags:]
        if len(self.out.links) > links:
            # An address in the label of a link is that label; between angle brackets it is a link of its own.
            kept = [link for link in self.out.links[links:] if link.kind != URL or link.label_start != link.start]
            self.out.links[links:] = kept
        if not image:
            self.inactive = len(self.openers)
        self.out.links.append(
            Link(kind, base + start, base + end, target_start, target_stop, raw, base + label_start, base + at, defined)
        )
        return end

    def inline_target(self, at: int) -> tuple[int, int, int] | None:
        """`(target "title")` at `at`: where the target begins and ends, and where the whole ends."""
        text = self.text
        position = _SPACES.match(text, at + 1).end()  # type: ignore[union-attr]  # it matches the empty string
        if text.startswith(")", position):
            return position, position, position + 1
        found = destination(text, position)
        if found is None:
            return None
        start, stop, end = found
        position = _SPACES.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
        if position > end and (title := TITLE.match(text, position)):
            position = _SPACES.match(text, title.end()).end()  # type: ignore[union-attr]  # it matches the empty string
        return (start, stop, position + 1) if text.startswith(")", position) else None

    def reference(self, label_start: int, at: int, holds_bracket: bool) -> tuple[Definition, int] | None:
        """`[label]`, `[]` or nothing behind the `]` at `at`: the definition that is meant, and where the link ends."""
        text = self.text
        end = at + 1
        if label := LABEL.match(text, end):
            if not label[1].strip():
                return None
            definition = self.defined.get(normal_label(label[1]))
            return (definition, label.end()) if definition is not None else None
        if text.startswith("[]", end):
            end += 2
        if holds_bracket or at - label_start > 999:
            return None
        definition = self.defined.get(normal_label(text[label_start:at]))
        return (definition, end) if definition is not None else None

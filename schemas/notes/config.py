"""The settings of a notes store: `config.toml` as qipu writes it, and what applies of the settings of Obsidian.

Reading never fails: what is wrong is a finding and the default is used, what is unknown is a finding and stays in the file.
Where the files lie belongs to `resources.notes`. Light: standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from schemas.errors import InvalidText
from schemas.findings import Finding, Rule, found
from schemas.notes.linktypes import BUILT_IN, MODES, LinkType, Mode, NoteType, Ontology
from schemas.notes.rules import (
    CONFIG,
    CONFIG_DEPRECATED,
    CONFIG_KEY,
    CONFIG_NEWER,
    GUIDANCE,
    OBSIDIAN,
    TAG_ALIAS,
)

if TYPE_CHECKING:
    from schemas.document import Document

CONFIG_NAME = "config.toml"
VERSION = 1
"""The newest version of `config.toml`."""

MIB = 1 << 20

T = TypeVar("T")

IdScheme = Literal["hash", "ulid", "timestamp"]
ID_SCHEMES: tuple[IdScheme, ...] = ("hash", "ulid", "timestamp")
MocLayout = Literal["folder", "type"]
MOC_LAYOUTS: tuple[MocLayout, ...] = ("folder", "type")
PathLayout = Literal["flat", "date"]
PATH_LAYOUTS: tuple[PathLayout, ...] = ("flat", "date")
AttachmentLayout = Literal["flat", "per-note"]
ATTACHMENT_LAYOUTS: tuple[AttachmentLayout, ...] = ("flat", "per-note")


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How much newer notes rank above older ones: `recency_boost / (1 + age in days / recency_decay_days)`."""

    recency_boost: float = 0.1
    recency_decay_days: float = 7.0


@dataclass(frozen=True, slots=True)
class NotesConfig:
    """What `config.toml` says, defaults filled in."""

    version: int = VERSION
    default_note_type: str = "fleeting"
    id_scheme: IdScheme = "hash"
    editor: str | None = None
    branch: str | None = None
    store_path: str | None = None
    rewrite_wiki_links: bool = False
    stemming: bool = True
    tag_aliases: Mapping[str, str] = field(default_factory=dict)
    """From another spelling to the tag that is meant."""
    layout_mocs: MocLayout = "folder"
    """`folder`: notes of type moc lie in `mocs/`; `type`: among the others, told by their type alone."""
    layout_note_path: PathLayout = "flat"
    """`flat`: `notes/<name>`; `date`: `notes/YYYY/MM/<name>`."""
    layout_attachments: AttachmentLayout = "flat"
    """`flat`: `attachments/<file>`; `per-note`: `attachments/<id>/<file>`."""
    search: SearchConfig = field(default_factory=SearchConfig)
    ontology: Ontology = field(default_factory=Ontology)
    max_note_bytes: int = 16 * MIB
    """A larger note is not understood, and searchable in its first MiB only."""
    max_attachment_bytes: int = 10 * MIB
    """A larger attachment is a finding."""
    max_words: int = 1500
    max_paragraphs: int = 50
    """A note with more is a finding."""


def parse_digest(config: NotesConfig) -> str:
    """A digest of the settings that change what `parse_note` returns: notes are read again when it changes."""
    ontology = config.ontology
    used = [
        config.max_note_bytes,
        ontology.mode,
        sorted(ontology.note_type_names()),
        sorted(ontology.link_type_names()),
        sorted(link.inverse or "" for link in ontology.link_types.values()),
    ]
    return hashlib.sha256(json.dumps(used).encode()).hexdigest()[:16]


def read_config(data: bytes | None, path: str) -> tuple[NotesConfig, list[Finding]]:
    """The settings in a `config.toml` (None where there is none), and what is wrong with it. `path` is used in findings.

    A key that is unknown is a warning (`notes-config-key`), a value of the wrong kind an error (`notes-config`, the default is
    used), a file that is no TOML one error and all defaults. A version above ours is an error (`notes-config-newer`); what is
    understood of it applies. The format is that of qipu 0.3, with the tables `[layout]` and `[limits]` of our own.
    """
    if data is None or not data.strip():
        return NotesConfig(), []
    from schemas.toml_text import read

    try:
        document = read(data, path)
    except InvalidText as error:
        first = error.findings[0]
        return NotesConfig(), [
            found(CONFIG, path, first.message, line=first.line, column=first.column, fix=first.fix, value=first.value)
        ]
    reader = _Reader(document, path)
    config = reader.config()
    return config, sorted(reader.findings)


def write_config(**values: Any) -> str:
    """The text of a new `config.toml`: version, default note type and id scheme, and what else is given by the names of
    `NotesConfig` (`layout_mocs="type"`, `branch="qipu-metadata"`), where it is not the default."""
    from schemas.toml_write import write

    base = NotesConfig()
    table: dict[str, Any] = {"version": VERSION}
    for name in ("default_note_type", "id_scheme"):
        table[name] = values.pop(name, None) or getattr(base, name)
    layout: dict[str, Any] = {}
    for name, value in values.items():
        if not hasattr(base, name):
            raise TypeError(f"no such setting: {name}")
        if value is None or value == getattr(base, name):
            continue
        if name.startswith("layout_"):
            layout[name.removeprefix("layout_")] = value
        else:
            table[name] = value
    if layout:
        table["layout"] = layout
    return write(table)


_TOP = frozenset(
    [
        "version",
        "default_note_type",
        "id_scheme",
        "editor",
        "branch",
        "store_path",
        "rewrite_wiki_links",
        "stemming",
        "tag_aliases",
        "auto_index",
        "search",
        "ontology",
        "graph",
        "layout",
        "limits",
    ]
)
_LAYOUT = frozenset({"mocs", "note_path", "attachments"})
_LIMITS = frozenset({"note_bytes", "attachment_bytes", "words", "paragraphs"})
_SEARCH = frozenset({"recency_boost_numerator", "recency_boost", "recency_decay_days"})
_AUTO_INDEX = frozenset({"enabled", "strategy", "adaptive_threshold", "quick_notes"})
_LINK_TYPE = frozenset({"inverse", "description", "usage", "cost"})
_NOTE_TYPE = frozenset({"description", "usage"})
_TYPE_NAME = re.compile(r"[^\s\[\]{}|#,:\x00-\x1f]+(?: [^\s\[\]{}|#,:\x00-\x1f]+)*\Z")


class _Reader:
    """Takes known values out of a TOML document and says what is wrong with the rest."""

    def __init__(self, document: Document, path: str) -> None:
        self.document = document
        self.path = path
        self.findings: list[Finding] = []
        self.root = cast("dict[str, Any]", document.value)

    def config(self) -> NotesConfig:
        self._unknown((), self.root, _TOP)
        base = NotesConfig()
        version = self._get(("version",), base.version, _whole(0), "a whole number")
        if version > VERSION:
            self._add(
                CONFIG_NEWER,
                ("version",),
                f"config.toml has version {version}; this program knows {VERSION}",
                "install a newer Headwater, or check whether the settings mean what they did",
            )
        layout = self._table(("layout",), _LAYOUT)
        limits = self._table(("limits",), _LIMITS)
        self._table(("auto_index",), _AUTO_INDEX)
        note_type = self._get(("default_note_type",), base.default_note_type, _text, "text")
        return NotesConfig(
            version=version,
            default_note_type=note_type.strip().lower() or base.default_note_type,
            id_scheme=self._choice(("id_scheme",), base.id_scheme, ID_SCHEMES),
            editor=self._get(("editor",), None, _text, "text"),
            branch=self._get(("branch",), None, _text, "text"),
            store_path=self._get(("store_path",), None, _text, "text"),
            rewrite_wiki_links=self._get(("rewrite_wiki_links",), False, _flag, "true or false"),
            stemming=self._get(("stemming",), True, _flag, "true or false"),
            tag_aliases=self._tag_aliases(),
            layout_mocs=self._choice(("layout", "mocs"), base.layout_mocs, MOC_LAYOUTS, layout),
            layout_note_path=self._choice(("layout", "note_path"), base.layout_note_path, PATH_LAYOUTS, layout),
            layout_attachments=self._choice(("layout", "attachments"), base.layout_attachments, ATTACHMENT_LAYOUTS, layout),
            search=self._search(),
            ontology=self._ontology(),
            max_note_bytes=self._get(("limits", "note_bytes"), base.max_note_bytes, _whole(1024, 1 << 30), _SIZE, limits),
            max_attachment_bytes=self._get(
                ("limits", "attachment_bytes"), base.max_attachment_bytes, _whole(1, 1 << 62), "a number of bytes", limits
            ),
            max_words=self._get(("limits", "words"), base.max_words, _whole(1), "a whole number above 0", limits),
            max_paragraphs=self._get(("limits", "paragraphs"), base.max_paragraphs, _whole(1), "a whole number above 0", limits),
        )

    def _search(self) -> SearchConfig:
        table = self._table(("search",), _SEARCH)
        base = SearchConfig()
        name = "recency_boost_numerator" if "recency_boost_numerator" in table else "recency_boost"
        return SearchConfig(
            float(self._get(("search", name), base.recency_boost, _number(0), "a number from 0 up", table)),
            float(self._get(("search", "recency_decay_days"), base.recency_decay_days, _number(1e-6), "a number above 0", table)),
        )

    def _tag_aliases(self) -> dict[str, str]:
        aliases: dict[str, str] = {}
        table = self._table(("tag_aliases",), None)
        for name, value in table.items():
            if not isinstance(value, str) or not value.strip():
                self._add(CONFIG, ("tag_aliases", name), f"the tag alias {name!r} leads to no tag", "write the tag it stands for")
            elif value.strip() == name:
                self._add(TAG_ALIAS, ("tag_aliases", name), f"the tag alias {name!r} leads to itself", "remove it")
            elif value.strip() in table:
                self._add(
                    TAG_ALIAS,
                    ("tag_aliases", name),
                    f"the tag alias {name!r} leads to {value.strip()!r}, which is an alias itself",
                    "let it lead to the tag that is meant",
                )
                aliases[name] = value.strip()
            else:
                aliases[name] = value.strip()
        return aliases

    def _ontology(self) -> Ontology:
        table = self._table(("ontology",), frozenset({"mode", "note_types", "link_types"}))
        mode: Mode = self._choice(("ontology", "mode"), "default", MODES, table)
        notes = {
            name: NoteType(name, self._said(entry, at, "description"), self._said(entry, at, "usage"))
            for name, entry, at in self._types(("ontology", "note_types"), table, _NOTE_TYPE)
        }
        links = {
            name: self._link_type(name, entry, at)
            for name, entry, at in self._types(("ontology", "link_types"), table, _LINK_TYPE)
        }
        graph = self._table(("graph",), frozenset({"types"}))
        for name, entry, at in self._types(("graph", "types"), graph, _LINK_TYPE):
            self._add(
                CONFIG_DEPRECATED,
                at,
                f"the link type {name!r} is declared under [graph.types]",
                f"move it to [ontology.link_types.{name}]",
            )
            links.setdefault(name, self._link_type(name, entry, at))
        if mode != "default":
            for kind, declared in (("note_types", notes), ("link_types", links)):
                for name, one in declared.items():
                    if not one.usage and ("ontology", kind, name) in self.document.spans:
                        self._add(
                            GUIDANCE,
                            ("ontology", kind, name),
                            f"the type {name!r} does not say when to use it",
                            'add usage = "…"',
                        )
        return Ontology(mode, notes, links)

    def _link_type(self, name: str, entry: dict[str, Any], at: tuple[str, ...]) -> LinkType:
        built_in = BUILT_IN.get(name)
        inverse = self._said(entry, at, "inverse") or (built_in.inverse if built_in else None)
        cost = self._get((*at, "cost"), built_in.cost if built_in else 1.0, _number(0), "a number from 0 up", entry)
        return LinkType(name, inverse, self._said(entry, at, "description"), self._said(entry, at, "usage"), float(cost))

    def _types(
        self, at: tuple[str, ...], parent: Mapping[str, Any], known: frozenset[str]
    ) -> Iterable[tuple[str, dict[str, Any], tuple[str, ...]]]:
        table = parent.get(at[-1])
        if table is None:
            return
        if not isinstance(table, dict):
            self._wrong(at, "a table")
            return
        for name, entry in table.items():
            where = (*at, name)
            if not isinstance(entry, dict):
                self._wrong(where, "a table")
            elif not _TYPE_NAME.match(name):
                self._add(CONFIG, where, f"{name!r} cannot be the name of a type", "use letters, digits and hyphens")
            else:
                self._unknown(where, entry, known)
                yield name, entry, where

    def _said(self, entry: Mapping[str, Any], at: tuple[str, ...], name: str) -> str | None:
        return self._get((*at, name), None, _text, "text", entry)

    def _table(self, at: tuple[str, ...], known: frozenset[str] | None) -> dict[str, Any]:
        table = self.root.get(at[0])
        if table is None:
            return {}
        if not isinstance(table, dict):
            self._wrong(at, "a table")
            return {}
        if known is not None:
            self._unknown(at, table, known)
        return table

    def _unknown(self, at: tuple[str, ...], table: Mapping[str, Any], known: frozenset[str]) -> None:
        for name in table:
            if name not in known:
                near = get_close_matches(name, known, 1)
                shown = ".".join((*at, name))
                fix = f"did you mean {near[0]}?" if near else "remove it, if nothing else reads it"
                self._add(CONFIG_KEY, (*at, name), f"the setting {shown} means nothing here", fix)

    def _choice(self, at: tuple[str, ...], default: T, allowed: tuple[T, ...], table: Mapping[str, Any] | None = None) -> T:
        words = "one of " + ", ".join(map(str, allowed))
        return self._get(at, default, lambda value: value if value in allowed else None, words, table)

    def _get(
        self,
        at: tuple[str, ...],
        default: T,
        accept: Callable[[Any], Any],
        words: str,
        table: Mapping[str, Any] | None = None,
    ) -> T:
        value = (self.root if table is None else table).get(at[-1])
        if value is None:
            return default
        accepted = accept(value)
        if accepted is None:
            self._wrong(at, words)
            return default
        return cast("T", accepted)

    def _wrong(self, at: tuple[str, ...], words: str) -> None:
        try:
            value = json.dumps(self.document.get(at), ensure_ascii=False)
        except KeyError:
            value = None
        self._add(CONFIG, at, f"{'.'.join(at)} is not {words}; the default is used", f"write {words}", value)

    def _add(self, broken: Rule, at: tuple[str, ...], message: str, fix: str, value: str | None = None) -> None:
        line, column = self.document.key_position(at)
        self.findings.append(found(broken, self.path, message, line=line, column=column, fix=fix, value=value))


_SIZE = "a number of bytes from 1,024 to 1 GiB"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(least: int, most: int = 1 << 62) -> Callable[[Any], int | None]:
    def accept(value: Any) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None

    return accept


def _number(least: float) -> Callable[[Any], float | None]:
    def accept(value: Any) -> float | None:
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= least else None

    return accept


# -- Obsidian

APP, TEMPLATES_PLUGIN = ".obsidian/app.json", ".obsidian/templates.json"
OBSIDIAN_FILES = (APP, TEMPLATES_PLUGIN)
"""The files of a vault that `read_obsidian` reads; nothing of Obsidian's is ever written."""


@dataclass(frozen=True, slots=True)
class ObsidianSettings:
    """What applies here of the settings of a vault. Names as in `app.json`, defaults as in Obsidian 1.5."""

    ignore_prefixes: tuple[str, ...] = ()
    """`userIgnoreFilters` that are the beginning of a path."""
    ignore_patterns: tuple[re.Pattern[str], ...] = ()
    """`userIgnoreFilters` between slashes: expressions searched for in the path."""
    attachment_folder: str = "/"
    """Where new attachments go: `/` the vault, `./` the note's folder, `./x` a folder below it, else a folder of the vault."""
    new_file_location: Literal["root", "current", "folder"] = "root"
    new_file_folder: str = ""
    use_markdown_links: bool = False
    new_link_format: Literal["shortest", "relative", "absolute"] = "shortest"
    templates_folder: str | None = None
    findings: tuple[Finding, ...] = ()


_QUANTIFIED_GROUP = re.compile(r"\)[*+{?]")
_QUANTIFIER = re.compile(r"(?<!\\)[*+{]")


def read_obsidian(files: Mapping[str, bytes], prefix: str = "") -> ObsidianSettings:
    """The settings in the files of `OBSIDIAN_FILES` that there are; `prefix` is the vault's path, for findings.

    What cannot be read is a finding (`notes-obsidian-settings`) and the default applies.
    """
    findings: list[Finding] = []
    app = _json(files.get(APP), prefix + APP, findings)
    templates = _json(files.get(TEMPLATES_PLUGIN), prefix + TEMPLATES_PLUGIN, findings)
    prefixes, patterns = _ignores(app.get("userIgnoreFilters"), prefix + APP, findings)
    location = app.get("newFileLocation")
    link_format = app.get("newLinkFormat")
    return ObsidianSettings(
        ignore_prefixes=prefixes,
        ignore_patterns=patterns,
        attachment_folder=_text(app.get("attachmentFolderPath")) or "/",
        new_file_location=location if location in ("root", "current", "folder") else "root",
        new_file_folder=(_text(app.get("newFileFolderPath")) or "").strip("/"),
        use_markdown_links=app.get("useMarkdownLinks") is True,
        new_link_format=link_format if link_format in ("shortest", "relative", "absolute") else "shortest",
        templates_folder=(_text(templates.get("folder")) or "").strip("/") or None,
        findings=tuple(findings),
    )


def _json(data: bytes | None, path: str, findings: list[Finding]) -> dict[str, Any]:
    if not data:
        return {}
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    findings.append(
        found(OBSIDIAN, path, "the settings of Obsidian cannot be read; its defaults are used", fix="repair the file")
    )
    return {}


def _ignores(value: Any, path: str, findings: list[Finding]) -> tuple[tuple[str, ...], tuple[re.Pattern[str], ...]]:
    prefixes: list[str] = []
    patterns: list[re.Pattern[str]] = []
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, str) or not entry.strip("/"):
            continue
        if not (len(entry) > 2 and entry.startswith("/") and entry.endswith("/")):
            prefixes.append(entry.lstrip("/"))
            continue
        pattern = entry[1:-1]
        try:
            # A repeated group, or many repetitions, can take longer than anyone lives; no folder needs them.
            if _QUANTIFIED_GROUP.search(pattern) or len(_QUANTIFIER.findall(pattern)) > 3 or len(pattern) > 500:
                raise re.error("too costly")
            patterns.append(re.compile(pattern, re.IGNORECASE))
        except (re.error, OverflowError, RecursionError):
            message = "an expression of userIgnoreFilters cannot be used; nothing is left out by it"
            findings.append(found(OBSIDIAN, path, message, fix="name the folder instead, as in `Archive/`", value=entry))
    return tuple(prefixes), tuple(patterns)

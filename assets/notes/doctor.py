"""What is wrong with a notes store as a whole: ids two notes share, links that contradict each other or run in a circle, files
nobody links, names some platform cannot hold, derived files in git.

Findings of one file or of one link lie in the index already (`assets.notes.findings`); those here are asked of it by queries, and
of git. Nothing is stored: they follow from the whole store, so that every check asks again. Light: standard library only, what
reads files is imported when something was found.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.notes.circles import circles
from assets.notes.resolve import fold
from schemas.errors import HeadwaterError
from schemas.findings import Finding, Rule, found
from schemas.notes import rules
from schemas.notes.layout import ATTACHMENTS, DERIVED, Layout
from schemas.notes.linktypes import CONTRADICTIONS, ORDERED, Ontology
from schemas.paths import check_name, collisions, escaped

if TYPE_CHECKING:
    from resources.notes.store import NotesStore
    from schemas.notes.config import NotesConfig

CACHE_NAMES = ("index_meta", "metadata", "tags", "edges", "unresolved", "files", "id_to_path")
_CONFIG = "config.toml"
_SHOWN = 5
_MEDIA_NAMES = (
    "avif bmp csv docx flac gif heic jpeg jpg m4a mkv mov mp3 mp4 ogg opus pdf png pptx svg tif tiff wav webm webp xlsx"
)
_MEDIA = frozenset(_MEDIA_NAMES.split())
"""What counts as an attachment by its name where no folder is set aside for attachments."""


def store_findings(connection: Any, store: NotesStore) -> list[Finding]:
    """All findings about the store whose index is behind `connection`, with workspace-relative paths, sorted.

    Near-duplicates are not among them: only those who ask for them wait for them (`assets.notes.duplicates`).
    """
    return sorted(_Doctor(connection, store).all())


class _Doctor:
    """One look at one store. `say` takes the store's paths."""

    def __init__(self, connection: Any, store: NotesStore) -> None:
        self.connection = connection
        self.store = store
        self.layout = store.layout
        self.config: NotesConfig = store.config

    def all(self) -> Iterator[Finding]:
        yield from self.notes()
        yield from self.duplicate_ids()
        yield from self.compaction()
        yield from self.contradictions()
        yield from self.circles()
        yield from self.attachments()
        yield from self.names()
        yield from self.tag_aliases()
        yield from self.git()

    # single notes, as far as the settings decide

    def notes(self) -> Iterator[Finding]:
        config, written = self.config, self.layout is Layout.QIPU
        query = (
            "SELECT path, id, own_id, title_from, moc, words, paragraphs, outcome, "
            "EXISTS (SELECT 1 FROM edges WHERE source = number) AS links FROM notes WHERE outcome <> 'quarantined' AND "
            "(moc = 1 OR words > ? OR paragraphs > ? OR ?) ORDER BY path"
        )
        for path, own, has_id, title_from, moc, words, paragraphs, outcome, links in self.rows(
            query, config.max_words, config.max_paragraphs, written
        ):
            if words > config.max_words or paragraphs > config.max_paragraphs:
                size = f"{words:,} words in {paragraphs:,} paragraphs"
                yield self.say(rules.LONG, path, f"the note has {size}", "split it into notes of one idea each", line=1)
            if moc and not links:
                yield self.say(
                    rules.EMPTY_MOC, path, "this map of content links to no note", "link the notes it is about", line=1
                )
            if not written or outcome != "indexed":
                continue
            if not has_id:
                fix = "give it an id, so that links to it survive a move; --fix writes one"
                yield self.say(rules.MISSING_ID, path, "the note has no id", fix, line=1)
            elif not _is_named_by(path, own):
                yield self.say(
                    rules.FILE_NAME, path, f"the file is not named by the note's id {own!r}", "`headwater notes mv` renames it",
                    line=1,
                )  # fmt: skip
            if title_from != "frontmatter":
                fix = "give it a title; --fix writes its heading or the name of its file"
                yield self.say(rules.MISSING_TITLE, path, "the note's frontmatter has no title", fix, line=1)

    def duplicate_ids(self) -> Iterator[Finding]:
        sharing: dict[str, list[str]] = defaultdict(list)
        for own, path in self.rows(
            "SELECT id, path FROM notes WHERE own_id AND id IN "
            "(SELECT id FROM notes WHERE own_id GROUP BY id HAVING count(*) > 1) ORDER BY id, path"
        ):
            sharing[own].append(path)
        for own, paths in sharing.items():
            for path in paths:
                others = [self.store.workspace_path(other) for other in paths if other != path]
                line, column = self.place(path, "id")
                yield self.say(
                    rules.DUPLICATE_ID, path, f"the id {own!r} is also that of {_few(others)}",
                    "give one of them another id: `headwater notes doctor --fix` does, with the links that mean it",
                    line=line, column=column, value=own,
                )  # fmt: skip

    def compaction(self) -> Iterator[Finding]:
        """Digests: no note is digested twice, by itself, or by one that it digests."""
        digested: dict[str, list[str]] = {}
        path_of: dict[str, str] = {}
        for path, own, compacts in self.rows(
            "SELECT path, id, json_extract(meta, '$.compacts') FROM notes "
            "WHERE json_type(meta, '$.compacts') IN ('array', 'text') ORDER BY path"
        ):
            digested[own] = _texts(compacts)
            path_of.setdefault(own, path)

        def wrong(own: str, message: str, fix: str, value: str) -> Finding:
            line, column = self.place(path_of[own], "compacts")
            return self.say(rules.COMPACTION, path_of[own], message, fix, line=line, column=column, value=value)

        by: dict[str, list[str]] = defaultdict(list)
        for own, sources in digested.items():
            for source in dict.fromkeys(sources):
                if source == own:
                    yield wrong(own, "the note says that it digests itself", "take its own id out of compacts", source)
                else:
                    by[source].append(own)
        for source, digests in sorted(by.items()):
            for own in digests[1:]:
                first = self.store.workspace_path(path_of[digests[0]])
                yield wrong(own, f"{source!r} is digested by {first} already", "leave it to one of them", source)
        for around in circles({own: [one for one in sources if one != own] for own, sources in digested.items()}):
            path = " → ".join([*around, around[0]])
            yield wrong(around[0], f"digests run in a circle: {path}", "take one of them out of compacts", around[1])

    # links

    def contradictions(self) -> Iterator[Finding]:
        wanted = {name for pair in CONTRADICTIONS for name in pair}
        types: dict[tuple[int, int], dict[str, tuple[int, int, str]]] = defaultdict(dict)
        for source, target, written, name, _ in self.edges(wanted):
            types[min(source, target), max(source, target)].setdefault(name, (source, target, written))
        for held in types.values():
            for pair in CONTRADICTIONS:
                if pair <= held.keys():
                    first, second = sorted(pair)
                    source, target, written = held[second]
                    path, line, column, _ = self.mention(source, target, written)
                    other = self.store.workspace_path(self.path(target))
                    yield self.say(
                        rules.CONTRADICTION, path, f"{other} is linked by {second!r} here and by {first!r} elsewhere",
                        "keep the one that holds", line=line, column=column, value=written,
                    )  # fmt: skip

    def circles(self) -> Iterator[Finding]:
        following: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        written_as: dict[tuple[str, str, str], tuple[int, int, str]] = {}
        for source, target, written, name, turned in self.edges(ORDERED):
            one, other = self.path(source), self.path(target)
            if source == target:
                continue
            if turned:
                one, other = other, one
            following[name][one].append(other)
            written_as.setdefault((name, one, other), (source, target, written))
        for name, graph in sorted(following.items()):
            for around in circles(graph):
                source, target, written = written_as[name, around[0], around[1]]
                path, line, column, _ = self.mention(source, target, written)
                shown = [*around, around[0]] if len(around) <= _SHOWN else [*around[:_SHOWN], "…", around[0]]
                yield self.say(
                    rules.CYCLE, path, f"{name!r} runs in a circle: {' → '.join(shown)}",
                    "drop the link that turns the order around",
                    line=line, column=column, value=written,
                )  # fmt: skip

    def edges(self, wanted: Collection[str]) -> Iterator[tuple[int, int, str, str, bool]]:
        """(source, target, type as written, one of `wanted`, whether that is the written type's inverse) of typed edges."""
        ontology: Ontology = self.config.ontology
        for (written,) in self.rows("SELECT DISTINCT type FROM edges ORDER BY type"):
            turned = written not in wanted
            name = ontology.inverse(written) if turned else written
            if name in wanted:
                for source, target in self.rows(
                    "SELECT source, target FROM edges JOIN notes ON number = source WHERE edges.type = ? ORDER BY path, target",
                    written,
                ):
                    yield source, target, written, name, turned

    def path(self, number: int) -> str:
        return self._paths[number]

    @cached_property
    def _paths(self) -> dict[int, str]:
        return dict(self.rows("SELECT number, path FROM notes"))

    def mention(self, source: int, target: int, written: str) -> tuple[str, int, int, str]:
        """(path, line, column, spelling) of the first link that makes an edge."""
        row = self.connection.execute(
            "SELECT line, col, target FROM mentions WHERE note = ? AND target_note = ? AND type = ? ORDER BY position LIMIT 1",
            (source, target, written),
        ).fetchone()
        line, column, spelling = row
        return self.path(source), line, column, spelling

    # files

    def attachments(self) -> Iterator[Finding]:
        limit = self.config.max_attachment_bytes
        for path, size, linked in self.rows(
            "SELECT path, size, EXISTS (SELECT 1 FROM mentions WHERE state = 'attachment' AND target_path = attachments.path) "
            "FROM attachments ORDER BY path"
        ):
            if size > limit:
                message = f"the file has {size / (1 << 20):,.1f} MiB, the cap is {limit / (1 << 20):,.1f}"
                yield self.say(
                    rules.LARGE_ATTACHMENT,
                    path,
                    message,
                    "keep it elsewhere, or raise the cap in config.toml",
                )
            if not linked and self.is_set_aside(path):
                yield self.say(rules.ORPHANED_ATTACHMENT, path, "no note links this file", "link it, or delete it")

    def is_set_aside(self, path: str) -> bool:
        """Whether a file lies there only to be linked: in the folder for attachments, else a picture, a document or the like."""
        if self.layout is Layout.QIPU:
            return path.startswith(f"{ATTACHMENTS}/")
        return path.rpartition(".")[2].casefold() in _MEDIA

    def names(self) -> Iterator[Finding]:
        paths = [path for (path,) in self.rows("SELECT path FROM notes UNION ALL SELECT path FROM attachments ORDER BY 1")]
        checked: dict[str, str | None] = {}
        for path in paths:
            for part in path.split("/"):
                if part not in checked:
                    checked[part] = _name_problem(part)
                    if checked[part] is not None:
                        yield self.say(
                            rules.PORTABLE_NAME, path, str(checked[part]), "`headwater notes mv` renames it with all links"
                        )
        for group in collisions(paths):
            message = f"is one file with {', '.join(map(repr, group[1:]))} on some computers"
            yield self.say(rules.COLLIDING, group[0], message, "rename one of them: `headwater notes mv`")

    # settings

    def tag_aliases(self) -> Iterator[Finding]:
        aliases: Mapping[str, str] = self.config.tag_aliases
        if not aliases:
            return
        used = {folded for (folded,) in self.rows("SELECT DISTINCT folded FROM tags")}
        for alias, canonical in sorted(aliases.items()):
            if fold(canonical) not in used and fold(alias) not in used:
                line, column = self.setting(("tag_aliases", alias))
                message = f"no note has the tag {canonical!r} that {alias!r} stands for, nor {alias!r} itself"
                yield self.say(
                    rules.TAG_ALIAS, _CONFIG, message, "remove the alias, or use the tag", line=line, column=column, value=alias,
                )  # fmt: skip

    def setting(self, key: tuple[str, ...]) -> tuple[int | None, int | None]:
        """Where a key of `config.toml` stands."""
        from schemas.toml_text import read

        try:
            return read(self.store.read(_CONFIG), _CONFIG).key_position(key)
        except (HeadwaterError, OSError):
            return None, None

    # git

    def git(self) -> Iterator[Finding]:
        """Derived files that git tracks, and notes that it ignores in a store which it does not ignore altogether."""
        local = self.store.storage.local_root
        if local is None:
            return
        from resources.git import Git, GitError, top_level

        folder = (local / self.store.root).resolve()
        top = top_level(folder)
        if top is None:
            return
        prefix = _below(top.resolve(), folder)
        git = Git(top)
        derived = [*DERIVED, *(f".cache/{name}.json" for name in CACHE_NAMES)] if self.layout is Layout.QIPU else []
        notes = [path for (path,) in self.rows("SELECT path FROM notes ORDER BY path")]
        try:
            tracked = git.tracked(prefix + path for path in derived)
            # A store that is ignored as a whole is kept out of git on purpose.
            hidden = bool(prefix) and bool(git.ignored([prefix]))
            ignored = set() if hidden else git.ignored(prefix + path for path in notes)
        except GitError:
            return  # Not every checkout lets itself be asked; nothing is wrong with the notes then.
        for path in derived:
            if prefix + path in tracked:
                yield self.say(
                    rules.DERIVED_COMMITTED, path, "git tracks this derived file, so that it conflicts at every merge",
                    f"git rm --cached {self.store.workspace_path(path)}; --fix has .gitignore name it",
                )  # fmt: skip
        for path in notes:
            if prefix + path in ignored:
                yield self.say(
                    rules.IGNORED, path, "git ignores this note, so that it reaches nobody else",
                    "correct .gitignore (`git check-ignore -v` names the line), or exclude the file from the store",
                )  # fmt: skip

    # helpers

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(query, values)]

    def say(
        self, rule: Rule, path: str, message: str, fix: str, *, line: int | None = None, column: int | None = None,
        value: str | None = None,
    ) -> Finding:  # fmt: skip
        return found(rule, self.store.workspace_path(path), message, line=line, column=column, fix=fix, value=value)

    def place(self, path: str, key: str) -> tuple[int | None, int | None]:
        """(line, column) of a key of a note's frontmatter; (1, None) where it cannot be found."""
        try:
            data = self.store.read(path)
        except (OSError, HeadwaterError):
            return None, None
        for number, line in enumerate(data[: 1 << 16].splitlines(), 1):
            if line.startswith(key.encode() + b":"):
                return number, 1
        return 1, None


def _is_named_by(path: str, own: str) -> bool:
    name = path.rpartition("/")[2].rpartition(".")[0]
    return name == own or name.startswith(f"{own}-")


def _name_problem(name: str) -> str | None:
    try:
        check_name(name)
    except HeadwaterError as error:
        return escaped(error.message)
    return None


def _texts(value: str) -> list[str]:
    """The texts of a key that holds one or a list of them, as SQLite hands JSON out."""
    if not value.startswith("["):
        return [value]
    try:
        entries = json.loads(value)
    except ValueError:
        return [value]
    return [one for one in entries if isinstance(one, str)]


def _few(paths: list[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")


def _below(top: Path, folder: Path) -> str:
    relative = folder.relative_to(top).as_posix() if folder.is_relative_to(top) else "."
    return "" if relative == "." else f"{relative}/"

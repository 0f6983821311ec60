"""Rewriting links when notes or attachments get another path, id or title: in every note that links to them, and in themselves.

Links are read from the files, where they lead is asked of the index, and every note that was rewritten is read again and
compared with what it had to become before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from resources.notes.changes import Draft
from resources.notes.linking import Linker
from resources.notes.spelling import Situation, Target, fold, relative_after, respelled, stem
from schemas.errors import HeadwaterError
from schemas.notes.edit import rewrite_targets
from schemas.notes.model import Mention, MentionKind, ParsedNote


@dataclass(frozen=True, slots=True)
class Moved:
    """What a note or attachment was called, and what it is called now."""

    old: Target
    new: Target


def relink(draft: Draft, linker: Linker, moves: Collection[Moved], *, folder: tuple[str, str] | None = None) -> int:
    """Rewrite in `draft`, each in its present place, all links that `moves` makes wrong; returns how many.

    The files themselves are not moved. `folder` is (old, new) of a whole folder that moves, for links to what is missing in it.
    Raises HeadwaterError (rule `link-spelling`) for a link that cannot be spelled.
    """

    def gone(path: str) -> str:
        return folder[1] + path[len(folder[0]) :] if folder is not None and path.startswith(f"{folder[0]}/") else path

    by_path = {move.old.path: move for move in moves}
    shadowed = _shadowed(draft, linker, moves, by_path)
    targets = {**by_path, **shadowed}
    sources = {path for path in by_path if draft.store.is_note(path) and by_path[path].new.path != path}
    for path in targets:
        sources.update(linker.inbound(path))
    count = 0
    others = _others(linker, targets)
    for source in sorted(sources):
        if draft.exists(source):
            after = by_path[source].new.path if source in by_path else source
            count += _rewrite(draft, linker, (source, after), targets, others, gone)
    return count


def relocate(draft: Draft, moves: Iterable[Moved]) -> None:
    """Move the files of `moves` in `draft`, with whatever it has made of them."""
    places = [(move.old.path, move.new.path) for move in moves if move.old.path != move.new.path]
    contents = [draft.read(old) for old, _ in places]
    for old, _ in places:
        draft.remove(old)
    for (_, new), data in zip(places, contents, strict=True):
        draft.write(new, data)


def _rewrite(
    draft: Draft,
    linker: Linker,
    paths: tuple[str, str],
    targets: Mapping[str, Moved],
    others: Callable[[Moved], Callable[[str], bool]],
    gone: Callable[[str], str],
) -> int:
    source, after = paths
    data = draft.read(source)
    note = draft.store.parse_bytes(data, source)
    edits: list[tuple[int, int, str]] = []
    expected: list[str | None] = []
    for mention in note.mentions:
        expected.append(None)
        if mention.kind is MentionKind.URL or not mention.target:
            continue
        raw = data[mention.target_start : mention.target_stop].decode("utf-8", "surrogateescape")
        bracketed = data[mention.target_start - 1 : mention.target_start] == b"<" and mention.kind in _MARKDOWN
        lead = linker.resolve(source, mention)
        if lead is None:
            if after == source or mention.kind not in _MARKDOWN:
                continue
            wanted = relative_after(raw, mention.target, source, after, bracketed=bracketed, gone=gone)
        else:
            move = targets.get(lead)
            if move is None and after == source:
                continue
            move = move or Moved(Target(lead), Target(lead))
            wanted = respelled(Situation(mention, raw, bracketed, source, after, move.old, move.new, others(move)))
        if wanted is not None:
            edits.append((mention.target_start, mention.target_stop, wanted))
            expected[-1] = wanted
    if not edits:
        return 0
    made = rewrite_targets(data, edits)
    _verify(draft.store.parse_bytes(made, source), note, expected, made)
    draft.write(source, made)
    return len(set(edits))


def _verify(after: ParsedNote, before: ParsedNote, expected: list[str | None], data: bytes) -> None:
    """Raise HeadwaterError unless `after` has the links of `before`, those that were rewritten with their new targets."""
    agree = len(after.mentions) == len(before.mentions) and all(
        new.kind is old.kind and new.label == old.label and _as_expected(new, old, wanted, data)
        for new, old, wanted in zip(after.mentions, before.mentions, expected, strict=True)
    )
    if not agree:
        raise HeadwaterError(
            "its links cannot be rewritten without changing something else",
            rule="link-spelling",
            path=before.path,
            fix="rename by hand, or use names without quotes and brackets",
        )


def _as_expected(new: Mention, old: Mention, wanted: str | None, data: bytes) -> bool:
    if wanted is None:
        return new.target == old.target and new.anchor == old.anchor
    return data[new.target_start : new.target_stop].decode("utf-8", "replace") == wanted and new.anchor == old.anchor


def _others(linker: Linker, targets: Mapping[str, Moved]) -> Callable[[Moved], Callable[[str], bool]]:
    """For a target, whether a name could mean something else once everything has moved."""
    gone = {path for path, move in targets.items() if move.new.path != path}
    known: dict[str, frozenset[str]] = {}
    fresh: dict[str, set[str]] = {}
    for move in targets.values():
        for called in (stem(move.new.path), move.new.title or "", move.new.id or ""):
            fresh.setdefault(fold(called), set()).add(move.new.path)

    def named(name: str) -> frozenset[str]:
        if name not in known:
            known[name] = frozenset((set(linker.named(name)) - gone) | fresh.get(fold(stem(name)), set()))
        return known[name]

    return lambda move: lambda name: bool(named(name) - {move.new.path})


def _shadowed(draft: Draft, linker: Linker, moves: Collection[Moved], by_path: Mapping[str, Moved]) -> dict[str, Moved]:
    """Notes that stay where they are, but share a name that something gets: links by that name need a longer one."""
    found: dict[str, Moved] = {}
    for move in moves:
        fresh = {stem(move.new.path), move.new.title or ""} - {stem(move.old.path), move.old.title or ""}
        if move.new.path != move.old.path:
            fresh.add(stem(move.new.path))
        for name in fresh - {""}:
            for path in linker.named(name):
                if path not in by_path and draft.exists(path):
                    target = target_of(draft.store.parse_bytes(draft.original(path), path))
                    found[path] = Moved(target, target)
    return found


def target_of(note: ParsedNote) -> Target:
    """A note as links may name it."""
    return Target(note.path, note.id, note.title)


_MARKDOWN = frozenset({MentionKind.MARKDOWN, MentionKind.IMAGE})

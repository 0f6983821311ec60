"""Clean: delete artifacts that are ours and unchanged; everything else is named and kept.

Never a source, never a file git tracks or somebody versions, never one that was edited. The records stay, so that `explain`
still knows what was built, but for a store that is gone: there they go with the last of its files.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from assets.engine.build import Builder
from assets.engine.model import Ownership, Ref, Store
from assets.engine.ownership import classify, may_clean
from assets.engine.places import Key, Spot
from assets.engine.protected import protected
from assets.engine.provenance import Provenance
from assets.engine.recipe import Recipe
from resources.problems import problem_of
from schemas.errors import Conflict, HeadwaterError


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One path: deleted (or, dry, to be deleted) when `reason` is None, else kept for that reason."""

    ref: Ref
    path: str
    reason: str | None = None


def clean(builder: Builder, refs: Sequence[Ref], *, dry_run: bool = False) -> Iterator[Cleaned]:
    """Delete the outputs of the given artifacts, readers before their inputs."""
    for ref in reversed(refs):
        node = builder.observer.graph.node(ref)
        record = builder.records.read(ref)
        if dry_run:
            yield from _clean_one(builder, node.store, node.recipe, ref, record, dry_run=True)
            continue
        with builder.lock(ref):
            yield from list(_clean_one(builder, node.store, node.recipe, ref, builder.records.read(ref), dry_run=False))
        builder.observer.forget_artifact(ref)


def clean_vanished(builder: Builder, select: Sequence[str], *, dry_run: bool = False) -> Iterator[Cleaned]:
    """Delete what was built from stores that are gone, and forget them; `select` are globs over `kind/store/artifact`."""
    gone = {(store.kind, store.name): store for store in builder.observer.discovered.stores if not store.present}
    for record in builder.records.all() if gone else ():
        ref = record.ref
        store = gone.get((ref.kind, ref.store))
        if store is None or not _selected(ref, select):
            continue
        recipe = next((made for made in builder.observer.kinds[ref.kind].recipes if made.name == ref.name), None)
        if recipe is not None and record.outputs:
            # How a store that is gone was laid out only its record knows.
            recipe = recipe.placed(record.outputs[0].place)
        if dry_run:
            yield from _clean_one(builder, store, recipe, ref, record, dry_run=True)
            continue
        with builder.lock(ref):
            # The folder may have come back and been built while we waited.
            cleaned = list(_clean_one(builder, store, recipe, ref, builder.records.read(ref), dry_run=False))
            if all(one.reason is None for one in cleaned):
                builder.records.delete(ref)
        yield from cleaned


def _selected(ref: Ref, select: Sequence[str]) -> bool:
    names = (str(ref), f"{ref.kind}/{ref.store}", ref.kind)
    return not select or any(fnmatch.fnmatchcase(name, pattern.strip("+/")) for name in names for pattern in select)


def _clean_one(
    builder: Builder, store: Store, recipe: Recipe | None, ref: Ref, record: Provenance | None, *, dry_run: bool
) -> Iterator[Cleaned]:
    if recipe is None:
        return
    if builder.workspace.root.local_root is None:
        if record is not None:
            # Without its pointer an object belongs to nothing, and the next gc of the cache deletes it.
            for output in recipe.outputs:
                yield Cleaned(ref, builder.places.spot(store, (output.place, output.path)).shown)
            if not dry_run:
                builder.records.delete(ref)
        return
    if recipe.items is not None and not recipe.item_files:
        present = builder.places.present_manifest(store, ref, recipe, record)
    else:
        present = builder.places.present(store, recipe, builder.observer.expanded(recipe, record))
    record = builder.observer.expanded(recipe, record)
    whose = classify(present, record, None)
    spots = {key: builder.places.spot(store, key) for key in present}
    tracked = _tracked(builder, spots)
    observer = builder.observer
    versioned = protected(builder.workspace, observer.kinds, observer.discovered.stores, spots.values())
    for backup in record.backups if record is not None else ():
        spot = builder.places.spot(store, backup.key)
        with suppress(FileNotFoundError):
            if builder.places.digest(spot) == backup.oid:
                spots[backup.key], whose[backup.key] = spot, Ownership.OURS
    for key, spot in sorted(spots.items()):
        reason = _reason(whose[key], tracked=spot.shown in tracked, versioned=spot.path in versioned)
        if reason is None and not dry_run:
            reason = _delete(builder, recipe, spot, key, record)
        yield Cleaned(ref, spot.shown, reason)
    if not dry_run:
        _remove_empty(builder, store, recipe)


def _remove_empty(builder: Builder, store: Store, recipe: Recipe) -> None:
    """Remove the folders that held nothing but outputs."""
    for output in recipe.outputs:
        spot = builder.places.spot(store, (output.place, output.path if output.folder else output.path.rpartition("/")[0]))
        if output.folder:
            builder.places.prune(spot)
        elif "/" in output.path and spot.local is not None and not spot.local.is_symlink():
            with suppress(OSError):
                spot.local.rmdir()


def _reason(ownership: Ownership, *, tracked: bool, versioned: bool) -> str | None:
    if tracked:
        return "git tracks it"
    if versioned:
        return "it is versioned data"
    if may_clean(ownership):
        return None
    return "it was edited since it was built" if ownership is Ownership.EDITED else "Headwater did not write it"


def _tracked(builder: Builder, spots: dict[Key, Spot]) -> set[str]:
    """The shown paths of the spots that git tracks."""
    workspace = builder.workspace
    if workspace.git is None or workspace.root.local_root is None or not spots:
        return set()
    above = workspace.root.local_root.relative_to(workspace.git.root).as_posix()
    prefix = "" if above == "." else f"{above}/"
    found = workspace.git.tracked(prefix + spot.shown for spot in spots.values())
    return {path[len(prefix) :] for path in found}


def _delete(builder: Builder, recipe: Recipe, spot: Spot, key: Key, record: Provenance | None) -> str | None:
    """Delete one file if it still is what the record lists; a reason when it was kept after all."""
    local = spot.local
    expected = record.output_oids().get(key) if record is not None else None
    try:
        if recipe.before_replace is not None and local is not None and any(output.path == key[1] for output in recipe.outputs):
            recipe.before_replace.load()(local)
        spot.storage.delete(spot.path, expect=expected)
    except Conflict:
        return "it was changed meanwhile"
    except OSError as error:
        return problem_of(error).message
    except HeadwaterError as error:
        return error.message
    return None

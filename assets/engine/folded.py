"""Folded artifacts: a build that is given its own previous, verified output and what changed since.

Decides whether folding is possible and what changed; that the result equals a build from nothing is the recipe's promise, held
by property tests and by `verify`, which never folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assets.engine.places import Places
from assets.engine.standing import Observer, Standing
from assets.engine.view import InputFile
from schemas.globs import matcher
from schemas.oid import file_oid


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed in one role since the previous output was made, each sorted by path (an item's key for an item artifact).

    `edited` pairs hold the old oid first.
    """

    added: tuple[InputFile, ...] = ()
    removed: tuple[InputFile, ...] = ()
    edited: tuple[tuple[str, InputFile], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited)


def delta_between(before: list[tuple[str, str, int]], now: tuple[tuple[str, str, int], ...]) -> Delta:
    """The delta from one set of (path, oid, size) entries to another."""
    old = {entry[0]: entry for entry in before}
    new = {entry[0]: entry for entry in now}
    return Delta(
        tuple(InputFile(*new[path]) for path in sorted(new.keys() - old.keys())),
        tuple(InputFile(*old[path]) for path in sorted(old.keys() - new.keys())),
        tuple((old[path][1], InputFile(*new[path])) for path in sorted(old.keys() & new.keys()) if old[path][1] != new[path][1]),
    )


def deltas(observer: Observer, standing: Standing) -> dict[str, Delta] | None:
    """Role -> delta since the last build; None when the artifact must be built from nothing.

    That is so when it was never built or its output is not intact, when its recipe, parameters or libraries changed, and when
    what a role held before is not known file by file.
    """
    record = standing.record
    recipe = standing.node.recipe
    if recipe.fold is None or record is None or not standing.intact or record.code_version != standing.code_version:
        return None
    if record.recipe_version != recipe.version or record.inputs.keys() != standing.roles.keys():
        return None
    found: dict[str, Delta] = {}
    for declared in recipe.inputs:
        held, before = standing.roles[declared.role], record.inputs[declared.role]
        if before.digest == held.digest:
            found[declared.role] = Delta()
            continue
        if before.root is None or held.root is None:
            return None
        old = observer.records.read_manifest(before.root)
        if old is None:
            return None
        if declared.only:
            test = matcher(declared.only)
            old = [entry for entry in old if test(entry[0])]
        found[declared.role] = delta_between(old, held.files)
    return found


def previous_copy(places: Places, standing: Standing, folder: Path) -> Path | None:
    """A verified copy of the previous outputs below `folder`, for the fold to change as it likes; None when one is damaged."""
    assert standing.record is not None
    folder.mkdir(parents=True, exist_ok=True)
    for output in standing.record.outputs:
        target = folder / output.path
        places.fetch(standing.node.store, output, target)
        if file_oid(target) != output.oid:
            return None
    return folder

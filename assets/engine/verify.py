"""Verify and adopt: rebuild an artifact in scratch and compare it, by its reproducibility class, with what lies there.

`verify` says whether they are equal; `adopt` takes files that are equal as ours without touching them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from assets.engine.build import Builder
from assets.engine.make import Made
from assets.engine.model import Outcome, Policy, Progress, Ref, Result
from assets.engine.places import Key
from assets.engine.provenance import OutputFile
from assets.engine.recipe import Reproducibility
from assets.engine.standing import Standing
from resources.problems import problem_of
from schemas.errors import HeadwaterError, InputChanged, InvalidText, Refused

_SHOWN = 20


class Verified(StrEnum):
    """What a verification found, in one word."""

    EQUAL = "equal"
    DIFFERS = "differs"
    MISSING = "missing"
    """It was never built, or nothing of it lies there."""
    STALE = "stale"
    """Its text or recipe has changed since it was built, so there is nothing to compare with."""
    FAILED = "failed"
    """It cannot be built again."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a rebuild in scratch came to. `ok` when nothing differs past what the artifact's class allows; `differences` are
    short sentences; `seconds` is wall time."""

    ref: Ref
    result: Verified
    differences: tuple[str, ...]
    reproducibility: Reproducibility
    seconds: float

    @property
    def ok(self) -> bool:
        return self.result is Verified.EQUAL

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": str(self.ref),
            "ok": self.ok,
            "result": str(self.result),
            "differences": list(self.differences),
            "reproducibility": str(self.reproducibility),
            "seconds": round(self.seconds, 3),
        }


def verify(builder: Builder, ref: Ref, progress: Progress) -> Verification:
    """Rebuild the artifact in scratch and compare. Never raises for what is wrong with it: that is a difference."""
    started = time.perf_counter()
    standing = builder.observer.full_standing(ref)
    try:
        result, differences = _differences(builder, standing, progress)
    except InputChanged as error:
        result, differences = Verified.FAILED, [str(error)]
    except OSError as error:
        result, differences = Verified.FAILED, [f"it cannot be built: {problem_of(error)}".partition("\n")[0]]
    except HeadwaterError as error:
        result, differences = Verified.FAILED, [f"it cannot be built: {error.message}"]
    recipe = standing.node.recipe
    seconds = time.perf_counter() - started
    return Verification(ref, result, tuple(differences), recipe.reproducibility, seconds)


def _differences(builder: Builder, standing: Standing, progress: Progress) -> tuple[Verified, list[str]]:
    if standing.record is None and not standing.present:
        return Verified.MISSING, ["it was not built yet"]
    if not standing.present:
        return Verified.MISSING, ["its output is missing"]
    if standing.record is None:
        return Verified.DIFFERS, ["there is no record of how it was built"]
    # The stat cache is only a hint: bytes that rotted in place have kept their times.
    rotten = _rotten(builder, standing)
    if rotten:
        return Verified.DIFFERS, rotten
    if not standing.fresh or standing.fingerprint is None:
        return Verified.STALE, [f"it is not up to date: {'; '.join(builder.observer.state(standing.node.ref).reasons)}"]
    differences = builder.cache.rotten(standing.fingerprint)
    with builder.maker.scratch(standing.node.ref) as folder:
        made = builder.maker.run(standing, progress, folder)
        differences += compare(builder, standing, made)
    return (Verified.DIFFERS if differences else Verified.EQUAL), differences


def _rotten(builder: Builder, standing: Standing) -> list[str]:
    assert standing.record is not None
    found = []
    for output in standing.record.outputs:
        shown = builder.places.spot(standing.node.store, output.key).shown
        try:
            if builder.places.rehash(standing.node.store, output) != output.oid:
                found.append(f"{shown} does not hold what was built")
        except FileNotFoundError:
            found.append(f"{shown} is missing")
    return found[:_SHOWN]


def compare(builder: Builder, standing: Standing, made: Made) -> list[str]:
    """How the files that lie there differ from those made, past what the artifact's class allows."""
    recipe, store = standing.node.recipe, standing.node.store
    here = {key: present.oid for key, present in standing.present.items()}
    fresh = made.oids()
    if here == fresh:
        return []
    lost = [f"{builder.places.spot(store, key).shown} is missing" for key in sorted(fresh.keys() - here.keys())]
    extra = [f"{builder.places.spot(store, key).shown} is not part of it" for key in sorted(here.keys() - fresh.keys())]
    if lost or extra:
        return (lost + extra)[:_SHOWN]
    changed = sorted(key for key in fresh if here[key] != fresh[key])
    if recipe.reproducibility is Reproducibility.CLOSE and recipe.compare is not None:
        return _close(builder, standing, made)
    return [
        f"{builder.places.spot(store, key).shown} differs from what is built now"
        for key in changed
        if not _says_the_same(builder, standing, made, key)
    ][:_SHOWN]


def _says_the_same(builder: Builder, standing: Standing, made: Made, key: Key) -> bool:
    """Whether a file of other bytes has equal content, where the recipe can tell."""
    recipe = standing.node.recipe
    local = builder.places.spot(standing.node.store, key).local
    if recipe.content is None or local is None:
        record = standing.record
        return (
            recipe.reproducibility is Reproducibility.DUMP_EQUAL
            and record is not None
            and standing.intact
            and record.output_digest == made.output_digest
        )
    content = recipe.content.load()
    try:
        return bool(content(local) == content(made.folder / "outputs" / key[1]))
    except Exception:
        # What cannot be read as this format is different, whatever the reason.
        return False


def _close(builder: Builder, standing: Standing, made: Made) -> list[str]:
    """The differences past the declared tolerance, as the recipe finds them between two folders of outputs."""
    recipe = standing.node.recipe
    assert recipe.compare is not None
    with builder.maker.scratch(standing.node.ref) as folder:
        for key, here in standing.present.items():
            builder.places.fetch(standing.node.store, OutputFile(*key, here.oid, here.size), folder / key[1])
        found: Sequence[str] = recipe.compare.load()(folder, made.folder / "outputs")
        return list(found)[:_SHOWN]


def adopt(builder: Builder, ref: Ref, progress: Progress, sample: int | None = None) -> Outcome:
    """Accept the files that lie where the artifact belongs, after proving that they are what would be built.

    Of a set of items `sample` are built to compare, chosen by their keys alone, instead of all. Touches no file. The outcome is
    refused when they differ, blocked when nothing lies there or the inputs are not there.
    """
    started = time.perf_counter()
    try:
        with builder.lock(ref):
            builder.observer.forget_artifact(ref)
            outcome = _adopt(builder, ref, progress, sample)
        builder.observer.forget_artifact(ref)
    except InvalidText as error:
        outcome = Outcome(ref, Result.BLOCKED, error=error, reasons=(error.message,))
    except OSError as error:
        problem = problem_of(error)
        outcome = Outcome(ref, Result.FAILED, error=problem, reasons=(problem.message,))
    except Exception as error:
        outcome = Outcome(ref, Result.FAILED, error=error, reasons=(str(error).partition("\n")[0],))
    outcome.seconds = time.perf_counter() - started
    return outcome


def _adopt(builder: Builder, ref: Ref, progress: Progress, sample: int | None) -> Outcome:
    standing = builder.observer.full_standing(ref)
    if standing.fresh:
        return builder.fresh(standing)
    if not standing.present:
        return Outcome(ref, Result.BLOCKED, reasons=("nothing lies where it would be built",))
    if standing.fingerprint is None or standing.stale_upstream:
        trouble = standing.trouble or f"its input {', '.join(str(other) for other in standing.stale_upstream)} is not up to date"
        return Outcome(ref, Result.BLOCKED, reasons=(f"{trouble}; build or adopt that first",))
    builder.checks.refuse_blocking(standing)
    with builder.maker.scratch(ref) as folder:
        if standing.node.recipe.item_files:
            return _adopt_items(builder, standing, standing.fingerprint, progress, folder, sample)
        made = builder.maker.make(standing, standing.fingerprint, Policy(), progress, folder)
        differences = compare(builder, standing, made)
        if differences:
            return _not_adopted(ref, differences)
        return replace(builder.keep_present(standing, standing.fingerprint, made), result=Result.ADOPTED)


def _not_adopted(ref: Ref, differences: list[str]) -> Outcome:
    error = Refused(
        f"what lies there is not what would be built: {differences[0]}",
        rule="adopt-differs",
        fix=f"build it instead: `headwater build {ref.word}`",
    )
    return Outcome(ref, Result.REFUSED, reasons=tuple(differences), error=error)


def _adopt_items(
    builder: Builder, standing: Standing, fingerprint: str, progress: Progress, folder: Path, sample: int | None
) -> Outcome:
    """Adopt the files of a set: those sampled are proven, the others are taken as they are; only the manifest is written."""
    build, close = builder.maker.item_build(standing, progress, folder)
    declared = standing.node.recipe.outputs[0]
    try:
        differences = build.adopt(
            {
                key[1].removeprefix(f"{declared.path}/"): (here.oid, here.size, builder.places.spot(standing.node.store, key))
                for key, here in standing.present.items()
                if not here.obstacle
            },
            sample,
        )
        if differences:
            return _not_adopted(standing.node.ref, differences[:_SHOWN])
        made = builder.maker.finish_items(standing, build, progress, folder)
    finally:
        close()
    outcome = builder.place(standing, fingerprint, made, Policy(), progress)
    return replace(outcome, result=Result.ADOPTED)

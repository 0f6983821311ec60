"""Explain: for one artifact, the text files and versions it came from, and why it is or is not up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from assets.engine.build import Builder
from assets.engine.model import Ref, State
from assets.engine.standing import Standing
from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True)
class InputExplanation:
    """One role: where it comes from, its digest now and when the artifact was last built, its files now, and the files
    (path, `added`, `removed` or `edited`) that changed since; `changes` is None where the old manifest is gone."""

    role: str
    ref: Ref | None
    digest: str
    built_from: str | None
    files: tuple[tuple[str, str, int], ...]
    changes: tuple[tuple[str, str], ...] | None

    @property
    def changed(self) -> bool:
        return self.digest != self.built_from

    def to_json(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "ref": None if self.ref is None else str(self.ref),
            "digest": self.digest,
            "built_from": self.built_from,
            "changed": self.changed,
            "files": [{"path": path, "oid": oid, "size": size} for path, oid, size in self.files],
            "changes": None if self.changes is None else [{"path": path, "change": change} for path, change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one artifact. Paths of files are store-relative, those of outputs workspace-relative."""

    ref: Ref
    state: State
    description: str
    recipe_version: int
    code_version: str
    reproducibility: str
    parameters: dict[str, Any]
    libraries: dict[str, str]
    fingerprint: str | None
    inputs: tuple[InputExplanation, ...]
    outputs: tuple[dict[str, Any], ...]
    downstream: tuple[Ref, ...]
    cached: tuple[str, ...]
    """Where the outputs of the present fingerprint lie: `local`, `remote`, both or neither."""
    built: dict[str, Any] | None = None
    """How the present outputs came about: fingerprint, `how`, recipe version, code version, sequence, counts."""
    backups: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": str(self.ref),
            "freshness": str(self.state.freshness),
            "reasons": list(self.state.reasons),
            "changed": list(self.state.changed),
            "recipe": {
                "name": self.ref.name,
                "version": self.recipe_version,
                "code_version": self.code_version,
                "description": self.description,
                "reproducibility": self.reproducibility,
                "parameters": self.parameters,
                "libraries": self.libraries,
            },
            "fingerprint": self.fingerprint,
            "inputs": [entry.to_json() for entry in self.inputs],
            "outputs": list(self.outputs),
            "downstream": [str(ref) for ref in self.downstream],
            "cached": list(self.cached),
            "built": self.built,
            "backups": list(self.backups),
        }


def explain(builder: Builder, ref: Ref, state: State) -> Explanation:
    """Everything known of the artifact; `state` is how it stands."""
    standing = builder.observer.standing(ref)
    node, record = standing.node, standing.record
    return Explanation(
        ref=ref,
        state=state,
        description=node.recipe.description,
        recipe_version=node.recipe.version,
        code_version=standing.code_version,
        reproducibility=str(node.recipe.reproducibility),
        parameters=standing.parameters,
        libraries=standing.libraries,
        fingerprint=standing.fingerprint,
        inputs=tuple(_input(builder, standing, role) for role in standing.roles),
        outputs=tuple(
            {
                "path": builder.places.spot(node.store, key).shown,
                "oid": here.oid,
                "size": here.size,
                "whose": str(standing.whose[key]),
            }
            for key, here in sorted(standing.present.items())
        ),
        downstream=builder.observer.graph.downstream(ref),
        cached=tuple(_cached(builder, standing)),
        built=None
        if record is None
        else {
            "fingerprint": record.fingerprint,
            "how": record.how,
            "origin": record.origin,
            "recipe_version": record.recipe_version,
            "code_version": record.code_version,
            "output_digest": record.output_digest,
            "sequence": record.sequence,
            "counts": record.summary.get("counts", {}),
        },
        backups=tuple(builder.places.spot(node.store, backup.key).shown for backup in record.backups) if record else (),
    )


def _input(builder: Builder, standing: Standing, role: str) -> InputExplanation:
    held = standing.roles[role]
    before = standing.record.inputs.get(role) if standing.record is not None else None
    changes: list[tuple[str, str]] | None = []
    if before is None:
        changes = None
    elif before.digest != held.digest:
        known = held.root is not None and before.root is not None
        changes = builder.observer.file_changes(before.root or "", held.files) if known else None
    if held.provenance is not None:
        files = tuple((output.path, output.oid, output.size) for output in held.provenance.outputs)
    elif held.members:
        files = tuple((str(member.ref), member.digest or "", 0) for member in held.members)
    else:
        files = held.files
    return InputExplanation(
        role,
        held.ref,
        held.digest,
        before.digest if before is not None else None,
        files,
        None if changes is None else tuple(changes),
    )


def _cached(builder: Builder, standing: Standing) -> list[str]:
    if standing.fingerprint is None:
        return []
    found = ["local"] if builder.cache.holds(standing.fingerprint) else []
    try:
        if builder.cache.held_remotely(standing.fingerprint):
            found.append("remote")
    except (OSError, HeadwaterError):
        # A remote that is away says nothing about the artifact.
        pass
    return found

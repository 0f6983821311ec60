"""How Dagster names what Headwater knows: asset keys, ops, groups and owners. Nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from assets.engine.fingerprint import code_version, libraries_of, parameters_of
from assets.engine.model import Ref, Store
from assets.engine.recipe import Kind, Recipe
from schemas.ids import escape_name

# Dagster's owners are e-mail addresses or teams; nothing else passes its validation.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


def artifact_key(ref: Ref) -> dg.AssetKey:
    """`[kind, store, artifact]`, the store's name reversibly escaped to what Dagster allows in names."""
    return dg.AssetKey([ref.kind, escape_name(ref.store), ref.name])


def source_key(ref: Ref) -> dg.AssetKey:
    """`[kind, store, 'source', name]`."""
    return dg.AssetKey([ref.kind, escape_name(ref.store), "source", ref.name])


def op_name(ref: Ref) -> str:
    """The name of the artifact's op, under which run config addresses it."""
    return "__".join(artifact_key(ref).path)


def group_of(store: Store) -> str:
    """One group per store, so that the asset graph folds into stores."""
    return f"{store.kind}_{escape_name(store.name)}"


def owners_of(owner: str | None) -> list[str]:
    """The workspace's owner as Dagster accepts it: an e-mail address as it is, anything else as a team."""
    if not owner:
        return []
    if _EMAIL.match(owner) or owner.startswith("team:"):
        return [owner]
    team = re.sub(r"[^A-Za-z0-9_-]+", "-", owner).strip("-")
    return [f"team:{team}"] if team else []


@dataclass(frozen=True, slots=True)
class Upstream:
    """One asset that a recipe reads under a role. `whole`: what the engine says it read under the role is this asset's version;
    for a role that stands for every source or artifact of the workspace it is not."""

    role: str
    ref: Ref
    key: dg.AssetKey
    is_source: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """A recipe applied to a store, and what it reads."""

    store: Store
    kind: Kind
    recipe: Recipe
    upstream: tuple[Upstream, ...]

    @property
    def ref(self) -> Ref:
        return Ref(self.store.kind, self.store.name, self.recipe.name)

    @property
    def code_version(self) -> str:
        parameters = parameters_of(self.kind, self.recipe, self.store.settings)
        return code_version(self.recipe, parameters, libraries_of(self.recipe))


def upstream_of(
    store: Store, recipe: Recipe, *, every_source: Sequence[Ref] = (), every_artifact: Sequence[Ref] = ()
) -> tuple[Upstream, ...]:
    """What the recipe reads in this store. `every_source` and `every_artifact` are the workspace's, for recipes that read
    everything."""
    found: list[Upstream] = []
    for read in recipe.inputs:
        if read.source is not None:
            ref = Ref(store.kind, store.name, read.source)
            found.append(Upstream(read.role, ref, source_key(ref), True, True))
        elif read.artifact is not None:
            ref = Ref(store.kind, store.name, read.artifact)
            found.append(Upstream(read.role, ref, artifact_key(ref), False, True))
        else:
            sources, artifacts = (every_source, ()) if read.everything == "source" else ((), every_artifact)
            found += [Upstream(read.role, ref, source_key(ref), True, False) for ref in sources]
            found += [Upstream(read.role, ref, artifact_key(ref), False, False) for ref in artifacts]
    return tuple(found)

"""Makes the assets: a source becomes an external asset, a recipe applied to a store becomes an asset that asks the engine."""

# No `from __future__ import annotations` here: Dagster reads the type of the config parameter and does not resolve a string.

import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg

from assets.engine.definitions.events import Present, failure, materialized
from assets.engine.definitions.keys import Artifact, artifact_key, group_of, owners_of, source_key
from assets.engine.definitions.session import SESSION, BuildConfig, BuildSession
from assets.engine.model import Ref, Result, Store
from assets.engine.recipe import Kind, Source


def source_spec(store: Store, kind: Kind, source: Source, *, owner: str | None) -> dg.AssetSpec:
    """A source as an external asset; its data version is the Merkle root of its files."""
    return dg.AssetSpec(
        key=source_key(Ref(store.kind, store.name, source.name)),
        description=source.description,
        group_name=group_of(store),
        owners=owners_of(owner),
        kinds={store.kind, "text"},
        tags={"headwater/kind": store.kind},
        metadata={
            "store": store.name,
            "folder": store.root or ".",
            "files": dg.MetadataValue.md("\n".join(f"- `{pattern}`" for pattern in source.include)),
        },
    )


def artifact_asset(
    artifact: Artifact,
    *,
    owner: str | None,
    condition: dg.AutomationCondition[Any] | None,
    present: Present | None = None,
) -> dg.AssetsDefinition:
    """The artifact as one Dagster asset.

    The body asks the engine, which builds, restores or finds the artifact fresh; in each case the same data version is recorded
    for the same content, so nothing downstream becomes stale without reason. Raises dagster.Failure, without retries by Dagster,
    for an artifact that is blocked, refused or failed.
    """
    store, recipe, ref = artifact.store, artifact.recipe, artifact.ref

    @dg.asset(
        key=artifact_key(ref),
        deps=sorted({upstream.key for upstream in artifact.upstream}),
        description=recipe.description,
        group_name=group_of(store),
        owners=owners_of(owner),
        kinds=set(recipe.kinds) or {store.kind},
        tags={"headwater/kind": store.kind, "headwater/cost": "expensive" if recipe.expensive else "cheap"},
        metadata=_recipe_metadata(artifact),
        code_version=artifact.code_version,
        automation_condition=condition,
        required_resource_keys={SESSION},
    )
    def build(context: dg.AssetExecutionContext, config: BuildConfig) -> dg.MaterializeResult[Any]:
        session: BuildSession = getattr(context.resources, SESSION)
        outcome = session.build(ref, config)
        if outcome.result in (Result.FAILED, Result.BLOCKED, Result.REFUSED):
            raise failure(ref, outcome) from outcome.error
        return materialized(session, context.instance, artifact, outcome, present)

    return build


def _recipe_metadata(artifact: Artifact) -> dict[str, Any]:
    """What is known of an artifact before it is ever built, and where its recipe's code lies."""
    recipe = artifact.recipe
    metadata: dict[str, Any] = {
        "store": artifact.store.name,
        "folder": artifact.store.root or ".",
        "recipe": f"{artifact.store.kind}/{recipe.name} version {recipe.version}",
        "reproducibility": str(recipe.reproducibility),
        "confirm": str(recipe.confirm),
        "outputs": dg.MetadataValue.md("\n".join(f"- `{output.path}`" for output in recipe.outputs)),
    }
    if recipe.libraries:
        metadata["libraries"] = dg.MetadataValue.md("\n".join(f"- {name}" for name in recipe.libraries))
    place = _code_of(recipe.body.target)
    if place is not None:
        path, line = place
        with warnings.catch_warnings():
            # Code references are marked beta by Dagster; the mark is ours to know, not the user's to read at each command.
            warnings.simplefilter("ignore", dg.BetaWarning)
            reference = dg.LocalFileCodeReference(file_path=path, line_number=line, label=f"recipe {recipe.name}")
            metadata["dagster/code_references"] = dg.CodeReferencesMetadataValue(code_references=[reference])
    return metadata


@cache
def _code_of(target: str) -> tuple[str, int] | None:
    """File and line of `package.module:function`, found without importing the module, which would load its heavy libraries."""
    module, _, function = target.partition(":")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    for number, line in enumerate(Path(spec.origin).read_text("utf-8").splitlines(), 1):
        if line.startswith((f"def {function}(", f"def {function}[")):
            return spec.origin, number
    return spec.origin, 1

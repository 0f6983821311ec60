"""The stores of a workspace as Dagster will see them: artifacts with what they read, and what each kind adds.

Values and pure functions; assembling definitions from them is `orchestration.builder`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from assets.engine.definitions.additions import Additions, Setting
from assets.engine.definitions.events import Present
from assets.engine.definitions.keys import Artifact, upstream_of
from assets.engine.model import Ref, Store
from assets.engine.recipe import Kind

if TYPE_CHECKING:
    from resources.workspace import Workspace

PRESENTATIONS = {
    "dvs": "assets.dvs.definitions:present",
    "notes": "assets.notes.definitions:present",
    "tables": "assets.tables.definitions:present",
    "workspace": "assets.workspace.definitions:present",
}
"""Kind -> the function that adds to the metadata of its materializations."""

ADDITIONS = {"dvs": "assets.dvs.definitions"}
"""Kind -> the module with `additions(setting)`, what the kind brings besides its sources and artifacts, and with
`facts(workspace, store)`, what has to be looked up for that when the code location is loaded, as JSON values."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The stores of a workspace as Dagster will see them."""

    stores: tuple[Store, ...]
    kinds: Mapping[str, Kind]
    artifacts: tuple[Artifact, ...]

    @property
    def sources(self) -> list[Ref]:
        return [Ref(store.kind, store.name, source.name) for store in self.stores for source in self.kinds[store.kind].sources]

    def artifact(self, ref: Ref) -> Artifact | None:
        return next((artifact for artifact in self.artifacts if artifact.ref == ref), None)


def graph_of(stores: Sequence[Store], kinds: Mapping[str, Kind]) -> Graph:
    """The artifacts of `stores` and what each reads; recipes that read everything see all other stores."""
    known = sorted((store for store in stores if store.kind in kinds), key=lambda store: (store.kind, store.name))
    sources = [Ref(store.kind, store.name, source.name) for store in known for source in kinds[store.kind].sources]
    plain = [
        Ref(store.kind, store.name, recipe.name)
        for store in known
        for recipe in kinds[store.kind].recipes
        if not any(read.everything for read in recipe.inputs)
    ]
    artifacts = [
        Artifact(store, kinds[store.kind], recipe, upstream_of(store, recipe, every_source=sources, every_artifact=plain))
        for store in known
        for recipe in kinds[store.kind].recipes
    ]
    return Graph(tuple(known), kinds, tuple(artifacts))


def presentation_of(kind: Kind) -> Present | None:
    """What the kind adds to the metadata of its materializations."""
    target = PRESENTATIONS.get(kind.name)
    if target is None:
        return None
    module, _, name = target.partition(":")
    function: Callable[..., Mapping[str, Any]] = getattr(import_module(module), name)
    return function


def facts_of(workspace: Workspace, stores: Sequence[Store]) -> dict[str, Any]:
    """`kind/store` -> what the additions of the store's kind need to know. A kind without a store is not imported."""
    wanted = [store for store in stores if store.kind in ADDITIONS]
    return {f"{one.kind}/{one.name}": import_module(ADDITIONS[one.kind]).facts(workspace, one) for one in wanted}


def additions_of(graph: Graph, *, owner: str | None, crons: Mapping[str, str], facts: Mapping[str, Any]) -> list[Additions]:
    """What the kinds of the stores in `graph` bring, in the order of their names."""
    made = []
    for name in sorted({store.kind for store in graph.stores} & ADDITIONS.keys()):
        stores = [store for store in graph.stores if store.kind == name]
        known = {store.name: facts[f"{name}/{store.name}"] for store in stores if f"{name}/{store.name}" in facts}
        make: Callable[[Setting], Additions] = import_module(ADDITIONS[name]).additions
        made.append(make(Setting(graph.kinds[name], stores, owner, crons, known)))
    return made

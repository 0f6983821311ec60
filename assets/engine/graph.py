"""The graph of artifacts: which recipe belongs to which reference, what is upstream of what, and the order to build in.

Values only. Light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from assets.engine.model import Ref, Store
from assets.engine.places import WORKSPACE_KIND, WORKSPACE_STORE
from assets.engine.recipe import Kind, Place, Recipe
from schemas.errors import UsageError

WHOLE_WORKSPACE = Store(WORKSPACE_KIND, WORKSPACE_STORE, "")
"""The pseudo store that artifacts over the whole workspace belong to."""


@dataclass(frozen=True, slots=True)
class Node:
    """One artifact of one store with its recipe."""

    ref: Ref
    store: Store
    kind: Kind
    recipe: Recipe


class Graph:
    """Every artifact of the present stores, in the order they are built in.

    `place` says where outputs lie that a recipe places in the store's folder, for the stores of kinds that ask.
    """

    def __init__(
        self, stores: Iterable[Store], kinds: Mapping[str, Kind], place: Callable[[Store, Kind], Place] | None = None
    ) -> None:
        self.nodes: dict[Ref, Node] = {}
        self._upstream: dict[Ref, tuple[Ref, ...]] = {}
        self._downstream: dict[Ref, list[Ref]] = {}
        last: list[Node] = []
        for store in stores:
            if not store.present:
                continue
            kind = kinds[store.kind]
            where = Place.STORE if place is None or kind.place is None else place(store, kind)
            for recipe in _ordered(kind):
                node = Node(Ref(store.kind, store.name, recipe.name), store, kind, recipe.placed(where))
                if store.kind == WORKSPACE_KIND:
                    last.append(node)
                else:
                    self._add(node)
        everything = tuple(self.nodes)
        for node in last:
            self._add(node, everything)

    def _add(self, node: Node, everything: Sequence[Ref] = ()) -> None:
        upstream: list[Ref] = []
        for declared in node.recipe.inputs:
            if declared.artifact is not None:
                upstream.append(Ref(node.ref.kind, node.ref.store, declared.artifact))
            elif declared.everything == "artifact":
                upstream += everything
        self.nodes[node.ref] = node
        self._upstream[node.ref] = tuple(dict.fromkeys(upstream))
        for ref in self._upstream[node.ref]:
            self._downstream.setdefault(ref, []).append(node.ref)

    def node(self, ref: Ref) -> Node:
        """Raises UsageError (rule `artifact-unknown`) for a reference that is no artifact."""
        try:
            return self.nodes[ref]
        except KeyError:
            raise UsageError(
                f"there is no artifact {ref}", rule="artifact-unknown", fix="list them with `headwater ls`"
            ) from None

    def upstream(self, ref: Ref) -> tuple[Ref, ...]:
        """The artifacts that this one reads, directly."""
        return self._upstream.get(ref, ())

    def downstream(self, ref: Ref) -> tuple[Ref, ...]:
        """The artifacts that read this one, directly."""
        return tuple(self._downstream.get(ref, ()))

    def readers(self, source: Ref) -> tuple[Ref, ...]:
        """The artifacts that read a source, directly."""
        return tuple(
            node.ref
            for node in self.nodes.values()
            if any(
                (declared.source == source.name and (node.ref.kind, node.ref.store) == (source.kind, source.store))
                or declared.everything == "source"
                for declared in node.recipe.inputs
            )
        )

    def all_upstream(self, refs: Iterable[Ref]) -> set[Ref]:
        """The given artifacts and everything they are built from."""
        return self._closure(refs, self.upstream)

    def all_downstream(self, refs: Iterable[Ref]) -> set[Ref]:
        """The given artifacts and everything built from them."""
        return self._closure(refs, self.downstream)

    def _closure(self, refs: Iterable[Ref], step: Callable[[Ref], tuple[Ref, ...]]) -> set[Ref]:
        found: set[Ref] = set()
        left = list(refs)
        while left:
            ref = left.pop()
            if ref not in found:
                found.add(ref)
                left += step(ref)
        return found


def _ordered(kind: Kind) -> list[Recipe]:
    """The kind's recipes with every input before its reader; raises ValueError for a cycle or an unknown name."""
    recipes = {recipe.name: recipe for recipe in kind.recipes}
    sources = {source.name for source in kind.sources}
    done: dict[str, Recipe] = {}
    active: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in active or name not in recipes:
            raise ValueError(f"the recipes of {kind.name} do not form a graph: {' -> '.join([*active, name])}")
        active.append(name)
        for declared in recipes[name].inputs:
            if declared.artifact is not None:
                visit(declared.artifact)
            elif declared.source is not None and declared.source not in sources:
                raise ValueError(f"the recipe {name} of {kind.name} reads the unknown source {declared.source}")
        active.pop()
        done[name] = recipes[name]

    for name in recipes:
        visit(name)
    return list(done.values())

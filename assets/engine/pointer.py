"""Outputs of a workspace under a URL: immutable objects, and the provenance record as the one pointer to them.

An object store cannot replace a set of files at once. Outputs therefore go into the object store under their digests, and the
record that names them is written last, compare-and-swapped: readers see the old set or the new one, and of two builders one
wins and the other finds its work done. Nothing foreign can lie at a digest's name, so nothing is ever in the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.model import Ref, Store
from assets.engine.places import MANIFEST, Key, Places, Present, Spot
from assets.engine.provenance import OutputFile, Provenance
from assets.engine.publish import Publication, Publisher
from assets.engine.recipe import Recipe
from assets.engine.scratch import scratch_path
from schemas.errors import InputChanged

if TYPE_CHECKING:
    from collections.abc import Sequence


class PointerPlaces(Places):
    """The outputs that the records point to."""

    def file_spot(self, store: Store, key: Key, oid: str) -> Spot:
        objects = self.workspace.objects
        path = objects.path(oid)
        return Spot(objects.storage, path, f".headwater/{path}")

    def present(self, store: Store, recipe: Recipe, record: Provenance | None = None) -> dict[Key, Present]:
        """What the record lists and the object store has, by length; an object's bytes are what its name says."""
        objects = self.workspace.objects
        outputs = record.outputs if record is not None else ()
        return {output.key: Present(output.oid, output.size) for output in outputs if objects.has(output.oid, size=output.size)}

    def present_manifest(self, store: Store, ref: Ref, recipe: Recipe, record: Provenance | None = None) -> dict[Key, Present]:
        if not recipe.item_files and not self.item_records(ref).exists():
            return {}
        found = self.present(store, recipe, record)
        return {key: here for key, here in found.items() if key[1].endswith(f"/{MANIFEST}")}

    def folder_digest(self, store: Store, recipe: Recipe) -> str:
        """Objects do not change: a set is what its record says."""
        return "objects"

    def local_outputs(self, store: Store, recipe: Recipe, fetched: Path, record: Provenance | None = None) -> list[Path]:
        for output in record.outputs if record is not None else ():
            target = fetched / output.path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                # Under its own name only once it is whole: what lies there later counts as the object.
                partial = scratch_path(fetched.parent, "part")
                self.workspace.objects.fetch(output.oid, partial)
                partial.replace(target)
        for declared in recipe.outputs:
            if declared.folder:
                (fetched / declared.path).mkdir(parents=True, exist_ok=True)
        return [fetched / declared.path for declared in recipe.outputs]

    def rehash(self, store: Store, output: OutputFile) -> str:
        return self.workspace.objects.storage.digest(self.workspace.objects.path(output.oid))

    def fetch(self, store: Store, output: OutputFile, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self.workspace.objects.fetch(output.oid, target)


class PointerPublisher(Publisher):
    """Publishes by writing objects first and the record last."""

    def rescue(self, store: Store, present: object, keys: Sequence[Key], *, derived: bool = False) -> list[str]:
        """Nothing of anybody else's can lie at the name of a digest."""
        return []

    def publish(self, publication: Publication) -> Provenance:
        """Put what is new among the objects, then move the pointer. Raises InputChanged when another builder moved it."""
        for output in publication.outputs:
            finished = publication.folder / "outputs" / output.path
            if finished.exists():
                self.workspace.objects.put(finished, oid=output.oid)
        self.record(publication.record, publication.previous)
        return publication.record

    def record(self, record: Provenance, previous: str | None) -> None:
        if not self.records.swap(record, previous):
            raise InputChanged(
                f"another builder published {record.ref} meanwhile", rule="pointer-moved", fix="run the command again"
            )

"""Make: the outputs of one fingerprint in a scratch folder, restored from the build cache or by running the recipe.

What is made is proven to come from the inputs the fingerprint names. Whether it may replace what lies in its place is
`assets.engine.questions`, putting it there `assets.engine.publish`. Light until a recipe runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.engine import fingerprint as prints
from assets.engine.cache import LOCAL, BuildCache, CacheEntry, Keeping
from assets.engine.checks import Checks
from assets.engine.graph import Node
from assets.engine.model import Policy, Progress, Ref
from assets.engine.places import MANIFEST, Key, Places, scratch_name
from assets.engine.provenance import OutputFile, Records
from assets.engine.publish import Publisher, collect_outputs
from assets.engine.recipe import Recipe, Reproducibility, Summary
from assets.engine.scratch import scratch_path
from assets.engine.standing import Observer, Standing
from assets.engine.view import Built, RoleInput, Scratch, View
from resources.problems import is_read_only
from schemas.errors import HeadwaterError, InputChanged
from schemas.ids import escape_name
from schemas.oid import json_oid

if TYPE_CHECKING:
    from assets.engine.folded import Delta
    from assets.engine.items import ItemBuild, ItemReader
    from resources.objects import ObjectStore
    from resources.workspace import Workspace


FOLDED = "folded"
FOLD_KEPT = 4 << 20
"""Bytes of a folded output that still go into the build cache. A larger one is a step away from the one before it, and a copy
of a whole index for every edited note would fill the cache and take longer than the fold."""


@dataclass(slots=True)
class Made:
    """Finished outputs in a scratch folder."""

    folder: Path
    outputs: tuple[OutputFile, ...]
    output_digest: str
    summary: dict[str, Any]
    how: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    entries: tuple[tuple[str, str, int], ...] | None = None
    """(key, oid, size) of every item of a set, whose record lists the manifest alone."""
    build: ItemBuild | None = None
    """The build of a set of items."""
    origin: str | None = None
    """Where restored outputs came from."""
    entry: CacheEntry | None = None
    """What the build cache keeps of a new result, and others may have once it is published."""
    kept: Keeping = Keeping.COPY
    """How the build cache keeps them."""

    def recorded(self, outputs: tuple[OutputFile, ...]) -> tuple[OutputFile, ...]:
        """Those of `outputs` that the record lists."""
        return outputs if self.entries is None else tuple(one for one in outputs if one.path.endswith(f"/{MANIFEST}"))

    def oids(self) -> dict[Key, str]:
        return {output.key: output.oid for output in self.outputs}


class Maker:
    """Makes the outputs of artifacts of one workspace."""

    def __init__(
        self,
        workspace: Workspace,
        observer: Observer,
        places: Places,
        records: Records,
        publisher: Publisher,
        cache: BuildCache,
        checks: Checks,
    ) -> None:
        self.workspace = workspace
        self.observer = observer
        self.places = places
        self.records = records
        self.publisher = publisher
        self.cache = cache
        self.checks = checks

    @contextmanager
    def scratch(self, ref: Ref) -> Iterator[Path]:
        """A new folder for one build; removed afterwards, and swept by a later command when this process dies.

        Where machine state cannot be written to, it lies in the user's cache folder: what is only compared needs no more.
        """
        import shutil

        try:
            folder = scratch_path(self.workspace.local / "scratch", scratch_name(ref))
            folder.mkdir()
        except OSError as error:
            if not is_read_only(error):
                raise
            from assets.engine.private import private_folder

            folder = scratch_path(private_folder(), scratch_name(ref))
            folder.mkdir()
        try:
            yield folder
        finally:
            # A publication that failed half-way (a full disk) is completed from here by the next command.
            if not self.publisher.intent_of(ref).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def view(self, standing: Standing, folder: Path) -> View:
        """The verified view of the artifact's inputs."""
        upstream: dict[str, list[Path]] = {}
        readers: dict[str, ItemReader] = {}
        for declared in standing.node.recipe.inputs:
            if declared.artifact is not None:
                node = self.observer.graph.node(Ref(standing.node.ref.kind, standing.node.ref.store, declared.artifact))
                upstream[declared.role] = self.places.local_outputs(
                    node.store, node.recipe, folder / "inputs" / declared.role, standing.roles[declared.role].provenance
                )
                if node.recipe.items is not None:
                    readers[declared.role] = self._reader(node, standing.roles[declared.role])
        fetched = folder / "inputs"
        fetched.mkdir(exist_ok=True)
        return View(
            self.workspace.root,
            standing.node.store,
            self.checks.with_findings(standing.roles),
            fetched,
            upstream,
            readers,
        )

    def _reader(self, node: Node, held: RoleInput) -> ItemReader:
        from assets.engine.items import ItemReader, record_reader

        if not node.recipe.item_files:
            return ItemReader(held.files, record_reader(self.places.item_records(node.ref)))
        declared = node.recipe.outputs[0]

        def read(key: str, oid: str) -> bytes:
            spot = self.places.file_spot(node.store, (declared.place, f"{declared.path}/{key}"), oid)
            return spot.storage.read(spot.path)

        return ItemReader(held.files, read)

    def make(self, standing: Standing, fingerprint: str, policy: Policy, progress: Progress, folder: Path) -> Made:
        """The outputs of the fingerprint in `folder`: restored from the build cache, else built and kept there."""
        recipe, ref = standing.node.recipe, standing.node.ref
        if recipe.items is not None:
            return self.make_items(standing, progress, folder, afresh=policy.force)
        changed = self._changed(standing) if not policy.force else None
        if policy.use_cache and not policy.force:
            # What can be folded is made faster than it comes from another machine, and it is made at every edit.
            entry = self.cache.find(fingerprint, recipe, remote=changed is None)
            if entry is not None:
                progress(ref, "restore", None)
                if self.cache.restore(entry, folder / "outputs"):
                    origin = entry.origin or LOCAL
                    return Made(folder, entry.outputs, entry.output_digest, entry.summary, "restored", origin=origin)
        self._refuse_absent(standing)
        made = self.run(standing, progress, folder, changed)
        if policy.use_cache and (made.how != FOLDED or sum(output.size for output in made.outputs) <= FOLD_KEPT):
            entry = CacheEntry(fingerprint, made.outputs, made.output_digest, made.summary)
            made.kept = self.cache.keeping(ref)
            if self.cache.keep(entry, folder / "outputs", made.kept):
                made.entry = entry
        return made

    def _refuse_absent(self, standing: Standing) -> None:
        """Raise HeadwaterError where the recipe would read files that are not here, only known."""
        absent = sorted(path for held in standing.roles.values() for path in held.absent)
        if absent:
            store = standing.node.store
            shown = f"{store.root}/{absent[0]}" if store.root else absent[0]
            more = f", like {len(absent) - 1} more" if len(absent) > 1 else ""
            raise HeadwaterError(
                f"is versioned data that is not here{more}, and no build cache has what is made of it",
                path=shown,
                rule="input-absent",
                fix=f"`headwater dvs get {shown}` brings it, after `headwater dvs pull` where the storage lacks it",
            )

    def make_items(self, standing: Standing, progress: Progress, folder: Path, *, afresh: bool = False) -> Made:
        """The set of items in `folder`: only the stale ones are built, all of them with `afresh`."""
        build, close = self.item_build(standing, progress, folder, afresh=afresh)
        try:
            return self.finish_items(standing, build, progress, folder)
        finally:
            close()

    def item_build(
        self, standing: Standing, progress: Progress, folder: Path, *, afresh: bool = False
    ) -> tuple[ItemBuild, Callable[[], None]]:
        """A build of a set of items, and what closes its records; `afresh` knows of no earlier result."""
        from assets.engine.items import ItemBuild, ItemRecords, ours_by_oid

        node = standing.node
        progress(node.ref, "build", 0.0)
        path = folder / "items.sqlite" if afresh else self.places.item_records(node.ref)
        listed = standing.record.output_oids() if standing.record is not None and not afresh else {}
        records = ItemRecords(path)
        build = ItemBuild(
            node.recipe,
            prints.item_base(node.ref.kind, node.recipe, standing.parameters, standing.libraries),
            self.view(standing, folder),
            Scratch(folder),
            standing.parameters,
            records,
            path.with_suffix(""),
            ours_by_oid(node.recipe, standing.present, listed, lambda key, oid: self.places.file_spot(node.store, key, oid)),
        )
        return build, records.close

    def finish_items(self, standing: Standing, build: ItemBuild, progress: Progress, folder: Path) -> Made:
        """Run a build of a set of items to its end."""
        from assets.engine.items import manifest_root, set_outputs

        node = standing.node
        done = build.run(lambda fraction: progress(node.ref, "build", fraction))
        self._verify_upstream(standing)
        summary = Summary(counts={"items": len(done.entries), "built": done.built, "removed": done.removed})
        return Made(
            folder,
            set_outputs(node.recipe, done.entries),
            manifest_root(done.entries),
            summary.to_json(),
            "built",
            entries=tuple(sorted(done.entries)),
            build=build,
        )

    def _changed(self, standing: Standing) -> dict[str, Delta] | None:
        """What changed by role since the artifact's previous output, for a recipe that can fold it in; None for a build from
        nothing."""
        if standing.node.recipe.fold is None:
            return None
        from assets.engine.folded import deltas

        return deltas(self.observer, standing)

    def run(self, standing: Standing, progress: Progress, folder: Path, changed: Mapping[str, Delta] | None = None) -> Made:
        """Run the recipe's body in `folder`; raises InputChanged when an input was edited meanwhile.

        With `changed`, a recipe that folds is given its previous output and that.
        """
        recipe, ref = standing.node.recipe, standing.node.ref
        if recipe.items is not None:
            return self.make_items(standing, progress, folder, afresh=True)
        progress(ref, "build", None)
        scratch = Scratch(folder)
        view = self.view(standing, folder)
        try:
            summary, how = self._body(standing, view, scratch, changed)
        except Exception:
            # A body that stumbled over an edit in mid-read is no failure of the recipe.
            view.verify()
            raise
        view.verify()
        self._verify_upstream(standing)
        outputs = tuple(sorted(collect_outputs(recipe, folder, scratch.written())))
        if recipe.reproducibility is Reproducibility.BYTE_EQUAL:
            digest = output_digest(recipe, outputs)
        elif summary.digest is not None:
            digest = summary.digest
        else:
            raise HeadwaterError(
                f"the recipe {recipe.name} is {recipe.reproducibility} and returned no digest",
                rule="output-digest-missing",
                fix="this is an error in the recipe: report it",
            )
        return Made(folder, outputs, digest, summary.to_json(), how, summary.pictures)

    def _body(self, standing: Standing, view: View, scratch: Scratch, changed: Mapping[str, Delta] | None) -> tuple[Summary, str]:
        recipe = standing.node.recipe
        if changed is not None and recipe.fold is not None:
            from assets.engine.folded import previous_copy

            previous = previous_copy(self.places, standing, scratch.folder / "previous")
            if previous is not None:
                folded: Summary = recipe.fold.load()(view, scratch, standing.parameters, previous, changed)
                return folded, FOLDED
        summary: Summary = recipe.body.load()(view, scratch, standing.parameters)
        return summary, "built"

    def _verify_upstream(self, standing: Standing) -> None:
        """Raise InputChanged when what is read without the view's help is not what it was when the build began."""
        for held in standing.roles.values():
            for member in held.members:
                if member.enumerate_files is not None and self.observer.source_changed(member):
                    raise InputChanged(
                        f"the source {member.ref} was changed while it was being read", rule="input-changed", fix="build again"
                    )
            if held.ref is not None and held.provenance is not None:
                node = self.observer.graph.node(held.ref)
                present = {key: here.oid for key, here in self.places.present(node.store, node.recipe, held.provenance).items()}
                if present != held.provenance.output_oids():
                    raise InputChanged(
                        f"its input {held.ref} was changed while it was being read", rule="input-changed", fix="build again"
                    )

    def last_built(self, standing: Standing) -> Built | None:
        """The last build as `preview` sees it, None when its manifests are gone."""
        record = standing.record
        if record is None:
            return None
        files: dict[str, dict[str, str]] = {}
        for role, entry in record.inputs.items():
            manifest = self.records.read_manifest(entry.root) if entry.root is not None else None
            if manifest is None:
                return None
            files[role] = {path: oid for path, oid, _ in manifest}
        outputs = {output.path: output.oid for output in record.outputs}
        kept = self.kept(standing)
        return Built(files, outputs, kept.has, kept.get)

    def kept(self, standing: Standing) -> ObjectStore:
        """Where the text is kept that an artifact was last built from (`Recipe.keep`)."""
        from resources.objects import ObjectStore

        ref = standing.node.ref
        return ObjectStore(self.workspace.state, f"kept/{ref.kind}/{escape_name(ref.store)}/{ref.name}")


def output_digest(recipe: Recipe, outputs: tuple[OutputFile, ...]) -> str:
    """The digest of byte-equal outputs: the oid of a single file, else that of the sorted list of paths and oids."""
    if len(outputs) == 1 and not recipe.outputs[0].folder:
        return outputs[0].oid
    return json_oid([[output.path, output.oid] for output in sorted(outputs)])

"""The engine: one object per workspace that answers what there is, what is stale and why, and brings it up to date.

It only composes: each step is a module of its own beside this one. Knows nothing of Dagster or the command line, and stays
light until something has to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.build import Builder
from assets.engine.cache import BuildCache
from assets.engine.checks import Checks
from assets.engine.make import Maker
from assets.engine.model import Outcome, Policy, Progress, Question, Ref, Result, State, Store
from assets.engine.places import WORKSPACE_KIND, Places
from assets.engine.provenance import Provenance, Records
from assets.engine.publish import Publisher
from assets.engine.recipe import Kind, Recipe
from assets.engine.scan import SourceState
from assets.engine.scratch import sweep, trim_copies, used_copy
from assets.engine.select import select as select_refs
from assets.engine.share import SharedCache
from assets.engine.standing import Observer
from resources.storage.intents import forget_record, sweep_records
from schemas.errors import HeadwaterError, UsageError
from schemas.findings import Finding

if TYPE_CHECKING:
    from assets.engine.cache_proof import Proof
    from assets.engine.clean import Cleaned
    from assets.engine.explain import Explanation
    from assets.engine.verify import Verification
    from assets.engine.view import Built
    from resources.workspace import Workspace

_HEADLESS = Policy()
BROUGHT_UP = (Result.FRESH, Result.BUILT, Result.RESTORED, Result.ADOPTED)
"""The results after which an artifact is up to date."""


@dataclass(frozen=True, slots=True)
class Readable:
    """An artifact that is up to date: what that took, and local paths of its outputs in the order its recipe declares them.

    `private` when they are a copy for this user, because the artifact's own place could not be written; `outcome` says why.
    """

    outcome: Outcome
    paths: tuple[Path, ...]
    private: bool


class Engine:
    """The engine over one workspace.

    What it has seen (stores, sources, records) is remembered for as long as the object lives; `refresh` looks again. Building
    looks again at the store it builds in.
    """

    def __init__(self, workspace: Workspace, kinds: Mapping[str, Kind] | None = None) -> None:
        if kinds is None:
            from assets.registry import KINDS

            kinds = KINDS
        self.workspace = workspace
        self.kinds = dict(kinds)
        self.records = Records(workspace.state)
        self.places, self.publisher = self._output_side()
        self.observer = Observer(workspace, self.kinds, self.places, self.records)
        self.checks = Checks(workspace, self.observer, self.kinds, lambda ref: self.readable(ref).paths)
        self.build_cache = BuildCache(workspace, self._pinned)
        maker = Maker(workspace, self.observer, self.places, self.records, self.publisher, self.build_cache, self.checks)
        self.builder = Builder(maker)
        self.cache = SharedCache(self.build_cache, self.observer, self.refs)
        self.recovered: list[str] = self._recover()
        """One line per publication or set of files that a killed command had left unfinished."""

    def _output_side(self) -> tuple[Places, Publisher]:
        """Where outputs lie and how they get there: files at their own paths, or, under a URL, objects and a pointer."""
        if self.workspace.root.local_root is not None:
            places = Places(self.workspace)
            return places, Publisher(self.workspace, places, self.records)
        from assets.engine.pointer import PointerPlaces, PointerPublisher

        pointers = PointerPlaces(self.workspace)
        return pointers, PointerPublisher(self.workspace, pointers, self.records)

    def _pinned(self) -> set[str]:
        """The objects that records name: the outputs under a URL, and the text that was kept for comparing."""
        records = self.records.all()
        oids: set[str] = set()
        if self.workspace.root.local_root is None:
            oids = {output.oid for record in records for output in self.expanded(record).outputs}
        for record in records:
            kind = self.kinds.get(record.ref.kind)
            recipe = next((one for one in kind.recipes if one.name == record.ref.name), None) if kind is not None else None
            for role in recipe.keep if recipe is not None else ():
                root = record.inputs[role].root if role in record.inputs else None
                oids.update(oid for _, oid, _ in (self.records.read_manifest(root) or () if root is not None else ()))
        return oids

    def expanded(self, record: Provenance) -> Provenance:
        """The record with every file of a set of items among its outputs."""
        kind = self.kinds.get(record.ref.kind)
        recipe = next((one for one in kind.recipes if one.name == record.ref.name), None) if kind is not None else None
        return record if recipe is None else self.observer.expanded(recipe, record) or record

    def output_paths(self, ref: Ref) -> list[Path]:
        """Paths on this machine that hold the artifact's outputs, in the order its recipe declares them; under a URL these
        are verified copies in machine state. Raises HeadwaterError (rule `artifact-missing`) when it was never built."""
        node, record = self.observer.graph.node(ref), self.records.read(ref)
        if record is None:
            raise HeadwaterError(f"{ref} was never built", rule="artifact-missing", fix=f"run `headwater build {ref.word}`")
        copy = self.workspace.local / "fetched" / record.output_digest.partition(":")[2]
        known = copy.exists()
        paths = self.places.local_outputs(node.store, node.recipe, copy, self.expanded(record))
        if copy.exists():
            used_copy(copy)
            if not known:
                trim_copies(copy.parent)
        return paths

    def close(self) -> None:
        """Close the caches; the engine may be used again afterwards."""
        self.places.close()
        self.workspace.stat_cache.close()

    # what there is

    def stores(self) -> list[Store]:
        """Every store, vanished ones too, sorted by kind and name; the pseudo store of the workspace comes last."""
        return list(self.observer.discovered.stores)

    def store(self, ref: Ref) -> Store:
        """The store of an artifact or source. Raises UsageError when there is none."""
        for store in self.observer.discovered.stores:
            if (store.kind, store.name) == (ref.kind, ref.store):
                return store
        return self.observer.graph.node(ref).store

    def refs(self, select: Sequence[str] = ()) -> list[Ref]:
        """The selected artifacts, inputs before their readers. Raises UsageError when a selection matches nothing."""
        return select_refs(self.observer.graph, select)

    def recipe(self, ref: Ref) -> Recipe:
        """The recipe of an artifact."""
        return self.observer.graph.node(ref).recipe

    def sources(self, store: Store) -> list[SourceState]:
        """The sources of a store as they are now. Raises HeadwaterError (rule `store-vanished`) for one that is gone."""
        return list(self.observer.sources(store).values())

    def upstream(self, ref: Ref) -> tuple[Ref, ...]:
        """The artifacts that this one reads."""
        return self.observer.graph.upstream(ref)

    def downstream(self, ref: Ref) -> tuple[Ref, ...]:
        """The artifacts that read this one."""
        return self.observer.graph.downstream(ref)

    def provenance(self, ref: Ref) -> Provenance | None:
        """The record of the artifact's present outputs, read anew."""
        return self.records.read(ref)

    def refresh(self) -> None:
        """Forget what was seen, so that the next question looks at the workspace again."""
        self.observer.forget()

    # how it stands

    def status(self, select: Sequence[str] = ()) -> list[State]:
        """Where each selected artifact stands, and why; nothing is parsed or built."""
        return [self._state(ref) for ref in self.refs(select)]

    def _state(self, ref: Ref) -> State:
        standing = self.observer.standing(ref)
        if standing.fresh:
            return self.observer.state(ref)
        cached = standing.fingerprint is not None and self.build_cache.holds(standing.fingerprint)
        return self.observer.state(ref, self.checks.known_block(standing), cached=cached)

    def check(self, select: Sequence[str] = ()) -> dict[Ref, list[Finding]]:
        """The findings of every selected store, under `Ref(kind, store, '')`; those of discovery come with the first store
        they lie in, or under `Ref('workspace', 'all', '')`."""
        chosen = {(ref.kind, ref.store) for ref in self.refs(select)} if select else None
        found: dict[Ref, list[Finding]] = {}
        for store in self.observer.discovered.stores:
            if store.kind != WORKSPACE_KIND and store.present and (chosen is None or (store.kind, store.name) in chosen):
                found[Ref(store.kind, store.name, "")] = self.checks.findings(store)
        if chosen is None and self.observer.discovered.findings:
            found[Ref(WORKSPACE_KIND, "all", "")] = list(self.observer.discovered.findings)
        return found

    # building

    def build_one(self, ref: Ref, policy: Policy = _HEADLESS, progress: Progress | None = None) -> Outcome:
        """Bring one artifact up to date, with what it is made of; its store is looked at again first. Never raises for what
        went wrong with the artifact: the outcome carries the error."""
        self.observer.forget(self.store(ref))
        self.builder.also_built.clear()
        return self.builder.build(ref, policy, progress or _silent)

    def build(self, select: Sequence[str] = (), policy: Policy = _HEADLESS, progress: Progress | None = None) -> list[Outcome]:
        """Bring the selected artifacts up to date, in order; one outcome each, and one for every artifact that had to be
        built on the way."""
        self.builder.also_built.clear()
        outcomes: dict[Ref, Outcome] = {}
        for ref in self.refs(select):
            on_the_way = self.builder.also_built.pop(ref, None)
            if on_the_way is not None and not policy.force:
                outcomes[ref] = on_the_way
                self.builder.also_built[ref] = on_the_way
                continue
            outcomes[ref] = self.builder.build(ref, policy, progress or _silent)
            if outcomes[ref].result is not Result.FRESH:
                self.builder.also_built[ref] = outcomes[ref]
        for ref, outcome in self.builder.also_built.items():
            outcomes.setdefault(ref, outcome)
        return list(outcomes.values())

    def questions(self, select: Sequence[str] = ()) -> list[Question]:
        """What a build of the selection would have to ask at a terminal, as far as that can be told before its inputs are
        built. Where someone else's file lies in the way, what would be built is built into the build cache to compare."""
        asked = []
        for ref in self.refs(select):
            question = self.builder.questions.foresee(ref)
            if question is not None:
                asked.append(question)
        return asked

    def last_built(self, ref: Ref) -> Built | None:
        """What the last build of the artifact read and wrote, and the text it kept; None when that is not known any more."""
        return self.builder.maker.last_built(self.observer.standing(ref))

    def ensure(self, ref: Ref) -> Outcome | None:
        """Build the artifact silently if nothing lies in its place, for commands that read it; None when it is there."""
        standing = self.observer.standing(ref)
        if standing.present:
            return None
        outcome = self.build_one(ref)
        if outcome.error is not None:
            raise outcome.error
        if outcome.result is Result.BLOCKED:
            raise HeadwaterError(f"{ref} cannot be built: {'; '.join(outcome.reasons)}", rule="artifact-blocked")
        return outcome

    def readable(self, ref: Ref) -> Readable:
        """Bring the artifact up to date and say where it can be read: in its place, else, where that cannot be written to, in
        a copy built for this user alone. Raises what keeps it from being built at all."""
        outcome = self.build_one(ref)
        if outcome.result in BROUGHT_UP:
            return Readable(outcome, tuple(self.output_paths(ref)), private=False)
        from assets.engine.private import private_outputs

        try:
            return Readable(outcome, tuple(private_outputs(self.builder, ref)), private=True)
        except Exception as error:
            # Nothing can be built, whoever it would be for: the first reason is the one to tell.
            raise outcome.error or error from None

    # upkeep

    def explain(self, ref: Ref) -> Explanation:
        """Everything known of one artifact: its inputs with oids and paths, what changed, where it is cached, what reads it."""
        from assets.engine.explain import explain

        return explain(self.builder, ref, self._state(ref))

    def adopt(self, select: Sequence[str] = (), sample: int | None = None, progress: Progress | None = None) -> list[Outcome]:
        """Accept existing outputs after verification, inputs before their readers. `sample` bounds how many items of an item
        artifact are verified."""
        from assets.engine.verify import adopt

        return [adopt(self.builder, ref, progress or _silent, sample) for ref in self.refs(select)]

    def verify(self, select: Sequence[str] = (), progress: Progress | None = None) -> list[Verification]:
        """Rebuild each selected artifact in scratch and compare it with what lies there, by its reproducibility class."""
        from assets.engine.verify import verify

        return [verify(self.builder, ref, progress or _silent) for ref in self.refs(select)]

    def prove_cache(
        self, number: int, select: Sequence[str] = (), progress: Progress | None = None, *, seed: int | None = None
    ) -> list[Proof]:
        """Rebuild some of the selected artifacts' cached builds in scratch and compare: see `assets.engine.cache_proof`."""
        from assets.engine.cache_proof import prove

        return prove(self.builder, self.refs(select), number, progress or _silent, seed=seed)

    def clean(self, select: Sequence[str] = (), dry_run: bool = False) -> list[Cleaned]:
        """Delete the selected artifacts' files that are ours and unchanged; what is kept is named with the reason.

        Stores that are gone are cleaned too, and forgotten once nothing of theirs is left.
        """
        from assets.engine.clean import clean, clean_vanished

        cleaned = list(clean_vanished(self.builder, select, dry_run=dry_run))
        try:
            refs = self.refs(select)
        except UsageError:
            # A store that is gone has no artifacts to select any more.
            if not cleaned:
                raise
            refs = []
        cleaned += clean(self.builder, refs, dry_run=dry_run)
        if not dry_run:
            self.refresh()
        return cleaned

    # after a crash

    def _recover(self) -> list[str]:
        """Complete what a killed command left; a few folder listings when there is nothing."""
        lines = self.workspace.recover()
        sweep_records(self.publisher.folder)
        for intent in self.publisher.pending():
            line = self._recover_one(intent)
            if line is not None:
                lines.append(line)
        sweep(self.workspace.local / "scratch", self._intended)
        return lines

    def _recover_one(self, intent: Path) -> str | None:
        from resources.locks import LockTimeout, file_lock

        ref = self.publisher.ref_of(intent)
        if ref is None:
            forget_record(intent)
            return None
        try:
            with file_lock(self.workspace.local / "locks", f"artifact {ref}", timeout=0.05):
                return self.builder.recover(ref)
        except LockTimeout:
            # Its owner lives and is publishing right now.
            return None
        except (HeadwaterError, OSError) as error:
            # Somebody has the old file open, say. The next build of the artifact tries again, and fails if it must.
            return f"{ref}: an interrupted build waits to be completed: {str(error).splitlines()[0]}"

    def _intended(self, name: str) -> bool:
        return any(self.publisher.scratch_of(intent) == name for intent in self.publisher.pending())


def _silent(_ref: Ref, _phase: str, _fraction: float | None) -> None:
    """No progress display."""

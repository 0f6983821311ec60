"""Build: bring one artifact up to date, from the fresh check to the record.

Composes the parts (standing, cache, view, ownership, publish) into the one way through; each part decides for itself. Light
until something has to run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.engine import fingerprint as prints
from assets.engine.cache import BuildCache, CacheEntry
from assets.engine.checks import Checks
from assets.engine.graph import Node
from assets.engine.model import Difference, Outcome, Ownership, Policy, Progress, Question, Ref, Result
from assets.engine.ownership import Verdict, all_equal, classify, decide, plan_digest, worst
from assets.engine.places import MANIFEST, SIDECARS, Key, Places, scratch_name
from assets.engine.provenance import InputRecord, OutputFile, Provenance, Records
from assets.engine.publish import Publication, Publisher, collect_outputs
from assets.engine.recipe import Confirm, Place, Recipe, Reproducibility, Summary
from assets.engine.standing import Observer, Standing
from assets.engine.view import Built, RoleInput, Scratch, View
from schemas.errors import HeadwaterError, InputChanged, InvalidText, Refused
from schemas.oid import json_oid

if TYPE_CHECKING:
    from assets.engine.items import ItemBuild, ItemReader
    from resources.workspace import Workspace

RETRIES = 2
"""How often a build starts again because an input changed under it."""
LOCK_TIMEOUT = 24 * 3600.0
"""Seconds to wait for another build of the same artifact; it ends when its process does."""

_DONE = (Result.FRESH, Result.BUILT, Result.RESTORED, Result.ADOPTED)


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

    def recorded(self, outputs: tuple[OutputFile, ...]) -> tuple[OutputFile, ...]:
        """Those of `outputs` that the record lists."""
        return outputs if self.entries is None else tuple(one for one in outputs if one.path.endswith(f"/{MANIFEST}"))

    def oids(self) -> dict[Key, str]:
        return {output.key: output.oid for output in self.outputs}


class Builder:
    """Builds artifacts of one workspace, one at a time."""

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
        self.also_built: dict[Ref, Outcome] = {}
        """Upstream artifacts that had to be built on the way, for the caller to report."""

    def build(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome:
        """Bring the artifact and what it is made of up to date. Never raises for what went wrong with the artifact: the
        outcome carries the error."""
        started = time.perf_counter()
        try:
            outcome = self._with_retries(ref, policy, progress)
        except InvalidText as error:
            outcome = Outcome(ref, Result.BLOCKED, error=error, reasons=(error.message,))
        except Refused as error:
            outcome = Outcome(ref, Result.REFUSED, error=error, reasons=(error.message,))
        except Exception as error:
            outcome = Outcome(ref, Result.FAILED, error=error, reasons=(_one_line(error),))
        outcome.seconds = time.perf_counter() - started
        progress(ref, "done", 1.0)
        return outcome

    def _with_retries(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome:
        for attempt in range(RETRIES + 1):
            try:
                return self._once(ref, policy, progress)
            except InputChanged:
                if attempt == RETRIES:
                    raise
                self.observer.forget(self.observer.graph.node(ref).store)
        raise AssertionError("unreachable")

    def _once(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome:
        progress(ref, "scan", None)
        blocked = self._bring_upstream(ref, policy, progress)
        if blocked is not None:
            return blocked
        standing = self.observer.standing(ref)
        if standing.fresh and not policy.force:
            return self.fresh(standing)
        progress(ref, "check", None)
        self.checks.refuse_blocking(standing)
        with self.lock(ref):
            self.recover(ref)
            # Somebody else may have built it while we waited for the lock.
            self.observer.forget_artifact(ref)
            standing = self.observer.standing(ref)
            if standing.fresh and not policy.force:
                return self.fresh(standing)
            if standing.fingerprint is None:
                raise HeadwaterError(
                    standing.trouble or "its inputs are not known", rule="upstream-missing", fix="build its inputs"
                )
            if standing.node.recipe.items is not None:
                standing = self.observer.full_standing(ref)
            outcome = self._bring_up(standing, standing.fingerprint or "", policy, progress)
        self.observer.forget_artifact(ref)
        return outcome

    def _bring_upstream(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome | None:
        """Build what the artifact reads, where that is not fresh; an outcome when that cannot be had."""
        node = self.observer.graph.node(ref)
        for declared in node.recipe.inputs:
            if declared.artifact is None:
                continue
            upstream = Ref(ref.kind, ref.store, declared.artifact)
            if not self.observer.standing(upstream).fresh:
                outcome = self.also_built.get(upstream)
                if outcome is None or outcome.result in _DONE:
                    outcome = self.build(upstream, replace(policy, force=False), progress)
                    self.also_built[upstream] = outcome
                if outcome.result not in _DONE:
                    return Outcome(
                        ref,
                        Result.BLOCKED,
                        reasons=(f"its input {upstream} is {outcome.result}: {'; '.join(outcome.reasons)}",),
                        error=outcome.error,
                    )
        return None

    @contextmanager
    def lock(self, ref: Ref) -> Iterator[None]:
        """The artifact's lock on this machine; freed by the operating system when its holder dies."""
        from resources.locks import file_lock

        with file_lock(self.workspace.local / "locks", f"artifact {ref}", timeout=LOCK_TIMEOUT):
            yield

    def recover(self, ref: Ref) -> str | None:
        """Complete a publication of the artifact that was cut short, its lock being held; a line for the user."""
        intent = self.publisher.intent_of(ref)
        if not intent.exists():
            return None
        node = self.observer.graph.nodes.get(ref)
        return self.publisher.recover(intent, None if node is None else (node.store, node.recipe))

    def fresh(self, standing: Standing) -> Outcome:
        """The outcome of an artifact that needs nothing."""
        assert standing.record is not None
        return self._outcome(standing, Result.FRESH, standing.record)

    def _outcome(self, standing: Standing, result: Result, record: Provenance, **more: Any) -> Outcome:
        node = standing.node
        return Outcome(
            node.ref,
            result,
            output_digest=record.output_digest,
            outputs=self.places.shown(node.store, node.recipe),
            summary=record.summary,
            input_roots={role: held.root or held.digest for role, held in standing.roles.items()},
            **more,
        )

    # the decision

    def _bring_up(self, standing: Standing, fingerprint: str, policy: Policy, progress: Progress) -> Outcome:
        """With the lock held and something to do: ask where that needs no building, make the outputs, put them in place."""
        node, present = standing.node, standing.present
        plan = plan_digest(fingerprint, present)
        confirm = self.confirm(standing)
        # Our own older file: what would change is known without building, so ask before the work, not after it.
        if worst(standing.whose) is Ownership.OURS and decide(Ownership.OURS, policy, confirm, plan) is Verdict.ASK:
            self._ask(standing, Ownership.OURS, plan, policy)
            policy = replace(policy, confirm=policy.confirm | {plan})
        with self.scratch(node.ref) as folder:
            made = self.make(standing, fingerprint, policy, progress, folder)
            return self.place(standing, fingerprint, made, policy, progress)

    def place(self, standing: Standing, fingerprint: str, made: Made, policy: Policy, progress: Progress) -> Outcome:
        """Decide whose the files in the way of finished outputs are, and adopt, publish or refuse accordingly."""
        node, present = standing.node, standing.present
        plan = plan_digest(fingerprint, present)
        confirm = self.confirm(standing)
        whose = classify(present, standing.record, made.oids())
        if all_equal(whose) or self._same_content(node.recipe, standing, made, whose):
            return self.keep_present(standing, fingerprint, made)
        ownership = worst(whose)
        verdict = decide(ownership, policy, confirm, plan)
        if verdict is Verdict.REFUSE:
            raise self._refusal(standing, ownership, plan)
        if verdict is Verdict.ASK:
            self._ask(standing, ownership, plan, policy)
        rescued: list[str] = []
        foreign = [key for key, mark in whose.items() if mark in (Ownership.EDITED, Ownership.UNKNOWN)]
        if foreign:
            rescued = self.publisher.rescue(node.store, present, foreign)
        progress(node.ref, "publish", None)
        record = self._record(standing, fingerprint, made, made.how, made.recorded(made.outputs))
        self._write_manifests(standing, made)
        record = self.publisher.publish(
            Publication(
                node.store,
                node.recipe,
                made.folder,
                record,
                made.outputs,
                present,
                keep_backup=confirm is Confirm.ALWAYS,
                previous=standing.record_oid,
            )
        )
        self._keep_inputs(standing)
        if made.build is not None:
            made.build.published(self.places.item_records(node.ref))
        result = Result.RESTORED if made.how == "restored" else Result.BUILT
        why = self._why(standing)
        return self._outcome(standing, result, record, pictures=made.pictures, rescued=tuple(rescued), reasons=why)

    def _why(self, standing: Standing) -> tuple[str, ...]:
        return self.observer.state(standing.node.ref).reasons

    def keep_present(self, standing: Standing, fingerprint: str, made: Made) -> Outcome:
        """What would be built lies there already: adopt it and touch nothing."""
        ours = standing.record is not None and standing.intact
        outputs = tuple(replace(output, oid=standing.present[output.key].oid) for output in made.outputs)
        how = made.how if ours else "adopted"
        record = self._record(standing, fingerprint, made, how, made.recorded(outputs))
        record = replace(record, backups=standing.record.backups if standing.record is not None else ())
        why = self._why(standing)
        self._write_manifests(standing, made)
        self.publisher.record(record, standing.record_oid)
        if made.build is not None:
            made.build.published(self.places.item_records(standing.node.ref))
        self._keep_inputs(standing)
        result = Result.ADOPTED if not ours else (Result.RESTORED if how == "restored" else Result.BUILT)
        return self._outcome(standing, result, record, pictures=made.pictures, reasons=why)

    def _same_content(self, recipe: Recipe, standing: Standing, made: Made, whose: Mapping[Key, Ownership]) -> bool:
        """Whether foreign files say the same as what was made, for formats that other tools rewrite."""
        if recipe.content is None or worst(whose) not in (Ownership.EDITED, Ownership.UNKNOWN):
            return False
        if whose.keys() != made.oids().keys() or any(here.obstacle for here in standing.present.values()):
            return False
        if any(key[1].endswith(SIDECARS) for key in standing.present) or standing.present.keys() != whose.keys():
            return False
        content = recipe.content.load()
        for key in whose:
            local = self.places.spot(standing.node.store, key).local
            if local is None:
                return False
            try:
                if content(local) != content(made.folder / "outputs" / key[1]):
                    return False
            except Exception:
                # Whatever lies there is not even of the format; that is a difference.
                return False
        return True

    def confirm(self, standing: Standing) -> Confirm:
        """Whether replacing our own output is asked about: `[stores.<name>] confirm`, else what the recipe says."""
        node = standing.node
        configured = self.workspace.config.stores.get(node.store.name)
        if configured is None or configured.confirm is None or configured.kind != node.ref.kind:
            return node.recipe.confirm
        if configured.confirm == Confirm.ALWAYS and any(output.place is Place.STORE for output in node.recipe.outputs):
            return Confirm.ALWAYS
        return node.recipe.confirm if configured.confirm == Confirm.ALWAYS else Confirm.NEVER

    # questions

    def question(self, standing: Standing, ownership: Ownership, plan: str) -> Question:
        """What is asked before the present files are replaced, with what would change."""
        paths = tuple(self.places.spot(standing.node.store, key).shown for key in sorted(standing.present))
        return Question(standing.node.ref, ownership, plan, self._difference(standing), paths)

    def foresee(self, ref: Ref) -> Question | None:
        """What a build would ask about this artifact now; None when nothing, or when its inputs have to be built first."""
        standing = self.observer.standing(ref)
        if standing.fresh or standing.fingerprint is None or standing.stale_upstream or not standing.present:
            return None
        plan = plan_digest(standing.fingerprint, standing.present)
        ownership = worst(standing.whose)
        try:
            if ownership is Ownership.OURS:
                return self.question(standing, ownership, plan) if self.confirm(standing) is Confirm.ALWAYS else None
            self.checks.refuse_blocking(standing)
            with self.scratch(ref) as folder:
                made = self.make(standing, standing.fingerprint, Policy(), _silent, folder)
                whose = classify(standing.present, standing.record, made.oids())
                same = all_equal(whose) or self._same_content(standing.node.recipe, standing, made, whose)
            ownership = worst(whose)
            foreign = ownership in (Ownership.EDITED, Ownership.UNKNOWN)
            return self.question(standing, ownership, plan) if foreign and not same else None
        except Exception:
            # What is wrong is told by the build itself; here there is only nothing to ask.
            return None

    def _difference(self, standing: Standing) -> Difference:
        node = standing.node
        if node.recipe.preview is not None and self.workspace.root.local_root is not None:
            paths = [
                local
                for output in node.recipe.outputs
                if (local := self.places.spot(node.store, (output.place, output.path)).local) is not None
            ]
            with self.scratch(node.ref) as folder:
                view = self.view(standing, folder)
                view.built = self.last_built(standing)
                try:
                    difference: Difference = node.recipe.preview.load()(view, paths)
                    return difference
                except InvalidText:
                    raise
                except HeadwaterError as error:
                    return Difference(error.message, [])
        lines = [
            f"{self.places.spot(node.store, key).shown}: {here.size} bytes, {standing.whose[key]}"
            for key, here in sorted(standing.present.items())
        ]
        return Difference(f"{len(lines)} file{'s' if len(lines) != 1 else ''} will be replaced", lines)

    def _ask(self, standing: Standing, ownership: Ownership, plan: str, policy: Policy) -> None:
        assert policy.ask is not None
        if not policy.ask(self.question(standing, ownership, plan)):
            raise Refused(
                f"{', '.join(self._paths(standing))} was left as it is",
                rule="replacement-declined",
                fix=f"to replace it later, run `headwater build {standing.node.ref}` again",
            )

    def _paths(self, standing: Standing) -> list[str]:
        return [self.places.spot(standing.node.store, key).shown for key in sorted(standing.present)]

    def _refusal(self, standing: Standing, ownership: Ownership, plan: str) -> Refused:
        """The refusal of a build without a terminal: the difference, and the exact words that allow the replacement."""
        ref = standing.node.ref
        difference = self._difference(standing)
        paths = self._paths(standing)
        what = "was edited since it was built" if ownership is Ownership.EDITED else "was not written by Headwater"
        detail = "".join(f"\n    {line}" for line in difference.lines[:20])
        refused = Refused(
            f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''} {what}: {difference.headline}{detail}",
            rule="output-not-ours",
            path=paths[0],
            fix=(
                f"run `headwater build {ref} --confirm {plan}`, or paste this run config in the Dagster launchpad:\n"
                f"{run_config_yaml(ref, plan)}\n"
                f"  the present file is copied to headwater-rescue/ first; `headwater adopt {ref}` keeps it if it is right"
            ),
        )
        refused.difference = difference  # type: ignore[attr-defined]  # shown as metadata of the failed run
        refused.plan = plan  # type: ignore[attr-defined]
        return refused

    # making

    @contextmanager
    def scratch(self, ref: Ref) -> Iterator[Path]:
        """A new folder for one build; removed afterwards, and swept by a later command when this process dies."""
        import shutil

        base = self.workspace.local / "scratch"
        base.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            folder = base / f"{scratch_name(ref)}.{os.getpid()}.{number}"
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
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
        record = standing.record
        fetched = folder / "inputs"
        fetched.mkdir(exist_ok=True)
        return View(
            self.workspace.root,
            standing.node.store,
            self.checks.with_findings(standing.roles),
            fetched,
            upstream,
            readers,
            previous_digests={role: entry.digest for role, entry in record.inputs.items()} if record is not None else {},
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
        if policy.use_cache and not policy.force:
            entry = self.cache.find(fingerprint, recipe)
            if entry is not None:
                progress(ref, "restore", None)
                if self.cache.restore(entry, folder / "outputs"):
                    return Made(folder, entry.outputs, entry.output_digest, entry.summary, "restored")
        made = self.run(standing, progress, folder, fold=not policy.force)
        if policy.use_cache:
            self.cache.keep(CacheEntry(fingerprint, made.outputs, made.output_digest, made.summary), folder / "outputs")
        return made

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

    def run(self, standing: Standing, progress: Progress, folder: Path, *, fold: bool = False) -> Made:
        """Run the recipe's body in `folder`; raises InputChanged when an input was edited meanwhile.

        With `fold`, a recipe that can is given its previous output and what changed since, where that is known.
        """
        recipe, ref = standing.node.recipe, standing.node.ref
        if recipe.items is not None:
            return self.make_items(standing, progress, folder, afresh=True)
        progress(ref, "build", None)
        scratch = Scratch(folder)
        view = self.view(standing, folder)
        try:
            summary = self._body(standing, view, scratch, fold=fold)
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
        return Made(folder, outputs, digest, summary.to_json(), "built", summary.pictures)

    def _body(self, standing: Standing, view: View, scratch: Scratch, *, fold: bool) -> Summary:
        recipe = standing.node.recipe
        if fold and recipe.fold is not None:
            from assets.engine.folded import deltas, previous_copy

            changed = deltas(self.observer, standing)
            previous = previous_copy(self.places, standing, scratch.folder / "previous") if changed is not None else None
            if previous is not None:
                folded: Summary = recipe.fold.load()(view, scratch, standing.parameters, previous, changed)
                return folded
        summary: Summary = recipe.body.load()(view, scratch, standing.parameters)
        return summary

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

    # records

    def _record(self, standing: Standing, fingerprint: str, made: Made, how: str, outputs: tuple[OutputFile, ...]) -> Provenance:
        return Provenance(
            ref=standing.node.ref,
            fingerprint=fingerprint,
            recipe_version=standing.node.recipe.version,
            code_version=standing.code_version,
            parameters=standing.parameters,
            libraries=standing.libraries,
            inputs={
                role: InputRecord(str(held.ref) if held.ref is not None else None, held.digest, held.root)
                for role, held in standing.roles.items()
            },
            outputs=outputs,
            output_digest=made.output_digest,
            how=how,
            summary=made.summary,
            sequence=standing.record.sequence + 1 if standing.record is not None else 1,
        )

    def _write_manifests(self, standing: Standing, made: Made) -> None:
        """Keep what was read, so that a later `explain` can name the files that changed, and what a set of items holds."""
        for held in standing.roles.values():
            if held.root is not None:
                self.records.write_manifest(held.root, lambda held=held: held.files)  # type: ignore[misc]  # bound per role
        entries = made.entries
        if entries is not None:
            self.records.write_manifest(made.output_digest, lambda: entries)

    def _keep_inputs(self, standing: Standing) -> None:
        """Keep the text of the recipe's `keep` roles among the objects. Only a help for previews: what cannot be kept is not."""
        root = self.workspace.root.local_root
        if root is None:
            return
        prefix = f"{standing.node.store.root}/" if standing.node.store.root else ""
        for role in standing.node.recipe.keep:
            for path, oid, size in standing.roles[role].files:
                if not self.workspace.objects.has(oid, size=size):
                    with suppress(HeadwaterError, OSError):
                        self.workspace.objects.put(root / (prefix + path), oid=oid)

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
        objects = self.workspace.objects
        return Built(files, outputs, objects.has, objects.get)


def output_digest(recipe: Recipe, outputs: tuple[OutputFile, ...]) -> str:
    """The digest of byte-equal outputs: the oid of a single file, else that of the sorted list of paths and oids."""
    if len(outputs) == 1 and not recipe.outputs[0].folder:
        return outputs[0].oid
    return json_oid([[output.path, output.oid] for output in sorted(outputs)])


def run_config_yaml(ref: Ref, plan: str) -> str:
    """The run config that agrees to one replacement, as the launchpad takes it."""
    from schemas.ids import escape_name

    operation = "__".join((ref.kind, escape_name(ref.store), ref.name))
    return f'ops:\n  {operation}:\n    config:\n      confirm: ["{plan}"]'


def _one_line(error: Exception) -> str:
    message = error.message if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
    return message.splitlines()[0] if message else type(error).__name__


def _silent(_ref: Ref, _phase: str, _fraction: float | None) -> None:
    """No progress display."""

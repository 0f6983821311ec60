"""Build: bring one artifact up to date, from the fresh check to the record.

Composes the parts (standing, cache, view, ownership, publish) into the one way through; each part decides for itself. Light
until something has to run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from assets.engine.cache import CacheEntry, Keeping
from assets.engine.make import Made, Maker
from assets.engine.model import Outcome, Ownership, Policy, Progress, Ref, Result
from assets.engine.ownership import Verdict, all_equal, classify, decide, plan_digest, worst
from assets.engine.protected import protected
from assets.engine.provenance import InputRecord, OutputFile, Provenance
from assets.engine.publish import Publication
from assets.engine.questions import Questions
from assets.engine.recipe import Confirm
from assets.engine.standing import Standing
from resources.problems import database_problem, problem_of
from schemas.errors import HeadwaterError, InputChanged, InvalidText, Refused

RETRIES = 2
"""How often a build starts again because an input changed under it."""
LOCK_TIMEOUT = 24 * 3600.0
"""Seconds to wait for another build of the same artifact; it ends when its process does."""

_DONE = (Result.FRESH, Result.BUILT, Result.RESTORED, Result.ADOPTED)


class Builder:
    """Builds artifacts of one workspace, one at a time."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.workspace = maker.workspace
        self.observer = maker.observer
        self.places = maker.places
        self.records = maker.records
        self.publisher = maker.publisher
        self.cache = maker.cache
        self.checks = maker.checks
        self.questions = Questions(maker)
        self.also_built: dict[Ref, Outcome] = {}
        """Upstream artifacts that had to be built on the way, for the caller to report."""
        self._unshared: CacheEntry | None = None
        """What was built and published last, until it is shared."""

    def build(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome:
        """Bring the artifact and what it is made of up to date. Never raises for what went wrong with the artifact: the
        outcome carries the error."""
        started = time.perf_counter()
        try:
            outcome = self._with_retries(ref, policy, progress)
        except InvalidText as error:
            outcome = Outcome(ref, Result.BLOCKED, error=error, reasons=(_one_line(error),))
        except Refused as error:
            outcome = Outcome(ref, Result.REFUSED, error=error, reasons=(_one_line(error),))
        except OSError as error:
            problem = problem_of(error)
            outcome = Outcome(ref, Result.FAILED, error=problem, reasons=(_one_line(problem),))
        except Exception as error:
            failure = database_problem(error) or error
            outcome = Outcome(ref, Result.FAILED, error=failure, reasons=(_one_line(failure),))
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
        if not any(held.absent for held in standing.roles.values()):
            # Without all of its text here a store cannot be checked; what the cache has was built from text that was.
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
        entry, self._unshared = self._unshared, None
        if entry is not None:
            # Without the artifact's lock: a remote may take a minute.
            self.cache.share(entry)
        return outcome

    def _bring_upstream(self, ref: Ref, policy: Policy, progress: Progress) -> Outcome | None:
        """Build what the artifact reads, where that is not fresh; an outcome when that cannot be had."""
        node = self.observer.graph.node(ref)
        for declared in node.recipe.inputs:
            if declared.everything == "source":
                self._bring_findings(policy, progress)
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

    def _bring_findings(self, policy: Policy, progress: Progress) -> None:
        """Bring up to date the artifacts that hold findings, which whoever reads all text reads with it. One that cannot be built
        keeps nobody waiting."""
        for ref, node in list(self.observer.graph.nodes.items()):
            if node.kind.findings_of == ref.name and ref not in self.also_built and not self.observer.standing(ref).fresh:
                self.also_built[ref] = self.build(ref, replace(policy, force=False), progress)

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
            origin=record.origin if result is Result.RESTORED else None,
            input_roots={role: held.root or held.digest for role, held in standing.roles.items()},
            **more,
        )

    # the decision

    def _bring_up(self, standing: Standing, fingerprint: str, policy: Policy, progress: Progress) -> Outcome:
        """With the lock held and something to do: ask where that needs no building, make the outputs, put them in place."""
        node, present = standing.node, standing.present
        plan = plan_digest(fingerprint, present)
        confirm = self.questions.confirm(standing)
        # Our own older file: what would change is known without building, so ask before the work, not after it.
        if worst(standing.whose) is Ownership.OURS and decide(Ownership.OURS, policy, confirm, plan) is Verdict.ASK:
            self.questions.ask(standing, Ownership.OURS, plan, policy)
            policy = replace(policy, confirm=policy.confirm | {plan})
        with self.maker.scratch(node.ref) as folder:
            made = self.maker.make(standing, fingerprint, policy, progress, folder)
            outcome = self.place(standing, fingerprint, made, policy, progress)
            self._unshared = made.entry
            return outcome

    def place(self, standing: Standing, fingerprint: str, made: Made, policy: Policy, progress: Progress) -> Outcome:
        """Decide whose the files in the way of finished outputs are, and adopt, publish or refuse accordingly."""
        node, present = standing.node, standing.present
        plan = plan_digest(fingerprint, present)
        confirm = self.questions.confirm(standing)
        whose = classify(present, standing.record, made.oids())
        if all_equal(whose) or self.questions.same_content(node.recipe, standing, made, whose):
            return self.keep_present(standing, fingerprint, made)
        self._refuse_protected(standing, made)
        ownership = worst(whose)
        verdict = decide(ownership, policy, confirm, plan, derived=node.recipe.derived_by_format)
        if verdict is Verdict.REFUSE:
            raise self.questions.refusal(standing, ownership, plan)
        if verdict is Verdict.ASK:
            self.questions.ask(standing, ownership, plan, policy)
        rescued: list[str] = []
        foreign = [key for key, mark in whose.items() if mark in (Ownership.EDITED, Ownership.UNKNOWN)]
        if foreign:
            rescued = self.publisher.rescue(node.store, present, foreign, derived=node.recipe.derived_by_format)
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
        self._refer(standing, made)
        self._drop_superseded(standing)
        self._drop_manifests(standing)
        self._keep_inputs(standing)
        if made.build is not None:
            made.build.published(self.places.item_records(node.ref))
        result = Result.RESTORED if made.how == "restored" else Result.BUILT
        why = self._why(standing)
        return self._outcome(standing, result, record, pictures=made.pictures, rescued=tuple(rescued), reasons=why)

    def _refer(self, standing: Standing, made: Made) -> None:
        """Tell the build cache where the files lie that it keeps by reference."""
        if made.kept is not Keeping.REFERENCE or made.how == "restored":
            return
        spots = {output.oid: self.places.spot(standing.node.store, output.key).local for output in made.outputs}
        self.cache.refer({oid: path for oid, path in spots.items() if path is not None})

    def _refuse_protected(self, standing: Standing, made: Made) -> None:
        """Raise Refused when a store's text names a file in the way as its user's data; no yes helps there."""
        store = standing.node.store
        spots = {key: self.places.spot(store, key) for key in standing.present.keys() | made.oids().keys()}
        held = protected(self.workspace, self.observer.kinds, self.observer.discovered.stores, spots.values())
        for path, owner in sorted(held.items()):
            raise Refused(
                f"is versioned data of the {owner.kind} store {owner.name}: nothing is built in its place",
                rule="output-versioned",
                path=path,
                fix="move the data (`headwater dvs mv`), or stop versioning it there (`headwater dvs rm`)",
            )

    def _drop_superseded(self, standing: Standing) -> None:
        """Delete what lies where the outputs lay before the store was laid out anew, but for what was changed since."""
        if standing.record is None:
            return
        places = {output.place for output in standing.node.recipe.outputs}
        for output in (*standing.record.outputs, *standing.record.backups):
            if output.place not in places:
                spot = self.places.spot(standing.node.store, output.key)
                with suppress(HeadwaterError, OSError):
                    spot.storage.delete(spot.path, expect=output.oid)

    def _drop_manifests(self, standing: Standing) -> None:
        """Delete what a folded artifact was folded from: it is built at every edit, and each list of ten thousand notes takes a
        megabyte. Those that another artifact of the store was built from stay, and so does everything `gc` looks after."""
        before = standing.record
        if before is None or standing.node.recipe.fold is None:
            return
        now = {held.root for held in standing.roles.values()}
        roots = {entry.root for entry in before.inputs.values() if entry.root is not None} - now
        store = standing.node.store
        for ref, node in self.observer.graph.nodes.items() if roots else ():
            if ref != standing.node.ref and (node.store.kind, node.store.name) == (store.kind, store.name):
                record = self.records.read(ref)
                roots -= {entry.root for entry in record.inputs.values()} if record is not None else set()
        for root in roots:
            self.records.delete_manifest(root)

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
            origin=made.origin if how == "restored" else None,
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
        """Keep the text of the recipe's `keep` roles instead of that of the build before. Only a help for previews: what cannot
        be kept is not."""
        root = self.workspace.root.local_root
        if root is None or not standing.node.recipe.keep:
            return
        prefix = f"{standing.node.store.root}/" if standing.node.store.root else ""
        kept = self.maker.kept(standing)
        files = [file for role in standing.node.recipe.keep for file in standing.roles[role].files]
        with suppress(HeadwaterError, OSError):
            for path, oid, size in files:
                if not kept.has(oid, size=size):
                    kept.put(root / (prefix + path), oid=oid)
            wanted = {oid for _, oid, _ in files}
            for oid, _ in kept.list():
                if oid not in wanted:
                    kept.delete(oid)


def _one_line(error: Exception) -> str:
    """The first line of an error, with the place it is about."""
    if not isinstance(error, HeadwaterError):
        message = f"{type(error).__name__}: {error}"
    else:
        message = f"{error.place}: {error.message}" if error.place else error.message
    return message.splitlines()[0] if message else type(error).__name__

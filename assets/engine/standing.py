"""Where an artifact stands: its inputs as they are now, its fingerprint, its record, and whether it is fresh.

Everything is read through the stat cache; nothing is built, written or parsed. What to do about it is `assets.engine.build`.
Light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assets.engine import fingerprint as prints
from assets.engine.adhoc import named_before
from assets.engine.discovery import Discovered, walk
from assets.engine.graph import WHOLE_WORKSPACE, Graph, Node
from assets.engine.model import Freshness, Ownership, Ref, State, Store
from assets.engine.ownership import classify, worst
from assets.engine.places import WORKSPACE_KIND, Key, Places, Present
from assets.engine.provenance import OutputFile, Provenance, Records
from assets.engine.recipe import Input, Kind, Place, Recipe
from assets.engine.scan import FileEntry, SourceState, narrowed, scan_sources, with_absent
from assets.engine.view import Member, RoleInput
from schemas.errors import HeadwaterError
from schemas.oid import json_oid

if TYPE_CHECKING:
    from resources.workspace import Workspace

_SHOWN_CHANGES = 100


@dataclass(slots=True)
class Standing:
    """One artifact as it stands now. `fingerprint` is None while an upstream artifact was never built; `trouble` says so."""

    node: Node
    roles: dict[str, RoleInput]
    parameters: dict[str, Any]
    libraries: dict[str, str]
    fingerprint: str | None
    record: Provenance | None
    record_oid: str | None
    present: dict[Key, Present]
    stale_upstream: tuple[Ref, ...] = ()
    trouble: str | None = None
    whose: Mapping[Key, Ownership] = field(default_factory=dict)

    @property
    def code_version(self) -> str:
        return prints.code_version(self.node.recipe, self.parameters, self.libraries)

    @property
    def current(self) -> bool:
        """Whether the outputs that lie there are those of the present fingerprint."""
        return (
            self.record is not None
            and self.fingerprint is not None
            and self.record.fingerprint == self.fingerprint
            and self.intact
        )

    @property
    def intact(self) -> bool:
        """Whether exactly the files that the record lists lie there."""
        return self.record is not None and {key: here.oid for key, here in self.present.items()} == self.record.output_oids()

    @property
    def fresh(self) -> bool:
        return self.current and not self.stale_upstream


class Observer:
    """Looks at one workspace: its stores, sources, records and outputs, each read once until `forget`."""

    def __init__(self, workspace: Workspace, kinds: Mapping[str, Kind], places: Places, records: Records) -> None:
        self.workspace = workspace
        self.kinds = kinds
        self.places = places
        self.records = records
        self._discovered: Discovered | None = None
        self._graph: Graph | None = None
        self._sources: dict[tuple[str, str], dict[str, SourceState]] = {}
        self._standings: dict[Ref, Standing] = {}

    # the workspace

    @property
    def discovered(self) -> Discovered:
        if self._discovered is None:
            self._discovered = walk(self.workspace, self.kinds, remembered=self._remembered())
            if WORKSPACE_KIND in self.kinds:
                self._discovered.stores.append(WHOLE_WORKSPACE)
        return self._discovered

    def _remembered(self) -> list[Store]:
        """The stores that the records know; of a store that is found again only its name counts.

        What was only ever named on a command line is not missed when nobody names it.
        """
        named = named_before(self.workspace)
        return [
            store
            for store in _recorded_stores(self.records)
            if store.kind != WORKSPACE_KIND and (store.kind, store.name) not in named
        ]

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            self._graph = Graph(self.discovered.stores, self.kinds, self._place)
        return self._graph

    def _place(self, store: Store, kind: Kind) -> Place:
        assert kind.place is not None
        found: Place = kind.place.load()(self.workspace.root, store.root, store.settings)
        return found

    def forget(self, store: Store | None = None) -> None:
        """Look again: at one store's sources and artifacts, or at everything."""
        if store is None:
            self._discovered = self._graph = None
            self._sources.clear()
            self._standings.clear()
            return
        if store.kind == WORKSPACE_KIND:
            # What is made of the whole workspace must see all of it anew.
            self._sources.clear()
            self._standings.clear()
            return
        self._sources.pop((store.kind, store.name), None)
        for ref in list(self._standings):
            if (ref.kind, ref.store) == (store.kind, store.name) or ref.kind == WORKSPACE_KIND:
                del self._standings[ref]

    def forget_artifact(self, ref: Ref) -> None:
        """Look again at one artifact and at everything built from it."""
        for other in self.graph.all_downstream([ref]):
            self._standings.pop(other, None)

    def sources(self, store: Store) -> dict[str, SourceState]:
        """Source name -> state; empty for the pseudo store. Raises HeadwaterError for a store that is not present."""
        key = (store.kind, store.name)
        if key not in self._sources:
            if not store.present:
                raise HeadwaterError(
                    f"the store {store.kind}/{store.name} is gone", rule="store-vanished", fix="bring its folder back"
                )
            nested = [
                other.root
                for other in self.discovered.stores
                if other.kind == store.kind
                and other.root != store.root
                and other.root.startswith(f"{store.root}/" if store.root else "")
            ]
            if store.kind == WORKSPACE_KIND:
                self._sources[key] = {}
            else:
                discovered, kind = self.discovered, self.kinds[store.kind]
                states = scan_sources(self.workspace, kind, store, discovered.enter, discovered.excluded, nested, self._built())
                known = self._known_elsewhere(store)
                self._sources[key] = with_absent(kind, store, states, known, discovered.excluded) if known else states
        return self._sources[key]

    def _known_elsewhere(self, store: Store) -> list[FileEntry]:
        """Files in the store's folder that are not here and whose oids the text of other stores knows, by workspace path."""
        root = self.workspace.root
        lead = f"{store.root}/" if store.root else ""
        found = []
        for other in self.discovered.stores:
            known = self.kinds[other.kind].known if other.kind in self.kinds and other.kind != store.kind else None
            overlaps = other.root == store.root or not other.root or not store.root
            if known is None or not other.present or not (overlaps or lead.startswith(f"{other.root}/")):
                continue
            entries = known.load()(root, other.root, store.root, self.workspace.stat_cache)
            found += [entry for entry in entries if root.stat(entry[0]) is None]
        return found

    def _built(self) -> dict[str, list[str]]:
        """Folder -> names of the files that artifacts are, beside their text: one store may lie in the folder of another."""
        found: dict[str, list[str]] = {}
        for node in self.graph.nodes.values():
            for output in node.recipe.outputs:
                if output.place is Place.STORE and not output.folder:
                    path = f"{node.store.root}/{output.path}" if node.store.root else output.path
                    folder, _, name = path.rpartition("/")
                    found.setdefault(folder, []).append(name)
        return found

    # one artifact

    def standing(self, ref: Ref) -> Standing:
        """How the artifact stands, remembered until `forget`."""
        if ref not in self._standings:
            self._standings[ref] = self._look(self.graph.node(ref))
        return self._standings[ref]

    def full_standing(self, ref: Ref) -> Standing:
        """How the artifact stands, with every file of a set of items listed in `record` and `present`."""
        node = self.graph.node(ref)
        return self._look(node, full=True) if node.recipe.items is not None else self.standing(ref)

    def _look(self, node: Node, *, full: bool = False) -> Standing:
        recipe = node.recipe
        record, record_oid = self.records.read_versioned(node.ref)
        parameters = prints.parameters_of(node.kind, recipe, node.store.settings)
        if recipe.items is None:
            present = self.places.present(node.store, recipe, record)
        else:
            record, present = self._set(node, record, full=full)
        standing = Standing(node, {}, parameters, {}, None, record, record_oid, present)
        stale: list[Ref] = []
        try:
            standing.libraries = prints.libraries_of(recipe)
            for declared in recipe.inputs:
                standing.roles[declared.role] = self._role(node, declared, stale)
            standing.fingerprint = prints.fingerprint(
                node.ref.kind,
                recipe,
                parameters,
                standing.libraries,
                {role: held.digest for role, held in standing.roles.items()},
            )
        except HeadwaterError as error:
            standing.trouble = error.message
        standing.stale_upstream = tuple(stale)
        expected = record.output_oids() if record is not None and record.fingerprint == standing.fingerprint else None
        standing.whose = classify(standing.present, record, expected)
        return standing

    def _set(self, node: Node, record: Provenance | None, *, full: bool) -> tuple[Provenance | None, dict[Key, Present]]:
        """The record and the present files of a set of items.

        The manifest stands for the whole set as long as the folder is as it was when the two were last compared; only
        otherwise, or with `full`, the record is expanded to every file and each of them listed.
        """
        recipe, store = node.recipe, node.store
        if not recipe.item_files:
            return record, self.places.present_manifest(store, node.ref, recipe, record)
        memo = f"items:{self.places.folder_digest(store, recipe)}"
        known = self.workspace.stat_cache.memo(memo)
        if not full and record is not None and known == record.output_digest.encode():
            return record, self.places.present_manifest(store, node.ref, recipe, record)
        expanded = self.expanded(node.recipe, record)
        present = self.places.present(store, recipe, expanded)
        oids = {key: here.oid for key, here in present.items()}
        if record is not None and expanded is not None and oids == expanded.output_oids():
            self.workspace.stat_cache.set_memo(memo, record.output_digest.encode())
        return expanded, present

    def expanded(self, recipe: Recipe, record: Provenance | None) -> Provenance | None:
        """The record of a set of items with every file of the set among its outputs; others are returned as they are."""
        if record is None or not recipe.item_files:
            return record
        place, folder = recipe.outputs[0].place, recipe.outputs[0].path
        files = (OutputFile(place, f"{folder}/{key}", oid, size) for key, oid, size in self._items(record.output_digest))
        return replace(record, outputs=(*record.outputs, *files))

    def _role(self, node: Node, declared: Input, stale: list[Ref]) -> RoleInput:
        if declared.source is not None:
            state = self.sources(node.store)[declared.source]
            files, digest = narrowed(state, declared)
            absent = frozenset(path for path, _, _ in files() if path in state.absent) if state.absent else frozenset()
            return RoleInput(digest, ref=state.ref, root=state.root, enumerate_files=files, absent=absent)
        if declared.artifact is not None:
            ref = Ref(node.ref.kind, node.ref.store, declared.artifact)
            upstream = self.standing(ref)
            if not upstream.fresh:
                stale.append(ref)
            if upstream.record is None:
                raise HeadwaterError(f"its input {ref} was never built", rule="upstream-missing")
            digest = upstream.record.output_digest
            if upstream.node.recipe.items is None:
                return RoleInput(digest, ref=ref, provenance=upstream.record)
            return RoleInput(
                digest, ref=ref, root=digest, provenance=upstream.record, enumerate_files=lambda: self._items(digest)
            )
        return self._everything(declared)

    def _items(self, root: str) -> tuple[FileEntry, ...]:
        """(key, oid, size) of the items of a set, by its root."""
        return tuple(self.records.read_manifest(root) or ())

    def source_changed(self, member: Member) -> bool:
        """Whether a source that an `everything` input handed out has other files now."""
        self.forget(member.store)
        return self.sources(member.store)[member.ref.name].root != member.digest

    def _everything(self, declared: Input) -> RoleInput:
        members: list[Member] = []
        if declared.everything == "source":
            for store in self.discovered.stores:
                if store.present:
                    # Sorted, because scanned and remembered sources come in different orders.
                    for _, state in sorted(self.sources(store).items()):
                        catalog = self.kinds[store.kind].catalog
                        members.append(Member(state.ref, store, state.root, enumerate_files=_enumerator(state), catalog=catalog))
            digest = json_oid([[str(member.ref), member.digest, self.kinds[member.ref.kind].check_version] for member in members])
            return RoleInput(digest, members=tuple(members))
        for ref, node in self.graph.nodes.items():
            if ref.kind != WORKSPACE_KIND:
                record = self.standing(ref).record
                outputs = tuple(self.places.spot(node.store, output.key).shown for output in record.outputs) if record else ()
                members.append(
                    Member(ref, node.store, record.output_digest if record else None, provenance=record, outputs=outputs)
                )
        digest = json_oid(
            [[str(member.ref), member.digest, member.provenance.fingerprint if member.provenance else None] for member in members]
        )
        return RoleInput(digest, members=tuple(members))

    # what people see

    def state(self, ref: Ref, blocked: str | None = None, *, cached: bool = False) -> State:
        """The artifact's state with its reasons; `blocked` is what keeps it from being built, when something is known to."""
        standing = self.standing(ref)
        node = standing.node
        shown = self.places.shown(node.store, node.recipe)
        digest = standing.record.output_digest if standing.record is not None else None
        if standing.fresh:
            return State(ref, Freshness.FRESH, outputs=shown, output_digest=digest)
        changed = self._changed_files(standing)
        if blocked is not None:
            return State(ref, Freshness.BLOCKED, (blocked,), changed, shown, digest)
        freshness = Freshness.STALE if standing.present else Freshness.MISSING
        return State(ref, freshness, tuple(self.reasons(standing, changed)), changed, shown, digest, cached)

    def reasons(self, standing: Standing, changed: tuple[str, ...]) -> list[str]:
        """Why the artifact is not fresh, most important first."""
        record = standing.record
        reasons: list[str] = []
        ownership = worst(standing.whose)
        if record is None:
            reasons.append("it was never built" if not standing.present else "there is no record of how it was built")
        elif not standing.present:
            reasons.append("its output is missing")
        elif not standing.intact:
            lost = [key[1] for key in record.output_oids() if key not in standing.present]
            if ownership in (Ownership.EDITED, Ownership.UNKNOWN):
                touched = [key[1] for key, whose in standing.whose.items() if whose in (Ownership.EDITED, Ownership.UNKNOWN)]
                reasons.append(f"its output was edited: {', '.join(sorted(touched)[:5])}")
            if lost:
                reasons.append(f"part of its output is missing: {', '.join(sorted(lost)[:5])}")
        if record is not None:
            reasons += self._what_changed(standing, record, changed)
        if standing.stale_upstream:
            reasons.append(f"its input {', '.join(str(ref) for ref in standing.stale_upstream)} is not up to date")
        if standing.trouble is not None and record is not None:
            reasons.append(standing.trouble)
        return reasons

    def _what_changed(self, standing: Standing, record: Provenance, changed: tuple[str, ...]) -> list[str]:
        reasons = []
        if standing.node.recipe.version != record.recipe_version:
            reasons.append(f"its recipe is now version {standing.node.recipe.version}, it was built with {record.recipe_version}")
        for name, value in standing.parameters.items():
            if record.parameters.get(name) != value:
                reasons.append(f"the setting {name} is now {value!r}, it was {record.parameters.get(name)!r}")
        for name, version in standing.libraries.items():
            if record.libraries.get(name) != version:
                reasons.append(f"{name} is now {version}, it was built with {record.libraries.get(name)}")
        for role, held in standing.roles.items():
            before = record.inputs.get(role)
            if before is None or before.digest != held.digest:
                if held.ref is None:
                    # Its text and its artifacts are two roles of one input.
                    if "the workspace changed" not in reasons:
                        reasons.append("the workspace changed")
                elif held.provenance is not None:
                    reasons.append(f"its input {held.ref} changed")
                else:
                    few = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
                    reasons.append(f"the source {held.ref.name} changed{f': {few}' if changed else ''}")
        return reasons

    def _changed_files(self, standing: Standing) -> tuple[str, ...]:
        if standing.record is None:
            return ()
        names: list[str] = []
        for role, held in standing.roles.items():
            before = standing.record.inputs.get(role)
            if before is not None and before.digest != held.digest and held.root is not None and before.root is not None:
                names += [path for path, _ in self.file_changes(before.root, held.files) or ()]
        return tuple(dict.fromkeys(names))[:_SHOWN_CHANGES]

    def file_changes(self, before: str, now: tuple[FileEntry, ...]) -> list[tuple[str, str]] | None:
        """(path, `added`, `removed` or `edited`) against the manifest with root `before`; None when that is gone."""
        old_files = self.records.read_manifest(before)
        if old_files is None:
            return None
        old = {path: oid for path, oid, _ in old_files}
        new = {path: oid for path, oid, _ in now}
        changes = [(path, "removed") for path in old.keys() - new.keys()]
        changes += [(path, "added") for path in new.keys() - old.keys()]
        changes += [(path, "edited") for path in old.keys() & new.keys() if old[path] != new[path]]
        return sorted(changes)


def _enumerator(state: SourceState) -> Callable[[], tuple[FileEntry, ...]]:
    return lambda: state.files


def _recorded_stores(records: Records) -> list[Store]:
    """The stores that have provenance, from the names of the record folders alone; their roots are not known any more."""
    from schemas.ids import unescape_name

    found: dict[tuple[str, str], Store] = {}
    for kind, escaped in records.stores():
        try:
            name = unescape_name(escaped)
        except (HeadwaterError, ValueError):
            continue
        found[kind, name] = Store(kind, name, "" if name == "root" else name.removeprefix("./"))
    return list(found.values())

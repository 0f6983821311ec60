"""Checks: the findings of each store, kept by the content they follow from, and which of them keep an artifact from building.

A kind finds them in its text, or lets one of its artifacts hold them, which is then brought up to date first.

A check only shows; refusing to build on blocking findings happens here, in the engine, because a Dagster check outside a
run's selection would block nothing. Light until a store has to be checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assets.engine.model import Ref, Store
from assets.engine.places import WORKSPACE_KIND
from assets.engine.recipe import Input, Kind
from assets.engine.scan import source_roots, store_relative
from assets.engine.standing import Observer, Standing
from assets.engine.view import Member, RoleInput
from schemas.canonical import canonical_json
from schemas.errors import InvalidText
from schemas.findings import Finding
from schemas.globs import matcher
from schemas.oid import json_oid

if TYPE_CHECKING:
    from resources.workspace import Workspace


class Checks:
    """The findings of one workspace's stores."""

    def __init__(
        self,
        workspace: Workspace,
        observer: Observer,
        kinds: Mapping[str, Kind],
        readable: Callable[[Ref], Sequence[Path]],
    ) -> None:
        """`readable` brings an artifact up to date and names local paths of its outputs."""
        self.workspace = workspace
        self.observer = observer
        self.kinds = kinds
        self.readable = readable

    def findings(self, store: Store) -> list[Finding]:
        """All findings of a store, from memory when its sources have not changed since they were checked."""
        known = self.known(store)
        if known is not None:
            return known
        key = self._key(store)
        found = sorted(self._look(store))
        # Text edited while it was being checked must not be remembered under its old digest.
        self.observer.forget(store)
        if self._key(store) == key:
            record = canonical_json([finding.to_json() for finding in found])
            self.workspace.stat_cache.set_memo(f"findings:{key}", record)
        return found

    def _look(self, store: Store) -> list[Finding]:
        """The findings as they are now: from the text, or from the artifact that holds them."""
        kind, root = self.kinds[store.kind], self.workspace.root
        found: list[Finding] = []
        if kind.findings_of is not None and kind.findings is not None:
            paths = self.readable(Ref(store.kind, store.name, kind.findings_of))
            found = kind.findings.load()(paths, root, store.root, store.settings)
        elif kind.check is not None:
            found = kind.check.load()(root, store.root)
        return found

    def known(self, store: Store) -> list[Finding] | None:
        """The findings if the store's present text was checked before, else None; nothing is parsed."""
        if store.kind == WORKSPACE_KIND:
            return []
        kept = self.workspace.stat_cache.memo(f"findings:{self._key(store)}")
        return None if kept is None else [Finding.from_json(record) for record in json.loads(kept)]

    def _key(self, store: Store) -> str:
        kind = self.kinds[store.kind]
        key = {
            "kind": store.kind,
            "root": store.root,
            "sources": source_roots(self.observer.sources(store)),
            "git": self._git_files(store),
            "version": kind.check_version,
        }
        if kind.findings_of is not None:
            # The artifact's recipe and settings decide what is found, and git's index which derived files were committed.
            key["artifact"] = self.observer.standing(Ref(store.kind, store.name, kind.findings_of)).fingerprint
            key["index"] = self._git_index()
        return json_oid(key)

    def _git_index(self) -> list[int]:
        """What changes whenever something is staged, as far as one look can tell."""
        top = self.workspace.git_root
        with suppress(OSError):
            status = None if top is None else (top / ".git" / "index").stat()
            return [] if status is None else [status.st_size, status.st_mtime_ns]
        return []

    def _git_files(self, store: Store) -> list[list[str]]:
        """What git is told about the store's files, which checks look at too: no source of any kind, but small."""
        root = self.workspace.root
        if root.local_root is None:
            return []
        folders = {"", f"{store.root}/" if store.root else ""}
        paths = sorted(folder + name for folder in folders for name in (".gitignore", ".gitattributes"))
        return [[path, self.workspace.stat_cache.digest(root, path)] for path in paths if root.stat(path) is not None]

    # blocking

    def refuse_blocking(self, standing: Standing) -> None:
        """Raise InvalidText with the findings that keep the artifact from being built.

        A kind whose bodies verify the text themselves is not checked here a second time; what is known still counts.
        """
        store, kind = standing.node.store, standing.node.kind
        if store.kind == WORKSPACE_KIND or kind.quarantines:
            return
        findings = self.known(store) if kind.bodies_check else self.findings(store)
        blocking = self.blocking(standing, findings or [])
        if blocking:
            raise InvalidText(blocking)

    def known_block(self, standing: Standing) -> str | None:
        """A sentence when findings that are already known block the artifact, for `status`."""
        if standing.node.kind.quarantines:
            return None
        blocking = self.blocking(standing, self.known(standing.node.store) or [])
        if not blocking:
            return None
        more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        place = ":".join(str(part) for part in (blocking[0].path, blocking[0].line, blocking[0].column) if part is not None)
        return f"{place}: {blocking[0].message}{more}"

    def blocking(self, standing: Standing, findings: list[Finding]) -> list[Finding]:
        """The blocking findings in files the artifact reads, directly or through its inputs, or in no source at all."""
        node = standing.node
        sources = {source.name: matcher(source.include, source.exclude) for source in node.kind.sources}
        read = [
            entry for ref in self.observer.graph.all_upstream([node.ref]) for entry in self.observer.graph.node(ref).recipe.inputs
        ]
        blocking = []
        for finding in findings:
            if finding.blocking:
                path = store_relative(node.store, finding.path)
                lies_in = [name for name, test in sources.items() if test(path)]
                if not lies_in or any(_reads(entry, path, lies_in) for entry in read):
                    blocking.append(finding)
        return blocking

    # the whole workspace

    def with_findings(self, roles: Mapping[str, RoleInput]) -> Mapping[str, RoleInput]:
        """The roles with the findings of every store added to members that are sources."""
        if not any(held.members for held in roles.values()):
            return roles
        return {
            role: replace(held, members=tuple(self._with_findings(held.members))) if held.members else held
            for role, held in roles.items()
        }

    def _with_findings(self, members: tuple[Member, ...]) -> list[Member]:
        made = []
        for member in members:
            if member.provenance is not None or member.enumerate_files is None:
                made.append(member)
                continue
            kind = self.kinds[member.ref.kind]
            tests = {source.name: matcher(source.include, source.exclude) for source in kind.sources}
            first = kind.sources[0].name == member.ref.name
            mine = []
            for finding in self.findings(member.store):
                path = store_relative(member.store, finding.path)
                owner = next((name for name, test in tests.items() if test(path)), None)
                if owner == member.ref.name or (owner is None and first):
                    mine.append(finding)
            made.append(replace(member, findings=tuple(mine)))
        return made


def _reads(entry: Input, path: str, lies_in: list[str]) -> bool:
    return entry.source in lies_in and (not entry.only or matcher(entry.only)(path))

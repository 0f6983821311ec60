"""An engine and a kind small enough to fail on command: what the Dagster glue is tested against where the real engine would be
slow.

The tests of whole builds use the real engine; these stand in where a test needs a failure, a refusal or hundreds of stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from assets.engine.fingerprint import code_version
from assets.engine.model import Difference, Outcome, Policy, Progress, Ref, Result, Store
from assets.engine.questions import run_config_yaml
from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Source
from assets.engine.scan import SourceState
from assets.engine.verify import Verification, Verified
from schemas.errors import HeadwaterError, Refused
from schemas.findings import Finding
from schemas.oid import json_oid

PLAN = "blake3:" + "ab" * 32
_NOWHERE = Lazy("tests.orchestration.fakes:nothing")

BASE = Recipe("base", 1, "Read from the text.", (Input("text", source="text"),), (Output("base.txt"),), _NOWHERE, kinds=("text",))
TOP = Recipe("top", 3, "Read from base.", (Input("base", artifact="base"),), (Output("top.txt"),), _NOWHERE)
SLOW = Recipe("slow", 1, "Built by hand.", (Input("text", source="text"),), (Output("slow.txt"),), _NOWHERE, expensive=True)
KIND = Kind(
    name="plain",
    title="Plain",
    sources=(Source("text", ("*.txt",), "The text."), Source("log", ("log/*",), "Read by nothing.")),
    recipes=(BASE, TOP, SLOW),
    markers=("plain.txt",),
    recognise=_NOWHERE,
    check=_NOWHERE,
)


def nothing() -> None:
    """The body no fake ever runs."""


@dataclass
class FakeEngine:
    """Stores whose text is a dictionary; building an artifact hashes what it reads."""

    names: Sequence[str] = ("one",)
    local: Path | None = None
    text: dict[str, str] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    """Artifacts (`store/name`) whose build fails."""
    refusing: set[str] = field(default_factory=set)
    built: list[str] = field(default_factory=list)
    records: dict[Ref, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    known: list[Finding] | None = None
    """What is known of the text without reading it."""
    vanished: set[str] = field(default_factory=set)
    reproduces: bool = True
    differences: tuple[str, ...] = ()
    policies: list[Policy] = field(default_factory=list)
    before_read: Any = None
    """Called at the start of each build: a place for a test to edit text while a run goes on."""

    def __post_init__(self) -> None:
        self.kinds = {KIND.name: KIND}
        for name in self.names:
            self.text.setdefault(name, "first")
        self.places = SimpleNamespace(spot=lambda store, key: SimpleNamespace(shown=f"{store.root}/{key[1]}"))
        self.checks = SimpleNamespace(findings=lambda _store: list(self.findings), known=lambda _store: self.known)
        self.workspace = SimpleNamespace(local=self.local, config=SimpleNamespace(owner=None, schedules={}))

    def stores(self) -> list[Store]:
        return [Store("plain", name, f"stores/{name}", present=name not in self.vanished) for name in self.names]

    def sources(self, store: Store) -> list[SourceState]:
        text = self.text[store.name]
        files = (("a.txt", json_oid(text), len(text)),)
        return [
            SourceState(Ref("plain", store.name, "text"), json_oid([store.name, text]), lambda: files),
            SourceState(Ref("plain", store.name, "log"), json_oid("log"), lambda: ()),
        ]

    def provenance(self, ref: Ref) -> Any:
        return self.records.get(ref)

    def store(self, ref: Ref) -> Store:
        return next(store for store in self.stores() if store.name == ref.store)

    def recipe(self, ref: Ref) -> Recipe:
        return next(recipe for recipe in KIND.recipes if recipe.name == ref.name)

    def upstream(self, ref: Ref) -> list[Ref]:
        return [Ref(ref.kind, ref.store, "base")] if ref.name == "top" else []

    def verify(self, select: Sequence[str] = ()) -> list[Any]:
        return [
            Verification(
                Ref("plain", name.split("/")[1], "base"),
                Verified.EQUAL if self.reproduces else Verified.DIFFERS,
                self.differences,
                BASE.reproducibility,
                0.1,
            )
            for name in select
        ]

    def build_one(self, ref: Ref, policy: Policy, progress: Progress | None = None) -> Outcome:
        self.policies.append(policy)
        if self.before_read is not None:
            self.before_read()
        short = f"{ref.store}/{ref.name}"
        if short in self.failing:
            return Outcome(
                ref, Result.FAILED, error=HeadwaterError("it broke", fix="mend it", rule="broken", path="a.txt", line=3)
            )
        if short in self.refusing and not policy.confirm:
            refused = Refused("top.txt was edited: 2 rows will be lost", fix="agree to the plan")
            refused.run_config = run_config_yaml(ref, PLAN)
            refused.plan, refused.difference = PLAN, Difference("2 rows will be lost", ["- x"])  # type: ignore[attr-defined]
            return Outcome(ref, Result.REFUSED, error=refused)
        store = Store(ref.kind, ref.store, "")
        read = self.sources(store)[0].root if ref.name != "top" else self.records[Ref(ref.kind, ref.store, "base")].output_digest
        role = "base" if ref.name == "top" else "text"
        fingerprint = json_oid([ref.name, read])
        present = self.records.get(ref)
        if present is not None and present.fingerprint == fingerprint and not policy.force:
            return Outcome(
                ref, Result.FRESH, output_digest=present.output_digest, input_roots={role: read}, reasons=("nothing changed",)
            )
        self.built.append(short)
        digest = json_oid(["output", fingerprint])
        summary = {
            "counts": {"rows": 3},
            "tables": {"top": {"columns": ["a", "b"], "rows": [[1, None]]}},
            "markdown": {"note": "*hi*"},
        }
        self.records[ref] = SimpleNamespace(
            fingerprint=fingerprint,
            code_version=code_version(next(one for one in KIND.recipes if one.name == ref.name), {}, {}),
            output_digest=digest,
            how="built",
            origin=None,
            summary=summary,
            inputs={role: SimpleNamespace(root=read, digest=read, ref=None)},
            outputs=(SimpleNamespace(path=f"{ref.name}.txt", size=7, key=("artifacts", f"{ref.name}.txt")),),
        )
        return Outcome(
            ref,
            Result.BUILT,
            seconds=0.01,
            output_digest=digest,
            outputs=(f"{ref.name}.txt",),
            summary=summary,
            pictures={"map": b"<svg xmlns='http://www.w3.org/2000/svg'/>"},
            reasons=("the text changed",),
            input_roots={role: read},
        )

"""The checks of a store, executed as Dagster executes them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.engine.definitions.checks import evaluations
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.model import Ref, Store
from assets.engine.recipe import Lazy
from orchestration.builder import build_definitions
from orchestration.graph import graph_of
from schemas.errors import HeadwaterError
from schemas.findings import Finding, Severity
from tests.orchestration.fakes import KIND, FakeEngine

ANCHOR = dg.AssetKey(["plain", "one", "source", "text"])


def _executed(engine: FakeEngine, *names: str) -> dict[str, dg.AssetCheckEvaluation]:
    session = BuildSession(engine)  # type: ignore[arg-type]  # a fake
    resources = {SESSION: dg.ResourceDefinition.hardcoded_resource(session)}
    definitions = build_definitions(graph_of(engine.stores(), engine.kinds), resources=resources)
    keys = [dg.AssetCheckKey(ANCHOR, name) for name in names]
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys)).resolve(
        asset_graph=definitions.resolve_asset_graph(), resource_defs=resources
    )
    result = job.execute_in_process()
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_a_sound_store_passes_all_three() -> None:
    results = _executed(FakeEngine(), "text", "present", "reproducible")
    assert {name: one.passed for name, one in results.items()} == {"text": True, "present": True, "reproducible": True}
    assert results["reproducible"].metadata["artifacts"].records[0].data == {
        "artifact": "base", "class": "byte-equal", "equal": True, "differences": "",
    }  # fmt: skip


def test_checks_run_alone_too() -> None:
    assert set(_executed(FakeEngine(), "present")) == {"present"}


def test_findings_are_counted_by_rule_and_listed_with_their_place() -> None:
    engine = FakeEngine()
    engine.findings = [
        Finding("yaml-key", Severity.ERROR, "p.yaml", "bad key", line=3, column=5, fix="quote it"),
        Finding("csv-header", Severity.WARNING, "d.csv", "odd"),
        Finding("csv-header", Severity.WARNING, "e.csv", "odd"),
    ]
    text = _executed(engine, "text")["text"]
    assert not text.passed
    assert text.description == "3 findings, 1 of them blocking"
    assert (text.metadata["rule: yaml-key"].value, text.metadata["rule: csv-header"].value) == (1, 2)
    assert text.metadata["list"].records[0].data["place"] == "p.yaml:3:5"


def test_errors_of_a_kind_that_builds_in_spite_of_them_fail_the_check_and_block_nothing() -> None:
    engine = FakeEngine()
    engine.kinds = {"plain": replace(KIND, quarantines=True)}
    engine.findings = [Finding("link-broken", Severity.ERROR, "a.md", "leads nowhere", line=3)]
    text = _executed(engine, "text")["text"]
    assert not text.passed
    assert text.description == "1 finding, errors: 1"
    assert text.metadata["errors"].value == 1


def _folding(**engine: Any) -> FakeEngine:
    made = FakeEngine(**engine)
    base, *others = KIND.recipes
    made.kinds = {"plain": replace(KIND, recipes=(replace(base, fold=Lazy("no.such:fold")), *others))}
    return made


def test_folding_is_proven_by_a_check_of_its_own() -> None:
    result = _executed(_folding(), "incremental_equals_rebuild")["incremental_equals_rebuild"]
    assert result.passed
    assert result.description == "equals a build from nothing: base"
    failed = _executed(_folding(reproduces=False, differences=("a row is missing",)), "incremental_equals_rebuild")
    assert not failed["incremental_equals_rebuild"].passed
    assert "base" in str(failed["incremental_equals_rebuild"].description)
    records = failed["incremental_equals_rebuild"].metadata["artifacts"].records
    assert [record.data["differences"] for record in records] == ["a row is missing"]


def test_a_sensor_builds_nothing_to_know_what_an_artifact_finds() -> None:
    engine = FakeEngine(findings=[Finding("link-broken", Severity.ERROR, "a.md", "leads nowhere")])
    kind = replace(KIND, quarantines=True, findings_of="base", findings=Lazy("no.such:findings"))
    engine.kinds = {"plain": kind}
    fresh = {Ref("plain", "one", "base"): False}
    engine.observer = SimpleNamespace(standing=lambda ref: SimpleNamespace(fresh=fresh[ref]))  # type: ignore[attr-defined]
    session = BuildSession(engine)  # type: ignore[arg-type]  # a fake
    (store,) = engine.stores()
    with dg.DagsterInstance.ephemeral() as instance:
        assert {one.check_name for one in evaluations(session, instance, kind, store, look=True)} == {"present"}
        fresh[Ref("plain", "one", "base")] = True
        found = {one.check_name: one for one in evaluations(session, instance, kind, store, look=True)}
    assert found["text"].description == "1 finding, errors: 1"


def test_building_a_folded_artifact_does_not_prove_it_each_time() -> None:
    engine = _folding()
    resources = {SESSION: dg.ResourceDefinition.hardcoded_resource(BuildSession(engine))}  # type: ignore[arg-type]  # a fake
    definitions = build_definitions(graph_of(engine.stores(), engine.kinds), resources=resources)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["plain", "one", "base"])])
    assert result.success
    assert result.get_asset_check_evaluations() == []


def test_warnings_alone_pass_with_a_remark() -> None:
    engine = FakeEngine()
    engine.findings = [Finding("csv-header", Severity.WARNING, "d.csv", "odd")]
    text = _executed(engine, "text")["text"]
    assert text.passed
    assert text.description == "1 finding, 0 of them blocking"


def test_a_vanished_store_fails_present_and_text() -> None:
    engine = FakeEngine()
    engine.vanished.add("one")
    results = _executed(engine, "text", "present")
    assert not results["present"].passed
    assert "no longer holds this store" in str(results["present"].description)
    assert not results["text"].passed


def test_what_is_not_reproduced_is_named() -> None:
    engine = FakeEngine()
    engine.reproduces, engine.differences = False, ("base.txt: 3 bytes differ",)
    result = _executed(engine, "reproducible")["reproducible"]
    assert not result.passed
    assert "base" in str(result.description)
    assert result.metadata["artifacts"].records[0].data["differences"] == "base.txt: 3 bytes differ"


def test_a_store_that_cannot_be_read_fails_its_check_and_the_others_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()

    def findings(store: Store) -> Any:
        raise HeadwaterError("cannot be read", fix="chmod it")

    monkeypatch.setattr(engine.checks, "findings", findings)
    results = _executed(engine, "text", "present")
    assert not results["text"].passed
    assert "chmod it" in str(results["text"].description)
    assert results["present"].passed

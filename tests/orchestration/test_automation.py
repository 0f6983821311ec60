"""The automation condition and the change sensor, by real ticks: the sensor's definition and the condition's evaluation on an
instance.

`Ticks` does what the daemon does: it evaluates the change sensor and stores its events, evaluates the automation conditions with
their cursor, and executes the runs they ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from assets.engine.definitions.session import SESSION, BuildSession
from orchestration.builder import build_definitions
from orchestration.graph import graph_of
from tests.orchestration.fakes import FakeEngine

BASE, TOP, SLOW = (dg.AssetKey(["plain", "one", name]) for name in ("base", "top", "slow"))
TEXT = dg.AssetKey(["plain", "one", "source", "text"])


class Ticks:
    """The daemon's part, one tick at a time."""

    def __init__(self, engine: FakeEngine, instance: dg.DagsterInstance) -> None:
        self.engine = engine
        self.instance = instance
        self.cursor: Any = None
        self.sensor_cursor: str | None = None
        self.checked: dict[str, dg.AssetCheckEvaluation] = {}

    def definitions(self) -> dg.Definitions:
        graph = graph_of(self.engine.stores(), self.engine.kinds)
        session = dg.ResourceDefinition(lambda _context: BuildSession(self.engine))  # type: ignore[arg-type]  # a fake
        return build_definitions(graph, resources={SESSION: session})

    def sense(self) -> list[str]:
        """One tick of the change sensor; the sources and artifacts it reported."""
        definitions = self.definitions()
        result = self.evaluate(definitions)
        assert not result.run_requests
        self.sensor_cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.checked = {event.check_name: event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)}
        return [event.asset_key.to_user_string() for event in result.asset_events if isinstance(event, dg.AssetMaterialization)]

    def evaluate(self, definitions: dg.Definitions) -> Any:
        """The sensor's answer, under definitions that may be older than the stores."""
        repository = definitions.get_repository_def()
        resources = {SESSION: BuildSession(self.engine)}  # type: ignore[arg-type]
        with dg.build_sensor_context(
            self.instance, cursor=self.sensor_cursor, repository_def=repository, resources=resources
        ) as context:
            return definitions.resolve_sensor_def("text_changes").evaluate_tick(context)

    def automate(self, *, execute: bool = True) -> list[str]:
        """One tick of the automation conditions; the artifacts it asked for, which are then built."""
        definitions = self.definitions()
        result = dg.evaluate_automation_conditions(defs=definitions, instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        wanted = sorted(one.key for one in result.results if one.true_subset.size)
        if wanted and execute:
            self.run(*wanted)
        return [key.path[-1] for key in wanted]

    def run(self, *keys: dg.AssetKey) -> bool:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, asset_selection=list(keys), raise_on_error=False).success

    def tick(self) -> list[str]:
        self.sense()
        return self.automate()

    def settle(self, limit: int = 6) -> list[list[str]]:
        """Ticks until one asks for nothing; what each asked for."""
        asked = []
        for _ in range(limit):
            asked.append(self.tick())
            if not asked[-1]:
                return asked[:-1]
        raise AssertionError(f"still asking after {limit} ticks: {asked}")


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(FakeEngine(), instance)


def test_missing_cheap_artifacts_are_built_in_order_and_expensive_ones_are_not(ticks: Ticks) -> None:
    assert ticks.settle() == [["base"], ["top"]]
    assert ticks.engine.built == ["one/base", "one/top"]


def test_nothing_changed_asks_for_nothing(ticks: Ticks) -> None:
    ticks.settle()
    for _ in range(3):
        assert ticks.tick() == []


def test_an_edit_asks_for_one_run_of_each_artifact_it_reaches(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.text["one"] = "second"
    assert ticks.settle() == [["base"], ["top"]]
    ticks.engine.text["one"] = "third"
    assert ticks.settle() == [["base"], ["top"]]


def test_an_edit_that_does_not_change_the_output_stops_there(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.settle()
    version = ticks.engine.records
    kept = {ref: record.output_digest for ref, record in version.items()}
    built = ticks.engine.build_one

    def same_output(ref: Any, policy: Any, progress: Any = None) -> Any:
        outcome = built(ref, policy, progress)
        ticks.engine.records[ref].output_digest = outcome.output_digest = kept[ref]
        return outcome

    monkeypatch.setattr(ticks.engine, "build_one", same_output)
    ticks.engine.text["one"] = "second"
    assert ticks.settle() == [["base"]]


def test_a_failure_is_retried_exactly_once(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.failing.add("one/base")
    ticks.engine.text["one"] = "second"
    assert ticks.tick() == ["base"]
    assert ticks.tick() == ["base"]
    for _ in range(4):
        assert ticks.tick() == []


def test_after_two_failures_the_next_edit_asks_again_and_may_be_retried_again(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.failing.add("one/base")
    ticks.engine.text["one"] = "second"
    assert ticks.settle() == [["base"], ["base"]]
    ticks.engine.text["one"] = "third"
    assert ticks.settle() == [["base"], ["base"]]
    ticks.engine.failing.clear()
    ticks.engine.text["one"] = "fourth"
    assert ticks.settle() == [["base"], ["top"]]


def test_a_retry_that_succeeds_is_the_end_of_it(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.failing.add("one/base")
    ticks.engine.text["one"] = "second"
    assert ticks.tick() == ["base"]
    ticks.engine.failing.clear()
    assert ticks.settle() == [["base"], ["top"]]


def test_a_first_build_that_fails_is_retried_once_although_the_artifact_stays_missing(ticks: Ticks) -> None:
    ticks.engine.failing.add("one/base")
    assert ticks.settle() == [["base"], ["base"]]


def test_an_edit_in_the_tick_after_the_request_is_not_lost(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.text["one"] = "second"
    ticks.sense()
    assert ticks.automate(execute=False) == ["base"]
    ticks.engine.text["one"] = "third"
    ticks.sense()
    ticks.run(BASE)
    assert ticks.automate() == ["base"]


def test_the_sensor_reports_only_what_changed_and_keeps_a_small_cursor(ticks: Ticks) -> None:
    assert sorted(ticks.sense()) == ["plain/one/source/log", "plain/one/source/text"]
    assert ticks.sense() == []
    ticks.engine.text["one"] = "second"
    assert ticks.sense() == ["plain/one/source/text"]
    assert ticks.sensor_cursor is not None
    assert len(ticks.sensor_cursor) < 100


def test_the_sensor_does_not_report_again_what_a_build_has_reported(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.text["one"] = "second"
    ticks.run(BASE)
    assert ticks.sense() == []
    assert len(ticks.instance.fetch_materializations(TEXT, limit=10).records) == 2


def test_the_sensor_reports_artifacts_that_were_built_without_dagster(ticks: Ticks) -> None:
    from assets.engine.model import Policy, Ref

    ticks.settle()
    ticks.engine.text["one"] = "second"
    ticks.engine.build_one(Ref("plain", "one", "base"), Policy())
    assert ticks.sense() == ["plain/one/source/text", "plain/one/base"]


def test_a_vanished_store_keeps_its_versions(ticks: Ticks) -> None:
    ticks.settle()
    ticks.engine.vanished.add("one")
    assert ticks.sense() == []
    assert ticks.instance.get_latest_materialization_event(TEXT) is not None


def test_the_sensor_keeps_the_checks_up_to_date_and_says_nothing_twice(ticks: Ticks) -> None:
    from schemas.findings import Finding, Severity

    ticks.sense()
    assert {name: event.passed for name, event in ticks.checked.items()} == {"text": True, "present": True}
    ticks.engine.text["one"] = "second"
    ticks.sense()
    assert ticks.checked == {}
    ticks.engine.findings = [Finding("csv-ragged-row", Severity.ERROR, "a.txt", "too short", line=2)]
    ticks.engine.text["one"] = "third"
    ticks.sense()
    text = ticks.checked["text"]
    assert not text.passed
    assert text.metadata["rule: csv-ragged-row"].value == 1
    assert text.metadata["list"].records[0].data["place"] == "a.txt:2"
    ticks.engine.vanished.add("one")
    ticks.sense()
    assert {name: event.passed for name, event in ticks.checked.items()} == {"present": False}
    ticks.engine.vanished.clear()
    ticks.sense()
    assert {name: event.passed for name, event in ticks.checked.items()} == {"present": True}


def test_a_store_the_code_location_does_not_know_is_not_reported(ticks: Ticks) -> None:
    ticks.settle()
    definitions = ticks.definitions()
    ticks.engine.names = ("one", "new")
    ticks.engine.text["new"] = "x"
    assert ticks.evaluate(definitions).asset_events == []


def test_a_store_that_cannot_be_read_does_not_keep_the_others_from_being_reported(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schemas.errors import HeadwaterError

    ticks.engine.names = ("one", "bad")
    ticks.engine.text["bad"] = "x"
    scan = ticks.engine.sources

    def sources(store: Any) -> Any:
        if store.name == "bad":
            raise HeadwaterError("cannot be read")
        return scan(store)

    monkeypatch.setattr(ticks.engine, "sources", sources)
    assert sorted(ticks.sense()) == ["plain/one/source/log", "plain/one/source/text"]

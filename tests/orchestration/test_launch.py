"""Building in one in-process run: what is recorded, which versions, what failures and refusals look like."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

from assets.engine.model import Outcome, Policy, Ref, Result
from orchestration.builder import build_definitions
from orchestration.graph import graph_of
from orchestration.instance import open_instance
from orchestration.launch import report_present, run_build
from tests.orchestration.fakes import FakeEngine

BASE, TOP, SLOW = (Ref("plain", "one", name) for name in ("base", "top", "slow"))
BASE_KEY, TOP_KEY = dg.AssetKey(["plain", "one", "base"]), dg.AssetKey(["plain", "one", "top"])
SLOW_KEY = dg.AssetKey(["plain", "one", "slow"])
FRESH_BUT_SLOW = {BASE_KEY: StaleStatus.FRESH, TOP_KEY: StaleStatus.FRESH, SLOW_KEY: StaleStatus.MISSING}
TEXT_KEY = dg.AssetKey(["plain", "one", "source", "text"])


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return FakeEngine(local=tmp_path)


def _event(instance: dg.DagsterInstance, key: dg.AssetKey) -> Any:
    entry = instance.get_latest_materialization_event(key)
    assert entry is not None
    assert entry.asset_materialization is not None
    return entry.asset_materialization


def _stale(engine: FakeEngine, instance: dg.DagsterInstance) -> dict[dg.AssetKey, StaleStatus]:
    definitions = build_definitions(graph_of(engine.stores(), engine.kinds))
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, _loading_context(instance))
    return {key: resolver.get_status(key) for key in graph.materializable_asset_keys}


def _loading_context(instance: dg.DagsterInstance) -> Any:
    from dagster._core.loader import LoadingContextForTest

    return LoadingContextForTest(instance)


def test_a_run_builds_in_order_and_says_what_came_of_each(engine: FakeEngine) -> None:
    told: list[Outcome] = []
    outcomes = run_build(engine, [BASE, TOP], done=told.append)
    assert [(outcome.ref, outcome.result) for outcome in outcomes] == [(BASE, Result.BUILT), (TOP, Result.BUILT)]
    assert told == outcomes
    assert engine.built == ["one/base", "one/top"]


def test_events_carry_the_output_digest_and_the_versions_that_were_read(engine: FakeEngine) -> None:
    run_build(engine, [BASE, TOP])
    with open_instance(engine.workspace) as instance:
        base, top, text = (_event(instance, key) for key in (BASE_KEY, TOP_KEY, TEXT_KEY))
        assert base.tags["dagster/data_version"] == engine.records[BASE].output_digest
        assert base.tags["dagster/input_data_version/plain/one/source/text"] == text.tags["dagster/data_version"]
        assert top.tags["dagster/input_data_version/plain/one/base"] == base.tags["dagster/data_version"]
        assert _stale(engine, instance) == FRESH_BUT_SLOW


def test_metadata_shows_inputs_counts_tables_and_pictures(engine: FakeEngine) -> None:
    run_build(engine, [BASE])
    with open_instance(engine.workspace) as instance:
        metadata = _event(instance, BASE_KEY).metadata
    assert metadata["outcome"].value == "built"
    assert metadata["rows"].value == 3
    assert metadata["fingerprint"].value == engine.records[BASE].fingerprint
    assert [column.name for column in metadata["table: top"].schema.columns] == ["a", "b"]
    assert metadata["inputs"].records[0].data["asset"] == "plain/one/source/text"
    assert metadata["picture: map"].value.startswith("![map](data:image/svg+xml;base64,")
    assert "the text changed" in metadata["why"].value


def test_what_is_fresh_is_not_built_and_stales_nothing(engine: FakeEngine) -> None:
    run_build(engine, [BASE, TOP])
    outcomes = run_build(engine, [BASE, TOP])
    assert [outcome.result for outcome in outcomes] == [Result.FRESH, Result.FRESH]
    assert engine.built == ["one/base", "one/top"]
    with open_instance(engine.workspace) as instance:
        assert _stale(engine, instance)[TOP_KEY] is StaleStatus.FRESH


def test_text_that_changes_during_the_run_is_recorded_as_read_not_as_pinned(engine: FakeEngine) -> None:
    edits = iter(["second"])

    def edit() -> None:
        engine.text["one"] = next(edits, engine.text["one"])

    engine.before_read = edit
    run_build(engine, [BASE])
    with open_instance(engine.workspace) as instance:
        read = engine.records[BASE].inputs["text"].root
        assert _event(instance, BASE_KEY).tags["dagster/input_data_version/plain/one/source/text"] == read
        assert _event(instance, TEXT_KEY).tags["dagster/data_version"] == read
        assert _stale(engine, instance)[BASE_KEY] is StaleStatus.FRESH


def test_a_changed_source_is_reported_before_the_run_and_an_unchanged_one_is_not(engine: FakeEngine) -> None:
    run_build(engine, [BASE])
    run_build(engine, [BASE])
    engine.text["one"] = "second"
    run_build(engine, [BASE])
    with open_instance(engine.workspace) as instance:
        events = instance.fetch_materializations(TEXT_KEY, limit=10).records
        assert len(events) == 2
        newest = events[0].event_log_entry
        assert newest.run_id == ""
        run = instance.get_runs(limit=1)[0]
        assert newest.timestamp <= instance.get_run_stats(run.run_id).start_time
        assert (
            newest.asset_materialization.metadata["previous_root"].value
            == events[1].asset_materialization.tags["dagster/data_version"]
        )


def test_a_failure_blocks_what_reads_it_and_nothing_else(engine: FakeEngine) -> None:
    engine.failing.add("one/base")
    outcomes = run_build(engine, [BASE, TOP, SLOW])
    assert [outcome.result for outcome in outcomes] == [Result.FAILED, Result.BLOCKED, Result.BUILT]
    assert "plain/one/base failed" in outcomes[1].reasons[0]
    with open_instance(engine.workspace) as instance:
        run = instance.get_runs(limit=1)[0]
        assert run.status is dg.DagsterRunStatus.FAILURE
        failure = next(one for one in instance.all_logs(run.run_id) if one.dagster_event and one.dagster_event.is_step_failure)
        message = failure.dagster_event.event_specific_data.error_display_string
        assert "a.txt:3: it broke [broken]" in message
        assert "fix: mend it" in message


def test_an_exception_nobody_foresaw_is_an_outcome_too(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(ref: Ref, policy: Policy, progress: object = None) -> Outcome:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(engine, "build_one", explode)
    (outcome,) = run_build(engine, [BASE])
    assert outcome.result is Result.FAILED
    assert isinstance(outcome.error, ZeroDivisionError)


def test_a_refusal_prints_the_run_config_that_allows_it_and_that_config_works(engine: FakeEngine) -> None:
    engine.refusing.add("one/base")
    (outcome,) = run_build(engine, [BASE])
    assert outcome.result is Result.REFUSED
    with open_instance(engine.workspace) as instance:
        run = instance.get_runs(limit=1)[0]
        failure = next(one for one in instance.all_logs(run.run_id) if one.dagster_event and one.dagster_event.is_step_failure)
        data = failure.dagster_event.event_specific_data
        assert "2 rows will be lost" in data.error_display_string
        pasted = data.user_failure_data.metadata["run config"].value.removeprefix("```yaml\n").removesuffix("```")
    from ruamel.yaml import YAML

    config = YAML(typ="safe", pure=True).load(pasted)
    token = config["ops"]["plain__one__base"]["config"]["confirm"][0]
    (outcome,) = run_build(engine, [BASE], Policy(confirm=frozenset({token})))
    assert outcome.result is Result.BUILT


def test_the_policy_reaches_the_engine_headless(engine: FakeEngine) -> None:
    run_build(engine, [BASE], Policy(force=True, yes=True, confirm=frozenset({"a"}), ask=lambda question: True, use_cache=False))
    (policy,) = engine.policies
    assert policy == Policy(force=True, yes=True, confirm=frozenset({"a"}), ask=None, use_cache=False)
    with open_instance(engine.workspace) as instance:
        assert instance.get_runs(limit=1)[0].run_config["ops"]["plain__one__base"]["config"] == {"force": True, "confirm": ["a"]}


def test_a_run_names_its_process_and_the_home_keeps_no_pickle(engine: FakeEngine, tmp_path: Path) -> None:
    run_build(engine, [BASE, TOP])
    with open_instance(engine.workspace) as instance:
        tags = instance.get_runs(limit=1)[0].tags
        assert tags["headwater/process"].split()[2] == str(os.getpid())
        assert tags["headwater/command"] == "build"
        assert not instance.telemetry_enabled
    assert not (tmp_path / "dagster" / "storage").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")]


def test_nothing_is_printed(engine: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.failing.add("one/slow")
    run_build(engine, [BASE, SLOW])
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_closes_the_run(engine: FakeEngine) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    engine.before_read = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_build(engine, [BASE])
    with open_instance(engine.workspace) as instance:
        assert instance.get_runs(limit=1)[0].status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def test_a_termination_closes_the_run(engine: FakeEngine) -> None:
    class Terminated(BaseException):
        pass

    def terminate() -> None:
        raise Terminated

    engine.before_read = terminate
    with pytest.raises(Terminated):
        run_build(engine, [BASE])
    with open_instance(engine.workspace) as instance:
        assert instance.get_runs(limit=1)[0].status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_reaches_the_handler_of_the_command(engine: FakeEngine, number: signal.Signals) -> None:
    class Stopped(BaseException):
        pass

    def handler(received: int, frame: object) -> None:
        raise Stopped(received)

    engine.before_read = lambda: os.kill(os.getpid(), number)
    kept = signal.signal(number, handler)
    try:
        with pytest.raises(Stopped) as stopped:
            run_build(engine, [BASE, TOP, SLOW])
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, kept)
    assert stopped.value.args == (number,)
    assert len(engine.policies) == 1
    with open_instance(engine.workspace) as instance:
        assert instance.get_runs(limit=1)[0].status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def test_a_lost_home_is_told_everything_without_building(engine: FakeEngine, tmp_path: Path) -> None:
    run_build(engine, [BASE, TOP])
    import shutil

    shutil.rmtree(tmp_path / "dagster")
    engine.built.clear()
    assert report_present(engine) == 4  # two sources, two artifacts
    assert engine.built == []
    with open_instance(engine.workspace) as instance:
        assert _stale(engine, instance) == FRESH_BUT_SLOW
        metadata = _event(instance, BASE_KEY).metadata
        assert metadata["rows"].value == 3
        assert metadata["outputs"].value == "- `stores/one/base.txt`"
    assert report_present(engine) == 0

"""Versioned data in Dagster, over a real repository: what is looked at, the checks, the jobs, the schedules and the sensors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.dvs.definitions import sensors as sensors_module
from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.engine import Engine
from orchestration.builder import build_definitions
from orchestration.definitions import definitions
from orchestration.graph import graph_of
from resources.dvs import sync
from resources.workspace import open_workspace
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.conftest import run as run
from tests.orchestration.cli.test_dvs import bare as bare
from tests.orchestration.cli.test_dvs import put
from tests.orchestration.cli.test_dvs import root as root
from tests.orchestration.fakes import KIND, FakeEngine

Run = Callable[..., Ran]

TREE = dg.AssetKey(["dvs", "root", "working_tree"])
ORIGIN = dg.AssetKey(["dvs", "root", "remote", "origin"])
ANCHOR = dg.AssetKey(["dvs", "root", "source", "sidecars"])
CHECKS = ("objects_intact", "manifest_matches_sidecars", "nothing_unsynced")


@pytest.fixture
def data(root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository at the root of a workspace with two small files, a large one, and a remote in a folder; nothing is pushed."""
    put(root, "headwater.toml", 'version = 1\n[workspace]\nowner = "data team"\n')
    put(root, "data/train.csv", "a,b\n1,2\n")
    put(root, "data/again.csv", "a,b\n1,2\n")
    put(root, "big.bin", os.urandom(200_000))
    assert run("dvs", "add", "data", "big.bin", "-m", "first").code == 0
    assert run("dvs", "local-config", "set", "remotes.origin", str(root.parent / "remote")).code == 0
    monkeypatch.setenv("HEADWATER_ROOT", str(root))
    return root


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Daemon:
    """The daemon's part for one sensor: it keeps the cursor and stores the events."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, name: str = "dvs_states") -> None:
        self.root, self.instance, self.name = root, instance, name
        self.cursor: str | None = None
        self.skipped: str | None = None

    def tick(self, loaded: dg.Definitions | None = None) -> list[str]:
        """One tick; the assets and checks that were reported."""
        loaded = loaded or definitions()
        engine = Engine(open_workspace(self.root))
        with dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            repository_def=loaded.get_repository_def(),
            resources={SESSION: BuildSession(engine)},
        ) as context:
            result = loaded.resolve_sensor_def(self.name).evaluate_tick(context)
        engine.close()
        assert not result.run_requests
        self.cursor = result.cursor or self.cursor
        self.skipped = result.skip_message
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return sorted(
            event.check_name if isinstance(event, dg.AssetCheckEvaluation) else event.asset_key.to_user_string()
            for event in result.asset_events
        )


def shown(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    """The metadata of the newest event of an asset."""
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def rows(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


def events(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    return len(instance.fetch_materializations(key, limit=100).records)


def flip(root: Path, folder: str = "store") -> None:
    """Change one byte in every object of a storage."""
    changed = 0
    for path in [*(root.parent / folder / "blake3").rglob("*"), *(root.parent / folder / "packs").rglob("*")]:
        if path.is_file():
            path.chmod(0o600)
            held = bytearray(path.read_bytes())
            held[len(held) // 4] ^= 1
            path.write_bytes(held)
            changed += 1
    assert changed


def checked(instance: dg.DagsterInstance, *names: str, minutes: float = 1.0) -> dict[str, dg.AssetCheckEvaluation]:
    """Execute checks of the repository."""
    loaded = definitions()
    selection = dg.AssetSelection.checks(*(dg.AssetCheckKey(ANCHOR, name) for name in names))
    job = dg.define_asset_job("some", selection=selection).resolve(
        asset_graph=loaded.resolve_asset_graph(), resource_defs=loaded.get_repository_def().get_top_level_resources()
    )
    result = job.execute_in_process(
        instance=instance, run_config={"ops": {"dvs__root__data_checks": {"config": {"minutes": minutes}}}}
    )
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def execute(instance: dg.DagsterInstance, job: str, **config: Any) -> dg.ExecuteInProcessResult:
    (op,) = (node.name for node in definitions().resolve_job_def(job).nodes)
    return (
        definitions()
        .resolve_job_def(job)
        .execute_in_process(instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False)
    )


def said(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
    """What a job says of each store."""
    (output,) = (event for event in result.all_events if event.event_type_value == "STEP_OUTPUT")
    return rows(output.event_specific_data.metadata["stores"])  # type: ignore[union-attr]


def last_check(instance: dg.DagsterInstance, name: str) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(ANCHOR, name)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    assert record.event.dagster_event is not None
    evaluation = record.event.dagster_event.event_specific_data
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


class TestAssets:
    def test_the_working_tree_and_the_remotes_are_external_and_follow_the_text(self, data: Path) -> None:
        graph = definitions().resolve_asset_graph()
        assert graph.get(TREE).is_external
        assert graph.get(ORIGIN).is_external
        assert graph.get(TREE).parent_keys == {ANCHOR}
        assert graph.get(ORIGIN).parent_keys == {dg.AssetKey(["dvs", "root", "source", "manifest"])}
        assert graph.get(TREE).group_name == "dvs_root"
        assert graph.get(TREE).owners == ["team:data-team"]
        # Three sources, the report, the working tree, the remote, and the workspace's catalog.
        assert len(list(graph.get_all_asset_keys())) == 7

    def test_nothing_in_the_definitions_names_a_place_of_this_machine_or_a_credential(self, data: Path) -> None:
        put(data, ".dvs/config.toml", '[remotes]\nmirror = "https://ann:secret@example.org/x?token=1"\norigin = "/mnt/share"\n')
        specs = {spec.key.path[-1]: spec for spec in definitions().resolve_all_asset_specs()}
        assert specs["mirror"].metadata["place"] == "https://example.org/x"
        assert specs["origin"].metadata["place"] == "a folder on this machine"
        for spec in specs.values():
            metadata = {name: value for name, value in spec.metadata.items() if not name.startswith("dagster/")}
            assert not any(word in f"{metadata}{spec.description}" for word in ("secret", "/mnt", str(data.parent)))

    def test_a_repository_whose_text_cannot_be_read_still_loads(self, data: Path) -> None:
        put(data, "dvs.lock", '{"base_url": 7')
        put(data, ".dvs/config.toml", "[remotes")
        graph = definitions().resolve_asset_graph()
        assert TREE in graph.get_all_asset_keys()
        assert ORIGIN not in graph.get_all_asset_keys()

    def test_everything_is_described(self, data: Path) -> None:
        loaded = definitions()
        repository = loaded.get_repository_def()
        assert all(spec.description for spec in loaded.resolve_all_asset_specs())
        assert all(sensor.description for sensor in repository.sensor_defs)
        assert all(schedule.description for schedule in repository.schedule_defs)
        assert all(loaded.resolve_job_def(name).description for name in ("dvs_push", "dvs_pull", "dvs_gc", "dvs_scrub"))
        graph = loaded.resolve_asset_graph()
        assert all(graph.get_check_spec(key).description for key in graph.asset_check_keys)

    def test_the_report_shows_row_counts_and_its_picture(self, data: Path, instance: dg.DagsterInstance) -> None:
        key = dg.AssetKey(["dvs", "root", "manifest_report"])
        job = definitions().resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[key]).success
        metadata = shown(instance, key)
        assert metadata["dagster/row_count"] == metadata["files"] == 3
        assert metadata["saved by equal files (%)"] == 0.0
        assert str(metadata["picture: report.svg"]).startswith("![report.svg](data:image/svg+xml;base64,")


class TestStates:
    def test_first_everything_is_reported_and_then_nothing(self, data: Path, instance: dg.DagsterInstance) -> None:
        daemon = Daemon(data, instance)
        assert daemon.tick() == [
            "dvs/root/remote/origin",
            "dvs/root/working_tree",
            "manifest_matches_sidecars",
            "nothing_unsynced",
        ]
        assert daemon.tick() == []
        assert daemon.cursor is not None
        assert len(daemon.cursor) < 150
        daemon.cursor = None
        assert daemon.tick() == []
        assert daemon.skipped == "everything is as reported"
        assert (events(instance, TREE), events(instance, ORIGIN)) == (1, 1)

    def test_the_state_of_the_working_tree_is_told_with_counts_and_files(self, data: Path, instance: dg.DagsterInstance) -> None:
        put(data, "data/train.csv", "other")
        (data / "data/again.csv").unlink()
        Daemon(data, instance).tick()
        metadata = shown(instance, TREE)
        assert {name: metadata[name] for name in ("current", "absent", "unsynced", "dagster/row_count", "bytes")} == {
            "current": 1,
            "absent": 1,
            "unsynced": 1,
            "dagster/row_count": 3,
            "bytes": 200_016,
        }
        listed = [(row["file"], row["status"], row["bytes"], row["kept here"]) for row in rows(metadata["files"])]
        assert listed == [
            ("data/train.csv", "unsynced", 8, True),
            ("big.bin", "current", 200_000, True),
            ("data/again.csv", "absent", 8, True),
        ]

    def test_what_a_remote_is_proved_to_hold_is_told_with_the_age_of_the_proof(
        self, data: Path, instance: dg.DagsterInstance, run: Run
    ) -> None:
        daemon = Daemon(data, instance)
        daemon.tick()
        before = shown(instance, ORIGIN)
        assert (before["objects"], before["proved"], before["not proved"], before["bytes"]) == (2, 0, 2, 200_008)
        assert {row["file"] for row in rows(before["files not proved"])} == {
            "big.bin",
            "data/again.csv",
            "data/train.csv",
        }
        assert "oldest proof" not in before
        assert not last_check(instance, "nothing_unsynced").passed
        assert run("dvs", "push").code == 0
        assert daemon.tick() == ["dvs/root/remote/origin", "nothing_unsynced"]
        after = shown(instance, ORIGIN)
        assert (after["proved"], after["proved bytes"], after["not proved"]) == (2, 200_008, 0)
        assert after["age of the oldest proof when this was reported"] == "now"
        assert after["place"] == "a folder on this machine"
        assert str(data.parent) not in json.dumps({name: str(value) for name, value in after.items()})
        assert last_check(instance, "nothing_unsynced").passed
        assert daemon.tick() == []

    def test_a_sidecar_that_changes_is_noticed_at_once_and_data_after_a_while(
        self, data: Path, instance: dg.DagsterInstance, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        daemon = Daemon(data, instance)
        daemon.tick()
        put(data, "data/new.csv", "x")
        assert run("dvs", "add", "data/new.csv").code == 0
        assert daemon.tick() == ["dvs/root/remote/origin", "dvs/root/working_tree", "nothing_unsynced"]
        put(data, "data/new.csv", "y")
        assert daemon.tick() == []
        later = time.time() + sensors_module.LOOK_AGAIN + 1
        monkeypatch.setattr(time, "time", lambda: later)
        assert daemon.tick() == ["dvs/root/working_tree", "nothing_unsynced"]
        assert "1 file changed since added" in str(last_check(instance, "nothing_unsynced").description)

    def test_a_lost_instance_is_told_everything_again(self, data: Path, instance: dg.DagsterInstance) -> None:
        Daemon(data, instance).tick()
        with dg.DagsterInstance.ephemeral() as fresh:
            assert "dvs/root/working_tree" in Daemon(data, fresh).tick()

    def test_a_remote_the_code_location_does_not_know_is_left_out_until_it_is_loaded_again(
        self, data: Path, instance: dg.DagsterInstance, run: Run
    ) -> None:
        loaded = definitions()
        assert run("dvs", "local-config", "set", "remotes.backup", str(data.parent / "backup")).code == 0
        daemon = Daemon(data, instance)
        assert "dvs/root/remote/backup" not in daemon.tick(loaded)
        daemon.cursor = None
        assert daemon.tick() == ["dvs/root/remote/backup"]

    def test_a_repository_that_cannot_be_read_is_said_and_reports_nothing(self, data: Path, instance: dg.DagsterInstance) -> None:
        put(data, ".dvs/config.toml", "[remotes")
        daemon = Daemon(data, instance)
        assert daemon.tick() == ["manifest_matches_sidecars"]
        daemon.cursor = None
        assert daemon.tick() == []
        assert daemon.skipped is not None
        assert daemon.skipped.startswith("root: ")

    def test_a_tick_does_not_read_for_longer_than_a_tick_may_take(
        self, data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sensors_module, "LOOK_SECONDS", -1.0)
        for index in (data / ".headwater/local/dvs").rglob("working.db"):
            index.unlink()
        daemon = Daemon(data, instance)
        assert daemon.tick() == ["manifest_matches_sidecars"]
        daemon.cursor = None
        daemon.tick()
        assert "headwater dvs status" in str(daemon.skipped)
        assert events(instance, ORIGIN) == 0
        monkeypatch.setattr(sensors_module, "LOOK_SECONDS", 30.0)
        daemon.cursor = None
        assert "dvs/root/working_tree" in daemon.tick()

    def test_a_manifest_that_cannot_be_read_fails_its_check_by_itself(self, data: Path, instance: dg.DagsterInstance) -> None:
        daemon = Daemon(data, instance)
        daemon.tick()
        put(data, "dvs.lock", "{")
        assert daemon.tick() == ["manifest_matches_sidecars"]
        assert not last_check(instance, "manifest_matches_sidecars").passed

    def test_names_that_are_not_unicode_are_shown_as_escapes(self, data: Path, instance: dg.DagsterInstance) -> None:
        sidecar = next(path for path in data.glob("big.bin.dvs*"))
        target = os.fsencode(data) + b"/b\xffd" + os.fsencode(sidecar.name.removeprefix("big.bin"))
        with open(target, "wb") as written:
            written.write(sidecar.read_bytes())
        assert "dvs/root/working_tree" in Daemon(data, instance).tick()
        listed = {row["file"]: row["status"] for row in rows(shown(instance, TREE)["files"])}
        assert listed["b\\udcffd"] == "error"


class TestRemotes:
    def test_what_others_pushed_and_what_was_lost_is_found(self, data: Path, instance: dg.DagsterInstance, run: Run) -> None:
        assert run("dvs", "push").code == 0
        ledger = next((data / ".headwater/local/dvs").rglob("ledger.db"))
        ledger.unlink()
        daemon = Daemon(data, instance, "dvs_remotes")
        daemon.tick()
        assert shown(instance, ORIGIN)["proved"] == 2
        assert daemon.tick() == []
        shutil.rmtree(data.parent / "remote" / "packs")
        assert daemon.tick() == ["dvs/root/remote/origin", "nothing_unsynced"]
        assert (shown(instance, ORIGIN)["proved"], events(instance, ORIGIN)) == (1, 2)

    def test_a_remote_that_was_wiped_is_believed_nothing(self, data: Path, instance: dg.DagsterInstance, run: Run) -> None:
        assert run("dvs", "push").code == 0
        daemon = Daemon(data, instance, "dvs_remotes")
        daemon.tick()
        shutil.rmtree(data.parent / "remote")
        assert daemon.tick() == ["dvs/root/remote/origin", "nothing_unsynced"]
        assert shown(instance, ORIGIN)["proved"] == 0

    def test_a_remote_that_does_not_answer_keeps_the_others_from_nothing(
        self, data: Path, instance: dg.DagsterInstance, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run("dvs", "local-config", "set", "remotes.first", str(data.parent / "first")).code == 0
        assert run("dvs", "push").code == 0
        really = sync.open_remote

        def open_remote(repo: Any, setting: Any) -> Any:
            if setting.name == "first":
                raise OSError("no route to host")
            return really(repo, setting)

        monkeypatch.setattr(sensors_module, "open_remote", open_remote)
        daemon = Daemon(data, instance, "dvs_remotes")
        assert "dvs/root/remote/origin" in daemon.tick()
        daemon.tick()
        assert daemon.skipped == "root, remote first: no route to host"

    def test_it_is_off_until_it_is_turned_on(self, data: Path) -> None:
        assert definitions().resolve_sensor_def("dvs_remotes").default_status is dg.DefaultSensorStatus.STOPPED
        assert definitions().resolve_sensor_def("dvs_states").default_status is dg.DefaultSensorStatus.RUNNING


class TestChecks:
    def test_a_sound_repository_passes_all(self, data: Path, instance: dg.DagsterInstance, run: Run) -> None:
        assert run("dvs", "push").code == 0
        found = checked(instance, *CHECKS)
        assert {name: one.passed for name, one in found.items()} == dict.fromkeys(CHECKS, True)
        assert found["objects_intact"].description == "2 objects read back whole"
        assert found["nothing_unsynced"].description == "nothing is in one place only"

    def test_an_object_that_was_flipped_on_disk_fails_the_check_until_it_is_whole(
        self, data: Path, instance: dg.DagsterInstance, run: Run
    ) -> None:
        assert checked(instance, "objects_intact")["objects_intact"].passed
        held = {path: path.read_bytes() for path in (data.parent / "store").rglob("*") if path.is_file()}
        flip(data)
        found = checked(instance, "objects_intact")["objects_intact"]
        assert not found.passed
        assert found.severity is dg.AssetCheckSeverity.ERROR
        listed = {row["file"] for row in rows(found.metadata["list"])}
        assert listed == {"big.bin", "data/again.csv"}
        for path, whole in held.items():
            path.chmod(0o600)
            path.write_bytes(whole)
        # No time at all is enough for one object: the first of those that were bad.
        again = checked(instance, "objects_intact", minutes=0)["objects_intact"]
        assert not again.passed
        assert again.metadata["bad"].value == 1
        assert checked(instance, "objects_intact", minutes=0)["objects_intact"].passed

    def test_an_object_that_only_a_remote_holds_is_not_damaged(self, data: Path, instance: dg.DagsterInstance, run: Run) -> None:
        assert run("dvs", "push").code == 0
        shutil.rmtree(data.parent / "store" / "packs")
        found = checked(instance, "objects_intact")["objects_intact"]
        assert found.passed
        assert found.metadata["at a remote only"].value == 1
        shutil.rmtree(data.parent / "remote")
        Daemon(data, instance, "dvs_remotes").tick()
        lost = checked(instance, "objects_intact")["objects_intact"]
        assert not lost.passed
        assert lost.description == "1 object missing: `headwater dvs verify` shows where"

    def test_a_manifest_that_lacks_a_file_fails_with_a_warning(self, data: Path, instance: dg.DagsterInstance) -> None:
        lock = (data / "dvs.lock").read_text()
        put(data, "dvs.lock", "\n".join(line for line in lock.splitlines() if "big.bin" not in line))
        found = checked(instance, "manifest_matches_sidecars")["manifest_matches_sidecars"]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert found.metadata["differences"].value == 1
        put(data, "dvs.lock", "{")
        broken = checked(instance, "manifest_matches_sidecars")["manifest_matches_sidecars"]
        assert (broken.passed, broken.severity) == (False, dg.AssetCheckSeverity.ERROR)

    def test_what_is_in_one_place_only_is_named(self, data: Path, instance: dg.DagsterInstance) -> None:
        put(data, "data/train.csv", "other")
        found = checked(instance, "nothing_unsynced")["nothing_unsynced"]
        assert not found.passed
        assert found.description == "1 file changed since added, 2 objects proved at no remote"
        assert next(row["file"] for row in rows(found.metadata["list"])) == "data/train.csv"

    def test_without_a_remote_only_the_working_tree_is_judged(self, data: Path, instance: dg.DagsterInstance) -> None:
        (data / ".dvs/config.toml").unlink()
        found = checked(instance, "nothing_unsynced")["nothing_unsynced"]
        assert found.passed
        assert "no remote is set" in str(found.description)

    def test_a_repository_that_vanished_fails(self, data: Path, instance: dg.DagsterInstance) -> None:
        loaded = definitions()
        (data / "dvs.toml").unlink()
        job = loaded.resolve_job_def("verify")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        found = {one.check_name: one.passed for one in result.get_asset_check_evaluations() if one.asset_key == ANCHOR}
        assert not any(found[name] for name in CHECKS)


class TestJobs:
    def test_push_and_pull_move_objects_and_tell_dagster(
        self, data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pushed = execute(instance, "dvs_push")
        assert pushed.success
        assert said(pushed) == [{"store": "root", "outcome": "uploaded: 3, already_present: 0, error: 0, bytes: 200,016"}]
        assert shown(instance, ORIGIN)["proved"] == 2
        assert last_check(instance, "nothing_unsynced").passed
        shutil.rmtree(data.parent / "store")
        assert run_statuses(data) == {"error"}
        pulled = execute(instance, "dvs_pull", store="root")
        assert pulled.success
        assert run_statuses(data) == {"current"}
        assert Daemon(data, instance).tick() == []

    def test_a_push_that_cannot_send_everything_fails_and_says_which(self, data: Path, instance: dg.DagsterInstance) -> None:
        flip(data)
        failed = execute(instance, "dvs_push", remote=str(data.parent / "other"))
        assert not failed.success
        (failure,) = (event for event in failed.all_events if event.is_step_failure)
        assert "3 of 3 files could not be copied" in str(failure.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]

    def test_stores_with_nothing_to_do_are_passed_over_unless_asked_for(self, data: Path, instance: dg.DagsterInstance) -> None:
        (data / ".dvs/config.toml").unlink()
        all_stores = execute(instance, "dvs_push")
        assert all_stores.success
        assert said(all_stores) == [{"store": "root", "outcome": "nothing to do: no remote is set"}]
        assert not execute(instance, "dvs_push", store="dvs/root").success
        assert not execute(instance, "dvs_push", store="nosuch").success

    def test_gc_makes_a_plan_and_collects_only_when_told_to(self, data: Path, instance: dg.DagsterInstance, run: Run) -> None:
        put(data, "data/gone.csv", "gone")
        assert run("dvs", "add", "data/gone.csv").code == 0
        (data / "data/gone.csv.dvs").unlink()
        (data / "data/gone.csv").unlink()
        shutil.rmtree(data / ".dvs/refs", ignore_errors=True)
        shutil.rmtree(data / ".dvs/logs", ignore_errors=True)
        before = sorted(path.name for path in (data.parent / "store").rglob("*.pack"))
        planned = execute(instance, "dvs_gc")
        assert planned.success
        assert said(planned)[0]["outcome"].startswith("would go: ")
        assert list((data / ".dvs/state/gc").glob("*.json"))
        assert sorted(path.name for path in (data.parent / "store").rglob("*.pack")) == before
        assert not (data.parent / "store" / "trash").exists()
        collected = execute(instance, "dvs_gc", collect=True, reason="tidy")
        assert collected.success
        assert said(collected)[0]["outcome"].startswith("collected: ")

    def test_scrub_reports_the_check_and_fails_for_what_is_damaged(self, data: Path, instance: dg.DagsterInstance) -> None:
        scrubbed = execute(instance, "dvs_scrub")
        assert scrubbed.success
        assert said(scrubbed) == [{"store": "root", "outcome": "ok: 2, found: 2 objects read back whole"}]
        assert last_check(instance, "objects_intact").passed
        flip(data)
        failed = execute(instance, "dvs_scrub", minutes=1.0)
        assert not failed.success
        evaluation = last_check(instance, "objects_intact")
        assert not evaluation.passed
        assert str(data.parent) not in json.dumps({name: str(value) for name, value in evaluation.metadata.items()})

    def test_what_verify_finds_on_the_command_line_is_told_by_the_sensor(
        self, data: Path, instance: dg.DagsterInstance, run: Run
    ) -> None:
        daemon = Daemon(data, instance)
        daemon.tick()
        flip(data)
        assert run("dvs", "verify").code == 1
        # What lies in a damaged pack is not there for anybody.
        assert daemon.tick() == ["dvs/root/working_tree", "objects_intact"]
        assert not last_check(instance, "objects_intact").passed
        assert daemon.tick() == []


def run_statuses(root: Path) -> set[str]:
    """The statuses that the files of a repository have."""
    from resources.dvs.opening import open_repo
    from resources.dvs.status import status

    repo = open_repo(open_workspace(root), "")
    try:
        return {str(row.status) for row in status(repo)}
    finally:
        repo.close()


class TestSchedules:
    @pytest.mark.parametrize(("word", "name"), [("scrub", "dvs_scrub_schedule"), ("gc", "dvs_gc_schedule")])
    def test_they_are_off_until_the_workspace_says_when(self, data: Path, word: str, name: str) -> None:
        assert definitions().resolve_schedule_def(name).default_status is dg.DefaultScheduleStatus.STOPPED
        put(data, "headwater.toml", f'version = 1\n[schedule]\n{word} = "15 1 * * *"\n')
        schedule = definitions().resolve_schedule_def(name)
        assert (schedule.cron_schedule, schedule.default_status) == ("15 1 * * *", dg.DefaultScheduleStatus.RUNNING)


class TestHook:
    def test_a_workspace_without_versioned_data_loads_nothing_of_it(self) -> None:
        program = """
import sys
from orchestration.builder import build_definitions
from orchestration.graph import facts_of, graph_of
from tests.orchestration.fakes import FakeEngine
engine = FakeEngine()
facts = facts_of(None, engine.stores())
loaded = build_definitions(graph_of(engine.stores(), engine.kinds), facts=facts)
names = {one.name for one in loaded.get_repository_def().sensor_defs}
assert names == {"text_changes", "follow_sources"}, names
assert not [name for name in sys.modules if name.startswith(("assets.dvs", "resources.dvs", "resources.remotes"))]
"""
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])

    def test_any_kind_can_bring_assets_checks_jobs_schedules_and_sensors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("orchestration.graph", fromlist=["ADDITIONS"]).ADDITIONS, "plain", __name__)
        engine = FakeEngine(names=("one", "two"))
        loaded = build_definitions(
            graph_of(engine.stores(), {KIND.name: KIND}),
            owner="a@b.org",
            crons={"look": "@daily"},
            facts={"plain/one": {"extra": "x"}},
        )
        specs = {spec.key.to_user_string(): spec for spec in loaded.resolve_all_asset_specs()}
        assert specs["plain/one/thing"].metadata == {"extra": "x"}
        assert specs["plain/two/thing"].metadata == {}
        assert specs["plain/two/thing"].owners == ["a@b.org"]
        assert loaded.resolve_job_def("plain_job").name == "plain_job"
        assert loaded.resolve_sensor_def("plain_sensor").description == "Looks."
        assert loaded.resolve_schedule_def("plain_schedule").cron_schedule == "@daily"
        assert {key.name for key in loaded.resolve_asset_graph().asset_check_keys} == {"text", "present", "reproducible", "good"}


def additions(setting: Any) -> Any:
    """What the fake kind brings in `TestHook`."""
    from assets.engine.definitions.additions import Additions

    specs: Sequence[dg.AssetSpec] = [
        dg.AssetSpec(
            dg.AssetKey(["plain", store.name, "thing"]), metadata=setting.facts.get(store.name, {}), owners=[setting.owner]
        )
        for store in setting.stores
    ]

    @dg.op
    def work() -> None:
        """Nothing."""

    @dg.job
    def plain_job() -> None:
        work()

    @dg.sensor(description="Looks.")
    def plain_sensor() -> dg.SkipReason:
        return dg.SkipReason("nothing")

    @dg.asset_check(asset=specs[0].key)
    def good() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    schedule = dg.ScheduleDefinition("plain_schedule", job=plain_job, cron_schedule=setting.crons["look"])
    return Additions(specs, [good], [plain_job], [schedule], [plain_sensor])

"""The Dagster home: its settings, its loss, its damage, and the runs that a killed command left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.engine.definitions.session import PROCESS_TAG
from orchestration.event_log import PooledSqliteEventLogStorage
from orchestration.instance import MARK, dagster_home, is_lost, open_instance, prepare_home
from orchestration.launch import run_build
from orchestration.runs import close_killed_runs
from resources.process import process_mark
from tests.orchestration.fakes import FakeEngine
from tests.orchestration.server import headwater, write_workspace

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return FakeEngine(local=tmp_path)


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["plain", "one", name])


def test_the_home_lies_in_machine_state_unless_the_environment_names_another(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dagster_home(engine.workspace) == tmp_path / "dagster"  # type: ignore[arg-type]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "other"))
    assert dagster_home(engine.workspace) == tmp_path / "other"  # type: ignore[arg-type]


def test_the_instance_has_the_settings_we_ship(engine: FakeEngine) -> None:
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert not instance.nux_enabled
        assert instance.get_tick_retention_settings(dg._core.definitions.run_request.InstigatorType.SENSOR)


def test_settings_of_an_older_version_are_renewed_and_foreign_ones_are_kept(engine: FakeEngine, tmp_path: Path) -> None:
    settings = tmp_path / "dagster" / "dagster.yaml"
    prepare_home(engine.workspace)  # type: ignore[arg-type]
    shipped = settings.read_text()
    settings.write_text(f"{MARK}\n# older\n")
    prepare_home(engine.workspace)  # type: ignore[arg-type]
    assert settings.read_text() == shipped
    settings.write_text("telemetry:\n  enabled: false\n")
    prepare_home(engine.workspace)  # type: ignore[arg-type]
    assert settings.read_text() == "telemetry:\n  enabled: false\n"
    assert not is_lost(engine.workspace)  # type: ignore[arg-type]  # whether a foreign home is whole is not ours to say


def test_the_environment_is_left_as_it_was(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_build(engine, _refs())  # type: ignore[arg-type]
    assert "DAGSTER_HOME" not in os.environ
    run_build(FakeEngine(local=tmp_path / "other"), _refs())  # type: ignore[arg-type]
    assert (tmp_path / "other" / "dagster" / "event_log.db").exists()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "chosen"))
    with open_instance(engine.workspace):  # type: ignore[arg-type]
        assert os.environ["DAGSTER_HOME"] == str(tmp_path / "chosen")
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "chosen")


def test_a_home_that_was_copied_with_its_workspace_is_its_own(engine: FakeEngine, tmp_path: Path) -> None:
    import shutil

    run_build(engine, _refs())  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "dagster", tmp_path / "copy" / "dagster")
    moved = FakeEngine(local=tmp_path / "copy", records=engine.records)
    moved.text["one"] = "second"
    run_build(moved, _refs())  # type: ignore[arg-type]
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        assert len(instance.fetch_materializations(_key("base"), limit=10).records) == 1


def _refs() -> list[Any]:
    from assets.engine.model import Ref

    return [Ref("plain", "one", "base")]


@pytest.mark.parametrize("name", ["event_log.db", "history/runs.db", "schedules/schedules.db"])
@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be read as one" * 200, b"SQLite format 3\0" + b"\xff" * 4080]
)
def test_a_damaged_home_is_put_aside_and_reported_anew(engine: FakeEngine, tmp_path: Path, name: str, damage: bytes) -> None:
    run_build(engine, _refs())  # type: ignore[arg-type]
    home = tmp_path / "dagster"
    for leftover in (home / name).parent.glob(f"{Path(name).name}-*"):
        leftover.unlink()
    (home / name).write_bytes(damage)
    outcomes = run_build(engine, _refs())  # type: ignore[arg-type]
    assert [str(outcome.result) for outcome in outcomes] == ["fresh"]
    assert engine.built == ["one/base"]
    assert list((home / "damaged").rglob(Path(name).name))


def test_a_lost_home_is_noticed_without_dagster(engine: FakeEngine, tmp_path: Path) -> None:
    assert is_lost(engine.workspace)  # type: ignore[arg-type]
    run_build(engine, _refs())  # type: ignore[arg-type]
    assert not is_lost(engine.workspace)  # type: ignore[arg-type]
    (tmp_path / "dagster" / "event_log.db").unlink()
    assert is_lost(engine.workspace)  # type: ignore[arg-type]
    program = "import sys, orchestration.instance; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0


def test_runs_whose_process_is_gone_are_closed_and_others_are_left(engine: FakeEngine) -> None:
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        host, boot, pid, started = process_mark().split()
        marks = {
            "mine": process_mark(),
            "dead": f"{host} {boot} {pid} {started}9",
            "rebooted": f"{host} other {pid} {started}",
            "elsewhere": f"elsewhere {boot} 1 1",
            "unmarked": None,
        }
        runs = {
            name: instance.create_run_for_job(
                _job(), tags={PROCESS_TAG: mark} if mark else {}, status=dg.DagsterRunStatus.STARTED
            ).run_id
            for name, mark in marks.items()
        }
        assert set(close_killed_runs(instance)) == {runs["dead"], runs["rebooted"]}
        statuses = {name: instance.get_run_by_id(run_id).status.value for name, run_id in runs.items()}  # type: ignore[union-attr]
        assert statuses == {
            "mine": "STARTED",
            "dead": "FAILURE",
            "rebooted": "FAILURE",
            "elsewhere": "STARTED",
            "unmarked": "STARTED",
        }


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name="closing")
    def job() -> None:
        nothing()

    return job


def test_the_run_of_a_killed_build_is_closed_by_the_next_one(tmp_path: Path) -> None:
    """A real `headwater build`, killed while its run is going on."""
    root = write_workspace(tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "HEADWATER_ROOT"))}
    program = (
        "import time, assets.tables.sqlite as module\n"
        "module.build = lambda *arguments: (print('building', flush=True), time.sleep(60))\n"
        "from orchestration.cli.main import main\n"
        "main(['build', 'tables/*/playground_db'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"building\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    next_one = headwater(root, "build", "tables/*/playground_db")
    assert next_one.returncode == 0, next_one.stderr
    home = root / ".headwater" / "local" / "dagster"
    with _home(home) as instance:
        assert sorted(run.status.value for run in instance.get_runs()) == ["FAILURE", "SUCCESS"]


def _home(home: Path) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def opened() -> Iterator[dg.DagsterInstance]:
        os.environ["DAGSTER_HOME"] = str(home)
        try:
            with dg.DagsterInstance.from_config(str(home)) as instance:
                yield instance
        finally:
            os.environ.pop("DAGSTER_HOME", None)

    return opened()


# The event log


def _event(number: int) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=_key("base"), metadata={"number": number}, tags={"dagster/data_version": str(number)}
    )


def test_threads_and_processes_write_to_one_event_log(engine: FakeEngine, tmp_path: Path) -> None:
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        errors: list[BaseException] = []

        def write(start: int) -> None:
            try:
                for number in range(start, start + 20):
                    instance.report_runless_asset_event(_event(number))
            except BaseException as error:
                errors.append(error)

        program = (
            "import dagster as dg, os\n"
            "with dg.DagsterInstance.from_config(os.environ['DAGSTER_HOME']) as instance:\n"
            "    for number in range(20):\n"
            "        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=['plain', 'one', 'base']))\n"
        )
        child = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
        threads = [threading.Thread(target=write, args=(100 * index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert child.wait() == 0
        assert errors == []
        assert len(instance.fetch_materializations(_key("base"), limit=1000).records) == 80


def test_many_processes_may_make_the_event_log_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from orchestration.event_log import PooledSqliteEventLogStorage\n"
        "storage = PooledSqliteEventLogStorage(sys.argv[1]); print(storage.get_maximum_record_id()); storage.dispose()"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for child in children:
        _, said = child.communicate()
        assert child.returncode == 0, said
    assert not list(tmp_path.glob("event_log_new*"))


def test_two_commands_may_make_the_home_at_once(tmp_path: Path) -> None:
    root = write_workspace(tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "HEADWATER_ROOT"))}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli.main", "build", f"tables/*/{name}"],
            cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("playground_db", "parquet")
    ]  # fmt: skip
    for child in children:
        _, said = child.communicate()
        assert child.returncode == 0, said
    with _home(root / ".headwater" / "local" / "dagster") as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "SUCCESS"]


def test_a_lost_home_is_restored_by_a_build_with_nothing_to_do(tmp_path: Path) -> None:
    """The whole way: a real build, the home deleted, a build that finds everything fresh, and Dagster agrees that it is."""
    import shutil

    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    from orchestration.definitions import definitions

    root = write_workspace(tmp_path)
    assert headwater(root, "build").returncode == 0
    home = root / ".headwater" / "local" / "dagster"
    shutil.rmtree(home)
    again = headwater(root, "build")
    assert again.returncode == 0, again.stderr
    assert "nothing to build" in again.stdout
    os.environ["HEADWATER_ROOT"] = str(root)
    try:
        graph = definitions().resolve_asset_graph()
    finally:
        os.environ.pop("HEADWATER_ROOT")
    with _home(home) as instance:
        assert instance.get_runs() == []
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        statuses = {key.to_user_string(): resolver.get_status(key) for key in graph.materializable_asset_keys}
        assert set(statuses.values()) == {StaleStatus.FRESH}, statuses
        assert len(statuses) == 9


def test_an_unfinished_event_log_of_a_killed_process_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "event_log_new.db").write_bytes(b"half")
    storage = PooledSqliteEventLogStorage(str(tmp_path))
    assert storage.get_maximum_record_id() in (None, 0)
    storage.dispose()


def test_the_event_log_uses_the_write_ahead_log_and_waits_for_the_disk_at_checkpoints_only(tmp_path: Path) -> None:
    import sqlalchemy as db

    storage = PooledSqliteEventLogStorage(str(tmp_path))
    with storage.index_connection() as connection:
        assert connection.execute(db.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(db.text("PRAGMA synchronous")).scalar() == 1
    storage.dispose()


def test_followers_of_a_run_are_told_of_its_events(engine: FakeEngine) -> None:
    """The UI follows a run this way; Dagster's own class watches the database file, which a write-ahead log leaves alone."""
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        run = instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED)
        told: list[str] = []
        instance.watch_event_logs(run.run_id, None, lambda event, cursor: told.append(event.message))
        instance.report_engine_event("hello", run)
        deadline = time.monotonic() + 20
        while not any("hello" in message for message in told) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert any("hello" in message for message in told)


def test_a_run_can_be_deleted_with_its_events(engine: FakeEngine) -> None:
    run_build(engine, _refs())  # type: ignore[arg-type]
    with open_instance(engine.workspace) as instance:  # type: ignore[arg-type]
        run = instance.get_runs(limit=1)[0]
        instance.delete_run(run.run_id)
        assert instance.all_logs(run.run_id) == []
        assert instance.get_run_by_id(run.run_id) is None

"""The code location as Dagster loads it, over a real workspace: reconstruction, runs, checks, the sensor, and `dg`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import initialize_repository_def_from_pointer, reconstruct_repository_def_from_pointer

from assets.engine.definitions.session import SESSION, BuildSession
from assets.engine.engine import Engine
from orchestration.definitions import definitions
from resources.workspace import open_workspace
from tests.orchestration.server import write_workspace

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SNAPSHOT = Path(__file__).with_name("asset_specs.json")
DB = dg.AssetKey(["tables", "corner_20shop", "playground_db"])
DATA = dg.AssetKey(["tables", "corner_20shop", "source", "data"])


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = write_workspace(tmp_path / "workspace")
    monkeypatch.setenv("HEADWATER_ROOT", str(root))
    return root


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _materialize(instance: dg.DagsterInstance, *keys: dg.AssetKey, config: Any = None) -> dg.ExecuteInProcessResult:
    job = definitions().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, asset_selection=list(keys), run_config=config, raise_on_error=False)


def test_a_run_of_the_code_location_builds_the_artifact_and_reports_its_sources(
    workspace: Path, instance: dg.DagsterInstance
) -> None:
    assert _materialize(instance, DB).success
    assert (workspace / "corner shop" / "playground.db").read_bytes().startswith(b"SQLite format 3")
    source = instance.get_latest_materialization_event(DATA)
    built = instance.get_latest_materialization_event(DB)
    assert source is not None
    assert built is not None
    assert source.asset_materialization is not None
    assert built.asset_materialization is not None
    tags = built.asset_materialization.tags or {}
    assert (
        tags["dagster/input_data_version/" + DATA.to_user_string()]
        == (source.asset_materialization.tags or {})["dagster/data_version"]
    )
    assert built.asset_materialization.metadata["dagster/row_count"].value == 2


def test_a_second_run_finds_the_artifact_fresh(workspace: Path, instance: dg.DagsterInstance) -> None:
    _materialize(instance, DB)
    database = workspace / "corner shop" / "playground.db"
    before = (database.stat().st_mtime_ns, database.stat().st_ino)
    assert _materialize(instance, DB).success
    assert (database.stat().st_mtime_ns, database.stat().st_ino) == before
    event = instance.get_latest_materialization_event(DB)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["outcome"].value == "fresh"


def test_the_picture_is_shown_by_a_run_that_finds_it_fresh_too(workspace: Path, instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey(["tables", "corner_20shop", "erd"])
    shown = []
    for _ in range(2):
        assert _materialize(instance, key).success
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        shown.append(event.asset_materialization.metadata["picture: erd.svg"].value)
    assert shown[0] == shown[1]
    assert str(shown[0]).startswith("![erd.svg](data:image/svg+xml;base64,")


def test_an_edited_file_is_refused_with_the_config_that_allows_it(workspace: Path, instance: dg.DagsterInstance) -> None:
    import sqlite3

    from ruamel.yaml import YAML

    _materialize(instance, DB)
    database = workspace / "corner shop" / "playground.db"
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("INSERT INTO item VALUES (3, 'paper')")
    connection.close()
    (workspace / "corner shop" / "data" / "item.csv").write_text("id,name\n1,pencil\n2,ink\n")
    edited = database.read_bytes()
    refused = _materialize(instance, DB)
    assert not refused.success
    assert database.read_bytes() == edited
    data = refused.failure_data_for_node("tables__corner_20shop__playground_db")
    assert data is not None
    assert data.user_failure_data is not None
    pasted = str(data.user_failure_data.metadata["run config"].value).removeprefix("```yaml\n").removesuffix("```")
    assert _materialize(instance, DB, config=YAML(typ="safe", pure=True).load(pasted)).success
    assert database.read_bytes() != edited
    assert [path for path in (workspace / "headwater-rescue").rglob("*-playground.db") if path.read_bytes() == edited]


def test_the_checks_of_a_real_store_pass(workspace: Path, instance: dg.DagsterInstance) -> None:
    _materialize(instance, DB)
    job = definitions().resolve_job_def("verify")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    evaluations = result.get_asset_check_evaluations()
    found = {one.check_name: one for one in evaluations if one.asset_key.path[0] == "tables"}
    assert found["text"].passed
    assert found["present"].passed
    rows = {row.data["artifact"]: row.data["equal"] for row in found["reproducible"].metadata["artifacts"].records}
    assert rows["playground_db"] is True


def test_notes_are_built_with_their_counts_and_a_picture(workspace: Path, instance: dg.DagsterInstance) -> None:
    keys = {name: dg.AssetKey(["notes", "_2eqipu", name]) for name in ("qipu_db", "cache", "graph")}
    assert _materialize(instance, *keys.values()).success
    shown = {}
    for name, key in keys.items():
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        shown[name] = {what: value.value for what, value in event.asset_materialization.metadata.items()}
    counts = {name: shown["qipu_db"][name] for name in ("notes", "mentions", "edges", "broken", "dagster/row_count")}
    assert counts == {"notes": 2, "mentions": 3, "edges": 2, "broken": 1, "dagster/row_count": 2}
    assert shown["qipu_db"]["links in order (%)"] == pytest.approx(66.67)
    assert str(shown["graph"]["picture: graph.svg"]).startswith("![graph.svg](data:image/svg+xml;base64,")
    assert (workspace / ".qipu/qipu.db").read_bytes().startswith(b"SQLite format 3")
    assert json.loads((workspace / ".qipu/.cache/id_to_path.json").read_text()) == {
        "qp-a1": "notes/qp-a1-pens.md",
        "qp-b2": "notes/qp-b2-ink.md",
    }


def test_the_checks_of_notes_count_what_is_broken_and_prove_the_index(workspace: Path, instance: dg.DagsterInstance) -> None:
    keys = [dg.AssetKey(["notes", "_2eqipu", name]) for name in ("qipu_db", "cache", "graph")]
    _materialize(instance, *keys)
    (workspace / ".qipu/notes/qp-c3-quill.md").write_text("---\nid: qp-c3\ntitle: Quill\n---\nSee [[Ink]].\n")
    assert _materialize(instance, *keys).success
    result = definitions().resolve_job_def("verify").execute_in_process(instance=instance, raise_on_error=False)
    evaluations = result.get_asset_check_evaluations()
    found = {one.check_name: one for one in evaluations if one.asset_key.path[0] == "notes"}
    assert set(found) == {"text", "present", "reproducible", "incremental_equals_rebuild"}
    assert found["text"].metadata["rule: link-broken"].value == 1
    assert found["text"].metadata["list"].records[0].data["place"] == ".qipu/notes/qp-a1-pens.md:5:25"
    assert found["present"].passed
    assert found["reproducible"].passed, found["reproducible"].description
    assert found["incremental_equals_rebuild"].passed, found["incremental_equals_rebuild"].description


def test_the_sensor_of_the_code_location_ticks(workspace: Path, instance: dg.DagsterInstance) -> None:
    loaded = definitions()
    resources = {SESSION: BuildSession(Engine(open_workspace(workspace)))}
    with dg.build_sensor_context(instance, repository_def=loaded.get_repository_def(), resources=resources) as context:
        result = loaded.resolve_sensor_def("text_changes").evaluate_tick(context)
    keys = {event.asset_key.to_user_string() for event in result.asset_events if isinstance(event, dg.AssetMaterialization)}
    assert keys == {
        *(f"tables/corner_20shop/source/{name}" for name in ("project", "data", "history")),
        *(f"notes/_2eqipu/source/{name}" for name in ("notes", "settings", "templates", "attachments")),
    }


def test_a_run_uses_the_stores_that_were_found_when_the_location_was_loaded(workspace: Path) -> None:
    pointer = ModuleCodePointer("orchestration.definitions", "definitions", str(REPOSITORY))
    first = initialize_repository_def_from_pointer(pointer)
    shutil.copytree(workspace / "corner shop", workspace / "second shop")
    again = reconstruct_repository_def_from_pointer(pointer, first.repository_load_data)
    assert set(again.asset_graph.get_all_asset_keys()) == set(first.asset_graph.get_all_asset_keys())
    fresh = initialize_repository_def_from_pointer(pointer)
    assert len(list(fresh.asset_graph.get_all_asset_keys())) > len(list(first.asset_graph.get_all_asset_keys()))


def test_what_a_kind_looked_up_is_pinned_for_runs_too(workspace: Path) -> None:
    (workspace / "lab" / ".dvs").mkdir(parents=True)
    (workspace / "lab" / "dvs.toml").write_text('storage_dir = "../../storage"\n')
    pointer = ModuleCodePointer("orchestration.definitions", "definitions", str(REPOSITORY))
    first = initialize_repository_def_from_pointer(pointer)
    (workspace / "lab" / ".dvs" / "config.toml").write_text('[remotes]\nbackup = "s3://bucket/backup"\n')
    backup = dg.AssetKey(["dvs", "lab", "remote", "backup"])
    again = reconstruct_repository_def_from_pointer(pointer, first.repository_load_data)
    assert backup not in set(again.asset_graph.get_all_asset_keys())
    assert backup in set(initialize_repository_def_from_pointer(pointer).asset_graph.get_all_asset_keys())


def test_every_asset_spec_is_as_it_was(workspace: Path) -> None:
    """A change of the graph shows here in review; run with UPDATE_SNAPSHOTS=1 to accept it."""
    (workspace / "lab" / ".dvs").mkdir(parents=True)
    (workspace / "lab" / "dvs.toml").write_text('storage_dir = "../../storage"\n')
    (workspace / "lab" / "dvs.lock").write_text('{"version": 1, "base_url": "https://data.example.org/lab", "entries": []}\n')
    (workspace / "lab" / ".dvs" / "config.toml").write_text('[remotes]\nbackup-1 = "/mnt/backup"\n')
    specs = {spec.key.to_user_string(): _described(spec) for spec in definitions().resolve_all_asset_specs()}
    written = json.dumps(specs, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(written, "utf-8")
    assert written == SNAPSHOT.read_text("utf-8")


def _described(spec: dg.AssetSpec) -> dict[str, Any]:
    metadata = {name: getattr(value, "value", value) for name, value in spec.metadata.items() if not name.startswith("dagster/")}
    return {
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "description": spec.description,
        "group": spec.group_name,
        "owners": sorted(spec.owners),
        "kinds": sorted(spec.kinds),
        "tags": {name: value for name, value in spec.tags.items() if not name.startswith("dagster/")},
        # What follows the dash are the versions of the libraries that happen to be installed.
        "code_version": (spec.code_version or "").partition("-")[0],
        "automated": spec.automation_condition is not None,
        "metadata": {name: value for name, value in metadata.items() if isinstance(value, str | int | float | bool)},
    }


@pytest.mark.parametrize("command", [("list", "defs", "--json"), ("check", "defs")])
def test_dg_loads_the_project_without_a_warning(workspace: Path, command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name("dg")
    if not program.exists():
        pytest.skip("dg is not installed")
    home = workspace.parent / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "default"}
    environment.pop("VIRTUAL_ENV", None)
    made = subprocess.run([program, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    said = (made.stdout + made.stderr).splitlines()
    ours = [line for line in said if "warning" in line.lower() and "site-packages" not in line]
    assert ours == []
    if command[0] == "list":
        listed = {asset["asset_key"] for asset in json.loads(made.stdout)["assets"]}
        assert DB.to_user_string() in listed


def test_the_workspace_file_names_the_code_location(workspace: Path) -> None:
    from dagster._core.workspace.load import load_workspace_process_context_from_yaml_paths

    with dg.instance_for_test() as instance:
        paths = [str(REPOSITORY / "workspace.yaml")]
        with load_workspace_process_context_from_yaml_paths(instance, paths) as process:
            location = process.create_request_context().get_code_location("headwater")
            (repository,) = location.get_repositories().values()
            assert DB in set(repository.asset_graph.get_all_asset_keys())


@pytest.mark.s3
def test_a_workspace_on_s3_is_built_and_recorded(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.launch import run_build

    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADWATER_ROOT", s3_url)
    source = open_workspace(write_workspace(tmp_path / "source"))
    target = open_workspace(s3_url)
    for stat in list(source.root.scan()):
        if not stat.path.startswith(".headwater"):
            target.root.write(stat.path, source.root.read(stat.path))
    engine = Engine(open_workspace(s3_url))
    (ref,) = [ref for ref in engine.refs() if ref.name == "playground_db"]
    assert [str(outcome.result) for outcome in run_build(engine, [ref])] == ["built"]
    assert [str(outcome.result) for outcome in run_build(Engine(open_workspace(s3_url)), [ref])] == ["fresh"]
    assert DB in set(definitions().resolve_all_asset_keys())


def test_fifty_stores_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_workspace(tmp_path)
    for number in range(49):
        shutil.copytree(root / "corner shop", root / f"Büro-{number} ü")
    monkeypatch.setenv("HEADWATER_ROOT", str(root))
    keys = definitions().resolve_all_asset_keys()
    # Fifty of tables, one of notes, and the catalog.
    assert len(keys) == 50 * 8 + 7 + 1

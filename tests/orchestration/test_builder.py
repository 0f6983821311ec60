"""The Dagster definitions of a workspace: keys, lineage, ownership, versions, checks, and that loading costs nothing it should
not."""

from __future__ import annotations

import subprocess
import sys
import warnings

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.engine.definitions.keys import artifact_key, op_name, owners_of, source_key, upstream_of
from assets.engine.model import Ref, Store
from assets.engine.recipe import Input, Lazy, Recipe
from orchestration.builder import build_definitions
from orchestration.definitions import pin, unpin
from orchestration.graph import graph_of
from tests.orchestration.fakes import KIND, FakeEngine

HOSTILE = ("one", "zwei drei", "é-ü", "a/b c", "x_y", "x__y", "日本", "con", "!", "Ünïcode/мир")


def _definitions(names: tuple[str, ...] = ("one",), **options: object) -> dg.Definitions:
    engine = FakeEngine(names=names)
    return build_definitions(graph_of(engine.stores(), engine.kinds), **options)  # type: ignore[arg-type]


def test_sources_are_external_and_artifacts_depend_on_what_their_recipes_read() -> None:
    graph = _definitions().resolve_asset_graph()
    text, base, top = (
        dg.AssetKey(["plain", "one", "source", "text"]),
        dg.AssetKey(["plain", "one", "base"]),
        dg.AssetKey(["plain", "one", "top"]),
    )
    assert graph.get(text).is_external
    assert not graph.get(text).is_partitioned
    assert graph.get(base).parent_keys == {text}
    assert graph.get(top).parent_keys == {base}
    assert graph.get(dg.AssetKey(["plain", "one", "source", "log"])).child_keys == set()


def test_specs_carry_what_people_look_for() -> None:
    spec = {one.key: one for one in _definitions(owner="data team").resolve_all_asset_specs()}[
        dg.AssetKey(["plain", "one", "base"])
    ]
    assert spec.description == "Read from the text."
    assert spec.owners == ["team:data-team"]
    assert spec.kinds == {"text"}
    assert spec.group_name == "plain_one"
    assert spec.code_version is not None
    assert spec.code_version.startswith("1-")
    assert spec.metadata["recipe"] == "plain/base version 1"
    references = spec.metadata["dagster/code_references"].code_references
    assert references[0].file_path.endswith("fakes.py")
    assert references[0].line_number > 1


@pytest.mark.parametrize(
    ("owner", "expected"),
    [(None, []), ("", []), ("a@b.org", ["a@b.org"]), ("team:x", ["team:x"]), ("The Team!", ["team:The-Team"]), ("日本", [])],
)
def test_owners_take_the_form_dagster_accepts(owner: str | None, expected: list[str]) -> None:
    assert owners_of(owner) == expected


def test_expensive_artifacts_do_not_follow_their_sources() -> None:
    graph = _definitions().resolve_asset_graph()
    assert graph.get(dg.AssetKey(["plain", "one", "base"])).automation_condition is not None
    assert graph.get(dg.AssetKey(["plain", "one", "slow"])).automation_condition is None


def test_stores_with_any_name_load() -> None:
    definitions = _definitions(HOSTILE)
    dg.Definitions.validate_loadable(definitions)
    keys = definitions.resolve_all_asset_keys()
    assert len(keys) == len(HOSTILE) * 5
    assert len(set(keys)) == len(keys)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=4, unique=True))
def test_different_stores_never_share_a_key_or_an_op(names: list[str]) -> None:
    refs = [Ref("plain", name, artifact) for name in names for artifact in ("base", "top")]
    assert len({artifact_key(ref) for ref in refs}) == len(refs)
    assert len({op_name(ref) for ref in refs}) == len(refs)
    assert not {artifact_key(ref) for ref in refs} & {source_key(ref) for ref in refs}


def test_a_recipe_that_reads_everything_depends_on_every_source_and_artifact() -> None:
    catalog = Recipe(
        "catalog",
        1,
        "All.",
        (Input("text", everything="source"), Input("built", everything="artifact")),
        (),
        Lazy("tests.orchestration.fakes:nothing"),
    )
    sources, artifacts = [Ref("plain", "one", "text")], [Ref("plain", "one", "base")]
    found = upstream_of(Store("workspace", "w", ""), catalog, every_source=sources, every_artifact=artifacts)
    assert [(one.ref.name, one.is_source, one.whole) for one in found] == [("text", True, False), ("base", False, False)]
    assert [one.role for one in found] == ["text", "built"]


def test_every_store_has_its_checks_on_its_first_source() -> None:
    keys = _definitions(("one", "two")).resolve_asset_graph().asset_check_keys
    assert {(key.asset_key.path[1], key.asset_key.path[3], key.name) for key in keys} == {
        (store, "text", check) for store in ("one", "two") for check in ("text", "present", "reproducible")
    }


def test_the_verify_job_holds_every_check_and_the_schedule_follows_the_configuration() -> None:
    quiet, loud = _definitions(), _definitions(crons={"verify": "0 5 * * *"})
    job = loud.resolve_job_def("verify")
    assert {key.name for key in job.asset_layer.asset_graph.asset_check_keys} == {"text", "present", "reproducible"}
    assert not job.asset_layer.executable_asset_keys
    assert loud.resolve_schedule_def("verify_schedule").cron_schedule == "0 5 * * *"
    assert loud.resolve_schedule_def("verify_schedule").default_status is dg.DefaultScheduleStatus.RUNNING
    assert quiet.resolve_schedule_def("verify_schedule").default_status is dg.DefaultScheduleStatus.STOPPED


def test_definitions_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.Definitions.validate_loadable(_definitions(HOSTILE))


def test_everything_visible_is_described() -> None:
    definitions = _definitions()
    assert all(spec.description for spec in definitions.resolve_all_asset_specs())
    repository = definitions.get_repository_def()
    assert all(sensor.description for sensor in repository.sensor_defs)
    assert all(schedule.description for schedule in repository.schedule_defs)
    assert definitions.resolve_job_def("verify").description
    graph = definitions.resolve_asset_graph()
    assert all(graph.get_check_spec(key).description for key in graph.asset_check_keys)


def test_stores_are_pinned_and_read_back_as_they_were() -> None:
    stores = [Store("plain", "a b", "x/y", {"size": 3, "deep": {"k": [1]}}), Store("plain", "gone", "z", present=False)]
    assert unpin(pin(stores)) == stores


def test_importing_the_code_location_reads_no_file() -> None:
    program = """
import sys
import dagster, pydantic
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".py", ".pyc")) and "site-packages" not in args[0]:
        opened.append(args[0])
    if event in ("os.scandir", "os.listdir", "subprocess.Popen", "sqlite3.connect") and "site-packages" not in str(args[0]):
        opened.append(f"{event} {args[0]}")
before = set(sys.modules)
sys.addaudithook(hook)
import orchestration.definitions
assert not [name for name in opened if "headwater" in name or "orchestration" not in name and "listdir" not in name], opened
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_kind_is_shown_as_declared() -> None:
    engine = FakeEngine()
    graph = graph_of(engine.stores(), {KIND.name: KIND})
    assert [artifact.recipe.name for artifact in graph.artifacts] == ["base", "top", "slow"]
    assert graph.sources == [Ref("plain", "one", "text"), Ref("plain", "one", "log")]

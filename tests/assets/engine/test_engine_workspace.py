"""Artifacts over the whole workspace: the pseudo kind with one store, made of every source and every artifact."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.engine.engine import Engine
from assets.engine.model import Freshness, Ref, Result
from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Summary
from assets.engine.view import Scratch, View
from assets.registry import KINDS as REGISTERED
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

HERE = "tests.assets.engine.test_engine_workspace"
OVERVIEW = Ref("workspace", "all", "overview")


def overview(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    kinds.RUNS.append("overview")
    if "overview" in kinds.HOOKS:
        kinds.HOOKS["overview"](view)
    sources, artifacts = view.everything("sources"), view.everything("artifacts")
    made = {
        "sources": {
            str(one.ref): [[file.path for file in one.files], [finding.path for finding in one.findings]] for one in sources
        },
        "artifacts": {str(one.ref): [one.digest, list(one.outputs)] for one in artifacts},
    }
    scratch.path("overview.json").write_text(json.dumps(made, sort_keys=True))
    return Summary()


def nothing(_storage: object, _root: str) -> list[object]:
    return []


WORKSPACE = Kind(
    name="workspace",
    title="The whole workspace",
    sources=(),
    recipes=(
        Recipe(
            "overview",
            1,
            "Everything.",
            (Input("sources", everything="source"), Input("artifacts", everything="artifact")),
            (Output("overview.json"),),
            Lazy(f"{HERE}:overview"),
        ),
    ),
    markers=(),
    recognise=Lazy(f"{HERE}:nothing"),
    check=Lazy(f"{HERE}:nothing"),
)


def engine(root: Path) -> Engine:
    return engine_on(root, {**kinds.KINDS, "workspace": WORKSPACE})


def shown(root: Path) -> Any:
    return json.loads((root / ".headwater/overview.json").read_text())


def test_it_is_made_last_of_every_source_and_artifact(root: Path) -> None:
    outcomes = engine(root).build()
    assert outcomes[-1].ref == OVERVIEW
    assert outcomes[-1].result is Result.BUILT
    made = shown(root)
    assert made["sources"]["letters/a/words"] == [["words/one.txt", "words/two.txt"], []]
    assert made["artifacts"]["letters/a/upper"][1] == ["a/upper.txt"]
    assert made["artifacts"]["letters/a/upper"][0] == outcomes[0].output_digest
    assert {outcome.result for outcome in engine(root).build()} == {Result.FRESH}
    assert [store.kind for store in engine(root).stores()] == ["letters", "workspace"]


def test_any_change_anywhere_makes_it_stale(root: Path) -> None:
    engine(root).build()
    write(root, {"a/notes.md": "no artifact reads this"})
    states = {str(state.ref): state for state in engine(root).status()}
    assert states["workspace/all/overview"].reasons == ("the workspace changed",)
    assert states["letters/a/upper"].freshness is Freshness.FRESH


def test_it_is_made_with_what_there_is_when_something_else_is_blocked(root: Path) -> None:
    write(root, {"a/words/one.txt": "bad word"})
    outcomes = {outcome.ref: outcome for outcome in engine(root).build()}
    assert outcomes[Ref("letters", "a", "upper")].result is Result.BLOCKED
    assert outcomes[OVERVIEW].result is Result.BUILT
    assert shown(root)["artifacts"]["letters/a/upper"] == [None, []]
    assert shown(root)["sources"]["letters/a/words"][1] == ["a/words/one.txt"]


def test_text_edited_while_it_is_made_starts_it_again(root: Path) -> None:
    engine(root).build(["letters"])

    def edit(_view: object) -> None:
        kinds.HOOKS.clear()
        write(root, {"a/notes.md": "edited"})

    kinds.HOOKS["overview"] = edit
    assert engine(root).build_one(OVERVIEW).result is Result.BUILT
    assert kinds.RUNS.count("overview") == 2
    assert engine(root).status(["workspace"])[0].freshness is Freshness.FRESH


def test_a_new_store_makes_it_stale(root: Path) -> None:
    engine(root).build()
    write(root, {"b/letters.txt": "letters"})
    assert engine(root).status(["workspace"])[0].freshness is Freshness.STALE


def test_every_registered_kind_forms_a_graph_and_loads() -> None:
    for kind in REGISTERED.values():
        for recipe in kind.recipes:
            paths = [output.path for output in recipe.outputs]
            assert len(set(paths)) == len(paths)
            for lazy in (recipe.body, recipe.content, recipe.preview, recipe.before_replace, recipe.items, recipe.fold):
                assert lazy is None or callable(lazy.load())
        for lazy in (kind.recognise, kind.check, kind.fix, kind.catalog, kind.git_setup, kind.migrate):
            assert lazy is None or callable(lazy.load())


def test_a_workspace_whose_machine_state_cannot_be_written_can_be_looked_at(root: Path) -> None:
    engine(root).build()
    shutil.rmtree(root / ".headwater/local")
    (root / ".headwater/local").write_text("in the way of the folder")
    assert {state.freshness for state in engine(root).status()} == {Freshness.FRESH}


def test_looking_at_fifty_stores_costs_little_processor_time(tmp_path: Path) -> None:
    root = tmp_path / "many"
    write(root, {"headwater.toml": "version = 1\n"})
    for number in range(50):
        write(root, {f"store{number:02}/letters.txt": "letters", f"store{number:02}/words/x.txt": f"word {number % 5}"})
    engine(root).build()
    program = (
        "import sys, time; from tests.assets.engine.workspaces import engine_on; from tests.assets.engine.kinds import KINDS;"
        "engine_on(sys.argv[1]).status();"
        "started = time.process_time(); states = engine_on(sys.argv[1]).status(); spent = time.process_time() - started;"
        "print(spent, sum(state.freshness == 'fresh' for state in states))"
    )
    time.sleep(2.1)  # let every time stamp be old enough to be believed
    runs = [
        subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert {int(fresh) for _, fresh in runs} == {250}
    assert min(float(spent) for spent, _ in runs) < 0.3

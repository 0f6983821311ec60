"""What Dagster costs per artifact of a run, with Headwater's instance settings beside Dagster's own defaults, and loading
definitions.

    python benchmarks/dagster_overhead.py [--artifacts 50] [--stores 50]

Every artifact of the measured run writes one small file. "engine" builds them without Dagster, "headwater" as `headwater build`
does, "bare" is `dagster.materialize` of as many assets writing the same file on a default instance. Cost per artifact is the slope
between a run of one and a run of all, so that the start of the run is left out. Exits with 1 when the budget (100 ms per
artifact, 2 s for loading the definitions of 50 stores) is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assets.engine.engine import Engine
from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Source, Summary
from resources.workspace import open_workspace

BUDGET_MS = 100.0
LOAD_BUDGET_S = 2.0


def body(view: Any, scratch: Any, parameters: Any) -> Summary:
    """Write one small file."""
    (name,) = [path.name for path in [scratch.path(output) for output in parameters["outputs"]]]
    scratch.path(name).write_bytes(view.read("text", "bench.txt"))
    return Summary(counts={"rows": 1})


def recognise(storage: Any, marker: str) -> str:
    """The folder of the marker file."""
    return marker.rpartition("/")[0]


def check(storage: Any, root: str) -> list[Any]:
    """No findings."""
    return []


def kind_of(artifacts: int) -> Kind:
    """A kind whose stores have that many artifacts, each one file."""
    module = "benchmarks.dagster_overhead"
    recipes = tuple(
        Recipe(
            f"a{number}",
            1,
            "One file.",
            (Input("text", source="text"),),
            (Output(f"a{number}.txt"),),
            Lazy(f"{module}:body{number}"),
        )
        for number in range(artifacts)
    )
    return Kind(
        "bench", "Benchmark", (Source("text", ("bench.txt",), "The text."),), recipes, ("bench.txt",),
        Lazy(f"{module}:recognise"), Lazy(f"{module}:check"),
    )  # fmt: skip


def __getattr__(name: str) -> Callable[..., Summary]:
    """`body<n>` writes `a<n>.txt`: bodies are named, so that each recipe has one of its own."""
    if not name.startswith("body"):
        raise AttributeError(name)
    return lambda view, scratch, parameters: body(view, scratch, {"outputs": [f"a{name.removeprefix('body')}.txt"]})


def _engine(folder: Path, artifacts: int) -> Engine:
    store = folder / "store"
    store.mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n")
    (store / "bench.txt").write_text("text\n")
    return Engine(open_workspace(folder), {"bench": kind_of(artifacts)})


def engine_run(folder: Path, artifacts: int) -> float:
    """Seconds to build without Dagster."""
    engine = _engine(folder, artifacts)
    started = time.perf_counter()
    outcomes = engine.build()
    seconds = time.perf_counter() - started
    assert all(str(outcome.result) == "built" for outcome in outcomes), outcomes
    return seconds


def headwater_run(folder: Path, artifacts: int) -> float:
    """Seconds to build as one recorded run."""
    from orchestration.launch import run_build

    os.environ["DAGSTER_HOME"] = str(folder / "home")
    engine = _engine(folder / "workspace", artifacts)
    refs = engine.refs()
    run_build(engine, [])  # makes the instance
    started = time.perf_counter()
    outcomes = run_build(engine, refs)
    seconds = time.perf_counter() - started
    assert all(str(outcome.result) == "built" for outcome in outcomes), outcomes
    return seconds


def bare_run(folder: Path, artifacts: int) -> float:
    """Seconds of Dagster's own materialize on an instance with default settings but telemetry."""
    import logging

    import dagster as dg

    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"a{number}")
        def write() -> None:
            (folder / f"a{number}.txt").write_text("text\n")

        return write

    logging.disable(logging.CRITICAL)
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            instance.get_runs(limit=1)
            started = time.perf_counter()
            result = dg.materialize([asset(number) for number in range(artifacts)], instance=instance)
            seconds = time.perf_counter() - started
    finally:
        logging.disable(logging.NOTSET)
    assert result.success
    return seconds


def slope(run: Callable[[Path, int], float], scratch: Path, name: str, artifacts: int) -> tuple[float, float]:
    """(milliseconds per artifact, milliseconds of a run of one), each the best of three."""
    one = min(run(scratch / f"{name}-1-{turn}", 1) for turn in range(3))
    many = min(run(scratch / f"{name}-{artifacts}-{turn}", artifacts) for turn in range(3))
    return 1000 * (many - one) / (artifacts - 1), 1000 * one


_LOAD = """
import json, sys, time
import dagster
started = time.perf_counter()
from orchestration.definitions import definitions
loaded = definitions()
repository = loaded.get_repository_def()
print(json.dumps([time.perf_counter() - started, len(list(repository.asset_graph.get_all_asset_keys()))]))
"""


def load(scratch: Path, stores: int) -> tuple[float, int]:
    """(seconds beyond importing Dagster, asset keys) of the code location of a workspace with that many tables stores."""
    root = scratch / "many"
    for number in range(stores):
        store = root / f"Büro {number}-x"
        (store / "data").mkdir(parents=True)
        columns = "      id: {type: integer}\n      name: {type: text}\n"
        (store / "project.yaml").write_text(f"version: 1\ntables:\n  t:\n    columns:\n{columns}    key: [id]\n")
        (store / "data" / "t.csv").write_text("id,name\n1,a\n")
    configured = "".join(f'[stores."store {number}"]\nkind = "tables"\npath = "Büro {number}-x"\n' for number in range(stores))
    (root / "headwater.toml").write_text(f"version = 1\n{configured}")
    environment = {**os.environ, "HEADWATER_ROOT": str(root)}
    best, keys = float("inf"), 0
    for _ in range(3):
        made = subprocess.run([sys.executable, "-c", _LOAD], env=environment, capture_output=True, text=True, check=True)
        seconds, keys = json.loads(made.stdout.splitlines()[-1])
        best = min(best, seconds)
    return best, keys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=50)
    parser.add_argument("--stores", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = {
            name: slope(run, scratch, name, options.artifacts)
            for name, run in (("engine", engine_run), ("headwater", headwater_run), ("bare", bare_run))
        }
        seconds, keys = load(scratch, options.stores)
    overhead = rows["headwater"][0] - rows["engine"][0]
    record = {
        "per_artifact_ms": {name: round(row[0], 1) for name, row in rows.items()},
        "run_of_one_ms": {name: round(row[1]) for name, row in rows.items()},
        "overhead_ms": round(overhead, 1),
        "headwater_over_bare": round(rows["headwater"][0] / rows["bare"][0], 2),
        "load": {"stores": options.stores, "keys": keys, "seconds_beyond_import": round(seconds, 2)},
    }
    if options.json:
        print(json.dumps(record))
    else:
        for name, (each, one) in rows.items():
            print(f"{name:<10} {each:7.1f} ms per artifact   {one:7.0f} ms for a run of one")
        print(f"Dagster's share of headwater: {overhead:.1f} ms per artifact (budget {BUDGET_MS:.0f})")
        print(f"headwater / bare Dagster: {record['headwater_over_bare']}")
        loaded = f"definitions of {options.stores} stores ({keys} keys)"
        print(f"{loaded}: {seconds:.2f} s beyond importing Dagster (budget {LOAD_BUDGET_S:.0f})")
    return 0 if overhead <= BUDGET_MS and seconds <= LOAD_BUDGET_S else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())

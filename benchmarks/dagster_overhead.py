"""What Dagster costs per artifact of a run, with Headwater's instance settings beside Dagster's own defaults, and loading
definitions.

    python benchmarks/dagster_overhead.py [--artifacts 50] [--stores 50]

Every artifact of the measured run writes one small file. "engine" builds them without Dagster, "headwater" as `headwater
build` does, "bare" is `dagster.materialize` of as many assets writing the same file on a default instance. Cost per artifact
is the slope between a run of one and a run of all, so that the start of the run is left out; on a machine that others use
too, CPU time is the figure to trust, and the budgets (100 ms per artifact, 2 s for loading the definitions of 50 stores) are
held against it: the exit code is 1 when one is not kept.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.engine.engine import Engine
from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Source, Summary
from resources.workspace import open_workspace

BUDGET_MS = 100.0
LOAD_BUDGET_S = 2.0


@dataclass(frozen=True, order=True)
class Cost:
    """Seconds of CPU and of wall time; the smaller is the one that took less CPU."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> Cost:
        return cls(time.process_time(), time.perf_counter())

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def each(self, number: int) -> Cost:
        """Per one of `number`, in milliseconds."""
        return Cost(1000 * self.cpu / number, 1000 * self.wall / number)

    def to_json(self) -> dict[str, float]:
        return {"cpu": round(self.cpu, 1), "wall": round(self.wall, 1)}


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


def engine_run(folder: Path, artifacts: int) -> Cost:
    """Cost of a build without Dagster."""
    engine = _engine(folder, artifacts)
    started = Cost.now()
    outcomes = engine.build()
    seconds = Cost.now() - started
    assert all(str(outcome.result) == "built" for outcome in outcomes), outcomes
    return seconds


def headwater_run(folder: Path, artifacts: int) -> Cost:
    """Cost of a build as one recorded run."""
    from orchestration.launch import run_build

    os.environ["DAGSTER_HOME"] = str(folder / "home")
    engine = _engine(folder / "workspace", artifacts)
    refs = engine.refs()
    run_build(engine, [])  # makes the instance
    started = Cost.now()
    outcomes = run_build(engine, refs)
    seconds = Cost.now() - started
    assert all(str(outcome.result) == "built" for outcome in outcomes), outcomes
    return seconds


def bare_run(folder: Path, artifacts: int) -> Cost:
    """Cost of Dagster's own materialize on an instance with default settings but telemetry."""
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
            started = Cost.now()
            result = dg.materialize([asset(number) for number in range(artifacts)], instance=instance)
            seconds = Cost.now() - started
    finally:
        logging.disable(logging.NOTSET)
    assert result.success
    return seconds


def slope(run: Callable[[Path, int], Cost], scratch: Path, name: str, artifacts: int) -> tuple[Cost, Cost]:
    """(milliseconds per artifact, milliseconds of a run of one), each the best of three."""
    one = min(run(scratch / f"{name}-1-{turn}", 1) for turn in range(3))
    many = min(run(scratch / f"{name}-{artifacts}-{turn}", artifacts) for turn in range(3))
    return (many - one).each(artifacts - 1), one.each(1)


_LOAD = """
import json, sys, time
import dagster
started = time.process_time(), time.perf_counter()
from orchestration.definitions import definitions
loaded = definitions()
repository = loaded.get_repository_def()
keys = len(list(repository.asset_graph.get_all_asset_keys()))
print(json.dumps([time.process_time() - started[0], time.perf_counter() - started[1], keys]))
"""


def load(scratch: Path, stores: int) -> tuple[Cost, int]:
    """(cost beyond importing Dagster, asset keys) of the code location of a workspace with that many tables stores."""
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
    best, keys = Cost(float("inf"), 0.0), 0
    for _ in range(3):
        made = subprocess.run([sys.executable, "-c", _LOAD], env=environment, capture_output=True, text=True, check=True)
        cpu, wall, keys = json.loads(made.stdout.splitlines()[-1])
        best = min(best, Cost(cpu, wall))
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
        loading, keys = load(scratch, options.stores)
    overhead = rows["headwater"][0] - rows["engine"][0]
    record = {
        "per_artifact_ms": {name: row[0].to_json() for name, row in rows.items()},
        "run_of_one_ms": {name: row[1].to_json() for name, row in rows.items()},
        "overhead_ms": overhead.to_json(),
        "headwater_over_bare": round(rows["headwater"][0].cpu / rows["bare"][0].cpu, 2),
        "load": {"stores": options.stores, "keys": keys, "cpu_s": round(loading.cpu, 2), "wall_s": round(loading.wall, 2)},
    }
    if options.json:
        print(json.dumps(record))
    else:
        print(f"{'':<10} {'per artifact, ms':>20} {'run of one, ms':>20}")
        print(f"{'':<10} {'CPU':>10}{'wall':>10} {'CPU':>10}{'wall':>10}")
        for name, (each, one) in rows.items():
            print(f"{name:<10} {each.cpu:10.1f}{each.wall:10.1f} {one.cpu:10.0f}{one.wall:10.0f}")
        share = f"{overhead.cpu:.1f} ms of CPU, {overhead.wall:.1f} ms"
        print(f"Dagster's share of headwater: {share} per artifact (budget {BUDGET_MS:.0f})")
        print(f"headwater / bare Dagster: {record['headwater_over_bare']} in CPU time")
        loaded = f"definitions of {options.stores} stores ({keys} keys)"
        print(f"{loaded}: {loading.cpu:.2f} s of CPU, {loading.wall:.2f} s beyond importing Dagster (budget {LOAD_BUDGET_S:.0f})")
    return 0 if overhead.cpu <= BUDGET_MS and loading.cpu <= LOAD_BUDGET_S else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())

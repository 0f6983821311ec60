"""What a command costs that has nothing to do, beside `git status` and an interpreter that does nothing, in one run.

Whole processes, run alternately on a copy of the examples that was built and checked into git: wall time, CPU time (user and
system) and peak memory of each (on Linux never less than this script's own); the median of the runs counts. Exits with 1 when a
budget is not kept: `--version` 0.15 s, `status` and a `build` with nothing to do 0.30 s of wall time.

    python benchmarks/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from status_scan import Cost, git, measure

BUDGETS = {"headwater --version": 0.15, "headwater status": 0.30, "headwater build": 0.30}
EXAMPLES = Path(__file__).parents[1] / "examples"
DERIVED = shutil.ignore_patterns(".headwater", "playground.db*", "playground.duckdb*")


def prepare(folder: Path, headwater: str) -> None:
    """The examples in a git checkout, everything built."""
    shutil.copytree(EXAMPLES, folder, ignore=DERIVED, dirs_exist_ok=True)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Examples")
    subprocess.run([headwater, "git", "setup"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([headwater, "build", "--yes"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Measure and print the table; the exit code says whether the budgets are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="runs of each command")
    runs = parser.parse_args().runs
    headwater = str(Path(sys.executable).with_name("headwater"))
    contestants = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "git status": ["git", "status", "--porcelain"],
        "headwater --version": [headwater, "--version"],
        "headwater ls": [headwater, "ls"],
        "headwater status": [headwater, "status"],
        "headwater build": [headwater, "build"],
        "headwater explain": [headwater, "explain", "tables/shop/playground_db"],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as scratch:
        folder = Path(scratch)
        os.environ["HEADWATER_CACHE_DIR"] = str(folder / "cache")
        prepare(folder / "examples", headwater)
        for _ in range(runs + 1):
            for name, command in contestants.items():
                costs[name].append(measure(command, folder / "examples"))
    base = _median(costs["git status"], "wall")
    print(f"| command ({runs} runs, median) | wall | CPU | peak memory | × git status | budget |")
    print("|---|---|---|---|---|---|")
    kept = True
    for name, measured in costs.items():
        # The first run warms the file cache and compiles bytecode.
        warm = measured[1:]
        wall = _median(warm, "wall")
        budget = BUDGETS.get(name)
        kept = kept and (budget is None or wall <= budget)
        verdict = "" if budget is None else f"{budget * 1000:.0f} ms, {'kept' if wall <= budget else 'MISSED'}"
        print(
            f"| `{name}` | {wall * 1000:.0f} ms | {_median(warm, 'cpu') * 1000:.0f} ms | {_median(warm, 'memory'):.0f} MiB "
            f"| {wall / base:.1f} | {verdict} |"
        )
    return 0 if kept else 1


def _median(costs: list[Cost], name: str) -> float:
    return statistics.median(getattr(cost, name) for cost in costs)


if __name__ == "__main__":
    sys.exit(main())

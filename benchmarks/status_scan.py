"""A scan of 100,000 unchanged text files beside `git status` on the same checkout, in one run.

Each contestant is a whole process, run alternately, with wall time, CPU time (user and system) and peak memory of that
process; the median of the runs counts. Ours opens the workspace, lists every folder, compares the packed signatures and
computes the digest of the whole tree; git's lists, compares with its index and looks for untracked files. Also shown: the first
scan, which reads and hashes everything, beside `git add` of the same files into a fresh repository.

    python benchmarks/status_scan.py [--files 100000] [--runs 7] [--folder KEPT]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BUDGET = 4.0
GOAL = 3.0
PER_FOLDER = 100

OURS = """
import sys
from resources.workspace import open_workspace
workspace = open_workspace(sys.argv[1])
workspace.recover()
tree = workspace.stat_cache.tree(workspace.root)
print(len(tree), tree.hashed, tree.digest)
"""


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds of wall time and CPU, peak resident memory in MiB, and what it printed."""

    wall: float
    cpu: float
    memory: float
    output: str


def measure(command: list[str], folder: Path) -> Cost:
    """Run a command to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    _pid, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes, Linux KiB
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale, output)


def make_files(root: Path, files: int) -> None:
    """A checkout of small JSON files, a hundred to a folder."""
    for folder in range(files // PER_FOLDER):
        below = root / f"part{folder // 50:03d}" / f"set{folder:05d}"
        below.mkdir(parents=True)
        for number in range(PER_FOLDER):
            text = f'{{"id": {folder * PER_FOLDER + number}, "name": "record {number}", "tags": ["a", "b"]}}\n'
            (below / f"record{number:03d}.json").write_text(text)
    (root / ".gitignore").write_text(".headwater/\n")
    git(root, "init", "-q")
    git(root, "config", "gc.auto", "0")  # nothing runs in the background while we measure


def git(root: Path, *arguments: str) -> list[str]:
    """Run git once; returns the command, for measuring it again."""
    command = ["git", "-C", str(root), "-c", "user.name=Bench", "-c", "user.email=bench@example.org", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return command


def median(costs: list[Cost]) -> Cost:
    """The run with the median wall time."""
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def show(name: str, cost: Cost) -> None:
    """One row of the table."""
    print(f"{name:<34}{cost.wall:>9.3f} s{cost.cpu:>9.3f} s{cost.memory:>9.1f} MiB")


def main() -> int:
    """Measure and print; exit code 1 when the budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keep the files here and use them again")
    options = parser.parse_args()
    base = options.folder or Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    root = base / "checkout"
    try:
        if not root.exists():
            make_files(root, options.files)
        shutil.rmtree(root / ".headwater", ignore_errors=True)
        (root / ".git" / "index").unlink(missing_ok=True)
        ours = [sys.executable, "-c", OURS, str(root)]
        status = ["git", "-C", str(root), "status", "--porcelain"]
        print(f"{options.files:,} files, median of {options.runs}\n{'':<34}{'wall':>11}{'CPU':>11}{'peak memory':>13}")
        first_git = measure(["git", "-C", str(root), "add", "."], base)
        first_ours = measure(ours, base)
        git(root, "commit", "-q", "--allow-empty", "-m", "files")
        show("git add, fresh index", first_git)
        show("headwater, first scan", first_ours)
        time.sleep(2.1)  # past the racy window of both
        measure(ours, base)
        measure(status, base)
        pairs = [(measure(status, base), measure(ours, base)) for _run in range(options.runs)]
        peer, mine = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
        show("git status", peer)
        show("headwater, nothing changed", mine)
        count, hashed, _digest = mine.output.split()
        if int(count) < options.files or hashed != "0":
            raise SystemExit(f"the scan saw {count} files and hashed {hashed}")
        ratio = statistics.median(pair[1].wall / pair[0].wall for pair in pairs)
        others = f"CPU {mine.cpu / peer.cpu:.2f}, memory {mine.memory / peer.memory:.2f}"
        print(f"\nratio: wall {ratio:.2f} (budget {BUDGET:g}, goal {GOAL:g}, for 100,000 files), {others}")
        return 1 if ratio > BUDGET and options.files >= 100_000 else 0
    finally:
        if options.folder is None:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""Versioned data beside DVC and git-lfs: adding, looking at, restoring and pushing many small files, and one large one.

    python benchmarks/dvs_files.py [--files 20000] [--gib 1] [--runs 3] [--dvc DVC] [--million] [--no-peers]

Every figure is one of a whole process that is started for it, with its children: wall time, CPU time, peak memory; the best of
`--runs` counts. All contestants work on the same bytes on the same disk with a warm cache, each in a git checkout of its own.
Ours writes its sidecars, its manifest and its log, and makes the objects durable, before it says that it is done; DVC is told
that there is no git (`--no-scm`), which is quicker for it. DVC's cache copies, as it does where a file system cannot link.
The large file is measured beside `cp` of that file followed by its fsync. With `--million` the status of 1,000,000 tracked files
is measured too, which takes long to prepare. The floor is printed first: what creating the files alone takes. Exits with 1 when
a budget is not kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.status_scan import Cost, measure

FOLDERS = 100
SIZE = 4096
BUDGETS = {
    # (step, figure): (how many times less than DVC)
    ("add", "cpu"): 10.0,
    ("add", "wall"): 6.0,
    ("status", "wall"): 10.0,
    ("status", "cpu"): 10.0,
    ("restore", "wall"): 8.0,
    ("restore", "cpu"): 8.0,
    ("push nothing", "wall"): 20.0,
    ("push nothing", "cpu"): 20.0,
}
LARGE_LIMIT = 1.5
MILLION_SECONDS = 25.0
MILLION_MIB = 1024.0
_GIT = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
_CP = "import os, shutil, subprocess, sys\nsubprocess.run(['cp', sys.argv[1], sys.argv[2]], check=True)\n"
_CP += "os.fsync(os.open(sys.argv[2], os.O_RDONLY))\n"
_CREATE = """
import os, sys
for at in range(int(sys.argv[2])):
    folder = f"{sys.argv[1]}/set{at % 100:03d}"
    if at < 100:
        os.makedirs(folder)
for folder in range(100):
    for at in range(folder, int(sys.argv[2]), 100):
        with open(f"{sys.argv[1]}/set{folder:03d}/f{at:06d}", "wb", buffering=0) as file:
            file.write(b"x" * 200)
os.sync()
"""


def make_files(root: Path, files: int, size: int = SIZE, *, folders: int = FOLDERS) -> None:
    """Files of random bytes that no compression helps with, the same number in every folder."""
    for folder in range(folders):
        below = root / f"set{folder:04d}"
        below.mkdir(parents=True)
        for number in range(folder, files, folders):
            (below / f"sample{number:07d}.bin").write_bytes(os.urandom(size))


@dataclass
class Contestant:
    """One tool in a folder of its own; `steps` name what it can do."""

    name: str
    folder: Path
    figures: dict[str, Cost] = field(default_factory=dict)

    def take(self, step: str, command: list[str], runs: int, *, before: Callable[[], None] | None = None) -> None:
        """Run a command `runs` times and keep the quickest in wall time; `before` prepares each run and is not measured."""
        costs = []
        for _run in range(runs):
            if before is not None:
                before()
            subprocess.run(["sync"], check=True)
            costs.append(measure(command, self.folder))
        self.figures[step] = Cost(
            min(cost.wall for cost in costs),
            min(cost.cpu for cost in costs),
            max(cost.memory for cost in costs),
            costs[-1].output,
        )


def headwater() -> list[str]:
    """The command, as it is installed beside this Python."""
    return [str(Path(sys.executable).parent / "headwater")]


def remove_data(folder: Path) -> None:
    """Delete every data file below `data`, and nothing that describes them."""
    for path in (folder / "data").rglob("*.bin"):
        path.unlink()


def fresh_copy(source: Path, target: Path) -> None:
    """The same files in another folder; the pages are in memory afterwards."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def ours(folder: Path, data: Path, runs: int) -> Contestant:
    """Headwater with its defaults: packed objects, JSON sidecars, a storage beside the checkout."""
    made = Contestant("headwater", folder / "ours")
    command = headwater()

    def prepare() -> None:
        shutil.rmtree(made.folder, ignore_errors=True)
        shutil.rmtree(folder / "ours-storage", ignore_errors=True)
        made.folder.mkdir()
        subprocess.run([*_GIT, "init", "-q"], cwd=made.folder, check=True)
        subprocess.run([*command, "dvs", "init", "../ours-storage"], cwd=made.folder, check=True, stdout=subprocess.DEVNULL)
        fresh_copy(data, made.folder / "data")

    made.take("add", [*command, "dvs", "add", "data"], runs, before=prepare)
    made.take("status", [*command, "dvs", "status"], runs + 1)
    made.take("add unchanged", [*command, "dvs", "add", "data"], runs)
    made.take("restore", [*command, "dvs", "get", "data"], runs, before=lambda: remove_data(made.folder))
    remote = folder / "ours-remote"
    made.take("push", [*command, "dvs", "push", "--remote", str(remote)], 1)
    made.take("push nothing", [*command, "dvs", "push", "--remote", str(remote)], runs)
    return made


def dvc(folder: Path, data: Path, runs: int, tool: str) -> Contestant:
    """DVC with its defaults, without git."""
    made = Contestant("DVC", folder / "dvc")
    home = folder / "dvc-home"
    os.environ.update(DVC_NO_ANALYTICS="1", DVC_GLOBAL_CONFIG_DIR=str(home), DVC_SITE_CACHE_DIR=str(home / "site"))

    def prepare() -> None:
        shutil.rmtree(made.folder, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
        made.folder.mkdir()
        subprocess.run([tool, "init", "--no-scm", "-q"], cwd=made.folder, check=True)
        fresh_copy(data, made.folder / "data")

    made.take("add", [tool, "add", "-q", "data"], runs, before=prepare)
    made.take("status", [tool, "status", "-q"], runs + 1)
    made.take("add unchanged", [tool, "add", "-q", "data"], runs)
    made.take("restore", [tool, "checkout", "-q"], runs, before=lambda: shutil.rmtree(made.folder / "data"))
    subprocess.run([tool, "remote", "add", "-q", "-d", "origin", str(folder / "dvc-remote")], cwd=made.folder, check=True)
    made.take("push", [tool, "push", "-q"], 1)
    made.take("push nothing", [tool, "push", "-q"], runs)
    return made


def git_lfs(folder: Path, data: Path, runs: int) -> Contestant:
    """git with git-lfs for every data file, pushed to a folder through a file URL."""
    made = Contestant("git-lfs", folder / "lfs")

    def prepare() -> None:
        shutil.rmtree(made.folder, ignore_errors=True)
        made.folder.mkdir()
        for arguments in (["init", "-q"], ["lfs", "install", "--local"], ["lfs", "track", "*.bin"]):
            subprocess.run([*_GIT, *arguments], cwd=made.folder, check=True, stdout=subprocess.DEVNULL)
        fresh_copy(data, made.folder / "data")

    made.take("add", [*_GIT, "add", "."], 1, before=prepare)
    subprocess.run([*_GIT, "commit", "-q", "-m", "all"], cwd=made.folder, check=True)
    made.take("status", [*_GIT, "status", "--short"], runs + 1)
    made.take("add unchanged", [*_GIT, "add", "."], runs)
    made.take("restore", [*_GIT, "checkout", "--", "data"], 1, before=lambda: remove_data(made.folder))
    bare = folder / "lfs-remote.git"
    subprocess.run([*_GIT, "init", "-q", "--bare", str(bare)], check=True)
    subprocess.run([*_GIT, "remote", "add", "origin", f"file://{bare}"], cwd=made.folder, check=True)
    branch = subprocess.check_output([*_GIT, "branch", "--show-current"], cwd=made.folder, text=True).strip()
    made.take("push", [*_GIT, "push", "-q", "origin", branch], 1)
    made.take("push nothing", [*_GIT, "lfs", "push", "origin", branch], 1)
    return made


def large(folder: Path, gib: float, runs: int) -> dict[str, Cost]:
    """One large file: ours, and `cp` followed by its fsync, alternating."""
    source = folder / "large.bin"
    with source.open("wb") as file:
        for _block in range(int(gib * 64)):
            file.write(os.urandom(16 << 20))
    work, storage, copy = folder / "large", folder / "large-storage", folder / "large-copy.bin"
    command = headwater()
    bare, adding = Contestant("cp and fsync", folder), Contestant("headwater", work)

    def prepare() -> None:
        for path in (work, storage):
            shutil.rmtree(path, ignore_errors=True)
        work.mkdir()
        subprocess.run([*_GIT, "init", "-q"], cwd=work, check=True)
        subprocess.run([*command, "dvs", "init", str(storage)], cwd=work, check=True, stdout=subprocess.DEVNULL)
        os.link(source, work / "large.bin")

    for _run in range(runs):
        for contestant, step, given, before in (
            (bare, "cp", [sys.executable, "-c", _CP, str(source), str(copy)], lambda: copy.unlink(missing_ok=True)),
            (adding, "add", [*command, "dvs", "add", "large.bin"], prepare),
            (adding, "get", [*command, "dvs", "get", "large.bin"], lambda: (work / "large.bin").unlink()),
        ):
            kept = contestant.figures.get(step)
            contestant.take(step, given, 1, before=before)
            if kept is not None and kept.wall < contestant.figures[step].wall:
                contestant.figures[step] = kept
    return {"cp and fsync": bare.figures["cp"], "add": adding.figures["add"], "get": adding.figures["get"]}


def million(folder: Path, files: int) -> dict[str, Cost]:
    """A million tracked files: the first look at them after they were added, and the status with nothing changed since."""
    work = folder / "million"
    make_files(work / "data", files, 64, folders=1000)
    command = headwater()
    subprocess.run([*_GIT, "init", "-q"], cwd=work, check=True)
    subprocess.run([*command, "dvs", "init", "../million-storage"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*command, "dvs", "add", "data"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    made = Contestant("headwater", work)
    made.take("first look", [*command, "dvs", "status"], 1)
    made.take("status", [*command, "dvs", "status"], 2)
    return made.figures


def _table(contestants: list[Contestant]) -> None:
    print("| | " + " | ".join(f"{one.name}: wall s | CPU s | peak MiB" for one in contestants) + " |")
    print("|---|" + "---:|---:|---:|" * len(contestants))
    for step in contestants[0].figures:
        cells = []
        for one in contestants:
            cost = one.figures[step]
            cells.append(f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f}")
        print(f"| {step} | " + " | ".join(cells) + " |")


def _budgets(us: Contestant, peer: Contestant) -> Iterator[tuple[str, float, float]]:
    for (step, figure), wanted in BUDGETS.items():
        ratio = getattr(peer.figures[step], figure) / max(getattr(us.figures[step], figure), 1e-9)
        yield f"{step}, {figure}: times less than {peer.name}", ratio, wanted


def main() -> int:
    """Measure, print the tables and the budgets; 1 when one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="small files of 4 KiB")
    parser.add_argument("--gib", type=float, default=1.0, help="size of the large file; 0 for none")
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is taken")
    parser.add_argument("--dvc", default=shutil.which("dvc"), help="the DVC command, when it is not on the path")
    parser.add_argument("--million", action="store_true", help="also the status of 1,000,000 tracked files")
    parser.add_argument("--no-peers", action="store_true", help="measure ours only")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=arguments.folder) as scratch:
        folder = Path(scratch)
        os.environ["HOME"] = str(folder / "home")
        (folder / "home").mkdir()
        if arguments.files:
            missed |= _small(folder, arguments)
        if arguments.gib:
            figures = large(folder, arguments.gib, arguments.runs)
            print(f"\nOne file of {arguments.gib:g} GiB\n\n| | wall s | CPU s | peak MiB | times cp |\n|---|---:|---:|---:|---:|")
            base = figures["cp and fsync"].wall
            for name, cost in figures.items():
                print(f"| {name} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} | {cost.wall / base:.2f} |")
                if cost.wall > LARGE_LIMIT * base:
                    print(f"MISSED: {name} takes {cost.wall / base:.2f} times as long as cp, the limit is {LARGE_LIMIT}")
                    missed = True
        if arguments.million:
            figures = million(folder, 1_000_000)
            print("\n1,000,000 tracked files\n\n| | wall s | CPU s | peak MiB |\n|---|---:|---:|---:|")
            for name, cost in figures.items():
                print(f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} |")
            missed |= figures["status"].wall > MILLION_SECONDS or figures["status"].memory > MILLION_MIB
    return int(missed)


def _small(folder: Path, arguments: argparse.Namespace) -> bool:
    data = folder / "source"
    make_files(data, arguments.files)
    floor = Contestant("floor", folder)
    made = folder / "floor-files"
    floor.take(
        "create",
        [sys.executable, "-c", _CREATE, str(made), str(arguments.files)],
        arguments.runs,
        before=lambda: shutil.rmtree(made, ignore_errors=True),
    )
    cost = floor.figures["create"]
    print(f"{arguments.files:,} files of {SIZE} bytes in {FOLDERS} folders. Floor of an add: creating as many small files (the")
    print(f"sidecars) and one sync: {cost.wall:.2f} s, {cost.cpu:.2f} s of CPU.\n")
    contestants = [ours(folder, data, arguments.runs)]
    if not arguments.no_peers:
        if arguments.dvc:
            contestants.append(dvc(folder, data, arguments.runs, arguments.dvc))
        else:
            print("DVC is not installed here: name it with --dvc")
        if shutil.which("git-lfs"):
            contestants.append(git_lfs(folder, data, arguments.runs))
        else:
            print("git-lfs is not installed here")
    _table(contestants)
    peers = [one for one in contestants[1:] if one.name == "DVC"]
    rows = [row for peer in peers for row in _budgets(contestants[0], peer)]
    if rows:
        print("\n| | measured | asked | |\n|---|---:|---:|---|")
        for name, ratio, wanted in rows:
            print(f"| {name} | {ratio:.1f} | ≥ {wanted:g} | {'kept' if ratio >= wanted else 'MISSED'} |")
    return any(ratio < wanted for _name, ratio, wanted in rows)


if __name__ == "__main__":
    sys.exit(main())

"""Loading a large tables project, beside the tools people load CSV files with.

    python benchmarks/tables_load.py [--rows 1000000] [--runs 3] [--quick]

The text: 1,000,000 rows of 8 typed columns (integer key, foreign key to 10,000 parents, a bounded integer, a nullable and a
required float, a date, text, nullable text with quotes, commas and line ends), about 98 MB. Every step is a process of its own,
whose wall time, CPU time and peak memory are measured. For our steps and DuckDB's, the start of the interpreter and its imports
is left out of the times and given as a row of its own. The steps take turns and the best of `--runs` counts; sqlite-utils, which
takes minutes, is run once. Exits with 1 when a budget is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PARENTS = 10_000
_WORK = "worked"
_UTILS = "sqlite-utils insert"
MEMORY_BUDGET_MIB = 500

PROJECT = """\
version: 1
tables:
  order:
    primary_key: [id]
    columns:
      id: {type: integer}
      customer_id: {type: integer, nullable: false}
      quantity: {type: integer, nullable: false, min: 1}
      discount: {type: float}
      price: {type: float, nullable: false}
      day: {type: date, nullable: false}
      title: {type: text, nullable: false}
      note: {type: text}
  customer:
    primary_key: [id]
    columns:
      id: {type: integer}
      name: {type: text}
relationships:
  order_customer:
    from: {table: order, columns: [customer_id]}
    to: {table: customer, columns: [id]}
"""

PEER_TABLES = """\
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE "order" (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id), quantity INTEGER NOT NULL CHECK (quantity >= 1),
  discount REAL, price REAL NOT NULL, day TEXT NOT NULL CHECK (day IS date(day)), title TEXT NOT NULL, note TEXT
);
"""


def write_project(folder: Path, *, rows: int) -> Path:
    """The project with that many orders in `folder`, the same bytes every time; returns the folder."""
    chance = random.Random(20261120)
    words = ["river", "stone", "amber", "quiet", "lantern", "harbor", "maple", "orchard", "signal", "copper", "velvet", "meadow"]
    days = [(dt.date(2015, 1, 1) + dt.timedelta(days=number)).isoformat() for number in range(4000)]
    notes = ['"said ""hello"", then left"', '"two\nlines"', '"comma, inside"', "plain note with some more words in it", ""]
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT, encoding="utf-8")
    with open(data / "customer.csv", "w", newline="") as file:
        file.write("id,name\n" + "".join(f"{number},Customer {number}\n" for number in range(1, PARENTS + 1)))
    with open(data / "order.csv", "w", newline="") as file:
        file.write("id,customer_id,quantity,discount,price,day,title,note\n")
        for number in range(1, rows + 1):
            discount = "" if chance.random() < 0.2 else repr(chance.random())
            title = f"{chance.choice(words)} {chance.choice(words)} {chance.randrange(1000)}"
            file.write(
                f"{number},{chance.randrange(1, PARENTS + 1)},{chance.randrange(1, 500)},{discount},{chance.uniform(1, 1000)!r},"
                f"{chance.choice(days)},{title},{chance.choice(notes)}\n"
            )
    return folder


# what runs in a process of its own


def _texts(project: Path) -> tuple[object, dict[str, object]]:
    from assets.tables.load import TableText
    from schemas.tables.project import read_project

    read = read_project((project / "project.yaml").read_bytes(), "project.yaml")
    return read, {name: TableText(read, table, project / table.data_file, table.data_file) for name, table in read.tables.items()}


def step_read(project: Path, work: Path) -> None:
    """Prove and convert, insert nothing."""
    for text in _texts(project)[1].values():
        for _ in text.fast_batches():  # type: ignore[attr-defined]
            pass


def step_load(project: Path, work: Path) -> None:
    """Insert all rows, constraints on."""
    from assets.tables import sqlite

    read, texts = _texts(project)
    sqlite.load(work / "load.db", read, texts)  # type: ignore[arg-type]


def step_recipe(project: Path, work: Path) -> None:
    """The whole body of `playground_db`: load, vacuum, verify keys, checks and integrity."""
    from assets.engine.model import Store
    from assets.engine.view import RoleInput, Scratch, View
    from assets.tables.recipes import PLAYGROUND_DB
    from resources.storage.local import LocalStorage
    from schemas.oid import file_oid

    def files(names: list[str]) -> RoleInput:
        found = tuple((name, file_oid(project / name), (project / name).stat().st_size) for name in names)
        return RoleInput("", enumerate_files=lambda: found)

    roles = {"project": files(["project.yaml"]), "data": files(["data/customer.csv", "data/order.csv"])}
    view = View(LocalStorage(project, state=work / "state"), Store("tables", "bench", ""), roles, work)
    PLAYGROUND_DB.body.load()(view, Scratch(work / "scratch"), {})


def step_duckdb(project: Path, work: Path) -> None:
    """Insert all rows into DuckDB, constraints on."""
    from assets.tables import duckdb_file
    from schemas.tables.duckdb_sql import duckdb_ddl

    read, texts = _texts(project)
    duckdb_file.load(work / "load.duckdb", read, texts, duckdb_ddl(read)[0])  # type: ignore[arg-type]


def step_copy(project: Path, work: Path) -> None:
    """DuckDB's own COPY into the same tables."""
    import duckdb

    from schemas.tables.duckdb_sql import duckdb_ddl

    connection = duckdb.connect(str(work / "copy.duckdb"), config={"threads": 2})
    for statement in duckdb_ddl(_texts(project)[0])[0]:  # type: ignore[arg-type]
        connection.execute(statement)
    for name in ("customer", "order"):
        path = str(project / "data" / f"{name}.csv").replace("'", "''")
        connection.execute(f"COPY \"{name}\" FROM '{path}' (HEADER, NULLSTR '', ALLOW_QUOTED_NULLS false)")
    connection.execute("CHECKPOINT")
    connection.close()


def step_start(project: Path, work: Path) -> None:
    """Nothing: what the start of the interpreter and the imports take."""
    print("started")


STEPS: dict[str, Callable[[Path, Path], None]] = {
    "start": step_start,
    "read": step_read,
    "load": step_load,
    "recipe": step_recipe,
    "duckdb": step_duckdb,
    "copy": step_copy,
}


# measuring


@dataclass
class Measured:
    """Wall and CPU seconds and peak MiB of one process."""

    wall: float
    cpu: float
    peak: float

    def best(self, other: Measured | None) -> Measured:
        """The smaller of each figure, the larger peak."""
        if other is None:
            return self
        return Measured(min(self.wall, other.wall), min(self.cpu, other.cpu), max(self.peak, other.peak))


def measure(command: list[str], given: str = "") -> Measured:
    """Run a command to its end. Raises CalledProcessError."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output:
        stdin.write(given.encode())
        stdin.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output.read())
        output.seek(0)
        said = output.read().decode(errors="replace").split()
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    if said[:1] == [_WORK]:
        return Measured(float(said[1]), float(said[2]), usage.ru_maxrss / unit)
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def own(step: str, project: Path, work: Path) -> Measured:
    """One of our steps in a new process and an empty folder."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return measure([sys.executable, __file__, "--step", step, "--project", str(project), "--work", str(work)])


def bare_import(shell: str, project: Path, work: Path) -> Measured:
    """`.import` of both files into tables with the same constraints, without journal and syncs."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    script = "PRAGMA journal_mode=OFF;\nPRAGMA synchronous=OFF;\n" + PEER_TABLES + ".mode csv\n"
    script += "".join(f'.import --skip 1 "{project}/data/{name}.csv" {name}\n' for name in ("customer", "order"))
    return measure([shell, str(work / "import.db")], script)


def sqlite_utils(project: Path, work: Path) -> Measured:
    """`sqlite-utils insert` of the orders, types detected as it does by default."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [sys.executable, "-m", "sqlite_utils", "insert", str(work / "utils.db"), "order", str(project / "data/order.csv")]
    return measure([*command, "--csv", "--pk", "id"])


def shells() -> dict[str, str]:
    """The SQLite shells on this machine: Debian's, and the one in the apsw wheel."""
    found = {}
    if installed := shutil.which("sqlite3"):
        found["sqlite3 .import"] = installed
    import apsw.sqlite_extra

    with contextlib.suppress(apsw.sqlite_extra.NotAvailable):
        found["sqlite3 .import, wheel"] = str(apsw.sqlite_extra.path("sqlite3_shell"))
    return {f"{name} ({_version(shell)})": shell for name, shell in found.items()}


def _version(shell: str) -> str:
    return subprocess.run([shell, "--version"], check=True, capture_output=True, text=True).stdout.split()[0]


def main() -> int:
    """Measure, print a table and the ratios; 1 when a budget is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large table")
    parser.add_argument("--runs", type=int, default=3, help="how often each step is run")
    parser.add_argument("--quick", action="store_true", help="leave out sqlite-utils, which takes minutes")
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        return work_alone(STEPS[arguments.step], arguments.project, arguments.work)
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        return compare(Path(folder), arguments.rows, arguments.runs, quick=arguments.quick)


def work_alone(step: Callable[[Path, Path], None], project: Path, work: Path) -> int:
    """Run one step and print the time it took after everything had been imported."""
    for module in ("assets.tables.duckdb_file", "assets.tables.parquet", "resources.storage.local"):
        importlib.import_module(module)
    before, started = time.process_time(), time.perf_counter()
    step(project, work)
    print(_WORK, time.perf_counter() - started, time.process_time() - before)
    return 0


def compare(folder: Path, rows: int, runs: int, *, quick: bool) -> int:
    """Run every step `runs` times in turn and print the table."""
    project, work = write_project(folder / "project", rows=rows), folder / "work"
    peers = shells()
    best: dict[str, Measured] = {}
    for _ in range(runs):
        for name, shell in peers.items():
            best[name] = bare_import(shell, project, work).best(best.get(name))
        for step in STEPS:
            best[step] = own(step, project, work).best(best.get(step))
    if not quick:
        best[_UTILS] = sqlite_utils(project, work)
    print(
        f"{rows:,} x 8 rows, {(project / 'data/order.csv').stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores, best of {runs}\n"
    )
    print("| step | wall s | CPU s | peak MiB |\n|---|---:|---:|---:|")
    for name, figures in best.items():
        print(f"| {name} | {figures.wall:.2f} | {figures.cpu:.2f} | {figures.peak:.0f} |")
    return _budgets(best, list(peers))


def _budgets(best: dict[str, Measured], peers: list[str]) -> int:
    """Print each ratio beside its budget; the quickest of the shells is the one to beat."""
    bare = min((best[name].wall for name in peers), default=None)
    ratios = [("duckdb / copy", best["duckdb"].wall / best["copy"].wall, 1.3, True)]
    if bare is not None:
        ratios.append(("load / quickest .import", best["load"].wall / bare, 1.15, True))
        ratios.append(("whole recipe / quickest .import", best["recipe"].wall / bare, 1.8, True))
    if _UTILS in best:
        ratios.append(("sqlite-utils / load", best[_UTILS].wall / best["load"].wall, 50, False))
    ratios.append(("peak MiB of the recipe", best["recipe"].peak, MEMORY_BUDGET_MIB, True))
    print("\n| | measured | budget | |\n|---|---:|---:|---|")
    kept = True
    for name, value, budget, at_most in ratios:
        good = value <= budget if at_most else value >= budget
        kept &= good
        print(f"| {name} | {value:.2f} | {'≤' if at_most else '≥'} {budget} | {'kept' if good else 'MISSED'} |")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

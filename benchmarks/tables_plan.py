"""Planning a rebuild after one row among 1,000,000 changed, beside SQLite's own sqlite3_diff.

    python benchmarks/tables_plan.py [--rows 1000000] [--runs 3]

The project is that of tables_load.py. Measured as whole processes, wall and CPU time and peak memory, best of `--runs`:
`headwater tables plan` and `headwater tables diff` with one changed line in the text, and the same diff after a row was changed
in the live database, where the text has to be loaded to compare. The peer compares two SQLite files that differ in one row and
knows nothing of text. Exits with 1 when a budget is not kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import apsw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.status_scan import Cost, measure
from benchmarks.tables_load import write_project

BUDGET = 2.0
"""Seconds for plan and diff."""


def headwater(*arguments: str) -> list[str]:
    """The command line of the installed program."""
    return [str(Path(sys.executable).with_name("headwater")), *arguments]


def sqlite3_diff() -> str | None:
    """The path of sqlite3_diff from the apsw wheel, None where a platform's wheel has none."""
    import apsw.sqlite_extra

    try:
        found = apsw.sqlite_extra.path("sqlite3_diff")
    except (AttributeError, apsw.sqlite_extra.NotAvailable):
        return None
    return str(found)


def best(command: list[str], folder: Path, runs: int) -> Cost:
    """The quickest of some runs."""
    return min((measure(command, folder) for _ in range(runs)), key=lambda cost: cost.wall)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        os.environ["HEADWATER_CACHE_DIR"] = str(root / "cache")
        (root / "headwater.toml").write_text("version = 1\n")
        store = write_project(root / "bench", rows=options.rows)
        measure(headwater("tables", "diff"), root)  # builds the database, as every command that reads it does
        shutil.copy(store / "playground.db", root / "before.db")
        orders = store / "data/order.csv"
        lines = orders.read_bytes().split(b"\n")
        place = next(number for number in range(len(lines) // 2, len(lines)) if b'"' not in lines[number])
        lines[place] = lines[place].replace(b" ", b" changed ", 1)
        orders.write_bytes(b"\n".join(lines))
        results = {
            "headwater tables plan": best(headwater("tables", "plan"), root, options.runs),
            "headwater tables diff": best(headwater("tables", "diff"), root, options.runs),
        }
        shutil.copy(root / "before.db", root / "after.db")
        connection = apsw.Connection(str(root / "after.db"))
        connection.execute("UPDATE \"order\" SET title = 'changed' WHERE id = ?", (options.rows // 2,))
        connection.close()
        peer = sqlite3_diff()
        if peer is not None:
            results["sqlite3_diff --summary"] = best([peer, "--summary", "before.db", "after.db"], root, options.runs)
            results["sqlite3_diff"] = best([peer, "before.db", "after.db"], root, options.runs)
        shutil.copy(root / "after.db", store / "playground.db")
        results["headwater tables diff, edited database"] = best(headwater("tables", "diff"), root, 1)
    print(f"| one row of {options.rows:,} changed | wall s | CPU s | peak MiB |\n|---|---|---|---|")
    for name, cost in results.items():
        print(f"| {name} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} |")
    kept = all(results[name].wall <= BUDGET for name in ("headwater tables plan", "headwater tables diff"))
    print(f"budget {BUDGET} s: {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

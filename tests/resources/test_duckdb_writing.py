"""A full disk under DuckDB is said in words that help, and everything else DuckDB says passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from resources.duckdb_writing import saying_what_failed

PROGRAM = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from assets.tables.recipes import PLAYGROUND_DUCKDB
from schemas.errors import HeadwaterError
from tests.assets.tables.projects import build, table, write_project
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rows = "id,v\\n" + "".join(f"{{n}},{{n * 7919 % 1000003}} some text that takes room\\n" for n in range(20000))
project = write_project(Path({folder!r}) / "p", {{"t": table({{"id": "integer", "v": "text"}})}}, {{"t": rows}})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    build(PLAYGROUND_DUCKDB, project, Path({folder!r}) / "work")
except HeadwaterError as error:
    print(error.rule, error.message, sep="|")
"""


def test_case_11_a_full_disk_under_duckdb(tmp_path: Path) -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "duckdb-cannot-write|DuckDB could not write the database: File too large\n", done.stderr


CATALOG = """
import resource, signal
from pathlib import Path
from assets.engine.engine import Engine
from assets.engine.model import Ref
from resources.workspace import open_workspace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path({folder!r})
(folder / "headwater.toml").write_text("version = 1\\n")
engine = Engine(open_workspace(folder))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
outcome = engine.build_one(Ref("workspace", "all", "catalog"))
print(outcome.result, getattr(outcome.error, "rule", outcome.error), sep="|")
print(*sorted(path.name for path in (folder / ".headwater").glob("catalog*")))
print(*sorted(path.name for path in (folder / ".headwater/local/scratch").iterdir()))
"""


def test_case_11_a_disk_that_fills_up_as_the_catalog_is_closed(tmp_path: Path) -> None:
    """DuckDB closes a file it could not write out without a word, its rows in a log beside it."""
    done = subprocess.run(
        [sys.executable, "-c", CATALOG.format(folder=str(tmp_path))], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "failed|duckdb-cannot-write\n\n\n", done.stdout + done.stderr


def test_what_is_not_about_the_disk_passes() -> None:
    with pytest.raises(duckdb.CatalogException), saying_what_failed():
        duckdb.sql("SELECT * FROM nothing_of_this_name")
    with pytest.raises(ValueError, match="No space left on device"), saying_what_failed():
        raise ValueError("No space left on device")

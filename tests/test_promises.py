"""Promises about a whole workspace, held on a copy of `examples/` through the real command line (design sections 3 and 6)."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.oid import file_oid

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BUILT = ("playground.", "qipu.db")
"""How the names of databases begin that are built beside the text."""
DATABASES = ("shop/playground.db", "rangers/playground.db")


def headwater(root: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run the command line as a user would; returns the JSON object of each line."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HEADWATER_ROOT", "DAGSTER_HOME"))}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from orchestration.cli.main import main; sys.exit(main())", "--json", *arguments],
        cwd=root, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def freshness(root: Path) -> dict[str, str]:
    return {state["artifact"]: state["state"] for state in headwater(root, "status")}


def digests(root: Path) -> dict[str, str]:
    return {path: file_oid(root / path) for path in DATABASES}


def text(root: Path) -> dict[str, str]:
    """Every authoritative file of the workspace."""
    return {
        str(path.relative_to(root)): file_oid(path)
        for path in root.rglob("*")
        if path.is_file() and not {".headwater", ".cache"}.intersection(path.parts) and not path.name.startswith(BUILT)
    }


def delete_derived(root: Path) -> None:
    """Everything that was built, and all that is known of it."""
    shutil.rmtree(root / ".headwater")
    for path in sorted(root.rglob("*")):
        if path.is_file() and (path.name.startswith(BUILT) or path.parent.name == ".cache"):
            path.unlink()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("promises") / "workspace"
    shutil.copytree(
        EXAMPLES, root, ignore=shutil.ignore_patterns(".headwater", "playground.*", "qipu.db*", ".cache", "__pycache__")
    )
    headwater(root, "build")
    return root


@pytest.fixture
def workspace(built: Path, tmp_path: Path) -> Path:
    """A copy of the built workspace at another path."""
    root = tmp_path / "moved elsewhere"
    shutil.copytree(built, root, symlinks=True)
    return root


@pytest.mark.slow
def test_a_moved_copy_is_fresh(workspace: Path) -> None:
    assert set(freshness(workspace).values()) == {"fresh"}
    assert {made["outcome"] for made in headwater(workspace, "build")} == {"fresh"}


@pytest.mark.slow
def test_deleting_everything_derived_and_building_again_gives_the_same_bytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sources = digests(workspace), text(workspace)
    delete_derived(workspace)
    assert text(workspace) == sources
    assert set(freshness(workspace).values()) == {"missing"}
    assert {made["outcome"] for made in headwater(workspace, "build")} == {"built"}
    assert digests(workspace) == before
    assert text(workspace) == sources


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_deleting_any_subset_brings_it_back(workspace: Path, seed: int) -> None:
    before = digests(workspace)
    outputs = [path for state in headwater(workspace, "status") for path in state["outputs"]]
    doomed = random.Random(seed).sample(outputs, k=len(outputs) // 2)
    for path in doomed:
        target = workspace / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    headwater(workspace, "build")
    assert set(freshness(workspace).values()) == {"fresh"}
    assert digests(workspace) == before


@pytest.mark.slow
def test_incremental_equals_rebuild(workspace: Path) -> None:
    rng = random.Random(7)
    products = workspace / "shop" / "data" / "product.csv"
    titles = ("Field notes", "Marmots at Alpenrose", "Nobody wrote this yet", "heron arrivals")
    for _ in range(3):
        lines = products.read_text(encoding="utf-8").splitlines(keepends=True)
        row = rng.randrange(1, len(lines))
        head, comma, stock = lines[row].rstrip("\n").rpartition(",")
        if stock.isdigit():
            lines[row] = f"{head}{comma}{int(stock) + rng.randrange(1, 9)}\n"
        products.write_text("".join(lines), encoding="utf-8")
        note = rng.choice(sorted((workspace / "rangers/.qipu/notes").glob("*.md")))
        note.write_text(note.read_text("utf-8") + f"\nSeen again, see [[{rng.choice(titles)}]] #again\n", "utf-8")
        headwater(workspace, "build", "--yes")
    incremental = digests(workspace)
    states = {made["artifact"]: made["output_digest"] for made in headwater(workspace, "build")}
    delete_derived(workspace)
    rebuilt = {made["artifact"]: made["output_digest"] for made in headwater(workspace, "build")}
    assert digests(workspace) == incremental
    # The catalog holds provenance, which counts builds, so only the stores' own artifacts must agree.
    for artifact in states:
        if not artifact.startswith("workspace/"):
            assert rebuilt[artifact] == states[artifact], artifact


@pytest.mark.slow
def test_an_edited_database_is_never_replaced_by_a_script(workspace: Path) -> None:
    database = workspace / "shop" / "playground.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE product SET name = 'edited in the database' WHERE name = 'Desk lamp'")
    products = workspace / "shop" / "data" / "product.csv"
    products.write_text(products.read_text(encoding="utf-8").replace("Scissors", "Shears"), encoding="utf-8")
    edited = file_oid(database)
    answer = headwater(workspace, "build", "tables/shop/playground_db", code=1)
    (refused,) = [made for made in answer if made["artifact"] == "tables/shop/playground_db"]
    assert refused["outcome"] == "refused"
    assert "--confirm" in refused["error"]["fix"]
    assert file_oid(database) == edited
    headwater(workspace, "build", "tables/shop/playground_db", "--yes")
    assert file_oid(database) != edited
    assert any(file_oid(path) == edited for path in (workspace / "headwater-rescue").iterdir())

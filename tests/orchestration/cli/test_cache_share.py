"""A fresh clone with an empty home restores what others have built, from every sort of remote, without running a recipe."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dvs_server import running_server
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git

Run = Callable[..., Ran]
EXAMPLES = Path(__file__).parents[3] / "examples"
DERIVED = (".headwater", "playground.db*", "playground.duckdb*", "scratch", "qipu.db*", ".cache", "headwater-rescue")


@pytest.fixture(params=["path", "s3", "server"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty remote of each sort, which the environment names."""
    if request.param == "path":
        (tmp_path / "remote").mkdir()
        url = str(tmp_path / "remote")
    elif request.param == "s3":
        url = f"{request.getfixturevalue('s3_url')}/builds"
    else:
        with running_server(tmp_path / "server") as server:
            monkeypatch.setenv("HEADWATER_TOKEN", server.token)
            monkeypatch.setenv("HEADWATER_REMOTE_CACHE", server.url)
            yield server.url
        return
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", url)
    yield url


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples as a checkout."""
    root = tmp_path / "examples"
    shutil.copytree(EXAMPLES, root, ignore=shutil.ignore_patterns(*DERIVED))
    git(root, "init", "--initial-branch=main")
    git(root, "add", "-A")
    git(root, "commit", "-m", "examples")
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-one"))
    monkeypatch.chdir(root)
    return root


def outcomes(ran: Ran) -> dict[str, str]:
    return {record["artifact"]: record["outcome"] for record in ran.records if "artifact" in record}


def test_a_fresh_clone_restores_every_demo_artifact_and_one_change_rebuilds_what_depends_on_it(
    examples: Path, remote: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "write")
    built = outcomes(run("build", "--yes", "--json"))
    assert len(built) >= 10
    assert set(built.values()) == {"built"}
    monkeypatch.delenv("HEADWATER_CACHE_MODE")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", examples, clone], check=True)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-two"))
    monkeypatch.chdir(clone)
    forbid_recipes(monkeypatch)
    restored = run("build", "--yes", "--json")
    assert restored.code == 0
    assert outcomes(restored) == dict.fromkeys(built, "restored")
    origins = {record["origin"] for record in restored.records if "artifact" in record}
    assert origins == {"a folder" if remote.startswith("/") else remote}
    monkeypatch.undo()
    monkeypatch.chdir(clone)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-two"))
    product = clone / "shop/data/product.csv"
    product.write_text(product.read_text().replace(",18.50,", ",19.00,"))
    again = outcomes(run("build", "--yes", "--json"))
    changed = {name for name, outcome in again.items() if outcome == "built"}
    assert changed
    assert all(name.startswith(("tables/shop/", "workspace/")) for name in changed)
    assert {again[name] for name in again.keys() - changed} == {"fresh"}


def forbid_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to run a recipe's body a failure."""
    from assets.engine.make import Maker

    def run_body(*_arguments: object) -> object:
        raise AssertionError("a recipe ran")

    monkeypatch.setattr(Maker, "_body", run_body)


PROJECT = """\
version: 1
tables:
  person:
    columns:
      id: {type: integer}
      name: {type: text}
    primary_key: [id]
"""


@pytest.fixture
def versioned(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tables project whose rows are versioned data beside git."""
    root = tmp_path / "versioned"
    (root / "project/data").mkdir(parents=True)
    (root / "headwater.toml").write_text("version = 1\n")
    (root / "project/project.yaml").write_text(PROJECT)
    (root / "project/data/person.csv").write_text("id,name\n1,Ann\n")
    git(root, "init", "--initial-branch=main")
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-one"))
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../storage").code == 0
    assert run("dvs", "add", "project/data/person.csv").code == 0
    git(root, "add", "-A")
    git(root, "commit", "-m", "versioned")
    return root


def test_a_clone_without_the_large_inputs_restores_what_was_built_from_them(
    versioned: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote").mkdir()
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", str(tmp_path / "remote"))
    monkeypatch.setenv("HEADWATER_CACHE_MODE", "write")
    assert set(outcomes(run("build", "tables/*", "--yes", "--json")).values()) == {"built"}
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", versioned, clone], check=True)
    assert not (clone / "project/data/person.csv").exists()
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-two"))
    monkeypatch.chdir(clone)
    assert set(outcomes(run("build", "tables/*", "--yes", "--json")).values()) == {"restored"}
    assert (clone / "project/playground.db").read_bytes() == (versioned / "project/playground.db").read_bytes()
    assert run("status", "tables/*", "--exit-code").code == 0
    # What cannot be built again here is neither called another one nor dropped.
    kept = run("cache", "stats", "--json").records
    assert run("cache", "verify", "tables/*", "--rebuild", "9").code == 0
    assert run("cache", "stats", "--json").records == kept
    # The file itself makes no difference once it is there.
    assert run("dvs", "get").code == 0
    assert run("status", "tables/*", "--exit-code").code == 0


def test_without_the_inputs_and_without_a_cached_build_the_way_to_them_is_named(
    versioned: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", versioned, clone], check=True)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "home-two"))
    monkeypatch.chdir(clone)
    ran = run("build", "tables/project/playground_db", "--json")
    assert ran.code == 1
    (record,) = [record for record in ran.records if record.get("artifact") == "tables/project/playground_db"]
    assert record["error"]["rule"] == "input-absent"
    assert record["error"]["path"] == "project/data/person.csv"
    assert "headwater dvs get" in record["error"]["fix"]
    assert run("dvs", "get").code == 0
    assert run("build", "tables/project/playground_db").code == 0


def test_proving_and_logging_in_as_they_are_typed(
    examples: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("build", "tables/shop/*", "--yes")
    ran = run("cache", "verify", "tables/shop/*", "--rebuild", "2", "--json")
    assert ran.code == 0
    assert [record["ok"] for record in ran.records if "artifact" in record] == [True, True]
    monkeypatch.setenv("HEADWATER_TOKENS", str(tmp_path / "tokens.json"))

    def typed(text: str, *words: str) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return run(*words)

    kept = typed("secret-token\n", "cache", "login", "https://objects.example.org/team", "--json")
    assert kept.records == [{"server": "https://objects.example.org", "file": str(tmp_path / "tokens.json")}]
    assert "secret" not in kept.out + kept.err
    assert "secret-token" in (tmp_path / "tokens.json").read_text()
    assert typed("\n", "cache", "login", "https://objects.example.org").code == 2
    assert typed("x\n", "cache", "login", "ftp://objects.example.org").code == 2
    assert run("cache", "login", "https://objects.example.org", "--forget").code == 0
    assert "secret" not in (tmp_path / "tokens.json").read_text()

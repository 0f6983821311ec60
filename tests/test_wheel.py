"""The built wheel, not the tree: what `pipx install .` and `uv tool install .` give a user."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "resources", "assets", "orchestration")

PROJECT = """\
version: 1
project:
  name: wheel
tables:
  thing:
    columns:
      id: {type: integer}
      name: {type: text}
    primary_key: [id]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == set(PACKAGES)
    expected = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert expected <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    examples = {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").rglob("data/*.csv")}
    assert examples
    assert examples <= {name.partition(".data/data/share/headwater/")[2] for name in names}


@pytest.mark.slow
def test_an_installed_wheel_builds_a_project(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    packages = next((home / "lib").glob("python*/site-packages"))
    # The dependencies come from this environment; its own .pth files (the editable checkout) are not followed from here.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    zipfile.ZipFile(wheel).extractall(packages)
    python = home / "bin" / "python"
    work = tmp_path / "work"
    (work / "project" / "data").mkdir(parents=True)
    (work / "headwater.toml").write_text("version = 1\n")
    (work / "project" / "project.yaml").write_text(PROJECT)
    (work / "project" / "data" / "thing.csv").write_text("id,name\n1,one\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HEADWATER", "DAGSTER"))}

    def headwater(*arguments: str) -> str:
        run = "import sys; from orchestration.cli.main import main; sys.exit(main())"
        done = subprocess.run(
            [str(python), "-c", run, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [str(python), "-c", "import schemas; print(schemas.__file__)"],
        cwd=work, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(packages))
    assert "0." in headwater("--version")
    headwater("build", "--json")
    assert (work / "project" / "playground.db").read_bytes().startswith(b"SQLite format 3\0")
    # The last words come at the end of the whole walk, through the examples that the wheel brought.
    assert "ui" in headwater("demo").splitlines()[-1]

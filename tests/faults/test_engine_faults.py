"""A build killed before every system call of its publishing: text untouched, each file old or new, the next command whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assets.engine.model import Freshness, Policy, Result
from tests.assets.engine.workspaces import engine_on, write
from tests.faults.harness import CALLS, FAILING, fail, kill, needs_strace, points

pytestmark = [pytest.mark.slow, needs_strace]

BUILD = """
from pathlib import Path
from assets.engine.model import Policy
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on

def begin(view):
    os.access(BEGIN, 0)

kinds.HOOKS[sys.argv[1]] = begin
outcomes = engine_on(Path.cwd(), kinds.KINDS).build(["letters/a/" + sys.argv[1]], Policy(yes=True, use_cache=False))
sys.exit(any(outcome.error for outcome in outcomes))
"""
TEXT = {
    "headwater.toml": "version = 1\n",
    "a/letters.txt": "letters\n",
    "a/words/one.txt": "one",
    "a/words/two.txt": "two",
}
ARTIFACTS = {
    "upper": ["a/upper.txt"],
    "pair": [".headwater/artifacts/letters/a/pair/first.txt", ".headwater/artifacts/letters/a/pair/rest.txt"],
    "database": ["a/words.db"],
}


def _workspace(folder: Path, *, built: bool) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    write(folder, TEXT)
    if built:
        engine = engine_on(folder)
        assert all(outcome.error is None for outcome in engine.build())
        engine.close()
        write(folder, {"a/words/two.txt": "changed"})
    return folder


def _bytes(root: Path, artifact: str) -> list[bytes | None]:
    return [(root / path).read_bytes() if (root / path).exists() else None for path in ARTIFACTS[artifact]]


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))


@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize("how", ["killed", "failing"])
@pytest.mark.parametrize("built", [False, True], ids=["first build", "rebuild"])
@pytest.mark.parametrize("artifact", list(ARTIFACTS))
def test_a_build_interrupted_anywhere(tmp_path: Path, artifact: str, built: bool, how: str) -> None:
    clean = _workspace(tmp_path / "clean", built=built)
    old = _bytes(clean, artifact)
    engine = engine_on(clean)
    engine.build([f"+letters/a/{artifact}"], Policy(yes=True))
    engine.close()
    new = _bytes(clean, artifact)
    assert None not in new

    wanted = CALLS if how == "killed" else tuple(FAILING)
    found = [p for p in points(BUILD, _workspace(tmp_path / "trace", built=built), [artifact]) if p.kind in wanted]
    assert len(found) > 5
    prepared = _workspace(tmp_path / "prepared", built=built)
    for point in found:
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(prepared, run, symlinks=True)
        (kill if how == "killed" else fail)(BUILD, run, [artifact], point)
        for path, text in TEXT.items():
            assert (run / path).read_text() == ("changed" if built and path.endswith("two.txt") else text), f"{point}: {path}"
        for index, data in enumerate(_bytes(run, artifact)):
            assert data in (old[index], new[index]), f"{point}: {ARTIFACTS[artifact][index]} is neither old nor new"

        engine = engine_on(run)
        outcomes = engine.build([f"+letters/a/{artifact}"], Policy(yes=True))
        assert all(outcome.error is None for outcome in outcomes), f"{point}: {[str(o.error) for o in outcomes]}"
        assert _bytes(run, artifact) == new, f"{point}: the next build differs from a clean one"
        assert {state.freshness for state in engine.status([f"+letters/a/{artifact}"])} == {Freshness.FRESH}
        assert {o.result for o in engine.build([f"letters/a/{artifact}"])} == {Result.FRESH}
        engine.cache.gc()
        engine.close()
        left = list(run.rglob("*.hwtmp"))
        assert left == [], f"{point}: {left}"

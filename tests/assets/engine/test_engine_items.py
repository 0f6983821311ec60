"""Sets of items and folds: only what is stale is built, and after any edits the outcome equals a build from nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.engine.engine import Engine
from assets.engine.folded import Delta, delta_between
from assets.engine.items import ItemRecords, manifest_bytes, manifest_root
from assets.engine.model import Freshness, Outcome, Policy, Ref, Result
from assets.engine.view import InputFile
from tests.assets.engine import item_kinds
from tests.assets.engine.item_kinds import FAIL, HOOKS, RUNS
from tests.assets.engine.workspaces import engine_on, write

PAGES = Ref("shelf", "root", "pages")
ARTIFACTS = ".headwater/artifacts/shelf/root"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    RUNS.clear()
    FAIL.clear()
    HOOKS.clear()
    yield
    FAIL.clear()
    HOOKS.clear()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    root = tmp_path / "shelf"
    write(
        root,
        {"headwater.toml": "version = 1\n", "shelf.txt": "", "words/a.txt": "anna", "words/b.txt": "bob", "words/c/d.txt": "dd"},
    )
    return root


def engine(root: Path) -> Engine:
    return engine_on(root, item_kinds.KINDS)


def build(root: Path, *select: str) -> dict[str, Outcome]:
    RUNS.clear()
    outcomes = {outcome.ref.name: outcome for outcome in engine(root).build(select)}
    for outcome in outcomes.values():
        if outcome.result is Result.FAILED and outcome.error is not None:
            raise outcome.error
    return outcomes


def ran() -> list[str]:
    return sorted(RUNS)


def derived(root: Path) -> dict[str, bytes]:
    folder = root / ARTIFACTS
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_stale_items_are_built_and_orphans_go(shelf: Path) -> None:
    outcomes = build(shelf)
    assert outcomes["pages"].summary["counts"] == {"items": 3, "built": 3, "removed": 0}
    assert (shelf / ARTIFACTS / "pages/c/d").read_bytes() == b"<p>dd</p>"
    write(shelf, {"words/b.txt": "bobby", "words/e.txt": "eve"})
    (shelf / "words/c/d.txt").unlink()
    outcomes = build(shelf)
    assert ran() == ["card b", "card e", "index folded", "page b", "page e", "sizes folded"]
    assert outcomes["pages"].summary["counts"] == {"items": 3, "built": 2, "removed": 2}
    assert sorted(derived(shelf)) == [
        "cards/manifest.json", "index.json", "pages/a", "pages/b", "pages/e", "pages/manifest.json", "sizes.json",
    ]  # fmt: skip
    assert json.loads(derived(shelf)["index.json"]) == {"a": "anna", "b": "ybbob", "e": "eve"}


def test_nothing_changed_runs_nothing(shelf: Path) -> None:
    build(shelf)
    assert {outcome.result for outcome in build(shelf).values()} == {Result.FRESH}
    assert ran() == []


def test_the_output_digest_is_the_root_of_the_sorted_manifest(shelf: Path) -> None:
    digest = build(shelf)["pages"].output_digest
    manifest = json.loads(derived(shelf)["pages/manifest.json"])
    assert manifest["format"] == 1
    entries = [(key, oid, size) for key, oid, size in manifest["items"]]
    assert [key for key, _, _ in entries] == ["a", "b", "c/d"]
    assert manifest_root(entries) == digest
    assert manifest_root(list(reversed(entries))) == digest
    assert manifest_bytes(entries) == derived(shelf)["pages/manifest.json"]


def test_a_renamed_file_is_not_built_again(shelf: Path) -> None:
    build(shelf)
    (shelf / "words/a.txt").rename(shelf / "words/z.txt")
    build(shelf)
    assert ran() == ["index folded", "sizes folded"]
    assert (shelf / ARTIFACTS / "pages/z").read_bytes() == b"<p>anna</p>"
    assert not (shelf / ARTIFACTS / "pages/a").exists()


def test_two_files_of_equal_content_are_built_once(shelf: Path) -> None:
    write(shelf, {"words/copy.txt": "anna"})
    build(shelf, "*/pages")
    assert len(RUNS) == 3
    assert (shelf / ARTIFACTS / "pages/copy").read_bytes() == b"<p>anna</p>"


def test_finished_items_are_kept_when_another_fails(shelf: Path) -> None:
    FAIL.add("b")
    outcomes = {outcome.ref.name: outcome for outcome in engine(shelf).build()}
    assert outcomes["cards"].result is Result.FAILED
    assert outcomes["pages"].reasons == ("RuntimeError: b cannot be made",)
    assert outcomes["index"].result is Result.BLOCKED
    assert not (shelf / ARTIFACTS / "pages").exists()
    finished = {run for run in RUNS if run != "card b" and run != "page b"} - {"sizes whole"}
    FAIL.clear()
    build(shelf)
    assert {"card b", "page b"} <= set(RUNS)
    assert not finished & set(RUNS)


def test_finished_items_are_kept_when_the_build_is_interrupted(shelf: Path) -> None:
    write(shelf, {f"words/{number:03}.txt": f"text {number}" for number in range(100)})

    def interrupt() -> None:
        raise KeyboardInterrupt

    HOOKS["page 090"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        engine(shelf).build(["*/pages"])
    done = len(RUNS) - 1
    HOOKS.clear()
    build(shelf, "*/pages")
    assert len(RUNS) == 103 - done


@pytest.mark.parametrize("damage", ["delete", "edit", "extra", "manifest", "records", "all"])
def test_any_damage_to_a_set_is_noticed(shelf: Path, damage: str) -> None:
    build(shelf)
    good = derived(shelf)
    folder = shelf / ARTIFACTS / "pages"
    if damage == "delete":
        (folder / "a").unlink()
    elif damage == "edit":
        (folder / "a").write_text("scribble")
    elif damage == "extra":
        (folder / "mine").write_text("scribble")
    elif damage == "manifest":
        (folder / "manifest.json").unlink()
    elif damage == "records":
        shutil.rmtree(shelf / ".headwater/local/items")
    else:
        shutil.rmtree(folder)
    state = {one.ref.name: one.freshness for one in engine(shelf).status()}
    expected = {"all": Freshness.MISSING, "records": Freshness.FRESH}.get(damage, Freshness.STALE)
    assert state["pages"] is expected
    assert state["cards"] is (Freshness.MISSING if damage == "records" else Freshness.FRESH)
    outcome = {one.ref.name: one for one in engine(shelf).build(policy=Policy(yes=True))}["pages"]
    assert outcome.result in (Result.FRESH, Result.BUILT)
    assert derived(shelf) == good
    assert len(outcome.rescued) == (1 if damage in ("edit", "extra") else 0)
    assert {one.freshness for one in engine(shelf).status()} == {Freshness.FRESH}


def test_an_edited_item_is_refused_headless(shelf: Path) -> None:
    build(shelf)
    (shelf / ARTIFACTS / "pages/a").write_text("scribble")
    outcome = engine(shelf).build_one(PAGES)
    assert outcome.result is Result.REFUSED
    assert (shelf / ARTIFACTS / "pages/a").read_text() == "scribble"


def test_an_edit_during_the_build_never_keeps_an_item_under_the_wrong_text(shelf: Path) -> None:
    HOOKS["page a"] = lambda: (HOOKS.clear(), write(shelf, {"words/a.txt": "annabel"}))
    outcome = engine(shelf).build_one(PAGES)
    assert outcome.result is Result.BUILT
    assert (shelf / ARTIFACTS / "pages/a").read_bytes() == b"<p>annabel</p>"
    write(shelf, {"words/a.txt": "anna"})
    build(shelf, "*/pages")
    assert (shelf / ARTIFACTS / "pages/a").read_bytes() == b"<p>anna</p>"


def test_verify_builds_every_item_again_and_folds_nothing(shelf: Path) -> None:
    build(shelf)
    write(shelf, {"words/b.txt": "bobby"})
    build(shelf)
    RUNS.clear()
    assert [one.ok for one in engine(shelf).verify()] == [True] * 4
    assert {"card a", "page a", "index whole", "sizes whole"} <= set(RUNS)
    assert not any("folded" in run for run in RUNS)
    assert {one.freshness for one in engine(shelf).status()} == {Freshness.FRESH}


def test_verify_finds_a_rotten_item(shelf: Path) -> None:
    build(shelf)
    (shelf / ARTIFACTS / "pages/a").write_text("rotten")
    verification = engine(shelf).verify(["*/pages"])[0]
    assert verification.differences == (f"{ARTIFACTS}/pages/a does not hold what was built",)


def test_force_builds_every_item_again(shelf: Path) -> None:
    build(shelf)
    RUNS.clear()
    engine(shelf).build(policy=Policy(force=True))
    assert {"card a", "card b", "page c/d", "index whole", "sizes whole"} <= set(RUNS)
    assert {one.freshness for one in engine(shelf).status()} == {Freshness.FRESH}


def test_clean_removes_the_set_and_a_build_brings_it_back(shelf: Path) -> None:
    build(shelf)
    good = derived(shelf)
    assert all(one.reason is None for one in engine(shelf).clean())
    assert derived(shelf) == {}
    build(shelf)
    assert derived(shelf) == good


def forget_records(shelf: Path) -> None:
    shutil.rmtree(shelf / ".headwater/provenance")
    shutil.rmtree(shelf / ".headwater/local")


@pytest.mark.parametrize(("sample", "expected"), [(None, 3), (1, 1)])
def test_existing_items_are_adopted_after_a_sample(shelf: Path, sample: int | None, expected: int) -> None:
    build(shelf, "*/pages")
    before = {path: path.stat().st_mtime_ns for path in (shelf / ARTIFACTS / "pages").iterdir()}
    forget_records(shelf)
    RUNS.clear()
    assert engine(shelf).adopt(["*/pages"], sample)[0].result is Result.ADOPTED
    assert len(RUNS) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {outcome.result for outcome in build(shelf, "*/pages").values()} == {Result.FRESH}


@pytest.mark.parametrize("how", ["other", "missing"])
def test_a_set_that_is_not_what_would_be_built_is_not_adopted(shelf: Path, how: str) -> None:
    build(shelf, "*/pages")
    forget_records(shelf)
    if how == "other":
        (shelf / ARTIFACTS / "pages/b").write_text("other")
    else:
        (shelf / ARTIFACTS / "pages/b").unlink()
    outcome = engine(shelf).adopt(["*/pages"])[0]
    assert outcome.result is Result.REFUSED
    assert engine(shelf).provenance(PAGES) is None


def test_keys_that_would_be_one_file_are_refused(shelf: Path) -> None:
    write(shelf, {"words/A.txt": "upper"})
    outcome = engine(shelf).build_one(PAGES)
    assert getattr(outcome.error, "rule", None) == "item-key-clash"
    write(shelf, {"words/manifest.json.txt": "x"})
    (shelf / "words/A.txt").unlink()
    assert getattr(engine(shelf).build_one(PAGES).error, "rule", None) == "item-key-clash"


def test_damaged_item_records_are_built_again(shelf: Path) -> None:
    build(shelf)
    for path in (shelf / ".headwater/local/items").glob("*.sqlite"):
        path.write_bytes(b"not a database at all" * 100)
    write(shelf, {"words/b.txt": "bobby"})
    build(shelf)
    assert json.loads(derived(shelf)["index.json"])["b"] == "ybbob"
    with ItemRecords(next((shelf / ".headwater/local/items").glob("*cards.sqlite"))) as records:
        assert len(records.known()) == 3


def test_a_fold_needs_its_previous_output_whole(shelf: Path) -> None:
    build(shelf)
    (shelf / ARTIFACTS / "sizes.json").unlink()
    write(shelf, {"words/b.txt": "bobby"})
    build(shelf, "*/sizes")
    assert ran() == ["sizes whole"]
    for path in (shelf / ".headwater/manifests").rglob("*.json"):
        path.unlink()
    write(shelf, {"words/b.txt": "bob"})
    engine(shelf).cache.gc(max_size=0, grace=0)
    build(shelf, "*/sizes")
    assert ran() == ["sizes whole"]


def test_the_delta_between_two_manifests() -> None:
    before = [("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]
    delta = delta_between(before, (("b", "2", 2), ("c", "9", 4), ("d", "5", 5)))
    assert delta == Delta((InputFile("d", "5", 5),), (InputFile("a", "1", 1),), (("3", InputFile("c", "9", 4)),))
    assert not delta_between(before, tuple(before))


NAMES = st.sampled_from(["a", "b", "c/d", "e f", "ü"])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.text("xyz", max_size=3)),
        st.tuples(st.just("delete"), NAMES, st.just("")),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("build"), st.sampled_from(["*/pages", "*/cards", "*/index", "*/sizes", "shelf"]), st.just("")),
        st.tuples(st.just("lose"), st.sampled_from(["pages", "index.json", "cards"]), st.just("")),
    ),
    max_size=10,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_after_any_edits_the_outcome_equals_a_clean_build(edits: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, clean = Path(name) / "incremental", Path(name) / "clean"
        text = {"words/a.txt": "anna", "words/b.txt": "bob"}
        write(root, {"headwater.toml": "version = 1\n", "shelf.txt": "", **text})
        build(root)
        for what, one, two in edits:
            path = root / f"words/{one}.txt"
            if what == "write":
                write(root, {f"words/{one}.txt": two})
            elif what == "delete":
                path.unlink(missing_ok=True)
            elif what == "rename" and path.exists():
                target = root / f"words/{two}.txt"
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            elif what == "build":
                build(root, one)
            elif what == "lose":
                lost = root / ARTIFACTS / one
                shutil.rmtree(lost) if lost.is_dir() else lost.unlink(missing_ok=True)
        build(root)
        shutil.copytree(root, clean, ignore=shutil.ignore_patterns(".headwater"))
        build(clean)
        assert derived(root) == derived(clean)
        one, two = engine(root), engine(clean)
        assert [state.output_digest for state in one.status()] == [state.output_digest for state in two.status()]
        one.close()
        two.close()

"""Stores that a folder makes: found, entered, checked through their index, laid out in more than one way, named ad hoc."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from assets import registry
from assets.engine.adhoc import with_store
from assets.engine.cache import BuildCache, CacheEntry
from assets.engine.engine import Engine
from assets.engine.model import Freshness, Ref, Result, Store
from assets.engine.private import KEPT
from assets.engine.publish import DERIVED_KEPT
from assets.engine.recipe import Kind, Recipe
from assets.workspace.recipes import KIND as WORKSPACE
from resources.workspace import open_workspace
from tests.assets.engine import page_kinds
from tests.assets.engine.workspaces import engine_on, write

INDEX = Ref("pages", "a/.pages", "index")
STORE = Store("pages", "a/.pages", "a/.pages")


@pytest.fixture(autouse=True)
def _clean() -> None:
    page_kinds.RUNS.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    write(root, {"headwater.toml": "version = 1\n", "a/.pages/on/one.page": "one", "a/.pages/on/two.page": "two"})
    return root


def on(root: Path) -> Engine:
    return engine_on(root, page_kinds.KINDS)


def git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *settings, "-C", str(folder), *arguments], check=True, capture_output=True)


# found


def test_the_verdict_over_a_folder_is_asked_for_again(root: Path) -> None:
    assert [store.root for store in on(root).stores()] == ["a/.pages"]
    shutil.move(root / "a/.pages/on", root / "a/.pages/off")
    assert on(root).stores() == []
    shutil.move(root / "a/.pages/off", root / "a/.pages/on")
    assert [store.root for store in on(root).stores()] == ["a/.pages"]


def test_a_folder_that_makes_a_store_is_entered_though_git_ignores_it(root: Path) -> None:
    git(root, "init")
    write(root, {".gitignore": ".pages/\n", "b/kept.txt": "x"})
    engine = on(root)
    assert [store.root for store in engine.stores()] == ["a/.pages"]
    assert [path for path, _, _ in engine.sources(STORE)[0].files] == ["on/one.page", "on/two.page"]


def test_a_folder_that_is_a_worktree_of_its_own_is_entered(root: Path) -> None:
    git(root, "init")
    git(root, "commit", "--allow-empty", "-m", "start")
    shutil.rmtree(root / "a/.pages")
    git(root, "worktree", "add", "--orphan", "-b", "pages", "a/.pages") if _git_knows_orphan() else git(
        root, "worktree", "add", "--detach", "a/.pages"
    )
    write(root, {"a/.pages/on/one.page": "one"})
    assert (root / "a/.pages/.git").is_file()
    assert [store.root for store in on(root).stores()] == ["a/.pages"]


def _git_knows_orphan() -> bool:
    version = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.split()[2].split(".")
    return (int(version[0]), int(version[1])) >= (2, 42)


# scanned


def test_what_is_derived_does_not_make_the_sources_look_changed(root: Path) -> None:
    engine = on(root)
    before = engine.sources(STORE)[0].root
    assert engine.build_one(INDEX).result is Result.BUILT
    assert (root / "a/.pages/index.json").is_file()
    write(root, {"a/.pages/.kept/three.page": "derived", "a/.pages/.hidden/four.page": "hidden"})
    engine.refresh()
    assert engine.sources(STORE)[0].root == before
    assert all("index.json" not in path for path, _, _ in engine.workspace.stat_cache.tree(
        engine.workspace.root, "a/.pages", skip=lambda folder: (lambda name: name == "index.json")
    ).files())  # fmt: skip


# findings


def test_findings_come_from_the_artifact_which_is_brought_up_to_date(root: Path) -> None:
    write(root, {"a/.pages/on/two.page": "bad"})
    engine = on(root)
    findings = engine.check()[Ref("pages", "a/.pages", "")]
    assert [(found.rule, found.path) for found in findings] == [("pages-bad-page", "a/.pages/on/two.page")]
    assert engine.status(["pages/*/index"])[0].freshness is Freshness.FRESH
    page_kinds.RUNS.clear()
    assert on(root).check()[Ref("pages", "a/.pages", "")] == findings
    assert "findings" not in page_kinds.RUNS  # remembered under the content it follows from
    write(root, {"a/.pages/on/two.page": "good again"})
    assert on(root).check()[Ref("pages", "a/.pages", "")] == []
    assert page_kinds.RUNS.count("fold") == 1


def test_findings_keep_nothing_from_being_built(root: Path) -> None:
    write(root, {"a/.pages/on/two.page": "bad"})
    engine = on(root)
    engine.check()
    outcomes = engine.build()
    assert {outcome.result for outcome in outcomes} <= {Result.BUILT, Result.FRESH}
    assert all(state.freshness is Freshness.FRESH for state in engine.status())


def test_a_kind_with_findings_in_an_artifact_must_quarantine() -> None:
    with pytest.raises(ValueError, match="quarantine"):
        replace(page_kinds.PAGES, quarantines=False)


def test_findings_are_had_where_nothing_can_be_written(root: Path) -> None:
    write(root, {"a/.pages/on/two.page": "bad"})
    close(root)
    engine = on(root)
    assert [found.path for found in engine.check()[Ref("pages", "a/.pages", "")]] == ["a/.pages/on/two.page"]
    assert not (root / "a/.pages/index.json").exists()


def test_the_catalog_brings_up_to_date_what_holds_findings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KINDS, "pages", page_kinds.PAGES)
    write(root, {"a/.pages/on/two.page": "bad"})
    engine = engine_on(root, {**page_kinds.KINDS, "workspace": WORKSPACE})
    outcome = engine.build_one(Ref("workspace", "all", "catalog"))
    assert outcome.result is Result.BUILT, outcome.reasons
    # Nothing that it described has changed by being described.
    states = {state.ref.name: state.freshness for state in engine_on(root, engine.kinds).status()}
    assert states["index"] is states["catalog"] is Freshness.FRESH


# read without being written


def close(root: Path) -> None:
    """Let nothing be kept in the workspace: a file lies where machine state would be, which stops root too."""
    (root / ".headwater").mkdir()
    (root / ".headwater/local").write_text("in the way", "utf-8")


def test_an_artifact_that_cannot_be_written_is_read_from_a_private_copy(root: Path) -> None:
    close(root)
    engine = on(root)
    found = engine.readable(INDEX)
    assert found.private
    assert found.outcome.result is Result.FAILED
    assert page_kinds.content(found.paths[0]) == page_kinds.content(engine.readable(INDEX).paths[0])
    assert page_kinds.RUNS.count("build") == 1  # kept under its fingerprint
    assert str(root) not in str(found.paths[0])


def test_what_stands_in_the_way_of_an_index_is_read_around(root: Path) -> None:
    (root / "a/.pages/index.json").mkdir()
    found = on(root).readable(INDEX)
    assert found.private
    assert found.outcome.result is Result.REFUSED
    assert (root / "a/.pages/index.json").is_dir()


def test_private_copies_do_not_grow_without_bound(root: Path, tmp_path: Path) -> None:
    (root / "a/.pages/index.json").mkdir()
    for number in range(KEPT + 3):
        write(root, {"a/.pages/on/one.page": f"text {number}"})
        on(root).readable(INDEX)
    assert len(list((tmp_path / "user-cache/private").iterdir())) == KEPT


def test_what_cannot_be_built_at_all_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(page_kinds, "build", broken)
    with pytest.raises(RuntimeError, match="no such thing"):
        on(root).readable(INDEX)


# whose file: derived by its format


def test_a_derived_file_of_someone_else_is_rescued_and_replaced_without_a_question(root: Path) -> None:
    write(root, {"a/.pages/index.json": "made by another program"})
    outcome = on(root).build_one(INDEX)
    assert outcome.result is Result.BUILT
    rescued = [root / path for path in outcome.rescued]
    assert [path.read_text("utf-8") for path in rescued] == ["made by another program"]
    assert rescued[0].parent == root / "headwater-rescue/derived"
    assert (root / "headwater-rescue/.gitignore").read_bytes() == b"*\n"
    assert page_kinds.content(root / "a/.pages/index.json")


def test_a_derived_file_that_was_edited_is_rescued_and_replaced_without_a_question(root: Path) -> None:
    on(root).build_one(INDEX)
    write(root, {"a/.pages/index.json": "edited"})
    outcome = on(root).build_one(INDEX)
    assert [(root / path).read_text("utf-8") for path in outcome.rescued] == ["edited"]
    assert page_kinds.content(root / "a/.pages/index.json")
    assert on(root).questions() == []


def test_a_derived_file_with_equal_content_is_adopted(root: Path) -> None:
    other = '{"note": "by another program", "pages": {"on/one.page": "one", "on/two.page": "two"}}'
    write(root, {"a/.pages/index.json": other})
    assert on(root).build_one(INDEX).result is Result.ADOPTED
    assert (root / "a/.pages/index.json").read_text("utf-8") == other
    assert not (root / "headwater-rescue").exists()


def test_rescued_derived_files_do_not_grow_without_bound(root: Path) -> None:
    write(root, {"headwater-rescue/0123456789abcdef-index.json": "rescued for somebody who was asked"})
    for number in range(DERIVED_KEPT + 2):
        write(root, {"a/.pages/index.json": f"foreign {number}"})
        on(root).build_one(INDEX)
        write(root, {"a/.pages/index.json": "foreign again and again"})
        on(root).build_one(INDEX)
    kept = sorted(path.read_text("utf-8") for path in (root / "headwater-rescue/derived").iterdir())
    assert len(kept) == DERIVED_KEPT
    assert "foreign again and again" in kept
    assert (root / "headwater-rescue/0123456789abcdef-index.json").is_file()


# laid out in two ways


def test_outputs_move_when_the_store_is_laid_out_anew(root: Path) -> None:
    on(root).build()
    assert (root / "a/.pages/index.json").is_file()
    settings = '[stores."a/.pages"]\nkind = "pages"\npath = "a/.pages"\n[stores."a/.pages".settings]\napart = true\n'
    write(root, {"headwater.toml": f"version = 1\n{settings}"})
    outcome = on(root).build_one(INDEX)
    assert outcome.result is Result.RESTORED  # the fingerprint is the same: the place is no part of it
    assert not (root / "a/.pages/index.json").exists()
    assert (root / ".headwater/artifacts/pages").is_dir()
    assert outcome.outputs[0].startswith(".headwater/artifacts/pages/")
    assert all(state.freshness is Freshness.FRESH for state in on(root).status())


def test_what_was_edited_stays_where_it_was_when_the_outputs_move(root: Path) -> None:
    on(root).build_one(INDEX)
    write(root, {"a/.pages/index.json": "edited"})
    settings = '[stores."a/.pages"]\nkind = "pages"\npath = "a/.pages"\n[stores."a/.pages".settings]\napart = true\n'
    write(root, {"headwater.toml": f"version = 1\n{settings}"})
    on(root).build_one(INDEX)
    assert (root / "a/.pages/index.json").read_text("utf-8") == "edited"


# named ad hoc


def test_a_folder_can_be_named_as_a_store(root: Path) -> None:
    write(root, {"loose/x.page": "x", "loose/.git_free": ""})
    workspace, name = with_store(open_workspace(root), "pages", "loose")
    engine = Engine(workspace, page_kinds.KINDS)
    assert {store.name for store in engine.stores()} == {"a/.pages", "loose"}
    assert engine.build_one(Ref("pages", name, "index")).result is Result.BUILT
    assert sorted(os.listdir(root / "loose")) == [".git_free", "x.page"]
    # Nobody misses it when it is not named.
    later = on(root)
    assert [store.name for store in later.stores()] == ["a/.pages"]
    assert later.check() == {Ref("pages", "a/.pages", ""): []}


def test_a_named_store_takes_no_name_of_another(root: Path) -> None:
    write(root, {"headwater.toml": 'version = 1\n[stores.loose]\nkind = "pages"\npath = "a/.pages"\n', "loose/x.page": "x"})
    workspace, name = with_store(open_workspace(root), "pages", "loose")
    assert name == "loose-2"
    assert {store.name: store.root for store in Engine(workspace, page_kinds.KINDS).stores()} == {
        "loose": "a/.pages",
        "loose-2": "loose",
    }


# folds


def test_a_fold_is_given_what_changed_and_equals_a_build_from_nothing(root: Path) -> None:
    on(root).build()
    page_kinds.RUNS.clear()
    write(root, {"a/.pages/on/three.page": "three", "a/.pages/on/two.page": "2"})
    (root / "a/.pages/on/one.page").unlink()
    on(root).build()
    assert [name for name in page_kinds.RUNS if name in ("build", "fold")] == ["fold"]
    assert all(one.ok for one in on(root).verify())


def _kind(**changes: object) -> dict[str, Kind]:
    return {"pages": replace(page_kinds.PAGES, **changes)}  # type: ignore[arg-type]


def test_a_later_version_of_a_recipe_is_built_from_nothing(root: Path) -> None:
    on(root).build()
    page_kinds.RUNS.clear()
    recipes = tuple(replace(recipe, version=2) for recipe in page_kinds.PAGES.recipes)
    engine_on(root, _kind(recipes=recipes)).build()
    assert [name for name in page_kinds.RUNS if name in ("build", "fold")] == ["build"]


def test_a_large_folded_output_is_not_copied_into_the_build_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(root).build_one(INDEX)
    monkeypatch.setattr("assets.engine.make.FOLD_KEPT", 10)
    write(root, {"a/.pages/on/two.page": "2"})
    engine = on(root)
    entries = engine.cache.stats().entries
    assert engine.build_one(INDEX).result is Result.BUILT
    record = engine.provenance(INDEX)
    assert record is not None
    assert record.how == "folded"
    assert engine.cache.stats().entries == entries
    monkeypatch.undo()
    write(root, {"a/.pages/on/two.page": "3"})
    on(root).build_one(INDEX)
    assert engine.cache.stats().entries == entries + 1


def test_what_can_be_folded_is_not_asked_of_another_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    find = BuildCache.find

    def spied(self: BuildCache, fingerprint: str, recipe: Recipe, *, remote: bool = True) -> CacheEntry | None:
        asked.append(remote)
        return find(self, fingerprint, recipe, remote=remote)

    monkeypatch.setattr(BuildCache, "find", spied)
    on(root).build_one(INDEX)
    write(root, {"a/.pages/on/two.page": "2"})
    on(root).build_one(INDEX)
    (root / "a/.pages/index.json").unlink()
    write(root, {"a/.pages/on/two.page": "3"})
    on(root).build_one(INDEX)
    assert asked == [True, False, True]


def test_lists_of_what_was_read_do_not_pile_up_with_every_edit(root: Path) -> None:
    engine = on(root)
    engine.build()
    lists = sorted(path.name for path in (root / ".headwater/manifests").rglob("*.json"))
    for number in range(4):
        write(root, {"a/.pages/on/two.page": f"edit {number}"})
        on(root).build()
    assert len(list((root / ".headwater/manifests").rglob("*.json"))) == len(lists)
    assert on(root).explain(INDEX).state.freshness is Freshness.FRESH

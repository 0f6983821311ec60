"""What stands between a build and wrong bytes: everything a fingerprint covers, and each look at a file that may have changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from assets.engine.fingerprint import fingerprint, item_base
from assets.engine.model import Freshness, Policy, Ref, Result
from assets.engine.view import View
from resources.storage.local import LocalStorage
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

UPPER = Ref("letters", "a", "upper")
RECIPE = kinds.LETTERS.recipes[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "others"},
        {"recipe": dataclasses.replace(RECIPE, name="lower")},
        {"recipe": dataclasses.replace(RECIPE, version=2)},
        {"parameters": {"separator": ","}},
        {"libraries": {"blake3": "2"}},
        {"inputs": {"words": "blake3:" + "1" * 64}},
        {"inputs": {"texts": "blake3:" + "0" * 64}},
    ],
    ids=lambda changed: "-".join(changed) + f"-{len(str(changed))}",
)
def test_a_fingerprint_covers_everything_that_decides_the_bytes(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "kind": "letters",
        "recipe": RECIPE,
        "parameters": {"separator": "|"},
        "libraries": {"blake3": "1"},
        "inputs": {"words": "blake3:" + "0" * 64},
    }
    assert fingerprint(**{**given, **changed}) != fingerprint(**given)
    if "inputs" not in changed:
        without = {name: value for name, value in {**given, **changed}.items() if name != "inputs"}
        assert item_base(**without) != item_base(*(given[name] for name in without))


def test_a_new_version_of_a_recipe_is_built_and_not_taken_from_the_cache(root: Path) -> None:
    engine_on(root).build(["*/upper"])
    newer = dataclasses.replace(RECIPE, version=2)
    recipes = tuple(newer if recipe.name == "upper" else recipe for recipe in kinds.LETTERS.recipes)
    engine = engine_on(root, {"letters": dataclasses.replace(kinds.LETTERS, recipes=recipes)})
    assert engine.status(["*/upper"])[0].freshness is Freshness.STALE
    kinds.RUNS.clear()
    assert engine.build_one(UPPER).result is Result.BUILT
    assert "upper" in kinds.RUNS


def test_a_file_edited_after_it_was_handed_out_the_last_time_starts_the_build_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_out = View.local

    def local(view: View, role: str, path: str) -> Path:
        found = handed_out(view, role, path)
        if path == "words/two.txt" and kinds.RUNS.count("length") == 1:
            write(root, {"a/words/one.txt": "longer than before"})  # read already, and not asked for again
        return found

    monkeypatch.setattr(View, "local", local)
    assert engine_on(root).build_one(Ref("letters", "a", "length")).result is Result.BUILT
    assert kinds.RUNS.count("length") == 2
    assert (root / ".headwater/artifacts/letters/a/length.json").read_text() == str(len("longer than before") + 3)


def test_an_upstream_artifact_edited_while_it_is_read_is_not_built_into_anything(root: Path) -> None:
    engine_on(root).build(["*/length"])
    edited = root / ".headwater/artifacts/letters/a/length.json"

    def edit(_view: object) -> None:
        write(root, {str(edited.relative_to(root)): "1000"})

    kinds.HOOKS["double"] = edit
    ref = Ref("letters", "a", "double")
    outcome = engine_on(root).build_one(ref)
    assert outcome.result is Result.BLOCKED
    assert "length" in outcome.reasons[0]
    assert engine_on(root).provenance(ref) is None
    assert not edited.with_name("double.json").exists()


def test_a_file_that_changes_while_it_is_rescued_is_neither_lost_nor_half_saved(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, {"a/upper.txt": "mine"})
    fetch = LocalStorage.fetch

    def edit_first(storage: LocalStorage, path: str, target: Path) -> Any:
        if path == "a/upper.txt":
            write(root, {"a/upper.txt": "mine, saved again by the editor"})
        return fetch(storage, path, target)

    monkeypatch.setattr(LocalStorage, "fetch", edit_first)
    outcome = engine_on(root).build_one(UPPER, Policy(yes=True))
    assert outcome.result is Result.FAILED
    assert (root / "a/upper.txt").read_text() == "mine, saved again by the editor"
    assert [path.name for path in (root / "headwater-rescue").iterdir()] == [".gitignore"]


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_an_interrupted_publication_with_damaged_files_is_given_up(
    root: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def full(_self: LocalStorage, _scratch: Path, _path: str) -> object:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "publish", full)
        assert engine_on(root).build_one(UPPER).result is Result.FAILED
    for path in (root / ".headwater/local/scratch").rglob("upper.txt"):
        if damage == "changed":
            path.write_text("rotten")
        else:
            path.unlink()
    engine = engine_on(root)
    assert engine.recovered == ["letters/a/upper: an interrupted build was given up; build again"]
    assert not (root / "a/upper.txt").exists()
    assert engine.build_one(UPPER).result in (Result.BUILT, Result.RESTORED)
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"


def test_a_reference_means_its_own_artifact_even_with_the_signs_of_a_pattern(root: Path) -> None:
    for name in ("x*", "xy", "[a-z]", "x?"):
        write(root, {f"{name}/letters.txt": "letters\n", f"{name}/words/one.txt": name})
    engine = engine_on(root)
    for name in ("x*", "[a-z]", "x?"):
        assert [str(ref) for ref in engine.refs([f"letters/{name}/upper"])] == [f"letters/{name}/upper"]
    assert len(engine.refs(["letters/x*/upper", "letters/*/upper"])) == 5


def test_commands_in_messages_are_safe_to_paste(root: Path) -> None:
    """A folder's name is whatever somebody gave it: quoted, it cannot end the command and begin another."""
    write(root, {"a; touch pwned $(id)/letters.txt": "letters\n", "a; touch pwned $(id)/upper.txt": "mine"})
    (outcome,) = engine_on(root).build(["*pwned*/upper"])
    assert outcome.result is Result.REFUSED
    assert "headwater build 'letters/a; touch pwned $(id)/upper' --confirm " in (getattr(outcome.error, "fix", None) or "")
    assert UPPER.word == str(UPPER)


def test_a_folder_nobody_can_name_is_a_finding_and_not_the_end(root: Path) -> None:
    """A control character, a byte that is no UTF-8, a backslash: everything else is found and built."""
    names = [b"e\x1b[2Jvil", b"two\nlines", b"latin-\xe9", b"back\\slash"]
    for name in names:
        folder = bytes(root) + b"/" + name
        Path(folder.decode("utf-8", "surrogateescape")).mkdir()
        with open(folder + b"/letters.txt", "wb") as file:
            file.write(b"letters\n")
    engine = engine_on(root)
    assert [store.name for store in engine.stores() if store.kind == "letters"] == ["a"]
    found = [finding for finding in engine.observer.discovered.findings if finding.rule == "folder-unusable"]
    assert len(found) == len(names)
    assert all(finding.render().replace("\n", "").isprintable() for finding in found)
    assert engine.build_one(UPPER).result is Result.BUILT


def test_a_file_nobody_can_name_is_left_out_of_its_source(root: Path) -> None:
    before = engine_on(root)
    before.build(["*/upper"])
    for name in (b"e\x1b[2Jvil.txt", b"two\nlines.txt", b"latin-\xe9.txt"):
        with open(bytes(root) + b"/a/words/" + name, "wb") as file:
            file.write(b"word")
    engine = engine_on(root)
    assert engine.status(["*/upper"])[0].freshness is Freshness.FRESH
    (words,) = [state for state in engine.sources(engine.store(UPPER)) if state.ref.name == "words"]
    assert [path for path, _, _ in words.files] == ["words/one.txt", "words/two.txt"]

"""The way through for plain recipes: build, fresh, stale, early cutoff, retries, failures, what depends on what."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Freshness, Outcome, Policy, Ref, Result
from schemas.errors import InvalidText
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

ALL = ["upper", "pair", "length", "double", "database"]


def results(outcomes: list[Outcome]) -> dict[str, str]:
    for outcome in outcomes:
        if outcome.error is not None and outcome.result is Result.FAILED:
            raise outcome.error
    return {outcome.ref.name: str(outcome.result) for outcome in outcomes}


def freshness(engine: Engine) -> dict[str, str]:
    return {state.ref.name: str(state.freshness) for state in engine.status()}


def test_a_build_makes_everything_once_and_then_nothing(root: Path) -> None:
    first = results(engine_on(root).build())
    assert first == dict.fromkeys(ALL, "built")
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"
    assert (root / ".headwater/artifacts/letters/a/pair/rest.txt").read_text() == "|TWO"
    kinds.RUNS.clear()
    engine = engine_on(root)
    assert freshness(engine) == dict.fromkeys(ALL, "fresh")
    assert results(engine.build()) == dict.fromkeys(ALL, "fresh")
    assert kinds.RUNS == []


def test_inputs_come_before_their_readers(root: Path) -> None:
    assert [ref.name for ref in engine_on(root).refs()] == ALL


def test_only_what_depends_on_an_edit_is_stale_and_says_why(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/two.txt": "2", "a/words/new.txt": "n"})
    states = {state.ref.name: state for state in engine_on(root).status()}
    assert states["upper"].freshness is Freshness.STALE
    assert states["upper"].reasons == ("the source words changed: words/new.txt, words/two.txt",)
    assert states["upper"].changed == ("words/new.txt", "words/two.txt")
    assert states["pair"].reasons == ("its input letters/a/upper is not up to date",)


def test_a_file_no_source_names_stales_nothing(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/draft-x.txt": "d", "a/README": "r", "a/notes.md": "other"})
    assert set(freshness(engine_on(root)).values()) == {"fresh"}


def test_an_unchanged_output_leaves_what_is_downstream_fresh(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/one.txt": "eno"})
    kinds.RUNS.clear()
    made = results(engine_on(root).build())
    assert (made["length"], made["double"]) == ("built", "fresh")
    assert "double" not in kinds.RUNS


def test_a_changed_setting_stales_only_the_recipe_that_reads_it(root: Path) -> None:
    engine_on(root).build()
    write(root, {"headwater.toml": 'version = 1\n[stores.a]\nkind = "letters"\npath = "a"\nsettings = { separator = "-" }\n'})
    states = {state.ref.name: state for state in engine_on(root).status()}
    assert states["upper"].reasons == ("the setting separator is now '-', it was '|'",)
    assert states["length"].freshness is Freshness.FRESH
    engine_on(root).build()
    assert (root / "a/upper.txt").read_text() == "ONE-TWO"


def test_a_moved_copy_of_the_workspace_is_fresh(root: Path, tmp_path: Path) -> None:
    engine_on(root).build()
    shutil.copytree(root, tmp_path / "elsewhere")
    assert set(freshness(engine_on(tmp_path / "elsewhere")).values()) == {"fresh"}


def test_deleting_any_output_is_noticed_and_mended_from_the_cache(root: Path) -> None:
    engine_on(root).build()
    before = (root / "a/words.db").read_bytes()
    (root / "a/words.db").unlink()
    (root / ".headwater/artifacts/letters/a/pair/rest.txt").unlink()
    states = {state.ref.name: state for state in engine_on(root).status()}
    assert states["database"].freshness is Freshness.MISSING
    assert states["database"].cached
    assert states["pair"].reasons == ("part of its output is missing: pair/rest.txt",)
    kinds.RUNS.clear()
    made = results(engine_on(root).build())
    assert (made["database"], made["pair"]) == ("restored", "restored")
    assert kinds.RUNS == []
    assert (root / "a/words.db").read_bytes() == before


def test_losing_everything_derived_gives_the_same_bytes_again(root: Path) -> None:
    engine_on(root).build()
    before = (root / "a/words.db").read_bytes(), (root / "a/upper.txt").read_bytes()
    shutil.rmtree(root / ".headwater")
    (root / "a/words.db").unlink()
    (root / "a/upper.txt").unlink()
    engine_on(root).build()
    assert ((root / "a/words.db").read_bytes(), (root / "a/upper.txt").read_bytes()) == before


def test_building_one_artifact_builds_what_it_is_made_of(root: Path) -> None:
    made = results(engine_on(root).build(["letters/a/pair"]))
    assert made == {"pair": "built", "upper": "built"}
    one = engine_on(root).build_one(Ref("letters", "a", "double"))
    assert one.result is Result.BUILT
    assert one.input_roots["length"] == engine_on(root).provenance(Ref("letters", "a", "length")).output_digest  # type: ignore[union-attr]


def test_force_builds_again_and_touches_nothing_that_is_equal(root: Path) -> None:
    engine_on(root).build()
    stat = (root / "a/words.db").stat()
    kinds.RUNS.clear()
    made = results(engine_on(root).build(policy=Policy(force=True)))
    assert made == dict.fromkeys(ALL, "built")
    assert sorted(kinds.RUNS) == sorted(ALL)
    assert (root / "a/words.db").stat().st_mtime_ns == stat.st_mtime_ns


def test_text_edited_during_the_build_starts_it_again(root: Path) -> None:
    edits = iter(["first edit", "second edit"])

    def edit(_view: object) -> None:
        text = next(edits, None)
        if text is not None:
            write(root, {"a/words/one.txt": text})

    kinds.HOOKS["upper"] = edit
    outcome = engine_on(root).build_one(Ref("letters", "a", "upper"))
    assert outcome.result is Result.BUILT
    assert kinds.RUNS.count("upper") == 3
    assert (root / "a/upper.txt").read_text() == "SECOND EDIT|TWO"
    assert freshness(engine_on(root))["upper"] == "fresh"


def test_text_that_never_rests_fails_the_build_and_writes_nothing(root: Path) -> None:
    numbers = iter(range(100))
    kinds.HOOKS["upper"] = lambda _view: write(root, {"a/words/one.txt": f"edit {next(numbers)}"})
    outcome = engine_on(root).build_one(Ref("letters", "a", "upper"))
    assert outcome.result is Result.FAILED
    assert getattr(outcome.error, "rule", None) == "input-changed"
    assert getattr(outcome.error, "path", None) == "a/words/one.txt"
    assert not (root / "a/upper.txt").exists()


def test_a_file_handed_out_by_path_is_checked_again_after_the_body(root: Path) -> None:
    def edit_after_reading(view: object) -> None:
        view.local("words", "words/one.txt")  # type: ignore[attr-defined]
        if kinds.RUNS.count("length") == 1:
            write(root, {"a/words/one.txt": "longer than before"})

    kinds.HOOKS["length"] = edit_after_reading
    outcome = engine_on(root).build_one(Ref("letters", "a", "length"))
    assert outcome.result is Result.BUILT
    assert kinds.RUNS.count("length") == 2
    assert (root / ".headwater/artifacts/letters/a/length.json").read_text() == str(len("longer than before") + 3)


def test_a_failing_body_fails_alone_and_blocks_what_reads_it(root: Path) -> None:
    def fail(_view: object) -> None:
        raise RuntimeError("no luck")

    kinds.HOOKS["length"] = fail
    outcomes = {outcome.ref.name: outcome for outcome in engine_on(root).build()}
    assert outcomes["length"].result is Result.FAILED
    assert outcomes["length"].reasons == ("RuntimeError: no luck",)
    assert outcomes["double"].result is Result.BLOCKED
    assert outcomes["double"].reasons == ("its input letters/a/length is failed: RuntimeError: no luck",)
    assert outcomes["upper"].result is Result.BUILT
    assert kinds.RUNS.count("length") == 1
    assert list((root / ".headwater/local/scratch").iterdir()) == []


def test_blocking_findings_keep_readers_of_the_file_from_being_built(root: Path) -> None:
    engine_on(root).build()
    write(root, {"a/words/one.txt": "bad word"})
    outcomes = {outcome.ref.name: outcome for outcome in engine_on(root).build()}
    assert {name: outcome.result for name, outcome in outcomes.items()} == dict.fromkeys(ALL, Result.BLOCKED)
    assert isinstance(outcomes["upper"].error, InvalidText)
    assert (root / "a/upper.txt").read_text() == "ONE|TWO"
    state = engine_on(root).status(["*/upper"])[0]
    assert state.freshness is Freshness.BLOCKED
    assert state.reasons == ("a/words/one.txt:1: holds a bad word",)


def test_findings_are_kept_by_the_content_they_follow_from(root: Path) -> None:
    write(root, {"a/words/one.txt": "bad word"})
    assert [finding.path for finding in engine_on(root).check()[Ref("letters", "a", "")]] == ["a/words/one.txt"]
    assert [finding.path for finding in engine_on(root).check()[Ref("letters", "a", "")]] == ["a/words/one.txt"]
    assert kinds.RUNS.count("check") == 1
    write(root, {"a/words/one.txt": "good word"})
    assert engine_on(root).check()[Ref("letters", "a", "")] == []
    assert kinds.RUNS.count("check") == 2


def test_an_output_the_recipe_did_not_declare_fails(root: Path) -> None:
    def write_more(_view: object) -> None:
        folder = next((root / ".headwater/local/scratch").iterdir())
        (folder / "outputs/extra.txt").write_text("x")

    kinds.HOOKS["upper"] = write_more
    outcome = engine_on(root).build_one(Ref("letters", "a", "upper"))
    assert getattr(outcome.error, "rule", None) == "output-undeclared"
    assert not (root / "a/upper.txt").exists()


def test_a_damaged_record_counts_as_absent(root: Path) -> None:
    engine_on(root).build()
    record = root / ".headwater/provenance/letters/a/upper.json"
    for damage in (b"{", b"[]", b'{"format": 99}', record.read_bytes().replace(b'"format":1', b'"format":2')):
        record.write_bytes(damage)
        assert freshness(engine_on(root))["upper"] == "stale"
        assert results(engine_on(root).build(["*/upper"])) == {"upper": "adopted"}


def test_records_hold_no_path_of_this_machine(root: Path, tmp_path: Path) -> None:
    engine_on(root).build()
    for path in (root / ".headwater").rglob("*.json"):
        assert str(tmp_path).encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["upper", "pair", "database"])
def test_ensure_builds_what_is_missing_and_leaves_the_rest(root: Path, name: str) -> None:
    ref = Ref("letters", "a", name)
    assert engine_on(root).ensure(ref) is not None
    write(root, {"a/words/one.txt": "changed"})
    assert engine_on(root).ensure(ref) is None

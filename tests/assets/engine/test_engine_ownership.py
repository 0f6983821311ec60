"""Whose file is it: every cell of the table in section 3 of the design, once as a pure decision and once on real files."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from assets.engine.model import Freshness, Outcome, Ownership, Policy, Question, Ref, Result
from assets.engine.ownership import Verdict, decide, plan_digest
from assets.engine.places import Present
from assets.engine.questions import Questions
from assets.engine.recipe import Confirm, Place
from schemas.errors import HeadwaterError, Refused
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write

UPPER, DATABASE, PAIR = (Ref("letters", "a", name) for name in ("upper", "database", "pair"))


def build(root: Path, ref: Ref, policy: Policy | None = None) -> Outcome:
    return engine_on(root).build_one(ref, policy or Policy())


# the decision

TERMINAL = Policy(ask=lambda _question: True)
HEADLESS = Policy()
PLAN = "blake3:" + "0" * 64
TABLE = [
    (Ownership.NOTHING, TERMINAL, Confirm.NEVER, Verdict.REPLACE),
    (Ownership.NOTHING, TERMINAL, Confirm.ALWAYS, Verdict.REPLACE),
    (Ownership.NOTHING, HEADLESS, Confirm.NEVER, Verdict.REPLACE),
    (Ownership.NOTHING, HEADLESS, Confirm.ALWAYS, Verdict.REPLACE),
    (Ownership.EQUAL, TERMINAL, Confirm.ALWAYS, Verdict.REPLACE),
    (Ownership.EQUAL, HEADLESS, Confirm.ALWAYS, Verdict.REPLACE),
    (Ownership.OURS, TERMINAL, Confirm.NEVER, Verdict.REPLACE),
    (Ownership.OURS, TERMINAL, Confirm.ALWAYS, Verdict.ASK),
    (Ownership.OURS, HEADLESS, Confirm.NEVER, Verdict.REPLACE),
    (Ownership.OURS, HEADLESS, Confirm.ALWAYS, Verdict.REPLACE),
    *(
        (owner, policy, confirm, verdict)
        for owner, confirm in itertools.product((Ownership.EDITED, Ownership.UNKNOWN), Confirm)
        for policy, verdict in ((TERMINAL, Verdict.ASK), (HEADLESS, Verdict.REFUSE))
    ),
]


@pytest.mark.parametrize(("owner", "policy", "confirm", "verdict"), TABLE)
def test_the_table(owner: Ownership, policy: Policy, confirm: Confirm, verdict: Verdict) -> None:
    assert decide(owner, policy, confirm, PLAN) is verdict


@pytest.mark.parametrize(("policy"), [Policy(yes=True), Policy(confirm=frozenset({PLAN}))])
@pytest.mark.parametrize(("owner"), list(Ownership))
def test_a_yes_allows_everything_but_rescues_what_is_not_ours(owner: Ownership, policy: Policy) -> None:
    foreign = owner in (Ownership.EDITED, Ownership.UNKNOWN)
    assert decide(owner, policy, Confirm.ALWAYS, PLAN) is (Verdict.RESCUE if foreign else Verdict.REPLACE)


@pytest.mark.parametrize(("owner", "policy", "confirm", "verdict"), TABLE)
def test_the_table_for_what_the_format_says_is_derived(
    owner: Ownership, policy: Policy, confirm: Confirm, verdict: Verdict
) -> None:
    foreign = owner in (Ownership.EDITED, Ownership.UNKNOWN)
    assert decide(owner, policy, confirm, PLAN, derived=True) is (Verdict.RESCUE if foreign else verdict)


def test_a_yes_to_another_plan_is_no_yes() -> None:
    other = Policy(confirm=frozenset({"blake3:" + "1" * 64}))
    assert decide(Ownership.EDITED, other, Confirm.ALWAYS, PLAN) is Verdict.REFUSE


def test_the_plan_is_void_once_text_or_files_change() -> None:
    present = {(Place.STORE, "x.db"): Present("blake3:" + "a" * 64, 1)}
    edited = {(Place.STORE, "x.db"): Present("blake3:" + "b" * 64, 1)}
    digests = {plan_digest("f1", present), plan_digest("f2", present), plan_digest("f1", edited), plan_digest("f1", {})}
    assert len(digests) == 4


# nothing and equal


@pytest.mark.parametrize("ref", [UPPER, DATABASE, PAIR])
def test_nothing_there_is_built_silently(root: Path, ref: Ref) -> None:
    def never(_question: Question) -> bool:
        raise AssertionError("asked")

    assert build(root, ref, Policy(ask=never)).result is Result.BUILT


@pytest.mark.parametrize("ref", [UPPER, DATABASE, PAIR])
@pytest.mark.parametrize("terminal", [True, False])
def test_what_equals_the_build_is_adopted_and_not_touched(root: Path, ref: Ref, terminal: bool) -> None:
    build(root, ref)
    engine = engine_on(root)
    engine.records.delete(ref)
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name in ("upper.txt", "words.db", "rest.txt")}

    def never(_question: Question) -> bool:
        raise AssertionError("asked")

    outcome = build(root, ref, Policy(ask=never) if terminal else Policy())
    assert outcome.result is Result.ADOPTED
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert engine_on(root).status([str(ref)])[0].freshness is Freshness.FRESH
    assert engine_on(root).provenance(ref).how == "adopted"  # type: ignore[union-attr]


def test_a_database_of_other_bytes_and_equal_content_is_adopted(root: Path) -> None:
    build(root, DATABASE)
    with closing(sqlite3.connect(root / "a/words.db")) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("VACUUM")
    rewritten = (root / "a/words.db").read_bytes()
    outcome = build(root, DATABASE)
    assert outcome.result is Result.ADOPTED
    assert (root / "a/words.db").read_bytes() == rewritten
    assert engine_on(root).status(["*/database"])[0].freshness is Freshness.FRESH


# ours


def test_headless_replaces_ours(root: Path) -> None:
    build(root, DATABASE)
    write(root, {"a/words/one.txt": "1"})
    assert build(root, DATABASE).result is Result.BUILT


def test_a_terminal_replaces_ours_without_asking_where_the_kind_does_not_ask_for_it(root: Path) -> None:
    build(root, UPPER)
    write(root, {"a/words/one.txt": "1"})

    def never(_question: Question) -> bool:
        raise AssertionError("asked")

    assert build(root, UPPER, Policy(ask=never)).result is Result.BUILT


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_asks_with_a_diff_before_replacing_our_database(root: Path, answer: bool) -> None:
    build(root, DATABASE)
    before = (root / "a/words.db").read_bytes()
    write(root, {"a/words/one.txt": "1"})
    asked: list[Question] = []
    kinds.RUNS.clear()

    def ask(question: Question) -> bool:
        assert "database" not in kinds.RUNS  # before the work, not after it
        asked.append(question)
        return answer

    outcome = build(root, DATABASE, Policy(ask=ask))
    assert [question.difference.headline for question in asked] == ["2 rows will be recreated"]
    assert asked[0].ownership is Ownership.OURS
    assert asked[0].paths == ("a/words.db",)
    assert outcome.result is (Result.BUILT if answer else Result.REFUSED)
    assert ((root / "a/words.db").read_bytes() == before) is not answer


def test_our_database_is_replaced_without_a_question_when_it_says_the_same(root: Path) -> None:
    build(root, DATABASE)
    record = root / ".headwater/provenance/letters/a/database.json"
    record.write_bytes(record.read_bytes().replace(b'"fingerprint":"blake3:', b'"fingerprint":"blake3:0'))

    def never(_question: Question) -> bool:
        raise AssertionError("asked")

    assert engine_on(root).status(["*/database"])[0].freshness is Freshness.STALE
    assert engine_on(root).questions(["*/database"]) == []
    assert build(root, DATABASE, Policy(ask=never)).error is None


def test_a_store_may_turn_the_question_off_and_on(root: Path) -> None:
    asked: list[Question] = []

    def ask(question: Question) -> bool:
        asked.append(question)
        return True

    for confirm, ref, expected in (("never", DATABASE, 0), ("always", UPPER, 1)):
        asked.clear()
        settings = f'version = 1\n[stores.a]\nkind = "letters"\npath = "a"\nconfirm = "{confirm}"\n'
        write(root, {"headwater.toml": settings, "a/words/one.txt": f"before {confirm}"})
        build(root, ref)
        write(root, {"a/words/one.txt": f"after {confirm}"})
        assert build(root, ref, Policy(ask=ask)).result is Result.BUILT
        assert len(asked) == expected


def test_the_old_database_is_kept_until_the_next_success(root: Path) -> None:
    build(root, DATABASE)
    contents = [(root / "a/words.db").read_bytes()]
    for number in (1, 2, 3):
        write(root, {"a/words/one.txt": str(number)})
        assert build(root, DATABASE).result is Result.BUILT
        backups = sorted((root / "a").glob("words.db.bak-*"))
        assert [path.read_bytes() for path in backups] == [contents[-1]]
        contents.append((root / "a/words.db").read_bytes())


def test_a_kept_database_that_somebody_edited_is_never_deleted(root: Path) -> None:
    build(root, DATABASE)
    write(root, {"a/words/one.txt": "1"})
    build(root, DATABASE)
    backup = next((root / "a").glob("words.db.bak-*"))
    backup.unlink()
    backup.write_bytes(b"mine")
    write(root, {"a/words/one.txt": "2"})
    build(root, DATABASE)
    assert backup.read_bytes() == b"mine"


# edited and unknown

FOREIGN = [
    ("edited", UPPER, "a/upper.txt"),
    ("edited", DATABASE, "a/words.db"),
    ("edited", PAIR, ".headwater/artifacts/letters/a/pair/rest.txt"),
    ("unknown", UPPER, "a/upper.txt"),
    ("unknown", DATABASE, "a/words.db"),
    ("unknown", PAIR, ".headwater/artifacts/letters/a/pair/rest.txt"),
    ("extra", PAIR, ".headwater/artifacts/letters/a/pair/mine.txt"),
    ("journal", DATABASE, "a/words.db-wal"),
]


def put_in_the_way(root: Path, how: str, ref: Ref, path: str) -> None:
    if how != "unknown":
        build(root, ref)
    write(root, {path: "precious"})
    write(root, {"a/words/one.txt": "changed text"})


@pytest.mark.parametrize(("how", "ref", "path"), FOREIGN)
def test_headless_refuses_with_the_exact_words_that_allow_it(root: Path, how: str, ref: Ref, path: str) -> None:
    put_in_the_way(root, how, ref, path)
    outcome = build(root, ref)
    assert outcome.result is Result.REFUSED
    assert isinstance(outcome.error, Refused)
    assert (root / path).read_text() == "precious"
    question = next(iter(engine_on(root).questions([str(ref)])))
    assert f"headwater build {ref} --confirm {question.plan}" in str(outcome.error.fix)
    place, _, message = str(outcome.error).partition(": ")
    assert message.startswith(("was edited since it was built", "was not written by Headwater"))
    assert message.splitlines()[0].count(place) == 0
    assert outcome.reasons[0].startswith(f"{place}: was ")
    config = f'ops:\n  letters__a__{ref.name}:\n    config:\n      confirm: ["{question.plan}"]'
    assert outcome.error.to_json()["run_config"] == config
    assert "ops:" not in str(outcome.error)  # a screenful for the terminal; Dagster's failure and --debug show it
    agreed = build(root, ref, Policy(confirm=frozenset({question.plan})))
    assert agreed.result is Result.RESTORED  # the refused build was not wasted
    assert [(root / saved).read_text() for saved in agreed.rescued if "wal" in saved or how != "journal"] == ["precious"]
    assert engine_on(root).status([str(ref)])[0].freshness is Freshness.FRESH


@pytest.mark.parametrize(("how", "ref", "path"), FOREIGN)
def test_a_terminal_asks_and_rescues_first(root: Path, how: str, ref: Ref, path: str) -> None:
    put_in_the_way(root, how, ref, path)
    assert build(root, ref, Policy(ask=lambda _question: False)).result is Result.REFUSED
    assert (root / path).read_text() == "precious"
    asked: list[Question] = []

    def yes(question: Question) -> bool:
        asked.append(question)
        return True

    outcome = build(root, ref, Policy(ask=yes))
    assert asked[0].ownership is (Ownership.UNKNOWN if how == "unknown" else Ownership.EDITED)
    assert "precious" in [(root / saved).read_text(errors="replace") for saved in outcome.rescued]
    assert (root / "headwater-rescue/.gitignore").read_text() == "*\n"
    if how == "journal":
        assert not (root / path).exists()


def test_a_confirmation_is_void_when_the_file_changed_since(root: Path) -> None:
    put_in_the_way(root, "edited", UPPER, "a/upper.txt")
    plan = engine_on(root).questions(["*/upper"])[0].plan
    write(root, {"a/upper.txt": "more precious"})
    assert build(root, UPPER, Policy(confirm=frozenset({plan}))).result is Result.REFUSED
    assert (root / "a/upper.txt").read_text() == "more precious"


def test_rescue_names_hold_the_digest_and_no_time(root: Path) -> None:
    put_in_the_way(root, "edited", UPPER, "a/upper.txt")
    first = build(root, UPPER, Policy(yes=True)).rescued
    write(root, {"a/upper.txt": "precious", "a/words/one.txt": "again"})
    second = build(root, UPPER, Policy(yes=True)).rescued
    assert first == second
    assert len(list((root / "headwater-rescue").iterdir())) == 2


def test_a_database_is_rescued_with_its_journal_under_one_name(root: Path) -> None:
    build(root, DATABASE)
    connection = sqlite3.connect(root / "a/words.db")
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("INSERT INTO word VALUES ('mine', 'only here')")
    connection.commit()
    write(root, {"a/words/one.txt": "changed"})
    outcome = build(root, DATABASE, Policy(yes=True))
    assert outcome.result is Result.BUILT
    saved = root / outcome.rescued[0]
    connection.close()
    with closing(sqlite3.connect(saved)) as rescued:
        assert rescued.execute("SELECT text FROM word WHERE path = 'mine'").fetchone() == ("only here",)
    with closing(sqlite3.connect(root / "a/words.db")) as made:
        assert made.execute("SELECT count(*) FROM word").fetchone() == (2,)


@pytest.mark.parametrize("policy", [Policy(), Policy(yes=True), Policy(ask=lambda _question: True)])
@pytest.mark.parametrize("obstacle", ["folder", "link", "dangling link"])
def test_a_folder_or_link_in_the_way_is_never_replaced_or_followed(root: Path, policy: Policy, obstacle: str) -> None:
    target = root / "elsewhere.txt"
    target.write_text("theirs")
    way = root / "a/upper.txt"
    if obstacle == "folder":
        way.mkdir()
    else:
        way.symlink_to(target if obstacle == "link" else root / "nowhere")
    outcome = build(root, UPPER, policy)
    assert outcome.result is Result.REFUSED
    assert target.read_text() == "theirs"
    assert way.is_dir() if obstacle == "folder" else way.is_symlink()
    assert not (root / "nowhere").exists()


def test_before_replace_may_refuse(root: Path) -> None:
    build(root, DATABASE)
    write(root, {"a/words/one.txt": "1", "a/in-use": ""})
    before = (root / "a/words.db").read_bytes()
    outcome = build(root, DATABASE)
    assert outcome.result is Result.REFUSED
    assert outcome.reasons == ("words.db: is in use",)
    assert (root / "a/words.db").read_bytes() == before


def test_questions_are_only_asked_where_something_would_be_lost(root: Path) -> None:
    engine_on(root).build()
    assert engine_on(root).questions() == []
    engine_on(root).records.delete(UPPER)
    assert engine_on(root).questions() == []  # it equals what would be built
    write(root, {"a/words/one.txt": "1"})
    assert [str(question.ref) for question in engine_on(root).questions()] == ["letters/a/upper", "letters/a/database"]


def test_what_keeps_a_question_from_being_foreseen_is_left_to_the_build_and_an_error_of_ours_is_not_hidden(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_on(root).build()
    write(root, {"a/words/one.txt": "1", "a/upper.txt": "mine"})

    def broken(_view: object) -> None:
        raise RuntimeError("the recipe's library gave up")

    monkeypatch.setitem(kinds.HOOKS, "upper", broken)
    assert engine_on(root).questions(["*/upper"]) == []
    outcome = build(root, UPPER)
    assert (outcome.result, outcome.reasons) == (Result.FAILED, ("RuntimeError: the recipe's library gave up",))
    monkeypatch.delitem(kinds.HOOKS, "upper")

    def raising(error: Exception) -> None:
        def question(*_arguments: object) -> None:
            raise error

        monkeypatch.setattr(Questions, "question", question)

    for known in (HeadwaterError("the disk is full"), PermissionError(13, "denied")):
        raising(known)
        assert engine_on(root).questions(["*/upper"]) == []
    raising(KeyError("an error of ours"))
    with pytest.raises(KeyError):
        engine_on(root).questions(["*/upper"])


# adopt and clean


def test_adopt_takes_what_is_right_and_refuses_the_rest(root: Path) -> None:
    engine_on(root).build()
    for record in (root / ".headwater/provenance/letters/a").iterdir():
        record.unlink()
    write(root, {"a/upper.txt": "ONE|TWO!"})
    outcomes = {outcome.ref.name: outcome for outcome in engine_on(root).adopt()}
    assert outcomes["database"].result is Result.ADOPTED
    assert outcomes["length"].result is Result.ADOPTED
    assert outcomes["double"].result is Result.ADOPTED
    assert outcomes["upper"].result is Result.REFUSED
    assert outcomes["pair"].result is Result.BLOCKED
    assert (root / "a/upper.txt").read_text() == "ONE|TWO!"


CLEAN = [
    ("equal", True),
    ("ours", True),
    ("edited", False),
    ("unknown", False),
]


@pytest.mark.parametrize(("how", "deleted"), CLEAN)
@pytest.mark.parametrize("dry_run", [True, False])
def test_clean_deletes_only_what_is_ours_and_unchanged(root: Path, how: str, deleted: bool, dry_run: bool) -> None:
    path = root / "a/upper.txt"
    if how == "unknown":
        write(root, {"a/upper.txt": "theirs"})
    else:
        build(root, UPPER)
    if how == "ours":
        write(root, {"a/words/one.txt": "newer text"})
    if how == "edited":
        write(root, {"a/upper.txt": "edited"})
    cleaned = engine_on(root).clean(["*/upper"], dry_run)
    assert [(one.path, one.reason is None) for one in cleaned] == [("a/upper.txt", deleted)]
    assert path.exists() is not (deleted and not dry_run)


def test_clean_leaves_text_alone_and_a_build_brings_all_back(root: Path) -> None:
    engine_on(root).build()
    text = {path: path.read_bytes() for path in root.rglob("*.txt") if "words" in path.parts}
    before = (root / "a/words.db").read_bytes()
    assert all(one.reason is None for one in engine_on(root).clean())
    assert not (root / "a/words.db").exists()
    assert not (root / ".headwater/artifacts/letters/a/pair").exists()
    assert {path: path.read_bytes() for path in text} == text
    assert {outcome.result for outcome in engine_on(root).build()} == {Result.RESTORED}
    assert (root / "a/words.db").read_bytes() == before


def test_clean_never_deletes_what_git_tracks(root: Path) -> None:
    engine_on(root).build()
    for command in (["init", "-q"], ["add", "-f", "a/upper.txt"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    cleaned = {one.path: one.reason for one in engine_on(root).clean(["*/upper"])}
    assert cleaned == {"a/upper.txt": "git tracks it"}
    assert (root / "a/upper.txt").exists()


def test_clean_takes_the_kept_databases_too(root: Path) -> None:
    build(root, DATABASE)
    write(root, {"a/words/one.txt": "1"})
    build(root, DATABASE)
    engine_on(root).clean(["*/database"])
    assert list((root / "a").glob("words.db*")) == []


def test_a_vanished_store_is_cleaned_and_forgotten(root: Path) -> None:
    engine_on(root).build()
    (root / "a/letters.txt").unlink()
    engine = engine_on(root)
    assert [(store.name, store.present) for store in engine.stores()] == [("a", False)]
    assert [finding.rule for finding in engine.observer.discovered.findings] == ["store-vanished"]
    engine.clean(["letters/a"])
    assert not (root / "a/words.db").exists()
    assert engine_on(root).stores() == []


# somebody else's folder


def test_not_one_byte_of_ours_appears_in_a_plain_folder(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    write(folder, {"letters.txt": "letters\n", "words/one.txt": "one"})
    before = sorted(path for path in folder.rglob("*"))
    engine = engine_on(folder)
    assert {outcome.result for outcome in engine.build()} == {Result.BUILT}
    assert sorted(path for path in folder.rglob("*")) == before
    output = Path(engine.status(["*/upper"])[0].outputs[0])
    assert output.read_text() == "ONE"
    write(folder, {"words/one.txt": "uno"})
    output.write_text("edited")
    outcome = engine_on(folder).build_one(Ref("letters", "root", "upper"), Policy(yes=True))
    assert outcome.result is Result.BUILT
    assert len(outcome.rescued) == 1
    assert sorted(path for path in folder.rglob("*")) == before

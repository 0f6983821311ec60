"""What is wrong with a repository beyond its text, and the safe repairs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from resources.dvs.doctor import clone_findings, findings, kept_findings
from resources.dvs.mend import Repairs, repairs
from resources.dvs.repo import DvsRepo
from resources.dvs.snapshots import tracked_now
from resources.remotes.ledger import Ledger
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Entry, Manifest, write_manifest
from schemas.dvs.oids import oid_of
from schemas.dvs.sidecar import Sidecar, SidecarFormat, sidecar_path, write_sidecar
from schemas.findings import Finding

TIME = "2026-01-20T10:00:00Z"


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=["", "in [1]/ner"])
def place(request: pytest.FixtureRequest) -> str:
    """Where in the checkout the repository lies."""
    return str(request.param)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "checkout"
    top.mkdir()
    git(top, "init", "--initial-branch=main")
    return top


@pytest.fixture
def root(top: Path, place: str, tmp_path: Path) -> Path:
    """A repository with two tracked files and nothing wrong with it."""
    root = top / place
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    (root / ".gitignore").write_text("/.dvs/\n/a.csv\n")
    (root / ".gitattributes").write_text("dvs.lock merge=dvs-lock\n")
    git(top, "config", "merge.dvs-lock.driver", "x")
    track(root, "a.csv", b"one")
    track(root, "d/b.csv", b"two")
    (root / "d/.gitignore").write_text("/b.csv\n")
    lock(root)
    return root


def track(root: Path, path: str, data: bytes, spelling: SidecarFormat = SidecarFormat.JSON) -> str:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    oid = oid_of(data, "blake3")
    (root / sidecar_path(path, spelling)).write_bytes(write_sidecar(Sidecar(oid, len(data), TIME), spelling))
    return oid


def lock(root: Path, *paths: str) -> None:
    names = paths or ("a.csv", "d/b.csv")
    entries = {name: Entry(name, oid_of((root / name).read_bytes(), "blake3"), (root / name).stat().st_size) for name in names}
    (root / "dvs.lock").write_bytes(write_manifest(Manifest(entries)))


def storage_of(top: Path) -> LocalStorage:
    return LocalStorage(top, state=top.parent / "state")


def open_repo(top: Path, place: str) -> DvsRepo:
    return DvsRepo(storage_of(top), place, top.parent / "local", actor="ann")


def look(top: Path, place: str) -> list[Finding]:
    found = findings(storage_of(top), place)
    assert all(one.fix for one in found)
    assert all(not place or one.path.startswith(f"{place}/") for one in found)
    return found


def mend(top: Path, place: str) -> Repairs:
    made = repairs(storage_of(top), place, look(top, place))
    storage_of(top).commit(made.changes, label="test")
    return made


def rules(found: list[Finding]) -> list[str]:
    return [one.rule for one in found]


def test_nothing_is_wrong_with_a_sound_repository(top: Path, root: Path, place: str) -> None:
    assert look(top, place) == []
    assert not mend(top, place)


@pytest.mark.parametrize("pattern", ["*.dvs", "**/*.dvs", "/d/b.csv.dvs"])
def test_a_pattern_that_hides_sidecars_goes(top: Path, root: Path, place: str, pattern: str) -> None:
    (root / ".gitignore").write_text(f"# of another tool\n{pattern}\n/.dvs/\n/a.csv\n")
    (found,) = look(top, place)
    assert (found.rule, found.line, found.value) == ("dvs-sidecar-ignored", 2, pattern)
    assert found.path == (f"{place}/.gitignore" if place else ".gitignore")
    assert "d/b.csv.dvs" in found.message
    mend(top, place)
    assert (root / ".gitignore").read_text() == "# of another tool\n/.dvs/\n/a.csv\n"
    assert look(top, place) == []


@pytest.mark.parametrize("text", ["*.dvs\n/a.csv\n", "/.dvs/\n*\n!d\n!.gitignore\n!dvs.*\n!.gitattributes\n"])
def test_the_folder_of_the_clone_stays_hidden_when_sidecars_are_shown(top: Path, root: Path, place: str, text: str) -> None:
    (root / ".gitignore").write_text(text)
    assert rules(look(top, place)) == ["dvs-sidecar-ignored"]
    mend(top, place)
    assert look(top, place) == []
    (root / ".dvs").mkdir()
    (root / ".dvs/config.toml").write_text("")
    assert ".dvs/config.toml" not in git(top, "status", "--short", "-uall")


def test_names_with_other_line_ends_in_them_stay_whole(top: Path, root: Path, place: str) -> None:
    before = "/a\u2028b\x0cc\n*.dvs\n/.dvs/\n/a.csv\n".encode()
    (root / ".gitignore").write_bytes(before)
    mend(top, place)
    assert (root / ".gitignore").read_bytes() == before.replace(b"*.dvs\n", b"")


def test_sidecars_that_are_committed_already_are_found_too(top: Path, root: Path, place: str) -> None:
    git(top, "add", "-A")
    git(top, "commit", "-qm", "one")
    (root / ".gitignore").write_text("*.dvs\n/.dvs/\n/a.csv\n")
    assert rules(look(top, place)) == ["dvs-sidecar-ignored"]


def test_a_pattern_that_hides_more_gets_exceptions(top: Path, root: Path, place: str) -> None:
    (root / "d/.gitignore").write_text("*\r\n!.gitignore\r\n")
    assert rules(look(top, place)) == ["dvs-sidecar-ignored"]
    mend(top, place)
    assert (root / "d/.gitignore").read_bytes() == b"*\r\n!.gitignore\r\n!?*.dvs\r\n!?*.dvs.toml\r\n"
    assert look(top, place) == []


def test_a_pattern_that_hides_a_whole_folder_is_left_to_people(top: Path, root: Path, place: str) -> None:
    (root / ".gitignore").write_text("d/\n/.dvs/\n/a.csv\n")
    assert rules(look(top, place)) == ["dvs-sidecar-ignored"]
    assert not mend(top, place)


def test_a_pattern_outside_of_the_checkout_is_named(top: Path, root: Path, place: str) -> None:
    (top / ".git/info/exclude").write_text("*.dvs\n")
    (found,) = look(top, place)
    assert ".git/info/exclude" in found.message
    assert found.line is None
    assert not mend(top, place)


def test_data_in_git_is_found_and_left_there(top: Path, root: Path, place: str) -> None:
    git(top, "add", "-f", str(root / "d/b.csv"))
    (found,) = look(top, place)
    assert (found.rule, found.path) == ("dvs-data-in-git", f"{place}/d/b.csv".strip("/"))
    assert found.fix is not None
    subprocess.run(found.fix, shell=True, cwd=top, check=True, capture_output=True)
    assert look(top, place) == []


def test_data_that_git_would_take_is_hidden(top: Path, root: Path, place: str) -> None:
    track(root, "e/#odd name [1].csv", b"three")
    lock(root, "a.csv", "d/b.csv", "e/#odd name [1].csv")
    assert rules(look(top, place)) == ["dvs-data-not-ignored"]
    mend(top, place)
    assert look(top, place) == []
    assert (root / "e/.gitignore").read_text() == "/#odd name \\[1].csv\n"
    assert "odd name [1].csv" not in git(top, "status", "--short", "-uall", "-z").replace("csv.dvs", "")


def test_both_kinds_of_sidecars(top: Path, root: Path, place: str) -> None:
    track(root, "d/b.csv", b"two", SidecarFormat.TOML)
    (found,) = look(top, place)
    assert (found.rule, found.path) == ("dvs-sidecar-twice", f"{place}/d/b.csv.dvs".strip("/"))
    made = mend(top, place)
    assert made.before.keys() == {found.path}
    assert look(top, place) == []
    assert (root / "d/b.csv.dvs.toml").is_file()
    track(root, "a.csv", b"one", SidecarFormat.TOML)
    (root / "a.csv.dvs").write_bytes(write_sidecar(Sidecar("blake3:" + "f" * 64, 1, TIME), SidecarFormat.JSON))
    assert rules(look(top, place)) == ["dvs-sidecars-disagree"]
    assert not mend(top, place)


def test_the_storage_inside_of_the_repository(top: Path, root: Path, place: str) -> None:
    (root / "dvs.toml").write_text('hash_algo = "blake3"\nstorage_dir = "inside/store"\n')
    (found,) = look(top, place)
    assert (found.rule, found.line, found.value) == ("dvs-storage-inside", 2, "inside/store")
    (root / "outside").symlink_to(top.parent)
    (root / "dvs.toml").write_text('storage_dir = "outside/store"\n')
    assert look(top, place) == []


def test_merging(top: Path, root: Path, place: str) -> None:
    (root / ".gitattributes").write_text("*.png binary")
    git(top, "config", "--unset", "merge.dvs-lock.driver")
    assert rules(look(top, place)) == ["dvs-merge-attribute"]
    made = mend(top, place)
    assert (root / ".gitattributes").read_text() == "*.png binary\ndvs.lock merge=dvs-lock\n"
    assert [name for name, _value in made.settings] == ["merge.dvs-lock.name", "merge.dvs-lock.driver"]
    assert rules(look(top, place)) == ["dvs-merge-driver"]


def test_the_folder_of_the_clone(top: Path, root: Path, place: str) -> None:
    (root / ".gitignore").write_text("/a.csv")
    assert rules(look(top, place)) == ["dvs-clone-state"]
    mend(top, place)
    assert (root / ".gitignore").read_text() == "/a.csv\n/.dvs/\n"
    (root / ".dvs").mkdir()
    (root / ".dvs/config.toml").write_text("")
    git(top, "add", "-f", str(root / ".dvs"))
    (found,) = look(top, place)
    assert found.message == "git tracks 1 files of the clone's own folder"
    assert not mend(top, place)


def test_capital_letters_and_drift_are_found_with_the_rest(top: Path, root: Path, place: str) -> None:
    text = (root / "a.csv.dvs").read_text()
    digits = oid_of(b"one", "blake3").partition(":")[2]
    (root / "a.csv.dvs").write_text(text.replace(digits, digits.upper()))
    (found,) = look(top, place)
    assert (found.rule, found.line, found.value, found.replacement) == ("dvs-upper-case", 2, digits.upper(), digits)
    (root / "a.csv.dvs").write_text(text)
    lock(root, "a.csv")
    assert rules(look(top, place)) == ["dvs-drift"]
    mend(top, place)
    assert look(top, place) == []


def test_outside_of_git_nothing_is_said_about_it(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    track(root, "a.csv", b"one")
    lock(root, "a.csv")
    assert findings(LocalStorage(root, state=tmp_path / "state"), "") == []


def test_without_git_only_the_text_is_looked_at(top: Path, root: Path, place: str) -> None:
    (root / ".gitignore").write_text("*.dvs\n")
    assert rules(look(top, place))
    assert findings(storage_of(top), place, git=False) == []


def test_what_a_check_remembers_follows_from_text_alone(top: Path, root: Path, place: str) -> None:
    track(root, "e/free.csv", b"three")
    git(top, "add", "-f", str(root / "a.csv"))
    lock(root, "a.csv", "d/b.csv", "e/free.csv")
    assert rules(look(top, place)) == ["dvs-data-in-git", "dvs-data-not-ignored"]
    assert kept_findings(storage_of(top), place) == []
    (root / "d/.gitignore").write_text("/b.csv\n*.dvs\n")
    assert kept_findings(storage_of(top), place) == [], "it would not be noticed when that file changes"
    (root / ".gitignore").write_text("*.dvs\n/.dvs/\n")
    (root / ".gitattributes").unlink()
    assert sorted(rules(kept_findings(storage_of(top), place))) == ["dvs-merge-attribute", "dvs-sidecar-ignored"]


def test_two_configurations_are_one_finding(top: Path, root: Path, place: str) -> None:
    (root / "dvs.yaml").write_text("storage_dir: /elsewhere\n")
    assert rules(look(top, place)) == ["dvs-config-twice"]


def test_the_third_generation_keeps_its_sidecars_in_the_folder(tmp_path: Path, top: Path) -> None:
    (top / "dvs.toml").write_text(f'compression = "none"\n[backend]\npath = "{tmp_path}/store"\n')
    (top / ".gitignore").write_text("/a.csv\n")
    (top / "a.csv").write_bytes(b"one")
    (top / ".dvs").mkdir()
    digits = oid_of(b"one", "blake3").partition(":")[2]
    text = f'{{"hashes":{{"blake3":"{digits}"}},"size":3,"created_by":"ann","add_time":"{TIME}","compression":"none"}}'
    (top / ".dvs/a.csv.dvs").write_text(text)
    git(top, "add", "-A")
    assert look(top, "") == []
    (top / ".gitignore").write_text("/a.csv\n.dvs/\n")
    assert "dvs-sidecar-ignored" in rules(look(top, ""))
    (top / ".gitignore").write_text("/a.csv\n*.dvs\n")
    mend(top, "")
    assert (top / ".gitignore").read_text() == "/a.csv\n"
    assert look(top, "") == []


def test_git_that_does_not_answer_is_one_finding(top: Path, root: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".gitignore").write_text("*.dvs\n/.dvs/\n/a.csv\n")
    monkeypatch.setenv("PATH", "/nowhere")
    assert rules(findings(storage_of(top), place)) == ["dvs-git-silent"]
    assert kept_findings(storage_of(top), place) == []


# the clone


def record(top: Path, place: str) -> None:
    repo = open_repo(top, place)
    repo.record("add", tracked_now(repo), [], "x")
    repo.close()


def ask_clone(top: Path, place: str) -> list[Finding]:
    repo = open_repo(top, place)
    found = clone_findings(repo)
    repo.close()
    return found


def mend_clone(top: Path, place: str) -> Repairs:
    repo = open_repo(top, place)
    made = repairs(repo.storage, place, clone_findings(repo), repo)
    repo.storage.commit(made.changes, label="test")
    repo.close()
    return made


def test_objects_that_are_nowhere(top: Path, root: Path, place: str) -> None:
    repo = open_repo(top, place)
    repo.objects.put(b"one")
    found = clone_findings(repo)
    assert rules(found) == ["dvs-object-missing"]
    assert found[0].fix is not None
    assert "add it again" in found[0].fix
    (root / "d/b.csv").unlink()
    assert "dvs pull" in (clone_findings(repo)[0].fix or "")
    Ledger(repo.local / "ledger.db").prove("id", "s3://bucket", [oid_of(b"two", "blake3")])
    assert rules(clone_findings(repo)) == ["dvs-object-elsewhere"]
    assert clone_findings(repo, objects=False) == []
    repo.cache.put(b"two")
    assert clone_findings(repo) == []
    repo.close()


def test_a_token_that_others_may_read(top: Path, root: Path, place: str) -> None:
    (root / ".dvs").mkdir()
    settings = root / ".dvs/config.toml"
    settings.write_text('[auth]\ntoken = "secret"\n')
    settings.chmod(0o644)
    (found,) = [one for one in ask_clone(top, place) if one.rule == "dvs-token-readable"]
    assert "secret" not in str(found)
    settings.chmod(0o600)
    assert "dvs-token-readable" not in rules(ask_clone(top, place))


def test_lines_of_the_log_that_cannot_be_read_are_put_beside_it(top: Path, root: Path, place: str) -> None:
    for data in (b"one", b"two"):
        repo = open_repo(top, place)
        repo.objects.put(data)
        repo.close()
    record(top, place)
    log = root / ".dvs/logs/refs/HEAD"
    good = log.read_bytes()
    log.write_bytes(b"{damaged\n" + good + b'{"torn": ')
    found = ask_clone(top, place)
    assert [(one.rule, one.line) for one in found] == [("dvs-state-damaged", 1), ("dvs-state-damaged", 3)]
    mend_clone(top, place)
    assert log.read_bytes() == good
    assert (root / ".dvs/logs/refs/HEAD.damaged").read_bytes() == b'{damaged\n{"torn": \n'
    assert ask_clone(top, place) == []


@pytest.mark.parametrize("damage", ["garbage", "missing", "names nothing", "snapshot", "behind"])
def test_head_is_set_to_the_newest_state_that_can_be_read(top: Path, root: Path, place: str, damage: str) -> None:
    for data in (b"one", b"two"):
        repo = open_repo(top, place)
        repo.objects.put(data)
        repo.close()
    record(top, place)
    head = root / ".dvs/refs/HEAD"
    first = head.read_bytes()
    track(root, "a.csv", b"two")
    lock(root)
    record(top, place)
    second = head.read_bytes()
    expected = second
    if damage == "garbage":
        head.write_bytes(b"\xff\xfe")
    elif damage == "missing":
        head.unlink()
    elif damage == "behind":
        head.write_bytes(first)  # as a command leaves it that was killed after its line in the log
    elif damage == "names nothing":
        head.write_bytes(b"0" * 64 + b"\n")
    else:
        (root / f".dvs/state/snapshots/{second.decode().strip()}.json").write_bytes(b"{}")
        expected = first
    assert rules(ask_clone(top, place)) == ["dvs-state-damaged"]
    mend_clone(top, place)
    assert head.read_bytes() == expected
    assert ask_clone(top, place) == []


def test_the_chain_of_the_log_and_the_states_it_names(top: Path, root: Path, place: str) -> None:
    repo = open_repo(top, place)
    for data in (b"one", b"two", b"three"):
        repo.objects.put(data)
        track(root, "a.csv", data)
        lock(root)
        repo.record("add", tracked_now(repo), [], "x")
    assert clone_findings(repo, objects=False) == []
    log = root / ".dvs/logs/refs/HEAD"
    first, second, third = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + third)
    (found,) = clone_findings(repo, objects=False)
    assert found.rule == "dvs-log-forked"
    log.write_bytes(first + second + third)
    states = sorted((root / ".dvs/state/snapshots").iterdir())
    head = (root / ".dvs/refs/HEAD").read_text().strip()
    next(path for path in states if path.stem != head).unlink()
    (found,) = clone_findings(repo, objects=False)
    assert (found.rule, found.message[:34]) == ("dvs-state-missing", "1 states of the log are gone: " + found.message[30:34])
    repo.close()


def test_a_manifest_that_cannot_be_read_is_found_once(top: Path, root: Path, place: str) -> None:
    (root / "dvs.lock").write_text("{")
    assert rules(look(top, place)) == ["json-syntax"]
    assert ask_clone(top, place) == []

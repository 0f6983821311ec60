"""What names and holds an object."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from resources.dvs.doctor import clone_findings, findings
from resources.dvs.repo import DvsRepo
from resources.dvs.snapshots import tracked_now
from resources.dvs.sync import push
from resources.dvs.why import NAMES, PLACES, Why, find_oid, why
from resources.remotes.ledger import Ledger
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Entry
from schemas.dvs.oids import oid_of
from schemas.dvs.sidecar import Sidecar, SidecarFormat, sidecar_path, write_sidecar
from schemas.errors import HeadwaterError

TIME = "2026-01-20T10:00:00Z"


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "in [1]").mkdir(parents=True)
    git(root, "init", "--initial-branch=main")
    (root / "in [1]/dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    return root


def open_repo(root: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(root, state=root.parent / "state"), "in [1]", root.parent / "local", actor="ann")


def track(root: Path, path: str, data: bytes, *, store: bool = True) -> str:
    target = root / "in [1]" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    oid = oid_of(data, "blake3")
    sidecar = Sidecar(oid, len(data), TIME, "the reason", "ann")
    (root / "in [1]" / sidecar_path(path, SidecarFormat.JSON)).write_bytes(write_sidecar(sidecar, SidecarFormat.JSON))
    repo = open_repo(root)
    if store:
        repo.objects.put(data)
    repo.update(lambda manifest: (manifest.put([Entry(path, oid, len(data))]), []), label="test")
    repo.record("add", tracked_now(repo), [path], "the reason")
    repo.close()
    return oid


def ask(root: Path, oid: str, **options: object) -> Why:
    repo = open_repo(root)
    made = why(repo, oid, **options)  # type: ignore[arg-type]
    repo.close()
    return made


def test_everything_that_names_and_holds_an_object(root: Path) -> None:
    oid = track(root, "d/a.csv", b"one")
    git(root, "add", "*.dvs", "*.lock")
    git(root, "commit", "-qm", "bring it in")
    git(root, "tag", "v1")
    repo = open_repo(root)
    repo.cache.put(b"one")
    repo.audit("add", {"d/a.csv": oid}, "the reason")
    Ledger(repo.local / "ledger.db").prove("id-1", "s3://bucket/x", [oid])
    repo.close()
    made = ask(root, oid)
    found = {pointer.kind: pointer for pointer in made.pointers}
    assert set(found) == {*NAMES, *PLACES} - {"trash"}
    assert (found["sidecar"].name, found["sidecar"].who, found["sidecar"].when) == ("d/a.csv.dvs", "ann", TIME)
    assert found["state"].note == "@{0}"
    assert found["log"].note == "add: brought it in - the reason"
    assert found["audit"].note == "add - the reason"
    assert (found["commit"].note, found["commit"].who) == ("bring it in", "A")
    assert (found["branch"].name, found["branch"].paths) == ("main", ("d/a.csv",))
    assert (found["tag"].name, found["tag"].paths) == ("v1", ("d/a.csv",))
    assert found["file"].name == "d/a.csv"
    assert found["remote"].name == "s3://bucket/x"
    assert (made.size, made.verdict, made.remarks) == (3, "kept", [])
    json.dumps([pointer.to_json() for pointer in made.pointers])


def test_what_was_replaced_is_named_by_history_alone(root: Path) -> None:
    old = track(root, "a", b"one")
    git(root, "add", "*.dvs", "*.lock")
    git(root, "commit", "-qm", "one")
    track(root, "a", b"two")
    git(root, "commit", "-qam", "two")
    made = ask(root, old)
    assert [(pointer.kind, pointer.note) for pointer in made.of("log")] == [
        ("log", "add: took it out - the reason"),
        ("log", "add: brought it in - the reason"),
    ]
    assert [pointer.note for pointer in made.of("commit")] == ["two", "one"]
    assert not made.of("sidecar", "manifest", "branch", "file")
    assert made.verdict == "kept", "a state of the log keeps it"
    assert not ask(root, old, git=False).of("commit")
    bounded = ask(root, old, commits=1)
    assert len(bounded.of("commit")) == 1
    assert bounded.remarks == ["only the 1 newest commits are named"]


def test_verdicts(root: Path) -> None:
    lost = track(root, "lost", b"lost", store=False)
    (root / "in [1]/lost").unlink()
    assert ask(root, lost).verdict == "missing"
    repo = open_repo(root)
    loose = repo.objects.put(b"nobody names it")
    repo.close()
    assert ask(root, loose).verdict == "loose"
    assert ask(root, oid_of(b"never seen", "blake3")).verdict == "unknown"


def test_the_trash_and_retention(root: Path) -> None:
    from resources.dvs.gc import Options, carry_out, make_plan

    oid = track(root, "a", b"one")
    repo = open_repo(root)
    loose = repo.objects.put(b"nobody names it")
    plan = make_plan(repo, Options(grace=-1.0, unclaimed=True))
    assert [item.oid for item in plan.items] == [loose]
    carry_out(repo, plan.options)
    repo.close()
    made = ask(root, loose)
    assert (made.verdict, len(made.of("trash"))) == ("trashed", 1)
    (root / "in [1]/dvs.toml").write_text((root / "in [1]/dvs.toml").read_text() + 'retain = "7y"\n')
    repo = open_repo(root)
    kept = repo.objects.put(b"nobody names it, but it was added")
    repo.audit("add", {"b": kept}, None)
    repo.close()
    made = ask(root, kept)
    assert made.verdict == "kept"
    assert made.retained is not None
    assert ask(root, oid).retained is None


def test_remotes_are_asked_when_told_to(root: Path, tmp_path: Path) -> None:
    oid = track(root, "a", b"one")
    (root / "in [1]/.dvs/config.toml").write_text(
        f'[remotes.origin]\nurl = "{tmp_path}/remote"\n[remotes.other]\nurl = "{tmp_path}/other"\n'
    )
    made = ask(root, oid, ask=True)
    assert not made.of("remote")
    assert made.remarks == ["the remote origin does not hold it", "the remote other does not hold it"]
    repo = open_repo(root)
    push(repo)
    repo.close()
    assert [pointer.name for pointer in ask(root, oid).of("remote")] == [f"{tmp_path}/remote"]
    shutil.rmtree(tmp_path / "remote/packs")
    assert ask(root, oid).of("remote"), "the last proof is believed"
    assert not ask(root, oid, ask=True).of("remote")
    assert not ask(root, oid).of("remote"), "and no more"


def test_a_file_with_other_bytes_is_a_copy_of_what_it_holds(root: Path) -> None:
    one = track(root, "a", b"one")
    track(root, "b", b"two")
    (root / "in [1]/b").write_bytes(b"one")
    found = ask(root, one).of("file")
    assert [(pointer.name, pointer.note) for pointer in found] == [("a", ""), ("b", "its sidecar names other bytes")]


def test_a_damaged_state_is_remarked_on(root: Path) -> None:
    oid = track(root, "a", b"one")
    (state,) = (root / "in [1]/.dvs/state/snapshots").iterdir()
    state.write_bytes(state.read_bytes().replace(b"the reason", b"THE REASON"))
    made = ask(root, oid)
    assert not made.of("state")
    assert "bytes are not those" in made.remarks[0]


def test_what_a_person_means(root: Path) -> None:
    one = track(root, "d/a", b"one")
    two = track(root, "d/a", b"two")
    repo = open_repo(root)
    assert find_oid(repo, "d/a") == two
    assert find_oid(repo, "d/a@1") == one
    assert find_oid(repo, one.upper()) == one
    assert find_oid(repo, one[7:20]) == one
    assert find_oid(repo, one[:20]) == one
    assert find_oid(repo, "f" * 64) == "blake3:" + "f" * 64
    (root / "in [1]/free").write_bytes(b"free")
    assert find_oid(repo, "free") == oid_of(b"free", "blake3")
    for text, rule in (
        ("nowhere", "dvs-metadata-not-found"),
        ("blake3:" + "a" * 65, "oid-malformed"),
        ("0123", "dvs-not-found"),
        ("sha256:" + one[7:20], "dvs-not-found"),
    ):
        with pytest.raises(HeadwaterError) as caught:
            find_oid(repo, text)
        assert caught.value.rule == rule, text
    (root / "in [1]/beef").write_bytes(b"a file whose name looks like digits")
    (root / "in [1]/beef.dvs").write_bytes((root / "in [1]/d/a.dvs").read_bytes())
    assert find_oid(repo, "beef") == two
    repo.close()


def test_a_repository_that_is_on_no_disk(tmp_path: Path) -> None:
    from resources.storage import open_storage

    storage = open_storage("memory://why-test", state=tmp_path / "state")
    oid = oid_of(b"one", "blake3")
    storage.write("r/dvs.toml", f'storage_dir = "{tmp_path}/store"\n'.encode())
    storage.write("r/d/a.csv.dvs", write_sidecar(Sidecar(oid, 3, TIME, "m", "ann"), SidecarFormat.JSON))
    repo = DvsRepo(storage, "r", tmp_path / "local", actor="ann")
    made = why(repo, oid)
    assert [(pointer.kind, pointer.name, pointer.paths) for pointer in made.pointers] == [
        ("sidecar", "d/a.csv.dvs", ("d/a.csv",))
    ]
    assert (made.verdict, made.remarks) == ("missing", [])
    assert [one.rule for one in findings(storage, "r")] == ["dvs-drift"]
    assert [one.rule for one in clone_findings(repo)] == ["dvs-object-missing"]
    repo.close()

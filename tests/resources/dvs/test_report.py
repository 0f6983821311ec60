"""What was tracked at a moment, on whose word."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.dvs import repo as repos
from resources.dvs.add import add
from resources.dvs.diff import side_of
from resources.dvs.repo import DvsRepo
from resources.dvs.report import AsOf, FileRow, as_of, checksums, csv_rows, moment_of, write_checksums
from resources.remotes.ledger import Ledger
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of
from schemas.errors import HeadwaterError, UsageError


def git(root: Path, *words: str, when: str = "2026-01-01T00:00:00Z") -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when}
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True, env=environment).stdout


class Clock:
    def __init__(self) -> None:
        self.now = "2026-01-01T00:00:00Z"

    def __call__(self) -> str:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(repos, "now", clock)
    return clock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    (root / ".gitignore").write_text("/.dvs/\n")
    return root


def open_repo(root: Path, actor: str = "ann") -> DvsRepo:
    return DvsRepo(LocalStorage(root, state=root.parent / "state"), "", root.parent / "local" / root.name, actor=actor)


def put(root: Path, clock: Clock, when: str, path: str, data: bytes, message: str, actor: str = "ann") -> str:
    clock.now = when
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    repo = open_repo(root, actor)
    report = add(repo, [path], message=message)
    assert not report.failed
    repo.close()
    return oid_of(data, "blake3")


def ask(root: Path, when: str | None, source: str = "auto", paths: tuple[str, ...] = ()) -> AsOf:
    repo = open_repo(root)
    made = as_of(repo, None if when is None else moment_of(when), source=source, paths=paths)
    repo.close()
    return made


def test_each_moment_has_its_files_and_who_answers_for_them(root: Path, clock: Clock) -> None:
    one = put(root, clock, "2026-01-10T10:00:00Z", "d/a.csv", b"one", "first delivery")
    two = put(root, clock, "2026-02-10T10:00:00Z", "d/a.csv", b"two!", "a correction", "bob")
    put(root, clock, "2026-03-10T10:00:00Z", "b", b"b", "another")
    january = ask(root, "2026-01-31")
    assert (january.source, january.when, len(january.rows)) == ("state", "2026-01-10T10:00:00Z", 1)
    row = january.rows[0]
    assert (row.path, row.oid, row.size, row.who, row.when, row.why) == (
        "d/a.csv", one, 3, "ann", "2026-01-10T10:00:00Z", "first delivery",
    )  # fmt: skip
    assert (row.told_by, row.uid) == ("audit", os.getuid())
    assert row.proof is not None
    assert (row.proof.place, row.proof.when) == ("storage", "2026-01-10T10:00:00Z")
    february = ask(root, "2026-02-10T10:00:00Z")
    assert [(row.oid, row.who, row.why) for row in february.rows] == [(two, "bob", "a correction")]
    assert [row.path for row in ask(root, None).rows] == ["b", "d/a.csv"]
    assert [row.path for row in ask(root, "2026-12-31", paths=("d",)).rows] == ["d/a.csv"]
    with pytest.raises(HeadwaterError) as caught:
        ask(root, "2026-01-10T09:59:59Z")
    assert caught.value.rule == "dvs-not-found"
    assert [row.to_json()["proof"]["place"] for row in january.rows] == ["storage"]
    assert next(csv_rows(january.rows))[-2:] == ["storage", "2026-01-10T10:00:00Z"]


def test_git_tells_what_a_young_clone_cannot(root: Path, clock: Clock, tmp_path: Path) -> None:
    one = put(root, clock, "2026-01-10T10:00:00Z", "a", b"one", "first")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one", when="2026-01-10T11:00:00Z")
    two = put(root, clock, "2026-02-10T10:00:00Z", "a", b"two", "second")
    git(root, "commit", "-qam", "two", when="2026-02-10T11:00:00Z")
    (root / "README").write_text("nothing of ours")
    git(root, "add", "README")
    git(root, "commit", "-qm", "three", when="2026-02-20T11:00:00Z")
    git(tmp_path, "clone", "-q", "repo", "clone")
    clone = tmp_path / "clone"
    january = ask(clone, "2026-01-31")
    assert (january.source, january.when, [row.oid for row in january.rows]) == ("git", "2026-01-10T11:00:00Z", [one])
    assert ask(clone, "2026-02-28").when == "2026-02-10T11:00:00Z"
    with pytest.raises(HeadwaterError, match="the log of this clone begins later"):
        ask(clone, "2026-01-31", "log")
    with pytest.raises(HeadwaterError):
        ask(clone, "2025-12-31")
    assert side_of(open_repo(clone), "2026-01-31").id == january.id
    # Where both know the moment, the younger of the two speaks.
    put(root, clock, "2026-03-01T10:00:00Z", "a", b"three", "not committed yet")
    assert ask(root, "2026-03-02").source == "state"
    assert [row.oid for row in ask(root, "2026-03-02", "git").rows] == [two]
    assert ask(root, "2026-02-12").source == "git"
    assert ask(root, "2026-02-12", "now").source == "now"


def test_without_an_audit_log_the_sidecar_tells(root: Path, clock: Clock) -> None:
    put(root, clock, "2026-01-10T10:00:00Z", "a", b"one", "first")
    log = root.parent / "store/audit.log.jsonl"
    log.chmod(0o644)
    log.unlink()
    row = ask(root, None).rows[0]
    assert (row.told_by, row.why, row.operation_id, row.proof) == ("sidecar", "first", None, None)


def test_a_changed_audit_log_is_said(root: Path, clock: Clock) -> None:
    put(root, clock, "2026-01-10T10:00:00Z", "a", b"one", "first")
    put(root, clock, "2026-01-11T10:00:00Z", "b", b"two", "second")
    assert ask(root, None).audit_problems == 0
    log = root.parent / "store/audit.log.jsonl"
    log.chmod(0o644)
    log.write_bytes(log.read_bytes().replace(b"first", b"1st!!"))
    made = ask(root, None)
    assert made.audit_problems == 1
    assert "not whole" in made.remarks[0]


def test_the_proof_is_the_last_until_the_moment(root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = put(root, clock, "2026-01-10T10:00:00Z", "a", b"one", "first")
    repo = open_repo(root)
    at = datetime(2026, 1, 20, tzinfo=UTC).timestamp()
    monkeypatch.setattr("resources.remotes.ledger.time.time", lambda: at)
    Ledger(repo.local / "ledger.db").prove("id", "s3://bucket", [oid])
    repo.close()
    after = ask(root, "2026-01-31").rows[0].proof
    assert after is not None
    assert (after.place, after.when) == ("s3://bucket", "2026-01-20T00:00:00Z")
    before = ask(root, "2026-01-15")
    assert before.rows[0].proof is not None
    assert before.rows[0].proof.place == "storage"
    assert before.remarks == ["remotes have proved objects since; of each only the last proof is kept"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31T23:59:59.999999+00:00"),
        ("2026-01-31T10:00", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31 10:00:00+02:00", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_a_moment(text: str, expected: str) -> None:
    assert moment_of(text).isoformat() == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "9999-12-31T23:59-05:00"])
def test_no_moment(text: str) -> None:
    with pytest.raises(UsageError):
        moment_of(text)


def row(path: str, oid: str) -> FileRow:
    return FileRow(path, oid, 1, "ann", None, "", "", "sidecar", None, None)


def test_lists_of_checksums_are_checked_by_the_usual_tools(tmp_path: Path) -> None:
    names = ["plain", "with space ", "back\\slash", "line\nfeed", "größe [1]*", "-dash", "d/e"]
    rows = []
    for number, name in enumerate(names):
        data = f"data {number}".encode()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
        rows.append(row(name, oid_of(data, "sha256")))
    rows += [row("b3", "blake3:" + "b" * 64), row("x", "xxh3:" + "0" * 16)]
    made = checksums(rows)
    assert list(made) == ["blake3", "sha256", "xxh3"]
    assert made["blake3"] == [f"{'b' * 64}  b3"]
    assert made["xxh3"] == [f"XXH3_{'0' * 16}  x"]
    files = write_checksums(rows, tmp_path / "sums")
    assert {path.name for path in files.values()} == {"B3SUMS", "SHA256SUMS", "XXH3SUMS"}
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", str(files["sha256"])], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (tmp_path / "plain").write_bytes(b"other")
    changed = subprocess.run(["sha256sum", "-c", str(files["sha256"])], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert changed.returncode == 1
    with pytest.raises(FileExistsError):
        write_checksums(rows, tmp_path / "sums")

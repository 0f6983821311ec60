"""A repository: where its parts lie, and how its text is changed by many at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resources.dvs.repo import DvsRepo, NotInitialized, SidecarFile, user_name
from resources.dvs.results import Outcome, Report, Row
from resources.storage.base import ABSENT, Change
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar
from schemas.dvs.state import Snapshot, TrackedFile, write_snapshot
from schemas.errors import Conflict, HeadwaterError, InvalidText
from schemas.findings import Finding

A, B = "blake3:" + "a" * 64, "blake3:" + "b" * 64
TIME = "2026-01-20T10:00:00Z"


def open_repo(root: Path, inside: str = "") -> DvsRepo:
    return DvsRepo(LocalStorage(root, state=root.parent / "state"), inside, root.parent / "local", actor="ann")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    return root


def _sidecar(root: Path, path: str, oid: str, spelling: SidecarFormat = SidecarFormat.JSON) -> TrackedFile:
    sidecar = Sidecar(oid, 3, TIME, "m", "ann")
    target = root / (path + (".dvs.toml" if spelling is SidecarFormat.TOML else ".dvs"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(write_sidecar(sidecar, spelling))
    return TrackedFile(path, sidecar, spelling)


def test_a_folder_without_configuration_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotInitialized) as caught:
        open_repo(tmp_path)
    assert caught.value.rule == "dvs-not-initialized"


def test_two_configurations_are_refused(root: Path) -> None:
    (root / "dvs.yaml").write_text("storage_dir: /elsewhere\n")
    with pytest.raises(InvalidText, match=r"dvs\.toml and dvs\.yaml"):
        open_repo(root)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/mnt/s", "/mnt/s"), ("../store", "{above}/store"), ("s3://bucket/x", "s3://bucket/x")],
)
def test_where_the_storage_is(root: Path, given: str, expected: str) -> None:
    (root / "dvs.toml").write_text(f'storage_dir = "{given}"\n')
    assert str(open_repo(root).storage_url) == expected.format(above=root.parent)


def test_a_repository_below_the_root_of_the_storage(tmp_path: Path, root: Path) -> None:
    repo = DvsRepo(LocalStorage(tmp_path, state=tmp_path / "state"), "repo", tmp_path / "local", actor="ann")
    assert (repo.folder, repo.path("dvs.lock"), repo.path("")) == (root, "repo/dvs.lock", "repo")
    repo.update(lambda manifest: (manifest.put([Entry("x", A, 1)]), []), label="test")
    assert (root / "dvs.lock").is_file()


def test_objects_go_where_the_configuration_says_and_are_found_in_the_cache_too(tmp_path: Path, root: Path) -> None:
    repo = open_repo(root)
    stored, cached = repo.objects.put(b"stored"), repo.cache.put(b"cached")
    assert (tmp_path / "store" / "packs").is_dir()
    assert (root / ".dvs/cache/objects/packs").is_dir()
    assert repo.find(stored) is repo.objects
    assert repo.find(cached) is repo.cache
    assert repo.find(A) is None
    repo.close()


def test_a_tracked_file_has_one_sidecar_that_counts(root: Path) -> None:
    _sidecar(root, "d/a", A)
    _sidecar(root, "d/b", A)
    _sidecar(root, "d/b", B, SidecarFormat.TOML)
    (root / "d/bad.dvs").write_text("{}")
    _sidecar(root, ".dvs/cache/x", A)
    found = dict(open_repo(root).tracked())
    assert list(found) == ["d/a", "d/b", "d/bad"]
    b, bad = found["d/b"], found["d/bad"]
    assert isinstance(b, SidecarFile)
    assert (b.sidecar.oid, b.spelling) == (B, SidecarFormat.TOML)
    assert isinstance(bad, Finding)
    assert (bad.rule, bad.path) == ("dvs-sidecar", "d/bad.dvs")
    single = open_repo(root).sidecar_file("d/b")
    assert single == b
    assert open_repo(root).sidecar_file("d/none") is None


def test_case_09_the_toml_sidecar_counts(root: Path) -> None:
    for oid, spelling in ((A, SidecarFormat.JSON), (B, SidecarFormat.TOML)):
        _sidecar(root, "f", oid, spelling)
    found = open_repo(root).sidecar_file("f")
    assert found is not None
    assert found.sidecar.oid == B


def test_sidecars_of_the_third_generation_lie_in_a_tree_of_their_own(root: Path) -> None:
    (root / "dvs.toml").write_text('[backend]\npath = "/s"\n')
    (root / ".dvs/d").mkdir(parents=True)
    (root / ".dvs/d/a.csv.dvs").write_text(json.dumps({"hashes": {"blake3": "a" * 64}, "size": 1, "add_time": TIME}))
    repo = open_repo(root)
    assert [path for path, _ in repo.tracked()] == ["d/a.csv"]
    assert repo.sidecar_path("d/a.csv", SidecarFormat.JSON) == ".dvs/d/a.csv.dvs"
    assert repo.data_path("d/a.csv.dvs") is None


def test_an_update_changes_manifest_and_files_together(root: Path) -> None:
    repo = open_repo(root)
    assert repo.manifest() == Manifest()
    made = repo.update(lambda old: (old.put([Entry("x", A, 1)]), [Change("other.txt", b"x", ABSENT)]), label="test")
    assert repo.manifest() == made
    assert (root / "other.txt").read_bytes() == b"x"
    before = (root / "dvs.lock").read_bytes()
    with pytest.raises(Conflict):
        repo.update(lambda old: (old.put([Entry("y", A, 1)]), [Change("other.txt", b"y", ABSENT)]), label="test")
    assert (root / "dvs.lock").read_bytes() == before


def test_an_update_that_changes_nothing_writes_nothing(root: Path) -> None:
    open_repo(root).update(lambda old: (old, []), label="test")
    assert not (root / "dvs.lock").exists()


def test_somebody_elses_edit_during_an_update_is_kept(root: Path) -> None:
    repo = open_repo(root)
    repo.update(lambda old: (old.put([Entry("x", A, 1)]), []), label="test")
    edits: list[str] = []

    def change(old: Manifest) -> tuple[Manifest, list[Change]]:
        if not edits:  # an editor saves while we think
            text = (root / "dvs.lock").read_text().replace('"bytes": 1', '"bytes": 7')
            (root / "dvs.lock").write_text(text)
            edits.append(text)
        return old.put([Entry("y", B, 2)]), []

    assert {path: entry.bytes for path, entry in repo.update(change, label="test").entries.items()} == {"x": 7, "y": 2}


_WRITER = """
import sys
from pathlib import Path
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Entry
from schemas.dvs.sidecar import Sidecar
from schemas.dvs.state import TrackedFile
root, name, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
repo = DvsRepo(LocalStorage(root, state=root.parent / "state"), "", root.parent / "local", actor=name)
oid = "blake3:" + "a" * 64
for number in range(times):

    def change(old):
        held = old.entries.get(name)
        assert (held.bytes if held is not None else -1) == number - 1, "an update was lost"
        return old.put([Entry(name, oid, number)]), []

    def log():
        files = [TrackedFile(path, Sidecar(oid, entry.bytes, TIME)) for path, entry in repo.manifest().entries.items()]
        repo.record("add", files, [f"{name}-{number}"], None)

    repo.update(change, label="test", then=log)
""".replace("TIME", repr(TIME))


def concurrent_updates(root: Path, writers: int, times: int) -> None:
    """Every process changes its own entry again and again; each sees what it wrote before, and all are in the log."""
    running = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(root), f"w{number}", str(times)]) for number in range(writers)
    ]
    assert [process.wait() for process in running] == [0] * writers
    repo = open_repo(root)
    names = {f"w{number}" for number in range(writers)}
    assert {path: entry.bytes for path, entry in repo.manifest().entries.items()} == dict.fromkeys(names, times - 1)
    records, problems = repo.log()
    assert problems == []
    assert sorted(path for record in records for path in record.paths) == sorted(
        f"{name}-{number}" for name in names for number in range(times)
    )
    assert [record.old for record in records] == [None, *(record.new for record in records[:-1])]
    assert repo.head() == records[-1].new
    for record in records:
        repo.snapshot(record.new)


def test_updates_of_many_processes_are_all_kept(root: Path) -> None:
    concurrent_updates(root, 4, 8)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sixteen_processes_with_five_hundred_updates_each_lose_none(root: Path) -> None:
    """Of the manifest, of the log and of HEAD: 8,000 in all."""
    concurrent_updates(root, 16, 500)


def test_a_state_is_recorded_once(root: Path) -> None:
    repo = open_repo(root)
    assert (repo.head(), repo.log()) == (None, ([], []))
    file = _sidecar(root, "x", A)
    first = repo.record("add", [file], ["x"], "first")
    assert repo.record("add", [file], ["x"], "again") == first
    second = repo.record("remove", [], ["x"], None)
    records, _ = repo.log()
    assert [(record.op, record.old, record.new, record.message) for record in records] == [
        ("add", None, first, "first"),
        ("remove", first, second, None),
    ]
    assert repo.head() == second
    assert repo.snapshot(first).files == (file,)
    assert write_snapshot(Snapshot((file,), Manifest()))[0] == first
    with pytest.raises(HeadwaterError, match="no state"):
        repo.snapshot("0" * 64)


def test_a_torn_line_of_the_log_is_taken_away_before_the_next(root: Path) -> None:
    repo = open_repo(root)
    repo.record("add", [_sidecar(root, "x", A)], ["x"], None)
    log = root / ".dvs/logs/refs/HEAD"
    log.write_bytes(log.read_bytes() + b'{"ts": "torn')
    repo.record("remove", [], ["x"], None)
    records, problems = repo.log()
    assert ([record.op for record in records], problems) == (["add", "remove"], [])


def test_who_runs_it() -> None:
    assert user_name({"USER": "ann", "LOGNAME": "bob"}) == "ann"
    assert user_name({"USER": "", "LOGNAME": "bob"}) == "bob"
    assert user_name({})


def test_a_report_counts_in_the_words_of_its_operation() -> None:
    report = Report("add")
    report.add([Row("b", Outcome.COPIED, A, 5), Row("a", Outcome.PRESENT, A, 5)])
    assert not report.failed
    report.add([Row("aa", Outcome.ERROR, error=HeadwaterError("gone", rule="dvs-file-not-found"))])
    assert [row.path for row in report.rows] == ["a", "aa", "b"]
    assert report.counts == {"added": 1, "already_tracked": 1, "error": 1, "bytes": 5}
    assert report.failed
    assert [row.to_json("add")["outcome"] for row in report.rows] == ["already_tracked", "error", "added"]

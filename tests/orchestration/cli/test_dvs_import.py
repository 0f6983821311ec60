"""`headwater dvs merge-repo` and `import-…`: tracking what another repository or another tool tracks."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran, start
from tests.orchestration.cli.test_dvs import git, objects, outcomes, put, statuses

Run = Callable[..., Ran]

BIG = os.urandom(200_000)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A repository with a small, a large and an empty file, one of them with a TOML sidecar."""
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "source"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../source-store").code == 0
    put(root, "a.csv", "1,2\n")
    put(root, "deep/big.bin", BIG)
    assert run("dvs", "add", ".", "-m", "theirs").code == 0
    assert run("dvs", "config", "set", "metadata_format", "toml").code == 0
    put(root, "empty", b"")
    assert run("dvs", "add", "empty").code == 0
    return root


@pytest.fixture
def root(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """The repository that takes it in."""
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    return root


def tree(*roots: Path) -> dict[str, bytes]:
    """Every file but our own state and git's."""
    return {
        str(path): path.read_bytes()
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".git", ".headwater", "leases"} & set(path.parts)
    }


def rules(ran: Ran) -> dict[str, str]:
    return {record["path"]: record["error"]["rule"] for record in ran.records if "path" in record and "error" in record}


def lock(root: Path) -> dict[str, int]:
    return {entry["path"]: entry["bytes"] for entry in json.loads((root / "dvs.lock").read_text())["entries"]}


def audited(store: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (store / "audit.log.jsonl").read_text().splitlines()]


class TestMergeRepo:
    def test_case_46_files_objects_and_entries_arrive_as_they_were(self, root: Path, source: Path, run: Run) -> None:
        before = tree(source, source.parent / "source-store")
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert (ran.code, ran.err) == (0, "")
        assert outcomes(ran) == {"a.csv": "merged", "deep/big.bin": "merged", "empty": "merged"}
        assert ran.records[-1]["summary"]["objects_copied"] == 3
        for name in ("a.csv.dvs", "deep/big.bin.dvs", "empty.dvs.toml"):
            assert (root / name).read_bytes() == (source / name).read_bytes()
        assert lock(root) == {"a.csv": 4, "deep/big.bin": 200_000, "empty": 0}
        assert set(statuses(run).values()) == {"absent"}
        assert run("dvs", "get").code == 0
        assert (root / "deep/big.bin").read_bytes() == BIG
        assert git(root, "check-ignore", "a.csv", "deep/big.bin", "empty").split() == ["a.csv", "deep/big.bin", "empty"]
        assert tree(source, source.parent / "source-store") == before
        assert [(line["operation"], sorted(line["files"])) for line in audited(root.parent / "store")] == [  # type: ignore[call-overload]
            ("merge", ["a.csv", "deep/big.bin", "empty"])
        ]
        assert run("dvs", "log", "--json").records[0]["op"] == "merge"
        assert run("dvs", "audit", "verify").code == 0

    def test_case_46_again_changes_nothing(self, root: Path, source: Path, run: Run) -> None:
        assert run("dvs", "merge-repo", "../source").code == 0
        before = tree(root, root.parent / "store")
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert set(outcomes(ran).values()) == {"skipped"}
        assert (ran.code, ran.records[-1]["summary"]["merged"]) == (0, 0)
        assert tree(root, root.parent / "store") == before

    def test_case_46_below_a_prefix_that_also_avoids_a_clash(self, root: Path, source: Path, run: Run) -> None:
        put(root, "a.csv", "ours")
        assert run("dvs", "add", "a.csv").code == 0
        ran = run("dvs", "merge-repo", "../source", "--prefix", "imported/", "--json")
        assert sorted(outcomes(ran)) == ["imported/a.csv", "imported/deep/big.bin", "imported/empty"]
        assert (root / "imported/a.csv.dvs").is_file()
        for bad in ("../out", "/abs/../..", "x//y", ".dvs/state", ".git"):
            assert run("dvs", "merge-repo", "../source", "--prefix", bad).code != 0

    def test_case_46_every_clash_is_told_and_nothing_written(self, root: Path, source: Path, run: Run) -> None:
        for path in ("a.csv", "deep"):
            put(root, path, "ours")
        put(root, "empty", "in git")
        assert run("dvs", "add", "a.csv", "deep").code == 0
        git(root, "add", "empty")
        before = tree(root, root.parent / "store")
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert ran.code == 1
        assert rules(ran) == {
            "a.csv": "dvs-merge-conflict",
            "deep/big.bin": "dvs-file-in-the-way",
            "empty": "dvs-tracked-by-git",
        }
        assert all("conflict" in record["error"]["message"] for record in ran.records if "error" in record)
        assert tree(root, root.parent / "store") == before

    def test_case_46_skip_and_overwrite(self, root: Path, source: Path, run: Run) -> None:
        put(root, "a.csv", "ours")
        put(root, "empty", "ours too")
        assert run("dvs", "add", ".", "-m", "mine").code == 0
        skipped = run("dvs", "merge-repo", "../source", "--conflict", "skip", "--json")
        assert (skipped.code, outcomes(skipped)) == (0, {"a.csv": "skipped", "deep/big.bin": "merged", "empty": "skipped"})
        assert json.loads((root / "a.csv.dvs").read_text())["message"] == "mine"
        put(root, "a.csv", "unsaved")
        taken = run("dvs", "merge-repo", "../source", "--conflict", "overwrite", "--json")
        assert (taken.code, outcomes(taken)) == (0, {"a.csv": "merged", "deep/big.bin": "skipped", "empty": "merged"})
        assert json.loads((root / "a.csv.dvs").read_text())["message"] == "theirs"
        # The TOML sidecar has taken the place of the JSON one, and working files are left alone.
        assert ((root / "empty.dvs").exists(), (root / "empty.dvs.toml").exists()) == (False, True)
        assert (root / "a.csv").read_text() == "unsaved"
        assert statuses(run) == {"a.csv": "unsynced", "deep/big.bin": "absent", "empty": "unsynced"}
        assert lock(root)["a.csv"] == 4

    def test_case_46_itself_an_empty_one_and_none(self, root: Path, source: Path, run: Run, tmp_path: Path) -> None:
        itself = run("dvs", "merge-repo", "../work/.", "--json")
        assert (itself.code, itself.records[-1]["error"]["rule"]) == (2, "dvs-merge-itself")
        assert "itself" in itself.records[-1]["error"]["message"]
        put(tmp_path, "nothing/dvs.toml", 'storage_dir = "../nothing-store"\n')
        empty = run("dvs", "merge-repo", "../nothing", "--json")
        assert (empty.code, empty.records[-1]["summary"]["merged"]) == (0, 0)
        (tmp_path / "bare").mkdir()
        assert run("dvs", "merge-repo", "../bare", "--json").records[-1]["error"]["rule"] == "dvs-not-initialized"
        assert run("dvs", "merge-repo", "../gone", "--json").code == 2

    def test_case_46_a_dry_run_counts_and_writes_nothing(self, root: Path, source: Path, run: Run) -> None:
        before = tree(root, root.parent / "store")
        ran = run("dvs", "merge-repo", "../source", "--dry-run", "--json")
        assert (ran.code, ran.records[-1]["summary"]["merged"], ran.records[-1]["summary"]["objects_copied"]) == (0, 3, 3)
        assert tree(root, root.parent / "store") == before

    def test_an_object_that_the_source_lacks_keeps_everything_from_being_written(
        self, root: Path, source: Path, run: Run
    ) -> None:
        for path in (source.parent / "source-store" / "blake3").rglob("*"):
            if path.is_file():
                path.unlink()
        before = tree(root, root.parent / "store")
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert (ran.code, rules(ran)) == (1, {"deep/big.bin": "dvs-storage-missing"})
        assert tree(root, root.parent / "store") == before
        assert objects(root) == []

    def test_a_damaged_object_of_the_source_is_found_before_any_text_changes(self, root: Path, source: Path, run: Run) -> None:
        for path in (source.parent / "source-store" / "blake3").rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
        before = tree(root)
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert (ran.code, rules(ran)) == (1, {"deep/big.bin": "object-rotten"})
        assert tree(root) == before

    def test_a_sidecar_of_the_source_that_cannot_be_read_keeps_everything_out(self, root: Path, source: Path, run: Run) -> None:
        put(source, "bad.csv.dvs", "{")
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert (ran.code, rules(ran)) == (1, {"bad.csv": "dvs-metadata-not-found"})
        assert not (root / "dvs.lock").exists()

    def test_verify_replaces_a_damaged_object_from_the_source(self, root: Path, source: Path, run: Run) -> None:
        put(root, "same.bin", BIG)
        assert run("dvs", "add", "same.bin").code == 0
        held = next(path for path in (root.parent / "store" / "blake3").rglob("*") if path.is_file())
        held.chmod(0o644)
        held.write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
        assert run("dvs", "merge-repo", "../source", "--verify").code == 0
        assert held.read_bytes() == BIG
        assert run("dvs", "verify").code == 0

    def test_verify_says_what_nobody_holds_whole(self, root: Path, source: Path, run: Run) -> None:
        assert run("dvs", "merge-repo", "../source").code == 0
        for store in ("store", "source-store"):
            for path in (root.parent / store / "blake3").rglob("*"):
                if path.is_file():
                    path.chmod(0o644)
                    path.write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
        ran = run("dvs", "merge-repo", "../source", "--verify", "--json")
        assert (ran.code, rules(ran)) == (1, {"deep/big.bin": "object-rotten"})

    def test_the_modes_of_this_repository_are_given(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
    ) -> None:
        root = tmp_path / "shared"
        root.mkdir()
        git(root, "init", "--initial-branch=main")
        monkeypatch.chdir(root)
        assert run("dvs", "init", "../shared-store", "--permissions", "660").code == 0
        old = os.umask(0o077)
        try:
            assert run("dvs", "merge-repo", "../source").code == 0
        finally:
            os.umask(old)
        for path in (tmp_path / "shared-store").rglob("*"):
            wanted = 0o770 if path.is_dir() else 0o660 if path.name in ("audit.log.jsonl", "headwater-remote") else 0o440
            assert stat.S_IMODE(path.stat().st_mode) & 0o777 == wanted, path

    def test_a_reason_is_wanted_where_the_repository_wants_one(self, root: Path, source: Path, run: Run) -> None:
        assert run("dvs", "config", "set", "require_reason", "true").code == 0
        assert run("dvs", "merge-repo", "../source", "--json").records[-1]["error"]["rule"] == "dvs-reason"
        assert run("dvs", "merge-repo", "../source", "-m", "one project now").code == 0
        assert audited(root.parent / "store")[-1]["reason"] == "one project now"

    def test_a_source_that_was_never_used_here_stays_free_of_our_state(self, root: Path, tmp_path: Path, run: Run) -> None:
        put(tmp_path, "plain/dvs.toml", f'storage_dir = "{tmp_path}/source-store"\n')
        put(tmp_path, "plain/a.csv.dvs", (tmp_path / "source/a.csv.dvs").read_text())
        git(tmp_path / "plain", "init")
        before = sorted(path for path in (tmp_path / "plain").rglob("*") if ".git" not in path.parts)
        assert outcomes(run("dvs", "merge-repo", "../plain", "--json")) == {"a.csv": "merged"}
        assert sorted(path for path in (tmp_path / "plain").rglob("*") if ".git" not in path.parts) == before

    def test_from_a_bucket_and_into_one(
        self, root: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, s3_url: str
    ) -> None:
        files = {f"{number}.bin": BIG + bytes([number]) for number in range(12)} | {"small.csv": b"1"}
        for name, storage in (("far", f"{s3_url}/one"), ("other", f"{s3_url}/two")):
            (tmp_path / name).mkdir()
            git(tmp_path / name, "init")
            monkeypatch.chdir(tmp_path / name)
            assert run("dvs", "init", storage).code == 0
        monkeypatch.chdir(tmp_path / "far")
        for path, data in files.items():
            put(tmp_path / "far", path, data)
        assert run("dvs", "add", ".").code == 0
        for folder in (root, tmp_path / "other"):
            monkeypatch.chdir(folder)
            ran = run("dvs", "merge-repo", "../far", "--json")
            assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(files, "merged"))
            assert run("dvs", "get").code == 0
            assert {path: (folder / path).read_bytes() for path in files} == files
        monkeypatch.chdir(root)
        assert list((root / ".headwater").rglob("*~*")) == []

    def test_many_files_at_once(self, root: Path, source: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(source)
        for number in range(300):
            put(source, f"many/{number}.csv", f"{number}\n")
        assert run("dvs", "add", "many").code == 0
        monkeypatch.chdir(root)
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert (ran.code, ran.records[-1]["summary"]["merged"]) == (0, 303)
        assert len(lock(root)) == 303
        assert run("dvs", "get").code == 0
        assert (root / "many/299.csv").read_text() == "299\n"


class TestTogether:
    def test_nine_commands_at_once_lose_nothing(self, root: Path, source: Path, tmp_path: Path, run: Run) -> None:
        for number in range(3):
            put(tmp_path, f"out/{number}.bin", BIG + bytes([number]))
            put(root, f"{number}.csv", f"{number}\n")
        calls = [
            *(["dvs", "merge-repo", "../source", "--prefix", f"m{number}"] for number in range(3)),
            *(["dvs", "import-url", f"../out/{number}.bin"] for number in range(3)),
            *(["dvs", "add", f"{number}.csv"] for number in range(3)),
        ]
        started = [start(*call, cwd=root) for call in calls]
        ended = [(process.communicate(timeout=120), process.returncode) for process in started]
        assert [code for _said, code in ended] == [0] * 9, ended
        wanted = {f"m{number}/{path}" for number in range(3) for path in ("a.csv", "deep/big.bin", "empty")}
        assert set(lock(root)) == wanted | {f"{number}.{kind}" for number in range(3) for kind in ("bin", "csv")}
        assert set(statuses(run)) == set(lock(root))
        # Each has its own state and its own line, however closely one came after the other.
        assert len(run("dvs", "log", "--json").records) == 9
        assert run("dvs", "audit", "verify").code == 0
        assert run("dvs", "verify").code == 0

    def test_a_name_that_is_not_unicode_is_a_row(self, root: Path, source: Path, run: Run) -> None:
        odd = os.fsdecode(b"bad\xff.csv")
        put(source, f"{odd}.dvs", (source / "a.csv.dvs").read_bytes())
        ran = run("dvs", "merge-repo", "../source", "--json")
        assert ran.code == 1
        assert [record["outcome"] for record in ran.records if "path" in record] == ["error"]
        assert not (root / "dvs.lock").exists()


COMMANDS = {
    "merge-repo": ["merge-repo", "../source"],
    "import-dvs": ["import-dvs", "../source"],
    "import-dvc": ["import-dvc", "../dvc"],
    "import-lfs": ["import-lfs", "../lfs", "--objects", "../lfs-objects"],
    "import-url": ["import-url", "../out.bin"],
}


class TestEach:
    """What holds for every one of the commands."""

    @pytest.fixture
    def sources(self, root: Path, source: Path, tmp_path: Path) -> Path:
        digits, sha = hashlib.md5(BIG, usedforsecurity=False).hexdigest(), hashlib.sha256(BIG).hexdigest()
        put(tmp_path, f"dvc/.dvc/cache/files/md5/{digits[:2]}/{digits[2:]}", BIG)
        put(tmp_path, "dvc/d.bin.dvc", f"outs:\n- md5: {digits}\n  hash: md5\n  path: d.bin\n")
        put(tmp_path, f"lfs-objects/{sha[:2]}/{sha[2:4]}/{sha}", BIG)
        put(tmp_path, "lfs/l.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(BIG)}\n")
        put(tmp_path, "out.bin", BIG)
        return root

    @pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
    def test_one_line_in_the_audit_log_and_a_reason_where_one_is_wanted(self, sources: Path, run: Run, words: list[str]) -> None:
        assert run("dvs", "config", "set", "require_reason", "true").code == 0
        refused = run("dvs", *words, "--json")
        assert (refused.code, refused.records[-1]["error"]["rule"]) == (2, "dvs-reason")
        assert run("dvs", *words, "--dry-run").code == 0
        assert not (sources / "dvs.lock").exists()
        assert run("dvs", *words, "-m", "because").code == 0
        lines = [line for line in audited(sources.parent / "store") if line.get("reason") == "because"]
        assert len(lines) == 1
        assert run("dvs", "log", "--json").records[0]["message"] == "because"

    @pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
    def test_what_cannot_be_written_into_the_audit_log_does_not_happen(self, sources: Path, run: Run, words: list[str]) -> None:
        (sources.parent / "store/audit.log.jsonl").mkdir()
        before = tree(sources)
        ran = run("dvs", *words, "--json")
        assert ran.code == 1
        assert ran.records[-1]["error"]["rule"] in ("dvs-audit-failed", "path-not-a-file")
        assert {path: data for path, data in tree(sources).items() if not path.endswith(".dvs/state/clone")} == before

    @pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
    def test_a_storage_that_is_being_collected_is_left_alone(self, sources: Path, run: Run, words: list[str]) -> None:
        from resources.dvs.leases import hold
        from resources.storage import open_storage

        with hold(open_storage(sources.parent / "store", state=sources.parent / "lease"), "gc", "somebody", exclusive=True):
            ran = run("dvs", *words, "--json")
        assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, "dvs-storage-busy")
        assert not (sources / "dvs.lock").exists()

    @pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
    def test_outside_of_a_repository(self, sources: Path, run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        (sources.parent / "elsewhere").mkdir()
        monkeypatch.chdir(sources.parent / "elsewhere")
        assert run("dvs", *words, "--json").records[-1]["error"]["rule"] == "dvs-not-initialized"

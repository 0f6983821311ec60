"""`headwater dvs …`: tracking files, bringing them back, going back, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]


def git(root: Path, *words: str) -> str:
    given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without a repository of versioned data in it."""
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def root(bare: Path, run: Run) -> Path:
    assert run("dvs", "init", "../store").code == 0
    return bare


def put(root: Path, path: str, data: bytes | str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode() if isinstance(data, str) else data)
    return target


def statuses(run: Run, *arguments: str) -> dict[str, str]:
    ran = run("dvs", "status", "--json", *arguments)
    return {record["path"]: record["status"] for record in ran.records if "path" in record}


def outcomes(ran: Ran) -> dict[str, str]:
    return {record["path"]: record["outcome"] for record in ran.records if "outcome" in record}


def objects(root: Path) -> list[str]:
    """The oids that the storage holds."""
    from resources.dvs.opening import open_repo
    from resources.workspace import open_workspace

    repo = open_repo(open_workspace(root), "")
    try:
        return sorted(oid for oid, _size in repo.objects.list())
    finally:
        repo.close()


class TestInit:
    def test_case_19_the_same_settings_again_change_nothing_and_others_are_refused(self, bare: Path, run: Run) -> None:
        assert run("dvs", "init", "../store").code == 0
        before = (bare / "dvs.toml").read_bytes()
        again = run("dvs", "init", "../store", "--json")
        assert (again.code, again.records[0]["existed"]) == (0, True)
        assert (bare / "dvs.toml").read_bytes() == before
        other = run("dvs", "init", "../elsewhere", "--json")
        assert other.code == 1
        assert other.records[-1]["error"]["rule"] == "dvs-config-mismatch"
        assert not (bare.parent / "elsewhere").exists()

    def test_case_20_a_nested_place_is_made_and_a_file_or_unknown_group_is_refused(self, bare: Path, run: Run) -> None:
        put(bare.parent, "a-file", b"")
        for storage, options, rule in (
            ("../a-file", (), "dvs-storage-error"),
            ("../x", ("--group", "nobody-has-this-group"), "group-unknown"),
            ("inside/store", (), "dvs-config-error"),
        ):
            ran = run("dvs", "init", storage, *options, "--json")
            assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, rule)
            assert not (bare / "dvs.toml").exists()
        assert run("dvs", "init", "../deep/er/store").code == 0
        assert (bare.parent / "deep/er/store").is_dir()

    def test_the_state_of_a_clone_is_hidden_and_sidecars_are_not(self, bare: Path, run: Run) -> None:
        put(bare, ".gitignore", "*.tmp")
        assert run("dvs", "init", "../store").code == 0
        assert (bare / ".gitignore").read_text() == "*.tmp\n/.dvs/\n"
        put(bare, "a.csv", "1")
        assert run("dvs", "add", "a.csv").code == 0
        assert sorted(git(bare, "status", "--short", "-uall").split()[1::2]) == [
            ".gitattributes",
            ".gitignore",
            "a.csv.dvs",
            "dvs.lock",
            "dvs.toml",
        ]

    @pytest.mark.parametrize("mode", ["999", "abc", "77777"])
    def test_case_07_a_mode_is_octal(self, bare: Path, run: Run, mode: str) -> None:
        assert run("dvs", "init", "../store", "--permissions", mode).code == 2

    def test_modes_do_not_depend_on_the_umask(self, bare: Path, run: Run) -> None:
        old = os.umask(0o077)
        try:
            assert run("dvs", "init", "../store", "--permissions", "664").code == 0
            put(bare, "big.bin", os.urandom(100_000))
            put(bare, "small.bin", b"x")
            assert run("dvs", "add", "big.bin", "small.bin").code == 0
        finally:
            os.umask(old)
        for path in (bare.parent / "store").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            wanted = 0o775 if path.is_dir() else 0o664 if path.name in ("audit.log.jsonl", "headwater-remote") else 0o444
            assert mode & 0o777 == wanted, path


class TestAdd:
    def test_case_22_and_24_a_file_is_copied_once_and_again_when_it_changes(self, root: Path, run: Run) -> None:
        put(root, "data.csv", "content of eighteen")
        put(root, "two.txt", "content two")
        first = run("dvs", "add", "data.csv", "two.txt", "--json", "-m", "first")
        assert outcomes(first) == {"data.csv": "added", "two.txt": "added"}
        assert first.records[-1]["summary"]["added"] == 2
        sidecar = json.loads((root / "data.csv.dvs").read_text())
        assert (sidecar["size"], sidecar["message"]) == (19, "first")
        assert outcomes(run("dvs", "add", "data.csv", "--json")) == {"data.csv": "already_tracked"}
        put(root, "data.csv", "other content")
        assert outcomes(run("dvs", "add", "data.csv", "--json")) == {"data.csv": "added"}
        lock = json.loads((root / "dvs.lock").read_text())
        assert [entry["path"] for entry in lock["entries"]] == ["data.csv", "two.txt"]
        assert lock["entries"][0]["bytes"] == 13

    def test_case_23_a_missing_file_is_a_row_and_the_others_go_on(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        ran = run("dvs", "add", "gone.csv", "a.csv", "--json")
        assert ran.code == 1
        assert outcomes(ran) == {"a.csv": "added", "gone.csv": "error"}
        assert not (root / "gone.csv.dvs").exists()

    def test_case_23_before_init_nothing_works(self, bare: Path, run: Run) -> None:
        put(bare, "a.csv", "1")
        ran = run("dvs", "add", "a.csv", "--json")
        assert ran.code == 2
        assert "headwater dvs init" in str(ran.records[-1]["error"]) or "headwater init dvs" in str(ran.records[-1]["error"])

    def test_case_25_globs(self, root: Path, run: Run) -> None:
        for name in ("a.txt", "b.txt", "c.csv", "sub/d.txt"):
            put(root, name, name)
        assert set(outcomes(run("dvs", "add", "*.txt", "--json"))) == {"a.txt", "b.txt"}
        assert set(outcomes(run("dvs", "add", "**/*.txt", "--json"))) == {"a.txt", "b.txt", "sub/d.txt"}
        assert set(outcomes(run("dvs", "add", ".", "--glob", "**/*.csv", "--json"))) == {"c.csv"}
        none = run("dvs", "add", "*.parquet", "--json")
        assert (none.code, none.records[0]["error"]["rule"]) == (1, "dvs-no-files-matched")

    @pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("xxh3", 16)])
    def test_case_26_and_32_other_algorithms(self, bare: Path, run: Run, algorithm: str, digits: int) -> None:
        assert run("dvs", "init", "../store", "--hash", algorithm).code == 0
        put(bare, "a.csv", "some bytes")
        assert run("dvs", "add", "a.csv").code == 0
        sidecar = json.loads((bare / "a.csv.dvs").read_text())
        assert (sidecar["hash_algo"], len(sidecar["blake3_checksum"])) == (algorithm, digits)
        assert outcomes(run("dvs", "add", "a.csv", "--json")) == {"a.csv": "already_tracked"}
        (bare / "a.csv").unlink()
        assert outcomes(run("dvs", "get", "--json")) == {"a.csv": "retrieved"}
        assert (bare / "a.csv").read_text() == "some bytes"
        put(bare, "a.csv", "other bytes")
        assert run("dvs", "get").code == 1
        assert run("dvs", "get", "--rescue").code == 0
        assert (bare / "a.csv").read_text() == "some bytes"

    def test_case_27_any_bytes_and_names(self, root: Path, run: Run) -> None:
        files = {
            "empty": b"",
            "all.bin": bytes(range(256)),
            "pattern.bin": bytes(range(256)) * 4096,
            "a/b/c/d/e/deep.txt": b"deep",
            "with space.csv": b"1",
            "da-sh.v1.2.tar.gz": b"2",
            "größe [1]*?.csv": b"3",
            "-dash": b"4",
            "#hash !bang": b"5",
            "trailing ": b"6",
        }
        for path, data in files.items():
            put(root, path, data)
        assert run("dvs", "add", ".").code == 0
        ignored = git(root, "status", "--short", "-uall", "-z").split("\0")
        assert not [path for path in files if f"?? {path}" in ignored]
        for path in files:
            (root / path).unlink()
        assert run("dvs", "get").code == 0
        assert {path: (root / path).read_bytes() for path in files} == files

    def test_case_21_lines_of_others_in_gitignore_stay_whole(self, root: Path, run: Run) -> None:
        before = "/odd\u2028name\x0c\n\n# no line feed behind the last".encode()
        (root / ".gitignore").write_bytes(before)
        put(root, "a.csv", "1")
        assert run("dvs", "add", "a.csv").code == 0
        assert (root / ".gitignore").read_bytes() == before + b"\n/a.csv\n"
        assert run("dvs", "rm", "a.csv").code == 0
        assert (root / ".gitignore").read_bytes() == before + b"\n"

    def test_case_28_and_29_the_same_bytes_are_one_object(self, root: Path, run: Run) -> None:
        put(root, "a.bin", "same")
        put(root, "b.bin", "same")
        put(root, "c.bin", "other")
        assert run("dvs", "add", ".").code == 0
        assert len(objects(root)) == 2
        put(root, "c.bin", "same")
        assert outcomes(run("dvs", "add", "c.bin", "--json")) == {"c.bin": "added"}
        assert statuses(run) == {"a.bin": "current", "b.bin": "current", "c.bin": "current"}
        assert len(objects(root)) == 2

    def test_case_30_a_sidecar_means_its_file_and_own_files_are_left_out(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        assert run("dvs", "add", "a.csv").code == 0
        put(root, "a.csv", "2")
        assert outcomes(run("dvs", "add", "a.csv.dvs", "--json")) == {"a.csv": "added"}
        assert set(outcomes(run("dvs", "add", ".", "--json"))) == {"a.csv"}
        assert run("dvs", "add", "dvs.toml", "--json").records[0]["error"]["rule"] == "dvs-own-file"

    def test_case_50_one_file_by_many_names_is_one(self, root: Path, run: Run) -> None:
        put(root, "sub/a.csv", "1")
        ran = run("dvs", "add", "sub/a.csv", "./sub/a.csv", "sub/../sub/a.csv", root / "sub/a.csv", "--json")
        assert outcomes(ran) == {"sub/a.csv": "added"}
        outside = run("dvs", "add", "../outside.csv", "--json")
        assert (outside.code, outside.records[-1]["error"]["rule"]) == (2, "dvs-file-outside-repo")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file, so nothing is unreadable here")
    def test_case_51_an_unreadable_file_is_a_row(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1").chmod(0)
        put(root, "b.csv", "2").chmod(0o444)
        ran = run("dvs", "add", ".", "--json")
        assert (ran.code, outcomes(ran)) == (1, {"a.csv": "error", "b.csv": "added"})

    def test_case_52_a_dry_run_says_the_same_and_writes_nothing(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        before = sorted(path for path in root.rglob("*") if ".headwater" not in path.parts and ".git" not in path.parts)
        assert outcomes(run("dvs", "add", ".", "--dry-run", "--json")) == {"a.csv": "added"}
        assert sorted(path for path in root.rglob("*") if ".headwater" not in path.parts and ".git" not in path.parts) == before
        assert objects(root) == []

    def test_case_53_compression_is_the_objects_own_matter(self, bare: Path, run: Run) -> None:
        assert run("dvs", "init", "../store", "--compression", "zstd").code == 0
        text = "the same line again\n" * 20_000
        put(bare, "a.csv", text)
        put(bare, "small.csv", text[:2000])
        assert run("dvs", "add", ".").code == 0
        assert run("dvs", "config", "set", "compression", "none").code == 0
        put(bare, "b.csv", text)
        put(bare, "c.csv", text + "more\n")
        assert run("dvs", "add", ".").code == 0
        for name in ("a.csv", "b.csv", "c.csv", "small.csv"):
            (bare / name).unlink()
        assert run("dvs", "get").code == 0
        assert (bare / "a.csv").read_text() == (bare / "b.csv").read_text() == text
        assert (bare / "c.csv").read_text() == text + "more\n"

    def test_case_54_a_touched_file_is_present(self, root: Path, run: Run) -> None:
        path = put(root, "a.csv", "1")
        assert run("dvs", "add", ".").code == 0
        os.utime(path, ns=(1, 1))
        assert outcomes(run("dvs", "add", ".", "--json")) == {"a.csv": "already_tracked"}

    def test_what_git_tracks_is_refused_with_the_command(self, root: Path, run: Run) -> None:
        put(root, "a b.csv", "1")
        git(root, "add", "a b.csv")
        ran = run("dvs", "add", "a b.csv", "--json")
        assert ran.code == 1
        error = ran.records[0]["error"]
        assert error["rule"] == "dvs-tracked-by-git"
        assert "git rm --cached -- 'a b.csv'" in error["fix"]
        assert not (root / "a b.csv.dvs").exists()

    def test_ignored_files_and_other_repositories_are_left_out(self, root: Path, run: Run) -> None:
        put(root, ".dvsignore", "*.log\n!keep.log\nbuild/\nsrc/*.tmp\n")
        for name in (
            "a.log",
            "keep.log",
            "build/x.bin",
            "src/a.tmp",
            "other/src/a.tmp",
            ".venv/y.bin",
            "nested/dvs.toml",
            "nested/z",
        ):
            put(root, name, name)
        assert set(outcomes(run("dvs", "add", ".", "--json"))) == {"keep.log", "other/src/a.tmp"}
        assert outcomes(run("dvs", "add", "a.log", "--json")) == {"a.log": "added"}

    def test_a_link_means_its_file_and_one_that_leads_out_is_refused(self, root: Path, run: Run) -> None:
        put(root, "real.csv", "1")
        put(root.parent, "secret.csv", "2")
        (root / "in.csv").symlink_to("real.csv")
        (root / "out.csv").symlink_to("../secret.csv")
        ran = run("dvs", "add", "in.csv", "out.csv", "--json")
        assert outcomes(ran) == {"out.csv": "error", "real.csv": "added"}
        assert not (root / "in.csv.dvs").exists()

    def test_a_lost_object_is_healed_by_adding_again(self, root: Path, run: Run) -> None:
        import shutil

        put(root, "a.csv", "1")
        assert run("dvs", "add", ".").code == 0
        shutil.rmtree(root.parent / "store" / "packs")
        assert statuses(run) == {"a.csv": "error"}
        assert outcomes(run("dvs", "add", ".", "--json")) == {"a.csv": "added"}
        assert statuses(run) == {"a.csv": "current"}

    def test_batch_reads_paths_from_standard_input(self, root: Path) -> None:
        import sys

        for name in ("a.csv", "b.csv", "c.csv"):
            put(root, name, name)
        ran = subprocess.run(
            [Path(sys.executable).with_name("headwater"), "dvs", "add", "--batch", "--json"],
            input="# a list\na.csv\n\nb.csv\n", capture_output=True, text=True, check=True, cwd=root,
        )  # fmt: skip
        assert [json.loads(line).get("path") for line in ran.stdout.splitlines()][:2] == ["a.csv", "b.csv"]

    def test_many_files_in_one_go(self, root: Path, run: Run) -> None:
        for number in range(450):
            put(root, f"many/{number % 5}/{number}.bin", f"file {number}")
        assert run("dvs", "add", "many").code == 0
        assert set(statuses(run).values()) == {"current"}
        assert len(json.loads((root / "dvs.lock").read_text())["entries"]) == 450
        for path in (root / "many").rglob("*.bin"):
            path.unlink()
        assert run("dvs", "get", "many/1", "many/2/**").code == 0
        assert len(list((root / "many").rglob("*.bin"))) == 180
        assert run("dvs", "get").code == 0
        assert (root / "many/3/13.bin").read_text() == "file 13"


class TestGetAndStatus:
    def test_case_31_deleted_and_brought_back(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        put(root, "b.csv", "2")
        assert run("dvs", "add", "a.csv").code == 0
        assert run("dvs", "config", "set", "metadata_format", "toml").code == 0
        assert run("dvs", "add", "b.csv").code == 0
        assert (root / "b.csv.dvs.toml").is_file()
        for name in ("a.csv", "b.csv"):
            (root / name).unlink()
        assert outcomes(run("dvs", "get", "--json")) == {"a.csv": "retrieved", "b.csv": "retrieved"}
        assert outcomes(run("dvs", "get", "--json")) == {"a.csv": "up_to_date", "b.csv": "up_to_date"}
        nothing = run("dvs", "get", "c.csv", "--json")
        assert (nothing.code, nothing.records[0]["error"]["rule"]) == (1, "dvs-metadata-not-found")

    def test_case_33_damaged_bytes_never_reach_the_working_tree(self, root: Path, run: Run) -> None:
        path = put(root, "a.bin", os.urandom(200_000))
        put(root, "small.bin", b"small")
        assert run("dvs", "add", ".").code == 0
        path.unlink()
        (root / "small.bin").unlink()
        for stored in (root.parent / "store").rglob("*"):
            if stored.is_file() and ("packs" in stored.parts or "blake3" in stored.parts):
                stored.chmod(0o600)
                data = bytearray(stored.read_bytes())
                data[len(data) // 3] ^= 1
                stored.write_bytes(data)
        ran = run("dvs", "get", "--json")
        assert ran.code == 1
        assert set(outcomes(ran).values()) == {"error"}
        assert not path.exists()
        assert not (root / "small.bin").exists()
        assert not list(root.rglob("*.hwtmp"))

    def test_case_34_a_folder_means_all_below_it(self, root: Path, run: Run) -> None:
        for name in ("x/a", "x/y/b", "z/c"):
            put(root, name, name)
        assert run("dvs", "add", ".").code == 0
        for name in ("x/a", "x/y/b", "z/c"):
            (root / name).unlink()
        assert set(outcomes(run("dvs", "get", "x", "--json"))) == {"x/a", "x/y/b"}

    def test_case_35_36_and_37_where_files_stand(self, root: Path, run: Run) -> None:
        assert run("dvs", "status").code == 0
        for name in ("current", "absent", "edited"):
            put(root, name, name)
        assert run("dvs", "add", ".").code == 0
        (root / "absent").unlink()
        put(root, "edited", "something else")
        put(root, "new", "new")
        put(root, "broken.dvs", "{")
        assert statuses(run) == {"current": "current", "absent": "absent", "edited": "unsynced", "broken": "error"}
        assert statuses(run, "--untracked")["new"] == "untracked"
        plain = run("dvs", "status", "--porcelain")
        assert plain.out.splitlines() == ["D absent", "! broken", "M edited"]
        assert plain.code == 0
        (root / "broken.dvs").unlink()
        assert run("dvs", "add", "edited").code == 0
        assert statuses(run)["edited"] == "current"

    def test_case_38_status_changes_nothing(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        assert run("dvs", "add", ".").code == 0

        def seen() -> dict[str, int]:
            left = (path for path in root.rglob("*") if not {".headwater", ".git"} & set(path.parts))
            return {str(path): path.stat().st_mtime_ns for path in left}

        before = seen()
        assert run("dvs", "status").code == 0
        assert seen() == before

    def test_unsaved_bytes_are_refused_then_rescued(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "recorded")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "edited and nowhere saved")
        refused = run("dvs", "get", "--json")
        assert (refused.code, refused.records[0]["error"]["rule"]) == (1, "dvs-unsaved")
        assert (root / "a.csv").read_text() == "edited and nowhere saved"
        assert run("dvs", "get", "--rescue").code == 0
        assert (root / "a.csv").read_text() == "recorded"
        assert len(objects(root)) == 2

    def test_bytes_that_are_saved_may_be_replaced(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one")
        assert run("dvs", "add", ".").code == 0
        first = (root / "a.csv.dvs").read_bytes()
        put(root, "a.csv", "two")
        assert run("dvs", "add", ".").code == 0
        (root / "a.csv.dvs").write_bytes(first)
        assert run("dvs", "get").code == 0
        assert (root / "a.csv").read_text() == "one"

    def test_case_40_materialize_follows_the_manifest(self, root: Path, run: Run) -> None:
        for name in ("dir/a", "dir/b", "dir/c"):
            put(root, name, name)
        assert run("dvs", "add", ".").code == 0
        import shutil

        shutil.rmtree(root / "dir")
        assert set(outcomes(run("dvs", "materialize", "--json")).values()) == {"materialized"}
        assert set(outcomes(run("dvs", "materialize", "--json")).values()) == {"up_to_date"}
        shutil.rmtree(root.parent / "store" / "packs")
        shutil.rmtree(root / "dir")
        ran = run("dvs", "materialize", "--json")
        assert (ran.code, ran.records[0]["error"]["rule"]) == (1, "dvs-storage-missing")

    def test_a_folder_or_link_in_the_place_of_a_file_is_left_alone(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        put(root, "b.csv", "2")
        put(root.parent, "target", "precious")
        assert run("dvs", "add", ".").code == 0
        (root / "a.csv").unlink()
        (root / "a.csv").mkdir()
        (root / "b.csv").unlink()
        (root / "b.csv").symlink_to("../target")
        ran = run("dvs", "get", "--json")
        assert {record["error"]["rule"] for record in ran.records if "error" in record} == {"dvs-file-in-the-way"}
        assert (root.parent / "target").read_text() == "precious"


class TestMoveAndRemove:
    def test_a_file_moves_with_all_that_belongs_to_it(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        assert run("dvs", "add", "a.csv").code == 0
        assert outcomes(run("dvs", "mv", "a.csv", "sub/b.csv", "--json")) == {"sub/b.csv": "moved"}
        assert (root / "sub/b.csv").read_text() == "1"
        assert not (root / "a.csv").exists()
        assert not (root / "a.csv.dvs").exists()
        assert (root / "sub/.gitignore").read_text() == "/b.csv\n"
        assert "a.csv" not in (root / ".gitignore").read_text()
        assert statuses(run) == {"sub/b.csv": "current"}
        assert json.loads((root / "dvs.lock").read_text())["entries"][0]["path"] == "sub/b.csv"
        assert run("dvs", "undo").code == 0
        assert (root / "a.csv").read_text() == "1"
        assert statuses(run) == {"a.csv": "current"}

    def test_nothing_is_moved_over(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        put(root, "b.csv", "2")
        assert run("dvs", "add", "a.csv").code == 0
        ran = run("dvs", "mv", "a.csv", "b.csv", "--json")
        assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, "dvs-file-in-the-way")
        assert (root / "b.csv").read_text() == "2"
        assert run("dvs", "mv", "nothing", "x", "--json").records[-1]["error"]["rule"] == "dvs-metadata-not-found"

    def test_untracking_keeps_file_and_object(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1")
        put(root, "b.csv", "2")
        assert run("dvs", "add", ".").code == 0
        assert outcomes(run("dvs", "rm", "a.csv", "--json")) == {"a.csv": "removed"}
        assert (root / "a.csv").exists()
        assert "a.csv" not in (root / ".gitignore").read_text()
        assert statuses(run) == {"b.csv": "current"}
        put(root, "b.csv", "unsaved")
        refused = run("dvs", "rm", "b.csv", "--delete", "--json")
        assert (refused.code, refused.records[0]["error"]["rule"]) == (1, "dvs-unsaved")
        assert (root / "b.csv").read_text() == "unsaved"
        assert (root / "b.csv.dvs").exists()
        assert len(objects(root)) == 2
        assert run("dvs", "rm").code == 2


class TestHistory:
    def test_case_42_the_log_is_newest_first(self, root: Path, run: Run) -> None:
        assert run("dvs", "log", "--json").records == []
        for number in range(5):
            put(root, "a.csv", str(number))
            assert run("dvs", "add", ".", "-m", f"message {number}").code == 0
        records = run("dvs", "log", "--json").records
        assert [record["index"] for record in records] == [0, 1, 2, 3, 4]
        assert records[0]["message"] == "message 4"
        assert len(run("dvs", "log", "-n", "3", "--json").records) == 3

    def test_case_43_44_and_45_going_back(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one")
        assert run("dvs", "config", "set", "metadata_format", "toml").code == 0
        assert run("dvs", "add", ".", "-m", "kept").code == 0
        assert run("dvs", "config", "set", "metadata_format", "json").code == 0
        first = run("dvs", "log", "--json").records[0]["state"]
        put(root, "a.csv", "two")
        put(root, "b.csv", "new")
        assert run("dvs", "add", ".").code == 0
        ran = run("dvs", "rollback", "1", "--json")
        assert ran.code == 0
        assert ran.records[0]["removed"] == ["b.csv"]
        assert (root / "a.csv").read_text() == "one"
        assert (root / "b.csv").read_text() == "new"
        assert (root / "a.csv.dvs.toml").is_file()
        assert 'message = "kept"' in (root / "a.csv.dvs.toml").read_text()
        assert not (root / "a.csv.dvs").exists()
        assert not (root / "b.csv.dvs").exists()
        assert [entry["path"] for entry in json.loads((root / "dvs.lock").read_text())["entries"]] == ["a.csv"]
        assert run("dvs", "log", "--json").records[0]["state"] == first
        again = run("dvs", "rollback", first[:12])
        assert again.code == 0
        assert len(run("dvs", "log", "--json").records) == 3
        assert run("dvs", "undo").code == 0
        assert (root / "a.csv").read_text() == "two"
        assert statuses(run) == {"a.csv": "current", "b.csv": "current"}
        for bad in ("99", "abcdef12", "HEAD~99", "1999-01-01", "@{7}"):
            missing = run("dvs", "rollback", bad, "--json")
            assert (missing.code, missing.records[-1]["error"]["rule"]) == (1, "dvs-not-found"), bad

    def test_case_44_back_to_nothing(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one")
        assert run("dvs", "add", ".").code == 0
        ran = run("dvs", "undo", "--json")
        assert (ran.code, ran.records[0]["removed"]) == (0, ["a.csv"])
        assert not (root / "a.csv.dvs").exists()
        assert (root / "a.csv").read_text() == "one"
        assert run("dvs", "undo").code == 0
        assert statuses(run) == {"a.csv": "current"}

    def test_going_back_refuses_to_lose_edits(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "two")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "edited")
        before = (root / "a.csv.dvs").read_bytes()
        refused = run("dvs", "rollback", "1", "--json")
        assert (refused.code, refused.records[-1]["error"]["rule"]) == (1, "dvs-unsaved")
        assert (root / "a.csv.dvs").read_bytes() == before
        text_only = run("dvs", "rollback", "1", "--no-materialize")
        assert text_only.code == 0
        assert (root / "a.csv").read_text() == "edited"
        assert statuses(run) == {"a.csv": "unsynced"}
        assert run("dvs", "undo", "--force").code == 0
        assert (root / "a.csv").read_text() == "two"
        assert len(objects(root)) == 3

    def test_what_a_file_was(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one")
        assert run("dvs", "add", ".").code == 0
        put(root, "a.csv", "two")
        assert run("dvs", "add", ".").code == 0
        assert run("dvs", "show", "a.csv").out == "two"
        assert run("dvs", "show", "a.csv@1").out == "one"
        assert run("dvs", "show", "a.csv@HEAD~1").out == "one"
        oid = run("dvs", "show", "a.csv@1", "--json").records[0]["oid"]
        assert run("dvs", "show", oid).out == "one"
        assert run("dvs", "show", "a.csv@1", "-o", "old.csv").code == 0
        assert (root / "old.csv").read_text() == "one"

    def test_the_audit_log_names_who_what_and_why(self, root: Path, run: Run) -> None:
        from resources.dvs.audit import AuditLog
        from resources.storage.local import LocalStorage

        put(root, "a.csv", "one")
        assert run("dvs", "add", ".", "-m", "the reason").code == 0
        put(root, "b.csv", "two")
        assert run("dvs", "add", ".").code == 0
        log = AuditLog(LocalStorage(root.parent / "store", state=root.parent / "state"))
        first, second = log.records()
        assert (first.operation, first.reason, list(first.files)) == ("add", "the reason", ["a.csv"])
        assert list(second.files) == ["b.csv"]
        assert log.verify() == (2, [])

    def test_a_reason_may_be_required(self, bare: Path, run: Run) -> None:
        assert run("dvs", "init", "../store", "--require-reason").code == 0
        put(bare, "a.csv", "one")
        assert run("dvs", "add", ".", "--json").records[-1]["error"]["rule"] == "dvs-reason"
        assert run("dvs", "add", ".", "-m", "because").code == 0


def test_rehash_names_everything_anew(bare: Path, run: Run) -> None:
    assert run("dvs", "init", "../store", "--hash", "xxh3").code == 0
    put(bare, "a.csv", "one")
    put(bare, "b.bin", os.urandom(100_000))
    assert run("dvs", "add", ".").code == 0
    assert outcomes(run("dvs", "rehash", "--to", "blake3", "--json")) == {"a.csv": "added", "b.bin": "added"}
    assert all(entry["oid"].startswith("blake3:") for entry in json.loads((bare / "dvs.lock").read_text())["entries"])
    assert run("dvs", "config", "get", "hash_algo").out.strip() == "blake3"
    (bare / "b.bin").unlink()
    assert run("dvs", "get").code == 0
    assert statuses(run) == {"a.csv": "current", "b.bin": "current"}


def test_settings_of_the_repository_and_of_the_clone(root: Path, run: Run) -> None:
    assert run("dvs", "config", "show", "--json").records[0]["storage_dir"] == "../store"
    assert run("dvs", "config", "set", "permissions", "0o664").code == 0
    assert run("dvs", "config", "get", "permissions").out.strip() == "664"
    for key, value in (("permissions", "999"), ("hash_algo", "md5"), ("nonsense", "1"), ("group", "")):
        assert run("dvs", "config", "set", key, value).code == 2, key
    assert run("dvs", "local-config", "set", "auth.token", "secret-token").code == 0
    assert run("dvs", "local-config", "set", "base_url", "http://127.0.0.1:1").code == 0
    assert stat.S_IMODE((root / ".dvs/config.toml").stat().st_mode) == 0o600
    shown = run("dvs", "local-config", "show")
    assert "secret-token" not in shown.out + shown.err
    assert run("dvs", "local-config", "get", "auth_token").out.strip() == "set"
    assert run("dvs", "local-config", "unset", "auth.token").code == 0
    assert "auth" not in (root / ".dvs/config.toml").read_text()


class TestWhatUsersAreTold:
    def test_a_dry_run_says_what_would_be_done(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1\n")
        assert run("dvs", "add", ".", "--dry-run").out == "would be added  a.csv  2 B\ndry run: 1 added (2 B)\n"
        ran = run("dvs", "add", ".", "--dry-run", "--json")
        assert ran.records[-1]["summary"]["dry_run"] is True
        assert not (root / "a.csv.dvs").exists()

    def test_a_folder_is_added_without_what_git_tracks_and_a_file_that_is_named_is_refused(self, root: Path, run: Run) -> None:
        put(root, "README.md", "text\n")
        put(root, "data.bin", "data\n")
        git(root, "add", "README.md")
        ran = run("dvs", "add", ".")
        assert ran.code == 0
        assert "1 file left to git, which tracks them: README.md" in ran.err
        assert not (root / "README.md.dvs").exists()
        assert run("dvs", "add", ".", "--json").records[-1]["summary"]["left_to_git"] == ["README.md"]
        named = run("dvs", "add", "README.md", "--json")
        assert (named.code, named.records[0]["error"]["rule"]) == (1, "dvs-tracked-by-git")

    @pytest.mark.parametrize("path", [".git", ".git/config", ".dvs", ".headwater"])
    def test_what_belongs_to_programs_is_never_added(self, root: Path, run: Run, path: str) -> None:
        put(root, ".headwater/x", "state")
        put(root, "a.csv", "1\n")
        run("dvs", "add", "a.csv")
        ran = run("dvs", "add", path, "--json")
        assert ran.code == 1
        assert ran.records[0]["error"]["rule"] == "dvs-never-data"
        assert [found for found in root.rglob("*.dvs") if found.is_file()] == [root / "a.csv.dvs"]

    def test_rescued_bytes_are_named_with_the_way_back(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "one\n")
        run("dvs", "add", "a.csv")
        put(root, "a.csv", "unsaved\n")
        ran = run("dvs", "get", "--rescue")
        (line,) = [line for line in ran.out.splitlines() if line.startswith("rescued")]
        oid = line.split("show ")[1].split()[0]
        assert run("dvs", "show", oid, "-o", "back.csv").code == 0
        assert (root / "back.csv").read_text() == "unsaved\n"

    def test_many_errors_of_one_cause_are_not_all_printed(self, root: Path, run: Run) -> None:
        for number in range(60):
            put(root, f"f{number:02}", f"{number}\n")
        run("dvs", "add", ".")
        for number in range(60):
            put(root, f"f{number:02}", f"changed {number}\n")
        ran = run("dvs", "get")
        assert ran.code == 1
        assert "… and 20 more errors; --json lists them all" in ran.err
        assert ran.err.count("error:") == 40
        assert len([record for record in run("dvs", "get", "--json").records if "error" in record]) == 60

    def test_one_file_that_cannot_be_named_does_not_keep_the_others_out(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1\n")
        put(root, "b\\c.csv", "2\n")
        ran = run("dvs", "add", ".", "--json")
        assert ran.code == 1
        assert outcomes(ran) == {"a.csv": "added", "b\\c.csv": "error"}
        assert (root / "a.csv.dvs").exists()

    def test_a_conflict_that_git_left_in_a_sidecar_is_called_one(self, root: Path, run: Run) -> None:
        put(root, "a.csv", "1\n")
        run("dvs", "add", "a.csv")
        text = (root / "a.csv.dvs").read_text()
        put(root, "a.csv.dvs", f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n")
        ran = run("check", "--json")
        (record,) = [record for record in ran.records if record.get("rule") == "dvs-sidecar"]
        assert record["message"] == "git has left a merge conflict in it"
        assert "git checkout --ours" in record["fix"]

    @pytest.mark.parametrize("how", ["gone", "an empty mount point"])
    def test_a_storage_that_is_not_mounted_is_not_made_anew(self, root: Path, run: Run, how: str) -> None:
        put(root, "a.csv", "1\n")
        run("dvs", "add", "a.csv")
        store = root.parent / "store"
        store.rename(root.parent / "away")
        if how != "gone":
            store.mkdir()
        put(root, "b.csv", "2\n")
        for words in (("add", "b.csv"), ("rm", "a.csv"), ("gc", "--yes")):
            ran = run("dvs", *words, "--json")
            assert ran.code == 1
            assert ran.records[-1]["error"]["rule"] == "dvs-storage-absent", words
        assert "is it mounted?" in run("dvs", "status").err
        assert not store.exists() or not list(store.iterdir())
        assert not (root / "b.csv.dvs").exists()
        assert (root / "a.csv.dvs").exists()
        if how != "gone":
            store.rmdir()
        (root.parent / "away").rename(store)
        assert run("dvs", "add", "b.csv").code == 0
        # Somebody who wants an empty one says so.
        store.rename(root.parent / "away")
        assert run("dvs", "init", "../store").code == 0
        put(root, "c.csv", "3\n")
        assert run("dvs", "add", "c.csv").code == 0

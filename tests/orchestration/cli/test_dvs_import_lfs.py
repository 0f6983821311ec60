"""`headwater dvs import-lfs`: what git-lfs tracks, made with the real git-lfs where it is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.dvs.lfs_pointers import Pointer, read_pointer
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git, objects, outcomes, put, statuses
from tests.orchestration.cli.test_dvs_import import audited, lock, rules, tree

Run = Callable[..., Ran]

needs_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="git-lfs is not installed: files tracked by it cannot be made"
)

BIG = os.urandom(150_000)
FILES = {"a.bin": b"small\n", "deep/big.bin": BIG, "ümläut x.bin": bytes(range(256))}


def pointer(data: bytes, *lines: str) -> str:
    digits = hashlib.sha256(data).hexdigest()
    return "\n".join(["version https://git-lfs.github.com/spec/v1", *lines, f"oid sha256:{digits}", f"size {len(data)}", ""])


def stored(top: Path, data: bytes) -> Path:
    digits = hashlib.sha256(data).hexdigest()
    return top / ".git/lfs/objects" / digits[:2] / digits[2:4] / digits


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three files that git-lfs tracks, and one that git has."""
    root = tmp_path / "lfs"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    git(root, "lfs", "install", "--local")
    put(root, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    for path, data in FILES.items():
        put(root, path, data)
    put(root, "plain.txt", "text\n")
    git(root, "add", "-A")
    git(root, "commit", "-m", "data")
    return root


@pytest.fixture
def root(lfs: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """The same checkout as a repository of versioned data."""
    monkeypatch.chdir(lfs)
    assert run("dvs", "init", "../store").code == 0
    return lfs


@needs_lfs
def test_files_are_taken_over_in_place_and_out_of_git(root: Path, run: Run) -> None:
    ran = run("dvs", "import-lfs", "--json", "-m", "from LFS")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(FILES, "imported"))
    assert "--untrack" in ran.err
    assert lock(root) == {path: len(data) for path, data in FILES.items()}
    assert statuses(run) == dict.fromkeys(FILES, "current")
    assert [(line["operation"], line["reason"]) for line in audited(root.parent / "store")] == [("import", "from LFS")]
    assert "a.bin" in git(root, "ls-files")
    again = run("dvs", "import-lfs", "--untrack", "--json")
    assert (again.code, outcomes(again)) == (0, dict.fromkeys(FILES, "already_tracked"))
    assert "a.bin" not in git(root, "ls-files").split()
    assert git(root, "check-ignore", "a.bin", "deep/big.bin").split() == ["a.bin", "deep/big.bin"]
    # Now they are files like any other.
    put(root, "a.bin", "changed")
    assert run("dvs", "add", "a.bin").code == 0


@needs_lfs
def test_pointers_in_the_working_tree_become_files_and_edited_files_stay(root: Path, run: Run) -> None:
    for path, data in FILES.items():
        put(root, path, pointer(data))
    (root / "a.bin").chmod(0o755)
    put(root, "ümläut x.bin", pointer(b"another"))
    before = tree(root, root.parent / "store")
    assert outcomes(run("dvs", "import-lfs", "--dry-run", "--json")) == dict.fromkeys(FILES, "imported")
    assert tree(root, root.parent / "store") == before
    assert run("dvs", "import-lfs").code == 0
    assert ((root / "a.bin").read_bytes(), (root / "deep/big.bin").read_bytes()) == (b"small\n", BIG)
    assert os.access(root / "a.bin", os.X_OK)
    assert (root / "ümläut x.bin").read_text() == pointer(b"another")


@needs_lfs
def test_files_that_were_left_pointers_become_files_the_next_time(root: Path, run: Run) -> None:
    assert run("dvs", "import-lfs").code == 0
    put(root, "deep/big.bin", pointer(BIG))
    assert run("dvs", "import-lfs").code == 0
    assert (root / "deep/big.bin").read_bytes() == BIG


@needs_lfs
def test_missing_and_damaged_objects_are_rows_and_the_others_go_on(root: Path, run: Run) -> None:
    for path in FILES:
        (root / path).unlink()
    stored(root, b"small\n").unlink()
    held = stored(root, BIG)
    held.chmod(0o644)
    held.write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
    ran = run("dvs", "import-lfs", "--json")
    assert (ran.code, rules(ran)) == (1, {"a.bin": "dvs-storage-missing", "deep/big.bin": "dvs-hash-mismatch"})
    assert list(lock(root)) == ["ümläut x.bin"]
    assert len(objects(root)) == 1
    # The working file has them: git-lfs writes it back, and the command finishes.
    held.unlink()
    put(root, "deep/big.bin", BIG)
    put(root, "a.bin", "small\n")
    again = run("dvs", "import-lfs", "--json")
    assert (again.code, again.records[-1]["summary"]["imported"]) == (0, 2)


@needs_lfs
def test_a_revision_and_a_folder_of_it(root: Path, run: Run) -> None:
    git(root, "rm", "-r", "-q", "deep")
    put(root, "a.bin", "second\n")
    git(root, "add", "-A")
    git(root, "commit", "-m", "second")
    assert sorted(outcomes(run("dvs", "import-lfs", "--dry-run", "--json"))) == ["a.bin", "ümläut x.bin"]
    assert sorted(outcomes(run("dvs", "import-lfs", "--at", "HEAD~1", "--dry-run", "--json"))) == sorted(FILES)
    ran = run("dvs", "import-lfs", "deep", "--at", "HEAD~1", "--json")
    assert ran.records[-1]["error"]["rule"] == "dvs-file-not-found"
    (root / "deep").mkdir()
    assert outcomes(run("dvs", "import-lfs", "deep", "--at", "HEAD~1", "--json")) == {"deep/big.bin": "imported"}
    for bad in ("nowhere", "--all", "HEAD:x"):
        assert run("dvs", "import-lfs", "--at", bad, "--json").code != 0


@needs_lfs
def test_a_file_that_git_has_itself_by_now_is_not_taken_from_it(root: Path, run: Run) -> None:
    put(root, ".gitattributes", "")
    put(root, "a.bin", "git has it now\n")
    git(root, "add", ".gitattributes", "a.bin")
    git(root, "commit", "-m", "out of LFS")
    ran = run("dvs", "import-lfs", "--at", "HEAD~1", "--untrack", "--json")
    assert (ran.code, rules(ran)) == (1, {"a.bin": "dvs-tracked-by-git"})
    assert "a.bin" in git(root, "ls-files").split()


@needs_lfs
def test_another_checkout_below_a_prefix(lfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init")
    monkeypatch.chdir(work)
    assert run("dvs", "init", "../store", "--hash", "sha256").code == 0
    before = tree(lfs)
    ran = run("dvs", "import-lfs", "../lfs", "--prefix", "old", "--json")
    assert (ran.code, outcomes(ran)) == (0, {f"old/{path}": "imported" for path in FILES})
    assert tree(lfs) == before
    assert hashlib.sha256(BIG).hexdigest() in (work / "old/deep/big.bin.dvs").read_text()
    assert run("dvs", "get").code == 0
    assert (work / "old/deep/big.bin").read_bytes() == BIG


@needs_lfs
def test_a_clone_without_objects_and_the_storage_that_is_configured(root: Path, tmp_path: Path, run: Run) -> None:
    shutil.move(root / ".git/lfs/objects", tmp_path / "kept/objects")
    for path in FILES:
        (root / path).unlink()
    assert run("dvs", "import-lfs", "--dry-run").code == 1
    assert run("dvs", "import-lfs", "--dry-run", "--objects", "../kept/objects").code == 0
    git(root, "config", "lfs.storage", str(tmp_path / "kept"))
    assert run("dvs", "import-lfs").code == 0


def test_outside_of_git_pointers_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "plain"
    root.mkdir()
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    put(root, "a.bin", pointer(b"small\n"))
    put(root, "e.bin", pointer(b"other", "ext-0-foo sha256:" + "0" * 64))
    digits = hashlib.sha256(b"small\n").hexdigest()
    put(tmp_path, f"objects/{digits[:2]}/{digits[2:4]}/{digits}", b"small\n")
    ran = run("dvs", "import-lfs", "--objects", "../objects", "--json")
    assert (outcomes(ran), rules(ran)) == ({"a.bin": "imported", "e.bin": "error"}, {"e.bin": "dvs-import-format"})
    assert (root / "a.bin").read_bytes() == b"small\n"
    assert run("dvs", "import-lfs", "--at", "HEAD").code == 2


def test_where_there_is_nothing_of_lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    assert run("dvs", "import-lfs", "--json").records[-1]["error"]["rule"] == "dvs-no-files-matched"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (pointer(b"x"), Pointer(hashlib.sha256(b"x").hexdigest(), 1)),
        (pointer(b"x").replace("git-lfs.github", "hawser.github"), Pointer(hashlib.sha256(b"x").hexdigest(), 1)),
        (pointer(b"x", "ext-0-x sha256:00"), Pointer(hashlib.sha256(b"x").hexdigest(), 1, True)),
        (pointer(b"x").replace("size 1", "size -1"), None),
        (pointer(b"x").replace("size 1", "size 1e3"), None),
        (pointer(b"x").replace("sha256", "sha1"), None),
        (pointer(b"x").replace("oid ", "oid sha256:../"), None),
        (pointer(b"x") + "size 2\n", None),
        (pointer(b"x") + "a" * 1024, None),
        ("version https://git-lfs.github.com/spec/v1\n", None),
        ("", None),
    ],
)
def test_what_is_a_pointer(text: str, expected: Pointer | None) -> None:
    assert read_pointer(text.encode()) == expected

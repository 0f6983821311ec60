"""A store on a branch of its own: real repositories, clones and remotes; the user's own checkout is never touched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.git import GitError
from resources.notes.branch import DEFAULT_BRANCH, attach_branch, branch_of
from resources.notes.sync import sync
from resources.storage.local import LocalStorage
from schemas.errors import Refused, UsageError

NOTE = "---\nid: {id}\ntitle: {id}\ntags: [a]\n---\n\nFirst line.\n\nSecond line.\n\nThird line.\n"


def git(folder: Path, *words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("XDG_CONFIG_HOME", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)


def project(folder: Path) -> Path:
    """A checkout with one commit, a staged change, an edit and an untracked file."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    (folder / "code.py").write_text("one\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "-q", "-m", "Start")
    dirty(folder)
    return folder


def dirty(folder: Path) -> None:
    (folder / "code.py").write_text("staged\n")
    git(folder, "add", "code.py")
    (folder / "code.py").write_text("edited\n")
    (folder / "stray.txt").write_text("untracked\n")


def state(folder: Path) -> tuple[str, str, str, bytes]:
    """What must not change of the user's checkout: HEAD, its commit, status, and the index's entries."""
    return (
        git(folder, "rev-parse", "HEAD"),
        (folder / ".git/HEAD").read_text(),
        git(folder, "status", "--porcelain"),
        git(folder, "ls-files", "--stage").encode(),
    )


@pytest.fixture
def clones(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of a bare remote, the first with the store on its branch and shared."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    one = project(tmp_path / "one")
    git(one, "remote", "add", "origin", str(remote))
    git(one, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", str(remote), str(tmp_path / "two"))
    two = tmp_path / "two"
    git(two, "config", "user.name", "Bob")
    git(two, "config", "user.email", "bob@example.org")
    dirty(two)
    attach_branch(one / ".qipu")
    write(one, "qp-1")
    assert sync(one / ".qipu").pushed
    attach_branch(two / ".qipu")
    return one, two


def write(clone: Path, name: str, text: str | None = None) -> Path:
    path = clone / ".qipu/notes" / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(NOTE.format(id=name) if text is None else text)
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_store_goes_onto_an_orphan_branch_and_the_checkout_stays_as_it_is(tmp_path: Path) -> None:
    root = project(tmp_path / "one")
    before = state(root)
    store = root / ".qipu"
    (store / "notes").mkdir(parents=True)
    (store / "notes/qp-1.md").write_bytes(b"---\r\nid: qp-1\r\n---\r\n")
    lines = attach_branch(store)
    assert state(root) == before
    assert branch_of(store) == DEFAULT_BRANCH
    assert (store / "notes/qp-1.md").read_bytes() == b"---\r\nid: qp-1\r\n---\r\n"
    assert (root / ".git/info/exclude").read_text().count("/.qipu/") == 1
    assert any("new branch" in line for line in lines)
    assert git(root, "merge-base", "main", DEFAULT_BRANCH, check=False) == ""
    done = sync(store)
    assert (done.committed, done.pushed, done.remote) == (True, False, None)
    assert git(root, "ls-tree", "-r", "--name-only", DEFAULT_BRANCH).split() == [".gitattributes", ".gitignore", "notes/qp-1.md"]
    assert state(root) == before
    assert not sync(store).committed
    assert attach_branch(store) == []
    assert git(root, "status", "--porcelain", "--ignored").count(".qipu") == 1


def test_derived_files_stay_off_the_branch_and_bytes_stay_as_they_are(tmp_path: Path) -> None:
    root = project(tmp_path / "one")
    git(root, "config", "core.autocrlf", "true")
    store = root / ".qipu"
    attach_branch(store)
    data = b"\xef\xbb\xbf---\r\nid: qp-1\r\n---\r\nmixed\n\xe9"
    (store / "notes").mkdir()
    (store / "notes/qp-1.md").write_bytes(data)
    (store / "qipu.db").write_bytes(b"derived")
    (store / ".cache").mkdir()
    (store / ".cache/tags.json").write_bytes(b"{}")
    (store / ".gitignore").unlink()
    sync(store)
    names = git(root, "ls-tree", "-r", "--name-only", DEFAULT_BRANCH).split()
    assert names == [".gitattributes", "notes/qp-1.md"]
    blob = subprocess.run(
        ["git", "cat-file", "blob", f"{DEFAULT_BRANCH}:notes/qp-1.md"], cwd=root, capture_output=True, check=True
    )
    assert blob.stdout == data


def test_second_clone_attaches_and_both_share_what_they_write(clones: tuple[Path, Path]) -> None:
    one, two = clones
    before = state(one), state(two)
    assert (two / ".qipu/notes/qp-1.md").read_text() == NOTE.format(id="qp-1")
    write(two, "qp-2")
    assert sync(two / ".qipu").pushed
    done = sync(one / ".qipu")
    assert (done.pulled, done.pushed, done.committed) == (1, False, False)
    assert (one / ".qipu/notes/qp-2.md").read_text() == NOTE.format(id="qp-2")
    assert (state(one), state(two)) == before


def test_both_sides_of_a_note_are_merged_by_key_and_line(clones: tuple[Path, Path]) -> None:
    one, two = clones
    first, second = one / ".qipu/notes/qp-1.md", two / ".qipu/notes/qp-1.md"
    edit(first, "tags: [a]", "tags: [a, one]")
    edit(first, "First", "1st")
    edit(second, "tags: [a]", "tags: [a, two]")
    edit(second, "Third", "3rd")
    write(two, "qp-2")
    assert sync(one / ".qipu").pushed
    done = sync(two / ".qipu")
    assert (done.findings, done.pushed, done.pulled) == ([], True, 1)
    sync(one / ".qipu")
    assert first.read_text() == second.read_text()
    assert "tags: [a, two, one]" in first.read_text()
    assert "1st line.\n\nSecond line.\n\n3rd" in first.read_text()


def test_conflicts_are_reported_and_never_pushed(clones: tuple[Path, Path]) -> None:
    one, two = clones
    first, second = one / ".qipu/notes/qp-1.md", two / ".qipu/notes/qp-1.md"
    edit(first, "Second", "Ours")
    edit(second, "Second", "Theirs")
    sync(one / ".qipu")
    shared = git(one, "rev-parse", f"origin/{DEFAULT_BRANCH}")
    write(two, "qp-2")
    for _ in range(2):
        done = sync(two / ".qipu", prefix=".qipu")
        assert [(finding.rule, finding.path, finding.line) for finding in done.findings] == [
            ("note-conflict-markers", ".qipu/notes/qp-1.md", 9)
        ]
        assert not done.pushed
    assert git(two, "ls-remote", "origin", f"refs/heads/{DEFAULT_BRANCH}").split()[0] == shared
    text = second.read_text()
    assert "Ours" in text
    assert "Theirs" in text
    second.write_text(NOTE.format(id="qp-1").replace("Second", "Both"))
    done = sync(two / ".qipu")
    assert (done.findings, done.committed, done.pushed) == ([], True, True)
    sync(one / ".qipu")
    assert "Both line." in first.read_text()
    assert (one / ".qipu/notes/qp-2.md").exists()


def test_note_deleted_here_and_changed_there_is_kept(clones: tuple[Path, Path]) -> None:
    one, two = clones
    (one / ".qipu/notes/qp-1.md").unlink()
    edit(two / ".qipu/notes/qp-1.md", "Second", "Changed")
    sync(one / ".qipu")
    done = sync(two / ".qipu")
    assert done.pushed
    assert any("stays" in line for line in done.lines)
    sync(one / ".qipu")
    assert "Changed" in (one / ".qipu/notes/qp-1.md").read_text()


def test_branches_begun_apart_are_joined(tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    stores = []
    for name in ("one", "two"):
        root = project(tmp_path / name)
        attach_branch(root / ".qipu")
        write(root, f"qp-{name}")
        write(root, "qp-shared", f"---\nid: qp-shared\ntags: [{name}]\n---\nsame\n")
        git(root, "remote", "add", "origin", str(remote))
        stores.append(root / ".qipu")
    assert sync(stores[0]).pushed
    assert sync(stores[1]).pushed
    sync(stores[0])
    for store in stores:
        assert sorted(path.name for path in (store / "notes").iterdir()) == ["qp-one.md", "qp-shared.md", "qp-two.md"]
    assert "tags: [two, one]" in (stores[0] / "notes/qp-shared.md").read_text()


def test_lost_push_race_is_run_again(clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.notes import sync as module

    one, two = clones
    write(one, "qp-one")
    write(two, "qp-two")
    pushed = module._pushed
    raced: list[bool] = []

    def late(folder: Path, remote: str, branch: str) -> bool:
        if not raced:
            raced.append(True)
            monkeypatch.setattr(module, "_pushed", pushed)
            assert sync(two / ".qipu").pushed
            monkeypatch.setattr(module, "_pushed", late)
        return pushed(folder, remote, branch)

    monkeypatch.setattr(module, "_pushed", late)
    done = sync(one / ".qipu")
    assert (done.pushed, done.pulled) == (True, 1)
    assert (one / ".qipu/notes/qp-two.md").exists()


def test_detached_head_linked_worktrees_and_no_commits(tmp_path: Path) -> None:
    root = project(tmp_path / "one")
    git(root, "checkout", "-q", "--detach")
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"), "main")
    before = state(root)
    linked = tmp_path / "linked"
    attach_branch(linked / ".qipu")
    write(linked, "qp-1")
    assert sync(linked / ".qipu").committed
    assert state(root) == before
    assert git(linked, "status", "--porcelain") == ""
    with pytest.raises(Refused, match="checked out elsewhere"):
        attach_branch(root / ".qipu")
    assert not (root / ".qipu/.git").exists()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    attach_branch(fresh / ".qipu")
    write(fresh, "qp-1")
    assert sync(fresh / ".qipu").committed
    assert git(fresh, "log", "--format=%an", DEFAULT_BRANCH).splitlines() == ["Headwater", "Headwater"]


def test_files_that_differ_or_belong_to_the_checkout_are_not_touched(clones: tuple[Path, Path], tmp_path: Path) -> None:
    assert clones
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), str(tmp_path / "three"))
    three = tmp_path / "three"
    (three / ".qipu").mkdir()
    mine = write(three, "qp-1", "mine\n")
    with pytest.raises(Refused, match=r"notes/qp-1\.md"):
        attach_branch(three / ".qipu")
    assert mine.read_text() == "mine\n"
    assert not (three / ".qipu/.git").exists()
    assert [path.name for path in three.iterdir() if "worktree" in path.name] == []
    mine.unlink()
    attach_branch(three / ".qipu")
    assert mine.read_text() == NOTE.format(id="qp-1")
    root = project(tmp_path / "tracked")
    (root / ".qipu").mkdir()
    (root / ".qipu/a.md").write_text("x\n")
    git(root, "add", ".qipu")
    with pytest.raises(Refused, match="belong to the checked-out branch"):
        attach_branch(root / ".qipu")


def test_hooks_do_not_run(clones: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = clones
    for root in clones:
        for hook in ("pre-commit", "post-commit", "post-checkout", "pre-push", "post-merge", "commit-msg"):
            path = root / ".git/hooks" / hook
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
            path.chmod(0o755)
        git(root, "config", "core.fsmonitor", f"touch {tmp_path}/monitor-ran")
    write(one, "qp-one")
    write(two, "qp-two")
    assert sync(one / ".qipu").pushed
    assert sync(two / ".qipu").pushed
    assert not (tmp_path / "hook-ran").exists()
    assert not (tmp_path / "monitor-ran").exists()


def test_unreachable_remote_keeps_what_was_committed(clones: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = clones
    write(one, "qp-9")
    (tmp_path / "remote.git").rename(tmp_path / "away.git")
    with pytest.raises(GitError):
        sync(one / ".qipu")
    assert git(one, "ls-tree", "--name-only", f"{DEFAULT_BRANCH}:notes").split() == ["qp-1.md", "qp-9.md"]
    (tmp_path / "away.git").rename(tmp_path / "remote.git")
    assert sync(one / ".qipu").pushed


def test_lock_left_by_a_killed_sync_does_not_need_a_person(clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.notes import sync as module

    one, _ = clones
    own = Path(git(one / ".qipu", "rev-parse", "--path-format=absolute", "--git-dir"))
    (own / "index.lock").touch()
    write(one, "qp-9")
    with pytest.raises(GitError, match=r"index\.lock"):
        sync(one / ".qipu")  # it may be that of somebody at work
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    (own / "headwater").mkdir(exist_ok=True)
    (own / "headwater/syncing").touch()
    assert sync(one / ".qipu").pushed


def test_moved_checkout_still_syncs(clones: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = clones
    shutil.move(one, tmp_path / "moved")
    write(tmp_path / "moved", "qp-9")
    assert sync(tmp_path / "moved/.qipu").pushed


def test_remote_with_a_relative_path_is_seen_from_the_checkout(clones: tuple[Path, Path]) -> None:
    for clone in clones:
        git(clone, "remote", "set-url", "origin", "../remote.git")
    one, two = clones
    write(one, "qp-new")
    assert sync(one / ".qipu").pushed
    assert sync(two / ".qipu").pulled == 1
    shutil.rmtree(two / ".qipu")
    git(two, "branch", "-q", "-D", DEFAULT_BRANCH, check=False)
    attach_branch(two / ".qipu")
    assert (two / ".qipu/notes/qp-new.md").exists()


def test_links_are_neither_shared_nor_taken(clones: tuple[Path, Path]) -> None:
    one, two = clones
    (one / ".qipu/notes/link.md").symlink_to("/etc/passwd")
    write(one, "qp-new")
    assert sync(one / ".qipu").pushed
    assert sync(two / ".qipu").pulled == 1
    assert git(one, "ls-tree", "--name-only", f"{DEFAULT_BRANCH}:notes").split() == ["qp-1.md", "qp-new.md"]
    assert (one / ".qipu/notes/link.md").is_symlink()
    assert not sync(one / ".qipu").committed
    git(one / ".qipu", "add", "notes/link.md")
    git(one / ".qipu", "commit", "-q", "-m", "by hand")
    git(one / ".qipu", "push", "-q", "origin", DEFAULT_BRANCH)
    with pytest.raises(GitError, match="no plain file"):
        sync(two / ".qipu")
    assert not (two / ".qipu/notes/link.md").exists()


def test_editor_that_saves_during_a_merge_loses_nothing(clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.notes import gitcalls
    from resources.notes import sync as module

    one, two = clones
    edit(one / ".qipu/notes/qp-1.md", "First", "1st")
    sync(one / ".qipu")
    note = two / ".qipu/notes/qp-1.md"
    changes = gitcalls.tree_changes
    saved: list[bool] = []

    def late(folder: Path, old: str, new: str) -> object:
        found = changes(folder, old, new)
        if not saved:
            saved.append(True)
            edit(note, "Third", "3rd")
        return found

    monkeypatch.setattr(module, "tree_changes", late)
    done = sync(two / ".qipu")
    assert (done.findings, done.committed, done.pulled, done.pushed) == ([], True, 1, True)
    assert "1st line.\n\nSecond line.\n\n3rd line." in note.read_text()


def test_excludes_of_the_project_hide_no_notes(clones: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = clones
    with (one / ".git/info/exclude").open("a") as file:
        file.write("notes/\n*.png\n")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home/.gitconfig").write_text(f"[core]\nexcludesFile = {tmp_path}/home/ignore\n")
    (tmp_path / "home/ignore").write_text(".DS_Store\n")
    write(one, "qp-new")
    (one / ".qipu/notes/.DS_Store").write_bytes(b"x")
    (one / ".qipu/attachments").mkdir()
    (one / ".qipu/attachments/p.png").write_bytes(b"png")
    assert sync(one / ".qipu").pushed
    sync(two / ".qipu")
    assert (two / ".qipu/notes/qp-new.md").exists()
    assert (two / ".qipu/attachments/p.png").exists()
    assert not (two / ".qipu/notes/.DS_Store").exists()


def test_store_folder_that_was_deleted_comes_back(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    shutil.rmtree(one / ".qipu")
    attach_branch(one / ".qipu")
    assert (one / ".qipu/notes/qp-1.md").read_text() == NOTE.format(id="qp-1")
    assert not sync(one / ".qipu").committed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_case_78_sync_killed_at_any_moment_loses_nothing(clones: tuple[Path, Path]) -> None:
    one, two = clones
    chance = random.Random(7)
    program = "import sys\nfrom pathlib import Path\nfrom resources.notes.sync import sync\nsync(Path(sys.argv[1]))\n"
    names = {"qp-1"}
    for number in range(16):
        for side, clone in (("one", one), ("two", two)):
            names.add(f"qp-{side}-{number}")
            write(clone, f"qp-{side}-{number}")
            # Every command first completes the set of files that a killed one had begun to put in place. An editor that saves
            # before any has run, at the very file, is overtaken by that set: a known limit, which is not what is shown here.
            own = git(clone / ".qipu", "rev-parse", "--path-format=absolute", "--git-dir")
            LocalStorage(clone / ".qipu", state=Path(own) / "headwater" / "storage").recover()
            text = (clone / ".qipu/notes/qp-1.md").read_text()
            if "<<<<<<<" not in text:
                (clone / ".qipu/notes/qp-1.md").write_text(text.replace("tags: [", f"tags: [{side}{number}, "))
            process = subprocess.Popen([sys.executable, "-c", program, str(clone / ".qipu")], start_new_session=True)
            time.sleep(chance.uniform(0.15, 0.9))
            if number % 2:
                os.killpg(process.pid, signal.SIGKILL)  # git goes with it
            else:
                process.kill()  # git outlives it
            process.wait()
    for clone in (one, two, one, two):
        done = sync(clone / ".qipu")
        assert done.findings == []
    for clone in clones:
        assert {path.stem for path in (clone / ".qipu/notes").iterdir()} == names
        assert state(clone)[2] == "MM code.py\n?? stray.txt"
        git(clone, "fsck", "--connectivity-only")
    first, second = ((clone / ".qipu/notes/qp-1.md").read_text() for clone in clones)
    assert first == second
    assert all(f"{side}{number}" in first for side in ("one", "two") for number in range(16))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_attaching_killed_at_any_moment_deletes_nothing(clones: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = clones
    for number in range(60):
        write(one, f"qp-{number:02d}")
    assert sync(one / ".qipu").pushed
    shared = {path.name: path.read_bytes() for path in (one / ".qipu/notes").iterdir()}
    program = "import pathlib, sys\nfrom resources.notes.branch import attach_branch\nattach_branch(pathlib.Path(sys.argv[1]))\n"
    chance = random.Random(11)
    finished = 0
    whole = 0.0  # seconds of the first, which is left alone
    for number in range(14):
        clone = tmp_path / f"clone-{number}"
        git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), str(clone))
        dirty(clone)
        before = state(clone)
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", program, str(clone / ".qipu")], start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            finished += process.wait(whole * chance.uniform(0.3, 1.0) if whole else None) == 0
        whole = whole or time.monotonic() - started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        attach_branch(clone / ".qipu")
        sync(clone / ".qipu")
        assert {path.name: path.read_bytes() for path in (clone / ".qipu/notes").iterdir()} == shared
        assert state(clone) == before
        assert not (clone / ".qipu.headwater-worktree").exists()
    assert finished < 14, "none was killed"
    sync(one / ".qipu")
    assert {path.name: path.read_bytes() for path in (one / ".qipu/notes").iterdir()} == shared


def test_bad_names_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        attach_branch(tmp_path / "nowhere/.qipu")
    root = project(tmp_path / "one")
    for name in ("-x", "a..b", "", "a b", "refs/heads/../x"):
        with pytest.raises(UsageError):
            attach_branch(root / ".qipu", name)
    with pytest.raises(UsageError):
        sync(root / ".qipu")
    attach_branch(root / ".qipu", "notes")
    with pytest.raises(Refused):
        attach_branch(root / ".qipu", "other")
    with pytest.raises(UsageError):
        sync(root / ".qipu", remote="nowhere")
    assert os.environ["HOME"] == str(tmp_path / "home")

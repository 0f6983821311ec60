"""Git's answers, from real repositories, hostile ones among them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from resources.git import Git, GitError, top_level


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    made = tmp_path / "check out"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    return made


def commit(root: Path, files: dict[str, bytes]) -> str:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    git(root, "add", "-f", "--", *files)
    git(root, "commit", "-qm", "change")
    return git(root, "rev-parse", "HEAD")


def test_the_top_level_is_found_without_running_git(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (root / "a" / "b").mkdir(parents=True)
    assert top_level(root / "a" / "b") == root
    assert top_level(root) == root
    assert top_level(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert top_level(tmp_path) is None, "an empty .git folder is no repository"


def test_a_linked_worktree_and_a_submodule_are_checkouts(root: Path, tmp_path: Path) -> None:
    commit(root, {"f": b"x"})
    git(root, "worktree", "add", "-q", str(tmp_path / "other"))
    (tmp_path / "other" / "below").mkdir()
    assert top_level(tmp_path / "other" / "below") == tmp_path / "other"
    assert Git(tmp_path / "other").head() == Git(root).head()


def test_head(root: Path) -> None:
    assert Git(root).head() is None
    made = commit(root, {"f": b"x"})
    assert Git(root).head() == made


def test_ignored_paths(root: Path) -> None:
    (root / ".gitignore").write_text("*.db\n/build/\nnode_modules\n!keep.db\n")
    (root / "build").mkdir()
    asked = ["a.db", "keep.db", "build", "build/", "b/node_modules", "sub/x.db", "text.csv", "name with\nline feed.db", "é.db"]
    wanted = {"a.db", "build", "build/", "b/node_modules", "sub/x.db", "name with\nline feed.db", "é.db"}
    assert Git(root).ignored(asked) == wanted
    assert Git(root).ignored([]) == set()


def test_tracked_files(root: Path) -> None:
    commit(root, {"a.csv": b"1", "b/c [x].csv": b"2", "*.csv": b"3"})
    (root / "new.csv").write_bytes(b"")
    repository = Git(root)
    assert repository.tracked(["a.csv", "b/c [x].csv", "*.csv", "new.csv", "b", "none"]) == {"a.csv", "b/c [x].csv", "*.csv"}
    assert repository.tracked([]) == set()
    many = [f"none{number}" for number in range(1200)]
    assert repository.tracked([*many, "a.csv"]) == {"a.csv"}


def test_files_of_a_revision(root: Path) -> None:
    first = commit(root, {"a.csv": b"one\n", "b/é.csv": b"two"})
    commit(root, {"a.csv": b"changed"})
    repository = Git(root)
    assert repository.show(first, "a.csv") == b"one\n"
    assert repository.show("HEAD", "a.csv") == b"changed"
    assert repository.show("HEAD~1", "b/é.csv") == b"two"
    assert repository.show("HEAD", "none") is None
    assert repository.show("HEAD", "b") is None
    assert repository.files("main") == ["a.csv", "b/é.csv"]
    assert repository.files("main", "b") == ["b/é.csv"]
    for bad in ("nonsense", "--output=/tmp/x", ""):
        with pytest.raises(GitError) as caught:
            repository.show(bad, "a.csv")
        assert caught.value.rule == "git-revision"


def test_settings_of_this_clone(root: Path) -> None:
    repository = Git(root)
    assert repository.config_get("merge.headwater.driver") is None
    repository.config_set("merge.headwater.driver", 'headwater merge "%O" %A\n%B')
    assert repository.config_get("merge.headwater.driver") == 'headwater merge "%O" %A\n%B'
    repository.config_set("merge.headwater.driver", "other")
    assert repository.config_get("merge.headwater.driver") == "other"


def test_nothing_a_repository_names_is_run(root: Path, tmp_path: Path) -> None:
    """Hooks, fsmonitor, filters, textconv, external diff, pager and aliases of a hostile repository leave no trace."""
    made = commit(root, {"a.csv": b"1", ".gitattributes": b"* filter=evil diff=evil\n"})
    trace = tmp_path / "trace"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\necho ran >> '{trace}'\nexit 1\n")
    script.chmod(0o755)
    for name in (
        "core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
        "diff.evil.command", "diff.external", "core.pager", "pager.show", "core.editor", "core.askPass", "credential.helper",
        "core.sshCommand",
    ):  # fmt: skip
        git(root, "config", name, str(script))
    git(root, "config", "alias.ls-tree", f"!{script}")
    git(root, "config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
        (tmp_path / "hooks" / hook).symlink_to(script)
    (root / "a.csv").write_bytes(b"2")
    repository = Git(root)
    assert repository.head() == made
    assert repository.show("HEAD", "a.csv") == b"1"
    assert repository.tracked(["a.csv"]) == {"a.csv"}
    assert repository.ignored(["x"]) == set()
    repository.config_set("a.b", "c")
    assert not trace.exists()


def test_the_environment_cannot_point_elsewhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a hook git sets GIT_DIR and the like for another repository than ours."""
    made = commit(root, {"f": b"x"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert Git(root).head() == made
    assert Git(root).tracked(["f"]) == {"f"}


def test_errors_say_what_to_do(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GitError) as caught:
        Git(tmp_path).tracked(["x"])
    assert caught.value.fix
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError) as caught:
        Git(root).head()
    assert caught.value.rule == "git-missing"
    with pytest.raises(GitError):
        Git(root).ignored(["x"])

"""Where a workspace is found, where its state lies, and what its configuration says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resources.config import DEFAULT_CACHE_SIZE, Config, cache_folder, load_config, parse_size
from resources.locks import LockTimeout, file_lock, lock_file_name
from resources.storage import open_storage
from resources.workspace import Workspace, is_plain, open_workspace
from schemas.errors import HeadwaterError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HEADWATER_ROOT", "HEADWATER_REMOTE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache"


def checkout(root: Path) -> Path:
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return root


def configured(root: Path, text: str = "version = 1\n") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "headwater.toml").write_text(text)
    return root


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def use(workspace: Workspace) -> None:
    """Everything a build would leave behind."""
    workspace.state.write("provenance/tables/x.json", b"{}")
    workspace.state.write(f"{workspace.artifacts_prefix}/tables/x/erd.svg", b"<svg/>")
    workspace.outputs.write("shop/playground.db", b"db")
    workspace.objects.put(b"object")
    workspace.stat_cache.tree(workspace.root)
    workspace.stat_cache.close()
    with workspace.root.lock("a"):
        pass


def test_the_root_is_the_nearest_configured_folder(tmp_path: Path) -> None:
    outer = configured(tmp_path / "outer")
    inner = configured(checkout(outer / "repo") / "inner")
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    assert open_workspace(deep).root.local_root == inner
    assert open_workspace(outer / "repo").root.local_root == outer
    (outer / "headwater.toml").unlink()
    assert open_workspace(outer / "repo" / ".git").root.local_root == outer / "repo"


def test_without_configuration_the_root_is_the_checkout_then_the_folder(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repo")
    (repository / "a").mkdir()
    found = open_workspace(repository / "a")
    assert (found.root.local_root, found.is_plain, found.git_root) == (repository, False, repository)
    (tmp_path / "plain" / "a").mkdir(parents=True)
    plain = open_workspace(tmp_path / "plain" / "a")
    assert (plain.root.local_root, plain.is_plain, plain.git) == (tmp_path / "plain" / "a", True, None)


def test_without_checkout_the_root_is_the_project_that_holds_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / ".qipu/notes/deep").mkdir(parents=True)
    (project / "src/deep").mkdir(parents=True)
    vault = tmp_path / "vault"
    (vault / ".obsidian").mkdir(parents=True)
    (vault / "areas/home").mkdir(parents=True)
    visible = tmp_path / "visible"
    (visible / "qipu/notes").mkdir(parents=True)
    (visible / "qipu/config.toml").write_text("version = 1\n")
    (visible / "src").mkdir()
    for start in (project, project / "src/deep", project / ".qipu", project / ".qipu/notes/deep"):
        assert open_workspace(start).root.local_root == project
    assert open_workspace(vault / "areas/home").root.local_root == vault
    for start in (visible / "src", visible / "qipu", visible / "qipu/notes"):
        assert open_workspace(start).root.local_root == visible
    assert open_workspace(project).is_plain
    # Notes in one's home do not make a workspace of everything below it.
    monkeypatch.setenv("HOME", str(project))
    assert open_workspace(project / "src").root.local_root == project / "src"
    assert open_workspace(project).root.local_root == project


def test_notes_above_a_checkout_are_not_its_own(tmp_path: Path) -> None:
    """Case 3 departs from qipu: the bounds of a workspace decide, not a list of project files."""
    (tmp_path / "outer/.qipu").mkdir(parents=True)
    repository = checkout(tmp_path / "outer/repo")
    assert open_workspace(repository).root.local_root == repository
    (tmp_path / "outer/rust").mkdir()
    (tmp_path / "outer/rust/Cargo.toml").write_text("")
    assert open_workspace(tmp_path / "outer/rust").root.local_root == tmp_path / "outer"


def test_not_one_byte_appears_in_a_vault_that_is_a_checkout(tmp_path: Path) -> None:
    root = checkout(tmp_path / "vault")
    (root / ".obsidian").mkdir()
    before = listing(root)
    workspace = open_workspace(root)
    use(workspace)
    assert listing(root) == before
    assert (workspace.is_plain, workspace.git_root, is_plain(root)) == (True, root, True)
    # Whoever asks for a workspace gets one, and whoever had one keeps it.
    (root / ".headwater").mkdir()
    assert not open_workspace(root).is_plain
    shutil.rmtree(root / ".headwater")
    configured(root)
    assert not open_workspace(root).is_plain
    assert not is_plain(root)


def test_notes_on_a_branch_of_their_own_belong_to_the_project_around_them(tmp_path: Path) -> None:
    outer = checkout(tmp_path / "repo")
    store = outer / "sub/.qipu"
    (store / "notes").mkdir(parents=True)
    (store / ".git").write_text("gitdir: ../../.git/worktrees/qipu\n")
    for start in (store, store / "notes", outer / "sub"):
        assert open_workspace(start).root.local_root == outer
    # A worktree of any other name is a checkout like every other.
    other = outer / "trees/feature"
    other.mkdir(parents=True)
    (other / ".git").write_text("gitdir: ../../.git/worktrees/feature\n")
    assert open_workspace(other).root.local_root == other


def test_state_lies_in_a_folder_git_ignores(tmp_path: Path) -> None:
    root = configured(tmp_path / "w")
    workspace = open_workspace(root)
    use(workspace)
    assert (root / ".headwater" / ".gitignore").read_bytes() == b"*\n"
    assert (root / ".headwater" / "provenance" / "tables" / "x.json").is_file()
    assert (root / ".headwater" / "artifacts" / "tables" / "x" / "erd.svg").is_file()
    assert (root / "shop" / "playground.db").is_file()
    assert workspace.local == root / ".headwater" / "local"
    assert (workspace.local / "stat.sqlite").is_file()
    assert sorted(os.listdir(root)) == [".headwater", "headwater.toml", "shop"]


def test_starting_inside_the_state_folder_finds_the_workspace(tmp_path: Path) -> None:
    root = configured(tmp_path / "w")
    open_workspace(root)
    (root / ".headwater" / "local" / "scratch").mkdir(parents=True)
    assert open_workspace(root / ".headwater" / "local" / "scratch").root.local_root == root


def test_not_one_byte_appears_in_a_plain_folder(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "vault"
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "a.md").write_text("# a\n")
    before = listing(root)
    workspace = open_workspace(root)
    use(workspace)
    workspace.recover()
    assert listing(root) == before
    assert workspace.is_plain
    assert workspace.outputs.read("shop/playground.db") == b"db"
    assert cache in workspace.local.parents
    assert str(root) not in "\n".join(listing(cache)), "no path of the user's shows in the cache folder"
    assert open_workspace(root).local == workspace.local


def test_a_read_only_workspace_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = configured(tmp_path / "w")
    real = os.mkdir

    def refuse(path: object, *arguments: object, **named: object) -> None:
        if ".headwater" in os.fspath(path):  # type: ignore[call-overload]
            raise PermissionError(13, "Permission denied")
        real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", refuse)
    workspace = open_workspace(root)
    assert [found.path for found in workspace.root.scan()] == ["headwater.toml"]
    assert workspace.stat_cache.digest(workspace.root, "headwater.toml")
    workspace.stat_cache.close()
    assert workspace.recover() == []
    assert os.listdir(root) == ["headwater.toml"]


def test_the_environment_names_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(tmp_path / "w", 'version = 1\n[workspace]\nname = "atlas"\n')
    monkeypatch.setenv("HEADWATER_ROOT", str(tmp_path / "w"))
    assert open_workspace().name == "atlas"
    monkeypatch.delenv("HEADWATER_ROOT")
    monkeypatch.chdir(tmp_path / "w")
    assert open_workspace().name == "atlas"
    assert open_workspace((tmp_path / "w").as_uri()).name == "atlas"
    with pytest.raises(UsageError) as caught:
        open_workspace(tmp_path / "none")
    assert caught.value.rule == "root-missing"


@pytest.mark.parametrize("kind", ["memory", pytest.param("s3", marks=pytest.mark.s3)])
def test_a_url_is_a_root(kind: str, cache: Path, request: pytest.FixtureRequest) -> None:
    url = "memory://test-a-url-is-a-root/w" if kind == "memory" else request.getfixturevalue("s3_url")
    open_storage(url).write("headwater.toml", b'version = 1\n[workspace]\nname = "far"\n')
    workspace = open_workspace(url + "/")
    use(workspace)
    assert workspace.name == "far"
    assert workspace.root.local_root is None
    assert workspace.root.read(".headwater/provenance/tables/x.json") == b"{}"
    assert workspace.root.read("shop/playground.db") == b"db"
    assert cache in workspace.local.parents
    assert not workspace.is_plain


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("s3://key:secret@bucket/prefix", "url-credentials"),
        ("s3://bucket/prefix?key=secret", "url-malformed"),
        ("ftp://host/x", "url-scheme"),
        ("http://host/x", "url-scheme"),
        ("file://host/x", "url-malformed"),
        ("s3://bu[cket/secret", "url-malformed"),
    ],
)
def test_urls_that_are_refused_show_no_secret(url: str, rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert caught.value.rule == rule
    assert "secret" not in str(caught.value)


CONFIGURATION = """
version = 1
[workspace]
name = "shop"
owner = "team@example.org"
exclude = ["old/**", "*.tmp"]
[cache]
max_size = "2 GiB"
remote = "s3://bucket/cache"
[stores."shop floor"]
kind = "tables"
path = "data/shop"
confirm = "never"
settings = { page_size = 8192 }
[schedule]
verify = "0 3 * * *"
"""


def test_the_configuration_is_read_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = configured(tmp_path / "w", CONFIGURATION)
    storage, local = open_storage(root), tmp_path / "local"
    config = load_config(storage, local)
    assert (config.name, config.owner, config.exclude) == ("shop", "team@example.org", ("old/**", "*.tmp"))
    assert (config.cache_max_size, config.cache_remote) == (2 << 30, "s3://bucket/cache")
    assert config.schedules == {"verify": "0 3 * * *"}
    store = config.stores["shop floor"]
    assert (store.kind, store.path, store.confirm, dict(store.settings)) == ("tables", "data/shop", "never", {"page_size": 8192})
    assert load_config(storage, local) == config
    assert load_config(storage, None) == config
    monkeypatch.setenv("HEADWATER_REMOTE_CACHE", "s3://other/cache")
    assert load_config(storage, local).cache_remote == "s3://other/cache"
    (root / "headwater.toml").write_text('version = 1\n[workspace]\nname = "new"\n')
    assert load_config(storage, local).name == "new"


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_config(open_storage(tmp_path), tmp_path / "local") == Config()
    assert Config().cache_max_size == DEFAULT_CACHE_SIZE


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1, "oid": "x", "value": 3}'])
def test_a_damaged_kept_configuration_is_parsed_again(tmp_path: Path, damage: bytes) -> None:
    root, local = configured(tmp_path / "w", CONFIGURATION), tmp_path / "local"
    config = load_config(open_storage(root), local)
    (local / "config.json").write_bytes(damage)
    assert load_config(open_storage(root), local) == config
    assert json.loads((local / "config.json").read_bytes())["oid"] == config.oid


@pytest.mark.parametrize(
    "text",
    ["version = 1\n[workspace", "version = 1\nunknown = 2\n", 'version = 1\n[stores.x]\npath = "a"\n', "version = 99\n", ""],
)
def test_a_bad_configuration_is_an_error(tmp_path: Path, text: str) -> None:
    root = configured(tmp_path / "w", text)
    with pytest.raises(HeadwaterError) as caught:
        open_workspace(root)
    assert caught.value.path == "headwater.toml"
    assert caught.value.rule


@pytest.mark.parametrize(("text", "size"), [("10 GiB", 10 << 30), ("500MB", 500_000_000), ("1024", 1024), ("1.5 KiB", 1536)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "10 gigs", "-1", "1 2"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a size|could not"):
        parse_size(text)


def test_the_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEADWATER_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache" / "headwater"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "headwater"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "headwater"


def test_a_lock_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from resources.locks import file_lock
with file_lock(Path({str(tmp_path)!r}), "tables/shop floor"):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockTimeout) as caught, file_lock(tmp_path, "tables/shop floor", timeout=0.1):
        pytest.fail("two holders of one lock")
    assert "tables/shop floor" in str(caught.value)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with file_lock(tmp_path, "tables/shop floor", timeout=1):
        pass


def test_lock_names_become_portable_files() -> None:
    names = ["a/b", "a_b", "A/B", "", "é" * 300, "con", "x\ny"]
    files = {lock_file_name(name) for name in names}
    assert len(files) == len(names)
    assert all(len(file) < 100 and file.isascii() and "/" not in file for file in files)


HEAVY = ["pydantic", "fsspec", "s3fs", "duckdb", "pyarrow", "ruamel", "tomllib", "tomlkit", "dagster"]
HEAVY += ["asyncio", "filelock", "subprocess", "ctypes", "click"]


def test_the_unchanged_path_is_light(tmp_path: Path) -> None:
    """Opening a workspace and scanning it loads no heavy module, the second time."""
    root = configured(tmp_path / "w", CONFIGURATION)
    (root / "a.csv").write_text("id\n1\n")
    code = f"""
import sys
from resources.workspace import open_workspace
workspace = open_workspace({str(root)!r})
workspace.recover()
assert len(workspace.stat_cache.tree(workspace.root)) == 2
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    for _round in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

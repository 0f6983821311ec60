"""Push, pull and sync between clones, through a folder and through S3."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dvs_server import running_server
from tests.fault_proxy import fault_proxy
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git, outcomes, put, statuses

Run = Callable[..., Ran]

FILES = {"data/small.csv": b"1,2\n", "data/same.csv": b"1,2\n", "data/big.bin": os.urandom(300_000), "empty": b""}


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A clone with four added files, committed to git."""
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "first"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../storage-of-first").code == 0
    for path, data in FILES.items():
        put(root, path, data)
    assert run("dvs", "add", ".").code == 0
    git(root, "add", "-A")
    git(root, "commit", "-m", "data")
    return root


@pytest.fixture
def second(first: Path, tmp_path: Path) -> Path:
    """A clone of it on a machine that does not see its storage."""
    subprocess.run(["git", "clone", "-q", first, tmp_path / "second"], check=True)
    second = tmp_path / "second"
    config = second / "dvs.toml"
    config.write_text(config.read_text().replace("storage-of-first", "storage-of-second"))
    return second


def test_from_clone_to_clone_through_a_folder(
    first: Path, second: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = str(tmp_path / "remote")
    assert run("dvs", "local-config", "set", "remotes.origin", remote).code == 0
    assert outcomes(run("dvs", "push", "--json")) == dict.fromkeys(FILES, "uploaded")
    assert outcomes(run("dvs", "push", "--json")) == dict.fromkeys(FILES, "already_present")
    proved = {record["path"]: record["remote"] for record in run("dvs", "status", "--json").records if "path" in record}
    assert all(proof["remote"] == remote and proof["age"] == "now" for proof in proved.values())
    monkeypatch.chdir(second)
    assert run("dvs", "init", "../storage-of-second").code == 0
    assert set(statuses(run).values()) == {"error"}
    assert run("dvs", "pull", "--json").records[-1]["error"]["rule"] == "dvs-config-error"
    assert outcomes(run("dvs", "pull", "--remote", remote, "--json")) == dict.fromkeys(FILES, "downloaded")
    assert outcomes(run("dvs", "pull", "--remote", remote, "--json")) == dict.fromkeys(FILES, "already_cached")
    assert set(statuses(run).values()) == {"absent"}
    assert outcomes(run("dvs", "materialize", "--json")) == dict.fromkeys(FILES, "materialized")
    assert {path: (second / path).read_bytes() for path in FILES} == FILES
    assert set(statuses(run).values()) == {"current"}
    again = tmp_path / "other-remote"
    assert set(outcomes(run("dvs", "push", "--remote", str(again), "--json")).values()) == {"uploaded"}


def test_a_push_with_nothing_to_do_asks_once(first: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.remotes.store import StoreRemote

    remote = str(tmp_path / "remote")
    assert run("dvs", "push", "--remote", remote).code == 0

    def asked(*_arguments: object) -> set[str]:
        raise AssertionError("the remote was asked for objects")

    monkeypatch.setattr(StoreRemote, "present", asked)
    assert run("dvs", "push", "--remote", remote).code == 0
    monkeypatch.undo()
    # A remote that was wiped is another one: nothing is believed of it.
    monkeypatch.chdir(first)
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    shutil.rmtree(remote)
    assert set(outcomes(run("dvs", "push", "--remote", remote, "--json")).values()) == {"uploaded"}


def test_what_the_remote_lost_is_found_by_recheck(first: Path, run: Run, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    assert run("dvs", "push", "--remote", remote).code == 0
    shutil.rmtree(remote / "packs")
    assert set(outcomes(run("dvs", "push", "--remote", remote, "--json")).values()) == {"already_present"}
    found = outcomes(run("dvs", "push", "--remote", remote, "--recheck", "--json"))
    assert found == {
        "data/big.bin": "already_present",
        "data/same.csv": "uploaded",
        "data/small.csv": "uploaded",
        "empty": "uploaded",
    }


def test_damaged_bytes_never_arrive(first: Path, second: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = tmp_path / "remote"
    assert run("dvs", "push", "--remote", remote).code == 0
    for path in [*(remote / "blake3").rglob("*"), *(remote / "packs").rglob("*")]:
        if path.is_file():
            path.chmod(0o600)
            data = bytearray(path.read_bytes())
            data[len(data) // 4] ^= 1
            path.write_bytes(data)
    monkeypatch.chdir(second)
    ran = run("dvs", "pull", "--remote", remote, "--json")
    assert ran.code == 1
    assert set(outcomes(ran).values()) == {"error"}
    assert set(statuses(run).values()) == {"error"}
    cache = second / ".dvs/cache"
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 100_000]


def test_a_source_that_is_damaged_is_not_pushed(first: Path, run: Run, tmp_path: Path) -> None:
    (stored,) = [path for path in (tmp_path / "storage-of-first/blake3").rglob("*") if path.is_file()]
    stored.chmod(0o600)
    stored.write_bytes(b"x" * stored.stat().st_size)
    ran = run("dvs", "push", "--remote", tmp_path / "remote", "--json")
    assert ran.code == 1
    found = outcomes(ran)
    assert found.pop("data/big.bin") == "error"
    assert set(found.values()) == {"uploaded"}
    assert not [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.stat().st_size > 100_000]


def test_sync_brings_and_takes_and_leaves_edits_alone(
    first: Path, second: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = str(tmp_path / "remote")
    assert run("dvs", "push", "--remote", remote).code == 0
    monkeypatch.chdir(second)
    put(second, "data/small.csv", b"my own edit\n")
    assert run("dvs", "sync", "--remote", remote).code == 0
    assert (second / "data/small.csv").read_bytes() == b"my own edit\n"
    assert (second / "data/big.bin").read_bytes() == FILES["data/big.bin"]
    put(second, "new.csv", b"from second\n")
    assert run("dvs", "init", "../storage-of-second").code == 0
    assert run("dvs", "add", "new.csv").code == 0
    assert run("dvs", "sync", "--remote", remote).code == 0
    git(second, "add", "-A")
    git(second, "commit", "-m", "new")
    git(second, "push", "origin", "HEAD:refs/heads/from-second")
    monkeypatch.chdir(first)
    git(first, "merge", "from-second")
    assert run("dvs", "sync", "--remote", remote).code == 0
    assert (first / "new.csv").read_bytes() == b"from second\n"


def test_through_s3(first: Path, second: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_url: str) -> None:
    remote = f"{s3_url}/remote"
    assert outcomes(run("dvs", "push", "--remote", remote, "--json")) == dict.fromkeys(FILES, "uploaded")
    assert outcomes(run("dvs", "push", "--remote", remote, "--json")) == dict.fromkeys(FILES, "already_present")
    assert outcomes(run("dvs", "push", "--remote", remote, "--recheck", "--json")) == dict.fromkeys(FILES, "already_present")
    monkeypatch.chdir(second)
    assert outcomes(run("dvs", "pull", "--remote", remote, "--json")) == dict.fromkeys(FILES, "downloaded")
    assert run("dvs", "get").code == 0
    assert {path: (second / path).read_bytes() for path in FILES} == FILES


def test_through_an_object_server(first: Path, second: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWATER_TOKEN", raising=False)
    with running_server(tmp_path / "server") as server, fault_proxy(server.port) as proxy:
        assert run("dvs", "local-config", "set", "base_url", proxy.url).code == 0
        refused = run("dvs", "push", "--json")
        assert refused.code == 1
        assert refused.records[-1]["error"]["rule"] == "dvs-permission-denied"
        assert run("dvs", "local-config", "set", "auth.token", server.token).code == 0
        assert outcomes(run("dvs", "push", "--json")) == dict.fromkeys(FILES, "uploaded")
        proxy.requests.clear()
        assert outcomes(run("dvs", "push", "--json")) == dict.fromkeys(FILES, "already_present")
        assert proxy.requests == ["GET /status HTTP/1.1"]
        assert outcomes(run("dvs", "push", "--recheck", "--json")) == dict.fromkeys(FILES, "already_present")
        monkeypatch.chdir(second)
        monkeypatch.setenv("HEADWATER_TOKEN", server.read_token)
        assert outcomes(run("dvs", "pull", "--remote", server.url, "--json")) == dict.fromkeys(FILES, "downloaded")
        assert run("dvs", "get").code == 0
        assert {path: (second / path).read_bytes() for path in FILES} == FILES
        put(second, "new.csv", b"from second\n")
        assert run("dvs", "init", "../storage-of-second").code == 0
        assert run("dvs", "add", "new.csv").code == 0
        assert outcomes(run("dvs", "push", "--remote", server.url, "--json"))["new.csv"] == "error"


def test_no_token_goes_to_a_server_that_only_the_manifest_names(
    first: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_TOKEN", "hw-secret")
    with running_server(tmp_path / "server") as server, fault_proxy(server.port) as proxy:
        seen: list[bytes] = []
        proxy.watch = seen.append
        lock = json.loads((first / "dvs.lock").read_text())
        (first / "dvs.lock").write_text(json.dumps({**lock, "base_url": proxy.url}))
        ran = run("dvs", "push", "--json")
        assert ran.code == 1
        assert "headwater cache login" in ran.records[-1]["error"]["fix"]
        assert seen
        assert not [request for request in seen if b"secret" in request]
        run("dvs", "local-config", "set", "base_url", proxy.url)
        run("dvs", "push")
        assert b"secret" in seen[-1]
        # The clone's own token is for the servers that it names, not for one that is tried.
        monkeypatch.delenv("HEADWATER_TOKEN")
        run("dvs", "local-config", "set", "auth.token", "hw-own")
        seen.clear()
        run("dvs", "push", "--remote", server.url.replace("127.0.0.1", "localhost"))
        run("dvs", "push")
        assert b"hw-own" in seen[-1]
        run("dvs", "local-config", "set", "base_url", server.url)
        seen.clear()
        run("dvs", "push", "--remote", proxy.url)
        assert seen
        assert not [request for request in seen if b"hw-own" in request]


def test_a_storage_on_s3_works_like_one_in_a_folder(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, s3_url: str
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", f"{s3_url}/storage").code == 0
    for path, data in FILES.items():
        put(root, path, data)
    assert outcomes(run("dvs", "add", ".", "-m", "first", "--json")) == dict.fromkeys(FILES, "added")
    assert set(statuses(run).values()) == {"current"}
    (root / "data/big.bin").unlink()
    (root / "data/small.csv").unlink()
    assert run("dvs", "get").code == 0
    assert {path: (root / path).read_bytes() for path in FILES} == FILES
    put(root, "data/small.csv", b"changed\n")
    assert run("dvs", "add", ".", "-m", "second").code == 0
    assert run("dvs", "rollback", "1").code == 0
    assert (root / "data/small.csv").read_bytes() == b"1,2\n"


def test_who_names_the_remote(first: Path, run: Run, tmp_path: Path) -> None:
    def origin(*options: str) -> tuple[str, str]:
        (remote,) = run("dvs", "config", "show", "--resolved", "--json", *options).records[0]["remotes"]
        return remote["url"], remote["given_by"]

    lock = json.loads((first / "dvs.lock").read_text())
    lock["base_url"] = "/of/the/manifest"
    (first / "dvs.lock").write_text(json.dumps(lock))
    assert origin() == ("/of/the/manifest", "manifest")
    assert run("dvs", "local-config", "set", "base_url", "/of/the/clone").code == 0
    assert origin() == ("/of/the/clone", "clone")
    ran = run("dvs", "push", "--remote", "http://example.org/", "--json")
    assert (ran.code, ran.records[-1]["error"]["rule"]) == (2, "dvs-remote-insecure")


def test_a_push_with_nothing_to_do_need_not_read_the_manifest(
    first: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resources.dvs.repo import DvsRepo

    remote = tmp_path / "remote"
    run("dvs", "local-config", "set", "remotes.origin", remote)
    assert run("dvs", "push").out.endswith("4 uploaded (293 KiB)\n")

    def read(_repo: DvsRepo) -> None:
        raise AssertionError("the manifest was read")

    with monkeypatch.context() as patch:
        patch.setattr(DvsRepo, "manifest", read)
        assert run("dvs", "push").out == "0 uploaded, 4 already present\n"
    # Another manifest, another remote in its place, a proof withdrawn: each is looked at.
    put(first, "one-more.csv", b"1\n")
    assert run("dvs", "add", "one-more.csv").code == 0
    assert run("dvs", "push").out.endswith("1 uploaded (2 B), 4 already present\n")
    shutil.rmtree(remote)
    assert run("dvs", "push").out.endswith("5 uploaded (293 KiB)\n")
    assert run("dvs", "push", "--recheck").out == "0 uploaded, 5 already present\n"


def test_a_path_is_relative_to_where_the_command_works_and_a_name_is_no_path(
    first: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("-C", first, "dvs", "push", "--remote", "../of-first").code == 0
    assert (tmp_path / "of-first/headwater-remote").exists()
    ran = run("-C", first, "dvs", "push", "--remote", "orgin", "--json")
    assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, "dvs-config-error")
    assert "./orgin" in ran.records[-1]["error"]["fix"]
    assert not list(tmp_path.rglob("orgin"))
    assert run("-C", first, "dvs", "push", "--remote", "./orgin").code == 0
    assert (first / "orgin/headwater-remote").exists()


def test_git_merges_manifests_file_by_file(first: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    driver = f"{Path(sys.executable).with_name('headwater')} dvs merge-driver %O %A %B %P"
    git(first, "config", "merge.dvs-lock.driver", driver)
    assert (first / ".gitattributes").read_text() == "dvs.lock merge=dvs-lock\n.gitignore merge=union\n"
    git(first, "checkout", "-b", "other")
    put(first, "data/a-new.csv", b"on the other branch\n")
    assert run("dvs", "add", "data/a-new.csv").code == 0
    git(first, "add", "-A")
    git(first, "commit", "-m", "other")
    git(first, "checkout", "main")
    put(first, "data/b-new.csv", b"on main\n")
    assert run("dvs", "add", "data/b-new.csv").code == 0
    git(first, "add", "-A")
    git(first, "commit", "-m", "main")
    # Both branches have added a line to the same place of data/.gitignore.
    git(first, "merge", "other", "-m", "both")
    assert {"/a-new.csv", "/b-new.csv"} <= set((first / "data/.gitignore").read_text().split())
    paths = [entry["path"] for entry in json.loads((first / "dvs.lock").read_text())["entries"]]
    assert paths == sorted([*FILES, "data/a-new.csv", "data/b-new.csv"])
    base, ours, theirs = (first / name for name in ("base", "ours", "theirs"))
    lock = json.loads((first / "dvs.lock").read_text())
    for place, digit in ((base, "a"), (ours, "b"), (theirs, "c")):
        lock["entries"][0]["oid"] = "blake3:" + digit * 64
        place.write_text(json.dumps(lock))
    ran = run("dvs", "merge-driver", base, ours, theirs, "dvs.lock", "--json")
    assert (ran.code, ran.records[-1]["conflicts"]) == (1, [lock["entries"][0]["path"]])
    assert "b" * 64 in ours.read_text()


def test_no_token_goes_to_a_server_that_a_committed_configuration_of_a_clone_names(
    first: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_TOKEN", "hw-secret")
    with running_server(tmp_path / "server") as server, fault_proxy(server.port) as proxy:
        seen: list[bytes] = []
        proxy.watch = seen.append
        assert run("dvs", "local-config", "set", "base_url", proxy.url).code == 0
        assert run("dvs", "local-config", "set", "remotes.other", proxy.url).code == 0
        # Whoever can commit can put the file of a clone into git all the same.
        git(first, "add", "--force", ".dvs/config.toml")
        for words in (("push",), ("push", "--remote", "other"), ("pull",)):
            assert run("dvs", *words).code in (0, 1)
        assert seen
        assert not [request for request in seen if b"secret" in request]
        # A server that is written on the command line is the user's own word.
        run("dvs", "push", "--remote", f"{proxy.url}/")
        git(first, "rm", "--cached", "-q", ".dvs/config.toml")
        run("dvs", "push")
        assert b"secret" in seen[-1]

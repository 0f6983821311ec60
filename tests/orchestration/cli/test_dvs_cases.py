"""Cases of the reference for versioned data that have no test elsewhere; every other number has its tests beside its subject.

What does not apply, in part, and why:

- 13, "init creates all directories": folders of a clone are made when the first file needs them; an empty tree is no state.
- 18, "a folder pattern spares a file of that name": as in git, which reads the same syntax.
- 19, "outside any repository an error": versioned data works without git, as a folder of files and text; git is used where it is.
- 19 and 55, "init twice is an error" of later generations: the same settings again change nothing and say so.
- 21, "init hides sidecars" of the first generation: it hides what must be committed; here sidecars are never ignored.
- 22, 24, "a lost object is not stored again when the sidecar is unchanged": it is (`test_a_lost_object_is_healed_…`).
- 30, "when a sidecar cannot be written its object goes too": another sidecar may name it; gc collects what nobody names.
- 34, "nothing given means the current folder": without paths a command means every tracked file, wherever it is run.
- 47, "deleting nothing is fine": the server says 404, so that a mistaken name is noticed; a store's own delete is silent.
- 48, "authentication can be disabled": `--anonymous read|write` is the explicit form of it, and never lets anybody delete.
- 49, "port 0 is rejected": in a file it is; on the command line it asks for a free port, which tests and demonstrations need.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from resources.dvs.add import add
from resources.dvs.edit import move, remove
from resources.dvs.history import rollback
from resources.dvs.init import init
from resources.dvs.opening import local_folder
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import get
from resources.objects import ObjectStore, RottenObject
from resources.packed import PackedObjects
from resources.remotes.http import HttpRemote
from resources.server.settings import Settings, read_settings, write_settings
from resources.storage.local import LocalStorage
from resources.workspace import open_workspace
from schemas.dvs.config import RepoConfig
from schemas.dvs.manifest import Entry, Manifest, read_manifest, write_manifest
from schemas.dvs.oids import ALGORITHMS, oid_of
from schemas.errors import HeadwaterError, InvalidText
from tests.dvs_server import running_server
from tests.orchestration.cli.test_dvs import Run, bare, git, objects, outcomes, put, root, statuses
from tests.resources.server.client import ask, path_of

__all__ = ["bare", "root"]

DIGITS = "abc123" + "0" * 58


def opened(root: Path) -> DvsRepo:
    from resources.dvs.opening import open_repo

    return open_repo(open_workspace(root), "")


def store(folder: Path) -> PackedObjects:
    return PackedObjects(LocalStorage(folder / "objects", state=folder / "state"), folder / "scratch", packed=False)


# oids and formats


def test_case_02_where_an_object_lies(tmp_path: Path) -> None:
    files = ObjectStore(LocalStorage(tmp_path, state=tmp_path / "state"), "storage")
    assert files.path(f"blake3:{DIGITS}") == f"storage/blake3/ab/c123{'0' * 58}"
    assert files.path(f"sha256:{DIGITS}") == f"storage/sha256/ab/c123{'0' * 58}"
    assert files.path("xxh3:abcdef1234567890") == "storage/xxh3/ab/cdef1234567890"
    assert len(files.path(f"blake3:{DIGITS}").rpartition("/")[2]) == 62


def test_case_02_objects_lie_as_the_original_tool_lays_them_out(bare: Path, run: Run) -> None:
    assert run("dvs", "init", "../store", "--layout", "loose").code == 0
    put(bare, "a.csv", b"small")
    assert run("dvs", "add", "a.csv").code == 0
    oid = oid_of(b"small", "blake3")
    digits = oid.partition(":")[2]
    assert (bare.parent / "store/blake3" / digits[:2] / digits[2:]).read_bytes() == b"small"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_case_03_an_oid_is_one_string_in_json(algorithm: str) -> None:
    oid = oid_of(b"data", algorithm)
    data = write_manifest(Manifest().put([Entry("a.csv", oid, 4)]))
    assert json.loads(data)["entries"][0]["oid"] == oid
    assert read_manifest(data, "dvs.lock").entries["a.csv"].oid == oid


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_case_05_a_file_hashes_the_same_twice_and_another_hash_is_refused(tmp_path: Path, algorithm: str) -> None:
    file = put(tmp_path, "file", os.urandom(100_000))
    kept = store(tmp_path)
    first, second = (kept.put(file, algorithm=algorithm) for _ in range(2))
    assert first == second == oid_of(file.read_bytes(), algorithm)
    kept.verify(first)
    wrong = oid_of(b"other", algorithm)
    with pytest.raises(HeadwaterError) as caught:
        kept.put(file, oid=wrong)
    assert caught.value.rule == "oid-mismatch"
    assert not kept.has(wrong)


def test_case_13_everything_of_a_clone_lies_where_the_formats_say(root: Path, run: Run) -> None:
    path = put(root, "a.csv", "1")
    assert run("dvs", "local-config", "set", "base_url", str(root.parent / "remote")).code == 0
    assert run("dvs", "add", "a.csv").code == 0
    assert run("dvs", "push").code == 0
    repo = opened(root)
    oid = repo.manifest().entries["a.csv"].oid
    assert not repo.cache.has(oid)
    repo.close()
    shutil.rmtree(root.parent / "store/packs")
    path.unlink()
    assert run("dvs", "pull").code == 0
    assert run("dvs", "materialize").code == 0
    repo = opened(root)
    assert repo.cache.has(oid)
    head = repo.head()
    repo.close()
    for inside in (
        "dvs.toml",
        "dvs.lock",
        "a.csv.dvs",
        ".dvs/config.toml",
        ".dvs/refs/HEAD",
        ".dvs/logs/refs/HEAD",
        f".dvs/state/snapshots/{head}.json",
        ".dvs/state/materialized.json",
    ):
        assert (root / inside).is_file(), inside
    assert (root / ".dvs/cache/objects/packs").is_dir()
    assert (root / ".dvs/refs/HEAD").read_text() == f"{head}\n"
    assert json.loads((root / ".dvs/state/materialized.json").read_text())["files"] == {"a.csv": oid}


def test_case_16_a_state_is_one_file_and_an_unknown_one_is_not_found(root: Path, run: Run) -> None:
    put(root, "a.csv", "1")
    folder = root / ".dvs/state/snapshots"
    assert not folder.exists()
    assert run("dvs", "add", "a.csv").code == 0
    (kept,) = folder.iterdir()
    before = kept.stat().st_mtime_ns
    assert run("dvs", "add", "a.csv").code == 0
    assert [(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()] == [(kept.name, before)]
    repo = opened(root)
    with pytest.raises(HeadwaterError) as caught:
        repo.snapshot("0" * 64)
    repo.close()
    assert caught.value.rule == "dvs-not-found"


def test_case_18_what_dvsignore_names_is_left_out(root: Path, run: Run) -> None:
    put(root, ".dvsignore", "# a comment\n\n*.log\n!important.log\nbuild/\nsrc/*.tmp\n")
    for name in ("src/test.log", "important.log", "build/x", "deep/build/y", "src/a.tmp", "other/src/a.tmp", "# a comment"):
        put(root, name, name)
    assert set(outcomes(run("dvs", "add", ".", "--json"))) == {"important.log", "other/src/a.tmp", "# a comment"}
    put(root, "far/build", "a file of that name")
    assert set(outcomes(run("dvs", "add", "far", "--json"))) == {"far/build"}


# init and add


def test_case_19_from_a_folder_the_repository_is_that_folder(bare: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "sub").mkdir()
    monkeypatch.chdir(bare / "sub")
    assert run("dvs", "init", "../../store").code == 0
    assert (bare / "sub/dvs.toml").is_file()
    assert not (bare / "dvs.toml").exists()
    put(bare, "sub/a.csv", "1")
    assert run("dvs", "add", "a.csv").code == 0
    assert (bare / "sub/a.csv.dvs").is_file()


@pytest.mark.parametrize("before", ["", "*.tmp\n", "*.tmp", "*.tmp\r\nx\r\n"])
def test_case_21_data_is_named_in_the_gitignore_of_its_folder_once(root: Path, run: Run, before: str) -> None:
    (root / ".gitignore").write_text(before, newline="")
    put(root, "data.csv", "1")
    put(root, "models/big.bin", "2")
    for _ in range(2):
        assert run("dvs", "add", ".").code == 0
    put(root, "data.csv", "changed")
    assert run("dvs", "add", ".").code == 0
    end = "\r\n" if "\r\n" in before else "\n"
    kept = before if before.endswith("\n") or not before else before + end
    assert (root / ".gitignore").read_bytes().decode() == f"{kept}/data.csv{end}"
    assert (root / "models/.gitignore").read_text() == "/big.bin\n"
    shown = git(root, "status", "--short", "-uall")
    assert "data.csv.dvs" in shown
    assert "models/big.bin.dvs" in shown
    assert " data.csv\n" not in shown


def test_case_21_without_git_no_gitignore_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    put(root, "sub/a.csv", "1")
    assert run("dvs", "add", ".").code == 0
    assert not list(root.rglob(".gitignore"))


def test_case_24_the_manifest_has_an_entry_for_each_file_with_its_bytes(root: Path, run: Run) -> None:
    put(root, "one.txt", "content one")
    put(root, "two.txt", "content two!")
    assert run("dvs", "add", "one.txt", "two.txt").code == 0

    def entries() -> dict[str, Any]:
        return {entry["path"]: (entry["oid"], entry["bytes"]) for entry in json.loads((root / "dvs.lock").read_text())["entries"]}

    before = entries()
    assert {path: size for path, (_oid, size) in before.items()} == {"one.txt": 11, "two.txt": 12}
    put(root, "one.txt", "changed")
    assert run("dvs", "add", "one.txt").code == 0
    after = entries()
    assert after["two.txt"] == before["two.txt"]
    assert after["one.txt"] == (oid_of(b"changed", "blake3"), 7)
    assert len(after) == 2


def test_case_29_a_file_that_gets_anothers_bytes_takes_its_hash(root: Path, run: Run) -> None:
    put(root, "a.csv", "bytes of a")
    put(root, "b.csv", "bytes of b")
    assert run("dvs", "add", ".").code == 0
    put(root, "b.csv", "bytes of a")
    assert run("dvs", "add", "b.csv").code == 0
    a, b = (json.loads((root / f"{name}.csv.dvs").read_text()) for name in "ab")
    assert a["blake3_checksum"] == b["blake3_checksum"]
    assert statuses(run) == {"a.csv": "current", "b.csv": "current"}
    assert len(objects(root)) == 2


# get and status


@pytest.mark.parametrize("algorithm", ["sha256", "xxh3"])
def test_case_32_large_files_of_other_algorithms_go_to_a_remote_and_back(bare: Path, run: Run, algorithm: str) -> None:
    assert run("dvs", "init", "../store", "--hash", algorithm).code == 0
    data = os.urandom(200_000)
    path = put(bare, "a.bin", data)
    assert run("dvs", "add", ".").code == 0
    assert outcomes(run("dvs", "push", "--remote", "../remote", "--json")) == {"a.bin": "uploaded"}
    shutil.rmtree(bare.parent / "store" / algorithm)
    path.unlink()
    assert outcomes(run("dvs", "pull", "--remote", "../remote", "--json")) == {"a.bin": "downloaded"}
    assert outcomes(run("dvs", "get", "--json")) == {"a.bin": "retrieved"}
    assert path.read_bytes() == data
    put(bare, "a.bin", data[::-1])
    assert run("dvs", "get").code == 1
    assert run("dvs", "get", "--rescue").code == 0
    assert path.read_bytes() == data
    assert oid_of(data[::-1], algorithm) in objects(bare)


def test_case_37_a_file_through_its_life(root: Path, run: Run) -> None:
    path = put(root, "a.csv", "one")
    assert run("dvs", "add", ".").code == 0
    seen = [statuses(run)["a.csv"]]
    put(root, "a.csv", "two, edited")
    seen.append(statuses(run)["a.csv"])
    assert run("dvs", "add", ".").code == 0
    seen.append(statuses(run)["a.csv"])
    path.unlink()
    seen.append(statuses(run)["a.csv"])
    assert run("dvs", "get").code == 0
    seen.append(statuses(run)["a.csv"])
    assert seen == ["current", "unsynced", "current", "absent", "current"]
    assert path.read_text() == "two, edited"


def test_case_54_rows_are_sorted_objects_are_read_only_and_folders_come_back(bare: Path, run: Run) -> None:
    assert run("dvs", "init", "../store", "--layout", "loose").code == 0
    for name in ("z", "a", "deep/er/m"):
        put(bare, name, name)
    added = run("dvs", "add", "z", "deep", "a", "--json")
    assert [record["path"] for record in added.records if "path" in record] == ["a", "deep/er/m", "z"]
    for stored in (bare.parent / "store/blake3").rglob("*"):
        assert stored.is_dir() or stat.S_IMODE(stored.stat().st_mode) & 0o222 == 0
    shutil.rmtree(bare / "deep")
    assert outcomes(run("dvs", "materialize", "--json"))["deep/er/m"] == "materialized"
    assert (bare / "deep/er/m").read_text() == "deep/er/m"


# cache, push and pull


def test_case_39_a_store_has_what_was_put_and_putting_twice_is_fine(tmp_path: Path) -> None:
    kept = store(tmp_path)
    oid = oid_of(b"bytes", "blake3")
    assert not kept.has(oid)
    assert kept.put(b"bytes") == kept.put(b"bytes") == oid
    assert kept.has(oid)
    assert kept.get(oid) == b"bytes"
    with pytest.raises(FileNotFoundError):
        kept.get(oid_of(b"never put", "blake3"))


@pytest.mark.parametrize("slashes", ["", "/", "///"])
def test_case_39_a_slash_at_the_end_of_a_url_means_nothing(tmp_path: Path, slashes: str) -> None:
    source = store(tmp_path)
    oid = source.put(b"bytes")
    with running_server(tmp_path / "server") as server:
        there = HttpRemote(server.url + slashes, tmp_path / "way", token=server.token)
        told: dict[str, HeadwaterError | None] = {}
        there.put({oid: source}, {oid: 5}, told.__setitem__)
        assert told == {oid: None}
        assert there.present([oid]) == {oid}
        assert there.url == server.url
        there.close()
        assert ask(server, "GET", path_of(oid)).body == b"bytes"


# going back


def test_case_45_a_state_with_toml_sidecars_comes_back_as_toml(root: Path, run: Run) -> None:
    assert run("dvs", "config", "set", "metadata_format", "toml").code == 0
    put(root, "a.csv", "one")
    assert run("dvs", "add", "a.csv", "-m", "in toml").code == 0
    before = (root / "a.csv.dvs.toml").read_bytes()
    (root / "a.csv.dvs.toml").unlink()
    assert run("dvs", "config", "set", "metadata_format", "json").code == 0
    put(root, "a.csv", "two")
    assert run("dvs", "add", "a.csv").code == 0
    assert (root / "a.csv.dvs").is_file()
    assert run("dvs", "rollback", "1").code == 0
    assert (root / "a.csv.dvs.toml").read_bytes() == before
    assert not (root / "a.csv.dvs").exists()
    assert (root / "a.csv").read_text() == "one"


def test_case_44_going_to_the_present_state_restores_nothing(root: Path, run: Run) -> None:
    put(root, "a.csv", "one")
    assert run("dvs", "add", "a.csv").code == 0
    log = (root / ".dvs/logs/refs/HEAD").read_bytes()
    ran = run("dvs", "rollback", "0", "--json")
    assert (ran.code, ran.records[0]["restored"], ran.records[0]["removed"]) == (0, [], [])
    assert (root / ".dvs/logs/refs/HEAD").read_bytes() == log


# server


def test_case_48_who_may_do_what(tmp_path: Path) -> None:
    from resources.server.tokens import Right, add_token

    data = b"bytes"
    path = path_of(oid_of(data, "blake3"))
    folder = tmp_path / "closed"
    folder.mkdir()
    admin = add_token(folder / "tokens.json", "admin", [Right.ADMIN])
    with running_server(folder) as server:
        assert ask(server, "PUT", path, data, token=None).status == 401
        assert ask(server, "PUT", path, data, token="hwt_wrong").status == 401
        assert ask(server, "PUT", path, data, token=server.read_token).status == 403
        assert not list((folder / "storage").rglob("packs/*"))
        assert ask(server, "PUT", path, data, token=admin).status == 201
        assert ask(server, "GET", path, token=server.read_token).body == data
        assert ask(server, "DELETE", path, token=server.read_token).status == 403
        assert ask(server, "DELETE", path, token=admin).status == 204
    (tmp_path / "open").mkdir()
    with running_server(tmp_path / "open", "--anonymous", "write") as server:
        assert ask(server, "PUT", path, data, token=None).status == 201
        assert ask(server, "GET", path, token=None).body == data
        assert ask(server, "DELETE", path, token=None).status in (401, 403)
        assert ask(server, "GET", path, token=None).body == data


@pytest.mark.parametrize("text", ["port = 0", 'host = ""', "max_upload = 100", "port = ", 'host = "0.0.0.0"', "nonsense = 1"])
def test_case_49_settings_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(InvalidText) as caught:
        read_settings(text.encode(), "server.toml")
    assert caught.value.findings[0].fix


def test_case_49_settings_come_back_as_they_were_written() -> None:
    made = Settings(port=9000, storage="/data", max_upload=4096, anonymous="read", allow_xxh3=True, stall=7.0)
    assert read_settings(write_settings(made), "server.toml") == made
    assert read_settings(b"", "server.toml") == Settings()


# the third generation's scenarios


def test_case_51_a_file_that_is_only_readable_is_added(root: Path, run: Run) -> None:
    put(root, "a.csv", "1").chmod(0o444)
    assert outcomes(run("dvs", "add", ".", "--json")) == {"a.csv": "added"}
    assert stat.S_IMODE((root / "a.csv").stat().st_mode) == 0o444


def test_case_52_a_dry_get_says_the_same_and_writes_nothing(root: Path, run: Run) -> None:
    path = put(root, "a.csv", "1")
    assert run("dvs", "add", ".").code == 0
    path.unlink()
    assert outcomes(run("dvs", "get", "--dry-run", "--json")) == {"a.csv": "retrieved"}
    assert not path.exists()
    assert not (root / ".dvs/state/materialized.json").exists()
    assert outcomes(run("dvs", "get", "--json")) == {"a.csv": "retrieved"}


def test_case_55_an_init_that_fails_leaves_nothing_and_can_be_tried_again(bare: Path, run: Run) -> None:
    inside = run("dvs", "init", "data/store", "--json")
    assert (inside.code, inside.records[-1]["error"]["rule"]) == (1, "dvs-config-error")
    assert run("dvs", "init", ".").code == 1
    assert [path.name for path in bare.iterdir() if path.name not in (".git", ".headwater")] == []
    put(bare.parent, "taken", b"a file")
    assert run("dvs", "init", "../taken").code == 1
    assert not (bare / "dvs.toml").exists()
    (bare.parent / "taken").unlink()
    assert run("dvs", "init", "../taken").code == 0


def test_case_55_the_nearest_repository_counts(root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "outer.csv", "outer")
    (root / "inner").mkdir()
    monkeypatch.chdir(root / "inner")
    assert run("dvs", "init", "../../inner-store").code == 0
    put(root, "inner/a.csv", "inner")
    assert outcomes(run("dvs", "add", "a.csv", "--json")) == {"a.csv": "added"}
    assert json.loads((root / "inner/dvs.lock").read_text())["entries"][0]["path"] == "a.csv"
    monkeypatch.chdir(root)
    assert set(outcomes(run("dvs", "add", ".", "--json"))) == {"outer.csv"}
    assert len(list((root.parent / "inner-store/packs").iterdir())) == 1


def test_case_56_a_hash_that_leads_out_is_refused_before_the_disk_is_touched(root: Path, run: Run) -> None:
    put(root, "a.csv", "1")
    assert run("dvs", "add", "a.csv").code == 0
    put(root.parent, "secret", "precious")
    sound = json.loads((root / "a.csv.dvs").read_text())
    for bad in ("../../etc/passwd", "../secret", "..", "a" * 63, "A" * 63 + "/"):
        put(root, "a.csv.dvs", json.dumps({**sound, "blake3_checksum": bad}))
        (root / "a.csv").unlink(missing_ok=True)
        ran = run("dvs", "get", "--json")
        assert (ran.code, ran.records[0]["error"]["rule"]) == (1, "dvs-metadata-not-found"), bad
        assert not (root / "a.csv").exists()
        shown = run("dvs", "show", f"blake3:{bad}", "--json")
        assert shown.code in (1, 2)
        assert "precious" not in shown.out
    kept = store(root.parent)
    for bad in ("blake3:../../etc/passwd", "../escape", "blake3:" + "." * 64):
        with pytest.raises(HeadwaterError) as caught:
            kept.locate(bad)
        assert caught.value.rule == "oid-malformed"
        with pytest.raises((HeadwaterError, RottenObject)):
            kept.put(b"x", oid=bad)


def test_case_57_records_come_in_order_one_for_each_batch(root: Path, run: Run) -> None:
    put(root, "a.csv", "1")
    put(root, "b.csv", "2")
    assert run("dvs", "add", "a.csv", "b.csv").code == 0
    put(root, "c.csv", "3")
    assert run("dvs", "add", "c.csv").code == 0
    repo = opened(root)
    first, second = list(repo.audit_log.records())
    repo.close()
    assert (sorted(first.files), sorted(second.files)) == (["a.csv", "b.csv"], ["c.csv"])
    shown = run("dvs", "audit", "show", "--path", "c.csv", "--json")
    assert (shown.code, len([record for record in shown.records if "operation" in record])) == (0, 1)


def _seen(root: Path) -> dict[str, Any]:
    """What a list of operations came to, without the moments at which they were done."""
    repo = opened(root)
    try:
        sidecars = dict(repo.tracked())
        return {
            "files": {path.relative_to(root).as_posix(): path.read_bytes() for path in root.glob("*.csv")},
            "sidecars": {path: (held.sidecar.oid, held.sidecar.message, held.path) for path, held in sidecars.items()},  # type: ignore[union-attr]
            "manifest": repo.manifest(),
            "objects": sorted(oid for oid, _ in repo.objects.list()),
            "config": repo.config,
            "log": [(record.op, (record.message or "").partition(" to ")[0], record.paths) for record in repo.log()[0]],
            "gitignore": (root / ".gitignore").read_text(),
        }
    finally:
        repo.close()


def test_case_58_the_command_and_the_library_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    ours, theirs = tmp_path / "one/work", tmp_path / "two/work"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
        git(folder, "init", "--initial-branch=main")
        for name in ("a.csv", "b.csv", "c.csv"):
            put(folder, name, f"bytes of {name}")
    monkeypatch.chdir(ours)
    for words in (
        ("init", "../store", "--layout", "loose"),
        ("add", ".", "-m", "first"),
        ("mv", "a.csv", "d.csv"),
        ("rm", "b.csv"),
    ):
        assert run("dvs", *words).code == 0, words
    put(ours, "c.csv", "other bytes")
    assert run("dvs", "add", "c.csv", "-m", "second").code == 0
    assert run("dvs", "rollback", "1").code == 0
    (ours / "d.csv").unlink()
    assert run("dvs", "get").code == 0

    workspace = open_workspace(theirs)
    config = RepoConfig("../store", layout="loose", generated_by={"tool": "headwater"})
    init(workspace.root, "", config, local_folder(workspace, ""), in_git=True)
    repo = opened(theirs)
    add(repo, [""], message="first")
    move(repo, "a.csv", "d.csv")
    remove(repo, ["b.csv"])
    put(theirs, "c.csv", "other bytes")
    add(repo, ["c.csv"], message="second")
    rollback(repo, "1")
    (theirs / "d.csv").unlink()
    assert not get(repo, []).failed
    repo.close()
    assert _seen(ours) == _seen(theirs)
